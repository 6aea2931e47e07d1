"""Data to text and back: records of people, orders and weather; headlines; joining and splitting sentences.

Source: own frames, filled with the lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`.
"""

from dataclasses import dataclass
from functools import partial
from random import Random

from ipt.tasks.generators.extraction import SOURCE, WEEK, Report, bag, report
from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.scenes import CITIES, Clause, clause
from ipt.tasks.generators.words import with_article

SKIES = {
    "sunny": (12, 34), "cloudy": (4, 24), "rainy": (4, 20), "windy": (4, 22), "foggy": (3, 12), "stormy": (6, 26),
    "snowy": (0, 2), "clear": (3, 30), "dry": (8, 34), "misty": (3, 14),
}  # fmt: skip
FORECASTS = (
    "On {d} it will be {s} in {c} with {t} degrees.", "It will be {s} and {t} degrees in {c} on {d}.",
    "In {c} we expect a {s} {d} with {t} degrees.", "{c} had {t} degrees on {d}, and it was {s}.",
    "The weather in {c} on {d}: {s}, {t} degrees.", "With {t} degrees, {d} was {s} in {c}.",
)  # fmt: skip
BUILDINGS = bag(
    """bridge museum school library market station theater hotel zoo cinema bakery hospital stadium park airport castle
    harbor factory tower gallery bank restaurant chapel garden garage farm gym pool playground cafe"""
)
EVENTS = bag("opened closed repaired painted sold cleaned rebuilt photographed renamed inspected damaged flooded")
AGES = ("", "old ", "new ", "small ", "big ", "famous ")
NEWS = (
    "On {d} the {b} in {c} was {e}.", "The {b} in {c} was {e} last {d}.", "In {c}, the {b} was {e} on {d}.",
    "We heard that the {b} in {c} was {e} on {d}.", "The {b} of {c} was {e} late on {d}.",
)  # fmt: skip
REST = (
    "Nobody was hurt.", "Many people watched.", "It was a warm day.", "The mayor took photos.", "It rained all day.",
    "The street was full.", "Visitors were surprised.", "Two reporters came.", "No reason was given.",
    "It was quiet there.", "Most shops were shut.", "The news spread fast.",
)  # fmt: skip
JOINTS = (". ", " and ", ", but ", ", while ", "; ", ", and then ")
PLAIN, AND = JOINTS[:2]


@dataclass(frozen=True)
class Weather:
    city: str
    day: str
    sky: str
    degrees: int
    frame: str

    @property
    def record(self) -> str:
        return f"{self.city} | {self.day} | {self.sky} | {self.degrees}"

    @property
    def text(self) -> str:
        return self.frame.format(c=self.city, d=self.day, s=self.sky, t=self.degrees)


@dataclass(frozen=True)
class News:
    text: str
    headline: str


def order(x: Report) -> str:
    return f"{x.name} | {x.job} | {x.city} | {x.number} {x.things} | {x.day}"


def weather(rng: Random) -> Weather:
    sky = rng.choice(tuple(SKIES))
    return Weather(rng.choice(CITIES), rng.choice(WEEK), sky, rng.randint(*SKIES[sky]), rng.choice(FORECASTS))


def news(rng: Random) -> News:
    """Draw a report of two sentences, the news and something beside it."""
    building, city, event = rng.choice(BUILDINGS), rng.choice(CITIES), rng.choice(EVENTS)
    told = rng.choice(NEWS).format(b=rng.choice(AGES) + building, c=city, d=rng.choice(WEEK), e=event)
    return News(f"{told} {rng.choice(REST)}", f"{building.capitalize()} in {city} {event}")


def sayings(x: Clause) -> tuple[str, ...]:
    verb = x.verb
    return (verb.past, f"will {verb.lemma}", f"did not {verb.lemma}", f"has {verb.participle}", f"often {verb.past}")


def deed(rng: Random) -> tuple[str, str]:
    """Draw a clause in some tense, worded for the beginning of a sentence and for its middle."""
    told = clause(rng)
    said = f"{rng.choice(sayings(told))} {told.object}"
    return f"{told.subject.text} {said}", f"{told.subject.inside} {said}"


def two_deeds(rng: Random) -> tuple[str, str] | None:
    """Draw two clauses as two sentences and as one with "and"."""
    one, two = deed(rng), deed(rng)
    if one[0].split()[:2] == two[0].split()[:2]:
        return None
    return f"{one[0]}{PLAIN}{two[0]}.", f"{one[0]}{AND}{two[1]}."


def compound(rng: Random) -> tuple[str, str]:
    """Draw two clauses as one sentence and as two."""
    one, two = deed(rng), deed(rng)
    return f"{one[0]}{rng.choice(JOINTS[1:])}{two[1]}.", f"{one[0]}{PLAIN}{two[0]}."


def recipes() -> list[Recipe]:
    task = partial(Recipe, category="non-cls", subcategory="data-to-text", metric="rouge-L", source=SOURCE)
    record = partial(over, report, order)
    rewriting = partial(task, subcategory="rewriting", metric="exact-match")
    return [
        task(
            "d2t_person",
            definitions=(
                "Write a sentence that says what the person works as, and where.",
                "Turn name, job and city into: somebody works as something in some city.",
                "Introduce the person in one sentence with job and city, and leave the goods out.",
                "Say in words who works as what in which town.",
                "Describe the work of the customer in a full sentence.",
            ),
            draw=record(lambda x: f"{x.name} works as {with_article(x.job)} in {x.city}."),
            inputs="order record",
        ),
        task(
            "d2t_order",
            definitions=(
                "Write a sentence that says who ordered what, and on which day.",
                "Turn the entry into: somebody ordered some things on some day.",
                "Describe the order in one sentence with name, goods and weekday.",
                "Say in words what the person ordered and when, without job and city.",
                "Report the purchase as a full sentence in the past tense.",
            ),
            draw=record(lambda x: f"{x.name} ordered {x.number} {x.things} on {x.day}."),
            inputs="order record",
        ),
        task(
            "d2t_delivery",
            definitions=(
                "Write the command to send the goods to the person in the city.",
                "Tell the shop: send these things to this customer in this town.",
                "Make an instruction for delivery from goods, name and city.",
                "Give the order of dispatch in one sentence that begins with Send.",
                "Say what must be sent to whom and where, leaving out job and day.",
            ),
            draw=record(lambda x: f"Send {x.number} {x.things} to {x.name} in {x.city}."),
            inputs="order record",
            novel=True,
        ),
        task(
            "d2t_weather",
            definitions=(
                "Write the forecast as a sentence: on which day, what weather, where, how many degrees.",
                "Turn the weather data into one sentence about the day.",
                "Say in words what the weather will be, beginning with the day.",
                "Announce the weather for the city from city, day, sky and degrees.",
                "Make a spoken forecast out of the four values.",
            ),
            draw=over(weather, lambda x: x.record, lambda x: FORECASTS[0].format(c=x.city, d=x.day, s=x.sky, t=x.degrees)),
            inputs="weather record",
        ),
        task(
            "t2d_weather",
            metric="exact-match",
            definitions=(
                "Write the weather data as city, day, sky and degrees with bars between.",
                "Turn the weather report into four values separated by bars.",
                "Extract city, weekday, kind of weather and temperature, in this order.",
                "Make a table row of the forecast: city | day | weather | number.",
                "Note down where, when, what weather and how warm, divided by bars.",
            ),
            draw=over(weather, lambda x: x.text, lambda x: x.record),
            inputs="weather report",
        ),
        task(
            "sum_report",
            subcategory="summarisation",
            definitions=(
                "Write a headline of the form: building in city, then what happened to it.",
                "Sum up the report in four words, without day and side remarks.",
                "Give the news a title that names building, city and event.",
                "Shorten the two sentences to a newspaper headline.",
                "What happened to which building in which town? Answer as a headline.",
            ),
            draw=over(news, lambda x: x.text, lambda x: x.headline),
            inputs="two-sentence report",
        ),
        rewriting(
            "rew_join",
            definitions=(
                "Join the two sentences into one with and.",
                "Make one sentence out of two, linked by the word and.",
                "Connect both statements with and, minding capital letters.",
                "Combine the sentences by putting and between them.",
                "Merge these two into a single compound sentence.",
            ),
            draw=over(two_deeds, lambda x: x[0], lambda x: x[1]),
            inputs="two sentences",
        ),
        rewriting(
            "rew_split",
            definitions=(
                "Split the sentence into two separate sentences.",
                "Write the two parts as sentences of their own, without the linking word.",
                "Divide this long sentence in two, each with a capital letter and a full stop.",
                "Break the compound sentence up and drop the conjunction.",
                "Make two short sentences out of one.",
            ),
            draw=over(compound, lambda x: x[0], lambda x: x[1]),
            inputs="compound sentence",
        ),
    ]
