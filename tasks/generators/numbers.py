"""Numbers, dates, times and names in other notations: several tasks over each kind of input."""

import calendar
from collections.abc import Iterable
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import first_names, surnames

SOURCE = "own rules, inflect"
MONTHS = tuple(calendar.month_name)[1:]
SEASONS = ("winter", "spring", "summer", "autumn")
PARTS_OF_DAY = ("night", "morning", "afternoon", "evening")
ORDINAL_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
FIRST_DAY = date(1950, 1, 1)
DAYS = 36500
"""A century of them, from FIRST_DAY on."""
FIRST_OR_SECOND = ("first", "second")
YES_NO = ("yes", "no")
PARITIES = ("even", "odd")

Numbers = tuple[int, ...]


class NumberPair(NamedTuple):
    """Two numbers from 1 to 99."""

    first: int
    second: int

    @property
    def text(self) -> str:
        """Write both numbers."""
        return f"{self.first} {self.second}"


class Clock(NamedTuple):
    """A time of the day, by the 24-hour clock."""

    hour: int
    minute: int

    @property
    def text(self) -> str:
        """The time with two digits each."""
        return f"{self.hour:02d}:{self.minute:02d}"

    @property
    def half(self) -> str:
        """The half of the day."""
        return "AM" if self.hour < 12 else "PM"

    @property
    def twelve_hour_text(self) -> str:
        """The time by the 12-hour clock, where midnight and noon are 12."""
        return f"{(self.hour + 11) % 12 + 1}:{self.minute:02d} {self.half}"


class FullName(NamedTuple):
    """A first name and a surname."""

    first: str
    surname: str


@cache
def in_words(number: int) -> str:
    """Return a number in words, without commas."""
    import inflect  # late: only the extra `suite` has it

    words = inflect.engine().number_to_words(str(number))
    return str(words).replace(",", "")


def ordinal(number: int) -> str:
    """Return a number as an ordinal with digits: 1st, 11th, 21st."""
    # 11th, 12th and 13th end like 4th, whatever their last digit.
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ORDINAL_ENDINGS.get(number % 10, 'th')}"


def parity(number: int) -> str:
    """Return "even" or "odd"."""
    return "odd" if number % 2 else "even"


def spaced(numbers: Iterable[int]) -> str:
    """Return numbers with spaces between them."""
    return " ".join(map(str, numbers))


def larger_of_two(pair: NumberPair) -> str | None:
    """Return which number is larger; None where they are equal."""
    if pair.first == pair.second:
        return None
    return "first" if pair.first > pair.second else "second"


def next_of_sequence(numbers: Numbers) -> str | None:
    """Return the number that continues a sequence; None where it would be negative."""
    # Equal steps: the last one is made again.
    following = 2 * numbers[-1] - numbers[-2]
    return str(following) if following >= 0 else None


def month_name(day: date) -> str:
    """Return the English name of the month."""
    return MONTHS[day.month - 1]


def next_month_name(day: date) -> str:
    """Return the English name of the following month."""
    return MONTHS[day.month % 12]


def long_date(day: date) -> str:
    """Return a date as June 27, 2016."""
    return f"{month_name(day)} {day.day}, {day.year}"


def short_date(day: date) -> str:
    """Return a date as Jun 27, 2016."""
    return f"{month_name(day)[:3]} {day.day}, {day.year}"


def season(day: date) -> str:
    """Return the season in the north by the month: December to February are winter."""
    return SEASONS[day.month % 12 // 3]


def draw_pair(rng: Random) -> NumberPair:
    """Draw two numbers from 1 to 99."""
    return NumberPair(rng.randint(1, 99), rng.randint(1, 99))


def draw_number(rng: Random) -> int:
    """Draw a number from 1 to 999."""
    return rng.randint(1, 999)


def draw_number_list(rng: Random) -> Numbers:
    """Draw three to five different numbers below 100."""
    return tuple(rng.sample(range(1, 100), rng.randint(3, 5)))


def draw_progression(rng: Random) -> Numbers:
    """Draw four numbers with equal steps, falling in two of five draws."""
    start = rng.randint(1, 60)
    step = rng.choice((1, 2, 3, 4, 5, 10))
    rising = tuple(range(start, start + 4 * step, step))
    return rising[::-1] if rng.random() < 0.4 else rising


def draw_day(rng: Random) -> date:
    """Draw a day of a hundred years."""
    return FIRST_DAY + timedelta(days=rng.randrange(DAYS))


def draw_clock(rng: Random) -> Clock:
    """Draw a time to the minute."""
    return Clock(rng.randrange(24), rng.randrange(60))


def draw_full_name(rng: Random) -> FullName:
    """Draw a first name and a surname."""
    return FullName(rng.choice(first_names()).name, rng.choice(surnames()))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_pair_recipes(),
        *_number_recipes(),
        *_spoken_number_recipes(),
        *_list_recipes(),
        *_sequence_recipes(),
        *_long_date_recipes(),
        *_iso_date_recipes(),
        *_clock_recipes(),
        *_name_recipes(),
    ]


def _pair_recipes() -> list[Recipe]:
    # No sign between the numbers: the definition alone says what to do with them.
    pairs = Group(
        inputs="pair of numbers",
        subcategory="arithmetic",
        source=SOURCE,
        material=draw_pair,
        show=lambda pair: pair.text,
    )
    return [
        # "47 11" -> "58"
        pairs.free(
            "ari_add",
            lambda pair: str(pair.first + pair.second),
            "Add the two numbers.",
            "What is the sum?",
            "sum",
        ),
        # "47 11" -> "47"
        pairs.free(
            "ari_larger",
            lambda pair: str(max(pair)),
            "Write the larger number.",
            "Which number is bigger?",
            "maximum",
        ),
        # Novel: the backbone is taught the larger one of the same pairs.
        # "47 11" -> "11"
        pairs.free(
            "ari_smaller",
            lambda pair: str(min(pair)),
            "Write the smaller number.",
            "Which number is less?",
            "minimum",
            novel=True,
        ),
        # Equal numbers have no fair answer.
        # "47 11" -> "first"
        pairs.labelled(
            "ari_which_larger",
            FIRST_OR_SECOND,
            larger_of_two,
            "Which number is larger, the first or the second?",
            "Compare: first or second is bigger?",
            "larger: first or second",
        ),
        # "47 11" -> "no"
        pairs.labelled(
            "ari_sum_over_100",
            YES_NO,
            lambda pair: "yes" if pair.first + pair.second > 100 else "no",
            "Is the sum over one hundred? yes or no",
            "Add them: more than 100? Answer yes or no.",
            "sum over 100: yes or no",
        ),
    ]


def _number_recipes() -> list[Recipe]:
    numbers = Group(
        inputs="number",
        subcategory="number notation",
        source=SOURCE,
        material=draw_number,
        show=str,
    )
    return [
        # "889" -> "eight hundred and eighty-nine"
        numbers.free(
            "fmt_num_to_words",
            in_words,
            "Write the number in words.",
            "How is the number spoken?",
            "digits to words",
        ),
        # "889" -> "889th"
        numbers.free(
            "fmt_ordinal",
            ordinal,
            "Write the number as an ordinal with digits.",
            "Add st, nd, rd or th.",
            "ordinal number",
        ),
        # "889" -> "890"
        numbers.free(
            "ari_next",
            lambda number: str(number + 1),
            "Write the next number.",
            "Add one to the number.",
            "plus one",
        ),
        # Novel: in pre-training one is added to these numbers, never taken away.
        # "889" -> "888"
        numbers.free(
            "ari_previous",
            lambda number: str(number - 1),
            "Write the number before it.",
            "Subtract one from the number.",
            "minus one",
            novel=True,
        ),
        # Novel: the digits stay as they are, only their look changes.
        # "889" -> "8 8 9"
        numbers.free(
            "fmt_digits_spaced",
            lambda number: " ".join(str(number)),
            "Write the digits with spaces between.",
            "Separate the digits.",
            "digits one by one",
            novel=True,
        ),
        # "889" -> "odd"
        numbers.labelled(
            "ari_parity",
            PARITIES,
            parity,
            "Is the number even or odd?",
            "Can it be divided by two? Say even or odd.",
            "even or odd",
        ),
        # "889" -> "880"
        numbers.free(
            "ari_round_ten",
            lambda number: str(number // 10 * 10),
            "Round the number down to tens.",
            "Replace the last digit by zero.",
            "tens only",
        ),
    ]


def _spoken_number_recipes() -> list[Recipe]:
    numbers = Group(
        inputs="number in words",
        subcategory="number notation",
        source=SOURCE,
        material=draw_number,
        show=in_words,
    )
    return [
        # The way back of `fmt_num_to_words`.
        # "three hundred and seventy-one" -> "371"
        numbers.free(
            "fmt_words_to_num",
            str,
            "Write the number in digits.",
            "Which number is it? Use digits.",
            "words to digits",
        ),
        # Novel: both ask in words what the backbone has learnt to do with digits.
        # "three hundred and seventy-one" -> "odd"
        numbers.labelled(
            "fmt_words_parity",
            PARITIES,
            parity,
            "Is this number even or odd?",
            "Say whether it is even or odd.",
            "spoken number: even or odd",
            novel=True,
        ),
        # "three hundred and seventy-one" -> "371st"
        numbers.free(
            "fmt_words_ordinal",
            ordinal,
            "Write it as an ordinal with digits: 1st, 2nd.",
            "Which place is it? Use digits.",
            "spoken number to ordinal",
            novel=True,
        ),
    ]


def _list_recipes() -> list[Recipe]:
    lists = Group(
        inputs="list of numbers",
        subcategory="number list",
        source=SOURCE,
        material=draw_number_list,
        show=spaced,
    )
    counting = replace(lists, subcategory="counting")
    return [
        # "11 33 47 28" -> "47"
        lists.free(
            "ari_max",
            lambda numbers: str(max(numbers)),
            "Write the largest number of the list.",
            "Which number is the greatest?",
            "maximum of the list",
        ),
        # Novel: the largest number of the same lists is trained.
        # "11 33 47 28" -> "11"
        lists.free(
            "ari_min",
            lambda numbers: str(min(numbers)),
            "Write the smallest number of the list.",
            "Which number is the least?",
            "minimum of the list",
            novel=True,
        ),
        # "11 33 47 28" -> "11 28 33 47"
        lists.free(
            "ari_sort",
            lambda numbers: spaced(sorted(numbers)),
            "Sort the numbers from small to large.",
            "Put the numbers into rising order.",
            "rising order",
        ),
        # Novel: in pre-training the same lists are sorted upwards.
        # "11 33 47 28" -> "47 33 28 11"
        lists.free(
            "ari_sort_down",
            lambda numbers: spaced(sorted(numbers, reverse=True)),
            "Sort the numbers from large to small.",
            "Put the numbers into falling order.",
            "falling order",
            novel=True,
        ),
        # "11 33 47 28" -> "4"
        counting.labelled(
            "cnt_numbers",
            ("3", "4", "5"),
            lambda numbers: str(len(numbers)),
            "How many numbers are in the list: 3, 4 or 5?",
            "Count the numbers, 3 to 5.",
            "length of the list",
        ),
    ]


def _sequence_recipes() -> list[Recipe]:
    sequences = Group(
        inputs="sequence",
        subcategory="sequence",
        source=SOURCE,
        material=draw_progression,
        show=spaced,
    )
    return [
        # Below zero there is no answer: no other task has negative numbers.
        # "24 25 26 27" -> "28"
        sequences.free(
            "ari_next_sequence",
            next_of_sequence,
            "Continue the sequence with one number.",
            "Which number comes next in the row?",
            "next of the sequence",
        ),
        # "24 25 26 27" -> "1"
        sequences.free(
            "seq_step",
            lambda numbers: str(abs(numbers[1] - numbers[0])),
            "By how much do the numbers change from one to the next?",
            "Write the step of the sequence.",
            "step width",
        ),
        # "24 25 26 27" -> "rising"
        sequences.labelled(
            "seq_direction",
            ("rising", "falling"),
            lambda numbers: "rising" if numbers[1] > numbers[0] else "falling",
            "Is the sequence rising or falling?",
            "Do the numbers grow? Say rising or falling.",
            "rising or falling",
        ),
    ]


def _long_date_recipes() -> list[Recipe]:
    dates = Group(
        inputs="long date",
        subcategory="date",
        source=SOURCE,
        material=draw_day,
        show=long_date,
    )
    return [
        # "November 24, 2014" -> "2014-11-24"
        dates.free(
            "fmt_date_iso",
            date.isoformat,
            "Write the date in ISO format.",
            "Give year, month and day as digits with hyphens.",
            "iso date",
        ),
        # "November 24, 2014" -> "Nov 24, 2014"
        dates.free(
            "fmt_date_short_month",
            short_date,
            "Shorten the month to three letters, keep the rest.",
            "Abbreviate the month.",
            "short month",
        ),
        # "November 24, 2014" -> "2014"
        dates.free(
            "cal_year",
            lambda day: str(day.year),
            "Write the year of the date.",
            "In which year was it?",
            "year only",
        ),
        # Novel: in pre-training the year of these dates is copied, the month never alone.
        # "November 24, 2014" -> "November"
        dates.free(
            "cal_month",
            month_name,
            "Write the month of the date.",
            "In which month was it?",
            "month only",
            novel=True,
        ),
        # "November 24, 2014" -> "autumn"
        dates.labelled(
            "cal_season",
            SEASONS,
            season,
            "Which season is it in the north: winter, spring, summer or autumn?",
            "Name the season by the month: winter, spring, summer, autumn.",
            "season",
        ),
        # Years from 1950 to 2049: both centuries are equally common.
        # "November 24, 2014" -> "21st"
        dates.labelled(
            "cal_century",
            ("20th", "21st"),
            lambda day: "20th" if day.year < 2000 else "21st",
            "Is the date in the 20th or the 21st century?",
            "Say 20th for 19 hundred something, 21st for 20 hundred something.",
            "century: 20th or 21st",
        ),
        # Novel: in pre-training a month tells the season, never the half of the year.
        # "November 24, 2014" -> "second"
        dates.labelled(
            "cal_half",
            FIRST_OR_SECOND,
            lambda day: "first" if day.month < 7 else "second",
            "Does the day lie in the first or the second half of the year?",
            "Say first for January to June, second otherwise.",
            "half of the year",
            novel=True,
        ),
    ]


def _iso_date_recipes() -> list[Recipe]:
    dates = Group(
        inputs="iso date",
        subcategory="date",
        source=SOURCE,
        material=draw_day,
        show=date.isoformat,
    )
    return [
        # "2014-11-24" -> "November 24, 2014"
        dates.free(
            "fmt_date_long",
            long_date,
            "Write the date with the name of the month.",
            "Spell the month out: month, day, year.",
            "long date",
        ),
        # "2014-11-24" -> "November"
        dates.free(
            "cal_iso_month",
            month_name,
            "Write the name of the month.",
            "Which month is it?",
            "name of month",
        ),
        # Novel: in pre-training the day of these dates stands inside a long date only.
        # "2014-11-24" -> "24"
        dates.free(
            "cal_iso_day",
            lambda day: str(day.day),
            "Write the day of the month as a number.",
            "Which day of the month is it?",
            "day number",
            novel=True,
        ),
        # After December comes January.
        # "2014-11-24" -> "December"
        dates.free(
            "cal_next_month",
            next_month_name,
            "Write the name of the month after it.",
            "Which month follows?",
            "following month",
        ),
    ]


def _clock_recipes() -> list[Recipe]:
    times = Group(
        inputs="time",
        subcategory="time",
        source=SOURCE,
        material=draw_clock,
        show=lambda clock: clock.text,
    )

    def an_hour_later(clock: Clock) -> str:
        return Clock((clock.hour + 1) % 24, clock.minute).text

    return [
        # "11:05" -> "11:05 AM"
        times.free(
            "fmt_time12",
            lambda clock: clock.twelve_hour_text,
            "Write the time with AM or PM.",
            "Use the 12-hour clock.",
            "12-hour clock",
        ),
        # "11:05" -> "12:05"
        times.free(
            "tim_next_hour",
            an_hour_later,
            "Write the time one hour later.",
            "Add one hour.",
            "an hour later",
        ),
        # At the full hour the answer could be 0 or 60.
        # "11:05" -> "55"
        times.free(
            "tim_minutes_left",
            lambda clock: str(60 - clock.minute) if clock.minute else None,
            "How many minutes are left until the full hour?",
            "Count the minutes to the next hour.",
            "minutes left",
        ),
        # Novel: AM and PM stand behind a time in pre-training, never alone.
        # "11:05" -> "AM"
        times.labelled(
            "tim_half",
            ("AM", "PM"),
            lambda clock: clock.half,
            "Is the time AM or PM?",
            "Before or after noon? Say AM or PM.",
            "AM or PM",
            novel=True,
        ),
        # "11:05" -> "morning"
        times.labelled(
            "tim_part",
            PARTS_OF_DAY,
            lambda clock: PARTS_OF_DAY[clock.hour // 6],
            "Is it night (0-6), morning, afternoon or evening (from 18)?",
            "Name the part of the day: night, morning, afternoon, evening.",
            "part of the day",
        ),
    ]


def _name_recipes() -> list[Recipe]:
    names = Group(
        inputs="full name",
        subcategory="person name",
        source=SOURCE,
        material=draw_full_name,
        show=" ".join,
    )
    return [
        # "Leon Booker" -> "Booker, Leon"
        names.free(
            "fmt_name_last_first",
            lambda name: f"{name.surname}, {name.first}",
            "Write the surname, a comma and the first name.",
            "Put the family name first, with a comma.",
            "surname, first name",
        ),
        # "Leon Booker" -> "L. B."
        names.free(
            "fmt_initials",
            lambda name: f"{name.first[0]}. {name.surname[0]}.",
            "Write the initials with points.",
            "Shorten both names to letters.",
            "initials",
        ),
        # Novel: half of it is `fmt_initials`, the other half is copied.
        # "Leon Booker" -> "L. Booker"
        names.free(
            "fmt_short_name",
            lambda name: f"{name.first[0]}. {name.surname}",
            "Shorten the first name to a letter with a point.",
            "Write an initial and the surname.",
            "initial and surname",
            novel=True,
        ),
        # "Leon Booker" -> "leon.booker@mail.com"
        names.free(
            "fmt_email",
            lambda name: f"{name.first}.{name.surname}@mail.com".lower(),
            "Write the e-mail address at mail.com: both names with a point between.",
            "Make a mail.com address of the name.",
            "e-mail address",
        ),
        # "Leon Booker" -> "lbooker"
        names.free(
            "fmt_login",
            lambda name: f"{name.first[0]}{name.surname}".lower(),
            "Write a login: first letter and surname in lower case.",
            "Make a user name of initial and surname.",
            "login",
        ),
        # "Leon Booker" -> "Leon"
        names.free(
            "nam_first",
            lambda name: name.first,
            "Write only the first name.",
            "What is the given name?",
            "given name",
        ),
        # "Leon Booker" -> "Booker"
        names.free(
            "nam_surname",
            lambda name: name.surname,
            "Write only the surname.",
            "What is the family name?",
            "family name",
        ),
    ]
