"""A run folder: config.json before the first step, metrics.jsonl while it runs, checkpoint, one artefact, result.json at the end.

Writes are atomic (a temporary file beside the target, then a rename), so a kill at any moment leaves the old or the new file.
"""

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch

KEPT = {"kind", "split", "seed"}  # settings that every run has


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step; a full disk raises OSError and leaves the old file."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, record: Any) -> None:
    write_atomic(path, (json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raise ValueError naming it where it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}); remove the run folder and run again") from error


def write_tensors(path: Path, tensors: "dict[str, Tensor]", metadata: dict[str, str] | None = None) -> None:
    from safetensors.torch import save

    copies = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_atomic(path, save(copies, metadata))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read a safetensors file and its metadata; raise ValueError naming it where it is missing or damaged."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
        return load_file(path), metadata
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error}); remove it and run again") from error


def environment() -> dict[str, str]:
    """Versions a result may depend on, and the git revision where there is one."""
    packages = ("torch", "transformers", "numpy", "scikit-learn", "intrinsic-prompt-tuning")
    found = {name: version(name) for name in packages} | {"python": platform.python_version()}
    revision = subprocess.run(["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found | {"revision": revision.stdout.strip() or "unknown"}


class Run:
    """One run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path, config: dict[str, Any]) -> "Run":
        """Create the folder with its config.json, or reopen it; a folder of another configuration is an error."""
        run = cls(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".probe.{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ValueError(f"--out: {folder} cannot be written ({error.strerror}); choose another folder") from error
        path = folder / "config.json"
        if not path.exists():
            if any(p.suffix in (".json", ".jsonl", ".safetensors") for p in folder.iterdir()):
                raise ValueError(f"{folder} holds files but no config.json: not a run folder; choose another with --run")
            write_json(path, {"config": config, "environment": environment()})
        elif read_json(path).get("config") != json.loads(json.dumps(config)):
            raise ValueError(f"{folder} holds a run with other settings (see {path}); choose another with --run")
        return run

    @classmethod
    def find(cls, name: Path, out: Path) -> "Run":
        """Return the run folder of this path, or of this name below `out`; raise ValueError where there is none."""
        folder = name if (name / "config.json").exists() else out / name
        if not (folder / "config.json").exists():
            raise ValueError(f"{folder} is no run folder; ipt runs --out {out} lists those that are there")
        return cls(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; a second one gets a ValueError at once."""
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout:
            raise ValueError(f"{self.folder} is being written by another process; wait for it or choose another --run") from None

    @property
    def config(self) -> dict[str, Any]:
        """The settings the folder was made with; raises ValueError where it is another program's."""
        record = read_json(self.folder / "config.json")
        config = record.get("config") if isinstance(record, dict) else None
        if not isinstance(config, dict) or not config.keys() >= KEPT:
            raise ValueError(
                f"{self.folder} is no run of ipt msf or ipt ist: its config.json lacks {', '.join(sorted(KEPT))}; choose another"
            )
        return config

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a complete run, else None."""
        path = self.folder / "result.json"
        return read_json(path) if path.exists() else None

    def lacking(self, parts: Mapping[str, str]) -> list[str]:
        """Return those of the parts, each with the setting that it scores, whose scores are not there yet."""
        scored = (self.result or {"scores": {}})["scores"]
        return [part for part, setting in parts.items() if setting not in scored]

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which marks the run complete, and drop the checkpoints."""
        write_json(self.folder / "result.json", result)
        for path in self.folder.glob("checkpoint-*.safetensors"):
            path.unlink()

    def checkpoint(self, stage: str, seconds: float = 60.0) -> "Checkpoint":
        return Checkpoint(self.folder, stage, seconds)


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


def complete_runs(out: Path, kind: str) -> list[Run]:
    """Return the complete runs of a kind, the newest last; folders that cannot be read are passed over."""
    found = []
    for path in sorted(out.glob("*/result.json"), key=lambda p: p.stat().st_mtime):
        try:
            found += [Run(path.parent)] if Run(path.parent).config["kind"] == kind else []
        except ValueError:
            continue
    return found


def free_bytes(folder: Path) -> int:
    """Free space where the folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def hold(folders: Iterable[Path], locks: ExitStack, say: Callable[[str], None]) -> None:
    """Make the folders of prompts and lock each for this process until `locks` is closed, after any other process that has it."""
    for folder in sorted(folders):  # in one order: no two processes wait for each other
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"another process is tuning prompts in {folder}: waiting for it")
            lock.acquire()
        locks.callback(lock.release)
