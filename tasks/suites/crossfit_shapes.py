"""CrossFit's few tasks whose rows are regrouped, drawn from or taken apart before a template can fill them; and its filters.

A shape takes the rows of one split of the source, in the source's order, and yields rows with the columns that the table's
templates name. `as_published` asks for the released script's result where that is a fault.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
SEED = 42  # of every draw inside the released scripts
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def lettered(texts: Iterable[str], marks: Sequence[str] = LETTERS) -> str:
    """Return the choices of a question in one text: (A) first (B) second."""
    return " ".join(f"({mark}) {text}" for mark, text in zip(marks, texts, strict=False))


def majority(votes: Sequence[Any]) -> Any:
    """Return what most annotators say, None where two answers share the lead."""
    first, *others = Counter(votes).most_common(2)
    return None if others and others[0][1] == first[1] else first[0]


def flat(values: Any) -> list[str]:
    """Return the texts of nested lists in one list."""
    return [values] if isinstance(values, str) else [text for value in values for text in flat(value)]


def acronyms(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield text, short and long form of the sentences with one of each (tags: 0 B-long, 1 B-short, 2 I-long, 3 I-short)."""
    for row in rows:
        tags, tokens = row["labels"], row["tokens"]
        if tags.count(0) == tags.count(1) == 1:
            yield {"text": " ".join(tokens), "short": _span(tokens, tags, 1, 3), "long": _span(tokens, tags, 0, 2)}


def _span(tokens: Sequence[str], tags: Sequence[int], first: int, inside: int) -> str:
    start = end = tags.index(first)
    while end + 1 < len(tags) and tags[end + 1] == inside:
        end += 1
    return " ".join(tokens[start : end + 1])


def tossed(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Add `first`, the toss that decides which sentence of a pair comes first."""
    coin = np.random.RandomState(SEED)
    for row in rows:
        yield {**row, "first": coin.random_sample() > 0.5}


def shuffled_answers(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Add `answers`, the four choices in a drawn order; rows without supporting text are left out before the draw."""
    order = np.random.RandomState(SEED)
    for row in rows:
        if row["support"]:
            answers = [row["distractor1"], row["distractor2"], row["distractor3"], row["correct_answer"]]
            order.shuffle(answers)
            yield {**row, "answers": answers}


def concept_sets(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield each set of concepts once, with all sentences written for it."""
    for group in _grouped(rows, lambda row: row["concept_set_idx"]):
        yield {"concepts": group[0]["concepts"], "targets": [row["target"] for row in group]}


def conversations(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield each situation with its emotion once, with all utterances about it; those with an editor's mark are left out."""
    kept = (row for row in rows if "hit:" not in row["utterance"])
    for group in _grouped(kept, lambda row: (row["prompt"], row["context"])):
        utterances = [row["utterance"].replace("_comma_", ",") for row in group]
        yield {"prompt": group[0]["prompt"].replace("_comma_", ","), "context": group[0]["context"], "utterances": utterances}


def answer_sets(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield each question once, with its answers and those that are right."""
    for group in _grouped(rows, lambda row: row["idx"]["question"]):
        answers, right = [row["answer"] for row in group], [row["answer"] for row in group if row["label"] == 1]
        yield {"question": group[0]["question"], "paragraph": group[0]["paragraph"], "answers": answers, "right": right}


def numbered_options(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield the problem with the five options of one text ("a ) 3 , b ) 1 , 000 , ...").

    The released script cuts at every comma and takes labels of four or five signs off by position, and leaves out rows whose
    answer is then empty; the same rows are left out here, so that both ways draw the same ones.
    """
    for row in rows:
        parts = row["options"].split(",")[:5]
        choices = [part[4 if i == 0 else 5 : None if i == 4 else -1] for i, part in enumerate(parts)]
        at = "abcde".index(row["correct"])
        if at < len(choices) and choices[at]:
            whole = re.split(r"[\s,]*\b[a-e] \) ", " " + row["options"])[1:]
            choices = choices if as_published or len(whole) != 5 else whole
            yield {"Problem": row["Problem"], "choices": choices, "answer": choices[at]}


def inline_options(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Add `answer`, the text of the right one of the two options inside the question."""
    for row in rows:
        question = row["question"]
        a, b = question.find("(A)"), question.find("(B)")
        answer = question[a + 4 : b] if row["answer_index"] == 0 else question[b + 4 :]
        yield {**row, "answer": answer.removesuffix("or ").strip()}


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> Iterable[list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups.values()


FILTERS: dict[str, Callable[..., Any]] = {"lettered": lettered, "majority": majority, "flat": flat}
SHAPES: dict[str, Callable[[Iterable[Row], bool], Iterator[Row]]] = {
    "acronyms": acronyms,
    "tossed": tossed,
    "shuffled_answers": shuffled_answers,
    "concept_sets": concept_sets,
    "conversations": conversations,
    "answer_sets": answer_sets,
    "numbered_options": numbered_options,
    "inline_options": inline_options,
}
