"""The bank: tuned deltas on disk by what they depend on, and the scores kept beside them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import float16, float32, float64

from ipt.data import Task
from ipt.experiment import Experiment
from ipt.methods.tuning import TunedDelta
from ipt.provenance import bank_record
from ipt.run import BANK
from ipt.storage import (
    read_json,
    read_metadata,
    read_tensors,
    write_json,
    write_sealed,
    write_tensors,
)

# Name of a delta's tensor in its file, as older banks have it.
TENSOR = "prompt"
HEAD = "head"
# In a file's metadata: its delta was rounded to float16 when its run was packed.
ROUNDED = "rounded"
# What to do about a damaged file of scores: they are measured again.
REMOVE_SCORES = "remove it and run again: the scores in it are measured again"


class DeltaBank:
    """Tuned deltas of one setting (backbone, tuner, tuning, seed, data seed), a file per task.

    The folder's name is a hash of the setting; a file also records the digest of its task, and
    counts only for that.
    """

    def __init__(self, root: Path, setting: dict[str, Any]) -> None:
        # Sorted keys: the same setting has the same hash, in whatever order it was written down.
        text = json.dumps(setting, sort_keys=True)
        digest = hashlib.sha256(text.encode())
        name = digest.hexdigest()[:16]
        self.folder = root / BANK / name
        self.setting = setting

    def _path(self, task: Task) -> Path:
        return self.folder / f"{task.name}.safetensors"

    def has(self, name: str, digest: str) -> bool:
        """Return whether the delta of the task of this name and these rows is there."""
        # Without reading its numbers: `get` sees whether they are whole.
        path = self.folder / f"{name}.safetensors"
        return path.exists() and read_metadata(path).get("digest") == digest

    def get(self, task: Task) -> TunedDelta | None:
        """Return the task's delta, or None where it is missing or was tuned on other rows.

        Raises ValueError naming the file where it is damaged.
        """
        path = self._path(task)
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        # Tuned on other rows: not this task's delta, whatever the file's name.
        if metadata.get("digest") != task.digest:
            return None

        try:
            note = json.loads(metadata["note"])
            # Older banks hold a soft prompt as [n, h].
            delta = tensors[TENSOR].flatten()
            if delta.dtype == float16 and ROUNDED in metadata:
                delta = delta.float()
            tuned = TunedDelta(
                delta=delta,
                learning_rate=note["learning_rate"],
                dev_loss=note["dev_loss"],
                steps=note["steps"],
                head=tensors.get(HEAD, delta.new_zeros(0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no tuned delta ({error!r}); remove it and run again"
            ) from error
        # A file without a sha256 may hold anything; a delta is trained in full precision.
        for numbers in (tuned.delta, tuned.head):
            if numbers.dtype not in (float32, float64) or not numbers.isfinite().all():
                raise ValueError(
                    f"{path}: finite numbers of float32 were expected, found others, of "
                    f"{numbers.dtype}; remove it and run again"
                )
        return tuned

    def put(self, task: Task, tuned: TunedDelta, *, is_rounded: bool = False) -> None:
        """Keep a task's delta; is_rounded: in float16, which is read as float32."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # For people: it says what a folder named by a hash holds.
        settings = self.folder / "setting.json"
        if not settings.exists():
            write_json(settings, self.setting)

        note = {
            "learning_rate": tuned.learning_rate,
            "dev_loss": tuned.dev_loss,
            "steps": tuned.steps,
        }
        metadata = {
            "digest": task.digest,
            "note": json.dumps(note),
        }
        tensors = {TENSOR: tuned.delta}
        if is_rounded:
            tensors[TENSOR] = tuned.delta.half()
            metadata[ROUNDED] = "float16"
        if len(tuned.head):
            tensors[HEAD] = tuned.head
        write_tensors(self._path(task), tensors, metadata)

    def missing(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose delta is missing."""
        # Each file is read: one that was tuned on other rows is missing too.
        return [task for task in tasks if self.get(task) is None]

    def scores(self, what: str, tasks: Sequence[Task], rows: str) -> dict[str, Any]:
        """Return the kept scores of these tasks by name, without those of other data.

        rows: which were scored: all, a number, all-dev.
        """
        path = self._scores_path(what, rows)
        records = _read_scores(path)
        scores = {}
        for task in tasks:
            record = records.get(task.name, {})
            # A task of the same name may have been changed since it was scored.
            if record.get("digest") == task.digest:
                scores[task.name] = record["scores"]
        return scores

    def put_scores(
        self,
        what: str,
        tasks: Sequence[Task],
        rows: str,
        scores: Mapping[str, Any],
    ) -> None:
        """Keep the scores of these tasks."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._scores_path(what, rows)
        # Two processes that score other tasks of one bank keep each other's entries.
        with FileLock(f"{path}.lock"):
            records = _read_scores(path)
            for task in tasks:
                records[task.name] = {
                    "digest": task.digest,
                    "scores": scores[task.name],
                }
            write_sealed(path, records)

    def _scores_path(self, what: str, rows: str) -> Path:
        return self.folder / f"{what}-{rows}.json"


def _read_scores(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    return read_json(path, REMOVE_SCORES)


def open_bank(experiment: Experiment, data_seed: int) -> DeltaBank:
    """Return the bank of the experiment's deltas of a data seed."""
    setting = bank_record(experiment, data_seed)
    return DeltaBank(experiment.work.out, setting)


def scored_rows(experiment: Experiment) -> str:
    """Return what the scored rows are called in the bank: all, a number, all-dev."""
    work = experiment.work
    rows = str(work.limit or "all")
    if work.held_out == "test":
        return rows
    return f"{rows}-{work.held_out}"
