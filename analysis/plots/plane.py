"""The answer plane of `ipt runs plane`, and beside it what five numbers and their rivals recover.

The README's figure is made from results/hero.json and the table of the protocol's study:
python -m ipt.analysis.plots.plane
"""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy import ndimage

from ipt.analysis.plots.style import printable
from ipt.storage import SEAL

Record = dict[str, Any]
HERO = "results/hero.json"
STRIP = "results/protocol/protocol-protocol.json"
CONTROLS = ("results/plane/random.json", "results/plane/pca.json")
CONTROL_PICTURE = "results/plane/controls.png"
PICTURES = {"light": "results/hero.png", "dark": "results/hero-dark.png"}
SIZE = (10.0, 4.5)  # inches; at 160 dots 1,600 x 720
DOTS = 160
PLANE_SHARE = 0.62  # of the width
LEAST_SHARE = 0.01  # answers of fewer places are grey
# Okabe & Ito (2008); white is mixed in on a light page, black on a dark one.
HUES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
# A likelihood of 0 leaves so much of a colour.
PALEST = 0.45
FINE = 6  # drawn points a place, so that edges of regions are rounded by less than one place
LABEL_ROOM = 2.2  # places from the middle of a label to the edge of its region
LETTERS = 12  # of an answer on the plane
WORDS = 24  # letters of a line of what a task asks
# Of its letters, in places: how wide one is, how high a line, and how far the box is from the disc.
LETTER, LINE, GAP = 1.0, 2.4, 1.8
POINTS = 8  # of these letters

# What is said of each condition of the study: names that a stranger reads.
NAMES = {
    "test": "five numbers",
    "choice_test": "best of three, by dev loss",
    "mixture_test": "mixture of six seen prompts",
    "pca_test": "PCA subspace",
    "random_test": "random subspace",
    "best_seen": "best seen prompt",
    "nearest_seen": "nearest seen prompt",
    "start_test": "random, around the start",
}
OWN = "test"


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    ground: str
    ink: str
    faint: str
    grey: str
    own: str
    mixed: float
    """Share of the ground in the colours of regions."""


THEMES = {
    "light": Theme("#ffffff", "#1f2328", "#59636e", "#e4e6e8", "#0072B2", 0.42),
    "dark": Theme("#0d1117", "#e6edf3", "#9198a1", "#2b3138", "#56B4E9", 0.38),
}


class Method(NamedTuple):
    """A line of the strip: a name, the share and its interval, in per cent."""

    name: str
    value: float
    low: float
    high: float
    is_own: bool


class Box(NamedTuple):
    """Where a text stands, in places."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: "Box") -> bool:
        """Return whether two texts overlap."""
        beside = self.right < other.left or other.right < self.left
        return not beside and self.top >= other.bottom and other.top >= self.bottom

    @property
    def rows(self) -> slice:
        """The lines of the grid that it covers."""
        return slice(max(0, int(self.bottom)), max(0, int(self.top) + 1))

    @property
    def columns(self) -> slice:
        """The columns of the grid that it covers."""
        return slice(max(0, int(self.left)), max(0, int(self.right) + 1))


def draw_plane(record: Mapping[str, Any], theme: str = "light") -> Figure:
    """Return the plane alone."""
    colours = THEMES[theme]
    figure = Figure(figsize=(SIZE[0] * PLANE_SHARE, SIZE[1]), facecolor=colours.ground)
    axes = figure.add_axes((0.02, 0.03, 0.96, 0.83))
    paint_plane(axes, record, colours)
    return figure


def draw_hero(record: Mapping[str, Any], methods: Sequence[Method], theme: str) -> Figure:
    """Return the plane with the strip beside it."""
    colours = THEMES[theme]
    figure = Figure(figsize=SIZE, facecolor=colours.ground)
    plane = figure.add_axes((0.012, 0.03, PLANE_SHARE - 0.012, 0.83))
    paint_plane(plane, record, colours)
    strip = figure.add_axes((0.665, 0.115, 0.32, 0.745))
    paint_strip(strip, methods, colours)
    return figure


def draw_controls(records: Sequence[Mapping[str, Any]]) -> Figure:
    """Return planes of one text beside each other, each with the name of its subspace."""
    colours = THEMES["light"]
    figure = Figure(figsize=(SIZE[0], 3.7), facecolor=colours.ground, layout="constrained")
    for axes, record in zip(figure.subplots(1, len(records)), records, strict=True):
        paint_plane(axes, record, colours)
        name = {"pca": "PCA", "msf": "the run's"}.get(record["subspace"], record["subspace"])
        axes.set_title(f"{name} subspace", fontsize=10, loc="left", color=colours.ink)
    return figure


def regions(record: Mapping[str, Any]) -> np.ndarray:
    """Return the number of the answer at each place [H, W], the lowest line first."""
    return np.array([list(map(int, line.split())) for line in record["places"]])


def coloured(record: Mapping[str, Any]) -> list[int]:
    """Return the answers that have a colour: those of the three tasks, then the most frequent."""
    answers = record["answers"]
    chosen = {answers.index(anchor["answer"]) for anchor in record["anchors"]}
    for number, share in enumerate(record["shares"]):
        if len(chosen) < len(HUES) and share >= LEAST_SHARE:
            chosen.add(number)
    return sorted(chosen)


def paint_plane(axes: Axes, record: Mapping[str, Any], theme: Theme) -> None:
    """Draw the regions of the answers, their names, and the three tasks."""
    places = regions(record)
    digits = np.array([list(map(int, line)) for line in record["likelihoods"]])
    fine = smoothed(places)
    likely = ndimage.zoom((digits + 0.5) / 10, FINE, order=1, grid_mode=True, mode="nearest")
    picture = np.empty((*fine.shape, 3))
    picture[:] = to_rgb(theme.grey)
    shown = coloured(record)
    ground = np.array(to_rgb(theme.ground))
    for number, hue in zip(shown, HUES, strict=False):
        colour = (1 - theme.mixed) * np.array(to_rgb(hue)) + theme.mixed * ground
        inside = fine == number
        share = (PALEST + (1 - PALEST) * likely[inside])[:, None]
        picture[inside] = share * colour + (1 - share) * ground
    height, width = places.shape
    axes.imshow(picture, origin="lower", extent=(0, width, 0, height), interpolation="nearest")
    # Between grey answers there are no lines: hundreds of them may meet.
    axes.add_collection(edges(np.where(np.isin(fine, shown), fine, -1), theme.ground))
    boxes: list[Box] = []
    for anchor in record["anchors"]:
        boxes.append(draw_anchor(axes, record, anchor, boxes, theme))
    free = np.ones(places.shape, dtype=bool)
    for box in boxes:
        free[box.rows, box.columns] = False
    for number in shown:
        label_region(axes, (places == number) & free, record["answers"][number], theme)
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(
        f"One frozen model, one input: “{printable(record['text'], 44)}”\n"
        f"Each place is {in_words(record['dim'])} numbers before it, its colour the answer.",
        fontsize=10,
        loc="left",
        color=theme.ink,
        linespacing=1.35,
    )


def in_words(number: int) -> str:
    """Return a small number as a word."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    return words[number] if number < len(words) else str(number)


def smoothed(places: np.ndarray) -> np.ndarray:
    """Return the regions [H, W] on a finer grid, without the corners of the places."""
    best = np.full((places.shape[0] * FINE, places.shape[1] * FINE), -1.0)
    fine = np.zeros(best.shape, dtype=int)
    for number in np.unique(places):
        whole = np.kron(places == number, np.ones((FINE, FINE)))
        soft = ndimage.gaussian_filter(whole, FINE / 2, mode="nearest")
        wins = soft > best
        fine[wins] = number
        best[wins] = soft[wins]
    return fine


def edges(fine: np.ndarray, colour: str) -> LineCollection:
    """Return the lines between regions."""
    segments = []
    for y, x in zip(*np.nonzero(fine[:, 1:] != fine[:, :-1]), strict=True):
        segments.append(((x + 1, y), (x + 1, y + 1)))
    for y, x in zip(*np.nonzero(fine[1:] != fine[:-1]), strict=True):
        segments.append(((x, y + 1), (x + 1, y + 1)))
    scaled = np.array(segments, dtype=float).reshape(-1, 2, 2) / FINE
    # 1.5 px of the picture at its size on a page, half of its dots.
    return LineCollection(list(scaled), colors=colour, linewidths=1.1, capstyle="projecting")


def label_region(axes: Axes, inside: np.ndarray, answer: str, theme: Theme) -> None:
    """Write an answer into the middle of the largest piece of its region, where there is room."""
    pieces, count = ndimage.label(inside)
    if not count:
        return
    sizes = ndimage.sum_labels(inside, pieces, range(1, count + 1))
    largest = pieces == 1 + int(np.argmax(sizes))
    # The place that is farthest from any edge; the picture's border is one.
    room = ndimage.distance_transform_edt(np.pad(largest, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(int(np.argmax(room)), room.shape)
    if room[y, x] < LABEL_ROOM:
        return
    text = f"“{printable(answer, LETTERS)}”"
    points = min(14.0, 7.0 + room[y, x] / 2)
    # Not over the picture's border.
    half = 1.3 * LETTER * len(text) * points / POINTS / 2
    axes.text(
        min(max(x + 0.5, half), inside.shape[1] - half),
        y + 0.5,
        text,
        ha="center",
        va="center",
        fontsize=points,
        fontweight="bold",
        color=theme.ink,
    )


def draw_anchor(
    axes: Axes,
    record: Mapping[str, Any],
    anchor: Mapping[str, Any],
    taken: Sequence[Box],
    theme: Theme,
) -> Box:
    """Draw a task: a disc, what it asks, and whether its answer is right.

    taken: where texts stand already.
    Returns where disc and text stand.
    """
    height, width = regions(record).shape
    x = (anchor["x"] - record["left"]) / record["step"] + 0.5
    y = (anchor["y"] - record["bottom"]) / record["step"] + 0.5
    axes.plot(x, y, "o", markersize=8, markerfacecolor="white", markeredgecolor="black", zorder=4)
    signs = {True: " ✓", False: " ✗", None: ""}
    words = printable(anchor["definition"] or anchor["task"], 2 * WORDS)
    lines = textwrap.wrap(f"{words}{signs[anchor['right']]}", WORDS)
    if not anchor["seen"]:
        lines.append("(a task never seen)")
    half = LETTER * max(map(len, lines)) / 2
    middle = min(max(x, half + 1), width - half - 1)
    high = LINE * len(lines)
    above = Box(middle - half, y - GAP, middle + half, y + GAP + high)
    below = Box(middle - half, y - GAP - high, middle + half, y + GAP)
    # Above the disc, where no other text and no border is.
    is_above = above.top < height and not any(above.meets(other) for other in taken)
    axes.text(
        middle,
        y + GAP if is_above else y - GAP,
        "\n".join(lines),
        ha="center",
        va="bottom" if is_above else "top",
        fontsize=POINTS,
        color=theme.ink,
        zorder=5,
        linespacing=1.1,
        bbox={"facecolor": theme.ground, "alpha": 0.8, "edgecolor": "none", "pad": 2},
    )
    return above if is_above else below


def strip_methods(table: Mapping[str, Any]) -> list[Method]:
    """Return the lines of the strip, the best first, from the record of a protocol's table."""
    first = table["rows"][0]["line"]
    methods = []
    for row in table["rows"]:
        if row["line"] == first and row["condition"] in NAMES:
            shares = row["recovered"]
            value, low, high = (100 * shares[name] for name in ("value", "low", "high"))
            name = NAMES[row["condition"]]
            methods.append(Method(name, value, low, high, row["condition"] == OWN))
    return sorted(methods, key=lambda method: -method.value)


def paint_strip(axes: Axes, methods: Sequence[Method], theme: Theme) -> None:
    """Draw a dot and an interval for each method, prompt tuning at 100."""
    for place, method in enumerate(methods):
        colour = theme.own if method.is_own else theme.faint
        axes.plot(
            [method.low, method.high],
            [place, place],
            color=colour,
            linewidth=2.6 if method.is_own else 1.6,
            solid_capstyle="round",
        )
        axes.plot(method.value, place, "o", markersize=8 if method.is_own else 6, color=colour)
        weight = "bold" if method.is_own else "normal"
        axes.text(
            LEFT_END,
            place - 0.36,
            method.name,
            fontsize=9,
            fontweight=weight,
            color=theme.ink,
            va="center",
        )
        axes.text(
            RIGHT_END,
            place,
            f"{method.value:.0f}".replace("-", "−"),
            fontsize=10,
            fontweight=weight,
            color=theme.ink,
            va="center",
            ha="right",
        )
    axes.axvline(0, color=theme.grey, linewidth=1, zorder=0)
    axes.axvline(100, color=theme.faint, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    axes.set_xlim(LEFT_END, RIGHT_END)
    axes.set_ylim(len(methods) - 0.5, -0.75)
    axes.set_yticks([])
    axes.set_xticks([0, 50, 100], ["nothing\ntuned", "50", "prompt\ntuning"])
    axes.tick_params(labelsize=8, colors=theme.faint, length=0)
    axes.set_facecolor(theme.ground)
    axes.spines[:].set_visible(False)
    axes.set_title(
        "Unseen tasks: % of what prompt tuning\ngains, with 95 % intervals over tasks",
        fontsize=10,
        loc="left",
        color=theme.ink,
        linespacing=1.35,
    )


LEFT_END, RIGHT_END = -28, 118


def digests(record: Mapping[str, Any], table: Mapping[str, Any]) -> str:
    """Return what a picture is made from, as its file names it."""
    return f"plane {record[SEAL]}, strip {table['digest']}"


def read(root: Path, name: str) -> Record:
    """Return a record of results."""
    return dict(json.loads((root / name).read_text(encoding="utf8")))


def main(root: Path = Path()) -> None:
    """Write the README's figure, light and dark, and the controls of the docs."""
    record = read(root, HERO)
    controls = [read(root, name) for name in CONTROLS]
    draw_controls(controls).savefig(root / CONTROL_PICTURE, dpi=DOTS, metadata={"Software": None})
    table = read(root, STRIP)
    methods = strip_methods(table)
    for theme, name in PICTURES.items():
        figure = draw_hero(record, methods, theme)
        about = {"Description": digests(record, table), "Software": None}
        figure.savefig(
            root / name,
            dpi=DOTS,
            facecolor=figure.get_facecolor(),
            metadata=about,
            pil_kwargs={"optimize": True},
        )


if __name__ == "__main__":
    main()
