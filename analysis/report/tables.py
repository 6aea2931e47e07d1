"""The page's tables and headline: views in, texts out. Every figure is a cell of `ipt.analysis.scores`, as in the run folder's table."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ipt.analysis.comparison import COMPARED, compare_groups, comparison_rows
from ipt.analysis.geometry import clusters
from ipt.analysis.report.views import View, percent
from ipt.analysis.scores import COLUMNS, CONTROLS, TITLES, cells, groups, lines, subcategories
from ipt.analysis.summaries import stability_table, summary
from ipt.recovery import MARGIN

LONG = ("parts", "digests")  # settings that list every task
HEADLINE = {"test": "unseen tasks", "train_diff": "seen tasks, other data"}
NONE = "–"
CLUSTERS = (
    "tasks by", "tasks", "groups", "silhouette", "silhouette, shuffled", "p of silhouette",
    "probe’s accuracy", "accuracy, shuffled", "p of accuracy",
)  # fmt: skip
BY_SUBCATEGORY = (COLUMNS[0], "subcategory", *COLUMNS[2:])
MIXED = 4  # prompts named of a mixture
FOLDS, SHUFFLES = 3, 19  # of the clusters' table: few, as a page is made in seconds; so p is 0.05 at least


@dataclass(frozen=True)
class Table:
    """Columns and rows of texts.

    texts: columns that are not numbers; label: what a screen reader says; strong: rows that stand out.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: frozenset[int]
    label: str
    strong: frozenset[int] = frozenset()


def headline(view: View) -> Iterator[tuple[str, dict[str, str] | None]]:
    """Yield the cells of the figures that count most, by what they are of; None where the run lacks the setting."""
    found = {line.setting: cells(line) for line in view.lines if line.group == "all"}
    for setting, what in HEADLINE.items():
        row = found.get(setting)
        names = ("tasks", "absolute", "relative", "interval", "ratio", "floored", "floored_interval", "above")
        yield what, dict(zip(names, row[2:], strict=True)) if row else None


def reference(view: View) -> dict[str, str]:
    """Return prompt tuning's mean score on the seen and on the unseen tasks, and how many tasks these are."""
    means = summary(view.results, "", 0)["reference"]
    counts = {"unseen": len(view.unseen), "seen": len(view.names) - len(view.unseen)}
    return {f"{n} {part} tasks": NONE if means[part] is None else f"{means[part]:.3f}" for part, n in counts.items()}


def settings_table(views: Sequence[View]) -> Table:
    """Return the run folders' table; with several runs those of a setting and group stand together."""
    by_key: dict[tuple[str, str], list[tuple[str, ...]]] = {}
    for view in views:
        for row in map(cells, view.lines):
            by_key.setdefault((row[0], row[1]), []).append((*row[:2], view.label, *row[2:]) if len(views) > 1 else row)
    rows = [row for same in by_key.values() for row in same]
    columns = (*COLUMNS[:2], "run", *COLUMNS[2:]) if len(views) > 1 else COLUMNS
    strong = frozenset(i for i, row in enumerate(rows) if row[1] == "all")
    texts = frozenset(range(len(columns) - len(COLUMNS) + 2))
    return Table(columns, rows, texts, "Recovery in every setting and group of tasks", strong)


def comparison_table(views: Sequence[View]) -> Table:
    """Return how T_test (IST) stands against each control on the same unseen tasks, in each group of them."""
    rows = []
    for view in views:
        apart = groups(view.results[-1], "test")
        ist, *others = ({n: r["score"] for n, r in view.by_task.get(s, {}).items()} for s in ("test", "test_msf", *CONTROLS))
        for setting, other in zip(("test_msf", *CONTROLS), others, strict=True):
            found = comparison_rows(compare_groups(ist, other, apart)) if ist and other else []
            rows += [(TITLES[setting], *([view.label] if len(views) > 1 else []), *row) for row in found]
    columns = ("T_test (IST) minus", *(["run"] if len(views) > 1 else []), *COMPARED)
    texts = frozenset(range(len(columns) - len(COMPARED) + 1))
    strong = frozenset(i for i, row in enumerate(rows) if row[len(texts) - 1] == "all")
    return Table(columns, rows, texts, "Tuned numbers against each control, on the same unseen tasks", strong)


def clusters_table(view: View) -> Table:
    """Return whether codes of tasks of one kind, group or subcategory lie together, against shuffled labels; no row where too few do."""
    names, points = view.points
    labels = {
        "kind": [view.tasks[n]["category"] for n in names],
        "group": [group_of(view, n) for n in names],
        "subcategory": [view.tasks[n]["subcategory"] for n in names],
    }
    rows = []
    for what, found in labels.items():
        with suppress(ValueError):  # fewer than two groups of three
            c = clusters(points, found, FOLDS, SHUFFLES)
            silhouette = [_signed(c.silhouette), " ± ".join(map(_signed, c.silhouette_shuffled)), f"{c.silhouette_p:.2f}"]
            accuracy = [f"{c.accuracy:.2f}", "{:.2f} ± {:.2f}".format(*c.accuracy_shuffled), f"{c.accuracy_p:.2f}"]
            rows.append([what, str(c.points), str(c.groups), *silhouette, *accuracy])
    label = (
        "Do tasks of one sort lie together? Silhouette and a linear probe’s cross-validated accuracy of the intrinsic vectors,"
        f" against {SHUFFLES} shuffles of the labels (p: 1 / {SHUFFLES + 1} at least)"
    )
    return Table(CLUSTERS, rows, frozenset({0}), label)


def _signed(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def mixtures_table(view: View) -> Table:
    """Return which seen tasks' prompts weigh most in each unseen task's mixture; no row where none was tuned."""
    split = view.results[-1].split
    rows = []
    for name, weights in zip([*split.unseen, *split.out_of_kind], view.vectors.get("mixture", ()), strict=False):
        first = np.argsort(-np.abs(weights), kind="stable")[:MIXED]
        rows.append((name, ", ".join(f"{split.seen[i]} {_signed(weights[i])}" for i in first)))
    label = "Mixture of seen prompts: of each unseen task the four largest weights (all of them sum to 1)"
    return Table(("unseen task", "seen tasks' prompts"), rows, frozenset({0, 1}), label)


def looks(view: View) -> dict[str, Table]:
    """Return the tables of clusters, of mixtures, of `ipt stability` and of `ipt probe`; without rows where there is nothing to show."""
    about = view.probe[0]
    words = {about["task"]: about["words"][about["task"]]} | about["words"] if about.get("words") else {}
    texts = [[", ".join(f"{token} {cosine:.2f}" for token, cosine in vector) for vector in each] for each in words.values()]
    rows = [(str(i), *cells) for i, cells in enumerate(zip(*texts, strict=True))]
    seeds = stability_table(view.stability or {"rows": ()})
    label = "Decoded prompts: the vocabulary's nearest vectors to each of the prompt's, with their cosines"
    return {
        "subcategories": subcategories_table(view),
        "clusters": clusters_table(view),
        "mixtures": mixtures_table(view),
        "stability": Table(seeds.columns, seeds.rows, frozenset({0}), "Scores over seeds, unseen tasks"),
        "words": Table(("vector", *words), rows, frozenset(range(1, 1 + len(words))), label),
    }


def subcategories_table(view: View) -> Table:
    """Return the recovery of each subcategory: unseen tasks, and seen ones (other data, where it was scored); no row if all is one."""
    shown = {view.setting_of(name) for name in view.names} if len({task["subcategory"] for task in view.tasks.values()}) > 1 else set()
    rows = [cells(line) for line in lines(view.results, grouping=subcategories) if line.setting in shown]
    label = "Recovery by subcategory: tuned numbers on unseen tasks, and on seen ones with other data where the run has it"
    return Table(BY_SUBCATEGORY, rows, frozenset({0, 1}), label)


def shared_notes(views: Sequence[View]) -> dict[tuple[str, ...], list[str]]:
    """Return what to know about the figures, with the labels of the runs that it is true of."""
    found: dict[tuple[str, ...], list[str]] = {}
    for view in views:
        found.setdefault(tuple(notes(view)), []).append(view.label)
    return found


def notes(view: View) -> Iterator[str]:
    """Yield what to know about a run's figures: tasks that are left out, rows that were not scored, given prompts."""
    whole = [line.recovery for line in view.lines if line.group == "all"]
    below = sorted({name for r in whole for name in r.below_floor})
    undefined = sorted({name for r in whole for name in r.undefined})
    if below:
        yield f"Left out of “above floor” ({len(below)}), as prompt tuning is not {MARGIN:.2f} above it: {', '.join(below)}."
    if undefined:
        yield f"Left out of E_rel ({len(undefined)}), as prompt tuning scores 0: {', '.join(undefined)}."
    if not view.results[-1].compresses:
        yield "d is at or above the number of seen tasks: their prompts are not compressed."
    for limit in sorted({config["limit"] for config in view.settings if config.get("limit")}):
        yield f"Only {limit} test rows per task were scored: a look, not a result."
    if given := view.settings[0].get("given"):
        yield f"The prompts of {len(given['names'])} tasks were given (--prompts, the FOLDER in the commands), not tuned here."
    if any(config.get("held_out", "test") != "test" for config in view.settings):
        yield "Scored on dev rows, not on the test sets."


def tasks_table(view: View) -> Table:
    """Return a row per task: what it is, its reference and floor, its score in each setting, its recovery."""
    other = "train_diff" in view.by_task
    columns = ["task", "subcategory", "kind", "group", "part", "metric", "prompt tuning", *(["prompt tuning, other data"] if other else [])]
    columns += ["floor", "recovery", *(TITLES[setting] for setting in view.by_task)]
    rows = [_task_row(view, name, other) for name in view.names]
    return Table(columns, rows, frozenset(range(6)), f"Every task of {view.label}")


def _task_row(view: View, name: str, other: bool) -> list[str]:
    task, records = view.tasks[name], {setting: found.get(name) for setting, found in view.by_task.items()}
    part = "unseen" if name in view.unseen else "seen"
    own = next((r for setting, r in records.items() if r and setting != "train_diff"), None)
    row = [name, task["subcategory"], task["category"], group_of(view, name), part, task["metric"], _score(own, "reference")]
    row += [_score(records["train_diff"], "reference")] if other else []
    chosen = view.record_of(name)
    scores = [_score(record, "score") for record in records.values()]
    return [*row, _score(own, "floor"), percent(chosen["recovery"]) if chosen else NONE, *scores]


def group_of(view: View, name: str) -> str:
    """Return novel, knowledge or rule; a dash where a user's own tasks know no such difference."""
    if not any(task["novel"] or task["knowledge"] for task in view.tasks.values()):
        return NONE
    return "novel" if view.tasks[name]["novel"] else "knowledge" if view.tasks[name]["knowledge"] else "rule"


def _score(record: Mapping[str, Any] | None, field: str) -> str:
    return NONE if record is None else f"{record[field]:.3f}"


def config_table(views: Sequence[View]) -> Table:
    """Return settings, versions and digests, a column per run folder; with several runs a column says where they differ."""
    found = [_flat(record) | _digests(view, i) for view in views for i, record in enumerate(view.records)]
    keys = list(dict.fromkeys(key for each in found for key in each))
    rows = [[key, *(each.get(key, NONE) for each in found)] for key in keys]
    columns = ["setting", *(name for view in views for name in (view.settings[1]["msf_run"], view.folder.name))]
    if len(views) > 1:  # the columns are MSF, IST, MSF, IST, ...
        rows = [[*row, "differs" if len({*row[1::2]}) > 1 or len({*row[2::2]}) > 1 else "same"] for row in rows]
        columns.append("runs")
    return Table(columns, rows, frozenset(range(len(columns))), "Settings, versions and digests")


def _flat(record: Mapping[str, Any], lead: str = "") -> dict[str, str]:
    """Return nested settings as one level of texts, without the lists of all tasks."""
    found: dict[str, str] = {}
    for key, value in record.items():
        if isinstance(value, dict) and key not in LONG:
            found |= _flat(value, f"{lead}{key}." if lead or key != "config" else "")
        elif key not in LONG:
            found[lead + key] = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return found


def _digests(view: View, number: int) -> dict[str, str]:
    """Return the digests of a pair's results, each where it belongs: prompts with MSF, scores with IST."""
    known = summary(view.results, "", 0)
    return (
        {"digest.scores": known["digest"]}
        if number
        else {"digest.prompts": known["prompts"], "parameters": str(view.results[0].parameters)}
    )
