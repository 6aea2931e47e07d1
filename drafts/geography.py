"""Where countries lie and how large they are: bare country names, pairs and lists of countries, neighbours.

The inputs are those of `ipt.tasks.world`. Sources: countryinfo (facts), babel (names).
"""

import math
from random import Random

from ipt.tasks.atlas import DOUBTFUL_BORDERS, Place, by_name, pair, pair_key, place, places, show_pair
from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.world import odd_region

SOURCE = "countryinfo, babel"
CONTINENTS = ("Africa", "Asia", "Europe", "Americas")
ORDINALS = ("first", "second", "third", "fourth")
TROPIC, MILLIONS = 23.44, 5_000_000  # degrees of latitude, people


def direction(two: tuple[Place, Place]) -> str | None:
    """Return where the second country lies, seen from the first; None where the direction is not clear."""
    first, second = two
    up = second.latitude - first.latitude
    middle = math.radians((first.latitude + second.latitude) / 2)
    right = ((second.longitude - first.longitude + 180) % 360 - 180) * math.cos(middle)
    if max(abs(up), abs(right)) < 1.5 * min(abs(up), abs(right)) or max(abs(up), abs(right)) < 2:
        return None
    if abs(up) > abs(right):
        return "north" if up > 0 else "south"
    return "east" if right > 0 else "west"


def listed(rng: Random) -> tuple[tuple[Place, ...], Place] | None:
    """Draw four countries, three of one continent and one of another: the distribution of `odd_country_region`."""
    row = odd_region(rng)
    if row is None:
        return None
    return tuple(by_name()[name] for name in row.input.split(", ")), by_name()[row.answers[0]]


def home(row: tuple[tuple[Place, ...], Place]) -> str:
    return next(p.region for p in row[0] if p.code != row[1].code)


def with_neighbour(rng: Random) -> Place | None:
    found = place(rng)
    return found if found.neighbours else None


def maybe_neighbours(rng: Random) -> tuple[Place, Place] | None:
    """Draw two countries of one continent that have land borders, as often neighbours as not."""
    first, wanted = rng.choice([p for p in places() if p.neighbours]), rng.random() < 0.5
    near = [p for p in places() if p.neighbours and p.region == first.region and p.code != first.code]
    fitting = [p for p in near if (p.code in first.neighbours) == wanted and not doubtful(first, p)]
    return (first, rng.choice(fitting)) if fitting else None


def doubtful(first: Place, second: Place) -> bool:
    return (min(first.code, second.code), max(first.code, second.code)) in DOUBTFUL_BORDERS


def recipes() -> list[Recipe]:
    return [*_single(), *_pairs(), *_lists(), *_borders()]


def _single() -> list[Recipe]:
    country = Group("country", "geography", SOURCE, place, lambda p: p.name, lambda p: p.code, True)
    return [
        country.free(
            "geo_region",
            lambda p: p.region,
            "On which continent does this country lie?",
            "Name the part of the world to which it belongs, such as Africa or Oceania.",
            "Write the continent; North and South America both count as Americas.",
            "Which of the five large regions of the earth holds this place?",
            "country to continent, written out",
        ),
        country.free(
            "geo_subregion",
            lambda p: p.subregion,
            "Name the smaller region of its continent, such as Western Asia.",
            "Into which subregion do the United Nations put this country?",
            "Be more precise than the continent: write the subregion.",
            "Southern Europe, Polynesia, Central Asia: which subregion is it?",
            "country to subregion of the continent",
        ),
        country.labelled(
            "geo_tropics",
            ("yes", "no"),
            lambda p: "yes" if abs(p.latitude) < TROPIC else "no",
            "Does the middle of this country lie in the tropics? Answer yes or no.",
            "Is it between the two tropics, close to the equator: yes or no?",
            "Say yes for a tropical country and no for one farther from the equator.",
            "Are the days almost equally long there all the year round?",
            "tropical country: yes or no",
        ),
        country.labelled(
            "geo_population_size",
            ("under", "over"),
            lambda p: "over" if p.population > MILLIONS else "under",
            "Do under or over five million people live there?",
            "Answer over if the population passes five million, else under.",
            "Compare its inhabitants with five million: under or over?",
            "Is it a country of many or of few people, seen from five million?",
            "five million people: under or over",
        ),
    ]


def _pairs() -> list[Recipe]:
    two = Group("country pair", "geography", SOURCE, pair, show_pair, pair_key, True)
    return [
        two.labelled(
            "geo_same_hemisphere",
            ("yes", "no"),
            lambda p: "yes" if (p[0].latitude > 0) == (p[1].latitude > 0) else "no",
            "Do both countries lie on the same side of the equator? Answer yes or no.",
            "Say yes if the two are in one hemisphere, northern or southern, and no otherwise.",
            "Are both in the north or both in the south: yes or no?",
            "Is it summer in the two at the same time?",
            "one hemisphere, north or south: yes or no",
        ),
        two.labelled(
            "geo_second_region",
            CONTINENTS,
            lambda p: p[1].region if p[1].region in CONTINENTS else None,
            "On which continent is the second country: Africa, Asia, Europe or Americas?",
            "Name the continent of the right-hand side: Africa, Asia, Europe, Americas.",
            "Ignore the first country and place the other one: Africa, Asia, Europe, Americas.",
            "Where in the world does the country after the bar lie?",
            "continent of the last country",
            novel=True,
        ),
        two.labelled(
            "geo_direction",
            ("north", "south", "east", "west"),
            direction,
            "In which direction is the second country from the first: north, south, east or west?",
            "Someone flies from the left country to the right one: north, south, east, west?",
            "Choose the main direction of travel: north, south, east or west.",
            "Which way does a compass point from the first to the second?",
            "direction of the way between the two countries",
        ),
        two.free(
            "geo_first_capital",
            lambda p: p[0].country.capital,
            "Write the capital of the first country.",
            "Which city governs the country on the left?",
            "Name the capital of the one before the bar.",
            "Ignore the second country; what is the capital of the other?",
            "capital of the left side of the pair",
        ),
    ]


def _lists() -> list[Recipe]:
    group = Group(
        "country list",
        "odd one out",
        SOURCE,
        listed,
        lambda x: ", ".join(p.name for p in x[0]),
        lambda x: "|".join(sorted(p.code for p in x[0])),
        True,
    )
    return [
        group.labelled(
            "odd_country_position",
            ORDINALS,
            lambda x: ORDINALS[x[0].index(x[1])],
            "Which country lies on another continent: the first, second, third or fourth?",
            "Give the position of the one that does not fit: first, second, third or fourth.",
            "Three share a continent; say where the other stands: first, second, third, fourth.",
            "At which place of the list is the country from elsewhere?",
            "position of the odd country out",
        ),
        group.labelled(
            "odd_common_region",
            CONTINENTS,
            lambda x: home(x) if home(x) in CONTINENTS else None,
            "On which continent are most of them: Africa, Asia, Europe or Americas?",
            "Three of four share a continent; name it: Africa, Asia, Europe, Americas.",
            "Where do all but one of the countries lie: Africa, Asia, Europe, Americas?",
            "Name the part of the world that is the most frequent here.",
            "continent of the majority of countries",
        ),
    ]


def _borders() -> list[Recipe]:
    two = Group("country and maybe neighbour", "geography", SOURCE, maybe_neighbours, show_pair, pair_key, True)
    one = Group(
        "country with land borders", "geography", SOURCE, with_neighbour, lambda p: p.name, lambda p: p.code, True
    )
    return [
        two.labelled(
            "rel_borders",
            ("yes", "no"),
            lambda p: "yes" if p[1].code in p[0].neighbours else "no",
            "Do the two countries share a land border? Answer yes or no.",
            "Can one walk from one straight into the other: yes or no?",
            "Say yes if they are neighbours and no if they are not.",
            "Is there a common border between them on the map?",
            "neighbouring countries: yes or no",
        ),
        one.free(
            "rel_neighbour",
            lambda p: _names(p.neighbours),
            "Name one country that has a border with it.",
            "Write any neighbour of this country.",
            "Which country does one reach by crossing its border?",
            "Give a country next door to this one.",
            "country to one of its neighbours",
        ),
    ]


def _names(codes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names, the largest country first: the likeliest neighbour to be known."""
    found = sorted((p for p in places() if p.code in codes), key=lambda p: (-p.population, p.code))
    return tuple(p.name for p in found)
