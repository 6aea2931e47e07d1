"""Tokens by value: frames and cuts of inputs, options after a space, clozes, positions."""

import pytest
import torch
from soft_prompts import answer_logits, generate, nll
from test_families import LENGTH, MODELS, WIDTH, WORDS, make, prompts, tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CamembertConfig,
    CamembertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from ipt.backbones.base import Encoded
from ipt.backbones.causal import CausalLM
from ipt.backbones.masked import MaskedLM

END, MASK, START = WORDS.eos_token_id, WORDS.mask_token_id, WORDS.bos_token_id


def letters(text):
    """The tokens of a text, one for each letter."""
    return WORDS(text, add_special_tokens=False)["input_ids"]


def ending(template):
    """The tests' tokenizer with another frame around each text."""
    found = tokenizer()
    pair = [("<s>", START), ("</s>", END)]
    frame = processors.TemplateProcessing(single=template, special_tokens=pair)
    found.backend_tokenizer.post_processor = frame
    return found


def reads(name, template):
    """The family's model with such a tokenizer."""
    backbone = make(name)
    return type(backbone)(backbone.model, ending(template), name, LENGTH)


@pytest.mark.parametrize(
    ("template", "before"),
    [("<s> $A </s>", [START]), ("<s> $A", [START]), ("$A </s>", []), ("$A", [])],
)
def test_a_left_to_right_input_ends_with_a_newline_and_not_with_the_end_sign(template, before):
    backbone, newline = reads("gpt2", template), letters("\n")
    assert backbone.input_ids("red") == before + letters("red") + newline
    assert backbone.input_ids("r") == before + letters("r") + newline
    split = letters("r") + [END] + letters("d")
    assert backbone.input_ids("r</s>d") == before + split + newline  # one in mid-text stays
    cut = backbone.input_ids("y" * 300)
    assert cut == before + letters("y") * (133 - len(before) - 1) + newline
    assert len(cut) == backbone.max_input == 133
    fits = backbone.input_ids("y" * (132 - len(before)))
    assert fits == cut


def test_an_empty_left_to_right_input_keeps_its_only_sign():
    assert reads("gpt2", "$A </s>").input_ids("") == [
        END,
        *letters("\n"),
    ]  # GPT-2's start is its end sign
    assert reads("gpt2", "<s> $A </s>").input_ids("") == [START, *letters("\n")]


@pytest.mark.parametrize(("name", "longest"), [("bart", 197), ("t5", 256)])
@pytest.mark.parametrize(
    ("template", "before"), [("<s> $A </s>", [START]), ("$A </s>", []), ("$A", [])]
)  # fmt: skip
def test_an_encoders_input_keeps_its_signs_where_it_is_cut(name, longest, template, before):
    backbone = reads(name, template)
    assert backbone.input_ids("red") == before + letters("red") + [END]
    assert backbone.input_ids("r</s>d") == before + letters("r") + [END] + letters("d") + [END]
    whole = longest - len(before) - 1
    for many in (whole - 1, whole, whole + 1, 400):
        assert backbone.input_ids("y" * many) == before + letters("y") * min(many, whole) + [END]
    assert backbone.label_ids("y" * 400) == before + letters("y") * (63 - len(before)) + [END]
    assert backbone.input_ids("") == [*before, END]


@pytest.mark.parametrize("template", ["<s> $A </s>", "<s> $A"])
def test_a_masked_input_keeps_its_signs_where_it_is_cut(template):
    backbone = reads("bert", template)
    assert backbone.input_ids("red") == [START, *letters("red"), END]
    assert backbone.input_ids("r</s>d") == [START, *letters("r"), END, *letters("d"), END]
    for many in (130, 131, 132, 400):
        assert backbone.input_ids("y" * many) == [START, *letters("y") * min(many, 131), END]
    assert backbone.input_ids("") == [START, END]


def word_bpe():
    """RoBERTa's way: a word with a space before it is another token than without."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "</s>", "<s>", "<mask>", *alphabet, "no", "Ġno"]
    vocabulary = {token: i for i, token in enumerate(names)}
    found = Tokenizer(models.BPE(vocab=vocabulary, merges=[("n", "o"), ("Ġ", "no")]))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    signs = {
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "bos_token": "<s>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    }
    mask = AddedToken("<mask>", lstrip=True)
    fast = PreTrainedTokenizerFast(tokenizer_object=found, mask_token=mask, **signs)
    pair = [("<s>", 2), ("</s>", 1)]
    frame = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=pair)
    fast.backend_tokenizer.post_processor = frame
    return fast


def test_an_option_of_a_masked_model_is_a_word_after_a_space():
    words = word_bpe()
    bare, spaced = words.convert_tokens_to_ids(["no", "Ġno"])
    backbone = MaskedLM(make("roberta").model, words, "roberta", LENGTH)
    assert backbone.label_ids("no") == [spaced] and backbone.label_ids("nono") == [
        spaced,
        bare,
    ]  # and no end sign
    assert backbone.label_ids("nono no") == [spaced, bare, spaced]
    assert len(backbone.label_ids("no" * 64)) == len(backbone.label_ids("no" * 65)) == 64
    assert len(backbone.label_ids("no" * 63)) == 63
    left = CausalLM(make("gpt2").model, words, "gpt2", LENGTH)
    assert left.label_ids("no") == [
        bare,
        END,
    ]  # control: a newline stands before an answer that is written


def test_the_masks_stand_at_the_end_of_the_input_and_only_they_are_labelled():
    """Prompt, input, a mask for each token of the answer, the end sign, padding."""
    backbone, leads = make("bert"), prompts(2)
    rows = [Encoded((START, 9, 8, END), (20, 21)), Encoded((START, END), (22, 23, 24))]
    embeds = []
    forward = backbone.model.forward

    def noted(inputs_embeds, attention_mask):
        embeds.append((inputs_embeds, attention_mask))
        return forward(inputs_embeds=inputs_embeds, attention_mask=attention_mask)

    backbone.model.forward = noted
    logits, labels = answer_logits(backbone, leads, rows)
    assert labels.tolist() == [[-100] * 6 + [20, 21, -100], [-100] * 4 + [22, 23, 24, -100, -100]]
    assert logits.shape == (2, 9, len(WORDS))
    ((found, mask),) = embeds
    for lead, own, here, cloze in zip(
        leads,
        mask,
        found,
        ([START, 9, 8, MASK, MASK, END], [START, MASK, MASK, MASK, END]),
        strict=True,
    ):
        assert own.tolist() == [1] * (3 + len(cloze)) + [0] * (6 - len(cloze))
        assert torch.equal(here[own.bool()], torch.cat([lead, backbone.weight[cloze]]))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (RobertaForMaskedLM, MODELS["roberta"][1]),
        (XLMRobertaForMaskedLM, XLMRobertaConfig),
        (CamembertForMaskedLM, CamembertConfig),
    ],
)
def test_robertas_kin_count_positions_from_behind_the_padding(kind, config):
    sizes = {
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    for pad_id in (0, 1, 5):
        made = config(
            **sizes,
            vocab_size=len(WORDS),
            max_position_embeddings=130,
            pad_token_id=pad_id,
            bos_token_id=2,
            eos_token_id=1,
        )
        backbone = MaskedLM(kind(made), WORDS, "kin", LENGTH)
        assert backbone.positions == 130 - pad_id - 1
        (row,) = backbone.encode(("x" * 300,), ("y" * 300,))  # as long as they can be
        assert torch.isfinite(nll(backbone, torch.zeros(1, LENGTH, WIDTH), [row])).all()
    assert make("bert").positions == 200  # control
    with pytest.raises(ValueError, match="bert is a masked model: it ranks options and writes no"):
        generate(make("bert"), prompts(1), [row], 4)


def test_only_masked_models_write_no_text_and_only_encoders_keep_the_answer_apart():
    assert [make(name).generates for name in ("t5", "gpt2", "bert")] == [True, True, False]
    assert [make(name).shares_positions for name in ("bart", "gpt2", "bert")] == [False, True, True]
    assert [make(name).positions for name in ("t5", "mt5", "bart", "gpt2", "llama")] == [
        None,
        None,
        200,
        200,
        2048,
    ]
