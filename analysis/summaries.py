"""Summarise runs as small JSON records of numbers, and make the tables of README and LOG from them.

Each record has a `kind`, the command that makes it again, its seed and a digest of its scores:

| kind | of | made by |
|---|---|---|
| recovery | an MSF and an IST run | `summary` |
| tuning | deltas without a subspace | `tuning_summary` |
| study | many of them | `ipt.analysis.study.study_summary` |
| protocol | a study by the rules of a protocol | `ipt.analysis.protocol_table.protocol_summary` |
| methods | a study whose cells only tune | `ipt.analysis.methods.methods_summary` |
| dimensions | a study by its methods | `ipt.analysis.dimensions.dimensions_summary` |
| quality | prompts or definitions by group of tasks | `quality` |
| stability | methods over seeds | `ipt stability` |
| angles | tangent spaces of several runs | `ipt report` |
| bench | speed, memory, cost of a search | `ipt bench` |
| overview | the README's few rows | `ipt.analysis.plots.overview` |

A text holds `<!-- table FILE -->` … `<!-- end -->`, and `update_text` writes the table of that
record between the two. With `<!-- end short -->` it has a row per condition, of a study its main
columns. FILE may be a pattern over records that differ in their seed: their mean.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.dimensions import dimensions_brief, dimensions_table
from ipt.analysis.markup import TextTable, markdown
from ipt.analysis.methods import methods_brief, methods_table
from ipt.analysis.plots.bars import recovery_bars
from ipt.analysis.protocol_table import protocol_brief, protocol_table
from ipt.analysis.scores import (
    COLUMNS,
    NONE,
    SEEDS_COLUMN,
    TITLES,
    Cells,
    Line,
    cells,
    lines,
    over_seeds,
    per_task,
)
from ipt.analysis.spread import Spread
from ipt.analysis.study import brief_table, study_table
from ipt.data import SAME_DATA_SEED, Task, stratum
from ipt.recovery import MARGIN, from_json, is_above, to_json
from ipt.results import BY_NAME, RunResult

Record = dict[str, Any]
ScoresByTask = Mapping[str, float]
Interval = tuple[float, float]

# A task with this score or more counts as done.
WELL_DONE = 0.3
# Stands below every table that has knowledge tasks apart.
KNOWLEDGE_NOTE = (
    "The facts of knowledge tasks were in the embedded backbone's pre-training; "
    "novel tasks were not in it in any form."
)
# A mark with its file, what stands below it, and the end with its form.
MARKED = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end(?: short)? -->)", re.S)

# Heads by field; a record has the columns that its rows have.
QUALITY_COLUMNS = {
    "prompt": "prompt",
    "tasks": "tasks",
    "count": "n",
    "mean_score": "mean score",
    "well_done": f"{WELL_DONE:.2f} or more",
    "above_floor": f"{MARGIN:.2f} above the floor",
    "dev_loss": "dev loss",
}
# Heads of `ipt stability`; the last one is the method's spread over that of prompt tuning.
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
# Heads of `ipt bench`; the ratio says how many times better ours is.
OVERVIEW_COLUMNS = ("what is tuned", "% of prompt tuning", "above the floor")
BENCH_COLUMNS = ("measured", "ours", "other", "unit", "ratio", "aim")


def recovery_figure(pairs: Sequence[Sequence[RunResult]], path: Path) -> None:
    """Draw the recovery in each condition with its interval, a group of bars per pair of results.

    pairs: an MSF and an IST result each.
    path: PNG, PDF or SVG.
    """
    labels = [_about(pair[0]) for pair in pairs]

    # NaN leaves a bar out.
    values: dict[str, list[float]] = {}
    intervals: dict[str, list[Interval]] = {}
    tables = []
    measured: set[str] = set()
    for pair in pairs:
        overall = [line for line in lines(pair) if line.group == "all"]
        measured |= {line.setting for line in overall}
        tables.append(overall)
    for name in TITLES:
        # A condition that no run has takes no room, nor one of which no task was scored.
        if name not in measured:
            continue
        values[name] = [math.nan] * len(pairs)
        intervals[name] = [(math.nan, math.nan)] * len(pairs)

    for position, table in enumerate(tables):
        for line in table:
            values[line.setting][position] = line.recovery.relative
            intervals[line.setting][position] = line.recovery.interval

    # Inches, so that the bars of each pair have the same width.
    width = max(7.0, 4.0 * len(labels))
    figure = Figure(figsize=(width, 4.2), layout="constrained")
    axes = figure.subplots()
    titles = {name: TITLES[name] for name in values}
    recovery_bars(axes, values, intervals, labels, titles)
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
    controls_alone = not any(map(_uses_the_subspace, last.scores))
    shown = [last] if controls_alone else pair

    # Of both runs' scores, whatever is shown: the record is of these runs and no others.
    scores = []
    for result in pair:
        scores.append(result.to_json()["scores"])

    line_records = []
    for line in lines(shown):
        # Six digits: what a table shows, and room to average seeds.
        place = {"setting": line.setting, "group": line.group}
        line_records.append(place | to_json(line.recovery))

    record: Record = {
        "kind": "recovery",
        "command": command,
        "seed": seed,
        "digest": _digest(scores),
        "prompts": pair[0].prompts,
        "parameters": None if controls_alone else pair[0].parameters,
        "reference": {
            "seen": mean_reference(last, last.split.seen),
            "unseen": mean_reference(last, last.split.unseen + last.split.out_of_kind),
        },
        "about": _about(last),
        "dim": last.dim,
        "lines": line_records,
        "tasks": _task_scores(shown),
        "subcategories": _subcategories(last),
        "seen": len(last.split.seen),
    }
    strata = _strata(last)
    if strata:
        record["strata"] = strata
    # Beside the d numbers of each task's vector.
    if last.heads:
        record["heads"] = last.heads
    return record


def _subcategories(result: RunResult) -> dict[str, str]:
    """Return the subcategory of each task that has one."""
    named = {}
    for name, task in result.tasks.items():
        if task.subcategory:
            named[name] = task.subcategory
    return named


def _strata(result: RunResult) -> dict[str, str]:
    """Return the stratum of each unseen task; empty where tasks have no such difference."""
    if not any(task.novel or task.knowledge for task in result.tasks.values()):
        return {}
    unseen = {*result.split.unseen, *result.split.out_of_kind}
    named = {}
    for name, task in result.tasks.items():
        if name in unseen:
            named[name] = stratum(task.novel, task.knowledge)
    return named


def tuning_summary(tuned: Record, command: str) -> Record:
    """Return what `ipt tune` wrote about its tasks as a study keeps it: a cell without a subspace.

    It has a run's fields, so that the study's table has a line for it: no recovery, a reference.
    """
    tasks: dict[str, dict[str, Record]] = {}
    subcategories = {}
    heads = {}
    for name, task in tuned["tasks"].items():
        # Tuning is its own reference. What older versions wrote has no parts of the floor.
        figures = {"score": task["score"], "floor": task["floor"]}
        for floor, value in task.get("floors", {}).items():
            if value is not None:
                figures[floor] = round(value, 6)
        if "numbers" in task:
            figures["numbers"] = task["numbers"]
        part = "tuned_seen" if task["is_seen"] else "tuned_unseen"
        tasks.setdefault(part, {})[name] = figures
        group = task["subcategory"] or task.get("category")
        if group:
            subcategories[name] = group
        if "head" in task:
            heads[name] = task["head"]

    means: dict[str, float | None] = {"seen": None, "unseen": None}
    for part, of_part in tasks.items():
        scores = [figures["score"] for figures in of_part.values()]
        means[part.removeprefix("tuned_")] = round(float(np.mean(scores)), 6)
    record: Record = {
        "kind": "tuning",
        "command": command,
        "seed": tuned["seed"],
        "digest": tuned["digest"],
        "prompts": "",
        "parameters": None,
        "reference": means,
        "about": tuned["about"],
        "dim": None,
        "lines": [],
        "tasks": tasks,
        "subcategories": subcategories,
    }
    if heads:
        record["heads"] = heads
    return record


def _uses_the_subspace(condition: str) -> bool:
    # MSF's own scores, or tuned vectors of its subspace.
    return condition == "train_msf" or BY_NAME[condition].source == "msf"


def _digest(record: Any) -> str:
    """Return a checksum of plain JSON values, in which the order of keys does not count."""
    text = json.dumps(record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def mean_reference(result: RunResult, names: Collection[str]) -> float | None:
    """Return prompt tuning's mean score on those of the tasks that a result has; None for none."""
    # The order of the result's tasks, so that the sum is always the same.
    reference = result.reference[SAME_DATA_SEED]
    scores = []
    for name in result.tasks:
        if name in names:
            scores.append(reference[name].generated)
    return round(float(np.mean(scores)), 6) if scores else None


def _task_scores(results: Sequence[RunResult]) -> dict[str, dict[str, list[float]]]:
    """Return score, reference and floor by condition and task (`dimensions.task_figures`)."""
    # What the tasks are is known by their names; the record stays small without it.
    by_condition: dict[str, dict[str, list[float]]] = {}
    for row in per_task(results):
        scores = [row["score"], row["reference"], row["floor"]]
        tasks = by_condition.setdefault(row["setting"], {})
        tasks[row["task"]] = scores
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
    groups: dict[str, list[str]] = {"trained": [], "rule": [], "knowledge": [], "novel": []}
    for task in tasks:
        # A novel task that needs facts counts as novel.
        if task.novel:
            groups["novel"].append(task.name)
            continue
        groups["trained"].append(task.name)
        kind = "knowledge" if task.knowledge else "rule"
        groups[kind].append(task.name)

    rows = []
    for group, names in groups.items():
        if names:
            figures = _quality_figures(names, scores, floors, losses)
            rows.append({"prompt": prompt, "tasks": group, **figures})

    return {
        "kind": "quality",
        "digest": _digest(scores),
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
    values = [scores[name] for name in names]
    well_done = [value for value in values if value >= WELL_DONE]

    # None: the floors, or the losses, were not measured.
    above_floor = None
    if floors is not None:
        above_floor = 0
        for name in names:
            if is_above(scores[name], floors[name]):
                above_floor += 1
    dev_loss = None
    if losses is not None:
        dev_loss = sum(losses[name] for name in names) / len(names)

    return {
        "count": len(names),
        "mean_score": sum(values) / len(values),
        "well_done": len(well_done),
        "above_floor": above_floor,
        "dev_loss": dev_loss,
    }


def text_table(record: Record) -> TextTable:
    """Return a record's table as text; raise ValueError where it is of no kind with a table."""
    kind = record.get("kind")
    # Older versions stored texts below `columns`, in run folders too.
    if kind not in TEXT_TABLES or "columns" in record:
        raise ValueError(
            f"numbers of kind {', '.join(TEXT_TABLES)} were expected, found kind {kind} with "
            f"{', '.join(sorted(record))}; what an older version made, make again by its command"
        )
    return TEXT_TABLES[kind](record)


def recovery_table(record: Record) -> TextTable:
    """Return the table of an MSF and an IST run: a row per condition and group of tasks."""
    rows = [cells(line) for line in _lines_of(record)]
    return TextTable(COLUMNS, rows)


def _lines_of(record: Record) -> list[Line]:
    # A row has its place in the table beside its figures.
    table = []
    for row in record["lines"]:
        figures = dict(row)
        setting = figures.pop("setting")
        group = figures.pop("group")
        table.append(Line(setting, group, from_json(figures)))
    return table


def quality_table(record: Record) -> TextTable:
    """Return the table of `quality`; a figure that was not measured is an empty cell."""
    # Records of older versions have fewer figures.
    fields = []
    heads = []
    for field, head in QUALITY_COLUMNS.items():
        if field in record["rows"][0]:
            fields.append(field)
            heads.append(head)

    rows = []
    for row in record["rows"]:
        values = [row[field] for field in fields]
        rows.append(list(map(_quality_text, values)))
    return TextTable(heads, rows)


def _quality_text(value: str | int | float | None) -> str:
    if value is None:
        return ""
    # Counts and names are as they are.
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
    # None: nothing to compare with, as where prompt tuning has no spread over seeds.
    return NONE if value is None else f"{scale * value:.{digits}f}"


def angles_table(record: Record) -> TextTable:
    """Return the table of angles between runs, in degrees: mean (least … largest)."""
    # Only runs of one d are compared.
    dim = len(record["rows"][0]["angles"])
    heads = ["tangent spaces of", "pairs"]
    for k in range(1, dim + 1):
        heads.append(f"angle {k}")

    rows = []
    for row in record["rows"]:
        # The control is of no run.
        name = " and ".join(row["runs"]) or "random subspaces"
        texts = [name, str(row["pairs"])]
        for angle in row["angles"]:
            texts.append(Spread(**angle).text())
        rows.append(texts)
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
    notes = []
    for value in record["values"]:
        if value["more"]:
            notes.append(f"{value['what']}: {value['more']}")
    return notes


def overview_table(record: Record) -> TextTable:
    """Return the README's table: means over seeds, in per cent.

    The figure beside it draws their spread; docs/results-reference.md has it in numbers.
    """
    rows = []
    for row in record["rows"]:
        relative = Spread(**row["relative"])
        floored = Spread(**row["floored"])
        rows.append([row["title"], relative.mean_text(scale=100), floored.mean_text(scale=100)])
    return TextTable(OVERVIEW_COLUMNS, rows)


def _measured_text(value: float | None) -> str:
    # None: the aim was never reached.
    if value is None:
        return "-"

    # Three or more digits, never as a power of ten.
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


TEXT_TABLES: dict[str, Callable[[Record], TextTable]] = {
    "recovery": recovery_table,
    "study": study_table,
    "dimensions": dimensions_table,
    "methods": methods_table,
    "protocol": protocol_table,
    "quality": quality_table,
    "stability": stability_table,
    "angles": angles_table,
    "bench": bench_table,
    "overview": overview_table,
}
# The main columns of those that have more than a page has room for.
BRIEF_TABLES: dict[str, Callable[[Record], TextTable]] = {
    "study": brief_table,
    "dimensions": dimensions_brief,
    "methods": methods_brief,
    "protocol": protocol_brief,
}


def table_of(records: Sequence[Record], short: bool = False) -> str:
    """Return records of one kind as a Markdown table; those of several seeds are averaged.

    short: a row for each condition, with E_rel (and number) of the groups of tasks beside it; of a
        study the main columns, and of its cells those lines that have one.
    Raises ValueError where the records are not of one split and d.
    """
    first = records[0]
    kind = first.get("kind")

    # Only recoveries have a mean over seeds, and only those of the same tasks and d.
    abouts = [str(record.get("about")) for record in records]
    if len(set(abouts)) > 1 or (len(records) > 1 and kind != "recovery"):
        named = "; ".join(abouts)
        raise ValueError(f"summaries that differ in more than their seed: {named}")
    if kind == "recovery":
        return _recovery_text(records, short)

    # Tables of the other kinds are short enough.
    brief = BRIEF_TABLES.get(str(kind)) if short else None
    table = brief(first) if brief else text_table(first)
    return markdown(table.columns, table.rows)


def _recovery_text(records: Sequence[Record], short: bool) -> str:
    """Return the table of one run, or the mean of several and what not all of them have."""
    tables = list(map(_lines_of, records))
    columns = list(COLUMNS)
    shown = tables[0]
    is_over_seeds = len(tables) > 1
    if is_over_seeds:
        # Intervals over tasks have no mean; the seeds' own range stands in their place.
        columns = [SEEDS_COLUMN if "interval" in name else name for name in COLUMNS]
        shown = over_seeds(tables)

    rows = [cells(line, is_over_seeds) for line in shown]
    text = _short_text(columns, shown, rows) if short else markdown(columns, rows)

    # What a reader would look for in vain.
    titles: set[str] = set()
    for table in tables:
        titles.update(line.title for line in table)
    missing = sorted(titles.difference(line.title for line in shown))
    if missing:
        text += f"\nNot with every seed, so not in the table: {', '.join(missing)}.\n"
    return text


def _short_text(columns: Sequence[str], table: Sequence[Line], texts: Sequence[Cells]) -> str:
    """Return a row for each condition, with groups of tasks beside it.

    The groups are the kinds of unseen tasks where they differ, else novel, knowledge and rule.
    """
    by_group = {}
    has_kinds = False
    for line, cells_of_line in zip(table, texts, strict=True):
        by_group[line.setting, line.group] = cells_of_line
        has_kinds = has_kinds or line.group == "out of kind"
    groups = ("in kind", "out of kind") if has_kinds else ("novel", "knowledge", "rule")

    # Two groups have room for both figures, three for one.
    heads = [columns[0], *columns[2:6], columns[7]]
    for group in groups:
        heads.append(f"{group}, E_rel (n)")
        if has_kinds:
            heads.append(f"{group}, above floor")

    # Lines of groups stand beside that of their condition.
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
        # Seen tasks have no kinds, and may have no novel ones.
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
    # In the order of names, as the order of folders is the file system's.
    records = []
    for path in sorted(root.glob(pattern)):
        records.append(json.loads(path.read_text(encoding="utf8")))
    if not records:
        raise ValueError(f"no summary {pattern} below {root}; make it with ipt runs export")

    table = table_of(records, short=short)
    # Twelve letters of the digest are enough to see that the scores are others.
    digests = []
    for record in records:
        digests.append(f"seed {record['seed']}: scores {record['digest'][:12]}")
    source = f"`{records[0]['command']}` ({', '.join(digests)})."

    # Wherever a row is of knowledge tasks, what they are worth stands below.
    if "knowledge" in table:
        source += f" {KNOWLEDGE_NOTE}"
    return f"{table}\n{source}\n"
