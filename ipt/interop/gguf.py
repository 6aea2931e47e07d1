"""Turn a GGUF file into a folder that `--model` takes: weights as safetensors, config.json and the tokenizer.

transformers reads such a file (its quantised weights become floating point again) but does not save what it read, so the
weights are put into a fresh model of the same configuration. Needs the extra `gguf`.
"""

import importlib.util
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer


def convert(file: Path, folder: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Read a .gguf file and write the folder; raise ValueError where it is none or the extra is missing."""
    if missing := [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]:
        raise ValueError(f'{" and ".join(missing)} missing; needs the extra "gguf": pip install "intrinsic-prompt-tuning[gguf]"')
    if not file.is_file() or _first_bytes(file) != b"GGUF":
        raise ValueError(f"{file} is no GGUF file")
    where = {"gguf_file": file.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
    settings = {k: v for k, v in read.config.to_dict().items() if k not in ("quantization_config", "dtype", "model_type")}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(read.config.model_type, **settings))
    model.load_state_dict(read.state_dict())
    model.to(dtype).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, **where).save_pretrained(folder)


def _first_bytes(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(4)
