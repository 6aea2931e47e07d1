"""What a command prints: tables on the terminal, and the small JSON summaries beside them."""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from ipt.run import Run
from ipt.storage import write_atomic, write_json

if TYPE_CHECKING:
    from ipt.analysis.markup import TextTable
    from ipt.analysis.scores import Line
    from ipt.results import RunResult
    from ipt.workflows.tuning import TuningResult

LIST_WIDTH = 1000  # characters, more than any list has
# Columns of the table of recoveries that a terminal has no room for: the group of tasks, which is
# printed below its condition, and the interval above the floor; table.md has all
NOT_PRINTED = (1, 8)
# The condition and the interval: broken over lines they cannot be read.
NOT_WRAPPED = (0, 5)
NO_COMPRESSION = (
    "note: d is at or above the number of seen tasks: no compression of the training prompts"
)


def say(text: str) -> None:
    """Print a text, wrapped between words on a terminal and in one line elsewhere."""
    console = Console()
    console.print(text, highlight=False, markup=False, soft_wrap=not console.is_terminal)


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


def print_table(texts: "TextTable") -> None:
    """Print a table of texts; only words of the first column stay whole."""
    longest = 0
    for row in texts.rows:
        for word in row[0].split():
            # A name that is broken in the middle cannot be searched for.
            longest = max(longest, len(word))

    columns = []
    for position, name in enumerate(texts.columns):
        least_width = longest if position == 0 else 0
        columns.append(Column(name, overflow="fold", min_width=least_width))

    table = new_table(*columns)
    for row in texts.rows:
        # Brackets of a text are no markup.
        table.add_row(*map(escape, row))
    Console().print(table)


def print_recovery(folders: Sequence[Path], by: str = "settings") -> None:
    """Print the result of an MSF and an IST run (or one), and write the whole table as table.md.

    folders: run folders; the table is written into the last.
    by: `all` prints the whole table too; else the settings, with groups of tasks if they are named.
    """
    from ipt.analysis.markup import markdown
    from ipt.analysis.protocol_table import run_sentence
    from ipt.analysis.scores import (
        COLUMNS,
        NUMBERS_COLUMN,
        cells,
        lines,
        numbers_tuned,
        read_results,
    )
    from ipt.analysis.short_table import msf_sentence

    results = [run.result for run in read_results(folders)]
    found = lines(results)
    numbers = numbers_tuned(results)
    sentence = run_sentence(results[-1])
    if results[-1].kind == "msf":
        sentence = msf_sentence(results[-1])
    if sentence:
        say(f"\n{sentence}")
    if by == "all":
        _print_whole_table(found, numbers)
        _print_notes(found, results[-1])
    else:
        _print_short_table(results, by)
        _print_counts(found, results, folders[-1])
    # The file has every column, for a paper or the log.
    rows = [(*cells(line), *numbers.get(line.setting, ())) for line in found]
    text = markdown((*COLUMNS, *[NUMBERS_COLUMN][: len(numbers)]), rows)
    try:
        write_atomic(folders[-1] / "table.md", text.encode())
    except OSError as error:
        # A run on a disk that can be read only: the table is above.
        reason = error.strerror or error
        print(f"note: {folders[-1] / 'table.md'} is not written ({reason})", file=sys.stderr)
        return
    print("written: " + ", ".join(map(str, folders)))


def _print_short_table(results: "Sequence[RunResult]", by: str) -> None:
    from ipt.analysis.short_table import short_table

    texts = short_table(results, by)
    columns = [Column(texts.columns[0], no_wrap=True)]
    for name in texts.columns[1:]:
        columns.append(Column(name, justify="right", no_wrap=True))
    table = new_table(*columns)
    for row in texts.rows:
        # Groups of tasks stand below their setting, indented: they are parts of it.
        style = "" if by == "settings" or row[0].startswith(" ") else "bold"
        table.add_row(*map(escape, row), style=style)
    Console().print("", table, "", sep="\n")


def _print_counts(lines: "Sequence[Line]", results: "Sequence[RunResult]", folder: Path) -> None:
    """Print how many tasks and settings the short table leaves out, and where they are named."""
    from ipt.analysis.scores import HEADS_NOTE
    from ipt.analysis.short_table import left_out

    below, undefined = _not_counted(lines)
    texts = []
    if below:
        texts.append(f"{len(below)} tasks without a gain of 0.10 by prompt tuning")
    if undefined:
        texts.append(f"{len(undefined)} tasks where it scores 0 or less")
    if texts:
        say(f"not in the shares: {', '.join(texts)}")
    more = left_out(results)
    if more:
        print(f"{more} more settings and all groups of tasks: {folder / 'table.md'}")
    flags = ["ipt", "runs", "show", folder.name, "--by", "all", "--out", str(folder.parent)]
    print(f"all of it, with the names of tasks: {shlex.join(flags)}")
    if results[-1].heads:
        print(HEADS_NOTE)
    if not results[-1].compresses:
        print(NO_COMPRESSION)


def _print_whole_table(found: "Sequence[Line]", numbers: dict[str, list[str]]) -> None:
    """Print every setting and group of tasks; numbers: of each setting for a task, with heads."""
    from ipt.analysis.scores import COLUMNS, NUMBERS_COLUMN, cells

    printed = [i for i in range(len(COLUMNS)) if i not in NOT_PRINTED]
    columns = []
    for position in printed:
        justify: Any = "left" if position == 0 else "right"
        no_wrap = position in NOT_WRAPPED
        columns.append(Column(COLUMNS[position], no_wrap=no_wrap, justify=justify))

    if numbers:
        columns.append(Column(NUMBERS_COLUMN, no_wrap=True, justify="right"))
    table = new_table(*columns)
    # Groups of tasks stand below their condition, indented: they are parts of it.
    for line in found:
        texts = cells(line)
        is_overall = line.group == "all"
        title = texts[0] if is_overall else f"  {line.group}"
        style = "bold" if is_overall else ""
        figures = [texts[position] for position in printed[1:]]
        figures += numbers.get(line.setting, ())
        table.add_row(title, *figures, style=style)
    Console().print("", table, "", sep="\n")


def _not_counted(lines: "Sequence[Line]") -> tuple[set[str], set[str]]:
    """Return the tasks that are left out of the gain above the floor, and of E_rel."""
    below: set[str] = set()
    undefined: set[str] = set()
    # Every task is in the group of all, so that each is named once.
    for line in lines:
        if line.group == "all":
            below.update(line.recovery.below_floor)
            undefined.update(line.recovery.undefined)
    return below, undefined


def _print_notes(lines: Sequence[Any], result: "RunResult") -> None:
    """Print which tasks a mean leaves out, and what else a reader of the table must know."""
    from ipt.analysis.scores import HEADS_NOTE

    below, undefined = _not_counted(lines)
    if below:
        names = ", ".join(sorted(below))
        about = f"{len(below)}, left out of 'above floor'"
        say(f"not above the floor by 0.10 with prompt tuning ({about}): {names}")
    if undefined:
        names = ", ".join(sorted(undefined))
        say(f"prompt tuning scores 0 or less ({len(undefined)}, left out of E_rel): {names}")
    if result.heads:
        print(HEADS_NOTE)
    if any(task.knowledge for task in result.tasks.values()):
        print(
            "knowledge tasks: with the embedded backbone their facts were in pre-training; "
            "novel tasks were never in it"
        )
    if not result.compresses:
        print(NO_COMPRESSION)


def print_quality(found: dict[str, Any], file: Path | None, seed: int) -> None:
    """Print the means of a kind of prompt by kind of task, and write their summary.

    found: what `ipt.analysis.summaries.quality` returns.
    """
    from ipt.analysis.summaries import KNOWLEDGE_NOTE, quality_table

    print()
    print_table(quality_table(found))
    print(KNOWLEDGE_NOTE)
    if file:
        write_summary(file, found, seed)
        print(f"summary: {file}")


def print_tuning(result: "TuningResult", file: Path | None, seed: int) -> None:
    """Print each task's scores, their means by kind of task, and the folders of the deltas."""
    from ipt.analysis.spread import spread_text
    from ipt.analysis.summaries import quality

    columns = ["task", "metric", "prompt tuning", "ranked", "floor"]
    if result.has_heads:
        columns += ["the head alone", "numbers: delta + head"]
    table = new_table(*columns)
    for task in result.tasks:
        row = [
            task.task.name,
            task.task.metric,
            spread_text(task.generated, 3),
            spread_text(task.ranked, 3),
            f"{task.floors.best:.3f}",
        ]
        if task.head_alone is not None:
            row += [f"{task.head_alone:.3f}", f"{result.size:,} + {task.head:,}"]
        table.add_row(*row)
    print_list(table)
    found = quality(
        "prompt tuning",
        [task.task for task in result.tasks],
        {task.task.name: task.mean for task in result.tasks},
        {task.task.name: task.floors.best for task in result.tasks},
        {task.task.name: task.dev_loss for task in result.tasks},
    )
    print_quality(found | _tuned_tasks(result), file, seed)
    for folder in result.banks:
        print(f"prompts: {folder}")


def _tuned_tasks(result: "TuningResult") -> dict[str, Any]:
    """Return what a study needs of tuned tasks beside their means: scores, floors, parts, P, H."""
    tasks = {}
    for task in result.tasks:
        name = task.task.name
        tasks[name] = {
            "score": round(task.mean, 6),
            "floor": task.floors.best,
            "floors": asdict(task.floors),
            "numbers": result.size + task.head,
            "category": task.task.category,
            "subcategory": task.task.subcategory,
            "is_seen": name in result.split.seen,
        }
        if task.head_alone is not None:
            tasks[name] |= {"head": task.head, "head_alone": task.head_alone}
    return {"about": result.split.name, "numbers": result.size, "tasks": tasks}


def print_stability(run: Run, file: Path | None, seed: int) -> None:
    """Print the table of a finished run of `ipt stability`, and write its summary."""
    from ipt.analysis.summaries import stability_table

    result = run.result
    assert result is not None
    print_table(stability_table(result))
    print(f"run: {run.folder}")
    if file:
        summary = {key: result[key] for key in ("kind", "rows", "digest", "by_seed")}
        write_summary(file, summary, seed)


def write_summary(file: Path, record: dict[str, Any], seed: int) -> None:
    """Write a record with the command that made it and the seed, as a JSON file."""
    # The command as it was typed: tables in the log are made again with it.
    command = " ".join(["ipt", *sys.argv[1:]])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, finite(record | {"command": command, "seed": seed}))


def finite(record: Any) -> Any:
    """Return a record with null in the place of what JSON has no number for: nan, infinity."""
    if isinstance(record, dict):
        return {key: finite(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [finite(value) for value in record]
    if isinstance(record, float) and not math.isfinite(record):
        return None
    return record
