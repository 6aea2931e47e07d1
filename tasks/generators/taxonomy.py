"""What kind of thing a word names: categories of nouns, verbs, adjectives; topics; kinds of food.

Sources: randomname (category lists), mimesis (foods). Every word of a list stands in no other list.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.lexemes import (
    CATEGORIES,
    COUNTABLE,
    WordsByLabel,
    attribute_words,
    category_words,
    foods,
    topic_words,
    verb_class_words,
)
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.scenes import draw_person
from ipt.tasks.generators.words import join_with_or, with_article

SOURCE = "randomname, wordninja"
YES_NO = ("yes", "no")
LABELS = tuple(sorted(CATEGORIES))
# A plum may be a fruit or a tree: neither stands among the strangers to the other.
DISPUTED = {"tree": ("tree", "fruit"), "fruit": ("fruit", "tree")}
CATEGORIES_OF_KIND = {
    "animal": ("mammal", "bird", "fish"),
    "plant": ("fruit", "tree"),
    "thing": ("building", "container", "instrument"),
}
FRAMES = (
    "{person} saw {thing}.",
    "There is {thing} in the picture.",
    "{person} drew {thing}.",
    "I know a story about {thing}.",
    "{person} took a photo of {thing}.",
    "On the stamp was {thing}.",
)
ONE_OF_THE_CATEGORIES = join_with_or(COUNTABLE)
ALL_CATEGORIES = ", ".join(COUNTABLE)


class Mention(NamedTuple):
    """A sentence with one thing."""

    category: str
    word: str
    text: str


class WordPair(NamedTuple):
    """Two different words with their categories."""

    first_category: str
    second_category: str
    first: str
    second: str


class OddOneOut(NamedTuple):
    """Three words of one category and one of another, in any order."""

    category: str
    odd_category: str
    odd_word: str
    words: tuple[str, ...]


class CategoryAnalogy(NamedTuple):
    """Two words, each with a category; that of the second word may be false."""

    left: str
    left_category: str
    right: str
    right_category: str
    holds: bool

    @property
    def text(self) -> str:
        """Write the analogy as an equation."""
        return f"{self.left} : {self.left_category} = {self.right} : {self.right_category}"


class LabelledWords(NamedTuple):
    """Words of one list and its label."""

    label: str
    text: str


@dataclass(frozen=True)
class MemberSearch:
    """A category and five words of which some are its members."""

    category: str
    words: tuple[str, ...]

    @property
    def members(self) -> list[str]:
        """The words that belong to the category, in their order."""
        return [word for word in self.words if word in category_words()[self.category]]

    @property
    def text(self) -> str:
        """Write the category and its five words."""
        return f"{self.category}: {', '.join(self.words)}"


def draw_mention(rng: Random) -> Mention:
    """Draw a sentence with one thing."""
    category = rng.choice(COUNTABLE)
    word = rng.choice(category_words()[category])
    frame = rng.choice(FRAMES)
    text = frame.format(person=draw_person(rng).text, thing=with_article(word))
    return Mention(category, word, text)


def draw_word_pair(rng: Random) -> WordPair:
    """Draw two words, of one category in half of the draws."""
    # Half of the pairs agree: the answer cannot be guessed from how often it is yes.
    first_category = second_category = rng.choice(COUNTABLE)
    if rng.random() >= 0.5:
        others = [category for category in COUNTABLE if category != first_category]
        second_category = rng.choice(others)

    first = rng.choice(category_words()[first_category])
    different = [word for word in category_words()[second_category] if word != first]
    return WordPair(first_category, second_category, first, rng.choice(different))


def draw_odd_one_out(rng: Random) -> OddOneOut:
    """Draw three words of one category and one of another."""
    category, odd_category = rng.sample(COUNTABLE, 2)
    odd_word = rng.choice(category_words()[odd_category])
    # The odd word comes at any place.
    words = [*rng.sample(category_words()[category], 3), odd_word]
    rng.shuffle(words)
    return OddOneOut(category, odd_category, odd_word, tuple(words))


def draw_member_search(rng: Random) -> MemberSearch:
    """Draw a category and five words, one to four of which belong to it."""
    category = rng.choice(LABELS)
    # At least one word belongs to the category, and at least one does not.
    member_count = rng.randrange(1, 5)
    # All words of all other categories, but those that might be members after all.
    strangers: list[str] = []
    for other in LABELS:
        if other not in DISPUTED.get(category, (category,)):
            strangers += category_words()[other]

    members = rng.sample(category_words()[category], member_count)
    words = members + rng.sample(strangers, 5 - member_count)
    rng.shuffle(words)
    return MemberSearch(category, tuple(words))


def draw_member_choice(rng: Random) -> Row:
    """Draw a category and four words, one of which belongs to it."""
    category, *others = rng.sample(LABELS, 4)
    member = rng.choice(category_words()[category])
    words = [member]
    for other in others:
        # Metals are never in dispute.
        if other in DISPUTED.get(category, ()):
            other = "metal"
        words.append(rng.choice(category_words()[other]))
    rng.shuffle(words)
    return Row(f"{category}: {' / '.join(words)}", (member,))


def draw_category_analogy(rng: Random) -> CategoryAnalogy:
    """Draw two words with categories; the second category is false in half of the draws."""
    # The false category is neither of the two true ones.
    left, right, wrong = rng.sample(LABELS, 3)
    holds = rng.random() < 0.5
    return CategoryAnalogy(
        left=rng.choice(category_words()[left]),
        left_category=left,
        right=rng.choice(category_words()[right]),
        right_category=right if holds else wrong,
        holds=holds,
    )


def words_of_one_label(
    words_by_label: Callable[[], WordsByLabel], count: int
) -> Callable[[Random], LabelledWords]:
    """Return a draw of a label and `count` of its words."""

    def draw(rng: Random) -> LabelledWords:
        # Sorted, so that the draw does not rest on the order of a file.
        label = rng.choice(sorted(words_by_label()))
        words = rng.sample(words_by_label()[label], count)
        return LabelledWords(label, ", ".join(words))

    return draw


def kind_of(mention: Mention) -> str:
    """Return the kind (animal, plant, thing) of what is mentioned."""
    for kind, categories in CATEGORIES_OF_KIND.items():
        if mention.category in categories:
            return kind
    raise ValueError(f"category {mention.category!r} is of no kind")


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_mention_recipes(),
        *_word_pair_recipes(),
        *_odd_one_out_recipes(),
        *_member_recipes(),
        *_list_recipes(),
    ]


def _mention_recipes() -> list[Recipe]:
    mentions = Group(
        inputs="sentence with one thing",
        subcategory="taxonomy",
        source=SOURCE,
        material=draw_mention,
        show=lambda mention: mention.text,
        knowledge=True,
    )
    # Copying needs no knowledge of the word: the control for the two tasks before it.
    extraction = replace(mentions, subcategory="extraction", knowledge=False)
    return [
        # "Leon drew a bugle." -> "instrument"
        mentions.labelled(
            "tax_category",
            COUNTABLE,
            lambda mention: mention.category,
            f"What kind of thing is mentioned: {ONE_OF_THE_CATEGORIES}?",
            f"Name the category of the thing in the sentence ({ALL_CATEGORIES}).",
            f"Sort the thing by kind: {ONE_OF_THE_CATEGORIES}.",
            "What is it that the sentence speaks of? Give its category.",
            "Replace the thing by the more general word for it.",
        ),
        # Three kinds of things above the eight categories.
        # "Leon drew a bugle." -> "thing"
        mentions.labelled(
            "tax_coarse",
            tuple(CATEGORIES_OF_KIND),
            kind_of,
            "Is an animal, a plant or a thing mentioned?",
            "Sort what is mentioned: animal (birds and fish too), plant (also fruit) or thing.",
            "Does the sentence speak of an animal, a plant or a lifeless thing?",
            "Does it run, grow or just stand there? Answer animal, plant or thing.",
            "To which realm does what is mentioned belong?",
        ),
        # "Leon drew a bugle." -> "bugle"
        extraction.free(
            "tax_member",
            lambda mention: mention.word,
            "Copy the word for what is seen, drawn or shown.",
            "Which thing or living being is mentioned? Answer with one word.",
            "Write only the noun after the article a or an.",
            "Extract what the picture, story or photo is of.",
            "Find the creature or object in the sentence and write it without article.",
        ),
    ]


def _word_pair_recipes() -> list[Recipe]:
    pairs = Group(
        inputs="two things",
        subcategory="taxonomy",
        source=SOURCE,
        material=draw_word_pair,
        show=lambda pair: f"{pair.first} | {pair.second}",
        # The same two words in the other order are no new pair.
        entity=lambda pair: "|".join(sorted((pair.first, pair.second))),
        knowledge=True,
    )
    return [
        # "guitar | sax" -> "yes"
        pairs.labelled(
            "tax_same_category",
            YES_NO,
            lambda pair: "yes" if pair.first_category == pair.second_category else "no",
            "Are the two of the same kind? Answer yes or no.",
            "Yes or no: do both words belong to one category?",
            "Would both be found in the same list of things, yes or no?",
            "Decide with yes or no whether the words name things of one sort.",
            "Compare the categories of the two words.",
        ),
        # "guitar | sax" -> "instrument, instrument"
        pairs.free(
            "tax_two_categories",
            lambda pair: f"{pair.first_category}, {pair.second_category}",
            f"Name the category of each word, separated by a comma: {ONE_OF_THE_CATEGORIES}.",
            f"Replace both words by their kinds ({ALL_CATEGORIES}).",
            "Of which kind is the first, of which the second? Write both kinds.",
            "Give the two categories in the order of the words.",
            "Say more generally what each of the two is.",
        ),
    ]


def _odd_one_out_recipes() -> list[Recipe]:
    # Three questions over one input: the odd word, its category, and that of the others.
    odd_ones = Group(
        inputs="three and an odd one",
        subcategory="odd one out",
        source=SOURCE,
        material=draw_odd_one_out,
        show=lambda four: ", ".join(four.words),
        knowledge=True,
    )
    majority = replace(odd_ones, subcategory="taxonomy")
    return [
        # "piccolo, flute, warbler, guitar" -> "warbler"
        odd_ones.free(
            "odd_word",
            lambda four: four.odd_word,
            "Which word does not belong with the others?",
            "Copy the odd one out.",
            "Three words are of one kind; write the other one.",
            "Find the intruder in the list.",
            "Write the only word of a different category.",
        ),
        # "piccolo, flute, warbler, guitar" -> "instrument"
        majority.labelled(
            "tax_majority",
            COUNTABLE,
            lambda four: four.category,
            f"What are most of them: {ONE_OF_THE_CATEGORIES}?",
            f"Name the kind of three of the words ({ALL_CATEGORIES}).",
            f"Which category has more than one member here: {ONE_OF_THE_CATEGORIES}?",
            "Leave out the intruder; what are the other three?",
            "Give the category of the majority.",
        ),
        # Novel: in pre-training the odd word is copied and the majority is named.
        # "piccolo, flute, warbler, guitar" -> "bird"
        odd_ones.labelled(
            "odd_category",
            COUNTABLE,
            lambda four: four.odd_category,
            f"Of what kind is the odd one out: {ONE_OF_THE_CATEGORIES}?",
            f"Name the category of the intruder ({ALL_CATEGORIES}).",
            f"One word differs from the others; is it {ONE_OF_THE_CATEGORIES}?",
            "What is the word that does not belong with the others?",
            "Give the category that occurs only once.",
            novel=True,
        ),
    ]


def _member_recipes() -> list[Recipe]:
    searches = Group(
        inputs="a category and five words",
        subcategory="taxonomy",
        source=SOURCE,
        material=draw_member_search,
        show=lambda search: search.text,
        knowledge=True,
    )
    counting = replace(searches, subcategory="counting")
    analogies = Group(
        inputs="analogy of categories",
        subcategory="analogy",
        source=SOURCE,
        material=draw_category_analogy,
        show=lambda analogy: analogy.text,
        knowledge=True,
    )
    return [
        # "metal: titanium, salmon, iron, aluminum, brass" -> "titanium iron aluminum brass"
        searches.free(
            "ext_members",
            lambda search: " ".join(search.members),
            "Copy the words that belong to the given category, in their order.",
            "Which words are of the kind before the colon?",
            "Write only the members of the category named first.",
            "Leave out every word that is of another kind than named.",
            "Filter the list by the category at its head.",
        ),
        # The first of `ext_members`: the list need not be read to its end.
        # "metal: titanium, salmon, iron, aluminum, brass" -> "titanium"
        searches.free(
            "tax_first_member",
            lambda search: search.members[0],
            "Copy the first word that belongs to the given category.",
            "Read from left to right and write the first word of the named kind.",
            "Which member of the category comes first in the list?",
            "Stop at the earliest word of the kind before the colon and write it.",
            "Give only the first of all words that fit the category.",
        ),
        # Novel: in pre-training the members are written out, never counted.
        # "metal: titanium, salmon, iron, aluminum, brass" -> "4"
        counting.labelled(
            "cnt_category",
            ("1", "2", "3", "4"),
            lambda search: str(len(search.members)),
            "How many of the words belong to the given category: 1, 2, 3 or 4?",
            "Count the words of the kind before the colon, from 1 to 4.",
            "Number of members of the category in the list, which is 1, 2, 3 or 4?",
            "How often does the named kind occur? Answer 1, 2, 3 or 4.",
            "Count only the words that fit the category named first.",
            novel=True,
        ),
        _member_choice_recipe(),
        # The first pair is always true, the second one in half of the rows.
        # "bugle : instrument = castle : building" -> "yes"
        analogies.labelled(
            "ana_holds",
            YES_NO,
            lambda analogy: "yes" if analogy.holds else "no",
            "Does the analogy hold? Answer yes or no.",
            "Yes or no: are both words followed by their true category?",
            "Is the second pair related like the first one, yes or no?",
            "Check whether the comparison is right and answer yes or no.",
            "Decide if the last word is the kind of the word before it.",
        ),
    ]


def _member_choice_recipe() -> Recipe:
    # The wrong words are of other categories, mostly of three different ones.
    # "instrument: banana / cafe / wagon / flute" -> "flute"
    return Recipe(
        name="mcq_category_member",
        category="non-cls",
        subcategory="multiple choice",
        metric="exact-match",
        definitions=(
            "Which of the words belongs to the category? Write it.",
            "Choose the word that is of the kind named before the colon.",
            "Only one of the words fits the category; copy it.",
            "Pick the member of the given category.",
            "Write the option that is an example of the first word.",
        ),
        draw=draw_member_choice,
        inputs="a category and four words",
        source=SOURCE,
        knowledge=True,
    )


def _list_recipe(
    group: Group[LabelledWords], name: str, labels: tuple[str, ...], *definitions: str
) -> Recipe:
    """Make the task of naming the label that all words of a list have."""
    return group.labelled(name, labels, lambda listed: listed.label, *definitions)


def _list_recipes() -> list[Recipe]:
    verbs = Group(
        inputs="three verbs of a kind",
        subcategory="taxonomy",
        source="randomname",
        material=words_of_one_label(verb_class_words, 3),
        show=lambda listed: listed.text,
        knowledge=True,
    )
    # One verb alone is often of two kinds; three of them leave one.
    adjectives = replace(
        verbs,
        inputs="three adjectives of a kind",
        material=words_of_one_label(attribute_words, 3),
    )
    terms = replace(
        verbs,
        inputs="three key terms",
        subcategory="topic",
        material=words_of_one_label(topic_words, 3),
    )
    eatables = replace(
        verbs,
        inputs="two foods of a kind",
        source="mimesis",
        material=words_of_one_label(foods, 2),
    )
    verb_classes = tuple(sorted(verb_class_words()))
    attributes = tuple(sorted(attribute_words()))
    topics = tuple(sorted(topic_words()))
    return [
        # "dash, march, race" -> "moving"
        _list_recipe(
            verbs,
            "tax_verb_class",
            verb_classes,
            f"What are these verbs about: {join_with_or(verb_classes)}?",
            f"Name the class of the verbs ({', '.join(verb_classes)}).",
            f"Which kind of doing is meant: {join_with_or(verb_classes)}?",
            "Give the sort of action that the verbs have in common.",
            "To which field of activity do the verbs belong?",
        ),
        # "fast, hasty, speedy" -> "speed"
        _list_recipe(
            adjectives,
            "tax_adj_attribute",
            attributes,
            f"What do these adjectives describe: {join_with_or(attributes)}?",
            f"Name the property they are about ({', '.join(attributes)}).",
            f"Of which sort are the qualities: {join_with_or(attributes)}?",
            "Which attribute of something is given by the adjectives?",
            "Say what one would ask to get such answers.",
        ),
        # "counterpoint, interval, octave" -> "music"
        _list_recipe(
            terms,
            "top_lecture",
            topics,
            f"What is the lecture with these key terms about: {join_with_or(topics)}?",
            f"Name the field of the terms ({', '.join(topics)}).",
            f"Which subject uses these words: {join_with_or(topics)}?",
            "From which field do the terms come?",
            "Give the topic of a text with these key words.",
        ),
        # "basil, celery seed" -> "spice"
        _list_recipe(
            eatables,
            "tax_food",
            ("dish", "fruit", "spice", "vegetable"),
            "What kind of food are both: dish, fruit, spice or vegetable?",
            "Name the sort of food (dish, fruit, spice, vegetable).",
            "Would one call them a dish, fruit, spice or vegetable?",
            "Where in the cookery book do they stand: dish, fruit, spice or vegetable?",
            "Sort the two foods by their kind.",
        ),
    ]
