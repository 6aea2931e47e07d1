"""Whether a loaded model is read as it reads itself: a few words, before any work.

    loss by embeddings = loss by tokens            vectors are prepended to embeddings
    loss of a padded row = loss of the row alone   rows of one batch belong to different jobs
    loss before an answer's end never sees it      or the loss would not be that of writing
    greedy answers take the likeliest tokens       as the losses say
    option by option = loss of the option          or options are not read from the kept input

Architectures differ in all five, and none of them says so. A model that fails is refused in one
line; a few tokens tell.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ipt.backbones.base import (
    NO_LABEL,
    Backbone,
    Encoded,
    ModelError,
    answer_nll,
    not_finite,
)
from ipt.backbones.causal import CausalLM
from ipt.backbones.encoder import Encoder
from ipt.backbones.tolerance import is_close

# Three vectors before each row, as a soft prompt has them: words, so that tokens can say the same.
LEAD = "Say what it is:"
LEAD_TOKENS = 3
# A short row is padded by a long one.
TEXTS = ("red bird", "a much longer input, of many words, and then more words: is it low or high?")
ANSWERS = ("yes", "no")
WRITTEN = 3  # tokens
# Types whose rows depend on the rows beside them: rounding of half precision could hide it.
ROWS_TOGETHER = (
    "convbert",
    "fnet",
    "fsmt",
    "mobilebert",
    "nystromformer",
    "recurrent_gemma",
    "rwkv",
    "yoso",
)


@torch.no_grad()
def check(backbone: Backbone) -> None:
    """Raise ValueError where the model cannot be read as it is, with the reason in one line.

    Turns off the kept input of a causal model that cannot go on from it.
    """
    _check_tokens(backbone)
    try:
        if isinstance(backbone, Encoder):
            _check_states(backbone)
        else:
            _check_losses(backbone)
    except ModelError:
        raise
    except Exception as error:
        # Whatever an architecture raises that is not made for this.
        raise _refused(backbone, _inner(error)) from error


def _check_tokens(backbone: Backbone) -> None:
    """Raise ValueError where the tokenizer has tokens that the model has no embedding for."""
    vocabulary = backbone.tokenizer.get_vocab()
    rows = len(backbone.weight)
    beyond = [token for token, number in vocabulary.items() if number >= rows]
    if beyond:
        raise ValueError(
            f"--model {backbone.name}: {len(beyond)} tokens of its tokenizer (as {beyond[0]!r}) "
            f"have no embedding among the model's {rows}; copy the tokenizer that belongs to it, "
            "or resize the embeddings (resize_token_embeddings) and save the model again"
        )
    start = backbone.start
    if start is not None and not (isinstance(start, int) and 0 <= start < rows):
        raise ValueError(
            f"--model {backbone.name}: its decoder_start_token_id {start!r:.40} has no "
            f"embedding among the model's {rows}; copy config.json again, or correct it"
        )


def _check_states(backbone: Encoder) -> None:
    """Raise ValueError where hidden states are not those of a row alone, or of its tokens."""
    rows = backbone.encode(TEXTS, ANSWERS)
    lead = backbone.ids(LEAD)[:LEAD_TOKENS]
    vectors = backbone.embed(torch.tensor([lead], device=backbone.device))  # [1, n, h]
    with backbone.prepended(vectors.expand(len(rows), -1, -1)):
        together = backbone.states(rows)[0]
    with backbone.prepended(vectors):
        (alone,) = backbone.states(rows[:1])
    if not together.isfinite().all():
        raise not_finite(backbone, "a few words")
    is_known = backbone.model.config.model_type in ROWS_TOGETHER
    if is_known or not _is_close(backbone, together, alone):
        raise _refused(backbone, "a row's states depend on the rows beside it")
    # The same words before the row, as tokens.
    by_ids = backbone.states_by_ids(Encoded((*lead, *rows[0].input_ids), ()))
    if not _is_close(backbone, by_ids[len(lead) :], alone):
        raise _refused(backbone, "it reads embeddings otherwise than the tokens they are of")


def _check_losses(backbone: Backbone) -> None:
    rows = backbone.encode(TEXTS, ANSWERS)
    lead = backbone.ids(LEAD)[:LEAD_TOKENS]
    vectors = backbone.embed(torch.tensor([lead], device=backbone.device))  # [1, n, h]
    prefix = vectors.expand(len(rows), -1, -1)

    together = _losses(backbone, prefix, rows)
    if not together.isfinite().all():
        raise not_finite(backbone, "a few words")
    alone = _losses(backbone, prefix[:1], rows[:1])
    is_known = backbone.model.config.model_type in ROWS_TOGETHER
    if is_known or not _is_close(backbone, together[:1], alone):
        raise _refused(backbone, "a row's loss depends on the rows beside it")
    # The same words before the row, as tokens.
    row = Encoded((*lead, *rows[0].input_ids), rows[0].label_ids)
    labels = torch.tensor([row.label_ids], device=backbone.device)
    by_tokens = answer_nll(backbone.logits_by_ids(row), labels)
    if not _is_close(backbone, by_tokens, alone):
        raise _refused(backbone, "it reads embeddings otherwise than the tokens they are of")
    if not backbone.generates:
        return

    _check_order(backbone, prefix, rows[0])
    _check_answers(backbone, prefix, rows)
    if isinstance(backbone, CausalLM):
        options = _option_losses(backbone, prefix, rows)
        backbone.keeps_inputs = options is not None and _is_close(backbone, options, together)


def _losses(backbone: Backbone, prefix: Tensor, rows: Sequence[Encoded]) -> Tensor:
    """Return [B] nats of these rows behind prefix [B, n, h]."""
    with backbone.prepended(prefix):
        logits, labels = backbone.answer_logits(rows)
    return answer_nll(logits, labels)


def _check_order(backbone: Backbone, prefix: Tensor, row: Encoded) -> None:
    """Raise ValueError where what comes later in an answer changes what comes before."""
    first = row.label_ids[0]
    rows = []
    for second in (backbone.end, row.input_ids[0], row.input_ids[-1]):
        rows.append(Encoded(row.input_ids, (first, second)))
    with backbone.prepended(prefix[:1].expand(len(rows), -1, -1)):
        logits, _ = backbone.answer_logits(rows)  # [3, 2, V]
    # The logits of the answer's first token.
    if not _is_close(backbone, logits[1:, 0], logits[:1, 0]):
        raise _refused(backbone, "it sees an answer's later tokens before it writes them")


def _check_answers(backbone: Backbone, prefix: Tensor, rows: Sequence[Encoded]) -> None:
    """Raise ValueError where a greedy answer is not of the likeliest tokens."""
    with backbone.prepended(prefix):
        try:
            answers = backbone.generate_ids(rows, WRITTEN)
        except ModelError:
            raise
        except ValueError as error:
            # transformers' own: not each architecture writes behind embeddings.
            reason = "transformers writes no answers behind embeddings for it"
            raise _refused(backbone, reason) from error
        answered = []
        for row, answer in zip(rows, answers, strict=True):
            answered.append(Encoded(row.input_ids, (*answer, backbone.end)))
        logits, labels = backbone.answer_logits(answered)  # [B, T, V], [B, T]
    for row_logits, row_labels, answer in zip(logits, labels, answers, strict=True):
        own = row_logits[row_labels != NO_LABEL][: len(answer)].float()  # [T, V]
        taken = torch.tensor(answer, dtype=torch.long, device=backbone.device)
        likelihood = own.gather(1, taken[:, None]).squeeze(1)
        # Close and not equal: two tokens may be as likely as each other.
        if not _is_close(backbone, likelihood, own.max(1).values):
            raise _refused(backbone, "its written answers are not of the likeliest tokens")


def _option_losses(backbone: CausalLM, prefix: Tensor, rows: Sequence[Encoded]) -> Tensor | None:
    """Return [B] nats of each row's own answer as an option; None where nothing is kept."""
    try:
        with backbone.prepended(prefix):
            scores = backbone.option_nll(rows, rows)  # [B, B]
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):
        # There is no kept input, or it cannot be gone on from by several tokens.
        return None
    return scores.diagonal()


def _is_close(backbone: Backbone, found: Tensor, expected: Tensor) -> bool:
    """Return whether two ways agree but for rounding."""
    return is_close(backbone.model.dtype, found, expected)


def _refused(backbone: Backbone, reason: str) -> ModelError:
    kind = backbone.model.config.model_type
    return ModelError(
        f"--model {backbone.name}: models of the type {kind!r} are not supported: {reason}; "
        "take another model (docs/models.md lists those that are tested)"
    )


def _inner(error: Exception) -> str:
    """Return an inner error as one short line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"
