"""A tuner's settings as flags: derived from its fields, the same as in the text of --tuner, errors in one line."""

import json
import subprocess
import sys
from dataclasses import fields

import pytest
from conftest import msf_words

from ipt.cli import app as cli
from ipt.cli import study, tuner_flags
from ipt.cli.tuner_flags import flag_name, settings_of_tuners, with_tuner
from ipt.config import settings_text, split_tuner, tuner_text
from ipt.run import Run
from ipt.tuners import TUNERS, parse_tuner
from ipt.workflows.study import read_cells


def said(*words: str) -> str:
    """Return what --tuner says once the flags of a command line are in it."""
    found = cli.parse(list(words))
    return with_tuner(found["work"], found["tuner"]).tuner


def test_the_settings_read_from_the_files_are_the_fields_of_the_tuners():
    found = settings_of_tuners()
    assert list(found) == list(TUNERS)
    for name, kind in TUNERS.items():
        declared = [(f.name, f.type, f.default, f.metadata["help"]) for f in fields(kind)]
        read = [(f.name, f.type, f.default, f.metadata["help"]) for f in found[name].values()]
        assert read == declared
    assert "rank" in found["lora"] and not found["full"]  # control


def test_each_setting_is_a_flag_of_tune_and_msf_and_no_flag_of_another_kind():
    for verb in ("tune", "msf"):
        arguments = cli.app[verb].assemble_argument_collection()
        names = [argument.name for argument in arguments if argument.name != "*"]
        assert len(set(names)) == len(names)
        for tuner, kind in TUNERS.items():
            for field in fields(kind):
                flag = "--" + flag_name(tuner, field.name).replace("_", "-")
                (argument,) = [one for one in arguments if one.name == flag]
                assert tuner in argument.parameter.help
                assert [group.name for group in argument.parameter.group] == ["Tuner"]
    assert flag_name("lora", "alpha") == "lora_alpha"  # MSF has an alpha


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--tuner lora --rank 4 --targets query --targets value", "lora:rank=4,targets=query+value"),
        ("--tuner prefix --prefix-length 8 --layers 2 --layers 3", "prefix:prefix_length=8,layers=2+3"),
        ("--tuner lora:rank=4 --lora-alpha 16", "lora:rank=4,alpha=16"),
        ("--tuner ia3: --targets key", "ia3:targets=key"),
        ("--tuner partial-k --k 2", "partial-k:k=2"),
        ("--tuner bias --at linears", "bias:at=linears"),
        ("--prompt-length 20", "soft-prompt:prompt_length=20"),
        ("--tuner full", "full"),
        ("", "soft-prompt"),
    ],
)  # fmt: skip
def test_flags_are_the_text_form(words, text):
    for verb in ("tune", "msf"):
        assert parse_tuner(said(verb, *words.split())) == parse_tuner(text)
    assert said("msf", "--alpha", "3") == "soft-prompt"  # MSF's own


def test_a_value_keeps_its_commas_and_spaces():
    text = said("tune", "--tuner", "p-tuning", "--separator", r" , \ ", "--template", "2")
    tuner = parse_tuner(text)
    assert tuner.separator == r" , \ " and tuner.template == (2,)
    for kind in TUNERS.values():
        assert parse_tuner(kind().description) == kind()
    assert parse_tuner(tuner.description) == tuner
    settings = {"a": True, "b": [1, 2], "c": "x"}
    assert tuner_text("n", settings) == "n:a=true,b=1+2,c=x" and tuner_text("n", {}) == "n"
    assert split_tuner("n:" + settings_text(settings))[1] == {"a": "true", "b": "1+2", "c": "x"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--rank 4", "--rank is no setting of --tuner soft-prompt, which has --prompt-length; tuners with --rank: lora\n"),
        ("--tuner full --k 1", "--k is no setting of --tuner full, which has none; tuners with --k: partial-k\n"),
        ("--tuner lora --width 4", "which has --rank, --lora-alpha, --targets, --layers, --matrices; tuners with --width: adapter, side\n"),
        ("--tuner lora:rank=4 --rank 8", "--rank and --tuner lora:rank=4 both say rank; give it once\n"),
        ("--tuner lora:rank=4 --rank 4", "both say rank; give it once\n"),
        ("--tuner lorra --rank 4", f"--tuner must be one of {', '.join(TUNERS)}, found 'lorra'\n"),
        ("--tuner lora --rank 4.5", "--rank must be a whole number, found '4.5'\n"),
        ("--tuner prefix --layers 1.5", "--layers must be a whole number, found '1.5'\n"),
        ("--tuner lora --rank x", "--rank"),
        ("--tuner lora --ranks 4", "Unknown option: --ranks. Did you mean --rank?\n"),
        ("--tuner lora --matrices a", "Invalid value \"a\" for --matrices."),
        ("--tuner lora:rank", "--tuner lora: expected setting=value, found 'rank'\n"),
        ("--tuner lora:rank=1,rank=2", "--tuner lora: rank is there twice; give it once\n"),
        ("--tuner full:k=1", "with one of none, as it has no settings, found 'k=1'\n"),
    ],
)  # fmt: skip
def test_a_flag_that_the_tuner_cannot_have_is_one_line(words, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for verb in ("tune", "msf"):
        assert cli.main([verb, *words.split()]) == 2
        error = capsys.readouterr().err
        assert says in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_and_a_study_take_them_too(world, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c.toml"
    path.write_text('tuner = "prefix"\nprefix_length = 8\nlayers = [0, 1]\n')
    assert said("tune", "--config", str(path)) == "prefix:prefix_length=8,layers=0+1"
    assert said("msf", "--config", str(path), "--layers", "1") == "prefix:prefix_length=8,layers=1"
    path.write_text("rank = 8\n")
    assert cli.main(["tune", "--config", str(path)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"ipt: --config {path}: --rank is no setting of --tuner soft-prompt")

    group = {"name": "t", "tuner": "lora", "rank": [2, 4], "targets": [["key", "value"]]}
    cells = read_cells({"cells": [group]}, path)
    commands = study.CommandLine(cli.parse, cli.call)
    found = [study.parse_cell(cell, tmp_path, commands).work.tuner for cell in cells]
    assert found == ["lora:rank=2,targets=key+value", "lora:rank=4,targets=key+value"]


def test_a_run_keeps_them(world, tmp_path):
    words = msf_words(world, tmp_path)
    place = words.index("--tuner")
    words[place : place + 2] = ["--tuner", "lora", "--rank", "1", "--layers", "1"]
    assert cli.main(words) == 0
    tuner = Run(next(tmp_path.glob("msf-*"))).config["tune"]["tuner"]
    assert tuner["name"] == "lora" and tuner["rank"] == 1 and tuner["layers"] == [1]


NEW = '''
from ipt.config import setting
from ipt.tuners.base import Tuner
from ipt.tuners.lora import LoRA
import a_heavy_library

class Own(Tuner):
    """One of its own."""
    name: ClassVar[str] = "own"
    strength: float = setting(0.5, "how strong", "nobody")
    rank: int = setting(3, "another rank")
    steps: int = setting(1, "what tuning has too")
    def shapes(self, backbone): return {}

class Kin(LoRA):
    name: ClassVar[str] = "kin"
    more: bool = setting(False, "more of it")
'''


def test_a_new_tuner_is_one_file_and_one_line(tmp_path, monkeypatch):
    """Its flags are there without another edit, those of a tuner that it is made from as well."""
    package = tmp_path / "tuners"
    package.mkdir()
    for path in (tuner_flags.files("ipt") / "tuners").iterdir():
        if path.name.endswith(".py"):
            (package / path.name).write_text(path.read_text())
    (package / "new.py").write_text(NEW)
    listed = (package / "__init__.py").read_text()
    (package / "__init__.py").write_text(
        listed.replace("    Full.name: Full,\n", "    Full.name: Full,\n    Own.name: Own,\n    Kin.name: Kin,\n")
    )  # fmt: skip
    monkeypatch.setattr(tuner_flags, "files", lambda name: tmp_path)
    settings_of_tuners.cache_clear()
    try:
        assert list(settings_of_tuners()["own"]) == ["strength", "rank", "steps"]
        flags = {field.name: field for field in fields(tuner_flags._flags())}
        assert flags.keys() >= {"strength", "rank", "own_steps", "more", "kin_alpha"}
        text = flags["rank"].type.__metadata__[0].help
        assert "lora, kin: rank of the difference" in text and "own: another rank" in text
    finally:
        settings_of_tuners.cache_clear()


def test_help_lists_them_in_a_group_and_loads_no_model_library():
    code = (
        "import sys; from ipt.cli.app import main; main(['tune', '--help-all']); "
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    shown = made.stdout[made.stdout.index("Tuner ─") :]
    for flag in ("--rank", "--prompt-length", "--lora-alpha", "--layers", "--k "):
        assert flag in shown
    assert "--steps" not in shown[: shown.index("╰")]  # control
    assert made.stdout.splitlines()[-1] == "[]"


def test_a_record_of_a_study_is_the_same_however_it_is_said(tmp_path):
    records = []
    for flags in ({"tuner": "lora:rank=2"}, {"tuner": "lora", "rank": 2}):
        (cell,) = read_cells({"cells": [{"name": "t", **flags}]}, tmp_path)
        config = study.parse_cell(cell, tmp_path, study.CommandLine(cli.parse, cli.call))
        records.append(json.dumps(study.settings_record(config)))
    assert records[0] == records[1]
