"""Baselines of IST."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

from ipt.backbones.base import Backbone
from ipt.config import IstConfig
from ipt.encoded import EncodedTask
from ipt.training.evaluate import score_deltas
from ipt.training.loop import Job, row_losses, take_rows
from ipt.training.optimizer import rate_factor
from ipt.training.sweep import stack

LORA_RATES = (0.01, 0.03, 0.1)


DIRECTION_RATES = (0.003, 0.01, 0.03)  # a number of 1 moves a weight by its own root mean square


Note = Callable[[str, float], None]  # a job's name and its dev loss


@contextmanager
def adapter(backbone: Backbone, place: str) -> Iterator[list[nn.Parameter]]:
    """Put a LoRA adapter of rank 1 on the module of this name and yield its weights; the model is left as it was."""
    from peft import LoraConfig, get_peft_model

    model: Any = get_peft_model(backbone.model, LoraConfig(r=1, lora_alpha=1, target_modules=[place])).eval()
    try:
        yield [p for p in model.parameters() if p.requires_grad]
    finally:
        model.unload()


def adapter_places(backbone: Backbone) -> list[str]:
    """Return the first, the middle and the last of the modules that PEFT adapts in such a model by default."""
    from peft import LoraConfig, get_peft_model

    probe: Any = get_peft_model(backbone.model, LoraConfig(r=1))
    found = [name.removeprefix("base_model.model.") for name, module in probe.named_modules() if hasattr(module, "lora_A")]
    probe.unload()
    return [found[i] for i in sorted({0, len(found) // 2, len(found) - 1})]


class Moved(nn.Module):
    """A frozen weight moved along d directions [d, ...] of its shape, by numbers [d] that all weights share."""

    def __init__(self, numbers: nn.Parameter, directions: Tensor) -> None:
        super().__init__()
        self.numbers, self.directions = numbers, directions

    def forward(self, weight: Tensor) -> Tensor:
        return weight + torch.tensordot(self.numbers.to(self.directions.dtype), self.directions, 1)


@contextmanager
def all_weights(backbone: Backbone, dim: int, seed: int) -> Iterator[list[nn.Parameter]]:
    """Let `dim` numbers move every weight of the model along random directions, and yield them; the model is left as it was.

    A direction is normal noise of the root mean square of each weight's tensor, one direction where modules share a weight.
    """
    numbers = nn.Parameter(torch.zeros(dim, device=backbone.device))
    generator = torch.Generator(backbone.device).manual_seed(seed)
    drawn: dict[int, Moved] = {}
    places = [(module, name, p) for module in backbone.model.modules() for name, p in module.named_parameters(recurse=False)]
    try:
        for module, name, p in places:
            if id(p) not in drawn:
                noise = torch.randn(dim, *p.shape, generator=generator, device=p.device)
                drawn[id(p)] = Moved(numbers, (noise * p.square().mean().sqrt()).to(p.dtype))
            register_parametrization(module, name, drawn[id(p)])
        yield [numbers]
    finally:
        for module, name, _ in places:
            if is_parametrized(module, name):
                remove_parametrizations(module, name, leave_parametrized=False)


Tried = Sequence[tuple[Callable[[], AbstractContextManager[list[nn.Parameter]]], float]]  # what to train, and its learning rate


def tune_models(backbone: Backbone, data: Sequence[EncodedTask], tried: Tried, config: IstConfig, seed: int, note: Note) -> tuple[float, int]:
    """Return the mean test score of the best of what is tried for each task by dev loss, without a prompt, and its trained numbers."""
    empty = torch.zeros(1, 0, backbone.hidden_size, device=backbone.device)
    scores, numbers = [], 0
    for d, job in zip(data, stack(data, (1.0,), config, seed), strict=True):
        found = []
        for attach, rate in tried:
            torch.manual_seed(seed)
            with attach() as weights:
                numbers = sum(p.numel() for p in weights)
                loss = _adapt(backbone, weights, job, rate, config, note)
                found.append((loss, score_deltas(backbone, empty, [d], rank=False)[0].generated))
        scores.append(min(found, key=lambda pair: pair[0])[1])
    return sum(scores) / len(scores), numbers


def lora(backbone: Backbone, data: Sequence[EncodedTask], config: IstConfig, seed: int, note: Note) -> tuple[float, int]:
    """Tune an adapter for each task, at `adapter_places` with each of `LORA_RATES`; returns as `tune_models`."""
    tried = [(partial(adapter, backbone, place), rate) for place in adapter_places(backbone) for rate in LORA_RATES]
    return tune_models(backbone, data, tried, config, seed, note)


def directions(backbone: Backbone, data: Sequence[EncodedTask], dim: int, config: IstConfig, seed: int, note: Note) -> tuple[float, int]:
    """Tune `dim` numbers for each task in `all_weights`, with each of `DIRECTION_RATES`; returns as `tune_models`."""
    tried = [(partial(all_weights, backbone, dim, seed), rate) for rate in DIRECTION_RATES]
    return tune_models(backbone, data, tried, config, seed, note)


def _adapt(backbone: Backbone, weights: Sequence[nn.Parameter], job: Job, rate: float, config: IstConfig, note: Note) -> float:
    """Train an adapter in place, leave it at its best dev loss, and return that."""
    optimiser = torch.optim.Adam(weights, lr=rate)
    best, kept = float("inf"), [w.detach().clone() for w in weights]
    nothing = torch.zeros(1, 0, backbone.hidden_size, device=backbone.device)
    for step in range(config.steps):
        optimiser.param_groups[0]["lr"] = rate * float(rate_factor(torch.tensor(step), config.steps, config.warmup))
        rows = [row for _, row in take_rows(job, step)]
        optimiser.zero_grad()
        backbone.losses(nothing.expand(len(rows), -1, -1), rows).mean().backward()
        nn.utils.clip_grad_norm_(weights, config.clip)
        optimiser.step()
        if (step + 1) % config.eval_every == 0 or step + 1 == config.steps:
            loss = float(row_losses(backbone, nothing, [0] * len(job.dev), [row for _, row in job.dev], 0).mean())
            note(job.name, loss)
            if loss < best:
                best, kept = loss, [w.detach().clone() for w in weights]
    with torch.no_grad():
        for w, k in zip(weights, kept, strict=True):
            w.copy_(k)
    return best
