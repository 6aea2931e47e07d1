"""How much work is ahead: jobs, rows, time and space by hand."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from soft_prompts import vocabulary_start
from test_plan import BACKBONE, NAMES, SPLIT, TASKS, experiment, msf_run

from ipt import estimate
from ipt import resolve as plan
from ipt.bank import open_bank
from ipt.config import BenchmarkConfig, IstConfig, MsfConfig, SourceConfig, TuneConfig, WorkConfig
from ipt.estimate import (
    Estimate,
    Rates,
    Work,
    announce,
    conditions_work,
    ist_tasks,
    ist_work,
    msf_work,
    reference_work,
    scoring_work,
    tuning_work,
)
from ipt.experiment import Experiment
from ipt.methods.tuning import TunedDelta
from ipt.results import conditions_of_parts
from ipt.run import Run
from ipt.training.model import Model
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.ist import estimate_ist
from ipt.workflows.msf import estimate_msf
from ipt.workflows.study import CellConfig
from ipt.workflows.tuning import estimate_tuning


@pytest.fixture
def chosen(monkeypatch):
    """Stand-ins for the model and the tasks."""
    monkeypatch.setattr(plan, "open_backbone", lambda *arguments: BACKBONE)
    monkeypatch.setattr(plan, "select_tasks", lambda *arguments: (SPLIT, TASKS, ()))


def rates_are(monkeypatch, slow, fast=None):
    """Let the machine have these rates (of training, forward passes and answers)."""
    measured = []

    def measure_rates(made):
        measured.append(made)
        return Rates(*slow), Rates(*(fast or slow))

    monkeypatch.setattr(estimate, "measure_rates", measure_rates)
    monkeypatch.setattr(plan, "measure_rates", measure_rates)
    return measured


def test_which_tasks_each_part_finds_numbers_for():
    """Two seen tasks, two others."""
    assert ist_tasks(SPLIT, conditions_of_parts(["same"])) == 2
    assert ist_tasks(SPLIT, conditions_of_parts(["unseen"])) == 2
    bigger = replace(SPLIT, seen=("a", "b", "c"))
    assert ist_tasks(bigger, conditions_of_parts(["same", "diff"])) == 6
    parts = ["unseen", "random", "pca", "mixture"]
    assert ist_tasks(bigger, conditions_of_parts(parts)) == 8
    assert ist_tasks(bigger, []) == 0


def test_which_sets_the_parts_read():
    every = {100: ("second", "first", "last", "early"), 21: ()}
    assert plan.tasks_read(SPLIT, conditions_of_parts(["same", "unseen"])) == every
    assert plan.tasks_read(SPLIT, conditions_of_parts(["diff"]))[21] == ("second", "first")


# 4 tasks, 2 of them seen; at most 40 dev rows a task.
TUNE = TuneConfig(steps=50, eval_every=20, learning_rates=(0.1, 0.2), rows_per_step=4)
MSF = MsfConfig(steps=250, rows_per_step=64, eval_every=100)
IST = IstConfig(start="mean", steps=80, eval_every=10, learning_rates=(0.2,), rows_per_step=4)
# Three times each task, twice more each seen one.
ANSWERS = (4 * 3 + 2 * 2) * 100


def test_the_rows_of_the_work_by_hand():
    assert tuning_work(TUNE, 5) == Work(5 * 2 * 50 * 4, 5 * 2 * 3 * 40, 0)
    assert msf_work(SPLIT, MSF) == Work(2 * 250 * 64, 2 * 2 * 40 * 3, 0)
    assert ist_work(SPLIT, IST, 6) == Work(6 * 80 * 4, 6 * 8 * 40, 0)
    assert scoring_work(SPLIT, 0) == Work(0, 0, ANSWERS)
    assert scoring_work(SPLIT, 6) == Work(0, 0, (4 * 3 + 2 * 2) * 6)
    assert tuning_work(TUNE, 0) == ist_work(SPLIT, IST, 0) == Work()
    assert Work(1, 2, 3) + Work(10, 20, 30) == Work(11, 22, 33)


def test_the_answers_of_a_cell_by_hand():
    """Two seen tasks, two others: a set for each task of a condition, three for a new delta."""
    conditions = conditions_of_parts(["diff", "unseen", "pca"])
    assert conditions_work(SPLIT, conditions, 0) == Work(answers=6 * 100)
    assert conditions_work(SPLIT, conditions, 6) == Work(answers=6 * 6)
    assert [condition.name for condition in plan.MSF_CONDITIONS] == [
        "train_msf", "test_msf", "shared", "mean_code",
    ]  # fmt: skip
    assert reference_work(4, 2, 0) == Work(answers=(4 * 3 + 2) * 100)
    assert reference_work(0, 0, 6) == Work()


def keep(made, names, data_seed=100):
    """Put deltas of these tasks into the bank."""
    bank = open_bank(made, data_seed)
    for name in names:
        bank.put(TASKS[name], TunedDelta(torch.zeros(48), 0.1, 1.0, 5))


def test_the_work_of_each_command_by_hand(monkeypatch, tmp_path):
    """What the bank has, and the conditions that a run has, are no work any more."""
    rates_are(monkeypatch, (1.0, 1.0, 1.0))
    made = experiment(tmp_path, tune=TUNE)
    a_task = Work(2 * 50 * 4, 2 * 3 * 40)
    assert estimate_tuning(made, [7, 8]).work == Work(8 * 400, 8 * 240, ANSWERS)
    keep(made, ["first", "last", "early"])
    assert estimate_tuning(made, [7]).work == a_task + Work(0, 0, ANSWERS)
    both = a_task + Work(2 * 250 * 64, 2 * 2 * 40 * 3, ANSWERS)
    assert estimate_msf(made, MSF).work == both
    keep(made, ["second"])
    assert estimate_tuning(made, [7]).work == Work()
    assert estimate_msf(made, MSF).work == Work(2 * 250 * 64, 2 * 2 * 40 * 3, ANSWERS)

    parts = conditions_of_parts(["same", "unseen", "random"])
    ist = Work(6 * 80 * 4, 6 * 8 * 40, ANSWERS)
    assert estimate_ist(made, IST, tmp_path / "ist", parts).work == ist
    few = experiment(tmp_path, tune=TUNE, limit=6)
    assert estimate_ist(few, IST, tmp_path / "ist", parts).work.answers == (4 * 3 + 2 * 2) * 6
    diff = conditions_of_parts(["diff"])
    other_data = a_task + a_task + Work(2 * 80 * 4, 2 * 8 * 40, ANSWERS)
    assert estimate_ist(made, IST, tmp_path / "ist", diff).work == other_data

    run = Run.open(tmp_path / "ist", {"kind": "ist", "split": "toy", "seed": 7})
    run.finish({"scores": {"train_same": {}, "random_test": {}}})
    assert estimate_ist(made, IST, run.folder, parts).work == Work(2 * 80 * 4, 2 * 8 * 40, ANSWERS)
    assert estimate_ist(made, IST, run.folder, conditions_of_parts(["same"])).work == Work()


def test_starts_are_chosen_in_rounds_that_cost_dev_rows():
    """All seen tasks' vectors meet 1 row, then 20 vectors 2 more, then 6 vectors 6 more."""
    works = []
    for start in ("seen", "mean"):
        config = IstConfig(start=start, starts=1, learning_rates=(0.2,), pruning="none")
        works.append(ist_work(SPLIT, config, 3))
    seen, mean = works
    assert seen.dev_rows - mean.dev_rows == 3 * (2 * 1 + 20 * 2 + 6 * 6)
    assert (seen.train_rows, seen.answers) == (mean.train_rows, mean.answers)


def test_the_time_is_a_range_from_the_fastest_to_the_slowest_turn(monkeypatch):
    rates_are(monkeypatch, (10.0, 20.0, 5.0), (20.0, 40.0, 10.0))
    cost = estimate.estimate(experiment(), Work(6000, 2400, 1200))
    assert cost.work == Work(6000, 2400, 1200)
    assert cost.low == pytest.approx(0.6 * (300 + 60 + 120))
    assert cost.high == pytest.approx(1.6 * (600 + 120 + 240))


def test_the_time_is_told(monkeypatch):
    cost = Estimate(Work(6000, 2400, 1200), low=0.6 * 960, high=1.6 * 960)
    made = experiment()
    monkeypatch.setattr("ipt.estimate.os.getloadavg", lambda: (0.0, 0.0, 0.0))
    announce(made, cost)
    what, time = made.reporter
    assert re.fullmatch(
        r"what   toy: 2 seen \+ 2 unseen tasks · \S+ \(0 M, frozen\) · cpu, \d+ threads? · "
        "default preset · seed 7",
        what,
    )
    assert time == (
        "time   about 10 to 26 min, measured just now · Ctrl-C is safe: the same command goes on"
    )
    assert replace(cost, low=100, high=110).minutes == "2"
    assert replace(cost, low=0, high=1).minutes == "1"  # not 0
    (line,) = cost.rows()
    assert line == (
        "in all: at most 6,000 training rows, 2,400 dev rows, 1,200 generated answers"
    )


def test_a_busy_machine_and_an_hour_of_work_are_said(monkeypatch):
    monkeypatch.setattr("ipt.estimate.os.cpu_count", lambda: 2)
    cost = Estimate(Work(), low=3000, high=4300)
    for load, high, begins in (
        (2.0, 4300, ["what", "time", "less"]),
        (2.1, 4300, ["what", "time", "busy", "less"]),
        (2.0, 4100, ["what", "time"]),
    ):
        monkeypatch.setattr("ipt.estimate.os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        made = experiment()
        announce(made, replace(cost, high=high), "quick", "ipt msf --limit 20")
        assert [line.split()[0] for line in made.reporter] == begins
        assert "quick preset" in made.reporter[0]


def test_the_work_of_each_stage_adds_up(monkeypatch, tmp_path):
    rates_are(monkeypatch, (10.0, 20.0, 5.0), (20.0, 40.0, 10.0))
    made = experiment(tmp_path, tune=TUNE)
    for cost, keys in (
        (estimate_tuning(made, [7]), ["tune", "scoring"]),
        (estimate_msf(made, MSF), ["tune", "msf", "shared", "scoring"]),
    ):
        assert [stage.key for stage in cost.stages] == keys
        total = Work()
        for stage in cost.works:
            total += stage.work
        assert total == cost.work and len(cost.rows()) == len(keys) + 1
        middle = sum(stage.seconds for stage in cost.stages)
        assert middle == pytest.approx((cost.low + cost.high) / 2)
    parts = conditions_of_parts(["diff", "unseen", "random"])
    cost = estimate_ist(made, IST, tmp_path / "ist", parts, 5)
    titles = [stage.title for stage in cost.stages]
    assert titles == [
        "5 numbers a task (IST)",
        "5 random directions",
        "prompt tuning, 2 tasks",
        "scoring what they are compared with",
    ]


def test_space_for_twice_the_prompts_of_eight_banks_must_be_free(monkeypatch):
    """Four prompts of 3 vectors of 16 numbers of 4 bytes, eight times, and as much again."""
    need, asked = 4 * 3 * 16 * 4 * 8 * 2, []
    cost = Estimate(Work(), 1, 1)

    def free(folder):
        asked.append(folder)
        return space

    monkeypatch.setattr(estimate, "free_bytes", free)
    space = need
    announce(experiment("here"), cost)
    space = need - 1
    says = "--out here needs about 0 MB free; make room or choose another folder"
    with pytest.raises(ValueError, match=says):
        announce(experiment("here"), cost)
    assert asked == [Path("here"), Path("here")]
    big = experiment("here", tuner=SoftPrompt(prompt_length=30_000))
    with pytest.raises(ValueError, match="needs about 123 MB free"):
        announce(big, cost)


def cell(parts=("unseen",), shots=6, **work):
    return CellConfig(
        WorkConfig(tasks="here", **work),
        TuneConfig(shots=shots),
        MsfConfig(),
        IstConfig(),
        parts,
    )


def test_the_sets_of_cells_are_drawn_once_each(chosen, monkeypatch):
    drawn = []

    def few_shot(task, data_seed, shots):
        drawn.append((task.name, data_seed, shots))

    monkeypatch.setattr(plan, "few_shot", few_shot)
    plan.require_rows([cell(("diff",)), cell(("unseen",)), cell(("unseen",), 8)])
    expected = [(name, 100, 6) for name in NAMES] + [("first", 21, 6), ("second", 21, 6)]
    assert sorted(drawn[:6]) == sorted(expected)
    # Nothing of the second cell is new.
    assert sorted(drawn[6:]) == sorted((name, 100, 8) for name in NAMES)


def test_the_tasks_of_a_cell_are_those_that_its_work_names(monkeypatch):
    asked = []

    def select_tasks(*arguments):
        asked.append(arguments)
        return SPLIT, TASKS, ()

    monkeypatch.setattr(plan, "select_tasks", select_tasks)
    plan.require_rows([cell(seen=3, unseen=2, seed=8, as_published=True)])
    assert asked == [("here", 3, 2, 8, True)]


def test_a_task_with_too_few_rows_is_found_before_any_cell(chosen):
    with pytest.raises(ValueError, match="data seed 100 needs 500 train"):
        plan.require_rows([cell(shots=6), cell(shots=500)])
    plan.require_rows([cell(shots=6)])


@pytest.fixture
def counted(monkeypatch):
    """Let MSF, IST and the scoring of a cell take an hour each; return what they are asked."""
    calls = []

    def tuning(config, tasks):
        calls.append(("tune", tasks))
        return Work()

    def msf(split, config):
        calls.append(("msf", split))
        return Work(train_rows=7200)

    def ist(split, config, tasks):
        calls.append(("ist", tasks))
        return Work(dev_rows=14_400)

    monkeypatch.setattr(plan, "tuning_work", tuning)
    monkeypatch.setattr(plan, "msf_work", msf)
    monkeypatch.setattr(plan, "ist_work", ist)
    def references(same, other, limit):
        calls.append(("references", same, other))
        return Work()

    monkeypatch.setattr(plan, "reference_work", references)
    monkeypatch.setattr(plan, "conditions_work", lambda split, found, limit: Work(answers=28_800))
    return calls


def test_the_hours_of_cells_count_prompts_that_no_earlier_cell_tunes(
    chosen, counted, monkeypatch, tmp_path
):
    measured = rates_are(monkeypatch, (1.0, 1.0, 1.0), (2.0, 4.0, 8.0))
    cells = [
        cell(("diff",), out=tmp_path, device="cpu"),
        cell(("unseen",), out=tmp_path),
        cell(out=tmp_path, model="b"),
    ]
    assert plan.cell_hours(cells) == [3.0, 3.0, 3.0]
    msf = ("msf", SPLIT)
    first = [("tune", 4 + 2), ("references", 4, 2), msf, ("ist", 2)]
    later = [("tune", 0), ("references", 0, 0), msf, ("ist", 2)]
    assert counted == first + later + later
    assert len(measured) == 2  # once for a model
    assert all(isinstance(made, Experiment) for made in measured)


def test_prompts_of_another_length_are_measured_and_tuned_anew(
    chosen, counted, monkeypatch, tmp_path
):
    measured = rates_are(monkeypatch, (2.0, 4.0, 8.0))
    short = cell(out=tmp_path, device="cpu", tuner="soft-prompt:prompt_length=3")
    plan.cell_hours([cell(out=tmp_path, device="cpu"), short, short])
    assert [call[1] for call in counted if call[0] == "tune"] == [4, 4, 0]
    assert [made.model.tuner.prompt_length for made in measured] == [10, 3]


class Clock:
    """Time passes by so many seconds a row, times the speed of the turn."""

    def __init__(self, monkeypatch, **cost):
        self.now, self.cost, self.timed, self.speeds = 0.0, cost, [], []
        monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: self.now))
        names = {"train": "train_batch", "forward": "read_batch", "generate": "answer_batch"}
        for action, name in names.items():
            monkeypatch.setattr(estimate, name, self.action(action))

    def action(self, name):
        def act(model, delta, count):
            assert torch.equal(delta, experiment().model.initialize(7))
            turn = max(0, sum(done == name for done, _ in self.timed) - 2 * (name == "train"))
            self.timed.append((name, count))
            factor = self.speeds[turn] if turn < len(self.speeds) else 1
            self.now += self.cost[name] * count * factor

        return act


def test_the_speed_is_measured_on_as_many_rows_as_take_a_fifth_of_a_second(monkeypatch):
    clock = Clock(monkeypatch, train=1 / 128, forward=1 / 256, generate=1 / 64)
    slow, fast = estimate.measure_rates(experiment())
    assert slow == fast == Rates(128, 256, 64)
    turn = [("train", 25), ("forward", 25), ("generate", 25)]  # 25 rows are 0.195 s
    assert clock.timed == [("train", 4), ("train", 8), *turn, *turn, *turn]
    clock.cost["train"] = 2**-17
    estimate.measure_rates(experiment())
    assert clock.timed[-1] == ("generate", 64)
    clock.cost["train"] = 1.0
    estimate.measure_rates(experiment())
    assert clock.timed[-1] == ("generate", 8)


def test_the_slowest_and_the_fastest_turn_are_told_apart(monkeypatch):
    clock = Clock(monkeypatch, train=1 / 128, forward=1 / 256, generate=1 / 64)
    clock.speeds = [1, 4, 2]
    slow, fast = estimate.measure_rates(experiment())
    assert slow == Rates(128 / 4, 256 / 4, 64 / 4)
    assert fast == Rates(128, 256, 64)


class Counted:
    """A model that counts what is asked of it."""

    device = torch.device("cpu")

    def __init__(self, generates=True):
        self.backbone = SimpleNamespace(generates=generates)
        self.head = SimpleNamespace(typical=lambda row: row)
        self.calls = []

    def losses(self, deltas, owner, rows):
        about = (tuple(deltas.shape), owner.tolist(), torch.is_grad_enabled())
        self.calls.append(("losses", len(rows), *about))
        return deltas[owner].sum(1)

    def predict(self, deltas, owner, rows, max_tokens):
        about = (tuple(deltas.shape), owner.tolist(), torch.is_grad_enabled())
        self.calls.append(("predict", len(rows), *about, max_tokens))


def test_each_action_is_timed_alone(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    done = []
    assert estimate._seconds(lambda: done.append(True)) == 2.5 and done == [True]


def test_an_action_trains_reads_or_answers_so_many_rows():
    delta = torch.zeros(48)
    train = ("losses", 5, (5, 48), [0, 1, 2, 3, 4], True)
    read = ("losses", 5, (1, 48), [0] * 5, False)
    answer = ("predict", 5, (1, 48), [0] * 5, False, 8)
    expected = {
        estimate.train_batch: train,
        estimate.read_batch: read,
        estimate.answer_batch: answer,
    }
    for action, call in expected.items():
        model = Counted()
        action(model, delta, 5)
        assert model.calls == [call]
    masked = Counted(generates=False)
    estimate.answer_batch(masked, delta, 5)
    assert masked.calls == [read]


def test_training_includes_the_backward_pass():
    passed = []

    class Backward(Counted):
        def losses(self, deltas, owner, rows):
            deltas.register_hook(lambda gradient: passed.append(tuple(gradient.shape)))
            return super().losses(deltas, owner, rows)

    estimate.train_batch(Backward(), torch.zeros(48), 5)
    assert passed == [(5, 48)]


def test_a_bench_measures_the_first_tasks_again_and_again(monkeypatch):
    opened, drawn = [], []

    def open_backbone(*arguments):
        opened.append(arguments)
        return BACKBONE

    def load_tasks(*arguments):
        opened.append(arguments)
        return tuple(TASKS.values())

    def draw(backbone, task, data_seed, limit):
        assert backbone is BACKBONE
        drawn.append((task.name, data_seed, limit))
        return task.name

    monkeypatch.setattr(plan, "open_backbone", open_backbone)
    monkeypatch.setattr(plan, "load_tasks", load_tasks)
    monkeypatch.setattr(plan.EncodedTask, "draw", draw)
    source = SourceConfig(
        tasks="here",
        model="t5",
        dtype="bfloat16",
        device="cpu",
        seed=8,
        as_published=True,
    )
    model, tasks = plan.open_speed_benchmark(source, BenchmarkConfig(jobs=6))
    assert opened == [("t5", 10, "bfloat16", "cpu"), ("here", True)]
    assert model == Model(BACKBONE, SoftPrompt(prompt_length=10))
    assert drawn == [(name, 100, 1) for name in (*NAMES, *NAMES[:2])]
    assert tasks == [*NAMES, *NAMES[:2]]
    start = vocabulary_start(BACKBONE, 10, 8)
    assert torch.equal(model.initialize(source.seed), start.flatten())


def test_search_costs_are_measured_on_the_first_unseen_tasks_of_their_run(monkeypatch, tmp_path):
    run = msf_run(tmp_path / "out", "mine", 100)
    opened = []
    head = SimpleNamespace(name="language-model")
    model = SimpleNamespace(device="cpu", head=head, has_head_numbers=False)
    made = SimpleNamespace(
        model=model,
        split=SPLIT,
        seen=list(SPLIT.seen),
        unseen=["last", "early"],
        seed=7,
    )

    def reopen(*arguments):
        opened.append(arguments)
        return made

    def load(folder):
        assert folder == run.folder / "subspace"
        return SimpleNamespace(to=lambda device: ("subspace", device))

    def encode(experiment, names, data_seed):
        assert experiment is made
        return ("tasks", names, data_seed)

    def tuned(experiment, names, data_seed):
        assert experiment is made
        return ("deltas", names, data_seed)

    monkeypatch.setattr(plan, "reopen_experiment", reopen)
    monkeypatch.setattr(plan.Subspace, "load", load)
    monkeypatch.setattr(plan, "encode_tasks", encode)
    monkeypatch.setattr(plan, "tuned_deltas", tuned)
    source = SourceConfig(limit=6, device="cpu")
    for count, names in ((1, ["last"]), (5, ["last", "early"])):
        config = BenchmarkConfig(search_cost="mine", search_cost_tasks=count)
        problem = plan.open_search_problem(source, config, tmp_path / "out")
        assert problem.model is model and problem.subspace == ("subspace", "cpu")
        assert problem.tasks == ("tasks", names, 100)
        assert problem.bank == ("deltas", ["second", "first"], 100)
        assert (problem.seen_tasks, problem.seed) == (SPLIT.seen, 7)
    assert opened[0] == (run.config, tmp_path / "out", 6, "cpu")
