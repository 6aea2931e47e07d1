"""The run that comes with ipt: small, whole, and its answers are those of the run it was made from."""

import io
import zipfile
from pathlib import Path

import pytest
import torch

from ipt.analysis.scores import read_pair
from ipt.api import reopen_experiment
from ipt.cli import app as cli
from ipt.predict import answer_rows, task_delta, vector_delta
from ipt.run import EXAMPLE_FOLDER, Run, chosen_run
from ipt.storage import read_tensors
from ipt.workflows.deltas import missing_tasks

MOST_BYTES = 4_000_000  # of the wheel's own
# Of the run in float32, before it was packed: task, whether of the mixture, rows and answers.
ANSWERS = (
    ("morph_plural", False, {"model": "models", "shirt": "shirts", "portrait": "portraits"}),
    ("morph_plural", True, {"model": "models", "shirt": "shirts", "portrait": "portraits"}),
    ("ari_larger", False, {"32 85": "85", "5 36": "36", "80 6": "80"}),
    ("rel_iso2", False, {"Sudan": "SD", "Monaco": "MA", "Comoros": "KM"}),
    ("pho_syllables", False, {"paradise": "3", "aspect": "2", "pill": "1"}),
    ("fmt_login", False, {"Emily Steele": "eblew", "Ursula Frazier": "ighthecier"}),
    # Seen tasks, which this run of IST has no numbers for: the codes of MSF.
    ("str_first_two", False, {"ruler": "r", "grey": "gr", "tool": "to"}),
    ("gra_tense", False, {"Ida will eat the cake.": "future"}),
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    run = chosen_run(None, tmp_path_factory.mktemp("empty"))
    return run, reopen_experiment(run)


def packed_bytes(folder):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path in folder.rglob("*"):
            wheel.write(path, path.relative_to(folder))
    return len(content.getvalue())


def test_it_is_a_small_part_of_the_wheel():
    assert packed_bytes(EXAMPLE_FOLDER) <= MOST_BYTES
    names = {path.name for path in EXAMPLE_FOLDER.rglob("*") if path.is_file()}
    assert not [name for name in names if name.startswith((".", "metrics", "checkpoint", "table"))]


def test_it_says_where_it_comes_from():
    text = (EXAMPLE_FOLDER / "README.md").read_text(encoding="utf8")
    assert "ipt study analysis/studies/protocol.toml --only default-fold-1-seed42" in text
    assert "ipt runs pack ist-fold-1 --out runs/protocol --to ipt/example_run" in text


@pytest.mark.parametrize(("name", "mixture", "rows"), ANSWERS)
def test_its_answers_are_those_of_the_run_that_was_packed(shipped, name, mixture, rows):
    run, experiment = shipped
    delta = task_delta(run, experiment, name, mixture)
    found = answer_rows(delta.delta, experiment, name, list(rows), 16)
    assert [answer.text for answer in found] == list(rows.values())
    # Control: another task's numbers answer otherwise.
    other = task_delta(run, experiment, "ana_holds").delta
    found = answer_rows(other, experiment, name, list(rows), 16)
    assert [answer.text for answer in found] != list(rows.values())


def test_it_has_all_that_answers_stand_on(shipped):
    run, experiment = shipped
    names = [*experiment.seen, *experiment.unseen]
    assert len(names) == 250 and not missing_tasks(experiment, names, 100)
    assert [result.kind for result in read_pair(run.folder).results] == ["msf", "ist"]
    # Paths of the machine it was made on are none of it.
    assert "paths" not in run.config and "paths" not in run.source.config


def test_numbers_of_ones_own_are_answered_with(shipped):
    run, experiment = shipped
    own = task_delta(run, experiment, "ari_larger")
    given = vector_delta(run, experiment, "ari_larger", own.about["vector"])
    assert torch.equal(given.delta, own.delta)
    zero = vector_delta(run, experiment, "ari_larger", [0.0] * 5)  # control
    assert not torch.allclose(zero.delta, own.delta)
    for vector in ([0.0] * 4, [0.0] * 6, [0.0, 0.0, 0.0, 0.0, float("nan")]):
        with pytest.raises(ValueError, match="--vector must be the 5 numbers of ist-fold-1"):
            vector_delta(run, experiment, "ari_larger", vector)


def test_predict_answers_in_an_empty_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", "12 7", "--task", "ari_larger"]) == 0
    said = capsys.readouterr()
    assert said.out == "12\n"
    assert said.err == "no run in runs: the one that comes with ipt\n"
    assert not list(tmp_path.iterdir())


def test_on_a_terminal_predict_says_what_answers(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert cli.main(["predict", "12 7", "--task", "ari_larger", "--run", "example"]) == 0
    said = capsys.readouterr()
    assert said.out == "12\n"
    assert said.err == (
        "ari_larger: Write the larger number. (test exact-match of this prompt 0.94)\n"
    )
    words = ["predict", "12 7", "--run", "example", "--vector", "-1,0,0,0.5,1e-1"]
    assert cli.main(words) == 0
    assert capsys.readouterr().err.endswith(": 5 numbers of your own\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["predict", "x"], "--task, or --vector, must say what answers"),
        (["predict", "x", "--vector", "1,two"], "--vector must be numbers with commas"),
        (["predict", "x", "--vector", "1", "--mixture"], "two ways to answer"),
        (["predict", "x", "--vector", "1,2"], "--vector must be the 5 numbers of ist-fold-1"),
        (["predict", "x", "--task", "ari_large"], "has no task 'ari_large'; it has ari_larger"),
        (["export", "--to", "x"], "TASK, or RUN TASK, was expected; found nothing"),
        (["export", "a", "b", "c", "--to", "x"], "TASK, or RUN TASK, was expected; found a b c"),
        (["export", "a", "b", "--run", "c", "--to", "x"], "was expected; found a b"),
        (["probe"], "`ipt runs pack example --to runs` makes a copy that is"),
    ],
)
def test_mistakes_are_one_line(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("ipt: ") and says in last
    assert not list(tmp_path.iterdir())


def test_a_task_is_exported_without_naming_a_run(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "ari_larger", "--to", "first"]) == 0
    assert cli.main(["export", "example", "ari_larger", "--to", "second"]) == 0
    found = []
    for name in ("first", "second"):
        tensors, _ = read_tensors(tmp_path / name / "adapter_model.safetensors")
        found.append(tensors)
    assert found[0].keys() == found[1].keys() and len(found[0])
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())
    assert Run.find(Path("example"), tmp_path).folder.parent == EXAMPLE_FOLDER


def test_a_seen_task_without_numbers_of_ist_has_the_code_that_msf_made_of_it(shipped):
    run, experiment = shipped
    about = task_delta(run, experiment, "str_first_two").about
    codes = run.source.tensors("codes")["codes"]
    names = [*experiment.seen, *experiment.unseen]
    assert about["setting"] == "train_msf" and run.source.result is not None
    assert about["vector"] == codes[names.index("str_first_two")].tolist()
    scores = run.source.result["scores"]["train_msf"]
    assert about["test_score"] == scores["str_first_two"]["generated"]
    # Control: an unseen task's numbers are IST's own.
    assert task_delta(run, experiment, "rel_iso2").about["setting"] == "test"
