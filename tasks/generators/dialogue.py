"""Dialogue: utterances to a helper (what they are about, how they are meant, what to reply) and types of questions.

Source: own frames, filled with the lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`. All tasks but the last share the
utterances.
"""

from dataclasses import dataclass
from functools import partial
from random import Random

from ipt.tasks.generators.extraction import SOURCE, WEEK, bag
from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.scenes import CITIES, Clause, clause, things
from ipt.tasks.generators.words import with_article, first_names

ACTS = ("request", "question", "statement", "thanks", "promise")
SLOTS = {"travel": "city", "weather": "city", "call": "person", "shopping": "item", "food": "dish"}
DISHES = bag(
    """soup pizza pasta rice stew curry fish chicken porridge chili spaghetti lasagna risotto pudding goulash ravioli
    couscous gnocchi lamb beef paella turkey tofu salmon broccoli spinach trout"""
)
NOT_SOLD = bag("leaf seed stone feather photo block bean present letter shell medal trophy ticket")
QUESTIONS = {
    "place": ("Where did {s} {v} {o}?", "In which town did {s} {v} {o}?", "Do you know where {s} {w} {o}?",
              "At what place did {s} {v} {o}?"),
    "time": ("When did {s} {v} {o}?", "On which day did {s} {v} {o}?", "Can you say when {s} {w} {o}?",
             "At what hour did {s} {v} {o}?"),
    "reason": ("Why did {s} {v} {o}?", "For what reason did {s} {v} {o}?", "Do you know why {s} {w} {o}?",
               "What made {s} {v} {o}?"),
    "person": ("Who saw {s} {v} {o}?", "Together with whom did {s} {v} {o}?", "Can you say who let {s} {v} {o}?",
               "Which friend helped {s} {v} {o}?"),
    "number": ("How many times did {s} {v} {o}?", "How often did {s} {v} {o}?",
               "Do you know how many people helped {s} {v} {o}?", "At how many places did {s} {v} {o}?"),
}  # fmt: skip
FRAMES = {
    "travel": {
        "request": ("Book me a train to {x} for {d}.", "Please book a flight to {x} on {d}.",
                    "Could you get me a ticket to {x} for {d}?"),
        "question": ("Is there a train to {x} on {d}?", "How long is the flight to {x} on {d}?",
                     "May I ask when the bus to {x} leaves on {d}?"),
        "statement": ("The train to {x} leaves early on {d}.", "My trip to {x} starts on {d}."),
        "thanks": ("Thank you for the ticket to {x} on {d}.", "Thanks for the ride to {x} on {d}."),
        "promise": ("I will drive you to {x} on {d}.", "I promise to travel to {x} with you on {d}."),
    },
    "weather": {
        "request": ("Tell me the weather in {x} on {d}.", "Please check the forecast for {x} on {d}.",
                    "Could you look up the rain in {x} for {d}?"),
        "question": ("Will it rain in {x} on {d}?", "How cold is it in {x} on {d}?",
                     "May I ask if it snows in {x} on {d}?"),
        "statement": ("It was sunny in {x} on {d}.", "The storm reached {x} on {d}."),
        "thanks": ("Thank you for the forecast for {x} on {d}.", "Thanks for the storm warning for {x} on {d}."),
        "promise": ("I will tell you how windy it gets in {x} on {d}.", "I promise to report the snow in {x} on {d}."),
    },
    "call": {
        "request": ("Call {x} on {d}.", "Please ring {x} on {d}.", "Could you phone {x} for me on {d}?"),
        "question": ("Did {x} call on {d}?", "Who has to phone {x} on {d}?", "May I ask if {x} rang on {d}?"),
        "statement": ("{x} phoned the office on {d}.", "I had a call from {x} on {d}."),
        "thanks": ("Thank you for calling {x} on {d}.", "Thanks for phoning {x} on {d}."),
        "promise": ("I will call {x} on {d}.", "I promise to ring {x} on {d}."),
    },
    "shopping": {
        "request": ("Order {a} for {d}.", "Please buy {a} on {d}.", "Could you get me {a} from the shop on {d}?"),
        "question": ("Can I buy {a} here on {d}?", "What does {a} cost on {d}?", "May I ask who sells {a} on {d}?"),
        "statement": ("I bought {a} at the shop on {d}.", "We saw {a} on sale on {d}."),
        "thanks": ("Thank you for buying {a} on {d}.", "Thanks for ordering {a} on {d}."),
        "promise": ("I will buy you {a} on {d}.", "I promise to order {a} on {d}."),
    },
    "food": {
        "request": ("Cook {x} for us on {d}.", "Please make some {x} on {d}.",
                    "Could you serve {x} for dinner on {d}?"),
        "question": ("Do we eat {x} for lunch on {d}?", "Who cooks {x} on {d}?", "May I ask if you serve {x} on {d}?"),
        "statement": ("We had {x} for dinner on {d}.", "I ate too much {x} on {d}."),
        "thanks": ("Thank you for cooking {x} on {d}.", "Thanks for the tasty {x} on {d}."),
        "promise": ("I will cook {x} for you on {d}.", "I promise to make {x} on {d}."),
    },
}  # fmt: skip
POLITE = ("Please", "Could you", "May I", "Thank")


@dataclass(frozen=True)
class Utterance:
    intent: str
    act: str
    slot: str
    day: str
    frame: str

    @property
    def text(self) -> str:
        return self.frame.format(x=self.slot, a=with_article(self.slot), d=self.day)


def utterance(rng: Random) -> Utterance:
    """Draw intent and speech act independently, then a wording and its fillers."""
    intent = rng.choice(tuple(SLOTS))
    act = rng.choice(ACTS)
    fillers = {
        "city": CITIES,
        "dish": DISHES,
        "person": [name for name, _ in first_names()],
        "item": [t.singular for t in things() if t.singular not in NOT_SOLD],
    }
    return Utterance(intent, act, rng.choice(fillers[SLOTS[intent]]), rng.choice(WEEK), rng.choice(FRAMES[intent][act]))


def reply(x: Utterance) -> str:
    return {
        "request": f"Sure, on {x.day}.", "question": f"Let me check {x.day}.", "statement": f"I see, on {x.day}.",
        "thanks": "You are welcome.", "promise": f"Great, see you on {x.day}.",
    }[x.act]  # fmt: skip


def question(rng: Random) -> tuple[str, str, Clause]:
    """Draw what is asked for, a wording and a clause."""
    kind = rng.choice(tuple(QUESTIONS))
    return kind, rng.choice(QUESTIONS[kind]), clause(rng)


def ask(x: tuple[str, str, Clause]) -> str:
    _, frame, told = x
    return frame.format(s=told.subject.inside, v=told.verb.lemma, w=told.verb.past, o=told.object)


def recipes() -> list[Recipe]:
    shared = partial(Recipe, subcategory="dialogue", source=SOURCE, inputs="assistant utterance")
    label = partial(shared, category="cls", metric="accuracy")
    said = partial(over, utterance, lambda x: x.text)
    return [
        label(
            "dia_intent",
            definitions=(
                "What is the utterance about: travel, weather, call, shopping or food?",
                "Choose the topic of the speaker: travel, weather, call, shopping, food.",
                "Sort the message to an assistant as travel, weather, call, shopping or food.",
                "Name the service that should deal with this sentence.",
                "Decide which area the speaker talks about: a trip, the weather, a phone call, buying, or a meal.",
            ),
            draw=said(lambda x: x.intent),
            options=tuple(SLOTS),
        ),
        label(
            "top_speech_act",
            definitions=(
                "Is this a request, a question, a statement, thanks or a promise?",
                "Name the speech act: request, question, statement, thanks, promise.",
                "What does the speaker do: make a request, ask a question, make a statement, give thanks or promise?",
                "Label how the sentence is meant, with request, question, statement, thanks or promise.",
                "Decide what kind of act the speaker performs by saying this.",
            ),
            draw=said(lambda x: x.act),
            options=ACTS,
        ),
        label(
            "dia_polite",
            definitions=(
                "Does the speaker use a polite phrase? Answer polite or plain.",
                "Label the utterance polite if it holds a word of courtesy, otherwise plain.",
                "Is the wording polite or plain?",
                "Decide between polite and plain by looking for words such as please, could you or thanks.",
                "Say whether the speaker is being courteous with a set phrase.",
            ),
            draw=said(lambda x: "polite" if x.text.startswith(POLITE) else "plain"),
            options=("polite", "plain"),
        ),
        shared(
            "dia_slot",
            category="non-cls",
            metric="exact-match",
            definitions=(
                "Fill the slots: city, person, item or dish, then the day, as in city=Rome; day=Friday.",
                "Write what is talked about as city=, person=, item= or dish=, and then day=.",
                "Extract two fields from the utterance: the thing, place or person, and the day.",
                "Turn the sentence into slot=value pairs, with the weekday in the second one.",
                "Note the city, person, item or dish and the weekday, separated by a semicolon.",
            ),
            draw=said(lambda x: f"{SLOTS[x.intent]}={x.slot}; day={x.day}"),
        ),
        shared(
            "dia_response",
            category="non-cls",
            metric="rouge-L",
            definitions=(
                "Reply: sure to a request, let me check to a question, great to a promise; repeat the day.",
                "Give a short friendly answer that fits the speech act and takes up the weekday.",
                "Answer as a helper would: check a question, see a statement, be sure on a request.",
                "Write the next turn of the conversation in at most five words.",
                "Respond to the speaker: a request gets sure, thanks get you are welcome, a statement gets I see.",
            ),
            draw=said(reply),
        ),
        shared(
            "dia_ask_back",
            category="non-cls",
            metric="exact-match",
            definitions=(
                "Ask back: write the city, person, item or dish, then on and the day, with a question mark.",
                "Check that you understood by repeating the main word and the day as a short question.",
                "Repeat the slot value and the weekday, as in: Rome on Friday?",
                "Make a question of three words: what or whom it concerns, on, and the weekday.",
                "Echo the thing, place or person and the day to confirm them.",
            ),
            draw=said(lambda x: f"{x.slot} on {x.day}?"),
            novel=True,
        ),
        label(
            "top_question_type",
            subcategory="topic",
            definitions=(
                "What does the question ask for: a place, a time, a reason, a person or a number?",
                "Choose the type of the answer: place, time, reason, person, number.",
                "Would the answer be a place, time, reason, person or number?",
                "Label the question by what it wants to know.",
                "Classify the question as place, time, reason, person or number.",
            ),
            draw=over(question, ask, lambda x: x[0]),
            inputs="everyday question",
            options=tuple(QUESTIONS),
        ),
    ]
