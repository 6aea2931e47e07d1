"""A frozen backbone, the tuner that acts in it, and the head that reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.heads.base import Head, Prediction
from ipt.heads.language_model import LanguageModel
from ipt.tuners.bare import Bare
from ipt.tuners.base import Tuner
from ipt.tuners.reparameterization import Reparameterization


@dataclass(frozen=True)
class Model:
    """What the stacked loop trains deltas for; holds no number that changes."""

    backbone: Backbone
    tuner: Tuner
    head: Head = LanguageModel()

    @property
    def device(self) -> torch.device:
        return self.backbone.device

    @property
    def token_budget(self) -> int:
        return self.backbone.token_budget

    @property
    def size(self) -> int:
        """Return P, the numbers of one delta."""
        return self.tuner.size(self.backbone)

    @property
    def bare(self) -> "Model":
        """Return the model without a tuner; its deltas are [U, 0]."""
        return replace(self, tuner=Bare())

    def initialize(self, seed: int) -> Tensor:
        """Return the delta [P] that every job of this seed starts from."""
        generator = torch.Generator().manual_seed(seed)
        return self.tuner.initialize(self.backbone, generator)

    @property
    def network(self) -> Reparameterization | None:
        """Return the network that makes deltas while they are tuned; None where nothing does."""
        return self.tuner.reparameterization(self.backbone)

    @property
    def trained_size(self) -> int:
        """Return how many numbers of a job are trained: P, or K of the network that makes them."""
        network = self.network
        return self.size if network is None else network.size

    def first_values(self, seed: int) -> Tensor:
        """Return what jobs of this seed start from: a delta [P], or a network's weights [K]."""
        network = self.network
        if network is None:
            return self.initialize(seed)
        generator = torch.Generator().manual_seed(seed)
        return network.initialize(generator).to(self.device)

    def nll(
        self,
        deltas: Tensor,
        owner: Tensor,
        rows: Sequence[Encoded],
        smoothing: float = 0.0,
    ) -> Tensor:
        """Return [B] nats, summed over each row's targets; row b runs under deltas[owner[b]].

        deltas: [U, P].
        owner: [B] index of each row's delta.
        smoothing: share of the target that is spread evenly over all classes.
        """
        losses = []
        passes = self._passes(owner)
        for places in passes:
            some = [rows[i] for i in places]
            # The head reads inside the context: only there does a row run under its own delta.
            with self.tuner.applied(self.backbone, deltas, owner[places]):
                losses.append(self.head.losses(self.backbone, some, smoothing))
        if len(passes) == 1:
            return losses[0]
        order = torch.tensor(sum(passes, []), device=self.device)
        return torch.cat(losses)[order.argsort()]

    def _passes(self, owner: Tensor) -> list[list[int]]:
        """Return the places of the rows that may share a pass, pass by pass."""
        owners = owner.tolist()
        if self.tuner.mixes_rows:
            return [list(range(len(owners)))]
        places: dict[int, list[int]] = {}
        for place, number in enumerate(owners):
            places.setdefault(number, []).append(place)
        return list(places.values())

    def losses(self, deltas: Tensor, owner: Tensor, rows: Sequence[Encoded]) -> Tensor:
        """Return [B] nats per target, averaged over each row's own."""
        summed = self.nll(deltas, owner, rows)
        return summed / self.target_counts(rows)

    def target_counts(self, rows: Sequence[Encoded]) -> Tensor:
        """Return [B] how many targets each row's loss is a sum over."""
        counts = [self.head.target_count(row) for row in rows]
        return torch.tensor(counts, device=self.device)

    def predict(
        self,
        deltas: Tensor,
        owner: Tensor,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded] = (),
    ) -> list[Prediction]:
        """Return what is predicted for each row; row b runs under deltas[owner[b]].

        deltas: [U, P].
        owner: [B] index of each row's delta.
        max_tokens: of an answer in words.
        options: where given, the likeliest of them is predicted as well.
        """
        predicted: dict[int, Prediction] = {}
        for places in self._passes(owner):
            some = [rows[i] for i in places]
            with self.tuner.applied(self.backbone, deltas, owner[places]):
                found = self.head.predict(self.backbone, some, max_tokens, options)
            predicted.update(zip(places, found, strict=True))
        return [predicted[i] for i in range(len(rows))]

    def in_batches(
        self,
        rows: Sequence[Encoded],
        work: Callable[[list[int]], object],
        token_budget: int = 0,
        answer_tokens: int = 0,
    ) -> None:
        """Call work on the row indices of one batch after another (`Backbone.in_batches`).

        token_budget: padded tokens of a batch; 0 takes what suits the device.
        answer_tokens: positions that a generated answer needs.
        """
        # What the tuner adds stands in every row, and counts as a row's own tokens do.
        added = self.tuner.added_tokens + answer_tokens
        self.backbone.in_batches(rows, added, token_budget, work)
