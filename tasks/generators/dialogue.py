"""Dialogue: utterances to an assistant, and types of questions.

What the utterances are about, how they are meant, what to reply. Source: own frames, filled with
the lists of `ipt.tasks.generators.words` and `ipt.tasks.generators.scenes`. All tasks but the last
share the utterances.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.extraction import SOURCE, WEEK
from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.scenes import CITIES, Clause, draw_clause, things
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import first_names, with_article

VOCABULARY = read_vocabulary("dialogue")
FRAMES: dict[str, dict[str, list[str]]] = VOCABULARY["frames"]
QUESTIONS: dict[str, list[str]] = VOCABULARY["questions"]
SPEECH_ACTS = ("request", "question", "statement", "thanks", "promise")
SLOT_OF_INTENT = {
    "travel": "city",
    "weather": "city",
    "call": "person",
    "shopping": "item",
    "food": "dish",
}
POLITE_BEGINNINGS = ("Please", "Could you", "May I", "Thank")


@dataclass(frozen=True)
class Utterance:
    """What somebody says to an assistant: what about, how meant, with which slot and day."""

    intent: str
    speech_act: str
    slot: str
    day: str
    frame: str

    @property
    def text(self) -> str:
        """The utterance as a sentence."""
        return self.frame.format(slot=self.slot, a_slot=with_article(self.slot), day=self.day)

    @property
    def politeness(self) -> str:
        """The label "polite" or "plain", by the first words."""
        return "polite" if self.text.startswith(POLITE_BEGINNINGS) else "plain"

    @property
    def slots(self) -> str:
        """The main slot and the day as pairs of key and value."""
        return f"{SLOT_OF_INTENT[self.intent]}={self.slot}; day={self.day}"

    @property
    def reply(self) -> str:
        """What the assistant says to the speech act."""
        replies = {
            "request": f"Sure, on {self.day}.",
            "question": f"Let me check {self.day}.",
            "statement": f"I see, on {self.day}.",
            "thanks": "You are welcome.",
            "promise": f"Great, see you on {self.day}.",
        }
        return replies[self.speech_act]


class Question(NamedTuple):
    """What is asked for, a wording, and what is asked about."""

    kind: str
    frame: str
    clause: Clause

    @property
    def text(self) -> str:
        """The question as a sentence."""
        return self.frame.format(
            subject=self.clause.subject.inside,
            lemma=self.clause.verb.lemma,
            past=self.clause.verb.past,
            object=self.clause.object,
        )


def fillers_of(slot: str) -> list[str]:
    """Return what can stand in a slot."""
    # Each slot has fillers of its own, which never fit another one.
    if slot == "city":
        return list(CITIES)
    if slot == "person":
        return [entry.name for entry in first_names()]
    if slot == "dish":
        return VOCABULARY["dishes"]
    not_sold = VOCABULARY["not_sold"]
    return [thing.singular for thing in things() if thing.singular not in not_sold]


def draw_utterance(rng: Random) -> Utterance:
    """Draw intent and speech act independently, then a wording and its fillers."""
    intent = rng.choice(tuple(SLOT_OF_INTENT))
    speech_act = rng.choice(SPEECH_ACTS)
    return Utterance(
        intent,
        speech_act,
        slot=rng.choice(fillers_of(SLOT_OF_INTENT[intent])),
        day=rng.choice(WEEK),
        frame=rng.choice(FRAMES[intent][speech_act]),
    )


def draw_question(rng: Random) -> Question:
    """Draw what is asked for, a wording and a clause."""
    kind = rng.choice(tuple(QUESTIONS))
    return Question(kind, rng.choice(QUESTIONS[kind]), draw_clause(rng))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    # Intent and speech act do not depend on each other, so that no label gives another one away.
    utterances = Group(
        inputs="assistant utterance",
        subcategory="dialogue",
        source=SOURCE,
        material=draw_utterance,
        show=lambda utterance: utterance.text,
    )
    return [
        *_label_recipes(utterances),
        *_answer_recipes(utterances),
        _question_recipe(),
    ]


def _label_recipes(utterances: Group[Utterance]) -> list[Recipe]:
    return [
        # By the words of the frame, or by the slot: a city is asked about in two intents.
        # "Call Isaac on Wednesday." -> "call"
        utterances.labelled(
            "dia_intent",
            tuple(SLOT_OF_INTENT),
            lambda utterance: utterance.intent,
            "What is the utterance about: travel, weather, call, shopping or food?",
            "Choose the topic of the speaker: travel, weather, call, shopping, food.",
            "Sort the message to an assistant as travel, weather, call, shopping or food.",
            "Name the service that should deal with this sentence.",
            (
                "Decide which area the speaker talks about: a trip, the weather, "
                "a phone call, buying, or a meal."
            ),
        ),
        # A question mark is not enough: polite requests have one too.
        # "Call Isaac on Wednesday." -> "request"
        utterances.labelled(
            "top_speech_act",
            SPEECH_ACTS,
            lambda utterance: utterance.speech_act,
            "Is this a request, a question, a statement, thanks or a promise?",
            "Name the speech act: request, question, statement, thanks, promise.",
            (
                "What does the speaker do: make a request, ask a question, make a "
                "statement, give thanks or promise?"
            ),
            (
                "Label how the sentence is meant, with request, question, "
                "statement, thanks or promise."
            ),
            "Decide what kind of act the speaker performs by saying this.",
        ),
        # "Call Isaac on Wednesday." -> "plain"
        utterances.labelled(
            "dia_polite",
            ("polite", "plain"),
            lambda utterance: utterance.politeness,
            "Does the speaker use a polite phrase? Answer polite or plain.",
            "Label the utterance polite if it holds a word of courtesy, otherwise plain.",
            "Is the wording polite or plain?",
            (
                "Decide between polite and plain by looking for words such "
                "as please, could you or thanks."
            ),
            "Say whether the speaker is being courteous with a set phrase.",
        ),
    ]


def _answer_recipes(utterances: Group[Utterance]) -> list[Recipe]:
    # "Call Isaac on Wednesday." -> "Sure, on Wednesday."
    response = utterances.free(
        "dia_response",
        lambda utterance: utterance.reply,
        "Reply: sure to a request, let me check to a question, great to a promise; repeat the day.",
        "Give a short friendly answer that fits the speech act and takes up the weekday.",
        "Answer as a helper would: check a question, see a statement, be sure on a request.",
        "Write the next turn of the conversation in at most five words.",
        (
            "Respond to the speaker: a request gets sure, thanks get you are "
            "welcome, a statement gets I see."
        ),
    )
    return [
        # The key of the first slot depends on the intent.
        # "Call Isaac on Wednesday." -> "person=Isaac; day=Wednesday"
        utterances.free(
            "dia_slot",
            lambda utterance: utterance.slots,
            (
                "Fill the slots: city, person, item or dish, then the "
                "day, as in city=Rome; day=Friday."
            ),
            "Write what is talked about as city=, person=, item= or dish=, and then day=.",
            "Extract two fields from the utterance: the thing, place or person, and the day.",
            "Turn the sentence into slot=value pairs, with the weekday in the second one.",
            "Note the city, person, item or dish and the weekday, separated by a semicolon.",
        ),
        # A reply may be worded otherwise: words in common count, not the whole.
        replace(response, metric="rouge-L"),
        # Novel: in pre-training the slots are written as pairs, never as a question.
        # "Call Isaac on Wednesday." -> "Isaac on Wednesday?"
        utterances.free(
            "dia_ask_back",
            lambda utterance: f"{utterance.slot} on {utterance.day}?",
            (
                "Ask back: write the city, person, item or dish, then on and "
                "the day, with a question mark."
            ),
            "Check that you understood by repeating the main word and the day as a short question.",
            "Repeat the slot value and the weekday, as in: Rome on Friday?",
            "Make a question of three words: what or whom it concerns, on, and the weekday.",
            "Echo the thing, place or person and the day to confirm them.",
            novel=True,
        ),
    ]


def _question_recipe() -> Recipe:
    questions = Group(
        inputs="everyday question",
        subcategory="topic",
        source=SOURCE,
        material=draw_question,
        show=lambda question: question.text,
    )
    # Four wordings a type: the question word is not always the first word.
    # "Why did the pilot fold the blanket?" -> "reason"
    return questions.labelled(
        "top_question_type",
        tuple(QUESTIONS),
        lambda question: question.kind,
        "What does the question ask for: a place, a time, a reason, a person or a number?",
        "Choose the type of the answer: place, time, reason, person, number.",
        "Would the answer be a place, time, reason, person or number?",
        "Label the question by what it wants to know.",
        "Classify the question as place, time, reason, person or number.",
    )
