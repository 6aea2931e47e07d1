"""Multi-task subspace finding (paper, section 3.2).

    minimise over encode, decode:  L_LM(decode(encode(P_i))) + alpha * ||decode(encode(P_i)) - P_i||^2   over seen tasks i

Trained: the autoencoder. Frozen: the backbone, the bank of tuned prompts P [T, n, h]. Written: a `Subspace`.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.checkpoint import Checkpoint
from ipt.config import MsfConfig
from ipt.distributed import Processes
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Subspace, reconstruction_loss
from ipt.training.loop import Job, Row, fit
from ipt.training.source import Shared, Source
from ipt.training.sweep import Progress

SHARED_ROWS = 16  # of a step, at most: one prompt gains nothing from more (LOG.md)


class Reconstructed(Source):
    """Prompts that went through the autoencoder; every parameter belongs to the one job."""

    def __init__(self, subspace: Subspace, bank: Tensor, alpha: float) -> None:
        super().__init__()
        self.prompt_encoder, self.prompt_decoder = subspace.prompt_encoder, subspace.prompt_decoder
        self.requires_grad_(True)
        self.bank, self.alpha = bank, alpha

    def forward(self, indices: Tensor) -> Tensor:
        prompts = self.bank[indices]
        return self.prompt_decoder(self.prompt_encoder(prompts.flatten(1))).view_as(prompts)

    def extra_loss(self, indices: Tensor, prompts: Tensor) -> Tensor:
        return self.alpha * reconstruction_loss(prompts, self.bank[indices])


def find_subspace(
    backbone: Backbone,
    bank: Tensor,
    data: Sequence[EncodedTask],
    config: MsfConfig,
    split: str,
    seed: int,
    checkpoint: Checkpoint,
    progress: Progress = lambda done, total, loss: None,
    processes: Processes = Processes(),
) -> Subspace:
    """Train the autoencoder on the seen tasks' prompts, bank [T, n, h] in the order of `data`."""
    _, length, width = bank.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        subspace = Subspace(length, width, config.dim, config.inner_width, "msf", backbone.name, split, seed, [d.task.name for d in data])
    subspace.to(backbone.device)
    source = Reconstructed(subspace, bank, config.alpha)
    fit(backbone, source, [_joint_job("msf", data, config, seed)], config, checkpoint, progress, processes)
    subspace.requires_grad_(False)
    if config.codes == "standard":
        subspace.standardise(bank)
    return subspace


def find_shared_delta(
    backbone: Backbone,
    start: Tensor,
    data: Sequence[EncodedTask],
    config: MsfConfig,
    learning_rate: float,
    seed: int,
    checkpoint: Checkpoint,
    progress: Progress = lambda done, total, loss: None,
    processes: Processes = Processes(),
) -> Tensor:
    """Tune one prompt [n, h] jointly on all seen tasks, as many steps as MSF takes: what no intrinsic dimension gives."""
    source = Shared(start)
    fewer = replace(config, rows_per_step=min(config.rows_per_step, SHARED_ROWS))
    fit(backbone, source, [_joint_job("shared", data, fewer, seed, learning_rate)], fewer, checkpoint, progress, processes)
    return source.value.detach()[0]


def _joint_job(name: str, data: Sequence[EncodedTask], config: MsfConfig, seed: int, learning_rate: float | None = None) -> Job:
    """All tasks' rows as one job; a group per task samples uniformly over tasks, one group over rows (released code)."""
    groups: list[tuple[Row, ...]] = [tuple((t, row) for row in d.train) for t, d in enumerate(data)]
    if config.sampling == "rows":
        groups = [tuple(row for group in groups for row in group)]
    dev = tuple((t, row) for t, d in enumerate(data) for row in d.dev)
    return Job(name, tuple(groups), dev, learning_rate or config.learning_rate, seed, config.rows_per_step)
