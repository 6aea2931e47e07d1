"""What the embedded backbone learns from: rows of tasks led by an instruction in varying forms, and text.

A soft prompt later stands where the instruction stands here. So the instruction is sometimes a definition, sometimes
solved examples, sometimes damaged: the backbone must read from whatever leads the input what is to be done with it.
"""

import os
import random
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerFast

Batch = dict[str, Tensor]
Ids = tuple[list[int], list[int]]  # of input and answer

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
    source, target, done = "", "", 0
    for sentinel, (start, stop) in zip(SENTINELS, _spans(len(pieces), share, rng), strict=False):
        source += "".join(pieces[done:start]) + sentinel
        target += sentinel + "".join(pieces[start:stop])
        done = stop
    return Lesson("", source + "".join(pieces[done:]), target)


def restore(source: str, target: str) -> str:
    """Undo `denoise`."""
    hidden = dict(re.findall(r"(<extra_id_\d+>)(.*?)(?=<extra_id_\d+>|\Z)", target, re.DOTALL))
    return re.sub(r"<extra_id_\d+>", lambda found: hidden[found[0]], source)


def _spans(count: int, share: float, rng: random.Random) -> list[tuple[int, int]]:
    """Return (start, stop) of spans of 1-3 pieces that hide `share` of the pieces, a visible piece between them."""
    budget, place, spans = max(1, round(count * share)), 0, []
    while budget and place < count:
        width = min(budget, rng.randint(1, 3))
        # Leave the mean gap that lets the spans still to come fill the rest of the text.
        start = place + rng.randint(0, max(0, round(2 * (count - place - budget) * width / budget)))
        if start + width > count:
            break
        spans.append((start, start + width))
        place, budget = start + width + 1, budget - width
    return spans or [(0, 1)][:count]


class Batches(IterableDataset[Batch]):
    """Endless padded batches of lessons, the rows of a batch of like length.

    lessons: called where the iteration starts, which may be a background process.
    batch_tokens: most padded encoder and decoder tokens in a batch.
    pool_rows: rows sorted together; the first pools are smaller, so that the first batch comes soon.
    max_input, max_answer: in tokens, end sign included.
    """

    def __init__(
        self, lessons: Callable[[], Iterator[Lesson]], tokenizer: PreTrainedTokenizerFast, seed: int, *,
        batch_tokens: int, pool_rows: int, max_input: int, max_answer: int,
    ) -> None:  # fmt: skip
        self.lessons, self.tokenizer, self.seed = lessons, tokenizer, seed
        self.batch_tokens, self.pool_rows = batch_tokens, pool_rows
        self.max_input, self.max_answer = max_input, max_answer

    def __iter__(self) -> Iterator[Batch]:
        if get_worker_info():
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
        rng, lessons, size = random.Random(self.seed), self.lessons(), min(2048, self.pool_rows)
        while pool := list(islice(lessons, size)):
            batches = cut(encode(pool, self.tokenizer, self.max_input, self.max_answer), self.batch_tokens)
            rng.shuffle(batches)
            yield from map(collate, batches)
            size = min(2 * size, self.pool_rows)


def encode(pool: list[Lesson], tokenizer: PreTrainedTokenizerFast, max_input: int, max_answer: int) -> list[Ids]:
    """Tokenise prefix and input apart; a lesson that is too long loses its last examples, then its place."""
    fast, end = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    texts = zip(*pool, strict=True)
    columns = [[e.ids for e in fast.encode_batch(list(column), add_special_tokens=False)] for column in texts]
    rows = []
    for lesson, prefix, source, answer in zip(pool, *columns, strict=True):
        lines = lesson.prefix.splitlines(keepends=True)
        while len(prefix) + len(source) >= max_input and len(lines) > 1:
            lines.pop()
            prefix = fast.encode("".join(lines), add_special_tokens=False).ids
        if len(prefix) + len(source) < max_input and len(answer) < max_answer:
            rows.append(([*prefix, *source, end], [*answer, end]))
    return rows


def cut(rows: list[Ids], budget: int) -> list[list[Ids]]:
    """Cut rows into batches of at most `budget` padded tokens; a single row may exceed it.

    Sorted by input length in bins of 6, in a bin by answer length, up and down in turn, so that neighbours are alike.
    """

    def place(row: Ids) -> tuple[int, int]:
        group = -(-len(row[0]) // 6)
        return group, len(row[1]) if group % 2 else -len(row[1])

    batches: list[list[Ids]] = []
    longest = (0, 0)
    for row in sorted(rows, key=place):
        longest = (max(longest[0], len(row[0])), max(longest[1], len(row[1])))
        if not batches or sum(longest) * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = (len(row[0]), len(row[1]))
        batches[-1].append(row)
    return batches


def collate(batch: list[Ids]) -> Batch:
    """Pad to the longest row: `input_ids` and `attention_mask` [B, L], `labels` [B, T] with -100 beyond the end."""
    length, answer = (max(len(row[i]) for row in batch) for i in (0, 1))
    return {
        "input_ids": torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in batch]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in batch]),
        "labels": torch.tensor([ids + [-100] * (answer - len(ids)) for _, ids in batch]),
    }
