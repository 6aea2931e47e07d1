"""State and metrics of one stage, saved as it goes, so that a killed run resumes."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipt.storage import flush, read_tensors, write_atomic, write_tensors

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch


class Checkpoint:
    """State of one stage in a run folder, and its lines of metrics.

    The state file records how long the stage's metrics were, so that a resumed run cuts what it
    will write again: its metrics are those of an uninterrupted run. It also records what the stage
    is of, and goes on with nothing else.

    folder: the run folder; None: nothing is written.
    stage: the name of both files.
    seconds: how long to wait between two states.
    continues: all that the stage depends on, as a text; equal texts are the same stage.
    """

    def __init__(
        self,
        folder: Path | None,
        stage: str,
        seconds: float = 60.0,
        continues: str = "",
    ) -> None:
        # Stages of one run, and the processes of one stage, have files of their own.
        self.stage = stage
        self.seconds = seconds
        self.continues = continues
        self.path: Path | None = None
        self.metrics: Path | None = None
        if folder:
            self.path = folder / f"checkpoint-{stage}.safetensors"
            self.metrics = folder / f"metrics-{stage}.jsonl"
        # A clock that setting the time does not move.
        self.saved = time.monotonic()

    @classmethod
    def none(cls) -> "Checkpoint":
        """Return a checkpoint that writes nothing."""
        return cls(None, "")

    def restore(self, tensors: "dict[str, Tensor]") -> bool:
        """Fill the tensors in place from the state file, if one exists, and say whether it does.

        Raises ValueError where the state has other names, shapes or types, or is of other settings.
        """
        if not self.path or not self.metrics:
            return False
        if not self.path.exists():
            # Lines of an attempt that ended before its first state would come twice.
            write_atomic(self.metrics, b"")
            return False

        state, metadata = read_tensors(self.path)
        # States of older versions do not say what they are of.
        continues = metadata.get("continues", self.continues)
        is_same = _described(state) == _described(tensors) and continues == self.continues
        if not is_same or not metadata.get("metrics", "").isdecimal():
            raise ValueError(
                f"{self.path} holds another state than this run's; remove it and run again"
            )
        # In place, as the optimiser and the source hold these very tensors.
        for name, tensor in tensors.items():
            tensor.copy_(state[name])

        # What was written after this state comes again. Metrics that were lost leave a gap.
        with self.metrics.open("a+b") as handle:
            length = int(metadata["metrics"])
            if handle.tell() > length:
                handle.truncate(length)
        return True

    def log(self, **record: Any) -> None:
        """Append a line of JSON to the metrics."""
        # Opened for each line: whoever follows the file sees it at once.
        if self.metrics:
            line = json.dumps(record, ensure_ascii=False)
            with self.metrics.open("a", encoding="utf8") as handle:
                handle.write(f"{line}\n")

    def maybe_save(self, tensors: "Callable[[], dict[str, Tensor]]") -> None:
        """Save the state if the last one is older than `seconds`; it is made only then."""
        if self.path and time.monotonic() - self.saved >= self.seconds:
            self.save(tensors())

    def save(self, tensors: "dict[str, Tensor]") -> None:
        """Save the state, with the present length of the metrics."""
        if not self.path or not self.metrics:
            return
        # In the same file as the state, so that one rename writes both or none.
        length = 0
        if self.metrics.exists():
            # Before the state says so: the disk must not have fewer.
            flush(self.metrics)
            length = self.metrics.stat().st_size
        metadata = {"metrics": str(length)}
        if self.continues:
            metadata["continues"] = self.continues
        write_tensors(self.path, tensors, metadata)
        self.saved = time.monotonic()

    def discard(self) -> None:
        """Remove the state file of a stage whose results are written elsewhere."""
        if self.path:
            self.path.unlink(missing_ok=True)


def stream_of(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a metrics file that are of its stream (`ipt.training.stream`).

    Others, of single jobs, and a last line that is being written are passed over.
    """
    lines = []
    if path.exists():
        for text in path.read_text(encoding="utf8", errors="replace").splitlines():
            # Lines of jobs are many: most are not read.
            if not text.startswith('{"stage"'):
                continue
            with suppress(ValueError):
                line = json.loads(text)
                lines.append(line)
    return lines


def _described(tensors: "dict[str, Tensor]") -> dict[str, Any]:
    """Return shape and type by name: numbers of another type would be rounded or cut."""
    described = {}
    for name, tensor in tensors.items():
        described[name] = (tensor.shape, tensor.dtype)
    return described
