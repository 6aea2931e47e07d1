"""Soft prompts as PEFT writes them: adapter_config.json and adapter_model.safetensors.

Our own record stands beside them in ipt.json, since PEFT warns of keys it does not know.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.experiment import GivenDeltas
from ipt.storage import read_tensors, write_json, write_tensors
from ipt.training.model import Model
from ipt.tuners.soft_prompt import SoftPrompt

# PEFT's names of the families; it has no prompt tuning for masked models.
PEFT_TASKS: dict[type[Backbone], str] = {
    EncoderDecoder: "SEQ_2_SEQ_LM",
    CausalLM: "CAUSAL_LM",
}
# Names that PEFT's loader asks for.
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
KEY = "prompt_embeddings"


def write_peft(delta: Tensor, model: Model, folder: Path, about: dict[str, Any]) -> None:
    """Write a folder that `PeftModel.from_pretrained` loads.

    delta: [P] of a soft prompt.
    about: where it comes from, written to ipt.json.
    Raises ValueError for another tuner, and for a masked model.
    """
    backbone = model.backbone
    kind = PEFT_TASKS.get(type(backbone))
    if not isinstance(model.tuner, SoftPrompt):
        raise ValueError(
            f"soft prompts can be written for PEFT, this run has the tuner {model.tuner.name}"
        )
    if kind is None:
        raise ValueError(f"PEFT has no prompt tuning for masked models such as {backbone.name}")
    # PEFT has the vectors in rows where we have one flat delta.
    prompt = model.tuner.parts(backbone, delta)["prompt"]  # [n, h]
    length, width = prompt.shape
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": kind,
        "base_model_name_or_path": backbone.name,
        "num_virtual_tokens": length,
        # PEFT's prompt tuning reads only the encoder's side of an encoder-decoder.
        "num_transformer_submodules": 1,
        "token_dim": width,
        "inference_mode": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, {KEY: prompt}, {"format": "pt"})
    write_json(folder / CONFIG, config)
    write_json(folder / "ipt.json", about)


def read_peft(folder: Path, length: int, width: int) -> tuple[Tensor, str]:
    """Return the prompt [n, h] of a PEFT folder and the model it was tuned for.

    Raises ValueError where the folder holds another kind of adapter, or a prompt of another length
    or width. Of 2 n rows (an encoder-decoder's two submodules) PEFT's forward pass uses the first
    n, and so do we.
    """
    config = _read_config(folder)
    # Older folders have a pickle, which runs what it holds.
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has no {WEIGHTS}; save it in that format (other formats may run code and "
            "are not read)"
        )
    tensors, _ = read_tensors(folder / WEIGHTS)
    prompt = tensors.get(KEY)
    declared = config.get("num_virtual_tokens")
    # Rows that the file may have: n, or n for each of two submodules.
    accepted = [declared]
    if isinstance(declared, int):
        accepted.append(2 * declared)
    is_prompt = prompt is not None and prompt.ndim == 2 and len(prompt) > 0
    if prompt is None or not is_prompt or len(prompt) not in accepted:
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        raise ValueError(f"{folder}: expected {KEY} of {declared} rows, found {shapes}")
    if declared != length:
        raise ValueError(
            f"{folder} holds a prompt of {declared} vectors, {length} were asked for: set the "
            f"prompt length to {declared}"
        )
    # The name is said and not compared: the same weights may lie under another name or path.
    name = config.get("base_model_name_or_path")
    if prompt.shape[1] != width:
        raise ValueError(
            f"{folder} holds vectors of {prompt.shape[1]} numbers (for {name}), --model reads "
            f"{width}; use the model it is for"
        )
    return prompt[:length].float(), str(name)


def _read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a PEFT folder that holds a soft prompt."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} is no PEFT folder: {CONFIG} cannot be read ({error})"
        ) from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "PROMPT_TUNING":
        raise ValueError(
            f"{folder} holds a PEFT adapter of the kind {kind}; soft prompts of the kind "
            "PROMPT_TUNING can be read"
        )
    return config


def read_prompts(root: Path, names: Sequence[str], model: Model) -> tuple[GivenDeltas, list[str]]:
    """Return the deltas of a folder with one PEFT folder per task, and notes for the user.

    names: the tasks of the split. Raises ValueError where none of them has a folder, where one
    cannot be read, and for a tuner other than soft prompts.
    """
    backbone = model.backbone
    if not isinstance(model.tuner, SoftPrompt):
        raise ValueError(f"--prompts holds soft prompts, --tuner is {model.tuner.name}")
    folders = []
    for path in root.glob(f"*/{CONFIG}"):
        folders.append(path.parent.name)
    # Sorted, as the digest below must not depend on the file system.
    folders.sort()
    taken = [name for name in folders if name in names]
    if not taken:
        found = ", ".join(folders[:5]) or "none"
        raise ValueError(f"--prompts {root}: no PEFT folder is named after a task; found {found}")
    # The digest identifies runs and banks with these prompts: by names and numbers, wherever the
    # folder lies.
    deltas = {}
    models = set()
    content = hashlib.sha256()
    for name in taken:
        prompt, tuned_for = read_peft(
            root / name,
            model.tuner.prompt_length,
            backbone.hidden_size,
        )
        deltas[name] = prompt.flatten()  # [P]
        models.add(tuned_for)
        numbers = prompt.contiguous().numpy()
        content.update(name.encode() + numbers.tobytes())

    # Neither is an error: a folder may hold more tasks than the split, and prompts may be tried
    # on another model of the same width.
    to_tune = len(set(names) - set(taken))
    notes = [f"prompts of {len(taken)} tasks are taken from {root}; {to_tune} are tuned"]
    unknown = sorted(set(folders) - set(taken))
    if unknown:
        notes.append(f"note: PEFT folders of no task here: {', '.join(unknown[:5])}")
    others = sorted(models - {backbone.name})
    if others:
        notes.append(f"note: tuned for {', '.join(others[:3])}, used with {backbone.name}")
    return GivenDeltas(tuple(taken), content.hexdigest()[:16], deltas), notes
