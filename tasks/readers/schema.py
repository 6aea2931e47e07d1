"""A user's own tasks: files in the one schema, or tables (`ipt.tasks.readers.tables`).

A `*.json` or `*.json.gz` file holds one task as a JSON object; unknown fields are ignored, and so
is a table of contents named `index.json`. Bare tables count in a folder that has no task files, or
where they are named themselves.
"""

import os.path
import unicodedata
from collections.abc import Container
from pathlib import Path
from typing import Any, NamedTuple

from ipt.data import Task, field_problems
from ipt.example import CATEGORIES
from ipt.storage import read_user_text
from ipt.tasks.names import repeated_names
from ipt.tasks.readers import kinds, sets, superglue, tables
from ipt.tasks.readers.contents import read_json

SUFFIXES = (".json", ".json.gz", *tables.TASK_FILES)  # ends of a task file's name
IGNORED = ("index.json", "index.json.gz")  # tables of contents, which collections of tasks have
MOST_PROBLEMS = 20  # reported of a file: the same fault is often in all of its rows
# Fields that must be texts where they are given.
TEXT_FIELDS = (
    "name",
    "category",
    "subcategory",
    "metric",
    "definition",
    "source",
    "family",
)
WITH_OPTIONS = ("cls", "tags")  # categories whose rows are checked by the options
CASELESS = ("accuracy", "macro-F1", "matthews")  # metrics that ignore the case of labels


class _Contents(NamedTuple):
    """What a file or folder holds: the tasks that are right, and the problems of the others."""

    tasks: list[Task]
    problems: list[str]  # each led by its file
    notes: tuple[str, ...] = ()  # what is no fault, but cannot be learned


class _FirstRow(NamedTuple):
    """Where an input was met first, and with which label."""

    number: int  # from one
    label: str


def load(path: Path | str) -> tuple[Task, ...]:
    """Return the tasks of a file or folder, in the order of file names.

    Raises ValueError with the first problem and how many more there are.
    """
    contents = _read(Path(path))
    # An error is one line; `ipt tasks check` prints all of them.
    if contents.problems:
        message = contents.problems[0]
        others = len(contents.problems) - 1
        if others:
            count = "one more problem" if others == 1 else f"{others} more problems"
            message += f" (and {count}: ipt tasks check {path})"
        raise ValueError(message)
    return tuple(contents.tasks)


def find_problems(path: Path | str) -> list[str]:
    """Return every problem of a file or folder, each with its file; at most 20 of a file."""
    return _read(Path(path)).problems


def find_notes(path: Path | str) -> list[str]:
    """Return what is no fault but worth a look: tags of test rows that no row teaches."""
    return list(_read(Path(path)).notes)


def _read(path: Path) -> _Contents:
    """Read one file, or every file of a folder."""
    # A name that is too long for a file is that of none: Path.exists would raise.
    if not os.path.exists(path):
        return _Contents([], [f"{path}: no such file or folder"])
    if superglue.is_folder(path):
        return _read_superglue(path)
    # A file that is named itself is read whatever its name is.
    files = [path]
    found = sets.Found([], set())
    if path.is_dir():
        found = sets.find(path)
        files = _task_files(path, found.files)
    if not files and not found.sets:
        patterns = ", ".join(f"*{suffix}" for suffix in (*SUFFIXES, *tables.FORMATS))
        return _Contents([], [f"{path}: no task files in this folder ({patterns})"])

    every = [_read_file(file) for file in files]
    every += [_read_set(files_of_set) for files_of_set in found.sets]
    notes: tuple[str, ...] = ()
    for part in every:
        notes += part.notes
    contents = _Contents([], [], notes)
    for part in every:
        contents.tasks.extend(part.tasks)
        contents.problems.extend(part.problems)

    # A name stands for one task in everything that is written: banks, results, lists.
    names = [task.name for task in contents.tasks]
    for name in repeated_names(names):
        contents.problems.append(f"{path}: more than one file holds a task named {name!r}")
    contents.problems.extend(_case_problems(path, names))
    return contents


def _case_problems(path: Path, names: list[str]) -> list[str]:
    """Return a problem for each name that differs from another in case only."""
    # Files named after them would be one file where the disk does not tell cases apart.
    problems = []
    first_names: dict[str, str] = {}
    for name in names:
        first = first_names.setdefault(name.casefold(), name)
        if name != first:
            problems.append(f"{path}: tasks {first!r} and {name!r} differ in case only; rename one")
    return problems


def _task_files(folder: Path, taken: Container[Path]) -> list[Path]:
    """Return a folder's task files, in the order of their names; its tables where it has none.

    taken: files of the folder's sets.
    """
    files = [file for file in sorted(folder.iterdir()) if file not in taken]
    task_files = [file for file in files if _is_task_file(file)]
    # Beside task files a table is their data.
    if task_files:
        return task_files
    return [file for file in files if file.suffix in tables.FORMATS]


def _is_task_file(path: Path) -> bool:
    # Some systems leave a hidden file beside each one that is copied ("._task.json").
    is_hidden = path.name.startswith(".")
    is_named = path.name.endswith(SUFFIXES) and path.name not in IGNORED
    return is_named and not is_hidden and path.is_file()


def _read_file(path: Path) -> _Contents:
    """Return a file's task, or its problems."""
    try:
        record = _read_record(path)
    except ValueError as error:
        return _Contents([], [str(error)])
    # Before it becomes a task: that would stop at the first problem.
    problems = record_problems(record, str(path))
    if problems:
        return _Contents([], problems)
    task = Task.from_dict(record, str(path))
    return _Contents([task], [], _unlearned_tags(task, f"{path}: test example"))


def _read_superglue(path: Path) -> _Contents:
    try:
        return _Contents(superglue.load_folder(path), [])
    except ValueError as error:
        return _Contents([], [str(error)])


def _read_set(files: sets.SetFiles) -> _Contents:
    """Return the task of a set's files, or the problems of each file."""
    problems: list[str] = []
    rows: dict[Path, list[dict[str, Any]]] = {}
    header: dict[str, Any] = {}
    for file in (files.train, files.test):
        if file is None:
            continue
        try:
            kind, rows[file] = tables.kind_rows(file)
        except ValueError as error:
            return _Contents([], [str(error)])
        # Both files are of the kind and by the metric of the first.
        header = header or kinds.header(files.name, kind, rows[file])
        if kind != header["category"]:
            problems.append(f"{file}: its rows are no {header['category']} rows as {files.train}'s")
            continue
        problems += record_problems(header | {"examples": rows[file]}, str(file))
    if problems:
        return _Contents([], problems)
    test = rows[files.test] if files.test else []
    record = header | {"examples": rows[files.train], "test": test}
    task = Task.from_dict(record, str(files.train))
    return _Contents([task], [], _unlearned_tags(task, f"{files.test}: example"))


def _unlearned_tags(task: Task, where: str) -> tuple[str, ...]:
    """Return a note for each tag that test rows have and no other row, with its first row.

    where: the test rows' file, the start of every note.
    """
    if task.category != "tags":
        return ()
    known = set(task.options or ())
    notes = []
    for number, example in enumerate(task.test, 1):
        for tag in example.tags:
            if tag not in known:
                known.add(tag)
                notes.append(
                    f"{where} {number}: no row to train on has the tag {tag!r:.60}; "
                    "it counts as wrong"
                )
    return tuple(notes)


def _read_record(path: Path) -> Any:
    """Return what a file holds; raise ValueError where it cannot be read as any kind of task."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    try:
        # A text file is read where it is named: in a folder it may be anything.
        is_text = suffix == ".txt" and not read_user_text(path).lstrip().startswith("{")
        if suffix in tables.FORMATS or is_text:
            return tables.from_table(path)
        if path.suffix in tables.TASK_FILES:
            return tables.from_task_file(path)
    except OSError as error:
        raise ValueError(str(error)) from error
    # Whatever its name is: a user may have named it.
    value = read_json(path)
    if suffix == ".json" and _is_table(value):
        return tables.from_table(path)
    return value


def _is_table(value: Any) -> bool:
    """Return whether a JSON value is no task, but rows of tags, spans or choices."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return bool(kinds.kind_of(value[0]))
    return kinds.is_squad(value)


def record_problems(record: Any, where: str) -> list[str]:
    """Return what is wrong with a file's record: its shape, else its fields, else its examples.

    where: the file, the start of every problem.
    """
    if not isinstance(record, dict):
        return [f"{where}: a task is a JSON object, found {type(record).__name__}"]
    problems = _type_problems(record, where)
    if problems:
        return problems
    problems = _header_problems(record, where)
    # The rows are looked at whatever the fields are, so that a file is mended in one go.
    if problems:
        problems += _example_problems(_with_right_fields(record), where)
    else:
        problems = _schema_problems(record, where)
        if problems:
            problems = _example_problems(record, where) or problems
    # Each step reads what the steps before it found right, so the first that finds something ends.
    if not problems and record["category"] == "cls":
        task = Task.from_dict(record, where)
        problems = _contradictions(task, where) + _unused_options(task, where)
        problems += _equal_options(task, where)

    # The rest is counted, so that the size of the fault is known.
    more = len(problems) - MOST_PROBLEMS
    if more > 0:
        return [*problems[:MOST_PROBLEMS], f"{where}: {more} more examples are wrong"]
    return problems


def _type_problems(record: dict[str, Any], where: str) -> list[str]:
    """Return a problem for every field that is of another kind than it must be."""
    problems = []
    # What is null counts as not given; whether it may be left out, the schema says.
    for name in TEXT_FIELDS:
        value = record.get(name)
        if value is not None and not isinstance(value, str):
            problems.append(f"{where}: field '{name}' must be a text, found {value!r:.40}")
    problems += _option_problems(record.get("options"), where)
    examples = record.get("examples") or []
    if not isinstance(examples, list):
        kind = type(examples).__name__
        problems.append(f"{where}: field 'examples' must be a list, found {kind}")
    return problems


def _option_problems(options: Any, where: str) -> list[str]:
    """Return what is wrong with the labels of a task, if it has any."""
    if options is None:
        return []
    # "options": "yes" would be a list of its letters.
    is_list = isinstance(options, list) and all(map(_is_filled, options))
    if not is_list:
        return [f"{where}: field 'options' must be a list of texts that are not empty"]

    problems = []
    for option in repeated_names(options):
        problems.append(f"{where}: option {option!r:.60} is listed twice")
    return problems


def _is_filled(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _header_problems(record: dict[str, Any], where: str) -> list[str]:
    """Return what is wrong with a record whatever its examples are."""
    problems = list(field_problems(record, where))
    if problems:
        return problems
    # One right example in place of the record's own: what is still wrong is none of their faults.
    example = _right_example(record["category"], record.get("options") or ["1"])
    return _schema_problems(_with_examples(record, [example]), where)


def _with_right_fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record whose fields are right, for its examples; without any, if none can be read.

    A category that there is not stands for non-cls where the first row is of no other kind.
    """
    examples = record.get("examples") or []
    category = record.get("category")
    if category not in CATEGORIES:
        first = examples[0] if examples else None
        is_plain = isinstance(first, dict) and not kinds.kind_of(first)
        category = "non-cls" if is_plain else ""
    metric = record.get("metric")
    right: dict[str, Any] = {"name": "task", "category": category, "metric": metric}
    right["options"] = record.get("options") if category in WITH_OPTIONS else None
    right["examples"] = examples
    if any(field_problems(right, "")):
        right["metric"] = "tag-accuracy" if category == "tags" else "exact-match"
    return right if not _header_problems(right, "") else right | {"examples": []}


def _right_example(category: Any, options: list[str]) -> dict[str, Any]:
    """Return a row that is right in a task of this category, whatever its metric is."""
    if category == "tags":
        # A tag that no entity must stand before.
        first = [tag for tag in options if not tag.startswith("I-")] or options
        return {"tokens": ["a"], "tags": ["O" if options == ["1"] else first[0]]}
    if category == "span":
        return {"context": "a", "query": "a", "answers": []}
    if category == "choice":
        return {"input": "a", "output": ["1"], "choices": ["1", "2"]}
    return {"input": "a", "output": [options[0]], "group": "1"}


def _example_problems(record: dict[str, Any], where: str) -> list[str]:
    """Return what the schema says of the examples, each tried alone."""
    # Together they would give the first problem only.
    problems = []
    for number, row in enumerate(record["examples"], 1):
        for problem in _schema_problems(_with_examples(record, [row]), where):
            # The schema counts from the one example that it was given.
            problems.append(problem.replace(": example 1:", f": example {number}:", 1))
    return problems


def _with_examples(record: dict[str, Any], examples: list[Any]) -> dict[str, Any]:
    """Return the record with other examples, without a test set, draws and sets."""
    # Draws and sets are numbers of the record's own examples.
    return record | {"examples": examples, "draws": None, "sets": None, "test": None}


def _schema_problems(record: dict[str, Any], where: str) -> list[str]:
    """Return a list with the first problem that the schema finds, an empty one for none."""
    try:
        Task.from_dict(record, where)
    except ValueError as error:
        return [str(error)]
    return []


def _contradictions(task: Task, where: str) -> list[str]:
    """Return a problem for each example of a cls task whose input had another label before."""
    problems = []
    first_rows: dict[str, _FirstRow] = {}
    for number, row in enumerate(task.examples, 1):
        label = row.output[0]
        # Case and spacing are ignored, as where few-shot sets are drawn.
        text = " ".join(row.input.casefold().split())
        first = first_rows.setdefault(text, _FirstRow(number, label))
        if label != first.label:
            problems.append(
                f"{where}: example {number}: the input of example {first.number} again, "
                f"{first.label!r:.60} there and {label!r:.60} here"
            )
    return problems


def _unused_options(task: Task, where: str) -> list[str]:
    """Return a problem for each label that no example of a cls task has."""
    # A label of the test set alone can be right, though no job can learn it.
    used = {row.output[0] for row in (*task.examples, *task.test)}
    problems = []
    for option in task.options or ():
        if option not in used:
            problems.append(f"{where}: no example has the label {option!r:.60}")
    return problems


def _equal_options(task: Task, where: str) -> list[str]:
    """Return a problem for each label that the task's metric takes for another one."""
    problems = []
    first_options: dict[str, str] = {}
    for option in task.options or ():
        text = " ".join(unicodedata.normalize("NFC", option).split())
        ignored = "spaces and forms of accents"
        if task.metric in CASELESS:
            text = text.casefold()
            ignored = f"case, {ignored}"
        first = first_options.setdefault(text, option)
        if option != first:
            problems.append(
                f"{where}: options {first!r:.60} and {option!r:.60} are one to the metric "
                f"{task.metric}, which ignores {ignored}; rename one"
            )
    return problems
