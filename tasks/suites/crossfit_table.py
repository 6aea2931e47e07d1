"""The lines of `crossfit.tsv`: where a task's rows are, and how they become inputs and answers."""

import csv
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("crossfit.tsv")
MOST_NAMED = 5  # of the lines that are wrong, in an error


@dataclass(frozen=True)
class TaskDefinition:
    """A line of the table; every cell is a text, "" where it does not apply."""

    task: str  # name, as CrossFit has it
    path: str  # data set of the hub; "" where it is gone
    config: str  # of the data set
    revision: str  # with the hub's own conversion of what only a script could read
    train: str  # split of the data set that training rows are drawn from
    test: str  # split that is the test set
    held_out: str  # slices of these after a shuffle; the last one is the test set
    category: str  # CrossFit's, our subcategory
    kind: str  # cls or non-cls, our category
    metric: str  # ours
    input: str  # template
    output: str  # expression over a row: the answer, of a cls task its label
    options: str  # labels, in the order of their numbers in the data set
    keep: str  # expression over a row, true where the row is kept
    shape: str  # how rows are regrouped first: a name in `crossfit_shapes.SHAPES`
    # The released script's, where it differs.
    published_input: str
    published_options: str
    published_metric: str
    # The side in the paper's splits: seen, unseen, out (of kind).
    random: str
    smaller: str  # sizes of the smaller random splits in which the task is seen
    cls_split: str
    noncls_split: str
    family: str  # a name that tasks over the same data share
    checked: str  # "real": compared with data from elsewhere, "schema only": not
    note: str  # why the data set is gone, or what is odd about it

    @property
    def source(self) -> str:
        """The task, as errors name it."""
        return f"CrossFit task {self.task}"

    def cell(self, name: str, as_published: bool) -> str:
        """Return input, output, options or metric.

        as_published: the released script's, where it differs.
        """
        # The scripts' expressions of the output are all kept: that column has no second one.
        published = getattr(self, f"published_{name}", "")
        mended = getattr(self, name)
        return str(published if as_published and published else mended)

    def labels(self, as_published: bool) -> tuple[str, ...]:
        """Return the labels of a cls task, none for others; as_published: as in `cell`."""
        options = self.cell("options", as_published)
        return tuple(options.split(" | ")) if options else ()


@cache
def definitions() -> dict[str, TaskDefinition]:
    """Return the table's lines by task; raise ValueError where a cell is missing."""
    columns = [field.name for field in fields(TaskDefinition)]
    # Cells are texts as they stand: templates are full of commas and quotes.
    with TABLE.open(encoding="utf8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    table: dict[str, TaskDefinition] = {}
    wrong = []
    for line in lines:
        # A cell too many stands below the name None, a missing one is None.
        if list(line) != columns or None in line.values():
            wrong.append(line["task"])
        else:
            table[line["task"]] = TaskDefinition(**line)
    if wrong:
        raise ValueError(
            f"{TABLE}: every line needs the columns {', '.join(columns)}; "
            f"not so: {', '.join(wrong[:MOST_NAMED])}"
        )
    return table
