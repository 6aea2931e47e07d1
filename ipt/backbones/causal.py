"""Causal language models (GPT-2, Llama, Qwen): one sequence [prefix, input, newline, answer]."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto import modeling_auto

from ipt.backbones.base import NO_LABEL, Backbone, Encoded, answer_nll, pad


class CausalLM(Backbone):
    """Everything in one sequence, padded on the left; only answers have a loss."""

    loader = AutoModelForCausalLM

    @staticmethod
    def reads(config: PretrainedConfig) -> bool:
        if config.model_type not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return False
        # BERT and its like are in both lists, and are causal only where the config says so.
        is_masked = config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        return getattr(config, "is_decoder", False) or not is_masked

    def input_ids(self, text: str) -> list[int]:
        ids = self.ids(text, special=True)
        # Some tokenizers end every text; but the answer is still to come.
        end = self.tokenizer.eos_token_id
        if len(ids) > 1 and ids[-1] == end:
            ids = ids[:-1]
        # A cut input ends with the newline too: it says that the answer follows.
        newline = self.ids("\n")
        room = self.max_input - len(newline)
        return ids[:room] + newline

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        sequences = []
        answers = []
        for row in rows:
            sequences.append(row.input_ids + row.label_ids)
            answers.append(row.label_ids)
        embeds, mask = self.embedded(sequences, left=True)
        labels, _ = pad(answers, NO_LABEL, self.device, left=True)

        # The answers are at the right end; the place before one predicts its first token.
        kept = labels.shape[1] + 1
        output = self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=_positions(mask),
            use_cache=False,
            logits_to_keep=kept,
        )
        logits = output.logits[:, -kept:-1]  # [B, T, V]
        return logits, labels

    def option_nll(self, rows: Sequence[Encoded], options: Sequence[Encoded]) -> Tensor:
        """Return [B, O] nats of each option, summed over its tokens; the input is read once."""
        inputs = [row.input_ids for row in rows]
        embeds, mask = self.embedded(inputs, left=True)
        positions = _positions(mask)
        read = self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
        )
        # The input's last place predicts an option's first token, the option's own the others.
        first = read.logits[:, -1:]  # [B, 1, V]
        last = positions[:, -1:]
        scores = []
        for option in options:
            ids = torch.tensor([option.label_ids], device=self.device)
            labels = ids.expand(len(rows), -1)  # [B, T]
            later = self._continued(read.past_key_values, mask, last, labels)
            logits = torch.cat([first, later], 1)  # [B, T, V]
            nll = answer_nll(logits, labels)
            scores.append(nll)
        return torch.stack(scores, 1)

    def _continued(self, cache: Any, mask: Tensor, last: Tensor, labels: Tensor) -> Tensor:
        """Return the logits [B, T - 1, V] behind all but the last token of labels [B, T].

        last: [B, 1] position of each row's last token.
        """
        tokens = labels[:, :-1]
        attended = torch.ones_like(tokens)
        steps = torch.arange(tokens.shape[1], device=self.device)
        output = self.model(
            input_ids=tokens,
            attention_mask=torch.cat([mask, attended], 1),
            position_ids=last + 1 + steps,
            # A copy: the model writes the option's own keys and values behind the input's.
            past_key_values=copy.deepcopy(cache),
        )
        return output.logits

    def generate(self, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        inputs = [row.input_ids for row in rows]
        embeds, mask = self.embedded(inputs, left=True)
        # Causal models often have no padding token; what stands behind the end is not read.
        end = self.tokenizer.eos_token_id
        ids = self.model.generate(  # type: ignore[operator]
            inputs_embeds=embeds,
            attention_mask=mask,
            max_new_tokens=max_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=end,
            pad_token_id=end,
        )
        return self.texts(ids)


def _positions(mask: Tensor) -> Tensor:
    """Return each place's position [B, L], counted from the first that is not padding."""
    positions = mask.cumsum(1) - 1
    return positions.clamp_min(0)
