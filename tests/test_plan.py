"""From what was typed to what is done: which run is built on, what identifies a run, opening it again, and the work ahead."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import toy_backbone, toy_task
from test_peft_by_hand import numbers, peft_folder

from ipt import resolve as plan
from ipt.config import BenchmarkConfig, ChoiceConfig, SourceConfig, TuneConfig, WorkConfig
from ipt.data import TaskSplit
from ipt.distributed import Processes
from ipt.experiment import Experiment, GivenDeltas
from ipt.provenance import digest, settings_record, to_record
from ipt.run import Run
from ipt.storage import write_json
from ipt.training.model import Model
from ipt.tuners.soft_prompt import SoftPrompt

NAMES = ("first", "second", "last", "early")
SPLIT = TaskSplit("toy", ("second", "first"), ("last",), ("early",), ("last",))
TASKS = {name: toy_task(name, rows=240) for name in NAMES}
BACKBONE = toy_backbone(dtype=torch.float32)
THREE = SoftPrompt(prompt_length=3)
NOTHING = GivenDeltas()


class Said(list):
    """A reporter that keeps what was said."""

    info = list.append


def experiment(out="runs", tune=TuneConfig(), given=NOTHING, tuner=THREE, **work):
    """Return the toy experiment; work: of its own settings of the work."""
    plain = {"tasks": "folder", "model": "toy", "seed": 7, "out": Path(out)}
    return Experiment(
        model=Model(BACKBONE, tuner),
        split=SPLIT,
        tasks=TASKS,
        work=WorkConfig(**plain | work),
        tune=tune,
        given=given,
        reporter=Said(),
    )


def msf_run(out, name, when, result=True, **changes):
    """Write a run's folder with these settings, of MSF unless told otherwise; `when` it was completed."""
    config = {
        "kind": "msf",
        "split": "toy",
        "tasks": "folder",
        "model": "mini",
        "seed": 7,
        "msf": {"dim": 2},
    }
    run = Run.open(out / name, config | changes)
    if result:
        run.finish({})
        os.utime(run.folder / "result.json", (when, when))
    return run


def found(out, **choice):
    return plan.find_msf(ChoiceConfig(out=out, **({"dim": 2} | choice))).folder.name


def test_the_newest_of_equal_runs_is_built_on(tmp_path, capsys):
    for name, when in (("b", 100), ("c", 300), ("a", 200)):
        msf_run(tmp_path, name, when)
    assert found(tmp_path) == "c"
    assert "using the newest complete run: c" in capsys.readouterr().err


def test_a_run_is_chosen_by_each_of_its_settings(tmp_path):
    msf_run(tmp_path, "plain", 100)
    for number, (name, change) in enumerate(
        {
            "dim": {"msf": {"dim": 3}},
            "split": {"split": "other", "tasks": "b"},
            "source": {"tasks": "elsewhere"},
            "model": {"model": "t5"},
            "seed": {"seed": 0},
        }.items()
    ):
        msf_run(tmp_path, name, 200 + number, **change)
    assert found(tmp_path, dim=3) == "dim"
    assert found(tmp_path, tasks="other") == "split" == found(tmp_path, tasks="b")
    assert found(tmp_path, tasks="elsewhere") == "source"
    assert found(tmp_path, model="t5") == "model"
    assert found(tmp_path, seed=0) == "seed"
    assert found(tmp_path, run="plain") == "plain"
    with pytest.raises(ValueError) as error:
        found(tmp_path)
    assert str(error.value) == (
        f"{tmp_path} holds MSF runs of different settings with d = 2: plain, split, source, model, seed; "
        "choose with --tasks, --model, --seed or --run NAME"
    )


def test_two_runs_of_different_settings_are_enough_to_ask(tmp_path):
    msf_run(tmp_path, "plain", 100)
    assert found(tmp_path) == "plain"  # control
    msf_run(tmp_path, "seed", 200, seed=0)
    with pytest.raises(ValueError, match="different settings with d = 2: plain, seed; choose"):
        found(tmp_path)


def test_only_complete_runs_of_msf_are_built_on(tmp_path):
    msf_run(tmp_path, "unfinished", 0, result=False)
    msf_run(tmp_path, "ist", 100, kind="ist", ist={})
    for choice, words in (
        ({}, "--tasks random-100 --dim 2"),
        ({"tasks": "toy"}, "--tasks toy --dim 2"),
    ):
        with pytest.raises(ValueError) as error:
            found(tmp_path, **choice)
        assert (
            str(error.value)
            == f"{tmp_path} holds no complete MSF run with d = 2; run: ipt msf {words} --out {tmp_path}"
        )
    msf_run(tmp_path, "msf", 50)
    assert found(tmp_path) == "msf"
    with pytest.raises(ValueError, match="holds no complete MSF run"):
        found(tmp_path, run="ist")


def test_a_run_is_identified_by_all_that_its_result_depends_on():
    more = {"ist": {"rates": (0.1,)}, "msf_run": "mine"}
    settings = settings_record("ist", experiment(), more)
    assert settings == {
        "kind": "ist",
        "split": "toy",
        "tasks": "folder",
        "parts": {
            "seen": ["second", "first"],
            "unseen": ["last"],
            "out_of_kind": ["early"],
            "new_subcategories": ["last"],
        },
        "model": "toy",
        "dtype": "float32",
        "seed": 7,
        "limit": 0,
        "backbone": BACKBONE.fingerprint,
        "tune": json.loads(json.dumps(to_record(TuneConfig()))) | {"prompt_length": 3},
        "digests": {name: TASKS[name].digest for name in NAMES},
        "ist": {"rates": [0.1]},
        "msf_run": "mine",
    }


def test_what_older_runs_did_not_have_is_named_only_where_it_is_asked_for():
    given = GivenDeltas(("first",), "0123", {})
    more = {
        "as_published": (experiment(as_published=True), True),
        "held_out": (experiment(held_out="dev"), "dev"),
        "given": (experiment(given=given), {"names": ["first"], "digest": "0123"}),
    }
    plain = settings_record("msf", experiment(), {})
    for name, (changed, value) in more.items():
        assert name not in plain
        assert settings_record("msf", changed, {}) == plain | {name: value}


def test_a_runs_name_ends_with_eight_figures_of_the_hash_of_its_settings():
    text = '{"a": [1], "b": "x"}'
    assert digest({"b": "x", "a": [1]}) == hashlib.sha256(text.encode()).hexdigest()[:8]


@pytest.fixture
def opened(monkeypatch):
    """Stand-ins for what is read from disk; the list is what was asked of them."""
    asked = []

    def backbone(name, added_tokens, dtype, device, reads_states=False):
        assert not reads_states
        asked.append((name, added_tokens, dtype, device))
        return BACKBONE

    def load_tasks(source, as_published):
        asked.append((source, as_published))
        return tuple(TASKS.values())

    monkeypatch.setattr(plan, "open_backbone", backbone)
    monkeypatch.setattr(plan, "load_tasks", load_tasks)
    return asked


def settings(**changes):
    return settings_record("msf", experiment(**changes), {"msf": {"dim": 2}})


def test_a_run_opens_again_on_what_it_was_made_with(opened):
    tune = TuneConfig(loss="sum", learning_rates=(0.5,))
    given = GivenDeltas(("first",), "0123", {})
    first = experiment(tune=tune, limit=6, held_out="dev", as_published=True, given=given)
    kept = json.loads(json.dumps(settings_record("msf", first, {})))
    again = plan.reopen_experiment(kept, Path("elsewhere"), device="cpu")
    assert opened == [("folder", True), ("toy", 3, "float32", "cpu")]
    work = again.work
    assert (again.split, again.tasks, again.tune, work.tasks) == (SPLIT, TASKS, tune, "folder")
    assert (work.seed, work.limit, work.held_out, work.as_published) == (7, 6, "dev", True)
    assert (again.given, again.model) == (given, Model(BACKBONE, THREE))
    assert (work.out, again.processes) == (Path("elsewhere"), Processes(device="cpu"))
    assert (work.model, work.dtype, work.device) == ("toy", "float32", "cpu")
    assert settings_record("msf", again, {}) == kept


def test_what_older_settings_do_not_name_is_as_it_was_and_a_look_may_be_shorter(opened):
    again = plan.reopen_experiment(settings(), Path("runs"))
    work = again.work
    assert (work.held_out, work.as_published, work.limit) == ("test", False, 0)
    assert again.given == GivenDeltas()
    assert opened[0] == ("folder", False) and again.processes == Processes(device="auto")
    assert plan.reopen_experiment(settings(), Path("runs"), limit=4).work.limit == 4
    assert plan.reopen_experiment(settings(limit=6), Path("runs"), limit=4).work.limit == 4
    assert plan.reopen_experiment(settings(limit=6), Path("runs")).work.limit == 6


KEPT = ("split", "parts", "tasks", "digests", "model", "dtype", "tune", "backbone", "seed", "limit")


@pytest.mark.parametrize("name", KEPT)
def test_settings_of_another_version_are_refused_with_what_they_lack(opened, name):
    lacking = {key: value for key, value in settings().items() if key != name}
    says = f"another version of ipt: its settings do not name {name}; run `ipt msf` again"
    with pytest.raises(ValueError, match=says):
        plan.reopen_experiment(lacking, Path("runs"))
    every = "backbone, digests, dtype, limit, model, parts, seed, split, tasks, tune"
    with pytest.raises(ValueError, match=f"settings do not name {every};"):
        plan.reopen_experiment({"kind": "msf"}, Path("runs"))


def test_tasks_that_changed_or_went_away_are_refused_with_their_names(opened, monkeypatch):
    kept = settings()
    now = [
        TASKS["first"],
        replace(TASKS["last"], metric="rouge-L"),
        replace(TASKS["early"], definition="Else."),
    ]
    monkeypatch.setattr(plan, "load_tasks", lambda source, as_published: tuple(now))
    with pytest.raises(ValueError) as error:
        plan.reopen_experiment(kept, Path("runs"))
    says = (
        "tasks have changed since the subspace was found: early, last, second; run `ipt msf` again"
    )
    assert str(error.value) == says
    now[:] = [*TASKS.values(), toy_task("another", rows=20)]  # control: one more is nobody's
    assert plan.reopen_experiment(kept, Path("runs")).tasks == TASKS


def test_five_changed_tasks_are_named_at_most(opened):
    kept = settings()
    kept["digests"] = {f"t{i}": "0" for i in range(7)}
    with pytest.raises(ValueError, match="was found: t0, t1, t2, t3, t4; run"):
        plan.reopen_experiment(kept, Path("runs"))


def test_another_weight_is_refused(opened, monkeypatch):
    kept = settings()
    other = toy_backbone(dtype=torch.float32)
    with torch.no_grad():
        next(other.model.parameters()).view(-1)[0] += 1e-3
    monkeypatch.setattr(plan, "open_backbone", lambda *arguments: other)
    with pytest.raises(
        ValueError,
        match="the weights of toy have changed since the subspace was found; run `ipt msf` again",
    ):
        plan.reopen_experiment(kept, Path("runs"))


@pytest.fixture
def chosen(opened, monkeypatch):
    """The stand-ins above, for a command that begins: tasks, split and the tasks that were skipped."""

    def select_tasks(*arguments):
        opened.append(arguments)
        return SPLIT, TASKS, ("tiny", "small")

    monkeypatch.setattr(plan, "select_tasks", select_tasks)
    return opened


def test_a_bench_opens_on_what_was_typed(chosen, capsys):
    work = WorkConfig(
        tasks="here", seen=3, unseen=2, seed=8, model="t5", dtype="float32", device="cpu", limit=6, out=Path("out"),
        held_out="dev", as_published=True, tuner="soft-prompt:prompt_length=3",
    )  # fmt: skip
    tune = TuneConfig()
    made = plan.open_experiment(work, tune)
    assert chosen == [("here", 3, 2, 8, True), ("t5", 3, "float32", "cpu")]
    assert (made.model, made.split, made.tasks) == (Model(BACKBONE, THREE), SPLIT, TASKS)
    own = tune.with_rates((0.3, 1.0))  # those of soft prompts
    assert (made.work, made.tune, made.seed) == (work, own, 8)
    assert (made.given, made.processes) == (GivenDeltas(), Processes(device="cpu"))
    assert capsys.readouterr().err == "skipped, too few rows for the few-shot sets: tiny, small\n"


def test_given_prompts_are_read_at_the_prompt_length_and_told(chosen, tmp_path, capsys):
    peft_folder(tmp_path / "last", numbers(1, width=16))
    work = WorkConfig(prompts=tmp_path, device="cpu", tuner="soft-prompt:prompt_length=3")
    made = plan.open_experiment(work, TuneConfig())
    assert made.given.names == ("last",)
    assert torch.equal(made.given.deltas["last"], numbers(1, width=16).flatten())
    assert f"prompts of 1 tasks are taken from {tmp_path}; 3 are tuned" in capsys.readouterr().err


def test_a_model_that_only_ranks_is_refused_for_tasks_without_options(chosen, monkeypatch):
    masked = SimpleNamespace(
        generates=False, name="bert", hidden_size=16, device=torch.device("cpu")
    )
    monkeypatch.setattr(plan, "open_backbone", lambda *arguments: masked)
    with pytest.raises(ValueError) as error:
        plan.open_experiment(WorkConfig(model="bert", device="cpu"), TuneConfig())
    assert str(error.value) == (
        "--model bert is a masked model and ranks options; without options: first, second, last; "
        "choose cls tasks, or another model"
    )
    only = TaskSplit("cls", ("early",), ())  # control: the other tasks are not of this split
    monkeypatch.setattr(plan, "select_tasks", lambda *arguments: (only, TASKS, ()))
    assert (
        plan.open_experiment(WorkConfig(model="bert", device="cpu"), TuneConfig()).backbone
        is masked
    )


def test_search_costs_need_a_complete_run_of_msf(tmp_path):
    write_json(msf_run(tmp_path, "unfinished", 0, result=False).folder / "notes.json", {})
    msf_run(tmp_path, "ist", 100, kind="ist")
    for name in ("unfinished", "ist"):
        config = BenchmarkConfig(search_cost=name)
        says = f"--search-cost needs a complete run of ipt msf, {name} is none; ipt runs --out"
        with pytest.raises(ValueError, match=says):
            plan.open_search_problem(SourceConfig(), config, tmp_path)
