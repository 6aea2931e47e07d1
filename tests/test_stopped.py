"""A command that the user stops says that it goes on from where it was."""

import pytest

from ipt.cli import app as cli


@pytest.mark.parametrize("words", [["msf"], ["tasks", "show", "ari_max"]])
def test_a_stopped_command_says_that_it_goes_on(monkeypatch, capsys, words):
    def stop(*given, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("ipt.resolve.open_experiment", stop)
    monkeypatch.setattr("ipt.tasks.suites.embedded.load", stop)
    assert cli.main(words) == 130
    said = capsys.readouterr().err
    assert said == "ipt: stopped; the same command goes on from the last checkpoint\n"
