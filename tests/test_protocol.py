"""The estimate of docs/protocol.md against computations by hand and simulations with a known truth."""

import hashlib
import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from results_by_hand import made_results

from ipt.analysis.protocol import (
    STRATA,
    Scores,
    Yardstick,
    difference,
    exchange_test,
    holm,
    standing,
)
from ipt.analysis.protocol_table import (
    choice_bits,
    protocol_cell,
    protocol_figure,
    protocol_summary,
    protocol_table,
    run_sentence,
    run_standing,
)
from ipt.tasks.suites import embedded
from ipt.workflows.study import protocol_digest

PROTOCOL = Path("docs/protocol.md")


def scores_of(values, seeds=None, names=None):
    values = np.atleast_2d(values)
    seeds = seeds or tuple(range(1, len(values) + 1))
    names = names or [f"t{number:03}" for number in range(values.shape[1])]
    return Scores.of({s: dict(zip(names, row, strict=True)) for s, row in zip(seeds, values.tolist(), strict=True)})


def yardstick_of(reference, floor, clusters=None, strata=None):
    return Yardstick(scores_of(reference), scores_of(floor), clusters or {}, strata or {})


def test_figures_by_hand():
    # t000 gains 0.4 of 0.5, t001 gains 0.1 of 0.4, t002 does not count: 0.05 above its floor.
    yardstick = yardstick_of(
        [[0.7, 0.6, 0.25], [0.7, 0.6, 0.25]],
        [[0.2, 0.2, 0.2], [0.2, 0.2, 0.2]],
        strata={"t000": "rule", "t001": "novel", "t002": "knowledge"},
    )
    method = scores_of([[0.5, 0.2, 0.9], [0.7, 0.4, 0.9]])
    found = standing(method, yardstick)
    assert (found.tasks, found.counted) == (3, 2)
    assert found.recovered.value == pytest.approx((0.4 + 0.1) / (0.5 + 0.4))
    assert found.relative.value == pytest.approx((0.6 / 0.7 + 0.3 / 0.6 + 0.9 / 0.25) / 3)
    assert found.strata["rule"].value == pytest.approx(0.8)
    assert found.strata["novel"].value == pytest.approx(0.25)
    # No knowledge task counts, so there is no mean with fixed weights either.
    assert math.isnan(found.strata["knowledge"].value) and math.isnan(found.weighted.value)
    # 0.4 of 0.5 is 80 %, although 0.8 * 0.5 rounds.
    assert found.share_of_tasks == 0.5
    assert found.score == pytest.approx(method.values.mean())


def test_mean_over_strata_has_fixed_weights():
    strata = {"t000": "rule", "t001": "knowledge", "t002": "novel", "t003": "novel"}
    yardstick = yardstick_of(np.full(4, 1.0), np.zeros(4), strata=strata)
    found = standing(scores_of([0.9, 0.5, 0.2, 0.4]), yardstick)
    by_hand = STRATA["rule"] * 0.9 + STRATA["knowledge"] * 0.5 + STRATA["novel"] * 0.3
    assert found.weighted.value == pytest.approx(by_hand)
    assert sum(STRATA.values()) == pytest.approx(1)
    # The suite's own shares, to two digits.
    tasks = embedded.load()
    novel = sum(task.novel for task in tasks) / len(tasks)
    assert round(novel, 2) == STRATA["novel"]


def test_membership_does_not_depend_on_the_method():
    yardstick = yardstick_of([0.5, 0.31, 0.29], [0.2, 0.2, 0.2])
    for values in ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]):
        assert standing(scores_of(values), yardstick).counted == 2


def test_a_seed_that_lacks_tasks_stands_beside_the_mean_of_the_others():
    reference = Scores.of({1: {"a": 0.6, "b": 0.8}, 2: {"a": 0.8}})
    floor = Scores.of({1: {"a": 0.0, "b": 0.0}, 2: {"a": 0.0}})
    yardstick = Yardstick(reference, floor, {}, {})
    both = Scores.of({1: {"a": 0.6, "b": 0.8}, 2: {"a": 0.8}})
    assert both.complete.tasks == ("a",)
    assert standing(both.complete, yardstick).recovered.value == pytest.approx(1)
    one = Scores.of({1: {"a": 0.7, "b": 0.8}})
    assert standing(one, yardstick).recovered.value == pytest.approx(1)


def test_intervals_cover_the_truth_where_tasks_of_a_subcategory_are_alike():
    # 60 draws of a world: R is 0.6 on average, subcategories differ by 0.3, tasks by 0.2.
    covered = {"two-level": 0, "tasks alone": 0}
    worlds = 60
    for world in range(worlds):
        generator = np.random.default_rng(world)
        groups = np.repeat(np.arange(20), 6)
        share = 0.6 + 0.3 * generator.normal(size=20)[groups] + 0.2 * generator.normal(size=120)
        names = [f"t{number:03}" for number in range(120)]
        clusters = {name: f"g{group}" for name, group in zip(names, groups, strict=True)}
        for kind, known in (("two-level", clusters), ("tasks alone", {})):
            yardstick = yardstick_of(np.full(120, 0.8), np.full(120, 0.2), known)
            low, high = standing(scores_of(0.2 + 0.6 * share), yardstick).recovered.interval
            covered[kind] += low <= 0.6 <= high
    # Control: the interval that takes tasks for independent is far too narrow.
    assert covered["two-level"] >= 0.88 * worlds
    assert covered["tasks alone"] <= 0.8 * worlds


def test_seeds_widen_the_interval():
    generator = np.random.default_rng(0)
    share = 0.5 + 0.1 * generator.normal(size=100)
    yardstick = yardstick_of(np.full((3, 100), 1.0), np.zeros((3, 100)))
    widths = []
    for apart in (0.0, 0.2):
        shifts = np.array([[-apart], [0.0], [apart]])
        low, high = standing(scores_of(share + shifts), yardstick).recovered.interval
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_difference_by_hand_and_its_sign():
    yardstick = yardstick_of(np.full(4, 1.0), np.full(4, 0.5), {"t000": "a", "t001": "a"})
    first, second = scores_of([0.9, 0.9, 0.8, 0.7]), scores_of([0.7, 0.7, 0.7, 0.7])
    found = difference(first, second, yardstick)
    assert found.estimate.value == pytest.approx(0.5 / 2)
    low, high = found.estimate.interval
    assert 0 <= low < 0.25 < high
    # Three clusters of sums 0.4, 0.1 and 0: 4 of 8 signs are as extreme.
    assert found.p_value == pytest.approx(0.5)
    back = difference(second, first, yardstick)
    assert back.estimate.value == pytest.approx(-0.25) and back.p_value == found.p_value
    same = difference(first, first, yardstick)
    assert same.estimate.value == 0 and same.p_value == 1
    nothing = difference(first, scores_of([0.5], names=["other"]), yardstick)
    assert nothing is None


def test_permutation_test_is_exact_for_few_clusters_and_level_for_many():
    sums = np.array([3.0, -1.0, 2.0, 0.5])
    ways = [abs(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=4)]
    by_hand = np.mean([way >= 4.5 for way in ways])
    assert exchange_test(sums) == pytest.approx(by_hand)
    assert exchange_test(np.array([2.0])) == 1
    # No difference: about 5 % of p values are below 0.05; a real one is found.
    generator = np.random.default_rng(1)
    p_values = [exchange_test(generator.normal(size=40)) for _ in range(300)]
    assert 0.02 < np.mean(np.array(p_values) < 0.05) < 0.09
    assert exchange_test(generator.normal(0.8, 1, size=40)) < 0.01


def test_holm_by_hand():
    # Sorted 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.5 x 1; none below the one before it.
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_bits_of_choice():
    assert choice_bits("test", 5, 100) == 0
    assert choice_bits("mixture_test", 5, 100) == pytest.approx(math.log2(math.comb(101, 6)))
    assert choice_bits("mixture_test", 5, 3) == 0  # all anchors: nothing is chosen
    assert choice_bits("best_seen", 0, 128) == 7
    assert choice_bits("nearest_seen", 0, 128) == 0


def test_an_ist_run_says_what_it_recovers_and_its_strongest_rival(monkeypatch):
    # Of u2, u3 and o1: floors 0.15, 0.35, 0.08, references 0.4, 0.7, 0.3.
    result = made_results()[-1]
    own = (0.15 + 0.28 + 0.13) / (0.25 + 0.35 + 0.22)
    found = run_standing(result, "test")
    assert found.recovered.value == pytest.approx(own)
    sentence = run_sentence(result)
    # Three tasks are too few for an interval.
    assert sentence.startswith(f"5 numbers recover {100 * own:.0f} % of what tuning")
    assert "(3 of 4 count, one seed)" in sentence
    best = (0.07 + 0.28 + 0.10) / (0.25 + 0.35 + 0.22)
    assert sentence.endswith(f"the best other way, best of three by dev loss, {100 * best:.0f} %")
    # Control: of enough tasks there is one.
    monkeypatch.setattr("ipt.analysis.protocol_table.FEWEST", 3)
    low, high = found.recovered.interval
    assert f"{100 * own:.0f} % ({100 * low:.0f} … {100 * high:.0f}) of" in run_sentence(result)
    # Controls alone say nothing of the subspace.
    others = {name: scores for name, scores in result.scores.items() if name != "test"}
    assert run_sentence(replace(result, scores=others)) == ""


def cell(fold, seed, dim, tasks, tune=240):
    """Return a cell as a study keeps it; tasks: [score, reference, floor] by condition and name."""
    return {
        "seed": seed,
        "dim": dim,
        "digest": f"{fold}-{seed}-{dim}",
        "tasks": tasks,
        "subcategories": {name: name[0] for of in tasks.values() for name in of},
        "strata": {name: "rule" for of in tasks.values() for name in of},
        "seen": 100,
        "settings": {"tune": {"steps": tune}},
        "protocol": "abc",
    }


def test_table_of_a_study_joins_folds_and_compares_within_a_dimension():
    cells = []
    for seed, fold in itertools.product((1, 2), ("a", "b")):
        names = [f"{fold}{number}" for number in range(4)]
        for dim, share in ((3, 0.4), (5, 0.6)):
            tasks = {
                "test": {name: [share, 1.0, 0.0] for name in names},
                "pca_test": {name: [share - 0.1, 1.0, 0.0] for name in names},
                "best_seen": {name: [0.2, 1.0, 0.0] for name in names},
                "train_same": {name: [0.9, 1.0, 0.0] for name in names},
            }
            cells.append(cell(fold, seed, dim, tasks))
    record = protocol_summary({"default": [*cells, None]}, "ipt study x", "abc")
    assert json.loads(json.dumps(record)) == record
    assert (record["done"], record["planned"], record["protocol"]) == (8, 9, ["abc"])
    rows = {(row["condition"], row["dim"]): row for row in record["rows"]}
    assert list(rows) == [
        ("test", 3),
        ("pca_test", 3),
        ("test", 5),
        ("pca_test", 5),
        ("best_seen", 0),
    ]
    assert rows["test", 5]["recovered"]["value"] == pytest.approx(0.6)
    assert rows["test", 5]["tasks"] == 8 and rows["test", 5]["seeds"] == 2
    # The first of each d is compared with the others of that d.
    assert rows["test", 3]["minus"] is rows["test", 5]["minus"] is None
    assert rows["pca_test", 5]["minus"]["value"] == pytest.approx(0.1)
    assert rows["best_seen", 0]["minus"]["value"] == pytest.approx(0.2)
    assert rows["best_seen", 0]["bits"] == pytest.approx(math.log2(100), abs=1e-6)
    (reference,) = record["references"]
    assert reference["score"] == 1 and reference["floor"] == 0

    table = protocol_table(record)
    assert all(len(row) == len(table.columns) for row in table.rows)
    text = {row[0]: row for row in table.rows}
    assert text["IST, PCA subspace, d = 5"][1] == "5 + 0"
    assert text["T_test (IST), d = 5"][2] == "5 / 100"
    assert text["T_test (IST), d = 5"][6].startswith("60.0 (60.0 … 60.0)")
    assert protocol_figure(record) is not None
    empty = protocol_summary({"default": [None]}, "ipt study x", "abc")
    assert empty["rows"] == [] and protocol_figure(empty) is None


def test_a_method_whose_seeds_have_no_task_in_common_is_no_row_yet():
    cells = []
    for fold, seed in (("a", 1), ("b", 2)):
        tasks = {"best_seen": {"both": [0.2, 1.0, 0.0]}, "test": {f"{fold}0": [0.5, 1.0, 0.0]}}
        cells.append(cell(fold, seed, 5, tasks))
    record = protocol_summary({"default": [*cells, None]}, "ipt study x", "abc")
    assert [row["condition"] for row in record["rows"]] == ["best_seen"]
    # Control: with the cell that was open there is a common task.
    later = cell("a", 2, 5, {"test": {"a0": [0.7, 1.0, 0.0]}})
    record = protocol_summary({"default": [*cells, later]}, "ipt study x", "abc")
    rows = {row["condition"]: row for row in record["rows"]}
    assert rows["test"]["score"] == pytest.approx(0.6) and rows["test"]["tasks"] == 1


def test_a_stored_cell_has_what_the_tables_need_and_no_seen_task():
    tasks = {"test": {"a0": [0.5, 1.0, 0.0]}, "train_msf": {"b0": [0.9, 1.0, 0.0]}}
    whole = cell("a", 1, 5, tasks)
    whole["lines"] = [{"setting": "test", "group": group} for group in ("all", "rule")]
    kept = protocol_cell(whole)
    assert kept["tasks"] == {"test": tasks["test"]} and kept["subcategories"] == {"a0": "a"}
    assert kept["lines"] == whole["lines"][:1]
    assert kept.keys() == whole.keys()
    table = protocol_summary({"x": [kept]}, "ipt study x", "abc")
    assert table == protocol_summary({"x": [whole]}, "ipt study x", "abc")
    tuned = {"kind": "tuning", "tasks": {"tuned_seen": {}}}
    assert protocol_cell(tuned) == tuned


def test_tuning_alone_is_held_against_the_first_line_with_a_subspace():
    first = cell("a", 1, 5, {"test": {"a0": [0.5, 1.0, 0.0], "a1": [0.7, 1.0, 0.0]}})
    probe = cell("a", 1, None, {"tuned_seen": {"a0": {"score": 0.9, "floor": 0.3}}}, tune=9)
    probe["tasks"]["tuned_unseen"] = {"a1": {"score": 0.7, "floor": 0.3, "numbers": 12}}
    probe |= {"kind": "tuning", "tuner": {"numbers": 3}}
    record = protocol_summary({"subspace": [first], "probe": [probe]}, "ipt study x", "abc")
    subspace, tuned = record["rows"]
    # Of the first line's floor and reference, not of its own.
    assert tuned["recovered"]["value"] == pytest.approx(0.8)
    assert tuned["minus"]["value"] == pytest.approx(-0.2)
    assert (subspace["numbers"], tuned["numbers"]) == ([5, 5], [3, 12])
    assert [row[:2] for row in protocol_table(record).rows[:2]] == [
        ["T_test (IST), d = 5", "5 + 0"],
        ["probe, tuned", "3 … 12"],
    ]


def test_lines_with_other_references_are_not_compared():
    tasks = {"test": {"a0": [0.5, 1.0, 0.0]}}
    lines = {"first": [cell("a", 1, 5, tasks)], "other": [cell("a", 1, 5, tasks, tune=9)]}
    record = protocol_summary(lines, "ipt study x", "abc")
    assert [row["minus"] for row in record["rows"]] == [None, None]
    assert [reference["lines"] for reference in record["references"]] == [["first"], ["other"]]
    # Control: with one reference they are.
    lines["other"] = [cell("a", 1, 5, tasks)]
    record = protocol_summary(lines, "ipt study x", "abc")
    assert record["rows"][1]["minus"]["value"] == 0


def test_a_protocol_is_named_by_the_hash_of_its_text(tmp_path):
    study = tmp_path / "study.toml"
    (tmp_path / "rules.md").write_bytes(b"rules")
    digest = protocol_digest({"protocol": "rules.md"}, study)
    assert digest == hashlib.sha256(b"rules").hexdigest()
    assert protocol_digest({}, study) == ""
    with pytest.raises(ValueError, match=r"study.toml: protocol 'none.md' is no file"):
        protocol_digest({"protocol": "none.md"}, study)


def test_results_name_the_protocol_and_looks_are_in_the_log():
    digest = hashlib.sha256(PROTOCOL.read_bytes()).hexdigest()
    log = Path("LOG.md").read_text(encoding="utf8")
    for path in sorted(Path("results/protocol").glob("*-seed*.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        assert record["protocol"] == digest, path
        # Test rows of folds 3 to 5 and of the locked tasks: each look has a line.
        work = record["settings"]["work"]
        if work["held_out"] == "test" and work["tasks"] not in ("fold-1", "fold-2"):
            assert f"look: {path.stem}" in log
