"""A study by its methods: rows from hand-made cells, the table's texts, the figure's lines."""

import json

import pytest
from conftest import page_of, plain

from ipt.analysis.dimensions import (
    DRAWN,
    bands_of,
    dimensions_brief,
    dimensions_figure,
    dimensions_summary,
    dimensions_table,
)
from ipt.analysis.plots.style import COLOURS
from ipt.analysis.report.dimensions import intrinsic_dimensions_table
from ipt.analysis.report.views import read_views
from ipt.analysis.scores import NONE
from ipt.analysis.summaries import table_of, update_text

SUBCATEGORIES = {"u0": "a", "u1": "a", "u2": "b", "u3": "c"}


def tasks(share, reference=0.7, floor=0.2, names=SUBCATEGORIES):
    score = floor + share * (reference - floor)
    figures = {"score": score, "ranked": None, "reference": reference, "floor": floor}
    return {name: dict(figures) for name in names}


def cell(dim, seed=1, tuner="lora", numbers=64, **conditions):
    """A summary of a study's cell, shares by condition."""
    found = {"test_msf": tasks(0.1), "train_msf": tasks(0.9, 0.8, 0.3, ("s0",))}
    for name, share in conditions.items():
        found[name] = tasks(share) if name != "train_diff" else tasks(share, 0.6, 0.1, ("s0", "s1"))
    return {
        "seed": seed,
        "digest": f"{tuner}-{dim}-{seed}",
        "dim": dim,
        "tasks": found,
        "subcategories": SUBCATEGORIES,
        "tuner": {"name": tuner, "settings": {}, "text": f"{tuner}:rank=2", "numbers": numbers},
    }


FULL = {
    "seed": 1,
    "digest": "full",
    "dim": None,
    "tasks": {"tuned_unseen": tasks(1, 1.0), "tuned_seen": tasks(1, 0.85, 0.1, ("s0", "s1"))},
    "subcategories": SUBCATEGORIES,
    "tuner": {"name": "full", "settings": {}, "text": "full", "numbers": 4_000_000},
}
CELLS = {
    "lora": [
        cell(2, test=0.2, random_test=0.1),
        cell(5, test=0.5, random_test=0.15, train_diff=0.96, mixture_test=0.7),
        cell(5, seed=2, test=0.7, random_test=0.25, train_diff=1.0, mixture_test=0.9),
        cell(10, test=0.8, random_test=0.3),
        cell(20, test=1.0, random_test=0.4),
    ],
    "ia3": [cell(5, tuner="ia3", numbers=1234, test=0.3), None],
    "side": [None, None],
    "full": [FULL],
}


@pytest.fixture(scope="module")
def record():
    found = dimensions_summary(CELLS, "ipt study x.toml")
    return json.loads(json.dumps(found, allow_nan=False))


def rows_of(table):
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_the_table_by_hand(record):
    rows = rows_of(dimensions_table(record))
    lora = rows["lora"]
    # The d that most cells have is shown: two seeds of lora and one of ia3.
    assert lora["unseen, d = 5"] == "60.0 (60 … 60)" and lora["random, d = 5"] == "20.0 (20 … 20)"
    assert lora["seen, other data, d = 5"] == "98.0 (98 … 98)"
    assert (lora["cells"], lora["numbers per task"]) == ("5 of 5", "64")
    assert (lora["tuned score, unseen"], lora["floor, unseen"]) == ("0.700", "0.200")
    assert (lora["tuned score, seen"], lora["floor, seen"]) == ("0.800", "0.300")
    # 0.3 above the floor, of 0.8 with full fine-tuning; of seen tasks 0.49 of 0.75.
    assert lora["unseen, d = 5, of full"] == "37.5"
    assert lora["seen, other data, d = 5, of full"] == f"{100 * 0.49 / 0.75:.1f}"
    # Half of the way in log d from 10 to 20.
    assert lora["d90, unseen"] == "14 (14 … 14)" and lora["d90, random"] == "> 20"
    # (0.2 + 0.5 share) / 0.7 is 0.9 at a share of 0.86.
    assert lora["d90 by E_rel, unseen"].startswith(f"{10 * 2**0.3:.0f} (")
    assert lora["median d90 of a task, unseen (reached)"] == "14 (4 of 4)"
    assert lora["median d90 of a task, random (reached)"] == "> 20 (0 of 4)"


def test_missing_cells_are_dashes_and_columns_of_nothing_are_left_out(record):
    table = dimensions_table(record)
    rows = rows_of(table)
    assert set(table.rows[2][2:]) == {NONE} and rows["side"]["cells"] == "0 of 2"
    ia3 = rows["ia3"]
    assert ia3["unseen, d = 5"] == "30.0 (30 … 30)" and ia3["d90, unseen"] == NONE == ia3["d90, random"]
    assert rows["full"]["numbers per task"] == "4,000,000" and rows["full"]["tuned score, unseen"] == "1.000"
    assert rows["full"]["unseen, d = 5"] == NONE
    assert not any("PCA" in head for head in table.columns)
    # One d says nothing of where 0.9 is reached.
    assert "d90, mixture" not in table.columns and "mixture, d = 5" in table.columns
    brief = dimensions_brief(record)
    assert set(brief.columns) < set(table.columns) and "d90, unseen" in brief.columns
    without = dimensions_summary({"lora": CELLS["lora"]}, "")
    assert not any("full" in head for head in dimensions_table(without).columns)


def test_nothing_done_is_no_table():
    assert dimensions_summary({"side": [None, None]}, "") is None
    only = dimensions_summary({"full": [FULL]}, "")
    assert only["dim"] is None and dimensions_figure(only) is None
    assert rows_of(dimensions_table(only))["full"]["floor, unseen"] == "0.200"


def test_cells_of_before_the_tuner_was_named_have_no_count():
    older = cell(5, test=0.5)
    del older["tuner"], older["subcategories"], older["dim"]
    older["settings"] = {"msf": {"dim": 5}}
    row = rows_of(dimensions_table(dimensions_summary({"a": [older]}, "")))["a"]
    assert row["unseen, d = 5"] == "50.0 (50 … 50)" and "numbers per task" not in row
    # Those of before tasks were kept have nothing to show.
    del older["tasks"]
    assert dimensions_summary({"a": [older]}, "") is None


def test_a_marked_table_is_made_from_the_record(record, tmp_path):
    (tmp_path / "t.json").write_text(json.dumps(record))
    text = update_text("<!-- table t.json -->\n<!-- end short -->", tmp_path)
    assert table_of([record], short=True) in text and "`ipt study x.toml` (seed 1, 2: " in text
    assert len(table_of([record])) > len(table_of([record], short=True))


def test_the_figure_has_a_line_for_each_method_and_a_panel_of_its_own(record):
    figure = dimensions_figure(record)
    above, below = figure.subfigs
    # Only IST and random were measured at several d.
    assert [axes.get_title(loc="left") for axes in above.axes] == [DRAWN["test"], DRAWN["random_test"]]
    lines = [line for line in above.axes[0].lines if len(line.get_xdata()) in (1, 4)]
    assert list(lines[0].get_xdata()) == [2, 5, 10, 20]
    assert lines[0].get_ydata() == pytest.approx([20, 60, 80, 100])
    assert lines[1].get_ydata() == pytest.approx([30])
    # By its place among all methods, done or not.
    assert [line.get_color() for line in lines] == list(COLOURS[:2])
    legend = [text.get_text() for text in above.legends[0].get_texts()]
    assert legend == ["lora", "ia3"]
    titles = [axes.get_title(loc="left") for axes in below.axes if axes.get_visible()]
    assert titles == ["lora\nd90 14 (14 … 14)", "ia3\n"]
    assert {axes.get_ylim() for axes in figure.axes} == {(0.0, 125.0)}
    assert len({axes.get_xlim() for axes in figure.axes}) == 1


def test_bands_are_the_intervals(record):
    band = bands_of(record, "test")["lora"]
    assert band.dims == [2, 5, 10, 20] and band.lows == band.highs == band.shares
    scattered = cell(5, test=0.5)
    for name, score in (("u0", 0.3), ("u1", 0.3), ("u2", 0.6)):
        scattered["tasks"]["test"][name]["score"] = score
    found = bands_of(dimensions_summary({"a": [scattered]}, ""), "test")["a"]
    assert found.lows[0] < found.shares[0] < found.highs[0]
    one = cell(5, test=0.5) | {"subcategories": dict.fromkeys(SUBCATEGORIES, "same")}
    alone = bands_of(dimensions_summary({"a": [one]}, ""), "test")["a"]
    assert alone.lows == alone.highs == alone.shares == [0.5]


def test_the_page_of_runs_that_differ_in_d_has_their_intrinsic_dimension(tmp_path, capsys, undrawn):
    made = [plain(tmp_path / f"{dim}-{seed}", dim=dim, seed=seed) for dim, seed in ((3, 1), (3, 2), (6, 1))]
    page = page_of(capsys, *made, "--out", tmp_path)
    table = intrinsic_dimensions_table(read_views(made))
    assert page.tables["table-dimensions"] == [table.names, *table.rows]
    rows = {row[1]: row for row in table.rows}
    assert "T_test (IST)" in rows and rows["T_test (IST)"][2] == "3, 6"
    one = page_of(capsys, *made[:2], "--out", tmp_path)
    assert "table-dimensions" not in one.tables
