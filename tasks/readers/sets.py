"""Sets of a folder: files SET.train, SET.dev and SET.test of tags, spans or choices are one task.

Training rows are those of train, of dev where there is no train. The test set is test, else dev
where dev is not trained on.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ipt.tasks.readers import tables

FILE = re.compile(
    r"(?:(?P<name>\w.*?)[._-])?(?P<part>train|dev|val|validation|test)"
    r"\.(?:jsonl|json|parquet|conll|iob2|txt)(?:\.gz)?"
)
DEV = ("val", "validation")  # other names of dev


class SetFiles(NamedTuple):
    """The files of one set."""

    name: str
    train: Path
    test: Path | None


class Found(NamedTuple):
    """Sets of a folder, and every file that belongs to one."""

    sets: list[SetFiles]
    files: set[Path]


def find(folder: Path) -> Found:
    """Return a folder's sets in the order of their names."""
    by_name: dict[str, dict[str, Path]] = {}
    for file in sorted(folder.iterdir()):
        match = FILE.fullmatch(file.name)
        if match is None or not file.is_file():
            continue
        name = match["name"] or folder.resolve().name
        part = "dev" if match["part"] in DEV else match["part"]
        by_name.setdefault(name, {}).setdefault(part, file)

    found = Found([], set())
    for name, parts in by_name.items():
        train = parts.get("train") or parts.get("dev") or parts["test"]
        if not _has_kind(train):
            continue
        test = parts.get("test") or parts.get("dev")
        found.sets.append(SetFiles(name, train, test if test != train else None))
        found.files.update(parts.values())
    return found


def _has_kind(file: Path) -> bool:
    """Return whether a file holds rows of tags, spans or choices, or cannot be read."""
    try:
        return bool(tables.kind_rows(file)[0])
    except ValueError:
        # What is wrong with it is said where it is read; a task file is read elsewhere.
        return not file.name.endswith((".json", ".json.gz", ".txt"))
