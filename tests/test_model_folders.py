"""What a model's folder may not decide, and what of it is refused in one line before any work."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import torch
import toys
from architectures import Architecture, make
from safetensors.torch import load_file, save_file
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertTokenizer,
    ByT5Tokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from ipt.backbones import loading
from ipt.backbones.loading import load_backbone
from ipt.encoded import EncodedTask, notes_on_answers
from ipt.heads import LanguageModel

BART = {
    "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 200,
}  # fmt: skip
T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
TEXTS = [f"red bird {number}" for number in range(12)]


def load(folder, dtype="float32"):
    return load_backbone(str(folder), 3, dtype, "cpu")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder of a whole model."""
    folder = tmp_path_factory.mktemp("whole")
    backbone = make(Architecture("llama", "causal"))
    toys.save(backbone.model, backbone.tokenizer, folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "model")


def refused(folder, *texts, dtype="float32"):
    """The folder is refused in one line that holds these texts."""
    with pytest.raises(ValueError, match="^--model ") as told:
        load(folder, dtype)
    message = str(told.value)
    assert "\n" not in message and len(message) < 700
    for text in (str(folder), *texts):
        assert text in message, message


def edit(folder, file="config.json", **settings):
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


SUMMARIES = {"min_length": 56, "no_repeat_ngram_size": 3, "num_beams": 4, "forced_bos_token_id": 5}
CHAT = {"do_sample": True, "temperature": 0.7, "repetition_penalty": 1.8, "suppress_tokens": [7, 9]}


@pytest.mark.parametrize(("kind", "family"), [("bart", "encoder-decoder"), ("llama", "causal")])
@pytest.mark.parametrize("settings", [SUMMARIES, CHAT])
def test_the_folders_settings_for_answers_change_none(tmp_path, kind, family, settings):
    backbone = make(Architecture(kind, family))
    if kind == "bart":
        backbone.model.final_logits_bias[:, toys.END] = 6.0  # some answers end at once
    rows = backbone.encode(TEXTS, ["yes"] * len(TEXTS))
    toys.save(backbone.model, backbone.tokenizer, tmp_path)
    expected = backbone.generate_ids(rows, 8)
    (tmp_path / "generation_config.json").write_text(json.dumps(settings))
    found = load(tmp_path)
    assert found.generate_ids(rows, 8) == expected
    # Control: some end early or repeat themselves, which these settings forbid.
    assert any(len(set(answer)) < 8 for answer in expected)


def test_spaces_before_signs_are_part_of_an_answer(folder):
    edit(folder, "tokenizer_config.json", clean_up_tokenization_spaces=True)
    backbone = load(folder)
    for answer in ("they did n't , did they ?", "a . b"):
        assert backbone.texts([backbone.ids(answer)]) == [answer]
    # Control: what the folder asks for would change it.
    assert backbone.tokenizer.clean_up_tokenization("a . b") == "a. b"


WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz:,?"]
WORDPIECES += ["##" + letter for letter in "abcdefghijklmnopqrstuvwxyz"]


@pytest.mark.parametrize("kind", ["bart", "gpt2"])
def test_a_separator_ends_answers_where_there_is_no_end_sign(tmp_path, kind):
    sizes = {"vocab_size": len(WORDPIECES), "pad_token_id": 0, "bos_token_id": 2}
    if kind == "bart":
        config = BartConfig(**sizes, **BART, eos_token_id=3, decoder_start_token_id=3)
        model = BartForConditionalGeneration(config)
    else:
        config = GPT2Config(**sizes, n_embd=32, n_layer=1, n_head=2, eos_token_id=None)
        model = GPT2LMHeadModel(config)
    toys.spread(model).save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    backbone = load(tmp_path)
    assert isinstance(backbone.tokenizer, BertTokenizer) and backbone.tokenizer.eos_token is None
    (row,) = backbone.encode(["red"], ["no"])
    assert backbone.end == 3 == row.label_ids[-1]


def test_without_any_end_sign_it_is_said(folder):
    edit(folder, "tokenizer_config.json", eos_token=None, sep_token=None)
    edit(folder, eos_token_id=None)
    with pytest.raises(ValueError, match="has no end sign") as told:
        load(folder)
    assert "\n" not in str(told.value)


def test_a_decoder_without_a_start_is_refused(tmp_path):
    backbone = make(Architecture("t5", "encoder-decoder"))
    toys.save(backbone.model, backbone.tokenizer, tmp_path)
    (tmp_path / "generation_config.json").unlink()
    edit(tmp_path, decoder_start_token_id=None)
    refused(tmp_path, "decoder_start_token_id")
    edit(tmp_path, decoder_start_token_id=9999)
    refused(tmp_path, "decoder_start_token_id 9999 has no embedding")
    edit(tmp_path, decoder_start_token_id="x")
    refused(tmp_path, "decoder_start_token_id 'x' has no embedding")
    edit(tmp_path, decoder_start_token_id=toys.PAD)
    load(tmp_path)  # control


def test_a_tokenizer_of_bytes_needs_no_file(tmp_path):
    config = T5Config(**T5, vocab_size=384, decoder_start_token_id=0)
    toys.save(toys.spread(T5ForConditionalGeneration(config)), ByT5Tokenizer(), tmp_path)
    assert not list(tmp_path.glob("*.model")) and not (tmp_path / "tokenizer.json").exists()
    assert load(tmp_path).ids("a") == [ord("a") + 3]


def test_a_tokenizer_that_needs_a_package_names_it(folder, monkeypatch):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    (folder / "tokenizer.model").write_bytes(b"trained")
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    refused(folder, "pip install sentencepiece")


def test_more_tokens_than_embeddings_are_refused(folder):
    tokenizer = toys.tokenizer("causal")
    tokenizer.add_tokens(["<new>", "<newer>"])
    tokenizer.save_pretrained(folder)
    refused(folder, "2 tokens of its tokenizer (as '<new", f"model's {toys.VOCABULARY}")


def weights(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


NORM = "model.norm.weight"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda tensors: tensors.pop(NORM), f"{NORM} is missing"),
        (lambda tensors: tensors.clear(), "is missing (and"),
        (lambda tensors: tensors.update({NORM: torch.ones(7)}), f"{NORM} is [7] and not [32]"),
        (lambda tensors: tensors[NORM].fill_(float("nan")), f"{NORM} is not finite"),
        (lambda tensors: tensors[NORM][:1].fill_(float("inf")), f"{NORM} is not finite"),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_refused(folder, change, text):
    load(folder)  # control
    weights(folder, change)
    refused(folder, text)


HUGE = {"hidden_size": 10**9, "vocab_size": 10**12, "num_hidden_layers": 10**9}


@pytest.mark.parametrize("count", [0, 1])
def test_weights_of_layers_that_the_configuration_leaves_out_are_refused(folder, count):
    """Control: with both of its layers the folder loads."""
    load(folder)
    edit(folder, num_hidden_layers=count, layer_types=None)
    refused(folder, "is of a layer that its config.json does not count")


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": "x"},
        {"hidden_size": 0},
        {"hidden_size": 64},
        {"num_attention_heads": 0},
        {"num_hidden_layers": -1},
        {"num_hidden_layers": 3},
        {"vocab_size": "many"},
        *({name: value} for name, value in HUGE.items()),
    ],
    ids=str,
)
def test_a_configuration_of_another_model_is_refused_at_once(folder, settings):
    edit(folder, **settings)
    refused(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("text", ["[]", "{", "3", "null", "\x00", '"x"'])
def test_a_damaged_file_is_one_line_with_the_folder(folder, file, text):
    (folder / file).write_text(text)
    refused(folder)


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"weight_map": {"a": "b.safetensors"}}'])
def test_a_damaged_index_is_one_line_with_the_folder(folder, text):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(text)
    refused(folder, "weights")


def test_an_empty_tokenizer_and_an_unknown_type_are_refused(folder):
    edit(folder, model_type="of its own")
    refused(folder, "is not one that transformers knows")
    edit(folder, auto_map={"AutoConfig": "own.Config"})
    refused(folder, "ipt runs no code that comes with a model")
    edit(folder, model_type=[])
    refused(folder, "ipt runs no code that comes with a model")
    edit(folder, model_type="llama")
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, "tokenizer")


def overflowing(tmp_path):
    """A T5 whose activations are beyond 65,504."""
    sizes = {"vocab_size": toys.VOCABULARY, "pad_token_id": toys.PAD, "eos_token_id": toys.END}
    config = T5Config(
        **T5, **sizes, decoder_start_token_id=toys.PAD, feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
    )  # fmt: skip
    model = toys.spread(T5ForConditionalGeneration(config))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "wi_" in name or "shared" in name:
                parameter.mul_(300)
    return toys.save(model, toys.tokenizer("encoder-decoder"), tmp_path)


def test_a_loss_beyond_float16_says_which_type_to_take(tmp_path):
    path = overflowing(tmp_path)
    for dtype in ("float32", "bfloat16"):
        load(path, dtype)  # control
    with pytest.raises(ValueError, match="not finite in float16; take --dtype bfloat16 or float32"):
        load(path, "float16")


def test_no_number_is_no_answer_and_no_option(folder):
    backbone = load(folder)
    rows = backbone.encode(TEXTS[:2], ["yes", "no"])
    assert LanguageModel().predict(backbone, rows, 4, rows)  # control
    backbone.model.lm_head.weight[:] = float("nan")
    for options in ((), rows):
        with pytest.raises(ValueError, match="is not finite in float32"):
            LanguageModel().predict(backbone, rows, 4, options)
    with pytest.raises(ValueError, match="the loss of an option is not finite"):
        scores = LanguageModel()
        backbone.generate_and_rank = lambda *given: ([""] * 2, torch.full((2, 2), float("nan")))
        scores.predict(backbone, rows, 4, rows)


def task(options, answers, metric="exact-match"):
    """A stand-in for a drawn task, with what the notes read of it."""
    def drawn(backbone):
        rows = tuple(backbone.encode(["it"] * len(answers), answers))
        examples = [SimpleNamespace(output=(answer,), group="") for answer in answers]
        return EncodedTask(
            task=SimpleNamespace(name="this", metric=metric),
            data_seed=0,
            test_examples=tuple(examples),
            dev_examples=(),
            train=(),
            dev=(),
            test=rows,
            options=tuple(backbone.encode(options, options)),
            max_tokens=4,
        )

    return drawn


def test_what_the_tokenizer_cannot_say_is_a_note(folder):
    backbone = load(folder)
    fine = task(["yes", "no"], ["a", "b"])(backbone)
    assert notes_on_answers(backbone, [fine]) == []
    lost = re.compile("[{}]")
    encode = backbone.encode
    # As a tokenizer does that has no braces.
    backbone.encode = lambda inputs, answers: encode(
        inputs, [lost.sub("<unk>", answer) for answer in answers]
    )
    notes = notes_on_answers(backbone, [task(["{", "}"], ["a", "{b}"])(backbone)])
    assert len(notes) == 2
    assert "cannot write some answers of this: '{b}' of this is read back as 'b'" in notes[0]
    assert "cannot tell some options of this apart" in notes[1]


LONG = "one two three four five"


@pytest.mark.parametrize(
    ("metric", "answers", "most"),
    [
        ("bleu", ["red", "blue bird"], 0),
        ("bleu", ["red", LONG], None),
        ("rouge-L", ["!", "?"], 0),
        ("rouge-L", ["red", "?"], 0.5),
        ("rouge-L", ["red", LONG], None),
        ("squad-F1", ["!", "?"], None),
        ("pearson", ["2", "2.0"], 0),
        ("pearson", ["2", "3"], None),
        ("matthews", ["yes", "yes"], 0),
        ("matthews", ["yes", "no"], None),
        ("exact-match", ["!", "?"], None),
    ],
)
def test_right_answers_that_score_nothing_are_a_note(folder, metric, answers, most):
    notes = notes_on_answers(load(folder), [task([], answers, metric)(load(folder))])
    expected = [] if most is None else [f"score {most:.2f} by its metric {metric}"]
    assert [text for text in expected if text not in notes[0]] == []
    assert len(notes) == len(expected)
