"""Flags and settings files that cannot be meant: one line that names flag or file, before any work.

A fault of the program fails these tests with its own trace (conftest.py).
"""

import json
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from ipt.cli import app as cli
from ipt.cli.settings import MOST_VALUES, settings_file
from ipt.config import (
    BenchmarkConfig,
    ChoiceConfig,
    IstConfig,
    LevenbergMarquardtConfig,
    MsfConfig,
    PretrainConfig,
    ProbeConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
    flag,
)
from ipt.workflows.study import MOST_CELLS, read_cells

SECONDS = 20  # far more than any of them takes, far less than work without a bound
HUGE = "1" + "0" * 30
KINDS = (
    BenchmarkConfig,
    ChoiceConfig,
    IstConfig,
    LevenbergMarquardtConfig,
    MsfConfig,
    PretrainConfig,
    ProbeConfig,
    SourceConfig,
    TuneConfig,
    WorkConfig,
)
# Of every configuration each field with a number in it.
NUMBERS = []
for kind in KINDS:
    for of_kind in fields(kind):
        if {int, float} & set(get_args(of_kind.type) or (of_kind.type,)):
            NUMBERS.append((kind, of_kind.name))


def one_line(words, capsys) -> str:
    """Return what a command says that ends with exit code 2 and one line, soon."""
    began = time.monotonic()
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert time.monotonic() - began < SECONDS
    assert said.err.count("\n") == 1 and len(said.err) < 600, said.err
    return said.err


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), -1, True, "x", 10**31])
@pytest.mark.parametrize(("kind", "name"), NUMBERS, ids=str)
def test_no_number_of_a_configuration_may_be_what_no_number_is(kind, name, wrong):
    """Control: the default passes."""
    default = getattr(kind(), name)
    values = (wrong,) if isinstance(default, tuple) else wrong
    with pytest.raises(ValueError, match=f"^--{flag(name)} "):
        kind(**{name: values})
    assert kind(**{name: default}) == kind()


def test_control_the_numbers_of_the_configurations_were_found():
    assert len(NUMBERS) > 60
    assert {(MsfConfig, "alpha"), (IstConfig, "learning_rates"), (TuneConfig, "shots")} <= set(
        NUMBERS
    )


FLAGS = [
    ("msf --alpha nan", "--alpha must be a finite number, found nan"),
    ("msf --clip inf", "--clip must be a finite number, found inf"),
    ("msf --tune.clip nan", "--tune.clip must be a finite number, found nan"),
    ("msf --tune.steps=-1", "--tune.steps must be above 0, found -1"),
    ("tune --learning-rates nan", "--learning-rates must be a finite number"),
    ("tune --learning-rates inf", "--learning-rates must be a finite number"),
    ("tune --learning-rates 1e-400", "--learning-rates needs one or more numbers above 0"),
    ("ist --learning-rates 0.1 --learning-rates nan", "--learning-rates must be a finite number"),
    ("msf --learning-rate 1e300", "--learning-rate must be at most"),
    ("tune --checkpoint-seconds nan", "--checkpoint-seconds must be a finite number"),
    ("tune --checkpoint-seconds=-1", "--checkpoint-seconds must not be negative"),
    ("msf --test-rows=-3", "--test-rows must not be negative, found -3"),
    ("ist --test-rows=-3", "--test-rows must not be negative, found -3"),
    ("score --test-rows=-1", "--test-rows must not be negative, found -1"),
    (f"msf --seed {HUGE}", "--seed must be at most"),
    ("msf --seed=-1", "--seed must not be negative"),
    (f"msf --steps {HUGE} --dry-run", "--steps must be at most"),
    (f"msf --tune.steps {HUGE} --dry-run", "--tune.steps must be at most"),
    (f"ist --steps {HUGE} --dry-run", "--steps must be at most"),
    ("msf --steps 2.7", "--steps must be a whole number, found '2.7'"),
    ("ist --dim 2.5", "--dim must be a whole number, found '2.5'"),
    ("tune --more-seeds 1 --more-seeds 2.5", "--more-seeds must be a whole number"),
    ("msf --rows-per-step 1000000000", "--rows-per-step must be at most"),
    ("msf --seen=-1", "--seen must not be negative"),
    ("msf --warmup nan", "--warmup must be a finite number"),
    (f"tune --shots {HUGE}", "--shots must be at most"),
    ("tune --more-seeds=-1", "--more-seeds must be other seeds"),
    ("tune --more-seeds 42", "--more-seeds must be other seeds"),
    (f"tune --more-seeds {HUGE}", "--more-seeds must be at most"),
    ("probe x --grid 1000000", "--grid must be at most 255"),
    ("probe x --points 1000000000", "--points must be at most"),
    ("probe x --margin nan", "--margin must be a finite number"),
    ("predict --run x --task y --tokens 0 a", "--tokens must be above 0"),
    ("predict --run x --task y --tokens=-1 a", "--tokens must be above 0"),
    (f"predict --run x --task y --tokens {HUGE} a", "--tokens must be at most"),
    ("stability --runs nan", "Invalid value for --runs: unable to convert"),
    (f"stability --runs {HUGE}", "--runs must be at most"),
    ("stability --runs 1", "--runs must be at least 2"),
    (f"bench --jobs {HUGE}", "--jobs must be at most"),
    ("bench --jobs-grown 1000000000", "--jobs-grown must be at most"),
    ("pretrain --minutes nan", "--minutes must be a finite number"),
    ("pretrain --learning-rate=-1", "--learning-rate must be above 0"),
    ("msf --tuner soft-prompt:prompt_length=nan", "prompt_length must be of the kind int"),
    ("report [/x]", "runs/[/x] is no run folder"),
    ("tune --out file", "--out 'file': file is a file and no folder"),
    ("msf --out file/runs --dry-run", "--out 'file/runs': file is a file and no folder"),
    ("ist --out file --dry-run", "--out 'file': file is a file and no folder"),
    ("runs --out file", "--out 'file': file is a file and no folder"),
    ("tune --file folder", "--file 'folder' is a folder"),
    ("tune --file file/a.json", "--file 'file/a.json': file is a file and no folder"),
    ("export x y --to file", "--to 'file': file is a file and no folder"),
]


@pytest.mark.parametrize(("words", "says"), FLAGS, ids=[words for words, _ in FLAGS])
def test_a_flag_that_cannot_be_meant_is_one_line(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    Path("folder").mkdir()
    assert f"ipt: {says}" in one_line(words.split(), capsys) or "soft-prompt" in words
    assert sorted(os.listdir()) == ["file", "folder"]  # nothing was begun


def test_no_tasks_are_named_as_such(capsys):
    assert "--tasks must name tasks" in one_line(["msf", "--tasks", ""], capsys)


def bomb(join) -> str:
    """Return YAML of ten lines that stands for 10 ** 9 values."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(8):
        name, before = chr(98 + number), chr(97 + number)
        lines.append(f"{name}: &{name} " + join(", ".join([f"*{before}"] * 10)))
    return "\n".join(lines)


TEXTS = {
    "list.json": ("[1]", "must hold settings by name, found a list"),
    "number.json": ("3", "must hold settings by name, found a int"),
    "null.json": ("null", "must hold settings by name"),
    "empty.json": ("", "cannot be read"),
    "empty.yaml": ("", "must hold settings by name"),
    "dash.yaml": ("- 1", "must hold settings by name, found a list"),
    "key.yaml": ("1: 2", "keys are names of flags, found 1"),
    "inner.yaml": ("tune: {1: 2}", "at tune: keys are names of flags, found 1"),
    "cycle.yaml": ("tune: &a {b: *a}", "more than 8 levels"),
    "list.yaml": ("tune: &a [*a]", "more than 8 levels"),
    "tag.yaml": ("steps: !!python/object/apply:os.system [x]", "cannot be read (could not"),
    "name.yaml": ("steps: !!python/name:os.system", "cannot be read (could not"),
    "set.yaml": ("clip: !!set {a}", "at clip: expected a text, a number"),
    "bytes.yaml": ("clip: !!binary aGVsbG8=", "at clip: expected a text, a number"),
    "date.toml": ("clip = 2001-01-01", "at clip: expected a text, a number"),
    "null.yaml": ("clip:", "at clip: expected a text, a number, true or false, found nothing"),
    "unknown.yaml": ("clip: *nope", "cannot be read (found undefined alias"),
    "bomb.yaml": (bomb("[{}]".format), f"holds more than {MOST_VALUES} values"),
    "merge.yaml": (bomb("{{<<: [{}]}}".format).replace("[x, x", "{x: 1}\nz: [x"), "too many values"),
    "deep.json": ('{"a":' * 100_000, "nested too deeply"),
    "deep.yaml": ("a: " + "{a: " * 100_000, "nested too deeply"),
    "deep.toml": ("a = " + "[" * 100_000, "nested too deeply"),
    "levels.json": ('{"tune":' * 20 + "1" + "}" * 20, "more than 8 levels"),
    "twice.json": ('{"clip": 1, "clip": 2}', "the key 'clip' is there twice"),
    "twice.yaml": ("clip: 1\nclip: 2", "the key 'clip' is there twice"),
    "twice.toml": ("clip = 1\nclip = 2", "cannot be read"),
    "large.json": ('{"clip": 1' + " " * 1_000_001 + "}", "more than 1000000 bytes"),
    "latin.json": (b'{"tasks": "\xe9"}', "cannot be read"),
    "nan.json": ('{"clip": NaN}', "--clip must be a finite number, found nan"),
    "nan.yaml": ("tune: {clip: .nan}", "--clip must be a finite number, found nan"),
    "inf.toml": ("tune.clip = inf", "--clip must be a finite number, found inf"),
    "mark.json": (b'\xef\xbb\xbf{"clip": -1}', "--clip must be above 0"),
    "fraction.json": ('{"steps": 2.5}', "--steps must be a whole number"),
    "truth.json": ('{"steps": true}', "steps"),
    "mapping.json": ('{"steps": {"a": 1}}', "steps"),
    "digits.json": ('{"steps": ' + "9" * 5000 + "}", "cannot be read"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_settings_file_that_cannot_be_meant_is_one_line_that_names_it(
    name, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text, says = TEXTS[name]
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    error = one_line(["msf", "--config", name], capsys)
    assert says in error and name in error
    error = one_line(["study", name], capsys)
    assert name in error


@pytest.mark.parametrize("path", ["/dev/zero", "pipe.json", "zero.yaml", "folder.json", "none.json"])
def test_what_is_no_regular_file_is_not_read(path, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.json")
    os.symlink("/dev/zero", "zero.yaml")
    os.mkdir("folder.json")
    for words in (["msf", "--config", path], ["study", path]):
        assert f"must be a .json, .toml or .yaml file, found '{path}'" in one_line(words, capsys)


def test_control_aliases_and_merges_that_end_are_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("ours: &a {steps: 3, clip: 2}\ntune: {<<: *a, steps: 4}\nrates: [&b 1, *b]\n")
    assert settings_file(path, "--config") == {
        "ours": {"steps": 3, "clip": 2},
        "tune": {"steps": 4, "clip": 2},
        "rates": [1, 1],
    }


STUDIES = {
    "millions": ({"dim": list(range(1, 301)), "seed": list(range(300)), "limit": list(range(100))},
                 "the lists of a make 9000000 cells, 10000 at most"),
    "an empty list": ({"dim": []}, "dim of a is an empty list"),
    "nan": ({"alpha": float("nan")}, "cell a: --alpha must be a finite number"),
    "a word": ({"alpha": "x"}, 'cell a: Invalid value for --alpha: unable to convert "x"'),
    "a mapping in a list": ({"dim": [{"x": 1}]}, "cell a: Invalid value for --dim"),
    "nothing": ({"alpha": None}, "at cells.alpha: expected a text"),
}  # fmt: skip


@pytest.mark.parametrize("case", STUDIES)
def test_a_study_that_cannot_be_meant_names_file_and_cell(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings, says = STUDIES[case]
    Path("s.json").write_text(json.dumps({"cells": [{"name": "a"} | settings]}))
    error = one_line(["study", "s.json", "--dry-run"], capsys)
    assert says in error and "s.json" in error and sorted(os.listdir()) == ["s.json"]


def test_many_groups_are_bounded_as_well_as_many_values():
    groups = [{"name": f"a{i}", "seed": list(range(100))} for i in range(MOST_CELLS // 100 + 1)]
    with pytest.raises(ValueError, match="more than 10000 cells"):
        read_cells({"cells": groups}, Path("s.json"))
    assert len(read_cells({"cells": groups[:3]}, Path("s.json"))) == 300


def test_the_work_of_many_steps_is_counted_at_once():
    """Control: what a loop over fewer steps counts is in test_config.py."""
    config = IstConfig(steps=2**31 - 1, eval_every=1)
    steps, losses = config.work
    assert steps == losses == 8 + 4 + 2 + (2**31 - 1 - 3)
