"""`ipt bench --race RUN`: how many forward passes few numbers of unseen tasks take to one dev loss.

| contender | starts from |
|---|---|
| Adam, one vector a task (IST as published, at its best rate: the reference) | the mean vector |
| Adam | the best seen vector |
| Adam, trials pruned by successive halving (the default of `ipt ist`) | the eight best |
| Levenberg-Marquardt (`ipt.training.levenberg_marquardt`) | the best seen vector |
| CMA-ES (Hansen, arXiv 1604.00772) | the mean vector |
| a mixture of seen prompts (`ipt.methods.mixture`), no subspace | the best seen prompts |
| random directions of all weights (`ipt.benchmarks.baselines`), no subspace | the model |
| LoRA (the same), no subspace, more numbers | the model |

The unit is the forward-equivalent: one row through the model, forward. A backward pass costs what
is measured on this machine. The choice of a start and every dev loss are counted, since a user pays
for them; the scoring of test sets is not, since it is no part of the search.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ipt.benchmarks.baselines import tune_directions, tune_lora
from ipt.benchmarks.speed import Measurement, median_times
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, LevenbergMarquardtConfig
from ipt.encoded import EncodedTask
from ipt.methods.ist import SeenVectors, choose_starts, tune_vectors
from ipt.methods.mixture import tune_mixtures
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import Start
from ipt.progress import Reporter
from ipt.training.evaluate import score_deltas
from ipt.training.levenberg_marquardt import fit_vectors
from ipt.training.loop import Execution, Job, dev_losses, row_losses
from ipt.training.model import Model
from ipt.training.source import Decoded, mix_deltas
from ipt.training.sweep import Sweep

# Adam's from the mean vector. The rate with the least final dev loss is the reference, so that the
# others are not compared with a badly set one.
REFERENCE_RATES = (0.1, 0.2, 0.5, 1.0)

STEPS = 120  # of Adam
EVAL_EVERY = 10

# CMA-ES
GENERATIONS = 30
POPULATION = 8
GENERATIONS_PER_EVAL = 5
STEP_SIZE = 0.5  # standardised vectors have deviation 1

AIM = "10 x fewer, test score not lower"


@dataclass
class ForwardCounter:
    """Counts the rows that pass through a model while it is attached."""

    backward_cost: float  # of a backward pass, in forward passes of the same rows
    forward_equivalents: float = 0.0

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Count the rows of every loss that is computed inside the context."""
        hook = model.register_forward_pre_hook(self._count, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def _count(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Losses are computed without a cache of keys and values. Generation, which has one, scores
        # test sets and is no part of a search.
        if kwargs.get("use_cache"):
            return
        rows = len(kwargs["attention_mask"])  # [B, L]
        # With gradients enabled a backward pass follows.
        cost = 1.0
        if torch.is_grad_enabled():
            cost += self.backward_cost
        self.forward_equivalents += rows * cost


class CurvePoint(NamedTuple):
    """A place on a cost curve."""

    cost: float  # forward-equivalents of a task so far
    dev_loss: float  # nats per token: the best so far, mean over tasks


@dataclass
class CostCurve:
    """How the dev loss of one contender falls with its cost."""

    counter: ForwardCounter
    task_count: int
    points: list[CurvePoint] = field(default_factory=list)
    best_losses: dict[str, float] = field(default_factory=dict)  # by task
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # from the start until the last dev loss

    def record(self, task: str, dev_loss: float) -> None:
        """Take a dev loss of one of the task's trials."""
        # Of a task's trials the best counts, since a user keeps that one; all of them cost.
        best_loss = self.best_losses.get(task, math.inf)
        self.best_losses[task] = min(dev_loss, best_loss)

        # The seconds end here, so that the scoring of the test set is no part of them.
        self.seconds = time.perf_counter() - self.started

        # There is no mean before each task has a dev loss.
        if len(self.best_losses) == self.task_count:
            cost = self.counter.forward_equivalents / self.task_count
            mean_loss = sum(self.best_losses.values()) / self.task_count
            self.points.append(CurvePoint(cost, mean_loss))

    def record_job(self, job: Job, dev_loss: float) -> None:
        """Take a dev loss of a job."""
        self.record(job.task, dev_loss)

    def cost_to(self, dev_loss: float) -> float:
        """Return the cost of a task until this dev loss; infinite where it was never reached."""
        for point in self.points:
            if point.dev_loss <= dev_loss:
                return point.cost
        return math.inf


class CurveCheckpoint(Checkpoint):
    """Keeps no file; hands every dev loss to a cost curve.

    jobs: those whose dev losses will come, or more.
    """

    def __init__(self, curve: CostCurve, jobs: Sequence[Job]) -> None:
        super().__init__(None, "")
        self.curve = curve
        self.task_of_job = {job.name: job.task for job in jobs}

    def log(self, **record: Any) -> None:
        """Hand on the dev loss of a job that the loop reports."""
        task = self.task_of_job[record["job"]]
        self.curve.record(task, float(record["dev_loss"]))


@dataclass(frozen=True)
class SearchProblem:
    """What the contenders search: few numbers for each of the tasks."""

    model: Model
    subspace: Subspace  # found from the seen tasks
    tasks: Sequence[EncodedTask]  # unseen ones
    bank: Tensor  # [S, P] tuned deltas of the seen tasks
    seen_tasks: tuple[str, ...]  # their names
    seed: int

    @property
    def seen_vectors(self) -> SeenVectors:
        """Return where searches in the subspace may start."""
        return SeenVectors(self.subspace.encode(self.bank), self.seen_tasks)

    def starts(self, count: int) -> Tensor:
        """Return the best seen vectors of each task, [T, count, d]; their choice costs forwards."""
        return choose_starts(
            self.model,
            self.subspace.decode,
            self.tasks,
            self.seen_vectors,
            self.seed,
            count,
        )

    def score(self, deltas: Tensor) -> float:
        """Return the mean test score of the deltas [T, P], one for each task."""
        scores = score_deltas(self.model, deltas, self.tasks, rank=False)
        return sum(score.generated for score in scores) / len(scores)

    def score_vectors(self, vectors: Tensor) -> float:
        """Return the mean test score of intrinsic vectors [T, d], one for each task."""
        return self.score(self.subspace.decode(vectors))

    def single_jobs(self) -> list[Job]:
        """Return one job for each task, for searches without a learning rate."""
        return Sweep(self.tasks, (0.0,), self.seed).jobs(IstConfig())

    def sweep_checkpoint(self, curve: CostCurve, config: IstConfig) -> CurveCheckpoint:
        """Return what leads the dev losses of a sweep over the tasks to the curve."""
        # As many jobs as the sweep can have at most; how many it has depends on the starts.
        rates = config.learning_rates * config.starts
        jobs = Sweep(self.tasks, rates, self.seed).jobs(config)
        return CurveCheckpoint(curve, jobs)


class SearchOutcome(NamedTuple):
    """What a contender reached."""

    test_score: float  # mean over tasks
    trained_numbers: int  # for one task


Search = Callable[[SearchProblem, CostCurve], SearchOutcome]


def adam_config(learning_rate: float) -> IstConfig:
    """Return the settings of a search by Adam; all contenders that use it have the same budget."""
    return IstConfig(
        steps=STEPS,
        eval_every=EVAL_EVERY,
        patience=STEPS,  # never stopped early: the curve is to be seen whole
        learning_rates=(learning_rate,),
    )


def search_adam(
    problem: SearchProblem,
    curve: CostCurve,
    learning_rate: float,
    start_count: int,
) -> SearchOutcome:
    """Tune vectors by Adam from each task's best seen vectors.

    start_count: how many of them, each a trial; 0 starts from the mean vector.
    """
    config = adam_config(learning_rate)
    if start_count:
        starts = problem.starts(start_count)
    else:
        # Vector 0 is the seen tasks' mean.
        device = problem.model.device
        starts = torch.zeros(len(problem.tasks), 1, problem.subspace.dim, device=device)
    vectors, _ = tune_vectors(
        problem.model,
        problem.subspace,
        problem.tasks,
        config,
        Start(starts, problem.seed),
        Execution(problem.sweep_checkpoint(curve, config)),
    )
    return SearchOutcome(problem.score_vectors(vectors), problem.subspace.dim)


def search_levenberg_marquardt(problem: SearchProblem, curve: CostCurve) -> SearchOutcome:
    """Fit vectors by Levenberg-Marquardt from each task's best seen vector."""
    best_seen = problem.starts(1)[:, 0]  # [T, d]
    source = Decoded(best_seen, problem.subspace.decode)
    jobs = problem.single_jobs()
    checkpoint = CurveCheckpoint(curve, jobs)
    config = LevenbergMarquardtConfig()
    fit_vectors(problem.model, source, jobs, config, Execution(checkpoint))
    return SearchOutcome(problem.score_vectors(source.values.data), problem.subspace.dim)


def search_cma_es(problem: SearchProblem, curve: CostCurve) -> SearchOutcome:
    """Fit each task's vector by CMA-ES on its train loss, from the mean vector."""
    vectors = fit_cma_es(problem, curve)
    return SearchOutcome(problem.score_vectors(vectors), problem.subspace.dim)


def search_mixture(problem: SearchProblem, curve: CostCurve) -> SearchOutcome:
    """Tune as many weights of seen prompts as the subspace has dimensions."""
    config = adam_config(0.2)
    mixtures = tune_mixtures(
        problem.model,
        SeenVectors(problem.bank, problem.seen_tasks),
        problem.subspace.dim,
        problem.tasks,
        config,
        problem.seed,
        Execution(problem.sweep_checkpoint(curve, config)),
    )
    deltas = mix_deltas(mixtures.weights, problem.bank)  # [T, P]
    return SearchOutcome(problem.score(deltas), problem.subspace.dim)


def search_directions(problem: SearchProblem, curve: CostCurve) -> SearchOutcome:
    """Tune as many steps along random directions as the subspace has dimensions."""
    result = tune_directions(
        problem.model,
        problem.tasks,
        problem.subspace.dim,
        adam_config(1.0),  # each trial has its own rate
        problem.seed,
        curve.record_job,
    )
    return SearchOutcome(result.test_score, result.trained_numbers)


def search_lora(problem: SearchProblem, curve: CostCurve) -> SearchOutcome:
    """Tune a LoRA adapter for each task."""
    result = tune_lora(
        problem.model,
        problem.tasks,
        adam_config(1.0),  # each trial has its own rate
        problem.seed,
        curve.record_job,
    )
    return SearchOutcome(result.test_score, result.trained_numbers)


def fit_cma_es(problem: SearchProblem, curve: CostCurve) -> Tensor:
    """Return the vectors [T, d] of the least dev losses that CMA-ES meets.

    Each task has its own search; the populations of all tasks share batches. The middle of a
    search, its favourite, has a dev loss every few generations.
    """
    from cma import CMAEvolutionStrategy

    dim = problem.subspace.dim
    device = problem.model.device
    options = {"popsize": POPULATION, "seed": problem.seed, "verbose": -9}

    # The search's own package does the steps; here only its candidates are evaluated.
    searches = []
    for _ in problem.tasks:
        searches.append(CMAEvolutionStrategy(np.zeros(dim), STEP_SIZE, options))
    jobs = problem.single_jobs()
    best_losses = [math.inf] * len(jobs)
    best_vectors = torch.zeros(len(jobs), dim, device=device)

    for generation in range(1, GENERATIONS + 1):
        populations = [search.ask() for search in searches]
        candidates = np.concatenate(populations)  # [T x POPULATION, d]
        vectors = torch.tensor(candidates, dtype=torch.float32, device=device)
        fitness = train_losses(problem, vectors).tolist()
        for search, population, losses in zip(searches, populations, fitness, strict=True):
            search.tell(population, losses)

        # A dev loss costs as much as a member of the population, so it is not taken each time.
        if generation % GENERATIONS_PER_EVAL == 0:
            favourites = np.stack([search.result.xfavorite for search in searches])
            vectors = torch.tensor(favourites, dtype=torch.float32, device=device)
            source = Decoded(vectors, problem.subspace.decode)
            losses = dev_losses(problem.model, source, jobs, 0)
            for t, loss in enumerate(losses.tolist()):
                curve.record_job(jobs[t], loss)
                if loss < best_losses[t]:
                    best_losses[t] = loss
                    best_vectors[t] = vectors[t]
    return best_vectors


def train_losses(problem: SearchProblem, vectors: Tensor) -> Tensor:
    """Return the train losses [T, POPULATION], nats per token, means over a task's rows.

    vectors: [T x POPULATION, d] the populations of all tasks, one after another.
    """
    rows = []
    owner = []
    for t, task in enumerate(problem.tasks):
        for member in range(POPULATION):
            for row in task.train:
                rows.append(row)
                owner.append(t * POPULATION + member)
    prompts = problem.subspace.decode(vectors)
    losses = row_losses(problem.model, prompts, owner, rows, 0)

    # The mean over the rows of each candidate, in float64 as in the stacked loop.
    owners = torch.tensor(owner)
    sums = torch.zeros(len(vectors), dtype=torch.float64)
    sums.index_add_(0, owners, losses)
    means = sums / torch.bincount(owners)
    return means.view(len(problem.tasks), POPULATION)


@dataclass(frozen=True)
class Contender:
    """A way to find few numbers for a task."""

    name: str
    search: Search
    is_reference: bool = False  # of several references the best is taken
    aim: str = "-"


def contenders() -> list[Contender]:
    """Return all contenders, in the order of the table."""
    entries = []
    for rate in REFERENCE_RATES:
        # IST as published.
        search = partial(search_adam, learning_rate=rate, start_count=0)
        entries.append(Contender(f"Adam {rate:g} from the mean", search, is_reference=True))
    entries += [
        Contender(
            "Adam 0.1 from the best seen code",
            partial(search_adam, learning_rate=0.1, start_count=1),
            aim=AIM,
        ),
        Contender(
            "Adam 0.2 from the eight best seen codes, halved",
            partial(search_adam, learning_rate=0.2, start_count=8),
            aim=AIM,
        ),
        Contender(
            "Levenberg-Marquardt from the best seen code",
            search_levenberg_marquardt,
            aim=AIM,
        ),
        Contender("CMA-ES from the mean", search_cma_es),
        Contender("a mixture of the best seen prompts", search_mixture),
        Contender("random directions of all weights", search_directions),
        Contender("LoRA of rank 1 on one projection", search_lora),
    ]
    return entries


class SearchResult(NamedTuple):
    """A contender with its cost and what it reached."""

    contender: Contender
    curve: CostCurve
    outcome: SearchOutcome

    @property
    def final(self) -> CurvePoint:
        """Return where the search ended."""
        return self.curve.points[-1]


def measure_search_cost(problem: SearchProblem, reporter: Reporter) -> list[Measurement]:
    """Let all contenders search, and compare cost, seconds and test scores."""
    backward_cost = measure_backward_cost(problem)
    results = []
    for contender in contenders():
        # A counter of its own, and a clock that starts now.
        curve = CostCurve(ForwardCounter(backward_cost), len(problem.tasks))
        counting = curve.counter.attached(problem.model.backbone.model)
        with reporter.bar(f"race: {contender.name}"), counting:
            outcome = contender.search(problem, curve)
        results.append(SearchResult(contender, curve, outcome))
    return compare_costs(results)


def measure_backward_cost(problem: SearchProblem) -> float:
    """Return how many forward passes a backward pass takes on this machine.

    Through the backbone to the prompt only: its own weights are frozen.
    """
    model = problem.model
    rows = list(problem.tasks[0].train[:16])
    # Which delta a row runs under makes no difference to the time; the mean vector's is at hand.
    mean_vector = torch.zeros(1, problem.subspace.dim, device=model.device)
    deltas = problem.subspace.decode(mean_vector).expand(len(rows), -1)  # [B, P]
    owner = torch.arange(len(rows), device=model.device)

    def forward() -> None:
        with torch.no_grad():
            model.losses(deltas, owner, rows)

    def forward_and_backward() -> None:
        trained = deltas.clone().requires_grad_()
        model.losses(trained, owner, rows).sum().backward()

    # In turns and by medians, since what else the machine does falls on both alike.
    times = median_times(
        {"forward": forward, "both": forward_and_backward},
        5,
        model.device,
    )
    return times["both"] / times["forward"] - 1


def compare_costs(results: Sequence[SearchResult]) -> list[Measurement]:
    """Return a line for each contender: its cost to the reference's final dev loss."""
    # All costs are read at one dev loss: the reference's at its end.
    references = [result for result in results if result.contender.is_reference]
    reference = min(references, key=lambda result: result.final.dev_loss)
    target = reference.final.dev_loss
    reference_cost = reference.curve.cost_to(target)
    lines = []
    for result in results:
        cost = result.curve.cost_to(target)
        ratio = None  # never reached
        if math.isfinite(cost):
            ratio = reference_cost / cost
        lines.append(
            Measurement(
                what=f"IST to dev loss {target:.3f}: {result.contender.name}",
                against=reference.contender.name,
                ours=cost,
                other=reference_cost,
                unit="forwards a task",
                aim=result.contender.aim,
                ratio=ratio,
                more=_note(result),
            )
        )
    return lines


def _note(result: SearchResult) -> str:
    """Return where a search ended, in words."""
    final = result.final
    seconds = result.curve.seconds
    backward_cost = result.curve.counter.backward_cost
    return (
        f"dev loss {final.dev_loss:.3f} after {final.cost:,.0f} in {seconds:.0f} s, "
        f"test score {result.outcome.test_score:.3f}; "
        f"{result.outcome.trained_numbers} numbers a task; "
        f"backward costs {backward_cost:.2f} forwards"
    )
