"""Rows of tags, spans and choices: which of them a table holds, and each as the schema has it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ipt.example import ENTITY_F1, OUTSIDE

Row = Mapping[str, Any]
Record = dict[str, Any]

TAG_COLUMNS = ("tags", "ner_tags", "pos_tags")  # of the hub's data sets; the first that is there
QUESTION_COLUMNS = ("query", "question")
# What the schema reads of a row of each kind, beside the columns above.
FIELDS = {
    "tags": ("tokens", "query", "predicate", "entity", "group"),
    "span": ("context", "answers", "is_impossible", "entity", "group"),
    "choice": ("input", "query", "context", "choices", "output", "entity", "group"),
}
METRICS = {"span": "squad-F1", "choice": "accuracy"}
IOB_TAG = re.compile(r"O|[BI]-.+")
SCHEMES = ("IOB2", "IOB1")


def kind_of(names: Iterable[str]) -> str:
    """Return which kind of rows columns of these names hold, "" for plain input and output."""
    columns = set(names)
    if "tokens" in columns and columns.intersection(TAG_COLUMNS):
        return "tags"
    if {"context", "answers"} <= columns and columns.intersection(QUESTION_COLUMNS):
        return "span"
    has_text = columns.intersection(("input", "query", "context"))
    if {"choices", "output"} <= columns and has_text:
        return "choice"
    return ""


def header(name: str, kind: str, examples: Sequence[Record]) -> Record:
    """Return the schema's record without rows: the kind's usual metric.

    examples: the schema's rows; entity F1 is for tags that look like IOB.
    """
    return {
        "name": name,
        "category": kind,
        "metric": METRICS.get(kind) or _tag_metric(examples),
    }


def schema_row(
    kind: str,
    row: Row,
    source: str,
    tag_names: Sequence[str] | None = None,
) -> Record:
    """Return a table's row as the schema has it; what is wrong with it is for the schema to say.

    source: file and row, the start of an error.
    tag_names: of tags that are numbers.
    """
    made = {name: row.get(name) for name in FIELDS[kind] if row.get(name) is not None}
    if kind == "tags":
        column = next(name for name in TAG_COLUMNS if row.get(name) is not None or name in row)
        made["tags"] = named_tags(row.get(column), tag_names, source)
    if kind == "span":
        for name in QUESTION_COLUMNS:
            if row.get(name) is not None:
                made["query"] = row[name]
                break
    return made


def named_tags(tags: Any, names: Sequence[str] | None, source: str) -> Any:
    """Return tags as texts where they are numbers with names; anything else as it is.

    Raises ValueError where a number has no name.
    """
    if not isinstance(tags, list) or not any(isinstance(tag, int) for tag in tags):
        return tags
    named = []
    for tag in tags:
        if not names or not isinstance(tag, int) or not 0 <= tag < len(names):
            known = f"the {len(names)} names" if names else "no names of tags"
            raise ValueError(
                f"{source}: tag {tag!r:.40} is a number, and there are {known}; name them in a "
                "task file: tag_names: [O, B-PER, ...]"
            )
        named.append(names[tag])
    return named


def class_names(tables: Sequence[Any], column: str | None = None) -> list[str] | None:
    """Return the names of tags that tables of `datasets` store as numbers; None where none have."""
    for table in tables:
        features = getattr(table, "features", None) or {}
        for name in (column,) if column else TAG_COLUMNS:
            # A list of labels; its feature knows their names.
            inner = getattr(features.get(name), "feature", None)
            names = getattr(inner, "names", None)
            if names:
                return list(names)
    return None


def from_iob1(tags: Any) -> Any:
    """Return IOB1 as IOB2: there B- begins an entity only after another of its kind."""
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return tags
    converted = []
    before = OUTSIDE
    for tag in tags:
        begins = tag.startswith("I-") and before[1:] != tag[1:]
        converted.append(f"B-{tag[2:]}" if begins else tag)
        before = tag
    return converted


def is_squad(value: Any) -> bool:
    """Return whether a JSON value has SQuAD's form: data, of paragraphs, of questions."""
    data = value.get("data") if isinstance(value, Mapping) else None
    if not isinstance(data, list) or not data:
        return False
    return all(isinstance(article, dict) and "paragraphs" in article for article in data)


def squad_rows(value: Row, source: str) -> list[Record]:
    """Return a row a question of a file in SQuAD's form.

    source: the file, the start of an error.
    """
    rows: list[Record] = []
    for number, article in enumerate(value["data"], start=1):
        for paragraph in _objects(article["paragraphs"], f"{source}: 'paragraphs' of {number}"):
            for question in _objects(paragraph.get("qas"), f"{source}: 'qas' of {number}"):
                row = {
                    "context": paragraph.get("context"),
                    "question": question.get("question"),
                    "answers": question.get("answers"),
                    "is_impossible": question.get("is_impossible"),
                }
                rows.append(row)
    return rows


def _objects(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError(f"{where} must be a list of objects")
    return value


def _tag_metric(examples: Sequence[Record]) -> str:
    """Return entity F1 where every tag looks like IOB and some are entities."""
    has_entity = False
    for example in examples:
        tags = example.get("tags")
        for tag in tags if isinstance(tags, list) else ():
            if not isinstance(tag, str) or not IOB_TAG.fullmatch(tag):
                return "tag-accuracy"
            has_entity = has_entity or tag != OUTSIDE
    return ENTITY_F1 if has_entity else "tag-accuracy"
