"""Side-tuning (Zhang et al. 2020, arXiv 1912.13503): a small network beside the frozen one.

    hidden = s B(x) + (1 - s) S(x),   s = sigmoid(a)
    S(x) = W2 gelu(W1 x + b1) + b2, of each place its own,   x the input of the first layer

B is the stack that reads the input, up to its last layer. Trained: S and one number a.

Published: a starts at 0 and has no weight decay; S is copied or distilled from B. Here W2 starts at
0, so that the hidden states start at half of the bare ones.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import changed_inputs, changed_outputs
from ipt.backbones.sites import Block
from ipt.config import setting
from ipt.tuners.base import Tuner


@dataclass(frozen=True)
class Side(Tuner):
    """Two layers beside all of the backbone's, and how much each counts."""

    name: ClassVar[str] = "side"
    learning_rates: ClassVar[tuple[float, ...]] = (0.01, 0.03)

    width: int = setting(64, "hidden units of the side network", "not searched")

    def check(self) -> None:
        self.require_positive("width")

    def blocks(self, backbone: Backbone) -> list[Block]:
        """Return the layers of the stack that reads the input."""
        sites = backbone.sites
        stack = "encoder" if sites.depth("encoder") else "decoder"
        return [block for block in sites.blocks if block.stack == stack]

    # It reads the first layer's input and changes the last one's output: none in between.
    def lowest(self, backbone: Backbone) -> int:
        return len(self.blocks(backbone))

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        size = backbone.hidden_size
        return {
            "first.weight": (self.width, size),
            "first.bias": (self.width,),
            "second.weight": (size, self.width),
            "second.bias": (size,),
            "blend": (1,),
        }

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        parts = []
        bound = 1 / math.sqrt(backbone.hidden_size)
        for name, shape in self.shapes(backbone).items():
            part = torch.zeros(shape)
            if name == "first.weight":
                part = (2 * torch.rand(shape, generator=generator) - 1) * bound
            parts.append(part.flatten())
        return torch.cat(parts).to(backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        part = self.parts(backbone, deltas[owner])
        first, *_, last = self.blocks(backbone) * 2
        entered: list[Tensor] = []

        def keep(hidden: Tensor) -> Tensor:
            entered[:] = [hidden]
            return hidden

        def blend(inputs: Tensor, output: Tensor) -> Tensor:
            x = entered.pop().to(part["first.weight"].dtype)
            hidden = x @ part["first.weight"].mT + part["first.bias"].unsqueeze(1)
            hidden = nn.functional.gelu(hidden)
            side = hidden @ part["second.weight"].mT + part["second.bias"].unsqueeze(1)
            share = part["blend"].sigmoid().unsqueeze(1)  # [B, 1, 1]
            blended = share * output + (1 - share) * side
            return blended.to(output.dtype)

        with changed_inputs([(first.module, keep)]), changed_outputs([(last.module, blend)]):
            yield
