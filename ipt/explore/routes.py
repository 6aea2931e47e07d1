"""What the explorer's page asks, and what it is told: a route and a JSON object in, one out.

No socket is known here. One question after another meets the model, whoever asks.
"""

import json
import time
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ipt.data import SAME_DATA_SEED
from ipt.example import Example
from ipt.explore.requests import (
    MOST_ROWS,
    MOST_SIDE,
    MOST_STEPS,
    MOST_TOKENS,
    Body,
    choice_of,
    count_of,
    names_of,
    row_of,
    text_of,
    vector_of,
)
from ipt.heads.base import Prediction
from ipt.metrics import score
from ipt.workflows.walk import BY_IST, BY_MSF, OWN_TEXT_TOKENS, Walk

# Coordinates have a slider each; of more numbers the first principal directions have.
MOST_SLIDERS = 12
DIGITS = 4  # of a number of a vector on the page
PLACES = 9  # of a way from one task to another
WAY_ROWS = 3  # of each of its two tasks
SCORED_WAY_ROWS = 8
STEPS = 40  # of tuning from a place
LONGEST = 10  # seconds that the end waits for a question
# Metrics that compare no single rows, and by what a row of theirs is right.
BY_ROW = {
    "accuracy": "accuracy",
    "macro-F1": "accuracy",
    "squad-EM": "squad-EM",
    "squad-F1": "squad-EM",
}
# Where the score of a task's code is, by what has made the code, seen or not.
CONDITIONS = {
    (BY_IST, True): "train_same",
    (BY_IST, False): "test",
    (BY_MSF, True): "train_msf",
    (BY_MSF, False): "test_msf",
}

Record = dict[str, Any]


class TaskRows(NamedTuple):
    """Some rows of a task, and how long an answer to one may be."""

    examples: list[Example]
    max_tokens: int


class Explorer:
    """A walk that answers questions."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.routes: dict[str, Callable[[Body], Record]] = {
            "world": self.world,
            "rows": self.rows,
            "answers": self.answers,
            "score": self.score,
            "text": self.text,
            "everyone": self.everyone,
            "way": self.way,
            "plane": self.plane,
            "tune": self.tune,
        }
        self._lock = Lock()
        # Of each task once: drawing its sets reads all of its rows.
        self._rows = lru_cache(maxsize=256)(self._draw)

    def respond(self, route: str, body: Body) -> Record:
        """Answer a question; its own time, in seconds, stands in `seconds`.

        Raises KeyError for an unknown route, ValueError for a body that it cannot answer.
        """
        ask = self.routes[route]
        # One model: two questions at once would only take its time from each other.
        with self._lock:
            begin = time.perf_counter()
            record = ask(body)
            record["seconds"] = round(time.perf_counter() - begin, 4)
        return record

    def finish(self) -> None:
        """Wait for the question that is being answered, and answer no other."""
        self._lock.acquire(timeout=LONGEST)

    # --- what is there

    def world(self, body: Body) -> Record:
        """Return the run, its tasks with their codes, and the axes that one can move along."""
        walk = self.walk
        experiment = walk.experiment
        tasks = [self._task(name) for name in walk.names]
        unseen = [name for name in walk.names if name in experiment.unseen]
        count = min(2, walk.dim)
        return {
            "run": walk.run.folder.name,
            "out": str(walk.run.folder.parent),
            "kind": walk.result.kind,
            "model": experiment.backbone.name,
            "tuner": experiment.model.tuner.label,
            "head": experiment.model.head.name,
            "writes": experiment.backbone.generates and not experiment.model.head.reads_states,
            "size": walk.subspace.size,
            "dim": walk.dim,
            "tasks": tasks,
            "axes": self._axes(),
            "mean": numbers(walk.mean),
            "map": [numbers(direction, 6) for direction in walk.directions[:count]],
            "shares": numbers(walk.shares[:count]),
            "start": (unseen or walk.names)[0],
            "places": PLACES,
            "steps": STEPS,
            "side": MOST_SIDE,
        }

    def _axes(self) -> list[Record]:
        """Return what has a slider: its name, and its direction [d]."""
        walk = self.walk
        axes = []
        if walk.dim <= MOST_SLIDERS:
            for place, unit in enumerate(torch.eye(walk.dim), 1):
                axes.append({"name": f"z{place}", "direction": numbers(unit)})
            return axes
        for place, direction in enumerate(walk.directions[:MOST_SLIDERS], 1):
            axes.append({"name": f"p{place}", "direction": numbers(direction, 6)})
        return axes

    def _task(self, name: str) -> Record:
        """Return what the page knows of a task."""
        walk = self.walk
        task = walk.task(name)
        is_seen = name in walk.experiment.seen
        made_by = walk.made_by[name]
        condition = CONDITIONS[made_by, is_seen]
        scores = walk.result.scores.get(condition) or walk.found.scores.get(condition, {})
        measured = scores.get(name)
        reference = walk.result.reference[SAME_DATA_SEED].get(name)
        return {
            "name": name,
            "definition": task.definition,
            "category": task.category,
            "subcategory": task.subcategory,
            "metric": task.metric,
            "seen": is_seen,
            "novel": task.novel,
            "by": made_by,
            "code": numbers(walk.code(name)),
            "score": None if measured is None else measured.generated,
            "reference": None if reference is None else reference.generated,
        }

    # --- rows of a task

    def _draw(self, name: str, part: str) -> TaskRows:
        sets = self.walk.sets(name)
        examples = sets.test if part == "test" else sets.dev
        return TaskRows(spaced(examples, MOST_ROWS), self.walk.max_tokens(name))

    def _chosen(self, body: Body) -> tuple[str, TaskRows]:
        """Return the task of a request, and the rows that are asked for."""
        name = text_of(body, "task")
        self.walk.task(name)
        part = choice_of(body, "part", ("dev", "test"))
        count = count_of(body, "count", 8, MOST_ROWS)
        rows = self._rows(name, part)
        return name, rows._replace(examples=spaced(rows.examples, count))

    def rows(self, body: Body) -> Record:
        """Return rows of a task with the answers of its full tuning, where the bank has it."""
        name, chosen = self._chosen(body)
        walk = self.walk
        tuned = walk.tuned_predictions(name, chosen.examples, chosen.max_tokens)
        said = walk.said(name, chosen.examples, wanted(chosen.examples))
        answers: list[Record | None] = [None] * len(said)
        tuned_score = None
        if tuned is not None:
            answers = [*self._answers(name, chosen.examples, tuned)]
            tuned_score = walk.score(name, chosen.examples, tuned)
        rows = []
        for example, answer, of_tuned in zip(chosen.examples, said, answers, strict=True):
            row = {"input": shown(example), "wanted": answer.text, "tuned": of_tuned}
            # What one types for it into the field for texts of one's own, where it is not the same.
            if typed(example) != row["input"]:
                row["typed"] = typed(example)
            rows.append(row)
        return {"task": name, "rows": rows, "tuned_score": tuned_score}

    def answers(self, body: Body) -> Record:
        """Return the answers to these rows at a place, and their score."""
        name, chosen = self._chosen(body)
        vector = self._vector(body)
        walk = self.walk
        (found,) = walk.predictions(vector[None], name, chosen.examples, chosen.max_tokens)
        return {
            "task": name,
            "answers": self._answers(name, chosen.examples, found),
            "score": walk.score(name, chosen.examples, found),
        }

    def score(self, body: Body) -> Record:
        """Return score and loss of a task's few-shot dev rows at a place."""
        name, chosen = self._chosen({**body, "part": "dev", "count": MOST_ROWS})
        vector = self._vector(body)
        walk = self.walk
        (found,) = walk.predictions(vector[None], name, chosen.examples, chosen.max_tokens)
        right = [wanted(chosen.examples)]
        likely = walk.likelihoods(vector[None], name, chosen.examples, right)
        return {
            "task": name,
            "score": walk.score(name, chosen.examples, found),
            "rows": len(chosen.examples),
            # Nats per target, as IST minimises them.
            "loss": round(float(-likely.log().mean()), DIGITS),
        }

    def _answers(
        self,
        name: str,
        examples: list[Example],
        predictions: list[Prediction],
    ) -> list[Record]:
        """Return answers as the page shows them, each right or wrong."""
        said = self.walk.said(name, examples, predictions)
        metric = BY_ROW.get(self.walk.task(name).metric, "exact-match")
        answers = []
        for example, prediction, answer in zip(examples, predictions, said, strict=True):
            is_right = prediction.text in example.output
            is_right = is_right or score(metric, [prediction.text], [example.output]) == 1
            answers.append({"text": answer.text, "right": is_right})
        return answers

    # --- one's own text

    def text(self, body: Body) -> Record:
        """Return the answer to one's own text at a place, and what a cls task's options get."""
        name = text_of(body, "task")
        row = row_of(body, "text")
        vector = self._vector(body)
        walk = self.walk
        tokens = count_of(body, "tokens", OWN_TEXT_TOKENS, MOST_TOKENS)
        examples = walk.examples(name, [row])
        found = walk.predictions(vector[None], name, examples, tokens)
        (answer,) = walk.said(name, examples, found[0])
        likely = walk.likelihoods(vector[None], name, examples, found)
        shares = walk.option_shares(vector, name, row)
        return {
            "answer": answer.text,
            "likelihood": round(float(likely), DIGITS),
            "shares": {option: round(share, DIGITS) for option, share in shares.items()},
        }

    def everyone(self, body: Body) -> Record:
        """Return what every task's own numbers answer to one's own text, by answer."""
        tokens = count_of(body, "tokens", OWN_TEXT_TOKENS, MOST_TOKENS)
        found = self.walk.answers_of_tasks(row_of(body, "text"), tokens)
        groups: dict[str, list[str]] = {}
        without = []
        for name, answer in found.items():
            if answer is None:
                without.append(name)
            else:
                groups.setdefault(answer.text, []).append(name)
        # The answer of most tasks first.
        ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
        listed = [{"answer": answer, "tasks": names} for answer, names in ordered]
        return {"groups": listed, "without": without}

    # --- ways and planes

    def way(self, body: Body) -> Record:
        """Return places from one task's code to another's, with answers and scores of both."""
        first, second = names_of(body, "tasks", 2)
        walk = self.walk
        vectors = walk.between(walk.code(first), walk.code(second), PLACES)
        rows = []
        scores = {}
        # A task once, also where it goes to itself.
        for name in dict.fromkeys((first, second)):
            drawn = self._rows(name, "dev")
            examples = spaced(drawn.examples, SCORED_WAY_ROWS)
            found = walk.predictions(vectors, name, examples, drawn.max_tokens)
            scores[name] = [walk.score(name, examples, of_place) for of_place in found]
            by_place = [self._answers(name, examples, of_place) for of_place in found]
            right = walk.said(name, examples, wanted(examples))
            for place, example in enumerate(examples[:WAY_ROWS]):
                row = {"task": name, "input": shown(example), "wanted": right[place].text}
                rows.append(row | {"answers": [of_place[place] for of_place in by_place]})
        return {
            "tasks": [first, second],
            "vectors": [numbers(vector) for vector in vectors],
            "rows": rows,
            "scores": [scores[first], scores[second]],
            "scored": SCORED_WAY_ROWS,
        }

    def plane(self, body: Body) -> Record:
        """Return the answers to one's own text over the plane through three tasks."""
        first, second, third = names_of(body, "tasks", 3)
        side = count_of(body, "side", MOST_SIDE // 2, MOST_SIDE)
        found = self.walk.plane(row_of(body, "text"), (first, second, third), side, side)
        words: dict[str, int] = {}
        cells = []
        for line in found.answers:
            cells.append([words.setdefault(answer.text, len(words)) for answer in line])
        likely = None
        if found.likelihoods is not None:
            likely = [numbers(line, 3) for line in found.likelihoods]
        return {
            "tasks": [first, second, third],
            "origin": numbers(found.origin),
            "axes": [numbers(axis, 6) for axis in found.axes],
            "anchors": [numbers(anchor) for anchor in found.anchors],
            "across": numbers(found.across),
            "up": numbers(found.up),
            "words": list(words),
            "cells": cells,
            "likelihoods": likely,
        }

    def tune(self, body: Body) -> Record:
        """Return the way of some steps of IST on the task's few-shot rows, from a place."""
        name = text_of(body, "task")
        self.walk.task(name)
        steps = count_of(body, "steps", STEPS, MOST_STEPS)
        way = self.walk.tune(name, self._vector(body), steps)
        path = [numbers(vector) for vector in way.path]
        return {"task": name, "path": path, "loss": round(way.dev_loss, DIGITS)}

    def _vector(self, body: Body) -> Tensor:
        return torch.tensor(vector_of(body, "vector", self.walk.dim))


def numbers(vector: Tensor, digits: int = DIGITS) -> list[float]:
    """Return a vector as JSON has it."""
    return [round(number, digits) for number in vector.tolist()]


def wanted(examples: list[Example]) -> list[Prediction]:
    """Return what would be predicted by whoever knows the answers."""
    predictions = []
    for example in examples:
        span = example.spans[0] if example.spans else None
        predictions.append(Prediction(example.output[0], span=span))
    return predictions


def spaced(examples: "tuple[Example, ...] | list[Example]", count: int) -> list[Example]:
    """Return so many rows, or all, evenly spaced: those of one label stand beside each other."""
    if count >= len(examples):
        return list(examples)
    return [examples[i * len(examples) // count] for i in range(count)]


def shown(example: Example) -> str:
    """Return a row's input as one text, whatever its kind."""
    parts = [" ".join(example.tokens) or example.input, example.query, example.context]
    text = " | ".join(dict.fromkeys(part for part in parts if part))
    if example.choices:
        text += f" ({' / '.join(example.choices)})"
    return text


def typed(example: Example) -> str:
    """Return a row as one types it: its text, or a JSON object with the fields of its kind."""
    if example.input and not example.choices and not example.context:
        return example.input
    if example.tokens and not example.query:
        return " ".join(example.tokens)
    fields: dict[str, Any] = {}
    for name in ("input", "tokens", "query", "context", "choices"):
        value = getattr(example, name)
        if value:
            fields[name] = list(value) if isinstance(value, tuple) else value
    return json.dumps(fields, ensure_ascii=False)
