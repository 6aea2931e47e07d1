"""A run folder: config.json before the first step, metrics.jsonl while it runs, checkpoint, one artefact, result.json at the end.

Writes are atomic (a temporary file beside the target, then a rename), so a kill at any moment leaves the old or the new file.
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ipt.checkpoint import Checkpoint
from ipt.storage import read_json, write_json

if TYPE_CHECKING:
    pass  # imported late: listing runs needs no torch

KEPT = {"kind", "split", "seed"}  # settings that every run has


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

    def missing_parts(self, parts: Mapping[str, str]) -> list[str]:
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


def complete_runs(out: Path, kind: str) -> list[Run]:
    """Return the complete runs of a kind, the newest last; folders that cannot be read are passed over."""
    found = []
    for path in sorted(out.glob("*/result.json"), key=lambda p: p.stat().st_mtime):
        try:
            found += [Run(path.parent)] if Run(path.parent).config["kind"] == kind else []
        except ValueError:
            continue
    return found


