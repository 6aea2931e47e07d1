"""Sentences about everyday actions (`ipt.tasks.generators.scenes`).

Tense, voice, negation, questions and pronouns over the same sentences.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.scenes import (
    CITIES,
    TIMES,
    Clause,
    Subject,
    activities,
    capitalize,
    draw_clause,
    draw_framed_clause,
    draw_person,
    draw_subject,
)

SOURCE = "own frames, lemminflect"
TENSES = ("present", "past", "future", "progressive")
YES_NO = ("yes", "no")


class TensedClause(NamedTuple):
    """A clause and the tense it is told in."""

    clause: Clause
    tense: str

    @property
    def text(self) -> str:
        """The clause in its tense."""
        verb = self.clause.verb
        form_of_tense = {
            "present": verb.third,
            "past": verb.past,
            "future": f"will {verb.lemma}",
            "progressive": f"is {verb.gerund}",
        }
        return self.clause.with_verb(form_of_tense[self.tense])

    @property
    def shows_tense(self) -> bool:
        """Whether the past differs from the present; that of "put" does not."""
        verb = self.clause.verb
        return verb.past not in (verb.lemma, verb.third)


class VoicedClause(NamedTuple):
    """A clause in the past, in the active or the passive voice."""

    clause: Clause
    is_active: bool

    @property
    def voice(self) -> str:
        """The name of the voice."""
        return "active" if self.is_active else "passive"

    @property
    def text(self) -> str:
        """The clause in its voice."""
        return self.clause.past if self.is_active else passive(self.clause)

    @property
    def other_text(self) -> str:
        """The clause in the other voice."""
        return passive(self.clause) if self.is_active else self.clause.past


class Scene(NamedTuple):
    """A sentence without an object: who (as inside a sentence), verb and adjunct."""

    actor: str
    verb: str
    adjunct: str
    fronted: bool

    @property
    def adjunct_first(self) -> str:
        """The sentence with the adjunct and a comma at its start."""
        return f"{capitalize(self.adjunct)}, {self.actor} {self.verb}."

    @property
    def actor_first(self) -> str:
        """The sentence with the one who acts at its start."""
        return f"{capitalize(self.actor)} {self.verb} {self.adjunct}."

    @property
    def text(self) -> str:
        """The sentence as it was drawn."""
        return self.adjunct_first if self.fronted else self.actor_first


@dataclass(frozen=True)
class Favour:
    """What a named person did for another one, told in one sentence or in two."""

    clause: Clause
    receiver: Subject
    in_two_sentences: bool

    @property
    def text(self) -> str:
        """The favour with both names."""
        return self.told_of(self.clause.subject.inside, self.receiver.text)

    @property
    def text_with_pronouns(self) -> str:
        """The favour with pronouns for both people."""
        return self.told_of(self.clause.subject.pronoun, self.receiver.object_pronoun)

    def told_of(self, actor: str, receiver: str) -> str:
        """Return the favour with these words for the two people."""
        # In two sentences the receiver stands alone behind "for".
        predicate = f"{self.clause.verb.past} {self.clause.object}"
        if self.in_two_sentences:
            return f"{self.clause.sentence(actor, predicate)} It was for {receiver}."
        return self.clause.sentence(actor, f"{predicate} for {receiver}")


def passive(clause: Clause) -> str:
    """Return a clause in the past passive."""
    predicate = f"was {clause.verb.participle} by {clause.subject.inside}"
    return clause.sentence(clause.object, predicate)


def question(clause: Clause) -> str:
    """Return a clause as a question with "did"."""
    subject = clause.subject.inside
    return f"Did {subject} {clause.verb.lemma} {clause.object}{clause.time_at_end}?"


def who_question(clause: Clause) -> str:
    """Return a clause as a question for its subject."""
    return f"Who {clause.verb.past} {clause.object}{clause.time_at_end}?"


def reported(clause: Clause) -> str:
    """Return a clause as something that was heard."""
    told = f"{clause.subject.inside} {clause.verb.past} {clause.object}{clause.time_at_end}"
    return f"I heard that {told}."


def with_it(clause: Clause) -> str | None:
    """Return a clause with "it" for its object; None where the object is a person."""
    if clause.is_done_to_a_person:
        return None
    return clause.sentence(clause.subject.inside, f"{clause.verb.past} it")


def headline(clause: Clause) -> str:
    """Return a clause as a headline: no articles, no time, present tense."""
    actor = capitalize(clause.subject.text.removeprefix("The "))
    return f"{actor} {clause.verb.third} {clause.object.split()[-1]}"


def draw_tensed_clause(rng: Random) -> TensedClause:
    """Draw a clause and one of four tenses."""
    return TensedClause(draw_framed_clause(rng), rng.choice(TENSES))


def draw_voiced_clause(rng: Random) -> VoicedClause:
    """Draw a clause, active in half of the draws."""
    return VoicedClause(draw_framed_clause(rng), rng.random() < 0.5)


def draw_scene(rng: Random) -> Scene:
    """Draw an intransitive sentence; the one who acts may come from a city."""
    activity = rng.choice(activities())
    actor = draw_subject(rng).inside
    if rng.random() < 0.5:
        # The origin makes the subject long: its end must be found.
        actor = f"{actor} from {rng.choice(CITIES)}"
    adjunct = rng.choice(activity.adjuncts)
    return Scene(actor, activity.verb.past, adjunct, fronted=rng.random() < 0.5)


def draw_word_order(rng: Random) -> Row:
    """Draw a sentence without its full stop, its word order broken in half of the draws."""
    clause = draw_framed_clause(rng)
    words = clause.past.removesuffix(".").split()
    if rng.random() < 0.5:
        return Row(" ".join(words), ("good",))

    # Both faults keep all words, so that only their order tells.
    place = words.index(clause.verb.past)
    verb_at_end = [*words[:place], *words[place + 1 :], words[place]]
    last_two_swapped = [*words[:-2], words[-1], words[-2]]
    broken = rng.choice((verb_at_end, last_two_swapped))
    return Row(" ".join(broken), ("bad",))


def draw_agreement(rng: Random) -> Row:
    """Draw a sentence in the present, its verb without the ending in half of the draws."""
    clause = draw_framed_clause(rng)
    # Every subject is singular: the form without s is wrong with all of them.
    if rng.random() < 0.5:
        return Row(clause.with_verb(clause.verb.third), ("correct",))
    return Row(clause.with_verb(clause.verb.lemma), ("wrong",))


def draw_favour(rng: Random) -> Favour | None:
    """Draw what a named person did for another one, in one of four frames.

    One sentence, two sentences, a time at the end, a time at the beginning.
    """
    clause = draw_clause(rng)
    receiver = draw_person(rng)
    frame = rng.randrange(4)
    # A job has no gender, and a person as the object would take a pronoun too.
    if clause.subject.text.startswith("The ") or clause.is_done_to_a_person:
        return None
    if receiver.text == clause.subject.text:
        return None

    if frame > 1:
        clause = replace(clause, when=rng.choice(TIMES), fronted=frame == 3)
    return Favour(clause, receiver, in_two_sentences=frame == 1)


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_sentence_recipes(),
        *_reading_and_rewriting_recipes(),
        *_tense_recipes(),
        *_voice_recipes(),
        *_acceptability_recipes(),
        *_scene_recipes(),
        *_favour_recipes(),
    ]


def _past_sentences(subcategory: str) -> Group[Clause]:
    return Group(
        inputs="past sentence",
        subcategory=subcategory,
        source=SOURCE,
        material=draw_framed_clause,
        show=lambda clause: clause.past,
    )


def _sentence_recipes() -> list[Recipe]:
    sentences = _past_sentences("sentence grammar")
    return [
        # "The designer explored a forest." -> "The designer did not explore a forest."
        sentences.free(
            "morph_negate_sentence",
            lambda clause: clause.with_verb(f"did not {clause.verb.lemma}"),
            "Negate the sentence with did not.",
            "Say that it did not happen.",
            "negated sentence",
        ),
        # "The designer explored a forest." -> "Did the designer explore a forest?"
        sentences.free(
            "morph_question_form",
            question,
            "Turn the sentence into a question with did.",
            "Ask whether it happened.",
            "yes-no question",
        ),
        # "The designer explored a forest." -> "The designer will explore a forest."
        sentences.free(
            "morph_future",
            lambda clause: clause.with_verb(f"will {clause.verb.lemma}"),
            "Say that it will happen.",
            "Put the sentence into the future.",
            "sentence in the future",
        ),
        # The participle of an irregular verb is not seen in the sentence.
        # "The designer explored a forest." -> "A forest was explored by the designer."
        sentences.free(
            "morph_passive",
            passive,
            "Put the sentence into the passive.",
            "Begin with the thing: it was done by someone.",
            "passive sentence",
        ),
        # Novel: the backbone knows the future and the passive of these sentences.
        # "The designer explored a forest." -> "The designer explores a forest."
        sentences.free(
            "gra_to_present",
            lambda clause: clause.with_verb(clause.verb.third),
            "Put the sentence into the present.",
            "Say that it happens every day.",
            "sentence in the present",
            novel=True,
        ),
        # "The designer explored a forest." -> "Who explored a forest?"
        sentences.free(
            "gra_who_question",
            who_question,
            "Ask who did it.",
            "Replace the subject by who and ask.",
            "who question",
        ),
    ]


def _reading_and_rewriting_recipes() -> list[Recipe]:
    reading = _past_sentences("reading")
    rewriting = _past_sentences("rewriting")
    return [
        # The same sentences are understood here, and changed in the tasks before and after.
        # "The designer explored a forest." -> "The designer"
        reading.free(
            "rc_who",
            lambda clause: clause.subject.text,
            "Who did it?",
            "Write the one who acted.",
            "the actor",
        ),
        # "The designer explored a forest." -> "a forest"
        reading.free(
            "rc_object",
            lambda clause: clause.object,
            "What thing was it done to?",
            "Write the thing with its article.",
            "the thing",
        ),
        # "The designer explored a forest." -> "explore"
        _past_sentences("sentence grammar").free(
            "gra_verb_of",
            lambda clause: clause.verb.lemma,
            "Write the base form of the verb in the sentence.",
            "What did someone do? Only the verb, base form.",
            "verb of the sentence",
        ),
        # Novel: in pre-training no object becomes a pronoun, only people do.
        # "The designer explored a forest." -> "The designer explored it."
        rewriting.free(
            "rew_pronoun_object",
            with_it,
            "Replace the thing by it.",
            "Use the pronoun it for the object.",
            "object to pronoun",
            novel=True,
        ),
        # "The designer explored a forest." -> "I heard that the designer explored a forest."
        rewriting.free(
            "rew_reported",
            reported,
            "Report it: begin with I heard that.",
            "Put I heard that before the sentence.",
            "reported sentence",
        ),
        # Articles, time and tense all change: the hardest rewriting of these sentences.
        # "The designer explored a forest." -> "Designer explores forest"
        _past_sentences("summarisation").free(
            "sum_headline",
            headline,
            (
                "Write it as a short headline: who does what, no articles, no "
                "time, present tense, no full stop."
            ),
            "Make a headline of the sentence.",
            "headline",
        ),
    ]


def _tense_recipes() -> list[Recipe]:
    sentences = Group(
        inputs="sentence in any tense",
        subcategory="tense",
        source=SOURCE,
        material=draw_tensed_clause,
        show=lambda sentence: sentence.text,
    )

    def already_past(sentence: TensedClause) -> str | None:
        if not sentence.shows_tense:
            return None
        return "yes" if sentence.tense == "past" else "no"

    return [
        # Verbs whose past looks like the present have no fair answer.
        # "Boris greets the teacher." -> "present"
        sentences.labelled(
            "gra_tense",
            TENSES,
            lambda sentence: sentence.tense if sentence.shows_tense else None,
            "Which tense is it: present, past, future or progressive?",
            "Name the tense: present, past, future, progressive.",
            "tense of the sentence",
        ),
        # "Boris greets the teacher." -> "Boris greeted the teacher."
        sentences.free(
            "gra_any_to_past",
            lambda sentence: sentence.clause.past,
            "Say it in the past tense.",
            "Whatever the tense, use the simple past.",
            "any tense to past",
        ),
        # Novel: in pre-training the same sentences go to the past, and past ones to the future.
        # "Boris greets the teacher." -> "Boris will greet the teacher."
        sentences.free(
            "gra_any_to_future",
            lambda sentence: sentence.clause.with_verb(f"will {sentence.clause.verb.lemma}"),
            "Say it in the future tense.",
            "Whatever the tense, use will.",
            "any tense to future",
            novel=True,
        ),
        # "Boris greets the teacher." -> "the teacher"
        sentences.free(
            "gra_any_object",
            lambda sentence: sentence.clause.object,
            "Write the thing it is about, with its article.",
            "What is the object?",
            "object in any tense",
        ),
        # Novel: the tense of the same sentences is named in pre-training, never judged.
        # "Boris greets the teacher." -> "no"
        sentences.labelled(
            "gra_done_yet",
            YES_NO,
            already_past,
            "Has it already happened? yes or no",
            "Is it over? Answer yes or no.",
            "already past: yes or no",
            novel=True,
        ),
    ]


def _voice_recipes() -> list[Recipe]:
    sentences = Group(
        inputs="sentence in either voice",
        subcategory="voice",
        source=SOURCE,
        material=draw_voiced_clause,
        show=lambda sentence: sentence.text,
    )
    return [
        # "The teacher was greeted by Boris." -> "passive"
        sentences.labelled(
            "gra_voice",
            ("active", "passive"),
            lambda sentence: sentence.voice,
            "Is the sentence active or passive?",
            "Name the voice: active or passive.",
            "voice of the sentence",
        ),
        # "The teacher was greeted by Boris." -> "Boris greeted the teacher."
        sentences.free(
            "gra_switch_voice",
            lambda sentence: sentence.other_text,
            "Change the voice: active to passive, passive to active.",
            "Say the same in the other voice.",
            "switch the voice",
        ),
        # Novel: the voice must be seen, but the answer is a part of the sentence.
        # "The teacher was greeted by Boris." -> "Boris"
        sentences.free(
            "gra_actor",
            lambda sentence: sentence.clause.subject.inside,
            "Who acted, in either voice?",
            "Write who did it, as inside a sentence.",
            "actor in either voice",
            novel=True,
        ),
    ]


def _acceptability_recipes() -> list[Recipe]:
    return [
        # Whether the words can be said is known to whoever has read English.
        # "Boris the teacher greeted" -> "bad"
        Recipe(
            name="gra_word_order",
            category="cls",
            subcategory="acceptability",
            metric="accuracy",
            definitions=(
                "Is the word order good or bad?",
                "Does it sound like English? Say good or bad.",
                "word order: good or bad",
            ),
            draw=draw_word_order,
            inputs="ordered words",
            source=SOURCE,
            options=("good", "bad"),
        ),
        # "Boris greet the teacher." -> "wrong"
        Recipe(
            name="morph_agreement_ok",
            category="cls",
            subcategory="acceptability",
            metric="accuracy",
            definitions=(
                "Is the verb form correct or wrong?",
                "Does the verb agree? Say correct or wrong.",
                "agreement: correct or wrong",
            ),
            draw=draw_agreement,
            inputs="agreement sentence",
            source=SOURCE,
            options=("correct", "wrong"),
        ),
    ]


def _scene_recipes() -> list[Recipe]:
    # Half of the sentences already have the order that is asked for: those are copied.
    scenes = Group(
        inputs="scene",
        subcategory="rewriting",
        source=SOURCE,
        material=draw_scene,
        show=lambda scene: scene.text,
    )
    reading = replace(scenes, subcategory="reading")
    return [
        # "Across the lake, the professor rowed." -> "The professor rowed across the lake."
        scenes.free(
            "rew_front",
            lambda scene: scene.actor_first,
            "Begin with the subject.",
            "Put who it is at the start of the sentence.",
            "subject first",
        ),
        # Novel: in pre-training the same sentences are put the other way round.
        # "Across the lake, the professor rowed." -> "Across the lake, the professor rowed."
        scenes.free(
            "rew_comma",
            lambda scene: scene.adjunct_first,
            "Begin with the circumstance and a comma.",
            "Move the place or time to the front.",
            "circumstance first",
            novel=True,
        ),
        # "Across the lake, the professor rowed." -> "across the lake"
        reading.free(
            "rc_where",
            lambda scene: scene.adjunct,
            "Write only the circumstance.",
            "How, when or where did it happen?",
            "circumstance",
        ),
    ]


def _favour_recipes() -> list[Recipe]:
    # The gender of a name must be known; finding the receiver needs the sentence alone.
    favours = Group(
        inputs="two people",
        subcategory="coreference",
        source=SOURCE,
        material=draw_favour,
        show=lambda favour: favour.text,
        knowledge=True,
    )
    reading = replace(favours, knowledge=False)
    return [
        # "Wendy borrowed a bike. It was for Bella." -> "She borrowed a bike. It was for her."
        favours.free(
            "rew_pronouns",
            lambda favour: favour.text_with_pronouns,
            "Replace both names by pronouns.",
            "Use he, she, him, her for the people.",
            "names to pronouns",
        ),
        # "Wendy borrowed a bike. It was for Bella." -> "Bella"
        reading.free(
            "rc_beneficiary",
            lambda favour: favour.receiver.text,
            "For whom was it done?",
            "Write the name after for.",
            "for whom",
        ),
        # The names themselves tell: no row has a job as its subject.
        # "Wendy borrowed a bike. It was for Bella." -> "she"
        favours.labelled(
            "rel_name_gender",
            ("he", "she"),
            lambda favour: favour.clause.subject.pronoun,
            "Which pronoun stands for the first person: he or she?",
            "The one who acts: he or she?",
            "actor: he or she",
        ),
        # Novel: the pronoun of the first person is trained, that of the second one is not.
        # "Wendy borrowed a bike. It was for Bella." -> "her"
        favours.labelled(
            "rel_second_gender",
            ("him", "her"),
            lambda favour: favour.receiver.object_pronoun,
            "Which pronoun stands for the last person: him or her?",
            "The one it is done for: him or her?",
            "receiver: him or her",
            novel=True,
        ),
    ]
