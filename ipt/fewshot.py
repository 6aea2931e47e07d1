"""Few-shot sets by data seed, and the fixed test sets.

The paper (section 4.1) takes K = 16 examples per class for classification and 32 examples
otherwise, a dev set of the same size, and a test set that all draws share. Here the test set is
chosen by a hash, whatever the seed. Data seed 100 ("same") draws first from the other rows; every
other data seed ("diff") draws from what seed 100 left, so that no row and no entity is shared.

A task that brings its own test set and draws (CrossFit's), or whole sets (FewGLUE's), keeps them;
its data seeds may then share rows, as in the paper.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

from ipt.data import FEW_TEST_ROWS, SAME_DATA_SEED, TEST_ROWS, Example, Task


@dataclass(frozen=True)
class FewShot:
    """The three sets one job works with; no entity occurs in two of them."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    test: tuple[Example, ...]


class _Draw(NamedTuple):
    """What a data seed draws beside the fixed test set."""

    train: tuple[Example, ...]
    dev: tuple[Example, ...]


class _Set:
    """A set that is being filled, with at most `shots` rows of a label."""

    def __init__(self, shots: int) -> None:
        self.shots = shots
        self.rows: list[Example] = []
        self.counts: Counter[str] = Counter()  # rows by label

    def has_room(self, label: str) -> bool:
        """Say whether one more row of this label may be added."""
        return self.counts[label] < self.shots

    def add(self, example: Example, label: str) -> None:
        """Add a row and count it for its label."""
        self.rows.append(example)
        self.counts[label] += 1


def few_shot(task: Task, data_seed: int, shots: int | None = None) -> FewShot:
    """Draw the sets of a data seed.

    shots: K, per label for cls, in all for any other; None: the task's default, or all rows of
        sets that it brings.
    Raises ValueError with the counts where the task has too few rows for K.
    """
    if task.sets:
        return _given_sets(task, data_seed, shots)
    if shots is None:
        shots = task.default_shots
    if task.draws:
        return _published(task, data_seed, shots)

    test = task.test or test_rows(task)
    taken = _keys(test)
    if data_seed != SAME_DATA_SEED:
        # MSF has seen the rows of seed 100: no other seed may train or choose on them.
        same = _draw(task, SAME_DATA_SEED, shots, taken)
        taken |= _keys(same.train)
        taken |= _keys(same.dev)
    draw = _draw(task, data_seed, shots, taken)
    return FewShot(
        train=draw.train,
        dev=draw.dev,
        test=test,
    )


def test_rows(task: Task) -> tuple[Example, ...]:
    """Return the one fixed test set: 100 rows (50 of a small task), labels in equal parts."""
    # The lowest hashes are as good as drawn at random, and depend neither on a seed nor on
    # the order of rows: a task's test set stays the same wherever the task is read.
    rows = sorted(
        task.examples,
        key=lambda example: _test_order(task, example),
    )

    # In the order of the options, which the task file gives.
    groups = []
    longest = 0
    for label in _labels(task):
        group = [row for row in rows if not label or row.output[0] == label]
        groups.append(group)
        longest = max(longest, len(group))

    # Labels take turns, so that cutting leaves equal parts; one without more rows is passed over.
    chosen = []
    for position in range(longest):
        for group in groups:
            if position < len(group):
                chosen.append(group[position])

    # Scoring a task generates an answer for each of these rows.
    size = FEW_TEST_ROWS if task.is_small else TEST_ROWS
    return tuple(chosen[:size])


def _published(task: Task, data_seed: int, shots: int) -> FewShot:
    """Fill the sets from the task's own draw, K per label and then K more.

    Source: CrossFit, fewshot_gym_dataset.py. As there, labels come in the order of their first
    row, and one with fewer rows gives what it has; at least one must have enough, as a draw may
    have been cut.
    """
    if data_seed not in task.draws:
        seeds = ", ".join(map(str, task.draws))
        raise ValueError(
            f"task {task.name} has draws for the data seeds {seeds}, found {data_seed}"
        )

    # A dict keeps its keys in the order of arrival: here, labels by their first row.
    groups: dict[str, list[Example]] = defaultdict(list)
    for index in task.draws[data_seed]:
        example = task.examples[index]
        label = _label_of(task, example)
        groups[label].append(example)

    # The first K rows of a label are trained on, the next K choose the best step.
    needed = 2 * shots
    largest = 0
    train: list[Example] = []
    dev: list[Example] = []
    for group in groups.values():
        train += group[:shots]
        dev += group[shots:needed]
        largest = max(largest, len(group))

    if largest < needed:
        raise ValueError(
            f"task {task.name}: data seed {data_seed} needs {shots} train "
            f"and {shots} dev rows (of a label, for cls), "
            f"{largest} are there; lower --shots"
        )
    return FewShot(
        train=tuple(train),
        dev=tuple(dev),
        test=task.test,
    )


def _given_sets(task: Task, data_seed: int, shots: int | None) -> FewShot:
    """Return the task's own sets: all of their rows, or the first K of each label."""
    if data_seed not in task.sets:
        seeds = ", ".join(map(str, task.sets))
        raise ValueError(f"task {task.name} has sets for the data seeds {seeds}, found {data_seed}")
    given = task.sets[data_seed]
    return FewShot(
        train=_first_of_each(task, given.train, shots, "train"),
        dev=_first_of_each(task, given.dev, shots, "dev"),
        test=task.test,
    )


def _first_of_each(
    task: Task,
    indices: Iterable[int],
    shots: int | None,
    part: str,
) -> tuple[Example, ...]:
    """Return the first K rows of each label of a set, in its order; all rows where K is None."""
    rows = [task.examples[index] for index in indices]
    if shots is None:
        return tuple(rows)
    chosen = _Set(shots)
    for row in rows:
        label = _label_of(task, row)
        if chosen.has_room(label):
            chosen.add(row, label)
    largest = max(chosen.counts.values())
    if largest < shots:
        raise ValueError(
            f"task {task.name}: its own {part} set has at most {largest} rows of a label, "
            f"found --shots {shots}; leave --shots out to take all {len(rows)}"
        )
    return tuple(chosen.rows)


def _draw(task: Task, data_seed: int, shots: int, taken: set[str]) -> _Draw:
    """Fill train and dev label by label, in the order of the seed's hash.

    taken: keys of the entities that other sets have.
    """
    # Ordered by hash and not by a generator: a row that is added or removed moves no other.
    candidates = []
    for example in task.examples:
        if example.key not in taken:
            candidates.append(example)
    candidates.sort(key=lambda example: _draw_order(task, data_seed, example))

    # Train is filled before dev: where a task is short of rows, dev is what is short.
    train = _Set(shots)
    dev = _Set(shots)
    set_of_entity: dict[str, _Set] = {}
    for example in candidates:
        label = _label_of(task, example)
        for drawn_set in (train, dev):
            # All rows of an entity go where its first row went, or nowhere.
            owner = set_of_entity.get(example.key, drawn_set)
            if owner is drawn_set and drawn_set.has_room(label):
                drawn_set.add(example, label)
                set_of_entity[example.key] = drawn_set
                break

    # A set that is short of rows would make K mean something else for this task.
    for label in _labels(task):
        if train.has_room(label) or dev.has_room(label):
            _raise_too_few(task, data_seed, label, train, dev)
    return _Draw(
        train=tuple(train.rows),
        dev=tuple(dev.rows),
    )


def _raise_too_few(
    task: Task,
    data_seed: int,
    label: str,
    train: _Set,
    dev: _Set,
) -> NoReturn:
    """Raise ValueError that says how many rows of a label train and dev got."""
    shots = train.shots
    of_label = f" of label {label!r}" if label else ""
    others = ""
    if data_seed != SAME_DATA_SEED:
        others = f" and data seed {SAME_DATA_SEED}'s rows"
    raise ValueError(
        f"task {task.name}: data seed {data_seed} needs {shots} train and {shots} dev rows"
        f"{of_label} beside the test set{others}, "
        f"and {train.counts[label]} and {dev.counts[label]} are left; "
        "use a smaller --shots or add rows"
    )


def _keys(examples: Iterable[Example]) -> set[str]:
    return {example.key for example in examples}


def _labels(task: Task) -> tuple[str, ...]:
    """Return the labels of a cls task; all rows of any other kind have the one label ""."""
    # With a single label for tasks without, one loop over labels serves both kinds.
    if task.category == "cls" and task.options:
        return task.options
    return ("",)


def _label_of(task: Task, example: Example) -> str:
    # The answer that is trained on, where several are accepted.
    return example.output[0] if task.category == "cls" else ""


def _test_order(task: Task, example: Example) -> tuple[str, str]:
    # Rows of one entity follow each other: the second hash orders them among themselves.
    return _hash("test", task.name, example.key), _hash(example.input)


def _draw_order(task: Task, data_seed: int, example: Example) -> str:
    return _hash("draw", task.name, str(data_seed), example.key, example.input)


# sha256 and not hash(): Python's own differs from process to process.
def _hash(*parts: str) -> str:
    text = "|".join(parts)
    return hashlib.sha256(text.encode()).hexdigest()
