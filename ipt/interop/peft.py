"""Deltas as folders: PEFT's adapter_config.json and adapter_model.safetensors, or our own.

Our own record stands beside PEFT's files in ipt.json, since PEFT warns of keys it does not know.
What PEFT has no kind for has a layout of ours (`ipt.interop.layout`).
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder import Encoder
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import loadable_name
from ipt.data import Task
from ipt.experiment import GivenDeltas
from ipt.interop.beft import Biases
from ipt.interop.folder import (
    CONFIG,
    PEFT_TASKS,
    WEIGHTS,
    Kind,
    NotInPeft,
    PeftFolder,
    further,
    open_peft,
    require_same_use,
    spelled,
)
from ipt.interop.heads import TunedHead, loading_lines, with_head
from ipt.interop.ia3 import Rescaling
from ipt.interop.layout import ABOUT, PARTS, read_parts, write_parts
from ipt.interop.lora import LowRank
from ipt.interop.prefix import Prefixes
from ipt.interop.prompts import MadePrompts, Prompts, prompt_of
from ipt.storage import write_json, write_tensors
from ipt.training.model import Model

# By PEFT's name; one file each.
KINDS: dict[str, Kind] = {
    Prompts.name: Prompts(),
    MadePrompts.name: MadePrompts(),
    Prefixes.name: Prefixes(),
    LowRank.name: LowRank(),
    Rescaling.name: Rescaling(),
    Biases.name: Biases(),
}


def write_peft(
    delta: Tensor,
    model: Model,
    folder: Path,
    about: dict[str, Any],
    tuned: TunedHead | None = None,
) -> None:
    """Write a folder that `PeftModel.from_pretrained` loads.

    delta: [P] of the model's tuner.
    about: where it comes from, written to ipt.json.
    tuned: the head, where it has numbers.
    Raises NotInPeft, before anything is written, where PEFT cannot hold it.
    """
    backbone = model.backbone
    kinds = [kind for kind in KINDS.values() if kind.writes is type(model.tuner)]
    if not kinds:
        raise NotInPeft(f"PEFT has no kind of adapter for deltas of the tuner {model.tuner.name}")
    written = kinds[0].write(delta, model)
    if tuned is not None:
        about = about | tuned.record
        written = with_head(written, kinds[0].name, model, tuned)
    config = {
        "peft_type": kinds[0].name,
        "task_type": PEFT_TASKS.get(type(backbone)),
        "base_model_name_or_path": loadable_name(backbone.name),
        "inference_mode": True,
        **written.config,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, written.tensors, {"format": "pt"})
    write_json(folder / CONFIG, config)
    write_json(folder / ABOUT, about)
    # Of an earlier export to the same folder.
    (folder / PARTS).unlink(missing_ok=True)


def write_delta(
    delta: Tensor,
    model: Model,
    folder: Path,
    about: dict[str, Any],
    task: Task | None = None,
) -> str:
    """Write a folder for PEFT, or one of our own where PEFT cannot hold the delta.

    delta: [P + H].
    task: whose delta it is, where it has a head.

    Returns what was written, and why, for the user.
    """
    tuned = None
    if model.has_head_numbers:
        assert task is not None
        tuned = _head_of(delta, model, task)
        delta = delta[: model.size]
    try:
        write_peft(delta, model, folder, about, tuned)
    except NotInPeft as reason:
        head = tuned and tuned.numbers
        write_parts(delta, model, folder, about | (tuned.record if tuned else {}), head)
        for name in (CONFIG, WEIGHTS):
            (folder / name).unlink(missing_ok=True)
        if tuned:
            return f"folder: {folder} (not for PEFT: {reason}; --prompts reads no heads)"
        return f"folder: {folder} (not for PEFT: {reason}; --prompts reads it)"
    if tuned:
        lines = loading_lines(tuned, loadable_name(model.backbone.name), str(folder))
    else:
        lines = _loading_lines(model.backbone, folder)
    return "\n".join([f"PEFT folder: {folder}", *lines])


def _loading_lines(backbone: Backbone, folder: Path) -> list[str]:
    """Return the lines of Python that load a language model with what was written."""
    # Of hidden states alone there is no answer.
    if isinstance(backbone, Encoder):
        return []
    loader = backbone.loader.__name__
    name = loadable_name(backbone.name)
    lines = [
        "from peft import PeftModel",
        f"from transformers import {loader}, AutoTokenizer",
        f"tokenizer = AutoTokenizer.from_pretrained({name!r})",
        # Else it is of the numbers that its weights are kept in, half precision in `mini`.
        f"model = {loader}.from_pretrained({name!r}, dtype={backbone.dtype!r})",
        f"model = PeftModel.from_pretrained(model, {str(folder)!r}).eval()",
    ]
    # How an input was read here: without its end the answers are others.
    if isinstance(backbone, CausalLM):
        lines.append("# an input ends with a newline")
    if isinstance(backbone, EncoderDecoder) and backbone.ids("a", special=True)[-1] != backbone.end:
        lines.append("# an input ends with tokenizer.eos_token, which the tokenizer does not add")
    return lines


def _head_of(delta: Tensor, model: Model, task: Task) -> TunedHead:
    """Return the head of a task whose numbers stand behind its delta, [P + H]."""
    head = model.head.of_task(task)
    classes = head.classes(task)
    first = model.size
    numbers = delta[first : first + head.size(model.backbone, classes)]
    labels = task.options or () if task.category in ("cls", "tags") else ()
    return TunedHead(head, numbers, classes, labels)


def read_peft(folder: Path, length: int, width: int) -> tuple[Tensor, str]:
    """Return the prompt [n, h] of a PEFT folder and the model it was tuned for.

    Raises ValueError where the folder holds another kind of adapter, or a prompt of another length
    or width. Of 2 n rows (an encoder-decoder's two submodules) PEFT's forward pass uses the first
    n, and so do we.
    """
    opened = open_peft(folder, (Prompts.name, MadePrompts.name))
    return prompt_of(opened, length, width), opened.tuned_for


def read_adapter(opened: PeftFolder, model: Model) -> Tensor:
    """Return the delta [P] of a PEFT folder; raise ValueError where it does not fit the model."""
    kind = KINDS[opened.config["peft_type"]]
    try:
        if not isinstance(model.tuner, kind.reads):
            raise kind.unlike(opened, model, kind.fitting(opened, model.backbone))
        delta = kind.read(opened, model)
    except NotInPeft as error:
        raise ValueError(f"{opened.folder} cannot be read: {error}; tune it here") from error
    require_same_use(opened, kind, model.backbone)
    return delta


def find_folders(root: Path) -> dict[str, Path]:
    """Return the folders with a delta below `root`, PEFT's and our own, by the name of their task.

    PEFT saves an adapter that is not named `default` one folder below, under its name.
    Raises ValueError where a task has several and none of them is the default.
    """
    if not root.is_dir():
        raise ValueError(f"--prompts {root} is no folder")
    folders = {}
    for file in (PARTS, CONFIG):
        for path in root.glob(f"*/{file}"):
            folders[path.parent.name] = path.parent
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
    """Return the deltas of a folder with one folder per task, and notes for the user.

    names: the tasks of the split. Raises ValueError where none of them has a folder, and where one
    cannot be read or does not fit the model and its tuner.
    """
    backbone = model.backbone
    paths = find_folders(root)
    # Sorted, as the digest below must not depend on the file system.
    folders = sorted(paths)
    taken = [name for name in folders if name in names]
    if not taken:
        found = ", ".join(folders[:5]) or "none"
        if (root / CONFIG).is_file() or (root / PARTS).is_file():
            found = "one there itself; put it into a folder named after its task"
        raise ValueError(f"--prompts {root}: no PEFT folder is named after a task; found {found}")
    # The digest identifies runs and banks with these deltas: by names and numbers, wherever the
    # folder lies.
    deltas = {}
    models = set()
    with_weights = []
    content = hashlib.sha256()
    for name in taken:
        if (paths[name] / CONFIG).is_file():
            opened = open_peft(paths[name], tuple(KINDS))
            delta = read_adapter(opened, model)
            tuned_for = opened.tuned_for
            if further(opened, KINDS[opened.config["peft_type"]]):
                with_weights.append(name)
        else:
            delta, tuned_for = read_parts(paths[name], model)
        deltas[name] = delta  # [P]
        models.add(tuned_for)
        numbers = delta.contiguous().numpy()
        content.update(name.encode() + numbers.tobytes())

    # Neither is an error: a folder may hold more tasks than the split, and deltas may be tried
    # on another model of the same width.
    to_tune = len(set(names) - set(taken))
    noun = "prompts" if model.tuner.added_tokens else f"deltas of {spelled(model.tuner)}"
    notes = [f"{noun} of {len(taken)} tasks are taken from {root}; {to_tune} are tuned"]
    unknown = sorted(set(folders) - set(taken))
    if unknown:
        notes.append(f"note: PEFT folders of no task here: {', '.join(unknown[:5])}")
    if with_weights:
        some = ", ".join(with_weights[:5])
        notes.append(f"note: saved with weights that are the model's own: {some}")
    others = sorted(models - {backbone.name, loadable_name(backbone.name)})
    if others:
        notes.append(f"note: tuned for {', '.join(others[:3])}, used with {backbone.name}")
    return GivenDeltas(tuple(taken), content.hexdigest()[:16], deltas), notes
