"""What a command prints: tables on the terminal, and the small JSON summaries beside them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from ipt.data import Task
from ipt.storage import write_atomic, write_json

LIST_WIDTH = 1000  # characters, more than any list has
# Columns of the table of recoveries that a terminal has no room for: the group of tasks, which is
# printed below its condition, and the interval above the floor; table.md has all
NOT_PRINTED = (1, 8)
# The condition and the interval: broken over lines they cannot be read.
NOT_WRAPPED = (0, 5)


def new_table(*columns: str | Column) -> Table:
    """Return an empty table without a frame."""
    # Frames are characters that a search or a copy would take along.
    return Table(*columns, box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False)


def print_list(table: Table) -> None:
    """Print a table with one line a row, however narrow the terminal is.

    So names can be copied and lines can be searched.
    """
    # Rich would fold or cut to the terminal's width, or to 80 columns in a pipe.
    Console(width=LIST_WIDTH).print(table)


def print_table(record: dict[str, Any]) -> None:
    """Print a table that is stored as columns and rows; only words of the first column stay whole.

    record: `columns`, a list of names, and `rows`, lists of texts.
    """
    longest = 0
    for row in record["rows"]:
        for word in row[0].split():
            # A name that is broken in the middle cannot be searched for.
            longest = max(longest, len(word))

    columns = []
    for position, name in enumerate(record["columns"]):
        least_width = longest if position == 0 else 0
        columns.append(Column(name, overflow="fold", min_width=least_width))

    table = new_table(*columns)
    for row in record["rows"]:
        table.add_row(*row)
    Console().print(table)


def print_recovery(
    folders: Sequence[Path],
    results: Sequence[dict[str, Any]] | None = None,
) -> None:
    """Print the table of recoveries of an MSF and an IST run (or one), and write it as table.md.

    folders: run folders; the table is written into the last.
    results: what their result.json hold; read from there where not given.
    """
    from ipt.analysis.scores import COLUMNS, Line, cells, lines, markdown, read_results

    results = results or read_results(folders)
    found: list[Line] = lines(results)
    printed = [i for i in range(len(COLUMNS)) if i not in NOT_PRINTED]

    columns = []
    for position in printed:
        justify: Any = "left" if position == 0 else "right"
        no_wrap = position in NOT_WRAPPED
        columns.append(Column(COLUMNS[position], no_wrap=no_wrap, justify=justify))

    table = new_table(*columns)
    # Groups of tasks stand below their condition, indented: they are parts of it.
    for line in found:
        texts = cells(line)
        is_overall = line.group == "all"
        title = texts[0] if is_overall else f"  {line.group}"
        style = "bold" if is_overall else ""
        figures = [texts[position] for position in printed[1:]]
        table.add_row(title, *figures, style=style)

    Console().print("", table, "", sep="\n")
    _print_notes(found, results[-1])
    # The file has every column, for a paper or the log.
    text = markdown(COLUMNS, map(cells, found))
    write_atomic(folders[-1] / "table.md", text.encode())
    print("written: " + ", ".join(map(str, folders)))


def _print_notes(lines: Sequence[Any], result: dict[str, Any]) -> None:
    """Print which tasks a mean leaves out, and what else a reader of the table must know."""
    below: set[str] = set()
    undefined: set[str] = set()
    # Every task is in the group of all, so that each is named once.
    for line in lines:
        if line.group == "all":
            below.update(line.recovery.below_floor)
            undefined.update(line.recovery.undefined)

    if below:
        names = ", ".join(sorted(below))
        about = f"{len(below)}, left out of 'above floor'"
        print(f"not above the floor by 0.10 with prompt tuning ({about}): {names}")
    if undefined:
        names = ", ".join(sorted(undefined))
        print(f"prompt tuning scores 0 or less ({len(undefined)}, left out of E_rel): {names}")
    if any(task["knowledge"] for task in result["tasks"].values()):
        print(
            "knowledge tasks: with the embedded backbone their facts were in pre-training; "
            "novel tasks were never in it"
        )
    if not result["compresses"]:
        print(
            "note: d is at or above the number of seen tasks: "
            "no compression of the training prompts"
        )


def print_quality(
    prompt: str,
    tasks: list[Task],
    values: dict[str, float],
    floors: dict[str, float] | None,
    seed: int,
    file: Path | None,
    losses: dict[str, float] | None = None,
) -> None:
    from ipt.analysis.summaries import KNOWN, quality

    found = quality(prompt, tasks, values, floors, losses)
    print()
    print_table(found)
    print(KNOWN)
    if file:
        write_summary(file, found, seed)
        print(f"summary: {file}")


def write_summary(file: Path, record: dict[str, Any], seed: int) -> None:
    """Write a record with the command that made it and the seed, as a JSON file."""
    # The command as it was typed: tables in the log are made again with it.
    command = " ".join(["ipt", *sys.argv[1:]])
    write_json(file, record | {"command": command, "seed": seed})
