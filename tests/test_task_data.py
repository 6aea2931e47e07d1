"""What a task's sets are in tokens, how long answers may be, and what a constant answer scores."""

from dataclasses import replace

import pytest
import torch
from conftest import toy_backbone

from ipt.backbones.base import Encoded
from ipt.backbones.encoder_decoder import EncoderDecoder
from ipt.data import Example, Task
from ipt.encoded import EncodedTask
from ipt.fewshot import few_shot
from ipt.training.evaluate import chance


class OneToken(EncoderDecoder):
    """Answers without an end sign, as masked models have them."""

    def label_ids(self, answer):
        return self.ids(answer)


@pytest.fixture(scope="module")
def backbone():
    return toy_backbone(dtype=torch.float32)


def own_task(train, dev, test, options=None, metric="exact-match") -> Task:
    """A task that brings its sets: rows (input, answer ...), the draw takes train, then dev."""
    examples = []
    for text, *accepted in (*train, *dev):
        examples.append(Example(text, tuple(accepted)))
    own = tuple(Example(text, tuple(accepted)) for text, *accepted in test)
    category = "cls" if options else "non-cls"
    draws = {100: tuple(range(len(examples)))}
    return Task("own", category, "", metric, "", tuple(examples), options, test=own, draws=draws)


def drawn(backbone, train, dev, test, options=None, metric="exact-match", **more) -> EncodedTask:
    shots = len(train) if not options else 1
    task = own_task(train, dev, test, options, metric)
    return EncodedTask.draw(backbone, task, 100, shots=shots, **more)


def tokens(backbone, text: str, answer: str) -> Encoded:
    """The toy tokenizer has a token for each letter, and an end sign."""
    return Encoded(tuple([*backbone.ids(text), 1]), tuple([*backbone.ids(answer), 1]))


TRAIN = [("in one", "ab"), ("in two", "cd")]
DEV = [("in three", "e"), ("in four", "f")]
TEST = [("in five", "g"), ("in six", "h", "i"), ("in seven", "j")]


def test_every_set_has_its_own_rows_with_the_first_answers_tokens(backbone):
    d = drawn(backbone, TRAIN, DEV, TEST)
    assert d.train == tuple(tokens(backbone, *row) for row in TRAIN)
    assert d.dev == tuple(tokens(backbone, *row) for row in DEV)
    assert d.test == tuple(tokens(backbone, *row[:2]) for row in TEST)
    assert [e.input for e in d.dev_examples] == ["in three", "in four"]
    assert [e.input for e in d.test_examples] == ["in five", "in six", "in seven"]
    assert d.test_examples[1].output == ("h", "i")
    assert d.task.name == "own" and d.data_seed == 100


def test_a_limit_keeps_the_first_test_rows_and_no_limit_all(backbone):
    whole = drawn(backbone, TRAIN, DEV, TEST)
    for limit, kept in ((1, 1), (2, 2), (3, 3), (9, 3), (0, 3)):
        d = drawn(backbone, TRAIN, DEV, TEST, limit=limit)
        assert d.test == whole.test[:kept] and d.test_examples == whole.test_examples[:kept]
        assert (d.train, d.dev, d.dev_examples) == (whole.train, whole.dev, whole.dev_examples)


def test_the_dev_rows_in_the_tests_place_are_limited_too(backbone):
    whole = drawn(backbone, TRAIN, DEV, TEST)
    d = drawn(backbone, TRAIN, DEV, TEST, held_out="dev", limit=1)
    assert d.test == whole.dev[:1] and d.test_examples == whole.dev_examples[:1]
    assert d.dev == whole.dev and d.dev_examples == whole.dev_examples and d.train == whole.train
    assert drawn(backbone, TRAIN, DEV, TEST, held_out="test").test == whole.test  # control


def test_the_data_seed_and_the_shots_choose_the_rows(backbone):
    rows = tuple(Example(f"input {i}", (f"answer {i}",)) for i in range(240))
    task = Task("plain", "non-cls", "", "exact-match", "", rows)
    found = {}
    for seed, shots in ((100, 5), (21, 5), (21, None)):
        d = EncodedTask.draw(backbone, task, seed, shots)
        sets = few_shot(task, seed, shots)
        expected = tuple(tokens(backbone, e.input, e.output[0]) for e in sets.train)
        assert d.train == expected and d.test_examples == sets.test and d.data_seed == seed
        found[seed, shots] = d.train
    assert len(found[21, None]) == 32 and len(found[21, 5]) == 5
    assert found[100, 5] != found[21, 5]


@pytest.mark.parametrize(
    ("letters", "most"),
    [  # longest answer L = letters and the end sign; L + L // 2, up to the next power of 2
        (1, 4),  # 2 and 1 is 3
        (2, 4),  # 3 and 1 is 4, a power of 2 itself
        (3, 8),  # 4 and 2 is 6
        (4, 8),  # 5 and 2 is 7
        (5, 16),  # 6 and 3 is 9
        (10, 16),  # 11 and 5 is 16
        (11, 32),  # 12 and 6 is 18
        (21, 64),  # 22 and 11 is 33
        (20, 32),  # 21 and 10 is 31
        (42, 64),  # 43 and 21 is 64
        (43, 128),  # 44 and 22 is 66
    ],
)
@pytest.mark.parametrize("part", ["train", "dev"])
def test_answers_may_be_half_longer_than_the_longest_known(backbone, letters, most, part):
    long = [("in", "x" * letters), ("in two", "x")]
    short = [("in three", "x"), ("in four", "x")]
    train, dev = (long, short) if part == "train" else (short, long)
    assert drawn(backbone, train, dev, [("t", "x" * 60)]).max_tokens == most


@pytest.mark.parametrize(("letters", "most"), [(1, 1), (2, 4), (3, 4), (4, 8)])
def test_short_answers_without_an_end_sign(backbone, letters, most):
    bare = OneToken(backbone.model, backbone.tokenizer, "bare")
    d = drawn(bare, [("in", "x" * letters)], [("in two", "x")], [("t", "x")])
    assert d.max_tokens == most


def test_a_label_that_no_row_has_counts_for_the_length(backbone):
    rows = [("in one", "a"), ("in two", "b"), ("in three", "a"), ("in four", "b")]
    d = drawn(backbone, rows[:2], rows[2:], [("t", "a")], ("a", "b", "seldom"), "accuracy")
    assert d.max_tokens == 16  # 7 and 3 is 10
    assert d.options == tuple(tokens(backbone, label, label) for label in ("a", "b", "seldom"))
    control = drawn(backbone, rows[:2], rows[2:], [("t", "a")], ("a", "b"), "accuracy")
    assert control.max_tokens == 4 and len(control.options) == 2


def test_only_a_task_of_kind_cls_has_options_to_rank(backbone):
    task = own_task(TRAIN, DEV, TEST)
    assert EncodedTask.draw(backbone, task, 100, shots=2).options == ()
    listed = replace(task, options=("ab", "cd"))
    assert EncodedTask.draw(backbone, listed, 100, shots=2).options == ()


def constant_data(backbone, test, dev, options=None, metric="accuracy") -> EncodedTask:
    """Test and dev rows with these answers."""
    parts = []
    for part, answers in (("dev", dev), ("test", test)):
        parts.append([(f"{part} {i}", *answer) for i, answer in enumerate(answers)])
    train = [(f"train {i}", *answer) for i, answer in enumerate(dev)]
    task = own_task(train, parts[0], parts[1], options, metric)
    shots = len(dev)
    if options:
        counts = [sum(answer[0] == label for answer in dev) for label in options]
        shots = max(counts)
    return EncodedTask.draw(backbone, task, 100, shots=shots)


LABELS = ("a", "b", "c", "d")


@pytest.mark.parametrize("best", LABELS)
def test_chance_is_the_best_label_whichever_it_is(backbone, best):
    """Six test rows: three of the best label, one of each other."""
    answers = [(label,) for label in LABELS] + [(best,)] * 2
    dev = [(label,) for label in LABELS]
    assert chance(constant_data(backbone, answers, dev, LABELS)) == 3 / 6


def test_chance_of_labels_looks_at_the_test_set_and_not_at_dev(backbone):
    test = [("a",), ("b",), ("b",), ("b",), ("c",)]
    dev = [("a",), ("a",), ("a",), ("b",), ("c",), ("d",)]
    assert chance(constant_data(backbone, test, dev, LABELS)) == 3 / 5
    unseen = [("d",), ("d",), ("a",), ("b",)]  # a label that dev has not
    assert chance(constant_data(backbone, unseen, [("a",), ("b",), ("c",)], LABELS)) == 2 / 4


def test_chance_is_measured_by_the_tasks_own_metric(backbone):
    """Always b: F1 of b is 2 * 3 / (5 + 3), of a and c 0."""
    test = [("a",), ("b",), ("b",), ("b",), ("c",)]
    dev = [("a",), ("b",), ("c",)]
    data = constant_data(backbone, test, dev, ("a", "b", "c"), "macro-F1")
    assert chance(data) == pytest.approx((0 + 6 / 8 + 0) / 3)
    assert chance(constant_data(backbone, test, dev, ("a", "b", "c"), "matthews")) == 0


def test_chance_without_labels_is_the_best_of_devs_answers_and_not_the_most_frequent(backbone):
    test = [("x",), ("y",), ("y",), ("z",), ("z",), ("z",)]
    dev = [("x",), ("x",), ("x",), ("y",), ("w",), ("v",)]
    data = constant_data(backbone, test, dev, metric="exact-match")
    assert chance(data) == 2 / 6  # y; z is not known


def test_chance_without_labels_tries_the_eight_most_frequent_answers(backbone):
    """Dev has nine answers: h comes once and last of those eight, i comes once and after it."""
    dev = [(letter,) for letter in "aabbccddeeffgghi"]
    eighth = [("h",), ("h",), ("a",), ("q",)]
    assert chance(constant_data(backbone, eighth, dev, metric="exact-match")) == 2 / 4
    ninth = [("i",), ("i",), ("a",), ("q",)]
    assert chance(constant_data(backbone, ninth, dev, metric="exact-match")) == 1 / 4


def test_chance_counts_any_accepted_answer_of_a_test_row_and_the_first_of_a_dev_row(backbone):
    test = [("p", "x"), ("q", "x"), ("r", "x", "s"), ("y",), ("y",)]
    assert chance(constant_data(backbone, test, [("x", "y")], metric="exact-match")) == 3 / 5
    assert chance(constant_data(backbone, test, [("y", "x")], metric="exact-match")) == 2 / 5
