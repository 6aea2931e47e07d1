"""What a command works on: a frozen context, without a computing method.

Workflows read it; methods never see it.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ipt.backbones.base import MAX_ANSWER, Backbone, Encoded
from ipt.config import TuneConfig, WorkConfig
from ipt.data import Task, TaskSplit
from ipt.distributed import Processes
from ipt.encoded import EncodedTask, drawn_sets, notes_on_answers
from ipt.progress import Reporter
from ipt.run import Run
from ipt.training.model import Model


@dataclass(frozen=True)
class GivenDeltas:
    """Deltas that were tuned elsewhere, by task."""

    names: tuple[str, ...] = ()
    digest: str = ""
    """Over names and numbers."""
    deltas: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    """Empty in a run that is opened again, whose bank holds them."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The frozen model, the split's tasks, and the settings of the run."""

    # What is worked on.
    model: Model
    split: TaskSplit
    tasks: dict[str, Task]
    """By name; those of the split, and others of its source."""
    # What the settings say, and deltas from elsewhere.
    work: WorkConfig
    tune: TuneConfig
    """How the deltas of the bank, and the reference, are tuned."""
    given: GivenDeltas = GivenDeltas()
    """Deltas of the first data seed that are not tuned here."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Where the files of relative names lay when the run was made, by setting: tasks, model."""
    # By whom, and where progress is said: no result depends on these.
    processes: Processes = Processes()
    """The processes that share the work."""
    reporter: Reporter = field(default_factory=Reporter)

    @property
    def backbone(self) -> Backbone:
        return self.model.backbone

    @property
    def seed(self) -> int:
        return self.work.seed

    @property
    def seen(self) -> list[str]:
        """The tasks that MSF sees."""
        return list(self.split.seen)

    @property
    def unseen(self) -> list[str]:
        """The tasks that MSF never sees, of whatever kind."""
        # This order is that of all tensors and of result.json.
        return [*self.split.unseen, *self.split.out_of_kind]

    @property
    def head_sizes(self) -> dict[str, int]:
        """H, the numbers of each task's head, by task; empty where heads have none."""
        head = self.model.head
        if not self.model.has_head_numbers:
            return {}
        sizes = {}
        for task in self.tasks_named(self.split.all):
            sizes[task.name] = head.size(self.backbone, head.classes(task))
        return sizes

    def tasks_named(self, names: Sequence[str]) -> list[Task]:
        """Return the tasks of these names, in their order."""
        return [self.tasks[name] for name in names]

    def with_seed(self, seed: int) -> "Experiment":
        """Return the same experiment with another seed."""
        work = replace(self.work, seed=seed)
        return replace(self, work=work)


def encode_tasks(
    experiment: Experiment,
    names: Sequence[str],
    data_seed: int,
) -> list[EncodedTask]:
    """Draw and tokenize the few-shot sets of these tasks; say how many rows had to be cut."""
    backbone = experiment.backbone
    encoded = []
    for task in experiment.tasks_named(names):
        work = experiment.work
        shots = experiment.tune.shots
        sets = drawn_sets(task, data_seed, shots, work.limit, work.held_out)
        head = experiment.model.head
        data = EncodedTask.of_sets(backbone, head, task, sets, data_seed)
        encoded.append(data)
    rows: list[Encoded] = []
    for data in encoded:
        rows += [*data.train, *data.dev, *data.test]
    note_cut_rows(experiment, rows)
    # Of heads there are no answers that could not be written.
    notes = [] if experiment.model.head.reads_states else notes_on_answers(backbone, encoded)
    for note in notes:
        experiment.reporter.note(note)
    return encoded


def note_cut_rows(experiment: Experiment, rows: Sequence[Encoded]) -> None:
    """Say how many rows had to be cut, where any had."""
    # Said once for all rows: tokens that are cut may be those that the answer depends on. A row
    # that fills its length exactly counts too, as nothing tells it apart.
    longest = experiment.backbone.max_input
    cut = sum(row.may_be_cut(longest) for row in rows)
    if cut:
        experiment.reporter.note(
            f"note: {cut} of {len(rows)} rows fill {longest} input or {MAX_ANSWER} "
            "answer tokens; longer ones are cut"
        )


def has_result(run: Run) -> bool:
    """Return whether a run is finished."""
    return run.result is not None


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be there: its folder, and what identifies it."""

    experiment: Experiment
    path: Path
    settings: dict[str, Any]
    is_complete: Callable[[Run], bool] = has_result

    def finish(self, work: Callable[[Run], object]) -> Run:
        """Return the run, finished by the work where it is not complete yet.

        The folder is locked while the work is done; only the first process holds the lock.
        Raises ValueError where the folder has other settings or another process has it.
        """
        # The first process opens and looks for all: two that see different states of the folder
        # would wait for each other forever.
        processes = self.experiment.processes
        # What is complete needs no writing: it is printed from a read-only disk as well.
        is_there = (self.path / "result.json").is_file()
        if is_there and not os.access(self.path, os.W_OK):
            found = Run(self.path)
            # As JSON gives them back: tuples are lists there.
            settings = json.loads(json.dumps(self.settings))
            if found.config == settings and self.is_complete(found):
                return found
        run = processes.on_main_process(lambda: Run.open(self.path, self.settings))
        # The others would find the folder locked by their own sibling.
        lock = run.locked() if processes.is_main else nullcontext()
        with lock:
            # Under the lock: another command may just have finished the run.
            if not processes.on_main_process(lambda: self.is_complete(run)):
                work(run)
            elif processes.is_main:
                run.remove_idle_checkpoints()
        return run
