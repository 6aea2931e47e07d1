"""Sensible everyday sentences: actions with fitting objects, activities with places, jobs, things.

Curated by hand in `scenes.toml`; the inflected forms come from `ipt.tasks.generators.words`.
"""

from dataclasses import dataclass, replace
from functools import cache
from random import Random

from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import Noun, Verb, first_names, inflections, verb

VOCABULARY = read_vocabulary("scenes")
JOBS: tuple[str, ...] = tuple(VOCABULARY["jobs"])
CITIES: tuple[str, ...] = tuple(VOCABULARY["cities"])
TIMES: tuple[str, ...] = tuple(VOCABULARY["times"])
PERSONS = frozenset(VOCABULARY["persons"])
UNCOUNTABLE = frozenset(VOCABULARY["uncountable"])


@dataclass(frozen=True)
class Action:
    """A verb and the things it is done to."""

    verb: Verb
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Activity:
    """A verb without an object, and the places, times and ways that fit it."""

    verb: Verb
    adjuncts: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """Who does it: a name with he or she, or "The nurse" with they."""

    text: str
    pronoun: str
    object_pronoun: str

    @property
    def inside(self) -> str:
        """The subject where it does not begin the sentence."""
        if self.text.startswith("The "):
            return self.text[0].lower() + self.text[1:]
        return self.text


@dataclass(frozen=True)
class Clause:
    """Who does what to which thing, and maybe when; `fronted` puts the time at the beginning."""

    subject: Subject
    verb: Verb
    object: str
    when: str = ""
    fronted: bool = False

    @property
    def past(self) -> str:
        """The sentence in the past tense."""
        return self.with_verb(self.verb.past)

    def with_verb(self, form: str) -> str:
        """Return the sentence with this form of the verb."""
        return self.sentence(self.subject.inside, f"{form} {self.object}")

    def sentence(self, start: str, predicate: str) -> str:
        """Return a sentence in the frame of this one; `start` is written as inside a sentence."""
        if self.when and self.fronted:
            return f"{capitalize(self.when)}, {start} {predicate}."
        return f"{capitalize(start)} {predicate}{self.time_at_end}."

    @property
    def is_done_to_a_person(self) -> bool:
        """Whether "it" cannot stand for the object."""
        return self.object.split()[-1] in PERSONS

    @property
    def time_at_end(self) -> str:
        """The time as it stands at the end of a sentence, with a space before it."""
        return f" {self.when}" if self.when else ""


def capitalize(text: str) -> str:
    """Return a text with a capital at its start, the rest as it is."""
    return text[0].upper() + text[1:]


@cache
def actions() -> tuple[Action, ...]:
    """Return the actions of the list, with inflected verbs."""
    # The order of the file decides which action a random number means.
    listed = []
    for lemma, objects in VOCABULARY["actions"].items():
        listed.append(Action(verb(lemma), tuple(objects)))
    return tuple(listed)


@cache
def activities() -> tuple[Activity, ...]:
    """Return the activities of the list, with inflected verbs."""
    listed = []
    for lemma, adjuncts in VOCABULARY["activities"].items():
        listed.append(Activity(verb(lemma), tuple(adjuncts)))
    return tuple(listed)


@cache
def things() -> tuple[Noun, ...]:
    """Return the things of the list, in the order of the alphabet."""
    names = sorted(set(VOCABULARY["things"]))
    return tuple(Noun(name, inflections()[name, "noun"][0]) for name in names)


def draw_person(rng: Random) -> Subject:
    """Draw a named subject."""
    name, gender = rng.choice(first_names())
    if gender == "f":
        return Subject(name, "she", "her")
    return Subject(name, "he", "him")


def draw_subject(rng: Random) -> Subject:
    """Draw a name (two in three) or a job."""
    # Jobs bring in subjects with an article, in lower case inside a sentence.
    if rng.random() < 2 / 3:
        return draw_person(rng)
    return Subject(f"The {rng.choice(JOBS)}", "they", "them")


def draw_clause(rng: Random) -> Clause:
    """Draw who does what: some hundred thousand combinations, all of them sensible."""
    action = rng.choice(actions())
    # "the" is twice as common: it fits every thing.
    determiner = rng.choice(("the", "the", "a"))
    noun = rng.choice(action.objects)
    if noun in UNCOUNTABLE:
        determiner = "the"
    elif determiner == "a" and noun[0] in "aeiou":
        determiner = "an"
    return Clause(draw_subject(rng), action.verb, f"{determiner} {noun}")


def draw_framed_clause(rng: Random) -> Clause:
    """Draw a clause in one of four frames.

    Bare, with the origin of who does it, with a time at its end, or with a time at its beginning.
    """
    clause = draw_clause(rng)
    frame = rng.randrange(4)
    if frame == 0:
        return clause
    if frame == 1:
        # The origin becomes a part of the subject, and moves with it.
        origin = f"{clause.subject.text} from {rng.choice(CITIES)}"
        return replace(clause, subject=replace(clause.subject, text=origin))
    return replace(clause, when=rng.choice(TIMES), fronted=frame == 3)
