"""Where a tuner can act in a model: its blocks, their linear layers and attention modules.

Found by one pass over a few words, and not by a table of architectures: the attention function is
told query, key and value, and the gradient from each to the linear layers says which of them made
it. The linear layer that runs next is the attention's output; those of a block behind its last
attention are its feed-forward layers, the last of them the down projection.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from ipt.backbones.attention import NAME, attend, with_attention
from ipt.backbones.tolerance import is_close

if TYPE_CHECKING:
    from ipt.backbones.base import Backbone

TRACE = "ipt-trace"
ROLES = ("query", "key", "value", "output", "up", "down")
STACKS = ("encoder", "decoder", "cross")
# Words of the pass: question and answer of different lengths, which tells cross attention.
QUESTION = "a few words to read"
ANSWER = "yes"
# Pads the question.
LONGER = "a much longer question of many words: is it low or high ?"
# What attention is told where it is another than ours: half precision would hide small effects.
OTHERWISE = {"softcap": "it caps the scores", "s_aux": "it attends to sinks"}
# A block is an entry of the outermost list of modules.
BLOCK = re.compile(r"^(.*?\.\d+)\.")


@dataclass
class Linear:
    """A linear layer of a block: `nn.Linear`, or GPT-2's `Conv1D`."""

    name: str
    module: nn.Module
    block: str
    stack: str
    layer: int
    inputs: int
    outputs: int
    # Of ROLES; several where one layer makes query, key and value; none where it is another.
    roles: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Attention:
    """An attention module: whose places attend, in which layer, and the shape of its keys."""

    name: str
    module: nn.Module
    stack: str
    layer: int
    heads: int  # of keys and values
    width: int


@dataclass(frozen=True)
class Block:
    """A layer of a stack, with its number there."""

    name: str
    module: nn.Module
    stack: str
    layer: int


@dataclass(frozen=True)
class Sites:
    """What a pass has found, each in running order."""

    blocks: tuple[Block, ...]
    linears: tuple[Linear, ...]
    attentions: tuple[Attention, ...]
    # Why nothing can be put before the keys of a text; empty where it can.
    own_attention: str = ""

    def depth(self, stack: str = "") -> int:
        """Return how many blocks a stack has; the deepest one, where none is named."""
        layers = [block.layer for block in self.blocks if stack in ("", block.stack)]
        return max(layers, default=-1) + 1


@dataclass
class _Trace:
    """What ran during the pass, in order."""

    linears: list[tuple[str, nn.Module, Tensor, Tensor]] = field(default_factory=list)
    # Name, module, number of linear layers before, and query, key, value.
    attentions: list[tuple[str, nn.Module, int, dict[str, Tensor]]] = field(default_factory=list)
    # Of OTHERWISE, what the attention was told.
    otherwise: set[str] = field(default_factory=set)


# Also where it is first asked for without gradients, as answers are.
@torch.enable_grad()
def find_sites(backbone: "Backbone") -> Sites:
    """Return where a tuner can act in the backbone's model."""
    trace = _run(backbone)
    in_encoder = _encoder_names(backbone)
    linears: list[Linear] = []
    blocks: list[Block] = []
    probes: list[Tensor] = []
    known: dict[str, Block] = {}
    for name, module, inputs, probe in trace.linears:
        found = BLOCK.match(name)
        is_again = any(linear.name == name for linear in linears)
        # Experts read rows one by one, wherever they stand: no row is told from the others.
        if found is None or is_again or inputs.dim() != 3:
            probes.append(probe)
            linears.append(Linear(name, module, "", "", -1, 0, 0))
            continue
        block_name = found[1]
        if block_name not in known:
            stack = "encoder" if block_name in in_encoder else _only_stack(backbone)
            layer = sum(block.stack == stack for block in blocks)
            block_module = backbone.model.get_submodule(block_name)
            known[block_name] = Block(block_name, block_module, stack, layer)
            blocks.append(known[block_name])
        block = known[block_name]
        linear = Linear(
            name=name,
            module=module,
            block=block_name,
            stack=block.stack,
            layer=block.layer,
            inputs=inputs.shape[-1],
            outputs=probe.shape[-1],
        )
        linears.append(linear)
        probes.append(probe)

    attentions = _name_attention(trace, linears, probes, known)
    named = tuple(linear for linear in linears if linear.block)
    _name_feed_forward(named)
    return Sites(tuple(blocks), named, attentions, _own_attention(backbone, trace))


def _run(backbone: "Backbone") -> _Trace:
    """Run the model over a few words, and record linear layers and attention."""
    trace = _Trace()
    names = {module: name for name, module in backbone.model.named_modules()}
    head = backbone.model.get_output_embeddings()
    hooks = []

    def record(module: nn.Module, args: tuple[Tensor, ...], output: Any) -> Any:
        # Routers of experts are made from linear layers, and say more.
        if not isinstance(output, Tensor):
            return output
        # Zeros that gradients are taken to: the weights are frozen.
        probe = torch.zeros_like(output, requires_grad=True)
        trace.linears.append((names[module], module, args[0].detach(), probe))
        return output + probe

    def traced(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        **others: Any,
    ) -> Any:
        made = {"query": query, "key": key, "value": value}
        trace.otherwise |= {name for name in OTHERWISE if others.get(name) is not None}
        trace.attentions.append((names[module], module, len(trace.linears), made))
        return attend(module, query, key, value, attention_mask, **others)

    for module in names:
        if isinstance(module, nn.Linear | Conv1D) and module is not head:
            hooks.append(module.register_forward_hook(record))
    rows = backbone.encode([QUESTION], [ANSWER])
    try:
        with with_attention(backbone.model, TRACE, traced):
            backbone.outputs(rows)
    finally:
        for hook in hooks:
            hook.remove()
    return trace


@torch.no_grad()
def _own_attention(backbone: "Backbone", trace: _Trace) -> str:
    """Return why a model attends otherwise than `attend` does; empty where it does not."""
    for name in sorted(trace.otherwise):
        return f"its attention is its own ({OTHERWISE[name]})"
    rows = backbone.encode([QUESTION, LONGER], [ANSWER, ANSWER])
    own = backbone.outputs(rows)
    with with_attention(backbone.model, NAME, attend):
        ours = backbone.outputs(rows)
    if is_close(backbone.model.dtype, ours, own):
        return ""
    return "its attention is its own (plain attention gives another loss)"


def _encoder_names(backbone: "Backbone") -> set[str]:
    """Return the names of all modules of an encoder-decoder's encoder."""
    # A decoder's answer is what makes it one: without it, all of the model is the encoder.
    if not backbone.model.config.is_encoder_decoder or not backbone.generates:
        return set()
    inside = set(backbone.model.get_encoder().modules())
    return {name for name, module in backbone.model.named_modules() if module in inside}


def _only_stack(backbone: "Backbone") -> str:
    """Return the stack of a block that is in no encoder of an encoder-decoder."""
    # A masked model is an encoder.
    return "decoder" if backbone.generates else "encoder"


def _name_attention(
    trace: _Trace,
    linears: Sequence[Linear],
    probes: Sequence[Tensor],
    blocks: dict[str, Block],
) -> tuple[Attention, ...]:
    """Give the linear layers around each attention their roles; return the attention modules."""
    attentions: list[Attention] = []
    for name, module, count, made in trace.attentions:
        found = BLOCK.match(f"{name}.")
        if found is None or found[1] not in blocks or any(a.name == name for a in attentions):
            continue
        block = blocks[found[1]]
        query, key = made["query"], made["key"]
        # The question and the answer have different lengths.
        is_cross = block.stack == "decoder" and query.shape[2] != key.shape[2]
        stack = "cross" if is_cross else block.stack
        attention = Attention(name, module, stack, block.layer, key.shape[1], key.shape[3])
        attentions.append(attention)

        # Its own layers alone: those before reach it through the residual as well.
        own = [i for i in range(count) if linears[i].name.startswith(f"{name}.")]
        for role, tensor in made.items():
            for i in _makers(tensor, probes, own):
                linears[i].roles.add(role)
                linears[i].stack = stack
        if own and count < len(linears):
            linears[count].roles.add("output")
            linears[count].stack = stack
    return tuple(attentions)


def _makers(tensor: Tensor, probes: Sequence[Tensor], own: Sequence[int]) -> list[int]:
    """Return which of these linear layers a tensor was made by."""
    if not own or not tensor.requires_grad:
        return []
    # Weights of all sizes: a plain sum would have no gradient behind a normalization.
    weights = torch.linspace(0.5, 1.5, tensor.numel(), device=tensor.device)
    total = (tensor.flatten() * weights.to(tensor.dtype)).sum()
    own_probes = [probes[i] for i in own]
    gradients = torch.autograd.grad(total, own_probes, retain_graph=True, allow_unused=True)
    pairs = zip(own, gradients, strict=True)
    return [i for i, gradient in pairs if gradient is not None and gradient.any()]


def _name_feed_forward(linears: Sequence[Linear]) -> None:
    """Name the layers of each block behind its last attention: up, and the last of them down."""
    by_block: dict[str, list[Linear]] = {}
    for linear in linears:
        by_block.setdefault(linear.block, []).append(linear)
    for members in by_block.values():
        ends = [i for i, linear in enumerate(members) if "output" in linear.roles]
        behind = members[ends[-1] + 1 :] if ends else []
        for linear in behind:
            linear.roles.add("up")
        if behind:
            behind[-1].roles = {"down"}
