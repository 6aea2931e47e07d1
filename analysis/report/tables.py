"""The page's tables and headline: views in, texts out.

Every figure is a cell of `ipt.analysis.scores`, as in the run folder's table.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ipt.analysis.comparison import COMPARED, compare_groups, comparison_rows
from ipt.analysis.geometry import Clusters, clusters
from ipt.analysis.report.predictions import confusion_rows, entity_rows, error_rows
from ipt.analysis.report.views import ScoredTask, StageRun, View, percent
from ipt.analysis.scores import (
    COLUMNS,
    HEADS_NOTE,
    NONE,
    NUMBERS_COLUMN,
    Cells,
    Line,
    cells,
    numbers_tuned,
)
from ipt.analysis.summaries import stability_table
from ipt.recovery import MARGIN
from ipt.results import BY_NAME, CONDITIONS

LONG = ("parts", "digests")  # settings that list every task
DIGEST = re.compile(r"[0-9a-f]{40,}")
DIGEST_LETTERS = 12  # enough to tell two apart

# What the tuned numbers are compared with first: these six matter most.
COMPARED_FIRST = (
    "mixture_test",
    "pca_test",
    "random_test",
    "best_seen",
    "shared",
    "test_msf",
)
WIDE = 0.10  # of an interval: a tenth of a per cent says nothing then

# Conditions of the headline, and what they are of
HEADLINE = {"test": "unseen tasks", "train_diff": "seen tasks, other data"}
MIXED = 4  # seen tasks named of a mixture

# Of the clusters' table: few, as a page is made in seconds; so p is 0.05 at least
FOLDS = 3
SHUFFLES = 19


class Column(NamedTuple):
    """The head of a column."""

    name: str  # as it stands in the head
    is_text: bool  # texts stand left and sort by letters, numbers stand right


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns and rows of texts."""

    label: str  # what a screen reader says
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]  # a cell a column
    strong: frozenset[int] = frozenset()  # numbers of the rows that stand out

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return [column.name for column in self.columns]

    @property
    def texts(self) -> list[str]:
        """The names of the columns that are no numbers."""
        return [column.name for column in self.columns if column.is_text]


class HeadlineFigures(NamedTuple):
    """The cells of a line, without its condition and its group."""

    tasks: str  # how many
    absolute: str  # E_abs
    relative: str  # E_rel in per cent, as all shares
    interval: str  # of E_rel
    ratio: str  # of means
    floored: str  # above the floor
    floored_interval: str
    above: str  # tasks whose reference is above the floor


def texts(*names: str) -> list[Column]:
    """Return columns of texts."""
    return [Column(name, is_text=True) for name in names]


def numbers(*names: str) -> list[Column]:
    """Return columns of numbers."""
    return [Column(name, is_text=False) for name in names]


# The cells of a line: two texts, the others numbers
CONDITION_COLUMN, GROUP_COLUMN, *FIGURE_COLUMNS = COLUMNS
SUBCATEGORY_COLUMNS = (CONDITION_COLUMN, "subcategory", *FIGURE_COLUMNS)


def headline(view: View) -> dict[str, HeadlineFigures | None]:
    """Return the figures that count most, by what they are of; None where the run has none."""
    figures: dict[str, HeadlineFigures | None] = {}
    for condition, what in HEADLINE.items():
        figures[what] = None
        line = view.overall.get(condition)
        if line is not None:
            # the condition and the group are known
            _, _, *shown = shown_cells(line)
            figures[what] = HeadlineFigures(*shown)
    return figures


def reference(view: View) -> dict[str, str]:
    """Return prompt tuning's mean score on unseen and on seen tasks, by what these are."""
    means = view.summary["reference"]  # null where there are no such tasks
    counts = {"unseen": len(view.unseen), "seen": len(view.seen)}
    shown = {}
    for part, count in counts.items():
        mean = means[part]
        shown[f"{count} {part} tasks"] = NONE if mean is None else f"{mean:.3f}"
    return shown


def shown_cells(line: Line) -> Cells:
    """Return a line's cells as a page has them: no more digits than the interval allows."""
    found = cells(line)
    figures = line.recovery
    relative, interval = _share_cells(figures.relative, figures.shown_interval)
    floored, floored_interval = _share_cells(figures.floored, figures.shown_floored_interval)
    return found._replace(
        relative=relative,
        interval=interval,
        ratio_of_means=_minus(found.ratio_of_means),
        floored=floored,
        floored_interval=floored_interval,
    )


def _share_cells(share: float, interval: tuple[float, float]) -> tuple[str, str]:
    """Return a share and its interval in per cent, whole ones where the interval is wide."""
    if math.isnan(share):
        return NONE, NONE
    low, high = interval
    has_interval = not math.isnan(low)
    digits = 0 if has_interval and high - low > WIDE else 1

    def number(value: float) -> str:
        return _minus(f"{round(100 * value, digits) + 0.0:.{digits}f}")

    ends = f"{number(low)} to {number(high)}" if has_interval else NONE
    return number(share), ends


def _minus(text: str) -> str:
    # a minus is as wide as a figure, a hyphen is not
    return text.replace("-", "−")


def _run_column(views: Sequence[View]) -> list[Column]:
    """Return a column for the name of the run, none where there is one run."""
    return texts("run") if len(views) > 1 else []


def _run_cell(view: View, views: Sequence[View]) -> list[str]:
    return [view.label] if len(views) > 1 else []


def settings_table(
    views: Sequence[View],
    text_of: Callable[[Line], Cells] = cells,
) -> Table:
    """Return the run folders' table; with several runs those of a condition and group follow.

    text_of: `cells`, as the folders' own, or `shown_cells`.
    """
    # Rows by condition and group: those of the runs come one below the other
    by_key: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    has_heads = any(view.ist.result.heads for view in views)
    for view in views:
        tuned = numbers_tuned(view.results)
        for line in view.lines:
            title, group, *figures = text_of(line)
            if has_heads:
                figures += tuned.get(line.setting, [NONE])
            row = (title, group, *_run_cell(view, views), *figures)
            by_key.setdefault((title, group), []).append(row)

    rows: list[tuple[str, ...]] = []
    strong = set()  # the rows of all tasks
    for (_, group), same in by_key.items():
        for row in same:
            if group == "all":
                strong.add(len(rows))
            rows.append(row)
    return Table(
        label="Recovery in every setting and group of tasks",
        columns=[
            *texts(CONDITION_COLUMN, GROUP_COLUMN),
            *_run_column(views),
            *numbers(*FIGURE_COLUMNS),
            *numbers(*[NUMBERS_COLUMN][: int(has_heads)]),
        ],
        rows=rows,
        strong=frozenset(strong),
    )


def all_first(table: Table) -> Table:
    """Return the table with the rows that stand out before the others."""
    first = [row for i, row in enumerate(table.rows) if i in table.strong]
    rest = [row for i, row in enumerate(table.rows) if i not in table.strong]
    return replace(table, rows=[*first, *rest], strong=frozenset(range(len(first))))


def comparison_table(views: Sequence[View]) -> Table:
    """Return how T_test (IST) stands against each control, in each group of the unseen tasks.

    What matters most comes first.
    """
    order = [*(BY_NAME[name] for name in COMPARED_FIRST)]
    order += [condition for condition in CONDITIONS if condition.name not in COMPARED_FIRST]
    rows: list[tuple[str, ...]] = []
    strong = set()  # the rows of all tasks
    for view in views:
        tuned = view.scores_in("test")
        for condition in order:
            # what MSF alone gives is no control, but T_test (IST) stands on it
            if not (condition.is_control or condition.name == "test_msf"):
                continue
            control = view.scores_in(condition.name)
            if not (tuned and control):
                continue

            # a pair a task, as both are of the same unseen tasks
            comparisons = compare_groups(tuned, control, view.unseen_groups)
            for group, *figures in comparison_rows(comparisons):
                if group == "all":
                    strong.add(len(rows))
                rows.append((condition.title, *_run_cell(view, views), group, *figures))

    group_column, *figure_columns = COMPARED
    table = Table(
        label="Tuned numbers against each control, on the same unseen tasks",
        columns=[
            *texts(f"{BY_NAME['test'].title} minus"),
            *_run_column(views),
            *texts(group_column),
            *numbers(*figure_columns),
        ],
        rows=rows,
        strong=frozenset(strong),
    )
    return all_first(table)


def clusters_table(view: View) -> Table:
    """Return whether codes of tasks of one sort lie together, against shuffled labels.

    No row where fewer than two groups have three tasks.
    """
    names, vectors = view.points
    # three ways to sort the tasks, each a label per task
    labels = {
        "kind": [view.tasks[name].category for name in names],
        "group": [group_of(view, name) for name in names],
        "subcategory": view.subcategories_of(names),
    }

    rows = []
    for sort, groups in labels.items():
        try:
            measured = clusters(vectors, groups, folds=FOLDS, shuffles=SHUFFLES)
        except ValueError:  # too few groups, or too few tasks in them
            continue
        rows.append([sort, *_cluster_cells(measured)])

    label = (
        "Do similar tasks lie together? Silhouette and a linear probe’s cross-validated"
        f" accuracy of the intrinsic vectors, against {SHUFFLES} shuffles of the labels"
        f" (p: 1 / {SHUFFLES + 1} at least)"
    )
    figures = numbers(
        "tasks",
        "groups",
        "silhouette",
        "silhouette, shuffled",
        "p of silhouette",
        "probe’s accuracy",
        "accuracy, shuffled",
        "p of accuracy",
    )
    return Table(
        label=label,
        columns=[*texts("tasks by"), *figures],
        rows=rows,
    )


def _cluster_cells(measured: Clusters) -> list[str]:
    # of shuffled labels: mean and deviation
    silhouette, silhouette_deviation = measured.silhouette_shuffled
    accuracy, accuracy_deviation = measured.accuracy_shuffled
    return [
        str(measured.points),
        str(measured.groups),
        _signed(measured.silhouette),
        f"{_signed(silhouette)} ± {_signed(silhouette_deviation)}",
        f"{measured.silhouette_p:.2f}",
        f"{measured.accuracy:.2f}",
        f"{accuracy:.2f} ± {accuracy_deviation:.2f}",
        f"{measured.accuracy_p:.2f}",
    ]


def _signed(value: float) -> str:
    # adding 0 turns a rounded -0 into 0
    rounded = round(value, 2) + 0.0
    return f"{rounded:.2f}".replace("-", "−")


def mixtures_table(view: View) -> Table:
    """Return which seen tasks' prompts weigh most in each unseen task's mixture.

    No row where no mixture was tuned.
    """
    rows = []
    mixtures = view.vectors.get("mixture", ())  # [unseen, seen]
    for name, weights in zip(view.unseen, mixtures, strict=False):
        # of equal weights those of the first tasks
        order = np.argsort(-np.abs(weights), kind="stable")
        parts = []
        for i in order[:MIXED]:
            parts.append(f"{view.seen[i]} {_signed(weights[i])}")
        rows.append((name, ", ".join(parts)))
    return Table(
        label=(
            "Mixture of seen prompts: of each unseen task the four largest weights"
            " (all of them sum to 1)"
        ),
        columns=texts("unseen task", "seen tasks' prompts"),
        rows=rows,
    )


def seeds_table(view: View) -> Table:
    """Return the table of `ipt stability`; no row where it was not called."""
    label = "Scores over seeds, unseen tasks"
    if view.stability is None:
        return Table(label=label, columns=[], rows=[])

    # as `ipt stability` printed it
    printed = stability_table({"rows": view.stability.rows})
    method_column, *figure_columns = printed.columns
    return Table(
        label=label,
        columns=[*texts(method_column), *numbers(*figure_columns)],
        rows=printed.rows,
    )


def words_table(view: View) -> Table:
    """Return the words nearest to each vector of decoded prompts; no row without `ipt probe`."""
    words = {}
    if view.probe is not None:
        recorded = view.probe.record.get("words") or {}
        # the probed task comes first
        if recorded:
            words[view.probe.task] = recorded[view.probe.task]
        words |= recorded

    # a row for each vector of the prompt, a column for each task
    rows = []
    for number, near_by_task in enumerate(zip(*words.values(), strict=True)):
        rows.append((str(number), *map(_words, near_by_task)))
    return Table(
        label=(
            "Decoded prompts: the vocabulary's nearest vectors to each of the prompt's, with their"
            " cosines"
        ),
        columns=[*numbers("vector"), *texts(*words)],
        rows=rows,
    )


def _words(near: Sequence[tuple[str, float]]) -> str:
    """Return words with their cosines in one cell."""
    return ", ".join(f"{token} {cosine:.2f}" for token, cosine in near)


def further_tables(view: View) -> dict[str, Table]:
    """Return the tables below the figures; without rows where there is nothing to show."""
    return {
        "subcategories": subcategories_table(view),
        "clusters": clusters_table(view),
        "mixtures": mixtures_table(view),
        "stability": seeds_table(view),
        "words": words_table(view),
        "confusion": Table(
            label="Labels that were taken for others, on held-out rows",
            columns=[
                *texts("task", "right label"),
                *numbers("rows", "answered right", "share"),
                *texts("answered with others"),
            ],
            rows=list(confusion_rows(view)),
        ),
        "entities": Table(
            label="Entities by kind, on held-out rows",
            columns=[
                *texts("task", "kind"),
                *numbers("there", "predicted", "precision", "recall", "F1"),
            ],
            rows=list(entity_rows(view)),
        ),
        "errors": Table(
            label="Wrong answers, the first of each task",
            columns=texts("task", "input", "right", "answered"),
            rows=list(error_rows(view)),
        ),
    }


def subcategories_table(view: View) -> Table:
    """Return the recovery of each subcategory in the conditions that stand for its tasks.

    No row where all tasks are of one subcategory.
    """
    rows = []
    subcategories = set(view.subcategories_of(view.tasks))
    # of one subcategory the settings' table has it all
    if len(subcategories) > 1:
        shown = set(map(view.condition_of, view.names))
        for line in view.subcategory_lines:
            if line.setting in shown:
                rows.append(shown_cells(line))
    return Table(
        label=(
            "Recovery by subcategory: tuned numbers on unseen tasks, and on seen ones with other"
            " data where the run has it"
        ),
        columns=[*texts(CONDITION_COLUMN, "subcategory"), *numbers(*FIGURE_COLUMNS)],
        rows=rows,
    )


def shared_notes(views: Sequence[View]) -> dict[tuple[str, ...], list[str]]:
    """Return what to know about the figures, with the labels of the runs that it is true of."""
    # runs with equal notes share them
    labels: dict[tuple[str, ...], list[str]] = {}
    for view in views:
        key = tuple(notes(view))
        labels.setdefault(key, []).append(view.label)
    return labels


def notes(view: View) -> Iterator[str]:
    """Yield what to know about a run's figures: what is left out, and how the run was made."""
    # a task may be left out in one condition and not in another, where references differ
    below: set[str] = set()
    undefined: set[str] = set()
    for line in view.overall.values():
        below |= set(line.recovery.below_floor)
        undefined |= set(line.recovery.undefined)
    if below:
        names = ", ".join(sorted(below))
        yield (
            f"Left out of “above floor” ({len(below)}), as prompt tuning is not {MARGIN:.2f}"
            f" above it: {names}."
        )
    if undefined:
        names = ", ".join(sorted(undefined))
        yield f"Left out of E_rel ({len(undefined)}), as prompt tuning scores 0: {names}."
    if view.ist.result.heads:
        yield f"{HEADS_NOTE[0].upper()}{HEADS_NOTE[1:]}."
    if not view.compresses:
        yield "d is at or above the number of seen tasks: their prompts are not compressed."
    yield from _notes_on_settings(view)


def _notes_on_settings(view: View) -> Iterator[str]:
    stages = (view.msf.settings, view.ist.settings)

    # 0: all rows
    limits = {settings.get("limit") for settings in stages} - {None, 0}
    for limit in sorted(limits):
        yield f"Only {limit} test rows per task were scored: a preview, not a result."

    given = view.msf.settings.get("given")
    if given:
        count = len(given["names"])
        yield (
            f"The prompts of {count} tasks were given (--prompts, the FOLDER in the commands), not"
            " tuned here."
        )

    # older runs do not say it: they knew test sets only
    held_out = {settings.get("held_out", "test") for settings in stages}
    if held_out != {"test"}:
        yield "Scored on dev rows, not on the test sets."


def tasks_table(view: View) -> Table:
    """Return a row per task: what it is, its reference and floor, its scores, its recovery."""
    columns = texts("task", "subcategory", "kind", "group", "part", "metric")
    columns += numbers("prompt tuning")
    if "train_diff" in view.by_condition:
        columns += numbers("prompt tuning, other data")
    columns += numbers("floor", "recovery")
    for condition in view.by_condition:
        columns += numbers(BY_NAME[condition].title)
    return Table(
        label=f"Every task of {view.label}",
        columns=columns,
        rows=[_task_row(view, name) for name in view.names],
    )


def _task_row(view: View, name: str) -> list[str]:
    """Return a task's cells, in the order of the columns of `tasks_table`."""
    task = view.tasks[name]
    part = "unseen" if name in view.unseen else "seen"
    scored = {condition: tasks.get(name) for condition, tasks in view.by_condition.items()}

    # Reference and floor on the data that all conditions but one have
    same = None
    for condition, figures in scored.items():
        if condition != "train_diff" and figures is not None:
            same = figures
            break

    # what the task is
    row = [name, task.subcategory, task.category, group_of(view, name), part, task.metric]

    # what there is to recover
    row.append(_reference_cell(same))
    if "train_diff" in scored:
        row.append(_reference_cell(scored["train_diff"]))
    row.append(NONE if same is None else f"{same.floor:.3f}")

    # what is recovered, and the score in each condition
    chosen = view.scored_task(name)
    row.append(NONE if chosen is None else percent(chosen.recovery))
    for figures in scored.values():
        row.append(NONE if figures is None else f"{figures.score:.3f}")
    return row


def _reference_cell(figures: ScoredTask | None) -> str:
    return NONE if figures is None else f"{figures.reference:.3f}"


def group_of(view: View, name: str) -> str:
    """Return novel, knowledge or rule; a dash where a user's own tasks know no such difference."""
    if not view.has_groups:
        return NONE
    task = view.tasks[name]
    # a novel task may need knowledge too
    if task.novel:
        return "novel"
    return "knowledge" if task.knowledge else "rule"


def config_table(views: Sequence[View]) -> Table:
    """Return settings, versions and digests, a column per run folder.

    With several runs a column says where they differ: MSF from MSF, or IST from IST.
    """
    pairs = []  # settings of MSF and of IST, a pair a view
    keys: dict[str, None] = {}  # a set that keeps its order
    for view in views:
        msf = _msf_settings(view)
        ist = _ist_settings(view)
        pairs.append((msf, ist))
        keys |= dict.fromkeys(msf) | dict.fromkeys(ist)

    rows = []
    for key in keys:
        row = [key]
        msf_values = set()
        ist_values = set()
        for msf, ist in pairs:
            msf_value = msf.get(key, NONE)
            ist_value = ist.get(key, NONE)
            row += [msf_value, ist_value]
            msf_values.add(msf_value)
            ist_values.add(ist_value)
        if len(views) > 1:
            is_same = len(msf_values) == len(ist_values) == 1
            row.append("same" if is_same else "differs")
        rows.append(row)

    columns = texts("setting")
    for view in views:
        columns += texts(view.msf.folder.name, view.ist.folder.name)
    if len(views) > 1:
        columns += texts("runs")
    return Table(label="Settings, versions and digests", columns=columns, rows=rows)


def _msf_settings(view: View) -> dict[str, str]:
    settings = _settings_of(view.msf)
    # of the bank that the subspace was found in
    settings["digest.prompts"] = view.summary["prompts"][:DIGEST_LETTERS]
    settings["parameters"] = str(view.parameters)
    return settings


def _ist_settings(view: View) -> dict[str, str]:
    settings = _settings_of(view.ist)
    # of the scores of both stages
    settings["digest.scores"] = view.summary["digest"][:DIGEST_LETTERS]
    return settings


def _settings_of(run: StageRun) -> dict[str, str]:
    """Return settings and versions by name; those of `config` come without that word."""
    settings: dict[str, str] = {}
    for key, value in run.record.items():
        settings |= _flat({key: value}) if key != "config" else _flat(value)
    return settings


def _flat(record: Mapping[str, Any], lead: str = "") -> dict[str, str]:
    """Return nested settings as one level of texts, without the lists of all tasks."""
    flat: dict[str, str] = {}
    for key, value in record.items():
        if key in LONG:
            continue
        if isinstance(value, dict):
            flat |= _flat(value, f"{lead}{key}.")
        elif isinstance(value, list):
            flat[lead + key] = ", ".join(map(str, value))
        else:
            flat[lead + key] = DIGEST.sub(lambda found: found[0][:DIGEST_LETTERS], str(value))
    return flat
