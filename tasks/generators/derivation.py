"""Derivation: words made from words (doers, opposites, qualities, compounds).

Pairs by hand, chosen among those that lemminflect and wordninja know; compounds of a building and what belongs to it.
"""

from functools import cache
from random import Random

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import Noun, inflections

SOURCE = "own lists, lemminflect, wordninja"
Derived = tuple[str, str, str]  # base, derived word, kind

PEOPLE = """attack:er begin:ner breed:er broadcast:er build:er buy:er call:er camp:er catch:er challenge:r clean:er
collect:or command:er compose:r conduct:or create:or dance:r deal:er design:er develop:er direct:or dream:er drink:er
drive:r eat:er edit:or explore:r farm:er fight:er follow:er found:er help:er hunt:er interview:er invent:or
investigate:or juggle:r keep:er lead:er learn:er lend:er listen:er lose:r love:r make:r manage:r mine:r negotiate:or
observe:r operate:or organize:r own:er paint:er perform:er photograph:er play:er present:er preach:er produce:r
promote:r provide:r publish:er read:er ride:r rob:ber row:er rule:r run:ner sail:or seek:er sell:er send:er sing:er
skate:r ski:er smoke:r speak:er strike:r supervise:or support:er survive:or swim:mer talk:er teach:er tell:er think:er
trade:r train:er translate:or travel:er use:r vote:r visit:or wait:er walk:er watch:er weave:r win:ner work:er write:r
act:or advise:r announce:r bake:r climb:er defend:er demonstrate:or employ:er examine:r garden:er hike:r inspect:or
jog:ger liberate:or dive:r paddle:r plan:ner reform:er report:er research:er review:er sculpt:or serve:r settle:r
shop:per surf:er wander:er wrestle:r knit:ter lecture:r narrate:or program:mer drum:mer entertain:er fish:er
forecast:er golf:er hack:er illustrate:or instruct:or joke:r"""
NEGATED = """un: able acceptable affected armed available aware biased broken certain clean clear comfortable common
controlled desirable divided easy educated equal ethical even expected fair faithful familiar favorable fit friendly
happy healthy helpful important intended interesting kind likely limited lucky married natural necessary official
pleasant popular prepared productive professional protected readable real realistic reasonable registered related
reliable restricted ripe safe scientific stable successful suitable sure true usable used usual wanted welcome willing
wise known seen paid washed opened finished loved named noticed tidy selfish forgettable breakable believable bearable
beaten cooked eaten touched sold balanced | in: accurate active appropriate capable consistent convenient correct
definite dependent direct effective efficient expensive formal frequent secure sensitive significant sufficient valid
visible complete flexible adequate tolerant audible edible sincere decisive curable voluntary experienced | im: mature
mobile moral mortal patient perfect possible practical proper pure polite personal precise | il: legal logical legible
literate legitimate | ir: rational regular relevant responsible replaceable resistible | dis: honest similar loyal
obedient respectful satisfied connected organized agreeable"""
ABOUT = """bone:bony bubble:bubbly bulk:bulky bush:bushy butter:buttery chalk:chalky cloud:cloudy craft:crafty
cream:creamy dirt:dirty dream:dreamy dust:dusty earth:earthy fault:faulty feather:feathery fog:foggy frost:frosty
fruit:fruity fur:furry glass:glassy grain:grainy grass:grassy guilt:guilty hair:hairy hand:handy health:healthy
hill:hilly ice:icy juice:juicy leaf:leafy leather:leathery length:lengthy luck:lucky marsh:marshy mess:messy
milk:milky mint:minty mist:misty mold:moldy mood:moody mud:muddy need:needy noise:noisy oil:oily patch:patchy
pepper:peppery point:pointy powder:powdery rain:rainy risk:risky rock:rocky rose:rosy rubber:rubbery rust:rusty
salt:salty sand:sandy scale:scaly scratch:scratchy shade:shady shadow:shadowy shine:shiny silk:silky silver:silvery
sleep:sleepy smell:smelly smoke:smoky snow:snowy soap:soapy speed:speedy spice:spicy spike:spiky sponge:spongy
sport:sporty spot:spotty star:starry steel:steely stick:sticky storm:stormy stretch:stretchy string:stringy sun:sunny
swamp:swampy syrup:syrupy taste:tasty thirst:thirsty thorn:thorny trick:tricky velvet:velvety water:watery wave:wavy
wax:waxy wealth:wealthy wind:windy wood:woody anger:angry hunger:hungry crust:crusty curl:curly filth:filthy
flake:flaky grease:greasy haste:hasty lump:lumpy pebble:pebbly sketch:sketchy slime:slimy slush:slushy bump:bumpy
cheese:cheesy sugar:sugary paper:papery chill:chilly crunch:crunchy fluff:fluffy gloom:gloomy itch:itchy pulp:pulpy
wit:witty wrinkle:wrinkly fuzz:fuzzy bounce:bouncy summer:summery flower:flowery"""
ACTS = """act:action adapt:adaptation adopt:adoption appreciate:appreciation associate:association attract:attraction
calculate:calculation celebrate:celebration collect:collection combine:combination communicate:communication
complete:completion concentrate:concentration confirm:confirmation confuse:confusion connect:connection
consider:consideration construct:construction continue:continuation contribute:contribution cooperate:cooperation
correct:correction create:creation declare:declaration decorate:decoration delete:deletion demonstrate:demonstration
describe:description destroy:destruction detect:detection determine:determination direct:direction discuss:discussion
distribute:distribution donate:donation educate:education elect:election eliminate:elimination estimate:estimation
examine:examination exhibit:exhibition expect:expectation explain:explanation explore:exploration express:expression
extract:extraction form:formation found:foundation generate:generation graduate:graduation hesitate:hesitation
illustrate:illustration imagine:imagination imitate:imitation inform:information inspect:inspection
inspire:inspiration instruct:instruction interact:interaction interpret:interpretation invent:invention
investigate:investigation invite:invitation irritate:irritation isolate:isolation limit:limitation locate:location
migrate:migration motivate:motivation narrate:narration navigate:navigation negotiate:negotiation nominate:nomination
object:objection observe:observation operate:operation organize:organization participate:participation
permit:permission possess:possession predict:prediction prepare:preparation present:presentation prevent:prevention
produce:production promote:promotion pronounce:pronunciation protect:protection publish:publication react:reaction
realize:realization recommend:recommendation reduce:reduction reflect:reflection register:registration
reject:rejection relax:relaxation repeat:repetition reserve:reservation restore:restoration rotate:rotation
select:selection separate:separation solve:solution subtract:subtraction suggest:suggestion transform:transformation
translate:translation transport:transportation vibrate:vibration adjust:adjustment advertise:advertisement
agree:agreement announce:announcement appoint:appointment arrange:arrangement argue:argument attach:attachment
develop:development disappoint:disappointment employ:employment encourage:encouragement engage:engagement
enjoy:enjoyment entertain:entertainment equip:equipment excite:excitement improve:improvement invest:investment
manage:management measure:measurement move:movement pay:payment punish:punishment replace:replacement
require:requirement retire:retirement settle:settlement ship:shipment treat:treatment decide:decision divide:division
invade:invasion admit:admission discover:discovery recover:recovery deliver:delivery arrive:arrival approve:approval
refuse:refusal propose:proposal remove:removal survive:survival rehearse:rehearsal accept:acceptance appear:appearance
assist:assistance perform:performance resist:resistance disappear:disappearance exist:existence differ:difference
prefer:preference"""
BUILDINGS = """library museum school office castle hospital hotel bakery bank barn cafe cellar cinema garage gym hall
attic shop theater chapel classroom factory restaurant cabin cottage station tower house studio college villa palace
store clinic pharmacy workshop bedroom bathroom hostel warehouse tavern"""
HEADS = """key door roof window garden gate wall entrance floor lamp sign map owner manager clock bench light visitor
worker guard cleaner cat chair table ceiling heater plan carpet curtain painting stove shelf mirror cupboard"""


@cache
def doers() -> tuple[Derived, ...]:
    """Verb and the one who does it; the ending given in the list replaces a final e ("create:or")."""
    pairs = [entry.split(":") for entry in PEOPLE.split()]
    return tuple((v, (v[:-1] if v.endswith("e") and end == "or" else v) + end, "er") for v, end in pairs)


@cache
def opposites() -> tuple[Derived, ...]:
    """Adjective and its opposite by a prefix."""
    groups = [group.split(":") for group in NEGATED.split("|")]
    return tuple((word, prefix.strip() + word, "un") for prefix, words in groups for word in words.split())


@cache
def qualities() -> tuple[Derived, ...]:
    """Noun and the adjective in y."""
    return tuple((noun, word, "y") for noun, word in (entry.split(":") for entry in ABOUT.split()))


@cache
def acts() -> tuple[Derived, ...]:
    """Verb and the noun for what happens."""
    return tuple((v, noun, "ion") for v, noun in (entry.split(":") for entry in ACTS.split()))


def doer(rng: Random) -> Derived:
    return rng.choice(doers())


def opposite(rng: Random) -> Derived:
    return rng.choice(opposites())


def quality(rng: Random) -> Derived:
    return rng.choice(qualities())


def act(rng: Random) -> Derived:
    return rng.choice(acts())


def derived(rng: Random) -> Derived:
    """Draw a derived word of any kind."""
    return rng.choice(rng.choice((doers, opposites, qualities, acts))())


def made_noun(rng: Random) -> Derived:
    """Draw the noun for a doer or for what happens."""
    return rng.choice(rng.choice((doers, acts))())


def compound(rng: Random) -> tuple[str, Noun]:
    """Draw a place and a thing that belongs to it."""
    place, head = rng.choice(BUILDINGS.split()), rng.choice(HEADS.split())
    return place, Noun(head, inflections()[head, "noun"][0])


def recipes() -> list[Recipe]:
    return [*_doers(), *_opposites(), *_nouns_and_adjectives(), *_derived(), *_compounds()]


def _doers() -> list[Recipe]:
    forward = Group("verb with a doer", "derivation", SOURCE, doer, lambda x: x[0], lambda x: x[0], True)
    back = Group("doer", "derivation", SOURCE, doer, lambda x: x[1], lambda x: x[0], True)
    return [
        forward.free(
            "der_agent", lambda x: x[1],
            "Name the person who does this.", "Turn the verb into the noun for a doer.",
            "What do you call someone who does it?", "Make the agent noun of this verb.",
            "Write the word for one who does so, ending in er or or.",
        ),
        back.free(
            "der_agent_verb", lambda x: x[0],
            "Which verb says what this person does?", "Give the verb from which the noun was made.",
            "Write what such a person does, as a bare verb.", "Turn the agent noun back into its verb.",
            "Take off the ending and write the verb.",
        ),
    ]  # fmt: skip


def _opposites() -> list[Recipe]:
    forward = Group("adjective with an opposite", "derivation", SOURCE, opposite, lambda x: x[0], lambda x: x[0], True)
    back = Group("negated adjective", "derivation", SOURCE, opposite, lambda x: x[1], lambda x: x[0], True)
    return [
        forward.free(
            "der_un", lambda x: x[1],
            "Make the opposite with a prefix.", "Put un, in, im, il, ir or dis before the adjective.",
            "Write the negative form of this adjective.", "Say in one word that something is not so.",
            "Turn the adjective into its opposite by adding letters in front.",
        ),
        back.free(
            "der_positive", lambda x: x[0],
            "Take the negative prefix off.", "Write the adjective without its un, in, im, il, ir or dis.",
            "Which positive adjective is inside?", "Undo the negation of this word.",
            "Turn the negative adjective into the positive one.",
        ),
    ]  # fmt: skip


def _nouns_and_adjectives() -> list[Recipe]:
    adjective = Group("noun with an adjective", "derivation", SOURCE, quality, lambda x: x[0], lambda x: x[0], True)
    noun = Group("verb with a noun", "derivation", SOURCE, act, lambda x: x[0], lambda x: x[0], True)
    return [
        adjective.free(
            "der_y", lambda x: x[1],
            "Make the adjective in y from this noun.", "What is something like that has a lot of it?",
            "Turn the noun into an adjective ending in y.", "Write the adjective: full of it or like it.",
            "Describe a thing by this noun, in one word with y.",
        ),
        noun.free(
            "der_act_noun", lambda x: x[1],
            "Turn the verb into the noun for the action.", "Name the act or its result, for instance with ion or ment.",
            "Which noun belongs to this verb?", "Write the action noun made from the verb.",
            "Nominalize the verb.",
        ),
    ]  # fmt: skip


def _derived() -> list[Recipe]:
    any_kind = Group("derived word", "derivation", SOURCE, derived, lambda x: x[1], lambda x: x[0], True)
    nouns = Group("derived noun", "derivation", SOURCE, made_noun, lambda x: x[1], lambda x: x[1], True)
    return [
        any_kind.free(
            "der_base", lambda x: x[0],
            "Write the word from which this one was made.", "Strip the prefix or ending and give the base word.",
            "Which simpler word is inside?", "Give the root word as it stands in a dictionary.",
            "Go back to the word without prefix or ending.",
        ),
        nouns.labelled(
            "der_person", ("person", "action"), lambda x: "person" if x[2] == "er" else "action",
            "Does the noun name a person or an action?", "Say person for a doer, action for what is done.",
            "Who or what: person or action?", "Tell doers from deeds.", "person or action",
        ),
    ]  # fmt: skip


def _compounds() -> list[Recipe]:
    pair = Group("compound", "derivation", "own lists", compound, lambda x: f"{x[0]} {x[1].singular}")
    phrase = Group("of-phrase", "derivation", "own lists", compound, lambda x: f"the {x[1].singular} of the {x[0]}")
    return [
        pair.free(
            "der_compound_of", lambda x: f"the {x[1].singular} of the {x[0]}",
            "Say the compound with of and two articles.", "Write the two nouns as a phrase with of.",
            "Unfold the compound: the one of the other.", "Explain the compound as the second thing of the first.",
            "Turn the pair of nouns into a phrase with of.",
        ),
        pair.free(
            "der_compound_head", lambda x: x[1].singular,
            "What kind of thing is it? Write the head noun.", "Write the main noun of the compound.",
            "Which of the two nouns names the thing itself?", "Give the noun without what specifies it.",
            "Write only the head of the compound.",
        ),
        pair.free(
            "der_compound_place", lambda x: f"the {x[0]}",
            "To which place does it belong? Answer with the article.", "Write the place, with the.",
            "Where does the thing belong?", "Name what specifies the head, with an article.",
            "Give the first noun with the before it.", novel=True,
        ),
        phrase.free(
            "der_compound", lambda x: f"{x[0]} {x[1].singular}",
            "Say it as a compound of two nouns.", "Shorten the phrase to two nouns, no articles.",
            "Write the compound noun for this.", "Put the place before the thing and drop the rest.",
            "Turn the phrase into a noun pair.",
        ),
    ]  # fmt: skip
