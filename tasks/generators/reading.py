"""Reading: tiny stories, sometimes with a cue after a bar, and what follows from them.

Source: own frames, filled with the lists of `ipt.tasks.generators.words` and
`ipt.tasks.generators.scenes`.
"""

from random import Random
from typing import NamedTuple

from ipt.tasks.generators.extraction import SOURCE
from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.scenes import actions, capitalize, draw_person, things
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import first_names

VOCABULARY = read_vocabulary("reading")
ROOMS: tuple[str, ...] = tuple(VOCABULARY["rooms"])


class Possession(NamedTuple):
    """Who of three has what; the thing after the bar is asked for."""

    text: str
    owner: str


class Movement(NamedTuple):
    """Two people who move; the one after the bar is asked for."""

    text: str
    first_place: str
    last_place: str


class Ranking(NamedTuple):
    """Three people in a chain of two comparisons."""

    text: str
    most: str
    middle: str
    least: str


class Coreference(NamedTuple):
    """A sentence with two people and a pronoun, and whom it stands for."""

    text: str
    referent: str


class Gift(NamedTuple):
    """What somebody had and gave away, and how much is left."""

    text: str
    rest: int


class TwoEvents(NamedTuple):
    """What somebody did, told in this order or the other way round."""

    text: str
    first: str
    second: str


def draw_names(rng: Random, count: int) -> list[str]:
    """Draw different first names."""
    return [drawn.name for drawn in rng.sample(first_names(), count)]


def draw_possession(rng: Random) -> Possession:
    """Draw three owners and their things, and one of the things as the cue."""
    people = draw_names(rng, 3)
    owned = [thing.singular for thing in rng.sample(things(), 3)]
    # The cue is a thing, the answer its owner.
    asked = rng.randrange(3)
    story = rng.choice(VOCABULARY["having"]).format(*people, *owned)
    return Possession(f"{story} | {owned[asked]}", people[asked])


def draw_movement(rng: Random) -> Movement:
    """Draw two people, each first in one place and then in another, and one of them as the cue."""
    people = draw_names(rng, 2)
    # Four different places: nobody meets, and no place answers for both people.
    places = rng.sample(ROOMS, 4)
    first_places, last_places = places[:2], places[2:]
    stay, move = rng.choice(VOCABULARY["moves"])

    events = []
    for person, place in zip(people, first_places, strict=True):
        events.append(stay.format(person=person, place=place))
    for mover in rng.sample((0, 1), 2):
        events.append(move.format(person=people[mover], place=last_places[mover]))
    # One person after the other instead of both interleaved.
    if rng.random() < 0.4:
        events.sort(key=lambda event: people[1] in event)

    asked = rng.randrange(2)
    text = f"{''.join(events)}| {people[asked]}"
    return Movement(text, first_places[asked], last_places[asked])


def draw_ranking(rng: Random) -> Ranking:
    """Draw three people and two comparisons, each worded upwards or downwards."""
    most, middle, least = draw_names(rng, 3)
    more, less = rng.choice(VOCABULARY["comparatives"])
    facts = []
    # The middle one is in both comparisons: no fact alone gives the answer.
    for higher, lower in ((most, middle), (middle, least)):
        upwards = f"{higher} is {more} than {lower}"
        downwards = f"{lower} is {less} than {higher}"
        facts.append(rng.choice((upwards, downwards)))

    rng.shuffle(facts)
    # Both comparisons in one sentence, or each in its own.
    in_one = f"{middle} is {less} than {most} but {more} than {least}"
    text = rng.choice((". ".join(facts), ", and ".join(facts), "; ".join(facts), in_one))
    return Ranking(f"{text}.", most, middle, least)


def draw_coreference(rng: Random) -> Coreference:
    """Draw two people of different gender, and a pronoun for one of them."""
    first, second = rng.sample(first_names(), 2)
    # Only the gender can tell whom the pronoun stands for.
    while first.gender == second.gender:
        first, second = rng.sample(first_names(), 2)

    referent = rng.choice((first, second))
    pronoun = "she" if referent.gender == "f" else "he"
    frame = rng.choice(VOCABULARY["pronoun_frames"])
    text = frame.format(
        first=first.name,
        second=second.name,
        verb=rng.choice(VOCABULARY["meetings"]),
        state=rng.choice(VOCABULARY["states"]),
        pronoun=pronoun,
        Pronoun=pronoun.capitalize(),
    )
    return Coreference(text, referent.name)


def draw_gift(rng: Random) -> Gift:
    """Draw how many things somebody had and gave away; at least two are left."""
    giver, taker = draw_names(rng, 2)
    owned = rng.randint(4, 30)
    # At least two are given and two are left, since the frames have the plural.
    given = rng.randint(2, owned - 2)
    frame = rng.choice(VOCABULARY["giving"])
    text = frame.format(
        giver=giver,
        taker=taker,
        owned=owned,
        given=given,
        things=rng.choice(things()).plural,
    )
    return Gift(text, owned - given)


def draw_event(rng: Random) -> str:
    """Draw what was done to a thing: "opened the door"."""
    action = rng.choice(actions())
    return f"{action.verb.past} the {rng.choice(action.objects)}"


def draw_two_events(rng: Random) -> TwoEvents | None:
    """Draw what somebody did first and second; None where both have the verb or the thing."""
    person = draw_person(rng)
    first, second = draw_event(rng), draw_event(rng)
    first_words, second_words = first.split(), second.split()
    # The same verb or thing twice would leave open which event is meant.
    if first_words[0] == second_words[0] or first_words[-1] == second_words[-1]:
        return None

    frame = rng.choice(VOCABULARY["ordering"])
    text = frame.format(name=person.text, pronoun=person.pronoun, earlier=first, later=second)
    return TwoEvents(capitalize(text), first, second)


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        _possession_recipe(),
        *_movement_recipes(),
        *_ranking_recipes(),
        _coreference_recipe(),
        _gift_recipe(),
        *_event_recipes(),
    ]


def _possession_recipe() -> Recipe:
    stories = Group(
        inputs="possession with cue",
        subcategory="reading",
        source=SOURCE,
        material=draw_possession,
        show=lambda story: story.text,
    )
    # "Lena took the wallet, Jacob the shoe and Ralph the belt. | belt" -> "Ralph"
    return stories.free(
        "rc_who_has",
        lambda story: story.owner,
        "Who has the thing that is named after the bar?",
        "Write the name of the owner of the last word's object.",
        "Read who owns what and answer whose the final item is.",
        "Find the person to whom the item after the bar belongs.",
        "Give the name of the one who holds the thing at the end.",
    )


def _movement_recipes() -> list[Recipe]:
    stories = Group(
        inputs="two movers",
        subcategory="reading",
        source=SOURCE,
        material=draw_movement,
        show=lambda story: story.text,
    )
    return [
        # "Jeff is in the museum. Lisa is in the shop. Jeff goes to the factory. Lisa goes to
        # the zoo. | Lisa"
        #     -> "zoo"
        stories.free(
            "rc_location_tracking",
            lambda story: story.last_place,
            "Where is the person after the bar in the end?",
            "Track the moves and write the place where the named person is now.",
            "Write the last place of the person whose name comes at the end.",
            "Follow the person after the bar and give the final place, without an article.",
            "In which place did the named person end up?",
        ),
        # Novel: in pre-training the same stories ask for the last place only.
        # "Jeff is in the museum. Lisa is in the shop. Jeff goes to the factory. Lisa goes to
        # the zoo. | Lisa"
        #     -> "shop"
        stories.free(
            "rc_first_place",
            lambda story: story.first_place,
            "Where was the person after the bar at first?",
            "Write the place in which the named person started.",
            "Give the first place of the person whose name comes at the end.",
            "Where had the named person been before moving?",
            "Find the starting place, without an article, of the person after the bar.",
            novel=True,
        ),
    ]


def _ranking_recipes() -> list[Recipe]:
    rankings = Group(
        inputs="three compared",
        subcategory="reading",
        source=SOURCE,
        material=draw_ranking,
        show=lambda ranking: ranking.text,
    )
    return [
        # The two comparisons stand in any order, in either wording.
        # "Carol is faster than Isaac. Leon is faster than Carol." -> "Leon"
        rankings.free(
            "rc_tallest",
            lambda ranking: ranking.most,
            "Who is the tallest, oldest, fastest or strongest of the three?",
            "Order the three people and write the one at the top.",
            "Name the person who has the most height, age, speed or strength.",
            "Who stands above the two others in the comparison?",
            "Find the person that nobody beats in age, height, speed or strength.",
        ),
        # "Carol is faster than Isaac. Leon is faster than Carol." -> "Isaac"
        rankings.free(
            "rc_shortest",
            lambda ranking: ranking.least,
            "Who is the shortest, youngest, slowest or weakest of the three?",
            "Order the three people and write the one at the bottom.",
            "Name the person who has the least height, age, speed or strength.",
            "Who stands below the two others in the comparison?",
            "Find the person whom both others beat in age, height, speed or strength.",
        ),
        # Novel: in pre-training the same comparisons ask for the two ends only.
        # "Carol is faster than Isaac. Leon is faster than Carol." -> "Carol"
        rankings.free(
            "rc_between",
            lambda ranking: ranking.middle,
            "Who comes between the two others?",
            "Order the three people and write the one in the middle.",
            "Name the person who is neither first nor last in the comparison.",
            "Who beats one of the others and is beaten by one?",
            "Find the person with the middle height, age, speed or strength.",
            novel=True,
        ),
    ]


def _coreference_recipe() -> Recipe:
    sentences = Group(
        inputs="pronoun sentence",
        subcategory="reading",
        source=SOURCE,
        material=draw_coreference,
        show=lambda sentence: sentence.text,
    )
    # One man and one woman: the pronoun fits one name only.
    # "When Leon phoned Carol, she was ill." -> "Carol"
    return sentences.free(
        "rc_coref",
        lambda sentence: sentence.referent,
        "Which person is meant by he or she? Write the name.",
        "Find the name that the pronoun stands for.",
        "Resolve the pronoun: answer with one of the two names.",
        "Write whom the word he or she refers to.",
        "One of the two is spoken of again with a pronoun. Who?",
    )


def _gift_recipe() -> Recipe:
    stories = Group(
        inputs="giving away",
        subcategory="reading",
        source=SOURCE,
        material=draw_gift,
        show=lambda story: story.text,
    )
    # A subtraction from at most 30, whoever gave or lost the things.
    # "Leon had 12 blankets. Carol took 7 of them." -> "5"
    return stories.free(
        "rc_how_many_left",
        lambda story: str(story.rest),
        "How many are left in the end? Write the number.",
        "Subtract what went away from what was there at first.",
        "Compute the number of things that remain.",
        "Take the second number from the first one.",
        "Give the rest after the loss, in digits.",
    )


def _event_recipes() -> list[Recipe]:
    stories = Group(
        inputs="two events",
        subcategory="reading",
        source=SOURCE,
        material=draw_two_events,
        show=lambda story: story.text,
    )
    return [
        # "Before" and "after" turn the order of telling round in some frames.
        # "Leon wrote the story before he greeted the neighbor." -> "wrote the story"
        stories.free(
            "rc_first_event",
            lambda story: story.first,
            "What did the person do first? Write verb and object.",
            "Find the earlier of the two actions and copy it without the person.",
            "Which action happened before the other?",
            "Write the deed that comes first in time, even where it is told last.",
            "Give the action that was over when the other one began.",
        ),
        # "Leon wrote the story before he greeted the neighbor." -> "greeted the neighbor"
        stories.free(
            "rc_second_event",
            lambda story: story.second,
            "What did the person do last? Write verb and object.",
            "Find the later of the two actions and copy it without the person.",
            "Which action happened when the other one was already done?",
            "Write the deed that comes second in time, even where it is told first.",
            "Give the action with which it all ended.",
        ),
    ]
