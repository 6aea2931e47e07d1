"""The campaign of `make torture`: its table is made from its figures, and a fault is told as one."""

import json

import pytest
import torture
from torture import BAD, Campaign, ending, page, summary, table
from torture_inputs import RIGHT, Attempt

RESULT = json.loads(torture.RESULT.read_text(encoding="utf8"))


def test_the_table_is_made_from_the_figures():
    text = torture.PAGE.read_text(encoding="utf8")
    assert page(text, RESULT) == text


def test_nothing_ended_badly_in_as_many_attempts_as_are_promised():
    counts = RESULT["parts"]
    assert sum(sum(counts[part].values()) for part in torture.INPUTS) >= 300
    assert counts.keys() == set(torture.PARTS)
    assert counts["kills"] == {"right": 50}
    assert RESULT["bad"] == []
    for part in counts.values():
        assert not set(part) & set(BAD)


@pytest.mark.parametrize(
    ("code", "said", "outcome"),
    [
        (0, "12 of 12", "accepted"),
        (2, "ipt: --steps must be above 0, found 0\n", "refused"),
        (2, "usage\n", "no line"),
        (2, "ipt: one\nipt: two\n", "no line"),
        (1, "ipt: one\n", "trace"),
        (70, "ipt: a fault of ipt\n", "trace"),
        (2, "Traceback (most recent call last):\n  ...\nipt: one\n", "trace"),
        (-11, "", "trace"),
        (None, "", "hang"),
    ],
)
def test_what_a_command_ends_in(code, said, outcome):
    assert ending(code, said)[0] == outcome


def test_control_a_score_that_differs_and_what_should_be_refused_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(torture, "start", lambda *given: None)
    monkeypatch.setattr(torture, "wait", lambda started: (0, ""))
    (tmp_path / "runs" / "msf").mkdir(parents=True)
    record = {"scores": [1], "reference": [2], "floor": [0]}
    (tmp_path / "runs" / "msf" / "result.json").write_text(json.dumps(record))
    damaged = Attempt("damaged files", "a digit", lambda folder: [], RIGHT)
    assert torture.judge(damaged, tmp_path, {"msf": record})["outcome"] == "right"
    other = {"msf": record | {"scores": [3]}}
    assert torture.judge(damaged, tmp_path, other)["outcome"] == "silently different"
    wrong = Attempt("flags", "nan", lambda folder: [], "refused")
    assert torture.judge(wrong, tmp_path, None)["outcome"] == "taken"


def test_a_campaign_goes_on_and_names_what_is_bad(tmp_path):
    campaign = Campaign(tmp_path)
    fine = {"part": "flags", "name": "a", "outcome": "refused", "line": "ipt: a"}
    campaign.add(fine)
    campaign.add(fine | {"name": "b", "outcome": "hang"})
    assert set(Campaign(tmp_path).done) == {("flags", "a"), ("flags", "b")}
    found = summary(tmp_path)
    assert found["parts"] == {"flags": {"refused": 1, "hang": 1}}
    assert [record["name"] for record in found["bad"]] == ["b"]
    assert "| flags | 2 | 1 | 0 | 0 | 0 | 0 | 1 | 0 | 0 |" in table(found)
