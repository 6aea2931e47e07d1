"""Meaning of words: what kind of thing they name (taxonomy) and whether they are good news (sentiment).

Sources: randomname (category lists; words of two lists are dropped), vaderSentiment (human ratings of words). Common words only.
"""

from collections import Counter
from functools import cache
from random import Random

from ipt.tasks.recipe import Recipe, Row, over
from ipt.tasks.scenes import person
from ipt.tasks.words import a, fair, inflections, lines, plain_adjectives

CATEGORIES = {
    "bird": "birds", "fish": "fish", "fruit": "fruit", "instrument": "music_instruments", "building": "buildings",
    "tree": "wood", "vehicle": "automobiles", "animal": "apex_predators",
}  # fmt: skip
NOT_PLAIN = """chick coot covey crow darter loon martin rail angler bass betta cobbler perch sole date fig bell string triangle vibes horn
armory bunker foundry jail kiosk prison prong stall terminal tower yard ash cherry hybrid hearse human bear boa monitor ray fossa fork
turkey drum pipe key folly pub bar monastery mosque mosques cathedral church chapel temple abbey convent synagogue palm pine arch arena crypt
dome depot duplex fort ranger school shark barracuda marlin eagle owl osprey dingo""".split()
GOOD, BAD = "positive", "negative"
NOUNS = "film book hotel room meal show game song trip party service story concert garden lesson speech".split()
REVIEWS = ("The {n} was {w}.", "I found the {n} {w}.", "What {a} {n}!", "{p} called the {n} {w}.", "It was {a} {n}.", "Everyone says the {n} is {w}.")


@cache
def category_words() -> dict[str, tuple[str, ...]]:
    """Category to its common, unambiguous words."""
    lists = {label: lines("randomname", "wordlists", "nouns", f"{name}.txt") for label, name in CATEGORIES.items()}
    uses = Counter(w for words in lists.values() for w in set(words))
    return {
        label: tuple(sorted(w for w in set(words) if uses[w] == 1 and w not in NOT_PLAIN and fair(w, 45000)))
        for label, words in lists.items()
    }  # fmt: skip


@cache
def rated_adjectives() -> tuple[tuple[str, float], ...]:
    """(adjective, mean rating from -4 to 4) where the raters agree on the sign."""
    adjectives = {lemma for lemma, pos in inflections() if pos == "adj"}
    found = []
    for line in lines("vaderSentiment", "vader_lexicon.txt"):
        word, mean, deviation, _ = line.split("\t")
        if word in adjectives and fair(word, 25000) and abs(float(mean)) >= 1.2 and float(deviation) < 1.1:
            found.append((word, float(mean)))
    return tuple(sorted(found))


def group(rng: Random) -> tuple[str, tuple[str, ...]]:
    label = rng.choice(sorted(category_words()))
    return label, tuple(rng.sample(category_words()[label], 3))


def two(rng: Random) -> tuple[str, str, str, str]:
    """Draw two words, of one category in half of the draws."""
    label = rng.choice(sorted(category_words()))
    other = label if rng.random() < 0.5 else rng.choice([x for x in sorted(category_words()) if x != label])
    first = rng.choice(category_words()[label])
    return label, other, first, rng.choice([w for w in category_words()[other] if w != first])


def intruder(rng: Random) -> tuple[str, str, tuple[str, ...], str]:
    """Draw three words of one category and one of another, in any order."""
    label, other = rng.sample(sorted(category_words()), 2)
    odd = rng.choice(category_words()[other])
    words = [*rng.sample(category_words()[label], 3), odd]
    rng.shuffle(words)
    return label, other, tuple(words), odd


def review(rng: Random) -> tuple[str, float, str, str]:
    """Draw a rated adjective in one of six frames: word, rating, noun, text."""
    word, rating = rng.choice(rated_adjectives())
    noun = rng.choice(NOUNS)
    return word, rating, noun, rng.choice(REVIEWS).format(n=noun, w=word, a=a(word), p=person(rng).text)


def contrast(rng: Random) -> Row | None:
    (one, first), (two_, second) = rng.choice(rated_adjectives()), rng.choice(rated_adjectives())
    if (first > 0) == (second > 0):
        return None
    noun = rng.choice(NOUNS)
    text = rng.choice(("At first the {n} was {x}, in the end it was {y}.", "The {n} looked {x} but was {y}.", "I expected {a} {n}; it was {y}.", "Others call the {n} {x}, for me it is {y}."))
    return Row(text.format(n=noun, x=one, y=two_, a=a(one)), (GOOD if second > 0 else BAD,))


def aspect(rng: Random) -> Row | None:
    (one, first), (two_, second) = rng.choice(rated_adjectives()), rng.choice(rated_adjectives())
    if (first > 0) == (second > 0):
        return None
    left, right = rng.sample(NOUNS, 2)
    asked = rng.choice((left, right))
    text = rng.choice(("The {l} was {x} but the {r} was {y}.", "{x} {l}, {y} {r}.", "We had {a} {l} and {b} {r}.", "The {l} is {x}; the {r} is {y}."))
    shown = text.format(l=left, r=right, x=one, y=two_, a=a(one), b=a(two_))
    return Row(f"{shown[0].upper()}{shown[1:]} | {asked}", (GOOD if (first if asked == left else second) > 0 else BAD,))


def stronger(rng: Random) -> tuple[str, str, float, float] | None:
    (one, first), (two_, second) = rng.choice(rated_adjectives()), rng.choice(rated_adjectives())
    return None if abs(first - second) < 0.8 else (one, two_, first, second)


def described(rng: Random) -> tuple[str, str]:
    return rng.choice(plain_adjectives()), rng.choice(NOUNS)


def recipes() -> list[Recipe]:
    return [*_taxonomy(), *_sentiment()]


def _taxonomy() -> list[Recipe]:
    source = "randomname, wordninja"
    labels = tuple(sorted(CATEGORIES))
    listed = ", ".join(labels)

    def of_group(name: str, kind: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(name, category, kind, metric, definitions, over(group, lambda x: " ".join(x[1]), answer), "three of a kind", source, options, options is not None, novel)

    def of_intruder(name: str, kind: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(name, category, kind, metric, definitions, over(intruder, lambda x: ", ".join(x[2]), answer), "three and an odd one", source, options, True, novel)

    same = over(two, lambda x: f"{x[2]} | {x[3]}", lambda x: "yes" if x[0] == x[1] else "no", lambda x: "|".join(sorted(x[2:])))
    first = over(two, lambda x: f"{x[2]} | {x[3]}", lambda x: x[0], lambda x: "|".join(sorted(x[2:])))
    alive = over(two, lambda x: f"{x[2]} | {x[3]}", lambda x: "yes" if x[1] in ("bird", "fish", "animal") else "no", lambda x: "|".join(sorted(x[2:])))
    return [
        of_group("tax_category", "taxonomy", (f"What kind of things are they: {listed}?", f"Name the category: {listed}.", "category of the things"), lambda x: x[0], labels),
        of_group("tax_living", "taxonomy", ("Are they animals of any kind? yes or no", "Can they move by themselves as living things? yes or no", "living animals: yes or no"), lambda x: "yes" if x[0] in ("bird", "fish", "animal") else "no", ("yes", "no"), novel=True),
        of_intruder("odd_word", "odd one out", ("Which word does not belong to the others?", "Find the word of another kind.", "odd word out"), lambda x: x[3]),
        of_intruder("odd_category", "odd one out", (f"What kind is the odd one: {listed}?", f"Name the category of the intruder: {listed}.", "category of the odd word"), lambda x: x[1], labels, novel=True),
        of_intruder("tax_majority", "taxonomy", (f"What are most of them: {listed}?", f"Name the category of three of the words: {listed}.", "category of the majority"), lambda x: x[0], labels),
        Recipe("tax_same_category", "cls", "taxonomy", "accuracy", ("Are the two things of the same kind? yes or no", "One category? Answer yes or no.", "same kind: yes or no"), same, "two things", source, ("yes", "no"), True),
        Recipe("tax_first_category", "cls", "taxonomy", "accuracy", (f"What kind is the first thing: {listed}?", f"Category of the left side: {listed}.", "category of the first"), first, "two things", source, labels, True),
        Recipe("tax_second_living", "cls", "taxonomy", "accuracy", ("Is the second thing an animal of any kind? yes or no", "Right side a living animal? yes or no", "second is an animal: yes or no"), alive, "two things", source, ("yes", "no"), True),
    ]  # fmt: skip


def _sentiment() -> list[Recipe]:
    source = "vaderSentiment, own frames"

    def make(name: str, kind: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False, knowledge: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        draw = over(review, lambda x: x[3], answer, lambda x: x[3])
        return Recipe(name, category, kind, metric, definitions, draw, "review", source, options, knowledge, novel)

    polarity = lambda x: GOOD if x[1] > 0 else BAD  # noqa: E731
    more = over(stronger, lambda x: f"{x[0]} | {x[1]}", lambda x: "first" if x[2] > x[3] else "second", lambda x: "|".join(sorted(x[:2])))
    word = over(stronger, lambda x: f"{x[0]} | {x[1]}", lambda x: x[0] if x[2] > x[3] else x[1], lambda x: "|".join(sorted(x[:2])))
    plain = over(described, lambda x: f"{x[0]} {x[1]}", lambda x: f"The {x[1]} is {x[0]}.")
    ask = over(described, lambda x: f"{x[0]} {x[1]}", lambda x: f"Is the {x[1]} {x[0]}?")
    return [
        make("sent_review_polarity", "sentiment", ("Is the opinion positive or negative?", "Name the sentiment: positive or negative.", "sentiment"), polarity, (GOOD, BAD), knowledge=True),
        make("sent_recommend", "sentiment", ("Would this person recommend it? yes or no", "A good opinion? Answer yes or no.", "recommended: yes or no"), lambda x: "yes" if x[1] > 0 else "no", ("yes", "no"), novel=True, knowledge=True),
        make("sent_strength", "sentiment", ("Grade it: awful, poor, good or great.", "How does it sound: awful, poor, good, great?", "grade of the review"), lambda x: "awful" if x[1] < -2 else "poor" if x[1] < 0 else "great" if x[1] > 2.2 else "good", ("awful", "poor", "good", "great"), knowledge=True),
        make("sent_word", "opinion extraction", ("Write the word that gives the opinion.", "Which adjective judges it?", "opinion word"), lambda x: x[0]),
        make("sent_target", "opinion extraction", ("Write what is judged.", "Which thing is the opinion about?", "thing that is judged"), lambda x: x[2], novel=True),
        make("sent_negate", "opinion rewriting", ("Say: the thing was not so.", "Deny the opinion in the form The … was not ….", "denied opinion"), lambda x: f"The {x[2]} was not {x[0]}."),
        Recipe("sent_contrast_but", "cls", "sentiment", "accuracy", ("Which opinion counts in the end: positive or negative?", "Final judgement: positive or negative.", "sentiment in the end"), contrast, "contrast", source, (GOOD, BAD), True),
        Recipe("sent_aspect", "cls", "sentiment", "accuracy", ("Is the opinion about the thing after the bar positive or negative?", "Sentiment for the named aspect: positive or negative.", "aspect sentiment"), aspect, "aspect", source, (GOOD, BAD), True),
        Recipe("sent_stronger_of_two", "cls", "sentiment", "accuracy", ("Which word is more positive, the first or the second?", "Better word: first or second?", "more positive: first or second"), more, "rated pair", source, ("first", "second"), True),
        Recipe("sent_better_word", "non-cls", "sentiment", "exact-match", ("Write the more positive word.", "Which word sounds better?", "the better word"), word, "rated pair", source, None, True, True),
        Recipe("rew_is", "non-cls", "rewriting", "exact-match", ("Make a sentence: The thing is so.", "Say it with is.", "phrase to sentence"), plain, "described thing", "wonderwords"),
        Recipe("rew_is_it", "non-cls", "rewriting", "exact-match", ("Ask whether the thing is so.", "Make a question with is.", "phrase to question"), ask, "described thing", "wonderwords"),
    ]  # fmt: skip
