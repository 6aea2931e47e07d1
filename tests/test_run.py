"""A run folder's files: whole after any failure, named where damaged, and of one configuration."""

import os
import platform
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ipt
from ipt import run as run_module
from ipt.run import Run, chosen_run, complete_runs, environment
from ipt.storage import free_bytes, read_json, read_tensors, write_atomic, write_json, write_tensors

CONFIG = {"kind": "msf", "split": "toy", "seed": 7}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def half_written(path, content):
    """Stand in for `Path.write_bytes` on a disk that is full after half of the content."""
    with open(path, "wb") as handle:
        handle.write(content[: len(content) // 2])
    raise OSError(28, "No space left on device", str(path))


def not_moved(source, target):
    raise OSError(5, "Input/output error", str(target))


def interrupted(source, target):
    raise KeyboardInterrupt


def test_a_write_replaces_the_whole_file(tmp_path):
    write_atomic(tmp_path / "file", b"a long first content")
    write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert names_in(tmp_path) == ["file"]


def test_a_disk_that_fills_up_in_the_middle_of_a_write_leaves_the_old_file(tmp_path, monkeypatch):
    write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(Path, "write_bytes", half_written)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "file", b"new content")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("failure", "error"), [(not_moved, OSError), (interrupted, KeyboardInterrupt)]
)
def test_a_write_that_ends_before_the_rename_leaves_the_old_file(
    tmp_path, monkeypatch, failure, error
):
    write_atomic(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "replace", failure)
    with pytest.raises(error):
        write_atomic(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_the_whole_content_is_there_before_the_rename_and_in_the_same_folder(tmp_path, monkeypatch):
    """A rename is one step only inside one file system; each process needs its own draft."""
    moved = []

    def replace(source, target):
        moved.append((source, target, source.read_bytes()))

    monkeypatch.setattr(os, "replace", replace)
    for process in (11, 12):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        write_atomic(tmp_path / "file", b"new")
    (first, target, content), (second, _, _) = moved
    assert content == b"new" and target == tmp_path / "file"
    assert first.parent == second.parent == tmp_path
    assert first != second and first.name.startswith(".")


KILLED = """
import os, signal, sys
from pathlib import Path
from ipt.storage import write_atomic
def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)
def half(path, content):
    with open(path, "wb") as handle:
        handle.write(content[:5])
        handle.flush()
        die()
if sys.argv[2] == "write":
    Path.write_bytes = half
else:
    os.replace = die
write_atomic(Path(sys.argv[1]), b"new content")
"""


@pytest.mark.parametrize("moment", ["write", "rename"])
def test_sigkill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path, moment):
    (tmp_path / "file").write_bytes(b"old")
    made = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "file"), moment], check=False
    )
    assert made.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"old"
    write_atomic(tmp_path / "file", b"newer")  # what the dead process left is in nobody's way
    assert (tmp_path / "file").read_bytes() == b"newer"


def test_json_is_written_and_read_in_one_form(tmp_path, monkeypatch):
    """Also where the system's own encoding is another."""
    monkeypatch.setattr("io.text_encoding", lambda encoding, level=2: encoding or "latin-1")
    write_json(tmp_path / "a.json", {"b": [1], "a": "é"})
    assert (tmp_path / "a.json").read_bytes() == '{\n "a": "é",\n "b": [\n  1\n ]\n}\n'.encode()
    assert read_json(tmp_path / "a.json") == {"a": "é", "b": [1]}


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b'{"a": "\xff"}'])
def test_json_that_is_missing_or_damaged_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{path} is not a readable JSON file \(.+\); remove the run folder"
    ):
        read_json(path)


def test_tensors_come_back_bit_by_bit_with_their_metadata(tmp_path):
    whole = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    tensors = {
        "turned": whole.T,  # not contiguous
        "part": whole[1:3],  # shares memory with the first
        "trained": whole.double().requires_grad_(),
        "counts": torch.tensor([3, -1]),
    }
    write_tensors(tmp_path / "t.safetensors", tensors, {"digest": "é"})
    found, metadata = read_tensors(tmp_path / "t.safetensors")
    assert metadata == {"digest": "é"} and found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype
    write_tensors(tmp_path / "plain.safetensors", {"a": whole})
    assert read_tensors(tmp_path / "plain.safetensors")[1] == {}


@pytest.mark.parametrize("content", [None, b"", b"x" * 100])
def test_tensors_that_are_missing_or_damaged_are_an_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "codes.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"{path} is not a readable safetensors file \(.+\); remove it"
    ):
        read_tensors(path)


def test_tensors_are_written_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(2)})
    monkeypatch.setattr(os, "replace", not_moved)
    with pytest.raises(OSError, match="Input/output"):
        write_tensors(path, {"a": torch.ones(2)})
    assert torch.equal(read_tensors(path)[0]["a"], torch.zeros(2)) and names_in(tmp_path) == [
        path.name
    ]


@pytest.mark.parametrize(("said", "revision"), [("0123abc\n", "0123abc"), ("", "unknown")])
def test_the_environment_names_versions_and_the_revision_of_the_package(
    monkeypatch, said, revision
):
    asked = []

    def git(words, **more):
        asked.append(words)
        return SimpleNamespace(
            stdout=said if more["text"] and more["capture_output"] and not more["check"] else None
        )

    monkeypatch.setattr(subprocess, "run", git)
    packages = ("torch", "transformers", "numpy", "scikit-learn", "intrinsic-prompt-tuning")
    expected = {name: version(name) for name in packages}
    assert environment() == expected | {"python": platform.python_version(), "revision": revision}
    assert asked == [["git", "-C", str(Path(ipt.__file__).parent), "rev-parse", "HEAD"]]


def test_a_new_folder_gets_its_settings_and_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "environment", lambda: {"python": "3"})
    run = Run.open(tmp_path / "out" / "mine", CONFIG | {"rates": (0.3, 1.0)})
    assert run.folder == tmp_path / "out" / "mine" and names_in(run.folder) == ["config.json"]
    record = read_json(run.folder / "config.json")
    assert record == {"config": CONFIG | {"rates": [0.3, 1.0]}, "environment": {"python": "3"}}
    assert run.config == CONFIG | {"rates": [0.3, 1.0]} and run.result is None


def test_a_folder_opens_again_with_the_same_settings_and_stays_as_it_is(tmp_path):
    Run.open(tmp_path / "mine", CONFIG | {"rates": (0.3,)})
    before = (tmp_path / "mine" / "config.json").stat().st_mtime_ns
    again = Run.open(tmp_path / "mine", CONFIG | {"rates": (0.3,)})
    assert again.folder == tmp_path / "mine"
    assert (tmp_path / "mine" / "config.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other", [CONFIG | {"seed": 8}, CONFIG | {"limit": 0}, {"kind": "msf", "split": "toy"}, {}]
)
def test_a_folder_of_other_settings_is_refused_and_stays_as_it_is(tmp_path, other):
    path = Run.open(tmp_path / "mine", CONFIG).folder / "config.json"
    before = path.read_bytes()
    with pytest.raises(
        ValueError,
        match=rf"mine holds a run with other settings \(see {path}\); choose another with --run",
    ):
        Run.open(tmp_path / "mine", other)
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["notes.json", "metrics.jsonl", "model.safetensors"])
def test_a_folder_with_files_of_another_program_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(
        ValueError,
        match=r"holds files but no config.json: not a run folder; choose another with --run",
    ):
        Run.open(tmp_path, CONFIG)
    assert names_in(tmp_path) == [name]


def test_control_a_lock_and_a_text_are_no_reason_to_refuse_a_folder(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / "notes.txt").touch()
    assert Run.open(tmp_path, CONFIG).config == CONFIG


def test_a_folder_that_cannot_be_written_is_one_error_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(
        ValueError,
        match=r"--out: .*file/mine cannot be written \(Not a directory\); choose another",
    ):
        Run.open(tmp_path / "file" / "mine", CONFIG)

    def read_only(path, **more):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", read_only)
    with pytest.raises(
        ValueError, match=r"--out: .*mine cannot be written \(Read-only file system\)"
    ):
        Run.open(tmp_path / "mine", CONFIG)


def test_a_run_is_found_by_its_path_first_and_else_by_its_name_below_out(tmp_path, monkeypatch):
    below = Run.open(tmp_path / "out" / "mine", CONFIG).folder
    assert Run.find(Path("mine"), tmp_path / "out").folder == below
    monkeypatch.chdir(tmp_path)
    Run.open(Path("mine"), CONFIG)
    assert Run.find(Path("mine"), tmp_path / "out").folder == Path("mine")


def test_a_run_that_is_nowhere_is_an_error_with_the_command_that_lists_them(tmp_path):
    (tmp_path / "out" / "empty").mkdir(parents=True)
    with pytest.raises(
        ValueError, match=rf"out/empty is no run folder; ipt runs --out {tmp_path}/out lists"
    ):
        Run.find(Path("empty"), tmp_path / "out")


@pytest.mark.parametrize("lost", ["kind", "split", "seed"])
def test_settings_of_another_program_are_told_with_what_they_lack(tmp_path, lost):
    others = {name: value for name, value in CONFIG.items() if name != lost}
    write_json(tmp_path / "config.json", {"config": others})
    with pytest.raises(
        ValueError,
        match="is no run of ipt msf or ipt ist: its config.json lacks kind, seed, split; choose",
    ):
        _ = Run(tmp_path).config


@pytest.mark.parametrize(
    "record", [[CONFIG], CONFIG, {"config": ["kind", "split", "seed"]}, "text"]
)
def test_a_config_that_is_no_record_of_settings_is_refused(tmp_path, record):
    write_json(tmp_path / "config.json", record)
    says = "is no run of ipt msf" if isinstance(record, dict) else "an object was expected, found"
    with pytest.raises(ValueError, match=says):
        _ = Run(tmp_path).config


def test_parts_are_missing_whose_condition_has_no_scores(tmp_path):
    parts = {"same": "train_same", "unseen": "test", "pca": "pca_test"}
    run = Run.open(tmp_path, CONFIG)
    assert run.missing_parts(parts) == ["same", "unseen", "pca"] and run.missing_parts({}) == []
    run.finish({"scores": {"test": {}, "same": {}}})  # `same` is a part's name, not a condition's
    assert run.missing_parts(parts) == ["same", "pca"]
    run.finish({"scores": dict.fromkeys(parts.values(), {})})
    assert run.missing_parts(parts) == []


def test_a_finished_run_has_its_result_and_no_checkpoints(tmp_path):
    run = Run.open(tmp_path, CONFIG)
    for name in (
        "checkpoint-msf.safetensors",
        "checkpoint-ist-1of2.safetensors",
        "vectors.safetensors",
        "metrics-msf.jsonl",
    ):
        (tmp_path / name).touch()
    run.finish({"scores": {}, "dim": 2})
    assert run.result == {"scores": {}, "dim": 2}
    assert names_in(tmp_path) == [
        "config.json",
        "metrics-msf.jsonl",
        "result.json",
        "vectors.safetensors",
    ]


def test_checkpoints_stay_where_the_result_cannot_be_written(tmp_path, monkeypatch):
    run = Run.open(tmp_path, CONFIG)
    (tmp_path / "checkpoint-msf.safetensors").touch()
    monkeypatch.setattr(os, "replace", not_moved)
    with pytest.raises(OSError):
        run.finish({})
    assert (
        names_in(tmp_path) == ["checkpoint-msf.safetensors", "config.json"] and run.result is None
    )


def finished(out, name, kind, when):
    run = Run.open(out / name, CONFIG | {"kind": kind})
    run.finish({})
    os.utime(run.folder / "result.json", (when, when))
    return run.folder


def test_complete_runs_of_a_kind_come_newest_last_and_unreadable_ones_are_passed_over(tmp_path):
    newest, oldest = finished(tmp_path, "a", "ist", 300), finished(tmp_path, "c", "ist", 100)
    middle, other = finished(tmp_path, "b", "ist", 200), finished(tmp_path, "d", "msf", 400)
    Run.open(tmp_path / "unfinished", CONFIG | {"kind": "ist"})
    (finished(tmp_path, "broken", "ist", 50) / "config.json").write_text("{")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "result.json").write_text("{}")
    assert [run.folder for run in complete_runs(tmp_path, "ist")] == [oldest, middle, newest]
    assert [run.folder for run in complete_runs(tmp_path, "msf")] == [other]
    assert complete_runs(tmp_path / "nowhere", "msf") == []


def test_a_run_is_found_by_a_beginning_or_an_end_that_no_other_has(tmp_path):
    first = finished(tmp_path, "ist-fold-1-s42-aaaa", "ist", 1)
    finished(tmp_path, "ist-fold-2-s42-bbbb", "ist", 2)
    assert Run.find(Path("ist-fold-1"), tmp_path).folder == first
    assert Run.find(Path("aaaa"), tmp_path).folder == first
    # Control: what fits two is no guess, and what fits none has the near names.
    with pytest.raises(ValueError, match="ist-fold fits several runs, .*aaaa, .*bbbb; say more"):
        Run.find(Path("ist-fold"), tmp_path)
    with pytest.raises(ValueError, match=r"is no run folder; did you mean ist-fold-2-s42-bbbb"):
        Run.find(Path("ist-fold2-s42-bbb"), tmp_path)


def test_a_folder_of_runs_stands_for_its_newest_complete_ist_run(tmp_path):
    finished(tmp_path / "packed", "msf-1", "msf", 300)
    finished(tmp_path / "packed", "ist-1", "ist", 100)
    newest = finished(tmp_path / "packed", "ist-2", "ist", 200)
    assert Run.find(tmp_path / "packed", tmp_path / "runs").folder == newest
    assert Run.find(Path("packed"), tmp_path).folder == newest


def test_the_newest_run_is_chosen_and_where_there_is_none_the_one_that_comes_with_ipt(
    tmp_path, capsys, monkeypatch
):
    shipped = finished(tmp_path / "package", "ist-shipped", "ist", 1)
    monkeypatch.setattr(run_module, "EXAMPLE_FOLDER", tmp_path / "package")
    out = tmp_path / "runs"
    assert chosen_run(None, out).folder == shipped
    said = capsys.readouterr()
    assert said.err == f"no run in {out}: the one that comes with ipt\n" and not said.out
    assert chosen_run("example", out).folder == shipped

    # Control: with runs of one's own nothing is said, and another kind is taken where it may be.
    msf = finished(out, "msf-a", "msf", 400)
    assert chosen_run(None, out, ("ist", "msf")).folder == msf
    assert chosen_run(None, out).folder == shipped
    capsys.readouterr()
    newest = finished(out, "ist-a", "ist", 300)
    assert chosen_run(None, out, ("ist", "msf")).folder == newest
    assert chosen_run("msf", out, ("ist",)).folder == msf
    assert capsys.readouterr().err == ""


def test_free_space_is_that_of_the_nearest_folder_that_is_there(tmp_path, monkeypatch):
    asked = []

    def usage(folder):
        asked.append(folder)
        return SimpleNamespace(total=100, used=70, free=30)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_bytes(tmp_path) == 30 and free_bytes(tmp_path / "a" / "b") == 30
    assert asked == [tmp_path, tmp_path]


def test_a_run_gives_the_tensors_of_a_file(tmp_path):
    write_tensors(tmp_path / "vectors.safetensors", {"test": torch.tensor([[1.0, 2.0]])})
    assert Run(tmp_path).tensors("vectors")["test"].tolist() == [[1.0, 2.0]]
