"""Scores of an experiment's tasks: of any deltas, of the reference, of doing nothing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ipt.bank import open_bank, scored_rows
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment, GivenDeltas, encode_tasks
from ipt.methods.tuning import head_starts
from ipt.results import Floor, TaskScore
from ipt.training.evaluate import Score, chance, score_deltas
from ipt.training.model import Model
from ipt.training.source import joined
from ipt.workflows.deltas import tuned_numbers

# The stage of a command in which answers are scored, the reference's among them.
SCORING = "scoring"
Scores = dict[str, TaskScore]
# By task: how many rows were held out, and the first of them with what was predicted.
Predicted = dict[str, dict[str, Any]]
MOST_PREDICTIONS = 500  # rows of a task
MOST_LETTERS = 400  # of a row's input
MOST_ANSWERS = 8  # rows of a task whose answers every run keeps
# Of a head alone (LOG.md).
HEAD_RATES = (0.003, 0.01, 0.03)


def score_tasks(
    experiment: Experiment,
    title: str,
    deltas: Tensor,
    tasks: Sequence[EncodedTask],
    model: Model | None = None,
    rank: bool = True,
) -> Scores:
    """Return each task's scores on its held-out rows; each process scores its share.

    deltas: [T, P + H], in the order of tasks.
    model: the experiment's, if not given.
    rank: also rank the options of cls tasks.
    """
    measured = measure_tasks(experiment, title, deltas, tasks, model, rank)
    # As result.json has it: scores that are kept and scores of this moment are equal.
    return {name: score.rounded() for name, score in measured.items()}


def measure_tasks(
    experiment: Experiment,
    title: str,
    deltas: Tensor,
    tasks: Sequence[EncodedTask],
    model: Model | None = None,
    rank: bool = True,
) -> dict[str, Score]:
    """Return what `score_tasks` does, with the predictions."""
    processes = experiment.processes
    # Places and not tasks are shared out, as they index the deltas too.
    places = processes.shard(range(len(tasks)))
    share = [tasks[place] for place in places]
    with experiment.reporter.bar(f"scoring {title}") as progress:
        scores = score_deltas(
            model or experiment.model,
            deltas[places],
            share,
            rank=rank,
            progress=lambda done, total: progress(done, total, math.nan),
        )
    gathered = processes.gather(scores)
    by_task = {}
    for data, score in zip(tasks, gathered, strict=True):
        by_task[data.task.name] = score
    return by_task


def predictions_record(tasks: Sequence[EncodedTask], measured: Mapping[str, Score]) -> Predicted:
    """Return what was predicted for the first held-out rows of each task, as JSON has it."""
    record = {}
    for data in tasks:
        rows: list[dict[str, Any]] = []
        predictions = measured[data.task.name].predictions
        for example, answer in zip(data.test_examples, predictions, strict=True):
            if len(rows) == MOST_PREDICTIONS:
                break
            shown = shortened(example.input)
            rows.append({"input": shown, "right": list(example.output), "answer": answer})
        record[data.task.name] = {"held_out": len(predictions), "rows": rows}
    return record


def keep_answers(
    kept: dict[str, Any],
    what: str,
    tasks: Sequence[EncodedTask],
    measured: Mapping[str, Score],
) -> None:
    """Add what was answered to the first held-out rows of each task to what is kept.

    kept: `rows` by task, and `answers` by what was measured and by task.
    what: a condition, "empty" (the bare backbone) or "reference" (tuning).
    """
    answers = kept.setdefault("answers", {}).setdefault(what, {})
    for data in tasks:
        name = data.task.name
        rows = []
        for example in data.test_examples[:MOST_ANSWERS]:
            rows.append({"input": shortened(example.input), "right": list(example.output)})
        # Dev rows of other few-shot sets are other rows.
        if kept.setdefault("rows", {}).setdefault(name, rows) == rows:
            answers[name] = list(measured[name].predictions[:MOST_ANSWERS])


def first_answers(experiment: Experiment, names: Sequence[str]) -> dict[str, dict[str, Score]]:
    """Return what the bare backbone and tuning answer to the first held-out rows of these tasks.

    The bank keeps their scores only. Without the bare backbone where it has no head.
    """
    tasks = []
    for data in encode_tasks(experiment, names, SAME_DATA_SEED):
        first = replace(
            data,
            test=data.test[:MOST_ANSWERS],
            test_examples=data.test_examples[:MOST_ANSWERS],
        )
        tasks.append(first)
    model = experiment.model
    deltas = joined(*tuned_numbers(experiment, names, SAME_DATA_SEED))
    found = {
        "reference": measure_tasks(experiment, "first rows, tuning", deltas, tasks, rank=False)
    }
    if not model.has_head_numbers:
        nothing = torch.zeros(len(tasks), 0, device=model.device)
        found["empty"] = measure_tasks(
            experiment,
            "first rows, the empty prompt",
            nothing,
            tasks,
            model=model.bare,
            rank=False,
        )
    return found


def shortened(text: str) -> str:
    """Return a text without its middle where it is long."""
    half = MOST_LETTERS // 2
    return text if len(text) <= MOST_LETTERS else f"{text[:half]} … {text[-half:]}"


def reference_scores(experiment: Experiment, names: Sequence[str], data_seed: int) -> Scores:
    """Return tuning's own scores, kept beside the bank's deltas."""
    records = _kept_or_measured(
        experiment,
        "reference",
        names,
        data_seed,
        lambda missing: _measure_reference(experiment, missing, data_seed),
    )
    scores = {}
    for name, record in records.items():
        scores[name] = TaskScore(**record)
    return scores


def _measure_reference(
    experiment: Experiment,
    names: Sequence[str],
    data_seed: int,
) -> dict[str, Any]:
    title = f"prompt tuning, data seed {data_seed}"
    deltas = joined(*tuned_numbers(experiment, names, data_seed))
    tasks = encode_tasks(experiment, names, data_seed)
    scores = score_tasks(experiment, title, deltas, tasks)
    # As the bank's JSON has them.
    records = {}
    for name, score in scores.items():
        records[name] = vars(score)
    return records


def floor_scores(experiment: Experiment, names: Sequence[str]) -> dict[str, Floor]:
    """Return what doing nothing scores: chance, the bare backbone, the untrained start."""
    records = _kept_or_measured(
        experiment,
        "floor",
        names,
        SAME_DATA_SEED,
        lambda missing: _measure_floor(experiment, missing),
    )
    floors = {}
    for name, record in records.items():
        floors[name] = Floor(**record)
    return floors


def _measure_floor(experiment: Experiment, names: Sequence[str]) -> dict[str, Any]:
    model = experiment.model
    tasks = encode_tasks(experiment, names, SAME_DATA_SEED)

    start = model.initialize(experiment.seed).expand(len(tasks), -1)  # [T, P]
    empty_scores = _empty_scores(experiment, tasks)
    start = joined(start, head_starts(model, tasks, experiment.seed))
    # An untrained delta may help: a soft prompt starts from words of the vocabulary.
    start_scores = score_tasks(
        experiment,
        "the untrained start",
        start,
        tasks,
        rank=False,
    )
    records = {}
    for data in tasks:
        name = data.task.name
        records[name] = {
            "chance": chance(data),
            "empty": empty_scores[name].generated,
            "start": start_scores[name].generated,
        }
    return records


def _empty_scores(experiment: Experiment, tasks: Sequence[EncodedTask]) -> Scores:
    """Return what the backbone scores without a tuner."""
    model = experiment.model.bare
    if model.has_head_numbers:
        # The head tuned alone, out of a bank of its own: it is the same beside every tuner.
        tune = replace(experiment.tune, learning_rates=HEAD_RATES, delta_start="own")
        alone = replace(experiment, model=model, tune=tune, given=GivenDeltas())
        names = [data.task.name for data in tasks]
        return reference_scores(alone, names, SAME_DATA_SEED)
    # Deltas of no numbers. Floors are of generated answers only, hence no ranking, which would
    # cost a pass for each option.
    nothing = torch.zeros(len(tasks), 0, device=model.device)
    return score_tasks(experiment, "the empty prompt", nothing, tasks, model=model, rank=False)


def _kept_or_measured(
    experiment: Experiment,
    what: str,
    names: Sequence[str],
    data_seed: int,
    measure: Callable[[list[str]], dict[str, Any]],
) -> dict[str, Any]:
    """Return the scores that the bank keeps of these tasks, the missing ones measured and kept."""
    processes = experiment.processes
    bank = open_bank(experiment, data_seed)
    rows = scored_rows(experiment)
    tasks = experiment.tasks_named(names)

    # The first process reads and writes: all must agree on what is missing, since all measure.
    records = processes.on_main_process(lambda: bank.scores(what, tasks, rows))
    missing = [name for name in names if name not in records]
    if missing:
        measured = measure(missing)
        missing_tasks = experiment.tasks_named(missing)
        processes.on_main_process(
            lambda: bank.put_scores(what, missing_tasks, rows, measured)
        )
        records |= measured

    # In the order of names, which decides that of result.json.
    ordered = {}
    for name in names:
        ordered[name] = records[name]
    return ordered
