"""Loaders of lexical sources: rated words, words by category, foods, emoji names, pronunciations.

Sources: vaderSentiment (human ratings), randomname (category lists; a word of two of the lists is
dropped, and so are words that are better known in another sense), mimesis (foods), emoji (CLDR
short names), misaki (pronunciations). Common words only.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import (
    blocked,
    inflections,
    is_common,
    package_file,
    package_lines,
)

VOCABULARY = read_vocabulary("lexemes")
CATEGORIES: dict[str, str] = VOCABULARY["categories"]
COUNTABLE: tuple[str, ...] = tuple(VOCABULARY["countable"])
GRIM_STEMS: tuple[str, ...] = tuple(VOCABULARY["grim_stems"])
NOT_EMOJI = frozenset(VOCABULARY["not_emoji"])
ARPABET: dict[str, str] = VOCABULARY["sounds"]
LANGUAGES = ("de", "es", "fr", "id", "it", "pt", "tr")
VOWELS = frozenset("aa ae ah ao aw ay eh er ey ih iy ow oy uh uw".split())
# Code points of flags, of skin tones, of the sign that joins emoji, and of the end of a flag.
FLAGS_AND_SKINS = (range(0x1F1E6, 0x1F200), range(0x1F3FB, 0x1F400), (0x200D, 0xE007F))
FULLY_QUALIFIED = 2
"""Status of a complete emoji in the table of the package emoji."""

WordsByLabel = dict[str, tuple[str, ...]]
Sounds = tuple[str, ...]


class RatedWord(NamedTuple):
    """A word and the mean of its ratings by people, from -4 to 4."""

    word: str
    rating: float


class Pronunciation(NamedTuple):
    """The sounds of a word as ARPAbet symbols, and its stressed syllable, from 1."""

    sounds: Sounds
    stress: int


class RatedEntry(NamedTuple):
    """A line of the VADER lexicon: a word, mean and standard deviation of its ratings."""

    word: str
    mean: float
    deviation: float


def _vader_entries() -> Iterator[RatedEntry]:
    for line in package_lines("vaderSentiment", "vader_lexicon.txt"):
        word, mean, deviation, _ = line.split("\t")
        yield RatedEntry(word, float(mean), float(deviation))


@cache
def ratings() -> tuple[RatedWord, ...]:
    """Return common words, with ratings, whose raters agree on the sign."""
    agreed = []
    for word, mean, deviation in _vader_entries():
        if not is_common(word, top=15000) or len(word) < 3 or word.startswith(GRIM_STEMS):
            continue
        # Ten people rated each word: a large spread means that they did not agree on it.
        if abs(mean) >= 1 and deviation < 1.3:
            agreed.append(RatedWord(word, mean))

    return tuple(sorted(agreed))


@cache
def opinions() -> tuple[RatedWord, ...]:
    """Return adjectives, with ratings, that people say of a meal, a film or a trip."""
    chosen = frozenset(VOCABULARY["opinions"])
    rated = []
    for entry in _vader_entries():
        # Nearer to 0 a word is hardly an opinion.
        if entry.word in chosen and abs(entry.mean) >= 0.8:
            rated.append(RatedWord(entry.word, entry.mean))

    return tuple(sorted(rated))


@cache
def category_words() -> WordsByLabel:
    """Return the nouns of each category of things."""
    return _unambiguous_words("nouns", CATEGORIES)


@cache
def topic_words() -> WordsByLabel:
    """Return the terms of each topic of a lecture."""
    return _unambiguous_words("nouns", VOCABULARY["topics"])


@cache
def verb_class_words() -> WordsByLabel:
    """Return the verbs of each kind of action."""
    return _unambiguous_words("verbs", VOCABULARY["verb_classes"])


@cache
def attribute_words() -> WordsByLabel:
    """Return the adjectives of each property."""
    return _unambiguous_words("adjectives", VOCABULARY["attributes"])


def _unambiguous_words(folder: str, files: dict[str, str]) -> WordsByLabel:
    """Return label to the common words of its file that stand in no other of these files."""
    words_by_label = {}
    uses: Counter[str] = Counter()
    for label, file in files.items():
        words = set(package_lines("randomname", "wordlists", folder, f"{file}.txt"))
        words_by_label[label] = sorted(words)
        uses.update(words)

    # A word in two lists would have two right labels.
    misleading = frozenset(VOCABULARY["misleading"][folder])
    unambiguous = {}
    for label, listed in words_by_label.items():
        fitting = []
        for word in listed:
            if uses[word] == 1 and word not in misleading and is_common(word, top=40000):
                fitting.append(word)
        unambiguous[label] = tuple(fitting)
    return unambiguous


@cache
def foods() -> WordsByLabel:
    """Return the common foods of each kind, in lower case."""
    path = package_file("mimesis", "datasets", "en", "food.json")
    table = json.loads(path.read_text(encoding="utf8"))
    by_kind = {"dish": tuple(sorted(VOCABULARY["dishes"]))}
    for kind in ("fruit", "vegetable", "spice"):
        names = {unicodedata.normalize("NFC", name).lower() for name in table[f"{kind}s"]}
        by_kind[kind] = tuple(filter(_is_common_food, sorted(names)))
    return by_kind


def _is_common_food(name: str) -> bool:
    if len(name) > 15 or name in VOCABULARY["not_foods"]:
        return False
    return all(is_common(word, top=60000) for word in name.split())


@cache
def pronunciations() -> dict[str, Pronunciation]:
    """Return the pronunciations of common words.

    Left out: words with several pronunciations, and those whose syllables are in dispute
    ("fire", "real").
    """
    # Names and abbreviations of misaki's table are no words of the lexicon.
    known_words = set()
    for (lemma, _), forms in inflections().items():
        known_words.add(lemma)
        for form in forms:
            known_words.update(form)

    path = package_file("misaki", "data", "us_gold.json")
    table = json.loads(path.read_text(encoding="utf8"))
    undisputed = {}
    for word, spoken in sorted(table.items()):
        # Several pronunciations stand in a table by part of speech instead of a string.
        if not isinstance(spoken, str) or len(word) < 3:
            continue
        if word in known_words and is_common(word, top=20000):
            pronunciation = transcribe(word, unicodedata.normalize("NFC", spoken))
            if pronunciation is not None:
                undisputed[word] = pronunciation
    return undisputed


def transcribe(word: str, spoken: str) -> Pronunciation | None:
    """Return misaki's pronunciation of a word in ARPAbet; None where the word is disputed."""
    if spoken.count("ˈ") != 1 or _has_disputed_syllables(spoken):
        return None

    # American English says t and d between vowels alike, as a tap: the spelling decides.
    if "ɾ" in spoken and "t" in word and "d" in word:
        return None
    tap = "t" if "t" in word else "d"
    # Here the last consonant is a syllable of its own (button, prism): write its vowel.
    if spoken.endswith(("tn", "dn", "zm", "ðm")):
        spoken = f"{spoken[:-1]}ə{spoken[-1]}"

    # One stress is asked for, and the vowel of "bird" is one sound.
    plain = spoken.replace("ˌ", "").replace("ɾ", tap)
    plain = plain.replace("ɜɹ", "ɜ").replace("əɹ", "ɜ")
    # The sign stands before the stressed syllable: as many syllables precede it.
    before, after = plain.split("ˈ")
    unstressed = tuple(ARPABET.get(sign, sign) for sign in before)
    stressed = tuple(ARPABET.get(sign, sign) for sign in after)
    return Pronunciation(unstressed + stressed, stress=count_syllables(unstressed) + 1)


def _has_disputed_syllables(spoken: str) -> bool:
    """Tell whether a long vowel meets r or l, as in "fire" and "real": one syllable or two."""
    for vowel in "IWYAOiu":
        for liquid in ("əɹ", "ᵊɹ", "əl", "ᵊl", "ɹ"):
            if vowel + liquid in spoken:
                return True
    return False


def count_syllables(sounds: Sounds) -> int:
    """Return how many vowels the sounds hold."""
    return sum(sound in VOWELS for sound in sounds)


@cache
def emoji_names() -> dict[str, dict[str, str]]:
    """Return each emoji's name by language, in lower case, "en" first.

    Without flags, skin tones, keys and clocks.
    """
    # The package's table of English names also holds what kind of sign it is.
    emoji = _emoji_table("emoji.json")
    translations = {language: _emoji_table(f"emoji_{language}.json") for language in LANGUAGES}
    usable: dict[str, dict[str, str]] = {}
    for sign, entry in sorted(emoji.items()):
        if entry["status"] != FULLY_QUALIFIED or entry.get("variant") or not _is_plain_sign(sign):
            continue
        names = {"en": _plain_name(entry["en"])}
        for language, table in translations.items():
            names[language] = _plain_name(table.get(sign, ""))
        if _are_fair_names(names):
            usable[sign] = names
    return usable


def _emoji_table(file: str) -> dict:
    path = package_file("emoji", "unicode_codes", file)
    return json.loads(path.read_text(encoding="utf8"))


def _plain_name(name: str) -> str:
    """Return ":soft_ice_cream:" as "soft ice cream"."""
    plain = unicodedata.normalize("NFC", name).strip(":").replace("_", " ")
    return plain.replace("’", "'").lower()


def _is_plain_sign(sign: str) -> bool:
    for character in sign:
        for code_points in FLAGS_AND_SKINS:
            if ord(character) in code_points:
                return False
    return True


def _are_fair_names(names: dict[str, str]) -> bool:
    """Tell whether all names are short phrases, and the English one of common words."""
    english_words = names["en"].split()
    if not NOT_EMOJI.isdisjoint(english_words):
        return False
    if not all(map(_is_short_phrase, names.values())):
        return False
    return all(map(is_common, english_words[:3]))


def _is_short_phrase(name: str) -> bool:
    words = name.replace("-", " ").replace("'", " ").split()
    if not 3 <= len(name) <= 24 or not 1 <= len(words) <= 4:
        return False
    return all(word.isalpha() and word not in blocked() for word in words)
