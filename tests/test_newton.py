"""Second-order fitting: its gradient and curvature against autograd, stacked against separate, and against Adam."""

import dataclasses

import pytest
import torch
from soft_prompts import answer_logits, fit_vectors, linearize
from test_families import make
from torch.nn.attention import SDPBackend, sdpa_kernel

from ipt.backbones.base import answer_nll
from ipt.checkpoint import Checkpoint
from ipt.config import LevenbergMarquardtConfig
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Subspace
from ipt.training.loop import Job
from ipt.training.source import Decoded

CONFIG = LevenbergMarquardtConfig(iterations=4, shift=1e-4, token_budget=300, tolerance=0)


@pytest.fixture
def backbone():
    return make(
        "gpt2"
    )  # float64 throughout; T5's norms are taken in float32, which differences would magnify


@pytest.fixture
def subspace():
    torch.manual_seed(3)
    return Subspace(3 * 16, 2, 8, "msf", "toy", "toy", 0).double()


@pytest.fixture
def jobs(backbone, tasks):
    data = [EncodedTask.draw(backbone, task, 100, shots=4 + i) for i, task in enumerate(tasks)]
    return [
        Job(
            d.task.name,
            (tuple((i, row) for row in d.train),),
            tuple((i, row) for row in d.dev),
            0,
            0,
            0,
        )
        for i, d in enumerate(data)
    ]


def values(count):
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_gradient_and_curvature_are_those_of_autograd(backbone, subspace, jobs):
    start = values(len(jobs))
    losses, gradient, curvature = linearize(
        backbone,
        Decoded(start, subspace.decode),
        start,
        jobs,
        dataclasses.replace(CONFIG, shift=1e-6),
    )
    for j, job in enumerate(jobs):
        rows = [row for _, row in job.groups[0]]

        def logits_of(z, rows=rows):
            prompt = subspace.decode(z[None]).view(1, 3, 16)
            return answer_logits(backbone, prompt.expand(len(rows), -1, -1), rows)

        _, labels = logits_of(start[j])
        kept = labels >= 0
        weight = kept.double() / (kept.sum(1, keepdim=True) * len(rows))
        z = start[j].clone().requires_grad_()
        loss = (answer_nll(*logits_of(z)) / kept.sum(1)).mean()
        (exact,) = torch.autograd.grad(loss, z)
        with sdpa_kernel(SDPBackend.MATH):  # the one with forward derivatives
            slopes = torch.func.jacfwd(lambda z, rows=rows: logits_of(z, rows)[0])(
                start[j]
            )  # [B, T, V, d]
        p = logits_of(start[j])[0].softmax(-1)
        spread = torch.diag_embed(p) - p[..., None] * p[..., None, :]
        whole = torch.einsum("btvi,btvw,btwj,bt->ij", slopes, spread, slopes, weight)
        assert float(losses[j]) == pytest.approx(float(loss))
        assert torch.allclose(gradient[j], exact, rtol=1e-3, atol=1e-6)
        assert torch.allclose(curvature[j], whole, rtol=1e-3, atol=1e-6)


def run(backbone, subspace, jobs, config=CONFIG, checkpoint=None, start=None):
    codes = Decoded(values(len(jobs)) if start is None else start, subspace.decode)
    return codes.values.data, fit_vectors(
        backbone, codes, jobs, config, checkpoint or Checkpoint.none()
    )


def test_stacked_searches_equal_separate_ones(backbone, subspace, jobs):
    stacked, outcomes = run(backbone, subspace, jobs, dataclasses.replace(CONFIG, stacked_jobs=3))
    for j, job in enumerate(jobs):
        moved = dataclasses.replace(
            job,
            groups=tuple(tuple((0, r) for _, r in g) for g in job.groups),
            dev=tuple((0, r) for _, r in job.dev),
        )
        alone, (outcome,) = run(backbone, subspace, [moved], start=values(len(jobs))[j : j + 1])
        assert (
            torch.allclose(stacked[j], alone[0], rtol=0, atol=1e-8)
            and outcome.steps == outcomes[j].steps
        )
    assert not torch.allclose(stacked, values(len(jobs)))  # control: something moved


def test_a_killed_search_resumes_to_the_same_result(backbone, subspace, jobs, tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    whole, _ = run(backbone, subspace, jobs, checkpoint=Checkpoint(tmp_path / "a", "newton", 0))

    def kill(done, total, loss):
        if done >= 2 * len(jobs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_vectors(
            backbone,
            Decoded(values(len(jobs)), subspace.decode),
            jobs,
            CONFIG,
            Checkpoint(tmp_path / "b", "newton", 0),
            kill,
        )
    again, _ = run(backbone, subspace, jobs, checkpoint=Checkpoint(tmp_path / "b", "newton", 0))
    assert torch.equal(again, whole)
    assert (tmp_path / "a" / "metrics-newton.jsonl").read_bytes() == (
        tmp_path / "b" / "metrics-newton.jsonl"
    ).read_bytes()


def test_the_train_loss_falls_(backbone, subspace, jobs):
    start = values(len(jobs))
    free, _ = run(backbone, subspace, jobs, dataclasses.replace(CONFIG, prior=0.0, patience=99))
    before, after = (
        linearize(backbone, Decoded(z, subspace.decode), z, jobs, CONFIG)[0] for z in (start, free)
    )
    assert (after <= before + 1e-9).all() and (after < before - 1e-3).any()
