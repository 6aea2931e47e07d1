"""The bench compares like with like: PEFT's loop ends where ours does, costs are counted, every line is there."""

import json
import math

import pytest
import torch
from conftest import source
from soft_prompts import model_of
from test_families import make

from ipt.analysis.summaries import bench_table
from ipt.benchmarks.search_cost import (
    Contender,
    CostCurve,
    CurveCheckpoint,
    ForwardCounter,
    SearchOutcome,
    SearchResult,
    compare_costs,
    contenders,
)
from ipt.benchmarks.speed import (
    OperationRecorder,
    PeftTuning,
    activation_bytes,
    median_times,
    report,
)
from ipt.cli import app as cli
from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.training.loop import fit, row_losses
from ipt.training.source import Free
from ipt.training.sweep import Sweep


@pytest.mark.parametrize("name", ["bart", "gpt2"])
def test_pefts_loop_ends_where_ours_does(name, tasks):
    backbone = make(name)
    data = [
        EncodedTask.draw(backbone, tasks[3], 100, shots=6)
    ]  # answers of one length: PEFT's mean over tokens is the mean over rows
    config = TuneConfig(steps=6, rows_per_step=1, eval_every=6, clip=0.5)
    model = model_of(backbone, 3)
    start = model.initialize(1)
    jobs = Sweep(data, (0.3,), 5).jobs(config)
    ours = Free(start, 1)
    fit(model, ours, jobs, config)
    peft = PeftTuning(model, start, config)
    expected = ours.values[0].view(3, -1)
    assert torch.allclose(peft.tune(jobs[0], 6), expected, atol=1e-6)
    # Control: a step makes a difference.
    assert not torch.allclose(peft.tune(jobs[0], 5), expected, atol=1e-3)


def test_actions_take_turns_and_the_first_turn_does_not_count():
    turns = []
    times = median_times(
        {"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 3, torch.device("cpu")
    )
    assert turns == ["a", "b"] * 4 and set(times) == {"a", "b"} and min(times.values()) > 0


def test_the_floor_keeps_products_and_leaves_out_the_rest():
    left = torch.ones(3, 3)
    with OperationRecorder() as recorded:
        _ = (left @ left).relu() + left.softmax(0)
    assert sorted(str(call.function) for call in recorded.calls) == [
        "aten._softmax.default",
        "aten.mm.default",
    ]
    recorded.replay()


def test_saved_activations_grow_with_the_rows(backbone, tasks):
    rows = EncodedTask.draw(backbone, tasks[3], 100).train[:2]
    model = model_of(backbone, 3)
    start = model.initialize(1)
    one, four = (activation_bytes(model, start, list(rows[:1]) * count) for count in (1, 4))
    assert four == pytest.approx(4 * one, rel=0.1)


@pytest.mark.parametrize("name", ["t5", "gpt2"])
def test_rows_that_pass_the_model_are_counted(name, tasks):
    backbone = make(name)
    rows = EncodedTask.draw(backbone, tasks[3], 100).train[:3]
    model = model_of(backbone, 3)
    deltas = model.initialize(1)[None].clone().requires_grad_()
    owner = torch.zeros(3, dtype=torch.long)
    counter = ForwardCounter(backward_cost=2.0)
    with counter.attached(backbone.model):
        row_losses(model, deltas, [0, 0, 0], rows, 0)
        assert counter.forward_equivalents == 3
        model.losses(deltas, owner[:1], rows[:1]).sum().backward()
        assert counter.forward_equivalents == 3 + 3
        with torch.no_grad():
            model.predict(deltas, owner, rows, 4)
    assert counter.forward_equivalents == 6, "scoring a test set is no part of a search"
    model.losses(deltas, owner[:1], rows[:1])
    assert counter.forward_equivalents == 6, "outside nothing is counted"


def finished(name, points, is_reference=False):
    """Return what a contender ended with on one task; points: cost and dev loss of each."""
    curve = CostCurve(ForwardCounter(2.0), 1)
    for cost, loss in points:
        curve.counter.forward_equivalents = cost
        curve.record("task", loss)
    contender = Contender(name, lambda problem, curve: SearchOutcome(0.5, 5), is_reference)
    return SearchResult(contender, curve, SearchOutcome(0.5, 5))


def test_costs_are_compared_at_the_best_references_final_dev_loss(backbone):
    slow = finished("Adam 0.5 from the mean", [(100, 2.0), (200, 1.0)], is_reference=True)
    worse = finished("Adam 0.1 from the mean", [(10, 1.1)], is_reference=True)
    fast = finished("Adam 0.1 from the best seen code", [(50, 1.5), (80, 0.9)])
    never = finished("CMA-ES from the mean", [(10, 3.0)])
    lines = compare_costs([slow, worse, fast, never])
    assert [line.ratio for line in lines] == [1.0, None, 200 / 80, None]
    assert {line.against for line in lines} == {"Adam 0.5 from the mean"}
    record = report(backbone, [lines[3]])
    assert record["values"][0]["ours"] is None and bench_table(record).rows[0][1] == "-"


def test_of_a_tasks_trials_the_best_counts_once_each_task_has_one(backbone, tasks):
    data = [EncodedTask.draw(backbone, task, 100, shots=6) for task in tasks[:2]]
    jobs = Sweep(data, (0.1, 0.2), 5).jobs(TuneConfig())
    assert [job.task for job in jobs] == ["first", "first", "second", "second"]
    curve = CostCurve(ForwardCounter(2.0), task_count=2)
    checkpoint = CurveCheckpoint(curve, jobs)
    for cost, job, loss in ((2, 0, 3.0), (4, 2, 2.0), (6, 1, 1.0), (8, 0, 5.0)):
        curve.counter.forward_equivalents = cost
        checkpoint.log(job=jobs[job].name, step=1, dev_loss=loss)
    assert curve.points == [(2, 2.5), (3, 1.5), (4, 1.5)]
    assert curve.cost_to(2.5) == 2 and curve.cost_to(1.5) == 3 and curve.cost_to(1.4) == math.inf


def test_the_references_are_ist_as_published():
    names = [contender.name for contender in contenders() if contender.is_reference]
    assert names == [f"Adam {rate} from the mean" for rate in ("0.1", "0.2", "0.5", "1")]


def words(world, *more):
    flags = {name: value for name, value in source(world).items() if name in ("--tasks", "--model")}
    sizes = {
        "--jobs": 2,
        "--steps": 1,
        "--repeats": 1,
        "--trained-jobs": 2,
        "--train-steps": 2,
        "--jobs-grown": 2,
    }
    return ["bench", *(str(w) for pair in (flags | sizes).items() for w in pair), *more]


def test_the_command_prints_and_writes_what_it_measured(world, tmp_path, capsys):
    assert cli.main(words(world, "--file", str(tmp_path / "bench.json"))) == 0
    record = json.loads((tmp_path / "bench.json").read_text())
    lines = " ".join(row[0] for row in bench_table(record).rows)
    for part in (
        "prompt tuning, 2 tasks",
        "final dev loss",
        "one step, J = 2",
        "state of J",
        "ipt --help",
        "whole study",
    ):
        assert part in lines
    assert record["threads"] == torch.get_num_threads() and all(
        v["ours"] > 0 for v in record["values"]
    )


def test_the_race_runs_on_a_finished_run(world, done, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ipt.benchmarks.search_cost.STEPS", 4)
    monkeypatch.setattr("ipt.benchmarks.search_cost.EVAL_EVERY", 2)
    monkeypatch.setattr("ipt.benchmarks.search_cost.GENERATIONS", 5)
    run = next(done.glob("msf-*")).name
    assert (
        cli.main(
            words(
                world,
                "--search-cost",
                run,
                "--out",
                str(done),
                "--file",
                str(tmp_path / "race.json"),
            )
        )
        == 0
    )
    names = [
        value["what"].split(": ")[1]
        for value in json.loads((tmp_path / "race.json").read_text())["values"]
    ]
    ways = ["Adam 0.1 from the best seen code", "Adam 0.2 from the eight best seen codes, halved"]
    more = [
        "a mixture of the best seen prompts",
        "random directions of all weights",
        "LoRA of rank 1 on one projection",
    ]
    assert names[-7:] == [
        *ways,
        "Levenberg-Marquardt from the best seen code",
        "CMA-ES from the mean",
        *more,
    ]
    assert (
        cli.main(words(world, "--search-cost", next(done.glob("ist-*")).name, "--out", str(done)))
        == 2
    )
    assert "--search-cost needs a complete run of ipt msf" in capsys.readouterr().err
