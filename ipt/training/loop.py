"""The one stacked loop behind prompt tuning, MSF and IST (the paper runs one process per task; here rows of a batch mix jobs).

A job is one independent optimisation. J jobs are stacked on the first axis of every trained tensor; each step takes each
active job's own next rows, and the objective is the sum over jobs of

    loss_j = mean over job j's rows of (mean over the row's answer tokens of -log p) + extra_j

(or sums instead of both means, as in the released code), so every job gets exactly the gradient it would get alone. Clipping,
learning rate, step count, Adam state, data order and early stopping are per job as well. Trained: the source's parameters.
Frozen: the backbone. Everything random is a function of (job seed, step), so a checkpoint needs no generator state and a
resumed run equals an uninterrupted one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.checkpoint import Checkpoint
from ipt.config import LoopConfig
from ipt.distributed import Processes
from ipt.training.optimizer import StackedAdam, rate_factor
from ipt.training.source import Source

Row = tuple[int, Encoded]  # the index of the prompt that leads the row, and the row


@dataclass(frozen=True)
class Job:
    """One optimisation.

    groups: train rows; a step walks over the groups in shuffled passes and, in each, over its rows in shuffled passes
        (one group: plain epochs; one group per task: uniform over tasks, whatever their sizes).
    dev: rows whose loss decides when to stop and which step is kept.
    rivals: jobs of one such name are tries at one thing: at each dev loss the worse half of those still there ends (successive
        halving, Jamieson & Talwalkar 2016). Neighbours in the list of jobs; "": none.
    task: name of the task that is tuned; "" where a job is over several.
    """

    name: str
    groups: tuple[tuple[Row, ...], ...]
    dev: tuple[Row, ...]
    learning_rate: float
    seed: int
    rows_per_step: int
    rivals: str = ""
    task: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a job ended with: steps taken, the step that was kept, its dev loss (nats per token)."""

    steps: int
    best_step: int
    dev_loss: float


def take_rows(job: Job, step: int) -> list[Row]:
    """Return the rows of the job's step (0-based): a function of (groups, seed, step) alone."""
    rows = []
    for position in range(step * job.rows_per_step, (step + 1) * job.rows_per_step):
        turn, place = divmod(position, len(job.groups))
        group = int(_permutation(len(job.groups), job.seed, 0, turn)[place])
        members = job.groups[group]
        turn, place = divmod(turn, len(members))
        rows.append(members[_permutation(len(members), job.seed, group + 1, turn)[place]])
    return rows


@lru_cache(maxsize=100_000)
def _permutation(size: int, *key: int) -> np.ndarray:
    return np.random.default_rng(key).permutation(size)


class Loop:
    """State of a stacked run: what a checkpoint holds."""

    def __init__(self, source: Source, jobs: Sequence[Job], device: torch.device) -> None:
        self.source, self.jobs = source, jobs
        self.optimiser = StackedAdam(source.parameters(), len(jobs))
        self.best = [p.detach().clone().view(len(jobs), -1) for p in source.parameters()]
        self.steps = torch.zeros(len(jobs), dtype=torch.long, device=device)
        self.best_step = torch.zeros(len(jobs), dtype=torch.long, device=device)
        self.best_loss = torch.full((len(jobs),), float("inf"), dtype=torch.float64, device=device)
        self.failures = torch.zeros(len(jobs), dtype=torch.long, device=device)
        self.done = torch.zeros(len(jobs), dtype=torch.bool, device=device)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name; they are written to and restored in place."""
        named = {name: getattr(self, name) for name in ("steps", "best_step", "best_loss", "failures", "done")}
        adam = self.optimiser
        for i, p in enumerate(self.source.parameters()):
            named |= {f"now.{i}": p.data, f"best.{i}": self.best[i], f"mean.{i}": adam.mean[i], f"square.{i}": adam.square[i]}
        return named

    @torch.no_grad()
    def record(self, index: Tensor, losses: Tensor, patience: int, last: int) -> None:
        """Take the dev losses of these jobs: keep what is best, and end the jobs that stopped improving or ran out."""
        better = losses < self.best_loss[index]
        winners = index[better]
        self.best_loss[winners] = losses[better]
        self.best_step[winners] = self.steps[winners]
        for kept, p in zip(self.best, self.source.parameters(), strict=True):
            kept[winners] = p.view(len(self.jobs), -1)[winners]
        self.failures[index] = torch.where(better, 0, self.failures[index] + 1)
        self.done[index] = (self.failures[index] >= patience) | (self.steps[index] >= last)

    def halve(self, index: Tensor) -> None:
        """End the worse half, by best dev loss so far, of the rivals among these jobs that were not ended yet."""
        groups: dict[str, list[int]] = {}
        for j in index.tolist():
            if self.jobs[j].rivals and not self.done[j]:
                groups.setdefault(self.jobs[j].rivals, []).append(j)
        for tries in groups.values():
            tries.sort(key=lambda j: float(self.best_loss[j]))
            self.done[tries[(len(tries) + 1) // 2 :]] = True

    def active(self, most: int) -> Tensor:
        """Return the jobs [A] of the next step: the first that are not done, at most so many, rivals always together."""
        waiting = (~self.done).nonzero().flatten().tolist()
        chosen, rest = waiting[:most], waiting[most:]
        cut = self.jobs[rest[0]].rivals if rest else ""
        whole = [j for j in chosen if not cut or self.jobs[j].rivals != cut]
        return torch.tensor(whole or [j for j in waiting if self.jobs[j].rivals == cut], device=self.done.device)

    @torch.no_grad()
    def keep_best(self) -> None:
        for kept, p in zip(self.best, self.source.parameters(), strict=True):
            p.copy_(kept.view_as(p))


def fit(
    backbone: Backbone,
    source: Source,
    jobs: Sequence[Job],
    config: LoopConfig,
    checkpoint: Checkpoint,
    progress: Callable[[int, int, float], None] = lambda done, total, loss: None,
    processes: Processes = Processes(),
) -> list[Outcome]:
    """Train all jobs and leave each at its best dev loss; resumes from the checkpoint where it holds a state.

    processes: processes that train these same jobs together, each on its part of every step's rows; the first holds the checkpoint.
    progress: called after each stacked step with job steps done, job steps in all, and the mean train loss.
    """
    loop = Loop(source, jobs, backbone.device)
    checkpoint.restore(loop.tensors())
    processes.copy_first(loop.tensors().values())
    rates = torch.tensor([job.learning_rate for job in jobs], dtype=torch.float64, device=backbone.device)
    while not loop.done.all():
        active = loop.active(config.stacked_jobs)
        losses = backward(backbone, source, [jobs[j] for j in active.tolist()], loop.steps[active].tolist(), config, processes)
        rate = rates[active] * rate_factor(loop.steps[active], config.steps, config.warmup)
        loop.steps[active] += 1
        loop.optimiser.step(active, loop.steps[active], rate, config.clip)
        count = loop.steps[active]
        due = active[(count % config.eval_every == 0) | (count >= config.steps)]
        if len(due):
            dev = dev_losses(backbone, source, [jobs[j] for j in due.tolist()], config.token_budget, processes)
            loop.record(due, dev.to(backbone.device), config.patience, config.steps)
            loop.halve(due)
            for j, value in zip(due.tolist(), dev.tolist(), strict=True):
                checkpoint.log(job=jobs[j].name, step=int(loop.steps[j]), dev_loss=round(value, 6))
        checkpoint.maybe_save(loop.tensors)
        done = int(torch.where(loop.done, config.steps, loop.steps).sum())
        progress(done, config.steps * len(jobs), float(losses.mean()))
    loop.keep_best()
    checkpoint.save(loop.tensors())
    numbers = zip(loop.steps.tolist(), loop.best_step.tolist(), loop.best_loss.tolist(), strict=True)
    return [Outcome(*row) for row in numbers]


def backward(
    backbone: Backbone, source: Source, jobs: Sequence[Job], steps: Sequence[int], config: LoopConfig, processes: Processes = Processes()
) -> Tensor:  # fmt: skip
    """Leave the gradient of the summed losses on the source's parameters; return each job's LM loss [A]."""
    owned = [(a, row) for a, job in enumerate(jobs) for row in take_rows(job, steps[a])]
    needed = sorted({prompt for _, (prompt, _) in owned})
    place = {prompt: i for i, prompt in enumerate(needed)}
    indices = torch.tensor(needed, device=backbone.device)
    source.zero_grad(set_to_none=False)
    prompts = source(indices)  # [U, n, h], each prompt made once however many rows it leads
    extra = source.extra_loss(indices, prompts)
    leaf = prompts.detach().requires_grad_()
    leaf.grad = torch.zeros_like(leaf)
    losses = torch.zeros(len(jobs), dtype=torch.float64, device=backbone.device)
    mine = processes.shard(owned)

    def add(chosen: list[int]) -> None:
        lead = torch.tensor([place[mine[i][1][0]] for i in chosen], device=backbone.device)
        owner = torch.tensor([mine[i][0] for i in chosen], device=backbone.device)
        rows = [mine[i][1][1] for i in chosen]
        row_losses = backbone.nll(leaf[lead], rows, config.label_smoothing)
        if config.loss == "mean":
            share = torch.tensor([1 / jobs[mine[i][0]].rows_per_step for i in chosen], device=backbone.device)
            row_losses = row_losses / torch.tensor([len(row.label_ids) for row in rows], device=backbone.device) * share
        row_losses.sum().backward()
        losses.index_add_(0, owner, row_losses.detach().double())

    backbone.in_batches([row for _, (_, row) in mine], prompts.shape[1], config.token_budget, add)
    total = (prompts * processes.sum(leaf.grad)).sum()
    total = total if extra is None else total + extra
    total.backward()  # chain rule through the source: d(prompts) . d(loss)/d(prompts)
    return processes.sum(losses)


@torch.no_grad()
def dev_losses(
    backbone: Backbone, source: Source, jobs: Sequence[Job], token_budget: int, processes: Processes = Processes()
) -> Tensor:  # fmt: skip
    """Return each job's dev loss [A]: nats per token averaged over a row, rows averaged within a group's prompt, then over
    prompts (so a job over many tasks weighs them equally)."""
    owned = [(a, row) for a, job in enumerate(jobs) for row in job.dev]
    slots = sorted({(a, prompt) for a, (prompt, _) in owned})
    slot = {key: i for i, key in enumerate(slots)}
    rows = [row for _, (_, row) in owned]
    of_row = [slot[a, prompt] for a, (prompt, _) in owned]
    prompts = source(torch.tensor([prompt for _, prompt in slots], device=backbone.device))
    values = row_losses(backbone, prompts, of_row, rows, token_budget, processes)
    sums = torch.zeros(len(slots), dtype=torch.float64).index_add_(0, torch.tensor(of_row), values)
    means = sums / torch.bincount(torch.tensor(of_row), minlength=len(slots))
    owner = torch.tensor([a for a, _ in slots])
    totals = torch.zeros(len(jobs), dtype=torch.float64).index_add_(0, owner, means)
    return totals / torch.bincount(owner, minlength=len(jobs))


@torch.no_grad()
def row_losses(
    backbone: Backbone, prompts: Tensor, of_row: Sequence[int], rows: Sequence[Encoded], token_budget: int, processes: Processes = Processes()
) -> Tensor:  # fmt: skip
    """Return [N] nats per token of each row, led by prompts[of_row[i]]; in micro-batches."""
    values = torch.zeros(len(rows), dtype=torch.float64)
    mine = processes.shard(range(len(rows)))

    def put(chosen: list[int]) -> None:
        places = [mine[i] for i in chosen]
        lead = prompts[torch.tensor([of_row[i] for i in places], device=backbone.device)]
        values[places] = backbone.losses(lead, [rows[i] for i in places]).double().cpu()

    backbone.in_batches([rows[i] for i in mine], prompts.shape[1], token_budget, put)
    return processes.sum(values)
