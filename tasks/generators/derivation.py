"""Derivation: words made from words (doers, opposites, qualities, compounds).

Pairs by hand, chosen among those that lemminflect and wordninja know; compounds of a building and
what belongs to it.
"""

from functools import cache
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import Noun, inflections

VOCABULARY = read_vocabulary("derivation")
SOURCE = "own lists, lemminflect, wordninja"


class DerivedWord(NamedTuple):
    """A word made from a base, and whether it names a person."""

    base: str
    word: str
    is_person: bool = False


class Compound(NamedTuple):
    """A place and a thing that belongs to it."""

    place: str
    head: Noun

    @property
    def text(self) -> str:
        """The two as a compound."""
        return f"{self.place} {self.head.singular}"

    @property
    def of_phrase(self) -> str:
        """The two as a phrase with "of"."""
        return f"the {self.head.singular} of the {self.place}"


@cache
def doers() -> list[DerivedWord]:
    """Return verbs with the one who does it."""
    return [DerivedWord(verb, noun, True) for verb, noun in VOCABULARY["doers"].items()]


@cache
def opposites() -> list[DerivedWord]:
    """Return adjectives with their opposite by a prefix."""
    pairs = []
    for prefix, adjectives in VOCABULARY["opposites"].items():
        pairs += [DerivedWord(adjective, prefix + adjective) for adjective in adjectives]
    return pairs


@cache
def adjectives_in_y() -> list[DerivedWord]:
    """Return nouns with their adjective in y."""
    return [DerivedWord(*pair) for pair in VOCABULARY["adjectives"].items()]


@cache
def action_nouns() -> list[DerivedWord]:
    """Return verbs with the noun for what happens."""
    return [DerivedWord(*pair) for pair in VOCABULARY["action_nouns"].items()]


def draw_doer(rng: Random) -> DerivedWord:
    """Draw a verb with the one who does it."""
    return rng.choice(doers())


def draw_opposite(rng: Random) -> DerivedWord:
    """Draw an adjective with its opposite."""
    return rng.choice(opposites())


def draw_adjective_in_y(rng: Random) -> DerivedWord:
    """Draw a noun with its adjective."""
    return rng.choice(adjectives_in_y())


def draw_action_noun(rng: Random) -> DerivedWord:
    """Draw a verb with the noun for what happens."""
    return rng.choice(action_nouns())


def draw_derived_word(rng: Random) -> DerivedWord:
    """Draw a derived word of any kind, all kinds equally often."""
    # The kinds have lists of different length.
    words_of_kind = rng.choice((doers, opposites, adjectives_in_y, action_nouns))
    return rng.choice(words_of_kind())


def draw_derived_noun(rng: Random) -> DerivedWord:
    """Draw the noun for a doer or for what happens."""
    words_of_kind = rng.choice((doers, action_nouns))
    return rng.choice(words_of_kind())


def draw_compound(rng: Random) -> Compound:
    """Draw a place and a thing that belongs to it."""
    place = rng.choice(VOCABULARY["buildings"])
    head = rng.choice(VOCABULARY["heads"])
    return Compound(place, Noun(head, inflections()[head, "noun"][0]))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_doer_recipes(),
        *_opposite_recipes(),
        _adjective_recipe(),
        _action_noun_recipe(),
        _base_recipe(),
        _person_recipe(),
        *_compound_recipes(),
    ]


def _doer_recipes() -> list[Recipe]:
    verbs = Group(
        inputs="verb with a doer",
        subcategory="derivation",
        source=SOURCE,
        material=draw_doer,
        show=lambda derived: derived.base,
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    nouns = Group(
        inputs="doer",
        subcategory="derivation",
        source=SOURCE,
        material=draw_doer,
        show=lambda derived: derived.word,
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    return [
        # Whether it ends in er or in or must be known of each verb.
        # "visit" -> "visitor"
        verbs.free(
            "der_agent",
            lambda derived: derived.word,
            "Name the person who does this.",
            "Turn the verb into the noun for a doer.",
            "What do you call someone who does it?",
            "Make the agent noun of this verb.",
            "Write the word for one who does so, ending in er or or.",
        ),
        # "visitor" -> "visit"
        nouns.free(
            "der_agent_verb",
            lambda derived: derived.base,
            "Which verb says what this person does?",
            "Give the verb from which the noun was made.",
            "Write what such a person does, as a bare verb.",
            "Turn the agent noun back into its verb.",
            "Take off the ending and write the verb.",
        ),
    ]


def _opposite_recipes() -> list[Recipe]:
    positives = Group(
        inputs="adjective with an opposite",
        subcategory="derivation",
        source=SOURCE,
        material=draw_opposite,
        show=lambda derived: derived.base,
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    negatives = Group(
        inputs="negated adjective",
        subcategory="derivation",
        source=SOURCE,
        material=draw_opposite,
        show=lambda derived: derived.word,
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    return [
        # Which of the six prefixes it is must be known of each adjective.
        # "accurate" -> "inaccurate"
        positives.free(
            "der_un",
            lambda derived: derived.word,
            "Make the opposite with a prefix.",
            "Put un, in, im, il, ir or dis before the adjective.",
            "Write the negative form of this adjective.",
            "Say in one word that something is not so.",
            "Turn the adjective into its opposite by adding letters in front.",
        ),
        # "inaccurate" -> "accurate"
        negatives.free(
            "der_positive",
            lambda derived: derived.base,
            "Take the negative prefix off.",
            "Write the adjective without its un, in, im, il, ir or dis.",
            "Which positive adjective is inside?",
            "Undo the negation of this word.",
            "Turn the negative adjective into the positive one.",
        ),
    ]


def _adjective_recipe() -> Recipe:
    nouns = Group(
        inputs="noun with an adjective",
        subcategory="derivation",
        source=SOURCE,
        material=draw_adjective_in_y,
        show=lambda derived: derived.base,
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    # By rule for most nouns, with a doubled letter or a lost e in some.
    # "point" -> "pointy"
    return nouns.free(
        "der_y",
        lambda derived: derived.word,
        "Make the adjective in y from this noun.",
        "What is something like that has a lot of it?",
        "Turn the noun into an adjective ending in y.",
        "Write the adjective: full of it or like it.",
        "Describe a thing by this noun, in one word with y.",
    )


def _action_noun_recipe() -> Recipe:
    verbs = Group(
        inputs="verb with a noun",
        subcategory="derivation",
        source=SOURCE,
        material=draw_action_noun,
        show=lambda derived: derived.base,
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    # Which of the endings a verb takes must be known of each.
    # "reduce" -> "reduction"
    return verbs.free(
        "der_act_noun",
        lambda derived: derived.word,
        "Turn the verb into the noun for the action.",
        "Name the act or its result, for instance with ion or ment.",
        "Which noun belongs to this verb?",
        "Write the action noun made from the verb.",
        "Nominalize the verb.",
    )


def _base_recipe() -> Recipe:
    words = Group(
        inputs="derived word",
        subcategory="derivation",
        source=SOURCE,
        material=draw_derived_word,
        show=lambda derived: derived.word,
        # Two words of one base (actor, action) go to the same set: the answer is the same.
        entity=lambda derived: derived.base,
        knowledge=True,
    )
    # Prefix or ending: which it is must be seen from the word itself.
    # "dreamy" -> "dream"
    return words.free(
        "der_base",
        lambda derived: derived.base,
        "Write the word from which this one was made.",
        "Strip the prefix or ending and give the base word.",
        "Which simpler word is inside?",
        "Give the root word as it stands in a dictionary.",
        "Go back to the word without prefix or ending.",
    )


def _person_recipe() -> Recipe:
    nouns = Group(
        inputs="derived noun",
        subcategory="derivation",
        source=SOURCE,
        material=draw_derived_noun,
        show=lambda derived: derived.word,
        entity=lambda derived: derived.word,
        knowledge=True,
    )
    # Doers end in -er and -or, and so does no action.
    # "cooperation" -> "action"
    return nouns.labelled(
        "der_person",
        ("person", "action"),
        lambda derived: "person" if derived.is_person else "action",
        "Does the noun name a person or an action?",
        "Say person for a doer, action for what is done.",
        "Who or what: person or action?",
        "Tell doers from deeds.",
        "person or action",
    )


def _compound_recipes() -> list[Recipe]:
    compounds = Group(
        inputs="compound",
        subcategory="derivation",
        source="own lists",
        material=draw_compound,
        show=lambda compound: compound.text,
    )
    phrases = Group(
        inputs="of-phrase",
        subcategory="derivation",
        source="own lists",
        material=draw_compound,
        show=lambda compound: compound.of_phrase,
    )
    return [
        # "cabin gate" -> "the gate of the cabin"
        compounds.free(
            "der_compound_of",
            lambda compound: compound.of_phrase,
            "Say the compound with of and two articles.",
            "Write the two nouns as a phrase with of.",
            "Unfold the compound: the one of the other.",
            "Explain the compound as the second thing of the first.",
            "Turn the pair of nouns into a phrase with of.",
        ),
        # The second noun, as in nearly all English compounds.
        # "cabin gate" -> "gate"
        compounds.free(
            "der_compound_head",
            lambda compound: compound.head.singular,
            "What kind of thing is it? Write the head noun.",
            "Write the main noun of the compound.",
            "Which of the two nouns names the thing itself?",
            "Give the noun without what specifies it.",
            "Write only the head of the compound.",
        ),
        # Novel: in pre-training the head is asked for, never what specifies it.
        # "cabin gate" -> "the cabin"
        compounds.free(
            "der_compound_place",
            lambda compound: f"the {compound.place}",
            "To which place does it belong? Answer with the article.",
            "Write the place, with the.",
            "Where does the thing belong?",
            "Name what specifies the head, with an article.",
            "Give the first noun with the before it.",
            novel=True,
        ),
        # "the gate of the cabin" -> "cabin gate"
        phrases.free(
            "der_compound",
            lambda compound: compound.text,
            "Say it as a compound of two nouns.",
            "Shorten the phrase to two nouns, no articles.",
            "Write the compound noun for this.",
            "Put the place before the thing and drop the rest.",
            "Turn the phrase into a noun pair.",
        ),
    ]
