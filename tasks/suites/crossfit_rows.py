"""From rows in a data set's own fields to CrossFit's examples, drawn as the released scripts draw.

Memory and time: only drawn rows and the test set become examples; of the others a cls task reads
the label and nothing else (seconds for most; 30 seconds for each 400 000 rows of discovery, which
has 174 labels). `datasets` keeps the tables on disk.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ipt.data import Example, Task
from ipt.tasks.readers.templates import sandbox
from ipt.tasks.suites.crossfit_shapes import FILTERS, SEED, SHAPES
from ipt.tasks.suites.crossfit_table import TaskDefinition

DATA_SEEDS = (100, 13, 21, 42, 87)  # of the released scripts
MOST_SHOTS = 64  # K up to this can be drawn: train and dev of 64 rows per label, or in all
SLICE = re.compile(r"(train|test)\[(\d+%?)?:(\d+%?)?\]")  # train[:80%]

Row = Mapping[str, Any]


def build_task(
    definition: TaskDefinition,
    train_rows: Sequence[Row],
    test_rows: Sequence[Row],
    as_published: bool = False,
) -> Task:
    """Return the task: its test set, and the training rows that a data seed may draw.

    train_rows, test_rows: rows in the data set's fields; a table of `datasets` will do.
    as_published: restores the faults of the released script.

    Raises ValueError where a row cannot be read, or none is left.
    """
    reader = RowReader(definition, as_published)
    sets = _hold_out(
        definition.held_out,
        train=reader.lines(train_rows),
        test=reader.lines(test_rows),
    )
    # K counts the rows of a label, or all rows where there are no labels.
    labels = [""] * len(sets.train)
    if definition.kind == "cls":
        labels = reader.labels(sets.train)
    orders: dict[int, list[int]] = {}
    within_reach: set[int] = set()
    for seed in DATA_SEEDS:
        orders[seed] = _draw(labels, seed)
        within_reach.update(orders[seed])

    # Lines that no data seed can reach are never read: some data sets have millions.
    drawn = reader.examples(sets.train, sorted(within_reach))
    test = reader.examples(sets.test, range(len(sets.test)))
    if not test or not drawn:
        raise ValueError(
            f"{definition.source}: {len(sets.train)} training and {len(sets.test)} test rows "
            "are not enough"
        )

    return Task(
        name=definition.task,
        category=definition.kind,
        subcategory=definition.category,
        metric=definition.cell("metric", as_published),
        definition="",
        examples=tuple(drawn.values()),
        options=definition.labels(as_published) or None,
        source=definition.path,
        family=definition.family,
        test=tuple(test.values()),
        draws=_renumber(orders, list(drawn)),
    )


def _draw(labels: Sequence[str], seed: int) -> list[int]:
    """Return the lines that a data seed may take: the first of each label in its order.

    labels: the label of each line, all alike where K counts all lines.
    """
    taken: Counter[str] = Counter()
    drawn = []
    for index in _shuffled(len(labels), seed):
        label = labels[index]
        taken[label] += 1
        # K for train and then K for dev.
        if taken[label] <= 2 * MOST_SHOTS:
            drawn.append(index)
    return drawn


def _renumber(orders: dict[int, list[int]], drawn: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return each data seed's order as numbers of examples, without lines that gave no example.

    orders: by data seed, numbers of lines.
    drawn: the line of each example.
    """
    positions: dict[int, int] = {}
    for position, number in enumerate(drawn):
        positions[number] = position

    draws = {}
    for seed, order in orders.items():
        draw = []
        for number in order:
            if number in positions:
                draw.append(positions[number])
        draws[seed] = tuple(draw)
    return draws


def _shuffled(count: int, seed: int) -> list[int]:
    """Return 0 to count - 1 in the order that the released scripts give a list of that length."""
    # The same as np.random.seed(seed); np.random.shuffle(list), without the generator of all.
    order: list[int] = np.random.RandomState(seed).permutation(count).tolist()
    return order


@dataclass(frozen=True)
class Lines:
    """Rows of a source in an order of their own, read one at a time."""

    rows: Sequence[Row]  # all of the source
    order: Sequence[int]  # numbers of the rows that are lines

    def __iter__(self) -> Iterator[Row]:
        for index in self.order:
            yield self.rows[index]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> Row:
        return self.rows[self.order[number]]


class _Sets(NamedTuple):
    """Lines of the training set and of the test set."""

    train: Lines
    test: Lines


def _hold_out(rule: str, train: Lines, test: Lines) -> _Sets:
    """Cut a source's splits as a rule says; a split that is cut is shuffled first.

    rule: one slice, the test set, or two, training and test set; "" leaves both as they are.
    """
    lines = {"train": train, "test": test}
    slices = []
    for split, start, end in SLICE.findall(rule):
        slices.append(_slice(lines[split], start, end))

    # Two slices share the training split; one is of the test split and leaves the training rows.
    if len(slices) == 2:
        return _Sets(slices[0], slices[1])
    if len(slices) == 1:
        return _Sets(train, slices[0])
    return _Sets(train, test)


def _slice(lines: Lines, start: str, end: str) -> Lines:
    """Return a part of shuffled lines.

    start, end: a number, a share in %, or "" where the slice is open.
    """
    count = len(lines)
    order = _shuffled(count, SEED)
    first = _place(start, count) if start else 0
    last = _place(end, count) if end else count

    # Numbers of lines become numbers of rows: some rows may have been left out before.
    part = []
    for number in order[first:last]:
        part.append(lines.order[number])
    return Lines(lines.rows, part)


def _place(text: str, count: int) -> int:
    """Return where a slice of so many lines begins or ends."""
    if text.endswith("%"):
        share = int(text[:-1]) / 100
        return int(share * count)
    return int(text)


class RowReader:
    """Turns rows into lines, labels and examples as a task's definition says."""

    def __init__(self, definition: TaskDefinition, as_published: bool) -> None:
        self.definition = definition
        self.as_published = as_published
        self.environment = sandbox(FILTERS)
        self.output = definition.cell("output", as_published)
        input_template = definition.cell("input", as_published)
        self.template = self.environment.from_string(input_template)

        # By number and not as a list: number -1, which stands for no label, must be an error.
        self.constants: dict[str, Any] = {}
        labels = definition.labels(as_published)
        if labels:
            self.constants["options"] = dict(enumerate(labels))

        # Compiled once; without `undefined_to_none=False` a missing column would read as None.
        self.expressions = {}
        for expression in (self.output, definition.keep):
            if expression:
                self.expressions[expression] = self.environment.compile_expression(
                    expression,
                    undefined_to_none=False,
                )

    def lines(self, rows: Sequence[Row]) -> Lines:
        """Return a split's lines: its rows in their shape, without those that are not kept."""
        if self.definition.shape:
            shape = SHAPES[self.definition.shape]
            rows = list(shape(rows, self.as_published))
        keep = self.definition.keep
        if not keep:
            return Lines(rows, range(len(rows)))

        # Numbers alone are noted: the other columns of a table are read where they are needed.
        numbers = []
        for number, row in enumerate(self._narrow(rows, keep)):
            if self._value(keep, row):
                numbers.append(number)
        return Lines(rows, numbers)

    def labels(self, lines: Lines) -> list[str]:
        """Return the label of every line."""
        # Rows that are no table stay whole, and are read in the order of the lines.
        narrow = self._narrow(lines.rows, self.output)
        labels = []
        if narrow is lines.rows:
            for row in lines:
                labels.append(self._answers(row)[0])
            return labels

        # A table is read much faster from front to back than row by row in the order of the lines.
        used = set(lines.order)
        label_of_row: dict[int, str] = {}
        for index, row in enumerate(narrow):
            if index in used:
                label_of_row[index] = self._answers(row)[0]
        return [label_of_row[index] for index in lines.order]

    def examples(self, lines: Lines, numbers: Iterable[int]) -> dict[int, Example]:
        """Return the examples of these lines by their number, without empty ones."""
        examples = {}
        for number in numbers:
            example = self._example(lines[number])
            if example is not None:
                examples[number] = example
        return examples

    def _example(self, row: Row) -> Example | None:
        """Return a row's example, None where input or answer is empty."""
        try:
            text = self.template.render(self._variables(row))
        except self._fill_errors() as error:
            raise self._unfilled(self.definition.input, row, error) from error

        text = self._plain(text)
        answers = tuple(filter(None, self._answers(row)))
        # An empty text can neither be trained on nor scored.
        if not text or not answers:
            return None
        return Example(text, answers)

    def _answers(self, row: Row) -> list[str]:
        # An expression gives one answer, or a list of all that are accepted.
        value = self._value(self.output, row)
        values = value if isinstance(value, list | tuple) else [value]
        return [self._plain(str(item)) for item in values]

    def _plain(self, text: str) -> str:
        """Return a text in one line: with single spaces, or as the released scripts write it."""
        # Published rows are lines of a file: a tab or a line end in a text would end a cell.
        if self.as_published:
            return re.sub(r"[\n\r\t]", " ", text).strip()
        return " ".join(text.split())

    def _value(self, expression: str, row: Row) -> Any:
        """Return an expression over a row; raise ValueError where it has none."""
        try:
            value = self.expressions[expression](self._variables(row))
            # What is undefined raises its error when it is used, not before.
            str(value)
        except self._fill_errors() as error:
            raise self._unfilled(expression, row, error) from error
        return value

    def _variables(self, row: Row) -> dict[str, Any]:
        return {**row, **self.constants, "row": row}

    def _narrow(self, rows: Any, expression: str) -> Any:
        """Return a table of `datasets` with the columns alone that an expression names.

        Long texts need not be read then. Other rows are returned as they are.
        """
        from jinja2.meta import find_undeclared_variables

        parsed = self.environment.parse("{{" + expression + "}}")
        columns = find_undeclared_variables(parsed) - {"options"}
        # An expression over `row` may use any column.
        if "row" in columns or not hasattr(rows, "select_columns"):
            return rows
        return rows.select_columns(sorted(columns))

    def _fill_errors(self) -> tuple[type[Exception], ...]:
        from jinja2 import TemplateError

        # All but the first come from the data: a label beyond the options, a null for a text.
        return TemplateError, TypeError, ValueError, IndexError, KeyError

    def _unfilled(self, rule: str, row: Row, error: Exception) -> ValueError:
        return ValueError(
            f"{self.definition.source}: {rule!r} cannot be filled ({error}); "
            f"columns are {', '.join(row)}"
        )
