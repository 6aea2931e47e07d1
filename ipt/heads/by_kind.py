"""The head that fits each task: a label, tags, a span, or one of a row's own options.

So that one command tunes tasks of all kinds, as those of SuperGLUE, in one stacked batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder
from ipt.config import setting
from ipt.data import Example, Task
from ipt.heads.base import Prediction
from ipt.heads.choice import Choice, ChoiceRow
from ipt.heads.classification import Classification, ClassRow
from ipt.heads.span import Span, SpanRow, check_stride
from ipt.heads.states import Pooling, StatesHead
from ipt.heads.tags import TagRow, Tags

# Which kind of task a row is of.
KINDS: dict[type[Encoded], str] = {
    ClassRow: "cls",
    TagRow: "tags",
    SpanRow: "span",
    ChoiceRow: "choice",
}


@dataclass(frozen=True)
class ByKind(StatesHead):
    """Classification, tags, span or choice, by the kind of the task."""

    name: ClassVar[str] = "by-kind"
    categories: ClassVar[tuple[str, ...]] = ("cls", "tags", "span", "choice")

    pooling: Pooling = setting("auto", "where labels and options are read")
    stride: int = setting(64, "tokens that a window of a long text shares with the next")

    def check(self) -> None:
        super().check()
        check_stride(self.name, self.stride)

    @cached_property
    def _heads(self) -> dict[str, StatesHead]:
        """The head of each kind of task."""
        return {
            "cls": Classification(self.layers, self.pooling),
            "tags": Tags(self.layers),
            "span": Span(self.layers, self.stride),
            "choice": Choice(self.layers, self.pooling),
        }

    def of_task(self, task: Task) -> StatesHead:
        return self._heads[task.category]

    def _of_row(self, row: Encoded) -> StatesHead:
        return self._heads[KINDS[type(row)]]

    def classes(self, task: Task) -> int:
        return self.of_task(task).classes(task)

    def typical(self, row: Encoded) -> Encoded:
        return self._heads["cls"].typical(row)

    def sequences(self, row: Encoded) -> Sequence[Encoded]:
        return self._of_row(row).sequences(row)

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        return self.of_task(task).encode(backbone, task, examples)

    def target_count(self, row: Encoded) -> int:
        return self._of_row(row).target_count(row)

    def read(self, backbone: Encoder, row: Encoded, states: Sequence[Tensor]) -> Tensor:
        return self._of_row(row).read(backbone, row, states)

    def losses_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        losses = []
        order: list[int] = []
        for places in self._by_kind(rows):
            own_rows = [rows[i] for i in places]
            own = [features[i] for i in places]
            head = self._of_row(own_rows[0])
            losses.append(head.losses_of(own, own_rows, weights[places], smoothing))
            order += places
        places_of_rows = torch.tensor(order, device=weights.device)
        return torch.cat(losses)[places_of_rows.argsort()]

    def answers_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> list[Prediction]:
        found: dict[int, Prediction] = {}
        for places in self._by_kind(rows):
            own_rows = [rows[i] for i in places]
            own = [features[i] for i in places]
            answers = self._of_row(own_rows[0]).answers_of(own, own_rows, weights[places])
            found.update(zip(places, answers, strict=True))
        return [found[i] for i in range(len(rows))]

    def _by_kind(self, rows: Sequence[Encoded]) -> list[list[int]]:
        """Return the places of the rows of each kind."""
        places: dict[type[Encoded], list[int]] = {}
        for place, row in enumerate(rows):
            places.setdefault(type(row), []).append(place)
        return list(places.values())
