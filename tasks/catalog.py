"""From what `--tasks` says to tasks and a task split.

It may be a split of the suite, `all`, names of suite tasks (with * and ?, separated by commas), a
task file or a folder of them, or a JSON file that lists seen and unseen tasks:
{"seen": [...], "unseen": [...], "tasks": "folder, relative to this file"}
(without "tasks": names of the suite; "crossfit": CrossFit's). With crossfit/ before it, a split,
`all` or names are CrossFit's.
"""

import json
import os.path
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ipt.data import Task, TaskSplit
from ipt.tasks.names import check_name, match_tasks
from ipt.tasks.readers import schema
from ipt.tasks.splits import draw_split, make_split
from ipt.tasks.suites import crossfit, embedded

ALL = "all"
CROSSFIT = "crossfit"  # as the place of the tasks of a list
LIST_FIELDS = ("seen", "tasks", "unseen")
MOST_NAMED = 5  # of the names that a list repeats


class SelectedTasks(NamedTuple):
    """A task split, its tasks by name, and the tasks left out as too small for their sets."""

    split: TaskSplit
    tasks: dict[str, Task]
    skipped: tuple[str, ...]


class _TaskList(NamedTuple):
    """A JSON file that lists seen and unseen tasks."""

    seen: list[str]
    unseen: list[str]
    folder: str | None

    @property
    def names(self) -> list[str]:
        return [*self.seen, *self.unseen]


def load_tasks(source: str, as_published: bool = False) -> tuple[Task, ...]:
    """Return every task that `--tasks` names.

    source: as in the module's description.
    as_published: restores the faults of CrossFit's released scripts.

    Raises ValueError where there is no such task, with what comes close.
    """
    path = Path(source)
    task_list = _read_list(path)
    if source.startswith(crossfit.PREFIX):
        return crossfit.load(crossfit.select(source).names, as_published)
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
    tasks = {task.name: task for task in load_tasks(source, as_published)}
    split = _named_split(source, tasks)
    if split is not None:
        return SelectedTasks(split, tasks, ())

    if seen < 1:
        raise ValueError(
            f"--tasks {source}: say how many of its {len(tasks)} tasks are seen and unseen "
            "with --seen and --unseen"
        )
    drawn = draw_split(list(tasks.values()), seen=seen, unseen=unseen, seed=seed)
    used = {name: tasks[name] for name in drawn.split.all}
    return SelectedTasks(drawn.split, used, drawn.skipped)


def _named_split(source: str, tasks: dict[str, Task]) -> TaskSplit | None:
    """Return the split where `--tasks` says which tasks are seen, else None."""
    if source.startswith(crossfit.PREFIX):
        return crossfit.select(source).split
    if source == ALL:
        return TaskSplit(ALL, seen=tuple(tasks), unseen=())

    path = Path(source)
    task_list = _read_list(path)
    if task_list:
        seen = [tasks[name] for name in task_list.seen]
        unseen = [tasks[name] for name in task_list.unseen]
        return make_split(path.stem, seen, unseen)
    # A file comes before a split of the same name, as in `load_tasks`.
    if not os.path.exists(source) and source in embedded.split_names():
        return embedded.load_split(source)
    return None


def _suite_names(source: str) -> list[str]:
    """Return the suite's tasks that names and patterns stand for, each once."""
    patterns = [part.strip() for part in source.split(",") if part.strip()]
    selected: list[str] = []
    for pattern in patterns:
        matches = match_tasks(
            pattern,
            tasks=embedded.task_names(),
            splits=embedded.split_names(),
            what="task or task split",
        )
        selected += [name for name in matches if name not in selected]
    return selected


def _load_list(path: Path, task_list: _TaskList) -> tuple[Task, ...]:
    """Return the tasks of a list: those of a folder beside it, or of the suite."""
    if task_list.folder is None:
        return embedded.load(task_list.names)
    tasks = {task.name: task for task in schema.load(path.parent / task_list.folder)}
    names = [check_name(name, tasks, f"task in {path}:") for name in task_list.names]
    return tuple(tasks[name] for name in names)


def _read_list(path: Path) -> _TaskList | None:
    """Return a file's lists of seen and unseen tasks, None where it is something else.

    Raises ValueError where a list is broken.
    """
    if not os.path.isfile(path) or path.suffix != ".json":
        return None
    # What is no list is read as a task, and said to be wrong there.
    try:
        record = json.loads(path.read_text(encoding="utf8"))
    except ValueError:
        return None
    if not isinstance(record, dict) or "seen" not in record:
        return None

    for field in ("seen", "unseen"):
        if not _is_list_of_texts(record.get(field, [])):
            raise ValueError(f"{path}: {field!r} must be a list of task names")
    task_list = _TaskList(
        seen=record["seen"],
        unseen=record.get("unseen", []),
        folder=record.get("tasks"),
    )
    _check_list(path, task_list, fields=list(record))
    return task_list


def _check_list(path: Path, task_list: _TaskList, fields: Sequence[str]) -> None:
    """Raise ValueError where tasks or fields are not those that a list may have."""
    # A task on both sides would be tested on what it was seen with.
    counts = Counter(task_list.names)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise ValueError(f"{path}: listed twice: {', '.join(repeated[:MOST_NAMED])}")

    # "unsen" would otherwise be a list of seen tasks only.
    unknown = sorted(set(fields) - set(LIST_FIELDS))
    if unknown:
        raise ValueError(
            f"{path}: unknown fields {', '.join(unknown)}; "
            f"a list of tasks has {', '.join(LIST_FIELDS)}"
        )
    if not task_list.seen:
        raise ValueError(f"{path}: at least one task must be seen")


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
