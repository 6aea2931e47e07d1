"""`ipt stability`: means, recovery and spread over seeds, on planted scores and in a small world."""

import json

import numpy as np
import pytest
from conftest import ist_words

from ipt.cli import app as cli
from ipt.storage import read_tensors
from ipt.workflows.stability import FROM, IST, MIXTURE, PROMPT, stability, to_json


def test_spread_and_recovery_of_planted_scores():
    rng = np.random.default_rng(0)
    draw = lambda mean, spread: {
        f"t{i}": list(mean + spread * rng.standard_normal(4000)) for i in range(3)
    }  # noqa: E731
    planted = {PROMPT: draw(0.5, 0.1), IST: draw(0.4, 0.02), FROM[IST]: draw(0.6, 0.05)}
    rows = {
        row.method: to_json(row)
        for row in stability(planted, dict.fromkeys(planted[PROMPT], 0.3))
    }
    names = ("mean_score", "relative", "floored", "spread", "spread_ratio")
    figures = {what: [row[name] for name in names] for what, row in rows.items()}
    assert figures[PROMPT] == pytest.approx(
        [0.5, 1, 1, 0.1, 1], rel=0.02
    )  # the reference against itself
    assert figures[IST] == pytest.approx([0.4, 0.8, 0.5, 0.02, 0.2], rel=0.03)
    assert figures[FROM[IST]] == pytest.approx([0.6, 1.2, 1.5, 0.05, 0.5], rel=0.03)
    assert (rows[IST]["tasks"], rows[IST]["seeds"]) == (3, 4000)


def test_a_task_that_prompt_tuning_never_does_counts_in_means_only():
    scores = {PROMPT: {"a": [0.5, 0.5], "b": [0.0, 0.0]}, IST: {"a": [0.5, 0.4], "b": [1.0, 1.0]}}
    rows = {row.method: to_json(row) for row in stability(scores, {"a": 0.1, "b": 0.0})}
    figures = [rows[IST][name] for name in ("mean_score", "relative", "floored")]
    assert figures == pytest.approx([0.725, 0.9, 0.875]) and rows[PROMPT]["spread_ratio"] is None


def test_all_seeds_of_the_five_methods(done, tmp_path, capsys, monkeypatch):
    words = ["stability", *ist_words(done)[1:], "--runs", "3", "--file", str(tmp_path / "s.json")]
    monkeypatch.setattr("sys.argv", ["ipt", *words])
    assert cli.main() == 0
    (folder,) = done.glob("stability-*")
    kept = json.loads((tmp_path / "s.json").read_text())
    assert [row["method"] for row in kept["rows"]] == [
        PROMPT,
        IST,
        MIXTURE,
        FROM[IST],
        FROM[MIXTURE],
    ]
    assert all((row["tasks"], row["seeds"]) == (2, 3) for row in kept["rows"])
    tensors = read_tensors(folder / "vectors.safetensors")[0]
    assert tensors["vectors"].shape == (6, 2) and tensors["mixture"].shape == (
        6,
        3,
    )  # three seen prompts
    assert all(tensors[f"prompts from {what}"].shape == (6, 3 * 16) for what in (IST, MIXTURE))
    assert not np.allclose(tensors[f"prompts from {IST}"], tensors[f"prompts from {MIXTURE}"])
    assert not np.allclose(tensors["vectors"][:2], tensors["vectors"][2:4])  # seeds differ
    (ist,) = done.glob("ist-*")
    own = read_tensors(ist / "vectors.safetensors")[0]
    scores = json.loads((ist / "result.json").read_text())["scores"]
    for what, setting, kind in (
        (IST, "test", "vectors"),
        (MIXTURE, "mixture_test", "mixture"),
    ):  # the first seed is the run's own
        np.testing.assert_allclose(
            tensors[kind][:2], own["test" if what == IST else "mixture"], rtol=1e-3, atol=1e-3
        )
        expected = {name: score["generated"] for name, score in scores[setting].items()}
        assert {name: values[0] for name, values in kept["by_seed"][what].items()} == expected
        assert (
            len({tuple(values) for values in kept["by_seed"][what].values()}) == 2
        )  # control: tasks differ
    capsys.readouterr()
    assert (
        cli.main(["runs", "show", folder.name, "--out", str(done)]) == 0
        and "spread" in capsys.readouterr().out
    )
    assert cli.main(["runs", "--out", str(done)]) == 0
    assert (
        cli.main(["stability", *ist_words(done)[1:], "--runs", "1"]) == 2
        and "at least 2" in capsys.readouterr().err
    )
