"""What a command says while it works: on a terminal, in a file, and in all processes but one."""

import math
from io import StringIO

import pytest
from rich.console import Console

from ipt.progress import Reporter, is_main_process


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

    def last_bar(self):
        lines = [line for line in self.text.getvalue().splitlines() if "tuning" in line]
        return lines[-1]


def test_a_bar_has_title_steps_loss_and_the_time_that_is_left():
    terminal = Terminal()
    with terminal.reporter.bar("tuning") as update:
        for step in range(1, 6):
            terminal.seconds = 10.0 * step
            update(step, 20, 1.25)
    for part in ("tuning", " 5/20 ", "loss 1.250", "0:00:50", "0:02:30"):
        assert part in terminal.last_bar()


def test_a_stage_that_counts_nothing_ends_as_done():
    terminal = Terminal()
    with terminal.reporter.bar("tuning"):
        pass
    assert "0/?" not in terminal.text.getvalue() and " 1/1 " in terminal.last_bar()
    # Control: what broke off is not done, and a count stays as it is.
    broken = Terminal()
    with pytest.raises(KeyError), broken.reporter.bar("tuning"):
        raise KeyError("the work fails")
    assert "1/1" not in broken.last_bar()
    counted = Terminal()
    with counted.reporter.bar("tuning") as update:
        update(3, 20, math.nan)
    assert " 3/20 " in counted.last_bar()


def test_the_time_that_is_left_follows_the_speed_and_the_total():
    """Five steps of 10 seconds, then five of 2, of which two more are to come."""
    terminal = Terminal()
    with terminal.reporter.bar("tuning") as update:
        for step in range(1, 6):
            terminal.seconds = 10.0 * step
            update(step, 20, math.nan)
        for step in range(6, 11):
            terminal.seconds += 2.0
            update(step, 12, math.nan)
    last = terminal.last_bar()
    assert "10/12" in last and "loss" not in last
    assert last.split()[-2:] == ["0:01:00", "0:00:04"]  # elapsed, left


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
