"""Draws the task splits over 120 tasks of the embedded suite (after section 4.1) and writes `splits.json`.

`python -m ipt.tasks.generators.make_splits` prints what it would write; with `--write` it writes. All draws order by sha256, so
they are the same everywhere. The lists are checked in and stay: a new draw is a new suite.

random-100: 100 seen and 20 unseen tasks; 14 of these are spread over subcategories, 6 are whole small subcategories.
random-20, -40, -60, -80: the first seen tasks of random-100, the same unseen ones.
validation-40, -80: the first seen tasks of random-100; its last 20 seen tasks take the part of the unseen ones, so that choices
between methods see none of these.
cls-35 and non-cls-35: 35 seen tasks of one kind, the others of this kind unseen, those of the other kind out of kind.
"""

import argparse
import hashlib
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, combinations, zip_longest
from pathlib import Path

from ipt.data import Task
from ipt.tasks.suites import embedded as suite

SPLITS = Path(__file__).parents[1] / "suites" / "splits.json"
CLS, NON_CLS = 48, 72
SPREAD, OWN = 14, 6  # unseen tasks spread over subcategories; unseen tasks whose whole subcategory is unseen
SPREAD_CLS = 6
LEAST_NOVEL_UNSEEN, LEAST_NOVEL_SEEN = 8, 15
NESTED = (20, 40, 60, 80)
VALIDATED = (40, 80)
ONE_KIND_SEEN = 35

Record = dict[str, list[str]]


def draw(tasks: Iterable[Task]) -> dict[str, Record]:
    """Return all splits by name; raise ValueError where the tasks are too few or too alike."""
    pool = by_hash(tasks, "pool")
    own = _own_subcategories(pool)
    spread = _spread([t for t in pool if t.subcategory not in {o.subcategory for o in own}], own)
    seen = _seen(pool, own, spread)
    everything = [*seen, *spread, *own]
    found = {f"random-{n}": _record(seen[:n], [*spread, *own]) for n in (100, *NESTED)}
    found |= {f"validation-{n}": _record(seen[:n], seen[max(NESTED) :]) for n in VALIDATED}
    for kind in ("cls", "non-cls"):
        of_kind = by_hash((t for t in everything if t.category == kind), f"{kind}-35")
        other = [t for t in everything if t.category != kind]
        found[f"{kind}-35"] = _record(of_kind[:ONE_KIND_SEEN], of_kind[ONE_KIND_SEEN:], other)
    return found


def by_hash(tasks: Iterable[Task], salt: str) -> list[Task]:
    """Return the tasks in the order of sha256(salt, name)."""
    return sorted(tasks, key=lambda t: _hash(salt, t.name))


def _own_subcategories(pool: list[Task]) -> list[Task]:
    """Return the tasks of two or three small subcategories, of both kinds where possible, that are 6 together."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in pool:
        groups[task.subcategory].append(task)
    names = sorted((s for s in groups if len(groups[s]) <= 4), key=lambda s: _hash("own", s))
    fitting = [c for n in (3, 2) for c in combinations(names, n) if sum(len(groups[s]) for s in c) == OWN]
    if not fitting:
        raise ValueError(f"no two or three small subcategories have {OWN} tasks together")

    def rank(choice: tuple[str, ...]) -> tuple[int, int, str]:
        members = [t for s in choice for t in groups[s]]
        kinds = len({t.category for t in members})
        return (-kinds, -min(2, sum(t.novel for t in members)), _hash("own", *choice))

    return [t for s in min(fitting, key=rank) for t in groups[s]]


def _spread(pool: list[Task], own: list[Task]) -> list[Task]:
    """Pick one task of each of 14 subcategories that keep a seen task, first as many novel ones as are asked for."""
    sizes = Counter(t.subcategory for t in pool)
    quota = {"cls": SPREAD_CLS, "non-cls": SPREAD - SPREAD_CLS}
    novel_needed = LEAST_NOVEL_UNSEEN - sum(t.novel for t in own)
    chosen: list[Task] = []
    while len(chosen) < SPREAD:
        taken = {t.subcategory for t in chosen}
        must_be_novel = sum(t.novel for t in chosen) < novel_needed
        free = [t for t in pool if t.subcategory not in taken and sizes[t.subcategory] > 1 and quota[t.category]]
        fitting = [t for t in free if t.novel or not must_be_novel]
        if not fitting:
            raise ValueError(f"only {len(chosen)} of {SPREAD} unseen tasks can be spread over subcategories")
        chosen.append(fitting[0])
        quota[fitting[0].category] -= 1
    return chosen


def _seen(pool: list[Task], own: list[Task], spread: list[Task]) -> list[Task]:
    """Fill up to 48 cls and 72 non-cls tasks, novel ones first, and lead with subcategories of unseen ones."""
    unseen = {t.name for t in (*own, *spread)}
    closed = {t.subcategory for t in own}
    free = [t for t in pool if t.name not in unseen and t.subcategory not in closed]
    related = {t.subcategory for t in spread}
    kept: list[Task] = []
    for kind, wanted in (("cls", CLS), ("non-cls", NON_CLS)):
        missing = wanted - sum(t.category == kind for t in (*own, *spread))
        of_kind = list(_by_turns([t for t in free if t.category == kind]))
        first = [t for s in sorted(related) for t in [t for t in of_kind if t.subcategory == s][:1]]
        novel = [t for t in of_kind if t.novel and t not in first][: max(0, missing * LEAST_NOVEL_SEEN // 90)]
        order = [*first, *novel, *(t for t in of_kind if t not in first and t not in novel)]
        if len(order) < missing:
            raise ValueError(f"needs {missing} seen {kind} tasks, found {len(order)}")
        kept += order[:missing]
    kept = list(_by_turns(by_hash(kept, "seen"), related))
    _check_novel(kept, [*own, *spread])
    return kept


def _by_turns(tasks: list[Task], first: Iterable[str] = ()) -> Iterator[Task]:
    """Yield one task of every subcategory, then a second of every one, and so on; subcategories in `first` lead."""
    groups: dict[str, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda t: t.subcategory not in set(first)):
        groups[task.subcategory].append(task)
    return (t for t in chain.from_iterable(zip_longest(*groups.values())) if t is not None)


def _check_novel(seen: list[Task], unseen: list[Task]) -> None:
    for what, tasks, least in (("seen", seen, LEAST_NOVEL_SEEN), ("unseen", unseen, LEAST_NOVEL_UNSEEN)):
        if (found := sum(t.novel for t in tasks)) < least:
            raise ValueError(f"{least} {what} tasks must be novel, found {found}")


def _record(seen: list[Task], unseen: list[Task], other: Sequence[Task] = ()) -> Record:
    known = {t.subcategory for t in seen}
    parts = {"seen": seen, "unseen": unseen, "out_of_kind": other}
    parts["new_subcategories"] = [t for t in unseen if t.subcategory not in known]
    return {part: [t.name for t in tasks] for part, tasks in parts.items()}


def _hash(*parts: str) -> str:
    return hashlib.sha256("|".join(("split", *parts)).encode()).hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the splits and print their sizes, or write them; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ipt.tasks.generators.make_splits", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="write splits.json")
    chosen = parser.parse_args(arguments)
    try:
        found = draw(suite.load())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    for name, record in found.items():
        print(name, {part: len(tasks) for part, tasks in record.items()})
    if chosen.write:
        SPLITS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
