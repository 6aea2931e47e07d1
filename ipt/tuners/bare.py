"""Nothing: the backbone as it was trained, in the place of a tuner."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.tuners.base import Tuner


@dataclass(frozen=True)
class Bare(Tuner):
    """P = 0: for the floor of a task, and for methods that change the weights themselves."""

    name: ClassVar[str] = "bare"

    # No part, so deltas are [U, 0]: the loop needs no second path for a model without a tuner.
    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        return {}

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        return torch.zeros(0, device=backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        # Nothing to put in place, and nothing to take away.
        yield
