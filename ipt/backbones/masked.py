"""Masked language models (BERT, RoBERTa): one sequence, a mask for each token of the answer.

Cloze questions (Schick and Schuetze 2021): as many masks as the answer has tokens stand at the end
of the input; options are ranked, no text is written.
"""

from collections.abc import Sequence

from torch import Tensor
from transformers import AutoModelForMaskedLM, PretrainedConfig
from transformers.models.auto import modeling_auto

from ipt.backbones.base import MAX_ANSWER, NO_LABEL, Backbone, Encoded, pad

# These count positions from the padding's id on.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")


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
        config = self.model.config
        if positions is None or config.model_type not in OFFSET_POSITIONS:
            return positions
        return positions - (config.pad_token_id + 1)

    def input_ids(self, text: str) -> list[int]:
        ids = self.ids(text, special=True)
        # A cut text ends with the separator too.
        end = self.tokenizer.sep_token_id
        if ids[-1] == end:
            ids = ids[:-1]
        room = self.max_input - 1
        return ids[:room] + [end]

    def label_ids(self, answer: str) -> list[int]:
        # With a space before it, as in the middle of a text; there is no end sign.
        return self.ids(" " + answer)[:MAX_ANSWER]

    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        cloze = []
        answers = []
        mask_token = self.tokenizer.mask_token_id
        for row in rows:
            *text, end = row.input_ids
            masks = [mask_token] * len(row.label_ids)
            sequence = [*text, *masks, end]
            cloze.append(sequence)

            # The answer stands where the masks are, behind what is prepended and the text.
            length = self.prefix_length + len(text)
            before = [NO_LABEL] * length
            answer = [*before, *row.label_ids, NO_LABEL]
            answers.append(answer)

        embeds, mask = self.embedded(cloze)
        output = self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
        )
        labels, _ = pad(answers, NO_LABEL, self.device)
        return output.logits, labels  # [B, n + L, V], [B, n + L]

    def generate(self, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        raise ValueError(
            f"{self.name} is a masked model: it ranks options and writes no text; "
            "use tasks with options"
        )
