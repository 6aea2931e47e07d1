"""The short table of a result: which settings, in which words and figures."""

import math
from dataclasses import replace

import pytest
from results_by_hand import made_results

from ipt.analysis.short_table import (
    COLUMNS,
    MOST_ROWS,
    TITLES,
    left_out,
    msf_sentence,
    share_text,
    short_table,
    whole,
)
from ipt.results import CONDITIONS


@pytest.fixture
def pair():
    return made_results()


def test_every_setting_has_a_name_in_plain_words():
    assert TITLES.keys() == {condition.name for condition in CONDITIONS}
    for title in TITLES.values():
        assert not any(word in title for word in ("T_", "MSF", "IST", "decode", "code]"))


def test_the_table_has_eight_settings_at_most_and_prompt_tuning_first(pair):
    table = short_table(pair)
    assert tuple(table.columns) == COLUMNS and len(table.rows) == MOST_ROWS
    assert table.rows[0] == ("prompt tuning, unseen tasks", "0.475", "100", "100", "4")
    by_title = {row[0]: row for row in table.rows}
    # u1 to o1 by hand: 0.40, 0.30, 0.63, 0.21; shares 0.80, 0.75, 0.90, 0.70.
    floored = (0.15 / 0.25 + 0.28 / 0.35 + 0.13 / 0.22) / 3
    expected = ("0.385", "79", f"{100 * floored:.0f}", "4")
    assert by_title[f"{pair[0].dim} numbers, unseen tasks"][1:] == expected
    measured = len(pair[0].scores) + len(pair[1].scores)
    assert left_out(pair) == measured - (MOST_ROWS - 1)
    # Control: of MSF alone all are there.
    assert left_out(pair[:1]) == 0
    assert len(short_table(pair[:1]).rows) == 1 + len(pair[0].scores)


def test_groups_of_tasks_stand_below_their_setting_if_asked_for(pair):
    plain = [row[0] for row in short_table(pair).rows]
    for by, group in (("kind", "  novel"), ("subcategory", "  four")):
        titles = [row[0] for row in short_table(pair, by).rows]
        assert group in titles and [title for title in titles if title[0] != " "] == plain


def test_a_share_is_whole_per_cent_and_has_an_interval_from_five_tasks_on():
    assert share_text(0.757, (0.423, 1.142), 5) == "76  42–114"
    assert share_text(0.757, (0.423, 1.142), 4) == "76"
    assert share_text(0.25, (-0.14, 0.67), 9) == "25  −14 to 67"
    assert share_text(math.nan, (math.nan, math.nan), 0) == "–"
    assert [whole(share) for share in (-0.001, -0.12, 1.0)] == ["0", "−12", "100"]


def test_what_the_autoencoder_keeps_is_a_sentence(pair):
    text = msf_sentence(pair[0])
    assert text.startswith(f"Through {pair[0].dim} numbers the autoencoder keeps ")
    assert "3 seen tasks" in text and "4 unseen tasks" in text and "interval" not in text
    assert msf_sentence(replace(pair[0], scores={})) == ""
