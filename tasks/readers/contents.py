"""What a user's files say, without a guess: the value of a JSON file, the rows of a table.

CSV is text: a cell is what stands in it, and an empty one is missing (None). JSON's values are
JSON's: a text that looks like a date or a number stays a text.
"""

import csv
import io
import json
import re
from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from ipt.storage import read_user_text, without_repeats
from ipt.tasks.names import repeated_names

Row = MutableMapping[str, Any]

SEPARATORS = {".csv": ",", ".tsv": "\t"}  # by the end of a file's name; a comma for any other
MOST_COLUMNS = 2000  # of rows of JSON: where each has keys of its own, they are no table
NUMBER_TEXTS = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")
FALSE_TEXTS = ("false", "0", "0.0")  # what other readers of CSV take for a false value
CELL_REMEDY = "cells of a CSV are texts; write NAME|int, NAME|float, or compare with a text"


class Cell(str):
    """A cell of a CSV: a text that refuses to be taken for a number or a truth value.

    Readers that guess types made numbers of such cells; a template that counts on this would now
    be filled with something else without a word.
    """

    __slots__ = ()
    __hash__ = str.__hash__

    def __bool__(self) -> bool:
        if self.lower() in FALSE_TEXTS:
            raise TypeError(f"{str(self)!r} asked for its truth: {CELL_REMEDY}")
        return len(self) > 0

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int | float):
            _refuse(self, "compared", other)
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: str) -> bool:
        self._check_order(other)
        return str.__lt__(self, other)

    def __le__(self, other: str) -> bool:
        self._check_order(other)
        return str.__le__(self, other)

    def __gt__(self, other: str) -> bool:
        self._check_order(other)
        return str.__gt__(self, other)

    def __ge__(self, other: str) -> bool:
        self._check_order(other)
        return str.__ge__(self, other)

    def __add__(self, other: str) -> str:
        # Two texts may be joined; of two numbers the sum was meant.
        if isinstance(other, Cell) and self.is_number and other.is_number:
            _refuse(self, "added to", other)
        return str.__add__(self, other)

    def __mul__(self, other: Any) -> NoReturn:
        _refuse(self, "multiplied by", other)

    __rmul__ = __mul__

    def lower(self) -> "Cell":
        """Return the text in small letters, a cell still: a filter that sorts calls this."""
        return Cell(str.lower(self))

    @property
    def is_number(self) -> bool:
        """Whether the text is a number, so that another reader would take it for one."""
        return NUMBER_TEXTS.fullmatch(self) is not None

    def _check_order(self, other: str) -> None:
        # "10" stands before "9".
        if isinstance(other, Cell) and self.is_number and other.is_number:
            _refuse(self, "compared", other)


def _refuse(cell: Cell, deed: str, other: object) -> NoReturn:
    raise TypeError(f"{str(cell)!r} {deed} {other!r:.20}: {CELL_REMEDY}")


def csv_rows(path: Path, separator: str | None = None) -> list[Row]:
    """Return the rows of a CSV file, each with every column: a cell's text, or None.

    separator: None: a tab where the file's name ends in .tsv, else a comma.

    Raises ValueError naming the line where the file is no CSV.
    """
    text = read_user_text(path)
    if separator is None:
        suffix = Path(path.name.removesuffix(".gz")).suffix
        separator = SEPARATORS.get(suffix, ",")

    # The module's own limit of a cell is 128 kB; here the file has one.
    csv.field_size_limit(max(len(text), 1))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    names: list[str] = []
    try:
        for cells in reader:
            # A blank line is no row.
            if not cells:
                continue
            if not names:
                names = _column_names(path, cells)
                continue
            if len(cells) > len(names):
                raise ValueError(
                    f"{path}: line {reader.line_num}: {len(cells)} cells, and the header names "
                    f"{len(names)} columns; put a text that holds {separator!r} in double quotes"
                )
            # A text that begins with a quotation mark would take the lines up to the next one.
            if separator == "\t" and any(map(_goes_over_rows, cells)):
                raise ValueError(
                    f"{path}: line {reader.line_num}: a text in double quotes goes over tabs and "
                    "lines; where a text begins with a quotation mark, put it in quotes and "
                    'write each mark twice ("")'
                )
            row: Row = dict.fromkeys(names)
            for name, cell in zip(names, cells, strict=False):
                # A cell without a text is missing, as one that a short line lacks.
                row[name] = Cell(cell) if cell != "" else None
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num}: not valid CSV ({error})") from error
    return rows


def _goes_over_rows(cell: str) -> bool:
    """Return whether the cell of a TSV holds both what ends a cell and what ends a line."""
    return "\t" in cell and ("\n" in cell or "\r" in cell)


def _column_names(path: Path, cells: Sequence[str]) -> list[str]:
    """Return the names of a header's columns; raise ValueError where two have one name."""
    # Spreadsheets leave columns without a name at the end, data frames one at the start.
    names = []
    for position, cell in enumerate(cells):
        names.append(cell or f"Unnamed: {position}")
    for name in repeated_names(names):
        raise ValueError(f"{path}: two columns are named {name!r:.60}; rename one")
    return names


def json_rows(path: Path) -> list[Row]:
    """Return the rows of a file of JSON objects, one a line or in one list.

    Each has every column of the file: None where the object lacks it.

    Raises ValueError naming the line or row where the file is something else.
    """
    text = read_user_text(path)
    values = []
    place = _next_place(text, 0)
    while place < len(text):
        value, end = _decode(path, text, place)
        values.append(value)
        place = _next_place(text, end)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]

    columns: dict[str, Any] = {}
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            kind = type(value).__name__
            raise ValueError(f"{path}: row {number} must be a JSON object, found {kind}")
        columns |= dict.fromkeys(value)
        if len(columns) > MOST_COLUMNS:
            raise ValueError(
                f"{path}: more than {MOST_COLUMNS} different keys in its rows; "
                "expected the same columns in each"
            )
    # A view, since a copy of each row with every column may be far more than the file.
    return [ChainMap(value, columns) for value in values]


def read_json(path: Path) -> Any:
    """Return the value of a JSON file, packed or not; raise ValueError where it has none."""
    text = read_user_text(path)
    start = _next_place(text, 0)
    if start == len(text):
        raise ValueError(f"{path}: the file is empty")
    value, end = _decode(path, text, start)
    rest = _next_place(text, end)
    if rest < len(text):
        raise _no_json(path, json.JSONDecodeError("Extra data", text, rest))
    return value


def _next_place(text: str, place: int) -> int:
    """Return where the next sign that is no white space stands, or the text's length."""
    while place < len(text) and text[place] in " \t\n\r":
        place += 1
    return place


def _decode(path: Path, text: str, start: int) -> tuple[Any, int]:
    """Return the JSON value that begins at a place, and the place after it."""
    try:
        return _decoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise _no_json(path, error) from error
    except RecursionError as error:
        raise ValueError(f"{path}: not valid JSON (nested too deeply)") from error
    except ValueError as error:
        # The faults below, and whole numbers of thousands of digits.
        line = text.count("\n", 0, start) + 1
        raise ValueError(f"{path}: line {line}: not valid JSON ({error})") from error


@cache
def _decoder() -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=without_repeats,
        parse_constant=_not_a_number,
        parse_float=_finite,
    )


def _no_json(path: Path, error: json.JSONDecodeError) -> ValueError:
    place = f"line {error.lineno}, column {error.colno}"
    return ValueError(f"{path}: {place}: not valid JSON ({error.msg})")


def _not_a_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON; write null where a value is missing")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text:.40} is too large a number")
    return number
