"""Answers to rows under deltas: of one delta, or of many at once.

Many deltas on the same rows are stacked as tuning stacks jobs: one batch holds rows of all, and
each runs under its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ipt.backbones.base import Encoded
from ipt.data import Task
from ipt.example import Example, read_example
from ipt.experiment import Experiment, note_cut_rows
from ipt.heads.base import Head, Prediction
from ipt.metrics import entities
from ipt.training.evaluate import FORWARD_ONLY
from ipt.training.loop import row_losses

# What a row of some kind of task may have.
FIELDS = ("input", "tokens", "predicate", "query", "question", "context", "choices")
# The tags of entities begin with one of these, or are O.
BEGINS, GOES_ON = "B-", "I-"


class Answer(NamedTuple):
    """An answer in one line of text, and as JSON has it."""

    text: str
    value: Any


def unanswered(row: str | Mapping[str, Any], task: Task, head: Head, where: str) -> Example:
    """Return a row without its answer; raise ValueError where it is not of the task's kind."""
    record = {"input": row} if isinstance(row, str) else dict(row)
    text = record.get("input")
    # A language model reads any text.
    if not head.reads_states and isinstance(text, str):
        return Example(text, ("",))
    if isinstance(row, str) and task.category in ("span", "choice"):
        fields = "context and query" if task.category == "span" else "input and choices"
        raise ValueError(
            f"{where} is a text; {task.name} is of the kind {task.category}, whose rows are JSON "
            f"objects with {fields}, one a line of standard input"
        )
    known = {field: record[field] for field in FIELDS if field in record}
    if task.category == "tags" and isinstance(text, str) and "tokens" not in known:
        known["tokens"] = text.split()
    # Any that it may have: an answer is a part of a row, and no head reads it here.
    first = task.options[0] if task.options else "?"
    choices = known.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], str):
        first = choices[0]
    tokens = known.get("tokens")
    count = len(tokens) if isinstance(tokens, list) else 1
    return read_example(known | {"output": first, "tags": count * [first]}, task.category, where)


@torch.no_grad()
def predict_stacked(
    deltas: Tensor,
    experiment: Experiment,
    name: str,
    examples: Sequence[Example],
    max_tokens: int,
) -> list[list[Prediction]]:
    """Return what is predicted for each of R rows under each of N deltas, N lists of R.

    deltas: [N, P + H], with the numbers of the task's head.
    name: of the task, whose options a masked model ranks.
    """
    model = experiment.model
    backbone = model.backbone
    task = experiment.tasks[name]
    rows = model.head.encode(backbone, task, examples)
    # A model that generates may answer anything; a masked one ranks the options.
    ranks = not (model.head.reads_states or backbone.generates)
    names = task.options or ()
    options = backbone.encode(names, names) if ranks else []
    count = len(rows)
    # Row r under delta n stands at place n * R + r.
    stacked = list(rows) * len(deltas)
    found: dict[int, Prediction] = {}

    def predict_batch(places: list[int]) -> None:
        owners = [place // count for place in places]
        owner = torch.tensor(owners, dtype=torch.long, device=deltas.device)  # [B]
        tokens = [stacked[place] for place in places]
        predictions = model.predict(
            deltas,
            owner,
            tokens,
            max_tokens,
            options,
        )
        # Batches are sorted by length: each answer goes to the place of its text.
        found.update(zip(places, predictions, strict=True))

    budget = FORWARD_ONLY * model.token_budget
    model.in_batches(stacked, predict_batch, budget, answer_tokens=max_tokens)
    by_delta = []
    for n in range(len(deltas)):
        predictions = []
        for r in range(count):
            prediction = found[n * count + r]
            # A masked model names the option's number alone.
            if ranks and prediction.option is not None:
                prediction = replace(prediction, text=names[prediction.option])
            predictions.append(prediction)
        by_delta.append(predictions)
    return by_delta


def predict_examples(
    delta: Tensor,
    experiment: Experiment,
    name: str,
    examples: Sequence[Example],
    max_tokens: int,
) -> list[Prediction]:
    """Return what is predicted for rows under one delta [P + H]; say what had to be cut."""
    model = experiment.model
    task = experiment.tasks[name]
    note_cut_rows(experiment, model.head.encode(model.backbone, task, examples))
    (predictions,) = predict_stacked(delta[None], experiment, name, examples, max_tokens)
    if not model.head.reads_states and model.backbone.generates:
        _note_full(experiment, [one.text for one in predictions], max_tokens)
    return predictions


def likelihoods(
    deltas: Tensor,
    experiment: Experiment,
    name: str,
    examples: Sequence[Example],
    predictions: Sequence[Sequence[Prediction]],
) -> Tensor:
    """Return the likelihood [N, R] of what `predict_stacked` predicted, in (0, 1].

    The geometric mean over an answer's targets of their probabilities: e^-(mean nats per target).
    """
    # Many deltas give the same answer: each is read by the tokenizer once.
    encoded = {}
    rows = []
    owners = []
    for n, of_delta in enumerate(predictions):
        for example, prediction in zip(examples, of_delta, strict=True):
            spans = () if prediction.span is None else (prediction.span,)
            answered = replace(example, output=(prediction.text,), spans=spans)
            if answered not in encoded:
                encoded[answered] = _encoded(experiment, name, answered)
            rows.append(encoded[answered])
            owners.append(n)
    nats = row_losses(experiment.model, deltas, owners, rows, 0)
    return (-nats).exp().view(len(deltas), len(examples))


def option_shares(
    deltas: Tensor,
    experiment: Experiment,
    name: str,
    example: Example,
) -> Tensor:
    """Return the probability [N, O] of each of the task's options among them, for one row.

    Softmax of minus the nats, which are summed over an option's tokens.
    """
    rows = []
    for option in experiment.tasks[name].options or ():
        answered = replace(example, output=(option,))
        rows.append(_encoded(experiment, name, answered))
    count = len(rows)
    owners = [place // count for place in range(count * len(deltas))]
    model = experiment.model
    means = row_losses(model, deltas, owners, rows * len(deltas), 0)
    nats = means.view(len(deltas), count) * model.target_counts(rows).cpu()
    return (-nats).softmax(1)


def _encoded(experiment: Experiment, name: str, example: Example) -> Encoded:
    """Return an answered row's tokens as the head reads them."""
    model = experiment.model
    (row,) = model.head.encode(model.backbone, experiment.tasks[name], [example])
    return row


def _note_full(experiment: Experiment, answers: Sequence[str], max_tokens: int) -> None:
    """Say how many written answers may be cut."""
    # Counted on the texts: what was generated has as many tokens, or now and then one more.
    full = sum(len(experiment.backbone.ids(answer)) >= max_tokens for answer in answers)
    if full:
        experiment.reporter.info(
            f"note: {full} of {len(answers)} answers fill {max_tokens} tokens; longer ones are cut"
        )


def answer_of(example: Example, prediction: Prediction, task: Task, head: Head) -> Answer:
    """Return a prediction as it is printed."""
    text = " ".join(prediction.text.split())
    if not head.reads_states or task.category not in ("tags", "span"):
        return Answer(prediction.text, prediction.text)
    if task.category == "span":
        start, end = prediction.span or (None, None)
        return Answer(text, {"text": prediction.text, "start": start, "end": end})
    tags = prediction.text.split()
    value: dict[str, Any] = {"tokens": list(example.tokens), "tags": tags}
    if _are_entities(task):
        value["entities"] = _entities(example.tokens, tags)
    pairs = zip(example.tokens, tags, strict=True)
    return Answer(" ".join(f"{word}/{tag}" for word, tag in pairs), value)


def _are_entities(task: Task) -> bool:
    """Return whether a task's tags are those of entities, and not one of each word's own."""
    tags = set(task.options or ()) - {"O"}
    return all(tag.startswith((BEGINS, GOES_ON)) for tag in tags)


def _entities(tokens: Sequence[str], tags: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entities of a row, each with its words [start, end)."""
    found = []
    for kind, first, last in entities(tags):
        text = " ".join(tokens[first : last + 1])
        found.append({"kind": kind, "start": first, "end": last + 1, "text": text})
    return found
