"""From what `--tasks` says to tasks and a task split.

It may be a split of the suite, `all`, names of suite tasks (with * and ?, separated by commas), a
task file or a folder of them, or a JSON file that lists seen and unseen tasks:
{"seen": [...], "unseen": [...], "tasks": "folder, relative to this file"}
(without "tasks": names of the suite; "crossfit": CrossFit's). With crossfit/ before it, a split,
`all` or names are CrossFit's; with superglue/ before it, `all` or names are SuperGLUE's.
"""

import os.path
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ipt.data import Task, TaskSplit
from ipt.tasks.names import LIST_COMMAND, check_name, match_tasks, repeated_names
from ipt.tasks.readers import schema, superglue
from ipt.tasks.readers.contents import read_json
from ipt.tasks.readers.tables import is_list_of_texts
from ipt.tasks.splits import draw_split, make_split
from ipt.tasks.suites import crossfit, embedded

ALL = "all"  # of a suite
CROSSFIT = "crossfit"  # as the place of the tasks of a list
LIST_FIELDS = ("seen", "tasks", "unseen")
MOST_NAMED = 5  # of the names that a list repeats, in an error


class SelectedTasks(NamedTuple):
    """A task split, its tasks by name, and the tasks left out as too small for their sets."""

    split: TaskSplit
    tasks: dict[str, Task]  # of the split, and perhaps more
    skipped: tuple[str, ...]


class _TaskList(NamedTuple):
    """A JSON file that lists seen and unseen tasks."""

    seen: list[str]
    unseen: list[str]
    folder: str | None  # of the tasks' files, relative to the list; None: the suite

    @property
    def names(self) -> list[str]:
        """Every task of the list, seen ones first."""
        return [*self.seen, *self.unseen]


def load_tasks(source: str, as_published: bool = False) -> tuple[Task, ...]:
    """Return every task that `--tasks` names.

    source: as in the module's description.
    as_published: restores the faults of CrossFit's released scripts.

    Raises ValueError where there is no such task, with what comes close.
    """
    # A list may name tasks of either suite, so it is read before any of them is asked.
    path = Path(source)
    task_list = _read_list(path)
    if source.startswith(crossfit.PREFIX):
        return crossfit.load(crossfit.select(source).names, as_published)
    if source.startswith(superglue.PREFIX) and not as_published:
        return superglue.load(source)
    if task_list and task_list.folder == CROSSFIT:
        return crossfit.load(task_list.names, as_published)
    if as_published:
        raise ValueError(
            "--as-published restores CrossFit's scripts and needs --tasks crossfit/..., "
            f"found --tasks {source}"
        )

    if source == ALL:
        return embedded.load()
    if task_list:
        return _load_list(path, task_list)
    # Names separated by commas may be too long for a file's name: Path.exists would raise.
    if os.path.exists(source):
        return schema.load(path)
    if source in embedded.split_names():
        return embedded.load(embedded.load_split(source).all)
    return embedded.load(_suite_names(source))


def is_path(source: str) -> bool:
    """Return whether `--tasks` names a file or a folder."""
    is_name = source == ALL or source.startswith((crossfit.PREFIX, superglue.PREFIX))
    # Names separated by commas may be too long for a file's name: Path.exists would raise.
    return not is_name and os.path.exists(source)


def select_tasks(
    source: str,
    seen: int,
    unseen: int,
    seed: int,
    as_published: bool = False,
) -> SelectedTasks:
    """Return the split that `--tasks` names, or one that is drawn from the tasks it names.

    source, as_published: as in `load_tasks`.
    seen, unseen: how many tasks are drawn, where `source` does not say which are seen.
    seed: of the draw.

    Raises ValueError as `load_tasks` and `draw_split` do.
    """
    tasks = _by_name(load_tasks(source, as_published))
    split = _named_split(source, tasks)
    if split is not None:
        return SelectedTasks(split, tasks, ())

    # No default: how many tasks a subspace is found on is the first choice of a study.
    if seen < 1:
        raise ValueError(
            f"--tasks {source}: say how many of its {len(tasks)} tasks are seen and unseen "
            "with --seen and --unseen"
        )
    drawn = draw_split(
        list(tasks.values()),
        seen=seen,
        unseen=unseen,
        seed=seed,
    )
    # Tasks that were not drawn are no part of the run, and of what identifies it.
    drawn_tasks = _by_name(_take(tasks, drawn.split.all))
    return SelectedTasks(drawn.split, drawn_tasks, drawn.skipped)


def list_place(source: str, beside: Path) -> str | None:
    """Return what a list of tasks in the folder `beside` says of where they are; None: the suite.

    source: what `--tasks` names. Raises ValueError for tasks that no list can name.
    """
    if source.startswith(superglue.PREFIX):
        raise ValueError(
            f"--tasks {source}: a list names tasks of the suite, of CrossFit or of files; "
            f"write them as files first: ipt tasks export {source} --to FOLDER"
        )
    if source.startswith(crossfit.PREFIX):
        return CROSSFIT
    if not is_path(source):
        return None
    folder = Path(source)
    task_list = _read_list(folder)
    if task_list:
        if task_list.folder in (None, CROSSFIT):
            return task_list.folder
        folder = folder.parent / str(task_list.folder)
    return os.path.relpath(folder, beside)


def _named_split(source: str, tasks: dict[str, Task]) -> TaskSplit | None:
    """Return the split where `--tasks` says which tasks are seen, else None."""
    if source.startswith(crossfit.PREFIX):
        return crossfit.select(source).split
    if source == ALL:
        return TaskSplit(ALL, seen=tuple(tasks), unseen=())

    path = Path(source)
    task_list = _read_list(path)
    if task_list:
        seen = _take(tasks, task_list.seen)
        unseen = _take(tasks, task_list.unseen)
        return make_split(path.stem, seen, unseen)
    # A file comes before a split of the same name, as in `load_tasks`.
    if not os.path.exists(source) and source in embedded.split_names():
        return embedded.load_split(source)
    return None


def _by_name(tasks: Iterable[Task]) -> dict[str, Task]:
    return {task.name: task for task in tasks}


def _take(tasks: dict[str, Task], names: Iterable[str]) -> list[Task]:
    return [tasks[name] for name in names]


def _suite_names(source: str) -> list[str]:
    """Return the suite's tasks that names and patterns stand for, each once."""
    # A dict, as a name may be matched by several patterns: it stays where it was named first.
    selected: dict[str, None] = {}
    for part in source.split(","):
        pattern = part.strip()
        # A comma at the end, or two in a row, names nothing.
        if not pattern:
            continue
        matches = match_tasks(
            pattern,
            tasks=embedded.task_names(),
            splits=embedded.split_names(),
            what="task or task split",
        )
        selected |= dict.fromkeys(matches)
    if not selected:
        raise ValueError(
            f"--tasks names no task, found {source!r:.60}; {LIST_COMMAND} lists those of the suite"
        )
    return list(selected)


def _load_list(path: Path, task_list: _TaskList) -> tuple[Task, ...]:
    """Return the tasks of a list: those of a folder beside it, or of the suite."""
    if task_list.folder is None:
        return embedded.load(task_list.names)
    # Beside the list, wherever the command is given.
    folder = path.parent / task_list.folder
    tasks = _by_name(schema.load(folder))
    for name in task_list.names:
        check_name(name, tasks, f"task in {path}:")
    # In the order of the list: it says which tasks a smaller run takes first.
    return tuple(_take(tasks, task_list.names))


def _read_list(path: Path) -> _TaskList | None:
    """Return a file's lists of seen and unseen tasks, None where it is something else.

    Raises ValueError where a list is broken.
    """
    if not os.path.isfile(path) or path.suffix != ".json":
        return None
    # What is no list is read as a task, and said to be wrong there.
    try:
        record = read_json(path)
    except ValueError:
        return None
    if not isinstance(record, dict) or "seen" not in record:
        return None

    # A split may have no unseen tasks: then MSF alone can be run.
    for field in ("seen", "unseen"):
        if not is_list_of_texts(record.get(field, [])):
            raise ValueError(f"{path}: {field!r} must be a list of task names")
    folder = record.get("tasks")
    if folder is not None and (not isinstance(folder, str) or not folder):
        raise ValueError(
            f"{path}: 'tasks' must be a folder, relative to this file, or crossfit, "
            f"found {folder!r:.60}"
        )
    task_list = _TaskList(
        seen=record["seen"],
        unseen=record.get("unseen", []),
        folder=folder,
    )
    _check_list(path, task_list, fields=list(record))
    return task_list


def _check_list(path: Path, task_list: _TaskList, fields: Sequence[str]) -> None:
    """Raise ValueError where tasks or fields are not those that a list may have."""
    # A task on both sides would be tested on what it was seen with.
    repeated = repeated_names(task_list.names)
    if repeated:
        raise ValueError(f"{path}: listed twice: {', '.join(sorted(repeated)[:MOST_NAMED])}")

    # Unlike a task, a list allows no unknown field: "unsen" would leave the unseen side empty.
    unknown = sorted(set(fields) - set(LIST_FIELDS))
    if unknown:
        names = ", ".join(unknown)
        raise ValueError(
            f"{path}: unknown fields {names:.200}; "
            f"a list of tasks has {', '.join(LIST_FIELDS)}"
        )
    if not task_list.seen:
        raise ValueError(f"{path}: at least one task must be seen")
