"""What adapts a frozen model to a task without a subspace and without a prompt, one job at a time.

* LoRA (Hu et al., arXiv 2106.09685) through PEFT: W x + B A x on one projection, with rank 1, the
  fewest numbers that it allows. Trained: A and B. Frozen: every weight of the model.
* Random directions of all weights (Li et al., arXiv 1804.08838): each weight tensor is moved to
  W + sum over k of z_k D_k. Trained: z [d], shared by all tensors. Frozen: W, and D [d, ...] drawn
  once. SAID (arXiv 2012.13255), a variant of IPT's released code, has Fastfood directions instead.

Both change the model itself, so their rows cannot share a batch with rows of other tasks. They are
contenders of `ipt.benchmarks.search_cost`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import (
    is_parametrized,
    register_parametrization,
    remove_parametrizations,
)

from ipt.backbones.base import Backbone
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.training.evaluate import score_deltas
from ipt.training.loop import Job, row_losses, take_rows
from ipt.training.model import Model
from ipt.training.optimizer import rate_factor
from ipt.training.sweep import Sweep

LORA_RATES = (0.01, 0.03, 0.1)

# A number of 1 moves a weight by its own root mean square.
DIRECTION_RATES = (0.003, 0.01, 0.03)

# Called with a job and its dev loss (nats per token), each time it has one.
DevLossRecorder = Callable[[Job, float], None]


class Trial(NamedTuple):
    """One way to tune a task; of several the best by dev loss counts."""

    # Puts the trained weights into the model, and takes them out again.
    attach: Callable[[], AbstractContextManager[list[nn.Parameter]]]
    learning_rate: float


class TrialOutcome(NamedTuple):
    """What a trial reached on its task."""

    dev_loss: float  # its least one, in nats per token
    test_score: float  # with the weights of that dev loss


class BaselineResult(NamedTuple):
    """What a baseline reached."""

    test_score: float  # mean over tasks
    trained_numbers: int  # for one task


def tune_lora(
    model: Model,
    tasks: Sequence[EncodedTask],
    config: IstConfig,
    seed: int,
    record: DevLossRecorder,
) -> BaselineResult:
    """Tune a LoRA adapter for each task, at each of `lora_targets` with each of `LORA_RATES`."""
    trials = []
    for target in lora_targets(model.backbone):
        for rate in LORA_RATES:
            trials.append(Trial(partial(lora_adapter, model.backbone, target), rate))
    return tune_models(model, tasks, trials, config, seed, record)


def tune_directions(
    model: Model,
    tasks: Sequence[EncodedTask],
    dim: int,
    config: IstConfig,
    seed: int,
    record: DevLossRecorder,
) -> BaselineResult:
    """Tune `dim` numbers for each task in `random_directions`, with each of `DIRECTION_RATES`."""
    trials = []
    for rate in DIRECTION_RATES:
        trials.append(Trial(partial(random_directions, model.backbone, dim, seed), rate))
    return tune_models(model, tasks, trials, config, seed, record)


def tune_models(
    model: Model,
    tasks: Sequence[EncodedTask],
    trials: Sequence[Trial],
    config: IstConfig,
    seed: int,
    record: DevLossRecorder,
) -> BaselineResult:
    """Try every trial on every task, without a prompt, and score each task's best by dev loss.

    record: called with each job and each dev loss of its trials.
    """
    bare = model.bare
    nothing = bare.initialize(seed)[None]  # [1, 0]
    jobs = Sweep(tasks, (1.0,), seed).jobs(config)
    best_scores = []
    trained_numbers = 0
    for task, job in zip(tasks, jobs, strict=True):
        outcomes = []
        for trial in trials:
            # All trials of a task start from the same random values.
            torch.manual_seed(seed)
            with trial.attach() as weights:
                trained_numbers = sum(weight.numel() for weight in weights)
                loss = _train(bare, weights, job, trial.learning_rate, config, record)
                # Scored in any case, since the weights are gone after the trial.
                # Generation, and no ranking of options: as the other contenders are scored.
                (score,) = score_deltas(bare, nothing, [task], rank=False)
            outcomes.append(TrialOutcome(loss, score.generated))
        # Of trials with equal dev losses the first counts, whatever they score.
        best = min(outcomes, key=lambda outcome: outcome.dev_loss)
        best_scores.append(best.test_score)
    return BaselineResult(sum(best_scores) / len(best_scores), trained_numbers)


def _train(
    model: Model,
    weights: Sequence[nn.Parameter],
    job: Job,
    learning_rate: float,
    config: IstConfig,
    record: DevLossRecorder,
) -> float:
    """Train weights in place, leave them at their best dev loss, and return that.

    The steps, schedule, clipping and rows of a job are those of the stacked loop.
    """
    nothing = torch.zeros(1, 0, device=model.device)
    dev_rows = [row for _, row in job.dev]
    owner = [0] * len(dev_rows)
    optimizer = torch.optim.Adam(weights, lr=learning_rate)

    best_loss = float("inf")
    best_weights = _copies(weights)
    for step in range(config.steps):
        # One step: warm-up and linear decay of the rate, the job's own rows, clipped gradient.
        factor = rate_factor(torch.tensor(step), config.steps, config.warmup)
        optimizer.param_groups[0]["lr"] = learning_rate * float(factor)
        rows = [row for _, row in take_rows(job, step)]
        optimizer.zero_grad()
        all_rows = torch.zeros(len(rows), dtype=torch.long, device=model.device)
        losses = model.losses(nothing, all_rows, rows)
        losses.mean().backward()
        nn.utils.clip_grad_norm_(weights, config.clip)
        optimizer.step()

        # The last step has a dev loss in any case, as in the stacked loop.
        is_last = step + 1 == config.steps
        if (step + 1) % config.eval_every == 0 or is_last:
            dev_losses = row_losses(model, nothing, owner, dev_rows, 0)
            loss = float(dev_losses.mean())
            record(job, loss)
            if loss < best_loss:
                best_loss = loss
                best_weights = _copies(weights)

    with torch.no_grad():
        for weight, best in zip(weights, best_weights, strict=True):
            weight.copy_(best)
    return best_loss


def _copies(weights: Sequence[nn.Parameter]) -> list[Tensor]:
    copies = []
    for weight in weights:
        copies.append(weight.detach().clone())
    return copies


@contextmanager
def lora_adapter(backbone: Backbone, target: str) -> Iterator[list[nn.Parameter]]:
    """Put a LoRA adapter of rank 1 on one module and yield its weights; then restore the model.

    target: the module's full name in the model.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=1, lora_alpha=1, target_modules=[target])
    model: Any = get_peft_model(backbone.model, config).eval()
    weights = []
    for weight in model.parameters():
        if weight.requires_grad:
            weights.append(weight)
    try:
        yield weights
    finally:
        model.unload()


def lora_targets(backbone: Backbone) -> list[str]:
    """Return the first, middle and last of the modules that PEFT adapts in the model by default."""
    from peft import LoraConfig, get_peft_model

    # PEFT has its table of default targets by family; an adapter put on and off again reads it.
    model: Any = get_peft_model(backbone.model, LoraConfig(r=1))
    names = []
    for name, module in model.named_modules():
        if hasattr(module, "lora_A"):
            names.append(name.removeprefix("base_model.model."))
    model.unload()
    # Which depth suits a task is unknown, so a few are tried; a set, since in a small model two of
    # these positions may be one.
    positions = {0, len(names) // 2, len(names) - 1}
    targets = []
    for position in sorted(positions):
        targets.append(names[position])
    return targets


class MovedWeight(nn.Module):
    """Parametrization of a frozen weight that is moved along d directions of its own shape."""

    def __init__(self, numbers: nn.Parameter, directions: Tensor) -> None:
        """Take the numbers [d], which all weights share, and this weight's directions [d, ...]."""
        super().__init__()
        self.numbers = numbers
        self.directions = directions

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, moved."""
        # The numbers are in float32 even where the model is in bfloat16: Adam's steps are small.
        numbers = self.numbers.to(self.directions.dtype)
        # W + sum over k of z_k D_k
        return weight + torch.tensordot(numbers, self.directions, 1)


class WeightPlace(NamedTuple):
    """Where a weight stands in a model; one weight may stand in several places."""

    module: nn.Module
    name: str
    weight: nn.Parameter


@contextmanager
def random_directions(backbone: Backbone, dim: int, seed: int) -> Iterator[list[nn.Parameter]]:
    """Move every weight of the model along random directions; then restore the model.

    Yields the numbers [dim], at 0, as the one trained parameter. A direction is normal noise of
    the root mean square of each weight's tensor, so that one rate suits tensors of all sizes.
    """
    numbers = nn.Parameter(torch.zeros(dim, device=backbone.device))
    generator = torch.Generator(backbone.device).manual_seed(seed)
    places = _weight_places(backbone.model)
    # By the weight's id: modules that share a weight share its directions too.
    moved_weights: dict[int, MovedWeight] = {}
    try:
        for module, name, weight in places:
            if id(weight) not in moved_weights:
                shape = (dim, *weight.shape)
                noise = torch.randn(*shape, generator=generator, device=weight.device)
                size = weight.square().mean().sqrt()  # root mean square
                directions = (noise * size).to(weight.dtype)
                moved_weights[id(weight)] = MovedWeight(numbers, directions)
            register_parametrization(module, name, moved_weights[id(weight)])
        yield [numbers]
    finally:
        # After an error some weights were not reached yet.
        for module, name, _ in places:
            if is_parametrized(module, name):
                remove_parametrizations(module, name, leave_parametrized=False)


def _weight_places(model: nn.Module) -> list[WeightPlace]:
    """List every place of every weight, before any is moved."""
    places = []
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            places.append(WeightPlace(module, name, weight))
    return places
