"""Contractions: helping verbs in full or with an apostrophe, over the same sentences. Own frames, lemminflect."""

from dataclasses import dataclass
from random import Random

from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.scenes import actions, person

SOURCE = "own frames, lemminflect"
PRONOUNS = ("I", "you", "he", "she", "we", "they")
CLITICS = {"am": "'m", "is": "'s", "are": "'re", "have": "'ve", "has": "'s", "will": "'ll"}
SHORT = {"will": "won't", "can": "can't"}
NOT = "n't"


@dataclass(frozen=True)
class Contractible:
    """A sentence in full, its contracted wordings, and what is in it."""

    full: str
    short: tuple[str, ...]
    negative: bool
    thing: str


def contractible(rng: Random) -> Contractible:
    action, negative = rng.choice(actions()), rng.random() < 0.5
    who = rng.choice(PRONOUNS) if not negative or rng.random() < 0.6 else person(rng).text
    third = who not in ("I", "you", "we", "they")
    be = "am" if who == "I" else "is" if third else "are"
    helpers = (be, "will", "has" if third else "have")
    if negative:
        helpers += ("does" if third else "do", "did", "can", "could", "should")
    helper, noun = rng.choice(helpers), rng.choice(action.objects)
    form = action.verb.gerund if helper == be else action.verb.participle if helper[:2] == "ha" else action.verb.lemma
    start, end = who[0].upper() + who[1:], f"{form} the {noun}."
    clitic = [f"{start}{CLITICS[helper]}"] if helper in CLITICS and who in PRONOUNS else []
    if not negative:
        return Contractible(f"{start} {helper} {end}", tuple(f"{c} {end}" for c in clitic), False, f"the {noun}")
    full = f"{start} {'cannot' if helper == 'can' else helper + ' not'} {end}"
    short = [f"{start} {SHORT.get(helper, helper + NOT)} {end}"] if helper != "am" else []
    return Contractible(full, tuple(short + [f"{c} not {end}" for c in clitic]), True, f"the {noun}")


def either_length(rng: Random) -> tuple[Contractible, bool]:
    """Draw a sentence and whether it is shown contracted."""
    return contractible(rng), rng.random() < 0.5


def fulls(x: Contractible) -> tuple[str, ...]:
    return (x.full, x.full.replace("cannot", "can not")) if "cannot" in x.full else (x.full,)


def recipes() -> list[Recipe]:
    full = Group("full sentence", "rewriting", SOURCE, contractible, lambda x: x.full)
    short = Group("contracted sentence", "rewriting", SOURCE, contractible, lambda x: x.short[0])
    either = Group(
        "sentence of either length", "rewriting", SOURCE, either_length, lambda x: x[0].short[0] if x[1] else x[0].full
    )
    sign = ("negative", "affirmative")
    return [
        full.free(
            "rew_contract", lambda x: x.short,
            "Use a contraction, as in spoken English.", "Shorten the helping verb with an apostrophe.",
            "Rewrite with a short form such as isn't or she'll.", "Contract the two words that can be joined.",
            "Make the sentence informal by contracting it.",
        ),
        full.labelled(
            "gra_negated", sign, lambda x: sign[not x.negative],
            "Is the sentence negative or affirmative?", "Say negative if it denies, affirmative if it does not.",
            "Does it say that something is so, or not so?", "Name the polarity: negative or affirmative.",
            "Look for a negation in the sentence.",
        ),
        short.free(
            "rew_expand", fulls,
            "Write the contraction out in full.", "Replace the short form by the full words.",
            "Rewrite the sentence without any apostrophe.", "Make it formal: no contractions.",
            "Undo the contraction in the sentence.",
        ),
        short.free(
            "rc_contracted_thing", lambda x: x.thing,
            "Write the thing it is about, with the.", "What is the object of the sentence?",
            "Name the thing, together with its article.", "Copy the last two words, without the full stop.",
            "Which thing is meant in the sentence?",
        ),
        short.labelled(
            "gra_negated_short", sign, lambda x: sign[not x.negative],
            "With its short form, is the sentence negative or affirmative?",
            "Is it denied? Answer negative or affirmative.",
            "Does the contraction hide a not?", "Choose the polarity: affirmative or negative.",
            "Say whether the contracted sentence denies something.", novel=True,
        ),
        either.labelled(
            "rew_is_contracted", ("short", "full"), lambda x: "short" if x[1] else "full",
            "Does it have a short or a full verb form?", "Is the sentence contracted? Say short or full.",
            "Name the register: short as in speech, full as in writing.",
            "Is there an apostrophe: short, or none: full?",
            "Tell contracted sentences from formal ones.",
        ),
        either.free(
            "rew_switch_contraction", lambda x: fulls(x[0]) if x[1] else x[0].short,
            "Expand the contraction if there is one, else contract.", "Switch between the short and the full form.",
            "Write the sentence in the other register.", "If it is formal make it spoken, if spoken make it formal.",
            "Change full into contracted and contracted into full.", novel=True,
        ),
    ]  # fmt: skip
