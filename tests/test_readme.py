"""The README's commands, files and tables are those of the project."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ipt.analysis.summaries import table_of, update_text
from ipt.cli import app as cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
COMMANDS = sorted(set(re.findall(r"^ipt .*$", README, re.M)) | {c for c in re.findall(r"`(ipt [^`]+)`", README) if c[4:5] != "."})


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_exist_with_their_flags(command, capsys):
    words = [w for w in command.split() if w == w.lower()][1:]  # RUN, PATH and NAME stand for something
    assert cli.main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: ipt " in shown
    for flag in re.findall(r"--[a-z-]+", command):
        assert flag in shown


def test_files_that_are_named_exist():
    block = README[README.index("## Files") :]
    for name in re.findall(r"(\w+\.(?:py|parquet))\b", block):
        assert [p for room in ("ipt", "tasks", "analysis") for p in (ROOT / room).glob(name)], name
    for name in re.findall(r"\]\(([\w./-]+\.(?:md|png))\)", README):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("name", ["README.md", "LOG.md"])
def test_tables_are_made_from_their_results(name):
    text = (ROOT / name).read_text(encoding="utf8")
    assert update_text(text, ROOT) == text


def test_whole_tables_of_studies_are_those_of_their_json():
    found = sorted((ROOT / "results").glob("*/*.md"))
    assert {path.stem for path in found} >= {"recovery", "validation"}
    for path in found:
        assert path.read_text(encoding="utf8") == table_of([json.loads(path.with_suffix(".json").read_text(encoding="utf8"))]), path


def test_the_python_example_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len([line for line in code.splitlines() if line and not line.startswith(("from", "import"))]) <= 10
    monkeypatch.chdir(tmp_path)
    shorter, found = re.subn(r"steps=\d+", "steps=2", code)
    assert found == 3
    few = shorter.replace('tasks="random-20"', 'tasks="ari_m*,gra_tense,let_*", seen=4, unseen=2')
    assert few != shorter
    names: dict[str, Any] = {}
    exec(compile(few, "README", "exec"), names)
    assert set(names["result"]["scores"]) >= {"train_same", "train_diff", "test"}
