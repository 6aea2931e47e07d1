"""`ipt tune`: one delta per task and seed, their test scores, averaged over the seeds.

All seeds are jobs of one stacked run. Read: the bank, which keeps what was tuned before. Written:
the bank.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ipt.data import SAME_DATA_SEED
from ipt.experiment import Experiment
from ipt.results import Floor
from ipt.workflows.scoring import TaskQuality


@dataclass(frozen=True)
class TuningResult:
    """What tuning a split's tasks came to."""

    tasks: list[TaskQuality]
    banks: list[Path]
    """Folders of the tuned deltas, by seed."""


def with_seeds(experiment: Experiment, seeds: Sequence[int]) -> list[Experiment]:
    """Return the experiment with each of the seeds; a seed that comes twice counts once."""
    return [replace(experiment, seed=seed) for seed in dict.fromkeys(seeds)]


def count_missing(experiment: Experiment, names: Sequence[str], seeds: Sequence[int]) -> int:
    """Return how many deltas are still to be tuned, over these tasks and seeds."""
    missing = 0
    for seeded in with_seeds(experiment, seeds):
        missing += len(seeded.missing(names, SAME_DATA_SEED))
    return missing


def tune_tasks(experiment: Experiment, seeds: Sequence[int]) -> TuningResult:
    """Tune what the bank does not have of the split's tasks, and score all of them."""
    names = list(experiment.split.all)
    experiments = with_seeds(experiment, seeds)
    experiment.tune_missing(names, SAME_DATA_SEED, [seeded.seed for seeded in experiments])

    references = [seeded.reference(names, SAME_DATA_SEED) for seeded in experiments]
    floors: Any = experiment.floors(names)
    records = []
    for name in names:
        scores = [reference[name] for reference in references]
        record = TaskQuality(
            name=name,
            metric=experiment.tasks[name].metric,
            generated=_measured(scores, "generated"),
            ranked=_measured(scores, "ranked"),
            floor=Floor(**floors[name]).best,
            dev_loss=_mean_dev_loss(experiments, name),
        )
        records.append(record)
    banks = [seeded.bank(SAME_DATA_SEED).folder for seeded in experiments]
    return TuningResult(records, banks)


def _measured(scores: Sequence[dict[str, float | None]], kind: str) -> tuple[float, ...]:
    """Return the scores of a kind, by seed; those that were not measured are left out."""
    measured = []
    for score in scores:
        value = score[kind]
        if value is not None:
            measured.append(value)
    return tuple(measured)


def _mean_dev_loss(experiments: Sequence[Experiment], name: str) -> float:
    """Return the mean over seeds of a task's dev loss, in nats per token."""
    total = 0.0
    for experiment in experiments:
        tuned = experiment.bank(SAME_DATA_SEED).get(experiment.tasks[name])
        if tuned is not None:
            total += tuned.dev_loss
    return total / len(experiments)
