"""`ipt tune`, `ipt msf` and `ipt ist` in parts, with other rows, starts, seeds, given prompts."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from small_runs import LENGTH, LIMIT, REST, SEED, SEEN, SPLIT, Shuffled, checksum, job_lines, tasks
from soft_prompts import model_of, vocabulary_start

from ipt.config import TuneConfig, WorkConfig
from ipt.experiment import Experiment
from ipt.fewshot import few_shot
from ipt.interop.peft import GivenDeltas, write_peft
from ipt.methods.subspace import Subspace
from ipt.provenance import to_argv
from ipt.results import RunResult, choice, flags_of_parts
from ipt.storage import lock_folders, read_json, read_tensors
from ipt.training.evaluate import chance
from ipt.workflows.deltas import missing_tasks

ALL = [*SEEN, *REST]
TITLES = ("finding the subspace", "control: one shared prompt")


def same(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def stamps(folder):
    """Return when each prompt of a bank was written."""
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize(
    ("more", "limit", "held_out", "rows"),
    [
        ({"limit": 4}, 4, "test", "4"),
        ({"limit": 0}, 0, "test", "all"),
        ({"held_out": "dev"}, LIMIT, "dev", "6-dev"),
        ({"held_out": "dev", "limit": 0}, 0, "dev", "all-dev"),
    ],
)
def test_other_rows_are_scored_and_kept_apart_from_those_there(copied, more, limit, held_out, rows):
    before = stamps(copied.bank())
    copied.tune(**more)
    data = copied.data(ALL, limit=limit, held_out=held_out)
    reference = read_json(copied.bank() / f"reference-{rows}.json")
    found = {name: record["scores"] for name, record in reference.items()}
    assert torch.equal(copied.scores.behind(found, data), copied.prompts(ALL))
    start = vocabulary_start(copied.backbone, LENGTH, SEED)
    floors = {}
    for d in data:
        scores = {"chance": chance(d), "empty": checksum(start[:0], d), "start": checksum(start, d)}
        floors[d.task.name] = {"digest": d.task.digest, "scores": scores}
    assert read_json(copied.bank() / f"floor-{rows}.json") == floors
    kept = {path.name for path in copied.bank().glob("*.json")}
    assert kept == {
        "setting.json",
        "reference-6.json",
        "floor-6.json",
        f"reference-{rows}.json",
        f"floor-{rows}.json",
    }
    assert stamps(copied.bank()) == before


def test_both_commands_score_the_rows_of_the_subspaces_run_or_fewer(copied):
    run = copied.msf("other", held_out="dev")
    data = copied.data(ALL, held_out="dev")
    copied.scores.behind(run.result["scores"]["train_msf"] | run.result["scores"]["test_msf"], data)
    copied.scores.behind(run.result["reference"]["100"], data)
    run = copied.ist("--against", "mixture", run="other")
    copied.scores.behind(run.result["scores"]["mixture_test"], data[3:])
    run = copied.ist("--against", "mixture", "--test-rows", "3")
    copied.scores.behind(run.result["scores"]["mixture_test"], copied.data(REST, limit=3))


def test_as_many_dimensions_as_seen_tasks_are_noted(copied):
    run = copied.msf("wide", dim=3)
    note = "note: 3 dimensions for 3 seen tasks do not compress the training prompts"
    assert copied.told.said == [note]
    assert run.result["compresses"] is False and run.result["dim"] == 3
    run = copied.ist("--against", "pca", "--against", "random", run="wide", dim=3)
    result = run.result
    assert (result["compresses"], result["dim"], result["pca_dim"]) == (False, 3, 2)
    for kind, space in (
        ("random", Subspace.random(copied.prompts(SEEN), 3, SEED)),
        ("pca", Subspace.pca(copied.prompts(SEEN), 3)),
    ):
        found = copied.scores.behind(result["scores"][f"{kind}_test"], copied.data(REST))
        same(found, space.decode(space.encode(found)))


@pytest.mark.parametrize("start", ["noise", "mean"])
def test_another_start_is_the_same_for_every_task(copied, start):
    run = copied.msf("own", codes="own")
    codes = read_tensors(run.folder / "codes.safetensors")[0]["codes"]
    found = copied.ist(
        "--start",
        start,
        "--on",
        "unseen,seen",
        "--learning-rates",
        "1e-9",
        run="own",
    )
    vectors = read_tensors(found.folder / "vectors.safetensors")[0]
    noise = 0.02 * torch.randn(1, 2, generator=torch.Generator().manual_seed(SEED))
    expected = noise if start == "noise" else codes[:3].mean(0, keepdim=True)
    for setting in ("train_same", "test"):
        theirs = expected.expand_as(vectors[setting])
        torch.testing.assert_close(vectors[setting], theirs, rtol=0, atol=1e-6)
    assert (noise - codes[:3].mean(0)).abs().max() > 0.05  # control
    assert found.result["scores"].keys() == {"train_same", "test"}  # and no best code


@pytest.mark.parametrize(("most", "count"), [(2, 2), (3, 3), (9, 3)])
def test_a_task_has_as_many_starts_as_asked_for_and_no_more_than_seen_tasks(copied, most, count):
    run = copied.ist("--restarts", str(most), "--on", "unseen")
    jobs = {line["job"] for line in job_lines(run.folder / "metrics-ist-test.jsonl")}
    assert len(jobs) == 2 * count


def test_parts_done_one_after_another_keep_what_is_there_and_make_the_whole(base, copied):
    """What a part found before stays as it is."""
    shutil.rmtree(copied.out / base.whole.folder.name)
    shutil.rmtree(copied.bank(21))
    steps = [
        (["pca"], {"pca_test"}, {"100"}, set()),
        (["diff"], {"pca_test", "train_diff"}, {"100", "21"}, {"train_diff"}),
        (
            ["mixture", "pca"],
            {"pca_test", "train_diff", "mixture_test", "best_seen", "nearest_seen"},
            {"100", "21"},
            {"train_diff", "mixture"},
        ),
        (
            ["unseen"],
            {"pca_test", "train_diff", "mixture_test", "best_seen", "nearest_seen"}
            | {"test", "best_code", "choice_test"},
            {"100", "21"},
            {"train_diff", "mixture", "test"},
        ),
    ]
    scores, tensors = {}, {}
    for parts, scored, references, kept in steps:
        words = to_argv(flags_of_parts(parts))
        run = copied.ist(*words)
        assert run.folder.name == base.whole.folder.name
        result, found = run.result, read_tensors(run.folder / "vectors.safetensors")[0]
        assert result["scores"].keys() == scored and found.keys() == kept
        assert result["reference"].keys() == references
        assert scores.items() <= result["scores"].items()
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
        scores, tensors = result["scores"], found
        # prompts of the other data seed are tuned when they are needed
        assert len(list(copied.out.glob("bank/*"))) == len(references)
    for setting, theirs in base.whole.result["scores"].items():
        if setting in scores:
            names, data_seed = (SEEN, 21) if setting == "train_diff" else (REST, 100)
            data = copied.data(names, data_seed)
            same(copied.scores.behind(scores[setting], data), base.scores.behind(theirs, data))


def test_only_prompts_that_are_missing_are_tuned(copied):
    there, before = copied.prompts(ALL), stamps(copied.bank())
    for name in ("early", "late"):
        (copied.bank() / f"{name}.safetensors").unlink()
    copied.msf("again")
    assert "tuning 2 deltas, data seed 100 (3 are in the bank)" in copied.told.said
    after = stamps(copied.bank())
    assert {name for name in ALL if after[name] != before[name]} == {"early", "late"}
    same(copied.prompts(ALL), there)


def test_each_seed_is_tuned_from_its_own_start_and_order(base, empty, monkeypatch):
    """Two seeds at once leave what each leaves alone; they share floors without a prompt."""
    shuffled, held = replace(empty, processes=Shuffled()), []

    def spy(folders, locks, say):
        held.append(set(folders))
        lock_folders(folders, locks, say)

    monkeypatch.setattr("ipt.workflows.deltas.lock_folders", spy)
    shuffled.tune("--more-seeds", "8")
    assert held == [
        {shuffled.bank(), shuffled.bank(seed=8)}
    ]  # no other process tunes these meanwhile
    assert shuffled.told.said == ["tuning 10 deltas, data seed 100 (0 are in the bank)"]
    same(shuffled.prompts(ALL), base.prompts(ALL))
    other = shuffled.prompts(ALL, seed=8)
    shuffled.tune(seed=8)
    floors = json.loads((shuffled.bank(seed=8) / "floor-6.json").read_text())
    ours = json.loads((base.bank() / "floor-6.json").read_text())
    for name in ALL:
        scores, own = floors[name]["scores"], ours[name]["scores"]
        assert (scores["chance"], scores["empty"]) == (own["chance"], own["empty"])
        assert scores["start"] != own["start"]
    alone = replace(base, out=shuffled.out.parent / "alone")
    alone.tune(seed=8)
    same(other, alone.prompts(ALL, seed=8))
    assert (other - base.prompts(ALL)).abs().flatten(1).max(1).values.min() > 0.1


def test_cut_rows_are_noted(empty, monkeypatch):
    """A row that fills all tokens counts as cut, one with a token less does not.

    Three words and the end sign are four tokens.
    """
    known = tasks()
    examples = []
    for i, e in enumerate(known["last"].examples):
        e = replace(e, input=e.input if i % 3 else f"{e.input} red")
        e = replace(e, output=(f"{e.output[0]} red",)) if i % 2 == 0 else e
        examples.append(e)
    known["last"] = replace(known["last"], examples=tuple(examples))
    sets = few_shot(known["last"], 100, 6)
    rows = [*sets.train, *sets.dev, *sets.test[:LIMIT]]
    full = [len(e.input.split()) == 4 or len(e.output[0].split()) == 2 for e in rows]
    assert 0 < sum(full) < len(rows)
    assert any(len(e.input.split()) == 3 for e, cut in zip(rows, full, strict=True) if cut)
    alone = replace(SPLIT, seen=("last",), unseen=(), out_of_kind=())
    monkeypatch.setattr("small_runs.SPLIT", alone)
    monkeypatch.setattr("small_runs.tasks", lambda: known)
    empty.tune()
    assert not any("note" in text for text in empty.told.said)
    monkeypatch.setattr("ipt.backbones.base.MAX_INPUT", 5)
    monkeypatch.setattr("ipt.experiment.MAX_ANSWER", 3)
    monkeypatch.setattr("ipt.backbones.base.MAX_ANSWER", 3)
    empty.tune("--patience", "9")
    note = f"note: {sum(full)} of 18 rows fill 5 input or 3 answer tokens; longer ones are cut"
    told = [text for text in empty.told.said if "note" in text]
    assert told == [note] * 3  # tuning, references, floors


def test_given_prompts_are_scored_and_have_a_bank_of_their_own(copied, tmp_path):
    theirs = copied.prompts(["late"])[0] + 1
    write_peft(theirs, model_of(copied.backbone, LENGTH), tmp_path / "given" / "late", {})
    before = stamps(copied.bank())
    run = copied.msf("given", prompts=tmp_path / "given")
    assert "tuning 4 deltas, data seed 100 (1 are in the bank)" in copied.told.said
    found = copied.scores.behind(run.result["reference"]["100"], copied.data(ALL))
    assert torch.equal(found[3], theirs)
    same(found[[0, 1, 2, 4]], copied.prompts(ALL)[[0, 1, 2, 4]])
    assert stamps(copied.bank()) == before
    again = copied.ist("--on", "seen-other-data", run="given")
    theirs = copied.scores.behind(again.result["reference"]["100"], copied.data(ALL))
    assert torch.equal(theirs, found)
    settings = [json.loads(path.read_text()) for path in copied.out.glob("bank/*/setting.json")]
    assert sorted(s.get("given", "") for s in settings) == ["", "", run.config["given"]["digest"]]
    # prompts of the other data seed are there already
    assert not any("tuning" in text for text in copied.told.said)


def test_given_prompts_are_of_the_first_data_seed_alone(base, tmp_path):
    given = GivenDeltas(("late",), "digest", {"late": torch.zeros(LENGTH * 16)})
    experiment = Experiment(
        model=model_of(base.backbone, LENGTH),
        split=SPLIT,
        tasks=tasks(),
        work=WorkConfig(seed=SEED, out=tmp_path),
        tune=TuneConfig(),
        given=given,
    )
    assert [task.name for task in missing_tasks(experiment, REST, 100)] == ["first"]
    assert [task.name for task in missing_tasks(experiment, REST, 21)] == REST


def test_a_given_prompt_that_was_lost_is_told(copied, tmp_path, capsys):
    write_peft(
        copied.prompts(["early"])[0],
        model_of(copied.backbone, LENGTH),
        tmp_path / "given" / "early",
        {},
    )
    run = copied.msf("given", prompts=tmp_path / "given")
    for path in copied.out.glob("bank/*/setting.json"):
        if "given" in json.loads(path.read_text()):
            (path.parent / "early.safetensors").unlink()
    capsys.readouterr()
    copied.ist("--against", "pca", run=run.folder.name, ends=2)
    says = "has lost the delta of early, which came from a PEFT folder; run `ipt msf` again"
    assert says in capsys.readouterr().err


def test_the_choice_is_of_the_least_dev_loss_task_by_task(base):
    result = base.whole.result
    losses, scores = result["dev_losses"], result["scores"]
    assert losses.keys() >= {"test", "mixture_test", "pca_test", "random_test", "train_same"}
    by_hand = {}
    for name in scores["test"]:
        best = min(("test", "mixture_test", "pca_test"), key=lambda one: losses[one][name])
        by_hand[name] = scores[best][name]
    assert scores["choice_test"] == by_hand
    # Control: the largest loss gives others.
    made = RunResult.from_json(result)
    turned = {
        name: {task: -loss for task, loss in of.items()} for name, of in losses.items()
    }
    assert choice(replace(made, dev_losses=turned)) != choice(made)
    # Without the dev losses of one of them nothing is chosen.
    assert choice(replace(made, dev_losses=losses | {"pca_test": {}})) == {}
