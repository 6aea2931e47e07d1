"""Figures as files, and as SVG inside a page.

In a page a figure has the page's text colour, names of its own, and the tasks' texts to point at.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.text import Text

from ipt.analysis.plots.style import INK
from ipt.analysis.report.colours import ON_PAGE, recovery_colour
from ipt.analysis.report.sections import Drawing
from ipt.analysis.report.vectors import NAME
from ipt.analysis.report.views import View

# Names of vocabularies, which nothing fetches
SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
LINK = f"{{{XLINK}}}href"  # an attribute, as ElementTree writes it

# What every figure of a page has, whatever the user's own matplotlib settings are
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ipt",  # the same ids each time
    "axes.unicode_minus": True,
    "font.size": 9,
    # what is drawn in ink takes the page's text colour
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    # the page's ground is light or dark
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def draw(drawing: Drawing, views: Sequence[View], folder: Path, name: str) -> str:
    """Draw a figure, write it as PNG, PDF and SVG, and return it as SVG for a page.

    folder, name: where the files go.
    Returns an empty text where there is nothing to draw.
    """
    with rc_context(STYLE), catch_warnings():
        # the browser has more fonts
        filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(layout="constrained")
        drawing.draw(figure, views)
        if not figure.axes:
            return ""  # the run does not have what it shows
        # drawings for papers have smaller letters than a page should
        for words in figure.findobj(Text):
            words.set_fontsize(max(words.get_fontsize(), NAME))

        # laid out once for the three files, which have no date: equal runs give equal files
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        figure.savefig(folder / f"{name}.png", dpi=160, facecolor="white")
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})

    # the page has the same drawing as the file
    text = (folder / f"{name}.svg").read_text(encoding="utf8")
    alt = f"{drawing.title}. {drawing.caption}"
    return inline(text, name=name, alt=alt, view=views[0])


def inline(text: str, name: str, alt: str, view: View) -> str:
    """Return matplotlib's SVG as an element of a page.

    name: leads every id, so that figures of one page do not share any.
    alt: what it is, in words.
    view: the run whose tasks its elements are.
    """
    root = ElementTree.fromstring(text)
    _remove_styles(root)
    _remove_second_ids(root)
    # tasks before ids get a lead, by which they would not be found
    has_tasks = False
    for element in root.iter():
        task = re.fullmatch(r"task-(\d+)", element.get("id", ""))
        if task:
            _name_task(element, view, number=int(task[1]))
            has_tasks = True
        _lead_names(element, name)

    # no height: it follows from the view box where a narrow window makes the figure smaller
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        # what can be pointed at is no part of an image
        "role": "group" if has_tasks else "img",
        "aria-label": alt,
        "style": f"width:{root.attrib['width']}",
    }
    return _without_namespaces(root)


def _remove_styles(root: ElementTree.Element) -> None:
    """Remove style sheets, which would hold for the whole page, and metadata."""
    # lists, as removing changes what is walked through
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag == f"{{{SVG}}}style" or child.tag.endswith("metadata"):
                parent.remove(child)


def _remove_second_ids(root: ElementTree.Element) -> None:
    """Remove ids that an element before has, as a page may have each id once.

    matplotlib gives equal images the same id, such as two colour bars; and of a task that has
    several artists the first one keeps it.
    """
    taken = set()
    for element in root.iter():
        name = element.get("id")
        if name is None:
            continue
        if name in taken:
            del element.attrib["id"]
        taken.add(name)


def _name_task(element: ElementTree.Element, view: View, number: int) -> None:
    """Say which task the element is, instead of its id."""
    name = view.names[number]
    # page.js shows the tip, and marks what is of the same group
    del element.attrib["id"]
    element.set("data-tip", view.tip(name))
    element.set("data-group", view.tasks[name].subcategory)
    element.set("data-task", name)
    element.set("role", "img")
    element.set("aria-label", view.tip(name))
    task = view.scored_task(name)
    share = math.nan if task is None else task.recovery
    element.set("style", f"--by-recovery: {recovery_colour(share)}")


def _lead_names(element: ElementTree.Element, lead: str) -> None:
    """Put a lead before ids and what refers to them, and give ink the page's text colour."""
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{lead}-{value}")
        elif key == LINK and value.startswith("#"):
            element.set(key, f"#{lead}-{value[1:]}")
        elif key in ("style", "clip-path", "fill", "stroke"):
            # url(#...) refers to a shape or a pattern by its id
            led = value.replace("url(#", f"url(#{lead}-")
            led = led.replace(INK, "currentColor")
            for colour, shown in ON_PAGE.items():
                led = led.replace(colour, shown)
            element.set(key, led)


def _without_namespaces(root: ElementTree.Element) -> str:
    """Return an element as text of an HTML page, where SVG's names need no namespace."""
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    text = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)

    # they are declared in the first tag; later ones may have such a text inside
    end = text.index(">")
    first_tag = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text[:end])
    return first_tag + text[end:]
