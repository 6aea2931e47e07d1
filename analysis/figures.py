"""Figures of recovery and generalisation, and what every drawing shares: arrays in, Axes out. Nothing here reads a file.

Shares come in as 1 = the reference and are drawn in per cent. Texts have 6 to 8 points, so a figure should be made at its printed size.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from scipy.stats import gaussian_kde

# Okabe & Ito (2008), for every kind of colour vision; without yellow, which is faint on white
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
MARKERS = "os^Dv<P>X"  # 9 shapes and 7 colours: 63 pairs before one comes again
SMALL, MEDIUM, GREY = 6, 8, "#666666"  # points; points; what only guides the eye

SETTING_COLOURS = {
    "train_msf": "#1b6ca8", "test_msf": "#7fb3d5", "train_same": "#1e8449", "train_diff": "#52be80", "test": "#d68910",
    "shared": "#c8cccf", "mean_code": "#b3b8bc", "best_code": "#989da1", "random_test": "#7b8186", "pca_test": "#4a4f54",
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
            error_kw=lines,
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
    for i, (name, shares) in enumerate(lines.items()):
        values = np.ma.masked_invalid(100 * np.asarray(shares, dtype=float))
        mean = values.mean(1)
        errors = np.ma.stack([mean - values.min(1), values.max(1) - mean]).filled(np.nan)
        colour, marker = style(i)
        drawn = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.2, "elinewidth": 0.8, "capsize": 2}
        axes.errorbar(x, mean.filled(np.nan), yerr=errors, label=name, **drawn)
    if max(x) / min(x) >= 8:
        axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_xticks([], minor=True)
    axes.axhline(100, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_ylim(bottom=0)
    tidy(axes, label, "recovered share of prompt tuning (%)")
    legend(axes, [(name, *style(i), True) for i, name in enumerate(lines)])
    thin_labels(axes.xaxis)
    return axes


def task_bars(axes: Axes, recovery: Mapping[str, float], group: Mapping[str, str]) -> Axes:
    """Draw a bar for each task's share, the subcategories one below the other and the best task first in each.

    Every second subcategory is shaded and its name stands on the right; a task takes 0.12 inches of height if all names are to be read.
    """
    names = sorted(recovery, key=lambda name: (group[name], -recovery[name], name))
    places = np.arange(len(names))
    axes.barh(places, [100 * recovery[name] for name in names], color=COLOURS[0], height=0.75)
    axes.axvline(100, color=GREY, linewidth=0.8, linestyle="--")
    tidy(axes, "recovered share of prompt tuning (%)", "")
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
    axes.set(xlim=(0, top), ylim=(0, top), aspect="equal")
    tidy(axes, "recovered share, seen tasks (%)", "recovered share, unseen tasks (%)")
    legend(axes, [(name, *style(i), True) for i, name in enumerate(names)])
    return axes


def stability_violins(
    axes: Axes, values: Mapping[str, Sequence[float]], label: str = "standard deviation of a task's score over seeds"
) -> Axes:
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
        axes.plot([np.median(numbers)] * 2, [i - 0.3, i + 0.3], color="black", linewidth=1.5)
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
    return COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]


def tidy(axes: Axes, x_label: str, y_label: str) -> None:
    """Name the axes, in small letters, and leave out the frame's upper and right side."""
    axes.set_xlabel(x_label, fontsize=MEDIUM)
    axes.set_ylabel(y_label, fontsize=MEDIUM)
    axes.tick_params(labelsize=SMALL + 1)
    axes.spines[["top", "right"]].set_visible(False)


def legend(axes: Axes, entries: Sequence[tuple[str, str, str, bool]]) -> None:
    """Write names, colours, marker shapes and whether they are filled to the right of the axes, 20 below each other at most."""
    made = {"linestyle": "none", "markersize": 4.5}
    handles = [
        Line2D([], [], color=colour, marker=marker, markerfacecolor=colour if filled else "none", **made)
        for _, colour, marker, filled in entries
    ]
    columns = 1 + (len(entries) - 1) // 20
    drawn = axes.legend(
        handles, ["x"] * len(entries), fontsize=SMALL, ncols=columns, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5)
    )
    for text, (name, *_) in zip(drawn.get_texts(), entries, strict=True):
        text.set_text(printable(name))  # here, as a label that begins with _ would be left out


def thin_labels(axis: Axis) -> None:
    """Empty the labels of an axis that would touch the last one kept, in the figure as it is now; call it last."""
    axis.axes.figure.canvas.figure.draw_without_rendering()
    labels = [label.get_text() for label in axis.get_ticklabels()]
    last = None
    for i, label in enumerate(axis.get_ticklabels()):
        box = label.get_window_extent()
        if last is not None and box.overlaps(last):
            labels[i] = ""
        else:
            last = box
    axis.set_ticklabels(labels)
