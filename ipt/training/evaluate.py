"""Scores of deltas on held-out examples: generated answers, and for cls ranked options."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.data import Example
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
    ranked: float | None  # None where the task has no options or was not ranked
    predictions: tuple[str, ...]

    def rounded(self) -> TaskScore:
        """Return both scores as a run stores them, to six places."""
        generated = round(self.generated, 6)
        ranked = self.ranked
        if ranked is not None:
            ranked = round(ranked, 6)
        return TaskScore(generated, ranked)


class HeldOutRow(NamedTuple):
    """A row to be answered: of which task, in which place, and its tokens."""

    task: int
    place: int
    tokens: Encoded


class Answers:
    """Answers to each row of several tasks, as they come."""

    def __init__(self, sizes: Sequence[int], progress: Callable[[int, int], None]) -> None:
        # By task and place, since rows come in the order of their lengths.
        self.texts = [[""] * size for size in sizes]
        self.options: list[list[str] | None] = [None] * len(sizes)  # None: not ranked
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
    sizes = [len(task.rows(part)) for task in tasks]
    answers = Answers(sizes, progress)

    # A family that writes no text can only rank.
    ranks_options = rank or not model.backbone.generates
    without_options = []
    for u, task in enumerate(tasks):
        if task.options and ranks_options:
            answer_with_options(model, deltas[u], task, part, answers, u)
        else:
            without_options.append(u)
    generate_answers(model, deltas, tasks, without_options, part, answers)

    scores = []
    for u, task in enumerate(tasks):
        texts = answers.texts[u]
        options = answers.options[u]
        ranked = None
        if options is not None:
            ranked = score_answers(task, part, options)
        made = Score(
            generated=score_answers(task, part, texts),
            ranked=ranked,
            predictions=tuple(texts),
        )
        scores.append(made)
    return scores


def score_answers(task: EncodedTask, part: Part, answers: Sequence[str]) -> float:
    """Return the task's metric over these answers to one of its sets."""
    examples = task.examples(part)
    accepted = accepted_answers(examples)
    return score(task.task.metric, answers, accepted, groups_of(examples))


def groups_of(examples: Sequence[Example]) -> list[str]:
    """Return the rows' groups; none where no row has one."""
    groups = [example.group for example in examples]
    return groups if any(groups) else []


def accepted_answers(examples: Sequence[Example]) -> list[tuple[str, ...]]:
    """Return the answers that count as right, of each example."""
    return [example.output for example in examples]


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
    rows_by_limit: dict[int, list[HeldOutRow]] = {}
    for u in chosen:
        task = tasks[u]
        rows = rows_by_limit.setdefault(task.max_tokens, [])
        for place, tokens in enumerate(task.rows(part)):
            row = HeldOutRow(
                task=u,
                place=place,
                tokens=tokens,
            )
            rows.append(row)
    for max_tokens in sorted(rows_by_limit):
        rows = rows_by_limit[max_tokens]
        _generate(model, deltas, rows, max_tokens, answers)


def _generate(
    model: Model,
    deltas: Tensor,
    rows: Sequence[HeldOutRow],
    max_tokens: int,
    answers: Answers,
) -> None:
    encoded = [row.tokens for row in rows]

    def answer_batch(indices: list[int]) -> None:
        batch = []
        tasks = []
        tokens = []
        for i in indices:
            row = rows[i]
            batch.append(row)
            tasks.append(row.task)
            tokens.append(row.tokens)
        owner = torch.tensor(tasks, device=deltas.device)  # [B]
        predictions = model.predict(
            deltas,
            owner,
            tokens,
            max_tokens,
        )
        for row, prediction in zip(batch, predictions, strict=True):
            texts = answers.texts[row.task]
            texts[row.place] = prediction.text
        answers.count(len(batch))

    model.in_batches(
        encoded,
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

    delta: [P].
    number: of the task among the answers. A masked model's texts are its options.
    """
    rows = task.rows(part)
    names = task.task.options or ()
    texts = answers.texts[number]
    options = [""] * len(rows)
    generates = model.backbone.generates
    deltas = delta[None]  # [1, P]

    def answer_batch(indices: list[int]) -> None:
        tokens = [rows[i] for i in indices]
        owner = torch.zeros(
            len(indices),
            dtype=torch.long,
            device=delta.device,
        )
        predictions = model.predict(
            deltas,
            owner,
            tokens,
            task.max_tokens,
            task.options,
        )
        for i, prediction in zip(indices, predictions, strict=True):
            assert prediction.option is not None
            option = names[prediction.option]
            options[i] = option
            texts[i] = prediction.text if generates else option

    model.in_batches(
        rows,
        answer_batch,
        FORWARD_ONLY * model.token_budget,
        # Ranking needs no more positions than the option's, which the rows already have.
        answer_tokens=task.max_tokens if generates else 0,
    )
    answers.options[number] = options
    answers.count(len(rows))


def chance(data: EncodedTask) -> float:
    """Return the best test score of one constant answer.

    Any label (cls); any tag for each word (tags); any place among the choices (choice); else any of
    the dev set's eight most frequent answers.
    """
    examples = data.test_examples
    accepted = accepted_answers(examples)
    groups = groups_of(examples)
    scores = []
    for answers in _constant_answers(data, examples):
        scores.append(score(data.task.metric, answers, accepted, groups))
    return max(scores)


def _constant_answers(data: EncodedTask, examples: Sequence[Example]) -> list[list[str]]:
    """Return for each constant answer what it says to each of the rows."""
    if data.task.category == "choice":
        # A row with fewer choices gets its last.
        most = max(len(example.choices) for example in examples)
        by_place = []
        for place in range(most):
            by_place.append([(*example.choices[: place + 1],)[-1] for example in examples])
        return by_place
    constants: Sequence[str] = data.task.options or ()
    if data.task.category == "tags":
        by_tag = []
        for tag in constants:
            by_tag.append([" ".join([tag] * len(example.tokens)) for example in examples])
        return by_tag
    if not constants:
        counts: Counter[str] = Counter()
        for example in data.dev_examples:
            counts[example.output[0]] += 1
        frequent = dict(counts.most_common(CONSTANT_ANSWERS))
        constants = list(frequent)
    return [[constant] * len(examples) for constant in constants]
