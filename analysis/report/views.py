"""A finished IST run and its MSF run, read once for a page.

Everything that a page says comes from a `View`: results, settings, intrinsic vectors, and how much
of prompt tuning each task recovers. Nothing but `read_views` reads a file.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ipt.analysis.report.colours import KINDS, NO_KIND
from ipt.analysis.scores import (
    FinishedRun,
    Groups,
    Line,
    groups,
    lines,
    per_task,
    read_pair,
    subcategories,
)
from ipt.analysis.summaries import summary
from ipt.data import stratum
from ipt.recovery import relative_score
from ipt.results import BY_NAME, CONDITIONS, RunResult, TaskRecord
from ipt.run import ANSWERS, PREDICTIONS, Run, complete_runs
from ipt.storage import read_json, read_lines

# The first of these that a run has stands for a task: the harder one, as the paper's figures do
SEEN = ("train_diff", "train_same", "train_msf")
UNSEEN = ("test", "test_msf")

# Settings that runs of one line share, beside those of the stages
SHARED = ("model", "dtype", "limit", "held_out")

Arrays = dict[str, np.ndarray]  # by name, as in a file of tensors


@dataclass(frozen=True)
class StageRun:
    """The run folder of one stage."""

    folder: Path  # the commands name the run by its last part
    result: RunResult  # result.json
    record: dict[str, Any]  # config.json: settings and versions

    @property
    def settings(self) -> dict[str, Any]:
        """What the run was asked to do."""
        settings: dict[str, Any] = self.record["config"]
        return settings


@dataclass(frozen=True)
class Probe:
    """What `ipt probe` wrote into the IST run's folder."""

    record: dict[str, Any]  # probe.json: the task, its neighbours, decoded words
    arrays: Arrays  # probe.safetensors

    @property
    def task(self) -> str:
        """The unseen task that was probed."""
        name: str = self.record["task"]
        return name


@dataclass(frozen=True)
class Stability:
    """The result of `ipt stability` in the same subspace."""

    rows: Sequence[Mapping[str, Any]]  # the figures of a method each
    by_seed: Mapping[str, Mapping[str, Sequence[float]]]  # method to task to a score per seed

    @property
    def methods(self) -> list[str]:
        """The methods in the order of the table."""
        return [row["method"] for row in self.rows]


class Points(NamedTuple):
    """Tasks that have an intrinsic vector, and the vectors."""

    names: list[str]  # [T]
    vectors: np.ndarray  # [T, d]


@dataclass(frozen=True)
class ScoredTask:
    """A task's figures in one condition."""

    name: str
    subcategory: str  # empty where a user's own task has none
    condition: str  # its key in result.json
    score: float  # on held-out rows, at most 1
    reference: float  # prompt tuning on the same few-shot sets
    floor: float  # what doing nothing scores

    @property
    def recovery(self) -> float:
        """Score as a share of the reference; NaN where the reference is not above 0."""
        # a share of nothing is not defined
        if self.reference > 0:
            return relative_score([self.score], [self.reference])
        return math.nan


@dataclass(frozen=True)
class View:
    """What a page shows of one IST run.

    tangents: [S, n * h, d], orthonormal bases of the decoder's tangent spaces at S of the vectors.
    """

    label: str  # what the page calls it; no other run of the page has the same
    msf: StageRun  # the run that the IST run stands on
    ist: StageRun
    vectors: Arrays  # intrinsic vectors [T, d] and weights of mixtures, by condition
    probe: Probe | None = None  # None: `ipt probe` was not called
    # Of heads that read states: by condition and task, the rows that `ipt ist` keeps
    predictions: Mapping[str, Any] = field(default_factory=dict)
    # The first held-out rows of each task and what was answered to them; none of old runs
    answers: Mapping[str, Any] = field(default_factory=dict)
    # By stage, lines of metrics-STAGE.jsonl
    losses: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)
    stability: Stability | None = None  # of the newest run in the same subspace, beside the run
    # Empty where one run is shown: decoders are compared with those of other runs
    tangents: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    # ---------------------------------------------------------------- what the results say

    @property
    def results(self) -> list[RunResult]:
        """The results of both stages, for the functions of `ipt.analysis.scores`."""
        return [self.msf.result, self.ist.result]

    @property
    def dim(self) -> int:
        """The intrinsic dimension d."""
        return self.ist.result.dim

    @property
    def compresses(self) -> bool:
        """Whether d is below the number of seen tasks."""
        return self.ist.result.compresses

    @property
    def parameters(self) -> int | None:
        """Numbers of the decoder; None where an old run does not say it."""
        return self.msf.result.parameters

    @cached_property
    def seen(self) -> list[str]:
        """The tasks that MSF saw."""
        return list(self.ist.result.split.seen)

    @cached_property
    def unseen(self) -> list[str]:
        """The tasks that MSF did not see, those of the other kind last."""
        split = self.ist.result.split
        return [*split.unseen, *split.out_of_kind]

    @property
    def tasks(self) -> dict[str, TaskRecord]:
        """What each task is, by its name."""
        return self.ist.result.tasks

    @cached_property
    def lines(self) -> list[Line]:
        """Recovery in each condition, overall and by group of tasks."""
        return lines(self.results)

    @cached_property
    def subcategory_lines(self) -> list[Line]:
        """Recovery in each condition by subcategory."""
        return lines(self.results, grouping=subcategories)

    @cached_property
    def overall(self) -> dict[str, Line]:
        """Recovery over all tasks, by condition."""
        chosen = {}
        for line in self.lines:
            if line.group == "all":
                chosen[line.setting] = line
        return chosen

    @cached_property
    def unseen_groups(self) -> Groups:
        """The groups of unseen tasks that are reported apart."""
        return groups(self.ist.result, "test")

    @cached_property
    def summary(self) -> dict[str, Any]:
        """Digests and the means of prompt tuning, as `ipt runs export` writes them."""
        return summary(self.results, command="", seed=0)

    @cached_property
    def task_records(self) -> list[dict[str, Any]]:
        """One record per task and condition, for a file."""
        return per_task(self.results)

    @cached_property
    def by_condition(self) -> dict[str, dict[str, ScoredTask]]:
        """The figures of each task by condition and task, conditions in the order of the tables."""
        scored: dict[str, dict[str, ScoredTask]] = {}
        for record in self.task_records:
            task = ScoredTask(
                name=record["task"],
                subcategory=record["subcategory"],
                condition=record["setting"],
                score=record["score"],
                reference=record["reference"],
                floor=record["floor"],
            )
            scored.setdefault(task.condition, {})[task.name] = task

        ordered = {}
        for condition in CONDITIONS:
            if condition.name in scored:
                ordered[condition.name] = scored[condition.name]
        return ordered

    # ---------------------------------------------------------------- what follows from them

    @property
    def folder(self) -> Path:
        """The folder of the IST run, by whose name the run is called."""
        return self.ist.folder

    @cached_property
    def names(self) -> list[str]:
        """All tasks, seen ones first."""
        return self.seen + self.unseen

    @property
    def sizes(self) -> dict[str, int]:
        """What recovery is drawn against, by the axis' name.

        0 shots are the default, which differs between kinds of tasks.
        """
        shots = self.msf.settings["tune"]["shots"] or 0  # null: the default
        return {
            "intrinsic dimension d": self.dim,
            "seen tasks": len(self.seen),
            "shots (per class, or in all)": shots,
        }

    @property
    def family(self) -> str:
        """The split's name without the number of its seen tasks."""
        return re.sub(r"-\d+$", "", self.msf.settings["split"])

    @property
    def shared_settings(self) -> str:
        """A text that runs share which differ in their sizes and seeds alone."""
        msf = self.msf.settings
        # what is drawn against is left out: it differs on a line
        settings = [
            without(msf["msf"], "dim"),
            without(msf["tune"], "shots"),
            self.ist.settings["ist"],
        ]
        for key in SHARED:
            settings.append(msf.get(key))
        return f"{self.family} {json.dumps(settings, sort_keys=True)}"

    def condition_of(self, name: str) -> str | None:
        """Return the condition that stands for a task, None where it was not scored.

        That of tuned vectors, on other data for a seen task, where the run has it.
        """
        # a run may have scored some of the tasks of a condition only
        order = UNSEEN if name in self.unseen else SEEN
        for condition in order:
            if name in self.by_condition.get(condition, {}):
                return condition
        return None

    def scored_task(self, name: str) -> ScoredTask | None:
        """Return a task's figures in the condition that stands for it."""
        condition = self.condition_of(name)
        if condition is None:
            return None
        return self.by_condition[condition][name]

    def subcategories_of(self, names: Iterable[str]) -> list[str]:
        """Return the subcategory of each of the tasks."""
        return [self.tasks[name].subcategory for name in names]

    @cached_property
    def has_groups(self) -> bool:
        """Whether tasks differ in being novel or needing knowledge; a user's own tasks do not."""
        return any(task.novel or task.knowledge for task in self.tasks.values())

    def kind(self, name: str) -> str:
        """Return novel, knowledge or rule; an empty text where tasks know no such difference."""
        if not self.has_groups:
            return ""
        task = self.tasks[name]
        return stratum(task.novel, task.knowledge)

    def kind_style(self, name: str) -> tuple[str, str]:
        """Return the colour and the mark of a task's kind."""
        return KINDS.get(self.kind(name), NO_KIND)

    def scored_tasks(self, names: Sequence[str]) -> list[ScoredTask]:
        """Return the figures of those of the tasks that were scored, in their order."""
        tasks = []
        for name in names:
            task = self.scored_task(name)
            if task is not None:
                tasks.append(task)
        return tasks

    def scores_in(self, condition: str) -> dict[str, float]:
        """Return the scores in a condition by task; none where the run does not have it."""
        scores = {}
        for name, task in self.by_condition.get(condition, {}).items():
            scores[name] = task.score
        return scores

    def tip(self, name: str) -> str:
        """Return a task in a line: name, subcategory, part, recovery."""
        task = self.scored_task(name)
        recovery = "not scored"
        if task is not None:
            recovery = f"{BY_NAME[task.condition].title} {percent(task.recovery)}"

        subcategory = self.tasks[name].subcategory or "no subcategory"
        part = "unseen" if name in self.unseen else "seen"
        return " · ".join((name, subcategory, part, recovery))

    @cached_property
    def points(self) -> Points:
        """The tasks that have a vector, seen ones first, and the vectors."""
        names: list[str] = []
        vectors: list[np.ndarray] = []  # [seen, d] and [unseen, d]

        # on their own data first: with these the subspace was found; where IST tuned neither, what
        # MSF encodes them to
        seen = None
        for condition in ("train_same", "train_diff", "train_msf"):
            seen = self.vectors.get(condition) if seen is None else seen
        if seen is not None:
            names += self.seen
            vectors.append(seen)

        unseen = self.vectors.get("test")
        if unseen is not None:
            names += self.unseen
            vectors.append(unseen)

        # arrays cannot be joined where there are none
        if not vectors:
            return Points(names, np.zeros((0, self.dim)))
        return Points(names, np.concatenate(vectors))


def without(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return settings but for one."""
    others = dict(settings)
    others.pop(name, None)
    return others


def percent(share: float) -> str:
    """Return a share as text, a dash for NaN."""
    if math.isnan(share):
        return "–"
    return f"{100 * share:.1f}\u00a0%"  # with a space where no line breaks


def read_views(folders: Sequence[Path]) -> list[View]:
    """Read IST runs, each with its MSF run.

    Raises ValueError where one is unfinished, of another kind, or named twice.
    """
    return _with_distinct_labels([_read_view(folder) for folder in folders])


def _read_view(folder: Path) -> View:
    pair = read_pair(folder)
    msf = _with_settings(pair.msf)
    ist = _with_settings(pair.ist)
    split = ist.result.split.name
    seed = ist.settings["seed"]
    vectors = _without_heads(_arrays(folder, "vectors"), ist.result)
    vectors |= _msf_vectors(msf)
    return View(
        label=f"{split}, d = {ist.result.dim}, seed {seed}",
        msf=msf,
        ist=ist,
        vectors=vectors,
        probe=_read_probe(folder),
        predictions=_read_record(folder / PREDICTIONS),
        answers=_read_record(folder / ANSWERS),
        losses=_read_losses(msf.folder) | _read_losses(folder),
        stability=_read_stability(folder),
    )


def _with_settings(run: FinishedRun) -> StageRun:
    return StageRun(run.folder, run.result, read_json(run.folder / "config.json"))


def _msf_vectors(msf: StageRun) -> Arrays:
    """Return what the subspace encodes the seen tasks' deltas to, [T, d]; nothing of older runs."""
    if not (msf.folder / "codes.safetensors").exists():
        return {}
    # seen tasks first, then the others
    codes = _arrays(msf.folder, "codes")["codes"]
    return {"train_msf": codes[: len(msf.result.split.seen)]}


def _without_heads(vectors: Arrays, result: RunResult) -> Arrays:
    """Return vectors [T, d] and mixtures [T, S] without the heads' numbers behind them."""
    cut = {}
    for name, numbers in vectors.items():
        width = len(result.split.seen) if name == "mixture" else result.dim
        cut[name] = numbers[:, :width]
    return cut


def _arrays(folder: Path, name: str) -> Arrays:
    tensors = Run(folder).tensors(name)
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _read_record(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _read_losses(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of figures of each stage, in the order of names."""
    losses = {}
    for path in sorted(folder.glob("metrics-*.jsonl")):
        losses[path.stem.removeprefix("metrics-")] = read_lines(path)
    return losses


def _read_probe(folder: Path) -> Probe | None:
    path = folder / "probe.json"
    if not path.exists():
        return None
    remedy = "give `ipt probe` again"
    record = read_json(path, remedy)
    # Older probes do not say which subspace they looked at.
    subspace = record.get("subspace")
    if subspace is not None and subspace != Run(folder).source.subspace_digest:
        raise ValueError(f"{path} is of another subspace than there is now; {remedy}")
    return Probe(record, _arrays(folder, "probe"))


def _read_stability(folder: Path) -> Stability | None:
    """Return the newest result in the subspace of this IST run, None where there is none."""
    source = Run(folder).source
    newest = None
    # the newest comes last
    for run in complete_runs(folder.parent, "stability"):
        result = run.result
        if run.config["msf_run"] != source.folder.name or result is None:
            continue
        # Of another subspace that once had the name
        if run.config.get("subspace", source.subspace_digest) != source.subspace_digest:
            continue
        # older versions stored texts below `columns`, which hold no numbers
        if "columns" not in result:
            newest = Stability(result["rows"], result["by_seed"])
    return newest


def _with_distinct_labels(views: Sequence[View]) -> list[View]:
    """Return the views with labels that differ: in words if these do, else folders, else paths."""
    words = []
    names = []
    paths = []
    for view in views:
        words.append(view.label)
        names.append(view.folder.name)
        paths.append(str(view.folder))

    # the shortest that tells all apart
    for labels in (words, names, paths):
        if len(set(labels)) == len(views):
            labelled = zip(views, labels, strict=True)
            return [replace(view, label=label) for view, label in labelled]
    raise ValueError(f"a run is named twice: {', '.join(names)}; name each once")
