"""A task's prompt out of a run: as a PEFT folder, and answering texts."""

import json
from dataclasses import asdict
from io import StringIO

import pytest
import torch
from peft import PeftModel
from soft_prompts import generate, losses
from transformers import AutoConfig

from ipt.backbones.loading import load_backbone
from ipt.cli import app as cli
from ipt.data import SAME_DATA_SEED
from ipt.experiment import encode_tasks
from ipt.interop.peft import CONFIG, read_prompts, write_delta
from ipt.predict import task_delta
from ipt.resolve import reopen_experiment
from ipt.run import Run
from ipt.storage import read_json
from ipt.training.model import Model
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.evaluation import score_tasks


@pytest.mark.parametrize("kind", ["msf", "ist", "mixture"])
def test_an_exported_prompt_loads_in_peft_with_the_same_loss_and_answers(
    done, tmp_path, kind, capsys
):
    run, mixture = Run(next(done.glob("msf-*" if kind == "msf" else "ist-*"))), kind == "mixture"
    name, flags = run.config["parts"]["unseen"][0], ["--mixture"] if mixture else []
    assert (
        cli.main(
            [
                "export",
                run.folder.name,
                name,
                "--to",
                str(tmp_path / "peft"),
                "--out",
                str(done),
                *flags,
            ]
        )
        == 0
    )
    experiment = reopen_experiment(run.config, done)
    prompt = task_delta(run, experiment, name, mixture).delta.view(3, -1)
    rows = experiment.backbone.encode(["a text", "some other, longer text"], ["yes", "no"])
    model = PeftModel.from_pretrained(
        load_backbone(run.config["model"], device="cpu").model, tmp_path / "peft"
    ).eval()
    for row in rows:
        ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.label_ids])
        loss = float(model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss)
        assert float(losses(experiment.backbone, prompt[None], [row])) == pytest.approx(
            loss, rel=1e-5
        )
        found = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=5,
            do_sample=False,
            num_beams=1,
        )
        assert experiment.backbone.texts(found) == generate(
            experiment.backbone, prompt[None], [row], 5
        )
    about = json.loads((tmp_path / "peft" / "ipt.json").read_text())
    assert about["task"] == name and (
        len(about["vector"]) == 2 if kind == "ist" else "vector" not in about
    )
    if mixture:  # three seen prompts, two numbers; as it was scored in the run
        assert sum(about["weights"].values()) == pytest.approx(1) and len(about["weights"]) == 3
        data = encode_tasks(experiment, [name], SAME_DATA_SEED)
        scored = score_tasks(experiment, "mixture", prompt.flatten()[None], data)
        assert {name: asdict(score) for name, score in scored.items()} == {
            name: run.result["scores"]["mixture_test"][name]
        }
        assert about["test_score"] == run.result["scores"]["mixture_test"][name]["generated"]
        assert (
            len({s["generated"] for s in run.result["scores"]["mixture_test"].values()}) == 2
        )  # control: scores tell tasks apart
    assert (
        cli.main(
            ["export", run.folder.name, "../x", "--to", str(tmp_path / "none"), "--out", str(done)]
        )
        == 2
    )
    assert "has no task" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_the_printed_lines_load_the_embedded_model_in_any_folder(tmp_path, monkeypatch):
    backbone = load_backbone("mini", device="cpu")
    model = Model(backbone, SoftPrompt(prompt_length=3))
    delta = torch.randn(model.size, generator=torch.Generator().manual_seed(0))
    said, *lines = write_delta(delta, model, tmp_path / "task", {}).split("\n")
    assert said == f"PEFT folder: {tmp_path / 'task'}"
    # Also without the lines: as PEFT's own AutoPeftModel does it.
    base = read_json(tmp_path / "task" / CONFIG)["base_model_name_or_path"]
    monkeypatch.chdir(tmp_path)
    assert AutoConfig.from_pretrained(base).d_model == backbone.hidden_size
    names = {}
    exec("\n".join(lines), names)
    (row,) = backbone.encode(["63 85 96 22"], ["96"])
    tokenizer = names["tokenizer"]
    assert lines[-1].startswith("# an input ends with tokenizer.eos_token")
    ids = tokenizer("63 85 96 22" + tokenizer.eos_token, return_tensors="pt").input_ids
    assert ids.tolist() == [list(row.input_ids)]
    labels = torch.tensor([row.label_ids])
    with torch.no_grad():
        theirs = names["model"](
            input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels
        ).loss
        bare = names["model"].get_base_model()(input_ids=ids, labels=labels).loss
    expected = float(losses(backbone, delta.view(1, 3, -1), [row]))
    assert float(theirs) == pytest.approx(expected, rel=1e-4)
    assert float(bare) != pytest.approx(expected, rel=1e-2)  # control: the prompt counts
    # It comes back as tuned for this model and no other; control: another model's folder.
    _, notes = read_prompts(tmp_path, ("task",), model)
    assert len(notes) == 1
    backbone.name = "another"
    _, notes = read_prompts(tmp_path, ("task",), model)
    assert notes[1] == f"note: tuned for {base}, used with another"


def test_texts_are_answered_one_by_one_and_as_json_lines(done, monkeypatch, capsys):
    run = Run(next(done.glob("ist-*")))
    name = run.config["parts"]["seen"][0]
    words = ["--run", run.folder.name, "--task", name, "--out", str(done), "--tokens", "4"]
    capsys.readouterr()
    assert cli.main(["predict", "red cold", "blue", *words]) == 0
    plain = capsys.readouterr().out.rstrip("\n").split("\n")
    monkeypatch.setattr("sys.stdin", StringIO('{"input": "red cold", "id": 7}\nblue\n'))
    assert cli.main(["predict", *words]) == 0
    first, second = capsys.readouterr().out.rstrip("\n").split("\n")
    output = json.loads(first)["output"]
    assert len(plain) == 2 and json.loads(first) == {"input": "red cold", "id": 7, "output": output}
    assert (
        " ".join(output.split()) == plain[0] and second == plain[1]
    )  # plain answers stay on their line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"input": ', "line 2: not valid JSON"),
        ('{"text": "red"}', "line 2: field 'input' must be a text, found None"),
    ],
)
def test_a_broken_line_is_named(done, monkeypatch, capsys, line, says):
    run = Run(next(done.glob("ist-*")))
    monkeypatch.setattr("sys.stdin", StringIO(f"red cold\n{line}\n"))
    assert (
        cli.main(
            [
                "predict",
                "--run",
                run.folder.name,
                "--task",
                run.config["parts"]["seen"][0],
                "--out",
                str(done),
            ]
        )
        == 2
    )
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(("kind", "part"), [("msf", "unseen"), ("ist", "seen")])
def test_a_mixture_that_is_not_there_is_told(done, capsys, tmp_path, kind, part):
    run = Run(next(done.glob(f"{kind}-*")))
    words = [
        "export",
        run.folder.name,
        run.config["parts"][part][0],
        "--mixture",
        "--to",
        str(tmp_path / "x"),
        "--out",
        str(done),
    ]
    assert cli.main(words) == 2 and not (tmp_path / "x").exists()
    assert (
        "--mixture: runs of ipt ist have mixtures, of their unseen tasks" in capsys.readouterr().err
    )
