"""`ipt probe`: what it writes agrees with the run, the model and planted subspaces."""

import shutil
from dataclasses import replace

import pytest
import torch

from ipt.cli import app as cli
from ipt.data import SAME_DATA_SEED, TaskSplit
from ipt.experiment import encode_tasks
from ipt.methods.subspace import Subspace
from ipt.resolve import reopen_experiment
from ipt.results import RunResult, TaskScore
from ipt.run import Run
from ipt.storage import read_json, read_tensors
from ipt.training.evaluate import score_deltas
from ipt.training.loop import row_losses
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.landscape import axis_change, middle_task, nearest_tokens

SMALL = ["--grid", "5", "--tasks", "3", "--points", "3"]


@pytest.fixture(scope="module")
def probed(done, tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("probed")
    shutil.copytree(done, tmp_path / "runs")
    run = Run(next((tmp_path / "runs").glob("ist-*")))
    task = run.config["parts"]["unseen"][
        0
    ]  # nobody scores above 0 in this world, so there is no middle one
    assert (
        cli.main(
            ["probe", run.folder.name, "--task", task, "--out", str(tmp_path / "runs"), *SMALL]
        )
        == 0
    )
    return (
        run,
        read_tensors(run.folder / "probe.safetensors")[0],
        read_json(run.folder / "probe.json"),
    )


def test_the_path_is_the_runs_own_and_the_plane_has_the_models_losses(probed):
    run, found, about = probed
    experiment = reopen_experiment(run.config, run.folder.parent)
    subspace = Subspace.load(run.folder.parent / run.config["msf_run"] / "subspace")
    unseen, name = list(experiment.split.unseen), about["task"]
    vector = read_tensors(run.folder / "vectors.safetensors")[0]["test"][unseen.index(name)]
    torch.testing.assert_close(found["landscape.end"], vector, rtol=0, atol=1e-4)
    torch.testing.assert_close(found["landscape.path"][-1], torch.zeros(2))
    (data,) = encode_tasks(experiment, [name], SAME_DATA_SEED)
    i, j = 1, 3  # a corner that is not on the diagonal: rows are `up`, columns `across`
    axes = found["landscape.axes"]
    code = vector + found["landscape.across"][j] * axes[0] + found["landscape.up"][i] * axes[1]
    with torch.no_grad():
        deltas, owner = subspace.decode(code[None]), [0] * len(data.dev)
        expected = row_losses(experiment.model, deltas, owner, list(data.dev), 0).mean()
    assert float(found["landscape.loss"][i, j]) == pytest.approx(float(expected), rel=1e-4)
    low, high = found["landscape.across"][[0, -1]]
    assert (
        low < found["landscape.path"][:, 0].min() and high > found["landscape.starts"][:, 0].max()
    )
    assert (found["curvature.error"] > 0).all() and found["curvature.error"].shape == (2,)


def test_transfer_and_the_way_between_tasks(probed):
    run, found, about = probed
    experiment = reopen_experiment(run.config, run.folder.parent)
    subspace = Subspace.load(run.folder.parent / run.config["msf_run"] / "subspace")
    vectors = read_tensors(run.folder / "vectors.safetensors")[0]
    codes = dict(zip(experiment.split.seen, vectors["train_same"], strict=True))
    codes |= dict(zip(experiment.split.unseen, vectors["test"], strict=True))
    first, second = about["transfer"][:2]
    data = encode_tasks(experiment, [second], SAME_DATA_SEED)
    deltas = subspace.decode(codes[first][None])
    (score,) = score_deltas(experiment.model, deltas, data, "dev", rank=False)
    assert float(found["transfer.scores"][0, 1]) == pytest.approx(score.generated)
    assert about["between"][0] == [about["task"], about["nearest"][0]] and found[
        "between.scores"
    ].shape == (2, 2, 3)
    data = encode_tasks(experiment, [about["task"]], 100)
    deltas = subspace.decode(codes[about["nearest"][0]][None])
    (end,) = score_deltas(experiment.model, deltas, data, "dev", rank=False)
    assert float(found["between.scores"][0, 0, -1]) == pytest.approx(
        end.generated
    )  # the probed task at the other's code


def test_words_and_axes_of_a_planted_subspace(world, done):
    run = Run(next(done.glob("ist-*")))
    experiment = reopen_experiment(run.config, done)
    table = experiment.backbone.model.get_input_embeddings().weight.detach()
    prompts = torch.stack([table[[7, 8, 9]], table[[9, 8, 7]], table[[7, 9, 8]]])
    subspace = Subspace.pca(prompts.flatten(1), 2)
    code = subspace.encode(prompts[:1].flatten(1))[0]
    names = experiment.backbone.tokenizer.convert_ids_to_tokens([7, 8, 9])
    assert [row[0] for row in nearest_tokens(experiment, subspace, code)] == [
        (name, pytest.approx(1.0, abs=1e-3)) for name in names
    ]
    width = experiment.backbone.hidden_size
    still = Subspace(2 * width, 1, 0)
    weight, bias = torch.zeros(2, width), torch.zeros(2, width)
    weight[0, :2] = torch.tensor([3.0, 4.0])
    bias[0, 2], bias[1, 1] = 10.0, 2.0
    still.delta_decoder.first.weight.data = weight.view(-1, 1)
    still.delta_decoder.first.bias.data = bias.flatten()
    model = replace(experiment.model, tuner=SoftPrompt(prompt_length=2))
    of_two = replace(experiment, model=model)
    change = axis_change(of_two, still, torch.zeros(1), torch.tensor([2.0]))
    # 2 x 5 over a length of 10; the second vector stays.
    assert change.tolist() == [[pytest.approx(1.0), 0.0]]


def test_the_middle_task_and_mistakes(done, tmp_path, capsys):
    scores = {"a": 0.1, "b": 0.4, "c": 0.9}
    split = TaskSplit("made", ("s",), ("a", "b", "c"))
    result = RunResult(
        kind="ist",
        dim=2,
        compresses=True,
        tasks={},
        split=split,
        reference={100: {name: TaskScore(0.5) for name in scores}},
        floor={},
        scores={"test": {name: TaskScore(value) for name, value in scores.items()}},
    )
    assert middle_task(result) == "b" and middle_task(replace(result, scores={})) == "s"
    run = next(done.glob("ist-*")).name
    for more, says in (
        ([run, "--task", "nobody"], "is not one of the run's"),
        ([next(done.glob("msf-*")).name], "no complete run of ipt ist"),
    ):
        assert cli.main(["probe", *more, "--out", str(done)]) == 2
        assert says in capsys.readouterr().err
    assert (
        cli.main(["probe", run, "--out", str(done), "--grid", "0"]) == 2
        and "--grid must be above 0" in capsys.readouterr().err
    )
