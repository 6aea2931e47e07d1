"""A frozen backbone, the tuner that acts in it, and the head that reads it."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.encoder import Encoder
from ipt.backbones.kept import KeptStates
from ipt.heads.base import Head, Prediction
from ipt.heads.language_model import LanguageModel
from ipt.heads.states import StatesHead
from ipt.tuners.bare import Bare
from ipt.tuners.base import Tuner
from ipt.tuners.reparameterization import Reparameterization

# Two ways to one loss agree where they differ by so many roundings of its type at most.
ROUNDINGS = 8


class Pass(NamedTuple):
    """Rows that may be read together."""

    places: list[int]  # among the rows of a batch
    deltas: Tensor  # [U, P], or [1, P] of one job
    owner: Tensor  # [B] index of each row's delta, of all rows of the batch


# What a head reads of rows, [W, M, h] each.
Features = dict[Encoded, Tensor]
# Of all rows together, in the device's memory; rows beyond it are read again in each step.
MOST_FEATURES = 2**30
# A batch of rows whose features are known may be so many times as large.
FEATURES_ALONE = 16


@dataclass(frozen=True)
class Model:
    """What the stacked loop trains deltas for; holds no number that changes."""

    backbone: Backbone
    tuner: Tuner
    head: Head = LanguageModel()

    # What the blocks below the tuner make of some rows; None where each pass runs all blocks.
    kept: KeptStates | None = field(default=None, compare=False)

    # What a head reads of some rows; None where something in the backbone is tuned.
    features: Features | None = field(default=None, compare=False)

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
    def has_head_numbers(self) -> bool:
        """Return whether each job trains numbers of a head beside its delta."""
        return self.head.size(self.backbone, 1) > 0

    def head_start(self, classes: Sequence[int], seeds: Sequence[int]) -> Tensor:
        """Return the first numbers [J, H] of jobs' heads, those of fewer classes filled up.

        classes: of each job's task.
        seeds: of each job.
        """
        starts = []
        for count, seed in zip(classes, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            starts.append(self.head.initialize(self.backbone, count, generator))
        if not starts:
            return torch.zeros(0, 0, device=self.device)
        return torch.nn.utils.rnn.pad_sequence(starts, batch_first=True)

    @property
    def bare(self) -> "Model":
        """Return the model without a tuner; its deltas are [U, 0]."""
        return replace(self, tuner=Bare(), kept=None, features=None)

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

        deltas: [U, P + H], the numbers of each one's head behind its own, if it has any.
        owner: [B] index of each row's delta.
        smoothing: share of the target that is spread evenly over all classes.
        """
        numbers, weights = self._split(deltas, owner)
        if self.features is not None and all(row in self.features for row in rows):
            head = cast(StatesHead, self.head)
            return head.losses_of([self.features[row] for row in rows], rows, weights, smoothing)
        losses = []
        order: list[int] = []
        for shared in self._passes(numbers, owner):
            for places in self._by_kept(shared.places, rows):
                some = [rows[i] for i in places]
                # The head reads inside the context: only there does a row run under its own delta.
                with self._applied(shared, places, some), self._resumed(some):
                    losses.append(
                        self.head.losses(self.backbone, some, smoothing, weights[places])
                    )
                order += places
        if len(losses) == 1:
            return losses[0]
        places_of_rows = torch.tensor(order, device=self.device)
        return torch.cat(losses)[places_of_rows.argsort()]

    def _split(self, deltas: Tensor, owner: Tensor) -> tuple[Tensor, Tensor]:
        """Return deltas [U, P] without their heads' numbers, and these for each row, [B, H]."""
        # Asked first: the size of a delta is looked for in the backbone, and this is each pass.
        if not self.has_head_numbers:
            return deltas, deltas.new_zeros(len(owner), 0)
        size = self.size
        numbers, heads = deltas.split([size, deltas.shape[1] - size], 1)
        return numbers, heads[owner]

    def _applied(
        self,
        shared: Pass,
        places: list[int],
        rows: Sequence[Encoded],
    ) -> AbstractContextManager[None]:
        """Return a context in which each of these rows' inputs runs under the row's own delta."""
        counts = [len(self.head.sequences(row)) for row in rows]
        of_inputs = shared.owner[places]
        if max(counts) > 1:
            repeats = torch.tensor(counts, device=self.device)
            of_inputs = of_inputs.repeat_interleave(repeats)
        return self.tuner.applied(self.backbone, shared.deltas, of_inputs)

    def _passes(self, deltas: Tensor, owner: Tensor) -> list[Pass]:
        """Return which rows may share a pass, under which deltas, pass by pass."""
        owners = owner.tolist()
        if self.tuner.mixes_rows:
            return [Pass(list(range(len(owners))), deltas, owner)]
        places: dict[int, list[int]] = {}
        for place, number in enumerate(owners):
            places.setdefault(number, []).append(place)
        # Cut once: a slice for each pass would write a gradient of all deltas in each.
        single = deltas.split(1)
        first = torch.zeros_like(owner)
        return [Pass(own, single[number], first) for number, own in places.items()]

    # --- what no number of the tuner changes

    @torch.no_grad()
    def keeping(self, rows: Iterable[Encoded], token_budget: int = 0) -> "Model":
        """Return a model that runs the blocks below the tuner once for each of these rows, now.

        Its losses are the same but for rounding. As many rows as fit are kept; none, and the model
        itself is returned, where the tuner acts from the first block on, or where a pass that
        begins above it is not the same as a whole one.
        """
        if isinstance(self.tuner, Bare) and isinstance(self.head, StatesHead):
            return self._keeping_features(rows, token_budget)
        count = self.tuner.lowest(self.backbone)
        if count == 0:
            return self
        waiting = sorted(dict.fromkeys(rows), key=lambda row: row.tokens)
        # Of a single row nothing could tell whether rows are mixed up.
        if len(waiting) < 2:
            return self
        model = replace(self, kept=KeptStates(self.backbone, count))
        shortest_middle_longest = [waiting[0], waiting[len(waiting) // 2], waiting[-1]]
        if not model._resumes(shortest_middle_longest):
            return self

        def record(indices: list[int]) -> None:
            model._record([waiting[i] for i in indices])

        self.in_batches(waiting, record, token_budget)
        return model

    def _keeping_features(self, rows: Iterable[Encoded], token_budget: int) -> "Model":
        """Return a model that has read these rows once; its head alone runs in each step."""
        head = cast(StatesHead, self.head)
        waiting = list(dict.fromkeys(rows))
        features: Features = {}
        free = MOST_FEATURES

        def record(indices: list[int]) -> None:
            nonlocal free
            some = [waiting[i] for i in indices]
            for row, made in zip(some, head.features(self._encoder, some), strict=True):
                if made.nbytes <= free:
                    features[row] = made.clone()
                    free -= made.nbytes

        self.in_batches(waiting, record, token_budget)
        return replace(self, features=features)

    @property
    def _encoder(self) -> Encoder:
        return cast(Encoder, self.backbone)

    def _resumes(self, rows: Sequence[Encoded]) -> bool:
        """Return whether a pass over these rows that begins at kept states is as a whole one."""
        start = self.first_numbers(rows)
        generator = torch.Generator().manual_seed(0)
        # Numbers unlike those that the states are recorded with: they must not matter.
        noise = torch.randn(len(start), generator=generator).to(start)
        delta = (start + 0.1 * start.abs().mean() * noise + 0.01 * noise)[None]
        owner = torch.zeros(len(rows), dtype=torch.long, device=self.device)
        whole = self.nll(delta, owner, rows)
        try:
            self._record(rows)
            resumed = self.nll(delta, owner, rows)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError):
            # Whatever a block that returns something else than hidden states leads to.
            return False
        rounding = ROUNDINGS * torch.finfo(self.backbone.weight.dtype).eps
        return torch.allclose(whole, resumed, rtol=rounding, atol=rounding)

    def first_numbers(self, rows: Sequence[Encoded], seed: int = 0) -> Tensor:
        """Return first numbers [P + H] of a delta, and of a head that fits all of these rows."""
        classes = max(map(self.head.classes_of, rows))
        generator = torch.Generator().manual_seed(seed)
        head = self.head.initialize(self.backbone, classes, generator)
        return torch.cat([self.initialize(seed), head])

    def _record(self, rows: Sequence[Encoded]) -> None:
        """Keep what the blocks below the tuner make of these rows."""
        assert self.kept is not None
        numbers = torch.zeros_like(self.first_numbers(rows))[None]
        owner = torch.zeros(len(rows), dtype=torch.long, device=self.device)
        deltas, weights = self._split(numbers, owner)
        of_rows = Pass(list(range(len(rows))), deltas, owner)
        inputs = self.head.inputs(rows)
        with self._applied(of_rows, of_rows.places, rows), self.kept.recorded(inputs):
            self.head.losses(self.backbone, rows, weights=weights)

    def _is_kept(self, row: Encoded) -> bool:
        assert self.kept is not None
        return all(sequence in self.kept for sequence in self.head.sequences(row))

    def _resumed(self, rows: Sequence[Encoded]) -> AbstractContextManager[None]:
        """Return a context in which a pass over these rows begins at what is kept, if it is."""
        if self.kept is None or not self._is_kept(rows[0]):
            return nullcontext()
        return self.kept.resumed(self.head.inputs(rows))

    def _by_kept(self, places: list[int], rows: Sequence[Encoded]) -> list[list[int]]:
        """Return the places of kept rows, and those of the others."""
        if self.kept is None:
            return [places]
        kept = [i for i in places if self._is_kept(rows[i])]
        others = [i for i in places if not self._is_kept(rows[i])]
        return [some for some in (kept, others) if some]

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

        deltas: [U, P + H], as of `nll`.
        owner: [B] index of each row's delta.
        max_tokens: of an answer in words.
        options: where given, the likeliest of them is predicted as well.
        """
        predicted: dict[int, Prediction] = {}
        numbers, weights = self._split(deltas, owner)
        for shared in self._passes(numbers, owner):
            places = shared.places
            some = [rows[i] for i in places]
            own = weights[places]
            with self._applied(shared, places, some):
                found = self.head.predict(self.backbone, some, max_tokens, options, own)
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
        if self.features is not None:
            token_budget = FEATURES_ALONE * (token_budget or self.token_budget)
        self.backbone.in_batches(rows, added, token_budget, work)
