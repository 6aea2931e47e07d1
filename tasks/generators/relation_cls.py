"""Classification of sentences (relation, topic, formality, kind of message, order of cause and effect) and comparisons.

Source: own frames and vocabularies, filled with the lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`.
"""

from dataclasses import dataclass
from functools import cache, partial
from random import Random

from ipt.tasks.generators.extraction import NUMBERS, SOURCE, bag
from ipt.tasks.generators.nli import plural
from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.scenes import CITIES, jobs, things
from ipt.tasks.generators.words import with_article, first_names, surnames

RELATIONS = {
    "works_as": ("{n} works as {j}.", "{n} earns money as {j}.", "The name of the {J} is {n}.",
                 "{n} has been {j} for years.", "{n} found a job as {j}."),
    "lives_in": ("{n} lives in {c}.", "The home of {n} is in {c}.", "{n} has a flat in {c}.",
                 "{n} rents a room in {c}.", "The house of {n} stands in {c}."),
    "born_in": ("{n} was born in {c}.", "{c} is the birthplace of {n}.", "{n} came into the world in {c}.",
                "{n} first saw the light in {c}."),
    "travelled_to": ("{n} took a train to {c}.", "{n} spent a holiday in {c}.", "The plane brought {n} to {c}.",
                     "{n} flew to {c} last week.", "{n} went on a trip to {c}."),
    "owns": ("The {T} belongs to {n}.", "{n} has {t}.", "This is the {T} of {n}.", "{n} owns {t}.",
             "The owner of the {T} is {n}."),
    "sibling_of": ("{n} is the {s} of {m}.", "{n} and {m} have the same parents.", "{m} has a {s} called {n}.",
                   "{n} grew up with {m}, the other child of the family.", "{n} is one of the siblings of {m}."),
}  # fmt: skip
TOPICS = {
    "food": (
        "cooked a soup; baked some bread; ate a salad; ordered a pizza; tasted the cheese; fried the eggs; "
        "had a big lunch; shared a cake; boiled the potatoes; made a sandwich; sliced the onions; "
        "drank the orange juice; peeled the carrots"
    ),
    "sport": (
        "won the match; kicked the ball; scored two goals; ran a marathon; trained in the gym; lost the final; "
        "played tennis; swam ten laps; joined the team; jumped over the bar; threw the javelin; watched the football; "
        "rode in the race"
    ),
    "travel": (
        "booked a flight; missed the train; packed the suitcases; stayed at a hotel; crossed the border; "
        "landed at the airport; showed the passports; took a taxi; visited the island; sailed to the coast; "
        "looked at the map; went on a cruise; rented a car"
    ),
    "music": (
        "played the violin; sang a song; joined the choir; practised the piano; tuned the guitar; danced to the band; "
        "wrote a melody; went to the concert; beat the drum; listened to the opera; learned the chords; "
        "blew the trumpet; heard the orchestra"
    ),
    "school": (
        "passed the exam; did the homework; studied maths; read the textbook; asked the teacher; learned the alphabet; "
        "failed the test; sat in the classroom; took a spelling quiz; wrote an essay; got good grades; "
        "listened to the lecture"
    ),
    "money": (
        "paid the bill; opened a bank account; saved fifty dollars; lost the coins; got a loan; counted the cash; "
        "spent the savings; earned a salary; paid taxes; changed some euros; asked for a discount; "
        "owed a hundred dollars; signed the cheque"
    ),
    "garden": (
        "watered the roses; planted a tree; mowed the lawn; cut the hedge; pulled up the weeds; sowed the seeds; "
        "dug the soil; picked the tulips; raked the leaves; trimmed the bushes; grew some lilies; built a greenhouse; "
        "fed the worms"
    ),
    "health": (
        "saw a doctor; took a pill; caught a cold; had a fever; went to hospital; broke a leg; hurt a finger; "
        "bought cough syrup; felt a headache; visited the dentist; got a vaccine; wore a bandage; "
        "measured the blood pressure"
    ),
}
WHEN = ("yesterday", "last week", "on Monday", "in the morning", "this year", "after that", "on Sunday", "last month")
PLURALS = ("the children", "two friends", "my brothers", "our neighbors", "her sisters", "the twins", "both boys")
SINGULARS = ("the child", "a friend", "my brother", "our neighbor", "her sister", "the boy", "a girl", "his cousin")
MESSAGES = {
    ("formal", "statement"): ("Dear {f}, your {t} has arrived.", "I am writing to inform you that the {t} is ready.",
                              "Dear {f}, the {t} was received.", "We regret that the {t} is no longer available."),
    ("formal", "question"): ("Dear {f}, when will the {t} arrive?", "May I ask whether the {t} is still available?",
                             "Dear {f}, is the {t} included?", "Would you know who received the {t}?"),
    ("formal", "request"): ("Dear {f}, kindly return the {t}.", "We would be grateful if you sent us the {t}.",
                            "I respectfully ask you to replace the {t}.", "Dear {f}, please forward the {t}."),
    ("informal", "statement"): ("Hey {n}, got your {t}!", "Wow, that {t} is so cool!", "Hi {n}, the {t} is here, yay!",
                                "Oops, I kinda broke the {t}."),
    ("informal", "question"): ("Hey {n}, where's the {t}?", "Wanna see my {t}?", "Hi {n}, got a {t}?",
                               "So, what's up with the {t}?"),
    ("informal", "request"): ("Hey {n}, gimme the {t}!", "Grab the {t} for me, mate!", "Hi {n}, bring the {t}, ok!",
                              "C'mon, lend me your {t}!"),
}  # fmt: skip
CAUSES = """\
missed the bus>came late; lost the key>could not get in; forgot the umbrella>got wet; slept badly>was tired all day
ate too much>felt ill; studied hard>passed the exam; broke a leg>stayed at home; won the prize>gave a party
ran too fast>fell down; saved some money>bought a bike; had a cold>did not go swimming
left the window open>was cold at night; skipped breakfast>was hungry at ten; worked all night>fell asleep at noon
had no map>took the wrong road; heard a joke>laughed; spilled the coffee>washed the shirt; saw a spider>screamed
trained every day>won the race; got good news>smiled; lost the wallet>went to the police
burned the soup>ordered a pizza; broke the cup>said sorry; had a toothache>went to the dentist
forgot the birthday>sent flowers; had a day off>slept until noon; got a raise>bought a new car; lost the game>was sad
found a puppy>called the vet; moved to the city>sold the farm; was thirsty>drank some water
sat in the sun>got a red nose"""
CAUSE_FIRST = ("{c}, so {e}", "because {c}, {e}", "{c}. That is why {e}", "since {c}, {e}", "{c} and therefore {e}")
EFFECT_FIRST = (
    "{e} because {c}",
    "{e}. The reason is that {c}",
    "{e}, as {c}",
    "{e}. This was because {c}",
    "{e} since {c}",
)
UNITS = (("millimetres", 1), ("centimetres", 10), ("inches", 25.4), ("feet", 304.8), ("yards", 914.4), ("metres", 1000),
         ("kilometres", 10**6), ("miles", 1609344))  # fmt: skip
TENS = bag("- - twenty thirty forty fifty sixty seventy eighty ninety")
ORDER = ("first", "second")


@dataclass(frozen=True)
class Said:
    """A sentence and the label of what was drawn for it."""

    text: str
    label: str
    second: str = ""


def relation(rng: Random) -> Said:
    kind = rng.choice(tuple(RELATIONS))
    (one, gender), (two, _) = rng.sample(first_names(), 2)
    job, thing = rng.choice(jobs()), rng.choice(things()).singular
    place, sibling = rng.choice(CITIES), "sister" if gender == "f" else "brother"
    text = rng.choice(RELATIONS[kind]).format(n=one, m=two, j=with_article(job), J=job, t=with_article(thing), T=thing, c=place, s=sibling)
    other = {"works_as": job, "owns": thing, "sibling_of": two}.get(kind, place)
    return Said(text, kind, f"{kind}({one}, {other})")


@cache
def doings(topic: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in TOPICS[topic].split(";"))


def doer(rng: Random) -> tuple[str, str]:
    """Draw who does it, worded for the middle of a sentence, and the number."""
    one, two = (name for name, _ in rng.sample(first_names(), 2))
    kind, job = rng.randrange(3), rng.choice(jobs())
    if rng.random() < 0.5:
        return (one, f"the {job}", rng.choice(SINGULARS))[kind], "singular"
    return (f"{one} and {two}", f"the {plural(job)}", rng.choice(PLURALS))[kind], "plural"


def topical(rng: Random) -> Said:
    topic = rng.choice(tuple(TOPICS))
    done, when = rng.choice(doings(topic)), rng.choice(WHEN)
    who, number = doer(rng)
    frame = rng.choice(("{s} {v}.", "{t}, {s} {v}.", "{s} {v} {t}.", "{s} also {v}.", "{t} it was {s} who {v}."))
    text = frame.format(s=who, v=done, t=when)
    return Said(text[0].upper() + text[1:], topic, number)


def message(rng: Random) -> Said:
    (name, gender), family = rng.choice(first_names()), rng.choice(surnames())
    manner, kind = rng.choice(tuple(MESSAGES))
    title = "Ms" if gender == "f" else "Mr"
    frame = rng.choice(MESSAGES[manner, kind])
    thing = rng.choice([t.singular for t in things() if t.singular[0] not in "aeiou"])
    return Said(frame.format(f=f"{title} {family}", n=name, t=thing), manner, kind)


@cache
def causes() -> tuple[tuple[str, str], ...]:
    pairs = [pair.split(">") for pair in CAUSES.replace("\n", ";").split(";")]
    return tuple((cause.strip(), effect.strip()) for cause, effect in pairs)


def cause_and_effect(rng: Random) -> Said:
    cause, effect = rng.choice(causes())
    name, gender = rng.choice(first_names())
    pronoun = "she" if gender == "f" else "he"
    ahead = rng.random() < 0.5
    spoken = (name, pronoun) if ahead else (pronoun, name)
    frame = rng.choice(CAUSE_FIRST if ahead else EFFECT_FIRST)
    text = frame.format(c=f"{spoken[0]} {cause}", e=f"{spoken[1]} {effect}")
    return Said(f"{text[0].upper()}{text[1:]}.", ORDER[not ahead], cause)


def lengths(rng: Random) -> Row | None:
    """Draw two lengths in units of similar size, never about equal."""
    place = rng.randrange(len(UNITS))
    (unit, size), (other, scale) = UNITS[place], rng.choice(UNITS[max(0, place - 2) : place + 3])
    one, two = rng.randint(2, 99), rng.randint(2, 99)
    ratio = one * size / (two * scale)
    if 0.9 < ratio < 1.1:
        return None
    return Row(f"{one} {unit} | {two} {other}", (ORDER[ratio < 1],))


def in_words(number: int) -> str:
    """Spell a number from 1 to 999."""
    hundreds, rest = divmod(number, 100)
    ten, one = divmod(rest, 10)
    low = NUMBERS[rest] if rest <= 20 else TENS[ten] + (f"-{NUMBERS[one]}" if one else "")
    if not hundreds:
        return low
    return f"{NUMBERS[hundreds]} hundred" + (f" and {low}" if rest else "")


def spelled(rng: Random) -> Row:
    """Draw two different numbers, half of them below 100, in words."""
    one, two = rng.sample(range(1, 1000 if rng.random() < 0.5 else 100), 2)
    return Row(f"{in_words(one)} | {in_words(two)}", (ORDER[one < two],))


def recipes() -> list[Recipe]:
    task = partial(Recipe, category="cls", metric="accuracy", source=SOURCE)
    topics, messages = partial(over, topical, lambda x: x.text), partial(over, message, lambda x: x.text)
    return [
        task(
            "rex_relation",
            subcategory="relation-cls",
            definitions=(
                "Which relation is told: works_as, lives_in, born_in, travelled_to, owns or sibling_of?",
                "Choose works_as, lives_in, born_in, travelled_to, owns or sibling_of for the sentence.",
                "Name the relation between the two things that the sentence connects.",
                "Label the fact with one of works_as, lives_in, born_in, travelled_to, owns, sibling_of.",
                "Is this about a job, a home, a birth, a journey, a possession or brothers and sisters?",
            ),
            draw=over(relation, lambda x: x.text, lambda x: x.label),
            inputs="relation sentence",
            options=tuple(RELATIONS),
        ),
        task(
            "rex_triple",
            category="non-cls",
            subcategory="relation-cls",
            metric="exact-match",
            definitions=(
                "Write the fact as relation(person, other), as in owns(Anna, lamp).",
                "Turn the sentence into a formula: relation name, then both things in brackets.",
                "Note the relation such as born_in or works_as with its two sides in brackets.",
                "Extract a triple in the notation lives_in(Tom, Oslo).",
                "Give the statement in the style of a database of facts, relation first.",
            ),
            draw=over(relation, lambda x: x.text, lambda x: x.second),
            inputs="relation sentence",
        ),
        task(
            "top_everyday",
            subcategory="topic",
            definitions=(
                "What is the sentence about: food, sport, travel, music, school, money, garden or health?",
                "Choose the topic: food, sport, travel, music, school, money, garden, health.",
                "Sort the sentence under food, sport, travel, music, school, money, garden or health.",
                "Name the everyday topic that the sentence belongs to.",
                "Under which heading of a magazine would this sentence stand?",
            ),
            draw=topics(lambda x: x.label),
            inputs="topical sentence",
            options=tuple(TOPICS),
        ),
        task(
            "gra_subject_count",
            subcategory="grammar",
            definitions=(
                "Is the one who acts singular or plural?",
                "Did one person do it or several? Answer singular or plural.",
                "Give the grammatical number of the subject: singular or plural.",
                "Label the subject of the sentence as singular or plural.",
                "Look at who did it and name the number.",
            ),
            draw=topics(lambda x: x.second),
            inputs="topical sentence",
            options=("singular", "plural"),
        ),
        task(
            "sty_formality",
            subcategory="style",
            definitions=(
                "Is the message formal or informal?",
                "Judge the style of the message: formal or informal.",
                "Would you write this to an office or a friend? Answer formal or informal.",
                "Label the tone of these words as formal or informal.",
                "Decide how close the writer is to the reader by the style.",
            ),
            draw=messages(lambda x: x.label),
            inputs="short message",
            source=f"{SOURCE}, mimesis",
            options=("formal", "informal"),
        ),
        task(
            "sty_kind",
            subcategory="style",
            definitions=(
                "Is the message a statement, a question or a request?",
                "Does the writer tell, ask or want something: statement, question or request?",
                "Label the message as statement, question or request.",
                "Choose between statement, question and request, whatever the tone.",
                "Decide what the writer expects: nothing, an answer or an action.",
            ),
            draw=messages(lambda x: x.second),
            inputs="short message",
            source=f"{SOURCE}, mimesis",
            options=("statement", "question", "request"),
        ),
        task(
            "cau_order",
            subcategory="causality",
            definitions=(
                "Where does the cause stand, first or second?",
                "Is the reason told in the first or the second part?",
                "Answer first if the cause comes before the effect in the text, otherwise second.",
                "Find the part that explains the other and say first or second.",
                "Which of the two parts made the other one happen?",
            ),
            draw=over(cause_and_effect, lambda x: x.text, lambda x: x.label),
            inputs="cause and effect",
            options=ORDER,
        ),
        task(
            "cmp_lengths",
            subcategory="comparison",
            definitions=(
                "Which length is greater, the first or the second?",
                "Compare the two lengths and answer first or second for the longer one.",
                "Say first or second: which distance is longer?",
                "Mind the units and pick the longer of the two.",
                "Is the first or the second of these measures the bigger one?",
            ),
            draw=lengths,
            inputs="two lengths",
            options=ORDER,
        ),
        task(
            "cmp_number_words",
            subcategory="comparison",
            definitions=(
                "Which number is greater, the first or the second?",
                "Compare the two numbers and answer first or second for the larger one.",
                "Say first or second: which of the numbers is bigger?",
                "Pick the higher of the two numbers that are written out in words.",
                "Does the first or the second number stand for more?",
            ),
            draw=spelled,
            inputs="two numbers in words",
            options=ORDER,
        ),
    ]
