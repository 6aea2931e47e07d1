"""Forms of single words: nouns, verbs and adjectives of `ipt.tasks.generators.words`, asked for in many ways over the same inputs."""

from random import Random

from ipt.tasks.generators.recipe import Recipe, Row, over
from ipt.tasks.generators.words import Adjective, Noun, Verb, with_article, adjectives, nouns, verbs

SOURCE = "lemminflect, wonderwords, wordninja"


def a_noun(rng: Random) -> Noun:
    return rng.choice(nouns())


def a_verb(rng: Random) -> Verb:
    return rng.choice(verbs())


def an_adjective(rng: Random) -> Adjective:
    return rng.choice(adjectives())


def either_number(rng: Random) -> tuple[Noun, bool]:
    return rng.choice(nouns()), rng.random() < 0.5


def verb_form(rng: Random) -> tuple[Verb, str, str] | None:
    """Draw a verb, the name of one of its forms and the form; None where the form has two readings."""
    verb = rng.choice(verbs())
    kind = rng.choice(("base", "past", "third", "gerund"))
    text = {"base": verb.lemma, "past": verb.past, "third": verb.third, "gerund": verb.gerund}[kind]
    return None if verb.lemma in (verb.past, verb.participle) else (verb, kind, text)


def phrase(rng: Random) -> tuple[str, Noun, str] | None:
    """Draw a noun phrase in the singular: "the old ship"."""
    noun, adjective = rng.choice(nouns()), rng.choice(adjectives())
    return rng.choice(("the", "this", "one", "my")), noun, adjective.base


def part_of_speech(rng: Random) -> Row | None:
    kind = rng.choice(("noun", "verb", "adjective", "adverb"))
    if kind == "adverb":
        word = adverb(rng.choice(adjectives()).base)
    else:
        word = {"noun": a_noun(rng).singular, "verb": a_verb(rng).lemma, "adjective": an_adjective(rng).base}[kind]
    single = {"noun": {n.singular for n in nouns()}, "verb": {v.lemma for v in verbs()}, "adjective": {x.base for x in adjectives()}}
    if any(word in words for name, words in single.items() if name != kind):
        return None
    return Row(word, (kind,))


def adverb(adjective: str) -> str:
    if adjective.endswith("le"):
        return adjective[:-1] + "y"
    return (adjective[:-1] + "i" if adjective.endswith("y") and len(adjective) > 3 else adjective) + "ly"


def ends_in(word: str) -> str:
    return "vowel" if word[-1] in "aeiou" else "consonant"


def recipes() -> list[Recipe]:
    noun_text, verb_text = (lambda n: n.singular), (lambda v: v.lemma)
    adjective_text = lambda x: x.base  # noqa: E731
    return [
        Recipe("morph_plural", "non-cls", "morphology", "exact-match",
               ("Write the plural of the noun.", "Say the word as it is for two or more.", "noun to plural", "Turn this singular noun into its plural form."),
               over(a_noun, noun_text, lambda n: n.plurals), "noun", SOURCE),
        Recipe("morph_article", "non-cls", "morphology", "exact-match",
               ("Put the right indefinite article before the noun.", "Add a or an in front of the word.", "noun with its article", "Which article fits? Write it with the noun."),
               over(a_noun, noun_text, lambda n: with_article(n.singular)), "noun", SOURCE),
        Recipe("morph_a_an", "cls", "morphology", "accuracy",
               ("Does this noun take a or an?", "Choose the indefinite article: a or an.", "a or an"),
               over(a_noun, noun_text, lambda n: with_article(n.singular).split()[0]), "noun", SOURCE, options=("a", "an")),
        Recipe("morph_noun_ends", "cls", "morphology", "accuracy",
               ("Does the word end in a vowel or a consonant?", "Tell whether the last letter is a vowel or a consonant.", "last letter: vowel or consonant"),
               over(a_noun, noun_text, lambda n: ends_in(n.singular)), "noun", SOURCE, options=("vowel", "consonant"), novel=True),
        Recipe("gra_number", "cls", "grammar", "accuracy",
               ("Is the noun singular or plural?", "Tell the grammatical number: singular or plural.", "singular or plural", "One or many? Answer singular or plural."),
               over(either_number, lambda x: x[0].plural if x[1] else x[0].singular, lambda x: "plural" if x[1] else "singular", lambda x: x[0].singular),
               "noun in either number", SOURCE, options=("singular", "plural")),
        Recipe("morph_singular", "non-cls", "morphology", "exact-match",
               ("Write the noun in the singular.", "Give the base form of the noun.", "to singular", "If it is plural make it singular, else keep it."),
               over(either_number, lambda x: x[0].plural if x[1] else x[0].singular, lambda x: x[0].singular, lambda x: x[0].singular),
               "noun in either number", SOURCE),
        Recipe("morph_other_number", "non-cls", "morphology", "exact-match",
               ("Change the number of the noun: singular to plural, plural to singular.", "Write the noun in the other number.", "switch singular and plural"),
               over(either_number, lambda x: x[0].plural if x[1] else x[0].singular, lambda x: x[0].singular if x[1] else x[0].plural, lambda x: x[0].singular),
               "noun in either number", SOURCE, novel=True),
        Recipe("morph_past", "non-cls", "morphology", "exact-match",
               ("Write the past tense of the verb.", "What is the verb in the simple past?", "verb to past", "They did it yesterday: which form?"),
               over(a_verb, verb_text, lambda v: v.pasts), "verb", SOURCE),
        Recipe("morph_past_participle", "non-cls", "morphology", "exact-match",
               ("Write the past participle of the verb.", "Which form of the verb follows have?", "verb to participle", "Give the form used in the perfect."),
               over(a_verb, verb_text, lambda v: v.participles), "verb", SOURCE),
        Recipe("morph_gerund", "non-cls", "morphology", "exact-match",
               ("Write the ing form of the verb.", "Give the gerund.", "verb to gerund", "Which form says that it is going on now?"),
               over(a_verb, verb_text, lambda v: v.gerund), "verb", SOURCE),
        Recipe("morph_third_person", "non-cls", "morphology", "exact-match",
               ("Write the form of the verb that goes with he or she.", "Give the third person singular.", "verb to third person", "She does it every day: which form?"),
               over(a_verb, verb_text, lambda v: v.third), "verb", SOURCE),
        Recipe("morph_has_done", "non-cls", "morphology", "exact-match",
               ("Write the present perfect for she.", "Say that she has done it: has and the participle.", "she has done it"),
               over(a_verb, verb_text, lambda v: tuple(f"has {p}" for p in v.participles)), "verb", SOURCE, novel=True),
        Recipe("morph_will", "non-cls", "morphology", "exact-match",
               ("Write the future of the verb.", "Put will before the verb.", "verb to future"),
               over(a_verb, verb_text, lambda v: f"will {v.lemma}"), "verb", SOURCE, novel=True),
        Recipe("morph_verb_form", "cls", "morphology", "accuracy",
               ("Name the form of the verb: base, past, third or gerund.", "Which form is it: base, past, third, gerund?", "verb form: base, past, third, gerund"),
               over(verb_form, lambda x: x[2], lambda x: x[1], lambda x: x[0].lemma), "verb form", SOURCE, options=("base", "past", "third", "gerund")),
        Recipe("morph_lemma", "non-cls", "morphology", "exact-match",
               ("Write the base form of the verb.", "Give the infinitive of this verb form.", "verb to base form", "Under which word is it in a dictionary?"),
               over(verb_form, lambda x: x[2], lambda x: x[0].lemma, lambda x: x[0].lemma), "verb form", SOURCE),
        Recipe("morph_form_to_gerund", "non-cls", "morphology", "exact-match",
               ("Whatever the form, write the ing form of the verb.", "Turn this verb form into the gerund.", "any form to gerund"),
               over(verb_form, lambda x: x[2], lambda x: x[0].gerund, lambda x: x[0].lemma), "verb form", SOURCE),
        Recipe("morph_form_to_past", "non-cls", "morphology", "exact-match",
               ("Whatever the form, write the past tense of the verb.", "Turn this verb form into the simple past.", "any form to past"),
               over(verb_form, lambda x: x[2], lambda x: x[0].pasts, lambda x: x[0].lemma), "verb form", SOURCE, novel=True),
        Recipe("morph_comparative", "non-cls", "morphology", "exact-match",
               ("Write the comparative of the adjective.", "Which form goes before than?", "adjective to comparative", "It has even more of it: write the form."),
               over(an_adjective, adjective_text, lambda x: x.comparatives), "adjective", SOURCE),
        Recipe("morph_superlative", "non-cls", "morphology", "exact-match",
               ("Write the superlative of the adjective.", "Which form says that it is the most?", "adjective to superlative"),
               over(an_adjective, adjective_text, lambda x: x.superlatives), "adjective", SOURCE),
        Recipe("der_adverb", "non-cls", "derivation", "exact-match",
               ("Turn the adjective into an adverb.", "Write the word with the ending ly.", "adjective to adverb", "How is it done? Write the adverb."),
               over(an_adjective, adjective_text, lambda x: adverb(x.base)), "adjective", SOURCE),
        Recipe("der_ness", "non-cls", "derivation", "exact-match",
               ("Turn the adjective into a noun with ness.", "Name the quality: add ness.", "adjective to noun in ness"),
               over(an_adjective, adjective_text, lambda x: (x.base[:-1] + "i" if x.base.endswith("y") else x.base) + "ness"), "adjective", SOURCE),
        Recipe("morph_more_than", "non-cls", "morphology", "exact-match",
               ("Write the comparative and the word than.", "Begin a comparison with this adjective.", "comparative with than"),
               over(an_adjective, adjective_text, lambda x: tuple(f"{c} than" for c in x.comparatives)), "adjective", SOURCE, novel=True),
        Recipe("morph_pos", "cls", "morphology", "accuracy",
               ("Is the word a noun, a verb, an adjective or an adverb?", "Name the part of speech: noun, verb, adjective, adverb.", "part of speech: noun, verb, adjective, adverb"),
               part_of_speech, "word of one kind", SOURCE, options=("noun", "verb", "adjective", "adverb"), knowledge=True),
        Recipe("gra_phrase_plural", "non-cls", "grammar", "exact-match",
               ("Put the whole phrase into the plural; one becomes two, this becomes these.", "Say it of several things.", "phrase to plural"),
               over(phrase, lambda x: f"{x[0]} {x[2]} {x[1].singular}", lambda x: f"{ {'this': 'these', 'one': 'two'}.get(x[0], x[0])} {x[2]} {x[1].plural}"), "noun phrase", SOURCE),
        Recipe("gra_head_noun", "non-cls", "grammar", "exact-match",
               ("Write only the noun of the phrase.", "What thing is it about?", "noun of the phrase"),
               over(phrase, lambda x: f"{x[0]} {x[2]} {x[1].singular}", lambda x: x[1].singular), "noun phrase", SOURCE),
        Recipe("gra_phrase_adjective", "non-cls", "grammar", "exact-match",
               ("Write only the adjective of the phrase.", "Which word describes it?", "adjective of the phrase"),
               over(phrase, lambda x: f"{x[0]} {x[2]} {x[1].singular}", lambda x: x[2]), "noun phrase", SOURCE, novel=True),
        Recipe("gra_phrase_determiner", "cls", "grammar", "accuracy",
               ("Which determiner does the phrase have: the, this, one or my?", "Write the determiner: the, this, one, my.", "determiner: the, this, one, my"),
               over(phrase, lambda x: f"{x[0]} {x[2]} {x[1].singular}", lambda x: x[0]), "noun phrase", SOURCE, options=("the", "this", "one", "my")),
    ]  # fmt: skip
