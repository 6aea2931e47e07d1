"""A span of a text as the answer to a question: where it begins and where it ends.

    loss of a row = sum over its windows of
        -log softmax(start)[first token of the answer] - log softmax(end)[its last token]

Over the places of the text and the first place, which stands for no answer (BERT's way on SQuAD;
Devlin et al. 2019). Long texts are read in windows; one without the answer has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder, Piece
from ipt.config import setting
from ipt.data import Example, Task
from ipt.heads.base import Prediction
from ipt.heads.states import HeadRow, StatesHead, class_nll

# Start and end.
BORDERS = 2
# The place that stands for no answer.
NOTHING = 0
# Tokens of an answer, as is usual on SQuAD.
LONGEST = 30


@dataclass(frozen=True)
class Window(Encoded):
    """A part of a text behind the question; `label_ids`: the answer's first and last token."""

    first: int  # place of the first token of the text, and
    last: int  # of the last

    # Characters of each place's token in the text.
    offsets: tuple[tuple[int, int], ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class SpanRow(HeadRow):
    """A question and its text in windows."""

    windows: tuple[Window, ...] = ()

    # What an answer is cut from, and whether none may be right.
    context: str = field(default="", compare=False, repr=False)
    may_be_empty: bool = field(default=False, compare=False)

    @property
    def input_tokens(self) -> int:
        return len(self.windows) * max(len(window.input_ids) for window in self.windows)

    def may_be_cut(self, longest_input: int) -> bool:
        return False


@dataclass(frozen=True)
class Span(StatesHead):
    """The first and the last token of an answer that stands in the text."""

    name: ClassVar[str] = "span"
    categories: ClassVar[tuple[str, ...]] = ("span",)

    stride: int = setting(64, "tokens that a window of a long text shares with the next")

    def check(self) -> None:
        super().check()
        check_stride(self.name, self.stride)

    def classes(self, task: Task) -> int:
        return BORDERS

    def typical(self, row: Encoded) -> Encoded:
        window = Window(row.input_ids, (0, 0), 0, len(row.input_ids) - 1)
        return SpanRow((), (), BORDERS, windows=(window,))

    def sequences(self, row: Encoded) -> Sequence[Encoded]:
        return cast(SpanRow, row).windows

    def encode(
        self,
        backbone: Backbone,
        task: Task,
        examples: Sequence[Example],
    ) -> list[Encoded]:
        # Of the task as a whole: which rows have no answer is what is asked.
        may_be_empty = any(not example.spans for example in task.examples)
        encoder = cast(Encoder, backbone)
        rows: list[Encoded] = []
        for example in examples:
            windows = []
            for piece in encoder.windows(example.query, example.context, self.stride):
                windows.append(window_of(piece, example.spans[:1]))
            row = SpanRow(
                (),
                (),
                BORDERS,
                windows=tuple(windows),
                context=example.context,
                may_be_empty=may_be_empty,
            )
            rows.append(row)
        return rows

    def read(self, backbone: Encoder, row: Encoded, states: Sequence[Tensor]) -> Tensor:
        return nn.utils.rnn.pad_sequence(list(states), batch_first=True)

    def losses_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        windows = self.inputs(rows)
        logits = self.logits(features, weights)[..., :BORDERS]  # [N, M, 2]
        allowed = self._allowed(windows, logits)  # [N, M]
        nll = logits.new_zeros(len(windows))
        for border in range(BORDERS):
            targets = [window.label_ids[border] for window in windows]
            places = torch.tensor(targets, device=logits.device)
            nll = nll + class_nll(logits[..., border], places, allowed, smoothing)
        counts = [len(self.sequences(row)) for row in rows]
        return torch.stack([of_row.sum() for of_row in nll.split(counts)])

    def target_count(self, row: Encoded) -> int:
        return BORDERS * len(self.sequences(row))

    def answers_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> list[Prediction]:
        windows = self.inputs(rows)
        logits = self.logits(features, weights)[..., :BORDERS]
        allowed = self._allowed(windows, logits)
        scores = logits.masked_fill(~allowed[..., None], -torch.inf).cpu()
        predictions = []
        first = 0
        for encoded in rows:
            row = cast(SpanRow, encoded)
            own = scores[first : first + len(row.windows)]
            span = best_span(row, own)
            text = row.context[slice(*span)] if span else ""
            predictions.append(Prediction(text, span=span))
            first += len(row.windows)
        return predictions

    def _allowed(self, windows: Sequence[Encoded], logits: Tensor) -> Tensor:
        """Return [N, M], True at the places of a window's text and at that of no answer."""
        places = torch.arange(logits.shape[1], device=logits.device)
        rows = []
        for encoded in windows:
            window = cast(Window, encoded)
            inside = (places >= window.first) & (places <= window.last)
            rows.append(inside | (places == NOTHING))
        return torch.stack(rows)


def check_stride(head: str, stride: int) -> None:
    """Raise ValueError for a count of tokens that windows cannot share."""
    if stride < 0:
        raise ValueError(f"--head {head}: stride must not be negative, found {stride}")


def window_of(piece: Piece, spans: Sequence[tuple[int, int]]) -> Window:
    """Return a window with the places of the first of these spans, where it has it whole."""
    own = []
    for place, (part, (start, end)) in enumerate(zip(piece.parts, piece.offsets, strict=True)):
        if part == 1 and end > start:
            own.append(place)
    labels = (NOTHING, NOTHING)
    if not own:
        return Window(piece.input_ids, labels, NOTHING, NOTHING, piece.offsets)
    for start, end in spans:
        inside = []
        for place in own:
            begins, ends = piece.offsets[place]
            if ends > start and begins < end:
                inside.append(place)
        # A window may end within the answer.
        is_whole = piece.offsets[own[0]][0] <= start and end <= piece.offsets[own[-1]][1]
        if inside and is_whole:
            labels = (inside[0], inside[-1])
    return Window(piece.input_ids, labels, own[0], own[-1], piece.offsets)


def best_span(row: SpanRow, scores: Tensor) -> tuple[int, int] | None:
    """Return the likeliest span's characters [start, end); None where no answer is likelier.

    scores: [W, M, 2] of start and end, -inf where none may be.
    """
    best = -torch.inf
    span = None
    nothing = torch.inf
    for window, of_window in zip(row.windows, scores, strict=True):
        start, end = of_window.double().unbind(1)  # [M]
        nothing = min(nothing, float(start[NOTHING] + end[NOTHING]))
        pairs = start[:, None] + end[None, :]  # [M, M]
        # Not ending before its start, not too long, and not at the place of no answer.
        is_span = torch.ones_like(pairs, dtype=torch.bool).triu().tril(LONGEST - 1)
        is_span[: max(window.first, NOTHING + 1)] = False
        pairs = pairs.masked_fill(~is_span, -torch.inf)
        value, place = pairs.flatten().max(0)
        if float(value) > best:
            best = float(value)
            first, last = divmod(int(place), len(start))
            span = _without_spaces(
                row.context, window.offsets[first][0], window.offsets[last][1]
            )
    return None if row.may_be_empty and nothing >= best else span


def _without_spaces(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a part of a text without the spaces at its ends, which some tokens begin with."""
    part = text[start:end]
    first = start + len(part) - len(part.lstrip())
    return first, first + len(part.strip())
