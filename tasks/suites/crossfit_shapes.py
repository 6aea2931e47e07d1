"""CrossFit's few tasks whose rows are regrouped before a template can fill them; and its filters.

A shape takes the rows of one split of the source, in the source's order, and yields rows with the
columns that the table's templates name. `as_published` asks for the released script's result where
that is a fault.
"""

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Row = Mapping[str, Any]
Shape = Callable[[Iterable[Row], bool], Iterator[Row]]

SEED = 42  # of every draw inside the released scripts
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
OPTION_LABELS = "abcde"
OPTION_MARK = re.compile(r"[\s,]*\b[a-e] \) ")  # before each option of a text: ", b ) "
# Tags of acronym_identification.
BEGIN_LONG, BEGIN_SHORT, INSIDE_LONG, INSIDE_SHORT = range(4)


def lettered(texts: Iterable[str], marks: Sequence[str] = LETTERS) -> str:
    """Return the choices of a question in one text: (A) first (B) second."""
    # There are more marks than choices.
    pairs = zip(marks, texts, strict=False)
    return " ".join(f"({mark}) {text}" for mark, text in pairs)


def majority(votes: Sequence[Any]) -> Any:
    """Return what most annotators say, None where two answers share the lead."""
    ranked = Counter(votes).most_common(2)
    first, first_count = ranked[0]
    # None is no label: the table's rule leaves the row out.
    for _, count in ranked[1:]:
        if count == first_count:
            return None
    return first


def flat(values: Any) -> list[str]:
    """Return the texts of nested lists in one list."""
    if isinstance(values, str):
        return [values]
    texts: list[str] = []
    for value in values:
        texts += flat(value)
    return texts


def acronyms(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield text, short form and long form of the sentences that have one of each."""
    for row in rows:
        tags = row["labels"]
        tokens = row["tokens"]
        # With several of a kind the tags do not say which forms belong together.
        if tags.count(BEGIN_LONG) == tags.count(BEGIN_SHORT) == 1:
            yield {
                "text": " ".join(tokens),
                "short": _span(tokens, tags, first=BEGIN_SHORT, inside=INSIDE_SHORT),
                "long": _span(tokens, tags, first=BEGIN_LONG, inside=INSIDE_LONG),
            }


def _span(tokens: Sequence[str], tags: Sequence[int], first: int, inside: int) -> str:
    """Return the text of a run of tags; first, inside: the tag it begins and goes on with."""
    start = tags.index(first)
    end = start + 1
    for tag in tags[end:]:
        if tag != inside:
            break
        end += 1
    return " ".join(tokens[start:end])


def tossed(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Add `first`, the toss that decides which sentence of a pair comes first."""
    coin = np.random.RandomState(SEED)
    for row in rows:
        # One toss for every row, in their order: what is left out later must not move the others.
        yield {**row, "first": coin.random_sample() > 0.5}


def shuffled_answers(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Add `answers`, the four choices in a drawn order, to rows with a supporting text."""
    order = np.random.RandomState(SEED)
    for row in rows:
        # Left out before the draw, as in the released script: the draws of the others depend on it.
        if not row["support"]:
            continue
        answers = [
            row["distractor1"],
            row["distractor2"],
            row["distractor3"],
            row["correct_answer"],
        ]
        order.shuffle(answers)
        yield {**row, "answers": answers}


def concept_sets(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield each set of concepts once, with all sentences written for it."""
    # The data set has a row for each sentence; all of them are accepted answers.
    for group in _grouped(rows, lambda row: row["concept_set_idx"]):
        yield {
            "concepts": group[0]["concepts"],
            "targets": _column(group, "target"),
        }


def conversations(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield each situation with its emotion once, with all utterances about it."""
    # Utterances with an editor's mark are left out, as in the released script.
    unmarked = (row for row in rows if "hit:" not in row["utterance"])
    for group in _grouped(unmarked, lambda row: (row["prompt"], row["context"])):
        yield {
            "prompt": _with_commas(group[0]["prompt"]),
            "context": group[0]["context"],
            "utterances": list(map(_with_commas, _column(group, "utterance"))),
        }


def _with_commas(text: str) -> str:
    # The data set is made from a CSV file, in which a comma would have ended a cell.
    return text.replace("_comma_", ",")


def answer_sets(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield each question once, with its answers and those that are right."""
    # The data set has a row for each answer, right or wrong.
    for group in _grouped(rows, lambda row: row["idx"]["question"]):
        right = [row for row in group if row["label"] == 1]
        yield {
            "question": group[0]["question"],
            "paragraph": group[0]["paragraph"],
            "answers": _column(group, "answer"),
            "right": _column(right, "answer"),
        }


def numbered_options(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Yield the problem with the five options of one text ("a ) 3 , b ) 1 , 000 , ...").

    The released script cuts at every comma and takes labels of four or five signs off by position,
    and leaves out rows whose answer is then empty; the same rows are left out here, so that both
    ways draw the same ones.
    """
    for row in rows:
        options = row["options"]
        choices = _cut_at_commas(options)
        index = OPTION_LABELS.index(row["correct"])
        if index >= len(choices) or not choices[index]:
            continue

        # A comma inside a number ("1 , 000") moves every option after it, the answer among them.
        mended = OPTION_MARK.split(" " + options)[1:]
        if not as_published and len(mended) == len(OPTION_LABELS):
            choices = mended
        yield {
            "Problem": row["Problem"],
            "choices": choices,
            "answer": choices[index],
        }


def _cut_at_commas(options: str) -> list[str]:
    """Return the options as the released script cuts them."""
    count = len(OPTION_LABELS)
    choices = []
    for number, part in enumerate(options.split(",")[:count], 1):
        # "a ) 3 " has no space before its label, " e ) 7" none behind its text.
        start = 4 if number == 1 else 5
        end = None if number == count else -1
        choices.append(part[start:end])
    return choices


def inline_options(rows: Iterable[Row], as_published: bool) -> Iterator[Row]:
    """Add `answer`, the text of the right one of the two options inside the question."""
    for row in rows:
        question = row["question"]
        first = question.find("(A)")
        second = question.find("(B)")
        # Four signs are the mark and its space; "or" may stand between the two options.
        answer = question[second + 4 :]
        if row["answer_index"] == 0:
            answer = question[first + 4 : second]
        yield {**row, "answer": answer.removesuffix("or ").strip()}


def _column(rows: Iterable[Row], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _grouped(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> Iterable[list[Row]]:
    """Return the rows that share a key, groups in the order of their first row."""
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups.values()


FILTERS: dict[str, Callable[..., Any]] = {
    "lettered": lettered,
    "majority": majority,
    "flat": flat,
}
SHAPES: dict[str, Shape] = {
    "acronyms": acronyms,
    "tossed": tossed,
    "shuffled_answers": shuffled_answers,
    "concept_sets": concept_sets,
    "conversations": conversations,
    "answer_sets": answer_sets,
    "numbered_options": numbered_options,
    "inline_options": inline_options,
}
