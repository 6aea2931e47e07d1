"""`ipt runs pack`: an IST run and all that its answers stand on as one small folder of runs.

resolve: the run, its MSF run, the tuned deltas of their tasks
compute: answers to the few-shot rows of the unseen tasks, before and after numbers are rounded
write:   both run folders and the bank; result.json of the IST run last

Numbers are rounded to float16 where no answer to these rows changes by it, else kept as they are.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
    rounded: tuple[str, ...]


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
    rounded = []
    if is_answered_alike(experiment, tasks, run, subspace, halved):
        rounded.append("subspace")
    else:
        state = subspace.state_dict()
    rounds_deltas = are_deltas_alike(experiment, tasks, run)
    if rounds_deltas:
        rounded.append("tuned deltas")

    copy_run(source, folder)
    write_tensors(folder / source.folder.name / "subspace" / WEIGHTS, state)
    write_bank(experiment, folder, rounds_deltas)
    copy_run(run, folder, Run(folder / source.folder.name).subspace_digest)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Packed(size, sum(len(data.dev) for data in tasks), len(tasks), tuple(rounded))


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
    return have_same_answers(experiment, tasks, *deltas)


def are_deltas_alike(experiment: Experiment, tasks: Sequence[EncodedTask], run: Run) -> bool:
    """Return whether tuned deltas, and mixtures of them, give the same answers when rounded."""
    seen, _ = tuned_numbers(experiment, experiment.seen, SAME_DATA_SEED)  # [S, P]
    unseen, heads = tuned_numbers(experiment, experiment.unseen, SAME_DATA_SEED)  # [T, P]
    pairs = []
    rounded = torch.cat([unseen.half().float(), heads], 1)
    pairs.append((torch.cat([unseen, heads], 1), rounded))
    weights = run.tensors("vectors").get("mixture")
    if weights is not None:
        mixed = []
        for bank in (seen, seen.half().float()):
            mix = partial(mix_deltas, bank=bank)
            mixed.append(decoded_with_heads(weights.to(seen), len(bank), mix))
        pairs.append((mixed[0], mixed[1]))
    return all(have_same_answers(experiment, tasks, *pair) for pair in pairs)


def have_same_answers(
    experiment: Experiment,
    tasks: Sequence[EncodedTask],
    deltas: Tensor,
    others: Tensor,
) -> bool:
    """Return whether the tasks' few-shot rows are answered alike under [T, P + H] and others."""
    answers = []
    for some in (deltas, others):
        scores = score_deltas(experiment.model, some, tasks, "dev", rank=False)
        answers.append([score.predictions for score in scores])
    return answers[0] == answers[1]


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


def write_bank(experiment: Experiment, folder: Path, is_rounded: bool) -> None:
    """Write the tuned deltas of all tasks into a folder's bank."""
    bank = open_bank(experiment, SAME_DATA_SEED)
    packed = DeltaBank(folder, bank_record(experiment, SAME_DATA_SEED))
    for task in experiment.tasks_named([*experiment.seen, *experiment.unseen]):
        tuned = bank.get(task)
        # All were there a moment ago.
        assert tuned is not None
        packed.put(task, tuned, is_rounded=is_rounded)
