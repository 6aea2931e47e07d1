"""The tasks of CrossFit (Ye et al., EMNLP 2021) over public data sets.

The paper's 120 tasks, and 38 of the other 40. One line of `crossfit.tsv` says where a task's rows
are and how they become inputs and answers (`crossfit_table`, `crossfit_rows`). Facts come from
CrossFit's scripts, task splits from the paper's repository.

The five data seeds are drawn as published (NumPy's shuffle of all training lines, then K per label
or K in all), so that they may share rows with each other, not with the test set.

What is a fault in the scripts is mended: swapped or missing labels' names, missing separators,
answers in the order of a set, rows broken by line ends, F1 over answers that are no labels.
`as_published` restores it, but not the order of sets, which no two runs shared, nor broken rows.
White space becomes single spaces (as published: tabs and line ends become spaces, the rest stays).
Rows with an empty input or answer are left out.

The hub was out of reach when this was written: the table was tested on written rows in each data
set's fields, reading on a stand-in for the hub; names of data sets are from memory. `checked` says
`real` where options, metric and form of answer were also compared with data of that task from
elsewhere, `schema only` where not. Today's data sets may hold their rows in another order than in
2021, and then other rows are drawn.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ipt.data import Task, TaskSplit
from ipt.tasks.names import check_name, match_tasks
from ipt.tasks.readers import hub
from ipt.tasks.suites.crossfit_rows import Row, build_task
from ipt.tasks.suites.crossfit_table import TaskDefinition, definitions

PREFIX = "crossfit/"  # of a split, a name or a pattern in `--tasks`
ALL = "all"
LIST_COMMAND = "ipt tasks list --tasks crossfit"
SPLITS = (
    "random-100",
    "random-20",
    "random-40",
    "random-60",
    "random-80",
    "cls-35",
    "non-cls-35",
)
REMEDY = (
    "leave them out (--tasks crossfit/random-100,-NAME) "
    "or give their rows as task files of your own"
)


class Selection(NamedTuple):
    """What `--tasks` names: a split (None where it is none), and all tasks."""

    split: TaskSplit | None
    names: tuple[str, ...]  # of a split: its seen tasks first


def task_names() -> tuple[str, ...]:
    """Return the name of every task of the table, in alphabetical order."""
    return tuple(definitions())


def split_names() -> tuple[str, ...]:
    """Return the names of the paper's task splits."""
    return SPLITS


def load_split(name: str) -> TaskSplit:
    """Return a task split of the paper; raise ValueError where there is none of the name.

    The smaller random splits are draws of their own, with the same 20 unseen tasks.
    """
    check_name(name, split_names(), "CrossFit task split")
    # Keys are what the table's cells say.
    sides: dict[str, list[TaskDefinition]] = {"seen": [], "unseen": [], "out": []}
    for definition in definitions().values():
        side = _side(definition, name)
        if side:
            sides[side].append(definition)

    # The embedded suite's splits mark them too: a subspace may know less of another kind of task.
    categories = {definition.category for definition in sides["seen"]}
    new = []
    for definition in sides["unseen"]:
        if definition.category not in categories:
            new.append(definition)
    return TaskSplit(
        f"crossfit-{name}",
        seen=_names(sides["seen"]),
        unseen=_names(sides["unseen"]),
        out_of_kind=_names(sides["out"]),
        new_subcategories=_names(new),
    )


def _side(definition: TaskDefinition, split: str) -> str:
    """Return a task's side in a split: seen, unseen, out, or "" where it is no part of it."""
    if split == "cls-35":
        return definition.cls_split
    if split == "non-cls-35":
        return definition.noncls_split

    # A smaller split is a draw of seen tasks; its unseen ones are those of the whole.
    if definition.random != "seen" or split == "random-100":
        return definition.random
    size = split.removeprefix("random-")
    return "seen" if size in definition.smaller.split() else ""


def _names(chosen: Iterable[TaskDefinition]) -> tuple[str, ...]:
    return tuple(definition.task for definition in chosen)


def select(source: str) -> Selection:
    """Return the split and the tasks that `--tasks` names.

    source: crossfit/ before a split, `all` or names with * and ?; after a comma more of these, or
        with a minus what to leave out.

    Raises ValueError on an unknown name, or where nothing is left.
    """
    included: list[str] = []
    excluded: set[str] = set()
    for word in source.split(","):
        # Only the first needs the prefix, but all may have it.
        part = word.strip().replace(PREFIX, "", 1)
        if part.startswith("-"):
            excluded.update(_matches(part[1:]))
        elif part:
            included.append(part)

    # One split, perhaps with tasks left out, is a split; anything else is tasks to draw one from.
    if len(included) == 1 and included[0] in split_names():
        split = _without(load_split(included[0]), excluded)
        return Selection(split, split.all)

    names: dict[str, None] = {}  # in the order in which they are named first
    for part in included:
        names |= dict.fromkeys(_expand(part))
    left = _left(names, excluded)
    if not left:
        raise ValueError(
            f"--tasks {source} leaves no task; "
            f"say {PREFIX}all, a split or names before what is left out"
        )
    return Selection(None, left)


def _expand(part: str) -> Sequence[str]:
    """Return the tasks of a split, `all` or a pattern."""
    if part in split_names():
        return load_split(part).all
    if part == ALL:
        return task_names()
    return _matches(part)


def _matches(pattern: str) -> list[str]:
    return match_tasks(
        pattern,
        tasks=task_names(),
        splits=split_names(),
        what="CrossFit task or task split",
        command=LIST_COMMAND,
    )


def _without(split: TaskSplit, excluded: set[str]) -> TaskSplit:
    """Return a split without some of its tasks; its name says how many are left out."""
    # The name holds the number: results over fewer tasks must not be taken for those over all.
    fewer = len(excluded.intersection(split.all))
    if not fewer:
        return split
    return TaskSplit(
        f"{split.name}-less-{fewer}",
        seen=_left(split.seen, excluded),
        unseen=_left(split.unseen, excluded),
        out_of_kind=_left(split.out_of_kind, excluded),
        new_subcategories=_left(split.new_subcategories, excluded),
    )


def _left(names: Iterable[str], excluded: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in excluded)


def load(names: Iterable[str], as_published: bool = False) -> tuple[Task, ...]:
    """Return the tasks of these names; raise one ValueError that lists all that cannot be read.

    as_published: restores the faults of the released scripts.
    """
    # Names first, then what is gone: nothing is downloaded for a command that will fail.
    chosen: list[TaskDefinition] = []
    gone: list[str] = []
    for name in names:
        check_name(name, task_names(), "CrossFit task", command=LIST_COMMAND)
        definition = definitions()[name]
        chosen.append(definition)
        if not definition.path:
            gone.append(f"{name} ({definition.note})")
    if gone:
        raise ValueError(f"no data set of the hub has the rows of {', '.join(gone)}; {REMEDY}")

    # All are tried, so that one command shows everything that must be left out.
    tasks: list[Task] = []
    causes: dict[str, str] = {}
    for definition in chosen:
        try:
            tasks.append(_load_task(definition, as_published))
        except ValueError as error:
            causes[f"{definition.task} ({definition.path})"] = str(error)
    if causes:
        first_cause = next(iter(causes.values()))
        raise ValueError(
            f"{len(causes)} of {len(chosen)} tasks cannot be had: {', '.join(causes)}; "
            f"the first: {first_cause}; or {REMEDY}"
        )
    return tuple(tasks)


def _load_task(definition: TaskDefinition, as_published: bool) -> Task:
    train = _read(definition, definition.train)
    test = _read(definition, definition.test)
    return build_task(definition, train, test, as_published=as_published)


def _read(definition: TaskDefinition, split: str) -> Sequence[Row]:
    """Return a split's rows from the hub, or from what was downloaded; none for ""."""
    # A task whose test set is cut from the training split has no split of its own.
    if not split:
        return ()
    rows: Sequence[Row]
    if definition.revision:
        pattern = f"{definition.config or '*'}/{split}/*.parquet"
        rows = hub.read_converted(
            definition.source,
            definition.path,
            revision=definition.revision,
            pattern=pattern,
        )
    else:
        rows = hub.read_split(
            definition.source,
            definition.path,
            split=split,
            config=definition.config or None,
        )
    return rows
