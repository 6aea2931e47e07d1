"""The backbone's own language-model head (IPT, section 3.1).

    loss of a row = sum over its answer's tokens of -log P(token | tokens before it, prompt, input)

Predicted: a greedy answer, and where there are options the likeliest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ipt.backbones.base import Backbone, Encoded, answer_nll
from ipt.heads.base import Head, Prediction


@dataclass(frozen=True)
class LanguageModel(Head):
    """Answers are texts: their tokens' loss, greedy generation, ranking of options."""

    name: ClassVar[str] = "language-model"

    def losses(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
    ) -> Tensor:
        logits, labels = backbone.answer_logits(rows)  # [B, T, V], [B, T]
        return answer_nll(logits, labels, smoothing)

    def target_count(self, row: Encoded) -> int:
        return len(row.label_ids)

    def predict(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded] = (),
    ) -> list[Prediction]:
        if not options:
            return [Prediction(text) for text in backbone.generate(rows, max_tokens)]
        if backbone.generates:
            texts, scores = backbone.generate_and_rank(rows, max_tokens, options)
        else:
            texts = [""] * len(rows)
            scores = backbone.option_nll(rows, options)  # [B, O]
        likeliest = scores.argmin(1).tolist()
        predictions = []
        for text, option in zip(texts, likeliest, strict=True):
            predictions.append(Prediction(text, option))
        return predictions
