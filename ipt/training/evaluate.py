"""Scores of deltas on held-out examples: generated answers, and for cls ranked options."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.encoded import EncodedTask, Part
from ipt.metrics import score
from ipt.results import TaskScore
from ipt.training.model import Model

# A pass without gradients holds so many times the tokens of one with them.
FORWARD_ONLY = 4
# How many of the dev set's most frequent answers are tried as the one constant answer.
CONSTANT_ANSWERS = 8


@dataclass(frozen=True)
class Score:
    """A delta's score on one set: the task's metric over generated answers and ranked options."""

    generated: float
    ranked: float | None
    """None where the task has no options or was not ranked."""
    predictions: tuple[str, ...]

    def rounded(self) -> TaskScore:
        """Return both scores as a run keeps them, to six places."""
        ranked = None if self.ranked is None else round(self.ranked, 6)
        return TaskScore(round(self.generated, 6), ranked)


class HeldOutRow(NamedTuple):
    """A row to be answered: of which task, in which place, and its tokens."""

    task: int
    place: int
    tokens: Encoded


class Answers:
    """Answers to each row of several tasks, as they come."""

    def __init__(self, sizes: Sequence[int], progress: Callable[[int, int], None]) -> None:
        self.texts = [[""] * size for size in sizes]
        self.options: list[list[str] | None] = [None] * len(sizes)
        self.total = sum(sizes)
        self.done = 0
        self.progress = progress

    def count(self, rows: int) -> None:
        """Tell how many rows have been answered, with these."""
        self.done += rows
        self.progress(self.done, self.total)


@torch.no_grad()
def score_deltas(
    model: Model,
    deltas: Tensor,
    tasks: Sequence[EncodedTask],
    part: Part = "test",
    rank: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Score]:
    """Score delta u of deltas [U, P] on task u's test or dev set; rows of all share batches.

    rank: also rank the options of cls tasks.
    progress: is told rows answered and rows in all.
    """
    answers = Answers([len(task.rows(part)) for task in tasks], progress)
    without_options = []
    for u, task in enumerate(tasks):
        if task.options and (rank or not model.backbone.generates):
            answer_with_options(model, deltas[u], task, part, answers, u)
        else:
            without_options.append(u)
    generate_answers(model, deltas, tasks, without_options, part, answers)

    scores = []
    for u, task in enumerate(tasks):
        accepted = [example.output for example in task.examples(part)]
        metric = task.task.metric
        texts = answers.texts[u]
        options = answers.options[u]
        generated = score(metric, texts, accepted)
        ranked = None if options is None else score(metric, options, accepted)
        scores.append(Score(generated, ranked, tuple(texts)))
    return scores


def generate_answers(
    model: Model,
    deltas: Tensor,
    tasks: Sequence[EncodedTask],
    chosen: Sequence[int],
    part: Part,
    answers: Answers,
) -> None:
    """Fill in the generated answers of the chosen tasks.

    Rows whose answers may be equally long share batches, whatever their task.
    """
    limits = sorted({tasks[u].max_tokens for u in chosen})
    for max_tokens in limits:
        rows = []
        for u in chosen:
            if tasks[u].max_tokens == max_tokens:
                for place, tokens in enumerate(tasks[u].rows(part)):
                    rows.append(HeldOutRow(u, place, tokens))
        _generate(model, deltas, rows, max_tokens, answers)


def _generate(
    model: Model,
    deltas: Tensor,
    rows: Sequence[HeldOutRow],
    max_tokens: int,
    answers: Answers,
) -> None:
    def answer_batch(indices: list[int]) -> None:
        batch = [rows[i] for i in indices]
        owner = torch.tensor([row.task for row in batch], device=deltas.device)
        tokens = [row.tokens for row in batch]
        predictions = model.predict(deltas, owner, tokens, max_tokens)
        for row, prediction in zip(batch, predictions, strict=True):
            answers.texts[row.task][row.place] = prediction.text
        answers.count(len(batch))

    model.in_batches(
        [row.tokens for row in rows],
        answer_batch,
        FORWARD_ONLY * model.token_budget,
        answer_tokens=max_tokens,
    )


def answer_with_options(
    model: Model,
    delta: Tensor,
    task: EncodedTask,
    part: Part,
    answers: Answers,
    number: int,
) -> None:
    """Fill in a task's answers, generated and as the likeliest option.

    delta: [P]. number: of the task among the answers. A masked model's texts are its options.
    """
    rows = task.rows(part)
    names = task.task.options or ()
    texts = answers.texts[number]
    options = [""] * len(rows)
    generates = model.backbone.generates

    def answer_batch(indices: list[int]) -> None:
        tokens = [rows[i] for i in indices]
        owner = torch.zeros(len(indices), dtype=torch.long, device=delta.device)
        predictions = model.predict(delta[None], owner, tokens, task.max_tokens, task.options)
        for i, prediction in zip(indices, predictions, strict=True):
            assert prediction.option is not None
            options[i] = names[prediction.option]
            texts[i] = prediction.text if generates else options[i]

    model.in_batches(
        rows,
        answer_batch,
        FORWARD_ONLY * model.token_budget,
        answer_tokens=task.max_tokens if generates else 0,
    )
    answers.options[number] = options
    answers.count(len(rows))


def chance(data: EncodedTask) -> float:
    """Return the best test score of one constant answer.

    Any label (cls), else any of the dev set's eight most frequent answers.
    """
    accepted = [example.output for example in data.test_examples]
    constants: Sequence[str] = data.task.options or ()
    if not constants:
        frequent = Counter(example.output[0] for example in data.dev_examples)
        constants = [answer for answer, _ in frequent.most_common(CONSTANT_ANSWERS)]
    scores = []
    for constant in constants:
        scores.append(score(data.task.metric, [constant] * len(accepted), accepted))
    return max(scores)
