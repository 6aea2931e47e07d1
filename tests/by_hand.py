"""A model whose losses are known by hand, dev losses by script, and several processes as threads."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Barrier
from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.distributed import Processes
from ipt.training.model import Model
from ipt.tuners.base import Tuner
from ipt.tuners.soft_prompt import SoftPrompt


def row(*labels: int, inputs: int = 1) -> Encoded:
    """A row with so many input tokens and these answer tokens."""
    return Encoded((7,) * inputs, labels)


@dataclass(frozen=True)
class Plain(Tuner):
    """Any numbers, all of about the same size: a subspace counts them from 0 and in ones."""

    name: ClassVar[str] = "plain"
    rescales: ClassVar[bool] = False

    count: int = 0

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        return {"numbers": (self.count,)}

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        return torch.zeros(self.count)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        yield


class OneNumber(Backbone):
    """A backbone that is asked for nothing but its device and batches."""

    def __init__(self) -> None:
        self.name = "numbers"
        self.weight = torch.zeros(1, 1, dtype=torch.float64)
        self.most_tokens = math.inf

    @staticmethod
    def reads(config) -> bool:
        return False

    def input_ids(self, text: str) -> list[int]:
        raise NotImplementedError

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def logits_by_ids(self, row: Encoded) -> Tensor:
        raise NotImplementedError

    def generate_ids(self, rows: Sequence[Encoded], max_tokens: int) -> list[list[int]]:
        raise NotImplementedError


class Numbers(Model):
    """A model of any deltas: each answer token t costs (s - t)^2 nats, s the sum of the delta.

    Smoothing makes every token dearer by its share. batches: the rows of each call, one list a call.
    length: how many positions a delta takes before each row.
    """

    def __init__(self, length: int = 0) -> None:
        backbone = OneNumber()
        tuner = SoftPrompt(prompt_length=length) if length else Plain()
        for name, value in (("backbone", backbone), ("tuner", tuner), ("batches", [])):
            object.__setattr__(self, name, value)

    def nll(
        self, deltas: Tensor, owner: Tensor, rows: Sequence[Encoded], smoothing: float = 0.0
    ) -> Tensor:
        self.batches.append(list(rows))
        values = []
        for total, row in zip(deltas[owner].double().sum(1), rows, strict=True):
            tokens = torch.tensor(row.label_ids, dtype=torch.float64)
            values.append((total - tokens).square().sum() * (1 + smoothing))
        return torch.stack(values)

    @property
    def name(self) -> str:
        return self.backbone.name


class Scripted(Numbers):
    """Trains as `Numbers`; the dev loss of a row is the next of the script of its first answer token.

    met: by that token, the prompts whose dev loss was asked for.
    """

    def __init__(self, script: dict[int, Sequence[float]]) -> None:
        super().__init__()
        object.__setattr__(self, "script", script)
        object.__setattr__(self, "met", {token: [] for token in script})

    def losses(self, deltas: Tensor, owner: Tensor, rows: Sequence[Encoded]) -> Tensor:
        values = []
        for delta, row in zip(deltas[owner], rows, strict=True):
            token = row.label_ids[0]
            values.append(self.script[token][len(self.met[token])])
            self.met[token].append(delta.clone())
        return torch.tensor(values, dtype=torch.float64)


@dataclass(frozen=True)
class Threads(Processes):
    """A rank that is a thread: what all put on the board is added up."""

    board: list = field(default_factory=list)
    barrier: Barrier = field(default_factory=lambda: Barrier(1))

    def sum(self, tensor: Tensor) -> Tensor:
        return torch.stack(self.all_of(tensor)).sum(0)

    def broadcast(self, tensors) -> None:
        for tensor in tensors:
            tensor.copy_(self.all_of(tensor)[0])

    def all_of(self, tensor: Tensor) -> list[Tensor]:
        self.board[self.index] = tensor.detach().clone()
        self.barrier.wait()
        found = list(self.board)
        self.barrier.wait()
        return found


def threads(count: int) -> list[Threads]:
    """Return the processes of so many threads, which wait for each other at most ten seconds."""
    board, barrier = [None] * count, Barrier(count, timeout=10)
    return [Threads(index, count, "cpu", board, barrier) for index in range(count)]
