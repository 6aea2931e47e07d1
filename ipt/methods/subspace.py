"""The autoencoder of deltas (IPT, section 3.2: Proj and Proj_b) and the frozen subspace it yields.

    v = (delta - start) / scale                              the same, for every task
    encode:  z = W1 v + b1                                   P -> d, no activation
    decode:  delta = start + scale (W3 tanh(W2 z + b2) + b3)      d -> m -> P

(Released code, AE_type 1; m = 768.) start and scale are fixed numbers per named part of a delta,
taken from the seen tasks' bank: without them the autoencoder loses parts whose numbers are small.
Soft prompts go without, as in the paper: start 0, scale 1. The controls of equal d, a random
subspace and PCA, have a linear decoder.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from safetensors import SafetensorError
from safetensors.torch import load_file
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ipt.config import WIDEST

# A decoder of at most so many numbers fits beside its gradient and Adam's two moments (1 GB in
# float32); width 64 did as well on unseen tasks as 768 (LOG.md).
MOST_WEIGHTS = 64_000_000
NARROWEST = 64

SMALLEST = 1e-6  # deviation of a coordinate, below which it is not divided by

CARD = """---
{{ card_data }}
---

# Intrinsic subspace of {{ tuner or "deltas" }}, d = {{ dim }}

{{ dim }} numbers per task are decoded to the {{ size }} numbers of a {{ tuner or "delta" }} for the
frozen language model `{{ backbone }}` (Qin et al., arXiv 2110.07867).

| | |
| --- | --- |
| language model | `{{ backbone }}` |
| tuner | {{ tuner }}, {{ size }} numbers per task |
| intrinsic dimension | {{ dim }} |
| found by | {{ kind }}, task split {{ split }}, seed {{ seed }} |
{% for name, value in (scores or {}).items() -%}
| {{ name }} | {{ "%.3f" | format(value) }} |
{% endfor %}
Found on {{ tasks | length }} tasks: {{ tasks | join(", ") or "not recorded" }}.

```python
import ipt

subspace = ipt.Subspace.from_pretrained("this repository or folder")
deltas = subspace.decode(vectors)  # [U, {{ dim }}] -> [U, {{ size }}]
```
"""


def inner_width_for(size: int) -> int:
    """Return the decoder's width m for deltas of P = size numbers: 768 where it fits, else fewer."""
    return max(NARROWEST, min(WIDEST, MOST_WEIGHTS // size))


@dataclass(frozen=True)
class Scaling:
    """What each number of a delta is counted from and in: start [P], scale [P]."""

    start: Tensor
    scale: Tensor

    @classmethod
    def none(cls, size: int) -> "Scaling":
        """Return the one that changes nothing."""
        return cls(torch.zeros(size), torch.ones(size))

    @classmethod
    def of_bank(cls, bank: Tensor, shapes: Mapping[str, Sequence[int]]) -> "Scaling":
        """Return the mean of the bank [T, P], and one scale for each named part.

        A part's scale is the root mean square of its numbers around their mean over tasks.
        """
        start = bank.mean(0)
        scale = torch.ones_like(start)
        first = 0
        for shape in shapes.values():
            last = first + math.prod(shape)
            spread = (bank[:, first:last] - start[first:last]).square().mean().sqrt()
            if spread > 0:
                scale[first:last] = spread
            first = last
        return cls(start, scale)


class DeltaEncoder(nn.Module):
    """Deltas [U, P] to vectors [U, d]."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.project = skip_init(nn.Linear, size, dim)

    def forward(self, deltas: Tensor) -> Tensor:
        return self.project(deltas)


class DeltaDecoder(nn.Module):
    """Vectors [U, d] to deltas [U, P]; linear where `inner_width` is 0."""

    def __init__(self, dim: int, size: int, inner_width: int) -> None:
        super().__init__()
        self.first = skip_init(nn.Linear, dim, inner_width or size)
        self.last = skip_init(nn.Linear, inner_width, size) if inner_width else None

    def forward(self, vectors: Tensor) -> Tensor:
        hidden = self.first(vectors)
        if self.last is None:
            return hidden
        return self.last(hidden.tanh())


def reconstruction_loss(decoded: Tensor, deltas: Tensor) -> Tensor:
    """Mean over U and P of the squared difference.

    (Released code; the paper's formula has the sum over P, that is P times this.)
    """
    return (decoded - deltas).square().mean()


class Subspace(
    nn.Module,
    PyTorchModelHubMixin,
    TransformerMixin,
    BaseEstimator,
    model_card_template=CARD,
    library_name="ipt",
    tags=["soft-prompts", "parameter-efficient-tuning"],
):
    """What MSF yields and IST reads: a frozen autoencoder of deltas with what it was made for.

    Vectors are standardized over the seen tasks: vector 0 is the seen tasks' mean and each
    coordinate has deviation 1 there. This re-parametrizes the first decoder layer and changes no
    reachable delta.

    It is a transformer of scikit-learn (`fit`, `transform`, `inverse_transform`, `get_params`), as
    PCA and random projections are: deltas are rows of P numbers.
    """

    delta_encoder: DeltaEncoder
    delta_decoder: DeltaDecoder
    start: Tensor
    scale: Tensor

    def __init__(
        self,
        size: int,
        dim: int = 5,
        inner_width: int = WIDEST,
        kind: str = "reconstruction",
        backbone: str = "",
        split: str = "",
        seed: int = 0,
        tasks: Sequence[str] = (),
        scores: Mapping[str, float] | None = None,
        tuner: str = "",
    ) -> None:
        """Make an autoencoder with random weights.

        size: P. dim: d. inner_width: m; 0 is a linear decoder.
        kind: how it is found: msf, random, pca, reconstruction.
        backbone, split, tuner: names of what it is for.
        seed: of its initial weights.
        tasks: the seen tasks.
        scores: what the model card reports, by name.
        """
        super().__init__()
        # Attributes are named after the arguments: scikit-learn's contract.
        self.size = size
        self.dim = dim
        self.inner_width = inner_width
        self.kind = kind
        self.backbone = backbone
        self.tuner = tuner
        self.split = split
        self.seed = seed
        self.tasks = tasks
        self.scores = scores
        self.register_buffer("start", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.reset()
        self.requires_grad_(False)

    @torch.no_grad()
    def reset(self) -> None:
        """Make new layers of the sizes that `set_params` has left.

        Their weights have torch's own distribution of linear layers, drawn from `seed`. The
        scaling stays, unless it is of another P.
        """
        if len(self.start) != self.size:
            self.start = torch.zeros(self.size)
            self.scale = torch.ones(self.size)
        self.delta_encoder = DeltaEncoder(self.size, self.dim)
        self.delta_decoder = DeltaDecoder(self.dim, self.size, self.inner_width)
        generator = torch.Generator().manual_seed(self.seed)
        layers = [self.delta_encoder.project, self.delta_decoder.first, self.delta_decoder.last]
        for layer in layers:
            if layer is not None:
                nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
                bound = 1 / math.sqrt(layer.in_features)
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)

    def rescale(self, scaling: Scaling) -> None:
        """Fix what each number of a delta is counted from and in."""
        self.start.copy_(scaling.start)
        self.scale.copy_(scaling.scale)

    @classmethod
    def load(cls, folder: Path) -> "Subspace":
        """Read a folder of `save_pretrained`; raise ValueError where it is not one."""
        try:
            settings = json.loads((folder / "config.json").read_text(encoding="utf8"))
            if "prompt_length" in settings:
                return cls._load_of_prompts(folder, settings)
            with redirect_stdout(StringIO()):  # the mixin prints where it loads from
                return cls.from_pretrained(folder, local_files_only=True, strict=True)
        except (OSError, SafetensorError, TypeError, KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{folder} holds no readable subspace ({error}); run `ipt msf` again"
            ) from error

    @classmethod
    def _load_of_prompts(cls, folder: Path, settings: dict[str, Any]) -> "Subspace":
        """Read a folder written before deltas: it names the prompt's shape."""
        size = settings.pop("prompt_length") * settings.pop("hidden_size")
        subspace = cls(size, tuner="soft-prompt", **settings)
        # These had no scaling; every other tensor must be in the file.
        state = {"start": subspace.start, "scale": subspace.scale}
        for name, tensor in load_file(folder / "model.safetensors").items():
            state[name.replace("prompt_", "delta_", 1)] = tensor
        subspace.load_state_dict(state)
        return subspace

    def encode(self, deltas: Tensor) -> Tensor:
        """Return the vectors [U, d] of deltas [U, P]."""
        return self.delta_encoder((deltas - self.start) / self.scale)

    def decode(self, vectors: Tensor) -> Tensor:
        """Return the deltas [U, P] of vectors [U, d]."""
        return self.start + self.scale * self.delta_decoder(vectors)

    def fit(
        self,
        deltas: np.ndarray,
        y: None = None,
        *,
        steps: int = 1000,
        learning_rate: float = 1e-3,
    ) -> "Subspace":
        """Train a new autoencoder on the deltas' reconstruction alone: MSF without the model.

        deltas: [T, P], or any shape of P numbers a row. Full batches, Adam; the initial weights
        come from `seed`. Raises ValueError where a row has other than P numbers.
        """
        data = torch.as_tensor(np.asarray(deltas), dtype=torch.float32).flatten(1)
        if data.shape[1] != self.size:
            raise ValueError(
                f"deltas of {self.size} numbers were expected, found {data.shape[1]}"
            )
        self.reset()
        self.requires_grad_(True)
        with torch.enable_grad():
            optimizer = torch.optim.Adam(self.parameters(), learning_rate)
            for _ in range(steps):
                optimizer.zero_grad()
                rebuilt = self.decode(self.encode(data))
                loss = reconstruction_loss(rebuilt / self.scale, data / self.scale)
                loss.backward()
                optimizer.step()
        self.requires_grad_(False)
        self.standardize(data)
        return self

    def transform(self, deltas: np.ndarray) -> np.ndarray:
        """Return the vectors [U, d] of deltas [U, P]."""
        data = torch.as_tensor(np.asarray(deltas), dtype=torch.float32).flatten(1)
        return self.encode(data).numpy()

    def inverse_transform(self, vectors: np.ndarray) -> np.ndarray:
        """Return the deltas [U, P] of vectors [U, d]."""
        return self.decode(torch.as_tensor(np.asarray(vectors), dtype=torch.float32)).numpy()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name (scikit-learn's contract)."""
        return dict(BaseEstimator.get_params(self, deep))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the card that `save_pretrained` and `push_to_hub` write."""
        return super().generate_model_card(*args, **(self.get_params() | kwargs))

    @torch.no_grad()
    def standardize(self, deltas: Tensor) -> None:
        """Shift and scale the vectors: those of deltas [T, P] get mean 0 and deviation 1."""
        vectors = self.encode(deltas)
        mean = vectors.mean(0)
        deviation = vectors.std(0, correction=0).clamp_min(SMALLEST)
        # z' = (z - mean) / deviation in the encoder; z = mean + deviation z' in the decoder.
        encode = self.delta_encoder.project
        encode.bias.copy_((encode.bias - mean) / deviation)
        encode.weight.div_(deviation[:, None])
        decode = self.delta_decoder.first
        decode.bias.add_(decode.weight @ mean)
        decode.weight.mul_(deviation)

    @classmethod
    def pca(
        cls,
        deltas: Tensor,
        dim: int,
        scaling: Scaling | None = None,
        **names: Any,
    ) -> "Subspace":
        """Return the best linear subspace of the deltas [T, P]; of min(dim, T - 1) dimensions."""
        scaled = _scaled(deltas, scaling)
        dim = min(dim, len(scaled) - 1)
        components = PCA(dim, svd_solver="full").fit(scaled.numpy()).components_
        axes = torch.from_numpy(components)  # [d, P], orthonormal rows
        deviation = ((scaled - scaled.mean(0)) @ axes.T).std(0, correction=0)
        return cls._linear(scaled, axes, deviation, scaling, kind="pca", **names)

    @classmethod
    def random(
        cls,
        deltas: Tensor,
        dim: int,
        seed: int,
        scaling: Scaling | None = None,
        **names: Any,
    ) -> "Subspace":
        """Return random directions through the mean of the deltas [T, P].

        Their length spreads the deltas' own deviation evenly over the directions.
        """
        scaled = _scaled(deltas, scaling)
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(scaled.shape[1], dim, generator=generator)
        axes = torch.linalg.qr(drawn)[0].T  # [d, P], orthonormal rows
        variance = (scaled - scaled.mean(0)).square().sum(1).mean()
        deviation = (variance / dim).sqrt().expand(dim)
        return cls._linear(scaled, axes, deviation, scaling, kind="random", seed=seed, **names)

    @classmethod
    def _linear(
        cls,
        scaled: Tensor,
        axes: Tensor,
        deviation: Tensor,
        scaling: Scaling | None,
        **names: Any,
    ) -> "Subspace":
        """Return the linear decoder v = mean + axes^T diag(deviation) z.

        scaled: [T, P]. axes: [d, P], orthonormal rows. deviation: [d].
        """
        mean = scaled.mean(0)
        deviation = deviation.clamp_min(SMALLEST)
        subspace = cls(scaled.shape[1], len(axes), 0, **names)
        if scaling is not None:
            subspace.rescale(scaling)
        encode = subspace.delta_encoder.project
        decode = subspace.delta_decoder.first
        with torch.no_grad():
            encode.weight.copy_(axes / deviation[:, None])
            encode.bias.copy_(-(axes @ mean) / deviation)
            decode.weight.copy_(axes.T * deviation)
            decode.bias.copy_(mean)
        return subspace


def _scaled(deltas: Tensor, scaling: Scaling | None) -> Tensor:
    """Return deltas [T, P] on the CPU, each number in its scale."""
    flat = deltas.detach().cpu().flatten(1)
    if scaling is None:
        return flat
    return (flat - scaling.start.cpu()) / scaling.scale.cpu()
