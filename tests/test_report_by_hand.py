"""Summaries, their tables, and a study's table, from numbers that are all different."""

import hashlib
import json
from unittest.mock import patch

import pytest
from conftest import toy_task
from matplotlib.figure import Figure
from results_by_hand import IST, MSF, TITLES, made_pair, made_results, scores, typed

from ipt.analysis.plots.bars import recovery_bars, recovery_dots
from ipt.analysis.spread import Spread, spread_text, to_json
from ipt.analysis.study import (
    drawn_shares,
    study_figure,
    study_means,
    study_summary,
    study_table,
)
from ipt.analysis.summaries import (
    KNOWLEDGE_NOTE,
    angles_table,
    bench_notes,
    bench_table,
    quality,
    quality_table,
    recovery_figure,
    stability_table,
    summary,
    table_of,
    text_table,
    update_text,
)


def figures(setting, group, tasks, relative, floored, **more):
    """A summary's line whose other figures follow from these."""
    made = {
        "setting": setting,
        "group": group,
        "tasks": tasks,
        "relative": relative,
        "floored": floored,
    }
    made |= {
        "absolute": relative / 2,
        "ratio_of_means": relative / 4,
        "undefined": [],
        "below_floor": [],
    }
    made |= {"interval": [relative - 0.01, relative + 0.02]}
    return made | {"floored_interval": [floored - 0.03, floored + 0.04]} | more


def record(seed=1, about="made, d = 5", lines=(), **more):
    """A summary of an MSF and an IST run."""
    made = {
        "kind": "recovery",
        "command": f"ipt ist --seed {seed}",
        "seed": seed,
        "digest": f"{seed}" * 64,
        "about": about,
    }
    return made | {"lines": list(lines)} | more


def cells_of(text):
    return [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if "|" in row
    ]


def test_a_summary_by_hand():
    found = summary(made_results(), "ipt ist --dim 5", 43)
    assert (found["command"], found["seed"], found["about"]) == (
        "ipt ist --dim 5",
        43,
        "made-3, d = 5",
    )
    assert found["prompts"] == "f00dfeed" and found["parameters"] == 1234
    assert found["reference"] == {"seen": 0.766667, "unseen": 0.475}  # of data seed 100
    (line,) = (x for x in found["lines"] if (x["setting"], x["group"]) == ("test", "out of kind"))
    assert line == {
        "setting": "test",
        "group": "out of kind",
        "tasks": 1,
        "absolute": 0.21,
        "relative": 0.7,
        "interval": [0.7, 0.7],
        "ratio_of_means": 0.7,
        "floored": 0.590909,
        "floored_interval": [0.590909, 0.590909],
        "below_floor": [],
        "undefined": [],
    }
    assert {x["setting"] for x in found["lines"]} == set(TITLES)


def test_a_summary_has_every_tasks_scores():
    found = summary(made_results(), "ipt ist --dim 5", 43)
    assert found["kind"] == "recovery" and set(found["tasks"]) == set(TITLES)
    assert list(found["tasks"]["test"]) == ["u1", "u2", "u3", "o1"]
    # Score, reference, floor.
    assert found["tasks"]["test"]["u3"] == [0.63, 0.7, 0.35]
    assert found["tasks"]["train_diff"]["s1"] == [0.32, 0.64, 0.2]
    msf, ist = made_pair()
    alone = summary(typed([msf, ist | {"scores": {"pca_test": IST["pca_test"]}}]), "", 0)
    assert list(alone["tasks"]) == ["pca_test"]


def test_the_digest_of_a_summary_is_of_both_runs_scores():
    pair = made_pair()
    kept = summary(typed(pair), "", 0)["digest"]
    text = json.dumps([MSF, IST], sort_keys=True)
    assert kept == hashlib.sha256(text.encode()).hexdigest()
    pair[0]["scores"] = MSF | {"shared": MSF["mean_code"]}
    assert summary(typed(pair), "", 0)["digest"] != kept
    assert summary(made_results(test=IST["pca_test"]), "", 0)["digest"] != kept
    turned = made_pair()
    turned[1]["scores"] = dict(reversed(turned[1]["scores"].items()))
    assert (
        summary(typed(turned), "", 0)["digest"] == kept
    )  # control: the order of settings is no score


@pytest.mark.parametrize("kept", [("mixture_test",), ("random_test", "pca_test", "mixture_test")])
def test_a_run_of_rivals_alone_shows_nothing_of_the_subspace(kept):
    msf, ist = made_pair()
    found = summary(typed([msf, ist | {"scores": {s: IST[s] for s in kept}}]), "", 0)
    assert {x["setting"] for x in found["lines"]} == set(kept)
    assert found["parameters"] is None and found["prompts"] == "f00dfeed"


@pytest.mark.parametrize("kept", ["test", "train_same", "train_diff"])
def test_a_run_that_used_the_subspace_shows_its_figures(kept):
    msf, ist = made_pair()
    found = summary(
        typed([msf, ist | {"scores": {s: IST[s] for s in ("mixture_test", kept)}}]), "", 0
    )
    assert {x["setting"] for x in found["lines"]} == {*MSF, "mixture_test", kept}
    assert found["parameters"] == 1234


def test_a_summary_of_an_msf_run_alone_has_its_figures():
    found = summary(made_results()[:1], "", 0)
    assert {x["setting"] for x in found["lines"]} == set(MSF) and found["parameters"] == 1234


def test_a_part_without_tasks_has_no_reference():
    pair = [
        result | {"tasks": {n: result["tasks"][n] for n in ("u1", "u3")}} for result in made_pair()
    ]
    for result, setting in zip(pair, ("test_msf", "test"), strict=True):
        result["scores"] = {setting: scores(("u1", "u3"), [0.1, 0.2], [None, None])}
    assert summary(typed(pair), "", 0)["reference"] == {"seen": None, "unseen": 0.6}


def test_bars_are_drawn_by_setting_a_group_for_each_pair(tmp_path):
    pair = made_pair()
    fewer = [pair[0], pair[1] | {"scores": {"test": IST["pca_test"]}}]
    fewer[0] = fewer[0] | {"dim": 9}
    with patch("ipt.analysis.summaries.recovery_bars", wraps=recovery_bars) as bars:
        recovery_figure([typed(pair), typed(fewer)], tmp_path / "x.png")
    _, values, intervals, labels, titles = bars.call_args.args
    assert (
        labels == ["made-3, d = 5", "made-3, d = 9"]
        and titles == TITLES
        and list(values) == list(TITLES)
    )
    assert values["test"] == pytest.approx([0.7875, 0.6125]) and values["shared"][
        0
    ] == pytest.approx(0.1875)
    assert values["pca_test"] == pytest.approx([0.6125, float("nan")], nan_ok=True)
    assert intervals["pca_test"][1] == pytest.approx((float("nan"), float("nan")), nan_ok=True)
    (low, high), (other, _) = intervals["test"]
    assert 0.7 <= low < 0.7875 < high <= 0.9 and 0.35 <= other < 0.6125
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"


def test_settings_that_were_not_run_take_no_room_in_the_bars(tmp_path):
    msf, ist = made_pair()
    # A split without unseen tasks has the setting, and no task in it.
    few = [msf | {"scores": {"train_msf": MSF["train_msf"], "test_msf": {}}}, ist]
    few[1] = ist | {"scores": {"train_same": IST["train_same"]}}
    for pair, shown in ((few, ["train_msf", "train_same"]), ([msf, ist], list(TITLES))):
        with patch("ipt.analysis.summaries.recovery_bars", wraps=recovery_bars) as bars:
            recovery_figure([typed(pair)], tmp_path / "x.png")
        axes, values, *_ = bars.call_args.args
        assert list(values) == shown
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == [TITLES[name] for name in shown]
        bars_drawn = [patch for patch in axes.patches if patch.get_height() > 0]
        middle = [patch.get_x() + patch.get_width() / 2 for patch in bars_drawn]
        assert (min(middle) + max(middle)) / 2 == pytest.approx(axes.get_xticks()[0])


def test_a_table_is_its_summary_line_by_line():
    made = record(
        lines=[
            figures("test", "all", 7, 0.4, 0.32, below_floor=["a"]),
            figures("shared", "rule", 6, 0.2, 0.1),
        ]
    )
    header, _, *rows = cells_of(table_of([made]))
    assert header == [
        "setting",
        "tasks",
        "n",
        "E_abs",
        "E_rel",
        "95 % interval",
        "ratio of means",
        "above floor",
        "95 % interval",
        "n above",
    ]
    assert rows == [
        [
            "T_test (IST)",
            "all",
            "7",
            "0.200",
            "40.0",
            "39.0 … 42.0",
            "10.0",
            "32.0",
            "29.0 … 36.0",
            "6",
        ],
        [
            "d = 0: one prompt",
            "rule",
            "6",
            "0.100",
            "20.0",
            "19.0 … 22.0",
            "5.0",
            "10.0",
            "7.0 … 14.0",
            "6",
        ],
    ]


def test_a_table_of_seeds_has_means_and_their_ends():
    many = [
        record(seed, lines=[figures("test", "all", 7, r, f)])
        for seed, r, f in ((1, 0.3, 0.5), (2, 0.8, 0.1), (3, 0.4, 0.3))
    ]
    header, _, row = cells_of(table_of(many))
    assert [i for i, name in enumerate(header) if name == "least … largest seed"] == [5, 8]
    assert row == [
        "T_test (IST)",
        "all",
        "7",
        "0.250",
        "50.0",
        "30.0 … 80.0",
        "12.5",
        "30.0",
        "10.0 … 50.0",
        "7",
    ]


def test_a_short_row_has_the_groups_of_its_own_setting_beside_it():
    kinds = [
        ("all", 7, 0.4, 0.32),
        ("novel", 2, 0.5, 0.51),
        ("knowledge", 4, 0.6, 0.61),
        ("rule", 1, 0.7, 0.71),
    ]
    made = [figures("test", *kind) for kind in kinds] + [
        figures("shared", "all", 7, 0.2, 0.1),
        figures("shared", "rule", 5, 0.3, 0),
    ]
    header, _, *rows = cells_of(table_of([record(lines=made)], short=True))
    assert header[:6] == ["setting", "n", "E_abs", "E_rel", "95 % interval", "above floor"]
    assert header[6:] == ["novel, E_rel (n)", "knowledge, E_rel (n)", "rule, E_rel (n)"]
    assert rows == [
        [
            "T_test (IST)",
            "7",
            "0.200",
            "40.0",
            "39.0 … 42.0",
            "32.0",
            "50.0 (2)",
            "60.0 (4)",
            "70.0 (1)",
        ],
        ["d = 0: one prompt", "7", "0.100", "20.0", "19.0 … 22.0", "10.0", "–", "–", "30.0 (5)"],
    ]


def test_a_short_row_has_both_figures_of_the_kinds_where_they_differ():
    kinds = [
        ("all", 7, 0.4, 0.32),
        ("in kind", 2, 0.5, 0.51),
        ("out of kind", 4, 0.6, 0.61),
        ("novel", 1, 0.7, 0.71),
    ]
    made = [figures("test", *kind) for kind in kinds] + [figures("train_msf", "all", 3, 0.9, 0.8)]
    header, _, *rows = cells_of(table_of([record(lines=made)], short=True))
    assert header[6:] == [
        "in kind, E_rel (n)",
        "in kind, above floor",
        "out of kind, E_rel (n)",
        "out of kind, above floor",
    ]
    assert [row[6:] for row in rows] == [["50.0 (2)", "51.0", "60.0 (4)", "61.0"], ["–"] * 4]


def test_a_setting_that_a_seed_lacks_is_named_below_the_table():
    test, shared, pca = (figures(s, "all", 7, 0.4, 0.3) for s in ("test", "shared", "pca_test"))
    found = table_of([record(1, lines=[test, shared]), record(2, lines=[pca, test])])
    assert found.endswith(
        "\nNot with every seed, so not in the table: IST, PCA subspace, d = 0: one prompt.\n"
    )
    assert "Not with" not in table_of([record(1, lines=[test]), record(2, lines=[test])])


def test_summaries_that_differ_in_more_than_their_seed_have_no_mean():
    with pytest.raises(ValueError, match="made, d = 5; made, d = 6"):
        table_of([record(1), record(2, about="made, d = 6")])
    table = {"kind": "quality", "rows": [{"prompt": "x", "tasks": "novel", "count": 3}]}
    with pytest.raises(ValueError, match="None; None"):  # of two other tables neither
        table_of([table, table])
    assert cells_of(table_of([table])) == [
        ["prompt", "tasks", "n"],
        ["---", "---", "---:"],
        ["x", "novel", "3"],
    ]


def test_a_summary_of_another_version_is_named():
    older = {"columns": ["cell"], "rows": [["x"]]}
    for record in (older, older | {"kind": "mutants"}, older | {"kind": "stability"}):
        with pytest.raises(
            ValueError, match="numbers of kind recovery, study, .* found kind .* with col"
        ):
            text_table(record)


def test_marked_tables_are_filled_from_their_own_files_and_nothing_else_is_touched(tmp_path):
    line = figures("test", "all", 7, 0.4, 0.3)
    (tmp_path / "a-2.json").write_text(json.dumps(record(2, lines=[line])))
    (tmp_path / "a-1.json").write_text(json.dumps(record(1, lines=[line])))
    facts = [figures("shared", "knowledge", 7, 0.4, 0.3)]
    (tmp_path / "b.json").write_text(json.dumps(record(3, about="other", lines=facts)))
    text = "one\n<!-- table a-*.json -->\n<!-- end -->\ntwo\n"
    text += "<!-- table b.json -->\nold\n<!-- end -->\nthree\n"
    first, rest = update_text(text, tmp_path).split("\ntwo\n")
    assert first.startswith("one\n<!-- table a-*.json -->\n| setting |")
    told = f"`ipt ist --seed 1` (seed 1: scores {'1' * 12}, seed 2: scores {'2' * 12})."
    assert first.endswith(f"\n\n{told}\n<!-- end -->")
    assert (
        rest.endswith(f"(seed 3: scores {'3' * 12}). {KNOWLEDGE_NOTE}\n<!-- end -->\nthree\n")
        and "old" not in rest
    )
    with pytest.raises(ValueError, match="no summary c.json below"):
        update_text("<!-- table c.json -->\n<!-- end -->", tmp_path)


def cell(**figure):
    """A cell's record: relative 0.k1, absolute 0.k2, floored 0.k3 for the k-th line."""
    keys = [
        ("train_msf", "all"),
        ("test_msf", "all"),
        ("train_same", "all"),
        ("train_diff", "all"),
        ("test", "all"),
        ("test", "in kind"),
        ("test", "out of kind"),
        ("test", "new subcategory"),
        ("test", "novel"),
        ("test", "knowledge"),
        ("test", "rule"),
        ("random_test", "all"),
        ("pca_test", "all"),
        ("mixture_test", "all"),
        ("mixture_test", "novel"),
        ("shared", "all"),
        ("test", "known subcategory"),
    ]
    lines = []
    for k, (setting, group) in enumerate(keys, 11):
        shares = {
            "relative": k / 100 + 0.001,
            "absolute": k / 100 + 0.002,
            "floored": k / 100 + 0.003,
        }
        lines.append({"setting": setting, "group": group} | shares)
    made = {"digest": "x", "seed": 42, "prompts": "0123456789", "parameters": 98765, "lines": lines}
    return made | {"reference": {"seen": 0.9, "unseen": 0.345}} | figure


def test_every_column_of_a_study_by_hand():
    found = study_summary({"d 5": [cell()]}, "ipt study x.toml")
    table = study_table(found)
    assert dict(zip(table.columns, table.rows[0], strict=True)) == {
        "cell": "d 5",
        "seeds": "1 of 1",
        "seen, MSF": "11.1",
        "unseen, MSF": "12.1",
        "seen, same data": "13.1",
        "seen, other data": "14.1",
        "seen, other data, above floor": "14.3",
        "unseen, score": "0.152",
        "unseen": "15.1",
        "unseen, above floor": "15.3",
        "unseen, in kind": "16.1",
        "unseen, in kind, above floor": "16.3",
        "unseen, out of kind": "17.1",
        "unseen, out of kind, above floor": "17.3",
        "unseen, new subcategory": "18.1",
        "unseen, novel": "19.1",
        "unseen, knowledge": "20.1",
        "unseen, rule": "21.1",
        "random": "22.1",
        "PCA": "23.1",
        "mixture, score": "0.242",
        "mixture": "24.1",
        "mixture, above floor": "24.3",
        "mixture, novel": "25.1",
        "prompt tuning, unseen": "0.345",
        "decoder's parameters": "98,765",
        "prompts' hash": "012345",
    }
    assert (found["command"], found["seed"]) == ("ipt study x.toml", "42")


def test_a_line_of_a_study_is_the_mean_over_its_seeds_that_are_done():
    line = lambda r: [
        {"setting": "test", "group": "all", "absolute": r / 10, "relative": r, "floored": None}
    ]
    made = [
        cell(seed=s, lines=line(r), reference={"unseen": r / 2})
        for s, r in ((9, 0.2), (10, 0.3), (8, 0.7))
    ]
    other = [
        cell(seed=7, lines=[], parameters=None, prompts="abcdefgh", reference={"unseen": None})
    ]
    found = study_summary({"a": [*made, None], "b": other + made[:1], "c": [None]}, "")
    table = study_table(found)
    assert table.columns[2:5] == ["unseen, score", "unseen", "unseen, above floor"]
    assert table.rows == [
        [
            "a",
            "3 of 4",
            "0.040 (0.020 … 0.070)",
            "40.0 (20.0 … 70.0)",
            "–",
            "0.200 (0.100 … 0.350)",
            "98,765",
            "012345",
        ],
        ["b", "2 of 2", "0.020 [1 of 2]", "20.0 [1 of 2]", "–", "0.100", "98,765", "012345 abcdef"],
        ["c", "0 of 1", "open", "open", "open", "open", "", ""],
    ]
    assert found["seed"] == "7, 8, 9, 10"
    a, b, c = found["rows"]
    assert (a["done"], a["planned"], c["done"], c["figures"]) == (3, 4, 0, {})
    mean = pytest.approx((0.2 + 0.3 + 0.7) / 3)
    assert a["figures"]["unseen"] == {"mean": mean, "low": 0.2, "high": 0.7, "count": 3}
    assert b["figures"]["unseen"]["count"] == 1 and b["figures"]["unseen, above floor"] is None
    assert a["reference"] == {"mean": pytest.approx(0.2), "low": 0.1, "high": 0.35, "count": 3}
    assert (a["parameters"], b["parameters"]) == ([98765], [98765])
    assert b["prompts"] == ["0123456789", "abcdefgh"]


def test_a_studys_digest_says_which_scores_and_which_cells_are_open():
    lines = ([cell()], [cell(digest="y")], [cell(), None], [None, cell()], [cell(prompts="z")])
    digests = [study_summary({"a": each}, "")["digest"] for each in lines]
    assert len(set(digests)) == 4 and digests[0] == digests[4]
    assert digests[2] == hashlib.sha256(b'[["x", null]]').hexdigest()


def test_a_studys_short_table_and_the_terminals_have_their_columns():
    found = study_summary({"d 5": [cell(), cell(seed=43)], "open": [None]}, "")
    main = [
        "cell",
        "seeds",
        "seen, other data",
        "unseen",
        "unseen, above floor",
        "random",
        "PCA",
        "mixture",
        "mixture, above floor",
        "prompt tuning, unseen",
    ]
    header, _, *rows = cells_of(table_of([found], short=True))
    assert (
        header == main
        and [row[0] for row in rows] == ["d 5"]
        and rows[0][3] == "15.1 (15.1 … 15.1)"
    )
    terminal = study_means(found)
    assert terminal.columns == [name for name in main if name != "mixture, above floor"]
    assert terminal.rows[0] == [
        "d 5",
        "2 of 2",
        "14.1",
        "15.1",
        "15.3",
        "22.1",
        "23.1",
        "24.1",
        "0.345",
    ]


def test_the_dots_of_a_studys_figure_by_hand(tmp_path):
    lines_of = {"d 5": [cell(), None, cell()], "none": [None]}
    relative = {
        "seen, other data": 0.141,
        "unseen": 0.151,
        "unseen, in kind": 0.161,
        "unseen, out of kind": 0.171,
        "mixture": 0.241,
        "PCA": 0.231,
        "random": 0.221,
    }
    assert drawn_shares(lines_of, "relative") == {
        "d 5": {title: pytest.approx([r, r]) for title, r in relative.items()}
    }
    assert drawn_shares(lines_of, "floored")["d 5"]["unseen"] == pytest.approx([0.153, 0.153])
    no_floor = cell(lines=[{"setting": "test", "group": "all", "relative": 0.5, "floored": None}])
    with (
        patch("ipt.analysis.study.recovery_dots", wraps=recovery_dots) as dots,
        patch.object(Figure, "savefig", autospec=True) as saved,
    ):
        study_figure({"d 9": [no_floor]}, tmp_path / "x.png")
    figure = saved.call_args.args[0]
    assert list(figure.get_size_inches()) == pytest.approx([9.4, 0.9 + 0.62])
    left, right = figure.axes
    assert left.get_legend() is None and right.get_legend() is not None  # one for both
    assert [call.args[1:] for call in dots.call_args_list] == [
        ({"d 9": {"unseen": [0.5]}}, "recovery (% of prompt tuning)"),
        ({"d 9": {}}, "the same above the floor (%)"),  # a row is the same line in both panels
    ]


def test_a_spread_by_hand():
    assert spread_text([]) == "–" and spread_text([0.26]) == "0.3"
    assert spread_text([2, 1, 6], 2) == "3.00 (1.00 … 6.00)"
    made = Spread.of([0.2, 0.1, 0.6])
    assert to_json(made) == {"mean": pytest.approx(0.3), "low": 0.1, "high": 0.6, "count": 3}
    assert made.text(scale=100) == "30.0 (10.0 … 60.0)" and made.mean_text(3) == "0.300"
    assert made.mean_text(scale=100) == "30.0"
    assert Spread.of([]) is None and to_json(None) is None and Spread.from_json(None) is None
    assert Spread.from_json(to_json(made)) == made


def test_the_quality_of_a_prompt_by_hand():
    """Exactly 0.30 is well done, and exactly 0.10 above the floor is above it."""
    from dataclasses import replace

    flags = {
        "a": (False, False),
        "b": (False, True),
        "c": (True, False),
        "d": (True, True),
        "e": (False, False),
    }
    tasks = [
        replace(toy_task("first", 4), name=n, novel=novel, knowledge=known)
        for n, (novel, known) in flags.items()
    ]
    values = {"a": 0.3, "b": 0.25, "c": 0.9, "d": 0.2, "e": 0.5}
    floors = {"a": 0.25, "b": 0.15, "c": 0.1, "d": 0.3, "e": 0.1}
    losses = {"a": 1.0, "b": 2.0, "c": 4.0, "d": 8.0, "e": 1.5}
    found = quality("IST", tasks, values, floors, losses)
    table = quality_table(found)
    assert table.columns == [
        "prompt",
        "tasks",
        "n",
        "mean score",
        "0.30 or more",
        "0.10 above the floor",
        "dev loss",
    ]
    assert table.rows == [
        ["IST", "trained", "3", "0.350", "2", "2", "1.500"],
        ["IST", "rule", "2", "0.400", "2", "1", "1.250"],
        ["IST", "knowledge", "1", "0.250", "0", "1", "2.000"],
        ["IST", "novel", "2", "0.550", "1", "1", "6.000"],
    ]
    bare = quality("IST", tasks[2:3], values)
    assert quality_table(bare).rows == [["IST", "novel", "1", "0.900", "1", "", ""]]
    assert bare["rows"] == [
        {
            "prompt": "IST",
            "tasks": "novel",
            "count": 1,
            "mean_score": 0.9,
            "well_done": 1,
            "above_floor": None,
            "dev_loss": None,
        }
    ]
    assert bare["scores"] == values
    assert (
        bare["digest"] == found["digest"] == hashlib.sha256(json.dumps(values).encode()).hexdigest()
    )
    assert quality("IST", tasks, values | {"a": 0.31})["digest"] != found["digest"]


def test_a_table_of_methods_by_hand():
    figures = {"mean_score": 0.4506, "relative": 0.7, "floored": None}
    row = {"method": "IST", "tasks": 3, "seeds": 10, "spread": 0.0316, "spread_ratio": 0.218}
    table = stability_table({"rows": [row | figures]})
    assert table.rows == [["IST", "3", "10", "0.451", "70.0", "–", "0.032", "0.22"]]
    assert len(table.columns) == 8 and table.columns[3:6] == ("mean score", "E_rel", "above floor")


def test_a_table_of_angles_by_hand():
    angles = [to_json(Spread.of(values)) for values in ([10.0, 20.0, 60.0], [1.04])]
    rows = [
        {"runs": ["a"], "pairs": 3, "angles": angles},
        {"runs": ["a", "b"], "pairs": 3, "angles": angles},
        {"runs": [], "pairs": 100, "angles": angles},
    ]
    table = angles_table({"rows": rows})
    assert table.columns == ["tangent spaces of", "pairs", "angle 1", "angle 2"]
    assert [row[:2] for row in table.rows] == [
        ["a", "3"],
        ["a and b", "3"],
        ["random subspaces", "100"],
    ]
    assert table.rows[0][2:] == ["30.0 (10.0 … 60.0)", "1.0"]


def test_a_table_of_measurements_by_hand():
    value = {"what": "step", "against": "PEFT", "unit": "rows/s", "aim": "2 x", "more": ""}
    fast = value | {"ours": 1234.5, "other": 99.96, "ratio": 12.3456, "more": "on one core"}
    never = value | {"ours": None, "other": 0.01, "ratio": None}
    record = {"values": [fast, never]}
    assert bench_table(record).rows == [
        ["step; other: PEFT", "1,234", "100", "rows/s", "12.3", "2 x"],
        ["step; other: PEFT", "-", "0.01", "rows/s", "-", "2 x"],
    ]
    assert bench_notes(record) == ["step: on one core"]
