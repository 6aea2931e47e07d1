"""Hidden states of rows behind a model's lower blocks, kept where no tuned number changes them.

A pass over kept rows begins there: each stack's last skipped block returns what was kept, the ones
before it hand on what they were given. Embeddings, masks and norms outside blocks run as ever, so
there is no table of architectures; `Model.keeping` compares the two ways before it trusts them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ipt.backbones.base import Backbone, Encoded
from ipt.backbones.sites import Block

# Of all rows together, in the device's memory; rows beyond it are run from the start.
MOST_BYTES = 2**29
# What a block runs in the place of its own forward.
Forward = Callable[..., Any]


class KeptStates:
    """What the first blocks of a model make of rows, for each row alone and without padding."""

    def __init__(self, backbone: Backbone, count: int) -> None:
        """Keep nothing yet.

        count: of the model's blocks, in running order, these are skipped.
        """
        self.backbone = backbone
        self.blocks = backbone.sites.blocks[:count]
        # By stack: an encoder-decoder's encoder, then its decoder.
        self.last = {block.stack: block for block in self.blocks}
        # What a block returns behind the hidden states; None where it returns these alone.
        self.others: dict[str, tuple[Any, ...] | None] = {}
        self.states: dict[Encoded, dict[str, Tensor]] = {}  # each [L, h], by stack
        self.free = MOST_BYTES

    def __contains__(self, row: Encoded) -> bool:
        return row in self.states

    @contextmanager
    def recorded(self, rows: Sequence[Encoded]) -> Iterator[None]:
        """Keep what the blocks make of these rows in the pass inside the context."""
        made: dict[str, Tensor] = {}
        forwards = {}
        for block in self.blocks:
            forwards[block.module] = self._recording(block, made)
        with _replaced_forwards(forwards):
            yield
        for i, row in enumerate(rows):
            states = {}
            for stack, block in self.last.items():
                hidden = made[block.name][i].detach()
                length = self._length(stack, row)
                own = hidden[-length:] if self.backbone.pads_left else hidden[:length]
                # A copy: a view would hold the whole batch in memory.
                states[stack] = own.clone()
            size = sum(state.nbytes for state in states.values())
            if row not in self.states and size <= self.free:
                self.states[row] = states
                self.free -= size

    @contextmanager
    def resumed(self, rows: Sequence[Encoded]) -> Iterator[None]:
        """Let the pass inside the context, over these kept rows, begin behind the blocks."""
        side = "left" if self.backbone.pads_left else "right"
        forwards = {}
        for block in self.blocks:
            hidden = None
            if block is self.last[block.stack]:
                own = [self.states[row][block.stack] for row in rows]
                hidden = nn.utils.rnn.pad_sequence(own, batch_first=True, padding_side=side)
            forwards[block.module] = self._skipping(block, hidden)
        with _replaced_forwards(forwards):
            yield

    def _length(self, stack: str, row: Encoded) -> int:
        """Return how many places a row has in a stack."""
        if self.backbone.shares_positions:
            return row.tokens
        return len(row.input_ids if stack == "encoder" else row.label_ids)

    def _recording(self, block: Block, made: dict[str, Tensor]) -> Forward:
        forward = block.module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            output = forward(*args, **kwargs)
            is_tuple = isinstance(output, tuple)
            made[block.name] = output[0] if is_tuple else output
            self.others[block.name] = output[1:] if is_tuple else None
            return output

        return run

    def _skipping(self, block: Block, kept: Tensor | None) -> Forward:
        """Return what stands for a block; kept: [B, L, h], else it hands on what it is given."""
        forward = block.module.forward
        others = self.others[block.name]

        def run(*args: Any, **kwargs: Any) -> Any:
            hidden = kept
            if hidden is None:
                hidden = args[0] if args else kwargs["hidden_states"]
            if others is None:
                return hidden
            if not any(isinstance(other, Tensor) for other in others):
                return (hidden, *others)
            # T5's first block makes the position bias of all others. It is the same for all rows,
            # so that one row tells it.
            count = len(hidden)
            one_row = [_first_of(value, count) for value in args]
            named = {key: _first_of(value, count) for key, value in kwargs.items()}
            with torch.no_grad():
                return (hidden, *forward(*one_row, **named)[1:])

        return run


def _first_of(value: Any, rows: int) -> Any:
    """Return the first row of hidden states, or of a mask, of so many rows."""
    has_rows = isinstance(value, Tensor) and value.dim() > 2 and len(value) == rows
    return value[:1] if has_rows else value


@contextmanager
def _replaced_forwards(forwards: dict[nn.Module, Forward]) -> Iterator[None]:
    """Let modules run other functions inside the context; their hooks run as ever."""
    before = {module: module.__dict__.get("forward") for module in forwards}
    try:
        for module, forward in forwards.items():
            module.forward = forward  # type: ignore[method-assign]
        yield
    finally:
        for module, own in before.items():
            # A class's own function is found again once nothing stands before it.
            del module.forward
            if own is not None:
                module.forward = own
