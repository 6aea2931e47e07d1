"""PEFT folders as input: prompts tuned elsewhere take the place of tuned ones, and what does not fit is told."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ist_words, msf_words
from peft import PromptTuningConfig, TaskType, get_peft_model

from ipt.backbones.loading import load_backbone
from ipt.cli import app as cli
from ipt.interop.peft import CONFIG, WEIGHTS, read_peft
from ipt.run import Run
from ipt.storage import read_tensors, write_tensors


@pytest.fixture(scope="module")
def given(done, tmp_path_factory):
    """The prompts of a finished run, a PEFT folder per task."""
    folder = tmp_path_factory.mktemp("given")
    run = Run(next(done.glob("msf-*")))
    for name in (*run.config["parts"]["seen"], *run.config["parts"]["unseen"]):
        assert (
            cli.main(
                ["export", run.folder.name, name, "--to", str(folder / name), "--out", str(done)]
            )
            == 0
        )
    return folder


def result(out: Path, kind: str) -> dict:
    return Run(next(out.glob(f"{kind}-*"))).result


def test_given_prompts_make_the_run_that_their_tuning_made(world, done, given, tmp_path, capsys):
    assert cli.main(msf_words(world, tmp_path, "--prompts", given)) == 0
    said = capsys.readouterr()
    assert f"prompts of 5 tasks are taken from {given}; 0 are tuned" in said.out + said.err
    again, first = result(tmp_path, "msf"), result(done, "msf")
    assert again["scores"] == first["scores"] and again["reference"] == first["reference"]
    assert cli.main(ist_words(tmp_path)) == 0
    assert result(tmp_path, "ist")["scores"] == result(done, "ist")["scores"]
    for setting in tmp_path.glob("bank/*/setting.json"):
        if json.loads(setting.read_text())["data_seed"] == 100:
            (setting.parent / "first.safetensors").unlink()
    (next(tmp_path.glob("ist-*")) / "result.json").unlink()
    assert (
        cli.main(ist_words(tmp_path)) == 2
        and "has lost the delta of first" in capsys.readouterr().err
    )


def test_given_prompts_are_used_as_they_are_and_the_rest_is_tuned(world, given, tmp_path):
    """Control: another prompt for one task changes its reference, and nothing but it is taken."""
    mine = tmp_path / "given" / "first"
    (mine).mkdir(parents=True)
    tensors, _ = read_tensors(given / "first" / WEIGHTS)
    write_tensors(mine / WEIGHTS, {name: torch.zeros_like(t) for name, t in tensors.items()})
    (mine / CONFIG).write_bytes((given / "first" / CONFIG).read_bytes())
    assert cli.main(msf_words(world, tmp_path, "--prompts", tmp_path / "given")) == 0
    kept = {
        path.stem: read_tensors(path)[0]["prompt"] for path in tmp_path.glob("bank/*/*.safetensors")
    }
    assert len(kept) == 5 and [name for name, prompt in kept.items() if not prompt.any()] == [
        "first"
    ]


def test_prompts_that_change_places_are_scored_on_each_others_tasks(world, done, given, tmp_path):
    """Control: the run that the tuning made has other scores, of these two tasks alone."""
    folder = Path(shutil.copytree(given, tmp_path / "given"))
    (folder / "first").rename(tmp_path / "kept")
    (folder / "last").rename(folder / "first")
    (tmp_path / "kept").rename(folder / "last")
    assert cli.main(msf_words(world, tmp_path, "--prompts", folder)) == 0
    kept = {
        path.stem: read_tensors(path)[0]["prompt"] for path in tmp_path.glob("bank/*/*.safetensors")
    }
    for name, other in {"first": "last", "last": "first", "second": "second"}.items():
        assert torch.equal(kept[name], read_peft(given / other, 3, 16)[0].flatten())
    swapped, plain = (
        result(tmp_path, "msf")["reference"]["100"],
        result(done, "msf")["reference"]["100"],
    )
    assert {name for name in plain if swapped[name] != plain[name]} == {"first", "last"}


@pytest.mark.parametrize("submodules", [1, 2])
def test_a_folder_that_peft_wrote_is_read(world, tmp_path, submodules):
    backbone = load_backbone(str(world / "model"), device="cpu")
    config = PromptTuningConfig(
        task_type=TaskType.SEQ_2_SEQ_LM, num_virtual_tokens=3, num_transformer_submodules=submodules
    )
    model = get_peft_model(backbone.model, config)
    model.save_pretrained(tmp_path / "peft")
    prompt, name = read_peft(tmp_path / "peft", 3, backbone.hidden_size)
    assert prompt.shape == (3, 16) and Path(name) == world / "model"
    assert torch.equal(prompt, model.prompt_encoder.default.embedding.weight[:3].detach().cpu())


def change(folder: Path, **fields: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | fields))


WRONG = {
    "another kind": (lambda f: change(f, peft_type="LORA"), "a PEFT adapter of the kind LORA"),
    "no configuration": (lambda f: (f / CONFIG).write_text("{"), f"{CONFIG} cannot be read"),
    "a list": (lambda f: (f / CONFIG).write_text("[]"), "of the kind None"),
    "another length": (lambda f: (change(f, num_virtual_tokens=2), write_tensors(f / WEIGHTS, {"prompt_embeddings": torch.ones(2, 16)})),
                       "holds a prompt of 2 vectors, 3 were asked for"),
    "another width": (lambda f: write_tensors(f / WEIGHTS, {"prompt_embeddings": torch.ones(3, 8)}), "vectors of 8 numbers"),
    "fewer rows than it says": (lambda f: write_tensors(f / WEIGHTS, {"prompt_embeddings": torch.ones(2, 16)}), "prompt_embeddings of 3"),
    "other tensors": (lambda f: write_tensors(f / WEIGHTS, {"lora_A": torch.ones(2, 16)}), "lora_A"),
    "a pickle": (lambda f: (f / WEIGHTS).rename(f / "adapter_model.bin"), f"has no {WEIGHTS}"),
    "damaged": (lambda f: (f / WEIGHTS).write_bytes(b"x"), "not a readable safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_folder_that_does_not_fit_is_one_error(world, given, tmp_path, capsys, case):
    spoil, says = WRONG[case]
    folder = tmp_path / "given" / "first"
    folder.mkdir(parents=True)
    for name in (CONFIG, WEIGHTS):
        (folder / name).write_bytes((given / "first" / name).read_bytes())
    spoil(folder)
    assert cli.main(msf_words(world, tmp_path / "runs", "--prompts", tmp_path / "given")) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error and not (tmp_path / "runs").exists()


def test_a_folder_without_the_tasks_is_one_error(world, tmp_path, capsys):
    assert cli.main(msf_words(world, tmp_path, "--prompts", tmp_path)) == 2
    assert "no PEFT folder is named after a task; found none" in capsys.readouterr().err
