"""What a command says while it works: on a terminal, in a file, and in all processes but one."""

import math
import re
from io import StringIO

import pytest
from rich.console import Console

from ipt.progress import Plan, PlannedStage, Reporter, is_main_process, say_loading


@pytest.fixture
def alone(monkeypatch):
    """A process that no launcher started."""
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)


def reporter_on(terminal):
    """Return a reporter and the text that it has written so far."""
    text = StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, legacy_windows=False)
    return Reporter(console), text


@pytest.mark.parametrize(
    ("count", "rank", "prints"),
    [("1", "0", True), ("2", "0", True), ("2", "1", False), ("1", "1", True)],
)
def test_only_the_first_process_prints(alone, monkeypatch, count, rank, prints):
    assert is_main_process()
    monkeypatch.setenv("WORLD_SIZE", count)
    monkeypatch.setenv("RANK", rank)
    assert is_main_process() == prints
    assert Reporter().console.quiet != prints


def test_what_is_said_goes_to_standard_error_as_it_is(alone, capsys):
    line = "task [bold]x[/bold] " + "word " * 60
    Reporter().info(line)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"{line}\n"


def test_a_note_is_said_once(alone, capsys):
    reporter = Reporter()
    for text in ("note: a", "note: b", "note: a"):
        reporter.note(text)
    assert capsys.readouterr().err == "note: a\nnote: b\n"


def test_without_a_terminal_a_stage_is_one_line_with_its_seconds():
    reporter, text = reporter_on(terminal=False)
    with reporter.bar("tuning") as update:
        update(1, 2, 0.5)
        assert text.getvalue() == ""
    assert text.getvalue() == "tuning: 0 s\n"


def test_a_stage_that_fails_is_not_told_as_done():
    reporter, text = reporter_on(terminal=False)
    with pytest.raises(KeyError), reporter.bar("tuning"):
        raise KeyError("the work fails")
    assert text.getvalue() == ""


class Terminal:
    """A terminal with a clock that a test sets by hand."""

    def __init__(self):
        self.seconds = 0.0
        self.text = StringIO()
        console = Console(
            file=self.text,
            force_terminal=True,
            color_system=None,
            width=120,
            get_time=lambda: self.seconds,
        )
        self.reporter = Reporter(console)

    def screen(self, count):
        """Return the last lines that were drawn."""
        plain = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", self.text.getvalue())
        lines = [line.rstrip() for line in plain.splitlines() if line.strip()]
        return lines[-count:]

    def last_bar(self):
        lines = [line for line in self.text.getvalue().splitlines() if "tuning" in line]
        return lines[-1]


def test_a_bar_has_title_steps_loss_and_the_time_that_is_left():
    terminal = Terminal()
    with pytest.raises(KeyError), terminal.reporter.bar("tuning") as update:
        for step in range(1, 6):
            terminal.seconds = 10.0 * step
            update(step, 20, 1.25)
        raise KeyError("as it is while it runs")
    for part in ("tuning", " 5/20 ", "loss 1.250", "0:50 +", "2:30 left"):
        assert part in terminal.last_bar()


def test_a_stage_that_counts_nothing_ends_as_done():
    terminal = Terminal()
    with terminal.reporter.bar("tuning"):
        pass
    assert "0/?" not in terminal.text.getvalue() and "✓ 0:00" in terminal.last_bar()
    # Control: what broke off is not done, and a count stays as it is.
    broken = Terminal()
    with pytest.raises(KeyError), broken.reporter.bar("tuning"):
        raise KeyError("the work fails")
    assert "✓" not in broken.last_bar()
    counted = Terminal()
    with counted.reporter.bar("tuning") as update:
        update(3, 20, math.nan)
    assert " 3/20 " in counted.last_bar()


def test_the_time_that_is_left_follows_the_speed_and_the_total():
    """Five steps of 10 seconds, then five of 2, of which two more are to come."""
    terminal = Terminal()
    with pytest.raises(KeyError), terminal.reporter.bar("tuning") as update:
        for step in range(1, 6):
            terminal.seconds = 10.0 * step
            update(step, 20, math.nan)
        for step in range(6, 11):
            terminal.seconds += 2.0
            update(step, 12, math.nan)
        raise KeyError("as it is while it runs")
    last = terminal.last_bar()
    assert "10/12" in last and "loss" not in last
    assert "1:00 + 0:04 left" in last


def test_without_a_terminal_a_long_stage_says_what_is_left_less_and_less_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ipt.progress.time.monotonic", lambda: now[0])
    reporter, text = reporter_on(terminal=False)
    with reporter.bar("tuning") as update:
        for done in range(1, 101):
            # Ten seconds a step, twice as fast from the 20th on: the estimate follows.
            now[0] += 10.0 if done < 20 else 5.0
            update(done, 100, 0.5)
    assert text.getvalue().splitlines() == [
        "tuning: 3 %, about 16 min left",
        "tuning: 6 %, about 16 min left",
        "tuning: 12 %, about 15 min left",
        "tuning: 29 %, about 10 min left",
        "tuning: 77 %, about 2 min left",
        "tuning: 595 s",
    ]


PLANNED = (
    PlannedStage("tune", "prompt tuning, 4 tasks", 10.0),
    PlannedStage("msf", "autoencoder (MSF)", 20.0),
    PlannedStage("scoring", "scoring", 30.0),
)


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("ipt.progress.time.monotonic", lambda: now[0])
    return now


def test_what_is_left_of_all_stages_follows_what_they_took():
    plan = Plan(PLANNED)
    assert plan.left(0.0) == 60
    plan.current, plan.began = "tune", 0.0
    assert plan.left(4.0) == 6 + 50
    assert plan.left(4.0, of_bar=26.0) == 26 + 50  # the bar knows better
    assert plan.left(15.0) == 50  # later than planned, and still not negative
    # Twice as slow as planned: so will be what comes.
    plan.took["tune"], plan.current = 20.0, ""
    assert plan.left(20.0) == 100
    plan.current, plan.began = "msf", 20.0
    assert plan.left(30.0) == 30 + 60


def test_without_a_terminal_a_planned_stage_is_one_line_with_its_place(clock):
    reporter, text = reporter_on(terminal=False)
    with reporter.stages(PLANNED):
        with reporter.stage("tune"), reporter.bar("tuning") as update:
            clock[0] += 40.0
            update(1, 2, 0.5)
            clock[0] += 1.0
        with reporter.stage("scoring"):
            for title in ("scoring a", "scoring b"):
                with reporter.bar(title):
                    clock[0] += 2.0
            # It finds that something must be tuned first.
            with reporter.stage("tune"):
                clock[0] += 3.0
        with reporter.stage("not planned"), reporter.bar("something"):
            pass
    assert text.getvalue().splitlines() == [
        "1/3 prompt tuning, 4 tasks, tuning: 50 %, about 40 s left",
        "1/3 prompt tuning, 4 tasks: 41 s",
        "1/3 prompt tuning, 4 tasks: 3 s",
        "3/3 scoring: 7 s",
        "something: 0 s",
    ]
    # Control: after the plan a bar has its own line again.
    with reporter.bar("tuning"):
        pass
    assert text.getvalue().endswith("tuning: 0 s\n")


def test_a_stage_that_fails_is_not_ticked(clock):
    reporter, text = reporter_on(terminal=False)
    with pytest.raises(KeyError), reporter.stages(PLANNED), reporter.stage("tune"):
        raise KeyError("the work fails")
    assert text.getvalue() == ""


def test_on_a_terminal_the_stages_are_a_list_with_ticks_and_one_time_for_all(clock):
    terminal = Terminal()

    def wait(seconds):
        clock[0] += seconds
        terminal.seconds = clock[0]

    with terminal.reporter.stages(PLANNED):
        with terminal.reporter.stage("tune"), terminal.reporter.bar("tuning") as update:
            wait(5.0)
            update(1, 2, 1.25)
            wait(5.0)
        with pytest.raises(KeyError), terminal.reporter.stage("msf"):
            with terminal.reporter.bar("finding the subspace") as update:
                for done in range(1, 5):
                    wait(2.0)
                    update(done, 8, 0.875)
            raise KeyError("the work fails")
    first, second, third, overall = terminal.screen(4)
    assert first.startswith("1. prompt tuning, 4 tasks ") and first.endswith("✓ 0:10")
    assert second.startswith("2. autoencoder (MSF) ") and "4/8" in second
    assert "0:08 + 0:08 left" in second and "loss 0.875" in second and "✓" not in second
    assert third.startswith("3. scoring") and third.endswith("–")
    assert overall.startswith("all stages") and overall.endswith("0:42 left")  # 12 + 30


def test_lines_are_wrapped_between_words_on_a_terminal_alone():
    words = " ".join(["subspaces"] * 30)
    for on_terminal in (True, False):
        reporter, text = reporter_on(terminal=on_terminal)
        reporter.info(words)
        lines = text.getvalue().splitlines()
        assert (len(lines) > 1) == on_terminal
        assert set(" ".join(lines).split()) == {"subspaces"}


def test_loading_is_said_on_a_terminal_alone(alone, monkeypatch, capsys):
    say_loading("mini")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    say_loading("mini")
    assert capsys.readouterr().err == "loading mini …\n"
