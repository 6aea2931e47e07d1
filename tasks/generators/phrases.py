"""Short phrases in eight languages: translation, language of a phrase, names of emoji.

Source: emoji (names of the Unicode CLDR in lower case; German nouns are accepted with and without their capital).
"""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from random import Random

from ipt.tasks.generators.lexemes import LANGUAGES, emoji_names, free, labelled
from ipt.tasks.generators.recipe import Recipe, Row, over

NAMES = {
    "de": "German", "en": "English", "es": "Spanish", "fr": "French",
    "id": "Indonesian", "it": "Italian", "pt": "Portuguese", "tr": "Turkish",
}  # fmt: skip
SOURCE = "emoji"


@cache
def dictionary(source: str, target: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every phrase of the source language with all its translations; the closest in length comes first."""
    found = defaultdict(set)
    for names in emoji_names().values():
        found[names[source]].add(names[target])
    table = []
    for phrase, meanings in sorted(found.items()):
        ranked = sorted(meanings, key=lambda m: (abs(len(m.split()) - len(phrase.split())), m))
        table.append((phrase, tuple(dict.fromkeys(w for m in ranked for w in (m, *_written(m, target))))))
    return tuple(table)


@cache
def one_language() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """(phrase, language, English names) of phrases that stand in one language only."""
    tables = {code: dict(dictionary(code, "en")) for code in LANGUAGES}
    english = {phrase for phrase, _ in dictionary("en", "de")}
    uses: dict[str, list[str]] = defaultdict(list)
    for code, table in tables.items():
        for phrase in table:
            uses[phrase].append(code)
    return tuple(
        (phrase, codes[0], tables[codes[0]][phrase]) for phrase, codes in sorted(uses.items()) if len(codes) == 1 and phrase not in english
    )


def foreign(rng: Random) -> tuple[str, str, tuple[str, ...]]:
    """Draw a phrase of any of the seven languages."""
    code = rng.choice(LANGUAGES)
    return rng.choice(_by_language()[code])


def entry(source: str, target: str) -> Callable[[Random], Row]:
    def draw(rng: Random) -> Row:
        phrase, answers = rng.choice(dictionary(source, target))
        return Row(phrase, answers, phrase)

    return draw


def emoji(rng: Random) -> tuple[str, str]:
    sign = rng.choice(_signs())
    return sign, emoji_names()[sign]["en"]


def recipes() -> list[Recipe]:
    pairs = [("en", code) for code in ("de", "es", "fr", "it", "pt")]
    pairs += [(code, "en") for code in ("de", "es", "fr")]
    return [
        *(translation(*pair) for pair in pairs), translation("de", "fr", novel=True),
        *_foreign(), *_emoji(),
    ]  # fmt: skip


def translation(source: str, target: str, novel: bool = False) -> Recipe:
    one, other = NAMES[source], NAMES[target]
    return free(
        f"tr_phrase_{source}_{target}", "translation", f"{one} phrase", SOURCE, entry(source, target),
        f"Translate the {one} phrase into {other}.",
        f"How does one say this in {other}?",
        f"Give the {other} for the {one} words.",
        f"Write the same thing in {other}, in small letters.",
        f"{one} is given; answer with the {other} translation.", novel=novel,
    )  # fmt: skip


def _foreign() -> list[Recipe]:
    def text(x: tuple[str, str, tuple[str, ...]]) -> str:
        return x[0]

    labels = tuple(NAMES[code] for code in LANGUAGES)
    listed = f"{', '.join(labels[:-1])} or {labels[-1]}"
    return [
        labelled("lid_phrase", "language identification", "foreign phrase", SOURCE,
                 over(foreign, text, lambda x: NAMES[x[1]], text), labels,
                 f"Which language is this: {listed}?",
                 f"Name the language of the phrase ({', '.join(labels)}).",
                 f"Are these words {listed}?",
                 "In which language are these words written?",
                 "Identify the language of the given words."),
        free("tr_any_en", "translation", "foreign phrase", SOURCE, over(foreign, text, lambda x: x[2], text),
             "Translate the phrase into English, whatever its language is.",
             "What does this mean in English?",
             "Give the English for these foreign words.",
             "Find out the language and write the phrase in English.",
             "Write the same thing in English, in small letters."),
    ]  # fmt: skip


def _emoji() -> list[Recipe]:
    def sign(x: tuple[str, str]) -> str:
        return x[0]

    return [
        free("rel_emoji_name", "relation", "emoji", SOURCE, over(emoji, sign, lambda x: x[1], sign),
             "Name the emoji in English.",
             "What does this little picture show?",
             "Write the English name of the emoji.",
             "Describe the picture with its usual name, in small letters.",
             "Say in words what the symbol stands for."),
    ]  # fmt: skip


@cache
def _signs() -> tuple[str, ...]:
    return tuple(sorted(emoji_names()))


@cache
def _by_language() -> dict[str, tuple[tuple[str, str, tuple[str, ...]], ...]]:
    return {code: tuple(x for x in one_language() if x[1] == code) for code in LANGUAGES}


def _written(phrase: str, language: str) -> tuple[str, ...]:
    """Return further spellings of a phrase: German ones with capitals."""
    if language != "de":
        return ()
    *before, last = phrase.split()
    capitals = " ".join(word[0].upper() + word[1:] for word in phrase.split())
    return phrase[0].upper() + phrase[1:], " ".join([*before, last[0].upper() + last[1:]]), capitals
