"""How answers to questions are compared: SQuAD 1.1, SQuAD 2.0 and MLQA."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

from stilts.errors import UserError

Normalize = Callable[[str], str]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)

# MLQA's articles (mlqa_evaluation_v1.py). Hindi and Chinese have none. The Arabic expression of the script is
# `\sال^|ال`, whose first half never matches: so "ال" goes wherever it stands, within words too.
_MLQA_ARTICLES = {
    "ar": re.compile("ال"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "en": _ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "hi": None,
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "zh": None,
}
_CHINESE = re.compile("([\u4e00-\u9fa5])")


def normalize_squad(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single blanks: for every language (XTREME)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def normalize_mlqa(text: str, language: str) -> str:
    """MLQA's own normalisation: lower case, no punctuation of any script, no articles of the language, single blanks.

    In Chinese each character from U+4E00 to U+9FA5 is a word. Raises UserError for a language that MLQA has not.
    """
    if language not in _MLQA_ARTICLES:
        raise UserError(f"mlqa: no rules for language {language!r}; it has {', '.join(_MLQA_ARTICLES)}")
    text = "".join(character for character in text.lower() if not is_punctuation(character))
    articles = _MLQA_ARTICLES[language]
    if articles:
        text = articles.sub(" ", text)
    if language == "zh":
        text = _CHINESE.sub(r" \1 ", text)
    return " ".join(text.split())


@lru_cache(maxsize=65536)
def is_punctuation(character: str) -> bool:
    """Unicode category P, or one of ASCII's (which count symbols such as $ and + too)."""
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def score_answer(prediction: str, answers: Sequence[str], normalize: Normalize) -> tuple[float, bool]:
    """SQuAD 1.1's F1 (0 to 1) and exact match of one prediction: the best over the answers, of which there is one."""
    text, golds = normalize(prediction), [normalize(answer) for answer in answers]
    return max(_share_words(text, gold) for gold in golds), text in golds


def score_possible_answer(prediction: str, answers: Sequence[str]) -> tuple[float, bool]:
    """SQuAD 2.0's: no answer (and one that normalises to nothing) is the empty answer, equal to the empty alone."""
    text = normalize_squad(prediction)
    golds = [gold for gold in map(normalize_squad, answers) if gold] or [""]
    return max(_share_words(text, gold) if text and gold else float(text == gold) for gold in golds), text in golds


def _share_words(text: str, gold: str) -> float:
    """F1 over the words of two normalised texts; 0 where they share none, two empty ones included."""
    words, expected = text.split(), gold.split()
    shared = sum((Counter(words) & Counter(expected)).values())
    if not shared:
        return 0.0
    precision, recall = shared / len(words), shared / len(expected)
    return 2 * precision * recall / (precision + recall)
