"""More facts of the countries of `ipt.tasks.world`, and cities and states: shared by the families about the world.

Sources: countryinfo (facts), babel (CLDR names), airportsdata (cities, airports), us (states). Where countryinfo holds
a replaced currency, a malformed demonym or a border at sea, a table here gives the fact of today.
"""

import csv
import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from random import Random

from ipt.tasks.words import package_file
from ipt.tasks.world import Country, clean, countries

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
LANGUAGES_FIRST = {
    "AW": "nl",
    "HK": "zh",
    "IE": "en",
    "PK": "ur",
    "RS": "sr",
    "RW": "rw",
    "VA": "it",
    "ZA": "en",
    "BI": "rn",
    "MY": "ms",
    "PH": "fil",
}
LANGUAGES_WRONG = {("AW", "pa"), ("AZ", "hy"), ("CZ", "sk"), ("RS", "rs"), ("AD", "oc"), ("AM", "ru"), ("CY", "hy")}
SEA_BORDERS = {("IN", "LK"), ("IR", "KW")}
LAND_BORDERS = {("CN", "NP"), ("IN", "MM"), ("IQ", "KW"), ("IT", "VA"), ("SD", "TD")}  # held on one side only
DOUBTFUL_BORDERS = {("AL", "RS"), ("CY", "GB"), ("FR", "NL"), ("BR", "FR"), ("FR", "SR"), ("MK", "RS"), ("ME", "RS")}
WITH_THE = {"AE", "BS", "GB", "GM", "IM", "KM", "MV", "NL", "PH", "SC", "US"}
CALLING = {"KZ": "7", "SJ": "47"}
CITY_COUNTRIES = ("BR", "CN", "IN", "RU")


@dataclass(frozen=True)
class Place:
    """A country with what `Country` does not hold; `longitude` counts eastwards, `area` is in square kilometres."""

    country: Country
    alpha3: str
    subregion: str
    population: int
    area: float
    latitude: float
    longitude: float
    languages: tuple[str, ...]
    demonyms: tuple[str, ...]
    currency: str
    neighbours: tuple[str, ...]

    @property
    def code(self) -> str:
        return self.country.code

    @property
    def name(self) -> str:
        return self.country.name

    @property
    def region(self) -> str:
        return self.country.region

    @property
    def said(self) -> str:
        """The name as it stands inside a sentence: "the Netherlands"."""
        needs = self.code in WITH_THE or self.name.endswith(("Islands", "Republic"))
        return f"the {self.name}" if needs else self.name

    @property
    def continent(self) -> str:
        return "the Americas" if self.region == "Americas" else self.region

    @property
    def calling(self) -> str:
        return CALLING.get(self.code, self.country.calling.replace("-", ""))

    @property
    def capital(self) -> str:
        return self.country.capital[0]


@cache
def places() -> tuple[Place, ...]:
    """The countries of `world.countries`, in its order."""
    records = _records()
    code_of = {record["ISO"]["alpha3"]: code for code, record in records.items()}
    borders = {c.code: {code_of.get(b, "") for b in records[c.code].get("borders", ())} for c in countries()}
    return tuple(_place(c, records[c.code], borders) for c in countries())


def _records() -> dict[str, dict]:  # type: ignore[type-arg]
    """Return the first record of each country code, by file name."""
    found: dict[str, dict] = {}  # type: ignore[type-arg]
    for path in sorted(package_file("countryinfo", "data").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        if "alpha2" in record.get("ISO", {}):
            found.setdefault(record["ISO"]["alpha2"], record)
    return found


def _place(c: Country, record: dict, borders: dict[str, set[str]]) -> Place:  # type: ignore[type-arg]
    from babel import Locale  # late: only the extra `suite` has it

    english = Locale.parse("en")
    tags = [t for t in record.get("languages") or () if t and (c.code, t) not in LANGUAGES_WRONG]
    first = LANGUAGES_FIRST.get(c.code)
    tags = [first, *(t for t in tags if t != first)] if first else tags
    latitude, longitude = map(float, record["latlng"])
    demonyms = DEMONYMS.get(c.code, (c.demonym,) if c.demonym and "," not in c.demonym else ())
    currency = clean(english.currencies[CURRENCIES[c.code]]) if c.code in CURRENCIES else c.currency
    on_land = [b for b in borders if b != c.code and _share_border(c.code, b, borders)]
    return Place(
        c, record["ISO"]["alpha3"], record["subregion"], int(record["population"]), float(record.get("area") or 0),
        latitude, longitude, tuple(clean(english.languages[t]) for t in tags if t in english.languages),
        demonyms, currency.replace("\u02bb", "'"), tuple(sorted(on_land)),
    )  # fmt: skip


def _share_border(a: str, b: str, borders: dict[str, set[str]]) -> bool:
    both = (min(a, b), max(a, b))
    return (b in borders[a] and a in borders[b] and both not in SEA_BORDERS) or both in LAND_BORDERS


@cache
def by_code() -> dict[str, Place]:
    return {p.code: p for p in places()}


@cache
def by_name() -> dict[str, Place]:
    return {p.name: p for p in places()}


def place(rng: Random) -> Place:
    """Draw a country: the distribution of `world.country`."""
    return rng.choice(places())


def pair(rng: Random) -> tuple[Place, Place]:
    """Draw two countries: the distribution of `world.country_pair`."""
    first, second = rng.sample(places(), 2)
    return first, second


def show_pair(two: tuple[Place, Place]) -> str:
    return f"{two[0].name} | {two[1].name}"


def pair_key(two: tuple[Place, Place]) -> str:
    return "|".join(sorted(p.code for p in two))


@cache
def with_capital() -> tuple[Place, ...]:
    """The countries of `world.capital_cities`, in its order: their capital names only them."""
    from ipt.tasks.world import capital_cities

    return tuple(by_code()[c.code] for c in capital_cities())


@cache
def cities() -> dict[str, tuple[str, ...]]:
    """Cities with an airport, by the codes of four large countries; a name of two countries is left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in airports():
        found[row["city"]].add(row["country"])
    return {code: tuple(sorted(c for c, where in found.items() if where == {code})) for code in CITY_COUNTRIES}


@cache
def airports() -> tuple[dict[str, str], ...]:
    """Airports with a three-letter code, a plain name and a plain city name that no other airport has."""
    with package_file("airportsdata", "airports.csv").open(encoding="utf8", newline="") as handle:
        rows = [{field: clean(text) for field, text in row.items()} for row in csv.DictReader(handle) if row["iata"]]
    uses = Counter(row["city"] for row in rows)
    return tuple(row for row in rows if _plain(row["city"], 18) and _plain(row["name"], 30) and uses[row["city"]] < 3)


def _plain(text: str, longest: int) -> bool:
    return 3 < len(text) <= longest and text[0].isupper() and text.replace(" ", "").replace("-", "").isalpha()


@cache
def states() -> tuple[tuple[str, str, str], ...]:
    """(name, abbreviation, capital) of the fifty states."""
    import us

    return tuple((s.name, s.abbr, s.capital) for s in sorted(us.states.STATES, key=lambda s: s.name))
