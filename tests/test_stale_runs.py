"""The commands never take an old run, prompt or score for a new one: each is refused with one line, or made again."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ist_words, msf_words, plain
from fitted import checksum, checksum_scores
from safetensors.torch import load_file, save_file

from ipt.backbones.loading import load_backbone
from ipt.cli import app as cli
from ipt.cli.study import fill_cell
from ipt.data import Task
from ipt.encoded import EncodedTask
from ipt.interop.peft import WEIGHTS, read_peft
from ipt.provenance import source_record
from ipt.run import Run, complete_runs
from ipt.storage import read_json, read_tensors, write_json, write_tensors
from ipt.workflows.stability import MethodStability, to_json
from ipt.workflows.study import Cell


@pytest.fixture(scope="module")
def made(world, tmp_path_factory):
    """A finished MSF run with a name given by hand, and an IST run on it."""
    out = tmp_path_factory.mktemp("made")
    assert cli.main(msf_words(world, out, "--run", "mine")) == 0
    assert cli.main(ist_words(out, "--on", "unseen")) == 0
    return out


@pytest.fixture
def own(world, made, tmp_path):
    """A world and runs that a test may change."""
    for name in ("tasks", "model"):
        shutil.copytree(world / name, tmp_path / name)
    shutil.copytree(made, tmp_path / "runs")
    for path in tmp_path.glob("runs/*/config.json"):
        text = json.dumps(read_json(path)).replace(str(world), str(tmp_path))
        path.write_text(text)  # where tasks and model are now
    return tmp_path


@pytest.fixture
def runs(made, tmp_path):
    """The runs alone, for a test that changes them: tasks and model are where they were."""
    return Path(shutil.copytree(made, tmp_path / "runs"))


def files_of(folder):
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize(
    "other",
    [("--alpha", "3"), ("--dim", "1"), ("--tune.steps", "9"), ("--seed", "43"), ("--test-rows", "5")],
)
def test_a_readable_run_of_other_settings_is_refused(world, made, capsys, other):
    before = files_of(made / "mine")
    assert cli.main(msf_words(world, made, "--run", "mine", *other)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    path = made / "mine" / "config.json"
    assert (
        error
        == f"ipt: {made / 'mine'} holds a run with other settings (see {path}); choose another with --run"
    )
    assert files_of(made / "mine") == before


def test_control_the_same_settings_open_it_and_nothing_is_done_again(world, made, capsys):
    before = files_of(made / "mine")
    more = (
        "--stacked-jobs",
        "2",
        "--token-budget",
        "500",
        "--checkpoint-seconds",
        "0",
        "--tune.stacked-jobs",
        "3",
    )
    assert cli.main(msf_words(world, made, "--run", "mine", *more)) == 0
    said = capsys.readouterr()
    assert "written: " in said.out or "mine" in said.out
    assert "autoencoder (MSF)" not in said.err and "prompt tuning" not in said.err
    assert files_of(made / "mine") == before
    assert cli.main(ist_words(made, "--on", "unseen", "--stacked-jobs", "2")) == 0
    assert "numbers a task (IST)" not in capsys.readouterr().err and len(complete_runs(made, "ist")) == 1


def test_other_settings_of_ist_are_another_run(runs, capsys):
    assert cli.main(ist_words(runs, "--on", "unseen", "--warmup", "0.2")) == 0
    assert "numbers a task (IST)" in capsys.readouterr().err
    assert len(complete_runs(runs, "ist")) == 2


def test_a_run_made_again_with_other_settings_has_no_old_vectors(world, runs, capsys):
    """Its name is the old one, and so are the settings of IST."""
    (old,) = complete_runs(runs, "ist")
    shutil.rmtree(runs / "mine")
    assert (
        cli.main(
            msf_words(world, runs, "--run", "mine", "--alpha", "30", "--learning-rate", "0.05")
        )
        == 0
    )
    assert "prompt tuning" not in capsys.readouterr().err  # control: the prompts are the same
    assert cli.main(ist_words(runs, "--on", "unseen")) == 0
    assert "numbers a task (IST)" in capsys.readouterr().err
    new = complete_runs(runs, "ist")[-1]
    assert new.folder != old.folder and new.config["msf_run"] == old.config["msf_run"] == "mine"
    first, later = (
        read_tensors(run.folder / "vectors.safetensors")[0]["test"] for run in (old, new)
    )
    assert not (first == later).any()


def change_row(own):
    path = own / "tasks" / "first.json"
    record = json.loads(path.read_text())
    record["examples"][0]["output"] = ["dark"]
    path.write_text(json.dumps(record))
    return Task.from_dict(record)


def test_another_row_makes_one_prompt_again_and_its_old_subspace_is_refused(own, capsys):
    out, task = own / "runs", change_row(own)
    assert cli.main(ist_words(out)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        error == "ipt: tasks have changed since the subspace was found: first; run `ipt msf` again"
    )
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("bank/*/*.safetensors")}
    assert cli.main(msf_words(own, out, "--run", "mine")) == 2  # the old run
    assert "holds a run with other settings" in capsys.readouterr().err
    assert cli.main(msf_words(own, out)) == 0
    assert "tuning 1 deltas, data seed 100 (4 are in the bank)" in capsys.readouterr().err
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("bank/*/*.safetensors")}
    assert [name for name in after if after[name] != before[name]] == ["first.safetensors"]
    new = complete_runs(out, "msf")[-1]
    assert new.result["tasks"]["first"]["digest"] == task.digest


def test_another_weight_makes_all_prompts_again_and_the_old_subspace_is_refused(own, capsys):
    out, path = own / "runs", own / "model" / "model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name].view(-1)[0] += 1e-3
    save_file(weights, path, {"format": "pt"})
    assert cli.main(ist_words(out)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        error
        == f"ipt: the weights of {own / 'model'} have changed since the subspace was found; run `ipt msf` again"
    )
    assert cli.main(msf_words(own, out)) == 0
    assert "tuning 5 deltas, data seed 100 (0 are in the bank)" in capsys.readouterr().err


def export_all(out, folder):
    run = Run(out / "mine")
    for name in (*run.config["parts"]["seen"], *run.config["parts"]["unseen"]):
        assert (
            cli.main(["export", "mine", name, "--to", str(folder / name), "--out", str(out)]) == 0
        )


def references(out, run):
    return {
        name: score["generated"]
        for name, score in Run(out / run).result["reference"]["100"].items()
    }


def test_each_given_prompt_is_scored_on_its_task_and_another_number_is_another_prompt(
    world, made, tmp_path, monkeypatch
):
    """Also where two tasks' folders change places: nothing of the first run is taken for the second's."""
    export_all(made, tmp_path / "given")
    backbone = load_backbone(str(world / "model"), device="cpu")
    monkeypatch.setattr("ipt.workflows.evaluation.score_deltas", checksum_scores)

    def expected():
        found = {}
        for path in (tmp_path / "given").iterdir():
            task = Task.from_dict(json.loads((world / "tasks" / f"{path.name}.json").read_text()))
            data = EncodedTask.draw(backbone, task, 100, 6, 6)
            found[path.name] = round(checksum(read_peft(path, 3, 16)[0], data), 6)
        return found

    def run(name):
        words = msf_words(world, tmp_path / "runs", "--prompts", tmp_path / "given", "--run", name)
        return cli.main(words)

    assert run("plain") == 0
    first = references(tmp_path / "runs", "plain")
    assert first == expected() and len(set(first.values())) == 5
    path = tmp_path / "given" / "first" / WEIGHTS
    tensors, metadata = read_tensors(path)
    tensors["prompt_embeddings"][2, 15] += 1e-3
    write_tensors(path, tensors, metadata)
    assert run("plain") == 2  # the old run is not this one
    assert run("number") == 0
    changed = references(tmp_path / "runs", "number")
    assert changed == expected()
    assert [name for name in first if changed[name] != first[name]] == ["first"]
    given = tmp_path / "given"
    (given / "first").rename(tmp_path / "kept")
    (given / "last").rename(given / "first")
    (tmp_path / "kept").rename(given / "last")
    assert run("swapped") == 0
    swapped = references(tmp_path / "runs", "swapped")
    assert swapped == expected()
    assert sorted(name for name in first if swapped[name] != changed[name]) == ["first", "last"]


def test_a_run_that_stands_on_a_changed_name_is_told_apart_for_stability_too(
    made, monkeypatch, capsys
):
    def done(experiment, subspace, config, seeds, run):
        row = MethodStability(str(seeds), 1, 2, 0.5, 1.0, 1.0, 0.1, 1.0)
        result = {"kind": "stability", "by_seed": {}, "digest": "", "rows": [to_json(row)]}
        run.finish(result)
        return result

    monkeypatch.setattr("ipt.workflows.stability.run_stability", done)
    words = ["stability", "--dim", "2", "--out", str(made), "--runs", "2"]
    assert cli.main(words) == 0
    (folder,) = made.glob("stability-*")
    settings = Run(folder).config
    (ist,) = complete_runs(made, "ist")
    assert settings["msf_run"] == "mine" and settings["seeds"] == [42, 43]
    assert settings["msf_settings"] == ist.config["msf_settings"]
    assert cli.main([*words[:-1], "3"]) == 0
    assert len(list(made.glob("stability-*"))) == 2
    assert Path(made / "mine").exists()


def test_a_cell_of_a_study_has_the_figures_of_its_own_run(tmp_path):
    """Others beside it have other test rows, another subspace of the same name, or other settings."""
    out = tmp_path / "runs"
    plain(out)
    own = Run(out / "ist-42").config | source_record(Run(out / "msf-42"))
    cases = {
        "ist-a": own | {"limit": 3},
        "ist-b": own | {"msf_settings": "0"},
        "ist-c": own | {"ist": own["ist"] | {"steps": 1}},
        "ist-d": own | {"msf_run": "msf-43"},
        "ist-m": own,
        "ist-x": own | {"limit": 3},
        "ist-y": own | {"msf_settings": "0"},
        "ist-z": own | {"ist": own["ist"] | {"steps": 1}},
    }
    for name, config in cases.items():
        shutil.copytree(out / "ist-42", out / name)
        write_json(out / name / "config.json", {"config": config})
        result = Run(out / "ist-42").result
        value = 0.625 if name == "ist-m" else 0.25
        result["scores"]["test"] = {
            task: {"generated": value, "ranked": None} for task in result["scores"]["test"]
        }
        write_json(out / name / "result.json", result)
    cell = Cell("msf-42", "a line", {})
    wanted = {"ist": own["ist"], "work": {"limit": 0}}
    fill_cell(cell, out, tmp_path / "results", wanted, lambda words: None)
    record = json.loads((tmp_path / "results" / "msf-42.json").read_text())
    (line,) = (x for x in record["lines"] if (x["setting"], x["group"]) == ("test", "all"))
    assert line["absolute"] == 0.625 and record["settings"] == wanted
    shutil.rmtree(out / "ist-m")
    # control: no other is taken for it
    with pytest.raises(
        ValueError, match="holds no complete IST run in msf-42 with the cell's settings"
    ):
        fill_cell(cell, out, tmp_path / "results", wanted, lambda words: None)
