"""The page's tables by hand, of a run whose every score, reference and floor is another number."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from results_by_hand import (
    CONTROLS,
    FLOOR,
    IST,
    TASKS,
    TITLES,
    floors,
    made_pair,
    made_results,
    scores,
    task,
    typed,
)

from ipt.analysis.comparison import COMPARED
from ipt.analysis.geometry import Clusters
from ipt.analysis.report import tables
from ipt.analysis.report.views import Probe, Stability, StageRun, View
from ipt.analysis.scores import COLUMNS, Line, cells, lines
from ipt.recovery import Recovery

MINUS = "−"


def config(kind, **more):
    settings = {"kind": kind, "msf_run": "msf-made", "seed": 42, "limit": 0}
    return settings | {"parts": {"seen": ["s1"]}, "digests": {"s1": "x"}} | more


def view(pair=None, label="made", vectors=None, msf=None, ist=None, **more):
    """A view of a run; msf and ist: settings."""
    msf_result, ist_result = typed(pair or made_pair())
    return View(
        label=label,
        msf=stage("msf", msf_result, msf or {}),
        ist=stage("ist", ist_result, ist or {}),
        vectors=vectors or {},
        **more,
    )


def stage(kind, result, settings):
    return StageRun(Path(f"runs/{kind}-made"), result, {"config": config(kind) | settings})


def without(*settings):
    msf, ist = made_pair()
    return [
        msf,
        ist | {"scores": {s: found for s, found in ist["scores"].items() if s not in settings}},
    ]


def test_the_headline_is_of_unseen_tasks_and_of_seen_ones_with_other_data():
    found = tables.headline(view())
    unseen, seen = found["unseen tasks"], found["seen tasks, other data"]
    assert (unseen.tasks, unseen.absolute, unseen.above) == ("4", "0.385", "3")
    assert (unseen.ratio, unseen.floored) == ("81.1", "66.4")
    assert unseen.relative == f"{100 * (0.8 + 0.75 + 0.9 + 0.7) / 4:.1f}"
    assert (seen.tasks, seen.relative, seen.floored) == ("3", "66.7", "44.1")
    (line,) = (x for x in lines(made_results()) if (x.setting, x.group) == ("test", "all"))
    assert (unseen.interval, unseen.floored_interval) == (cells(line)[5], cells(line)[8])
    assert tables.headline(view(without("train_diff")))["seen tasks, other data"] is None


def test_the_reference_is_prompt_tunings_mean_on_each_side():
    assert tables.reference(view()) == {"4 unseen tasks": "0.475", "3 seen tasks": "0.767"}
    nothing = {
        "split": {
            "name": "x",
            "seen": ["s1", "s2", "s3"],
            "unseen": [],
            "out_of_kind": [],
            "new_subcategories": [],
        }
    }
    msf, ist = made_pair()
    few = {"tasks": {n: msf["tasks"][n] for n in ("s1", "s2", "s3")}}
    pair = [result | nothing | few | {"scores": {}} for result in (msf, ist)]
    assert tables.reference(view(pair)) == {"0 unseen tasks": "–", "3 seen tasks": "0.767"}


def test_the_settings_table_of_one_run_is_that_of_its_folder():
    found = tables.settings_table([view()])
    rows = [cells(line) for line in lines(made_results())]
    assert found.names == list(COLUMNS) and found.rows == rows
    assert found.texts == ["setting", "tasks"]
    assert found.strong == {i for i, row in enumerate(rows) if row[1] == "all"}
    assert len(found.strong) == 15


def test_the_rows_of_several_runs_stand_together_by_setting_and_group():
    other = made_pair(test=IST["random_test"])
    del other[1]["scores"]["train_diff"]
    found = tables.settings_table([view(label="one"), view(other, label="two")])
    assert found.names == ["setting", "tasks", "run", *COLUMNS[2:]]
    assert found.texts == ["setting", "tasks", "run"]
    test = [(*row[1:4], row[8]) for row in found.rows if row[0] == "T_test (IST)"]
    by_hand = (-0.07 / 0.25 + 0.07 / 0.35 + 0.04 / 0.22) / 3  # of u2, u3 and o1
    assert test[:2] == [("all", "one", "4", "66.4"), ("all", "two", "4", f"{100 * by_hand:.1f}")]
    assert [row[:2] for row in test[2:4]] == [("in kind", "one"), ("in kind", "two")]
    assert [row[2] for row in found.rows if row[0] == "T_train diff (IST)"] == ["one"] * 3
    assert {row[1] for i, row in enumerate(found.rows) if i in found.strong} == {"all"}
    assert len(found.strong) == 15 + 14


DIFFERENCES = {  # means of test minus control: all tasks, novel ones
    "test_msf": ("+0.195", "+0.175"),
    "shared": ("+0.295", "+0.220"),
    "mean_code": ("+0.290", "+0.290"),
    "best_code": ("+0.190", "+0.140"),
    "best_seen": ("+0.170", "+0.125"),
    "nearest_seen": ("+0.230", "+0.195"),
    "start_test": ("+0.240", "+0.225"),
    "random_test": ("+0.192", "+0.235"),
    "pca_test": ("+0.107", "+0.055"),
    "mixture_test": ("+0.075", "+0.065"),
}


def test_tuned_numbers_against_each_control_by_hand():
    found = tables.comparison_table([view()])
    assert found.names == ["T_test (IST) minus", *COMPARED]
    assert found.texts == ["T_test (IST) minus", "tasks"]
    overall = [row for row in found.rows if row[1] == "all"]
    # what matters most comes first, and all tasks before their groups
    assert [row[0] for row in overall[:6]] == [TITLES[s] for s in tables.COMPARED_FIRST]
    assert {row[0] for row in overall} == {TITLES[s] for s in ("test_msf", *CONTROLS)}
    assert [row for i, row in enumerate(found.rows) if i in found.strong] == overall
    assert found.rows[: len(overall)] == overall
    by_group = {(row[0], row[1]): row for row in found.rows}
    for setting, (whole, novel) in DIFFERENCES.items():
        row = by_group[TITLES[setting], "all"]
        assert float(row[3]) == pytest.approx(float(whole), abs=0.0006) and row[2] == "4"
        assert by_group[TITLES[setting], "novel"][2:4] == ("2", novel)
    pca = by_group["IST, PCA subspace", "all"]
    assert pca[6:] == ("2", "0", "2")  # better on u2 and u3
    assert by_group["IST, PCA subspace", "out of kind"][3] == f"{MINUS}0.030"


def test_a_page_has_no_more_digits_than_an_interval_allows():
    def line(low, high, share=-0.0612, tasks=9):
        figures = Recovery(
            tasks=tasks,
            absolute=0.5,
            relative=share,
            interval=(low, high),
            ratio_of_means=-0.0412,
            floored=share,
            floored_interval=(low, high),
            below_floor=(),
            undefined=(),
        )
        return tables.shown_cells(Line("test", "all", figures))

    wide, narrow, few = line(-0.354, 0.156), line(-0.094, -0.004), line(-0.354, 0.156, tasks=4)
    assert (wide.relative, wide.interval) == ("−6", "−35 to 16")
    assert (narrow.relative, narrow.interval) == ("−6.1", "−9.4 to −0.4")
    assert (few.relative, few.interval, few.ratio_of_means) == ("−6.1", "–", "−4.1")
    assert line(-0.354, 0.004, share=-0.001).relative == "0"  # and not -0


def test_a_control_that_a_run_lacks_is_no_row_and_several_runs_are_named():
    found = tables.comparison_table(
        [view(without("pca_test"), "one"), view(without("random_test"), "two")]
    )
    assert found.texts == found.names[:3] == ["T_test (IST) minus", "run", "tasks"]
    overall = [row[:3] for i, row in enumerate(found.rows) if i in found.strong]
    assert ("IST, PCA subspace", "two", "all") in overall
    assert ("IST, PCA subspace", "one", "all") not in overall
    assert [row[1] for row in overall] == ["one"] * 9 + ["two"] * 9
    assert tables.comparison_table([view(without("test"))]).rows == []


def test_clusters_are_measured_by_the_labels_of_the_points_own_tasks():
    found = Clusters(-0.004, (0.126, 0.034), 0.05, 0.754, (0.33, 0.118), 0.35, 7, 3, ())
    asked = []

    def stub(points, labels, folds, shuffles):
        asked.append((points, labels, folds, shuffles))
        if len(asked) == 2:
            raise ValueError("too few")
        return found

    vectors = {"train_same": np.arange(6.0).reshape(3, 2), "test": np.arange(8.0).reshape(4, 2)}
    with patch("ipt.analysis.report.tables.clusters", stub):
        rows = tables.clusters_table(view(vectors=vectors)).rows
    cell = ["7", "3", "0.00", "0.13 ± 0.03", "0.05", "0.75", "0.33 ± 0.12", "0.35"]
    assert rows == [["kind", *cell], ["subcategory", *cell]]  # of groups there were too few
    assert [labels for _, labels, _, _ in asked] == [
        ["non-cls", "cls", "cls", "cls", "non-cls", "cls", "non-cls"],
        ["rule", "knowledge", "rule", "novel", "novel", "knowledge", "rule"],
        ["one", "two", "one", "one", "four", "two", "five"],
    ]
    for points, _, folds, shuffles in asked:
        np.testing.assert_array_equal(points, np.concatenate(list(vectors.values())))
        assert (folds, shuffles) == (3, 19)


def test_the_largest_weights_of_a_mixture_come_first_whatever_their_sign():
    pair = made_pair()
    seen = ["s1", "s2", "s3", "s4", "s5"]
    pair[1]["split"] = pair[1]["split"] | {"seen": seen}
    weights = np.array(
        [
            [0.1, -0.6, 0.3, 0.2, 1.0],
            [1, 1, 1, 1, -3],
            [0, 0, 0, 0, 1],
            [0.5, 0.004, -0.004, -0.5, 1],
        ]
    )
    rows = tables.mixtures_table(view(pair, vectors={"mixture": weights})).rows
    assert rows == [
        ("u1", f"s5 1.00, s2 {MINUS}0.60, s3 0.30, s4 0.20"),
        ("u2", f"s5 {MINUS}3.00, s1 1.00, s2 1.00, s3 1.00"),
        ("u3", "s5 1.00, s1 0.00, s2 0.00, s3 0.00"),
        ("o1", f"s5 1.00, s1 0.50, s4 {MINUS}0.50, s2 0.00"),
    ]
    assert tables.mixtures_table(view()).rows == []


def test_a_subcategory_is_shown_where_its_tasks_were_tuned():
    found = tables.subcategories_table(view())
    assert found.names[:3] == ["setting", "subcategory", "n"]
    assert found.texts == ["setting", "subcategory"]
    assert [(row[0], row[1], row[2], row[4]) for row in found.rows] == [
        ("T_train diff (IST)", "one", "2", "62.5"),
        ("T_train diff (IST)", "two", "1", "75.0"),
        ("T_test (IST)", "five", "1", "70.0"),
        ("T_test (IST)", "four", "1", "75.0"),
        ("T_test (IST)", "one", "1", "80.0"),
        ("T_test (IST)", "two", "1", "90.0"),
    ]
    same = [
        result | {"tasks": {n: task("one", False) for n in result["tasks"]}}
        for result in made_pair()
    ]
    assert tables.subcategories_table(view(same)).rows == []


def test_seen_tasks_stand_for_their_own_data_where_there_is_no_other():
    rows = tables.subcategories_table(view(without("train_diff"))).rows
    assert [(row[0], row[4]) for row in rows[:2]] == [
        ("T_train same (IST)", "77.5"),
        ("T_train same (IST)", "90.0"),
    ]


def test_notes_say_what_the_figures_leave_out():
    pair = made_pair()
    assert list(tables.notes(view(pair))) == [
        "Left out of “above floor” (1), as prompt tuning is not 0.10 above it: u1.",
    ]
    zero = scores(("u2", "o1"), [0.0, 0.0], [None, None])
    none = [r | {"reference": r["reference"] | {"100": r["reference"]["100"] | zero}} for r in pair]
    assert list(tables.notes(view(none))) == [
        "Left out of “above floor” (3), as prompt tuning is not 0.10 above it: o1, u1, u2.",
        "Left out of E_rel (2), as prompt tuning scores 0: o1, u2.",
    ]
    every = [r | {"floor": {n: floors(0.0, 0.0, 0.0) for n in FLOOR}} for r in pair]
    assert list(tables.notes(view(every))) == []


@pytest.mark.parametrize(
    ("msf", "ist", "says"),
    [
        ({"limit": 12}, {"limit": 6}, ["Only 6 test rows", "Only 12 test rows"]),
        ({"given": {"names": ["a", "b"]}}, {}, ["The prompts of 2 tasks were given"]),
        ({}, {"held_out": "dev"}, ["Scored on dev rows"]),
        ({"held_out": "test"}, {}, []),
    ],
)
def test_notes_say_how_a_run_was_made(msf, ist, says):
    found = list(tables.notes(view(msf=msf, ist=ist)))[1:]
    assert len(found) == len(says)
    assert all(note.startswith(start) for note, start in zip(found, says, strict=True))


def test_a_run_that_compresses_nothing_says_so():
    pair = made_pair()
    pair[1]["compresses"] = False
    assert list(tables.notes(view(pair)))[1].startswith("d is at or above the number of seen tasks")
    pair = made_pair()
    pair[0]["compresses"] = False
    assert len(list(tables.notes(view(pair)))) == 1  # control: IST's own word counts


def test_runs_with_the_same_notes_share_them():
    views = [view(label="one"), view(label="two", ist={"held_out": "dev"}), view(label="three")]
    found = tables.shared_notes(views)
    assert list(found.values()) == [["one", "three"], ["two"]]
    assert [len(notes) for notes in found] == [1, 2]


def test_a_tasks_row_by_hand():
    found = tables.tasks_table(view())
    rows = {row[0]: dict(zip(found.names, row, strict=True)) for row in found.rows}
    about = ("subcategory", "kind", "group", "part", "metric")
    assert list(rows) == ["s1", "s2", "s3", "u1", "u2", "u3", "o1"]
    assert found.texts == ["task", *about]
    numbers = (
        "prompt tuning",
        "prompt tuning, other data",
        "floor",
        "recovery",
        "T_test (IST)",
        "T_train diff (IST)",
    )
    picked = {name: [row[column] for column in (*about, *numbers)] for name, row in rows.items()}
    told = {name: (row[: len(about)], row[len(about) :]) for name, row in picked.items()}
    assert told["u3"] == (
        ["two", "cls", "knowledge", "unseen", "accuracy"],
        ["0.700", "–", "0.350", "90.0\u00a0%", "0.630", "–"],
    )
    assert told["o1"] == (
        ["five", "non-cls", "rule", "unseen", "exact-match"],
        ["0.300", "–", "0.080", "70.0\u00a0%", "0.210", "–"],
    )
    assert told["s1"] == (
        ["one", "non-cls", "rule", "seen", "exact-match"],
        ["0.800", "0.640", "0.200", "50.0\u00a0%", "–", "0.320"],
    )
    assert [rows["u2"][TITLES[s]] for s in CONTROLS] == [
        "0.060",
        "0.020",
        "0.120",
        "0.250",
        "0.160",
        "0.200",
        "0.080",
        "0.140",
        "0.220",
    ]
    assert found.names[10:] == [TITLES[s] for s in TITLES]


def test_without_other_data_a_seen_tasks_row_is_of_its_own():
    found = tables.tasks_table(view(without("train_diff")))
    row = dict(zip(found.names, found.rows[2], strict=True))
    assert "prompt tuning, other data" not in row
    assert (row["task"], row["prompt tuning"], row["recovery"]) == ("s3", "0.900", "60.0\u00a0%")
    bare = view(without("train_diff", "train_same"))
    assert tables.tasks_table(bare).rows[2][8] == "90.0\u00a0%"  # of MSF
    msf, ist = without("train_same")
    other = view([msf | {"scores": {"test_msf": msf["scores"]["test_msf"]}}, ist])
    # that of other data is no other's
    assert tables.tasks_table(other).rows[2][6:9] == ["–", "0.720", "–"]
    unscored = replace(bare.msf, result=replace(bare.msf.result, scores={}))
    none = replace(bare, msf=unscored)
    assert tables.tasks_table(none).rows[2][6:9] == ["–", "–", "–"]


def test_tasks_of_a_user_are_of_no_group():
    plain = [
        result | {"tasks": {n: task("one", False) for n in result["tasks"]}}
        for result in made_pair()
    ]
    assert {row[3] for row in tables.tasks_table(view(plain)).rows} == {"–"}
    assert tables.group_of(view(), "u2") == "novel"  # though it needs knowledge too
    facts = {n: task("one", False, knowledge=n == "u2") for n in TASKS}
    known = view([result | {"tasks": facts} for result in made_pair()])
    assert [tables.group_of(known, n) for n in ("u1", "u2")] == ["rule", "knowledge"]


def test_further_tables_show_what_was_written_beside_a_run():
    words = {"near": [[["a", 0.256], ["b", 0.1]], [["c", 0.5]]], "u1": [[["d", 0.4]], [["e", 1.0]]]}
    row = {
        "method": "IST",
        "tasks": 4,
        "seeds": 3,
        "mean_score": 0.5,
        "relative": 0.9,
        "floored": None,
        "spread": 0.1,
        "spread_ratio": 0.25,
    }
    seeds = Stability(rows=[row], by_seed={})
    probe = Probe({"task": "u1", "words": words}, {})
    found = tables.further_tables(view(probe=probe, stability=seeds))
    assert found["words"].names == ["vector", "u1", "near"]  # the probed task comes first
    assert found["words"].rows == [("0", "d 0.40", "a 0.26, b 0.10"), ("1", "e 1.00", "c 0.50")]
    assert found["stability"].names[:4] == ["method", "tasks", "seeds", "mean score"]
    assert found["stability"].rows == [["IST", "4", "3", "0.500", "90.0", "–", "0.100", "0.25"]]
    assert found["words"].texts == ["u1", "near"] and found["stability"].texts == ["method"]
    assert {name for name, each in found.items() if each.rows} == {
        "subcategories",
        "stability",
        "words",
    }
    assert "with their cosines" in found["words"].label  # what a screen reader says
    nothing = tables.further_tables(view())
    assert {name for name, each in nothing.items() if each.rows} == {"subcategories"}


def test_settings_and_digests_stand_below_their_own_run():
    found = tables.config_table(
        [view(msf={"msf": {"dim": 5, "rates": [0.1, 0.2]}}, ist={"seed": 43})]
    )
    assert found.texts == found.names == ["setting", "msf-made", "ist-made"]
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["seed"] == ["42", "43"] and rows["kind"] == ["msf", "ist"]
    assert rows["msf.dim"] == ["5", "–"] and rows["msf.rates"] == ["0.1, 0.2", "–"]
    assert rows["digest.prompts"] == ["f00dfeed", "–"] and rows["parameters"] == ["1234", "–"]
    assert rows["digest.scores"][0] == "–" and len(rows["digest.scores"][1]) == 12
    assert not {"parts", "digests", "digests.s1", "parts.seen"} & set(rows)  # they list every task


def test_runs_are_compared_msf_with_msf_and_ist_with_ist():
    first = view(msf={"seed": 1, "tune": 8, "limit": 6}, ist={"seed": 2, "tune": 9})
    second = view(msf={"seed": 1, "tune": 9, "limit": 6}, ist={"seed": 3, "tune": 9})
    found = tables.config_table([first, second])
    told = {row[0]: row[-1] for row in found.rows}
    assert found.names[-1] == "runs"
    assert {name: told[name] for name in ("seed", "tune", "limit", "kind")} == {
        "seed": "differs",
        "tune": "differs",
        "limit": "same",
        "kind": "same",
    }
