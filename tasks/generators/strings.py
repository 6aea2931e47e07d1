"""Letters and words as such: three input distributions, a single word, a list of words, and a list of letters."""

from random import Random

from ipt.tasks.generators.recipe import Recipe, over
from ipt.tasks.generators.words import plain_words

SOURCE = "wordninja, lemminflect"
Words = tuple[str, ...]


def word(rng: Random) -> str:
    return rng.choice(plain_words())


def word_list(rng: Random) -> Words:
    """Draw three to five different words."""
    return tuple(rng.sample(plain_words(), rng.randint(3, 5)))


def with_repeat(rng: Random) -> Words:
    """Draw three different words, and one of them again."""
    words = rng.sample(plain_words(), 3)
    words.insert(rng.randrange(4), rng.choice(words))
    return tuple(words)


def word_pair(rng: Random) -> Words:
    return tuple(rng.sample(plain_words(), 2))


def letters(rng: Random) -> Words:
    """Draw four to six different letters."""
    return tuple(rng.sample("abcdefghijklmnoprstuvwy", rng.randint(4, 6)))


def unique_extreme(words: Words, longest: bool) -> str | None:
    """Return the longest or shortest word, None where two share the length."""
    lengths = sorted((len(w) for w in words), reverse=longest)
    return None if lengths[0] == lengths[1] else next(w for w in words if len(w) == lengths[0])


def repeated(words: Words) -> str:
    return next(w for w in words if words.count(w) > 1)


def once(words: Words) -> str:
    return " ".join(dict.fromkeys(words))


def camel(words: Words) -> str:
    return words[0] + "".join(w.capitalize() for w in words[1:])


def recipes() -> list[Recipe]:
    return [*_single_word(), *_word_list(), *_pairs_and_repeats(), *_letters()]


def _single_word() -> list[Recipe]:
    def make(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(name, category, "string", metric, definitions, over(word, str, answer), "word", SOURCE, options, novel=novel)

    return [
        make("str_first_letter", ("Write the first letter of the word.", "With which letter does it begin?", "first letter"), lambda w: w[0]),
        make("str_last_letter", ("Write the last letter of the word.", "With which letter does it end?", "last letter"), lambda w: w[-1]),
        make("str_first_two", ("Write the first two letters.", "How does the word begin? Two letters.", "two letters from the start"), lambda w: w[:2], novel=True),
        make("str_upper", ("Write the word in capital letters.", "Change every letter to upper case.", "upper case"), str.upper),
        make("str_spell_out", ("Spell the word with hyphens between the letters.", "Separate all letters by hyphens.", "spell with hyphens"), "-".join),
        make("str_drop_first", ("Leave out the first letter of the word.", "Write the word without its first letter.", "drop first letter"), lambda w: w[1:]),
        make("str_drop_last", ("Leave out the last letter of the word.", "Write the word without its last letter.", "drop last letter"), lambda w: w[:-1]),
        make("str_remove_vowels", ("Remove all vowels from the word.", "Keep only the consonants.", "without vowels"), lambda w: "".join(c for c in w if c not in "aeiou")),
        make("str_pig_latin", ("Move the first letter to the end and add ay.", "Say it in simple pig Latin: first letter last, then ay.", "pig Latin"), lambda w: w[1:] + w[0] + "ay"),
        make("str_length", ("How many letters does the word have?", "Count the letters: 3, 4, 5, 6 or 7.", "number of letters, 3 to 7"), lambda w: str(len(w)), tuple("34567")),
        make("str_starts_vowel", ("Does the word start with a vowel or a consonant?", "Name the kind of the first letter: vowel or consonant.", "first letter: vowel or consonant"),
             lambda w: "vowel" if w[0] in "aeiou" else "consonant", ("vowel", "consonant")),
        make("str_contains_e", ("Does the word contain the letter e? yes or no", "Say yes if there is an e in it, else no.", "has an e: yes or no"), lambda w: "yes" if "e" in w else "no", ("yes", "no")),
        make("cnt_vowels", ("How many vowels has the word: 1, 2 or 3?", "Count the letters a, e, i, o, u: 1 to 3.", "number of vowels, 1 to 3"),
             lambda w: str(n) if 1 <= (n := sum(c in "aeiou" for c in w)) <= 3 else None, tuple("123")),
    ]  # fmt: skip


def _word_list() -> list[Recipe]:
    def make(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False, subcategory: str = "word list") -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(
            name, category, subcategory, metric, definitions, over(word_list, " ".join, answer), "word list", SOURCE, options, novel=novel
        )

    return [
        make("str_first_word", ("Write the first word.", "Which word comes first?", "first of the words"), lambda w: w[0]),
        make("str_second_word", ("Write the second word.", "Which word comes second?", "second of the words"), lambda w: w[1]),
        make("str_last_word", ("Write the last word.", "Which word is at the end?", "last of the words"), lambda w: w[-1], novel=True),
        make("str_drop_last_word", ("Leave out the last word.", "Write all words but the last.", "without the last word"), lambda w: " ".join(w[:-1]), novel=True),
        make("str_reverse_words", ("Write the words in the opposite order.", "Reverse the order of the words.", "words backwards"), lambda w: " ".join(w[::-1])),
        make("str_sort_words", ("Sort the words alphabetically.", "Put the words into dictionary order.", "words from a to z"), lambda w: " ".join(sorted(w))),
        make("str_first_in_dictionary", ("Which of the words comes first in a dictionary?", "Write the alphabetically first word.", "first from a to z"), min),
        make("str_longest_word", ("Write the longest word.", "Which word has the most letters?", "longest of the words"), lambda w: unique_extreme(w, True)),
        make("str_acronym", ("Write the first letters as an acronym in capitals.", "Make an abbreviation of the words.", "acronym"), lambda w: "".join(x[0] for x in w).upper()),
        make("str_camel", ("Join the words in camel case.", "Write it as one name, each later word with a capital.", "camel case"), camel),
        make("str_and", ("Join the words with commas and the last one with and.", "Write the list as in a sentence.", "list with and"), lambda w: ", ".join(w[:-1]) + " and " + w[-1], novel=True),
        make("cnt_words", ("How many words are there: 3, 4 or 5?", "Count the words, 3 to 5.", "number of words"), lambda w: str(len(w)), tuple("345"), subcategory="counting"),
    ]  # fmt: skip


def _pairs_and_repeats() -> list[Recipe]:
    def pair(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(
            name, category, "word pair", metric, definitions, over(word_pair, " | ".join, answer), "word pair", SOURCE, options, novel=novel
        )

    def side(first: bool | None) -> str | None:
        return None if first is None else "first" if first else "second"

    repeats = [
        ("str_duplicate_removal", ("Write each word only once.", "Remove the word that comes again.", "without repetition"), once),
        ("str_repeated_word", ("Which word occurs twice?", "Write the word that is repeated.", "the doubled word"), repeated),
    ]
    return [
        pair("str_alphabetical_first", ("Which word comes first in a dictionary, the first or the second?", "Compare the spelling: first or second is earlier in the alphabet?", "alphabet: first or second"),
             lambda w: side(w[0] < w[1]), ("first", "second")),
        pair("str_longer", ("Which word is longer, the first or the second?", "Compare the number of letters: first or second.", "longer: first or second"),
             lambda w: side(None if len(w[0]) == len(w[1]) else len(w[0]) > len(w[1])), ("first", "second")),
        pair("str_swap", ("Swap the two words, keep the bar.", "Write the second word, a bar, and the first word.", "exchange the sides"), lambda w: f"{w[1]} | {w[0]}"),
        pair("str_compound", ("Join the two words into one.", "Write both words together without a space.", "join the sides"), "".join),
        *(Recipe(name, "non-cls", "word list", "exact-match", definitions, over(with_repeat, " ".join, answer), "list with repeat", SOURCE) for name, definitions, answer in repeats),
    ]  # fmt: skip


def _letters() -> list[Recipe]:
    def make(name: str, definitions: tuple[str, ...], answer, options=None, novel: bool = False) -> Recipe:  # type: ignore[no-untyped-def]
        category, metric = ("cls", "accuracy") if options else ("non-cls", "exact-match")
        return Recipe(
            name, category, "letters", metric, definitions, over(letters, " ".join, answer), "letters", SOURCE, options, novel=novel
        )

    return [
        make("let_reverse", ("Write the letters in the opposite order.", "Reverse the letters.", "letters backwards"), lambda x: " ".join(x[::-1])),
        make("let_sort", ("Sort the letters alphabetically.", "Put the letters into the order of the alphabet.", "letters from a to z"), lambda x: " ".join(sorted(x))),
        make("let_join", ("Write the letters as one word.", "Join the letters without spaces.", "letters together"), "".join),
        make("let_vowels", ("Write only the vowels.", "Which of the letters are vowels?", "only the vowels"), lambda x: " ".join(c for c in x if c in "aeiou")),
        make("let_first_alphabet", ("Which letter comes first in the alphabet?", "Write the earliest letter of the alphabet among them.", "earliest letter"), min),
        make("let_last_alphabet", ("Which letter comes last in the alphabet?", "Write the latest letter of the alphabet among them.", "latest letter"), max, novel=True),
        make("let_has_vowel", ("Is there a vowel among the letters? yes or no", "Say yes if any letter is a vowel, else no.", "some vowel: yes or no"), lambda x: "yes" if set(x) & set("aeiou") else "no", ("yes", "no")),
    ]  # fmt: skip
