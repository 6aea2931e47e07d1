"""A frozen model by value: batches and their budget, padding, the loss, cuts and end signs, positions, the fingerprint."""

import hashlib
import json
import math
import warnings

import pytest
import torch
from conftest import toy_backbone
from hypothesis import given, settings
from hypothesis import strategies as st
from test_families import ANSWERS, LENGTH, MODELS, TEXTS, WIDTH, WORDS, WRITERS, make, prompts

from ipt.backbone import Encoded, batches, pad, row_nll
from ipt.families import EncoderDecoder, LeftToRight, Masked

CPU = torch.device("cpu")
END = WORDS.eos_token_id


def row(wide, tall):
    """A row of so many input and answer tokens."""
    return Encoded((5,) * wide, (6,) * tall)


def padded(rows, batch, prompt_length):
    """Return the tokens of a batch, by the widest input and the longest answer in it."""
    wide = max(len(rows[i].input_ids) for i in batch)
    tall = max(len(rows[i].label_ids) for i in batch)
    return len(batch) * (prompt_length + wide + tall)


def test_a_batch_may_use_the_whole_budget_and_not_a_token_more():
    rows = [row(4, 2)] * 6
    assert list(batches(rows, 3, 27)) == [[0, 1, 2], [3, 4, 5]]  # three rows of 3 + 4 + 2
    assert list(batches(rows, 3, 26)) == [[0, 1], [2, 3], [4, 5]]
    assert list(batches(rows, 4, 27)) == [[0, 1], [2, 3], [4, 5]]  # the prompt counts


def test_a_row_over_the_budget_is_a_batch_of_its_own():
    assert list(batches([row(9, 9), row(1, 1), row(1, 1)], 0, 4)) == [[1, 2], [0]]


def test_rows_are_sorted_by_input_and_then_by_answer():
    rows = [row(3, 5), row(2, 9), row(3, 1), row(2, 1)]
    assert list(batches(rows, 0, 1000)) == [[3, 1, 2, 0]]


def test_a_long_answer_counts_in_its_own_batch_only():
    rows = [row(1, 9), row(2, 1), row(2, 1), row(2, 1)]
    assert list(batches(rows, 0, 12)) == [[0], [1, 2, 3]]


def test_no_rows_make_no_batch():
    assert list(batches([], 3, 10)) == []


sizes = st.tuples(st.integers(1, 30), st.integers(1, 9))


@settings(max_examples=60, deadline=None)
@given(st.lists(sizes, max_size=25), st.integers(0, 10), st.integers(1, 300))
def test_every_row_is_in_one_batch_that_is_full_and_within_the_budget(pairs, prompt_length, budget):
    rows = [row(*pair) for pair in pairs]
    found = list(batches(rows, prompt_length, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(rows)))
    assert all(len(batch) == 1 or padded(rows, batch, prompt_length) <= budget for batch in found)
    for batch, after in zip(found, found[1:], strict=False):  # the next row would not have fitted
        assert padded(rows, [*batch, after[0]], prompt_length) > budget


def test_sequences_are_padded_right_or_left():
    found, own = pad([[5, 6], [7], [1, 2, 3]], 9, CPU)
    assert found.tolist() == [[5, 6, 9], [7, 9, 9], [1, 2, 3]] and found.dtype == torch.long
    assert own.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    found, own = pad([[5, 6], [7], [1, 2, 3]], -100, CPU, left=True)
    assert found.tolist() == [[-100, 5, 6], [-100, -100, 7], [1, 2, 3]]
    assert own.tolist() == [[False, True, True], [False, False, True], [True, True, True]]


def test_the_loss_of_a_row_is_the_sum_over_its_own_tokens():
    logits = torch.tensor([[[1.0, 2, 3], [0, 0, 5]], [[2, 0, 0], [1, 1, 1]]], dtype=torch.float64)
    labels = torch.tensor([[2, 1], [0, -100]])
    first = math.log(math.e + math.e**2 + math.e**3) - 3 + math.log(2 + math.e**5)
    second = math.log(math.e**2 + 2) - 2  # its second token is padding
    found = row_nll(logits, labels)
    assert found.tolist() == pytest.approx([first, second]) and found.dtype == torch.float64


def test_smoothing_spreads_its_share_over_the_whole_vocabulary():
    """Of a target, nine tenths are the token's and a tenth is shared by all tokens, the token among them."""
    logits = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = torch.tensor([[2, 1, -100], [0, 6, 3]])
    logs, expected = logits.log_softmax(-1), []
    for b in range(2):
        total = 0.0
        for t in range(3):
            if labels[b, t] >= 0:
                total -= 0.9 * float(logs[b, t, labels[b, t]]) + 0.1 * float(logs[b, t].sum()) / 7
        expected.append(total)
    assert row_nll(logits, labels, 0.1).tolist() == pytest.approx(expected)
    assert row_nll(logits, labels).tolist() != pytest.approx(expected, rel=1e-3)  # control


def test_half_precision_is_summed_in_single():
    logits = torch.randn(1, 4, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.tensor([[1, 2, 3, 4]])
    found = row_nll(logits, labels)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(row_nll(logits.double(), labels)), rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_loss_is_a_mean_over_the_rows_own_answer_tokens(name):
    backbone, leads = make(name), prompts(3)
    rows = backbone.encode(TEXTS, ANSWERS)
    counts = torch.tensor([len(r.label_ids) for r in rows])
    assert len(set(counts.tolist())) == 3  # control
    assert torch.allclose(backbone.losses(leads, rows), backbone.nll(leads, rows) / counts)
    smooth = row_nll(*backbone.answer_logits(leads, rows), 0.3)
    assert torch.equal(backbone.nll(leads, rows, 0.3), smooth)
    assert not torch.allclose(backbone.nll(leads, rows), smooth)


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
    assert found.input_ids == (1,) and found.label_ids[-1] == 1 and found.label_ids.count(1) == 1 and len(found.label_ids) == 3


def test_texts_and_answers_must_be_as_many():
    with pytest.raises(ValueError, match="zip"):
        make("t5").encode(("a", "b"), ("yes",))


def test_a_rows_tokens_are_both_its_parts():
    assert row(3, 4).tokens == 7


def test_a_text_in_the_prompts_place_has_no_special_tokens():
    backbone = make("gpt2")
    ids = WORDS("to", add_special_tokens=False)["input_ids"]
    assert torch.equal(backbone.text_prompt("to"), backbone.weight[ids])
    assert backbone.text_prompt("").shape == (0, WIDTH)


def test_embeddings_are_scaled_where_the_family_scales_them():
    backbone = make("bart")
    ids = WORDS("to", add_special_tokens=False)["input_ids"]
    assert torch.allclose(backbone.text_prompt("to"), 4 * backbone.weight[ids])  # the root of 16


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
    common = {"vocab_size": len(WORDS), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": WORDS.bos_token_id}
    family = {"gpt2": LeftToRight, "bart": EncoderDecoder, "bert": Masked}[name]
    return family(kind(config(**common | sizes | more)), WORDS, name, length)


def test_positions_are_left_by_the_prompt_and_the_answer_up_to_256():
    assert limited("gpt2", 300, 10).max_input == 300 - 10 - 64
    assert limited("bart", 300, 10).max_input == 256  # 290: no answer among them
    assert limited("bart", 265, 10).max_input == 255
    assert limited("bert", 330, 10).max_input == 256
    assert limited("bert", 329, 10).max_input == 255


def test_sixteen_tokens_of_input_are_the_least():
    assert limited("gpt2", 100, 20).max_input == 16
    with pytest.raises(ValueError) as told:
        limited("gpt2", 100, 21)
    assert "--prompt-length 21 leaves 15 tokens for the input, of the 100 positions of gpt2 (64 are kept for" in str(told.value)
    assert "; 16 are needed" in str(told.value)
    with pytest.raises(ValueError, match="--prompt-length 90 leaves 0 tokens"):
        limited("gpt2", 100, 90)
    assert limited("bart", 100, 84).max_input == 16
    with pytest.raises(ValueError, match="leaves 15 tokens for the input, of the 100 positions of bart; 16"):
        limited("bart", 100, 85)


def test_a_backbone_knows_its_sizes_and_where_it_runs():
    backbone = make("gpt2", torch.bfloat16)
    assert (backbone.hidden_size, backbone.dtype, backbone.device.type) == (WIDTH, "bfloat16", "cpu")
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
    other = LeftToRight(make("gpt2").model, toy_backbone().tokenizer, "another name", 7)
    assert other.fingerprint == first.fingerprint
    assert "vocab_size" in json.loads(first.model.config.to_json_string(use_diff=True))


def test_the_fingerprint_changes_with_any_one_number():
    model, seen = make("gpt2").model, set()
    again = lambda: LeftToRight(model, WORDS, "gpt2", LENGTH).fingerprint
    plain = again()
    for tensor in model.state_dict().values():
        values = tensor.view(-1)
        own = values[-1].clone()
        values[-1] = torch.nextafter(own, torch.tensor(9.0, dtype=own.dtype))
        seen.add(again())
        values[-1] = own
    assert plain not in seen and len(seen) == len(model.state_dict()) - 1  # the embeddings have two names
    assert again() == plain
    model.config.activation_function = "silu"
    assert again() not in (plain, *seen)
    assert make("gpt2", torch.float32).fingerprint != plain


class Device:
    """Work for `in_batches` that has memory for so many rows at once; notes each batch that it did."""

    def __init__(self, most):
        self.most, self.done, self.tried = most, [], []

    def __call__(self, chosen):
        self.tried.append(chosen)
        if len(chosen) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.done.append(chosen)


def test_batches_are_worked_from_the_longest_rows_down():
    backbone, device = make("gpt2"), Device(99)
    backbone.in_batches([row(1, 1), row(5, 1), row(3, 1), row(4, 1)], 2, 16, device)
    assert device.done == [[3, 1], [0, 2]]


def test_the_budget_is_the_one_given_else_the_devices():
    backbone, rows = make("gpt2"), [row(90, 10)] * 21
    for budget, largest in ((0, 20), (200, 2), (10_000, 21)):  # 100 tokens a row; a CPU takes 2048
        device = Device(99)
        backbone.in_batches(rows, 0, budget, device)
        assert max(map(len, device.done)) == largest


def test_where_memory_runs_out_a_batch_is_cut_in_two_and_batches_stay_small():
    backbone, rows = make("gpt2"), [row(4, 1)] * 5 + [row(5, 1)] * 2
    device = Device(2)
    with pytest.warns(UserWarning, match="out of memory: smaller batches") as told:
        backbone.in_batches(rows, 3, 0, device)
    assert device.tried == [[0, 1, 2, 3, 4, 5, 6], [3, 4, 5, 6], [5, 6], [3, 4], [0, 1, 2], [1, 2], [0]]
    assert len(told) == 1
    assert backbone.most_tokens == 1 * (3 + 5)  # half of the last batch that did not fit
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = Device(2)
        backbone.in_batches(rows, 3, 1000, later)
    assert [len(batch) for batch in later.tried] == [1] * 7  # 8 or 9 tokens a row


def test_a_row_that_does_not_fit_alone_is_an_error_of_its_length():
    backbone = make("gpt2")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="one row of 15 tokens does not fit the memory of cpu"):
        backbone.in_batches([row(2, 1), row(12, 3)], 3, 0, Device(0))
    with pytest.raises(RuntimeError, match="another"):
        backbone.in_batches([row(2, 1)], 3, 0, lambda chosen: (_ for _ in ()).throw(RuntimeError("another")))


@pytest.mark.parametrize("left", [False, True])
def test_a_prompt_stands_right_before_its_row_and_padding_is_outside(left):
    backbone, leads = make("llama"), prompts(3, torch.float32)
    sequences = [[5, 6], [7, 8, 9, 4], []]
    embeds, mask = backbone.lead(leads, sequences, left)
    assert embeds.shape == (3, LENGTH + 4, WIDTH) and embeds.dtype == torch.float64 and mask.dtype == torch.long
    for lead, ids, found, own in zip(leads, sequences, embeds, mask, strict=True):
        expected = torch.cat([lead.double(), backbone.weight[ids]])
        empty = 4 - len(ids)
        assert own.tolist() == ([0] * empty + [1] * len(expected) if left else [1] * len(expected) + [0] * empty)
        assert torch.equal(found[own.bool()], expected)


def test_a_text_is_read_without_special_tokens_and_outer_spaces():
    backbone = toy_backbone()
    ids = backbone.tokenizer(" two words ")["input_ids"]
    assert backbone.text(torch.tensor([[0, *ids, 1, 0]])) == ["two words"]


def test_ranking_without_a_family_rule_takes_the_option_with_the_least_sum(monkeypatch):
    """Summed over tokens and not averaged: the long option has the lower mean, the short one the lower sum."""
    backbone = make("bert")
    options = backbone.encode(("no", "a long option"), ("no", "a long option"))
    asked = []

    def nll(leads, rows):
        asked.append([(r.input_ids, r.label_ids) for r in rows])
        return torch.tensor([3.0, 9.0, 5.0]) if len(rows[0].label_ids) < 5 else torch.tensor([8.0, 8.0, 8.0])

    monkeypatch.setattr(backbone, "nll", nll)
    rows = backbone.encode(TEXTS, ANSWERS)
    assert backbone.rank(prompts(3), rows, options) == [0, 1, 0]
    assert asked == [[(r.input_ids, o.label_ids) for r in rows] for o in options]
