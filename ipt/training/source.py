"""Where the deltas of a step come from.

| source | trained | deltas |
|---|---|---|
| `Free` | the deltas [J, P] | themselves (tuning) |
| `Reconstructed` | the autoencoder | decode(encode(tuned deltas)) (`ipt.methods.msf`) |
| `Decoded` | intrinsic vectors [J, d] | decode(vectors) (IST) |
| `Mixture` | weights [J, d] | affine mixtures of seen tasks' deltas |
| `Shared` | one delta [1, P] | the same for every task (the control with d = 0) |
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


class Source(nn.Module, ABC):
    """Every parameter has the jobs on its first axis (or there is one job, and any shape)."""

    @abstractmethod
    def forward(self, indices: Tensor) -> Tensor:
        """Return the deltas [U, P] with these indices [U]."""

    def extra_loss(self, indices: Tensor, deltas: Tensor) -> Tensor | None:
        """Return what a step adds to the task loss of its single job, or None."""
        return None


class Free(Source):
    """The deltas themselves, one parameter [J, P].

    start: [P] for all jobs, or [J, P].
    """

    def __init__(self, start: Tensor, jobs: int) -> None:
        super().__init__()
        size = start.shape[-1]
        values = start.detach().expand(jobs, size)
        # A copy: rows of an expanded tensor share their memory, and jobs would train one delta.
        self.values = nn.Parameter(values.clone())

    def forward(self, indices: Tensor) -> Tensor:
        return self.values[indices]


class Decoded(Source):
    """Deltas decoded from intrinsic vectors, one parameter [J, d]."""

    def __init__(self, values: Tensor, decode: Callable[[Tensor], Tensor]) -> None:
        """Start from values [J, d]; decode maps [U, d] to [U, P] and is not trained."""
        super().__init__()
        copied = values.detach().clone()
        self.values = nn.Parameter(copied)
        # A function, not a submodule: its parameters are not this source's.
        self.decode = decode

    def forward(self, indices: Tensor) -> Tensor:
        vectors = self.values[indices]  # [U, d]
        return self.decode(vectors)


class Shared(Source):
    """One delta [1, P] for every task."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        copied = start.detach().clone()
        self.value = nn.Parameter(copied.unsqueeze(0))

    def forward(self, indices: Tensor) -> Tensor:
        # Expanded, not copied: the gradients of all tasks add up in the one delta.
        return self.value.expand(len(indices), -1)


class WithHeads(Source):
    """The deltas of another source with the numbers of each one's head behind them, [J, P + H].

    The heads are trained beside whatever the source trains, and are no part of a subspace.
    """

    def __init__(self, source: Source, heads: Tensor, trained: bool = True) -> None:
        """Start from heads [J, H], a row for each index of the source."""
        super().__init__()
        self.source = source
        copied = heads.detach().clone()
        self.heads: Tensor
        if trained:
            self.heads = nn.Parameter(copied)
        else:
            self.register_buffer("heads", copied)

    def forward(self, indices: Tensor) -> Tensor:
        deltas = self.source(indices)  # [U, P]
        return torch.cat([deltas, self.heads[indices]], 1)

    def extra_loss(self, indices: Tensor, deltas: Tensor) -> Tensor | None:
        size = deltas.shape[1] - self.heads.shape[1]
        return self.source.extra_loss(indices, deltas[:, :size])


def with_heads(source: Source, heads: Tensor, trained: bool = True) -> Source:
    """Return the source with heads [J, H] behind its deltas; itself where they have no numbers."""
    return WithHeads(source, heads, trained) if heads.shape[1] else source


def joined(deltas: Tensor, heads: Tensor) -> Tensor:
    """Return deltas [T, P] with the numbers of their heads [T, H] behind them."""
    return torch.cat([deltas, heads.to(deltas)], 1) if heads.shape[1] else deltas


def heads_of(source: Source, indices: Sequence[int]) -> Tensor:
    """Return the heads [A, H] of these deltas as they are now."""
    if isinstance(source, WithHeads):
        return source.heads.detach()[list(indices)]
    return torch.zeros(len(indices), 0)


def decoded_with_heads(
    numbers: Tensor,
    count: int,
    decode: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the deltas [T, P + H] of numbers [T, count + H], heads unchanged."""
    vectors, heads = numbers.split([count, numbers.shape[1] - count], 1)
    return joined(decode(vectors), heads)


def mix_deltas(weights: Tensor, bank: Tensor) -> Tensor:
    """Return the deltas [A, P] that weights [A, S] make of the bank's [S, P]."""
    return torch.einsum("as,sp->ap", weights, bank)


class Mixture(Source):
    """Affine mixtures of the bank's deltas, d numbers for each job.

        delta = a_0 + sum over k of z_k (a_k - a_0)

    The anchors a_0 to a_d of a job are themselves weights of the bank's deltas.
    """

    def __init__(self, anchors: Tensor, bank: Tensor) -> None:
        """Start at the first anchor.

        anchors: [J, d + 1, S] weights of the bank's deltas.
        bank: [S, P] deltas of the seen tasks.
        """
        super().__init__()
        self.first = anchors[:, 0]
        self.others = anchors[:, 1:]
        self.bank = bank
        jobs, count, _ = self.others.shape
        zeros = anchors.new_zeros(jobs, count)
        self.values = nn.Parameter(zeros)

    def weights(self, indices: Tensor) -> Tensor:
        """Return the weights [A, S] of the bank's deltas; each row sums to one."""
        first = self.first[indices]  # [A, S]
        others = self.others[indices]
        directions = others - first[:, None]  # [A, d, S]
        values = self.values[indices]  # [A, d]
        # Directions sum to zero over S, so that any values leave the sum of the weights at one.
        return first + torch.einsum("jk,jks->js", values, directions)

    def forward(self, indices: Tensor) -> Tensor:
        weights = self.weights(indices)
        return mix_deltas(weights, self.bank)
