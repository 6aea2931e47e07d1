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

    # No tensor: predictions of several batches and processes are collected and compared.

    text: str
    option: int | None = None  # its number among the options


class Head(ABC):
    """What turns a backbone's outputs into a loss and into predictions."""

    # Its key in `HEADS`.
    name: ClassVar[str]

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

    # Apart from the loss: the loop divides by it where a row's loss is a mean.
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
