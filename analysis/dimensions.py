"""Summarise a study by its methods: what d numbers recover of each, and its intrinsic dimension.

A method is all cells of a study that differ in d, in their seed and in the parts of IST alone. Its
row says how many numbers its own tuning has, what that scores, what d numbers recover of it, and
d90 (`ipt.analysis.intrinsic_dimension`). Where the study has a cell of the tuner `full`, what is
recovered of full fine-tuning stands beside it.

The record is numbers; `dimensions_table` is its text, `dimensions_figure` its drawing. With some of
the cells done both show what there is.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ipt.analysis.intrinsic_dimension import (
    MEASURES,
    Curve,
    Dimension,
    Point,
    TaskFigures,
    curve,
    intrinsic_dimension,
    median_dimension,
    recovered,
    recovered_intervals,
    task_dimensions,
)
from ipt.analysis.markup import TextTable
from ipt.analysis.plots.curves import Band, curves_figure
from ipt.analysis.scores import NONE
from ipt.analysis.study import CellsByLine, digest_of_cells
from ipt.results import BY_NAME, range_text

Record = dict[str, Any]
# Seen tasks with other data, unseen tasks, controls of equal d: in the order of the table.
SHOWN = ("train_diff", "test", "mixture_test", "pca_test", "random_test")
# Conditions of the figure, and what it calls them.
DRAWN = {
    "test": "IST in the subspace",
    "mixture_test": "mixture of d + 1 seen tasks",
    "pca_test": "PCA subspace",
    "random_test": "random subspace",
}
# The tuner that the second column is held against.
FULL = "full"
PARTS = ("seen", "unseen")


def dimensions_summary(cells: CellsByLine, command: str) -> Record | None:
    """Return the methods of a study as numbers; None where no cell has scores by task.

    cells: by method, the record of each cell; None: open.
    command: what makes the study again.
    """
    done = []
    for records in cells.values():
        done += _done(records)
    if not any(map(_conditions_of, done)):
        return None
    full = _mean_by_task(record for record in done if _tuner(record).get("name") == FULL)
    rows = []
    for name, records in cells.items():
        rows.append(_row(name, records, full))

    # The d that the columns show: what most cells have, of several the least.
    counts = Counter(dim for dim in map(_dim_of, done) if dim)
    dims = sorted(counts, key=lambda dim: (-counts[dim], dim))
    seeds = sorted({record["seed"] for record in done})
    return {
        "kind": "dimensions",
        "command": command,
        "seed": ", ".join(map(str, seeds)),
        "digest": digest_of_cells(cells),
        "dim": dims[0] if dims else None,
        "rows": rows,
    }


def points_of(records: Iterable[Record], condition: str) -> list[Point]:
    """Return what these cells measured in a condition, a point for each that has it."""
    points = []
    for record in records:
        tasks = {}
        for name, figures in _conditions_of(record).get(condition, {}).items():
            tasks[name] = task_figures(figures)
        dim = _dim_of(record)
        if tasks and dim:
            points.append(Point(dim, tasks))
    return points


def _conditions_of(record: Record) -> Record:
    """Return the figures of tasks by condition; cells of older versions have none."""
    return dict(record.get("tasks", {}))


def task_figures(figures: Record | Sequence[float]) -> TaskFigures:
    """Return what a cell says of a task: score, reference and floor.

    By their names in cells of older versions, and in those that only tune, whose reference is the
    score itself.
    """
    if not isinstance(figures, Mapping):
        return TaskFigures(*figures)
    reference = figures.get("reference", figures["score"])
    return TaskFigures(figures["score"], reference, figures["floor"])


def _dim_of(record: Record) -> int | None:
    """Return a cell's d; None of one that only tunes. Older cells have it in their settings."""
    settings = record.get("settings", {}).get("msf", {})
    dim = record.get("dim", settings.get("dim"))
    return None if dim is None else int(dim)


def condition_record(
    points: Sequence[Point],
    clusters: Mapping[str, str],
    full: Mapping[str, float] | None = None,
) -> Record:
    """Return what is recovered in a condition at each d, its d90 over tasks and task by task.

    clusters: subcategories of tasks.
    full: scores of full fine-tuning by task; none: not measured.
    """
    found = curve(points)
    record: Record = {"dims": list(found.dims), "dimension": {}}
    for measure in MEASURES:
        intervals = recovered_intervals(found, measure, clusters)
        record[measure] = _plain(recovered(found, measure))
        record[f"{measure}_intervals"] = [_plain(ends) for ends in intervals.T]
        # With one d it would say no more than that d does.
        dimension = None
        if len(found.dims) > 1:
            dimension = intrinsic_dimension(found, measure, clusters=clusters)
        record["dimension"][measure] = None if dimension is None else dimension.to_json()
    if full:
        record["full"] = _plain(recovered(found.against(full)))
    record["tasks"] = _tasks_record(found)
    return record


def _tasks_record(found: Curve) -> Record | None:
    """Return how tasks' own d90 are distributed; None with one d, or where no task counts."""
    values = task_dimensions(found)
    if len(found.dims) < 2 or not values:
        return None
    reached = [value for value in values.values() if math.isfinite(value)]
    median = median_dimension(values)
    dimension = Dimension(
        value=median,
        low=math.nan,
        high=math.nan,
        smallest=found.dims[0],
        largest=found.dims[-1],
        tasks=len(values),
    )
    by_task = {}
    for name, value in values.items():
        by_task[name] = "inf" if math.isinf(value) else round(value, 6)
    return {"median": dimension.to_json(), "reached": len(reached), "by_task": by_task}


def _plain(values: np.ndarray) -> list[float | None]:
    """Return numbers as JSON has them: six digits, null for NaN."""
    plain: list[float | None] = []
    for value in values.tolist():
        plain.append(None if math.isnan(value) else round(value, 6))
    return plain


def _done(records: Sequence[Record | None]) -> list[Record]:
    return [record for record in records if record is not None]


def _tuner(record: Record) -> Record:
    # Cells of older versions do not name it.
    return dict(record.get("tuner") or {})


def _row(name: str, records: Sequence[Record | None], full: Mapping[str, float]) -> Record:
    """Return what is known of a method; what is not measured is null or missing."""
    done = _done(records)
    tuner = _tuner(done[0]) if done else {}
    clusters: dict[str, str] = {}
    for record in done:
        clusters |= record.get("subcategories", {})

    # Held against itself it says nothing.
    other = None if tuner.get("name") == FULL else full
    conditions = {}
    for condition in SHOWN:
        points = points_of(done, condition)
        if points:
            conditions[condition] = condition_record(points, clusters, other)

    scores: Record = {}
    floors: Record = {}
    for part in PARTS:
        scores[part] = _mean(_mean_by_task(done, part).values())
        floors[part] = _mean(_mean_by_task(done, part, "floor").values())
    # The least and the largest head of its tasks; none where heads have no numbers.
    sizes: set[int] = set()
    for record in done:
        sizes |= set(record.get("heads", {}).values())
    heads = [min(sizes), max(sizes)][: len(sizes)] if sizes else []
    return {
        "name": name,
        "done": len(done),
        "planned": len(records),
        "tuner": tuner.get("text"),
        "numbers": tuner.get("numbers"),
        **({"heads": heads} if heads else {}),
        "score": scores,
        "floor": floors,
        "conditions": conditions,
    }


def _mean_by_task(
    records: Iterable[Record],
    part: str = "",
    figure: Literal["reference", "floor"] = "reference",
) -> dict[str, float]:
    """Return a figure of tuning itself by task, averaged over seeds.

    part: seen or unseen; empty: both.
    """
    by_seed: dict[str, dict[int, float]] = {}
    for record in records:
        for condition, tasks in _conditions_of(record).items():
            if not _is_own_tuning(condition, part):
                continue
            # Cells of one seed share their deltas: each seed counts once.
            for name, figures in tasks.items():
                by_seed.setdefault(name, {})[record["seed"]] = getattr(
                    task_figures(figures), figure
                )
    means = {}
    for name, values in by_seed.items():
        means[name] = float(np.mean(list(values.values())))
    return means


def _is_own_tuning(condition: str, part: str) -> bool:
    """Return whether a condition's references are those of a part, on the tasks' own data."""
    parts = {"tuned_seen": "seen", "tuned_unseen": "unseen"}
    # Other few-shot sets have another reference.
    if condition != "train_diff" and condition in BY_NAME:
        parts[condition] = BY_NAME[condition].tasks
    return condition in parts and part in ("", parts[condition])


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return round(float(np.mean(found)), 6) if found else None


# ------------------------------------------------------------ text


class TextColumn(NamedTuple):
    """A column of the table: its head, its text in a row, and whether the short table has it."""

    head: str
    text: Callable[[Record], str]
    is_brief: bool = False


def dimensions_table(record: Record) -> TextTable:
    """Return the table as text: shares in per cent with 95 % intervals, a dash for what is open."""
    return _text_table(record, _columns(record))


def dimensions_brief(record: Record) -> TextTable:
    """Return the table's main columns."""
    columns = [column for column in _columns(record) if column.is_brief]
    return _text_table(record, columns)


def _text_table(record: Record, columns: Sequence[TextColumn]) -> TextTable:
    shown = []
    for column in columns:
        texts = [column.text(row) for row in record["rows"]]
        # A column that no method has takes no room; the names always stay.
        if set(texts) != {NONE}:
            shown.append((column.head, texts))
    heads = [head for head, _ in shown]
    cells = [texts for _, texts in shown]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return TextTable(heads, rows)


def _columns(record: Record) -> list[TextColumn]:
    dim = record["dim"]
    columns = [
        TextColumn("tuner", lambda row: str(row["name"]), True),
        TextColumn("cells", lambda row: f"{row['done']} of {row['planned']}", True),
        TextColumn("numbers per task", _numbers_text, True),
    ]
    for part in PARTS:
        for figure, head in (("score", "tuned score"), ("floor", "floor")):
            columns.append(_score_column(figure, part, f"{head}, {part}"))
    for condition in SHOWN:
        title = BY_NAME[condition].column
        columns.append(_share_column(condition, dim, f"{title}, d = {dim}"))
    for condition in SHOWN:
        title = BY_NAME[condition].column
        columns.append(_full_column(condition, dim, f"{title}, d = {dim}, of full"))
    for condition in SHOWN:
        title = BY_NAME[condition].column
        columns.append(_dimension_column(condition, "floored", f"d90, {title}"))
    for condition in SHOWN:
        title = BY_NAME[condition].column
        columns.append(_dimension_column(condition, "relative", f"d90 by E_rel, {title}"))
    for condition in SHOWN:
        title = BY_NAME[condition].column
        columns.append(_tasks_column(condition, f"median d90 of a task, {title} (reached)"))
    return columns


def _numbers_text(row: Record) -> str:
    numbers = NONE if row["numbers"] is None else f"{row['numbers']:,}"
    # Delta + head.
    return f"{numbers} + {range_text(row['heads'])}" if "heads" in row else numbers


def _score_column(figure: str, part: str, head: str) -> TextColumn:
    def text(row: Record) -> str:
        value = row[figure][part]
        return NONE if value is None else f"{value:.3f}"

    return TextColumn(head, text, part == "unseen")


def _at(row: Record, condition: str, dim: int, figure: str) -> Any:
    """Return a figure of a condition at a d; None where it was not measured."""
    found = row["conditions"].get(condition, {})
    if dim not in found.get("dims", ()) or figure not in found:
        return None
    return found[figure][found["dims"].index(dim)]


def _share_column(condition: str, dim: int, head: str) -> TextColumn:
    def text(row: Record) -> str:
        share = _at(row, condition, dim, "floored")
        if share is None:
            return NONE
        low, high = _at(row, condition, dim, "floored_intervals")
        # Fewer than two clusters of tasks have no interval.
        if low is None:
            return f"{100 * share:.1f}"
        return f"{100 * share:.1f} ({100 * low:.0f} … {100 * high:.0f})"

    return TextColumn(head, text, True)


def _full_column(condition: str, dim: int, head: str) -> TextColumn:
    def text(row: Record) -> str:
        share = _at(row, condition, dim, "full")
        return NONE if share is None else f"{100 * share:.1f}"

    return TextColumn(head, text, condition in ("test", "mixture_test"))


def _dimension_column(condition: str, measure: str, head: str) -> TextColumn:
    def text(row: Record) -> str:
        found = row["conditions"].get(condition)
        if found is None or found["dimension"][measure] is None:
            return NONE
        return Dimension.from_json(found["dimension"][measure]).text()

    return TextColumn(head, text, measure == "floored")


def _tasks_column(condition: str, head: str) -> TextColumn:
    def text(row: Record) -> str:
        found = row["conditions"].get(condition, {}).get("tasks")
        if found is None:
            return NONE
        median = Dimension.from_json(found["median"])
        return f"{median.text()} ({found['reached']} of {median.tasks})"

    return TextColumn(head, text)


# ------------------------------------------------------------ figure


def dimensions_figure(record: Record) -> Figure | None:
    """Return recovery against d by condition and method; None where no method has several d."""
    panels = {}
    for condition, title in DRAWN.items():
        bands = bands_of(record, condition)
        if any(len(band.dims) > 1 for band in bands.values()):
            panels[title] = bands
    if not panels:
        return None
    # Above a method's own panel: what its d numbers in the subspace come to.
    notes = {}
    for row in record["rows"]:
        found = row["conditions"].get("test", {}).get("dimension", {}).get("floored")
        notes[row["name"]] = "" if found is None else f"d90 {Dimension.from_json(found).text()}"
    return curves_figure(panels, notes)


def bands_of(record: Record, condition: str) -> dict[str, Band]:
    """Return the recovered shares of each method that has some, with their intervals."""
    bands = {}
    for row in record["rows"]:
        found = row["conditions"].get(condition)
        if found is None or found["floored"][0] is None:
            continue
        intervals = []
        for share, (low, high) in zip(found["floored"], found["floored_intervals"], strict=True):
            intervals.append((share, share) if low is None else (low, high))
        bands[row["name"]] = Band(
            dims=found["dims"],
            shares=found["floored"],
            lows=[low for low, _ in intervals],
            highs=[high for _, high in intervals],
        )
    return bands
