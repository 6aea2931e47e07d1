"""Second-order fitting of few numbers: Levenberg-Marquardt on each job's exact few-shot loss.

    f_j(z) = prior / 2 |z|^2
             + mean over job j's rows of (mean over the row's answer tokens of -log p)
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
from typing import NamedTuple

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
    jobs_at,
    log_dev_losses,
    make_outcomes,
    mean_by_owner,
    number_rows,
    require_finite_ends,
    row_losses,
    tokens_of,
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

        # One number a job, [J]. float64: they decide which steps are taken.
        ones = torch.ones(jobs, dtype=torch.float64, device=device)
        zeros = torch.zeros(jobs, dtype=torch.long, device=device)
        self.damping = ones
        self.best_loss = torch.full_like(ones, float("inf"))
        self.steps = zeros.clone()
        self.best_step = zeros.clone()
        self.failures = zeros.clone()  # dev losses since the last that was better
        self.done = zeros.bool()

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name; they are restored in place."""
        return {
            "best": self.best,
            "damping": self.damping,
            "best_loss": self.best_loss,
            "steps": self.steps,
            "best_step": self.best_step,
            "failures": self.failures,
            "done": self.done,
            "now": self.source.values.data,
        }

    def record(
        self,
        index: Tensor,
        losses: Tensor,
        moved: Tensor,
        config: LevenbergMarquardtConfig,
    ) -> None:
        """Take dev losses; end the jobs that nothing moves, that stalled, or that ran out.

        index: [A] jobs.
        losses: [A] their dev losses.
        moved: [A] whether the last step gained enough.
        """
        self._take_best(index, losses)
        failures = self.failures[index]
        has_stalled = failures >= config.patience
        has_finished = self.steps[index] >= config.iterations
        self.done[index] = ~moved | has_stalled | has_finished

    def record_start(self, losses: Tensor) -> None:
        """Take the dev losses [J] of the first vectors."""
        every_job = torch.arange(len(losses), device=losses.device)
        self._take_best(every_job, losses)
        # No step has been taken yet, so none has failed.
        self.failures.zero_()

    def _take_best(self, index: Tensor, losses: Tensor) -> None:
        better = losses < self.best_loss[index]
        winners = index[better]
        vectors = self.source.values.data
        self.best[winners] = vectors[winners]
        self.best_loss[winners] = losses[better]
        self.best_step[winners] = self.steps[winners]
        failures = self.failures[index] + 1
        self.failures[index] = torch.where(better, 0, failures)

    def outcomes(self) -> list[Outcome]:
        """Return how each job ended."""
        return make_outcomes(self.steps, self.best_step, self.best_loss)


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

    all_steps = config.iterations * len(jobs)
    while not search.done.all():
        remaining = ~search.done
        waiting = remaining.nonzero().flatten()
        active = waiting[: config.stacked_jobs]
        losses = iterate(model, search, active, jobs, config, execution)
        checkpoint.maybe_save(search.tensors)
        # A job that ended early counts as if it had taken all of its steps.
        counted = torch.where(search.done, config.iterations, search.steps)
        execution.progress(
            int(counted.sum()),
            all_steps,
            float(losses.mean()),
        )

    require_finite_ends(model, jobs, search.best_loss)
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
    chosen = jobs_at(jobs, active)
    values = source.values.data
    vectors = values[active]  # [A, d]
    damping = search.damping[active]
    local = linearize(model, source, vectors, chosen, config)
    trial = try_steps(model, source, local, damping, chosen, config)

    # A step is taken where it lowers the objective; elsewhere the damping grows.
    penalty = config.prior / 2 * vectors.double().square().sum(1)
    before = local.losses + penalty
    better = trial.objective < before
    values[active] = torch.where(
        better[:, None],
        trial.vectors,
        vectors,
    )
    grown = trial.damping * TRIALS[-1]
    search.damping[active] = torch.where(
        better,
        trial.damping,
        grown,
    )
    search.steps[active] += 1

    # A job that took a step with little gain is at its optimum; one that took none is tried
    # again with more damping.
    gain = before - trial.objective
    has_gained = gain > config.tolerance * before.abs()
    moved = ~better | has_gained
    losses = dev_losses(model, source, chosen, config.token_budget)
    losses = losses.to(model.device)
    search.record(active, losses, moved, config)
    log_dev_losses(execution.checkpoint, chosen, search.steps[active], losses)
    return local.losses


@torch.no_grad()
def linearize(
    model: Model,
    source: Decoded,
    vectors: Tensor,
    jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
) -> Quadratic:
    """Return each job's loss, gradient and generalized Gauss-Newton matrix, without the prior.

    vectors: [A, d]. One forward pass of every train row under d + 1 deltas, in batches.
    """
    count, dim = vectors.shape
    device = vectors.device

    # Each job's vector, and the same shifted along each axis: d + 1 forward passes stand in for
    # the derivative of every logit, which would need a backward pass for each of them.
    unit = torch.eye(dim, dtype=vectors.dtype, device=device)
    unmoved = vectors.new_zeros(1, dim)
    shifts = config.shift * torch.cat([unmoved, unit])  # [d + 1, d]
    shifted = vectors[:, None] + shifts  # [A, d + 1, d]
    deltas = source.decode(shifted.flatten(0, 1))  # [A (d + 1), P]

    # Sums over all rows in float64, so that how they are cut into batches changes next to nothing.
    losses = torch.zeros(count, dtype=torch.float64, device=device)
    gradient = losses.new_zeros(count, dim)
    curvature = losses.new_zeros(count, dim, dim)
    sizes = [sum(map(len, job.groups)) for job in jobs]
    row_count = torch.tensor(sizes, device=device)  # [A]
    rows = train_rows(jobs)

    def add_batch(indices: list[int]) -> None:
        batch = []
        numbers = []
        for i in indices:
            batch.append(rows[i])
            numbers.append(rows[i].job)
        job = torch.tensor(numbers, device=device)  # [B]
        outputs = shifted_outputs(model, deltas, job, batch, dim)
        terms = quadratic_terms(outputs, row_count[job], config.shift)
        losses.index_add_(0, job, terms.losses.double())
        gradient.index_add_(0, job, terms.gradient.double())
        curvature.index_add_(0, job, terms.curvature.double())

    # A row stands d + 1 times in a batch.
    budget = config.token_budget or model.token_budget
    rows_budget = max(1, budget // (dim + 1))
    encoded = tokens_of(rows)
    model.in_batches(encoded, add_batch, rows_budget)
    return Quadratic(vectors, losses, gradient, curvature)


class ShiftedOutputs(NamedTuple):
    """Logits of each row under its job's delta and under those of the shifted vectors."""

    logits: Tensor  # [B, d + 1, T, V]
    labels: Tensor  # [B, T]


def shifted_outputs(
    model: Model,
    deltas: Tensor,
    job: Tensor,
    rows: Sequence[StackedRow],
    dim: int,
) -> ShiftedOutputs:
    """Run each row under the d + 1 deltas of its job.

    deltas: [A (d + 1), P], job by job.
    job: [B] each row's.
    """
    repeated = []
    for row in rows:
        repeated += [row.tokens] * (dim + 1)
    offsets = torch.arange(dim + 1, device=job.device)
    first = job[:, None] * (dim + 1)
    owner = (first + offsets).flatten()  # [B (d + 1)]
    with model.tuner.applied(model.backbone, deltas, owner):
        logits, labels = model.backbone.answer_logits(repeated)

    shape = (len(rows), dim + 1)
    logits = logits.unflatten(0, shape)
    # Differences of half-precision logits would be mostly rounding.
    at_least_float32 = torch.promote_types(logits.dtype, torch.float32)
    logits = logits.to(at_least_float32)
    labels = labels.unflatten(0, shape)
    return ShiftedOutputs(
        logits,
        labels[:, 0],  # the same for all d + 1
    )


class QuadraticTerms(NamedTuple):
    """What each row adds to its job's loss, gradient and curvature."""

    losses: Tensor  # [B]
    gradient: Tensor  # [B, d]
    curvature: Tensor  # [B, d, d]


def quadratic_terms(outputs: ShiftedOutputs, row_count: Tensor, shift: float) -> QuadraticTerms:
    """Return the rows' terms of the sums that stand above.

    row_count: [B] how many train rows each row's job has.
    shift: how far the vectors were shifted.
    """
    logits, labels = outputs
    dim = logits.shape[1] - 1

    # w = 1 / (rows x tokens of the row); zero where a place predicts nothing.
    has_label = labels >= 0
    tokens = has_label.sum(1, keepdim=True)  # [B, 1]
    weight = has_label / (tokens * row_count[:, None])
    weight = weight.to(logits.dtype)  # [B, T]

    # J's columns: forward differences of the logits. They may be this plain since the step is
    # tried on the loss itself before it is taken.
    base = logits[:, 0]  # [B, T, V]
    slopes = logits[:, 1:] - logits[:, :1]
    slopes = slopes / shift  # [B, d, T, V]
    log_p = base.log_softmax(-1)
    p = log_p.exp()
    weighted = p[:, None] * slopes  # [B, d, T, V], p J
    mean = weighted.sum(-1)  # [B, d, T], p^T J

    # Padding has no label: its first logit is read, and weighed by zero.
    place = labels.clamp_min(0)[..., None]  # [B, T, 1]
    place_of_slope = place[:, None].expand(-1, dim, -1, -1)
    slope_at_label = slopes.gather(-1, place_of_slope).squeeze(-1)  # [B, d, T]
    log_p_at_label = log_p.gather(-1, place).squeeze(-1)  # [B, T]
    losses = -(log_p_at_label * weight).sum(1)

    # J^T (p - y), and J^T (diag p - p p^T) J in its two terms.
    by_token = (mean - slope_at_label) * weight[:, None]
    second_moment = torch.einsum(
        "bitv,bjtv,bt->bij",
        weighted,
        slopes,
        weight,
    )
    product_of_means = torch.einsum(
        "bit,bjt,bt->bij",
        mean,
        mean,
        weight,
    )
    return QuadraticTerms(
        losses=losses,
        gradient=by_token.sum(-1),
        curvature=second_moment - product_of_means,
    )


def train_rows(jobs: Sequence[Job]) -> list[StackedRow]:
    """Return every train row of these jobs, job by job."""
    rows: list[StackedRow] = []
    for number, job in enumerate(jobs):
        for group in job.groups:
            rows += number_rows(group, number)
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
    count = len(TRIALS)  # K

    # (H + damping 1) step = -g, for all dampings at once: d is small, so solving costs nothing
    # beside the forward passes, and float64 keeps a nearly singular H usable.
    unit = torch.eye(dim, dtype=torch.float64, device=vectors.device)
    dampings = torch.stack([damping * factor for factor in TRIALS], 1)  # [A, K]
    added = config.prior + dampings
    diagonal = added[..., None, None] * unit  # [A, K, d, d]
    matrix = local.curvature[:, None] + diagonal
    slope = local.gradient + config.prior * start  # [A, d]
    downhill = -slope[:, None].expand(-1, count, -1)
    step = torch.linalg.solve(matrix, downhill)
    tried = start[:, None] + step  # [A, K, d]

    # Every train row under each of its job's K trials, as rows of one stacked batch.
    flat = tried.flatten(0, 1)
    deltas = source.decode(flat.to(vectors.dtype))  # [A K, P]
    owner: list[int] = []
    tokens: list[Encoded] = []
    for row in train_rows(jobs):
        first = row.job * count
        owner += range(first, first + count)
        tokens += [row.tokens] * count
    losses = row_losses(model, deltas, owner, tokens, config.token_budget)
    means = mean_by_owner(losses, owner, len(deltas))
    means = means.to(vectors.device).view(dampings.shape)  # [A, K]
    penalty = config.prior / 2 * tried.square().sum(-1)
    objective = means + penalty

    best = objective.argmin(1, keepdim=True)  # [A, 1]
    places = best[..., None].expand(-1, -1, dim)
    picked = tried.gather(1, places).squeeze(1)  # [A, d]
    return Trial(
        vectors=picked.to(vectors.dtype),
        damping=dampings.gather(1, best).squeeze(1),
        objective=objective.gather(1, best).squeeze(1),
    )
