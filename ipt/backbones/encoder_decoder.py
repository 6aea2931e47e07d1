"""Encoder-decoders (T5, mT5, BART): the encoder reads the input, the decoder writes the answer."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput

from ipt.backbones.base import MAX_ANSWER, NO_LABEL, Backbone, Encoded, answer_nll, pad


class EncoderDecoder(Backbone):
    """What is prepended leads the encoder's input; the answer is the decoder's."""

    shares_positions = False
    loader = AutoModelForSeq2SeqLM

    @staticmethod
    def reads(config: PretrainedConfig) -> bool:
        return config.is_encoder_decoder

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        added_tokens: int = 0,
    ) -> None:
        super().__init__(model, tokenizer, name, added_tokens)
        scale = self._encoder_scale()
        if scale != 1:
            embedding = self.embed

            def scaled(ids: Tensor) -> Tensor:
                return embedding(ids) * scale

            self.embed = scaled

    @torch.no_grad()
    def _encoder_scale(self) -> float:
        """Return by how much the encoder multiplies its tokens' embeddings, and no others."""
        encoder: Any = self.model.get_encoder()
        scale = getattr(encoder, "embed_scale", 1.0)
        if scale == 1:
            return 1.0
        # Marian, Pegasus, BlenderbotSmall and MVP multiply the embeddings of tokens only, FSMT
        # those that it is given as well: what the encoder makes of some tokens tells.
        ids = torch.arange(4, device=self.device)[None]
        by_ids = encoder(input_ids=ids).last_hidden_state
        embeds = self.embed(ids)
        given = encoder(input_ids=None, inputs_embeds=embeds).last_hidden_state
        scaled = encoder(input_ids=None, inputs_embeds=embeds * scale).last_hidden_state
        is_nearer = (scaled - by_ids).abs().sum() < (given - by_ids).abs().sum()
        return scale if is_nearer else 1.0

    def _start_sign(self) -> int:
        """Return the token that the decoder starts with; raise ValueError where none is said."""
        for config in (self.model.config, self.model.generation_config):
            start = getattr(config, "decoder_start_token_id", None)
            if start is not None:
                return start
        # What the model's own training puts first, where that is no setting.
        try:
            labels = torch.tensor([[self.end]], device=self.device)
            shifted = self.model.prepare_decoder_input_ids_from_labels(labels=labels)
            return int(shifted[0, 0])
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"--model {self.name}: its config.json says no decoder_start_token_id, the token "
                "that an answer starts from; copy the model again, or add it"
            ) from error

    @property
    def positions(self) -> int | None:
        # T5 has relative positions: any length will do.
        if hasattr(self.model.config, "relative_attention_num_buckets"):
            return None
        return super().positions

    @contextmanager
    def shifted(self, count: int) -> Iterator[None]:
        """Shift the decoder's positions: its answer begins at `count`."""
        positions = getattr(self.model.get_decoder(), "embed_positions", None)
        # T5 has relative positions: they are the same wherever a text begins.
        if positions is None:
            yield
            return
        signature = inspect.signature(positions.forward)

        def shift(module: Any, args: Any, kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            # Counted by the decoder itself, or by the module from the tokens before.
            name = "position_ids"
            if given.arguments.get(name) is None:
                name = "past_key_values_length"
            given.arguments[name] = given.arguments[name] + count
            return given.args, given.kwargs

        hook = positions.register_forward_pre_hook(shift, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()

    def input_ids(self, text: str) -> list[int]:
        return self._ended(self.ids(text, special=True), self.max_input)

    def label_ids(self, answer: str) -> list[int]:
        return self._ended(self.ids(answer, special=True), MAX_ANSWER)

    def _ended(self, ids: list[int], longest: int) -> list[int]:
        """Return at most so many tokens, the end sign last, once."""
        # Most tokenizers end a text themselves, and some do not.
        if ids and ids[-1] == self.end:
            ids = ids[:-1]
        return ids[: longest - 1] + [self.end]

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        hidden, mask = self._encoder(rows)
        answers = [row.label_ids for row in rows]
        return self._decoder(hidden, mask, answers)

    def logits_by_ids(self, row: Encoded) -> Tensor:
        ids = torch.tensor([row.input_ids], device=self.device)
        encoder = self.model.get_encoder()
        hidden = encoder(input_ids=ids).last_hidden_state
        logits, _ = self._decoder(hidden, torch.ones_like(ids), [row.label_ids])
        return logits

    def generate_ids(self, rows: Sequence[Encoded], max_tokens: int) -> list[list[int]]:
        hidden, mask = self._encoder(rows)
        return self._written(hidden, mask, max_tokens)

    def option_nll(self, rows: Sequence[Encoded], options: Sequence[Encoded]) -> Tensor:
        """Return [B, O] nats of each option, summed over its tokens; the encoder runs once."""
        hidden, mask = self._encoder(rows)
        return self._option_nll(hidden, mask, options)

    def generate_and_rank(
        self,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded],
    ) -> tuple[list[str], Tensor]:
        # The encoder runs once for both.
        hidden, mask = self._encoder(rows)
        texts = self.texts(self._written(hidden, mask, max_tokens))
        return texts, self._option_nll(hidden, mask, options)

    def _written(self, hidden: Tensor, mask: Tensor, max_tokens: int) -> list[list[int]]:
        return self.written(
            max_tokens,
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
        )

    def _option_nll(self, hidden: Tensor, mask: Tensor, options: Sequence[Encoded]) -> Tensor:
        scores = []
        for option in options:
            answers = [option.label_ids] * len(mask)
            logits, labels = self._decoder(hidden, mask, answers)
            nll = answer_nll(logits, labels)  # [B]
            scores.append(nll)
        return torch.stack(scores, 1)

    def _encoder(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        """Return the encoder's output [B, n + L, h] and the mask of its places."""
        inputs = [row.input_ids for row in rows]
        embeds, mask = self.embedded(inputs)
        encoder = self.model.get_encoder()
        output = encoder(
            input_ids=None,  # FSMT must be told
            inputs_embeds=embeds,
            attention_mask=mask,
        )
        return output.last_hidden_state, mask

    def _decoder(
        self,
        hidden: Tensor,
        mask: Tensor,
        answers: Sequence[Sequence[int]],
    ) -> tuple[Tensor, Tensor]:
        """Return the logits [B, T, V] and labels [B, T] of these answers."""
        labels, _ = pad(answers, NO_LABEL, self.device)
        assert self.start is not None
        start = torch.full((len(answers), 1), self.start, device=self.device)
        # Teacher forcing: each place reads the token before it.
        before = labels[:, :-1].clamp_min(0)  # padding must be some token; none has a loss
        shifted = torch.cat([start, before], 1)  # [B, T]
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            decoder_input_ids=shifted,
            use_cache=False,
        )
        return output.logits, labels
