"""A frozen model by value: padding, the loss, cuts and end signs, positions, the fingerprint."""

import hashlib
import json
import math

import pytest
import torch
from conftest import toy_backbone
from soft_prompts import answer_logits, embedded, losses, nll, rank
from test_families import ANSWERS, LENGTH, MODELS, TEXTS, WIDTH, WORDS, WRITERS, make, prompts
from transformers import BloomConfig, BloomForCausalLM

from ipt.backbones import base
from ipt.backbones.base import Encoded, answer_nll, pad
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.masked import MaskedLM

CPU = torch.device("cpu")
END = WORDS.eos_token_id


def test_sequences_are_padded_right_or_left():
    found, own = pad([[5, 6], [7], [1, 2, 3]], 9, CPU)
    assert found.tolist() == [[5, 6, 9], [7, 9, 9], [1, 2, 3]] and found.dtype == torch.long
    assert own.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    found, own = pad([[5, 6], [7], [1, 2, 3]], -100, CPU, left=True)
    assert found.tolist() == [[-100, 5, 6], [-100, -100, 7], [1, 2, 3]]
    assert own.tolist() == [[False, True, True], [False, False, True], [True, True, True]]


def test_sequences_without_tokens_are_still_tokens():
    found, own = pad([[], []], 0, CPU)
    assert found.shape == own.shape == (2, 0) and found.dtype == torch.long


def test_the_loss_of_a_row_is_the_sum_over_its_own_tokens():
    logits = torch.tensor([[[1.0, 2, 3], [0, 0, 5]], [[2, 0, 0], [1, 1, 1]]], dtype=torch.float64)
    labels = torch.tensor([[2, 1], [0, -100]])
    first = math.log(math.e + math.e**2 + math.e**3) - 3 + math.log(2 + math.e**5)
    second = math.log(math.e**2 + 2) - 2  # its second token is padding
    found = answer_nll(logits, labels)
    assert found.tolist() == pytest.approx([first, second]) and found.dtype == torch.float64


def test_smoothing_spreads_its_share_over_the_whole_vocabulary():
    """Nine tenths of a target are the token's, a tenth is shared by all, itself among them."""
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[2, 1, -100], [0, 6, 3]])
    logs, expected = logits.log_softmax(-1), []
    for b in range(2):
        total = 0.0
        for t in range(3):
            if labels[b, t] >= 0:
                total -= 0.9 * float(logs[b, t, labels[b, t]]) + 0.1 * float(logs[b, t].sum()) / 7
        expected.append(total)
    assert answer_nll(logits, labels, 0.1).tolist() == pytest.approx(expected)
    assert answer_nll(logits, labels).tolist() != pytest.approx(expected, rel=1e-3)  # control


def test_half_precision_is_summed_in_single():
    logits = torch.randn(1, 4, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([[1, 2, 3, 4]])
    found = answer_nll(logits, labels)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(answer_nll(logits.double(), labels)), rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_loss_is_a_mean_over_the_rows_own_answer_tokens(name):
    backbone, leads = make(name), prompts(3)
    rows = backbone.encode(TEXTS, ANSWERS)
    counts = torch.tensor([len(r.label_ids) for r in rows])
    assert len(set(counts.tolist())) == 3  # control
    assert torch.allclose(losses(backbone, leads, rows), nll(backbone, leads, rows) / counts)
    smooth = answer_nll(*answer_logits(backbone, leads, rows), 0.3)
    assert torch.equal(nll(backbone, leads, rows, 0.3), smooth)
    assert not torch.allclose(nll(backbone, leads, rows), smooth)


@pytest.mark.parametrize("name", WRITERS)
def test_every_answer_ends_with_the_end_sign_also_where_it_is_cut(name):
    """A letter is a token; BART's tokens of an answer begin with its start sign."""
    backbone = make(name)
    start = [] if name in ("gpt2", "llama") else [WORDS.bos_token_id]
    letter = WORDS("y", add_special_tokens=False)["input_ids"]
    whole = 63 - len(start)  # letters that fit in 64 tokens
    for letters in (0, 1, whole - 1, whole, whole + 1, 300):
        (found,) = backbone.encode(("x",), ("y" * letters,))
        assert list(found.label_ids) == start + letter * min(letters, whole) + [END]


def test_an_answer_is_ended_once_by_a_tokenizer_without_special_tokens():
    found = toy_backbone().encode(("",), ("no",))[0]
    assert found.input_ids == (1,)
    assert found.label_ids == (*toy_backbone().tokenizer("no")["input_ids"], 1)


def test_texts_and_answers_must_be_as_many():
    with pytest.raises(ValueError, match="zip"):
        make("t5").encode(("a", "b"), ("yes",))


def test_a_rows_tokens_are_both_its_parts():
    assert Encoded((5,) * 3, (6,) * 4).tokens == 7


def test_a_text_in_the_prompts_place_has_no_special_tokens():
    backbone = make("gpt2")
    ids = WORDS("to", add_special_tokens=False)["input_ids"]
    assert torch.equal(backbone.text_embeddings("to"), backbone.weight[ids])
    assert backbone.text_embeddings("").shape == (0, WIDTH)


def test_embeddings_are_scaled_where_the_family_scales_them():
    backbone = make("bart")
    ids = WORDS("to", add_special_tokens=False)["input_ids"]
    by_hand = 4 * backbone.weight[ids]  # the root of 16
    assert torch.allclose(backbone.text_embeddings("to"), by_hand)


def test_the_model_is_frozen_and_without_dropout():
    model = toy_backbone().model
    before = type(model)(model.config).train()
    assert before.training and all(p.requires_grad for p in before.parameters())  # control
    backbone = EncoderDecoder(before, WORDS, "toy")
    assert not any(m.training for m in backbone.model.modules())
    assert not any(p.requires_grad for p in backbone.model.parameters())


def limited(name, positions, length):
    """A model of so many positions, behind a prompt of this length."""
    kind, config, sizes = MODELS[name]
    more = {"n_positions" if name == "gpt2" else "max_position_embeddings": positions}
    common = {
        "vocab_size": len(WORDS),
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": WORDS.bos_token_id,
    }
    family = {"gpt2": CausalLM, "bart": EncoderDecoder, "bert": MaskedLM}[name]
    return family(kind(config(**common | sizes | more)), WORDS, name, length)


def test_positions_are_left_by_the_prompt_and_the_answer_up_to_256():
    assert limited("gpt2", 300, 10).max_input == 300 - 10 - 64
    assert limited("bart", 300, 10).max_input == 256  # 290: no answer among them
    assert limited("bart", 265, 10).max_input == 255
    assert limited("bert", 330, 10).max_input == 256
    assert limited("bert", 329, 10).max_input == 255


def test_a_model_that_counts_no_positions_takes_256_tokens_behind_any_prompt():
    config = BloomConfig(vocab_size=len(WORDS), hidden_size=WIDTH, n_layer=1, n_head=2)
    backbone = CausalLM(BloomForCausalLM(config), WORDS, "bloom", 5000)
    assert backbone.positions is None and backbone.max_input == 256


def test_sixteen_tokens_of_input_are_the_least():
    assert limited("gpt2", 100, 20).max_input == 16
    with pytest.raises(ValueError) as told:
        limited("gpt2", 100, 21)
    text = "a tuner of 21 vectors leaves 15 tokens for the input, of the 100 positions of gpt2 "
    assert str(told.value).startswith(text + "(64 are kept for the answer); 16 are needed")
    with pytest.raises(ValueError, match="a tuner of 90 vectors leaves 0 tokens"):
        limited("gpt2", 100, 90)
    assert limited("bart", 100, 84).max_input == 16
    with pytest.raises(ValueError, match="leaves 15 tokens for .* 100 positions of bart; 16 are"):
        limited("bart", 100, 85)


def test_a_backbone_knows_its_sizes_and_where_it_runs():
    backbone = make("gpt2", torch.bfloat16)
    assert (backbone.hidden_size, backbone.dtype, backbone.device.type) == (
        WIDTH,
        "bfloat16",
        "cpu",
    )
    assert (backbone.token_budget, backbone.most_tokens, backbone.name) == (2048, math.inf, "gpt2")
    backbone.weight = backbone.weight.to("meta")
    assert backbone.token_budget == 65_536  # any device but the CPU


def digest(backbone):
    """Return sha256 over the config and the weights' bytes in the order of their names."""
    content = backbone.model.config.to_json_string(use_diff=True).encode()
    for key, tensor in sorted(backbone.model.state_dict().items()):
        content += key.encode() + tensor.numpy().tobytes()
    return hashlib.sha256(content).hexdigest()


def test_the_fingerprint_is_of_the_config_and_every_weight_and_nothing_else():
    first = make("gpt2")
    assert first.fingerprint == digest(first) == make("gpt2").fingerprint
    other = CausalLM(make("gpt2").model, toy_backbone().tokenizer, "another name", 7)
    assert other.fingerprint == first.fingerprint
    assert "vocab_size" in json.loads(first.model.config.to_json_string(use_diff=True))


def test_the_fingerprint_changes_with_any_one_number():
    model, seen = make("gpt2").model, set()
    again = lambda: CausalLM(model, WORDS, "gpt2", LENGTH).fingerprint
    plain = again()
    for tensor in model.state_dict().values():
        values = tensor.view(-1)
        own = values[-1].clone()
        values[-1] = torch.nextafter(own, torch.tensor(9.0, dtype=own.dtype))
        seen.add(again())
        values[-1] = own
    assert plain not in seen
    assert len(seen) == len(model.state_dict()) - 1  # the embeddings have two names
    assert again() == plain
    model.config.activation_function = "silu"
    assert again() not in (plain, *seen)
    assert make("gpt2", torch.float32).fingerprint != plain


@pytest.mark.parametrize("left", [False, True])
def test_a_prompt_stands_right_before_its_row_and_padding_is_outside(left):
    backbone, leads = make("llama"), prompts(3, torch.float32)
    sequences = [[5, 6], [7, 8, 9, 4], []]
    embeds, mask = embedded(backbone, leads, sequences, left)
    assert embeds.shape == (3, LENGTH + 4, WIDTH)
    assert embeds.dtype == torch.float64 and mask.dtype == torch.long
    for lead, ids, found, own in zip(leads, sequences, embeds, mask, strict=True):
        expected = torch.cat([lead.double(), backbone.weight[ids]])
        empty = 4 - len(ids)
        padding, there = [0] * empty, [1] * len(expected)
        assert own.tolist() == (padding + there if left else there + padding)
        assert torch.equal(found[own.bool()], expected)


def test_a_text_is_read_without_special_tokens_and_outer_spaces():
    backbone = toy_backbone()
    ids = backbone.tokenizer(" two words ")["input_ids"]
    assert backbone.texts(torch.tensor([[0, *ids, 1, 0]])) == ["two words"]


def test_ranking_without_a_family_rule_takes_the_option_with_the_least_sum(monkeypatch):
    """Summed and not averaged: the long option has the lower mean, the short one the lower sum."""
    backbone = make("bert")
    options = backbone.encode(("no", "a long option"), ("no", "a long option"))
    asked = []

    def logits_of(rows):
        asked.append([(r.input_ids, r.label_ids) for r in rows])
        short = len(rows[0].label_ids) < 5
        return torch.tensor([3.0, 9.0, 5.0] if short else [8.0, 8.0, 8.0]), "labels"

    def nll_of(logits, labels):
        assert labels == "labels"
        return logits

    monkeypatch.setattr(backbone, "answer_logits", logits_of)
    monkeypatch.setattr(base, "answer_nll", nll_of)
    rows = backbone.encode(TEXTS, ANSWERS)
    assert rank(backbone, prompts(3), rows, options) == [0, 1, 0]
    assert asked == [[(r.input_ids, o.label_ids) for r in rows] for o in options]


def test_what_generates_and_ranks_does_both_with_what_it_was_given(monkeypatch):
    backbone, leads = make("gpt2"), prompts(2)
    rows, options = backbone.encode(TEXTS[:2], ANSWERS[:2]), backbone.encode(("yes",), ("yes",))

    def note(name):
        return lambda *given: (name, backbone.prefix, *given)

    monkeypatch.setattr(backbone, "generate", note("texts"))
    monkeypatch.setattr(backbone, "option_nll", note("scores"))
    with backbone.prepended(leads):
        texts, scores = backbone.generate_and_rank(rows, 7, options)
    assert texts == ("texts", leads, rows, 7) and scores == ("scores", leads, rows, options)
    assert backbone.prefix is None
