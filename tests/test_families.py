"""Every family of language models: loss and answers against PEFT, rows that do not disturb each other, and loading."""

import pytest
import torch
from conftest import toy_tokenizer
from peft import PeftModel, PromptTuningConfig, get_peft_model
from soft_prompts import generate, losses, nll, rank
from tokenizers import decoders, processors
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
)

from ipt.backbones.base import Backbone, Encoded, answer_nll
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import family_of, load_backbone
from ipt.backbones.masked import MaskedLM

LENGTH, WIDTH = 3, 16
TEXTS = ("red cold", "a much longer input, of many words", "tall")
ANSWERS = ("yes", "a longer answer", "no")


def tokenizer() -> PreTrainedTokenizerFast:
    """The toy's, with a start, an end and a mask as BART, BERT and RoBERTa have them."""
    found = toy_tokenizer()
    found.add_special_tokens(
        {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "mask_token": "<mask>"}
    )
    pair = [("<s>", found.bos_token_id), ("</s>", found.eos_token_id)]
    found.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=pair
    )
    found.backend_tokenizer.decoder = (
        decoders.Fuse()
    )  # a letter for every byte: answers that differ look different
    return found


WORDS = tokenizer()
T5 = {
    "d_model": WIDTH,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
    "decoder_start_token_id": 0,
}
COMMON = {
    "vocab_size": len(WORDS),
    "pad_token_id": 0,
    "eos_token_id": 1,
    "bos_token_id": WORDS.bos_token_id,
}
BART = {
    "d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 200, "decoder_start_token_id": 1, "forced_eos_token_id": 1,
    "scale_embedding": True,
}  # fmt: skip
LLAMA = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
BERT = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 200,
}
MODELS = {
    "t5": (T5ForConditionalGeneration, T5Config, T5),
    "mt5": (MT5ForConditionalGeneration, MT5Config, T5),
    "bart": (BartForConditionalGeneration, BartConfig, BART),
    "gpt2": (
        GPT2LMHeadModel,
        GPT2Config,
        {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 200},
    ),
    "llama": (LlamaForCausalLM, LlamaConfig, LLAMA),
    "bert": (BertForMaskedLM, BertConfig, BERT),
    "roberta": (RobertaForMaskedLM, RobertaConfig, BERT),
}
WRITERS = [name for name in MODELS if name not in ("bert", "roberta")]


def make(name: str, dtype: torch.dtype = torch.float64) -> Backbone:
    torch.manual_seed(0)
    kind, config, sizes = MODELS[name]
    model = kind(config(**COMMON, **sizes)).double()
    for parameter in model.parameters():
        if parameter.dim() > 1:  # larger than usual: rows and prompts must make a difference
            torch.nn.init.normal_(parameter, std=0.5)
    model = model.to(dtype)
    return family_of(model.config, name)(model, WORDS, name, LENGTH)


def prompts(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(
        count, LENGTH, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    ).to(dtype)


def as_peft(backbone: Backbone, prompt: torch.Tensor) -> PeftModel:
    """PEFT's own prompt tuning with our prompt."""
    kind = "SEQ_2_SEQ_LM" if isinstance(backbone, EncoderDecoder) else "CAUSAL_LM"
    config = PromptTuningConfig(
        task_type=kind, num_virtual_tokens=LENGTH, num_transformer_submodules=1, token_dim=WIDTH
    )
    found = get_peft_model(backbone.model, config)
    found.prompt_encoder["default"].embedding.weight.data = prompt.clone()
    return found.eval()


@pytest.mark.parametrize("name", MODELS)
def test_the_family_is_read_from_the_configuration(name):
    expected = {"gpt2": CausalLM, "llama": CausalLM, "bert": MaskedLM, "roberta": MaskedLM}.get(
        name, EncoderDecoder
    )
    assert type(make(name)) is expected


@pytest.mark.parametrize("name", MODELS)
def test_rows_with_their_own_prompts_equal_one_at_a_time(name):
    backbone = make(name)
    rows, leads = backbone.encode(TEXTS, ANSWERS), prompts(len(TEXTS))
    together = losses(backbone, leads, rows)
    alone = torch.cat(
        [losses(backbone, leads[i : i + 1], rows[i : i + 1]) for i in range(len(rows))]
    )
    assert torch.allclose(together, alone, rtol=1e-10)  # neither padding nor company matters
    order = torch.tensor([2, 0, 1])
    assert torch.allclose(
        losses(backbone, leads[order], [rows[i] for i in order]), together[order], rtol=1e-10
    )
    same = losses(backbone, leads[:1].expand(3, -1, -1), rows[:1] * 3)
    other = losses(backbone, leads, rows[:1] * 3)
    assert (
        torch.allclose(same, same[:1], rtol=1e-10)
        and len({round(x, 6) for x in other.tolist()}) == 3
    )  # control
    in_single = losses(make(name, torch.float32), prompts(len(TEXTS), torch.float32), rows)
    assert torch.allclose(in_single.double(), together, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_each_rows_own_prompt_only(name):
    backbone, leads = make(name), prompts(len(TEXTS)).requires_grad_()
    losses(backbone, leads, backbone.encode(TEXTS, ANSWERS))[1].backward()
    assert leads.grad[1].abs().sum() > 0 and leads.grad[[0, 2]].abs().sum() == 0
    assert all(p.grad is None for p in backbone.model.parameters())


@pytest.mark.parametrize("name", WRITERS)
def test_loss_equals_pefts(name):
    backbone = make(name)
    prompt = prompts(1)
    peft = as_peft(make(name), prompt[0])
    for row in backbone.encode(TEXTS, ANSWERS):
        labels = torch.tensor([row.label_ids])
        ids = torch.tensor([row.input_ids])
        if isinstance(backbone, CausalLM):
            ids, labels = (
                torch.cat([ids, labels], 1),
                torch.cat([torch.full_like(ids, -100), labels], 1),
            )
        loss = peft(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        assert float(losses(backbone, prompt, [row])) == pytest.approx(float(loss), rel=1e-6)
        assert float(losses(backbone, prompts(2)[1:], [row])) != pytest.approx(
            float(loss), rel=1e-4
        )  # control


def telling(name: str) -> Backbone:
    """The model, for BART with weights whose answers depend on what leads: with the first ones it repeats one token."""
    backbone = make(name)
    torch.manual_seed(5)
    for parameter in backbone.model.parameters():
        if parameter.dim() > 1 and name == "bart":
            torch.nn.init.normal_(parameter, std=0.5)
    return backbone


@pytest.mark.parametrize("name", WRITERS)
def test_answers_equal_pefts(name):
    backbone, leads = telling(name), 2 * prompts(len(TEXTS))
    rows = backbone.encode(TEXTS, ANSWERS)
    together = generate(backbone, leads, rows, 8)
    for i, row in enumerate(rows):
        ids = torch.tensor([row.input_ids])
        plain = {
            "max_new_tokens": 8,
            "do_sample": False,
            "num_beams": 1,
            "pad_token_id": 0,
            "eos_token_id": 1,
        }
        found = as_peft(telling(name), leads[i]).generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), **plain
        )
        read = 1 if isinstance(backbone, EncoderDecoder) else ids.shape[1]
        assert backbone.texts(found[:, read:]) == together[i : i + 1]
    assert len(set(together)) == 3  # control


@pytest.mark.parametrize("name", MODELS)
def test_the_likeliest_option_has_the_least_loss(name):
    """Which letter it is depends on the prompt, so that the order says something."""
    backbone, leads, letters = make(name), 3 * prompts(20), "abcdefghijkl"
    rows = backbone.encode(TEXTS[:1] * 20, ANSWERS[:1] * 20)
    options = backbone.encode(letters, letters)
    scores = []
    for option in options:
        answered = [Encoded(row.input_ids, option.label_ids) for row in rows]
        scores.append(nll(backbone, leads, answered))
    least = torch.stack(scores, 1).argmin(1).tolist()
    assert rank(backbone, leads, rows, options) == least
    assert len(set(least)) > 1  # control


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_masked_model_predicts_at_its_masks(name):
    backbone, lead = make(name), prompts(1)
    (row,) = backbone.encode(("red",), ("no",))
    blanks = len(row.label_ids)
    ids = [*row.input_ids[:-1], *[WORDS.mask_token_id] * blanks, row.input_ids[-1]]
    embeds = torch.cat([lead, backbone.embed(torch.tensor([ids]))], 1)
    logits = backbone.model(inputs_embeds=embeds).logits[0, -1 - blanks : -1].log_softmax(-1)
    by_hand = -sum(float(logits[i, token]) for i, token in enumerate(row.label_ids))
    assert float(nll(backbone, lead, [row])) == pytest.approx(by_hand)
    with pytest.raises(ValueError, match="ranks options"):
        generate(backbone, lead, [row], 4)


@pytest.mark.parametrize(
    ("name", "left"), [("gpt2", 133), ("bart", 197), ("bert", 133), ("roberta", 132)]
)
def test_a_prompt_leaves_fewer_positions_for_the_text(name, left):
    backbone = make(
        name
    )  # 200 positions, 3 for the prompt, 64 for the answer where it shares them; RoBERTa's count from 1
    (row,) = backbone.encode(("x" * 300,), ("y" * 300,))
    assert backbone.max_input == left == len(row.input_ids)
    assert torch.isfinite(losses(backbone, prompts(1), [row])).all()
    with pytest.raises(
        ValueError,
        match=r"a tuner of 190 vectors leaves \d+ tokens for the input, of the \d+ positions",
    ):
        type(backbone)(backbone.model, WORDS, name, 190)


def test_a_relative_position_takes_any_length():
    assert make("t5").max_input == 256


@pytest.mark.parametrize("name", MODELS)
def test_a_folder_loads_as_it_was(name, tmp_path):
    backbone = make(name, torch.float32)
    backbone.model.save_pretrained(tmp_path)
    WORDS.save_pretrained(tmp_path)
    loaded = load_backbone(str(tmp_path), LENGTH, device="cpu")
    rows, leads = backbone.encode(TEXTS, ANSWERS), prompts(len(TEXTS), torch.float32)
    assert loaded.fingerprint == backbone.fingerprint and loaded.encode(TEXTS, ANSWERS) == rows
    assert torch.allclose(losses(loaded, leads, rows), losses(backbone, leads, rows), rtol=1e-5)
    half = load_backbone(str(tmp_path), LENGTH, dtype="bfloat16", device="cpu")
    assert half.dtype == "bfloat16" and half.fingerprint != loaded.fingerprint
    assert torch.allclose(losses(half, leads, rows), losses(loaded, leads, rows), rtol=0.2)
    assert losses(half, leads, rows).dtype == torch.float32


def test_what_cannot_be_loaded_says_why(tmp_path):
    ViTConfig().save_pretrained(tmp_path / "vision")
    text = "'vit' is no encoder-decoder, causal or masked language model"
    with pytest.raises(ValueError, match=text):
        load_backbone(str(tmp_path / "vision"))
    backbone = make("gpt2", torch.float32)
    backbone.model.save_pretrained(tmp_path / "bare")
    with pytest.raises(ValueError, match="cannot be read .* tokenizer"):
        load_backbone(str(tmp_path / "bare"))
    WORDS.save_pretrained(tmp_path / "bare")
    weights = tmp_path / "bare" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read"):
        load_backbone(str(tmp_path / "bare"))
    weights.unlink()
    torch.save(
        backbone.model.state_dict(), tmp_path / "bare" / "pytorch_model.bin"
    )  # would run code when read
    with pytest.raises(ValueError, match="cannot be read .*safetensors"):
        load_backbone(str(tmp_path / "bare"))


def test_a_large_vocabulary_costs_no_precision():
    """In float32 the loss over 50,000 tokens stays within 1e-6 of float64."""
    logits = 5 * torch.randn(
        2, 3, 50_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    labels = torch.tensor([[1, 2, -100], [3, 4, 5]])
    exact = answer_nll(logits, labels)
    assert torch.allclose(answer_nll(logits.float(), labels).double(), exact, rtol=1e-6)
    by_row = -torch.stack(
        [
            logits[0, :2].log_softmax(-1)[[0, 1], [1, 2]].sum(),
            logits[1].log_softmax(-1)[range(3), [3, 4, 5]].sum(),
        ]
    )
    assert torch.allclose(exact, by_row)  # padding counts nothing
