"""The figure and the table of the README: the idea, and what five numbers recover.

`python -m ipt.analysis.plots.overview` reads the study's summaries in results/study and writes
results/overview.png and results/overview.json. Functions that draw take numbers and Axes.
"""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle

from ipt.analysis.spread import Spread, to_json

SUBSPACE_FILES = "results/study/random-dim5-ours-seed*.json"
MIXTURE_FILES = "results/study/mixture-dim5-seed*.json"
COMMAND = "ipt study analysis/studies/recovery.toml"

# Okabe & Ito (2008), as in plots/bars.py. Grey is what never changes, blue what is trained
# once for all tasks, orange what is trained for each task.
FROZEN = "#666E76"
TRAINED_ONCE = "#0072B2"
TRAINED_PER_TASK = "#D55E00"
RIVAL = "#009E73"
CONTROL = "#B3B8BC"
INK = "#222222"
SMALL, MEDIUM = 8.5, 10

WIDTH, HEIGHT = 100, 60  # units of the drawing; one unit is as wide as high
CELLS = 10  # vectors of a soft prompt
TASKS = ("largest number", "past tense", "opposite", "sentiment", "next letter", "…")


@dataclass(frozen=True)
class Row:
    """A row of the table; the rows with a colour are bars of the figure."""

    title: str
    setting: str
    files: str = SUBSPACE_FILES
    colour: str = ""


# In the order of the table: the two claims first, then what they are held against.
ROWS = (
    Row("seen tasks, other examples: five numbers", "train_diff", colour=TRAINED_PER_TASK),
    Row("unseen tasks: five numbers in the subspace", "test", colour=TRAINED_PER_TASK),
    Row("unseen tasks: mixture of six seen prompts", "mixture_test", MIXTURE_FILES, RIVAL),
    Row("unseen tasks: PCA subspace", "pca_test"),
    Row("unseen tasks: random subspace", "random_test", colour=CONTROL),
)


@dataclass(frozen=True)
class Share:
    """What a row recovers of prompt tuning: shares, one a seed."""

    row: Row
    relative: tuple[float, ...]
    """E_rel: mean over tasks of score / reference."""
    floored: tuple[float, ...]
    """The same above the floor."""


def shares_of(row: Row, summaries: Sequence[dict[str, Any]]) -> Share:
    """Return a row's shares.

    summaries: records of results/study, one a seed, as `ipt study` writes them
    """
    relative = []
    floored = []
    for summary in summaries:
        for line in summary["lines"]:
            # Groups of tasks (novel, rule, ...) have lines of their own.
            if line["setting"] == row.setting and line["group"] == "all":
                relative.append(line["relative"])
                floored.append(line["floored"])

    return Share(row, tuple(relative), tuple(floored))


def table(
    shares: Sequence[Share],
    summaries: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return the table of the README as a record of numbers, with seeds and a digest of scores."""
    rows = []
    for share in shares:
        row = {
            "title": share.row.title,
            "relative": to_json(Spread.of(share.relative)),
            "floored": to_json(Spread.of(share.floored)),
        }
        rows.append(row)

    seeds = sorted({summary["seed"] for summary in summaries})
    # One digest for all scores that the table rests on.
    digests = [summary["digest"] for summary in summaries]
    return {
        "kind": "overview",
        "rows": rows,
        "command": COMMAND,
        "seed": ", ".join(map(str, seeds)),
        "digest": hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
    }


def draw(shares: Sequence[Share]) -> Figure:
    """Return the figure: the idea at the left, the shares at the right."""
    figure = Figure(figsize=(9.8, 3.9), layout="constrained")
    # The drawing needs more room than four bars.
    idea, bars = figure.subplots(1, 2, width_ratios=(1.66, 1))
    draw_idea(idea)
    draw_shares(bars, [share for share in shares if share.row.colour])
    return figure


def draw_idea(axes: Axes) -> None:
    """Draw many prompts → autoencoder → five numbers → decoded prompt → frozen model."""
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_aspect("equal")
    axes.axis("off")

    # The prompts of many tasks, one strip of vectors each. The shades mean nothing, and a fixed
    # seed makes the same picture each time.
    generator = np.random.default_rng(4)
    for index, task in enumerate(TASKS):
        y = 46 - 5 * index
        axes.text(15.5, y + 1.4, task, ha="right", va="center", fontsize=SMALL, color=INK)
        if task != "…":
            _strip(axes, (17, y), generator.random(CELLS))
    _label(axes, (23, 53), "tuned prompts\nof many tasks")
    _label(axes, (20, 18.2), "1,920 numbers each", colour=FROZEN)

    # The autoencoder: wide where a prompt goes in or comes out, narrow at the five numbers.
    middle = 34.5
    _trapezoid(axes, left=(34, 14), right=(41, 6), middle=middle)
    _trapezoid(axes, left=(54, 6), right=(61, 14), middle=middle)
    _label(axes, (37.5, 53), "encoder", colour=TRAINED_ONCE)
    _label(axes, (57.5, 53), "decoder", colour=TRAINED_ONCE)

    for index in range(5):
        place = (47.5, middle + 7 - 3.5 * index)
        axes.add_patch(Circle(place, 1.3, facecolor=TRAINED_PER_TASK, edgecolor="none"))
    _label(axes, (47.5, 53), "five\nnumbers", colour=TRAINED_PER_TASK)

    # One decoded prompt, put before the input of the frozen model.
    _strip(axes, (65, middle - 1.4), generator.random(CELLS))
    _label(axes, (71, 53), "decoded\nprompt")
    box = FancyBboxPatch(
        (81, middle - 8),
        17,
        16,
        boxstyle="round,pad=0,rounding_size=2",
        facecolor="#EEF0F2",
        edgecolor=FROZEN,
        linewidth=1.2,
    )
    axes.add_patch(box)
    _label(axes, (89.5, middle), "frozen\nlanguage\nmodel")
    _label(axes, (89.5, 20), "input:  63 85 96 22", colour=FROZEN)
    _label(axes, (89.5, 53), "answer:  96", colour=FROZEN)

    for start, end in ((30, 33.5), (41.5, 45.5), (49.5, 53.5), (61.5, 64.5), (77.5, 80.5)):
        _arrow(axes, (start, middle), (end, middle))
    _arrow(axes, (89.5, 22.5), (89.5, middle - 8.5))
    _arrow(axes, (89.5, middle + 8.5), (89.5, 50.5))

    # The two stages, in the colours of what each of them trains.
    axes.text(
        17,
        9.5,
        "1  Find: train encoder and decoder on the seen tasks.",
        fontsize=MEDIUM,
        color=TRAINED_ONCE,
        va="center",
    )
    axes.text(
        17,
        4,
        "2  Tune: for each further task, only its five numbers.",
        fontsize=MEDIUM,
        color=TRAINED_PER_TASK,
        va="center",
    )


def draw_shares(axes: Axes, shares: Sequence[Share]) -> None:
    """Draw a bar for each share, with a line from the least to the largest seed."""
    for index, share in enumerate(shares):
        per_cent = [100 * value for value in share.relative]
        mean = statistics.fmean(per_cent)
        low, high = min(per_cent), max(per_cent)
        # Bars go downwards in the order of the table.
        y = -index
        axes.barh(y, mean, height=0.46, color=share.row.colour)
        axes.plot([low, high], [y, y], color=INK, linewidth=1.4, solid_capstyle="butt")
        axes.text(1.5, y + 0.36, share.row.title, fontsize=SMALL, color=INK, va="center")
        # The number stands behind the line of the seeds, not on it.
        axes.text(
            high + 2,
            y,
            f"{mean:.0f}",
            fontsize=MEDIUM,
            fontweight="bold",
            color=INK,
            va="center",
        )

    # What the shares are of; the line ends below its name.
    bottom, top = -len(shares) + 0.55, 0.62
    axes.vlines(100, bottom, top, color=INK, linewidth=1, linestyle=(0, (3, 2)), zorder=0)
    axes.text(100, top + 0.05, "prompt tuning", fontsize=SMALL, color=INK, ha="center", va="bottom")
    axes.set_xlim(0, 116)
    axes.set_ylim(bottom, top + 0.3)
    axes.set_yticks([])
    axes.set_xticks([0, 50, 100])
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel("% of prompt tuning's score (line: three seeds)", fontsize=SMALL)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _strip(axes: Axes, corner: tuple[float, float], shades: np.ndarray) -> None:
    """Draw a soft prompt: a cell for each vector, darker for larger values of `shades`."""
    x, y = corner
    for index, shade in enumerate(shades):
        # Also the palest cell must be seen on white.
        cell = Rectangle(
            (x + 1.2 * index, y),
            1.2,
            2.8,
            facecolor=TRAINED_ONCE,
            alpha=0.15 + 0.7 * shade,
            edgecolor="white",
            linewidth=0.6,
        )
        axes.add_patch(cell)


def _trapezoid(
    axes: Axes,
    *,
    left: tuple[float, float],
    right: tuple[float, float],
    middle: float,
) -> None:
    """Draw a half of the autoencoder.

    left, right: place and half the height of either side
    """
    corners = [
        (left[0], middle - left[1]),
        (left[0], middle + left[1]),
        (right[0], middle + right[1]),
        (right[0], middle - right[1]),
    ]
    axes.add_patch(Polygon(corners, facecolor=TRAINED_ONCE, alpha=0.85, edgecolor="none"))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.annotate(
        "",
        xy=end,
        xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1, "shrinkA": 0, "shrinkB": 0},
    )


def _label(axes: Axes, place: tuple[float, float], text: str, colour: str = INK) -> None:
    axes.text(*place, text, ha="center", va="center", fontsize=SMALL, color=colour)


def read_summaries(root: Path, pattern: str) -> list[dict[str, Any]]:
    """Return the summaries of a pattern below the root, in the order of their names.

    Raises ValueError where there is none.
    """
    # Names end in the seed, so this is the order of the seeds.
    paths = sorted(root.glob(pattern))
    if not paths:
        raise ValueError(f"no summary {pattern} below {root}; make it with: {COMMAND}")

    summaries = []
    for path in paths:
        text = path.read_text(encoding="utf8")
        summaries.append(json.loads(text))
    return summaries


def measured(root: Path) -> tuple[list[Share], dict[str, Any]]:
    """Return the shares of all rows and the table's record, from the summaries below the root."""
    subspace = read_summaries(root, SUBSPACE_FILES)
    # A mixture needs no subspace, so it has runs of its own.
    mixture = read_summaries(root, MIXTURE_FILES)

    shares = []
    for row in ROWS:
        summaries = mixture if row.files == MIXTURE_FILES else subspace
        shares.append(shares_of(row, summaries))

    return shares, table(shares, [*subspace, *mixture])


def main(root: Path = Path()) -> None:
    """Write the figure and the table's record."""
    shares, record = measured(root)
    text = json.dumps(record, indent=1, ensure_ascii=False)

    results = root / "results"
    results.joinpath("overview.json").write_text(text + "\n", encoding="utf8")
    draw(shares).savefig(results / "overview.png", dpi=160)


if __name__ == "__main__":
    main()
