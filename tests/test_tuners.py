"""What every tuner must keep to, over families of models: one set of claims, each entry of TUNERS."""

import copy

import pytest
import torch
import toys
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from ipt.backbones.base import Backbone
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.loading import load_backbone
from ipt.backbones.masked import MaskedLM
from ipt.config import LoopConfig
from ipt.training.loop import Job, Row, fit
from ipt.training.model import Model
from ipt.training.source import Decoded, Free
from ipt.tuners import TUNERS, parse_tuner

FAMILIES = {
    "encoder-decoder": (EncoderDecoder, AutoModelForSeq2SeqLM),
    "causal": (CausalLM, AutoModelForCausalLM),
    "masked": (MaskedLM, AutoModelForMaskedLM),
}
MODELS = {
    "bart": "encoder-decoder",
    "bert": "masked",
    "roberta": "masked",
    "gpt2": "causal",
    "llama": "causal",  # with grouped heads
}
# Small enough for all models; the second of a name has its other settings.
SETTINGS = {
    "soft-prompt": ["soft-prompt:prompt_length=3"],
    "p-tuning": ["p-tuning:template=2", "p-tuning:template=1+2,separator=a,network=mlp"],
    "deep-prompt": ["deep-prompt:prompt_length=3,deviation=0.5"],
    "prefix": ["prefix:prefix_length=3", "prefix:prefix_length=2,layers=1,network=mlp"],
    "lora": ["lora:rank=2", "lora:rank=2,targets=up+output,matrices=b,layers=1"],
    "ia3": ["ia3:"],
    "adapter": ["adapter:width=2", "adapter:width=2,targets=down,activation=swish,biases=none"],
    "bias": ["bias:at=linears"],
    "side": ["side:width=4"],
    "partial-k": ["partial-k:k=1"],
    "full": ["full:"],
}
ALL = [text for texts in SETTINGS.values() for text in texts]
# A delta of zeros leaves the model as it is, for those whose numbers are differences.
DIFFERENCES = ("lora", "ia3", "adapter", "bias", "partial-k", "full")
CASES = [(model, text) for model in ("mini", *MODELS) for text in ALL]
OF_DIFFERENCES = [case for case in CASES if case[1].split(":")[0] in DIFFERENCES]
_LOADED: dict[str, Backbone] = {}


def backbone(kind: str) -> Backbone:
    """Return a model in float64; the same each time, left as it was by whoever had it."""
    if kind not in _LOADED:
        if kind == "mini":
            loaded = load_backbone("mini", device="cpu")
            loaded.model.double()
        else:
            family, loader = FAMILIES[MODELS[kind]]
            model = toys.spread(loader.from_config(toys.config(kind))).double()
            loaded = family(model, toys.tokenizer(MODELS[kind]), kind)
        _LOADED[kind] = loaded
    return _LOADED[kind]


def named(case: tuple[str, str]) -> str:
    return "-".join(case)


@pytest.fixture(params=CASES, ids=named)
def model(request) -> Model:
    kind, text = request.param
    return Model(backbone(kind), parse_tuner(text))


def rows_of(some: Backbone, uneven: bool = True):
    texts = ["the red bird", "a much longer input of a few words and more", "is it low or high ?"]
    answers = ["yes", "a tree", "no"]
    if not uneven:
        texts, answers = ["the red bird"] * 3, ["yes", "yes", "yes"]
    return some.encode(texts, answers)


def deltas_of(model: Model, count: int = 3) -> Tensor:
    """Deltas [U, P] around the start, of other size for each: rows differ by them."""
    start = model.initialize(1).double()
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(count, model.size, generator=generator, dtype=torch.float64)
    return start + 0.05 * noise


def alone(model: Model, deltas: Tensor, rows) -> Tensor:
    return torch.cat(
        [model.nll(deltas[i : i + 1], torch.tensor([0]), [row]) for i, row in enumerate(rows)]
    )


@pytest.mark.parametrize("uneven", (True, False), ids=("uneven", "no-padding"))
def test_rows_of_several_jobs_are_as_alone_in_loss_and_gradient(model, uneven):
    """In one batch without any padding too, where a causal mask is easily lost."""
    rows = rows_of(model.backbone, uneven)
    together, apart = deltas_of(model).requires_grad_(), deltas_of(model).requires_grad_()
    found = model.nll(together, torch.arange(3), rows)
    expected = alone(model, apart, rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(together.grad, apart.grad, rtol=0, atol=1e-8)
    assert found.detach().unique().numel() == 3  # control: deltas make a difference
    assert (together.grad != 0).any(1).all()


def test_the_backbone_is_as_it_was_also_after_an_error(model):
    some = model.backbone
    rows = rows_of(some)
    before = {name: tensor.clone() for name, tensor in some.model.state_dict().items()}
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in some.model.modules()]
    implementation = some.model.config._attn_implementation
    bare = model.bare.nll(torch.zeros(1, 0), torch.zeros(3, dtype=torch.long), rows)
    with pytest.raises(RuntimeError, match="in the middle"):
        deltas = deltas_of(model)[:1]
        with model.tuner.applied(some, deltas, torch.zeros(3, dtype=torch.long)):
            raise RuntimeError("in the middle")
    after = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in some.model.modules()]
    assert after == hooks and some.model.config._attn_implementation == implementation
    for name, tensor in some.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    again = model.bare.nll(torch.zeros(1, 0), torch.zeros(3, dtype=torch.long), rows)
    assert torch.equal(bare, again)


@pytest.mark.parametrize("model", OF_DIFFERENCES, ids=named, indirect=True)
def test_a_neutral_delta_is_the_bare_model(model):
    rows = rows_of(model.backbone)
    owner = torch.zeros(3, dtype=torch.long)
    zeros = torch.zeros(1, model.size, dtype=torch.float64)
    bare = model.bare.nll(zeros[:, :0], owner, rows)
    assert torch.equal(model.nll(zeros, owner, rows), bare)
    moved = model.nll(deltas_of(model, 1), owner, rows)
    assert not torch.allclose(moved, bare, atol=1e-6)  # control


def test_answers_are_those_of_each_row_alone_with_and_without_cache(model):
    some = model.backbone
    rows = rows_of(some)
    deltas = deltas_of(model)
    options = some.encode([""] * 2, ["yes", "a tree"])
    found = model.predict(deltas, torch.arange(3), rows, 4, options)
    for i, row in enumerate(rows):
        single = model.predict(deltas[i : i + 1], torch.tensor([0]), [row], 4, options)
        assert single[0] == found[i]
    if not some.generates:
        return
    # The likeliest tokens, each read again from the start.
    for i, row in enumerate(rows):
        ids: list[int] = []
        with torch.no_grad(), model.tuner.applied(some, deltas[i : i + 1], torch.tensor([0])):
            written = some.generate_ids([row], 4)[0]
            for _ in range(4):
                probe = copy.copy(row)
                object.__setattr__(probe, "label_ids", (*ids, some.end))
                logits, _ = some.answer_logits([probe])
                ids.append(int(logits[0, len(ids)].argmax()))
                if ids[-1] == some.end:
                    break
        assert written == [token for token in ids if token != some.end]


def test_five_steps_of_stacked_jobs_are_those_of_each_alone(model):
    """In float64 to 1e-8, each job with its own rows, rate and seed."""
    config = LoopConfig(steps=5, rows_per_step=2, eval_every=5)
    rows = rows_of(model.backbone)
    values = model.first_values(1).double()

    def trained(numbers):
        jobs = []
        for place, number in enumerate(numbers):
            own = tuple(Row(place, row) for row in (rows[number], rows[(number + 1) % 3]))
            jobs.append(Job(str(number), (own,), own, 0.01 * (number + 1), number, 2))
        source = Free(values, len(numbers))
        if model.network is not None:
            source = Decoded(values.expand(len(numbers), -1), model.network.deltas)
        fit(model, source, jobs, config)
        return source.values.detach()

    together = trained([0, 1, 2])
    assert not torch.allclose(together[0], values, atol=1e-4)  # control: it moves
    for number in range(3):
        single = trained([number])
        torch.testing.assert_close(together[number], single[0], rtol=0, atol=1e-8)


def test_single_precision_is_as_alone_to_its_own_rounding(model):
    some = model.backbone
    rows = rows_of(some)
    together, apart = (deltas_of(model).float().requires_grad_() for _ in range(2))
    some.model.float()
    try:
        found = model.nll(together, torch.arange(3), rows)
        expected = alone(model, apart, rows)
        found.sum().backward()
        expected.sum().backward()
    finally:
        some.model.double()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    size = apart.grad.norm()
    assert (together.grad - apart.grad).norm() <= 1e-5 * size and size > 0


def test_every_tuner_is_here():
    # Nothing is tuned with it but a head (tests/test_heads.py).
    assert SETTINGS.keys() == TUNERS.keys() - {"bare"}
