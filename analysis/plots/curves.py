"""Recovery against d: all methods as lines of one panel, and each in a panel of its own.

Lines differ in colour, mark and dashes, so that they are told apart in black and white too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ipt.analysis.plots.style import (
    COLOURS,
    GREY,
    GUIDE,
    MARKERS,
    MEDIUM,
    SMALL,
    printable,
    tidy,
)

DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (4, 1, 1, 1)))  # by colours that come again
RECOVERED = "recovered above the floor (%)"
NUMBERS = "numbers per task, d"
GOAL: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": ":"}
GOAL_SHARE = 90  # per cent, of d90
TOP = 125  # per cent: what is drawn at most, as bands of few tasks may reach far above
MARGIN = 1.15  # of the axis of d, as a factor
ACROSS = 5  # panels of methods beside each other
# Inches of panels and legends.
WIDE, NARROW, BESIDE = 4.0, 1.9, 1.4
HIGH, LOW = 3.2, 1.75


class Band(NamedTuple):
    """Shares at each d with the ends of their intervals; 1 is the reference."""

    dims: Sequence[int]
    shares: Sequence[float]
    lows: Sequence[float]
    highs: Sequence[float]


# Lines by condition and method.
Panels = Mapping[str, Mapping[str, Band]]


def curves_figure(panels: Panels, notes: Mapping[str, str]) -> Figure:
    """Return a figure with all methods above, and below a panel of each with its intervals.

    panels: lines by condition and method; the first two conditions are those of the upper panels.
    notes: by method, in the order of the panels below: what stands in the panel's title. A
        method's place decides how its line looks, whether or not others have one.
    """
    names = list(notes)
    drawn: set[str] = set()
    for lines in panels.values():
        drawn |= lines.keys()
    methods = [name for name in names if name in drawn]
    compared = list(panels)[:2]
    across = min(ACROSS, len(methods))
    down = -(-len(methods) // across)
    heights = (HIGH, 0.4 + LOW * down)
    width = max(WIDE * len(compared), NARROW * across) + BESIDE
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=heights, hspace=0.03)
    above, below = halves

    upper = above.subplots(1, len(compared), sharey=True, squeeze=False)[0]
    for axes, condition in zip(upper, compared, strict=True):
        compare_methods(axes, panels[condition], names)
        axes.set_title(printable(condition, 60), fontsize=MEDIUM, loc="left")
        axes.label_outer()
    order = _from_the_top(panels[compared[0]], methods)
    _legend(above, {name: _look(names.index(name)) for name in order})

    # Not `sharex`: where the last row is shorter, the panels above its end have labels too.
    lower = list(below.subplots(down, across, sharey=True, squeeze=False).flat)
    for number, (axes, method) in enumerate(zip(lower, methods, strict=False)):
        own = {name: lines[method] for name, lines in panels.items() if method in lines}
        compare_conditions(axes, own, list(panels))
        axes.set_title(f"{printable(method)}\n{notes[method]}", fontsize=SMALL + 1, loc="left")
        if number + across < len(methods):
            axes.tick_params(labelbottom=False)
    for axes in lower[len(methods) :]:
        axes.set_visible(False)
    _frame_alike([*upper, *lower], panels)
    below.supxlabel(NUMBERS, fontsize=MEDIUM)
    below.supylabel(RECOVERED, fontsize=MEDIUM)
    _legend(below, {name: _condition_look(number) for number, name in enumerate(panels)})
    return figure


def compare_methods(axes: Axes, lines: Mapping[str, Band], names: Sequence[str]) -> Axes:
    """Draw a line for each method; its place among all names decides how it looks."""
    for name, band in lines.items():
        axes.plot(band.dims, _percent(band.shares), **_look(names.index(name)))
    _frame(axes, lines.values())
    tidy(axes, NUMBERS, RECOVERED)
    return axes


def compare_conditions(axes: Axes, lines: Mapping[str, Band], conditions: Sequence[str]) -> Axes:
    """Draw a line for each condition of one method, with the band of its interval."""
    for name, band in lines.items():
        look = _condition_look(conditions.index(name))
        lows, highs = _percent(band.lows), _percent(band.highs)
        axes.fill_between(band.dims, lows, highs, color=look["color"], alpha=0.16, linewidth=0)
        # A band of one place has no width.
        if len(band.dims) == 1:
            axes.vlines(band.dims, lows, highs, color=look["color"], linewidth=0.9)
        axes.plot(band.dims, _percent(band.shares), **look)
    _frame(axes, lines.values())
    tidy(axes, "", "")
    return axes


def _percent(shares: Iterable[float]) -> list[float]:
    return [100 * share for share in shares]


def _frame(axes: Axes, bands: Iterable[Band]) -> None:
    """Set the scales, and draw the lines of all and of 90 per cent."""
    every_d: set[int] = set()
    least = 0.0
    for band in bands:
        every_d |= set(band.dims)
        least = min(least, *_percent(band.shares))
    ticks = sorted(every_d)
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{dim:g}" for dim in ticks])
    axes.set_xticks([], minor=True)  # a log scale labels them too
    # Room for half a mark at both ends.
    axes.set_xlim(ticks[0] / MARGIN, ticks[-1] * MARGIN)
    axes.axhline(100, **GUIDE, zorder=0)
    axes.axhline(GOAL_SHARE, **GOAL, zorder=0)
    # Shares below zero are drawn too.
    axes.set_ylim(least - 4 if least < 0 else 0, TOP)


def _frame_alike(all_axes: Iterable[Axes], panels: Panels) -> None:
    """Give all panels the scales that hold what each of them shows."""
    every_band: list[Band] = []
    for lines in panels.values():
        every_band += lines.values()
    widest = Figure().subplots()
    _frame(widest, every_band)
    for axes in all_axes:
        ticks = widest.get_xticks()
        axes.set_xticks(ticks, [f"{dim:g}" for dim in ticks])
        axes.set_xlim(widest.get_xlim())
        axes.set_ylim(widest.get_ylim())


def _look(number: int) -> dict[str, Any]:
    """Return how the number-th line is drawn."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number // len(COLOURS) % len(DASHES)],
        "linewidth": 1.3,
        "markersize": 5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.4,
    }


def _condition_look(number: int) -> dict[str, Any]:
    """Return how the number-th condition is drawn in the small panels."""
    dashes = DASHES[number % len(DASHES)]
    return _look(number) | {"markersize": 3.5, "linestyle": dashes}


def _from_the_top(lines: Mapping[str, Band], methods: Sequence[str]) -> list[str]:
    """Return the methods as their lines lie at their largest d, the highest first."""

    def height(name: str) -> float:
        # A method without a line stands below.
        return lines[name].shares[-1] if name in lines else -1e9

    return sorted(methods, key=height, reverse=True)


def _legend(figure: Any, looks: Mapping[str, dict[str, Any]]) -> None:
    """Write names at the right of a figure, each behind its line."""
    marks = [Line2D([], [], **look) for look in looks.values()]
    legend = figure.legend(
        marks,
        ["x"] * len(marks),
        loc="outside right center",
        fontsize=SMALL + 1,
        frameon=False,
        handlelength=3.2,
    )
    # Texts are set afterwards, as matplotlib leaves out a label that begins with _
    for text, name in zip(legend.get_texts(), looks, strict=True):
        text.set_text(printable(name))
