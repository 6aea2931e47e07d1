"""Facts about countries to check, to choose and to find in a text; texts written from a card of facts.

Sources: countryinfo, babel, periodictable, airportsdata.
The capital choice is that of `mcq_capital` in `ipt.tasks.world`.
"""

from collections.abc import Callable
from random import Random

from ipt.tasks.atlas import Place, airports, by_code, by_name, pair, place, with_capital
from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe, Row, over
from ipt.tasks.world import choice_of_capital

SOURCE = "countryinfo, babel"
SIDES = ("first", "second", "third")
TRUTH = ("true", "false")
FRAMES: dict[str, tuple[str, ...]] = {
    "capital": (
        "{value} is the capital of {name}.",
        "From {value} the government leads {name}.",
        "The government of {name} sits in {value}.",
        "The capital of {name} is {value}.",
    ),
    "currency": (
        "People in {name} pay with the {value}.",
        "The money of {name} is the {value}.",
        "In {name} one pays for a coffee in {value}.",
        "The {value} is the currency of {name}.",
    ),
    "continent": (
        "{name} can be found in {value}.",
        "An atlas shows {name} in {value}.",
        "On the map you find {name} in {value}.",
        "A trip to {name} is a trip to {value}.",
    ),
    "language": (
        "An official language of {name} is {value}.",
        "{value} is official in {name}.",
        "Laws in {name} are written in {value}.",
        "Letters from the authorities of {name} come in {value}.",
    ),
}
CARD_FRAMES = (
    "On a trip to {name} in {region} you see the capital {capital} and pay with the {currency}.",
    "From {capital} one governs {name}, a part of {region}, where the {currency} is used.",
    "People in {name} in {region} pay with the {currency}, also in {capital}, the capital.",
    "In {capital}, the capital of {name} in {region}, one needs the {currency}.",
)
VALUES: dict[str, Callable[[Place], tuple[str, ...]]] = {
    "capital": lambda p: p.country.capital,
    "currency": lambda p: (p.currency,) if p.currency else (),
    "continent": lambda p: (p.continent, p.region) if p.continent != p.region else (p.region,),
    "language": lambda p: p.languages,
}

Statement = tuple[Place, str, Place, str]


def statement(rng: Random, kinds: tuple[str, ...] = tuple(VALUES)) -> Statement | None:
    """Draw (country, kind of fact, country whose fact is stated, sentence); the fact is right in half of the rows."""
    subject, other = pair(rng)
    kind, right = rng.choice(kinds), rng.random() < 0.5
    of = subject if right else other
    values = VALUES[kind](of)
    if not values or not VALUES[kind](subject) or (not right and values[0] in VALUES[kind](subject)):
        return None
    if kind == "capital" and values[0] == subject.name:
        return None
    sentence = rng.choice(FRAMES[kind]).format(name=subject.said, value=values[0])
    return subject, kind, of, sentence[0].upper() + sentence[1:]


def truth(x: Statement) -> str:
    return TRUTH[x[0].code != x[2].code]


def cities_listed(rng: Random) -> tuple[Place, list[str]]:
    """Draw a country and three capitals, one of them its own: the distribution of `mcq_capital`."""
    name, listed = choice_of_capital(rng).input.removesuffix("?").split(": ")
    return by_name()[name], listed.split(", ")


def countries_listed(rng: Random) -> tuple[Place, str]:
    """Draw a country and the text of a choice: its capital and three countries."""
    chosen = rng.sample(with_capital(), 3)
    right = rng.choice(chosen)
    return right, f"{right.capital}: {', '.join(p.name for p in chosen)}?"


def currencies_listed(rng: Random) -> tuple[Place, str] | None:
    chosen = [place(rng) for _ in range(3)]
    if len({p.currency for p in chosen} - {""}) < 3:
        return None
    right = rng.choice(chosen)
    return right, f"{right.name}: {', '.join(p.currency for p in chosen)}?"


def told(rng: Random) -> tuple[Place, str] | None:
    """Draw a country and a sentence with three of its facts."""
    found = place(rng)
    if not found.currency or found.capital == found.name:
        return None
    facts = {"name": found.said, "region": found.continent, "capital": found.capital, "currency": found.currency}
    sentence = rng.choice(CARD_FRAMES).format(**facts)
    return found, sentence[0].upper() + sentence[1:]


def card(rng: Random) -> tuple[Place, str] | None:
    """Draw a country and its facts as fields in any order."""
    found = place(rng)
    fields = [f"name={found.name}", f"capital={found.capital}", f"region={found.region}"]
    rng.shuffle(fields)
    return (found, " | ".join(fields)) if found.capital != found.name else None


def about(x: tuple[Place, str]) -> tuple[str, ...]:
    name, capital, where = x[0].said, x[0].capital, x[0].continent
    return (
        f"{capital} is the capital of {name} in {where}.",
        f"In {where} you find {name} with the capital {capital}.",
        f"The capital of {name} in {where} is {capital}.",
    )


def airport(rng: Random) -> dict[str, str] | None:
    found = rng.choice(airports())
    return found if found["country"] in by_code() else None


def airport_card(x: dict[str, str]) -> str:
    return f"{x['iata']} | {x['name']} | {x['city']} | {by_code()[x['country']].name}"


def served(x: dict[str, str]) -> tuple[str, ...]:
    country = by_code()[x["country"]].said
    return (
        f"{x['name']} ({x['iata']}) serves {x['city']} in {country}.",
        f"{x['name']} ({x['iata']}) is the airport of {x['city']} in {country}.",
    )


def recipes() -> list[Recipe]:
    return [*_statements(), *_choices(), *_readings(), *_cards()]


def _statements() -> list[Recipe]:
    mixed = Group(
        "country statement",
        "fact checking",
        SOURCE,
        statement,
        lambda x: x[3],
        lambda x: f"{x[0].code}|{x[1]}|{x[2].code}",
        True,
    )
    money = Group(
        "currency statement",
        "fact checking",
        SOURCE,
        lambda rng: statement(rng, ("currency",)),
        lambda x: x[3],
        lambda x: f"{x[0].code}|{x[2].code}",
        True,
    )
    return [
        mixed.labelled(
            "fact_country",
            TRUTH,
            truth,
            "Is what the sentence says about the country true or false?",
            "Check the fact and answer true or false.",
            "Decide whether it is right: true, or false if it is wrong.",
            "Would an atlas agree with it?",
            "fact about a country: true or false",
        ),
        money.labelled(
            "fact_currency",
            TRUTH,
            truth,
            "Is the right money named here? Answer true or false.",
            "Check the currency: true or false.",
            "Say true if people there use this money, otherwise false.",
            "Does the currency belong to the country?",
            "currency fact: true or false",
        ),
        mixed.labelled(
            "fact_topic",
            tuple(VALUES),
            lambda x: x[1],
            "What is the sentence about: capital, currency, continent or language?",
            "Name the kind of fact: capital, currency, continent, language.",
            "Sort it, right or wrong, under capital, currency, continent or language.",
            "Which question about a country does it answer?",
            "kind of fact: capital, currency, continent, language",
        ),
        mixed.free(
            "fact_subject",
            lambda x: x[0].name,
            "Which country is the sentence about?",
            "Write only the country's name.",
            "Copy the country of which something is claimed.",
            "Of which country is this said?",
            "Pick the country out of the sentence.",
        ),
        mixed.free(
            "fact_corrected",
            lambda x: VALUES[x[1]](x[0]),
            "Write the true value: the capital, currency, continent or language that is right.",
            "If the claim is wrong, give the right fact; else repeat it.",
            "What should stand in place of the claimed fact?",
            "Give what an atlas says, in one name.",
            "the right fact about the country",
            novel=True,
        ),
    ]


def _choices() -> list[Recipe]:
    capitals = Group(
        "capital choice",
        "multiple choice",
        SOURCE,
        cities_listed,
        lambda x: f"{x[0].name}: {', '.join(x[1])}?",
        lambda x: f"{x[0].code}|{', '.join(x[1])}",
        True,
    )
    key: Callable[[tuple[Place, str]], str] = lambda x: x[1]  # noqa: E731
    homes = Group("country choice", "multiple choice", SOURCE, countries_listed, lambda x: x[1], key, True)
    money = Group("currency choice", "multiple choice", SOURCE, currencies_listed, lambda x: x[1], key, True)
    return [
        capitals.labelled(
            "mcq_capital_position",
            SIDES,
            lambda x: SIDES[x[1].index(x[0].capital)],
            "Which city is the capital: the first, second or third?",
            "Give the position of the right capital: first, second, third.",
            "Say at which place the country's capital stands: first, second or third.",
            "Where in the list is the city that governs the country?",
            "position of the capital: first, second, third",
        ),
        money.free(
            "mcq_currency",
            lambda x: x[0].currency,
            "Choose the currency of the country.",
            "Which of the three kinds of money is used there?",
            "Write the one currency that belongs to the country.",
            "With which of these does one pay there?",
            "Pick the right currency from the three.",
        ),
        homes.free(
            "mcq_country",
            lambda x: x[0].name,
            "Choose the country that has this capital.",
            "Which of the three countries is governed from the city?",
            "Write the one country to which the capital belongs.",
            "In which of these is the city?",
            "Pick the country of the given capital.",
            novel=True,
        ),
    ]


def _readings() -> list[Recipe]:
    text = Group("country sentence", "reading", SOURCE, told, lambda x: x[1])
    return [
        text.free(
            "rc_country_card",
            lambda x: x[0].capital,
            "What does the text say is the capital?",
            "Copy the capital from the sentence.",
            "Which city is named in it?",
            "Read it and write only the city.",
            "capital named in the text",
        ),
        text.free(
            "rc_country_currency",
            lambda x: x[0].currency,
            "What does the text say is the money?",
            "Copy the currency from the sentence.",
            "With what do people pay, as told?",
            "Read it and write only the currency.",
            "currency named in the text",
        ),
        text.free(
            "rc_country_name",
            lambda x: x[0].name,
            "Which country is the text about?",
            "Copy the country from the sentence.",
            "Which state is described in it?",
            "Read it and write only the country.",
            "country named in the text",
        ),
    ]


def _cards() -> list[Recipe]:
    def text(name: str, draw: Callable[[Random], Row | None], inputs: str, source: str, *definitions: str) -> Recipe:
        return Recipe(name, "non-cls", "data to text", "rouge-L", definitions, draw, inputs, source)

    return [
        text(
            "d2t_country",
            over(card, lambda x: x[1], about),
            "country card",
            SOURCE,
            "Write the fields as one sentence about the country.",
            "Turn the card into a sentence: name, region, capital.",
            "Say in a sentence where the country is and what its capital is called.",
            "Put these facts into plain words.",
            "From a country card to a sentence.",
        ),
        text(
            "d2t_airport",
            over(airport, airport_card, served),
            "airport card",
            "airportsdata, babel",
            "Write the fields as one sentence about the airport.",
            "Say in a sentence which city the airport serves, with its code in brackets.",
            "Turn code, airport, city and country into a sentence.",
            "Put these facts about an airport into plain words.",
            "From an airport card to a sentence.",
        ),
    ]
