"""What leaves a run folder: the main figure, and small JSON summaries from which the tables of README and LOG are made.

A text holds `<!-- table FILE -->` … `<!-- end -->` (`<!-- end short -->`: one row per setting; of a study its main columns);
`update_text` writes the table of that summary between the two. FILE may be a pattern over summaries that differ in their seed: their mean.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.markup import markdown
from ipt.analysis.plots.bars import recovery_bars, recovery_dots
from ipt.analysis.scores import COLUMNS, SEEDS_COLUMN, TITLES, Line, cells, lines, over_seeds
from ipt.data import SAME_DATA_SEED, Task
from ipt.recovery import MARGIN, from_json, is_above, to_json
from ipt.results import RunResult

WELL = 0.3
QUALITY = ("prompt", "tasks", "n", "mean score", f"{WELL:.2f} or more", f"{MARGIN:.2f} above the floor", "dev loss")
STUDIED = {  # column of a study's table: setting, group of tasks, figure
    "seen, MSF": ("train_msf", "all", "relative"),
    "unseen, MSF": ("test_msf", "all", "relative"),
    "seen, same data": ("train_same", "all", "relative"),
    "seen, other data": ("train_diff", "all", "relative"),
    "seen, other data, above floor": ("train_diff", "all", "floored"),
    "unseen, score": ("test", "all", "absolute"),
    "unseen": ("test", "all", "relative"),
    "unseen, above floor": ("test", "all", "floored"),
    "unseen, in kind": ("test", "in kind", "relative"),
    "unseen, in kind, above floor": ("test", "in kind", "floored"),
    "unseen, out of kind": ("test", "out of kind", "relative"),
    "unseen, out of kind, above floor": ("test", "out of kind", "floored"),
    "unseen, new subcategory": ("test", "new subcategory", "relative"),
    "unseen, novel": ("test", "novel", "relative"),
    "unseen, knowledge": ("test", "knowledge", "relative"),
    "unseen, rule": ("test", "rule", "relative"),
    "random": ("random_test", "all", "relative"),
    "PCA": ("pca_test", "all", "relative"),
    "mixture, score": ("mixture_test", "all", "absolute"),
    "mixture": ("mixture_test", "all", "relative"),
    "mixture, above floor": ("mixture_test", "all", "floored"),
    "mixture, novel": ("mixture_test", "novel", "relative"),
}
BRIEF = (  # columns of a study's short table
    "cell", "seeds", "seen, other data", "unseen", "unseen, above floor", "mixture", "mixture, above floor", "PCA", "random",
    "prompt tuning, unseen",
)  # fmt: skip
DRAWN = ("seen, other data", "unseen", "unseen, in kind", "unseen, out of kind", "mixture", "PCA", "random")  # of a study's columns
NEVER = (float("nan"), float("nan"))
KNOWN = "The facts of knowledge tasks were in the embedded backbone's pre-training; novel tasks were not in it in any form."
MARKED = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end(?: short)? -->)", re.S)


def recovery_figure(pairs: Sequence[Sequence[RunResult]], path: Path) -> None:
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
        labels.append(f"{pair[0].split.name}, d = {pair[0].dim}")
    figure = Figure(figsize=(max(7.0, 4.0 * len(labels)), 4.2), layout="constrained")
    axes = figure.subplots()
    recovery_bars(axes, values, intervals, labels, TITLES)
    axes.set_title("Recovered share of prompt tuning by setting (95 % intervals over tasks)", fontsize=10)
    figure.savefig(path, dpi=160)


def summary(pair: Sequence[RunResult], command: str, seed: int) -> dict[str, Any]:
    """Return the figures of an MSF and an IST result as a small record with the command, the seed, the digests of scores and prompts.

    Where IST did rivals alone, the subspace was not used and its figures are left out.
    """
    rivals = "train_msf" not in pair[-1].scores and not {"train_same", "train_diff", "test"} & pair[-1].scores.keys()
    shown = pair[-1:] if rivals else pair
    scores = json.dumps([r.to_json()["scores"] for r in pair], sort_keys=True)
    return {
        "command": command,
        "seed": seed,
        "digest": hashlib.sha256(scores.encode()).hexdigest(),
        "prompts": pair[0].prompts,
        "parameters": None if rivals else pair[0].parameters,
        "reference": {part: _reference(pair[-1], part) for part in ("seen", "unseen")},
        "about": f"{pair[-1].split.name}, d = {pair[-1].dim}",
        "lines": [{"setting": line.setting, "group": line.group, **to_json(line.recovery)} for line in lines(shown)],
    }


def _reference(result: RunResult, part: str) -> float | None:
    """Return prompt tuning's mean score on the seen or the unseen tasks; None where there are none."""
    names = [n for n in result.tasks if (n in result.split.seen) == (part == "seen")]
    return round(float(np.mean([result.reference[SAME_DATA_SEED][n].generated for n in names])), 6) if names else None


def study(lines_of: Mapping[str, Sequence[dict[str, Any] | None]], command: str) -> dict[str, Any]:
    """Return a study's table from the summaries of each line's seeds (None: open): mean (least … largest seed).

    A setting that no cell has is no column; a figure that not every cell there has says of how many it is.
    """
    had = {(x["setting"], x["group"]) for each in lines_of.values() for record in each if record for x in record["lines"]}
    studied = {name: wanted for name, wanted in STUDIED.items() if wanted[:2] in had}
    rows = []
    for name, each in lines_of.items():
        there = [record for record in each if record is not None]
        row = [name, f"{len(there)} of {len(each)}"]
        for setting, group, field in studied.values():
            named = [x[field] for record in there for x in record["lines"] if (x["setting"], x["group"]) == (setting, group)]
            scale, digits = (1, 3) if field == "absolute" else (100, 1)
            found = [scale * x for x in named if x is not None]
            fewer = f" [{len(found)} of {len(there)}]" if 0 < len(found) < len(there) else ""
            row.append(spread(found, digits) + fewer if there else "open")
        row.append(spread([x for record in there if (x := record["reference"]["unseen"]) is not None], 3) if there else "open")
        row.append(" ".join(sorted({f"{record['parameters']:,}" for record in there if record["parameters"]})) or "–" * bool(there))
        row.append(" ".join(sorted({record["prompts"][:6] for record in there})))
        rows.append(row)
    digest = hashlib.sha256(json.dumps([[r and r["digest"] for r in each] for each in lines_of.values()]).encode()).hexdigest()
    seeds = sorted({record["seed"] for each in lines_of.values() for record in each if record})
    columns = ["cell", "seeds", *studied, "prompt tuning, unseen", "decoder's parameters", "prompts' hash"]
    return {"columns": columns, "rows": rows, "digest": digest, "command": command, "seed": ", ".join(map(str, seeds))}


def study_figure(lines_of: Mapping[str, Sequence[dict[str, Any] | None]], path: Path) -> None:
    """Draw the lines of a study that have a cell, as PNG: recovery, and beside it the same above the floor; nothing where none has."""
    measured = {"recovery (% of prompt tuning)": "relative", "the same above the floor (%)": "floored"}
    found = {label: drawn(lines_of, measure) for label, measure in measured.items()}
    if rows := found["recovery (% of prompt tuning)"]:
        figure = Figure(figsize=(9.4, 0.9 + 0.62 * len(rows)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (label, shares) in zip(panels, found.items(), strict=True):
            recovery_dots(axes, {name: shares.get(name, {}) for name in rows}, label)
        panels[0].get_legend().remove()
        figure.savefig(path, dpi=160)


def drawn(lines_of: Mapping[str, Sequence[dict[str, Any] | None]], measure: str) -> dict[str, dict[str, list[float]]]:
    """Return the shares of `DRAWN`, one per seed, by line of a study and setting, of the lines that have a cell.

    measure: relative (E_rel) or floored (the same above the floor); both 1 where prompt tuning is.
    """
    rows: dict[str, dict[str, list[float]]] = {}
    for name, each in lines_of.items():
        for title in DRAWN:
            found = [x[measure] for r in each if r for x in r["lines"] if (x["setting"], x["group"]) == STUDIED[title][:2]]
            if shares := [x for x in found if x is not None]:
                rows.setdefault(name, {})[title] = shares
    return rows


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the mean, and the least and largest where there are several."""
    if not values:
        return "–"
    mean = f"{sum(values) / len(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def quality(
    prompt: str,
    tasks: Sequence[Task],
    scores: dict[str, float],
    floors: dict[str, float] | None = None,
    losses: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return what a kind of prompt scores on trained, rule, knowledge and novel tasks: means, and how many tasks are well done.

    losses: dev losses, in nats per token.
    """
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
            above = "" if floors is None else str(sum(is_above(scores[name], floors[name]) for name in names))
            loss = "" if losses is None else f"{sum(losses[name] for name in names) / len(names):.3f}"
            rows.append([prompt, group, str(len(names)), f"{mean:.3f}", str(done), above, loss])
    digest = hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, "columns": list(QUALITY), "rows": rows}


def table_of(records: Sequence[dict[str, Any]], short: bool = False) -> str:
    """Return summaries of one kind as a Markdown table; those of several seeds are averaged.

    short: a row for each setting, with E_rel (and number) of the groups of tasks beside it; of a study the lines that are not open
    and the columns `BRIEF`. Raises ValueError where the summaries are not of one split and d.
    """
    if len({r.get("about") for r in records}) > 1 or "lines" not in records[0] and len(records) > 1:
        raise ValueError(f"summaries that differ in more than their seed: {'; '.join(str(r.get('about')) for r in records)}")
    if "lines" not in records[0]:
        found = _brief(records[0]) if short else records[0]
        return markdown(found["columns"], [row for row in found["rows"] if not (short and "open" in row)])
    tables = [
        [Line(x["setting"], x["group"], from_json({k: v for k, v in x.items() if k not in ("setting", "group")})) for x in r["lines"]]
        for r in records
    ]
    columns = [SEEDS_COLUMN if "interval" in name and len(tables) > 1 else name for name in COLUMNS]
    shown = over_seeds(tables) if len(tables) > 1 else tables[0]
    rows = [cells(line) for line in shown]
    lacking = sorted({line.title for table in tables for line in table} - {line.title for line in shown})
    note = f"\nNot with every seed, so not in the table: {', '.join(lacking)}.\n" if lacking else ""
    return (_short(columns, rows) if short else markdown(columns, rows)) + note


def _short(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a row for each setting; beside it the kinds of unseen tasks where they differ, else the groups of tasks."""
    by_group = {(row[0], row[1]): row for row in rows}
    kinds = any(group == "out of kind" for _, group in by_group)
    apart = ("in kind", "out of kind") if kinds else ("novel", "knowledge", "rule")
    short = []
    for row in rows:
        if row[1] == "all":
            groups = [by_group.get((row[0], group)) for group in apart]
            beside = [[f"{g[4]} ({g[2]})", g[7]] if g else ["–", "–"] for g in groups]
            short.append([row[0], *row[2:6], row[7], *(x for each in beside for x in each[: 1 + kinds])])
    heads = [head for group in apart for head in (f"{group}, E_rel (n)", f"{group}, above floor")[: 1 + kinds]]
    return markdown([columns[0], *columns[2:6], columns[7], *heads], short, texts=1)


def _brief(found: dict[str, Any], *without: str) -> dict[str, Any]:
    """Return a table with the columns `BRIEF` alone."""
    kept = [i for i, name in enumerate(found["columns"]) if name in BRIEF and name not in without]
    return {"columns": [found["columns"][i] for i in kept], "rows": [[row[i] for i in kept] for row in found["rows"]]}


def study_means(found: dict[str, Any]) -> dict[str, Any]:
    """Return a study's table as 80 columns of a terminal have room for: means over seeds, without their spread."""
    brief = _brief(found, "mixture, above floor")
    return brief | {"rows": [[re.sub(r" \(.* … .*\)", "", text) for text in row] for row in brief["rows"]]}


def update_text(text: str, root: Path) -> str:
    """Return the text with every marked table made anew from its summaries below `root`."""

    def fill(found: re.Match[str]) -> str:
        records = [json.loads(path.read_text(encoding="utf8")) for path in sorted(root.glob(found[2]))]
        if not records:
            raise ValueError(f"no summary {found[2]} below {root}; make it with ipt runs export")
        table = table_of(records, short=found[3] == "<!-- end short -->")
        seeds = ", ".join(f"seed {r['seed']}: scores {r['digest'][:12]}" for r in records)
        known = f" {KNOWN}" if "knowledge" in table else ""
        return f"{found[1]}{table}\n`{records[0]['command']}` ({seeds}).{known}\n{found[3]}"

    return MARKED.sub(fill, text)
