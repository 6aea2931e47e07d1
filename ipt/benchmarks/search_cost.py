"""`ipt bench --search-cost RUN`: how many forward passes the d numbers of unseen tasks take to the same dev loss.

Contenders: Adam from the mean code (the method as published, at its best rate), Adam from the best seen code, Adam from the eight
best with halving (our default), Levenberg-Marquardt from the best (`ipt.training.levenberg_marquardt`), CMA-ES from the mean, and what needs no subspace:
a mixture of seen prompts, d random directions of all weights, and LoRA (`ipt.methods.mixture`; its numbers are more). A forward-equivalent
is one row through the model, forward; a backward pass counts as measured. Choosing a start and every dev loss are counted.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.benchmarks.baselines import directions, lora
from ipt.benchmarks.speed import Measurement, median_times
from ipt.checkpoint import Checkpoint
from ipt.config import IstConfig, LevenbergMarquardtConfig
from ipt.encoded import EncodedTask
from ipt.methods.ist import SeenVectors, choose_starts, tune_vectors
from ipt.methods.mixture import mix
from ipt.methods.subspace import Subspace
from ipt.progress import Reporter
from ipt.training.evaluate import score_deltas
from ipt.training.levenberg_marquardt import fit_vectors
from ipt.training.loop import dev_losses, row_losses
from ipt.training.source import Decoded, mix_deltas
from ipt.training.sweep import stack

RATES = (0.1, 0.2, 0.5, 1.0)  # Adam's, from the mean code; the best final dev loss is what the others are to reach
STEPS, EVERY = 120, 10
GENERATIONS, POPULATION = 30, 8  # CMA-ES


@dataclass
class Meter:
    """Counts rows that pass a backbone; `backward` is what a backward pass costs in forward ones."""

    backward: float
    rows: float = 0.0

    @contextmanager
    def on(self, backbone: Backbone) -> Iterator[None]:
        through = backbone.answer_logits

        def counted(prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
            self.rows += len(rows) * (1 + self.backward * torch.is_grad_enabled())
            return through(prompts, rows)

        backbone.answer_logits = counted  # type: ignore[method-assign]
        try:
            yield
        finally:
            del backbone.answer_logits


@dataclass
class Lap:
    """One contender's way: per evaluation the cost per task so far, and the mean over tasks of the best dev loss so far."""

    name: str
    meter: Meter
    tasks: int
    points: list[tuple[float, float]] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0  # until the last dev loss
    test_score: float = float("nan")
    numbers: int = 0  # trained per task

    def note(self, job: str, loss: float) -> None:
        task = job.split("|")[0]  # of its tries the best counts
        self.best[task] = min(loss, self.best.get(task, float("inf")))
        self.seconds = time.perf_counter() - self.began
        if len(self.best) == self.tasks:
            self.points.append((self.meter.rows / self.tasks, sum(self.best.values()) / self.tasks))

    def cost_to(self, loss: float) -> float:
        """Return forward-equivalents per task until this mean dev loss; infinite where it was never reached."""
        return next((cost for cost, found in self.points if found <= loss), float("inf"))


class Trace(Checkpoint):
    """Keeps no file; hands every dev loss to a lap."""

    def __init__(self, lap: Lap) -> None:
        super().__init__(None, "")
        self.lap = lap

    def log(self, **record: Any) -> None:
        self.lap.note(str(record["job"]), float(record["dev_loss"]))


def backward_cost(backbone: Backbone, prompt: Tensor, data: Sequence[EncodedTask]) -> float:
    """Return how many forward passes a backward pass takes here."""
    rows = list(data[0].train[:16])
    lead = prompt.expand(len(rows), -1, -1)

    def forward() -> None:
        with torch.no_grad():
            backbone.losses(lead, rows)

    def both() -> None:
        backbone.losses(lead.clone().requires_grad_(), rows).sum().backward()

    times = median_times({"forward": forward, "both": both}, 5, backbone.device)
    return times["both"] / times["forward"] - 1


def cma(backbone: Backbone, subspace: Subspace, data: Sequence[EncodedTask], seed: int, lap: Lap) -> Tensor:
    """Fit each task's vector by CMA-ES (Hansen 2016) on its train loss; the populations of all tasks share batches."""
    from cma import CMAEvolutionStrategy

    options = {"popsize": POPULATION, "seed": seed, "verbose": -9}
    searches = [CMAEvolutionStrategy(np.zeros(subspace.dim), 0.5, options) for _ in data]
    jobs = stack(data, (0.0,), IstConfig(), seed)
    best, values = [float("inf")] * len(data), torch.zeros(len(data), subspace.dim, device=backbone.device)
    for generation in range(GENERATIONS):
        asked = [search.ask() for search in searches]
        points = torch.tensor(np.concatenate(asked), dtype=torch.float32, device=backbone.device)
        slots = [(t, k) for t, d in enumerate(data) for k in range(POPULATION) for _ in d.train]
        rows = [row for d in data for _ in range(POPULATION) for row in d.train]
        of_row = torch.tensor([t * POPULATION + k for t, k in slots])
        found = row_losses(backbone, subspace.decode(points), of_row.tolist(), rows, 0)
        means = torch.zeros(len(points), dtype=torch.float64).index_add_(0, of_row, found) / torch.bincount(of_row)
        for search, population, fitness in zip(searches, asked, means.view(len(data), -1).tolist(), strict=True):
            search.tell(population, fitness)
        if (generation + 1) % 5 == 0:
            middle = torch.tensor(np.stack([s.result.xfavorite for s in searches]), dtype=torch.float32, device=backbone.device)
            losses = dev_losses(backbone, Decoded(middle, subspace.decode), jobs, 0).tolist()
            for t, loss in enumerate(losses):
                lap.note(jobs[t].name, loss)
                if loss < best[t]:
                    best[t], values[t] = loss, middle[t]
    return values


def race(
    backbone: Backbone, subspace: Subspace, data: Sequence[EncodedTask], bank: Tensor, names: tuple[str, ...], seed: int, reporter: Reporter
) -> list[Measurement]:
    """Let all contenders run, and compare cost, seconds and test scores; bank: the prompts [S, n, h] of the seen tasks, `names`."""
    seen = SeenVectors(subspace.encode(bank), names)
    zero = torch.zeros(1, subspace.dim, device=backbone.device)
    price = backward_cost(backbone, subspace.decode(zero), data)

    def config(*rates: float) -> IstConfig:
        return IstConfig(steps=STEPS, eval_every=EVERY, patience=STEPS, learning_rates=rates)

    def adam(rate: float, codes: SeenVectors | None, lap: Lap, starts: int = 1) -> float:
        start = choose_starts(backbone, subspace.decode, data, codes, seed, starts) if codes else None
        return tested(subspace.decode(tune_vectors(backbone, subspace, data, config(rate), seed, Trace(lap), start=start)[0]))

    def newton(lap: Lap) -> float:
        codes = Decoded(choose_starts(backbone, subspace.decode, data, seen, seed)[:, 0], subspace.decode)
        fit_vectors(backbone, codes, stack(data, (0.0,), IstConfig(), seed), LevenbergMarquardtConfig(), Trace(lap))
        return tested(subspace.decode(codes.values.data))

    def mixture(lap: Lap) -> float:
        return tested(mix_deltas(mix(backbone, bank, names, subspace.dim, data, config(0.2), seed, Trace(lap)), bank))

    def adapter(lap: Lap) -> float:
        score, lap.numbers = lora(backbone, data, config(1.0), seed, lap.note)
        return score

    def weights(lap: Lap) -> float:
        score, lap.numbers = directions(backbone, data, subspace.dim, config(1.0), seed, lap.note)
        return score

    def tested(prompts: Tensor) -> float:
        scores = score_deltas(backbone, prompts, data, rank=False)
        return sum(s.generated for s in scores) / len(scores)

    runners: dict[str, Callable[[Lap], float]] = {f"Adam {rate:g} from the mean": lambda lap, r=rate: adam(r, None, lap) for rate in RATES}  # type: ignore[misc]
    runners["Adam 0.1 from the best seen code"] = lambda lap: adam(0.1, seen, lap)
    runners["Adam 0.2 from the eight best seen codes, halved"] = lambda lap: adam(0.2, seen, lap, 8)
    runners["Levenberg-Marquardt from the best seen code"] = newton
    runners["CMA-ES from the mean"] = lambda lap: tested(subspace.decode(cma(backbone, subspace, data, seed, lap)))
    runners["a mixture of the best seen prompts"] = mixture
    runners["random directions of all weights"] = weights
    runners["LoRA of rank 1 on one projection"] = adapter
    laps = []
    for name, run in runners.items():
        lap = Lap(name, Meter(price), len(data), numbers=subspace.dim)
        with reporter.bar(f"race: {name}"), lap.meter.on(backbone):
            lap.test_score = run(lap)
        laps.append(lap)
    return compare(laps, price)


def compare(laps: Sequence[Lap], price: float) -> list[Measurement]:
    """Return a line per contender against Adam from the mean at the rate with the least final dev loss."""
    reference = min(
        (lap for lap in laps if lap.name.endswith("the mean") and lap.name.startswith("Adam")), key=lambda lap: lap.points[-1][1]
    )
    target = reference.points[-1][1]
    found = []
    for lap in laps:
        cost, other = lap.cost_to(target), reference.cost_to(target)
        last = f"dev loss {lap.points[-1][1]:.3f} after {lap.points[-1][0]:,.0f} in {lap.seconds:.0f} s"
        note = f"{last}, test score {lap.test_score:.3f}; {lap.numbers} numbers a task; backward costs {price:.2f} forwards"
        what = f"IST to dev loss {target:.3f}: {lap.name}"
        aim = "10 x fewer, test score not lower" if "seen code" in lap.name else "-"
        ratio = other / cost if math.isfinite(cost) else None  # never reached
        found.append(Measurement(what, reference.name, cost, other, "forwards a task", aim, ratio, note))
    return found
