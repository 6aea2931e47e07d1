"""What a way of tuning must say: its numbers, where they start, and how they act in the backbone.

All numbers that one job tunes are one flat delta [P]; the loop, the subspace, mixtures, controls
and the bank know nothing else of a tuner. Its settings are the fields of its own frozen dataclass.
"""

import math
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import fields
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ipt.backbones.base import Backbone


class Tuner(ABC):
    """What is tuned for one job, and where it acts in the frozen backbone."""

    name: ClassVar[str]
    """What `--tuner` calls it: its key in `TUNERS`."""

    rescales: ClassVar[bool] = True
    """Whether a subspace shifts and scales each part: numbers far below 1 are lost otherwise."""

    @abstractmethod
    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        """Return the named parts of a delta, in order; their sizes add up to P."""

    @abstractmethod
    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        """Return the delta [P] that training starts from."""

    @abstractmethod
    def applied(
        self,
        backbone: Backbone,
        deltas: Tensor,
        owner: Tensor,
    ) -> AbstractContextManager[None]:
        """Let row b run under deltas[owner[b]].

        deltas: [U, P], differentiable.
        owner: [B] index of each row's delta; the batches inside the context have these B rows.
        """

    @property
    def description(self) -> str:
        """Return its name and settings, as `--tuner` takes them."""
        settings = []
        for field in fields(cast(Any, self)):
            value = getattr(self, field.name)
            if isinstance(value, tuple):
                value = "+".join(map(str, value))
            settings.append(f"{field.name}={value}")
        return self.name + (f":{','.join(settings)}" if settings else "")

    @property
    def added_tokens(self) -> int:
        """Return how many positions it takes of each row's input."""
        return 0

    def size(self, backbone: Backbone) -> int:
        """Return P, the numbers of one job."""
        return sum(math.prod(shape) for shape in self.shapes(backbone).values())

    def parts(self, backbone: Backbone, deltas: Tensor) -> dict[str, Tensor]:
        """Return the named parts of deltas [..., P], each [..., *shape]."""
        shapes = self.shapes(backbone)
        sizes = [math.prod(shape) for shape in shapes.values()]
        pieces = deltas.split(sizes, dim=-1)
        parts = {}
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True):
            parts[name] = piece.unflatten(-1, shape)
        return parts
