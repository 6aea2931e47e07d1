"""Every metric on worked examples: what counts as the same answer, and each number on paper."""

import math
import random

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn.metrics import f1_score, matthews_corrcoef

from ipt.data import METRICS
from ipt.metrics import SCORERS, normalise, score

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def one(metric: str, said: str, *accepted: str) -> float:
    return score(metric, [said], [accepted])


def test_normalise_joins_signs_and_spaces_and_keeps_the_rest():
    assert normalise(f"  A\t{DECOMPOSED} \n b.  ") == f"A {COMPOSED} b."


@pytest.mark.parametrize(
    ("said", "accepted", "accuracy", "exact", "squad"),
    [
        ("yes", "yes", 1, 1, 1),
        ("YES", "yes", 1, 0, 1),
        ("stra\u00dfe", "STRASSE", 1, 0, 0),  # lower case, as SQuAD has it, keeps the sharp s
        (DECOMPOSED, COMPOSED, 1, 1, 0),
        (COMPOSED, DECOMPOSED, 1, 1, 0),
        ("x\u00b2", "x2", 0, 0, 0),  # another sign, and not another way to write it
        (" two\n words ", "two  words", 1, 1, 1),
        ("twowords", "two words", 0, 0, 0),
        ("yes.", "yes", 0, 0, 1),
        ("well-known", "wellknown", 0, 0, 1),
        ("the yes", "yes", 0, 0, 1),
        ("a, yes an the", "yes", 0, 0, 1),
        ("theatre", "atre", 0, 0, 0),
        ("10", "1", 0, 0, 0),
        ("banana", "banna", 0, 0, 0),
        ("cat a dog", "catdog", 0, 0, 0),
        ("", "yes", 0, 0, 0),
        ("", "the", 0, 0, 1),
    ],
)
def test_which_answers_are_the_same(said, accepted, accuracy, exact, squad):
    assert one("accuracy", said, accepted) == accuracy
    assert one("exact-match", said, accepted) == exact
    assert one("squad-EM", said, accepted) == squad


@pytest.mark.parametrize("metric", ["accuracy", "exact-match", "squad-EM", "squad-F1", "rouge-L"])
def test_any_accepted_answer_will_do_and_rows_are_averaged(metric):
    gold = [("one", "uno"), ("two", "dos"), ("three", "tres"), ("four", "cuatro")]
    assert score(metric, ["one", "dos", "tres", "one"], gold) == 0.75
    assert score(metric, ["uno", "tres", "dos", "one"], gold) == 0.25  # control: of its own row


@pytest.mark.parametrize("metric", ["squad-F1", "rouge-L"])
def test_the_best_accepted_answer_counts_wherever_it_stands(metric):
    accepted = ("red fox runs fast", "red fox", "owl")
    for turned in (accepted, accepted[::-1], accepted[1:] + accepted[:1]):
        assert one(metric, "red fox sleeps", *turned) == pytest.approx(2 * 2 / (3 + 2))


def test_labels_are_the_first_accepted_answers():
    """Said a, b, b, a against a, b, b, b: an a is right, one too many; two b are right."""
    gold, said = [("a", "b"), ("b",), ("b", "a"), ("b",)], ["a", "b", "b", "a"]
    assert score("macro-F1", said, gold) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert score("published-F1", said, gold) == pytest.approx((2 / 3 + 4 / 5) / 2)
    correlation = (1 * 2 - 1 * 0) / math.sqrt(2 * 1 * 2 * 3)
    assert score("matthews", said, gold) == pytest.approx(correlation)
    assert score("accuracy", ["b", "b", "a", "b"], gold) == 1  # control: there any accepted one is


def test_macro_f1_by_hand():
    gold = [("a",), ("a",), ("b",), ("c",)]
    assert score("macro-F1", ["a"] * 4, gold) == pytest.approx((2 * 2 / (2 * 2 + 2) + 0 + 0) / 3)
    assert score("macro-F1", ["A ", "z", "B", "y"], gold) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert score("macro-F1", ["z", "z", "z", "z"], gold) == 0


def test_macro_f1_weighs_labels_alike_however_rare():
    gold = [("a",)] * 9 + [("b",)]
    said = ["a"] * 10
    assert score("macro-F1", said, gold) == pytest.approx((18 / 19 + 0) / 2)
    assert score("accuracy", said, gold) == 0.9  # control


def test_the_published_f1_takes_texts_as_they_are():
    gold = [("yes",), ("yes",), ("no",), ("no",)]
    said = ["yes", "Yes", "no", "no"]
    assert score("published-F1", said, gold) == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert score("macro-F1", said, gold) == 1  # control
    loud = [("Yes",), ("Yes",), ("NO",)]
    assert score("published-F1", ["Yes", "yes", "NO"], loud) == pytest.approx((2 / 3 + 0 + 1) / 3)
    said = ["yes ", "no", "no", ""]
    plain = [accepted[0] for accepted in gold]
    assert score("published-F1", said, gold) == pytest.approx((0 + 0 + 0 + 0.5) / 4)
    expected = f1_score(plain, said, average="macro", zero_division=0)
    assert score("published-F1", said, gold) == pytest.approx(expected)
    assert score("published-F1", ["x"] * 4, gold) == 0


@pytest.mark.parametrize(
    ("said", "accepted", "expected"),
    [
        ("red red fox", "red fox fox", 2 * 2 / 6),  # bags: red and fox once each
        ("The Red, fox!", "a red-hot fox", 2 * 1 / 4),
        ("the", "a", 1.0),  # nothing is left of either
        ("the", "fox", 0.0),
        ("fox red", "red fox", 1.0),
        ("one two three four", "four", 2 * 1 / 5),
    ],
)
def test_squad_f1_by_hand(said, accepted, expected):
    assert one("squad-F1", said, accepted) == pytest.approx(expected)


def test_squad_f1_is_the_mean_over_rows():
    gold = [("red fox",), ("owl",), ("grey owl", "owl")]
    assert score("squad-F1", ["fox", "fox", "the owl"], gold) == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_matthews_by_hand():
    gold = [("y",)] * 4 + [("n",)] * 6
    said = ["y", "y", "y", "n", "n", "n", "n", "n", "y", "y"]  # 3 and 1, 4 and 2
    expected = (3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5)
    assert score("matthews", said, gold) == pytest.approx(expected)
    opposite = ["n" if text == "y" else "y" for text in said]
    assert score("matthews", opposite, gold) == pytest.approx(-10 / math.sqrt(600))
    shouted = [f" {text.upper()}" for text in said]
    assert score("matthews", shouted, gold) == score("matthews", said, gold)


def test_matthews_of_a_constant_is_zero_and_an_answer_outside_the_labels_counts():
    assert score("matthews", ["y", "n"], [("y",), ("y",)]) == 0
    assert score("matthews", ["y", "y"], [("y",), ("n",)]) == 0
    gold, said = ["y", "y", "n", "n"], ["y", "what", "n", "n"]
    pairs = [(label,) for label in gold]
    assert score("matthews", said, pairs) == pytest.approx(matthews_corrcoef(gold, said))
    assert 0 < score("matthews", said, pairs) < 1


def test_pearson_by_hand():
    """Gold 1, 2, 6 (deviations -2, -1, 3) and said 1, 4, 4 (-2, 1, 1)."""
    gold = [("1", "9"), ("2",), ("6",)]
    expected = (4 - 1 + 3) / math.sqrt((4 + 1 + 9) * (4 + 1 + 1))
    assert score("pearson", ["1", "4", "4.0"], gold) == pytest.approx(expected)
    assert score("pearson", ["-1", " -4 ", "-4e0"], gold) == pytest.approx(-expected)
    assert score("pearson", ["11", "14", "14"], gold) == pytest.approx(expected)


@pytest.mark.parametrize("none", ["", "four", "nan", "inf", "-inf", "1e999", "3 or 4"])
def test_an_answer_that_is_no_number_counts_as_zero(none):
    gold = [("1",), ("2",), ("6",)]
    found = score("pearson", ["1", none, "4"], gold)
    assert found == pytest.approx(score("pearson", ["1", "0", "4"], gold))
    assert found != pytest.approx(score("pearson", ["1", "1", "4"], gold))  # control


def test_a_constant_has_no_correlation():
    gold = [("1",), ("2",), ("6",)]
    assert score("pearson", ["7"] * 3, gold) == 0
    assert score("pearson", ["no"] * 3, gold) == 0
    assert score("pearson", ["1", "2", "6"], [("5",)] * 3) == 0
    assert score("pearson", ["3", "4", "8"], gold) == pytest.approx(1)  # control


def test_constants_that_binary_cannot_write_have_no_correlation_either():
    """The mean of three times 0.1 is not quite 0.1 in binary, so the deviation is not quite 0."""
    assert score("pearson", ["0.1"] * 3, [("0.1",)] * 3) == 0
    assert score("pearson", ["0.1"] * 3, [("1",), ("2",), ("4",)]) == 0


def test_bleu_is_of_the_whole_corpus_and_at_most_one():
    said = ["the cat sat on the mat today", "a dog ran"]
    gold = [("the cat sat on the mat",), ("a dog ran away from home",)]
    expected = sacrebleu.corpus_bleu(said, [[accepted[0] for accepted in gold]]).score / 100
    assert score("bleu", said, gold) == pytest.approx(expected)
    alone = [one("bleu", text, *accepted) for text, accepted in zip(said, gold, strict=True)]
    assert abs(sum(alone) / 2 - expected) > 0.05  # control: not a mean over rows
    assert score("bleu", [accepted[0] for accepted in gold], gold) == pytest.approx(1)


def test_bleu_reads_every_reference_of_rows_with_fewer_and_more():
    gold = [
        ("the cat sat on the mat",),
        ("it rains a lot today", "the dog ran far away now"),
        ("x y z", "u v w", "we all went home at night"),
    ]
    best = [accepted[-1] for accepted in gold]
    assert score("bleu", best, gold) == pytest.approx(1)
    for row in (1, 2):
        shorter = [accepted[:-1] if i == row else accepted for i, accepted in enumerate(gold)]
        assert score("bleu", best, shorter) < 0.9  # control: the last reference was read
    columns = [
        [gold[0][0], gold[1][0], gold[2][0]],
        [None, gold[1][1], gold[2][1]],
        [None, None, gold[2][2]],
    ]
    said = ["the cat sat on a mat", "the dog ran home", "we went home at night"]
    expected = sacrebleu.corpus_bleu(said, columns).score / 100
    assert score("bleu", said, gold) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "accepted", "expected"),
    [
        ("a b c d", "a c d e f", 2 * 3 / (4 + 5)),  # a, c, d in order
        ("b a", "a b", 0.5),  # the order counts
        ("Red FOX", "red fox", 1.0),
        ("red-fox!", "red fox", 1.0),
        ("dogs", "dog", 0.0),  # no stems
        ("", "dog", 0.0),
        ("...", "dog", 0.0),
        ("\u043d\u043e\u0432\u044b\u0439 \u043c\u0438\u0440", "\u043c\u0438\u0440", 2 / 3),
        ("stra\u00dfe", "STRASSE", 1.0),
    ],
)
def test_rouge_l_by_hand(said, accepted, expected):
    assert one("rouge-L", said, accepted) == pytest.approx(expected)


def test_rouge_l_is_the_mean_over_rows_and_rouge_scores():
    said = ["the quick brown fox", "jumps over dogs", "x"]
    gold = [("the brown fox", "a fox"), ("over the dogs",), ("y",)]
    assert score("rouge-L", said, gold) == pytest.approx((6 / 7 + 4 / 6 + 0) / 3)
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    assert scorer.score("the brown fox", said[0])["rougeL"].fmeasure == pytest.approx(6 / 7)


def test_a_wrong_metric_is_told_with_those_there_are():
    with pytest.raises(ValueError) as told:
        score("blue", ["a"], [("a",)])
    known, found = str(told.value).removeprefix("metric must be one of ").split(", found ")
    assert sorted(known.split(", ")) == sorted(METRICS) and found == "'blue'"


@pytest.mark.parametrize(("said", "gold"), [(2, 1), (1, 2), (0, 0), (0, 1)])
def test_as_many_answers_as_references_are_needed_and_one_at_least(said, gold):
    wanted = f"^accuracy needs one prediction per reference, found {said} and {gold}$"
    with pytest.raises(ValueError, match=wanted):
        score("accuracy", ["a"] * said, [("a",)] * gold)


@pytest.mark.parametrize("metric", sorted(set(METRICS) - {"bleu"}))
def test_no_metric_of_its_own_drops_answers_or_references(metric):
    for said, gold in ((["1"], [("1",), ("2",)]), (["1", "2"], [("1",)])):
        with pytest.raises(ValueError, match="argument|inconsistent"):
            SCORERS[metric](said, gold)


@pytest.mark.parametrize("metric", METRICS)
def test_true_answers_score_one_as_a_plain_float(metric):
    gold = [("1",), ("2",), ("2",), ("4",)]
    if metric == "bleu":
        gold = [("1 2 3 4 5",), ("5 6 7 8",)]
    if metric == "entity-F1":
        gold = [("B-1",), ("B-2",), ("B-2",), ("B-4",)]
    found = score(metric, [accepted[0] for accepted in gold], gold)
    assert found == pytest.approx(1) and type(found) is float
    wrong = ["2", "O", "4", "2"][: len(gold)]
    assert score(metric, wrong, gold) < 0.5  # control


texts = st.sampled_from(["1", "2", "3", "4 2", "1 3", "2.5", "the 3", ""])
rows = st.lists(st.tuples(texts, st.sampled_from(["1", "2", "3"])), min_size=2, max_size=9)


@pytest.mark.parametrize("metric", METRICS)
@given(pairs=rows, order=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_changes_no_score(metric, pairs, order):
    turned = random.Random(order).sample(pairs, len(pairs))
    found = []
    for each in (pairs, turned):
        said = [text for text, _ in each]
        gold = [(label,) for _, label in each]
        found.append(score(metric, said, gold))
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_a_word_counts_as_often_as_it_is_in_both():
    """Two of three words are common, also where both are the same word."""
    assert score("squad-F1", ["dog dog cat"], [["dog dog bird"]]) == pytest.approx(2 / 3)
    assert score("squad-F1", ["dog dog dog"], [["dog bird tree"]]) == pytest.approx(
        1 / 3
    )  # control
