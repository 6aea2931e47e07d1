"""What a way of tuning must say: its numbers, where they start, and how they act in the backbone.

All numbers that one job tunes are one flat delta [P]; the loop, the subspace, mixtures, controls
and the bank know nothing else of a tuner. Its settings are the fields of its own frozen dataclass.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.config import (
    MOST_AT_ONCE,
    changed_settings_of,
    numbers_of,
    require_named_number,
    tuner_text,
)
from ipt.tuners.reparameterization import Reparameterization


class Tuner(ABC):
    """What is tuned for one job, and where it acts in the frozen backbone."""

    # What `--tuner` calls it: its key in `TUNERS`.
    name: ClassVar[str]

    # Learning rates for the embedded model, the best first (LOG.md): numbers of each kind have
    # another size.
    learning_rates: ClassVar[tuple[float, ...]] = (0.01,)

    # Whether rows of several jobs may share a pass; where not, a batch is read job by job.
    mixes_rows: ClassVar[bool] = True

    # Whether a subspace shifts and scales each part: numbers far below 1 are lost otherwise.
    rescales: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, for a number that is impossible."""
        # Every number first, so that a tuner's own checks compare numbers only. Whole ones are
        # sizes of what is made at once.
        numbers = numbers_of(self, MOST_AT_ONCE)
        for name, value, kind, most in numbers:
            require_named_number(f"--tuner {self.name}: {name}", value, kind, most)
        self.check()
        for name, value, _, _ in numbers:
            if value < 0:
                raise ValueError(
                    f"--tuner {self.name}: {name} must not be negative, found {value}"
                )

    # Not abstract: many have nothing to check.
    def check(self) -> None:  # noqa: B027
        """Raise ValueError, naming the setting, for a value that the tuner cannot have."""

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

    def reparameterization(self, backbone: Backbone) -> Reparameterization | None:
        """Return the network that is trained in the place of a delta; None: the delta itself."""
        return None

    # What lies below is computed once for each row (`Model.keeping`).
    def lowest(self, backbone: Backbone) -> int:
        """Return the first block, in running order, that the numbers change; 0 may be all."""
        return 0

    @property
    def description(self) -> str:
        """Return its name and settings, as `--tuner` takes them."""
        return tuner_text(self.name, asdict(cast(Any, self)))

    @property
    def label(self) -> str:
        """Return its name with the settings that are not the defaults, as `--tuner` takes them."""
        return tuner_text(self.name, changed_settings_of(self))

    # Counted in every batch's budget, and against a model's fixed number of positions.
    @property
    def added_tokens(self) -> int:
        """Return how many positions it takes of each row's input."""
        return 0

    def require_positive(self, *names: str) -> None:
        """Raise ValueError, naming the setting, where one of these fields is not above 0."""
        for name in names:
            value = getattr(self, name)
            if value <= 0:
                raise ValueError(f"--tuner {self.name}: {name} must be above 0, found {value}")

    def require_choices(self, name: str, choices: Sequence[str]) -> None:
        """Raise ValueError where a field, or one of its values, is none of the choices."""
        found = getattr(self, name)
        values = found if isinstance(found, tuple) else (found,)
        for value in values or ("nothing",):
            if value not in choices:
                raise ValueError(
                    f"--tuner {self.name}: {name} must be of {', '.join(choices)}, found {value!r}"
                )

    # Of one job: with J jobs, J x P numbers are trained.
    def size(self, backbone: Backbone) -> int:
        """Return P, the numbers of one job."""
        size = 0
        for shape in self.shapes(backbone).values():
            size += math.prod(shape)
        return size

    def parts(self, backbone: Backbone, deltas: Tensor) -> dict[str, Tensor]:
        """Return the named parts of deltas [..., P], each [..., *shape]."""
        shapes = self.shapes(backbone)
        sizes = []
        for shape in shapes.values():
            sizes.append(math.prod(shape))
        # Views, not copies: what flows back to a part arrives in the delta itself.
        pieces = deltas.split(sizes, dim=-1)
        parts = {}
        named_shapes = shapes.items()
        for (name, shape), piece in zip(named_shapes, pieces, strict=True):
            parts[name] = piece.unflatten(-1, shape)
        return parts
