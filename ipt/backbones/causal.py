"""Causal language models (GPT-2, Llama, Qwen): one sequence [prefix, input, newline, answer]."""

import copy
import inspect
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
    pads_left = True

    # Whether options go on from what the model keeps of the input; a few models keep nothing, or
    # cannot go on by several tokens, and read the input again for each option.
    keeps_inputs = True

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
        if len(ids) > 1 and ids[-1] == self.end:
            ids = ids[:-1]
        # A cut input ends with the newline too: it says that the answer follows.
        newline = self.ids("\n")
        room = self.max_input - len(newline)
        return ids[:room] + newline

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        inputs = [row.input_ids for row in rows]
        answers = [row.label_ids for row in rows]
        embeds, mask = self.embedded(inputs, left=True, answers=answers)
        labels, _ = pad(answers, NO_LABEL, self.device, left=True)

        # The answers are at the right end; the place before one predicts its first token.
        kept = labels.shape[1] + 1
        output = self._read(embeds, mask, kept, use_cache=False)
        logits = output.logits[:, -kept:-1]  # [B, T, V]
        return logits, labels

    def _read(self, embeds: Tensor, mask: Tensor, kept: int, use_cache: bool) -> Any:
        """Return the model's output for left-padded rows, with the logits of the last places."""
        settings: dict[str, Any] = {
            "position_ids": _positions(mask) + self.first_position,
            "use_cache": use_cache,
            "logits_to_keep": kept,
        }
        return self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            **self._accepted(settings),
        )

    def _accepted(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Return those of the settings that the model's own forward pass knows."""
        # Older ones count positions by the mask alone, or return the logits of all places.
        known = inspect.signature(self.model.forward).parameters
        return {name: value for name, value in settings.items() if name in known}

    def logits_by_ids(self, row: Encoded) -> Tensor:
        ids = torch.tensor([row.input_ids + row.label_ids], device=self.device)
        output = self.model(input_ids=ids, **self._accepted({"use_cache": False}))
        return output.logits[:, -len(row.label_ids) - 1 : -1]

    def option_nll(self, rows: Sequence[Encoded], options: Sequence[Encoded]) -> Tensor:
        """Return [B, O] nats of each option, summed over its tokens; the input is read once."""
        if not self.keeps_inputs:
            return super().option_nll(rows, options)
        inputs = [row.input_ids for row in rows]
        embeds, mask = self.embedded(inputs, left=True)
        read = self._read(embeds, mask, 1, use_cache=True)
        # The input's last place predicts an option's first token, the option's own the others.
        first = read.logits[:, -1:]  # [B, 1, V]
        last = _positions(mask)[:, -1:] + self.first_position
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
            # A copy: the model writes the option's own keys and values behind the input's.
            past_key_values=copy.deepcopy(cache),
            **self._accepted({"position_ids": last + 1 + steps}),
        )
        return output.logits

    def generate_ids(self, rows: Sequence[Encoded], max_tokens: int) -> list[list[int]]:
        inputs = [row.input_ids for row in rows]
        embeds, mask = self.embedded(inputs, left=True)
        # Positions are counted by transformers here, from 0 on, one step after another.
        hook = self.model.register_forward_pre_hook(self._shift, with_kwargs=True)
        try:
            return self.written(
                max_tokens,
                inputs_embeds=embeds,
                attention_mask=mask,
            )
        finally:
            hook.remove()

    def _shift(self, module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Add what the texts' positions are shifted by."""
        if self.first_position and kwargs.get("position_ids") is not None:
            kwargs["position_ids"] = kwargs["position_ids"] + self.first_position
        return args, kwargs


def _positions(mask: Tensor) -> Tensor:
    """Return each place's position [B, L], counted from the first that is not padding."""
    positions = mask.cumsum(1) - 1
    return positions.clamp_min(0)
