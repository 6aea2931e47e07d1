"""Each model type against transformers: loss, padding, ranking and greedy answers, or its refusal.

The table is in `architectures`; the docs' list is made from it.
"""

import architectures
import pytest
import torch
from architectures import ARCHITECTURES, BESIDE, EMBEDS, ORDER, PAGE, Architecture
from soft_prompts import losses, nll
from transformers import CONFIG_MAPPING, GenerationConfig

from ipt.backbones import check as architectures_check
from ipt.backbones.base import Backbone, Encoded, answer_nll
from ipt.backbones.check import ROWS_TOGETHER, check

TEXTS = ("red bird", "a much longer input , of many words and more words", "is it low")
ANSWERS = ("yes", "a longer answer", "no")
LEAD = "the cold tall"
LONG = 400  # words, more than there are positions
SUPPORTED = [item for item in ARCHITECTURES if not item.refused]
REFUSED = [item for item in ARCHITECTURES if item.refused]


def made(architecture: Architecture) -> Backbone:
    if architecture.kind not in CONFIG_MAPPING:
        pytest.skip(f"this transformers has no {architecture.kind}")
    return architectures.make(architecture)


def by_tokens(backbone: Backbone, lead: list[int], row: Encoded) -> float:
    """Return the loss that transformers' own model gives the same tokens, summed."""
    model = backbone.model
    labels = torch.tensor([row.label_ids])
    ids = torch.tensor([[*lead, *row.input_ids]])
    count = len(row.label_ids)
    if model.config.is_encoder_decoder:
        start = torch.tensor([[backbone.start, *row.label_ids[:-1]]])
        output = model(input_ids=ids, decoder_input_ids=start, labels=labels)
        return float(output.loss) * count
    if backbone.generates:
        ignored = torch.full_like(ids, -100)
        output = model(input_ids=torch.cat([ids, labels], 1), labels=torch.cat([ignored, labels], 1))
        return float(output.loss) * count
    *text, end = row.input_ids
    masks = [backbone.tokenizer.mask_token_id] * count
    cloze = torch.tensor([[*lead, *text, *masks, end]])
    logits = model(input_ids=cloze).logits[:, -count - 1 : -1]
    return float(answer_nll(logits, labels))


def written(backbone: Backbone, lead: list[int], row: Encoded) -> list[int]:
    """Return transformers' own greedy answer to the same tokens."""
    ids = torch.tensor([[*lead, *row.input_ids]])
    plain = GenerationConfig(
        max_new_tokens=5,
        do_sample=False,
        eos_token_id=backbone.end,
        pad_token_id=backbone.end,
        decoder_start_token_id=backbone.start,
    )
    found = backbone.model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=plain
    )
    new = found[0, 1:] if backbone.model.config.is_encoder_decoder else found[0, ids.shape[1] :]
    answer = new.tolist()
    return answer[: answer.index(backbone.end)] if backbone.end in answer else answer


@pytest.mark.parametrize("architecture", SUPPORTED, ids=lambda item: item.kind)
@torch.no_grad()
def test_a_supported_model_is_read_as_transformers_reads_it(architecture):
    backbone = made(architecture)
    check(backbone)
    rows = backbone.encode(TEXTS, ANSWERS)
    lead = backbone.ids(LEAD)[:3]
    prompts = backbone.embed(torch.tensor([lead])).repeat(len(rows), 1, 1)

    together = losses(backbone, prompts, rows)
    counts = torch.tensor([len(row.label_ids) for row in rows])
    expected = torch.tensor([by_tokens(backbone, lead, row) for row in rows])
    assert torch.allclose(together * counts, expected, rtol=1e-4, atol=1e-4)
    assert len({round(value, 3) for value in together.tolist()}) > 1  # control
    alone = [losses(backbone, prompts[:1], [row]) for row in rows]
    assert torch.allclose(together, torch.cat(alone), rtol=1e-4)

    options = backbone.encode(ANSWERS, ANSWERS)
    with backbone.prepended(prompts):
        ranked = backbone.option_nll(rows, options)
    for number, option in enumerate(options):
        answered = [Encoded(row.input_ids, option.label_ids) for row in rows]
        assert torch.allclose(ranked[:, number], nll(backbone, prompts, answered), rtol=1e-4)
    if architecture.family == "causal":
        assert backbone.keeps_inputs is not architecture.rereads

    if backbone.generates:
        with backbone.prepended(prompts):
            answers = backbone.generate_ids(rows, 5)
        assert answers == [written(backbone, lead, row) for row in rows]

    (full,) = backbone.encode(["word " * LONG], ["word " * LONG])
    assert losses(backbone, prompts[:1], [full]).isfinite().all()


@pytest.mark.parametrize("architecture", REFUSED, ids=lambda item: item.kind)
def test_another_model_is_refused_in_one_line_with_the_reason(architecture):
    backbone = made(architecture)
    with pytest.raises(ValueError, match=f"^--model {architecture.kind}: ") as told:
        check(backbone)
    text = str(told.value)
    assert "\n" not in text and "not supported" in text
    is_checked = architecture.refused in (BESIDE, EMBEDS, ORDER)
    assert architecture.refused in text or not is_checked


def test_the_list_in_the_docs_is_the_one_that_is_tested():
    text = PAGE.read_text(encoding="utf8")
    assert architectures.page(text) == text, "run python tests/architectures.py"
    kinds = [(item.kind, item.family) for item in ARCHITECTURES]
    assert len(set(kinds)) == len(kinds) > 70


@pytest.mark.parametrize("kind", ROWS_TOGETHER)
def test_rows_that_depend_on_their_company_are_measured_and_not_only_named(kind, monkeypatch):
    """Each named type fails the measured checks in float32, where the name is not known."""
    (architecture,) = [item for item in ARCHITECTURES if item.kind == kind]
    assert architecture.refused == BESIDE
    monkeypatch.setattr(architectures_check, "ROWS_TOGETHER", ())
    with pytest.raises(ValueError, match="not supported"):
        check(made(architecture))


def test_rounding_hides_no_rows_that_depend_on_their_company():
    (architecture,) = [item for item in ARCHITECTURES if item.kind == "recurrent_gemma"]
    backbone = made(architecture)
    backbone.model.bfloat16()
    with pytest.raises(ValueError, match=BESIDE):
        check(backbone)
