"""Common English words with their forms: what the generators fill their rows with.

Sources: wordninja (frequency order), lemminflect (inflections of the SPECIALIST lexicon), wonderwords (common verbs,
adjectives, nouns; list of words to avoid), mimesis (surnames); first names by hand. Files are read directly; nothing is imported.
"""

import gzip
import json
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MORE_BLOCKED = """ass arse bitch bloody bomb breast bum cock crap damn dead death devil dick die dyke fag fanny fascist gay gun hell
homo hooker hump idiot jap jew kill killer knob lesbian murder muslim nazi negro nude nut nuts oral orgy randy pansy penis poop porn prick
prostitute pussy queer racist rape rapist screw sex sexy shag shit slave slut spade spastic strip suck suicide tit toilet torture virgin
whore xxx homosexual communist nun terrorism nation civil gender minority christian catholic protestant hindu islam god jesus christ church terror terrorist abortion drug drugs heroin cocaine
weed strap stripper topless bondage fetish erotic thong bra panties lingerie viagra casino poker gambling bet hitler war weapon""".split()


def package_file(package: str, *parts: str) -> Path:
    """Return the path of a file inside an installed package, without importing the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f'needs the extra "suite" ({package} is missing): pip install "intrinsic-prompt-tuning[suite]"')
    return Path(spec.origin).parent.joinpath(*parts)


def lines(package: str, *parts: str) -> list[str]:
    return [line.strip() for line in package_file(package, *parts).read_text(encoding="utf8").splitlines() if line.strip()]


@cache
def rank() -> dict[str, int]:
    """Word to its place in the frequency order."""
    with gzip.open(package_file("wordninja", "wordninja", "wordninja_words.txt.gz"), "rt", encoding="utf8") as handle:
        return {word: i for i, word in enumerate(handle.read().split())}


@cache
def blocked() -> frozenset[str]:
    return frozenset(lines("wonderwords", "assets", "profanitylist.txt")) | frozenset(MORE_BLOCKED)


def fair(word: str, top: int = 12000) -> bool:
    """Say whether a word is lower-case ASCII, among the most frequent `top`, and not blocked."""
    return word.isascii() and word.isalpha() and word.islower() and rank().get(word, top) < top and word not in blocked()


# Variants of the lexicon that nobody should be taught, and words whose forms belong to two words.
ODD_FORMS = """controled occured refered payed flied teared over-came staid bended targetted archs camerae halfs leafs axises busses
abdomina diplomata embryoes feti phenomenons""".split()
AMBIGUOUS = "lie lay overcome axe axis base basis colon real penny ellipse".split()


@dataclass(frozen=True)
class Verb:
    lemma: str
    third: str
    pasts: tuple[str, ...]
    participles: tuple[str, ...]
    gerund: str

    @property
    def past(self) -> str:
        return self.pasts[0]

    @property
    def participle(self) -> str:
        return self.participles[0]

    @property
    def regular(self) -> bool:
        return self.past.endswith("ed")


@dataclass(frozen=True)
class Noun:
    singular: str
    plurals: tuple[str, ...]

    @property
    def plural(self) -> str:
        return self.plurals[0]


@dataclass(frozen=True)
class Adjective:
    base: str
    comparatives: tuple[str, ...]
    superlatives: tuple[str, ...]


@cache
def inflections() -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """(lemma, part of speech) to its inflected forms, each with the variants the lexicon accepts."""
    table = {}
    with gzip.open(package_file("lemminflect", "resources", "infl_lu.csv.gz"), "rt", encoding="utf8") as handle:
        for line in handle:
            lemma, pos, *forms = line.strip().split(",")
            table[lemma, pos] = [tuple(f for f in form.split("/") if f) for form in forms]
    return table


def american(variants: tuple[str, ...]) -> tuple[str, ...]:
    """Put the more frequent variant first and leave out the odd ones."""
    return tuple(sorted((v for v in variants if v not in ODD_FORMS), key=lambda w: rank().get(w, 10**6)))


def _verb(lemma: str) -> Verb | None:
    forms = inflections().get((lemma, "verb"))
    if not forms or len(forms) < 4 or not forms[0] or not forms[2] or not forms[3]:
        return None
    pasts = american(forms[0])
    regular = tuple(p for p in pasts if p.endswith("ed")) if pasts[0].endswith("ed") else ()
    participles = tuple(dict.fromkeys(regular + american(forms[1]))) or pasts
    return Verb(lemma, forms[3][0], pasts, participles, american(forms[2])[0])


@cache
def verb(lemma: str) -> Verb:
    found = _verb(lemma)
    if found is None:
        raise ValueError(f"no inflections for the verb {lemma!r}")
    return found


@cache
def verbs() -> tuple[Verb, ...]:
    """Several hundred common verbs."""
    names = sorted(w for w in set(lines("wonderwords", "assets", "verblist.txt")) if fair(w, 9000) and len(w) > 2 and w not in AMBIGUOUS)
    found = [v for v in map(_verb, names) if v and len(v.pasts) < 3 and v.past != v.lemma]
    return tuple(v for v in found if all(rank().get(f, 10**6) < 60000 for f in (v.past, v.gerund, v.third)))


@cache
def nouns() -> tuple[Noun, ...]:
    """Common count nouns that are not also a plural."""
    names = sorted(w for w in set(lines("wonderwords", "assets", "nounlist.txt")) if fair(w, 15000) and len(w) > 2 and w not in AMBIGUOUS)
    found = []
    for name in names:
        plurals = tuple(p for p in american((inflections().get((name, "noun")) or [()])[0]) if p != name)
        if plurals and rank().get(plurals[0], 10**6) < 40000 and not name.endswith("ss"):
            found.append(Noun(name, plurals))
    return tuple(n for n in found if n.singular not in {m.plural for m in found})


@cache
def adjectives() -> tuple[Adjective, ...]:
    """Common adjectives that inflect (-er, -est)."""
    found = []
    for (lemma, pos), forms in sorted(inflections().items()):
        if pos == "adj" and len(forms) == 2 and forms[0] and forms[1] and fair(lemma, 30000):
            found.append(Adjective(lemma, american(forms[0]), american(forms[1])))
    return tuple(found)


@cache
def plain_words() -> tuple[str, ...]:
    """Common words of 3 to 7 letters: nouns, verbs and adjectives in their base form."""
    known = {lemma for lemma, pos in inflections() if pos in ("noun", "verb", "adj")}
    return tuple(sorted(w for w in rank() if 3 <= len(w) <= 7 and fair(w, 5000) and w in known))


WOMEN = """Alice Amanda Amy Andrea Angela Anna Barbara Bella Betty Carla Carol Cathy Clara Claire Cindy Daisy Deborah Diana Donna Elena Ella
Ellen Elsa Emily Emma Erica Eva Fiona Flora Gina Gloria Hannah Heidi Helen Ida Ingrid Irene Isabel Jane Janet Jenny Jessica Joan Judith
Julia Karen Kate Laura Lena Linda Lisa Lucy Lydia Maria Marta Mary Megan Mia Monica Nancy Nina Nora Olga Olivia Paula Rachel Rebecca Rita
Rosa Ruth Sally Sandra Sarah Silvia Sofia Sonia Susan Tanya Teresa Tina Ursula Vera Wendy Zoe""".split()
MEN = """Aaron Adam Alan Albert Andrew Arthur Ben Boris Brian Carl Charles Colin Daniel David Dennis Edgar Eric Felix Frank Fred Gary George
Gregory Harold Harry Henry Hugo Ian Isaac Jack Jacob James Jason Jeff Jeremy Joel John Jonas Joseph Karl Keith Kevin Leo Leon Louis Lucas
Luke Marco Mario Martin Matthew Max Michael Miguel Nathan Neil Nicholas Norman Oliver Oscar Otto Patrick Paul Pedro Peter Philip Ralph
Raymond Richard Robert Roger Roland Ronald Samuel Sebastian Simon Stefan Stephen Steven Theo Thomas Timothy Tobias Tom Victor Vincent Walter
William""".split()


@cache
def names() -> tuple[tuple[str, str], ...]:
    """Well-known first names with "f" or "m"."""
    return tuple(sorted({(n, "f") for n in WOMEN} | {(n, "m") for n in MEN}))


@cache
def surnames() -> tuple[str, ...]:
    people = json.loads(package_file("mimesis", "datasets", "en", "person.json").read_text(encoding="utf8"))["surnames"]
    kept = [n for n in sorted(set(people)) if 4 <= len(n) <= 9 and n.isascii() and n.isalpha() and n.lower() not in blocked()]
    return tuple(kept)


def a(noun: str) -> str:
    """Put "a" or "an" before a word (vowel letters, with the common exceptions by sound)."""
    silent = noun.startswith(("hour", "honest", "heir", "honor"))
    hard = noun.startswith(("uni", "use", "usu", "eu", "one", "ute"))
    return f"{'an' if silent or (noun[0] in 'aeiou' and not hard) else 'a'} {noun}"
