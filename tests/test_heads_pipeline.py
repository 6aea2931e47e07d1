"""Whole commands with heads: MSF and IST over tasks with heads of their own, floors, resuming."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from head_tasks import task

from ipt import api
from ipt.cli.app import call
from ipt.data import SAME_DATA_SEED
from ipt.experiment import encode_tasks
from ipt.methods.subspace import Subspace
from ipt.methods.tuning import Start, tune_deltas
from ipt.results import PARTS
from ipt.run import Run
from ipt.storage import read_tensors, write_json
from ipt.training.evaluate import score_deltas
from ipt.training.source import decoded_with_heads, joined
from ipt.workflows.deltas import tuned_numbers
from ipt.workflows.evaluation import HEAD_RATES

DIM = 2
NUMBERS = ["--shots", "3", "--steps", "6", "--rows-per-step", "2", "--eval-every", "3"]


def flags(prefix: str = "") -> list[str]:
    return [f"--{prefix}{word[2:]}" if word.startswith("--") else word for word in NUMBERS]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An MSF and an IST run of classification tasks with two, three and four labels."""
    root = tmp_path_factory.mktemp("heads")
    (root / "tasks").mkdir()
    names = []
    for number in (0, 1, 2, 1):
        record = task("cls", number, rows=160).to_dict()
        record["name"] = f"task-{len(names)}"
        names.append(record["name"])
        write_json(root / "tasks" / f"{record['name']}.json", record)
    split = {"seen": names[:3], "unseen": names[3:], "tasks": "tasks"}
    write_json(root / "split.json", split)
    command(root, "msf")
    command(root, "ist")
    return root


def command(root, verb: str) -> None:
    place = ["--dim", str(DIM), "--test-rows", "8", "--out", str(root / "runs")]
    if verb == "ist":
        call(["ist", *place, "--steps", "4", "--eval-every", "2"])
        return
    work = ["--tasks", str(root / "split.json"), "--head", "classification", "--seed", "3"]
    tuned = ["--tuner", "bias", "--at", "linears", "--tune.learning-rates", "0.01"]
    call(["msf", *place, *work, *tuned, *flags("tune."), "--steps", "4"])


def runs(root) -> dict[str, Run]:
    found = {}
    for path in (root / "runs").glob("*/result.json"):
        found[path.parent.name.split("-")[0]] = Run(path.parent)
    return found


def test_the_empty_floor_is_the_head_tuned_alone(made):
    experiment = api.reopen_experiment(runs(made)["msf"])
    names = [*experiment.seen, *experiment.unseen]
    data = encode_tasks(experiment, names, SAME_DATA_SEED)
    bare = experiment.model.bare
    config = replace(experiment.tune, learning_rates=HEAD_RATES)
    tuned = tune_deltas(bare, data, config, Start(torch.zeros(4, 0), 3))
    for one, d in zip(tuned, data, strict=True):
        (score,) = score_deltas(bare, one.head[None], [d])
        floor = runs(made)["msf"].result["floor"][d.task.name]
        assert floor["empty"] == pytest.approx(score.generated, abs=1e-6)
        # A number for each input of each class, and its bias.
        assert len(one.head) == len(d.task.options) * (experiment.backbone.hidden_size + 1)


def test_vectors_have_their_heads_behind_them_and_score_what_the_run_says(made):
    run = runs(made)["ist"]
    experiment = api.reopen_experiment(run)
    subspace = Subspace.load(runs(made)["msf"].folder / "subspace")
    numbers = read_tensors(run.folder / "vectors.safetensors")[0]["test"]
    (data,) = encode_tasks(experiment, experiment.unseen, SAME_DATA_SEED)
    size = experiment.model.head.size(experiment.backbone, data.classes)
    assert numbers.shape == (1, DIM + size)
    deltas = decoded_with_heads(numbers, DIM, subspace.decode)
    (score,) = score_deltas(experiment.model, deltas, [data])
    result = run.result["scores"]["test"][data.task.name]
    assert result["generated"] == pytest.approx(score.generated, abs=1e-6)


def test_with_heads_no_seen_delta_is_scored_as_it_is_and_the_run_is_complete(made):
    """A seen task's delta is of use with its own head alone, and that knows other labels."""
    run = runs(made)["ist"]
    scores = run.result["scores"]
    assert {condition.name for condition in PARTS.values()} <= scores.keys()
    assert not {"best_code", "best_seen", "nearest_seen"} & scores.keys()
    before = (run.folder / "result.json").stat().st_mtime_ns
    command(made, "ist")
    assert (run.folder / "result.json").stat().st_mtime_ns == before


def test_a_bank_keeps_heads_of_their_own_widths(made):
    run = runs(made)["msf"]
    experiment = api.reopen_experiment(run)
    deltas, heads = tuned_numbers(experiment, experiment.seen, SAME_DATA_SEED)
    width = experiment.backbone.hidden_size + 1
    assert heads.shape == (3, 4 * width)
    for number, classes in enumerate((2, 3, 4)):
        assert (heads[number, classes * width :] == 0).all()
        assert (heads[number, (classes - 1) * width : classes * width] != 0).any()
    data = encode_tasks(experiment, experiment.seen, SAME_DATA_SEED)
    scores = score_deltas(experiment.model, joined(deltas, heads), data)
    for d, score in zip(data, scores, strict=True):
        found = run.result["reference"]["100"][d.task.name]
        assert found["generated"] == pytest.approx(score.generated, abs=1e-6)


def test_the_same_commands_again_from_nothing_give_the_same(made, tmp_path):
    root = tmp_path / "again"
    shutil.copytree(made, root, ignore=shutil.ignore_patterns("runs"))
    command(root, "msf")
    command(root, "ist")
    for verb, run in runs(made).items():
        other = runs(root)[verb]
        assert other.result["scores"] == run.result["scores"]
    # Control: another head is another run and another bank.
    banks = len(list((root / "runs" / "bank").iterdir()))
    call(
        ["tune", "--tasks", str(root / "split.json"), "--head", "classification:layers=2"]
        + ["--tuner", "bias", "--at", "linears", "--learning-rates", "0.01", "--test-rows", "8"]
        + ["--seed", "3", "--out", str(root / "runs"), *flags()]
    )
    # Its own, and that of the head alone.
    assert len(list((root / "runs" / "bank").iterdir())) == banks + 2


def test_a_shared_start_is_one_delta_for_all_tasks(made, tmp_path):
    """With own heads; and tuning goes on from it, so that it is another bank."""
    root = tmp_path / "shared"
    shutil.copytree(made, root, ignore=shutil.ignore_patterns("ist-*"))
    banks = set((root / "runs" / "bank").iterdir())
    call(
        ["tune", "--tasks", str(root / "split.json"), "--head", "classification"]
        + ["--tuner", "bias", "--at", "linears", "--learning-rates", "1e-30", "--test-rows", "8"]
        + ["--seed", "3", "--out", str(root / "runs"), *flags(), "--delta-start", "shared"]
    )
    (bank,) = set((root / "runs" / "bank").iterdir()) - banks
    setting = json.loads((bank / "setting.json").read_text())
    assert setting["tune"]["delta_start"] == "shared" and setting["shared"]
    files = sorted(bank.glob("task-*.safetensors"))
    tensors = [read_tensors(path)[0] for path in files]
    # At a rate of nothing, what was begun with is what is there.
    for one in tensors[1:]:
        torch.testing.assert_close(one["prompt"], tensors[0]["prompt"], rtol=0, atol=1e-6)
    assert not torch.equal(tensors[0]["head"], tensors[1]["head"][: len(tensors[0]["head"])])
