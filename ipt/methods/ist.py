"""Intrinsic subspace tuning (IPT, section 3.3).

    minimize over z:  mean over rows of (mean over answer tokens of -log P(answer | decode(z), input))

Trained: the intrinsic vectors z [J, d], J x d numbers in all. Frozen: the backbone and the
subspace. Read: few-shot sets, the seen tasks' vectors. Start: the vector, of another seen task or
their mean, that does best on the task's few shots, or the mean itself (released code: N(0, 0.02)
around its own zero, with vectors that are not standardized).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import Start
from ipt.training.loop import Execution, fit, row_losses
from ipt.training.model import Model
from ipt.training.source import Decoded
from ipt.training.sweep import Selected, Sweep, select_best

# Deviation of the first values in the released code.
NOISE = 0.02


class Round(NamedTuple):
    """A round of successive halving (Jamieson & Talwalkar 2016) among the seen vectors."""

    added_rows: int
    survivors: int


ROUNDS = (Round(1, 20), Round(2, 6), Round(6, 1))


@dataclass(frozen=True)
class SeenVectors:
    """Where IST may start: vectors [S, d] of seen tasks, and whose they are."""

    vectors: Tensor
    tasks: tuple[str, ...]

    @property
    def mean(self) -> Tensor:
        """Their mean [1, d]."""
        return self.vectors.mean(0, keepdim=True)


class Candidate(NamedTuple):
    """A vector that is tried for a task on one of its train rows."""

    task: int
    vector: int
    tokens: Encoded


@torch.no_grad()
def choose_starts(
    model: Model,
    decode: Callable[[Tensor], Tensor],
    tasks: Sequence[EncodedTask],
    seen: SeenVectors,
    seed: int,
    count: int = 1,
) -> Tensor:
    """Return [T, S, d]: each task's vectors with the least loss on its train rows, best first.

    They are those of other seen tasks, or their mean. All vectors meet the same rows of a task;
    those that do badly on few of them leave early.
    decode: [U, d] to deltas [U, P].
    count: S; all vectors where there are fewer.
    """
    if not tasks:
        return seen.vectors.new_zeros(0, count, seen.vectors.shape[1])
    vectors = torch.cat([seen.mean, seen.vectors])
    deltas = decode(vectors)

    # Numbers of the vectors that remain for each task: 0 is the mean, then those of other tasks.
    remaining = []
    for data in tasks:
        others = [i for i, name in enumerate(seen.tasks, 1) if name != data.task.name]
        remaining.append([0, *others])
    count = min(count, *map(len, remaining))
    orders = [np.random.default_rng(seed).permutation(len(data.train)) for data in tasks]
    sums = torch.zeros(len(tasks), len(vectors), dtype=torch.float64)
    first_row = 0
    for added_rows, survivors in ROUNDS:
        # Each task for itself, so that its starts do not depend on which tasks are beside it.
        undecided = []
        for t, numbers in enumerate(remaining):
            if first_row == 0 or len(numbers) > count:
                undecided.append(t)
        if not undecided:
            break
        last_row = first_row + added_rows
        tried = []
        for t in undecided:
            for row in orders[t][first_row:last_row]:
                for vector in remaining[t]:
                    tried.append(Candidate(t, vector, tasks[t].train[row]))
        _add_losses(model, deltas, tried, sums)
        for t in undecided:
            ranked = sorted(remaining[t], key=lambda vector: float(sums[t, vector]))
            remaining[t] = ranked[: max(survivors, count)]
        first_row = last_row
    best = [numbers[:count] for numbers in remaining]
    return vectors[torch.tensor(best)]


def _add_losses(model: Model, deltas: Tensor, tried: Sequence[Candidate], sums: Tensor) -> None:
    """Add the loss of each candidate to the sums [T, vectors]."""
    owner = [candidate.vector for candidate in tried]
    rows = [candidate.tokens for candidate in tried]
    losses = row_losses(model, deltas, owner, rows, 0)
    of_task = [candidate.task for candidate in tried]
    # As whole numbers, also where no task has rows left.
    places = (
        torch.tensor(of_task, dtype=torch.long),
        torch.tensor(owner, dtype=torch.long),
    )
    sums.index_put_(places, losses, accumulate=True)


def starts_without_search(
    config: IstConfig,
    subspace: Subspace,
    seen: SeenVectors,
    count: int,
    seed: int,
) -> Tensor:
    """Return [count, 1, d], the same start for every task: the mean, or noise around zero."""
    if config.start == "mean":
        return seen.mean.repeat(count, 1, 1)
    # One draw for all tasks: the released code runs each with the same seed.
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, subspace.dim, generator=generator) * NOISE
    return noise.to(seen.vectors).repeat(count, 1, 1)


def tune_vectors(
    model: Model,
    subspace: Subspace,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    start: Start,
    execution: Execution | None = None,
) -> tuple[Tensor, list[Selected]]:
    """Tune one intrinsic vector per task; return the vectors [T, d] and how each was selected.

    start: values [T, S, d], each of a task's starts one more job per rate.
    Raises ValueError where the subspace is of another backbone or tuner.
    """
    if subspace.size != model.size:
        raise ValueError(
            f"the subspace decodes deltas of {subspace.size} numbers, {model.tuner.name} of "
            f"--model {model.backbone.name} has {model.size}; use the backbone and the tuner it "
            f"was found with: {subspace.backbone}, {subspace.tuner}"
        )
    rates = config.learning_rates
    starts = start.values.shape[1]
    sweep = Sweep(tasks, rates * starts, start.seeds)
    first_values = start.values.repeat_interleave(len(rates), 1).flatten(0, 1)
    source = Decoded(first_values, subspace.decode)
    outcomes = fit(model, source, sweep.jobs(config), config, execution)
    selected = select_best(model, source, sweep, outcomes, by_loss=config.prunes)
    vectors = source.values.detach()[[trial.index for trial in selected]]
    return vectors, selected
