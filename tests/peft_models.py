"""A row's loss as transformers computes it from tokens, and models with PEFT's adapters in them.

Nothing of ours but the tokens of a row: no deltas, no stacking, no padding.
"""

import copy
from typing import Any

import peft
import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder_decoder import EncoderDecoder

TASKS = {EncoderDecoder: "SEQ_2_SEQ_LM", CausalLM: "CAUSAL_LM"}


def logits_of(model: Any, backbone: Backbone, row: Encoded) -> Tensor:
    """Return the logits [1, T, V] that predict the row's answer."""
    count = len(row.label_ids)
    if isinstance(backbone, EncoderDecoder):
        ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.label_ids])
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).logits
    if isinstance(backbone, CausalLM):
        ids = torch.tensor([row.input_ids + row.label_ids])
    else:
        *text, end = row.input_ids
        ids = torch.tensor([[*text, *[backbone.tokenizer.mask_token_id] * count, end]])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits[:, -count - 1 : -1]


def nll_of(model: Any, backbone: Backbone, row: Encoded) -> Tensor:
    """Return the nats of the row's answer, in the model's own type of numbers."""
    logits = logits_of(model, backbone, row)
    labels = torch.tensor(row.label_ids)
    return torch.nn.functional.cross_entropy(logits[0], labels, reduction="sum")


def copied(backbone: Backbone) -> Any:
    """Return a copy of the backbone's model, as a user has it."""
    return copy.deepcopy(backbone.model)


def peft_model(backbone: Backbone, config: peft.PeftConfig, seed: int = 3) -> peft.PeftModel:
    """Return a copy of the model with PEFT's adapter, whose numbers are all random."""
    torch.manual_seed(seed)
    model = peft.get_peft_model(copied(backbone), config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Also those that start at 0 or 1: they must make a difference.
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model
