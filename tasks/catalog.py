"""From what `--tasks` says to tasks and a task split.

It may be a split of the suite, `all`, names of suite tasks (with * and ?, separated by commas), a task file or a folder of
them, or a JSON file that lists seen and unseen tasks: {"seen": [...], "unseen": [...], "tasks": "folder, relative to this file"}
(without "tasks": names of the suite; "crossfit": CrossFit's). With crossfit/ before it, a split, `all` or names are CrossFit's.
"""

import json
import os.path
from collections.abc import Sequence
from fnmatch import filter as matching
from pathlib import Path
from typing import Any

from ipt.data import Task, TaskSplit
from ipt.tasks.readers import schema as files
from ipt.tasks.suites import crossfit
from ipt.tasks.suites import embedded as suite

PARTS = {"seen", "unseen", "tasks"}


def tasks_of(source: str, as_published: bool = False) -> tuple[Task, ...]:
    """Return every task that `--tasks` names; raise ValueError where there is none, with what comes close."""
    path = Path(source)
    lists = _lists(path)
    wanted = (*lists["seen"], *lists["unseen"]) if lists else ()
    if source.startswith(crossfit.LEAD):
        return crossfit.load(crossfit.named(source)[1], as_published)
    if lists and lists.get("tasks") == "crossfit":
        return crossfit.load(wanted, as_published)
    if as_published:
        raise ValueError(f"--as-published restores CrossFit's scripts and needs --tasks crossfit/..., found --tasks {source}")
    if source == "all":
        return suite.load()
    if lists:
        if "tasks" not in lists:
            return suite.load(wanted)
        found = {task.name: task for task in files.load(path.parent / lists["tasks"])}
        return tuple(found[suite.known(name, found, f"task in {path}:")] for name in wanted)
    if os.path.exists(source):  # unlike Path.exists: False for a list of names that is too long for a file's name
        return files.load(path)
    if source in suite.split_names():
        return suite.load(suite.split(source).all)
    return suite.load(_names(source))


def choose(
    source: str, seen: int, unseen: int, seed: int, as_published: bool = False
) -> tuple[TaskSplit, dict[str, Task], tuple[str, ...]]:
    """Return the split, its tasks by name, and the tasks that were skipped as they are too small for their sets.

    seen, unseen: how many are drawn, where `--tasks` does not say which are seen.
    """
    found = {task.name: task for task in tasks_of(source, as_published)}
    published = crossfit.named(source)[0] if source.startswith(crossfit.LEAD) else None
    if published:
        return published, found, ()
    lists = _lists(Path(source))
    if source == "all":
        return TaskSplit("all", tuple(found), ()), found, ()
    if lists is not None:
        return files.as_split(Path(source).stem, [found[n] for n in lists["seen"]], [found[n] for n in lists["unseen"]]), found, ()
    if not os.path.exists(source) and source in suite.split_names():
        return suite.split(source), found, ()
    if seen < 1:
        raise ValueError(f"--tasks {source}: say how many of its {len(found)} tasks are seen and unseen with --seen and --unseen")
    split, skipped = files.draw_split(tuple(found.values()), seen, unseen, seed)
    return split, {name: found[name] for name in split.all}, skipped


def _names(source: str) -> list[str]:
    words = [word.strip() for word in source.split(",") if word.strip()]
    found: list[str] = []
    for word in words:
        hits: Sequence[str] = matching(suite.names(), word)
        if not hits:
            suite.known(word, (*suite.split_names(), *suite.names()), "task or task split")
        found += [name for name in hits if name not in found]
    return found


def _lists(path: Path) -> dict[str, Any] | None:
    """Return a file's lists of seen and unseen tasks, or None where it is something else; raise ValueError on a broken one."""
    if not os.path.isfile(path) or path.suffix != ".json":
        return None
    try:
        record = json.loads(path.read_text(encoding="utf8"))
    except ValueError:
        return None  # whoever reads it as a task says what is wrong
    if not isinstance(record, dict) or "seen" not in record:
        return None
    for part in ("seen", "unseen"):
        names = record.setdefault(part, [])
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"{path}: {part!r} must be a list of task names")
    everything = [*record["seen"], *record["unseen"]]
    if twice := sorted({name for name in everything if everything.count(name) > 1}):
        raise ValueError(f"{path}: listed twice: {', '.join(twice[:5])}")
    if unknown := sorted(record.keys() - PARTS):
        raise ValueError(f"{path}: unknown fields {', '.join(unknown)}; a list of tasks has {', '.join(sorted(PARTS))}")
    if not record["seen"]:
        raise ValueError(f"{path}: at least one task must be seen")
    return record
