"""A bound on what a model's folder may ask for: a model has no more numbers than its files hold.

A configuration of ten lines can describe a model of any size, and building it would take all memory
or forever. The files say how many tensors and bytes there are before anything is built.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import Module, Parameter
from torch.nn.modules import module as registration

# Numbers that count layers, whatever a family calls them: num_hidden_layers, n_layer, ...
LAYERS = re.compile(r"layers?$")
# The header of a safetensors file begins with its own length in bytes.
LENGTH_BYTES = 8
# safetensors' own limit.
LONGEST_HEADER = 100_000_000
# Tied weights lie in the files once and are made several times (T5: four times), a quantised
# number takes less than a byte; beyond that it is another model.
ROUGHLY = 16
# Numbers of the smallest models, tables of positions that no file holds.
SMALLEST = 2**24
# Layers may share their weights.
FEWEST_LAYERS = 1000


@dataclass(frozen=True)
class Held:
    """What the weight files of a folder hold."""

    tensors: int
    numbers: int  # at most: one a byte


def held_by(folder: Path) -> Held:
    """Return what the folder's safetensors files hold; of a damaged one nothing."""
    tensors = 0
    numbers = 0
    for file in folder.glob("*.safetensors"):
        if not file.is_file():
            continue
        numbers += file.stat().st_size
        tensors += len(_header(file))
    return Held(tensors, numbers)


def _header(file: Path) -> dict[str, Any]:
    """Return the header of a safetensors file; an empty one where it is damaged."""
    # Damage is said where the weights are read.
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if length > min(LONGEST_HEADER, file.stat().st_size):
            return {}
        try:
            header = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            return {}
    return header if isinstance(header, dict) else {}


def limit_of(folder: Path) -> int:
    """Return how many numbers a model may have that is made of these files, roughly."""
    return ROUGHLY * held_by(folder).numbers + SMALLEST


def require_layers_within(settings: dict[str, Any], folder: Path) -> None:
    """Raise ValueError where a configuration has more layers than the files could hold."""
    most = max(FEWEST_LAYERS, held_by(folder).tensors)
    waiting = [settings]
    while waiting:
        for key, value in waiting.pop().items():
            # Multi-modal models and pairs of models have a configuration each.
            if isinstance(value, dict):
                waiting.append(value)
            if isinstance(value, int | float) and LAYERS.search(key) and value > most:
                raise ValueError(f"{key} is {value}, far more than its weights could fill")


@contextmanager
def parameters_within(most: int) -> Iterator[None]:
    """Raise ValueError inside the context once models of more numbers are made."""
    made = 0

    def count(module: Module, name: str, values: Parameter | Tensor | None) -> None:
        nonlocal made
        if values is not None:
            made += values.numel()
        if made > most:
            raise ValueError("config.json describes a far larger model than the weights are of")

    # Each number of a module is registered, also where it has no memory yet.
    hooks = [
        registration.register_module_parameter_registration_hook(count),
        registration.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
