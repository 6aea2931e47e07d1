"""MaskedLM language models (BERT, RoBERTa): one sequence [prompt, input with a mask for each token of the answer], options only."""

from collections.abc import Sequence

from torch import Tensor

from ipt.backbones.base import MAX_ANSWER, Backbone, Encoded, pad


class MaskedLM(Backbone):
    """Cloze: as many masks as the answer has tokens stand at the end of the input (Schick and Schuetze 2021)."""

    generates = False

    @property
    def positions(self) -> int | None:
        offset = self.model.config.pad_token_id + 1 if self.model.config.model_type in ("roberta", "xlm-roberta", "camembert") else 0
        most = super().positions
        return None if most is None else most - offset  # RoBERTa counts positions from the padding's id on

    def input_ids(self, text: str) -> list[int]:
        ids, end = self.ids(text, special=True), self.tokenizer.sep_token_id
        return (ids[:-1] if ids[-1] == end else ids)[: self.max_input - 1] + [end]

    def label_ids(self, answer: str) -> list[int]:
        return self.ids(" " + answer)[:MAX_ANSWER]

    def answer_logits(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        mask_id, length = self.tokenizer.mask_token_id, prompts.shape[1]
        cloze = [[*row.input_ids[:-1], *[mask_id] * len(row.label_ids), row.input_ids[-1]] for row in rows]
        embeds, mask = self.lead(prompts, cloze)
        logits = self.model(inputs_embeds=embeds, attention_mask=mask).logits
        blank = [[-100] * (length + len(row.input_ids) - 1) for row in rows]
        labels, _ = pad([[*b, *row.label_ids, -100] for b, row in zip(blank, rows, strict=True)], -100, self.device)
        return logits, labels

    def generate(self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        raise ValueError(f"{self.name} is a masked model: it processes options and writes no text; use tasks with options")
