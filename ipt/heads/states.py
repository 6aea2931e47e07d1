"""Heads that read hidden states: a linear layer over some places of a text, or an MLP of k layers.

    logits = W relu(... relu(W_1 x + b_1)) + b,  x: the last hidden state at a place

A job's numbers are its layers one after another, each as rows [in + 1] (weights, then the bias) of
its outputs; the classes come last, so that the numbers of jobs with fewer classes are the first
part of a longer vector. Linear and MLP-k are the baselines of VPT's tables (Jia et al. 2022), a
linear layer on [CLS] or on each token is P-Tuning v2's way (Liu et al. 2022).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder
from ipt.config import setting
from ipt.data import Task
from ipt.heads.base import Head, Prediction

# Deviation of the first weights, as of BERT's own classifiers (`initializer_range`).
START = 0.02
# A row of a head that was asked for without knowing its task.
TYPICAL_CLASSES = 2

Pooling = Literal["auto", "first", "last", "mean"]


@dataclass(frozen=True)
class HeadRow(Encoded):
    """A row with its targets, `label_ids`, as the numbers of classes or places."""

    classes: int = 0

    # What an answer is written with; it changes no loss.
    labels: tuple[str, ...] = field(default=(), compare=False, repr=False)

    # Nothing is written behind the input.
    @property
    def answer_tokens(self) -> int:
        return 0

    def may_be_cut(self, longest_input: int) -> bool:
        return len(self.input_ids) >= longest_input


@dataclass(frozen=True)
class StatesHead(Head):
    """A head with numbers of its own, over what it reads of a row: [W, M, h].

    W: inputs that are read one by one (windows of a long text; 1 of all other rows). M: places.
    """

    layers: int = setting(1, "layers of the head; 1: linear, k: an MLP of k layers (MLP-k)")

    def check(self) -> None:
        if self.layers < 1:
            raise ValueError(f"--head {self.name}: layers must be above 0, found {self.layers}")

    # --- its numbers

    def size(self, backbone: Backbone, classes: int) -> int:
        inputs = backbone.hidden_size + 1
        hidden = (self.layers - 1) * backbone.hidden_size
        return (hidden + classes) * inputs

    def initialize(
        self,
        backbone: Backbone,
        classes: int,
        generator: torch.Generator,
    ) -> Tensor:
        inputs = backbone.hidden_size + 1
        size = self.size(backbone, classes)
        weights = START * torch.randn(size // inputs, inputs, generator=generator)
        weights[:, -1] = 0.0
        hidden = (self.layers - 1) * backbone.hidden_size
        # Kaiming's: with smaller ones next to nothing would come through a ReLU.
        weights[:hidden] *= (2 / backbone.hidden_size) ** 0.5 / START
        return weights.flatten().to(backbone.device)

    def classes_of(self, row: Encoded) -> int:
        return cast(HeadRow, row).classes

    # --- what is read, and made of it

    @abstractmethod
    def read(self, backbone: Encoder, row: Encoded, states: Sequence[Tensor]) -> Tensor:
        """Return what is read of a row, [W, M, h]; nothing of it depends on the head's numbers.

        states: [L, h] of each of the row's inputs.
        """

    def features(self, backbone: Encoder, rows: Sequence[Encoded]) -> list[Tensor]:
        """Return what is read of each row."""
        states = backbone.states(self.inputs(rows))
        features = []
        first = 0
        for row in rows:
            last = first + len(self.sequences(row))
            features.append(self.read(backbone, row, states[first:last]))
            first = last
        return features

    def logits(self, features: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return the logits [N, M, C] of all inputs of rows, places and classes filled up.

        features: [W, M, h] of each row.
        weights: [B, H].
        """
        counts = torch.tensor([len(one) for one in features], device=weights.device)
        inputs: list[Tensor] = []
        for row in features:
            inputs += row.unbind()
        states = nn.utils.rnn.pad_sequence(inputs, batch_first=True).to(weights.dtype)
        width = states.shape[-1]
        of_inputs = weights.repeat_interleave(counts, 0)  # [N, H]
        numbers = of_inputs.unflatten(1, (-1, width + 1))
        hidden = [width] * (self.layers - 1)
        classes = numbers.shape[1] - sum(hidden)
        *inner, last = numbers.split([*hidden, classes], 1)
        for layer in inner:
            states = _linear(states, layer).relu()
        return _linear(states, last)

    @abstractmethod
    def losses_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return [B] nats of rows whose features are known."""

    @abstractmethod
    def answers_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> list[Prediction]:
        """Return what is predicted for rows whose features are known."""

    def losses(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
        weights: Tensor | None = None,
    ) -> Tensor:
        assert weights is not None
        features = self.features(cast(Encoder, backbone), rows)
        return self.losses_of(features, rows, weights, smoothing)

    def predict(
        self,
        backbone: Backbone,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded] = (),
        weights: Tensor | None = None,
    ) -> list[Prediction]:
        assert weights is not None
        features = self.features(cast(Encoder, backbone), rows)
        return self.answers_of(features, rows, weights)

    def target_count(self, row: Encoded) -> int:
        return 1


class OneOf(StatesHead):
    """A head that chooses one of a row's own classes or options, `label_ids` the right one."""

    @abstractmethod
    def scores(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return the scores [B, K] that are chosen from, and which of them are a row's own."""

    def losses_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
        smoothing: float = 0.0,
    ) -> Tensor:
        scores, allowed = self.scores(features, rows, weights)
        targets = torch.tensor([row.label_ids[0] for row in rows], device=weights.device)
        return class_nll(scores, targets, allowed, smoothing)

    def answers_of(
        self,
        features: Sequence[Tensor],
        rows: Sequence[Encoded],
        weights: Tensor,
    ) -> list[Prediction]:
        scores, allowed = self.scores(features, rows, weights)
        likeliest = scores.masked_fill(~allowed, -torch.inf).argmax(1).tolist()
        predictions = []
        for row, number in zip(rows, likeliest, strict=True):
            text = cast(HeadRow, row).labels[number]
            predictions.append(Prediction(text, number))
        return predictions


def _linear(states: Tensor, layer: Tensor) -> Tensor:
    """Return [N, M, C] of states [N, M, h] and a layer [N, C, h + 1] of each input's own."""
    weights, bias = layer[..., :-1], layer[..., -1]
    return torch.baddbmm(bias.unsqueeze(1), states, weights.mT)


def pooled(states: Tensor, pooling: str) -> Tensor:
    """Return one vector [h] of a text's states [L, h]."""
    if pooling == "first":
        return states[0]
    if pooling == "last":
        return states[-1]
    return states.mean(0)


def pooling_of(backbone: Encoder, pooling: str) -> str:
    """Return how a backbone's states are pooled.

    auto: [CLS] where texts begin with it, the last place of a causal model, else the mean.
    """
    if pooling != "auto":
        return pooling
    if backbone.starts_with_sign:
        return "first"
    return "last" if backbone.is_causal else "mean"


def class_nll(logits: Tensor, targets: Tensor, allowed: Tensor, smoothing: float) -> Tensor:
    """Return [N] -log p of the targets [N] among those that are allowed.

    logits: [N, K]. allowed: [N, K], True where a class is one of the row's own.
    smoothing: share of the target that is spread evenly over these.
    """
    scores = logits.double() if logits.dtype == torch.float64 else logits.float()
    log_likely = scores.masked_fill(~allowed, -torch.inf).log_softmax(1)
    nll = -log_likely.gather(1, targets[:, None]).squeeze(1)
    if not smoothing:
        return nll
    # Zero where nothing is allowed: infinity times zero is no number.
    spread = -log_likely.masked_fill(~allowed, 0.0).sum(1) / allowed.sum(1)
    return (1 - smoothing) * nll + smoothing * spread


def first_of(counts: Sequence[int], most: int, device: torch.device) -> Tensor:
    """Return [B, most], True at the first so many places of each row."""
    places = torch.arange(most, device=device)
    return places < torch.tensor(counts, device=device)[:, None]


def require_options(task: Task, head: str) -> tuple[str, ...]:
    """Return a task's labels; raise ValueError where it names none."""
    if not task.options:
        raise ValueError(f"--head {head}: {task.name} names no options, the list of its labels")
    return task.options
