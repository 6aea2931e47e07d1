"""`ipt study`: cells from a file, one table, open cells named, nothing done twice."""

import hashlib
import json
from pathlib import Path
from unittest.mock import patch

import pytest
from conftest import QUICK, source
from small_runs import REST, SEEN

from ipt.analysis.plots.bars import recovery_dots
from ipt.analysis.protocol_table import METHODS
from ipt.analysis.study import study_figure, study_means, study_summary, study_table
from ipt.cli import app as cli
from ipt.results import BY_NAME
from ipt.workflows.study import read_cells

FLAGS = {flag.removeprefix("--"): value for flag, value in QUICK.items()}


@pytest.fixture
def file(world, tmp_path):
    flags = {flag.removeprefix("--"): str(value) for flag, value in source(world).items()}
    shared = (
        flags
        | FLAGS
        | {
            "ist": {"steps": 4, "eval-every": 2, "learning-rates": [[0.1, 0.5]]},
            "msf": {"alpha": 2},
        }
    )
    path = tmp_path / "toy.json"
    path.write_text(
        json.dumps(
            {"cells": [{"name": "toy", "seed": [1, 2], "recipe": ["paper", "ours"]} | shared]}
        )
    )
    return path


def run(file, tmp_path, *more):
    return cli.main(
        [
            "study",
            str(file),
            "--out",
            str(tmp_path / "runs"),
            "--to",
            str(tmp_path / "results"),
            *more,
        ]
    )


def rows(tmp_path):
    table = study_table(json.loads((tmp_path / "results" / "toy.json").read_text()))
    return {row[0]: row for row in table.rows}


def test_cells_are_all_combinations_and_flags_go_to_their_command(file):
    cells = {cell.name: cell for cell in read_cells(json.loads(file.read_text()), file)}
    assert list(cells) == ["toy-seed1-paper", "toy-seed1-ours", "toy-seed2-paper", "toy-seed2-ours"]
    assert {cell.line for cell in cells.values()} == {
        "toy, paper",
        "toy, ours",
    }  # seeds are one line
    msf, ist = cells["toy-seed1-paper"].msf(Path("o")), cells["toy-seed1-paper"].ist(Path("o"))
    pair = lambda words, flag: [words[i + 1] for i, w in enumerate(words) if w == flag]  # noqa: E731
    assert (
        pair(msf, "--alpha") == ["2"]
        and pair(msf, "--tune.steps") == ["8"]
        and pair(msf, "--recipe") == ["paper"]
    )
    assert pair(ist, "--learning-rates") == ["0.1", "0.5"] and pair(ist, "--run") == [
        "toy-seed1-paper"
    ] == pair(msf, "--run")
    assert not {"--alpha", "--seed", "--tasks", "--tune.steps"} & set(ist) and pair(
        msf, "--steps"
    ) == ["8"] != pair(ist, "--steps")


def test_a_study_is_filled_cell_by_cell_and_goes_on(file, tmp_path, capsys):
    assert run(file, tmp_path, "--dry-run") == 0
    assert "open: 4 of 4 cells" in capsys.readouterr().out and not (tmp_path / "runs").exists()
    assert run(file, tmp_path, "--only", "toy-seed1-*") == 0
    assert {name: row[1] for name, row in rows(tmp_path).items()} == {
        "toy, paper": "1 of 2",
        "toy, ours": "1 of 2",
    }
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/toy-*.json")}
    assert len(before) == 2
    assert run(file, tmp_path, "--only", "*-ours") == 0  # only seed 2 is open of these
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [row[1] for row in rows(tmp_path).values()] == ["1 of 2", "2 of 2"]
    record = json.loads((tmp_path / "results" / "toy-seed1-ours.json").read_text())
    (line,) = (x for x in record["lines"] if (x["setting"], x["group"]) == ("train_msf", "all"))
    assert record["command"].startswith("ipt msf --") and ", then ipt ist --" in record["command"]
    assert 0 <= record["reference"]["unseen"] <= 1 and line["tasks"] == 3


def test_a_terminal_of_80_columns_shows_whole_words_and_the_file_every_column(
    file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(file, tmp_path, "--only", "toy-seed1-ours") == 0
    printed, kept = (
        capsys.readouterr().out,
        json.loads((tmp_path / "results" / "toy.json").read_text()),
    )
    columns = study_table(kept).columns
    assert (
        "unseen, score" in columns
        and "PCA" in printed.split()
        and "…" not in printed[printed.rindex("cell") :]
    )
    assert f"{tmp_path / 'results' / 'toy.md'}" in printed.replace("\n", "")
    whole = (tmp_path / "results" / "toy.md").read_text().splitlines()
    assert whole[0] == f"| {' | '.join(columns)} |" and len(whole) == 2 + len(kept["rows"])


def test_a_study_on_the_terminal_has_means_alone():
    cell = {
        "seed": 1,
        "digest": "",
        "prompts": "",
        "parameters": 9,
        "lines": [],
        "reference": {"unseen": 0.8},
    }
    cells = []
    for share in (0.641, 0.701, None):
        line = {
            "setting": "test",
            "group": "all",
            "absolute": 0.5,
            "relative": share,
            "floored": None,
        }
        cells.append(cell | {"lines": [line]})
    found = study_means(study_summary({"d, 5 (x)": cells, "d 9": [None]}, ""))
    assert found.columns == [
        "cell",
        "seeds",
        "unseen",
        "unseen, above floor",
        "prompt tuning, unseen",
    ]
    assert found.rows[0] == ["d, 5 (x)", "3 of 3", "67.1 [2 of 3]", "–", "0.800"]
    assert found.rows[1] == ["d 9", "0 of 1", "open", "open", "open"]


def test_the_figure_shows_lines_that_have_a_cell(tmp_path):
    shares = {"test": (0.5, -0.2), "pca_test": (None, None)}
    cell = {
        "lines": [
            {"setting": s, "group": "all", "relative": r, "floored": f}
            for s, (r, f) in shares.items()
        ]
    }
    with patch("ipt.analysis.study.recovery_dots", wraps=recovery_dots) as dots:
        study_figure({"d 5": [cell, cell, None], "d 10": [None]}, tmp_path / "toy.png")
        study_figure({"d 10": [None]}, tmp_path / "nothing.png")
    assert [call.args[1] for call in dots.call_args_list] == [
        {"d 5": {"unseen": [0.5, 0.5]}},
        {"d 5": {"unseen": [-0.2, -0.2]}},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["toy.png"]


def test_dev_scores_are_kept_apart_from_test_scores(file, tmp_path):
    assert run(file, tmp_path, "--only", "toy-seed1-ours") == 0
    record = json.loads(file.read_text())
    record["cells"][0] |= {"name": "dev", "held-out": "dev"}
    other = file.with_name("dev.json")
    other.write_text(json.dumps(record))
    assert run(other, tmp_path, "--only", "dev-seed1-ours") == 0
    names = {path.name for path in tmp_path.glob("runs/bank/*/reference-*.json")}
    assert names == {"reference-6.json", "reference-6-dev.json"}
    configs = [json.loads(p.read_text())["config"] for p in tmp_path.glob("runs/ist-*/config.json")]
    assert sorted(c.get("held_out", "test") for c in configs) == [
        "dev",
        "test",
    ]  # IST inherits it from its MSF run


def test_a_cell_may_ask_for_parts_of_ist_alone(file, tmp_path):
    assert run(file, tmp_path, "--only", "toy-seed1-ours") == 0
    record = json.loads(file.read_text())
    record["cells"][0] |= {"name": "some", "recipe": "ours", "seed": 1}
    record["cells"][0]["ist"]["part"] = [["pca", "unseen"]]
    file.write_text(json.dumps(record))
    assert run(file, tmp_path) == 0
    whole, some = (
        json.loads((tmp_path / "results" / f"{name}.json").read_text())
        for name in ("toy-seed1-ours", "some")
    )
    assert [
        x
        for x in whole["lines"]
        if x["setting"]
        not in (
            "train_same",
            "train_diff",
            "start_test",
            "random_test",
            "mixture_test",
            "best_seen",
            "nearest_seen",
            "choice_test",
        )
    ] == some["lines"]
    assert len(some["lines"]) < len(whole["lines"])


def test_a_cell_of_rivals_alone_shows_no_subspace(file, tmp_path):
    record = json.loads(file.read_text())
    record["cells"][0] |= {
        "name": "rival",
        "recipe": "ours",
        "seed": 1,
        "ist": {"part": [["mixture"]]},
    }
    file.write_text(json.dumps(record))
    assert run(file, tmp_path) == 0
    kept = json.loads((tmp_path / "results" / "rival.json").read_text())
    found = {x["setting"] for x in kept["lines"]}
    assert found == {"mixture_test", "best_seen", "nearest_seen"} and kept["parameters"] is None
    table = study_table(json.loads((tmp_path / "results" / "toy.json").read_text()))
    cell = dict(zip(table.columns, table.rows[0], strict=True))
    assert (
        cell["decoder's parameters"] == "–"
        and "seen, MSF" not in cell
        and cell["mixture"] != "open"
    )


def test_a_study_under_a_protocol_has_its_table_and_each_cell_the_hash(world, file, tmp_path):
    results = tmp_path / "results"
    # The same tasks for both seeds, which else draw their own.
    split = {"tasks": str(world / "tasks"), "seen": SEEN, "unseen": REST}
    file.with_name("split.json").write_text(json.dumps(split))
    record = json.loads(file.read_text())
    for flag in ("seen", "unseen"):
        del record["cells"][0][flag]
    record["cells"][0]["tasks"] = str(file.with_name("split.json"))
    file.write_text(json.dumps(record))
    rules = file.with_name("rules.md")
    rules.write_bytes(b"Compare on unseen tasks.")
    digest = hashlib.sha256(rules.read_bytes()).hexdigest()
    # Control: without the key there is none of it.
    assert run(file, tmp_path, "--only", "toy-seed2-ours") == 0
    assert not list(results.glob("*-protocol*"))
    file.write_text(json.dumps(record | {"protocol": "rules.md"}))
    assert run(file, tmp_path, "--only", "toy-seed1-ours") == 0
    cells = [json.loads((results / f"toy-seed{seed}-ours.json").read_text()) for seed in (1, 2)]
    assert cells[0]["protocol"] == digest and "protocol" not in cells[1]
    assert cells[0]["seen"] == 3 and "strata" not in cells[0]

    table = json.loads((results / "toy-protocol.json").read_text())
    # A cell of before is told by its empty hash.
    assert (table["kind"], table["protocol"]) == ("protocol", ["", digest])
    assert (table["done"], table["planned"], table["seed"]) == (2, 4, "1, 2")
    found = {row["condition"]: row for row in table["rows"]}
    assert found.keys() == set(METHODS) - {"head_alone", "tuned"}
    for condition, row in found.items():
        scores = [value[0] for cell in cells for value in cell["tasks"][condition].values()]
        assert row["score"] == pytest.approx(sum(scores) / 4, abs=1e-6), condition
        assert (row["tasks"], row["seeds"], row["seen"]) == (2, 2, [3, 3])
    shown = (results / "toy-protocol.md").read_text()
    assert all(BY_NAME[condition].title in shown for condition in found)
    assert (results / "toy-protocol.png").read_bytes()[:4] == b"\x89PNG"


def test_open_cells_are_printed_as_open():
    lines = [
        {"setting": "test", "group": "all", "absolute": 0.4, "relative": 0.5, "floored": None},
        {"setting": "test", "group": "rule", "relative": 0.6},
    ]
    record = {
        "digest": "x",
        "seed": 1,
        "prompts": "abcdef012",
        "parameters": 1234,
        "reference": {"unseen": 0.7},
        "lines": lines,
    }
    other = record | {"seed": 2, "lines": [line | {"relative": 0.7} for line in lines]}
    fewer = other | {"lines": lines[1:]}  # a cell whose IST did other parts
    lines_of = {"a": [record, other], "b": [None], "c": [record, None], "d": [record, fewer]}
    found = study_summary(lines_of, "ipt study x")
    table = study_table(found)
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [c["seeds"] for c in cells] == ["2 of 2", "0 of 1", "1 of 2", "2 of 2"]
    assert [c["unseen"] for c in cells] == ["60.0 (50.0 … 70.0)", "open", "50.0", "50.0 [1 of 2]"]
    assert cells[2]["unseen, score"] == "0.400" and found["seed"] == "1, 2"
    assert (
        cells[0]["prompts' hash"] == "abcdef"
        and cells[0]["decoder's parameters"] == "1,234"
        and cells[1]["prompts' hash"] == ""
    )
    assert (
        cells[0]["unseen, above floor"] == "–"
        and cells[0]["prompt tuning, unseen"] == "0.700 (0.700 … 0.700)"
    )


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ({}, "list of `cells`"),
        ({"cells": [{"dim": 5}]}, "needs a name"),
        ({"cells": [{"name": "a"}, {"name": "a"}]}, "two cells are a"),
        ({"cells": [{"name": "a"}], "protocol": "none.md"}, "'none.md' is no file beside it"),
        ({"cells": [{"name": "a", "dims": 5}]}, "--dims"),
        ({"cells": [{"name": "a", "recipe": "mine"}]}, "--recipe"),
        (
            {"cells": [{"name": "a"}, {"name": "b", "tune": {"shots": 64}}]},
            "needs 64 train and 64 dev rows",
        ),
        (
            {"cells": [{"name": "a"}, {"name": "b", "tune": {"shots": 32}}]},
            "data seed 21 needs 32 train",
        ),  # other data
    ],
)
def test_mistakes_in_a_study_are_told_before_any_work(record, says, tmp_path, capsys):
    path = tmp_path / "s.json"
    path.write_text(json.dumps(record))
    assert run(path, tmp_path) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and not (tmp_path / "runs").exists()


def test_kept_figures_of_another_command_are_not_taken(file, tmp_path, capsys):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "toy-seed1-ours.json").write_text(
        json.dumps({"command": "ipt msf --alpha 3", "settings": {}})
    )
    assert run(file, tmp_path, "--dry-run") == 2
    assert "another command" in capsys.readouterr().err


def test_a_cell_of_other_defaults_is_not_taken_for_done(file, tmp_path, capsys):
    assert run(file, tmp_path, "--only", "toy-seed1-ours") == 0
    path = tmp_path / "results" / "toy-seed1-ours.json"
    record = json.loads(path.read_text())
    assert record["settings"]["ist"]["steps"] == 4 and record["settings"]["msf"]["alpha"] == 2
    record["settings"]["ist"]["patience"] += 1  # as if the default had been another one
    path.write_text(json.dumps(record))
    capsys.readouterr()
    assert run(file, tmp_path, "--dry-run") == 2
    assert "other defaults" in capsys.readouterr().err
