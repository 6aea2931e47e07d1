"""Data to text and back: records of people, orders and weather; headlines; joining and splitting.

Source: own frames, filled with the lists of `ipt.tasks.generators.words` and
`ipt.tasks.generators.scenes`.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.extraction import SOURCE, WEEK, Report, draw_report
from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.scenes import CITIES, draw_clause
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import with_article

VOCABULARY = read_vocabulary("data2text")
TEMPERATURES: dict[str, list[int]] = VOCABULARY["skies"]
FORECASTS: list[str] = VOCABULARY["forecasts"]
FULL_STOP = ". "
AND = " and "
JOINTS = (AND, ", but ", ", while ", "; ", ", and then ")


@dataclass(frozen=True)
class Weather:
    """The weather of a city on a day, in degrees Celsius, and its wording."""

    city: str
    day: str
    sky: str
    degrees: int
    frame: str

    @property
    def record(self) -> str:
        """The weather as four values."""
        return f"{self.city} | {self.day} | {self.sky} | {self.degrees}"

    @property
    def text(self) -> str:
        """The weather as the drawn sentence."""
        return self.in_frame(self.frame)

    @property
    def usual_text(self) -> str:
        """The weather as the first of the sentences, which the record alone determines."""
        return self.in_frame(FORECASTS[0])

    def in_frame(self, frame: str) -> str:
        """Return the weather as a sentence of the given frame."""
        return frame.format(day=self.day, sky=self.sky, city=self.city, degrees=self.degrees)


class News(NamedTuple):
    """A report of two sentences and its headline."""

    text: str
    headline: str


class Statement(NamedTuple):
    """A clause as it begins a sentence and as it stands inside one, without a full stop."""

    at_start: str
    inside: str


class Rewriting(NamedTuple):
    """A text and the same in other sentences."""

    text: str
    rewritten: str


def order_record(report: Report) -> str:
    """Return a report as the record of an order."""
    goods = f"{report.number} {report.things}"
    return f"{report.name} | {report.job} | {report.city} | {goods} | {report.day}"


def draw_weather(rng: Random) -> Weather:
    """Draw a kind of weather with a temperature that fits it."""
    sky = rng.choice(tuple(TEMPERATURES))
    # No snow at 30 degrees: the record must make sense.
    lowest, highest = TEMPERATURES[sky]
    return Weather(
        city=rng.choice(CITIES),
        day=rng.choice(WEEK),
        sky=sky,
        degrees=rng.randint(lowest, highest),
        frame=rng.choice(FORECASTS),
    )


def draw_news(rng: Random) -> News:
    """Draw a report of two sentences, the news and something beside it."""
    building = rng.choice(VOCABULARY["buildings"])
    city = rng.choice(CITIES)
    event = rng.choice(VOCABULARY["events"])
    frame = rng.choice(VOCABULARY["news"])
    news = frame.format(
        # The age stands in the report alone: the headline has to drop it.
        building=rng.choice(VOCABULARY["ages"]) + building,
        city=city,
        day=rng.choice(WEEK),
        event=event,
    )
    text = f"{news} {rng.choice(VOCABULARY['side_remarks'])}"
    return News(text, headline=f"{building.capitalize()} in {city} {event}")


def draw_statement(rng: Random) -> Statement:
    """Draw a clause in some tense."""
    clause = draw_clause(rng)
    verb = clause.verb
    form = rng.choice(
        (
            verb.past,
            f"will {verb.lemma}",
            f"did not {verb.lemma}",
            f"has {verb.participle}",
            f"often {verb.past}",
        )
    )
    predicate = f"{form} {clause.object}"
    return Statement(
        at_start=f"{clause.subject.text} {predicate}",
        inside=f"{clause.subject.inside} {predicate}",
    )


def draw_two_sentences(rng: Random) -> Rewriting | None:
    """Draw two clauses as two sentences and as one with "and"; None where they begin alike."""
    first, second = draw_statement(rng), draw_statement(rng)
    # With the same beginning, one would join them without the second subject.
    if first.at_start.split()[:2] == second.at_start.split()[:2]:
        return None
    return Rewriting(
        text=f"{first.at_start}{FULL_STOP}{second.at_start}.",
        rewritten=f"{first.at_start}{AND}{second.inside}.",
    )


def draw_compound_sentence(rng: Random) -> Rewriting:
    """Draw two clauses as one sentence and as two."""
    first, second = draw_statement(rng), draw_statement(rng)
    joint = rng.choice(JOINTS)
    return Rewriting(
        text=f"{first.at_start}{joint}{second.inside}.",
        rewritten=f"{first.at_start}{FULL_STOP}{second.at_start}.",
    )


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_order_recipes(),
        *_weather_recipes(),
        _headline_recipe(),
        *_sentence_recipes(),
    ]


def by_overlap(recipe: Recipe) -> Recipe:
    """Return a recipe that is scored by words in common: a sentence may be worded otherwise."""
    return replace(recipe, metric="rouge-L")


def _order_recipes() -> list[Recipe]:
    # Each task leaves out other fields of the same record.
    orders = Group(
        inputs="order record",
        subcategory="data-to-text",
        source=SOURCE,
        material=draw_report,
        show=order_record,
    )
    # "Lena | judge | Lyon | 18 cups | Sunday" -> "Lena works as a judge in Lyon."
    person = orders.free(
        "d2t_person",
        lambda order: f"{order.name} works as {with_article(order.job)} in {order.city}.",
        "Write a sentence that says what the person works as, and where.",
        "Turn name, job and city into: somebody works as something in some city.",
        "Introduce the person in one sentence with job and city, and leave the goods out.",
        "Say in words who works as what in which town.",
        "Describe the work of the customer in a full sentence.",
    )
    # Job and city are left out: the definition says which fields are told.
    # "Lena | judge | Lyon | 18 cups | Sunday" -> "Lena ordered 18 cups on Sunday."
    order = orders.free(
        "d2t_order",
        lambda order: f"{order.name} ordered {order.number} {order.things} on {order.day}.",
        "Write a sentence that says who ordered what, and on which day.",
        "Turn the entry into: somebody ordered some things on some day.",
        "Describe the order in one sentence with name, goods and weekday.",
        "Say in words what the person ordered and when, without job and city.",
        "Report the purchase as a full sentence in the past tense.",
    )
    # Novel: in pre-training the same records are stated, never turned into a command.
    # "Lena | judge | Lyon | 18 cups | Sunday" -> "Send 18 cups to Lena in Lyon."
    delivery = orders.free(
        "d2t_delivery",
        lambda order: f"Send {order.number} {order.things} to {order.name} in {order.city}.",
        "Write the command to send the goods to the person in the city.",
        "Tell the shop: send these things to this customer in this town.",
        "Make an instruction for delivery from goods, name and city.",
        "Give the order of dispatch in one sentence that begins with Send.",
        "Say what must be sent to whom and where, leaving out job and day.",
        novel=True,
    )
    return [by_overlap(person), by_overlap(order), by_overlap(delivery)]


def _weather_recipes() -> list[Recipe]:
    records = Group(
        inputs="weather record",
        subcategory="data-to-text",
        source=SOURCE,
        material=draw_weather,
        show=lambda weather: weather.record,
    )
    reports = replace(records, inputs="weather report", show=lambda weather: weather.text)
    # "Lima | Sunday | dry | 9" -> "On Sunday it will be dry in Lima with 9 degrees."
    forecast = records.free(
        "d2t_weather",
        lambda weather: weather.usual_text,
        "Write the forecast as a sentence: on which day, what weather, where, how many degrees.",
        "Turn the weather data into one sentence about the day.",
        "Say in words what the weather will be, beginning with the day.",
        "Announce the weather for the city from city, day, sky and degrees.",
        "Make a spoken forecast out of the four values.",
    )
    # The way back has one answer only, and is compared exactly.
    # "With 18 degrees, Saturday was dry in Havana." -> "Havana | Saturday | dry | 18"
    record = reports.free(
        "t2d_weather",
        lambda weather: weather.record,
        "Write the weather data as city, day, sky and degrees with bars between.",
        "Turn the weather report into four values separated by bars.",
        "Extract city, weekday, kind of weather and temperature, in this order.",
        "Make a table row of the forecast: city | day | weather | number.",
        "Note down where, when, what weather and how warm, divided by bars.",
    )
    return [by_overlap(forecast), record]


def _headline_recipe() -> Recipe:
    reports = Group(
        inputs="two-sentence report",
        subcategory="summarisation",
        source=SOURCE,
        material=draw_news,
        show=lambda news: news.text,
    )
    # The age of the building, the day and the second sentence are left out.
    # "On Sunday the cafe in Lisbon was sold. Two reporters came." -> "Cafe in Lisbon sold"
    headline = reports.free(
        "sum_report",
        lambda news: news.headline,
        "Write a headline of the form: building in city, then what happened to it.",
        "Sum up the report in four words, without day and side remarks.",
        "Give the news a title that names building, city and event.",
        "Shorten the two sentences to a newspaper headline.",
        "What happened to which building in which town? Answer as a headline.",
    )
    return by_overlap(headline)


def _sentence_recipes() -> list[Recipe]:
    pairs = Group(
        inputs="two sentences",
        subcategory="rewriting",
        source=SOURCE,
        material=draw_two_sentences,
        show=lambda pair: pair.text,
    )
    compounds = replace(pairs, inputs="compound sentence", material=draw_compound_sentence)
    return [
        # A subject such as "The nurse" loses its capital inside the sentence.
        # "Gloria fed the dog. Janet won the race." -> "Gloria fed the dog and Janet won the race."
        pairs.free(
            "rew_join",
            lambda pair: pair.rewritten,
            "Join the two sentences into one with and.",
            "Make one sentence out of two, linked by the word and.",
            "Connect both statements with and, minding capital letters.",
            "Combine the sentences by putting and between them.",
            "Merge these two into a single compound sentence.",
        ),
        # Any of five joints is dropped; the second part gets a capital.
        # "Gloria fed the dog, and then Janet won the race."
        #     -> "Gloria fed the dog. Janet won the race."
        compounds.free(
            "rew_split",
            lambda pair: pair.rewritten,
            "Split the sentence into two separate sentences.",
            "Write the two parts as sentences of their own, without the linking word.",
            "Divide this long sentence in two, each with a capital letter and a full stop.",
            "Break the compound sentence up and drop the conjunction.",
            "Make two short sentences out of one.",
        ),
    ]
