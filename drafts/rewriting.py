"""Rewriting of short sentences: what somebody says, lost capitals, orders and requests, possession.

Own frames; verbs and their objects from `ipt.tasks.scenes`, forms from lemminflect.
"""

from dataclasses import dataclass
from functools import cache
from random import Random

from ipt.tasks.groups import Group
from ipt.tasks.recipe import Recipe
from ipt.tasks.scenes import Action, Subject, actions, jobs, person, things
from ipt.tasks.words import Noun, Verb, names

SOURCE = "own frames, lemminflect"
OWN = """paint clean wash open close sell carry repair lose find hide fold move pack finish polish empty fill fix feed
hang light drive copy measure sweep sew knit cook bake water start"""
HOUSE = """open close clean wash carry repair fix find pick water move push pull return fold call help feed cut pack
send sign copy hang light fill empty lift measure describe choose polish sweep peel cook bake paint buy read write
draw order sell hide drive taste collect start"""
TAILS = ("", "", "", " again", " after lunch", " before dinner", " at noon")
ORDER_TAILS = ("", "", " now", " today", " first", " again", " after lunch", " for me")
CITIES = """Athens Barcelona Beijing Berlin Bogota Boston Brussels Budapest Cairo Chicago Copenhagen Dallas Delhi
Denver Dublin Florence Geneva Hamburg Hanoi Havana Helsinki Houston Istanbul Jakarta Kyoto Lima Lisbon London Madrid
Manila Melbourne Miami Milan Montreal Munich Nairobi Naples Osaka Oslo Paris Prague Quito Rome Seattle Seoul Stockholm
Sydney Tokyo Toronto Venice Vienna Warsaw Zurich"""
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NAMING = (
    "{a} met {b} in {c}.", "On {d}, {a} will fly to {c}.", "{a} and {b} live in {c}.", "Yesterday {a} saw {b} in {c}.",
    "The train from {c} leaves on {d}, says {a}.", "{a} sent {b} a postcard from {c}.", "{a} moved to {c} last year.",
    "My friend {a} was born in {c}.", "{a} came back from {c} on {d}.", "Does {a} work with {b} in {c}?",
    "We called {a} and {b} from {c} on {d}.", "Is {a} still in {c}?",
)  # fmt: skip
POLITE = (
    "Could you {0}, please?", "Would you please {0}?", "Please be so kind and {0}.", "Would you mind {1}?",
    "I would be glad if you could {0}.", "Sorry, could you {0}?",
)  # fmt: skip
BLUNT = (
    "You have to {0}!", "I want you to {0}.", "Just {0}!", "Hurry up and {0}!", "I told you to {0}!",
    "Stop talking and {0}.",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """Something a person says about what he or she does."""

    speaker: Subject
    verb: Verb
    tense: str
    own: bool
    noun: str
    tail: str

    def told(self, subject: str, possessive: str) -> str:
        """Say it of anybody, in the same tense."""
        be, lemma = {"I": ("am", self.verb.lemma)}.get(subject, ("are", self.verb.lemma))
        if subject == self.speaker.text:
            be, lemma = "is", self.verb.third
        forms = {
            "present": lemma, "past": self.verb.past, "future": f"will {self.verb.lemma}",
            "progressive": f"{be} {self.verb.gerund}",
        }  # fmt: skip
        return f"{subject} {forms[self.tense]} {self.what(possessive)}"

    def what(self, possessive: str) -> str:
        return f"{possessive if self.own else 'the'} {self.noun}{self.tail}."

    @property
    def words(self) -> str:
        return self.told("I", "my")


@cache
def _actions(lemmas: str) -> tuple[Action, ...]:
    wanted = lemmas.split()
    fitting = (action for action in actions() if action.verb.past != action.verb.lemma)
    return tuple(action for action in fitting if action.verb.lemma in wanted)


def line(rng: Random) -> Line:
    own = rng.random() < 0.5
    action = rng.choice(_actions(OWN))
    tense = rng.choice(("present", "past", "future", "progressive"))
    return Line(person(rng), action.verb, tense, own, rng.choice(action.objects), rng.choice(TAILS))


def reported(x: Line) -> tuple[str, ...]:
    """Report a line: one step back in time; the simple past may stay."""
    forms = {
        "present": (x.verb.past,), "past": (f"had {x.verb.participle}", x.verb.past),
        "future": (f"would {x.verb.lemma}",), "progressive": (f"was {x.verb.gerund}",),
    }[x.tense]  # fmt: skip
    ends = [f"{x.speaker.pronoun} {form} {x.what(x.speaker.possessive)}" for form in forms]
    return tuple(f"{x.speaker.text} said {that}{end}" for that in ("that ", "") for end in ends)


def naming(rng: Random) -> tuple[str, str, str]:
    """Draw a sentence with names, its first person and its city."""
    a, b = (name for name, _ in rng.sample(names(), 2))
    city = rng.choice(CITIES.split())
    return rng.choice(NAMING).format(a=a, b=b, c=city, d=rng.choice(DAYS)), a, city


def capitals(text: str) -> str:
    return str(sum(word[0].isupper() for word in text.split()))


def order(rng: Random) -> tuple[str, str]:
    """Draw what is to be done: base form and ing form of the same."""
    action = rng.choice(_actions(HOUSE))
    rest = f" the {rng.choice(action.objects)}{rng.choice(ORDER_TAILS)}"
    return action.verb.lemma + rest, action.verb.gerund + rest


def request(rng: Random) -> tuple[str, str, bool]:
    """Draw a request, the bare order in it, and whether it is polite."""
    (base, gerund), polite = order(rng), rng.random() < 0.5
    return rng.choice(POLITE if polite else BLUNT).format(base, gerund), base, polite


def owned(rng: Random) -> tuple[str, str, Noun]:
    """Draw an owner, the pronoun for it, and a thing."""
    if rng.random() < 0.3:
        return f"the {rng.choice(jobs())}", "their", rng.choice(things())
    owner = person(rng)
    return owner.text, owner.possessive, rng.choice(things())


def genitive(x: tuple[str, str, Noun], plural: bool = False) -> tuple[str, ...]:
    noun = x[2].plural if plural else x[2].singular
    return tuple(f"{x[0]}{end} {noun}" for end in (("'s", "'") if x[0].endswith("s") else ("'s",)))


def upper(text: str) -> str:
    return text[0].upper() + text[1:]


def recipes() -> list[Recipe]:
    return [*_lines(), *_capitals(), *_orders(), *_owners()]


def _lines() -> list[Recipe]:
    said = Group("spoken line", "rewriting", SOURCE, line, lambda x: f"{x.speaker.text}: {x.words}")
    return [
        said.free(
            "rew_third_person", lambda x: x.told(x.speaker.text, x.speaker.possessive),
            "Say it about the speaker, by name.", "Rewrite in the third person with the speaker's name.",
            "Replace I by the name and my by his or her.", "Tell it as a narrator would, same tense.",
            "Turn the line from first to third person.",
        ),
        said.free(
            "rew_reported_speech", reported,
            "Report the line: somebody said that ...", "Turn direct speech into reported speech, one tense back.",
            "Write it as indirect speech with said that.", "What did the speaker say? Use said that.",
            "Retell the line later, with said and a past form.",
        ),
        said.free(
            "rew_second_person", lambda x: x.told("You", "your"),
            "Say it to the speaker with you.", "Replace I by you and my by your.",
            "Rewrite the line in the second person, without the name.", "Address the speaker: you instead of I.",
            "Turn the line from first to second person.",
        ),
        said.free(
            "rew_we", lambda x: x.told("We", "our"),
            "Say it for a whole group with we.", "Replace I by we and my by our.",
            "Rewrite the line in the first person plural, without the name.",
            "Let several people speak: we instead of I.",
            "Turn the line from singular to plural speakers.", novel=True,
        ),
        said.free(
            "rew_quote", lambda x: f'{x.speaker.text} said, "{x.words}"',
            "Write it as a quotation with said.", "Put the words in quotation marks after the name and said.",
            "Quote the speaker word for word.", "Turn the script line into direct speech.",
            "Use said, a comma and quotation marks.",
        ),
        said.labelled(
            "gra_line_tense", ("present", "past", "future", "progressive"), lambda x: x.tense,
            "Which tense does the speaker use: present, past, future, progressive?",
            "Name the tense of the line: past, present, progressive or future.",
            "When does it happen: past, present, future, or going on now (progressive)?",
            "Tell the tense of the spoken words.", "Classify the verb of the line by tense.",
        ),
        said.labelled(
            "rc_own_thing", ("own", "other"), lambda x: "own" if x.own else "other",
            "Is the thing the speaker's own? Answer own or other.", "Say own after my, other after the.",
            "Whose thing is it: own or other?", "Does the speaker say that it belongs to him or her?",
            "Decide whether the thing is the speaker's.",
        ),
    ]  # fmt: skip


def _capitals() -> list[Recipe]:
    lost = Group("sentence without capitals", "rewriting", "own frames", naming, lambda x: x[0].lower())
    return [
        lost.free(
            "rew_recase", lambda x: x[0],
            "Put the capital letters back.", "Write the sentence with correct capitals.",
            "Capitalize names, days and the first word.", "Repair upper and lower case.",
            "Somebody forgot all capital letters: correct that.",
        ),
        lost.free(
            "ext_lower_person", lambda x: x[1],
            "Which person is named first? Use a capital.", "Write the first personal name correctly.",
            "Find the first person and capitalize the name.", "Who is mentioned first in the sentence?",
            "Extract the first name of a person.",
        ),
        lost.free(
            "ext_lower_city", lambda x: x[2],
            "Which city is named? Use a capital.", "Write the name of the city correctly.",
            "Find the place and capitalize its name.", "Where? Answer with the city only.",
            "Extract the city from the sentence.", novel=True,
        ),
        lost.labelled(
            "cnt_capitals", ("2", "3", "4"), lambda x: capitals(x[0]) if capitals(x[0]) in "234" else None,
            "How many words need a capital letter: 2, 3 or 4?", "Count the words to capitalize: 2, 3, 4.",
            "Count names, days and the first word: 2, 3 or 4.", "How many capitals are missing?",
            "Give the number of words that begin with a capital when written correctly.",
        ),
    ]  # fmt: skip


def _orders() -> list[Recipe]:
    bare = Group("order", "rewriting", SOURCE, order, lambda x: f"{upper(x[0])}.")
    asked = Group("request", "rewriting", SOURCE, request, lambda x: x[0])
    return [
        bare.free(
            "rew_polite", lambda x: (f"Could you {x[0]}, please?", f"Could you please {x[0]}?"),
            "Ask politely with could you and please.", "Turn the order into a polite question: could you ..., please?",
            "Make it friendly: begin with could you, end with please.", "Say it as a kind request.",
            "Rewrite the command as a polite request with could.",
        ),
        bare.free(
            "rew_dont", lambda x: (f"Don't {x[0]}.", f"Do not {x[0]}."),
            "Forbid the action with don't.",
            "Turn the order into its negative.", "Say that it must not be done: don't ...",
            "Write the imperative in the negative.",
            "Tell the person to leave it: begin with don't.",
        ),
        bare.free(
            "rew_lets", lambda x: (f"Let's {x[0]}.", f"Let us {x[0]}."),
            "Suggest doing it together with let's.", "Turn the order into a suggestion for us all.",
            "Begin with let's instead of an order.", "Propose that we do it.", "Make it a common plan: let's ...",
        ),
        bare.free(
            "rew_told", lambda x: f"They told me to {x[0]}.",
            "Report the order: they told me to ...", "Say what they told you to do, in the first person.",
            "Turn the command into reported speech with they told me.", "Retell it: they told me to do this.",
            "Put they told me to before the order.",
        ),
        bare.free(
            "rew_must", lambda x: f"You must {x[0]}.",
            "Say it with you must.", "Turn the order into a statement of duty: you must ...",
            "Express the command by must.",
            "Rewrite it as an obligation for you.", "Begin the sentence with you must.", novel=True,
        ),
        asked.free(
            "rew_blunt", lambda x: f"{upper(x[1])}.",
            "Say it as a bare order.", "Reduce the request to the imperative.",
            "What is to be done? Write the plain command.", "Drop all wrapping and give the order only.",
            "Rewrite the request as a simple imperative sentence.",
        ),
        asked.labelled(
            "rew_is_polite", ("polite", "blunt"), lambda x: "polite" if x[2] else "blunt",
            "Is the request polite or blunt?", "Judge the tone: polite or blunt.",
            "Say polite if it is kind, blunt if it is rude.", "How does the speaker ask?",
            "Would you like to be asked like this: polite, or not: blunt?",
        ),
    ]  # fmt: skip


def _owners() -> list[Recipe]:
    phrase = Group("owner after of", "rewriting", "own lists", owned, lambda x: f"the {x[2].singular} of {x[0]}")
    short = Group("owner first", "rewriting", "own lists", owned, lambda x: genitive(x)[0])
    return [
        phrase.free(
            "rew_possessive", genitive,
            "Use the possessive with an apostrophe.", "Put the owner first with 's.", "Say it without the word of.",
            "Rewrite the phrase with a genitive.", "Whose is it? Begin with the owner and 's.",
        ),
        short.free(
            "rew_of", lambda x: f"the {x[2].singular} of {x[0]}",
            "Write it with of instead of the apostrophe.", "Put the thing first and the owner after of.",
            "Unfold the possessive: the thing of somebody.", "Rewrite the genitive as a phrase with of.",
            "Say it without an apostrophe.",
        ),
        short.free(
            "rew_owner", lambda x: x[0],
            "Who is the owner here?", "Write only the owner, without 's.", "To whom does the thing belong?",
            "Name the one who has it.", "Extract the owner from the phrase.",
        ),
        short.free(
            "rew_owned_plural", lambda x: genitive(x, True),
            "Let the owner have several: plural thing.", "Put the thing into the plural, keep the owner.",
            "Say it of more than one thing.", "Make the owned thing plural.",
            "Rewrite the phrase for two or more such things.",
        ),
        short.free(
            "rew_owner_thing", lambda x: f"the {x[2].singular}",
            "Leave out the owner: only the thing, with the.", "Replace the owner by the article the.",
            "What is owned? Answer with an article.", "Write the thing with the, nothing else.",
            "Drop the possessive and use the instead.", novel=True,
        ),
    ]  # fmt: skip
