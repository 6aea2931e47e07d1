"""Summarise a study: many runs, cell by cell, as a table of numbers, its text, and its figure.

Cells that differ in their seed alone are one line of the table. A cell's record is the summary of
its two runs (`ipt.analysis.summaries.summary`); an open cell has none.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from ipt.analysis.markup import TextTable
from ipt.analysis.plots.bars import recovery_dots
from ipt.analysis.scores import NONE
from ipt.analysis.spread import Spread, to_json
from ipt.results import BY_NAME

Record = dict[str, Any]
# Each line's cells, one a seed; None: open.
CellsByLine = Mapping[str, Sequence[Record | None]]
# A share per seed, by the title of a column.
SharesByTitle = dict[str, list[float]]
# The mean score, E_rel, and the same above the floor.
Measure = Literal["absolute", "relative", "floored"]
# From a spread, digits and scale to a text: `Spread.text` or `Spread.mean_text`.
WriteSpread = Callable[[Spread, int, float], str]


@dataclass(frozen=True)
class StudyColumn:
    """A figure of a study's table: of a condition, on a group of its tasks."""

    condition: str
    group: str = "all"
    measure: Measure = "relative"

    @property
    def title(self) -> str:
        """The head of the column; key of the figure in the stored table."""
        # E_rel of all tasks is what a column shows if it says nothing else.
        parts = [BY_NAME[self.condition].column]
        if self.group != "all":
            parts.append(self.group)
        if self.measure == "absolute":
            parts.append("score")
        if self.measure == "floored":
            parts.append("above floor")
        return ", ".join(parts)

    def values(self, records: Sequence[Record | None]) -> list[float]:
        """Return the figure in each of these cells that has it."""
        values = []
        for record in records:
            if record is None:
                continue

            # Null: no task of the group has a reference to compare with.
            line = self._line_of(record)
            if line is not None and line[self.measure] is not None:
                values.append(line[self.measure])
        return values

    def is_in(self, record: Record) -> bool:
        """Tell whether a cell has the condition and the group."""
        return self._line_of(record) is not None

    def _line_of(self, record: Record) -> Record | None:
        # At most one line is of this condition and group.
        for line in record["lines"]:
            if line["setting"] == self.condition and line["group"] == self.group:
                return dict(line)
        return None


# Seen tasks, unseen tasks, controls of equal d; in each E_rel, then the parts that differ.
COLUMNS = (
    StudyColumn("train_msf"),
    StudyColumn("test_msf"),
    StudyColumn("train_same"),
    StudyColumn("train_diff"),
    StudyColumn("train_diff", measure="floored"),
    StudyColumn("test", measure="absolute"),
    StudyColumn("test"),
    StudyColumn("test", measure="floored"),
    StudyColumn("test", "in kind"),
    StudyColumn("test", "in kind", measure="floored"),
    StudyColumn("test", "out of kind"),
    StudyColumn("test", "out of kind", measure="floored"),
    StudyColumn("test", "new subcategory"),
    StudyColumn("test", "novel"),
    StudyColumn("test", "knowledge"),
    StudyColumn("test", "rule"),
    StudyColumn("random_test"),
    StudyColumn("pca_test"),
    StudyColumn("mixture_test", measure="absolute"),
    StudyColumn("mixture_test"),
    StudyColumn("mixture_test", measure="floored"),
    StudyColumn("mixture_test", "novel"),
)
# What the subspace does for tasks, and what does without it.
DRAWN = (
    StudyColumn("train_diff"),
    StudyColumn("test"),
    StudyColumn("test", "in kind"),
    StudyColumn("test", "out of kind"),
    StudyColumn("mixture_test"),
    StudyColumn("pca_test"),
    StudyColumn("random_test"),
)
# Columns of the short table.
BRIEF = frozenset(
    {
        "cell",
        "seeds",
        "seen, other data",
        "unseen",
        "unseen, above floor",
        "mixture",
        "mixture, above floor",
        "PCA",
        "random",
        "prompt tuning, unseen",
    }
)
# Columns that 80 letters have room for.
ON_TERMINAL = BRIEF - {"mixture, above floor"}
# Cell of a figure whose line has no cell that is done.
OPEN = "open"
# The two panels of a figure, with the labels of their axes.
PANELS: dict[Measure, str] = {
    "relative": "recovery (% of prompt tuning)",
    "floored": "the same above the floor (%)",
}


def study_summary(cells: CellsByLine, command: str) -> Record:
    """Return a study's table as numbers: mean, least and largest seed of each figure.

    cells: by line, the record of each seed. A figure that no cell has is no column.
    command: what makes the study again.
    """
    done: list[Record] = []
    for records in cells.values():
        done += _done(records)

    # The same columns for every line, so that a missing figure is seen.
    columns = []
    for column in COLUMNS:
        if any(map(column.is_in, done)):
            columns.append(column)

    rows = []
    for name, records in cells.items():
        rows.append(_row(name, records, columns))

    seeds = sorted({record["seed"] for record in done})
    return {
        "kind": "study",
        "command": command,
        "seed": ", ".join(map(str, seeds)),
        "digest": digest_of_cells(cells),
        "rows": rows,
    }


def _done(records: Sequence[Record | None]) -> list[Record]:
    return [record for record in records if record is not None]


def _row(name: str, records: Sequence[Record | None], columns: Sequence[StudyColumn]) -> Record:
    done = _done(records)

    # A line that is open has no figures; null is a figure that its cells do not have.
    figures = {}
    if done:
        for column in columns:
            spread = Spread.of(column.values(done))
            figures[column.title] = to_json(spread)

    # Each seed has prompts of its own; the decoder's size is the same, of all that have one.
    reference = []
    prompts = set()
    parameters = set()
    for record in done:
        prompts.add(record["prompts"])
        # A part without tasks has no reference, and a run of controls alone no decoder.
        if record["reference"]["unseen"] is not None:
            reference.append(record["reference"]["unseen"])
        if record["parameters"]:
            parameters.add(record["parameters"])

    return {
        "cell": name,
        "done": len(done),
        "planned": len(records),
        "figures": figures,
        "reference": to_json(Spread.of(reference)),
        "parameters": sorted(parameters),
        "prompts": sorted(prompts),
    }


def digest_of_cells(cells: CellsByLine) -> str:
    """Return a checksum of the scores of each cell, in which open ones count too."""
    # None for an open cell: a study with more cells done is another.
    digests: list[list[str | None]] = []
    for records in cells.values():
        line: list[str | None] = []
        for record in records:
            line.append(None if record is None else record["digest"])
        digests.append(line)
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def study_table(record: Record) -> TextTable:
    """Return a study's table as text: mean (least … largest seed).

    A figure that not every cell of its line has says of how many it is.
    """
    return _text_table(record["rows"], Spread.text)


def brief_table(record: Record) -> TextTable:
    """Return the table's main columns, and the lines that have a cell."""
    # Open lines may go, the columns stay those of the whole table.
    rows = []
    for row in record["rows"]:
        if row["done"]:
            rows.append(row)
    columns = _columns_of(record["rows"])
    return _text_table(rows, Spread.text, columns).only(BRIEF)


def study_means(record: Record) -> TextTable:
    """Return a study's table as a terminal has room for: means over seeds, without their spread."""
    return _text_table(record["rows"], Spread.mean_text).only(ON_TERMINAL)


def _columns_of(rows: Sequence[Record]) -> list[StudyColumn]:
    # JSON has its keys in the order of the alphabet.
    titles: set[str] = set()
    for row in rows:
        titles.update(row["figures"])
    return [column for column in COLUMNS if column.title in titles]


def _text_table(
    rows: Sequence[Record],
    write: WriteSpread,
    columns: Sequence[StudyColumn] | None = None,
) -> TextTable:
    shown = _columns_of(rows) if columns is None else columns
    heads = ["cell", "seeds"]
    for column in shown:
        heads.append(column.title)
    heads += ["prompt tuning, unseen", "decoder's parameters", "prompts' hash"]

    texts = []
    for row in rows:
        texts.append(list(_row_texts(row, shown, write)))
    return TextTable(heads, texts)


def _row_texts(row: Record, columns: Sequence[StudyColumn], write: WriteSpread) -> Iterator[str]:
    """Yield the cells of a line."""
    done = row["done"]
    yield row["cell"]
    yield f"{done} of {row['planned']}"

    for column in columns:
        if not done:
            yield OPEN
            continue
        spread = Spread.from_json(row["figures"][column.title])
        yield _figure_text(spread, column.measure, done, write)

    # The reference is a score, with three digits.
    reference = Spread.from_json(row["reference"])
    if not done:
        yield OPEN
    else:
        yield NONE if reference is None else write(reference, 3, 1)

    # Cells of mixtures alone have no decoder.
    parameters = []
    for count in row["parameters"]:
        parameters.append(f"{count:,}")
    no_parameters = NONE if done else ""
    yield " ".join(sorted(parameters)) or no_parameters

    # Six letters tell the prompts of a study's seeds apart.
    hashes = set()
    for digest in row["prompts"]:
        hashes.add(digest[:6])
    yield " ".join(sorted(hashes))


def _figure_text(spread: Spread | None, measure: Measure, done: int, write: WriteSpread) -> str:
    if spread is None:
        return NONE

    # Scores have three digits, shares are in per cent. The spread says how many it is of.
    text = write(spread, 3, 1) if measure == "absolute" else write(spread, 1, 100)
    if spread.count < done:
        text += f" [{spread.count} of {done}]"
    return text


def study_figure(cells: CellsByLine, path: Path) -> None:
    """Draw the lines that have a cell: recovery, and beside it the same above the floor.

    path: of the PNG; nothing is drawn where no line has a cell.
    """
    shares = {}
    for measure in PANELS:
        shares[measure] = drawn_shares(cells, measure)
    names = list(shares["relative"])
    if not names:
        return

    # Inches: every line has the same height.
    height = 0.9 + 0.62 * len(names)
    figure = Figure(figsize=(9.4, height), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (measure, label) in zip(panels, PANELS.items(), strict=True):
        # A line has the same place in both panels.
        rows = {}
        for name in names:
            rows[name] = shares[measure].get(name, {})
        recovery_dots(axes, rows, label)

    # One legend for both.
    panels[0].get_legend().remove()
    figure.savefig(path, dpi=160)


def drawn_shares(cells: CellsByLine, measure: Measure) -> dict[str, SharesByTitle]:
    """Return the shares of `DRAWN`, one per seed, by line and title of column.

    measure: relative (E_rel) or floored (the same above the floor); both 1 where prompt tuning is.
    """
    rows: dict[str, SharesByTitle] = {}
    for name, records in cells.items():
        for column in DRAWN:
            # The legend is that of E_rel, whatever is measured.
            measured = replace(column, measure=measure)
            values = measured.values(records)
            if values:
                rows.setdefault(name, {})[column.title] = values
    return rows
