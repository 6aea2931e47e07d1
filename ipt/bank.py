"""Soft prompts: their start, and the bank that keeps tuned ones on disk by what they depend on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.data import Task
from ipt.methods.tuning import TunedDelta
from ipt.storage import read_json, read_tensors, write_json, write_tensors


def vocabulary_start(backbone: Backbone, length: int, seed: int) -> Tensor:
    """Return [n, h]: sampled rows of the input embedding, special tokens left out (Lester et al. 2021); one for all tasks."""
    special = set(backbone.tokenizer.all_special_ids)
    words = torch.tensor([i for i in range(len(backbone.tokenizer)) if i not in special])
    picks = words[torch.randperm(len(words), generator=torch.Generator().manual_seed(seed))[:length]]
    if len(picks) < length:
        raise ValueError(f"--prompt-length {length} exceeds the vocabulary's {len(words)} rows to start from")
    rows = backbone.embed(picks.to(backbone.device))
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


class DeltaBank:
    """Tuned prompts of one setting (backbone, tuning settings, seed, data seed), a file per task.

    The folder's name is a hash of the setting; a file also records the digest of its task, and counts only for that.
    """

    def __init__(self, root: Path, setting: dict[str, Any]) -> None:
        text = json.dumps(setting, sort_keys=True)
        self.folder = root / "bank" / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.setting = setting

    def get(self, task: Task) -> TunedDelta | None:
        """Return the task's prompt, or None where it is not there yet or was tuned on other rows."""
        path = self.folder / f"{task.name}.safetensors"
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        if metadata.get("digest") != task.digest:
            return None
        note = json.loads(metadata["note"])
        return TunedDelta(tensors["prompt"], note["learning_rate"], note["dev_loss"], note["steps"])

    def put(self, task: Task, tuned: TunedDelta) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "setting.json").exists():
            write_json(self.folder / "setting.json", self.setting)
        note = {name: getattr(tuned, name) for name in ("learning_rate", "dev_loss", "steps")}
        metadata = {"digest": task.digest, "note": json.dumps(note)}
        write_tensors(self.folder / f"{task.name}.safetensors", {"prompt": tuned.prompt}, metadata)

    def missing(self, tasks: Sequence[Task]) -> list[Task]:
        return [task for task in tasks if self.get(task) is None]

    def scores(self, what: str, tasks: Sequence[Task], rows: str) -> dict[str, Any]:
        """Return the kept scores of these tasks by name, those left out that are missing or of other data; rows: all, a number, all-dev."""
        path = self.folder / f"{what}-{rows}.json"
        kept = read_json(path) if path.exists() else {}
        return {t.name: kept[t.name]["scores"] for t in tasks if kept.get(t.name, {}).get("digest") == t.digest}

    def put_scores(self, what: str, tasks: Sequence[Task], rows: str, scores: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{what}-{rows}.json"
        with FileLock(f"{path}.lock"):  # two processes that score other tasks of one bank keep each other's entries
            kept = read_json(path) if path.exists() else {}
            write_json(path, kept | {t.name: {"digest": t.digest, "scores": scores[t.name]} for t in tasks})
