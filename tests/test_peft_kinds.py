"""Deltas of every tuner out and in: PEFT's folders load in PEFT with the same loss, and come back as the same delta."""

import copy
import json
import re
import warnings
from pathlib import Path

import peft
import pytest
import torch
from conftest import msf_words
from peft import PeftModel
from peft_models import copied, nll_of, peft_model
from test_tuners import MODELS, SETTINGS, deltas_of, rows_of
from test_tuners import backbone as loaded
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.cli import app as cli
from ipt.interop.folder import CONFIG, WEIGHTS
from ipt.interop.layout import ABOUT, PARTS
from ipt.interop.peft import KINDS, read_prompts, write_delta
from ipt.run import Run
from ipt.storage import read_json, read_tensors, write_json, write_tensors
from ipt.training.model import Model
from ipt.tuners import parse_tuner

EVERYWHERE = tuple(MODELS)
GENERATE = ("mini", "bart", "gpt2", "llama")
# A tuner's description, and the models whose deltas of it PEFT can hold, by PEFT's kind.
HELD = {
    "PROMPT_TUNING": [("soft-prompt:prompt_length=3", GENERATE)],
    "P_TUNING": [("p-tuning:template=3", GENERATE)],
    "PREFIX_TUNING": [
        ("prefix:prefix_length=3", ("gpt2", "llama", "bert", "roberta")),
        ("prefix:prefix_length=3,network=mlp,network_width=4", ("llama",)),
        ("prefix:prefix_length=3,stacks=decoder", ("bart", "gpt2")),
    ],
    "LORA": [
        ("lora:rank=2", ("mini", *EVERYWHERE)),
        ("lora:rank=3,alpha=4.5,targets=up+output+down,layers=1", ("mini", *EVERYWHERE)),
        ("lora:rank=2,matrices=b", ("mini", "bert")),
    ],
    "IA3": [("ia3:", ("mini", *EVERYWHERE)), ("ia3:targets=value+down,layers=0", EVERYWHERE)],
    "BEFT": [("bias:at=linears", ("mini", "bart", "bert", "roberta", "llama"))],
}
CASES = []
for KIND, TUNERS in HELD.items():
    for TEXT, NAMES in TUNERS:
        CASES += [(KIND, TEXT, NAME) for NAME in NAMES]
# Why PEFT cannot hold a delta.
NOT_HELD = [
    ("soft-prompt:prompt_length=3", "bert", "no prompt tuning for masked models"),
    ("p-tuning:template=1+2,separator=a", "gpt2", "between the parts of an input"),
    ("prefix:prefix_length=2", "bart", "in every layer, of an encoder-decoder in the decoder"),
    ("prefix:prefix_length=2,layers=1", "gpt2", "in every layer"),
    ("prefix:prefix_length=2,stacks=decoder", "mini", "relative position bias"),
    ("bias:", "bart", r"nn.Linear alone \(bias:at=linears\)"),
    ("bias:at=linears", "gpt2", "nn.Linear alone"),
    ("deep-prompt:prompt_length=2", "bart", "no kind of adapter for deltas of .* deep-prompt"),
    ("adapter:width=2", "mini", "no kind of adapter for deltas of the tuner adapter"),
    ("side:width=3", "roberta", "tuner side"),
    ("partial-k:k=1", "llama", "tuner partial-k"),
    ("full:", "bert", "tuner full"),
]
_SINGLE: dict[str, Backbone] = {}


def backbone(kind: str) -> Backbone:
    """A model in float32, as users have it."""
    if kind not in _SINGLE:
        single = copy.deepcopy(loaded(kind))
        single.model.float()
        single.__dict__.pop("fingerprint", None)
        single.__dict__.pop("sites", None)
        _SINGLE[kind] = type(single)(single.model, single.tokenizer, f"models/{kind}")
    return _SINGLE[kind]


def model_of(kind: str, text: str) -> Model:
    return Model(backbone(kind), parse_tuner(text))


def delta_of(model: Model) -> Tensor:
    """A delta far enough from its start to change the loss."""
    return (deltas_of(model, 1)[0] * 3).float()


def read(root: Path, model: Model) -> Tensor:
    given, _ = read_prompts(root, ("task",), model)
    return given.deltas["task"]


def their_model(folder: Path, some: Backbone) -> PeftModel:
    return PeftModel.from_pretrained(copied(some), str(folder)).eval()


@pytest.mark.parametrize(("kind", "text", "name"), CASES, ids=["-".join(case) for case in CASES])
def test_a_written_folder_loads_in_peft_with_the_same_loss_and_comes_back(
    tmp_path, kind, text, name
):
    model = model_of(name, text)
    some, delta = model.backbone, delta_of(model)
    folder = tmp_path / "task"
    said = write_delta(delta, model, folder, {"task": "task"})
    assert said.splitlines()[0] == f"PEFT folder: {folder}"
    assert read_json(folder / CONFIG)["peft_type"] == kind
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, WEIGHTS, ABOUT])
    with warnings.catch_warnings():
        # PEFT warns of keys and settings that it misses, does not know or must change.
        warnings.filterwarnings("error", message=".*(missing|nexpected|fan_in_fan_out)")
        theirs = their_model(folder, some)
    with torch.no_grad():
        for row in rows_of(some):
            owner = torch.tensor([0])
            found = model.nll(delta[None], owner, [row])[0]
            torch.testing.assert_close(found, nll_of(theirs, some, row), rtol=2e-5, atol=2e-5)
            bare = model.bare.nll(delta[None, :0], owner, [row])[0]
            assert abs(float(found - bare)) > 1e-3  # control
    back = read(tmp_path, model)
    # 1 + l in float32, less 1, is l to seven digits of 1.
    close = {"rtol": 0, "atol": 2e-7 if kind == "IA3" else 0}
    torch.testing.assert_close(back, delta, **close)


@pytest.mark.parametrize(("text", "name", "reason"), NOT_HELD)
def test_what_peft_cannot_hold_is_in_a_folder_of_our_own_and_comes_back(
    tmp_path, text, name, reason
):
    model = model_of(name, text)
    delta = delta_of(model)
    folder = tmp_path / "task"
    said = write_delta(delta, model, folder, {"task": "task"})
    assert re.fullmatch(rf"folder: {folder} \(not for PEFT: .*{reason}.*; --prompts reads it\)", said)
    assert sorted(path.name for path in folder.iterdir()) == [PARTS, ABOUT]
    about = read_json(folder / ABOUT)
    layout = about["layout"]
    assert about["task"] == "task" and layout["tuner"]["name"] == model.tuner.name
    assert layout["fingerprint"] == model.backbone.fingerprint
    tensors, _ = read_tensors(folder / PARTS)
    assert {part: list(tensor.shape) for part, tensor in tensors.items()} == layout["parts"]
    given, notes = read_prompts(tmp_path, ("task",), model)
    assert torch.equal(given.deltas["task"], delta) and len(notes) == 1


def test_every_tuner_goes_out_and_in():
    names = {text.split(":")[0] for _, text, _ in CASES}
    names |= {text.split(":")[0] for text, _, _ in NOT_HELD}
    assert names == SETTINGS.keys() and HELD.keys() == KINDS.keys()


# --- folders that PEFT wrote

CONFIGS = {
    "gpt2": [
        (peft.LoraConfig(r=4, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True),
         "lora:rank=4,targets=c_attn"),
        (peft.LoraConfig(r=4, lora_alpha=8, target_modules=["c_proj"], layers_to_transform=[1], fan_in_fan_out=True),
         "lora:rank=4,targets=c_proj,layers=1"),
        (peft.IA3Config(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True),
         "ia3:targets=c_attn+mlp.c_proj"),
        (peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=4),
         "p-tuning:template=3"),
    ],
    "llama": [
        (peft.LoraConfig(r=16, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
         "lora:rank=16,targets=q_proj+v_proj"),
        (peft.LoraConfig(r=4, lora_alpha=3, use_rslora=True, target_modules="all-linear"),
         "lora:rank=4,alpha=6.0,targets=down_proj+gate_proj+k_proj+o_proj+q_proj+up_proj+v_proj"),
        (peft.LoraConfig(r=8, rank_pattern={"q_proj": 2, "v_proj": 2}, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
         "lora:rank=2,targets=q_proj+v_proj"),
        (peft.BeftConfig(target_modules=["v_proj"]), "bias:at=linears"),
        (peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2, prefix_projection=True, encoder_hidden_size=4),
         "prefix:prefix_length=2"),
    ],
    "bart": [
        (peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2),
         "prefix:prefix_length=2,stacks=decoder"),
        (peft.PromptEncoderConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2, encoder_reparameterization_type="LSTM", encoder_hidden_size=4),
         "p-tuning:template=2"),
        (peft.LoraConfig(r=2, lora_alpha=8, target_modules=["fc1", "q_proj"], task_type="SEQ_2_SEQ_LM"),
         "lora:rank=2,targets=fc1+q_proj"),
    ],
    "bert": [
        (peft.PrefixTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=2), "prefix:prefix_length=2"),
        (peft.LoraConfig(r=2, lora_alpha=8, target_modules=["query", "intermediate.dense"]),
         "lora:rank=2,targets=query+intermediate.dense"),
        (peft.BeftConfig(target_modules=["value"]), "bias:"),
    ],
}  # fmt: skip
FROM_PEFT = [(name, config, text) for name, some in CONFIGS.items() for config, text in some]


@pytest.mark.parametrize(
    ("name", "config", "text"), FROM_PEFT, ids=[f"{one[0]}-{one[2]}" for one in FROM_PEFT]
)
def test_a_folder_that_peft_wrote_gives_the_loss_it_has_in_peft(tmp_path, name, config, text):
    model = model_of(name, text)
    some = model.backbone
    theirs = peft_model(some, copy.deepcopy(config)).float()
    theirs.save_pretrained(tmp_path / "task")
    given, notes = read_prompts(tmp_path, ("task",), model)
    delta = given.deltas["task"]
    with torch.no_grad():
        for row in rows_of(some):
            owner = torch.tensor([0])
            found = model.nll(delta[None], owner, [row])[0]
            torch.testing.assert_close(found, nll_of(theirs, some, row), rtol=2e-5, atol=2e-5)
            bare = model.bare.nll(delta[None, :0], owner, [row])[0]
            assert abs(float(found - bare)) > 1e-3  # control
    assert notes[-1].startswith("note: tuned for ")
    # Read with the defaults instead, the line says what to set, and with it the folder is read.
    other = model_of(name, text.split(":")[0])
    if text.startswith(("p-tuning", "bias")):
        return
    if other.tuner.shapes(some) != model.tuner.shapes(some):
        with pytest.raises(ValueError, match="set --tuner ") as told:
            read(tmp_path, other)
        again = str(told.value).rpartition("set --tuner ")[2]
        assert torch.equal(read(tmp_path, model_of(name, again)), delta)


# --- by the commands


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("lora:rank=2", "PEFT folder: {folder}"),
        ("adapter:width=2", "folder: {folder} (not for PEFT: PEFT has no kind of adapter"),
    ],
)
def test_exported_deltas_make_the_run_that_their_tuning_made(world, tmp_path, capsys, text, says):
    out, given = tmp_path / "runs", tmp_path / "given"
    assert cli.main(msf_words(world, out, "--tuner", text)) == 0
    run = Run(next(out.glob("msf-*")))
    for name in (*run.config["parts"]["seen"], *run.config["parts"]["unseen"]):
        words = ["export", run.folder.name, name, "--to", str(given / name), "--out", str(out)]
        assert cli.main(words) == 0
        assert says.format(folder=given / name) in capsys.readouterr().out
    again = tmp_path / "again"
    assert cli.main(msf_words(world, again, "--tuner", text, "--prompts", given)) == 0
    said = capsys.readouterr()
    assert f"deltas of {text} of 5 tasks are taken from {given}; 0 are tuned" in said.out + said.err
    result = Run(next(again.glob("msf-*"))).result
    assert result["scores"] == run.result["scores"]
    assert result["reference"] == run.result["reference"]
    # Control: with another tuner's flag there is one line, and no run.
    none = tmp_path / "none"
    assert cli.main(msf_words(world, none, "--tuner", "ia3", "--prompts", given)) == 2
    error = capsys.readouterr().err
    # PEFT's settings in PEFT's words: names of modules for the roles.
    assert "set --tuner " + text in error and "Traceback" not in error and not none.exists()


# --- folders that do not fit


@pytest.fixture
def lora(tmp_path) -> tuple[Path, Model]:
    """A LoRA folder of the toy Llama, and the model that it is for."""
    model = model_of("llama", "lora:rank=2,targets=q_proj+v_proj")
    write_delta(delta_of(model), model, tmp_path / "task", {})
    read(tmp_path, model)  # control
    return tmp_path, model


def change(root: Path, **fields: object) -> None:
    path = root / "task" / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_tensors(root: Path, changes, file: str = WEIGHTS) -> None:
    path = root / "task" / file
    tensors, _ = read_tensors(path)
    changes(tensors)
    write_tensors(path, tensors)


def refused(root: Path, model: Model) -> str:
    with pytest.raises(ValueError) as told:
        read(root, model)
    line = str(told.value)
    assert "\n" not in line and str(root) in line
    return line


SPOILT = {
    "use_dora": (True, "with use_dora = True; plain LoRA can be read"),
    "alpha_pattern": ({"q_proj": 3}, "with alpha_pattern = {'q_proj': 3}"),
    "lora_bias": (True, "with lora_bias = True"),
    "trainable_token_indices": ([1], "with trainable_token_indices = [1]"),
    "a_setting_of_next_year": ("on", "with a_setting_of_next_year = 'on'"),
    "init_lora_weights": ("pissa", "'pissa', which changes the model's own weights"),
    "lora_alpha": (None, "lora_alpha must be a number above 0, found None"),
    "use_rslora": (True, "set --tuner lora:rank=2,alpha=11.3"),
    "task_type": ("SEQ_CLS", "was tuned for task_type SEQ_CLS, and --model models/llama takes"),
    "peft_type": ("LN_TUNING", "of the kind LN_TUNING; those of the kind PROMPT_TUNING, P_TUNING"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_lora_with_a_setting_that_ours_does_not_have_is_told(lora, name):
    root, model = lora
    value, says = SPOILT[name]
    change(root, **{name: value})
    assert says in refused(root, model)


def test_a_lora_with_a_loaded_loss_of_its_own_start_is_read(lora):
    root, model = lora
    change(root, init_lora_weights="gaussian", lora_dropout=0.5, modules_to_save=None)
    read(root, model)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
TENSORS = {
    "nan": (lambda t: t[FIRST].fill_(float("nan")), "not finite (nan or infinity, in float32)"),
    "integers": (lambda t: t.update({FIRST: t[FIRST].int()}), "must be of floating-point numbers"),
    "another width": (
        lambda t: t.update({FIRST: t[FIRST][:, :5].clone()}),
        "has the shape [2, 5] (for models/llama), --model models/llama asks for [2, 32]",
    ),
    "another rank": (
        lambda t: t.update({FIRST: torch.ones(3, 32)}),
        "of the ranks [2, 3]; those of one rank above 0",
    ),
    "half of a pair": (lambda t: t.pop(FIRST.replace("lora_A", "lora_B")), "lacks base_model"),
    "another model": (
        lambda t: t.update({FIRST.replace("layers.0", "layers.7"): torch.ones(2, 32)}),
        "at model.layers.7.self_attn.q_proj, which is no linear layer in the blocks of --model",
    ),
    "a head": (
        lambda t: t.update({"base_model.model.score.weight": torch.ones(2, 32)}),
        "brings weights beside the adapter",
    ),
    "nothing": (dict.clear, "of the kind LORA at no linear layer in the blocks"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_matrices_that_do_not_fit_are_told(lora, case):
    root, model = lora
    changes, says = TENSORS[case]
    change_tensors(root, changes)
    assert says in refused(root, model)


@pytest.mark.parametrize(
    "text", ["soft-prompt", "full", "lora", "lora:rank=2,alpha=4.0", "lora:rank=2,targets=q_proj+k_proj"]
)
def test_another_tuner_is_told_what_to_set(lora, text):
    root, model = lora
    line = refused(root, model_of("llama", text))
    assert "holds a PEFT adapter of the kind LORA" in line and f"fit --tuner {text}" in line
    assert line.endswith("set --tuner lora:rank=2,targets=q_proj+v_proj")


def test_another_a_than_the_frozen_one_is_told(lora):
    root, _ = lora
    line = refused(root, model_of("llama", "lora:rank=2,matrices=b"))
    assert "another A than --tuner lora:matrices=b freezes; set --tuner lora:rank=2" in line


def test_factors_of_the_other_side_are_told(tmp_path):
    model = model_of("bert", "ia3:targets=key+output")
    config = peft.IA3Config(
        target_modules=["key", "attention.output.dense"],
        feedforward_modules=["attention.output.dense"],
    )
    peft_model(model.backbone, config).save_pretrained(tmp_path / "task")
    assert "rescales the other side of bert.encoder.layer.0.attention.output" in refused(
        tmp_path, model
    )


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"num_virtual_tokens": 4}, "set --tuner prefix:prefix_length=4"),
        ({"num_virtual_tokens": None}, "num_virtual_tokens must be a number above 0, found None"),
        ({"num_layers": 1}, "num_layers must be at least 2, the layers of --model, found 1"),
        ({"num_layers": 3}, "expected prompt_embeddings [3, 96] for --model (3 layers, 2 heads"),
        ({"num_transformer_submodules": 2}, "num_transformer_submodules must be 1"),
        ({"task_type": "SEQ_2_SEQ_LM"}, "takes those of task_type CAUSAL_LM"),
    ],
)
def test_prefixes_that_do_not_fit_are_told(tmp_path, fields, says):
    model = model_of("llama", "prefix:prefix_length=3")
    write_delta(delta_of(model), model, tmp_path / "task", {})
    read(tmp_path, model)  # control
    change(tmp_path, **fields)
    assert says in refused(tmp_path, model)


def test_a_prefix_of_t5_from_peft_is_told(tmp_path):
    some = backbone("mini")
    config = peft.PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=2)
    peft_model(some, config).save_pretrained(tmp_path / "task")
    line = refused(tmp_path, model_of("mini", "prefix:prefix_length=2,stacks=decoder"))
    assert "cannot be read: PEFT gives a prefix the relative position bias of models/mini" in line


def test_every_pair_of_a_written_decoder_prefix_is_alive(tmp_path):
    """Of two layers PEFT's own folder would give both the first pair."""
    model = model_of("bart", "prefix:prefix_length=3,stacks=decoder")
    write_delta(delta_of(model), model, tmp_path / "task", {})
    assert read_json(tmp_path / "task" / CONFIG)["num_layers"] == 3  # one more than the layers
    first, second = model.tuner.parts(model.backbone, read(tmp_path, model)).values()
    assert not torch.equal(first, second)


OWN = {
    "another tuner": (
        lambda about: about["layout"]["tuner"].update(width=3),
        "set --tuner adapter:width=3",
    ),
    "an unknown tuner": (
        lambda about: about["layout"]["tuner"].update(name="magic"),
        "there is no tuner 'magic'",
    ),
    "an unknown setting": (
        lambda about: about["layout"]["tuner"].update(magic=1),
        "names no tuner of this version",
    ),
    "no layout": (lambda about: about.pop("layout"), f"has no layout of {PARTS}"),
}


@pytest.mark.parametrize("case", OWN)
def test_a_layout_that_does_not_fit_is_told(tmp_path, case):
    model = model_of("bart", "adapter:width=2")
    write_delta(delta_of(model), model, tmp_path / "task", {})
    about = read_json(tmp_path / "task" / ABOUT)
    changes, says = OWN[case]
    changes(about)
    write_json(tmp_path / "task" / ABOUT, about)
    assert says in refused(tmp_path, model)


def test_parts_of_another_model_or_of_no_numbers_are_told(tmp_path):
    model = model_of("bart", "adapter:width=2")
    delta = delta_of(model)
    write_delta(delta, model, tmp_path / "task", {})
    line = refused(tmp_path, model_of("bert", "adapter:width=2"))
    assert "must have the shape [2, 32] for --model models/bert, found none (for models/bart)" in line
    change_tensors(tmp_path, lambda t: t.update(more=torch.ones(2)), PARTS)
    assert "has no place for the part more" in refused(tmp_path, model)
    delta[5] = float("inf")
    write_delta(delta, model, tmp_path / "task", {})
    assert "holds numbers that are not finite" in refused(tmp_path, model)


def test_another_models_weights_are_noted(tmp_path):
    model = model_of("bart", "adapter:width=2")
    write_delta(delta_of(model), model, tmp_path / "task", {})
    about = read_json(tmp_path / "task" / ABOUT)
    about["layout"]["fingerprint"] = "0"
    write_json(tmp_path / "task" / ABOUT, about)
    _, notes = read_prompts(tmp_path, ("task",), model)
    says = "note: tuned for models/bart with other weights, used with models/bart"
    assert notes[1:] == [says]


def test_a_folder_that_is_written_again_holds_one_delta(tmp_path):
    """PEFT's files and our own never stand beside each other."""
    held, own = model_of("bart", "lora:rank=2"), model_of("bart", "adapter:width=2")
    for model in (held, own, held):
        write_delta(delta_of(model), model, tmp_path / "task", {})
        assert torch.equal(read(tmp_path, model), delta_of(model))
    refused(tmp_path, own)


def test_tasks_have_folders_of_both_kinds(tmp_path):
    """Digest and deltas are each task's own."""
    model = model_of("bart", "prefix:prefix_length=3,stacks=decoder")
    deltas = {name: delta_of(model) * factor for name, factor in (("a", 1), ("b", 2))}
    write_delta(deltas["a"], model, tmp_path / "a", {})
    whole = model_of("bart", "soft-prompt:prompt_length=3")
    write_delta(torch.ones(whole.size), whole, tmp_path / "c", {})
    write_delta(deltas["b"], model, tmp_path / "b", {})
    given, notes = read_prompts(tmp_path, ("a", "b", "d"), model)
    assert {name: torch.equal(given.deltas[name], deltas[name]) for name in "ab"} == {
        "a": True,
        "b": True,
    }
    assert notes[0] == f"prompts of 2 tasks are taken from {tmp_path}; 1 are tuned"
    assert "PEFT folders of no task here: c" in notes[1]
