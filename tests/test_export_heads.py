"""Deltas with heads as folders: PEFT's model, loaded by the lines that were printed, has our logits."""

import warnings

import pytest
import torch
import toys
from head_tasks import task
from safetensors.torch import load_file
from test_heads import pair_tokenizer
from torch import Tensor
from transformers import AutoModel

from ipt.backbones.base import Backbone
from ipt.backbones.loading import load_backbone
from ipt.data import Task
from ipt.heads import parse_head
from ipt.interop.folder import CONFIG, WEIGHTS
from ipt.interop.layout import ABOUT, HEAD, PARTS
from ipt.interop.peft import read_prompts, write_delta
from ipt.storage import read_json
from ipt.training.model import Model
from ipt.tuners import parse_tuner

FAMILIES = {"bert": "masked", "roberta": "masked", "distilbert": "masked", "gpt2": "causal"}
FAMILIES |= {"llama": "causal", "bart": "encoder-decoder"}
TUNERS = ("lora:rank=2", "ia3", "prefix:prefix_length=2", "soft-prompt:prompt_length=3")
# A model, a tuner, a head, the kind of its task; PEFT's task and the class of transformers.
TOKENS = "TOKEN_CLS", "ForTokenClassification"
QUESTIONS = "QUESTION_ANS", "ForQuestionAnswering"
TEXTS = "SEQ_CLS", "ForSequenceClassification"
HELD = [("bert", tuner, "tags", "tags", *TOKENS) for tuner in TUNERS]
HELD += [("bert", tuner, "span", "span", *QUESTIONS) for tuner in TUNERS]
HELD += [
    ("roberta", "lora:rank=2", "tags", "tags", *TOKENS),
    ("roberta", "prefix:prefix_length=2", "by-kind", "span", *QUESTIONS),
    ("roberta", "bias:at=linears", "tags", "tags", *TOKENS),
    ("distilbert", "ia3", "tags", "tags", *TOKENS),
    ("distilbert", "lora:rank=2", "classification:layers=2", "cls", *TEXTS),
    ("gpt2", "lora:rank=2", "tags", "tags", *TOKENS),
    ("llama", "prefix:prefix_length=2", "tags", "tags", *TOKENS),
    ("llama", "lora:rank=2", "span", "span", *QUESTIONS),
]
NOT_HELD = [
    ("bert", "lora:rank=2", "classification", "cls", "BertForSequenceClassification of tr"),
    ("roberta", "lora:rank=2", "classification:layers=2", "cls", "has another head than"),
    ("distilbert", "lora:rank=2", "classification", "cls", "has another head than"),
    ("llama", "lora:rank=2", "classification:pooling=last", "cls", "has another head than"),
    ("bert", "lora:rank=2", "tags:layers=2", "tags", "has another head than tags:layers=2"),
    ("bert", "lora:rank=2", "choice", "choice", "no task for the head choice"),
    ("bert", "bare", "tags", "tags", "no kind of adapter for deltas of the tuner bare"),
    ("distilbert", "prefix:prefix_length=2", "tags", "tags", "no past_key_values"),
    (
        "distilbert",
        "soft-prompt:prompt_length=2",
        "classification:layers=2",
        "cls",
        "a place of theirs",
    ),
    ("bart", "lora:rank=2", "tags", "tags", "transformers has no AutoModelForTokenClassification"),
]
_FOLDERS: dict[str, str] = {}
_LOADED: dict[str, Backbone] = {}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """A function of a kind: a model out of a folder, as a user's own."""

    def load(kind: str) -> Backbone:
        if kind not in _LOADED:
            folder = tmp_path_factory.mktemp(kind)
            bare = toys.spread(AutoModel.from_config(toys.config(kind)))
            _FOLDERS[kind] = toys.save(bare, pair_tokenizer(FAMILIES[kind]), folder)
            _LOADED[kind] = load_backbone(_FOLDERS[kind], device="cpu", reads_states=True)
        return _LOADED[kind]

    yield load
    _LOADED.clear()


def model_of(backbone: Backbone, tuner: str, head: str) -> Model:
    return Model(backbone, parse_tuner(tuner), parse_head(head))


def numbers_of(model: Model, of: Task) -> Tensor:
    """Numbers [P + H], with other ones than at the start."""
    generator = torch.Generator().manual_seed(2)
    size = model.head.size(model.backbone, model.head.classes(of))
    start = torch.cat([model.initialize(0), torch.zeros(size)])
    return start + 0.2 * torch.randn(len(start), generator=generator)


def ours(model: Model, numbers: Tensor, row) -> Tensor:
    """Logits [M, C] of the first input of a row."""
    head = model.head
    sequences = head.sequences(row)
    owner = torch.zeros(len(sequences), dtype=torch.long)
    with torch.no_grad(), model.tuner.applied(model.backbone, numbers[None, : model.size], owner):
        (features,) = head.features(model.backbone, [row])
    return head.logits([features], numbers[None, model.size :])[0]


def theirs(folder_lines: list[str]):
    names: dict = {}
    with warnings.catch_warnings():
        # PEFT warns of keys that it misses; transformers only tells of the head that is replaced.
        warnings.filterwarnings("error", message=".*(missing|nexpected)")
        exec("\n".join(folder_lines), names)
    return names["model"]


def their_logits(model, row, count: int) -> Tensor:
    """Logits [L, C] of the row's first input, without the places of `count` prompts."""
    ids = torch.tensor([row.input_ids])
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    if "logits" not in output:
        return torch.stack([output.start_logits, output.end_logits], 2)[0, count:]
    return output.logits[0, count:] if output.logits.dim() == 3 else output.logits


@pytest.mark.parametrize("case", HELD, ids=lambda case: "-".join(case[:3]))
def test_pefts_model_by_the_printed_lines_has_our_logits(backbone, tmp_path, case):
    kind, tuner, text, category, peft_task, name = case
    model = model_of(backbone(kind), tuner, text)
    of = task(category, 1, 8)
    numbers = numbers_of(model, of)
    folder = tmp_path / "task"
    first, *lines = write_delta(numbers, model, folder, {"task": of.name}, of).split("\n")
    assert first == f"PEFT folder: {folder}"
    config = read_json(folder / CONFIG)
    assert config["task_type"] == peft_task
    assert config["auto_mapping"]["base_model_class"].endswith(name)
    assert read_json(folder / ABOUT)["labels"] == list(of.options or ())
    loaded = theirs(lines)
    tokens = 3 if tuner.startswith("soft") else 0
    for row in model.head.encode(model.backbone, of, of.examples[:3]):
        found = their_logits(loaded, model.head.sequences(row)[0], tokens)
        expected = ours(model, numbers, row)
        if category == "tags":
            found = found[list(row.places)]
        torch.testing.assert_close(found, expected, rtol=0, atol=2e-6 * expected.abs().max())
        other = ours(model, torch.cat([model.initialize(0), numbers[model.size :]]), row)
        assert not torch.allclose(expected, other, atol=1e-3)  # control: the delta counts


@pytest.mark.parametrize("case", NOT_HELD, ids=lambda case: "-".join(case[:3]))
def test_what_no_model_holds_is_in_our_layout_with_its_head(backbone, tmp_path, case):
    kind, tuner, text, category, reason = case
    model = model_of(backbone(kind), tuner, text)
    of = task(category, 1, 8)
    numbers = numbers_of(model, of)
    line = write_delta(numbers, model, tmp_path / "task", {"task": of.name}, of)
    assert reason in line and line.endswith("; --prompts reads no heads)") and "\n" not in line
    assert not (tmp_path / "task" / WEIGHTS).exists()
    tensors = load_file(tmp_path / "task" / PARTS)
    assert torch.equal(tensors.pop(HEAD), numbers[model.size :])
    assert sum(map(torch.numel, tensors.values())) == model.size
    layout = read_json(tmp_path / "task" / ABOUT)["layout"]
    assert layout["head"]["numbers"] == len(numbers) - model.size
    with pytest.raises(ValueError, match="holds a delta with a head; heads are not read"):
        read_prompts(tmp_path, ("task",), model)


def test_a_head_without_numbers_is_exported_as_its_bare_model(backbone, tmp_path):
    from peft import PeftModel

    model = model_of(backbone("bert"), "lora:rank=2", "label-embedding")
    of = task("cls", 1, 8)
    delta = numbers_of(model, of)
    assert write_delta(delta, model, tmp_path / "task", {}, of) == f"PEFT folder: {tmp_path / 'task'}"
    bare = AutoModel.from_pretrained(_FOLDERS["bert"])
    loaded = PeftModel.from_pretrained(bare, tmp_path / "task").eval()
    (row,) = model.head.encode(model.backbone, of, of.examples[:1])
    with torch.no_grad():
        found = loaded(input_ids=torch.tensor([row.input_ids])).last_hidden_state[0]
        with model.tuner.applied(model.backbone, delta[None], torch.tensor([0])):
            (expected,) = model.backbone.states([row])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
