"""`ipt export` and `ipt predict`: prompt, score and record are of the named task and source."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small_runs import REST, SEED, SEEN, Told, new_world, tasks
from soft_prompts import generate, model_for, nll
from test_families import make, prompts

from ipt.interop.peft import read_peft
from ipt.methods.subspace import Subspace
from ipt.predict import answer_rows, record_of
from ipt.storage import read_json, read_tensors, write_tensors

ALL = [*SEEN, *REST]


@pytest.fixture(scope="module")
def made(tmp_path_factory, taught_folder):
    """The world with a run of each command, whose scores are checksums."""
    world = new_world(tmp_path_factory.mktemp("small"), taught_folder)
    world.first = world.msf()
    world.second = world.ist("--on", "seen", "--on", "unseen", "--against", "mixture")
    return world


def export(world, run, name, to, *more, ends=0):
    """Export a task's prompt; return it and what its folder says of it."""
    world.ipt("export", run.folder.name, name, "--to", str(to), *more, ends=ends)
    if ends:
        return None
    prompt, model = read_peft(to, 3, 16)
    assert model == str(world.root / "model")
    return prompt.flatten(), read_json(to / "ipt.json")


def common(world, run, name):
    task, backbone = tasks()[name], world.backbone
    about = {"run": run.folder.name, "task": name, "split": "small", "seed": SEED, "data_seed": 100}
    return about | {
        "metric": task.metric,
        "backbone": backbone.name,
        "fingerprint": backbone.fingerprint,
    }


@pytest.mark.parametrize("name", ALL)
def test_an_msf_run_exports_the_tasks_tuned_prompt_and_its_reference(made, tmp_path, name):
    prompt, about = export(made, made.first, name, tmp_path / "peft")
    (d,) = made.data([name])
    assert torch.equal(prompt, made.prompts([name])[0])
    assert torch.equal(made.scores.one(about["test_score"], d), prompt)
    assert about == common(made, made.first, name) | {"test_score": about["test_score"]}


@pytest.mark.parametrize("name", ALL)
def test_an_ist_run_exports_what_the_tasks_own_numbers_are_decoded_to(made, tmp_path, name):
    prompt, about = export(made, made.second, name, tmp_path / "peft")
    setting = "train_same" if name in SEEN else "test"
    place = SEEN.index(name) if name in SEEN else REST.index(name)
    vector = read_tensors(made.second.folder / "vectors.safetensors")[0][setting][place]
    subspace = Subspace.load(made.first.folder / "subspace")
    torch.testing.assert_close(prompt, subspace.decode(vector[None])[0])
    (d,) = made.data([name])
    torch.testing.assert_close(made.scores.one(about["test_score"], d), prompt)
    more = {
        "vector": vector.tolist(),
        "subspace": "base",
        "setting": setting,
        "test_score": about["test_score"],
    }
    assert about == common(made, made.second, name) | more


@pytest.mark.parametrize("name", REST)
def test_a_mixture_is_exported_with_its_weights_and_its_score(made, tmp_path, name):
    prompt, about = export(made, made.second, name, tmp_path / "peft", "--mixture")
    kept = read_tensors(made.second.folder / "vectors.safetensors")[0]
    weights = kept["mixture"][REST.index(name)]
    expected = sum(weight * own for weight, own in zip(weights, made.prompts(SEEN), strict=True))
    torch.testing.assert_close(prompt, expected)
    (d,) = made.data([name])
    torch.testing.assert_close(made.scores.one(about["test_score"], d), prompt)
    more = {
        "weights": dict(zip(SEEN, weights.tolist(), strict=True)),
        "setting": "mixture",
        "test_score": about["test_score"],
    }
    assert about == common(made, made.second, name) | more


def test_weights_of_nothing_are_left_out(made, tmp_path):
    world = made.copy(tmp_path)
    path = world.out / made.second.folder.name / "vectors.safetensors"
    planted = {"mixture": torch.tensor([[1.0, 0.0, 0.0], [0.25, 0.0, 0.75]])}
    write_tensors(path, read_tensors(path)[0] | planted)
    prompt, about = export(world, made.second, "first", tmp_path / "peft", "--mixture")
    own = world.prompts(["second", "last"])
    torch.testing.assert_close(prompt, 0.25 * own[0] + 0.75 * own[1])
    assert about["weights"] == {"second": 0.25, "last": 0.75}


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("nobody", (), "has no task 'nobody'; it has second, early, last, late, first, ..."),
        (
            "early",
            ("--mixture",),
            "--mixture: runs of ipt ist have mixtures, of their unseen tasks (late, first, ...)",
        ),
    ],
)
def test_what_a_run_does_not_have_is_told(made, tmp_path, capsys, name, more, says):
    export(made, made.second, name, tmp_path / "peft", *more, ends=2)
    assert says in capsys.readouterr().err and not (tmp_path / "peft").exists()


def test_a_part_that_was_not_done_is_told(made, tmp_path, capsys):
    world = made.copy(tmp_path)
    path = world.out / made.second.folder.name / "vectors.safetensors"
    kept = read_tensors(path)[0]
    write_tensors(path, {"train_same": kept["train_same"]})
    for more in ((), ("--mixture",)):
        export(world, made.second, "late", tmp_path / "peft", *more, ends=2)
        said = capsys.readouterr().err
        assert "has no numbers for late: its command again, without --on and --against, adds them" in said
    export(world, made.second, "early", tmp_path / "peft")  # control: seen tasks have theirs


def test_a_run_that_is_not_complete_is_told(made, tmp_path, capsys):
    world = made.copy(tmp_path)
    (world.out / "base" / "result.json").unlink()
    export(world, made.first, "late", tmp_path / "peft", ends=2)
    assert "is not complete; run its command again to finish it" in capsys.readouterr().err


def answer_texts(*given) -> list[str]:
    return [answer.text for answer in answer_rows(*given)]


def asked(backbone, prompt, known):
    """What `answer_rows` takes of an experiment."""
    model = model_for(backbone, prompt[None])
    return SimpleNamespace(model=model, backbone=backbone, tasks=known, reporter=Told())


def test_each_text_gets_the_answer_it_gets_alone(monkeypatch):
    """Texts of several batches, in an order that is not that of their lengths."""
    backbone, prompt = make("t5"), prompts(1)[0]
    monkeypatch.setattr(type(backbone), "token_budget", 12)
    texts = ["a long text of many words", "red", "warm and cold", "tall", "blue"]
    experiment = asked(backbone, prompt, {"first": tasks()["first"]})
    expected = []
    for text in texts:
        (row,) = backbone.encode([text], [""])
        expected += generate(backbone, prompt[None], [row], 6)
    assert answer_texts(prompt.flatten(), experiment, "first", texts, 6) == expected
    assert len(set(expected)) > 1
    shorter = answer_texts(prompt.flatten(), experiment, "first", texts, 2)
    assert shorter != expected
    for long, short in zip(expected, shorter, strict=True):
        assert long.startswith(short)


def test_a_masked_model_answers_with_the_likeliest_of_the_tasks_own_options(monkeypatch):
    backbone, prompt = make("bert"), prompts(1)[0]
    monkeypatch.setattr(type(backbone), "token_budget", 12)
    texts = [
        "a long text of many words",
        "red",
        "warm and cold",
        "tall",
        "blue",
        "x",
        "ninety nine",
        "so",
    ]
    options = ("red", "fog", "ten", "cup")
    task = replace(tasks()["late"], options=options)
    experiment = asked(backbone, prompt, {"late": task})
    expected = []
    for text in texts:
        rows = [backbone.encode([text], [option]) for option in options]
        losses = [float(nll(backbone, prompt[None], row)) for row in rows]
        expected.append(options[losses.index(min(losses))])
    assert len(set(expected)) > 1
    assert answer_texts(prompt.flatten(), experiment, "late", texts, 6) == expected


def test_predict_answers_with_the_tasks_prompt(made, capsys):
    capsys.readouterr()
    made.ipt("predict", "red tall slow", "warm", "--run", "base", "--task", "last", "--tokens", "3")
    backbone = made.backbone
    rows = backbone.encode(["red tall slow", "warm"], ["", ""])
    expected = generate(backbone, made.prompts(["last"]).expand(2, -1), rows, 3)
    assert capsys.readouterr().out.splitlines() == [" ".join(text.split()) for text in expected]


def test_a_line_is_a_text_or_a_record_of_one():
    assert record_of("red {cold}", 1) == "red {cold}"
    assert record_of('{"input": "red", "id": 3}', 1) == {"input": "red", "id": 3}
    long = json.dumps({"input": ["x" * 60]})
    with pytest.raises(ValueError) as told:
        record_of(long, 4)
    assert str(told.value) == "standard input, line 4: field 'input' must be a text, found a list"


def test_a_record_whose_field_stands_twice_would_lose_one():
    for line in ('{"input": "red", "input": "x"}', '{"input": "red", "a": [{"b": 1, "b": 2}]}'):
        with pytest.raises(
            ValueError, match="^standard input, line 7: the key '.*' is there twice"
        ):
            record_of(line, 7)
