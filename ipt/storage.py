"""Files written in one step, so that a kill at any moment leaves the old or the new file.

Each write goes to a temporary file beside the target, a draft, which is then renamed. Files that a
result stands on name the sha256 of what they hold, and are checked when they are read.
"""

import codecs
import gzip
import hashlib
import json
import os
import platform
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from torch import Tensor  # imported late: listing runs needs no torch

MOST_BYTES = 256 * 2**20  # of a user's text file: it is held in memory several times over

# What to do about a damaged file, where the reader does not say it.
REMOVE_RUN = "remove the run folder and run again"
REMOVE_FILE = "remove it and run again"
# Name of the sha256 in the metadata of a safetensors file.
SHA256 = "sha256"
# Name of the sha256 in a JSON file: no task is called so, whatever the names beside it are.
SEAL = "sha256 of the rest"

# Short name of this machine: a process number says nothing about another machine's processes.
HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]
# Drafts of older versions do not name the machine.
DRAFT_NAME = re.compile(r"\..+?(?:\.(?P<host>[0-9a-f]{8}))?\.(?P<process>\d+)\.tmp")
OLD_DRAFT = 24 * 3600.0  # seconds, far more than any write takes


def draft_of(path: Path) -> Path:
    """Return the temporary file that this process writes a file to."""
    # Beside the target, as a rename is one step only inside one file system; with machine and
    # process, as two processes may write the same file.
    return path.with_name(f".{path.name}.{HOST}.{os.getpid()}.tmp")


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step; a full disk raises OSError and leaves the old file."""
    draft = draft_of(path)
    try:
        draft.write_bytes(content)
        # Before the rename: after a power cut the new name must not stand for an empty file.
        flush(draft)
        os.replace(draft, path)
    finally:
        # Gone after the rename; left over where the write failed.
        draft.unlink(missing_ok=True)
    flush_folder(path.parent)


def flush(path: Path) -> None:
    """Wait until the disk has what was written to a file."""
    with path.open("r+b") as handle:
        os.fsync(handle.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the disk has the names in a folder, on systems that can do so."""
    # Some systems open no folders, some file systems flush none: files are whole there too.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_folder(draft: Path, folder: Path) -> None:
    """Put a folder that was made elsewhere in the place of another."""
    for path in draft.rglob("*"):
        if path.is_file():
            flush(path)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    flush_folder(folder.parent)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that killed processes have left in a folder, and no other."""
    for path in folder.glob(".*.tmp"):
        # What cannot be removed, or was removed just now, is in nobody's way.
        with suppress(OSError):
            if path.is_file() and _is_left_over(path):
                path.unlink()


def _is_left_over(path: Path) -> bool:
    """Return whether nobody writes a draft any more."""
    match = DRAFT_NAME.fullmatch(path.name)
    if match is None:
        return False
    if match["host"] in (None, HOST):
        return not _is_alive(int(match["process"]))
    # Whether another machine's process lives cannot be known from here.
    return time.time() - path.stat().st_mtime > OLD_DRAFT


def _is_alive(process: int) -> bool:
    # Elsewhere this call would end the process.
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write_json(path: Path, record: Any) -> None:
    """Write a JSON file: sorted keys, UTF-8, so that equal records are equal files."""
    text = json.dumps(
        record,
        indent=1,
        ensure_ascii=False,
        sort_keys=True,
    )
    write_atomic(path, f"{text}\n".encode())


def write_compact(path: Path, record: Any) -> None:
    """Write a JSON file with sorted keys, in which what holds plain values alone is one line."""
    write_atomic(path, f"{_compact(record)}\n".encode())


def _compact(value: Any, indent: str = "") -> str:
    inner = value.values() if isinstance(value, dict) else value
    is_flat = not isinstance(value, (dict, list, tuple)) or not any(
        isinstance(item, (dict, list, tuple)) for item in inner
    )
    if is_flat:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    deeper = f"{indent} "
    lines = []
    if isinstance(value, dict):
        for key in sorted(value):
            name = json.dumps(key, ensure_ascii=False)
            lines.append(f"{deeper}{name}: {_compact(value[key], deeper)}")
        start, end = "{", "}"
    else:
        lines = [f"{deeper}{_compact(item, deeper)}" for item in value]
        start, end = "[", "]"
    inside = ",\n".join(lines)
    return f"{start}\n{inside}\n{indent}{end}"


def without_repeats(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return the fields of a JSON object; raise ValueError where one is there twice.

    JSON's own reader takes the last of them, and the others would be lost.
    """
    record: dict[str, Any] = {}
    for name, value in pairs:
        if name in record:
            raise ValueError(f"the key {name!r:.60} is there twice in one object")
        record[name] = value
    return record


def write_sealed(path: Path, record: Mapping[str, Any]) -> None:
    """Write a JSON file that names its own sha256, so that `read_json` sees any change."""
    # As it is read back: JSON has no tuples, and names are texts.
    plain = json.loads(json.dumps(record))
    write_json(path, plain | {SEAL: _json_digest(plain)})


def read_json(path: Path, remedy: str = REMOVE_RUN) -> dict[str, Any]:
    """Read a JSON file of a run, without its seal.

    remedy: what to do where it is damaged.
    Raises ValueError naming the file where it is missing, damaged, changed, or holds no object.
    """
    # UTF-8 whatever the system's own encoding is: runs are copied between machines.
    try:
        record = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable JSON file ({error}); {remedy}") from error
    if not isinstance(record, dict):
        raise ValueError(
            f"{path} is not a readable JSON file (an object was expected, found "
            f"{type(record).__name__}); {remedy}"
        )
    # Files of older versions have none.
    if SEAL in record and record.pop(SEAL) != _json_digest(record):
        raise ValueError(
            f"{path} has changed since it was written; {remedy}, or remove its line "
            f"{SEAL!r} where the change was yours"
        )
    return record


def _json_digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def tensors_digest(
    tensors: "Mapping[str, Tensor]",
    metadata: Mapping[str, str] | None = None,
) -> str:
    """Return the sha256 of tensors: names, types, shapes and numbers; and of texts beside them."""
    from torch import uint8

    whole = hashlib.sha256()
    texts = json.dumps(metadata or {}, sort_keys=True)
    whole.update(texts.encode())
    for name, tensor in sorted(tensors.items()):
        about = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
        whole.update(about.encode())
        numbers = tensor.detach().cpu().contiguous().reshape(-1)
        whole.update(numbers.view(uint8).numpy().data)
    return whole.hexdigest()


def write_tensors(
    path: Path,
    tensors: "Mapping[str, Tensor]",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a safetensors file, with texts as its metadata and the sha256 of all of it."""
    from safetensors.torch import save

    # safetensors refuses tensors that share memory or are not contiguous.
    copies = {}
    for name, tensor in tensors.items():
        copies[name] = tensor.detach().cpu().contiguous().clone()
    texts = dict(metadata or {})
    texts[SHA256] = tensors_digest(copies, metadata)
    write_atomic(path, save(copies, texts))


def read_tensors(
    path: Path,
    remedy: str = REMOVE_FILE,
) -> "tuple[dict[str, Tensor], dict[str, str]]":
    """Read a safetensors file and its metadata, without the sha256.

    remedy: what to do where it is damaged.
    Raises ValueError naming the file where it is missing, damaged or changed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = read_metadata(path, remedy)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error, remedy) from error
    # Files of older versions, and of other programs, have none.
    recorded = metadata.pop(SHA256, None)
    if recorded is not None and recorded != tensors_digest(tensors, metadata):
        raise ValueError(f"{path} has changed since it was written; {remedy}")
    return tensors, metadata


def read_metadata(path: Path, remedy: str = REMOVE_FILE) -> dict[str, str]:
    """Return the metadata of a safetensors file, without reading its tensors."""
    from safetensors import SafetensorError, safe_open

    try:
        # As arrays of numpy, which come at once: torch takes seconds.
        with safe_open(path, "np") as handle:
            return dict(handle.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error, remedy) from error


def _unreadable(path: Path, error: Exception, remedy: str) -> ValueError:
    return ValueError(f"{path} is not a readable safetensors file ({error}); {remedy}")


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


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the JSON objects of a file that a run adds lines to, without those that are damaged.

    A kill may cut the last line, and no result depends on these figures.
    """
    records = []
    for line in path.read_text(encoding="utf8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            records.append(record)
    return records
