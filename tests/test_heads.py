"""What every head must keep to, over families of models: one set of claims, each entry of HEADS."""

import pytest
import torch
import toys
from head_tasks import task
from tokenizers import processors
from torch import Tensor
from transformers import AutoModel

from ipt.backbones.encoder import Encoder
from ipt.backbones.loading import load_backbone
from ipt.config import LoopConfig
from ipt.heads import HEADS, parse_head
from ipt.heads.states import StatesHead
from ipt.training.loop import Job, Row, fit
from ipt.training.model import Model
from ipt.training.source import Free, WithHeads
from ipt.tuners import parse_tuner

MODELS = {
    "bart": "encoder-decoder",
    "bert": "masked",
    "roberta": "masked",
    "gpt2": "causal",
    "llama": "causal",
}
# A head, and the kinds of tasks that share its batches.
SETTINGS = {
    "classification": ("cls", "cls", "cls"),
    "classification:layers=3,pooling=mean": ("cls", "cls", "cls"),
    "tags": ("tags", "tags", "tags"),
    "tags:layers=2": ("tags", "tags", "tags"),
    "span:stride=4": ("span", "span", "span"),
    "choice": ("choice", "choice", "choice"),
    "by-kind:stride=4": ("cls", "tags", "span"),
    "by-kind:pooling=last": ("choice", "tags", "cls"),
    "label-embedding": ("cls", "cls", "cls"),
}
TUNERS = (
    "bare:",
    "lora:rank=2",
    "prefix:prefix_length=2",
    "soft-prompt:prompt_length=3",
    "deep-prompt:prompt_length=2,deviation=0.5",
)
FEW = ("bert", "lora:rank=2"), ("llama", "prefix:prefix_length=2"), ("mini", "bare:")
CASES = [(kind, tuner, head) for kind, tuner in FEW for head in SETTINGS]
CASES += [(kind, tuner, "by-kind:stride=4") for kind in MODELS for tuner in TUNERS]
CASES += [("roberta", "full:", "tags"), ("bert", "side:width=4", "span:stride=4")]
CASES += [("bert", "p-tuning:template=1+2,network=mlp", "tags")]
CASES += [("bert", text, "by-kind:pooling=last") for text in ("ia3:", "adapter:width=2", "bias:")]
CASES += [("bert", "partial-k:k=1", "by-kind:pooling=last")]
_LOADED: dict[str, Encoder] = {}


def backbone(kind: str) -> Encoder:
    """Return a model in float64, without a language-model head; the same each time."""
    if kind not in _LOADED:
        if kind == "mini":
            loaded = load_backbone("mini", device="cpu", reads_states=True)
            loaded.model.double()
        else:
            model = AutoModel.from_config(toys.config(kind))
            if model.config.is_encoder_decoder:
                model = model.get_encoder()
            if hasattr(model, "pooler"):
                model.pooler = None
            loaded = Encoder(toys.spread(model).double(), pair_tokenizer(MODELS[kind]), kind)
        # So short that texts are read in windows.
        loaded.max_input = 24
        _LOADED[kind] = loaded
    return _LOADED[kind]


def pair_tokenizer(family: str):
    words = toys.tokenizer(family)
    if family != "causal":
        words.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>",
            pair="<s> $A </s> $B:1 </s>:1",
            special_tokens=[("<s>", toys.START), ("</s>", toys.END)],
        )
    return words


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def model(request) -> Model:
    kind, tuner, head = request.param
    made = Model(backbone(kind), parse_tuner(tuner), parse_head(head))
    object.__setattr__(made, "kinds", SETTINGS[head])
    return made


def tasks_of(model: Model):
    return [task(kind, number) for number, kind in enumerate(model.kinds)]


def rows_of(model: Model, number: int = 0, count: int = 4):
    """The first rows of each task of the head."""
    rows = []
    for one in tasks_of(model):
        rows += model.head.encode(model.backbone, one, one.examples[number : number + count])
    return rows


def numbers_of(model: Model, rows) -> Tensor:
    """Numbers [U, P + H], of other size for each row."""
    start = model.first_numbers(rows).double()
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(len(rows), len(start), generator=generator, dtype=torch.float64)
    return start + 0.05 * noise


def alone(model: Model, numbers: Tensor, rows) -> Tensor:
    """Each row's loss by itself, with no more classes than its own."""
    losses = []
    for i, row in enumerate(rows):
        head = model.head.size(model.backbone, model.head.classes_of(row))
        own = numbers[i : i + 1, : model.size + head]
        losses.append(model.nll(own, torch.tensor([0]), [row], 0.1))
    return torch.cat(losses)


def test_rows_of_several_jobs_are_as_alone_in_loss_and_gradient(model):
    """With other counts of classes, windows and options beside them."""
    rows = rows_of(model)
    together = numbers_of(model, rows).requires_grad_()
    apart = numbers_of(model, rows).requires_grad_()
    found = model.nll(together, torch.arange(len(rows)), rows, 0.1)
    expected = alone(model, apart, rows)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert found.isfinite().all()
    if together.shape[1] == 0:
        return
    found.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(together.grad, apart.grad, rtol=0, atol=1e-8)
    assert (together.grad != 0).any(1).all()  # control


def test_answers_are_those_of_each_row_alone(model):
    rows = rows_of(model)
    numbers = numbers_of(model, rows)
    found = model.predict(numbers, torch.arange(len(rows)), rows, 2)
    for i, row in enumerate(rows):
        (single,) = model.predict(numbers[i : i + 1], torch.tensor([0]), [row], 2)
        assert single == found[i]
    assert len({prediction.text for prediction in found}) > 1  # control


def test_five_steps_of_stacked_jobs_are_those_of_each_alone(model):
    """Deltas and heads, each head as wide as its own task needs."""
    config = LoopConfig(steps=5, rows_per_step=2, eval_every=5)
    tasks = tasks_of(model)
    first = model.first_values(1).double()
    if model.network is not None or first.shape[0] + model.head.size(model.backbone, 1) == 0:
        return
    rows = [model.head.encode(model.backbone, one, one.examples[:4]) for one in tasks]

    def trained(numbers):
        jobs = []
        for place, number in enumerate(numbers):
            own = tuple(Row(place, row) for row in rows[number])
            jobs.append(Job(str(number), (own,), own, 0.01 * (number + 1), number, 2))
        source = Free(first, len(numbers))
        classes = [model.head.classes(tasks[number]) for number in numbers]
        heads = model.head_start(classes, numbers).double()
        if heads.shape[1]:
            source = WithHeads(source, heads)
        fit(model, source, jobs, config)
        return source(torch.arange(len(numbers))).detach()

    together = trained([0, 1, 2])
    for number in range(3):
        single = trained([number])[0]
        own = together[number]
        torch.testing.assert_close(own[: len(single)], single, rtol=0, atol=1e-8)
        assert (own[len(single) :] == 0).all()  # what fills up the fewer classes stays
    assert not torch.allclose(together[0], together[1], atol=1e-4)  # control


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_head_alone_reads_is_kept_and_its_loss_is_the_same(name, monkeypatch):
    model = Model(backbone("bert"), parse_tuner("bare"), parse_head(name))
    object.__setattr__(model, "kinds", SETTINGS[name])
    if not isinstance(model.head, StatesHead):
        return
    rows = rows_of(model)
    numbers = numbers_of(model, rows)
    owner = torch.arange(len(rows))
    expected = model.nll(numbers, owner, rows)
    keeping = model.keeping(rows)

    def fail(sequences):
        raise AssertionError("the backbone was read")

    monkeypatch.setattr(model.backbone, "states", fail)
    torch.testing.assert_close(keeping.nll(numbers, owner, rows), expected, rtol=0, atol=1e-12)
    with pytest.raises(AssertionError):  # control
        model.nll(numbers, owner, rows)


def test_every_head_is_here():
    names = {text.split(":")[0] for text in SETTINGS}
    assert names == HEADS.keys() - {"language-model"}
