"""An MSF and an IST result whose numbers all differ, so that a wrong join is another figure.

Unseen tasks with prompt tuning (reference), floor, and tuned numbers (`test`), generated:

    task  reference  floor           test  share  above the floor
    u1    0.50       0.42 (chance)   0.40  0.80   left out: 0.08 above
    u2    0.40       0.15 (empty)    0.30  0.75   0.15 / 0.25
    u3    0.70       0.35 (start)    0.63  0.90   0.28 / 0.35
    o1    0.30       0.08 (start)    0.21  0.70   0.13 / 0.22
"""

from collections.abc import Sequence
from typing import Any

from ipt.results import CONDITIONS, RunResult

SEEN, UNSEEN = ("s1", "s2", "s3"), ("u1", "u2", "u3", "o1")
CLS = ("s2", "s3", "u1", "u3")  # only these have ranked scores

# What these runs have: they are of a language model, whose head has no numbers.
MEASURED = [condition for condition in CONDITIONS if condition.name != "head_alone"]
TITLES = {condition.name: condition.title for condition in MEASURED}
CONTROLS = tuple(condition.name for condition in MEASURED if condition.is_control)

Scores = dict[str, dict[str, float | None]]


def scores(names: tuple[str, ...], generated: list[float], ranked: list[float | None]) -> Scores:
    pairs = zip(names, generated, ranked, strict=True)
    return {name: {"generated": first, "ranked": second} for name, first, second in pairs}


def task(subcategory: str, cls: bool, **flags: bool) -> dict[str, Any]:
    about = {"category": "cls" if cls else "non-cls", "subcategory": subcategory}
    about |= {"metric": "accuracy" if cls else "exact-match", "novel": False, "knowledge": False}
    return about | flags | {"digest": "not for a table"}


def floors(chance: float, empty: float, start: float) -> dict[str, float]:
    return {"chance": chance, "empty": empty, "start": start}


TASKS = {
    "s1": task("one", False),
    "s2": task("two", True, knowledge=True),
    "s3": task("one", True),
    "u1": task("one", True, novel=True),
    "u2": task("four", False, novel=True, knowledge=True),
    "u3": task("two", True, knowledge=True),
    "o1": task("five", False),
}
SPLIT = {
    "name": "made-3",
    "seen": ["s1", "s2", "s3"],
    "unseen": ["u1", "u2", "u3"],
    "out_of_kind": ["o1"],
    "new_subcategories": ["u2", "o1"],
}
REFERENCE = {
    "100": scores(SEEN, [0.8, 0.6, 0.9], [None, 0.65, 0.95])
    | scores(UNSEEN, [0.5, 0.4, 0.7, 0.3], [0.55, None, 0.75, None]),
    "21": scores(SEEN, [0.64, 0.48, 0.72], [None, 0.53, 0.77]),
}
FLOOR = {
    "s1": floors(0.05, 0.1, 0.2),
    "s2": floors(0.25, 0.1, 0.15),
    "s3": floors(0.1, 0.3, 0.05),
    "u1": floors(0.42, 0.1, 0.05),
    "u2": floors(0.0, 0.15, 0.05),
    "u3": floors(0.2, 0.1, 0.35),
    "o1": floors(0.02, 0.05, 0.08),
}
MSF = {
    "train_msf": scores(SEEN, [0.72, 0.45, 0.81], [None, 0.5, 0.4]),
    "test_msf": scores(UNSEEN, [0.25, 0.1, 0.35, 0.06], [0.44, None, 0.6, None]),
    "shared": scores(UNSEEN, [0.2, 0.06, 0.07, 0.03], [0.33, None, 0.3, None]),
    "mean_code": scores(UNSEEN, [0.1, 0.02, 0.14, 0.12], [0.22, None, 0.2, None]),
    "best_code": scores(UNSEEN, [0.3, 0.12, 0.21, 0.15], [0.21, None, 0.1, None]),
}
IST = {  # not in the order of the table
    "mixture_test": scores(UNSEEN, [0.35, 0.22, 0.49, 0.18], [0.12, None, 0.15, None]),
    "test": scores(UNSEEN, [0.4, 0.3, 0.63, 0.21], [0.11, None, 0.3, None]),
    "train_same": scores(SEEN, [0.76, 0.54, 0.54], [None, 0.26, 0.19]),
    "train_diff": scores(SEEN, [0.32, 0.36, 0.54], [None, 0.53, 0.154]),
    "pca_test": scores(UNSEEN, [0.45, 0.14, 0.28, 0.24], [0.1, None, 0.45, None]),
    "random_test": scores(UNSEEN, [0.15, 0.08, 0.42, 0.12], [0.05, None, 0.25, None]),
    "start_test": scores(UNSEEN, [0.05, 0.2, 0.21, 0.12], [0.15, None, 0.05, None]),
    "best_seen": scores(UNSEEN, [0.2, 0.25, 0.14, 0.27], [0.45, None, 0.35, None]),
    "nearest_seen": scores(UNSEEN, [0.15, 0.16, 0.07, 0.24], [0.35, None, 0.2, None]),
    "choice_test": scores(UNSEEN, [0.45, 0.22, 0.63, 0.18], [0.1, None, 0.3, None]),
}


def made_pair(**ist_scores: Scores) -> list[dict[str, Any]]:
    """Return what result.json of the MSF and the IST run hold, as records to be changed.

    ist_scores: conditions of IST that are others than above.
    """
    common: dict[str, Any] = {"tasks": TASKS, "split": SPLIT, "floor": FLOOR, "compresses": True}
    reference = {"100": REFERENCE["100"]}
    msf = common | {"kind": "msf", "dim": 5, "reference": reference, "scores": MSF}
    msf |= {"prompts": "f00dfeed", "parameters": 1234}
    ist = common | {"kind": "ist", "dim": 5, "reference": REFERENCE, "scores": IST | ist_scores}
    return [msf, ist]


def typed(records: Sequence[dict[str, Any]]) -> list[RunResult]:
    """Return the results that analysis reads from these records."""
    return [RunResult.from_json(record) for record in records]


def made_results(**ist_scores: Scores) -> list[RunResult]:
    """Return `made_pair` as results."""
    return typed(made_pair(**ist_scores))
