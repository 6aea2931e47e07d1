"""A user's own tasks: files in the one schema or tables (`ipt.tasks.readers.tables`), and a task split drawn over them.

A `*.json` or `*.json.gz` file holds one task as a JSON object; unknown fields are ignored, and so is a table of contents named
`index.json`. Bare tables count in a folder that has no task files, or where they are named themselves.
"""

import gzip
import hashlib
import json
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from ipt.data import SAME_DATA_SEED, Task, TaskSplit
from ipt.fewshot import few_shot
from ipt.tasks.readers import tables

DIFF_DATA_SEED = 21
SUFFIXES = (".json", ".json.gz", *tables.TASK_FILES)
IGNORED = ("index.json", "index.json.gz")
MOST_PER_FILE = 20  # problems reported per file
TEXT_FIELDS = ("name", "category", "subcategory", "metric", "definition", "source", "family")


def load(path: Path | str) -> tuple[Task, ...]:
    """Read one file or every file of a folder, in the order of file names; raise ValueError with the first problem."""
    tasks, problems = _read(Path(path))
    if problems:
        more = f" (and {len(problems) - 1} more problems: ipt tasks check {path})" if len(problems) > 1 else ""
        raise ValueError(problems[0] + more)
    return tasks


def check(path: Path | str) -> list[str]:
    """Return every problem of a file or folder, each with its file; at most 20 per file."""
    return _read(Path(path))[1]


def shortfalls(tasks: Iterable[Task], shots: int | None = None) -> dict[str, str]:
    """Return, for each task that cannot fill the sets of data seeds 100 and 21, its name and why."""
    found = {}
    for task in tasks:
        try:
            for seed in (SAME_DATA_SEED, DIFF_DATA_SEED):
                few_shot(task, seed, shots)
        except ValueError as error:
            found[task.name] = str(error)
    return found


def draw_split(tasks: Sequence[Task], seen: int, unseen: int, seed: int, shots: int | None = None) -> tuple[TaskSplit, tuple[str, ...]]:
    """Draw seen and unseen tasks by sha256 of seed and family; a family stays on one side.

    Returns the split and the names of the tasks that were skipped because they cannot serve their few-shot sets. Raises
    ValueError where too few tasks or families are left.
    """
    if seen < 1 or unseen < 0:
        raise ValueError(f"--seen must be at least 1 and --unseen at least 0, found {seen} and {unseen}")
    skipped = shortfalls(tasks, shots)
    families: dict[str, list[Task]] = defaultdict(list)
    for task in sorted(tasks, key=lambda t: _hash(seed, t.name)):
        if task.name not in skipped:
            families[task.family or task.name].append(task)
    by_hash = sorted(families, key=lambda family: _hash(seed, family))
    largest_first = sorted(by_hash, key=lambda family: -len(families[family]))
    for order in (by_hash, largest_first, largest_first[::-1]):
        chosen = _deal([families[family] for family in order], seen, unseen)
        if chosen:
            return as_split(f"files-{seed}", *chosen), tuple(sorted(skipped))
    usable, asked = sum(map(len, families.values())), f"{seen} seen and {unseen} unseen tasks"
    raise ValueError(
        f"{asked} were asked for, and {usable} usable tasks of {len(families)} families cannot give them with a family "
        f"on one side ({len(skipped)} tasks are too small for their few-shot sets); lower --seen, --unseen or --shots"
    )


def _deal(families: list[list[Task]], seen: int, unseen: int) -> tuple[list[Task], list[Task]] | None:
    """Fill the seen side, then the unseen one, family by family; a family's tasks beyond the need are not used."""
    sides: tuple[list[Task], list[Task]] = ([], [])
    for family in families:
        side, need = (sides[0], seen) if len(sides[0]) < seen else (sides[1], unseen)
        side.extend(family[: need - len(side)])
    return sides if (len(sides[0]), len(sides[1])) == (seen, unseen) else None


def as_split(name: str, seen: list[Task], unseen: list[Task]) -> TaskSplit:
    """Return the split of these tasks; unseen ones of a subcategory that no seen task has are marked."""
    known = {task.subcategory for task in seen}
    new = tuple(t.name for t in unseen if t.subcategory not in known)
    return TaskSplit(name, tuple(t.name for t in seen), tuple(t.name for t in unseen), new_subcategories=new)


def _hash(seed: int, name: str) -> str:
    return hashlib.sha256(f"files|{seed}|{name}".encode()).hexdigest()


def _read(path: Path) -> tuple[tuple[Task, ...], list[str]]:
    """Return the tasks that are right and the problems of the others."""
    if not path.exists():
        return (), [f"{path}: no such file or folder"]
    inside = sorted(path.iterdir()) if path.is_dir() else []
    files = [f for f in inside if _is_task_file(f)] or [f for f in inside if f.suffix in tables.TABLES] if path.is_dir() else [path]
    if not files:
        known = ", ".join(f"*{suffix}" for suffix in (*SUFFIXES, *tables.TABLES))
        return (), [f"{path}: no task files in this folder ({known})"]
    tasks: list[Task] = []
    problems: list[str] = []
    for file in files:
        found = _read_file(file)
        problems += found if isinstance(found, list) else []
        tasks += [] if isinstance(found, list) else [found]
    twice = [name for name, count in Counter(t.name for t in tasks).items() if count > 1]
    problems += [f"{path}: more than one file holds a task named {name!r}" for name in twice]
    return tuple(tasks), problems


def _is_task_file(path: Path) -> bool:
    return path.name.endswith(SUFFIXES) and path.name not in IGNORED and not path.name.startswith(".") and path.is_file()


def _read_file(path: Path) -> Task | list[str]:
    """Return a file's task, or its problems."""
    if path.suffix in (*tables.TASK_FILES, *tables.TABLES):
        try:
            record = tables.from_table(path) if path.suffix in tables.TABLES else tables.from_task_file(path)
        except (ValueError, OSError) as error:
            return [str(error)]
        return _problems(record, str(path)) or Task.from_dict(record, str(path))
    try:
        packed = path.read_bytes()
        text = (gzip.decompress(packed) if path.name.endswith(".gz") else packed).decode("utf8")
    except UnicodeDecodeError as error:
        return [f"{path}: not UTF-8 text (byte {error.start})"]
    except (OSError, EOFError, zlib.error) as error:  # the last two and gzip.BadGzipFile: a damaged archive
        return [f"{path}: cannot be read ({error})"]
    if not text.strip():
        return [f"{path}: the file is empty"]
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        return [f"{path}: line {error.lineno}, column {error.colno}: not valid JSON ({error.msg})"]
    except RecursionError:
        return [f"{path}: not valid JSON (nested too deeply)"]
    return _problems(record, str(path)) or Task.from_dict(record, str(path))


def _problems(record: Any, where: str) -> list[str]:
    """Return what is wrong with a file's record: first its shape, then its fields, then each of its examples."""
    if not isinstance(record, dict):
        return [f"{where}: a task is a JSON object, found {type(record).__name__}"]
    texts = [name for name in TEXT_FIELDS if not isinstance(record.get(name) or "", str)]
    found = [f"{where}: field '{name}' must be a text, found {record[name]!r:.40}" for name in texts]
    found += _wrong_options(record, where)
    if not isinstance(record.get("examples") or [], list):
        found.append(f"{where}: field 'examples' must be a list, found {type(record['examples']).__name__}")
    if found:
        return found
    header = _problem(
        record | {"examples": [{"input": "a", "output": [(record.get("options") or ["1"])[0]]}], "draws": None, "test": None}, where
    )
    if header or not record.get("examples"):
        return [header or f"{where}: field 'examples' is missing or empty"]
    rows = (_problem(record | {"examples": [row], "draws": None, "test": None}, where, i) for i, row in enumerate(record["examples"]))
    wrong = [problem for problem in rows if problem] or [problem for problem in [_problem(record, where)] if problem]
    wrong = wrong or _disagreements(record, where)
    left = len(wrong) - MOST_PER_FILE
    return wrong[:MOST_PER_FILE] + ([f"{where}: {left} more examples are wrong"] if left > 0 else [])


def _wrong_options(record: Mapping[str, Any], where: str) -> list[str]:
    options = record.get("options")
    if not options:
        return []
    if not isinstance(options, list) or not all(isinstance(o, str) and o.strip() for o in options):
        return [f"{where}: field 'options' must be a list of texts that are not empty"]
    twice = [option for option, count in Counter(options).items() if count > 1]
    return [f"{where}: option {option!r} is listed twice" for option in twice]


def _disagreements(record: Mapping[str, Any], where: str) -> list[str]:
    """Return what is wrong between the examples of a cls task: one input with two labels, a label that no example has."""
    if record["category"] != "cls":
        return []
    task = Task.from_dict(dict(record), where)
    found: list[str] = []
    first: dict[str, tuple[str, int]] = {}
    for i, row in enumerate(task.examples, 1):
        text = " ".join(row.input.casefold().split())
        label, at = first.setdefault(text, (row.output[0], i))
        if label != row.output[0]:
            found.append(f"{where}: example {i}: the input of example {at} again, {label!r} there and {row.output[0]!r} here")
    used = {row.output[0] for row in (*task.examples, *task.test)}
    return found + [f"{where}: no example has the label {option!r}" for option in task.options or () if option not in used]


def _problem(record: dict[str, Any], where: str, row: int = 0) -> str:
    """Return why the schema rejects a record with one example, the number `row` of its file; "" where it does not."""
    try:
        Task.from_dict(record, where)
    except ValueError as error:
        return str(error).replace(": example 1:", f": example {row + 1}:", 1)
    return ""


def text_lines(folder: Path, seed: int) -> Iterator[str]:
    """Yield pieces of at most 20 words of a folder's plain text (*.txt.gz, a line a paragraph), without end."""
    lines = []
    for path in sorted(folder.glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf8") as handle:
            lines += [line.strip() for line in handle if len(line) > 20]
    if not lines:
        raise ValueError(f"--text {folder}: expected *.txt.gz files with a paragraph per line, found none")
    rng = Random(f"text|{seed}")
    while True:
        words = rng.choice(lines).split()
        at = rng.randrange(max(1, len(words) - 20))
        yield " ".join(words[at : at + 20])
