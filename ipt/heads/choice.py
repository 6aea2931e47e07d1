"""One of a row's own options, by a score for each: a linear layer or an MLP on its pooled states.

    loss of a row = -log softmax(scores over its options)[the right one]

Each option is read behind the row's text (P-Tuning v2 reads COPA so).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder
from ipt.config import setting
from ipt.data import Example, Task
from ipt.heads.states import (
    HeadRow,
    OneOf,
    Pooling,
    first_of,
    pooled,
    pooling_of,
)

# A score is one number.
SCORE = 1


@dataclass(frozen=True)
class ChoiceRow(HeadRow):
    """The options of a row, each behind its text."""

    choices: tuple[Encoded, ...] = ()

    @property
    def input_tokens(self) -> int:
        return len(self.choices) * max(len(choice.input_ids) for choice in self.choices)

    def may_be_cut(self, longest_input: int) -> bool:
        return any(choice.may_be_cut(longest_input) for choice in self.choices)


@dataclass(frozen=True)
class Choice(OneOf):
    """A score for each option of a row."""

    name: ClassVar[str] = "choice"
    categories: ClassVar[tuple[str, ...]] = ("choice",)

    pooling: Pooling = setting("auto", "where an option is read, as of --head classification")

    def classes(self, task: Task) -> int:
        return SCORE

    def typical(self, row: Encoded) -> Encoded:
        return ChoiceRow((), (0,), SCORE, choices=(row, row))

    def sequences(self, row: Encoded) -> Sequence[Encoded]:
        return cast(ChoiceRow, row).choices

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        rows: list[Encoded] = []
        for example in examples:
            choices = []
            for choice in example.choices:
                piece = cast(Encoder, backbone).piece(example.input, choice)
                choices.append(Encoded(piece.input_ids, ()))
            right = example.choices.index(example.output[0])
            row = ChoiceRow((), (right,), SCORE, example.choices, tuple(choices))
            rows.append(row)
        return rows

    def read(self, backbone: Encoder, row: Encoded, states: Sequence[Tensor]) -> Tensor:
        pooling = pooling_of(backbone, self.pooling)
        return torch.stack([pooled(of_choice, pooling) for of_choice in states])[None]

    def scores(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        scores = self.logits(features, weights)[..., 0]
        counts = [len(self.sequences(row)) for row in rows]
        return scores, first_of(counts, scores.shape[1], scores.device)
