"""What `ipt tasks` and `ipt runs` do: look at tasks and at runs, and let a run's figures out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ipt.config import OUT
from ipt.run import Run
from ipt.storage import write_atomic, write_json

if TYPE_CHECKING:
    from ipt.analysis.markup import TextTable
    from ipt.results import RunResult

WIDE = 1000  # characters, more than any list has
SHOWN = (0, 2, 3, 4, 5, 6, 7, 9)  # columns of the table that fit a terminal; table.md has all
SHOWN_TASKS = "what --tasks takes elsewhere: a split, all, names, files, crossfit"
Out = Annotated[Path, Parameter(help=OUT)]

tasks_app = App(name="tasks", help="Look at tasks.")
runs_app = App(name="runs", help="Look at runs.")


@tasks_app.command(name="list")
def list_tasks(*, tasks: Annotated[str, Parameter(help=SHOWN_TASKS)] = "all") -> None:
    """List tasks: the suite's, your own, or CrossFit's (nothing is downloaded)."""
    from ipt.tasks.catalog import tasks_of
    from ipt.tasks.suites import crossfit
    from ipt.tasks.suites import embedded as suite

    if f"{tasks}/".startswith(crossfit.LEAD):
        return _list_crossfit(tasks if "/" in tasks else f"{tasks}/all")
    table = new_table("task", "category", "subcategory", "metric", "novel", "knowledge", "rows")
    for t in tasks_of(tasks):
        table.add_row(t.name, t.category, t.subcategory, t.metric, "novel" * t.novel, "knowledge" * t.knowledge, str(len(t.examples)))
    print_list(table)
    print("splits: " + ", ".join(suite.split_names()))


def _list_crossfit(source: str) -> None:
    from ipt.tasks.suites import crossfit

    table = new_table("task", "kind", "subcategory", "metric", "random", "cls", "non-cls", "checked", "source")
    for d in (crossfit.definitions()[name] for name in crossfit.named(source)[1]):
        table.add_row(d.task, d.kind, d.category, d.metric, d.random, d.cls_split, d.noncls_split, d.checked, d.path or d.note)
    print_list(table)
    print("splits: " + ", ".join(crossfit.LEAD + name for name in crossfit.split_names()))


@tasks_app.command(name="show")
def show_task(name: str, *, rows: int = 5, tasks: Annotated[str, Parameter(help=SHOWN_TASKS)] = "all") -> None:
    """Show a task: its definition and first rows."""
    from ipt.tasks.catalog import tasks_of
    from ipt.tasks.suites.embedded import known

    found = {task.name: task for task in tasks_of(f"crossfit/{name}" if tasks == "crossfit" else tasks)}
    task = found[known(name, found, "task")]
    Console().print(f"[b]{task.name}[/b]  {task.category}, {task.subcategory}, {task.metric}\n{escape(task.definition)}", highlight=False)
    table = new_table("input", "output")
    for example in task.examples[:rows]:
        table.add_row(escape(example.input), escape(" / ".join(example.output)))
    Console().print(table)


@tasks_app.command
def check(path: Path) -> None:
    """Report every problem of a task file or a folder of them."""
    from ipt.tasks.readers import schema as files

    problems = files.check(path)
    for line in problems:
        print(line)
    if problems:
        raise ValueError(f"{len(problems)} problems in {path}")
    print(f"{path}: {len(files.load(path))} tasks, no problem")


@tasks_app.command(name="export")
def export_tasks(tasks: str, *, to: Annotated[Path, Parameter(help="folder to write, a JSON file per task")]) -> None:
    """Write tasks (a split, names, a table, a task file, ...) as files in the schema, which `--tasks FOLDER` reads."""
    from ipt.tasks.catalog import tasks_of

    found = tasks_of(tasks)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--to {to} cannot be written ({error.strerror}); choose another folder") from error
    for task in found:
        write_json(to / f"{task.name}.json", task.to_dict())
    print(f"{len(found)} tasks: {to}")


@runs_app.default
def list_runs(*, out: Out = Path("runs")) -> None:
    """List the runs of a folder."""
    folders = sorted(out.glob("*/config.json"))
    if not folders:
        print(f"no runs in {out}; ipt msf makes one, --out names another folder")
        return
    numbers = (Column(name, justify="right") for name in ("d", "seed", "unseen"))
    table = new_table("run", "stage", "tasks", *numbers)
    for folder in folders:
        run = Run(folder.parent)
        try:
            settings, result = run.config, run.result
        except ValueError:
            table.add_row(folder.parent.name, "", "", "", "", "not readable")
            continue
        dim, found = (str(result["dim"]), _headline(result)) if result else ("", "unfinished")
        table.add_row(folder.parent.name, settings["kind"], settings["split"], dim, str(settings["seed"]), found)
    print_list(table)
    print("unseen: E_rel on unseen tasks, of their prompts through the autoencoder (msf) or their d numbers (ist)")


@runs_app.command(name="show")
def show_run(run: Path, *, out: Out = Path("runs")) -> None:
    """Print the table of a run again."""
    folder = Run.find(run, out).folder
    settings, result = Run(folder).config, Run(folder).result
    if settings["kind"] == "stability" and result:
        from ipt.analysis.summaries import text_table

        return show_table(text_table(result))
    folders = [out / settings["msf_run"], folder] if settings["kind"] == "ist" else [folder]
    show(folders)


@runs_app.command
def figure(*, out: Out = Path("runs"), file: Annotated[Path | None, Parameter(help="PNG, PDF or SVG to write")] = None) -> None:
    """Draw the recovery in every setting, for each split and d of the folder's newest complete runs."""
    from ipt.analysis.summaries import recovery_figure

    path = file or out / "recovery.png"
    recovery_figure(_complete_pairs(out), path)
    print(f"figure: {path}")


@runs_app.command
def export(run: Path, file: Path, *, command: str, out: Out = Path("runs")) -> None:
    """Write the figures of an IST run and its MSF run as a small JSON summary, with the command behind them."""
    from ipt.analysis.scores import read_pair
    from ipt.analysis.summaries import summary

    folder = Run.find(run, out).folder
    write_json(file, summary(read_pair(folder).results, command, Run(folder).config["seed"]))
    print(f"summary: {file}")


def _headline(result: dict[str, Any] | None) -> str:
    from ipt.analysis.scores import lines
    from ipt.results import RunResult

    if not result or not result["scores"]:
        return ""
    found = lines([RunResult.from_json(result)])
    unseen = [line for line in found if line.group == "all" and line.setting in ("test", "test_msf")]
    return f"{100 * unseen[0].recovery.relative:.1f} %" if unseen else ""


def _complete_pairs(out: Path) -> "list[list[RunResult]]":
    """Return, per split and d, the newest complete IST result with the MSF result it stands on."""
    from ipt.analysis.scores import read_pair

    paths = sorted(out.glob("ist-*/result.json"), key=lambda p: p.stat().st_mtime)
    found = {(ist.split.name, ist.dim): [msf, ist] for msf, ist in (read_pair(path.parent).results for path in paths)}
    if not found:
        raise ValueError(f"{out} holds no complete IST run; run `ipt msf` and then `ipt ist`")
    return list(found.values())


def new_table(*columns: str | Column) -> Table:
    """Return an empty table without a frame."""
    return Table(*columns, box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)


def print_list(table: Table) -> None:
    """Print a table with one line a row, however narrow the terminal is: names can be copied, lines can be searched."""
    Console(width=WIDE).print(table)


def show_table(found: "TextTable") -> None:
    """Print a table of texts."""
    longest = max((len(word) for row in found.rows for word in row[0].split()), default=0)
    columns = [Column(name, overflow="fold", min_width=0 if i else longest) for i, name in enumerate(found.columns)]
    table = new_table(*columns)
    for row in found.rows:
        table.add_row(*row)
    Console().print(table)


def show(folders: Sequence[Path], results: Sequence[dict[str, Any]] | None = None) -> None:
    from ipt.analysis.markup import markdown
    from ipt.analysis.scores import COLUMNS, cells, lines, read_results
    from ipt.results import RunResult

    typed = [RunResult.from_json(r) for r in results] if results else [run.result for run in read_results(folders)]
    found = lines(typed)
    columns = [Column(COLUMNS[i], no_wrap=i in (0, 5), justify="left" if i == 0 else "right") for i in SHOWN]
    table = new_table(*columns)
    for line in found:
        texts = cells(line)
        name = texts[0] if line.group == "all" else f"  {line.group}"
        table.add_row(name, *(texts[i] for i in SHOWN[1:]), style="bold" if line.group == "all" else "")
    Console().print("", table, "", sep="\n")
    last = typed[-1]
    excluded = sorted({n for line in found if line.group == "all" for n in line.recovery.below_floor})
    if excluded:
        print(f"not above the floor by 0.10 with prompt tuning ({len(excluded)}, left out of 'above floor'): {', '.join(excluded)}")
    undefined = sorted({n for line in found if line.group == "all" for n in line.recovery.undefined})
    if undefined:
        print(f"prompt tuning scores 0 or less ({len(undefined)}, left out of E_rel): {', '.join(undefined)}")
    if any(t.knowledge for t in last.tasks.values()):
        print("knowledge tasks: with the embedded backbone their facts were in pre-training; novel tasks were never in it")
    if not last.compresses:
        print("note: d is at or above the number of seen tasks: no compression of the training prompts")
    write_atomic(folders[-1] / "table.md", markdown(COLUMNS, map(cells, found)).encode())
    print("written: " + ", ".join(map(str, folders)))
