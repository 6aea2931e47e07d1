"""The table of recoveries, the CSV and comparisons, from results whose numbers all differ."""

import csv
import io
import math
from dataclasses import replace

import pytest
from results_by_hand import FLOOR, IST, SPLIT, TASKS, TITLES, made_pair, made_results, task, typed

from ipt.analysis.comparison import Comparison, compare, compare_groups, comparison_rows
from ipt.analysis.markup import latex, markdown, rows_as_csv, to_csv
from ipt.analysis.scores import (
    Line,
    cells,
    groups,
    lines,
    over_seeds,
    per_task,
    read_pair,
    read_results,
    subcategories,
)
from ipt.recovery import Recovery
from ipt.run import Run

NAN = float("nan")
RELATIVE = {  # E_rel by hand, from the scores and references of results_by_hand
    "train_msf": (0.9 + 0.75 + 0.9) / 3,
    "test_msf": (0.5 + 0.25 + 0.5 + 0.2) / 4,
    "train_same": (0.95 + 0.9 + 0.6) / 3,
    "train_diff": (0.5 + 0.75 + 0.75) / 3,
    "test": (0.8 + 0.75 + 0.9 + 0.7) / 4,
    "shared": (0.4 + 0.15 + 0.1 + 0.1) / 4,
    "mean_code": (0.2 + 0.05 + 0.2 + 0.4) / 4,
    "best_code": (0.6 + 0.3 + 0.3 + 0.5) / 4,
    "best_seen": (0.4 + 0.625 + 0.2 + 0.9) / 4,
    "nearest_seen": (0.3 + 0.4 + 0.1 + 0.8) / 4,
    "start_test": (0.1 + 0.5 + 0.3 + 0.4) / 4,
    "random_test": (0.3 + 0.2 + 0.6 + 0.4) / 4,
    "pca_test": (0.9 + 0.35 + 0.4 + 0.8) / 4,
    "mixture_test": (0.7 + 0.55 + 0.7 + 0.6) / 4,
    "choice_test": (0.9 + 0.55 + 0.9 + 0.6) / 4,
}


def table(pair, **more):
    """Recoveries by condition and group, of records or of results."""
    results = typed(pair) if isinstance(pair[0], dict) else pair
    return {(line.setting, line.group): line.recovery for line in lines(results, **more)}


def figures(**changes):
    """Figures of one setting, each another number."""
    made = Recovery(
        tasks=9,
        absolute=0.1239,
        relative=0.2345,
        interval=(0.3456, 0.4567),
        ratio_of_means=0.5678,
        floored=-0.0679,
        floored_interval=(-0.789, 0.891),
        below_floor=("a", "b"),
        undefined=("c",),
    )
    return replace(made, **changes)


def test_each_setting_has_its_own_scores_and_reference():
    found = table(made_results())
    assert {setting: found[setting, "all"].relative for setting in TITLES} == pytest.approx(
        RELATIVE
    )


def test_every_figure_of_a_setting_by_hand():
    found = table(made_results())["test", "all"]
    assert found.tasks == 4 and found.below_floor == ("u1",) and found.undefined == ()
    assert found.absolute == pytest.approx((0.4 + 0.3 + 0.63 + 0.21) / 4)
    assert found.ratio_of_means == pytest.approx(1.54 / 1.9)
    assert found.floored == pytest.approx((0.15 / 0.25 + 0.28 / 0.35 + 0.13 / 0.22) / 3)


def test_other_data_is_above_the_floor_by_its_own_reference():
    found = table(made_results())["train_diff", "all"]
    by_hand = (0.12 / (0.64 - 0.2) + 0.11 / (0.48 - 0.25) + 0.24 / (0.72 - 0.3)) / 3
    assert found.floored == pytest.approx(by_hand)
    assert found.ratio_of_means == pytest.approx((0.32 + 0.36 + 0.54) / (0.64 + 0.48 + 0.72))


@pytest.mark.parametrize("kind", ["chance", "empty", "start"])
def test_the_floor_is_the_largest_of_the_three_whichever_that_is(kind):
    pair = made_pair()
    highest = {"chance": 0.02, "empty": 0.03, "start": 0.01} | {kind: 0.2}
    pair[1]["floor"] = FLOOR | {"u2": highest}
    found = table(pair)["test", "new subcategory"]  # u2 and o1
    assert found.floored == pytest.approx((0.1 / 0.2 + 0.13 / 0.22) / 2)
    row = next(r for r in per_task(typed(pair)) if (r["setting"], r["task"]) == ("test", "u2"))
    assert row["floor"] == 0.2


def test_the_ranked_table_holds_ranked_scores_on_ranked_references():
    found = table(made_results(), ranked=True)
    unseen = found["test", "all"]
    assert unseen.tasks == 2  # u2 and o1 have no options
    assert unseen.relative == pytest.approx((0.11 / 0.55 + 0.3 / 0.75) / 2)
    assert unseen.absolute == pytest.approx(0.205)
    other = found["train_diff", "all"]
    assert other.relative == pytest.approx((0.53 / 0.53 + 0.154 / 0.77) / 2)
    assert ("test", "out of kind") not in found and ("test", "in kind") in found


def test_lines_stand_in_the_order_of_the_titles_and_groups():
    found = [(line.setting, line.group) for line in lines(made_results())]
    assert list(dict.fromkeys(setting for setting, _ in found)) == list(TITLES)
    assert [group for setting, group in found if setting == "test"] == [
        "all",
        "in kind",
        "out of kind",
        "known subcategory",
        "new subcategory",
        "novel",
        "knowledge",
        "rule",
    ]
    assert [group for setting, group in found if setting == "train_same"] == [
        "all",
        "knowledge",
        "rule",
    ]
    assert lines(made_results()[:1])[0].title == "T_train (MSF)"


@pytest.mark.parametrize(
    ("group", "share", "count"),
    [
        ("in kind", (0.8 + 0.75 + 0.9) / 3, 3),
        ("out of kind", 0.7, 1),
        ("known subcategory", (0.8 + 0.9) / 2, 2),
        ("new subcategory", (0.75 + 0.7) / 2, 2),
        ("novel", (0.8 + 0.75) / 2, 2),  # u2 is of both sorts, and novel
        ("knowledge", 0.9, 1),
        ("rule", 0.7, 1),
    ],
)
def test_each_group_of_unseen_tasks_by_hand(group, share, count):
    found = table(made_results())["test", group]
    assert found.tasks == count and found.relative == pytest.approx(share)


def test_groups_of_seen_tasks_by_hand():
    found = table(made_results())
    for setting, (s1, s2, s3) in {
        "train_diff": (0.5, 0.75, 0.75),
        "train_msf": (0.9, 0.75, 0.9),
    }.items():
        assert found[setting, "knowledge"].relative == pytest.approx(s2)
        assert found[setting, "rule"].relative == pytest.approx((s1 + s3) / 2)
    for group in ("in kind", "out of kind", "known subcategory", "new subcategory"):
        apart = {setting for setting, name in found if name == group}
        assert apart == set(TITLES) - {"train_msf", "train_same", "train_diff"}


def test_groups_that_a_split_does_not_have_are_left_out():
    result = made_pair()[1]
    tasks = {n: task("x", False) for n in TASKS}
    alike = {"out_of_kind": [], "new_subcategories": []}

    def names_of(tasks, **split):
        (made,) = typed([result | {"tasks": tasks, "split": SPLIT | alike | split}])
        return list(groups(made, "test"))

    assert names_of(tasks) == ["all"]
    assert names_of(tasks, out_of_kind=["o1"]) == ["all", "in kind", "out of kind"]
    new = names_of(tasks, new_subcategories=["u2", "o1"])
    assert new == ["all", "known subcategory", "new subcategory"]
    for flag in ("novel", "knowledge"):
        some = tasks | {"s1": task("x", False, **{flag: True})}
        assert names_of(some) == ["all", "novel", "knowledge", "rule"]


def test_subcategories_are_groups_by_name_and_hold_their_tasks_alone():
    tasks = TASKS | {"o1": task("", False)}
    pair = [result | {"tasks": tasks} for result in made_pair()]
    assert list(subcategories(typed(pair)[1], "test")) == ["four", "no subcategory", "one", "two"]
    found = table(pair, grouping=subcategories)
    shares = {group: r.relative for (setting, group), r in found.items() if setting == "test"}
    assert shares == pytest.approx({"four": 0.75, "no subcategory": 0.7, "one": 0.8, "two": 0.9})
    assert found["train_diff", "one"].relative == pytest.approx((0.5 + 0.75) / 2)


def test_a_mean_over_seeds_by_hand():
    """Three seeds: no mean is the middle one, nor half way between the ends."""
    line = lambda **changes: Line("test", "all", figures(**changes))
    seeds = [
        line(absolute=0.3, relative=0.6, ratio_of_means=0.95, floored=0.4, below_floor=("b",)),
        line(absolute=0.2, relative=0.5, ratio_of_means=0.45, floored=0.1, below_floor=("d", "a")),
        line(absolute=0.7, relative=1.0, ratio_of_means=0.55, floored=0.4, below_floor=("b", "c")),
    ]
    (found,) = over_seeds([[seed] for seed in seeds])
    assert (found.setting, found.group) == ("test", "all")
    r = found.recovery
    means = (r.absolute, r.relative, r.ratio_of_means, r.floored)
    assert means == pytest.approx((0.4, 0.7, 0.65, 0.3))
    assert r.interval == (0.5, 1.0) and r.floored_interval == (0.1, 0.4)
    assert r.below_floor == ("a", "b", "c", "d") and r.tasks == 9
    assert cells(found)[-1] == "5"  # a task is above the floor where it is with each seed


def test_seeds_are_joined_by_setting_and_group_in_the_order_of_the_first():
    made = {
        ("test", "all"): (0.1, 0.3),
        ("test", "novel"): (0.4, 0.8),
        ("shared", "all"): (0.5, 0.9),
    }
    first = [Line(*key, figures(relative=pair[0])) for key, pair in made.items()]
    second = [Line(*key, figures(relative=pair[1])) for key, pair in reversed(made.items())]
    second.append(Line("pca_test", "all", figures()))
    found = {(x.setting, x.group): x.recovery.relative for x in over_seeds([first, second])}
    assert list(found) == list(made)  # without pca_test, which the first does not have
    assert found == pytest.approx(
        {("test", "all"): 0.2, ("test", "novel"): 0.6, ("shared", "all"): 0.7}
    )
    fewer = over_seeds([first, second[1:], second])  # one of three lacks shared
    assert [(x.setting, x.group) for x in fewer] == [("test", "all"), ("test", "novel")]


def test_a_row_of_the_csv_by_hand():
    rows = list(csv.DictReader(io.StringIO(to_csv(per_task(made_results())))))
    chosen = {(row["setting"], row["task"]): row for row in rows}
    assert chosen["test", "u3"] == {
        "setting": "test",
        "task": "u3",
        "category": "cls",
        "subcategory": "two",
        "metric": "accuracy",
        "novel": "False",
        "knowledge": "True",
        "score": "0.63",
        "ranked": "0.3",
        "reference": "0.7",
        "floor": "0.35",
        "dim": "5",
    }
    other = chosen["train_diff", "s1"]
    assert (other["score"], other["reference"], other["floor"], other["ranked"]) == (
        "0.32",
        "0.64",
        "0.2",
        "",
    )
    assert (
        chosen["train_same", "s1"]["reference"] == chosen["train_msf", "s1"]["reference"] == "0.8"
    )
    assert len(rows) == 3 * 3 + 12 * 4 and rows[0]["setting"] == "train_msf"


def test_records_have_the_number_of_their_own_run():
    pair = made_pair()
    pair[1]["dim"] = 7
    assert {
        (r["setting"], r["dim"]) for r in per_task(typed(pair)) if r["task"] in ("s1", "u1")
    } == {
        *((setting, 5) for setting in pair[0]["scores"]),
        *((setting, 7) for setting in IST),
    }


def test_cells_by_hand():
    assert cells(Line("random_test", "novel", figures())) == (
        "IST, random subspace",
        "novel",
        "8 of 9",
        "0.124",
        "23.4",
        "34.6 … 45.7",
        "56.8",
        "-6.8",
        "-78.9 … 89.1",
        "7",
    )


def test_an_interval_is_of_five_tasks_or_more():
    few = figures(tasks=5, undefined=("z",), below_floor=("a",))
    found = cells(Line("test", "all", few))
    assert (found.tasks, found.interval, found.floored_interval) == ("4 of 5", "–", "–")
    assert found.relative == "23.4" and found.above_floor == "4"
    # control: one task more, and ends that are the seeds' own
    more = cells(Line("test", "all", figures(tasks=6, undefined=("z",), below_floor=("a",))))
    assert more.interval == "34.6 … 45.7" and more.floored_interval == "-78.9 … 89.1"
    assert cells(Line("test", "all", few), is_over_seeds=True).interval == "34.6 … 45.7"


def test_a_figure_that_is_not_there_is_a_dash():
    nothing = figures(
        relative=NAN,
        interval=(NAN, NAN),
        ratio_of_means=NAN,
        floored=NAN,
        floored_interval=(NAN, NAN),
    )
    assert cells(Line("test", "all", nothing))[4:] == ("–", "–", "–", "–", "–", "7")


def run_of(folder, settings, result=None):
    """Write a run folder."""
    run = Run.open(folder, {"split": "made", "seed": 1} | settings)
    if result:
        run.finish(result)
    return folder


def test_an_ist_run_is_read_after_the_msf_run_that_it_names(tmp_path):
    msf, ist = made_pair()
    run_of(tmp_path / "msf-other", {"kind": "msf"}, msf | {"dim": 99})
    run_of(tmp_path / "msf-own", {"kind": "msf"}, msf)
    folder = run_of(tmp_path / "ist", {"kind": "ist", "msf_run": "msf-own"}, ist)
    pair = read_pair(folder)
    assert (pair.msf.folder, pair.ist.folder) == (tmp_path / "msf-own", folder)
    assert pair.results == typed([msf, ist]) and pair.msf.result.dim == 5
    with pytest.raises(ValueError, match=r"msf-own is a run of ipt msf; name runs of ipt ist"):
        read_pair(tmp_path / "msf-own")


def test_a_run_without_scores_is_refused(tmp_path):
    unfinished = run_of(tmp_path / "unfinished", {"kind": "ist"})
    other = run_of(tmp_path / "other", {"kind": "stability"}, {"kind": "stability"})
    for folder in (unfinished, other):
        with pytest.raises(ValueError, match=f"{folder.name} holds no complete run"):
            read_results([folder])
    older = run_of(tmp_path / "older", {"kind": "ist"}, {"kind": "ist", "scores": {"test": {}}})
    with pytest.raises(ValueError, match="older: not a result of this version of ipt"):
        read_results([older])


def test_a_comparison_by_hand():
    """Least in size is the one loss.

    Of 32 signings 2 have a sum of negative ranks of at most 1, on either side: p = 4 / 32.
    """
    second = dict.fromkeys("abcdef", 0.5)
    first = {"f": 0.5, "e": 0.9, "d": 0.8, "c": 0.7, "b": 0.6, "a": 0.45}
    found = compare(first, second)
    assert found.p_value == pytest.approx(0.125)
    assert (found.tasks, found.wins, found.ties, found.losses) == (6, 4, 1, 1)
    assert found.difference == pytest.approx(0.95 / 6)  # of all six tasks, the tie among them
    back = compare(second, first)
    assert (back.wins, back.losses, back.p_value) == (1, 4, found.p_value)
    assert back.difference == pytest.approx(-0.95 / 6)


def test_the_interval_of_a_difference_is_over_resampled_tasks():
    """Of two tasks a quarter of the resamples is one alone, a quarter the other: the ends."""
    found = compare({"a": 0.6, "b": 0.8}, {"a": 0.5, "b": 0.5})
    assert found.interval == pytest.approx((0.1, 0.3)) and found.difference == pytest.approx(0.2)
    tied = compare({"a": 0.5, "b": 0.8}, {"a": 0.5, "b": 0.5})
    assert tied.interval == pytest.approx((0, 0.3))  # a tie is a task too
    alone = compare({"a": 0.6}, {"a": 0.5})
    assert math.isnan(alone.interval[0]) and math.isnan(alone.interval[1]) and alone.p_value == 1


def test_rounding_makes_no_win_and_a_small_difference_is_one():
    found = compare({"a": 0.1 + 0.2, "b": 0.300001}, {"a": 0.3, "b": 0.3})
    assert 0.1 + 0.2 > 0.3 and (found.wins, found.ties, found.losses) == (1, 1, 0)
    equal = compare({"a": 0.3, "b": 0.4}, {"a": 0.3, "b": 0.4})
    assert equal.p_value == 1 and equal.ties == 2 and equal.difference == 0


def test_scores_of_other_tasks_are_not_compared():
    with pytest.raises(ValueError, match=r"one method only: \['b', 'c'\]"):
        compare({"a": 1.0, "b": 1.0}, {"a": 1.0, "c": 1.0})
    with pytest.raises(ValueError, match=r"one method only: \[\]"):
        compare({}, {})


def test_groups_are_compared_on_their_own_tasks():
    first, second = {"a": 0.5, "b": 0.9}, {"a": 0.25, "b": 0.1}
    members = {"both": frozenset("ab"), "one": frozenset("a"), "none": frozenset()}
    found = compare_groups(first, second, members)
    assert {name: c.difference for name, c in found.items()} == pytest.approx(
        {"both": 0.525, "one": 0.25}
    )
    with pytest.raises(
        ValueError, match=r"\['b'\]"
    ):  # a group that one method alone has is not passed over
        compare_groups({"a": 0.5}, second, {"one": frozenset("b")})


def test_rows_of_a_comparison_by_hand():
    known = Comparison(9, -0.01234, (-0.0456, 0.0789), 0.001, 5, 3, 1)
    sure = replace(known, difference=0.5, p_value=0.00099)
    alone = replace(known, tasks=1, interval=(NAN, NAN), p_value=1.0)
    assert comparison_rows({"all": known, "novel": sure, "rule": alone}) == [
        ("all", "9", "−0.012", "−0.046 … +0.079", "0.001", "5", "3", "1"),
        ("novel", "9", "+0.500", "−0.046 … +0.079", "< 0.001", "5", "3", "1"),
        ("rule", "1", "−0.012", "–", "1.000", "5", "3", "1"),
    ]


def test_tables_as_texts_by_hand():
    rows = [["x", "1", "2"], ["y", "3, 4", "5"]]
    assert (
        markdown(["a", "b", "c"], rows)
        == "| a | b | c |\n|---|---|---:|\n| x | 1 | 2 |\n| y | 3, 4 | 5 |\n"
    )
    assert markdown(["a", "b", "c"], [], texts=1) == "| a | b | c |\n|---|---:|---:|\n"
    assert r"\begin{tabular}{lrr}" in latex(["a", "b", "c"], rows, texts=1)
    assert rows_as_csv([["a", "b"], ["1, 2", 'say "x"']]) == 'a,b\n"1, 2","say ""x"""\n'
