"""The frozen language model, with every row of a batch led by its own soft prompt (paper, section 3: "PLM").

The prompt's n vectors stand before the input's token embeddings; the model's own parameters are frozen and it stays in eval
mode, so no dropout: two runs of a row give the same loss whatever else is in the batch. The families of models, and how a
model is loaded, are in `ipt.backbones.loading`.
"""

import hashlib
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_INPUT, MAX_ANSWER = 256, 64  # tokens of a row, special ones included; longer texts are cut, and counted by the pipeline
CPU_TOKENS, DEVICE_TOKENS = 2048, 65_536  # padded tokens in a forward pass: fastest on 2 cores (LOG.md); enough to fill a GPU
LEAST_INPUT = 16  # tokens that a prompt must leave for the text, where a model has a fixed number of positions


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: the input with its special tokens, and the answer with its end sign."""

    input_ids: tuple[int, ...]
    label_ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return len(self.input_ids) + len(self.label_ids)


class Backbone(ABC):
    """A frozen language model behind soft prompts.

    Axis letters: B rows, n prompt length, h hidden size, L input tokens, T answer tokens, V vocabulary.
    prompt_length: vectors that will lead the rows; with a fixed number of positions they leave fewer for the text.
    generates: whether the family writes free text; where not, answers are ranked options.
    """

    generates = True
    shares_positions = True  # the answer's tokens stand behind the input's, in one sequence

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, prompt_length: int = 0) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.embed = model.get_input_embeddings()  # ids [...] to [..., h], scaled where the family scales
        self.weight = cast(Tensor, self.embed.weight)  # [V, h]
        self.max_input = MAX_INPUT
        self.most_tokens = math.inf  # in a forward pass; falls where the device's memory runs out
        if self.positions is not None:
            answer = MAX_ANSWER if self.shares_positions else 0
            left = self.positions - prompt_length - answer
            if left < LEAST_INPUT:
                raise ValueError(
                    f"--prompt-length {prompt_length} leaves {max(0, left)} tokens for the input, of the {self.positions} positions of "
                    f"{name}" + (f" ({answer} are kept for the answer)" if answer else "") + f"; {LEAST_INPUT} are needed: shorten it"
                )
            self.max_input = min(MAX_INPUT, left)

    @property
    def positions(self) -> int | None:
        """Return how many positions a sequence may have, or None where any number will do."""
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def hidden_size(self) -> int:
        return self.weight.shape[1]

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @property
    def token_budget(self) -> int:
        """Return how many padded tokens of a forward pass with gradients suit the device; its memory may allow fewer."""
        return CPU_TOKENS if self.device.type == "cpu" else DEVICE_TOKENS

    @property
    def dtype(self) -> str:
        """Return the name of the weights' type: float32, bfloat16, ..."""
        return str(self.weight.dtype).removeprefix("torch.")

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the config and every weight: what a prompt was tuned for."""
        digest = hashlib.sha256(self.model.config.to_json_string(use_diff=True).encode())
        for key, tensor in sorted(self.model.state_dict().items()):
            digest.update(key.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def encode(self, inputs: Sequence[str], answers: Sequence[str]) -> list[Encoded]:
        """Tokenise rows; texts over `max_input` or MAX_ANSWER tokens are cut at the end, special tokens kept."""
        pairs = zip(inputs, answers, strict=True)
        return [Encoded(tuple(self.input_ids(text)), tuple(self.label_ids(answer))) for text, answer in pairs]

    @abstractmethod
    def input_ids(self, text: str) -> list[int]:
        """Return the tokens of an input as the family reads it."""

    def label_ids(self, answer: str) -> list[int]:
        """Return the tokens of an answer, with the end sign."""
        return self.ids(answer)[: MAX_ANSWER - 1] + [self.tokenizer.eos_token_id]

    def ids(self, text: str, special: bool = False) -> list[int]:
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def text_prompt(self, text: str) -> Tensor:
        """Return the embeddings [n, h] of a text: a manual prompt in the place of a soft one."""
        return self.embed(torch.tensor(self.ids(text), device=self.device, dtype=torch.long))

    def losses(self, prompts: Tensor, rows: Sequence[Encoded]) -> Tensor:
        """Return [B] nats per answer token, averaged over each row's own tokens; prompts [B, n, h] lead their rows."""
        return self.nll(prompts, rows) / torch.tensor([len(row.label_ids) for row in rows], device=self.device)

    def nll(self, prompts: Tensor, rows: Sequence[Encoded], smoothing: float = 0.0) -> Tensor:
        """Return [B] nats of each row's answer, summed over its tokens; see `row_nll` for smoothing."""
        return row_nll(*self.answer_logits(prompts, rows), smoothing)

    @abstractmethod
    def answer_logits(self, prompts: Tensor, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        """Return the logits [B, T, V] at the places that predict the answers' tokens, and these tokens [B, T], -100 elsewhere."""

    @abstractmethod
    def generate(self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        """Return B greedy answers of at most `max_tokens` tokens."""

    def rank(self, prompts: Tensor, rows: Sequence[Encoded], options: Sequence[Encoded]) -> list[int]:
        """Return for each row the index of the likeliest option (nats summed over its tokens)."""
        scores = [self.nll(prompts, [Encoded(row.input_ids, option.label_ids) for row in rows]) for option in options]
        return torch.stack(scores, 1).argmin(1).tolist()

    def generate_and_rank(
        self, prompts: Tensor, rows: Sequence[Encoded], max_tokens: int, options: Sequence[Encoded]
    ) -> tuple[list[str], list[int]]:  # fmt: skip
        """Return what `generate` and `rank` do; one pass over the inputs where the family can share it."""
        return self.generate(prompts, rows, max_tokens), self.rank(prompts, rows, options)

    def in_batches(self, rows: Sequence[Encoded], prompt_length: int, token_budget: int, work: Callable[[list[int]], object]) -> None:
        """Call work on the row indices of one batch after another, each within the budget of padded tokens.

        token_budget: 0 takes what suits the device. Where its memory runs out, the batch that did not fit is cut in two and
        half of its tokens is the most from then on; a single row that does not fit is a ValueError.
        """
        waiting = list(batches(rows, prompt_length, min(token_budget or self.token_budget, self.most_tokens)))
        while waiting:
            chosen = waiting.pop()  # the longest rows first: what does not fit is found at once
            try:
                work(chosen)
            except torch.OutOfMemoryError as error:
                longest = max(rows[i].tokens for i in chosen)
                if len(chosen) == 1:
                    raise ValueError(
                        f"one row of {longest} tokens does not fit the memory of {self.device}; take a smaller model"
                    ) from error
                half = len(chosen) // 2
                waiting += [chosen[:half], chosen[half:]]
                if math.isinf(self.most_tokens):
                    warnings.warn("out of memory: smaller batches from here on, with the same result", stacklevel=2)
                self.most_tokens = half * (prompt_length + longest)

    def lead(self, prompts: Tensor, sequences: Sequence[Sequence[int]], left: bool = False) -> tuple[Tensor, Tensor]:
        """Return the embeddings [B, n + L, h] of prompts before token sequences, and their mask; padded right, or left."""
        ids, mask = pad(sequences, 0, self.device, left)
        prompts = prompts.to(self.weight.dtype)
        ones = torch.ones(prompts.shape[:2], dtype=torch.bool, device=self.device)
        embeds, mask = torch.cat([prompts, self.embed(ids)], 1), torch.cat([ones, mask], 1)
        if left:  # the padding goes before the prompt
            order = mask.int().argsort(dim=1, stable=True)
            embeds, mask = embeds.gather(1, order.unsqueeze(-1).expand_as(embeds)), mask.gather(1, order)
        return embeds, mask.long()

    def text(self, ids: Tensor) -> list[str]:
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]


def batches(rows: Sequence[Encoded], prompt_length: int, token_budget: float) -> Iterator[list[int]]:
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


def row_nll(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Sum -log p over each row's answer tokens: logits [B, T, V], labels [B, T] with -100 as padding, to [B].

    smoothing: share of the target that is spread evenly over the vocabulary (fairseq's label-smoothed loss, which is torch's).
    """
    logits = logits.double() if logits.dtype == torch.float64 else logits.float()
    # the vocabulary last: over a middle axis float32 sums are taken one by one, which costs 1e-5 with 49,152 tokens
    nll = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none", label_smoothing=smoothing
    )
    return nll.view(labels.shape).sum(1)


def pad(sequences: Sequence[Sequence[int]], value: int, device: torch.device, left: bool = False) -> tuple[Tensor, Tensor]:
    """Return the sequences as one tensor [B, L], padded right (or left) with the value, and which places are theirs."""
    width = max(map(len, sequences))
    rows = [[*[value] * (width - len(s)), *s] if left else [*s, *[value] * (width - len(s))] for s in sequences]
    lengths = torch.tensor([len(s) for s in sequences], device=device)[:, None]
    places = torch.arange(width, device=device)
    return torch.tensor(rows, device=device, dtype=torch.long), places >= width - lengths if left else places < lengths
