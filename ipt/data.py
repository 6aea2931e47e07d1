"""Tasks in one schema, and the split into tasks that MSF sees and tasks that it does not.

A task is a list of examples, text in and accepted answers out, with its metric. Classification
tasks name their labels in `options`; all others generate. Few-shot sets are drawn from a task by
`ipt.fewshot`; the tasks of a paper may bring a test set and draws of their own.

Source of categories, shots and splits: Qin et al., arXiv 2110.07867, section 4.1.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

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
)
# What the paper's splits tell apart: classification, and everything else.
CATEGORIES = ("cls", "non-cls")

# Files and folders are named after tasks and runs: without a leading dot and without a slash,
# a name never points out of its folder.
NAME_PATTERN = re.compile(r"\w[\w.+-]{0,99}")
# Of a name in UTF-8. File systems take 255, and files are written under longer names first.
MOST_NAME_BYTES = 200
# Fields that are texts where they are given.
TEXT_FIELDS = ("category", "subcategory", "metric", "definition", "source", "family")
# Fields that are true or false; JSON written by hand has "no", too, which would count as true.
TRUTH_FIELDS = ("novel", "knowledge")
SHOWN_OPTIONS = 200  # characters of the list of options, in an error
SEED_DIGITS = 18  # of the data seed of a draw


@dataclass(frozen=True)
class Example:
    """One row of a task: bare input, accepted outputs (the first is trained on), and its entity."""

    input: str
    output: tuple[str, ...]
    entity: str = ""

    @property
    def key(self) -> str:
        """What train, dev and test must not share: the entity, else the input without case."""
        # Spaces are joined too: a row copied with another line break is the same row.
        return self.entity or " ".join(self.input.casefold().split())

    @property
    def line(self) -> str:
        """The row as the task's digest reads it."""
        return "\t".join((self.input, self.entity, *self.output))


@dataclass(frozen=True)
class Task:
    """A text-to-text task in the one schema of all tasks.

    test: the task's own test set; empty: one is chosen among `examples`.
    draws: for a task with its own test set, the order of `examples` of each data seed, as indices;
        train and dev are filled from it.
    """

    name: str
    category: str
    subcategory: str
    metric: str
    definition: str  # the instruction in words, never part of the input
    examples: tuple[Example, ...] = field(repr=False)
    options: tuple[str, ...] | None = None  # the labels of a cls task
    novel: bool = False  # never in the embedded backbone's pre-training
    knowledge: bool = False  # needs facts that examples cannot teach
    source: str = ""
    family: str = ""  # tasks of one family are made alike; a split keeps them together
    test: tuple[Example, ...] = field(default=(), repr=False)
    draws: Mapping[int, Sequence[int]] = field(default_factory=dict, repr=False, hash=False)

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
            _check_writable(option, f"{where}: an option")
        if record["category"] == "cls" and not options:
            raise ValueError(f"{where}: a cls task needs 'options', the list of its labels")

        _check_list(record, "examples", where)
        _check_list(record, "test", where)
        examples = _read_examples(record["examples"], options, f"{where}: example")
        test = _read_examples(record.get("test") or (), options, f"{where}: test example")
        if record["metric"] == "pearson":
            _check_numbers(examples, f"{where}: example")
            _check_numbers(test, f"{where}: test example")

        # A published test set without its draws (or the other way) is half of what was published:
        # sets drawn here could not be compared with the paper's.
        draws = _read_draws(record.get("draws") or {}, len(examples), where)
        if bool(test) != bool(draws):
            single = "test" if test else "draws"
            raise ValueError(f"{where}: 'test' and 'draws' belong together, found only {single}")

        # null and a missing field mean the same: JSON written by hand has both.
        return cls(
            name=record["name"],
            category=record["category"],
            subcategory=str(record.get("subcategory") or ""),
            metric=record["metric"],
            definition=str(record.get("definition") or ""),
            examples=examples,
            options=options,
            novel=bool(record.get("novel")),
            knowledge=bool(record.get("knowledge")),
            source=str(record.get("source") or ""),
            family=str(record.get("family") or record["name"]),
            test=test,
            draws=draws,
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
            "examples": _write_examples(self.examples),
        }
        if self.test:
            record["test"] = _write_examples(self.test)
            record["draws"] = {str(seed): list(order) for seed, order in self.draws.items()}
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
        """K: 16 per label, or 32 rows of a non-cls task (16 of a small one)."""
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


def _check_fields(record: Mapping[str, Any], where: str) -> None:
    """Raise ValueError where a required field is missing or has a value that no task can have."""
    for field_name in ("name", "category", "metric", "examples"):
        if not record.get(field_name):
            raise ValueError(f"{where}: field '{field_name}' is missing or empty")

    # Files of saved deltas are named after the task.
    name = record["name"]
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name):
        raise ValueError(
            f"{where}: a name is up to 100 letters, digits and . _ + - "
            f"(files are named after it), found {name!r:.60}"
        )
    size = len(name.encode())
    if size > MOST_NAME_BYTES:
        raise ValueError(
            f"{where}: a name is up to {MOST_NAME_BYTES} bytes of UTF-8 (files are named after "
            f"it), found {size}; write fewer letters"
        )
    for field_name in TEXT_FIELDS:
        _check_writable(record.get(field_name), f"{where}: field '{field_name}'")
    for field_name in TRUTH_FIELDS:
        value = record.get(field_name)
        if value is not None and not isinstance(value, bool):
            raise ValueError(
                f"{where}: field '{field_name}' must be true or false, found {value!r:.60}"
            )

    category = record["category"]
    if category not in CATEGORIES:
        expected = ", ".join(CATEGORIES)
        raise ValueError(f"{where}: category must be one of {expected}, found {category!r:.60}")

    metric = record["metric"]
    if metric not in METRICS:
        expected = ", ".join(METRICS)
        raise ValueError(f"{where}: metric must be one of {expected}, found {metric!r:.60}")


def _check_list(record: Mapping[str, Any], name: str, where: str) -> None:
    """Raise ValueError where a field that holds rows is no list of them."""
    value = record.get(name) or []
    if not isinstance(value, list | tuple):
        kind = type(value).__name__
        raise ValueError(f"{where}: field '{name}' must be a list of examples, found {kind}")


class HalfSign(NamedTuple):
    """Half of a sign in a text (a lone surrogate): no file holds it, and no tokenizer reads it."""

    sign: str
    place: int  # from one


def half_sign(text: str) -> HalfSign | None:
    """Return the first half of a sign in a text, None where it has none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return HalfSign(text[error.start], error.start + 1)
    return None


def _check_writable(text: Any, where: str) -> None:
    """Raise ValueError where a text has half of a sign: neither a file nor a tokenizer takes it.

    text: what is no text is another check's.
    where: what the text is, the start of the error.
    """
    if not isinstance(text, str):
        return
    half = half_sign(text)
    if half is not None:
        sign = ascii(half.sign).strip("'")
        raise ValueError(
            f"{where} has a lone surrogate ({sign}, sign {half.place}), which is half of a "
            "sign and no text; write the whole sign or remove it"
        )


def _read_examples(
    rows: Sequence[Any],
    options: Sequence[str] | None,
    where: str,
) -> tuple[Example, ...]:
    """Read the rows of one set; errors name a row by its number, from 1."""
    examples = []
    for number, row in enumerate(rows, start=1):
        examples.append(_read_example(row, options, f"{where} {number}"))
    return tuple(examples)


def _read_example(row: Any, options: Sequence[str] | None, where: str) -> Example:
    """Read one row; raise ValueError where it has no input, no output, or an unknown label."""
    text = row.get("input") if isinstance(row, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"{where}: 'input' must be a text that is not empty")

    # One answer may be given as a plain text.
    output = row.get("output")
    if isinstance(output, str):
        output = [output]
    if not _is_list_of_texts(output):
        raise ValueError(f"{where}: 'output' must be a list of texts that are not empty")
    entity = _read_entity(row.get("entity"), where)
    _check_writable(text, f"{where}: 'input'")
    _check_writable(entity, f"{where}: 'entity'")
    for answer in output:
        _check_writable(answer, f"{where}: 'output'")

    # Only the first answer is trained on; the others are accepted as they are.
    label = output[0]
    if options and label not in options:
        shown = f"{list(options)!s:.{SHOWN_OPTIONS}}"
        raise ValueError(f"{where}: label {label!r:.60} is not among the options {shown}")
    return Example(text, tuple(output), entity)


def _read_entity(value: Any, where: str) -> str:
    """Return a row's entity, "" for none; raise ValueError for what names none."""
    if value is None:
        return ""
    # A number may name an entity, 0 as well as 7.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where}: 'entity' must be a text or a number, found {value!r:.60}")
    return str(value)


def _is_list_of_texts(value: Any) -> bool:
    if not isinstance(value, list | tuple) or not value:
        return False
    return all(isinstance(text, str) and text.strip() for text in value)


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


def _write_examples(examples: Sequence[Example]) -> list[dict[str, Any]]:
    rows = []
    for example in examples:
        row = {"input": example.input, "output": list(example.output), "entity": example.entity}
        rows.append(row)
    return rows
