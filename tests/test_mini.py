"""The embedded backbone and suite together in a small real run; notebooks as they are committed."""

from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest
import torch
from soft_prompts import score_prompts

from ipt.backbones.loading import MINI, load_backbone
from ipt.cli import app as cli
from ipt.data import DIFF_DATA_SEED, SAME_DATA_SEED
from ipt.encoded import EncodedTask
from ipt.methods.subspace import Subspace
from ipt.run import Run
from ipt.storage import read_tensors
from ipt.tasks.suites import embedded

NOTEBOOKS = sorted((Path(__file__).parent.parent / "analysis" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def mini():
    return load_backbone("mini")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("mini")
    few = ["--test-rows", "2", "--preset", "quick", "--out", str(out), "--steps", "10"]
    assert (
        cli.main(
            [
                "msf",
                "--tasks",
                "ari_m*,gra_tense,let_*",
                "--seen",
                "4",
                "--unseen",
                "2",
                "--tune.steps",
                "10",
                *few,
            ]
        )
        == 0
    )
    assert cli.main(["ist", "--dim", "5", *few]) == 0
    return out


def test_it_is_small_and_loads_offline(mini):
    size = sum(path.stat().st_size for path in MINI.iterdir())
    assert size < 16e6 and sum(p.numel() for p in mini.model.parameters()) < 8e6
    assert {p.dtype for p in mini.model.parameters()} == {torch.float32}


def test_digits_are_single_tokens(mini):
    assert len(mini.tokenizer("2026", add_special_tokens=False)["input_ids"]) == 4


def test_a_definition_does_more_than_no_definition(mini):
    tasks = [t for t in embedded.load(embedded.load_split("random-20").seen) if not t.novel][:8]
    data = [EncodedTask.draw(mini, task, SAME_DATA_SEED, limit=20) for task in tasks]
    told = []
    for t, d in zip(tasks, data, strict=True):
        definition = mini.text_embeddings(t.definition + "\n")[None]
        told += score_prompts(mini, definition, [d], rank=False)
    untold = score_prompts(mini, torch.zeros(len(data), 0, mini.hidden_size), data, rank=False)
    assert sum(s.generated for s in told) > sum(s.generated for s in untold) + 0.5


def test_a_small_run_is_complete_and_its_scores_are_those_of_its_numbers(mini, small_run):
    """Every task of the split has five numbers in each setting, and a score that its decoded prompt has on its test rows."""
    run = Run(next(small_run.glob("ist-*")))
    result, vectors = run.result, read_tensors(run.folder / "vectors.safetensors")[0]
    split = result["split"]
    tasks = {task.name: task for task in embedded.load([*split["seen"], *split["unseen"]])}
    assert (
        len(split["seen"]) == 4
        and len(split["unseen"]) == 2
        and set(result["tasks"]) == set(result["floor"]) == set(tasks)
    )
    subspace = Subspace.load(small_run / run.config["msf_run"] / "subspace")
    settings = (
        ("train_same", "seen", SAME_DATA_SEED),
        ("train_diff", "seen", DIFF_DATA_SEED),
        ("test", "unseen", SAME_DATA_SEED),
    )
    for setting, part, data_seed in settings:
        assert vectors[setting].shape == (len(split[part]), 5)
        data = [EncodedTask.draw(mini, tasks[name], data_seed, limit=2) for name in split[part]]
        with torch.no_grad():
            prompts = subspace.decode(vectors[setting]).view(len(data), -1, mini.hidden_size)
            scores = score_prompts(mini, prompts, data)
        found = {}
        for d, s in zip(data, scores, strict=True):
            found[d.task.name] = asdict(s.rounded())
        assert found == result["scores"][setting]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_short_and_committed_without_outputs(path):  # `make docs` executes them
    cells = nbformat.read(path, 4).cells
    assert 0 < len(cells) <= 15 and not any(
        cell.get("outputs") or cell.get("execution_count") for cell in cells
    )


def test_the_notebook_of_results_says_in_one_line_what_is_missing(tmp_path, monkeypatch):
    path = next(path for path in NOTEBOOKS if path.stem.startswith("03"))
    cells = nbformat.read(path, 4).cells
    first = next(cell.source for cell in cells if cell.cell_type == "code")
    monkeypatch.setenv("IPT_RESULTS", str(tmp_path))
    with pytest.raises(SystemExit) as told:
        exec(first, {})
    assert str(told.value).startswith(f"no results in {tmp_path}; set IPT_RESULTS")
    monkeypatch.setenv("IPT_RESULTS", str(path.parents[2] / "results"))
    names = {}
    exec(first, names)  # control
    assert len(names["table"]) > 0
