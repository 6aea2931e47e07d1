"""How few numbers recover 90 % of a way of tuning: its intrinsic dimension, d90.

Li et al. (2018, arXiv 1804.08838) call so the least d at which training in a random subspace
reaches 90 % of training all numbers; Aghajanyan et al. (2021, arXiv 2012.13255) measure it for
fine-tuning, task by task. Here it is one number for many tasks, in any subspace:

    R(d) = sum over tasks of (score at d - floor) / sum over tasks of (reference - floor)
    d90  = least d with R(d) >= 0.9

The reference is the tuner's own tuning. Tasks whose reference is less than 0.10 above their floor
are left out. E_rel in the place of R gives the same for the paper's measure. Between two measured d
R is taken to be linear in log d. A curve that begins at 0.9 or more has d90 = its smallest d, read
"at most"; one that never comes there has infinity, read "more than its largest d".

Intervals are percentiles over resampled subcategories with all of their tasks, since tasks of one
subcategory are alike; the same tasks are drawn for each d.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from ipt.recovery import is_above

SHARE = 0.9
RESAMPLES = 2000
# Per cent of the resamples between the ends of an interval.
ENDS = (2.5, 97.5)
# R above, or E_rel.
Measure = Literal["floored", "relative"]
MEASURES: tuple[Measure, ...] = ("floored", "relative")


class TaskFigures(NamedTuple):
    """A task's score with d numbers, its reference, and its floor; each at most 1."""

    score: float
    reference: float
    floor: float


class Point(NamedTuple):
    """What one run measured: d, and its tasks' figures."""

    dim: int
    tasks: Mapping[str, TaskFigures]


@dataclass(frozen=True, eq=False)
class Curve:
    """Scores of the same tasks at several d; means where a d was measured with several seeds."""

    dims: tuple[int, ...]
    """In rising order."""
    tasks: tuple[str, ...]
    scores: np.ndarray
    """[D, T]"""
    references: np.ndarray
    """[D, T], as each d may have been measured with other seeds."""
    floors: np.ndarray
    """[D, T]"""

    def against(self, reference: Mapping[str, float]) -> "Curve":
        """Return the curve against another reference, of the tasks that it has."""
        places = [place for place, name in enumerate(self.tasks) if name in reference]
        names = tuple(self.tasks[place] for place in places)
        values = np.array([reference[name] for name in names])  # [T]
        return replace(
            self,
            tasks=names,
            scores=self.scores[:, places],
            references=np.tile(values, (len(self.dims), 1)),
            floors=self.floors[:, places],
        )


@dataclass(frozen=True)
class Dimension:
    """A d90 with its interval.

    value, low, high: infinity is "more than the largest d"; low and high are NaN where there are
        fewer than two clusters of tasks.
    """

    value: float
    low: float
    high: float
    smallest: int
    largest: int
    tasks: int  # how many count

    def text(self) -> str:
        """Return the value and its interval, as "7.3 (4.1 … > 50)"."""
        value = self._bounded(self.value)
        if math.isnan(self.low):
            return value
        low, high = self._bounded(self.low), self._bounded(self.high)
        # A bound whose interval is the same bound says it once.
        if low == value == high and value[0] in ">≤":
            return value
        return f"{value} ({low} … {high})"

    def _bounded(self, value: float) -> str:
        # Outside of the measured d no value is known.
        if value > self.largest:
            return f"> {self.largest}"
        if value <= self.smallest:
            return f"≤ {self.smallest}"
        return f"{value:.1f}" if value < 10 else f"{value:.0f}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; what was not reached is "inf"."""
        interval = None
        if not math.isnan(self.low):
            interval = [_to_plain(self.low), _to_plain(self.high)]
        return {
            "value": _to_plain(self.value),
            "interval": interval,
            "smallest": self.smallest,
            "largest": self.largest,
            "tasks": self.tasks,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Dimension":
        """Read what `to_json` made."""
        low, high = record["interval"] or (math.nan, math.nan)
        return cls(
            value=float(record["value"]),
            low=float(low),
            high=float(high),
            smallest=record["smallest"],
            largest=record["largest"],
            tasks=record["tasks"],
        )


def _to_plain(value: float) -> float | str:
    # JSON has no infinity; Python's float reads this one.
    return "inf" if math.isinf(value) else round(value, 6)


def curve(points: Sequence[Point]) -> Curve:
    """Return the curve of these points; tasks that one of them lacks are left out.

    Raises ValueError where there are no points.
    """
    if not points:
        raise ValueError("a curve needs a point; found none")
    common = set(points[0].tasks)
    by_dim: dict[int, list[Point]] = {}
    for point in points:
        common &= set(point.tasks)
        by_dim.setdefault(point.dim, []).append(point)

    # By name, so that the order of runs and tasks changes no rounding.
    names = tuple(sorted(common))
    dims = tuple(sorted(by_dim))
    figures = np.zeros((len(dims), len(names), 3))
    for row, dim in enumerate(dims):
        for column, name in enumerate(names):
            of_seeds = [point.tasks[name] for point in by_dim[dim]]
            figures[row, column] = np.mean(of_seeds, axis=0)
    scores, references, floors = np.moveaxis(figures, 2, 0)
    return Curve(dims, names, scores, references, floors)


def recovered(
    found: Curve,
    measure: Measure = "floored",
) -> np.ndarray:
    """Return R, or E_rel, at each d [D]; NaN where no task counts."""
    gained, possible = _gains(found, measure)
    return _ratio(gained.sum(1), possible.sum(1))


def recovered_intervals(
    found: Curve,
    measure: Measure = "floored",
    clusters: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Return the 95 % interval of `recovered` at each d [2, D]; NaN with fewer than two clusters.

    clusters: of tasks, such as their subcategories; a task without one is its own.
    """
    drawn = _resampled(found, measure, clusters, resamples, seed)  # [B, D]
    if not len(drawn):
        return np.full((2, len(found.dims)), math.nan)
    return np.percentile(drawn, ENDS, axis=0)


def intrinsic_dimension(
    found: Curve,
    measure: Measure = "floored",
    share: float = SHARE,
    clusters: Mapping[str, str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Dimension | None:
    """Return the d that recovers this share of the reference; None where no task counts.

    share: 0.9 gives d90.
    clusters: as in `recovered_intervals`.
    """
    shares = recovered(found, measure)
    if np.isnan(shares).any():
        return None
    value = _crossings(found.dims, shares[None], share)[0]
    drawn = _resampled(found, measure, clusters, resamples, seed)  # [B, D]
    low, high = math.nan, math.nan
    if len(drawn):
        crossings = _crossings(found.dims, drawn, share)
        # One of the values, as between a number and infinity there is none.
        low, high = np.percentile(crossings, ENDS, method="inverted_cdf")
    _, possible = _gains(found, measure)
    return Dimension(
        value=float(value),
        low=float(low),
        high=float(high),
        smallest=found.dims[0],
        largest=found.dims[-1],
        tasks=int(np.count_nonzero(possible[0])),
    )


def task_dimensions(
    found: Curve,
    measure: Measure = "floored",
    share: float = SHARE,
) -> dict[str, float]:
    """Return each task's own d90, infinity where it is not reached; tasks that do not count lack.

    One task has few test rows: read their distribution, and no single value.
    """
    gained, possible = _gains(found, measure)
    counting = (possible > 0).all(0)  # [T]
    shares = _ratio(gained[:, counting], possible[:, counting])  # [D, T]
    values = _crossings(found.dims, shares.T, share)
    names = np.array(found.tasks, dtype=object)[counting]
    return dict(zip(names.tolist(), values.tolist(), strict=True))


def median_dimension(values: Mapping[str, float]) -> float:
    """Return the lower median of tasks' d90, infinity where half of them do not reach it."""
    if not values:
        return math.nan
    return float(np.percentile(list(values.values()), 50, method="inverted_cdf"))


def _gains(found: Curve, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Return what each task gained and could gain [D, T]; both 0 for a task that does not count."""
    # The same tasks at every d: they are chosen by means, not by the seeds of one d.
    reference = found.references.mean(0)
    floor = found.floors.mean(0)
    if measure == "relative":
        counts = (found.references > 0).all(0)
        safe = np.where(counts, found.references, 1.0)
        return np.where(counts, found.scores / safe, 0.0), counts * np.ones_like(safe)
    counts = np.array([is_above(*pair) for pair in zip(reference, floor, strict=True)], dtype=bool)
    gained = counts * (found.scores - found.floors)
    return gained, counts * (found.references - found.floors)


def _resampled(
    found: Curve,
    measure: Measure,
    clusters: Mapping[str, str] | None,
    resamples: int,
    seed: int,
) -> np.ndarray:
    """Return the recovery [B, D] of resampled clusters; none where there are fewer than two."""
    gained, possible = _gains(found, measure)
    # A task without a cluster is one itself; a name of ours cannot be a cluster's.
    named = clusters or {}
    labels = [str(named.get(name, f"task {name}")) for name in found.tasks]
    counting = (possible != 0).any(0)  # [T]
    kept = np.array(labels, dtype=str)[counting]
    names, places = np.unique(kept, return_inverse=True)
    if len(names) < 2:
        return np.zeros((0, len(found.dims)))

    # Sums of each cluster: a resample is then a weighted sum of these, for all d at once.
    membership = np.eye(len(names))[places]  # [T, C]
    gained_sums = gained[:, counting] @ membership  # [D, C]
    possible_sums = possible[:, counting] @ membership
    generator = np.random.default_rng(seed)
    chances = np.full(len(names), 1 / len(names))
    weights = generator.multinomial(len(names), chances, size=resamples)  # [B, C]
    shares = _ratio(weights @ gained_sums.T, weights @ possible_sums.T)
    return shares[np.isfinite(shares).all(1)]


def _ratio(values: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Return the quotient, NaN where it is of nothing."""
    result = np.full(values.shape, math.nan)
    np.divide(values, by, out=result, where=by > 0)
    return result


def _crossings(dims: Sequence[int], shares: np.ndarray, share: float) -> np.ndarray:
    """Return where each curve first reaches a share [B]; infinity where it does not.

    dims: [D] in rising order.
    shares: [B, D].
    """
    # 0.9 of a sum may be a digit below 0.9 in binary.
    reached = shares >= share - 1e-9
    first = reached.argmax(1)
    before = np.maximum(first - 1, 0)
    rows = np.arange(len(shares))
    logs = np.log(np.asarray(dims, dtype=float))
    below, above = shares[rows, before], shares[rows, first]
    # Where the first d reaches it both are the same place, and the step is nothing.
    rise = np.where(first > before, above - below, 1.0)
    part = np.where(first > before, (share - below) / rise, 0.0).clip(0, 1)
    values = np.exp(logs[before] + part * (logs[first] - logs[before]))
    # A grid's own value is exact, whatever its logarithm is rounded to.
    ends = np.asarray(dims, dtype=float)[first]
    values = np.where(part >= 1, ends, np.minimum(values, ends))
    values = np.where(first > before, values, ends)
    return np.where(reached.any(1), values, math.inf)
