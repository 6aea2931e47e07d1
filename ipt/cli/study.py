"""`ipt study FILE`: many runs from one short file, cell by cell.

The same command goes on where it was stopped. A table names open cells as open; a figure is drawn
beside it. What a file holds: `ipt.workflows.study`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from cyclopts import CycloptsError, Parameter

from ipt.cli.options import DryRun, Out, renamed, sentence
from ipt.cli.output import print_table
from ipt.cli.report import tuner_summary
from ipt.cli.settings import settings_file
from ipt.cli.tuner_flags import with_tuner
from ipt.progress import Reporter
from ipt.results import parts_of_flags
from ipt.storage import read_json, write_atomic, write_compact, write_json
from ipt.workflows.study import (
    Cell,
    CellConfig,
    Settings,
    choose_cells,
    find_ist_run,
    protocol_digest,
    read_cells,
    settings_record,
    stored_summary,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "cells with their flags, as the README shows under Studies"
TO = "folder of the figures, a JSON file a cell"
ONLY = "names of the cells to do, with * and ?"
Lines = dict[str, list[dict[str, Any] | None]]
Call = Callable[[list[str]], object]


class CommandLine(NamedTuple):
    """How a study uses the other verbs."""

    parse: Callable[[list[str]], dict[str, Any]]
    """Reads tokens into configurations, so that a wrong flag is an error before any work."""
    call: Call
    """Does what the tokens say."""


class StudyPaths(NamedTuple):
    """Where a study lies."""

    file: Path
    runs: Path
    figures: Path


def study(
    file: Annotated[Path, Parameter(help=FILE)],
    /,
    *,
    out: Out = Path("runs"),
    to: Annotated[Path, Parameter(help=TO)] = Path("results"),
    only: Annotated[str, Parameter(help=ONLY)] = "*",
    dry_run: DryRun = False,
) -> None:
    """Fill a table of many MSF and IST runs from a short file (JSON, TOML, YAML).

    The same command goes on where it was stopped.
    """
    # Late, as app.py imports this module: a study drives the other verbs.
    from ipt.cli.app import call, parse

    paths = StudyPaths(file, out, to)
    run_study(paths, only, CommandLine(parse, call), dry_run=dry_run)


def run_study(
    paths: StudyPaths,
    only: str,
    commands: CommandLine,
    *,
    dry_run: bool = False,
) -> None:
    """Do the open cells that `only` names, then print, write and draw the whole table.

    dry_run: print how long they will take, and stop.
    """
    from ipt.resolve import cell_hours, require_rows

    study_record = settings_file(paths.file, "the study")
    cells = read_cells(study_record, paths.file)
    protocol = protocol_digest(study_record, paths.file)
    chosen = choose_cells(cells, only)
    # All cells are parsed, those of other names as well: the table below is of all, and a wrong
    # flag is an error before the first hour of work.
    configs = {}
    settings = {}
    for cell in cells:
        try:
            configs[cell.name] = parse_cell(cell, paths.runs, commands)
        except (CycloptsError, ValueError) as error:
            # The new name of an old flag is said alone: it is the same in every cell.
            where = "" if renamed(error) else f"{paths.file}, cell {cell.name}: "
            raise ValueError(f"{where}{sentence(error)}") from error
        settings[cell.name] = settings_record(configs[cell.name])

    # Figures of other settings are an error, never an open cell: nothing is done twice unasked.
    open_cells = []
    for cell in chosen:
        if stored_summary(cell, paths.figures, settings[cell.name]) is None:
            open_cells.append(cell)
    # Few-shot sets are drawn now: a task with too few rows ends the study before any work.
    asked = [configs[cell.name].with_every_part() for cell in open_cells]
    require_rows(asked)
    if dry_run:
        _print_hours(open_cells, cell_hours(asked), len(cells))
        return

    # A cell's figures are written when it is done, so that a stopped study goes on with the next.
    for number, cell in enumerate(open_cells, 1):
        Reporter().info(f"cell {number} of {len(open_cells)}: {cell.name}")
        fill_cell(
            cell,
            paths.runs,
            paths.figures,
            settings=settings[cell.name],
            call=commands.call,
            protocol=protocol,
        )
    write_tables(paths, cells, settings, protocol)


def parse_cell(cell: Cell, out: Path, commands: CommandLine) -> CellConfig:
    """Return what a cell's commands say, defaults included."""
    if cell.only_tunes:
        tuned = commands.parse(cell.tune(out))
        return CellConfig(tuned["work"], tuned["config"], msf=None, ist=None, parts=())
    # Both verbs call their own settings `config`.
    msf = commands.parse(cell.msf(out))
    ist = commands.parse(cell.ist(out))
    parts = ist["parts"]
    return CellConfig(
        work=with_tuner(msf["work"], msf["tuner"]),
        tune=msf["tune"],
        msf=msf["config"],
        ist=ist["config"],
        parts=(*parts_of_flags(parts.on, parts.against), *parts.part),
    )


def _print_hours(cells: Sequence[Cell], hours: Sequence[float], total: int) -> None:
    # Projected from a short measurement of training and generation on this machine.
    for cell, time in zip(cells, hours, strict=True):
        print(f"{cell.name}: {time:.2f} h")
    print(f"open: {len(cells)} of {total} cells, {sum(hours):.1f} h on this machine")


def fill_cell(
    cell: Cell,
    out: Path,
    to: Path,
    settings: Settings,
    call: Call,
    protocol: str = "",
) -> None:
    """Run a cell's commands and write its figures.

    out: folder of the runs.
    to: folder of the figures.
    protocol: the SHA-256 of its text, if there is one.
    """
    # The commands that a user would type: each finds what it has done before.
    if cell.only_tunes:
        file = out / f"{cell.name}-tuned.json"
        call(cell.tune(out, file))
        record = _tuned_figures(cell, file)
    else:
        call(cell.msf(out))
        call(cell.ist(out))
        record = _run_figures(cell, out, settings)
    numbers = record.pop("numbers")
    tuner = tuner_summary(settings.get("tune", {}), numbers)
    to.mkdir(parents=True, exist_ok=True)
    record |= {"tuner": tuner, "settings": settings}
    if protocol:
        from ipt.analysis.protocol_table import protocol_cell

        record = protocol_cell(record) | {"protocol": protocol}
    write_compact(to / f"{cell.name}.json", record)


def _tuned_figures(cell: Cell, file: Path) -> dict[str, Any]:
    """Return the figures of a cell that only tunes, and P; file: what `ipt tune` wrote."""
    from ipt.analysis.summaries import tuning_summary

    tuned = read_json(file, "remove it and give the command again")
    return tuning_summary(tuned, cell.command) | {"numbers": tuned["numbers"]}


def _run_figures(cell: Cell, out: Path, settings: Settings) -> dict[str, Any]:
    """Return the figures of a cell's two runs, and P."""
    from ipt.analysis.scores import read_pair
    from ipt.analysis.summaries import summary
    from ipt.provenance import source_record
    from ipt.run import Run

    msf = Run(out / cell.name)
    run = find_ist_run(out, settings, source_record(msf))
    record = summary(read_pair(run.folder).results, cell.command, run.config["seed"])
    # A result does not say how many numbers a delta has; the delta that all tasks share does.
    numbers = None
    if (msf.folder / "codes.safetensors").exists():
        numbers = msf.tensors("codes")["shared"].numel()
    return record | {"numbers": numbers}


def write_tables(
    paths: StudyPaths,
    cells: Sequence[Cell],
    settings: Mapping[str, Settings],
    protocol: str = "",
) -> None:
    """Print the table of a study, and write it as JSON, Markdown and a figure.

    Under a protocol (its digest) a second table and figure compare all methods by its rules. Else,
    where methods were measured at several d, or only tuned, what their own tuning scores and what d
    numbers recover of it is the second; where all cells only tune, their scores by group of tasks
    are another.
    """
    from ipt.analysis.dimensions import dimensions_figure, dimensions_summary
    from ipt.analysis.methods import methods_figure, methods_summary
    from ipt.analysis.protocol_table import protocol_figure, protocol_summary
    from ipt.analysis.study import study_figure, study_means, study_summary
    from ipt.analysis.summaries import table_of

    # Read from disk again: other processes may have filled cells meanwhile.
    lines: Lines = {}
    methods: Lines = {}
    over_tasks: Lines = {}
    under_protocol: Lines = {}
    for cell in cells:
        record = stored_summary(cell, paths.figures, settings[cell.name])
        # Cells of one line differ in their seed, those of a method also in d; an open one is None.
        lines.setdefault(cell.line, []).append(record)
        methods.setdefault(cell.method, []).append(record)
        over_tasks.setdefault(cell.over_tasks, []).append(record)
        under_protocol.setdefault(cell.under_protocol, []).append(record)

    command = f"ipt study {paths.file}"
    table = study_summary(lines, command)
    print_table(study_means(table))
    target = f"{paths.figures / paths.file.stem}"
    write_json(Path(f"{target}.json"), table)
    write_atomic(Path(f"{target}.md"), table_of([table]).encode())
    study_figure(lines, Path(f"{target}.png"))
    print(f"every column, with the least and the largest seed: {target}.md")
    if protocol:
        compared = protocol_summary(under_protocol, command, protocol)
        what = "R, intervals and differences by the protocol"
        write_comparison(compared, protocol_figure(compared), f"{target}-protocol", what)
        return
    tunes_alone = any(cell.only_tunes for cell in cells)
    dimensions = dimensions_summary(methods, command)
    if dimensions is not None and (len(methods) < len(lines) or tunes_alone):
        what = "recovery against d, and how few numbers recover 90 %"
        figure = dimensions_figure(dimensions)
        write_comparison(dimensions, figure, f"{target}-dimensions", what)
    if all(cell.only_tunes for cell in cells):
        compared = methods_summary(over_tasks, command)
        what = "scores by group of tasks, with floors and differences"
        write_comparison(compared, methods_figure(compared), f"{target}-methods", what)


def write_comparison(
    record: dict[str, Any],
    figure: "Figure | None",
    target: str,
    what: str,
) -> None:
    """Write a comparison as JSON and Markdown, and its figure where there is one.

    target: path of the files without their suffix. what: it shows, for the line that names them.
    """
    from ipt.analysis.summaries import table_of

    write_compact(Path(f"{target}.json"), record)
    write_atomic(Path(f"{target}.md"), table_of([record]).encode())
    if figure is not None:
        figure.savefig(f"{target}.png", dpi=160)
    print(f"{what}: {target}.md")
