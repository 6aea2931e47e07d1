"""PEFT folders number by number: what is written, which rows are read, whose prompt is whose, and what the digest sees."""

import hashlib
import json
import math
from types import SimpleNamespace

import pytest
import torch
from conftest import toy_backbone, toy_task

from ipt.backbones.causal import CausalLM
from ipt.backbones.masked import MaskedLM
from ipt.bank import open_bank
from ipt.config import TuneConfig, WorkConfig
from ipt.data import TaskSplit
from ipt.experiment import Experiment, GivenDeltas
from ipt.interop.peft import read_peft, read_prompts, write_peft
from ipt.progress import Reporter
from ipt.storage import read_tensors, write_json, write_tensors
from ipt.training.model import Model
from ipt.tuners.bare import Bare
from ipt.tuners.soft_prompt import SoftPrompt
from ipt.workflows.deltas import missing_tasks, tuned_deltas

THREE = SoftPrompt(prompt_length=3)
MODEL = Model(SimpleNamespace(name="models/t5", hidden_size=4, model=torch.nn.Module()), THREE)


def numbers(seed, rows=3, width=4):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def peft_folder(folder, rows, declared=3, **config):
    """Write the two files of a PEFT folder by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "adapter_model.safetensors", {"prompt_embeddings": rows})
    known = {
        "peft_type": "PROMPT_TUNING",
        "num_virtual_tokens": declared,
        "base_model_name_or_path": "models/t5",
    }
    write_json(folder / "adapter_config.json", known | config)
    return folder


def bare(kind, name):
    """A backbone that has a family, a name and a width, and no model."""
    backbone = kind.__new__(kind)
    backbone.name = name
    backbone.weight = torch.zeros(1, 16)
    return backbone


@pytest.mark.parametrize(
    ("backbone", "kind"),
    [(toy_backbone(), "SEQ_2_SEQ_LM"), (bare(CausalLM, "models/gpt"), "CAUSAL_LM")],
)
def test_a_written_folder_states_what_peft_needs_and_comes_back_bit_by_bit(
    tmp_path, backbone, kind
):
    prompt = numbers(1, rows=3, width=16)
    about = {"task": "first", "test_score": 0.5}
    write_peft(prompt.flatten(), Model(backbone, THREE), tmp_path / "a" / "b", about)
    folder = tmp_path / "a" / "b"
    assert json.loads((folder / "adapter_config.json").read_text()) == {
        "peft_type": "PROMPT_TUNING",
        "task_type": kind,
        "base_model_name_or_path": backbone.name,
        "num_virtual_tokens": 3,
        "num_transformer_submodules": 1,
        "token_dim": 16,
        "inference_mode": True,
    }
    assert json.loads((folder / "ipt.json").read_text()) == {"task": "first", "test_score": 0.5}
    tensors, metadata = read_tensors(folder / "adapter_model.safetensors")
    assert tensors.keys() == {"prompt_embeddings"} and metadata == {"format": "pt"}
    read, name = read_peft(folder, 3, 16)
    assert torch.equal(read, prompt) and name == backbone.name


def test_a_folder_that_is_there_is_written_again(tmp_path):
    model = Model(toy_backbone(), THREE)
    for seed in (1, 2):
        write_peft(numbers(seed, width=16).flatten(), model, tmp_path / "a", {"seed": seed})
    assert torch.equal(read_peft(tmp_path / "a", 3, 16)[0], numbers(2, width=16))
    assert json.loads((tmp_path / "a" / "ipt.json").read_text()) == {"seed": 2}


def test_a_masked_model_has_no_peft_folder(tmp_path):
    with pytest.raises(
        ValueError, match="PEFT has no prompt tuning for masked models such as models/bert"
    ):
        model = Model(bare(MaskedLM, "models/bert"), THREE)
        write_peft(numbers(1, width=16).flatten(), model, tmp_path / "a", {})
    assert not list(tmp_path.iterdir())


def test_a_delta_of_another_tuner_is_neither_written_nor_read(tmp_path):
    model = Model(toy_backbone(), Bare())
    with pytest.raises(ValueError, match="^PEFT has no kind of adapter for .* the tuner bare$"):
        write_peft(torch.zeros(0), model, tmp_path / "a", {})
    assert not list(tmp_path.iterdir())
    peft_folder(tmp_path / "a", numbers(1, width=16))
    says = "does not fit --tuner bare: set --tuner soft-prompt:prompt_length=3$"
    with pytest.raises(ValueError, match=f"^{tmp_path}/a holds .* PROMPT_TUNING, .*{says}"):
        read_prompts(tmp_path, ("a",), model)
    given, _ = read_prompts(tmp_path, ("a",), Model(toy_backbone(), THREE))
    assert given.names == ("a",)  # control


def test_of_two_submodules_the_first_rows_are_read(tmp_path):
    both = numbers(1, rows=6)
    prompt, _ = read_peft(peft_folder(tmp_path, both), 3, 4)
    assert torch.equal(prompt, both[:3]) and not torch.equal(prompt, both[3:])


def test_a_prompt_in_half_precision_is_read_in_float32(tmp_path):
    half = numbers(1).to(torch.bfloat16)
    prompt, _ = read_peft(peft_folder(tmp_path, half), 3, 4)
    assert prompt.dtype == torch.float32 and torch.equal(prompt, half.float())


UNFIT = {
    "one row fewer": (
        numbers(1, rows=2),
        3,
        r"expected prompt_embeddings of 3 rows, found \{'prompt_embeddings': \[2, 4\]\}",
    ),
    "one row more": (numbers(1, rows=4), 3, "expected prompt_embeddings of 3 rows"),
    "three times the rows": (numbers(1, rows=9), 3, "expected prompt_embeddings of 3 rows"),
    "no rows": (numbers(1, rows=0), 0, "expected prompt_embeddings of 0 rows"),
    "a vector": (torch.ones(3), 3, "expected prompt_embeddings of 3 rows"),
    "a vector for a prompt of one": (torch.ones(4), 1, "expected prompt_embeddings of 1 rows"),
    "a number as text": (numbers(1, rows=3), "3", "expected prompt_embeddings of 3 rows"),
    "no number": (numbers(1, rows=3), None, "expected prompt_embeddings of None rows"),
    "twice a text": (numbers(1, rows=66), "33", "expected prompt_embeddings of 33 rows"),
    "another length": (
        numbers(1, rows=2),
        2,
        "holds a prompt of 2 vectors, 3 were asked for: set the prompt length to 2",
    ),
    "half of two": (numbers(1, rows=3), 6, "expected prompt_embeddings of 6 rows"),
    "another width": (
        numbers(1, width=5),
        3,
        r"holds vectors of 5 numbers \(for models/t5\), --model reads 4",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_rows_that_do_not_fit_are_refused_with_both_numbers(tmp_path, case):
    rows, declared, says = UNFIT[case]
    with pytest.raises(ValueError, match=f"{tmp_path}:? {says}"):
        read_peft(peft_folder(tmp_path, rows, declared), 3, 4)


def test_a_folder_without_a_model_name_is_read(tmp_path):
    folder = peft_folder(tmp_path, numbers(1))
    write_json(
        folder / "adapter_config.json", {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}
    )
    assert read_peft(folder, 3, 4)[1] == "a model without a name"


def test_a_null_is_no_models_name_and_a_byte_order_mark_no_fault(tmp_path):
    folder = peft_folder(tmp_path / "a", numbers(1), base_model_name_or_path=None)
    path = folder / "adapter_config.json"
    path.write_text("\ufeff" + path.read_text())
    given, notes = read_prompts(tmp_path, ("a",), MODEL)
    assert torch.equal(given.deltas["a"], numbers(1).flatten())
    assert notes[1:] == ["note: tuned for a model without a name, used with models/t5"]


def test_a_folder_that_is_a_prompt_itself_says_where_to_put_it(tmp_path):
    folder = peft_folder(tmp_path / "a", numbers(1))
    read_prompts(tmp_path, ("a",), MODEL)  # control
    with pytest.raises(ValueError, match="found one there itself; put it into a folder named"):
        read_prompts(folder, ("a",), MODEL)


def test_a_models_name_is_read_in_utf8_whatever_the_systems_encoding(tmp_path, monkeypatch):
    monkeypatch.setattr("io.text_encoding", lambda encoding, level=2: encoding or "latin-1")
    assert (
        read_peft(peft_folder(tmp_path, numbers(1), base_model_name_or_path="modèle"), 3, 4)[1]
        == "modèle"
    )


def test_each_prompt_belongs_to_the_task_that_its_folder_is_named_after(tmp_path):
    for seed, name in enumerate(("b", "c", "a")):
        peft_folder(tmp_path / name, numbers(seed))
    given, _ = read_prompts(tmp_path, ("c", "a", "d"), MODEL)
    assert given.names == ("a", "c") and list(given.deltas) == ["a", "c"]
    assert torch.equal(given.deltas["a"], numbers(2).flatten())
    assert torch.equal(given.deltas["c"], numbers(1).flatten())


def test_what_was_read_is_said_with_its_counts(tmp_path):
    for name in ("a", "c"):
        peft_folder(tmp_path / name, numbers(1))
    _, notes = read_prompts(tmp_path, ("a", "b", "c", "d", "e"), MODEL)
    assert notes == [f"prompts of 2 tasks are taken from {tmp_path}; 3 are tuned"]


def test_folders_of_no_task_and_other_models_are_said(tmp_path):
    for name in "tsrqpob":
        peft_folder(tmp_path / name, numbers(1))
    for name, model in zip("cdefg", ("m5", "m1", "m2", "m3", "m1"), strict=True):
        peft_folder(tmp_path / name, numbers(1), base_model_name_or_path=model)
    _, notes = read_prompts(tmp_path, tuple("bcdefgh"), MODEL)
    assert notes == [
        f"prompts of 6 tasks are taken from {tmp_path}; 1 are tuned",
        "note: PEFT folders of no task here: o, p, q, r, s",
        "note: tuned for m1, m2, m3, used with models/t5",
    ]
    other = Model(SimpleNamespace(name="m1", hidden_size=4, model=torch.nn.Module()), THREE)
    _, control = read_prompts(tmp_path, tuple("bopqrstcdefg"), other)
    assert control == [
        f"prompts of 12 tasks are taken from {tmp_path}; 0 are tuned",
        "note: tuned for m2, m3, m5, used with m1",
    ]


def test_a_folder_of_other_names_is_refused_with_five_of_them(tmp_path):
    for name in "gfedcb":
        peft_folder(tmp_path / name, numbers(1))
    with pytest.raises(
        ValueError,
        match=f"--prompts {tmp_path}: no PEFT folder is named after a task; found b, c, d, e, f$",
    ):
        read_prompts(tmp_path, ("a",), MODEL)


def digest(folder, names=("a", "b", "c")):
    return read_prompts(folder, names, MODEL)[0].digest


def test_the_digest_is_over_names_and_numbers(tmp_path):
    content = b""
    for seed, name in enumerate(("a", "b")):
        peft_folder(tmp_path / name, numbers(seed))
        content += name.encode() + numbers(seed).numpy().tobytes()
    assert digest(tmp_path) == hashlib.sha256(content).hexdigest()[:16]


def test_one_number_or_one_name_makes_another_digest(tmp_path):
    changed = numbers(1)
    changed[2, 3] += 1e-6
    folders = {
        "as it is": {"a": numbers(0), "b": numbers(1)},
        "one number": {"a": numbers(0), "b": changed},
        "one name": {"a": numbers(0), "c": numbers(1)},
        "swapped": {"a": numbers(1), "b": numbers(0)},
        "one left out": {"a": numbers(0)},
    }
    found = set()
    for case, prompts in folders.items():
        for name, prompt in prompts.items():
            peft_folder(tmp_path / case / name, prompt)
        found.add(digest(tmp_path / case))
    assert len(found) == 5 and all(len(one) == 16 for one in found)


def test_what_is_not_read_is_not_in_the_digest(tmp_path):
    peft_folder(tmp_path / "one" / "a", numbers(0))
    peft_folder(
        tmp_path / "more" / "a",
        torch.cat([numbers(0), numbers(5)]),
        base_model_name_or_path="another",
    )
    peft_folder(tmp_path / "more" / "z", numbers(3))  # no task
    assert digest(tmp_path / "one") == digest(tmp_path / "more")


def experiment(out, given):
    tasks = {name: toy_task(name, rows=20) for name in ("first", "second", "last")}
    split = TaskSplit("toy", ("first", "second"), ("last",))
    return Experiment(
        model=Model(toy_backbone(), THREE),
        split=split,
        tasks=tasks,
        work=WorkConfig(seed=42, out=out),
        tune=TuneConfig(),
        given=given,
        reporter=Reporter(),
    )


def given_two():
    deltas = {"first": numbers(1, width=16).flatten(), "second": numbers(2, width=16).flatten()}
    return GivenDeltas(("first", "second"), "0123", deltas)


def bank_folder(mine, data_seed=100):
    return open_bank(mine, data_seed).folder


def test_given_prompts_are_joined_to_their_tasks_in_the_order_that_is_asked_for(tmp_path):
    given = given_two()
    found = tuned_deltas(experiment(tmp_path, given), ["second", "first"], 100)
    assert torch.equal(found, torch.stack([given.deltas["second"], given.deltas["first"]]))
    only = experiment(tmp_path / "one", given)
    assert torch.equal(tuned_deltas(only, ["second"], 100)[0], given.deltas["second"])
    files = [path.name for path in bank_folder(only).glob("*.safetensors")]
    assert files == ["second.safetensors"]


def test_a_given_prompt_is_kept_without_a_rate_or_a_loss(tmp_path):
    mine = experiment(tmp_path, given_two())
    tuned_deltas(mine, ["first"], 100)
    kept = open_bank(mine, 100).get(mine.tasks["first"])
    assert (kept.learning_rate, kept.steps) == (0.0, 0) and math.isnan(kept.dev_loss)


def test_given_prompts_are_of_the_same_data_only(tmp_path):
    """Prompts of other data are tuned whatever was given, and their bank is the one that they have without it."""
    mine, plain = experiment(tmp_path, given_two()), experiment(tmp_path, GivenDeltas())
    names = ["last", "first"]
    assert [task.name for task in missing_tasks(mine, names, 100)] == ["last"]
    assert [task.name for task in missing_tasks(mine, names, 21)] == ["last", "first"]
    assert bank_folder(mine, 21) == bank_folder(plain, 21)
    assert bank_folder(mine) != bank_folder(plain)


def test_a_run_that_is_opened_again_has_the_given_prompts_from_its_bank(tmp_path):
    first = experiment(tmp_path, given_two())
    tuned_deltas(first, ["first", "second"], 100)
    again = experiment(tmp_path, GivenDeltas(("first", "second"), "0123"))
    assert torch.equal(tuned_deltas(again, ["second"], 100)[0], given_two().deltas["second"])
    (bank_folder(first) / "second.safetensors").unlink()
    assert torch.equal(tuned_deltas(again, ["first"], 100)[0], given_two().deltas["first"])
    lost = "has lost the delta of second, which came from a PEFT folder; run `ipt msf` again"
    with pytest.raises(ValueError, match=lost):
        tuned_deltas(again, ["first", "second"], 100)
