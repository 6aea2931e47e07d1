"""The backbone's own language-model head (IPT, section 3.1).

    loss of a row = sum over its answer's tokens of -log P(token | tokens before it, prompt, input)

Predicted: a greedy answer, and where there are options the likeliest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ipt.backbones.base import Backbone, Encoded, answer_nll, not_finite
from ipt.backbones.text_rows import TextRows
from ipt.data import CATEGORIES
from ipt.heads.base import Head, Prediction


@dataclass(frozen=True)
class LanguageModel(TextRows, Head):
    """Answers are texts: their tokens' loss, greedy generation, ranking of options."""

    name: ClassVar[str] = "language-model"
    reads_states: ClassVar[bool] = False
    # Every task is text to text.
    categories: ClassVar[tuple[str, ...]] = CATEGORIES

    def losses(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        # Logits [B, T, V], labels [B, T]; padding has no label, and so no loss.
        logits, labels = backbone.answer_logits(rows)
        return answer_nll(logits, labels, smoothing)

    # The answer's tokens with their end sign, which is learned as well.
    def target_count(self, row: Encoded) -> int:
        return len(row.label_ids)

    def predict(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded] = (),
        weights: Tensor | None = None,
    ) -> list[Prediction]:
        if not options:
            texts = backbone.generate(rows, max_tokens)
            predictions = []
            for text in texts:
                prediction = Prediction(text)
                predictions.append(prediction)
            return predictions

        if backbone.generates:
            # Together, so that a family that can reads the inputs only once.
            texts, scores = backbone.generate_and_rank(rows, max_tokens, options)
        else:
            # A masked model writes no text.
            texts = [""] * len(rows)
            scores = backbone.option_nll(rows, options)  # [B, O]

        # Of losses that are no numbers the first would be the least.
        if scores.isnan().any():
            raise not_finite(backbone, "an option")
        # The likeliest text as a whole: nats are summed over an option's tokens, not averaged.
        likeliest = scores.argmin(1)
        predictions = []
        pairs = zip(
            texts,
            likeliest.tolist(),
            strict=True,
        )
        for text, option in pairs:
            prediction = Prediction(text, option)
            predictions.append(prediction)
        return predictions
