"""Make the embedded backbone: a small T5 trained from scratch to follow what stands before its input.

    minimise over all weights:  mean over a batch's answer tokens of -log P(answer | prefix, input)

The prefix is a definition in one of its wordings, a few solved examples, both, or a damaged definition; some rows are span
denoising (Raffel et al. 2020, section 3.1.4) of bare inputs and of plain text. So the model listens to what stands in the
place of a soft prompt, and bare inputs are in distribution. Reads iterators only; the caller says what tasks there are.
"""

import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ipt.config import PretrainConfig
from ipt.storage import read_tensors, write_atomic, write_json, write_tensors

Sample = tuple[tuple[str, ...], str, str, str]  # wordings of the definition, input, answer, task
Texts = tuple[str, str, str]  # prefix, input, answer
SENTINELS = tuple(f"<extra_id_{i}>" for i in range(16))
MAX_INPUT, MAX_ANSWER = 128, 48  # tokens


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which every digit is a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(r"\d"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<pad>", "</s>", *SENTINELS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", extra_special_tokens=list(SENTINELS),
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def build_model(config: PretrainConfig, vocabulary: int) -> T5ForConditionalGeneration:
    """Return a T5 with fresh weights (gated GELU, no dropout, tied embeddings)."""
    torch.manual_seed(config.seed)
    shape = T5Config(  # type: ignore[call-arg]
        vocab_size=vocabulary, d_model=config.width, d_kv=config.head_width, d_ff=config.inner_width, num_heads=config.heads,
        num_layers=config.encoder_layers, num_decoder_layers=config.decoder_layers, dropout_rate=0.0,
        feed_forward_proj="gated-gelu_pytorch_tanh",  # the same function as gated-gelu, in one pass over memory
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    )  # fmt: skip
    # The fused attention takes no position bias that needs a gradient; its fallback is slower than the plain form.
    return T5ForConditionalGeneration._from_config(shape, attn_implementation="eager")


def answer_loss(model: T5ForConditionalGeneration, batch: dict[str, Tensor]) -> Tensor:
    """Return nats per answer token, averaged over the batch's; computes no logits for padding."""
    mask, labels = batch["attention_mask"], batch["labels"]
    hidden = model.encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
    hidden = model.decoder(
        input_ids=model._shift_right(labels), encoder_hidden_states=hidden, encoder_attention_mask=mask, use_cache=False
    ).last_hidden_state[labels >= 0]  # [answer tokens, h]
    scale = model.config.d_model**-0.5 if model.config.scale_decoder_outputs else 1.0
    return torch.nn.functional.cross_entropy(model.lm_head(hidden * scale).float(), labels[labels >= 0])


def mixed_rows(stream: Iterator[Sample], text: Iterator[str] | None, seed: int) -> Iterator[Texts]:
    """Turn samples into training rows: 64 % definition, 12 % solved examples, 8 % both, 10 % damaged definition, 6 % spans."""
    rng = random.Random(f"rows|{seed}")
    recent: dict[str, deque[tuple[str, str]]] = defaultdict(lambda: deque(maxlen=12))
    for wordings, given, answer, task in stream:
        solved = [pair for pair in recent[task] if pair[0] != given]
        kind = rng.random()
        if kind >= 0.94:
            line = next(text) if text is not None and rng.random() < 0.3 else given
            yield spans(line, rng)
        elif kind < 0.64 or not solved:
            yield dress(rng.choice(wordings), rng) + "\n", given, answer
        elif kind < 0.84:
            shots = rng.sample(solved, min(len(solved), rng.randint(1, 3)))
            lead = dress(rng.choice(wordings), rng) + "\n" if kind >= 0.76 else ""
            yield lead + "".join(f"{i} -> {a}\n" for i, a in shots), given, answer
        else:
            words = [w for w in rng.choice(wordings).split() if rng.random() < 0.75]
            rng.shuffle(words)
            yield " ".join(words) + "\n", given, answer
        recent[task].append((given, answer))


def dress(wording: str, rng: random.Random) -> str:
    """Vary a wording's surface: case, final stop, a word before it."""
    if rng.random() < 0.4:
        return wording
    wording = wording.rstrip(".") if rng.random() < 0.5 else wording
    lead = rng.choice(("", "Task: ", "Instruction: ", "Please: ", "Now: ", "- "))
    return lead + (wording.lower() if rng.random() < 0.4 else wording)


def spans(line: str, rng: random.Random) -> Texts:
    """Replace about a fifth of a line's words by sentinels; the answer lists what they stand for."""
    words = line.split()[:40]
    kept, lost, count, i = [], [], 0, 0
    while i < len(words):
        if count < len(SENTINELS) and (rng.random() < 0.13 or (not count and i == len(words) - 1)):
            width = min(rng.choice((1, 1, 2, 3)), len(words) - i)
            kept.append(SENTINELS[count])
            lost.append(f"{SENTINELS[count]} {' '.join(words[i : i + width])}")
            count, i = count + 1, i + width
        else:
            kept.append(words[i])
            i += 1
    return "", " ".join(kept), " ".join(lost)


def token_batches(rows: Iterator[Texts], tokenizer: PreTrainedTokenizerFast, budget: int) -> Iterator[dict[str, Tensor]]:
    """Yield padded batches of `budget` tokens (answer tokens count twice), each of rows whose lengths agree up to a step of 4.

    Prefix and input are tokenised apart, as a soft prompt and an input will be. Few distinct shapes keep the kernels cached.
    """
    waiting: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = defaultdict(list)
    while True:
        texts = list(islice(rows, 2048))
        columns = [[e.ids for e in tokenizer.backend_tokenizer.encode_batch(list(column))] for column in zip(*texts, strict=True)]
        for prefix, given, answer in zip(*columns, strict=True):
            row = (_fit(prefix, given), answer[: MAX_ANSWER - 1] + [1])
            wide, tall = -(-len(row[0]) // 4) * 4, -(-len(row[1]) // 4) * 4
            bucket = waiting[wide, tall]
            bucket.append(row)
            if len(bucket) * (wide + 2 * tall) >= budget:
                yield _collate(waiting.pop((wide, tall)), wide, tall)


class Batches(IterableDataset[dict[str, Tensor]]):
    """Batches made in a process of their own, so that drawing and tokenising rows does not hold up the training."""

    def __init__(self, make: Callable[[], Iterator[dict[str, Tensor]]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self.make()


def _fit(prefix: list[int], given: list[int]) -> list[int]:
    given = given[: MAX_INPUT - 1]
    return prefix[max(0, len(prefix) + len(given) + 1 - MAX_INPUT) :] + given + [1]


def _collate(batch: Sequence[tuple[list[int], list[int]]], wide: int, tall: int) -> dict[str, Tensor]:
    ids = torch.tensor([row + [-100] * (wide - len(row)) for row, _ in batch])
    labels = torch.tensor([row + [-100] * (tall - len(row)) for _, row in batch])
    return {"input_ids": ids.clamp_min(0), "attention_mask": (ids >= 0).long(), "labels": labels}


def make_optimiser(model: T5ForConditionalGeneration, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW with three rates: T5 does not divide attention scores by sqrt(head width), its queries start smaller by that
    factor instead, so their rate is smaller by it too; the embeddings start with deviation 1 and get a larger one."""
    named = dict(model.named_parameters())
    queries = [p for n, p in named.items() if n.endswith(".q.weight")]
    wide = [p for n, p in named.items() if "shared" in n or "relative_attention_bias" in n]
    rest = [p for p in named.values() if not any(p is q for q in (*queries, *wide))]
    rates = (config.learning_rate / config.head_width**0.5, config.embedding_rate, config.learning_rate)
    groups = [{"params": g, "lr": r, "largest": r} for g, r in zip((queries, wide, rest), rates, strict=True)]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state's tensors by parameter number and name; numbers become tensors."""
    state = optimiser.state_dict()["state"]
    return {f"{i}.{name}": torch.as_tensor(value) for i, values in state.items() for name, value in values.items()}


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    whole: dict[str, Any] = optimiser.state_dict()
    whole["state"] = defaultdict(dict)
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        whole["state"][int(number)][name] = value
    optimiser.load_state_dict(whole)


def pretrain(
    make_stream: Callable[[int], Iterator[Sample]],
    make_text: Callable[[int], Iterator[str]] | None,
    config: PretrainConfig,
    folder: Path,
    progress: Callable[[float, float, float], None] = lambda done, total, loss: None,
) -> None:
    """Train for `config.minutes` of accumulated training time and leave the model in `folder/model`; resumable.

    The rate falls linearly to zero over the minutes, so a run of any length ends annealed. A resumed run seeds its stream
    with the step it starts at (rows are drawn fresh without end, so nothing is repeated); it is not bit-identical.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state_path, tokenizer_folder = folder / "checkpoint.json", folder / "tokenizer"
    if not tokenizer_folder.exists():
        lines = [" ".join(row) for row in islice(mixed_rows(make_stream(-1), make_text and make_text(-1), -1), config.tokenizer_rows)]
        train_tokenizer(lines, config.vocabulary).save_pretrained(tokenizer_folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tokenizer_folder)
    model = build_model(config, len(tokenizer))
    optimiser = make_optimiser(model, config)
    state = {"step": 0, "rows": 0, "seconds": 0.0}
    if state_path.exists():
        state = json.loads(state_path.read_text())
        tensors, _ = read_tensors(folder / f"checkpoint-{state['step']}.safetensors")
        model.load_state_dict({k[2:]: v for k, v in tensors.items() if k.startswith("m.")})
        restore_optimiser(optimiser, {k[2:]: v for k, v in tensors.items() if k.startswith("o.")})
        if (folder / "metrics.jsonl").exists():
            lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
            write_atomic(folder / "metrics.jsonl", "".join(x for x in lines if json.loads(x)["step"] <= state["step"]).encode())
    step = int(state["step"])
    rows = mixed_rows(make_stream(step), make_text and make_text(step), step)
    total, saved, logged, losses = config.minutes * 60, monotonic(), monotonic(), []
    clock = 0.0
    batches = Batches(lambda: token_batches(rows, tokenizer, config.token_budget))
    for batch in DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=16, multiprocessing_context="fork"):
        clock = clock or monotonic() - state["seconds"]  # from the first batch on: starting the process that makes them is no training
        seconds = monotonic() - clock
        if seconds >= total:
            break
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            loss = answer_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        step += 1
        for group in optimiser.param_groups:
            group["lr"] = group["largest"] * min(1.0, step / config.warmup_steps, 1 - seconds / total)
        optimiser.step()
        optimiser.zero_grad()
        state = {"step": step, "rows": state["rows"] + len(batch["labels"]), "seconds": seconds}
        losses.append(loss.item())
        if monotonic() - logged > 15:
            mean = sum(losses) / len(losses)
            with (folder / "metrics.jsonl").open("a") as handle:
                handle.write(json.dumps({k: round(v, 1) for k, v in state.items()} | {"loss": round(mean, 4)}) + "\n")
            progress(seconds, total, mean)
            logged, losses = monotonic(), []
        if monotonic() - saved > config.checkpoint_seconds:
            _save(folder, model, optimiser, state)
            saved = monotonic()
    _save(folder, model, optimiser, state)
    write_json(folder / "config.json", asdict(config) | state)
    export(model, tokenizer, folder / "model")


def _save(folder: Path, model: T5ForConditionalGeneration, optimiser: torch.optim.Optimizer, state: dict[str, float]) -> None:
    tensors = {f"m.{k}": v for k, v in model.state_dict().items()} | {f"o.{k}": v for k, v in optimiser_tensors(optimiser).items()}
    old = sorted(folder.glob("checkpoint-*.safetensors"))
    write_tensors(folder / f"checkpoint-{state['step']}.safetensors", tensors)
    write_atomic(folder / "checkpoint.json", json.dumps(state).encode())
    for path in old:
        if path.name != f"checkpoint-{state['step']}.safetensors":
            path.unlink()


def export(model: T5ForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write config, tokenizer and float16 weights, as transformers loads them."""
    half = T5ForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
