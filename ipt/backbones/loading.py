"""How a model is loaded: the embedded one, a folder, or the hub's copy; safetensors, no code."""

from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig

from ipt import hub
from ipt.backbones import BACKBONES
from ipt.backbones.base import Backbone

MINI = Path(__file__).parent / "mini"
# Files of which a tokenizer needs one; without them transformers makes an empty one.
TOKENIZERS = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
DOWNLOADED = ["*.json", "*.safetensors", "*.txt", "*.model"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_backbone(
    name: str = "mini",
    added_tokens: int = 0,
    dtype: str = "float32",
    device: str = "auto",
) -> Backbone:
    """Load `mini`, a folder in transformers' layout or a hub id.

    Weights are safetensors only, and no code that comes with a model is run.

    added_tokens: vectors that a tuner will put before each row.
    device: "auto" takes an accelerator where there is one.
    Raises ValueError where there is no such model, it has no safetensors or tokenizer, or its
    family is not supported.
    """
    folder = folder_of(name)
    place = device_of(device)
    # Nothing is fetched from here on, and no code that comes with a model is run.
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        family = family_of(config, name)
        if "t5" in config.model_type:
            # With its position bias plain attention is twice as fast on CPUs as the fused one
            # (LOG.md).
            local["attn_implementation"] = "eager"
        model = family.loader.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            **local,
        )
        if not any((folder / file).is_file() for file in TOKENIZERS):
            raise OSError("no tokenizer")
        tokenizer = AutoTokenizer.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
        )
    except (OSError, SafetensorError) as error:
        reason = _first_line(error)
        raise ValueError(
            f"--model {name}: {folder} cannot be read ({reason}); it needs config.json, "
            "model.safetensors and a tokenizer: copy the model again"
        ) from error
    return family(model.to(place), tokenizer, name, added_tokens)


def is_folder(name: str) -> bool:
    """Return whether a model's name is that of a folder."""
    return name != "mini" and Path(name).is_dir()


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
    return str(error).strip().split("\n")[0]
