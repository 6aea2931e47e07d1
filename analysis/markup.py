"""Write a table of texts as Markdown, LaTeX or CSV."""

import csv
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import compress
from typing import Any

# What LaTeX reads as a command, and signs that its fonts write in another way.
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # A row that begins with a bracket would be an argument of the line break before it.
    "[": "{[}",
    "]": "{]}",
    "–": "--",
    "…": r"\ldots{}",
    "−": "$-$",
}


@dataclass(frozen=True)
class TextTable:
    """A table as it is printed."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def only(self, names: Collection[str]) -> "TextTable":
        """Return the table with the columns of these names, in their order here."""
        # By mask: names may be any collection, and the order is that of the table.
        mask = [name in names for name in self.columns]
        columns = list(compress(self.columns, mask))
        rows = []
        for row in self.rows:
            rows.append(list(compress(row, mask)))
        return TextTable(columns, rows)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 2) -> str:
    """Return a Markdown table.

    columns: the head.
    texts: how many columns, the first ones, are texts; the others are numbers, set to the right.
    """
    # The colon sets a column to the right.
    numbers = len(columns) - texts
    rule = "|" + "---|" * texts + "---:|" * numbers

    lines = [_markdown_row(columns), rule]
    for row in rows:
        lines.append(_markdown_row(row))
    return "\n".join(lines) + "\n"


def _markdown_row(row: Sequence[str]) -> str:
    return "| " + " | ".join(row) + " |"


def latex(columns: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 2) -> str:
    """Return the table of `markdown` as a LaTeX tabular with the rules of booktabs.

    Special characters are escaped; letters outside ASCII stay as they are (UTF-8).
    """
    # Left and right, as in Markdown.
    numbers = len(columns) - texts
    alignment = "l" * texts + "r" * numbers

    lines = [
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
        _latex_row(columns),
        r"\midrule",
    ]
    for row in rows:
        lines.append(_latex_row(row))
    lines += [r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _latex_row(row: Sequence[str]) -> str:
    escaped = map(_latex_escaped, row)
    return " & ".join(escaped) + r" \\"


def _latex_escaped(cell: str) -> str:
    # An empty line would end the paragraph, and with it the table.
    one_line = " ".join(cell.split())

    # Letter by letter: replacing one after another would escape the escapes.
    escaped = ""
    for letter in one_line:
        escaped += LATEX_ESCAPES.get(letter, letter)
    return escaped


def rows_as_csv(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV, the header among them."""
    # The newline of Unix, also where the module's default is another.
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows(rows)
    return stream.getvalue()


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records, which have the same keys in the same order, as CSV with a header."""
    # The keys of the first are the header of all.
    rows: list[list[Any]] = [list(records[0])]
    for record in records:
        rows.append(list(record.values()))
    return rows_as_csv(rows)
