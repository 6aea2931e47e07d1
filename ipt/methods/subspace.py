"""The prompt autoencoder (paper, section 3.2: Proj and Proj_b) and the frozen subspace it yields.

encode:  z = W1 p + b1                       D -> d, no activation
decode:  p* = W3 tanh(W2 z + b2) + b3        d -> m -> D        (released code, AE_type 1; m = 768)

A prompt p is flattened to D = n h numbers. The rivals of equal d, a random subspace and PCA, have a linear decoder.
"""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
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

CARD = """---
{{ card_data }}
---

# Intrinsic subspace of soft prompts, d = {{ dim }}

{{ dim }} numbers per task are decoded to a soft prompt of {{ prompt_length }} vectors for the frozen language model `{{ backbone }}`
(Qin et al., arXiv 2110.07867).

| | |
| --- | --- |
| language model | `{{ backbone }}` |
| prompt | {{ prompt_length }} vectors of {{ hidden_size }} numbers |
| intrinsic dimension | {{ dim }} |
| found by | {{ kind }}, task split {{ split }}, seed {{ seed }} |
{% for name, value in (scores or {}).items() -%}
| {{ name }} | {{ "%.3f" | format(value) }} |
{% endfor %}
Found on {{ tasks | length }} tasks: {{ tasks | join(", ") or "not recorded" }}.

```python
from ipt.methods.subspace import Subspace

subspace = Subspace.from_pretrained("this repository or folder")
prompts = subspace.decode(vectors)  # [U, {{ dim }}] -> [U, {{ prompt_length }}, {{ hidden_size }}]
```
"""


class PromptEncoder(nn.Module):
    """Flattened prompts [U, D] to codes [U, d]."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(size, dim)

    def forward(self, prompts: Tensor) -> Tensor:
        return self.project(prompts)


class PromptDecoder(nn.Module):
    """Decoded [U, d] to flattened prompts [U, D]; linear where `inner_width` is 0."""

    def __init__(self, dim: int, size: int, inner_width: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, inner_width or size)
        self.last = nn.Linear(inner_width, size) if inner_width else None

    def forward(self, codes: Tensor) -> Tensor:
        hidden = self.first(codes)
        return hidden if self.last is None else self.last(hidden.tanh())


def reconstruction_loss(decoded: Tensor, prompts: Tensor) -> Tensor:
    """Mean over U, n and h of the squared difference (released code; the paper's formula has the sum, n h times this)."""
    return (decoded - prompts).square().mean()


class Subspace(
    nn.Module,
    PyTorchModelHubMixin,
    TransformerMixin,
    BaseEstimator,
    model_card_template=CARD,
    library_name="ipt",
    tags=["soft-prompts", "parameter-efficient-tuning"],
):
    """What MSF yields and IST reads: a frozen decoder (and encoder) with the settings it was made for.

    Decoded are standardised over the seen tasks: code 0 is the seen tasks' mean code and each coordinate has deviation 1
    there. This re-parametrises the first decoder layer and changes no reachable prompt.

    It is a transformer of scikit-learn (`fit`, `transform`, `inverse_transform`, `get_params`), as PCA and random projections are:
    prompts are rows of D = n h numbers, or [U, n, h].

    tasks: the seen tasks. scores: what the model card reports, by name.
    """

    prompt_encoder: PromptEncoder
    prompt_decoder: PromptDecoder

    def __init__(
        self,
        prompt_length: int,
        hidden_size: int,
        dim: int = 5,
        inner_width: int = 768,
        kind: str = "reconstruction",
        backbone: str = "",
        split: str = "",
        seed: int = 0,
        tasks: Sequence[str] = (),
        scores: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.prompt_length, self.hidden_size, self.dim, self.inner_width = prompt_length, hidden_size, dim, inner_width
        self.kind, self.backbone, self.split, self.seed = kind, backbone, split, seed
        self.tasks, self.scores = tasks, scores
        self._build()

    def _build(self) -> None:
        """Make both halves anew, from torch's global generator."""
        size = self.prompt_length * self.hidden_size
        self.prompt_encoder = PromptEncoder(size, self.dim)
        self.prompt_decoder = PromptDecoder(self.dim, size, self.inner_width)
        self.requires_grad_(False)

    @classmethod
    def load(cls, folder: Path) -> "Subspace":
        """Read a folder of `save_pretrained`; raise ValueError where it is not one."""
        try:
            with redirect_stdout(StringIO()):  # the mixin prints where it loads from
                return cls.from_pretrained(folder, local_files_only=True)
        except (OSError, SafetensorError, TypeError, RuntimeError, ValueError) as error:
            raise ValueError(f"{folder} holds no readable subspace ({error}); run `ipt msf` again") from error

    def encode(self, prompts: Tensor) -> Tensor:
        """Return the codes [U, d] of prompts [U, n, h]."""
        return self.prompt_encoder(prompts.flatten(1))

    def decode(self, codes: Tensor) -> Tensor:
        """Return the prompts [U, n, h] of codes [U, d]."""
        return self.prompt_decoder(codes).unflatten(1, (self.prompt_length, self.hidden_size))

    def fit(self, prompts: np.ndarray, y: None = None, *, steps: int = 1000, learning_rate: float = 1e-3) -> "Subspace":
        """Train a new autoencoder on the prompts' reconstruction alone (full batches, Adam): MSF without the language model.

        prompts: [T, D] or [T, n, h]. The initial weights come from `seed`.
        """
        data = torch.as_tensor(np.asarray(prompts), dtype=torch.float32).flatten(1)
        size = self.prompt_length * self.hidden_size
        if data.shape[1] != size:
            raise ValueError(f"prompts of {size} numbers were expected ({self.prompt_length} x {self.hidden_size}), found {data.shape[1]}")
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(self.seed)
            self._build()
            self.requires_grad_(True)
            optimiser = torch.optim.Adam(self.parameters(), learning_rate)
            for _ in range(steps):
                optimiser.zero_grad()
                reconstruction_loss(self.prompt_decoder(self.prompt_encoder(data)), data).backward()
                optimiser.step()
        self.requires_grad_(False)
        self.standardise(data)
        return self

    def transform(self, prompts: np.ndarray) -> np.ndarray:
        """Return the codes [U, d] of prompts [U, D] or [U, n, h]."""
        return self.encode(torch.as_tensor(np.asarray(prompts), dtype=torch.float32)).numpy()

    def inverse_transform(self, codes: np.ndarray) -> np.ndarray:
        """Return the prompts [U, D] of codes [U, d]."""
        return self.prompt_decoder(torch.as_tensor(np.asarray(codes), dtype=torch.float32)).numpy()

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name (scikit-learn's contract)."""
        return dict(BaseEstimator.get_params(self, deep))

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the card that `save_pretrained` and `push_to_hub` write: language model, tasks, d, scores."""
        return super().generate_model_card(*args, **(self.get_params() | kwargs))

    @torch.no_grad()
    def standardise(self, prompts: Tensor) -> None:
        """Shift and scale the codes so that those of the prompts [T, n, h] have mean 0 and deviation 1 per coordinate."""
        codes = self.encode(prompts)
        mean, scale = codes.mean(0), codes.std(0, correction=0).clamp_min(1e-6)
        encode, decode = self.prompt_encoder.project, self.prompt_decoder.first
        encode.bias.copy_((encode.bias - mean) / scale)
        encode.weight.div_(scale[:, None])
        decode.bias.add_(decode.weight @ mean)
        decode.weight.mul_(scale)

    @classmethod
    def pca(cls, prompts: Tensor, dim: int, **names: Any) -> "Subspace":
        """The best linear subspace of the prompts [T, n, h]; keeps min(dim, T - 1) dimensions."""
        flat = prompts.detach().cpu().flatten(1).numpy()
        dim = min(dim, len(flat) - 1)
        found = PCA(dim, svd_solver="full").fit(flat)
        return cls._linear(prompts, torch.from_numpy(found.components_), kind="pca", **names)

    @classmethod
    def random(cls, prompts: Tensor, dim: int, seed: int, **names: Any) -> "Subspace":
        """Random directions through the mean of the prompts [T, n, h], as long as the prompts' own deviation."""
        generator = torch.Generator().manual_seed(seed)
        size = prompts[0].numel()
        axes = torch.linalg.qr(torch.randn(size, dim, generator=generator))[0].T  # [d, D], orthonormal rows
        return cls._linear(prompts, axes, kind="random", seed=seed, **names)

    @classmethod
    def _linear(cls, prompts: Tensor, axes: Tensor, kind: str, **names: Any) -> "Subspace":
        """A linear decoder p = mean + axes^T diag(scale) z; scale spreads the prompts' deviation over random axes evenly."""
        flat = prompts.detach().cpu().flatten(1)
        mean = flat.mean(0)
        length, width = prompts.shape[1:]
        space = cls(length, width, len(axes), 0, kind, **names)
        spread = ((flat - mean) @ axes.T).std(0, correction=0)
        if kind == "random":
            spread = ((flat - mean).square().sum(1).mean() / len(axes)).sqrt().expand(len(axes))
        spread = spread.clamp_min(1e-6)
        with torch.no_grad():
            space.prompt_encoder.project.weight.copy_(axes / spread[:, None])
            space.prompt_encoder.project.bias.copy_(-(axes @ mean) / spread)
            space.prompt_decoder.first.weight.copy_(axes.T * spread)
            space.prompt_decoder.first.bias.copy_(mean)
        return space
