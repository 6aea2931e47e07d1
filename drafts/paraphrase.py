"""Paraphrase over passive sentences and over pairs of an active and a passive one. Own frames (`ipt.tasks.scenes`)."""

from dataclasses import dataclass
from functools import cache
from random import Random

from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.scenes import Clause, actions, clause, subject

SOURCE = "own frames, lemminflect"
HELPERS = {"past": "was", "future": "will be", "perfect": "has been"}
CHANGES = ("nothing", "person", "thing", "action")


@dataclass(frozen=True)
class Passive:
    """Who does what to what, in one of three tenses, to be said in either voice."""

    clause: Clause
    tense: str

    @property
    def thing(self) -> str:
        return self.clause.object[0].upper() + self.clause.object[1:]

    @property
    def actor(self) -> str:
        return self.clause.subject.inside

    @property
    def participle(self) -> str:
        return self.clause.verb.participle

    @property
    def passive(self) -> str:
        return f"{self.thing} {HELPERS[self.tense]} {self.participle} by {self.actor}."

    @property
    def active(self) -> str:
        verb = self.clause.verb
        forms = {"past": verb.past, "future": f"will {verb.lemma}", "perfect": f"has {verb.participle}"}
        return self.clause.say(forms[self.tense])

    @property
    def helper(self) -> tuple[str, str]:
        """The first helping verb, and the second with a space before it, or nothing."""
        first, _, second = HELPERS[self.tense].partition(" ")
        return first, second and f" {second}"


def passive(rng: Random) -> Passive:
    return Passive(clause(rng), rng.choice(tuple(HELPERS)))


def passive_question(x: Passive) -> str:
    first, second = x.helper
    return f"{first.capitalize()} {x.clause.object}{second} {x.participle} by {x.actor}?"


def passive_denied(x: Passive) -> tuple[str, ...]:
    first, second = x.helper
    short = "won't" if first == "will" else first + "n't"
    return tuple(f"{x.thing} {no}{second} {x.participle} by {x.actor}." for no in (f"{first} not", short))


def active_question(x: Passive) -> str:
    first = {"past": "Did", "future": "Will", "perfect": "Has"}[x.tense]
    verb = x.participle if x.tense == "perfect" else x.clause.verb.lemma
    return f"{first} {x.actor} {verb} {x.clause.object}?"


@cache
def _uses() -> dict[str, tuple[int, ...]]:
    """Noun to the places of the actions that fit it."""
    table: dict[str, tuple[int, ...]] = {}
    for place, action in enumerate(actions()):
        for noun in action.objects:
            table[noun] = (*table.get(noun, ()), place)
    return table


def changed(rng: Random, scene: Clause, change: str) -> Clause | None:
    """Return the clause with one part replaced by another that fits; None where there is none."""
    determiner, noun = scene.object.split()
    if change == "nothing":
        return scene
    if change == "person":
        other = subject(rng)
        return None if other.text == scene.subject.text else Clause(other, scene.verb, scene.object)
    if change == "thing":
        action = next(action for action in actions() if action.verb == scene.verb and noun in action.objects)
        new = rng.choice(action.objects)
        return None if new == noun or determiner != "the" else Clause(scene.subject, scene.verb, f"the {new}")
    verb = actions()[rng.choice(_uses()[noun])].verb
    return None if verb == scene.verb else Clause(scene.subject, verb, scene.object)


def pair(rng: Random, change: str) -> tuple[str, str]:
    """Draw an active sentence and a passive one that differs from it in one way, in either order; and the way."""
    other = None
    while other is None:
        scene = clause(rng)
        other = changed(rng, scene, change)
    texts = [Passive(scene, "past").active, Passive(other, "past").passive]
    rng.shuffle(texts)
    return " | ".join(texts), change


def any_change(rng: Random) -> tuple[str, str]:
    return pair(rng, rng.choice(CHANGES))


def half_changed(rng: Random) -> tuple[str, str]:
    return pair(rng, rng.choice(CHANGES[1:]) if rng.random() < 0.5 else CHANGES[0])


def recipes() -> list[Recipe]:
    return [*_passives(), *_pairs()]


def _passives() -> list[Recipe]:
    shown = Group("passive sentence", "paraphrase", SOURCE, passive, lambda x: x.passive)
    return [
        shown.free(
            "par_active_from_passive", lambda x: x.active,
            "Put the sentence into the active voice.", "Begin with the one who acts.",
            "Turn the passive into the active, same tense.", "Say who did it first, then what.",
            "Rewrite it so that the doer is the subject.",
        ),
        shown.free(
            "par_passive_question", passive_question,
            "Turn the statement into a question, still passive.", "Ask whether it is so, keep the voice.",
            "Move the helping verb to the front and ask.", "Make a yes-no question of the passive sentence.",
            "Ask it with the same words in another order.",
        ),
        shown.free(
            "par_agentless", lambda x: f"{x.passive.partition(' by ')[0]}.",
            "Leave out who did it.", "Say it without naming the doer.", "Drop the part with by.",
            "Keep secret who acts in the sentence.", "Shorten the passive: no agent.",
        ),
        shown.free(
            "par_passive_denied", passive_denied,
            "Deny the sentence with not, still passive.", "Put not after the first helping verb.",
            "Say that it is not so, keep the voice.", "Negate the sentence, still passive.",
            "Write the opposite claim with not.",
        ),
        shown.free(
            "par_passive_actor", lambda x: x.actor,
            "Who acts? Copy what follows by.", "Write only the doer, as inside the sentence.",
            "By whom? Give the name or job.", "Name the agent of the passive.", "Extract the one who does it.",
        ),
        shown.free(
            "par_active_question", active_question,
            "Ask the same in the active voice.", "Make an active yes-no question of it.",
            "Turn the passive statement into a question about what somebody does.",
            "Ask whether the doer did it, in the active.", "Change voice and ask: did, will or has somebody ...?",
            novel=True,
        ),
        shown.labelled(
            "gra_passive_tense", tuple(HELPERS), lambda x: x.tense,
            "Which tense has the passive: past, future or perfect?", "Name the tense: past, future, perfect.",
            "Choose past for was, future for will be, perfect for has been.", "When is it done, going by the verb?",
            "Classify the passive by its tense.",
        ),
    ]  # fmt: skip


def _pairs() -> list[Recipe]:
    mixed = Group("pair with a change", "paraphrase", SOURCE, any_change, lambda x: x[0])
    halves = Group("pair in two voices", "paraphrase", SOURCE, half_changed, lambda x: x[0])
    return [
        mixed.labelled(
            "par_what_changed", CHANGES, lambda x: x[1],
            "What differs besides the voice: nothing, person, thing or action?",
            "Compare the sentences: person, thing, action or nothing changed?",
            "Say which part was replaced: action, thing, person, or nothing.",
            "Find the difference in meaning between the two.", "Which piece of the first is not in the second?",
        ),
        halves.labelled(
            "par_voice_pair", ("equivalent", "different"), lambda x: "equivalent" if x[1] == "nothing" else "different",
            "Do both sentences mean the same? Answer equivalent or different.", "Are the two equivalent or different?",
            "Judge the pair: equivalent in meaning, or different.", "Does the second say what the first says?",
            "Is the second a paraphrase of the first?",
        ),
    ]  # fmt: skip
