"""Sentences about everyday actions (`ipt.tasks.generators.scenes`): tense, voice, negation, questions, pronouns over the same sentences."""

from dataclasses import replace
from random import Random

from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.scenes import CITIES, TIMES, Clause, Subject, activities, clause, framed, person, subject, upper

SOURCE = "own frames, lemminflect"
Tensed = tuple[Clause, str]
Scene = tuple[str, str, str, bool]  # subject as inside a sentence, verb, adjunct, adjunct in front
Favour = tuple[Clause, Subject, bool]  # what was done, for whom, told in two sentences
TENSES = ("present", "past", "future", "progressive")


def past_clause(rng: Random) -> Clause:
    return framed(rng)


def said_past(c: Clause) -> str:
    return c.say(c.verb.past)


def tensed(rng: Random) -> Tensed:
    return framed(rng), rng.choice(TENSES)


def say(x: Tensed) -> str:
    c, tense = x
    forms = {"present": c.verb.third, "past": c.verb.past, "future": f"will {c.verb.lemma}", "progressive": f"is {c.verb.gerund}"}
    return c.say(forms[tense])


def passive(c: Clause) -> str:
    return c.tell(c.object, f"was {c.verb.participle} by {c.subject.inside}")


def headline(c: Clause) -> str:
    return f"{upper(c.subject.text.removeprefix('The '))} {c.verb.third} {c.object.split()[-1]}"


def either_voice(rng: Random) -> tuple[Clause, bool]:
    return framed(rng), rng.random() < 0.5


def scene(rng: Random) -> Scene:
    """Draw an intransitive sentence; the one who acts may come from a city."""
    activity, who = rng.choice(activities()), subject(rng).inside
    if rng.random() < 0.5:
        who = f"{who} from {rng.choice(CITIES)}"
    return who, activity.verb.past, rng.choice(activity.adjuncts), rng.random() < 0.5


def tell(x: Scene) -> str:
    who, verb, adjunct, fronted = x
    return f"{upper(adjunct)}, {who} {verb}." if fronted else f"{upper(who)} {verb} {adjunct}."


def word_order(rng: Random) -> Row:
    c = framed(rng)
    words = said_past(c)[:-1].split()
    if rng.random() < 0.5:
        return Row(" ".join(words), ("good",))
    verb = next(i for i, w in enumerate(words) if w == c.verb.past)
    broken = rng.choice((words[:verb] + words[verb + 1 :] + [words[verb]], words[:-2] + [words[-1], words[-2]]))
    return Row(" ".join(broken), ("bad",))


def agreement(rng: Random) -> Row:
    c = framed(rng)
    right = rng.random() < 0.5
    return Row(c.say(c.verb.third if right else c.verb.lemma), ("correct" if right else "wrong",))


def two_people(rng: Random) -> Favour | None:
    """Draw what a named person did for another one, in one of four frames."""
    c, other, frame = clause(rng), person(rng), rng.randrange(4)
    if c.subject.text.startswith("The ") or other.text == c.subject.text or c.is_done_to_a_person:
        return None
    when = rng.choice(TIMES) if frame > 1 else ""
    return replace(c, when=when, fronted=frame == 3), other, frame == 1


def favour(c: Clause, actor: str, receiver: str, apart: bool) -> str:
    if apart:
        return f"{c.tell(actor, f'{c.verb.past} {c.object}')} It was for {receiver}."
    return c.tell(actor, f"{c.verb.past} {c.object} for {receiver}")


def recipes() -> list[Recipe]:
    return [*_past(), *_tenses(), *_scenes(), *_people()]


def _past() -> list[Recipe]:
    def make(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False, kind: str = "sentence grammar") -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(
            name, category, kind, metric, definitions, over(past_clause, said_past, answer), "past sentence", SOURCE, options, novel=novel
        )

    return [
        make("morph_negate_sentence", ("Negate the sentence with did not.", "Say that it did not happen.", "negated sentence"), lambda c: c.say(f"did not {c.verb.lemma}")),
        make("morph_question_form", ("Turn the sentence into a question with did.", "Ask whether it happened.", "yes-no question"), lambda c: f"Did {c.subject.inside} {c.verb.lemma} {c.object}{c.tail}?"),
        make("morph_future", ("Say that it will happen.", "Put the sentence into the future.", "sentence in the future"), lambda c: c.say(f"will {c.verb.lemma}")),
        make("morph_passive", ("Put the sentence into the passive.", "Begin with the thing: it was done by someone.", "passive sentence"), passive),
        make("gra_to_present", ("Put the sentence into the present.", "Say that it happens every day.", "sentence in the present"), lambda c: c.say(c.verb.third), novel=True),
        make("gra_who_question", ("Ask who did it.", "Replace the subject by who and ask.", "who question"), lambda c: f"Who {c.verb.past} {c.object}{c.tail}?"),
        make("rc_who", ("Who did it?", "Write the one who acted.", "the actor"), lambda c: c.subject.text, kind="reading"),
        make("rc_object", ("What thing was it done to?", "Write the thing with its article.", "the thing"), lambda c: c.object, kind="reading"),
        make("gra_verb_of", ("Write the base form of the verb in the sentence.", "What did someone do? Only the verb, base form.", "verb of the sentence"), lambda c: c.verb.lemma),
        make("rew_pronoun_object", ("Replace the thing by it.", "Use the pronoun it for the object.", "object to pronoun"), lambda c: None if c.is_done_to_a_person else c.tell(c.subject.inside, f"{c.verb.past} it"), novel=True, kind="rewriting"),
        make("rew_reported", ("Report it: begin with I heard that.", "Put I heard that before the sentence.", "reported sentence"), lambda c: f"I heard that {c.subject.inside} {c.verb.past} {c.object}{c.tail}.", kind="rewriting"),
        make("sum_headline", ("Write it as a short headline: who does what, no articles, no time, present tense, no full stop.", "Make a headline of the sentence.", "headline"), headline, kind="summarisation"),
    ]  # fmt: skip


def _tenses() -> list[Recipe]:
    def make(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(
            name, category, "tense", metric, definitions, over(tensed, say, answer), "sentence in any tense", SOURCE, options, novel=novel
        )

    voice = over(either_voice, lambda x: said_past(x[0]) if x[1] else passive(x[0]), lambda x: "active" if x[1] else "passive")
    other = over(either_voice, lambda x: said_past(x[0]) if x[1] else passive(x[0]), lambda x: passive(x[0]) if x[1] else said_past(x[0]))
    actor = over(either_voice, lambda x: said_past(x[0]) if x[1] else passive(x[0]), lambda x: x[0].subject.inside)
    sure = lambda x: x[0].verb.past not in (x[0].verb.lemma, x[0].verb.third)  # noqa: E731
    return [
        make("gra_tense", ("Which tense is it: present, past, future or progressive?", "Name the tense: present, past, future, progressive.", "tense of the sentence"), lambda x: x[1] if sure(x) else None, TENSES),
        make("gra_any_to_past", ("Say it in the past tense.", "Whatever the tense, use the simple past.", "any tense to past"), lambda x: said_past(x[0])),
        make("gra_any_to_future", ("Say it in the future tense.", "Whatever the tense, use will.", "any tense to future"), lambda x: x[0].say(f"will {x[0].verb.lemma}"), novel=True),
        make("gra_any_object", ("Write the thing it is about, with its article.", "What is the object?", "object in any tense"), lambda x: x[0].object),
        make("gra_done_yet", ("Has it already happened? yes or no", "Is it over? Answer yes or no.", "already past: yes or no"), lambda x: ("yes" if x[1] == "past" else "no") if sure(x) else None, ("yes", "no"), novel=True),
        Recipe("gra_voice", "cls", "voice", "accuracy", ("Is the sentence active or passive?", "Name the voice: active or passive.", "voice of the sentence"), voice, "sentence in either voice", SOURCE, ("active", "passive")),
        Recipe("gra_switch_voice", "non-cls", "voice", "exact-match", ("Change the voice: active to passive, passive to active.", "Say the same in the other voice.", "switch the voice"), other, "sentence in either voice", SOURCE),
        Recipe("gra_actor", "non-cls", "voice", "exact-match", ("Who acted, in either voice?", "Write who did it, as inside a sentence.", "actor in either voice"), actor, "sentence in either voice", SOURCE, novel=True),
        Recipe("gra_word_order", "cls", "acceptability", "accuracy", ("Is the word order good or bad?", "Does it sound like English? Say good or bad.", "word order: good or bad"), word_order, "ordered words", SOURCE, ("good", "bad")),
        Recipe("morph_agreement_ok", "cls", "acceptability", "accuracy", ("Is the verb form correct or wrong?", "Does the verb agree? Say correct or wrong.", "agreement: correct or wrong"), agreement, "agreement sentence", SOURCE, ("correct", "wrong")),
    ]  # fmt: skip


def _scenes() -> list[Recipe]:
    def make(name: str, kind: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(name, category, kind, metric, definitions, over(scene, tell, answer), "scene", SOURCE, options, novel=novel)

    return [
        make("rew_front", "rewriting", ("Begin with the subject.", "Put who it is at the start of the sentence.", "subject first"), lambda x: tell((*x[:3], False))),
        make("rew_comma", "rewriting", ("Begin with the circumstance and a comma.", "Move the place or time to the front.", "circumstance first"), lambda x: tell((*x[:3], True)), novel=True),
        make("rc_where", "reading", ("Write only the circumstance.", "How, when or where did it happen?", "circumstance"), lambda x: x[2]),
    ]  # fmt: skip


def _people() -> list[Recipe]:
    def make(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False, knowledge: bool = True) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        draw = over(two_people, lambda x: favour(x[0], x[0].subject.inside, x[1].text, x[2]), answer)
        return Recipe(
            name, category, "coreference", metric, definitions, draw, "two people", SOURCE, options, knowledge=knowledge, novel=novel
        )

    return [
        make("rew_pronouns", ("Replace both names by pronouns.", "Use he, she, him, her for the people.", "names to pronouns"), lambda x: favour(x[0], x[0].subject.pronoun, x[1].object_pronoun, x[2])),
        make("rc_beneficiary", ("For whom was it done?", "Write the name after for.", "for whom"), lambda x: x[1].text, knowledge=False),
        make("rel_name_gender", ("Which pronoun stands for the first person: he or she?", "The one who acts: he or she?", "actor: he or she"), lambda x: x[0].subject.pronoun, ("he", "she")),
        make("rel_second_gender", ("Which pronoun stands for the last person: him or her?", "The one it is done for: him or her?", "receiver: him or her"), lambda x: x[1].object_pronoun, ("him", "her"), novel=True),
    ]  # fmt: skip
