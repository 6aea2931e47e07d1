"""Studies over heads: what cells say and keep, the table of methods, the files that come with it."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest

from ipt.analysis import heads_data
from ipt.analysis.dimensions import task_figures
from ipt.analysis.methods import (
    mean_interval,
    methods_brief,
    methods_figure,
    methods_summary,
    methods_table,
)
from ipt.analysis.summaries import table_of, update_text
from ipt.cli import app as cli
from ipt.cli.settings import settings_file
from ipt.cli.study import CommandLine, parse_cell
from ipt.heads import parse_head
from ipt.storage import read_json, write_compact
from ipt.tasks.catalog import load_tasks
from ipt.tuners import parse_tuner
from ipt.workflows.study import read_cells, settings_record

FOLDER = Path(__file__).parent.parent / "analysis" / "studies"
COMMANDS = CommandLine(cli.parse, cli.call)
DATA = ("IPT_FEWGLUE", "IPT_TAGGING", "IPT_QA")


def cell_of(**settings):
    return read_cells({"cells": [{"name": "a", "verb": "tune"} | settings]}, "f")[0]


def record_of(**settings):
    return settings_record(parse_cell(cell_of(**settings), "runs", COMMANDS))


def test_a_cells_settings_name_its_head_and_its_start():
    plain = record_of()
    # As cells of older versions have them.
    assert "head" not in plain["tune"] and "delta_start" not in plain["tune"]
    assert record_of(head="language-model") == plain
    tagged = record_of(head="tags")["tune"]
    assert tagged.pop("head").startswith("tags:layers=1") and tagged == plain["tune"]
    # However it is said.
    assert record_of(head="tags:layers=1") == record_of(head="tags") != record_of(head="tags:layers=2")
    shared = record_of(head="tags", **{"delta-start": "shared"})
    assert shared["tune"]["delta_start"] == "shared" and shared == record_of(head="tags", **{"tune.delta-start": "shared"})
    with_msf = settings_record(parse_cell(cell_of(verb="msf", head="classification"), "runs", COMMANDS))
    assert with_msf["tune"]["head"].startswith("classification:") and "msf" in with_msf


def test_what_all_cells_have_stands_once():
    shared = {"verb": "tune", "tune": {"steps": 3}, "seed": [1, 2]}
    cells = read_cells({"shared": shared, "cells": [{"name": "a"}, {"name": "b", "seed": 5, "tune.steps": 4}]}, "f")
    assert [cell.name for cell in cells] == ["a-seed1", "a-seed2", "b"]
    assert cells[0].settings == {"tune.steps": 3, "seed": 1} and cells[2].settings == {"seed": 5, "tune.steps": 4}
    assert all(cell.only_tunes for cell in cells)
    for wrong in ({"shared": [], "cells": [{"name": "a"}]}, {"common": {}, "cells": [{"name": "a"}]}):
        with pytest.raises(ValueError, match="`shared`"):
            read_cells(wrong, "f")


def test_cells_are_written_compactly(tmp_path):
    record = {"b": {"é": [0.5, 1, None], "a": {"x": True}}, "a": [], "c": [{"z": "ü", "y": 1}, [[]]], "d": {}}
    write_compact(tmp_path / "r.json", record)
    assert read_json(tmp_path / "r.json") == record
    assert (tmp_path / "r.json").read_text().splitlines()[:5] == [
        "{", ' "a": [],', ' "b": {', '  "a": {"x": true},', '  "é": [0.5, 1, null]',
    ]  # fmt: skip


def test_a_tasks_figures_are_read_in_each_form():
    older = {"score": 0.5, "ranked": None, "reference": 0.6, "floor": 0.1}
    assert task_figures(older) == task_figures([0.5, 0.6, 0.1]) == (0.5, 0.6, 0.1)
    assert task_figures({"score": 0.5, "floor": 0.1}) == (0.5, 0.5, 0.1)


GROUPS = {"ner": "NER", "pos": "POS", "srl": "POS"}
FLOOR = {"ner": 0.0, "pos": 0.25, "srl": 0.35}
HEADS = {"ner": 10, "pos": 30, "srl": 20}


def stored(seed, scores, numbers=100, start=0.05):
    tasks = {}
    for name, score in scores.items():
        parts = {"chance": FLOOR[name], "empty": 0.2, "start": start}
        tasks[name] = {"score": score, "floor": 0.4, "numbers": numbers + HEADS[name], **parts}
    return {
        "seed": seed,
        "digest": f"d{seed}{sorted(scores.items())}",
        "tasks": {"tuned_seen": tasks},
        "subcategories": GROUPS,
        "tuner": {"numbers": numbers},
        "settings": {"tune": {"head": "tags:layers=1"}},
    }


def study():
    lora = [stored(1, {"ner": 0.5, "pos": 0.6, "srl": 0.4}), stored(2, {"ner": 0.7, "pos": 0.8, "srl": 0.6})]
    full = [stored(1, {"ner": 0.4, "pos": 0.5, "srl": 0.3}, 5000, 0.15), None]
    return {"lora": lora, "full": full, "side": [None, None]}


def test_means_differences_floors_and_open_methods_by_hand():
    record = methods_summary(study(), "ipt study x")
    assert record["reference"] == "full" and record["groups"] == {"NER": 1, "POS": 2, "all": 3}
    lora, full, side = record["rows"]
    assert [lora["means"][group]["mean"] for group in record["groups"]] == [0.6, 0.6, 0.6]
    # Only the seed that both have; it is above by a tenth on every task.
    for group in record["groups"]:
        assert lora["differences"][group]["mean"] == 0.1
        assert lora["differences"][group]["seeds"] == 1
    assert lora["differences"]["POS"] == {"mean": 0.1, "low": 0.1, "high": 0.1, "seeds": 1, "tasks": 2}
    # One task and seed have no interval.
    assert lora["differences"]["NER"]["low"] is None
    assert full["differences"] == {} and side["means"]["all"] is None
    assert lora["numbers"] == 100 and lora["head"] == [10, 30]
    floors = {row["name"]: row["means"] for row in record["floors"]}
    assert floors["floor: best constant answer"]["POS"]["mean"] == 0.3
    assert floors["floor: head alone"]["NER"]["mean"] == 0.2
    # Mean over methods within a seed, then over seeds: (0.10 + 0.05) / 2.
    assert floors["floor: untrained start"]["all"]["mean"] == pytest.approx(0.075, abs=1e-3)

    text = table_of([record])
    assert "| full | 1 of 2 | 5,000 + 10 … 30 |" in text and "| side | 0 of 2 | – | open | open |" in text
    assert "minus full, POS" in text and "+10.0 (+10.0 … +10.0)" in text
    columns = methods_table(record).columns
    assert columns[3:6] == ["NER (1 task)", "POS (2 tasks)", "all (3 tasks)"]
    brief = methods_brief(record)
    assert [name for name in brief.columns if "minus" in name] == ["minus full"]
    assert all(len(row) == len(brief.columns) for row in brief.rows)
    # It goes through JSON unchanged.
    assert table_of([json.loads(json.dumps(record))]) == text


def test_without_full_the_first_line_is_the_reference():
    lines = study()
    lines["partial"] = lines.pop("full")
    record = methods_summary(lines, "")
    assert record["reference"] == "lora" and record["rows"][2]["differences"]["all"]["mean"] == -0.1
    open_study = methods_summary({"a": [None]}, "")
    assert open_study["rows"][0]["means"] == {} and table_of([open_study]).count("\n") == 3
    assert methods_figure(open_study) is None


def test_intervals_are_over_tasks_and_seeds():
    # Seeds differ and tasks do not, then the other way round: both make an interval.
    over_seeds = np.array([[0.1, 0.1], [0.3, 0.3], [0.5, 0.5]])
    for values in (over_seeds, over_seeds.T):
        found = mean_interval(values)
        assert found["mean"] == 0.3 and found["low"] < 0.2 and found["high"] > 0.4
    flat = mean_interval(np.full((3, 4), 0.5))
    assert flat["low"] == flat["high"] == 0.5
    # Of 40 tasks in one seed: the normal interval of a mean.
    values = np.random.default_rng(1).normal(0.5, 0.1, (1, 40))
    half = 1.96 * values.std() / 40**0.5
    found = mean_interval(values)
    assert found["low"] == pytest.approx(values.mean() - half, abs=0.006)
    assert found["high"] == pytest.approx(values.mean() + half, abs=0.006)
    assert mean_interval(np.zeros((0, 3))) is None


def test_the_figure_draws_each_method_and_floor():
    figure = methods_figure(methods_summary(study(), ""))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["NER (1 task)", "POS (2 tasks)", "all (3 tasks)"]
    for axes in panels:
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [line.get_xdata()[0] for line in dots] == pytest.approx([60, 40])
        # Three floors, each over the whole height.
        assert len([line for line in axes.lines if list(line.get_ydata()) == [0, 1]]) == 3


def test_pages_hold_the_table(tmp_path):
    write_compact(tmp_path / "x.json", methods_summary(study(), "ipt study x"))
    text = update_text("<!-- table x.json -->\n<!-- end short -->\n", tmp_path)
    assert "minus full |" in text and "`ipt study x` (seed 1, 2: scores " in text


def test_cells_of_several_lists_of_tasks_are_one_method():
    cells = read_cells({"cells": [{"name": "a", "tasks": ["x.json", "y.json"], "seed": [1, 2]}, {"name": "b", "tasks": "x"}]}, "f")
    assert [cell.over_tasks for cell in cells] == ["a", "a", "a", "a", "b"]
    parts = [stored(1, {"ner": 0.5}), stored(1, {"pos": 0.7, "srl": 0.9})]
    record = methods_summary({"a": parts}, "")
    assert record["rows"][0]["means"]["all"]["mean"] == 0.7 and record["rows"][0]["means"]["all"]["seeds"] == 1
    # A seed of which a list is open counts where it is whole.
    half = methods_summary({"a": [*parts, stored(2, {"ner": 0.1}), None]}, "")["rows"][0]["means"]
    assert half["all"] == record["rows"][0]["means"]["all"] and half["NER"]["mean"] == 0.3


STUDIES = sorted(path.name for path in FOLDER.glob("heads-*.toml"))
METHODS = (
    "bare mlp-2 mlp-3 soft-prompt p-tuning prefix prefix-mlp deep-prompt lora ia3 adapter bias side partial-k full"
).split()


@pytest.mark.parametrize("name", STUDIES)
def test_the_studies_that_come_with_the_package(name):
    path = FOLDER / name
    first = path.read_text(encoding="utf8").splitlines()[0]
    assert first == f"# ipt study analysis/studies/{name} --out runs/heads --to results/heads/{path.stem}"
    cells = read_cells(settings_file(path, "the study"), path)
    is_minilm = path.stem.endswith("-minilm")
    for cell in cells:
        if cell.settings["seed"] != 42:
            continue
        config = parse_cell(cell, "runs", COMMANDS)
        record = settings_record(config)
        assert config.work.model == ("models/minilm" if is_minilm else "mini")
        # Rates are the study's own.
        assert config.tune.learning_rates and config.work.limit >= 100
        if "ipt" not in path.stem:
            assert cell.only_tunes and len(config.tune.learning_rates) == 2
            assert (config.tune.steps, config.tune.rows_per_step, config.tune.eval_every) == (80, 4, 20)
        assert ("head" in record["tune"]) == (config.work.head != "language-model")
    seeds = {cell.settings["seed"] for cell in cells}
    assert seeds == ({42} if "ipt" in path.stem else {42, 43, 44})


@pytest.mark.parametrize("study", ["superglue", "tagging", "qa"])
@pytest.mark.parametrize("suffix", ["", "-minilm"])
def test_all_methods_are_in_the_comparisons(study, suffix):
    path = FOLDER / f"heads-{study}{suffix}.toml"
    cells = read_cells(settings_file(path, "the study"), path)
    assert list(dict.fromkeys(cell.over_tasks for cell in cells)) == METHODS
    heads = {cell.line: cell.settings["head"] for cell in cells}
    for layers in (2, 3):
        assert parse_head(heads[f"mlp-{layers}"]).layers == layers
    assert parse_head(heads["bare"]).layers == 1 and heads["bare"] == heads["full"]


def test_layers_are_added_from_both_ends():
    for suffix, count in (("", 4), ("-minilm", 6)):
        path = FOLDER / f"heads-depth{suffix}.toml"
        layers = {}
        for cell in read_cells(settings_file(path, "the study"), path):
            layers[cell.over_tasks] = parse_tuner(cell.settings["tuner"]).layers
        assert layers.pop("all") == ()
        assert set(layers) == {f"{end}-{k}" for end in ("first", "last") for k in range(1, count)}
        for name, chosen in layers.items():
            end, k = name.split("-")
            wanted = range(int(k)) if end == "first" else range(count - int(k), count)
            assert chosen == tuple(wanted)


def test_the_lists_of_tasks(tmp_path):
    data = tmp_path / "data"
    for name in heads_data.FOLDERS:
        (data / name).mkdir(parents=True)
    for i in range(40):
        task = {
            "name": f"t{i:02}",
            "category": "cls" if i != 5 else "non-cls",
            "subcategory": f"kind{i % 5}",
            "options": ["a"] * (9 if i == 6 else 2),
            "examples": [{}] * (599 if i == 7 else 600),
        }
        (data / "real-tasks" / f"t{i:02}.json.gz").write_bytes(gzip.compress(json.dumps(task).encode()))
    for _ in range(2):
        heads_data.main(data, tmp_path / "runs")
    chosen = json.loads((tmp_path / "runs" / "cls.json").read_text())
    assert (len(chosen["seen"]), len(chosen["unseen"])) == (24, 8) and not set(chosen["seen"]) & set(chosen["unseen"])
    assert not {"t05", "t06", "t07"} & {*chosen["seen"], *chosen["unseen"]}
    glue = json.loads((tmp_path / "runs" / "superglue.json").read_text())
    assert len(glue["seen"]) == 7 and "ReCoRD" not in glue["seen"]
    assert (tmp_path / "runs" / "fewglue").resolve() == data / "fewglue"
    with pytest.raises(ValueError, match="missing: "):
        heads_data.main(tmp_path, tmp_path / "other")


@pytest.mark.skipif(not all(os.environ.get(name) for name in DATA), reason=f"set {', '.join(DATA)}")
def test_the_lists_name_tasks_that_are_there(tmp_path):
    for name, variable in zip(("fewglue", "tagging", "qa"), DATA, strict=True):
        (tmp_path / name).symlink_to(os.environ[variable], target_is_directory=True)
    for name, (folder, seen) in heads_data.LISTS.items():
        path = tmp_path / f"{name}.json"
        heads_data.write_list(path, {"tasks": folder, "seen": seen})
        assert [task.name for task in load_tasks(str(path))] == seen, name
    # control: names of files are no names of tasks
    heads_data.write_list(path, {"tasks": "qa", "seen": ["squad2_train"]})
    with pytest.raises(ValueError, match="unknown task"):
        load_tasks(str(path))
