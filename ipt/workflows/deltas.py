"""Tuned deltas of an experiment: out of its bank, those that are missing tuned first."""

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


class Missing(NamedTuple):
    """A task whose delta is missing in the bank of an experiment."""

    experiment: Experiment
    task: Task


def missing_tasks(experiment: Experiment, names: Sequence[str], data_seed: int) -> list[Task]:
    """Return the tasks whose deltas are still to be tuned."""
    tasks = experiment.tasks_named(names)
    bank = open_bank(experiment, data_seed)
    untuned = experiment.processes.on_main_process(
        lambda: [task.name for task in bank.missing(tasks)]
    )
    if data_seed == SAME_DATA_SEED:
        untuned = [name for name in untuned if name not in experiment.given.deltas]
    return experiment.tasks_named(untuned)


def tuned_deltas(experiment: Experiment, names: Sequence[str], data_seed: int) -> Tensor:
    """Return the tuned deltas [T, P] of these tasks, tuning those that the bank lacks."""
    processes = experiment.processes
    bank = open_bank(experiment, data_seed)
    if data_seed == SAME_DATA_SEED:
        processes.on_main_process(lambda: put_given(experiment, names))
    tune_missing([experiment], names, data_seed)
    tasks = experiment.tasks_named(names)
    tuned = processes.on_main_process(lambda: [bank.get(task) for task in tasks])
    deltas = [found.delta for found in tuned if found is not None]
    return torch.stack(deltas).to(experiment.model.device)


def put_given(experiment: Experiment, names: Sequence[str]) -> None:
    """Put deltas that were tuned elsewhere into the bank.

    Raises ValueError where a run that is opened again has lost one.
    """
    given = experiment.given
    bank = open_bank(experiment, SAME_DATA_SEED)
    tasks = experiment.tasks_named([name for name in given.names if name in names])
    for task in bank.missing(tasks):
        if task.name not in given.deltas:
            raise ValueError(
                f"{bank.folder} has lost the delta of {task.name}, which came from a PEFT folder; "
                "run `ipt msf` again"
            )
        bank.put(task, TunedDelta(given.deltas[task.name], 0.0, float("nan"), 0))


def tune_missing(
    experiments: Sequence[Experiment],
    names: Sequence[str],
    data_seed: int,
) -> None:
    """Tune the deltas that the banks lack, all in one stacked run, each process its share.

    experiments: the same one with different seeds.
    """
    if not _missing(experiments, names, data_seed):
        return
    first = experiments[0]
    processes = first.processes
    folders = {open_bank(experiment, data_seed).folder for experiment in experiments}
    with ExitStack() as locks:
        processes.on_main_process(lambda: lock_folders(folders, locks, first.reporter.info))
        # Fewer are missing where another process was tuning them.
        missing = _missing(experiments, names, data_seed)
        if not missing:
            return
        present = len(names) * len(experiments) - len(missing)
        first.reporter.info(
            f"tuning {len(missing)} deltas, data seed {data_seed} ({present} are in the bank)"
        )
        checkpoint, tuned = _tune(missing, data_seed)
        if processes.is_main:
            for (experiment, task), delta in zip(missing, tuned, strict=True):
                open_bank(experiment, data_seed).put(task, delta)
        checkpoint.discard()


def _missing(
    experiments: Sequence[Experiment],
    names: Sequence[str],
    data_seed: int,
) -> list[Missing]:
    missing = []
    for experiment in experiments:
        for task in missing_tasks(experiment, names, data_seed):
            missing.append(Missing(experiment, task))
    return missing


def _tune(missing: Sequence[Missing], data_seed: int) -> tuple[Checkpoint, list[TunedDelta]]:
    """Tune these deltas; return them in their order, and the checkpoint of this process."""
    first = missing[0].experiment
    processes = first.processes
    names = list(dict.fromkeys(task.name for _, task in missing))
    encoded = dict(zip(names, encode_tasks(first, names, data_seed), strict=True))

    share = processes.shard(missing)
    data = [encoded[task.name] for _, task in share]
    seeds = [experiment.seed for experiment, _ in share]
    if share:
        initial = {seed: first.model.initialize(seed) for seed in dict.fromkeys(seeds)}
        values = torch.stack([initial[seed] for seed in seeds])
    else:
        values = first.model.initialize(first.seed)

    several = len({experiment.seed for experiment, _ in missing}) > 1
    what = digest_of([d.task for d in data], *(str(seed) for seed in seeds if several))
    folder = open_bank(first, data_seed).folder
    checkpoint = Checkpoint(folder, f"tune-{what}", first.tune.checkpoint_seconds)
    with first.reporter.bar("prompt tuning") as progress:
        execution = Execution(checkpoint, progress)
        tuned = tune_deltas(first.model, data, first.tune, Start(values, seeds), execution)
    return checkpoint, processes.gather(tuned)
