"""Tables and figures from results made by hand, where the right figures are known."""

import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from results_by_hand import typed

from ipt.analysis.comparison import COMPARED, compare, compare_groups, comparison_rows
from ipt.analysis.markup import latex, markdown, to_csv
from ipt.analysis.plots.bars import recovery_bars
from ipt.analysis.scores import (
    COLUMNS,
    SEEDS_COLUMN,
    cells,
    lines,
    per_task,
    read_results,
    subcategories,
)
from ipt.analysis.study import study_summary
from ipt.analysis.summaries import recovery_figure, summary, update_text
from ipt.recovery import from_json, recovery, to_json
from ipt.results import TaskScore


def scores(**values):
    return {name: {"generated": value, "ranked": None} for name, value in values.items()}


def task(**changes):
    return {
        "category": "cls",
        "subcategory": "toy",
        "metric": "accuracy",
        "novel": False,
        "knowledge": False,
        "digest": "",
    } | changes


@pytest.fixture
def pair():
    tasks = {"a": task(), "b": task(knowledge=True), "u": task(novel=True), "v": task()}
    split = {
        "name": "toy",
        "seen": ["a", "b"],
        "unseen": ["u", "v"],
        "out_of_kind": [],
        "new_subcategories": ["v"],
    }
    common = {"tasks": tasks, "split": split, "dim": 5, "compresses": False}
    common["floor"] = {n: {"chance": 0.2, "empty": 0.1, "start": 0.0} for n in tasks}
    same = scores(a=0.8, b=0.6, u=0.5, v=1.0)
    msf = common | {"kind": "msf", "reference": {"100": same}}
    msf["scores"] = {"train_msf": scores(a=0.8, b=0.6), "test_msf": scores(u=0.25, v=0.5)}
    ist = common | {"kind": "ist", "reference": {"100": same, "21": scores(a=0.4, b=0.6)}}
    ist["scores"] = {"train_diff": scores(a=0.4, b=0.3), "test": scores(u=0.5, v=0.5)}
    return typed([msf, ist])


def test_each_setting_is_compared_with_its_own_reference(pair):
    found = {(line.setting, line.group): line.recovery for line in lines(pair)}
    assert found["train_msf", "all"].relative == 1
    assert found["test_msf", "all"].relative == pytest.approx(0.5)
    assert found["train_diff", "all"].relative == pytest.approx(
        0.75
    )  # against data seed 21, not 100
    assert found["test", "novel"].relative == 1 and found["test", "new subcategory"].relative == 0.5
    assert found["test", "all"].floored == pytest.approx((1 + 0.3 / 0.8) / 2)
    assert ("train_diff", "novel") not in found  # no seen task is novel here


def test_each_subcategory_has_its_own_recovery(pair):
    names = {"a": "x", "b": "", "u": "x", "v": "y"}
    tasks = {name: replace(pair[0].tasks[name], subcategory=group) for name, group in names.items()}
    grouped = [replace(result, tasks=tasks) for result in pair]
    found = {
        (line.setting, line.group): line.recovery for line in lines(grouped, grouping=subcategories)
    }
    assert (
        found["train_diff", "x"].relative == 1
        and found["train_diff", "no subcategory"].relative == 0.5
    )  # each of one task
    assert found["test", "x"].relative == 1 and found["test", "y"].relative == 0.5
    assert not {("train_diff", "y"), ("test", "all")} & set(found)
    every = {
        (line.setting, line.group): line.recovery for line in lines(pair, grouping=subcategories)
    }
    whole = {line.setting: line.recovery for line in lines(pair) if line.group == "all"}
    assert {
        s: r for (s, group), r in every.items() if group == "toy"
    } == whole  # control: of one subcategory, the table of all


def test_tables_and_files(pair, tmp_path):
    text = markdown(COLUMNS, map(cells, lines(pair)))
    assert (
        text.count("\n") == 2 + len(lines(pair))
        and "| T_test (IST) | all | 2 | 0.500 | 75.0 |" in text
    )
    rows = to_csv(per_task(pair)).splitlines()
    assert rows[0].startswith("setting,task,category") and len(rows) == 1 + 8
    recovery_figure([pair], tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5000
    with pytest.raises(ValueError, match="no complete run"):
        read_results([tmp_path])


def test_marked_tables_are_made_from_their_summary(pair, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(summary(pair, "ipt ist", 42)), encoding="utf8")
    text = "# x\n<!-- table s.json -->\nold\n<!-- end short -->\nrest\n"
    new = update_text(text, tmp_path)
    assert (
        "old" not in new
        and "| T_test (IST) | 2 | 0.500 | 75.0 |" in new
        and "subcategory" not in new
        and new.endswith("rest\n")
    )
    assert "| 100.0 (1) | – | 50.0 (1) |" in new  # one novel, no knowledge, one rule task is unseen
    assert update_text(new, tmp_path) == new
    assert "new subcategory" in update_text(text.replace("end short", "end"), tmp_path)


def test_a_short_table_has_the_kinds_of_unseen_tasks_where_they_differ(pair, tmp_path):
    split = replace(pair[0].split, unseen=("u",), out_of_kind=("v",))
    kinds = [replace(result, split=split) for result in pair]
    (tmp_path / "s.json").write_text(json.dumps(summary(kinds, "ipt ist", 42)), encoding="utf8")
    new = update_text("<!-- table s.json -->\n<!-- end short -->", tmp_path)
    assert (
        "in kind, E_rel (n) | in kind, above floor | "
        "out of kind, E_rel (n) | out of kind, above floor |" in new
    )
    assert (
        "| 100.0 (1) | 100.0 | 50.0 (1) | 37.5 |" in new and "novel, E_rel" not in new
    )  # of v: (0.5 - 0.2) / (1 - 0.2)


def test_a_short_table_of_a_study_has_its_main_columns_and_no_open_line(tmp_path):
    lines = []
    for group, share in (("all", 0.6), ("novel", 0.07)):
        measures = {"absolute": 0.5, "relative": share, "floored": None}
        lines.append({"setting": "test", "group": group} | measures)
    cell = {"seed": 1, "digest": "0", "prompts": "abc", "parameters": 9, "lines": lines}
    cell["reference"] = {"unseen": 0.8}
    record = study_summary({"d 5": [cell], "d 9": [None]}, "ipt study x")
    (tmp_path / "s.json").write_text(json.dumps(record))
    brief, whole = (
        update_text(f"<!-- table s.json -->\n<!-- end{short} -->", tmp_path)
        for short in (" short", "")
    )
    assert "| cell | seeds | unseen |" in brief and "novel" not in brief
    assert "| d 5 | 1 of 1 | 60.0 |" in brief and "d 9" not in brief
    assert "unseen, novel" in whole and "| d 5 | 1 of 1 | 0.500 | 60.0 | – | 7.0 | 0.800 |" in whole
    assert "| d 9 | 0 of 1 | open | open | open | open | open |" in whole


def test_runs_of_several_seeds_are_averaged(pair, tmp_path):
    lower = {"u": TaskScore(0.25), "v": TaskScore(0.5)}
    other = [pair[0], replace(pair[1], scores=pair[1].scores | {"test": lower})]
    for seed, made in enumerate((pair, other)):
        (tmp_path / f"s{seed}.json").write_text(
            json.dumps(summary(made, "ipt ist", seed)), encoding="utf8"
        )
    one, two, both = (
        update_text(f"<!-- table {name} -->\n<!-- end -->", tmp_path)
        for name in ("s0.json", "s1.json", "s*.json")
    )
    assert (
        "| T_test (IST) | all | 2 | 0.500 | 75.0 |" in one
        and "| T_test (IST) | all | 2 | 0.375 | 50.0 |" in two
    )
    assert (
        "| T_test (IST) | all | 2 | 0.438 | 62.5 | 50.0 … 75.0 |" in both and SEEDS_COLUMN in both
    )
    assert (
        "| T_train (MSF) | all | 2 | 0.700 | 100.0 | 100.0 … 100.0 |" in both
    )  # the same with both seeds
    fewer = [pair[0], replace(pair[1], scores={"train_diff": pair[1].scores["train_diff"]})]
    (tmp_path / "s1.json").write_text(json.dumps(summary(fewer, "ipt ist", 1)), encoding="utf8")
    some = update_text("<!-- table s*.json -->\n<!-- end -->", tmp_path)
    assert (
        "| T_test (IST) |" not in some and "| T_train (MSF) | all | 2 |" in some
    )  # what both have
    assert (
        "Not with every seed, so not in the table: T_test (IST)." in some
        and "Not with every seed" not in both
    )
    assert "seed 0: scores" in both and "seed 1: scores" in both and SEEDS_COLUMN not in one
    (tmp_path / "s2.json").write_text(
        json.dumps(summary([pair[0], replace(pair[1], dim=6)], "ipt ist", 2)), encoding="utf8"
    )
    with pytest.raises(
        ValueError, match="more than their seed: toy, d = 5; toy, d = 5; toy, d = 6"
    ):
        update_text("<!-- table s*.json -->\n<!-- end -->", tmp_path)


def test_figures_without_a_value_survive_a_summary():
    figures = recovery(
        {"a": 0.5}, {"a": 0.0}, {"a": 0.1}
    )  # no reference: no ratio, nothing above the floor
    read = from_json(json.loads(json.dumps(to_json(figures), allow_nan=False)))
    assert repr(read) == repr(figures) and read.relative != read.relative


def test_figures_draw_what_they_are_given():
    _, axes = plt.subplots()
    recovery_bars(
        axes,
        {"test": [0.5, float("nan")]},
        {"test": [(0.4, 0.6), (float("nan"),) * 2]},
        ["x", "y"],
        {"test": "T"},
    )
    assert [round(bar.get_height()) for bar in axes.patches[:1]] == [50]
    plt.close("all")


def test_a_planted_difference_is_found_task_by_task():
    generator = np.random.default_rng(0)
    second = {
        f"t{i}": float(level) for i, level in enumerate(generator.uniform(0, 0.8, 40))
    }  # tasks differ more than the methods do
    first = {
        name: score + 0.05 + 0.02 * float(generator.standard_normal())
        for name, score in second.items()
    }
    found = compare(first, second)
    assert found.difference == pytest.approx(0.05, abs=0.01) and found.p_value < 1e-6
    assert 0.03 < found.interval[0] < found.difference < found.interval[1] < 0.07
    assert found.wins + found.losses == found.tasks == 40 and found.wins > 36 and found.ties == 0
    back = compare(second, first)
    assert (back.difference, back.wins, back.p_value) == (
        -found.difference,
        found.losses,
        found.p_value,
    )


def test_control_no_difference_is_seldom_found():
    pairs = np.random.default_rng(1).standard_normal((200, 2, 15))
    p_values = [
        compare(*({str(i): v for i, v in enumerate(scores)} for scores in pair)).p_value
        for pair in pairs
    ]
    assert np.mean(np.array(p_values) <= 0.1) == pytest.approx(0.1, abs=0.06)


def test_comparison_by_group_with_ties():
    first = {"a": 0.8, "b": 0.7, "c": 0.5, "d": 0.1}
    second = {"a": 0.6, "b": 0.5, "c": 0.5, "d": 0.4}
    apart = {"all": set("abcd"), "x": set("ab"), "y": set("c"), "z": set("d"), "none": set()}
    found = compare_groups(first, second, apart)
    assert list(found) == ["all", "x", "y", "z"] and found["all"].difference == pytest.approx(0.025)
    assert [(c.wins, c.ties, c.losses) for c in found.values()] == [
        (2, 1, 1),
        (2, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
    ]
    assert found["y"].p_value == 1 and found["y"].interval[0] != found["y"].interval[0]
    assert found["x"].interval == pytest.approx((0.2, 0.2)) and found["x"].p_value == 0.5
    rows = comparison_rows(found)
    assert rows[1] == ("x", "2", "+0.200", "+0.200 … +0.200", "0.500", "2", "0", "0")
    assert rows[3] == ("z", "1", "−0.300", "–", "1.000", "0", "0", "1")
    assert "| z | 1 | −0.300 |" in markdown(COMPARED, rows, texts=1)
    with pytest.raises(ValueError, match=r"one method only: \['d'\]"):
        compare(first, {n: s for n, s in second.items() if n != "d"})


def test_latex_escapes_what_it_reads_as_commands():
    table = latex(
        ["name", "95 % interval", "x"],
        [["a_b & $c^2$ \\ {~#|}", "−1 … 2", "< 3"], ["two\nlines", "–", "é"]],
    )
    assert table.splitlines() == [
        r"\begin{tabular}{llr}",
        r"\toprule",
        r"name & 95 \% interval & x \\",
        r"\midrule",
        r"a\_b \& \$c\textasciicircum{}2\$ \textbackslash{} \{\textasciitilde{}\#\textbar{}\}"
        r" & $-$1 \ldots{} 2 & \textless{} 3 \\",
        r"two lines & -- & é \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
