"""Tables of `datasets`: data sets of the hub, folders laid out as there, and single files.

No data set's own code is run. Every error starts with what asked for the table (a task file, a task
of a suite), since the data set itself is seldom named by the user.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ipt import hub

# Type of every table below: datasets.Dataset, which is imported late as it takes seconds.
Table = Any
Rows = Sequence[Mapping[str, Any]]


class LocalFiles(NamedTuple):
    """Text files of a data set's folder, by split."""

    file_format: str  # csv or json
    files: dict[str, list[str]]


def read_split(source: str, path: str, split: str, config: str | None = None) -> Table:
    """Return a split of a data set.

    source: what asks for it, the start of every error.
    path: the hub's name of the data set, or a folder that is laid out as there.
    config: the data set's configuration, None where it has one only.

    Raises ValueError where it cannot be read: at once where the hub does not answer.
    """
    # A folder needs no hub, and must be readable on a machine that has none.
    if not Path(path).is_dir():
        _require_hub(source, path)
    return _load(source, path, split, name=config)


def local_files(source: str, path: str, config: str | None = None) -> LocalFiles | None:
    """Return the CSV or JSON files of a data set's folder; None for any other data set.

    `datasets` guesses the types of such files, so they are not left to it.

    source, path, config: as in `read_split`.
    """
    if not Path(path).is_dir():
        return None
    from datasets import load_dataset_builder
    from datasets.packaged_modules.csv.csv import Csv
    from datasets.packaged_modules.json.json import Json

    try:
        builder = load_dataset_builder(path, name=config)
    except Exception as error:
        raise _unreadable(source, path, error) from error
    # A folder that says its types itself needs no guess.
    if builder.info.features is not None or not isinstance(builder, Csv | Json):
        return None
    file_format = "csv" if isinstance(builder, Csv) else "json"
    if file_format == "csv" and builder.config.sep != ",":
        return None
    files = {}
    for split, of_split in builder.config.data_files.items():
        files[str(split)] = [str(file) for file in of_split]
    return LocalFiles(file_format, files)


def take_split(source: str, rows: Rows | Mapping[str, Rows], split: str) -> list[Any]:
    """Return what a split's name takes of rows: `train`, or a part such as `train[:100]`.

    source: the start of every error.
    rows: by split; of a bare file they are all of the split train.

    Raises ValueError where there is no such split.
    """
    by_split = rows if isinstance(rows, Mapping) else {"train": rows}
    # The usual case needs no import.
    if split in by_split:
        return list(by_split[split])
    from datasets import ReadInstruction

    sizes = {name: len(of_split) for name, of_split in by_split.items()}
    try:
        parts = ReadInstruction.from_spec(split).to_absolute(sizes)
    except (ValueError, AssertionError) as error:
        known = ", ".join(by_split)
        raise ValueError(f"{source}: no split {split!r:.60}; there are: {known}") from error
    taken: list[Any] = []
    for part in parts:
        taken += by_split[part.splitname][part.from_ : part.to]
    return taken


def read_files(
    source: str,
    file_format: str,
    files: str | list[str],
    split: str = "train",
) -> Table:
    """Return the table in local files.

    source: what asks for it, the start of every error.
    file_format: csv, json or parquet.
    split: `datasets` calls everything in bare files "train".

    Raises ValueError where it cannot be read.
    """
    return _load(source, file_format, split, data_files=files)


def read_converted(source: str, path: str, revision: str, pattern: str) -> Table:
    """Return the table in the Parquet files of one revision of a data set of the hub.

    The hub itself converts what only a data set's script could read.

    source: what asks for it, the start of every error.
    path: the hub's name of the data set.
    pattern: the files of the revision that are read.

    Raises ValueError as `read_split` does.
    """
    from huggingface_hub import snapshot_download

    _require_hub(source, path)
    # By files, since `datasets` does not find those of a revision again when offline.
    try:
        folder = snapshot_download(
            path,
            repo_type="dataset",
            revision=revision,
            allow_patterns=pattern,
        )
    except (OSError, ValueError) as error:
        raise _unreadable(source, path, error) from error

    # In the order of their names, which the hub numbers: the order of the rows.
    paths = Path(folder).glob(pattern)
    files = sorted(map(str, paths))
    if not files:
        raise ValueError(f"{source}: {path} has no file {pattern} in its revision {revision}")
    return read_files(source, "parquet", files)


def _load(source: str, path: str, split: str, **options: Any) -> Table:
    """Return a table that is within reach; raise ValueError where it cannot be read."""
    # Late, here and above: both take seconds to import, and most commands need neither.
    from datasets import load_dataset
    from datasets.utils import logging

    # What goes wrong is raised below: its line in the log would say it twice.
    logging.set_verbosity(logging.CRITICAL)
    # No file, no such split, no network, rows that do not fit: readers of formats raise anything.
    try:
        return load_dataset(path, split=split, **options)
    except Exception as error:
        raise _unreadable(source, path, error) from error


def _require_hub(source: str, path: str) -> None:
    """Raise ValueError where the hub is needed and does not answer."""
    # Offline, `datasets` and `huggingface_hub` read what was downloaded before, and ask nobody.
    if hub.is_offline() or hub.is_reachable():
        return
    raise ValueError(
        f"{source}: {path} is a data set of the hub, which is out of reach; "
        "set HF_HUB_OFFLINE=1 where it was downloaded before, or read its rows from files"
    )


def _unreadable(source: str, path: str, error: Exception) -> ValueError:
    # `datasets` wraps the parser's error in one that says only that there was an error.
    cause = error.__cause__ or error
    first_line = str(cause).strip().split("\n")[0] or type(cause).__name__
    return ValueError(f"{source}: {path} cannot be read ({first_line})")
