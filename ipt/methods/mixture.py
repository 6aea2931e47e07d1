"""Mixtures of seen tasks' deltas: what else adapts a frozen model with d numbers per task.

    delta = a_0 + sum over k of z_k (a_k - a_0)

a_0 to a_d are d + 1 of the seen deltas (or their mean) with the least loss on the few shots. After
ATTEMPT (Asai et al., arXiv 2205.11961), whose weights come from the input. Trained: the weights z
[J, d]. Frozen: the backbone, the bank.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.methods.ist import SeenVectors, choose_starts
from ipt.methods.tuning import head_starts
from ipt.training.loop import Execution, fit
from ipt.training.model import Model
from ipt.training.source import Mixture, heads_of, joined, mix_deltas, with_heads
from ipt.training.sweep import Selected, Sweep, select_best


class Mixtures(NamedTuple):
    """What tasks were tuned to, and what the search had found before."""

    weights: Tensor
    """[T, S + H] of the seen deltas, the numbers of each task's head behind them."""
    anchors: Tensor
    """[T, A, S] the seen deltas, or their mean, that each task's were chosen from: best first."""
    selected: list[Selected]
    """How each task's trial was selected."""


def tune_mixtures(  # noqa: PLR0913 (as IST's, and d)
    model: Model,
    bank: SeenVectors,
    dim: int,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    seed: int,
    execution: Execution | None = None,
) -> Mixtures:
    """Tune each task's weights of the seen deltas; `mix_deltas` makes its delta.

    bank: deltas [S, P] of the seen tasks, and whose they are.

    Tried as in IST: each of the best deltas (of other tasks, or their mean) as the first anchor,
    one job each per rate, with the d best others beside it, or all where there are fewer; only the
    best where IST has one start (`--start` mean or noise).
    """
    deltas = bank.vectors  # [S, P]
    rates = config.learning_rates
    starts = config.trials // len(rates)

    # Weights that pick one seen delta each: the anchors are chosen among them and their mean, by
    # the same search that chooses IST's starts.
    one_hot = torch.eye(len(deltas), device=deltas.device)  # [S, S]
    picks = SeenVectors(one_hot, bank.tasks)
    # Two or more, so that a seen delta is there beside the mean.
    count = max(starts, dim + 1, 2)
    if model.has_head_numbers:
        # Untrained heads tell no delta from another: the mean, and the first of the seen tasks.
        few = torch.cat([picks.mean, one_hot])[:count]  # [A, S]
        best = few.expand(len(tasks), -1, -1)
    else:
        best = choose_starts(
            model,
            lambda weights: mix_deltas(weights, deltas),
            tasks,
            picks,
            seed,
            count,
        )  # [T, A, S]

    # d + 1 anchors leave d free weights, as they add up to 1: as many numbers as IST has.
    anchors = anchor_orders(best.shape[1], starts, dim)
    of_starts = best[:, anchors].flatten(0, 1)  # [T x starts, d + 1, S]
    of_jobs = of_starts.repeat_interleave(len(rates), 0)  # [J, d + 1, S]
    mixture = Mixture(of_jobs, deltas)
    trials = len(rates) * len(anchors)
    heads = head_starts(model, tasks, seed).repeat_interleave(trials, 0)  # [J, H]
    source = with_heads(mixture, heads)

    sweep = Sweep(tasks, rates * len(anchors), seed)
    jobs = sweep.jobs(config)
    outcomes = fit(model, source, jobs, config, execution)
    selected = select_best(
        model,
        source,
        sweep,
        outcomes,
        by_loss=config.prunes,
    )
    chosen = [trial.index for trial in selected]
    # With the type of indices also where this process has no task.
    indices = torch.tensor(chosen, dtype=torch.long, device=deltas.device)
    weights = mixture.weights(indices)  # [T, S]
    with_their_heads = joined(weights.detach(), heads_of(source, chosen))
    return Mixtures(with_their_heads, best, selected)


def anchor_orders(count: int, starts: int, dim: int) -> list[list[int]]:
    """Return, for each start, its own place first and then those of the d best others.

    count: anchors there are, the best first.
    """
    orders = []
    for first in range(min(count, starts)):
        # The others keep their order: the best d of them.
        others = list(range(count))
        others.remove(first)
        orders.append([first, *others[:dim]])
    return orders
