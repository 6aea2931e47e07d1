"""Letters and words as such: a single word, a list of words, two words, and a list of letters."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe
from ipt.tasks.generators.words import plain_words

SOURCE = "wordninja, lemminflect"
LETTERS = "abcdefghijklmnoprstuvwy"
"""Without the rare q, x and z."""
VOWELS = "aeiou"
YES_NO = ("yes", "no")
FIRST_OR_SECOND = ("first", "second")

Words = tuple[str, ...]


def draw_word(rng: Random) -> str:
    """Draw a word."""
    return rng.choice(plain_words())


def draw_word_list(rng: Random) -> Words:
    """Draw three to five different words."""
    return tuple(rng.sample(plain_words(), rng.randint(3, 5)))


def draw_list_with_repeat(rng: Random) -> Words:
    """Draw three different words, and one of them again."""
    words = rng.sample(plain_words(), 3)
    words.insert(rng.randrange(4), rng.choice(words))
    return tuple(words)


def draw_word_pair(rng: Random) -> Words:
    """Draw two different words."""
    return tuple(rng.sample(plain_words(), 2))


def draw_letters(rng: Random) -> Words:
    """Draw four to six different letters."""
    return tuple(rng.sample(LETTERS, rng.randint(4, 6)))


def vowels_in(letters: Sequence[str]) -> list[str]:
    """Return the vowels, in their order and as often as they occur."""
    return [letter for letter in letters if letter in VOWELS]


def without_vowels(word: str) -> str:
    """Return the consonants of a word."""
    return "".join(letter for letter in word if letter not in VOWELS)


def few_vowels(word: str) -> str | None:
    """Return the number of vowels; None where it is not one of the labels."""
    count = len(vowels_in(word))
    return str(count) if 1 <= count <= 3 else None


def kind_of_first_letter(word: str) -> str:
    """Return "vowel" or "consonant"."""
    return "vowel" if word[0] in VOWELS else "consonant"


def longest(words: Words) -> str | None:
    """Return the longest word; None where two share the length."""
    longest_word, next_word = sorted(words, key=len, reverse=True)[:2]
    return None if len(longest_word) == len(next_word) else longest_word


def acronym(words: Words) -> str:
    """Return the first letters as capitals."""
    return "".join(word[0] for word in words).upper()


def camel_case(words: Words) -> str:
    """Return the words as one name."""
    return words[0] + "".join(map(str.capitalize, words[1:]))


def enumeration(words: Words) -> str:
    """Return the words as a sentence lists them."""
    return f"{', '.join(words[:-1])} and {words[-1]}"


def repeated(words: Words) -> str:
    """Return the word that occurs twice."""
    for word in words:
        if words.count(word) > 1:
            return word
    raise ValueError(f"no word occurs twice in {words}")


def without_repeat(words: Words) -> str:
    """Return the words without the second occurrence of any."""
    return " ".join(dict.fromkeys(words))


def earlier_in_dictionary(words: Words) -> str:
    """Return which of two words comes first in the alphabet."""
    first, second = words
    return "first" if first < second else "second"


def longer_of_two(words: Words) -> str | None:
    """Return which of two words is longer; None where neither is."""
    first, second = words
    if len(first) == len(second):
        return None
    return "first" if len(first) > len(second) else "second"


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_letter_of_word_recipes(),
        *_word_label_recipes(),
        *_word_list_recipes(),
        *_whole_list_recipes(),
        *_word_pair_recipes(),
        *_repeat_recipes(),
        *_letter_list_recipes(),
    ]


def _words() -> Group[str]:
    return Group(
        inputs="word",
        subcategory="string",
        source=SOURCE,
        material=draw_word,
        show=str,
    )


def _letter_of_word_recipes() -> list[Recipe]:
    words = _words()
    return [
        # "head" -> "h"
        words.free(
            "str_first_letter",
            lambda word: word[0],
            "Write the first letter of the word.",
            "With which letter does it begin?",
            "first letter",
        ),
        # "head" -> "d"
        words.free(
            "str_last_letter",
            lambda word: word[-1],
            "Write the last letter of the word.",
            "With which letter does it end?",
            "last letter",
        ),
        # Novel: in pre-training one letter is asked for, never two.
        # "head" -> "he"
        words.free(
            "str_first_two",
            lambda word: word[:2],
            "Write the first two letters.",
            "How does the word begin? Two letters.",
            "two letters from the start",
            novel=True,
        ),
        # "head" -> "HEAD"
        words.free(
            "str_upper",
            str.upper,
            "Write the word in capital letters.",
            "Change every letter to upper case.",
            "upper case",
        ),
        # "head" -> "h-e-a-d"
        words.free(
            "str_spell_out",
            "-".join,
            "Spell the word with hyphens between the letters.",
            "Separate all letters by hyphens.",
            "spell with hyphens",
        ),
        # "head" -> "ead"
        words.free(
            "str_drop_first",
            lambda word: word[1:],
            "Leave out the first letter of the word.",
            "Write the word without its first letter.",
            "drop first letter",
        ),
        # "head" -> "hea"
        words.free(
            "str_drop_last",
            lambda word: word[:-1],
            "Leave out the last letter of the word.",
            "Write the word without its last letter.",
            "drop last letter",
        ),
        # "head" -> "hd"
        words.free(
            "str_remove_vowels",
            without_vowels,
            "Remove all vowels from the word.",
            "Keep only the consonants.",
            "without vowels",
        ),
        # "head" -> "eadhay"
        words.free(
            "str_pig_latin",
            lambda word: f"{word[1:]}{word[0]}ay",
            "Move the first letter to the end and add ay.",
            "Say it in simple pig Latin: first letter last, then ay.",
            "pig Latin",
        ),
    ]


def _word_label_recipes() -> list[Recipe]:
    words = _words()
    return [
        # The words have three to seven letters.
        # "head" -> "4"
        words.labelled(
            "str_length",
            ("3", "4", "5", "6", "7"),
            lambda word: str(len(word)),
            "How many letters does the word have?",
            "Count the letters: 3, 4, 5, 6 or 7.",
            "number of letters, 3 to 7",
        ),
        # "head" -> "consonant"
        words.labelled(
            "str_starts_vowel",
            ("vowel", "consonant"),
            kind_of_first_letter,
            "Does the word start with a vowel or a consonant?",
            "Name the kind of the first letter: vowel or consonant.",
            "first letter: vowel or consonant",
        ),
        # The most frequent letter: both answers are common.
        # "head" -> "yes"
        words.labelled(
            "str_contains_e",
            YES_NO,
            lambda word: "yes" if "e" in word else "no",
            "Does the word contain the letter e? yes or no",
            "Say yes if there is an e in it, else no.",
            "has an e: yes or no",
        ),
        # Words with none or many are left out: they are too few for a label.
        # "head" -> "2"
        words.labelled(
            "cnt_vowels",
            ("1", "2", "3"),
            few_vowels,
            "How many vowels has the word: 1, 2 or 3?",
            "Count the letters a, e, i, o, u: 1 to 3.",
            "number of vowels, 1 to 3",
        ),
    ]


def _word_lists() -> Group[Words]:
    return Group(
        inputs="word list",
        subcategory="word list",
        source=SOURCE,
        material=draw_word_list,
        show=" ".join,
    )


def _word_list_recipes() -> list[Recipe]:
    lists = _word_lists()
    return [
        # "send leg face square wish" -> "send"
        lists.free(
            "str_first_word",
            lambda words: words[0],
            "Write the first word.",
            "Which word comes first?",
            "first of the words",
        ),
        # "send leg face square wish" -> "leg"
        lists.free(
            "str_second_word",
            lambda words: words[1],
            "Write the second word.",
            "Which word comes second?",
            "second of the words",
        ),
        # Novel: lists differ in length, so that the last word has no fixed place.
        # "send leg face square wish" -> "wish"
        lists.free(
            "str_last_word",
            lambda words: words[-1],
            "Write the last word.",
            "Which word is at the end?",
            "last of the words",
            novel=True,
        ),
        # Novel: in pre-training no word of these lists is dropped.
        # "send leg face square wish" -> "send leg face square"
        lists.free(
            "str_drop_last_word",
            lambda words: " ".join(words[:-1]),
            "Leave out the last word.",
            "Write all words but the last.",
            "without the last word",
            novel=True,
        ),
        # "send leg face square wish" -> "wish square face leg send"
        lists.free(
            "str_reverse_words",
            lambda words: " ".join(words[::-1]),
            "Write the words in the opposite order.",
            "Reverse the order of the words.",
            "words backwards",
        ),
        # "send leg face square wish" -> "face leg send square wish"
        lists.free(
            "str_sort_words",
            lambda words: " ".join(sorted(words)),
            "Sort the words alphabetically.",
            "Put the words into dictionary order.",
            "words from a to z",
        ),
        # "send leg face square wish" -> "face"
        lists.free(
            "str_first_in_dictionary",
            min,
            "Which of the words comes first in a dictionary?",
            "Write the alphabetically first word.",
            "first from a to z",
        ),
        # Two words of the same length have no fair answer.
        # "send leg face square wish" -> "square"
        lists.free(
            "str_longest_word",
            longest,
            "Write the longest word.",
            "Which word has the most letters?",
            "longest of the words",
        ),
    ]


def _whole_list_recipes() -> list[Recipe]:
    lists = _word_lists()
    counting = replace(lists, subcategory="counting")
    return [
        # "send leg face square wish" -> "SLFSW"
        lists.free(
            "str_acronym",
            acronym,
            "Write the first letters as an acronym in capitals.",
            "Make an abbreviation of the words.",
            "acronym",
        ),
        # "send leg face square wish" -> "sendLegFaceSquareWish"
        lists.free(
            "str_camel",
            camel_case,
            "Join the words in camel case.",
            "Write it as one name, each later word with a capital.",
            "camel case",
        ),
        # Novel: in pre-training lists are joined without a word between.
        # "send leg face square wish" -> "send, leg, face, square and wish"
        lists.free(
            "str_and",
            enumeration,
            "Join the words with commas and the last one with and.",
            "Write the list as in a sentence.",
            "list with and",
            novel=True,
        ),
        # "send leg face square wish" -> "5"
        counting.labelled(
            "cnt_words",
            ("3", "4", "5"),
            lambda words: str(len(words)),
            "How many words are there: 3, 4 or 5?",
            "Count the words, 3 to 5.",
            "number of words",
        ),
    ]


def _word_pair_recipes() -> list[Recipe]:
    pairs = Group(
        inputs="word pair",
        subcategory="word pair",
        source=SOURCE,
        material=draw_word_pair,
        show=" | ".join,
    )
    return [
        # The input of `str_first_in_dictionary` with a label instead of a word.
        # "owner | random" -> "first"
        pairs.labelled(
            "str_alphabetical_first",
            FIRST_OR_SECOND,
            earlier_in_dictionary,
            "Which word comes first in a dictionary, the first or the second?",
            "Compare the spelling: first or second is earlier in the alphabet?",
            "alphabet: first or second",
        ),
        # "owner | random" -> "second"
        pairs.labelled(
            "str_longer",
            FIRST_OR_SECOND,
            longer_of_two,
            "Which word is longer, the first or the second?",
            "Compare the number of letters: first or second.",
            "longer: first or second",
        ),
        # "owner | random" -> "random | owner"
        pairs.free(
            "str_swap",
            lambda words: " | ".join(words[::-1]),
            "Swap the two words, keep the bar.",
            "Write the second word, a bar, and the first word.",
            "exchange the sides",
        ),
        # "owner | random" -> "ownerrandom"
        pairs.free(
            "str_compound",
            "".join,
            "Join the two words into one.",
            "Write both words together without a space.",
            "join the sides",
        ),
    ]


def _repeat_recipes() -> list[Recipe]:
    lists = Group(
        inputs="list with repeat",
        subcategory="word list",
        source=SOURCE,
        material=draw_list_with_repeat,
        show=" ".join,
    )
    return [
        # The two words that are the same need not stand side by side.
        # "head bobby bobby wire" -> "head bobby wire"
        lists.free(
            "str_duplicate_removal",
            without_repeat,
            "Write each word only once.",
            "Remove the word that comes again.",
            "without repetition",
        ),
        # "head bobby bobby wire" -> "bobby"
        lists.free(
            "str_repeated_word",
            repeated,
            "Which word occurs twice?",
            "Write the word that is repeated.",
            "the doubled word",
        ),
    ]


def _letter_list_recipes() -> list[Recipe]:
    # The rules of the word tasks over other symbols: what was learnt there must carry over.
    lists = Group(
        inputs="letters",
        subcategory="letters",
        source=SOURCE,
        material=draw_letters,
        show=" ".join,
    )
    return [
        # "c i l g d" -> "d g l i c"
        lists.free(
            "let_reverse",
            lambda letters: " ".join(letters[::-1]),
            "Write the letters in the opposite order.",
            "Reverse the letters.",
            "letters backwards",
        ),
        # "c i l g d" -> "c d g i l"
        lists.free(
            "let_sort",
            lambda letters: " ".join(sorted(letters)),
            "Sort the letters alphabetically.",
            "Put the letters into the order of the alphabet.",
            "letters from a to z",
        ),
        # "c i l g d" -> "cilgd"
        lists.free(
            "let_join",
            "".join,
            "Write the letters as one word.",
            "Join the letters without spaces.",
            "letters together",
        ),
        # A draw without a vowel gives no answer and is no row.
        # "c i l g d" -> "i"
        lists.free(
            "let_vowels",
            lambda letters: " ".join(vowels_in(letters)),
            "Write only the vowels.",
            "Which of the letters are vowels?",
            "only the vowels",
        ),
        # "c i l g d" -> "c"
        lists.free(
            "let_first_alphabet",
            min,
            "Which letter comes first in the alphabet?",
            "Write the earliest letter of the alphabet among them.",
            "earliest letter",
        ),
        # Novel: the first one in the alphabet is asked for in pre-training.
        # "c i l g d" -> "l"
        lists.free(
            "let_last_alphabet",
            max,
            "Which letter comes last in the alphabet?",
            "Write the latest letter of the alphabet among them.",
            "latest letter",
            novel=True,
        ),
        # "c i l g d" -> "yes"
        lists.labelled(
            "let_has_vowel",
            YES_NO,
            lambda letters: "yes" if vowels_in(letters) else "no",
            "Is there a vowel among the letters? yes or no",
            "Say yes if any letter is a vowel, else no.",
            "some vowel: yes or no",
        ),
    ]
