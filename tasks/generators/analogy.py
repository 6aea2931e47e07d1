"""Analogies of word forms, written "cheat : cheated = lure".

Sources: the word lists of `ipt.tasks.generators.words`.
"""

from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import Variants, adjectives, nouns, verbs

SOURCE = "lemminflect, wonderwords, wordninja"
FORMS = ("past", "gerund", "plural", "comparative")


class InflectedWord(NamedTuple):
    """A word and the accepted spellings of one of its forms."""

    base: str
    inflected: Variants


class Analogy(NamedTuple):
    """Two different words with the same form; that of the second one is asked for."""

    form: str
    shown: InflectedWord
    asked: InflectedWord

    @property
    def text(self) -> str:
        """The analogy without its last word."""
        return f"{self.shown.base} : {self.shown.inflected[0]} = {self.asked.base}"

    @property
    def second_pair(self) -> Variants:
        """The second word with each accepted spelling of its form."""
        return tuple(f"{self.asked.base} : {form}" for form in self.asked.inflected)


def draw_inflected_word(rng: Random, form: str) -> InflectedWord:
    """Draw a word with one of its forms."""
    if form == "plural":
        noun = rng.choice(nouns())
        return InflectedWord(noun.singular, noun.plurals)
    if form == "comparative":
        adjective = rng.choice(adjectives())
        return InflectedWord(adjective.base, adjective.comparatives)
    verb = rng.choice(verbs())
    return InflectedWord(verb.lemma, verb.pasts if form == "past" else (verb.gerund,))


def draw_analogy(rng: Random, forms: tuple[str, ...] = FORMS) -> Analogy | None:
    """Draw a kind of form and two different words; None where the first pair shows no change."""
    # A choice among one uses random bits too: the shipped rows rest on it.
    form = rng.choice(forms)
    # A pair like "put : put" shows no form.
    shown = draw_inflected_word(rng, form)
    asked = draw_inflected_word(rng, form)
    if shown.base == asked.base or shown.inflected[0] == shown.base:
        return None
    return Analogy(form, shown, asked)


def draw_past_analogy(rng: Random) -> Analogy | None:
    """Draw two different verbs with their past."""
    return draw_analogy(rng, forms=("past",))


def draw_plural_analogy(rng: Random) -> Analogy | None:
    """Draw two different nouns with their plural."""
    return draw_analogy(rng, forms=("plural",))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [*_mixed_recipes(), _past_recipe(), _plural_recipe()]


def _mixed_recipes() -> list[Recipe]:
    # The form is not named: it must be read from the first pair.
    analogies = Group(
        inputs="word analogy",
        subcategory="analogy",
        source=SOURCE,
        material=draw_analogy,
        show=lambda analogy: analogy.text,
        entity=lambda analogy: analogy.asked.base,
    )
    return [
        # "carriage : carriages = handle" -> "handles"
        analogies.free(
            "ana_word",
            lambda analogy: analogy.asked.inflected,
            "Find how the first two words belong together and complete the second pair alike.",
            "Which word is missing at the end of the equation?",
            "Do to the last word what was done to the first one.",
            "Complete the analogy with one word.",
            "Complete the analogy of word forms.",
        ),
        # "carriage : carriages = handle" -> "plural"
        analogies.labelled(
            "ana_word_relation",
            FORMS,
            lambda analogy: analogy.form,
            "What is the second word to the first: past, gerund, plural or comparative?",
            "Name the form that the pair shows: past, gerund, plural, comparative.",
            "Which change was made: past, gerund, plural or comparative?",
            "Say which grammatical form follows the colon.",
            "form shown by the pair",
        ),
        # Novel: in pre-training only the missing word is written.
        # "carriage : carriages = handle" -> "handle : handles"
        analogies.free(
            "ana_word_pair",
            lambda analogy: analogy.second_pair,
            "Write the whole second pair, with a colon between its words.",
            "Complete the analogy and write both words on its right side.",
            "Copy the last word and put its missing partner after a colon.",
            "What does the equation read like after the equals sign?",
            "second pair of the analogy",
            novel=True,
        ),
    ]


def _past_recipe() -> Recipe:
    analogies = Group(
        inputs="past analogy",
        subcategory="analogy",
        source=SOURCE,
        material=draw_past_analogy,
        show=lambda analogy: analogy.text,
        entity=lambda analogy: analogy.asked.base,
    )
    # "contain : contained = meet" -> "met"
    return analogies.free(
        "ana_past",
        lambda analogy: analogy.asked.inflected,
        "Complete the analogy: write the past tense of the last verb.",
        "Which verb form is missing at the end?",
        "Put the last verb into the past as in the pair before.",
        "Do to the last verb what was done to the first one.",
        "complete the analogy of past forms",
    )


def _plural_recipe() -> Recipe:
    analogies = Group(
        inputs="plural analogy",
        subcategory="analogy",
        source=SOURCE,
        material=draw_plural_analogy,
        show=lambda analogy: analogy.text,
        entity=lambda analogy: analogy.asked.base,
    )
    # "carriage : carriages = handle" -> "handles"
    return analogies.free(
        "ana_plural",
        lambda analogy: analogy.asked.inflected,
        "Complete the analogy: write the plural of the last noun.",
        "Which plural is missing at the end?",
        "Put the last noun into the plural as in the pair before.",
        "Do to the last noun what was done to the first one.",
        "complete the analogy of plurals",
    )
