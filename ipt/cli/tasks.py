"""`ipt tasks`: list, show, check and write tasks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.table import Column

from ipt.cli.help import VerbApp
from ipt.cli.output import new_table, print_list
from ipt.storage import write_json

TASKS = "what --tasks takes elsewhere: a split, all, names, files, crossfit"
# Spelled out, as the parser takes choices from a type: `ipt.tasks.splits.GroupedBy`.
GroupedBy = Literal["subcategory", "family"]
Tasks = Annotated[str, Parameter(help=TASKS)]
Verbose = Annotated[bool, Parameter(help="a line for each task")]
EXAMPLES = 3  # names of a subcategory

tasks_app = VerbApp(name="tasks", help="List, show, check and write tasks.")


@tasks_app.command(name="list")
def list_tasks(*, tasks: Tasks = "all", verbose: Verbose = False) -> None:
    """List tasks by subcategory: the suite's, your own, or CrossFit's (nothing is downloaded)."""
    from ipt.tasks.catalog import load_tasks
    from ipt.tasks.suites import crossfit, embedded

    if f"{tasks}/".startswith(crossfit.PREFIX):
        source = tasks if "/" in tasks else f"{tasks}/all"
        _list_crossfit(source, verbose=verbose)
        return

    loaded = load_tasks(tasks)
    if not verbose:
        names: dict[str, list[str]] = {}
        for task in loaded:
            names.setdefault(task.subcategory, []).append(task.name)
        _print_subcategories(names)
        print("splits: " + ", ".join(embedded.split_names()))
        return
    table = new_table("task", "category", "subcategory", "metric", "novel", "knowledge", "rows")
    for task in loaded:
        table.add_row(
            task.name,
            task.category,
            escape(task.subcategory),
            task.metric,
            # Words and no marks, so that the list can be searched for them.
            "novel" if task.novel else "",
            "knowledge" if task.knowledge else "",
            str(len(task.examples)),
        )
    print_list(table)
    print("splits: " + ", ".join(embedded.split_names()))


def _print_subcategories(names: Mapping[str, Sequence[str]]) -> None:
    """Print how many tasks each subcategory has, and the first of them."""
    table = new_table("subcategory", Column("tasks", justify="right"), "such as")
    for subcategory, of_subcategory in sorted(names.items()):
        some = ", ".join(of_subcategory[:EXAMPLES])
        more = ", ..." if len(of_subcategory) > EXAMPLES else ""
        table.add_row(escape(subcategory), str(len(of_subcategory)), escape(some + more))
    print_list(table)
    total = sum(map(len, names.values()))
    print(f"{total} tasks in {len(names)} subcategories; --verbose lists each")


def _list_crossfit(source: str, *, verbose: bool) -> None:
    from ipt.tasks.suites import crossfit, crossfit_table

    # From the table of definitions that is shipped: listing downloads nothing.
    definitions = crossfit_table.definitions()
    chosen = crossfit.select(source).names
    # The table names a task's splits by columns; what --tasks takes are these names.
    splits = [crossfit.PREFIX + name for name in crossfit.split_names()]
    if not verbose:
        names: dict[str, list[str]] = {}
        for name in chosen:
            names.setdefault(definitions[name].category, []).append(name)
        _print_subcategories(names)
        print("splits: " + ", ".join(splits))
        return
    table = new_table(
        "task",
        "kind",
        "subcategory",
        "metric",
        "random",
        "cls",
        "non-cls",
        "checked",
        "source",
    )
    for name in chosen:
        definition = definitions[name]
        table.add_row(
            definition.task,
            definition.kind,
            definition.category,
            definition.metric,
            definition.random,
            definition.cls_split,
            definition.noncls_split,
            definition.checked,
            definition.path or definition.note,
        )
    print_list(table)
    print("splits: " + ", ".join(splits))


@tasks_app.command(name="show")
def show_task(name: str, *, rows: int = 5, tasks: Tasks = "all") -> None:
    """Show a task: its definition and first rows."""
    from ipt.tasks.catalog import load_tasks
    from ipt.tasks.names import check_name

    if rows < 0:
        raise ValueError(f"--rows must be 0 or more, found {rows}")
    # CrossFit's tasks are downloaded one by one: only the named one is read.
    source = f"crossfit/{name}" if tasks == "crossfit" else tasks
    by_name = {task.name: task for task in load_tasks(source)}
    task = by_name[check_name(name, by_name, "task")]

    # Texts of tasks may hold brackets, which rich would read as markup.
    subcategory = escape(task.subcategory)
    title = f"[b]{task.name}[/b]  {task.category}, {subcategory}, {task.metric}"
    Console().print(f"{title}\n{escape(task.definition)}", highlight=False)
    table = new_table("input", "output")
    for example in task.examples[:rows]:
        # Several answers may be right: all are shown.
        answers = " / ".join(example.output)
        table.add_row(escape(example.input), escape(answers))
    Console().print(table)


@tasks_app.command(name="check")
def check_tasks(path: Path) -> None:
    """Report every problem of a task file or a folder of them."""
    from ipt.tasks.readers import schema
    from ipt.tasks.splits import shortfalls

    problems = schema.find_problems(path)
    for line in problems:
        print(line)
    # All lines for the user, who mends a file in one go; the exit code for a script.
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ValueError(f"{count} in {path}")
    for line in schema.find_notes(path):
        print(f"note: {line}")
    tasks = schema.load(path)
    # No fault of the file: fewer shots may do.
    for reason in shortfalls(tasks).values():
        print(f"note: {reason}")
    count = "one task" if len(tasks) == 1 else f"{len(tasks)} tasks"
    print(f"{path}: {count}, no problem")


@tasks_app.command(name="folds")
def write_folds(
    tasks: str,
    *,
    count: Annotated[int, Parameter(help="how many folds; each task is unseen in one")] = 5,
    by: Annotated[GroupedBy, Parameter(help="what is unseen as a whole")] = "subcategory",
    to: Annotated[Path, Parameter(help="folder of the lists fold-1.json, fold-2.json, ...")],
) -> None:
    """Deal tasks into folds for cross-validation, whole subcategories or families together.

    Each list is what `--tasks` reads. Tasks that are too small for their few-shot sets are left
    out.
    """
    from ipt.tasks.catalog import list_place, load_tasks
    from ipt.tasks.splits import make_folds, shortfalls

    place = list_place(tasks, to)
    loaded = load_tasks(tasks)
    too_small = shortfalls(loaded)
    usable = [task for task in loaded if task.name not in too_small]
    folds = make_folds(usable, count, by)
    _make_folder(to)
    if too_small:
        print(f"{len(too_small)} left out as too small: {', '.join(sorted(too_small))}")
    for fold in folds:
        record = {"seen": list(fold.seen), "unseen": list(fold.unseen)}
        if place is not None:
            record["tasks"] = place
        path = to / f"{fold.name}.json"
        write_json(path, record)
        print(f"{path}: {len(fold.seen)} seen, {len(fold.unseen)} unseen tasks")


@tasks_app.command(name="write")
def write_tasks(
    tasks: str,
    *,
    to: Annotated[Path, Parameter(help="folder to write, a JSON file per task")],
) -> None:
    """Write tasks (a split, names, a table, ...) as files that `--tasks FOLDER` reads."""
    from ipt.tasks.catalog import load_tasks

    chosen = load_tasks(tasks)
    _make_folder(to)
    for task in chosen:
        write_json(to / f"{task.name}.json", task.to_dict())
    print(f"{len(chosen)} tasks: {to}")


def _make_folder(to: Path) -> None:
    """Make the folder; before the first file is written, so that nothing is half done."""
    try:
        to.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"--to {to} cannot be written ({error.strerror}); choose another folder"
        ) from error
