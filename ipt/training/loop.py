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

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ipt.backbones.base import Encoded, not_finite
from ipt.checkpoint import Checkpoint
from ipt.config import LoopConfig
from ipt.distributed import Processes
from ipt.training.model import Model
from ipt.training.optimizer import StackedAdam, rate_factor
from ipt.training.source import Source
from ipt.training.stream import Stream

# Of a job, for each number that is trained: itself, its gradient, its best value and Adam's two
# moments, in float32.
STATE_BYTES = 5 * 4

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


class Slot(NamedTuple):
    """A delta of a job, over whose dev rows a loss is averaged."""

    job: int
    source_index: int


@dataclass(frozen=True)
class Job:
    """One optimization."""

    name: str

    # Train rows. A step walks over the groups in shuffled passes and, in each, over its rows in
    # shuffled passes. One group gives plain epochs; one group per task gives tasks the same
    # weight, whatever their sizes.
    groups: tuple[tuple[Row, ...], ...]

    # Rows whose loss decides when to stop and which step is the best.
    dev: tuple[Row, ...]

    learning_rate: float
    seed: int
    rows_per_step: int

    # Jobs of one group are trials at one thing: at each dev loss the worse half of those that
    # remain ends (successive halving, Jamieson & Talwalkar 2016). They must be neighbours in the
    # list of jobs. Empty: no trial.
    trial_group: str = ""

    # The task it is for; empty for a job over many.
    task: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a job ended with."""

    steps: int  # taken
    best_step: int  # the step that the job was left at
    dev_loss: float  # of that step, nats per token


def no_progress(done: int, total: int, loss: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Execution:
    """How a stage is run; changes a result by the rounding of its sums alone."""

    # Where the state is saved.
    checkpoint: Checkpoint = field(default_factory=Checkpoint.none)

    progress: Progress = no_progress

    # Processes that train the same jobs together, each on its part of every step's rows; the
    # first holds the checkpoint.
    processes: Processes = Processes()


def take_rows(job: Job, step: int) -> list[Row]:
    """Return the rows of the job's step (0-based): a function of (groups, seed, step) alone."""
    rows = []
    group_count = len(job.groups)
    first = step * job.rows_per_step
    last = first + job.rows_per_step
    for position in range(first, last):
        # The order of the groups is drawn anew for each pass over them.
        pass_number, place = divmod(position, group_count)
        group_order = _permutation(group_count, job.seed, 0, pass_number)
        group = int(group_order[place])
        members = job.groups[group]

        # A pass over the groups takes one row of each: its number counts the group's rows.
        epoch, place = divmod(pass_number, len(members))
        row_order = _permutation(len(members), job.seed, group + 1, epoch)
        chosen = row_order[place]
        rows.append(members[chosen])
    return rows


# Drawn again for every row of a pass, so the latest ones are kept in memory.
@lru_cache(maxsize=100_000)
def _permutation(size: int, *key: int) -> np.ndarray:
    # numpy's generators draw the same on every machine, and independently for different keys.
    return np.random.default_rng(key).permutation(size)


class Loop:
    """State of a stacked run: what a checkpoint holds."""

    def __init__(self, source: Source, jobs: Sequence[Job], device: torch.device) -> None:
        count = len(jobs)
        self.source = source
        self.jobs = jobs
        self.optimizer = StackedAdam(source.parameters(), count)

        # Each parameter where every job's dev loss was least, a row a job.
        self.best = []
        for parameter in source.parameters():
            copy = parameter.detach().clone()
            self.best.append(copy.view(count, -1))  # [J, k]

        # One number a job, [J]. Losses in float64: they decide which step is the best.
        zeros = torch.zeros(count, dtype=torch.long, device=device)
        self.steps = zeros.clone()
        self.best_step = zeros.clone()
        self.best_loss = torch.full(
            (count,),
            float("inf"),
            dtype=torch.float64,
            device=device,
        )
        self.failures = zeros.clone()  # dev losses since the last that was better
        self.done = zeros.bool()

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the state by name; they are written to and restored in place."""
        named = {
            "steps": self.steps,
            "best_step": self.best_step,
            "best_loss": self.best_loss,
            "failures": self.failures,
            "done": self.done,
        }
        for i, parameter in enumerate(self.source.parameters()):
            named[f"now.{i}"] = parameter.data
            named[f"best.{i}"] = self.best[i]
            named[f"mean.{i}"] = self.optimizer.mean[i]
            named[f"square.{i}"] = self.optimizer.square[i]
        return named

    @torch.no_grad()
    def record(self, index: Tensor, losses: Tensor, patience: int, last: int) -> None:
        """Take dev losses: keep what is best, end the jobs that stopped improving or ran out.

        index: [A] jobs.
        losses: [A] their dev losses.
        patience: so many dev losses in a row without a better one end a job.
        last: steps of a job.
        """
        # A loss that is only equal counts as a failure, and so does one that is not a number.
        better = losses < self.best_loss[index]
        winners = index[better]
        self.best_loss[winners] = losses[better]
        self.best_step[winners] = self.steps[winners]

        parameters = self.source.parameters()
        for best, parameter in zip(self.best, parameters, strict=True):
            by_job = parameter.view(len(self.jobs), -1)  # [J, k]
            best[winners] = by_job[winners]

        failures = self.failures[index] + 1
        failures = torch.where(better, 0, failures)
        self.failures[index] = failures
        has_stalled = failures >= patience
        has_finished = self.steps[index] >= last
        self.done[index] = has_stalled | has_finished

    def prune(self, index: Tensor) -> None:
        """End the worse half of each trial group among these jobs, by best dev loss so far."""
        groups: dict[str, list[int]] = {}
        for job in index.tolist():
            group = self.jobs[job].trial_group
            if group and not self.done[job]:
                trials = groups.setdefault(group, [])
                trials.append(job)

        for trials in groups.values():
            # A stable sort: of equal losses the earlier trial survives.
            trials.sort(key=lambda job: float(self.best_loss[job]))
            survivors = (len(trials) + 1) // 2
            losers = trials[survivors:]
            self.done[losers] = True

    def active(self, most: int) -> Tensor:
        """Return the jobs [A] of the next step: the first that are not done, at most so many.

        The trials of a group are always together, also where they are more.
        """
        remaining = ~self.done
        waiting = remaining.nonzero().flatten().tolist()
        chosen = waiting[:most]
        later = waiting[most:]
        cut = ""
        if later:
            cut = self.jobs[later[0]].trial_group
        if cut:
            # The limit would cut this group in two, so it waits for a later step. A first group
            # stays whole instead: otherwise nothing would be left to do.
            members = [job for job in waiting if self.jobs[job].trial_group == cut]
            others = [job for job in chosen if self.jobs[job].trial_group != cut]
            chosen = others or members
        return torch.tensor(chosen, device=self.done.device)

    @torch.no_grad()
    def restore_best(self) -> None:
        """Leave every job where its dev loss was least."""
        parameters = self.source.parameters()
        for best, parameter in zip(self.best, parameters, strict=True):
            values = best.view_as(parameter)
            parameter.copy_(values)

    def outcomes(self) -> list[Outcome]:
        """Return how each job ended."""
        return make_outcomes(self.steps, self.best_step, self.best_loss)


def make_outcomes(steps: Tensor, best_step: Tensor, best_loss: Tensor) -> list[Outcome]:
    """Return one outcome a job; each argument is [J]."""
    outcomes = []
    numbers = zip(
        steps.tolist(),
        best_step.tolist(),
        best_loss.tolist(),
        strict=True,
    )
    for taken, best, loss in numbers:
        outcome = Outcome(
            steps=taken,
            best_step=best,
            dev_loss=loss,
        )
        outcomes.append(outcome)
    return outcomes


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

    # Only the first process reads the checkpoint; the others take its state.
    loop = Loop(source, jobs, model.device)
    checkpoint.restore(loop.tensors())
    state = loop.tensors()
    execution.processes.broadcast(state.values())

    rates = torch.tensor(
        [job.learning_rate for job in jobs],
        dtype=torch.float64,
        device=model.device,
    )  # [J]

    if not loop.done.all():
        model = model.keeping(rows_of(jobs), config.token_budget)
    stream = Stream(checkpoint, jobs, loop.steps)
    all_steps = config.steps * len(jobs)
    while not loop.done.all():
        # A job that is done leaves its place to the next: a batch stays full until the last jobs.
        active = loop.active(config.stacked_jobs)  # [A]
        numbers = active.tolist()
        stepping = [jobs[number] for number in numbers]
        steps = loop.steps[active]
        processes = execution.processes
        losses = backward(model, source, stepping, steps.tolist(), config, processes)
        require_finite_start(model, stepping, steps, losses)

        # Jobs stand at different steps of their schedules: each has a rate and a count of its own.
        rate = rates[active] * rate_factor(steps, config.steps, config.warmup)
        loop.steps[active] += 1
        count = loop.steps[active]
        loop.optimizer.step(active, count, rate, config.clip)
        stream.add(numbers, losses, rate)

        is_regular = count % config.eval_every == 0
        is_due = is_regular | (count >= config.steps)
        if is_due.any():
            due = active[is_due]
            stream.add_dev(due.tolist(), evaluate_jobs(model, loop, due, config, execution))
        stream.maybe_write(loop.done)
        checkpoint.maybe_save(partial(state_to_save, loop, stream))
        # A job that ended early counts as if it had taken all of its steps.
        counted = torch.where(loop.done, config.steps, loop.steps)
        execution.progress(int(counted.sum()), all_steps, float(losses.mean()))

    require_finite_ends(model, jobs, loop.best_loss)
    loop.restore_best()
    checkpoint.save(state_to_save(loop, stream))
    return loop.outcomes()


def state_to_save(loop: Loop, stream: Stream) -> dict[str, Tensor]:
    """Return what a checkpoint holds, after a line of the stream."""
    # Its line first: a resumed stage knows from it how far it was.
    stream.write(loop.done)
    return loop.tensors()


def rows_of(jobs: Sequence[Job]) -> Iterator[Encoded]:
    """Yield the tokens of all rows that these jobs read."""
    for job in jobs:
        for group in (*job.groups, job.dev):
            for _, tokens in group:
                yield tokens


def require_finite_start(
    model: Model,
    jobs: Sequence[Job],
    steps: Tensor,
    losses: Tensor,
) -> None:
    """Raise ValueError where a job that has taken no step yet has a loss that is no number.

    steps: [A] taken before this one.
    losses: [A] of this step.
    """
    # Where training starts no learning rate has acted: it is the model in its type of numbers.
    is_lost = (steps == 0) & ~losses.isfinite()
    if is_lost.any():
        job = jobs[int(is_lost.nonzero()[0])]
        raise not_finite(model.backbone, f"{job.task or job.name} before any step")


def require_finite_ends(model: Model, jobs: Sequence[Job], best_loss: Tensor) -> None:
    """Raise ValueError where no trial at a task had a finite dev loss.

    One that diverges beside others loses against them; without any other, what it was left at is
    where it started.

    best_loss: [J] infinite where there was none.
    """
    rates: dict[str, list[str]] = {}
    finite = set()
    for job, loss in zip(jobs, best_loss.tolist(), strict=True):
        name = job.task or job.name
        of_task = rates.setdefault(name, [])
        of_task.append(f"{job.learning_rate:g}")
        if math.isfinite(loss):
            finite.add(name)
    for name, tried in rates.items():
        if name not in finite:
            remedy = "take a smaller learning rate"
            what = f"{name} at learning rate {', '.join(dict.fromkeys(tried))}"
            raise not_finite(model.backbone, what, remedy)


def jobs_at(jobs: Sequence[Job], index: Tensor) -> list[Job]:
    """Return the jobs with these indices [A]."""
    return [jobs[number] for number in index.tolist()]


def evaluate_jobs(
    model: Model,
    loop: Loop,
    due: Tensor,
    config: LoopConfig,
    execution: Execution,
) -> Tensor:
    """Take the dev losses [A] of the jobs due [A], end those that are to end, and log them."""
    jobs = jobs_at(loop.jobs, due)
    losses = dev_losses(
        model,
        loop.source,
        jobs,
        config.token_budget,
        execution.processes,
    )
    on_device = losses.to(model.device)
    loop.record(due, on_device, config.patience, config.steps)
    loop.prune(due)
    log_dev_losses(execution.checkpoint, jobs, loop.steps[due], losses)
    return losses


def log_dev_losses(
    checkpoint: Checkpoint,
    jobs: Sequence[Job],
    steps: Tensor,
    losses: Tensor,
) -> None:
    """Log a line a job: its step and dev loss.

    steps: [A].
    losses: [A] nats per token.
    """
    numbers = zip(
        jobs,
        steps.tolist(),
        losses.tolist(),
        strict=True,
    )
    for job, step, loss in numbers:
        checkpoint.log(
            job=job.name,
            step=step,
            dev_loss=round(loss, 6),
        )


def backward(
    model: Model,
    source: Source,
    jobs: Sequence[Job],
    steps: Sequence[int],
    config: LoopConfig,
    processes: Processes | None = None,
) -> Tensor:
    """Leave the gradient of the summed losses on the source's parameters.

    steps: [A] each job's step (0-based).
    Returns each job's task loss [A], in float64: rows are added in batches of any size.
    """
    processes = processes or Processes()
    rows = stack_rows(jobs, steps)
    needed = sorted({row.source_index for row in rows})
    place_of_delta = {}
    for place, source_index in enumerate(needed):
        place_of_delta[source_index] = place
    indices = torch.tensor(needed, device=model.device)  # [U]
    source.zero_grad(set_to_none=False)
    deltas = source(indices)  # [U, P], each made once however many rows run under it
    extra = source.extra_loss(indices, deltas)

    # The rows of all batches add to the gradient at the deltas, and the source is differentiated
    # once, by the chain rule below. So its memory does not grow with the batches, and processes
    # exchange [U, P] numbers whatever the source is.
    leaf = deltas.detach().requires_grad_()
    leaf.grad = torch.zeros_like(leaf)
    losses = torch.zeros(
        len(jobs),
        dtype=torch.float64,
        device=model.device,
    )  # [A]
    local_rows = processes.shard(rows)

    def add_batch(places: list[int]) -> None:
        batch = []
        owner = []
        numbers = []
        for place in places:
            row = local_rows[place]
            batch.append(row)
            owner.append(place_of_delta[row.source_index])
            numbers.append(row.job)
        row_loss = batch_losses(model, leaf, owner, batch, jobs, config)  # [B]
        row_loss.sum().backward()
        job_of_row = torch.tensor(numbers, device=model.device)
        losses.index_add_(0, job_of_row, row_loss.detach().double())

    encoded = tokens_of(local_rows)
    model.in_batches(encoded, add_batch, config.token_budget)

    # d(loss) / d(parameters) = d(deltas) / d(parameters) . d(loss) / d(deltas)
    delta_gradient = processes.sum(leaf.grad)  # [U, P], a constant from here on
    total = (deltas * delta_gradient).sum()
    if extra is not None:
        # Added after the sum over processes: each computes it whole.
        total = total + extra
    total.backward()
    return processes.sum(losses)


def batch_losses(
    model: Model,
    deltas: Tensor,
    owner: Sequence[int],
    rows: Sequence[StackedRow],
    jobs: Sequence[Job],
    config: LoopConfig,
) -> Tensor:
    """Return [B] what each row adds to its job's loss; row b runs under deltas[owner[b]].

    deltas: [U, P].
    """
    tokens = tokens_of(rows)
    owners = torch.tensor(owner, device=model.device)
    losses = model.nll(deltas, owners, tokens, config.label_smoothing)
    if config.loss == "sum":
        return losses

    # A mean over the row's targets, and over the rows of the job's whole step: a row weighs the
    # same whatever rows share its batch, so batches of any size add up to the same gradient.
    shares = []
    for row in rows:
        job = jobs[row.job]
        shares.append(1 / job.rows_per_step)
    share = torch.tensor(shares, device=model.device)
    per_target = losses / model.target_counts(tokens)
    return per_target * share


def tokens_of(rows: Sequence[StackedRow]) -> list[Encoded]:
    """Return the tokens of each row."""
    return [row.tokens for row in rows]


def stack_rows(jobs: Sequence[Job], steps: Sequence[int]) -> list[StackedRow]:
    """Return the rows of these jobs' steps, job by job."""
    stacked = []
    for number, (job, step) in enumerate(zip(jobs, steps, strict=True)):
        rows = take_rows(job, step)
        stacked += number_rows(rows, number)
    return stacked


def number_rows(rows: Sequence[Row], job: int) -> list[StackedRow]:
    """Return a job's rows with its number among the jobs of a step."""
    numbered = []
    for source_index, tokens in rows:
        stacked = StackedRow(
            job=job,
            source_index=source_index,
            tokens=tokens,
        )
        numbered.append(stacked)
    return numbered


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
    rows: list[StackedRow] = []
    for number, job in enumerate(jobs):
        rows += number_rows(job.dev, number)

    # A slot is a delta of a job: the rows of each are averaged first.
    slots = sorted({Slot(row.job, row.source_index) for row in rows})
    slot_number = {}
    needed = []
    job_of_slot = []
    for number, slot in enumerate(slots):
        slot_number[slot] = number
        needed.append(slot.source_index)
        job_of_slot.append(slot.job)
    owner = []
    for row in rows:
        slot = Slot(row.job, row.source_index)
        owner.append(slot_number[slot])

    indices = torch.tensor(needed, device=model.device)
    deltas = source(indices)  # [slots, P]
    losses = row_losses(
        model,
        deltas,
        owner,
        tokens_of(rows),
        token_budget,
        processes,
    )  # [N]

    slot_means = mean_by_owner(losses, owner, len(slots))
    return mean_by_owner(slot_means, job_of_slot, len(jobs))


def mean_by_owner(values: Tensor, owner: Sequence[int], count: int) -> Tensor:
    """Return [count] the mean of the values [N] of each owner [N], in float64."""
    owners = torch.tensor(owner)
    sums = torch.zeros(count, dtype=torch.float64)
    sums.index_add_(0, owners, values)
    counts = torch.bincount(owners, minlength=count)
    return sums / counts


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
    # Places of other processes' rows stay 0, so that the sum over processes puts all together.
    values = torch.zeros(len(rows), dtype=torch.float64)
    all_places = range(len(rows))
    local_places = processes.shard(all_places)

    def put_batch(indices: list[int]) -> None:
        places = []
        owners = []
        tokens = []
        for i in indices:
            place = local_places[i]
            places.append(place)
            owners.append(owner[place])
            tokens.append(rows[place])
        owner_of_row = torch.tensor(owners, device=model.device)  # [B]
        losses = model.losses(deltas, owner_of_row, tokens)
        values[places] = losses.double().cpu()

    local_rows = [rows[place] for place in local_places]
    model.in_batches(local_rows, put_batch, token_budget)
    return processes.sum(values)
