"""What a head must say: the loss of a row, and what is predicted for it.

It reads a backbone inside `Tuner.applied`, so that each row has run under its own job's delta.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ipt.backbones.base import Backbone, Encoded


@dataclass(frozen=True)
class Prediction:
    """An answer in words, and the likeliest of the task's options where there are some."""

    text: str
    option: int | None = None


class Head(ABC):
    """What turns a backbone's outputs into a loss and into predictions."""

    name: ClassVar[str]
    """Its key in `HEADS`."""

    @abstractmethod
    def losses(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return [B] nats, summed over each row's targets.

        smoothing: share of the target that is spread evenly over all classes.
        """

    @abstractmethod
    def target_count(self, row: Encoded) -> int:
        """Return how many targets a row's loss is a sum over."""

    @abstractmethod
    def predict(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded] = (),
    ) -> list[Prediction]:
        """Return what is predicted for each row.

        max_tokens: of an answer in words.
        options: where given, the likeliest of them is predicted as well.
        """
