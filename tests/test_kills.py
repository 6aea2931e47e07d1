"""A run that was killed at any write, and resumed, is the uninterrupted run bit by bit."""

import shutil

import pytest
from torture_kills import (
    Kill,
    bank_writes,
    differences,
    kill_and_compare,
    kill_trial,
    uninterrupted,
)

from ipt.storage import read_tensors, write_tensors


@pytest.fixture(scope="module")
def whole(world, tmp_path_factory):
    """The folder of an uninterrupted run, and the targets of its renames."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, uninterrupted(world, folder)


def test_a_kill_between_two_writes_of_a_bank_changes_nothing(world, whole, tmp_path):
    folder, renames = whole
    places = bank_writes(renames)
    assert len(places) == 5 + 3  # control: the tasks of one data seed, and the seen of the other
    kills = [Kill(places[1], "after")]
    trial = kill_and_compare(world, tmp_path / "killed", folder, kills)
    assert trial.differences == []


def test_two_kills_and_torn_drafts_change_nothing(world, whole, tmp_path):
    folder, renames = whole
    # In the second bank, after the first run's result; then at the second write of what is left.
    kills = [Kill(bank_writes(renames)[6], "torn"), Kill(1, "torn")]
    trial = kill_and_compare(world, tmp_path / "killed", folder, kills)
    assert trial.differences == []


@pytest.mark.parametrize("seed", [1, 2])
def test_a_kill_at_a_drawn_write_changes_nothing(world, whole, tmp_path, seed):
    trial = kill_trial(seed, world, tmp_path / "killed", whole[0])
    assert trial.differences == [], trial.kills


def test_control_a_bit_and_a_file_that_is_left_over_are_seen(whole, tmp_path):
    runs = whole[0] / "runs"
    shutil.copytree(runs, tmp_path / "runs")
    assert differences(runs, tmp_path / "runs") == []
    (bank, *_) = sorted((tmp_path / "runs").glob("bank/*/*.safetensors"))
    tensors, metadata = read_tensors(bank)
    tensors["prompt"][0] += 1e-6
    write_tensors(bank, tensors, metadata)
    (bank.parent / ".first.safetensors.1.tmp").touch()
    left_over, changed = differences(runs, tmp_path / "runs")
    assert left_over.endswith(".tmp is left over") and changed.endswith(f"{bank.name} differs")
