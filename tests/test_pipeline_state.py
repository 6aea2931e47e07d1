"""`ipt tune`, `ipt msf` and `ipt ist` broken off, given again, done by several processes."""

import shutil
from dataclasses import dataclass, field, replace

import torch
from filelock import FileLock
from small_runs import LENGTH, REST, SEED, SEEN, SPLIT

from ipt.bank import DeltaBank
from ipt.checkpoint import Checkpoint
from ipt.distributed import Processes
from ipt.run import Run

ALL = [*SEEN, *REST]
TITLES = ("finding the subspace", "control: one shared prompt")


def stop(*given, **more):
    """Stand in for what breaks off."""
    raise OSError(28, "No space left on device")


def trained(*given, **more):
    raise AssertionError("what had been trained is trained again")


def test_a_finished_run_is_not_done_again(copied, monkeypatch):
    before = [path.stat().st_mtime_ns for path in copied.out.rglob("*.json*")]
    monkeypatch.setattr("ipt.training.loop.backward", trained)
    copied.msf()
    copied.ist()
    copied.ist("--on", "unseen")
    assert [path.stat().st_mtime_ns for path in copied.out.rglob("*.json*")] == before


def test_an_msf_run_that_broke_off_goes_on_with_what_was_trained(base, copied, monkeypatch):
    (copied.out / "base" / "result.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("ipt.workflows.msf.save_subspace", stop)
        copied.msf(ends=2)
    kept = sorted(path.name for path in (copied.out / "base").glob("checkpoint-*"))
    assert kept == ["checkpoint-msf.safetensors", "checkpoint-shared.safetensors"]
    monkeypatch.setattr("ipt.training.loop.backward", trained)
    assert copied.msf().result == Run(base.out / "base").result
    assert not list((copied.out / "base").glob("checkpoint-*"))


def test_an_ist_run_that_broke_off_goes_on_with_what_was_trained(base, copied, monkeypatch):
    shutil.rmtree(copied.out / base.whole.folder.name)
    with monkeypatch.context() as patch:
        patch.setattr("ipt.workflows.ist.write_tensors", stop)
        run = copied.ist(ends=2)
    stages = ("ist-train_same-train_diff-test", "ist-mixture")
    stages += ("ist-random-start", "ist-random", "ist-pca")
    kept = {path.stem for path in run.folder.glob("checkpoint-*")}
    assert kept == {f"checkpoint-{stage}" for stage in stages}
    monkeypatch.setattr("ipt.training.loop.backward", trained)
    assert copied.ist().result == base.whole.result


def test_tuning_that_broke_off_goes_on_for_its_own_tasks_and_seeds(empty, tmp_path, monkeypatch):
    """Other tasks or seeds, as many of them in the same bank, do not take its state for theirs."""
    whole = replace(empty, out=tmp_path / "whole")
    one = replace(SPLIT, seen=("last",), unseen=(), out_of_kind=())
    other = replace(one, seen=("second",))
    for split, seeds in ((one, (8,)), (one, (9,)), (other, (8,))):
        with monkeypatch.context() as patch:
            patch.setattr("small_runs.SPLIT", split)
            patch.setattr(DeltaBank, "put", stop)
            empty.tune("--more-seeds", *map(str, seeds), ends=2)
    assert len(list(empty.out.glob("bank/*/checkpoint-tune-*"))) == 3
    monkeypatch.setattr("small_runs.SPLIT", one)
    with monkeypatch.context() as patch:
        patch.setattr("ipt.training.loop.backward", trained)
        empty.tune("--more-seeds", "8")
    assert len(list(empty.out.glob("bank/*/checkpoint-tune-*"))) == 2
    whole.tune("--more-seeds", "8")
    for seed in (SEED, 8):
        assert torch.equal(empty.prompts(["last"], seed=seed), whole.prompts(["last"], seed=seed))


@dataclass(frozen=True)
class Other(Processes):
    """A rank beside the first, which is sent what the first makes."""

    index: int = 1
    sums: list = field(default_factory=list)

    def shard(self, items):
        return list(items)

    def on_main_process(self, make):
        return make()

    def sum(self, tensor):
        self.sums.append(tensor.shape)
        return tensor


def test_another_rank_takes_part_in_msf_but_holds_no_lock_and_keeps_no_state(copied):
    other = replace(copied, processes=Other())
    (copied.out / "again").mkdir()
    with FileLock(copied.out / "again" / ".lock"):  # the first rank's
        other.msf("again")
    names = [path.name for path in (copied.out / "again").iterdir()]
    assert not [name for name in names if name.startswith(("metrics", "checkpoint"))]
    steps = [
        torch.Size([3, LENGTH * 16]),
        torch.Size([1]),
    ] * 3  # the gradient at three seen prompts, or one, and the loss
    assert len(other.processes.sums) == 2 * (6 * 2 + 2)  # twice six steps, and two dev losses
    assert other.processes.sums[:6] == steps
    (copied.out / "third").mkdir()
    with FileLock(copied.out / "third" / ".lock"):
        copied.msf("third", ends=2)  # control: the first is turned away


def test_every_stage_tells_how_far_it_is(empty):
    empty.msf()
    scored = ("reconstructed prompts", "the mean code", "the shared prompt")
    scored += ("prompt tuning, data seed 100", "the empty prompt", "the untrained start")
    assert list(empty.told.bars) == [
        "tuning",
        *TITLES,
        *(f"scoring {what}" for what in scored),
    ]
    assert all(empty.told.bars.values())
    assert empty.told.planned == empty.told.done == ["tune", "msf", "shared", "scoring"]
    empty.ist()
    sources = ["msf", "mixture", "random-start", "random", "pca"]
    assert empty.told.planned == [*sources, "tune", "scoring"]
    assert empty.told.done == [*sources, "scoring", "tune"]
    expected = {"tuning", "tuning, msf subspace"}
    expected |= {f"scoring {tasks}" for tasks in ("seen, same data", "seen, other data", "unseen")}
    expected |= {"tuning mixtures of seen prompts", "scoring mixtures of seen prompts"}
    expected |= {"scoring the best seen code", "scoring prompt tuning, data seed 21"}
    expected |= {"scoring the best seen prompt", "scoring the nearest seen prompt"}
    expected |= {"scoring IST in random directions at the start"}
    expected |= {"scoring first rows, the empty prompt", "scoring first rows, tuning"}
    for kind in ("random", "pca"):
        expected |= {f"tuning, {kind} subspace", f"scoring IST in the {kind} subspace"}
    silent = {f"best seen codes, {kind} subspace" for kind in ("msf", "random", "pca")}
    assert empty.told.bars.keys() == expected | silent
    assert {title for title, count in empty.told.bars.items() if not count} == silent


def test_state_is_kept_as_often_as_each_stage_says(empty, monkeypatch):
    kept = []
    save = Checkpoint.save

    def count(checkpoint, tensors):
        kept.append(checkpoint.path.stem.removeprefix("checkpoint-").split("-")[0])
        save(checkpoint, tensors)

    monkeypatch.setattr(Checkpoint, "save", count)
    empty.msf(checkpoint_seconds=0)
    assert kept == [
        "tune",
        *["msf"] * 7,
        *["shared"] * 7,
    ]  # after each of six steps, and at the end
    kept.clear()
    empty.msf("again", tune__checkpoint_seconds=0, tune__patience=9)
    assert kept == [*["tune"] * 7, "msf", "shared"]
    kept.clear()
    empty.ist("--checkpoint-seconds", "0", "--against", "pca", "--against", "mixture", "--restarts", "1")
    assert kept == ["ist"] * 10
