"""`ipt runs`: list runs, show one again, draw a figure of them, export a small summary."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.markup import escape
from rich.table import Column

from ipt.cli.options import Out, RunName
from ipt.cli.output import finite, new_table, print_list, print_recovery, print_table
from ipt.run import Run, chosen_run
from ipt.storage import write_json

if TYPE_CHECKING:
    from ipt.results import RunResult

runs_app = App(name="runs", help="Look at runs.")


@runs_app.default
def list_runs(*, out: Out = Path("runs")) -> None:
    """List the runs of a folder."""
    # From small JSON files alone, without torch: hundreds of runs are listed at once.
    paths = sorted(out.glob("*/config.json"))
    if not paths:
        print(f"no runs in {out}; ipt msf makes one, --out names another folder")
        return

    # Digits stand below digits.
    numbers = [Column(name, justify="right") for name in ("d", "seed", "unseen")]
    table = new_table("run", "stage", "tasks", *numbers)
    for path in paths:
        # One line a run, whatever its stage: what is missing is an empty cell.
        table.add_row(*map(escape, _row_of(Run(path.parent))))
    print_list(table)
    print(
        "unseen: E_rel on unseen tasks, "
        "of their prompts through the autoencoder (msf) or their d numbers (ist)"
    )


def _row_of(run: Run) -> list[str]:
    """Return a run's cells of the list; a folder that cannot be read is named as such."""
    name = run.folder.name
    # A folder of another program, or with a broken file: the list goes on.
    try:
        settings = run.config
        result = run.result
        # A run that was stopped has settings and no result.
        dim = "" if result is None else str(result["dim"])
        headline = "unfinished" if result is None else _headline(result)
    except (KeyError, TypeError, ValueError):
        # Also a file that is whole, but no result.
        return [name, "", "", "", "", "not readable"]
    return [name, settings["kind"], settings["split"], dim, str(settings["seed"]), headline]


def _headline(result: dict[str, Any]) -> str:
    """Return E_rel on the unseen tasks as text; empty where the result has none."""
    from ipt.analysis.scores import lines
    from ipt.results import RunResult

    if not result["scores"]:
        return ""
    for line in lines([RunResult.from_json(result)]):
        if line.group == "all" and line.setting in ("test", "test_msf"):
            return f"{100 * line.recovery.relative:.1f} %"
    return ""


@runs_app.command(name="show")
def show_run(run: RunName = None, *, out: Out = Path("runs")) -> None:
    """Print the table of a run again."""
    folder = chosen_run(run, out, ("ist", "msf")).folder
    settings = Run(folder).config
    result = Run(folder).result
    if settings["kind"] == "stability" and result:
        from ipt.analysis.summaries import stability_table

        print_table(stability_table(result))
    elif settings["kind"] == "ist":
        print_recovery([folder.parent / settings["msf_run"], folder])
    else:
        print_recovery([folder])


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


@runs_app.command(name="export")
def export_run(run: Path, file: Path, *, command: str, out: Out = Path("runs")) -> None:
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
