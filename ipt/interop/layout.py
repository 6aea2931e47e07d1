"""Deltas that PEFT has no folder for: the parts by their names, and a layout that says whose.

`delta.safetensors` holds the parts, `ipt.json` names the tuner with its settings, the shape of
each part, and the model with its fingerprint.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from ipt.interop.folder import flattened, numbers_of, read_small_json, spelled
from ipt.provenance import tuner_from_record
from ipt.storage import read_tensors, write_json, write_tensors
from ipt.training.model import Model

PARTS = "delta.safetensors"
ABOUT = "ipt.json"
HEAD = "head"


def write_parts(
    delta: Tensor,
    model: Model,
    folder: Path,
    about: Mapping[str, Any],
    head: Tensor | None = None,
) -> None:
    """Write the named parts of a delta [P] of any tuner, and the layout beside `about`.

    head: [H] the numbers of its head, if it has any.
    """
    backbone = model.backbone
    shapes = {}
    for name, shape in model.tuner.shapes(backbone).items():
        shapes[name] = list(shape)
    layout: dict[str, Any] = {
        "tuner": {"name": model.tuner.name} | asdict(cast(Any, model.tuner)),
        "parts": shapes,
        "model": backbone.name,
        "fingerprint": backbone.fingerprint,
    }
    tensors = dict(model.tuner.parts(backbone, delta))
    if head is not None:
        tensors[HEAD] = head
        layout[HEAD] = {"name": about["head"], "labels": about["labels"], "numbers": len(head)}
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / PARTS, tensors)
    write_json(folder / ABOUT, {**about, "layout": layout})


def read_parts(folder: Path, model: Model) -> tuple[Tensor, str]:
    """Return the delta [P] of such a folder, and the model it was tuned for.

    Raises ValueError where it is of another tuner, does not fit the model, or is damaged.
    """
    layout = _read_layout(folder)
    try:
        tuner = tuner_from_record(layout["tuner"])
        tuned_for = str(layout["model"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(
            f"{folder}: {ABOUT} names no tuner of this version ({error}); export it again"
        ) from error
    if HEAD in layout:
        raise ValueError(
            f"{folder} holds a delta with a head; heads are not read: tune the task here"
        )
    if tuner != model.tuner:
        raise ValueError(
            f"{folder} holds a delta of another tuner than --tuner {spelled(model.tuner)}: set "
            f"--tuner {spelled(tuner)}"
        )
    tensors, _ = read_tensors(folder / PARTS, remedy="export it again")
    parts = {}
    for name, shape in model.tuner.shapes(model.backbone).items():
        found = tensors.pop(name, None)
        if found is None or found.shape != shape:
            has = "none" if found is None else list(found.shape)
            raise ValueError(
                f"{folder}: the part {name} must have the shape {list(shape)} for --model "
                f"{model.backbone.name}, found {has} (for {tuned_for}); use the model it is for"
            )
        parts[name] = numbers_of(folder, name, found)
    if tensors:
        raise ValueError(
            f"{folder}: --model {model.backbone.name} has no place for the part "
            f"{sorted(tensors)[0]} (for {tuned_for}); use the model it is for"
        )
    if tuned_for == model.backbone.name and layout.get("fingerprint") != model.backbone.fingerprint:
        tuned_for += " with other weights"
    return flattened(parts, model), tuned_for


def _read_layout(folder: Path) -> dict[str, Any]:
    """Return what a folder says of its parts."""
    try:
        about = read_small_json(folder / ABOUT)
    except ValueError as error:
        raise ValueError(
            f"{folder}: {ABOUT} cannot be read ({error}); export it again"
        ) from error
    layout = about.get("layout") if isinstance(about, dict) else None
    if not isinstance(layout, dict):
        raise ValueError(f"{folder}: {ABOUT} has no layout of {PARTS}; export it again")
    return layout
