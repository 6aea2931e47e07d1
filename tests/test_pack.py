"""`ipt runs pack`: a small folder, which is a run as the one it was made from."""

import pytest
import torch

from ipt.api import reopen_experiment
from ipt.cli import app as cli
from ipt.methods.subspace import WEIGHTS, Subspace
from ipt.predict import task_delta
from ipt.run import Run, complete_runs
from ipt.storage import read_tensors
from ipt.workflows import pack


@pytest.fixture(scope="module")
def packed(done, tmp_path_factory):
    to = tmp_path_factory.mktemp("packed") / "run"
    assert cli.main(["runs", "pack", "--out", str(done), "--to", str(to)]) == 0
    return to


def size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_it_has_the_runs_settings_scores_and_numbers(done, packed):
    (run,), (copy,) = complete_runs(done, "ist"), complete_runs(packed, "ist")
    assert Run.find(packed, done).folder == copy.folder
    assert copy.result == run.result and copy.source.result == run.source.result
    assert {**copy.config, "subspace": ""} == {**run.config, "subspace": ""}
    assert copy.config["subspace"] == copy.source.subspace_digest != run.config["subspace"]
    kept = run.tensors("vectors")
    assert all(torch.equal(tensor, kept[name]) for name, tensor in copy.tensors("vectors").items())
    assert size(packed) < size(done)


def test_its_numbers_are_the_runs_rounded_to_float16(done, packed):
    (run,), (copy,) = complete_runs(done, "ist"), complete_runs(packed, "ist")
    experiments = [reopen_experiment(run), reopen_experiment(copy)]
    names = [*experiments[0].seen[:1], *experiments[0].unseen[:1]]
    for kind, others in (("ist", (run, copy)), ("msf", (run.source, copy.source))):
        for name in names:
            pairs = zip(others, experiments, strict=True)
            deltas = [task_delta(one, experiment, name).delta for one, experiment in pairs]
            assert torch.allclose(*deltas, rtol=2e-3, atol=2e-3), kind
    whole = Subspace.load(run.source.folder / "subspace").state_dict()
    tensors, _ = read_tensors(copy.source.folder / "subspace" / WEIGHTS)
    halved = [name for name, tensor in tensors.items() if tensor.dtype == torch.float16]
    assert len(halved) == 1
    assert torch.equal(tensors[halved[0]], whole[halved[0]].half())
    assert all(torch.equal(tensors[name], whole[name]) for name in whole if name not in halved)


def test_where_an_answer_changes_nothing_is_rounded(done, tmp_path, monkeypatch, capsys):
    count = iter(range(1000))
    monkeypatch.setattr(
        pack, "answers_of", lambda experiment, tasks, deltas: [(str(next(count)),)] * len(tasks)
    )
    to = tmp_path / "run"
    assert cli.main(["runs", "pack", "--out", str(done), "--to", str(to)]) == 0
    assert "float16: not the subspace" in capsys.readouterr().out
    (run,), (copy,) = complete_runs(done, "ist"), complete_runs(to, "ist")
    assert copy.source.subspace_digest == run.source.subspace_digest
    experiment = reopen_experiment(copy)
    for name in experiment.unseen:
        own = task_delta(run.source, reopen_experiment(run), name).delta
        assert torch.equal(task_delta(copy.source, experiment, name).delta, own)


def test_a_folder_that_holds_files_is_left_alone(done, packed, capsys):
    assert cli.main(["runs", "pack", "--out", str(done), "--to", str(packed)]) == 2
    assert "holds files; choose a new folder" in capsys.readouterr().err
    (msf,) = complete_runs(done, "msf")
    words = ["runs", "pack", msf.folder.name, "--out", str(done), "--to", str(packed / "new")]
    assert cli.main(words) == 2
    assert "is no complete run of ipt ist" in capsys.readouterr().err
