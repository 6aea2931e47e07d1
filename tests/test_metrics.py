"""Every metric against its independent definition: another package's, or worked examples."""

import math

import pytest
import sacrebleu
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_selection import r_regression
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from ipt.data import METRICS
from ipt.metrics import SCORERS, score

GOLD = ["yes", "no", "no", "maybe", "yes", "no", "maybe", "no"]
SAID = ["yes", "no", "yes", "maybe", "no", "no", "no", "no"]
ONE_EACH = [(label,) for label in GOLD]

# sacrebleu's README: two systems' lines with two references each
SYSTEM = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]
REFERENCES = [
    ("The dog bit the man.", "The dog had bit the man."),
    ("It was not unexpected.", "No one was surprised."),
    ("The man bit him first.", "The man had bitten the dog."),
]


def test_the_schema_and_the_scorers_name_the_same_metrics():
    assert set(METRICS) == set(SCORERS)


def test_labels_are_scored_as_scikit_learn_does():
    assert score("accuracy", SAID, ONE_EACH) == pytest.approx(accuracy_score(GOLD, SAID))
    assert score("macro-F1", SAID, ONE_EACH) == pytest.approx(f1_score(GOLD, SAID, average="macro"))
    assert score("matthews", SAID, ONE_EACH) == pytest.approx(matthews_corrcoef(GOLD, SAID))
    assert score("matthews", ["yes"] * 8, ONE_EACH) == 0
    assert (
        score("accuracy", ["YES", "No "], [("yes",), ("no",)]) == 1
    )  # as CrossFit, case does not count


def test_an_answer_outside_the_labels_is_a_miss_and_in_the_published_metric_a_class():
    gold, said = [("a",), ("a",), ("b",), ("b",)], ["a", "a", "b", "what"]
    assert score("macro-F1", said, gold) == pytest.approx((1 + 2 / 3) / 2)
    assert score("published-F1", said, gold) == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert score("published-F1", said, gold) == pytest.approx(
        f1_score([g for (g,) in gold], said, average="macro", zero_division=0)
    )


def test_exact_match_keeps_case_and_signs_and_squad_does_not():
    assert score("exact-match", ["Two  Words", "x"], [("Two Words",), ("y", "x")]) == 1
    assert score("exact-match", ["two words"], [("Two Words",)]) == 0
    assert score("squad-EM", ["the two words!"], [("Two Words",)]) == 1
    assert score("squad-EM", ["two word"], [("Two Words",)]) == 0


@pytest.mark.parametrize(
    ("said", "accepted", "expected"),
    # After Rajpurkar et al. 2016: the overlap of bags, articles and punctuation dropped.
    [
        ("the Denver Broncos", ("Denver Broncos",), 1.0),
        ("Broncos", ("Denver Broncos",), 2 / 3),
        ("in Denver, Colorado", ("Denver", "Colorado state"), 0.5),
        ("cat cat", ("cat",), 2 / 3),
        ("Boston", ("Denver",), 0.0),
        ("", ("Denver",), 0.0),
    ],
)
def test_squad_f1(said, accepted, expected):
    assert score("squad-F1", [said], [accepted]) == pytest.approx(expected)


def test_rouge_l_is_rouge_scores_and_takes_the_best_reference():
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    expected = [
        max(scorer.score(r, said)["rougeL"].fmeasure for r in accepted)
        for said, accepted in zip(SYSTEM, REFERENCES, strict=True)
    ]
    assert score("rouge-L", SYSTEM, REFERENCES) == pytest.approx(sum(expected) / 3)
    assert score("rouge-L", ["le château bleu"], [("le château",)]) == pytest.approx(
        0.8
    )  # rouge-score itself would drop the â


def test_bleu_is_sacrebleus():
    columns = [[r[0] for r in REFERENCES], [r[1] for r in REFERENCES]]
    assert score("bleu", SYSTEM, REFERENCES) == pytest.approx(
        sacrebleu.corpus_bleu(SYSTEM, columns).score / 100
    )
    assert sacrebleu.corpus_bleu(SYSTEM, columns).score == pytest.approx(
        48.53, abs=0.01
    )  # the figure of its README
    ragged = [REFERENCES[0], REFERENCES[1][:1], REFERENCES[2]]
    assert 0 < score("bleu", SYSTEM, ragged) <= score("bleu", SYSTEM, REFERENCES)


def test_pearson_is_scikit_learns_and_a_text_that_is_no_number_counts_as_zero():
    gold, said = ["1", "2", "3", "5"], ["1", "3", "2", "4"]
    pairs = [(g,) for g in gold]
    assert score("pearson", said, pairs) == pytest.approx(
        r_regression([[1], [3], [2], [4]], [1, 2, 3, 5])[0]
    )
    assert score("pearson", ["1", "3", "two", "4"], pairs) == pytest.approx(
        r_regression([[1], [3], [0], [4]], [1, 2, 3, 5])[0]
    )
    assert score("pearson", ["3"] * 4, pairs) == 0
    assert not math.isnan(score("pearson", ["nan", "inf", "1", "2"], pairs))


def test_a_wrong_call_is_told():
    with pytest.raises(ValueError, match="metric must be one of"):
        score("blue", ["a"], [("a",)])
    with pytest.raises(ValueError, match="one prediction per reference"):
        score("accuracy", [], [])
