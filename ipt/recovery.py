"""How much of the reference a method recovers (paper, section 4.1: E_abs and E_rel), with the floor taken into account.

    E_abs   = mean over tasks of the method's score
    E_rel   = mean over tasks of score / reference                      (the paper's: a mean of ratios)
    ratio   = sum of scores / sum of references                         (the ratio of means)
    floored = mean over tasks of (score - floor) / (reference - floor)  (only tasks whose reference is 0.10 above the floor)

The floor of a task is the best of chance, the empty prompt and the untrained start: what doing nothing scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

MARGIN = 0.10


@dataclass(frozen=True)
class Recovery:
    """One setting's figures over its tasks.

    interval: bootstrap 95 % interval of `relative` over tasks, 2,000 resamples.
    below_floor: tasks left out of `floored`, as their reference is less than 0.10 above their floor.
    undefined: tasks left out of `relative`, as their reference is not above zero.
    """

    tasks: int
    absolute: float
    relative: float
    interval: tuple[float, float]
    ratio_of_means: float
    floored: float
    floored_interval: tuple[float, float]
    below_floor: tuple[str, ...]
    undefined: tuple[str, ...]


def to_json(figures: Recovery) -> dict[str, Any]:
    """Return the figures as plain JSON values: six digits, null where there is none."""
    return {k: _plain(v) for k, v in asdict(figures).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return (None if value != value else round(value, 6)) if isinstance(value, float) else value


def from_json(record: Mapping[str, Any]) -> Recovery:
    """Read what `to_json` made."""
    nan = float("nan")
    read: dict[str, Any] = {}
    for name, value in record.items():
        values = tuple(nan if v is None else v for v in (value if isinstance(value, list) else [value]))
        read[name] = values if isinstance(value, list) else values[0]
    return Recovery(**read)


def absolute_score(scores: Sequence[float]) -> float:
    """E_abs: the plain mean of the tasks' metrics."""
    return float(np.mean(scores)) if len(scores) else float("nan")


def relative_score(scores: Sequence[float], reference: Sequence[float]) -> float:
    """E_rel: the mean over tasks of score / reference; every reference must be above zero."""
    return float(np.mean(np.divide(scores, reference))) if len(scores) else float("nan")


def is_above(score: float, floor: float) -> bool:
    """Say whether a score is 0.10 or more above its floor; rounded, as 0.6 - 0.5 is a little less than 0.1 in binary."""
    return round(score - floor, 9) >= MARGIN


def recovery(scores: Mapping[str, float], reference: Mapping[str, float], floor: Mapping[str, float]) -> Recovery:
    """Compare scores with the reference on the tasks of `scores`; all three by task name, at most 1."""
    names = sorted(scores)
    defined = [n for n in names if reference[n] > 0]
    ratios = np.array([scores[n] / reference[n] for n in defined])
    above = [n for n in names if is_above(reference[n], floor[n])]
    lifted = np.array([(scores[n] - floor[n]) / (reference[n] - floor[n]) for n in above])
    total = sum(reference[n] for n in names)
    return Recovery(
        tasks=len(names),
        absolute=absolute_score([scores[n] for n in names]),
        relative=relative_score([scores[n] for n in defined], [reference[n] for n in defined]),
        interval=bootstrap(ratios),
        ratio_of_means=sum(scores[n] for n in names) / total if total else float("nan"),
        floored=float(lifted.mean()) if len(lifted) else float("nan"),
        floored_interval=bootstrap(lifted),
        below_floor=tuple(n for n in names if n not in above),
        undefined=tuple(n for n in names if n not in defined),
    )


def bootstrap(values: np.ndarray, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean of values [N] over resampled tasks; NaN where there are none."""
    if not len(values):
        return float("nan"), float("nan")
    picks = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.percentile(values[picks].mean(1), (2.5, 97.5))
    return float(low), float(high)
