"""Short phrases in eight languages: translation, language of a phrase, names of emoji.

Source: emoji (names of the Unicode CLDR in lower case; German nouns are accepted with and without
their capital).
"""

from collections import defaultdict
from dataclasses import replace
from functools import cache
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.lexemes import LANGUAGES, emoji_names
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import join_with_or

SOURCE = "emoji"
NAME_OF_LANGUAGE = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "id": "Indonesian",
    "it": "Italian",
    "pt": "Portuguese",
    "tr": "Turkish",
}


class Translation(NamedTuple):
    """A phrase and its accepted translations."""

    phrase: str
    meanings: tuple[str, ...]


class ForeignPhrase(NamedTuple):
    """A phrase of one language only, by its code, with its English meanings."""

    phrase: str
    language: str
    meanings: tuple[str, ...]


class NamedEmoji(NamedTuple):
    """An emoji and its English name."""

    sign: str
    name: str


@cache
def dictionary(source: str, target: str) -> tuple[Translation, ...]:
    """Return every phrase of the source language with all its translations."""
    # Several emoji have the same name: all their translations are right.
    meanings_of = defaultdict(set)
    for names in emoji_names().values():
        meanings_of[names[source]].add(names[target])

    translations = []
    for phrase, meanings in sorted(meanings_of.items()):
        accepted = []
        for meaning in _closest_first(phrase, meanings):
            accepted.append(meaning)
            if target == "de":
                accepted += _german_spellings(meaning)
        different = tuple(dict.fromkeys(accepted))
        translations.append(Translation(phrase, different))
    return tuple(translations)


def _closest_first(phrase: str, meanings: set[str]) -> list[str]:
    """Return the meanings by how much they differ from the phrase in length, in words.

    The first answer is the one trained on: the closest in length says the least besides.
    """
    length = len(phrase.split())

    def distance(meaning: str) -> tuple[int, str]:
        # The meaning itself makes the order of equals the same each time.
        return abs(len(meaning.split()) - length), meaning

    return sorted(meanings, key=distance)


@cache
def single_language_phrases() -> tuple[ForeignPhrase, ...]:
    """Return the phrases that stand in one language only, English ones left out."""
    # A phrase that is English too would name its language wrongly.
    english = {entry.phrase for entry in dictionary("en", "de")}
    languages_of: dict[str, list[str]] = defaultdict(list)
    meanings_in = {language: dict(dictionary(language, "en")) for language in LANGUAGES}
    for language, meanings in meanings_in.items():
        for phrase in meanings:
            languages_of[phrase].append(language)

    single = []
    # Sorted, so that the draw does not rest on the order of the emoji.
    for phrase, languages in sorted(languages_of.items()):
        if len(languages) == 1 and phrase not in english:
            language = languages[0]
            single.append(ForeignPhrase(phrase, language, meanings_in[language][phrase]))
    return tuple(single)


@cache
def _phrases_in(language: str) -> tuple[ForeignPhrase, ...]:
    return tuple(entry for entry in single_language_phrases() if entry.language == language)


@cache
def _emoji() -> tuple[NamedEmoji, ...]:
    named = [NamedEmoji(sign, names["en"]) for sign, names in emoji_names().items()]
    return tuple(sorted(named))


def draw_foreign_phrase(rng: Random) -> ForeignPhrase:
    """Draw a phrase of any of the seven languages."""
    language = rng.choice(LANGUAGES)
    return rng.choice(_phrases_in(language))


def draw_emoji(rng: Random) -> NamedEmoji:
    """Draw an emoji with its name."""
    return rng.choice(_emoji())


def _german_spellings(phrase: str) -> list[str]:
    """Return the phrase with capitals at its start, at its last word, and everywhere.

    CLDR's names were lowered, so that it is not known which words are nouns.
    """
    words = phrase.split()
    capitals = [word[0].upper() + word[1:] for word in words]
    return [
        phrase[0].upper() + phrase[1:],
        " ".join([*words[:-1], capitals[-1]]),
        " ".join(capitals),
    ]


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    pairs = []
    for target in ("de", "es", "fr", "it", "pt"):
        pairs.append(translation("en", target))
    for source in ("de", "es", "fr"):
        pairs.append(translation(source, "en"))
    # The backbone knows both languages from other tasks, but never in this pair.
    pairs.append(translation("de", "fr", novel=True))
    return [*pairs, *_foreign_recipes(), _emoji_recipe()]


def translation(source: str, target: str, novel: bool = False) -> Recipe:
    """Make the task of translating phrases from one language into another."""
    from_name = NAME_OF_LANGUAGE[source]
    to_name = NAME_OF_LANGUAGE[target]
    phrases = Group(
        inputs=f"{from_name} phrase",
        subcategory="translation",
        source=SOURCE,
        material=lambda rng: rng.choice(dictionary(source, target)),
        show=lambda entry: entry.phrase,
        entity=lambda entry: entry.phrase,
        knowledge=True,
    )
    # From English into French: "ram" -> "bélier"
    return phrases.free(
        f"tr_phrase_{source}_{target}",
        lambda entry: entry.meanings,
        f"Translate the {from_name} phrase into {to_name}.",
        f"How does one say this in {to_name}?",
        f"Give the {to_name} for the {from_name} words.",
        f"Write the same thing in {to_name}, in small letters.",
        f"{from_name} is given; answer with the {to_name} translation.",
        novel=novel,
    )


def _foreign_recipes() -> list[Recipe]:
    phrases = Group(
        inputs="foreign phrase",
        subcategory="translation",
        source=SOURCE,
        material=draw_foreign_phrase,
        show=lambda entry: entry.phrase,
        entity=lambda entry: entry.phrase,
        knowledge=True,
    )
    identification = replace(phrases, subcategory="language identification")
    languages = tuple(NAME_OF_LANGUAGE[language] for language in LANGUAGES)
    return [
        # Phrases that two languages share are left out.
        # "bélier" -> "French"
        identification.labelled(
            "lid_phrase",
            languages,
            lambda entry: NAME_OF_LANGUAGE[entry.language],
            f"Which language is this: {join_with_or(languages)}?",
            f"Name the language of the phrase ({', '.join(languages)}).",
            f"Are these words {join_with_or(languages)}?",
            "In which language are these words written?",
            "Identify the language of the given words.",
        ),
        # The language is not named: it is one step more than `tr_phrase_fr_en`.
        # "bélier" -> "ram"
        phrases.free(
            "tr_any_en",
            lambda entry: entry.meanings,
            "Translate the phrase into English, whatever its language is.",
            "What does this mean in English?",
            "Give the English for these foreign words.",
            "Find out the language and write the phrase in English.",
            "Write the same thing in English, in small letters.",
        ),
    ]


def _emoji_recipe() -> Recipe:
    emoji = Group(
        inputs="emoji",
        subcategory="relation",
        source=SOURCE,
        material=draw_emoji,
        show=lambda emoji: emoji.sign,
        entity=lambda emoji: emoji.sign,
        knowledge=True,
    )
    # The answer is CLDR's short name, as the translations have it.
    # "💭" -> "thought balloon"
    return emoji.free(
        "rel_emoji_name",
        lambda emoji: emoji.name,
        "Name the emoji in English.",
        "What does this little picture show?",
        "Write the English name of the emoji.",
        "Describe the picture with its usual name, in small letters.",
        "Say in words what the symbol stands for.",
    )
