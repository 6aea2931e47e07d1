"""Scores of generated answers: texts in, one number in [0, 1] out (the metrics of CrossFit that the embedded tasks use)."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

from sklearn.metrics import f1_score

References = Sequence[Sequence[str]]


def score(metric: str, predictions: Sequence[str], references: References) -> float:
    """Return the mean score of predictions [N] against accepted answers [N][>=1]; raise ValueError on an unknown metric."""
    if metric not in SCORERS:
        raise ValueError(f"metric must be one of {', '.join(SCORERS)}, found {metric!r}")
    if len(predictions) != len(references) or not predictions:
        raise ValueError(f"{metric} needs one prediction per reference, found {len(predictions)} and {len(references)}")
    return SCORERS[metric](predictions, references)


def normalise(text: str) -> str:
    """NFC, single spaces, nothing else: case and signs count, since some tasks are about them."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def accuracy(predictions: Sequence[str], references: References) -> float:
    """Share of predictions that are an accepted label, case ignored."""
    hits = [_plain(p) in map(_plain, accepted) for p, accepted in zip(predictions, references, strict=True)]
    return sum(hits) / len(hits)


def macro_f1(predictions: Sequence[str], references: References) -> float:
    """F1 averaged over the labels that occur in the references; any other prediction is a miss."""
    gold = [_plain(accepted[0]) for accepted in references]
    labels = sorted(set(gold))
    return float(f1_score(gold, [_plain(p) for p in predictions], labels=labels, average="macro", zero_division=0))


def exact_match(predictions: Sequence[str], references: References) -> float:
    """Share of predictions equal to one of the accepted answers after `normalise`."""
    hits = [normalise(p) in map(normalise, accepted) for p, accepted in zip(predictions, references, strict=True)]
    return sum(hits) / len(hits)


def token_f1(predictions: Sequence[str], references: References) -> float:
    """Mean over rows of the best bag-of-words F1 with an accepted answer (SQuAD's F1)."""
    best = [max(_bag_f1(p, r) for r in accepted) for p, accepted in zip(predictions, references, strict=True)]
    return sum(best) / len(best)


def rouge_l(predictions: Sequence[str], references: References) -> float:
    """Mean over rows of the best ROUGE-L F1 with an accepted answer (rouge-score, words split by spaces and signs)."""
    scorer = _rouge()
    pairs = zip(predictions, references, strict=True)
    best = [max(scorer.score(r, p)["rougeL"].fmeasure for r in accepted) for p, accepted in pairs]
    return float(sum(best) / len(best))


class _Words:
    """Tokenizer for rouge-score that keeps letters of every script (its own drops all but ASCII)."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.casefold())


@cache
def _rouge():  # type: ignore[no-untyped-def]
    from rouge_score.rouge_scorer import RougeScorer  # late: it imports nltk

    return RougeScorer(["rougeL"], tokenizer=_Words())


def _plain(text: str) -> str:
    return normalise(text).casefold()


def _bag_f1(prediction: str, reference: str) -> float:
    a, b = Counter(_plain(prediction).split()), Counter(_plain(reference).split())
    common = (a & b).total()
    return 2 * common / (a.total() + b.total()) if common else float(a == b)


SCORERS: dict[str, Callable[[Sequence[str], References], float]] = {
    "accuracy": accuracy,
    "macro-F1": macro_f1,
    "exact-match": exact_match,
    "token-F1": token_f1,
    "rouge-L": rouge_l,
}
