"""`ipt stability`: how much unseen tasks' scores depend on the seed (IPT, section 4.4).

Five methods on the same tasks, few-shot sets and seeds (stage two of the released scripts): tuning,
IST in a frozen subspace, as many weights of a mixture of seen deltas, and tuning started from the
IST solution, or from the mixture. All seeds of a method are jobs of one stacked run (mixtures: a
run a seed).

E_rel and the figure above the floor (`ipt.recovery`) compare a task's mean over the seeds with
tuning's; the spread is the standard deviation over seeds (n - 1) of a task's score, averaged over
tasks.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipt.config import IstConfig
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.estimate import Estimate, estimate, ist_work, scoring_work, tuning_work
from ipt.experiment import Experiment, PlannedRun, encode_tasks
from ipt.methods.ist import tune_vectors
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import Start, tune_deltas
from ipt.provenance import (
    Record,
    digest,
    settings_record,
    source_record,
    subspace_record,
    to_record,
)
from ipt.recovery import recovery
from ipt.run import Run
from ipt.storage import write_tensors
from ipt.training.loop import Execution
from ipt.training.source import mix_deltas
from ipt.workflows.deltas import missing_tasks, tune_missing, tuned_deltas
from ipt.workflows.evaluation import Scores, floor_scores, reference_scores, score_tasks
from ipt.workflows.ist import choose_vectors, tune_mixture

PROMPT, IST, MIXTURE = "prompt tuning", "IST", "mixture of seen prompts"
FROM = {IST: "prompt tuning from the IST solution", MIXTURE: "prompt tuning from the mixture"}
ByTask = Mapping[str, Sequence[float]]
"""Scores by task, one per seed."""


@dataclass(frozen=True)
class MethodStability:
    """One method over all tasks and seeds."""

    method: str
    tasks: int
    seeds: int
    mean_score: float
    relative: float
    """E_rel of the tasks' means, with tuning's as the reference; NaN where it has none."""
    floored: float
    """The same above the floor."""
    spread: float
    """Standard deviation over seeds, averaged over tasks."""
    spread_ratio: float
    """The spread over tuning's; NaN where that is zero."""


def plan_stability(
    experiment: Experiment,
    config: IstConfig,
    source: Run,
    seeds: Sequence[int],
) -> PlannedRun:
    """Return the run of these settings in the subspace of `source`."""
    more: Record = {"ist": to_record(config), "seeds": list(seeds)}
    more |= source_record(source) | subspace_record(source)
    settings = settings_record("stability", experiment, more)
    dim = source.config["msf"]["dim"]
    split = experiment.split.name
    name = f"stability-{split}-d{dim}-s{experiment.seed}-{digest(settings)}"
    return PlannedRun(experiment, experiment.work.out / name, settings)


def estimate_stability(
    experiment: Experiment,
    config: IstConfig,
    seeds: Sequence[int],
) -> Estimate:
    """Return the cost of the five ways with all seeds."""
    names = experiment.unseen
    jobs = len(seeds) * len(names)
    missing = 0
    for seed in seeds:
        # A seed has a bank of its own.
        seeded = experiment.with_seed(seed)
        untuned = missing_tasks(seeded, names, SAME_DATA_SEED)
        missing += len(untuned)
    # Tuning from two solutions, and two ways to few numbers.
    work = tuning_work(experiment.tune, missing + 2 * jobs)
    work += ist_work(experiment.split, config, 2 * jobs)
    work += scoring_work(experiment.split, experiment.work.limit)
    return estimate(experiment, work)


def run_stability(
    experiment: Experiment,
    subspace: Subspace,
    config: IstConfig,
    seeds: Sequence[int],
    run: Run,
) -> dict[str, Any]:
    """Tune every unseen task with every seed in the five ways, score them, finish the run."""
    names = experiment.unseen
    with_seeds = [experiment.with_seed(seed) for seed in seeds]
    # Before any scoring, which tunes what it needs: one stacked run, and not one for each seed.
    tune_missing(with_seeds, names, SAME_DATA_SEED)
    scored: dict[str, list[Scores]] = {PROMPT: []}
    for seeded in with_seeds:
        scored[PROMPT].append(reference_scores(seeded, names, SAME_DATA_SEED))

    # Task by task for the first seed, then for the next: the order of all tensors below.
    tasks = encode_tasks(experiment, names, SAME_DATA_SEED)
    vectors = tune_all_seeds(experiment, subspace, config, seeds, tasks, run)
    weights = mixtures_of_seeds(experiment, subspace.dim, config, seeds, tasks, run)
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)
    deltas = {IST: subspace.decode(vectors), MIXTURE: mix_deltas(weights, bank)}
    tensors = {"vectors": vectors, "mixture": weights}

    # Tuning from a solution in few numbers: whether that start takes the dependence on the seed
    # away from tuning itself.
    for method in (IST, MIXTURE):
        tuned = tune_from(experiment, method, deltas[method], seeds, tasks, run)
        deltas[FROM[method]] = tuned
        tensors[f"prompts from {method}"] = tuned
    for method, of_method in deltas.items():
        scored[method] = []
        by_seed = of_method.split(len(tasks))  # [T, P] for each seed
        for seed, of_seed in zip(seeds, by_seed, strict=True):
            title = f"{method}, seed {seed}"
            scored[method].append(score_tasks(experiment, title, of_seed, tasks))

    result = stability_result(experiment, subspace.dim, seeds, scored)

    def write() -> None:
        write_tensors(run.folder / "vectors.safetensors", tensors)
        run.finish(result)

    # Only the first process writes: the folder is one, and all have the same result.
    experiment.processes.on_main_process(write)
    return result


def tune_all_seeds(
    experiment: Experiment,
    subspace: Subspace,
    config: IstConfig,
    seeds: Sequence[int],
    tasks: Sequence[EncodedTask],
    run: Run,
) -> Tensor:
    """Return the intrinsic vectors [seeds x T, d] of all seeds, tuned as one stacked run."""
    processes = experiment.processes
    starts = []
    for seed in seeds:
        starts.append(choose_vectors(experiment, subspace, tasks, config, seed))
    values = torch.cat(starts)  # [seeds x T, S, d]
    share = _share(experiment, seeds, tasks)
    start = Start(values[share.places], share.seeds)
    with experiment.reporter.bar("IST, all seeds") as progress:
        checkpoint = run.checkpoint(processes.name("ist"), config.checkpoint_seconds)
        vectors, _ = tune_vectors(
            experiment.model,
            subspace,
            share.tasks,
            config,
            start,
            Execution(checkpoint, progress),
        )
    return processes.gather_rows(vectors)


def mixtures_of_seeds(
    experiment: Experiment,
    dim: int,
    config: IstConfig,
    seeds: Sequence[int],
    tasks: Sequence[EncodedTask],
    run: Run,
) -> Tensor:
    """Return the weights of the seen deltas [seeds x T, S], a run for each seed."""
    # Each seed chooses anchors of its own, and a run stacks jobs of one choice.
    weights = []
    for seed in seeds:
        stage = experiment.processes.name(f"ist-mixture-{seed}")
        execution = Execution(run.checkpoint(stage, config.checkpoint_seconds))
        tuned = tune_mixture(experiment, dim, tasks, config, execution, seed)
        weights.append(tuned.numbers)
    return torch.cat(weights)


def tune_from(
    experiment: Experiment,
    method: str,
    deltas: Tensor,
    seeds: Sequence[int],
    tasks: Sequence[EncodedTask],
    run: Run,
) -> Tensor:
    """Return the deltas [seeds x T, P] tuned from those of a method, as one stacked run."""
    processes = experiment.processes
    share = _share(experiment, seeds, tasks)
    start = Start(deltas[share.places], share.seeds)
    with experiment.reporter.bar(FROM[method]) as progress:
        stage = processes.name(f"from-{method.split()[0]}")
        checkpoint = run.checkpoint(stage, experiment.tune.checkpoint_seconds)
        tuned = tune_deltas(
            experiment.model,
            share.tasks,
            experiment.tune,
            start,
            Execution(checkpoint, progress),
        )
    shard = torch.stack([outcome.delta for outcome in tuned])
    return processes.gather_rows(shard)  # [seeds x T, P]


@dataclass(frozen=True)
class Share:
    """This process's part of every task with every seed, in the same order in all three."""

    places: list[int]
    """Among the tasks of the first seed, then those of the next: rows of the tensors."""
    tasks: list[EncodedTask]
    seeds: list[int]


def _share(
    experiment: Experiment,
    seeds: Sequence[int],
    tasks: Sequence[EncodedTask],
) -> Share:
    """Return this process's part of every task with every seed."""
    count = len(tasks)
    share = Share([], [], [])
    for place in experiment.processes.shard(range(len(seeds) * count)):
        share.places.append(place)
        share.tasks.append(tasks[place % count])
        share.seeds.append(seeds[place // count])
    return share


def stability_result(
    experiment: Experiment,
    dim: int,
    seeds: Sequence[int],
    scored: Mapping[str, Sequence[Scores]],
) -> dict[str, Any]:
    """Return the record that result.json holds: scores by method, task and seed; the table."""
    names = experiment.unseen
    by_method: dict[str, dict[str, list[float]]] = {}
    for method, of_seeds in scored.items():
        by_method[method] = {}
        for name in names:
            by_method[method][name] = [scores[name].generated for scores in of_seeds]
    # Over the scores alone, so that a page can tell whether its table is of this run.
    text = json.dumps(by_method, sort_keys=True)
    floors = {}
    for name, floor in floor_scores(experiment, names).items():
        floors[name] = floor.best
    rows = []
    for row in stability(by_method, floors):
        rows.append(to_json(row))
    return {
        "kind": "stability",
        "dim": dim,
        "seeds": list(seeds),
        "by_seed": by_method,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        # Every run's result has this field; here no condition is scored.
        "scores": {},
        "rows": rows,
    }


def stability(scores: Mapping[str, ByTask], floors: Mapping[str, float]) -> list[MethodStability]:
    """Return each method's means, recovery of tuning's mean, and spread over seeds."""
    reference = _means(scores[PROMPT])

    # Within each task first: tasks differ far more from each other than seeds do. Divided by
    # n - 1, as the seeds are a sample of all that could have been taken.
    spreads = {}
    for method, by_task in scores.items():
        deviations = [np.std(values, ddof=1) for values in by_task.values()]
        spreads[method] = float(np.mean(deviations))

    rows = []
    for method, by_task in scores.items():
        means = _means(by_task)
        recovered = recovery(means, reference, floors)
        ratio = math.nan
        if spreads[PROMPT]:
            ratio = spreads[method] / spreads[PROMPT]
        row = MethodStability(
            method=method,
            tasks=len(means),
            seeds=len(next(iter(by_task.values()))),
            mean_score=recovered.absolute,
            relative=recovered.relative,
            floored=recovered.floored,
            spread=spreads[method],
            spread_ratio=ratio,
        )
        rows.append(row)
    return rows


def _means(by_task: ByTask) -> dict[str, float]:
    """Return each task's mean over the seeds."""
    means = {}
    for name, values in by_task.items():
        means[name] = float(np.mean(values))
    return means


def to_json(row: MethodStability) -> dict[str, Any]:
    """Return a row as JSON has it: six digits, null where there is no number."""
    record = asdict(row)
    for name, value in record.items():
        if isinstance(value, float):
            record[name] = None if math.isnan(value) else round(value, 6)
    return record
