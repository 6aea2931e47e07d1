"""The embedded backbone and suite together in a small real run; notebooks as they are committed."""

from pathlib import Path

import nbformat
import pytest
import torch

from ipt import cli
from ipt.data import SAME_DATA_SEED
from ipt.evaluate import TaskData, score_prompts
from ipt.families import MINI, load_backbone
from ipt.run import Run
from ipt.tasks import suite

NOTEBOOKS = sorted((Path(__file__).parent.parent / "analysis" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def mini():
    return load_backbone("mini")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    out = tmp_path_factory.mktemp("mini")
    few = ["--limit", "2", "--preset", "quick", "--out", str(out), "--steps", "10"]
    assert cli.main(["msf", "--tasks", "ari_m*,gra_tense,let_*", "--seen", "4", "--unseen", "2", "--tune.steps", "10", *few]) == 0
    assert cli.main(["ist", "--dim", "5", *few]) == 0
    return out


def test_it_is_small_and_loads_offline(mini):
    size = sum(path.stat().st_size for path in MINI.iterdir())
    assert size < 16e6 and sum(p.numel() for p in mini.model.parameters()) < 8e6
    assert {p.dtype for p in mini.model.parameters()} == {torch.float32}


def test_digits_are_single_tokens(mini):
    assert len(mini.tokenizer("2026", add_special_tokens=False)["input_ids"]) == 4


def test_a_definition_does_more_than_no_definition(mini):
    tasks = [t for t in suite.load(suite.split("random-20").seen) if not t.novel][:8]
    data = [TaskData.draw(mini, task, SAME_DATA_SEED, limit=20) for task in tasks]
    told = [score_prompts(mini, mini.text_prompt(t.definition + "\n")[None], [d], rank=False)[0] for t, d in zip(tasks, data, strict=True)]
    untold = score_prompts(mini, torch.zeros(len(data), 0, mini.hidden_size), data, rank=False)
    assert sum(s.generated for s in told) > sum(s.generated for s in untold) + 0.5


def test_a_small_run_is_complete(small_run):
    result = Run(next(small_run.glob("ist-*"))).result
    assert result["kind"] == "ist" and len(result["scores"]["train_same"]) == 4 and len(result["scores"]["test"]) == 2
    assert set(result["floor"]) == set(result["tasks"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_short_and_committed_without_outputs(path):  # `make docs` executes them
    cells = nbformat.read(path, 4).cells
    assert 0 < len(cells) <= 15 and not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
