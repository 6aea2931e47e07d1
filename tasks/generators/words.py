"""Common English words with their forms: what the generators fill their rows with.

Sources: wordninja (frequency order), lemminflect (inflections of the SPECIALIST lexicon),
wonderwords (common verbs, adjectives, nouns; list of words to avoid), mimesis (surnames);
first names by hand. Files are read directly, without importing their packages.
"""

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from ipt.tasks.generators.vocabulary import read_vocabulary

VOCABULARY = read_vocabulary("words")
ODD_FORMS = frozenset(VOCABULARY["odd_forms"])
AMBIGUOUS = frozenset(VOCABULARY["ambiguous"])
LAST_RANK = 10**6
"""Rank of a word that the frequency list lacks: behind every word of the list."""
SILENT_H = ("hour", "honest", "heir", "honor")
SOUNDS_LIKE_A_CONSONANT = ("uni", "use", "usu", "eu", "one", "ute")

Variants = tuple[str, ...]
"""The accepted spellings of one form, the best known first."""


class FirstName(NamedTuple):
    """A well-known first name and who bears it."""

    name: str
    gender: Literal["f", "m"]


@dataclass(frozen=True)
class Verb:
    """A verb with its forms."""

    lemma: str
    third: str
    pasts: Variants
    participles: Variants
    gerund: str

    @property
    def past(self) -> str:
        """The usual spelling of the past tense."""
        return self.pasts[0]

    @property
    def participle(self) -> str:
        """The usual spelling of the past participle."""
        return self.participles[0]


@dataclass(frozen=True)
class Noun:
    """A count noun with its plural."""

    singular: str
    plurals: Variants

    @property
    def plural(self) -> str:
        """The usual spelling of the plural."""
        return self.plurals[0]


@dataclass(frozen=True)
class Adjective:
    """An adjective with its forms in -er and -est."""

    base: str
    comparatives: Variants
    superlatives: Variants


def package_file(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package, without importing the package."""
    # An import would run code that is not needed, and that may change with its version.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        install = 'pip install "intrinsic-prompt-tuning[suite]"'
        raise ValueError(f'needs the extra "suite" ({package} is missing): {install}')
    return Path(spec.origin).parent.joinpath(*parts)


def package_lines(package: str, *parts: str) -> list[str]:
    """Return the lines of a file inside an installed package, without the empty ones."""
    text = package_file(package, *parts).read_text(encoding="utf8")
    return [line.strip() for line in text.splitlines() if line.strip()]


@cache
def frequency_ranks() -> dict[str, int]:
    """Return each word's place in the frequency order, from 0."""
    path = package_file("wordninja", "wordninja", "wordninja_words.txt.gz")
    with gzip.open(path, "rt", encoding="utf8") as file:
        words = file.read().split()

    return {word: rank for rank, word in enumerate(words)}


def frequency_rank(word: str) -> int:
    """Return a word's place in the frequency order; LAST_RANK where it has none."""
    return frequency_ranks().get(word, LAST_RANK)


@cache
def blocked() -> frozenset[str]:
    """Return the words that no row may hold."""
    words = package_lines("wonderwords", "assets", "profanitylist.txt")
    words += VOCABULARY["blocked"]
    return frozenset(words)


def is_common(word: str, top: int = 12000) -> bool:
    """Tell whether a word is lower-case ASCII, among the `top` most frequent, and not blocked."""
    if not (word.isascii() and word.isalpha() and word.islower()):
        return False
    return frequency_rank(word) < top and word not in blocked()


@cache
def inflections() -> dict[tuple[str, str], list[Variants]]:
    """Return the inflected forms of each (lemma, part of speech), with their variants.

    The order is that of the lexicon: past, participle, gerund and third person of a verb, plural
    of a noun, comparative and superlative of an adjective.
    """
    table = {}
    path = package_file("lemminflect", "resources", "infl_lu.csv.gz")
    with gzip.open(path, "rt", encoding="utf8") as file:
        for line in file:
            lemma, part_of_speech, *forms = line.strip().split(",")
            variants = []
            for form in forms:
                # The lexicon writes variants as "burned/burnt", and nothing for a missing form.
                spellings = filter(None, form.split("/"))
                variants.append(tuple(spellings))
            table[lemma, part_of_speech] = variants

    return table


def usual_first(variants: Variants) -> Variants:
    """Return the variants by frequency without the odd ones, so that American ones come first."""
    taught = [variant for variant in variants if variant not in ODD_FORMS]
    return tuple(sorted(taught, key=frequency_rank))


def _inflected_verb(lemma: str) -> Verb | None:
    forms = inflections().get((lemma, "verb"))
    # Without all forms it is no full verb of today (beware), or a form of another one (kept).
    if not forms or len(forms) < 4 or not forms[0] or not forms[2] or not forms[3]:
        return None

    past_forms, participle_forms, gerund_forms, third_forms = forms[:4]
    pasts = usual_first(past_forms)
    # The lexicon leaves the participle of a regular verb out: it is the past (walked), also where
    # an irregular variant exists (burned, burnt).
    regular: Variants = ()
    if pasts[0].endswith("ed"):
        regular = tuple(past for past in pasts if past.endswith("ed"))
    listed = regular + usual_first(participle_forms)
    participles = tuple(dict.fromkeys(listed))

    return Verb(
        lemma,
        third=third_forms[0],
        pasts=pasts,
        # Here too the lexicon leaves out what is the same as the past.
        participles=participles or pasts,
        gerund=usual_first(gerund_forms)[0],
    )


@cache
def verb(lemma: str) -> Verb:
    """Return a verb with its forms; raise ValueError where the lexicon lacks it."""
    inflected = _inflected_verb(lemma)
    if inflected is None:
        raise ValueError(f"no inflections for the verb {lemma!r}")
    return inflected


def _listed_words(file: str, top: int) -> Iterator[str]:
    """Yield the unambiguous words of a list of wonderwords, among the `top` most frequent."""
    for word in sorted(set(package_lines("wonderwords", "assets", file))):
        if len(word) > 2 and is_common(word, top) and word not in AMBIGUOUS:
            yield word


@cache
def verbs() -> tuple[Verb, ...]:
    """Return several hundred common verbs."""
    common = []
    for lemma in _listed_words("verblist.txt", top=9000):
        candidate = _inflected_verb(lemma)
        # A past that looks like the base form (cut) would make tense invisible.
        if not candidate or len(candidate.pasts) > 2 or candidate.past == lemma:
            continue
        forms = (candidate.past, candidate.gerund, candidate.third)
        if max(map(frequency_rank, forms)) < 60000:
            common.append(candidate)

    return tuple(common)


@cache
def nouns() -> tuple[Noun, ...]:
    """Return common count nouns that are not also a plural."""
    common = []
    for singular in _listed_words("nounlist.txt", top=15000):
        forms = inflections().get((singular, "noun")) or [()]
        plurals = tuple(plural for plural in usual_first(forms[0]) if plural != singular)
        # The lexicon also inflects what is hardly counted: its plural is rare, or it ends in -ness
        # (the rule costs glass and dress).
        if plurals and frequency_rank(plurals[0]) < 40000 and not singular.endswith("ss"):
            common.append(Noun(singular, plurals))

    # A plural that the list holds too (data) is no singular.
    taken = {noun.plural for noun in common}
    return tuple(noun for noun in common if noun.singular not in taken)


@cache
def adjectives() -> tuple[Adjective, ...]:
    """Return the common adjectives that inflect (-er, -est)."""
    common = []
    for (lemma, part_of_speech), forms in sorted(inflections().items()):
        if part_of_speech != "adj" or len(forms) != 2:
            continue
        # Longer adjectives take "more" and have no forms in the lexicon.
        if forms[0] and forms[1] and is_common(lemma, top=30000):
            common.append(Adjective(lemma, usual_first(forms[0]), usual_first(forms[1])))

    return tuple(common)


@cache
def plain_words() -> tuple[str, ...]:
    """Return the common words of 3 to 7 letters: nouns, verbs and adjectives in base form."""
    # Function words have no such entry in the lexicon.
    lemmas = set()
    for lemma, part_of_speech in inflections():
        if part_of_speech in ("noun", "verb", "adj"):
            lemmas.add(lemma)

    common = []
    for word in frequency_ranks():
        if 3 <= len(word) <= 7 and is_common(word, top=5000) and word in lemmas:
            common.append(word)
    return tuple(sorted(common))


@cache
def first_names() -> tuple[FirstName, ...]:
    """Return well-known first names with their gender."""
    women = {FirstName(name, "f") for name in VOCABULARY["women"]}
    men = {FirstName(name, "m") for name in VOCABULARY["men"]}
    return tuple(sorted(women | men))


@cache
def surnames() -> tuple[str, ...]:
    """Return short English surnames that are no blocked word."""
    path = package_file("mimesis", "datasets", "en", "person.json")
    people = json.loads(path.read_text(encoding="utf8"))
    short = []
    for surname in sorted(set(people["surnames"])):
        is_plain = surname.isascii() and surname.isalpha()
        if is_plain and 4 <= len(surname) <= 9 and surname.lower() not in blocked():
            short.append(surname)
    return tuple(short)


def article(word: str) -> str:
    """Return "a" or "an", whichever stands before the word.

    Decided by its first letter, with the common exceptions by sound (an hour, a uniform).
    """
    if word.startswith(SILENT_H):
        return "an"
    # A vowel letter that sounds like y or w takes "a".
    if word[0] in "aeiou" and not word.startswith(SOUNDS_LIKE_A_CONSONANT):
        return "an"
    return "a"


def with_article(word: str) -> str:
    """Return a word behind its indefinite article."""
    return f"{article(word)} {word}"


def join_with_or(labels: Sequence[str]) -> str:
    """Return labels as a definition offers them: "bird, fish or tree"."""
    return f"{', '.join(labels[:-1])} or {labels[-1]}"
