"""Multi-task subspace finding (IPT, section 3.2).

    minimize over encode, decode:
        task loss(decode(encode(delta_i))) + alpha ||decode(encode(delta_i)) - delta_i||^2
    over the seen tasks i

Trained: the autoencoder. Frozen: the backbone, the bank of tuned deltas [T, P]. Read: few-shot
sets, the bank. Written: a `Subspace`.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from ipt.config import MsfConfig
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Scaling, Subspace, inner_width_for, reconstruction_loss
from ipt.training.loop import Execution, Job, Row, fit
from ipt.training.model import Model
from ipt.training.source import Shared, Source

# Rows of a step, at most: one shared delta gains nothing from more (LOG.md).
SHARED_ROWS = 16


class Reconstructed(Source):
    """Tuned deltas that went through the autoencoder; every parameter belongs to the one job."""

    def __init__(self, subspace: Subspace, bank: Tensor, alpha: float) -> None:
        """Train the subspace on the bank [T, P]; alpha weighs the reconstruction."""
        super().__init__()
        self.subspace = subspace
        self.requires_grad_(True)
        self.bank = bank
        self.alpha = alpha

    def forward(self, indices: Tensor) -> Tensor:
        return self.subspace.decode(self.subspace.encode(self.bank[indices]))

    def extra_loss(self, indices: Tensor, deltas: Tensor) -> Tensor:
        """Return alpha times the reconstruction loss, each number in its part's scale."""
        scale = self.subspace.scale
        return self.alpha * reconstruction_loss(deltas / scale, self.bank[indices] / scale)


def find_subspace(
    model: Model,
    bank: Tensor,
    tasks: Sequence[EncodedTask],
    config: MsfConfig,
    seed: int,
    execution: Execution | None = None,
) -> Subspace:
    """Train the autoencoder on the seen tasks' deltas.

    bank: [T, P] tuned deltas, in the order of tasks.
    seed: of the initial weights and the order of rows.
    """
    size = bank.shape[1]
    width = config.inner_width
    subspace = Subspace(
        size,
        config.dim,
        inner_width_for(size) if width is None else width,
        kind="msf",
        backbone=model.backbone.name,
        tuner=model.tuner.name,
        seed=seed,
        tasks=[data.task.name for data in tasks],
    )
    subspace.to(model.device)
    subspace.rescale(scaling_of(model, bank))
    source = Reconstructed(subspace, bank, config.alpha)
    fit(model, source, [_joint_job("msf", tasks, config, seed)], config, execution)
    subspace.requires_grad_(False)
    if config.codes == "standard":
        subspace.standardize(bank)
    return subspace


def scaling_of(model: Model, bank: Tensor) -> Scaling:
    """Return what a subspace of the bank [T, P] counts its numbers from and in."""
    if not model.tuner.rescales:
        return Scaling.none(bank.shape[1])
    return Scaling.of_bank(bank, model.tuner.shapes(model.backbone))


def find_shared_delta(
    model: Model,
    start: Tensor,
    tasks: Sequence[EncodedTask],
    config: MsfConfig,
    seed: int,
    execution: Execution | None = None,
) -> Tensor:
    """Tune one delta [P] jointly on all seen tasks: what no intrinsic dimension gives.

    start: [P]. config: as many steps as MSF takes, at its `learning_rate`.
    """
    source = Shared(start)
    fewer = replace(config, rows_per_step=min(config.rows_per_step, SHARED_ROWS))
    fit(model, source, [_joint_job("shared", tasks, fewer, seed)], fewer, execution)
    return source.value.detach()[0]


def _joint_job(name: str, tasks: Sequence[EncodedTask], config: MsfConfig, seed: int) -> Job:
    """Return all tasks' rows as one job.

    A group per task samples uniformly over tasks; one group over rows (released code).
    """
    groups = []
    dev: list[Row] = []
    for number, data in enumerate(tasks):
        groups.append(tuple(Row(number, tokens) for tokens in data.train))
        dev += [Row(number, tokens) for tokens in data.dev]
    if config.sampling == "rows":
        groups = [sum(groups, ())]
    return Job(name, tuple(groups), tuple(dev), config.learning_rate, seed, config.rows_per_step)
