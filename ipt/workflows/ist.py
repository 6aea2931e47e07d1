"""`ipt ist`: tune d numbers per task in a frozen subspace, condition by condition, and score them.

resolve: which conditions the run still lacks, the bank of seen deltas, encoded tasks
compute: for each source (the subspace, control subspaces, mixtures) d numbers per task, then scores
write:   vectors.safetensors, result.json

The conditions of one source are one stacked run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.estimate import Estimate, estimate, ist_tasks, ist_work, scoring_work, tuning_work
from ipt.experiment import Experiment, PlannedRun, encode_tasks
from ipt.methods.ist import SeenVectors, choose_starts, starts_without_search, tune_vectors
from ipt.methods.mixture import tune_mixtures
from ipt.methods.msf import scaling_of
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import Start
from ipt.provenance import digest, settings_record, source_record, to_record
from ipt.results import PARTS, Condition, RunResult
from ipt.run import Run
from ipt.storage import read_tensors, write_tensors
from ipt.training.loop import Execution
from ipt.training.source import mix_deltas
from ipt.workflows.deltas import missing_tasks, tuned_deltas
from ipt.workflows.evaluation import Scores, floor_scores, reference_scores, score_tasks
from ipt.workflows.msf import task_records

ALL_CONDITIONS = tuple(PARTS.values())
# The sources of IST's conditions, in the order of their runs: what the numbers are, what is said.
SOURCES = {
    "msf": "IST, {}",
    "mixture": "mixtures of seen prompts",
    "random": "IST in the random subspace",
    "pca": "IST in the pca subspace",
}
# What the numbers of a condition are called in vectors.safetensors; those of controls are not kept.
TENSORS = {
    "train_same": "train_same",
    "train_diff": "train_diff",
    "test": "test",
    "mixture_test": "mixture",
}


@dataclass(frozen=True)
class Tuned:
    """The numbers that the tasks of one source were tuned to, and what makes deltas of them."""

    numbers: Tensor
    """[T, d] vectors, or [T, S] weights of the seen deltas."""
    decode: Callable[[Tensor], Tensor]
    """[U, d] or [U, S] to deltas [U, P]."""
    starts: Tensor | None = None
    """[T, d] the best start of each task; None of a mixture."""


def run_ist(
    experiment: Experiment,
    subspace: Subspace,
    config: IstConfig,
    run: Run,
    conditions: Sequence[Condition] = ALL_CONDITIONS,
) -> RunResult:
    """Tune and score the conditions that the run lacks, and finish the run folder."""
    processes = experiment.processes
    previous = processes.on_main_process(lambda: run.result)
    missing = processes.on_main_process(lambda: missing_conditions(run, conditions))
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)
    subspaces = {"msf": subspace} | control_subspaces(experiment, subspace.dim, bank)

    scores: dict[str, Scores] = {}
    tensors: dict[str, Tensor] = {}
    for source in SOURCES:
        same_source = [condition for condition in missing if condition.source == source]
        if not same_source:
            continue
        encoded = [encode_condition(experiment, condition) for condition in same_source]
        tasks = [data for of_condition in encoded for data in of_condition]
        execution = Execution(checkpoint_of(experiment, run, same_source, config))
        if source == "mixture":
            tuned = tune_mixture(experiment, subspace.dim, tasks, config, execution)
        else:
            tuned = tune_in_subspace(experiment, subspaces[source], tasks, config, execution)
        first = 0
        for condition, of_condition in zip(same_source, encoded, strict=True):
            part = slice(first, first + len(of_condition))
            first += len(of_condition)
            numbers = tuned.numbers[part].contiguous()
            title = SOURCES[source].format(condition.name)
            deltas = tuned.decode(numbers)
            scores[condition.name] = score_tasks(experiment, title, deltas, of_condition)
            if condition.name in TENSORS:
                tensors[TENSORS[condition.name]] = numbers
            if condition.name == "test" and config.start == "seen" and tuned.starts is not None:
                deltas = tuned.decode(tuned.starts[part])
                title = "the best seen code"
                scores["best_code"] = score_tasks(experiment, title, deltas, of_condition)

    result = ist_result(experiment, subspace, subspaces["pca"].dim, missing, scores)
    if previous is not None:
        result = merged(RunResult.from_json(previous), result)
    processes.on_main_process(lambda: write(run, tensors, result, had_result=previous is not None))
    return result


def plan_ist(
    experiment: Experiment,
    config: IstConfig,
    source: Run,
    conditions: Sequence[Condition],
) -> PlannedRun:
    """Return the run of these settings in the subspace of `source`; complete with its conditions."""
    more = {"ist": to_record(config)} | source_record(source)
    settings = settings_record("ist", experiment, more)
    dim = source.config["msf"]["dim"]
    name = f"ist-{experiment.split.name}-d{dim}-s{experiment.seed}-{digest(settings)}"

    def is_complete(run: Run) -> bool:
        return run.result is not None and not missing_conditions(run, conditions)

    return PlannedRun(experiment, experiment.work.out / name, settings, is_complete)


def estimate_ist(
    experiment: Experiment,
    config: IstConfig,
    path: Path,
    conditions: Sequence[Condition],
) -> Estimate:
    """Return the cost of the conditions that the run lacks; path: its folder."""
    processes = experiment.processes
    missing = processes.on_main_process(lambda: missing_conditions(Run(path), conditions))
    work = ist_work(experiment.split, config, ist_tasks(experiment.split, missing))
    if any(condition.data_seed == DIFF_DATA_SEED for condition in missing):
        untuned = missing_tasks(experiment, experiment.seen, DIFF_DATA_SEED)
        work += tuning_work(experiment.tune, len(untuned))
    if missing:
        work += scoring_work(experiment.split, experiment.work.limit)
    return estimate(experiment, work)


def missing_conditions(run: Run, conditions: Sequence[Condition]) -> list[Condition]:
    """Return the conditions whose scores the run does not have yet."""
    result = run.result
    scores = result["scores"] if result else {}
    return [condition for condition in conditions if condition.name not in scores]


def condition_tasks(experiment: Experiment, condition: Condition) -> list[str]:
    """Return the names of the tasks of a condition."""
    return experiment.seen if condition.tasks == "seen" else experiment.unseen


def encode_condition(experiment: Experiment, condition: Condition) -> list[EncodedTask]:
    """Return the encoded tasks of a condition."""
    names = condition_tasks(experiment, condition)
    return encode_tasks(experiment, names, condition.data_seed)


def checkpoint_of(
    experiment: Experiment,
    run: Run,
    conditions: Sequence[Condition],
    config: IstConfig,
) -> Checkpoint:
    """Return this process's checkpoint of the run of one source's conditions."""
    names = [condition.name for condition in conditions]
    if conditions[0].source != "msf":
        names = [conditions[0].source]
    stage = "-".join(["ist", *names])
    return run.checkpoint(experiment.processes.name(stage), config.checkpoint_seconds)


def control_subspaces(experiment: Experiment, dim: int, bank: Tensor) -> dict[str, Subspace]:
    """Return a random and a PCA subspace of the seen deltas, bank [S, P]."""
    names = {
        "backbone": experiment.backbone.name,
        "tuner": experiment.model.tuner.name,
        "split": experiment.split.name,
    }
    seed = experiment.seed
    scaling = scaling_of(experiment.model, bank)
    random = Subspace.random(bank, dim, seed, scaling, **names)
    pca = Subspace.pca(bank, dim, scaling, seed=seed, **names)
    device = experiment.model.device
    return {"random": random.to(device), "pca": pca.to(device)}


def tune_in_subspace(
    experiment: Experiment,
    subspace: Subspace,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    execution: Execution,
    seed: int | None = None,
) -> Tuned:
    """Tune each task's intrinsic vector, each process its share.

    seed: decides chance's part; the experiment's, if not given.
    """
    seed = experiment.seed if seed is None else seed
    starts = choose_vectors(experiment, subspace, tasks, config, seed)  # [T, S, d]
    processes = experiment.processes
    places = processes.shard(range(len(tasks)))
    share = [tasks[place] for place in places]
    title = execution.checkpoint.stage or "vectors"
    with experiment.reporter.bar(f"tuning {title}") as progress:
        vectors, _ = tune_vectors(
            experiment.model,
            subspace,
            share,
            config,
            Start(starts[places], seed),
            replace(execution, progress=progress),
        )
    return Tuned(processes.gather_rows(vectors), subspace.decode, starts[:, 0])


def choose_vectors(
    experiment: Experiment,
    subspace: Subspace,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    seed: int,
) -> Tensor:
    """Return where IST starts [T, S, d], each process choosing for its share."""
    names = experiment.split.seen
    bank = tuned_deltas(experiment, names, SAME_DATA_SEED)
    seen = SeenVectors(subspace.encode(bank), names)
    if config.start != "seen":
        return starts_without_search(config, subspace, seen, len(tasks), seed)
    with experiment.reporter.bar(f"best seen codes, {subspace.kind} subspace"):
        # As many for a seen task, whose own vector is none of them, as for an unseen one.
        count = min(config.starts, len(names))
        share = experiment.processes.shard(tasks)
        starts = choose_starts(experiment.model, subspace.decode, share, seen, seed, count)
    return experiment.processes.gather_rows(starts)


def tune_mixture(
    experiment: Experiment,
    dim: int,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    execution: Execution,
    seed: int | None = None,
) -> Tuned:
    """Tune each task's weights of the seen deltas, each process its share."""
    processes = experiment.processes
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)
    seen = SeenVectors(bank, experiment.split.seen)
    share = processes.shard(tasks)
    seed = experiment.seed if seed is None else seed
    with experiment.reporter.bar("tuning mixtures of seen prompts") as progress:
        execution = replace(execution, progress=progress)
        weights = tune_mixtures(experiment.model, seen, dim, share, config, seed, execution)
    return Tuned(processes.gather_rows(weights), lambda numbers: mix_deltas(numbers, bank))


def ist_result(
    experiment: Experiment,
    subspace: Subspace,
    pca_dim: int,
    conditions: Sequence[Condition],
    scores: dict[str, Scores],
) -> RunResult:
    """Return the result of these conditions, with the references that they need."""
    names = [*experiment.seen, *experiment.unseen]
    reference = {SAME_DATA_SEED: reference_scores(experiment, names, SAME_DATA_SEED)}
    for condition in conditions:
        if condition.data_seed not in reference:
            of_condition = condition_tasks(experiment, condition)
            data_seed = condition.data_seed
            reference[data_seed] = reference_scores(experiment, of_condition, data_seed)
    return RunResult(
        kind="ist",
        dim=subspace.dim,
        compresses=subspace.dim < len(experiment.seen),
        tasks=task_records(experiment),
        split=experiment.split,
        reference=reference,
        floor=floor_scores(experiment, names),
        scores=scores,
        pca_dim=pca_dim,
    )


def merged(previous: RunResult, result: RunResult) -> RunResult:
    """Return a result with the conditions that an earlier one has."""
    return replace(
        result,
        reference=previous.reference | result.reference,
        scores=previous.scores | result.scores,
    )


def write(run: Run, tensors: dict[str, Tensor], result: RunResult, had_result: bool) -> None:
    """Write the numbers beside those of an earlier result, and finish the run."""
    path = run.folder / "vectors.safetensors"
    if had_result:
        tensors = read_tensors(path)[0] | tensors
    write_tensors(path, tensors)
    run.finish(result.to_json())
