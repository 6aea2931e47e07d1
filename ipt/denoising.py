"""What the embedded backbone learns from: rows of tasks, led by an instruction in varying forms, and denoised text.

A soft prompt later stands where the instruction stands here. So the instruction is sometimes a definition, sometimes solved
examples, sometimes damaged: the backbone must read from whatever leads the input what is to be done with it.
"""

import random
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

SENTINELS = tuple(f"<extra_id_{i}>" for i in range(32))

# Shares of the forms of a row; `text` counts only where plain text is given.
SHARES = {"definition": 0.55, "examples": 0.20, "both": 0.12, "damaged": 0.08, "denoise": 0.05, "text": 0.10}
RECENT_ROWS = 16
TEXT_WORDS = 48


@dataclass(frozen=True)
class PretrainRow:
    """One row of a task's endless stream.

    definitions: the same instruction in different words.
    """

    definitions: tuple[str, ...]
    input: str
    answer: str
    task: str


class Lesson(NamedTuple):
    """What the model sees, and what it answers; `prefix` is empty or whole lines, examples last."""

    prefix: str
    input: str
    answer: str


def mixed_rows(rows: Iterator[PretrainRow], seed: int, texts: Iterator[str] | None = None) -> Iterator[Lesson]:
    """Turn rows (and lines of plain text) into lessons whose forms have the frequencies of `SHARES`.

    rows: the tasks well mixed; solved examples are the task's last `RECENT_ROWS` rows.
    texts: an exhausted iterator ends the share of plain text, not the lessons.
    """
    rng = random.Random(seed)
    recent: dict[str, deque[PretrainRow]] = {}
    forms, weights = list(SHARES), list(SHARES.values())
    for row in rows:
        form = rng.choices(forms, weights)[0]
        while form == "text":
            line = next(texts, None) if texts else None
            if line and (text := " ".join(line.split()[:TEXT_WORDS])):
                yield denoise(text, rng)
            form = rng.choices(forms, weights)[0]
        seen = recent.setdefault(row.task, deque(maxlen=RECENT_ROWS))
        yield _lesson(row, form, [r for r in seen if r.input != row.input], rng)
        seen.append(row)


def _lesson(row: PretrainRow, form: str, others: list[PretrainRow], rng: random.Random) -> Lesson:
    if form == "denoise":
        return denoise(row.input, rng)
    definition = rng.choice(row.definitions)
    if form == "damaged":
        return Lesson(damage(definition, rng) + "\n", row.input, row.answer)
    prefix = "" if form == "examples" and others else definition + "\n"
    if form != "definition":
        count = rng.randint(1, 4 if form == "examples" else 2)
        prefix += "".join(f"{r.input} -> {r.answer}\n" for r in rng.sample(others, min(count, len(others))))
    return Lesson(prefix, row.input, row.answer)


def damage(definition: str, rng: random.Random) -> str:
    """Drop about a third of the words, or shuffle them; one word is always left."""
    words = definition.split()
    if rng.random() < 0.5:
        rng.shuffle(words)
        return " ".join(words)
    return " ".join([word for word in words if rng.random() > 0.33] or words[:1])


def denoise(text: str, rng: random.Random, share: float = 0.2) -> Lesson:
    """Hide spans of the text behind sentinels (T5, Raffel et al. 2020, section 3.1.4); the answer lists what they hide.

    Pieces are words with the space before them, or single characters where there are fewer than four words.
    """
    words = re.findall(r"\s*\S+|\s+$", text)
    pieces = words if len(words) >= 4 else list(text)
    source, target = "", ""
    for i, (start, stop, before) in enumerate(_spans(len(pieces), share, rng)):
        source += "".join(pieces[before:start]) + SENTINELS[i]
        target += SENTINELS[i] + "".join(pieces[start:stop])
        last = stop
    return Lesson("", source + "".join(pieces[last:]) if target else text, target)


def restore(source: str, target: str) -> str:
    """Undo `denoise`."""
    hidden = dict(re.findall(r"(<extra_id_\d+>)(.*?)(?=<extra_id_\d+>|$)", target, re.DOTALL))
    return re.sub(r"<extra_id_\d+>", lambda found: hidden[found[0]], source)


def _spans(count: int, share: float, rng: random.Random) -> Iterator[tuple[int, int, int]]:
    """Yield (start, stop, end of the span before): spans of 1-3 pieces, at least one visible piece between them."""
    if count == 0:
        return
    spans = min(len(SENTINELS), max(1, round(count * share / 2)))
    starts = sorted(rng.sample(range(count), min(spans, count)))
    before = 0
    for i, start in enumerate(starts):
        if i and start <= before:
            continue
        stop = min(count, start + rng.randint(1, 3))
        if i + 1 < len(starts):
            stop = max(start + 1, min(stop, starts[i + 1] - 1))
        yield start, stop, before
        before = stop
