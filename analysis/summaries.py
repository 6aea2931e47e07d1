"""Summarise runs as small JSON records of numbers, and make the tables of README and LOG from them.

Each record has a `kind`, the command that makes it again, its seed and a digest of its scores:

| kind | of | made by |
|---|---|---|
| recovery | an MSF and an IST run | `summary` |
| study | many of them | `ipt.analysis.study.study_summary` |
| quality | prompts or definitions by group of tasks | `quality` |
| stability | methods over seeds | `ipt stability` |
| angles | tangent spaces of several runs | `ipt report` |
| bench | speed, memory, cost of a search | `ipt bench` |

A text holds `<!-- table FILE -->` … `<!-- end -->`, and `update_text` writes the table of that
record between the two. With `<!-- end short -->` it has a row per condition, of a study its main
columns. FILE may be a pattern over records that differ in their seed: their mean.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.markup import TextTable, markdown
from ipt.analysis.plots.bars import recovery_bars
from ipt.analysis.scores import (
    COLUMNS,
    NONE,
    SEEDS_COLUMN,
    TITLES,
    Line,
    cells,
    lines,
    over_seeds,
    per_task,
)
from ipt.analysis.spread import Spread
from ipt.analysis.study import brief_table, study_table
from ipt.data import SAME_DATA_SEED, Task
from ipt.recovery import MARGIN, from_json, is_above, to_json
from ipt.results import BY_NAME, RunResult

Record = dict[str, Any]
ScoresByTask = Mapping[str, float]

WELL_DONE = 0.3
"""A task with this score or more counts as done."""
KNOWLEDGE_NOTE = (
    "The facts of knowledge tasks were in the embedded backbone's pre-training; "
    "novel tasks were not in it in any form."
)
MARKED = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end(?: short)? -->)", re.S)

QUALITY_COLUMNS = {
    "prompt": "prompt",
    "tasks": "tasks",
    "count": "n",
    "mean_score": "mean score",
    "well_done": f"{WELL_DONE:.2f} or more",
    "above_floor": f"{MARGIN:.2f} above the floor",
    "dev_loss": "dev loss",
}
"""Heads by field; a record has the columns that its rows have."""
STABILITY_COLUMNS = (
    "method",
    "tasks",
    "seeds",
    "mean score",
    "E_rel",
    "above floor",
    "spread over seeds",
    "spread / prompt tuning's",
)
BENCH_COLUMNS = ("measured", "ours", "other", "unit", "ratio", "aim")


def recovery_figure(pairs: Sequence[Sequence[RunResult]], path: Path) -> None:
    """Draw the recovery in each condition with its interval, a group of bars per pair of results.

    pairs: an MSF and an IST result each.
    path: PNG, PDF or SVG.
    """
    values: dict[str, list[float]] = {name: [] for name in TITLES}
    intervals: dict[str, list[tuple[float, float]]] = {name: [] for name in TITLES}
    labels = []
    for pair in pairs:
        figures = {line.setting: line.recovery for line in lines(pair) if line.group == "all"}
        for name in TITLES:
            measured = figures.get(name)
            values[name].append(math.nan if measured is None else measured.relative)
            nothing = (math.nan, math.nan)
            intervals[name].append(nothing if measured is None else measured.interval)
        labels.append(_about(pair[0]))

    width = max(7.0, 4.0 * len(labels))
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.subplots()
    recovery_bars(axes, values, intervals, labels, TITLES)
    axes.set_title(
        "Recovered share of prompt tuning by setting (95 % intervals over tasks)",
        fontsize=10,
    )
    figure.savefig(path, dpi=160)


def _about(result: RunResult) -> str:
    return f"{result.split.name}, d = {result.dim}"


def summary(pair: Sequence[RunResult], command: str, seed: int) -> Record:
    """Return the figures of an MSF and an IST result as a record of kind `recovery`.

    It has each task's scores, and the digests of all scores and of the prompts. Where IST did
    controls alone, the subspace was not used and its figures are left out.
    """
    last = pair[-1]
    controls_alone = not any(_uses_the_subspace(name) for name in last.scores)
    shown = [last] if controls_alone else pair

    scores = [result.to_json()["scores"] for result in pair]
    text = json.dumps(scores, sort_keys=True)
    return {
        "kind": "recovery",
        "command": command,
        "seed": seed,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "prompts": pair[0].prompts,
        "parameters": None if controls_alone else pair[0].parameters,
        "reference": {
            "seen": mean_reference(last, last.split.seen),
            "unseen": mean_reference(last, _not_seen(last)),
        },
        "about": _about(last),
        "lines": [_line_record(line) for line in lines(shown)],
        "tasks": _task_scores(shown),
    }


def _uses_the_subspace(condition: str) -> bool:
    # MSF's own scores, or tuned vectors of its subspace.
    return condition == "train_msf" or BY_NAME[condition].source == "msf"


def _not_seen(result: RunResult) -> list[str]:
    return [name for name in result.tasks if name not in result.split.seen]


def mean_reference(result: RunResult, names: Sequence[str]) -> float | None:
    """Return prompt tuning's mean score on those of the tasks that a result has; None for none."""
    reference = result.reference[SAME_DATA_SEED]
    scores = [reference[name].generated for name in result.tasks if name in names]
    return round(float(np.mean(scores)), 6) if scores else None


def _line_record(line: Line) -> Record:
    return {"setting": line.setting, "group": line.group, **to_json(line.recovery)}


def _task_scores(results: Sequence[RunResult]) -> dict[str, dict[str, Record]]:
    """Return score, ranked score, reference and floor by condition and task."""
    by_condition: dict[str, dict[str, Record]] = {}
    for row in per_task(results):
        scores = {field: row[field] for field in ("score", "ranked", "reference", "floor")}
        by_condition.setdefault(row["setting"], {})[row["task"]] = scores
    return by_condition


def quality(
    prompt: str,
    tasks: Sequence[Task],
    scores: ScoresByTask,
    floors: ScoresByTask | None = None,
    losses: ScoresByTask | None = None,
) -> Record:
    """Return what a kind of prompt scores on trained, rule, knowledge and novel tasks.

    prompt: what the table calls it.
    floors: by task; None: not measured.
    losses: dev losses by task, in nats per token; None: not measured.
    """
    trained = [task for task in tasks if not task.novel]
    groups = {
        "trained": trained,
        "rule": [task for task in trained if not task.knowledge],
        "knowledge": [task for task in trained if task.knowledge],
        "novel": [task for task in tasks if task.novel],
    }
    rows = []
    for group, members in groups.items():
        names = [task.name for task in members]
        if names:
            figures = _quality_figures(names, scores, floors, losses)
            rows.append({"prompt": prompt, "tasks": group, **figures})

    text = json.dumps(scores, sort_keys=True)
    return {
        "kind": "quality",
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "rows": rows,
        "scores": scores,
    }


def _quality_figures(
    names: Sequence[str],
    scores: ScoresByTask,
    floors: ScoresByTask | None,
    losses: ScoresByTask | None,
) -> Record:
    """Return the count and the means of a group of tasks, and how many of them are done."""
    figures: Record = {
        "count": len(names),
        "mean_score": sum(scores[name] for name in names) / len(names),
        "well_done": sum(scores[name] >= WELL_DONE for name in names),
        "above_floor": None,
        "dev_loss": None,
    }
    if floors is not None:
        figures["above_floor"] = sum(is_above(scores[name], floors[name]) for name in names)
    if losses is not None:
        figures["dev_loss"] = sum(losses[name] for name in names) / len(names)
    return figures


def text_table(record: Record) -> TextTable:
    """Return a record's table as text; raise ValueError where it is of no kind with a table."""
    kind = record.get("kind")
    if kind not in TEXT_TABLES:
        raise ValueError(
            f"a summary of kind {', '.join(TEXT_TABLES)} was expected, found {kind}; "
            "one of an older version is made again by its command"
        )
    return TEXT_TABLES[kind](record)


def recovery_table(record: Record) -> TextTable:
    """Return the table of an MSF and an IST run: a row per condition and group of tasks."""
    return TextTable(COLUMNS, [cells(line) for line in _lines_of(record)])


def _lines_of(record: Record) -> list[Line]:
    table = []
    for row in record["lines"]:
        figures = dict(row)
        setting = figures.pop("setting")
        group = figures.pop("group")
        table.append(Line(setting, group, from_json(figures)))
    return table


def quality_table(record: Record) -> TextTable:
    """Return the table of `quality`; a figure that was not measured is an empty cell."""
    fields = [field for field in QUALITY_COLUMNS if field in record["rows"][0]]
    heads = [QUALITY_COLUMNS[field] for field in fields]
    rows = []
    for row in record["rows"]:
        rows.append([_quality_text(row[field]) for field in fields])
    return TextTable(heads, rows)


def _quality_text(value: str | int | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def stability_table(record: Record) -> TextTable:
    """Return the table of `ipt stability`: a row per method, shares in per cent."""
    rows = []
    for row in record["rows"]:
        texts = [
            row["method"],
            str(row["tasks"]),
            str(row["seeds"]),
            _number_text(row["mean_score"], 3),
            _number_text(row["relative"], 1, scale=100),
            _number_text(row["floored"], 1, scale=100),
            _number_text(row["spread"], 3),
            _number_text(row["spread_ratio"], 2),
        ]
        rows.append(texts)
    return TextTable(STABILITY_COLUMNS, rows)


def _number_text(value: float | None, digits: int, scale: float = 1) -> str:
    return NONE if value is None else f"{scale * value:.{digits}f}"


def angles_table(record: Record) -> TextTable:
    """Return the table of angles between runs, in degrees: mean (least … largest)."""
    rows = []
    dim = 0
    for row in record["rows"]:
        # The control is of no run.
        name = " and ".join(row["runs"]) or "random subspaces"
        spreads = [Spread(**angle) for angle in row["angles"]]
        dim = max(dim, len(spreads))
        rows.append([name, str(row["pairs"]), *(spread.text() for spread in spreads)])

    heads = ["tangent spaces of", "pairs"]
    for k in range(1, dim + 1):
        heads.append(f"angle {k}")
    return TextTable(heads, rows)


def bench_table(record: Record) -> TextTable:
    """Return the table of `ipt bench`: a row per measurement."""
    rows = []
    for value in record["values"]:
        texts = [
            f"{value['what']}; other: {value['against']}",
            _measured_text(value["ours"]),
            _measured_text(value["other"]),
            value["unit"],
            _measured_text(value["ratio"]),
            value["aim"],
        ]
        rows.append(texts)
    return TextTable(BENCH_COLUMNS, rows)


def bench_notes(record: Record) -> list[str]:
    """Return the remarks below the table of `ipt bench`, one a line."""
    return [f"{value['what']}: {value['more']}" for value in record["values"] if value["more"]]


def _measured_text(value: float | None) -> str:
    # Three or more digits, never as a power of ten.
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


TEXT_TABLES: dict[str, Callable[[Record], TextTable]] = {
    "recovery": recovery_table,
    "study": study_table,
    "quality": quality_table,
    "stability": stability_table,
    "angles": angles_table,
    "bench": bench_table,
}


def table_of(records: Sequence[Record], short: bool = False) -> str:
    """Return records of one kind as a Markdown table; those of several seeds are averaged.

    short: a row for each condition, with E_rel (and number) of the groups of tasks beside it; of a
        study the lines that have a cell and the main columns.
    Raises ValueError where the records are not of one split and d.
    """
    is_recovery = records[0].get("kind") == "recovery"
    abouts = [record.get("about") for record in records]
    if len(set(abouts)) > 1 or (len(records) > 1 and not is_recovery):
        named = "; ".join(map(str, abouts))
        raise ValueError(f"summaries that differ in more than their seed: {named}")

    if is_recovery:
        return _recovery_text(records, short)
    is_brief = short and records[0].get("kind") == "study"
    table = brief_table(records[0]) if is_brief else text_table(records[0])
    return markdown(table.columns, table.rows)


def _recovery_text(records: Sequence[Record], short: bool) -> str:
    """Return the table of one run, or the mean of several and what not all of them have."""
    tables = [_lines_of(record) for record in records]
    columns = list(COLUMNS)
    shown = tables[0]
    if len(tables) > 1:
        columns = [SEEDS_COLUMN if "interval" in name else name for name in COLUMNS]
        shown = over_seeds(tables)

    text = _short_text(columns, shown) if short else markdown(columns, map(cells, shown))

    every = {line.title for table in tables for line in table}
    missing = sorted(every - {line.title for line in shown})
    if missing:
        text += f"\nNot with every seed, so not in the table: {', '.join(missing)}.\n"
    return text


def _short_text(columns: Sequence[str], table: Sequence[Line]) -> str:
    """Return a row for each condition, with groups of tasks beside it.

    The groups are the kinds of unseen tasks where they differ, else novel, knowledge and rule.
    """
    by_group = {(line.setting, line.group): cells(line) for line in table}
    has_kinds = any(group == "out of kind" for _, group in by_group)
    groups = ("in kind", "out of kind") if has_kinds else ("novel", "knowledge", "rule")

    heads = [columns[0], *columns[2:6], columns[7]]
    for group in groups:
        heads.append(f"{group}, E_rel (n)")
        if has_kinds:
            heads.append(f"{group}, above floor")

    rows = []
    for line in table:
        if line.group != "all":
            continue
        overall = by_group[line.setting, "all"]
        row = [
            overall.title,
            overall.tasks,
            overall.absolute,
            overall.relative,
            overall.interval,
            overall.floored,
        ]
        for group in groups:
            beside = by_group.get((line.setting, group))
            row.append(NONE if beside is None else f"{beside.relative} ({beside.tasks})")
            if has_kinds:
                row.append(NONE if beside is None else beside.floored)
        rows.append(row)
    return markdown(heads, rows, texts=1)


def update_text(text: str, root: Path) -> str:
    """Return the text with every marked table made anew from its records below `root`.

    Raises ValueError where a mark names no file.
    """

    def marked_table(mark: re.Match[str]) -> str:
        start, pattern, end = mark.groups()
        return start + _table_with_source(root, pattern, short="short" in end) + end

    return MARKED.sub(marked_table, text)


def _table_with_source(root: Path, pattern: str, short: bool) -> str:
    """Return a table, and the command and the digests behind it."""
    records = []
    for path in sorted(root.glob(pattern)):
        records.append(json.loads(path.read_text(encoding="utf8")))
    if not records:
        raise ValueError(f"no summary {pattern} below {root}; make it with ipt runs export")

    table = table_of(records, short=short)
    digests = [f"seed {record['seed']}: scores {record['digest'][:12]}" for record in records]
    source = f"`{records[0]['command']}` ({', '.join(digests)})."
    if "knowledge" in table:
        source += f" {KNOWLEDGE_NOTE}"
    return f"{table}\n{source}\n"
