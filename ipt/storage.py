"""Files written in one step: a temporary file beside the target, then a rename; a kill leaves the old or the new file."""

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch


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


def free_bytes(folder: Path) -> int:
    """Free space where the folder is or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def lock_folders(folders: Iterable[Path], locks: ExitStack, say: Callable[[str], None]) -> None:
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
