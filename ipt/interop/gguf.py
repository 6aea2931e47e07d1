"""Turn a GGUF file into a folder that `--model` takes.

Read: a .gguf file. Written: weights as safetensors, config.json and the tokenizer. transformers
reads such a file (its quantised weights become floating point again) but does not save what it
read, so the weights are put into a fresh model of the same configuration. Needs the extra `gguf`.
"""

import importlib.util
import struct
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

PACKAGES = ("gguf", "accelerate")  # transformers needs both to read such a file
FIRST_BYTES = b"GGUF"  # of every such file
# First bytes, version, how many tensors, how many settings.
HEADER = struct.Struct("<4sIQQ")
# The least bytes of a tensor's or a setting's own line: the length of its name, and its kind.
LEAST_ENTRY = 12
LONGEST_REASON = 200

# What the written configuration must not have from the one that was read: the weights are no longer
# quantised and have another type. The model's type is an argument of its own.
LEFT_OUT = ("quantization_config", "dtype", "model_type")


def convert(file: Path, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Read a .gguf file and write the folder.

    dtype: of the written weights.
    Raises ValueError where the extra is missing, or the file is no whole GGUF file.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f'{" and ".join(missing)} missing; needs the extra "gguf": '
            'pip install "intrinsic-prompt-tuning[gguf]"'
        )
    if not is_gguf(file):
        raise ValueError(f"{file} is no GGUF file")
    _require_whole(file)

    # In float32, so that nothing is lost before the weights are rounded once, below.
    source = {"gguf_file": file.name, "local_files_only": True}
    try:
        loaded = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **source)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
    except Exception as error:
        # A damaged file ends in whatever error the reader meets first.
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise ValueError(
            f"convert {file}: it cannot be read ({type(error).__name__}: {reason}); copy it again, "
            "or take a model of a type that transformers reads"
        ) from error
    settings = loaded.config.to_dict()
    for name in LEFT_OUT:
        settings.pop(name, None)
    config = AutoConfig.for_model(loaded.config.model_type, **settings)
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _require_whole(file: Path) -> None:
    """Raise ValueError where the file's header names more than the file could hold."""
    # The reader would make room for what the header names before it reads any of it.
    size = file.stat().st_size
    with file.open("rb") as stream:
        header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise ValueError(f"convert {file}: it ends within its header; copy it again")
    _, _, tensors, entries = HEADER.unpack(header)
    if LEAST_ENTRY * (tensors + entries) > size:
        raise ValueError(
            f"convert {file}: its header names {tensors} tensors and {entries} settings, more "
            f"than its {size} bytes could hold; copy it again"
        )


def is_gguf(file: Path) -> bool:
    """Return whether there is a file that begins as a GGUF file does."""
    if not file.is_file():
        return False
    with file.open("rb") as stream:
        return stream.read(len(FIRST_BYTES)) == FIRST_BYTES
