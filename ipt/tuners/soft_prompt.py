"""Prompt tuning (Lester et al. 2021, arXiv 2104.08691; IPT, section 3.1).

    input of row b = [p_1, ..., p_n, embedding of the row's tokens],   p = deltas[owner[b]]

Trained: n vectors of the width of the input embedding. Frozen: everything else.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.config import setting
from ipt.tuners.base import Tuner


@dataclass(frozen=True)
class SoftPrompt(Tuner):
    """n trained vectors before the input's token embeddings."""

    name: ClassVar[str] = "soft-prompt"
    learning_rates: ClassVar[tuple[float, ...]] = (0.3, 1.0)
    rescales: ClassVar[bool] = False  # the vectors are embeddings, of about the same size

    prompt_length: int = setting(
        10,
        "vectors in a soft prompt, n",
        "not searched; paper 100",
    )

    def check(self) -> None:
        self.require_positive("prompt_length")

    # Each vector takes the place of a token.
    @property
    def added_tokens(self) -> int:
        return self.prompt_length

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        return {"prompt": (self.prompt_length, backbone.hidden_size)}

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        """Return sampled rows of the input embedding, special tokens left out (Lester et al.)."""
        # Of the tokenizer's tokens: embeddings often have more rows, which were never trained.
        special = set(backbone.tokenizer.all_special_ids)
        ids = []
        for token in range(len(backbone.tokenizer)):
            if token not in special:
                ids.append(token)
        if len(ids) < self.prompt_length:
            raise ValueError(
                f"--tuner soft-prompt: prompt_length {self.prompt_length} exceeds the vocabulary's "
                f"{len(ids)} rows to start from"
            )

        # The generator is the CPU's, so that a seed gives the same start on every device.
        order = torch.randperm(len(ids), generator=generator)
        first = order[: self.prompt_length]
        picks = torch.tensor(ids)[first]
        on_device = picks.to(backbone.device)
        rows = backbone.embed(on_device)  # [n, h]

        # Steps of training are lost in half precision.
        at_least_float32 = torch.promote_types(rows.dtype, torch.float32)
        rows = rows.to(at_least_float32)
        return rows.flatten()

    def applied(
        self,
        backbone: Backbone,
        deltas: Tensor,
        owner: Tensor,
    ) -> AbstractContextManager[None]:
        parts = self.parts(backbone, deltas)
        prompts = parts["prompt"]  # [U, n, h]
        of_rows = prompts[owner]  # [B, n, h]
        return backbone.prepended(of_rows)
