"""Read the results of finished runs, and make their table: a line per condition and group of tasks.

A line holds the figures of `ipt.recovery` over the tasks of its group. Conditions, their titles and
what each is compared with are those of `ipt.results`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ipt.recovery import Recovery, recovery
from ipt.results import BY_NAME, CONDITIONS, Condition, RunResult, TaskScore, range_text
from ipt.run import Run

# What others show and compare follows from the one list of conditions.
TITLES = {condition.name: condition.title for condition in CONDITIONS}
CONTROLS = tuple(condition.name for condition in CONDITIONS if condition.is_control)

# Heads of the table; `Cells` has a field for each.
COLUMNS = (
    "setting",
    "tasks",
    "n",
    "E_abs",
    "E_rel",
    "95 % interval",
    "ratio of means",
    "above floor",
    "95 % interval",
    "n above",
)
# Head of the two intervals in a table that averages several seeds.
SEEDS_COLUMN = "least … largest seed"
# Head of one more column, of runs whose heads have numbers of their own.
NUMBERS_COLUMN = "numbers per task: delta or vector + head"
# Stands below the tables of such runs.
HEADS_NOTE = (
    "each task has a head of its own outside the subspace; 'the head alone' is such a head tuned "
    "on the frozen model, without any vector, and counts as a floor"
)
# What a condition tunes for a task beside its head: d numbers, if it is none of these.
WITHOUT_A_VECTOR = (
    "shared",
    "mean vector",
    "best seen vector",
    "best seen delta",
    "nearest seen delta",
    "head",
)
# Cell of a figure that there is none of.
NONE = "–"

# Answers that are written, or the best of the options (cls tasks only).
ScoreKind = Literal["generated", "ranked"]
# Names of tasks by group.
Groups = dict[str, frozenset[str]]
# From a result and the name of a condition to the groups of its tasks.
Grouping = Callable[[RunResult, str], Groups]


@dataclass(frozen=True)
class FinishedRun:
    """A complete run: where it lies, and its result."""

    folder: Path
    result: RunResult


class RunPair(NamedTuple):
    """An MSF run, and an IST run in its subspace."""

    msf: FinishedRun
    ist: FinishedRun

    @property
    def results(self) -> list[RunResult]:
        """The two results, in the order of the table."""
        return [self.msf.result, self.ist.result]


@dataclass(frozen=True)
class Line:
    """One row of the table: a condition on one group of tasks."""

    setting: str
    """Name of the condition."""
    group: str
    recovery: Recovery

    @property
    def title(self) -> str:
        """What the table calls the condition."""
        return TITLES[self.setting]


def read_results(folders: Iterable[Path]) -> list[FinishedRun]:
    """Read complete runs of `ipt msf` and `ipt ist`; raise ValueError naming any other folder."""
    runs = []
    for folder in folders:
        record = Run(folder).result
        if record is None or "scores" not in record:
            raise ValueError(
                f"{folder} holds no complete run; run the command again to finish it, "
                "or choose another"
            )

        # A message about fields must say in which folder they are missing.
        try:
            result = RunResult.from_json(record)
        except ValueError as error:
            raise ValueError(f"{folder}: {error}") from error
        runs.append(FinishedRun(folder, result))
    return runs


def read_pair(folder: Path) -> RunPair:
    """Read an IST run and the MSF run that it stands on; raise ValueError where it is another.

    folder: of the IST run; that of the MSF run is beside it.
    """
    settings = Run(folder).config
    if settings["kind"] != "ist":
        raise ValueError(f"{folder} is a run of ipt {settings['kind']}; name runs of ipt ist")

    msf, ist = read_results([Run(folder).source.folder, folder])
    return RunPair(msf, ist)


def lines(
    results: Sequence[RunResult],
    ranked: bool = False,
    grouping: Grouping | None = None,
) -> list[Line]:
    """Return the table of an MSF and an IST result, or of one: each condition by group of tasks.

    ranked: compare scores of ranked options (cls tasks only) instead of generated answers.
    grouping: another choice of groups than `groups`, such as `subcategories`.
    """
    # Without another choice, the groups that are reported everywhere.
    groups_of = grouping or groups
    kind: ScoreKind = "ranked" if ranked else "generated"

    # Conditions come first: those of both runs stand in one order, whichever run has them.
    table: list[Line] = []
    for condition in CONDITIONS:
        for result in results:
            if condition.name in result.scores:
                chosen = groups_of(result, condition.name)
                table += _lines_of(result, condition, kind, chosen)
    return table


def _lines_of(
    result: RunResult,
    condition: Condition,
    kind: ScoreKind,
    chosen_groups: Groups,
) -> Iterator[Line]:
    """Yield the lines of one condition; groups without a scored task are left out."""
    scores = _measured(result.scores[condition.name], kind)

    # Both stages are compared with tuning on their own few-shot sets.
    reference = _measured(result.reference_of(condition), kind)
    floor = {}
    for name, task_floor in result.floor.items():
        floor[name] = task_floor.best

    for group, members in chosen_groups.items():
        group_scores = {}
        for name, score in scores.items():
            if name in members:
                group_scores[name] = score

        # No seen task is novel, and only cls tasks have ranked scores: a group may be empty.
        if group_scores:
            figures = recovery(group_scores, reference, floor)
            yield Line(condition.name, group, figures)


def _measured(scores: Mapping[str, TaskScore], kind: ScoreKind) -> dict[str, float]:
    """Return the scores of one kind by task; tasks that have none are left out."""
    values = {}
    for name, score in scores.items():
        value = score.ranked if kind == "ranked" else score.generated
        if value is not None:
            values[name] = value
    return values


def groups(result: RunResult, condition: str) -> Groups:
    """Return the groups of tasks that are reported apart, "all" first.

    These are kinds where a split has both, new subcategories, and novel, knowledge and rule tasks.
    A group that the split or the tasks have no difference for is left out.
    """
    split = result.split
    every = frozenset(result.tasks)
    named: Groups = {"all": every}

    # Every seen task is of the kinds and subcategories that the subspace was found with.
    if BY_NAME[condition].tasks == "unseen":
        if split.out_of_kind:
            named["in kind"] = frozenset(split.unseen)
            named["out of kind"] = frozenset(split.out_of_kind)
        if split.new_subcategories:
            new = frozenset(split.new_subcategories)
            named["known subcategory"] = every - new
            named["new subcategory"] = new

    novel = set()
    facts = set()
    for name, task in result.tasks.items():
        # A novel task that needs facts counts as novel.
        if task.novel:
            novel.add(name)
        elif task.knowledge:
            facts.add(name)

    # A user's own tasks have no such difference.
    if novel or facts:
        named["novel"] = frozenset(novel)
        named["knowledge"] = frozenset(facts)
        named["rule"] = every - facts - novel
    return named


def subcategories(result: RunResult, condition: str) -> Groups:
    """Return the tasks of each subcategory, by name; they are the same in every condition."""
    members: dict[str, set[str]] = {}
    for name, task in result.tasks.items():
        # A user's own tasks may have none.
        group = task.subcategory or "no subcategory"
        members.setdefault(group, set()).add(name)

    named = {}
    for group in sorted(members):
        named[group] = frozenset(members[group])
    return named


def over_seeds(tables: Sequence[Sequence[Line]]) -> list[Line]:
    """Average the tables of runs that differ in their seed only.

    Intervals become the least and the largest value of a seed, `below_floor` the tasks that are
    below the margin with any seed. A line that one of the tables does not have is left out.
    """
    # The figures of each line, in the order of the tables.
    figures: dict[tuple[str, str], list[Recovery]] = {}
    for table in tables:
        for line in table:
            figures.setdefault((line.setting, line.group), []).append(line.recovery)

    # The first table has every line that all have, in the order to show.
    averaged = []
    for line in tables[0]:
        seeds = figures[line.setting, line.group]
        if len(seeds) == len(tables):
            averaged.append(replace(line, recovery=_mean_recovery(seeds)))
    return averaged


def _mean_recovery(seeds: Sequence[Recovery]) -> Recovery:
    absolute = []
    relative = []
    ratios = []
    floored = []
    below_floor: set[str] = set()
    for figures in seeds:
        absolute.append(figures.absolute)
        relative.append(figures.relative)
        ratios.append(figures.ratio_of_means)
        floored.append(figures.floored)
        below_floor.update(figures.below_floor)

    # The number of tasks, and those without a ratio, are alike in all seeds.
    return replace(
        seeds[0],
        absolute=float(np.mean(absolute)),
        relative=float(np.mean(relative)),
        interval=(min(relative), max(relative)),
        ratio_of_means=float(np.mean(ratios)),
        floored=float(np.mean(floored)),
        floored_interval=(min(floored), max(floored)),
        below_floor=tuple(sorted(below_floor)),
    )


def numbers_tuned(results: Sequence[RunResult]) -> dict[str, list[str]]:
    """Return how many numbers each condition has of its own for a task, as one cell.

    Empty where tasks have no heads with numbers of their own.
    """
    texts = {}
    for result in results:
        for name in result.scores:
            condition = BY_NAME[name]
            heads = [result.heads[task] for task in result.scores[name] if task in result.heads]
            if not heads:
                continue
            count = result.dim
            if condition.source == "pca":
                count = result.pca_dim or count
            if condition.source in WITHOUT_A_VECTOR:
                count = 0
            texts[name] = [f"{count:,} + {range_text(heads)}"]
    return texts


def per_task(results: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Return one record per task and condition: metric, score, reference, floor, ranked score."""
    records = []
    for result in results:
        for setting, scores in result.scores.items():
            reference = result.reference_of(BY_NAME[setting])
            for name, score in scores.items():
                # What the task is; its digest is not for a table.
                task = asdict(result.tasks[name])
                del task["digest"]

                # The order of the columns of the CSV.
                record = {"setting": setting, "task": name, **task}
                record["score"] = score.generated
                record["ranked"] = score.ranked
                record["reference"] = reference[name].generated
                record["floor"] = result.floor[name].best
                record["dim"] = result.dim
                records.append(record)
    return records


class Cells(NamedTuple):
    """A line as text, a field for each of `COLUMNS`; shares in per cent."""

    title: str
    group: str
    tasks: str
    absolute: str
    relative: str
    interval: str
    ratio_of_means: str
    floored: str
    floored_interval: str
    above_floor: str


def cells(line: Line, is_over_seeds: bool = False) -> Cells:
    """Return a line's cells as text.

    is_over_seeds: its intervals are those of `over_seeds`, and stay whatever the number of tasks.
    """
    figures = line.recovery
    interval, floored_interval = figures.shown_interval, figures.shown_floored_interval
    if is_over_seeds:
        interval, floored_interval = figures.interval, figures.floored_interval
    tasks = str(figures.tasks)
    if figures.used != figures.tasks:
        tasks = f"{figures.used} of {figures.tasks}"
    return Cells(
        title=line.title,
        group=line.group,
        tasks=tasks,
        absolute=f"{figures.absolute:.3f}",
        relative=_percent(figures.relative),
        interval=_percent_interval(interval),
        ratio_of_means=_percent(figures.ratio_of_means),
        floored=_percent(figures.floored),
        floored_interval=_percent_interval(floored_interval),
        above_floor=str(figures.above),
    )


def _percent(share: float) -> str:
    # No task of the group has a reference above zero, or above its floor.
    return NONE if math.isnan(share) else f"{100 * share:.1f}"


def _percent_interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return NONE if math.isnan(low) else f"{_percent(low)} … {_percent(high)}"
