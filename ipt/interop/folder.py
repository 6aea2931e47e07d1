"""The two files of a PEFT folder, and what each kind of adapter in them must say.

A kind of PEFT's is one file here, and one line in `ipt.interop.peft.KINDS`.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, cast

from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder import Encoder
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.masked import MaskedLM
from ipt.backbones.sites import Linear
from ipt.storage import read_tensors
from ipt.training.model import Model
from ipt.tuners.base import Tuner

# Names that PEFT's loader asks for.
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
MOST_BYTES = 1_000_000  # of a configuration; PEFT's have a thousand
# What stands before a module's name: PEFT wraps a model twice, and for prompts once.
WRAPPED = "base_model.model."
# What PEFT does with a masked model under this name is what we do.
FEATURES = "FEATURE_EXTRACTION"
# PEFT's names of the families; it has none for masked models. Heads have names of their own.
PEFT_TASKS: dict[type[Backbone], str] = {
    EncoderDecoder: "SEQ_2_SEQ_LM",
    CausalLM: "CAUSAL_LM",
    Encoder: FEATURES,
}


class NotInPeft(ValueError):
    """A delta that no PEFT folder holds, and why."""


class PeftFolder(NamedTuple):
    """What a PEFT folder holds."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def tuned_for(self) -> str:
        """The model, as PEFT names it."""
        return str(self.config.get("base_model_name_or_path") or "a model without a name")


class Written(NamedTuple):
    """What PEFT is to read of a delta: fields of its configuration, and tensors."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]


class Kind(ABC):
    """One kind of PEFT's adapters, and the tuners whose deltas it holds."""

    # PEFT's name of it.
    name: ClassVar[str]
    # Whose deltas are written as it, and whose are read from it.
    writes: ClassVar[type[Tuner]]
    reads: ClassVar[tuple[type[Tuner], ...]]

    @abstractmethod
    def uses(self, name: str) -> bool:
        """Return whether a tensor of this name is the adapter's own."""

    @abstractmethod
    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        """Return the tuner whose deltas the folder holds; raise ValueError where there is none."""

    @abstractmethod
    def read(self, opened: PeftFolder, model: Model) -> Tensor:
        """Return the delta [P]; raise ValueError where it does not fit the model or its tuner."""

    @abstractmethod
    def write(self, delta: Tensor, model: Model) -> Written:
        """Return what PEFT reads of a delta [P]; raise NotInPeft where it cannot hold it."""

    def unlike(self, opened: PeftFolder, model: Model, tuner: Tuner) -> ValueError:
        """Return the error of a folder that holds deltas of another tuner than the model's."""
        return ValueError(
            f"{opened.folder} holds a PEFT adapter of the kind {self.name}, which does not fit "
            f"--tuner {spelled(model.tuner)}: set --tuner {spelled(tuner)}"
        )


def open_peft(folder: Path, kinds: Sequence[str]) -> PeftFolder:
    """Read a PEFT folder; raise ValueError where it holds none of these kinds."""
    config = _read_config(folder, kinds)
    # Older folders have a pickle, which runs what it holds.
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has no {WEIGHTS}; save it in that format (other formats may run code and "
            "are not read)"
        )
    tensors, _ = read_tensors(folder / WEIGHTS)
    return PeftFolder(folder, config, tensors)


def _read_config(folder: Path, kinds: Sequence[str]) -> dict[str, Any]:
    """Return the configuration of a PEFT folder."""
    try:
        config = read_small_json(folder / CONFIG)
    except ValueError as error:
        reason = f"{CONFIG} cannot be read ({error})"
        raise ValueError(f"{folder} is no PEFT folder: {reason}") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind not in kinds:
        raise ValueError(
            f"{folder} holds a PEFT adapter of the kind {kind!s:.40}; those of the kind "
            f"{', '.join(kinds)} can be read"
        )
    return dict(config)


def read_small_json(path: Path) -> Any:
    """Return what a JSON file from elsewhere holds; raise ValueError with the reason."""
    try:
        # A device or a pipe has no end.
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no regular file of at most {MOST_BYTES} bytes")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise ValueError(str(error)) from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def require_same_use(opened: PeftFolder, kind: Kind, backbone: Backbone) -> None:
    """Raise ValueError where PEFT would do something else with the folder than we do.

    That is another task than a language model's, and weights beside the adapter that the model does
    not have: a classifier's head, embeddings.
    """
    expected = PEFT_TASKS.get(type(backbone))
    task = opened.config.get("task_type")
    accepted = {None, expected}
    if isinstance(backbone, MaskedLM):
        accepted.add(FEATURES)
    # PEFT leaves it open where nobody said it.
    if task not in accepted:
        reads = f"of task_type {expected}" if expected else "without a task_type"
        raise ValueError(
            f"{opened.folder}: the adapter was tuned for task_type {task!s:.40}, and --model "
            f"{backbone.name} takes those {reads}; choose others or another model"
        )
    weights = backbone.model.state_dict()
    for name in further(opened, kind):
        own = weights.get(name.removeprefix(WRAPPED))
        if own is None:
            own = weights.get(name.removeprefix("base_model."))
        saved = opened.tensors[name]
        if own is None or own.shape != saved.shape or not own.equal(saved.to(own)):
            raise ValueError(
                f"{opened.folder} brings weights beside the adapter, which would not be used "
                f"({name} {list(saved.shape)}): a head or embeddings of its own; save the adapter "
                "without them, or the whole model as the folder of --model"
            )


def further(opened: PeftFolder, kind: Kind) -> list[str]:
    """Return the names of the tensors beside the adapter's own."""
    return sorted(name for name in opened.tensors if not kind.uses(name))


def numbers_of(folder: Path, name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in float32; raise ValueError where it holds anything but finite numbers."""
    if not tensor.is_floating_point():
        kind = tensor.dtype
        raise ValueError(f"{folder}: {name} must be of floating-point numbers, found {kind}")
    # After the conversion: a large number of double precision is infinite in single precision.
    numbers = tensor.float()
    if not numbers.isfinite().all():
        raise ValueError(
            f"{folder}: {name} holds numbers that are not finite (nan or infinity, in float32); "
            "its training went wrong, tune it again"
        )
    return numbers


def require_shape(
    opened: PeftFolder,
    name: str,
    expected: Sequence[int],
    backbone: Backbone,
) -> None:
    """Raise ValueError where a tensor has another shape than the model asks for."""
    found = list(opened.tensors[name].shape)
    if found != list(expected):
        raise ValueError(
            f"{opened.folder}: {name} has the shape {found} (for {opened.tuned_for}), --model "
            f"{backbone.name} asks for {list(expected)}; use the model it is for"
        )


def flattened(parts: Mapping[str, Tensor], model: Model) -> Tensor:
    """Return the delta [P] that has these parts, each of the shape that the tuner gives it."""
    delta = next(iter(parts.values())).new_empty(model.size)
    for name, place in model.tuner.parts(model.backbone, delta).items():
        place.copy_(parts[name])
    return delta


# --- modules that a folder names


def known_linears(
    opened: PeftFolder,
    names: Sequence[str],
    backbone: Backbone,
) -> list[Linear]:
    """Return the linear layers of these names.

    Raises ValueError where the model does not have one of them in a block, and without any.
    """
    by_name = {linear.name: linear for linear in backbone.sites.linears}
    unknown = [name for name in names if name not in by_name]
    kind = opened.config["peft_type"]
    if unknown or not names:
        where = f"at {unknown[0]}, which is" if unknown else "at"
        raise ValueError(
            f"{opened.folder} holds a PEFT adapter of the kind {kind} {where} no linear layer in "
            f"the blocks of --model {backbone.name} (it is for {opened.tuned_for})"
        )
    return [by_name[name] for name in names]


def targets_of(
    chosen: Sequence[Linear],
    backbone: Backbone,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the targets and layers of a tuner that acts at these linear layers and no others."""
    names = {linear.name for linear in chosen}
    some_layers = tuple(sorted({linear.layer for linear in chosen}))
    # Ever longer ends of the names; whole ones are always right.
    longest = max(name.count(".") for name in names)
    for count in range(1, longest + 1):
        ends = tuple(sorted({".".join(name.split(".")[-count:]) for name in names}))
        for layers in ((), some_layers):
            if _names_at(backbone, ends, layers) == names:
                return ends, layers
    return tuple(sorted(names)), ()


def _names_at(backbone: Backbone, ends: tuple[str, ...], layers: tuple[int, ...]) -> set[str]:
    """Return the names of the linear layers of these layers with one of these ends."""
    found = set()
    for linear in backbone.sites.linears:
        is_in_layer = not layers or linear.layer in layers
        dotted = tuple(f".{end}" for end in ends)
        if is_in_layer and f".{linear.name}".endswith(dotted):
            found.add(linear.name)
    return found


def spelled(tuner: Tuner) -> str:
    """Return what `--tuner` takes for it, without the settings that have their defaults."""
    words = []
    for field in fields(cast(Any, tuner)):
        value = getattr(tuner, field.name)
        if value != field.default:
            text = "+".join(map(str, value)) if isinstance(value, tuple) else value
            words.append(f"{field.name}={text}")
    return f"{tuner.name}:{','.join(words)}" if words else tuner.name
