"""Examples, tasks, and the few-shot sets drawn from them.

The paper (section 4.1) takes K = 16 examples per class for classification and 32 examples otherwise, a dev set of the same
size, and a test set that all draws share. Here the test set is chosen by a hash, whatever the seed; data seed 100 ("same")
draws first from the rest, and every other data seed ("diff") draws from what seed 100 left: no row and no entity is shared.
A task that brings its own test set and draws (CrossFit's) keeps them; its data seeds may then share rows, as in the paper.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

SAME_DATA_SEED = 100
DIFF_DATA_SEED = 21
TEST_ROWS, FEW_TEST_ROWS = 100, 50
METRICS = (
    "accuracy", "macro-F1", "exact-match", "rouge-L", "squad-EM", "squad-F1", "matthews", "pearson", "bleu", "published-F1",
)  # fmt: skip
CATEGORIES = ("cls", "non-cls")
NAME_PATTERN = re.compile(r"\w[\w.+-]{0,99}")  # of a task or a run: it becomes the name of a file or folder, and never leaves its own


@dataclass(frozen=True)
class Example:
    """One row of a task: bare input, accepted outputs (the first is trained on), and the entity it is about."""

    input: str
    output: tuple[str, ...]
    entity: str = ""

    @property
    def key(self) -> str:
        """What must not be shared between train, dev and test: the entity, else the input (case and spacing ignored)."""
        return self.entity or " ".join(self.input.casefold().split())

    @property
    def line(self) -> str:
        """The row as the task's digest reads it."""
        return "\t".join((self.input, self.entity, *self.output))


@dataclass(frozen=True)
class Task:
    """A text-to-text task in the one schema of all tasks.

    test: the task's own test set; empty: one is chosen among `examples`.
    draws: for a task with its own test set, each data seed's order of `examples`, as indices; train and dev are filled from it.
    """

    name: str
    category: str
    subcategory: str
    metric: str
    definition: str
    examples: tuple[Example, ...] = field(repr=False)
    options: tuple[str, ...] | None = None
    novel: bool = False
    knowledge: bool = False
    source: str = ""
    family: str = ""
    test: tuple[Example, ...] = field(default=(), repr=False)
    draws: Mapping[int, Sequence[int]] = field(default_factory=dict, repr=False, hash=False)

    @classmethod
    def from_dict(cls, record: dict[str, Any], where: str = "task") -> "Task":
        """Build a task from the schema's JSON object; raise ValueError naming `where` and the field that is wrong."""
        for name in ("name", "category", "metric", "examples"):
            if not record.get(name):
                raise ValueError(f"{where}: field '{name}' is missing or empty")
        if not isinstance(record["name"], str) or not NAME_PATTERN.fullmatch(record["name"]):
            raise ValueError(
                f"{where}: a name is up to 100 letters, digits and . _ + - (files are named after it), found {record['name']!r:.60}"
            )
        if record["category"] not in CATEGORIES:
            raise ValueError(f"{where}: category must be one of {', '.join(CATEGORIES)}, found {record['category']!r}")
        if record["metric"] not in METRICS:
            raise ValueError(f"{where}: metric must be one of {', '.join(METRICS)}, found {record['metric']!r}")
        options = tuple(record["options"]) if record.get("options") else None
        if record["category"] == "cls" and not options:
            raise ValueError(f"{where}: a cls task needs 'options', the list of its labels")
        examples = tuple(_example(row, options, f"{where}: example {i + 1}") for i, row in enumerate(record["examples"]))
        test = tuple(_example(row, options, f"{where}: test example {i + 1}") for i, row in enumerate(record.get("test") or ()))
        for part, rows in (("example", examples), ("test example", test)):
            for i, row in enumerate(rows if record["metric"] == "pearson" else (), 1):
                if not _is_number(row.output[0]):
                    raise ValueError(f"{where}: {part} {i}: the metric pearson needs numbers as outputs, found {row.output[0]!r:.60}")
        draws = _draws(record.get("draws") or {}, len(examples), where)
        if bool(test) != bool(draws):
            raise ValueError(f"{where}: 'test' and 'draws' belong together, found only {'test' if test else 'draws'}")
        text = {name: str(record.get(name) or "") for name in ("subcategory", "definition", "source")}
        family = str(record.get("family") or record["name"])
        flags = {name: bool(record.get(name)) for name in ("novel", "knowledge")}
        return cls(
            name=record["name"], category=record["category"], metric=record["metric"], examples=examples, options=options,
            family=family, test=test, draws=draws, **text, **flags,  # type: ignore[arg-type]
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Return the schema's JSON object."""
        names = ("name", "category", "subcategory", "metric", "definition", "novel", "knowledge", "source", "family")
        options = list(self.options) if self.options else None
        record = {name: getattr(self, name) for name in names} | {"options": options, "examples": _rows(self.examples)}
        own = {"test": _rows(self.test), "draws": {str(seed): list(order) for seed, order in self.draws.items()}}
        return record | own if self.test else record

    @cached_property
    def digest(self) -> str:
        """sha256 over everything that a result depends on: fields, rows and their order."""
        lines = [self.name, self.category, self.metric, self.definition, "|".join(self.options or ())]
        lines += [e.line for e in self.examples]
        if self.test:
            lines.append(f"test {len(self.test)}")  # where they begin: a row may move from one set to the other
            lines += [e.line for e in self.test]
        lines += [f"{seed}:{','.join(map(str, order))}" for seed, order in sorted(self.draws.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @cached_property
    def is_small(self) -> bool:
        """True where the entities are too few for the full sets: then K = 16, and 50 test rows."""
        if self.test:
            return False
        full = 64 * len(self.options) + TEST_ROWS if self.options and self.category == "cls" else 128 + TEST_ROWS
        return len({e.key for e in self.examples}) < full

    @property
    def default_shots(self) -> int:
        """K: 16 per class, or 32 rows of a non-cls task (16 of a small one)."""
        return 16 if self.category == "cls" or self.is_small else 32


@dataclass(frozen=True)
class TaskSplit:
    """Which tasks MSF sees, which it never sees, and which of those are of the other kind (section 4.1).

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


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _rows(examples: Sequence[Example]) -> list[dict[str, Any]]:
    return [{"input": e.input, "output": list(e.output), "entity": e.entity} for e in examples]


def _draws(record: Any, count: int, where: str) -> dict[int, tuple[int, ...]]:
    """Read each data seed's order of examples; raise ValueError where it is none."""
    if not isinstance(record, dict) or not all(str(seed).isdigit() for seed in record):
        raise ValueError(f"{where}: 'draws' must give a list of example numbers for each data seed")
    for seed, order in record.items():
        whole = isinstance(order, list | tuple) and all(isinstance(i, int) and 0 <= i < count for i in order)
        if not whole or len(set(order)) < len(order):
            raise ValueError(f"{where}: draw {seed} must list different numbers from 0 to {count - 1}")
    return {int(seed): tuple(order) for seed, order in record.items()}


def _example(row: Any, options: Sequence[str] | None, where: str) -> Example:
    if not isinstance(row, dict) or not isinstance(row.get("input"), str) or not row["input"].strip():
        raise ValueError(f"{where}: 'input' must be a text that is not empty")
    output = row.get("output")
    if isinstance(output, str):
        output = [output]
    if not isinstance(output, list | tuple) or not output or not all(isinstance(o, str) and o.strip() for o in output):
        raise ValueError(f"{where}: 'output' must be a list of texts that are not empty")
    if options and output[0] not in options:
        raise ValueError(f"{where}: label {output[0]!r} is not among the options {list(options)}")
    return Example(row["input"], tuple(output), str(row.get("entity") or ""))


def digest_of(tasks: Sequence[Task], *more: str) -> str:
    """Return a short digest of these tasks' rows and of what else is given."""
    return hashlib.sha256("".join([*(t.digest for t in tasks), *more]).encode()).hexdigest()[:12]
