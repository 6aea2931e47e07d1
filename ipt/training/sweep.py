"""Tasks x seeds x learning rates as one stacked run, and the best trial of each task."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.config import LoopConfig
from ipt.encoded import EncodedTask
from ipt.training.evaluate import score_deltas
from ipt.training.loop import Job, Outcome, Row
from ipt.training.model import Model
from ipt.training.source import Source

Seeds = int | Sequence[int]
"""One for all tasks, or one per task's data: a task may come several times, with other seeds."""


@dataclass(frozen=True)
class Sweep:
    """What is tried: each task at each learning rate, a job each.

    Job t * R + r is task t at rate r; a rate may come several times, for several starts.
    """

    tasks: Sequence[EncodedTask]
    learning_rates: Sequence[float]
    seeds: Seeds

    def jobs(self, config: LoopConfig) -> list[Job]:
        """Return the jobs; each runs under the delta of its own number."""
        seeds = self.seeds
        if isinstance(seeds, int):
            seeds = [seeds] * len(self.tasks)
        jobs: list[Job] = []
        for data, seed in zip(self.tasks, seeds, strict=True):
            task = data.task.name
            trials = f"{task}|{data.data_seed}|{seed}"
            for k, rate in enumerate(self.learning_rates):
                number = len(jobs)
                train = tuple(Row(number, tokens) for tokens in data.train)
                job = Job(
                    name=f"{trials}|{k}|{rate:g}",
                    groups=(train,),
                    dev=tuple(Row(number, tokens) for tokens in data.dev),
                    learning_rate=rate,
                    seed=seed,
                    rows_per_step=config.rows_per_step,
                    trial_group=trials if config.prunes else "",
                    task=task,
                )
                jobs.append(job)
        return jobs

    def trials(self, task: int) -> range:
        """Return the numbers of a task's jobs."""
        count = len(self.learning_rates)
        return range(task * count, (task + 1) * count)

    def rate(self, job: int) -> float:
        """Return a job's learning rate."""
        return self.learning_rates[job % len(self.learning_rates)]


@dataclass(frozen=True)
class Selected:
    """The trial that a task's delta comes from."""

    index: int
    """Number of its job."""
    learning_rate: float
    outcome: Outcome
    dev_score: float | None
    """The score that decided; None where the dev loss did."""


def select_best(
    model: Model,
    source: Source,
    sweep: Sweep,
    outcomes: Sequence[Outcome],
    by_loss: bool = False,
) -> list[Selected]:
    """Return the best trial of each task: by dev score, ties by dev loss.

    by_loss: by dev loss alone, where that has already ended some of the trials. With one trial
    there is nothing to select, and nothing is scored.
    """
    if not sweep.tasks:
        return []
    if by_loss or len(sweep.learning_rates) == 1:
        selected = []
        for task in range(len(sweep.tasks)):
            best = min(sweep.trials(task), key=lambda job: outcomes[job].dev_loss)
            selected.append(Selected(best, sweep.rate(best), outcomes[best], None))
        return selected

    deltas = all_deltas(source, len(outcomes), model.device)
    data = [task for task in sweep.tasks for _ in sweep.learning_rates]
    scores = [score.generated for score in score_deltas(model, deltas, data, "dev", rank=False)]
    selected = []
    for task in range(len(sweep.tasks)):
        best = max(sweep.trials(task), key=lambda job: (scores[job], -outcomes[job].dev_loss))
        selected.append(Selected(best, sweep.rate(best), outcomes[best], scores[best]))
    return selected


@torch.no_grad()
def all_deltas(source: Source, count: int, device: torch.device) -> Tensor:
    """Return the deltas [count, P] of a source."""
    return source(torch.arange(count, device=device))
