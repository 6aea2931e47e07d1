"""`ipt runs`: list runs, show one again, draw a figure of them, write a small summary."""

import math
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.markup import escape
from rich.table import Column

from ipt.cli.help import VerbApp
from ipt.cli.options import By, Out, RunName
from ipt.cli.output import finite, new_table, print_list, print_recovery, print_table
from ipt.cli.watch import track_run, watch_runs
from ipt.run import Run, chosen_run
from ipt.storage import write_json

if TYPE_CHECKING:
    from ipt.results import RunResult

runs_app = VerbApp(name="runs", help="List runs, show their tables again, draw and sum them up.")
runs_app.command(watch_runs, name="watch")
runs_app.command(track_run, name="track")


# Columns of the list beside those of the settings: E_rel of the first condition that a run has.
FIGURES = {
    "unseen": ("test", "test_msf"),
    "seen": ("train_same", "train_msf"),
    "other data": ("train_diff",),
    "mixture": ("mixture_test",),
    "PCA": ("pca_test",),
    "random": ("random_test",),
    "one prompt": ("shared",),
}
SETTINGS = ("run", "stage", "tasks", "d", "seed")
ALL_COLUMNS = (*SETTINGS, *FIGURES, "above floor")
# Without --columns.
SHOWN = (*SETTINGS, "unseen")
COLUMNS = f"which columns, with commas between them, of: {', '.join(ALL_COLUMNS)}"
SORT = "by which column: the largest first, names in their order"
CSV = "print as CSV, shares as fractions"
Values = dict[str, str | int | float]


@runs_app.default
def list_runs(
    *,
    out: Out = Path("runs"),
    columns: Annotated[str, Parameter(help=COLUMNS)] = ",".join(SHOWN),
    sort: Annotated[str, Parameter(help=SORT)] = "run",
    csv: Annotated[bool, Parameter(help=CSV, negative=())] = False,
) -> None:
    """List the runs of a folder."""
    names = [name.strip() for name in columns.split(",")]
    for flag, given in (("--columns", names), ("--sort", [sort])):
        for name in given:
            if name not in ALL_COLUMNS:
                known = ", ".join(ALL_COLUMNS)
                raise ValueError(f"{flag} takes of {known}; found {name!r:.40}")
    # From small JSON files alone, without torch: hundreds of runs are listed at once.
    paths = sorted(out.glob("*/config.json"))
    if not paths:
        print(f"no runs in {out}; ipt msf makes one, --out names another folder")
        return

    figures = {*names, sort} - set(SETTINGS)
    rows = [_row_of(Run(path.parent), figures) for path in paths]
    rows.sort(key=lambda row: _rank(row.get(sort, "")))
    if csv:
        from ipt.analysis.markup import to_csv

        records = []
        for row in rows:
            records.append({name: row.get(name, "") for name in names})
        print(to_csv(records), end="")
        return
    # Digits stand below digits.
    heads = []
    for name in names:
        heads.append(Column(name, justify="left" if name in SETTINGS[:3] else "right"))
    table = new_table(*heads)
    for row in rows:
        # One line a run, whatever its stage: what is missing is an empty cell.
        table.add_row(*[escape(_text(row.get(name, ""))) for name in names])
    print_list(table)
    if "unseen" in names:
        print(
            "unseen: E_rel on unseen tasks, "
            "of their prompts through the autoencoder (msf) or their d numbers (ist)"
        )


def _text(value: str | int | float) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, float) else str(value)


def _rank(value: str | int | float) -> tuple[int, float, str]:
    """Return where a value stands among those of its column: numbers from the largest on."""
    if isinstance(value, str):
        return 1, 0.0, value
    return 0, -value, ""


def _row_of(run: Run, figures: Collection[str]) -> Values:
    """Return a run's values by column; a folder that cannot be read is named as such.

    figures: the columns beside those of the settings that are wanted.
    """
    name = run.folder.name
    # A folder of another program, or with a broken file: the list goes on.
    try:
        settings = run.config
        result = run.result
        row: Values = {"run": name, "stage": settings["kind"], "tasks": settings["split"]}
        row["seed"] = settings["seed"]
        # A run that was stopped has settings and no result.
        if result is None:
            return row | {"unseen": "unfinished"}
        row["d"] = result["dim"]
        return row | _figures(result, figures)
    except (KeyError, TypeError, ValueError):
        # Also a file that is whole, but no result.
        return {"run": name, "unseen": "not readable"}


def _figures(result: dict[str, Any], wanted: Collection[str]) -> Values:
    """Return the wanted figures that the result has."""
    from ipt.analysis.scores import lines
    from ipt.results import RunResult

    if not result["scores"] or not wanted:
        return {}
    found = {}
    for line in lines([RunResult.from_json(result)]):
        if line.group == "all":
            found[line.setting] = line.recovery
    values: Values = {}
    for name, settings in FIGURES.items():
        figures = [found[setting] for setting in settings if setting in found]
        if figures:
            shares = {name: figures[0].relative}
            if name == "unseen":
                shares["above floor"] = figures[0].floored
            # None of the tasks may count.
            values |= {key: share for key, share in shares.items() if not math.isnan(share)}
    return values


@runs_app.command(name="show")
def show_run(run: RunName = None, *, by: By = "settings", out: Out = Path("runs")) -> None:
    """Print the result of a run again."""
    folder = chosen_run(run, out, ("ist", "msf")).folder
    settings = Run(folder).config
    result = Run(folder).result
    if settings["kind"] == "stability" and result:
        from ipt.analysis.summaries import stability_table

        print_table(stability_table(result))
    elif settings["kind"] == "ist":
        print_recovery([folder.parent / settings["msf_run"], folder], by)
    else:
        print_recovery([folder], by)


@runs_app.command(name="figure")
def draw_figure(
    *,
    out: Out = Path("runs"),
    file: Annotated[Path | None, Parameter(help="PNG, PDF or SVG to write")] = None,
) -> None:
    """Draw the recovery by condition, for each split and d of a folder's newest complete runs."""
    from ipt.analysis.summaries import recovery_figure

    # Beside the runs it is drawn from, where nothing else is said.
    path = file or out / "recovery.png"
    recovery_figure(_newest_pairs(out), path)
    print(f"figure: {path}")


def _newest_pairs(out: Path) -> "list[list[RunResult]]":
    """Return, for each split and d, the newest complete IST result after its MSF result."""
    from ipt.analysis.scores import read_pair

    paths = sorted(out.glob("ist-*/result.json"), key=lambda path: path.stat().st_mtime)
    # In the order of time, so that a later pair takes the place of an earlier one.
    newest = {}
    for path in paths:
        msf, ist = read_pair(path.parent).results
        newest[ist.split.name, ist.dim] = [msf, ist]
    if not newest:
        raise ValueError(f"{out} holds no complete IST run; run `ipt msf` and then `ipt ist`")
    return list(newest.values())


@runs_app.command(name="summary")
def summarize_run(run: Path, file: Path, *, command: str, out: Out = Path("runs")) -> None:
    """Write an IST run and its MSF run as a small JSON summary, with the command behind them."""
    from ipt.analysis.scores import read_pair
    from ipt.analysis.summaries import summary

    folder = Run.find(run, out).folder
    # A summary of several seeds names each: tables show the means of summaries.
    seed = Run(folder).config["seed"]
    record = summary(read_pair(folder).results, command, seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, finite(record))
    print(f"summary: {file}")


@runs_app.command(name="pack")
def pack(
    run: RunName = None,
    *,
    to: Annotated[Path, Parameter(help="folder to write")],
    out: Out = Path("runs"),
) -> None:
    """Write an IST run and what it stands on as a small folder, which every verb takes as RUN.

    With its MSF run, the subspace and the tuned deltas; numbers in float16 where no answer to the
    few-shot rows of the unseen tasks changes by it.
    """
    from ipt.resolve import reopen_experiment
    from ipt.workflows.pack import pack_run

    source = chosen_run(run, out)
    if source.config["kind"] != "ist" or source.result is None:
        raise ValueError(
            f"{source.folder} is no complete run of ipt ist; "
            f"`ipt runs --out {out}` lists those that are there"
        )
    experiment = reopen_experiment(source.config, source.folder.parent)
    packed = pack_run(experiment, source, to)
    print(f"packed: {to}, {packed.size / 1e6:.1f} MB")
    subspace = "the subspace" if packed.is_subspace_rounded else "not the subspace"
    print(f"float16: {subspace}, all tuned deltas but {packed.exact}")
    print(f"same answers: to {packed.rows:,} few-shot rows of {packed.tasks} unseen tasks")
