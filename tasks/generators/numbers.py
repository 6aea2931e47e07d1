"""Numbers, dates, times and names in other notations: every distribution of inputs serves several tasks."""

import calendar
from datetime import date, timedelta
from functools import cache
from random import Random

from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.words import first_names, surnames

MONTHS = tuple(calendar.month_name)[1:]
SEASONS = {12: "winter", 1: "winter", 2: "winter", 3: "spring", 4: "spring", 5: "spring", 6: "summer", 7: "summer", 8: "summer"}
Pair = tuple[int, int]


def table(category_options: tuple[str, ...] | None, subcategory: str, inputs: str, material, show):  # type: ignore[no-untyped-def]
    """Return a maker of recipes over one distribution of inputs."""

    def make(
        name: str, definitions: tuple[str, ...], answer, options=category_options, novel: bool = False, kind: str = subcategory
    ) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(
            name, category, kind, metric, definitions, over(material, show, answer), inputs, "own rules, inflect", options, novel=novel
        )

    return make


@cache
def in_words(number: int) -> str:
    import inflect  # late: only the extra `suite` has it

    return str(inflect.engine().number_to_words(str(number))).replace(",", "")


def ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def pair(rng: Random) -> Pair:
    return rng.randint(1, 99), rng.randint(1, 99)


def number(rng: Random) -> int:
    return rng.randint(1, 999)


def number_list(rng: Random) -> tuple[int, ...]:
    return tuple(rng.sample(range(1, 100), rng.randint(3, 5)))


def progression(rng: Random) -> tuple[int, ...]:
    start, step = rng.randint(1, 60), rng.choice((1, 2, 3, 4, 5, 10))
    values = [start + i * step for i in range(4)]
    return tuple(values[::-1] if rng.random() < 0.4 else values)


def day(rng: Random) -> date:
    return date(1950, 1, 1) + timedelta(days=rng.randrange(36500))


def clock(rng: Random) -> Pair:
    return rng.randrange(24), rng.randrange(60)


def person(rng: Random) -> tuple[str, str]:
    return rng.choice(first_names())[0], rng.choice(surnames())


def long_date(d: date) -> str:
    return f"{MONTHS[d.month - 1]} {d.day}, {d.year}"


def recipes() -> list[Recipe]:
    return [*_pairs(), *_numbers(), *_lists(), *_dates(), *_times(), *_people()]


def _pairs() -> list[Recipe]:
    make = table(None, "arithmetic", "pair of numbers", pair, lambda p: f"{p[0]} {p[1]}")
    side = lambda ok: "first" if ok else "second"  # noqa: E731
    return [
        make("ari_add", ("Add the two numbers.", "What is the sum?", "sum"), lambda p: str(p[0] + p[1])),
        make("ari_larger", ("Write the larger number.", "Which number is bigger?", "maximum"), lambda p: str(max(p))),
        make("ari_smaller", ("Write the smaller number.", "Which number is less?", "minimum"), lambda p: str(min(p)), novel=True),
        make("ari_which_larger", ("Which number is larger, the first or the second?", "Compare: first or second is bigger?", "larger: first or second"), lambda p: None if p[0] == p[1] else side(p[0] > p[1]), ("first", "second")),
        make("ari_sum_over_100", ("Is the sum over one hundred? yes or no", "Add them: more than 100? Answer yes or no.", "sum over 100: yes or no"), lambda p: "yes" if sum(p) > 100 else "no", ("yes", "no")),
    ]  # fmt: skip


def _numbers() -> list[Recipe]:
    make = table(None, "number notation", "number", number, str)
    spoken = table(None, "number notation", "number in words", number, in_words)
    return [
        make("fmt_num_to_words", ("Write the number in words.", "How is the number spoken?", "digits to words"), in_words),
        make("fmt_ordinal", ("Write the number as an ordinal with digits.", "Add st, nd, rd or th.", "ordinal number"), ordinal),
        make("ari_next", ("Write the next number.", "Add one to the number.", "plus one"), lambda n: str(n + 1)),
        make("ari_previous", ("Write the number before it.", "Subtract one from the number.", "minus one"), lambda n: str(n - 1), novel=True),
        make("fmt_digits_spaced", ("Write the digits with spaces between.", "Separate the digits.", "digits one by one"), lambda n: " ".join(str(n)), novel=True),
        make("ari_parity", ("Is the number even or odd?", "Can it be divided by two? Say even or odd.", "even or odd"), lambda n: "odd" if n % 2 else "even", ("even", "odd")),
        make("ari_round_ten", ("Round the number down to tens.", "Replace the last digit by zero.", "tens only"), lambda n: str(n // 10 * 10)),
        spoken("fmt_words_to_num", ("Write the number in digits.", "Which number is it? Use digits.", "words to digits"), str),
        spoken("fmt_words_parity", ("Is this number even or odd?", "Say whether it is even or odd.", "spoken number: even or odd"), lambda n: "odd" if n % 2 else "even", ("even", "odd"), novel=True),
        spoken("fmt_words_ordinal", ("Write it as an ordinal with digits: 1st, 2nd.", "Which place is it? Use digits.", "spoken number to ordinal"), ordinal, novel=True),
    ]  # fmt: skip


def _lists() -> list[Recipe]:
    joined = lambda x: " ".join(map(str, x))  # noqa: E731
    make = table(None, "number list", "list of numbers", number_list, joined)
    step = table(None, "sequence", "sequence", progression, joined)
    rising = lambda x: "rising" if x[1] > x[0] else "falling"  # noqa: E731
    return [
        make("ari_max", ("Write the largest number of the list.", "Which number is the greatest?", "maximum of the list"), lambda x: str(max(x))),
        make("ari_min", ("Write the smallest number of the list.", "Which number is the least?", "minimum of the list"), lambda x: str(min(x)), novel=True),
        make("ari_sort", ("Sort the numbers from small to large.", "Put the numbers into rising order.", "rising order"), lambda x: joined(sorted(x))),
        make("ari_sort_down", ("Sort the numbers from large to small.", "Put the numbers into falling order.", "falling order"), lambda x: joined(sorted(x, reverse=True)), novel=True),
        make("cnt_numbers", ("How many numbers are in the list: 3, 4 or 5?", "Count the numbers, 3 to 5.", "length of the list"), lambda x: str(len(x)), ("3", "4", "5"), kind="counting"),
        step("ari_next_sequence", ("Continue the sequence with one number.", "Which number comes next in the row?", "next of the sequence"), lambda x: str(2 * x[3] - x[2]) if 2 * x[3] >= x[2] else None),
        step("seq_step", ("By how much do the numbers change from one to the next?", "Write the step of the sequence.", "step width"), lambda x: str(abs(x[1] - x[0]))),
        step("seq_direction", ("Is the sequence rising or falling?", "Do the numbers grow? Say rising or falling.", "rising or falling"), rising, ("rising", "falling")),
    ]  # fmt: skip


def _dates() -> list[Recipe]:
    make = table(None, "date", "long date", day, long_date)
    iso = table(None, "date", "iso date", day, date.isoformat)
    return [
        make("fmt_date_iso", ("Write the date in ISO format.", "Give year, month and day as digits with hyphens.", "iso date"), date.isoformat),
        make("fmt_date_short_month", ("Shorten the month to three letters, keep the rest.", "Abbreviate the month.", "short month"), lambda d: f"{MONTHS[d.month - 1][:3]} {d.day}, {d.year}"),
        make("cal_year", ("Write the year of the date.", "In which year was it?", "year only"), lambda d: str(d.year)),
        make("cal_month", ("Write the month of the date.", "In which month was it?", "month only"), lambda d: MONTHS[d.month - 1], novel=True),
        make("cal_season", ("Which season is it in the north: winter, spring, summer or autumn?", "Name the season by the month: winter, spring, summer, autumn.", "season"), lambda d: SEASONS.get(d.month, "autumn"), ("winter", "spring", "summer", "autumn")),
        make("cal_century", ("Is the date in the 20th or the 21st century?", "Say 20th for 19 hundred something, 21st for 20 hundred something.", "century: 20th or 21st"), lambda d: "20th" if d.year < 2000 else "21st", ("20th", "21st")),
        make("cal_half", ("Does the day lie in the first or the second half of the year?", "Say first for January to June, second otherwise.", "half of the year"), lambda d: "first" if d.month < 7 else "second", ("first", "second"), novel=True),
        iso("fmt_date_long", ("Write the date with the name of the month.", "Spell the month out: month, day, year.", "long date"), long_date),
        iso("cal_iso_month", ("Write the name of the month.", "Which month is it?", "name of month"), lambda d: MONTHS[d.month - 1]),
        iso("cal_iso_day", ("Write the day of the month as a number.", "Which day of the month is it?", "day number"), lambda d: str(d.day), novel=True),
        iso("cal_next_month", ("Write the name of the month after it.", "Which month follows?", "following month"), lambda d: MONTHS[d.month % 12]),
    ]  # fmt: skip


def _times() -> list[Recipe]:
    show = lambda t: f"{t[0]:02d}:{t[1]:02d}"  # noqa: E731
    make = table(None, "time", "time", clock, show)
    twelve = lambda t: f"{(t[0] + 11) % 12 + 1}:{t[1]:02d} {'AM' if t[0] < 12 else 'PM'}"  # noqa: E731
    part = lambda t: ("night", "morning", "afternoon", "evening")[t[0] // 6]  # noqa: E731
    return [
        make("fmt_time12", ("Write the time with AM or PM.", "Use the 12-hour clock.", "12-hour clock"), twelve),
        make("tim_next_hour", ("Write the time one hour later.", "Add one hour.", "an hour later"), lambda t: show(((t[0] + 1) % 24, t[1]))),
        make("tim_minutes_left", ("How many minutes are left until the full hour?", "Count the minutes to the next hour.", "minutes left"), lambda t: str(60 - t[1]) if t[1] else None),
        make("tim_half", ("Is the time AM or PM?", "Before or after noon? Say AM or PM.", "AM or PM"), lambda t: "AM" if t[0] < 12 else "PM", ("AM", "PM"), novel=True),
        make("tim_part", ("Is it night (0-6), morning, afternoon or evening (from 18)?", "Name the part of the day: night, morning, afternoon, evening.", "part of the day"), part, ("night", "morning", "afternoon", "evening")),
    ]  # fmt: skip


def _people() -> list[Recipe]:
    make = table(None, "person name", "full name", person, " ".join)
    low = lambda p: (p[0].lower(), p[1].lower())  # noqa: E731
    return [
        make("fmt_name_last_first", ("Write the surname, a comma and the first name.", "Put the family name first, with a comma.", "surname, first name"), lambda p: f"{p[1]}, {p[0]}"),
        make("fmt_initials", ("Write the initials with points.", "Shorten both names to letters.", "initials"), lambda p: f"{p[0][0]}. {p[1][0]}."),
        make("fmt_short_name", ("Shorten the first name to a letter with a point.", "Write an initial and the surname.", "initial and surname"), lambda p: f"{p[0][0]}. {p[1]}", novel=True),
        make("fmt_email", ("Write the e-mail address at mail.com: both names with a point between.", "Make a mail.com address of the name.", "e-mail address"), lambda p: "{}.{}@mail.com".format(*low(p))),
        make("fmt_login", ("Write a login: first letter and surname in lower case.", "Make a user name of initial and surname.", "login"), lambda p: low(p)[0][0] + low(p)[1]),
        make("nam_first", ("Write only the first name.", "What is the given name?", "given name"), lambda p: p[0]),
        make("nam_surname", ("Write only the surname.", "What is the family name?", "family name"), lambda p: p[1]),
    ]  # fmt: skip
