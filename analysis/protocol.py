"""Compare methods as docs/protocol.md says: R, its interval, and which differences are real.

    R = sum over tasks of (s - f) / sum over tasks of (r - f)

over the tasks whose reference r is at least 0.10 above their floor f; s, r and f are means over
seeds. Which tasks count follows from references and floors alone, and is the same for all methods.
Intervals are percentiles of draws of subcategories, then of tasks within each, then of seeds. Two
methods are compared on the tasks and seeds that both have: the difference of their R, its interval
by the same draws, and a permutation test that exchanges them in whole subcategories.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import permutation_test

from ipt.recovery import is_above

DRAWS = 10_000
# Per cent of the draws between the ends of an interval.
ENDS = (2.5, 97.5)
# A task counts as recovered with so much of what tuning gains.
WELL = 0.8
# The suite's shares: a split's luck must not move the mean over strata.
STRATA = {"rule": 0.58, "knowledge": 0.25, "novel": 0.17}
# How far below the share a task may be by rounding alone.
EQUAL = 1e-12

Interval = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of some tasks, a row for each seed; NaN where a seed has no score of a task."""

    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    values: np.ndarray  # [S, T]

    @classmethod
    def of(cls, by_seed: Mapping[int, Mapping[str, float]]) -> "Scores":
        """Return scores by seed and task."""
        seeds = tuple(sorted(by_seed))
        # By name, so that the order of runs and tasks changes no rounding.
        tasks = tuple(sorted(set().union(*by_seed.values())))
        values = np.full((len(seeds), len(tasks)), math.nan)
        for row, seed in enumerate(seeds):
            of_seed = by_seed[seed]
            values[row] = [of_seed.get(task, math.nan) for task in tasks]
        return cls(seeds, tasks, values)

    @property
    def complete(self) -> "Scores":
        """Return the tasks that all seeds have."""
        tasks = [
            task
            for task, known in zip(self.tasks, ~np.isnan(self.values).any(0), strict=True)
            if known
        ]
        return Scores(self.seeds, tuple(tasks), self.on(tasks))

    def on(self, tasks: Sequence[str], seeds: Sequence[int] = ()) -> np.ndarray:
        """Return the values [S, T] of these tasks, of all seeds or of these."""
        columns = [self.tasks.index(task) for task in tasks]
        rows = [self.seeds.index(seed) for seed in seeds or self.seeds]
        return self.values[np.ix_(rows, columns)]

    def mean(self, tasks: Sequence[str]) -> np.ndarray:
        """Return the mean [T] over the seeds that have a task."""
        return np.nanmean(self.on(tasks), axis=0)


@dataclass(frozen=True, eq=False)
class Yardstick:
    """What methods are measured with: references, floors, and what is known of tasks."""

    reference: Scores
    floor: Scores
    clusters: Mapping[str, str]
    """Subcategories of tasks; a task without one is its own."""
    strata: Mapping[str, str]
    """Rule, knowledge or novel; empty where tasks have no such difference."""

    def is_of(self, stratum: str, tasks: Sequence[str]) -> np.ndarray:
        """Return which of these tasks are of a stratum [T]."""
        return np.array([self.strata.get(task) == stratum for task in tasks], dtype=bool)

    def counted(self, tasks: Sequence[str]) -> np.ndarray:
        """Return which of these tasks count [T]: by the means over all seeds."""
        pairs = zip(self.reference.mean(tasks), self.floor.mean(tasks), strict=True)
        return np.array([is_above(float(one), float(other)) for one, other in pairs], dtype=bool)


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where no task counts, or nothing can be drawn."""

    value: float
    interval: Interval

    @classmethod
    def of(cls, value: float, drawn: np.ndarray) -> "Estimate":
        """Return the estimate with the percentiles of drawn values [B]; NaN among them is none."""
        known = drawn[~np.isnan(drawn)]
        if not len(known):
            return cls(value, (math.nan, math.nan))
        low, high = np.percentile(known, ENDS)
        return cls(value, (float(low), float(high)))


@dataclass(frozen=True)
class Standing:
    """The figures of one method."""

    tasks: int
    counted: int
    """Tasks whose reference is 0.10 above their floor."""
    score: float
    recovered: Estimate
    """R."""
    relative: Estimate
    """E_rel, the paper's mean of ratios, over the tasks whose reference is above zero."""
    strata: Mapping[str, Estimate]
    weighted: Estimate
    """Mean of the strata's R with fixed weights; NaN where a stratum has no counted task."""
    share_of_tasks: float
    """Share of the counted tasks that recover 80 % or more."""


@dataclass(frozen=True)
class Difference:
    """First minus second, in R."""

    estimate: Estimate
    p_value: float


@dataclass(frozen=True, eq=False)
class Draws:
    """How often each task and each seed is drawn; the same for all methods of some tasks."""

    tasks: np.ndarray  # [B, T]
    seeds: np.ndarray  # [B, S], rows add up to 1

    @staticmethod
    @lru_cache(maxsize=8)  # each of 20 MB at most
    def make(clusters: tuple[str, ...], seeds: int) -> "Draws":
        """Draw clusters with replacement, then tasks within each, then seeds.

        clusters: of each task [T].
        """
        # Fixed, so that a table made again is the same.
        generator = np.random.default_rng(0)
        names = sorted(set(clusters))
        shares = np.full(len(names), 1 / len(names))
        drawn = generator.multinomial(len(names), shares, size=DRAWS)  # [B, clusters]
        tasks = np.zeros((DRAWS, len(clusters)))
        for place, name in enumerate(names):
            members = [t for t, cluster in enumerate(clusters) if cluster == name]
            # A cluster that comes twice has its tasks drawn twice.
            most = drawn[:, place] * len(members)
            within = np.full(len(members), 1 / len(members))
            tasks[:, members] = generator.multinomial(most, within)
        shares = np.full(seeds, 1 / seeds)
        drawn = generator.multinomial(seeds, shares, size=DRAWS)  # [B, S]
        return Draws(tasks, drawn / seeds)


def standing(method: Scores, yardstick: Yardstick) -> Standing:
    """Return the figures of a method on the tasks that it has."""
    tasks = method.tasks
    counted = yardstick.counted(tasks)
    gains = _Gains.of(method, yardstick, tasks, method.seeds)
    draws = Draws.make(_clusters(yardstick, tasks), len(method.seeds))

    strata = {}
    weighted = 0.0
    drawn = np.zeros(DRAWS)
    for name, weight in STRATA.items():
        members = counted & yardstick.is_of(name, tasks)
        strata[name] = gains.recovered(members, draws)
        weighted += weight * strata[name].value
        drawn = drawn + weight * gains.drawn(members, draws)
    return Standing(
        tasks=len(tasks),
        counted=int(counted.sum()),
        score=float(gains.score.mean()),
        recovered=gains.recovered(counted, draws),
        relative=gains.relative(draws),
        strata=strata,
        weighted=Estimate.of(weighted, drawn),
        share_of_tasks=gains.share_of_tasks(counted),
    )


def difference(first: Scores, second: Scores, yardstick: Yardstick) -> Difference | None:
    """Compare two methods on the tasks and seeds that both have; None where none counts."""
    tasks = [task for task in first.tasks if task in set(second.tasks)]
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    if not tasks or not seeds:
        return None
    counted = yardstick.counted(tasks)
    if not counted.any():
        return None
    ours = _Gains.of(first, yardstick, tasks, seeds)
    theirs = _Gains.of(second, yardstick, tasks, seeds)
    clusters = _clusters(yardstick, tasks)
    draws = Draws.make(clusters, len(seeds))
    drawn = ours.drawn(counted, draws) - theirs.drawn(counted, draws)
    value = ours.ratio(counted) - theirs.ratio(counted)

    # The reference gains the same whoever is exchanged, so it does not matter for the test.
    apart = (ours.score - theirs.score).mean(0) * counted  # [T]
    _, places = np.unique(clusters, return_inverse=True)  # [T]
    sums = np.bincount(places, weights=apart)  # [clusters]
    return Difference(Estimate.of(value, drawn), exchange_test(sums))


def exchange_test(sums: np.ndarray) -> float:
    """Return the two-sided p of differences [clusters], any of which could have the other sign.

    Exact where there are at most `DRAWS` ways to choose the signs, else of so many.
    """
    # A single cluster is as extreme with the other sign.
    if len(sums) < 2:
        return 1.0
    found = permutation_test(
        (sums,),
        np.sum,
        permutation_type="samples",
        n_resamples=DRAWS,
        random_state=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values for several comparisons at once (Holm 1979)."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(order):
        least = max(least, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, least)
    return adjusted


def _clusters(yardstick: Yardstick, tasks: Sequence[str]) -> tuple[str, ...]:
    # Names of subcategories and of tasks are kept apart.
    clusters = []
    for task in tasks:
        cluster = yardstick.clusters.get(task)
        clusters.append(f"task {task}" if not cluster else f"group {cluster}")
    return tuple(clusters)


@dataclass(frozen=True, eq=False)
class _Gains:
    """A method's scores, references and floors [S, T], seed by seed."""

    score: np.ndarray
    reference: np.ndarray
    floor: np.ndarray

    @classmethod
    def of(
        cls,
        method: Scores,
        yardstick: Yardstick,
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> "_Gains":
        score = method.on(tasks, seeds)
        reference = yardstick.reference.on(tasks)
        floor = yardstick.floor.on(tasks)
        if tuple(seeds) == yardstick.reference.seeds and not np.isnan(reference).any():
            return cls(score, reference, floor)
        # A method of fewer seeds stands beside the mean of all that there are.
        shape = (len(seeds), 1)
        means = np.tile(yardstick.reference.mean(tasks), shape)
        return cls(score, means, np.tile(yardstick.floor.mean(tasks), shape))

    def ratio(self, counted: np.ndarray) -> float:
        """Return R."""
        return _ratio(
            float((self.score - self.floor).mean(0)[counted].sum()),
            float((self.reference - self.floor).mean(0)[counted].sum()),
        )

    def drawn(self, counted: np.ndarray, draws: Draws) -> np.ndarray:
        """Return R in each draw [B]; NaN where no counted task was drawn."""
        weights = draws.tasks * counted  # [B, T]
        gained = ((draws.seeds @ (self.score - self.floor)) * weights).sum(1)
        possible = ((draws.seeds @ (self.reference - self.floor)) * weights).sum(1)
        return _ratios(gained, possible)

    def recovered(self, counted: np.ndarray, draws: Draws) -> Estimate:
        """Return R with its interval."""
        return Estimate.of(self.ratio(counted), self.drawn(counted, draws))

    def relative(self, draws: Draws) -> Estimate:
        """Return E_rel with its interval."""
        # Correlations and the like may have a reference of zero or less.
        positive = self.reference.mean(0) > 0
        score = self.score[:, positive]
        reference = self.reference[:, positive]
        ratios = score.mean(0) / reference.mean(0)
        value = _ratio(float(ratios.sum()), len(ratios))

        # The tasks stay the same: one whose reference is 0 with the drawn seeds adds nothing.
        scores = draws.seeds @ score  # [B, T]
        references = draws.seeds @ reference
        shares = np.divide(scores, references, out=np.zeros_like(scores), where=references > 0)
        weights = draws.tasks[:, positive]
        drawn = _ratios((shares * weights).sum(1), weights.sum(1))
        return Estimate.of(value, drawn)

    def share_of_tasks(self, counted: np.ndarray) -> float:
        """Return the share of the counted tasks that recover 80 % or more."""
        gained = (self.score - self.floor).mean(0)[counted]
        possible = (self.reference - self.floor).mean(0)[counted]
        done = gained >= WELL * possible - EQUAL
        return _ratio(float(done.sum()), float(counted.sum()))


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _ratios(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return above / below; NaN where nothing is below."""
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
