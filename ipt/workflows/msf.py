"""`ipt msf`: find the subspace of the seen tasks' tuned deltas, and score it.

resolve: tuned deltas and encoded tasks, those missing in the bank tuned first
compute: the subspace, one shared delta; scores of each condition (`ipt.results`)
write:   subspace/, codes.safetensors, result.json
"""

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from ipt.checkpoint import Checkpoint
from ipt.config import MsfConfig
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.estimate import Estimate, StageWork, Work, estimate, scoring_work, subspace_work
from ipt.experiment import Experiment, PlannedRun, encode_tasks
from ipt.methods.msf import find_shared_delta, find_subspace
from ipt.methods.subspace import Subspace, inner_width_for
from ipt.provenance import digest, settings_record, to_record
from ipt.recovery import absolute_score
from ipt.results import RunResult, TaskRecord, head_alone
from ipt.run import Run
from ipt.storage import replace_folder, tensors_digest, write_tensors
from ipt.training.loop import Execution, Progress
from ipt.training.source import joined
from ipt.workflows.deltas import missing_tasks, tuned_numbers, tuning_stage
from ipt.workflows.evaluation import SCORING, Scores, floor_scores, reference_scores, score_tasks

# Its stages, beside those of tuning and scoring.
SUBSPACE = "msf"
SHARED = "shared"


@dataclass(frozen=True)
class MsfOutput:
    """What MSF computes: the subspace, and the delta that all tasks share."""

    subspace: Subspace
    shared: Tensor  # [P]


def run_msf(experiment: Experiment, config: MsfConfig, run: Run) -> RunResult:
    """Find the subspace, score its reconstructions and the controls, and finish the run folder."""
    seen, unseen = experiment.seen, experiment.unseen
    bank, heads = tuned_numbers(experiment, [*seen, *unseen], SAME_DATA_SEED)
    tasks = encode_tasks(experiment, [*seen, *unseen], SAME_DATA_SEED)
    if config.dim >= len(seen):
        experiment.reporter.info(
            f"note: {config.dim} dimensions for {len(seen)} seen tasks do not compress the "
            "training prompts"
        )

    # All processes train the two stages together, each its share of a step's rows.
    seen_tasks = tasks[: len(seen)]
    seconds = config.checkpoint_seconds
    reporter = experiment.reporter
    with reporter.stage(SUBSPACE), reporter.bar("finding the subspace") as progress:
        # Another bank of these settings differs in its last digits.
        of = tensors_digest({"bank": bank})
        execution = _joint(experiment, run.checkpoint("msf", seconds, of), progress)
        subspace = find_subspace(
            experiment.model,
            joined(bank, heads)[: len(seen)],
            seen_tasks,
            config,
            experiment.seed,
            execution,
        )
    subspace.split = experiment.split.name
    with reporter.stage(SHARED), reporter.bar("control: one shared prompt") as progress:
        execution = _joint(experiment, run.checkpoint("shared", seconds), progress)
        shared = find_control(experiment, seen_tasks, config, execution)

    output = MsfOutput(subspace, shared)
    with reporter.stage(SCORING):
        scores = score_conditions(experiment, output, bank, heads, tasks)
        result = msf_result(experiment, config, subspace, bank, scores)
    # Only the first process writes: all have the same numbers.
    experiment.processes.on_main_process(lambda: write(run, output, bank, result))
    return result


def plan_msf(experiment: Experiment, config: MsfConfig, name: str = "") -> PlannedRun:
    """Return the run of these settings; its name ends with their digest, if none is given."""
    settings = settings_record("msf", experiment, {"msf": to_record(config)})
    # Runs with other settings get other folders without being named by the user.
    if not name:
        split = experiment.split.name
        name = f"msf-{split}-d{config.dim}-s{experiment.seed}-{digest(settings)}"
    return PlannedRun(experiment, experiment.work.out / name, settings)


def estimate_msf(experiment: Experiment, config: MsfConfig) -> Estimate:
    """Return the cost of tuning what is missing, of the subspace, and of the scores."""
    missing = missing_tasks(experiment, experiment.split.all, SAME_DATA_SEED)
    half = subspace_work(experiment.split, config)
    answers = scoring_work(experiment.split, experiment.work.limit)
    stages = [
        StageWork(SUBSPACE, "autoencoder (MSF)", half),
        StageWork(SHARED, "one prompt for all (control)", half),
        StageWork(SCORING, "scoring", answers),
    ]
    if missing:
        stages.insert(0, tuning_stage(experiment, len(missing)))
    work = Work()
    for stage in stages:
        work += stage.work
    return estimate(experiment, work, stages)


def resolve_config(experiment: Experiment, config: MsfConfig) -> MsfConfig:
    """Return the configuration with the decoder's width chosen by the size of a delta.

    Raises ValueError where d is not below that size.
    """
    size = experiment.model.size
    if size == 0:
        raise ValueError(
            f"--tuner {experiment.model.tuner.name}: a head alone has no delta to find a subspace "
            "of; choose a tuner, or tune it with ipt tune"
        )
    if config.dim >= size:
        raise ValueError(f"--dim must be below a delta's {size} numbers, found {config.dim}")
    # Chosen here and not later, so that the run's settings name it.
    if config.inner_width is None:
        return replace(config, inner_width=inner_width_for(size))
    return config


def find_control(
    experiment: Experiment,
    tasks: list[EncodedTask],
    config: MsfConfig,
    execution: Execution,
) -> Tensor:
    """Return one delta [P] that all seen tasks share: the control with d = 0.

    At tuning's own rate: it is tuning, of one delta for all tasks.
    """
    at_rate = replace(config, learning_rate=experiment.tune.learning_rates[0])
    start = experiment.model.initialize(experiment.seed)
    seed = experiment.seed
    return find_shared_delta(experiment.model, start, tasks, at_rate, seed, execution)


def _joint(
    experiment: Experiment,
    checkpoint: Checkpoint,
    progress: Progress,
) -> Execution:
    """Return how a stage runs that all processes do together: the first keeps its state."""
    # The state is the same in all processes; a resumed run gives the first one's to the others.
    if not experiment.processes.is_main:
        checkpoint = Checkpoint.none()
    return Execution(checkpoint, progress, experiment.processes)


def score_conditions(
    experiment: Experiment,
    output: MsfOutput,
    bank: Tensor,
    heads: Tensor,
    tasks: list[EncodedTask],
) -> dict[str, Scores]:
    """Return the scores of the conditions of MSF, by condition and task.

    bank: [T, P] the deltas of the seen tasks, then of the unseen ones, as `tasks`.
    heads: [T, H] tuned with them, and kept whatever delta is scored.
    """
    subspace = output.subspace
    seen = len(experiment.seen)
    vectors = subspace.encode(bank)  # [T, d]
    rebuilt = subspace.decode(vectors)  # [T, P]
    # Seen and unseen tasks in one pass: full batches of both.
    reconstructed = score_tasks(experiment, "reconstructed prompts", joined(rebuilt, heads), tasks)

    # Controls: one delta for every unseen task, that of the seen tasks' mean vector, or one tuned
    # on all of them. What they score needs none of the d dimensions.
    unseen_tasks = tasks[seen:]
    count = len(unseen_tasks)
    seen_vectors = subspace.encode(bank[:seen])
    mean_vector = seen_vectors.mean(0, keepdim=True)  # [1, d]
    mean = subspace.decode(mean_vector).expand(count, -1)  # [T, P]
    shared = output.shared.expand(count, -1)  # [T, P]
    mean, shared = joined(mean, heads[seen:]), joined(shared, heads[seen:])
    return {
        "train_msf": {name: reconstructed[name] for name in experiment.seen},
        "test_msf": {name: reconstructed[name] for name in experiment.unseen},
        "mean_code": score_tasks(experiment, "the mean code", mean, unseen_tasks),
        "shared": score_tasks(experiment, "the shared prompt", shared, unseen_tasks),
    }


def msf_result(
    experiment: Experiment,
    config: MsfConfig,
    subspace: Subspace,
    bank: Tensor,
    scores: dict[str, Scores],
) -> RunResult:
    """Return the run's result, and note the mean scores on the subspace's card."""
    names = [*experiment.seen, *experiment.unseen]
    reference = reference_scores(experiment, names, SAME_DATA_SEED)
    floor = floor_scores(experiment, names)
    if experiment.model.has_head_numbers:
        scores = scores | {"head_alone": head_alone(floor, experiment.unseen)}
    subspace.scores = card_scores(scores, reference)
    # Of the bytes: whoever computes with this bank can tell that it is the same one.
    bank_bytes = bank.cpu().numpy().tobytes()
    parameters = 0
    for parameter in subspace.delta_decoder.parameters():
        parameters += parameter.numel()
    return RunResult(
        kind="msf",
        dim=config.dim,
        compresses=config.dim < len(experiment.seen),
        tasks=task_records(experiment),
        split=experiment.split,
        reference={SAME_DATA_SEED: reference},
        floor=floor,
        scores=scores,
        prompts=hashlib.sha256(bank_bytes).hexdigest(),
        parameters=parameters,
        heads=experiment.head_sizes,
    )


def task_records(experiment: Experiment) -> dict[str, TaskRecord]:
    """Return what a result says of the split's tasks."""
    records = {}
    for name in experiment.split.all:
        task = experiment.tasks[name]
        records[name] = TaskRecord(
            category=task.category,
            subcategory=task.subcategory,
            metric=task.metric,
            novel=task.novel,
            knowledge=task.knowledge,
            digest=task.digest,
        )
    return records


def card_scores(scores: Mapping[str, Scores], reference: Scores) -> dict[str, float]:
    """Return the mean test scores that the subspace's card states."""
    titles = {"prompt tuning": reference}
    # A split may have no unseen tasks, and no mean of them.
    for name in ("train_msf", "test_msf"):
        if scores[name]:
            titles[f"reconstructed prompts, {name}"] = scores[name]
    means = {}
    for title, by_task in titles.items():
        generated = [score.generated or 0.0 for score in by_task.values()]
        means[f"mean score: {title}"] = absolute_score(generated)
    return means


def write(run: Run, output: MsfOutput, bank: Tensor, result: RunResult) -> None:
    """Write the subspace, the vectors of all tasks and the shared delta, and finish the run."""
    save_subspace(output.subspace, run.folder / "subspace")
    # Under the names that older runs have.
    tensors = {
        "codes": output.subspace.encode(bank),
        "shared": output.shared,
    }
    write_tensors(run.folder / "codes.safetensors", tensors)
    # Last, as the result marks the run complete.
    run.finish(result.to_json())


def save_subspace(subspace: Subspace, folder: Path) -> None:
    """Write the subspace's folder in one step."""
    # Several files are no atomic write: they are made elsewhere and moved at once.
    draft = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    subspace.save_pretrained(draft, config=subspace.get_params())
    replace_folder(draft, folder)
