"""Compare the methods of a study whose cells only tune: scores by group of tasks, and floors.

A method is a line of the study, its cells differ in their seed. Of each group of tasks (a task's
subcategory, or its category where it has none) it has

    mean        = mean over seeds and tasks of the score
    difference  = mean over seeds and tasks of (score - score of the reference, same task and seed)

with 95 % intervals: percentiles over means in which both tasks and seeds are drawn again, with
replacement. The reference is the line `full`, or the study's first. Floors are rows of their own:
the best constant answer, the head alone on the frozen model, and the methods' untrained starts.

The record is numbers; `methods_table` is its text, `methods_figure` its drawing. A method without a
cell is open.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.markup import TextTable
from ipt.analysis.plots.methods import Group, methods_panels
from ipt.analysis.scores import NONE
from ipt.analysis.study import OPEN, CellsByLine, digest_of_cells

Record = dict[str, Any]
# Scores by seed and task.
Scores = dict[int, dict[str, float]]
# All tasks, beside their groups.
ALL = "all"
FULL = "full"
RESAMPLES = 2000
# Per cent of the resamples between the ends of an interval.
ENDS = (2.5, 97.5)
# As a cell has them, and what the table calls them.
FLOORS = {
    "chance": "floor: best constant answer",
    "empty": "floor: head alone",
    "start": "floor: untrained start",
}
# Of a model that reads words and has no head.
EMPTY_PROMPT = "floor: empty prompt"


def methods_summary(lines: CellsByLine, command: str) -> Record:
    """Return the methods of a study as numbers.

    lines: by method, the record of each cell; None: open.
    command: what makes the study again.
    """
    done: list[Record] = []
    for records in lines.values():
        done += _done(records)
    groups = _groups_of(done)
    reference = FULL if FULL in lines else next(iter(lines))
    compared = _figures_of(_done(lines[reference]), "score")

    rows = []
    for name, records in lines.items():
        scores = _figures_of(_done(records), "score")
        other = {} if name == reference else compared
        place = {"name": name, "done": len(_done(records)), "planned": len(records)}
        rows.append(place | _numbers_of(_done(records)) | _by_group(scores, other, groups))

    floors = []
    for floor, title in FLOORS.items():
        found = _figures_of(done, floor)
        if found:
            name = title if floor != "empty" or _has_heads(done) else EMPTY_PROMPT
            floors.append({"name": name} | _by_group(found, {}, groups))
    seeds = sorted({record["seed"] for record in done})
    return {
        "kind": "methods",
        "command": command,
        "seed": ", ".join(map(str, seeds)),
        "digest": digest_of_cells(lines),
        "reference": reference,
        "groups": {group: len(tasks) for group, tasks in groups.items()},
        "rows": rows,
        "floors": floors,
    }


def _done(records: Sequence[Record | None]) -> list[Record]:
    return [record for record in records if record is not None]


def _tasks_of(record: Record) -> Record:
    """Return a cell's figures by task; seen and unseen are one where nothing is transferred."""
    tasks: Record = {}
    for of_part in record["tasks"].values():
        tasks |= of_part
    return tasks


def _groups_of(records: Sequence[Record]) -> dict[str, list[str]]:
    """Return the tasks of each group, and of all where there are several groups."""
    by_group: dict[str, set[str]] = {}
    for record in records:
        for name in _tasks_of(record):
            group = record["subcategories"].get(name, ALL)
            by_group.setdefault(group, set()).add(name)
    groups = {group: sorted(names) for group, names in by_group.items()}
    if len(groups) > 1:
        groups[ALL] = sorted(set().union(*by_group.values()))
    return groups


def _has_heads(records: Sequence[Record]) -> bool:
    return any("head" in record["settings"]["tune"] for record in records)


def _figures_of(records: Iterable[Record], figure: str) -> Scores:
    """Return a figure by seed and task; where several cells have a seed, their mean."""
    values: dict[int, dict[str, list[float]]] = {}
    for record in records:
        of_seed = values.setdefault(record["seed"], {})
        for name, figures in _tasks_of(record).items():
            if figures.get(figure) is not None:
                of_seed.setdefault(name, []).append(figures[figure])
    means: Scores = {}
    for seed, by_task in values.items():
        for name, found in by_task.items():
            means.setdefault(seed, {})[name] = float(np.mean(found))
    return means


def _numbers_of(records: Sequence[Record]) -> Record:
    """Return how many numbers a delta has, and a task's head at least and at most."""
    deltas = None
    heads = set()
    for record in records:
        deltas = record["tuner"]["numbers"]
        for figures in _tasks_of(record).values():
            heads.add(figures.get("numbers", deltas) - deltas)
    return {"numbers": deltas, "head": [min(heads), max(heads)] if heads else None}


def _by_group(scores: Scores, other: Scores, groups: Mapping[str, Sequence[str]]) -> Record:
    """Return mean and difference in each group that both have."""
    means = {}
    differences = {}
    for group, names in groups.items():
        means[group] = mean_interval(_matrix(scores, None, names))
        if other:
            differences[group] = mean_interval(_matrix(scores, other, names))
    return {"means": means, "differences": differences}


def _matrix(scores: Scores, other: Scores | None, names: Sequence[str]) -> np.ndarray:
    """Return scores [S, T], or how far they are above others, of seeds that have all tasks."""
    rows = []
    for seed in sorted(scores):
        own = scores[seed]
        base = dict.fromkeys(names, 0.0) if other is None else other.get(seed, {})
        if own.keys() >= set(names) and base.keys() >= set(names):
            rows.append([own[name] - base[name] for name in names])
    return np.array(rows).reshape(len(rows), len(names))


def mean_interval(values: np.ndarray) -> Record | None:
    """Return the mean of values [S, T] and its 95 % interval; None where there are none.

    One value has no interval: low and high are null.
    """
    seeds, tasks = values.shape
    if not values.size:
        return None
    record: Record = {"mean": round(float(values.mean()), 4), "low": None, "high": None}
    if values.size > 1:
        # Fixed, so that a table made again is the same; and every method has the same draws.
        generator = np.random.default_rng(0)
        of_seeds = generator.integers(seeds, size=(RESAMPLES, seeds, 1))
        of_tasks = generator.integers(tasks, size=(RESAMPLES, 1, tasks))
        means = values[of_seeds, of_tasks].mean(axis=(1, 2))  # [RESAMPLES]
        low, high = np.percentile(means, ENDS)
        record |= {"low": round(float(low), 4), "high": round(float(high), 4)}
    return record | {"seeds": seeds, "tasks": tasks}


# ------------------------------------------------------------ text


def ordered_groups(record: Record) -> list[str]:
    """Return the groups by name, that of all tasks last."""
    return sorted(record["groups"], key=lambda group: (group == ALL, group))


def methods_table(record: Record) -> TextTable:
    """Return the table as text: scores and differences in points of 100, with 95 % intervals."""
    return _text_table(record, ordered_groups(record), differences=True)


def methods_brief(record: Record) -> TextTable:
    """Return the table with the difference over all tasks alone."""
    return _text_table(record, ordered_groups(record)[-1:], differences=False)


def _text_table(record: Record, compared: Sequence[str], differences: bool) -> TextTable:
    groups = ordered_groups(record)
    reference = record["reference"]
    heads = ["method", "seeds", "numbers per task: delta + head"]
    heads += [_group_title(group, record["groups"][group]) for group in groups]
    # With one group its title is said by the column before it.
    for group in compared:
        of_group = f", {group}" if differences and len(groups) > 1 else ""
        heads.append(f"minus {reference}{of_group}")

    rows = []
    for row in record["rows"]:
        texts = [row["name"], f"{row['done']} of {row['planned']}", _numbers_text(row)]
        for group in groups:
            texts.append(_figure_text(row["means"][group]) if row["done"] else OPEN)
        for group in compared:
            found = row["differences"].get(group)
            texts.append(_figure_text(found, "+") if row["done"] else OPEN)
        rows.append(texts)
    for row in record["floors"]:
        texts = [row["name"], "", ""]
        texts += [_figure_text(row["means"][group]) for group in groups]
        rows.append(texts + [NONE] * len(compared))
    return TextTable(heads, rows)


def _group_title(group: str, count: int) -> str:
    return f"{group} ({count} task{'s' if count > 1 else ''})"


def _numbers_text(row: Record) -> str:
    if row["numbers"] is None:
        return NONE
    text = f"{row['numbers']:,}"
    least, most = row["head"] or (0, 0)
    if not most:
        return text
    heads = f"{most:,}" if least == most else f"{least:,} … {most:,}"
    return f"{text} + {heads}"


def _figure_text(found: Record | None, sign: str = "") -> str:
    if found is None:
        return NONE
    text = f"{100 * found['mean']:{sign}.1f}"
    if found["low"] is None:
        return text
    return f"{text} ({100 * found['low']:{sign}.1f} … {100 * found['high']:{sign}.1f})"


# ------------------------------------------------------------ figure


def methods_figure(record: Record) -> Figure | None:
    """Return the methods' scores with intervals, a panel a group; None where no cell is done."""
    names = [row["name"] for row in record["rows"] if row["done"]]
    if not names:
        return None
    panels = {}
    for group in ordered_groups(record):
        count = record["groups"][group]
        done = [row for row in record["rows"] if row["done"]]
        panels[_group_title(group, count)] = Group(
            points=[_point(row["means"][group]) for row in done],
            floors={row["name"]: _point(row["means"][group])[0] for row in record["floors"]},
        )
    return methods_panels(names, panels)


def _point(found: Record | None) -> tuple[float, float, float]:
    """Return mean, low and high in per cent; NaN where there are none."""
    if found is None:
        return (np.nan, np.nan, np.nan)
    mean = 100 * found["mean"]
    # Of a single score there is no interval.
    if found["low"] is None:
        return (mean, mean, mean)
    return (mean, 100 * found["low"], 100 * found["high"])


