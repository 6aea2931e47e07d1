"""Masked language models (BERT, RoBERTa): one sequence, a mask for each token of the answer.

Cloze questions (Schick and Schuetze 2021): as many masks as the answer has tokens stand at the end
of the input; options are ranked, no text is written.
"""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, PretrainedConfig
from transformers.models.auto import modeling_auto

from ipt.backbones.base import MAX_ANSWER, NO_LABEL, Backbone, Encoded, pad


class MaskedLM(Backbone):
    """Ranks options; each is filled into the masks."""

    generates = False
    loader = AutoModelForMaskedLM

    @staticmethod
    def reads(config: PretrainedConfig) -> bool:
        return config.model_type in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES

    @property
    def positions(self) -> int | None:
        positions = super().positions
        if positions is None:
            return None
        return positions - self._skipped_positions

    @property
    def _skipped_positions(self) -> int:
        """Return the position of a text's first token: RoBERTa and its like count from padding."""
        for name, module in self.model.named_modules():
            padding = getattr(module, "padding_idx", None)
            if name.endswith("position_embeddings") and padding is not None:
                return padding + 1
        return 0

    def _end_sign(self) -> int:
        # What ends a text; there is no sign that ends an answer.
        separator = self.tokenizer.sep_token_id
        return super()._end_sign() if separator is None else separator

    def input_ids(self, text: str) -> list[int]:
        ids = self.ids(text, special=True)
        # A cut text ends with the separator too.
        if ids and ids[-1] == self.end:
            ids = ids[:-1]
        room = self.max_input - 1
        return ids[:room] + [self.end]

    def label_ids(self, answer: str) -> list[int]:
        # With a space before it, as in the middle of a text; there is no end sign.
        return self.ids(" " + answer)[:MAX_ANSWER]

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        cloze = []
        answers = []
        for row in rows:
            cloze.append(self._cloze(row))
            # The answer stands where the masks are, behind the text and the vectors in it.
            length = self.prefix_length + len(row.input_ids) - 1
            before = [NO_LABEL] * length
            answer = [*before, *row.label_ids, NO_LABEL]
            answers.append(answer)

        embeds, mask = self.embedded(cloze)
        output = self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            **self._later_positions(mask),
        )
        labels, _ = pad(answers, NO_LABEL, self.device)
        return output.logits, labels  # [B, n + L, V], [B, n + L]

    def _later_positions(self, mask: Tensor) -> dict[str, Tensor]:
        """Return a shifted text's positions [1, n + L]; nothing where the model has its own."""
        known = inspect.signature(self.model.forward).parameters
        if not self.first_position or "position_ids" not in known:
            return {}
        first = self._skipped_positions + self.first_position
        places = torch.arange(mask.shape[1], device=self.device)
        return {"position_ids": first + places[None]}

    def _cloze(self, row: Encoded) -> list[int]:
        """Return the tokens of a row, a mask for each of its answer's."""
        *text, end = row.input_ids
        masks = [self.tokenizer.mask_token_id] * len(row.label_ids)
        return [*text, *masks, end]

    def logits_by_ids(self, row: Encoded) -> Tensor:
        ids = torch.tensor([self._cloze(row)], device=self.device)
        output = self.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        return output.logits[:, -len(row.label_ids) - 1 : -1]

    def generate_ids(self, rows: Sequence[Encoded], max_tokens: int) -> list[list[int]]:
        raise ValueError(
            f"{self.name} is a masked model: it ranks options and writes no text; "
            "use tasks with options"
        )
