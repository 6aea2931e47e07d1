"""Second-order fitting of few numbers: Levenberg-Marquardt on each job's exact few-shot loss, all jobs stacked.

    f_j(z) = mean over job j's rows of (mean over the row's answer tokens of -log p) + prior / 2 * |z|^2
    g = sum w J^T (p - y) + prior z,   H = sum w J^T (diag p - p p^T) J + prior 1,   step = -(H + damping 1)^-1 g

over rows and answer tokens, w = 1 / (rows x tokens of the row); J [V, d] is the derivative of a token's logits by z. With
standardised codes the prior is the seen tasks' own spread. H is the generalised Gauss-Newton matrix (Schraudolph 2002); J's
columns are differences of logits between codes shifted along one axis, just more rows of one stacked batch, forward only.
Trained: the vectors z [J, d]. Frozen: everything else.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.checkpoint import Checkpoint
from ipt.config import LevenbergMarquardtConfig
from ipt.training.loop import Job, Outcome, dev_losses, row_losses
from ipt.training.source import Decoded

TRIALS = (0.1, 1.0, 10.0, 100.0)  # multiples of a job's damping that are tried at once; the best becomes its damping


class Search:
    """State of a stacked search: what a checkpoint holds."""

    def __init__(self, codes: Decoded) -> None:
        values = codes.values.data
        jobs, device = len(values), values.device
        self.codes, self.best = codes, values.clone()
        self.damping = torch.ones(jobs, dtype=torch.float64, device=device)
        self.best_loss = torch.full((jobs,), float("inf"), dtype=torch.float64, device=device)
        self.steps, self.best_step, self.failures = (torch.zeros(jobs, dtype=torch.long, device=device) for _ in range(3))
        self.done = torch.zeros(jobs, dtype=torch.bool, device=device)

    def tensors(self) -> dict[str, Tensor]:
        names = ("best", "damping", "best_loss", "steps", "best_step", "failures", "done")
        return {name: getattr(self, name) for name in names} | {"now": self.codes.values.data}

    def record(self, index: Tensor, losses: Tensor, moved: Tensor, patience: int, last: int) -> None:
        """Take the dev losses of these jobs; a job ends when nothing moves it, when it stops improving, or runs out."""
        better = losses < self.best_loss[index]
        winners = index[better]
        self.best[winners], self.best_loss[winners] = self.codes.values.data[winners], losses[better]
        self.best_step[winners] = self.steps[winners]
        self.failures[index] = torch.where(better, 0, self.failures[index] + 1)
        self.done[index] = ~moved | (self.failures[index] >= patience) | (self.steps[index] >= last)


@torch.no_grad()
def fit_vectors(
    backbone: Backbone,
    codes: Decoded,
    jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
    checkpoint: Checkpoint,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
) -> list[Outcome]:
    """Fit all jobs' vectors and leave each at its best dev loss; resumes from the checkpoint where it holds a state."""
    search = Search(codes)
    if not checkpoint.restore(search.tensors()):
        every = torch.arange(len(jobs), device=backbone.device)
        search.record(every, dev_losses(backbone, codes, jobs, config.token_budget).to(backbone.device), every >= 0, 2, 1)
        search.failures.zero_()
    while not search.done.all():
        active = (~search.done).nonzero().flatten()[: config.stacked_jobs]
        chosen = [jobs[j] for j in active.tolist()]
        values = codes.values.data[active]
        losses, gradient, curvature = linearize(backbone, codes, values, chosen, config)
        found, damping, objective = _improve(backbone, codes, values, (losses, gradient, curvature), search.damping[active], chosen, config)
        before = losses + config.prior / 2 * values.double().square().sum(1)
        better = objective < before
        codes.values.data[active] = torch.where(better[:, None], found, values)
        search.damping[active] = torch.where(better, damping, damping * TRIALS[-1])
        search.steps[active] += 1
        dev = dev_losses(backbone, codes, chosen, config.token_budget).to(backbone.device)
        moved = ~better | (before - objective > config.tolerance * before.abs())  # where no step was better, the damping grows
        search.record(active, dev, moved, config.patience, config.iterations)
        for j, value in zip(active.tolist(), dev.tolist(), strict=True):
            checkpoint.log(job=jobs[j].name, step=int(search.steps[j]), dev_loss=round(value, 6))
        checkpoint.maybe_save(search.tensors)
        progress(int(torch.where(search.done, config.iterations, search.steps).sum()), config.iterations * len(jobs), float(losses.mean()))
    codes.values.data.copy_(search.best)
    checkpoint.save(search.tensors())
    numbers = zip(search.steps.tolist(), search.best_step.tolist(), search.best_loss.tolist(), strict=True)
    return [Outcome(*row) for row in numbers]


@torch.no_grad()
def linearize(backbone: Backbone, codes: Decoded, values: Tensor, jobs: Sequence[Job], config: LevenbergMarquardtConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return the jobs' losses [A], and gradients [A, d] and generalised Gauss-Newton matrices [A, d, d] without the prior.

    values: [A, d]. One forward pass of every train row under d + 1 prompts, in micro-batches.
    """
    count, dim = values.shape
    shifts = config.shift * torch.cat([values.new_zeros(1, dim), torch.eye(dim, dtype=values.dtype, device=values.device)])
    prompts = codes._decode((values[:, None] + shifts).flatten(0, 1)).unflatten(0, (count, dim + 1))  # [A, d + 1, n, h]
    owned = [(a, row) for a, job in enumerate(jobs) for group in job.groups for _, row in group]
    sizes = torch.tensor([sum(map(len, job.groups)) for job in jobs], device=values.device)
    losses = torch.zeros(count, dtype=torch.float64, device=values.device)
    gradient, curvature = losses.new_zeros(count, dim), losses.new_zeros(count, dim, dim)

    def add(chosen: list[int]) -> None:
        owner = torch.tensor([owned[i][0] for i in chosen], device=values.device)
        rows = [owned[i][1] for i in chosen for _ in range(dim + 1)]
        logits, labels = backbone.answer_logits(prompts[owner].flatten(0, 1), rows)
        logits = logits.unflatten(0, (len(chosen), dim + 1)).to(torch.promote_types(logits.dtype, torch.float32))
        labels = labels.unflatten(0, (len(chosen), dim + 1))[:, 0]  # [B, T]
        kept = labels >= 0
        weight = (kept / (kept.sum(1, keepdim=True) * sizes[owner, None])).to(logits.dtype)  # [B, T]
        base, slopes = logits[:, 0], (logits[:, 1:] - logits[:, :1]) / config.shift  # [B, T, V], [B, d, T, V]
        log_p = base.log_softmax(-1)
        leaning = log_p.exp()[:, None] * slopes
        mean = leaning.sum(-1)  # [B, d, T]
        places = labels.clamp_min(0)[..., None]  # [B, T, 1]
        at_label = slopes.gather(-1, places[:, None].expand(-1, dim, -1, -1)).squeeze(-1)
        losses.index_add_(0, owner, -(log_p.gather(-1, places).squeeze(-1) * weight).sum(1).double())
        gradient.index_add_(0, owner, ((mean - at_label) * weight[:, None]).sum(-1).double())
        spread = torch.einsum("bitv,bjtv,bt->bij", leaning, slopes, weight) - torch.einsum("bit,bjt,bt->bij", mean, mean, weight)
        curvature.index_add_(0, owner, spread.double())

    budget = max(1, (config.token_budget or backbone.token_budget) // (dim + 1))
    backbone.in_batches([row for _, row in owned], prompts.shape[2], budget, add)
    return losses, gradient, curvature


def _improve(
    backbone: Backbone, codes: Decoded, values: Tensor, model: tuple[Tensor, Tensor, Tensor], damping: Tensor, jobs: Sequence[Job],
    config: LevenbergMarquardtConfig,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Try a step for each of several dampings; return the best new values [A, d], their damping [A] and objective [A]."""
    _, gradient, curvature = model
    now = values.double()
    unit = torch.eye(values.shape[1], dtype=torch.float64, device=values.device)
    tried = torch.stack([damping * factor for factor in TRIALS], 1)  # [A, K]
    matrix = curvature[:, None] + (config.prior + tried)[..., None, None] * unit
    step = torch.linalg.solve(matrix, -(gradient + config.prior * now)[:, None].expand(-1, len(TRIALS), -1))
    found = now[:, None] + step  # [A, K, d]
    prompts = codes._decode(found.flatten(0, 1).to(values.dtype))
    owned = [(a * len(TRIALS) + k, row) for a, job in enumerate(jobs) for g in job.groups for _, row in g for k in range(len(TRIALS))]
    per_row = row_losses(backbone, prompts, [slot for slot, _ in owned], [row for _, row in owned], config.token_budget)
    slots = torch.tensor([slot for slot, _ in owned])
    sums = torch.zeros(len(prompts), dtype=torch.float64).index_add_(0, slots, per_row)
    means = (sums / torch.bincount(slots, minlength=len(prompts))).to(values.device).view(tried.shape)
    objective = means + config.prior / 2 * found.square().sum(-1)
    best = objective.argmin(1, keepdim=True)
    picked = found.gather(1, best[..., None].expand(-1, -1, values.shape[1])).squeeze(1)
    return picked.to(values.dtype), tried.gather(1, best).squeeze(1), objective.gather(1, best).squeeze(1)
