"""The tasks of CrossFit (Ye et al., EMNLP 2021) over public data sets: the paper's 120, and 38 of the other 40.

One line of `crossfit.tsv` says where a task's rows are and how they become inputs and answers; this is its only reader. Facts
come from CrossFit's scripts, task splits from the paper's repository. The five data seeds are drawn as published (NumPy's shuffle
of all training lines, then K per label or K in all), so that they may share rows with each other, not with the test set. What is a
fault in the scripts is mended: swapped or missing labels' names, missing separators, answers in the order of a set, rows broken by
line ends, F1 over answers that are no labels. `as_published` restores it, but not the order of sets, which no two runs shared, nor
broken rows. White space becomes single spaces (as published: tabs and line ends become spaces, the rest stays). Rows with an empty
input or answer are left out.

The hub was out of reach when this was written: the table was tested on written rows in each data set's fields, reading on a
stand-in for the hub; names of data sets are from memory. `checked` says `real` where options, metric and form of answer were also
compared with data of that task from elsewhere, `schema only` where not. Today's data sets may hold their rows in another order than
in 2021, and then other rows are drawn.

Memory and time: only drawn rows and the test set become examples; of the others a cls task reads the label and nothing else
(seconds for most; 30 seconds for each 400 000 rows of discovery, which has 174 labels). `datasets` keeps the tables on disk.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import filter as matching
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ipt.data import Example, Task, TaskSplit
from ipt.tasks.readers import tables
from ipt.tasks.suites.crossfit_shapes import FILTERS, SEED, SHAPES
from ipt.tasks.suites.embedded import known

TABLE = Path(__file__).with_name("crossfit.tsv")
DATA_SEEDS = (100, 13, 21, 42, 87)
MOST_SHOTS = 64  # K up to this can be drawn: train and dev of 64 rows per label, or in all
SMALLER = ("20", "40", "60", "80")  # seen tasks of the paper's smaller random splits
SLICE = re.compile(r"(train|test)\[(\d+%?)?:(\d+%?)?\]")
LEAD = "crossfit/"
LIST = "ipt tasks list --tasks crossfit"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class TaskDefinition:
    """A line of the table; every cell is a text.

    path, config, revision: the hub's data set, "" where it is gone; train, test: its splits; held_out: slices after a shuffle
    with seed 42, the last one is the test set. input: a template; output, keep: expressions over a row; shape: see
    `crossfit_shapes`. published_*: the released script's, where it differs. random, cls_split, noncls_split: the side in the
    paper's splits; smaller: its random splits of 20 to 80 tasks.
    """

    task: str
    path: str
    config: str
    revision: str
    train: str
    test: str
    held_out: str
    category: str
    kind: str
    metric: str
    input: str
    output: str
    options: str
    keep: str
    shape: str
    published_input: str
    published_options: str
    published_metric: str
    random: str
    smaller: str
    cls_split: str
    noncls_split: str
    family: str
    checked: str
    note: str

    def part(self, name: str, as_published: bool) -> str:
        """Return input, output, options or metric, as published where that differs and is wanted."""
        published: str = getattr(self, f"published_{name}", "") if as_published else ""
        own: str = getattr(self, name)
        return published or own


@cache
def definitions() -> dict[str, TaskDefinition]:
    """Return the table's lines by task."""
    with TABLE.open(encoding="utf8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    columns = [f.name for f in fields(TaskDefinition)]
    if wrong := [line["task"] for line in lines if list(line) != columns or None in line.values()]:
        raise ValueError(f"{TABLE}: every line needs the columns {', '.join(columns)}; not so: {', '.join(wrong[:5])}")
    return {line["task"]: TaskDefinition(**line) for line in lines}


def names() -> tuple[str, ...]:
    """Return the name of every task of the table, in alphabetical order."""
    return tuple(definitions())


def split_names() -> tuple[str, ...]:
    """Return the names of the paper's task splits."""
    return ("random-100", *(f"random-{size}" for size in SMALLER), "cls-35", "non-cls-35")


def split(name: str) -> TaskSplit:
    """Return a task split of the paper; its smaller random ones are draws of their own, with the same 20 unseen tasks."""
    known(name, split_names(), "CrossFit task split")
    kind, size = name.rsplit("-", 1)
    column = {"random": "random", "cls": "cls_split", "non-cls": "noncls_split"}[kind]
    sides: dict[str, list[str]] = {"seen": [], "unseen": [], "out": []}
    for definition in definitions().values():
        side = getattr(definition, column)
        if side and (side != "seen" or size not in SMALLER or size in definition.smaller.split()):
            sides[side].append(definition.task)
    seen = {definitions()[task].category for task in sides["seen"]}
    new = tuple(task for task in sides["unseen"] if definitions()[task].category not in seen)
    return TaskSplit(f"crossfit-{name}", tuple(sides["seen"]), tuple(sides["unseen"]), tuple(sides["out"]), new)


def named(source: str) -> tuple[TaskSplit | None, tuple[str, ...]]:
    """Return the split that `--tasks` names, if it names one, and all its tasks.

    source: crossfit/ before a split, `all` or names with * and ?; after a comma more of these, or with a minus what to leave out.
    """
    words = [word.strip().replace(LEAD, "", 1) for word in source.split(",") if word.strip()]
    wanted, without = [w for w in words if w[0] != "-"], [w[1:] for w in words if w[0] == "-"]
    absent = {name for word in without for name in _matching(word)}
    if len(wanted) == 1 and wanted[0] in split_names():
        found = split(wanted[0])
        fewer = len(absent.intersection(found.all))
        parts = (found.seen, found.unseen, found.out_of_kind, found.new_subcategories)
        left = (tuple(name for name in part if name not in absent) for part in parts)
        chosen = TaskSplit(found.name + f"-less-{fewer}" * bool(fewer), *left)
        return chosen, chosen.all
    several = (split(w).all if w in split_names() else names() if w == "all" else _matching(w) for w in wanted)
    every = tuple(dict.fromkeys(name for part in several for name in part if name not in absent))
    if not every:
        raise ValueError(f"--tasks {source} leaves no task; say {LEAD}all, a split or names before what is left out")
    return None, every


def _matching(word: str) -> Sequence[str]:
    return matching(names(), word) or [known(word, (*split_names(), *names()), "CrossFit task or task split", LIST)]


def load(wanted: Iterable[str], as_published: bool = False) -> tuple[Task, ...]:
    """Return the tasks of these names; raise one ValueError that lists all that cannot be had."""
    chosen = [definitions()[known(name, names(), "CrossFit task", LIST)] for name in wanted]
    remedy = "leave them out (--tasks crossfit/random-100,-NAME) or give their rows as task files of your own"
    if gone := [f"{d.task} ({d.note})" for d in chosen if not d.path]:
        raise ValueError(f"no data set of the hub has the rows of {', '.join(gone)}; {remedy}")
    found, failed = [], {}
    for d in chosen:
        try:
            found.append(build(d, _read(d, d.train), _read(d, d.test), as_published))
        except ValueError as error:
            failed[f"{d.task} ({d.path})"] = str(error)
    if failed:
        cause = next(iter(failed.values()))
        raise ValueError(f"{len(failed)} of {len(chosen)} tasks cannot be had: {', '.join(failed)}; the first: {cause}; or {remedy}")
    return tuple(found)


def _read(definition: TaskDefinition, part: str) -> Sequence[Row]:
    """Return a split's rows from the hub, or from what was downloaded."""
    source, d = f"CrossFit task {definition.task}", definition
    if not part:
        return ()
    if d.revision:
        converted: Sequence[Row] = tables.read_converted(source, d.path, d.revision, f"{d.config or '*'}/{part}/*.parquet")
        return converted
    rows: Sequence[Row] = tables.read(source, d.path, part, {"name": d.config or None})
    return rows


def build(definition: TaskDefinition, train_rows: Sequence[Row], test_rows: Sequence[Row], as_published: bool = False) -> Task:
    """Return the task over rows in the hub's fields: its test set, and of the training rows those that a data seed may draw."""
    reader = _Reader(definition, as_published)
    lines = {"train": reader.lines(train_rows), "test": reader.lines(test_rows)}
    train, test = _held_out(definition.held_out, lines)
    labels = reader.labels(train) if definition.kind == "cls" else [""] * len(train)
    orders = {seed: _first(_shuffled(len(train), seed), labels) for seed in DATA_SEEDS}
    drawn = {i: example for i in sorted(set().union(*orders.values())) if (example := reader.example(train[i]))}
    place = {i: position for position, i in enumerate(drawn)}
    options = definition.part("options", as_published)
    task = Task(
        name=definition.task, category=definition.kind, subcategory=definition.category, definition="",
        metric=definition.part("metric", as_published), examples=tuple(drawn.values()),
        options=tuple(options.split(" | ")) if options else None, source=definition.path, family=definition.family,
        test=tuple(example for row in test if (example := reader.example(row))),
        draws={seed: tuple(place[i] for i in order if i in place) for seed, order in orders.items()},
    )  # fmt: skip
    if not task.test or not task.examples:
        raise ValueError(f"CrossFit task {task.name}: {len(train)} training and {len(test)} test rows are not enough")
    return task


def _shuffled(count: int, seed: int) -> list[int]:
    """Return 0 to count - 1 in the order that np.random.seed(seed); np.random.shuffle(list) gives a list of that length."""
    order: list[int] = np.random.RandomState(seed).permutation(count).tolist()
    return order


def _first(order: Iterable[int], labels: Sequence[str]) -> list[int]:
    """Return the first rows of each label in this order, as many as train and dev may take."""
    counts: Counter[str] = Counter()
    found = []
    for i in order:
        counts[labels[i]] += 1
        if counts[labels[i]] <= 2 * MOST_SHOTS:
            found.append(i)
    return found


@dataclass(frozen=True)
class _Lines:
    """Rows of a source in an order of their own, read one at a time."""

    rows: Sequence[Row]
    order: Sequence[int]

    def __iter__(self) -> Iterator[Row]:
        return (self.rows[i] for i in self.order)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, i: int) -> Row:
        return self.rows[self.order[i]]


def _held_out(rule: str, lines: dict[str, _Lines]) -> tuple[_Lines, _Lines]:
    """Cut training and test lines as the rule says; a split that is cut is shuffled first."""
    parts = [_slice(lines[name], start, end) for name, start, end in SLICE.findall(rule)]
    if len(parts) == 2:
        return parts[0], parts[1]
    return lines["train"], parts[0] if parts else lines["test"]


def _slice(lines: _Lines, start: str, end: str) -> _Lines:
    order = _shuffled(len(lines), SEED)
    at = [int(int(t[:-1]) / 100 * len(order)) if t.endswith("%") else int(t or 0) for t in (start, end)]
    return _Lines(lines.rows, [lines.order[i] for i in order[at[0] : at[1] if end else None]])


class _Reader:
    """Turns rows into lines, labels and examples as a definition says."""

    def __init__(self, definition: TaskDefinition, as_published: bool) -> None:
        self.definition, self.as_published = definition, as_published
        self.environment = tables.sandbox(FILTERS)
        labels = definition.part("options", as_published)
        self.options = {"options": dict(enumerate(labels.split(" | ")))} if labels else {}
        self.output = definition.part("output", as_published)
        self.template = self.environment.from_string(definition.part("input", as_published))
        self.expressions = {e: self.environment.compile_expression(e, undefined_to_none=False) for e in (self.output, definition.keep) if e}

    def lines(self, rows: Sequence[Row]) -> _Lines:
        """Return the split's lines: its rows in their shape, those left out that the definition does not keep."""
        if self.definition.shape:
            rows = list(SHAPES[self.definition.shape](rows, self.as_published))
        if not self.definition.keep:
            return _Lines(rows, range(len(rows)))
        narrow = self._narrow(rows, self.definition.keep)
        return _Lines(rows, [i for i, row in enumerate(narrow) if self._value(self.definition.keep, row)])

    def labels(self, lines: _Lines) -> list[str]:
        """Return the label of every line."""
        narrow = self._narrow(lines.rows, self.output)
        if narrow is lines.rows:
            return [self._answers(row)[0] for row in lines]
        kept = set(lines.order)
        found = {i: self._answers(row)[0] for i, row in enumerate(narrow) if i in kept}
        return [found[i] for i in lines.order]

    def example(self, row: Row) -> Example | None:
        """Return a row's example, None where input or answer is empty."""
        try:
            text = self._plain(self.template.render(self._names(row)))
        except self._errors() as error:
            raise self._problem(self.definition.input, row, error) from error
        answers = tuple(answer for answer in self._answers(row) if answer)
        return Example(text, answers) if text and answers else None

    def _answers(self, row: Row) -> list[str]:
        value = self._value(self.output, row)
        return [self._plain(str(v)) for v in value] if isinstance(value, list | tuple) else [self._plain(str(value))]

    def _plain(self, text: str) -> str:
        return re.sub(r"[\n\r\t]", " ", text).strip() if self.as_published else " ".join(text.split())

    def _value(self, expression: str, row: Row) -> Any:
        try:
            value = self.expressions[expression](self._names(row))
            str(value)  # what is undefined says so when it is used
        except self._errors() as error:
            raise self._problem(expression, row, error) from error
        return value

    def _names(self, row: Row) -> dict[str, Any]:
        return {**row, **self.options, "row": row}

    def _narrow(self, rows: Any, expression: str) -> Any:
        """Return a table of `datasets` with those columns only that an expression names: long texts need not be read."""
        from jinja2.meta import find_undeclared_variables

        named = find_undeclared_variables(self.environment.parse("{{" + expression + "}}")) - {"options"}
        return rows.select_columns(sorted(named)) if hasattr(rows, "select_columns") and "row" not in named else rows

    def _errors(self) -> tuple[type[Exception], ...]:
        from jinja2 import TemplateError

        return TemplateError, TypeError, ValueError, IndexError, KeyError

    def _problem(self, rule: str, row: Row, error: Exception) -> ValueError:
        return ValueError(f"CrossFit task {self.definition.task}: {rule!r} cannot be filled ({error}); columns are {', '.join(row)}")
