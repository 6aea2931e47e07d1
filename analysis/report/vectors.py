"""The page's figures of where tasks lie in the subspace: views and a bare Figure in.

A function draws no axes where too few tasks have an intrinsic vector.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ipt.analysis.geometry import (
    cosine_matrix,
    embed,
    linkage,
    nearest_distance,
    rank_correlation,
    spectrum,
)
from ipt.analysis.plots.maps import cosine_map, distance_scatter, place_names
from ipt.analysis.plots.style import ROW_HEIGHT, entry, legend, tidy
from ipt.analysis.report.colours import FAINT, KINDS, NO_KIND
from ipt.analysis.report.views import View

WIDTH = 6.0  # inches of a figure that stands in one of the page's two columns
NAME = 8.25  # points of a name: 11 px on the page
LEAST_OF_GROUP = 3  # tasks of a group whose similarity is shown
SHUFFLES = 200
LEAST = 4  # tasks; fewer show nothing


def draw_codes(figure: Figure, views: Sequence[View]) -> None:
    """Scatter the intrinsic vectors' first two principal components.

    Unseen tasks have a name and the mark of their kind, and a line to the nearest seen task.
    """
    view = views[0]
    names, vectors = view.points  # [T, d]
    # components need two dimensions, and vectors that differ
    if len(vectors) < LEAST or vectors.shape[1] < 2 or not np.ptp(vectors):
        return

    figure.set_size_inches(WIDTH, 5)
    axes = figure.subplots()
    places = embed(vectors)  # [T, 2]
    is_seen = np.array([name in view.seen for name in names])  # [T]
    _draw_nearest(axes, vectors, places, is_seen)
    for name, seen, (x, y) in zip(names, is_seen, places, strict=True):
        colour, marker = (FAINT, "o") if seen else view.kind_style(name)
        point = axes.scatter(
            x,
            y,
            s=20 if seen else 81,  # a mark of 9 points has 12 pixels
            marker=marker,
            facecolors="none" if seen else colour,
            edgecolors=colour,
            zorder=2 if seen else 3,
        )
        # the page finds the task by it
        point.set_gid(f"task-{view.names.index(name)}")

    first, second, *_ = 100 * spectrum(vectors)  # per cent
    tidy(axes, f"component 1 ({first:.0f} %)", f"component 2 ({second:.0f} %)")
    title = f"two of {vectors.shape[1]} directions, {first + second:.0f} % of the variance"
    axes.set_title(title, loc="right", fontsize=NAME)

    shown = []
    if is_seen.any():
        shown.append(entry("seen", FAINT, "o", face="none"))
    kinds = {view.kind(name) for name, seen in zip(names, is_seen, strict=True) if not seen}
    if not view.has_groups and kinds:
        shown.append(entry("unseen", *NO_KIND))
    for kind, (colour, marker) in KINDS.items():
        if kind in kinds:
            shown.append(entry(f"unseen, {kind}", colour, marker))
    legend(axes, shown, loc="lower left", bbox_to_anchor=(0, 1.05), ncols=len(shown))

    # last: where a name has room follows from all else
    order = np.argsort(is_seen, kind="stable")
    unseen = [name for name, seen in zip(names, is_seen, strict=True) if not seen]
    place_names(axes, places[order], unseen, size=NAME)


def _draw_nearest(axes: Axes, vectors: np.ndarray, places: np.ndarray, seen: np.ndarray) -> None:
    """Draw a thin line from each unseen task to the seen one that is nearest in all directions.

    vectors: [T, d]; places: [T, 2]; seen: [T].
    """
    if not seen.any():
        return
    for row in np.flatnonzero(~seen):
        distances = np.linalg.norm(vectors[seen] - vectors[row], axis=1)
        nearest = np.flatnonzero(seen)[distances.argmin()]
        ends = places[[row, nearest]]
        axes.plot(ends[:, 0], ends[:, 1], color=FAINT, linewidth=0.7, zorder=1)


def draw_cosines(figure: Figure, views: Sequence[View]) -> None:
    """Draw the mean cosine between tasks of each two subcategories, similar ones side by side."""
    view = views[0]
    names, vectors = view.points
    group_of_task = view.subcategories_of(names)
    counts = Counter(group_of_task)
    groups = sorted(group for group, count in counts.items() if count >= LEAST_OF_GROUP)
    if len(groups) < 2:
        return
    # Groups of a task or two are noise
    kept = [i for i, group in enumerate(group_of_task) if group in groups]
    vectors = vectors[kept]
    group_of_task = [group_of_task[i] for i in kept]
    names = [names[i] for i in kept]

    # 1 where a task is in a group
    member = np.zeros((len(groups), len(names)))
    for column, group in enumerate(group_of_task):
        member[groups.index(group), column] = 1
    means = _mean_cosines(vectors, member)

    side = max(2.0, ROW_HEIGHT * len(groups))
    figure.set_size_inches(side + 2.6, 1.15 * side + 1.2)
    cosine_map(
        figure.subplots(),
        means,
        names=[group or "none" for group in groups],
        tree=linkage(means),
        unit="mean cosine",
    )
    within, shuffled, deviation = within_groups(vectors, group_of_task)
    figure.suptitle(
        f"within: {within:.2f}; shuffled: {shuffled:.2f} ± {deviation:.2f}".replace("-", "−"),
        fontsize=NAME,
    )


def within_groups(vectors: np.ndarray, groups: Sequence[str]) -> tuple[float, float, float]:
    """Return the mean cosine of tasks of one group, and its mean and deviation with shuffled names.

    vectors: [T, d]; groups: [T].
    """
    cosines = cosine_matrix(vectors)  # [T, T]
    labels = np.array(groups, dtype=object)
    pairs = ~np.eye(len(labels), dtype=bool)

    def mean_within(names: np.ndarray) -> float:
        return float(cosines[(names[:, None] == names[None]) & pairs].mean())

    # The seed is fixed: a page made again is the same
    generator = np.random.default_rng(0)
    shuffled = [mean_within(generator.permutation(labels)) for _ in range(SHUFFLES)]
    return mean_within(labels), float(np.mean(shuffled)), float(np.std(shuffled))


def _mean_cosines(vectors: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Return the mean cosine [groups, groups] between tasks of two groups; NaN where no pair is.

    vectors: [T, d]
    member: [groups, T], 1 where a task is in a group.
    """
    # A task has cosine 1 with itself, which says nothing: the diagonal is 0
    apart = 1 - np.eye(len(vectors))
    cosines = cosine_matrix(vectors) * apart  # [T, T]

    # A sum over pairs of tasks is a product with the membership on both sides
    pairs = member @ apart @ member.T  # [groups, groups] how many
    sums = member @ cosines @ member.T
    empty = np.full(pairs.shape, math.nan)
    return np.divide(sums, pairs, out=empty, where=pairs > 0)


def draw_distances(figure: Figure, views: Sequence[View]) -> None:
    """Draw the recovery of each unseen task against the distance of its code to a seen one."""
    view = views[0]
    names, vectors = view.points
    tasks = []
    shares = []
    rows = []
    for task in view.scored_tasks(names):
        # NaN, where there is nothing to recover, is left out by the comparison
        if task.name in view.unseen and task.recovery >= 0:
            tasks.append(task.name)
            shares.append(task.recovery)
            rows.append(names.index(task.name))
    seen = vectors[[name in view.seen for name in names]]  # [seen, d]
    if len(tasks) < LEAST or len(seen) == 0:
        return

    distances = nearest_distance(vectors[rows], seen)  # [tasks]
    recovery = np.array(shares)  # [tasks]
    figure.set_size_inches(WIDTH, 3.8)
    axes = distance_scatter(
        figure.subplots(),
        distances,
        recovery,
        correlation=rank_correlation(distances, recovery),
        names=tasks,
        size=NAME,
    )

    # a collection a task, so that the page can name each
    for point, name in zip(axes.collections, tasks, strict=True):
        point.set_gid(f"task-{view.names.index(name)}")
