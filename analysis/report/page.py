"""Runs in, one HTML file out, with nothing from elsewhere.

The page has the headline, answers, figures, tables, settings and what is missing. Its text is in
page.html, the look in page.css, what moves in page.js, the tables in `ipt.analysis.report.tables`.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ipt.analysis.markup import latex, markdown, rows_as_csv, to_csv
from ipt.analysis.report.answers import answered_tasks
from ipt.analysis.report.comparison import angles_record
from ipt.analysis.report.dimensions import intrinsic_dimensions_table
from ipt.analysis.report.headline import Strip, banner, sentence, strip
from ipt.analysis.report.sections import DRAWINGS, Drawing
from ipt.analysis.report.svg import draw
from ipt.analysis.report.tables import (
    SUBCATEGORY_COLUMNS,
    HeadlineFigures,
    Table,
    all_first,
    comparison_table,
    config_table,
    further_tables,
    headline,
    reference,
    settings_table,
    shared_notes,
    shown_cells,
    tasks_table,
)
from ipt.analysis.report.vectors import WIDTH
from ipt.analysis.report.views import View
from ipt.analysis.scores import cells
from ipt.analysis.summaries import KNOWLEDGE_NOTE
from ipt.storage import write_atomic, write_json

HERE = Path(__file__).parent


# The page's parts that hold figures.
SECTIONS = ("where", "map", "loss")
COLUMN = 72 * WIDTH + 1  # points, of the widest figure in one of the two columns


class Made(NamedTuple):
    """How a run was made again, as the command line says it."""

    short: Sequence[str]  # the commands, without what this version does anyway
    full: Sequence[str]  # the same with every setting
    reference: str  # how to name the run in a text


class Card(NamedTuple):
    """A run in the headline."""

    view: View
    sentence: str
    strip: Strip | None
    headline: dict[str, HeadlineFigures | None]
    reference: dict[str, str]


class ShownFigure(NamedTuple):
    """A figure on the page."""

    name: str
    drawing: Drawing
    title: str
    svg: str
    is_wide: bool  # takes both columns of the page


class ShownTable(NamedTuple):
    """A table of one run on the page."""

    id: str
    view: View
    table: Table


def write_page(
    views: Sequence[View],
    made: Made,
    missing: Sequence[tuple[str, list[str], str]],
    file: Path,
) -> Path:
    """Write the page and, in a folder beside it, its figures and tables.

    made: what makes these runs again.
    missing: what they do not tell, the commands that would, and how long these take.
    Returns the folder.
    """
    # beside the page, and named by it: several pages may lie in a folder
    folder = file.with_name(f"{file.stem}-figures")
    folder.mkdir(parents=True, exist_ok=True)
    script = (HERE / "page.js").read_text(encoding="utf8")

    text = _template().render(
        views=views,
        # headline
        banner=banner(views),
        cards=[_card(view) for view in views],
        # answers
        answered=[(view, answered_tasks(view)) for view in views],
        # figures, by the part of the page
        figures=_by_section(views, folder),
        # tables
        settings=all_first(settings_table(views, shown_cells)),
        compared=comparison_table(views),
        dimensions=intrinsic_dimensions_table(views),
        notes=shared_notes(views),
        further=list(_further_tables(views)),
        tasks=list(_tasks_tables(views)),
        note_on_knowledge=_note_on_knowledge(views),
        # how it was made, what is missing
        config=config_table(views),
        made=made,
        missing=missing,
        # inside the page, which refers to no other file
        style=(HERE / "page.css").read_text(encoding="utf8"),
        script=script,
        allowed=_content_hash(script),
        folder=folder.name,
    )
    write_atomic(file, text.encode())
    _write_tables(views, settings_table(views), folder)
    return folder


def _card(view: View) -> Card:
    return Card(view, sentence(view), strip(view), headline(view), reference(view))


def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,  # names of tasks are a user's
        undefined=StrictUndefined,  # a misspelt name is an error, not an empty text
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def _content_hash(script: str) -> str:
    """Return a script as the page's content security policy names it: no other may run."""
    digest = hashlib.sha256(script.encode()).digest()
    return "sha256-" + base64.b64encode(digest).decode()


def _by_section(views: Sequence[View], folder: Path) -> dict[str, list[ShownFigure]]:
    """Draw the figures and return them by the part of the page that they stand in."""
    found: dict[str, list[ShownFigure]] = {name: [] for name in SECTIONS}
    for figure in _figures(views, folder):
        found[figure.drawing.section].append(figure)
    return found


def _figures(views: Sequence[View], folder: Path) -> Iterator[ShownFigure]:
    """Draw and yield each figure that there is something to draw for."""
    for drawing in DRAWINGS:
        # of several runs each has its figure, with its number and its name
        if drawing.together or len(views) == 1:
            yield from _figure(
                drawing,
                views,
                folder,
                name=drawing.key,
                title=drawing.title,
            )
            continue

        for number, view in enumerate(views, start=1):
            yield from _figure(
                drawing,
                [view],
                folder,
                name=f"{drawing.key}-{number}",
                title=f"{drawing.title}: {view.label}",
            )


def _figure(
    drawing: Drawing,
    views: Sequence[View],
    folder: Path,
    name: str,
    title: str,
) -> Iterator[ShownFigure]:
    """Yield the figure, or nothing where it is empty."""
    svg = draw(drawing, views, folder, name=name)
    if svg:
        yield ShownFigure(
            name=name,
            drawing=drawing,
            title=title,
            svg=svg,
            is_wide=width_of(svg) > COLUMN,
        )


def width_of(svg: str) -> float:
    """Return the width of a figure, in points."""
    found = re.search(r'style="width:([\d.]+)pt"', svg)
    return float(found[1]) if found else 0.0


def _further_tables(views: Sequence[View]) -> Iterator[ShownTable]:
    for number, view in enumerate(views, start=1):
        for key, table in further_tables(view).items():
            # a table without rows would be a heading over nothing
            if table.rows:
                yield ShownTable(f"table-{key}-{number}", view, table)


def _tasks_tables(views: Sequence[View]) -> Iterator[ShownTable]:
    for number, view in enumerate(views, start=1):
        yield ShownTable(f"table-tasks-{number}", view, tasks_table(view))


def _note_on_knowledge(views: Sequence[View]) -> str:
    """Return what knowledge and novel tasks are, an empty text where no run has any."""
    for view in views:
        for task in view.tasks.values():
            if task.knowledge:
                return KNOWLEDGE_NOTE
    return ""


def _write_tables(views: Sequence[View], settings: Table, folder: Path) -> None:
    """Write the page's tables as files, each for all runs.

    The settings as Markdown, LaTeX and CSV, subcategories and tasks as CSV, the angles between runs
    as JSON.
    """
    texts = len(settings.texts)  # columns of texts come first
    texts_by_file = {
        "settings.md": markdown(settings.names, settings.rows, texts),
        "settings.tex": latex(settings.names, settings.rows, texts),
        "settings.csv": rows_as_csv([settings.names, *settings.rows]),
        "subcategories.csv": _subcategories_csv(views),
        "tasks.csv": _tasks_csv(views),
    }
    for name, text in texts_by_file.items():
        write_atomic(folder / name, text.encode())

    angles = angles_record(views)
    if angles is not None:
        write_json(folder / "angles.json", angles)


def _subcategories_csv(views: Sequence[View]) -> str:
    rows = [["run", *SUBCATEGORY_COLUMNS]]
    for view in views:
        for line in view.subcategory_lines:
            rows.append([view.label, *cells(line)])
    return rows_as_csv(rows)


def _tasks_csv(views: Sequence[View]) -> str:
    records = []
    for view in views:
        for record in view.task_records:
            records.append({"run": view.label, **record})
    return to_csv(records)
