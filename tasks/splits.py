"""Task splits over a user's tasks: drawn by a seed, with a family on one side.

Tasks and families are ordered by sha256 of seed and name, so a seed draws the same split on every
machine, whatever the order of the files. A family (tasks over the same data) stays on one side:
a subspace must not be tested on a variant of a task that it was found on.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Task, TaskSplit
from ipt.fewshot import few_shot


class DrawnSplit(NamedTuple):
    """A split, and the names of the tasks that are too small for their few-shot sets."""

    split: TaskSplit
    skipped: tuple[str, ...]


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
            "--seen must be at least 1 and --unseen at least 0, "
            f"found {seen} and {unseen}"
        )
    skipped = shortfalls(tasks, shots)
    usable = [task for task in tasks if task.name not in skipped]
    families = _by_family(usable, seed)

    # A side takes whole families while they fit, so an order may leave too few tasks for the other
    # side although another order would do: of the three, the first that gives a split is taken.
    by_hash = sorted(families, key=lambda family: _hash(seed, family))
    largest_first = sorted(by_hash, key=lambda family: -len(families[family]))
    smallest_first = largest_first[::-1]
    for order in (by_hash, largest_first, smallest_first):
        groups = [families[family] for family in order]
        sides = _deal(groups, seen, unseen)
        if sides is not None:
            split = make_split(f"files-{seed}", sides.seen, sides.unseen)
            return DrawnSplit(split, tuple(sorted(skipped)))

    raise ValueError(
        f"{seen} seen and {unseen} unseen tasks were asked for, and {len(usable)} usable tasks "
        f"of {len(families)} families cannot give them with a family on one side "
        f"({len(skipped)} tasks are too small for their few-shot sets); "
        "lower --seen, --unseen or --shots"
    )


def make_split(name: str, seen: Sequence[Task], unseen: Sequence[Task]) -> TaskSplit:
    """Return the split of these tasks; marks unseen ones of a subcategory that no seen task has."""
    subcategories = {task.subcategory for task in seen}
    new = [task.name for task in unseen if task.subcategory not in subcategories]
    return TaskSplit(
        name,
        seen=tuple(task.name for task in seen),
        unseen=tuple(task.name for task in unseen),
        new_subcategories=tuple(new),
    )


def _by_family(tasks: Sequence[Task], seed: int) -> dict[str, list[Task]]:
    """Return the tasks of each family, in the order of their hashes."""
    families: dict[str, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda task: _hash(seed, task.name)):
        families[task.family or task.name].append(task)
    return families


def _deal(families: Sequence[list[Task]], seen: int, unseen: int) -> _Sides | None:
    """Fill the seen side, then the unseen one, family by family; None where one stays short."""
    sides = _Sides([], [])
    for family in families:
        # What a family has beyond the need is left out: it must not come to the other side.
        if len(sides.seen) < seen:
            sides.seen.extend(family[: seen - len(sides.seen)])
        else:
            sides.unseen.extend(family[: unseen - len(sides.unseen)])

    is_full = len(sides.seen) == seen and len(sides.unseen) == unseen
    return sides if is_full else None


def _hash(seed: int, name: str) -> str:
    # "files" was the name of this module when the first splits were drawn; it keeps them as they are.
    return hashlib.sha256(f"files|{seed}|{name}".encode()).hexdigest()
