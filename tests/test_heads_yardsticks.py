"""Heads against the code that others use: transformers' models with a head, torch's layers, tokenizers' words."""

import copy
import random
from dataclasses import replace

import pytest
import torch
import toys
from head_tasks import task
from test_heads import backbone
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy
from transformers import (
    AutoModel,
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
)

from ipt.backbones.base import Encoded
from ipt.backbones.encoder import Encoder
from ipt.heads import parse_head
from ipt.heads.span import LONGEST, NOTHING, SpanRow, Window, best_span, window_of
from ipt.heads.tags import word_places
from ipt.training.model import Model
from ipt.tuners import parse_tuner

CLOSE = {"rtol": 0, "atol": 1e-9}


def model_of(kind: str, head: str) -> Model:
    return Model(backbone(kind), parse_tuner("bare"), parse_head(head))


def rows_and_numbers(model: Model, kind: str) -> tuple[list[Encoded], Tensor]:
    """The rows of a task, and numbers [1, H] that need a gradient."""
    of = task(kind, 1, 8)
    rows = model.head.encode(model.backbone, of, of.examples[:5])
    size = model.head.size(model.backbone, model.head.classes(of))
    numbers = torch.randn(1, size, generator=torch.Generator().manual_seed(4)).double() * 0.3
    return rows, numbers.requires_grad_()


def ours(model: Model, rows, numbers: Tensor) -> Tensor:
    """Losses [B] of rows under one job's numbers; the gradient of their sum is in these."""
    losses = model.nll(numbers, torch.zeros(len(rows), dtype=torch.long), rows)
    losses.sum().backward()
    return losses.detach()


def split(numbers: Tensor, width: int, layers: int = 1) -> list[nn.Linear]:
    """The layers of a head's numbers [1, H] as torch's own."""
    rows = numbers.detach()[0].view(-1, width + 1)
    inner = width * (layers - 1)
    found = []
    for part in (*rows[:inner].view(-1, width, width + 1), rows[inner:]):
        layer = nn.Linear(width, len(part)).double()
        layer.weight.data, layer.bias.data = part[:, :-1].clone(), part[:, -1].clone()
        found.append(layer)
    return found


def gradient(layers: list[nn.Linear]) -> Tensor:
    parts = [torch.cat([layer.weight.grad, layer.bias.grad[:, None]], 1) for layer in layers]
    return torch.cat(parts).flatten()[None]


def states(model: Model, ids) -> Tensor:
    return model.backbone.model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def theirs(loader, model: Model, linear: nn.Linear, name: str):
    """transformers' own model around a copy of the bare one, with this layer."""
    config = copy.deepcopy(model.backbone.model.config)
    config.num_labels = linear.out_features
    whole = loader.from_config(config).double().eval()
    setattr(whole, whole.base_model_prefix, copy.deepcopy(model.backbone.model))
    setattr(whole, name, linear)
    return whole


def require_same(found, expected, numbers: Tensor, layers) -> None:
    """Losses and gradients are equal, and are some."""
    torch.testing.assert_close(found, torch.stack(expected).detach(), **CLOSE)
    torch.stack(expected).sum().backward()
    torch.testing.assert_close(numbers.grad, gradient(layers), **CLOSE)
    assert (numbers.grad.abs() > 1e-4).any()  # control


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_tags_are_transformers_token_classification(kind):
    model = model_of(kind, "tags")
    rows, numbers = rows_and_numbers(model, "tags")
    found = ours(model, rows, numbers)
    (linear,) = layers = split(numbers, 32)
    whole = theirs(AutoModelForTokenClassification, model, linear, "classifier")
    expected = []
    for row in rows:
        ids = torch.tensor([row.input_ids])
        labels = torch.full_like(ids, -100)
        labels[0, list(row.places)] = torch.tensor(row.label_ids)
        loss = whole(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        expected.append(loss * len(row.places))  # theirs is a mean over words
    require_same(found, expected, numbers, layers)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_spans_are_transformers_question_answering(kind, monkeypatch):
    """Theirs has the question's places as classes too: with all places allowed ours is equal."""
    model = model_of(kind, "span:stride=4")
    rows, numbers = rows_and_numbers(model, "span")

    def everywhere(self, windows, logits):
        places = torch.arange(logits.shape[1])
        lengths = torch.tensor([len(window.input_ids) for window in windows])
        return places < lengths[:, None]

    apart, _ = model.head.losses(model.backbone, rows[:2], weights=numbers.expand(2, -1)).detach()
    monkeypatch.setattr(type(model.head), "_allowed", everywhere)
    found = ours(model, rows, numbers)
    assert found[0] > apart + 1e-3  # control: fewer places, less to be lost
    (linear,) = layers = split(numbers, 32)
    whole = theirs(AutoModelForQuestionAnswering, model, linear, "qa_outputs")
    expected = []
    for row in rows:
        total = torch.zeros((), dtype=torch.float64)
        for window in row.windows:
            start, end = (torch.tensor([place]) for place in window.label_ids)
            ids = torch.tensor([window.input_ids])
            output = whole(input_ids=ids, start_positions=start, end_positions=end)
            total = total + 2 * output.loss  # theirs is the mean of the two
        expected.append(total)
    assert any(len(row.windows) > 1 for row in rows)
    require_same(found, expected, numbers, layers)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_span_losses_are_over_the_contexts_places_and_the_first(kind):
    model = model_of(kind, "span:stride=4")
    rows, numbers = rows_and_numbers(model, "span")
    found = ours(model, rows, numbers)
    (linear,) = layers = split(numbers, 32)
    expected = []
    for row in rows:
        total = torch.zeros((), dtype=torch.float64)
        for window in row.windows:
            places = [NOTHING, *range(window.first, window.last + 1)]
            logits = linear(states(model, window.input_ids))[places]
            for border in range(2):
                label = torch.tensor([places.index(window.label_ids[border])])
                total = total + cross_entropy(logits[None, :, border], label)
        expected.append(total)
    require_same(found, expected, numbers, layers)


POOLED = {
    "first": lambda states: states[0],
    "last": lambda states: states[-1],
    "mean": lambda states: states.mean(0),
}


@pytest.mark.parametrize("layers", [1, 2, 4])
@pytest.mark.parametrize("pooling", POOLED)
def test_classification_is_torchs_layers_on_a_pooled_state(pooling, layers):
    model = model_of("bert", f"classification:layers={layers},pooling={pooling}")
    rows, numbers = rows_and_numbers(model, "cls")
    found = ours(model, rows, numbers)
    made = split(numbers, 32, layers)
    inner = [part for layer in made[:-1] for part in (layer, nn.ReLU())]
    head = nn.Sequential(*inner, made[-1])
    expected = []
    for row in rows:
        logits = head(POOLED[pooling](states(model, row.input_ids)))
        expected.append(cross_entropy(logits[None], torch.tensor(row.label_ids)))
    require_same(found, expected, numbers, made)


@pytest.mark.parametrize("layers", [1, 3])
def test_choice_is_a_softmax_over_a_score_for_each_option(layers):
    model = model_of("bert", f"choice:layers={layers}")
    rows, numbers = rows_and_numbers(model, "choice")
    found = ours(model, rows, numbers)
    made = split(numbers, 32, layers)
    inner = [part for layer in made[:-1] for part in (layer, nn.ReLU())]
    head = nn.Sequential(*inner, made[-1])
    expected = []
    for row in rows:
        scores = [head(states(model, choice.input_ids)[0]) for choice in row.choices]
        expected.append(cross_entropy(torch.cat(scores)[None], torch.tensor(row.label_ids)))
    assert len({len(row.choices) for row in rows}) > 1
    require_same(found, expected, numbers, made)


@pytest.mark.parametrize("texts", ["labels", "definitions"])
def test_label_embeddings_are_cosines_of_means(texts):
    """sentence-transformers' mean pooling: over all tokens that are no padding."""
    model = model_of("bert", f"label-embedding:scale=7.0,texts={texts}")
    of = replace(task("cls", 1, 8), definition="Which colour is it")
    rows = model.head.encode(model.backbone, of, of.examples[:5])
    mean = {}
    for text in of.options:
        read = text if texts == "labels" else f"Which colour is it: {text}"
        ids = model.backbone.tokenizer(read)["input_ids"]
        mean[text] = states(model, ids).mean(0)
    with torch.no_grad():
        found = model.nll(torch.zeros(1, 0), torch.zeros(5, dtype=torch.long), rows)
    answers = model.predict(torch.zeros(1, 0), torch.zeros(5, dtype=torch.long), rows, 2)
    for example, loss, answer in zip(of.examples, found, answers, strict=False):
        ids = model.backbone.tokenizer(example.input)["input_ids"]
        own = states(model, ids).mean(0)
        scores = torch.stack([7 * cosine_similarity(own, mean[text], 0) for text in of.options])
        label = torch.tensor(of.options.index(example.output[0]))
        # Cosines are in single precision.
        assert float(loss) == pytest.approx(float(cross_entropy(scores, label)), abs=2e-6)
        assert answer.text == of.options[int(scores.argmax())]


# --- words


WORDS = "the red bird saw n't tree-house 'tis 1,000 naïve über 東京 don't U.S. ( ) ... e-mail a I"
WORDS = [*WORDS.split(), "ﬁne", "é", "straße", "x" * 30, "😀ok", "😀", "ab12cd", "--", "%", "№5"]


def trained(model, pre_tokenizer, trainer, normalizer=None) -> PreTrainedTokenizerFast:
    backend = Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizer
    if normalizer:
        backend.normalizer = normalizer
    backend.train_from_iterator([*toys.CORPUS, "don't e-mail naïve straße 1,000"] * 3, trainer)
    ends = [(sign, backend.token_to_id(sign)) for sign in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{name: sign for name, sign in zip(NAMES, toys.SPECIAL, strict=True)},
    )


NAMES = ("cls_token", "pad_token", "sep_token", "unk_token", "mask_token")
TRAINER = {"vocab_size": 400, "special_tokens": toys.SPECIAL, "show_progress": False}


def byte_level() -> PreTrainedTokenizerFast:
    """As RoBERTa's."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, **TRAINER)
    pre = pre_tokenizers.ByteLevel(add_prefix_space=True)
    return trained(models.BPE(), pre, trainer)


def trimmed() -> PreTrainedTokenizerFast:
    """As RoBERTa's, whose tokens' places leave the space before a word out."""
    words = byte_level()
    ends = [(sign, words.convert_tokens_to_ids(sign)) for sign in ("</s>", "<s>")]
    words.backend_tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True)
    return words


def word_piece() -> PreTrainedTokenizerFast:
    """As BERT's."""
    trainer = trainers.WordPieceTrainer(**TRAINER)
    pre = pre_tokenizers.BertPreTokenizer()
    kind = models.WordPiece(unk_token="<unk>")
    return trained(kind, pre, trainer, normalizers.BertNormalizer())


def metaspace() -> PreTrainedTokenizerFast:
    """As SentencePiece's."""
    trainer = trainers.UnigramTrainer(unk_token="<unk>", **TRAINER)
    return trained(models.Unigram(), pre_tokenizers.Metaspace(), trainer, normalizers.NFKC())


def encoder_of(words: PreTrainedTokenizerFast, longest: int = 0) -> Encoder:
    kind = toys.config("bert", vocab_size=len(words), num_hidden_layers=1)
    made = Encoder(AutoModel.from_config(kind, add_pooling_layer=False), words, "toy")
    made.max_input = longest or made.max_input
    return made


SPACES = ("Ġ", "▁")
TOKENIZERS = {"bytes": byte_level, "trimmed": trimmed, "pieces": word_piece, "metaspace": metaspace}


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_a_words_first_token_carries_its_label(kind):
    """As tokenizers counts words that are given one by one."""
    words_of = TOKENIZERS[kind]()
    encoder = encoder_of(words_of, 60)
    rng = random.Random(1)
    split_up = alone = 0
    for _ in range(150):
        words = rng.choices(WORDS, k=rng.randint(1, 12))
        piece = encoder.piece(" ".join(words))
        given = words_of(words, is_split_into_words=True, truncation=True, max_length=60)
        assert list(piece.input_ids) == given["input_ids"]
        numbers = given.word_ids()
        tokens = words_of.convert_ids_to_tokens(given["input_ids"])
        alone += any(sign in SPACES for sign in tokens)
        expected = [numbers.index(i) for i in range(len(words)) if i in numbers]
        assert word_places(piece, words) == expected
        split_up += len(tokens) - 2 > len(expected)
    assert split_up > 50  # control: most rows have words of several tokens
    assert (alone > 20) == (kind != "pieces")  # and of a space alone


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_words_are_found_beside_a_query(kind):
    encoder = encoder_of(TOKENIZERS[kind]())
    rng = random.Random(2)
    for _ in range(40):
        words = rng.choices(WORDS, k=6)
        alone = word_places(encoder.piece(" ".join(words)), words)
        assert word_places(encoder.piece(" ".join(words), rng.choice(WORDS)), words) == alone


# --- windows


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("stride", [0, 3, 12])
def test_an_answer_is_found_again_from_its_places_in_each_window_that_has_it(kind, stride):
    encoder = encoder_of(TOKENIZERS[kind](), 40)
    rng = random.Random(stride)
    whole = several = 0
    for _ in range(60):
        words = rng.choices(WORDS, k=rng.randint(4, 40))
        context = " ".join(words)
        first = rng.randrange(len(words))
        answer = " ".join(words[first : first + rng.randint(1, 3)])
        start = len(" ".join([*words[:first], ""]))
        span = (start, start + len(answer))
        pieces = encoder.windows("what is it ?", context, stride)
        several += len(pieces) > 1
        for piece in pieces:
            window = window_of(piece, [span])
            own = [o for o, part in zip(piece.offsets, piece.parts, strict=True) if part == 1]
            if own[0][0] <= span[0] and span[1] <= own[-1][1]:
                begin, end = (window.label_ids[0], window.label_ids[1])
                found = context[window.offsets[begin][0] : window.offsets[end][1]]
                assert found.strip() == answer
                assert window.first <= begin <= end <= window.last
                whole += 1
            else:
                assert window.label_ids == (NOTHING, NOTHING)
        covered = {place for piece in pieces for place in text_of(piece)}
        assert covered >= {i for i, sign in enumerate(context) if sign != " "}
    assert whole > 40 and several > 20


def text_of(piece) -> set[int]:
    """The characters of the context that a window reads."""
    places: set[int] = set()
    for (start, end), part in zip(piece.offsets, piece.parts, strict=True):
        if part == 1:
            places.update(range(start, end))
    return places


@pytest.mark.parametrize("may_be_empty", [False, True])
def test_the_best_span_is_the_best_of_all(may_be_empty):
    """By hand, over all pairs of places of all windows."""
    generator = torch.Generator().manual_seed(6)
    context = "x" * 300
    answered = 0
    for _ in range(25):
        windows = []
        rows = []
        for number in range(int(torch.randint(1, 4, (1,), generator=generator))):
            length = int(torch.randint(5, 50, (1,), generator=generator))
            offsets = [(0, 0)] * 3
            offsets += [(5 * number + 2 * i, 5 * number + 2 * i + 2) for i in range(length - 4)]
            last = length - 2
            windows.append(Window((7,) * length, (0, 0), 3, last, (*offsets, (0, 0))))
            scores = 3 * torch.randn(50, 2, generator=generator)
            scores[NOTHING] += 5
            scores[1:3], scores[last + 1 :] = -torch.inf, -torch.inf
            rows.append(scores)
        row = SpanRow((), (), 2, (), tuple(windows), context, may_be_empty)
        expected, best = None, -float("inf")
        for window, scores in zip(windows, rows, strict=True):
            for i in range(window.first, window.last + 1):
                for j in range(i, min(window.last + 1, i + LONGEST)):
                    value = float(scores[i, 0]) + float(scores[j, 1])
                    if value > best:
                        best, expected = value, (window.offsets[i][0], window.offsets[j][1])
        if may_be_empty and min(float(scores[NOTHING].sum()) for scores in rows) >= best:
            expected = None
        answered += expected is not None
        assert best_span(row, torch.stack(rows)) == expected
    assert answered == 25 if not may_be_empty else 2 < answered < 25


def test_spaces_at_the_ends_of_a_span_are_none_of_it():
    window = Window((7,) * 5, (0, 0), 2, 3, ((0, 0), (0, 0), (0, 4), (4, 9), (0, 0)))
    row = SpanRow((), (), 2, (), (window,), " one two  three")
    scores = torch.full((1, 5, 2), -torch.inf)
    scores[0, [NOTHING, 2, 3]] = torch.tensor([[0.0, 0.0], [1.0, 2.0], [0.0, 5.0]])
    assert best_span(row, scores) == (1, 8)
    assert row.context[1:8] == "one two"
