"""Facts of the world: countries, languages, elements; and their names in other languages.

Sources: countryinfo (facts), babel (CLDR names), periodictable. Only territories that CLDR knows
by an English name are kept, under that name.
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any, NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import package_file

VOCABULARY = read_vocabulary("world")
SKIPPED = frozenset(VOCABULARY["skipped"])
CAPITALS: dict[str, list[str]] = VOCABULARY["capitals"]
CURRENCIES: dict[str, str] = VOCABULARY["currencies"]
DEMONYMS: dict[str, list[str]] = VOCABULARY["demonyms"]
COUNTRY_SOURCE = "countryinfo, babel"
LANGUAGES = ("de", "fr", "es")
"""Languages that countries are named in."""
CONTINENTS = ("Africa", "Asia", "Europe", "Americas")
LONGEST_NAME = 24
"""In characters."""
OTHER_SIGNS = (("\u00a0", " "), ("\u202f", " "), ("\u2019", "'"))
"""Spaces that do not break, and the curved apostrophe, with what is typed for them."""


@dataclass(frozen=True)
class Country:
    """A country or territory with its ISO code and English name.

    capitals, demonyms: all accepted answers, the one trained on first.
    """

    code: str
    name: str
    capitals: tuple[str, ...]
    region: str
    demonyms: tuple[str, ...]
    currency: str
    is_northern: bool
    name_in: dict[str, str]

    @property
    def capital(self) -> str:
        """The capital that is trained on."""
        return self.capitals[0]


class CountryPair(NamedTuple):
    """Two different countries."""

    first: Country
    second: Country

    @property
    def text(self) -> str:
        """Write both names with a bar between them."""
        return f"{self.first.name} | {self.second.name}"

    @property
    def key(self) -> str:
        """What stands for the pair in any order."""
        return "|".join(sorted((self.first.code, self.second.code)))


class Language(NamedTuple):
    """A language with its two-letter code and English name."""

    code: str
    name: str


class Element(NamedTuple):
    """A chemical element."""

    number: int
    name: str
    symbol: str


class ElementPair(NamedTuple):
    """Two different elements."""

    first: Element
    second: Element


def clean(text: str) -> str:
    """Return a text in NFC with plain spaces and apostrophes."""
    for sign, plain in OTHER_SIGNS:
        text = text.replace(sign, plain)
    return unicodedata.normalize("NFC", text).strip()


def _country_records() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the code and record of the territories that have a capital and a currency."""
    for path in sorted(package_file("countryinfo", "data").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        code = record.get("ISO", {}).get("alpha2", "")
        # Without a capital or a currency it is no country that can be asked about.
        if code not in SKIPPED and record.get("capital") and record.get("currencies"):
            yield code, record


def _capitals(code: str, record: dict[str, Any]) -> tuple[str, ...]:
    if code in CAPITALS:
        return tuple(CAPITALS[code])
    capital = record["capital"]
    return (clean(capital if isinstance(capital, str) else capital[0]),)


def _demonyms(code: str, record: dict[str, Any]) -> tuple[str, ...]:
    if code in DEMONYMS:
        return tuple(DEMONYMS[code])
    demonym = clean(str(record.get("demonym") or ""))
    # A comma stands between several demonyms of which none is marked as usual.
    return (demonym,) if demonym and "," not in demonym else ()


@cache
def countries() -> tuple[Country, ...]:
    """Return some two hundred countries and territories, by code."""
    from babel import Locale  # late: only the extra `suite` has it

    english = Locale.parse("en")
    territories = {tag: Locale.parse(tag).territories for tag in LANGUAGES}
    by_code: dict[str, Country] = {}
    for code, record in _country_records():
        # The first file of a code counts.
        if code not in english.territories or code in by_code:
            continue
        # Corrections by hand go before what countryinfo holds.
        currency_code = CURRENCIES.get(code, record["currencies"][0])
        currency = clean(english.currencies.get(currency_code, ""))
        by_code[code] = Country(
            code,
            name=clean(english.territories[code]),
            capitals=_capitals(code, record),
            region=record["region"],
            demonyms=_demonyms(code, record),
            # Tonga's money has an okina, which nobody types.
            currency=currency.replace("\u02bb", "'"),
            is_northern=record["latlng"][0] > 0,
            name_in={tag: clean(names[code]) for tag, names in territories.items()},
        )

    sorted_countries = [country for _, country in sorted(by_code.items())]
    return tuple(country for country in sorted_countries if len(country.name) <= LONGEST_NAME)


@cache
def capital_cities() -> tuple[Country, ...]:
    """Return the countries with one capital, which names only them."""
    # A city with two countries, or named like its own, would make the task unfair or trivial.
    uses = Counter(country.capital for country in countries())
    unambiguous = []
    for country in countries():
        is_unique = uses[country.capital] == 1 and len(country.capitals) == 1
        if is_unique and country.capital != country.name:
            unambiguous.append(country)
    return tuple(unambiguous)


@cache
def languages() -> tuple[Language, ...]:
    """Return the languages that have a two-letter code and an English name of one plain word."""
    from babel import Locale  # late: only the extra `suite` has it

    plain = []
    for code, name in sorted(Locale.parse("en").languages.items()):
        language = Language(code, clean(name))
        if len(code) == 2 and language.name.isalpha() and language.name.isascii():
            plain.append(language)
    return tuple(plain)


@cache
def german_language_names() -> dict[str, str]:
    """Return the German name of each language, by code."""
    from babel import Locale  # late: only the extra `suite` has it

    return {code: clean(name) for code, name in Locale.parse("de").languages.items()}


@cache
def elements() -> tuple[Element, ...]:
    """Return the 118 elements."""
    import periodictable  # late: only the extra `suite` has it

    known = []
    for element in periodictable.elements:
        # Number 0 is the neutron.
        if element.number > 0:
            known.append(Element(element.number, element.name, element.symbol))
    return tuple(known)


def draw_country(rng: Random) -> Country:
    """Draw a country."""
    return rng.choice(countries())


def draw_capital(rng: Random) -> Country:
    """Draw a country that its capital names."""
    return rng.choice(capital_cities())


def draw_country_pair(rng: Random) -> CountryPair:
    """Draw two different countries."""
    return CountryPair(*rng.sample(countries(), 2))


def draw_language(rng: Random) -> Language:
    """Draw a language."""
    return rng.choice(languages())


def draw_element(rng: Random) -> Element:
    """Draw an element."""
    return rng.choice(elements())


def draw_element_pair(rng: Random) -> ElementPair:
    """Draw two different elements."""
    return ElementPair(*rng.sample(elements(), 2))


def draw_capital_statement(rng: Random) -> Row:
    """Draw a statement about a capital, true in half of the rows."""
    country = rng.choice(capital_cities())
    other = country
    if rng.random() >= 0.5:
        other = rng.choice(capital_cities())
    truth = "true" if other is country else "false"
    text = f"{country.name} has the capital {other.capital}"
    return Row(text, (truth,), f"{country.code}|{other.code}")


def draw_capital_choice(rng: Random) -> Row:
    """Draw a country and three cities, one of which is its capital."""
    # The order of the three is random: the place of the answer tells nothing.
    choices = rng.sample(capital_cities(), 3)
    country = rng.choice(choices)
    cities = ", ".join(choice.capital for choice in choices)
    return Row(f"{country.name}: {cities}?", country.capitals, f"{country.code}|{cities}")


def northern_of_two(pair: CountryPair) -> str | None:
    """Return which country lies north of the equator; None where both or neither does."""
    if pair.first.is_northern == pair.second.is_northern:
        return None
    return "first" if pair.first.is_northern else "second"


def continent_of_first(pair: CountryPair) -> str | None:
    """Return the continent of the first country; None where it is not one of the labels."""
    return pair.first.region if pair.first.region in CONTINENTS else None


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_country_recipes(),
        _capital_recipe(),
        *_country_pair_recipes(),
        *_capital_check_recipes(),
        *_language_recipes(),
        *_element_recipes(),
    ]


def _country_recipes() -> list[Recipe]:
    # Bare names: what is asked of them is in the definition alone.
    relations = Group(
        inputs="country",
        subcategory="relation",
        source=COUNTRY_SOURCE,
        material=draw_country,
        show=lambda country: country.name,
        entity=lambda country: country.code,
        knowledge=True,
    )
    translations = replace(relations, subcategory="translation")
    return [
        # "Ireland" -> "Dublin"
        relations.free(
            "rel_capital",
            lambda country: country.capitals,
            "What is the capital of the country?",
            "Name the capital city.",
            "country to capital",
        ),
        # Every adjective in use is accepted; countries without one are left out.
        # "Ireland" -> "Irish"
        relations.free(
            "rel_demonym",
            lambda country: country.demonyms,
            "What are the people of the country called?",
            "Give the adjective of nationality.",
            "country to demonym",
        ),
        # CLDR's name of the money, such as Australian Dollar.
        # "Ireland" -> "Euro"
        relations.free(
            "rel_currency",
            lambda country: country.currency,
            "Which money is used there?",
            "Name the currency of the country.",
            "country to currency",
        ),
        # "Ireland" -> "IE"
        relations.free(
            "rel_iso2",
            lambda country: country.code,
            "Write the two-letter code of the country.",
            "Abbreviate the country as ISO does.",
            "country to code",
        ),
        # "Ireland" -> "Irland"
        translations.free(
            "tr_country_en_de",
            lambda country: country.name_in["de"],
            "Write the country's name in German.",
            "What is the country called in German?",
            "country, English to German",
        ),
        # "Ireland" -> "Irlande"
        translations.free(
            "tr_country_en_fr",
            lambda country: country.name_in["fr"],
            "Write the country's name in French.",
            "What is the country called in French?",
            "country, English to French",
        ),
        # "Ireland" -> "Irlanda"
        translations.free(
            "tr_country_en_es",
            lambda country: country.name_in["es"],
            "Write the country's name in Spanish.",
            "What is the country called in Spanish?",
            "country, English to Spanish",
        ),
    ]


def _capital_recipe() -> Recipe:
    capitals = Group(
        inputs="capital",
        subcategory="relation",
        source=COUNTRY_SOURCE,
        material=draw_capital,
        show=lambda country: country.capital,
        entity=lambda country: country.code,
        knowledge=True,
    )
    # Novel: the backbone has seen every pair of country and capital, but in the other direction.
    # "New Delhi" -> "India"
    return capitals.free(
        "rel_capital_inv",
        lambda country: country.name,
        "Of which country is this the capital?",
        "Name the country that is governed from this city.",
        "capital to country",
        novel=True,
    )


def _country_pair_recipes() -> list[Recipe]:
    pairs = Group(
        inputs="country pair",
        subcategory="geography",
        source=COUNTRY_SOURCE,
        material=draw_country_pair,
        show=lambda pair: pair.text,
        entity=lambda pair: pair.key,
        knowledge=True,
    )
    return [
        # "Lithuania | Australia" -> "no"
        pairs.labelled(
            "geo_same_region",
            ("yes", "no"),
            lambda pair: "yes" if pair.first.region == pair.second.region else "no",
            "Do the two countries lie on the same continent? yes or no",
            "Same part of the world? Answer yes or no.",
            "one continent: yes or no",
        ),
        # Two countries of the same hemisphere have no fair answer.
        # "Lithuania | Australia" -> "first"
        pairs.labelled(
            "geo_north",
            ("first", "second"),
            northern_of_two,
            "Which country lies north of the equator, the first or the second?",
            "The northern hemisphere: first or second?",
            "north of the equator: first or second",
        ),
        # The second country is there to mislead: the input is shared with the tasks before.
        # "Lithuania | Australia" -> "Europe"
        pairs.labelled(
            "geo_first_region",
            CONTINENTS,
            continent_of_first,
            "On which continent is the first country: Africa, Asia, Europe or Americas?",
            "Continent on the left side: Africa, Asia, Europe, Americas.",
            "first country's continent",
        ),
    ]


def _capital_check_recipes() -> list[Recipe]:
    return [
        # "India has the capital New Delhi" -> "true"
        Recipe(
            name="fact_capital",
            category="cls",
            subcategory="fact checking",
            metric="accuracy",
            definitions=(
                "Is the statement about the capital true or false?",
                "Check the fact: true or false.",
                "capital fact: true or false",
            ),
            draw=draw_capital_statement,
            inputs="capital statement",
            source=COUNTRY_SOURCE,
            options=("true", "false"),
            knowledge=True,
        ),
        # The wrong cities are capitals too: knowing what a capital is does not help.
        # "Bahrain: New Delhi, Manama, Paris?" -> "Manama"
        Recipe(
            name="mcq_capital",
            category="non-cls",
            subcategory="multiple choice",
            metric="exact-match",
            definitions=(
                "Choose the capital of the country.",
                "Which of the three cities is the capital?",
                "pick the capital",
            ),
            draw=draw_capital_choice,
            inputs="capital choice",
            source=COUNTRY_SOURCE,
            knowledge=True,
        ),
    ]


def _language_recipes() -> list[Recipe]:
    translations = Group(
        inputs="language",
        subcategory="translation",
        source="babel",
        material=draw_language,
        show=lambda language: language.name,
        entity=lambda language: language.code,
        knowledge=True,
    )
    relations = replace(translations, subcategory="relation")
    return [
        # Most German names end in -isch; the stems and the others must be known.
        # "Russian" -> "Russisch"
        translations.free(
            "tr_language_en_de",
            lambda language: german_language_names().get(language.code),
            "Write the language's name in German.",
            "How is this language called in German?",
            "language, English to German",
        ),
        # Often the first two letters, but not always.
        # "Russian" -> "ru"
        relations.free(
            "rel_language_code",
            lambda language: language.code,
            "Write the ISO code of the language.",
            "Abbreviate the language's name as in web pages.",
            "language to code",
        ),
    ]


def _element_recipes() -> list[Recipe]:
    single = Group(
        inputs="element",
        subcategory="chemistry",
        source="periodictable",
        material=draw_element,
        show=lambda element: element.name,
        entity=lambda element: element.symbol,
        knowledge=True,
    )
    pairs = Group(
        inputs="element pair",
        subcategory="chemistry",
        source="periodictable",
        material=draw_element_pair,
        show=lambda pair: f"{pair.first.name} | {pair.second.name}",
        # The same two elements in the other order are no new pair.
        entity=lambda pair: "|".join(sorted((pair.first.symbol, pair.second.symbol))),
        knowledge=True,
    )
    return [
        # "silver" -> "Ag"
        single.free(
            "rel_element_symbol",
            lambda element: element.symbol,
            "Write the symbol of the element.",
            "How is the element abbreviated in chemistry?",
            "element to symbol",
        ),
        # By atomic number, which the weight follows nearly everywhere.
        # "silver | sodium" -> "first"
        pairs.labelled(
            "cmp_element_heavier",
            ("first", "second"),
            lambda pair: "first" if pair.first.number > pair.second.number else "second",
            "Which element has the higher number, the first or the second?",
            "Compare the atoms: first or second is heavier?",
            "heavier element: first or second",
        ),
    ]
