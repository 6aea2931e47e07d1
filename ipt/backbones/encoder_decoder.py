"""Encoder-decoders (T5, mT5, BART): the encoder reads [prompt, input], the decoder writes the answer."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutput

from ipt.backbones.base import MAX_ANSWER, Backbone, Encoded, pad, row_nll


class EncoderDecoder(Backbone):
    """The prompt leads the encoder's input; the answer is the decoder's."""

    shares_positions = False

    @property
    def positions(self) -> int | None:
        relative = hasattr(self.model.config, "relative_attention_num_buckets")  # T5: any length
        return None if relative else super().positions

    def input_ids(self, text: str) -> list[int]:
        return self._ended(self.ids(text, special=True), self.max_input)

    def label_ids(self, answer: str) -> list[int]:
        return self._ended(self.ids(answer, special=True), MAX_ANSWER)

    def _ended(self, ids: list[int], longest: int) -> list[int]:
        end = self.tokenizer.eos_token_id
        return (ids[:-1] if ids and ids[-1] == end else ids)[: longest - 1] + [end]

    def answer_logits(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        hidden, mask = self._encoder(prompts, rows)
        return self._decoder(hidden, mask, [row.label_ids for row in rows])

    def rank(self, prompts: Tensor, rows: Sequence[Encoded], options: Sequence[Encoded]) -> list[int]:
        """Return for each row the index of the likeliest option (nats summed over its tokens); the encoder runs once."""
        return self._likeliest(*self._encoder(prompts, rows), options)

    def generate(self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        return self._written(*self._encoder(prompts, rows), max_tokens)

    def generate_and_rank(
        self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int, options: Sequence[Encoded]
    ) -> tuple[list[str], list[int]]:  # fmt: skip
        hidden, mask = self._encoder(prompts, rows)
        return self._written(hidden, mask, max_tokens), self._likeliest(hidden, mask, options)

    def _written(self, hidden: Tensor, mask: Tensor, max_tokens: int) -> list[str]:
        ids = self.model.generate(  # type: ignore[operator]
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden), attention_mask=mask, max_new_tokens=max_tokens, do_sample=False,
            num_beams=1,
        )  # fmt: skip
        return self.text(ids)

    def _likeliest(self, hidden: Tensor, mask: Tensor, options: Sequence[Encoded]) -> list[int]:
        scores = [row_nll(*self._decoder(hidden, mask, [option.label_ids] * len(mask))) for option in options]
        return torch.stack(scores, 1).argmin(1).tolist()

    def _encoder(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        embeds, mask = self.lead(prompts, [row.input_ids for row in rows])
        return self.model.get_encoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state, mask

    def _decoder(self, hidden: Tensor, mask: Tensor, answers: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        labels, _ = pad(answers, -100, self.device)  # [B, T]
        start = torch.full((len(answers), 1), self.model.config.decoder_start_token_id, device=self.device)
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            decoder_input_ids=torch.cat([start, labels[:, :-1].clamp_min(0)], 1),
            use_cache=False,
        )
        return output.logits, labels
