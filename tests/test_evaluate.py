"""Scores of prompts, with a stub that answers by prompt and row: what is held against what."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_backbone
from fitted import KINDS, taught_backbone, word_task
from soft_prompts import generate, nll, score_prompts

from ipt.backbones.base import CPU_TOKENS, Backbone
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.data import Example, Task
from ipt.encoded import EncodedTask
from ipt.results import TaskScore
from ipt.training.evaluate import Score

LABELS = ("red", "green", "blue")


class Stub(EncoderDecoder):
    """Writes "PROMPT:INPUT", ranks by the prompt's number and the input's last digit.

    budget: the tokens of a batch with gradients; a quarter of those of one without.
    """

    def __init__(self, generates: bool = True, budget: int = CPU_TOKENS) -> None:
        plain = toy_backbone()
        super().__init__(plain.model, plain.tokenizer, "stub")
        self.generates = generates
        self.budget = budget
        self.written, self.ranked, self.asked = [], [], []

    @property
    def token_budget(self):
        return self.budget

    def inputs(self, rows):
        return self.texts([row.input_ids for row in rows])

    def numbers(self, rows):
        """Return the number of each row's prompt."""
        assert not torch.is_grad_enabled()
        assert self.prefix.shape == (len(rows), 2, 16)
        return [int(prompt[0, 0]) for prompt in self.prefix]

    def generate(self, rows, max_tokens):
        texts = self.inputs(rows)
        self.written.append((max_tokens, sorted(texts)))
        pairs = zip(self.numbers(rows), texts, strict=True)
        return [f"{number}:{text}" for number, text in pairs]

    def option_nll(self, rows, options):
        assert self.texts([option.label_ids for option in options]) == list(LABELS)
        texts = self.inputs(rows)
        self.ranked.append(sorted(texts))
        nats = torch.ones(len(rows), len(options))
        for place, (number, text) in enumerate(zip(self.numbers(rows), texts, strict=True)):
            nats[place, (number + int(text[-1])) % 3] = 0.5
        return nats

    def generate_and_rank(self, rows, max_tokens, options):
        return self.generate(rows, max_tokens), self.option_nll(rows, options)

    def in_batches(self, rows, added_tokens, token_budget, work):
        self.asked.append((len(rows), added_tokens, token_budget))
        super().in_batches(rows, added_tokens, token_budget, work)


def prompts_of(count: int) -> torch.Tensor:
    """Prompt u consists of u's."""
    return torch.arange(count, dtype=torch.float64).view(-1, 1, 1).expand(-1, 2, 16)


def made(
    backbone, name, test, dev=(("dev 0", "red"),), cls=False, metric="", tall=8
) -> EncodedTask:
    """A task's sets from rows (input, accepted answers ...)."""
    metric = metric or ("accuracy" if cls else "exact-match")
    parts = {}
    for part, rows in (("test", test), ("dev", dev)):
        parts[part] = tuple(Example(text, accepted) for text, *accepted in rows)
    options = LABELS if cls else None
    task = Task(name, "cls" if cls else "non-cls", "", metric, "", parts["dev"], options)
    encoded = {}
    for part, examples in parts.items():
        outputs = [example.output[0] for example in examples]
        encoded[part] = tuple(backbone.encode([example.input for example in examples], outputs))
    ranked = tuple(backbone.encode(options, options)) if options else ()
    return EncodedTask(
        task,
        100,
        test_examples=parts["test"],
        dev_examples=parts["dev"],
        train=(),
        dev=encoded["dev"],
        test=encoded["test"],
        options=ranked,
        max_tokens=tall,
    )


FREE = [
    ("a long row 0", "0:a long row 0"),
    ("row 1", "no"),
    ("wide row 2", "no", "0:wide row 2"),
    ("r 3", "0:r 3"),
]
OTHER = [("r 0", "no"), ("a long row 1", "1:a long row 1"), ("row 2", "0:row 2")]
CHOICE = [  # led by prompt 2, the ranked ones are the labels 2, 0, 1, 0, 2
    ("a long row 0", "blue"),
    ("r 1", "red"),
    ("row 2", "2:row 2"),
    ("wide row 4", "red"),
    ("another row 6", "red"),
]


def three(backbone):
    return [
        made(backbone, "free", FREE),
        made(backbone, "other", OTHER),
        made(backbone, "choice", CHOICE, cls=True),
    ]


@pytest.mark.parametrize("budget", [CPU_TOKENS, 10, 25_000])
def test_each_answer_is_held_against_its_own_row_and_task(budget):
    backbone = Stub(budget=budget)
    scores = score_prompts(backbone, prompts_of(3), three(backbone))
    free, other, choice = scores
    assert free.generated == 3 / 4
    assert free.predictions == ("0:a long row 0", "0:row 1", "0:wide row 2", "0:r 3")
    assert other.generated == pytest.approx(1 / 3)
    assert other.predictions == ("1:r 0", "1:a long row 1", "1:row 2")
    assert choice.generated == 1 / 5 and choice.ranked == 3 / 5
    assert choice.predictions[1] == "2:r 1"
    assert free.ranked is None and other.ranked is None


def test_control_another_prompt_scores_otherwise():
    backbone = Stub()
    free, other, choice = score_prompts(backbone, prompts_of(3).flip(0), three(backbone))
    assert free.generated == 0 and other.generated == pytest.approx(1 / 3)
    assert choice.generated == 0 and choice.ranked == 1 / 5  # led by 0: the labels 0, 1, 2, 1, 0
    assert free.predictions[0] == "2:a long row 0"


def test_scores_come_in_the_order_of_the_tasks():
    backbone = Stub()
    free, other, choice = three(backbone)
    prompts = prompts_of(3)[[2, 0, 2, 1, 0]]
    scores = score_prompts(backbone, prompts, [choice, free, choice, other, free])
    generated = [score.generated for score in scores]
    assert generated == pytest.approx([1 / 5, 3 / 4, 1 / 5, 1 / 3, 3 / 4])
    assert [score.ranked for score in scores] == [3 / 5, None, 3 / 5, None, None]


@pytest.mark.parametrize("cls", [True, False])
def test_the_dev_rows_are_scored_by_their_own_references(cls):
    backbone = Stub()
    test = [("row 0", "0:row 0"), ("row 1", "0:row 1"), ("row 2", "red")]
    dev = [("dev 0", "red"), ("dev 1", "0:dev 1"), ("dev 2", "red"), ("dev 3", "red")]
    data = [made(backbone, "both", test, dev, cls=cls)]
    (on_test,) = score_prompts(backbone, prompts_of(1), data)
    (on_dev,) = score_prompts(backbone, prompts_of(1), data, "dev")
    assert on_test.generated == pytest.approx(2 / 3) and on_dev.generated == 1 / 4
    assert on_dev.predictions == ("0:dev 0", "0:dev 1", "0:dev 2", "0:dev 3")
    if cls:
        assert on_test.ranked == 0 and on_dev.ranked == 2 / 4


def test_the_metric_is_the_tasks_own_for_written_and_ranked_answers():
    backbone = Stub()
    rows = [("row 0", "red"), ("row 3", "red"), ("row 6", "red"), ("row 9", "0:row 9")]
    data = made(backbone, "x", rows, cls=True, metric="macro-F1")
    (found,) = score_prompts(backbone, prompts_of(1), [data])
    assert found.generated == pytest.approx((0 + 1) / 2)
    assert found.ranked == pytest.approx((6 / 7 + 0) / 2)
    (plain,) = score_prompts(backbone, prompts_of(1), [made(backbone, "x", rows, cls=True)])
    assert (plain.generated, plain.ranked) == (1 / 4, 3 / 4)  # control


def test_without_ranking_options_are_not_ranked():
    backbone = Stub()
    scores = score_prompts(backbone, prompts_of(3), three(backbone), rank=False)
    assert [score.generated for score in scores] == [3 / 4, pytest.approx(1 / 3), 1 / 5]
    assert [score.ranked for score in scores] == [None] * 3 and backbone.ranked == []


@pytest.mark.parametrize("rank", [True, False])
def test_a_model_that_writes_nothing_answers_with_its_likeliest_options(rank):
    backbone = Stub(generates=False)
    rows = [("row 0", "green"), ("row 1", "blue"), ("row 2", "green"), ("r 5", "red")]
    data = [made(backbone, name, rows, cls=True) for name in "ab"]
    prompts = prompts_of(2).flip(0)
    one, two = score_prompts(backbone, prompts, data, rank=rank)
    assert one.predictions == ("green", "blue", "red", "red")
    assert one.generated == one.ranked == 3 / 4
    assert two.predictions == ("red", "green", "blue", "blue") and two.generated == two.ranked == 0
    assert backbone.written == []
    lengths = [prompt_length for _, prompt_length, _ in backbone.asked]
    assert lengths == [2, 2]  # the prompt's, no place for an answer


def test_answers_are_as_long_as_their_task_needs_and_equally_long_ones_share_batches():
    backbone = Stub()
    data = []
    for u, tall in enumerate((8, 2, 8, 4)):
        data.append(made(backbone, f"task {u}", [(f"row {u}", "x")], tall=tall))
    scores = score_prompts(backbone, prompts_of(4), data)
    assert backbone.written == [(2, ["row 1"]), (4, ["row 3"]), (8, ["row 0", "row 2"])]
    assert [score.predictions for score in scores] == [(f"{u}:row {u}",) for u in range(4)]
    ranked = made(backbone, "choice", [("row 1", "red")], cls=True, tall=16)
    score_prompts(backbone, prompts_of(1), [ranked])
    assert backbone.written[-1] == (16, ["row 1"])


def test_a_batch_has_room_for_prompt_and_answer_and_four_times_the_tokens_of_training():
    backbone = Stub()
    free = made(backbone, "free", FREE, tall=4)
    data = [free, made(backbone, "choice", CHOICE, cls=True, tall=16)]
    score_prompts(backbone, prompts_of(2), data)
    assert backbone.asked == [(5, 2 + 16, 4 * 2048), (4, 2 + 4, 4 * 2048)]
    backbone.asked.clear()
    backbone.budget = 75
    score_prompts(backbone, prompts_of(2), data)
    assert backbone.asked == [(5, 18, 300), (4, 6, 300)]


@pytest.mark.parametrize("budget", [CPU_TOKENS, 10])
@pytest.mark.parametrize("rank", [True, False])
def test_progress_counts_every_row_once(budget, rank):
    backbone, told = Stub(budget=budget), []
    data = three(backbone)
    progress = lambda done, total: told.append((done, total))
    score_prompts(backbone, prompts_of(3), data, rank=rank, progress=progress)
    steps = [done for done, _ in told]
    assert {total for _, total in told} == {4 + 3 + 5} and steps[-1] == 12
    assert sorted(set(steps)) == steps and steps[0] > 0
    rows = [len(texts) for _, texts in backbone.written]
    ranked = [5] if rank else []  # a task with options is told as a whole
    batches = rows[len(backbone.ranked) :]
    grown, total = [], 0
    for count in ranked + batches:
        total += count
        grown.append(total)
    assert steps == grown
    assert len(steps) > 5 or budget > 10  # control: a small budget makes many batches


def test_progress_of_the_dev_set_counts_its_rows():
    backbone, told = Stub(), []
    dev = [("dev 0", "red"), ("dev 1", "red"), ("dev 2", "red")]
    data = [made(backbone, "a", [("row 0", "x")], dev)]
    score_prompts(backbone, prompts_of(1), data, "dev", progress=lambda *step: told.append(step))
    assert told == [(3, 3)]


class Forgetful(Stub):
    """Leaves the last answer of a batch out."""

    def generate(self, rows, max_tokens):
        return super().generate(rows, max_tokens)[:-1]


@pytest.mark.parametrize("cls", [True, False])
def test_an_answer_that_is_missing_is_no_empty_answer(cls):
    backbone = Forgetful()
    data = [made(backbone, "x", [("row 0", "red"), ("row 1", "red")], cls=cls)]
    with pytest.raises(ValueError, match="shorter|longer"):
        score_prompts(backbone, prompts_of(1), data)


def test_a_run_keeps_six_places():
    kept = Score(0.12345678, 2 / 3, ("x",)).rounded()
    assert kept == TaskScore(generated=0.123457, ranked=0.666667)
    assert Score(1 / 3, None, ()).rounded() == TaskScore(generated=0.333333, ranked=None)
    assert Score(1 / 3, 0.0, ()).rounded().ranked == 0.0


def named_prompt(backbone, kind: str) -> torch.Tensor:
    """The task's name, and two words that name none: what the taught model was taught with."""
    return backbone.text_embeddings(f"{kind} red red")


def test_the_taught_models_scores_do_not_depend_on_what_shares_a_batch(taught_folder, monkeypatch):
    backbone = taught_backbone(taught_folder, torch.float64)
    data = [EncodedTask.draw(backbone, word_task(kind), 100, shots=4, limit=12) for kind in KINDS]
    prompts = torch.stack([named_prompt(backbone, kind) for kind in KINDS])
    together = score_prompts(backbone, prompts, data)
    with monkeypatch.context() as patch:
        patch.setattr(Backbone, "token_budget", 7)
        tiny = score_prompts(backbone, prompts, data)
    alone = []
    for prompt, d in zip(prompts, data, strict=True):
        alone += score_prompts(backbone, prompt[None], [d])
    assert together == tiny == alone
    turned = score_prompts(backbone, prompts.roll(1, 0), data)
    kept = [score.generated for score in together]
    lost = [score.generated for score in turned]
    assert len(set(kept)) >= 3 and sum(kept) > sum(lost) + 1  # control: prompts and tasks differ


def test_the_taught_models_answers_are_counted_by_hand(taught_folder):
    """Each row alone: its text against the reference, and the option with the least loss."""
    backbone = taught_backbone(taught_folder, torch.float64)
    scores = {}
    for kind, lead in (("second", "second"), ("early", "early"), ("early", "last")):
        d = EncodedTask.draw(backbone, word_task(kind), 100, shots=4, limit=12)
        prompt = named_prompt(backbone, lead)[None]
        written = ranked = 0
        for example, row in zip(d.test_examples, d.test, strict=True):
            nats = []
            with torch.no_grad():
                (text,) = generate(backbone, prompt, [row], d.max_tokens)
                for option in d.options:
                    answered = replace(row, label_ids=option.label_ids)
                    nats.append(nll(backbone, prompt, [answered]).item())
            written += text == example.output[0]
            ranked += bool(nats) and d.task.options[nats.index(min(nats))] == example.output[0]
        (found,) = score_prompts(backbone, prompt, [d])
        assert found.generated == written / 12
        assert found.ranked == (ranked / 12 if d.options else None)
        scores[kind, lead] = found
    assert 0 < scores["second", "second"].generated < 1  # controls: there is something to confuse
    assert 0 < scores["early", "early"].generated != scores["early", "last"].generated
    assert scores["early", "last"].generated != scores["early", "last"].ranked
