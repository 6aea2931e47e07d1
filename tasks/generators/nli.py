"""Inference over everyday facts: a premise and a hypothesis with a bar between them; syllogisms and truth values.

Source: own frames, filled with the lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`.
"""

from dataclasses import dataclass
from functools import partial
from random import Random

from ipt.tasks.generators.extraction import NUMBERS, SOURCE, WEEK
from ipt.tasks.generators.reading import ROOMS
from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.scenes import actions, activities, jobs, person, things

ENTAILED, CONTRARY, OPEN = VERDICTS = ("entailment", "contradiction", "neutral")
COUNTED = (
    "{n} bought {k} {t}.", "{n} sold {k} {t}.", "{n} found {k} {t}.", "There are {k} {t} on the table.",
    "{n} has {k} {t} at home.",
)  # fmt: skip
BOUNDS = (
    ("more than", lambda k, b: k > b), ("fewer than", lambda k, b: k < b), ("at least", lambda k, b: k >= b),
    ("at most", lambda k, b: k <= b),
)  # fmt: skip
PREMISES = ("{n} {w} {o} on {d}.", "On {d} {n} {w} {o}.", "It was on {d} that {n} {w} {o}.", "Last {d} {n} {w} {o}.")
HYPOTHESES = {
    ENTAILED: ("{n} {w} {o}.", "{O} was {u} by {n}.", "{n} has {u} {o}.", "Somebody {w} {o} on {d}.",
               "{n} did {l} {o}."),
    CONTRARY: ("{n} did not {l} {o}.", "{O} was not {u} by {n}.", "{n} has never {u} {o}.", "Nobody {w} {o} on {d}.",
               "{n} never {w} {o}."),
    OPEN: ("{m} {w} {o}.", "{O} was {u} by {m}.", "{n} {w} {q}.", "{n} and {m} {w} {o} together.",
           "{n} {w} {o} for {m}.", "{n} did not {l} {q}.", "{m} did not {l} {o}.", "{O} was not {u} by {m}."),
}  # fmt: skip
VISITS = (
    "{n} was in the {p} from {a} to {b}.", "From {a} to {b} {n} was in the {p}.",
    "{n} came to the {p} at {a} and left at {b}.", "{n} stayed in the {p} between {a} and {b}.",
    "{n} entered the {p} at {a} and went away at {b}.",
)  # fmt: skip
ALL, SOME, NONE, ONE, AT_LEAST = "All the", "Some of the", "None of the", "One of the", "At least one of the"
NOT_ALL = "Not all the"
QUANTIFIED = {
    ENTAILED: ((ALL, SOME), (ALL, AT_LEAST), (SOME, AT_LEAST), (NONE, NOT_ALL), (ONE, AT_LEAST)),
    CONTRARY: ((ALL, NONE), (ALL, NOT_ALL), (SOME, NONE), (NONE, ALL), (NONE, SOME), (ONE, NONE), (NOT_ALL, ALL)),
    OPEN: ((SOME, ALL), (SOME, NOT_ALL), (ONE, ALL), (NOT_ALL, SOME), (NOT_ALL, NONE), (AT_LEAST, ALL)),
}
SYLLOGISMS = {  # a, b and c are kinds of people; the conclusion comes last
    "valid": (
        "All a are b. All b are c. All a are c.", "All a are b. No b are c. No a are c.",
        "Some a are b. All b are c. Some a are c.", "All a are b. No c are b. No a are c.",
    ),
    "invalid": (
        "All a are b. All c are b. All a are c.", "All a are b. All b are c. All c are a.",
        "Some a are b. Some b are c. Some a are c.", "All a are b. No a are c. No b are c.",
        "All a are b. No b are c. All a are c.", "Some a are b. All b are c. No a are c.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Premise and hypothesis with the verdict."""

    premise: str
    hypothesis: str
    verdict: str

    @property
    def text(self) -> str:
        return f"{self.premise} | {self.hypothesis}"


def quantity(rng: Random) -> Row:
    kind, count = rng.choice(things()).plural, rng.randint(2, 60)
    bound = max(1, count + rng.choice((-1, 1)) * rng.randint(1, 15))
    words, holds = rng.choice(BOUNDS)
    fillers = {"n": person(rng).text, "t": kind}
    premise = rng.choice(COUNTED)
    claim = premise.format(k=f"{words} {bound}", **fillers)
    return Row(f"{premise.format(k=count, **fillers)} | {claim}", (ENTAILED if holds(count, bound) else CONTRARY,))


def everyday(rng: Random) -> Pair | None:
    """Draw what somebody did on a day, and a sentence that follows, clashes or leaves it open."""
    verdict = rng.choice(VERDICTS)
    action = rng.choice(actions())
    done, other = rng.sample(action.objects, 2)
    one, two = person(rng).text, person(rng).text
    if one == two:
        return None
    fillers = {
        "n": one, "m": two, "w": action.verb.past, "u": action.verb.participle, "l": action.verb.lemma,
        "o": f"the {done}", "O": f"The {done}", "q": f"the {other}", "d": rng.choice(WEEK),
    }  # fmt: skip
    return Pair(rng.choice(PREMISES).format(**fillers), rng.choice(HYPOTHESES[verdict]).format(**fillers), verdict)


def visit(rng: Random) -> Pair:
    """Draw where somebody was from when to when, and a claim about one hour (never the first or last one)."""
    start = rng.randint(1, 8)
    end = rng.randint(start + 2, 12)
    place, other = rng.sample(ROOMS, 2)
    verdict = rng.choice(VERDICTS)
    inside = range(start + 1, end)
    outside = [h for h in range(1, 13) if h < start or h > end] or [12]
    if verdict == OPEN and outside == [end]:
        verdict = ENTAILED
    hour = NUMBERS[rng.choice(outside if verdict == OPEN else inside)]
    elsewhere = verdict == CONTRARY or (verdict == OPEN and rng.random() < 0.5)
    who, claimed = person(rng).text, other if elsewhere else place
    premise = rng.choice(VISITS).format(n=who, p=place, a=NUMBERS[start], b=NUMBERS[end])
    said = rng.choice((f"At {hour} {who} was in the {claimed}.", f"{who} was in the {claimed} at {hour}."))
    return Pair(premise, said, verdict)


def plural(job: str) -> str:
    if job.endswith(("ch", "sh", "s", "x")):
        return f"{job}es"
    return f"{job[:-1]}ies" if job.endswith("y") else f"{job}s"


def quantified(rng: Random) -> Pair:
    verdict = rng.choice(VERDICTS)
    first, second = rng.choice(QUANTIFIED[verdict])
    activity = rng.choice(activities())
    rest = f"{plural(rng.choice(jobs()))} {activity.verb.past} {rng.choice(activity.adjuncts)}."
    return Pair(f"{first} {rest}", f"{second} {rest}", verdict)


def syllogism(rng: Random) -> Pair:
    """Draw two premises in any order and a conclusion."""
    verdict = rng.choice(tuple(SYLLOGISMS))
    kinds = dict(zip("abc", map(plural, rng.sample(jobs(), 3)), strict=True))
    form = rng.choice(SYLLOGISMS[verdict])
    *premises, end = (" ".join(kinds.get(word, word) for word in part.split()) for part in form[:-1].split("."))
    rng.shuffle(premises)
    return Pair(f"{'. '.join(premises)}.", f"{end}.", verdict)


def literal(rng: Random) -> tuple[str, bool]:
    value, negated = rng.random() < 0.5, rng.random() < 0.4
    return f"{'not ' if negated else ''}{str(value).lower()}", value != negated


def joined(rng: Random, one: tuple[str, bool], two: tuple[str, bool]) -> tuple[str, bool]:
    if rng.random() < 0.5:
        return f"{one[0]} and {two[0]}", one[1] and two[1]
    return f"{one[0]} or {two[0]}", one[1] or two[1]


def truth(rng: Random) -> tuple[str, bool]:
    """Draw an expression of two or three truth values, always with brackets where the order would matter."""
    text, value = joined(rng, literal(rng), literal(rng))
    if rng.random() < 0.3:
        text, value = f"not ({text})", not value
    elif rng.random() < 0.15:
        return text, value
    else:
        text = f"({text})"
    whole = (text, value), literal(rng)
    return joined(rng, *(whole if rng.random() < 0.5 else whole[::-1]))


def recipes() -> list[Recipe]:
    task = partial(Recipe, category="cls", subcategory="nli", metric="accuracy", source=SOURCE, options=VERDICTS)
    logic = partial(task, subcategory="logic")
    return [
        task(
            "nli_quantity",
            definitions=(
                "Does the claim about the number hold? Answer entailment or contradiction.",
                "Compare the exact count with the limit: entailment if it fits, contradiction if not.",
                "Label the pair of sentences entailment or contradiction.",
                "Check whether the number in the first sentence agrees with the second sentence.",
                "Decide if the amount stated first makes the statement after the bar true.",
            ),
            draw=quantity,
            inputs="exact and bounded number",
            options=(ENTAILED, CONTRARY),
        ),
        task(
            "nli_everyday",
            definitions=(
                "Does the second sentence follow? Answer entailment, contradiction or neutral.",
                "Label the pair entailment, contradiction or neutral.",
                "Say whether the hypothesis is certain, impossible or open: entailment, contradiction, neutral.",
                "Judge the sentence after the bar in the light of the one before it.",
                "Entailment if the first sentence proves the second, contradiction if it excludes it, else neutral.",
            ),
            draw=over(everyday, lambda x: x.text, lambda x: x.verdict),
            inputs="everyday pair",
        ),
        task(
            "nli_follows",
            definitions=(
                "Is the second sentence surely true if the first one is? Answer yes or no.",
                "Yes or no: does the sentence after the bar follow from the one before?",
                "Answer yes if the premise proves the hypothesis, otherwise no.",
                "Say yes where the first sentence is enough to know the second, no everywhere else.",
                "Can you be certain of the claim, given the fact?",
            ),
            draw=over(everyday, lambda x: x.text, lambda x: "yes" if x.verdict == ENTAILED else "no"),
            inputs="everyday pair",
            options=("yes", "no"),
            novel=True,
        ),
        task(
            "nli_place_time",
            definitions=(
                "Is the claim about place and hour entailment, contradiction or neutral?",
                "Entailment if place and hour fit, contradiction if the place is wrong, neutral outside the hours.",
                "Compare places and times, then answer entailment, contradiction or neutral.",
                "Judge whether the person was there at the hour claimed after the bar.",
                "What does the stay in the first sentence say of the second sentence?",
            ),
            draw=over(visit, lambda x: x.text, lambda x: x.verdict),
            inputs="visit pair",
        ),
        task(
            "nli_quantifier",
            definitions=(
                "Mind all, some and none, strictly by logic: entailment, contradiction or neutral?",
                "Does the second statement follow from the first, clash with it, or neither?",
                "Label the pair of group statements entailment, contradiction or neutral.",
                "Look at how many of the group are meant and judge the sentence after the bar.",
                "Answer entailment, contradiction or neutral for what is said of the same group twice.",
            ),
            draw=over(quantified, lambda x: x.text, lambda x: x.verdict),
            inputs="quantifier pair",
        ),
        logic(
            "log_syllogism",
            definitions=(
                "Is the conclusion after the bar valid or invalid?",
                "Judge the form of the argument only and answer valid or invalid.",
                "Does the last sentence follow from the two premises? Say valid or invalid.",
                "Label the syllogism as valid or invalid.",
                "Check whether the conclusion must be true whenever both premises are.",
            ),
            draw=over(syllogism, lambda x: x.text, lambda x: x.verdict),
            inputs="syllogism",
            options=("valid", "invalid"),
        ),
        logic(
            "log_boolean",
            definitions=(
                "Work out the logical expression: is it true or false?",
                "Evaluate the formula and answer true or false.",
                "Give the truth value of the whole, true or false.",
                "Compute brackets first, then the rest, and write the resulting truth value.",
                "What does this combination of truth values come to?",
            ),
            draw=over(truth, lambda x: x[0], lambda x: str(x[1]).lower()),
            inputs="boolean expression",
            options=("true", "false"),
        ),
    ]
