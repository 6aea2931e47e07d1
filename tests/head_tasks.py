"""Small tasks of every kind, for tests of heads."""

from typing import Any

from ipt.data import Task

WORDS = "the red bird saw a green tree near some tall blue house and it was low or high".split()


def task(kind: str, number: int = 0, rows: int = 40) -> Task:
    """Return a task of a kind; another number has other labels, and another count of them."""
    examples = [ROWS[kind](number, row) for row in range(rows)]
    record: dict[str, Any] = {
        "name": f"{kind}-{number}",
        "category": kind,
        "metric": METRICS[kind],
        "examples": examples,
    }
    if kind == "cls":
        record["options"] = LABELS[: 2 + number]
    return Task.from_dict(record)


LABELS = ["yes", "no", "red", "green"]
METRICS = {"cls": "accuracy", "tags": "entity-F1", "span": "squad-F1", "choice": "accuracy"}


def sentence(seed: int, length: int) -> list[str]:
    return [WORDS[(seed * 7 + place * (3 + seed % 4)) % len(WORDS)] for place in range(length)]


def labelled(number: int, row: int) -> dict[str, Any]:
    text = " ".join(sentence(row, 3 + row % 5))
    return {"input": f"{text} {row}", "output": LABELS[row % (2 + number)]}


def tagged(number: int, row: int) -> dict[str, Any]:
    words = [*sentence(row, 3 + row % 6), str(row)]
    kinds = ["B-PER", "B-LOC", "B-ORG"][: 1 + number]
    tags = [kinds[len(word) % len(kinds)] if "e" in word else "O" for word in words]
    return {"tokens": words, "tags": tags, "query": "tree" if row % 3 == 0 else ""}


def asked(number: int, row: int) -> dict[str, Any]:
    words = [*sentence(row + number, 6 + 6 * (row % 3)), str(row)]
    context = " ".join(words)
    answers = []
    if row % 4:
        text = " ".join(words[2:4])
        answers = [{"text": text, "answer_start": len(" ".join(words[:2])) + 1}]
    return {"query": f"what is {row} ?", "context": context, "answers": answers}


def chosen(number: int, row: int) -> dict[str, Any]:
    choices = [f"a {word}" for word in WORDS[row % 3 : row % 3 + 2 + row % 3]]
    return {
        "input": f"{' '.join(sentence(row, 4))} {row}",
        "choices": choices,
        "output": choices[row % len(choices)],
    }


ROWS = {"cls": labelled, "tags": tagged, "span": asked, "choice": chosen}
