"""Nothing kept on disk is taken for what it is not: another setting, row, weight or number has another key."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
import torch
from conftest import toy_backbone, toy_task
from fitted import checksum, checksum_scores, save_tasks

from ipt import resolve as plan
from ipt.backbones.base import Backbone
from ipt.bank import DeltaBank, open_bank
from ipt.config import IstConfig, MsfConfig, TuneConfig, WorkConfig
from ipt.data import Example, Task, TaskSplit
from ipt.encoded import EncodedTask
from ipt.experiment import Experiment, GivenDeltas
from ipt.methods.tuning import TunedDelta
from ipt.progress import Reporter
from ipt.provenance import digest, settings_record, source_record, to_record
from ipt.run import Run
from ipt.training.evaluate import chance
from ipt.training.model import Model
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.deltas import tune_missing
from ipt.workflows.evaluation import floor_scores, reference_scores

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


def experiment(backbone, out="runs", prompt_length=3, **changes):
    """Return the toy experiment; changes: of its own fields, or of its work's (`source`: tasks)."""
    plain = {"split": SPLIT, "tasks": TASKS, "tune": TuneConfig(shots=6), "reporter": Reporter()}
    plain["work"] = WorkConfig(seed=42, out=Path(out), limit=0)
    model = Model(backbone, SoftPrompt(prompt_length=prompt_length))
    return viewed(Experiment(model=model, **plain), **changes)


def viewed(made, **changes):
    """Return the experiment with these changes of its own fields or of its work's."""
    own = {field.name for field in fields(Experiment)}
    of_work = {name: value for name, value in changes.items() if name not in own}
    if "source" in of_work:
        of_work["tasks"] = of_work.pop("source")
    of_own = {name: value for name, value in changes.items() if name in own}
    return replace(made, work=replace(made.work, **of_work), **of_own)


def key_of(made, kind="msf", **more):
    """Return what ends the name of a run of this experiment."""
    return digest(settings_record(kind, made, more))


def bank_folder(made, data_seed=100):
    return open_bank(made, data_seed).folder


@pytest.mark.parametrize(
    ("stage", "name"), CHANGES, ids=lambda value: getattr(value, "__name__", value)
)
def test_a_run_has_another_key_for_each_setting_that_is_no_execution(model, stage, name):
    plain, changed = stage(), stage(**{name: another(stage, name)})
    assert plain != changed
    if stage is TuneConfig:
        keys = [key_of(experiment(model, tune=tune)) for tune in (plain, changed)]
    else:
        records = [to_record(config) for config in (plain, changed)]
        keys = [key_of(experiment(model), "x", stage=record) for record in records]
    assert (keys[0] == keys[1]) == (name in NOT_IN_IDENTITY)


@pytest.mark.parametrize("name", [field.name for field in fields(TuneConfig)])
def test_prompts_have_another_bank_for_each_setting_that_is_no_execution(model, name):
    changed = TuneConfig(**{name: another(TuneConfig, name)})
    folders = {bank_folder(experiment(model, tune=tune)) for tune in (TuneConfig(), changed)}
    assert len(folders) == (1 if name in NOT_IN_IDENTITY else 2)


def test_another_length_of_prompts_is_another_run_and_another_bank(model):
    short, long = experiment(model, prompt_length=3), experiment(model, prompt_length=4)
    assert key_of(short) != key_of(long)
    assert bank_folder(short) != bank_folder(long)
    same = experiment(model, prompt_length=3)  # control
    assert key_of(short) == key_of(same) and bank_folder(short) == bank_folder(same)


@dataclass(frozen=True)
class Other(SoftPrompt):
    """Another tuner, with the same settings."""

    name = "other"
    rank: int = 8


def test_another_tuner_or_another_setting_of_it_is_another_run_and_another_bank(model):
    made = experiment(model)
    tuners = [made.model.tuner, Other(prompt_length=3), Other(prompt_length=3, rank=4)]
    views = [replace(made, model=replace(made.model, tuner=tuner)) for tuner in tuners]
    assert len({key_of(view) for view in views}) == len({bank_folder(view) for view in views}) == 3


@pytest.mark.parametrize("stage", [TuneConfig, MsfConfig, IstConfig])
def test_a_setting_that_has_its_value_of_before_is_still_another_than_todays(stage):
    """Values that older runs do not name: each must differ from every other value."""
    names = {
        "loss": "sum",
        "label_smoothing": 0.1,
        "codes": "own",
        "pruning": "halving",
        "starts": 2,
    }
    older = {
        "loss": "mean",
        "label_smoothing": 0.0,
        "codes": "standard",
        "pruning": "none",
        "starts": 1,
    }
    for name in names.keys() & {field.name for field in fields(stage)}:
        assert to_record(stage(**{name: names[name]})) != to_record(stage(**{name: older[name]})), (
            name
        )


def test_prompts_of_another_seed_data_seed_or_model_are_others(model):
    other = toy_backbone(dtype=torch.float32)
    with torch.no_grad():
        list(other.model.parameters())[-1].view(-1)[-1] += 1e-3
    given = GivenDeltas(("first",), "0123", {})
    banks = [
        bank_folder(experiment(model)),
        bank_folder(experiment(model), 21),
        bank_folder(experiment(model, seed=43)),
        bank_folder(experiment(other)),
        bank_folder(experiment(toy_backbone(dtype=torch.float64))),
        bank_folder(experiment(toy_backbone(dtype=torch.bfloat16))),
        bank_folder(experiment(model, given=given)),
        bank_folder(experiment(model, given=replace(given, digest="0124"))),
    ]
    assert len(set(banks)) == len(banks)


def test_control_what_does_not_change_a_prompt_changes_no_bank(model):
    same = toy_backbone(dtype=torch.float32)
    same.name = "the same weights elsewhere"
    folder = bank_folder(experiment(model))
    assert bank_folder(experiment(same)) == folder
    smaller = TaskSplit("other", ("second",), ("first",))
    for changes in ({"limit": 6}, {"held_out": "dev"}, {"split": smaller}, {"source": "elsewhere"}):
        assert bank_folder(experiment(model, **changes)) == folder


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
    changes += [
        {"seed": 43},
        {"limit": 6},
        {"held_out": "dev"},
        {"as_published": True},
        {"source": "x"},
    ]
    changes += [
        {"given": given},
        {"given": replace(given, digest="0124")},
        {"given": replace(given, names=("second",))},
    ]
    changes += [{"tasks": TASKS | {"early": replace(TASKS["early"], definition="Else.")}}]
    made = [experiment(model, **change) for change in ({}, *changes)]
    made += [
        experiment(toy_backbone(1, torch.float32)),
        experiment(toy_backbone(dtype=torch.bfloat16)),
    ]
    keys = {key_of(each) for each in made} | {key_of(experiment(model), "ist")}
    assert len(keys) == len(made) + 1
    assert key_of(experiment(model, out="elsewhere")) in keys  # control


# what each flag of a command is to its result: the run has another key, or the same
CHANGING = {"tasks", "model", "dtype", "seed", "limit", "held_out", "seen", "unseen"}
CHANGING |= {"prompts", "as_published", "tuner", "head"}
SAME = {
    "device",
    "out",
    "dry_run",
    "preset",
    "config",
}  # preset and config: only through the flags that they set


@pytest.fixture
def typed(tmp_path, monkeypatch, model):
    """Commands over two folders of the same tasks; a model's name decides its weights, dtype its type."""
    for name in ("tasks", "copy"):
        save_tasks(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    kinds = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

    def open_backbone(name, added_tokens, dtype, device, reads_states=False):
        backbone: Backbone = toy_backbone(0 if name == "mini" else 1, kinds[dtype])
        backbone.name = name
        return backbone

    monkeypatch.setattr(plan, "open_backbone", open_backbone)
    return tmp_path


def test_each_flag_of_the_work_is_part_of_a_runs_key_or_named_as_none(typed):
    """as_published belongs to CrossFit's tasks alone, and is shown above; heads are in test_heads_pipeline.py."""
    plain = {"tasks": "tasks", "seen": 2, "unseen": 1}
    tune = TuneConfig()
    others = {
        "tasks": "copy", "model": "other", "dtype": "bfloat16", "seed": 43, "limit": 6, "held_out": "dev", "seen": 3,
        "unseen": 2, "device": "cpu", "out": Path("o"), "dry_run": True, "preset": "quick", "config": Path("c.json"),
        "tuner": "soft-prompt:prompt_length=3",
    }  # fmt: skip
    assert (
        {field.name for field in fields(WorkConfig)}
        == CHANGING | SAME
        == {*others, "prompts", "as_published", "head"}
    )

    def key(**changes):
        return key_of(plan.open_experiment(WorkConfig(**plain | changes), tune))

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
    bank.put(PLAIN, TunedDelta(torch.ones(48), 0.3, 1.0, 5))
    bank.put_scores("reference", [PLAIN], "all", {"toy": 0.5})
    assert bank.get(changed) is None and bank.missing([changed]) == [changed]
    assert bank.scores("reference", [changed], "all") == {}
    keys = {key_of(experiment(model, tasks={"toy": task})) for task in (PLAIN, changed)}
    assert len(keys) == 2
    again = Task.from_dict(
        json.loads(json.dumps(PLAIN.to_dict()))
    )  # control: the same rows from a file
    assert torch.equal(bank.get(again).delta, torch.ones(48))
    assert bank.scores("reference", [again], "all") == {"toy": 0.5}


@pytest.fixture
def scored(monkeypatch, model, tmp_path):
    """An experiment whose deltas are given and whose scores are checksums.

    `calls` are the tasks that were scored.
    """
    calls = []

    def score(model, deltas, data, **more):
        calls.append([d.task.name for d in data])
        return checksum_scores(model, deltas, data, **more)

    monkeypatch.setattr("ipt.workflows.evaluation.score_deltas", score)
    generator = torch.Generator().manual_seed(1)
    deltas = {name: torch.randn(48, generator=generator) for name in TASKS}
    made = experiment(model, tmp_path, given=GivenDeltas(tuple(TASKS), "0123", deltas))
    return made, calls


def expected(made, names, **more):
    """The reference scores, recomputed from the given deltas."""
    found = {}
    for name in names:
        rows = (more.get("limit", 0), more.get("held_out", "test"))
        data = EncodedTask.draw(made.backbone, made.tasks[name], 100, 6, *rows)
        value = checksum(made.given.deltas[name], data)
        ranked = round(1 - value, 6) if made.tasks[name].options else None
        found[name] = {"generated": round(value, 6), "ranked": ranked}
    return found


def reference(made, names):
    """The reference scores as records."""
    scores = reference_scores(made, names, 100)
    return {name: vars(score) for name, score in scores.items()}


def test_kept_reference_scores_are_of_the_same_rows(scored):
    made, calls = scored
    names = ["early", "first"]
    views = ({}, {"limit": 6}, {"held_out": "dev"}, {"limit": 6, "held_out": "dev"})
    for view in views:
        assert reference(viewed(made, **view), names) == expected(made, names, **view)
    assert calls == [names] * 4
    for view in views:  # control: what is kept is taken
        assert reference(viewed(made, **view), names[::-1]) == expected(made, names, **view)
    assert calls == [names] * 4
    assert reference(made, ["second", "first"]) == expected(made, ["second", "first"])
    assert calls[4:] == [["second"]]


def test_reference_scores_of_a_changed_task_are_made_again(scored):
    made, calls = scored
    reference(made, ["first", "early"])
    rows = TASKS["first"].examples
    changed = replace(TASKS["first"], examples=(*rows[:-1], replace(rows[-1], entity="one")))
    later = replace(made, tasks=TASKS | {"first": changed})
    assert reference(later, ["first", "early"]) == expected(later, ["first", "early"])
    assert calls == [["first", "early"], ["first"]]


def test_kept_floors_are_of_the_same_rows_and_data(scored):
    made, calls = scored

    def floor(view, name):
        work, task = view.work, view.tasks[name]
        data = EncodedTask.draw(view.backbone, task, 100, 6, work.limit, work.held_out)
        deltas = (torch.zeros(0), view.model.initialize(42))
        empty, start = (round(checksum(delta, data), 6) for delta in deltas)
        return {name: {"chance": chance(data), "empty": empty, "start": start}}

    changed = TASKS | {"first": replace(TASKS["first"], examples=TASKS["first"].examples[:-40])}
    views = [made, viewed(made, limit=6), viewed(made, held_out="dev"), viewed(made, tasks=changed)]

    def kept(view):
        return {name: vars(of_task) for name, of_task in floor_scores(view, ["first"]).items()}

    for view in views:
        assert kept(view) == floor(view, "first")
    assert len({json.dumps(kept(view)) for view in views[1:]}) == 3
    assert calls == [["first"]] * 8  # the empty prompt and the start, each once a view


def checkpoint_of(made, monkeypatch, names, seeds):
    """Where the tuning of these prompts keeps its state."""
    paths = []

    def stopped(model, data, config, start, execution):
        paths.append(execution.checkpoint.path)
        raise KeyboardInterrupt

    monkeypatch.setattr("ipt.workflows.deltas.tune_deltas", stopped)
    with pytest.raises(KeyboardInterrupt):
        tune_missing([made.with_seed(seed) for seed in seeds], names, 100)
    return paths[0]


def test_the_state_of_other_tasks_rows_or_seeds_is_another_file(model, tmp_path, monkeypatch):
    made = experiment(model, tmp_path)
    rows = TASKS["first"].examples
    changed = replace(made, tasks=TASKS | {"first": replace(TASKS["first"], examples=rows[:-1])})
    jobs = [
        (made, ["first"], [42]),
        (made, ["second"], [42]),
        (made, ["first", "second"], [42]),
        (changed, ["first"], [42]),
    ]
    jobs += [
        (made, ["first"], [43]),
        (made, ["first"], [42, 43]),
        (made, ["first"], [42, 44]),
        (made, ["first"], [43, 44]),
    ]
    paths = [checkpoint_of(view, monkeypatch, names, seeds) for view, names, seeds in jobs]
    assert len(set(paths)) == len(jobs)
    assert paths[0].parent == bank_folder(made)
    assert paths[4].parent == bank_folder(made.with_seed(43))
    again = [checkpoint_of(view, monkeypatch, names, seeds) for view, names, seeds in jobs]
    assert again == paths


def test_a_run_on_a_name_that_was_given_by_hand_is_of_that_runs_settings(tmp_path):
    config = {"kind": "msf", "split": "toy", "seed": 7, "msf": {"alpha": 1.0}}
    own = Run.open(tmp_path / f"msf-toy-{digest(config)}", config)
    assert source_record(own) == {"msf_run": own.folder.name}
    named = Run.open(tmp_path / "mine", config)
    assert source_record(named) == {"msf_run": "mine", "msf_settings": digest(config)}
    other = Run.open(tmp_path / "later" / "mine", config | {"msf": {"alpha": 3.0}})
    assert source_record(other) != source_record(named)
