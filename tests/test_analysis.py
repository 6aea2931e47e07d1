"""Tables and figures from results made by hand, where the right figures are known."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ipt.analysis.figures import codes_scatter, recovery_bars
from ipt.analysis.report import recovery_figure, summary, update_text
from ipt.analysis.scores import SEEDS_COLUMN, lines, markdown, per_task, read_results, to_csv


def scores(**values):
    return {name: {"generated": value, "ranked": None} for name, value in values.items()}


def task(**changes):
    return {"category": "cls", "subcategory": "toy", "metric": "accuracy", "novel": False, "knowledge": False, "digest": ""} | changes


@pytest.fixture
def pair():
    tasks = {"a": task(), "b": task(knowledge=True), "u": task(novel=True), "v": task()}
    split = {"name": "toy", "seen": ["a", "b"], "unseen": ["u", "v"], "out_of_kind": [], "new_subcategories": ["v"]}
    common = {"tasks": tasks, "split": split, "dim": 5, "compresses": False}
    common["floor"] = {n: {"chance": 0.2, "empty": 0.1, "start": 0.0} for n in tasks}
    same = scores(a=0.8, b=0.6, u=0.5, v=1.0)
    msf = common | {"kind": "msf", "reference": {"100": same}}
    msf["scores"] = {"train_msf": scores(a=0.8, b=0.6), "test_msf": scores(u=0.25, v=0.5)}
    ist = common | {"kind": "ist", "reference": {"100": same, "21": scores(a=0.4, b=0.6)}}
    ist["scores"] = {"train_diff": scores(a=0.4, b=0.3), "test": scores(u=0.5, v=0.5)}
    return [msf, ist]


def test_each_setting_is_compared_with_its_own_reference(pair):
    found = {(line.setting, line.group): line.recovery for line in lines(pair)}
    assert found["train_msf", "all"].relative == 1
    assert found["test_msf", "all"].relative == pytest.approx(0.5)
    assert found["train_diff", "all"].relative == pytest.approx(0.75)  # against data seed 21, not 100
    assert found["test", "novel"].relative == 1 and found["test", "new subcategory"].relative == 0.5
    assert found["test", "all"].floored == pytest.approx((1 + 0.3 / 0.8) / 2)
    assert ("train_diff", "novel") not in found  # no seen task is novel here


def test_tables_and_files(pair, tmp_path):
    text = markdown(lines(pair))
    assert text.count("\n") == 2 + len(lines(pair)) and "| T_test (IST) | all | 2 | 0.500 | 75.0 |" in text
    rows = to_csv(per_task(pair)).splitlines()
    assert rows[0].startswith("setting,task,category") and len(rows) == 1 + 8
    recovery_figure([pair], tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="no complete run"):
        read_results([tmp_path])


def test_marked_tables_are_made_from_their_summary(pair, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(summary([pair], "ipt ist", [42])), encoding="utf8")
    text = "# x\n<!-- table s.json -->\nold\n<!-- end short -->\nrest\n"
    new = update_text(text, tmp_path)
    assert "old" not in new and "| T_test (IST) | 2 | 0.500 | 75.0 |" in new and "subcategory" not in new and new.endswith("rest\n")
    assert "| 100.0 (1) | – | 50.0 (1) |" in new  # one novel, no knowledge, one rule task is unseen
    assert update_text(new, tmp_path) == new
    assert "new subcategory" in update_text(text.replace("end short", "end"), tmp_path)


def test_runs_of_several_seeds_are_averaged(pair):
    other = [pair[0], pair[1] | {"scores": pair[1]["scores"] | {"test": scores(u=0.25, v=0.5)}}]
    record = summary([pair, other], "ipt ist", [1, 2])
    one, two, both = (
        {tuple(row[:2]): row for row in table["rows"]} for table in (summary([pair], "", [1]), summary([other], "", [2]), record)
    )
    assert both["T_test (IST)", "all"][3:6] == ["0.438", "62.5", "50.0 … 75.0"]
    assert (one["T_test (IST)", "all"][4], two["T_test (IST)", "all"][4]) == ("75.0", "50.0")
    assert both["T_train (MSF)", "all"][4:6] == ["100.0", "100.0 … 100.0"]  # the same in both seeds
    assert record["seeds"] == [1, 2] and record["columns"][5] == SEEDS_COLUMN
    with pytest.raises(ValueError, match="one split and one d, found: toy, d = 5; toy, d = 6"):
        summary([pair, [pair[0], pair[1] | {"dim": 6}]], "", [1, 2])


def test_figures_draw_what_they_are_given():
    _, axes = plt.subplots()
    recovery_bars(axes, {"test": [0.5, float("nan")]}, {"test": [(0.4, 0.6), (float("nan"),) * 2]}, ["x", "y"], {"test": "T"})
    assert [round(bar.get_height()) for bar in axes.patches[:1]] == [50]
    codes_scatter(axes, np.zeros((3, 2)), ["a", "b", "a"], ["n", "m", "o"])
    assert len(axes.texts) == 1 + 3
    plt.close("all")
