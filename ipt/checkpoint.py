"""State and metrics of one stage, saved as it goes, so that a killed run resumes."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipt.storage import read_tensors, write_atomic, write_tensors

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch


class Checkpoint:
    """State of one stage in a run folder, saved at most every `seconds`, and its lines of metrics.jsonl.

    The state file records how long the stage's metrics were, so that a resumed run cuts what it will write again.
    """

    def __init__(self, folder: Path | None, stage: str, seconds: float = 60.0) -> None:
        self.stage, self.seconds = stage, seconds
        self.path = folder / f"checkpoint-{stage}.safetensors" if folder else None
        self.metrics = folder / f"metrics-{stage}.jsonl" if folder else None
        self.saved = time.monotonic()

    @classmethod
    def none(cls) -> "Checkpoint":
        """A checkpoint that keeps nothing."""
        return cls(None, "")

    def restore(self, tensors: "dict[str, Tensor]") -> bool:
        """Fill the tensors in place from the state file, where there is one; say whether there was."""
        if not self.path or not self.metrics:
            return False
        if not self.path.exists():
            write_atomic(self.metrics, b"")
            return False
        found, metadata = read_tensors(self.path)
        if {k: v.shape for k, v in found.items()} != {k: v.shape for k, v in tensors.items()}:
            raise ValueError(f"{self.path} holds another state than this run's; remove it and run again")
        for name, tensor in tensors.items():
            tensor.copy_(found[name])
        with self.metrics.open("r+b") as handle:
            handle.truncate(int(metadata["metrics"]))
        return True

    def log(self, **record: Any) -> None:
        if self.metrics:
            with self.metrics.open("a", encoding="utf8") as handle:
                handle.write(json.dumps(record, ensure_ascii=False) + "\n")

    def maybe_save(self, tensors: "Callable[[], dict[str, Tensor]]") -> None:
        if self.path and time.monotonic() - self.saved >= self.seconds:
            self.save(tensors())

    def save(self, tensors: "dict[str, Tensor]") -> None:
        if self.path and self.metrics:
            length = self.metrics.stat().st_size if self.metrics.exists() else 0
            write_tensors(self.path, tensors, {"metrics": str(length)})
            self.saved = time.monotonic()

    def discard(self) -> None:
        """Remove the state file of a stage whose results are written elsewhere."""
        if self.path:
            self.path.unlink(missing_ok=True)
