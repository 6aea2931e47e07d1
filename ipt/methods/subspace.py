"""The autoencoder of deltas (IPT, section 3.2: Proj and Proj_b) and the frozen subspace it yields.

    v = (delta - start) / scale                              the same, for every task
    encode:  z = W1 v + b1                                   P -> d, no activation
    decode:  delta = start + scale (W3 tanh(W2 z + b2) + b3)      d -> m -> P

(Released code, AE_type 1; m = 768.) start and scale are fixed numbers per named part of a delta,
taken from the seen tasks' bank: without them the autoencoder loses parts whose numbers are small.
Soft prompts go without, as in the paper: start 0, scale 1. The controls of equal d, a random
subspace and PCA, have a linear decoder.
"""

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
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn.utils import skip_init

from ipt.config import WIDEST
from ipt.storage import read_json, read_tensors, write_tensors

WEIGHTS = "model.safetensors"  # the mixin's name

# A decoder of at most so many numbers fits beside its gradient and Adam's two moments (1 GB in
# float32); width 64 did as well on unseen tasks as 768 (LOG.md).
MOST_WEIGHTS = 64_000_000
NARROWEST = 64

SMALLEST = 1e-6  # deviation of a coordinate, below which it is not divided by

# The hub's template language; what stands in braces are the constructor's arguments.
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
    """Return the decoder's width m for deltas of P = size numbers: 768 where it fits."""
    fitting = MOST_WEIGHTS // size
    return max(NARROWEST, min(WIDEST, fitting))


@dataclass(frozen=True)
class Scaling:
    """What each number of a delta is counted from and in: start [P], scale [P]."""

    start: Tensor
    scale: Tensor

    @classmethod
    def none(cls, size: int) -> "Scaling":
        """Return the one that changes nothing."""
        start = torch.zeros(size)
        scale = torch.ones(size)
        return cls(start, scale)

    @classmethod
    def of_bank(cls, bank: Tensor, shapes: Mapping[str, Sequence[int]]) -> "Scaling":
        """Return the mean of the bank [T, P], and one scale for each named part.

        A part's scale is the root mean square of its numbers around their mean over tasks.
        """
        start = bank.mean(0)  # [P]
        scale = torch.ones_like(start)

        # One number for a whole part: a scale for each number would take away what tells the
        # numbers of a part apart, and a few tasks cannot estimate it.
        first = 0
        for shape in shapes.values():
            last = first + math.prod(shape)
            from_mean = bank[:, first:last] - start[first:last]  # [T, numbers of the part]
            spread = from_mean.square().mean().sqrt()
            # A part that no task has moved keeps scale 1: nothing is divided by 0.
            if spread > 0:
                scale[first:last] = spread
            first = last
        return cls(start, scale)


class DeltaEncoder(nn.Module):
    """Deltas [U, P] to vectors [U, d]."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        # `Subspace.reset` draws the weights, from a generator of its own.
        self.project = skip_init(nn.Linear, size, dim)

    def forward(self, deltas: Tensor) -> Tensor:
        return self.project(deltas)


class DeltaDecoder(nn.Module):
    """Vectors [U, d] to deltas [U, P]; linear where `inner_width` is 0."""

    def __init__(self, dim: int, size: int, inner_width: int) -> None:
        super().__init__()
        self.first = skip_init(nn.Linear, dim, inner_width or size)
        self.last = None
        if inner_width:
            self.last = skip_init(nn.Linear, inner_width, size)

    def forward(self, vectors: Tensor) -> Tensor:
        hidden = self.first(vectors)  # [U, m], or [U, P] where it is the only layer
        if self.last is None:
            return hidden
        # Without a nonlinearity between them two layers would be one: a flat surface.
        return self.last(hidden.tanh())


def reconstruction_loss(decoded: Tensor, deltas: Tensor) -> Tensor:
    """Mean over U and P of the squared difference.

    (Released code; the paper's formula has the sum over P, that is P times this.)
    """
    difference = decoded - deltas
    return difference.square().mean()


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

    def __init__(  # noqa: PLR0913 (scikit-learn's contract: parameters are named)
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

        # Buffers: saved with the weights and moved with them, never trained.
        self.register_buffer("start", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.reset()
        # Frozen unless a method trains it.
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
        layers = [self.delta_encoder.project, self.delta_decoder.first]
        if self.delta_decoder.last is not None:
            layers.append(self.delta_decoder.last)

        # One generator for all layers, in this order: the seed alone decides every weight, whatever
        # was drawn before.
        generator = torch.Generator().manual_seed(self.seed)
        for layer in layers:
            # sqrt(5) makes the bound 1 / sqrt(inputs), the bias's own: nn.Linear's default.
            nn.init.kaiming_uniform_(
                layer.weight,
                a=math.sqrt(5),
                generator=generator,
            )
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(
                layer.bias,
                -bound,
                bound,
                generator=generator,
            )

    def rescale(self, scaling: Scaling) -> None:
        """Fix what each number of a delta is counted from and in."""
        # In place, so that the buffers stay on the device where the weights are.
        self.start.copy_(scaling.start)
        self.scale.copy_(scaling.scale)

    @classmethod
    def load(cls, folder: Path) -> "Subspace":
        """Read a folder of `save_pretrained`; raise ValueError where it is not one."""
        try:
            settings = read_json(folder / "config.json")
            # Before anything is made of it: the file must be what was written.
            saved, _ = read_tensors(folder / WEIGHTS)
            # Only folders of older versions name it.
            if "prompt_length" in settings:
                return cls._load_of_prompts(saved, settings)
            with redirect_stdout(StringIO()):  # the mixin prints where it loads from
                return cls.from_pretrained(folder, local_files_only=True)
        except (OSError, SafetensorError, TypeError, KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"{folder} holds no readable subspace ({error}); run `ipt msf` again"
            ) from error

    @classmethod
    def _from_pretrained(cls, **more: Any) -> "Subspace":
        """Read a folder or what the hub has (the mixin's way); every tensor must be there."""
        # The mixin leaves random numbers where a tensor is missing.
        subspace: Subspace = super()._from_pretrained(**more | {"strict": True})
        subspace.require_finite()
        return subspace

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights (the mixin's way), with their sha256."""
        write_tensors(save_directory / WEIGHTS, self.state_dict())

    def require_finite(self) -> None:
        """Raise ValueError where a number of the subspace is none."""
        for name, tensor in self.state_dict().items():
            if not tensor.isfinite().all():
                raise ValueError(f"{name} holds NaN or infinite numbers")

    @classmethod
    def _load_of_prompts(
        cls,
        saved: Mapping[str, Tensor],
        settings: dict[str, Any],
    ) -> "Subspace":
        """Read a folder written before deltas: it names the prompt's shape."""
        length = settings.pop("prompt_length")
        width = settings.pop("hidden_size")
        subspace = cls(length * width, tuner="soft-prompt", **settings)
        # These had no scaling; every other tensor must be in the file.
        state = {"start": subspace.start, "scale": subspace.scale}
        for name, tensor in saved.items():
            # The halves of the autoencoder were called prompt_encoder and prompt_decoder.
            present_name = name.replace("prompt_", "delta_", 1)
            state[present_name] = tensor
        subspace.load_state_dict(state)
        subspace.require_finite()
        return subspace

    def encode(self, deltas: Tensor) -> Tensor:
        """Return the vectors [U, d] of deltas [U, P]."""
        scaled = (deltas - self.start) / self.scale
        return self.delta_encoder(scaled)

    def decode(self, vectors: Tensor) -> Tensor:
        """Return the deltas [U, P] of vectors [U, d]."""
        scaled = self.delta_decoder(vectors)
        return self.start + self.scale * scaled

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
        data = _rows_of(deltas).flatten(1)  # [T, P]
        if data.shape[1] != self.size:
            raise ValueError(
                f"deltas of {self.size} numbers were expected, found {data.shape[1]}"
            )
        # Anew at each call: scikit-learn's `fit` forgets what was fitted before.
        self.reset()
        self.requires_grad_(True)
        with torch.enable_grad():
            optimizer = torch.optim.Adam(self.parameters(), learning_rate)
            for _ in range(steps):
                optimizer.zero_grad()
                vectors = self.encode(data)
                rebuilt = self.decode(vectors)
                # In the parts' scales: parts whose numbers are small count as much as the others.
                loss = reconstruction_loss(rebuilt / self.scale, data / self.scale)
                loss.backward()
                optimizer.step()
        self.requires_grad_(False)
        self.standardize(data)
        return self

    def transform(self, deltas: np.ndarray) -> np.ndarray:
        """Return the vectors [U, d] of deltas [U, P]."""
        data = _rows_of(deltas).flatten(1)
        vectors = self.encode(data)
        return vectors.numpy()

    def inverse_transform(self, vectors: np.ndarray) -> np.ndarray:
        """Return the deltas [U, P] of vectors [U, d]."""
        data = _rows_of(vectors)
        deltas = self.decode(data)
        return deltas.numpy()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name (scikit-learn's contract)."""

        parameters = BaseEstimator.get_params(self, deep)
        return dict(parameters)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the card that `save_pretrained` and `push_to_hub` write."""
        values = self.get_params() | kwargs
        return super().generate_model_card(*args, **values)

    @torch.no_grad()
    def standardize(self, deltas: Tensor) -> None:
        """Shift and scale the vectors: those of deltas [T, P] get mean 0 and deviation 1."""
        vectors = self.encode(deltas)  # [T, d]
        mean = vectors.mean(0)  # [d]
        # Of these very tasks, not an estimate for others: hence the division by T.
        deviation = vectors.std(0, correction=0)  # [d]
        # A coordinate that is the same for all tasks stays as it is.
        deviation = deviation.clamp_min(SMALLEST)

        # z' = (z - mean) / deviation: put into the encoder's own weights, so that no step of it
        # remains to be done, or forgotten, elsewhere.
        encode = self.delta_encoder.project
        shifted = encode.bias - mean
        encode.bias.copy_(shifted / deviation)
        encode.weight.div_(deviation[:, None])

        # z = mean + deviation z' in the decoder: W z + b = (W deviation) z' + (b + W mean). The
        # bias first, as it needs the weights of z.
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
        scaled = _scaled(deltas, scaling)  # [T, P]

        # T points around their mean span T - 1 dimensions at most.
        dim = min(dim, len(scaled) - 1)
        # Exact, as a randomized solver would need a seed of its own.
        pca = PCA(dim, svd_solver="full")
        pca.fit(scaled.numpy())
        axes = torch.from_numpy(pca.components_)  # [d, P], orthonormal rows

        # In units of the tasks' deviation along each axis: vectors are standardized, as MSF's are.
        centered = scaled - scaled.mean(0)
        coordinates = centered @ axes.T  # [T, d]
        deviation = coordinates.std(0, correction=0)  # [d]
        return cls._linear(
            scaled.mean(0),
            axes,
            deviation,
            scaling,
            kind="pca",
            **names,
        )

    @classmethod
    def random(
        cls,
        deltas: Tensor,
        dim: int,
        seed: int,
        scaling: Scaling | None = None,
        through: Tensor | None = None,
        **names: Any,
    ) -> "Subspace":
        """Return random directions through the mean of the deltas [T, P], or through a delta [P].

        Their length spreads the deltas' own deviation evenly over the directions.
        """
        scaled = _scaled(deltas, scaling)  # [T, P]

        # Q of a normal matrix: every d-dimensional subspace is as likely as any other.
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(scaled.shape[1], dim, generator=generator)  # [P, d]
        orthonormal, _ = torch.linalg.qr(drawn)
        axes = orthonormal.T  # [d, P], orthonormal rows

        # Deltas have no extent along random axes to measure. The tasks' whole variance, a d-th
        # for each axis, makes a step of the vector as large as in the other subspaces.
        centered = scaled - scaled.mean(0)
        squared_lengths = centered.square().sum(1)  # [T]
        variance = squared_lengths.mean()
        deviation = (variance / dim).sqrt()
        center = scaled.mean(0) if through is None else _scaled(through[None], scaling)[0]
        return cls._linear(
            center,
            axes,
            deviation.expand(dim),
            scaling,
            kind="random",
            seed=seed,
            **names,
        )

    @classmethod
    def _linear(
        cls,
        center: Tensor,
        axes: Tensor,
        deviation: Tensor,
        scaling: Scaling | None,
        **names: Any,
    ) -> "Subspace":
        """Return the linear decoder v = center + axes^T diag(deviation) z.

        center: [P]. axes: [d, P], orthonormal rows. deviation: [d].
        """
        deviation = deviation.clamp_min(SMALLEST)
        size = len(center)
        # Width 0: one linear layer from vectors to deltas.
        subspace = cls(size, len(axes), 0, **names)
        if scaling is not None:
            subspace.rescale(scaling)
        # Rows of `axes` are orthonormal, so axes (v - center) projects v; divided by the deviations
        # it is the exact inverse of the decoder on this subspace.
        encode = subspace.delta_encoder.project
        decode = subspace.delta_decoder.first
        projected_center = axes @ center  # [d]
        with torch.no_grad():
            encode.weight.copy_(axes / deviation[:, None])  # [d, P]
            encode.bias.copy_(-projected_center / deviation)
            decode.weight.copy_(axes.T * deviation)  # [P, d]
            decode.bias.copy_(center)
        return subspace


def _rows_of(array: np.ndarray) -> Tensor:
    """Return an array of scikit-learn's callers as a tensor of the weights' type."""
    return torch.as_tensor(np.asarray(array), dtype=torch.float32)


def _scaled(deltas: Tensor, scaling: Scaling | None) -> Tensor:
    """Return deltas [T, P] on the CPU, each number in its scale."""
    # On the CPU: PCA and QR give the same subspace whatever the experiment's device is.
    flat = deltas.detach().cpu().flatten(1)  # [T, P]
    if scaling is None:
        return flat
    start = scaling.start.cpu()
    scale = scaling.scale.cpu()
    return (flat - start) / scale
