"""Reading: tiny stories, sometimes with a cue after a bar, and what follows from them.

Source: own frames, filled with the lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random

from ipt.tasks.generators.extraction import SOURCE, bag
from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.scenes import Subject, actions, person, things
from ipt.tasks.generators.words import first_names

ROOMS = bag(
    """library kitchen garden museum school park office castle forest hospital hotel bakery bank barn cafe cellar cinema
    garage gym hall attic shop theater tent chapel classroom courtyard factory yard zoo restaurant village"""
)
HAVING = (
    "{0} has the {3}, {1} has the {4} and {2} has the {5}.", "{0} took the {3}, {1} the {4} and {2} the {5}.",
    "The {3} belongs to {0}, the {4} to {1} and the {5} to {2}.",
    "{0} owns the {3}. {1} owns the {4}. {2} owns the {5}.",
    "The {3} is for {0}, the {4} for {1}, the {5} for {2}.", "{0} got the {3}, while {1} got the {4} and {2} the {5}.",
)  # fmt: skip
MOVES = (
    ("{0} is in the {1}. ", "{0} goes to the {1}. "), ("{0} sits in the {1}. ", "{0} leaves for the {1}. "),
    ("{0} was in the {1}. ", "{0} walked to the {1}. "), ("{0} came from the {1}. ", "{0} left for the {1}. "),
    ("{0} started in the {1}. ", "Then {0} went to the {1}. "), ("{0} waited in the {1}. ", "{0} ran to the {1}. "),
)  # fmt: skip
PAIRS = (("taller", "shorter"), ("older", "younger"), ("faster", "slower"), ("stronger", "weaker"))
MEETINGS = bag(
    """called helped thanked visited met invited phoned greeted followed missed needed joined surprised noticed
    saw remembered asked"""
)
STATES = (
    "was lost", "was late", "was ill", "had no money", "needed a rest", "had good news", "had lost the key",
    "had a birthday", "was in a hurry", "felt lonely", "was new in town", "had a cold", "had won a prize",
    "had a new car", "could not sleep", "wanted to talk", "was at home", "had a free day", "was carrying a heavy bag",
)  # fmt: skip
POINTING = (
    "{a} {v} {b} because {p} {s}.", "{a} {v} {b} when {p} {s}.", "When {a} {v} {b}, {p} {s}.", "{a} {v} {b}. {P} {s}.",
    "As {p} {s}, {a} {v} {b}.", "{a} {v} {b} while {p} {s}.",
)  # fmt: skip
GIVING = (
    "{a} had {m} {t} and gave {k} to {b}.", "{a} had {m} {t}. {b} took {k} of them.",
    "Of {m} {t}, {a} sold {k} to {b}.", "{a} bought {m} {t} and sent {k} to {b}.",
    "{a} picked up {m} {t} but dropped {k}.", "There were {m} {t}, and {a} took {k}.",
)  # fmt: skip
ORDERING = (
    "{n} {e} before {p} {f}.", "{n} {f} after {p} {e}.", "Before {p} {f}, {n} {e}.", "After {p} {e}, {n} {f}.",
    "{n} {e} and then {f}.", "First {n} {e}, later {p} {f}.", "{n} {f}. Before that, {p} {e}.",
)  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A story and the parts of it that can be asked for."""

    text: str
    parts: tuple[str, ...]


Material = Callable[[Random], Told | None]


def draw_names(rng: Random, count: int) -> list[str]:
    return [name for name, _ in rng.sample(first_names(), count)]


def possession(rng: Random) -> Told:
    people, owned = draw_names(rng, 3), [t.singular for t in rng.sample(things(), 3)]
    which = rng.randrange(3)
    return Told(f"{rng.choice(HAVING).format(*people, *owned)} | {owned[which]}", (people[which],))


def movement(rng: Random) -> Told:
    """Two people, each first in one place and then in another; the one asked for is the cue."""
    people, places = draw_names(rng, 2), rng.sample(ROOMS, 4)
    stay, move = rng.choice(MOVES)
    events = [stay.format(people[i], places[i]) for i in (0, 1)]
    events += [move.format(people[i], places[i + 2]) for i in rng.sample((0, 1), 2)]
    if rng.random() < 0.4:  # one after the other instead of interleaved
        events.sort(key=lambda event: people[1] in event)
    who = rng.randrange(2)
    return Told(f"{''.join(events)}| {people[who]}", (places[who], places[who + 2]))


def comparison(rng: Random) -> Told:
    """Three people in a chain of two comparisons, each worded upwards or downwards; parts run from most to least."""
    chain = draw_names(rng, 3)
    more, less = rng.choice(PAIRS)

    def say(high: str, low: str) -> str:
        return rng.choice((f"{high} is {more} than {low}", f"{low} is {less} than {high}"))

    facts = [say(chain[0], chain[1]), say(chain[1], chain[2])]
    rng.shuffle(facts)
    whole = f"{chain[1]} is {less} than {chain[0]} but {more} than {chain[2]}"
    text = rng.choice((". ".join(facts), ", and ".join(facts), "; ".join(facts), whole))
    return Told(f"{text}.", tuple(chain))


def pointing(rng: Random) -> Told:
    one, two = rng.sample(first_names(), 2)
    while one[1] == two[1]:
        one, two = rng.sample(first_names(), 2)
    meant = rng.choice((one, two))
    pronoun = "she" if meant[1] == "f" else "he"
    fillers = {"a": one[0], "b": two[0], "p": pronoun, "P": pronoun.capitalize()}
    return Told(rng.choice(POINTING).format(v=rng.choice(MEETINGS), s=rng.choice(STATES), **fillers), (meant[0],))


def gift(rng: Random) -> Told:
    giver, taker = draw_names(rng, 2)
    had = rng.randint(4, 30)
    given = rng.randint(2, had - 2)
    text = rng.choice(GIVING).format(a=giver, b=taker, m=had, k=given, t=rng.choice(things()).plural)
    return Told(text, (str(had - given),))


def deed(rng: Random) -> str:
    action = rng.choice(actions())
    return f"{action.verb.past} the {rng.choice(action.objects)}"


def two_events(rng: Random) -> Told | None:
    """Draw what somebody did first and second."""
    who: Subject = person(rng)
    first, second = deed(rng), deed(rng)
    if first.split()[0] == second.split()[0] or first.split()[-1] == second.split()[-1]:
        return None
    text = rng.choice(ORDERING).format(n=who.text, p=who.pronoun, e=first, f=second)
    return Told(text[0].upper() + text[1:], (first, second))


def recipes() -> list[Recipe]:
    task = partial(Recipe, category="non-cls", subcategory="reading", metric="exact-match", source=SOURCE)

    def story(material: Material) -> Callable[[int], Callable[[Random], Row | None]]:
        return lambda part: over(material, lambda x: x.text, lambda x: x.parts[part])

    has, moved, chain, events = story(possession), story(movement), story(comparison), story(two_events)
    return [
        task(
            "rc_who_has",
            definitions=(
                "Who has the thing that is named after the bar?",
                "Write the name of the owner of the last word's object.",
                "Read who owns what and answer whose the final item is.",
                "Find the person to whom the item after the bar belongs.",
                "Give the name of the one who holds the thing at the end.",
            ),
            draw=has(0),
            inputs="possession with cue",
        ),
        task(
            "rc_location_tracking",
            definitions=(
                "Where is the person after the bar in the end?",
                "Track the moves and write the place where the named person is now.",
                "Write the last place of the person whose name comes at the end.",
                "Follow the person after the bar and give the final place, without an article.",
                "In which place did the named person end up?",
            ),
            draw=moved(1),
            inputs="two movers",
        ),
        task(
            "rc_first_place",
            definitions=(
                "Where was the person after the bar at first?",
                "Write the place in which the named person started.",
                "Give the first place of the person whose name comes at the end.",
                "Where had the named person been before moving?",
                "Find the starting place, without an article, of the person after the bar.",
            ),
            draw=moved(0),
            inputs="two movers",
            novel=True,
        ),
        task(
            "rc_tallest",
            definitions=(
                "Who is the tallest, oldest, fastest or strongest of the three?",
                "Order the three people and write the one at the top.",
                "Name the person who has the most height, age, speed or strength.",
                "Who stands above the two others in the comparison?",
                "Find the person that nobody beats in age, height, speed or strength.",
            ),
            draw=chain(0),
            inputs="three compared",
        ),
        task(
            "rc_shortest",
            definitions=(
                "Who is the shortest, youngest, slowest or weakest of the three?",
                "Order the three people and write the one at the bottom.",
                "Name the person who has the least height, age, speed or strength.",
                "Who stands below the two others in the comparison?",
                "Find the person whom both others beat in age, height, speed or strength.",
            ),
            draw=chain(2),
            inputs="three compared",
        ),
        task(
            "rc_between",
            definitions=(
                "Who comes between the two others?",
                "Order the three people and write the one in the middle.",
                "Name the person who is neither first nor last in the comparison.",
                "Who beats one of the others and is beaten by one?",
                "Find the person with the middle height, age, speed or strength.",
            ),
            draw=chain(1),
            inputs="three compared",
            novel=True,
        ),
        task(
            "rc_coref",
            definitions=(
                "Which person is meant by he or she? Write the name.",
                "Find the name that the pronoun stands for.",
                "Resolve the pronoun: answer with one of the two names.",
                "Write whom the word he or she refers to.",
                "One of the two is spoken of again with a pronoun. Who?",
            ),
            draw=story(pointing)(0),
            inputs="pronoun sentence",
        ),
        task(
            "rc_how_many_left",
            definitions=(
                "How many are left in the end? Write the number.",
                "Subtract what went away from what was there at first.",
                "Compute the number of things that remain.",
                "Take the second number from the first one.",
                "Give the rest after the loss, in digits.",
            ),
            draw=story(gift)(0),
            inputs="giving away",
        ),
        task(
            "rc_first_event",
            definitions=(
                "What did the person do first? Write verb and object.",
                "Find the earlier of the two actions and copy it without the person.",
                "Which action happened before the other?",
                "Write the deed that comes first in time, even where it is told last.",
                "Give the action that was over when the other one began.",
            ),
            draw=events(0),
            inputs="two events",
        ),
        task(
            "rc_second_event",
            definitions=(
                "What did the person do last? Write verb and object.",
                "Find the later of the two actions and copy it without the person.",
                "Which action happened when the other one was already done?",
                "Write the deed that comes second in time, even where it is told first.",
                "Give the action with which it all ended.",
            ),
            draw=events(1),
            inputs="two events",
        ),
    ]
