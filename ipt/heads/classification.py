"""One label a text, by a linear layer or an MLP on its pooled states.

    loss of a row = -log softmax(logits)[its label]

On [CLS] this is P-Tuning v2's classifier without BERT's pooler, which is a frozen random layer in
checkpoints that lack it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder
from ipt.config import setting
from ipt.data import Example, Task
from ipt.heads.states import (
    TYPICAL_CLASSES,
    HeadRow,
    OneOf,
    Pooling,
    first_of,
    pooled,
    pooling_of,
    require_options,
)


@dataclass(frozen=True)
class ClassRow(HeadRow):
    """A text with its label."""


@dataclass(frozen=True)
class Classification(OneOf):
    """A label of the task's options for each text."""

    name: ClassVar[str] = "classification"
    categories: ClassVar[tuple[str, ...]] = ("cls",)

    pooling: Pooling = setting(
        "auto",
        "where a text is read: its first place, its last, or the mean; auto: the first where the "
        "tokenizer begins texts with a sign, the last of a causal model, else the mean",
    )

    def classes(self, task: Task) -> int:
        return len(require_options(task, self.name))

    def typical(self, row: Encoded) -> Encoded:
        return ClassRow(row.input_ids, (0,), TYPICAL_CLASSES)

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        options = require_options(task, self.name)
        rows: list[Encoded] = []
        for example in examples:
            texts = example.input, example.query, example.context
            input_ids = cast(Encoder, backbone).text_ids(*texts)
            label = options.index(example.output[0])
            rows.append(ClassRow(input_ids, (label,), len(options), options))
        return rows

    def read(self, backbone: Encoder, row: Encoded, states: Sequence[Tensor]) -> Tensor:
        return pooled(states[0], pooling_of(backbone, self.pooling))[None, None]

    def scores(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(features, weights).squeeze(1)
        counts = [self.classes_of(row) for row in rows]
        return logits, first_of(counts, logits.shape[1], logits.device)
