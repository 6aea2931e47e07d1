"""`ipt tune`: one delta per task (and seed) without a subspace, and its scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ipt.bank import open_bank
from ipt.data import SAME_DATA_SEED, Task, TaskSplit
from ipt.estimate import Estimate, StageWork, Work, estimate, scoring_work
from ipt.experiment import Experiment
from ipt.results import Floor, TaskScore
from ipt.workflows.deltas import missing_tasks, tune_missing, tuning_stage
from ipt.workflows.evaluation import SCORING, floor_scores, reference_scores


@dataclass(frozen=True)
class TaskQuality:
    """What one task's deltas score, a score for each seed."""

    task: Task
    scores: list[TaskScore]
    floors: Floor
    dev_loss: float
    """Nats per token, averaged over the seeds."""
    head: int = 0
    """H, the numbers of its head, which are tuned beside the P of its delta."""

    @property
    def head_alone(self) -> float | None:
        """What such a head scores on the frozen model; None where it has no numbers."""
        return self.floors.empty if self.head else None

    @property
    def generated(self) -> list[float]:
        """The scores of generated answers."""
        return [score.generated for score in self.scores]

    @property
    def ranked(self) -> list[float]:
        """The scores of ranked options; empty for a task without options."""
        return [score.ranked for score in self.scores if score.ranked is not None]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return sum(self.generated) / len(self.generated)


@dataclass(frozen=True)
class TuningResult:
    """Every task of the split, and the folders of the banks, one for each seed."""

    tasks: list[TaskQuality]
    banks: list[Path]
    split: TaskSplit
    size: int
    """P, the numbers that are tuned for a task beside those of its head."""

    @property
    def has_heads(self) -> bool:
        """Whether tasks have heads with numbers of their own."""
        return any(task.head for task in self.tasks)


def estimate_tuning(experiment: Experiment, seeds: Sequence[int]) -> Estimate:
    """Return the cost of the deltas that are missing in the banks of these seeds."""
    missing = 0
    for seed in seeds:
        # A seed has a bank of its own.
        seeded = experiment.with_seed(seed)
        untuned = missing_tasks(seeded, experiment.split.all, SAME_DATA_SEED)
        missing += len(untuned)
    if not missing:
        return estimate(experiment, Work())
    # The bank keeps scores too: where no delta is missing, none is scored again.
    tuning = tuning_stage(experiment, missing)
    answers = scoring_work(experiment.split, experiment.work.limit)
    stages = [tuning, StageWork(SCORING, "scoring", answers)]
    return estimate(experiment, tuning.work + answers, stages)


def run_tuning(experiment: Experiment, seeds: Sequence[int]) -> TuningResult:
    """Tune what is missing, all seeds in one stacked run, and score every task."""
    names = list(experiment.split.all)
    experiments = []
    # A seed that is named twice is tuned once.
    for seed in dict.fromkeys(seeds):
        experiments.append(experiment.with_seed(seed))

    # Before any scoring, which tunes what it needs: one stacked run, and not one for each seed.
    tune_missing(experiments, names, SAME_DATA_SEED)
    scores = []
    with experiment.reporter.stage(SCORING):
        for seeded in experiments:
            of_seed = reference_scores(seeded, names, SAME_DATA_SEED)
            scores.append(of_seed)
        floors = floor_scores(experiment, names)
    banks = []
    for seeded in experiments:
        banks.append(open_bank(seeded, SAME_DATA_SEED))

    tasks = []
    heads = experiment.head_sizes
    for task in experiment.tasks_named(names):
        losses = []
        for bank in banks:
            tuned = bank.get(task)
            if tuned is not None:
                losses.append(tuned.dev_loss)
        quality = TaskQuality(
            task=task,
            scores=[of_seed[task.name] for of_seed in scores],
            floors=floors[task.name],
            dev_loss=sum(losses) / len(experiments),
            head=heads.get(task.name, 0),
        )
        tasks.append(quality)
    folders = [bank.folder for bank in banks]
    return TuningResult(tasks, folders, experiment.split, experiment.model.size)
