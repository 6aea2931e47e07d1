"""Where the deltas of a step come from: free, decoded from intrinsic vectors, mixed from seen ones, or shared by all tasks."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn


class Source(nn.Module, ABC):
    """Where prompts come from. Every parameter has the jobs on its first axis (or J = 1 and any shape)."""

    @abstractmethod
    def forward(self, indices: Tensor) -> Tensor:
        """Return the prompts [U, n, h] with these indices [U]."""

    def extra_loss(self, indices: Tensor, prompts: Tensor) -> Tensor | None:
        """Return what a step adds to the LM loss of its single job (MSF: alpha times the reconstruction), or None."""
        return None


class Decoded(Source):
    """Prompts decoded from intrinsic vectors: one parameter [J, d]."""

    def __init__(self, values: Tensor, decode: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.values = nn.Parameter(values.detach().clone())
        self._decode = decode  # a function, not a submodule: its parameters are not this source's

    def forward(self, indices: Tensor) -> Tensor:
        return self._decode(self.values[indices])


class Free(Source):
    """The prompts themselves: one parameter [J, n, h]; start: [n, h] for all jobs, or [J, n, h]."""

    def __init__(self, start: Tensor, jobs: int) -> None:
        super().__init__()
        self.values = nn.Parameter(start.detach().expand(jobs, *start.shape[-2:]).clone())

    def forward(self, indices: Tensor) -> Tensor:
        return self.values[indices]


class Shared(Source):
    """One prompt [1, n, h] for every task: the control with d = 0."""

    def __init__(self, start: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(start.detach().clone().unsqueeze(0))

    def forward(self, indices: Tensor) -> Tensor:
        return self.value.expand(len(indices), -1, -1)


def mix_deltas(weights: Tensor, bank: Tensor) -> Tensor:
    """Return the prompts [A, n, h] that weights [A, S] make of the bank's [S, n, h]."""
    return torch.einsum("as,snh->anh", weights, bank)


class Mixture(Source):
    """Affine mixtures of the bank's prompts [S, n, h]: d numbers for each job's anchors [J, d + 1, S], which are weights of the prompts.

    The numbers count from the first anchor towards the others.
    """

    def __init__(self, anchors: Tensor, bank: Tensor) -> None:
        super().__init__()
        self.first, self.others, self.bank = anchors[:, 0], anchors[:, 1:], bank
        self.values = nn.Parameter(anchors.new_zeros(anchors.shape[0], anchors.shape[1] - 1))

    def weights(self, indices: Tensor) -> Tensor:
        """Return the weights [A, S] of the bank's prompts; each row sums to one."""
        first = self.first[indices]
        return first + torch.einsum("jk,jks->js", self.values[indices], self.others[indices] - first[:, None])

    def forward(self, indices: Tensor) -> Tensor:
        return mix_deltas(self.weights(indices), self.bank)
