"""Task splits over a user's tasks: drawn by a seed, with a family on one side.

Tasks and families are ordered by sha256 of seed and name, so a seed draws the same split on every
machine, whatever the order of the files. A family (tasks over the same data) stays on one side:
a subspace must not be tested on a variant of a task that it was found on.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from typing import Literal, NamedTuple

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Task, TaskSplit, stratum
from ipt.fewshot import few_shot

GroupedBy = Literal["subcategory", "family"]


class DrawnSplit(NamedTuple):
    """A split, and the names of the tasks that are too small for their few-shot sets."""

    split: TaskSplit
    skipped: tuple[str, ...]  # in alphabetical order


class _Sides(NamedTuple):
    """Tasks of the two sides of a split."""

    seen: list[Task]
    unseen: list[Task]


def shortfalls(tasks: Iterable[Task], shots: int | None = None) -> dict[str, str]:
    """Return why tasks cannot fill the sets of both data seeds, by the name of the task.

    shots: K, None for the default of each task.
    """
    reasons: dict[str, str] = {}
    for task in tasks:
        # The sets of data seed 21 share no row with those of data seed 100, so they need the more.
        try:
            for data_seed in (SAME_DATA_SEED, DIFF_DATA_SEED):
                few_shot(task, data_seed, shots)
        except ValueError as error:
            reasons[task.name] = str(error)
    return reasons


def draw_split(
    tasks: Sequence[Task],
    seen: int,
    unseen: int,
    seed: int,
    shots: int | None = None,
) -> DrawnSplit:
    """Draw seen and unseen tasks by the hash of seed and family.

    seen, unseen: numbers of tasks.
    shots: K that a task must have rows for, None for the default of each task.

    Raises ValueError where too few tasks or families can be used.
    """
    if seen < 1 or unseen < 0:
        raise ValueError(
            f"--seen must be at least 1 and --unseen at least 0, found {seen} and {unseen}"
        )
    # Both data seeds must be served: every task of a split is measured on both.
    skipped = shortfalls(tasks, shots)
    families = _by_family(tasks, seed, skipped)

    # A family counts for one side only, so an order may leave too few tasks for the other side
    # although another order would do: of the three, the first that gives a split is taken.
    by_hash = []
    for name in sorted(families, key=lambda name: _hash(seed, name)):
        by_hash.append(families[name])
    largest_first = sorted(by_hash, key=len, reverse=True)
    smallest_first = largest_first[::-1]
    for order in (by_hash, largest_first, smallest_first):
        sides = _deal(order, seen, unseen)
        if sides is not None:
            split = make_split(f"files-{seed}", sides.seen, sides.unseen)
            return DrawnSplit(split, tuple(sorted(skipped)))

    usable = sum(map(len, by_hash))
    raise ValueError(
        f"{seen} seen and {unseen} unseen tasks were asked for, and {usable} usable tasks "
        f"of {len(families)} families cannot give them with a family on one side "
        f"({len(skipped)} tasks are too small for their few-shot sets); "
        "lower --seen, --unseen or --shots"
    )


def make_split(name: str, seen: Sequence[Task], unseen: Sequence[Task]) -> TaskSplit:
    """Return the split of these tasks; marks unseen ones of a subcategory that no seen task has."""
    subcategories = {task.subcategory for task in seen}
    new = [task for task in unseen if task.subcategory not in subcategories]
    return TaskSplit(
        name,
        seen=_names(seen),
        unseen=_names(unseen),
        new_subcategories=_names(new),
    )


def make_folds(
    tasks: Sequence[Task],
    count: int,
    by: GroupedBy = "subcategory",
) -> list[TaskSplit]:
    """Return splits fold-1 ... for cross-validation: each task is unseen in one of them.

    Tasks of one group are unseen together. The largest groups are dealt first, each to the fold in
    which its strata and its kind of answers are rarest.
    Raises ValueError where there are fewer groups than folds.
    """
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        name = task.subcategory if by == "subcategory" else task.family
        groups[name or task.name].append(task)
    if not 2 <= count <= len(groups):
        raise ValueError(
            f"--count must be from 2 to {len(groups)}, as many as there are groups by {by}, "
            f"found {count}"
        )
    totals = _traits(tasks)
    loads = [Counter[str]() for _ in range(count)]
    folds: list[list[Task]] = [[] for _ in range(count)]
    for name in sorted(groups, key=lambda name: (-len(groups[name]), name)):
        added = _traits(groups[name])
        costs = [_growth(load, added, totals) for load in loads]
        chosen = costs.index(min(costs))
        folds[chosen] += groups[name]
        loads[chosen] += added

    splits = []
    for number, unseen in enumerate(folds, 1):
        left_out = set(_names(unseen))
        seen = [task for task in tasks if task.name not in left_out]
        splits.append(make_split(f"fold-{number}", seen, unseen))
    return splits


def _growth(load: Counter[str], added: Counter[str], totals: Counter[str]) -> float:
    """Return how much a fold's sum over traits of squared shares grows: least where all are rare.

    load: of the fold so far. totals: of all tasks.
    """
    grown = 0.0
    for trait, more in added.items():
        before = load[trait] / totals[trait]
        after = (load[trait] + more) / totals[trait]
        grown += after**2 - before**2
    return grown


def _traits(tasks: Iterable[Task]) -> Counter[str]:
    """Return how many tasks there are, and of each stratum and kind of answers."""
    counts = Counter[str]()
    for task in tasks:
        counts.update(["task", stratum(task.novel, task.knowledge), task.category])
    return counts


def _names(tasks: Iterable[Task]) -> tuple[str, ...]:
    return tuple(task.name for task in tasks)


def _by_family(
    tasks: Sequence[Task],
    seed: int,
    skipped: Container[str],
) -> dict[str, list[Task]]:
    """Return the tasks of each family, in the order of their hashes.

    skipped: names of the tasks that are left out.
    """
    # Sorted before they are grouped: a family that is cut keeps its first tasks by hash.
    ordered = sorted(tasks, key=lambda task: _hash(seed, task.name))
    families: dict[str, list[Task]] = defaultdict(list)
    for task in ordered:
        if task.name not in skipped:
            family = _family_name(task)
            families[family].append(task)
    return families


def _family_name(task: Task) -> str:
    # A task that says nothing of a family is one of its own.
    return task.family or task.name


def _deal(families: Sequence[list[Task]], seen: int, unseen: int) -> _Sides | None:
    """Fill the seen side, then the unseen one, family by family; None where one stays short."""
    sides = _Sides([], [])
    for family in families:
        # What a family has beyond the need is left out: it must not come to the other side.
        if len(sides.seen) < seen:
            missing = seen - len(sides.seen)
            sides.seen.extend(family[:missing])
        else:
            missing = unseen - len(sides.unseen)
            sides.unseen.extend(family[:missing])

    # Neither side can have too many, as only the missing ones were taken.

    if len(sides.seen) < seen or len(sides.unseen) < unseen:
        return None
    return sides


def _hash(seed: int, name: str) -> str:
    # The word is a part of every split that was drawn: another one would draw others.
    text = f"files|{seed}|{name}"
    return hashlib.sha256(text.encode()).hexdigest()
