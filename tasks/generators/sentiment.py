"""Good or bad news: the sentiment of words and of short opinions in frames of ours.

Source: vaderSentiment (mean ratings of words by people, from -4 to 4).
"""

from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.lexemes import RatedWord, opinions, ratings
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.scenes import draw_person
from ipt.tasks.generators.vocabulary import read_vocabulary
from ipt.tasks.generators.words import with_article

VOCABULARY = read_vocabulary("sentiment")
SOURCE = "vaderSentiment, own frames"
POSITIVE, NEGATIVE = POLARITIES = ("positive", "negative")
STARS = ("1", "2", "4", "5")
MIN_RATING_GAP = 1.0
"""Between two words that are compared: closer ones are a matter of taste."""


@dataclass(frozen=True)
class Opinion:
    """A rated adjective said of a thing; `holds` is False where the text denies it."""

    text: str
    noun: str
    word: str
    rating: float
    holds: bool = True


@dataclass(frozen=True)
class TwoOpinions:
    """A text with two opposite opinions, in order; `asked` is which of them is meant (0 or 1)."""

    text: str
    first: RatedWord
    second: RatedWord
    asked: int = 1

    @property
    def asked_word(self) -> RatedWord:
        """The opinion that is asked for."""
        return self.second if self.asked else self.first

    @property
    def other_word(self) -> RatedWord:
        """The opinion that is not asked for."""
        return self.first if self.asked else self.second


class WordPair(NamedTuple):
    """Two words of clearly different ratings."""

    first: RatedWord
    second: RatedWord

    @property
    def better(self) -> RatedWord:
        """The word with the higher rating."""
        return self.first if self.first.rating > self.second.rating else self.second


def polarity(rating: float) -> str:
    """Return the label of a rating."""
    return POSITIVE if rating > 0 else NEGATIVE


def stars(rating: float) -> str:
    """Return a rating as stars; 3 does not occur, since words near 0 are left out."""
    # The bounds split good and bad words into about equal halves.
    if rating > 0:
        return "5" if rating > 2.3 else "4"
    return "1" if rating < -1.9 else "2"


def draw_review(rng: Random) -> Opinion:
    """Draw an opinion of a thing."""
    word, rating = rng.choice(opinions())
    noun = rng.choice(VOCABULARY["nouns"])
    frame = rng.choice(VOCABULARY["reviews"])
    text = frame.format(
        noun=noun, word=word, a_word=with_article(word), person=draw_person(rng).text
    )
    return Opinion(text, noun, word, rating)


def draw_claim(rng: Random) -> Opinion:
    """Draw an opinion that is denied in half of the frames."""
    word, rating = rng.choice(opinions())
    noun = rng.choice(VOCABULARY["nouns"])
    # The frame denies or affirms; the adjective does not depend on it.
    frame, holds = rng.choice(VOCABULARY["claims"])
    text = frame.format(
        noun=noun, word=word, a_word=with_article(word), person=draw_person(rng).text
    )
    return Opinion(text, noun, word, rating, holds)


def draw_opposites(rng: Random) -> WordPair:
    """Draw a good and a bad adjective in any order."""
    # One of each, so that the text as a whole is neither good nor bad.
    good = rng.choice([opinion for opinion in opinions() if opinion.rating > 0])
    bad = rng.choice([opinion for opinion in opinions() if opinion.rating < 0])
    pair = [good, bad]
    rng.shuffle(pair)
    return WordPair(*pair)


def draw_contrast(rng: Random) -> TwoOpinions:
    """Draw a first impression and the opposite opinion that remains."""
    first, second = draw_opposites(rng)
    frame = rng.choice(VOCABULARY["contrasts"])
    text = frame.format(
        noun=rng.choice(VOCABULARY["nouns"]),
        first=first.word,
        second=second.word,
        a_first=with_article(first.word),
    )
    return TwoOpinions(text, first, second)


def draw_aspects(rng: Random) -> TwoOpinions:
    """Draw opposite opinions of two parts, and one of the parts after a bar."""
    first, second = draw_opposites(rng)
    parts = rng.sample(VOCABULARY["aspects"], 2)
    asked = rng.randrange(2)
    # The cue is one of the two parts, the first one in half of the draws.
    frame = rng.choice(VOCABULARY["aspect_frames"])
    text = frame.format(left=parts[0], right=parts[1], first=first.word, second=second.word)
    return TwoOpinions(f"{text[0].upper()}{text[1:]} | {parts[asked]}", first, second, asked)


def draw_unequal_words(rng: Random) -> WordPair | None:
    """Draw two words; None where their ratings are too close."""
    # Words of close ratings are left out: people would not agree on them.
    pair = WordPair(rng.choice(ratings()), rng.choice(ratings()))
    gap = abs(pair.first.rating - pair.second.rating)
    return pair if gap >= MIN_RATING_GAP else None


def draw_rated_word(rng: Random) -> RatedWord:
    """Draw a word with its rating."""
    return rng.choice(ratings())


def plain_claim(opinion: Opinion) -> str:
    """Return an opinion as a plain sentence."""
    verb = "was" if opinion.holds else "was not"
    return f"The {opinion.noun} {verb} {opinion.word}."


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_review_recipes(),
        *_claim_recipes(),
        *_contrast_recipes(),
        *_aspect_recipes(),
        *_word_recipes(),
    ]


def _review_recipes() -> list[Recipe]:
    reviews = Group(
        inputs="review",
        subcategory="sentiment",
        source=SOURCE,
        material=draw_review,
        show=lambda opinion: opinion.text,
        knowledge=True,
    )
    # Finding the adjective is a matter of form; what it means need not be known.
    extraction = replace(reviews, subcategory="opinion extraction", knowledge=False)
    return [
        # "I remember a magnificent hotel." -> "positive"
        reviews.labelled(
            "sent_review_polarity",
            POLARITIES,
            lambda opinion: polarity(opinion.rating),
            "Is the opinion positive or negative?",
            "Name the sentiment of the review: positive or negative.",
            "Did the speaker like it? Answer positive if so, else negative.",
            "Decide whether good or bad is said here; answer positive or negative.",
            "Classify this short review by its sentiment.",
        ),
        # How strong the word is counts, besides its sign.
        # "I remember a magnificent hotel." -> "5"
        reviews.labelled(
            "sent_stars",
            STARS,
            lambda opinion: stars(opinion.rating),
            "How many stars would this review give: 1, 2, 4 or 5?",
            "Grade the opinion from 1 (very bad), 2 (bad), 4 (good) to 5 (very good).",
            "Turn the review into stars: 1, 2, 4 or 5.",
            "Guess the star rating that goes with these words.",
            "Number of stars for this opinion?",
        ),
        # "I remember a magnificent hotel." -> "magnificent"
        extraction.free(
            "sent_opinion_word",
            lambda opinion: opinion.word,
            "Copy the adjective that gives the opinion.",
            "Which word of the review judges the thing?",
            "Write only the word that says how it was.",
            "Find the judging word in this review.",
            "Extract the adjective from the opinion.",
        ),
    ]


def _claim_recipes() -> list[Recipe]:
    claims = Group(
        inputs="claim or denial",
        subcategory="sentiment",
        source=SOURCE,
        material=draw_claim,
        show=lambda opinion: opinion.text,
        knowledge=True,
    )
    rewriting = replace(claims, subcategory="opinion rewriting", knowledge=False)

    def said_polarity(opinion: Opinion) -> str:
        # A denied good word is bad news, and the other way round.
        return polarity(opinion.rating if opinion.holds else -opinion.rating)

    return [
        # The adjective alone is right in half of the frames.
        # "The hotel was never magnificent." -> "negative"
        claims.labelled(
            "sent_negated",
            POLARITIES,
            said_polarity,
            "Mind the negation: is the statement positive or negative?",
            "Is it a good or a bad opinion in the end? Answer positive or negative.",
            "Name the sentiment, positive or negative; a denied good word is negative.",
            "Does the sentence as a whole praise or complain?",
            "Judge the statement, turning the sentiment round where the word is denied.",
        ),
        # "The hotel was never magnificent." -> "The hotel was not magnificent."
        rewriting.free(
            "sent_plain_claim",
            plain_claim,
            "Say it plainly: The thing was so, or: The thing was not so.",
            "Rewrite the statement as a simple sentence with was or was not.",
            "Put what is claimed into the plainest sentence, keeping a denial.",
            "Restate the claim with the thing as subject and no speaker.",
            "Write a short sentence in the past tense that states the same.",
        ),
    ]


def _contrast_recipes() -> list[Recipe]:
    contrasts = Group(
        inputs="contrast",
        subcategory="sentiment",
        source=SOURCE,
        material=draw_contrast,
        show=lambda opinions: opinions.text,
        knowledge=True,
    )
    extraction = replace(contrasts, subcategory="opinion extraction", knowledge=False)
    return [
        # The two adjectives have opposite signs: averaging them tells nothing.
        # "I expected an interesting game; it was chaotic." -> "negative"
        contrasts.labelled(
            "sent_contrast_but",
            POLARITIES,
            lambda opinions: polarity(opinions.second.rating),
            "Which opinion counts in the end, a positive or a negative one?",
            "Name the final judgement: positive or negative.",
            "After the turn, is the opinion positive or negative?",
            "What does the speaker think now?",
            "Ignore the first impression and classify what remains.",
        ),
        # "I expected an interesting game; it was chaotic." -> "chaotic"
        extraction.free(
            "sent_final_word",
            lambda opinions: opinions.second.word,
            "Copy the adjective that is true in the end.",
            "Which judging word comes after the turn?",
            "Write only the last judgement.",
            "Find the adjective that stays when the first impression is gone.",
            "Extract the word of the final opinion.",
        ),
    ]


def _aspect_recipes() -> list[Recipe]:
    # Both opinions stand in the text: only the cue after the bar tells which one is asked for.
    aspects = Group(
        inputs="aspect",
        subcategory="sentiment",
        source=SOURCE,
        material=draw_aspects,
        show=lambda opinions: opinions.text,
        knowledge=True,
    )
    extraction = replace(aspects, subcategory="opinion extraction", knowledge=False)
    return [
        # "The music was interesting but the room was chaotic. | music" -> "positive"
        aspects.labelled(
            "sent_aspect",
            POLARITIES,
            lambda opinions: polarity(opinions.asked_word.rating),
            "Is the opinion about the part after the bar positive or negative?",
            "Name the sentiment for the named part: positive or negative.",
            "How was the thing named at the end? Answer positive or negative.",
            "Classify only what is said about the part behind the bar.",
            "Look up the last word in the review and judge it alone.",
        ),
        # "The music was interesting but the room was chaotic. | music" -> "interesting"
        extraction.free(
            "sent_aspect_word",
            lambda opinions: opinions.asked_word.word,
            "Copy the adjective said about the part after the bar.",
            "How was the named part? Answer with the judging word.",
            "Write the word that describes the thing behind the bar.",
            "Find what is said of the part that is named last.",
            "Extract the opinion word of the given aspect.",
        ),
        # Novel: in pre-training the cue points at the part that is asked for.
        # "The music was interesting but the room was chaotic. | music" -> "chaotic"
        extraction.free(
            "sent_other_aspect_word",
            lambda opinions: opinions.other_word.word,
            "Copy the adjective said about the other part, not the one after the bar.",
            "How was the part that is not named again?",
            "Write the judging word of the thing that does not stand behind the bar.",
            "Find what is said of the other one of both parts.",
            "Leave out the given aspect and extract the remaining opinion word.",
            novel=True,
        ),
    ]


def _word_recipes() -> list[Recipe]:
    words = Group(
        inputs="rated word",
        subcategory="sentiment",
        source="vaderSentiment",
        material=draw_rated_word,
        show=lambda rated: rated.word,
        entity=lambda rated: rated.word,
        knowledge=True,
    )
    pairs = Group(
        inputs="two rated words",
        subcategory="sentiment",
        source="vaderSentiment",
        material=draw_unequal_words,
        show=lambda pair: f"{pair.first.word} | {pair.second.word}",
        # The same two words in the other order are no new pair.
        entity=lambda pair: "|".join(sorted((pair.first.word, pair.second.word))),
        knowledge=True,
    )
    return [
        # "friend" -> "positive"
        words.labelled(
            "sent_word_polarity",
            POLARITIES,
            lambda rated: polarity(rated.rating),
            "Is the word positive or negative?",
            "Does one like to hear this word? Answer positive or negative.",
            "Name the feeling the word carries: positive or negative.",
            "Sort the word by its sentiment.",
            "Good or bad news? Classify the word.",
        ),
        # Both words may be good, or both bad.
        # "medal | prosecution" -> "first"
        pairs.labelled(
            "sent_stronger_of_two",
            ("first", "second"),
            lambda pair: "first" if pair.better is pair.first else "second",
            "Which word is more positive, the first or the second?",
            "Is the first or the second word the nicer one?",
            "Compare the sentiment of both words and answer first or second.",
            "On which side stands the happier word?",
            "Tell which of the two sounds better.",
        ),
        # "medal | prosecution" -> "medal"
        pairs.free(
            "sent_better_word",
            lambda pair: pair.better.word,
            "Copy the more positive word.",
            "Which of both words sounds better? Write it.",
            "Write the word with the happier meaning.",
            "Choose the nicer word of the two.",
            "Give the word that people rate higher.",
        ),
    ]
