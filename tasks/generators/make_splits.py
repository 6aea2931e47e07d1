"""Draws the task splits over 120 tasks of the embedded suite and writes `splits.json`.

`python -m ipt.tasks.generators.make_splits` prints what it would write; with `--write` it writes.
All draws order by sha256, so they are the same everywhere. The lists are checked in and stay: a new
draw is a new suite. After section 4.1 of the paper:

random-100: 100 seen and 20 unseen tasks; 14 of these are spread over subcategories, 6 are whole
small subcategories.
random-20, -40, -60, -80: the first seen tasks of random-100, the same unseen ones.
validation-40, -80: the first seen tasks of random-100; its last 20 seen tasks take the part of the
unseen ones, so that choices between methods see none of these.
fold-1 to fold-5: cross-validation over all tasks but the 20 unseen ones of random-100, by
subcategory; locked-20: those 250 tasks seen, the 20 unseen (docs/protocol.md).
cls-35 and non-cls-35: 35 seen tasks of one kind, the others of this kind unseen, those of the other
kind out of kind.
"""

import argparse
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import combinations, zip_longest
from pathlib import Path

from ipt.data import Task, TaskSplit
from ipt.tasks.splits import make_folds, make_split
from ipt.tasks.suites import embedded

SPLITS = Path(__file__).parents[1] / "suites" / "splits.json"
KINDS = ("cls", "non-cls")
TASKS_OF_KIND = {"cls": 48, "non-cls": 72}  # of all 120
SPREAD_OF_KIND = {"cls": 6, "non-cls": 8}  # unseen tasks spread over subcategories
SPREAD = sum(SPREAD_OF_KIND.values())
WHOLE = 6  # other unseen tasks whose whole subcategory is unseen
LARGEST_WHOLE = 4  # tasks of such a subcategory
# Novel tasks are in no pre-training: what a subspace does for them owes nothing to the backbone.
LEAST_NOVEL_UNSEEN = 8
LEAST_NOVEL_SEEN = 15
SEEN = 100
NESTED = (20, 40, 60, 80)  # seen tasks of the smaller random splits
VALIDATED = (40, 80)  # seen tasks of the validation splits
ONE_KIND_SEEN = 35
FOLDS = 5

Record = dict[str, list[str]]


def draw(tasks: Iterable[Task]) -> dict[str, Record]:
    """Return all splits by name; raise ValueError where the tasks are too few or too alike."""
    # Unseen tasks first, as they have the harder rules; the seen ones are filled up from the rest.
    pool = by_hash(tasks, "pool")
    whole = _whole_subcategories(pool)
    closed = _subcategories(whole)
    spread = _spread(_outside(pool, closed), whole)
    unseen = [*spread, *whole]
    seen = _seen(pool, unseen, related=_subcategories(spread), closed=closed)

    records = {}
    for count in (SEEN, *NESTED):
        records[f"random-{count}"] = _record(seen[:count], unseen)
    # Seen tasks that no nested split has: methods are chosen on them and reported on unseen ones.
    validation = seen[max(NESTED) :]
    for count in VALIDATED:
        records[f"validation-{count}"] = _record(seen[:count], validation)

    # Draws of their own over the same tasks: an unseen one of random-100 may be seen here.
    everything = [*seen, *unseen]
    # Of the whole suite: the locked tasks are scored once, at the end of a study.
    free = _without(by_hash(tasks, "folds"), unseen)
    records[f"locked-{len(unseen)}"] = _record(free, unseen)
    for fold in make_folds(free, FOLDS):
        records[fold.name] = _record_of(fold)
    for kind in KINDS:
        name = f"{kind}-{ONE_KIND_SEEN}"
        of_kind = by_hash(_of_kind(everything, kind), name)
        others = _without(everything, of_kind)
        records[name] = _record(of_kind[:ONE_KIND_SEEN], of_kind[ONE_KIND_SEEN:], others)
    return records


def by_hash(tasks: Iterable[Task], salt: str) -> list[Task]:
    """Return the tasks in the order of sha256(salt, name)."""
    return sorted(tasks, key=lambda task: _hash(salt, task.name))


def _of_kind(tasks: Iterable[Task], kind: str) -> list[Task]:
    return [task for task in tasks if task.category == kind]


def _subcategories(tasks: Iterable[Task]) -> set[str]:
    return {task.subcategory for task in tasks}


def _outside(tasks: Iterable[Task], subcategories: Collection[str]) -> list[Task]:
    """Return the tasks that are of none of these subcategories."""
    return [task for task in tasks if task.subcategory not in subcategories]


def _by_subcategory(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    """Return the tasks of each subcategory, both in the order of the tasks."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        groups[task.subcategory].append(task)
    return groups


def _whole_subcategories(pool: list[Task]) -> list[Task]:
    """Return the tasks of two or three small subcategories that are 6 together.

    Those of both kinds come first, then those with novel tasks, then by hash.
    """
    groups = _by_subcategory(pool)
    small = []
    for name, members in groups.items():
        if len(members) <= LARGEST_WHOLE:
            small.append(name)
    # "own" stands in the draws that are checked in, here and in `_rank`.
    small.sort(key=lambda name: _hash("own", name))

    # All choices are looked at: there are few small subcategories.
    fitting = []
    for count in (3, 2):
        for choice in combinations(small, count):
            if len(_members(choice, groups)) == WHOLE:
                fitting.append(choice)
    if not fitting:
        raise ValueError(f"no two or three small subcategories have {WHOLE} tasks together")

    best = min(fitting, key=lambda choice: _rank(choice, groups))
    return _members(best, groups)


def _members(choice: Iterable[str], groups: dict[str, list[Task]]) -> list[Task]:
    members: list[Task] = []
    for name in choice:
        members += groups[name]
    return members


def _rank(choice: tuple[str, ...], groups: dict[str, list[Task]]) -> tuple[int, int, str]:
    """Return what subcategories are ordered by, the best first."""
    members = _members(choice, groups)
    kinds = {task.category for task in members}
    # Two novel tasks are enough here: the others are needed among the seen ones.
    novel = min(2, _count_novel(members))
    return (-len(kinds), -novel, _hash("own", *choice))


def _count_novel(tasks: Iterable[Task]) -> int:
    return sum(task.novel for task in tasks)


def _spread(pool: list[Task], whole: list[Task]) -> list[Task]:
    """Pick one task of each of 14 subcategories that keep a seen task, novel ones first.

    pool: tasks that may be picked, in their order.
    whole: the other unseen tasks; the novel ones among them count.
    """
    groups = _by_subcategory(pool)
    quota = dict(SPREAD_OF_KIND)
    novel_missing = LEAST_NOVEL_UNSEEN - _count_novel(whole)
    chosen: list[Task] = []
    while len(chosen) < SPREAD:
        # Each pick changes what the next one may be.
        taken = _subcategories(chosen)
        fitting = []
        for task in pool:
            # An unseen task of such a subcategory has a seen relative.
            keeps_one = len(groups[task.subcategory]) > 1
            is_needed = quota[task.category] > 0 and (task.novel or novel_missing <= 0)
            if keeps_one and is_needed and task.subcategory not in taken:
                fitting.append(task)
        if not fitting:
            raise ValueError(
                f"only {len(chosen)} of {SPREAD} unseen tasks can be spread over subcategories"
            )

        first = fitting[0]
        chosen.append(first)
        quota[first.category] -= 1
        if first.novel:
            novel_missing -= 1
    return chosen


def _seen(
    pool: list[Task],
    unseen: list[Task],
    related: Collection[str],
    closed: Collection[str],
) -> list[Task]:
    """Fill up to 48 cls and 72 non-cls tasks with seen ones.

    related: subcategories of unseen tasks, which must each have a seen task; they lead.
    closed: subcategories that no seen task may have.

    Raises ValueError where there are too few tasks, or too few novel ones.
    """
    # What is left of the pool; a task of a closed subcategory would open it.
    free = _outside(_without(pool, unseen), closed)
    seen: list[Task] = []
    for kind in KINDS:
        missing = TASKS_OF_KIND[kind] - len(_of_kind(unseen, kind))
        order = _order_of_kind(_of_kind(free, kind), related, missing)
        if len(order) < missing:
            raise ValueError(f"needs {missing} seen {kind} tasks, found {len(order)}")
        seen += order[:missing]

    # So that the nested splits, which are the first of these, hold many subcategories as well.
    seen = list(_by_turns(by_hash(seen, "seen"), related))
    _check_novel("seen", seen, LEAST_NOVEL_SEEN)
    _check_novel("unseen", unseen, LEAST_NOVEL_UNSEEN)
    return seen


def _order_of_kind(tasks: list[Task], related: Collection[str], missing: int) -> list[Task]:
    """Return tasks of one kind in the order in which they become seen ones.

    First one of each related subcategory, then novel ones, then subcategories by turns.
    """
    by_turns = list(_by_turns(tasks))
    groups = _by_subcategory(by_turns)
    # A subcategory may have tasks of the other kind only.
    order = []
    for name in sorted(related):
        if name in groups:
            order.append(groups[name][0])

    # The kind's share of the novel tasks that must be seen: of 90 and not of all 100, as it is cut
    # to a whole number.
    share = max(0, missing * LEAST_NOVEL_SEEN // 90)
    novel = [task for task in _without(by_turns, order) if task.novel]
    order += novel[:share]
    return order + _without(by_turns, order)


def _without(tasks: Iterable[Task], others: Iterable[Task]) -> list[Task]:
    names = set(_names(others))
    return [task for task in tasks if task.name not in names]


def _by_turns(tasks: Iterable[Task], first: Collection[str] = ()) -> Iterator[Task]:
    """Yield one task of every subcategory, then a second of every one, and so on.

    first: subcategories that lead.
    """
    # False sorts before True; otherwise the order stays.
    ordered = sorted(tasks, key=lambda task: task.subcategory not in first)
    groups = _by_subcategory(ordered)
    for turn in zip_longest(*groups.values()):
        for task in turn:
            # Small subcategories are used up before large ones.
            if task is not None:
                yield task


def _check_novel(side: str, tasks: list[Task], least: int) -> None:
    novel = _count_novel(tasks)
    if novel < least:
        raise ValueError(f"{least} {side} tasks must be novel, found {novel}")


def _record(seen: list[Task], unseen: list[Task], others: Sequence[Task] = ()) -> Record:
    """Return a split as splits.json holds it; others: tasks out of kind."""
    split = make_split("", seen, unseen)
    return _record_of(replace(split, out_of_kind=tuple(_names(others))))


def _record_of(split: TaskSplit) -> Record:
    record = {}
    for side, names in asdict(split).items():
        if side != "name":
            record[side] = list(names)
    return record


def _names(tasks: Iterable[Task]) -> list[str]:
    return [task.name for task in tasks]


def _hash(*parts: str) -> str:
    # The first word keeps these draws apart from others over the same names.
    text = "|".join(("split", *parts))
    return hashlib.sha256(text.encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the splits and print their sizes, or write them; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ipt.tasks.generators.make_splits",
        description=main.__doc__,
    )
    parser.add_argument("--write", action="store_true", help="write splits.json")
    options = parser.parse_args(arguments)
    try:
        records = draw(embedded.load())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1

    for name, record in records.items():
        sizes = {}
        for side, names in record.items():
            sizes[side] = len(names)
        print(name, sizes)
    if options.write:
        text = json.dumps(records, indent=1)
        SPLITS.write_text(text + "\n", encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
