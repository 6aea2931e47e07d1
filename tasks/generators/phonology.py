"""Sounds of words: pronunciation, syllables, stress, rhyme.

Source: misaki (American pronunciations), written with the ASCII symbols of the ARPAbet without
stress digits.
"""

from collections import defaultdict
from dataclasses import replace
from functools import cache
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.lexemes import VOWELS, Sounds, count_syllables, pronunciations
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import is_common

SOURCE = "misaki, wordninja"
FIRST_SOUNDS = ("b", "d", "f", "k", "m", "p", "r", "s")
LONGEST_WORD = 8
"""In letters."""


class SpokenWord(NamedTuple):
    """A word, its sounds, and its stressed syllable, from 1."""

    word: str
    sounds: Sounds
    stress: int

    @property
    def syllables(self) -> int:
        """How many syllables are heard."""
        return count_syllables(self.sounds)

    @property
    def rhyme(self) -> Sounds:
        """The sounds from the stressed vowel on."""
        vowel_places = [i for i, sound in enumerate(self.sounds) if sound in VOWELS]
        return self.sounds[vowel_places[self.stress - 1] :]


class RhymePair(NamedTuple):
    """Two words and whether they rhyme."""

    first: str
    second: str
    rhymes: bool


@cache
def spoken_words() -> tuple[SpokenWord, ...]:
    """Return the short common words with their pronunciation."""
    short = []
    for word, pronunciation in sorted(pronunciations().items()):
        if len(word) <= LONGEST_WORD and is_common(word):
            short.append(SpokenWord(word, pronunciation.sounds, pronunciation.stress))
    return tuple(short)


@cache
def rhyme_groups() -> tuple[tuple[SpokenWord, ...], ...]:
    """Return groups of words that sound the same from the stressed vowel on."""
    by_rhyme = defaultdict(list)
    for spoken in spoken_words():
        if spoken.syllables < 3:
            by_rhyme[spoken.rhyme].append(spoken)

    groups = []
    for _, spoken_alike in sorted(by_rhyme.items()):
        # Words that sound the same all through (sea, see) are no rhyme: they count once.
        different = {spoken.sounds for spoken in spoken_alike}
        if len(different) > 2:
            groups.append(tuple(spoken_alike))
    return tuple(groups)


def draw_spoken_word(rng: Random) -> SpokenWord:
    """Draw a word with its pronunciation."""
    return rng.choice(spoken_words())


def draw_rhyme_pair(rng: Random) -> RhymePair | None:
    """Draw two words, of one rhyme in half of the draws; None where they sound the same."""
    group = rng.choice(rhyme_groups())
    first = rng.choice(group)
    # The word itself, or one that sounds the same, is no rhyme.
    if rng.random() < 0.5:
        second = rng.choice(group)
        return None if second.sounds == first.sounds else RhymePair(first.word, second.word, True)

    # Another group cannot rhyme: each holds all words of one rhyme.
    other_group = rng.choice(rhyme_groups())
    if other_group is group:
        return None
    return RhymePair(first.word, rng.choice(other_group).word, False)


def few_syllables(spoken: SpokenWord) -> str | None:
    """Return the number of syllables, None above three."""
    # Longer words are too rare for a label.
    return str(spoken.syllables) if spoken.syllables < 4 else None


def stressed_syllable(spoken: SpokenWord) -> str | None:
    """Return "first" or "second"; None for one syllable, where nothing is to be told."""
    if not 1 < spoken.syllables < 4 or spoken.stress > 2:
        return None
    return ("first", "second")[spoken.stress - 1]


def first_sound(spoken: SpokenWord) -> str | None:
    """Return the first sound where it is one of the labels."""
    return spoken.sounds[0] if spoken.sounds[0] in FIRST_SOUNDS else None


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    spoken = Group(
        inputs="spoken word",
        subcategory="phonology",
        source=SOURCE,
        material=draw_spoken_word,
        show=lambda spoken: spoken.word,
        entity=lambda spoken: spoken.word,
        knowledge=True,
    )
    return [*_sound_recipes(spoken), *_label_recipes(spoken), _rhyme_recipe()]


def _sound_recipes(spoken: Group[SpokenWord]) -> list[Recipe]:
    return [
        # One symbol for each sound, whatever the number of letters.
        # "portion" -> "p ao r sh ah n"
        spoken.free(
            "pho_g2p",
            lambda spoken: " ".join(spoken.sounds),
            "Pronounce the word: write its sounds, separated by spaces.",
            "Turn the spelling into sound symbols with a space between them.",
            "How is this word spoken? Give one symbol for each sound.",
            "Transcribe the written word into the sounds one hears.",
            "Write down, sound by sound, how an American says the word.",
        ),
        # Novel: in pre-training the whole word is transcribed, or its first sound named.
        # "portion" -> "n"
        spoken.free(
            "pho_last_sound",
            lambda spoken: spoken.sounds[-1],
            "Write the symbol of the last sound of the word.",
            "Which sound does one hear at the end of this word?",
            "Pronounce the word and give only its final sound.",
            "Say the word; what is the very last sound symbol?",
            "Give the sound, not the letter, on which the word ends.",
            novel=True,
        ),
    ]


def _label_recipes(spoken: Group[SpokenWord]) -> list[Recipe]:
    # Each label leaves some words out, so that each has inputs of its own.
    short = replace(spoken, inputs="spoken word of one to three syllables")
    stressed = replace(spoken, inputs="spoken word of two or three syllables")
    starting = replace(spoken, inputs="spoken word with a common first sound")
    first_sounds = ", ".join(FIRST_SOUNDS)
    return [
        # Counted in sounds: silent vowels of the spelling do not count.
        # "portion" -> "2"
        short.labelled(
            "pho_syllables",
            ("1", "2", "3"),
            few_syllables,
            "How many syllables does the word have: 1, 2 or 3?",
            "Count the syllables of the spoken word. Answer 1, 2 or 3.",
            "Say the word aloud and count its beats, from 1 to 3.",
            "Number of syllables in this word?",
            "Tell whether one, two or three syllables are heard; write 1, 2 or 3.",
        ),
        # "portion" -> "first"
        stressed.labelled(
            "pho_stress",
            ("first", "second"),
            stressed_syllable,
            "Which syllable of the word is stressed, the first or the second?",
            "Where does the main stress of this word lie? Answer first or second.",
            "Say the word: is the first or the second syllable the strongest?",
            "Name the syllable that carries the accent.",
            "Is the word accented on its first syllable or on its second?",
        ),
        # "portion" -> "p"
        starting.labelled(
            "pho_first_sound",
            FIRST_SOUNDS,
            first_sound,
            f"With which sound does the word begin: {first_sounds}?",
            f"Give the first sound, not the first letter: {first_sounds}.",
            f"Say the word and name the sound it starts with ({first_sounds}).",
            "Which sound is heard at the start of the word?",
            "Write the symbol of the opening sound of this word.",
        ),
    ]


def _rhyme_recipe() -> Recipe:
    pairs = Group(
        inputs="rhyming or not",
        subcategory="phonology",
        source=SOURCE,
        material=draw_rhyme_pair,
        show=lambda pair: f"{pair.first} | {pair.second}",
        # The same two words in the other order are no new pair.
        entity=lambda pair: "|".join(sorted((pair.first, pair.second))),
        knowledge=True,
    )
    # "receive | achieve" -> "yes"
    return pairs.labelled(
        "pho_rhyme",
        ("yes", "no"),
        lambda pair: "yes" if pair.rhymes else "no",
        "Do the two words rhyme? Answer yes or no.",
        "Yes or no: could these words end two lines of a rhyme?",
        "Do both words sound alike from the stressed vowel on, yes or no?",
        "Say yes if the words rhyme and no if they do not.",
        "Listen to the endings of both words and decide if they are a rhyme.",
    )
