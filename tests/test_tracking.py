"""Runs that are sent to trackers: once, also after a kill, and without acting on a result."""

import json
import os
from importlib.util import find_spec

import pytest
from small_runs import job_lines

from ipt import tracking
from ipt.cli import app as cli
from ipt.run import Run
from ipt.storage import read_json
from ipt.tracking import Feed, Tracked, flat_settings, replay, require_trackers, tracked

SETTINGS = {
    "kind": "msf",
    "split": "toy",
    "seed": 7,
    "msf": {"dim": 2, "rates": [0.1, 0.2]},
    "digests": {"a": "0123"},
}


class Fake:
    """Stands in for one of accelerate's trackers; keeps what it is told."""

    def __init__(self, fails_at=None):
        self.told = []
        self.is_finished = False
        self.fails_at = fails_at

    def log(self, values, step):
        if len(self.told) == self.fails_at:
            raise OSError("no route to host")
        self.told.append((step, values))

    def finish(self):
        self.is_finished = True


@pytest.fixture
def fakes(monkeypatch):
    """The trackers that were made, in the place of those of packages."""
    made = []

    def make(name, what):
        made.append(Fake())
        return made[-1]

    monkeypatch.setattr(tracking, "make_tracker", make)
    return made


def line(stage, step, **more):
    return {"stage": stage, "step": step, "loss": 1 / step} | more


def write(run, stage, *lines):
    path = run.folder / f"metrics-{stage}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    # One stage after another, however fast the test is.
    count = len(list(run.folder.glob("metrics-*.jsonl")))
    os.utime(path, (1e9 + count, 1e9 + count))


@pytest.fixture
def run(tmp_path):
    made = Run.open(tmp_path / "mine", SETTINGS)
    job = {"job": "msf", "step": 10, "dev_loss": 2.0}
    write(made, "msf", job, line("msf", 10, dev_loss=None), line("msf", 20, dev_loss=0.5))
    write(made, "shared", line("shared", 5))
    return made


def steps(fake):
    return [step for step, _ in fake.told]


def test_stages_follow_each_other_on_one_axis(run, fakes, capsys):
    assert replay("wandb", run, print) == 3
    (fake,) = fakes
    assert fake.told == [
        (10, {"msf/loss": 0.1}),
        (20, {"msf/loss": 0.05, "msf/dev_loss": 0.5}),
        (25, {"shared/loss": 0.2}),
    ]
    assert fake.is_finished and capsys.readouterr().out == ""


def test_a_run_that_goes_on_is_sent_from_where_it_was(run, fakes):
    replay("wandb", run, print)
    # The last line came again after a kill, and two more.
    write(run, "shared", line("shared", 5), line("shared", 6))
    write(run, "later", line("later", 1))
    assert replay("wandb", run, print) == 2
    assert steps(fakes[1]) == [26, 27]
    assert replay("wandb", run, print) == 0
    assert replay("trackio", run, print) == 5  # control: another one knows nothing yet
    assert read_json(run.folder / "tracked.json").keys() == {"wandb", "trackio"}


def test_what_is_written_meanwhile_is_sent_and_what_is_older_of_the_bank_is_not(
    run, fakes, tmp_path
):
    bank = tmp_path / "bank"
    bank.mkdir()
    old = bank / "metrics-tune-old.jsonl"
    old.write_text(json.dumps(line("tune-old", 9)) + "\n")
    os.utime(old, (1e9, 1e9))
    what = Tracked(run.folder, "mine", "msf", (bank,))
    with tracked(["wandb", "wandb"], what, print):
        new = bank / "metrics-tune-new.jsonl"
        new.write_text(json.dumps(line("tune-new", 2)) + "\n")
    (fake,) = fakes
    assert steps(fake) == [2, 12, 22, 27] and fake.told[0][1] == {"tune/loss": 0.5}


def test_it_follows_a_run_while_it_goes_on(run, fakes, monkeypatch):
    monkeypatch.setattr(tracking, "SECONDS", 0.01)
    with tracked(["wandb"], Tracked(run.folder, "mine", "msf"), print):
        for _ in range(1000):
            if fakes[0].told:
                break
            tracking.threading.Event().wait(0.01)
        assert steps(fakes[0]) == [10, 20, 25] and not fakes[0].is_finished
    assert fakes[0].is_finished


@pytest.mark.parametrize("fails", ["at once", "in the middle", "at its end"])
def test_a_tracker_that_fails_is_told_once_and_the_work_goes_on(run, monkeypatch, fails):
    broken, whole = Fake(fails_at=1 if fails == "in the middle" else None), Fake()

    def make(name, what):
        if name == "trackio":
            return whole
        if fails == "at once":
            raise OSError("no route to host")
        return broken

    def finish():
        raise OSError("no route to host")

    if fails == "at its end":
        broken.finish = finish
    monkeypatch.setattr(tracking, "make_tracker", make)
    said, done = [], []
    with tracked(["wandb", "trackio"], Tracked(run.folder, "mine", "msf"), said.append):
        done.append(True)
    assert said == ["note: --track wandb failed, the run goes on: no route to host"]
    assert done and steps(whole) == [10, 20, 25] and whole.is_finished


def test_an_error_of_the_work_is_the_works_own(run, fakes):
    what = Tracked(run.folder, "mine", "msf")
    with pytest.raises(KeyError, match="the work fails"), tracked(["wandb"], what, print):
        raise KeyError("the work fails")
    assert fakes[0].is_finished


def test_without_a_tracker_nothing_is_made(run, fakes):
    with tracked([], Tracked(run.folder, "mine", "msf"), print):
        pass
    assert fakes == [] and not (run.folder / "tracked.json").exists()


def test_settings_are_flat_and_without_digests(run):
    assert flat_settings(run.folder) == {
        "kind": "msf",
        "split": "toy",
        "seed": 7,
        "msf.dim": 2,
        "msf.rates": "[0.1, 0.2]",
    }


def test_a_missing_package_is_one_line_before_any_work(monkeypatch, capsys, tmp_path):
    missing = {"wandb", "accelerate"}
    monkeypatch.setattr(
        tracking, "find_spec", lambda name: None if name in missing else find_spec(name)
    )
    require_trackers([])
    with pytest.raises(ValueError, match=r"intrinsic-prompt-tuning\[track\]"):
        require_trackers(["wandb"])
    missing.remove("accelerate")
    assert cli.main(["msf", "--track", "wandb", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said == "ipt: --track wandb needs its package: pip install wandb\n"
    assert list(tmp_path.iterdir()) == []


def test_runs_are_grouped_by_the_subspace_that_they_stand_on(run, tmp_path):
    assert Tracked.of_run(run) == Tracked(run.folder, "mine", "msf")
    ist = Run.open(tmp_path / "other", SETTINGS | {"kind": "ist", "msf_run": "mine"})
    assert Tracked.of_run(ist) == Tracked(ist.folder, "mine", "ist")


def test_tensorboard_reads_back_what_was_sent(run, capsys):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = ["runs", "track", "mine", "--to", "tensorboard", "--out", str(run.folder.parent)]
    assert cli.main(words) == 0
    assert "3 lines" in capsys.readouterr().out
    write(run, "shared", line("shared", 5), line("shared", 6))
    assert cli.main(words) == 0
    folder = run.folder.parent / "tensorboard" / "mine"
    # One run of the tracker: a folder without another in it.
    assert all(path.is_file() for path in folder.iterdir())
    events = reader.EventAccumulator(str(folder))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["msf/dev_loss", "msf/loss", "shared/loss"]
    assert [event.step for event in events.Scalars("msf/loss")] == [10, 20]
    assert [event.step for event in events.Scalars("shared/loss")] == [25, 26]
    assert events.Scalars("msf/dev_loss")[0].value == 0.5


def test_a_tracked_run_has_the_scores_of_one_that_is_not(copied, fakes, monkeypatch):
    """The subspace found and tuned in again, sent to a tracker; the curves are of its stages."""
    monkeypatch.setattr(tracking, "require_trackers", lambda names: None)
    plain = copied.msf("plain")
    sent = copied.msf("sent", track="wandb")
    assert not list(plain.folder.glob("tracked.json")) and len(fakes) == 1
    assert sent.result == plain.result
    for stage in ("msf", "shared"):
        name = f"metrics-{stage}.jsonl"
        assert job_lines(sent.folder / name) == job_lines(plain.folder / name)
    keys = {key for _, values in fakes[0].told for key in values}
    assert {"msf/loss", "msf/dev_loss", "shared/loss", "msf/rows_per_second"} <= keys
    assert any(key.startswith("result/seen, through") for key in keys)
    # Complete: there is nothing to do, and nothing to send.
    copied.msf("sent", track="wandb")
    assert len(fakes) == 1


def test_a_feed_that_knows_nothing_begins_at_zero(run, fakes):
    feed = Feed("wandb", Tracked(run.folder, "mine", "msf"), print)
    assert feed.last == 0 and feed.count == 0
