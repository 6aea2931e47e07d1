"""Sounds of words: pronunciation, syllables, stress, rhyme.

Source: misaki (American pronunciations), written with the ASCII symbols of the ARPAbet without stress digits.
"""

from collections import defaultdict
from functools import cache
from random import Random

from ipt.tasks.generators.lexemes import VOWELS, free, labelled, pronunciations, syllables
from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.words import fair

FIRST_SOUNDS = ("b", "d", "f", "k", "m", "p", "r", "s")
LONGEST_WORD = 8
YES_NO = ("yes", "no")
Sounds = tuple[str, ...]
Spoken = tuple[str, Sounds, int]  # word, its sounds, its stressed syllable


@cache
def spoken_words() -> tuple[Spoken, ...]:
    return tuple((w, *entry) for w, entry in sorted(pronunciations().items()) if len(w) <= LONGEST_WORD and fair(w))


@cache
def rhymes() -> tuple[tuple[Spoken, ...], ...]:
    """Groups of words that sound the same from the stressed vowel on."""
    found = defaultdict(list)
    for word, sounds, stress in spoken_words():
        if syllables(sounds) < 3:
            found[sounds[_stressed_vowel(sounds, stress) :]].append((word, sounds, stress))
    return tuple(tuple(words) for _, words in sorted(found.items()) if len({sounds for _, sounds, _ in words}) > 2)


def spoken(rng: Random) -> Spoken:
    return rng.choice(spoken_words())


def rhyme_pair(rng: Random) -> tuple[str, str, str] | None:
    """Draw two words and whether they rhyme, which half of them do."""
    group = rng.choice(rhymes())
    word, sounds, _ = rng.choice(group)
    if rng.random() < 0.5:
        other, heard, _ = rng.choice(group)
        return None if heard == sounds else (word, other, "yes")
    others = rng.choice(rhymes())
    return None if others is group else (word, rng.choice(others)[0], "no")


def recipes() -> list[Recipe]:
    return [*_single(), *_pairs()]


def _single() -> list[Recipe]:
    source, inputs = "misaki, wordninja", "spoken word"

    def word(x: Spoken) -> str:
        return x[0]

    def number(x: Spoken) -> str | None:
        return str(syllables(x[1])) if syllables(x[1]) < 4 else None

    def stress(x: Spoken) -> str | None:
        return ("first", "second")[x[2] - 1] if 1 < syllables(x[1]) < 4 and x[2] < 3 else None

    def first(x: Spoken) -> str | None:
        return x[1][0] if x[1][0] in FIRST_SOUNDS else None

    return [
        free("pho_g2p", "phonology", inputs, source, over(spoken, word, lambda x: " ".join(x[1]), word),
             "Pronounce the word: write its sounds, separated by spaces.",
             "Turn the spelling into sound symbols with a space between them.",
             "How is this word spoken? Give one symbol for each sound.",
             "Transcribe the written word into the sounds one hears.",
             "Write down, sound by sound, how an American says the word."),
        free("pho_last_sound", "phonology", inputs, source, over(spoken, word, lambda x: x[1][-1], word),
             "Write the symbol of the last sound of the word.",
             "Which sound does one hear at the end of this word?",
             "Pronounce the word and give only its final sound.",
             "Say the word; what is the very last sound symbol?",
             "Give the sound, not the letter, on which the word ends.", novel=True),
        labelled("pho_syllables", "phonology", "spoken word of one to three syllables", source,
                 over(spoken, word, number, word), ("1", "2", "3"),
                 "How many syllables does the word have: 1, 2 or 3?",
                 "Count the syllables of the spoken word. Answer 1, 2 or 3.",
                 "Say the word aloud and count its beats, from 1 to 3.",
                 "Number of syllables in this word?",
                 "Tell whether one, two or three syllables are heard; write 1, 2 or 3."),
        labelled("pho_stress", "phonology", "spoken word of two or three syllables", source,
                 over(spoken, word, stress, word), ("first", "second"),
                 "Which syllable of the word is stressed, the first or the second?",
                 "Where does the main stress of this word lie? Answer first or second.",
                 "Say the word: is the first or the second syllable the strongest?",
                 "Name the syllable that carries the accent.",
                 "Is the word accented on its first syllable or on its second?"),
        labelled("pho_first_sound", "phonology", "spoken word with a common first sound", source,
                 over(spoken, word, first, word), FIRST_SOUNDS,
                 f"With which sound does the word begin: {', '.join(FIRST_SOUNDS)}?",
                 f"Give the first sound, not the first letter: {', '.join(FIRST_SOUNDS)}.",
                 f"Say the word and name the sound it starts with ({', '.join(FIRST_SOUNDS)}).",
                 "Which sound is heard at the start of the word?",
                 "Write the symbol of the opening sound of this word."),
    ]  # fmt: skip


def _pairs() -> list[Recipe]:
    source = "misaki, wordninja"

    def show(x: tuple[str, str, str]) -> str:
        return f"{x[0]} | {x[1]}"

    def key(x: tuple[str, str, str]) -> str:
        return "|".join(sorted(x[:2]))

    return [
        labelled("pho_rhyme", "phonology", "rhyming or not", source,
                 over(rhyme_pair, show, lambda x: x[2], key), YES_NO,
                 "Do the two words rhyme? Answer yes or no.",
                 "Yes or no: could these words end two lines of a rhyme?",
                 "Do both words sound alike from the stressed vowel on, yes or no?",
                 "Say yes if the words rhyme and no if they do not.",
                 "Listen to the endings of both words and decide if they are a rhyme."),
    ]  # fmt: skip


def _stressed_vowel(sounds: Sounds, stress: int) -> int:
    """Return the place of the vowel of the stressed syllable."""
    return [i for i, sound in enumerate(sounds) if sound in VOWELS][stress - 1]
