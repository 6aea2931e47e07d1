"""Second-order fitting of few numbers: Levenberg-Marquardt on each job's exact few-shot loss.

    f_j(z) = mean over job j's rows of (mean over the row's answer tokens of -log p) + prior / 2 |z|^2
    g = sum w J^T (p - y) + prior z
    H = sum w J^T (diag p - p p^T) J + prior 1
    step = -(H + damping 1)^-1 g

over rows and answer tokens, w = 1 / (rows x tokens of the row); J [V, d] is the derivative of a
token's logits by z. With standardized vectors the prior is the seen tasks' own spread. H is the
generalized Gauss-Newton matrix (Schraudolph 2002); J's columns are differences of logits between
vectors shifted along one axis, just more rows of one stacked batch, forward only. All jobs are
stacked. Trained: the vectors z [J, d]. Frozen: everything else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.config import LevenbergMarquardtConfig
from ipt.training.loop import (
    Execution,
    Job,
    Outcome,
    StackedRow,
    dev_losses,
    mean_by_owner,
    row_losses,
)
from ipt.training.model import Model
from ipt.training.source import Decoded

# Multiples of a job's damping that are tried at once; the best becomes its damping.
TRIALS = (0.1, 1.0, 10.0, 100.0)


class Search:
    """State of a stacked search: what a checkpoint holds."""

    def __init__(self, source: Decoded) -> None:
        vectors = source.values.data
        jobs = len(vectors)
        device = vectors.device
        self.source = source
        self.best = vectors.clone()
        self.damping = torch.ones(jobs, dtype=torch.float64, device=device)
        infinity = float("inf")
        self.best_loss = torch.full((jobs,), infinity, dtype=torch.float64, device=device)
        self.steps = torch.zeros(jobs, dtype=torch.long, device=device)
        self.best_step = torch.zeros(jobs, dtype=torch.long, device=device)
        self.failures = torch.zeros(jobs, dtype=torch.long, device=device)
        self.done = torch.zeros(jobs, dtype=torch.bool, device=device)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name; they are restored in place."""
        names = ("best", "damping", "best_loss", "steps", "best_step", "failures", "done")
        named = {name: getattr(self, name) for name in names}
        named["now"] = self.source.values.data
        return named

    def record(
        self,
        index: Tensor,
        losses: Tensor,
        moved: Tensor,
        config: LevenbergMarquardtConfig,
    ) -> None:
        """Take dev losses; end the jobs that nothing moves, that stalled, or that ran out.

        index: [A] jobs. losses: [A]. moved: [A] whether the last step gained enough.
        """
        self._take_best(index, losses)
        has_stalled = self.failures[index] >= config.patience
        has_finished = self.steps[index] >= config.iterations
        self.done[index] = ~moved | has_stalled | has_finished

    def record_start(self, losses: Tensor) -> None:
        """Take the dev losses [J] of the first vectors."""
        self._take_best(torch.arange(len(losses), device=losses.device), losses)
        self.failures.zero_()

    def _take_best(self, index: Tensor, losses: Tensor) -> None:
        better = losses < self.best_loss[index]
        winners = index[better]
        self.best[winners] = self.source.values.data[winners]
        self.best_loss[winners] = losses[better]
        self.best_step[winners] = self.steps[winners]
        self.failures[index] = torch.where(better, 0, self.failures[index] + 1)

    def outcomes(self) -> list[Outcome]:
        """Return how each job ended."""
        numbers = zip(
            self.steps.tolist(),
            self.best_step.tolist(),
            self.best_loss.tolist(),
            strict=True,
        )
        return [Outcome(*row) for row in numbers]


@dataclass(frozen=True)
class Quadratic:
    """Each job's loss around its vector, without the prior: value, gradient and curvature."""

    vectors: Tensor  # [A, d], where it was made
    losses: Tensor  # [A]
    gradient: Tensor  # [A, d]
    curvature: Tensor  # [A, d, d], generalized Gauss-Newton


@dataclass(frozen=True)
class Trial:
    """The best of several steps of each job."""

    vectors: Tensor  # [A, d]
    damping: Tensor  # [A]
    objective: Tensor  # [A], with the prior


@torch.no_grad()
def fit_vectors(
    model: Model,
    source: Decoded,
    jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
    execution: Execution | None = None,
) -> list[Outcome]:
    """Fit all jobs' vectors and leave each at its best dev loss.

    Resumes from the checkpoint where it holds a state.
    """
    execution = execution or Execution()
    checkpoint = execution.checkpoint
    search = Search(source)
    if not checkpoint.restore(search.tensors()):
        losses = dev_losses(model, source, jobs, config.token_budget)
        search.record_start(losses.to(model.device))
    while not search.done.all():
        active = (~search.done).nonzero().flatten()[: config.stacked_jobs]
        losses = iterate(model, search, active, jobs, config, execution)
        checkpoint.maybe_save(search.tensors)
        done = int(torch.where(search.done, config.iterations, search.steps).sum())
        execution.progress(done, config.iterations * len(jobs), float(losses.mean()))
    source.values.data.copy_(search.best)
    checkpoint.save(search.tensors())
    return search.outcomes()


def iterate(
    model: Model,
    search: Search,
    active: Tensor,
    jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
    execution: Execution,
) -> Tensor:
    """Take one step of the active jobs [A]; return their train losses [A]."""
    source = search.source
    chosen = [jobs[job] for job in active.tolist()]
    vectors = source.values.data[active]
    local = linearize(model, source, vectors, chosen, config)
    trial = try_steps(model, source, local, search.damping[active], chosen, config)

    # A step is taken where it lowers the objective; elsewhere the damping grows.
    before = local.losses + config.prior / 2 * vectors.double().square().sum(1)
    better = trial.objective < before
    source.values.data[active] = torch.where(better[:, None], trial.vectors, vectors)
    grown = trial.damping * TRIALS[-1]
    search.damping[active] = torch.where(better, trial.damping, grown)
    search.steps[active] += 1

    dev = dev_losses(model, source, chosen, config.token_budget).to(model.device)
    gained = before - trial.objective > config.tolerance * before.abs()
    search.record(active, dev, ~better | gained, config)
    for job, steps, loss in zip(chosen, search.steps[active].tolist(), dev.tolist(), strict=True):
        execution.checkpoint.log(job=job.name, step=steps, dev_loss=round(loss, 6))
    return local.losses


@torch.no_grad()
def linearize(
    model: Model,
    source: Decoded,
    vectors: Tensor,
    jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
) -> Quadratic:
    """Return the jobs' losses, gradients and generalized Gauss-Newton matrices, without the prior.

    vectors: [A, d]. One forward pass of every train row under d + 1 deltas, in batches.
    """
    count, dim = vectors.shape
    device = vectors.device
    # Each job's vector, and the same shifted along each axis.
    unit = torch.eye(dim, dtype=vectors.dtype, device=device)
    shifts = config.shift * torch.cat([vectors.new_zeros(1, dim), unit])
    shifted = (vectors[:, None] + shifts).flatten(0, 1)  # [A (d + 1), d]
    deltas = source.decode(shifted)

    rows = train_rows(jobs)
    sizes = [sum(map(len, job.groups)) for job in jobs]
    size = torch.tensor(sizes, device=device)
    losses = torch.zeros(count, dtype=torch.float64, device=device)
    gradient = losses.new_zeros(count, dim)
    curvature = losses.new_zeros(count, dim, dim)

    def add_batch(indices: list[int]) -> None:
        batch = [rows[i] for i in indices]
        job = torch.tensor([row.job for row in batch], device=device)  # [B]
        repeated = [row.tokens for row in batch for _ in range(dim + 1)]
        offsets = torch.arange(dim + 1, device=device)
        owner = (job[:, None] * (dim + 1) + offsets).flatten()
        with model.tuner.applied(model.backbone, deltas, owner):
            logits, labels = model.backbone.answer_logits(repeated)
        logits = logits.unflatten(0, (len(batch), dim + 1))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        labels = labels.unflatten(0, (len(batch), dim + 1))[:, 0]  # [B, T]
        has_label = labels >= 0
        tokens = has_label.sum(1, keepdim=True)
        weight = (has_label / (tokens * size[job, None])).to(logits.dtype)  # [B, T]

        base = logits[:, 0]  # [B, T, V]
        slopes = (logits[:, 1:] - logits[:, :1]) / config.shift  # [B, d, T, V], J's columns
        log_p = base.log_softmax(-1)
        weighted = log_p.exp()[:, None] * slopes  # p J
        mean = weighted.sum(-1)  # [B, d, T], p^T J
        place = labels.clamp_min(0)[..., None]  # [B, T, 1]
        at_label = slopes.gather(-1, place[:, None].expand(-1, dim, -1, -1)).squeeze(-1)
        nll = -(log_p.gather(-1, place).squeeze(-1) * weight).sum(1)
        losses.index_add_(0, job, nll.double())

        # J^T (p - y), and J^T (diag p - p p^T) J in its two terms.
        slope = ((mean - at_label) * weight[:, None]).sum(-1)
        gradient.index_add_(0, job, slope.double())
        second_moment = torch.einsum("bitv,bjtv,bt->bij", weighted, slopes, weight)
        product_of_means = torch.einsum("bit,bjt,bt->bij", mean, mean, weight)
        curvature.index_add_(0, job, (second_moment - product_of_means).double())

    # A row stands d + 1 times in a batch.
    budget = max(1, (config.token_budget or model.token_budget) // (dim + 1))
    model.in_batches([row.tokens for row in rows], add_batch, budget)
    return Quadratic(vectors, losses, gradient, curvature)


def train_rows(jobs: Sequence[Job]) -> list[StackedRow]:
    """Return every train row of these jobs, job by job."""
    rows = []
    for number, job in enumerate(jobs):
        for group in job.groups:
            for source_index, tokens in group:
                rows.append(StackedRow(number, source_index, tokens))
    return rows


def try_steps(
    model: Model,
    source: Decoded,
    local: Quadratic,
    damping: Tensor,
    jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
) -> Trial:
    """Try a step for each of several dampings [A], and return the best of each job."""
    vectors = local.vectors
    start = vectors.double()
    dim = start.shape[1]
    unit = torch.eye(dim, dtype=torch.float64, device=vectors.device)
    dampings = torch.stack([damping * factor for factor in TRIALS], 1)  # [A, K]
    matrix = local.curvature[:, None] + (config.prior + dampings)[..., None, None] * unit
    slope = local.gradient + config.prior * start
    step = torch.linalg.solve(matrix, -slope[:, None].expand(-1, len(TRIALS), -1))
    tried = start[:, None] + step  # [A, K, d]

    deltas = source.decode(tried.flatten(0, 1).to(vectors.dtype))
    owner: list[int] = []
    tokens: list[Encoded] = []
    for row in train_rows(jobs):
        for k in range(len(TRIALS)):
            owner.append(row.job * len(TRIALS) + k)
            tokens.append(row.tokens)
    losses = row_losses(model, deltas, owner, tokens, config.token_budget)
    means = mean_by_owner(losses, owner, len(deltas)).to(vectors.device).view(dampings.shape)
    objective = means + config.prior / 2 * tried.square().sum(-1)  # [A, K]

    best = objective.argmin(1, keepdim=True)
    picked = tried.gather(1, best[..., None].expand(-1, -1, dim)).squeeze(1)
    return Trial(
        vectors=picked.to(vectors.dtype),
        damping=dampings.gather(1, best).squeeze(1),
        objective=objective.gather(1, best).squeeze(1),
    )
