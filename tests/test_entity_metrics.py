"""Metrics of tags, spans and groups: equal to seqeval and torchmetrics on random cases."""

import random
import warnings

import pytest
from sklearn.metrics import f1_score

from ipt.metrics import entity_f1, group_em, score, squad_em, squad_f1, tag_accuracy

TAGS = ("O", "O", "B-A", "I-A", "B-B", "I-B")
ODD_TAGS = (*TAGS, "E-A", "S-B", "B", "I", "A", "B-A-x", "I-A-x", "L-A", ".", "B-O", "-A", "E")
WORDS = ("the", "a", "Paris", "paris,", "of", "river", "an", "-", "river.", "The")


def rows_of(rng, tags, count):
    rows = []
    for _ in range(count):
        size = rng.randint(1, 7)
        rows.append([rng.choice(tags) for _ in range(size)])
    return rows


def changed(rng, row, tags):
    """Return a row with some other tags: predictions that are often right."""
    return [rng.choice(tags) if rng.random() < 0.3 else tag for tag in row]


def ours(gold, given):
    return entity_f1([" ".join(row) for row in given], [(" ".join(row),) for row in gold])


@pytest.mark.parametrize("tags", [TAGS, ODD_TAGS], ids=["B and I in any order", "any tags"])
def test_entity_f1_is_that_of_seqeval(tags):
    seqeval = pytest.importorskip("seqeval.metrics", reason='needs the extra "test"')
    rng = random.Random(7)
    values = set()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(400):
            gold = rows_of(rng, tags, rng.randint(1, 5))
            given = [changed(rng, row, tags) for row in gold]
            wanted = float(seqeval.f1_score(gold, given))
            assert ours(gold, given) == pytest.approx(wanted, abs=1e-12)
            values.add(round(wanted, 6))
    assert len(values) > 20  # the cases differ


def test_entity_f1_by_hand():
    gold = ["B-PER I-PER O B-LOC"]
    accepted = [tuple(gold)]
    assert entity_f1(gold, accepted) == 1
    # Half an entity is none: one of two right, two said.
    assert entity_f1(["B-PER O O B-LOC"], accepted) == 0.5
    # Another kind at the same place.
    assert entity_f1(["B-LOC I-LOC O B-LOC"], accepted) == 0.5
    # An I- alone begins an entity, and no entity goes over the end of a row.
    assert entity_f1(["I-PER I-PER O I-LOC"], accepted) == 1
    assert entity_f1(["B-PER", "I-PER"], [("B-PER",), ("B-PER",)]) == 1
    assert entity_f1(["O O O O"], accepted) == 0


def test_rows_of_another_length_are_cut_or_filled():
    accepted = [("B-A O B-A",)]
    assert entity_f1(["B-A O B-A I-A B-B"], accepted) == 1
    assert entity_f1(["B-A"], accepted) == pytest.approx(2 / 3)
    assert entity_f1([""], accepted) == 0
    assert tag_accuracy(["B-A O B-A O O"], accepted) == 1
    assert tag_accuracy(["B-A"], accepted) == pytest.approx(1 / 3)


def test_tag_accuracy_counts_words_and_not_rows():
    accepted = [("N",), ("N V N",)]
    assert tag_accuracy(["V", "N V N"], accepted) == 0.75


def text_of(rng, most=5):
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(0, most)))


def test_squad_scores_are_those_of_torchmetrics():
    squad = pytest.importorskip(
        "torchmetrics.functional.text", reason='needs the extra "test"'
    ).squad
    rng = random.Random(3)
    values = set()
    for _ in range(300):
        predictions = []
        references = []
        for number in range(rng.randint(1, 4)):
            accepted = tuple(text_of(rng) for _ in range(rng.randint(1, 3)))
            # A question that cannot be answered has the empty answer alone.
            accepted = ("",) if rng.random() < 0.2 else accepted
            said = rng.choice(accepted) if rng.random() < 0.4 else text_of(rng)
            predictions.append({"prediction_text": said, "id": str(number)})
            answers = {"answer_start": [0] * len(accepted), "text": list(accepted)}
            references.append({"answers": answers, "id": str(number)})
        wanted = squad(predictions, references)
        said = [row["prediction_text"] for row in predictions]
        accepted = [row["answers"]["text"] for row in references]
        found = (squad_em(said, accepted), squad_f1(said, accepted))
        assert found[0] == pytest.approx(float(wanted["exact_match"]) / 100, abs=1e-7)
        assert found[1] == pytest.approx(float(wanted["f1"]) / 100, abs=1e-7)
        values.add(round(found[1], 6))
    assert len(values) > 20


@pytest.mark.parametrize("metric", ["squad-EM", "squad-F1"])
def test_the_empty_answer_is_right_where_there_is_none(metric):
    assert score(metric, [""], [("",)]) == 1
    assert score(metric, ["Paris"], [("",)]) == 0
    assert score(metric, [""], [("Paris",)]) == 0


def test_f1a_is_the_f1_of_the_right_answers():
    rng = random.Random(5)
    for yes, no in (("true", "false"), ("Yes", "no"), ("1", "0")):
        gold = [rng.choice((yes, no)) for _ in range(40)]
        given = [rng.choice((yes, no, yes.upper(), "else")) for _ in range(40)]
        wanted = f1_score(
            [text == yes for text in gold],
            [text.lower() == yes.lower() for text in given],
        )
        found = score("F1a", given, [(text,) for text in gold])
        assert found == pytest.approx(float(wanted), abs=1e-12)


def test_a_group_is_right_where_all_of_its_rows_are():
    accepted = [("true",), ("false",), ("true",), ("true",)]
    said = ["true", "true", "True", "true"]
    # Rows of a group need not stand together.
    assert score("group-EM", said, accepted, ["a", "a", "b", "b"]) == 0.5
    assert score("group-EM", said, accepted, ["a", "b", "a", "b"]) == 0.5
    assert score("group-EM", said, accepted, ["a", "b", "c", "c"]) == pytest.approx(2 / 3)
    assert group_em(said, accepted) == 0.75  # each a group of its own


@pytest.mark.parametrize("metric", ["accuracy", "macro-F1", "entity-F1"])
def test_groups_change_no_other_metric(metric):
    accepted = [("B-A",), ("O",)]
    said = ["B-A", "B-A"]
    assert score(metric, said, accepted, ["a", "a"]) == score(metric, said, accepted)
