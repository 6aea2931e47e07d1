"""`ipt bench --tuner`: the formula of a job's memory is what tensors hold; PEFT trains as many numbers."""

import json

import pytest
import torch
from test_bench import words
from test_tuners import ALL, backbone, deltas_of, rows_of

from ipt.benchmarks.tuners import PeftLoop, chosen_tuners, has_peft, job_memory
from ipt.cli import app as cli
from ipt.config import TuneConfig
from ipt.training.loop import Job, Loop, Row
from ipt.training.model import Model
from ipt.training.source import Decoded, Free
from ipt.tuners import TUNERS, parse_tuner
from ipt.tuners.soft_prompt import SoftPrompt


@pytest.mark.parametrize("text", ALL)
def test_a_jobs_memory_by_formula_is_what_its_tensors_hold(text):
    model = Model(backbone("gpt2"), parse_tuner(text))
    row = Row(0, rows_of(model.backbone)[0])
    job = Job("one", ((row,),), (row,), 0.1, 0, 3)
    held = []
    for count in (1, 3):
        values = model.first_values(1).float()
        source = Free(values, count)
        if model.network is not None:
            source = Decoded(values.expand(count, -1), model.network.deltas)
        tensors = Loop(source, [job] * count, model.device).tensors()
        numbers = [t.nbytes for name, t in tensors.items() if "." in name]
        held.append(sum(numbers) + source.values.nbytes)  # the gradient is as large as the values
    memory = job_memory(model, 4)
    assert held[1] - held[0] == 2 * memory.state
    gathered = deltas_of(model, 1).float()[torch.zeros(4, dtype=torch.long)]
    rows = 4 if model.tuner.mixes_rows else 1
    assert memory.gathered == 2 * gathered[:rows].nbytes
    assert held[1] != 2 * memory.state  # control


@pytest.mark.parametrize("text", ("soft-prompt:", "prefix:", "lora:", "ia3:"))
def test_peft_trains_as_many_numbers_and_takes_a_step(text):
    model = Model(backbone("llama"), parse_tuner(text))
    row = Row(0, rows_of(model.backbone)[0])
    assert has_peft(model) and not has_peft(Model(model.backbone, parse_tuner("side")))
    loop = PeftLoop(model, TuneConfig())
    assert sum(weight.numel() for weight in loop.trained) == model.size
    before = [weight.detach().clone() for weight in loop.trained]
    loop.step_all([Job("one", ((row,),), (row,), 0.1, 0, 1)])
    moved = [not torch.equal(a, b) for a, b in zip(before, loop.trained, strict=True)]
    assert any(moved)


def test_all_are_measured_that_a_model_can_take():
    mini = Model(backbone("mini"), SoftPrompt())
    names = [tuner.description for tuner in chosen_tuners(mini, "all")]
    assert {name.split(":")[0] for name in names} == set(TUNERS)
    assert any(name.startswith("bias:at=linears") for name in names)  # T5 has no biases
    assert names[-1].startswith("lora:") and "layers=3" in names[-1]
    assert [tuner.name for tuner in chosen_tuners(mini, "ia3")] == ["soft-prompt", "ia3"]
    with pytest.raises(ValueError, match="--tuner must be one of soft-prompt"):
        chosen_tuners(mini, "lorra")


def test_the_command_prints_and_writes_each_tuner(world, tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert cli.main(words(world, "--tuner", "partial-k", "--file", str(file))) == 0
    values = json.loads(file.read_text())["values"]
    found = {(value["what"].split(",")[0], value["against"]) for value in values}
    assert found == {
        ("soft-prompt", "the shallow prompt"),
        ("soft-prompt", "PEFT, one job at a time"),
        ("partial-k", "the shallow prompt"),
        ("partial-k", "without kept states"),
    }
    assert all(value["ours"] > 0 for value in values)
    assert "MB of state" in capsys.readouterr().out
    assert cli.main(words(world, "--tuner", "lorra")) == 2
