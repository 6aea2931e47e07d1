"""Labels by what they mean: no numbers of its own, and new labels work at once.

    score of an option = scale cos(mean of the input's states, mean of the option's own states)
    loss of a row = -log softmax(scores)[its label]

For sentence transformers, whose cosines mean something before any training; the options' vectors
are those of the frozen model. The scale is that of their own loss (MultipleNegativesRankingLoss).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder
from ipt.config import setting
from ipt.data import Example, Task
from ipt.heads.base import Head, Prediction
from ipt.heads.states import HeadRow, class_nll, require_options


@dataclass(frozen=True)
class EmbeddingRow(HeadRow):
    """A text with its label, and the vectors of all labels."""

    # [C, h], of length 1: the same tensor for all rows of a task.
    vectors: Tensor | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class LabelEmbedding(Head):
    """The option whose text is nearest to the input."""

    name: ClassVar[str] = "label-embedding"
    categories: ClassVar[tuple[str, ...]] = ("cls",)

    scale: float = setting(20.0, "what cosines are multiplied by", "sentence-transformers' own")
    texts: Literal["labels", "definitions"] = setting(
        "labels",
        "what an option's vector is of: its label, or the task's definition before the label",
        "not searched",
    )

    def check(self) -> None:
        if not 0 < self.scale < math.inf:
            raise ValueError(
                f"--head label-embedding: scale must be a finite number above 0, found {self.scale}"
            )

    def typical(self, row: Encoded) -> Encoded:
        return EmbeddingRow(row.input_ids, (0,))

    @torch.no_grad()
    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        options = require_options(task, self.name)
        encoder = cast(Encoder, backbone)
        texts = [self._text(task, option) for option in options]
        read = [Encoded(tuple(backbone.input_ids(text)), ()) for text in texts]
        vectors = self._vectors(encoder, read)
        rows: list[Encoded] = []
        for example in examples:
            input_ids = encoder.text_ids(example.input, example.query, example.context)
            label = options.index(example.output[0])
            row = EmbeddingRow(input_ids, (label,), len(options), options, vectors)
            rows.append(row)
        return rows

    def _text(self, task: Task, option: str) -> str:
        # A label such as "yes" says little without what was asked.
        if self.texts == "definitions" and task.definition:
            return f"{task.definition}: {option}"
        return option

    def losses(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        losses = []
        for row, scores in zip(rows, self._scores(backbone, rows), strict=True):
            targets = torch.tensor(row.label_ids, device=scores.device)
            allowed = torch.ones_like(scores, dtype=torch.bool)
            losses.append(class_nll(scores[None], targets, allowed[None], smoothing))
        return torch.cat(losses)

    def target_count(self, row: Encoded) -> int:
        return 1

    def predict(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded] = (),
        weights: Tensor | None = None,
    ) -> list[Prediction]:
        predictions = []
        for row, scores in zip(rows, self._scores(backbone, rows), strict=True):
            label = int(scores.argmax())
            predictions.append(Prediction(cast(HeadRow, row).labels[label], label))
        return predictions

    def _scores(self, backbone: Backbone, rows: Sequence[Encoded]) -> list[Tensor]:
        """Return the scores [C] of each row's options."""
        inputs = self._vectors(cast(Encoder, backbone), rows)
        scores = []
        for row, vector in zip(rows, inputs, strict=True):
            vectors = cast(EmbeddingRow, row).vectors
            # A typical row has no options: it is measured with itself.
            others = vector.detach()[None] if vectors is None else vectors
            scores.append(self.scale * others.to(vector) @ vector)
        return scores

    def _vectors(self, backbone: Encoder, rows: Sequence[Encoded]) -> Tensor:
        """Return the mean states [B, h] of texts, of length 1."""
        means = [states.mean(0) for states in backbone.states(rows)]
        return normalize(torch.stack(means).float(), dim=1)
