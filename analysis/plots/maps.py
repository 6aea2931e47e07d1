"""Drawings of the geometry of `ipt.analysis.geometry`: arrays in, Axes out. Nothing here reads a file.

Give the axes a figure of its printed size and call these last: names that find no free place in it are left out.
Letters: N points or tasks, U unseen tasks, d intrinsic dim, P places on a path, S starts, G1 and G2 places of a grid.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox
from scipy.cluster import hierarchy

from ipt.analysis.geometry import leaf_order
from ipt.analysis.plots.bars import (
    COLOURS,
    GREY,
    INK,
    MEDIUM,
    MOST,
    RECOVERY,
    SMALL,
    legend,
    mark,
    marks,
    printable,
    style,
    thin_labels,
    tidy,
)

CODES = "SD of seen codes"  # each coordinate has deviation 1 over the seen tasks
BLACK = "#010101"  # on an image, whatever the page's theme: pure black is left out of an SVG and takes the text's colour
ABSENT = "#BBBBBB"  # of a cell without a value
GROUPS = 17  # with their own mark; more cannot be told apart
PLACES = [(x, y) for x, y in ((4, 0), (-4, 0), (0, 4), (0, -4), (3, 3), (-3, 3), (3, -3), (-3, -3))]  # of a name, points from its point


def points_map(
    axes: Axes,
    points: np.ndarray,
    groups: Sequence[str],
    seen: Sequence[bool] | None = None,
    names: Sequence[str] = (),
    unit: str = CODES,
) -> Axes:
    """Scatter 2-D points [N, 2], a colour and a marker shape for each of the 17 largest groups; seen tasks filled, unseen ones hollow.

    seen: all where left out. names: label the points that have room. unit: of both axes; t-SNE and UMAP have none.
    """
    filled = np.ones(len(points), bool) if seen is None else np.asarray(seen, dtype=bool)
    shown = sorted(name for name, _ in Counter(sorted(groups)).most_common(GROUPS))
    drawn = [(name, *style(i), np.array([group == name for group in groups])) for i, name in enumerate(shown)]
    if rest := set(groups) - set(shown):
        drawn.append((f"other ({len(rest)} groups)", "#AAAAAA", "o", np.array([group in rest for group in groups])))
    for _, colour, marker, member in drawn:
        for chosen, face in ((member & filled, colour), (member & ~filled, "none")):
            axes.scatter(points[chosen, 0], points[chosen, 1], s=22, marker=marker, facecolors=face, edgecolors=colour, linewidths=0.9)
    kinds = [] if filled.all() else [("seen", mark(GREY, "o")), ("unseen", mark(GREY, "o", "none"))]
    legend(axes, [(name, mark(colour, marker)) for name, colour, marker, _ in drawn] + kinds)
    tidy(axes, f"first direction ({unit})", f"second direction ({unit})")
    axes.set_aspect("equal", "datalim")
    place_names(axes, points, names)
    return axes


def place_names(axes: Axes, points: np.ndarray, names: Sequence[str], on_image: bool = False) -> None:
    """Write names [M] beside the first of the points [N, 2] where they touch no other name, no point and no edge; leave out the rest.

    on_image: black with a white rim, to be read on any colour.
    """
    if not names:
        return
    axes.figure.canvas.figure.draw_without_rendering()  # the layout fixes where points are
    unit = axes.figure.dpi / 72
    taken = [Bbox.from_bounds(x - 2.4 * unit, y - 2.4 * unit, 4.8 * unit, 4.8 * unit) for x, y in axes.transData.transform(points)]
    frame = axes.get_window_extent()
    for point, name in zip(points, names, strict=False):
        text = axes.annotate(printable(name, 24), tuple(point), xytext=(0, 0), textcoords="offset points", fontsize=SMALL)
        if on_image:
            text.set(color=BLACK, path_effects=[withStroke(linewidth=1.5, foreground="white")])
        text.set_in_layout(False)
        for x, y in PLACES:
            text.set(position=(x, y), ha=("right", "center", "left")[np.sign(x) + 1], va=("top", "center", "bottom")[np.sign(y) + 1])
            box = text.get_window_extent().padded(2 * unit, 0.5 * unit)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not box.count_overlaps(taken):
                taken.append(box)
                break
        else:
            text.remove()


def cosine_map(axes: Axes, cosines: np.ndarray, names: Sequence[str], tree: np.ndarray, unit: str = "cosine of two tasks' codes") -> Axes:
    """Draw cosines [N, N] as a heat map in the order of the tree [N - 1, 4] of `linkage`, with the tree above it; NaN is grey."""
    order = leaf_order(tree)
    image = axes.imshow(cosines[np.ix_(order, order)], cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
    above = axes.inset_axes((0, 1.01, 1, 0.15))
    hierarchy.dendrogram(tree, ax=above, no_labels=True, link_color_func=lambda _: INK)
    for line in above.collections:
        line.set_linewidth(0.6)
    above.axis("off")
    _name_cells(axes, [names[i] for i in order], [names[i] for i in order])
    axes.set_facecolor(ABSENT)
    _colour_bar(axes, image, unit)
    return axes


def transfer_map(axes: Axes, scores: np.ndarray, names: Sequence[str], unit: str = "score") -> Axes:
    """Draw the score [N, N] that the code of task i (row) has on task j (column); NaN is grey, a task's own code is framed."""
    image = axes.imshow(scores, cmap="viridis", interpolation="nearest", aspect="auto")
    axes.set_facecolor(ABSENT)
    for i in range(len(names)):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=0.7))
    _name_cells(axes, names, names)
    axes.set_xlabel("applied to the task", fontsize=MEDIUM)
    axes.set_ylabel("code of the task", fontsize=MEDIUM)
    _colour_bar(axes, image, unit)
    return axes


def _name_cells(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), [printable(name, 24) for name in columns], rotation=90, fontsize=SMALL)
    axes.set_yticks(range(len(rows)), [printable(name, 24) for name in rows], fontsize=SMALL)
    axes.tick_params(length=2)
    for axis in (axes.xaxis, axes.yaxis):
        thin_labels(axis)


def _colour_bar(axes: Axes, image: ScalarMappable, unit: str) -> None:
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.03, 0, 0.04, 1)))
    bar.set_label(unit, fontsize=MEDIUM)
    bar.ax.tick_params(labelsize=SMALL + 1)


def spectrum_lines(axes: Axes, spectra: Mapping[str, np.ndarray]) -> Axes:
    """Draw the cumulative share of variance of each of the spectra (see `spectrum`) against the number of components."""
    for i, shares in enumerate(spectra.values()):
        colour, marker = style(i)
        axes.plot(1 + np.arange(len(shares)), 100 * np.cumsum(shares), color=colour, marker=marker, markersize=3.5, linewidth=1.2)
    axes.axhline(90, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_ylim(0, 102)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "components, largest first", "cumulative share of variance (%)")
    legend(axes, marks(spectra))
    return axes


def angle_lines(axes: Axes, angles: Mapping[str, np.ndarray], random: np.ndarray) -> Axes:
    """Draw the principal angles of pairs of subspaces: mean over pairs, of up to three lines a band from the least to the largest.

    Grey: random subspaces.

    angles: name to [pairs, d] in degrees, smallest first. random: [draws, d] of `random_angles`, of which 95 % are in the band.
    """
    places = 1 + np.arange(random.shape[1])
    axes.fill_between(places, *np.percentile(random, (2.5, 97.5), axis=0), color=GREY, alpha=0.4, linewidth=0)
    axes.plot(places, random.mean(0), color=GREY, linewidth=1.2)
    for i, found in enumerate(angles.values()):
        colour, marker = style(i)
        if len(angles) <= 3:
            axes.fill_between(places, found.min(0), found.max(0), color=colour, alpha=0.2, linewidth=0)
        axes.plot(places, found.mean(0), color=colour, marker=marker, markersize=3.5, linewidth=1.2)
    axes.set(ylim=(0, 92), yticks=range(0, 91, 15))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "number of the angle, smallest first", "principal angle (degrees)")
    legend(axes, [*marks(angles), ("random subspaces", mark(GREY, "_"))])
    return axes


def distance_scatter(
    axes: Axes, distances: np.ndarray, recovery: np.ndarray, correlation: tuple[float, float], names: Sequence[str] = ()
) -> Axes:
    """Draw the share recovered of each unseen task [U] against the distance [U] of its code to the nearest seen one, a collection each.

    Shares above 150 % are triangles at 150. correlation: rho and p value of `rank_correlation`.
    """
    shares = 100 * np.asarray(recovery, dtype=float)
    points = np.column_stack([distances, shares.clip(max=MOST)])
    for (x, y), share in zip(points, shares, strict=True):
        axes.scatter(x, y, s=22, color=COLOURS[0], marker="^" if share > MOST else "o", linewidths=0)
    axes.axhline(100, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_title(f"Spearman's rho = {correlation[0]:.2f}, permutation p = {correlation[1]:.3f}".replace("-", "−"), fontsize=MEDIUM)
    tidy(axes, f"distance to the nearest seen code ({CODES})", RECOVERY)
    given = names or [""] * len(shares)
    place_names(axes, points, [f"{name} ({share:.0f} %)" if share > MOST else name for name, share in zip(given, shares, strict=True)])
    return axes


def code_bars(axes: Axes, code: np.ndarray, error: np.ndarray) -> Axes:
    """Draw a code's numbers [d] with an error bar [d] of one standard deviation each."""
    axes.errorbar(np.arange(len(code)), code, yerr=error, color=COLOURS[0], marker="o", markersize=4, linestyle="none", capsize=3)
    axes.axhline(0, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "number", f"value ({CODES})")
    return axes


def between_lines(axes: Axes, scores: np.ndarray, names: Sequence[str]) -> Axes:
    """Draw the scores [2, P] of two tasks at P codes on the line from the first task's to the second's."""
    for i, found in enumerate(scores):
        colour, marker = style(i)
        axes.plot(np.linspace(0, 100, len(found)), found, color=colour, marker=marker, markersize=4, linewidth=1.2)
    axes.set_ylim(0, 1.02)
    tidy(axes, "way from the first to the second (%)", "score")
    legend(axes, marks(names), loc="lower left", bbox_to_anchor=(0, 1.0))
    return axes


def change_map(axes: Axes, change: np.ndarray) -> Axes:
    """Draw how far each prompt vector moves along each intrinsic axis, [d, n], as shares of its length."""
    image = axes.imshow(change, cmap="viridis", interpolation="nearest", aspect="auto", vmin=0)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, "vector of the prompt", "number")
    _colour_bar(axes, image, "change / length")
    return axes


def landscape_map(
    axes: Axes,
    values: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    path: np.ndarray,
    starts: np.ndarray,
    tasks: Mapping[str, Sequence[float]],
    unit: str = "loss (nats per token)",
) -> Axes:
    """Draw values [G1, G2] over a plane of codes at coordinates first [G1] and second [G2], with a search's path.

    path: [P, 2], from a circle to a star. starts: [S, 2], squares.
    tasks: seen tasks near the plane, name to its two coordinates.
    """
    image = axes.pcolormesh(first, second, values.T, shading="nearest", cmap="viridis", rasterized=True)
    axes.contour(first, second, values.T, levels=8, colors="white", linewidths=0.4, alpha=0.7)
    axes.plot(*path.T, color=BLACK, linewidth=2.4)
    axes.plot(*path.T, color="white", linewidth=1.2)
    near = np.array(list(tasks.values()), dtype=float).reshape(-1, 2)
    drawn = {"start": (starts, "s", "white"), "path, first": (path[:1], "o", "white"), "path, last": (path[-1:], "*", "white")}
    drawn["seen task"] = (near, "D", COLOURS[1])
    for points, marker, face in drawn.values():
        axes.scatter(
            points[:, 0],
            points[:, 1],
            marker=marker,
            s=70 if marker == "*" else 20,
            facecolors=face,
            edgecolors=BLACK,
            linewidths=0.8,
            zorder=3,
        )
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": len(drawn), "columnspacing": 1}
    legend(axes, [(name, mark(INK, marker, face)) for name, (_, marker, face) in drawn.items()], **above)
    axes.set(xlim=(first[0], first[-1]), ylim=(second[0], second[-1]))
    tidy(axes, f"first direction ({CODES})", f"second direction ({CODES})")
    _colour_bar(axes, image, unit)
    place_names(axes, np.concatenate([near, starts, path]), list(tasks), on_image=True)
    return axes
