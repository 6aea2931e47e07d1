"""The embedded suite: tasks that ship with the package, and the fixed task splits over 120 of them (section 4.1).

Reads `suite.parquet` (one row per task; built by `ipt.tasks.generators.build`) and `splits.json` (by `ipt.tasks.generators.make_splits`).
"""

import json
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from ipt.data import Task, TaskSplit

HERE = Path(__file__).parent


def load(names: Iterable[str] | None = None) -> tuple[Task, ...]:
    """Return the tasks of these names in this order, all of them for None; raise ValueError on an unknown name."""
    if names is None:
        return tuple(_task(name) for name in _records())
    return tuple(_task(known(name, _records(), "task")) for name in names)


def names() -> tuple[str, ...]:
    """Return the name of every task of the suite, in alphabetical order."""
    return tuple(_records())


def phrasings(name: str) -> tuple[str, ...]:
    """Return every wording of a task's definition, the definition itself first."""
    return tuple(_records()[known(name, _records(), "task")]["phrasings"])


def inputs(name: str) -> str:
    """Return the name of the distribution a task's inputs come from; tasks that share it differ in their answers."""
    return str(_records()[known(name, _records(), "task")]["inputs"])


def split(name: str) -> TaskSplit:
    """Return a task split by its name; raise ValueError naming the closest and all valid ones where there is none."""
    record = _splits()[known(name, _splits(), "task split")]
    return TaskSplit(name, **{part: tuple(tasks) for part, tasks in record.items()})


def split_names() -> tuple[str, ...]:
    """Return the names of the task splits."""
    return tuple(_splits())


def known(name: str, valid: Iterable[str], what: str, command: str = "ipt tasks list") -> str:
    """Return `name` if it is valid; raise ValueError with close matches, and all valid names where few."""
    choices = list(valid)
    if name in choices:
        return name
    close = get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    listed = f"; valid are: {', '.join(choices)}" if len(choices) <= 20 else f" ({len(choices)} are listed by: {command})"
    raise ValueError(f"unknown {what} {name!r}{hint}{listed}")


@cache
def _records() -> dict[str, dict[str, Any]]:
    import pyarrow.parquet as pq  # late: half a second that `ipt --help` need not wait for

    path = HERE / "suite.parquet"
    if not path.exists():
        raise ValueError(f"{path} is missing: install the package again, or write it with python -m ipt.tasks.generators.build --write")
    return {record["name"]: record for record in pq.read_table(path).to_pylist()}


@cache
def _task(name: str) -> Task:
    return Task.from_dict(_records()[name], f"suite task {name}")


@cache
def _splits() -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = json.loads((HERE / "splits.json").read_text(encoding="utf8"))
    return found
