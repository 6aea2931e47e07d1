"""Compare two methods task by task: the mean difference, its interval, and Wilcoxon's test.

Tasks differ more from each other than methods do, so scores are compared in pairs, one per task.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

from ipt.analysis.scores import NONE, Groups
from ipt.recovery import bootstrap

# Heads of the table of comparisons.
COMPARED = (
    "tasks",
    "n",
    "mean difference",
    "95 % interval",
    "Wilcoxon p",
    "wins",
    "ties",
    "losses",
)
# Differences are rounded to so many: 0.8 - 0.6 is 0.7 - 0.5.
DIGITS = 12
# A p value below it is not written out.
LEAST_P = 0.001


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same tasks, first minus second."""

    tasks: int
    difference: float
    """Mean over tasks."""
    interval: tuple[float, float]
    """Bootstrap 95 % interval of the mean difference over tasks; NaN for one task."""
    p_value: float
    """Wilcoxon signed-rank test, two-sided, ties left out; 1 where all are ties."""
    wins: int
    """Tasks on which the first is better."""
    ties: int
    losses: int


def compare(first: Mapping[str, float], second: Mapping[str, float]) -> Comparison:
    """Compare two methods' scores (or recoveries) by task.

    first, second: by task; ValueError is raised where they are not of the same tasks.
    """
    if set(first) != set(second) or not first:
        unpaired = sorted(set(first) ^ set(second))
        raise ValueError(
            "scores of the same tasks were expected, found some in one method only: "
            f"{unpaired}; leave those out"
        )

    # Sorted, so that the resamples do not depend on the order of the tasks.
    pairs = []
    for name in sorted(first):
        pairs.append(first[name] - second[name])

    # Rounding must make neither wins of ties nor different ranks of equal differences.
    differences = np.array(pairs).round(DIGITS)
    apart = differences[differences != 0]

    # One task cannot be resampled, and a test without differences says nothing.
    interval = (math.nan, math.nan)
    if len(differences) > 1:
        interval = bootstrap(differences)
    p_value = 1.0
    if len(apart):
        p_value = float(wilcoxon(apart).pvalue)

    return Comparison(
        tasks=len(differences),
        difference=float(differences.mean()),
        interval=interval,
        p_value=p_value,
        wins=int((differences > 0).sum()),
        ties=len(differences) - len(apart),
        losses=int((differences < 0).sum()),
    )


def compare_groups(
    first: Mapping[str, float],
    second: Mapping[str, float],
    chosen: Groups,
) -> dict[str, Comparison]:
    """Compare two methods on each group of tasks; a group that neither has a task of is left out.

    chosen: names of tasks by group, such as those of `ipt.analysis.scores.groups`.
    """
    # In the order of the groups.
    comparisons = {}
    for group, members in chosen.items():
        ours = _of_group(first, members)
        others = _of_group(second, members)
        # A group that one alone has is an error of `compare`, not passed over.
        if ours or others:
            comparisons[group] = compare(ours, others)
    return comparisons


def _of_group(scores: Mapping[str, float], members: frozenset[str]) -> dict[str, float]:
    group_scores = {}
    for name, score in scores.items():
        if name in members:
            group_scores[name] = score
    return group_scores


def comparison_rows(comparisons: Mapping[str, Comparison]) -> list[tuple[str, ...]]:
    """Return the cells below `COMPARED`, a row per group; differences in points of the score."""
    # In the order of `COMPARED`.
    rows: list[tuple[str, ...]] = []
    for group, comparison in comparisons.items():
        row = (
            group,
            str(comparison.tasks),
            _signed(comparison.difference),
            _signed_interval(comparison.interval),
            _p_text(comparison.p_value),
            str(comparison.wins),
            str(comparison.ties),
            str(comparison.losses),
        )
        rows.append(row)
    return rows


def _signed(value: float) -> str:
    # With a minus sign as wide as the plus.
    return f"{value:+.3f}".replace("-", "−")


def _signed_interval(interval: tuple[float, float]) -> str:
    # NaN: of one task.
    low, high = interval
    return NONE if math.isnan(low) else f"{_signed(low)} … {_signed(high)}"


def _p_text(p_value: float) -> str:
    # Three digits would show 0.000.
    return f"< {LEAST_P}" if p_value < LEAST_P else f"{p_value:.3f}"
