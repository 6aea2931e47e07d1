"""How much work is ahead: jobs, rows, time and space by hand."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_plan import NAMES, SPLIT, TASKS, experiment, msf_run

from ipt import resolve as plan
from ipt.bank import vocabulary_start
from ipt.benchmarks.search_cost import SearchProblem
from ipt.config import BenchmarkConfig, IstConfig, MsfConfig, SourceConfig, TuneConfig, WorkConfig


@pytest.fixture
def chosen(monkeypatch):
    """Stand-ins for the model and the tasks."""
    monkeypatch.setattr(plan, "open_backbone", lambda *arguments: experiment().backbone)
    monkeypatch.setattr(plan, "choose", lambda *arguments: (SPLIT, TASKS, ()))


def test_which_tasks_each_part_finds_numbers_for():
    """Two seen tasks, two others."""
    assert plan.ist_jobs(SPLIT, ["same"]) == 2 and plan.ist_jobs(SPLIT, ["unseen"]) == 2
    bigger = replace(SPLIT, seen=("a", "b", "c"))
    assert plan.ist_jobs(bigger, ["same", "diff"]) == 6
    assert plan.ist_jobs(bigger, ["unseen", "random", "pca", "mixture"]) == 8
    assert plan.ist_jobs(bigger, []) == 0


def test_which_sets_the_parts_read():
    assert plan.sets_of(SPLIT, ["same", "unseen"]) == {100: ("second", "first", "last", "early"), 21: ()}
    assert plan.sets_of(SPLIT, ["diff"])[21] == ("second", "first")


def test_the_rows_of_the_work_by_hand():
    """4 tasks, 2 of them seen; at most 40 dev rows a task; answers: 3 times each task, twice more each seen one."""
    tune = TuneConfig(prompt_length=3, steps=50, eval_every=20, learning_rates=(0.1, 0.2), rows_per_step=4)
    made = experiment(tune=tune)
    answers = (4 * 3 + 2 * 2) * 100
    assert plan.amounts(made, {"tune": 5}, None, None) == (5 * 2 * 50 * 4, 5 * 2 * 3 * 40, answers)
    msf = MsfConfig(steps=250, rows_per_step=64, eval_every=100)
    assert plan.amounts(made, {"tune": 0, "msf": 2}, msf, None) == (2 * 250 * 64, 2 * 2 * 40 * 3, answers)
    both = plan.amounts(made, {"tune": 5, "msf": 1}, msf, None)
    assert both == (5 * 2 * 50 * 4 + 250 * 64, 5 * 2 * 3 * 40 + 1 * 2 * 40 * 3, answers)
    ist = IstConfig(start="mean", steps=80, eval_every=10, learning_rates=(0.2,), rows_per_step=4)
    assert plan.amounts(made, {"ist": 6}, None, ist) == (6 * 80 * 4, 6 * 8 * 40, answers)
    few = plan.amounts(experiment(tune=tune, limit=6), {"ist": 6}, None, ist)
    assert few[2] == (4 * 3 + 2 * 2) * 6
    assert plan.amounts(made, {"tune": 0, "ist": 0}, None, ist)[2] == 0


def test_starts_are_chosen_in_rounds_that_cost_dev_rows():
    """Round by round: all seen tasks' codes meet 1 row, then 20 codes 2 more, then 6 codes 6 more."""
    tried = {start: IstConfig(start=start, starts=1, learning_rates=(0.2,), rivals="all") for start in ("seen", "mean")}
    seen, mean = (plan.amounts(experiment(), {"ist": 3}, None, config) for config in tried.values())
    assert seen[1] - mean[1] == 3 * (2 * 1 + 20 * 2 + 6 * 6) and (seen[0], seen[2]) == (mean[0], mean[2])


def test_the_time_is_told_and_a_dry_run_stops(monkeypatch):
    monkeypatch.setattr(plan, "_rows_per_second", lambda made: (10.0, 20.0, 5.0))
    monkeypatch.setattr(plan, "amounts", lambda made, jobs, msf, ist: (6000, 2400, 1200))  # 600 + 120 + 240 s
    made = experiment()
    assert plan.projected(made, True, {"tune": 5}) is True and plan.projected(made, False, {"tune": 5}) is False
    told = "toy: 2 seen, 2 unseen tasks; at most 6,000 training rows, 2,400 dev rows and 1,200 generated answers: about 16 min on cpu"
    assert made.reporter == [told, told]


def test_space_for_twice_the_prompts_of_eight_banks_must_be_free(monkeypatch):
    """Four prompts of 3 vectors of 16 numbers of 4 bytes, eight times, and as much again."""
    monkeypatch.setattr(plan, "_rows_per_second", lambda made: (1e9, 1e9, 1e9))
    need, asked = 4 * 3 * 16 * 4 * 8 * 2, []

    def free(folder):
        asked.append(folder)
        return space

    monkeypatch.setattr(plan, "free_bytes", free)
    space = need
    assert plan.projected(experiment("here"), False, {"tune": 5}) is False
    space = need - 1
    with pytest.raises(ValueError, match="--out here needs about 0 MB free; make room or choose another folder"):
        plan.projected(experiment("here"), True, {"tune": 5})
    assert asked == [Path("here"), Path("here")]
    big = experiment("here", tune=TuneConfig(prompt_length=30_000))
    with pytest.raises(ValueError, match="needs about 123 MB free"):
        plan.projected(big, False, {"tune": 5})


def cell(parts=("unseen",), shots=6, **work):
    return (WorkConfig(tasks="here", **work), TuneConfig(prompt_length=3, shots=shots), MsfConfig(), IstConfig(), parts)


def test_the_sets_of_cells_are_drawn_once_each(chosen, monkeypatch):
    drawn = []
    monkeypatch.setattr(plan, "few_shot", lambda task, data_seed, shots: drawn.append((task.name, data_seed, shots)))
    plan.check_rows([cell(("diff",)), cell(("unseen",)), cell(("unseen",), 8)])
    expected = [(name, 100, 6) for name in NAMES] + [("first", 21, 6), ("second", 21, 6)]
    assert sorted(drawn[:6]) == sorted(expected)
    assert sorted(drawn[6:]) == sorted((name, 100, 8) for name in NAMES)  # nothing of the second cell is new


def test_the_tasks_of_a_cell_are_those_that_its_work_names(monkeypatch):
    asked = []

    def choose(*arguments):
        asked.append(arguments)
        return SPLIT, TASKS, ()

    monkeypatch.setattr(plan, "choose", choose)
    plan.check_rows([cell(seen=3, unseen=2, seed=8, as_published=True)])
    assert asked == [("here", 3, 2, 8, True)]


def test_a_task_with_too_few_rows_is_found_before_any_cell(chosen):
    with pytest.raises(ValueError, match="data seed 100 needs 500 train"):
        plan.check_rows([cell(shots=6), cell(shots=500)])
    plan.check_rows([cell(shots=6)])


def test_the_hours_of_cells_count_prompts_that_no_earlier_cell_tunes(chosen, monkeypatch, tmp_path):
    measured = []

    def rate(made):
        measured.append(made.backbone.name)
        return (2.0, 4.0, 8.0)

    monkeypatch.setattr(plan, "_rows_per_second", rate)
    counted = []

    def amounts(made, jobs, msf, ist):
        counted.append((jobs, msf is not None, ist is not None))
        return (7200, 0, 0) if msf else (0, 14400, 28800)  # one hour; one hour and one hour

    monkeypatch.setattr(plan, "amounts", amounts)
    cells = [cell(("diff",), out=tmp_path, device="cpu"), cell(("unseen",), out=tmp_path), cell(out=tmp_path, model="b")]
    assert plan.hours(cells) == [3.0, 3.0, 3.0]
    assert counted == [
        ({"tune": 4 + 2, "msf": 2}, True, False),
        ({"ist": 2}, False, True),
        ({"tune": 0, "msf": 2}, True, False),
        ({"ist": 2}, False, True),
        ({"tune": 0, "msf": 2}, True, False),
        ({"ist": 2}, False, True),
    ]
    assert len(measured) == 2  # once for a model


def test_the_speed_is_measured_on_as_many_rows_as_take_a_fifth_of_a_second(monkeypatch):
    timed = []
    cost = {"train": 0.01, "forward": 0.005, "generate": 0.02}  # seconds a row

    def seconds(made, action, count):
        timed.append((action, count))
        return cost[action] * count

    monkeypatch.setattr(plan, "_time", seconds)
    assert plan._rows_per_second(experiment()) == pytest.approx((100, 200, 50))
    assert timed == [("train", 4), ("train", 8), ("train", 20), ("forward", 20), ("generate", 20)]
    cost["train"] = 1e-5
    plan._rows_per_second(experiment())
    assert timed[-1] == ("generate", 128)
    cost["train"] = 1.0
    plan._rows_per_second(experiment())
    assert timed[-1] == ("generate", 8)


class Counted:
    """A model that counts what is asked of it."""

    generates = True

    def __init__(self):
        self.calls = []

    def losses(self, prompts, rows):
        self.calls.append(("losses", len(rows), prompts.shape, torch.is_grad_enabled()))
        return prompts.sum((1, 2))

    def generate(self, prompts, rows, tokens):
        self.calls.append(("generate", len(rows), tokens, torch.is_grad_enabled()))


def test_each_action_is_timed_alone(monkeypatch):
    clock = iter([10.0, 12.5] * 4)
    monkeypatch.setattr(plan.time, "monotonic", lambda: next(clock))
    calls = []
    for action in ("train", "forward", "generate"):
        made = SimpleNamespace(backbone=Counted(), start=torch.zeros(3, 16))
        assert plan._time(made, action, 5) == 2.5
        calls.append(made.backbone.calls)
    shape = torch.Size((5, 3, 16))
    assert calls == [[("losses", 5, shape, True)], [("losses", 5, shape, False)], [("generate", 5, 8, False)]]
    masked = SimpleNamespace(backbone=Counted(), start=torch.zeros(3, 16))
    masked.backbone.generates = False
    plan._time(masked, "generate", 5)
    assert masked.backbone.calls == []


def test_a_bench_measures_the_first_tasks_again_and_again(monkeypatch):
    opened, drawn, measured = [], [], []

    def open_backbone(*arguments):
        opened.append(arguments)
        return experiment().backbone

    def draw(backbone, task, data_seed, limit):
        drawn.append((task.name, data_seed, limit))
        return task.name

    def measure(backbone, start, data, config, reporter):
        measured.append((start, data, config))
        return ["measured"]

    monkeypatch.setattr(plan, "open_backbone", open_backbone)
    monkeypatch.setattr(plan, "tasks_of", lambda *arguments: opened.append(arguments) or tuple(TASKS.values()))
    monkeypatch.setattr(plan.EncodedTask, "draw", draw)
    monkeypatch.setattr(plan, "measure", measure)
    config = BenchmarkConfig(jobs=6)
    source = SourceConfig(tasks="here", model="t5", dtype="bfloat16", device="cpu", seed=8, as_published=True)
    backbone, found = plan.bench_parts(source, config)
    assert opened == [("t5", 10, "bfloat16", "cpu"), ("here", True)]
    assert backbone is experiment().backbone and found == ["measured"]
    assert drawn == [(name, 100, 1) for name in (*NAMES, *NAMES[:2])]
    (start, data, given) = measured[0]
    assert torch.equal(start, vocabulary_start(backbone, 10, 8)) and given is config
    assert data == [*NAMES, *NAMES[:2]]


class Raced:
    """A experiment that says which prompts and sets it was asked for."""

    split, seed = SPLIT, 7
    backbone = SimpleNamespace(device="cpu")

    def prompts(self, names, data_seed):
        return ("prompts", list(names), data_seed)

    def data(self, names, data_seed):
        return ("data", list(names), data_seed)


def test_a_race_is_on_the_first_unseen_tasks_of_its_run(monkeypatch, tmp_path):
    run = msf_run(tmp_path / "out", "mine", 100)
    opened, raced = [], []

    def reopen(*arguments):
        opened.append(arguments)
        return Raced()

    subspace = SimpleNamespace(to=lambda device: ("subspace", device))
    monkeypatch.setattr(plan, "reopen_experiment", reopen)
    monkeypatch.setattr(plan.Subspace, "load", lambda folder: subspace if folder == run.folder / "subspace" else None)
    monkeypatch.setattr(plan, "measure_search_cost", lambda problem, reporter: raced.append(problem) or ["raced"])
    source = SourceConfig(limit=6, device="cpu")
    for count, names in ((1, ["last"]), (5, ["last", "early"])):
        backbone, found = plan.bench_race(source, BenchmarkConfig(race="mine", race_tasks=count), tmp_path / "out")
        assert backbone is Raced.backbone and found == ["raced"]
        prompts, data = ("prompts", ["second", "first"], 100), ("data", names, 100)
        assert raced[-1] == SearchProblem(backbone, ("subspace", "cpu"), data, prompts, SPLIT.seen, 7)
    assert opened[0] == (run.config, tmp_path / "out", 6, "cpu")
