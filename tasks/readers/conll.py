"""Tagged sentences in columns (CoNLL): a word and its tags a line, a blank line after a sentence.

Lines `-DOCSTART-` and comments are skipped. Columns are parted by tabs, else by spaces.
"""

from pathlib import Path
from typing import Any, NamedTuple

from ipt.storage import read_user_text

DOCUMENT_START = "-DOCSTART-"
COMMENT = "#"
FEWEST_COLUMNS = 2  # a word and its tag


class _Line(NamedTuple):
    """The cells of a line and its number, from one; no cells: a blank line."""

    number: int
    cells: list[str]


def conll_rows(path: Path) -> list[dict[str, Any]]:
    """Return a row a sentence: its columns as lists, named 1, 2, ..., and as tokens and tags.

    tokens are the first column, tags the last.

    Raises ValueError naming the line where the columns are others than above it.
    """
    lines = _lines(path)
    widths = [len(line.cells) for line in lines if line.cells and not _is_marked(line)]
    if not widths:
        raise ValueError(f"{path}: no line with a word and its tag")
    width = widths[0]
    if width < FEWEST_COLUMNS:
        raise ValueError(
            f"{path}: its lines have one column; expected a word and its tag in each, and a blank "
            "line after each sentence"
        )

    rows: list[dict[str, Any]] = []
    sentence: list[list[str]] = []
    for line in lines:
        if line.cells and len(line.cells) != width:
            # A word may be "#" itself: a comment is a line that is not in columns.
            if line.cells[0].startswith((COMMENT, DOCUMENT_START)):
                continue
            raise ValueError(
                f"{path}: line {line.number}: {len(line.cells)} columns, and {width} above it"
            )
        if line.cells and line.cells[0] != DOCUMENT_START:
            sentence.append(line.cells)
        elif sentence:
            rows.append(_row(sentence))
            sentence = []
    return rows


def _lines(path: Path) -> list[_Line]:
    """Return the lines of a file in cells, and a blank one at the end."""
    lines = []
    number = 0
    # Only what ends a line in a text file: other signs that part lines may stand in a word.
    for number, text in enumerate(read_user_text(path).split("\n"), start=1):
        text = text.rstrip("\r")
        cells = text.split("\t") if "\t" in text.strip() else text.split()
        lines.append(_Line(number, [cell.strip() for cell in cells]))
    return [*lines, _Line(number + 1, [])]


def _is_marked(line: _Line) -> bool:
    return line.cells[0].startswith((COMMENT, DOCUMENT_START))


def _row(sentence: list[list[str]]) -> dict[str, Any]:
    columns = [list(column) for column in zip(*sentence, strict=True)]
    row: dict[str, Any] = {str(number): column for number, column in enumerate(columns, start=1)}
    row["tokens"] = columns[0]
    row["tags"] = columns[-1]
    return row
