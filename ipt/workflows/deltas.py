"""Tuned deltas of an experiment: out of its bank, those that are missing tuned first."""

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor

from ipt.bank import open_bank
from ipt.checkpoint import Checkpoint
from ipt.data import SAME_DATA_SEED, Task, digest_of
from ipt.experiment import Experiment, encode_tasks
from ipt.methods.tuning import Start, TunedDelta, tune_deltas
from ipt.storage import lock_folders
from ipt.training.loop import Execution
from ipt.training.model import Model


class Missing(NamedTuple):
    """A task whose delta is missing in the bank of an experiment."""

    experiment: Experiment
    task: Task


def missing_tasks(experiment: Experiment, names: Sequence[str], data_seed: int) -> list[Task]:
    """Return the tasks whose deltas are still to be tuned."""
    tasks = experiment.tasks_named(names)
    bank = open_bank(experiment, data_seed)
    # The first process reads the folder for all: two looks could differ while another command
    # writes, and processes that disagree wait for each other forever.
    missing = experiment.processes.on_main_process(
        lambda: [task.name for task in bank.missing(tasks)]
    )

    # Deltas that were tuned elsewhere are of the first data seed only.
    given = experiment.given.deltas if data_seed == SAME_DATA_SEED else {}
    untuned = []
    for name in missing:
        if name not in given:
            untuned.append(name)
    return experiment.tasks_named(untuned)


def tuned_deltas(experiment: Experiment, names: Sequence[str], data_seed: int) -> Tensor:
    """Return the tuned deltas [T, P] of these tasks, tuning those missing in the bank."""
    processes = experiment.processes
    bank = open_bank(experiment, data_seed)
    # Before the bank is read below: tuning passes over them.
    if data_seed == SAME_DATA_SEED:
        processes.on_main_process(lambda: put_given(experiment, names))
    tune_missing([experiment], names, data_seed)

    # Read back from the bank also what was just tuned: a later run computes with the same numbers.
    tasks = experiment.tasks_named(names)
    tuned = processes.on_main_process(lambda: [bank.get(task) for task in tasks])
    deltas = []
    for entry in tuned:
        if entry is not None:
            deltas.append(entry.delta)
    stacked = torch.stack(deltas)  # [T, P]
    return stacked.to(experiment.model.device)


def put_given(experiment: Experiment, names: Sequence[str]) -> None:
    """Put deltas that were tuned elsewhere into the bank.

    Raises ValueError where a run that is opened again has lost one.
    """
    given = experiment.given
    bank = open_bank(experiment, SAME_DATA_SEED)
    given_names = []
    for name in given.names:
        if name in names:
            given_names.append(name)
    tasks = experiment.tasks_named(given_names)
    for task in bank.missing(tasks):
        # A run that is opened again knows their names only, not the folder they came from.
        if task.name not in given.deltas:
            raise ValueError(
                f"{bank.folder} has lost the delta of {task.name}, which came from a PEFT folder; "
                "run `ipt msf` again"
            )
        # Nothing is known of how it was tuned.
        tuned = TunedDelta(
            given.deltas[task.name],
            learning_rate=0.0,
            dev_loss=math.nan,
            steps=0,
        )
        bank.put(task, tuned)


def tune_missing(
    experiments: Sequence[Experiment],
    names: Sequence[str],
    data_seed: int,
) -> None:
    """Tune the deltas missing in the banks, all in one stacked run, each process its share.

    experiments: the same one with different seeds.
    """
    if not _missing(experiments, names, data_seed):
        return
    # The models are equal, so the first experiment's one serves the jobs of all seeds.
    first = experiments[0]
    processes = first.processes
    folders = set()
    for experiment in experiments:
        bank = open_bank(experiment, data_seed)
        folders.add(bank.folder)
    with ExitStack() as locks:
        # Commands share a bank: without locks two of them would tune the same deltas. Only the
        # first process takes them, as a second one would wait for its own sibling.
        processes.on_main_process(lambda: lock_folders(folders, locks, first.reporter.info))
        # Fewer are missing where another command was tuning them.
        missing = _missing(experiments, names, data_seed)
        if not missing:
            return
        present = len(names) * len(experiments) - len(missing)
        first.reporter.info(
            f"tuning {len(missing)} deltas, data seed {data_seed} ({present} are in the bank)"
        )
        checkpoint, tuned = _tune(missing, data_seed)
        # Only the first process writes: all have all deltas, and the folders are the same.
        if processes.is_main:
            for (experiment, task), delta in zip(missing, tuned, strict=True):
                bank = open_bank(experiment, data_seed)
                bank.put(task, delta)
        # After the bank has them: a kill in between costs nothing.
        checkpoint.discard()


def _missing(
    experiments: Sequence[Experiment],
    names: Sequence[str],
    data_seed: int,
) -> list[Missing]:
    """Return the missing deltas of all experiments, seed by seed."""
    missing = []
    for experiment in experiments:
        for task in missing_tasks(experiment, names, data_seed):
            missing.append(Missing(experiment, task))
    return missing


def _tune(missing: Sequence[Missing], data_seed: int) -> tuple[Checkpoint, list[TunedDelta]]:
    """Tune these deltas; return them in their order, and the checkpoint of this process."""
    first = missing[0].experiment
    processes = first.processes
    # Each task once, also where it is tuned with several seeds: its rows are the same.
    names = []
    all_seeds = set()
    for experiment, task in missing:
        all_seeds.add(experiment.seed)
        if task.name not in names:
            names.append(task.name)
    encoded = {}
    for data in encode_tasks(first, names, data_seed):
        encoded[data.task.name] = data

    share = processes.shard(missing)
    tasks = []
    seeds = []
    for experiment, task in share:
        tasks.append(encoded[task.name])
        seeds.append(experiment.seed)
    values = _initial_deltas(first.model, seeds, first.seed)

    # The checkpoint is named after what is tuned: a run that was killed goes on only with the same
    # tasks. One seed is not named, as the bank's folder has it.
    named_seeds: list[str] = []
    if len(all_seeds) > 1:
        named_seeds.extend(map(str, seeds))
    what = digest_of([data.task for data in tasks], *named_seeds)
    folder = open_bank(first, data_seed).folder
    checkpoint = Checkpoint(folder, f"tune-{what}", first.tune.checkpoint_seconds)
    with first.reporter.bar("prompt tuning") as progress:
        execution = Execution(checkpoint, progress)
        start = Start(values, seeds)
        tuned = tune_deltas(first.model, tasks, first.tune, start, execution)
    return checkpoint, processes.gather(tuned)


def _initial_deltas(model: Model, seeds: Sequence[int], any_seed: int) -> Tensor:
    """Return the deltas [T, P] that training starts from, equal for equal seeds.

    any_seed: decides the one delta [P] that is returned without seeds.
    """
    if not seeds:
        # More processes than deltas: this one trains nothing, from a delta of the right size.
        return model.initialize(any_seed)

    # Each seed once, as many tasks share it.
    initial: dict[int, Tensor] = {}
    values = []
    for seed in seeds:
        if seed not in initial:
            initial[seed] = model.initialize(seed)
        values.append(initial[seed])
    return torch.stack(values)
