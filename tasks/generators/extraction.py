"""Extraction: one made-up report sentence, and what can be asked of it.

Name, city, job, number, things, day, tags of words. Source: own frames, filled with the
hand-written lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`. All tasks
share one distribution of inputs.
"""

import re
from dataclasses import dataclass, replace
from random import Random

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.scenes import CITIES, JOBS, things
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import article, first_names

VOCABULARY = read_vocabulary("extraction")
SOURCE = "own frames"
WEEK: tuple[str, ...] = tuple(VOCABULARY["week"])
NUMBER_WORDS: tuple[str, ...] = tuple(VOCABULARY["numbers"])


@dataclass(frozen=True)
class Report:
    """Who did something with how many things on which day, and its wording."""

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
        """The number as the sentence spells it."""
        return NUMBER_WORDS[self.number]

    @property
    def text(self) -> str:
        """The report as a sentence."""
        return self.frame.format(
            name=self.name,
            job=self.job,
            city=self.city,
            verb=self.verb,
            number=self.number_word,
            things=self.things,
            day=self.day,
            article=article(self.job),
            Article=article(self.job).capitalize(),
        )

    @property
    def tags(self) -> str:
        """The tag of each word of the sentence: PER, LOC, NUM, DAY, or O."""
        tag_of_word = {self.name: "PER", self.city: "LOC", self.number_word: "NUM", self.day: "DAY"}
        words = re.findall(r"\w+", self.text)
        return " ".join(tag_of_word.get(word, "O") for word in words)


def draw_report(rng: Random) -> Report:
    """Draw a report: every part is independent of the others."""
    return Report(
        name=rng.choice(first_names()).name,
        job=rng.choice(JOBS),
        city=rng.choice(CITIES),
        verb=rng.choice(VOCABULARY["verbs"]),
        number=rng.randint(2, 20),
        things=rng.choice(things()).plural,
        day=rng.choice(WEEK),
        frame=rng.choice(VOCABULARY["frames"]),
    )


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    # No word of the input says which part is wanted: that is in the definition alone.
    reports = Group(
        inputs="trip report",
        subcategory="extraction",
        source=SOURCE,
        material=draw_report,
        show=lambda report: report.text,
    )
    return [*_person_recipes(reports), *_goods_recipes(reports), *_record_recipes(reports)]


def _person_recipes(reports: Group[Report]) -> list[Recipe]:
    return [
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "Joan"
        reports.free(
            "ext_person",
            lambda report: report.name,
            "Write the first name of the person in the sentence.",
            "Who is the sentence about? Give the name only.",
            "Find the person who is mentioned and copy the name.",
            "Extract the personal name, without job or city.",
            "Answer with the name of the man or woman in the text.",
        ),
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "Lima"
        reports.free(
            "ext_city",
            lambda report: report.city,
            "Write the city that the sentence names.",
            "Which city is mentioned? Answer with its name.",
            "Find the town in the text and copy it.",
            "Extract the place name from the report.",
            "Look for the city and write nothing else.",
        ),
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "clerk"
        reports.free(
            "ext_job",
            lambda report: report.job,
            "Write the job of the person, without an article.",
            "What does this person do for a living? Give one word.",
            "Find the profession that is named in the sentence.",
            "Extract the occupation of the man or woman.",
            "Answer with the work that the person does, as a noun.",
        ),
    ]


def _goods_recipes(reports: Group[Report]) -> list[Recipe]:
    return [
        # Copied as it stands; `ext_number_digits` asks for the same number in another notation.
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "twelve"
        reports.free(
            "ext_number",
            lambda report: report.number_word,
            "Write the number word that stands in the sentence.",
            "How many things are there? Copy the word for the number.",
            "Find the amount in the text and write it as it stands there.",
            "Extract the quantity, spelled the way the report spells it.",
            "Answer with the number of things, in words.",
        ),
        # The plural is copied as it stands, so that no morphology is needed.
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "hats"
        reports.free(
            "ext_things",
            lambda report: report.things,
            "Write what kind of things the person dealt with, as in the text.",
            "Which things are counted in the sentence? Give the plural noun.",
            "Find the goods in the report and copy the word.",
            "Extract the objects, without their number.",
            "Answer with the items that are mentioned.",
        ),
        # Novel: every other part of the report is asked for in pre-training.
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "Sunday"
        reports.free(
            "ext_weekday",
            lambda report: report.day,
            "Write the day of the week on which it happened.",
            "When did it happen? Give only the weekday.",
            "Find the weekday in the sentence and copy it.",
            "Extract the day from the report.",
            "Answer with the name of the day, Monday to Sunday.",
            novel=True,
        ),
    ]


def _record_recipes(reports: Group[Report]) -> list[Recipe]:
    labelling = replace(reports, subcategory="sequence-labelling")
    return [
        # Three copies at once, in an order that the sentence need not have.
        # "Last Sunday the clerk Joan took twelve hats to Lima."
        #     -> "name=Joan; city=Lima; job=clerk"
        reports.free(
            "ext_json",
            lambda report: f"name={report.name}; city={report.city}; job={report.job}",
            "Fill in a record of the form name=…; city=…; job=….",
            "Write name, city and job of the person as name=, city= and job=, with semicolons.",
            "Turn the sentence into three fields: name, city, job.",
            "Extract the personal data as key=value pairs in the order name, city, job.",
            "Make a data entry with the keys name, city and job from the report.",
        ),
        # The only task of labelling a sequence: one tag for each word.
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "O DAY O O PER O NUM O O LOC"
        labelling.free(
            "seq_ner_bio",
            lambda report: report.tags,
            "Tag every word: PER for a person, LOC for a city, NUM, DAY, or O for the rest.",
            "Replace each word by its tag PER, LOC, NUM, DAY or O.",
            (
                "Label the words of the sentence in order: names PER, cities LOC, "
                "numbers NUM, weekdays DAY, others O."
            ),
            (
                "Write one tag per word, separated by spaces: PER, LOC, "
                "NUM, DAY, and O for anything else."
            ),
            "Mark person, city, number and day as PER, LOC, NUM and DAY, all other words as O.",
        ),
        # Novel: the same number word is only copied in pre-training.
        # "Last Sunday the clerk Joan took twelve hats to Lima." -> "12"
        reports.free(
            "ext_number_digits",
            lambda report: str(report.number),
            "Write the number of things in digits.",
            "How many things are there? Answer in figures.",
            "Find the number word and write it as a numeral.",
            "Extract the amount and convert it to digits.",
            "Give the quantity of the report as a figure like 7.",
            novel=True,
        ),
    ]
