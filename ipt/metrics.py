"""Scores of generated answers: texts in, one number out, at most 1 (CrossFit's metrics, and BLEU).

Where the released scripts count something else under the same name, it is a metric of its own (`published-F1`).
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, matthews_corrcoef

References = Sequence[Sequence[str]]


def score(metric: str, predictions: Sequence[str], references: References) -> float:
    """Return the score of predictions [N] against accepted answers [N][>=1]; raise ValueError on an unknown metric."""
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


def published_f1(predictions: Sequence[str], references: References) -> float:
    """F1 averaged over every text that occurs, so that each wrong answer outside the labels adds a class with 0 (released code)."""
    gold = [accepted[0] for accepted in references]
    return float(f1_score(gold, list(predictions), average="macro", zero_division=0))


def squad_em(predictions: Sequence[str], references: References) -> float:
    """Share of predictions equal to one of the accepted answers after SQuAD's normalisation."""
    hits = [_squad(p) in map(_squad, accepted) for p, accepted in zip(predictions, references, strict=True)]
    return sum(hits) / len(hits)


def squad_f1(predictions: Sequence[str], references: References) -> float:
    """Mean over rows of the best bag-of-words F1 with an accepted answer after SQuAD's normalisation (its version 2)."""
    best = [max(_bag_f1(p, r) for r in accepted) for p, accepted in zip(predictions, references, strict=True)]
    return sum(best) / len(best)


def matthews(predictions: Sequence[str], references: References) -> float:
    """Matthews' correlation of predicted and true labels, case ignored; 0 where either is constant."""
    return float(matthews_corrcoef([_plain(accepted[0]) for accepted in references], [_plain(p) for p in predictions]))


def pearson(predictions: Sequence[str], references: References) -> float:
    """Pearson's correlation of predicted and true numbers; an answer that is no number counts as 0, a constant has none: 0."""
    pairs = np.array([[_number(p), float(accepted[0])] for p, accepted in zip(predictions, references, strict=True)]).T
    return float(np.corrcoef(pairs)[0, 1]) if np.ptp(pairs, 1).all() else 0.0


def bleu(predictions: Sequence[str], references: References) -> float:
    """Corpus BLEU (sacrebleu's defaults) divided by 100."""
    from sacrebleu import corpus_bleu  # late: few need it

    most = max(map(len, references))
    columns: list[Any] = [[accepted[i] if i < len(accepted) else None for accepted in references] for i in range(most)]
    return float(corpus_bleu(list(predictions), columns).score / 100)


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


def _squad(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD's evaluation script)."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def _bag_f1(prediction: str, reference: str) -> float:
    a, b = Counter(_squad(prediction).split()), Counter(_squad(reference).split())
    common = (a & b).total()
    return 2 * common / (a.total() + b.total()) if common else float(a == b)


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        return 0.0
    return found if np.isfinite(found) else 0.0


SCORERS: dict[str, Callable[[Sequence[str], References], float]] = {
    "accuracy": accuracy,
    "macro-F1": macro_f1,
    "exact-match": exact_match,
    "rouge-L": rouge_l,
    "squad-EM": squad_em,
    "squad-F1": squad_f1,
    "matthews": matthews,
    "pearson": pearson,
    "bleu": bleu,
    "published-F1": published_f1,
}
