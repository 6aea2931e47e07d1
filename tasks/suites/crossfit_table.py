"""The lines of `crossfit.tsv`: where a task's rows are, and how they become inputs and answers."""

import csv
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("crossfit.tsv")
MOST_NAMED = 5  # of the lines that are wrong


@dataclass(frozen=True)
class TaskDefinition:
    """A line of the table; every cell is a text, "" where it does not apply."""

    task: str
    """Name of the task, as CrossFit has it."""
    path: str
    """Data set of the hub; "" where it is gone."""
    config: str
    """Configuration of the data set."""
    revision: str
    """Revision that holds the hub's own conversion, for a data set that only a script could read."""
    train: str
    """Split of the data set that training rows are drawn from."""
    test: str
    """Split of the test set."""
    held_out: str
    """Slices after a shuffle with seed 42, where a split is cut; the last one is the test set."""
    category: str
    """CrossFit's category, our subcategory."""
    kind: str
    """cls or non-cls, our category."""
    metric: str
    """Metric that the task is scored by."""
    input: str
    """Template of the input."""
    output: str
    """Expression of the answer over a row; of a cls task its label."""
    options: str
    """Labels, in the order of their numbers in the data set."""
    keep: str
    """Expression that is true for rows that are kept."""
    shape: str
    """How rows are regrouped before: a name in `crossfit_shapes.SHAPES`."""
    published_input: str
    """Template of the released script, where it differs."""
    published_options: str
    """Labels of the released script, where they differ."""
    published_metric: str
    """Metric of the released script, where it differs."""
    random: str
    """Side in the paper's split random: seen or unseen."""
    smaller: str
    """Sizes of the smaller random splits in which the task is seen."""
    cls_split: str
    """Side in the paper's split cls: seen, unseen or out."""
    noncls_split: str
    """Side in the paper's split non-cls: seen, unseen or out."""
    family: str
    """Name that tasks over the same data share."""
    checked: str
    """real: compared with data of the task from elsewhere; schema only: not."""
    note: str
    """Why the data set is gone, or what is odd about it."""

    @property
    def source(self) -> str:
        """The task, as errors name it."""
        return f"CrossFit task {self.task}"

    def cell(self, name: str, as_published: bool) -> str:
        """Return input, output, options or metric.

        as_published: the released script's, where it differs.
        """
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
    # Cells are texts as they stand: templates are full of quotes.
    with TABLE.open(encoding="utf8", newline="") as file:
        lines = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

    # A cell too many stands below the name None, a missing one is None.
    wrong = [line["task"] for line in lines if list(line) != columns or None in line.values()]
    if wrong:
        raise ValueError(
            f"{TABLE}: every line needs the columns {', '.join(columns)}; "
            f"not so: {', '.join(wrong[:MOST_NAMED])}"
        )
    return {line["task"]: TaskDefinition(**line) for line in lines}
