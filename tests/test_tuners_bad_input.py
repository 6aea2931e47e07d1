"""A tuner that cannot be, or that a model cannot take, is one line before any work."""

import math

import architectures
import pytest
import torch
from conftest import msf_words

from ipt import resolve
from ipt.backbones import attention, sites
from ipt.backbones.loading import load_backbone
from ipt.cli import app as cli
from ipt.training.model import Model
from ipt.tuners import TUNERS, parse_tuner

_MADE = {}


def backbone(kind):
    """Return a tiny model of a type, or the embedded one; the same each time."""
    if kind not in _MADE:
        if kind == "mini":
            _MADE[kind] = load_backbone("mini", device="cpu")
        else:
            (architecture,) = [one for one in architectures.ARCHITECTURES if one.kind == kind]
            _MADE[kind] = architectures.make(architecture)
    return _MADE[kind]


def refusal(build) -> str:
    with pytest.raises(ValueError) as told:
        build()
    text = str(told.value)
    assert "\n" not in text and text.startswith("--tuner ")
    return text


IMPOSSIBLE = [
    ("lorra", f"--tuner must be one of {', '.join(TUNERS)}, found 'lorra'"),
    ("", f"--tuner must be one of {', '.join(TUNERS)}, found ''"),
    ("lora:rank=0", "--tuner lora: rank must be above 0, found 0"),
    ("lora:rank=-1", "--tuner lora: rank must be above 0, found -1"),
    ("lora:alpha=nan", "--tuner lora: alpha must be a finite number, found nan"),
    ("lora:alpha=0", "--tuner lora: alpha must be above 0"),
    ("lora:rank=1.5", "--tuner lora: rank must be of the kind int, found '1.5'"),
    ("lora:matrices=a", "--tuner lora: matrices must be of both, b, found 'a'"),
    ("deep-prompt:deviation=inf", "--tuner deep-prompt: deviation must be a finite number"),
    ("deep-prompt:deviation=1e39", "--tuner deep-prompt: deviation must be at most 1e+30"),
    ("soft-prompt:prompt_length=1000000000", "prompt_length must be at most 100000"),
    ("prefix:prefix_length=1000000000", "prefix_length must be at most 100000"),
    ("prefix:layers=-1", "--tuner prefix: layers must not be negative, found -1"),
    ("prefix:stacks=", "--tuner prefix: stacks must be of encoder, decoder, cross, found 'nothing'"),
    ("prefix:stacks=decoders", "stacks must be of encoder, decoder, cross, found 'decoders'"),
    ("prefix:network=lstm", "--tuner prefix: network must be of none, mlp, found 'lstm'"),
    ("adapter:width=0", "--tuner adapter: width must be above 0"),
    ("adapter:activation=tanh", "--tuner adapter: activation must be of gelu, relu, swish"),
    ("side:width=1000000000", "--tuner side: width must be at most 100000"),
    ("partial-k:k=0", "--tuner partial-k: k must be above 0"),
    ("p-tuning:template=0+0", "--tuner p-tuning: template must be one or more counts of vectors"),
    ("p-tuning:template=", "--tuner p-tuning: template must be one or more counts of vectors"),
    ("p-tuning:template=3+-1", "--tuner p-tuning: template must not be negative, found -1"),
    ("p-tuning:network_width=-1", "--tuner p-tuning: network_width must not be negative"),
    ("bias:layers=1", "--tuner bias: layers are chosen with at=linears alone"),
    ("bias:at=norms", "--tuner bias: at must be of biases, linears, found 'norms'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), IMPOSSIBLE, ids=[text or "none" for text, _ in IMPOSSIBLE])
def test_a_setting_that_cannot_be_is_one_line(text, says):
    assert says in refusal(lambda: parse_tuner(text))


def test_what_is_no_number_is_refused_from_python_too():
    for value in ("4", 4.5, True, math.nan, None):
        assert "rank must be a whole number" in refusal(lambda value=value: TUNERS["lora"](rank=value))
    assert TUNERS["lora"](alpha=3).alpha == 3  # control: a whole number is one


UNFIT = [
    ("deberta-v2", "prefix", "does not use transformers' attention interface; soft-prompt, p-tuning"),
    ("deberta-v2", "lora", "which linear layer is the query is not known, as the model does not use"),
    ("deberta-v2", "ia3", "targets there: dense, key_proj, query_proj, value_proj"),
    ("mixtral", "adapter", "no linear layer of the kind 'down' that reads each row by itself, as experts"),
    ("mixtral", "ia3", "targets there: query, key, value, output, k_proj, o_proj, q_proj, v_proj"),
    ("llama", "bias", "has no biases; --tuner bias:at=linears adds a vector to the output of every"),
    ("mini", "bias", "mini has no biases; --tuner bias:at=linears"),
    ("mini", "prefix:layers=4", "--tuner prefix: layers must be from 0 to 3 in mini, found 4"),
    ("mini", "lora:layers=0+9", "--tuner lora: layers must be from 0 to 3 in mini, found 9"),
    ("mini", "bias:at=linears,layers=4", "--tuner bias: layers must be from 0 to 3 in mini"),
    ("mini", "prefix:layers=3,stacks=decoder", "has no attention in decoder of the layers asked for"),
    ("mini", "lora:targets=nothing", "there is no linear layer of the kind 'nothing'; targets there"),
    ("mini", "lora:targets=", "--tuner lora: targets must name linear layers, found nothing"),
    ("mini", "adapter:targets=", "--tuner adapter: targets must name linear layers, found nothing"),
    ("mini", "partial-k:k=4", "--tuner partial-k: k must be at most 3, the blocks of the decoder"),
    ("llama", "prefix:stacks=cross", "has no attention in cross of the layers asked for; it has decoder"),
    ("gemma2", "prefix", "its attention is its own (it caps the scores); soft-prompt, p-tuning"),
    ("gpt_oss", "prefix", "its attention is its own (it attends to sinks)"),
    # Its values are narrower than its keys.
    ("deepseek_v2", "prefix", "deepseek_v2 cannot take it (RuntimeError: Sizes of tensors must match"),
    # They change the shape of rows between layers.
    ("longformer", "lora:targets=query", "longformer cannot take it (RuntimeError: The size of tensor"),
    ("persimmon", "bias", "persimmon cannot take it (RuntimeError: The size of tensor"),
    ("squeezebert", "bias:at=linears", "squeezebert cannot take it (it has nothing there to tune)"),
    ("rembert", "deep-prompt", "rembert cannot take it: its embeddings have 256 numbers and its layers 32"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "says"), UNFIT, ids=[f"{k}-{t}" for k, t, _ in UNFIT])
def test_a_tuner_that_a_model_cannot_take_is_one_line(kind, text, says):
    model = Model(backbone(kind), parse_tuner(text))
    assert says in refusal(lambda: resolve.require_fit(model))


FIT = [
    ("deberta-v2", "lora:targets=query_proj+value_proj"),
    ("deberta-v2", "bias"),
    ("mixtral", "lora"),
    ("mixtral", "adapter:targets=output"),
    ("mixtral", "prefix"),
    ("afmoe", "prefix"),
    ("doge", "lora"),
    ("phimoe", "prefix"),
    ("persimmon", "bias:at=linears"),
    ("albert", "prefix"),
    ("gemma2", "lora"),
    ("gemma2", "ia3"),
    ("mini", "bias:at=linears"),
    ("mini", "partial-k:k=3"),
]


@pytest.mark.parametrize(("kind", "text"), FIT, ids=[f"{k}-{t}" for k, t in FIT])
def test_control_what_the_message_names_works(kind, text):
    model = Model(backbone(kind), parse_tuner(text))
    resolve.require_fit(model)
    assert model.initialize(0).shape == (model.size,)


@pytest.mark.parametrize("kind", ["gemma2", "gpt_oss", "llama", "t5"])
def test_attention_that_is_not_ours_is_found_by_the_loss_too(kind, monkeypatch):
    """Without the names of what it is told: caps and sinks make a difference, plain attention none."""
    some = backbone(kind)
    if kind == "gemma2":
        # Scores of random weights lie far below the published cap.
        monkeypatch.setattr(some.model.config, "attn_logit_softcapping", 0.5)
        for module in some.model.modules():
            if hasattr(module, "attn_logit_softcapping"):
                monkeypatch.setattr(module, "attn_logit_softcapping", 0.5)
    monkeypatch.setattr(sites, "OTHERWISE", {})
    found = sites.find_sites(some).own_attention
    is_own = kind in ("gemma2", "gpt_oss")
    assert found == ("its attention is its own (plain attention gives another loss)" if is_own else "")


def test_the_comparison_sees_a_mask_that_is_lost(monkeypatch):
    """A function that lets a causal model see what follows is not taken for its own attention."""

    def blind(module, query, key, value, mask, **settings):
        return attention.attend(module, query, key, value, None, **settings)

    assert not sites.find_sites(backbone("llama")).own_attention  # control
    monkeypatch.setattr(sites, "attend", blind)
    assert sites.find_sites(backbone("llama")).own_attention


def test_numbers_that_no_memory_holds_are_one_line_and_never_made(monkeypatch):
    monkeypatch.setattr(resolve, "memory_of", lambda device: 10_000_000)
    model = Model(backbone("mini"), parse_tuner("adapter:width=100000"))
    text = refusal(lambda: resolve.require_room(model))
    assert " numbers are trained for each job" in text
    assert "choose smaller settings" in text
    # What a network has counts, not the prompt that it makes.
    wide = Model(backbone("mini"), parse_tuner("p-tuning:network_width=100000"))
    assert " numbers are trained for each job" in refusal(lambda: resolve.require_room(wide))
    resolve.require_room(Model(backbone("mini"), parse_tuner("lora")))  # control
    monkeypatch.undo()
    assert resolve.memory_of(torch.device("cpu")) > 2**28


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["bias"], "has no biases"),
        (["prefix", "--layers", "7"], "layers must be from 0 to"),
        (["lora", "--rank", "0"], "rank must be above 0"),
        (["lora", "--targets", "nothing"], "targets there: query, key, value, output, up, down"),
        (["partial-k", "--k", "9"], "k must be at most"),
        (["p-tuning", "--template", "0"], "template must be one or more counts"),
        (["prefix", "--prefix-length", "1000000000"], "prefix_length must be at most 100000"),
    ],
)
def test_the_command_says_so_before_it_begins(flags, says, world, tmp_path, capsys):
    words = msf_words(world, tmp_path / "out")
    place = words.index("--tuner")
    words[place : place + 2] = ["--tuner", *flags]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1 and error.startswith("ipt: --tuner ")
    assert not (tmp_path / "out").exists()


def test_a_tuner_whose_rows_are_not_apart_is_refused(monkeypatch):
    """Control: the few words before any work see a tuner that gives each row the first one's delta."""
    lora = TUNERS["lora"]
    applied = lora.applied

    def mixed(self, backbone, deltas, owner):
        return applied(self, backbone, deltas, torch.zeros_like(owner))

    model = Model(backbone("llama"), parse_tuner("lora"))
    resolve.require_fit(model)
    monkeypatch.setattr(lora, "applied", mixed)
    assert "a row's loss depends on the rows beside it" in refusal(lambda: resolve.require_fit(model))
