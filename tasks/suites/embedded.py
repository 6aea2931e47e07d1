"""The embedded suite: tasks that ship with the package, and fixed task splits over 120 of them.

Reads `suite.parquet` (one row per task, built by `ipt.tasks.generators.build`) and `splits.json`
(by `ipt.tasks.generators.make_splits`). The splits follow section 4.1 of the paper.
"""

import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ipt.data import Task, TaskSplit
from ipt.tasks.names import check_name

FOLDER = Path(__file__).parent


def load(names: Iterable[str] | None = None) -> tuple[Task, ...]:
    """Return the tasks of these names in this order, all of them for None.

    Raises ValueError on an unknown name.
    """
    if names is None:
        names = task_names()
    return tuple(_task(name) for name in names)


def task_names() -> tuple[str, ...]:
    """Return the name of every task of the suite, in alphabetical order."""
    return tuple(_records())


def phrasings(name: str) -> tuple[str, ...]:
    """Return every wording of a task's definition, the definition itself first."""
    return tuple(_record(name)["phrasings"])


def inputs(name: str) -> str:
    """Return the name of the distribution that a task's inputs come from.

    Tasks that share it differ in their answers only.
    """
    return str(_record(name)["inputs"])


def load_split(name: str) -> TaskSplit:
    """Return a task split; raise ValueError with all valid names where there is no such split."""
    check_name(name, split_names(), "task split")
    # The file's keys are the fields of a split.
    sides = {}
    for side, tasks in _splits()[name].items():
        sides[side] = tuple(tasks)
    return TaskSplit(name, **sides)


def split_names() -> tuple[str, ...]:
    """Return the names of the task splits."""
    return tuple(_splits())


@cache
def _records() -> dict[str, dict[str, Any]]:
    """Return every row of the suite's file by the name of its task."""
    # Late: half a second that `ipt --help` need not wait for.
    import pyarrow.parquet as pq

    path = FOLDER / "suite.parquet"
    if not path.exists():
        raise ValueError(
            f"{path} is missing: install the package again, "
            "or write it with python -m ipt.tasks.generators.build --write"
        )
    rows = pq.read_table(path).to_pylist()
    return {row["name"]: row for row in rows}


def _record(name: str) -> dict[str, Any]:
    check_name(name, _records(), "task")
    return _records()[name]


# Tasks are frozen, so all callers may share one; checking its rows again would take longer.
@cache
def _task(name: str) -> Task:
    return Task.from_dict(_record(name), f"suite task {name}")


@cache
def _splits() -> dict[str, dict[str, list[str]]]:
    """Return the names of the tasks on each side of each split."""
    text = (FOLDER / "splits.json").read_text(encoding="utf8")
    splits: dict[str, dict[str, list[str]]] = json.loads(text)
    return splits
