"""Tasks in one schema, and the split into tasks that MSF sees and tasks that it does not.

A task is a list of examples (`ipt.example`), text in and accepted answers out, with its metric.
Classification tasks name their labels in `options`, tagging tasks their tags. Few-shot sets are
drawn from a task by `ipt.fewshot`; the tasks of a paper may bring a test set and draws of their
own.

Source of categories, shots and splits: Qin et al., arXiv 2110.07867, section 4.1.
"""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ipt.example import (
    CATEGORIES,
    POSITIVE,
    Example,
    check_writable,
    read_examples,
    tags_of,
    write_examples,
)

# Few-shot sets that the deltas of MSF are tuned on, and other ones of the same tasks.
SAME_DATA_SEED = 100
DIFF_DATA_SEED = 21

# Held-out rows that every score of a task is the mean over.
TEST_ROWS = 100
FEW_TEST_ROWS = 50  # of a small task

# K of the paper: for each label of a classification task, and in all for any other task.
SHOTS_PER_LABEL = 16
SHOTS = 32
SMALL_TASK_SHOTS = 16
DRAWN_SETS = 4  # train and dev, of two data seeds that share no row

# The names that a task file may give; ipt.metrics.SCORERS has a function for each.
METRICS = (
    "accuracy",
    "macro-F1",
    "exact-match",
    "rouge-L",
    "squad-EM",
    "squad-F1",
    "matthews",
    "pearson",
    "bleu",
    "published-F1",
    "entity-F1",
    "tag-accuracy",
    "F1a",
    "group-EM",
)
# What belongs to one kind of task only.
TAG_METRICS = ("entity-F1", "tag-accuracy")
CLS_METRICS = ("F1a", "group-EM")

# Files and folders are named after tasks and runs: without a leading dot and without a slash,
# a name never points out of its folder.
NAME_PATTERN = re.compile(r"\w[\w.+-]{0,99}")
# Of a name in UTF-8. File systems take 255, and files are written under longer names first.
MOST_NAME_BYTES = 200
# Fields that are texts where they are given.
TEXT_FIELDS = ("category", "subcategory", "metric", "definition", "source", "family")
# Fields that are true or false; JSON written by hand has "no", too, which would count as true.
TRUTH_FIELDS = ("novel", "knowledge")
SEED_DIGITS = 18  # of the data seed of a draw


class DrawnSets(NamedTuple):
    """The train and dev set of a data seed, as indices of a task's examples."""

    train: tuple[int, ...]
    dev: tuple[int, ...]


def stratum(novel: bool, knowledge: bool) -> str:
    """Return a task's stratum: novel (also where it needs facts), knowledge or rule."""
    if novel:
        return "novel"
    return "knowledge" if knowledge else "rule"


@dataclass(frozen=True)
class Task:
    """A task in the one schema of all tasks.

    test: the task's own test set; empty: one is chosen among `examples`.
    draws: for a task with its own test set, the order of `examples` of each data seed, as indices;
        train and dev are filled from it.
    sets: in place of draws, whole train and dev sets of each data seed.
    Without both, train and dev are drawn by `ipt.fewshot`.
    """

    name: str
    category: str
    subcategory: str
    metric: str
    definition: str  # the instruction in words, never part of the input
    examples: tuple[Example, ...] = field(repr=False)
    options: tuple[str, ...] | None = None  # the labels of a cls task, the tags of a tags task
    novel: bool = False  # never in the embedded backbone's pre-training
    knowledge: bool = False  # needs facts that examples cannot teach
    source: str = ""
    family: str = ""  # tasks of one family are made alike; a split keeps them together
    test: tuple[Example, ...] = field(default=(), repr=False)
    draws: Mapping[int, Sequence[int]] = field(default_factory=dict, repr=False, hash=False)
    sets: Mapping[int, DrawnSets] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_dict(cls, record: dict[str, Any], where: str = "task") -> "Task":
        """Build a task from the schema's JSON object.

        where: what the record is, for errors.
        Raises ValueError that begins with `where` and names the field that is wrong.
        """
        # Checks run from the whole to the parts, so that the first error is the one to mend first.
        _check_fields(record, where)
        options = tuple(record["options"]) if record.get("options") else None
        for option in options or ():
            check_writable(option, f"{where}: an option")
        if record["category"] == "cls" and not options:
            raise ValueError(f"{where}: a cls task needs 'options', the list of its labels")

        _check_list(record, "examples", where)
        _check_list(record, "test", where)
        category = record["category"]
        metric = record["metric"]
        examples = read_examples(
            record["examples"],
            category=category,
            metric=metric,
            options=options,
            where=f"{where}: example",
        )
        # A published test set may have tags that nobody can learn; they count as wrong.
        test = read_examples(
            record.get("test") or (),
            category=category,
            metric=metric,
            options=None if category == "tags" else options,
            where=f"{where}: test example",
        )
        if category == "tags" and not options:
            options = tags_of(examples)
        _check_metric(metric, examples, options, f"{where}: example")
        _check_metric(metric, test, options, f"{where}: test example")

        draws = _read_draws(record.get("draws") or {}, len(examples), where)
        sets = _read_sets(record.get("sets") or {}, len(examples), where)
        # Draws that were published are nothing without the test set that they leave alone.
        if (draws or sets) and not test:
            raise ValueError(f"{where}: 'draws' and 'sets' need the task's own 'test' set")
        if draws and sets:
            raise ValueError(f"{where}: a task has 'draws' or 'sets', found both")

        # null and a missing field mean the same: JSON written by hand has both.
        return cls(
            name=record["name"],
            category=category,
            subcategory=str(record.get("subcategory") or ""),
            metric=metric,
            definition=str(record.get("definition") or ""),
            examples=examples,
            options=options,
            novel=bool(record.get("novel")),
            knowledge=bool(record.get("knowledge")),
            source=str(record.get("source") or ""),
            family=str(record.get("family") or record["name"]),
            test=test,
            draws=draws,
            sets=sets,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the schema's JSON object."""
        record: dict[str, Any] = {
            "name": self.name,
            "category": self.category,
            "subcategory": self.subcategory,
            "metric": self.metric,
            "definition": self.definition,
            "novel": self.novel,
            "knowledge": self.knowledge,
            "source": self.source,
            "family": self.family,
            "options": list(self.options) if self.options else None,
            "examples": write_examples(self.examples),
        }
        if self.test:
            record["test"] = write_examples(self.test)
            record["draws"] = {str(seed): list(order) for seed, order in self.draws.items()}
        if self.sets:
            record["sets"] = {}
            for seed, drawn in self.sets.items():
                record["sets"][str(seed)] = {"train": list(drawn.train), "dev": list(drawn.dev)}
        return record

    @cached_property
    def digest(self) -> str:
        """sha256 over everything that a result depends on: fields, rows and their order."""
        # Saved deltas and scores are found by this digest: a change here orphans them all.
        lines = [
            self.name,
            self.category,
            self.metric,
            self.definition,
            "|".join(self.options or ()),
        ]
        for example in self.examples:
            lines.append(example.line)
        if self.test:
            # The count marks where the test set begins: a row may move from one set to the other.
            lines.append(f"test {len(self.test)}")
            for example in self.test:
                lines.append(example.line)
        for seed, order in sorted(self.draws.items()):
            indices = ",".join(map(str, order))
            lines.append(f"{seed}:{indices}")
        for seed, drawn in sorted(self.sets.items()):
            train = ",".join(map(str, drawn.train))
            dev = ",".join(map(str, drawn.dev))
            lines.append(f"{seed}:{train}|{dev}")
        text = "\n".join(lines)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def is_small(self) -> bool:
        """True where the entities are too few for the full sets: then K = 16, and 50 test rows."""
        if self.test:
            return False
        set_size = SHOTS
        if self.options and self.category == "cls":
            set_size = SHOTS_PER_LABEL * len(self.options)
        # Sets must not share an entity, so entities are counted, and not rows. All four drawn sets
        # and the test set must fit in beside each other.
        entities = {example.key for example in self.examples}
        return len(entities) < DRAWN_SETS * set_size + TEST_ROWS

    @property
    def default_shots(self) -> int:
        """K: 16 per label of a cls task, or 32 rows of any other (16 of a small one)."""
        if self.category == "cls":
            return SHOTS_PER_LABEL
        return SMALL_TASK_SHOTS if self.is_small else SHOTS


@dataclass(frozen=True)
class TaskSplit:
    """Which tasks MSF sees, which it never sees, and which are of the other kind (section 4.1).

    new_subcategories: the unseen tasks whose subcategory no seen task has.
    """

    name: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    out_of_kind: tuple[str, ...] = ()
    new_subcategories: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every task of the split, seen first."""
        return self.seen + self.unseen + self.out_of_kind


def digest_of(tasks: Sequence[Task], *more: str) -> str:
    """Return a short digest of the rows of these tasks and of what else is given."""
    # 12 of 64 digits: it names files, and 48 bits tell the sets of one study apart.
    digests = [task.digest for task in tasks]
    text = "".join([*digests, *more])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def field_problems(record: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield each required field that is missing, and each value that no task can have."""
    for field_name in ("name", "category", "metric", "examples"):
        if not record.get(field_name):
            yield f"{where}: field '{field_name}' is missing or empty"
    if record.get("name"):
        yield from _name_problems(record["name"], where)
    for field_name in TRUTH_FIELDS:
        value = record.get(field_name)
        if value is not None and not isinstance(value, bool):
            yield f"{where}: field '{field_name}' must be true or false, found {value!r:.60}"

    category = record.get("category")
    if category and category not in CATEGORIES:
        expected = ", ".join(CATEGORIES)
        yield f"{where}: category must be one of {expected}, found {category!r:.60}"

    metric = record.get("metric")
    if metric and metric not in METRICS:
        expected = ", ".join(METRICS)
        yield f"{where}: metric must be one of {expected}, found {metric!r:.60}"
    for names, owner in ((TAG_METRICS, "tags"), (CLS_METRICS, "cls")):
        if metric in names and category in CATEGORIES and category != owner:
            yield f"{where}: the metric {metric} is for category {owner}, found {category}"


def _name_problems(name: Any, where: str) -> Iterator[str]:
    """Yield what is wrong with a task's name: files of saved deltas are named after it."""
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        yield (
            f"{where}: a name is up to 100 letters, digits and . _ + - "
            f"(files are named after it), found {name!r:.60}"
        )
        return
    size = len(name.encode())
    if size > MOST_NAME_BYTES:
        yield (
            f"{where}: a name is up to {MOST_NAME_BYTES} bytes of UTF-8 (files are named after "
            f"it), found {size}; write fewer letters"
        )


def _check_fields(record: Mapping[str, Any], where: str) -> None:
    """Raise ValueError with the first field that is missing or wrong."""
    for problem in field_problems(record, where):
        raise ValueError(problem)
    for field_name in TEXT_FIELDS:
        check_writable(record.get(field_name), f"{where}: field '{field_name}'")


def _check_list(record: Mapping[str, Any], name: str, where: str) -> None:
    """Raise ValueError where a field that holds rows is no list of them."""
    value = record.get(name) or []
    if not isinstance(value, list | tuple):
        kind = type(value).__name__
        raise ValueError(f"{where}: field '{name}' must be a list of examples, found {kind}")


def _check_metric(
    metric: str,
    examples: Sequence[Example],
    options: Sequence[str] | None,
    where: str,
) -> None:
    """Raise ValueError where the metric has nothing to count in these rows."""
    if metric == "pearson":
        _check_numbers(examples, where)
    if metric == "F1a" and not any(option.lower() in POSITIVE for option in options or ()):
        raise ValueError(
            f"{where.removesuffix('example').rstrip()} the metric F1a needs an option "
            f"{', '.join(POSITIVE)}, found {list(options or ())!s:.100}"
        )
    if metric == "group-EM":
        for number, example in enumerate(examples, start=1):
            if not example.group:
                raise ValueError(f"{where} {number}: the metric group-EM needs 'group'")


def _check_numbers(examples: Sequence[Example], where: str) -> None:
    """Raise ValueError where the first answer of a row is no finite number."""
    for number, example in enumerate(examples, start=1):
        answer = example.output[0]
        if not _is_number(answer):
            raise ValueError(
                f"{where} {number}: the metric pearson needs numbers as outputs, "
                f"found {answer!r:.60}"
            )


def _is_number(text: str) -> bool:
    try:
        # float() also reads "nan" and "inf", which have no correlation with anything.
        return math.isfinite(float(text))
    except ValueError:
        return False


def _read_draws(record: Any, count: int, where: str) -> dict[int, tuple[int, ...]]:
    """Read the order of examples of each data seed; raise ValueError where it is none.

    record: a list of indices for each data seed, which JSON gives as a text.
    count: how many examples there are.
    """
    if not isinstance(record, dict) or not all(map(_is_seed, record)):
        raise ValueError(f"{where}: 'draws' must give a list of example numbers for each data seed")
    draws = {}
    for seed, order in record.items():
        if not _is_order(order, count):
            raise ValueError(
                f"{where}: draw {seed} must list different numbers from 0 to {count - 1}"
            )
        draws[int(seed)] = tuple(order)
    return draws


def _read_sets(record: Any, count: int, where: str) -> dict[int, DrawnSets]:
    """Read train and dev of each data seed; raise ValueError where they are none.

    record: {"train": [...], "dev": [...]} for each data seed, lists of indices.
    count: how many examples there are.
    """
    if not isinstance(record, dict) or not all(map(_is_seed, record)):
        raise ValueError(f"{where}: 'sets' must give 'train' and 'dev' for each data seed")
    sets = {}
    for seed, drawn in record.items():
        drawn = drawn if isinstance(drawn, dict) else {}
        train = drawn.get("train")
        dev = drawn.get("dev")
        # One list of different numbers: no row is in both.
        both = [*train, *dev] if isinstance(train, list) and isinstance(dev, list) else None
        if not train or not dev or not _is_order(both, count):
            raise ValueError(
                f"{where}: sets {seed} must list 'train' and 'dev', different numbers from 0 to "
                f"{count - 1}"
            )
        sets[int(seed)] = DrawnSets(tuple(train), tuple(dev))
    return sets


def _is_seed(text: Any) -> bool:
    digits = str(text)
    return digits.isascii() and digits.isdigit() and len(digits) <= SEED_DIGITS


def _is_order(order: Any, count: int) -> bool:
    """Say whether this is a list of different indices below `count`."""
    if not isinstance(order, list | tuple):
        return False
    for index in order:
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
            return False
    # A row listed twice could be drawn into train and dev.
    return len(set(order)) == len(order)
