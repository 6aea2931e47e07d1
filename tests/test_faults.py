"""What `main` does with a fault of the program, a full disk and a closed output: one line each.

In all other tests such a fault is raised again (conftest.py), so that it cannot pass unseen.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipt.cli import app as cli
from ipt.cli.options import located

# As imported, before the fixture of conftest.py takes its place.
REPORT_FAULT = cli.report_fault


def recurse(depth=0):
    return recurse(depth + 1) + 1


def raising(error):
    def app(*args, **kwargs):
        raise error

    return app


@pytest.fixture
def net(monkeypatch, tmp_path):
    """The net as users have it, and an empty folder for its files."""
    monkeypatch.setattr(cli, "report_fault", REPORT_FAULT)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "error",
    [TypeError("a\nb"), KeyError("scores"), RuntimeError("x" * 5000), MemoryError(), StopIteration()],
    ids=repr,
)
def test_a_fault_is_one_line_a_file_and_exit_code_70(error, net, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", raising(error))
    assert cli.main(["runs", "--out", "\ud800"]) == 70
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "Traceback" not in said.err
    assert type(error).__name__ in said.err and len(said.err) < 1000
    (path,) = re.findall(r"the full trace is in (\S+): please report it", said.err)
    text = Path(path).read_text(encoding="utf8")
    assert "Traceback" in text and "ipt runs --out \\ud800" in text and "in raising" not in text
    assert sys.version in text and Path(path).parent == net


def test_a_recursion_without_end_is_a_fault_too(net, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", lambda *args, **kwargs: recurse())
    assert cli.main(["runs"]) == 70
    error = capsys.readouterr().err
    assert error.startswith("ipt: a fault of ipt, and no mistake of yours: RecursionError")
    assert len(list(net.iterdir())) == 1


def test_a_fault_without_a_place_for_its_file_prints_the_trace(net, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", raising(TypeError("odd")))
    monkeypatch.setattr("tempfile.tempdir", str(net / "nowhere"))
    assert cli.main(["runs"]) == 70
    error = capsys.readouterr().err
    assert "Traceback" in error and "the full trace is in the lines below" in error


def test_control_in_other_tests_a_fault_is_raised(monkeypatch):
    monkeypatch.setattr(cli, "app", raising(TypeError("odd")))
    with pytest.raises(TypeError, match="odd"):
        cli.main(["runs"])


def test_an_interrupt_is_no_fault(net, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", raising(KeyboardInterrupt()))
    assert cli.main(["runs"]) == 130 and not list(net.iterdir())


def test_a_disk_error_without_a_name_says_where_it_may_be(net, monkeypatch, capsys):
    monkeypatch.setattr(cli, "app", raising(OSError(28, "No space left on device")))
    monkeypatch.setattr(cli, "_discard_output", lambda: None)
    assert cli.main(["runs"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "standard output or a temporary file" in error
    assert str(net) in error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_output_that_cannot_be_written_is_one_line_and_no_trace():
    words = [sys.executable, "-m", "ipt", "tasks", "list"]
    with open("/dev/full", "w") as full:
        made = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert made.returncode == 2, made.stderr
    assert made.stderr.count("\n") == 1 and "No space left on device" in made.stderr


@pytest.mark.parametrize(
    ("text", "tokens", "says"),
    [
        ("--clip must be", ["msf", "--clip", "nan"], "--clip must be"),
        ("--clip must be", ["msf", "--tune.clip=nan"], "--tune.clip must be"),
        ("--clip must be", ["msf", "--config", "a.json"], "--config a.json: --clip must be"),
        ("--clip must be", ["msf", "--config=a.json"], "--config a.json: --clip must be"),
        ("--clip must be", ["msf"], "--clip must be"),
        ("a.json: no", ["msf", "--config", "a.json"], "a.json: no"),
        ("--config a.json cannot", ["msf", "--config", "a.json"], "--config a.json cannot"),
    ],
)
def test_a_message_names_the_flag_as_it_was_given_or_the_file(text, tokens, says):
    assert located(text, tokens) == says


def test_the_exit_code_is_that_of_sysexits():
    assert getattr(os, "EX_SOFTWARE", 70) == cli.FAULT
