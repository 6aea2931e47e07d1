"""The page's figures of where tasks lie in the subspace: views and a bare Figure in.

A function draws no axes where too few tasks have an intrinsic vector.
"""

import math
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
from ipt.analysis.plots.maps import cosine_map, distance_scatter
from ipt.analysis.plots.style import ROW_HEIGHT, Style, entry, legend, tidy
from ipt.analysis.report.views import View

# At least 3 : 1 on white and on the page's dark ground
PALETTE = (
    "#2a78c2",
    "#d1352b",
    "#2b9348",
    "#9a5cc9",
    "#c26a12",
    "#d6478f",
    "#0f8f9c",
    "#857a00",
    "#5b6ee1",
    "#5f9e1f",
)
SHAPES = "s^Dv<P>X*p"  # beside the colours, for every kind of colour vision
OTHERS = Style("#8b9097", "o")  # of what has no colour of its own

LEAST = 4  # tasks; fewer show nothing


def draw_codes(figure: Figure, views: Sequence[View]) -> None:
    """Scatter the intrinsic vectors' first two principal components.

    The most common subcategories have a mark of their own.
    """
    view = views[0]
    vectors = view.points.vectors  # [T, d]
    # components need two dimensions, and vectors that differ
    if len(vectors) < LEAST or vectors.shape[1] < 2 or not np.ptp(vectors):
        return

    subcategories = view.subcategories_of(view.points.names)
    styles = _styles_of(subcategories)
    figure.set_size_inches(7.2, 5)
    axes = figure.subplots()
    _scatter_tasks(axes, view, styles)

    first, second, *_ = 100 * spectrum(vectors)  # per cent
    tidy(
        axes,
        f"component 1 ({first:.0f} % of the variance)",
        f"component 2 ({second:.0f} %)",
    )

    # filled and hollow are explained without a colour: they hold for every colour
    shown = []
    if not set(view.seen).isdisjoint(view.points.names):
        shown.append(entry("seen", OTHERS.colour, OTHERS.marker))
    if not set(view.unseen).isdisjoint(view.points.names):
        shown.append(entry("unseen", OTHERS.colour, OTHERS.marker, face="none"))
    for subcategory, style in styles.items():
        shown.append(entry(subcategory, style.colour, style.marker))
    others = set(subcategories) - set(styles)
    if others:
        name = f"{len(others)} other subcategories"
        shown.append(entry(name, OTHERS.colour, OTHERS.marker))
    legend(axes, shown)


def _styles_of(groups: Sequence[str]) -> dict[str, Style]:
    """Return a style for each of the ten most common groups, in the order of their names."""
    # the largest first, of equal ones that whose name comes first
    by_size = sorted(set(groups), key=lambda group: (-groups.count(group), group))
    common = sorted(by_size[: len(PALETTE)])

    styles = {}
    for group, colour, marker in zip(common, PALETTE, SHAPES, strict=False):
        styles[group] = Style(colour, marker)
    return styles


def _scatter_tasks(axes: Axes, view: View, styles: dict[str, Style]) -> None:
    """Draw a point a task, of seen tasks filled, that the page can name."""
    places = embed(view.points.vectors)  # [T, 2]
    for name, (x, y) in zip(view.points.names, places, strict=True):
        colour, marker = styles.get(view.tasks[name].subcategory, OTHERS)
        point = axes.scatter(
            x,
            y,
            s=40,
            marker=marker,
            facecolors="none" if name in view.unseen else colour,
            edgecolors=colour,
        )
        # the page finds the task by it
        point.set_gid(f"task-{view.names.index(name)}")


def draw_cosines(figure: Figure, views: Sequence[View]) -> None:
    """Draw the mean cosine between tasks of each two subcategories, similar ones side by side."""
    view = views[0]
    names, vectors = view.points
    group_of_task = view.subcategories_of(names)
    groups = sorted(set(group_of_task))
    if len(groups) < 2:
        return

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
    figure.set_size_inches(6, 3.8)
    axes = distance_scatter(
        figure.subplots(),
        distances,
        recovery,
        correlation=rank_correlation(distances, recovery),
        names=tasks,
    )

    # a collection a task, so that the page can name each
    for point, name in zip(axes.collections, tasks, strict=True):
        point.set_gid(f"task-{view.names.index(name)}")
