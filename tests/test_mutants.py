"""The table of planted faults: made from its figures, and with as many found as is promised."""

import json
from pathlib import Path

import mutants
import pytest
from mutant_table import STRICT, TESTS, page, share

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "results" / "mutants.json"
MODULE = "ipt/recovery.py"


@pytest.fixture(scope="module")
def result():
    return json.loads(RESULT.read_text(encoding="utf8"))


def test_the_page_is_made_from_the_figures(result):
    assert (ROOT / "docs" / "mutants.md").read_text(encoding="utf8") == page(result)


def test_nine_of_ten_faults_are_found_where_numbers_are_made_and_85_percent_over_all(result):
    rows = result["modules"]
    assert min(rows[module]["planted"] for module in STRICT) >= 8
    low = [module for module in STRICT if share(rows[module]) < 0.9]
    assert not low
    total = {name: sum(row[name] for row in rows.values()) for name in rows[MODULE]}
    assert share(total) >= 0.85


def test_every_module_named_has_its_row_and_every_survivor_is_counted(result):
    assert result["modules"].keys() == TESTS.keys()
    for module, row in result["modules"].items():
        mine = [survivor for survivor in result["survivors"] if survivor["module"] == module]
        explained = [survivor for survivor in mine if survivor["reason"]]
        assert len(mine) == row["planted"] - row["found"] and len(explained) == row["equivalent"]


def test_the_share_leaves_out_what_changes_nothing():
    assert share({"planted": 60, "found": 54, "equivalent": 0}) == 0.9
    assert share({"planted": 60, "found": 45, "equivalent": 10}) == 0.9


def test_faults_are_drawn_by_the_seed_and_each_changes_the_module():
    source = (ROOT / MODULE).read_text(encoding="utf8")
    first, again, other = (mutants.plant(MODULE, 12, seed) for seed in (0, 0, 1))
    assert first == again and first != other and len({mutant.key for mutant in first}) == 12
    assert all(mutant.source != source and mutant.change for mutant in first)


def test_every_test_file_named_is_there():
    for module, names in TESTS.items():
        missing = [name for name in names if not (ROOT / "tests" / f"test_{name}.py").is_file()]
        assert not missing, (module, missing)
