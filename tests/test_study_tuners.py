"""`ipt study` over tuners: their own rates and banks, cells that only tune, recovery against d."""

import json

import pytest
from conftest import QUICK, source

from ipt.analysis.dimensions import task_figures
from ipt.cli import app as cli
from ipt.cli.options import settings_file
from ipt.cli.study import CommandLine, parse_cell
from ipt.workflows.study import Cell, read_cells, settings_record

FLAGS = {flag.removeprefix("--"): value for flag, value in QUICK.items()}
COMMANDS = CommandLine(cli.parse, cli.call)
TUNERS = {"lora-b": "lora:rank=2,matrices=b", "soft-prompt": "soft-prompt:prompt_length=3"}


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    """A study of two tuners, one at two d, and of full fine-tuning alone; nothing is done yet."""
    root = tmp_path_factory.mktemp("tuners")
    flags = {flag.removeprefix("--"): str(value) for flag, value in source(world).items()}
    shared = flags | FLAGS | {"ist": {"steps": 4, "eval-every": 2, "part": [["unseen", "random"]]}}
    groups = []
    for name, tuner in TUNERS.items():
        # The other tuner's cell is one d alone.
        dims = [1, 2] if name == "lora-b" else 2
        own = {"name": name, "tuner": tuner, "dim": dims, "tune.learning-rates": 0.05}
        groups.append(shared | own)
    tuning = {"tune.steps": 4, "tune.eval-every": 4, "tune.shots": 6, "tune.learning-rates": 1e-3}
    groups.append({"name": "full", "verb": "tune", "tuner": "full"} | flags | tuning)
    (root / "study.json").write_text(json.dumps({"cells": groups}))
    return root


def run(folder, *more):
    words = ["study", folder / "study.json", "--out", folder / "runs", "--to", folder / "results"]
    return cli.main([*map(str, words), *more])


def kept(folder, name):
    return json.loads((folder / "results" / f"{name}.json").read_text())


def test_a_study_of_tuners_from_its_projection_to_its_table(folder, capsys):
    assert run(folder, "--dry-run") == 0
    out = capsys.readouterr().out
    for name in ("lora-b-dim1", "lora-b-dim2", "soft-prompt", "full"):
        assert f"{name}: 0.0" in out
    assert "open: 4 of 4 cells" in out and not (folder / "runs").exists()

    # With some of the cells done the table has dashes.
    assert run(folder, "--only", "*-dim1") == 0
    table = (folder / "results" / "study-dimensions.md").read_text()
    assert "| soft-prompt | 0 of 1 | – |" in table and not (folder / "results" / "study-dimensions.png").exists()
    banks = {path.parent for path in (folder / "runs").glob("bank/*/setting.json")}
    assert len(banks) == 1
    assert run(folder, "--only", "lora-b-*") == 0
    assert {path.parent for path in (folder / "runs").glob("bank/*/setting.json")} == banks
    assert (folder / "results" / "study-dimensions.png").exists()

    assert run(folder) == 0
    lora, prompt, full = (kept(folder, name) for name in ("lora-b-dim2", "soft-prompt", "full"))
    assert lora["tuner"]["name"] == "lora" and lora["tuner"]["settings"]["matrices"] == "b"
    assert lora["tuner"]["text"].startswith("lora:rank=2,") and lora["dim"] == 2
    assert prompt["tuner"] == {
        "name": "soft-prompt",
        "settings": {"prompt_length": 3},
        "text": "soft-prompt:prompt_length=3",
        "numbers": 3 * 16,
    }
    assert lora["tuner"]["numbers"] % 2 == 0 and lora["tuner"]["numbers"] != 48
    assert set(lora["tasks"]) >= {"test", "random_test", "test_msf", "train_msf"}
    # Score, reference and floor.
    assert len(lora["tasks"]["test"]["late"]) == 3

    # Tuning alone: its scores are its reference, of the same tasks.
    assert full["kind"] == "tuning" and full["lines"] == [] and full["command"].startswith("ipt tune ")
    assert full["tuner"]["numbers"] > 10_000 and set(full["settings"]) == {"work", "tune"}
    assert full["tasks"]["tuned_unseen"].keys() == lora["tasks"]["test"].keys()
    assert full["tasks"]["tuned_seen"].keys() == lora["tasks"]["train_msf"].keys()
    for figures in full["tasks"]["tuned_unseen"].values():
        assert task_figures(figures).reference == figures["score"] and figures["floor"] <= 1
        assert figures["floor"] == max(figures[name] for name in ("chance", "empty", "start") if name in figures)
        assert figures["numbers"] == full["tuner"]["numbers"]
    whole = json.loads((folder / "results" / "study.json").read_text())
    assert [row["done"] for row in whole["rows"]] == [1, 1, 1, 1]
    assert whole["rows"][3]["reference"]["mean"] == full["reference"]["unseen"]
    dimensions = kept(folder, "study-dimensions")
    assert [row["name"] for row in dimensions["rows"]] == ["lora-b", "soft-prompt", "full"]
    assert dimensions["rows"][0]["conditions"]["test"]["dims"] == [1, 2]
    assert "full" in dimensions["rows"][0]["conditions"]["test"]

    # Nothing is done twice.
    capsys.readouterr()
    assert run(folder, "--dry-run") == 0 and "open: 0 of 4 cells, 0.0 h" in capsys.readouterr().out


def test_a_cell_that_tunes_takes_the_flags_of_tune():
    settings = {"tasks": "t", "tune.steps": 3, "rows-per-step": 2, "seed": 5}
    cell = Cell("c", "c", settings, "tune")
    assert cell.tune(cell_out := "o", None) == [
        "tune", "--tasks", "t", "--steps", "3", "--rows-per-step", "2", "--seed", "5", "--out", cell_out,
    ]  # fmt: skip
    assert cell.command == "ipt tune --tasks t --steps 3 --rows-per-step 2 --seed 5 --out runs"
    config = parse_cell(cell, "runs", COMMANDS)
    assert (config.tune.steps, config.work.seed, config.msf, config.ist) == (3, 5, None, None)
    assert config.with_every_part() == config and config.conditions == ()
    assert set(settings_record(config)) == {"work", "tune"}


def test_cells_of_one_method_differ_in_d_and_seed():
    groups = {"name": "a", "dim": [5, 9], "seed": [1, 2], "recipe": ["paper", "ours"]}
    cells = read_cells({"cells": [groups, {"name": "a dim b".replace(" ", "-"), "steps": [1, 2]}]}, "f")
    assert [cell.method for cell in cells[:2]] == ["a, paper", "a, ours"]
    assert {cell.method for cell in cells} == {"a, paper", "a, ours", "a-dim-b, steps 1", "a-dim-b, steps 2"}


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ({"verb": "probe"}, "verb of a must be msf or tune, found 'probe'"),
        ({"verb": "tune", "dim": 5}, "--dim"),
        ({"verb": "tune", "ist.steps": 5}, "--ist.steps"),
        ({"tuner": "lora:ranks=4"}, "expected setting=value"),
        ({"tuner": "loar"}, "must be one of"),
    ],
)
def test_mistakes_are_told_before_any_work(group, says, tmp_path, capsys):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"cells": [{"name": "a"} | group]}))
    assert cli.main(["study", str(path), "--out", str(tmp_path / "runs"), "--to", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "runs").exists()


def test_the_study_of_tuners_that_comes_with_the_package(request):
    path = request.config.rootpath / "analysis" / "studies" / "tuners.toml"
    cells = read_cells(settings_file(path, "the study"), path)
    by_method: dict[str, list] = {}
    for cell in cells:
        by_method.setdefault(cell.method, []).append(parse_cell(cell, "runs", COMMANDS))
    alone = by_method.pop("full")
    assert [config.msf for config in alone] == [None]
    for method, configs in by_method.items():
        assert len({config.work.tuner for config in configs}) == 1
        # One bank for a seed: what tuning depends on is the same at every d.
        assert len({config.tune for config in configs}) == 1
        seeds: dict[int, set[int]] = {}
        for config in configs:
            seeds.setdefault(config.msf.dim, set()).add(config.work.seed)
        assert set(seeds) == {2, 5, 10, 20, 50} and all(42 in found for found in seeds.values())
        assert seeds[5] == ({42} if method == "partial-k" else {42, 43, 44})
