"""Short made-up reports and stories about people: extraction, data to text, reading, inference, dialogue."""

from random import Random

from ipt.tasks.numbers import in_words
from ipt.tasks.recipe import Recipe, Row, over
from ipt.tasks.scenes import jobs, places, things
from ipt.tasks.words import names

SOURCE = "own frames"
WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CITIES = """Paris Rome Berlin Madrid Vienna Oslo Cairo Lima Tokyo Dublin Prague Athens Boston Chicago Denver Dallas Sydney Lisbon Warsaw
Helsinki Geneva Milan Naples Munich Lyon Porto Toronto Delhi Seoul Havana""".split()
REPORTS = (
    "{n}, {a} {j} from {c}, bought {k} {t} on {d}.",
    "On {d}, {a} {j} from {c} called {n} bought {k} {t}.",
    "{n} is {a} {j} in {c}. On {d} {n} ordered {k} {t}.",
    "In {c}, {a} {j} named {n} found {k} {t} last {d}.",
    "Last {d} the {j} {n} sent {k} {t} to {c}.",
    "{k} {t} were sold on {d} by {n}, {a} {j} from {c}.",
)
UTTERANCES = {
    "request": ("Please bring me {a_t}.", "Could you pass the {t}, please?", "Can you help me with the {t}?", "Give me the {t}, please."),
    "question": ("Where is the {t}?", "Who took the {t}?", "When did you buy the {t}?", "Why is the {t} here?"),
    "statement": ("The {t} is in the {p}.", "I bought {a_t} on {d}.", "We saw {a_t} near the {p}.", "My {t} is at the {p}."),
    "thanks": ("Thank you for the {t}.", "Thanks a lot for the {t}.", "It was kind of you to send the {t}.", "Many thanks for the {t} from {d}."),
    "promise": ("I will bring the {t} on {d}.", "I promise to return the {t}.", "You will get the {t} on {d}.", "We will leave the {t} at the {p}."),
}
Report = dict[str, str]


def name(rng: Random) -> str:
    return rng.choice(names())[0]


def a(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"


def facts(rng: Random) -> Report:
    job = rng.choice(jobs())
    return {"n": name(rng), "j": job, "a": a(job).split()[0], "c": rng.choice(CITIES), "k": str(rng.randint(2, 40)),
            "t": rng.choice(things()).plural, "d": rng.choice(WEEK), "frame": str(rng.randrange(len(REPORTS)))}  # fmt: skip


def report(x: Report) -> str:
    return REPORTS[int(x["frame"])].format(**x)


def utterance(rng: Random) -> tuple[str, str, str]:
    kind = rng.choice(sorted(UTTERANCES))
    thing = rng.choice(things()).singular
    text = rng.choice(UTTERANCES[kind]).format(t=thing, a_t=a(thing), p=rng.choice(places()), d=rng.choice(WEEK))
    return kind, text, thing


def record(x: Report) -> str:
    return f"{x['n']} | {x['j']} | {x['c']}"


def belongings(rng: Random) -> list[tuple[str, str]]:
    people = rng.sample(names(), 3)
    return [(p[0], t.singular) for p, t in zip(people, rng.sample(things(), 3), strict=True)]


def possession(rng: Random) -> tuple[list[tuple[str, str]], int, int]:
    return belongings(rng), rng.randrange(3), rng.randrange(3)


def who_has(x: tuple[list[tuple[str, str]], int, int]) -> str:
    (n1, t1), (n2, t2), (n3, t3) = x[0]
    story = (f"{n1} has the {t1}, {n2} the {t2} and {n3} the {t3}.", f"The {t1} belongs to {n1}, the {t2} to {n2}, the {t3} to {n3}.",
             f"{n1} took the {t1}. {n2} took the {t2}. {n3} took the {t3}.", f"{n1} owns the {t1}; {n2} owns the {t2}; {n3} owns the {t3}.")[x[2]]  # fmt: skip
    return f"{story} {x[0][x[1]][1].capitalize()}?"


def gift(rng: Random) -> tuple[str, str, int, int, str, int]:
    giver, taker = rng.sample(names(), 2)
    start = rng.randint(5, 40)
    return giver[0], taker[0], start, rng.randint(1, start - 1), rng.choice(things()).plural, rng.randrange(4)


def gift_story(x: tuple[str, str, int, int, str, int]) -> str:
    giver, taker, start, given, thing, frame = x
    return (f"{giver} has {start} {thing} and gives {given} to {taker}.", f"{giver} had {start} {thing}. {taker} took {given} of them.",
            f"Of {start} {thing}, {giver} sold {given} to {taker}.", f"{giver} bought {start} {thing} and sent {given} to {taker}.")[frame]  # fmt: skip


def ages(rng: Random) -> tuple[str, str, str, str, int]:
    people = rng.sample(names(), 3)
    relation = rng.choice(("older", "taller", "faster", "younger"))
    return people[0][0], people[1][0], people[2][0], relation, rng.randrange(2)


def age_story(x: tuple[str, str, str, str, int]) -> str:
    one, two, three, relation, frame = x
    facts = (f"{one} is {relation} than {two}.", f"{two} is {relation} than {three}.")
    return " ".join(facts if frame else facts[::-1])


def quantity(rng: Random) -> Row:
    who, thing, count, bound = name(rng), rng.choice(things()).plural, rng.randint(2, 60), rng.randint(2, 60)
    frame = rng.randrange(4)
    first = (f"{who} bought {count} {thing}.", f"{who} sold {count} {thing}.", f"There are {count} {thing} at home.", f"{count} {thing} lie on the table.")[frame]
    more = rng.random() < 0.5
    claim = f"{'More' if more else 'Fewer'} than {bound} {thing}."
    holds = count > bound if more else count < bound
    return Row(f"{first} | {claim}", ("yes" if holds else "no",))


def moved(rng: Random) -> tuple[str, str, str, str, str, int]:
    one, two = rng.sample(names(), 2)
    first, second, third = rng.sample(places(), 3)
    return one[0], two[0], first, second, third, rng.randrange(4)


def move_story(x: tuple[str, str, str, str, str, int]) -> str:
    one, two, first, second, third, frame = x
    return (f"{one} went to the {first}. {two} went to the {second}. Then {one} went to the {third}.",
            f"{one} was in the {first} and {two} in the {second}. Later {one} moved to the {third}.",
            f"{two} is in the {second}. {one} left the {first} for the {third}.",
            f"After the {first}, {one} visited the {third}. {two} stayed in the {second}.")[frame]  # fmt: skip


def recipes() -> list[Recipe]:
    return [*_reports(), *_records(), *_dialogue(), *_reading()]


def maker(kind: str, inputs: str, material, show):  # type: ignore[no-untyped-def]
    def make(title: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False, metric: str = "exact-match", sub: str = kind) -> Recipe:  # type: ignore[no-untyped-def]
        category, measure = ("cls", "accuracy") if options else ("non-cls", metric)
        return Recipe(title, category, sub, measure, definitions, over(material, show, answer), inputs, SOURCE, options, novel=novel)

    return make


def _reports() -> list[Recipe]:
    make = maker("extraction", "report", facts, report)
    return [
        make("ext_name", ("Which person is it about?", "Write the name of the person.", "person"), lambda x: x["n"]),
        make("ext_city", ("Which city is named?", "Write the city.", "city"), lambda x: x["c"]),
        make("ext_job", ("What is the person's job?", "Write the profession.", "job"), lambda x: x["j"]),
        make("ext_number", ("Which number is named?", "How many things are there?", "number"), lambda x: x["k"]),
        make("ext_item", ("Which things are named?", "Write the kind of things, in the plural.", "things"), lambda x: x["t"]),
        make("ext_day", ("Which day of the week is it?", "Write the weekday.", "weekday"), lambda x: x["d"], novel=True),
        make("ext_record", ("Write name, job and city with bars between.", "Fill the record: name, job, city.", "record of the person"), lambda x: record(x)),
        make("ext_number_words", ("Write the number in words.", "How many? Answer in words.", "number, spelled out"), lambda x: in_words(int(x["k"])), novel=True),
        make("ext_count_item", ("Write the number and the things.", "How many of what?", "number and things"), lambda x: f"{x['k']} {x['t']}"),
        make("ext_weekend", ("Is the day a workday or on the weekend? Say workday or weekend.", "Kind of day: workday or weekend.", "day: workday or weekend"), lambda x: "weekend" if x["d"][0] == "S" else "workday", ("workday", "weekend")),
        make("ext_many", ("Are there more than twenty things? yes or no", "Over 20? Answer yes or no.", "over twenty: yes or no"), lambda x: "yes" if int(x["k"]) > 20 else "no", ("yes", "no")),
    ]  # fmt: skip


def _records() -> list[Recipe]:
    make = maker("data to text", "record", facts, record)
    return [
        make("d2t_person", ("Describe the person in a sentence: who works as what in which city.", "Say it as: somebody works as a … in …", "sentence about the person"), lambda x: f"{x['n']} works as {x['a']} {x['j']} in {x['c']}.", metric="rouge-L"),
        make("d2t_question", ("Ask whether the person works in the city.", "Make a question: does somebody work in …?", "question about the person"), lambda x: f"Does {x['n']} work in {x['c']}?", metric="rouge-L", novel=True),
        make("d2t_fields", ("Write the record with field names: name=, job=, city=.", "Name the fields of the record.", "record with field names"), lambda x: f"name={x['n']}; job={x['j']}; city={x['c']}"),
    ]  # fmt: skip


def _dialogue() -> list[Recipe]:
    make = maker("dialogue", "utterance", utterance, lambda x: x[1])
    return [
        make("top_speech_act", ("Which is it: request, question, statement, thanks or promise?", "Name the speech act: request, question, statement, thanks, promise.", "speech act"), lambda x: x[0], tuple(sorted(UTTERANCES))),
        make("dia_slot", ("Which thing is spoken of?", "Write the thing, without an article.", "thing of the utterance"), lambda x: x[2]),
        make("dia_wants_answer", ("Does the speaker want something from you (request or question)? yes or no", "Must you react? Answer yes or no.", "reaction wanted: yes or no"), lambda x: "yes" if x[0] in ("request", "question") else "no", ("yes", "no")),
        make("dia_thing_plural", ("Write the thing in the plural.", "What would several of the things be called?", "plural of the thing"), lambda x: next(t.plurals for t in things() if t.singular == x[2]), novel=True),
        make("dia_reply", ("Reply: Here is the thing, for a request; otherwise say I see.", "Answer a request with Here is the …, anything else with I see.", "reply"), lambda x: f"Here is the {x[2]}." if x[0] == "request" else "I see.", metric="rouge-L"),
    ]  # fmt: skip


def _reading() -> list[Recipe]:
    has = maker("possession", "possession story", possession, who_has)
    given = maker("story arithmetic", "gift story", gift, gift_story)
    order = maker("ordering", "comparison story", ages, age_story)
    place = maker("location", "movement story", moved, move_story)
    return [
        has("rc_who_has", ("Who has the thing that is asked for?", "Answer the question with a name.", "owner"), lambda x: x[0][x[1]][0]),
        has("rc_first_owner", ("Who is named first in the story?", "Write the first person.", "first person"), lambda x: x[0][0][0]),
        has("rc_last_thing", ("Which thing is named last before the question?", "Write the third thing.", "third thing"), lambda x: x[0][2][1], novel=True),
        given("ari_left", ("How many are left in the end?", "Subtract what was given away.", "rest"), lambda x: str(x[2] - x[3])),
        given("ari_given", ("How many were given away?", "Write the smaller number of the story.", "given away"), lambda x: str(x[3])),
        given("rc_giver", ("Who had the things at first?", "Write the first owner.", "giver"), lambda x: x[0]),
        given("rc_receiver", ("Who has some of them in the end, without having had them before?", "Write the one who received.", "receiver"), lambda x: x[1], novel=True),
        order("rc_most", ("Who has the most of it: is the oldest, tallest or so?", "Write the name at the top of the order.", "top of the order"), lambda x: x[0]),
        order("rc_least", ("Who has the least of it?", "Write the name at the bottom of the order.", "bottom of the order"), lambda x: x[2]),
        order("rc_middle", ("Who is in the middle?", "Write the name between the two others.", "middle of the order"), lambda x: x[1], novel=True),
        order("rc_property", ("What is compared: age, height or speed?", "Name the property: age, height, speed.", "property"), lambda x: {"older": "age", "younger": "age", "taller": "height", "faster": "speed"}[x[3]], ("age", "height", "speed")),
        place("rc_location_tracking", ("Where is the person who moved now?", "Write the place where the mover ends.", "last place of the mover"), lambda x: x[4]),
        place("rc_stayed", ("Who did not move on?", "Write the person with only one place.", "who stayed"), lambda x: x[1]),
        place("rc_start", ("Where was the mover at first?", "Write the first place of the person who moved.", "first place of the mover"), lambda x: x[2], novel=True),
        Recipe("nli_quantity", "cls", "inference", "accuracy", ("Does the second statement follow from the first? yes or no", "Is the claim true? Answer yes or no.", "claim follows: yes or no"), quantity, "quantity claim", SOURCE, ("yes", "no")),
    ]  # fmt: skip
