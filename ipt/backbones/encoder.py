"""Any model without its language-model head: hidden states are read, nothing is written.

What a head with numbers of its own stands on (`ipt.heads`), and the only way to use a bare encoder
such as a sentence transformer. Of an encoder-decoder it is the encoder, as in transformers' own
models for token labels. No pooler: in RoBERTa's checkpoints it is a random layer.
"""

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, NoReturn

import torch
from torch import Tensor
from transformers import AutoModel, PretrainedConfig

from ipt.backbones.base import Encoded
from ipt.backbones.causal import CausalLM
from ipt.backbones.masked import MaskedLM

# Tokens of a question before a long text; longer ones are cut.
MAX_QUESTION = 64


class Piece(NamedTuple):
    """One text or two as tokens, or a window of the second."""

    input_ids: tuple[int, ...]
    parts: tuple[int | None, ...]  # of each token: 0 the first text, 1 the second, None neither
    offsets: tuple[tuple[int, int], ...]  # of each token: where it is in its text


class Encoder(MaskedLM):
    """Hidden states of texts; both texts of a pair have the token type 0."""

    # Nothing stands behind the input.
    shares_positions = False
    loader: ClassVar[Any] = AutoModel

    @staticmethod
    def reads(config: PretrainedConfig) -> bool:
        # Chosen by the head, not by the configuration.
        return False

    def states(self, sequences: Sequence[Encoded]) -> list[Tensor]:
        """Return the last hidden states [L, h] of each sequence's own tokens."""
        embeds, mask = self.embedded([sequence.input_ids for sequence in sequences])
        # What a tuner has put between the tokens is none of a row's own. Asked now: a tuner takes
        # the places away once it has used them.
        assert self.vector_places is not None
        own = mask.bool() & ~self.vector_places  # [B, n + L]
        settings: dict[str, Any] = self._later_positions(mask)
        if self._may_cache:
            settings["use_cache"] = False
        output = self.model(inputs_embeds=embeds, attention_mask=mask, **settings)
        states = output.last_hidden_state[own]
        return list(states.split(own.sum(1).tolist()))

    @cached_property
    def _may_cache(self) -> bool:
        """Whether the model would keep keys and values, which nobody reads here."""
        return "use_cache" in inspect.signature(self.model.forward).parameters

    def states_by_ids(self, sequence: Encoded) -> Tensor:
        """Return the last hidden states [L, h] as the model embeds the tokens itself."""
        ids = torch.tensor([sequence.input_ids], device=self.device)
        output = self.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        states: Tensor = output.last_hidden_state[0]
        return states

    def outputs(self, rows: Sequence[Encoded]) -> Tensor:
        return torch.cat(self.states(rows))

    def text_ids(self, text: str, query: str = "", context: str = "") -> tuple[int, ...]:
        """Return the tokens of a text, as a pair where its two parts are known."""
        if query and context:
            return self.piece(query, context).input_ids
        return tuple(self.input_ids(text))

    def piece(self, first: str, second: str = "") -> Piece:
        """Return one text or two as tokens; the longer one is cut where they are too long."""
        texts = [self._led(first), second] if second else [first]
        (piece,) = self._pieces(texts, truncation="longest_first")
        return piece

    def windows(self, first: str, second: str, stride: int) -> list[Piece]:
        """Return windows of the second text, the first before each.

        stride: so many tokens of a window are in the next one too.
        """
        question = self._pieces([first], truncation=True, max_length=MAX_QUESTION)[0]
        end = max(stop for _, stop in question.offsets)
        return self._pieces(
            [self._led(first[:end]), second],
            truncation="only_second",
            stride=stride,
            return_overflowing_tokens=True,
        )

    def _led(self, first: str) -> str:
        """Return the first of two texts, with a line's end where no sign stands between them."""
        count = self.tokenizer.num_special_tokens_to_add
        return first if count(pair=True) > count(pair=False) else first + "\n"

    def _pieces(self, texts: Sequence[str], **settings: Any) -> list[Piece]:
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"--model {self.name}: its tokenizer does not say where a token is in the text "
                "(it is no fast one); take a model with a tokenizer.json"
            )
        settings = {"max_length": self.max_input} | settings
        encoded = self.tokenizer(*texts, return_offsets_mapping=True, **settings)
        pieces = []
        ids = encoded["input_ids"]
        offsets = encoded["offset_mapping"]
        if not settings.get("return_overflowing_tokens"):
            ids, offsets = [ids], [offsets]
        for number, (of_piece, places) in enumerate(zip(ids, offsets, strict=True)):
            parts = encoded.sequence_ids(number)
            pieces.append(Piece(tuple(of_piece), tuple(parts), tuple(places)))
        return pieces

    @property
    def starts_with_sign(self) -> bool:
        """Return whether each text begins with a sign for the whole of it ([CLS])."""
        return self.tokenizer.cls_token_id is not None

    @property
    def is_causal(self) -> bool:
        """Return whether a place sees only what stands before it."""
        config = self.model.config
        return CausalLM.reads(config) and not config.is_encoder_decoder

    def answer_logits(self, rows: Sequence[Encoded]) -> NoReturn:
        raise ValueError(f"{self.name} has no language-model head here")

    logits_by_ids = answer_logits  # type: ignore[assignment]
    generate_ids = answer_logits  # type: ignore[assignment]
