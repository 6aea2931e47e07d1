"""Scores of generated answers: texts in, one number out, at most 1 (CrossFit's metrics, and BLEU).

Where the released scripts count something else under the same name, it is a metric of its own
(`published-F1`). Every metric takes predictions [N] and accepted answers [N][>= 1], in one order.
"""

import re
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import f1_score, matthews_corrcoef

from ipt.example import OUTSIDE, POSITIVE

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

# [N] rows, each with one accepted answer or more.
References = Sequence[Sequence[str]]
Metric = Callable[[Sequence[str], References], float]
Chunk = tuple[str, int, int]  # an entity: its kind, its first and its last word

GROUP_EM = "group-EM"


def score(
    metric: str,
    predictions: Sequence[str],
    references: References,
    groups: Sequence[str] = (),
) -> float:
    """Return the score of predictions against accepted answers.

    metric: a name of SCORERS.
    predictions: [N] generated answers.
    references: [N][>= 1] accepted answers.
    groups: [N] what counts together, for `group-EM`; none: each row is a group of its own.
    Raises ValueError on an unknown metric, on none or on another number of predictions.
    """
    if metric not in SCORERS:
        expected = ", ".join(SCORERS)
        raise ValueError(f"metric must be one of {expected}, found {metric!r}")
    if not predictions or len(predictions) != len(references):
        raise ValueError(
            f"{metric} needs one prediction per reference, "
            f"found {len(predictions)} and {len(references)}"
        )
    if metric == GROUP_EM and groups:
        return group_em(predictions, references, groups)
    return SCORERS[metric](predictions, references)


def normalise(text: str) -> str:
    """NFC, single spaces, nothing else: case and signs count, since some tasks are about them."""
    # An accent may be one sign or two: models and data files write both.
    composed = unicodedata.normalize("NFC", text)
    return " ".join(composed.split())


def accuracy(predictions: Sequence[str], references: References) -> float:
    """Share of predictions that are an accepted label, case ignored."""
    return _share_accepted(predictions, references, _label)


def macro_f1(predictions: Sequence[str], references: References) -> float:
    """F1 averaged over the labels that occur in the references; any other prediction is a miss."""
    gold = _first_labels(references)
    given = list(map(_label, predictions))
    # A label of the task that no reference has would add an F1 of 0 to the mean.
    labels = sorted(set(gold))
    f1 = f1_score(
        gold,
        given,
        labels=labels,
        average="macro",
        zero_division=0,
    )
    return float(f1)


def exact_match(predictions: Sequence[str], references: References) -> float:
    """Share of predictions equal to one of the accepted answers after `normalise`."""
    return _share_accepted(predictions, references, normalise)


def published_f1(predictions: Sequence[str], references: References) -> float:
    """F1 averaged over every text that occurs, as the released code counts it."""
    # There, each wrong answer outside the labels adds a class with 0, and neither case nor
    # spaces are ignored.
    gold = [answers[0] for answers in references]
    f1 = f1_score(
        gold,
        list(predictions),
        average="macro",
        zero_division=0,
    )
    return float(f1)


def squad_em(predictions: Sequence[str], references: References) -> float:
    """Share of predictions equal to one of the accepted answers after SQuAD's normalisation."""
    return _share_accepted(predictions, references, _normalise_squad)


def squad_f1(predictions: Sequence[str], references: References) -> float:
    """Mean over rows of the best bag-of-words F1 with an accepted answer, as SQuAD 2 counts it."""
    return _mean_of_best(predictions, references, _bag_f1)


def matthews(predictions: Sequence[str], references: References) -> float:
    """Matthews' correlation of predicted and true labels, case ignored; 0 where one is constant."""
    # scikit-learn takes any texts as classes: an answer outside the labels is one of its own.
    gold = _first_labels(references)
    given = list(map(_label, predictions))
    return float(matthews_corrcoef(gold, given))


def pearson(predictions: Sequence[str], references: References) -> float:
    """Pearson's correlation of predicted and true numbers; 0 where either is constant.

    An answer that is no number counts as 0.
    """
    rows = []
    for prediction, accepted in zip(predictions, references, strict=True):
        # A task's own outputs were checked to be numbers when it was read.
        rows.append([_number(prediction), float(accepted[0])])
    pairs = np.array(rows).T  # [2, N]

    # The range decides, and not the deviation, which rounding keeps above 0 for equal numbers.
    if not np.ptp(pairs, axis=1).all():
        return 0.0
    return float(np.corrcoef(pairs)[0, 1])


def entity_f1(predictions: Sequence[str], references: References) -> float:
    """Micro F1 of entities, kind and both ends right; 0 where no entity is right.

    As seqeval's default mode reads tags (conlleval): one that begins no entity by the letter, such
    as an I- of another kind than the tag before it, begins one all the same.
    A predicted row that is too short ends in O, one that is too long is cut.
    """
    counts = entities_by_kind(predictions, references).values()
    right = sum(hits for hits, _, _ in counts)
    if not right:
        return 0.0
    predicted = sum(found for _, found, _ in counts)
    expected = sum(there for _, _, there in counts)
    return 2 * right / (predicted + expected)


def entities_by_kind(
    predictions: Sequence[str],
    references: References,
) -> dict[str, tuple[int, int, int]]:
    """Return how many entities are right, predicted and there, by kind, as `entity_f1` counts."""
    # Between rows stands an O, so that no entity goes over their end.
    gold: list[str] = []
    given: list[str] = []
    for prediction, accepted in zip(predictions, references, strict=True):
        tags = accepted[0].split()
        gold += [*tags, OUTSIDE]
        given += [*_fitted(prediction.split(), len(tags)), OUTSIDE]
    expected = _chunks(gold)
    predicted = _chunks(given)

    right = Counter(kind for kind, _, _ in expected & predicted)
    found = Counter(kind for kind, _, _ in predicted)
    there = Counter(kind for kind, _, _ in expected)
    counts = {}
    for kind in sorted(found | there):
        counts[kind] = (right[kind], found[kind], there[kind])
    return counts


def tag_accuracy(predictions: Sequence[str], references: References) -> float:
    """Share of words whose tag is right, over all rows together."""
    right = 0
    total = 0
    for prediction, accepted in zip(predictions, references, strict=True):
        tags = accepted[0].split()
        pairs = zip(tags, prediction.split(), strict=False)
        right += sum(tag == predicted for tag, predicted in pairs)
        total += len(tags)
    return right / total


def f1a(predictions: Sequence[str], references: References) -> float:
    """F1 of the label true (or yes, 1) over all rows, as MultiRC's F1 over all answers."""
    gold = [_is_positive(accepted[0]) for accepted in references]
    given = [_is_positive(prediction) for prediction in predictions]
    return float(f1_score(gold, given, zero_division=0))


def group_em(
    predictions: Sequence[str],
    references: References,
    groups: Sequence[str] = (),
) -> float:
    """Share of groups whose rows are all right, case ignored: MultiRC's exact match of questions.

    groups: [N] names; none: each row is a group of its own.
    """
    names = groups or [str(number) for number in range(len(predictions))]
    wrong = set()
    for prediction, accepted, name in zip(predictions, references, names, strict=True):
        right = map(_label, accepted)
        if _label(prediction) not in right:
            wrong.add(name)
    count = len(set(names))
    return (count - len(wrong)) / count


def bleu(predictions: Sequence[str], references: References) -> float:
    """Corpus BLEU (sacrebleu's defaults) divided by 100.

    Signs of scripts without spaces are words of their own, as with sacrebleu's `zh`.
    """
    from sacrebleu import corpus_bleu  # late: few tasks need it

    # sacrebleu reads one column a reference; rows with fewer references have None in it.
    most = max(map(len, references))
    columns: list[Any] = []
    for position in range(most):
        column = []
        for accepted in references:
            column.append(_spaced(accepted[position]) if position < len(accepted) else None)
        columns.append(column)

    # Of the whole corpus: a mean over rows would be another measure.
    result = corpus_bleu(list(map(_spaced, predictions)), columns)
    return float(result.score / 100)


def rouge_l(predictions: Sequence[str], references: References) -> float:
    """Mean over rows of the best ROUGE-L F1 with an accepted answer (rouge-score).

    Words are split by spaces and signs, in every script, and keep their combining marks. Scripts
    without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) are compared sign
    by sign.
    """
    return float(_mean_of_best(predictions, references, _rouge_l_f1))


def _share_accepted(
    predictions: Sequence[str],
    references: References,
    normal_form: Callable[[str], str],
) -> float:
    """Return the share of predictions that equal an accepted answer in their normal form."""
    # A share and no mean of similarities: any of the accepted answers counts as one hit.
    hits = 0
    for prediction, accepted in zip(predictions, references, strict=True):
        answers = map(normal_form, accepted)
        if normal_form(prediction) in answers:
            hits += 1
    return hits / len(predictions)


def _mean_of_best(
    predictions: Sequence[str],
    references: References,
    similarity: Callable[[str, str], float],
) -> float:
    """Return the mean over rows of the highest similarity with an accepted answer.

    similarity: of a prediction and one accepted answer, from 0 to 1.
    """
    best = []
    for prediction, accepted in zip(predictions, references, strict=True):
        similarities = [similarity(prediction, answer) for answer in accepted]
        best.append(max(similarities))
    return sum(best) / len(best)


def _fitted(tags: list[str], size: int) -> list[str]:
    """Return so many tags: the rest is cut, or O where there are fewer."""
    missing = size - len(tags)
    return tags[:size] + [OUTSIDE] * missing


def entities(tags: Sequence[str]) -> list[Chunk]:
    """Return the entities of a row's tags, in their order: kind, first and last word."""
    return sorted(_chunks([*tags, OUTSIDE]), key=lambda chunk: chunk[1:])


def _chunks(tags: Sequence[str]) -> set[Chunk]:
    """Return the entities of tags that end in O.

    Source: seqeval 1.2.2, `get_entities`, `start_of_chunk`, `end_of_chunk`; it knows the ends E-
    and S- of other schemes too, and reads a bare B as an entity of kind "_".
    """
    chunks = set()
    begin = 0
    mark_before = OUTSIDE
    kind_before = ""
    for place, tag in enumerate(tags):
        mark = tag[0]
        kind = tag[1:].split("-", maxsplit=1)[-1] or "_"
        is_other = kind != kind_before

        ends = mark_before in "ES" or (mark_before in "BI" and mark in "BSO")
        if ends or (mark_before not in "O." and is_other):
            chunks.add((kind_before, begin, place - 1))
        begins = mark in "BS" or (mark in "EI" and mark_before in "ESO")
        if begins or (mark not in "O." and is_other):
            begin = place
        mark_before = mark
        kind_before = kind
    return chunks


def _is_positive(text: str) -> bool:
    return _label(text) in POSITIVE


def _label(text: str) -> str:
    """Return a text as labels are compared: case ignored."""
    return normalise(text).casefold()


def _first_labels(references: References) -> list[str]:
    """Return the label of each row; further accepted answers are for tasks without labels."""
    return [_label(accepted[0]) for accepted in references]


def _normalise_squad(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD's evaluation script)."""
    without_signs = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    # After the signs, in the script's order: "a-b" becomes the word "ab" and loses no article.
    without_articles = re.sub(r"\b(a|an|the)\b", " ", without_signs)
    return " ".join(without_articles.split())


def _bag_f1(prediction: str, reference: str) -> float:
    """Return the F1 of two bags of words; 1 where both are empty (SQuAD's version 2)."""
    predicted = Counter(_normalise_squad(prediction).split())
    expected = Counter(_normalise_squad(reference).split())
    # A word counts as often as it is in both.
    common = (predicted & expected).total()
    if common:
        return 2 * common / (predicted.total() + expected.total())
    return float(predicted == expected)


class _Words:
    """Tokenizer for rouge-score with letters of every script (its own drops all but ASCII).

    XL-Sum's scorer segments scripts without spaces by a dictionary a language; which language a
    text is in is not known here, so that single signs are compared, as is usual for Chinese
    (LCSTS, arXiv 1506.05865). Where there are spaces, both split alike.
    """

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text, case ignored."""
        # An accent may be one sign or two.
        return _word_pattern().findall(unicodedata.normalize("NFC", text.casefold()))


# Scripts without spaces between words: ranges of their signs.
UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Burmese
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"  # Chinese signs
)
# Marks that say how a sign is drawn, as of an emoji: no part of a word.
STYLE_MARKS = ("\ufe00", "\ufe0f", "\u20e3", "\U000e0100", "\U000e01ef")
JOINERS = "\u200c\u200d"  # between letters of one word, in Persian and Indic scripts


def _spaced(text: str) -> str:
    """Return a text with spaces around each sign of a script without spaces, marks included."""
    return _sign_pattern().sub(r" \g<0> ", text)


@cache
def _sign_pattern() -> re.Pattern[str]:
    # Punctuation of these scripts too.
    return re.compile(rf"[{UNSPACED}\u3000-\u303f\uff00-\uff65][{_marks()}]*")


@cache
def _word_pattern() -> re.Pattern[str]:
    follow = f"{_marks()}{JOINERS}"
    unspaced = rf"(?=\w)[{UNSPACED}][{follow}]*"
    word = rf"(?![{UNSPACED}])\w(?:(?![{UNSPACED}])[\w{follow}])*"
    return re.compile(f"{unspaced}|{word}")


@cache
def _marks() -> str:
    # `\w` has no combining marks: vowels of Hindi, accents that are signs of their own.
    marks = []
    for code in range(sys.maxunicode + 1):
        sign = chr(code)
        if unicodedata.category(sign).startswith("M") and not _is_style(sign):
            marks.append(sign)
    return "".join(marks)


def _is_style(sign: str) -> bool:
    first, last, keycap, first_more, last_more = STYLE_MARKS
    return first <= sign <= last or first_more <= sign <= last_more or sign == keycap


# Made once: a scorer sets up its tokenizer.
@cache
def _rouge_scorer() -> "RougeScorer":
    from rouge_score.rouge_scorer import RougeScorer  # late: it imports nltk

    return RougeScorer(["rougeL"], tokenizer=_Words())


def _rouge_l_f1(prediction: str, reference: str) -> float:
    scores = _rouge_scorer().score(reference, prediction)
    return scores["rougeL"].fmeasure  # type: ignore[no-any-return]


def _number(text: str) -> float:
    """Return the number that a text is; 0 where it is none."""
    try:
        number = float(text)
    except ValueError:
        return 0.0
    # One infinite answer would make the whole correlation undefined.
    return number if np.isfinite(number) else 0.0


# By the name that a task gives in `metric`.
SCORERS: dict[str, Metric] = {
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
    "entity-F1": entity_f1,
    "tag-accuracy": tag_accuracy,
    "F1a": f1a,
    GROUP_EM: group_em,
}
