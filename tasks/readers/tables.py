"""Tasks from tables: a task file (YAML) says how rows become inputs and outputs, or a bare table.

The fields of a task file are named after lm-evaluation-harness (`dataset_path`, `doc_to_text`,
...). Tables are CSV, JSON lines and Parquet beside the task file, a data set's folder as the hub
has it, or a data set of the hub.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ipt.tasks.readers import hub
from ipt.tasks.readers.templates import fill

Record = dict[str, Any]

TASK_FILES = (".yaml", ".yml")
# What `datasets` calls the format of a file.
FORMATS = {".csv": "csv", ".jsonl": "json", ".parquet": "parquet"}
# Fields of a task file; a rule is the name of a column, or a template over all of them.
REQUIRED = (
    "task",  # name of the task
    "dataset_path",  # csv, json, parquet; a folder; a data set of the hub
    "doc_to_text",  # rule of the input
    "doc_to_target",  # rule of the answer, or of the number of a choice
    "category",
    "metric",
)
OPTIONAL = (
    "dataset_name",  # configuration of a data set
    "data_files",  # the file, for csv, json and parquet
    "splits",  # of the data set: ["train"]
    "doc_to_choice",  # labels
    "description",  # definition of the task
    "subcategory",
    "family",
    "entity",  # rule of what train, dev and test must not share
    "rows",  # how many are taken
)
LISTS = ("splits", "doc_to_choice")  # all others but `rows` are texts
MOST_ROWS = 5000  # taken of a large table; `rows` in the task file says otherwise
SHUFFLE_SEED = 42  # of the draw of these rows


class _FieldType(NamedTuple):
    """What a field's value must be, and whether it is."""

    expected: str
    is_met: bool


def from_table(path: Path) -> Record:
    """Return the schema's record of a bare table: a non-cls task, scored by exact match.

    path: a table with the columns input and output, and perhaps entity.

    Raises ValueError where a column is missing or the table cannot be read.
    """
    table = _read_file(path, path, FORMATS[path.suffix])
    rows = _first_rows([table], MOST_ROWS)
    # An empty table has no columns either.
    columns = rows[0].keys() if rows else ()
    missing = sorted({"input", "output"}.difference(columns))
    if missing:
        raise ValueError(
            f"{path}: a table needs the columns input and output, "
            f"{' and '.join(missing)} missing; or write a task file"
        )

    examples = []
    for row in rows:
        example = {
            "input": row["input"],
            "output": _texts(row["output"]),
            "entity": str(row.get("entity") or ""),
        }
        examples.append(example)
    return {
        "name": path.stem,
        "category": "non-cls",
        "metric": "exact-match",
        "examples": examples,
    }


def from_task_file(path: Path) -> Record:
    """Return the schema's record of a task file; raise ValueError naming the line or row."""
    settings = _read_settings(path)
    rows = _read_rows(path, settings)
    # Rows are counted from one, as editors and spreadsheets do.
    examples = []
    for number, row in enumerate(rows, 1):
        examples.append(_example(settings, row, f"{path}: row {number}"))
    return {
        "name": settings["task"],
        "category": settings["category"],
        "subcategory": settings.get("subcategory", ""),
        "metric": settings["metric"],
        "definition": settings.get("description", ""),
        "options": settings.get("doc_to_choice"),
        "family": settings.get("family", ""),
        "examples": examples,
    }


def _read_settings(path: Path) -> Record:
    """Return the fields of a task file; raise ValueError where one is missing, unknown or wrong."""
    import yaml

    # A syntax error has a line, what is no text at all has none.
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}: line {line}: not valid YAML ({error.problem})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        first_line = str(error).splitlines()[0]
        raise ValueError(f"{path}: not YAML in UTF-8 ({first_line})") from error

    if not isinstance(settings, dict):
        kind = type(settings).__name__
        raise ValueError(f"{path}: a task file is a list of fields, found {kind}")
    _check_fields(path, settings)
    for name, value in settings.items():
        _check_value(path, name, value)
    return settings


def _check_fields(path: Path, settings: Record) -> None:
    """Raise one ValueError with all fields that are missing and all that are unknown."""
    fields = (*REQUIRED, *OPTIONAL)
    problems = []
    missing = [name for name in REQUIRED if not settings.get(name)]
    if missing:
        problems.append(f"fields missing: {', '.join(missing)}")
    # YAML reads a bare 1 or `yes` as a number or a truth value: a name may be no text.
    unknown = {str(name) for name in settings}.difference(fields)
    if unknown:
        problems.append(f"unknown fields: {', '.join(sorted(unknown))}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}; known are {', '.join(fields)}")


def _check_value(path: Path, name: str, value: Any) -> None:
    """Raise ValueError where a field's value has the wrong type."""
    if name in LISTS:
        field_type = _FieldType("a list of texts", is_list_of_texts(value))
    elif name == "rows":
        field_type = _FieldType("a whole number", isinstance(value, int))
    else:
        field_type = _FieldType("a text", isinstance(value, str))
    if field_type.is_met:
        return

    message = f"{path}: field '{name}' must be {field_type.expected}, found {value!r:.60}"
    # Labels are often yes and no, which YAML reads as true and false.
    if name == "doc_to_choice":
        message += "; write yes, no, on and off in quotes"
    raise ValueError(message)


def is_list_of_texts(value: Any) -> bool:
    """Return whether a value is a list of which every item is a text."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read_rows(path: Path, settings: Record) -> list[Record]:
    """Return the rows that a task file names; raise ValueError where they cannot be read."""
    data_set = settings["dataset_path"]
    splits = settings.get("splits", ["train"])
    is_file = data_set in FORMATS.values()
    if is_file != ("data_files" in settings):
        raise ValueError(
            f"{path}: 'data_files' belongs to dataset_path {', '.join(FORMATS.values())}, "
            "and these need it"
        )

    tables = []
    if is_file:
        # Beside the task file, wherever the command is given.
        file = path.parent / settings["data_files"]
        for split in splits:
            tables.append(_read_file(path, file, file_format=data_set, split=split))
    else:
        # A folder beside the task file comes before a data set of the hub of the same name.
        folder = path.parent / data_set
        if folder.is_dir():
            data_set = str(folder)
        config = settings.get("dataset_name")
        for split in splits:
            table = hub.read_split(str(path), data_set, split=split, config=config)
            tables.append(table)
    return _first_rows(tables, settings.get("rows", MOST_ROWS))


def _read_file(path: Path, file: Path, file_format: str, split: str = "train") -> hub.Table:
    """Return the table in a local file.

    path: the task file that names it, or the table itself: the start of every error.
    """
    if not file.is_file():
        raise ValueError(f"{path}: {file} is not there")
    return hub.read_files(str(path), file_format, files=str(file), split=split)


def _first_rows(tables: list[hub.Table], most: int) -> list[Record]:
    """Return the rows of these tables, at most so many."""
    from datasets import concatenate_datasets

    table = concatenate_datasets(tables)
    # Many tables are sorted, by label or by source: their first rows alone would be of one kind.
    if len(table) > most:
        shuffled = table.shuffle(seed=SHUFFLE_SEED)
        table = shuffled.select(range(most))
    rows: list[Record] = table.to_list()
    return rows


def _example(settings: Record, row: Mapping[str, Any], source: str) -> Record:
    """Return the schema's record of a row.

    source: file and row, the start of every error.
    """
    target = fill(settings["doc_to_target"], row, source)
    entity = ""
    if "entity" in settings:
        entity = fill(settings["entity"], row, source)
    text = fill(settings["doc_to_text"], row, source)
    return {
        "input": str(text),
        "output": _answers(target, settings.get("doc_to_choice"), source),
        "entity": str(entity),
    }


def _answers(target: Any, choices: list[str] | None, source: str) -> list[str]:
    """Return the accepted answers; a whole number is the index of a choice."""
    if not choices or isinstance(target, list):
        return _texts(target)
    # Where a choice is itself a number ("2 stars": 2), the target is the choice and no index.
    if str(target) in choices or not str(target).isdigit():
        return _texts(target)

    index = int(target)
    if index >= len(choices):
        raise ValueError(f"{source}: target {target} is beyond the {len(choices)} choices")
    return [choices[index]]


def _texts(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(item) for item in value]
    # A null becomes an empty text, which the schema refuses with the number of the row.
    if value is None:
        return [""]
    return [str(value)]
