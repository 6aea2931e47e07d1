"""Loaders of lexical sources: rated words, words by category, foods, emoji names, pronunciations. Common words only.

Sources: vaderSentiment (human ratings), randomname (category lists; a word of two of the lists is dropped, and so are
words that are better known in another sense), mimesis (foods), emoji (CLDR short names), misaki (pronunciations).
"""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache
from random import Random

from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.words import blocked, fair, inflections, lines, package_file

CATEGORIES = {
    "bird": "birds", "building": "buildings", "container": "containers", "fish": "fish", "fruit": "fruit",
    "instrument": "music_instruments", "mammal": "apex_predators", "metal": "metals", "spice": "seasonings",
    "tree": "wood", "vehicle": "automobiles",
}  # fmt: skip
COUNTABLE = ("bird", "building", "container", "fish", "fruit", "instrument", "mammal", "tree")
TOPICS = {
    "chemistry": "chemistry", "film": "filmmaking", "geography": "geography", "geometry": "geometry",
    "money": "accounting", "music": "music_theory", "physics": "physics", "sport": "sports",
}  # fmt: skip
DEEDS = {
    "art": "art", "breaking": "destruction", "cooking": "cooking", "gathering": "collection",
    "looking": "look", "moving": "movement", "speaking": "communication", "thinking": "thought",
}  # fmt: skip
QUALITIES = {
    "age": "age", "character": "character", "color": "colors", "size": "size",
    "sound": "sound", "speed": "speed", "taste": "taste", "weather": "weather",
}  # fmt: skip
MISLEADING = {
    "nouns": """cobra crocodile mamba python salamander viper rhea citron baggage container walnut human
        bear boa monitor ray fossa eagle osprey owl eel petrel jackal komodo mandrill marlin chick coot
        covey crow darter loon martin rail swallow swift turkey fowl kite jay lark rook raven angler bass
        betta cobbler perch sole scallop barracuda date fig berry citrus raisin bell string triangle vibes
        horn harp abbey arch arena armory barracks bridge bunker cathedral chapel church crypt depot dome
        fort foundry jail kiosk lodge mall marina market monastery mosque observatory pavilion plant prison
        rectory refinery shed shrine silo spire stable store temple terminal tower university vault hall
        manor attach can carrier chest coffer cooler cube folder glass holder hutch locker luggage packet
        pan plate pocket pod pot rack sack tank trunk casket hybrid hearse convertible sub lead steel alloy
        mercury tin bay curry lemon mace mint salt soda sugar sage ash palm cherry fork drum pipe term base
        mixture charge force radiation element volume actor agent analog assistant boom bounce credits
        double extra key light loader operator plot dailies spec speed squib stock stunt test wardrobe gofer
        grip dolly sound shot set center circuit couple face focus form involute leg minute model node
        normal period type range rank rational slide web plane area capital chart north east south west
        world scale pole project region river plain projection parallel globe tropics basis book cash change
        cycle flow gain interest paper plan report bar beat flat measure minor major meter note phrase
        repeat rest stem theme trill fermata canon cadence accent body current heat particle work weight
        power strain stress surface vector wave bat box bow catch class club compete dart defense diamond
        dive exercise field game gear guard home hoop hoops ice league lose loser mat medal move net offense
        out paddle pitch play player polo pool puck quarter quiver ride ring row sail score stick swim
        target team throw tie win winner winning mate arrow crew cricket ball age sport jump racer march
        squash stadium axel luge tag tee""",
    "verbs": """cast chip chalk coat design display exhibit mix outline print restore daub bark blather
        gulp jaw drone ring rasp slur yak schmooze contact message express bolt crouch hop rock run sit
        stand stay speed spin turn rush hike burn heat chop dip steam thaw melt scramble sear mass corral
        cull draw hoard capture crack scratch split explode erase view check scan know plan focus reason
        meditate pass""",
    "adjectives": """advanced frayed fresh grizzled hoary obsolete ragged recent senile shabby stale tattered
        trite worn brutal brute callous free intense odious religious savage simple soft strong tense vain
        vicious violent warm mild weak average flat full broad wide large ash asphalt avocado bone brass
        bronze camel canary champagne charcoal chocolate citron coal coffee corn cream denim desert feldspar
        gold heather jet lime mint navy olive plum rust salmon silver snow steel tan teal tomato chestnut
        celeste caramel bordeaux claret coral dry plain gritty greasy oily moist gentle mute grating
        immediate instant late lazy poky prompt express calm cold cool dark great hot light nice damp icy
        freezing chewy chalky creamy crispy crunchy smart quiet bright abstract rough novel""",
}  # fmt: skip
DISHES = """burger burrito casserole cheesecake chowder curry goulash hamburger lasagna meatloaf noodles
omelette pancake pasta pie pizza pudding risotto salad sandwich soup spaghetti stew stuffing sushi taco waffle
meatballs dumplings chili quiche pretzel muffin brownie porridge ravioli bagel cake doughnut croissant toast"""
NOT_FOODS = (
    "black apple", "black walnut", "blue tongue", "dodder laurel", "candle corn", "green leaf", "red leaf",
    "lime flower", "kaffir lime", "barbados cherry", "desert banana", "bog bilberry", "coco plum",
    "kakadu lime", "kakadu plum", "beach plum", "blue fenugreek", "cinnamon myrtle", "cubeb pepper",
    "jasmine flowers", "desert lime", "cluster fig", "curry plant", "kei apple", "bitter melon",
    "winter melon", "avocado leaf", "lotus seed",
)  # fmt: skip
NOT_FOOD = """calabash candlenut coffee cola date doubah fragaria sultana avocado olive tomato tomatillo
pumpkin ornamental curly leaf greens fennel garlic ginger parsley capers caper mushrooms plantain gobo
horseradish alexanders angelica barberry chicory chives clary catnip cassia pepper taro louvi lucuma bolivian
kapok citron artemisia borage lovage chervil sassafras raisin corn maize squash iceberg butterhead"""
OPINIONS = """great good excellent wonderful amazing awesome fantastic lovely beautiful nice pleasant
brilliant superb perfect magnificent impressive delightful enjoyable charming elegant fine interesting
entertaining fascinating outstanding remarkable marvelous splendid terrific inspiring relaxing peaceful
exciting pretty fabulous glorious spectacular incredible satisfying thrilling popular special cool gorgeous
funny sweet bad terrible horrible awful dreadful boring ugly nasty disappointing poor stupid disgusting
unpleasant annoying dull lousy mediocre sad weak useless ridiculous depressing pathetic miserable horrid grim
weird strange appalling atrocious tedious dismal gloomy tiresome uncomfortable irritating frustrating
disturbing worthless chaotic rotten hideous shocking silly dirty disastrous"""
GRIM = """abus assault attack bomb casualt convict corps crim deadl death decease devil die dying execut fatal
genocid hostage kill massacre murder poison prison rap rebel sex slave suicid terror tortur toxic traum victim
violen weapon wound warfare riot racis assassin imprison kia nfc nme grimes poorest overweight witch drunk
radical"""
LANGUAGES = ("de", "es", "fr", "id", "it", "pt", "tr")
NOT_NAMES = """button symbols sign signs khanda middle fist pregnant pistol square circle jp id ok dvd input
latin kiss couple mark banknote nazar hamsa menorah breast feeding love cigarette bikini turban prohibited
kaaba restroom bust"""
SOUNDS = {
    "æ": "ae", "ɑ": "aa", "ɔ": "ao", "ɛ": "eh", "ɪ": "ih", "ᵻ": "ih", "i": "iy", "u": "uw", "ʊ": "uh", "ʌ": "ah",
    "ə": "ah", "ᵊ": "ah", "ɜ": "er", "O": "ow", "A": "ey", "I": "ay", "W": "aw", "Y": "oy", "ɹ": "r", "ɡ": "g",
    "ʃ": "sh", "ʒ": "zh", "ʤ": "jh", "ʧ": "ch", "ŋ": "ng", "θ": "th", "ð": "dh", "j": "y",
}  # fmt: skip
VOWELS = frozenset(["aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uh", "uw"])


@cache
def ratings() -> tuple[tuple[str, float], ...]:
    """(word, mean rating from -4 to 4) of common words whose raters agree on the sign."""
    found = []
    for line in lines("vaderSentiment", "vader_lexicon.txt"):
        word, mean, deviation, _ = line.split("\t")
        usable = fair(word, 15000) and len(word) > 2 and not word.startswith(tuple(GRIM.split()))
        if usable and abs(float(mean)) >= 1 and float(deviation) < 1.3:
            found.append((word, float(mean)))
    return tuple(sorted(found))


@cache
def opinions() -> tuple[tuple[str, float], ...]:
    """(adjective, mean rating) of adjectives that people say of a meal, a film or a trip."""
    said = frozenset(OPINIONS.split())
    table = (line.split("\t") for line in lines("vaderSentiment", "vader_lexicon.txt"))
    rated = ((entry[0], float(entry[1])) for entry in table if entry[0] in said)
    return tuple(sorted((word, rating) for word, rating in rated if abs(rating) >= 0.8))


@cache
def listed(folder: str, kind: str) -> dict[str, tuple[str, ...]]:
    """Label to the common words of its list that stand in no other list of the same kind."""
    names = {"category": CATEGORIES, "topic": TOPICS, "deed": DEEDS, "quality": QUALITIES}[kind]
    lists = {label: set(lines("randomname", "wordlists", folder, f"{name}.txt")) for label, name in names.items()}
    uses = Counter(word for words in lists.values() for word in words)
    skipped = frozenset(MISLEADING[folder].split())
    return {
        label: tuple(sorted(w for w in words if uses[w] == 1 and w not in skipped and fair(w, 40000))) for label, words in lists.items()
    }


@cache
def foods() -> dict[str, tuple[str, ...]]:
    """Kind of food to its common foods in lower case."""
    table = json.loads(package_file("mimesis", "datasets", "en", "food.json").read_text(encoding="utf8"))
    found = {"dish": tuple(sorted(DISHES.split()))}
    for label in ("fruit", "vegetable", "spice"):
        names = {unicodedata.normalize("NFC", name).lower() for name in table[f"{label}s"]}
        kept = [n for n in names if n not in (*NOT_FOOD.split(), *NOT_FOODS) and all(fair(w, 60000) for w in n.split())]
        found[label] = tuple(sorted(n for n in kept if len(n) < 16))
    return found


@cache
def pronunciations() -> dict[str, tuple[tuple[str, ...], int]]:
    """Common word to its sounds and the number of its stressed syllable (from 1).

    Left out: words with several pronunciations, and those whose syllables are in dispute ("fire", "real").
    """
    found = {}
    known = {lemma for lemma, _ in inflections()} | {w for f in inflections().values() for form in f for w in form}
    table = json.loads(package_file("misaki", "data", "us_gold.json").read_text(encoding="utf8"))
    for word, spoken in sorted(table.items()):
        if isinstance(spoken, str) and len(word) > 2 and word in known and fair(word, 20000):
            sounds, stress = spell_out(word, unicodedata.normalize("NFC", spoken))
            if stress:
                found[word] = (sounds, stress)
    return found


def spell_out(word: str, spoken: str) -> tuple[tuple[str, ...], int]:
    """Return the sounds in ASCII and the stressed syllable; 0 where it is not fair to ask for the word."""
    tap = "t" if "t" in word else "d"
    disputed = any(f"{vowel}{weak}" in spoken for vowel in "IWYAOiu" for weak in ("əɹ", "ᵊɹ", "əl", "ᵊl", "ɹ"))
    if spoken.count("ˈ") != 1 or disputed or ("ɾ" in spoken and "t" in word and "d" in word):
        return (), 0
    if spoken.endswith(("tn", "dn", "zm", "ðm")):
        spoken = f"{spoken[:-1]}ə{spoken[-1]}"
    plain = spoken.replace("ˌ", "").replace("ɾ", tap).replace("ɜɹ", "ɜ").replace("əɹ", "ɜ")
    before, after = (tuple(SOUNDS.get(sign, sign) for sign in part) for part in plain.split("ˈ"))
    return before + after, sum(sound in VOWELS for sound in before) + 1


def syllables(sounds: tuple[str, ...]) -> int:
    return sum(sound in VOWELS for sound in sounds)


@cache
def emoji_names() -> dict[str, dict[str, str]]:
    """Emoji to its name in "en" and the other languages, in lower case: no flags, skin tones, keys or clocks."""
    folder = ("emoji", "unicode_codes")
    table = json.loads(package_file(*folder, "emoji.json").read_text(encoding="utf8"))
    others = {c: json.loads(package_file(*folder, f"emoji_{c}.json").read_text(encoding="utf8")) for c in LANGUAGES}
    found: dict[str, dict[str, str]] = {}
    for sign, entry in sorted(table.items()):
        names = {"en": _phrase(entry["en"])} | {c: _phrase(names.get(sign, "")) for c, names in others.items()}
        usual = entry["status"] == 2 and not entry.get("variant")
        if usual and _plain_sign(sign) and _fair_names(names) and all(fair(w) for w in names["en"].split()[:3]):
            found[sign] = names
    return found


def _phrase(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip(":").replace("_", " ").replace("’", "'").lower()


def _plain_sign(sign: str) -> bool:
    flags_and_skins = (range(0x1F1E6, 0x1F200), range(0x1F3FB, 0x1F400), (0x200D, 0xE007F))
    return not any(ord(c) in codes for c in sign for codes in flags_and_skins)


def _fair_names(names: dict[str, str]) -> bool:
    return all(map(_fair_phrase, names.values())) and not set(NOT_NAMES.split()) & set(names["en"].split())


def _fair_phrase(name: str) -> bool:
    words = name.replace("-", " ").replace("'", " ").split()
    return 3 <= len(name) <= 24 and 1 <= len(words) <= 4 and all(w.isalpha() and w not in blocked() for w in words)


def labelled(
    name: str, kind: str, inputs: str, source: str, draw: Callable[[Random], Row | None], options: tuple[str, ...],
    *definitions: str, knowledge: bool = True, novel: bool = False,
) -> Recipe:  # fmt: skip
    """Make a classification task."""
    return Recipe(name, "cls", kind, "accuracy", definitions, draw, inputs, source, options, knowledge, novel)


def free(
    name: str, kind: str, inputs: str, source: str, draw: Callable[[Random], Row | None],
    *definitions: str, knowledge: bool = True, novel: bool = False,
) -> Recipe:  # fmt: skip
    """Make a task whose answer is written out and compared exactly."""
    return Recipe(name, "non-cls", kind, "exact-match", definitions, draw, inputs, source, None, knowledge, novel)
