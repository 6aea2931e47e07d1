"""Tasks x seeds x learning rates as one stacked run, and the best trial of each task."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.backbones.base import Encoded
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
                train = rows_under(number, data.train)
                # The number k keeps names apart where a rate comes twice.
                job = Job(
                    name=f"{trials}|{k}|{rate:g}",
                    groups=(train,),
                    dev=rows_under(number, data.dev),
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
        first = task * count
        return range(first, first + count)

    def rate(self, job: int) -> float:
        """Return a job's learning rate."""
        trial = job % len(self.learning_rates)
        return self.learning_rates[trial]


def rows_under(source_index: int, encoded: Sequence[Encoded]) -> tuple[Row, ...]:
    """Return rows that all run under the delta with this index."""
    rows = [Row(source_index, tokens) for tokens in encoded]
    return tuple(rows)


@dataclass(frozen=True)
class Selected:
    """The trial that a task's delta comes from."""

    index: int  # number of its job
    learning_rate: float
    outcome: Outcome
    dev_score: float | None  # the score that decided; None where the dev loss did


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

    # Scoring costs a generated answer a dev row of every trial: only where it can decide.
    scores: list[float] = []
    if not by_loss and len(sweep.learning_rates) > 1:
        scores = trial_scores(model, source, sweep)

    def rank(job: int) -> tuple[float, float]:
        score = scores[job] if scores else 0.0
        return score, -outcomes[job].dev_loss

    selected = []
    for task in range(len(sweep.tasks)):
        best = max(sweep.trials(task), key=rank)  # of equal trials the first
        chosen = Selected(
            index=best,
            learning_rate=sweep.rate(best),
            outcome=outcomes[best],
            dev_score=scores[best] if scores else None,
        )
        selected.append(chosen)
    return selected


def trial_scores(model: Model, source: Source, sweep: Sweep) -> list[float]:
    """Return each trial's score on its task's dev set: of generated answers, options not ranked."""
    data = []
    for task in sweep.tasks:
        data += [task] * len(sweep.learning_rates)
    deltas = all_deltas(source, len(data), model.device)
    scores = score_deltas(
        model,
        deltas,
        data,
        part="dev",
        rank=False,
    )
    return [score.generated for score in scores]


@torch.no_grad()
def all_deltas(source: Source, count: int, device: torch.device) -> Tensor:
    """Return the deltas [count, P] of a source."""
    indices = torch.arange(count, device=device)
    return source(indices)
