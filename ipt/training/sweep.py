"""Tasks x seeds x learning rates as one stacked run, and the choice per task: best dev score, ties by dev loss."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.checkpoint import Checkpoint
from ipt.config import LoopConfig
from ipt.encoded import EncodedTask
from ipt.training.evaluate import score_deltas
from ipt.training.loop import Job, Outcome, fit
from ipt.training.source import Source

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Choice:
    """What a task kept: index of its job in the stack, rate, how the job ended, and its dev score."""

    index: int
    learning_rate: float
    outcome: Outcome
    dev_score: float | None


Seeds = int | Sequence[int]  # one for all tasks, or one per task's data: a task may come several times, with other seeds


def stack(data: Sequence[EncodedTask], learning_rates: Sequence[float], config: LoopConfig, seeds: Seeds) -> list[Job]:
    """Return job t * R + r for task t and rate r (which may come several times, for several starts); prompt index = job."""
    jobs: list[Job] = []
    for d, seed in zip(data, [seeds] * len(data) if isinstance(seeds, int) else seeds, strict=True):
        for k, rate in enumerate(learning_rates):
            index = len(jobs)
            rows = tuple((index, row) for row in d.train)
            dev = tuple((index, row) for row in d.dev)
            name = f"{d.task.name}|{d.data_seed}|{seed}|{k}|{rate:g}"
            rivals = f"{d.task.name}|{d.data_seed}|{seed}" if config.halves else ""
            jobs.append(Job(name, (rows,), dev, rate, seed, config.rows_per_step, rivals, d.task.name))
    return jobs


def choose(
    backbone: Backbone, source: Source, data: Sequence[EncodedTask], learning_rates: Sequence[float], outcomes: Sequence[Outcome],
    by_loss: bool = False,
) -> list[Choice]:  # fmt: skip
    """Return the best of each task's R jobs: by dev score, ties by dev loss; by dev loss alone where that has halved them.

    With R = 1 there is nothing to choose or score.
    """
    count = len(learning_rates)
    if count == 1 or by_loss:
        kept = [min(range(t * count, (t + 1) * count), key=lambda i: outcomes[i].dev_loss) for t in range(len(data))]
        return [Choice(i, learning_rates[i % count], outcomes[i], None) for i in kept]
    prompts = all_deltas(source, len(outcomes), backbone.device)
    scores = score_deltas(backbone, prompts, [d for d in data for _ in learning_rates], "dev", rank=False)
    choices = []
    for t in range(len(data)):
        places = range(t * count, (t + 1) * count)
        best = max(places, key=lambda i: (scores[i].generated, -outcomes[i].dev_loss))
        choices.append(Choice(best, learning_rates[best % count], outcomes[best], scores[best].generated))
    return choices


def run_sweep(
    backbone: Backbone,
    source: Source,
    data: Sequence[EncodedTask],
    learning_rates: Sequence[float],
    config: LoopConfig,
    seeds: Seeds,
    checkpoint: Checkpoint,
    progress: Progress,
) -> list[Choice]:
    """Train every task (and seed) at every rate as one stacked run, and choose; without tasks there is nothing to do."""
    if not data:
        return []
    outcomes = fit(backbone, source, stack(data, learning_rates, config, seeds), config, checkpoint, progress)
    return choose(backbone, source, data, learning_rates, outcomes, by_loss=config.halves)


@torch.no_grad()
def all_deltas(source: Source, count: int, device: torch.device) -> Tensor:
    """Return the prompts [count, n, h] of a source."""
    return source(torch.arange(count, device=device))
