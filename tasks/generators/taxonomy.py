"""What kind of thing a word names: categories of nouns, verbs and adjectives, topics, kinds of food.

Sources: randomname (category lists), mimesis (foods). Every word of a list is known to be of no other list.
"""

from dataclasses import dataclass
from random import Random

from ipt.tasks.generators.lexemes import CATEGORIES, COUNTABLE, DEEDS, QUALITIES, TOPICS, foods, free, labelled, listed
from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.scenes import person
from ipt.tasks.generators.words import a

YES_NO = ("yes", "no")
DISPUTED = {"tree": ("tree", "fruit"), "fruit": ("fruit", "tree")}  # a plum may be either
KINDS = {
    "animal": ("mammal", "bird", "fish"), "plant": ("fruit", "tree"), "thing": ("building", "container", "instrument"),
}  # fmt: skip
FRAMES = (
    "{p} saw {w}.", "There is {w} in the picture.", "{p} drew {w}.", "I know a story about {w}.",
    "{p} took a photo of {w}.", "On the stamp was {w}.",
)  # fmt: skip


@dataclass(frozen=True)
class Hunt:
    """A category and five words of which some are its members."""

    label: str
    words: tuple[str, ...]

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(w for w in self.words if w in listed("nouns", "category")[self.label])

    @property
    def text(self) -> str:
        return f"{self.label}: {', '.join(self.words)}"


@dataclass(frozen=True)
class Four:
    """Three words of one category and one of another, in any order."""

    label: str
    odd_label: str
    odd: str
    words: tuple[str, ...]


def nouns(label: str) -> tuple[str, ...]:
    return listed("nouns", "category")[label]


def mention(rng: Random) -> tuple[str, str, str]:
    """Draw a sentence with one thing: category, word, text."""
    label = rng.choice(COUNTABLE)
    word = rng.choice(nouns(label))
    return label, word, rng.choice(FRAMES).format(p=person(rng).text, w=a(word))


def two(rng: Random) -> tuple[str, str, str, str]:
    """Draw two words, of one category in half of the draws: labels, then words."""
    label = rng.choice(COUNTABLE)
    other = label if rng.random() < 0.5 else rng.choice([x for x in COUNTABLE if x != label])
    first = rng.choice(nouns(label))
    return label, other, first, rng.choice([w for w in nouns(other) if w != first])


def four(rng: Random) -> Four:
    label, other = rng.sample(COUNTABLE, 2)
    odd = rng.choice(nouns(other))
    words = [*rng.sample(nouns(label), 3), odd]
    rng.shuffle(words)
    return Four(label, other, odd, tuple(words))


def hunt(rng: Random) -> Hunt:
    """Draw a category and five words, one to four of which belong to it."""
    label = rng.choice(sorted(CATEGORIES))
    members = rng.randrange(1, 5)
    strangers = [w for other in sorted(CATEGORIES) if other not in DISPUTED.get(label, (label,)) for w in nouns(other)]
    words = [*rng.sample(nouns(label), members), *rng.sample(strangers, 5 - members)]
    rng.shuffle(words)
    return Hunt(label, tuple(words))


def member(rng: Random) -> Row:
    """Draw a category and four words, one of which belongs to it."""
    label, *others = rng.sample(sorted(CATEGORIES), 4)
    others = [x if x not in DISPUTED.get(label, ()) else "metal" for x in others]
    answer = rng.choice(nouns(label))
    words = [answer, *(rng.choice(nouns(x)) for x in others)]
    rng.shuffle(words)
    return Row(f"{label}: {' / '.join(words)}", (answer,))


def analogy(rng: Random) -> tuple[str, str, str, str, bool]:
    """Draw two words with categories; the second category is false in half of the draws."""
    left, right, wrong = rng.sample(sorted(CATEGORIES), 3)
    holds = rng.random() < 0.5
    return rng.choice(nouns(left)), left, rng.choice(nouns(right)), right if holds else wrong, holds


def some(table: dict[str, tuple[str, ...]], count: int, rng: Random) -> tuple[str, str]:
    """Draw a label and `count` of its words."""
    label = rng.choice(sorted(table))
    return label, ", ".join(rng.sample(table[label], count))


def recipes() -> list[Recipe]:
    return [*_mentions(), *_twos(), *_fours(), *_hunts(), *_lists()]


def _choices(labels: tuple[str, ...]) -> str:
    return f"{', '.join(labels[:-1])} or {labels[-1]}"


def _mentions() -> list[Recipe]:
    source, inputs, either = "randomname, wordninja", "sentence with one thing", _choices(COUNTABLE)

    def text(x: tuple[str, str, str]) -> str:
        return x[2]

    def kind(x: tuple[str, str, str]) -> str:
        return next(k for k, labels in KINDS.items() if x[0] in labels)

    return [
        labelled("tax_category", "taxonomy", inputs, source, over(mention, text, lambda x: x[0]), COUNTABLE,
                 f"What kind of thing is mentioned: {either}?",
                 f"Name the category of the thing in the sentence ({', '.join(COUNTABLE)}).",
                 f"Sort the thing by kind: {either}.",
                 "What is it that the sentence speaks of? Give its category.",
                 "Replace the thing by the more general word for it."),
        labelled("tax_coarse", "taxonomy", inputs, source, over(mention, text, kind), tuple(KINDS),
                 "Is an animal, a plant or a thing mentioned?",
                 "Sort what is mentioned: animal (birds and fish too), plant (also fruit) or thing.",
                 "Does the sentence speak of an animal, a plant or a lifeless thing?",
                 "Does it run, grow or just stand there? Answer animal, plant or thing.",
                 "To which realm does what is mentioned belong?"),
        free("tax_member", "extraction", inputs, source, over(mention, text, lambda x: x[1]),
             "Copy the word for what is seen, drawn or shown.",
             "Which thing or living being is mentioned? Answer with one word.",
             "Write only the noun after the article a or an.",
             "Extract what the picture, story or photo is of.",
             "Find the creature or object in the sentence and write it without article.", knowledge=False),
    ]  # fmt: skip


def _twos() -> list[Recipe]:
    source, inputs = "randomname, wordninja", "two things"

    def text(x: tuple[str, str, str, str]) -> str:
        return f"{x[2]} | {x[3]}"

    def key(x: tuple[str, str, str, str]) -> str:
        return "|".join(sorted(x[2:]))

    return [
        labelled("tax_same_category", "taxonomy", inputs, source,
                 over(two, text, lambda x: "yes" if x[0] == x[1] else "no", key), YES_NO,
                 "Are the two of the same kind? Answer yes or no.",
                 "Yes or no: do both words belong to one category?",
                 "Would both be found in the same list of things, yes or no?",
                 "Decide with yes or no whether the words name things of one sort.",
                 "Compare the categories of the two words."),
        free("tax_two_categories", "taxonomy", inputs, source, over(two, text, lambda x: f"{x[0]}, {x[1]}", key),
             f"Name the category of each word, separated by a comma: {_choices(COUNTABLE)}.",
             f"Replace both words by their kinds ({', '.join(COUNTABLE)}).",
             "Of which kind is the first, of which the second? Write both kinds.",
             "Give the two categories in the order of the words.",
             "Say more generally what each of the two is."),
    ]  # fmt: skip


def _fours() -> list[Recipe]:
    source, inputs, either = "randomname, wordninja", "three and an odd one", _choices(COUNTABLE)

    def text(x: Four) -> str:
        return ", ".join(x.words)

    return [
        free("odd_word", "odd one out", inputs, source, over(four, text, lambda x: x.odd),
             "Which word does not belong with the others?",
             "Copy the odd one out.",
             "Three words are of one kind; write the other one.",
             "Find the intruder in the list.",
             "Write the only word of a different category."),
        labelled("tax_majority", "taxonomy", inputs, source, over(four, text, lambda x: x.label), COUNTABLE,
                 f"What are most of them: {either}?",
                 f"Name the kind of three of the words ({', '.join(COUNTABLE)}).",
                 f"Which category has more than one member here: {either}?",
                 "Leave out the intruder; what are the other three?",
                 "Give the category of the majority."),
        labelled("odd_category", "odd one out", inputs, source, over(four, text, lambda x: x.odd_label), COUNTABLE,
                 f"Of what kind is the odd one out: {either}?",
                 f"Name the category of the intruder ({', '.join(COUNTABLE)}).",
                 f"One word differs from the others; is it {either}?",
                 "What is the word that does not belong with the others?",
                 "Give the category that occurs only once.", novel=True),
    ]  # fmt: skip


def _hunts() -> list[Recipe]:
    source, inputs = "randomname, wordninja", "a category and five words"

    def text(x: Hunt) -> str:
        return x.text

    def claim(x: tuple[str, str, str, str, bool]) -> str:
        return f"{x[0]} : {x[1]} = {x[2]} : {x[3]}"

    return [
        free("ext_members", "taxonomy", inputs, source, over(hunt, text, lambda x: " ".join(x.members)),
             "Copy the words that belong to the given category, in their order.",
             "Which words are of the kind before the colon?",
             "Write only the members of the category named first.",
             "Leave out every word that is of another kind than named.",
             "Filter the list by the category at its head."),
        free("tax_first_member", "taxonomy", inputs, source, over(hunt, text, lambda x: x.members[0]),
             "Copy the first word that belongs to the given category.",
             "Read from left to right and write the first word of the named kind.",
             "Which member of the category comes first in the list?",
             "Stop at the earliest word of the kind before the colon and write it.",
             "Give only the first of all words that fit the category."),
        labelled("cnt_category", "counting", inputs, source, over(hunt, text, lambda x: str(len(x.members))),
                 ("1", "2", "3", "4"),
                 "How many of the words belong to the given category: 1, 2, 3 or 4?",
                 "Count the words of the kind before the colon, from 1 to 4.",
                 "Number of members of the category in the list, which is 1, 2, 3 or 4?",
                 "How often does the named kind occur? Answer 1, 2, 3 or 4.",
                 "Count only the words that fit the category named first.", novel=True),
        free("mcq_category_member", "multiple choice", "a category and four words", source, member,
             "Which of the words belongs to the category? Write it.",
             "Choose the word that is of the kind named before the colon.",
             "Only one of the words fits the category; copy it.",
             "Pick the member of the given category.",
             "Write the option that is an example of the first word."),
        labelled("ana_holds", "analogy", "analogy of categories", source,
                 over(analogy, claim, lambda x: "yes" if x[4] else "no"), YES_NO,
                 "Does the analogy hold? Answer yes or no.",
                 "Yes or no: are both words followed by their true category?",
                 "Is the second pair related like the first one, yes or no?",
                 "Check whether the comparison is right and answer yes or no.",
                 "Decide if the last word is the kind of the word before it."),
    ]  # fmt: skip


def _lists() -> list[Recipe]:
    deeds, qualities, topics = tuple(sorted(DEEDS)), tuple(sorted(QUALITIES)), tuple(sorted(TOPICS))
    kinds = ("dish", "fruit", "spice", "vegetable")

    def words(x: tuple[str, str]) -> str:
        return x[1]

    def label(x: tuple[str, str]) -> str:
        return x[0]

    return [
        labelled("tax_verb_class", "taxonomy", "three verbs of a kind", "randomname",
                 over(lambda rng: some(listed("verbs", "deed"), 3, rng), words, label), deeds,
                 f"What are these verbs about: {_choices(deeds)}?",
                 f"Name the class of the verbs ({', '.join(deeds)}).",
                 f"Which kind of doing is meant: {_choices(deeds)}?",
                 "Give the sort of action that the verbs have in common.",
                 "To which field of activity do the verbs belong?"),
        labelled("tax_adj_attribute", "taxonomy", "three adjectives of a kind", "randomname",
                 over(lambda rng: some(listed("adjectives", "quality"), 3, rng), words, label), qualities,
                 f"What do these adjectives describe: {_choices(qualities)}?",
                 f"Name the property they are about ({', '.join(qualities)}).",
                 f"Of which sort are the qualities: {_choices(qualities)}?",
                 "Which attribute of something is given by the adjectives?",
                 "Say what one would ask to get such answers."),
        labelled("top_lecture", "topic", "three key terms", "randomname",
                 over(lambda rng: some(listed("nouns", "topic"), 3, rng), words, label), topics,
                 f"What is the lecture with these key terms about: {_choices(topics)}?",
                 f"Name the field of the terms ({', '.join(topics)}).",
                 f"Which subject uses these words: {_choices(topics)}?",
                 "From which field do the terms come?",
                 "Give the topic of a text with these key words."),
        labelled("tax_food", "taxonomy", "two foods of a kind", "mimesis",
                 over(lambda rng: some(foods(), 2, rng), words, label), kinds,
                 f"What kind of food are both: {_choices(kinds)}?",
                 f"Name the sort of food ({', '.join(kinds)}).",
                 "Would one call them a dish, fruit, spice or vegetable?",
                 "Where in the cookery book do they stand: dish, fruit, spice or vegetable?",
                 "Sort the two foods by their kind."),
    ]  # fmt: skip
