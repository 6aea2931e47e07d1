"""Analogies of word forms, written "cheat : cheated = lure".

Sources: the word lists of `ipt.tasks.generators.words`.
"""

from random import Random

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import Adjective, Noun, Verb, adjectives, nouns, verbs

WORDS = "lemminflect, wonderwords, wordninja"
KINDS = ("past", "gerund", "plural", "comparative")

Form = tuple[str, tuple[str, ...]]
Analogy = tuple[str, Form, Form]


def form(rng: Random, kind: str) -> Form:
    """Draw a word and the accepted spellings of one of its forms."""
    if kind == "plural":
        noun: Noun = rng.choice(nouns())
        return noun.singular, noun.plurals
    if kind == "comparative":
        adjective: Adjective = rng.choice(adjectives())
        return adjective.base, adjective.comparatives
    verb: Verb = rng.choice(verbs())
    return verb.lemma, verb.pasts if kind == "past" else (verb.gerund,)


def words(rng: Random, kinds: tuple[str, ...] = KINDS) -> Analogy | None:
    """Draw a kind of form and two different words with it."""
    kind = rng.choice(kinds)
    shown, asked = form(rng, kind), form(rng, kind)
    return (kind, shown, asked) if shown[0] != asked[0] and shown[1][0] != shown[0] else None


def show(x: Analogy) -> str:
    return f"{x[1][0]} : {x[1][1][0]} = {x[2][0]}"


def recipes() -> list[Recipe]:
    mixed = Group("word analogy", "analogy", WORDS, words, show, lambda x: x[2][0])

    def one(kind: str, name: str, *definitions: str, novel: bool = False) -> Recipe:
        group = Group(f"{kind} analogy", "analogy", WORDS, lambda rng: words(rng, (kind,)), show, lambda x: x[2][0])
        return group.free(name, lambda x: x[2][1], *definitions, novel=novel)

    return [
        mixed.free(
            "ana_word",
            lambda x: x[2][1],
            "Find how the first two words belong together and complete the second pair alike.",
            "Which word is missing at the end of the equation?",
            "Do to the last word what was done to the first one.",
            "Complete the analogy with one word.",
            "Complete the analogy of word forms.",
        ),
        mixed.labelled(
            "ana_word_relation",
            KINDS,
            lambda x: x[0],
            "What is the second word to the first: past, gerund, plural or comparative?",
            "Name the form that the pair shows: past, gerund, plural, comparative.",
            "Which change was made: past, gerund, plural or comparative?",
            "Say which grammatical form follows the colon.",
            "form shown by the pair",
        ),
        mixed.free(
            "ana_word_pair",
            lambda x: tuple(f"{x[2][0]} : {end}" for end in x[2][1]),
            "Write the whole second pair, with a colon between its words.",
            "Complete the analogy and write both words on its right side.",
            "Copy the last word and put its missing partner after a colon.",
            "What does the equation read like after the equals sign?",
            "second pair of the analogy",
            novel=True,
        ),
        one(
            "past",
            "ana_past",
            "Complete the analogy: write the past tense of the last verb.",
            "Which verb form is missing at the end?",
            "Put the last verb into the past as in the pair before.",
            "Do to the last verb what was done to the first one.",
            "complete the analogy of past forms",
        ),
        one(
            "plural",
            "ana_plural",
            "Complete the analogy: write the plural of the last noun.",
            "Which plural is missing at the end?",
            "Put the last noun into the plural as in the pair before.",
            "Do to the last noun what was done to the first one.",
            "complete the analogy of plurals",
        ),
    ]
