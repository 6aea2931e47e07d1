"""The frozen pre-trained model, and how examples are fed to it (IPT, section 3: "PLM").

Its parameters are frozen and it stays in eval mode, so no dropout: two runs of a row give the same
loss whatever else is in the batch. What a tuner adds reaches it in two ways: vectors before each
row's embeddings (`prepended`), and hooks on its modules.

The families are one module each; `ipt.backbones.loading` chooses among them.
"""

import hashlib
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ipt.backbones.sites import Sites, find_sites

# Tokens of a row, special ones included; longer texts are cut, and counted by `encode_tasks`.
MAX_INPUT = 256
MAX_ANSWER = 64
# Padded tokens in a forward pass: fastest on 2 cores (LOG.md); enough to fill a GPU.
CPU_TOKENS = 2048
DEVICE_TOKENS = 65_536
# Tokens that a tuner must leave for the text, where a model has a fixed number of positions.
LEAST_INPUT = 16
# What configurations call the number of positions of an input.
POSITIONS = ("max_position_embeddings", "max_encoder_position_embeddings", "max_seq_len")
# Label of a place that has no loss (torch's and transformers' convention).
NO_LABEL = -100
# Stands among the tokens of an input where a vector of a tuner goes.
VECTOR = -1
# The tokens of an input to the same with a VECTOR at each place of one.
Place = Callable[[Sequence[int]], list[int]]


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: the input with its special tokens, the answer with its end sign."""

    input_ids: tuple[int, ...]
    label_ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.answer_tokens

    # What a batch's budget counts: rows of some heads have several inputs, or write nothing.
    @property
    def input_tokens(self) -> int:
        return len(self.input_ids)

    @property
    def answer_tokens(self) -> int:
        return len(self.label_ids)

    def may_be_cut(self, longest_input: int) -> bool:
        """Return whether tokens may be missing: of a text that fills its length exactly."""
        return len(self.input_ids) >= longest_input or len(self.label_ids) >= MAX_ANSWER


class Backbone(ABC):
    """A frozen language model.

    Axis letters: B rows, n prepended vectors, h hidden size, L tokens, T answer tokens, O options,
    V vocabulary.
    """

    # Whether the family writes free text; where not, answers are ranked options.
    generates = True

    # Whether the answer's tokens stand behind the input's, in one sequence.
    shares_positions = True

    # Whether rows of a batch are padded before their tokens, else behind them.
    pads_left = False

    # transformers' class that loads a model of the family.
    loader: ClassVar[Any]

    @staticmethod
    @abstractmethod
    def reads(config: PretrainedConfig) -> bool:
        """Return whether a model of this configuration is of the family."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        name: str,
        added_tokens: int = 0,
    ) -> None:
        """Freeze the model.

        name: what `--model` says for it.
        added_tokens: vectors that will stand before the rows; with a fixed number of positions
            they leave fewer for the text. Raises ValueError where they leave too few, and where
            model and tokenizer have no end sign.
        """
        # eval: dropout would make a row's loss depend on the rows beside it. requires_grad: what
        # is not differentiated need not be held in memory.
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        embedding = model.get_input_embeddings()
        self.embed: Callable[[Tensor], Tensor] = embedding  # ids [...] to [..., h]
        self.weight = cast(Tensor, embedding.weight)  # [V, h]
        self.prefix: Tensor | None = None  # [B, n, h], what `prepended` puts before the rows
        self.place: Place = self._before
        self.vector_places: Tensor | None = None  # [B, n + L] of the batch that is read
        self.first_position = 0  # of a text
        self.most_tokens = math.inf  # in a forward pass; falls where the device's memory runs out
        self.max_input = self._input_limit(added_tokens)
        self.end = self._end_sign()
        # Of the folder's own settings for answers none is kept: a least length or a penalty that
        # was meant for summaries would forbid short answers.
        self.start = self._start_sign()
        model.generation_config = self._greedy()

    def _end_sign(self) -> int:
        """Return the token that ends an answer; raise ValueError where there is none."""
        config = self.model.config.get_text_config(decoder=True)
        configured = getattr(config, "eos_token_id", None)
        if isinstance(configured, list):
            configured = configured[0] if configured else None
        # A configuration's default may be the id of a larger vocabulary.
        if not isinstance(configured, int) or not 0 <= configured < len(self.weight):
            configured = None
        # BERT's tokenizers have no end sign but a separator, which ends their texts.
        separator = self.tokenizer.sep_token_id
        for token in (self.tokenizer.eos_token_id, configured, separator):
            if token is not None:
                return token
        raise ValueError(
            f"the tokenizer of {self.name} has no end sign, so that no answer would end; name one "
            "as eos_token in its tokenizer_config.json"
        )

    def _start_sign(self) -> int | None:
        """Return the token that a decoder starts with; None without a decoder of its own."""
        return None

    def _greedy(self, max_tokens: int | None = None) -> GenerationConfig:
        """Return how answers are written: greedily, whatever the model's folder says."""
        return GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=max_tokens,
            eos_token_id=self.end,
            # What stands behind the end is not read, and causal models often have no padding.
            pad_token_id=self.end,
            decoder_start_token_id=self.start,
        )

    def _input_limit(self, added_tokens: int) -> int:
        """Return the most tokens of an input that the model's positions leave room for."""
        if self.positions is None:
            return MAX_INPUT
        answer = MAX_ANSWER if self.shares_positions else 0
        left = self.positions - added_tokens - answer
        if left < LEAST_INPUT:
            for_answer = ""
            if answer:
                for_answer = f" ({answer} are kept for the answer)"
            raise ValueError(
                f"a tuner of {added_tokens} vectors leaves {max(0, left)} tokens for the input, "
                f"of the {self.positions} positions of {self.name}{for_answer}; "
                f"{LEAST_INPUT} are needed: shorten it"
            )
        return min(MAX_INPUT, left)

    @property
    def positions(self) -> int | None:
        """Return how many positions a sequence may have, or None where any number will do."""
        config = self.model.config
        for part in (config, config.get_text_config(encoder=True)):
            for name in POSITIONS:
                count = getattr(part, name, None)
                # XLNet says -1 for any number.
                if count is not None and count > 0:
                    return count
        return None

    @property
    def hidden_size(self) -> int:
        return self.weight.shape[1]

    @property
    def device(self) -> torch.device:
        return self.weight.device

    @property
    def token_budget(self) -> int:
        """Return how many padded tokens of a forward pass with gradients suit the device."""
        return CPU_TOKENS if self.device.type == "cpu" else DEVICE_TOKENS

    @property
    def dtype(self) -> str:
        """Return the name of the weights' type: float32, bfloat16, ..."""
        return str(self.weight.dtype).removeprefix("torch.")

    @cached_property
    def fingerprint(self) -> str:
        """sha256 over the config and every weight: what a delta was tuned for."""
        # use_diff: only what differs from transformers' defaults, which change with its version.
        config = self.model.config.to_json_string(use_diff=True)
        digest = hashlib.sha256(config.encode())
        weights = self.model.state_dict()
        for key in sorted(weights):
            values = weights[key].detach().cpu()
            # As bytes: numpy has no bfloat16.
            flat = values.contiguous().flatten()
            raw = flat.view(torch.uint8).numpy()
            digest.update(key.encode())
            digest.update(raw.tobytes())
        return digest.hexdigest()

    @cached_property
    def sites(self) -> Sites:
        """Where a tuner can act in the model."""
        return find_sites(self)

    # --- texts to tokens and back

    def encode(self, inputs: Sequence[str], answers: Sequence[str]) -> list[Encoded]:
        """Tokenize rows; texts over `max_input` or MAX_ANSWER tokens are cut at the end."""
        rows = []
        for text, answer in zip(inputs, answers, strict=True):
            input_ids = self.input_ids(text)
            label_ids = self.label_ids(answer)
            row = Encoded(tuple(input_ids), tuple(label_ids))
            rows.append(row)
        return rows

    @abstractmethod
    def input_ids(self, text: str) -> list[int]:
        """Return the tokens of an input as the family reads it."""

    def label_ids(self, answer: str) -> list[int]:
        """Return the tokens of an answer, with the end sign."""
        # Room for the end sign, so that a cut answer has one too.
        ids = self.ids(answer)[: MAX_ANSWER - 1]
        return ids + [self.end]

    def ids(self, text: str, special: bool = False) -> list[int]:
        """Return the tokens of a text; special: with those that the tokenizer adds."""
        return self.tokenizer(text, add_special_tokens=special)["input_ids"]

    def text_embeddings(self, text: str) -> Tensor:
        """Return the embeddings [n, h] of a text: a manual prompt in the place of a soft one."""
        ids = torch.tensor(self.ids(text), device=self.device, dtype=torch.long)
        return self.embed(ids)

    def texts(self, ids: Tensor | list[list[int]]) -> list[str]:
        """Return the texts of answers' tokens [B, T]."""
        # No clean-up: it takes spaces away that are part of an answer ("do n't").
        decoded = self.tokenizer.batch_decode(
            ids,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return [text.strip() for text in decoded]

    # --- what a head reads

    @abstractmethod
    def answer_logits(self, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
        """Return the logits at the places that predict the answers, and the answers.

        Returns [B, T, V] and the tokens [B, T], NO_LABEL where a place predicts nothing.
        """

    def outputs(self, rows: Sequence[Encoded]) -> Tensor:
        """Return what is read of the rows, place by place: [N, V] logits of all answers."""
        logits, labels = self.answer_logits(rows)
        return logits[labels != NO_LABEL]

    @abstractmethod
    def logits_by_ids(self, row: Encoded) -> Tensor:
        """Return the logits [1, T, V] of one row's answer, with its tokens as tokens.

        Only the check at loading reads this way (`ipt.backbones.check`): the model embeds the
        tokens itself, so nothing can be prepended.
        """

    @abstractmethod
    def generate_ids(self, rows: Sequence[Encoded], max_tokens: int) -> list[list[int]]:
        """Return the tokens of B greedy answers of at most `max_tokens` tokens, without the end."""

    def generate(self, rows: Sequence[Encoded], max_tokens: int) -> list[str]:
        """Return B greedy answers of at most `max_tokens` tokens."""
        return self.texts(self.generate_ids(rows, max_tokens))

    def written(self, max_tokens: int, **inputs: Any) -> list[list[int]]:
        """Return what the model writes behind these inputs: up to the end sign, without it."""
        ids = self.model.generate(  # type: ignore[operator]
            **inputs,
            generation_config=self._greedy(max_tokens),
            logits_processor=LogitsProcessorList([FiniteLogits(self)]),
        )
        answers = []
        for row in ids.tolist():
            # The end sign is no special token of every tokenizer, and padding is the same token.
            answer = row[self.start is not None :]
            if self.end in answer:
                answer = answer[: answer.index(self.end)]
            answers.append(answer)
        return answers

    def option_nll(self, rows: Sequence[Encoded], options: Sequence[Encoded]) -> Tensor:
        """Return [B, O] nats of each option as each row's answer, summed over its tokens."""
        scores = []
        for option in options:
            answered = [Encoded(row.input_ids, option.label_ids) for row in rows]
            logits, labels = self.answer_logits(answered)
            nll = answer_nll(logits, labels)  # [B]
            scores.append(nll)
        return torch.stack(scores, 1)

    def generate_and_rank(
        self,
        rows: Sequence[Encoded],
        max_tokens: int,
        options: Sequence[Encoded],
    ) -> tuple[list[str], Tensor]:
        """Return what `generate` and `option_nll` do; in one pass over the inputs where it can."""
        texts = self.generate(rows, max_tokens)
        scores = self.option_nll(rows, options)
        return texts, scores

    # --- what a tuner adds

    @contextmanager
    def prepended(self, vectors: Tensor, place: Place | None = None) -> Iterator[None]:
        """Put vectors [B, n, h] before the B rows of each batch inside the context.

        place: where they stand among the tokens of an input; before them, if not given.
        """
        before = self.prefix, self.place
        self.prefix = vectors
        self.place = place or self._before
        try:
            yield
        finally:
            self.prefix, self.place = before

    def _before(self, input_ids: Sequence[int]) -> list[int]:
        """Return an input's tokens with a VECTOR for each prepended vector before them."""
        return [VECTOR] * self.prefix_length + [*input_ids]

    @property
    def prefix_length(self) -> int:
        """Return n, the vectors before each row at the moment."""
        return 0 if self.prefix is None else self.prefix.shape[1]

    @contextmanager
    def shifted(self, count: int) -> Iterator[None]:
        """Let the positions of all texts inside the context begin at `count` and not at 0."""
        before = self.first_position
        self.first_position = before + count
        try:
            yield
        finally:
            self.first_position = before

    def embedded(
        self,
        inputs: Sequence[Sequence[int]],
        left: bool = False,
        answers: Sequence[Sequence[int]] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings [B, n + L, h] of tokens and prepended vectors, and their mask.

        left: pad before the rows, as generation needs it; else behind them.
        answers: tokens behind those of the inputs.
        """
        sequences = []
        for input_ids in inputs:
            placed = input_ids if self.prefix is None else self.place(input_ids)
            sequences.append(placed)
        if answers is not None:
            sequences = [[*a, *b] for a, b in zip(sequences, answers, strict=True)]
        ids, mask = pad(sequences, 0, self.device, left)
        is_vector = ids == VECTOR
        embeds = self.embed(ids.clamp_min(0))
        if self.prefix is not None:
            # Deltas may be float32 above a half-precision model. Row by row, in order: each row
            # has as many places as vectors.
            vectors = self.prefix.to(self.weight.dtype)
            embeds = embeds.masked_scatter(is_vector.unsqueeze(-1), vectors)
        self.vector_places = is_vector
        return embeds, mask.long()

    # --- batches that fit

    def in_batches(
        self,
        rows: Sequence[Encoded],
        added_tokens: int,
        token_budget: int,
        work: Callable[[list[int]], object],
    ) -> None:
        """Call work on the row indices of one batch after another, each within the budget.

        added_tokens: positions of a row beside its own tokens (prepended vectors, an answer).
        token_budget: padded tokens of a batch; 0 takes what suits the device. Where its memory
            runs out, the batch that did not fit is cut in two, and half of its tokens is the most
            from then on. Raises ValueError where a single row does not fit.
        """
        budget = token_budget or self.token_budget
        most_tokens = min(budget, self.most_tokens)
        waiting = list(batches(rows, added_tokens, most_tokens))
        while waiting:
            batch = waiting.pop()  # the longest rows first: what does not fit is met at once
            try:
                work(batch)
            except torch.OutOfMemoryError as error:
                longest = max(rows[i].tokens for i in batch)
                if len(batch) == 1:
                    raise ValueError(
                        f"one row of {longest} tokens does not fit the memory of {self.device}; "
                        "take a smaller model"
                    ) from error
                half = len(batch) // 2
                waiting += [batch[:half], batch[half:]]
                if math.isinf(self.most_tokens):
                    warnings.warn(
                        "out of memory: smaller batches from here on, with the same result",
                        stacklevel=2,
                    )
                self.most_tokens = half * (added_tokens + longest)


class ModelError(ValueError):
    """A model that cannot be used, and why; the text names it as `--model` does."""


class FiniteLogits(LogitsProcessor):
    """Raises ValueError where logits are no numbers: an answer from them would be noise."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if scores.isnan().any():
            raise not_finite(self.backbone, "an answer")
        return scores


def not_finite(
    backbone: Backbone,
    what: str,
    remedy: str = "the weights may be damaged: copy the model again",
) -> ModelError:
    """Return the error of a loss that is no number.

    what: whose loss it is.
    remedy: where the type of the weights is not the likely reason.
    """
    if backbone.dtype == "float16":
        remedy = "take --dtype bfloat16 or float32 (T5 is known to overflow in float16)"
    return ModelError(
        f"--model {backbone.name}: the loss of {what} is not finite in {backbone.dtype}; {remedy}"
    )


def batches(
    rows: Sequence[Encoded],
    added_tokens: int,
    token_budget: float,
) -> Iterator[list[int]]:
    """Cut row indices into batches of similar length whose padded tokens stay within the budget.

    Execution only: which rows share a batch changes no row's loss.
    """
    batch: list[int] = []
    input_length = 0
    answer_length = 0
    by_length = sorted(
        range(len(rows)),
        key=lambda i: (rows[i].input_tokens, rows[i].answer_tokens),
    )
    for index in by_length:
        row = rows[index]
        longer_input = max(input_length, row.input_tokens)
        longer_answer = max(answer_length, row.answer_tokens)
        padded = (len(batch) + 1) * (added_tokens + longer_input + longer_answer)
        if batch and padded > token_budget:
            yield batch
            batch = []
            longer_input = row.input_tokens
            longer_answer = row.answer_tokens
        batch.append(index)
        input_length = longer_input
        answer_length = longer_answer
    if batch:
        yield batch


def answer_nll(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return [B] nats: -log p summed over each row's answer tokens.

    logits: [B, T, V].
    labels: [B, T], NO_LABEL as padding.
    smoothing: share of the target that is spread evenly over the vocabulary (fairseq's
        label-smoothed loss, which is torch's).
    """
    # Half precision has three digits: too few for a sum over the vocabulary.
    logits = logits.double() if logits.dtype == torch.float64 else logits.float()
    # The vocabulary last: over a middle axis float32 sums are taken one by one, which costs 1e-5
    # with 49,152 tokens.
    nll = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1),
        labels.flatten(),
        ignore_index=NO_LABEL,
        reduction="none",
        label_smoothing=smoothing,
    )
    by_token = nll.view(labels.shape)  # [B, T]
    return by_token.sum(1)


def pad(
    sequences: Sequence[Sequence[int]],
    value: int,
    device: torch.device,
    left: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return the sequences as one tensor, padded with the value, and a mask of their own places.

    left: pad before a sequence, else behind it.
    Returns [B, L] and [B, L]; the mask is False where padding stands.
    """
    sizes = list(map(len, sequences))
    longest = max(sizes)
    rows = []
    for sequence in sequences:
        padding = [value] * (longest - len(sequence))
        row = [*padding, *sequence] if left else [*sequence, *padding]
        rows.append(row)
    ids = torch.tensor(rows, device=device, dtype=torch.long)

    # From the lengths and not from the ids: the padding's value may be a token's as well.
    lengths = torch.tensor(sizes, device=device)[:, None]  # [B, 1]
    places = torch.arange(longest, device=device)  # [L]
    if left:
        return ids, places >= longest - lengths
    return ids, places < lengths
