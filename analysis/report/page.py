"""Runs in, one HTML file out: headline, figures, tables, settings and what is missing, with nothing from elsewhere.

The text is in page.html, the look in page.css, what moves in page.js, the tables in `ipt.analysis.report.tables`.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ipt.analysis.markup import latex, markdown, rows_as_csv, to_csv
from ipt.analysis.report.comparison import angles_record
from ipt.analysis.report.sections import DRAWINGS
from ipt.analysis.report.svg import draw
from ipt.analysis.report.tables import (
    BY_SUBCATEGORY,
    Table,
    comparison_table,
    config_table,
    headline,
    looks,
    reference,
    settings_table,
    shared_notes,
    tasks_table,
)
from ipt.analysis.report.views import View
from ipt.analysis.scores import cells, lines, per_task, subcategories
from ipt.analysis.summaries import KNOWLEDGE_NOTE
from ipt.storage import write_atomic, write_json

HERE = Path(__file__).parent


def write_page(views: Sequence[View], commands: Sequence[str], missing: Sequence[tuple[str, list[str]]], file: Path) -> Path:
    """Write the page and, in a folder beside it, its figures and tables; return that folder.

    commands: what makes these runs again; missing: what they do not tell, and the commands that would.
    """
    folder = file.with_name(f"{file.stem}-figures")
    folder.mkdir(parents=True, exist_ok=True)
    script = (HERE / "page.js").read_text(encoding="utf8")
    settings = settings_table(views)
    text = _template().render(
        views=views,
        cards=[(view, list(headline(view)), reference(view)) for view in views],
        settings=settings,
        compared=comparison_table(views),
        notes=shared_notes(views),
        figures=list(_figures(views, folder)),
        looks=[(f"table-{key}-{i}", view, found) for i, view in enumerate(views, 1) for key, found in looks(view).items() if found.rows],
        tasks=[(view, tasks_table(view)) for view in views],
        known=KNOWLEDGE_NOTE if any(t["knowledge"] for view in views for t in view.tasks.values()) else "",
        config=config_table(views),
        commands=commands,
        missing=missing,
        style=(HERE / "page.css").read_text(encoding="utf8"),
        script=script,
        allowed="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        folder=folder.name,
    )
    write_atomic(file, text.encode())
    _write_tables(views, settings, folder)
    return folder


def _write_tables(views: Sequence[View], settings: Table, folder: Path) -> None:
    """Write the settings as Markdown, LaTeX and CSV, subcategories and tasks as CSV, angles between runs as JSON, each for all runs."""
    head, texts = (settings.columns, settings.rows), len(settings.texts)
    found = {"settings.md": markdown(*head, texts), "settings.tex": latex(*head, texts)}
    found["settings.csv"] = rows_as_csv([settings.columns, *settings.rows])
    by_subcategory = [(view.label, *cells(line)) for view in views for line in lines(view.results, grouping=subcategories)]
    found["subcategories.csv"] = rows_as_csv([("run", *BY_SUBCATEGORY), *by_subcategory])
    found["tasks.csv"] = to_csv([{"run": view.label, **record} for view in views for record in per_task(view.results)])
    for name, text in found.items():
        write_atomic(folder / name, text.encode())
    if angles := angles_record(views):
        write_json(folder / "angles.json", angles)


def _template() -> Any:
    room = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return room.get_template("page.html")


def _figures(views: Sequence[View], folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, title, caption and SVG of each figure that there is something to draw for."""
    for drawing in DRAWINGS:
        for i, group in enumerate([views] if drawing.together else [[view] for view in views], 1):
            alone = drawing.together or len(views) == 1
            name = drawing.key if alone else f"{drawing.key}-{i}"
            title = drawing.title if alone else f"{drawing.title}: {group[0].label}"
            if svg := draw(drawing, group, folder, name):
                yield name, title, drawing.caption, svg
