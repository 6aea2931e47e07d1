"""What seen task is taken as it is: that of the nearest definition, and the best anchor of a mixture."""

from types import SimpleNamespace

import pytest
import torch

from ipt.methods.nearest import nearest_definitions
from ipt.workflows import ist


def test_the_nearest_definition_shares_the_most_words():
    seen = [
        "Translate the word into French.",
        "Say whether the review is positive.",
        "Add the two numbers.",
    ]
    asked = [
        "Add the three numbers.",
        "Is the review of the film positive?",
        "Translate the word into German.",
    ]
    assert nearest_definitions(asked, seen) == [2, 1, 0]
    # Control: it is the words that decide, not the order.
    assert nearest_definitions(asked, seen[::-1]) == [0, 1, 2]


def test_a_word_of_several_definitions_counts_less():
    """Each shares one word of two: were all alike, the first would be taken."""
    assert nearest_definitions(["the verb"], ["the noun", "the name", "verb form"]) == [2]
    # Control: where each word is of one definition, it is.
    assert nearest_definitions(["the verb"], ["the noun", "a name", "verb form"]) == [0]


def test_of_definitions_as_near_the_first_is_taken():
    alike = ["Sort the words.", "Sort the words.", "Count the letters."]
    assert nearest_definitions(["Sort these words."], alike) == [0]
    assert nearest_definitions(["Sort these words."], alike[::-1]) == [1]
    # Without a common word all are as far.
    assert nearest_definitions(["xyz"], alike) == [0]


def test_signs_and_single_letters_are_words():
    seen = ["Compute a + b", "Compute a - b", "Compute a * c"]
    asked = ["c - d", "c + d", "x * y"]
    assert nearest_definitions(asked, seen) == [1, 0, 2]
    assert nearest_definitions(["write c"], seen) == [2]


def test_definitions_without_words_are_refused():
    with pytest.raises(ValueError, match="empty vocabulary"):
        nearest_definitions(["a"], ["", " "])


@pytest.mark.parametrize("lost", ["seen", "unseen", None])
def test_where_a_task_has_no_definition_none_is_nearest(lost, monkeypatch):
    bank = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    monkeypatch.setattr(ist, "tuned_deltas", lambda experiment, names, data_seed: bank)
    named = lambda text: SimpleNamespace(definition=text)
    seen = [named("Sort the words."), named("" if lost == "seen" else "Add the numbers.")]
    asked = ["Add two numbers.", "" if lost == "unseen" else "Sort two words."]
    data = [SimpleNamespace(task=named(text)) for text in asked]
    experiment = SimpleNamespace(seen=["a", "b"], tasks_named=lambda names: seen)
    found = ist.nearest_seen(experiment, data)
    if lost:
        assert found is None
    else:
        assert torch.equal(found, bank.flip(0))


def test_the_best_seen_anchor_is_the_first_that_is_no_mean():
    one_hot = torch.eye(3)
    mean = torch.full((3,), 1 / 3)
    anchors = torch.stack(
        [
            torch.stack([mean, one_hot[2], one_hot[0]]),
            torch.stack([one_hot[1], mean, one_hot[0]]),
            torch.stack([one_hot[0], one_hot[1], mean]),
        ]
    )
    assert torch.equal(ist.best_seen(anchors), one_hot[[2, 1, 0]])
    # The mean of one seen task is that task's.
    alone = torch.ones(1, 2, 1)
    assert torch.equal(ist.best_seen(alone), torch.ones(1, 1))
    assert ist.best_seen(anchors[:0]).shape == (0, 3)
