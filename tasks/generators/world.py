"""Facts of the world: countries, languages, elements; and their names in other languages.

Sources: countryinfo (facts), babel (CLDR names), periodictable. Only territories that CLDR knows by an English name are kept,
under that name.
"""

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from random import Random

from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.words import package_file

LANGUAGES = {"de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese", "tr": "Turkish"}
# Where countryinfo holds a replaced capital or currency, or a malformed demonym, the facts of today.
CAPITALS = {
    "BI": ("Gitega",), "BO": ("Sucre", "La Paz"), "HK": ("Hong Kong",), "KZ": ("Astana",),
    "LK": ("Colombo", "Sri Jayawardenepura Kotte"), "MM": ("Naypyidaw",), "MS": ("Plymouth", "Brades"),
    "SZ": ("Mbabane", "Lobamba"), "ZA": ("Pretoria", "Cape Town"),
}  # fmt: skip
CURRENCIES = {
    "BG": "EUR", "BY": "BYN", "CH": "CHF", "CL": "CLP", "CU": "CUP", "HR": "EUR", "MR": "MRU", "SL": "SLE", "ST": "STN",
    "SV": "USD", "UY": "UYU", "VE": "VES", "ZM": "ZMW", "ZW": "ZWG",
}  # fmt: skip
DEMONYMS = {
    "AG": ("Antiguan", "Barbudan"), "AR": ("Argentine", "Argentinean", "Argentinian"),
    "BA": ("Bosnian", "Herzegovinian"), "BD": ("Bangladeshi",), "BF": ("Burkinabe", "Burkinabé"),
    "BW": ("Botswanan", "Motswana"), "CV": ("Cape Verdean",), "CX": (), "DJ": ("Djiboutian",),
    "EC": ("Ecuadorian", "Ecuadorean"), "GF": ("French Guianese",), "GG": (), "GI": ("Gibraltarian",),
    "GP": ("Guadeloupean",), "GW": ("Bissau-Guinean",), "HK": ("Hong Konger",), "IS": ("Icelandic", "Icelander"),
    "JE": (), "KG": ("Kyrgyz", "Kirghiz"), "KM": ("Comorian", "Comoran"), "KN": (), "KZ": ("Kazakh", "Kazakhstani"),
    "LI": ("Liechtensteiner",), "LS": ("Basotho", "Mosotho"), "MP": (), "MQ": ("Martinican",), "MV": ("Maldivian",),
    "NZ": ("New Zealander",), "PM": (), "RE": (), "SI": ("Slovenian", "Slovene"), "SJ": (), "SM": ("Sammarinese",),
    "SR": ("Surinamese", "Surinamer"), "ST": ("São Toméan",), "TJ": ("Tajik", "Tajikistani"),
    "UZ": ("Uzbek", "Uzbekistani"), "VA": (), "WF": (), "YT": (),
}  # fmt: skip
SKIP = {"AN", "CS", "AQ", "BV", "HM", "TF", "UM", "IO", "EH", "XK", "TW", "PS", "GS"}


def clean(text: str) -> str:
    """NFC with plain spaces and apostrophes."""
    for odd, plain in (("\u00a0", " "), ("\u202f", " "), ("\u2019", "'")):
        text = text.replace(odd, plain)
    return unicodedata.normalize("NFC", text).strip()


@dataclass(frozen=True)
class Country:
    code: str
    name: str
    capital: tuple[str, ...]
    region: str
    demonyms: tuple[str, ...]
    currency: str
    north: bool
    names: dict[str, str]

    def __hash__(self) -> int:
        return hash(self.code)


@cache
def countries() -> tuple[Country, ...]:
    """Some two hundred countries and territories, by code."""
    from babel import Locale  # late: only the extra `suite` has it

    english = Locale.parse("en")
    found: dict[str, Country] = {}
    for path in sorted(package_file("countryinfo", "data").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        code = record.get("ISO", {}).get("alpha2", "")
        if code in SKIP or code not in english.territories or not record.get("capital") or not record.get("currencies"):
            continue
        capital = record["capital"] if isinstance(record["capital"], str) else record["capital"][0]
        names = {tag: clean(Locale.parse(tag).territories[code]) for tag in LANGUAGES}
        currency = english.currencies.get(CURRENCIES.get(code, record["currencies"][0]), "")
        demonym = clean(str(record.get("demonym") or ""))
        demonyms = DEMONYMS.get(code, (demonym,) if demonym and "," not in demonym else ())
        found.setdefault(code, Country(
            code, clean(english.territories[code]), CAPITALS.get(code, (clean(capital),)), record["region"], demonyms,
            clean(currency).replace("\u02bb", "'"), record["latlng"][0] > 0, names))  # fmt: skip
    return tuple(c for _, c in sorted(found.items()) if len(c.name) <= 24)


@cache
def capital_cities() -> tuple[Country, ...]:
    """The countries whose capital names only them."""
    uses = Counter(c.capital[0] for c in countries())
    return tuple(c for c in countries() if uses[c.capital[0]] == 1 and c.capital[0] != c.name and len(c.capital) == 1)


@cache
def language_names() -> tuple[tuple[str, str], ...]:
    """(code, English name) of the languages that have a two-letter code and a name of one word."""
    from babel import Locale

    names = Locale.parse("en").languages
    plain = [(code, clean(name)) for code, name in sorted(names.items()) if len(code) == 2]
    kept = [(code, name) for code, name in plain if " " not in name and "(" not in name and name.isalpha() and name.isascii()]
    return tuple(kept)


@cache
def language_in(tag: str) -> dict[str, str]:
    from babel import Locale

    return {code: clean(name) for code, name in Locale.parse(tag).languages.items()}


@cache
def elements() -> tuple[tuple[int, str, str], ...]:
    """(number, name, symbol) of the 118 elements."""
    import periodictable

    return tuple((e.number, e.name, e.symbol) for e in periodictable.elements if e.number > 0)


def country(rng: Random) -> Country:
    return rng.choice(countries())


def country_pair(rng: Random) -> tuple[Country, Country]:
    first, second = rng.sample(countries(), 2)
    return first, second


def statement(rng: Random, pool: tuple[Country, ...], value, frame: str) -> Row | None:  # type: ignore[no-untyped-def]
    """A true fact in half of the rows, another country's value in the others."""
    subject = rng.choice(pool)
    other = subject if rng.random() < 0.5 else rng.choice(pool)
    if other is not subject and value(other) == value(subject):
        return None
    return Row(f"{subject.name} {frame} {value(other)}", ("true" if other is subject else "false",), f"{subject.code}|{other.code}")


def choice_of_capital(rng: Random) -> Row:
    chosen = rng.sample(capital_cities(), 3)
    right = rng.choice(chosen)
    listed = ", ".join(c.capital[0] for c in chosen)
    return Row(f"{right.name}: {listed}?", right.capital, f"{right.code}|{listed}")


def recipes() -> list[Recipe]:
    return [*_countries(), *_more_countries(), *_names()]


def fact(name: str, subcategory: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
    """A recipe over bare country names."""
    category, metric = ("cls", "macro-F1") if options else ("non-cls", "exact-match")
    draw = over(country, lambda c: c.name, answer, lambda c: c.code)
    return Recipe(name, category, subcategory, metric, definitions, draw, "country", "countryinfo, babel", options, True, novel)


def _countries() -> list[Recipe]:
    return [
        fact("rel_capital", "relation", ("What is the capital of the country?", "Name the capital city.", "country to capital"), lambda c: c.capital),
        fact("rel_demonym", "relation", ("What are the people of the country called?", "Give the adjective of nationality.", "country to demonym"), lambda c: c.demonyms),
        fact("rel_currency", "relation", ("Which money is used there?", "Name the currency of the country.", "country to currency"), lambda c: c.currency or None),
        fact("rel_iso2", "relation", ("Write the two-letter code of the country.", "Abbreviate the country as ISO does.", "country to code"), lambda c: c.code),
        fact("tr_country_en_de", "translation", ("Write the country's name in German.", "What is the country called in German?", "country, English to German"), lambda c: c.names["de"]),
        fact("tr_country_en_fr", "translation", ("Write the country's name in French.", "What is the country called in French?", "country, English to French"), lambda c: c.names["fr"]),
        fact("tr_country_en_es", "translation", ("Write the country's name in Spanish.", "What is the country called in Spanish?", "country, English to Spanish"), lambda c: c.names["es"]),
    ]  # fmt: skip


def _more_countries() -> list[Recipe]:
    region = {"Africa", "Asia", "Europe", "Americas"}
    by_capital = over(lambda rng: rng.choice(capital_cities()), lambda c: c.capital[0], lambda c: c.name, lambda c: c.code)
    same = over(
        country_pair,
        lambda p: f"{p[0].name} | {p[1].name}",
        lambda p: "yes" if p[0].region == p[1].region else "no",
        lambda p: "|".join(sorted(c.code for c in p)),
    )
    north = over(
        country_pair,
        lambda p: f"{p[0].name} | {p[1].name}",
        lambda p: {(True, False): "first", (False, True): "second"}.get((p[0].north, p[1].north)),
        lambda p: "|".join(sorted(c.code for c in p)),
    )
    where = over(
        country_pair,
        lambda p: f"{p[0].name} | {p[1].name}",
        lambda p: p[0].region if p[0].region in region else None,
        lambda p: "|".join(sorted(c.code for c in p)),
    )
    pairs = ("country pair", "countryinfo, babel")
    return [
        Recipe("rel_capital_inv", "non-cls", "relation", "exact-match", ("Of which country is this the capital?", "Name the country that is governed from this city.", "capital to country"), by_capital, "capital", "countryinfo, babel", None, True, True),
        Recipe("geo_same_region", "cls", "geography", "accuracy", ("Do the two countries lie on the same continent? yes or no", "Same part of the world? Answer yes or no.", "one continent: yes or no"), same, *pairs, ("yes", "no"), True),
        Recipe("geo_north", "cls", "geography", "accuracy", ("Which country lies north of the equator, the first or the second?", "The northern hemisphere: first or second?", "north of the equator: first or second"), north, *pairs, ("first", "second"), True),
        Recipe("geo_first_region", "cls", "geography", "accuracy", ("On which continent is the first country: Africa, Asia, Europe or Americas?", "Continent on the left side: Africa, Asia, Europe, Americas.", "first country's continent"), where, *pairs, ("Africa", "Asia", "Europe", "Americas"), True),
        Recipe("fact_capital", "cls", "fact checking", "accuracy", ("Is the statement about the capital true or false?", "Check the fact: true or false.", "capital fact: true or false"), lambda rng: statement(rng, capital_cities(), lambda c: c.capital[0], "has the capital"), "capital statement", "countryinfo, babel", ("true", "false"), True),
        Recipe("mcq_capital", "non-cls", "multiple choice", "exact-match", ("Choose the capital of the country.", "Which of the three cities is the capital?", "pick the capital"), choice_of_capital, "capital choice", "countryinfo, babel", None, True),
    ]  # fmt: skip


def _names() -> list[Recipe]:
    def language(name: str, tag: str, novel: bool = False) -> Recipe:
        label = {**LANGUAGES, "nl": "Dutch", "sv": "Swedish"}[tag]
        draw = over(lambda rng: rng.choice(language_names()), lambda x: x[1], lambda x: language_in(tag).get(x[0]), lambda x: x[0])
        words = (f"Write the language's name in {label}.", f"How is this language called in {label}?", f"language, English to {label}")
        return Recipe(name, "non-cls", "translation", "exact-match", words, draw, "language", "babel", None, True, novel)

    def element(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        draw = over(lambda rng: rng.choice(elements()), lambda e: e[1], answer, lambda e: e[2])
        return Recipe(name, category, "chemistry", metric, definitions, draw, "element", "periodictable", options, True, novel)

    two = lambda rng: tuple(rng.sample(elements(), 2))  # noqa: E731
    heavier = over(
        two,
        lambda p: f"{p[0][1]} | {p[1][1]}",
        lambda p: "first" if p[0][0] > p[1][0] else "second",
        lambda p: "|".join(sorted(e[2] for e in p)),
    )
    return [
        language("tr_language_en_de", "de"),
        Recipe("rel_language_code", "non-cls", "relation", "exact-match", ("Write the ISO code of the language.", "Abbreviate the language's name as in web pages.", "language to code"),
               over(lambda rng: rng.choice(language_names()), lambda x: x[1], lambda x: x[0], lambda x: x[0]), "language", "babel", None, True),
        element("rel_element_symbol", ("Write the symbol of the element.", "How is the element abbreviated in chemistry?", "element to symbol"), lambda e: e[2]),
        Recipe("cmp_element_heavier", "cls", "chemistry", "accuracy", ("Which element has the higher number, the first or the second?", "Compare the atoms: first or second is heavier?", "heavier element: first or second"), heavier, "element pair", "periodictable", ("first", "second"), True),
    ]  # fmt: skip
