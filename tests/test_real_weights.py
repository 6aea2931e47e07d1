"""Real pre-trained weights and real tasks: SmolLM2-135M-Instruct (`make smollm2`) on short classification tasks."""

import copy
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from soft_prompts import generate, losses, nll

from ipt.backbones.base import Encoded
from ipt.backbones.causal import CausalLM
from ipt.backbones.loading import load_backbone
from ipt.cli import app as cli
from ipt.config import TuneConfig, WorkConfig
from ipt.experiment import encode_tasks
from ipt.resolve import open_experiment
from ipt.run import Run
from ipt.storage import read_tensors
from ipt.tasks.readers import schema
from ipt.training.loop import row_losses

MODEL, TASKS = os.environ.get("IPT_SMOLLM2", ""), os.environ.get("IPT_REAL_TASKS", "")
pytestmark = [
    pytest.mark.skipif(
        not MODEL, reason="set IPT_SMOLLM2 to the folder that `make smollm2` writes"
    ),
    pytest.mark.skipif(
        not TASKS, reason="set IPT_REAL_TASKS to a folder of real tasks in the schema"
    ),
]


@pytest.fixture(scope="module")
def smollm2():
    return load_backbone(MODEL, 10)


def test_the_weights_know_something(smollm2):
    assert isinstance(smollm2, CausalLM) and smollm2.max_input == 256
    prompt = smollm2.text_embeddings("The capital of France is")[None]
    row_of = lambda word: Encoded((), tuple(smollm2.ids(word)))
    right, wrong = (float(nll(smollm2, prompt, [row_of(word)])) for word in (" Paris", " Berlin"))
    assert right < 1 < wrong


def test_losses_and_answers_are_pefts_row_by_row_whatever_the_company(smollm2):
    texts = ("a gorgeous, witty film .", "What is the capital of France ?", "no")
    answers = (" positive", " location", " a longer answer")
    rows = smollm2.encode(texts, answers)
    questions = ("Is this film good?", "What is it about?", "Say something else, please")
    leads = torch.stack([smollm2.text_embeddings(words)[:4] for words in questions])
    together, written = losses(smollm2, leads, rows), generate(smollm2, leads, rows, 6)
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
    peft = get_peft_model(copy.deepcopy(smollm2.model), config).eval()
    for i, row in enumerate(rows):
        peft.prompt_encoder["default"].embedding.weight.data = leads[i].clone()
        ids = torch.tensor([row.input_ids])
        whole = torch.tensor([row.input_ids + row.label_ids])
        labels = torch.tensor([(-100,) * len(row.input_ids) + row.label_ids])
        loss = float(
            peft(input_ids=whole, attention_mask=torch.ones_like(whole), labels=labels).loss
        )
        assert float(together[i]) == pytest.approx(loss, rel=1e-5)
        assert float(losses(smollm2, leads[i : i + 1], [row])) == pytest.approx(loss, rel=1e-5)
        other = float(losses(smollm2, leads[i - 1 : i or None], [row]))
        assert other != pytest.approx(loss, rel=1e-3)  # control: another prompt
        found = peft.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=6,
            do_sample=False,
            num_beams=1,
        )
        assert smollm2.texts(found[:, ids.shape[1] :]) == written[i : i + 1]


@pytest.fixture
def three(tmp_path):
    (tmp_path / "tasks").mkdir()
    for name in ("mpqa", "clickbait", "names_gender"):
        shutil.copy(Path(TASKS) / f"{name}.json.gz", tmp_path / "tasks")
    return [
        "--tasks",
        str(tmp_path / "tasks"),
        "--model",
        MODEL,
        "--test-rows",
        "2",
        "--out",
        str(tmp_path),
    ]


def test_prompt_tuning_on_a_real_task_gets_below_the_untrained_start(three, tmp_path):
    few = [
        "--steps",
        "20",
        "--eval-every",
        "20",
        "--learning-rates",
        "0.1",
        "--shots",
        "4",
        "--seen",
        "1",
    ]
    assert cli.main(["tune", *three, *few]) == 0
    (task,) = (
        t
        for t in schema.load(tmp_path / "tasks")
        if list(tmp_path.glob(f"bank/*/{t.name}.safetensors"))
    )
    work = WorkConfig(tasks=str(tmp_path / "tasks"), model=MODEL, seen=1, out=tmp_path)
    experiment = open_experiment(work, TuneConfig(shots=4))
    (data,) = encode_tasks(experiment, [task.name], 100)
    start = experiment.model.initialize(experiment.seed)
    owner = [0] * len(data.dev)
    untrained = row_losses(experiment.model, start[None], owner, data.dev, 2048).mean()
    note = read_tensors(next(tmp_path.glob("bank/*/*.safetensors")))[1]["note"]
    assert json.loads(note)["dev_loss"] < untrained


def test_the_whole_job_runs_on_three_real_tasks(three, tmp_path):
    few = [
        "--tune.steps",
        "2",
        "--tune.eval-every",
        "2",
        "--tune.learning-rates",
        "0.1",
        "--tune.shots",
        "2",
    ]
    steps = ["--steps", "2", "--eval-every", "2", "--rows-per-step", "2"]
    assert (
        cli.main(
            [
                "msf",
                *three,
                "--seen",
                "2",
                "--unseen",
                "1",
                *few,
                *steps,
                "--dim",
                "2",
                "--inner-width",
                "32",
            ]
        )
        == 0
    )
    assert (
        cli.main(["ist", "--dim", "2", "--learning-rates", "0.3", "--out", str(tmp_path), *steps])
        == 0
    )
    (run,) = (Run(path.parent) for path in tmp_path.glob("ist-*/result.json"))
    assert set(run.result["scores"]) >= {
        "train_same",
        "train_diff",
        "test",
        "random_test",
        "mixture_test",
    }
