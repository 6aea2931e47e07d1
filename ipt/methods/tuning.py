"""Tuning without a subspace (stage 0; Lester et al. 2021; IPT, section 3.1).

    minimize over delta:  mean over rows of (mean over answer tokens of -log P(answer | delta, input))

Trained: the deltas [J, P], one per job. Frozen: the backbone. Read: few-shot sets. Written: the
bank (`ipt.bank`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.training.loop import Execution, fit
from ipt.training.model import Model
from ipt.training.source import Free
from ipt.training.sweep import Seeds, Sweep, all_deltas, select_best


@dataclass(frozen=True)
class Start:
    """Where the jobs begin, and what decides the order of their rows.

    values: of deltas [P] for all tasks or [T, P]; of vectors [T, S, d], S starts for each task.
    """

    values: Tensor
    seeds: Seeds


@dataclass(frozen=True)
class TunedDelta:
    """A delta [P] with how it was chosen; dev_loss in nats per token."""

    delta: Tensor
    learning_rate: float
    dev_loss: float
    steps: int


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
    values = start.values
    if values.dim() > 1:
        values = values.repeat_interleave(rates, 0)
    source = Free(values, len(tasks) * rates)
    outcomes = fit(model, source, sweep.jobs(config), config, execution)
    selected = select_best(model, source, sweep, outcomes, by_loss=config.prunes)
    deltas = all_deltas(source, len(source.values), model.device)
    tuned = []
    for trial in selected:
        outcome = trial.outcome
        delta = deltas[trial.index]
        tuned.append(TunedDelta(delta, trial.learning_rate, outcome.dev_loss, outcome.steps))
    return tuned
