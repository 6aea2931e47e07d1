"""Intrinsic subspace tuning (paper, section 3.3).

    minimise over z:  mean over rows of (mean over answer tokens of -log P(answer | decode(z), input))

Trained: the intrinsic vectors z [J, d], J x d numbers in all. Frozen: the backbone and the subspace's decoder. Start: 0, the
seen tasks' mean code (released code: N(0, 0.02) around its own zero, with codes that are not standardised).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ipt.autoencoder import Subspace
from ipt.backbone import Backbone
from ipt.config import IstConfig
from ipt.evaluate import TaskData
from ipt.grid import Choice, Progress, fit_grid
from ipt.run import Checkpoint
from ipt.train import PromptSource


class DecodedVectors(PromptSource):
    """Prompts decoded from intrinsic vectors: one parameter [J, d]."""

    def __init__(self, subspace: Subspace, jobs: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(jobs, subspace.dim, device=subspace.prompt_decoder.first.weight.device))
        self._decode = subspace.decode  # a function, not a submodule: its parameters are not this source's

    def forward(self, indices: Tensor) -> Tensor:
        return self._decode(self.values[indices])


def tune_vectors(
    backbone: Backbone,
    subspace: Subspace,
    data: Sequence[TaskData],
    config: IstConfig,
    seed: int,
    checkpoint: Checkpoint,
    progress: Progress = lambda done, total, loss: None,
) -> tuple[Tensor, list[Choice]]:
    """Tune one intrinsic vector per task; returns the vectors [T, d] and how each was chosen."""
    if subspace.hidden_size != backbone.hidden_size:
        raise ValueError(
            f"the subspace decodes prompts of width {subspace.hidden_size}, --model {backbone.name} reads "
            f"{backbone.hidden_size}; use the backbone it was found with: {subspace.backbone}"
        )
    source = DecodedVectors(subspace, len(data) * len(config.learning_rates))
    choices = fit_grid(backbone, source, data, config.learning_rates, config, seed, checkpoint, progress)
    vectors = source.values.detach()[[c.index for c in choices]]
    return vectors, choices
