"""LoRA (Hu et al. 2022, arXiv 2106.09685): a difference of low rank beside a linear layer.

    y = W x + (alpha / r) B A x,   A [r, in], B [out, r]

Trained: A and B of each chosen layer, or B alone; a delta is then linear in its numbers, which
an average of deltas keeps. Frozen: W.

Published: rank 8, alpha 8 and no dropout (PEFT), query and value; A from U(-1 / sqrt(in), ...)
(Kaiming with a = sqrt(5)), B 0. Gauge freedom: (G A, B G^-1) is the same difference for every
invertible G, so deltas of two jobs can be averaged only where they began at one start, as ours do.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import changed_outputs
from ipt.backbones.sites import Linear
from ipt.config import setting
from ipt.tuners.places import AtLinears

# Of the A that is frozen: it is the same in every run, as a model's weights are.
FROZEN_SEED = 0


@dataclass(frozen=True)
class LoRA(AtLinears):
    """Two thin matrices beside each chosen linear layer."""

    name: ClassVar[str] = "lora"
    learning_rates: ClassVar[tuple[float, ...]] = (0.003, 0.01)

    rank: int = setting(8, "rank of the difference, r", "PEFT")
    alpha: float = setting(8.0, "the difference is scaled by alpha / r", "PEFT")
    targets: tuple[str, ...] = setting(
        ("query", "value"),
        "query, key, value, output, up, down, or last parts of modules' names as in PEFT",
        "paper, section 4.2",
    )
    layers: tuple[int, ...] = setting((), "numbers of the layers that have one, from 0; all")
    matrices: Literal["both", "b"] = setting(
        "both",
        "what is trained; with b alone, A is random and the same for all jobs",
    )

    def check(self) -> None:
        self.require_positive("rank", "alpha")
        self.require_choices("matrices", ("both", "b"))

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for linear in self.linears(backbone):
            if self.matrices == "both":
                shapes[f"{linear.name}.A"] = (self.rank, linear.inputs)
            shapes[f"{linear.name}.B"] = (linear.outputs, self.rank)
        return shapes

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        parts = []
        for name, shape in self.shapes(backbone).items():
            part = torch.zeros(shape)
            if name.endswith(".A"):
                part = _uniform(shape, generator)
            parts.append(part.flatten())
        return torch.cat(parts).to(backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        changes = []
        for linear, down, up in self.low_rank(backbone, deltas[owner]):
            changes.append((linear.module, partial(self._add, down, up)))
        with changed_outputs(changes):
            yield

    def low_rank(self, backbone: Backbone, deltas: Tensor) -> list[tuple[Linear, Tensor, Tensor]]:
        """Return A [U, r, in] and B [U, out, r] of deltas [U, P], at each linear layer.

        A that is frozen is [1, r, in].
        """
        parts = self.parts(backbone, deltas)
        # Frozen matrices follow each other in one generator's numbers.
        generator = torch.Generator().manual_seed(FROZEN_SEED)
        found = []
        for linear in self.linears(backbone):
            up = parts[f"{linear.name}.B"]
            if self.matrices == "both":
                down = parts[f"{linear.name}.A"]
            else:
                down = _uniform((1, self.rank, linear.inputs), generator).to(up)
            found.append((linear, down, up))
        return found

    def _add(self, down: Tensor, up: Tensor, inputs: Tensor, output: Tensor) -> Tensor:
        """Return output + (alpha / r) B A inputs, of each row its own."""
        low = inputs @ down.to(inputs.dtype).mT  # [B, L, r]
        difference = low @ up.to(inputs.dtype).mT
        return output + (self.alpha / self.rank) * difference


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Return numbers from U(-1 / sqrt(in), 1 / sqrt(in)): torch's start of a linear layer."""
    bound = 1 / math.sqrt(shape[-1])
    return (2 * torch.rand(shape, generator=generator) - 1) * bound
