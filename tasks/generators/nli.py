"""Inference over everyday facts, syllogisms and truth values.

A premise and a hypothesis stand with a bar between them. Source: own frames, filled with the lists
of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import ge, gt, le, lt
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.extraction import NUMBER_WORDS, SOURCE, WEEK
from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.reading import ROOMS
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.scenes import JOBS, actions, activities, draw_person, things
from ipt.tasks.generators.vocabulary import read_vocabulary

VOCABULARY = read_vocabulary("nli")
ENTAILMENT, CONTRADICTION, NEUTRAL = VERDICTS = ("entailment", "contradiction", "neutral")
SYLLOGISMS: dict[str, list[str]] = VOCABULARY["syllogisms"]
HOURS = range(1, 13)


class Bound(NamedTuple):
    """Words for a limit, and whether a count keeps it."""

    words: str
    holds: Callable[[int, int], bool]


BOUNDS = (
    Bound("more than", gt),
    Bound("fewer than", lt),
    Bound("at least", ge),
    Bound("at most", le),
)


class Proposition(NamedTuple):
    """A logical expression and its truth value."""

    text: str
    value: bool


@dataclass(frozen=True)
class Inference:
    """Premise and hypothesis with the verdict."""

    premise: str
    hypothesis: str
    verdict: str

    @property
    def text(self) -> str:
        """Write both with a bar between them."""
        return f"{self.premise} | {self.hypothesis}"


def plural(job: str) -> str:
    """Return the plural of a job by the rules of spelling; all jobs of the list are regular."""
    if job.endswith(("ch", "sh", "s", "x")):
        return f"{job}es"
    if job.endswith("y"):
        return f"{job[:-1]}ies"
    return f"{job}s"


def draw_quantity(rng: Random) -> Row:
    """Draw an exact number and a claim about its limit."""
    kind = rng.choice(things()).plural
    count = rng.randint(2, 60)
    # Never equal: there "at least" and "at most" would both hold.
    limit = max(1, count + rng.choice((-1, 1)) * rng.randint(1, 15))
    bound = rng.choice(BOUNDS)
    name = draw_person(rng).text
    frame = rng.choice(VOCABULARY["counted"])

    premise = frame.format(name=name, count=count, things=kind)
    claim = frame.format(name=name, count=f"{bound.words} {limit}", things=kind)
    verdict = ENTAILMENT if bound.holds(count, limit) else CONTRADICTION
    return Row(f"{premise} | {claim}", (verdict,))


def draw_everyday(rng: Random) -> Inference | None:
    """Draw what somebody did on a day, and a sentence that follows, clashes or leaves it open."""
    # The verdict is drawn first: all three are equally common.
    verdict = rng.choice(VERDICTS)
    action = rng.choice(actions())
    thing, other_thing = rng.sample(action.objects, 2)
    name, other = draw_person(rng).text, draw_person(rng).text
    if name == other:
        return None

    fillers = {
        "name": name,
        "other": other,
        "past": action.verb.past,
        "participle": action.verb.participle,
        "lemma": action.verb.lemma,
        "object": f"the {thing}",
        "Object": f"The {thing}",
        "other_object": f"the {other_thing}",
        "day": rng.choice(WEEK),
    }
    premise = rng.choice(VOCABULARY["premises"]).format(**fillers)
    hypothesis = rng.choice(VOCABULARY["hypotheses"][verdict]).format(**fillers)
    return Inference(premise, hypothesis, verdict)


def draw_visit(rng: Random) -> Inference:
    """Draw where somebody was from when to when, and a claim about one hour.

    The hour is never the first or the last one: whether those count would be in dispute.
    """
    start = rng.randint(1, 8)
    end = rng.randint(start + 2, 12)
    place, other_place = rng.sample(ROOMS, 2)
    verdict = rng.choice(VERDICTS)
    # Only hours inside the visit say where somebody was.
    inside = range(start + 1, end)
    outside = [hour for hour in HOURS if hour < start or hour > end]
    # A visit from one to twelve leaves no hour open.
    if verdict == NEUTRAL and not outside:
        verdict = ENTAILMENT

    hour = NUMBER_WORDS[rng.choice(outside if verdict == NEUTRAL else inside)]
    is_elsewhere = verdict == CONTRADICTION
    if verdict == NEUTRAL:
        is_elsewhere = rng.random() < 0.5
    name = draw_person(rng).text
    premise = rng.choice(VOCABULARY["visits"]).format(
        name=name,
        place=place,
        start=NUMBER_WORDS[start],
        end=NUMBER_WORDS[end],
    )
    claim = f"{name} was in the {other_place if is_elsewhere else place}"
    hypothesis = rng.choice((f"At {hour} {claim}.", f"{claim} at {hour}."))
    return Inference(premise, hypothesis, verdict)


def draw_quantified(rng: Random) -> Inference:
    """Draw a statement about all, some or none of a group, and another one about the same group."""
    verdict = rng.choice(VERDICTS)
    quantifier, other_quantifier = rng.choice(VOCABULARY["quantifiers"][verdict])
    activity = rng.choice(activities())
    group = plural(rng.choice(JOBS))
    statement = f"{group} {activity.verb.past} {rng.choice(activity.adjuncts)}."
    # The same group and deed twice: only the quantifiers differ.
    return Inference(f"{quantifier} {statement}", f"{other_quantifier} {statement}", verdict)


def draw_syllogism(rng: Random) -> Inference:
    """Draw two premises in any order and a conclusion."""
    verdict = rng.choice(tuple(SYLLOGISMS))
    kinds = {}
    # Three different kinds, so that no premise says that all nurses are nurses.
    for variable, job in zip("abc", rng.sample(JOBS, 3), strict=True):
        kinds[variable] = plural(job)

    form = rng.choice(SYLLOGISMS[verdict])
    sentences = []
    for sentence in form.removesuffix(".").split("."):
        words = [kinds.get(word, word) for word in sentence.split()]
        sentences.append(" ".join(words))
    *premises, conclusion = sentences
    rng.shuffle(premises)
    return Inference(f"{'. '.join(premises)}.", f"{conclusion}.", verdict)


def draw_literal(rng: Random) -> Proposition:
    """Draw true or false, maybe with "not" before it."""
    value = rng.random() < 0.5
    is_negated = rng.random() < 0.4
    text = str(value).lower()
    if is_negated:
        return Proposition(f"not {text}", not value)
    return Proposition(text, value)


def join(rng: Random, left: Proposition, right: Proposition) -> Proposition:
    """Join two propositions by "and" or "or"."""
    if rng.random() < 0.5:
        return Proposition(f"{left.text} and {right.text}", left.value and right.value)
    return Proposition(f"{left.text} or {right.text}", left.value or right.value)


def draw_proposition(rng: Random) -> Proposition:
    """Draw an expression of two or three truth values.

    Brackets stand wherever the order would matter.
    """
    inner = join(rng, draw_literal(rng), draw_literal(rng))
    if rng.random() < 0.3:
        bracketed = Proposition(f"not ({inner.text})", not inner.value)
    elif rng.random() < 0.15:
        return inner
    else:
        bracketed = Proposition(f"({inner.text})", inner.value)

    literal = draw_literal(rng)
    if rng.random() < 0.5:
        return join(rng, bracketed, literal)
    return join(rng, literal, bracketed)


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        _quantity_recipe(),
        *_everyday_recipes(),
        *_visit_and_quantifier_recipes(),
        *_logic_recipes(),
    ]


def _quantity_recipe() -> Recipe:
    # "Boris bought 7 knives. | Boris bought fewer than 13 knives." -> "entailment"
    return Recipe(
        name="nli_quantity",
        category="cls",
        subcategory="nli",
        metric="accuracy",
        definitions=(
            "Does the claim about the number hold? Answer entailment or contradiction.",
            "Compare the exact count with the limit: entailment if it fits, contradiction if not.",
            "Label the pair of sentences entailment or contradiction.",
            "Check whether the number in the first sentence agrees with the second sentence.",
            "Decide if the amount stated first makes the statement after the bar true.",
        ),
        draw=draw_quantity,
        inputs="exact and bounded number",
        source=SOURCE,
        # With both numbers given, nothing stays open.
        options=(ENTAILMENT, CONTRADICTION),
    )


def _everyday_recipes() -> list[Recipe]:
    pairs = Group(
        inputs="everyday pair",
        subcategory="nli",
        source=SOURCE,
        material=draw_everyday,
        show=lambda pair: pair.text,
    )
    return [
        # Negated hypotheses occur with every verdict but one: "not" alone decides nothing.
        # "Tina cooked the meal on Tuesday. | The meal was cooked by Tina." -> "entailment"
        pairs.labelled(
            "nli_everyday",
            VERDICTS,
            lambda pair: pair.verdict,
            "Does the second sentence follow? Answer entailment, contradiction or neutral.",
            "Label the pair entailment, contradiction or neutral.",
            (
                "Say whether the hypothesis is certain, impossible or open: "
                "entailment, contradiction, neutral."
            ),
            "Judge the sentence after the bar in the light of the one before it.",
            (
                "Entailment if the first sentence proves the second, "
                "contradiction if it excludes it, else neutral."
            ),
        ),
        # Novel: contradiction and neutral fall together here.
        # "Tina cooked the meal on Tuesday. | The meal was cooked by Tina." -> "yes"
        pairs.labelled(
            "nli_follows",
            ("yes", "no"),
            lambda pair: "yes" if pair.verdict == ENTAILMENT else "no",
            "Is the second sentence surely true if the first one is? Answer yes or no.",
            "Yes or no: does the sentence after the bar follow from the one before?",
            "Answer yes if the premise proves the hypothesis, otherwise no.",
            "Say yes where the first sentence is enough to know the second, no everywhere else.",
            "Can you be certain of the claim, given the fact?",
            novel=True,
        ),
    ]


def _visit_and_quantifier_recipes() -> list[Recipe]:
    visits = Group(
        inputs="visit pair",
        subcategory="nli",
        source=SOURCE,
        material=draw_visit,
        show=lambda pair: pair.text,
    )
    statements = Group(
        inputs="quantifier pair",
        subcategory="nli",
        source=SOURCE,
        material=draw_quantified,
        show=lambda pair: pair.text,
    )
    return [
        # Place and hour must both be compared, and the hours are written in words.
        # "Ida was in the bank from three to nine. | At ten Ida was in the bank." -> "neutral"
        visits.labelled(
            "nli_place_time",
            VERDICTS,
            lambda pair: pair.verdict,
            "Is the claim about place and hour entailment, contradiction or neutral?",
            (
                "Entailment if place and hour fit, contradiction if the place is "
                "wrong, neutral outside the hours."
            ),
            "Compare places and times, then answer entailment, contradiction or neutral.",
            "Judge whether the person was there at the hour claimed after the bar.",
            "What does the stay in the first sentence say of the second sentence?",
        ),
        # By logic: "some" does not exclude "all", and the group is never empty.
        # "One of the coaches swam in the sea. | All the coaches swam in the sea." -> "neutral"
        statements.labelled(
            "nli_quantifier",
            VERDICTS,
            lambda pair: pair.verdict,
            "Mind all, some and none, strictly by logic: entailment, contradiction or neutral?",
            "Does the second statement follow from the first, clash with it, or neither?",
            "Label the pair of group statements entailment, contradiction or neutral.",
            "Look at how many of the group are meant and judge the sentence after the bar.",
            "Answer entailment, contradiction or neutral for what is said of the same group twice.",
        ),
    ]


def _logic_recipes() -> list[Recipe]:
    # The kinds of people are drawn at random: what is true of them in life is no help.
    syllogisms = Group(
        inputs="syllogism",
        subcategory="logic",
        source=SOURCE,
        material=draw_syllogism,
        show=lambda pair: pair.text,
    )
    propositions = Group(
        inputs="boolean expression",
        subcategory="logic",
        source=SOURCE,
        material=draw_proposition,
        show=lambda proposition: proposition.text,
    )
    return [
        # Some invalid forms differ from a valid one by the order of two kinds only.
        # "Some doctors are ushers. All ushers are vets. | No doctors are vets." -> "invalid"
        syllogisms.labelled(
            "log_syllogism",
            ("valid", "invalid"),
            lambda pair: pair.verdict,
            "Is the conclusion after the bar valid or invalid?",
            "Judge the form of the argument only and answer valid or invalid.",
            "Does the last sentence follow from the two premises? Say valid or invalid.",
            "Label the syllogism as valid or invalid.",
            "Check whether the conclusion must be true whenever both premises are.",
        ),
        # Brackets first; without them, only two values are joined.
        # "not (true and true) and not true" -> "false"
        propositions.labelled(
            "log_boolean",
            ("true", "false"),
            lambda proposition: str(proposition.value).lower(),
            "Work out the logical expression: is it true or false?",
            "Evaluate the formula and answer true or false.",
            "Give the truth value of the whole, true or false.",
            "Compute brackets first, then the rest, and write the resulting truth value.",
            "What does this combination of truth values come to?",
        ),
    ]
