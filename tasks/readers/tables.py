"""Tasks from tables: a short task file (YAML) that says how rows become inputs and outputs, or a bare table of both.

The fields are named after lm-evaluation-harness (`dataset_path`, `doc_to_text`, ...), tables are read with `datasets`: CSV, JSON
lines and Parquet beside the task file, a data set's folder as the hub has it, or a data set of the hub. No data set's own code is run.
"""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipt import hub

if TYPE_CHECKING:
    from jinja2 import Template

TASK_FILES = (".yaml", ".yml")
TABLES = {".csv": "csv", ".jsonl": "json", ".parquet": "parquet"}
NEEDED = ("task", "dataset_path", "doc_to_text", "doc_to_target", "category", "metric")
OPTIONAL = ("dataset_name", "data_files", "splits", "doc_to_choice", "description", "subcategory", "family", "entity", "rows")
LISTS = ("splits", "doc_to_choice")
MOST_ROWS = 5000  # of a large data set, the first after a shuffle with seed 42; `rows` in the task file says otherwise

Record = dict[str, Any]


def from_table(path: Path) -> Record:
    """Return the schema's record of a bare table with the columns input and output: a non-cls task, exact match."""
    rows = _load(path, TABLES[path.suffix], {"data_files": str(path)}, ["train"], MOST_ROWS)
    absent = sorted({"input", "output"} - set(rows[0] if rows else ()))
    if absent:
        raise ValueError(f"{path}: a table needs the columns input and output, {' and '.join(absent)} missing; or write a task file")
    examples = [{"input": row["input"], "output": _texts(row["output"]), "entity": str(row.get("entity") or "")} for row in rows]
    return {"name": path.stem, "category": "non-cls", "metric": "exact-match", "examples": examples}


def from_task_file(path: Path) -> Record:
    """Return the schema's record of a task file; raise ValueError with the line or row that is wrong."""
    settings = _settings(path)
    choices = settings.get("doc_to_choice")
    local = settings["dataset_path"] in TABLES.values()
    if local == ("data_files" not in settings):
        raise ValueError(f"{path}: 'data_files' belongs to dataset_path {', '.join(TABLES.values())}, and these need it")
    where = {"data_files": str(path.parent / settings["data_files"])} if local else {"name": settings.get("dataset_name")}
    folder = path.parent / settings["dataset_path"]
    rows = _load(
        path,
        str(folder) if folder.is_dir() and not local else settings["dataset_path"],
        where,
        settings.get("splits", ["train"]),
        settings.get("rows", MOST_ROWS),
    )
    examples = []
    for number, row in enumerate(rows, 1):
        source = f"{path}: row {number}"
        target = _value(settings["doc_to_target"], row, source)
        entity = _value(settings["entity"], row, source) if "entity" in settings else ""
        text = str(_value(settings["doc_to_text"], row, source))
        examples.append({"input": text, "output": _answers(target, choices, source), "entity": str(entity)})
    named = {"name": settings["task"], "definition": settings.get("description", ""), "options": choices, "examples": examples}
    return named | {name: settings.get(name, "") for name in ("category", "metric", "subcategory", "family")}


def _settings(path: Path) -> Record:
    import yaml

    try:
        settings = yaml.safe_load(path.read_text(encoding="utf8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{path}: line {line}: not valid YAML ({error.problem})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML in UTF-8 ({str(error).splitlines()[0]})") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path}: a task file is a list of fields, found {type(settings).__name__}")
    absent = [name for name in NEEDED if not settings.get(name)]
    unknown = sorted(str(name) for name in settings.keys() - {*NEEDED, *OPTIONAL})
    if absent or unknown:
        parts = [f"fields missing: {', '.join(absent)}"] * bool(absent) + [f"unknown fields: {', '.join(unknown)}"] * bool(unknown)
        raise ValueError(f"{path}: {'; '.join(parts)}; known are {', '.join((*NEEDED, *OPTIONAL))}")
    for name, value in settings.items():
        if name in LISTS:
            right, wanted = isinstance(value, list) and all(isinstance(v, str) for v in value), "a list of texts"
        else:
            right, wanted = (isinstance(value, int), "a whole number") if name == "rows" else (isinstance(value, str), "a text")
        if not right:
            hint = "; write yes, no, on and off in quotes" if name == "doc_to_choice" else ""
            raise ValueError(f"{path}: field '{name}' must be {wanted}, found {value!r:.60}{hint}")
    return settings


def _load(path: Path, kind: str, where: Mapping[str, Any], splits: list[str], most: int) -> list[Record]:
    """Return the rows of these splits, at most so many."""
    from datasets import concatenate_datasets

    if "data_files" in where and not Path(where["data_files"]).is_file():
        raise ValueError(f"{path}: {where['data_files']} is not there")
    table = concatenate_datasets([read(str(path), kind, split, where) for split in splits])
    return (table.shuffle(seed=42).select(range(most)) if len(table) > most else table).to_list()


def read(source: str, kind: str, split: str, where: Mapping[str, Any]) -> Any:
    """Return a split as a table of `datasets`: local files (a kind of TABLES), a data set's folder, or one of the hub; no script is run.

    Raises ValueError, led by `source`, where it cannot be had: at once where the hub does not answer.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    if kind not in TABLES.values() and not Path(kind).is_dir():
        _in_reach(source, kind)
    try:
        return load_dataset(kind, split=split, **where)
    except (OSError, ValueError, RuntimeError, DatasetGenerationError) as error:
        raise _unread(source, kind, error) from error


def read_converted(source: str, name: str, revision: str, pattern: str) -> Any:
    """Return the table in Parquet files of a hub data set's revision, where the hub itself converts what only a script could read.

    Raises ValueError as `read` does. By files, since `datasets` does not find those of a revision again when offline.
    """
    from huggingface_hub import snapshot_download

    _in_reach(source, name)
    try:
        folder = snapshot_download(name, repo_type="dataset", revision=revision, allow_patterns=pattern)
    except (OSError, ValueError) as error:
        raise _unread(source, name, error) from error
    files = sorted(map(str, Path(folder).glob(pattern)))
    if not files:
        raise ValueError(f"{source}: {name} has no file {pattern} in its revision {revision}")
    return read(source, "parquet", "train", {"data_files": files})


def _in_reach(source: str, name: str) -> None:
    if not hub.is_offline() and not hub.is_reachable():
        remedy = "set HF_HUB_OFFLINE=1 where it was downloaded before, or read its rows from files"
        raise ValueError(f"{source}: {name} is a data set of the hub, which is out of reach; {remedy}")


def _unread(source: str, name: str, error: Exception) -> ValueError:
    cause = str(error.__cause__ or error).strip().split("\n")[0]
    return ValueError(f"{source}: {name} cannot be read ({cause})")


@cache
def _template(rule: str) -> "Template":
    return sandbox({}).from_string(rule)


def _value(rule: str, row: Mapping[str, Any], source: str) -> Any:
    """Return a column where the rule is its name, else the rule filled as a template."""
    from jinja2 import TemplateError

    if rule in row:
        return row[rule]
    if "{" not in rule:
        raise ValueError(f"{source}: no column {rule!r}; there are {', '.join(row)}")
    try:
        return _template(rule).render(row)
    except TemplateError as error:
        raise ValueError(f"{source}: {rule!r} cannot be filled ({error}); columns are {', '.join(row)}") from error


def sandbox(filters: Mapping[str, Callable[..., Any]]) -> Any:
    """Return the environment that templates are filled in: no attribute that reaches code, a missing name is an error."""
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(undefined=StrictUndefined)
    environment.filters.update(filters)
    return environment


def _answers(target: Any, choices: list[str] | None, source: str) -> list[str]:
    """Return the accepted answers; a whole number is the index of a choice."""
    if choices and not isinstance(target, list) and str(target).isdigit() and str(target) not in choices:
        if int(target) >= len(choices):
            raise ValueError(f"{source}: target {target} is beyond the {len(choices)} choices")
        return [choices[int(target)]]
    return _texts(target)


def _texts(value: Any) -> list[str]:
    return [str(v) for v in value] if isinstance(value, list) else ["" if value is None else str(value)]
