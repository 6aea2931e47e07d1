"""Figure of methods side by side: numbers in, a figure out. Nothing here reads a file.

Scores come in per cent, 100 = all right.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ipt.analysis.plots.style import COLOURS, GREY, MEDIUM, SHADE, SMALL, folded, printable, tidy

LINES: tuple[Any, ...] = ("-", "--", ":")
WIDEST = 4  # panels beside each other


class Group(NamedTuple):
    """What a panel shows."""

    points: Sequence[tuple[float, float, float]]
    """Of each method mean, low and high; NaN: not measured."""
    floors: Mapping[str, float]


def methods_panels(names: Sequence[str], panels: Mapping[str, Group]) -> Figure:
    """Draw a row for each method and a panel for each group: dots in intervals, floors as lines.

    names: of the methods, the first on top.
    """
    across = min(len(panels), WIDEST)
    down = -(-len(panels) // across)
    # Inches: every row has the same height, and the names of the methods the same room.
    figure = Figure(
        figsize=(1.7 + 2.1 * across, down * (0.9 + 0.21 * len(names)) + 0.3),
        layout="constrained",
    )
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    lines: dict[str, Any] = {}
    for axes, (title, group) in zip(grid.flat, panels.items(), strict=False):
        for y in range(1, len(names), 2):
            axes.axhspan(y - 0.5, y + 0.5, color=SHADE, zorder=0)
        for floor, value in group.floors.items():
            line = lines.setdefault(floor, LINES[len(lines) % len(LINES)])
            axes.axvline(value, color=GREY, linewidth=0.9, linestyle=line, zorder=1)
        for y, (mean, low, high) in enumerate(group.points):
            axes.plot([low, high], [y, y], color=COLOURS[0], linewidth=1.3, solid_capstyle="butt")
            axes.plot(mean, y, "o", color=COLOURS[0], markersize=4)
        tidy(axes, "score (%)", "")
        axes.set_title(printable(title), fontsize=MEDIUM)
        axes.set_yticks(range(len(names)), [folded(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
    marks = [Line2D([], [], color=GREY, linewidth=0.9, linestyle=style) for style in lines.values()]
    if marks:
        figure.legend(
            marks,
            list(lines),
            loc="outside lower center",
            ncols=len(marks),
            fontsize=SMALL + 1,
            frameon=False,
        )
    return figure
