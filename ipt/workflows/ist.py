"""`ipt ist`: tune d numbers per task in a frozen subspace, condition by condition, and score them.

resolve: which conditions the run is missing, the bank of seen deltas, encoded tasks
compute: for each source (the subspace, control subspaces, mixtures) d numbers per task, then scores
write:   vectors.safetensors, answers.json, predictions.json (heads that read states), result.json

The conditions of one source are one stacked run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.estimate import (
    Estimate,
    StageWork,
    Work,
    conditions_work,
    estimate,
    ist_tasks,
    ist_work,
    scoring_work,
)
from ipt.experiment import Experiment, PlannedRun, encode_tasks
from ipt.methods.ist import SeenVectors, choose_starts, starts_without_search, tune_vectors
from ipt.methods.mixture import tune_mixtures
from ipt.methods.msf import scaling_of
from ipt.methods.nearest import nearest_definitions
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import Start
from ipt.provenance import (
    Record,
    digest,
    settings_record,
    source_record,
    subspace_record,
    to_record,
)
from ipt.results import PARTS, Condition, RunResult, choice
from ipt.run import ANSWERS, PREDICTIONS, Run
from ipt.storage import read_json, tensors_digest, write_json, write_tensors
from ipt.training.loop import Execution
from ipt.training.model import Model
from ipt.training.source import decoded_with_heads, mix_deltas
from ipt.training.sweep import Selected
from ipt.workflows.deltas import missing_tasks, tuned_deltas, tuning_stage
from ipt.workflows.evaluation import (
    SCORING,
    Predicted,
    Scores,
    first_answers,
    floor_scores,
    keep_answers,
    measure_tasks,
    predictions_record,
    reference_scores,
    score_tasks,
)
from ipt.workflows.msf import task_records

LOSS_DIGITS = 6
ALL_CONDITIONS = tuple(PARTS.values())
# The sources of IST's conditions, in the order of their runs: what the numbers are, what is said.
SOURCES = {
    "msf": "{}",
    "mixture": "mixtures of seen prompts",
    "random-start": "IST in random directions at the start",
    "random": "IST in the random subspace",
    "pca": "IST in the pca subspace",
}
# The same as stages of a command.
STAGES = {
    "msf": "{d} numbers a task (IST)",
    "mixture": "mixtures of seen prompts",
    "random-start": "{d} random directions from the start",
    "random": "{d} random directions",
    "pca": "{d} PCA directions",
}
# What the numbers of a condition are called in vectors.safetensors; those of controls are not kept.
TENSORS = {
    "train_same": "train_same",
    "train_diff": "train_diff",
    "test": "test",
    "mixture_test": "mixture",
}


class EncodedCondition(NamedTuple):
    """A condition and its encoded tasks."""

    condition: Condition
    tasks: list[EncodedTask]


@dataclass(frozen=True)
class Tuned:
    """The numbers that the tasks of one source were tuned to, and what makes deltas of them."""

    numbers: Tensor
    """[T, d + H] vectors, or [T, S + H] weights of the seen deltas, each with its task's head."""
    decode: Callable[[Tensor], Tensor]
    """[U, d + H] or [U, S + H] to deltas [U, P + H]."""
    count: int
    """d, or S."""
    dev_losses: Sequence[float]
    """Of each task's numbers, nats per target."""
    starts: Tensor | None = None
    """[T, d] the best start of each task, or [T, S] the best seen delta; None with heads."""


@dataclass(frozen=True)
class Scored:
    """What is known of the conditions so far: scores, numbers and predictions that are kept."""

    scores: dict[str, Scores] = field(default_factory=dict)
    dev_losses: dict[str, dict[str, float]] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    # Of heads that read states; a language model's are not kept.
    predictions: dict[str, Predicted] = field(default_factory=dict)
    # To the first rows of each task, for those who read about a run.
    answers: dict[str, Any] = field(default_factory=dict)


def run_ist(
    experiment: Experiment,
    subspace: Subspace,
    config: IstConfig,
    run: Run,
    conditions: Sequence[Condition] = ALL_CONDITIONS,
) -> RunResult:
    """Tune and score the conditions that the run is missing, and finish the run folder."""
    # The first process reads the folder for all, so that all do the same conditions.
    processes = experiment.processes
    previous = processes.on_main_process(lambda: run.result)
    missing = processes.on_main_process(lambda: missing_conditions(run, conditions))
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)  # [S, P]

    # Starts and mixtures are made of it.
    of = tensors_digest({"bank": bank})

    # Conditions of one source are one stacked run: their tasks are jobs side by side.
    scored = Scored()
    for source in SOURCES:
        same_source = [condition for condition in missing if condition.source == source]
        if not same_source:
            continue
        encoded = [encode_condition(experiment, condition) for condition in same_source]
        tasks = []
        for one in encoded:
            tasks += one.tasks
        execution = Execution(checkpoint_of(experiment, run, same_source, config, of))
        with experiment.reporter.stage(source):
            if source == "mixture":
                tuned = tune_mixture(experiment, subspace.dim, tasks, config, execution)
            else:
                decoder = subspace
                if source != "msf":
                    decoder = control_subspace(experiment, source, subspace.dim, bank)
                tuned = tune_in_subspace(experiment, decoder, tasks, config, execution)
            score_conditions(experiment, config, tuned, encoded, scored)

    # Beside the answers of five numbers those of nothing and of tuning.
    if any(condition.name == "test" for condition in missing):
        unseen = encode_tasks(experiment, experiment.unseen, SAME_DATA_SEED)
        for what, measured in first_answers(experiment, experiment.unseen).items():
            keep_answers(scored.answers, what, unseen, measured)

    # S points span S - 1 dimensions at most.
    pca_dim = min(subspace.dim, len(bank) - 1)
    with experiment.reporter.stage(SCORING):
        result = ist_result(experiment, subspace, pca_dim, missing, scored)
    if previous is not None:
        result = merged(RunResult.from_json(previous), result)
    chosen = choice(result)
    if chosen:
        result = replace(result, scores=result.scores | {"choice_test": chosen})
    # Only the first process writes: the folder is one, and all have the same result.
    processes.on_main_process(
        lambda: write(run, scored, result, had_result=previous is not None)
    )
    return result


def score_conditions(
    experiment: Experiment,
    config: IstConfig,
    tuned: Tuned,
    encoded: Sequence[EncodedCondition],
    scored: Scored,
) -> None:
    """Score the conditions of one source, and add them to what was scored before.

    tuned: of the tasks of all conditions, one condition after another.
    """
    first = 0
    for condition, tasks in encoded:
        part = slice(first, first + len(tasks))
        first = part.stop
        # Heads of other conditions' tasks, which were stacked beside them, may be wider.
        width = tuned.count + widest_head(experiment.model, tasks)
        numbers = tuned.numbers[part, :width].contiguous()
        title = SOURCES[condition.source].format(condition.column)
        deltas = tuned.decode(numbers)
        measured = measure_tasks(experiment, title, deltas, tasks)
        scores = {name: score.rounded() for name, score in measured.items()}
        scored.scores[condition.name] = scores
        losses = zip(tasks, tuned.dev_losses[part], strict=True)
        scored.dev_losses[condition.name] = {data.task.name: loss for data, loss in losses}
        keep_answers(scored.answers, condition.name, tasks, measured)
        if experiment.model.head.reads_states and condition.source == "msf":
            scored.predictions[condition.name] = predictions_record(tasks, measured)
        if condition.name in TENSORS:
            scored.tensors[TENSORS[condition.name]] = numbers

        # What the search alone gives, before any step: the control that tunes nothing. Only of
        # unseen tasks, as the subspace was found with the others.
        if tuned.starts is None:
            continue
        if condition.name == "test" and config.start == "seen":
            title = "the best seen code"
            best = tuned.decode(tuned.starts[part])
            scored.scores["best_code"] = score_tasks(experiment, title, best, tasks)
        if condition.name == "mixture_test":
            title = "the best seen prompt"
            best = tuned.decode(tuned.starts[part])
            scored.scores["best_seen"] = score_tasks(experiment, title, best, tasks)
            nearest = nearest_seen(experiment, tasks)
            if nearest is not None:
                title = "the nearest seen prompt"
                scored.scores["nearest_seen"] = score_tasks(experiment, title, nearest, tasks)


def nearest_seen(experiment: Experiment, tasks: Sequence[EncodedTask]) -> Tensor | None:
    """Return the deltas [T, P] of the seen tasks with the most similar definitions.

    None where a task has no definition.
    """
    seen = experiment.tasks_named(experiment.seen)
    definitions = [data.task.definition for data in tasks]
    of_seen = [task.definition for task in seen]
    if not all([*definitions, *of_seen]):
        return None
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)  # [S, P]
    return bank[nearest_definitions(definitions, of_seen)]


def widest_head(model: Model, tasks: Sequence[EncodedTask]) -> int:
    """Return the most numbers H that a head of these tasks has."""
    return max(model.head.size(model.backbone, data.classes) for data in tasks)


def plan_ist(
    experiment: Experiment,
    config: IstConfig,
    source: Run,
    conditions: Sequence[Condition],
) -> PlannedRun:
    """Return the run of these settings in the subspace of `source`.

    conditions: with which it is complete.
    """
    # Not the conditions: they are added to the folder of the same settings, run by run.
    more: Record = {"ist": to_record(config)}
    more |= source_record(source) | subspace_record(source)
    settings = settings_record("ist", experiment, more)
    dim = source.config["msf"]["dim"]
    split = experiment.split.name
    name = f"ist-{split}-d{dim}-s{experiment.seed}-{digest(settings)}"

    def is_complete(run: Run) -> bool:
        return run.result is not None and not missing_conditions(run, conditions)

    return PlannedRun(experiment, experiment.work.out / name, settings, is_complete)


def estimate_ist(
    experiment: Experiment,
    config: IstConfig,
    path: Path,
    conditions: Sequence[Condition],
    dim: int = 0,
) -> Estimate:
    """Return the cost of the missing conditions of the run.

    path: its folder. dim: d, for the names of its stages.
    """
    processes = experiment.processes
    missing = processes.on_main_process(lambda: missing_conditions(Run(path), conditions))
    split, limit = experiment.split, experiment.work.limit
    work = ist_work(split, config, ist_tasks(split, missing))
    stages = []
    answers = Work()
    for source, title in STAGES.items():
        same_source = [condition for condition in missing if condition.source == source]
        if same_source:
            scored = conditions_work(split, same_source, limit)
            answers += scored
            own = ist_work(split, config, ist_tasks(split, same_source)) + scored
            stages.append(StageWork(source, title.format(d=dim), own))
    # On other few-shot sets the reference is missing too: MSF has tuned the first ones only.
    if any(condition.data_seed == DIFF_DATA_SEED for condition in missing):
        untuned = missing_tasks(experiment, experiment.seen, DIFF_DATA_SEED)
        if untuned:
            stages.append(tuning_stage(experiment, len(untuned)))
            work += stages[-1].work
    if missing:
        scoring = scoring_work(split, limit)
        work += scoring
        rest = Work(answers=max(0, scoring.answers - answers.answers))
        stages.append(StageWork(SCORING, "scoring what they are compared with", rest))
    return estimate(experiment, work, stages)


def missing_conditions(run: Run, conditions: Sequence[Condition]) -> list[Condition]:
    """Return the conditions whose scores the run does not have yet."""
    scores = run.scores
    return [condition for condition in conditions if condition.name not in scores]


def condition_tasks(experiment: Experiment, condition: Condition) -> list[str]:
    """Return the names of the tasks of a condition."""
    return experiment.seen if condition.tasks == "seen" else experiment.unseen


def encode_condition(experiment: Experiment, condition: Condition) -> EncodedCondition:
    """Return a condition with its encoded tasks."""
    names = condition_tasks(experiment, condition)
    tasks = encode_tasks(experiment, names, condition.data_seed)
    return EncodedCondition(condition, tasks)


def checkpoint_of(
    experiment: Experiment,
    run: Run,
    conditions: Sequence[Condition],
    config: IstConfig,
    of: str = "",
) -> Checkpoint:
    """Return this process's checkpoint of the run of one source's conditions.

    of: what they depend on beside the run's settings.
    """
    # Named after what is stacked: another choice of conditions is another state.
    names = [condition.name for condition in conditions]
    if conditions[0].source != "msf":
        # A control is one condition, which older runs name by its source.
        names = [conditions[0].source]
    stage = "-".join(["ist", *names])
    return run.checkpoint(experiment.processes.name(stage), config.checkpoint_seconds, of)


def control_subspace(experiment: Experiment, source: str, dim: int, bank: Tensor) -> Subspace:
    """Return a control of the seen deltas, bank [S, P]; source: as in `SOURCES`."""
    names: dict[str, Any] = {
        "backbone": experiment.backbone.name,
        "tuner": experiment.model.tuner.name,
        "split": experiment.split.name,
    }
    seed = experiment.seed
    # In the scales that MSF's subspace has, or the controls would be of another geometry.
    scaling = scaling_of(experiment.model, bank)
    if source == "pca":
        control = Subspace.pca(bank, dim, scaling, seed=seed, **names)
    else:
        start = experiment.model.initialize(seed) if source == "random-start" else None
        control = Subspace.random(bank, dim, seed, scaling, start, **names)
    return control.to(experiment.model.device)


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
    # Places and not tasks are shared out, as they index the starts too.
    places = processes.shard(range(len(tasks)))
    share = [tasks[place] for place in places]
    with experiment.reporter.bar(f"tuning, {subspace.kind} subspace") as progress:
        vectors, selected = tune_vectors(
            experiment.model,
            subspace,
            share,
            config,
            Start(starts[places], seed),
            replace(execution, progress=progress),
        )
    # Every process scores its share of what all have tuned.
    gathered = processes.gather_rows(vectors)  # [T, d]
    decode = partial(decoded_with_heads, count=subspace.dim, decode=subspace.decode)
    # Without a head: of untrained ones nothing would come.
    best = None if experiment.model.has_head_numbers else starts[:, 0]
    return Tuned(gathered, decode, subspace.dim, dev_losses(experiment, selected), best)


def dev_losses(experiment: Experiment, selected: Sequence[Selected]) -> list[float]:
    """Return the dev losses of all processes' tasks; selected: of this one's."""
    losses = []
    for trial in selected:
        losses.append(round(trial.outcome.dev_loss, LOSS_DIGITS))
    return experiment.processes.gather(losses)


def choose_vectors(
    experiment: Experiment,
    subspace: Subspace,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    seed: int,
) -> Tensor:
    """Return where IST starts [T, S, d], each process choosing for its share."""
    names = experiment.split.seen
    bank = tuned_deltas(experiment, names, SAME_DATA_SEED)  # [S, P]
    vectors = subspace.encode(bank)  # [S, d]
    seen = SeenVectors(vectors, names)
    # Untrained heads tell no vector from another.
    if config.start != "seen" or experiment.model.has_head_numbers:
        return starts_without_search(config, subspace, seen, len(tasks), seed)
    with experiment.reporter.bar(f"best seen codes, {subspace.kind} subspace"):
        # As many for a seen task, whose own vector is none of them, as for an unseen one.
        count = min(config.starts, len(names))
        share = experiment.processes.shard(tasks)
        starts = choose_starts(
            experiment.model,
            subspace.decode,
            share,
            seen,
            seed,
            count,
        )
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
    bank = tuned_deltas(experiment, experiment.seen, SAME_DATA_SEED)  # [S, P]
    # The mixture's space is spanned by whole deltas: each is its own vector.
    seen = SeenVectors(bank, experiment.split.seen)
    share = processes.shard(tasks)
    seed = experiment.seed if seed is None else seed
    with experiment.reporter.bar("tuning mixtures of seen prompts") as progress:
        execution = replace(execution, progress=progress)
        mixtures = tune_mixtures(
            experiment.model,
            seen,
            dim,
            share,
            config,
            seed,
            execution,
        )
    gathered = processes.gather_rows(mixtures.weights)  # [T, S]
    mix = partial(mix_deltas, bank=bank)
    decode = partial(decoded_with_heads, count=len(bank), decode=mix)
    best = None
    if not experiment.model.has_head_numbers:
        best = processes.gather_rows(best_seen(mixtures.anchors))
    return Tuned(gathered, decode, len(bank), dev_losses(experiment, mixtures.selected), best)


def best_seen(anchors: Tensor) -> Tensor:
    """Return the weights [T, S] of the best anchor [T, A, S] that is a seen delta, not the mean.

    A is two or more, so that one is: d is one or more.
    """
    is_mean = anchors[:, 0].amax(1) < 1  # [T]
    return torch.where(is_mean[:, None], anchors[:, 1], anchors[:, 0])


def ist_result(
    experiment: Experiment,
    subspace: Subspace,
    pca_dim: int,
    conditions: Sequence[Condition],
    scored: Scored,
) -> RunResult:
    """Return the result of these conditions, with the references that they need."""
    names = [*experiment.seen, *experiment.unseen]
    reference = {SAME_DATA_SEED: reference_scores(experiment, names, SAME_DATA_SEED)}
    # A score stands beside tuning on the same rows: other few-shot sets, another reference.
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
        scores=scored.scores,
        dev_losses=scored.dev_losses,
        pca_dim=pca_dim,
        heads=experiment.head_sizes,
    )


def merged(previous: RunResult, result: RunResult) -> RunResult:
    """Return a result with the conditions that an earlier one has."""
    # The earlier ones first, so that result.json grows at its end.
    return replace(
        result,
        reference=previous.reference | result.reference,
        scores=previous.scores | result.scores,
        dev_losses=previous.dev_losses | result.dev_losses,
    )


def write(run: Run, scored: Scored, result: RunResult, had_result: bool) -> None:
    """Write numbers and predictions beside those of an earlier result, and finish the run."""
    tensors = scored.tensors
    path = run.folder / "vectors.safetensors"
    if had_result:
        tensors = run.tensors("vectors") | tensors
    write_tensors(path, tensors)
    if scored.predictions:
        path = run.folder / PREDICTIONS
        kept = read_json(path) if had_result and path.is_file() else {}
        write_json(path, kept | scored.predictions)
    if scored.answers:
        write_answers(run.folder / ANSWERS, scored.answers)
    # Last, as the result marks the run complete.
    run.finish(result.to_json())


def write_answers(path: Path, answers: dict[str, Any]) -> None:
    """Write answers beside those of an earlier result of the run."""
    kept = read_json(path) if path.is_file() else {}
    merged = {}
    for part in ("rows", "answers"):
        merged[part] = kept.get(part, {}) | answers[part]
    write_json(path, merged)
