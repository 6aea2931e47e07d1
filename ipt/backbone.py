"""The frozen language model, with every row of a batch led by its own soft prompt (paper, section 3: "PLM").

The prompt's n vectors stand before the input's token embeddings on the encoder side; the model's own parameters are frozen
and it stays in eval mode, so no dropout: two runs of a row give the same loss whatever else is in the batch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

MINI = Path(__file__).parent / "mini"
MAX_INPUT, MAX_ANSWER = 256, 64  # tokens of a row, end sign included; longer texts are cut, and counted by the pipeline


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: the input with its end sign, and the answer with its end sign."""

    input_ids: tuple[int, ...]
    label_ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.input_ids) + len(self.label_ids)


class Backbone:
    """A frozen encoder-decoder behind soft prompts.

    Axis letters: B rows, n prompt length, h hidden size, L input tokens, T answer tokens, V vocabulary.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.embedding = cast(Tensor, model.get_input_embeddings().weight)  # [V, h]

    @classmethod
    def load(cls, name: str = "mini", device: str = "cpu") -> "Backbone":
        """Load `mini` or a local folder in transformers' layout, from safetensors only, computed in float32."""
        folder = MINI if name == "mini" else Path(name)
        if not (folder / "config.json").is_file():
            raise ValueError(f"--model must be 'mini' or a folder with config.json and model.safetensors, found {name!r}")
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if not config.is_encoder_decoder:
                raise ValueError(f"--model {name}: expected an encoder-decoder, found model type {config.model_type!r}")
            # plain attention: with T5's position bias twice as fast on CPUs as the fused one (LOG.md)
            model = AutoModelForSeq2SeqLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False,
                attn_implementation="eager",
            )  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, SafetensorError) as error:
            raise ValueError(f"--model {name}: the folder cannot be read ({error}); copy the model again") from error
        return cls(model.to(device), tokenizer, name)

    @property
    def hidden_size(self) -> int:
        return self.embedding.shape[1]

    @property
    def device(self) -> torch.device:
        return self.embedding.device

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the config and every weight: what a prompt was tuned for."""
        digest = hashlib.sha256(self.model.config.to_json_string(use_diff=True).encode())
        for key, tensor in sorted(self.model.state_dict().items()):
            digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encode(self, inputs: Sequence[str], answers: Sequence[str]) -> list[Encoded]:
        """Tokenise rows; texts over MAX_INPUT or MAX_ANSWER tokens are cut at the end."""
        end = self.tokenizer.eos_token_id
        ids = [self.tokenizer(list(texts), add_special_tokens=False)["input_ids"] for texts in (inputs, answers)]
        pairs = zip(*ids, strict=True)
        return [Encoded((*i[: MAX_INPUT - 1], end), (*a[: MAX_ANSWER - 1], end)) for i, a in pairs]

    def text_prompt(self, text: str) -> Tensor:
        """Return the embeddings [n, h] of a text: a manual prompt in the place of a soft one."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.embedding[torch.tensor(ids, device=self.device, dtype=torch.long)]

    def losses(self, prompts: Tensor, rows: Sequence[Encoded]) -> Tensor:
        """Return [B] nats per answer token, averaged over each row's own tokens; prompts [B, n, h] lead their rows."""
        hidden, mask = self._encoder(prompts, rows)
        logits, labels = self._decoder(hidden, mask, [row.label_ids for row in rows])
        return _row_nll(logits, labels) / (labels >= 0).sum(1)

    def generate(self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        """Return B greedy answers of at most `max_tokens` tokens."""
        embeds, mask = self._inputs(prompts, rows)
        ids = self.model.generate(  # type: ignore[operator]
            inputs_embeds=embeds, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False, num_beams=1
        )
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def rank(self, prompts: Tensor, rows: Sequence[Encoded], options: Sequence[Encoded]) -> list[int]:
        """Return for each row the index of the likeliest option (nats summed over its tokens); the encoder runs once."""
        hidden, mask = self._encoder(prompts, rows)
        scores = []
        for option in options:
            logits, labels = self._decoder(hidden, mask, [option.label_ids] * len(rows))
            scores.append(_row_nll(logits, labels))
        return torch.stack(scores, 1).argmin(1).tolist()

    def _inputs(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        ids = _pad([row.input_ids for row in rows], self.tokenizer.pad_token_id, self.device)
        lengths = torch.tensor([len(row.input_ids) for row in rows], device=self.device)
        mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
        embeds = torch.cat([prompts.to(self.embedding.dtype), self.embedding[ids]], 1)  # [B, n + L, h]
        lead = torch.ones(len(rows), prompts.shape[1], dtype=torch.bool, device=self.device)
        return embeds, torch.cat([lead, mask], 1).long()

    def _encoder(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        embeds, mask = self._inputs(prompts, rows)
        hidden = self.model.get_encoder()(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        return hidden, mask

    def _decoder(self, hidden: Tensor, mask: Tensor, answers: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        labels = _pad(answers, -100, self.device)  # [B, T]
        start = torch.full((len(answers), 1), self.model.config.decoder_start_token_id, device=self.device)
        shifted = torch.cat([start, labels[:, :-1].clamp_min(0)], 1)
        output = self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
            attention_mask=mask,
            decoder_input_ids=shifted,
            use_cache=False,
        )
        return output.logits, labels


def batches(rows: Sequence[Encoded], prompt_length: int, token_budget: int) -> Iterator[list[int]]:
    """Cut row indices into batches of similar length whose padded tokens, prompts included, stay within the budget.

    Execution only: which rows share a batch changes no row's loss.
    """
    batch: list[int] = []
    longest = longest_answer = 0
    for index in sorted(range(len(rows)), key=lambda i: (len(rows[i].input_ids), len(rows[i].label_ids))):
        row = rows[index]
        wide = max(longest, len(row.input_ids))
        tall = max(longest_answer, len(row.label_ids))
        if batch and (len(batch) + 1) * (prompt_length + wide + tall) > token_budget:
            yield batch
            batch, wide, tall = [], len(row.input_ids), len(row.label_ids)
        batch.append(index)
        longest, longest_answer = wide, tall
    if batch:
        yield batch


def _row_nll(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum -log p over each row's answer tokens: logits [B, T, V], labels [B, T] with -100 as padding, to [B]."""
    logits = logits.double() if logits.dtype == torch.float64 else logits.float()
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    return nll.sum(1)


def _pad(sequences: Sequence[Sequence[int]], value: int, device: torch.device) -> Tensor:
    width = max(map(len, sequences))
    return torch.tensor([[*s, *[value] * (width - len(s))] for s in sequences], device=device)
