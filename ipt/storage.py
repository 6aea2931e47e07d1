"""Files written in one step, so that a kill at any moment leaves the old or the new file.

Each write goes to a temporary file beside the target, which is then renamed.
"""

import codecs
import gzip
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch

MOST_BYTES = 256 * 2**20  # of a user's text file: it is held in memory several times over


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step; a full disk raises OSError and leaves the old file."""
    # Beside the target, as a rename is one step only inside one file system; with the process
    # number, as two processes may write the same file.
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        # Gone after the rename; left over where the write failed.
        draft.unlink(missing_ok=True)


def write_json(path: Path, record: Any) -> None:
    """Write a JSON file: sorted keys, UTF-8, so that equal records are equal files."""
    text = json.dumps(
        record,
        indent=1,
        ensure_ascii=False,
        sort_keys=True,
    )
    write_atomic(path, f"{text}\n".encode())


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; raise ValueError naming it where it is missing or damaged."""
    # UTF-8 whatever the system's own encoding is: runs are copied between machines.
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is not a readable JSON file ({error}); remove the run folder and run again"
        ) from error


def write_tensors(
    path: Path,
    tensors: "dict[str, Tensor]",
    metadata: dict[str, str] | None = None,
) -> None:
    """Write a safetensors file, with texts as its metadata."""
    from safetensors.torch import save

    # safetensors refuses tensors that share memory or are not contiguous.
    copies = {}
    for name, tensor in tensors.items():
        copies[name] = tensor.detach().cpu().contiguous().clone()
    write_atomic(path, save(copies, metadata))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read a safetensors file and its metadata.

    Raises ValueError naming the file where it is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(path, "pt") as handle:
            metadata = handle.metadata() or {}
        return load_file(path), metadata
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}); remove it and run again"
        ) from error


def free_bytes(folder: Path) -> int:
    """Return the free space where the folder is or will be."""
    # A folder that does not exist yet will be on the disk of the nearest one that does.
    existing = folder
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def lock_folders(
    folders: Iterable[Path],
    locks: ExitStack,
    inform: Callable[[str], None],
) -> None:
    """Make the folders and lock each for this process, after any other process that holds it.

    locks: releases all of them when it is closed.
    inform: is told of a folder that must be waited for.
    """
    # In one order, so that no two processes wait for each other.
    for folder in sorted(folders):
        folder.mkdir(parents=True, exist_ok=True)
        # The system drops the lock of a process that is killed.
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            inform(f"another process is tuning prompts in {folder}: waiting for it")
            lock.acquire()
        locks.callback(lock.release)


def read_user_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """Return the text of a file that a user named, without a byte order mark.

    path: UTF-8; a file whose name ends in .gz is unpacked.
    most_bytes: of the content, unpacked.

    Raises ValueError that begins with the file where it is missing, no regular file, too large,
    damaged, or other than UTF-8.
    """
    # Before it is opened: a device never ends, and a pipe waits for who writes into it.
    if not os.path.exists(path):
        raise ValueError(f"{path}: no such file")
    if not os.path.isfile(path):
        raise ValueError(f"{path}: not a regular file; expected a file, found a folder or device")

    opened = gzip.open if path.name.endswith(".gz") else open
    try:
        # A packed file may hold far more than its size says.
        with opened(path, "rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        # The last two, and gzip.BadGzipFile (an OSError): a damaged archive.
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{path}: cannot be read ({reason})") from error
    if len(content) > most_bytes:
        limit = f"{most_bytes / 2**20:g} MiB"
        raise ValueError(f"{path}: more than {limit}, which is the most that is read; shorten it")

    # What spreadsheets and editors put before the text is no part of it.
    try:
        return content.removeprefix(codecs.BOM_UTF8).decode("utf8")
    except UnicodeDecodeError as error:
        place = f"byte {error.start}"
        raise ValueError(f"{path}: not UTF-8 text ({place}); save it as UTF-8") from error
