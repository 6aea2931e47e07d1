"""SuperGLUE's eight tasks: from a folder in FewGLUE's layout, and from the hub.

A folder has BoolQ, CB, ... with train (32 rows), dev32 and val as JSON lines. Data seed 100 trains
and chooses on the published sets; the others draw from the 64 rows. WSC's train has true rows only
(it was made for generation), so there train and dev32 are shuffled together for every seed. ReCoRD
has no val: it is tested on dev32, and train gives train and dev, 16 rows each.

Sources: Wang et al., arXiv 1905.00537; Schick and Schuetze, arXiv 2009.07118 (FewGLUE); Liu et al.,
arXiv 2103.10385 (dev32).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import filter as matching
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np

from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED, Task
from ipt.tasks.names import check_name
from ipt.tasks.readers import hub
from ipt.tasks.readers.contents import json_rows

Row = Mapping[str, Any]
Record = dict[str, Any]

PREFIX = "superglue/"
ALL = "all"
DATA_SET = "aps/super_glue"  # of the hub
DATA_SEEDS = (SAME_DATA_SEED, 13, DIFF_DATA_SEED, 42, 87)  # that a folder's tasks have sets for
SUFFIXES = (".jsonl", ".jsonl.gz")
MOST_ROWS = 5000  # of the hub's train split, drawn at random
SHUFFLE_SEED = 42

NO_YES = ("no", "yes")
CB_LABELS = ("entailment", "contradiction", "neutral")
RTE_LABELS = ("entailment", "not entailment")


class Definition(NamedTuple):
    """One task of SuperGLUE.

    rows: from a row of the source and its place (file and row) to the schema's rows.
    """

    folder: str
    config: str  # of the hub's data set
    category: str
    metric: str  # what is reported first
    options: tuple[str, ...] | None
    definition: str
    rows: Callable[[Row, str, str], list[Record]]


class _Sets(NamedTuple):
    """Units (lines of the source, as the schema's rows) to draw from, and the test rows."""

    train: list[list[Record]]
    dev: list[list[Record]]
    test: list[Record]


def is_folder(path: Path) -> bool:
    """Return whether a folder has FewGLUE's layout."""
    if not path.is_dir():
        return False
    return any(_file(path / task.folder, "dev32") is not None for task in TASKS.values())


def load_folder(path: Path) -> list[Task]:
    """Return the tasks of a folder in FewGLUE's layout.

    Raises ValueError that names the file, and the row where one is wrong.
    """
    tasks = []
    for name, task in TASKS.items():
        folder = path / task.folder
        if not folder.is_dir():
            continue
        sets = _read_sets(folder, name, task)
        units = [*sets.train, *sets.dev]
        record = _header(name, task) | {
            "examples": _flat(units),
            "test": sets.test,
            "sets": _draw_sets(name, units, len(sets.train)),
            "source": "FewGLUE, 32 train and 32 dev rows",
        }
        tasks.append(Task.from_dict(record, str(folder)))
    return tasks


def load(source: str) -> tuple[Task, ...]:
    """Return tasks of the hub's data set: superglue/all, superglue/boolq, superglue/w*.

    Train gives the few-shot sets, validation is the test set.

    Raises ValueError where a name is unknown or the data set cannot be read.
    """
    tasks = []
    for name in _select(source):
        task = TASKS[name]
        where = f"--tasks {PREFIX}{name}"
        train = hub.read_split(where, DATA_SET, "train", config=task.config)
        if len(train) > MOST_ROWS:
            order = np.random.default_rng(SHUFFLE_SEED).permutation(len(train))
            train = train.select(order[:MOST_ROWS].tolist())
        test = hub.read_split(where, DATA_SET, "validation", config=task.config)
        record = _header(name, task) | {
            "examples": _flat(_units(task, train.to_list(), where, "train")),
            "test": _flat(_units(task, test.to_list(), where, "validation")),
            "source": DATA_SET,
        }
        tasks.append(Task.from_dict(record, where))
    return tuple(tasks)


def _select(source: str) -> list[str]:
    chosen: dict[str, None] = {}
    for part in source.split(","):
        pattern = part.strip().removeprefix(PREFIX)
        if not pattern:
            continue
        names = list(TASKS) if pattern == ALL else matching(TASKS, pattern)
        if not names:
            check_name(pattern, valid=(ALL, *TASKS), what="task of SuperGLUE")
        chosen |= dict.fromkeys(names)
    if not chosen:
        raise ValueError(f"--tasks names no task of SuperGLUE, found {source!r:.60}")
    return list(chosen)


def _header(name: str, task: Definition) -> Record:
    return {
        "name": name,
        "category": task.category,
        "subcategory": "SuperGLUE",
        "metric": task.metric,
        "definition": task.definition,
        "options": list(task.options) if task.options else None,
    }


def _read_sets(folder: Path, name: str, task: Definition) -> _Sets:
    """Return what a folder's files give to draw from and to test on."""
    train = _read_part(folder, "train", task)
    dev = _read_part(folder, "dev32", task)
    if name == "record":
        half = len(train) // 2
        return _Sets(train[:half], train[half:], _flat(dev))
    return _Sets(train, dev, _flat(_read_part(folder, "val", task)))


def _read_part(folder: Path, part: str, task: Definition) -> list[list[Record]]:
    file = _file(folder, part)
    if file is None:
        raise ValueError(f"{folder}: expected {part}.jsonl or {part}.jsonl.gz, found neither")
    return _units(task, json_rows(file), str(file), part)


def _units(task: Definition, rows: Iterable[Row], source: str, part: str) -> list[list[Record]]:
    units = []
    for number, row in enumerate(rows, start=1):
        where = f"{source}: row {number}"
        try:
            units.append(task.rows(row, where, part))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            # A field that is not there, or other than SuperGLUE has it.
            reason = str(error) or type(error).__name__
            raise ValueError(
                f"{where}: not a row of SuperGLUE's {task.folder} ({reason:.100})"
            ) from error
    return units


def _file(folder: Path, part: str) -> Path | None:
    for suffix in SUFFIXES:
        file = folder / f"{part}{suffix}"
        if file.is_file():
            return file
    return None


def _flat(units: Sequence[Sequence[Record]]) -> list[Record]:
    rows: list[Record] = []
    for unit in units:
        rows += unit
    return rows


def _draw_sets(name: str, units: Sequence[Sequence[Record]], train_size: int) -> Record:
    """Return the sets of each data seed: whole units, so that no question is parted.

    train_size: units of train, the first of them as published.
    """
    starts = np.cumsum([0, *map(len, units)]).tolist()
    sets = {}
    for seed in DATA_SEEDS:
        order = list(range(len(units)))
        if seed != SAME_DATA_SEED or name == "wsc":
            Random(f"{name}|{seed}").shuffle(order)
        drawn: dict[str, list[int]] = {"train": [], "dev": []}
        for place, unit in enumerate(order):
            part = "train" if place < train_size else "dev"
            drawn[part] += range(starts[unit], starts[unit + 1])
        sets[str(seed)] = drawn
    return sets


def _label(value: Any, names: Sequence[str]) -> str:
    """Return a label in words: of a truth value, a number or SuperGLUE's own text."""
    if isinstance(value, str):
        return value.replace("_", " ")
    if value < 0:
        raise IndexError(f"label {value}: the row has none")
    return names[int(value)]


def _two_texts(first: str, second: str, label: str) -> list[Record]:
    return [{"query": first, "context": second, "output": label}]


def _boolq(row: Row, where: str, part: str) -> list[Record]:
    return _two_texts(row["question"], row["passage"], _label(row["label"], NO_YES))


def _cb(row: Row, where: str, part: str) -> list[Record]:
    return _two_texts(row["premise"], row["hypothesis"], _label(row["label"], CB_LABELS))


def _rte(row: Row, where: str, part: str) -> list[Record]:
    return _two_texts(row["premise"], row["hypothesis"], _label(row["label"], RTE_LABELS))


def _wic(row: Row, where: str, part: str) -> list[Record]:
    first = f"{row['word']}\n{row['sentence1']}"
    return _two_texts(first, row["sentence2"], _label(row["label"], NO_YES))


def _wsc(row: Row, where: str, part: str) -> list[Record]:
    # The hub's rows have the target's fields beside the text.
    target = row.get("target", row)
    words = row["text"].split()
    start = target["span2_index"]
    end = start + len(target["span2_text"].split())
    # Pronouns stand in a text more than once: the one that is meant is marked.
    marked = [*words[:start], "*", *words[start:end], "*", *words[end:]]
    return _two_texts(target["span1_text"], " ".join(marked), _label(row["label"], NO_YES))


def _copa(row: Row, where: str, part: str) -> list[Record]:
    choices = [row["choice1"], row["choice2"]]
    made = {
        "query": row["question"],
        "context": row["premise"],
        "choices": choices,
        "output": choices[row["label"]],
    }
    return [made]


def _multirc(row: Row, where: str, part: str) -> list[Record]:
    """Return a row for each answer to each question; those of a question are a group."""
    # A row of the hub is one answer.
    if "paragraph" in row:
        place = row["idx"]
        question = f"{part} {place['paragraph']} {place['question']}"
        entity = f"{part} {place['paragraph']}"
        return [_answer(row["paragraph"], row, row["answer"], question, entity)]
    passage = row["passage"]
    entity = f"{part} {row['idx']}"
    rows = []
    for question in passage["questions"]:
        group = f"{entity} {question['idx']}"
        for answer in question["answers"]:
            labelled = {"question": question["question"], "label": answer["label"]}
            rows.append(_answer(passage["text"], labelled, answer["text"], group, entity))
    return rows


def _answer(passage: str, row: Row, answer: str, group: str, entity: str) -> Record:
    return {
        "query": f"{row['question']}\n{answer}",
        "context": passage,
        "output": _label(row["label"], NO_YES),
        "group": group,
        "entity": entity,
    }


def _record(row: Row, where: str, part: str) -> list[Record]:
    """Return a row for each query: which entity of the passage fills its gap."""
    # A row of the hub has one query, its entities and answers as texts.
    if "qas" not in row:
        return [_cloze(row["passage"], row["query"], row["entities"], row["answers"])]
    text = row["passage"]["text"]
    entities = []
    for place in row["passage"]["entities"]:
        end = place["end"] + 1  # inclusive in the source
        entities.append(text[place["start"] : end])
    rows = []
    for question in row["qas"]:
        answers = [answer["text"] for answer in question["answers"]]
        rows.append(_cloze(text, question["query"], entities, answers))
    return rows


def _cloze(passage: str, query: str, entities: Sequence[str], answers: Sequence[str]) -> Record:
    # Mentions repeat; in the order of the passage, each once.
    return {
        "query": query,
        "context": passage,
        "choices": list(dict.fromkeys(entities)),
        "output": list(dict.fromkeys(answers)),
        "entity": passage,
    }


TASKS: dict[str, Definition] = {
    "boolq": Definition(
        folder="BoolQ",
        config="boolq",
        category="cls",
        metric="accuracy",
        options=NO_YES,
        definition="Answer the question about the passage.",
        rows=_boolq,
    ),
    "cb": Definition(
        folder="CB",
        config="cb",
        category="cls",
        metric="macro-F1",
        options=CB_LABELS,
        definition="Say whether the text entails the sentence.",
        rows=_cb,
    ),
    "copa": Definition(
        folder="COPA",
        config="copa",
        category="choice",
        metric="accuracy",
        options=None,
        definition="Choose the cause or the effect of what is said.",
        rows=_copa,
    ),
    "multirc": Definition(
        folder="MultiRC",
        config="multirc",
        category="cls",
        metric="F1a",
        options=NO_YES,
        definition="Say whether the answer to the question about the passage is right.",
        rows=_multirc,
    ),
    "record": Definition(
        folder="ReCoRD",
        config="record",
        category="choice",
        metric="squad-F1",
        options=None,
        definition="Choose the entity of the passage that fills the gap.",
        rows=_record,
    ),
    "rte": Definition(
        folder="RTE",
        config="rte",
        category="cls",
        metric="accuracy",
        options=RTE_LABELS,
        definition="Say whether the text entails the sentence.",
        rows=_rte,
    ),
    "wic": Definition(
        folder="WiC",
        config="wic",
        category="cls",
        metric="accuracy",
        options=NO_YES,
        definition="Say whether the word means the same in both sentences.",
        rows=_wic,
    ),
    "wsc": Definition(
        folder="WSC",
        config="wsc.fixed",
        category="cls",
        metric="accuracy",
        options=NO_YES,
        definition="Say whether the marked pronoun stands for the phrase.",
        rows=_wsc,
    ),
}
