"""Analogies, written "cheat : cheated = lure": forms of words, and facts about countries.

Sources: the word lists of `ipt.tasks.words`, countryinfo, babel.
"""

from collections.abc import Callable
from random import Random

from ipt.tasks.atlas import Place, with_capital
from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe, Row
from ipt.tasks.words import Adjective, Noun, Verb, adjectives, nouns, verbs

WORDS, WORLD = "lemminflect, wonderwords, wordninja", "countryinfo, babel"
KINDS = ("past", "gerund", "plural", "comparative")
FACTS: dict[str, Callable[[Place], tuple[str, ...]]] = {
    "capital": lambda p: p.country.capital,
    "code": lambda p: (p.code,),
    "German": lambda p: (p.country.names["de"],),
    "domain": lambda p: (p.country.domain,),
}

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


def facts(rng: Random, kinds: tuple[str, ...] = tuple(FACTS)) -> Analogy | None:
    """Draw a kind of fact and two countries; None where the country shown has its name for a value."""
    kind = rng.choice(kinds)
    shown, asked = rng.sample(with_capital(), 2)
    found = FACTS[kind](shown), FACTS[kind](asked)
    return (
        (kind, (shown.name, found[0]), (asked.name, found[1]))
        if all(found) and found[0][0] != shown.name and all(found[1])
        else None
    )


def show(x: Analogy) -> str:
    return f"{x[1][0]} : {x[1][1][0]} = {x[2][0]}"


def maybe_holds(rng: Random) -> Row | None:
    """Draw an analogy of capitals whose end is right in half of the rows."""
    shown, asked, other = rng.sample(with_capital(), 3)
    right = rng.random() < 0.5
    end = (asked if right else other).capital
    text = f"{shown.name} : {shown.capital} = {asked.name} : {end}"
    return Row(text, ("yes" if right else "no",), f"{asked.code}|{shown.code}")


def recipes() -> list[Recipe]:
    return [*_words(), *_facts()]


def _words() -> list[Recipe]:
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


def _facts() -> list[Recipe]:
    capitals = Group(
        "capital analogy", "analogy", WORLD, lambda rng: facts(rng, ("capital",)), show, lambda x: x[2][0], True
    )
    mixed = Group("country analogy", "analogy", WORLD, facts, show, lambda x: f"{x[0]}|{x[2][0]}", True)
    holds = (
        "Does the last city belong to its country as the first does to its own? Answer yes or no.",
        "Check both pairs of country and capital: yes if right, no if wrong.",
        "Is the analogy of capitals correct: yes or no?",
        "Say yes if the fourth name is the capital of the third.",
        "analogy of capitals holds: yes or no",
    )
    return [
        capitals.free(
            "ana_capital",
            lambda x: x[2][1],
            "Complete the analogy: write the capital of the last country.",
            "Which city is missing at the end?",
            "Name the city that is to the last country what the first city is to its own.",
            "Finish the equation with a capital.",
            "complete the analogy of capitals",
        ),
        mixed.free(
            "ana_country",
            lambda x: x[2][1],
            "Find what the first country was turned into and do the same with the last one.",
            "Which name or code is missing at the end of the equation?",
            "Complete the analogy for the last country.",
            "Give the same kind of fact for the second country.",
            "Complete the analogy of two countries.",
        ),
        mixed.labelled(
            "ana_country_relation",
            tuple(FACTS),
            lambda x: x[0],
            "What stands after the first country: capital, code, German or domain?",
            "Name the relation of the pair: capital, code, German, domain.",
            "Is it the capital, a code, the German name or a web domain? Answer capital, code, German, domain.",
            "Say which kind of fact follows the colon.",
            "relation shown by the pair",
        ),
        Recipe(
            "ana_capital_holds",
            "cls",
            "analogy",
            "accuracy",
            holds,
            maybe_holds,
            "capital analogy pair",
            WORLD,
            ("yes", "no"),
            True,
        ),
    ]
