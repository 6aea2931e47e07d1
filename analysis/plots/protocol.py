"""Figure of methods under a protocol: numbers in, a figure out. Nothing here reads a file."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ipt.analysis.plots.style import (
    COLOURS,
    GREY,
    MARKERS,
    MEDIUM,
    SHADE,
    SMALL,
    printable,
    tidy,
)

RECOVERED = "recovered above the floor, R"
WHOLE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": ":"}
WIDEST = 40  # letters of a name
# Shares beyond are cut: the interval of a few tasks may reach far.
LOW, HIGH = -0.5, 1.5


class Mark(NamedTuple):
    """A share and the ends of its interval, 1 is the reference; NaN: not measured."""

    value: float
    low: float
    high: float


def protocol_panels(
    names: Sequence[tuple[str, str]],
    marks: Sequence[Mark],
    strata: Mapping[str, Sequence[Mark]],
) -> Figure:
    """Draw a row for each method: R with its interval, and beside it R by stratum where known.

    names: of the methods, the first on top, and what stands below each.
    strata: by name, a mark for each method.
    """
    across = 2 if strata else 1
    # Inches: every row has the same height, and the names of the methods the same room.
    size = (2.6 + 2.7 * across, 0.9 + 0.3 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(1, across, sharey=True, squeeze=False)[0]
    _draw(grid[0], "all counted tasks", {"": marks})
    if strata:
        _draw(grid[1], "by stratum", strata)
        grid[1].legend(fontsize=SMALL + 1, frameon=False, loc="best")
    labels = [f"{printable(name, WIDEST)}\n{printable(below, WIDEST)}" for name, below in names]
    grid[0].set_yticks(range(len(names)), labels, fontsize=SMALL + 1)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def _draw(axes: Axes, title: str, groups: Mapping[str, Sequence[Mark]]) -> None:
    """Draw the marks of each group, those of a row beside each other."""
    count = max(map(len, groups.values()))
    for row in range(1, count, 2):
        axes.axhspan(row - 0.5, row + 0.5, color=SHADE, zorder=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.axvline(1, **WHOLE)
    for number, (name, marks) in enumerate(groups.items()):
        colour = COLOURS[number]
        shift = 0.22 * (number - (len(groups) - 1) / 2)
        heights = [row + shift for row in range(len(marks))]
        for y, mark in zip(heights, marks, strict=True):
            ends = [max(LOW, mark.low), min(HIGH, mark.high)]
            axes.plot(ends, [y, y], color=colour, linewidth=1.2, solid_capstyle="butt")
        values = [min(HIGH, max(LOW, mark.value)) for mark in marks]
        axes.plot(values, heights, MARKERS[number], color=colour, markersize=4, label=name)
    tidy(axes, RECOVERED, "")
    axes.set_title(title, fontsize=MEDIUM)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
