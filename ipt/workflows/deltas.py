"""Tuned deltas of an experiment: out of its bank, those that are missing tuned first."""

import json
import math
from collections.abc import Container, Iterable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ipt.bank import open_bank
from ipt.checkpoint import Checkpoint
from ipt.data import SAME_DATA_SEED, Task, digest_of
from ipt.estimate import StageWork, tuning_work
from ipt.experiment import Experiment, encode_tasks
from ipt.methods.multi_task import find_shared_start
from ipt.methods.tuning import Start, TunedDelta, tune_deltas
from ipt.provenance import SOFT_PROMPT
from ipt.storage import REMOVE_FILE, lock_folders, read_metadata, remove_drafts
from ipt.training.loop import STATE_BYTES, Execution
from ipt.training.model import Model


class Missing(NamedTuple):
    """A task whose delta is missing in the bank of an experiment."""

    experiment: Experiment
    task: Task


class Begun(NamedTuple):
    """A job of a stacked run that was begun: all that its checkpoint records of it."""

    task: str
    digest: str
    seed: int


# The stage of a command in which missing deltas are tuned.
TUNING = "tune"
CHECKPOINTS = "checkpoint-tune-*.safetensors"
# Of a stack's training state: full fine-tuning has millions of numbers a job.
MOST_BYTES = 2_000_000_000


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


def tuning_stage(experiment: Experiment, missing: int) -> StageWork:
    """Return the stage that tunes so many missing deltas."""
    name = experiment.model.tuner.name
    title = "prompt tuning" if name == SOFT_PROMPT else f"tuning, {name}"
    work = tuning_work(experiment.tune, missing)
    return StageWork(TUNING, f"{title}, {missing} tasks", work)


def tuned_deltas(experiment: Experiment, names: Sequence[str], data_seed: int) -> Tensor:
    """Return the tuned deltas [T, P] of these tasks, tuning those missing in the bank."""
    return tuned_numbers(experiment, names, data_seed)[0]


def tuned_numbers(
    experiment: Experiment,
    names: Sequence[str],
    data_seed: int,
) -> tuple[Tensor, Tensor]:
    """Return the tuned deltas [T, P] and heads [T, H] of these tasks, tuning those missing.

    Heads of fewer classes are filled up.
    """
    processes = experiment.processes
    bank = open_bank(experiment, data_seed)
    # Before the bank is read below: tuning passes over them.
    if data_seed == SAME_DATA_SEED:
        processes.on_main_process(lambda: put_given(experiment, names))
    tune_missing([experiment], names, data_seed)

    # Read back from the bank also what was just tuned: a later run computes with the same numbers.
    tasks = experiment.tasks_named(names)
    tuned = processes.on_main_process(lambda: [bank.get(task) for task in tasks])
    model = experiment.model
    deltas = []
    heads = []
    for task, entry in zip(tasks, tuned, strict=True):
        path = bank.folder / f"{task.name}.safetensors"
        if entry is None:
            raise ValueError(
                f"{path} was taken away or written by another task, such as one whose name "
                "differs in case alone; run again"
            )
        head_size = model.head.size(model.backbone, model.head.classes(task))
        for numbers, size in ((entry.delta, model.size), (entry.head, head_size)):
            if len(numbers) != size:
                raise ValueError(
                    f"{path} holds {len(numbers)} numbers, {size} were expected; {REMOVE_FILE}"
                )
        deltas.append(entry.delta)
        heads.append(entry.head)
    stacked = torch.stack(deltas)  # [T, P]
    filled_up = torch.nn.utils.rnn.pad_sequence(heads, batch_first=True)  # [T, H]
    return stacked.to(model.device), filled_up.to(model.device)


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


# Whoever asks for deltas may be without gradients, as what only reads them is.
@torch.enable_grad()
def tune_missing(
    experiments: Sequence[Experiment],
    names: Sequence[str],
    data_seed: int,
) -> None:
    """Tune the deltas missing in the banks, all in one stacked run, each process its share.

    experiments: the same one with different seeds.
    """
    # The models are equal, so the first experiment's one serves the jobs of all seeds.
    first = experiments[0]
    processes = first.processes
    folders = set()
    for experiment in experiments:
        bank = open_bank(experiment, data_seed)
        folders.add(bank.folder)
    processes.on_main_process(lambda: _tidy(first, folders, data_seed))
    if not _missing(experiments, names, data_seed):
        return
    with ExitStack() as locks:
        # Commands share a bank: without locks two of them would tune the same deltas. Only the
        # first process takes them, as a second one would wait for its own sibling.
        processes.on_main_process(lambda: lock_folders(folders, locks, first.reporter.info))
        # A run that was killed goes on as it was, also where some of its deltas are in the bank by
        # now: a delta's last digits depend on those that were tuned beside it.
        while stack := _begun(experiments, names, data_seed):
            first.reporter.info(
                f"going on with {len(stack)} deltas, data seed {data_seed}, that were begun"
            )
            with first.reporter.stage(TUNING):
                _tune_and_put(stack, data_seed)

        # Fewer are missing where another command was tuning them.
        missing = _missing(experiments, names, data_seed)
        if not missing:
            return
        present = len(names) * len(experiments) - len(missing)
        first.reporter.info(
            f"tuning {len(missing)} deltas, data seed {data_seed} ({present} are in the bank)"
        )
        with first.reporter.stage(TUNING):
            for some in _that_fit(missing):
                _tune_and_put(some, data_seed)


def _that_fit(missing: Sequence[Missing]) -> list[Sequence[Missing]]:
    """Cut deltas into stacks whose training state fits into memory, in their order."""
    first = missing[0].experiment
    # A job for each rate.
    of_one = STATE_BYTES * first.model.trained_size * len(first.tune.learning_rates)
    count = max(1, MOST_BYTES // max(1, of_one))
    return [missing[i : i + count] for i in range(0, len(missing), count)]


def _tune_and_put(stack: Sequence[Missing], data_seed: int) -> None:
    """Tune these deltas as one stacked run, and put those into the bank that it has not."""
    processes = stack[0].experiment.processes
    checkpoint, tuned = _tune(stack, data_seed)
    # Only the first process writes: all have all deltas, and the folders are the same.
    if processes.is_main:
        for (experiment, task), delta in zip(stack, tuned, strict=True):
            bank = open_bank(experiment, data_seed)
            # One that is there stays: other results may stand on it.
            if bank.get(task) is None:
                bank.put(task, delta)
    # After the bank has them: a kill in between costs nothing.
    checkpoint.discard()


def _continues(stack: Sequence[Missing], data_seed: int) -> str:
    """Return what the checkpoint of a stack records: its bank, and its jobs in their order."""
    jobs = [Begun(task.name, task.digest, experiment.seed) for experiment, task in stack]
    # The bank's folder is named after all settings of tuning.
    bank = open_bank(stack[0].experiment, data_seed)
    return json.dumps({"bank": bank.folder.name, "jobs": jobs})


def _jobs_of(path: Path) -> list[Begun]:
    """Return the jobs of a checkpoint; those of older versions do not name them."""
    text = read_metadata(path).get("continues", '{"jobs": []}')
    return [Begun(*job) for job in json.loads(text)["jobs"]]


def _begun(
    experiments: Sequence[Experiment],
    names: Sequence[str],
    data_seed: int,
) -> list[Missing]:
    """Return a stack that a killed run began and that is asked for now; empty: there is none.

    Raises ValueError naming a checkpoint that is damaged.
    """
    missing = _missing(experiments, names, data_seed)
    wanted = {(task.name, experiment.seed) for experiment, task in missing}
    # The first process reads the folders for all, as in `missing_tasks`.
    jobs = experiments[0].processes.on_main_process(
        lambda: _begun_jobs(experiments, wanted, data_seed)
    )
    by_seed = {experiment.seed: experiment for experiment in experiments}
    return [Missing(by_seed[job.seed], by_seed[job.seed].tasks[job.task]) for job in jobs]


def _begun_jobs(
    experiments: Sequence[Experiment],
    wanted: Container[tuple[str, int]],
    data_seed: int,
) -> list[Begun]:
    """Return the jobs of the first such stack, in their order.

    wanted: names and seeds of the deltas that are asked for; no other one is tuned.
    """
    banks = {}
    for experiment in experiments:
        banks[experiment.seed] = open_bank(experiment, data_seed)
    tasks = experiments[0].tasks

    def is_known(job: Begun) -> bool:
        return job.seed in banks and job.task in tasks and tasks[job.task].digest == job.digest

    def is_wanted(job: Begun) -> bool:
        return (job.task, job.seed) in wanted

    for bank in banks.values():
        for path in sorted(bank.folder.glob(CHECKPOINTS)):
            jobs = _jobs_of(path)
            if not all(map(is_known, jobs)) or not any(map(is_wanted, jobs)):
                continue
            others = [job for job in jobs if not is_wanted(job)]
            if all(banks[job.seed].has(job.task, job.digest) for job in others):
                return jobs
    return []


def _tidy(experiment: Experiment, folders: Iterable[Path], data_seed: int) -> None:
    """Remove what killed commands have left in banks and nobody goes on with."""
    for folder in folders:
        remove_drafts(folder)
        checkpoints = list(folder.glob(CHECKPOINTS))
        # Not while another command is tuning: it has one of them. A folder that cannot be
        # written is read only.
        if checkpoints:
            with suppress(Timeout, OSError), FileLock(folder / ".lock", timeout=0):
                for path in checkpoints:
                    if _is_idle(experiment, path, data_seed):
                        path.unlink(missing_ok=True)


def _is_idle(experiment: Experiment, path: Path, data_seed: int) -> bool:
    """Return whether the stack of a checkpoint is in the banks, or a task has other rows now."""
    jobs = _jobs_of(path)
    are_there = []
    for name, digest, seed in jobs:
        task = experiment.tasks.get(name)
        if task is not None and task.digest != digest:
            return True
        bank = open_bank(experiment.with_seed(seed), data_seed)
        are_there.append(bank.has(name, digest))
    return bool(jobs) and all(are_there)


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
    start = _start(first, share, data_seed)

    # The checkpoint is named after what is tuned: a run that was killed goes on only with the same
    # tasks. One seed is not named, as the bank's folder has it.
    named_seeds: list[str] = []
    if len(all_seeds) > 1:
        named_seeds.extend(map(str, seeds))
    what = digest_of([data.task for data in tasks], *named_seeds)
    folder = open_bank(first, data_seed).folder
    checkpoint = Checkpoint(
        folder,
        f"tune-{what}",
        first.tune.checkpoint_seconds,
        _continues(missing, data_seed),
    )
    with first.reporter.bar("tuning") as progress:
        execution = Execution(checkpoint, progress)
        tuned = tune_deltas(first.model, tasks, first.tune, start, execution)
    return checkpoint, processes.gather(tuned)


def _start(first: Experiment, share: Sequence[Missing], data_seed: int) -> Start:
    """Return where these deltas begin; first: whose model and settings they have."""
    seeds = [experiment.seed for experiment, _ in share]
    if first.tune.delta_start == "own" or not share:
        values = _initial_deltas(first.model, seeds, first.seed)
        return Start(values, seeds, first.model.network)

    # A start for each seed and kind of tasks, made of all tasks of the split.
    known: dict[tuple[int, str], dict[str, tuple[Tensor, Tensor]]] = {}
    deltas = []
    heads = []
    for experiment, task in share:
        key = (experiment.seed, task.category)
        if key not in known:
            known[key] = _shared_start(experiment, task.category, data_seed)
        delta, head = known[key][task.name]
        deltas.append(delta)
        heads.append(head)
    filled_up = torch.nn.utils.rnn.pad_sequence(heads, batch_first=True)
    return Start(torch.stack(deltas), seeds, heads=filled_up)


def _shared_start(
    experiment: Experiment,
    category: str,
    data_seed: int,
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return the delta and the head that each task of a kind begins with."""
    names = []
    for name in experiment.split.all:
        if experiment.tasks[name].category == category:
            names.append(name)
    tasks = encode_tasks(experiment, names, data_seed)
    folder = open_bank(experiment, data_seed).folder
    seconds = experiment.tune.checkpoint_seconds
    checkpoint = Checkpoint(folder, f"shared-{category}", seconds)
    with experiment.reporter.bar(f"one delta for all {category} tasks") as progress:
        execution = Execution(checkpoint, progress)
        found = find_shared_start(
            experiment.model,
            tasks,
            experiment.tune,
            experiment.seed,
            execution,
        )
    checkpoint.discard()
    starts = {}
    for data, head in zip(tasks, found.heads, strict=True):
        starts[data.task.name] = (found.delta, head)
    return starts


def _initial_deltas(model: Model, seeds: Sequence[int], any_seed: int) -> Tensor:
    """Return the values [T, P or K] that training starts from, equal for equal seeds.

    any_seed: decides the one delta [P] that is returned without seeds.
    """
    if not seeds:
        # More processes than deltas: this one trains nothing, from a delta of the right size.
        return model.first_values(any_seed)

    # Each seed once, as many tasks share it.
    initial: dict[int, Tensor] = {}
    values = []
    for seed in seeds:
        if seed not in initial:
            initial[seed] = model.first_values(seed)
        values.append(initial[seed])
    return torch.stack(values)
