"""P-Tuning (Liu et al. 2021, arXiv 2103.10385): soft prompts that a small network makes.

    prompt = MLP(BiLSTM(E)),   E [n, h]

Trained: E and the network, one for each job; the bank holds the prompts that they make. The prompts
may also stand between the parts of an input, as in P-Tuning's templates: (3, 3) puts three vectors
before the input and three behind its first separator.

Published: template (3, 3, 3), width h / 2, rate 1e-5 (LAMA); in few-shot SuperGLUE the whole model
is tuned too, so these numbers are of another method. PEFT's encoder has an MLP of another width and
its "MLP" has three layers.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ipt.backbones.base import VECTOR, Backbone
from ipt.config import setting
from ipt.tuners.base import Tuner
from ipt.tuners.reparameterization import BiLstm, PromptMlp, Reparameterization


@dataclass(frozen=True)
class PTuning(Tuner):
    """Soft prompts before and between the parts of an input, made by a network."""

    name: ClassVar[str] = "p-tuning"
    learning_rates: ClassVar[tuple[float, ...]] = (0.01, 0.003)
    rescales: ClassVar[bool] = False  # the vectors are embeddings, of about the same size

    template: tuple[int, ...] = setting(
        (10,),
        "vectors before the input, and behind its first, second, ... separator",
        "as many as a soft prompt has; LAMA 3+3+3",
    )
    separator: str = setting(
        " [SEP] ",
        "what stands between the parts of an input; vectors of a part that an input lacks stand "
        "before it",
    )
    network: Literal["lstm", "mlp"] = setting("lstm", "lstm: BiLSTM and MLP; mlp: the MLP alone")
    network_width: int = setting(
        0,
        "width of a direction of the LSTM, or inside the MLP; half of the hidden size, if 0",
        "LAMA",
    )

    def check(self) -> None:
        self.require_choices("network", ("lstm", "mlp"))
        if sum(self.template) < 1:
            raise ValueError(
                "--tuner p-tuning: template must be one or more counts of vectors, "
                f"found {list(self.template)}"
            )

    @property
    def prompt_length(self) -> int:
        return sum(self.template)

    @property
    def added_tokens(self) -> int:
        return self.prompt_length

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        return {"prompt": (self.prompt_length, backbone.hidden_size)}

    def reparameterization(self, backbone: Backbone) -> Reparameterization:
        hidden_size = backbone.hidden_size
        width = self.network_width or hidden_size // 2
        kind = BiLstm if self.network == "lstm" else PromptMlp
        return kind(self.prompt_length, hidden_size, width)

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        """Return the prompt that the network makes at its start."""
        network = self.reparameterization(backbone)
        weights = network.initialize(generator)
        return network.deltas(weights[None])[0].to(backbone.device)

    def applied(
        self,
        backbone: Backbone,
        deltas: Tensor,
        owner: Tensor,
    ) -> AbstractContextManager[None]:
        parts = self.parts(backbone, deltas)
        of_rows = parts["prompt"][owner]  # [B, n, h]
        separator = backbone.ids(self.separator)
        return backbone.prepended(of_rows, partial(self.place, separator))

    def place(self, separator: Sequence[int], input_ids: Sequence[int]) -> list[int]:
        """Return an input's tokens with the VECTORs of the template at their places."""
        first, *between = self.template
        placed: list[int] = []
        start = 0
        for count in between:
            end = _behind(separator, input_ids, start)
            if end is None:
                # Each row has the same number of vectors, whatever its parts.
                first += count
                continue
            placed += [*input_ids[start:end], *[VECTOR] * count]
            start = end
        return [VECTOR] * first + placed + [*input_ids[start:]]


def _behind(part: Sequence[int], ids: Sequence[int], start: int) -> int | None:
    """Return the place behind the first occurrence of a part from `start` on, or None."""
    part = list(part)
    for end in range(start + len(part), len(ids) + 1):
        if part and list(ids[end - len(part) : end]) == part:
            return end
    return None
