"""`ipt runs pack`: an IST run and all that its answers stand on as one small folder of runs.

resolve: the run, its MSF run, the tuned deltas of their tasks
compute: answers to the few-shot rows of the unseen tasks, before and after numbers are rounded
write:   both run folders and the bank; result.json of the IST run last

Numbers are rounded to float16 where no answer to these rows changes by it, else kept as they are.
"""

import shutil
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ipt.bank import DeltaBank, open_bank
from ipt.data import SAME_DATA_SEED
from ipt.encoded import EncodedTask, drawn_sets
from ipt.experiment import Experiment
from ipt.fewshot import FewShot
from ipt.methods.subspace import WEIGHTS, Subspace
from ipt.provenance import bank_record
from ipt.run import Run
from ipt.storage import read_json, write_sealed, write_tensors
from ipt.training.evaluate import score_deltas
from ipt.training.source import decoded_with_heads, mix_deltas
from ipt.workflows.deltas import missing_tasks, tuned_numbers

# Of a run's folder; lines of figures, checkpoints and tables are not packed.
PACKED = ("*.json", "*.safetensors")


@dataclass(frozen=True)
class Packed:
    """What was packed: how many rows were answered again, and what is in float16."""

    size: int  # bytes
    rows: int
    tasks: int
    is_subspace_rounded: bool
    exact: int  # deltas that are not rounded


@torch.no_grad()
def pack_run(experiment: Experiment, run: Run, folder: Path) -> Packed:
    """Write a complete IST run into a folder of its own, with what it stands on.

    Raises ValueError where the folder holds something, or a delta is missing in the bank.
    """
    source = run.source
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--to {folder} holds files; choose a new folder")
    names = [*experiment.seen, *experiment.unseen]
    missing = missing_tasks(experiment, names, SAME_DATA_SEED)
    if missing:
        raise ValueError(
            f"the bank beside {run.folder} has not the deltas of {len(missing)} tasks, such as "
            f"{missing[0].name}; run `ipt msf` again"
        )
    tasks = [few_shot_rows(experiment, name) for name in experiment.unseen]
    subspace = Subspace.load(source.folder / "subspace").to(experiment.model.device)
    state, halved = packed_weights(subspace)
    rounds_subspace = is_answered_alike(experiment, tasks, run, subspace, halved)
    exact = exact_deltas(experiment, tasks, run)

    copy_run(source, folder)
    written = state if rounds_subspace else subspace.state_dict()
    write_tensors(folder / source.folder.name / "subspace" / WEIGHTS, written)
    write_bank(experiment, folder, exact)
    copy_run(run, folder, Run(folder / source.folder.name).subspace_digest)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    rows = sum(len(data.dev) for data in tasks)
    return Packed(size, rows, len(tasks), rounds_subspace, len(exact))


def few_shot_rows(experiment: Experiment, name: str) -> EncodedTask:
    """Return a task with all of its few-shot rows, train and dev, as its dev set."""
    task = experiment.tasks[name]
    sets = drawn_sets(task, SAME_DATA_SEED, experiment.tune.shots, 1, "test")
    both = FewShot(sets.train, (*sets.train, *sets.dev), sets.test)
    model = experiment.model
    return EncodedTask.of_sets(model.backbone, model.head, task, both, SAME_DATA_SEED)


def packed_weights(subspace: Subspace) -> tuple[dict[str, Tensor], Subspace]:
    """Return the subspace's tensors, the largest in float16, and the subspace of these."""
    state = dict(subspace.state_dict())
    # One matrix of the decoder is nearly all of the file; the others cost nothing as they are.
    largest = max(state, key=lambda name: state[name].numel())
    state[largest] = state[largest].half()
    halved = Subspace(**subspace.get_params()).to(subspace.start.device)
    halved.load_state_dict(state)
    return state, halved


def is_answered_alike(
    experiment: Experiment,
    tasks: Sequence[EncodedTask],
    run: Run,
    subspace: Subspace,
    halved: Subspace,
) -> bool:
    """Return whether both subspaces give the same answers with the run's own vectors."""
    vectors = run.tensors("vectors").get("test")
    # A run of controls or seen tasks alone answers nothing for unseen ones.
    if vectors is None:
        return True
    vectors = vectors.to(experiment.model.device)
    deltas = []
    for one in (subspace, halved):
        deltas.append(decoded_with_heads(vectors, subspace.dim, one.decode))
    before, after = [answers_of(experiment, tasks, some) for some in deltas]
    return before == after


def exact_deltas(experiment: Experiment, tasks: Sequence[EncodedTask], run: Run) -> set[str]:
    """Return the tasks whose tuned deltas are kept as they are, as answers change otherwise.

    Answers of the unseen tasks' own deltas, and of their mixtures of seen ones.
    """
    names = [data.task.name for data in tasks]
    unseen, heads = tuned_numbers(experiment, names, SAME_DATA_SEED)  # [T, P]
    before = answers_of(experiment, tasks, torch.cat([unseen, heads], 1))
    after = answers_of(experiment, tasks, torch.cat([unseen.half().float(), heads], 1))
    exact = set(changed(names, before, after))
    weights = run.tensors("vectors").get("mixture")
    if weights is None:
        return exact

    seen, _ = tuned_numbers(experiment, experiment.seen, SAME_DATA_SEED)  # [S, P]
    weights = weights.to(seen)
    mixed = decoded_with_heads(weights, len(seen), partial(mix_deltas, bank=seen))
    before = answers_of(experiment, tasks, mixed)
    while True:
        bank = seen.half().float()
        for place, name in enumerate(experiment.seen):
            if name in exact:
                bank[place] = seen[place]
        mixed = decoded_with_heads(weights, len(seen), partial(mix_deltas, bank=bank))
        # Of mixtures that answer otherwise, all parts are kept: few of the seen deltas.
        more = set()
        for name in changed(names, before, answers_of(experiment, tasks, mixed)):
            parts = weights[names.index(name), : len(seen)].nonzero().flatten().tolist()
            more |= {experiment.seen[place] for place in parts}
        if more <= exact:
            return exact
        exact |= more


def answers_of(
    experiment: Experiment,
    tasks: Sequence[EncodedTask],
    deltas: Tensor,
) -> list[tuple[str, ...]]:
    """Return the answers to the tasks' few-shot rows under their deltas [T, P + H]."""
    scores = score_deltas(experiment.model, deltas, tasks, "dev", rank=False)
    return [score.predictions for score in scores]


def changed(names: Sequence[str], before: Sequence[Any], after: Sequence[Any]) -> list[str]:
    """Return the tasks whose answers are others."""
    pairs = zip(names, before, after, strict=True)
    return [name for name, one, other in pairs if one != other]


def copy_run(run: Run, folder: Path, subspace: str | None = None) -> None:
    """Copy a run's folder below another; subspace: the sha256 of the one that it stands on now."""
    target = folder / run.folder.name
    target.mkdir(parents=True)
    result = run.folder / "result.json"
    for pattern in PACKED:
        for path in sorted(run.folder.glob(pattern)):
            if path != result and not path.name.startswith("checkpoint-"):
                shutil.copyfile(path, target / path.name)
    if (run.folder / "subspace").is_dir():
        (target / "subspace").mkdir()
        shutil.copyfile(run.folder / "subspace" / "config.json", target / "subspace/config.json")
    config = read_json(target / "config.json")
    # Older runs do not name it.
    if subspace is not None and "subspace" in config["config"]:
        config["config"]["subspace"] = subspace
        write_sealed(target / "config.json", config)
    # Last, as it marks the run complete.
    shutil.copyfile(result, target / result.name)


def write_bank(experiment: Experiment, folder: Path, exact: Container[str]) -> None:
    """Write the tuned deltas of all tasks into a folder's bank; exact: tasks not to be rounded."""
    bank = open_bank(experiment, SAME_DATA_SEED)
    packed = DeltaBank(folder, bank_record(experiment, SAME_DATA_SEED))
    for task in experiment.tasks_named([*experiment.seen, *experiment.unseen]):
        tuned = bank.get(task)
        # All were there a moment ago.
        assert tuned is not None
        packed.put(task, tuned, is_rounded=task.name not in exact)
