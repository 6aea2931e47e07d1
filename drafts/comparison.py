"""Comparisons: two countries by people, area and latitude; two chemical elements; two dates.

Sources: countryinfo, babel, periodictable. The inputs of countries and elements are those of `ipt.tasks.world`.
"""

from datetime import date, timedelta
from functools import cache
from random import Random

from ipt.tasks.atlas import Place, pair, pair_key, show_pair
from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.world import elements

SIDES = ("first", "second")
Dates = tuple[date, date]
FIRST_DAY, DAYS = date(1950, 1, 1), 36500


def side(first: float, second: float) -> str | None:
    """Return which of two values is the larger; None where they are equal or one is not known (0)."""
    return None if first == second or not (first and second) else SIDES[second > first]


def larger(two: tuple[Place, Place], first: float, second: float) -> Place | None:
    winner = side(first, second)
    return None if winner is None else two[SIDES.index(winner)]


def two_elements(rng: Random) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """Draw two elements: the distribution of `cmp_element_heavier`."""
    first, second = rng.sample(elements(), 2)
    return first, second


def two_dates(rng: Random) -> Dates | None:
    """Draw two dates; in half of the rows they are of one year."""
    first = FIRST_DAY + timedelta(days=rng.randrange(DAYS))
    second = date(first.year, 1, 1) if rng.random() < 0.5 else date(1950 + rng.randrange(100), 1, 1)
    second += timedelta(days=rng.randrange(365))
    return None if first == second else (first, second)


@cache
def months() -> dict[int, str]:
    from babel import Locale  # late: only the extra `suite` has it

    return {number: str(name) for number, name in Locale.parse("en").months["format"]["wide"].items()}


def written(day: date) -> str:
    return f"{months()[day.month]} {day.day}, {day.year}"


def recipes() -> list[Recipe]:
    return [*_countries(), *_elements(), *_dates()]


def _countries() -> list[Recipe]:
    two = Group("country pair", "comparison", "countryinfo, babel", pair, show_pair, pair_key, True)
    return [
        two.labelled(
            "cmp_population",
            SIDES,
            lambda p: side(p[0].population, p[1].population),
            "Which country has more people, the first or the second?",
            "Compare the inhabitants: is the first or second number larger?",
            "Say first or second for the one where more people live.",
            "In which of the two countries do more people live?",
            "more people: first or second",
        ),
        two.labelled(
            "cmp_area",
            SIDES,
            lambda p: side(p[0].area, p[1].area),
            "Which country is larger on the map, the first or the second?",
            "Compare the square kilometres: first or second?",
            "Say first or second for the one that covers more land.",
            "Which of the two has the greater area?",
            "greater area: first or second",
        ),
        two.labelled(
            "cmp_north",
            SIDES,
            lambda p: SIDES[p[1].latitude > p[0].latitude] if p[0].latitude != p[1].latitude else None,
            "Which country lies farther north, the first or the second?",
            "Compare the latitudes: is the first or second closer to the North Pole?",
            "Say first or second for the one higher up on a globe.",
            "Which of the two is the more northern one?",
            "farther north: first or second",
        ),
        two.free(
            "cmp_larger_name",
            lambda p: (w := larger(p, p[0].area, p[1].area)) and w.name,
            "Write the name of the country with the larger area.",
            "Copy the one of the two that covers more land.",
            "Which country is bigger on the map? Write it.",
            "Keep only the country with more square kilometres.",
            "name of the larger country",
        ),
        two.free(
            "cmp_more_people_name",
            lambda p: (w := larger(p, p[0].population, p[1].population)) and w.name,
            "Write the name of the country with more inhabitants.",
            "Copy the one of the two where more people live.",
            "Which country has the larger population? Write it.",
            "Keep only the country that has more people.",
            "name of the country with more people",
            novel=True,
        ),
    ]


def _elements() -> list[Recipe]:
    two = Group(
        "element pair",
        "chemistry",
        "periodictable",
        two_elements,
        lambda p: f"{p[0][1]} | {p[1][1]}",
        lambda p: "|".join(sorted((p[0][2], p[1][2]))),
        True,
    )
    return [
        two.free(
            "cmp_element_heavier_name",
            lambda p: max(p)[1],
            "Write the element with the higher atomic number.",
            "Copy the one of the two that comes later in the periodic table.",
            "Which atom has more protons? Write its name.",
            "Keep only the element with the larger number.",
            "name of the heavier element",
        ),
        two.free(
            "rel_element_symbols",
            lambda p: f"{p[0][2]} | {p[1][2]}",
            "Write the symbols of both elements with a bar between them.",
            "How are the two elements abbreviated in chemistry?",
            "Replace each element by its symbol.",
            "Turn both names into their chemical symbols.",
            "two elements to two symbols",
        ),
    ]


def _dates() -> list[Recipe]:
    two = Group("date pair", "comparison", "babel", two_dates, lambda p: f"{written(p[0])} | {written(p[1])}")
    return [
        two.labelled(
            "cmp_dates",
            SIDES,
            lambda p: SIDES[p[1] < p[0]],
            "Which date is earlier, the first or the second?",
            "Compare the two days: did the first or second come before?",
            "Say first or second for the date farther back in time.",
            "Which of the two days came before the other?",
            "earlier date: first or second",
        ),
        two.free(
            "cmp_dates_earlier",
            lambda p: written(min(p)),
            "Write the earlier of the two dates.",
            "Copy the date that comes before the other.",
            "Which day is farther back in time? Write it.",
            "Keep only the older one of both dates.",
            "Only the earlier of both dates, please.",
        ),
        two.free(
            "cmp_dates_later",
            lambda p: written(max(p)),
            "Write the later of the two dates.",
            "Copy the date that comes after the other.",
            "Which day is the more recent one? Write it.",
            "Keep only the newer one of both dates.",
            "Only the later of both dates, please.",
            novel=True,
        ),
        two.free(
            "cmp_dates_later_year",
            lambda p: str(max(p).year),
            "Write the year of the later date.",
            "In which year is the more recent of both days?",
            "Find the date that comes last and give its year.",
            "Keep only the larger year.",
            "year of the later date",
        ),
    ]
