"""A label for each word, by a linear layer or an MLP on the state of its first token.

    loss of a row = sum over its words of -log softmax(logits)[the word's tag]

As P-Tuning v2 labels entities, parts of speech and semantic roles; words are found in the text by
the places of its tokens, so that the text is tokenized as any other.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ipt.backbones.base import NO_LABEL, Backbone, Encoded
from ipt.backbones.encoder import Encoder, Piece
from ipt.data import Example, Task
from ipt.heads.base import Prediction
from ipt.heads.states import (
    TYPICAL_CLASSES,
    HeadRow,
    StatesHead,
    class_nll,
    first_of,
    require_options,
)


@dataclass(frozen=True)
class TagRow(HeadRow):
    """The tags of a text's words."""

    places: tuple[int, ...] = ()  # of each word's first token, without words that were cut

    # Words that were cut, which are answered with the first of the labels.
    missing: int = field(default=0, compare=False)

    def may_be_cut(self, longest_input: int) -> bool:
        return self.missing > 0


@dataclass(frozen=True)
class Tags(StatesHead):
    """A tag of the task's options for each word."""

    name: ClassVar[str] = "tags"
    categories: ClassVar[tuple[str, ...]] = ("tags",)

    def classes(self, task: Task) -> int:
        return len(require_options(task, self.name))

    def typical(self, row: Encoded) -> Encoded:
        places = tuple(range(len(row.input_ids)))
        return TagRow(row.input_ids, (0,) * len(places), TYPICAL_CLASSES, places=places)

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        options = require_options(task, self.name)
        number_of = {tag: number for number, tag in enumerate(options)}
        rows: list[Encoded] = []
        for example in examples:
            piece = cast(Encoder, backbone).piece(" ".join(example.tokens), example.query)
            places = word_places(piece, example.tokens)
            tags = example.output[0].split()
            # A tag that only the test set has is no class, and no answer.
            labels = [number_of.get(tag, NO_LABEL) for tag in tags[: len(places)]]
            row = TagRow(
                piece.input_ids,
                tuple(labels),
                len(options),
                options,
                tuple(places),
                len(tags) - len(places),
            )
            rows.append(row)
        return rows

    def read(self, backbone: Encoder, row: Encoded, states: Sequence[Tensor]) -> Tensor:
        places = torch.tensor(cast(TagRow, row).places, device=backbone.device, dtype=torch.long)
        return states[0][places][None]

    def losses_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        logits = self.logits(features, weights)  # [B, M, C]
        labels = [torch.tensor(row.label_ids, device=weights.device) for row in rows]
        targets = nn.utils.rnn.pad_sequence(labels, True, NO_LABEL)  # [B, M]
        allowed = self._allowed(rows, logits)  # [B, C]
        nll = class_nll(
            logits.flatten(0, 1),
            targets.flatten().clamp_min(0),
            allowed.repeat_interleave(logits.shape[1], 0),
            smoothing,
        )
        by_word = nll.view(targets.shape)
        return by_word.masked_fill(targets == NO_LABEL, 0.0).sum(1)

    def target_count(self, row: Encoded) -> int:
        return max(1, sum(label != NO_LABEL for label in row.label_ids))

    def answers_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> list[Prediction]:
        logits = self.logits(features, weights)
        allowed = self._allowed(rows, logits)[:, None]
        likeliest = logits.masked_fill(~allowed, -torch.inf).argmax(2).tolist()  # [B][M]
        predictions = []
        for encoded, numbers in zip(rows, likeliest, strict=True):
            row = cast(TagRow, encoded)
            tags = [row.labels[number] for number in numbers[: len(row.places)]]
            tags += [row.labels[0]] * row.missing
            predictions.append(Prediction(" ".join(tags)))
        return predictions

    def _allowed(self, rows: Sequence[Encoded], logits: Tensor) -> Tensor:
        counts = [self.classes_of(row) for row in rows]
        return first_of(counts, logits.shape[2], logits.device)


def word_places(piece: Piece, words: Sequence[str]) -> list[int]:
    """Return the place of each word's first token, of words joined by spaces; none of cut ones."""
    own = []
    ends = []
    for place, (part, (_, end)) in enumerate(zip(piece.parts, piece.offsets, strict=True)):
        if part == 0:
            own.append(place)
            ends.append(end)
    places = []
    first = 0
    for word in words:
        # The first token that does not end before the word: a space that is a token of its own is
        # the word's, as tokenizers counts.
        number = bisect_left(ends, first)
        if number == len(own):
            break
        places.append(own[number])
        first += len(word) + 1
    return places
