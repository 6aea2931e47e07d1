"""The stacked loop: J stacked jobs are J separate ones, whatever is batched, stopped, refilled or resumed."""

import dataclasses

import pytest
import torch
from conftest import toy_backbone
from small_runs import job_lines
from soft_prompts import Free, all_prompts, fit, losses, tune_prompts, vocabulary_start
from test_families import MODELS, make
from transformers.models.mt5.modeling_mt5 import MT5LayerNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from ipt.checkpoint import Checkpoint
from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.training.loop import Job, take_rows
from ipt.training.model import Model
from ipt.training.optimizer import rate_factor

CONFIG = TuneConfig(
    steps=10, rows_per_step=4, eval_every=2, patience=1, clip=0.05, token_budget=400
)


def make_jobs(data):
    rates = (
        0.3,
        0.03,
        0.1,
    )  # much larger ones magnify rounding, by how much depends on the processor: 1e-6 at a rate of 1 with mt5
    return [
        Job(f"{t}|{r}", (tuple((3 * t + i, row) for row in d.train),), tuple((3 * t + i, row) for row in d.dev), r, 5 + i, 4)
        for t, d in enumerate(data) for i, r in enumerate(rates)
    ]  # fmt: skip


def run(backbone, jobs, config=CONFIG, checkpoint=None):
    source = Free(vocabulary_start(backbone, 3, 1), len(jobs))
    outcomes = fit(backbone, source, jobs, config, checkpoint or Checkpoint.none())
    return all_prompts(source, len(jobs), backbone.device), outcomes


@pytest.fixture
def data(backbone, tasks):
    return [EncodedTask.draw(backbone, task, 100, shots=5 + i) for i, task in enumerate(tasks[:3])]


def alone(job):
    return dataclasses.replace(
        job,
        groups=tuple(tuple((0, row) for _, row in group) for group in job.groups),
        dev=tuple((0, r) for _, r in job.dev),
    )


@pytest.fixture
def float64_norms(monkeypatch):
    """T5's norms take their mean in float32 whatever the model's type, which these large weights would magnify."""

    def forward(norm, x):
        return (
            norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
        )

    for kind in (T5LayerNorm, MT5LayerNorm):
        monkeypatch.setattr(kind, "forward", forward)


@pytest.mark.usefixtures("float64_norms")
@pytest.mark.parametrize("name", MODELS)
def test_stacked_trajectories_equal_separate_ones(name, tasks, tmp_path):
    """Clipping, schedule, early stops, refilled places, sets of several sizes, and a kill in the middle; every family."""
    backbone = make(name)
    jobs = make_jobs(
        [EncodedTask.draw(backbone, task, 100, shots=5 + i) for i, task in enumerate(tasks[1:])]
    )
    config = dataclasses.replace(CONFIG, stacked_jobs=4)

    def kill(done, total, loss):
        if done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            backbone,
            Free(vocabulary_start(backbone, 3, 1), len(jobs)),
            jobs,
            config,
            Checkpoint(tmp_path, "tune", 0),
            kill,
        )
    stacked, outcomes = run(backbone, jobs, config, Checkpoint(tmp_path, "tune", 0))
    for index, job in enumerate(jobs):
        separate, (outcome,) = run(backbone, [alone(job)])
        assert torch.allclose(stacked[index], separate[0], rtol=0, atol=1e-8)
        assert (
            outcome.steps == outcomes[index].steps
            and outcome.best_step == outcomes[index].best_step
        )
    assert len({o.steps for o in outcomes}) > 1  # control: some job did stop early
    assert not torch.allclose(stacked[0], stacked[1], atol=1e-4)  # control: jobs differ


def test_micro_batches_change_nothing(backbone, data):
    jobs = make_jobs(data)
    small, _ = run(backbone, jobs, dataclasses.replace(CONFIG, token_budget=60))
    large, _ = run(backbone, jobs, dataclasses.replace(CONFIG, token_budget=100_000))
    assert torch.allclose(small, large, rtol=0, atol=1e-9)


def test_rows_per_step_do_change_the_result(backbone, data):
    jobs = make_jobs(data)
    other, _ = run(backbone, [dataclasses.replace(job, rows_per_step=2) for job in jobs])
    same, _ = run(backbone, jobs)
    assert not torch.allclose(other, same, atol=1e-4)


def test_killed_run_resumes_to_the_same_result(backbone, data, tmp_path):
    jobs = make_jobs(data)
    whole, _ = run(
        backbone,
        jobs,
        checkpoint=Checkpoint(tmp_path / "a", "tune", 0)
        if (tmp_path / "a").mkdir() is None
        else None,
    )
    (tmp_path / "b").mkdir()

    class Killed(Exception):
        pass

    def kill(done, total, loss):
        if done >= 5 * len(jobs):
            raise Killed

    source = Free(vocabulary_start(backbone, 3, 1), len(jobs))
    with pytest.raises(Killed):
        fit(backbone, source, jobs, CONFIG, Checkpoint(tmp_path / "b", "tune", 0), kill)
    with (tmp_path / "b" / "metrics-tune.jsonl").open("a") as handle:
        handle.write('{"job": "written after the last checkpoint"}\n')
    resumed, _ = run(backbone, jobs, checkpoint=Checkpoint(tmp_path / "b", "tune", 0))
    assert torch.equal(resumed, whole)
    lines = [job_lines(tmp_path / folder / "metrics-tune.jsonl") for folder in "ab"]
    assert lines[0] == lines[1]


def test_backbone_is_frozen(backbone, data):
    before = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    run(backbone, make_jobs(data))
    assert all(torch.equal(before[k], v) for k, v in backbone.model.state_dict().items())
    assert not backbone.model.training


def test_float32_loss_and_gradient_agree_with_float64(data, tasks):
    gradients = []
    for dtype in (torch.float64, torch.float32):
        backbone = toy_backbone(dtype=dtype)
        prompt = vocabulary_start(backbone, 3, 1).expand(4, -1, -1).clone().requires_grad_()
        loss = losses(backbone, prompt, data[0].train[:4]).mean()
        loss.backward()
        gradients.append(prompt.grad.double())
    assert torch.allclose(
        gradients[0], gradients[1], rtol=1e-4, atol=1e-5 * gradients[0].abs().max()
    )


def test_rows_are_visited_once_per_pass():
    job = Job("j", (tuple((0, i) for i in range(7)),), (), 0.1, 3, 7)
    assert sorted(row for _, row in take_rows(job, 0)) == list(range(7))
    assert [r for _, r in take_rows(job, 0)] != [r for _, r in take_rows(job, 1)]
    groups = Job("g", (tuple((0, i) for i in range(50)), ((1, 99),)), (), 0.1, 3, 10)
    tasks_seen = [task for step in range(20) for task, _ in take_rows(groups, step)]
    assert (
        tasks_seen.count(0) == tasks_seen.count(1) == 100
    )  # uniform over groups, whatever their sizes


def test_rate_rises_then_falls_to_zero():
    factor = rate_factor(torch.arange(101), 100, 0.1)
    assert factor[9] == 1 and factor[0] == pytest.approx(0.1) and factor[100] == 0
    assert (factor[10:].diff() < 0).all()


def test_out_of_memory_halves_the_batches_and_changes_nothing(backbone, data, monkeypatch):
    jobs = make_jobs(data)
    whole, _ = run(backbone, jobs)
    losses, rows_at_once = Model.losses, []

    def small_device(model, deltas, owner, rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        rows_at_once.append(len(rows))
        return losses(model, deltas, owner, rows)

    monkeypatch.setattr(Model, "losses", small_device)
    with pytest.warns(UserWarning, match="out of memory: smaller batches") as told:
        halved, _ = run(backbone, jobs)
    assert (
        torch.allclose(halved, whole, rtol=0, atol=1e-8)
        and len(told) == 1
        and max(rows_at_once) in (2, 3)
    )

    def no_device(model, deltas, owner, rows):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Model, "losses", no_device)
    with pytest.raises(ValueError, match="one row of .* tokens does not fit"):
        run(backbone, jobs)


def test_trials_are_halved_at_each_dev_loss_and_never_parted(backbone, data, tmp_path):
    config = dataclasses.replace(CONFIG, steps=8, patience=9)
    rates = (0.3, 0.1, 0.03, 0.01, 0.001)
    plain = [
        Job(f"{t}|{r}", (tuple((5 * t + i, row) for row in d.train),), tuple((5 * t + i, row) for row in d.dev), r, 5, 4)
        for t, d in enumerate(data) for i, r in enumerate(rates)
    ]  # fmt: skip
    log = Checkpoint(tmp_path, "plain", 1e9)
    run(backbone, plain, config, log)
    curve: dict[str, list[float]] = {}
    for record in job_lines(tmp_path / "metrics-plain.jsonl"):
        curve.setdefault(record["job"], []).append(record["dev_loss"])
    expected = {}  # halving by hand, on what the jobs would do alone
    for t in range(len(data)):
        left = [f"{t}|{r}" for r in rates]
        for turn in range(4):
            expected |= {name: 2 * (turn + 1) for name in left}
            left = sorted(left, key=lambda name: min(curve[name][: turn + 1]))[
                : (len(left) + 1) // 2
            ]
    assert sorted(expected.values()) == sorted([2, 2, 4, 6, 8] * 3)
    trials = [dataclasses.replace(job, trial_group=job.name[0]) for job in plain]
    for places in (
        512,
        7,
        2,
    ):  # a race that does not fit waits; one that fits nowhere is taken whole
        _, outcomes = run(backbone, trials, dataclasses.replace(config, stacked_jobs=places))
        assert {
            job.name: outcome.steps for job, outcome in zip(trials, outcomes, strict=True)
        } == expected
        for job, outcome in zip(trials, outcomes, strict=True):
            assert outcome.dev_loss == pytest.approx(
                min(curve[job.name][: outcome.steps // 2]), abs=2e-6
            )


def test_float32_trajectories_end_within_seed_noise(tasks):
    """Adam makes whole steps of rounding noise, so float32 runs may part; where they end must not depend on the company."""
    backbone = toy_backbone(dtype=torch.float32)
    data = [EncodedTask.draw(backbone, task, 100, shots=6) for task in tasks[:3]]
    config = TuneConfig(steps=30, rows_per_step=4, eval_every=10, learning_rates=(0.1,))
    start = vocabulary_start(backbone, 3, 1)
    ends = lambda seed, part: [
        t.dev_loss for t in tune_prompts(backbone, part, config, seed, Checkpoint.none(), start)
    ]  # noqa: E731
    stacked, separate, other = ends(5, data), [ends(5, [d])[0] for d in data], ends(6, data)
    apart, noise = (
        max(abs(a - b) for a, b in zip(stacked, losses, strict=True))
        for losses in (separate, other)
    )
    assert apart <= noise / 3 and noise > 1e-3, (apart, noise)
