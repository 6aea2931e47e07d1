"""How a model is loaded: the embedded one, a folder, or the hub's copy; safetensors, no code."""

import importlib.util
import inspect
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from ipt import hub
from ipt.backbones import BACKBONES
from ipt.backbones.base import Backbone
from ipt.backbones.check import check
from ipt.backbones.encoder import Encoder
from ipt.backbones.size import limit_of, parameters_within, require_layers_within

MINI = Path(__file__).parent / "mini"
DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.codes", "*.tiktoken"]
# Nothing is fetched, and no code that comes with a model is run.
LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
# Packages that some tokenizers are read with.
TOKENIZER_PACKAGES = ("sentencepiece", "tiktoken")
# Files of a tokenizer that only such a package reads.
TRAINED = ("*.model", "*.spm", "*.tiktoken")
# Tokens that are not special: a tokenizer made from no file has a space at most.
LEAST_VOCABULARY = 2
LONGEST_REASON = 200
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_backbone(
    name: str = "mini",
    added_tokens: int = 0,
    dtype: str = "float32",
    device: str = "auto",
    reads_states: bool = False,
) -> Backbone:
    """Load `mini`, a folder in transformers' layout or a hub id.

    Weights are safetensors only, and no code that comes with a model is run.

    added_tokens: vectors that a tuner will put before each row.
    device: "auto" takes an accelerator where there is one.
    reads_states: without its language-model head, which a model need not have then (`Encoder`).
    Raises ValueError where there is no such model, its folder is not whole, its family is not
    supported, or it cannot be read as it reads itself (`ipt.backbones.check`).
    """
    folder = folder_of(name)
    place = device_of(device)
    # Its reports and advice are for those who call it: what matters is checked, and said in a line.
    with _quiet_transformers():
        config = _read_config(folder, name)
        family = Encoder if reads_states else family_of(config, name)
        tokenizer = _read_tokenizer(folder, name)
        model = _read_model(folder, name, family, config, dtype)
    model.to(place)  # type: ignore[arg-type]  # its own decorator hides the device
    backbone = family(model, tokenizer, name, added_tokens)
    check(backbone)
    return backbone


def _read_config(folder: Path, name: str) -> PretrainedConfig:
    with _reading(folder, name, "config.json"):
        settings = json.loads((folder / "config.json").read_text(encoding="utf8"))
        if not isinstance(settings, dict):
            raise TypeError("it must be a JSON object")
        kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        own_code = "comes with code of its own, and ipt runs no code that comes with a model"
        reason = own_code if "auto_map" in settings else "is not one that transformers knows"
        raise ValueError(
            f"--model {name}: its model type {kind!r} {reason}; take a model of a type that "
            "transformers has itself"
        )
    with _reading(folder, name, "config.json"):
        # Before transformers reads it: some configurations make a list as long as the layers.
        require_layers_within(settings, folder)
        return AutoConfig.from_pretrained(folder, **LOCAL)


def _read_model(
    folder: Path,
    name: str,
    family: type[Backbone],
    config: PretrainedConfig,
    dtype: str,
) -> PreTrainedModel:
    settings = dict(LOCAL)
    if "t5" in config.model_type:
        # With its position bias plain attention is twice as fast on CPUs as the fused one (LOG.md).
        settings["attn_implementation"] = "eager"
    if family is Encoder and _may_have_pooler(config):
        # What it makes of the first state is not read.
        settings["add_pooling_layer"] = False
    with _reading(folder, name, "weights"), parameters_within(limit_of(folder)):
        model, report = family.loader.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            output_loading_info=True,
            # transformers would raise an error that advises to ignore it; ours is below.
            ignore_mismatched_sizes=True,
            **settings,
        )
    wrong = _wrong_weights(model, report)
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(
            f"--model {name}: the weights in {folder} are not those of a whole "
            f"{type(model).__name__}: {wrong[0]}{more}; copy the model again, or take one with "
            "a language-model head"
        )
    if family is Encoder and config.is_encoder_decoder:
        encoder: PreTrainedModel = model.get_encoder()
        return encoder
    return model


def _may_have_pooler(config: PretrainedConfig) -> bool:
    """Return whether the bare model of a configuration can be made without its pooler."""
    kind: Any = AutoModel._model_mapping.get(type(config), None)
    return "add_pooling_layer" in inspect.signature(kind).parameters


def _wrong_weights(model: PreTrainedModel, report: dict[str, Any]) -> list[str]:
    """Return what is wrong with the weights of a model that was read.

    report: transformers' own, of what the files lack and have too many.
    """
    # What is missing or of another shape has random values by now.
    wrong = []
    for weight in sorted(report["missing_keys"]):
        wrong.append(f"{weight} is missing")
    for weight, found, expected in sorted(report["mismatched_keys"]):
        wrong.append(f"{weight} is {list(found)} and not {list(expected)}")
    # Layers that config.json leaves out: the model would be another one, without a word.
    own = set()
    for weight, _ in model.named_parameters():
        # Files of a model without its head leave out the first part of a name.
        own.add(_any_layer(weight))
        own.add(_any_layer(weight.removeprefix(f"{model.base_model_prefix}.")))
    has_layers = getattr(model.config, "num_hidden_layers", 1) != 0
    for weight in sorted(report["unexpected_keys"]):
        if _any_layer(weight) in own or not has_layers:
            wrong.append(f"{weight} is of a layer that its config.json does not count")
    for weight, values in model.named_parameters():
        if not values.isfinite().all():
            dtype = str(values.dtype).removeprefix("torch.")
            wrong.append(f"{weight} is not finite in {dtype}")
    return wrong


def _any_layer(weight: str) -> str:
    """Return a weight's name without the numbers of its layer and its place there."""
    return re.sub(r"\.\d+(?=\.)", "", f".{weight}")


def _read_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"--model {name}: its tokenizer comes with code of its own, and ipt runs no code "
                "that comes with a model; take a model with a tokenizer.json"
            ) from error
        _require_packages(folder, name, error)
        raise _unreadable(folder, name, f"tokenizer: {_first_line(error)}") from error
    # Without files transformers makes a tokenizer of special tokens alone. Those of bytes have
    # none, and their tokens all the same.
    special = set(tokenizer.all_special_ids)
    special.update(tokenizer.added_tokens_decoder)
    plain = set(tokenizer.get_vocab().values()) - special
    if len(plain) < LEAST_VOCABULARY:
        _require_packages(folder, name, None)
        raise _unreadable(folder, name, "no tokenizer")
    return tokenizer


def _require_packages(folder: Path, name: str, error: Exception | None) -> None:
    """Raise ValueError where a tokenizer needs a package that is not there."""
    text = str(error).lower()
    is_trained = any(list(folder.glob(pattern)) for pattern in TRAINED)
    for package in TOKENIZER_PACKAGES:
        is_asked_for = isinstance(error, ImportError) and package in text
        if importlib.util.find_spec(package) is None and (is_asked_for or is_trained):
            raise ValueError(
                f"--model {name}: its tokenizer is read with the package {package}, which is not "
                f"installed: pip install {package}"
            ) from error


@contextmanager
def _reading(folder: Path, name: str, part: str) -> Iterator[None]:
    """Turn whatever reading a damaged file raises into one line that names the folder."""
    try:
        yield
    except Exception as error:
        raise _unreadable(folder, name, f"{part}: {_first_line(error)}") from error


def _unreadable(folder: Path, name: str, reason: str) -> ValueError:
    return ValueError(
        f"--model {name}: {folder} cannot be read ({reason}); it needs config.json, "
        "model.safetensors and a tokenizer: copy the model again"
    )


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def is_folder(name: str) -> bool:
    """Return whether a model's name is that of a folder."""
    return name != "mini" and Path(name).is_dir()


def loadable_name(name: str) -> str:
    """Return what transformers loads a model by, from wherever it is called."""
    # `mini` is our own word: on the hub it would be somebody else's model.
    if name == "mini" or is_folder(name):
        return str(folder_of(name).absolute())
    return name


def folder_of(name: str) -> Path:
    """Return a model's folder: the embedded one, the user's own, or the hub's copy.

    The copy is downloaded where it is missing. Raises ValueError at once where the hub has no such
    model or is out of reach, with what to download.
    """
    if name == "mini":
        return MINI
    if is_folder(name):
        return Path(name)
    # Without asking the hub where there is a copy: it works offline, and starts faster.
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise ValueError(
            f"--model must be 'mini', a folder or a hub id, found {name!r}"
        ) from error
    except LocalEntryNotFoundError:
        pass
    if not hub.is_reachable():
        raise ValueError(
            f"--model {name}: not a folder, not downloaded yet, and the hub is out of reach; "
            f"download it where there is a network (hf download {name} --local-dir FOLDER) "
            "and give --model FOLDER"
        )
    try:
        return Path(snapshot_download(name, allow_patterns=DOWNLOADED))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        reason = _first_line(error)
        raise ValueError(f"--model {name}: the hub does not give it ({reason})") from error


def device_of(name: str) -> torch.device:
    """Return the device of this name; raise ValueError where the machine does not have it."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(
            f"--device must be auto, cpu, cuda, cuda:1 or the like, found {name!r}"
        ) from error
    if device.type == "cpu":
        return device
    is_present = False
    if accelerator is not None and device.type == accelerator.type:
        index = device.index or 0
        is_present = index < torch.accelerator.device_count()
    if not is_present:
        available = accelerator.type if accelerator else "cpu only"
        raise ValueError(f"--device {name} is not there; this machine has {available}")
    return device


def family_of(config: PretrainedConfig, name: str) -> type[Backbone]:
    """Return the family of a configuration; raise ValueError where none reads it."""
    for family in BACKBONES.values():
        if family.reads(config):
            return family
    raise ValueError(
        f"--model {name}: model type {config.model_type!r} is no encoder-decoder, "
        "causal or masked language model"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().split("\n")
    # A KeyError says no more than the key.
    if isinstance(error, OSError | ValueError):
        return lines[0][:LONGEST_REASON]
    return f"{type(error).__name__}: {lines[0]}"[:LONGEST_REASON]
