"""What leaves a run folder: the main figure, and small JSON summaries from which the tables of README and LOG are made.

A text holds `<!-- table FILE -->` … `<!-- end -->` (`<!-- end short -->`: one row per setting); `update_text` writes the
table of that summary between the two.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ipt.analysis.figures import recovery_bars
from ipt.analysis.scores import COLUMNS, SEEDS_COLUMN, TITLES, Result, cells, lines, over_seeds
from ipt.data import Task
from ipt.recovery import MARGIN

WELL = 0.3
QUALITY = ("prompt", "tasks", "n", "mean score", f"{WELL:.2f} or more", f"{MARGIN:.2f} above the floor")
NEVER = (float("nan"), float("nan"))
KNOWN = "The facts of knowledge tasks were in the embedded backbone's pre-training; novel tasks were not in it in any form."
MARKED = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end(?: short)? -->)", re.S)


def recovery_figure(pairs: Sequence[Sequence[Result]], path: Path) -> None:
    """Draw the recovery in each setting with its interval, a group of bars per pair of an MSF and an IST result."""
    values: dict[str, list[float]] = {setting: [] for setting in TITLES}
    intervals: dict[str, list[tuple[float, float]]] = {setting: [] for setting in TITLES}
    labels = []
    for pair in pairs:
        found = {line.setting: line.recovery for line in lines(pair) if line.group == "all"}
        for setting in TITLES:
            known = found.get(setting)
            values[setting].append(known.relative if known else float("nan"))
            intervals[setting].append(known.interval if known else NEVER)
        labels.append(f"{pair[0]['split']['name']}, d = {pair[0]['dim']}")
    figure = Figure(figsize=(max(7.0, 4.0 * len(labels)), 4.2), layout="constrained")
    axes = figure.subplots()
    recovery_bars(axes, values, intervals, labels, TITLES)
    axes.set_title("Recovered share of prompt tuning by setting (95 % intervals over tasks)", fontsize=10)
    figure.savefig(path, dpi=160)


def summary(pairs: Sequence[Sequence[Result]], command: str, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the table of an MSF and an IST result, or its mean over pairs of several seeds, as a small record.

    It has the command, the seeds and a digest of the scores behind it. Raises ValueError where the pairs are not of one
    split and d.
    """
    kinds = {f"{pair[-1]['split']['name']}, d = {pair[-1]['dim']}" for pair in pairs}
    if len(kinds) != 1:
        raise ValueError(f"name one or more runs of one split and one d, found: {'; '.join(sorted(kinds)) or 'none'}")
    scores = json.dumps([r["scores"] for pair in pairs for r in pair], sort_keys=True)
    tables = [lines(pair) for pair in pairs]
    several = len(tables) > 1
    columns = [SEEDS_COLUMN if several and "interval" in name else name for name in COLUMNS]
    rows = [list(cells(line)) for line in (over_seeds(tables) if several else tables[0])]
    digest = hashlib.sha256(scores.encode()).hexdigest()
    return {"command": command, "seeds": list(seeds), "digest": digest, "columns": columns, "rows": rows}


def quality(prompt: str, tasks: Sequence[Task], scores: dict[str, float], floors: dict[str, float] | None = None) -> dict[str, Any]:
    """Return what a kind of prompt scores on trained, rule, knowledge and novel tasks: means, and how many tasks are well done."""
    groups = {
        "trained": [t.name for t in tasks if not t.novel],
        "rule": [t.name for t in tasks if not t.novel and not t.knowledge],
        "knowledge": [t.name for t in tasks if not t.novel and t.knowledge],
        "novel": [t.name for t in tasks if t.novel],
    }
    rows = []
    for group, names in groups.items():
        if names:
            mean = sum(scores[name] for name in names) / len(names)
            done = sum(scores[name] >= WELL for name in names)
            above = "" if floors is None else str(sum(scores[name] >= floors[name] + MARGIN for name in names))
            rows.append([prompt, group, str(len(names)), f"{mean:.3f}", str(done), above])
    digest = hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, "columns": list(QUALITY), "rows": rows}


def table_of(record: dict[str, Any]) -> str:
    """Return a summary as Markdown, a row for each setting and group of tasks."""
    return _markdown(record["columns"], record["rows"], texts=2)


def short_table_of(record: dict[str, Any]) -> str:
    """Return a summary of recoveries as Markdown, a row for each setting; groups of tasks apart as E_rel (tasks)."""
    apart = ("novel", "knowledge", "rule")
    by_group = {(row[0], row[1]): row for row in record["rows"]}
    rows = []
    for row in record["rows"]:
        if row[1] == "all":
            groups = [by_group.get((row[0], group)) for group in apart]
            rows.append([row[0], *row[2:6], row[7], *(f"{g[4]} ({g[2]})" if g else "–" for g in groups)])
    columns = record["columns"]
    return _markdown([columns[0], *columns[2:6], columns[7], *(f"{group}, E_rel (n)" for group in apart)], rows, texts=1)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """Return a table whose first columns are texts and the others numbers."""
    rule = "|" + "---|" * texts + "---:|" * (len(columns) - texts)
    return "\n".join(["| " + " | ".join(columns) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def update_text(text: str, root: Path) -> str:
    """Return the text with every marked table made anew from its summary below `root`."""

    def fill(found: re.Match[str]) -> str:
        record = json.loads((root / found[2]).read_text(encoding="utf8"))
        seeds = "seed" + "s" * (len(record["seeds"]) > 1) + " " + ", ".join(map(str, record["seeds"]))
        source = f"`{record['command']}` ({seeds}, scores {record['digest'][:12]})."
        source += f" {KNOWN}" if any(row[1] == "knowledge" for row in record["rows"]) else ""
        table = short_table_of(record) if found[3] == "<!-- end short -->" else table_of(record)
        return f"{found[1]}{table}\n{source}\n{found[3]}"

    return MARKED.sub(fill, text)
