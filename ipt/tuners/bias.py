"""BitFit (Ben Zaken et al. 2022, arXiv 2106.10199): the biases are tuned, nothing else.

    y = W x + b + delta

Trained: differences from the model's own biases, of linear layers and normalizations below its
head. T5 and Llama have none: `at=linears` adds a vector to the output of each linear layer.

Published: rate 1e-3, 16 epochs, batch 8, clip 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import changed_outputs
from ipt.config import setting
from ipt.tuners.base import Tuner
from ipt.tuners.places import first_block, require_layers


@dataclass(frozen=True)
class Bias(Tuner):
    """A vector added to the outputs of linear layers and normalizations."""

    name: ClassVar[str] = "bias"
    learning_rates: ClassVar[tuple[float, ...]] = (0.03, 0.01)

    at: Literal["biases", "linears"] = setting(
        "biases",
        "where a vector is added: at the model's own biases, or at every linear layer",
        "paper, section 3",
    )
    layers: tuple[int, ...] = setting((), "with at=linears: numbers of the layers, from 0; all")

    def check(self) -> None:
        self.require_choices("at", ("biases", "linears"))
        if self.layers and self.at == "biases":
            raise ValueError("--tuner bias: layers are chosen with at=linears alone")

    def places(self, backbone: Backbone) -> dict[str, tuple[nn.Module, int]]:
        """Return the modules that a vector is added to, and its size, by name.

        Raises ValueError where the model has no biases.
        """
        require_layers(self.name, backbone, self.layers)
        found: dict[str, tuple[nn.Module, int]] = {}
        if self.at == "linears":
            for linear in backbone.sites.linears:
                if not self.layers or linear.layer in self.layers:
                    found[linear.name] = (linear.module, linear.outputs)
            return found
        # Below the head: a verbalizer's words must mean the same for every task.
        base = backbone.model.base_model
        for name, module in base.named_modules():
            bias = getattr(module, "bias", None)
            if isinstance(bias, nn.Parameter) and bias.dim() == 1:
                found[name] = (module, len(bias))
        if not found:
            raise ValueError(
                f"--tuner bias: {backbone.name} has no biases; --tuner bias:at=linears adds a "
                "vector to the output of every linear layer"
            )
        return found

    def lowest(self, backbone: Backbone) -> int:
        return first_block(backbone, self.places(backbone))

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        return {name: (size,) for name, (_, size) in self.places(backbone).items()}

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        return torch.zeros(self.size(backbone), device=backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        parts = self.parts(backbone, deltas[owner])
        changes = []
        for name, (module, _) in self.places(backbone).items():
            changes.append((module, partial(_add, parts[name].unsqueeze(1))))
        with changed_outputs(changes):
            yield


def _add(vector: Tensor, inputs: Tensor, output: Tensor) -> Tensor:
    return output + vector.to(output.dtype)
