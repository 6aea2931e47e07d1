"""Prompts at every layer, as hidden states (VPT-deep, Jia et al. 2022, arXiv 2203.12119).

    hidden states at the n places of the prompt, before layer l = delta_l,   l = 0, 1, ...

At each layer what has become of the prompt is thrown away and replaced by the layer's own vectors.
Its places ask and are fed forward like tokens, which a prefix's keys and values do not. In an
encoder-decoder it acts in the encoder (google-research/prompt-tuning, "per_layer").

Published: rate 0.3 and Adafactor for text; VPT searches 0.05 to 50 with SGD. Known fault: VPT is
unstable at large rates (AdaptFormer's issue 6).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import changed_inputs, changed_outputs
from ipt.backbones.sites import Block
from ipt.config import setting
from ipt.tuners.base import Tuner
from ipt.tuners.soft_prompt import SoftPrompt


@dataclass(frozen=True)
class DeepPrompt(Tuner):
    """n vectors before the input's tokens, and n others before each later layer's hidden states."""

    name: ClassVar[str] = "deep-prompt"
    learning_rates: ClassVar[tuple[float, ...]] = (0.3, 0.1)

    prompt_length: int = setting(10, "vectors of each layer, n", "not searched")
    deviation: float = setting(
        0.02,
        "deviation of the later layers' start; the first layer's are embeddings of tokens",
        "not searched; VPT 0.036 for BERT's width",
    )

    def check(self) -> None:
        self.require_positive("prompt_length", "deviation")

    # Each vector takes the place of a token.
    @property
    def added_tokens(self) -> int:
        return self.prompt_length

    def blocks(self, backbone: Backbone) -> list[Block]:
        """Return the layers of the stack that reads the input."""
        sites = backbone.sites
        stack = "encoder" if sites.depth("encoder") else "decoder"
        return [block for block in sites.blocks if block.stack == stack]

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        shape = (self.prompt_length, backbone.hidden_size)
        return {block.name: shape for block in self.blocks(backbone)}

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        """Return embeddings of tokens for the first layer, N(0, deviation) for the others."""
        first = SoftPrompt(self.prompt_length).initialize(backbone, generator)
        count = self.size(backbone) - len(first)
        others = self.deviation * torch.randn(count, generator=generator)
        return torch.cat([first, others.to(first)])

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        first, *later = self.blocks(backbone)
        parts = self.parts(backbone, deltas[owner])

        def replaced(vectors: Tensor, hidden: Tensor) -> Tensor:
            places = backbone.vector_places
            # None where a text is continued: its prompt is behind it, in what the model has kept.
            if places is None:
                return hidden
            if hidden.shape[-1] != vectors.shape[-1]:
                raise ValueError(
                    f"--tuner deep-prompt: {backbone.name} cannot take it: its embeddings have "
                    f"{vectors.shape[-1]} numbers and its layers {hidden.shape[-1]}"
                )
            return hidden.masked_scatter(places.unsqueeze(-1), vectors.to(hidden.dtype))

        def ended(inputs: Tensor, output: Tensor) -> Tensor:
            backbone.vector_places = None
            return output

        changes = []
        for block in later:
            changes.append((block.module, partial(replaced, parts[block.name])))
        last = (later or [first])[-1].module
        with (
            backbone.prepended(parts[first.name]),
            changed_inputs(changes),
            changed_outputs([(last, ended)]),
        ):
            yield
