"""Tuning without a subspace (stage 0; Lester et al. 2021; IPT, section 3.1).

    minimize over delta:
        mean over rows of (mean over answer tokens of -log P(answer | delta, input))

Trained: the deltas [J, P], one per job. Frozen: the backbone. Read: few-shot sets. Written: the
bank (`ipt.bank`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.training.loop import Execution, fit
from ipt.training.model import Model
from ipt.training.source import Decoded, Free, Source, with_heads
from ipt.training.sweep import Seeds, Sweep, all_deltas, select_best
from ipt.tuners.reparameterization import Reparameterization


@dataclass(frozen=True)
class Start:
    """Where the jobs begin, and what decides the order of their rows.

    values: of deltas [P] for all tasks or [T, P]; of vectors [T, S, d], S starts for each task.
    network: makes the deltas, where `values` are its weights [K] or [T, K].
    heads: [T, H] of the tasks; the heads' own starts, if not given.
    """

    values: Tensor
    seeds: Seeds
    network: Reparameterization | None = None
    heads: Tensor | None = None


@dataclass(frozen=True)
class TunedDelta:
    """A delta [P] with how it was chosen; dev_loss in nats per token."""

    delta: Tensor
    learning_rate: float
    dev_loss: float
    steps: int

    # [H] the numbers of its head; none of a language model's.
    head: Tensor = field(default_factory=lambda: torch.zeros(0))


def head_starts(model: Model, tasks: Sequence[EncodedTask], seeds: Seeds) -> Tensor:
    """Return the first numbers [T, H] of the tasks' heads; H = 0 where they have none."""
    if not model.has_head_numbers:
        return torch.zeros(len(tasks), 0)
    if isinstance(seeds, int):
        seeds = [seeds] * len(tasks)
    return model.head_start([data.classes for data in tasks], seeds)


def tune_deltas(
    model: Model,
    tasks: Sequence[EncodedTask],
    config: TuneConfig,
    start: Start,
    execution: Execution | None = None,
) -> list[TunedDelta]:
    """Tune one delta per task's data (which may hold a task several times, with other seeds)."""
    sweep = Sweep(tasks, config.learning_rates, start.seeds)
    rates = len(config.learning_rates)
    values = start.values  # [P] or [T, P]
    if values.dim() > 1:
        # Jobs are ordered by task, then by rate: each task's start once for each of its rates.
        values = values.repeat_interleave(rates, 0)  # [J, P]
    jobs_count = len(tasks) * rates
    source: Source = Free(values, jobs_count)
    if start.network is not None:
        weights = values.expand(jobs_count, -1)
        source = Decoded(weights, start.network.deltas)

    heads = start.heads
    if heads is None:
        heads = head_starts(model, tasks, start.seeds)
    source = with_heads(source, heads.repeat_interleave(rates, 0))  # [J, H]
    jobs = sweep.jobs(config)
    outcomes = fit(model, source, jobs, config, execution)
    # Halving has ended trials by dev loss; dev loss decides among the others too.
    selected = select_best(
        model,
        source,
        sweep,
        outcomes,
        by_loss=config.prunes,
    )

    numbers = all_deltas(source, jobs_count, model.device)  # [J, P + H]
    size = numbers.shape[1] - heads.shape[1]
    tuned = []
    for data, trial in zip(tasks, selected, strict=True):
        own = numbers[trial.index]
        head_size = 0
        if model.has_head_numbers:
            head_size = model.head.size(model.backbone, data.classes)
        quality = TunedDelta(
            delta=own[:size],
            learning_rate=trial.learning_rate,
            dev_loss=trial.outcome.dev_loss,
            steps=trial.outcome.steps,
            # What fills up the numbers of fewer classes is none of them.
            head=own[size : size + head_size],
        )
        tuned.append(quality)
    return tuned
