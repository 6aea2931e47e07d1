"""Families of models by value: every option's score, plain greedy answers, tokens of inputs and answers, clozes."""

import pytest
import torch
from test_families import ANSWERS, LENGTH, MODELS, TEXTS, WIDTH, WORDS, WRITERS, make, prompts, tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CamembertConfig,
    CamembertForMaskedLM,
    PreTrainedTokenizerFast,
    RobertaForMaskedLM,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

from ipt import backbone as backbone_module
from ipt import families
from ipt.backbone import Encoded, row_nll
from ipt.families import EncoderDecoder, LeftToRight, Masked

OPTIONS = ("yes", "perhaps not", "no idea at all")
END, MASK, START = WORDS.eos_token_id, WORDS.mask_token_id, WORDS.bos_token_id
# weights with which greedy answers end after different numbers of tokens, none at once
DRAWS = {"t5": 11, "mt5": 2, "bart": 126, "gpt2": 2, "llama": 2}


def letters(text):
    """The tokens of a text, one for each letter."""
    return WORDS(text, add_special_tokens=False)["input_ids"]


def scores_of(monkeypatch, module, deed):
    """Return every option's nats [B, O] that are summed while `deed` is done, and what it returns."""
    found = []

    def noted(*given):
        found.append(row_nll(*given))
        return found[-1]

    monkeypatch.setattr(module, "row_nll", noted)
    done = deed()
    monkeypatch.undo()
    return torch.stack(found, 1), done


def by_option(backbone, leads, rows, options):
    """Return the nats [B, O] of each option behind each row, one row and one option at a time."""
    lines = []
    for i, row in enumerate(rows):
        lines.append([float(backbone.nll(leads[i : i + 1], [Encoded(row.input_ids, o.label_ids)])) for o in options])
    return torch.tensor(lines, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_every_options_score_is_its_loss_behind_the_row(name, monkeypatch):
    """Three options of different lengths, rows of different lengths: nothing of one option is left for the next."""
    backbone, leads = make(name), prompts(len(TEXTS))
    rows, options = backbone.encode(TEXTS, ANSWERS), backbone.encode(OPTIONS, OPTIONS)
    expected = by_option(backbone, leads, rows, options)
    module = backbone_module if isinstance(backbone, Masked) else families
    found, ranked = scores_of(monkeypatch, module, lambda: backbone.rank(leads, rows, options))
    assert torch.allclose(found, expected, rtol=1e-9)
    assert ranked == expected.argmin(1).tolist()
    assert float(expected.diff(dim=0).abs().min()) > 1e-3 and float(expected.diff(dim=1).abs().min()) > 1e-3  # control


@pytest.mark.parametrize("name", MODELS)
def test_the_least_sum_is_ranked_first_in_whatever_place(name):
    backbone, leads = make(name), prompts(len(TEXTS))
    rows, options = backbone.encode(TEXTS, ANSWERS), backbone.encode(OPTIONS, OPTIONS)
    best = backbone.rank(leads, rows, options)
    assert backbone.rank(leads, rows, options[::-1]) == [2 - place for place in best]
    assert backbone.rank(leads, rows, [*options[1:], options[0]]) == [(place - 1) % 3 for place in best]


@pytest.mark.parametrize("name", WRITERS)
def test_generating_and_ranking_at_once_is_both(name, monkeypatch):
    backbone, leads = drawn(name), 2 * prompts(len(TEXTS))
    rows, options = backbone.encode(TEXTS, ANSWERS), backbone.encode(OPTIONS, OPTIONS)
    expected = by_option(backbone, leads, rows, options)
    found, (texts, ranked) = scores_of(monkeypatch, families, lambda: backbone.generate_and_rank(leads, rows, 8, options))
    assert torch.allclose(found, expected, rtol=1e-9) and ranked == expected.argmin(1).tolist()
    assert texts == [greedy(backbone, leads[i : i + 1], row, 8) for i, row in enumerate(rows)]


def drawn(name):
    """A model whose greedy answers end: other random weights, the end sign's logit larger than others' either way."""
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
        assert backbone.generate(leads, rows, most) == expected
        assert len({len(text) for text in expected}) > 1 and max(map(len, expected)) == most  # control: some end sooner


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_left_to_right_model_stops_at_the_tokenizers_end_sign(name):
    backbone, leads = drawn(name), 2 * prompts(len(TEXTS))
    rows = backbone.encode(TEXTS, ANSWERS)
    expected = backbone.generate(leads, rows, 8)
    backbone.model.generation_config.eos_token_id = 50  # the model's own
    backbone.model.generation_config.pad_token_id = 51
    assert backbone.generate(leads, rows, 8) == expected


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_left_padding_is_hidden_and_has_no_positions(name, monkeypatch):
    """Each row's prompt begins at position 0, at the loss as in ranking; places of padding are masked."""
    backbone, leads, asked = make(name), prompts(2), []
    forward = backbone.model.forward

    def noted(*given, **more):
        asked.append(more)
        return forward(*given, **more)

    monkeypatch.setattr(backbone.model, "forward", noted)
    rows, options = [Encoded((9, 8, 7, 6), (5, END)), Encoded((9,), (5, 4, END))], [Encoded((), (5, 4, END))]
    backbone.nll(leads, rows)
    backbone.rank(leads, rows, options)
    loss, read, written = asked
    own = [[1] * 9, [0, 0] + [1] * 7]  # 3 + 4 + 2 and 3 + 1 + 3
    assert loss["attention_mask"].tolist() == own
    assert [p[-n:] for p, n in zip(loss["position_ids"].tolist(), (9, 7), strict=True)] == [list(range(9)), list(range(7))]
    own = [[1] * 7, [0] * 3 + [1] * 4]
    assert read["attention_mask"].tolist() == own
    assert [p[-n:] for p, n in zip(read["position_ids"].tolist(), (7, 4), strict=True)] == [list(range(7)), list(range(4))]
    assert written["attention_mask"].tolist() == [[*line, 1, 1] for line in own]
    assert written["position_ids"].tolist() == [[7, 8], [4, 5]]


# tokens of inputs


def ending(template):
    """The tests' tokenizer with another frame around each text."""
    found = tokenizer()
    pair = [("<s>", START), ("</s>", END)]
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=pair)
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
    assert backbone.input_ids("r</s>d") == before + letters("r") + [END] + letters("d") + newline  # one in mid-text stays
    cut = backbone.input_ids("y" * 300)
    assert cut == before + letters("y") * (133 - len(before) - 1) + newline and len(cut) == backbone.max_input == 133
    fits = backbone.input_ids("y" * (132 - len(before)))
    assert fits == cut


def test_an_empty_left_to_right_input_keeps_its_only_sign():
    assert reads("gpt2", "$A </s>").input_ids("") == [END, *letters("\n")]  # GPT-2's start is its end sign
    assert reads("gpt2", "<s> $A </s>").input_ids("") == [START, *letters("\n")]


@pytest.mark.parametrize(("name", "longest"), [("bart", 197), ("t5", 256)])
@pytest.mark.parametrize(("template", "before"), [("<s> $A </s>", [START]), ("$A </s>", []), ("$A", [])])
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
    found = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(names)}, merges=[("n", "o"), ("Ġ", "no")]))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    signs = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=found, mask_token=AddedToken("<mask>", lstrip=True), **signs)
    fast.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 2), ("</s>", 1)])
    return fast


def test_an_option_of_a_masked_model_is_a_word_after_a_space():
    words = word_bpe()
    bare, spaced = words.convert_tokens_to_ids(["no", "Ġno"])
    backbone = Masked(make("roberta").model, words, "roberta", LENGTH)
    assert backbone.label_ids("no") == [spaced] and backbone.label_ids("nono") == [spaced, bare]  # and no end sign
    assert backbone.label_ids("nono no") == [spaced, bare, spaced]
    assert len(backbone.label_ids("no" * 64)) == len(backbone.label_ids("no" * 65)) == 64
    assert len(backbone.label_ids("no" * 63)) == 63
    left = LeftToRight(make("gpt2").model, words, "gpt2", LENGTH)
    assert left.label_ids("no") == [bare, END]  # control: a newline stands before an answer that is written


def test_the_masks_stand_at_the_end_of_the_input_and_only_they_are_labelled():
    """Rows of different lengths: prompt, input, a mask for each token of the answer, the end sign, padding."""
    backbone, leads = make("bert"), prompts(2)
    rows = [Encoded((START, 9, 8, END), (20, 21)), Encoded((START, END), (22, 23, 24))]
    embeds = []
    forward = backbone.model.forward

    def noted(inputs_embeds, attention_mask):
        embeds.append((inputs_embeds, attention_mask))
        return forward(inputs_embeds=inputs_embeds, attention_mask=attention_mask)

    backbone.model.forward = noted
    logits, labels = backbone.answer_logits(leads, rows)
    assert labels.tolist() == [[-100] * 6 + [20, 21, -100], [-100] * 4 + [22, 23, 24, -100, -100]]
    assert logits.shape == (2, 9, len(WORDS))
    ((found, mask),) = embeds
    for lead, own, here, cloze in zip(leads, mask, found, ([START, 9, 8, MASK, MASK, END], [START, MASK, MASK, MASK, END]), strict=True):
        assert own.tolist() == [1] * (3 + len(cloze)) + [0] * (6 - len(cloze))
        assert torch.equal(here[own.bool()], torch.cat([lead, backbone.weight[cloze]]))


@pytest.mark.parametrize(
    ("kind", "config"),
    [(RobertaForMaskedLM, MODELS["roberta"][1]), (XLMRobertaForMaskedLM, XLMRobertaConfig), (CamembertForMaskedLM, CamembertConfig)],
)
def test_robertas_kin_count_positions_from_behind_the_padding(kind, config):
    sizes = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    for pad_id in (0, 1, 5):
        made = config(**sizes, vocab_size=len(WORDS), max_position_embeddings=130, pad_token_id=pad_id, bos_token_id=2, eos_token_id=1)
        backbone = Masked(kind(made), WORDS, "kin", LENGTH)
        assert backbone.positions == 130 - pad_id - 1
        (row,) = backbone.encode(("x" * 300,), ("y" * 300,))  # as long as they can be
        assert torch.isfinite(backbone.nll(torch.zeros(1, LENGTH, WIDTH), [row])).all()
    assert make("bert").positions == 200  # control
    with pytest.raises(ValueError, match="bert is a masked model: it ranks options and writes no text"):
        make("bert").generate(prompts(1), [row], 4)


def test_only_masked_models_write_no_text_and_only_encoders_keep_the_answer_apart():
    assert [make(name).generates for name in ("t5", "gpt2", "bert")] == [True, True, False]
    assert [make(name).shares_positions for name in ("bart", "gpt2", "bert")] == [False, True, True]
    assert [make(name).positions for name in ("t5", "mt5", "bart", "gpt2", "llama")] == [None, None, 200, 200, 2048]
