"""The three families of language models behind soft prompts, and how a model is loaded.

encoder-decoder (T5, mT5, BART):   encoder reads [prompt, input], decoder writes the answer
left-to-right (GPT-2, Llama, Qwen): one sequence [prompt, input, newline, answer]
masked (BERT, RoBERTa):            one sequence [prompt, input with a mask for each token of the answer], options only
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PretrainedConfig,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_FOR_MASKED_LM_MAPPING_NAMES

from ipt import hub
from ipt.backbone import MAX_ANSWER, Backbone, Encoded, pad, row_nll

MINI = Path(__file__).parent / "mini"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "vocab.json", "vocab.txt")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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


class LeftToRight(Backbone):
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


class Masked(Backbone):
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
        raise ValueError(f"{self.name} is a masked model: it ranks options and writes no text; use tasks with options")


def load_backbone(name: str = "mini", prompt_length: int = 0, dtype: str = "float32", device: str = "auto") -> Backbone:
    """Load `mini`, a folder in transformers' layout or a hub id; safetensors only, no remote code.

    device: "auto" takes an accelerator where there is one.
    Raises ValueError where there is no such model, it has no safetensors or tokenizer, or its family is not supported.
    """
    folder, place = folder_of(name), device_of(device)
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = AutoConfig.from_pretrained(folder, **local)
        family, kind = family_of(config, name)
        if "t5" in config.model_type:  # with its position bias plain attention is twice as fast on CPUs as the fused one (LOG.md)
            local["attn_implementation"] = "eager"
        model = kind.from_pretrained(folder, dtype=DTYPES[dtype], use_safetensors=True, **local)
        if not any((folder / file).is_file() for file in TOKENIZERS):
            raise OSError("no tokenizer")  # transformers would make an empty one
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, SafetensorError) as error:
        first = str(error).strip().split("\n")[0]
        needs = "it needs config.json, model.safetensors and a tokenizer"
        raise ValueError(f"--model {name}: {folder} cannot be read ({first}); {needs}: copy the model again") from error
    return family(model.to(place), tokenizer, name, prompt_length)


def folder_of(name: str) -> Path:
    """Return the folder of a model: the embedded one, the user's own, or the hub's copy, downloaded where it is missing.

    Raises ValueError at once where the hub has no such model or is out of reach, with what to download.
    """
    if name == "mini" or Path(name).is_dir():
        return MINI if name == "mini" else Path(name)
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except HFValidationError as error:
        raise ValueError(f"--model must be 'mini', a folder or a hub id, found {name!r}") from error
    except LocalEntryNotFoundError:
        remedy = f"download it where there is a network (hf download {name} --local-dir FOLDER) and give --model FOLDER"
    if not hub.answers():
        raise ValueError(f"--model {name}: not a folder, not downloaded yet, and the hub is out of reach; {remedy}")
    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model"]))
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise ValueError(f"--model {name}: the hub does not give it ({str(error).split(chr(10))[0]})") from error


def device_of(name: str) -> torch.device:
    """Return the device of this name; raise ValueError where it is not there."""
    found = torch.accelerator.current_accelerator(check_available=True)
    if name == "auto":
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"--device must be auto, cpu, cuda, cuda:1 or the like, found {name!r}") from error
    if device.type != "cpu" and (found is None or device.type != found.type or (device.index or 0) >= torch.accelerator.device_count()):
        raise ValueError(f"--device {name} is not there; this machine has {found.type if found else 'cpu only'}")
    return device


def family_of(config: PretrainedConfig, name: str) -> tuple[type[Backbone], Any]:
    """Return the family of a configuration and transformers' class that loads it."""
    if config.is_encoder_decoder:
        return EncoderDecoder, AutoModelForSeq2SeqLM
    masked = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and (getattr(config, "is_decoder", False) or not masked):
        return LeftToRight, AutoModelForCausalLM
    if masked:
        return Masked, AutoModelForMaskedLM
    raise ValueError(f"--model {name}: model type {config.model_type!r} is no encoder-decoder, left-to-right or masked language model")
