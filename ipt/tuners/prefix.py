"""Prefix-Tuning (Li and Liang 2021, arXiv 2101.00190); P-Tuning v2 (Liu et al. 2022, 2110.07602).

    keys   of row b in attention a = [delta_a^K ; keys of the text]
    values of row b in attention a = [delta_a^V ; values of the text]

Trained: n keys and values in each attention of the chosen stacks and layers. Frozen: the backbone.
The text's positions begin at n, as in the official code and in PEFT.

Published: n 10 and rate 5e-5 (Prefix-Tuning, GPT-2), n 8 to 128 and 5e-3 to 6e-2 (P-Tuning v2).
Known faults: outside 1e-3 to 1e-2 P-Tuning v2 predicts the largest class; PEFT's encoder-decoders
have no prefix in the encoder or the cross attention, and half of the numbers there are dead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ipt.backbones.attention import KeysValues, with_prefixes
from ipt.backbones.base import Backbone
from ipt.backbones.sites import STACKS
from ipt.config import setting
from ipt.tuners.base import Tuner
from ipt.tuners.places import attentions, first_block
from ipt.tuners.reparameterization import Mlp, Reparameterization


@dataclass(frozen=True)
class Prefix(Tuner):
    """Keys and values of each attention's own."""

    name: ClassVar[str] = "prefix"
    learning_rates: ClassVar[tuple[float, ...]] = (0.1, 0.03)

    prefix_length: int = setting(10, "keys and values before those of the text, n", "Prefix-Tuning")
    layers: tuple[int, ...] = setting((), "numbers of the layers that have a prefix, from 0; all")
    stacks: tuple[str, ...] = setting(
        ("encoder", "decoder", "cross"),
        "which attention has a prefix, where a model has it: encoder, decoder, cross",
    )
    network: Literal["none", "mlp"] = setting(
        "none",
        "mlp: train the two layers that make the prefix from n embeddings",
        "none: P-Tuning v2; mlp: Prefix-Tuning",
    )
    network_width: int = setting(512, "width between the two layers", "Prefix-Tuning, GPT-2")

    def check(self) -> None:
        self.require_positive("prefix_length", "network_width")
        self.require_choices("stacks", STACKS)
        self.require_choices("network", ("none", "mlp"))

    # Places of each row's attention, and positions of a text.
    @property
    def added_tokens(self) -> int:
        return self.prefix_length

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for attention in attentions(self.name, backbone, self.stacks, self.layers):
            shape = (2, self.prefix_length, attention.heads, attention.width)
            shapes[attention.name] = shape
        return shapes

    def lowest(self, backbone: Backbone) -> int:
        found = attentions(self.name, backbone, self.stacks, self.layers)
        return first_block(backbone, [attention.name for attention in found])

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        """Return numbers from N(0, 1), as torch's embedding has them (P-Tuning v2's code)."""
        start = torch.randn(self.size(backbone), generator=generator)
        return start.to(backbone.device)

    def reparameterization(self, backbone: Backbone) -> Reparameterization | None:
        if self.network == "none":
            return None
        shapes = self.shapes(backbone)
        return Mlp(self.prefix_length, backbone.hidden_size, self.network_width, shapes)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        parts = self.parts(backbone, deltas[owner])
        held = []
        for attention in attentions(self.name, backbone, self.stacks, self.layers):
            both = parts[attention.name].transpose(2, 3)  # [B, 2, heads, n, width]
            keys, values = both.unbind(1)
            held.append((attention.module, KeysValues(keys, values)))
        with backbone.shifted(self.prefix_length), with_prefixes(backbone.model, held):
            yield
