"""Fine-tuning: differences from the pre-trained weights themselves, of all of them or some.

    W_job = W + delta

Trained: all parameters (`full`), or those of the last k blocks (`partial-k`); tied weights are one.
Rows of a pass must be of one job: a batch is read job by job.

Published: rates 1e-5 to 5e-5 for full fine-tuning (CrossFit's grid); `--top_layers 1` in
Prefix-Tuning's code.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import replaced_weights
from ipt.config import setting
from ipt.tuners.base import Tuner


class FineTuning(Tuner):
    """Differences of whole weights."""

    mixes_rows: ClassVar[bool] = False

    @abstractmethod
    def prefixes(self, backbone: Backbone) -> list[str]:
        """Return how the names of the tuned parameters begin."""

    def tuned(self, backbone: Backbone) -> dict[str, nn.Parameter]:
        """Return the tuned parameters by name, each once."""
        prefixes = tuple(self.prefixes(backbone))
        found = {}
        for name, parameter in backbone.model.named_parameters():
            if name.startswith(prefixes):
                found[name] = parameter
        return found

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        parameters = self.tuned(backbone)
        return {name: tuple(parameter.shape) for name, parameter in parameters.items()}

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        return torch.zeros(self.size(backbone), device=backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        jobs = owner.unique()
        if len(jobs) != 1:
            raise ValueError(f"rows of one delta were expected in a pass, found {len(jobs)}")
        parts = self.parts(backbone, deltas[jobs[0]])
        changed = {}
        for name, parameter in self.tuned(backbone).items():
            # Summed before it is rounded to a half-precision model's type.
            total = parameter + parts[name]
            changed[id(parameter)] = total.to(parameter.dtype)
        values = []
        for module in backbone.model.modules():
            for name, weight in module._parameters.items():
                if id(weight) in changed:
                    values.append((module, name, changed[id(weight)]))
        with replaced_weights(values):
            yield


@dataclass(frozen=True)
class Full(FineTuning):
    """All parameters."""

    name: ClassVar[str] = "full"
    learning_rates: ClassVar[tuple[float, ...]] = (0.0003, 0.001)

    def prefixes(self, backbone: Backbone) -> list[str]:
        return [""]


@dataclass(frozen=True)
class PartialK(FineTuning):
    """The last k blocks; of an encoder-decoder those of the decoder."""

    name: ClassVar[str] = "partial-k"
    learning_rates: ClassVar[tuple[float, ...]] = (0.001, 0.0003)

    k: int = setting(1, "how many of the last blocks are tuned", "Prefix-Tuning's code")

    def check(self) -> None:
        self.require_positive("k")

    def prefixes(self, backbone: Backbone) -> list[str]:
        sites = backbone.sites
        stack = "decoder" if sites.depth("decoder") else "encoder"
        names = [block.name for block in sites.blocks if block.stack == stack]
        if self.k > len(names):
            raise ValueError(
                f"--tuner partial-k: k must be at most {len(names)}, the blocks of the {stack} of "
                f"{backbone.name}, found {self.k}"
            )
        return [f"{name}." for name in names[-self.k :]]

    def lowest(self, backbone: Backbone) -> int:
        return len(backbone.sites.blocks) - self.k
