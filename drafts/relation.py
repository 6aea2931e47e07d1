"""One thing to another: countries, their codes and capitals, elements, cities, states.

The inputs of countries, capitals and elements are those of `ipt.tasks.world`. Sources: countryinfo, babel,
periodictable, airportsdata, us.
"""

from collections import Counter
from functools import cache
from random import Random

from ipt.tasks.atlas import CITY_COUNTRIES, Place, by_code, cities, place, places, states, with_capital
from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.world import elements

SOURCE = "countryinfo, babel"
COUNTRY_NAMES = ("Brazil", "China", "India", "Russia")  # of CITY_COUNTRIES


def capital(rng: Random) -> Place:
    """Draw a country whose capital names only it: the distribution of `rel_capital_inv`."""
    return rng.choice(with_capital())


@cache
def with_demonym() -> tuple[Place, ...]:
    """The countries whose people are called as no others are."""
    uses = Counter(p.demonyms[0] for p in places() if p.demonyms)
    return tuple(p for p in places() if p.demonyms and uses[p.demonyms[0]] == 1)


def city(rng: Random) -> tuple[str, str]:
    """Draw one of four large countries, then one of its cities; returns the city and the country's code."""
    code = rng.choice(CITY_COUNTRIES)
    return rng.choice(cities()[code]), code


def two_states(rng: Random) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    first, second = rng.sample(states(), 2)
    return first, second


def recipes() -> list[Recipe]:
    return [*_countries(), *_capitals(), *_codes(), *_elements(), *_cities(), *_states()]


def _countries() -> list[Recipe]:
    country = Group("country", "relation", SOURCE, place, lambda p: p.name, lambda p: p.code, True)
    people = Group(
        "demonym",
        "relation",
        SOURCE,
        lambda r: r.choice(with_demonym()),
        lambda p: p.demonyms[0],
        lambda p: p.code,
        True,
    )
    return [
        country.free(
            "rel_calling_code",
            lambda p: p.calling,
            "Which number does one dial before a call into this country?",
            "Write the country's telephone code, without a plus sign.",
            "Give the digits that follow the plus when one phones there.",
            "What is the international calling code?",
            "From country name to international telephone code.",
        ),
        country.free(
            "rel_language",
            lambda p: p.languages,
            "Name an official language of the country.",
            "Which language do the authorities there write in?",
            "Write the language that is official in this country.",
            "What do most officials speak there?",
            "From country name to official language.",
        ),
        people.free(
            "rel_demonym_country",
            lambda p: p.name,
            "From which country do these people come?",
            "Name the country that this adjective of nationality belongs to.",
            "Write the homeland of people who are called so.",
            "Where does somebody live who has this nationality?",
            "From a nationality to its country.",
        ),
        people.free(
            "rel_demonym_capital",
            lambda p: p.country.capital,
            "Name the capital of these people's country.",
            "From which city are these people governed?",
            "Write the capital of the country with this nationality.",
            "Which capital belongs to the adjective?",
            "From a nationality to its capital.",
            novel=True,
        ),
    ]


def _capitals() -> list[Recipe]:
    group = Group("capital", "relation", SOURCE, capital, lambda p: p.capital, lambda p: p.code, True)
    return [
        group.free(
            "rel_capital_demonym",
            lambda p: p.demonyms or None,
            "What are the people called whose capital is this city?",
            "Give the nationality of those who live in this city.",
            "Write the adjective for the country of the city.",
            "To which people does this capital belong?",
            "From a capital to its nationality.",
        ),
        group.free(
            "rel_capital_code",
            lambda p: p.code,
            "Write the two-letter code of the country around this city.",
            "Which country code belongs to this capital?",
            "Abbreviate the country governed from here with two letters.",
            "Give the two capital letters of the city's country.",
            "From a capital to its country code.",
        ),
    ]


def _codes() -> list[Recipe]:
    group = Group("country code", "relation", SOURCE, place, lambda p: p.code, lambda p: p.code, True)
    return [
        group.free(
            "rel_code_country",
            lambda p: p.name,
            "Which country has this two-letter code?",
            "Write out the country that is abbreviated so.",
            "Give the full name of the country behind the two letters.",
            "What does the country code stand for?",
            "From the country code to the country.",
        ),
        group.free(
            "rel_code_currency",
            lambda p: p.currency or None,
            "Name the currency of the country with this code.",
            "Which money is used where the two letters belong?",
            "Write what people pay with in the abbreviated country.",
            "What money does this country code bring to mind?",
            "From the country code to the currency.",
        ),
        group.free(
            "rel_code_capital",
            lambda p: p.country.capital,
            "Name the capital of the country with this code.",
            "Which city governs the country of the two letters?",
            "Write the capital that belongs to the abbreviated country.",
            "Find the country for the code and give its capital.",
            "From the country code to the capital.",
            novel=True,
        ),
    ]


def _elements() -> list[Recipe]:
    name = Group(
        "element", "chemistry", "periodictable", lambda r: r.choice(elements()), lambda e: e[1], lambda e: e[2], True
    )
    symbol = Group(
        "element symbol",
        "chemistry",
        "periodictable",
        lambda r: r.choice(elements()),
        lambda e: e[2],
        lambda e: e[2],
        True,
    )
    return [
        name.free(
            "rel_element_number",
            lambda e: str(e[0]),
            "Write the atomic number of the element.",
            "At which place of the periodic table does it stand?",
            "How many protons does one atom of it have?",
            "Give the number that belongs to this element.",
            "From the element to its atomic number.",
        ),
        symbol.free(
            "rel_symbol_element",
            lambda e: e[1],
            "Which element has this chemical symbol?",
            "Write out the name of the element abbreviated so.",
            "Give the element's full name for its symbol.",
            "What is the substance called in chemistry?",
            "From the symbol to the element.",
        ),
        symbol.free(
            "rel_symbol_number",
            lambda e: str(e[0]),
            "Write the atomic number that belongs to the chemical symbol.",
            "At which place of the periodic table does this symbol stand?",
            "How many protons has an atom with this symbol?",
            "Find the element for the symbol and give its number.",
            "From the symbol to the atomic number.",
            novel=True,
        ),
    ]


def _cities() -> list[Recipe]:
    group = Group("city", "location", "airportsdata", city, lambda x: x[0], lambda x: x[0], True)
    return [
        group.labelled(
            "rel_city_country",
            COUNTRY_NAMES,
            lambda x: by_code()[x[1]].name,
            "In which country is the city: Brazil, China, India or Russia?",
            "Name the country of this city: Brazil, China, India, Russia.",
            "Place the city in Brazil, China, India or Russia.",
            "To which of four large countries does it belong?",
            "city to country: Brazil, China, India, Russia",
        ),
        group.free(
            "rel_city_code",
            lambda x: x[1],
            "Write the two-letter code of the city's country.",
            "Abbreviate the country where this city lies with two letters.",
            "Which country code belongs to the city?",
            "Give the two capital letters of the country around the city.",
            "From a city to its country code.",
        ),
        group.free(
            "rel_city_capital",
            lambda x: by_code()[x[1]].capital,
            "Name the capital of the country in which this city lies.",
            "From which other city is this city's country governed?",
            "Write the capital of the city's country.",
            "Find the country of the city and give its capital.",
            "city to the capital of its country",
            novel=True,
        ),
    ]


def _states() -> list[Recipe]:
    two = Group(
        "state pair",
        "location",
        "us",
        two_states,
        lambda p: f"{p[0][0]} | {p[1][0]}",
        lambda p: "|".join(sorted((p[0][1], p[1][1]))),
        True,
    )
    return [
        two.free(
            "rel_us_first_capital",
            lambda p: p[0][2],
            "Write the capital of the first state.",
            "Which city governs the state on the left?",
            "Name the capital of the American state before the bar.",
            "Ignore the second state; what is the capital of the other?",
            "capital of the first state",
        ),
        two.free(
            "rel_us_abbr",
            lambda p: f"{p[0][1]} | {p[1][1]}",
            "Write the two letters of both states with a bar between them.",
            "How are the two states abbreviated in addresses?",
            "Replace each state by its postal code of two letters.",
            "Turn both names into their abbreviations.",
            "two states to two abbreviations",
        ),
        two.free(
            "rel_us_second_capital",
            lambda p: p[1][2],
            "Write the capital of the second state.",
            "Which city governs the state on the right?",
            "Name the capital of the American state after the bar.",
            "Ignore the first state; what is the capital of the other?",
            "capital of the second state",
            novel=True,
        ),
    ]
