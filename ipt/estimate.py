"""What a command will cost: rows, answers, and a range of time measured on this machine."""

import os
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
from ipt.progress import PlannedStage
from ipt.results import Condition
from ipt.storage import free_bytes
from ipt.training.model import Model

DEV_ROWS = 40  # of a task, about
TEST_ROWS = 100  # of a task, about
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
LONG = 3600.0  # seconds from which a smaller command is offered
COPIES = 8  # of a delta on disk, at most: bank, checkpoint with moments, run


@dataclass(frozen=True)
class Work:
    """How many rows and answers a command has at most."""

    train_rows: int = 0
    dev_rows: int = 0
    answers: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            train_rows=self.train_rows + other.train_rows,
            dev_rows=self.dev_rows + other.dev_rows,
            answers=self.answers + other.answers,
        )


@dataclass(frozen=True)
class StageWork:
    """A stage of a command, what it is in words, and its work."""

    key: str
    title: str
    work: Work


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
        answers = work.answers / self.generate
        return train + dev + answers


@dataclass(frozen=True)
class Estimate:
    """The work, and the least and the most seconds that it may take."""

    work: Work
    low: float
    high: float
    works: Sequence[StageWork] = ()
    """Of each stage, in their order."""
    stages: Sequence[PlannedStage] = ()
    """The same, with the time in the middle of the range."""

    @property
    def minutes(self) -> str:
        """The range in words: 3 to 9."""
        # In whole minutes: the estimate is no more exact than that.
        low = round(self.low / 60)
        high = round(self.high / 60)
        low = max(1, low)
        high = max(1, high)
        return f"{low}" if low == high else f"{low} to {high}"

    def rows(self) -> list[str]:
        """Return a line a stage with its rows, at most so many, and one of all."""
        lines = []
        for stage in [*self.works, StageWork("", "in all", self.work)]:
            work = stage.work
            lines.append(
                f"{stage.title}: at most {work.train_rows:,} training rows, "
                f"{work.dev_rows:,} dev rows, {work.answers:,} generated answers"
            )
        return lines


def tuning_work(search: SearchConfig, tasks: int) -> Work:
    """Return the work of tuning so many tasks, deltas or vectors."""
    steps, losses = search.work
    return Work(
        train_rows=tasks * steps * search.rows_per_step,
        dev_rows=tasks * losses * DEV_ROWS,
    )


def msf_work(split: TaskSplit, config: MsfConfig) -> Work:
    """Return the work of MSF: the subspace, and the shared delta beside it."""
    stage = subspace_work(split, config)
    return stage + stage


def subspace_work(split: TaskSplit, config: MsfConfig) -> Work:
    """Return the work of the subspace alone, or of the shared delta alone."""
    # Rounded up: the last step is evaluated too.
    evaluations = -(-config.steps // config.eval_every)
    dev_rows = len(split.seen) * DEV_ROWS
    return Work(
        train_rows=config.steps * config.rows_per_step,
        dev_rows=evaluations * dev_rows,
    )


def ist_work(split: TaskSplit, config: IstConfig, tasks: int) -> Work:
    """Return the work of finding numbers for so many tasks."""
    work = tuning_work(config, tasks)
    if config.start != "seen":
        return work

    # The start is chosen among the seen tasks' vectors, in rounds: all of them meet the first
    # round's rows, fewer the others.
    candidates = len(split.seen)
    rows = 0
    for added_rows, survivors in ROUNDS:
        rows += candidates * added_rows
        candidates = survivors
    choice = Work(dev_rows=tasks * rows)
    return work + choice


def scoring_work(split: TaskSplit, limit: int) -> Work:
    """Return the work of scoring a split's conditions, references and floors."""
    sets = len(split.all) * 3 + len(split.seen) * 2
    rows = limit or TEST_ROWS  # without a limit all are scored
    return Work(answers=sets * rows)


def conditions_work(split: TaskSplit, conditions: Sequence[Condition], limit: int) -> Work:
    """Return the work of scoring these conditions alone."""
    rows = limit or TEST_ROWS
    return Work(answers=ist_tasks(split, conditions) * rows)


def reference_work(tuned: int, tuned_on_other_data: int, limit: int) -> Work:
    """Return the work of scoring what the bank keeps of so many tuned tasks.

    A reference for each, and for those on their own data also the two floors that are measured.
    """
    rows = limit or TEST_ROWS
    return Work(answers=(3 * tuned + tuned_on_other_data) * rows)


def ist_tasks(split: TaskSplit, conditions: Sequence[Condition]) -> int:
    """Return how many tasks these conditions of IST find numbers for."""
    # With repeats: a task is tuned anew for each condition.
    seen = len(split.seen)
    unseen = len(split.all) - seen
    count = 0
    for condition in conditions:
        count += seen if condition.tasks == "seen" else unseen
    return count


def estimate(
    experiment: Experiment,
    work: Work,
    stages: Sequence[StageWork] = (),
) -> Estimate:
    """Return the time that the work takes, from a measurement on this machine.

    stages: what the work is made of.
    """
    slow, fast = measure_rates(experiment)
    # From the better of both cases to the worse: how fast batches were, and how long rows are.
    planned = []
    for stage in stages:
        seconds = (SHORTER * fast.seconds(stage.work) + LONGER * slow.seconds(stage.work)) / 2
        planned.append(PlannedStage(stage.key, stage.title, seconds))
    return Estimate(
        work,
        low=SHORTER * fast.seconds(work),
        high=LONGER * slow.seconds(work),
        works=stages,
        stages=planned,
    )


def announce(
    experiment: Experiment,
    cost: Estimate,
    preset: str = "default",
    smaller: str = "",
) -> None:
    """Say what will be done, how long it takes and what slows it.

    smaller: a command of less work, which is offered from an hour on.
    Raises ValueError where the disk is too full.
    """
    model = experiment.model
    reporter = experiment.reporter
    reporter.info(f"what   {described(experiment, preset)}")
    reporter.info(
        f"time   about {cost.minutes} min, measured just now · "
        "Ctrl-C is safe: the same command goes on"
    )
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    if load > cores:
        reporter.info(
            f"busy   load {load:.1f} on {cores} cores: other programs run; alone it is faster"
        )
    if smaller and (cost.low + cost.high) / 2 > LONG:
        reporter.info(f"less   {smaller}")

    # Every task's delta for two data seeds. Asked before the first step: a run that ends hours
    # later on a full disk would have lost them.
    split = experiment.split
    out = experiment.work.out
    deltas = 2 * len(split.all)
    delta_bytes = model.size * torch.float32.itemsize
    needed = deltas * delta_bytes * COPIES
    if free_bytes(out) < needed:
        raise ValueError(
            f"--out {out} needs about {needed / 1e6:.0f} MB free; make room or choose another "
            "folder"
        )


def described(experiment: Experiment, preset: str) -> str:
    """Return what a command works on, and where, in one line."""
    split = experiment.split
    model = experiment.model
    seen = len(split.seen)
    unseen = len(split.all) - seen
    parameters = sum(values.numel() for values in model.backbone.model.parameters())
    place = str(model.device)
    if model.device.type == "cpu":
        threads = torch.get_num_threads()
        place += ", 1 thread" if threads == 1 else f", {threads} threads"
    parts = [
        f"{split.name}: {seen} seen + {unseen} unseen tasks",
        f"{model.backbone.name} ({parameters / 1e6:,.0f} M, frozen)",
        place,
        f"{preset} preset",
        f"seed {experiment.seed}",
    ]
    return " · ".join(parts)


def measure_rates(experiment: Experiment) -> tuple[Rates, Rates]:
    """Return the slowest and the fastest rates of a few batches, after a warm-up."""
    model = experiment.model
    delta = model.first_numbers([model.head.typical(TYPICAL_ROW)], experiment.seed)
    # The first pass allocates memory and starts threads; the second says how many rows to take.
    warm_up = partial(train_batch, model, delta, FEWEST_ROWS // 2)
    _seconds(warm_up)
    trial = partial(train_batch, model, delta, FEWEST_ROWS)
    count = int(FEWEST_ROWS * BATCH_SECONDS / _seconds(trial))
    count = min(MOST_ROWS, count)
    count = max(FEWEST_ROWS, count)

    actions = {
        "train": train_batch,
        "forward": read_batch,
        "generate": answer_batch,
    }
    times: dict[str, list[float]] = {name: [] for name in actions}
    # By turns: what slows the machine for a while should not fall on one kind alone.
    for _ in range(REPEATS):
        for name, action in actions.items():
            timed = partial(action, model, delta, count)
            seconds = _seconds(timed)
            times[name].append(seconds)

    slowest = {}
    fastest = {}
    for name, measured in times.items():
        slowest[name] = count / max(measured)
        fastest[name] = count / min(measured)
    return Rates(**slowest), Rates(**fastest)


def _seconds(action: Callable[[], object]) -> float:
    # A clock that never goes backwards.
    began = time.monotonic()
    action()
    return time.monotonic() - began


def train_batch(model: Model, delta: torch.Tensor, count: int) -> None:
    """Pass so many typical rows forward and backward."""
    # A delta of its own for each row, as in a stacked step.
    deltas = delta.expand(count, -1).clone()
    deltas.requires_grad_()
    owner = torch.arange(count, device=model.device)
    rows = [model.head.typical(TYPICAL_ROW)] * count
    losses = model.losses(deltas, owner, rows)
    losses.sum().backward()


@torch.no_grad()
def read_batch(model: Model, delta: torch.Tensor, count: int) -> None:
    """Pass so many typical rows forward."""
    owner = torch.zeros(
        count,
        dtype=torch.long,
        device=model.device,
    )
    rows = [model.head.typical(TYPICAL_ROW)] * count
    model.losses(delta[None], owner, rows)


@torch.no_grad()
def answer_batch(model: Model, delta: torch.Tensor, count: int) -> None:
    """Answer so many typical rows; a masked model reads them."""
    # What it does instead of writing an answer.
    if not model.backbone.generates:
        return read_batch(model, delta, count)
    owner = torch.zeros(
        count,
        dtype=torch.long,
        device=model.device,
    )
    rows = [model.head.typical(TYPICAL_ROW)] * count
    model.predict(
        delta[None],
        owner,
        rows,
        ANSWER_TOKENS,
    )
    return None
