"""Good or bad news: the sentiment of words and of short opinions in frames of ours.

Source: vaderSentiment (mean ratings of words by people, from -4 to 4).
"""

from dataclasses import dataclass
from random import Random

from ipt.tasks.generators.lexemes import free, labelled, opinions, ratings
from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.scenes import person
from ipt.tasks.generators.words import a

GOOD, BAD = "positive", "negative"
POLARITY = (GOOD, BAD)
STARS = ("1", "2", "4", "5")
LEAST_GAP = 1.0  # of the ratings of two words that are compared
NOUNS = (
    "film", "book", "hotel", "room", "meal", "show", "game", "song", "trip", "party", "service", "story",
    "concert", "garden", "lesson", "speech", "museum", "play", "dinner", "holiday", "tour", "town", "house",
    "picture",
)  # fmt: skip
PARTS = ("food", "service", "staff", "room", "view", "music", "garden", "pool", "breakfast", "building", "bar", "beach")
REVIEWS = (
    "The {n} was {w}.", "{p} found the {n} {w}.", "What {a} {n}!", "It was {a} {n}.", "I remember {a} {n}.",
    "Everyone says the {n} is {w}.", "{p} told me about {a} {n}.", "Honestly, the {n} was {w}.",
)  # fmt: skip
CLAIMS = (
    ("The {n} was {w}.", True), ("The {n} was not {w}.", False), ("{p} called the {n} {w}.", True),
    ("Nobody found the {n} {w}.", False), ("The {n} was never {w}.", False), ("It really was {a} {n}.", True),
    ("It was anything but {a} {n}.", False), ("I must say the {n} was {w}.", True),
)  # fmt: skip
CONTRASTS = (
    "At first the {n} was {x}, but then it was {y}.", "The {n} looked {x} but was {y}.",
    "I expected {ax} {n}; it was {y}.", "The {n} began {x} and ended {y}.",
    "It seemed {ax} {n}, yet it was {y}.",
)  # fmt: skip
ASPECTS = (
    "The {l} was {x} but the {r} was {y}.", "{x} {l}, {y} {r}.", "The {l}: {x}. The {r}: {y}.",
    "In short, the {l} was {x}, the {r} {y}.", "I found the {l} {x}, the {r} {y}.",
)  # fmt: skip
Rated = tuple[str, float]


@dataclass(frozen=True)
class Opinion:
    """A rated adjective said of a thing; `holds` is False where the text denies it."""

    text: str
    noun: str
    word: str
    rating: float
    holds: bool = True


@dataclass(frozen=True)
class Turn:
    """A text with two opposite opinions, in order; `asked` is which of them is meant (0 or 1)."""

    text: str
    first: Rated
    second: Rated
    asked: int = 1

    @property
    def meant(self) -> Rated:
        return (self.first, self.second)[self.asked]

    @property
    def other(self) -> Rated:
        return (self.second, self.first)[self.asked]


def sign(rating: float) -> str:
    return GOOD if rating > 0 else BAD


def review(rng: Random) -> Opinion:
    (word, rating), noun = rng.choice(opinions()), rng.choice(NOUNS)
    text = rng.choice(REVIEWS).format(n=noun, w=word, a=a(word), p=person(rng).text)
    return Opinion(text, noun, word, rating)


def claim(rng: Random) -> Opinion:
    """Draw an opinion that is denied in half of the draws."""
    (word, rating), noun, (frame, holds) = rng.choice(opinions()), rng.choice(NOUNS), rng.choice(CLAIMS)
    return Opinion(frame.format(n=noun, w=word, a=a(word), p=person(rng).text), noun, word, rating, holds)


def opposites(rng: Random) -> tuple[Rated, Rated]:
    """Draw a good and a bad adjective in any order."""
    pair = [rng.choice([x for x in opinions() if x[1] > 0]), rng.choice([x for x in opinions() if x[1] < 0])]
    rng.shuffle(pair)
    return pair[0], pair[1]


def contrast(rng: Random) -> Turn:
    first, second = opposites(rng)
    frame = rng.choice(CONTRASTS)
    return Turn(frame.format(n=rng.choice(NOUNS), x=first[0], y=second[0], ax=a(first[0])), first, second)


def aspect(rng: Random) -> Turn:
    """Draw opposite opinions of two parts, and one of the parts after a bar."""
    first, second = opposites(rng)
    parts = rng.sample(PARTS, 2)
    asked = rng.randrange(2)
    text = rng.choice(ASPECTS).format(l=parts[0], r=parts[1], x=first[0], y=second[0])
    return Turn(f"{text[0].upper()}{text[1:]} | {parts[asked]}", first, second, asked)


def unequal(rng: Random) -> tuple[Rated, Rated] | None:
    """Draw two words whose ratings are clearly apart."""
    first, second = rng.choice(ratings()), rng.choice(ratings())
    return (first, second) if abs(first[1] - second[1]) >= LEAST_GAP else None


def stars(rating: float) -> str:
    if rating > 0:
        return "5" if rating > 2.3 else "4"
    return "1" if rating < -1.9 else "2"


def recipes() -> list[Recipe]:
    return [*_reviews(), *_claims(), *_turns(), *_words()]


def _reviews() -> list[Recipe]:
    source = "vaderSentiment, own frames"

    def text(x: Opinion) -> str:
        return x.text

    return [
        labelled("sent_review_polarity", "sentiment", "review", source,
                 over(review, text, lambda x: sign(x.rating)), POLARITY,
                 "Is the opinion positive or negative?",
                 "Name the sentiment of the review: positive or negative.",
                 "Did the speaker like it? Answer positive if so, else negative.",
                 "Decide whether good or bad is said here; answer positive or negative.",
                 "Classify this short review by its sentiment."),
        labelled("sent_stars", "sentiment", "review", source, over(review, text, lambda x: stars(x.rating)), STARS,
                 "How many stars would this review give: 1, 2, 4 or 5?",
                 "Grade the opinion from 1 (very bad), 2 (bad), 4 (good) to 5 (very good).",
                 "Turn the review into stars: 1, 2, 4 or 5.",
                 "Guess the star rating that goes with these words.",
                 "Number of stars for this opinion?"),
        free("sent_opinion_word", "opinion extraction", "review", source, over(review, text, lambda x: x.word),
             "Copy the adjective that gives the opinion.",
             "Which word of the review judges the thing?",
             "Write only the word that says how it was.",
             "Find the judging word in this review.",
             "Extract the adjective from the opinion.", knowledge=False),
    ]  # fmt: skip


def _claims() -> list[Recipe]:
    source, inputs = "vaderSentiment, own frames", "claim or denial"

    def text(x: Opinion) -> str:
        return x.text

    def holding(x: Opinion) -> str:
        return sign(x.rating if x.holds else -x.rating)

    return [
        labelled("sent_negated", "sentiment", inputs, source, over(claim, text, holding), POLARITY,
                 "Mind the negation: is the statement positive or negative?",
                 "Is it a good or a bad opinion in the end? Answer positive or negative.",
                 "Name the sentiment, positive or negative; a denied good word is negative.",
                 "Does the sentence as a whole praise or complain?",
                 "Judge the statement, turning the sentiment round where the word is denied."),
        free("sent_plain_claim", "opinion rewriting", inputs, source,
             over(claim, text, lambda x: f"The {x.noun} was {'' if x.holds else 'not '}{x.word}."),
             "Say it plainly: The thing was so, or: The thing was not so.",
             "Rewrite the statement as a simple sentence with was or was not.",
             "Put what is claimed into the plainest sentence, keeping a denial.",
             "Restate the claim with the thing as subject and no speaker.",
             "Write a short sentence in the past tense that states the same.", knowledge=False),
    ]  # fmt: skip


def _turns() -> list[Recipe]:
    source = "vaderSentiment, own frames"

    def text(x: Turn) -> str:
        return x.text

    return [
        labelled("sent_contrast_but", "sentiment", "contrast", source,
                 over(contrast, text, lambda x: sign(x.second[1])), POLARITY,
                 "Which opinion counts in the end, a positive or a negative one?",
                 "Name the final judgement: positive or negative.",
                 "After the turn, is the opinion positive or negative?",
                 "What does the speaker think now?",
                 "Ignore the first impression and classify what remains."),
        free("sent_final_word", "opinion extraction", "contrast", source, over(contrast, text, lambda x: x.second[0]),
             "Copy the adjective that is true in the end.",
             "Which judging word comes after the turn?",
             "Write only the last judgement.",
             "Find the adjective that stays when the first impression is gone.",
             "Extract the word of the final opinion.", knowledge=False),
        labelled("sent_aspect", "sentiment", "aspect", source, over(aspect, text, lambda x: sign(x.meant[1])), POLARITY,
                 "Is the opinion about the part after the bar positive or negative?",
                 "Name the sentiment for the named part: positive or negative.",
                 "How was the thing named at the end? Answer positive or negative.",
                 "Classify only what is said about the part behind the bar.",
                 "Look up the last word in the review and judge it alone."),
        free("sent_aspect_word", "opinion extraction", "aspect", source, over(aspect, text, lambda x: x.meant[0]),
             "Copy the adjective said about the part after the bar.",
             "How was the named part? Answer with the judging word.",
             "Write the word that describes the thing behind the bar.",
             "Find what is said of the part that is named last.",
             "Extract the opinion word of the given aspect.", knowledge=False),
        free("sent_other_aspect_word", "opinion extraction", "aspect", source, over(aspect, text, lambda x: x.other[0]),
             "Copy the adjective said about the other part, not the one after the bar.",
             "How was the part that is not named again?",
             "Write the judging word of the thing that does not stand behind the bar.",
             "Find what is said of the other one of both parts.",
             "Leave out the given aspect and extract the remaining opinion word.", knowledge=False, novel=True),
    ]  # fmt: skip


def _words() -> list[Recipe]:
    source = "vaderSentiment"

    def pair(x: tuple[Rated, Rated]) -> str:
        return f"{x[0][0]} | {x[1][0]}"

    def key(x: tuple[Rated, Rated]) -> str:
        return "|".join(sorted((x[0][0], x[1][0])))

    def word(x: Rated) -> str:
        return x[0]

    return [
        labelled("sent_word_polarity", "sentiment", "rated word", source,
                 over(lambda rng: rng.choice(ratings()), word, lambda x: sign(x[1]), word), POLARITY,
                 "Is the word positive or negative?",
                 "Does one like to hear this word? Answer positive or negative.",
                 "Name the feeling the word carries: positive or negative.",
                 "Sort the word by its sentiment.",
                 "Good or bad news? Classify the word."),
        labelled("sent_stronger_of_two", "sentiment", "two rated words", source,
                 over(unequal, pair, lambda x: "first" if x[0][1] > x[1][1] else "second", key), ("first", "second"),
                 "Which word is more positive, the first or the second?",
                 "Is the first or the second word the nicer one?",
                 "Compare the sentiment of both words and answer first or second.",
                 "On which side stands the happier word?",
                 "Tell which of the two sounds better."),
        free("sent_better_word", "sentiment", "two rated words", source,
             over(unequal, pair, lambda x: x[0][0] if x[0][1] > x[1][1] else x[1][0], key),
             "Copy the more positive word.",
             "Which of both words sounds better? Write it.",
             "Write the word with the happier meaning.",
             "Choose the nicer word of the two.",
             "Give the word that people rate higher."),
    ]  # fmt: skip
