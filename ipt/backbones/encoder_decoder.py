"""Encoder-decoders (T5, mT5, BART): the encoder reads the input, the decoder writes the answer."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, PretrainedConfig
from transformers.modeling_outputs import BaseModelOutput

from ipt.backbones.base import MAX_ANSWER, NO_LABEL, Backbone, Encoded, answer_nll, pad


class EncoderDecoder(Backbone):
    """What is prepended leads the encoder's input; the answer is the decoder's."""

    shares_positions = False
    loader = AutoModelForSeq2SeqLM

    @staticmethod
    def reads(config: PretrainedConfig) -> bool:
        return config.is_encoder_decoder

    @property
    def positions(self) -> int | None:
        # T5 has relative positions: any length will do.
        if hasattr(self.model.config, "relative_attention_num_buckets"):
            return None
        return super().positions

    def input_ids(self, text: str) -> list[int]:
        return self._ended(self.ids(text, special=True), self.max_input)

    def label_ids(self, answer: str) -> list[int]:
        return self._ended(self.ids(answer, special=True), MAX_ANSWER)

    def _ended(self, ids: list[int], longest: int) -> list[int]:
        """Return at most so many tokens, the end sign last, once."""
        # Most tokenizers end a text themselves, and some do not.
        end = self.tokenizer.eos_token_id
        if ids and ids[-1] == end:
            ids = ids[:-1]
        return ids[: longest - 1] + [end]

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        hidden, mask = self._encoder(rows)
        answers = [row.label_ids for row in rows]
        return self._decoder(hidden, mask, answers)

    def generate(self, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
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
        texts = self._written(hidden, mask, max_tokens)
        return texts, self._option_nll(hidden, mask, options)

    def _written(self, hidden: Tensor, mask: Tensor, max_tokens: int) -> list[str]:
        ids = self.model.generate(  # type: ignore[operator]
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
        )
        return self.texts(ids)

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
        first = self.model.config.decoder_start_token_id
        start = torch.full((len(answers), 1), first, device=self.device)
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
