"""Small networks whose outputs are the deltas: what is trained in their place, one for each job.

The bank and every later stage see the deltas that a network makes, never its weights.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


class Reparameterization(ABC):
    """Weights [K] of a network to the delta [P] that it makes."""

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the named weights of one job, in order; their sizes add up to K."""

    @property
    def size(self) -> int:
        """Return K, the weights of one job."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @abstractmethod
    def deltas(self, weights: Tensor) -> Tensor:
        """Return the deltas [U, P] of weights [U, K]; differentiable."""

    def initialize(self, generator: torch.Generator) -> Tensor:
        """Return the weights [K] of torch's own start: U(-1 / sqrt(inputs), ...); N(0, 1) below.

        Embeddings are N(0, 1).
        """
        parts = []
        for name, shape in self.shapes.items():
            if name == "embedding":
                values = torch.randn(shape, generator=generator)
            else:
                bound = 1 / math.sqrt(self.fan_in(name))
                values = (2 * torch.rand(shape, generator=generator) - 1) * bound
            parts.append(values.flatten())
        return torch.cat(parts)

    @abstractmethod
    def fan_in(self, name: str) -> int:
        """Return the number of inputs that decides a weight's start, as torch's layer counts it."""

    def parts(self, weights: Tensor) -> dict[str, Tensor]:
        """Return the named weights of [U, K], each [U, *shape]."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        pieces = weights.split(sizes, dim=-1)
        named = {}
        for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True):
            named[name] = piece.unflatten(-1, shape)
        return named


def two_layers(
    part: Mapping[str, Tensor],
    inputs: Tensor,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return W2 f(W1 x + b1) + b2 [U, n, outputs] of inputs [U, n, ...], each job by its own."""
    # One product for all jobs: each has its own weights, [U, out, in].
    first_bias = part["first.bias"].unsqueeze(1)
    hidden = torch.baddbmm(first_bias, inputs, part["first.weight"].mT)
    second_bias = part["second.bias"].unsqueeze(1)
    return torch.baddbmm(second_bias, activation(hidden), part["second.weight"].mT)


class Mlp(Reparameterization):
    """Prefix-Tuning's network (Li and Liang 2021, section 4.3).

    prefix = W2 tanh(W1 E + b1) + b2,   E [n, h] trained as well
    """

    def __init__(
        self,
        length: int,
        hidden_size: int,
        width: int,
        sites: Mapping[str, tuple[int, ...]],
    ) -> None:
        """Make the keys and values of these sites, each of shape (2, n, heads, width)."""
        self.length = length
        self.hidden_size = hidden_size
        self.width = width
        # Of one vector: keys and values of all sites.
        self.sizes = [math.prod(shape) // length for shape in sites.values()]
        self.sites = list(sites.values())

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        outputs = sum(self.sizes)
        return {
            "embedding": (self.length, self.hidden_size),
            "first.weight": (self.width, self.hidden_size),
            "first.bias": (self.width,),
            "second.weight": (outputs, self.width),
            "second.bias": (outputs,),
        }

    def fan_in(self, name: str) -> int:
        return self.hidden_size if name.startswith("first") else self.width

    def deltas(self, weights: Tensor) -> Tensor:
        part = self.parts(weights)
        outputs = two_layers(part, part["embedding"], torch.tanh)
        made = []
        for shape, numbers in zip(self.sites, outputs.split(self.sizes, -1), strict=True):
            both = numbers.unflatten(-1, (2, *shape[2:]))  # [U, n, 2, heads, width]
            made.append(both.transpose(1, 2).flatten(1))
        return torch.cat(made, 1)


class BiLstm(Reparameterization):
    """P-Tuning's network (Liu et al. 2021, arXiv 2103.10385, section 3.2; official code).

        prompt = W2 relu(W1 [forward LSTM; backward LSTM](E) + b1) + b2,   two layers of LSTM

    As torch's `nn.LSTM(bidirectional=True, num_layers=2)`, for many jobs at once.
    """

    layers = 2

    def __init__(self, length: int, hidden_size: int, width: int) -> None:
        """Make n vectors [n, h]; width: of each direction's hidden state."""
        self.length = length
        self.hidden_size = hidden_size
        self.width = width

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        named: dict[str, tuple[int, ...]] = {"embedding": (self.length, self.hidden_size)}
        for layer in range(self.layers):
            inputs = self.hidden_size if layer == 0 else 2 * self.width
            for direction in ("forward", "backward"):
                place = f"lstm.{layer}.{direction}"
                named[f"{place}.input"] = (4 * self.width, inputs)
                named[f"{place}.hidden"] = (4 * self.width, self.width)
                named[f"{place}.input_bias"] = (4 * self.width,)
                named[f"{place}.hidden_bias"] = (4 * self.width,)
        named["first.weight"] = (2 * self.width, 2 * self.width)
        named["first.bias"] = (2 * self.width,)
        named["second.weight"] = (self.hidden_size, 2 * self.width)
        named["second.bias"] = (self.hidden_size,)
        return named

    def fan_in(self, name: str) -> int:
        # torch's LSTM counts its hidden state for every weight.
        return self.width if name.startswith("lstm") else 2 * self.width

    def deltas(self, weights: Tensor) -> Tensor:
        part = self.parts(weights)
        states = part["embedding"]  # [U, n, h]
        for layer in range(self.layers):
            ways = []
            for direction in ("forward", "backward"):
                ways.append(self._run(part, f"lstm.{layer}.{direction}", states))
            states = torch.cat(ways, -1)  # [U, n, 2 width]
        vectors = two_layers(part, states, torch.relu)
        return vectors.flatten(1)

    def _run(self, part: dict[str, Tensor], place: str, inputs: Tensor) -> Tensor:
        """Return the hidden states [U, n, width] of one direction."""
        bias = part[f"{place}.input_bias"] + part[f"{place}.hidden_bias"]
        gates_of_input = torch.baddbmm(bias.unsqueeze(1), inputs, part[f"{place}.input"].mT)
        order = range(self.length)
        if place.endswith("backward"):
            order = range(self.length - 1, -1, -1)
        hidden = inputs.new_zeros(len(inputs), self.width)
        cell = hidden
        states: dict[int, Tensor] = {}
        for i in order:
            recurrent = torch.bmm(part[f"{place}.hidden"], hidden.unsqueeze(2)).squeeze(2)
            # torch's order: input, forget, cell, output.
            gates = gates_of_input[:, i] + recurrent
            enter, forget, new, leave = gates.chunk(4, 1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            states[i] = hidden
        return torch.stack([states[i] for i in range(self.length)], 1)


class PromptMlp(Reparameterization):
    """P-Tuning's network without the LSTM: prompt = W2 relu(W1 E + b1) + b2."""

    def __init__(self, length: int, hidden_size: int, width: int) -> None:
        self.length = length
        self.hidden_size = hidden_size
        self.width = width

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {
            "embedding": (self.length, self.hidden_size),
            "first.weight": (self.width, self.hidden_size),
            "first.bias": (self.width,),
            "second.weight": (self.hidden_size, self.width),
            "second.bias": (self.hidden_size,),
        }

    def fan_in(self, name: str) -> int:
        return self.hidden_size if name.startswith("first") else self.width

    def deltas(self, weights: Tensor) -> Tensor:
        part = self.parts(weights)
        vectors = two_layers(part, part["embedding"], torch.relu)
        return vectors.flatten(1)
