"""`--recipe paper`: the released code's loss, sampling, clipping, codes and starts, against formulas written out here."""

import json

import pytest
import torch
from conftest import ist_words, msf_words, toy_backbone
from soft_prompts import Free, answer_logits, backward, stack_jobs, vocabulary_start

from ipt.cli import app as cli
from ipt.cli.options import preset
from ipt.config import IstConfig, MsfConfig, TuneConfig
from ipt.encoded import EncodedTask
from ipt.methods.msf import _joint_job
from ipt.methods.subspace import Subspace
from ipt.provenance import to_record
from ipt.storage import read_tensors
from ipt.training.loop import take_rows


def test_summed_and_smoothed_loss_is_the_released_one(tasks):
    backbone = toy_backbone()
    data = [EncodedTask.draw(backbone, task, 100, shots=6, limit=1) for task in tasks[:2]]
    start, epsilon = vocabulary_start(backbone, 3, 1), 0.1
    jobs = stack_jobs(data, (0.1,), IstConfig(rows_per_step=5), 7)
    source = Free(start, len(jobs))
    losses = backward(
        backbone,
        source,
        jobs,
        [0] * len(jobs),
        IstConfig(rows_per_step=5, loss="sum", label_smoothing=epsilon),
    )
    expected = []
    for job in jobs:
        prompt, total = start.clone().requires_grad_(), torch.zeros(())
        for _, row in take_rows(job, 0):
            logits, labels = answer_logits(backbone, prompt.unsqueeze(0), [row])
            logp = logits[0].log_softmax(-1)
            nll, smooth = -logp.gather(1, labels[0].unsqueeze(1)).sum(), -logp.sum(-1).sum()
            total = (
                total + (1 - epsilon) * nll + epsilon / logits.shape[-1] * smooth
            )  # fairseq's label-smoothed loss, summed
        total.backward()
        expected.append(total.detach())
        gradient = source.values.grad[len(expected) - 1].view_as(prompt)
        torch.testing.assert_close(gradient, prompt.grad, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-9, atol=0)
    means = backward(backbone, source, jobs, [0] * len(jobs), IstConfig(rows_per_step=5))
    assert not torch.allclose(losses, means)  # control


def test_rows_are_drawn_uniformly_over_the_pool(tasks):
    backbone = toy_backbone()
    data = [
        EncodedTask.draw(backbone, task, 100, shots=shots, limit=1)
        for task, shots in zip(tasks[:2], (4, 12), strict=True)
    ]
    share = {}
    for sampling in ("rows", "tasks"):
        job = _joint_job("msf", data, MsfConfig(rows_per_step=8, sampling=sampling), 3)
        rows = [prompt for step in range(8) for prompt, _ in take_rows(job, step)]
        share[sampling] = rows.count(1) / len(rows)
    assert share == {"rows": 0.75, "tasks": 0.5}


def test_recipe_sets_what_the_command_line_does_not(world, tmp_path, capsys):
    assert cli.main(msf_words(world, tmp_path, "--recipe", "paper", "--clip", "0.3")) == 0
    assert capsys.readouterr().out.count("recipe paper, deviation: ") == 5
    (folder,) = tmp_path.glob("msf-*")
    kept = json.loads((folder / "config.json").read_text())["config"]["msf"]
    wanted = {k.replace("-", "_"): v for k, v in preset("paper")["msf"].items()} | {"clip": 0.3}
    assert {k: kept[k] for k in wanted} == wanted
    codes = read_tensors(folder / "codes.safetensors")[0]["codes"]
    assert (
        codes[:3].mean(0).abs().max() > 1e-3
        or (codes[:3].std(0, correction=0) - 1).abs().max() > 1e-2
    )  # the encoder's own
    assert cli.main(ist_words(tmp_path, "--recipe", "paper", "--learning-rates", "1e-9")) == 0
    (run,) = tmp_path.glob("ist-*")
    vectors = read_tensors(run / "vectors.safetensors")[0]["test"]
    assert (
        torch.allclose(vectors, vectors[:1]) and 0 < vectors.abs().max() < 0.1
    )  # N(0, 0.02), one draw for all tasks
    assert torch.isfinite(Subspace.load(folder / "subspace").decode(vectors)).all()


def test_the_recipe_of_adapters_is_a_linear_subspace_of_small_adapters(world, tmp_path, capsys):
    said = msf_words(world, tmp_path, "--recipe", "paper-adapter")
    for flag in ("--tuner", "--inner-width"):
        place = said.index(flag)
        del said[place : place + 2]
    assert cli.main(said) == 0
    assert capsys.readouterr().out.count("recipe paper-adapter, deviation: ") == 5
    (folder,) = tmp_path.glob("msf-*")
    config = json.loads((folder / "config.json").read_text())["config"]
    tuner = config["tune"]["tuner"]
    assert tuner["name"] == "adapter" and (tuner["width"], tuner["activation"]) == (16, "swish")
    assert config["msf"]["alpha"] == 0 and config["msf"]["inner_width"] == 0
    subspace = Subspace.load(folder / "subspace")
    moved = torch.tensor([[1.0], [2.0], [3.0]]) * torch.ones(1, subspace.dim)
    first, second, third = subspace.decode(moved)
    torch.testing.assert_close(third - second, second - first)  # linear


def test_an_unknown_recipe_is_named(world, tmp_path, capsys):
    assert cli.main(msf_words(world, tmp_path, "--recipe", "mine")) == 2
    assert "--recipe" in capsys.readouterr().err


def test_prompts_and_runs_of_before_the_recipe_are_found_again():
    older = {"loss", "label_smoothing", "codes"}
    assert not older & to_record(TuneConfig()).keys() and not older & to_record(MsfConfig()).keys()
    assert (
        to_record(MsfConfig(codes="own"))["codes"] == "own"
        and to_record(TuneConfig(loss="sum"))["loss"] == "sum"
    )


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_smoothing_is_a_share(value):
    with pytest.raises(ValueError, match="--label-smoothing must be in"):
        MsfConfig(label_smoothing=value)
