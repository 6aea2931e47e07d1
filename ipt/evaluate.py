"""Score prompts on held-out examples: greedy generation (the paper's way), and for cls also a ranking of the options."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.backbone import Backbone, Encoded
from ipt.data import Example, Task, few_shot
from ipt.metrics import score

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TaskData:
    """A task's sets for one data seed, with their tokens.

    max_tokens: longest answer to generate, in tokens: the longest of train and dev and a half more, up to the next power of 2
        (few different lengths, so that tasks share batches).
    """

    task: Task
    data_seed: int
    test_examples: tuple[Example, ...]
    dev_examples: tuple[Example, ...]
    train: tuple[Encoded, ...]
    dev: tuple[Encoded, ...]
    test: tuple[Encoded, ...]
    options: tuple[Encoded, ...]
    max_tokens: int

    @classmethod
    def draw(cls, backbone: Backbone, task: Task, data_seed: int, shots: int | None = None, limit: int = 0) -> "TaskData":
        """Draw and tokenise the sets; `limit` above 0 keeps that many test rows."""
        sets = few_shot(task, data_seed, shots)
        test = sets.test[:limit] if limit else sets.test
        train, dev, held = (
            tuple(backbone.encode([e.input for e in part], [e.output[0] for e in part])) for part in (sets.train, sets.dev, test)
        )
        options = tuple(backbone.encode(task.options, task.options)) if task.category == "cls" and task.options else ()
        longest = max(len(row.label_ids) for row in (*train, *dev, *options))
        return cls(task, data_seed, test, sets.dev, train, dev, held, options, 1 << (longest + longest // 2 - 1).bit_length())


@dataclass(frozen=True)
class Score:
    """A prompt's score on one set: the task's metric over generated answers, and over ranked options (cls only)."""

    generated: float
    ranked: float | None
    predictions: tuple[str, ...]


@torch.no_grad()
def score_prompts(
    backbone: Backbone,
    prompts: Tensor,
    data: Sequence[TaskData],
    part: str = "test",
    rank: bool = True,
    token_budget: int = 0,
    progress: Progress = lambda done, total: None,
) -> list[Score]:
    """Score prompt u of prompts [U, n, h] on data[u]'s test or dev set; rows of all prompts share batches.

    token_budget: 0 takes four times as many as with gradients.
    """
    token_budget = token_budget or 4 * backbone.token_budget
    picked = [_ranked(backbone, prompts[u], d, part, token_budget) if d.options and (rank or not backbone.generates) else None
              for u, d in enumerate(data)]  # fmt: skip
    if backbone.generates:
        written = _generated(backbone, prompts, data, part, token_budget, progress)
    else:  # a masked model writes nothing: the ranked options are its answers
        written = [answers or [] for answers in picked]
    results = []
    for d, texts, options in zip(data, written, picked, strict=True):
        references = [e.output for e in getattr(d, f"{part}_examples")]
        ranked = None if options is None else score(d.task.metric, options, references)
        results.append(Score(score(d.task.metric, texts, references), ranked, tuple(texts)))
    return results


def _generated(
    backbone: Backbone, prompts: Tensor, data: Sequence[TaskData], part: str, token_budget: int, progress: Progress
) -> list[list[str]]:
    """Return the generated answers of each task's rows; rows whose answers are equally long at most share batches."""
    owned = [(u, row) for u, d in enumerate(data) for row in getattr(d, part)]
    order: list[str] = [""] * len(owned)
    done = 0
    for tall in sorted({d.max_tokens for d in data}):
        places = [i for i, (u, _) in enumerate(owned) if data[u].max_tokens == tall]

        def write(chosen: list[int], places: list[int] = places, tall: int = tall) -> None:
            nonlocal done
            lead = prompts[torch.tensor([owned[places[i]][0] for i in chosen], device=prompts.device)]
            for i, answer in zip(chosen, backbone.generate(lead, [owned[places[i]][1] for i in chosen], tall), strict=True):
                order[places[i]] = answer
            done += len(chosen)
            progress(done, len(owned))

        backbone.in_batches([owned[i][1] for i in places], prompts.shape[1] + tall, token_budget, write)
    texts: list[list[str]] = [[] for _ in data]
    for (u, _), answer in zip(owned, order, strict=True):
        texts[u].append(answer)
    return texts


def _ranked(backbone: Backbone, prompt: Tensor, data: TaskData, part: str, token_budget: int) -> list[str]:
    """Return the likeliest option of each row."""
    rows = getattr(data, part)
    names = data.task.options or ()
    picked = [""] * len(rows)

    def pick(chosen: list[int]) -> None:
        lead = prompt.expand(len(chosen), *prompt.shape)
        for i, option in zip(chosen, backbone.rank(lead, [rows[i] for i in chosen], data.options), strict=True):
            picked[i] = names[option]

    backbone.in_batches(rows, prompt.shape[0], token_budget, pick)
    return picked


def chance(data: TaskData) -> float:
    """Return the best test score of one constant answer: any label (cls), else any of the dev set's eight most frequent."""
    references = [e.output for e in data.test_examples]
    answers = data.task.options or [a for a, _ in Counter(e.output[0] for e in data.dev_examples).most_common(8)]
    return max(score(data.task.metric, [answer] * len(references), references) for answer in answers)
