"""Write a table of texts as Markdown, LaTeX or CSV."""

import csv
import re
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
# What makes a spreadsheet read a cell as a formula, full-width forms too.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?( ?%)?")
# All that `str.splitlines` breaks at.
LINE_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")


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
    return "| " + " | ".join(map(_markdown_escaped, row)) + " |"


def _markdown_escaped(cell: str) -> str:
    # Both would end the cell: a bar the column, a new line the table.
    one_line = LINE_BREAKS.sub(" ", cell)
    return one_line.replace("|", r"\|")


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
    """Return rows as CSV, the header among them.

    A text that a spreadsheet would take for a formula has an apostrophe before it.
    """
    # The newline of Unix, also where the module's default is another.
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow(map(_csv_escaped, row))
    return stream.getvalue()


def _csv_escaped(cell: Any) -> Any:
    # Names of tasks and kinds come from files of others, and a formula can run a program (OWASP,
    # CSV injection). A number with its sign is no formula.
    if not isinstance(cell, str) or not cell.startswith(FORMULA_SIGNS) or _is_number(cell):
        return cell
    return f"'{cell}"


def _is_number(text: str) -> bool:
    return NUMBER.fullmatch(text) is not None


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records, which have the same keys in the same order, as CSV with a header."""
    # The keys of the first are the header of all.
    rows: list[list[Any]] = [list(records[0])]
    for record in records:
        rows.append(list(record.values()))
    return rows_as_csv(rows)
