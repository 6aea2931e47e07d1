"""Drawings of the geometry of `ipt.analysis.geometry`: arrays in, Axes out.

Nothing here reads a file. Give the axes a figure of its printed size and call these last: names
that have no free place in it are left out.

Letters: N points or tasks, U unseen tasks, d intrinsic dim, P places on a path, S starts, G1 and G2
places of a grid.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from scipy.cluster import hierarchy

from ipt.analysis.geometry import leaf_order
from ipt.analysis.plots.style import (
    COLOURS,
    GREY,
    GUIDE,
    INK,
    LARGEST_SHARE,
    MEDIUM,
    RECOVERY,
    SMALL,
    LegendEntry,
    entries,
    entry,
    legend,
    printable,
    style,
    thin_labels,
    tidy,
)

CODES = "SD of seen codes"  # each coordinate has deviation 1 over the seen tasks
LOSS = "loss (nats per token)"

# On an image, whatever the page's theme. Pure black, SVG's default, is not written into a file, so
# that the page's text colour would replace it
BLACK = "#010101"
ABSENT = "#BBBBBB"  # of a cell without a value
FAINT = "#AAAAAA"  # of groups without a mark of their own

GROUPS = 17  # with a mark of their own; more cannot be told apart
POINT = 4.8  # width of a point with its rim, in points


class Offset(NamedTuple):
    """Where a name stands beside its point, in points."""

    x: int
    y: int
    horizontal: str
    vertical: str


OFFSETS = (
    # in the order in which they are tried
    Offset(4, 0, "left", "center"),
    Offset(-4, 0, "right", "center"),
    Offset(0, 4, "center", "bottom"),
    Offset(0, -4, "center", "top"),
    Offset(3, 3, "left", "bottom"),
    Offset(-3, 3, "right", "bottom"),
    Offset(3, -3, "left", "top"),
    Offset(-3, -3, "right", "top"),
)


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A plane of codes, and what lies in it."""

    first: np.ndarray  # [G1] coordinates along its first direction
    second: np.ndarray  # [G2] coordinates along its second direction
    path: np.ndarray  # [P, 2] a search, from a circle to a star
    starts: np.ndarray  # [S, 2] squares
    tasks: Mapping[str, Sequence[float]]  # seen tasks near it, name to coordinates


def points_map(
    axes: Axes,
    points: np.ndarray,
    groups: Sequence[str],
    seen: Sequence[bool] | None = None,
    names: Sequence[str] = (),
    unit: str = CODES,
) -> Axes:
    """Scatter points, with a colour and a marker shape for each of the 17 largest groups.

    points: [N, 2], of seen tasks filled, of unseen ones hollow.
    groups: [N]
    seen: [N], all where left out.
    names: [N], written where there is room; none where left out.
    unit: of both axes; t-SNE and UMAP have none.
    """
    filled = np.ones(len(points), bool)  # [N]
    if seen is not None:
        filled = np.asarray(seen, dtype=bool)

    # sorted first, so that of groups of one size those are chosen whose names come first
    counts = Counter(sorted(groups))
    largest = [name for name, _ in counts.most_common(GROUPS)]
    shown: list[LegendEntry] = []

    for i, name in enumerate(sorted(largest)):
        colour, marker = style(i)
        member = np.array([group == name for group in groups])  # [N]
        _scatter(axes, points, member, filled, colour=colour, marker=marker)
        shown.append(entry(name, colour, marker))

    # what is left has one mark together
    others = set(groups) - set(largest)
    if others:
        member = np.array([group in others for group in groups])
        _scatter(axes, points, member, filled, colour=FAINT, marker="o")
        shown.append(entry(f"other ({len(others)} groups)", FAINT, "o"))

    # without unseen tasks there is nothing to tell apart
    if not filled.all():
        shown.append(entry("seen", GREY, "o"))
        shown.append(entry("unseen", GREY, "o", face="none"))

    legend(axes, shown)
    tidy(axes, f"first direction ({unit})", f"second direction ({unit})")
    axes.set_aspect("equal", "datalim")
    place_names(axes, points, names)
    return axes


def _scatter(
    axes: Axes,
    points: np.ndarray,
    member: np.ndarray,
    filled: np.ndarray,
    *,
    colour: str,
    marker: str,
) -> None:
    """Scatter one group's points, first those that are filled.

    member, filled: [N] booleans.
    """
    faces = {colour: member & filled, "none": member & ~filled}
    for face, chosen in faces.items():
        axes.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=22,
            marker=marker,
            facecolors=face,
            edgecolors=colour,
            linewidths=0.9,
        )


def place_names(
    axes: Axes,
    points: np.ndarray,
    names: Sequence[str],
    on_image: bool = False,
    size: float = SMALL,
) -> None:
    """Write names beside points where they touch no other name, no point and no edge.

    points: [N, 2]
    names: [M], of the first M points; those that have no free place are left out.
    on_image: black with a white rim, to be read on any colour.
    size: of the letters, in points.
    """
    if not names:
        return
    axes.figure.canvas.figure.draw_without_rendering()  # the layout fixes where points are
    pixels = axes.figure.dpi / 72  # of a point

    # Nothing may be written on a point, nor on a name that has its place
    taken = []
    for x, y in axes.transData.transform(points):
        box = Bbox.from_bounds(
            x - POINT / 2 * pixels,
            y - POINT / 2 * pixels,
            POINT * pixels,
            POINT * pixels,
        )
        taken.append(box)

    for point, name in zip(points, names, strict=False):
        text = axes.annotate(
            printable(name, 24),
            tuple(point),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            zorder=4,
        )
        if on_image:
            rim = withStroke(linewidth=1.5, foreground="white")
            text.set(color=BLACK, path_effects=[rim])
        # a name at the edge must not make the axes smaller
        text.set_in_layout(False)

        place = _free_place(axes, text, taken)
        if place is None:
            text.remove()
        else:
            taken.append(place)


def _free_place(axes: Axes, text: Annotation, taken: Sequence[Bbox]) -> Bbox | None:
    """Move a text to its first place that is free, and return its box; None where there is none."""
    pixels = axes.figure.dpi / 72  # of a point
    frame = axes.get_window_extent()
    for offset in OFFSETS:
        text.set(
            position=(offset.x, offset.y),
            ha=offset.horizontal,
            va=offset.vertical,
        )
        extent = text.get_window_extent()
        box = extent.padded(2 * pixels, 0.5 * pixels)
        is_inside_x = frame.x0 <= box.x0 and box.x1 <= frame.x1
        is_inside_y = frame.y0 <= box.y0 and box.y1 <= frame.y1
        if is_inside_x and is_inside_y and not box.count_overlaps(taken):
            return box
    return None


def cosine_map(
    axes: Axes,
    cosines: np.ndarray,
    names: Sequence[str],
    tree: np.ndarray,
    unit: str = "cosine of two tasks' codes",
) -> Axes:
    """Draw cosines as a heat map in the order of a tree, with the tree above it.

    cosines: [N, N]; NaN is grey.
    names: [N]
    tree: [N - 1, 4] of `linkage`.
    unit: what a cell is.
    """
    order = leaf_order(tree)  # [N]
    image = axes.imshow(
        cosines[np.ix_(order, order)],
        cmap="RdBu_r",
        vmin=-1,
        vmax=1,
        interpolation="nearest",
        aspect="auto",
    )

    # as wide as the map, so that each leaf stands above its column
    above = axes.inset_axes((0, 1.01, 1, 0.15))
    hierarchy.dendrogram(
        tree,
        ax=above,
        no_labels=True,
        link_color_func=lambda _: INK,
    )
    for line in above.collections:
        line.set_linewidth(0.6)
    above.axis("off")

    # rows as columns: the map is symmetric
    ordered = [names[i] for i in order]
    _name_cells(axes, columns=ordered, rows=ordered)
    axes.set_facecolor(ABSENT)
    _colour_bar(axes, image, unit)
    return axes


def transfer_map(
    axes: Axes,
    scores: np.ndarray,
    names: Sequence[str],
    unit: str = "score",
) -> Axes:
    """Draw what each task's code scores on every task, a task's own code framed.

    scores: [N, N], of the code of task i (row) on task j (column); NaN is grey.
    names: [N]
    unit: what a cell is.
    """
    image = axes.imshow(scores, cmap="viridis", interpolation="nearest", aspect="auto")
    axes.set_facecolor(ABSENT)
    # around the diagonal: a code on the task that it was tuned for
    for i in range(len(names)):
        corner = (i - 0.5, i - 0.5)
        frame = Rectangle(
            corner,
            1,
            1,
            fill=False,
            edgecolor="white",
            linewidth=0.7,
        )
        axes.add_patch(frame)
    _name_cells(axes, columns=names, rows=names)
    axes.set_xlabel("applied to the task", fontsize=MEDIUM)
    axes.set_ylabel("code of the task", fontsize=MEDIUM)
    _colour_bar(axes, image, unit)
    return axes


def _name_cells(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.set_xticks(
        range(len(columns)),
        [printable(name, 24) for name in columns],
        rotation=90,
        fontsize=SMALL,
    )
    axes.set_yticks(
        range(len(rows)),
        [printable(name, 24) for name in rows],
        fontsize=SMALL,
    )
    axes.tick_params(length=2)
    for axis in (axes.xaxis, axes.yaxis):
        thin_labels(axis)


def _colour_bar(axes: Axes, image: ScalarMappable, unit: str) -> None:
    # beside the axes and as high as they are
    place = axes.inset_axes((1.03, 0, 0.04, 1))
    bar = axes.figure.colorbar(image, cax=place)
    bar.set_label(unit, fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=SMALL + 1)


def spectrum_lines(axes: Axes, spectra: Mapping[str, np.ndarray]) -> Axes:
    """Draw the cumulative share of variance against the number of components.

    spectra: name to shares of variance, largest first (see `spectrum`).
    """
    for i, shares in enumerate(spectra.values()):
        colour, marker = style(i)
        axes.plot(
            1 + np.arange(len(shares)),
            100 * np.cumsum(shares),
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.2,
        )
    axes.axhline(90, **GUIDE, zorder=0)  # see `components_for`
    axes.set_ylim(0, 102)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "components, largest first", "cumulative share of variance (%)")
    legend(axes, entries(spectra))
    return axes


def angle_lines(axes: Axes, angles: Mapping[str, np.ndarray], random: np.ndarray) -> Axes:
    """Draw the principal angles of pairs of subspaces against those of random ones, in grey.

    A line is the mean over pairs; up to three lines have a band from the least to the largest.

    angles: name to [pairs, d] in degrees, smallest first.
    random: [draws, d] of `random_angles`, of which 95 % are in the band.
    """
    numbers = 1 + np.arange(random.shape[1])
    low, high = np.percentile(random, (2.5, 97.5), axis=0)  # [d] each
    axes.fill_between(numbers, low, high, color=GREY, alpha=0.4, linewidth=0)
    axes.plot(numbers, random.mean(0), color=GREY, linewidth=1.2)

    for i, degrees in enumerate(angles.values()):
        colour, marker = style(i)
        # more bands than three hide each other
        if len(angles) <= 3:
            axes.fill_between(
                numbers,
                degrees.min(0),
                degrees.max(0),
                color=colour,
                alpha=0.2,
                linewidth=0,
            )
        axes.plot(
            numbers,
            degrees.mean(0),
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.2,
        )

    axes.set(ylim=(0, 92), yticks=range(0, 91, 15))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "number of the angle, smallest first", "principal angle (degrees)")
    chance = entry("random subspaces", GREY, "_")
    legend(axes, [*entries(angles), chance])
    return axes


def distance_scatter(
    axes: Axes,
    distances: np.ndarray,
    recovery: np.ndarray,
    correlation: tuple[float, float],
    names: Sequence[str] = (),
    size: float = SMALL,
) -> Axes:
    """Draw the share recovered of each unseen task against the distance of its code to a seen one.

    Each point is a collection of its own; shares above 150 % are triangles at 150.

    distances: [U] to the nearest seen code.
    recovery: [U] shares.
    correlation: rho and p value of `rank_correlation`.
    names: [U], written where there is room; none where left out.
    size: of their letters, in points.
    """
    shares = 100 * np.asarray(recovery, dtype=float)  # [U] per cent
    heights = shares.clip(max=LARGEST_SHARE)
    points = np.column_stack([distances, heights])  # [U, 2]

    texts = []
    # A collection each, so that a page can name every point
    given = names or [""] * len(shares)
    for (x, y), share, name in zip(points, shares, given, strict=True):
        is_cut = share > LARGEST_SHARE
        axes.scatter(
            x,
            y,
            s=22,
            color=COLOURS[0],
            marker="^" if is_cut else "o",
            linewidths=0,
        )
        texts.append(f"{name} ({share:.0f} %)" if is_cut else name)

    axes.axhline(100, **GUIDE, zorder=0)
    rho, p_value = correlation
    title = f"Spearman's rho = {rho:.2f}, permutation p = {p_value:.3f}"
    # a minus is as wide as a figure, a hyphen is not
    axes.set_title(title.replace("-", "−"), fontsize=MEDIUM)
    tidy(axes, f"distance to the nearest seen code ({CODES})", RECOVERY)
    place_names(axes, points, texts, size=size)
    return axes


def code_bars(axes: Axes, code: np.ndarray, error: np.ndarray) -> Axes:
    """Draw a code's numbers, each with an error bar of one standard deviation.

    code, error: [d]
    """
    axes.errorbar(
        np.arange(len(code)),
        code,
        yerr=error,
        color=COLOURS[0],
        marker="o",
        markersize=4,
        linestyle="none",
        capsize=3,
    )
    axes.axhline(0, **GUIDE, zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "number", f"value ({CODES})")
    return axes


def between_lines(axes: Axes, scores: np.ndarray, names: Sequence[str]) -> Axes:
    """Draw the scores of two tasks at codes on the line from the first task's to the second's.

    scores: [2, P]
    names: [2]
    """
    for i, heights in enumerate(scores):
        colour, marker = style(i)
        axes.plot(
            np.linspace(0, 100, len(heights)),
            heights,
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.2,
        )
    axes.set_ylim(0, 1.02)
    tidy(axes, "way from the first to the second (%)", "score")
    legend(axes, entries(names), loc="lower left", bbox_to_anchor=(0, 1.0))
    return axes


def change_map(axes: Axes, change: np.ndarray) -> Axes:
    """Draw how far each prompt vector moves along each intrinsic axis.

    change: [d, n], as shares of the vector's length.
    """
    image = axes.imshow(
        change,
        cmap="viridis",
        interpolation="nearest",
        aspect="auto",
        vmin=0,
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "vector of the prompt", "number")
    _colour_bar(axes, image, "change / length")
    return axes


def landscape_map(
    axes: Axes,
    values: np.ndarray,
    plane: Plane,
    unit: str = LOSS,
    size: float = SMALL,
) -> Axes:
    """Draw values over a plane of codes, with a search's path and the seen tasks near it.

    values: [G1, G2]
    unit: what a value is; a loss is bright where it is low, all else where it is high.
    size: of the names' letters, in points.
    """
    across = values.T  # rows upwards, columns to the right
    image = axes.pcolormesh(
        plane.first,
        plane.second,
        across,
        shading="nearest",
        cmap="viridis_r" if unit == LOSS else "viridis",
        rasterized=True,
    )
    axes.contour(
        plane.first,
        plane.second,
        across,
        levels=8,
        colors="white",
        linewidths=0.4,
        alpha=0.7,
    )

    # white on black, to be seen on any colour
    path_x, path_y = plane.path.T
    axes.plot(path_x, path_y, color=BLACK, linewidth=2.4)
    axes.plot(path_x, path_y, color="white", linewidth=1.2)
    _mark_places(axes, plane)

    axes.set(
        xlim=(plane.first[0], plane.first[-1]),
        ylim=(plane.second[0], plane.second[-1]),
    )
    tidy(axes, f"first direction ({CODES})", f"second direction ({CODES})")
    _colour_bar(axes, image, unit)

    # the tasks first: these are named, and no name may stand on the others
    points = np.concatenate([_places_of(plane.tasks), plane.starts, plane.path])
    place_names(axes, points, list(plane.tasks), on_image=True, size=size)
    return axes


def _places_of(tasks: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Return the coordinates [tasks, 2]; no rows where there are no tasks."""
    coordinates = np.array(list(tasks.values()), dtype=float)
    return coordinates.reshape(-1, 2)


def _mark_places(axes: Axes, plane: Plane) -> None:
    """Mark starts, both ends of the path and seen tasks, and name the marks above the axes."""
    first = plane.path[:1]
    last = plane.path[-1:]
    places = {
        # below the circle of the path, which begins at one of them
        "start": (plane.starts, "s", "white"),
        "path, first": (first, "o", "white"),
        "path, last": (last, "*", "white"),
        "seen task": (_places_of(plane.tasks), "D", COLOURS[1]),
    }
    shown = []
    for name, (points, marker, face) in places.items():
        # an entry without a mark would be looked for in vain
        if len(points):
            shown.append(_marks_on_image(axes, name, points, marker=marker, face=face))
    legend(
        axes,
        shown,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=len(shown),
        columnspacing=1,
    )


def _marks_on_image(
    axes: Axes,
    name: str,
    points: np.ndarray,
    marker: str,
    face: str = "white",
) -> LegendEntry:
    """Mark points [N, 2] on an image and return the legend's entry."""
    axes.scatter(
        points[:, 0],
        points[:, 1],
        marker=marker,
        # a star of one area with a circle looks smaller; a square must show behind a circle
        s={"*": 70, "s": 55}.get(marker, 20),
        facecolors=face,
        edgecolors=BLACK,
        linewidths=0.8,
        zorder=3,
    )
    return entry(name, INK, marker, face=face)
