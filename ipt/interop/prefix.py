"""Prefixes as PEFT has them: one row of keys and values of all layers for each virtual token.

    prompt_embeddings [n, 2 layers heads width],   pair p = (keys, values) of a layer

In decoder-only models and encoders layer l has pair l. In encoder-decoders only the decoder's own
attention has a prefix, and layer l has pair 2 l mod layers: PEFT (0.21) doubles the list for the
cross attention, cuts it into fours, and throws the half of them away. With an odd number of layers
every layer has a pair of its own, so we write one pair more where the number is even.
"""

from typing import ClassVar

import torch
from torch import Tensor

from ipt.backbones.base import Backbone
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.backbones.sites import Attention
from ipt.interop.folder import (
    FEATURES,
    PEFT_TASKS,
    Kind,
    NotInPeft,
    PeftFolder,
    Written,
    flattened,
    numbers_of,
)
from ipt.interop.prompts import KEY
from ipt.training.model import Model
from ipt.tuners.base import Tuner
from ipt.tuners.places import attentions
from ipt.tuners.prefix import Prefix


class Prefixes(Kind):
    """PREFIX_TUNING: keys and values in every layer of one stack."""

    name: ClassVar[str] = "PREFIX_TUNING"
    writes: ClassVar[type[Tuner]] = Prefix
    reads: ClassVar[tuple[type[Tuner], ...]] = (Prefix,)

    def uses(self, name: str) -> bool:
        return name == KEY

    def fitting(self, opened: PeftFolder, backbone: Backbone) -> Tuner:
        length = opened.config.get("num_virtual_tokens")
        if not isinstance(length, int) or length < 1:
            raise ValueError(
                f"{opened.folder}: num_virtual_tokens must be a number above 0, "
                f"found {length!r:.40}"
            )
        if isinstance(backbone, EncoderDecoder):
            return Prefix(prefix_length=length, stacks=("decoder",))
        return Prefix(prefix_length=length)

    def read(self, opened: PeftFolder, model: Model) -> Tensor:
        backbone = model.backbone
        fitting = self.fitting(opened, backbone)
        # PEFT would refuse such a model or do something else than we do.
        found = _attentions(fitting, backbone)
        shapes = fitting.shapes(backbone)
        if shapes != model.tuner.shapes(backbone):
            raise self.unlike(opened, model, fitting)
        submodules = opened.config.get("num_transformer_submodules")
        expected = 2 if isinstance(backbone, EncoderDecoder) else 1
        if submodules not in (None, expected):
            raise ValueError(
                f"{opened.folder}: num_transformer_submodules must be {expected} for --model "
                f"{backbone.name}, found {submodules!r:.40}"
            )
        pairs = self._pairs(opened, found, next(iter(shapes.values())))
        parts = {}
        for attention in found:
            pair = _pair_of(attention, pairs.shape[1], backbone)
            parts[attention.name] = pairs[:, pair].transpose(0, 1)  # [2, n, heads, width]
        return flattened(parts, model)

    def _pairs(
        self,
        opened: PeftFolder,
        found: list[Attention],
        shape: tuple[int, ...],
    ) -> Tensor:
        """Return the pairs [n, layers, 2, heads, width] of a folder."""
        _, length, heads, width = shape
        rows = opened.tensors.get(KEY)
        layers = opened.config.get("num_layers")
        depth = len(found)
        # Deeper decoders' last layers would be without a prefix.
        if not isinstance(layers, int) or layers < depth:
            raise ValueError(
                f"{opened.folder}: num_layers must be at least {depth}, the layers of --model, "
                f"found {layers!r:.40} (for {opened.tuned_for})"
            )
        expected = [length, 2 * layers * heads * width]
        if rows is None or list(rows.shape) != expected:
            shapes = {name: list(tensor.shape) for name, tensor in opened.tensors.items()}
            raise ValueError(
                f"{opened.folder}: expected {KEY} {expected} for --model ({layers} layers, {heads} "
                f"heads of keys of width {width}), found {shapes} (for {opened.tuned_for})"
            )
        return numbers_of(opened.folder, KEY, rows).unflatten(1, (layers, 2, heads, width))

    def write(self, delta: Tensor, model: Model) -> Written:
        backbone = model.backbone
        tuner = model.tuner
        assert isinstance(tuner, Prefix)
        stacks = ("decoder",) if isinstance(backbone, EncoderDecoder) else tuner.stacks
        everywhere = Prefix(prefix_length=tuner.prefix_length, stacks=stacks)
        found = _attentions(everywhere, backbone)
        if everywhere.shapes(backbone) != tuner.shapes(backbone):
            raise NotInPeft(
                "PEFT has a prefix in every layer, of an encoder-decoder in the decoder alone "
                "(prefix:stacks=decoder)"
            )
        parts = tuner.parts(backbone, delta)
        layers = len(found)
        if isinstance(backbone, EncoderDecoder):
            layers += layers % 2 == 0
        _, length, heads, width = next(iter(parts.values())).shape
        pairs = torch.zeros(length, layers, 2, heads, width, dtype=delta.dtype)
        for attention in found:
            pair = _pair_of(attention, layers, backbone)
            pairs[:, pair] = parts[attention.name].transpose(0, 1).cpu()
        config = {
            "num_virtual_tokens": length,
            "num_layers": layers,
            "num_attention_heads": heads,
            "token_dim": heads * width,
            "num_transformer_submodules": 2 if isinstance(backbone, EncoderDecoder) else 1,
            # What makes a prefix of embeddings is no longer there.
            "prefix_projection": False,
            # PEFT gives masked models no prefix under any other name.
            "task_type": PEFT_TASKS.get(type(backbone), FEATURES),
        }
        return Written(config, {KEY: pairs.flatten(1)})


def _attentions(tuner: Tuner, backbone: Backbone) -> list[Attention]:
    """Return the attention modules that PEFT gives a prefix as we do.

    Raises NotInPeft where it would do something else.
    """
    assert isinstance(tuner, Prefix)
    found = attentions(tuner.name, backbone, tuner.stacks, tuner.layers)
    if len({(attention.heads, attention.width) for attention in found}) > 1:
        raise NotInPeft(f"PEFT has keys of one width in all layers, {backbone.name} of several")
    # T5's attention: its biases are by distance, and PEFT's prefix stands at places 0 to n - 1.
    if hasattr(found[0].module, "has_relative_attention_bias"):
        raise NotInPeft(
            f"PEFT gives a prefix the relative position bias of {backbone.name}, and ours has none"
        )
    return found


def _pair_of(attention: Attention, layers: int, backbone: Backbone) -> int:
    """Return which pair of the list PEFT puts before an attention's keys and values."""
    if isinstance(backbone, EncoderDecoder):
        return 2 * attention.layer % layers
    return attention.layer
