"""Score prompts on held-out examples: greedy generation (the paper's way), and for cls also a ranking of the options."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.encoded import EncodedTask
from ipt.metrics import score

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Score:
    """A prompt's score on one set: the task's metric over generated answers, and over ranked options (cls only)."""

    generated: float
    ranked: float | None
    predictions: tuple[str, ...]

    def rounded(self) -> dict[str, float | None]:
        """Return both scores as a run keeps them, to six places."""
        return {"generated": round(self.generated, 6), "ranked": None if self.ranked is None else round(self.ranked, 6)}


@torch.no_grad()
def score_deltas(
    backbone: Backbone,
    prompts: Tensor,
    data: Sequence[EncodedTask],
    part: str = "test",
    rank: bool = True,
    token_budget: int = 0,
    progress: Progress = lambda done, total: None,
) -> list[Score]:
    """Score prompt u of prompts [U, n, h] on data[u]'s test or dev set; rows of all prompts share batches.

    token_budget: 0 takes four times as many as with gradients.
    """
    token_budget = token_budget or 4 * backbone.token_budget
    written: list[list[str]] = [[""] * len(getattr(d, part)) for d in data]
    picked: list[list[str] | None] = [None] * len(data)
    optional = [u for u, d in enumerate(data) if d.options and (rank or not backbone.generates)]
    total, done = sum(map(len, written)), 0

    def count(rows: int) -> None:
        nonlocal done
        done += rows
        progress(done, total)

    for u in optional:
        written[u], picked[u] = _with_options(backbone, prompts[u], data[u], part, token_budget)
        count(len(written[u]))
    rest = [u for u in range(len(data)) if u not in optional]
    _generated(backbone, prompts, data, rest, part, token_budget, written, count)
    results = []
    for d, texts, options in zip(data, written, picked, strict=True):
        references = [e.output for e in getattr(d, f"{part}_examples")]
        ranked = None if options is None else score(d.task.metric, options, references)
        results.append(Score(score(d.task.metric, texts, references), ranked, tuple(texts)))
    return results


def _generated(
    backbone: Backbone, prompts: Tensor, data: Sequence[EncodedTask], which: Sequence[int], part: str, token_budget: int,
    written: list[list[str]], count: Callable[[int], None],
) -> None:  # fmt: skip
    """Fill in the generated answers of these tasks' rows; rows whose answers are equally long at most share batches."""
    for tall in sorted({data[u].max_tokens for u in which}):
        owned = [(u, i, row) for u in which if data[u].max_tokens == tall for i, row in enumerate(getattr(data[u], part))]

        def write(chosen: list[int], owned: list[tuple[int, int, Encoded]] = owned, tall: int = tall) -> None:
            lead = prompts[torch.tensor([owned[c][0] for c in chosen], device=prompts.device)]
            for c, answer in zip(chosen, backbone.generate(lead, [owned[c][2] for c in chosen], tall), strict=True):
                written[owned[c][0]][owned[c][1]] = answer
            count(len(chosen))

        backbone.in_batches([row for *_, row in owned], prompts.shape[1] + tall, token_budget, write)


def _with_options(backbone: Backbone, prompt: Tensor, data: EncodedTask, part: str, token_budget: int) -> tuple[list[str], list[str]]:
    """Return a task's answers to each row, generated and as the likeliest option; a masked model's are its options."""
    rows, names, tall = getattr(data, part), data.task.options or (), data.max_tokens
    written, picked = [""] * len(rows), [""] * len(rows)

    def pick(chosen: list[int]) -> None:
        lead, own = prompt.expand(len(chosen), *prompt.shape), [rows[i] for i in chosen]
        if backbone.generates:
            texts, places = backbone.generate_and_rank(lead, own, tall, data.options)
        else:
            places = backbone.rank(lead, own, data.options)
            texts = [names[place] for place in places]
        for i, text, place in zip(chosen, texts, places, strict=True):
            written[i], picked[i] = text, names[place]

    backbone.in_batches(rows, prompt.shape[0] + tall * backbone.generates, token_budget, pick)
    return written, picked


def chance(data: EncodedTask) -> float:
    """Return the best test score of one constant answer: any label (cls), else any of the dev set's eight most frequent."""
    references = [e.output for e in data.test_examples]
    answers = data.task.options or [a for a, _ in Counter(e.output[0] for e in data.dev_examples).most_common(8)]
    return max(score(data.task.metric, [answer] * len(references), references) for answer in answers)
