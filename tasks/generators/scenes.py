"""Sensible everyday sentences: actions with objects that fit them, activities with places, jobs, places and things.

Curated by hand; the inflected forms come from `ipt.tasks.generators.words`.
"""

from dataclasses import dataclass, replace
from functools import cache
from random import Random

from ipt.tasks.generators.words import Noun, Verb, inflections, first_names, verb

ACTIONS = """paint: fence door wall gate picture boat | clean: window kitchen car table floor boat | wash: plate shirt dog car window cup
open: box door letter window bottle bag | close: door window box gate shop book | buy: lamp ticket bike chair camera hat
sell: house car guitar painting bike boat | carry: suitcase box basket chair ladder bag | repair: roof clock radio bike fence engine
read: book letter newspaper story poem map | write: letter poem story report song note | cook: meal soup dinner stew egg fish
bake: cake pie loaf cookie pizza muffin | fix: chair lamp phone sink door clock | watch: film match show game parade bird
visit: museum castle village market farm zoo | find: key wallet coin ring map glove | lose: key ticket wallet ring glove phone
draw: horse tree house map flower bridge | build: wall bridge shed boat tower table | plant: tree rose garden bush seed tulip
pick: apple flower pear lemon rose berry | water: garden plant lawn rose tree field | move: table sofa piano desk shelf bed
push: cart door button trolley car wagon | pull: rope cart wagon sledge lever drawer | drop: plate glass cup phone spoon tray
break: window plate glass cup vase mirror | hide: present letter key coin map cake | borrow: book pen ladder bike tent tool
return: book bike ladder shirt key coat | wear: hat coat scarf ring mask shirt | fold: shirt blanket towel map letter sheet
cut: rope cake bread paper hedge melon | kick: ball stone bucket can door box | throw: ball stone stick coin rope pillow
catch: ball fish bus train thief butterfly | feed: cat dog horse duck rabbit baby | ride: horse bike bus camel pony train
drive: car bus truck van taxi tractor | climb: hill tree ladder wall tower mountain | cross: river street bridge field road desert
follow: path road river dog map guide | call: doctor waiter taxi friend plumber teacher | invite: neighbor friend singer guest teacher doctor
help: neighbor teacher farmer tourist child friend | greet: guest neighbor teacher visitor driver waiter | teach: class song game child lesson dance
sing: song duet tune carol hymn lullaby | play: game song flute piano match drum | order: pizza soup salad coffee book taxi
taste: soup cake sauce pie cheese melon | drink: coffee juice tea water milk cocoa | eat: apple sandwich pie cake carrot pear
pack: suitcase bag box lunch tent trunk | send: letter parcel postcard card message gift | receive: letter parcel prize gift card medal
sign: letter card form contract paper report | copy: picture letter page map recipe file | hang: picture coat lamp curtain mirror flag
light: candle lamp fire stove lantern torch | fill: bottle bucket glass tank basket bowl | empty: bucket box drawer bag bottle basket
lift: box suitcase chair stone lid table | measure: room table window wall garden rope | photograph: bird castle bridge flower horse lake
describe: house picture dream town journey painting | choose: hat cake book color song gift | collect: stamp coin shell stone postcard leaf
admire: painting garden view statue castle dress | discover: cave island path planet secret lake | explore: cave island forest city castle valley
guard: gate castle door bridge treasure camp | polish: shoe table mirror ring spoon floor | sweep: floor path kitchen yard street hall
win: race prize game medal match trophy | finish: race book puzzle painting meal report | start: car engine game fire race song
sew: dress shirt curtain button quilt pillow | knit: scarf sweater sock hat blanket glove | peel: orange potato apple banana carrot onion""".replace(
    "\n", " | "
)

ACTIVITIES = """sleep: on the sofa, in the tent, all morning | run: in the park, along the river, to the bus | swim: in the lake, in the sea, after lunch
walk: to the station, along the beach, through the forest | dance: at the party, in the hall, all night | sing: in the choir, in the bath, at the party
laugh: at the joke, with a friend, for a long time | wait: at the bus stop, for the train, in the rain | work: in the garden, at the bank, until six
sit: on the bench, near the window, under the tree | stand: at the door, in the line, near the gate | travel: to the coast, by train, with a friend
talk: to a neighbor, about the weather, on the phone | smile: at the baby, in the photo, at the guest | shout: across the street, from the window, at the dog
jump: over the fence, into the pool, on the bed | play: in the yard, after school, with the dog | rest: in the shade, after the race, on the bench
fall: on the ice, from the ladder, into the river | sail: around the island, across the bay, at dawn | camp: near the lake, in the forest, for a week
study: in the library, for the test, until midnight | shop: at the market, in the city, on Friday | ski: down the hill, in the mountains, every winter
arrive: at noon, by bus, before dinner | leave: after dinner, at eight, by taxi | listen: to the radio, to the teacher, in silence
look: at the stars, for the keys, out of the window | live: in the village, near the sea, on a farm | stay: at the hotel, at home, for a week
practise: after school, in the garage, every day | relax: on the beach, after work, at home | hurry: to the office, down the stairs, to the train
kneel: on the floor, near the fire, beside the bed | hike: up the mountain, along the coast, in the valley | row: across the lake, down the river, against the wind
fish: in the river, from the bridge, at dawn | paint: in the garden, after lunch, by the sea | cook: for the guests, on Sunday, in the kitchen
wander: through the town, in the hills, along the shore""".replace("\n", " | ")

JOBS = """nurse teacher farmer baker driver waiter singer painter doctor lawyer gardener plumber pilot sailor dentist writer tailor barber butcher
carpenter librarian mechanic engineer actor banker cleaner coach cook dancer designer editor electrician guide hunter judge manager musician
photographer poet porter printer professor reporter scientist secretary shepherd soldier student surgeon trainer translator usher vet weaver
builder cashier chemist clerk florist grocer jeweler locksmith miner optician""".split()

PLACES = """library kitchen garden station market museum school park office beach castle forest harbor hospital hotel bakery bank barn cafe cellar
cinema farm garage gym hall island attic bridge bus shop playground restaurant river square stadium street tower theater tent town valley
village yard zoo airport balcony church-yard classroom courtyard lake factory field""".replace("church-yard", "chapel").split()

THINGS = """apple pear book pencil cup plate spoon chair lamp coin stamp shell stone ticket ball kite doll puzzle candle basket bottle box button
card carrot clock cookie egg envelope feather flower fork glove hat key ladder leaf lemon letter magazine map marble medal mirror muffin
notebook onion orange painting pancake pen photo pillow potato present ring rope rose sandwich scarf sock sticker sweater toy tomato towel
tulip umbrella vase wallet watch balloon banana bean bell belt blanket block bowl brush bucket cake camera cap crayon cushion drum fan flag
guitar jar kettle knife lantern needle net paddle peach pin pipe plum poster purse radio sack seed shirt shoe shovel ticket trophy""".split()

PERSONS = "thief baby guide doctor waiter friend plumber teacher neighbor singer guest farmer tourist child visitor driver class".split()
TIMES = """after lunch|before dinner|in the morning|in the evening|at noon|on Monday|on Tuesday|on Wednesday|on Thursday|on Friday|
with a friend|after school|before work""".replace("\n", "").split("|")

CITIES = """Paris Rome Berlin Madrid Vienna Oslo Cairo Lima Tokyo Dublin Prague Athens Boston Chicago Denver Dallas Sydney Lisbon Warsaw
Helsinki Geneva Milan Naples Munich Lyon Porto Toronto Delhi Seoul Havana""".split()


@dataclass(frozen=True)
class Action:
    verb: Verb
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Activity:
    verb: Verb
    adjuncts: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """Who does it: a name with he or she, or "The nurse" with they."""

    text: str
    pronoun: str
    object_pronoun: str
    possessive: str

    @property
    def inside(self) -> str:
        """The subject where it does not begin the sentence."""
        return self.text[0].lower() + self.text[1:] if self.text.startswith("The ") else self.text


@dataclass(frozen=True)
class Clause:
    """Who does what to which thing, and maybe when; `fronted` puts the time at the beginning."""

    subject: Subject
    verb: Verb
    object: str
    when: str = ""
    fronted: bool = False

    def say(self, form: str) -> str:
        """The sentence with this form of the verb."""
        return self.tell(self.subject.inside, f"{form} {self.object}")

    def tell(self, start: str, rest: str) -> str:
        """A sentence in the frame of this one; `start` is written as inside a sentence."""
        if self.when and self.fronted:
            return f"{upper(self.when)}, {start} {rest}."
        return f"{upper(start)} {rest}{self.tail}."

    @property
    def is_done_to_a_person(self) -> bool:
        return self.object.split()[-1] in PERSONS

    @property
    def tail(self) -> str:
        """The time as it stands at the end of a sentence, with a space before it."""
        return f" {self.when}" if self.when else ""


def upper(text: str) -> str:
    return text[0].upper() + text[1:]


@cache
def actions() -> tuple[Action, ...]:
    pairs = [entry.split(":") for entry in ACTIONS.split("|") if entry.strip()]
    return tuple(Action(verb(name.strip()), tuple(objects.split())) for name, objects in pairs)


@cache
def activities() -> tuple[Activity, ...]:
    pairs = [entry.split(":") for entry in ACTIVITIES.split("|") if entry.strip()]
    return tuple(Activity(verb(n.strip()), tuple(x.strip() for x in a.split(","))) for n, a in pairs)


def jobs() -> tuple[str, ...]:
    return tuple(JOBS)


def places() -> tuple[str, ...]:
    return tuple(PLACES)


@cache
def things() -> tuple[Noun, ...]:
    return tuple(Noun(t, inflections()[t, "noun"][0]) for t in sorted(set(THINGS)))


def person(rng: Random) -> Subject:
    """Draw a named subject."""
    name, gender = rng.choice(first_names())
    return Subject(name, *(("she", "her", "her") if gender == "f" else ("he", "him", "his")))


def subject(rng: Random) -> Subject:
    """Draw a name (two in three) or a job."""
    if rng.random() < 2 / 3:
        return person(rng)
    return Subject(f"The {rng.choice(JOBS)}", "they", "them", "their")


def clause(rng: Random) -> Clause:
    """Draw who does what: some hundred thousand combinations, all of them sensible."""
    action = rng.choice(actions())
    determiner = rng.choice(("the", "the", "a"))
    noun = rng.choice(action.objects)
    text = ("an " if determiner == "a" and noun[0] in "aeiou" else determiner + " ") + noun
    if determiner == "a" and noun in (
        "bread",
        "soup",
        "stew",
        "cheese",
        "treasure",
        "paper",
        "coffee",
        "juice",
        "tea",
        "water",
        "milk",
        "cocoa",
        "dinner",
        "lunch",
    ):
        text = "the " + noun
    return Clause(subject(rng), action.verb, text)


def framed(rng: Random) -> Clause:
    """Draw a clause in one of four frames: bare, with a time at its end or its beginning, or with the origin of who does it."""
    plain, frame = clause(rng), rng.randrange(4)
    if frame == 1:
        return replace(plain, subject=replace(plain.subject, text=f"{plain.subject.text} from {rng.choice(CITIES)}"))
    return replace(plain, when=rng.choice(TIMES) if frame > 1 else "", fronted=frame == 3)
