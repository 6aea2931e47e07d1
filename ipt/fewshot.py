"""Few-shot sets by data seed, and the fixed test sets (paper, section 4.1)."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass

from ipt.data import FEW_TEST_ROWS, SAME_DATA_SEED, TEST_ROWS, Example, Task


@dataclass(frozen=True)
class FewShot:
    """The three sets one job works with; no entity occurs in two of them."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]


def few_shot(task: Task, data_seed: int, shots: int | None = None) -> FewShot:
    """Draw the sets of a data seed; K is per class for cls, in all for non-cls (None: the task's default).

    Raises ValueError with the counts where the task has too few rows for K.
    """
    shots = task.default_shots if shots is None else shots
    if task.test:
        return _published(task, data_seed, shots)
    test = test_rows(task)
    taken = {e.key for e in test}
    if data_seed != SAME_DATA_SEED:
        same = _draw(task, SAME_DATA_SEED, shots, taken)
        taken |= {e.key for part in same for e in part}
    train, dev = _draw(task, data_seed, shots, taken)
    return FewShot(train, dev, test)


def _published(task: Task, data_seed: int, shots: int) -> FewShot:
    """Fill the sets from the task's own draw, K per label and then K more (CrossFit, fewshot_gym_dataset.py).

    As there, labels come in the order of their first row, and one with fewer rows gives what it has; at least one must have
    enough, as a draw may have been cut.
    """
    if data_seed not in task.draws:
        raise ValueError(f"task {task.name} has draws for the data seeds {', '.join(map(str, task.draws))}, found {data_seed}")
    groups: dict[str, list[Example]] = defaultdict(list)
    for row in (task.examples[i] for i in task.draws[data_seed]):
        groups[row.output[0] if task.category == "cls" else ""].append(row)
    train = tuple(row for group in groups.values() for row in group[:shots])
    dev = tuple(row for group in groups.values() for row in group[shots : 2 * shots])
    found = max(map(len, groups.values()))
    if found < 2 * shots:
        raise ValueError(
            f"task {task.name}: data seed {data_seed} needs {shots} train and {shots} dev rows (of a label, for cls), {found} are there; "
            "lower --shots"
        )
    return FewShot(train, dev, task.test)


def test_rows(task: Task) -> tuple[Example, ...]:
    """Return the one fixed test set: 100 rows (50 of a small task) with the lowest hashes, labels in equal parts."""
    rows = sorted(task.examples, key=lambda e: (_hash("test", task.name, e.key), _hash(e.input)))
    groups = [[e for e in rows if not label or e.output[0] == label] for label in _labels(task)]
    chosen: list[Example] = []
    for position in range(max(map(len, groups))):
        chosen += [group[position] for group in groups if position < len(group)]
    return tuple(chosen[: FEW_TEST_ROWS if task.is_small else TEST_ROWS])


def _draw(task: Task, data_seed: int, shots: int, taken: set[str]) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Fill train and dev label by label from the rows whose entity is not taken, in the order of the seed's hash."""
    rows = sorted(
        (e for e in task.examples if e.key not in taken),
        key=lambda e: _hash("draw", task.name, str(data_seed), e.key, e.input),
    )
    owner: dict[str, int] = {}
    parts: tuple[list[Example], list[Example]] = ([], [])
    counts: dict[tuple[int, str], int] = defaultdict(int)
    for row in rows:
        label = row.output[0] if task.category == "cls" else ""
        for part in (0, 1):
            if owner.get(row.key, part) == part and counts[part, label] < shots:
                owner[row.key] = part
                counts[part, label] += 1
                parts[part].append(row)
                break
    for label in _labels(task):
        found = [counts[part, label] for part in (0, 1)]
        if min(found) < shots:
            of_label = f" of label {label!r}" if label else ""
            others = "" if data_seed == SAME_DATA_SEED else f" and data seed {SAME_DATA_SEED}'s rows"
            raise ValueError(
                f"task {task.name}: data seed {data_seed} needs {shots} train and {shots} dev rows{of_label} beside the test "
                f"set{others}, and {found[0]} and {found[1]} are left; use a smaller --shots or add rows"
            )
    return tuple(parts[0]), tuple(parts[1])


def _labels(task: Task) -> tuple[str, ...]:
    return task.options or ("",) if task.category == "cls" else ("",)


def _hash(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()
