"""Checkpoints and locks: a stage resumes where it was saved, no two processes write one folder."""

import json
import os
from contextlib import ExitStack

import pytest
import torch
from filelock import FileLock, Timeout

from ipt import checkpoint as checkpoint_module
from ipt import storage
from ipt.checkpoint import Checkpoint
from ipt.run import Run
from ipt.storage import lock_folders, read_tensors


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets by hand."""
    now = [1000.0]
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: now[0])
    return now


def state(value=0.0):
    return {
        "weights": torch.full((2, 3), value, dtype=torch.float64),
        "step": torch.tensor([int(value)]),
    }


def lines_of(checkpoint):
    return [json.loads(line) for line in checkpoint.metrics.read_text(encoding="utf8").splitlines()]


def test_a_stage_without_a_state_begins_anew_and_drops_the_lines_of_before(tmp_path):
    (tmp_path / "metrics-msf.jsonl").write_text("of an attempt without a state\n")
    checkpoint, tensors = Checkpoint(tmp_path, "msf"), state(5.0)
    assert checkpoint.restore(tensors) is False
    assert (tmp_path / "metrics-msf.jsonl").read_bytes() == b""
    assert torch.equal(tensors["weights"], state(5.0)["weights"])


def test_a_state_comes_back_in_place_and_cuts_the_lines_that_come_again(tmp_path):
    checkpoint = Checkpoint(tmp_path, "msf")
    checkpoint.restore(state())
    checkpoint.log(step=1, name="é")
    checkpoint.log(step=2)
    checkpoint.save(state(3.0))
    checkpoint.log(step=3)
    assert lines_of(checkpoint) == [{"step": 1, "name": "é"}, {"step": 2}, {"step": 3}]
    again, tensors = Checkpoint(tmp_path, "msf"), state()
    weights = tensors["weights"]
    assert again.restore(tensors) is True
    assert torch.equal(weights, state(3.0)["weights"]) and tensors["step"].tolist() == [3]
    assert lines_of(again) == [{"step": 1, "name": "é"}, {"step": 2}]
    again.log(step=3)
    assert lines_of(again)[-1] == {"step": 3}


def test_lines_are_text_as_it_is(tmp_path, monkeypatch):
    """Also where the system's own encoding is another."""
    monkeypatch.setattr("io.text_encoding", lambda encoding, level=2: encoding or "latin-1")
    checkpoint = Checkpoint(tmp_path, "msf")
    checkpoint.log(name="é")
    assert (tmp_path / "metrics-msf.jsonl").read_bytes() == '{"name": "é"}\n'.encode()


def test_stages_of_one_folder_have_states_and_lines_of_their_own(tmp_path):
    run = Run(tmp_path)
    for value, stage in ((1.0, "msf"), (2.0, "shared")):
        run.checkpoint(stage).log(stage=stage)
        run.checkpoint(stage).save(state(value))
    for value, stage in ((1.0, "msf"), (2.0, "shared")):
        tensors = state()
        assert run.checkpoint(stage).restore(tensors)
        assert torch.equal(tensors["weights"], state(value)["weights"])
        assert lines_of(run.checkpoint(stage)) == [{"stage": stage}]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "checkpoint-msf.safetensors",
        "checkpoint-shared.safetensors",
        "metrics-msf.jsonl",
        "metrics-shared.jsonl",
    ]


OTHER = {
    "another shape": {"weights": torch.ones(3, 2, dtype=torch.float64), "step": torch.ones(1)},
    "another name": {"moment": torch.ones(2, 3, dtype=torch.float64), "step": torch.ones(1)},
    "one more": state(1.0) | {"moment": torch.ones(1)},
    "one less": {"step": torch.ones(1)},
}


@pytest.mark.parametrize("case", OTHER)
def test_a_state_of_other_tensors_is_refused_and_nothing_is_touched(tmp_path, case):
    checkpoint = Checkpoint(tmp_path, "msf")
    checkpoint.save(state(3.0))
    checkpoint.log(step=4)
    tensors = {name: tensor.clone() for name, tensor in OTHER[case].items()}
    with pytest.raises(
        ValueError,
        match=rf"{checkpoint.path} holds another state than this run's; remove it and run",
    ):
        checkpoint.restore(tensors)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in OTHER[case].items())
    assert lines_of(checkpoint) == [{"step": 4}]


def test_a_state_without_any_line_records_none(tmp_path):
    checkpoint = Checkpoint(tmp_path, "msf")
    checkpoint.save(state(3.0))
    checkpoint.log(step=1)
    assert Checkpoint(tmp_path, "msf").restore(state())
    assert lines_of(checkpoint) == []


def saves(checkpoint, clock, times):
    """Offer a state at each of these times, and return those at which it was saved."""
    found = []
    for at in times:
        clock[0] = 1000.0 + at

        def tensors(at=at):
            found.append(at)
            return state(at)

        checkpoint.maybe_save(tensors)
    return found


def test_a_state_is_saved_at_most_every_so_many_seconds(tmp_path, clock):
    checkpoint = Checkpoint(tmp_path, "msf", 10.0)
    times = (0.0, 9.0, 10.0, 15.0, 19.0, 21.0, 22.0, 31.0)
    assert saves(checkpoint, clock, times) == [10.0, 21.0, 31.0]
    assert read_tensors(checkpoint.path)[0]["step"].tolist() == [31]
    assert saves(Checkpoint(tmp_path, "each", 0.0), clock, (40.0, 40.0, 41.0)) == [40.0, 40.0, 41.0]


def test_a_stage_is_saved_every_minute_unless_told_otherwise(tmp_path, clock):
    assert saves(Run(tmp_path).checkpoint("msf"), clock, (59.0, 60.0)) == [60.0]
    clock[0] = 1000.0
    assert saves(Checkpoint(tmp_path, "other"), clock, (59.0, 60.0)) == [60.0]
    clock[0] = 1000.0
    assert saves(Run(tmp_path).checkpoint("msf", 5.0), clock, (4.0, 5.0)) == [5.0]


def test_a_save_that_was_asked_for_starts_the_wait_anew(tmp_path, clock):
    checkpoint = Checkpoint(tmp_path, "msf", 10.0)
    clock[0] = 1008.0
    checkpoint.save(state(8.0))
    assert saves(checkpoint, clock, (10.0, 17.0, 18.0)) == [18.0]


def test_a_save_that_fails_leaves_the_state_of_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, "msf")
    checkpoint.save(state(1.0))

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(state(2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-msf.safetensors"]
    assert read_tensors(checkpoint.path)[0]["step"].tolist() == [1]


def test_a_discarded_state_is_gone_and_its_lines_stay(tmp_path):
    checkpoint = Checkpoint(tmp_path, "msf")
    checkpoint.log(step=1)
    checkpoint.save(state(1.0))
    checkpoint.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics-msf.jsonl"]
    checkpoint.discard()  # where there is none, there is nothing to do


def test_a_checkpoint_that_keeps_nothing_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    none, tensors = Checkpoint.none(), state(4.0)
    none.seconds = 0.0
    asked = []
    none.log(step=1)
    none.save(tensors)
    none.maybe_save(lambda: asked.append(1))
    none.discard()
    assert none.restore(tensors) is False and torch.equal(tensors["weights"], state(4.0)["weights"])
    assert not asked and not list(tmp_path.iterdir())


def test_a_folder_is_locked_until_the_work_in_it_ends(tmp_path):
    run = Run(tmp_path)
    says = rf"{tmp_path} is being written by another process; wait for it or choose"
    with run.locked(), pytest.raises(ValueError, match=says), Run(tmp_path).locked():
        raise AssertionError("two hold one folder")
    with pytest.raises(KeyError), run.locked():
        raise KeyError("the work fails")
    with run.locked():
        assert (tmp_path / ".lock").exists()


def is_free(folder):
    try:
        with FileLock(folder / ".lock", timeout=0):
            return True
    except Timeout:
        return False


def test_banks_are_made_and_held_until_the_stack_is_closed(tmp_path):
    folders, said = [tmp_path / "bank" / "b", tmp_path / "bank" / "a"], []
    with ExitStack() as locks:
        lock_folders(folders, locks, said.append)
        assert [is_free(folder) for folder in folders] == [False, False]
    assert [is_free(folder) for folder in folders] == [True, True] and said == []


class Lock:
    """A lock that another process holds at first, if its folder's name says so."""

    calls = []

    def __init__(self, path):
        self.name = path.parent.name
        assert path.name == ".lock"

    def acquire(self, timeout=None):
        Lock.calls.append((self.name, timeout))
        if self.name == "taken" and timeout == 0:
            raise Timeout("taken")

    def release(self):
        Lock.calls.append((self.name, "released"))


def test_banks_are_held_in_one_order_and_one_that_is_taken_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "FileLock", Lock)
    monkeypatch.setattr(Lock, "calls", [])
    said = []
    with ExitStack() as locks:
        lock_folders({tmp_path / "z", tmp_path / "taken", tmp_path / "a"}, locks, said.append)
        assert Lock.calls == [("a", 0), ("taken", 0), ("taken", None), ("z", 0)]
    assert sorted(Lock.calls[4:]) == [("a", "released"), ("taken", "released"), ("z", "released")]
    assert said == [f"another process is tuning prompts in {tmp_path / 'taken'}: waiting for it"]
