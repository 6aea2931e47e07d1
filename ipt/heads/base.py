"""What a head must say: a task's rows, the loss of each, and what is predicted for it.

It reads a backbone inside `Tuner.applied`, so that each row has run under its own job's delta. A
head may have numbers of its own: one flat vector for each job, trained beside its delta, and as
long as the job's task has classes. They are no part of a subspace.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, cast, get_args, get_origin

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.config import changed_settings_of, tuner_text
from ipt.data import Example, Task


@dataclass(frozen=True)
class Prediction:
    """An answer in words, and the likeliest of the task's options where there are some."""

    # No tensor: predictions of several batches and processes are collected and compared.

    text: str
    option: int | None = None  # its number among the options
    span: tuple[int, int] | None = None  # [start, end) in characters, of a part of the context


class Head(ABC):
    """What turns a backbone's outputs into a loss and into predictions."""

    # Its key in `HEADS`.
    name: ClassVar[str]

    # Whether it reads hidden states, of a backbone without its language-model head (`Encoder`).
    reads_states: ClassVar[bool] = True

    # Kinds of tasks that it has an answer for (`Task.category`).
    categories: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        """Raise ValueError, naming the setting, for a value that is impossible."""
        for field in fields(cast(Any, self)):
            choices = get_args(field.type)
            value = getattr(self, field.name)
            if get_origin(field.type) is Literal and value not in choices:
                raise ValueError(
                    f"--head {self.name}: {field.name} must be of {', '.join(choices)}, found "
                    f"{value!r}"
                )
        self.check()

    # Not abstract: many have nothing to check.
    def check(self) -> None:  # noqa: B027
        """Raise ValueError, naming the setting, for a value that the head cannot have."""

    def of_task(self, task: Task) -> "Head":
        """Return the head that answers a task: itself, where it is no choice among several."""
        return self

    # --- its numbers

    def classes(self, task: Task) -> int:
        """Return how many classes the numbers of a task's head are for."""
        return 0

    def size(self, backbone: Backbone, classes: int) -> int:
        """Return H, the numbers of one job's head."""
        return 0

    def initialize(
        self,
        backbone: Backbone,
        classes: int,
        generator: torch.Generator,
    ) -> Tensor:
        """Return the numbers [H] that training starts from."""
        return torch.zeros(0, device=backbone.device)

    # --- its rows

    @abstractmethod
    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        """Return the examples' tokens, with what the head needs to know of each."""

    def encode_options(self, backbone: Backbone, task: Task) -> list[Encoded]:
        """Return the answers that are ranked; none where the head predicts without."""
        return []

    def sequences(self, row: Encoded) -> Sequence[Encoded]:
        """Return the inputs that the backbone reads for a row."""
        return [row]

    def inputs(self, rows: Sequence[Encoded]) -> list[Encoded]:
        """Return what the backbone reads for these rows, in order."""
        inputs: list[Encoded] = []
        for row in rows:
            inputs += self.sequences(row)
        return inputs

    def classes_of(self, row: Encoded) -> int:
        """Return how many classes the numbers of a row's head are for."""
        return 0

    # A speed is measured with it, before the rows are known.
    def typical(self, row: Encoded) -> Encoded:
        """Return a row of the head that is as long as this one."""
        return row

    # --- its answers

    @abstractmethod
    def losses(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Return [B] nats, summed over each row's targets.

        smoothing: share of the target that is spread evenly over all classes.
        weights: [B, H] the numbers of each row's head, those of fewer classes filled up.
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
        weights: Tensor | None = None,
    ) -> list[Prediction]:
        """Return what is predicted for each row.

        max_tokens: of an answer in words.
        options: where given, the likeliest of them is predicted as well.
        weights: as of `losses`.
        """

    # --- its name

    @property
    def description(self) -> str:
        """Return its name and settings, as `--head` takes them."""
        return tuner_text(self.name, asdict(cast(Any, self)))

    @property
    def label(self) -> str:
        """Return its name with the settings that are not the defaults."""
        return tuner_text(self.name, changed_settings_of(self))

    def require(self, tasks: Sequence[Task]) -> None:
        """Raise ValueError where it has no answer for a task."""
        for task in tasks:
            if task.category not in self.categories:
                kinds = " and ".join(self.categories)
                raise ValueError(
                    f"--head {self.name} is for tasks of the kind {kinds}, {task.name} is of the "
                    f"kind {task.category}; choose other tasks, or --head by-kind"
                )
