"""`ipt study` with commands that write made-up results: which words a cell runs, which cells are open, what is kept."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from results_by_hand import IST, made_pair, scores

from ipt.analysis.study import study_table
from ipt.cli import app as cli
from ipt.cli.options import settings_file
from ipt.cli.study import CommandLine, StudyPaths, fill_cell, parse_cell, run_study
from ipt.config import IstConfig, MsfConfig, TuneConfig, WorkConfig
from ipt.provenance import source_record, to_argv, to_record, tuner_to_record
from ipt.results import PARTS
from ipt.run import Run
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.study import (
    Cell,
    CellConfig,
    choose_cells,
    read_cells,
    settings_record,
    stored_summary,
)


def study_file(folder, *groups):
    path = folder / "made.json"
    path.write_text(json.dumps({"cells": list(groups)}))
    return path


def cells_of(path):
    return read_cells(settings_file(path, "a study"), path)


def named(path, only="*"):
    return {cell.name: cell.line for cell in choose_cells(cells_of(path), only)}


def test_settings_as_a_command_line():
    assert to_argv({"dim": 5, "rate": [0.1, 2], "name": "x"}) == [
        "--dim", "5", "--rate", "0.1", "--rate", "2", "--name", "x",
    ]  # fmt: skip
    truths = {"as_published": True, "dry-run": False, "shots": None, "tune.learning_rates": (0.3,)}
    assert to_argv(truths) == ["--as-published", "--dry-run=false", "--tune.learning-rates", "0.3"]
    assert to_argv({"part": [], "out": Path("runs")}) == ["--out", "runs"]


def test_each_command_has_its_own_flags_and_those_of_both():
    settings = {
        "tasks": "t",
        "dim": 5,
        "tune.steps": 1,
        "msf.alpha": 2,
        "ist.steps": 3,
        "recipe": "paper",
        "seed": 4,
    }
    settings |= {"preset": "quick", "device": "cpu", "limit": 6, "steps": 7, "ist.seed": 8}
    cell = Cell("c", "line", settings)
    msf = "msf --tasks t --dim 5 --tune.steps 1 --alpha 2 --recipe paper --seed 4 --preset quick --device cpu --test-rows 6 --steps 7"
    ist = "ist --dim 5 --steps 3 --recipe paper --preset quick --device cpu --test-rows 6 --seed 8"
    assert cell.msf(Path("o")) == f"{msf} --run c --out o".split()
    assert cell.ist(Path("o")) == f"{ist} --run c --out o".split()
    assert cell.command == f"ipt {msf} --run c --out runs, then ipt {ist} --run c --out runs"


def test_cells_are_named_by_the_values_that_differ(tmp_path):
    group = {
        "name": "r",
        "tasks": "t",
        "dim": [5, 10],
        "limit": [6],
        "recipe": ["ours", "paper"],
        "seed": [1, 2],
    }
    path = study_file(tmp_path, group)
    cells = cells_of(path)
    assert [cell.name for cell in cells] == [
        f"r-dim{d}-{recipe}-seed{seed}"
        for d in (5, 10)
        for recipe in ("ours", "paper")
        for seed in (1, 2)
    ]
    assert [cell.line for cell in cells][::2] == [
        "r, dim 5, ours",
        "r, dim 5, paper",
        "r, dim 10, ours",
        "r, dim 10, paper",
    ]
    assert cells[5].settings == {"tasks": "t", "dim": 10, "limit": 6, "recipe": "ours", "seed": 2}


def test_names_of_nested_and_odd_values(tmp_path):
    odd = {
        "name": "a.b+c-d",
        "ist": {"steps": [8, 9]},
        "tasks": ["my tasks/x", "y"],
        "rates": [[0.1, 0.5], [2]],
    }
    cells = cells_of(study_file(tmp_path, odd))
    assert (
        cells[0].name == "a.b+c-d-steps8-my_tasks_x-rates_0.1_0.5_"
        and cells[-1].name == "a.b+c-d-steps9-y-rates_2_"
    )
    assert cells[0].line == "a.b+c-d, ist.steps 8, my tasks/x, rates [0.1, 0.5]"
    assert cells[0].settings["rates"] == [0.1, 0.5] and len(cells) == 8


def test_only_chooses_cells_by_name_and_groups_keep_their_order(tmp_path):
    path = study_file(tmp_path, {"name": "b", "seed": [1, 2]}, {"name": "a"})
    assert named(path) == {"b-seed1": "b", "b-seed2": "b", "a": "a"}
    assert named(path, "*2") == {"b-seed2": "b"} and list(named(path, "[ab]")) == ["a"]
    with pytest.raises(ValueError, match="--only c names none of the cells b-seed1, b-seed2, a"):
        named(path, "c")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({"cells": []}, "a list of `cells`, each with a name and flags; found cells"),
        ({"cells": {"name": "a"}}, "a list of `cells`"),
        ({"cells": [{"name": "a"}], "dim": 5}, "found cells, dim"),
        ({}, "found nothing"),
        ({"cells": ["a"]}, "needs a name"),
        ({"cells": [{"name": 5}]}, "needs a name"),
        ({"cells": [{"name": "a/b"}]}, "needs a name of letters"),
        ({"cells": [{"name": "b"}, {"name": "a", "dim": [5, 5]}]}, "two cells are a-dim5"),
    ],
)
def test_a_file_that_is_no_study_says_why(tmp_path, record, says):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=rf"x\.json: .*{says}"):
        cells_of(path)


def test_a_cell_is_done_where_its_figures_are_kept_of_the_same_settings(tmp_path):
    cell = Cell("c", "c", {})
    assert stored_summary(cell, tmp_path, {"dim": 5}) is None
    (tmp_path / "c.json").write_text(
        json.dumps({"settings": {"dim": 5}, "digest": "x", "command": "ipt msf --dim 5"})
    )
    assert stored_summary(cell, tmp_path, {"dim": 5}) == {
        "settings": {"dim": 5},
        "digest": "x",
        "command": "ipt msf --dim 5",
    }
    with pytest.raises(
        ValueError,
        match=r"c.json holds the figures of another command .*: ipt msf --dim 5; move it away",
    ):
        stored_summary(cell, tmp_path, {"dim": 6})
    assert stored_summary(replace(cell, name="d"), tmp_path, {"dim": 6}) is None
    (tmp_path / "c.json").write_text(
        json.dumps({"digest": "x"})
    )  # it does not say of which settings
    with pytest.raises(ValueError, match="another command"):
        stored_summary(cell, tmp_path, {"dim": 5})


def test_a_cell_of_before_a_setting_was_renamed_is_still_done(tmp_path):
    cell = Cell("c", "c", {})
    halving = settings_record(CONFIG._replace(ist=IstConfig(pruning="halving")))
    older = {name: value for name, value in halving["ist"].items() if name != "pruning"}
    older["rivals"] = "halve"
    (tmp_path / "c.json").write_text(json.dumps({"settings": halving | {"ist": older}}))
    assert stored_summary(cell, tmp_path, halving) is not None
    with pytest.raises(ValueError, match="of other defaults"):  # control
        none = settings_record(CONFIG._replace(ist=IstConfig(pruning="none")))
        stored_summary(cell, tmp_path, none)


def test_the_published_cells_are_done():
    root = Path(__file__).parents[1]
    path = root / "analysis" / "studies" / "recovery.toml"
    commands = CommandLine(cli.parse, cli.call)
    for cell in cells_of(path):
        settings = settings_record(parse_cell(cell, Path("runs"), commands))
        assert stored_summary(cell, root / "results" / "study", settings) is not None, cell.name


WORK = WorkConfig(tasks="t")
CONFIG = CellConfig(WORK, TuneConfig(), MsfConfig(), IstConfig(), ())


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": "other"}, {"as_published": True}, {"model": "other"}, {"dtype": "bfloat16"}, {"seed": 43}, {"limit": 6},
        {"held_out": "dev"}, {"seen": 3}, {"unseen": 2}, {"prompts": Path("given")},
        {"tuner": "soft-prompt:prompt_length=11"},
    ],
)  # fmt: skip
def test_every_setting_of_tasks_and_model_tells_cells_apart(change):
    changed = CONFIG._replace(work=replace(WORK, **change))
    assert settings_record(changed) != settings_record(CONFIG)


def test_a_cells_settings_hold_each_stage_with_its_defaults():
    found = settings_record(CONFIG)
    assert found["work"] == {
        "tasks": "t", "as_published": False, "model": "mini", "dtype": "float32", "seed": 42, "limit": 0, "held_out": "test",
        "seen": 0, "unseen": 0, "prompts": None,
    }  # fmt: skip
    defaults = {"tune": TuneConfig().with_rates((0.3, 1.0)), "msf": MsfConfig(), "ist": IstConfig()}
    records = {stage: to_record(config) for stage, config in defaults.items()}
    # The prompt's length stands beside tuning's settings, and a width is chosen for soft prompts.
    records["tune"] = tuner_to_record(SoftPrompt(), records["tune"])
    assert records["tune"]["prompt_length"] == 10
    records["msf"]["inner_width"] = 768
    for stage, config in defaults.items():
        assert found[stage] == json.loads(json.dumps(records[stage]))
        changed = settings_record(CONFIG._replace(**{stage: replace(config, steps=7)}))
        assert changed[stage]["steps"] == 7 and changed != found
    assert found.keys() == {"work", "tune", "msf", "ist"}


def test_where_and_how_much_at_once_is_no_setting_of_a_cell():
    elsewhere = replace(WORK, out=Path("elsewhere"), device="cpu", dry_run=True)
    same = CONFIG._replace(
        work=elsewhere,
        tune=TuneConfig(stacked_jobs=3),
        ist=IstConfig(token_budget=100),
    )
    assert settings_record(same) == settings_record(CONFIG)


def test_parts_are_a_setting_in_one_order():
    some = settings_record(CONFIG._replace(parts=("mixture", "diff")))
    assert some["ist_parts"] == ["diff", "mixture"]
    assert some == settings_record(CONFIG._replace(parts=("diff", "mixture")))
    assert some != settings_record(CONFIG)


def ist_run(out, name, msf_run, settings, result, seed=42):
    config = {"kind": "ist", "split": "made", "seed": seed, "limit": 0, "ist": settings}
    Run.open(out / name, config | source_record(Run(out / msf_run))).finish(result)


def test_the_kept_figures_are_of_the_cells_own_run(tmp_path):
    """Beside it lie runs on another subspace, with other settings, and one that lacks a part."""
    msf, ist = made_pair()
    own, other = {"steps": 5}, {"steps": 6}
    said = []

    def verb(command):
        said.append(command)
        if command[0] == "msf":
            Run.open(tmp_path / "c", {"kind": "msf", "split": "made", "seed": 1}).finish(msf)
            Run.open(tmp_path / "d", {"kind": "msf", "split": "made", "seed": 1}).finish(msf)
            return
        wrong = ist | {"scores": IST | {"test": IST["pca_test"]}}
        lacking = ist | {"scores": {s: found for s, found in IST.items() if s != "random_test"}}
        ist_run(tmp_path, "ist-1", "d", own, wrong)
        ist_run(tmp_path, "ist-2", "c", other, wrong)
        ist_run(tmp_path, "ist-3", "c", own, lacking)
        ist_run(tmp_path, "ist-4", "c", own, ist, seed=43)

    cell = Cell("c", "c", {"dim": 5, "seed": 9})
    settings = {"ist": own, "work": {"limit": 0}}
    fill_cell(cell, tmp_path, tmp_path / "kept" / "here", settings, verb)
    assert said == [cell.msf(tmp_path), cell.ist(tmp_path)]
    kept = json.loads((tmp_path / "kept" / "here" / "c.json").read_text())
    (line,) = (x for x in kept["lines"] if (x["setting"], x["group"]) == ("test", "all"))
    assert line["relative"] == 0.7875 and {x["setting"] for x in kept["lines"]} >= {
        "train_msf",
        "random_test",
    }
    assert (kept["command"], kept["seed"], kept["settings"]) == (cell.command, 43, settings)


@pytest.mark.parametrize(
    ("msf_run", "settings", "lost"),
    [("d", {"steps": 5}, ""), ("c", {"steps": 6}, ""), ("c", {"steps": 5}, "random_test")],
)
def test_a_run_that_is_not_the_cells_own_is_never_taken(tmp_path, msf_run, settings, lost):
    """Each alone, as the order of folders is the file system's."""
    msf, ist = made_pair()
    for name in ("c", "d"):
        Run.open(tmp_path / name, {"kind": "msf", "split": "made", "seed": 1}).finish(msf)
    some = ist | {"scores": {s: found for s, found in IST.items() if s != lost}}
    ist_run(tmp_path, "ist-1", msf_run, settings, some)
    asked = {"ist": {"steps": 5}, "work": {"limit": 0}}
    with pytest.raises(ValueError, match="holds no complete IST run in c with the cell's settings"):
        fill_cell(Cell("c", "c", {}), tmp_path, tmp_path, asked, lambda command: None)
    ist_run(tmp_path, "ist-2", "c", asked["ist"], ist)  # control
    fill_cell(Cell("c", "c", {}), tmp_path, tmp_path, asked, lambda command: None)


def test_a_cell_of_some_parts_needs_these_alone(tmp_path):
    msf, ist = made_pair()
    some = ist | {"scores": {s: IST[s] for s in ("test", "mixture_test")}}

    def verb(command):
        if command[0] == "msf":
            Run.open(tmp_path / "c", {"kind": "msf", "split": "made", "seed": 1}).finish(msf)
        else:
            ist_run(tmp_path, "ist-1", "c", {}, some)

    asked = {"ist": {}, "work": {"limit": 0}}
    parts = ["unseen", "mixture"]
    fill_cell(Cell("c", "c", {}), tmp_path, tmp_path, asked | {"ist_parts": parts}, verb)
    kept = json.loads((tmp_path / "c.json").read_text())
    assert {x["setting"] for x in kept["lines"]} & set(IST) == {"test", "mixture_test"}
    with pytest.raises(ValueError, match="holds no complete IST run in c with the cell's settings"):
        fill_cell(
            Cell("c", "c", {}), tmp_path, tmp_path, asked | {"ist_parts": ["unseen", "pca"]}, verb
        )


SHARE = {
    "a-dim5-seed1": 0.2,
    "a-dim5-seed2": 0.4,
    "a-dim9-seed1": 0.5,
    "a-dim9-seed2": 0.9,
    "b": 0.3,
}


@dataclass
class Commands:
    """Stands in for the two commands: a run's tuned numbers recover the share of SHARE."""

    out: Path
    said: list = field(default_factory=list)

    def __call__(self, command):
        found = cli.parse(command)
        msf, ist = made_pair()
        if command[0] == "msf":
            config = {"kind": "msf", "split": "made", "seed": found["work"].seed}
            return Run.open(self.out / found["flags"].run, config).finish(msf)
        name = found["choice"].run
        self.said.append(name)
        reference = ist["reference"]["100"]
        names = ("u1", "u2", "u3", "o1")
        test = scores(names, [SHARE[name] * reference[n]["generated"] for n in names], [None] * 4)
        conditions = [condition.name for condition in PARTS.values()]
        tested = [name for name in conditions if name.endswith("test")]
        result = ist | {"scores": dict.fromkeys(tested, test)}
        ist_run(
            self.out,
            f"ist-{name}",
            name,
            json.loads(json.dumps(to_record(found["config"]))),
            result,
        )


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Return a function that runs a study of five cells, and what its commands did."""
    commands, checked = Commands(tmp_path / "runs"), []
    monkeypatch.setattr("ipt.resolve.require_rows", checked.append)
    monkeypatch.setattr(
        "ipt.resolve.cell_hours",
        lambda asked: [0.5 * i for i in range(1, len(asked) + 1)],
    )
    shared = {"tasks": "t", "ist": {"part": [["random", "pca", "unseen", "mixture"]]}}
    path = study_file(
        tmp_path, {"name": "a", "dim": [5, 9], "seed": [1, 2]} | shared, {"name": "b"} | shared
    )

    def run(only="*", dry_run=False):
        paths = StudyPaths(path, tmp_path / "runs", tmp_path / "kept")
        run_study(paths, only, CommandLine(cli.parse, commands), dry_run=dry_run)

    run.commands, run.checked, run.kept = commands, checked, tmp_path / "kept"
    return run


def unseen(folder):
    table = study_table(json.loads((folder / "made.json").read_text()))
    place = table.columns.index("unseen")
    return {row[0]: (row[1], row[place]) for row in table.rows}


def test_open_cells_are_done_once_and_the_table_is_of_all(study, capsys):
    study("*seed1")
    assert study.commands.said == ["a-dim5-seed1", "a-dim9-seed1"]
    assert unseen(study.kept) == {
        "a, dim 5": ("1 of 2", "20.0"),
        "a, dim 9": ("1 of 2", "50.0"),
        "b": ("0 of 1", "open"),
    }
    assert "cell 2 of 2: a-dim9-seed1" in capsys.readouterr().err
    study()
    assert study.commands.said[2:] == ["a-dim5-seed2", "a-dim9-seed2", "b"]
    assert unseen(study.kept) == {
        "a, dim 5": ("2 of 2", "30.0 (20.0 … 40.0)"),
        "a, dim 9": ("2 of 2", "70.0 (50.0 … 90.0)"),
        "b": ("1 of 1", "30.0"),
    }
    said = capsys.readouterr()
    assert "cell 1 of 3: a-dim5-seed2" in said.err and "cell 3 of 3: b" in said.err
    assert said.out.endswith(
        f"every column, with the least and the largest seed: {study.kept / 'made.md'}\n"
        f"recovery against d, and how few numbers recover 90 %: {study.kept / 'made-dimensions.md'}\n"
    )
    assert {path.name for path in study.kept.iterdir()} == {f"{name}.json" for name in SHARE} | {
        "made.json",
        "made.md",
        "made.png",
        "made-dimensions.json",
        "made-dimensions.md",  # the made-up results are all of one d: no figure
    }
    study()
    assert len(study.commands.said) == 5  # nothing is open


def test_a_dry_run_names_the_open_cells_with_their_hours(study, capsys):
    study("b")
    capsys.readouterr()
    study("a-*", dry_run=True)
    assert capsys.readouterr().out.splitlines() == [
        "a-dim5-seed1: 0.50 h",
        "a-dim5-seed2: 1.00 h",
        "a-dim9-seed1: 1.50 h",
        "a-dim9-seed2: 2.00 h",
        "open: 4 of 5 cells, 5.0 h on this machine",
    ]
    study(dry_run=True)
    assert "open: 4 of 5 cells" in capsys.readouterr().out  # b is done
    assert study.commands.said == ["b"]


def test_rows_are_checked_for_the_open_cells_with_the_parts_that_they_ask_for(study):
    study("*dim9-seed2", dry_run=True)
    ((work, tune, msf, ist, parts),) = study.checked[0]
    assert (work.seed, work.tasks, msf.dim, tune, ist) == (2, "t", 9, TuneConfig(), IstConfig())
    assert sorted(parts) == ["mixture", "pca", "random", "unseen"]


def test_a_cell_without_parts_asks_for_all(study, tmp_path):
    study_file(tmp_path, {"name": "whole", "tasks": "t"})
    study(dry_run=True)
    assert study.checked[0][0][4] == tuple(PARTS)


def test_the_table_of_a_study_has_the_command_that_makes_it(study, tmp_path):
    study("b")
    table = json.loads((study.kept / "made.json").read_text())
    assert table["command"] == f"ipt study {tmp_path / 'made.json'}" and table["seed"] == "42"
    assert (study.kept / "made.md").read_text().splitlines()[
        0
    ] == f"| {' | '.join(study_table(table).columns)} |"
