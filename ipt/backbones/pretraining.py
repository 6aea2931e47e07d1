"""Make the embedded backbone: a small T5 trained from scratch to follow what precedes its input.

    minimise over all weights:  mean over a batch's answer tokens of -log P(answer | prefix, input)

The prefix is a definition in one of its wordings, a few solved examples, both, or a damaged
definition; some rows are span denoising (Raffel et al. 2020, section 3.1.4) of bare inputs and of
plain text. So the model reads what stands in the place of a soft prompt, and bare inputs are in
distribution.

Trained: every weight. Read: iterators only; the caller decides which tasks there are. Written: the
tokenizer, checkpoints, metrics, and the model as transformers loads it.
"""

import json
import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from ipt.config import PretrainConfig
from ipt.storage import read_tensors, write_atomic, write_json, write_tensors

# Wordings of the definition, input, answer, task.
Sample = tuple[tuple[str, ...], str, str, str]

MakeSamples = Callable[[int], Iterator[Sample]]  # by a seed; endless
MakeText = Callable[[int], Iterator[str]]  # by a seed; endless lines of plain text
ProgressCallback = Callable[[float, float, float], None]  # seconds, seconds in all, mean loss

SENTINELS = tuple(f"<extra_id_{i}>" for i in range(16))
PAD_ID = 0
END_ID = 1
NO_LABEL = -100

# Tokens of a row.
MAX_INPUT = 128
MAX_ANSWER = 48

# Forms of rows: each up to its share of random numbers in [0, 1), the rest are spans.
DEFINITION_BELOW = 0.64
EXAMPLES_BELOW = 0.76
BOTH_BELOW = 0.84
DAMAGED_BELOW = 0.94

RECENT_EXAMPLES = 12  # of a task, among which solved examples are drawn
PLAIN_TEXT_SHARE = 0.3  # of the lines for spans, where there is plain text
OPENINGS = ("", "Task: ", "Instruction: ", "Please: ", "Now: ", "- ")

# Rows whose lengths agree up to this step share a batch: few distinct shapes keep kernels cached.
LENGTH_STEP = 4
ROWS_AT_ONCE = 2048  # tokenised together

LOG_SECONDS = 15


class TextRow(NamedTuple):
    """A training row in words."""

    prefix: str
    input: str
    answer: str


class TokenRow(NamedTuple):
    """A training row as token ids, both with their end sign."""

    input_ids: list[int]  # prefix and input
    label_ids: list[int]


# ---------------------------------------------------------------------------------- rows


def mixed_rows(
    samples: Iterator[Sample],
    text: Iterator[str] | None,
    seed: int,
) -> Iterator[TextRow]:
    """Turn samples into training rows.

    64 % with a definition, 12 % with solved examples, 8 % with both, 10 % with a damaged
    definition, 6 % spans.

    text: lines of plain text, for some of the spans.
    """
    rng = random.Random(f"rows|{seed}")
    recent: dict[str, deque[tuple[str, str]]]
    recent = defaultdict(lambda: deque(maxlen=RECENT_EXAMPLES))
    for wordings, given, answer, task in samples:
        # An example of the same input would give the answer away.
        solved = [example for example in recent[task] if example[0] != given]
        form = rng.random()
        if form >= DAMAGED_BELOW:
            line = given
            if text is not None and rng.random() < PLAIN_TEXT_SHARE:
                line = next(text)
            yield spans(line, rng)
        elif form < DEFINITION_BELOW or not solved:
            yield TextRow(definition(wordings, rng), given, answer)
        elif form < BOTH_BELOW:
            count = min(len(solved), rng.randint(1, 3))
            examples = rng.sample(solved, count)
            prefix = ""
            if form >= EXAMPLES_BELOW:
                prefix = definition(wordings, rng)
            # "input -> answer", a line each.
            for example_input, example_answer in examples:
                prefix += f"{example_input} -> {example_answer}\n"
            yield TextRow(prefix, given, answer)
        else:
            yield TextRow(damaged_definition(wordings, rng), given, answer)
        recent[task].append((given, answer))


def definition(wordings: Sequence[str], rng: random.Random) -> str:
    """Return a definition's line in one of its wordings, its surface varied."""
    wording = rng.choice(wordings)
    return vary(wording, rng) + "\n"


def damaged_definition(wordings: Sequence[str], rng: random.Random) -> str:
    """Return a definition's line with a quarter of its words left out and the others shuffled."""
    # Like a soft prompt, it says what to do without being a sentence.
    words = rng.choice(wordings).split()
    remaining = [word for word in words if rng.random() < 0.75]
    rng.shuffle(remaining)
    return " ".join(remaining) + "\n"


def vary(wording: str, rng: random.Random) -> str:
    """Vary a wording's surface: case, final stop, a word before it."""
    if rng.random() < 0.4:
        return wording
    if rng.random() < 0.5:
        wording = wording.rstrip(".")
    opening = rng.choice(OPENINGS)
    if rng.random() < 0.4:
        wording = wording.lower()
    return opening + wording


def spans(line: str, rng: random.Random) -> TextRow:
    """Replace about a fifth of a line's words by sentinels; the answer lists what they hide."""
    words = line.split()[:40]
    visible: list[str] = []
    hidden: list[str] = []
    position = 0
    while position < len(words):
        # At least one span: the last word is hidden where no other was. Of 13 % that begin a span,
        # of 1.75 words on average, about a fifth of the words are hidden.
        is_last_chance = not hidden and position == len(words) - 1
        if len(hidden) < len(SENTINELS) and (rng.random() < 0.13 or is_last_chance):
            width = min(rng.choice((1, 1, 2, 3)), len(words) - position)
            sentinel = SENTINELS[len(hidden)]
            span = " ".join(words[position : position + width])
            visible.append(sentinel)
            hidden.append(f"{sentinel} {span}")
            position += width
        else:
            visible.append(words[position])
            position += 1
    return TextRow("", " ".join(visible), " ".join(hidden))


# ------------------------------------------------------------------------- tokens, batches


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train byte-level BPE in which every digit is a token of its own.

    vocabulary: number of tokens, special ones included.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # Numbers are then read digit by digit, whichever of them the training texts had.
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<pad>", "</s>", *SENTINELS],  # the ids PAD_ID and END_ID
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # any text can be written
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        extra_special_tokens=list(SENTINELS),
        clean_up_tokenization_spaces=False,
    )


def token_batches(
    rows: Iterator[TextRow],
    tokenizer: PreTrainedTokenizerFast,
    budget: int,
) -> Iterator[dict[str, Tensor]]:
    """Yield padded batches, each of rows of about the same lengths.

    rows: endless.
    budget: tokens of a batch; answer tokens count twice, as they cost about that.
    """
    waiting: dict[tuple[int, int], list[TokenRow]] = defaultdict(list)
    while True:
        for row in tokenize(list(islice(rows, ROWS_AT_ONCE)), tokenizer):
            input_length = round_up(len(row.input_ids))
            answer_length = round_up(len(row.label_ids))
            # Rows of one shape wait until they are a batch: next to no padding.
            bucket = waiting[input_length, answer_length]
            bucket.append(row)
            tokens = len(bucket) * (input_length + 2 * answer_length)
            if tokens >= budget:
                del waiting[input_length, answer_length]
                yield collate(bucket, input_length, answer_length)


def tokenize(rows: Sequence[TextRow], tokenizer: PreTrainedTokenizerFast) -> list[TokenRow]:
    """Return the rows as tokens, cut to MAX_INPUT and MAX_ANSWER.

    Prefix and input are tokenised apart, as a soft prompt and an input will be.
    """
    columns = []
    for texts in zip(*rows, strict=True):
        encodings = tokenizer.backend_tokenizer.encode_batch(list(texts))
        columns.append([encoding.ids for encoding in encodings])
    token_rows = []
    for prefix, given, answer in zip(*columns, strict=True):
        label_ids = answer[: MAX_ANSWER - 1] + [END_ID]
        token_rows.append(TokenRow(join(prefix, given), label_ids))
    return token_rows


def join(prefix: list[int], given: list[int]) -> list[int]:
    """Return prefix and input in one sequence; of what is too long the prefix loses its start."""
    given = given[: MAX_INPUT - 1]
    surplus = len(prefix) + len(given) + 1 - MAX_INPUT
    return prefix[max(0, surplus) :] + given + [END_ID]


def round_up(length: int) -> int:
    """Return the next multiple of LENGTH_STEP."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def collate(
    rows: Sequence[TokenRow],
    input_length: int,
    answer_length: int,
) -> dict[str, Tensor]:
    """Return a batch as the model takes it, padded to these lengths."""
    ids = _padded([row.input_ids for row in rows], input_length)  # [B, L]
    labels = _padded([row.label_ids for row in rows], answer_length)  # [B, T]
    return {
        "input_ids": ids.clamp_min(PAD_ID),
        "attention_mask": (ids >= 0).long(),
        "labels": labels,
    }


def _padded(sequences: Sequence[list[int]], length: int) -> Tensor:
    """Return [B, length], padded on the right with NO_LABEL."""
    rows = []
    for sequence in sequences:
        padding = [NO_LABEL] * (length - len(sequence))
        rows.append(sequence + padding)
    return torch.tensor(rows)


class Batches(IterableDataset[dict[str, Tensor]]):
    """Batches that a DataLoader makes in a process of its own.

    So drawing and tokenising rows does not hold up the training.
    """

    def __init__(self, make: Callable[[], Iterator[dict[str, Tensor]]]) -> None:
        self.make = make

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self.make()


# ------------------------------------------------------------------------ model, optimizer


def build_model(config: PretrainConfig, vocabulary: int) -> T5ForConditionalGeneration:
    """Return a T5 with fresh weights (gated GELU, no dropout, tied embeddings)."""
    torch.manual_seed(config.seed)
    t5_config = T5Config(  # type: ignore[call-arg]
        vocab_size=vocabulary,
        d_model=config.width,
        d_kv=config.head_width,
        d_ff=config.inner_width,
        num_heads=config.heads,
        num_layers=config.encoder_layers,
        num_decoder_layers=config.decoder_layers,
        dropout_rate=0.0,  # rows never repeat, so there is nothing to regularise
        # The same function as gated-gelu, in one pass over memory.
        feed_forward_proj="gated-gelu_pytorch_tanh",
        tie_word_embeddings=True,
        pad_token_id=PAD_ID,
        eos_token_id=END_ID,
        decoder_start_token_id=PAD_ID,
    )
    # The fused attention takes no position bias that needs a gradient; its fallback is slower than
    # the plain form.
    return T5ForConditionalGeneration._from_config(t5_config, attn_implementation="eager")


def answer_loss(model: T5ForConditionalGeneration, batch: dict[str, Tensor]) -> Tensor:
    """Return nats per answer token, averaged over those of the batch."""
    mask = batch["attention_mask"]
    labels = batch["labels"]  # [B, T]
    encoded = model.encoder(input_ids=batch["input_ids"], attention_mask=mask)
    decoded = model.decoder(
        input_ids=model._shift_right(labels),
        encoder_hidden_states=encoded.last_hidden_state,
        encoder_attention_mask=mask,
        use_cache=False,
    )

    # The projection to the vocabulary is the dearest part: padding is left out of it.
    is_answer = labels >= 0
    hidden = decoded.last_hidden_state[is_answer]  # [answer tokens, h]
    scale = 1.0
    if model.config.scale_decoder_outputs:
        scale = model.config.d_model**-0.5  # T5's, with tied embeddings
    logits = model.lm_head(hidden * scale).float()
    return torch.nn.functional.cross_entropy(logits, labels[is_answer])


def make_optimizer(
    model: T5ForConditionalGeneration,
    config: PretrainConfig,
) -> torch.optim.AdamW:
    """Return AdamW with three rates.

    T5 does not divide attention scores by sqrt(head width); its queries start smaller by that
    factor instead, so their rate is smaller by it too. The embeddings start with deviation 1 and
    get a larger one.
    """
    queries = []
    embeddings = []
    others = []
    for name, parameter in model.named_parameters():
        if name.endswith(".q.weight"):
            queries.append(parameter)
        elif "shared" in name or "relative_attention_bias" in name:
            embeddings.append(parameter)
        else:
            others.append(parameter)
    query_rate = config.learning_rate / config.head_width**0.5
    groups = [
        rate_group(queries, query_rate),
        rate_group(embeddings, config.embedding_rate),
        rate_group(others, config.learning_rate),
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)


def rate_group(parameters: list[torch.nn.Parameter], rate: float) -> dict[str, Any]:
    """Return a group of an optimizer; `largest` is the rate that the schedule multiplies."""
    return {"params": parameters, "lr": rate, "largest": rate}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the state's tensors by parameter number and name; numbers become tensors."""
    tensors = {}
    for number, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            tensors[f"{number}.{name}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned."""
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        state[int(number)][name] = tensor
    # The groups with their rates are the fresh optimizer's own.
    whole: dict[str, Any] = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)


# --------------------------------------------------------------------------------- the run


@dataclass(frozen=True)
class Position:
    """How far a run is; its fields are the record in checkpoint.json."""

    step: int = 0
    rows: int = 0
    seconds: float = 0.0  # of training, over all its parts


class Pretraining:
    """A run in its folder: model, optimizer, and how far it is."""

    def __init__(self, config: PretrainConfig, folder: Path, vocabulary: int) -> None:
        """Start anew, or where the folder's checkpoint is.

        vocabulary: number of the tokenizer's tokens.
        """
        self.config = config
        self.folder = folder
        self.model = build_model(config, vocabulary)
        self.optimizer = make_optimizer(self.model, config)
        self.position = Position()
        if self.position_file.exists():
            self._restore()

    @property
    def position_file(self) -> Path:
        """Return the file whose presence makes a checkpoint valid: it is written last."""
        return self.folder / "checkpoint.json"

    @property
    def metrics_file(self) -> Path:
        """Return the file of metrics, a line of JSON each."""
        return self.folder / "metrics.jsonl"

    def tensors_file(self, position: Position) -> Path:
        """Return the file of weights and optimizer state of a checkpoint."""
        return self.folder / f"checkpoint-{position.step}.safetensors"

    def _restore(self) -> None:
        """Read the checkpoint, and cut metrics that were logged after it."""
        self.position = Position(**json.loads(self.position_file.read_text()))
        tensors, _ = read_tensors(self.tensors_file(self.position))
        self.model.load_state_dict(_with_prefix(tensors, "m."))
        restore_optimizer(self.optimizer, _with_prefix(tensors, "o."))

        if self.metrics_file.exists():
            valid = ""
            for line in self.metrics_file.read_text().splitlines(keepends=True):
                if json.loads(line)["step"] <= self.position.step:
                    valid += line
            write_atomic(self.metrics_file, valid.encode())

    def save(self) -> None:
        """Write a checkpoint, then remove older ones."""
        tensors = {}
        for name, tensor in self.model.state_dict().items():
            tensors[f"m.{name}"] = tensor
        for name, tensor in optimizer_tensors(self.optimizer).items():
            tensors[f"o.{name}"] = tensor

        # In this order a run that is killed in between still has a whole checkpoint.
        older = sorted(self.folder.glob("checkpoint-*.safetensors"))
        current = self.tensors_file(self.position)
        write_tensors(current, tensors)
        record = json.dumps(asdict(self.position))
        write_atomic(self.position_file, record.encode())
        for path in older:
            if path.name != current.name:
                path.unlink()

    def train(self, batch: dict[str, Tensor], seconds: float) -> float:
        """Take one step; return its loss (nats per token).

        seconds: of training before this step.
        """
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            loss = answer_loss(self.model, batch)
        loss.backward()
        # A norm of 1 at most: a batch of unusual rows must not undo many steps.
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)

        step = self.position.step + 1
        factor = self.rate_factor(step, seconds)
        for group in self.optimizer.param_groups:
            group["lr"] = group["largest"] * factor
        self.optimizer.step()
        self.optimizer.zero_grad()

        rows = self.position.rows + len(batch["labels"])
        self.position = Position(step, rows, seconds)
        return loss.item()

    def rate_factor(self, step: int, seconds: float) -> float:
        """Return the schedule's factor: warm-up by steps, then linearly to zero by time."""
        remaining = 1 - seconds / (self.config.minutes * 60)
        return min(1.0, step / self.config.warmup_steps, remaining)

    def log(self, mean_loss: float) -> None:
        """Append a line to the metrics."""
        record = {}
        for name, value in asdict(self.position).items():
            record[name] = round(value, 1)
        record["loss"] = round(mean_loss, 4)
        with self.metrics_file.open("a") as handle:
            handle.write(json.dumps(record) + "\n")


def no_progress(seconds: float, total: float, loss: float) -> None:
    """Tell nobody."""


def pretrain(
    make_samples: MakeSamples,
    make_text: MakeText | None,
    config: PretrainConfig,
    folder: Path,
    progress: ProgressCallback = no_progress,
) -> None:
    """Train for `config.minutes` of accumulated time and leave the model in `folder/model`.

    The rate falls linearly to zero over the minutes, so a run of any length ends annealed. A run
    that was stopped goes on from its checkpoint. It seeds its stream with the step it starts at
    (rows are drawn fresh without end, so nothing is repeated); it is not bit-identical.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = open_tokenizer(make_samples, make_text, config, folder / "tokenizer")
    run = Pretraining(config, folder, len(tokenizer))
    total = config.minutes * 60
    earlier = run.position.seconds
    saved = monotonic()
    logged = monotonic()
    losses: list[float] = []
    started = None
    for batch in load_batches(make_samples, make_text, config, tokenizer, run.position.step):
        # From the first batch on: starting the process that makes them is no training.
        if started is None:
            started = monotonic()
        seconds = earlier + monotonic() - started
        if seconds >= total:
            break
        losses.append(run.train(batch, seconds))

        if monotonic() - logged > LOG_SECONDS:
            mean_loss = sum(losses) / len(losses)
            run.log(mean_loss)
            progress(seconds, total, mean_loss)
            logged = monotonic()
            losses = []
        if monotonic() - saved > config.checkpoint_seconds:
            run.save()
            saved = monotonic()
    run.save()
    write_json(folder / "config.json", asdict(config) | asdict(run.position))
    export(run.model, tokenizer, folder / "model")


def open_tokenizer(
    make_samples: MakeSamples,
    make_text: MakeText | None,
    config: PretrainConfig,
    folder: Path,
) -> PreTrainedTokenizerFast:
    """Return the tokenizer in the folder; where there is none yet, train it."""
    if not folder.exists():
        rows = seeded_rows(make_samples, make_text, -1)  # a seed that no step has
        texts = [" ".join(row) for row in islice(rows, config.tokenizer_rows)]
        tokenizer = train_tokenizer(texts, config.vocabulary)
        tokenizer.save_pretrained(folder)
    # Read in any case, so that a first and a resumed run have the same.
    return PreTrainedTokenizerFast.from_pretrained(folder)


def load_batches(
    make_samples: MakeSamples,
    make_text: MakeText | None,
    config: PretrainConfig,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
) -> DataLoader[dict[str, Tensor]]:
    """Return batches without end, made in a process of their own."""
    rows = seeded_rows(make_samples, make_text, seed)
    batches = Batches(lambda: token_batches(rows, tokenizer, config.token_budget))
    return DataLoader(
        batches,
        batch_size=None,  # they are batches already
        num_workers=1,
        prefetch_factor=16,
        multiprocessing_context="fork",  # iterators cannot be sent to a process
    )


def seeded_rows(
    make_samples: MakeSamples,
    make_text: MakeText | None,
    seed: int,
) -> Iterator[TextRow]:
    """Return training rows without end, by a seed."""
    text = None
    if make_text is not None:
        text = make_text(seed)
    return mixed_rows(make_samples(seed), text, seed)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names have the prefix, without it."""
    chosen = {}
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            chosen[name.removeprefix(prefix)] = tensor
    return chosen


def export(
    model: T5ForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
) -> None:
    """Write config, tokenizer and float16 weights, as transformers loads them."""
    # A copy: the run's own model stays in float32.
    half = T5ForConditionalGeneration(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)  # type: ignore[no-untyped-call]
    tokenizer.save_pretrained(folder)
