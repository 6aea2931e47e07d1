"""Scores of an experiment's tasks: of any deltas, of the reference, of doing nothing."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from ipt.bank import open_bank, scored_rows
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment, encode_tasks
from ipt.results import Floor, TaskScore
from ipt.training.evaluate import chance, score_deltas
from ipt.training.model import Model
from ipt.workflows.deltas import tuned_deltas

Scores = dict[str, TaskScore]


def score_tasks(
    experiment: Experiment,
    title: str,
    deltas: Tensor,
    tasks: Sequence[EncodedTask],
    model: Model | None = None,
    rank: bool = True,
) -> Scores:
    """Return each task's scores on its held-out rows; each process scores its share.

    deltas: [T, P], in the order of tasks.
    model: the experiment's, if not given.
    rank: also rank the options of cls tasks.
    """
    processes = experiment.processes
    places = processes.shard(range(len(tasks)))
    with experiment.reporter.bar(f"scoring {title}") as progress:
        scores = score_deltas(
            model or experiment.model,
            deltas[places],
            [tasks[place] for place in places],
            rank=rank,
            progress=lambda done, total: progress(done, total, math.nan),
        )
    by_task = {}
    for data, score in zip(tasks, processes.gather(scores), strict=True):
        by_task[data.task.name] = score.rounded()
    return by_task


def reference_scores(experiment: Experiment, names: Sequence[str], data_seed: int) -> Scores:
    """Return tuning's own scores, kept beside the bank's deltas."""

    def measure(missing: list[str]) -> dict[str, Any]:
        title = f"prompt tuning, data seed {data_seed}"
        deltas = tuned_deltas(experiment, missing, data_seed)
        tasks = encode_tasks(experiment, missing, data_seed)
        scores = score_tasks(experiment, title, deltas, tasks)
        return {name: vars(score) for name, score in scores.items()}

    records = _kept_or_measured(experiment, "reference", names, data_seed, measure)
    return {name: TaskScore(**record) for name, record in records.items()}


def floor_scores(experiment: Experiment, names: Sequence[str]) -> dict[str, Floor]:
    """Return what doing nothing scores: chance, the bare backbone, the untrained start."""

    def measure(missing: list[str]) -> dict[str, Any]:
        model = experiment.model
        tasks = encode_tasks(experiment, missing, SAME_DATA_SEED)
        start = model.initialize(experiment.seed).expand(len(tasks), -1)
        nothing = start.new_zeros(len(tasks), 0)
        empty_scores = score_tasks(
            experiment,
            "the empty prompt",
            nothing,
            tasks,
            model=model.bare,
            rank=False,
        )
        start_scores = score_tasks(experiment, "the untrained start", start, tasks, rank=False)
        records = {}
        for data in tasks:
            name = data.task.name
            records[name] = {
                "chance": chance(data),
                "empty": empty_scores[name].generated,
                "start": start_scores[name].generated,
            }
        return records

    records = _kept_or_measured(experiment, "floor", names, SAME_DATA_SEED, measure)
    return {name: Floor(**record) for name, record in records.items()}


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
    records = processes.on_main_process(lambda: bank.scores(what, tasks, rows))
    missing = [name for name in names if name not in records]
    if missing:
        measured = measure(missing)
        missing_tasks = experiment.tasks_named(missing)
        processes.on_main_process(lambda: bank.put_scores(what, missing_tasks, rows, measured))
        records |= measured
    return {name: records[name] for name in names}
