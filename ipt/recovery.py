"""How much of the reference a method recovers (paper, section 4.1: E_abs and E_rel), and its floor.

    E_abs   = mean over tasks of the method's score
    E_rel   = mean over tasks of score / reference       (the paper's: a mean of ratios)
    ratio   = sum of scores / sum of references          (the ratio of means)
    floored = mean over tasks of (score - floor) / (reference - floor)
              (only tasks whose reference is 0.10 above the floor)

The floor of a task is the best of chance, the empty prompt and the untrained start: what doing
nothing scores.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# How far above its floor a reference must be: divided by less, noise would fill the mean.
MARGIN = 0.10
# Tasks that an interval over tasks is of at least: of one or two it would look exact.
FEWEST = 5
NO_INTERVAL = (math.nan, math.nan)


@dataclass(frozen=True)
class Recovery:
    """The figures of one setting over its tasks.

    interval: bootstrap 95 % interval of `relative` over tasks, 2,000 resamples.
    below_floor: tasks left out of `floored`, as their reference is less than 0.10 above their
        floor.
    undefined: tasks left out of `relative`, as their reference is not above zero.
    """

    tasks: int  # how many
    absolute: float
    relative: float
    interval: tuple[float, float]  # low, high
    ratio_of_means: float
    floored: float
    floored_interval: tuple[float, float]  # low, high
    below_floor: tuple[str, ...]
    undefined: tuple[str, ...]

    @property
    def used(self) -> int:
        """How many tasks `relative` is the mean of."""
        return self.tasks - len(self.undefined)

    @property
    def above(self) -> int:
        """How many tasks `floored` is the mean of."""
        return self.tasks - len(self.below_floor)

    @property
    def shown_interval(self) -> tuple[float, float]:
        """`interval` where enough tasks are behind it, else NaN."""
        return self.interval if self.used >= FEWEST else NO_INTERVAL

    @property
    def shown_floored_interval(self) -> tuple[float, float]:
        """`floored_interval` where enough tasks are behind it, else NaN."""
        return self.floored_interval if self.above >= FEWEST else NO_INTERVAL


def recovery(
    scores: Mapping[str, float],
    reference: Mapping[str, float],
    floor: Mapping[str, float],
) -> Recovery:
    """Compare scores with the reference on the tasks of `scores`.

    scores, reference, floor: by task name, each at most 1; the last two may hold more tasks.
    """
    # By name, so that the order in which tasks come changes no rounding.
    names = sorted(scores)
    score_values = []
    reference_values = []
    ratios = []
    lifts = []
    undefined = []
    below_floor = []
    for name in names:
        score_values.append(scores[name])
        reference_values.append(reference[name])

        # The paper's ratio; correlations and the like may have a reference of zero or less.
        if reference[name] > 0:
            ratios.append(scores[name] / reference[name])
        else:
            undefined.append(name)

        # The same above the floor: 0 is doing nothing, 1 is the reference.
        if is_above(reference[name], floor[name]):
            lift = scores[name] - floor[name]
            lifts.append(lift / (reference[name] - floor[name]))
        else:
            below_floor.append(name)

    # The ratio of means takes every task, also those whose own ratio is undefined.
    ratio_of_means = math.nan
    total_reference = sum(reference_values)
    if total_reference:
        ratio_of_means = sum(score_values) / total_reference

    return Recovery(
        tasks=len(names),
        absolute=absolute_score(score_values),
        relative=_mean(ratios),
        interval=bootstrap(np.array(ratios)),
        ratio_of_means=ratio_of_means,
        floored=_mean(lifts),
        floored_interval=bootstrap(np.array(lifts)),
        below_floor=tuple(below_floor),
        undefined=tuple(undefined),
    )


def absolute_score(scores: Sequence[float]) -> float:
    """E_abs: the plain mean of the tasks' metrics; NaN where there are none."""
    return _mean(scores)


def relative_score(scores: Sequence[float], reference: Sequence[float]) -> float:
    """E_rel: the mean over tasks of score / reference; NaN where there are none.

    reference: in the order of `scores`, each above zero.
    """
    return _mean(np.divide(scores, reference))


def _mean(values: Sequence[float] | np.ndarray) -> float:
    # NumPy's own mean of nothing is NaN too, with a warning.
    if not len(values):
        return math.nan
    return float(np.mean(values))


def is_above(score: float, floor: float) -> bool:
    """Say whether a score is 0.10 or more above its floor."""
    # Rounded, as 0.6 - 0.5 is a little less than 0.1 in binary.
    return round(score - floor, 9) >= MARGIN


def bootstrap(
    values: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the mean over resampled tasks.

    values: [N] one value a task; without any, both ends are NaN.
    """
    count = len(values)
    if not count:
        return math.nan, math.nan
    # Tasks are resampled and not rows: the claim is about tasks that were not measured. The seed
    # is fixed, so that a table made again is the same.
    generator = np.random.default_rng(seed)
    picks = generator.integers(count, size=(resamples, count))
    means = values[picks].mean(axis=1)  # [resamples]
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def to_json(figures: Recovery) -> dict[str, Any]:
    """Return the figures as plain JSON values: six digits, null where there is none."""
    # Six digits: one row of a thousand, and equal files on machines that round differently.
    record = {}
    for name, value in asdict(figures).items():
        if isinstance(value, tuple):
            record[name] = list(map(_plain, value))
        else:
            record[name] = _plain(value)
    return record


def _plain(value: Any) -> Any:
    """Return a number with six digits, NaN as None (JSON has no NaN), other values as they are."""
    if not isinstance(value, float):
        return value
    return None if math.isnan(value) else round(value, 6)


def from_json(record: Mapping[str, Any]) -> Recovery:
    """Read what `to_json` made."""
    figures: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, list):
            figures[name] = tuple(map(_from_plain, value))
        else:
            figures[name] = _from_plain(value)
    return Recovery(**figures)


def _from_plain(value: Any) -> Any:
    # Each figure that may be missing is a float: null stands for NaN.
    return math.nan if value is None else value
