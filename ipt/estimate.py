"""What a command will cost: rows, answers, and a range of time measured on this machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ipt.backbones.base import Encoded
from ipt.config import IstConfig, MsfConfig, SearchConfig
from ipt.data import TaskSplit
from ipt.experiment import Experiment
from ipt.methods.ist import ROUNDS
from ipt.results import Condition
from ipt.storage import free_bytes
from ipt.training.model import Model

DEV_ROWS = 40  # of a task, about
TEST_ROWS = 100
# A row as the embedded tasks have it: 20 tokens and their end, an answer of 4.
TYPICAL_ROW = Encoded((5,) * 20 + (1,), (5, 6, 7, 1))
ANSWER_TOKENS = 8
# Batches that are timed: at least 8 rows and at most 64, about 0.2 s of training each.
FEWEST_ROWS = 8
MOST_ROWS = 64
BATCH_SECONDS = 0.2
REPEATS = 3
# Rows differ in length, and jobs may stop early: the true time lies within these factors of what
# the typical row says, by the runs in LOG.md.
SHORTER = 0.6
LONGER = 1.6
COPIES = 8  # of a delta on disk, at most: bank, checkpoint with moments, run


@dataclass(frozen=True)
class Work:
    """How many rows and answers a command has at most."""

    train_rows: int = 0
    dev_rows: int = 0
    answers: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.train_rows + other.train_rows,
            self.dev_rows + other.dev_rows,
            self.answers + other.answers,
        )


@dataclass(frozen=True)
class Rates:
    """Rows a second: trained, forward only, answered."""

    train: float
    forward: float
    generate: float

    def seconds(self, work: Work) -> float:
        """Return how long the work takes."""
        train = work.train_rows / self.train
        dev = work.dev_rows / self.forward
        return train + dev + work.answers / self.generate


@dataclass(frozen=True)
class Estimate:
    """The work, and the least and the most seconds that it may take."""

    work: Work
    low: float
    high: float

    def __str__(self) -> str:
        work = self.work
        low = max(1, round(self.low / 60))
        high = max(1, round(self.high / 60))
        minutes = f"{low}" if low == high else f"{low} to {high}"
        return (
            f"at most {work.train_rows:,} training rows, {work.dev_rows:,} dev rows and "
            f"{work.answers:,} generated answers: about {minutes} min"
        )


def tuning_work(search: SearchConfig, tasks: int) -> Work:
    """Return the work of tuning so many tasks, deltas or vectors."""
    steps, losses = search.work
    return Work(tasks * steps * search.rows_per_step, tasks * losses * DEV_ROWS)


def msf_work(split: TaskSplit, config: MsfConfig) -> Work:
    """Return the work of MSF: the subspace, and the shared delta beside it."""
    evaluations = -(-config.steps // config.eval_every)
    stage = Work(
        config.steps * config.rows_per_step,
        len(split.seen) * DEV_ROWS * evaluations,
    )
    return stage + stage


def ist_work(split: TaskSplit, config: IstConfig, tasks: int) -> Work:
    """Return the work of finding numbers for so many tasks."""
    work = tuning_work(config, tasks)
    if config.start != "seen":
        return work
    # All seen vectors meet the first round's rows, fewer the others.
    candidates = len(split.seen)
    rows = 0
    for added_rows, survivors in ROUNDS:
        rows += candidates * added_rows
        candidates = survivors
    return work + Work(dev_rows=tasks * rows)


def scoring_work(split: TaskSplit, limit: int) -> Work:
    """Return the work of scoring a split's conditions, references and floors."""
    sets = len(split.all) * 3 + len(split.seen) * 2
    return Work(answers=sets * (limit or TEST_ROWS))


def ist_tasks(split: TaskSplit, conditions: Sequence[Condition]) -> int:
    """Return how many tasks these conditions of IST find numbers for."""
    seen = len(split.seen)
    unseen = len(split.all) - seen
    return sum(seen if condition.tasks == "seen" else unseen for condition in conditions)


def estimate(experiment: Experiment, work: Work) -> Estimate:
    """Return the time that the work takes, from a measurement on this machine."""
    slow, fast = measure_rates(experiment)
    return Estimate(work, SHORTER * fast.seconds(work), LONGER * slow.seconds(work))


def announce(experiment: Experiment, cost: Estimate) -> None:
    """Say what will be done and how long it takes; raise ValueError where the disk is too full."""
    split = experiment.split
    seen = len(split.seen)
    experiment.reporter.info(
        f"{split.name}: {seen} seen, {len(split.all) - seen} unseen tasks; {cost} on "
        f"{experiment.model.device}"
    )
    out = experiment.work.out
    needed = 2 * len(split.all) * experiment.model.size * torch.float32.itemsize * COPIES
    if free_bytes(out) < needed:
        raise ValueError(
            f"--out {out} needs about {needed / 1e6:.0f} MB free; make room or choose another "
            "folder"
        )


def measure_rates(experiment: Experiment) -> tuple[Rates, Rates]:
    """Return the slowest and the fastest rates of a few batches, after a warm-up."""
    model = experiment.model
    delta = model.initialize(experiment.seed)
    # The first pass allocates memory and starts threads; the second says how many rows to take.
    _seconds(partial(train_batch, model, delta, FEWEST_ROWS // 2))
    first = _seconds(partial(train_batch, model, delta, FEWEST_ROWS))
    count = int(FEWEST_ROWS * BATCH_SECONDS / first)
    count = max(FEWEST_ROWS, min(MOST_ROWS, count))
    times: dict[str, list[float]] = {"train": [], "forward": [], "generate": []}
    actions = {"train": train_batch, "forward": read_batch, "generate": answer_batch}
    for _ in range(REPEATS):
        for name, action in actions.items():
            times[name].append(_seconds(partial(action, model, delta, count)))
    slowest = {name: count / max(seconds) for name, seconds in times.items()}
    fastest = {name: count / min(seconds) for name, seconds in times.items()}
    return Rates(**slowest), Rates(**fastest)


def _seconds(action: Callable[[], object]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


def train_batch(model: Model, delta: torch.Tensor, count: int) -> None:
    """Pass so many typical rows forward and backward."""
    deltas = delta.expand(count, -1).clone().requires_grad_()
    owner = torch.arange(count, device=model.device)
    model.losses(deltas, owner, [TYPICAL_ROW] * count).sum().backward()


@torch.no_grad()
def read_batch(model: Model, delta: torch.Tensor, count: int) -> None:
    """Pass so many typical rows forward."""
    owner = torch.zeros(count, dtype=torch.long, device=model.device)
    model.losses(delta[None], owner, [TYPICAL_ROW] * count)


@torch.no_grad()
def answer_batch(model: Model, delta: torch.Tensor, count: int) -> None:
    """Answer so many typical rows; a masked model reads them."""
    if not model.backbone.generates:
        return read_batch(model, delta, count)
    owner = torch.zeros(count, dtype=torch.long, device=model.device)
    model.predict(delta[None], owner, [TYPICAL_ROW] * count, ANSWER_TOKENS)
    return None
