"""Chunks of tag sequences as seqeval 0.0.12 sees them (XTREME's metric of UD-POS and PAN-X), for whole sets at once.

A tag's prefix is its FIRST LETTER and its kind what follows the last "-", for a bare tag all of it. So a run of equal
UPOS tags is one chunk, but each SCONJ and each SYM is one of its own: their "S" reads as "single". INTJ ("I") makes
runs as other tags do. Later versions cut the first letter off bare tags, which takes CCONJ for SCONJ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

# What stands after each sentence, as in seqeval, so that no chunk reaches into the next one.
END = "O"


@dataclass(frozen=True)
class Chunks:
    """Chunks of a row of tags: each lies before a place where `ends` [T] is true and has that place's `first` [T] and
    `kind` [T]."""

    ends: np.ndarray
    first: np.ndarray
    kind: np.ndarray


def count_chunks(gold: pa.Array, predicted: pa.Array) -> dict[str, np.ndarray]:
    """Counts of each sentence, int64 [S], from two lists of tags a sentence (pyarrow lists of strings, no nulls).

    `chunks_right`, `chunks_gold`, `chunks_predicted`: micro F1 is that of their sums; `words_right`, `word_count`.
    Raises ValueError where a sentence has not as many predictions as tags.
    """
    lengths = measure_lists(gold)
    if wrong := np.flatnonzero(lengths != measure_lists(predicted)).tolist():
        number = wrong[0]
        raise ValueError(f"{len(predicted[number])} predicted tags for {lengths[number]} words in row {number}")
    words = int(lengths.sum())
    tags = pa.concat_arrays([gold.flatten(), predicted.flatten(), pa.array([END])]).cast(pa.string())
    coded = tags.dictionary_encode()
    codes, names = np.asarray(coded.indices), coded.dictionary.to_pylist()
    sentence = np.repeat(np.arange(len(lengths)), lengths)
    places, owner = np.arange(words) + sentence, np.repeat(np.arange(len(lengths)), lengths + 1)
    rows = np.full((2, words + len(lengths)), codes[-1])
    rows[:, places] = codes[:-1].reshape(2, words)
    golds, guesses = (find_chunks(row, names) for row in rows)
    right = golds.ends & guesses.ends & (golds.first == guesses.first) & (golds.kind == guesses.kind)
    return {
        "chunks_right": _count(right, owner, len(lengths)),
        "chunks_gold": _count(golds.ends, owner, len(lengths)),
        "chunks_predicted": _count(guesses.ends, owner, len(lengths)),
        "words_right": np.bincount(sentence[codes[:words] == codes[words:-1]], minlength=len(lengths)),
        "word_count": lengths,
    }


def find_chunks(codes: np.ndarray, names: list[str]) -> Chunks:
    """The chunks of tags `codes` [T], which number `names`; the last tag must be END."""
    types = list(dict.fromkeys(name.rpartition("-")[2] for name in names))
    kind = np.array([types.index(name.rpartition("-")[2]) for name in names])[codes]
    prefix = np.array([ord(name[0]) for name in names])[codes]
    # Before the first tag stands an END without a kind.
    before, before_kind = np.concatenate([[ord(END)], prefix])[:-1], np.concatenate([[-1], kind])[:-1]
    differs = kind != before_kind
    ends = _among(before, "ES") | (_among(before, "BI") & _among(prefix, "BSO")) | (~_among(before, "O.") & differs)
    starts = _among(prefix, "BS") | (_among(before, "ESO") & _among(prefix, "EI")) | (~_among(prefix, "O.") & differs)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(codes)), 0))
    return Chunks(ends, np.concatenate([[0], first])[:-1], before_kind)


def measure_lists(lists: pa.Array) -> np.ndarray:
    """Length of each list, int64 [N]."""
    return np.diff(np.asarray(lists.offsets)).astype(np.int64)


def _among(letters: np.ndarray, wanted: str) -> np.ndarray:
    return np.isin(letters, [ord(letter) for letter in wanted])


def _count(ends: np.ndarray, owner: np.ndarray, sentences: int) -> np.ndarray:
    """How many chunks the sentences hold: one belongs to the sentence of its last word, one place before its end."""
    return np.bincount(owner[np.flatnonzero(ends) - 1], minlength=sentences)
