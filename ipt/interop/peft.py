"""Soft prompts as PEFT writes them: a folder with adapter_config.json and adapter_model.safetensors (`PROMPT_TUNING`).

Our own record stands beside them in ipt.json, since PEFT warns of keys it does not know.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.storage import read_tensors, write_json, write_tensors

PEFT_TASKS = {EncoderDecoder: "SEQ_2_SEQ_LM", CausalLM: "CAUSAL_LM"}
CONFIG, WEIGHTS, KEY = "adapter_config.json", "adapter_model.safetensors", "prompt_embeddings"


@dataclass(frozen=True)
class GivenDeltas:
    """Prompts that were tuned elsewhere, by task; the digest is over names and numbers.

    prompts: empty in a run that is opened again, whose bank holds them.
    """

    names: tuple[str, ...] = ()
    digest: str = ""
    prompts: Mapping[str, Tensor] = field(default_factory=dict, repr=False)


def write_peft(prompt: Tensor, backbone: Backbone, folder: Path, about: dict[str, Any]) -> None:
    """Write a folder that `PeftModel.from_pretrained` loads, and ipt.json with where the prompt [n, h] comes from.

    PEFT's prompt tuning reads only the encoder's side of an encoder-decoder, so there is one submodule, not two.
    """
    kind = PEFT_TASKS.get(type(backbone))
    if kind is None:
        raise ValueError(f"PEFT has no prompt tuning for masked models such as {backbone.name}")
    length, width = prompt.shape
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": kind,
        "base_model_name_or_path": backbone.name,
        "num_virtual_tokens": length,
        "num_transformer_submodules": 1,
        "token_dim": width,
        "inference_mode": True,
    }
    write_tensors(folder / WEIGHTS, {KEY: prompt}, {"format": "pt"})
    write_json(folder / CONFIG, config)
    write_json(folder / "ipt.json", about)


def read_peft(folder: Path, length: int, width: int) -> tuple[Tensor, str]:
    """Return the prompt [n, h] of a PEFT folder and the model it was tuned for.

    Raises ValueError where the folder holds another kind of adapter, or a prompt of another length or width. Of 2 n rows (an
    encoder-decoder's two submodules) PEFT's forward pass uses the first n, and so do we.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no PEFT folder: {CONFIG} cannot be read ({error})") from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "PROMPT_TUNING":
        raise ValueError(f"{folder} holds a PEFT adapter of the kind {kind}; soft prompts of the kind PROMPT_TUNING can be read")
    if not (folder / WEIGHTS).is_file():
        raise ValueError(f"{folder} has no {WEIGHTS}; save it in that format (other formats may run code and are not read)")
    tensors, _ = read_tensors(folder / WEIGHTS)
    found = tensors.get(KEY)
    rows, declared = (len(found) if found is not None and found.ndim == 2 else 0), config.get("num_virtual_tokens")
    if found is None or not rows or rows not in (declared, 2 * declared if isinstance(declared, int) else None):
        shapes = {name: list(t.shape) for name, t in tensors.items()}
        raise ValueError(f"{folder}: expected {KEY} of {declared} rows, found {shapes}")
    if declared != length:
        raise ValueError(f"{folder} holds a prompt of {declared} vectors, {length} were asked for: set the prompt length to {declared}")
    if found.shape[1] != width:
        name = config.get("base_model_name_or_path")
        raise ValueError(f"{folder} holds vectors of {found.shape[1]} numbers (for {name}), --model reads {width}; use the model it is for")
    return found[:length].float(), str(config.get("base_model_name_or_path"))


def read_prompts(root: Path, names: Sequence[str], backbone: Backbone, length: int) -> tuple[GivenDeltas, list[str]]:
    """Return the prompts of a folder that holds one PEFT folder per task, and what the user should know of them."""
    inside = sorted(path.parent.name for path in root.glob(f"*/{CONFIG}"))
    here = [name for name in inside if name in names]
    if not here:
        raise ValueError(f"--prompts {root}: no PEFT folder is named after a task; found {', '.join(inside[:5]) or 'none'}")
    read = {name: read_peft(root / name, length, backbone.hidden_size) for name in here}
    prompts = {name: prompt for name, (prompt, _) in read.items()}
    others = sorted({model for _, model in read.values()} - {backbone.name})
    notes = [f"prompts of {len(here)} tasks are taken from {root}; {len(set(names) - set(here))} are tuned"]
    notes += [f"note: PEFT folders of no task here: {', '.join(sorted(set(inside) - set(here))[:5])}"] * (len(here) < len(inside))
    notes += [f"note: tuned for {', '.join(others[:3])}, used with {backbone.name}"] * bool(others)
    content = hashlib.sha256()
    for name, prompt in prompts.items():
        content.update(name.encode() + prompt.contiguous().numpy().tobytes())
    return GivenDeltas(tuple(here), content.hexdigest()[:16], prompts), notes
