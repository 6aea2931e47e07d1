"""The bench compares like with like: PEFT's loop ends where ours does, costs are counted, every line is there."""

import json

import pytest
import torch
from conftest import source
from test_families import make

from ipt.analysis.summaries import bench_table
from ipt.bank import vocabulary_start
from ipt.benchmarks.search_cost import Lap, Meter, compare
from ipt.benchmarks.speed import PeftTuning, Recorded, kept_bytes, median_times, report
from ipt.checkpoint import Checkpoint
from ipt.cli import app as cli
from ipt.config import TuneConfig
from ipt.encoded import EncodedTask
from ipt.training.loop import fit, row_losses
from ipt.training.source import Free
from ipt.training.sweep import stack


@pytest.mark.parametrize("name", ["bart", "gpt2"])
def test_pefts_loop_ends_where_ours_does(name, tasks):
    backbone = make(name)
    data = [EncodedTask.draw(backbone, tasks[3], 100, shots=6)]  # answers of one length: PEFT's mean over tokens is the mean over rows
    config = TuneConfig(steps=6, rows_per_step=1, eval_every=6, clip=0.5)
    start = vocabulary_start(backbone, 3, 1)
    jobs = stack(data, (0.3,), config, 5)
    ours = Free(start, 1)
    fit(backbone, ours, jobs, config, Checkpoint.none())
    peft = PeftTuning(backbone, start, config)
    assert torch.allclose(peft.tune(jobs[0], 6), ours.values[0], atol=1e-6)
    assert not torch.allclose(peft.tune(jobs[0], 5), ours.values[0], atol=1e-3)  # control: a step makes a difference


def test_actions_take_turns_and_the_first_turn_does_not_count():
    turns = []
    times = median_times({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 3, torch.device("cpu"))
    assert turns == ["a", "b"] * 4 and set(times) == {"a", "b"} and min(times.values()) > 0


def test_the_floor_keeps_products_and_leaves_out_the_rest():
    left = torch.ones(3, 3)
    with Recorded() as recorded:
        _ = (left @ left).relu() + left.softmax(0)
    assert sorted(str(call[0]) for call in recorded.calls) == ["aten._softmax.default", "aten.mm.default"]
    recorded.replay()


def test_kept_activations_grow_with_the_rows(backbone, tasks):
    rows = EncodedTask.draw(backbone, tasks[3], 100).train[:2]
    start = vocabulary_start(backbone, 3, 1)
    one, four = (kept_bytes(backbone, start, list(rows[:1]) * count) for count in (1, 4))
    assert four == pytest.approx(4 * one, rel=0.1)


def test_the_race_counts_rows_and_finds_the_crossing(backbone, tasks):
    rows = EncodedTask.draw(backbone, tasks[3], 100).train[:3]
    prompts = vocabulary_start(backbone, 3, 1).expand(1, -1, -1).clone().requires_grad_()
    meter = Meter(backward=2.0)
    with meter.on(backbone):
        row_losses(backbone, prompts, [0, 0, 0], rows, 0)
        assert meter.rows == 3
        backbone.losses(prompts, rows[:1]).sum().backward()
    assert meter.rows == 3 + 3
    backbone.losses(prompts, rows[:1])
    assert meter.rows == 6, "outside nothing is counted"
    slow, fast = Lap("Adam 0.5 from the mean", Meter(2), 1), Lap("Adam 0.1 from the best seen code", Meter(2), 1)
    for lap, points in ((slow, [(100, 2.0), (200, 1.0)]), (fast, [(50, 1.5), (80, 0.9)])):
        for rows_so_far, loss in points:
            lap.meter.rows = rows_so_far
            lap.note("task", loss)
    lines = compare([slow, fast], 2.0)
    assert [line.ratio for line in lines] == [1.0, 200 / 80]
    never = Lap("CMA-ES from the mean", Meter(2), 1)
    never.note("task", 3.0)
    line = compare([slow, never], 2.0)[1]
    assert report(backbone, [line])["values"][0]["ours"] is None and bench_table(report(backbone, [line])).rows[0][1] == "-"


def words(world, *more):
    flags = {name: value for name, value in source(world).items() if name in ("--tasks", "--model")}
    sizes = {"--jobs": 2, "--steps": 1, "--repeats": 1, "--trained-jobs": 2, "--train-steps": 2, "--jobs-grown": 2}
    return ["bench", *(str(w) for pair in (flags | sizes).items() for w in pair), *more]


def test_the_command_prints_and_writes_what_it_measured(world, tmp_path, capsys):
    assert cli.main(words(world, "--file", str(tmp_path / "bench.json"))) == 0
    record = json.loads((tmp_path / "bench.json").read_text())
    lines = " ".join(row[0] for row in bench_table(record).rows)
    for part in ("prompt tuning, 2 tasks", "final dev loss", "one step, J = 2", "state of J", "ipt --help", "whole study"):
        assert part in lines
    assert record["threads"] == torch.get_num_threads() and all(v["ours"] > 0 for v in record["values"])


def test_the_race_runs_on_a_finished_run(world, done, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ipt.benchmarks.search_cost.STEPS", 4)
    monkeypatch.setattr("ipt.benchmarks.search_cost.EVERY", 2)
    monkeypatch.setattr("ipt.benchmarks.search_cost.GENERATIONS", 5)
    run = next(done.glob("msf-*")).name
    assert cli.main(words(world, "--race", run, "--out", str(done), "--file", str(tmp_path / "race.json"))) == 0
    names = [value["what"].split(": ")[1] for value in json.loads((tmp_path / "race.json").read_text())["values"]]
    ways = ["Adam 0.1 from the best seen code", "Adam 0.2 from the eight best seen codes, halved"]
    more = ["a mixture of the best seen prompts", "random directions of all weights", "LoRA of rank 1 on one projection"]
    assert names[-7:] == [*ways, "Levenberg-Marquardt from the best seen code", "CMA-ES from the mean", *more]
    assert cli.main(words(world, "--race", next(done.glob("ist-*")).name, "--out", str(done))) == 2
    assert "--race needs a complete run of ipt msf" in capsys.readouterr().err
