"""The one stacked loop behind tuning, MSF and IST; rows of one batch may belong to different jobs.

(The paper runs one process per task.) A job is one independent optimization. J jobs are stacked on
the first axis of every trained tensor; each step takes each active job's own next rows, and the
objective is the sum over jobs of

    loss_j = mean over job j's rows of (mean over the row's targets of -log p) + extra_j

(or sums instead of both means, as in the released code), so every job gets exactly the gradient it
would get alone. Clipping, learning rate, step count, Adam state, data order and early stopping are
per job as well. Trained: the source's parameters. Frozen: the backbone. Everything random is a
function of (job seed, step), so a checkpoint needs no generator state and a resumed run equals an
uninterrupted one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.checkpoint import Checkpoint
from ipt.config import LoopConfig
from ipt.distributed import Processes
from ipt.training.model import Model
from ipt.training.optimizer import StackedAdam, rate_factor
from ipt.training.source import Source

Progress = Callable[[int, int, float], None]
"""Is told job steps done, job steps in all, and the mean train loss."""


class Row(NamedTuple):
    """A row of a job, and the index of the delta that it runs under."""

    source_index: int
    tokens: Encoded


class StackedRow(NamedTuple):
    """A row of a stacked batch."""

    job: int  # whose loss it adds to, among the jobs of the step
    source_index: int
    tokens: Encoded


@dataclass(frozen=True)
class Job:
    """One optimization."""

    name: str
    groups: tuple[tuple[Row, ...], ...]
    """Train rows. A step walks over the groups in shuffled passes and, in each, over its rows in
    shuffled passes (one group: plain epochs; one group per task: uniform over tasks, whatever
    their sizes)."""
    dev: tuple[Row, ...]
    """Rows whose loss decides when to stop and which step is kept."""
    learning_rate: float
    seed: int
    rows_per_step: int
    trial_group: str = ""
    """Jobs of one group are trials at one thing: at each dev loss the worse half of those that
    remain ends (successive halving, Jamieson & Talwalkar 2016). Neighbours in the list of jobs;
    empty: none."""
    task: str = ""
    """The task it is for; empty for a job over many."""


@dataclass(frozen=True)
class Outcome:
    """What a job ended with: steps taken, the step that was kept, its dev loss (nats per token)."""

    steps: int
    best_step: int
    dev_loss: float


def no_progress(done: int, total: int, loss: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Execution:
    """How a stage is run; changes no result."""

    checkpoint: Checkpoint = field(default_factory=Checkpoint.none)
    """Where its state is kept."""
    progress: Progress = no_progress
    processes: Processes = Processes()
    """Processes that train the same jobs together, each on its part of every step's rows; the
    first holds the checkpoint."""


def take_rows(job: Job, step: int) -> list[Row]:
    """Return the rows of the job's step (0-based): a function of (groups, seed, step) alone."""
    rows = []
    first = step * job.rows_per_step
    for position in range(first, first + job.rows_per_step):
        turn, place = divmod(position, len(job.groups))
        group = int(_permutation(len(job.groups), job.seed, 0, turn)[place])
        members = job.groups[group]
        turn, place = divmod(turn, len(members))
        chosen = _permutation(len(members), job.seed, group + 1, turn)[place]
        rows.append(members[chosen])
    return rows


@lru_cache(maxsize=100_000)
def _permutation(size: int, *key: int) -> np.ndarray:
    return np.random.default_rng(key).permutation(size)


class Loop:
    """State of a stacked run: what a checkpoint holds."""

    def __init__(self, source: Source, jobs: Sequence[Job], device: torch.device) -> None:
        count = len(jobs)
        self.source = source
        self.jobs = jobs
        self.optimizer = StackedAdam(source.parameters(), count)
        self.best = [p.detach().clone().view(count, -1) for p in source.parameters()]
        self.steps = torch.zeros(count, dtype=torch.long, device=device)
        self.best_step = torch.zeros(count, dtype=torch.long, device=device)
        infinity = float("inf")
        self.best_loss = torch.full((count,), infinity, dtype=torch.float64, device=device)
        self.failures = torch.zeros(count, dtype=torch.long, device=device)
        self.done = torch.zeros(count, dtype=torch.bool, device=device)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name; they are written to and restored in place."""
        names = ("steps", "best_step", "best_loss", "failures", "done")
        named = {name: getattr(self, name) for name in names}
        for i, parameter in enumerate(self.source.parameters()):
            named[f"now.{i}"] = parameter.data
            named[f"best.{i}"] = self.best[i]
            named[f"mean.{i}"] = self.optimizer.mean[i]
            named[f"square.{i}"] = self.optimizer.square[i]
        return named

    @torch.no_grad()
    def record(self, index: Tensor, losses: Tensor, patience: int, last: int) -> None:
        """Take dev losses: keep what is best, end the jobs that stopped improving or ran out.

        index: [A] jobs. losses: [A]. last: steps of a job.
        """
        better = losses < self.best_loss[index]
        winners = index[better]
        self.best_loss[winners] = losses[better]
        self.best_step[winners] = self.steps[winners]
        for best, parameter in zip(self.best, self.source.parameters(), strict=True):
            best[winners] = parameter.view(len(self.jobs), -1)[winners]
        self.failures[index] = torch.where(better, 0, self.failures[index] + 1)
        has_stalled = self.failures[index] >= patience
        has_finished = self.steps[index] >= last
        self.done[index] = has_stalled | has_finished

    def prune(self, index: Tensor) -> None:
        """End the worse half of each trial group among these jobs, by best dev loss so far."""
        groups: dict[str, list[int]] = {}
        for job in index.tolist():
            group = self.jobs[job].trial_group
            if group and not self.done[job]:
                groups.setdefault(group, []).append(job)
        for trials in groups.values():
            trials.sort(key=lambda job: float(self.best_loss[job]))
            survivors = (len(trials) + 1) // 2
            self.done[trials[survivors:]] = True

    def active(self, most: int) -> Tensor:
        """Return the jobs [A] of the next step: the first that are not done, at most so many.

        The trials of a group are always together, also where they are more.
        """
        waiting = (~self.done).nonzero().flatten().tolist()
        chosen = waiting[:most]
        later = waiting[most:]
        cut = self.jobs[later[0]].trial_group if later else ""
        if cut:
            # Leave out the group that the limit would cut in two; a first group stays whole.
            uncut = [job for job in chosen if self.jobs[job].trial_group != cut]
            chosen = uncut or [job for job in waiting if self.jobs[job].trial_group == cut]
        return torch.tensor(chosen, device=self.done.device)

    @torch.no_grad()
    def restore_best(self) -> None:
        """Leave every job where its dev loss was least."""
        for best, parameter in zip(self.best, self.source.parameters(), strict=True):
            parameter.copy_(best.view_as(parameter))

    def outcomes(self) -> list[Outcome]:
        """Return how each job ended."""
        numbers = zip(
            self.steps.tolist(),
            self.best_step.tolist(),
            self.best_loss.tolist(),
            strict=True,
        )
        return [Outcome(*row) for row in numbers]


def fit(
    model: Model,
    source: Source,
    jobs: Sequence[Job],
    config: LoopConfig,
    execution: Execution | None = None,
) -> list[Outcome]:
    """Train all jobs and leave each at its best dev loss.

    Resumes from the checkpoint where it holds a state. Without jobs there is nothing to do.
    """
    execution = execution or Execution()
    checkpoint = execution.checkpoint
    if not jobs:
        return []
    processes = execution.processes
    loop = Loop(source, jobs, model.device)
    checkpoint.restore(loop.tensors())
    processes.broadcast(loop.tensors().values())
    learning_rates = [job.learning_rate for job in jobs]
    rates = torch.tensor(learning_rates, dtype=torch.float64, device=model.device)
    while not loop.done.all():
        active = loop.active(config.stacked_jobs)
        stepping = [jobs[job] for job in active.tolist()]
        steps = loop.steps[active]
        losses = backward(model, source, stepping, steps.tolist(), config, processes)
        rate = rates[active] * rate_factor(steps, config.steps, config.warmup)
        loop.steps[active] += 1
        count = loop.steps[active]
        loop.optimizer.step(active, count, rate, config.clip)
        is_due = (count % config.eval_every == 0) | (count >= config.steps)
        if is_due.any():
            evaluate_jobs(model, loop, active[is_due], config, execution)
        checkpoint.maybe_save(loop.tensors)
        done = int(torch.where(loop.done, config.steps, loop.steps).sum())
        execution.progress(done, config.steps * len(jobs), float(losses.mean()))
    loop.restore_best()
    checkpoint.save(loop.tensors())
    return loop.outcomes()


def evaluate_jobs(
    model: Model,
    loop: Loop,
    due: Tensor,
    config: LoopConfig,
    execution: Execution,
) -> None:
    """Take the dev losses of the jobs due [A], end those that are to end, and log them."""
    jobs = [loop.jobs[job] for job in due.tolist()]
    dev = dev_losses(model, loop.source, jobs, config.token_budget, execution.processes)
    loop.record(due, dev.to(model.device), config.patience, config.steps)
    loop.prune(due)
    for job, steps, loss in zip(jobs, loop.steps[due].tolist(), dev.tolist(), strict=True):
        execution.checkpoint.log(job=job.name, step=steps, dev_loss=round(loss, 6))


def backward(
    model: Model,
    source: Source,
    jobs: Sequence[Job],
    steps: Sequence[int],
    config: LoopConfig,
    processes: Processes | None = None,
) -> Tensor:
    """Leave the gradient of the summed losses on the source's parameters.

    steps: [A] each job's step (0-based). Returns each job's task loss [A].
    """
    processes = processes or Processes()
    rows = stack_rows(jobs, steps)
    needed = sorted({row.source_index for row in rows})
    position = {source_index: u for u, source_index in enumerate(needed)}
    indices = torch.tensor(needed, device=model.device)
    source.zero_grad(set_to_none=False)
    deltas = source(indices)  # [U, P], each made once however many rows run under it
    extra = source.extra_loss(indices, deltas)

    # The rows of all batches add to the gradient at the deltas, and the source is differentiated
    # once, by the chain rule below. So its memory does not grow with the batches, and processes
    # exchange [U, P] numbers whatever the source is.
    leaf = deltas.detach().requires_grad_()
    leaf.grad = torch.zeros_like(leaf)
    losses = torch.zeros(len(jobs), dtype=torch.float64, device=model.device)
    local_rows = processes.shard(rows)

    def add_batch(indices: list[int]) -> None:
        batch = [local_rows[i] for i in indices]
        tokens = [row.tokens for row in batch]
        owner = torch.tensor([position[row.source_index] for row in batch], device=model.device)
        job_of_row = torch.tensor([row.job for row in batch], device=model.device)
        row_loss = model.nll(leaf, owner, tokens, config.label_smoothing)  # [B]
        if config.loss == "mean":
            shares = [1 / jobs[row.job].rows_per_step for row in batch]
            share = torch.tensor(shares, device=model.device)
            row_loss = row_loss / model.target_counts(tokens) * share
        row_loss.sum().backward()
        losses.index_add_(0, job_of_row, row_loss.detach().double())

    model.in_batches([row.tokens for row in local_rows], add_batch, config.token_budget)
    # d(loss) / d(parameters) = d(deltas) / d(parameters) . d(loss) / d(deltas)
    total = (deltas * processes.sum(leaf.grad)).sum()
    if extra is not None:
        total = total + extra
    total.backward()
    return processes.sum(losses)


def stack_rows(jobs: Sequence[Job], steps: Sequence[int]) -> list[StackedRow]:
    """Return the rows of these jobs' steps, job by job."""
    rows = []
    for number, (job, step_of_job) in enumerate(zip(jobs, steps, strict=True)):
        for source_index, tokens in take_rows(job, step_of_job):
            rows.append(StackedRow(number, source_index, tokens))
    return rows


@torch.no_grad()
def dev_losses(
    model: Model,
    source: Source,
    jobs: Sequence[Job],
    token_budget: int,
    processes: Processes | None = None,
) -> Tensor:
    """Return each job's dev loss [A].

    Nats per token averaged over a row, rows averaged within a delta's, then over the job's deltas
    (so a job over many tasks weighs them equally).
    """
    rows = []
    for number, job in enumerate(jobs):
        for source_index, tokens in job.dev:
            rows.append(StackedRow(number, source_index, tokens))
    # A slot is a delta of a job: the rows of each are averaged first.
    slots = sorted({(row.job, row.source_index) for row in rows})
    slot_number = {slot: number for number, slot in enumerate(slots)}
    slot_of_row = [slot_number[row.job, row.source_index] for row in rows]
    indices = torch.tensor([source_index for _, source_index in slots], device=model.device)
    deltas = source(indices)
    encoded = [row.tokens for row in rows]
    values = row_losses(model, deltas, slot_of_row, encoded, token_budget, processes)
    slot_means = mean_by_owner(values, slot_of_row, len(slots))
    return mean_by_owner(slot_means, [job for job, _ in slots], len(jobs))


def mean_by_owner(values: Tensor, owner: Sequence[int], count: int) -> Tensor:
    """Return [count] the mean of the values [N] of each owner [N], in float64."""
    owners = torch.tensor(owner)
    sums = torch.zeros(count, dtype=torch.float64).index_add_(0, owners, values)
    return sums / torch.bincount(owners, minlength=count)


@torch.no_grad()
def row_losses(
    model: Model,
    deltas: Tensor,
    owner: Sequence[int],
    rows: Sequence[Encoded],
    token_budget: int,
    processes: Processes | None = None,
) -> Tensor:
    """Return [N] nats per token of each row under deltas[owner[i]]; in batches."""
    processes = processes or Processes()
    values = torch.zeros(len(rows), dtype=torch.float64)
    local = processes.shard(range(len(rows)))

    def put_batch(indices: list[int]) -> None:
        places = [local[i] for i in indices]
        of_batch = torch.tensor([owner[i] for i in places], device=model.device)
        losses = model.losses(deltas, of_batch, [rows[i] for i in places])
        values[places] = losses.double().cpu()

    model.in_batches([rows[i] for i in local], put_batch, token_budget)
    return processes.sum(values)
