"""The picture of the method in the docs: three stages, and what is trained in each.

`python -m ipt.analysis.plots.method` writes docs/_static/method-light.svg and method-dark.svg.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

FOLDER = Path("docs/_static")
WIDTH, HEIGHT = 900, 330
# Grey is what never changes, blue what is trained once for all tasks, orange what is trained for
# each task, as in plots/overview.py; lighter where the page is dark.
THEMES = {
    "light": {
        "frozen": "#666E76",
        "once": "#0072B2",
        "task": "#D55E00",
        "ink": "#222222",
        "soft": "#5A6169",
        "line": "#B3B8BC",
        "on": "#FFFFFF",
    },
    "dark": {
        "frozen": "#9AA3AB",
        "once": "#56B4E9",
        "task": "#F0A35E",
        "ink": "#ECEFF1",
        "soft": "#B3BBC2",
        "line": "#5A6169",
        "on": "#131416",
    },
}
COLUMNS = (10, 310, 610)  # left edges
COLUMN = 280  # width
TASKS = ("largest number", "past tense", "sentiment")
LEGEND = (
    ("frozen", "never changes"),
    ("once", "trained once, over all seen tasks"),
    ("task", "trained for each task"),
)
TITLE = "Three stages: tune prompts of many tasks, find a subspace, tune five numbers in it"


def draw(theme: str) -> str:
    """Return the picture as SVG; theme: one of `THEMES`."""
    colours = THEMES[theme]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{TITLE}" font-family="sans-serif" font-size="13">',
        f"<title>{TITLE}</title>",
    ]
    parts += _tune(COLUMNS[0], colours)
    parts += _find(COLUMNS[1], colours)
    parts += _use(COLUMNS[2], colours)
    left = COLUMNS[0]
    for name, text in LEGEND:
        parts.append(_box(left, HEIGHT - 24, 14, 14, colours[name]))
        parts.append(_text(left + 22, HEIGHT - 12, text, colours["soft"]))
        left += COLUMN
    return "\n".join([*parts, "</svg>", ""])


def _tune(left: int, colours: dict[str, str]) -> list[str]:
    """Return stage 1: each task's prompt before the frozen model."""
    parts = _head(left, "1  Tune", "ipt tune", "1,920 numbers for each task", colours)
    for place, task in enumerate(TASKS):
        top = 88 + 44 * place
        parts.append(_text(left + 14, top, task, colours["ink"]))
        parts += _strip(left + 14, top + 8, colours["task"])
        parts.append(_arrow(left + 140, top + 15, left + 168, 146, colours["line"]))
    parts.append(_box(left + 172, 96, 92, 100, colours["frozen"], "frozen model", colours["on"]))
    parts.append(_text(left + 14, 246, "Prompts of 100 tasks, each tuned", colours["soft"]))
    parts.append(_text(left + 14, 264, "on a few of its examples.", colours["soft"]))
    return parts


def _find(left: int, colours: dict[str, str]) -> list[str]:
    """Return stage 2: the autoencoder over the prompts."""
    parts = _head(left, "2  Find", "ipt msf", "the subspace of all prompts", colours)
    parts += _strip(left + 14, 92, colours["task"], narrow=True)
    parts.append(
        _wedge(left + 74, 92, 60, 108, colours["once"], "encode", colours["on"], left=True)
    )
    parts += _dots(left + 150, 108, colours["once"])
    parts.append(_wedge(left + 164, 92, 60, 108, colours["once"], "decode", colours["on"]))
    parts += _strip(left + 232, 92, colours["once"], narrow=True)
    parts.append(_text(left + 150, 222, "5 numbers", colours["ink"], "middle"))
    parts.append(_text(left + 14, 246, "What comes out must still answer, and", colours["soft"]))
    parts.append(_text(left + 14, 264, "be near the prompt that went in.", colours["soft"]))
    return parts


def _use(left: int, colours: dict[str, str]) -> list[str]:
    """Return stage 3: five numbers of a new task through the frozen decoder."""
    parts = _head(left, "3  Use", "ipt ist", "5 numbers for each new task", colours)
    parts.append(_text(left + 14, 88, "next letter", colours["ink"]))
    parts += _dots(left + 30, 108, colours["task"])
    parts.append(_wedge(left + 48, 92, 52, 108, colours["frozen"], "decode", colours["on"]))
    parts += _strip(left + 108, 92, colours["frozen"], narrow=True)
    parts.append(_arrow(left + 140, 146, left + 168, 146, colours["line"]))
    parts.append(_box(left + 172, 96, 92, 100, colours["frozen"], "frozen model", colours["on"]))
    parts.append(_text(left + 14, 246, "Tasks that were not seen, too. How", colours["soft"]))
    parts.append(_text(left + 14, 264, "much of a prompt of its own is that?", colours["soft"]))
    return parts


def _head(
    left: int,
    stage: str,
    command: str,
    what: str,
    colours: dict[str, str],
) -> list[str]:
    """Return a stage's frame and its lines above the drawing."""
    frame = (
        f'<rect x="{left}" y="6" width="{COLUMN}" height="276" rx="10" fill="none" '
        f'stroke="{colours["line"]}"/>'
    )
    title = (
        f'<text x="{left + 14}" y="32" font-size="16" font-weight="bold" '
        f'fill="{colours["ink"]}">{stage}</text>'
    )
    verb = (
        f'<text x="{left + COLUMN - 14}" y="32" text-anchor="end" font-family="monospace" '
        f'fill="{colours["soft"]}">{command}</text>'
    )
    return [frame, title, verb, _text(left + 14, 54, what, colours["ink"])]


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _box(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str,
    *label: str,
) -> str:
    """Return a filled box; label: its text and the text's colour, or nothing."""
    box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{colour}"/>'
    return box + _label(x + width / 2, y + height / 2 + 4, label)


def _wedge(
    x: float,
    y: float,
    width: float,
    height: float,
    colour: str,
    *label: str,
    left: bool = False,
) -> str:
    """Return a box that is narrower at one side; left: the wide side is the left one."""
    cut = height * 0.28
    near, far = (0.0, cut) if left else (cut, 0.0)
    corners = (
        f"{x},{y + near} {x + width},{y + far} "
        f"{x + width},{y + height - far} {x},{y + height - near}"
    )
    shape = f'<polygon points="{corners}" fill="{colour}"/>'
    return shape + _label(x + width / 2, y + height / 2 + 4, label)


def _label(x: float, y: float, label: Sequence[str]) -> str:
    if not label:
        return ""
    text, colour = label
    return _text(x, y, text, colour, "middle")


def _strip(x: float, y: float, colour: str, narrow: bool = False) -> list[str]:
    """Return a prompt as ten cells: side by side, or one above the other where it is narrow."""
    cells = []
    for place in range(10):
        left, top = (x, y + 11 * place) if narrow else (x + 12 * place, y)
        width, height = (28, 9) if narrow else (10, 14)
        cells.append(
            f'<rect x="{left}" y="{top}" width="{width}" height="{height}" fill="{colour}"/>'
        )
    return cells


def _dots(x: float, y: float, colour: str) -> list[str]:
    """Return five numbers as five discs."""
    return [f'<circle cx="{x}" cy="{y + 19 * place}" r="7" fill="{colour}"/>' for place in range(5)]


def _arrow(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    return (
        f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" stroke="{colour}" stroke-width="2"/>'
        f'<circle cx="{to_x}" cy="{to_y}" r="3" fill="{colour}"/>'
    )


def main() -> None:
    """Write the pictures."""
    for theme in THEMES:
        (FOLDER / f"method-{theme}.svg").write_text(draw(theme), encoding="utf8")


if __name__ == "__main__":
    main()
