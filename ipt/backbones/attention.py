"""Keys and values of one's own before those of a text: what prefixes need of a model's attention.

    softmax(q [K_prefix; K_text]^T scaling + mask) [V_prefix; V_text]

By transformers' attention interface, which most architectures read their attention from; so there
is no table of architectures, and any cache holds the text's keys and values alone.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

# What transformers calls this attention.
NAME = "ipt"
# Where a module holds what `with_prefixes` gives it.
HELD = "prefix_of_rows"


class KeysValues(NamedTuple):
    """Keys and values [B, heads, n, width] that stand before those of each row's text."""

    keys: Tensor
    values: Tensor


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Return the attention's output [B, q, heads, width], in transformers' convention.

    query: [B, heads, q, width]. key, value: [B, key heads, k, width].
    attention_mask: [B or 1, 1, q or 1, k], added; None where every place attends to every other.
    settings: of the module, among them scaling and position_bias [1, heads, q, k], added (T5).
    """
    scaling = settings.get("scaling")
    if scaling is None:
        scaling = query.shape[-1] ** -0.5
    bias = attention_mask
    position_bias = settings.get("position_bias")
    if position_bias is not None:
        bias = position_bias if bias is None else position_bias + bias
    held: KeysValues | None = getattr(module, HELD, None)
    if held is not None:
        key = torch.cat([held.keys.to(key.dtype), key], 2)
        value = torch.cat([held.values.to(value.dtype), value], 2)
        if bias is not None:
            # A prefix has no position and no padding: every place of the text attends to it.
            count = held.keys.shape[2]
            bias = nn.functional.pad(bias, (count, 0))

    # Grouped heads: several query heads read one key head.
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key = key.repeat_interleave(groups, 1)
        value = value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * scaling
    if bias is not None:
        scores = scores + bias
    # In half precision a sum over many places would lose the small ones.
    accurate = torch.promote_types(scores.dtype, torch.float32)
    weights = scores.softmax(-1, dtype=accurate).to(query.dtype)
    output = weights @ value
    return output.transpose(1, 2).contiguous(), None


@contextmanager
def with_attention(model: PreTrainedModel, name: str, function: Any) -> Iterator[None]:
    """Let the model attend by this function, which transformers calls by the name.

    The mask is the one that is added, always made: without it a causal model would see what
    follows, where no row is padded.
    """
    AttentionInterface.register(name, function)
    AttentionMaskInterface.register(name, eager_mask)
    before: dict[int, tuple[Any, Any]] = {}
    # Each part of a model has a configuration of its own, or shares the whole's.
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "_attn_implementation"):
            before[id(config)] = (config, config._attn_implementation)
    try:
        for config, _ in before.values():
            config._attn_implementation = name
        yield
    finally:
        for config, implementation in before.values():
            config._attn_implementation = implementation


@contextmanager
def with_prefixes(
    model: PreTrainedModel,
    prefixes: Sequence[tuple[nn.Module, KeysValues]],
) -> Iterator[None]:
    """Put keys and values before those of these attention modules inside the context."""
    with with_attention(model, NAME, attend):
        try:
            for module, held in prefixes:
                setattr(module, HELD, held)
            yield
        finally:
            for module, _ in prefixes:
                if hasattr(module, HELD):
                    delattr(module, HELD)
