"""`ipt runs` with its columns, and `ipt runs watch`, on folders made by hand."""

import csv
import json
import os
from io import StringIO

import pytest
from results_by_hand import made_pair
from rich.console import Console

from ipt.cli import app as cli
from ipt.cli.watch import cells, progress_table, recent
from ipt.run import Run


@pytest.fixture
def out(tmp_path):
    """Runs of MSF and IST, one that was stopped, and one that cannot be read."""
    msf, ist = made_pair()
    for name, result in (("base", msf), ("tuned", ist)):
        settings = {"kind": result["kind"], "split": "made-3", "seed": 7, "msf_run": "base"}
        Run.open(tmp_path / name, settings).finish(result)
    Run.open(tmp_path / "stopped", {"kind": "msf", "split": "made-3", "seed": 8})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    return tmp_path


def listed(capsys, out, *words):
    assert cli.main(["runs", "--out", str(out), *words]) == 0
    return capsys.readouterr().out


def test_columns_are_chosen_and_sorted_by_one_of_them(capsys, out):
    plain = listed(capsys, out).splitlines()
    assert plain[0].split() == ["run", "stage", "tasks", "d", "seed", "unseen"]
    assert [line.split()[0] for line in plain[2:-1]] == ["base", "broken", "stopped", "tuned"]
    words = ["--columns", "run, above floor,unseen", "--sort", "unseen"]
    lines = listed(capsys, out, *words).splitlines()
    # u1 to o1 by hand: 0.80, 0.75, 0.90, 0.70 of the reference; three of them count above the floor.
    floored = (0.15 / 0.25 + 0.28 / 0.35 + 0.13 / 0.22) / 3
    assert lines[2].split() == ["tuned", f"{100 * floored:.1f}", "%", "78.8", "%"]
    # What has no figure comes last.
    assert [line.split()[0] for line in lines[3:-1]] == ["base", "broken", "stopped"]


def test_the_list_as_csv_has_fractions(capsys, out):
    text = listed(capsys, out, "--csv", "--columns", "run,seed,unseen", "--sort", "seed")
    rows = list(csv.DictReader(StringIO(text)))
    assert list(rows[0]) == ["run", "seed", "unseen"]
    by_run = {row["run"]: row for row in rows}
    assert float(by_run["tuned"]["unseen"]) == pytest.approx(0.7875)
    assert by_run["stopped"] == {"run": "stopped", "seed": "8", "unseen": "unfinished"}
    assert [row["run"] for row in rows] == ["stopped", "base", "tuned", "broken"]


@pytest.mark.parametrize(("flag", "value"), [("--sort", "score"), ("--columns", "run,score")])
def test_an_unknown_column_is_one_line(capsys, out, flag, value):
    assert cli.main(["runs", "--out", str(out), flag, value]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"ipt: {flag} takes of run, stage, ") and said.count("\n") == 1
    assert said.endswith("found 'score'\n")


LINE = {
    "stage": "msf",
    "step": 1200,
    "seconds": 61.4,
    "loss": 0.51234,
    "loss_p10": 0.1,
    "loss_p90": 2.0,
    "dev_loss": None,
    "active": 1,
    "rows_per_second": 1234.5,
    "memory_mb": 850.9,
    "learning_rate": 0.0003,
}


def test_a_line_of_a_stream_is_a_row_of_the_watch():
    row = ["1,200", "0.512", "0.100", "2.000", "–", "1", "1,234", "851", "0.0003", "0:01:01"]
    assert cells(LINE) == ["msf", *row]
    assert cells({"stage": "tune-0123abcd", "step": 1})[:4] == ["tune", "1", "–", "–"]


def test_a_pipe_has_one_table_of_each_stages_last_line(capsys, out):
    for run, stage, steps in (("base", "msf", (10, 20)), ("base", "shared", (5,))):
        lines = [{"job": "msf", "step": 99, "dev_loss": 1.0}]
        lines += [LINE | {"stage": stage, "step": step} for step in steps]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        # What is being written is no line yet.
        (out / run / f"metrics-{stage}.jsonl").write_text(text + '{"stage": "m')
    assert cli.main(["runs", "watch", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    rows = [line.split()[:3] for line in shown.splitlines()[2:]]
    assert sorted(rows) == [["base", "msf", "20"], ["base", "shared", "5"]]
    assert cli.main(["runs", "watch", "tuned", "--out", str(out)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2  # its head alone
    assert cli.main(["runs", "watch", "nobody", "--out", str(out)]) == 2


def test_the_runs_of_the_last_hour_are_watched_else_the_newest(out):
    bank = out / "bank" / "0123"
    bank.mkdir(parents=True)
    for folder, when in ((out / "base", 1e9), (out / "tuned", 2e9 - 1e9 + 5)):
        (folder / "metrics-a.jsonl").write_text("")
        os.utime(folder / "metrics-a.jsonl", (when, when))
    assert recent(out) == [out / "tuned"]
    (bank / "metrics-tune-1.jsonl").write_text("")
    assert recent(out) == [bank]
    assert recent(out / "nowhere") == []


def test_names_of_runs_are_no_markup(out):
    folder = out / "[bold]x"
    folder.mkdir()
    (folder / "metrics-a.jsonl").write_text(json.dumps(LINE) + "\n")
    text = StringIO()
    Console(file=text, width=200).print(progress_table([folder]))
    assert "[bold]x" in text.getvalue()
