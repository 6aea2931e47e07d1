"""A run folder: everything that one command writes, and all that a later one reads.

    config.json                      settings and versions, before the first step
    metrics-STAGE.jsonl              lines of figures while a stage runs
    checkpoint-STAGE.safetensors     state of a stage that is not complete
    result.json                      scores; its presence marks the run complete

Writes are atomic (`ipt.storage`), so a kill at any moment leaves the old or the new file.
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
from ipt.storage import read_json, read_tensors, write_json

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch

# Settings that every run has; a config.json without them is another program's.
REQUIRED_SETTINGS = {"kind", "split", "seed"}

# Files that a folder with results of some program has.
RESULT_SUFFIXES = (".json", ".jsonl", ".safetensors")

# Packages whose version a result may depend on.
PACKAGES = ("torch", "transformers", "numpy", "scikit-learn", "intrinsic-prompt-tuning")


def environment() -> dict[str, str]:
    """Return the versions a result may depend on, and the git revision where there is one."""
    versions = {package: version(package) for package in PACKAGES}
    versions["python"] = platform.python_version()

    # Of the package's own folder: the command may run inside another repository.
    git = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    versions["revision"] = git.stdout.strip() or "unknown"
    return versions


class Run:
    """One run folder, complete or not."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path, config: dict[str, Any]) -> "Run":
        """Create the folder with its config.json, or reopen it.

        config: all settings that identify the run, as JSON values.
        Raises ValueError where the folder cannot be written, or is of another configuration.
        """
        _check_writable(folder)
        path = folder / "config.json"
        if path.exists():
            # The versions are not compared: an update must not end a long run. Settings are, and
            # as JSON gives them back: tuples are lists there.
            settings = json.loads(json.dumps(config))
            if read_json(path).get("config") != settings:
                raise ValueError(
                    f"{folder} holds a run with other settings (see {path}); "
                    "choose another with --run"
                )
            return cls(folder)

        # A lock, a log or a note of the user's may lie in a new folder; results may not.
        if any(file.suffix in RESULT_SUFFIXES for file in folder.iterdir()):
            raise ValueError(
                f"{folder} holds files but no config.json: not a run folder; "
                "choose another with --run"
            )
        # Before the first step: a run that is killed says what it was.
        write_json(path, {"config": config, "environment": environment()})
        return cls(folder)

    @classmethod
    def find(cls, name: Path, out: Path) -> "Run":
        """Return the run folder of this path, or of this name below `out`.

        Raises ValueError where there is none.
        """
        # A path is what the shell completes, a name is what `ipt runs` prints.
        folder = name
        if not (folder / "config.json").exists():
            folder = out / name
        if not (folder / "config.json").exists():
            raise ValueError(
                f"{folder} is no run folder; ipt runs --out {out} lists those that are there"
            )
        return cls(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one process; a second one gets a ValueError at once."""
        # No waiting: two commands that write one folder are a mistake of the user's.
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                yield
        except Timeout:
            raise ValueError(
                f"{self.folder} is being written by another process; "
                "wait for it or choose another --run"
            ) from None

    @property
    def config(self) -> dict[str, Any]:
        """The settings the folder was made with; raises ValueError where it is not a run's."""
        record = read_json(self.folder / "config.json")
        config = record.get("config") if isinstance(record, dict) else None
        if not isinstance(config, dict) or not config.keys() >= REQUIRED_SETTINGS:
            required = ", ".join(sorted(REQUIRED_SETTINGS))
            raise ValueError(
                f"{self.folder} is no run of ipt msf or ipt ist: "
                f"its config.json lacks {required}; choose another"
            )
        return config

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a complete run, else None."""
        path = self.folder / "result.json"
        return read_json(path) if path.exists() else None

    def missing_parts(self, parts: Mapping[str, str]) -> list[str]:
        """Return those of the parts that have no scores yet.

        parts: the condition that each part scores, by the part's name.
        """
        # A run that was ended after some parts goes on with the others.
        result = self.result or {"scores": {}}
        return [part for part, condition in parts.items() if condition not in result["scores"]]

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which marks the run complete, and remove the checkpoints."""
        # In this order: a kill in between leaves a complete run with idle checkpoints.
        write_json(self.folder / "result.json", result)
        for path in self.folder.glob("checkpoint-*.safetensors"):
            path.unlink()

    def tensors(self, name: str) -> "dict[str, Tensor]":
        """Return the tensors of one of its files, such as `vectors` or `codes`."""
        tensors, _ = read_tensors(self.folder / f"{name}.safetensors")
        return tensors

    def checkpoint(self, stage: str, seconds: float = 60.0) -> Checkpoint:
        """Return the checkpoint of a stage of this run, saved at most every `seconds`."""
        return Checkpoint(self.folder, stage, seconds)


def load_run(name: str | Path, out: str | Path = "runs") -> Run:
    """Return a run by its folder, or by its name below `out`.

    Raises ValueError where there is none.
    """
    return Run.find(Path(name), Path(out))


def complete_runs(out: Path, kind: str) -> list[Run]:
    """Return the complete runs of a kind, the newest last.

    kind: the command that made them, such as "msf".
    Folders that cannot be read are passed over.
    """
    # By the time of the result, as folders are named after settings and not after dates.
    results = sorted(out.glob("*/result.json"), key=_modified)
    runs = []
    for path in results:
        run = Run(path.parent)
        try:
            config = run.config
        except ValueError:
            # One damaged folder, or one of another program, must not hide the others.
            continue
        if config["kind"] == kind:
            runs.append(run)
    return runs


def _modified(path: Path) -> float:
    return path.stat().st_mtime


def _check_writable(folder: Path) -> None:
    """Create the folder; raise ValueError where no file can be made in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A file system that is read-only lets mkdir of an existing folder pass.
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out: {folder} cannot be written ({error.strerror}); choose another folder"
        ) from error
