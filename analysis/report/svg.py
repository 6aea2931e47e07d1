"""Figures as files, and as SVG inside a page: in the page's text colour, with names of their own and the tasks' texts to point at."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings
from xml.etree import ElementTree

from matplotlib import rc_context
from matplotlib.figure import Figure

from ipt.analysis.report.sections import INK, Drawing
from ipt.analysis.report.views import View

SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "ipt", "axes.unicode_minus": True, "font.size": 9,
    "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "figure.facecolor": "none", "axes.facecolor": "none",
}  # fmt: skip


def draw(drawing: Drawing, views: Sequence[View], folder: Path, name: str) -> str:
    """Draw a figure, write it as PNG, PDF and SVG, and return it as SVG for a page; empty where there is nothing to draw."""
    with rc_context(STYLE), catch_warnings():
        filterwarnings("ignore", message="Glyph .* missing from font")  # the browser has more fonts
        figure = Figure(layout="constrained")
        drawing.draw(figure, views)
        if not figure.axes:
            return ""
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once for the three files
        figure.savefig(folder / f"{name}.png", dpi=160, facecolor="white")
        figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    return inline((folder / f"{name}.svg").read_text(encoding="utf8"), name, f"{drawing.title}. {drawing.caption}", views[0])


def inline(text: str, name: str, alt: str, view: View) -> str:
    """Return matplotlib's SVG as an element of a page.

    name: leads every id, so that figures of one page do not take each other's; alt: what it is, in words.
    """
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag == SVG + "style" or c.tag.endswith("metadata")]:
            parent.remove(child)
    taken: set[str] = set()
    for element in root.iter():
        if element.get("id", "") in taken:  # matplotlib names equal images alike, such as two colour bars
            del element.attrib["id"]
        taken |= {element.get("id", "")} - {""}
        task = re.fullmatch(r"task-(\d+)", element.get("id", ""))
        if task:
            _point(element, view, int(task[1]))
        _own_names(element, name)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": alt, "style": f"width:{root.attrib['width']}"}
    ElementTree.register_namespace("", SVG[1:-1])
    ElementTree.register_namespace("xlink", LINK[1:].split("}")[0])
    found = ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", found[: found.index(">")]) + found[found.index(">") :]


def _point(element: ElementTree.Element, view: View, number: int) -> None:
    """Say which task the element is; several of a figure may be one task, so it keeps no id."""
    name = view.names[number]
    del element.attrib["id"]
    element.set("data-tip", view.tip(name))
    element.set("data-group", view.tasks[name]["subcategory"])


def _own_names(element: ElementTree.Element, lead: str) -> None:
    """Give ids, and what refers to them, a lead of their own; let what was drawn in ink take the page's colour."""
    for key, value in element.attrib.items():
        if key == "id":
            element.set(key, f"{lead}-{value}")
        elif key == LINK and value.startswith("#"):
            element.set(key, f"#{lead}-{value[1:]}")
        elif key in ("style", "clip-path", "fill", "stroke"):
            element.set(key, value.replace("url(#", f"url(#{lead}-").replace(INK, "currentColor"))
