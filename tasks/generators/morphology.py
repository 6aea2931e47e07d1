"""Forms of single words, asked for in many ways over the same inputs.

Nouns, verbs and adjectives of `ipt.tasks.generators.words`.
"""

from dataclasses import replace
from functools import cache
from random import Random
from typing import NamedTuple

from ipt.tasks.generators.groups import Group
from ipt.tasks.generators.recipe import Recipe, Row
from ipt.tasks.generators.words import (
    Adjective,
    Noun,
    Verb,
    adjectives,
    article,
    nouns,
    verbs,
    with_article,
)

SOURCE = "lemminflect, wonderwords, wordninja"
VERB_FORMS = ("base", "past", "third", "gerund")
PARTS_OF_SPEECH = ("noun", "verb", "adjective", "adverb")
DETERMINERS = ("the", "this", "one", "my")
PLURAL_DETERMINERS = {"this": "these", "one": "two"}


class NounInNumber(NamedTuple):
    """A noun, shown in the plural or the singular."""

    noun: Noun
    is_plural: bool

    @property
    def number(self) -> str:
        """The grammatical number."""
        return "plural" if self.is_plural else "singular"

    @property
    def text(self) -> str:
        """The noun in its number."""
        return self.noun.plural if self.is_plural else self.noun.singular

    @property
    def other_text(self) -> str:
        """The noun in the other number."""
        return self.noun.singular if self.is_plural else self.noun.plural


class VerbForm(NamedTuple):
    """A verb and the form it is shown in."""

    verb: Verb
    form: str

    @property
    def text(self) -> str:
        """The verb in its form."""
        texts = {
            "base": self.verb.lemma,
            "past": self.verb.past,
            "third": self.verb.third,
            "gerund": self.verb.gerund,
        }
        return texts[self.form]


class NounPhrase(NamedTuple):
    """A noun phrase in the singular: "the old ship"."""

    determiner: str
    adjective: str
    noun: Noun

    @property
    def text(self) -> str:
        """The phrase in the singular."""
        return f"{self.determiner} {self.adjective} {self.noun.singular}"

    @property
    def plural(self) -> str:
        """The phrase in the plural."""
        determiner = PLURAL_DETERMINERS.get(self.determiner, self.determiner)
        return f"{determiner} {self.adjective} {self.noun.plural}"


def draw_noun(rng: Random) -> Noun:
    """Draw a noun."""
    return rng.choice(nouns())


def draw_verb(rng: Random) -> Verb:
    """Draw a verb."""
    return rng.choice(verbs())


def draw_adjective(rng: Random) -> Adjective:
    """Draw an adjective."""
    return rng.choice(adjectives())


def draw_noun_in_number(rng: Random) -> NounInNumber:
    """Draw a noun, in the plural in half of the draws."""
    return NounInNumber(rng.choice(nouns()), rng.random() < 0.5)


def draw_verb_form(rng: Random) -> VerbForm | None:
    """Draw a verb in one of its forms; None where the form has two readings."""
    verb = rng.choice(verbs())
    form = rng.choice(VERB_FORMS)
    # "put" is base and past: no label would be right.
    if verb.lemma in (verb.past, verb.participle):
        return None
    return VerbForm(verb, form)


def draw_noun_phrase(rng: Random) -> NounPhrase:
    """Draw a noun phrase in the singular."""
    noun = rng.choice(nouns())
    adjective = rng.choice(adjectives())
    return NounPhrase(rng.choice(DETERMINERS), adjective.base, noun)


def adverb(adjective: str) -> str:
    """Return the adverb in ly; the y of a word of three letters stays (dryly)."""
    # simple, simply
    if adjective.endswith("le"):
        return f"{adjective[:-1]}y"
    # happy, happily
    if adjective.endswith("y") and len(adjective) > 3:
        return f"{adjective[:-1]}ily"
    return f"{adjective}ly"


def noun_in_ness(adjective: str) -> str:
    """Return the noun for a quality."""
    # happy, happiness
    if adjective.endswith("y"):
        return f"{adjective[:-1]}iness"
    return f"{adjective}ness"


def last_letter_kind(word: str) -> str:
    """Return "vowel" or "consonant"."""
    return "vowel" if word[-1] in "aeiou" else "consonant"


@cache
def _words_of_part() -> dict[str, frozenset[str]]:
    """Return the words of each part of speech; adverbs are made from adjectives."""
    return {
        "noun": frozenset(noun.singular for noun in nouns()),
        "verb": frozenset(verb.lemma for verb in verbs()),
        "adjective": frozenset(adjective.base for adjective in adjectives()),
    }


def draw_part_of_speech(rng: Random) -> Row | None:
    """Draw a word of one part of speech; None where it is of another one too."""
    part = rng.choice(PARTS_OF_SPEECH)
    if part == "adverb":
        word = adverb(draw_adjective(rng).base)
    else:
        # All three are drawn and one is taken: the shipped rows rest on the order of draws.
        candidates = {
            "noun": draw_noun(rng).singular,
            "verb": draw_verb(rng).lemma,
            "adjective": draw_adjective(rng).base,
        }
        word = candidates[part]

    # "light" is a noun, a verb and an adjective: no label would be right.
    for other_part, words in _words_of_part().items():
        if other_part != part and word in words:
            return None
    return Row(word, (part,))


def recipes() -> list[Recipe]:
    """Return the recipes of the family."""
    return [
        *_noun_recipes(),
        *_number_recipes(),
        *_verb_recipes(),
        *_verb_form_recipes(),
        *_adjective_recipes(),
        _part_of_speech_recipe(),
        *_phrase_recipes(),
    ]


def _noun_recipes() -> list[Recipe]:
    singulars = Group(
        inputs="noun",
        subcategory="morphology",
        source=SOURCE,
        material=draw_noun,
        show=lambda noun: noun.singular,
    )
    return [
        # Every spelling that the lexicon knows is accepted.
        # "night" -> "nights"
        singulars.free(
            "morph_plural",
            lambda noun: noun.plurals,
            "Write the plural of the noun.",
            "Say the word as it is for two or more.",
            "noun to plural",
            "Turn this singular noun into its plural form.",
        ),
        # "night" -> "a night"
        singulars.free(
            "morph_article",
            lambda noun: with_article(noun.singular),
            "Put the right indefinite article before the noun.",
            "Add a or an in front of the word.",
            "noun with its article",
            "Which article fits? Write it with the noun.",
        ),
        # By sound: the exceptions to the rule of the letter are those of `article`.
        # "night" -> "a"
        singulars.labelled(
            "morph_a_an",
            ("a", "an"),
            lambda noun: article(noun.singular),
            "Does this noun take a or an?",
            "Choose the indefinite article: a or an.",
            "a or an",
        ),
        # Novel: the first letter decides in the two tasks before it, here the last one does.
        # "night" -> "consonant"
        singulars.labelled(
            "morph_noun_ends",
            ("vowel", "consonant"),
            lambda noun: last_letter_kind(noun.singular),
            "Does the word end in a vowel or a consonant?",
            "Tell whether the last letter is a vowel or a consonant.",
            "last letter: vowel or consonant",
            novel=True,
        ),
    ]


def _number_recipes() -> list[Recipe]:
    either = Group(
        inputs="noun in either number",
        subcategory="morphology",
        source=SOURCE,
        material=draw_noun_in_number,
        show=lambda shown: shown.text,
        # Both numbers of a noun go to the same set.
        entity=lambda shown: shown.noun.singular,
    )
    grammar = replace(either, subcategory="grammar")
    return [
        # "nights" -> "plural"
        grammar.labelled(
            "gra_number",
            ("singular", "plural"),
            lambda shown: shown.number,
            "Is the noun singular or plural?",
            "Tell the grammatical number: singular or plural.",
            "singular or plural",
            "One or many? Answer singular or plural.",
        ),
        # "nights" -> "night"
        either.free(
            "morph_singular",
            lambda shown: shown.noun.singular,
            "Write the noun in the singular.",
            "Give the base form of the noun.",
            "to singular",
            "If it is plural make it singular, else keep it.",
        ),
        # Novel: in pre-training the number is named, or made singular, never switched.
        # "nights" -> "night"
        either.free(
            "morph_other_number",
            lambda shown: shown.other_text,
            "Change the number of the noun: singular to plural, plural to singular.",
            "Write the noun in the other number.",
            "switch singular and plural",
            novel=True,
        ),
    ]


def _verb_recipes() -> list[Recipe]:
    bases = Group(
        inputs="verb",
        subcategory="morphology",
        source=SOURCE,
        material=draw_verb,
        show=lambda verb: verb.lemma,
    )
    return [
        # "shake" -> "shook"
        bases.free(
            "morph_past",
            lambda verb: verb.pasts,
            "Write the past tense of the verb.",
            "What is the verb in the simple past?",
            "verb to past",
            "They did it yesterday: which form?",
        ),
        # Regular verbs have the same answer as in `morph_past`.
        # "shake" -> "shaken"
        bases.free(
            "morph_past_participle",
            lambda verb: verb.participles,
            "Write the past participle of the verb.",
            "Which form of the verb follows have?",
            "verb to participle",
            "Give the form used in the perfect.",
        ),
        # "shake" -> "shaking"
        bases.free(
            "morph_gerund",
            lambda verb: verb.gerund,
            "Write the ing form of the verb.",
            "Give the gerund.",
            "verb to gerund",
            "Which form says that it is going on now?",
        ),
        # "shake" -> "shakes"
        bases.free(
            "morph_third_person",
            lambda verb: verb.third,
            "Write the form of the verb that goes with he or she.",
            "Give the third person singular.",
            "verb to third person",
            "She does it every day: which form?",
        ),
        # Novel: the form is known from the tasks before, the word before it is new.
        # "shake" -> "has shaken"
        bases.free(
            "morph_has_done",
            lambda verb: tuple(f"has {participle}" for participle in verb.participles),
            "Write the present perfect for she.",
            "Say that she has done it: has and the participle.",
            "she has done it",
            novel=True,
        ),
        # Novel: in pre-training no form of a single verb has a word before it.
        # "shake" -> "will shake"
        bases.free(
            "morph_will",
            lambda verb: f"will {verb.lemma}",
            "Write the future of the verb.",
            "Put will before the verb.",
            "verb to future",
            novel=True,
        ),
    ]


def _verb_form_recipes() -> list[Recipe]:
    forms = Group(
        inputs="verb form",
        subcategory="morphology",
        source=SOURCE,
        material=draw_verb_form,
        show=lambda shown: shown.text,
        # All forms of a verb go to the same set.
        entity=lambda shown: shown.verb.lemma,
    )
    return [
        # "transports" -> "third"
        forms.labelled(
            "morph_verb_form",
            VERB_FORMS,
            lambda shown: shown.form,
            "Name the form of the verb: base, past, third or gerund.",
            "Which form is it: base, past, third, gerund?",
            "verb form: base, past, third, gerund",
        ),
        # A gerund may have lost the final e of its verb.
        # "transports" -> "transport"
        forms.free(
            "morph_lemma",
            lambda shown: shown.verb.lemma,
            "Write the base form of the verb.",
            "Give the infinitive of this verb form.",
            "verb to base form",
            "Under which word is it in a dictionary?",
        ),
        # "transports" -> "transporting"
        forms.free(
            "morph_form_to_gerund",
            lambda shown: shown.verb.gerund,
            "Whatever the form, write the ing form of the verb.",
            "Turn this verb form into the gerund.",
            "any form to gerund",
        ),
        # Novel: in pre-training any form goes to the base or the gerund.
        # "transports" -> "transported"
        forms.free(
            "morph_form_to_past",
            lambda shown: shown.verb.pasts,
            "Whatever the form, write the past tense of the verb.",
            "Turn this verb form into the simple past.",
            "any form to past",
            novel=True,
        ),
    ]


def _adjective_recipes() -> list[Recipe]:
    bases = Group(
        inputs="adjective",
        subcategory="morphology",
        source=SOURCE,
        material=draw_adjective,
        show=lambda adjective: adjective.base,
    )
    derivation = replace(bases, subcategory="derivation")
    return [
        # "mighty" -> "mightier"
        bases.free(
            "morph_comparative",
            lambda adjective: adjective.comparatives,
            "Write the comparative of the adjective.",
            "Which form goes before than?",
            "adjective to comparative",
            "It has even more of it: write the form.",
        ),
        # "mighty" -> "mightiest"
        bases.free(
            "morph_superlative",
            lambda adjective: adjective.superlatives,
            "Write the superlative of the adjective.",
            "Which form says that it is the most?",
            "adjective to superlative",
        ),
        # By rule alone: made, not looked up.
        # "mighty" -> "mightily"
        derivation.free(
            "der_adverb",
            lambda adjective: adverb(adjective.base),
            "Turn the adjective into an adverb.",
            "Write the word with the ending ly.",
            "adjective to adverb",
            "How is it done? Write the adverb.",
        ),
        # "mighty" -> "mightiness"
        derivation.free(
            "der_ness",
            lambda adjective: noun_in_ness(adjective.base),
            "Turn the adjective into a noun with ness.",
            "Name the quality: add ness.",
            "adjective to noun in ness",
        ),
        # Novel: the comparative is known, the word behind it is new.
        # "mighty" -> "mightier than"
        bases.free(
            "morph_more_than",
            lambda adjective: tuple(f"{form} than" for form in adjective.comparatives),
            "Write the comparative and the word than.",
            "Begin a comparison with this adjective.",
            "comparative with than",
            novel=True,
        ),
    ]


def _part_of_speech_recipe() -> Recipe:
    # "mighty" -> "adjective"
    return Recipe(
        name="morph_pos",
        category="cls",
        subcategory="morphology",
        metric="accuracy",
        definitions=(
            "Is the word a noun, a verb, an adjective or an adverb?",
            "Name the part of speech: noun, verb, adjective, adverb.",
            "part of speech: noun, verb, adjective, adverb",
        ),
        draw=draw_part_of_speech,
        inputs="word of one kind",
        source=SOURCE,
        options=PARTS_OF_SPEECH,
        knowledge=True,
    )


def _phrase_recipes() -> list[Recipe]:
    phrases = Group(
        inputs="noun phrase",
        subcategory="grammar",
        source=SOURCE,
        material=draw_noun_phrase,
        show=lambda phrase: phrase.text,
    )
    return [
        # Determiner and noun both change, the adjective does not.
        # "one coarse night" -> "two coarse nights"
        phrases.free(
            "gra_phrase_plural",
            lambda phrase: phrase.plural,
            "Put the whole phrase into the plural; one becomes two, this becomes these.",
            "Say it of several things.",
            "phrase to plural",
        ),
        # "one coarse night" -> "night"
        phrases.free(
            "gra_head_noun",
            lambda phrase: phrase.noun.singular,
            "Write only the noun of the phrase.",
            "What thing is it about?",
            "noun of the phrase",
        ),
        # Novel: noun and determiner of the same phrases are asked for in pre-training.
        # "one coarse night" -> "coarse"
        phrases.free(
            "gra_phrase_adjective",
            lambda phrase: phrase.adjective,
            "Write only the adjective of the phrase.",
            "Which word describes it?",
            "adjective of the phrase",
            novel=True,
        ),
        # "one coarse night" -> "one"
        phrases.labelled(
            "gra_phrase_determiner",
            DETERMINERS,
            lambda phrase: phrase.determiner,
            "Which determiner does the phrase have: the, this, one or my?",
            "Write the determiner: the, this, one, my.",
            "determiner: the, this, one, my",
        ),
    ]
