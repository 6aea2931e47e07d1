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
from ipt.methods.tuning import head_starts
from ipt.training.loop import Execution, Job, Row, fit
from ipt.training.model import Model
from ipt.training.source import Shared, Source, with_heads
from ipt.training.sweep import rows_under

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
        deltas = self.bank[indices]  # [U, P]
        vectors = self.subspace.encode(deltas)  # [U, d]
        return self.subspace.decode(vectors)

    def extra_loss(self, indices: Tensor, deltas: Tensor) -> Tensor:
        """Return alpha times the reconstruction loss, each number in its part's scale."""
        # Otherwise parts whose numbers are small would add next to nothing to the loss, and the
        # autoencoder would lose them.
        scale = self.subspace.scale
        rebuilt = deltas / scale
        tuned = self.bank[indices] / scale
        loss = reconstruction_loss(rebuilt, tuned)
        return self.alpha * loss


def find_subspace(
    model: Model,
    bank: Tensor,
    tasks: Sequence[EncodedTask],
    config: MsfConfig,
    seed: int,
    execution: Execution | None = None,
) -> Subspace:
    """Train the autoencoder on the seen tasks' deltas.

    bank: [T, P + H] tuned deltas, in the order of tasks, with their heads' numbers behind them,
        which stay as they are.
    seed: of the initial weights and the order of rows.
    """
    size = model.size if model.has_head_numbers else bank.shape[1]
    bank, heads = bank.split([size, bank.shape[1] - size], 1)
    width = config.inner_width
    if width is None:
        width = inner_width_for(size)
    names = [data.task.name for data in tasks]
    subspace = Subspace(
        size,
        config.dim,
        width,
        kind="msf",
        backbone=model.backbone.name,
        tuner=model.tuner.name,
        seed=seed,
        tasks=names,
    )
    subspace.to(model.device)
    scaling = scaling_of(model, bank)
    subspace.rescale(scaling)

    # One job, as the parameters are all tasks' own: their gradients add up in one step.
    source = with_heads(Reconstructed(subspace, bank, config.alpha), heads, trained=False)
    job = _joint_job("msf", tasks, config, seed)
    fit(model, source, [job], config, execution)
    subspace.requires_grad_(False)

    # After training, as it needs the final vectors. IST's rates and starts then fit any subspace:
    # a step of 1 is one deviation of the seen tasks in every coordinate.
    if config.codes == "standard":
        subspace.standardize(bank)
    return subspace


def scaling_of(model: Model, bank: Tensor) -> Scaling:
    """Return what a subspace of the bank [T, P] counts its numbers from and in."""
    # The numbers of a soft prompt are of one kind; the paper's autoencoder takes them as they are.
    if not model.tuner.rescales:
        return Scaling.none(bank.shape[1])
    shapes = model.tuner.shapes(model.backbone)
    return Scaling.of_bank(bank, shapes)


def find_shared_delta(
    model: Model,
    start: Tensor,
    tasks: Sequence[EncodedTask],
    config: MsfConfig,
    seed: int,
    execution: Execution | None = None,
) -> Tensor:
    """Tune one delta [P] jointly on all seen tasks: what no intrinsic dimension gives.

    Heads are each task's own, and are not returned.
    start: [P]. config: as many steps as MSF takes, at its `learning_rate`.
    """
    source = Shared(start)
    rows = min(config.rows_per_step, SHARED_ROWS)
    fewer = replace(config, rows_per_step=rows)
    job = _joint_job("shared", tasks, fewer, seed)
    heads = head_starts(model, tasks, seed)
    fit(model, with_heads(source, heads), [job], fewer, execution)
    return source.value.detach()[0]  # of [1, P]


def rows_of_tasks(
    tasks: Sequence[EncodedTask],
) -> tuple[list[tuple[Row, ...]], tuple[Row, ...]]:
    """Return a group of train rows for each task, and the dev rows of all.

    A row runs under the delta of its task, whose index is the task's place.
    """
    groups = []
    dev: list[Row] = []
    for number, data in enumerate(tasks):
        groups.append(rows_under(number, data.train))
        dev += rows_under(number, data.dev)
    return groups, tuple(dev)


def _joint_job(name: str, tasks: Sequence[EncodedTask], config: MsfConfig, seed: int) -> Job:
    """Return all tasks' rows as one job.

    A group per task samples uniformly over tasks; one group over rows (released code).
    """
    groups, dev = rows_of_tasks(tasks)
    # Tasks with more classes have more rows: over rows, they are drawn more often.
    if config.sampling == "rows":
        rows: list[Row] = []
        for group in groups:
            rows += group
        groups = [tuple(rows)]
    return Job(
        name,
        tuple(groups),
        dev,
        config.learning_rate,
        seed,
        config.rows_per_step,
    )
