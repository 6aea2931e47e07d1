"""Figures of recovery and generalisation, and what every drawing shares: arrays in, Axes out. Nothing here reads a file.

Shares come in as 1 = the reference and are drawn in per cent. Texts have 6 to 8 points, so a figure should be made at its printed size.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, YAxis
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

# Okabe & Ito (2008), for every kind of colour vision; without yellow, which is faint on white
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = "os^Dv<P>X"  # 9 shapes and 7 colours: 63 pairs before one comes again
SMALL, MEDIUM, GREY = 6, 8, "#666666"  # points; points; what only guides the eye
INK = "#333333"  # texts and outlines; on a page the text's colour, light or dark
RECOVERY = "recovery (% of prompt tuning)"
MOST = 150  # per cent drawn: a task of which prompt tuning learns next to nothing can have any share; its number is written

SETTING_COLOURS = {
    "train_msf": "#1b6ca8", "test_msf": "#7fb3d5", "train_same": "#1e8449", "train_diff": "#52be80", "test": "#d68910",
    "shared": "#c8cccf", "mean_code": "#b3b8bc", "best_code": "#989da1", "random_test": "#7b8186", "pca_test": "#4a4f54",
    "mixture_test": "#8e5ea2",
}  # fmt: skip


def recovery_bars(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Sequence[tuple[float, float]]],
    labels: Sequence[str],
    titles: Mapping[str, str],
) -> Axes:
    """Draw recovery in each setting, a group of bars per label (a split), with intervals as error bars.

    values: setting to one share per label (1 = the reference; NaN draws nothing); intervals: the same with (low, high).
    """
    width = 0.8 / len(values)
    places = np.arange(len(labels), dtype=float)
    for i, (setting, shares) in enumerate(values.items()):
        centre = places - 0.4 + width * (i + 0.5)
        heights = 100 * np.asarray(shares, dtype=float)
        ends = 100 * np.asarray(intervals[setting], dtype=float)
        errors = np.clip(np.stack([heights - ends[:, 0], ends[:, 1] - heights]), 0, None)
        lines = {"elinewidth": 0.9, "capsize": 2, "ecolor": "#333333"}
        axes.bar(
            centre, heights, width * 0.92, yerr=errors, label=titles[setting], color=SETTING_COLOURS[setting],
            error_kw=lines, edgecolor="#333333", linewidth=0.5,
        )  # fmt: skip
        for x, height, top in zip(centre, heights, np.fmax(heights, ends[:, 1]), strict=True):
            if height == height:
                axes.annotate(f"{height:.0f}", (x, top + 1.5), ha="center", va="bottom", fontsize=8, fontweight="bold")
    axes.axhline(100, color="#333333", linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xticks(places, labels)
    axes.set_ylabel("recovered share of prompt tuning, E_rel (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, ncols=3, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    return axes


def recovery_lines(axes: Axes, x: Sequence[float], lines: Mapping[str, np.ndarray], label: str) -> Axes:
    """Draw recovery against d, the number of seen tasks or of shots: the mean over seeds, bars from the least to the largest seed.

    x: [X] values above zero, on a log scale where they span a factor of 8. lines: name to shares [X, seeds]; NaN is left out.
    """
    for i, shares in enumerate(lines.values()):
        values = np.ma.masked_invalid(100 * np.asarray(shares, dtype=float))
        mean = values.mean(1)
        errors = np.ma.stack([mean - values.min(1), values.max(1) - mean]).filled(np.nan)
        colour, marker = style(i)
        axes.errorbar(
            x, mean.filled(np.nan), yerr=errors, color=colour, marker=marker, markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2
        )
    if max(x) / min(x) >= 8:
        axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_xticks([], minor=True)
    axes.axhline(100, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_ylim(bottom=0)
    tidy(axes, label, RECOVERY)
    legend(axes, marks(lines))
    thin_labels(axes.xaxis)
    return axes


def recovery_dots(axes: Axes, rows: Mapping[str, Mapping[str, Sequence[float]]], label: str = RECOVERY) -> Axes:
    """Draw a row for each line of a study: a dot per setting, the mean over seeds, on a line from the least to the largest seed.

    rows: line to setting to one share per seed (1 = the reference); settings have the same colour and mark in every row, and the order
    of the row that has most.
    """
    settings = list(dict.fromkeys(setting for found in sorted(rows.values(), key=len, reverse=True) for setting in found))
    for y, found in enumerate(rows.values()):
        for i, setting in enumerate(settings):
            if shares := found.get(setting):
                (colour, marker), place = style(i), y + 0.7 * ((i + 0.5) / len(settings) - 0.5)
                axes.plot([100 * min(shares), 100 * max(shares)], [place, place], color=colour, linewidth=1.2, solid_capstyle="butt")
                axes.plot(100 * np.mean(shares), place, color=colour, marker=marker, markersize=4.5)
    for y in range(1, len(rows), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="#EEEEEE", zorder=0)
    axes.axvline(100, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    tidy(axes, label, "")
    axes.set_yticks(range(len(rows)), [_folded(name) for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(left=min([0, *(100 * min(shares) - 4 for found in rows.values() for shares in found.values())]))
    legend(axes, marks(settings))
    return axes


def task_bars(axes: Axes, recovery: Mapping[str, float], group: Mapping[str, str]) -> Axes:
    """Draw a bar for each task's share, at most 150 %, the subcategories one below the other and the best task first in each.

    Every second subcategory is shaded and its name stands on the right; a task takes 0.12 inches of height if all names are to be read.
    """
    names = sorted(recovery, key=lambda name: (group[name], -recovery[name], name))
    places = np.arange(len(names))
    shares = np.array([100 * recovery[name] for name in names])
    axes.barh(places, shares.clip(max=MOST), color=COLOURS[5], height=0.75)
    for place in places[shares > MOST].tolist():
        axes.text(MOST - 1, place, f"{shares[place]:.0f} ▸", fontsize=SMALL, ha="right", va="center_baseline")
    axes.axvline(100, color=GREY, linewidth=0.8, linestyle="--")
    tidy(axes, RECOVERY, "")
    axes.set_yticks(places, [printable(name) for name in names], fontsize=SMALL)
    axes.set_ylim(len(names) - 0.5, -0.5)
    centres = {}
    for i, which in enumerate(sorted(set(group[name] for name in names))):
        rows = [row for row, name in enumerate(names) if group[name] == which]
        centres[which] = (rows[0] + rows[-1]) / 2
        if i % 2 == 0:
            axes.axhspan(rows[0] - 0.5, rows[-1] + 0.5, color="#EEEEEE", zorder=0)
    right = axes.secondary_yaxis("right")
    right.set_yticks(list(centres.values()), [printable(which) for which in centres], fontsize=SMALL)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    for axis in (axes.yaxis, right.yaxis):
        thin_labels(axis)
    return axes


def seen_unseen_scatter(axes: Axes, seen: Sequence[float], unseen: Sequence[float], groups: Sequence[str]) -> Axes:
    """Draw a point for each run: its recovery of seen tasks and of unseen tasks, as shares; on the diagonal both are equal.

    groups: what a run is named by in the legend, such as its split or its d.
    """
    x, y = 100 * np.asarray(seen), 100 * np.asarray(unseen)
    names = list(dict.fromkeys(groups))
    for i, name in enumerate(names):
        chosen = [j for j, group in enumerate(groups) if group == name]
        colour, marker = style(i)
        axes.scatter(x[chosen], y[chosen], color=colour, marker=marker, s=22, linewidths=0)
    top = 1.05 * max(100, *x, *y)
    axes.plot([0, top], [0, top], color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top))
    tidy(axes, "recovery of seen tasks (%)", "recovery of unseen tasks (%)")
    legend(axes, marks(names))
    return axes


def stability_violins(axes: Axes, values: Mapping[str, Sequence[float]], label: str = "SD of a task's score over seeds") -> Axes:
    """Draw the distribution over tasks of a value for each method, with each task as a point and the median as a bar.

    values: method to one number per task, such as its scores' spread over seeds.
    """
    generator = np.random.default_rng(0)
    for i, numbers in enumerate(values.values()):
        colour, marker = style(i)
        if len(set(numbers)) > 1:
            grid = np.linspace(min(numbers), max(numbers), 100)
            density = gaussian_kde(numbers)(grid)
            width = 0.4 * density / density.max()
            axes.fill_between(grid, i - width, i + width, color=colour, alpha=0.25, linewidth=0)
        heights = i + generator.uniform(-0.12, 0.12, len(numbers))
        axes.scatter(numbers, heights, color=colour, marker=marker, s=9, alpha=0.7, linewidths=0)
        axes.plot([np.median(numbers)] * 2, [i - 0.3, i + 0.3], color=INK, linewidth=1.5)
    tidy(axes, label, "")
    axes.set_yticks(range(len(values)), [_folded(name) for name in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    return axes


def printable(name: str, width: int = 28) -> str:
    """Return a name fit for a figure: one line, at most `width` letters by an ellipsis in its middle, no formulas."""
    return _short(name, width).replace("$", r"\$")


def _short(name: str, width: int) -> str:
    plain = "".join(letter for letter in " ".join(name.split()) if letter.isprintable())
    return plain if len(plain) <= width else f"{plain[: width // 2]}…{plain[1 + width // 2 - width :]}"


def _folded(name: str) -> str:
    """Return a name on up to three lines."""
    return "\n".join(textwrap.wrap(_short(name, 66), 24)).replace("$", r"\$")


def style(i: int) -> tuple[str, str]:
    """Return the colour and the marker shape of the i-th group."""
    return COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]


def tidy(axes: Axes, x_label: str, y_label: str) -> None:
    """Name the axes, in small letters, and leave out the frame's upper and right side."""
    axes.set_xlabel(x_label, fontsize=MEDIUM)
    axes.set_ylabel(y_label, fontsize=MEDIUM)
    axes.tick_params(labelsize=SMALL + 1)
    axes.spines[["top", "right"]].set_visible(False)


def mark(colour: str, marker: str, face: str | None = None) -> Line2D:
    """Return a legend's mark; face: what it is filled with, its colour where left out."""
    return Line2D([], [], linestyle="none", markersize=4.5, color=colour, marker=marker, markerfacecolor=colour if face is None else face)


def marks(names: Iterable[str]) -> list[tuple[str, Line2D]]:
    """Return the names with the marks of `style`, in order."""
    return [(name, mark(*style(i))) for i, name in enumerate(names)]


def legend(axes: Axes, entries: Sequence[tuple[str, Line2D]], **place: Any) -> None:
    """Write names and marks to the right of the axes, 20 below each other at most, or elsewhere by `place`."""
    beside: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "ncols": 1 + (len(entries) - 1) // 20}
    drawn = axes.legend([m for _, m in entries], ["x"] * len(entries), fontsize=SMALL, frameon=False, **(beside | place))
    for text, (name, _) in zip(drawn.get_texts(), entries, strict=True):
        text.set_text(printable(name))  # here, as a label that begins with _ would be left out


def thin_labels(axis: Axis) -> None:
    """Empty the labels of an axis that would touch the last one kept, in the figure as it is now; call it last."""
    axis.axes.figure.canvas.figure.draw_without_rendering()
    side, unit = int(isinstance(axis, YAxis)), axis.axes.figure.dpi / 72
    boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
    texts, end = [label.get_text() for label in axis.get_ticklabels()], -np.inf
    for i in np.argsort([box.p0[side] for box in boxes]):
        low, high = boxes[i].p0[side], boxes[i].p1[side]
        half = max(high - low, 1.25 * SMALL * unit) / 2  # of a line, whether or not its letters have a tail
        if (low + high) / 2 - half < end:
            texts[i] = ""
        else:
            end = (low + high) / 2 + half
    axis.set_ticklabels(texts)
