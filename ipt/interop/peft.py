"""Soft prompts as PEFT writes them: adapter_config.json and adapter_model.safetensors.

Our own record stands beside them in ipt.json, since PEFT warns of keys it does not know.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
MOST_BYTES = 1_000_000  # of a configuration; PEFT's have a thousand


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


class PeftFolder(NamedTuple):
    """What a PEFT folder with a soft prompt holds."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def tuned_for(self) -> str:
        """The model, as PEFT names it."""
        return str(self.config.get("base_model_name_or_path") or "a model without a name")

    @property
    def further(self) -> list[str]:
        """Names of the tensors beside the prompt."""
        return sorted(name for name in self.tensors if name != KEY)


def read_peft(folder: Path, length: int, width: int) -> tuple[Tensor, str]:
    """Return the prompt [n, h] of a PEFT folder and the model it was tuned for.

    Raises ValueError where the folder holds another kind of adapter, or a prompt of another length
    or width. Of 2 n rows (an encoder-decoder's two submodules) PEFT's forward pass uses the first
    n, and so do we.
    """
    opened = open_peft(folder)
    return _prompt_of(opened, length, width), opened.tuned_for


def open_peft(folder: Path) -> PeftFolder:
    """Read a PEFT folder; raise ValueError where it holds no soft prompt."""
    config = _read_config(folder)
    # Older folders have a pickle, which runs what it holds.
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{folder} has no {WEIGHTS}; save it in that format (other formats may run code and "
            "are not read)"
        )
    tensors, _ = read_tensors(folder / WEIGHTS)
    return PeftFolder(folder, config, tensors)


def _prompt_of(opened: PeftFolder, length: int, width: int) -> Tensor:
    """Return the prompt [n, h]; raise ValueError where it is of another size, or no numbers."""
    folder = opened.folder
    prompt = opened.tensors.get(KEY)
    declared = opened.config.get("num_virtual_tokens")
    # Rows that the file may have: n, or n for each of two submodules.
    accepted = [declared]
    if isinstance(declared, int):
        accepted.append(2 * declared)
    is_prompt = prompt is not None and prompt.ndim == 2 and len(prompt) > 0
    if prompt is None or not is_prompt or len(prompt) not in accepted:
        shapes = {name: list(tensor.shape) for name, tensor in opened.tensors.items()}
        raise ValueError(f"{folder}: expected {KEY} of {declared} rows, found {shapes}")
    if declared != length:
        raise ValueError(
            f"{folder} holds a prompt of {declared} vectors, {length} were asked for: set the "
            f"prompt length to {declared}"
        )
    # The name is said and not compared: the same weights may lie under another name or path.
    if prompt.shape[1] != width:
        raise ValueError(
            f"{folder} holds vectors of {prompt.shape[1]} numbers (for {opened.tuned_for}), "
            f"--model reads {width}; use the model it is for"
        )
    if not prompt.is_floating_point():
        raise ValueError(f"{folder}: {KEY} must be of floating-point numbers, found {prompt.dtype}")
    # After the conversion: a large number of double precision is infinite in single precision.
    prompt = prompt[:length].float()
    if not prompt.isfinite().all():
        raise ValueError(
            f"{folder}: {KEY} holds numbers that are not finite (nan or infinity, in float32); "
            "its training went wrong, tune it again"
        )
    return prompt


def _read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of a PEFT folder that holds a soft prompt."""
    path = folder / CONFIG
    try:
        # A device or a pipe has no end.
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no regular file of at most {MOST_BYTES} bytes")
        config = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise ValueError(
            f"{folder} is no PEFT folder: {CONFIG} cannot be read ({reason})"
        ) from error
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "PROMPT_TUNING":
        raise ValueError(
            f"{folder} holds a PEFT adapter of the kind {kind!s:.40}; soft prompts of the kind "
            "PROMPT_TUNING can be read"
        )
    return dict(config)


def require_same_use(opened: PeftFolder, backbone: Backbone) -> None:
    """Raise ValueError where PEFT would do something else with the folder than we do.

    That is another task than a language model's, and weights beside the prompt that the model does
    not have: a classifier's head, embeddings.
    """
    expected = PEFT_TASKS.get(type(backbone))
    kind = opened.config.get("task_type")
    # PEFT leaves it open where nobody said it.
    if kind is not None and kind != expected:
        reads = f"of task_type {expected}" if expected else "without a task_type"
        raise ValueError(
            f"{opened.folder}: the prompt was tuned for task_type {kind!s:.40}, and --model "
            f"{backbone.name} takes prompts {reads}; choose others or another model"
        )
    weights = backbone.model.state_dict()
    for name in opened.further:
        # PEFT wraps the model once.
        own = weights.get(name.removeprefix("base_model."))
        saved = opened.tensors[name]
        if own is None or own.shape != saved.shape or not own.equal(saved.to(own)):
            raise ValueError(
                f"{opened.folder} brings weights beside the prompt, which would not be used "
                f"({name} {list(saved.shape)}): a head or embeddings of its own; save the prompt "
                "without them, or the whole model as the folder of --model"
            )


def find_folders(root: Path) -> dict[str, Path]:
    """Return the PEFT folders below `root`, by the name of their task.

    PEFT saves an adapter that is not named `default` one folder below, under its name.
    Raises ValueError where a task has several and none of them is the default.
    """
    if not root.is_dir():
        raise ValueError(f"--prompts {root} is no folder")
    folders = {path.parent.name: path.parent for path in root.glob(f"*/{CONFIG}")}
    named: dict[str, list[Path]] = {}
    for path in root.glob(f"*/*/{CONFIG}"):
        folder = path.parent
        named.setdefault(folder.parent.name, []).append(folder)
    for task, found in named.items():
        if task in folders:
            continue
        if len(found) > 1:
            names = ", ".join(sorted(folder.name for folder in found))
            raise ValueError(
                f"--prompts {root}: {task} has several adapters ({names}); leave one of them"
            )
        folders[task] = found[0]
    return folders


def read_prompts(root: Path, names: Sequence[str], model: Model) -> tuple[GivenDeltas, list[str]]:
    """Return the deltas of a folder with one PEFT folder per task, and notes for the user.

    names: the tasks of the split. Raises ValueError where none of them has a folder, where one
    cannot be read, and for a tuner other than soft prompts.
    """
    backbone = model.backbone
    if not isinstance(model.tuner, SoftPrompt):
        raise ValueError(f"--prompts holds soft prompts, --tuner is {model.tuner.name}")
    paths = find_folders(root)
    # Sorted, as the digest below must not depend on the file system.
    folders = sorted(paths)
    taken = [name for name in folders if name in names]
    if not taken:
        found = ", ".join(folders[:5]) or "none"
        if (root / CONFIG).is_file():
            found = "one there itself; put it into a folder named after its task"
        raise ValueError(f"--prompts {root}: no PEFT folder is named after a task; found {found}")
    # The digest identifies runs and banks with these prompts: by names and numbers, wherever the
    # folder lies.
    deltas = {}
    models = set()
    with_weights = []
    content = hashlib.sha256()
    for name in taken:
        opened = open_peft(paths[name])
        prompt = _prompt_of(opened, model.tuner.prompt_length, backbone.hidden_size)
        require_same_use(opened, backbone)
        deltas[name] = prompt.flatten()  # [P]
        models.add(opened.tuned_for)
        if opened.further:
            with_weights.append(name)
        numbers = prompt.contiguous().numpy()
        content.update(name.encode() + numbers.tobytes())

    # Neither is an error: a folder may hold more tasks than the split, and prompts may be tried
    # on another model of the same width.
    to_tune = len(set(names) - set(taken))
    notes = [f"prompts of {len(taken)} tasks are taken from {root}; {to_tune} are tuned"]
    unknown = sorted(set(folders) - set(taken))
    if unknown:
        notes.append(f"note: PEFT folders of no task here: {', '.join(unknown[:5])}")
    if with_weights:
        some = ", ".join(with_weights[:5])
        notes.append(f"note: saved with embeddings that are the model's own: {some}")
    others = sorted(models - {backbone.name})
    if others:
        notes.append(f"note: tuned for {', '.join(others[:3])}, used with {backbone.name}")
    return GivenDeltas(tuple(taken), content.hexdigest()[:16], deltas), notes
