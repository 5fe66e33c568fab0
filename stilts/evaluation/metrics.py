"""XTREME's metrics, in percent, from lists of gold and predicted values."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

Chunk = tuple[str, int, int]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def accuracy(gold: Sequence[Any], predicted: Sequence[Any]) -> float:
    """Share of equal pairs."""
    return 100 * sum(g == p for g, p in zip(gold, predicted, strict=True)) / len(gold)


def token_accuracy(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Share of words with the right tag, over all words of all sentences."""
    pairs = [pair for sentences in zip(gold, predicted, strict=True) for pair in zip(*sentences, strict=True)]
    return 100 * sum(g == p for g, p in pairs) / len(pairs)


def chunk_f1(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> float:
    """Micro F1 over chunks of all sentences, as seqeval 0.0.12 counts them (XTREME's UD-POS and PAN-X metric)."""
    right = in_gold = in_predicted = 0
    for sentence in zip(gold, predicted, strict=True):
        if len(sentence[0]) != len(sentence[1]):
            raise ValueError(f"{len(sentence[1])} predicted tags for {len(sentence[0])} words")
        golds, predictions = (set(find_chunks(tags)) for tags in sentence)
        right += len(golds & predictions)
        in_gold += len(golds)
        in_predicted += len(predictions)
    return 100 * 2 * right / (in_gold + in_predicted) if in_gold + in_predicted else 0.0


def find_chunks(tags: Sequence[str]) -> list[Chunk]:
    """(type, first, last word) of the chunks of one sentence, by the rules of seqeval 0.0.12.

    A tag's prefix is its FIRST LETTER and its type what follows the last "-", for a bare tag all of it. So a run of
    equal UPOS tags is one chunk, but each SCONJ and each SYM is one of its own: their "S" reads as "single". INTJ
    ("I") makes runs as other tags do.
    """
    chunks: list[Chunk] = []
    first, before, before_type = 0, "O", ""
    for index, tag in enumerate([*tags, "O"]):
        prefix, kind = tag[0], tag.rpartition("-")[2]
        differs = kind != before_type
        if before in "ES" or (before in "BI" and prefix in "BSO") or (before not in "O." and differs):
            chunks.append((before_type, first, index - 1))
        if prefix in "BS" or (before in "ESO" and prefix in "EI") or (prefix not in "O." and differs):
            first = index
        before, before_type = prefix, kind
    return chunks


def squad_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> dict[str, float]:
    """SQuAD 1.1's F1 and exact match: the best over the answers of a question, then the mean over questions."""
    f1 = exact = 0.0
    for prediction, golds in zip(predictions, answers, strict=True):
        f1 += max(_word_f1(prediction, gold) for gold in golds)
        exact += max(normalize_answer(prediction) == normalize_answer(gold) for gold in golds)
    return {"f1": 100 * f1 / len(predictions), "exact_match": 100 * exact / len(predictions)}


def normalize_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and English articles, single blanks: for every language (XTREME)."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def _word_f1(prediction: str, gold: str) -> float:
    predicted, expected = normalize_answer(prediction).split(), normalize_answer(gold).split()
    shared = sum((Counter(predicted) & Counter(expected)).values())
    return 2 * shared / (len(predicted) + len(expected)) if shared else 0.0
