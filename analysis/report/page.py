"""Runs in, one HTML file out, with nothing from elsewhere.

The page has the headline, figures, tables, settings and what is missing. Its text is in page.html,
the look in page.css, what moves in page.js, the tables in `ipt.analysis.report.tables`.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ipt.analysis.markup import latex, markdown, rows_as_csv, to_csv
from ipt.analysis.report.comparison import angles_record
from ipt.analysis.report.dimensions import intrinsic_dimensions_table
from ipt.analysis.report.sections import DRAWINGS, Drawing
from ipt.analysis.report.svg import draw
from ipt.analysis.report.tables import (
    SUBCATEGORY_COLUMNS,
    HeadlineFigures,
    Table,
    comparison_table,
    config_table,
    further_tables,
    headline,
    reference,
    settings_table,
    shared_notes,
    tasks_table,
)
from ipt.analysis.report.views import View
from ipt.analysis.scores import cells
from ipt.analysis.summaries import KNOWLEDGE_NOTE
from ipt.storage import write_atomic, write_json

HERE = Path(__file__).parent


class Card(NamedTuple):
    """A run in the headline."""

    view: View
    headline: dict[str, HeadlineFigures | None]
    reference: dict[str, str]


class ShownFigure(NamedTuple):
    """A figure on the page."""

    name: str
    title: str
    caption: str
    svg: str


class ShownTable(NamedTuple):
    """A table of one run on the page."""

    id: str
    view: View
    table: Table


def write_page(
    views: Sequence[View],
    commands: Sequence[str],
    missing: Sequence[tuple[str, list[str]]],
    file: Path,
) -> Path:
    """Write the page and, in a folder beside it, its figures and tables.

    commands: what makes these runs again.
    missing: what they do not tell, and the commands that would.
    Returns the folder.
    """
    # beside the page, and named by it: several pages may lie in a folder
    folder = file.with_name(f"{file.stem}-figures")
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings_table(views)
    script = (HERE / "page.js").read_text(encoding="utf8")

    text = _template().render(
        views=views,
        # headline
        cards=[Card(view, headline(view), reference(view)) for view in views],
        # every setting
        settings=settings,
        compared=comparison_table(views),
        dimensions=intrinsic_dimensions_table(views),
        notes=shared_notes(views),
        # figures, and tables below them
        figures=list(_figures(views, folder)),
        further=list(_further_tables(views)),
        # every task
        tasks=list(_tasks_tables(views)),
        note_on_knowledge=_note_on_knowledge(views),
        # how it was made, what is missing
        config=config_table(views),
        commands=commands,
        missing=missing,
        # inside the page, which refers to no other file
        style=(HERE / "page.css").read_text(encoding="utf8"),
        script=script,
        allowed=_content_hash(script),
        folder=folder.name,
    )
    write_atomic(file, text.encode())
    _write_tables(views, settings, folder)
    return folder


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
            title=title,
            caption=drawing.caption,
            svg=svg,
        )


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
