"""What all drawings share: colours, marks, sizes of text, names fit for a figure, legends.

Colours are those of Okabe & Ito (2008), for every kind of colour vision. Texts have 6 to 8 points,
so a figure should be made at its printed size. Nothing here reads a file.
"""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, YAxis
from matplotlib.lines import Line2D

COLOURS = (
    # without the yellow of Okabe & Ito, which is faint on white
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
)
MARKERS = "os^Dv<P>X"  # 9 shapes and 7 colours: 63 pairs before one comes again

SMALL = 6  # points
MEDIUM = 8  # points

GREY = "#666666"  # of what only guides the eye
INK = "#333333"  # of texts and outlines; on a page it becomes the text's colour, light or dark
SHADE = "#EEEEEE"  # behind every second group of rows
GUIDE: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": "--"}

ROW_HEIGHT = 0.165  # inches of a row with a label

RECOVERY = "recovery (% of prompt tuning)"
LARGEST_SHARE = 150  # per cent; larger shares are drawn here, and their number is written

CONDITION_COLOURS = {
    # blue: through the autoencoder
    "train_msf": "#1b6ca8",
    "test_msf": "#7fb3d5",
    # green and orange: tuned vectors of seen and of unseen tasks
    "train_same": "#1e8449",
    "train_diff": "#52be80",
    "test": "#d68910",
    # grey: controls
    "shared": "#c8cccf",
    "mean_code": "#b3b8bc",
    "best_code": "#989da1",
    "best_seen": "#90959a",
    "nearest_seen": "#8d9297",
    "head_alone": "#8a9096",
    "start_test": "#82898e",
    "random_test": "#7b8186",
    "pca_test": "#4a4f54",
    # purple: no subspace at all
    "mixture_test": "#8e5ea2",
    "choice_test": "#b07cc6",
}


class Style(NamedTuple):
    """How the points of one group look."""

    colour: str
    marker: str


class LegendEntry(NamedTuple):
    """A name in a legend and the mark before it."""

    name: str
    mark: Line2D


def style(i: int) -> Style:
    """Return the colour and the marker shape of the i-th group."""
    colour = COLOURS[i % len(COLOURS)]
    marker = MARKERS[i % len(MARKERS)]
    return Style(colour, marker)


def printable(name: str, width: int = 28) -> str:
    """Return a name fit for a figure: one line, no formulas, at most `width` letters.

    name: any text; of a longer one the middle is replaced by an ellipsis.
    width: letters.
    """
    return _without_formulas(_shortened(name, width))


def folded(name: str) -> str:
    """Return a name fit for a figure, on up to three lines."""
    # 66 letters fill three lines of 24, whose ends stay open where words end
    lines = textwrap.wrap(_shortened(name, 66), 24)
    return _without_formulas("\n".join(lines))


def _shortened(name: str, width: int) -> str:
    one_line = " ".join(name.split())
    # a font has no sign for what directs a text or ends a line
    plain = "".join(filter(str.isprintable, one_line))
    if len(plain) <= width:
        return plain

    # the ellipsis is one of the letters
    start = plain[: width // 2]
    end = plain[1 + width // 2 - width :]
    return f"{start}…{end}"


def _without_formulas(text: str) -> str:
    # matplotlib sets what stands between two $ as a formula, and fails where it is none
    return text.replace("$", r"\$")


def tidy(axes: Axes, x_label: str, y_label: str) -> None:
    """Name the axes, in small letters, and remove the upper and the right side of the frame."""
    axes.set_xlabel(x_label, fontsize=MEDIUM)
    axes.set_ylabel(y_label, fontsize=MEDIUM)
    axes.tick_params(labelsize=SMALL + 1)  # points
    axes.spines[["top", "right"]].set_visible(False)


def entry(name: str, colour: str, marker: str, face: str | None = None) -> LegendEntry:
    """Return a legend's entry.

    face: what the mark is filled with; its colour where left out.
    """
    mark = Line2D(
        [],
        [],
        linestyle="none",
        markersize=4.5,
        color=colour,
        marker=marker,
        markerfacecolor=colour if face is None else face,
    )
    return LegendEntry(name, mark)


def entries(names: Iterable[str]) -> list[LegendEntry]:
    """Return the entries of groups that are drawn in the order of `style`."""
    made = []
    for i, name in enumerate(names):
        colour, marker = style(i)
        made.append(entry(name, colour, marker))
    return made


def legend(axes: Axes, shown: Sequence[LegendEntry], **place: Any) -> None:
    """Write names and marks to the right of the axes, 20 below each other at most.

    place: arguments of matplotlib's `legend`, to put it elsewhere.
    """
    beside: dict[str, Any] = {
        "loc": "center left",
        "bbox_to_anchor": (1.01, 0.5),
        # more than 20 below each other are higher than most figures
        "ncols": 1 + (len(shown) - 1) // 20,
    }
    drawn = axes.legend(
        [item.mark for item in shown],
        ["x"] * len(shown),
        fontsize=SMALL,
        frameon=False,
        **(beside | place),
    )

    # Texts are set afterwards, as matplotlib leaves out a label that begins with _
    for text, item in zip(drawn.get_texts(), shown, strict=True):
        text.set_text(printable(item.name))


def thin_labels(axis: Axis) -> None:
    """Empty those labels of an axis that would touch the label before them.

    Call it last: the figure is laid out as it is then.
    """
    figure = axis.axes.figure
    figure.canvas.figure.draw_without_rendering()
    unit = figure.dpi / 72  # pixels of a point
    side = 1 if isinstance(axis, YAxis) else 0  # of a corner (x, y)

    labels = axis.get_ticklabels()
    texts = [label.get_text() for label in labels]
    boxes = [label.get_window_extent() for label in labels]
    lows = [box.p0[side] for box in boxes]

    # From the lowest label on: one stays if it begins after the end of the last that stayed
    end = -np.inf
    for i in np.argsort(lows):
        low = lows[i]
        high = boxes[i].p1[side]
        centre = (low + high) / 2
        # half a line, whether or not its letters have a tail
        half = max(high - low, 1.25 * SMALL * unit) / 2

        if centre - half < end:
            texts[i] = ""
        else:
            end = centre + half
    axis.set_ticklabels(texts)
