"""Pre-training of the embedded backbone: a small T5 that follows an instruction before its input.

    minimise  mean over answer tokens of  -log p(answer | prefix, input)

Trained: every weight, from scratch. Read: an endless stream of rows and, where given, lines of plain text. Written:
checkpoint.safetensors and metrics.jsonl in a folder, and the exported model with its tokenizer. The encoder reads
tok(prefix) + tok(input) + end: the two are tokenised apart, because soft prompts will later stand in the prefix's place.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5LayerNorm

from ipt.denoising import SENTINELS, Lesson, PretrainRow, mixed_rows

Batch = dict[str, Tensor]
StreamFactory = Callable[[int], Iterator[PretrainRow]]
TextFactory = Callable[[int], Iterator[str]]
Evaluate = Callable[[T5ForConditionalGeneration, PreTrainedTokenizerFast], dict[str, Any]]

MAX_BYTES = 16_000_000
LOG_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Shape and training of the embedded backbone.

    steps: steps of a run; the schedule's length where `schedule` is "steps".
    max_minutes: training time after which the run stops, summed over resumed parts, without evaluation and saving.
    schedule: what the learning rate falls with: "steps", or "minutes" (reaches 0 at `max_minutes`, ignores `steps`).
    learning_rate: peak of the matrices' rate; linear warm-up, then linear decay to 0.
    embedding_rate: factor on the rate of the embeddings, whose entries are about ten times larger.
    warmup: share of the schedule.
    batch_tokens: most padded encoder and decoder tokens in a step.
    pool_rows: rows sorted together by length; larger pools pad less.
    max_input, max_answer: longest rows in tokens, end sign included; longer ones lose examples or are left out.
    checkpoint_every: steps between checkpoints; the stream starts anew there, seeded with the step.
    bfloat16: compute in mixed precision; the weights stay float32.
    workers: background processes that generate rows (0 or 1; always 0 where processes cannot fork).
    """

    vocab_size: int = 4096
    d_model: int = 256
    d_ff: int = 512
    heads: int = 4
    d_kv: int = 64
    encoder_layers: int = 4
    decoder_layers: int = 2
    seed: int = 0
    steps: int = 20000
    max_minutes: float | None = None
    schedule: Literal["steps", "minutes"] = "steps"
    learning_rate: float = 2e-3
    embedding_rate: float = 3.0
    warmup: float = 0.02
    weight_decay: float = 0.01
    clip: float = 1.0
    batch_tokens: int = 8192
    pool_rows: int = 32768
    max_input: int = 128
    max_answer: int = 48
    checkpoint_every: int = 1000
    log_every: int = 50
    bfloat16: bool = True
    workers: int = 1

    def __post_init__(self) -> None:
        if self.schedule == "minutes" and not self.max_minutes:
            raise ValueError("--schedule minutes needs --max-minutes above 0")
        if self.workers not in (0, 1):
            raise ValueError(f"--workers must be 0 or 1, found {self.workers}")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Learn a byte-level BPE with single digits; <pad> is 0, </s> is 1, then the sentinels; adds no end sign by itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "</s>", *SENTINELS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens=list(SENTINELS),
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def build_model(vocab_size: int, config: PretrainConfig) -> T5ForConditionalGeneration:
    """Return a fresh T5 drawn from `config.seed`; tied embeddings, no dropout, the fused form of gated GELU."""
    shape = T5Config(
        vocab_size=vocab_size,
        d_model=config.d_model,
        d_ff=config.d_ff,
        d_kv=config.d_kv,
        num_heads=config.heads,
        num_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        feed_forward_proj="gated-gelu_pytorch_tanh",
        dropout_rate=0.0,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        # Eager attention: on CPUs the fused kernel takes no position bias that needs a gradient, and its fallback is slower.
        return T5ForConditionalGeneration._from_config(shape, attn_implementation="eager")


class _Normalise(torch.autograd.Function):
    """RMS norm from float32 to bfloat16 with few passes over memory."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        power = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        scale = power.add_(eps).rsqrt_()
        unit = (x * scale).bfloat16()
        ctx.save_for_backward(unit, scale, weight)
        return unit * weight.bfloat16()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        (grad,) = grads
        unit, scale, weight = ctx.saved_tensors
        inner = grad * weight.bfloat16()
        along = (inner * unit).mean(-1, keepdim=True, dtype=torch.float32)
        return (inner.float() - unit * along) * scale, (grad * unit).flatten(0, -2).sum(0, dtype=torch.float32), None


class _FastNorm(T5LayerNorm):
    """T5's norm, which under autocast casts once for all the matrices that read it; otherwise unchanged."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            return _Normalise.apply(hidden_states.float(), self.weight, self.variance_epsilon)
        return super().forward(hidden_states)


def answer_loss(model: T5ForConditionalGeneration, batch: Batch) -> Tensor:
    """Return nats per answer token, averaged over the batch's; no logits are computed for padding."""
    mask, labels = batch["attention_mask"], batch["labels"]
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    hidden = model.decoder(
        input_ids=model._shift_right(labels),
        encoder_hidden_states=hidden,
        encoder_attention_mask=mask,
        use_cache=False,
    ).last_hidden_state
    real = labels >= 0
    hidden = hidden[real]  # [answer tokens, h]
    if model.config.scale_decoder_outputs:
        hidden = hidden * model.config.d_model**-0.5
    return cross_entropy(model.lm_head(hidden).float(), labels[real])


class Batches(IterableDataset[Batch]):
    """Endless padded batches of lessons, the rows of a batch of like length."""

    def __init__(self, lessons: Callable[[], Iterator[Lesson]], tokenizer: Any, config: PretrainConfig, seed: int) -> None:
        self.lessons, self.tokenizer, self.config, self.seed = lessons, tokenizer, config, seed

    def __iter__(self) -> Iterator[Batch]:
        if torch.utils.data.get_worker_info():
            os.environ["TOKENIZERS_PARALLELISM"] = "false"
        rng = random.Random(self.seed)
        lessons = self.lessons()
        size = min(4096, self.config.pool_rows)
        while pool := list(islice(lessons, size)):
            rows = encode(pool, self.tokenizer, self.config)
            batches = cut(rows, self.config.batch_tokens)
            rng.shuffle(batches)
            yield from map(collate, batches)
            size = min(2 * size, self.config.pool_rows)


def encode(pool: list[Lesson], tokenizer: Any, config: PretrainConfig) -> list[tuple[list[int], list[int]]]:
    """Tokenise lessons; one that is too long loses its last examples, and is left out if that is not enough."""
    fast, end = tokenizer.backend_tokenizer, tokenizer.eos_token_id
    columns = [[e.ids for e in fast.encode_batch(list(texts), add_special_tokens=False)] for texts in zip(*pool, strict=True)]
    rows = []
    for lesson, prefix, source, answer in zip(pool, *columns, strict=True):
        lines = lesson.prefix.splitlines(keepends=True)
        while len(prefix) + len(source) >= config.max_input and len(lines) > 1:
            lines.pop()
            prefix = fast.encode("".join(lines), add_special_tokens=False).ids
        if len(prefix) + len(source) < config.max_input and len(answer) < config.max_answer:
            rows.append((prefix + source + [end], answer + [end]))
    return rows


def cut(rows: list[tuple[list[int], list[int]]], budget: int) -> list[list[tuple[list[int], list[int]]]]:
    """Cut rows into batches of at most `budget` padded tokens.

    Sorted by input length in bins of 6, within a bin by answer length, up and down in turn, so that neighbours are alike.
    """

    def place(row: tuple[list[int], list[int]]) -> tuple[int, int]:
        group = -(-len(row[0]) // 6)
        return group, len(row[1]) if group % 2 else -len(row[1])

    batches: list[list[tuple[list[int], list[int]]]] = [[]]
    longest = [0, 0]
    for row in sorted(rows, key=place):
        wider = [max(length, len(ids)) for length, ids in zip(longest, row, strict=True)]
        if batches[-1] and sum(wider) * (len(batches[-1]) + 1) > budget:
            batches.append([])
            wider = [len(ids) for ids in row]
        batches[-1].append(row)
        longest = wider
    return [batch for batch in batches if batch]


def collate(batch: list[tuple[list[int], list[int]]]) -> Batch:
    """Pad to the longest row: ids and mask [B, L], labels [B, T] with -100 beyond the end."""
    inputs, labels = ([row[i] for row in batch] for i in (0, 1))
    length, answer = max(map(len, inputs)), max(map(len, labels))
    return {
        "input_ids": torch.tensor([ids + [0] * (length - len(ids)) for ids in inputs]),
        "attention_mask": torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids in inputs]),
        "labels": torch.tensor([ids + [-100] * (answer - len(ids)) for ids in labels]),
    }


@dataclass
class _State:
    """How far a run is: steps, rows, and seconds of training."""

    step: int = 0
    rows: int = 0
    seconds: float = 0.0
