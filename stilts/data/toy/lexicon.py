"""The toy lexicon: 158 concepts, an invented English form of each, and a letter cipher per other language.

Everything here depends on the seed alone. A concept is named by a string `<class>:<number>`, or by an English word
for the function items, so that a sentence is a list of concepts until a language spells it.
"""

import random
from dataclasses import dataclass
from functools import cache

TOY_LANGUAGES = ("en", "qaa", "qab", "qac")

CONSONANTS = "bdfgklmnprstvz"
VOWELS = "aeiou"
FINALS = "nrst"

CATEGORY_COUNT = 8
NOUNS_PER_CATEGORY = 6
CATEGORIES = tuple(f"category:{c}" for c in range(CATEGORY_COUNT))
NOUNS = tuple(f"noun:{c}.{n}" for c in range(CATEGORY_COUNT) for n in range(NOUNS_PER_CATEGORY))
VERBS = tuple(f"verb:{i}" for i in range(20))
ADJECTIVES = tuple(f"adjective:{i}" for i in range(16))
PREPOSITIONS = tuple(f"preposition:{i}" for i in range(5))
ADVERBS = tuple(f"adverb:{i}" for i in range(8))
NUMBERS = tuple(f"number:{i}" for i in range(2, 10))
FIRST_NAMES = tuple(f"first:{i}" for i in range(12))
LAST_NAMES = tuple(f"last:{i}" for i in range(8))
PLACES = tuple(f"place:{i}" for i in range(10))
# Six places also name an organisation: only the context tells which is meant.
ORGANISATIONS = tuple(f"organisation:{i}" for i in range(4)) + PLACES[:6]
FUNCTION_WORDS = ("the", "a", "not", "who", "what", "where", "passive", "by", "in")
PUNCTUATION = (".", "?")

NAMES = FIRST_NAMES + LAST_NAMES + PLACES + ORGANISATIONS[:4]
CONTENT_WORDS = NOUNS + CATEGORIES + VERBS + ADJECTIVES + PREPOSITIONS + ADVERBS
CONCEPTS = CONTENT_WORDS + NAMES + NUMBERS + FUNCTION_WORDS + PUNCTUATION

COGNATE_PROBABILITY = 0.3
SHARED_NAME_PROBABILITY = 0.6

UPOS = {
    "noun": "NOUN",
    "category": "NOUN",
    "verb": "VERB",
    "adjective": "ADJ",
    "preposition": "ADP",
    "adverb": "ADV",
    "number": "NUM",
    "first": "PROPN",
    "last": "PROPN",
    "place": "PROPN",
    "organisation": "PROPN",
    "the": "DET",
    "a": "DET",
    "not": "PART",
    "who": "PRON",
    "what": "PRON",
    "where": "ADV",
    "passive": "AUX",
    "by": "ADP",
    "in": "ADP",
    ".": "PUNCT",
    "?": "PUNCT",
}


def seed_stream(seed: int, *names: str) -> random.Random:
    """An independent random stream for (seed, names), the same in every process: a string seeds through SHA-512."""
    return random.Random("/".join((str(seed), *names)))


def find_upos(concept: str) -> str:
    """The universal part of speech (UD v2 name) of a concept."""
    return UPOS[concept.split(":")[0]]


def find_category(noun: str) -> str:
    """The category word (hypernym) of a noun: `noun:3.2` gives `category:3`."""
    return f"category:{noun.removeprefix('noun:').split('.')[0]}"


@dataclass(frozen=True)
class Lexicon:
    """What one seed fixes: the forms, the ciphers and the script.

    `forms[language][concept]` is a word; `ciphers[language]` maps each letter to another one (English has none);
    `next_verb` is one cycle through all verbs: the event that usually follows.
    """

    seed: int
    forms: dict[str, dict[str, str]]
    ciphers: dict[str, dict[str, str]]
    next_verb: dict[str, str]

    def spell(self, concepts: list[str], language: str) -> list[str]:
        """The words of the concepts, in the order given."""
        forms = self.forms[language]
        return [forms[concept] for concept in concepts]

    def list_words(self) -> list[str]:
        """Every word form of the four languages once, sorted: the whole vocabulary a tokenizer needs."""
        return sorted({form for forms in self.forms.values() for form in forms.values()})


@cache
def build_lexicon(seed: int) -> Lexicon:
    """The lexicon of a seed."""
    english = _invent_english(seed)
    forms, ciphers = {"en": english}, {}
    owner = {form: concept for concept, form in english.items()}
    for language in TOY_LANGUAGES[1:]:
        rng = seed_stream(seed, "lexicon", language)
        ciphers[language] = _draw_cipher(rng)
        forms[language] = _encipher_forms(rng, english, ciphers[language], owner)
    return Lexicon(seed, forms, ciphers, _draw_script(seed_stream(seed, "lexicon", "script")))


def _invent_english(seed: int) -> dict[str, str]:
    """A distinct form for each concept: 2-3 consonant-vowel syllables (1 for function words) and maybe a final."""
    rng = seed_stream(seed, "lexicon", "en")
    forms: dict[str, str] = {mark: mark for mark in PUNCTUATION}
    forms.update({number: number.removeprefix("number:") for number in NUMBERS})
    used: set[str] = set()
    for concept in CONTENT_WORDS + NAMES + FUNCTION_WORDS:
        form = ""
        while not form or form in used:
            syllables = 1 if concept in FUNCTION_WORDS else rng.choice((2, 3))
            form = "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(syllables))
            form += rng.choice(("", rng.choice(FINALS)))
        used.add(form)
        forms[concept] = form.capitalize() if concept in NAMES else form
    return forms


def _draw_cipher(rng: random.Random) -> dict[str, str]:
    """A permutation of the consonants and one of the vowels, both without a fixed letter.

    No fixed letter: a word that is not meant to be shared is then always spelt differently.
    """
    cipher: dict[str, str] = {}
    for letters in (CONSONANTS, VOWELS):
        image = list(letters)
        while any(a == b for a, b in zip(letters, image, strict=True)):
            rng.shuffle(image)
        cipher.update(zip(letters, image, strict=True))
    return cipher


def _encipher_forms(
    rng: random.Random, english: dict[str, str], cipher: dict[str, str], owner: dict[str, str]
) -> dict[str, str]:
    """The forms of one language; `owner` (form to concept, all languages so far) is extended.

    A form that already means something else, in whatever language, gets a vowel more: no false friends.
    """
    table = str.maketrans(cipher | {a.upper(): b.upper() for a, b in cipher.items()})
    shared_probability = dict.fromkeys(CONTENT_WORDS, COGNATE_PROBABILITY)
    shared_probability |= dict.fromkeys(NAMES, SHARED_NAME_PROBABILITY)
    shared_probability |= dict.fromkeys(NUMBERS + PUNCTUATION, 1.0)
    forms: dict[str, str] = {}
    for concept, form in english.items():
        if rng.random() >= shared_probability.get(concept, 0.0):
            form = form.translate(table)
            while owner.get(form, concept) != concept:
                form += rng.choice(VOWELS)
        forms[concept] = form
        owner[form] = concept
    return forms


def _draw_script(rng: random.Random) -> dict[str, str]:
    """One random cycle through all verbs."""
    order = list(VERBS)
    rng.shuffle(order)
    return dict(zip(order, order[1:] + order[:1], strict=True))
