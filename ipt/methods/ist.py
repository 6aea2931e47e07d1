"""Intrinsic subspace tuning (IPT, section 3.3).

    minimize over z:
        mean over rows of (mean over answer tokens of -log P(answer | decode(z), input))

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
from ipt.methods.tuning import Start, head_starts
from ipt.training.loop import Execution, fit, row_losses
from ipt.training.model import Model
from ipt.training.source import Decoded, heads_of, joined, with_heads
from ipt.training.sweep import Selected, Sweep, select_best

# Deviation of the first values in the released code.
NOISE = 0.02


class Round(NamedTuple):
    """A round of successive halving (Jamieson & Talwalkar 2016) among the seen vectors."""

    added_rows: int
    survivors: int


# One row tells apart vectors that are far from each other; the last few are close and need more.
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
    vectors = torch.cat([seen.mean, seen.vectors])  # [1 + S, d], the mean first
    deltas = decode(vectors)  # [1 + S, P]

    remaining = []
    orders = []
    for data in tasks:
        remaining.append(_vectors_of_others(data.task.name, seen))
        # The same order for all vectors of a task: a pair is compared on the same rows.
        order = np.random.default_rng(seed).permutation(len(data.train))
        orders.append(order)
    for numbers in remaining:
        count = min(count, len(numbers))

    # In float64, as the losses are: a sum of nine rows must not round away what tells two apart.
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
                tokens = tasks[t].train[row]
                for vector in remaining[t]:
                    tried.append(Candidate(t, vector, tokens))
        _add_losses(model, deltas, tried, sums)

        # By the sum over all rows so far, the earlier rounds' too.
        for t in undecided:
            ranked = sorted(remaining[t], key=lambda vector: float(sums[t, vector]))
            remaining[t] = ranked[: max(survivors, count)]
        first_row = last_row

    best = []
    for numbers in remaining:
        best.append(numbers[:count])
    return vectors[torch.tensor(best)]  # [T, S, d]


def _vectors_of_others(name: str, seen: SeenVectors) -> list[int]:
    """Return the numbers of the vectors that a task may start from: 0 is the mean.

    Without its own, which was tuned on its few shots: a seen task would start at its solution.
    """
    numbers = [0]
    for number, task in enumerate(seen.tasks, 1):
        if task != name:
            numbers.append(number)
    return numbers


def _add_losses(model: Model, deltas: Tensor, tried: Sequence[Candidate], sums: Tensor) -> None:
    """Add the loss of each candidate to the sums [T, vectors]."""
    of_task = []
    owner = []
    rows = []
    for candidate in tried:
        of_task.append(candidate.task)
        owner.append(candidate.vector)
        rows.append(candidate.tokens)
    losses = row_losses(model, deltas, owner, rows, 0)  # [candidates]

    # As whole numbers, also where no task has rows left.
    places = (
        torch.tensor(of_task, dtype=torch.long),
        torch.tensor(owner, dtype=torch.long),
    )
    # Accumulated: one place has several rows in a round.
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
    drawn = torch.randn(1, 1, subspace.dim, generator=generator)
    noise = drawn * NOISE
    # Drawn on the CPU, so that every device starts from the same numbers.
    start = noise.to(seen.vectors)  # [1, 1, d]
    return start.repeat(count, 1, 1)


def tune_vectors(
    model: Model,
    subspace: Subspace,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    start: Start,
    execution: Execution | None = None,
) -> tuple[Tensor, list[Selected]]:
    """Tune one intrinsic vector per task; return the vectors and how each was selected.

    Vectors: [T, d + H], the numbers of each task's head, which are tuned with it, behind it.
    start: values [T, S, d], each of a task's starts one more job per rate.
    Raises ValueError where the subspace is of another backbone or tuner.
    """
    if subspace.size != model.size:
        raise ValueError(
            f"the subspace decodes deltas of {subspace.size} numbers, {model.tuner.name} of "
            f"--model {model.backbone.name} has {model.size}; use the backbone and the tuner it "
            f"was found with: {subspace.backbone}, {subspace.tuner}"
        )
    # Jobs are ordered by task, then by start, then by rate: for the sweep a start is one more
    # trial of each rate.
    rates = config.learning_rates
    starts = start.values.shape[1]
    sweep = Sweep(tasks, rates * starts, start.seeds)
    of_trials = start.values.repeat_interleave(len(rates), 1)  # [T, S x rates, d]
    first_values = of_trials.flatten(0, 1)  # [J, d]
    decoded = Decoded(first_values, subspace.decode)
    trials = len(rates) * starts
    heads = head_starts(model, tasks, start.seeds).repeat_interleave(trials, 0)  # [J, H]
    source = with_heads(decoded, heads)

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
    chosen = [trial.index for trial in selected]
    vectors = decoded.values.detach()[chosen]  # [T, d]
    return joined(vectors, heads_of(source, chosen)), selected
