"""IA3 (Liu et al. 2022, arXiv 2205.05638): keys, values and inner activations are rescaled.

    key, value:  y = (1 + l) W x        down projection:  y = W ((1 + l) x)

Trained: one factor's difference from 1 for each number that is rescaled; 0 is the bare model.

Published: rate 3e-3 (google-research/prompt-tuning, "from the paper"). Where query, key and value
are one layer (GPT-2), all of it is rescaled, as in PEFT.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import changed_inputs, changed_outputs
from ipt.config import setting
from ipt.tuners.places import AtLinears


@dataclass(frozen=True)
class IA3(AtLinears):
    """A vector of factors at each chosen linear layer."""

    name: ClassVar[str] = "ia3"
    learning_rates: ClassVar[tuple[float, ...]] = (0.03, 0.1)

    targets: tuple[str, ...] = setting(
        ("key", "value", "down"),
        "linear layers whose output is rescaled; of down projections the input",
        "paper, section 3.3",
    )
    layers: tuple[int, ...] = setting((), "numbers of the layers that have one, from 0; all")

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for linear in self.linears(backbone):
            is_down = "down" in linear.roles
            shapes[linear.name] = (linear.inputs if is_down else linear.outputs,)
        return shapes

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        return torch.zeros(self.size(backbone), device=backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        parts = self.parts(backbone, deltas[owner])
        of_inputs = []
        of_outputs = []
        for linear in self.linears(backbone):
            factor = 1 + parts[linear.name].unsqueeze(1)  # [B, 1, numbers]
            if "down" in linear.roles:
                of_inputs.append((linear.module, partial(_scale, factor)))
            else:
                of_outputs.append((linear.module, partial(_scale_output, factor)))
        with changed_inputs(of_inputs), changed_outputs(of_outputs):
            yield


def _scale(factor: Tensor, hidden: Tensor) -> Tensor:
    return hidden * factor.to(hidden.dtype)


def _scale_output(factor: Tensor, inputs: Tensor, output: Tensor) -> Tensor:
    return _scale(factor, output)
