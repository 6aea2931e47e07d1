"""The two spellings of English: common words that are written differently in America and in Britain. Lists by hand."""

from functools import cache
from random import Random

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe

Spelling = tuple[str, str, str]  # lemma, American form, British form

IZE = """apolog author capital categor character civil colon critic custom digit econom emphas energ equal fertil
final formal general harmon hospital ideal immun initial internal item legal local magnet maxim memor minim mobil
modern moral national neutral normal optim organ oxid patron penal personal polar popular priorit public random
rational real recogn revolution scandal sensit social special stabil standard steril subsid summar symbol sympath
synchron theor trivial urban util vandal verbal visual vital western agon antagon brutal central commercial crystal
dramat familiar global hypnot hypothes italic jeopard liberal mechan mesmer monopol motor natural pressur ritual
romantic scrutin stigmat systemat tranquil traumat victim computer human fantas plagiar alphabet anonym atom caramel
carbon decentral disorgan external fossil glamor idol immortal individual industrial institutional marginal material
miniatur modular mytholog novel objectiv pasteur philosoph polymer pulver sanit sentimental spiritual tabular union
vocal volatil winter"""
YZE = """anal paral catal"""
OUR = """arbor ardor armor behavior candor clamor color demeanor endeavor favor fervor flavor harbor honor humor labor
neighbor odor parlor rancor rigor rumor savior splendor tumor valor vapor vigor watercolor"""
OTHERS = """center:centre fiber:fibre liter:litre meter:metre theater:theatre kilometer:kilometre
centimeter:centimetre millimeter:millimetre caliber:calibre luster:lustre meager:meagre somber:sombre specter:spectre
scepter:sceptre saber:sabre ocher:ochre analog:analogue catalog:catalogue dialog:dialogue monolog:monologue
defense:defence offense:offence pretense:pretence gray:grey plow:plough mold:mould cozy:cosy mustache:moustache
pajamas:pyjamas airplane:aeroplane aluminum:aluminium skeptic:sceptic skeptical:sceptical artifact:artefact
sulfur:sulphur maneuver:manoeuvre archeology:archaeology encyclopedia:encyclopaedia jewelry:jewellery skillful:skilful
fulfill:fulfil enroll:enrol molt:moult smolder:smoulder woolen:woollen marvelous:marvellous traveler:traveller
jeweler:jeweller counselor:counsellor donut:doughnut pediatric:paediatric anesthetic:anaesthetic
orthopedic:orthopaedic leukemia:leukaemia hemoglobin:haemoglobin estrogen:oestrogen favorite:favourite
colorful:colourful honorable:honourable neighborhood:neighbourhood flavoring:flavouring humorless:humourless
willful:wilful installment:instalment fulfillment:fulfilment enrollment:enrolment skepticism:scepticism"""
UNCOUNTED = (
    "candor", "demeanor", "fervor", "rancor", "rigor", "splendor",
    "valor", "vigor", "humor", "ardor", "clamor",
)  # fmt: skip
DOUBLED = """barrel bevel cancel channel chisel counsel dial duel equal fuel funnel gravel label level marvel model
parcel pedal quarrel refuel remodel rival shovel shrivel signal snorkel spiral swivel total towel travel tunnel
unravel"""


@cache
def spellings() -> tuple[Spelling, ...]:
    """Forms that are written differently in American and British English."""
    found = []
    for stems, american, british in ((IZE, "iz", "is"), (YZE, "yz", "ys")):
        for stem in stems.split():
            found += [(stem, stem + american + end, stem + british + end) for end in ("e", "es", "ed", "ing")]
    for word in OUR.split():
        ends = ("",) if word in UNCOUNTED else ("", "s")
        found += [(word, word + end, f"{word[:-2]}our{end}") for end in ends]
    for verb in DOUBLED.split():
        found += [(verb, verb + end, f"{verb}l{end}") for end in ("ed", "ing")]
    found += [(american, american, british) for american, british in (entry.split(":") for entry in OTHERS.split())]
    return tuple(found)


@cache
def _by_lemma() -> dict[str, list[Spelling]]:
    table: dict[str, list[Spelling]] = {}
    for one in spellings():
        table.setdefault(one[0], []).append(one)
    return table


def spelling(rng: Random) -> Spelling:
    return rng.choice(_by_lemma()[rng.choice(list(_by_lemma()))])


def either_spelling(rng: Random) -> tuple[Spelling, str]:
    one = spelling(rng)
    return one, rng.choice(("American", "British"))


def recipes() -> list[Recipe]:
    either = Group(
        "spelling", "derivation", "own lists", either_spelling, lambda x: x[0][1 if x[1] == "American" else 2],
        lambda x: x[0][0], True,
    )  # fmt: skip
    return [
        either.labelled(
            "der_british", ("American", "British"), lambda x: x[1],
            "Is the spelling American or British?", "Name the variety of English: American or British.",
            "Where is the word spelled like this: American or British?", "Tell the two spellings of English apart.",
            "American or British",
        ),
        either.free(
            "der_to_british", lambda x: x[0][2],
            "Write the word in British spelling.", "Spell it the British way.", "How is it written in London?",
            "Change it to British English, or keep it if it already is.", "to British spelling",
        ),
        either.free(
            "der_to_american", lambda x: x[0][1],
            "Write the word in American spelling.", "Spell it the American way.", "How is it written in New York?",
            "Change it to American English, or keep it if it already is.", "to American spelling",
        ),
    ]  # fmt: skip
