"""Causal language models (GPT-2, Llama, Qwen): one sequence [prompt, input, newline, answer]."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ipt.backbones.base import Backbone, Encoded, pad, row_nll


class CausalLM(Backbone):
    """Prompt, input, a newline and the answer in one sequence, padded on the left; only answers have a loss."""

    def input_ids(self, text: str) -> list[int]:
        ids, newline, end = self.ids(text, special=True), self.ids("\n"), self.tokenizer.eos_token_id
        ids = ids[:-1] if len(ids) > 1 and ids[-1] == end else ids  # some tokenizers end every text
        return ids[: self.max_input - len(newline)] + newline

    def answer_logits(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        embeds, mask = self.lead(prompts, [row.input_ids + row.label_ids for row in rows], left=True)
        labels, _ = pad([row.label_ids for row in rows], -100, self.device, left=True)  # [B, T], at the right end
        places = (mask.cumsum(1) - 1).clamp_min(0)
        kept = labels.shape[1] + 1  # the place before an answer predicts its first token
        logits = self.model(inputs_embeds=embeds, attention_mask=mask, position_ids=places, use_cache=False, logits_to_keep=kept).logits
        return logits[:, -kept:-1], labels

    def rank(self, prompts: Tensor, rows: Sequence[Encoded], options: Sequence[Encoded]) -> list[int]:
        """Return for each row the index of the likeliest option (nats summed over its tokens); prompt and input run once."""
        embeds, mask = self.lead(prompts, [row.input_ids for row in rows], left=True)
        places = (mask.cumsum(1) - 1).clamp_min(0)
        read = self.model(inputs_embeds=embeds, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1)
        first, scores = read.logits[:, -1:], []
        for option in options:
            labels = torch.tensor([option.label_ids], device=self.device).expand(len(rows), -1)  # [B, T]
            written = self.model(
                input_ids=labels[:, :-1],
                attention_mask=torch.cat([mask, torch.ones_like(labels[:, :-1])], 1),
                position_ids=places[:, -1:] + 1 + torch.arange(labels.shape[1] - 1, device=self.device),
                past_key_values=copy.deepcopy(read.past_key_values),  # the model writes the option's own behind it
            )
            scores.append(row_nll(torch.cat([first, written.logits], 1), labels))
        return torch.stack(scores, 1).argmin(1).tolist()

    def generate(self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        embeds, mask = self.lead(prompts, [row.input_ids for row in rows], left=True)
        end = self.tokenizer.eos_token_id
        ids = self.model.generate(  # type: ignore[operator]
            inputs_embeds=embeds, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False, num_beams=1, eos_token_id=end,
            pad_token_id=end,
        )  # fmt: skip
        return self.text(ids)
