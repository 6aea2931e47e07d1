"""Nothing kept on disk is taken for what it is not: another setting, row, weight or number has another key."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
import torch
from conftest import toy_backbone, toy_task
from fitted import checksum, checksum_scores, save_tasks

from ipt import resolve as plan
from ipt.backbones.base import Backbone
from ipt.bank import DeltaBank
from ipt.config import IstConfig, MsfConfig, TuneConfig, WorkConfig
from ipt.data import Example, Task, TaskSplit
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment
from ipt.interop.peft import GivenDeltas
from ipt.methods.tuning import TunedDelta
from ipt.progress import Reporter
from ipt.provenance import to_record
from ipt.run import Run
from ipt.training.evaluate import chance

NOT_IN_IDENTITY = {"stacked_jobs", "token_budget", "checkpoint_seconds"}


def another(kind, name):
    """Another value of a field, whatever its type; a field of a new type must be added here."""
    value, hint = getattr(kind(), name), get_type_hints(kind)[name]
    others = {bool: lambda: not value, int: lambda: value + 1, float: lambda: value / 2 + 0.01}
    if hint in others:
        return others[hint]()
    if hint == tuple[float, ...]:
        return (*value, 0.7)
    if hint == int | None:
        return 7
    choices = [choice for choice in get_args(hint) if choice != value]
    assert choices and get_origin(hint) is not tuple, f"say what another value of {name} is"
    return choices[0]


CHANGES = []
for stage in (TuneConfig, MsfConfig, IstConfig):
    for field in fields(stage):
        CHANGES.append((stage, field.name))


@pytest.fixture(scope="module")
def model():
    return toy_backbone(dtype=torch.float32)


TASKS = {name: toy_task(name, rows=240) for name in ("first", "second", "early")}
SPLIT = TaskSplit("toy", ("first", "second"), ("early",))


def experiment(model, out="runs", **changes):
    tune = TuneConfig(shots=6)
    plain = {"split": SPLIT, "tasks": TASKS, "tune": tune, "seed": 42, "out": Path(out), "limit": 0}
    return Experiment(model, **plain | {"reporter": Reporter()} | changes)


@pytest.mark.parametrize(("stage", "name"), CHANGES, ids=lambda value: getattr(value, "__name__", value))
def test_a_run_has_another_key_for_each_setting_that_is_no_execution(model, stage, name):
    plain, changed = stage(), stage(**{name: another(stage, name)})
    assert plain != changed
    if stage is TuneConfig:
        keys = [plan.digest(plan.settings_record("msf", experiment(model, tune=tune), {})) for tune in (plain, changed)]
    else:
        keys = [plan.digest(plan.settings_record("x", experiment(model), {"stage": to_record(c)})) for c in (plain, changed)]
    assert (keys[0] == keys[1]) == (name in NOT_IN_IDENTITY)


@pytest.mark.parametrize("name", [field.name for field in fields(TuneConfig)])
def test_prompts_have_another_bank_for_each_setting_that_is_no_execution(model, name):
    changed = TuneConfig(**{name: another(TuneConfig, name)})
    folders = {experiment(model, tune=tune).bank(100).folder for tune in (TuneConfig(), changed)}
    assert len(folders) == (1 if name in NOT_IN_IDENTITY else 2)


@pytest.mark.parametrize("stage", [TuneConfig, MsfConfig, IstConfig])
def test_a_setting_that_has_its_value_of_before_is_still_another_than_todays(stage):
    """Values that older runs do not name: each must differ from every other value."""
    names = {"loss": "sum", "label_smoothing": 0.1, "codes": "own", "pruning": "halving", "starts": 2}
    older = {"loss": "mean", "label_smoothing": 0.0, "codes": "standard", "pruning": "none", "starts": 1}
    for name in names.keys() & {field.name for field in fields(stage)}:
        assert to_record(stage(**{name: names[name]})) != to_record(stage(**{name: older[name]})), name


def test_prompts_of_another_seed_data_seed_or_model_are_others(model):
    other = toy_backbone(dtype=torch.float32)
    with torch.no_grad():
        list(other.model.parameters())[-1].view(-1)[-1] += 1e-3
    given = GivenDeltas(("first",), "0123", {})
    banks = [
        experiment(model).bank(100),
        experiment(model).bank(21),
        experiment(model, seed=43).bank(100),
        experiment(other).bank(100),
        experiment(toy_backbone(dtype=torch.float64)).bank(100),
        experiment(toy_backbone(dtype=torch.bfloat16)).bank(100),
        experiment(model, given=given).bank(100),
        experiment(model, given=replace(given, digest="0124")).bank(100),
    ]
    assert len({bank.folder for bank in banks}) == len(banks)


def test_control_what_does_not_change_a_prompt_changes_no_bank(model):
    same = toy_backbone(dtype=torch.float32)
    same.name = "the same weights elsewhere"
    folder = experiment(model).bank(100).folder
    assert experiment(same).bank(100).folder == folder
    smaller = TaskSplit("other", ("second",), ("first",))
    for changes in ({"limit": 6}, {"held_out": "dev"}, {"split": smaller}, {"source": "elsewhere"}):
        assert experiment(model, **changes).bank(100).folder == folder


def test_a_run_has_another_key_for_all_else_that_it_depends_on(model):
    given = GivenDeltas(("first",), "0123", {})
    seen, held = SPLIT.seen, SPLIT.unseen
    splits = [
        TaskSplit("other", seen, held),
        TaskSplit("toy", seen[::-1], held),
        TaskSplit("toy", held, seen),
        TaskSplit("toy", seen, (), held),
        TaskSplit("toy", seen, held, (), held),
    ]
    changes = [{"split": split} for split in splits]
    changes += [{"seed": 43}, {"limit": 6}, {"held_out": "dev"}, {"as_published": True}, {"source": "x"}]
    changes += [{"given": given}, {"given": replace(given, digest="0124")}, {"given": replace(given, names=("second",))}]
    changes += [{"tasks": TASKS | {"early": replace(TASKS["early"], definition="Else.")}}]
    made = [experiment(model, **change) for change in ({}, *changes)]
    made += [experiment(toy_backbone(1, torch.float32)), experiment(toy_backbone(dtype=torch.bfloat16))]
    keys = {plan.digest(plan.settings_record("msf", each, {})) for each in made}
    keys |= {plan.digest(plan.settings_record("ist", experiment(model), {}))}
    assert len(keys) == len(made) + 1
    assert plan.digest(plan.settings_record("msf", experiment(model, out="elsewhere"), {})) in keys  # control


# what each flag of a command is to its result: the run has another key, or the same
CHANGING = {"tasks", "model", "dtype", "seed", "limit", "held_out", "seen", "unseen", "prompts", "as_published"}
SAME = {"device", "out", "dry_run", "preset", "config"}  # preset and config: only through the flags that they set


@pytest.fixture
def typed(tmp_path, monkeypatch, model):
    """Commands over two folders of the same tasks; a model's name decides its weights, dtype its type."""
    for name in ("tasks", "copy"):
        save_tasks(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

    def open_backbone(name, prompt_length, dtype, device):
        backbone: Backbone = toy_backbone(0 if name == "mini" else 1, kinds[dtype])
        backbone.name = name
        return backbone

    monkeypatch.setattr(plan, "open_backbone", open_backbone)
    return tmp_path


def test_each_flag_of_the_work_is_part_of_a_runs_key_or_named_as_none(typed):
    """as_published belongs to CrossFit's tasks alone, and is shown above."""
    plain = {"tasks": "tasks", "seen": 2, "unseen": 1}
    tune = TuneConfig()
    others = {
        "tasks": "copy", "model": "other", "dtype": "bfloat16", "seed": 43, "limit": 6, "held_out": "dev", "seen": 3,
        "unseen": 2, "device": "cpu", "out": Path("o"), "dry_run": True, "preset": "quick", "config": Path("c.json"),
    }  # fmt: skip
    assert {field.name for field in fields(WorkConfig)} == CHANGING | SAME == {*others, "prompts", "as_published"}

    def key(**changes):
        return plan.digest(plan.settings_record("msf", plan.open_experiment(WorkConfig(**plain | changes), tune), {}))

    first = key()
    for name, value in others.items():
        assert (key(**{name: value}) == first) == (name in SAME), name


ROW = Example("red green", ("red", "crimson"), "colour")
OTHER = Example("tall small", ("small",), "size")
PLAIN = Task(
    name="toy", category="cls", subcategory="x", metric="accuracy", definition="Say it.", examples=(ROW, OTHER),
    options=("red", "small"), test=(Example("cold", ("red",)), Example("warm", ("small",))), draws={100: (0, 1), 21: (1, 0)},
)  # fmt: skip
CHANGED = {
    "an input": replace(PLAIN, examples=(replace(ROW, input="red greem"), OTHER)),
    "an output": replace(PLAIN, examples=(replace(ROW, output=("small", "crimson")), OTHER)),
    "a second output": replace(PLAIN, examples=(replace(ROW, output=("red", "scarlet")), OTHER)),
    "one output fewer": replace(PLAIN, examples=(replace(ROW, output=("red",)), OTHER)),
    "an entity": replace(PLAIN, examples=(replace(ROW, entity="colours"), OTHER)),
    "the last row": replace(PLAIN, examples=(ROW, replace(OTHER, input="tall smalL"))),
    "the order of rows": replace(PLAIN, examples=(OTHER, ROW)),
    "one row fewer": replace(PLAIN, examples=(ROW,)),
    "the options": replace(PLAIN, options=("red", "small", "tall")),
    "the order of options": replace(PLAIN, options=("small", "red")),
    "the metric": replace(PLAIN, metric="macro-F1"),
    "the category": replace(PLAIN, category="non-cls"),
    "the definition": replace(PLAIN, definition="Say it"),
    "a test row": replace(PLAIN, test=(Example("cold", ("small",)), PLAIN.test[1])),
    "the order of test rows": replace(PLAIN, test=PLAIN.test[::-1]),
    "one test row fewer": replace(PLAIN, test=PLAIN.test[:1]),
    "a draw": replace(PLAIN, draws={100: (1, 0), 21: (1, 0)}),
    "a draw's seed": replace(PLAIN, draws={100: (0, 1), 42: (1, 0)}),
    "one draw fewer": replace(PLAIN, draws={100: (0, 1)}),
    "all": replace(PLAIN, name="toy", examples=(OTHER,), test=(), draws={}),
}


@pytest.mark.parametrize("case", CHANGED)
def test_another_row_of_a_task_has_neither_prompt_nor_scores_nor_run(case, tmp_path, model):
    bank, changed = DeltaBank(tmp_path, {}), CHANGED[case]
    bank.put(PLAIN, TunedDelta(torch.ones(3, 16), 0.3, 1.0, 5))
    bank.put_scores("reference", [PLAIN], "all", {"toy": 0.5})
    assert bank.get(changed) is None and bank.missing([changed]) == [changed]
    assert bank.scores("reference", [changed], "all") == {}
    keys = {plan.digest(plan.settings_record("msf", experiment(model, tasks={"toy": task}), {})) for task in (PLAIN, changed)}
    assert len(keys) == 2
    again = Task.from_dict(json.loads(json.dumps(PLAIN.to_dict())))  # control: the same rows from a file
    assert torch.equal(bank.get(again).prompt, torch.ones(3, 16)) and bank.scores("reference", [again], "all") == {"toy": 0.5}


@pytest.fixture
def scored(monkeypatch, model, tmp_path):
    """A experiment whose prompts are given and whose scores are checksums; `calls` are the tasks that were scored."""
    calls = []

    def score(backbone, prompts, data, **more):
        calls.append([d.task.name for d in data])
        return checksum_scores(backbone, prompts, data, **more)

    monkeypatch.setattr("ipt.experiment.score_deltas", score)
    generator = torch.Generator().manual_seed(1)
    prompts = {name: torch.randn(3, 16, generator=generator) for name in TASKS}
    made = experiment(model, tmp_path, given=GivenDeltas(tuple(TASKS), "0123", prompts))
    return made, calls


def expected(made, names, **more):
    """The reference scores, recomputed from the given prompts."""
    found = {}
    for name in names:
        data = EncodedTask.draw(made.backbone, made.tasks[name], 100, 6, more.get("limit", 0), more.get("held_out", "test"))
        value = checksum(made.given.prompts[name], data)
        ranked = round(1 - value, 6) if made.tasks[name].options else None
        found[name] = {"generated": round(value, 6), "ranked": ranked}
    return found


def test_kept_reference_scores_are_of_the_same_rows(scored):
    made, calls = scored
    names = ["early", "first"]
    views = ({}, {"limit": 6}, {"held_out": "dev"}, {"limit": 6, "held_out": "dev"})
    for view in views:
        assert replace(made, **view).reference(names, 100) == expected(made, names, **view)
    assert calls == [names] * 4
    for view in views:  # control: what is kept is taken
        assert replace(made, **view).reference(names[::-1], 100) == expected(made, names, **view)
    assert calls == [names] * 4
    assert made.reference(["second", "first"], 100) == expected(made, ["second", "first"])
    assert calls[4:] == [["second"]]


def test_reference_scores_of_a_changed_task_are_made_again(scored):
    made, calls = scored
    made.reference(["first", "early"], 100)
    rows = TASKS["first"].examples
    changed = replace(TASKS["first"], examples=(*rows[:-1], replace(rows[-1], entity="one")))
    later = replace(made, tasks=TASKS | {"first": changed})
    assert later.reference(["first", "early"], 100) == expected(later, ["first", "early"])
    assert calls == [["first", "early"], ["first"]]


def test_kept_floors_are_of_the_same_rows_and_data(scored):
    made, calls = scored

    def floor(view, name):
        data = EncodedTask.draw(view.backbone, view.tasks[name], 100, 6, view.limit, view.held_out)
        empty, start = (round(checksum(prompt, data), 6) for prompt in (torch.zeros(0, 16), view.start))
        return {name: {"chance": chance(data), "empty": empty, "start": start}}

    changed = TASKS | {"first": replace(TASKS["first"], examples=TASKS["first"].examples[:-40])}
    views = [made, replace(made, limit=6), replace(made, held_out="dev"), replace(made, tasks=changed)]
    for view in views:
        assert view.floors(["first"]) == floor(view, "first")
    assert len({json.dumps(view.floors(["first"])) for view in views[1:]}) == 3
    assert calls == [["first"]] * 8  # the empty prompt and the start, each once a view


def checkpoint_of(made, monkeypatch, names, seeds):
    """Where the tuning of these prompts keeps its state."""
    paths = []

    def stopped(backbone, data, config, own, checkpoint, start, progress):
        paths.append(checkpoint.path)
        raise KeyboardInterrupt

    monkeypatch.setattr("ipt.experiment.tune_deltas", stopped)
    with pytest.raises(KeyboardInterrupt):
        made.tune_missing(names, 100, seeds)
    return paths[0]


def test_the_state_of_other_tasks_rows_or_seeds_is_another_file(model, tmp_path, monkeypatch):
    made = experiment(model, tmp_path)
    rows = TASKS["first"].examples
    changed = replace(made, tasks=TASKS | {"first": replace(TASKS["first"], examples=rows[:-1])})
    jobs = [(made, ["first"], [42]), (made, ["second"], [42]), (made, ["first", "second"], [42]), (changed, ["first"], [42])]
    jobs += [(made, ["first"], [43]), (made, ["first"], [42, 43]), (made, ["first"], [42, 44]), (made, ["first"], [43, 44])]
    paths = [checkpoint_of(view, monkeypatch, names, seeds) for view, names, seeds in jobs]
    assert len(set(paths)) == len(jobs)
    assert paths[0].parent == made.bank(100).folder and paths[4].parent == replace(made, seed=43).bank(100).folder
    assert [checkpoint_of(view, monkeypatch, names, seeds) for view, names, seeds in jobs] == paths  # and it is found again


def test_a_run_on_a_name_that_was_given_by_hand_is_of_that_runs_settings(tmp_path):
    config = {"kind": "msf", "split": "toy", "seed": 7, "msf": {"alpha": 1.0}}
    own = Run.open(tmp_path / f"msf-toy-{plan.digest(config)}", config)
    assert plan.source_record(own) == {"msf_run": own.folder.name}
    named = Run.open(tmp_path / "mine", config)
    assert plan.source_record(named) == {"msf_run": "mine", "msf_settings": plan.digest(config)}
    other = Run.open(tmp_path / "later" / "mine", config | {"msf": {"alpha": 3.0}})
    assert plan.source_record(other) != plan.source_record(named)
