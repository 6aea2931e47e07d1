"""Tasks from tables: a task file (YAML) says how rows become inputs and outputs, or a bare table.

The fields of a task file are named after lm-evaluation-harness (`dataset_path`, `doc_to_text`,
...) and mean what they mean there (lm_eval/api/task.py, doc_to_target). Tables are CSV, JSON lines,
CoNLL and Parquet beside the task file, a data set's folder as the hub has it, or a data set of the
hub. Tables of tags, spans and choices (`ipt.tasks.readers.kinds`) are known by their columns.
"""

import ast
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ipt.tasks.readers import fields, hub, kinds
from ipt.tasks.readers.conll import conll_rows
from ipt.tasks.readers.contents import csv_rows, json_rows
from ipt.tasks.readers.templates import columns, fill

Record = dict[str, Any]

TASK_FILES = (".yaml", ".yml")
# What `datasets` calls the format of a file.
FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".iob2": "conll",
}
FILE_FORMATS = tuple(dict.fromkeys(FORMATS.values()))  # each once
# Fields of a task file; a rule is the name of a column, or a template over all of them.
REQUIRED = (
    "task",  # name of the task
    "dataset_path",  # csv, json, parquet; a folder; a data set of the hub
    "doc_to_text",  # rule of the input; not of tags and spans
    "doc_to_target",  # rule of the answer, or of the number of a choice; not of tags and spans
    "category",
    "metric",
)
DOC_RULES = ("doc_to_text", "doc_to_target")
# Rules of what rows of other kinds have; without one, the column of that name.
KIND_RULES = ("tokens", "tags", "query", "context", "answers", "choices", "group")
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
    "test_splits",  # of the data set, for the task's own test set
    "test_files",  # the file of it, for files
    "tag_names",  # of tags that are numbers
    "tag_scheme",  # IOB2, or IOB1: then tags are converted
    *KIND_RULES,
)
# All others are texts, but for `rows`, `choices` and `doc_to_target`.
LISTS = ("splits", "test_splits", "doc_to_choice", "tag_names")
MOST_ROWS = 5000  # taken of a large table; `rows` in the task file says otherwise
SHUFFLE_SEED = 42  # of the draw of these rows
INDEX_DIGITS = 9  # of the number of a choice; a longer one is beyond any list of them
SHORT_FLOATS = ("float16", "float32")  # of a column
TYPED_TEXTS = (int, float, date, datetime, time, Decimal)  # values whose text is plain


class _FieldType(NamedTuple):
    """What a field's value must be, and whether it is."""

    expected: str
    is_met: bool


class _Row(NamedTuple):
    """A row of a table and its number, from one, as editors and spreadsheets count."""

    number: int
    values: Mapping[str, Any]


def from_table(path: Path) -> Record:
    """Return the schema's record of a bare table: a non-cls task, scored by exact match.

    path: a table with the columns input and output, and perhaps entity; text may be packed (.gz).
        A table with the columns of another kind is a task of it, with that kind's usual metric.

    Raises ValueError where a column is missing or the table cannot be read.
    """
    unpacked = Path(path.name.removesuffix(".gz"))
    table = _read_file(path, path, format_of(path))
    rows = _first_rows([table], MOST_ROWS)
    if not rows:
        raise ValueError(f"{path}: the table has no rows")
    names = rows[0].values
    kind = kinds.kind_of(names)
    if kind:
        examples = _of_kind(kind, rows, table, path)
        return kinds.header(unpacked.stem, kind, examples) | {"examples": examples}
    missing = sorted({"input", "output"}.difference(names))
    if missing:
        raise ValueError(
            f"{path}: a table needs the columns input and output, {' and '.join(missing)} missing; "
            f"or write a task file (the columns are: {columns(names)})"
        )

    examples = []
    for number, row in rows:
        source = f"{path}: row {number}"
        example = {
            "input": _text(row["input"], f"{source}: 'input'"),
            "output": _answers(row["output"], None, f"{source}: 'output'"),
            "entity": _text(row.get("entity"), f"{source}: 'entity'"),
        }
        examples.append(example)
    return {
        "name": unpacked.stem,
        "category": "non-cls",
        "metric": "exact-match",
        "examples": examples,
    }


def format_of(path: Path) -> str:
    """Return a file's format by the end of its name: text that is not said to be JSON is CoNLL."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    others = {".json": "json", ".txt": "conll"}
    return FORMATS.get(suffix) or others[suffix]


def kind_rows(path: Path) -> tuple[str, list[Record]]:
    """Return which kind of rows a file holds, and all of them as the schema has them.

    The kind is "" for plain input and output: then there are no rows.
    """
    table = _read_file(path, path, format_of(path))
    rows = _first_rows([table], len(table))
    kind = kinds.kind_of(rows[0].values) if rows else ""
    return kind, _of_kind(kind, rows, table, path) if kind else []


def _of_kind(kind: str, rows: Sequence[_Row], table: Any, path: Path) -> list[Record]:
    tag_names = kinds.class_names([table])
    examples = []
    for number, row in rows:
        examples.append(kinds.schema_row(kind, row, f"{path}: row {number}", tag_names))
    return examples


def from_task_file(path: Path) -> Record:
    """Return the schema's record of a task file; raise ValueError naming the line or row."""
    settings = _read_settings(path)
    examples = _file_examples(path, settings, "data_files", "splits")
    if not examples:
        raise ValueError(f"{path}: its table has no rows")
    test: list[Record] = []
    if "test_splits" in settings or "test_files" in settings:
        test = _file_examples(path, settings, "test_files", "test_splits")
    return {
        "name": settings["task"],
        "category": settings["category"],
        "subcategory": settings.get("subcategory", ""),
        "metric": settings["metric"],
        "definition": settings.get("description", ""),
        "options": settings.get("doc_to_choice"),
        "family": settings.get("family", ""),
        "examples": examples,
    } | ({"test": test} if test else {})


def _file_examples(path: Path, settings: Record, files: str, splits: str) -> list[Record]:
    """Return the schema's rows of the tables that two fields name."""
    tables = _read_tables(path, settings, files, splits)
    rows = _first_rows(tables, settings.get("rows", MOST_ROWS))
    tag_names = settings.get("tag_names") or kinds.class_names(tables, settings.get("tags"))
    examples = []
    for number, row in rows:
        source = f"{path}: {'test ' if files == 'test_files' else ''}row {number}"
        if settings["category"] in ("tags", "span"):
            examples.append(_kind_example(settings, row, source, tag_names))
        else:
            examples.append(_example(settings, row, source))
    return examples


def _kind_example(
    settings: Record,
    row: Mapping[str, Any],
    source: str,
    tag_names: Sequence[str] | None,
) -> Record:
    """Return the schema's record of a row of tags or of a span."""
    values = dict(row)
    for name in (*KIND_RULES, "entity"):
        if name in settings:
            values[name] = fill(settings[name], row, source)
    kind = settings["category"]
    if kind == "tags" and not kinds.kind_of(values):
        raise ValueError(
            f"{source}: no columns of words and tags; name them with 'tokens' and 'tags' "
            f"(the columns are: {columns(row)})"
        )
    made = kinds.schema_row(kind, values, source, tag_names)
    if settings.get("tag_scheme") == "IOB1":
        made["tags"] = kinds.from_iob1(made["tags"])
    return made


def _read_settings(path: Path) -> Record:
    """Return the fields of a task file; raise ValueError where one is missing, unknown or wrong."""
    settings = fields.read_yaml(path)
    if not isinstance(settings, dict):
        kind = type(settings).__name__
        raise ValueError(f"{path}: a task file is a list of fields, found {kind}")
    _check_fields(path, settings)
    for name, value in settings.items():
        _check_value(path, name, value)
    return settings


def _check_fields(path: Path, settings: Record) -> None:
    """Raise one ValueError with all fields that are missing and all that are unknown."""
    known = (*REQUIRED, *OPTIONAL)
    problems = []
    # 0 and false are there: they name a choice.
    missing = [name for name in REQUIRED if settings.get(name) in (None, "", [], {})]
    if settings.get("category") in ("tags", "span"):
        missing = [name for name in missing if name not in DOC_RULES]
    if missing:
        problems.append(f"fields missing: {', '.join(missing)}")
    # YAML reads a bare 1 or `yes` as a number or a truth value: a name may be no text.
    unknown = {str(name) for name in settings}.difference(known)
    if unknown:
        names = [f"{name:.60}" for name in sorted(unknown)]
        problems.append(f"unknown fields: {', '.join(names)}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}; known are {', '.join(known)}")


def _check_value(path: Path, name: str, value: Any) -> None:
    """Raise ValueError where a field's value has the wrong type."""
    if name in LISTS:
        field_type = _FieldType("a list of texts", is_list_of_texts(value))
    elif name == "tag_scheme":
        field_type = _FieldType("IOB2 or IOB1", value in kinds.SCHEMES)
    elif name == "choices":
        is_rule = isinstance(value, str) or is_list_of_texts(value)
        field_type = _FieldType("a column, or a list of columns", is_rule)
    elif name == "rows":
        is_count = isinstance(value, int) and not isinstance(value, bool) and value > 0
        field_type = _FieldType("a whole number, 1 or more", is_count)
    elif name == "doc_to_target":
        # A number is no rule, but the answer of each row, or the number of its choice.
        is_rule = isinstance(value, str | int | float)
        field_type = _FieldType("a text or a number", is_rule)
    else:
        field_type = _FieldType("a text", isinstance(value, str))
    if field_type.is_met:
        return

    message = f"{path}: field '{name}' must be {field_type.expected}, found {_shown(value)}"
    # Labels are often yes and no, which YAML reads as true and false.
    if name == "doc_to_choice":
        message += "; write yes, no, on and off in quotes, numbers and dates too"
    elif field_type.expected != "a whole number, 1 or more":
        message += "; write it in quotes"
    raise ValueError(message)


def is_list_of_texts(value: Any) -> bool:
    """Return whether a value is a list of which every item is a text."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read_tables(path: Path, settings: Record, files: str, split_field: str) -> list[Any]:
    """Return the tables that a task file names; raise ValueError where they cannot be read.

    files, split_field: the fields that name them.
    """
    data_set = settings["dataset_path"]
    splits = settings.get(split_field, ["train"])
    is_file = data_set in FILE_FORMATS
    if is_file != (files in settings):
        raise ValueError(
            f"{path}: {files!r} belongs to dataset_path {', '.join(FILE_FORMATS)}, "
            "and these need it"
        )
    if not splits:
        raise ValueError(
            f"{path}: field {split_field!r} is empty; leave it out for the split train"
        )

    tables = []
    if is_file:
        # Beside the task file, wherever the command is given.
        file = path.parent / settings[files]
        for split in splits:
            tables.append(_read_file(path, file, file_format=data_set, split=split))
    else:
        # A folder beside the task file comes before a data set of the hub of the same name.
        folder = path.parent / data_set
        if folder.is_dir():
            data_set = str(folder)
        config = settings.get("dataset_name")
        for split in splits:
            tables.append(_read_split(path, data_set, split=split, config=config))
    return tables


def _read_file(
    path: Path,
    file: Path,
    file_format: str,
    split: str = "train",
) -> hub.Table | Sequence[Mapping[str, Any]]:
    """Return the table in a local file.

    path: the task file that names it, or the table itself: the start of every error.
    """
    if not file.exists():
        raise ValueError(f"{path}: {file} is not there")
    # A device or a pipe would be read for ever.
    if not file.is_file():
        raise ValueError(f"{path}: {file} is no regular file")
    # Parquet has types of its own; the others are read without a guess.
    if file_format == "parquet":
        return hub.read_files(str(path), file_format, files=str(file), split=split)
    try:
        rows = _text_rows(file, file_format)
    except ValueError as error:
        # A bare table is named once.
        raise ValueError(str(error) if file == path else f"{path}: {error}") from error
    return hub.take_split(str(path), rows, split)


def _text_rows(file: Path, file_format: str) -> Sequence[Mapping[str, Any]]:
    """Return the rows of a text file; of SQuAD's form, a row a question."""
    if file_format == "csv":
        return csv_rows(file)
    if file_format == "conll":
        return conll_rows(file)
    rows = json_rows(file)
    if len(rows) == 1 and kinds.is_squad(rows[0]):
        return kinds.squad_rows(rows[0], str(file))
    return rows


def _read_split(
    path: Path,
    data_set: str,
    split: str,
    config: str | None,
) -> hub.Table | Sequence[Mapping[str, Any]]:
    """Return a split of a data set of the hub or of a folder that is laid out as there."""
    local = hub.local_files(str(path), data_set, config)
    if local is None:
        return hub.read_split(str(path), data_set, split=split, config=config)
    # Text files are read as those beside a task file are.
    splits: dict[str, list[Mapping[str, Any]]] = {}
    for name, files in local.files.items():
        splits[name] = []
        for file in files:
            splits[name] += _read_file(path, Path(file), local.file_format)
    return hub.take_split(str(path), splits, split)


def _first_rows(tables: Sequence[Any], most: int) -> list[_Row]:
    """Return the rows of these tables, at most so many.

    tables: all of `datasets`, or all lists of rows.
    """
    total = sum(map(len, tables))
    positions: Sequence[int] = range(total)
    # Many tables are sorted, by label or by source: their first rows alone would be of one kind.
    # The draw is that of `datasets.Dataset.shuffle`.
    if total > most:
        generator = np.random.default_rng(SHUFFLE_SEED)
        positions = generator.permutation(total)[:most].tolist()

    if any(isinstance(table, list) for table in tables):
        joined: list[Mapping[str, Any]] = []
        for table in tables:
            joined += table
        chosen = [joined[position] for position in positions]
    else:
        from datasets import concatenate_datasets

        table = concatenate_datasets(tables).select(positions)
        chosen = table.to_list()
        # Widened to double precision, 0.1 of single precision has other digits.
        for name, feature in table.features.items():
            if getattr(feature, "dtype", "") in SHORT_FLOATS:
                shorten = np.dtype(feature.dtype).type
                for row in chosen:
                    row[name] = None if row[name] is None else float(str(shorten(row[name])))
    return [
        _Row(position + 1, row) for position, row in zip(positions, chosen, strict=True)
    ]


def _example(settings: Record, row: Mapping[str, Any], source: str) -> Record:
    """Return the schema's record of a row.

    source: file and row, the start of every error.
    """
    choices = settings.get("doc_to_choice")
    if settings["category"] == "choice":
        choices = _row_choices(settings, row, source)
    target = _target(settings["doc_to_target"], row, source)
    answers = _answers(target, choices, f"{source}: the target")
    if not answers:
        raise ValueError(
            f"{source}: it has no answer: {settings['doc_to_target']!r:.60} is empty or null"
        )
    entity = None
    if "entity" in settings:
        entity = fill(settings["entity"], row, source)
    text = fill(settings["doc_to_text"], row, source)
    if text is None:
        raise ValueError(f"{source}: it has no input: {settings['doc_to_text']!r:.60} is empty")
    made: Record = {
        "input": _text(text, f"{source}: the input"),
        "output": answers,
        "entity": _text(entity, f"{source}: the entity"),
    }
    for name in ("query", "context", "group"):
        if name in settings:
            made[name] = _text(fill(settings[name], row, source), f"{source}: the {name}")
    if settings["category"] == "choice":
        made["choices"] = choices
    return made


def _row_choices(settings: Record, row: Mapping[str, Any], source: str) -> list[str]:
    """Return a row's own options: of one column that is a list, or of a column each."""
    rule = settings.get("choices", "choices")
    values = [fill(item, row, source) for item in rule] if isinstance(rule, list) else None
    if values is None:
        values = _target(rule, row, source)
    if not isinstance(values, list):
        raise ValueError(f"{source}: its choices must be a list, found {_shown(values)}")
    return [_text(value, f"{source}: a choice") for value in values]


def _target(rule: Any, row: Mapping[str, Any], source: str) -> Any:
    """Return what a row's target is: a value, or a list of accepted ones."""
    # A number or truth value in the task file is the target of each row.
    if not isinstance(rule, str):
        return rule
    if rule in row:
        return row[rule]
    value = fill(rule, row, source, in_lists=True)
    # As in the harness: a text that a template makes is a list where it reads as one.
    if value.startswith("[") and value.endswith("]"):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return ast.literal_eval(value)
    # It stays a text, in which a null would be the word None.
    return fill(rule, row, source) if "None" in value else value


def _answers(target: Any, choices: Sequence[str] | None, where: str) -> list[str]:
    """Return the accepted answers; a whole number is the index of a choice, where there are some.

    where: file, row and what is read, the start of every error.
    """
    items = target if isinstance(target, list) else [target]
    answers = []
    for item in items:
        # A null among answers is no answer.
        if _is_missing(item):
            continue
        index = _choice_index(item, choices) if choices else None
        if choices is None or index is None:
            answers.append(_text(item, where))
            continue
        if index >= len(choices):
            raise ValueError(
                f"{where.removesuffix('the target')}target {item!s:.20} is beyond the "
                f"{len(choices)} choices, which are counted from 0"
            )
        answers.append(choices[index])
    return answers


def _choice_index(value: Any, choices: Sequence[str]) -> int | None:
    """Return the number of the choice that a target stands for, None where it is a text.

    As in the harness a number is an index, also where a choice is itself a number.
    """
    if isinstance(value, str):
        if not (value.isascii() and value.isdigit()):
            return None
        digits = value.lstrip("0") or "0"
        return int(digits[: INDEX_DIGITS + 1])
    # A whole number becomes a float where a column has a gap.
    if isinstance(value, float) and value.is_integer() and str(value) not in choices:
        value = int(value)
    if isinstance(value, int) and value >= 0:
        return int(value)
    return None


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any, where: str) -> str:
    """Return the text of a table's value: "" for a missing one.

    where: file, row and what is read, the start of every error.

    Raises ValueError for what has no plain text: a truth value, a list, an infinite number.
    """
    if isinstance(value, str):
        return str(value)
    if _is_missing(value):
        return ""
    if isinstance(value, bool):
        raise ValueError(
            f"{where} is the truth value {value}; expected a text: write it in quotes, as "
            "'yes' or 'true', or give choices that it counts"
        )
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"{where} is an infinite number; expected a text or a finite number")
    if not isinstance(value, TYPED_TEXTS):
        kind = type(value).__name__
        raise ValueError(f"{where} must be a text or a number, found {kind}: {_shown(value)}")
    return str(value)


def _shown(value: Any) -> str:
    """Return a value for an error: whatever it holds, a few words of it."""
    import reprlib

    return reprlib.repr(value)
