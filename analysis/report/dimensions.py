"""The page's table of intrinsic dimensions: of runs that differ in d, and in their seeds, alone."""

from collections.abc import Iterator, Sequence
from typing import Any

from ipt.analysis.dimensions import SHOWN, condition_record, points_of
from ipt.analysis.intrinsic_dimension import MEASURES, Dimension
from ipt.analysis.report.comparison import groups_that_differ_in
from ipt.analysis.report.tables import Table, numbers, texts
from ipt.analysis.report.views import View
from ipt.analysis.scores import NONE
from ipt.results import BY_NAME

AXIS = "intrinsic dimension d"
SOFT_PROMPT = "soft-prompt"  # the tuner of runs whose settings name none


def intrinsic_dimensions_table(views: Sequence[View]) -> Table:
    """Return d90 of each condition of the runs that differ in d; no rows where none do."""
    groups = groups_that_differ_in(AXIS, views)
    rows = []
    for name, group in zip(_names(groups), groups, strict=True):
        rows += list(_rows(name, group))
    return Table(
        label="The least d that recovers 90 % of prompt tuning",
        columns=[
            *texts("runs", "setting", "measured at d"),
            *numbers("d90, above floor", "tasks", "d90 by E_rel"),
            *numbers("median d90 of a task", "tasks that reach it"),
        ],
        rows=rows,
    )


def _names(groups: Sequence[Sequence[View]]) -> list[str]:
    """Return what the groups are called: by their tuner, or by a run of theirs."""
    names = []
    for group in groups:
        tuner = group[0].msf.settings["tune"].get("tuner", {}).get("name", SOFT_PROMPT)
        names.append(f"{group[0].family}, {tuner}")
    if len(set(names)) < len(names):
        return [f"{group[0].label} and others of its settings" for group in groups]
    return names


def _rows(name: str, group: Sequence[View]) -> Iterator[list[str]]:
    """Yield a row for each condition that was measured at several d."""
    records = [view.summary for view in group]
    clusters: dict[str, str] = {}
    for record in records:
        clusters |= record["subcategories"]
    for condition in SHOWN:
        points = points_of(records, condition)
        if len({point.dim for point in points}) < 2:
            continue
        found = condition_record(points, clusters)
        dims = ", ".join(map(str, found["dims"]))
        cells = []
        count = NONE
        for measure in MEASURES:
            record = found["dimension"][measure]
            dimension = None if record is None else Dimension.from_json(record)
            cells.append(NONE if dimension is None else dimension.text())
            if measure == "floored" and dimension is not None:
                count = str(dimension.tasks)
        floored, relative = cells
        yield [
            name,
            BY_NAME[condition].title,
            dims,
            floored,
            count,
            relative,
            *_of_tasks(found["tasks"]),
        ]


def _of_tasks(record: dict[str, Any] | None) -> tuple[str, str]:
    """Return the median of tasks' own d90, and how many of them reach it."""
    if record is None:
        return NONE, NONE
    median = Dimension.from_json(record["median"])
    return median.text(), f"{record['reached']} of {median.tasks}"
