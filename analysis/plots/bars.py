"""Figures of recovery and generalisation: arrays in, Axes out. Nothing here reads a file.

Shares come in as 1 = the reference and are drawn in per cent.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from scipy.stats import gaussian_kde

from ipt.analysis.plots.style import (
    COLOURS,
    CONDITION_COLOURS,
    GUIDE,
    INK,
    LARGEST_SHARE,
    RECOVERY,
    SHADE,
    SMALL,
    entries,
    folded,
    legend,
    printable,
    style,
    thin_labels,
    tidy,
)

BAND = 0.7  # of a row's height, for the dots of all its conditions


def recovery_bars(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Sequence[tuple[float, float]]],
    labels: Sequence[str],
    titles: Mapping[str, str],
) -> Axes:
    """Draw recovery in each condition, a group of bars per label, with intervals as error bars.

    values: condition to one share per label; NaN draws nothing.
    intervals: condition to one (low, high) per label.
    labels: names of the groups of bars, such as a split.
    titles: condition to its name in the legend.
    """
    # the bars of a group fill 0.8 of its place
    width = 0.8 / len(values)
    places = np.arange(len(labels), dtype=float)

    for i, (condition, shares) in enumerate(values.items()):
        centres = places - 0.4 + width * (i + 0.5)
        heights = 100 * np.asarray(shares, dtype=float)  # [labels] per cent
        ends = 100 * np.asarray(intervals[condition], dtype=float)  # [labels, 2]
        lows = ends[:, 0]
        highs = ends[:, 1]

        # a bootstrap interval need not hold the mean: no error bar has a length below zero
        errors = np.stack([heights - lows, highs - heights])
        axes.bar(
            centres,
            heights,
            width * 0.92,
            yerr=errors.clip(0, None),
            label=titles[condition],
            color=CONDITION_COLOURS[condition],
            error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": INK},
            edgecolor=INK,
            linewidth=0.5,
        )
        _write_heights(axes, centres, heights, tops=np.fmax(heights, highs))

    # below the bars, not across them
    axes.axhline(100, color=INK, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xticks(places, labels)
    axes.set_ylabel("recovered share of prompt tuning, E_rel (%)")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        fontsize=7,
        ncols=3,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.1),
    )
    return axes


def _write_heights(axes: Axes, centres: np.ndarray, heights: np.ndarray, tops: np.ndarray) -> None:
    """Write each bar's number above its error bar; none for NaN."""
    for x, height, top in zip(centres, heights, tops, strict=True):
        if np.isnan(height):
            continue
        axes.annotate(
            f"{height:.0f}",
            (x, top + 1.5),
            ha="center",
            va="bottom",
            fontsize=8,
            fontweight="bold",
        )


def recovery_lines(
    axes: Axes,
    x: Sequence[float],
    lines: Mapping[str, np.ndarray],
    label: str,
) -> Axes:
    """Draw recovery against d, the number of seen tasks or of shots.

    A point is the mean over seeds, its bar reaches from the least to the largest seed.

    x: [X] values above zero, on a log scale where they span a factor of 8.
    lines: name to shares [X, seeds]; NaN is left out.
    label: what x is.
    """
    for i, shares in enumerate(lines.values()):
        percents = 100 * np.asarray(shares, dtype=float)  # [X, seeds]
        values = np.ma.masked_invalid(percents)

        # A masked array leaves out seeds without a value; a place without any is masked itself
        mean = values.mean(1)  # [X]
        below = mean - values.min(1)
        above = values.max(1) - mean
        errors = np.ma.stack([below, above])  # [2, X]

        colour, marker = style(i)
        axes.errorbar(
            x,
            mean.filled(np.nan),
            yerr=errors.filled(np.nan),
            color=colour,
            marker=marker,
            markersize=4,
            linewidth=1.2,
            elinewidth=0.8,
            capsize=2,
        )

    if max(x) / min(x) >= 8:
        axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}" for value in x])
    axes.set_xticks([], minor=True)  # a log scale labels them too
    axes.axhline(100, **GUIDE, zorder=0)
    axes.set_ylim(bottom=0)
    tidy(axes, label, RECOVERY)
    legend(axes, entries(lines))

    # last: the legend takes room from the axis
    thin_labels(axes.xaxis)
    return axes


def recovery_dots(
    axes: Axes,
    rows: Mapping[str, Mapping[str, Sequence[float]]],
    label: str = RECOVERY,
) -> Axes:
    """Draw a row for each line of a study, with a dot for each of its conditions.

    A dot is the mean over seeds, on a line from the least to the largest seed. A condition has the
    same colour and mark in every row, and its place in the row that has most.

    rows: line to condition to one share per seed.
    label: what the shares are.
    """
    conditions = _conditions_of(rows)
    left = 0.0  # per cent; shares below zero are drawn too
    for y, shares_by_condition in enumerate(rows.values()):
        for i, condition in enumerate(conditions):
            shares = shares_by_condition.get(condition)
            if not shares:
                continue
            place = y + BAND * ((i + 0.5) / len(conditions) - 0.5)
            _dot(axes, shares, place, number=i)
            left = min(left, 100 * min(shares) - 4)

    _shade_rows(axes, len(rows))
    axes.axvline(100, **GUIDE, zorder=0)
    tidy(axes, label, "")
    _name_rows(axes, rows)
    axes.set_xlim(left=left)
    legend(axes, entries(conditions))
    return axes


def _conditions_of(rows: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Return the conditions of all rows, first those of the row that has most, in its order."""
    longest_first = sorted(rows.values(), key=len, reverse=True)
    conditions: dict[str, None] = {}  # a set that keeps its order
    for shares_by_condition in longest_first:
        conditions |= dict.fromkeys(shares_by_condition)
    return list(conditions)


def _dot(axes: Axes, shares: Sequence[float], place: float, number: int) -> None:
    """Draw the mean of shares on the line from the least to the largest, in the number-th style."""
    colour, marker = style(number)
    ends = [100 * min(shares), 100 * max(shares)]
    axes.plot(
        ends,
        [place, place],
        color=colour,
        linewidth=1.2,
        solid_capstyle="butt",
    )

    # after the line, to lie on it
    mean = 100 * np.mean(shares)
    axes.plot(mean, place, color=colour, marker=marker, markersize=4.5)


def _shade_rows(axes: Axes, count: int) -> None:
    for y in range(1, count, 2):
        axes.axhspan(y - 0.5, y + 0.5, color=SHADE, zorder=0)


def _name_rows(axes: Axes, names: Mapping[str, object]) -> None:
    """Name the rows, the first on top."""
    axes.set_yticks(range(len(names)), [folded(name) for name in names])
    # limits that fall turn the axis around
    axes.set_ylim(len(names) - 0.5, -0.5)


def task_bars(axes: Axes, recovery: Mapping[str, float], group: Mapping[str, str]) -> Axes:
    """Draw a bar for each task's share, at most 150 %, the best task of each group first.

    Groups stand one below the other; every second one is shaded, and its name stands on the right.
    A task takes 0.12 inches of height if all names are to be read.

    recovery: task to share.
    group: task to its group, such as its subcategory.
    """
    names = sorted(recovery, key=lambda name: (group[name], -recovery[name], name))
    places = np.arange(len(names))
    shares = np.array([100 * recovery[name] for name in names])

    # A task of which tuning learns next to nothing can have any share: one such bar would make all
    # others short, so bars end, and the number stands inside the end
    axes.barh(
        places,
        shares.clip(max=LARGEST_SHARE),
        color=COLOURS[5],
        height=0.75,
    )
    for place in places[shares > LARGEST_SHARE].tolist():
        axes.text(
            LARGEST_SHARE - 1,
            place,
            f"{shares[place]:.0f} ▸",
            fontsize=SMALL,
            ha="right",
            va="center_baseline",
        )

    axes.axvline(100, **GUIDE)
    tidy(axes, RECOVERY, "")
    axes.set_yticks(places, [printable(name) for name in names], fontsize=SMALL)
    axes.set_ylim(len(names) - 0.5, -0.5)
    _name_groups(axes, [group[name] for name in names])
    return axes


def _name_groups(axes: Axes, groups: Sequence[str]) -> None:
    """Write the names of sorted groups [rows] on the right of their rows and shade every second."""
    centres = []
    titles = []
    for i, name in enumerate(sorted(set(groups))):
        # rows of a group stand together
        first = groups.index(name)
        last = first + groups.count(name) - 1
        centres.append((first + last) / 2)
        titles.append(printable(name))
        if i % 2 == 0:
            axes.axhspan(first - 0.5, last + 0.5, color=SHADE, zorder=0)

    # an axis, so that names which would touch can be thinned
    right = axes.secondary_yaxis("right")
    right.set_yticks(centres, titles, fontsize=SMALL)
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    for axis in (axes.yaxis, right.yaxis):
        thin_labels(axis)


def seen_unseen_scatter(
    axes: Axes,
    seen: Sequence[float],
    unseen: Sequence[float],
    groups: Sequence[str],
) -> Axes:
    """Draw a point for each run: its recovery of seen against that of unseen tasks.

    On the diagonal both are equal.

    seen, unseen: a share per run.
    groups: what a run is named by in the legend, such as its split or its d.
    """
    x = 100 * np.asarray(seen)  # [runs] per cent
    y = 100 * np.asarray(unseen)
    names = list(dict.fromkeys(groups))  # each once, in their order

    for i, name in enumerate(names):
        chosen = np.array(groups, dtype=object) == name
        colour, marker = style(i)
        axes.scatter(
            x[chosen],
            y[chosen],
            color=colour,
            marker=marker,
            s=22,
            linewidths=0,
        )

    # both axes have one scale, so that the diagonal is one
    top = 1.05 * max(100, *x, *y)
    axes.plot([0, top], [0, top], **GUIDE, zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top))
    tidy(axes, "recovery of seen tasks (%)", "recovery of unseen tasks (%)")
    legend(axes, entries(names))
    return axes


def stability_violins(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    label: str = "SD of a task's score over seeds",
) -> Axes:
    """Draw how a value is distributed for each method: a point each, and the median as a bar.

    values: method to its numbers, such as the spread over seeds of each task's scores.
    label: what the numbers are.
    """
    # Points of equal value are moved apart, the same way each time a figure is made
    generator = np.random.default_rng(0)
    for i, numbers in enumerate(values.values()):
        colour, marker = style(i)
        # a density needs values that differ
        if len(set(numbers)) > 1:
            # drawn between the least and the largest number: beyond them nothing was measured
            grid = np.linspace(min(numbers), max(numbers), 100)
            density = gaussian_kde(numbers)(grid)
            width = 0.4 * density / density.max()
            axes.fill_between(
                grid,
                i - width,
                i + width,
                color=colour,
                alpha=0.25,
                linewidth=0,
            )

        heights = i + generator.uniform(-0.12, 0.12, len(numbers))
        axes.scatter(
            numbers,
            heights,
            color=colour,
            marker=marker,
            s=9,
            alpha=0.7,
            linewidths=0,
        )
        median = np.median(numbers)
        axes.plot(
            [median, median],
            [i - 0.3, i + 0.3],
            color=INK,
            linewidth=1.5,
        )

    tidy(axes, label, "")
    _name_rows(axes, values)
    return axes
