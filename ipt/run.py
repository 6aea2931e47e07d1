"""A run folder: everything that one command writes, and all that a later one reads.

    config.json                      settings and versions, before the first step
    metrics-STAGE.jsonl              lines of figures while a stage runs (`ipt.training.stream`)
    tracked.json                     what was sent to trackers, if any (`ipt.tracking`)
    checkpoint-STAGE.safetensors     state of a stage that is not complete
    result.json                      scores; its presence marks the run complete

Writes are atomic (`ipt.storage`), so a kill at any moment leaves the old or the new file.

A run's folder is found by its settings, and what it stands on by name: IST, stability and probe in
the subspace of an MSF run. Names stay where numbers change, so such a run also records the sha256
of the subspace that it was made in. It is no part of the run's name: runs of older versions keep
theirs, and a subspace that was found again with other bits is told in one line.
"""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from ipt.checkpoint import Checkpoint
from ipt.progress import Reporter
from ipt.storage import (
    REMOVE_RUN,
    SHA256,
    draft_of,
    read_json,
    read_metadata,
    read_tensors,
    remove_drafts,
    tensors_digest,
    write_sealed,
)

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch

# Settings that every run has; a config.json without them is another program's.
REQUIRED_SETTINGS = {"kind", "split", "seed"}

# Settings that are recorded and identify no run: where the files of relative names lay, and what a
# run stands on, which is compared by itself.
NOT_IN_IDENTITY = ("paths", "subspace")

# Name of the digest of a run's settings in its result.
SETTINGS = "sha256 of the settings"

# What was predicted for held-out rows: beside result.json, of runs whose head reads states.
PREDICTIONS = "predictions.json"

# What was answered to the first held-out rows of each task: beside result.json of `ipt ist`.
ANSWERS = "answers.json"

# The folder of tuned deltas, beside those of the runs.
BANK = "bank"

# A finished run that is part of the package: answers can be had before anything is trained.
EXAMPLE = "example"
EXAMPLE_FOLDER = Path(__file__).parent / "example_run"

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
        Raises ValueError where the folder cannot be written, is of another configuration, or was
        made in another subspace.
        """
        _check_writable(folder)
        remove_drafts(folder)
        path = folder / "config.json"
        if path.exists():
            # The versions are not compared: an update must not end a long run. Settings are, and
            # as JSON gives them back: tuples are lists there.
            settings = json.loads(json.dumps(config))
            stored = read_json(path).get("config")
            if not isinstance(stored, dict) or identity(stored) != identity(settings):
                raise ValueError(
                    f"{folder} holds a run with other settings (see {path}); "
                    "choose another with --run"
                )
            run = cls(folder)
            run.require_subspace(settings.get("subspace"))
            return run

        # A lock, a log or a note of the user's may lie in a new folder; results may not.
        if any(file.suffix in RESULT_SUFFIXES for file in folder.iterdir()):
            raise ValueError(
                f"{folder} holds files but no config.json: not a run folder; "
                "choose another with --run"
            )
        # Before the first step: a run that is killed says what it was.
        write_sealed(path, {"config": config, "environment": environment()})
        return cls(folder)

    @classmethod
    def find(cls, name: Path, out: Path) -> "Run":
        """Return the run that a user names.

        name: a run's folder; its name below `out`, or the beginning or the end of it that no other
            has; a folder of runs, such as `ipt runs pack` writes: its newest complete IST run;
            or `example`, the run that comes with the package.
        Raises ValueError where there is none, or several, with near names.
        """
        # A path is what the shell completes, a name is what `ipt runs` prints.
        for folder in (name, out / name):
            if (folder / "config.json").exists():
                return cls(folder)
        text = str(name)
        names = sorted(path.parent.name for path in out.glob("*/config.json"))
        fitting = [one for one in names if one.startswith(text) or one.endswith(text)]
        if len(fitting) == 1:
            return cls(out / fitting[0])
        folders = [name, out / name]
        if text == EXAMPLE:
            folders.append(EXAMPLE_FOLDER)
        for folder in folders:
            inside = complete_runs(folder, "ist")
            if inside:
                return inside[-1]

        listed = f"ipt runs --out {out} lists those that are there"
        if fitting:
            raise ValueError(f"{text} fits several runs, {', '.join(fitting)}; say more; {listed}")
        near = get_close_matches(text, names, n=3)
        remedy = f"did you mean {' or '.join(near)}? {listed}" if near else listed
        raise ValueError(f"{out / name} is no run folder; {remedy}")

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
        config = record.get("config")
        if not isinstance(config, dict) or not config.keys() >= REQUIRED_SETTINGS:
            required = ", ".join(sorted(REQUIRED_SETTINGS))
            raise ValueError(
                f"{self.folder} is no run of ipt msf or ipt ist: "
                f"its config.json lacks {required}; choose another"
            )
        return config

    @property
    def result(self) -> dict[str, Any] | None:
        """The result of a complete run, else None; raises ValueError where it is another run's."""
        path = self.folder / "result.json"
        if not path.exists():
            return None
        result = read_json(path)
        # A file that was copied here from another run is whole, too.
        config = self.config
        pairs = [
            (result.pop(SETTINGS, None), digest_of_settings(config)),
            (result.get("kind"), config["kind"]),
        ]
        split, parts = result.get("split"), config.get("parts")
        if isinstance(split, dict) and isinstance(parts, dict):
            for part in ("seen", "unseen"):
                pairs.append((split.get(part), parts.get(part)))
        for found, own in pairs:
            # Results of older versions say less.
            if found is not None and own is not None and found != own:
                raise ValueError(f"{path} is the result of another run; {REMOVE_RUN}")
        return result

    @property
    def scores(self) -> dict[str, Any]:
        """The scores so far by condition, as JSON has them; none where there is no result."""
        result = self.result
        if result is None:
            return {}
        scores = result.get("scores")
        if not isinstance(scores, dict):
            raise ValueError(
                f"{self.folder / 'result.json'} holds no scores of a run; {REMOVE_RUN}"
            )
        return scores

    def missing_parts(self, parts: Mapping[str, str]) -> list[str]:
        """Return those of the parts that have no scores yet.

        parts: the condition that each part scores, by the part's name.
        """
        # A run that was ended after some parts goes on with the others.
        scores = self.scores
        return [part for part, condition in parts.items() if condition not in scores]

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result, which marks the run complete, and remove the checkpoints."""
        # In this order: a kill in between leaves a complete run with idle checkpoints.
        settings = digest_of_settings(self.config)
        write_sealed(self.folder / "result.json", result | {SETTINGS: settings})
        for path in self.folder.glob("checkpoint-*.safetensors"):
            path.unlink()

    def remove_idle_checkpoints(self) -> None:
        """Remove the checkpoints that a kill between the two steps of `finish` has left."""
        result = self.folder / "result.json"
        for path in self.folder.glob("checkpoint-*.safetensors"):
            # Later ones are of parts that are being added.
            if path.stat().st_mtime_ns <= result.stat().st_mtime_ns:
                path.unlink()

    def tensors(self, name: str) -> "dict[str, Tensor]":
        """Return the tensors of one of its files, such as `vectors` or `codes`."""
        tensors, _ = read_tensors(self.folder / f"{name}.safetensors", REMOVE_RUN)
        return tensors

    def numbers(self, name: str, shape: tuple[int, int], more: int = 0) -> "Tensor | None":
        """Return a tensor of `vectors`, None where the run has none of this name.

        more: columns that it may have beyond: of longer heads than the one that is asked for.
        Raises ValueError where it has another shape, or holds what is no number.
        """
        found = self.tensors("vectors").get(name)
        if found is None:
            return None
        rows, width = shape
        is_shaped = found.ndim == 2 and len(found) == rows
        if not is_shaped or not 0 <= found.shape[1] - width <= more or not found.isfinite().all():
            raise ValueError(
                f"{self.folder / 'vectors.safetensors'}: {name} must be {list(shape)} finite "
                f"numbers, found {list(found.shape)}; {REMOVE_RUN}"
            )
        return found[:, :width]

    @property
    def source(self) -> "Run":
        """The MSF run in whose subspace this one was made.

        Raises ValueError where that is another subspace by now.
        """
        # The MSF run stands beside this one: a folder of runs can be moved as a whole.
        source = Run(self.folder.parent / self.config["msf_run"])
        self.require_subspace(source.subspace_digest)
        return source

    def require_subspace(self, digest: str | None) -> None:
        """Raise ValueError where the run was made in another subspace than that of this digest."""
        # Runs of older versions do not say in which.
        recorded = self.config.get("subspace") if digest else None
        if recorded is not None and recorded != digest:
            raise ValueError(
                f"{self.folder} was made in another subspace than {self.config['msf_run']} holds "
                f"now; {REMOVE_RUN}"
            )

    @property
    def subspace_digest(self) -> str | None:
        """The sha256 of an MSF run's subspace, None where it has none."""
        path = self.folder / "subspace" / "model.safetensors"
        if not path.exists():
            return None
        recorded = read_metadata(path).get(SHA256)
        # Files of older versions do not name it.
        if recorded is None:
            recorded = tensors_digest(read_tensors(path)[0])
        return recorded

    def checkpoint(self, stage: str, seconds: float = 60.0, of: str = "") -> Checkpoint:
        """Return the checkpoint of a stage of this run, saved at most every `seconds`.

        of: what the stage depends on beside the run's settings.
        """
        # By the settings and not by the folder's name: a state may have been copied.
        depends = {"of": of}
        if (self.folder / "config.json").exists():
            depends |= {name: value for name, value in self.config.items() if name != "paths"}
        text = json.dumps(depends, sort_keys=True)
        continues = hashlib.sha256(text.encode()).hexdigest()
        return Checkpoint(self.folder, stage, seconds, continues)


def identity(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a run's settings that tell it from other runs."""
    return {name: value for name, value in settings.items() if name not in NOT_IN_IDENTITY}


def digest_of_settings(settings: Mapping[str, Any]) -> str:
    """Return the sha256 of the settings that tell a run from others."""
    # Sorted, so that a field may move and the run is still the same.
    text = json.dumps(identity(settings), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def load_run(name: str | Path, out: str | Path = "runs") -> Run:
    """Return a run by its folder, or by its name below `out`, as `Run.find` has it.

    Raises ValueError where there is none.
    """
    return Run.find(Path(name), Path(out))


def chosen_run(
    name: str | Path | None,
    out: Path,
    kinds: Sequence[str] = ("ist",),
) -> Run:
    """Return the run that a command looks at: the one that is named, or the newest complete one.

    name: as `Run.find` takes it; None: nothing was said.
    kinds: of runs that the command can look at, the first that there are.
    Where there is none, the run that comes with the package is taken, and one line says so.
    Raises ValueError where a name is of no run.
    """
    if name is not None:
        return Run.find(Path(name), out)
    for kind in kinds:
        runs = complete_runs(out, kind)
        # The one that was finished last: what a user who has just made a run means.
        if runs:
            return runs[-1]
    Reporter().info(f"no run in {out}: the one that comes with ipt")
    return Run.find(Path(EXAMPLE), EXAMPLE_FOLDER)


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
        probe = draft_of(folder / "probe")
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out: {folder} cannot be written ({error.strerror}); choose another folder"
        ) from error
