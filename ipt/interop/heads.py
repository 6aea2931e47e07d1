"""Heads over hidden states as PEFT has them: modules of a model of transformers, saved whole.

| PEFT's task | transformers' model | heads |
|---|---|---|
| TOKEN_CLS | AutoModelForTokenClassification | tags |
| QUESTION_ANS | AutoModelForQuestionAnswering | span |
| SEQ_CLS | AutoModelForSequenceClassification | classification |

What stands between the states and the last layer is each architecture's own (BERT has a pooler,
RoBERTa a tanh, DistilBERT a ReLU as an MLP of two layers): so our numbers are put into that model,
and it must have the logits that we have.
"""

import copy
import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from ipt.backbones.base import Encoded
from ipt.backbones.encoder import Encoder
from ipt.backbones.tolerance import is_close
from ipt.heads.base import Head
from ipt.heads.states import StatesHead
from ipt.interop.folder import WRAPPED, NotInPeft, Written
from ipt.training.model import Model

# PEFT's names of what a head is for, and the class of transformers that has it.
MODELS: dict[str, tuple[str, Any]] = {
    "tags": ("TOKEN_CLS", AutoModelForTokenClassification),
    "span": ("QUESTION_ANS", AutoModelForQuestionAnswering),
    "classification": ("SEQ_CLS", AutoModelForSequenceClassification),
}
# Kinds of adapters that are numbers before the text, and no part of the model.
PROMPT_KINDS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING")
# The text that both models read.
TEXT = "a text of some words, to see whether both read it alike"


class TunedHead(NamedTuple):
    """A head and its numbers."""

    head: Head  # of one kind of task
    numbers: Tensor  # [H]
    classes: int
    labels: tuple[str, ...]  # what the classes are called; () where they are no task's options

    @property
    def record(self) -> dict[str, Any]:
        """What our own layout says of it."""
        return {"head": self.head.description, "labels": list(self.labels)}


class HeadModel(NamedTuple):
    """A model of transformers with a head."""

    task: str  # PEFT's name
    kind: str
    library: str
    prefix: str  # of the name of the bare model in it
    modules: dict[str, nn.Linear]  # the head's, by name, our numbers in them


def with_head(written: Written, peft_type: str, model: Model, tuned: TunedHead) -> Written:
    """Return what PEFT reads of a delta and a head; raise NotInPeft where it cannot hold it."""
    fitting = head_model(model, tuned)
    is_prompt = peft_type in PROMPT_KINDS
    if is_prompt and fitting.task == "SEQ_CLS":
        raise NotInPeft("with prompts PEFT reads a text at a place of theirs")
    takes = inspect.signature(model.backbone.model.forward).parameters
    if peft_type == "PREFIX_TUNING" and "past_key_values" not in takes:
        raise NotInPeft(f"PEFT gives {model.backbone.name} no prefix (it takes no past_key_values)")
    # PEFT wraps a model twice, and for prompts once.
    outside = "base_model." if is_prompt else WRAPPED
    tensors = {}
    for name, tensor in written.tensors.items():
        own = name.removeprefix(WRAPPED)
        tensors[name if own == name else f"{WRAPPED}{fitting.prefix}.{own}"] = tensor
    for name, module in fitting.modules.items():
        tensors[f"{outside}{name}.weight"] = module.weight.detach()
        tensors[f"{outside}{name}.bias"] = module.bias.detach()
    config = dict(written.config)
    for key in ("target_modules", "feedforward_modules"):
        if key in config:
            config[key] = [f"{fitting.prefix}.{name}" for name in config[key]]
    config |= {
        "task_type": fitting.task,
        "modules_to_save": list(fitting.modules),
        "auto_mapping": {
            "base_model_class": fitting.kind,
            "parent_library": fitting.library,
        },
    }
    return Written(config, tensors)


def head_model(model: Model, tuned: TunedHead) -> HeadModel:
    """Return transformers' model with this head; raise NotInPeft where it has none like it."""
    head = tuned.head
    backbone = model.backbone
    if head.name not in MODELS or not isinstance(head, StatesHead):
        raise NotInPeft(f"PEFT has no task for the head {head.name}")
    assert isinstance(backbone, Encoder)
    task, loader = MODELS[head.name]
    # Of the configuration alone: whatever its own head would hold is not read.
    config = copy.deepcopy(backbone.model.config)
    config.num_labels = tuned.classes
    if type(config) not in loader._model_mapping:
        raise NotInPeft(f"transformers has no {loader.__name__} of {backbone.name}")
    with torch.device("meta"):
        whole = loader.from_config(config)
    prefix = whole.base_model_prefix
    if type(getattr(whole, prefix, None)) is not type(backbone.model):
        raise NotInPeft(
            f"{type(whole).__name__} of transformers reads another model than the bare one of "
            f"{backbone.name}"
        )
    # Shared, not copied: nothing of it is changed.
    setattr(whole, prefix, backbone.model)
    # Of any numbers, since small ones would have no say.
    noise = torch.randn(len(tuned.numbers), generator=torch.Generator().manual_seed(0))
    tried = tuned._replace(numbers=noise / backbone.hidden_size**0.5)
    modules = _filled(whole, prefix, tried, backbone)
    if modules is None or not _reads_alike(whole.eval(), backbone, tried):
        raise NotInPeft(
            f"{type(whole).__name__} of transformers has another head than {head.description}"
        )
    _filled(whole, prefix, tuned, backbone)
    kind = type(whole)
    return HeadModel(task, kind.__name__, kind.__module__, prefix, modules)


def _filled(
    whole: PreTrainedModel,
    prefix: str,
    tuned: TunedHead,
    backbone: Encoder,
) -> dict[str, nn.Linear] | None:
    """Put the head's numbers into a model.

    Returns its linear layers by name; None where they are not as many, or of other shapes.
    """
    places = {}
    for name, module in whole.named_modules():
        if name.split(".")[0] == prefix or next(module.parameters(recurse=False), None) is None:
            continue
        if not isinstance(module, nn.Linear) or module.bias is None:
            return None
        places[name] = module
    width = backbone.hidden_size
    rows = tuned.numbers.detach().cpu().view(-1, width + 1)
    if sum(module.out_features for module in places.values()) != len(rows):
        return None
    first = 0
    for module in places.values():
        if module.in_features != width:
            return None
        own = rows[first : first + module.out_features]
        module.weight = nn.Parameter(own[:, :-1].clone(), requires_grad=False)
        module.bias = nn.Parameter(own[:, -1].clone(), requires_grad=False)
        first += module.out_features
    return places


@torch.no_grad()
def _reads_alike(whole: PreTrainedModel, backbone: Encoder, tuned: TunedHead) -> bool:
    """Return whether a model has our logits of a text, with nothing tuned but the head."""
    head = tuned.head
    assert isinstance(head, StatesHead)
    text = Encoded(tuple(backbone.input_ids(TEXT)), ())
    states = backbone.states_by_ids(text)
    # Of a text as a whole, or of each place.
    read = head.read(backbone, text, [states]) if head.name == "classification" else states[None]
    weights = tuned.numbers.to(backbone.device)[None]
    ours = head.logits([read], weights)[0]
    ids = torch.tensor([text.input_ids], device=backbone.device)
    weight_type = states.dtype
    for module in whole.children():
        module.to(backbone.device, weight_type)
    try:
        output = whole(input_ids=ids, attention_mask=torch.ones_like(ids))
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
        # As one whose bare model lacks what the head reads.
        return False
    if head.name == "span":
        theirs = torch.stack([output.start_logits, output.end_logits], 2)[0]
    else:
        theirs = output.logits.flatten(0, -2)
    return theirs.shape == ours.shape and is_close(weight_type, theirs.float(), ours.float())


def loading_lines(tuned: TunedHead, name: str, folder: str) -> list[str]:
    """Return the lines of Python that load what was written."""
    task, loader = MODELS[tuned.head.name]
    kind = loader.__name__
    count = "" if task == "QUESTION_ANS" else f", num_labels={tuned.classes}"
    return [
        "from peft import PeftModel",
        f"from transformers import {kind}",
        f"model = {kind}.from_pretrained({name!r}{count})",
        f"model = PeftModel.from_pretrained(model, {folder!r}).eval()",
        "# both texts of a pair have the token type 0: give no token_type_ids",
    ]
