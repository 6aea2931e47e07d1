"""Names of countries, languages, months and weekdays in other languages and scripts (babel).

The inputs of English country and language names are those of `ipt.tasks.world`.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from random import Random

from ipt.tasks.atlas import Place, place, places
from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.world import clean, language_in, language_names

EIGHT = {
    "de": "German",
    "fr": "French",
    "es": "Spanish",
    "it": "Italian",
    "pt": "Portuguese",
    "nl": "Dutch",
    "pl": "Polish",
    "tr": "Turkish",
}
SCRIPTS = {
    "es": "Latin",
    "el": "Greek",
    "ru": "Cyrillic",
    "ar": "Arabic",
    "he": "Hebrew",
    "hi": "Devanagari",
    "th": "Thai",
    "ko": "Hangul",
}
DATE_FRAMES = {
    "de": "{weekday}, {day}. {month} {year}",
    "fr": "{weekday} {day} {month} {year}",
    "es": "{weekday}, {day} de {month} de {year}",
    "it": "{weekday} {day} {month} {year}",
    "pt": "{weekday}, {day} de {month} de {year}",
    "nl": "{weekday} {day} {month} {year}",
    "pl": "{weekday}, {day} {month} {year}",
    "tr": "{day} {month} {year} {weekday}",
}
FIRST_DAY, DAYS = date(1950, 1, 1), 36500


@dataclass(frozen=True)
class Foreign:
    """A country's name in another language."""

    place: Place
    tag: str
    text: str


@dataclass(frozen=True)
class Day:
    """A date written out in another language."""

    day: date
    tag: str
    text: str


@cache
def territories(tag: str) -> dict[str, str]:
    from babel import Locale  # late: only the extra `suite` has it

    return {code: clean(name) for code, name in Locale.parse(tag).territories.items()}


@cache
def calendar(tag: str) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of the months (1 to 12) and of the weekdays (0 is Monday)."""
    from babel import Locale

    locale = Locale.parse(tag)
    return dict(locale.months["format"]["wide"]), dict(locale.days["format"]["wide"])


def named(rng: Random, tags: tuple[str, ...]) -> Foreign:
    found, tag = place(rng), rng.choice(tags)
    return Foreign(found, tag, territories(tag)[found.code])


@cache
def unlike() -> frozenset[str]:
    """The country names that stand in exactly one of the eight languages."""
    uses = Counter(territories(tag)[p.code] for tag in EIGHT for p in places())
    return frozenset(text for text, count in uses.items() if count == 1)


def in_any_language(rng: Random) -> Foreign | None:
    found = named(rng, tuple(EIGHT))
    return found if found.text in unlike() and found.text != found.place.name else None


def in_german(rng: Random) -> Foreign:
    return named(rng, ("de",))


def in_any_script(rng: Random) -> Foreign:
    return named(rng, tuple(SCRIPTS))


def dated(rng: Random) -> Day | None:
    """Draw a date in one of eight languages; None where its words are also those of another one."""
    day, tag = FIRST_DAY + timedelta(days=rng.randrange(DAYS)), rng.choice(tuple(EIGHT))
    texts = [date_text(day, other) for other in EIGHT]
    text = date_text(day, tag)
    return Day(day, tag, text) if texts.count(text) == 1 else None


def date_text(day: date, tag: str) -> str:
    months, weekdays = calendar(tag)
    return DATE_FRAMES[tag].format(weekday=weekdays[day.weekday()], day=day.day, month=months[day.month], year=day.year)


def recipes() -> list[Recipe]:
    return [*_countries(), *_from_german(), *_languages(), *_any(), *_scripts(), *_dates()]


def _countries() -> list[Recipe]:
    country = Group("country", "translation", "countryinfo, babel", place, lambda p: p.name, lambda p: p.code, True)

    def into(tag: str) -> Recipe:
        language = EIGHT[tag]
        return country.free(
            f"tr_country_en_{tag}",
            lambda p: territories(tag)[p.code],
            f"Write the country's name in {language}.",
            f"What is the country called in {language}?",
            f"Translate the name of the country from English into {language}.",
            f"How does a {language} atlas print this country's name?",
            f"country name, English to {language}",
        )

    return [into(tag) for tag in ("it", "pt", "nl", "pl")]


def _from_german() -> list[Recipe]:
    group = Group(
        "country in German",
        "translation",
        "countryinfo, babel",
        in_german,
        lambda x: x.text,
        lambda x: x.place.code,
        True,
    )
    return [
        group.free(
            "tr_country_de_en",
            lambda x: x.place.name,
            "Write the country's name in English.",
            "What is the country called in English?",
            "Translate the name of the country from German into English.",
            "How does an English atlas print this country's name?",
            "country name, German to English",
        ),
        group.free(
            "rel_german_name_code",
            lambda x: x.place.code,
            "Write the two-letter code of the country with this German name.",
            "Which country code belongs to the German name?",
            "Abbreviate the country that is called so in German.",
            "Give the two capital letters for the country.",
            "German country name to code",
        ),
        group.free(
            "tr_country_de_fr",
            lambda x: territories("fr")[x.place.code],
            "Translate the name of the country from German into French.",
            "Write this German country name in French.",
            "What do the French call the country with this German name?",
            "How does a French atlas print the German name?",
            "country name, German to French",
            novel=True,
        ),
    ]


def _languages() -> list[Recipe]:
    group = Group(
        "language",
        "translation",
        "babel",
        lambda rng: rng.choice(language_names()),
        lambda x: x[1],
        lambda x: x[0],
        True,
    )

    def into(tag: str, novel: bool = False) -> Recipe:
        language = EIGHT[tag]
        return group.free(
            f"tr_language_en_{tag}",
            lambda x: language_in(tag).get(x[0]),
            f"Write the name of the language in {language}.",
            f"What is this language called in {language}?",
            f"Translate the name of the language from English into {language}.",
            f"How does a {language} dictionary print this language's name?",
            f"language name, English to {language}",
            novel=novel,
        )

    return [into("es"), into("fr"), into("it", novel=True)]


def _any() -> list[Recipe]:
    group = Group(
        "country in any language",
        "language identification",
        "countryinfo, babel",
        in_any_language,
        lambda x: x.text,
        lambda _: "",
        True,
    )
    known = ", ".join(EIGHT.values())
    return [
        group.labelled(
            "lid_country_name",
            tuple(EIGHT.values()),
            lambda x: EIGHT[x.tag],
            f"In which language is the country's name: {known}?",
            f"Name the language of the word: {known}.",
            f"The name is from one of these; which: {known}?",
            "Say from which language's map this country name was copied.",
            "language of the country name",
        ),
        group.free(
            "tr_country_any_en",
            lambda x: x.place.name,
            "Write the country's English name, whatever the language of the input.",
            "Which country is it? Give the name in English.",
            "Translate this foreign name of a country into English.",
            "How does an English atlas print it?",
            "country name, any language to English",
        ),
    ]


def _scripts() -> list[Recipe]:
    group = Group(
        "country in any script",
        "language identification",
        "countryinfo, babel",
        in_any_script,
        lambda x: x.text,
        lambda _: "",
        True,
    )
    known = ", ".join(SCRIPTS.values())
    return [
        group.labelled(
            "lid_script",
            tuple(SCRIPTS.values()),
            lambda x: SCRIPTS[x.tag],
            f"In which script is it written: {known}?",
            f"Name the alphabet: {known}.",
            f"Look at the letters and say which script it is: {known}.",
            "To which writing system do the signs belong?",
            "script of the country name",
        ),
        group.free(
            "tr_country_script_code",
            lambda x: x.place.code,
            "Write the two-letter code of the country, whatever the script.",
            "Which country code belongs to the name in these letters?",
            "Abbreviate the country with two Latin capitals.",
            "Read the name in its script and give the country code.",
            "country name in any script to code",
        ),
    ]


def _dates() -> list[Recipe]:
    group = Group("date in any language", "language identification", "babel", dated, lambda x: x.text)
    known = ", ".join(EIGHT.values())
    return [
        group.labelled(
            "lid_date",
            tuple(EIGHT.values()),
            lambda x: EIGHT[x.tag],
            f"In which language is the date: {known}?",
            f"Name the language of month and weekday: {known}.",
            f"A calendar in one of these languages says so; which: {known}?",
            "Say which language the day is written in.",
            "The language of the foreign date.",
        ),
        group.free(
            "tr_date_month",
            lambda x: calendar("en")[0][x.day.month],
            "Write the month of the date in English.",
            "Which month is it? Answer in English.",
            "Find the foreign name of the month and translate it into English.",
            "What does an English calendar call this month?",
            "month of the foreign date, in English",
        ),
        group.free(
            "tr_date_weekday",
            lambda x: calendar("en")[1][x.day.weekday()],
            "Write the day of the week in English.",
            "Which weekday is it? Answer in English.",
            "Find the foreign name of the weekday and translate it into English.",
            "What does an English calendar call this day of the week?",
            "weekday of the foreign date, in English",
        ),
        group.free(
            "tr_date_month_year",
            lambda x: f"{calendar('en')[0][x.day.month]} {x.day.year}",
            "Write month and year of the date in English.",
            "In which month of which year is it? Answer in English.",
            "Keep month and year only and translate the month.",
            "What stands on top of the English calendar page?",
            "month and year of the foreign date",
            novel=True,
        ),
    ]
