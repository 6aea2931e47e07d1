"""Intrinsic subspace tuning (paper, section 3.3).

    minimise over z:  mean over rows of (mean over answer tokens of -log P(answer | decode(z), input))

Trained: the intrinsic vectors z [J, d], J x d numbers in all. Frozen: the backbone and the subspace's decoder. Start: the code,
of another seen task or their mean, that does best on the task's few shots, or the mean itself (released code: N(0, 0.02) around
its own zero, with codes that are not standardised).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Subspace
from ipt.training.loop import row_losses
from ipt.training.source import Decoded
from ipt.training.sweep import Choice, Progress, Seeds, run_sweep

# successive halving (Jamieson & Talwalkar 2016): train rows that a round adds, codes that are left after it
ROUNDS = ((1, 20), (2, 6), (6, 1))


@dataclass(frozen=True)
class SeenVectors:
    """Where IST may start: codes [S, d] of seen tasks, and whose they are."""

    codes: Tensor
    tasks: tuple[str, ...]

    @property
    def mean(self) -> Tensor:
        """Their mean [1, d]."""
        return self.codes.mean(0, keepdim=True)


@torch.no_grad()
def choose_starts(
    backbone: Backbone, decode: Callable[[Tensor], Tensor], data: Sequence[EncodedTask], seen: SeenVectors, seed: int, count: int = 1
) -> Tensor:  # fmt: skip
    """Return [T, S, d]: for each task the codes, of other seen tasks or their mean, with the least loss on its train rows, best first.

    All codes meet the same rows of a task; those that do badly on few of them leave early. S is `count`, or all codes there are.
    """
    if not data:
        return seen.codes.new_zeros(0, count, seen.codes.shape[1])
    codes = torch.cat([seen.mean, seen.codes])
    prompts = decode(codes)
    left = [[0, *(i for i, name in enumerate(seen.tasks, 1) if name != d.task.name)] for d in data]
    count = min(count, *map(len, left))
    orders = [np.random.default_rng(seed).permutation(len(d.train)) for d in data]
    sums = torch.zeros(len(data), len(codes), dtype=torch.float64)
    met = 0
    for added, kept in ROUNDS:
        # each task for itself, so that its starts do not depend on which tasks are beside it
        more = [t for t, found in enumerate(left) if not met or len(found) > count]
        if not more:
            break
        tried = []
        for t in more:
            for i in orders[t][met : met + added]:
                tried += [(t, c, data[t].train[i]) for c in left[t]]
        losses = row_losses(backbone, prompts, [c for _, c, _ in tried], [row for _, _, row in tried], 0)
        places = torch.tensor([(t, c) for t, c, _ in tried], dtype=torch.long).view(-1, 2)  # none where no task has rows left
        sums.index_put_((places[:, 0], places[:, 1]), losses, accumulate=True)
        for t in more:
            left[t] = sorted(left[t], key=lambda c: float(sums[t, c]))[: max(kept, count)]
        met += added
    return codes[torch.tensor([found[:count] for found in left])]


def tune_vectors(
    backbone: Backbone,
    subspace: Subspace,
    data: Sequence[EncodedTask],
    config: IstConfig,
    seeds: Seeds,
    checkpoint: Checkpoint,
    progress: Progress = lambda done, total, loss: None,
    start: Tensor | None = None,
) -> tuple[Tensor, list[Choice]]:
    """Tune one intrinsic vector per task; returns the vectors [T, d] and how each was chosen.

    start: [T, S, d], each start one more job per rate; None is 0, the seen tasks' mean code.
    """
    if subspace.hidden_size != backbone.hidden_size:
        raise ValueError(
            f"the subspace decodes prompts of width {subspace.hidden_size}, --model {backbone.name} reads "
            f"{backbone.hidden_size}; use the backbone it was found with: {subspace.backbone}"
        )
    if start is None:
        start = torch.zeros(len(data), 1, subspace.dim, device=backbone.device)
    rates = config.learning_rates * start.shape[1]
    source = Decoded(start.repeat_interleave(len(config.learning_rates), 1).flatten(0, 1), subspace.decode)
    choices = run_sweep(backbone, source, data, rates, config, seeds, checkpoint, progress)
    vectors = source.values.detach()[[c.index for c in choices]]
    return vectors, choices
