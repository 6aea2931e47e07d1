"""The two spellings of English: common words that differ in America and in Britain, by hand."""

from functools import cache
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.vocabulary import read_vocabulary

VOCABULARY = read_vocabulary("spelling")
VARIETIES = ("American", "British")


class Spelling(NamedTuple):
    """A form of a word in both spellings."""

    lemma: str
    american: str
    british: str


class ShownSpelling(NamedTuple):
    """A form of a word and the variety it is shown in."""

    spelling: Spelling
    variety: str

    @property
    def text(self) -> str:
        """The form as this variety spells it."""
        if self.variety == "American":
            return self.spelling.american
        return self.spelling.british


@cache
def spellings() -> tuple[Spelling, ...]:
    """Return forms that are spelled differently in American and British English."""
    forms = []
    # apologize, apologise
    for stem in VOCABULARY["ize"]:
        for ending in ("e", "es", "ed", "ing"):
            forms.append(Spelling(stem, f"{stem}iz{ending}", f"{stem}is{ending}"))
    # analyze, analyse
    for stem in VOCABULARY["yze"]:
        for ending in ("e", "es", "ed", "ing"):
            forms.append(Spelling(stem, f"{stem}yz{ending}", f"{stem}ys{ending}"))
    # color, colour
    for word in VOCABULARY["our"]:
        british = f"{word.removesuffix('or')}our"
        forms.append(Spelling(word, word, british))
        if word not in VOCABULARY["uncounted"]:
            forms.append(Spelling(word, f"{word}s", f"{british}s"))
    # traveled, travelled
    for verb in VOCABULARY["doubled"]:
        for ending in ("ed", "ing"):
            forms.append(Spelling(verb, verb + ending, f"{verb}l{ending}"))
    # center, centre
    for american, british in VOCABULARY["others"].items():
        forms.append(Spelling(american, american, british))
    return tuple(forms)


@cache
def _spellings_by_lemma() -> dict[str, list[Spelling]]:
    by_lemma: dict[str, list[Spelling]] = {}
    for spelling in spellings():
        by_lemma.setdefault(spelling.lemma, []).append(spelling)
    return by_lemma


def draw_spelling(rng: Random) -> ShownSpelling:
    """Draw a word, one of its forms and a variety; each word is equally common."""
    # A verb has up to four forms, a noun one or two.
    lemma = rng.choice(list(_spellings_by_lemma()))
    spelling = rng.choice(_spellings_by_lemma()[lemma])
    return ShownSpelling(spelling, rng.choice(VARIETIES))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    either = Group(
        inputs="spelling",
        subcategory="derivation",
        source="own lists",
        material=draw_spelling,
        show=lambda shown: shown.text,
        # All forms of a word go to the same set.
        entity=lambda shown: shown.spelling.lemma,
        knowledge=True,
    )
    return [
        # Words with one spelling only never occur.
        # "modelled" -> "British"
        either.labelled(
            "der_british",
            VARIETIES,
            lambda shown: shown.variety,
            "Is the spelling American or British?",
            "Name the variety of English: American or British.",
            "Where is the word spelled like this: American or British?",
            "Tell the two spellings of English apart.",
            "American or British",
        ),
        # Half of the words are copied: whether to change them is part of the task.
        # "modelled" -> "modelled"
        either.free(
            "der_to_british",
            lambda shown: shown.spelling.british,
            "Write the word in British spelling.",
            "Spell it the British way.",
            "How is it written in London?",
            "Change it to British English, or keep it if it already is.",
            "to British spelling",
        ),
        # "modelled" -> "modeled"
        either.free(
            "der_to_american",
            lambda shown: shown.spelling.american,
            "Write the word in American spelling.",
            "Spell it the American way.",
            "How is it written in New York?",
            "Change it to American English, or keep it if it already is.",
            "to American spelling",
        ),
    ]
