"""Extraction: one made-up report sentence, and what can be asked of it (name, city, job, number, things, day, tags).

Source: own frames, filled with the hand-written lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`. All tasks share one
distribution of inputs.
"""

import re
from dataclasses import dataclass
from functools import partial
from random import Random

from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.scenes import CITIES, jobs, things
from ipt.tasks.generators.words import article, first_names

SOURCE = "own frames"


def bag(text: str) -> tuple[str, ...]:
    """Return the words of a list that is written as one text."""
    return tuple(text.split())


WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NUMBERS = bag(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty"""
)
VERBS = ("bought", "sold", "ordered", "found", "packed", "lost", "carried", "collected")
FRAMES = (
    "{n}, {a} {j} from {c}, {v} {k} {t} on {d}.",
    "On {d} {n}, {a} {j} in {c}, {v} {k} {t}.",
    "{A} {j} from {c} called {n} {v} {k} {t} on {d}.",
    "Last {d} the {j} {n} took {k} {t} to {c}.",
    "In {c}, the {j} {n} {v} {k} {t} on {d}.",
    "On {d}, {k} {t} were sent to {n}, {a} {j} in {c}.",
    "The {j} {n} came from {c} on {d} with {k} {t}.",
    "{n} is {a} {j} in {c} and {v} {k} {t} on {d}.",
)


@dataclass(frozen=True)
class Report:
    """Who (with which job, in which city) did something with how many things on which day, and its wording."""

    name: str
    job: str
    city: str
    verb: str
    number: int
    things: str
    day: str
    frame: str

    @property
    def number_word(self) -> str:
        return NUMBERS[self.number]

    @property
    def text(self) -> str:
        determiner = article(self.job)
        return self.frame.format(
            n=self.name, j=self.job, c=self.city, v=self.verb, k=self.number_word, t=self.things, d=self.day,
            a=determiner, A=determiner.capitalize(),
        )  # fmt: skip


def report(rng: Random) -> Report:
    """Draw a report: every part is independent of the others."""
    return Report(
        rng.choice(first_names())[0], rng.choice(jobs()), rng.choice(CITIES), rng.choice(VERBS), rng.randint(2, 20),
        rng.choice(things()).plural, rng.choice(WEEK), rng.choice(FRAMES),
    )  # fmt: skip


def tags(x: Report) -> str:
    """Tag each word of the sentence: PER, LOC, NUM, DAY, or O."""
    known = {x.name: "PER", x.city: "LOC", x.number_word: "NUM", x.day: "DAY"}
    return " ".join(known.get(word, "O") for word in re.findall(r"\w+", x.text))


def recipes() -> list[Recipe]:
    task = partial(Recipe, category="non-cls", subcategory="extraction", metric="exact-match", inputs="trip report", source=SOURCE)
    asked = partial(over, report, lambda x: x.text)
    return [
        task(
            "ext_person",
            definitions=(
                "Write the first name of the person in the sentence.",
                "Who is the sentence about? Give the name only.",
                "Find the person who is mentioned and copy the name.",
                "Extract the personal name, without job or city.",
                "Answer with the name of the man or woman in the text.",
            ),
            draw=asked(lambda x: x.name),
        ),
        task(
            "ext_city",
            definitions=(
                "Write the city that the sentence names.",
                "Which city is mentioned? Answer with its name.",
                "Find the town in the text and copy it.",
                "Extract the place name from the report.",
                "Look for the city and write nothing else.",
            ),
            draw=asked(lambda x: x.city),
        ),
        task(
            "ext_job",
            definitions=(
                "Write the job of the person, without an article.",
                "What does this person do for a living? Give one word.",
                "Find the profession that is named in the sentence.",
                "Extract the occupation of the man or woman.",
                "Answer with the work that the person does, as a noun.",
            ),
            draw=asked(lambda x: x.job),
        ),
        task(
            "ext_number",
            definitions=(
                "Write the number word that stands in the sentence.",
                "How many things are there? Copy the word for the number.",
                "Find the amount in the text and write it as it stands there.",
                "Extract the quantity, spelled the way the report spells it.",
                "Answer with the number of things, in words.",
            ),
            draw=asked(lambda x: x.number_word),
        ),
        task(
            "ext_things",
            definitions=(
                "Write what kind of things the person dealt with, as in the text.",
                "Which things are counted in the sentence? Give the plural noun.",
                "Find the goods in the report and copy the word.",
                "Extract the objects, without their number.",
                "Answer with the items that are mentioned.",
            ),
            draw=asked(lambda x: x.things),
        ),
        task(
            "ext_weekday",
            definitions=(
                "Write the day of the week on which it happened.",
                "When did it happen? Give only the weekday.",
                "Find the weekday in the sentence and copy it.",
                "Extract the day from the report.",
                "Answer with the name of the day, Monday to Sunday.",
            ),
            draw=asked(lambda x: x.day),
            novel=True,
        ),
        task(
            "ext_json",
            definitions=(
                "Fill in a record of the form name=…; city=…; job=….",
                "Write name, city and job of the person as name=, city= and job=, with semicolons.",
                "Turn the sentence into three fields: name, city, job.",
                "Extract the personal data as key=value pairs in the order name, city, job.",
                "Make a data entry with the keys name, city and job from the report.",
            ),
            draw=asked(lambda x: f"name={x.name}; city={x.city}; job={x.job}"),
        ),
        task(
            "seq_ner_bio",
            subcategory="sequence-labelling",
            definitions=(
                "Tag every word: PER for a person, LOC for a city, NUM, DAY, or O for the rest.",
                "Replace each word by its tag PER, LOC, NUM, DAY or O.",
                "Label the words of the sentence in order: names PER, cities LOC, numbers NUM, weekdays DAY, others O.",
                "Write one tag per word, separated by spaces: PER, LOC, NUM, DAY, and O for anything else.",
                "Mark person, city, number and day as PER, LOC, NUM and DAY, all other words as O.",
            ),
            draw=asked(tags),
        ),
        task(
            "ext_number_digits",
            definitions=(
                "Write the number of things in digits.",
                "How many things are there? Answer in figures.",
                "Find the number word and write it as a numeral.",
                "Extract the amount and convert it to digits.",
                "Give the quantity of the report as a figure like 7.",
            ),
            draw=asked(lambda x: str(x.number)),
            novel=True,
        ),
    ]
