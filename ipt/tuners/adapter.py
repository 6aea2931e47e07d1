"""Adapters (Houlsby et al. 2019, arXiv 1902.00751): a bottleneck behind a sublayer.

    y' = y + W_up f(W_down y + b_down) + b_up,   y the output of the sublayer's last linear layer

It stands before dropout, residual and normalization, behind attention and feed-forward layers
(Houlsby), or behind the latter alone (Pfeiffer et al. 2021). Trained: both matrices, and biases.

Published: width 64, GELU, rate 3e-4, weights from N(0, 1e-3) cut at two deviations, biases 0; there
the normalizations are trained too, here they are not. IPT's own adapters have width 16, swish and
no biases. Gauge freedom: hidden units can change places and signs, so deltas are averaged only
where jobs began at one start.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone
from ipt.backbones.hooks import changed_outputs
from ipt.config import setting
from ipt.tuners.places import AtLinears

DEVIATION = 1e-3
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": nn.functional.gelu,
    "relu": nn.functional.relu,
    "swish": nn.functional.silu,
}


@dataclass(frozen=True)
class Adapter(AtLinears):
    """Two small layers behind each chosen sublayer."""

    name: ClassVar[str] = "adapter"
    learning_rates: ClassVar[tuple[float, ...]] = (0.003, 0.01)

    width: int = setting(16, "hidden units of an adapter", "IPT's adapters; Houlsby 64")
    targets: tuple[str, ...] = setting(
        ("output", "down"),
        "linear layers that an adapter stands behind: output+down is Houlsby's, down Pfeiffer's",
        "Houlsby",
    )
    layers: tuple[int, ...] = setting((), "numbers of the layers that have one, from 0; all")
    activation: Literal["gelu", "relu", "swish"] = setting(
        "gelu",
        "between the two layers: gelu, relu or swish",
        "Houlsby; IPT swish",
    )
    biases: Literal["trained", "none"] = setting("trained", "none: no biases", "Houlsby; IPT none")

    def check(self) -> None:
        self.require_positive("width")
        self.require_choices("activation", tuple(ACTIVATIONS))
        self.require_choices("biases", ("trained", "none"))

    def shapes(self, backbone: Backbone) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for linear in self.linears(backbone):
            size = linear.outputs
            shapes[f"{linear.name}.down"] = (self.width, size)
            shapes[f"{linear.name}.up"] = (size, self.width)
            if self.biases == "trained":
                shapes[f"{linear.name}.down_bias"] = (self.width,)
                shapes[f"{linear.name}.up_bias"] = (size,)
        return shapes

    def initialize(self, backbone: Backbone, generator: torch.Generator) -> Tensor:
        """Return a start that leaves the model almost as it is; biases 0."""
        parts = []
        for name, shape in self.shapes(backbone).items():
            part = torch.zeros(shape)
            if not name.endswith("bias"):
                # At zero both matrices' gradients would be zero for ever.
                nn.init.trunc_normal_(
                    part,
                    std=DEVIATION,
                    a=-2 * DEVIATION,
                    b=2 * DEVIATION,
                    generator=generator,
                )
            parts.append(part.flatten())
        return torch.cat(parts).to(backbone.device)

    @contextmanager
    def applied(self, backbone: Backbone, deltas: Tensor, owner: Tensor) -> Iterator[None]:
        parts = self.parts(backbone, deltas[owner])
        changes = []
        for linear in self.linears(backbone):
            own = {}
            for part in ("down", "up", "down_bias", "up_bias"):
                own[part] = parts.get(f"{linear.name}.{part}")
            changes.append((linear.module, partial(self._add, own)))
        with changed_outputs(changes):
            yield

    def _add(self, own: dict[str, Tensor | None], inputs: Tensor, output: Tensor) -> Tensor:
        """Return output + adapter(output), of each row its own."""
        down, up = own["down"], own["up"]
        assert down is not None and up is not None
        hidden = output @ down.to(output.dtype).mT  # [B, L, width]
        if own["down_bias"] is not None:
            hidden = hidden + own["down_bias"].unsqueeze(1).to(output.dtype)
        hidden = ACTIVATIONS[self.activation](hidden)
        difference = hidden @ up.to(output.dtype).mT
        if own["up_bias"] is not None:
            difference = difference + own["up_bias"].unsqueeze(1).to(output.dtype)
        return output + difference
