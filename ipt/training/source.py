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
from collections.abc import Callable

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
        self.values = nn.Parameter(start.detach().expand(jobs, start.shape[-1]).clone())

    def forward(self, indices: Tensor) -> Tensor:
        return self.values[indices]


class Decoded(Source):
    """Deltas decoded from intrinsic vectors, one parameter [J, d]."""

    def __init__(self, values: Tensor, decode: Callable[[Tensor], Tensor]) -> None:
        """Start from values [J, d]; decode maps [U, d] to [U, P] and is not trained."""
        super().__init__()
        self.values = nn.Parameter(values.detach().clone())
        self.decode = decode  # a function, not a submodule: its parameters are not this source's

    def forward(self, indices: Tensor) -> Tensor:
        return self.decode(self.values[indices])


class Shared(Source):
    """One delta [1, P] for every task."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(start.detach().clone().unsqueeze(0))

    def forward(self, indices: Tensor) -> Tensor:
        return self.value.expand(len(indices), -1)


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

        anchors: [J, d + 1, S]. bank: [S, P].
        """
        super().__init__()
        self.first = anchors[:, 0]
        self.others = anchors[:, 1:]
        self.bank = bank
        jobs, count, _ = self.others.shape
        self.values = nn.Parameter(anchors.new_zeros(jobs, count))

    def weights(self, indices: Tensor) -> Tensor:
        """Return the weights [A, S] of the bank's deltas; each row sums to one."""
        first = self.first[indices]
        directions = self.others[indices] - first[:, None]  # [A, d, S]
        return first + torch.einsum("jk,jks->js", self.values[indices], directions)

    def forward(self, indices: Tensor) -> Tensor:
        return mix_deltas(self.weights(indices), self.bank)
