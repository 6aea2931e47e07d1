"""Families of models by value: every option's score, plain greedy answers, positions and masks."""

import sys
from functools import wraps

import pytest
import torch
from soft_prompts import generate, generate_and_rank, nll, rank
from test_families import (
    ANSWERS,
    MODELS,
    TEXTS,
    WORDS,
    WRITERS,
    make,
    prompts,
)

from ipt.backbones import base as backbone_module
from ipt.backbones.base import Encoded, answer_nll
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.masked import MaskedLM

OPTIONS = ("yes", "perhaps not", "no idea at all")
END, MASK, START = WORDS.eos_token_id, WORDS.mask_token_id, WORDS.bos_token_id
# weights with which greedy answers end after different numbers of tokens, none at once
DRAWS = {"t5": 11, "mt5": 2, "bart": 126, "gpt2": 2, "llama": 2}


def letters(text):
    """The tokens of a text, one for each letter."""
    return WORDS(text, add_special_tokens=False)["input_ids"]


def scores_of(monkeypatch, module, deed):
    """Return the options' nats [B, O] that are summed while `deed` is done, and what it returns."""
    found = []

    def noted(*given):
        found.append(answer_nll(*given))
        return found[-1]

    monkeypatch.setattr(module, "answer_nll", noted)
    done = deed()
    monkeypatch.undo()
    return torch.stack(found, 1), done


def module_of(backbone):
    """Return the module in which a backbone sums the options' nats."""
    if isinstance(backbone, MaskedLM):
        return backbone_module
    return sys.modules[type(backbone).__module__]


def by_option(backbone, leads, rows, options):
    """Return the nats [B, O] of each option behind each row, one row and one option at a time."""
    lines = []
    for i, row in enumerate(rows):
        own = [Encoded(row.input_ids, option.label_ids) for option in options]
        lines.append([float(nll(backbone, leads[i : i + 1], [one])) for one in own])
    return torch.tensor(lines, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_every_options_score_is_its_loss_behind_the_row(name, monkeypatch):
    """Options and rows of different lengths: nothing of one option is left for the next."""
    backbone, leads = make(name), prompts(len(TEXTS))
    rows, options = backbone.encode(TEXTS, ANSWERS), backbone.encode(OPTIONS, OPTIONS)
    expected = by_option(backbone, leads, rows, options)
    ranking = lambda: rank(backbone, leads, rows, options)
    found, ranked = scores_of(monkeypatch, module_of(backbone), ranking)
    assert torch.allclose(found, expected, rtol=1e-9)
    assert ranked == expected.argmin(1).tolist()
    assert float(expected.diff(dim=0).abs().min()) > 1e-3  # control: rows differ
    assert float(expected.diff(dim=1).abs().min()) > 1e-3  # control: and so do options


@pytest.mark.parametrize("name", MODELS)
def test_the_least_sum_is_ranked_first_in_whatever_place(name):
    backbone, leads = make(name), prompts(len(TEXTS))
    rows, options = backbone.encode(TEXTS, ANSWERS), backbone.encode(OPTIONS, OPTIONS)
    best = rank(backbone, leads, rows, options)
    assert rank(backbone, leads, rows, options[::-1]) == [2 - place for place in best]
    turned = [*options[1:], options[0]]
    assert rank(backbone, leads, rows, turned) == [(place - 1) % 3 for place in best]


@pytest.mark.parametrize("name", WRITERS)
def test_generating_and_ranking_at_once_is_both(name, monkeypatch):
    backbone, leads = drawn(name), 2 * prompts(len(TEXTS))
    rows, options = backbone.encode(TEXTS, ANSWERS), backbone.encode(OPTIONS, OPTIONS)
    expected = by_option(backbone, leads, rows, options)
    both = lambda: generate_and_rank(backbone, leads, rows, 8, options)
    found, (texts, ranked) = scores_of(monkeypatch, module_of(backbone), both)
    assert torch.allclose(found, expected, rtol=1e-9) and ranked == expected.argmin(1).tolist()
    assert texts == [greedy(backbone, leads[i : i + 1], row, 8) for i, row in enumerate(rows)]


def drawn(name):
    """A model whose greedy answers end: the end sign's logit is larger than others', either way."""
    backbone = make(name)
    torch.manual_seed(DRAWS[name])
    for parameter in backbone.model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.5)
    backbone.model.get_output_embeddings().weight.data[END] *= 3
    backbone.model.generation_config.forced_eos_token_id = None  # BART would end at the limit
    return backbone


@torch.no_grad()
def greedy(backbone, lead, row, most):
    """Return a greedy answer: one token after another, without cache, padding or company."""
    model, answer = backbone.model, []
    embeds = torch.cat([lead, backbone.embed(torch.tensor([row.input_ids]))], 1)
    while len(answer) < most and END not in answer:
        if isinstance(backbone, EncoderDecoder):
            ids = torch.tensor([[model.config.decoder_start_token_id, *answer]])
            logits = model(inputs_embeds=embeds, decoder_input_ids=ids, use_cache=False).logits
        else:
            own = backbone.embed(torch.tensor([answer], dtype=torch.long))
            logits = model(inputs_embeds=torch.cat([embeds, own], 1), use_cache=False).logits
        answer.append(int(logits[0, -1].argmax()))
    return WORDS.decode(answer, skip_special_tokens=True)


@pytest.mark.parametrize("name", WRITERS)
def test_an_answer_is_the_plain_greedy_one_and_stops_at_the_end_sign(name):
    """Whatever the model's own settings say: they ask for samples of three beams, here."""
    backbone, leads = drawn(name), 2 * prompts(len(TEXTS))
    backbone.model.generation_config.do_sample = True
    backbone.model.generation_config.num_beams = 3
    rows = backbone.encode(TEXTS, ANSWERS)
    for most in (8, 3):
        expected = [greedy(backbone, leads[i : i + 1], row, most) for i, row in enumerate(rows)]
        assert generate(backbone, leads, rows, most) == expected
        lengths = [len(text) for text in expected]
        assert min(lengths) < max(lengths) == most  # control: some end sooner


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_left_to_right_model_stops_at_the_tokenizers_end_sign(name):
    backbone, leads = drawn(name), 2 * prompts(len(TEXTS))
    rows = backbone.encode(TEXTS, ANSWERS)
    expected = generate(backbone, leads, rows, 8)
    backbone.model.generation_config.eos_token_id = 50  # the model's own
    backbone.model.generation_config.pad_token_id = 51
    assert generate(backbone, leads, rows, 8) == expected


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_left_padding_is_hidden_and_has_no_positions(name, monkeypatch):
    """Each row's prompt begins at position 0, in losses as in ranking; padding is masked."""
    backbone, leads, asked = make(name), prompts(2), []
    forward = backbone.model.forward

    @wraps(forward)  # the names that it takes are asked for
    def noted(*given, **more):
        asked.append(more)
        return forward(*given, **more)

    monkeypatch.setattr(backbone.model, "forward", noted)
    rows, options = (
        [Encoded((9, 8, 7, 6), (5, END)), Encoded((9,), (5, 4, END))],
        [Encoded((), (5, 4, END))],
    )
    nll(backbone, leads, rows)
    rank(backbone, leads, rows, options)
    loss, read, written = asked
    own = [[1] * 9, [0, 0] + [1] * 7]  # 3 + 4 + 2 and 3 + 1 + 3
    assert loss["attention_mask"].tolist() == own
    assert [p[-n:] for p, n in zip(loss["position_ids"].tolist(), (9, 7), strict=True)] == [
        list(range(9)),
        list(range(7)),
    ]
    own = [[1] * 7, [0] * 3 + [1] * 4]
    assert read["attention_mask"].tolist() == own
    assert [p[-n:] for p, n in zip(read["position_ids"].tolist(), (7, 4), strict=True)] == [
        list(range(7)),
        list(range(4)),
    ]
    assert written["attention_mask"].tolist() == [[*line, 1, 1] for line in own]
    assert written["position_ids"].tolist() == [[7, 8], [4, 5]]
