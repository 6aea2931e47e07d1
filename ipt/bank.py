"""The bank: tuned deltas on disk by what they depend on, and the scores kept beside them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from ipt.data import Task
from ipt.experiment import Experiment
from ipt.methods.tuning import TunedDelta
from ipt.provenance import bank_record
from ipt.storage import read_json, read_tensors, write_json, write_tensors

# Name of a delta's tensor in its file, as older banks have it.
TENSOR = "prompt"
NOTED = ("learning_rate", "dev_loss", "steps")


class DeltaBank:
    """Tuned deltas of one setting (backbone, tuner, tuning, seed, data seed), a file per task.

    The folder's name is a hash of the setting; a file also records the digest of its task, and
    counts only for that.
    """

    def __init__(self, root: Path, setting: dict[str, Any]) -> None:
        text = json.dumps(setting, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder = root / "bank" / name
        self.setting = setting

    def _path(self, task: Task) -> Path:
        return self.folder / f"{task.name}.safetensors"

    def get(self, task: Task) -> TunedDelta | None:
        """Return the task's delta, or None where it is missing or was tuned on other rows."""
        path = self._path(task)
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        if metadata.get("digest") != task.digest:
            return None
        note = json.loads(metadata["note"])
        # Older banks hold a soft prompt as [n, h].
        return TunedDelta(tensors[TENSOR].flatten(), **{name: note[name] for name in NOTED})

    def put(self, task: Task, tuned: TunedDelta) -> None:
        """Keep a task's delta."""
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "setting.json"
        if not settings.exists():
            write_json(settings, self.setting)
        note = {name: getattr(tuned, name) for name in NOTED}
        metadata = {"digest": task.digest, "note": json.dumps(note)}
        write_tensors(self._path(task), {TENSOR: tuned.delta}, metadata)

    def missing(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks whose delta is missing."""
        return [task for task in tasks if self.get(task) is None]

    def scores(self, what: str, tasks: Sequence[Task], rows: str) -> dict[str, Any]:
        """Return the kept scores of these tasks by name, without those of other data.

        rows: which were scored: all, a number, all-dev.
        """
        records = _read_scores(self._scores_path(what, rows))
        scores = {}
        for task in tasks:
            record = records.get(task.name, {})
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
                records[task.name] = {"digest": task.digest, "scores": scores[task.name]}
            write_json(path, records)

    def _scores_path(self, what: str, rows: str) -> Path:
        return self.folder / f"{what}-{rows}.json"


def _read_scores(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def open_bank(experiment: Experiment, data_seed: int) -> DeltaBank:
    """Return the bank of the experiment's deltas of a data seed."""
    return DeltaBank(experiment.work.out, bank_record(experiment, data_seed))


def scored_rows(experiment: Experiment) -> str:
    """Return what the scored rows are called in the bank: all, a number, all-dev."""
    rows = str(experiment.work.limit or "all")
    if experiment.work.held_out == "test":
        return rows
    return f"{rows}-{experiment.work.held_out}"
