"""Classification of sentences, and comparisons.

Relation, topic, formality, kind of message, order of cause and effect; two lengths, two numbers.
Source: own frames and vocabularies, filled with the lists of `ipt.tasks.generators.words` and
`ipt.tasks.generators.scenes`.
"""

from dataclasses import replace
from random import Random
from typing import Literal, NamedTuple

from ipt.tasks.generators.extraction import NUMBER_WORDS, SOURCE
from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.nli import plural
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.scenes import CITIES, JOBS, capitalize, things
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import first_names, surnames, with_article

VOCABULARY = read_vocabulary("relation_cls")
RELATIONS: dict[str, list[str]] = VOCABULARY["relations"]
TOPICS: dict[str, list[str]] = VOCABULARY["topics"]
MESSAGES: dict[str, dict[str, list[str]]] = VOCABULARY["messages"]
FIRST, SECOND = FIRST_OR_SECOND = ("first", "second")
TENS = ("", "", *"twenty thirty forty fifty sixty seventy eighty ninety".split())
"""Words for the tens, in the place of their first digit."""

GrammaticalNumber = Literal["singular", "plural"]


class RelationSentence(NamedTuple):
    """A sentence, the relation it tells, and the fact as a triple."""

    text: str
    relation: str
    triple: str


class TopicSentence(NamedTuple):
    """A sentence, its topic, and the grammatical number of its subject."""

    text: str
    topic: str
    number: GrammaticalNumber


class Message(NamedTuple):
    """A message, its formality and its kind."""

    text: str
    formality: str
    kind: str


class CausalText(NamedTuple):
    """A cause and its effect in a text, and which part the cause is."""

    text: str
    place_of_cause: str


class Actor(NamedTuple):
    """Who does something, worded for the middle of a sentence."""

    text: str
    number: GrammaticalNumber


def draw_relation(rng: Random) -> RelationSentence:
    """Draw a sentence that tells one relation of a person."""
    relation = rng.choice(tuple(RELATIONS))
    one, two = rng.sample(first_names(), 2)
    job = rng.choice(JOBS)
    thing = rng.choice(things()).singular
    city = rng.choice(CITIES)
    frame = rng.choice(RELATIONS[relation])
    text = frame.format(
        name=one.name,
        other=two.name,
        job=job,
        a_job=with_article(job),
        thing=thing,
        a_thing=with_article(thing),
        city=city,
        sibling="sister" if one.gender == "f" else "brother",
    )
    # The second thing of a relation is a city in the three that are not listed.
    other_side = {"works_as": job, "owns": thing, "sibling_of": two.name}.get(relation, city)
    return RelationSentence(text, relation, f"{relation}({one.name}, {other_side})")


def draw_actor(rng: Random) -> Actor:
    """Draw who does something: one or two named people, or people by job or by kinship."""
    one, two = rng.sample(first_names(), 2)
    kind = rng.randrange(3)
    job = rng.choice(JOBS)
    # All three are made and one is taken: the draws are the same whichever it is.
    if rng.random() < 0.5:
        singular = (one.name, f"the {job}", rng.choice(VOCABULARY["singular_actors"]))
        return Actor(singular[kind], "singular")
    both = f"{one.name} and {two.name}"
    several = (both, f"the {plural(job)}", rng.choice(VOCABULARY["plural_actors"]))
    return Actor(several[kind], "plural")


def draw_topic_sentence(rng: Random) -> TopicSentence:
    """Draw who did something that belongs to a topic."""
    topic = rng.choice(tuple(TOPICS))
    deed = rng.choice(TOPICS[topic])
    time = rng.choice(VOCABULARY["times"])
    actor = draw_actor(rng)
    frame = rng.choice(VOCABULARY["topic_frames"])
    text = frame.format(actor=actor.text, deed=deed, time=time)
    return TopicSentence(capitalize(text), topic, actor.number)


def draw_message(rng: Random) -> Message:
    """Draw a message; formality and kind are independent of each other."""
    name, gender = rng.choice(first_names())
    surname = rng.choice(surnames())
    # Every pair of formality and kind is equally common.
    manners = []
    for formality, kinds in MESSAGES.items():
        manners += [(formality, kind) for kind in kinds]
    formality, kind = rng.choice(manners)

    frame = rng.choice(MESSAGES[formality][kind])
    # Some frames put "a" before the thing.
    sayable = [thing.singular for thing in things() if thing.singular[0] not in "aeiou"]
    title = "Ms" if gender == "f" else "Mr"
    text = frame.format(title=f"{title} {surname}", name=name, thing=rng.choice(sayable))
    return Message(text, formality, kind)


def draw_cause_and_effect(rng: Random) -> CausalText:
    """Draw a cause and its effect, in this order in half of the draws."""
    cause, effect = rng.choice(VOCABULARY["causes"])
    name, gender = rng.choice(first_names())
    pronoun = "she" if gender == "f" else "he"
    # Whichever part comes first names the person; the other one has the pronoun.
    if rng.random() < 0.5:
        frame = rng.choice(VOCABULARY["cause_first"])
        text = frame.format(cause=f"{name} {cause}", effect=f"{pronoun} {effect}")
        return CausalText(f"{capitalize(text)}.", FIRST)
    frame = rng.choice(VOCABULARY["effect_first"])
    text = frame.format(cause=f"{pronoun} {cause}", effect=f"{name} {effect}")
    return CausalText(f"{capitalize(text)}.", SECOND)


def draw_lengths(rng: Random) -> Row | None:
    """Draw two lengths in units of similar size; None where they are about equal."""
    units = VOCABULARY["units"]
    place = rng.randrange(len(units))
    unit, millimetres = units[place]
    # At most two units apart: a mile is longer than a millimetre, whatever their number.
    other_unit, other_millimetres = rng.choice(units[max(0, place - 2) : place + 3])
    count, other_count = rng.randint(2, 99), rng.randint(2, 99)

    ratio = count * millimetres / (other_count * other_millimetres)
    # Closer ones could be told by exact conversion only.
    if 0.9 < ratio < 1.1:
        return None
    longer = SECOND if ratio < 1 else FIRST
    return Row(f"{count} {unit} | {other_count} {other_unit}", (longer,))


def spell_number(number: int) -> str:
    """Return a number from 1 to 999 in words, with "and" behind the hundreds."""
    hundreds, below_hundred = divmod(number, 100)
    tens, ones = divmod(below_hundred, 10)
    if below_hundred < len(NUMBER_WORDS):
        words = NUMBER_WORDS[below_hundred]
    elif ones:
        words = f"{TENS[tens]}-{NUMBER_WORDS[ones]}"
    else:
        words = TENS[tens]

    if not hundreds:
        return words
    if not below_hundred:
        return f"{NUMBER_WORDS[hundreds]} hundred"
    return f"{NUMBER_WORDS[hundreds]} hundred and {words}"


def draw_spelled_numbers(rng: Random) -> Row:
    """Draw two different numbers, half of the pairs below 100, in words."""
    # Below 100 the tens decide, above it the hundreds.
    end = 1000 if rng.random() < 0.5 else 100
    first, second = rng.sample(range(1, end), 2)
    larger = SECOND if first < second else FIRST
    return Row(f"{spell_number(first)} | {spell_number(second)}", (larger,))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_relation_recipes(),
        *_topic_recipes(),
        *_message_recipes(),
        *_cause_recipes(),
        *_comparison_recipes(),
    ]


def _relation_recipes() -> list[Recipe]:
    sentences = Group(
        inputs="relation sentence",
        subcategory="relation-cls",
        source=SOURCE,
        material=draw_relation,
        show=lambda sentence: sentence.text,
    )
    return [
        # "Carol was born in Berlin." -> "born_in"
        sentences.labelled(
            "rex_relation",
            tuple(RELATIONS),
            lambda sentence: sentence.relation,
            (
                "Which relation is told: works_as, lives_in, born_in, "
                "travelled_to, owns or sibling_of?"
            ),
            (
                "Choose works_as, lives_in, born_in, travelled_to, owns "
                "or sibling_of for the sentence."
            ),
            "Name the relation between the two things that the sentence connects.",
            (
                "Label the fact with one of works_as, lives_in, born_in, "
                "travelled_to, owns, sibling_of."
            ),
            (
                "Is this about a job, a home, a birth, a journey, a "
                "possession or brothers and sisters?"
            ),
        ),
        # The label of `rex_relation` and two copies, in the notation of a formula.
        # "Carol was born in Berlin." -> "born_in(Carol, Berlin)"
        sentences.free(
            "rex_triple",
            lambda sentence: sentence.triple,
            "Write the fact as relation(person, other), as in owns(Anna, lamp).",
            "Turn the sentence into a formula: relation name, then both things in brackets.",
            "Note the relation such as born_in or works_as with its two sides in brackets.",
            "Extract a triple in the notation lives_in(Tom, Oslo).",
            "Give the statement in the style of a database of facts, relation first.",
        ),
    ]


def _topic_recipes() -> list[Recipe]:
    sentences = Group(
        inputs="topical sentence",
        subcategory="topic",
        source=SOURCE,
        material=draw_topic_sentence,
        show=lambda sentence: sentence.text,
    )
    # The same sentences, asked about their form: the topic does not give it away.
    grammar = replace(sentences, subcategory="grammar")
    return [
        # The deed alone tells the topic; actor and time are independent of it.
        # "Leon and Hannah also opened a bank account." -> "money"
        sentences.labelled(
            "top_everyday",
            tuple(TOPICS),
            lambda sentence: sentence.topic,
            (
                "What is the sentence about: food, sport, travel, music, "
                "school, money, garden or health?"
            ),
            "Choose the topic: food, sport, travel, music, school, money, garden, health.",
            "Sort the sentence under food, sport, travel, music, school, money, garden or health.",
            "Name the everyday topic that the sentence belongs to.",
            "Under which heading of a magazine would this sentence stand?",
        ),
        # "Leon and Hannah also opened a bank account." -> "plural"
        grammar.labelled(
            "gra_subject_count",
            ("singular", "plural"),
            lambda sentence: sentence.number,
            "Is the one who acts singular or plural?",
            "Did one person do it or several? Answer singular or plural.",
            "Give the grammatical number of the subject: singular or plural.",
            "Label the subject of the sentence as singular or plural.",
            "Look at who did it and name the number.",
        ),
    ]


def _message_recipes() -> list[Recipe]:
    messages = Group(
        inputs="short message",
        subcategory="style",
        source=f"{SOURCE}, mimesis",
        material=draw_message,
        show=lambda message: message.text,
    )
    return [
        # Words and punctuation differ, the things that are spoken of do not.
        # "I respectfully ask you to replace the cup." -> "formal"
        messages.labelled(
            "sty_formality",
            ("formal", "informal"),
            lambda message: message.formality,
            "Is the message formal or informal?",
            "Judge the style of the message: formal or informal.",
            "Would you write this to an office or a friend? Answer formal or informal.",
            "Label the tone of these words as formal or informal.",
            "Decide how close the writer is to the reader by the style.",
        ),
        # A request may look like a statement ("We would be grateful ...").
        # "I respectfully ask you to replace the cup." -> "request"
        messages.labelled(
            "sty_kind",
            ("statement", "question", "request"),
            lambda message: message.kind,
            "Is the message a statement, a question or a request?",
            "Does the writer tell, ask or want something: statement, question or request?",
            "Label the message as statement, question or request.",
            "Choose between statement, question and request, whatever the tone.",
            "Decide what the writer expects: nothing, an answer or an action.",
        ),
    ]


def _cause_recipes() -> list[Recipe]:
    texts = Group(
        inputs="cause and effect",
        subcategory="causality",
        source=SOURCE,
        material=draw_cause_and_effect,
        show=lambda causal: causal.text,
    )
    return [
        # Because and since occur in both orders.
        # "Carol went to the dentist, as she had a toothache." -> "second"
        texts.labelled(
            "cau_order",
            FIRST_OR_SECOND,
            lambda causal: causal.place_of_cause,
            "Where does the cause stand, first or second?",
            "Is the reason told in the first or the second part?",
            "Answer first if the cause comes before the effect in the text, otherwise second.",
            "Find the part that explains the other and say first or second.",
            "Which of the two parts made the other one happen?",
        ),
    ]


def _comparison_recipes() -> list[Recipe]:
    return [
        # The bare numbers mislead as soon as the units differ.
        # "34 metres | 48 feet" -> "first"
        Recipe(
            name="cmp_lengths",
            category="cls",
            subcategory="comparison",
            metric="accuracy",
            definitions=(
                "Which length is greater, the first or the second?",
                "Compare the two lengths and answer first or second for the longer one.",
                "Say first or second: which distance is longer?",
                "Mind the units and pick the longer of the two.",
                "Is the first or the second of these measures the bigger one?",
            ),
            draw=draw_lengths,
            inputs="two lengths",
            source=SOURCE,
            options=FIRST_OR_SECOND,
        ),
        # The hundreds decide first, where there are any.
        # "nine hundred and twenty-nine | two hundred and sixty-three" -> "first"
        Recipe(
            name="cmp_number_words",
            category="cls",
            subcategory="comparison",
            metric="accuracy",
            definitions=(
                "Which number is greater, the first or the second?",
                "Compare the two numbers and answer first or second for the larger one.",
                "Say first or second: which of the numbers is bigger?",
                "Pick the higher of the two numbers that are written out in words.",
                "Does the first or the second number stand for more?",
            ),
            draw=draw_spelled_numbers,
            inputs="two numbers in words",
            source=SOURCE,
            options=FIRST_OR_SECOND,
        ),
    ]
