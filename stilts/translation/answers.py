"""Where the answer of a question stands in the translation of its context.

Contexts are translated sentence by sentence, so an answer is looked for in the translation of its own sentence alone,
and there near its relative position:

1. the answer translated by itself, or the answer as it is (names, numbers), letter for letter between word borders;
2. the same in normal form (compatibility forms, case, punctuation);
3. its sentence translated once more with [ ] around the answer: what stands in the brackets, by 1 or 2. "Mark then
   translate" outdoes word alignment in 57 languages (Chen et al., Frustratingly Easy Label Projection, arXiv
   2211.15613), and for SQuAD 2.0 in Slovene marks lower the share of answers that are not found from 56 % to 7 %
   (Šmajdek et al. 2023, Slovenščina 2.0, 11(1)). The context keeps its translation without brackets, which all its
   questions share;
4. the run of words that is most like one of these, with a similarity of `SIMILARITY` at least: other cases and
   articles inside a sentence ("der Eiffelturm", "dem Eiffelturm").

An answer that none of them finds is dropped: a wrong one would be taught.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from stilts.translation.sentences import Stretch

# Ratio of characters in common (difflib: 2 x matches / both lengths), of our own choice.
SIMILARITY = 0.75
LEFT, RIGHT = "[", "]"
HOW = ("exact", "normalised", "marked", "fuzzy")

_BRACKETS = str.maketrans("［］【】〔〕", "[][][]")
_MARKED = re.compile(r"\[([^\[\]]+)\]")
# Thai, Lao, Burmese, Khmer, kana, Chinese characters: no blank between words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


@dataclass(frozen=True)
class Place:
    """A sentence (or several) with an answer: its stretch in the source, that of its translation, and how far the
    answer's first character is from the start of the one (0) to its end (1)."""

    source: Stretch
    target: Stretch
    share: float


def find_place(pieces: Sequence[tuple[Stretch, Stretch]], start: int, end: int) -> Place | None:
    """The pieces that hold the answer [start, end) of the source; None where none does (blanks between two)."""
    held = [piece for piece in pieces if piece[0][0] < end and piece[0][1] > start]
    if not held:
        return None
    source, target = (held[0][0][0], held[-1][0][1]), (held[0][1][0], held[-1][1][1])
    return Place(source, target, min(max((start - source[0]) / (source[1] - source[0]), 0.0), 1.0))


def mark_answer(context: str, place: Place, start: int, end: int) -> str | None:
    """The sentence with brackets around the answer; None where it has brackets already."""
    first, last = place.source
    if {LEFT, RIGHT} & set(context[first:last]) or start < first or end > last:
        return None
    return f"{context[first:start]}{LEFT}{context[start:end]}{RIGHT}{context[end:last]}"


def read_marked(text: str) -> str | None:
    """What stands between the brackets of a translated sentence; None unless there is one pair of them."""
    found = _MARKED.findall(text.translate(_BRACKETS))
    return found[0].strip() or None if len(found) == 1 else None


def locate(text: str, place: Place, wanted: Sequence[str]) -> tuple[Stretch, str] | None:
    """The first of the `wanted` answers that stands in `text` at `place`, and how: "exact" or "normalised"."""
    region = _Region(text, place)
    for how, find in (("exact", region.find_exact), ("normalised", region.find_normalised)):
        for answer in wanted:
            if answer.strip() and (found := find(answer.strip())):
                return found, how
    return None


def locate_similar(text: str, place: Place, wanted: Sequence[str]) -> Stretch | None:
    """The run of words at `place` that is most like one of the `wanted` answers; None below `SIMILARITY`."""
    region = _Region(text, place)
    found = [match for answer in wanted if answer.strip() for match in region.rate(normalise(answer))]
    return max(found)[2] if found else None


def normalise(text: str) -> str:
    """Compatibility composition, no case, no punctuation, single blanks."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(" " if _is_mark(char) else char for char in folded).split())


def find_words(text: str, start: int, end: int) -> list[Stretch]:
    """Runs of letters, digits and their marks; in scripts without blanks every letter with its marks."""
    words: list[Stretch] = []
    open_until = -1  # end of the word that the next letter belongs to
    for place in range(start, end):
        char = text[place]
        if char.isspace() or _is_mark(char):
            continue
        combining = unicodedata.category(char)[0] == "M"
        unspaced = bool(_UNSPACED.match(char))
        if words and place == words[-1][1] and (combining or (open_until == place and not unspaced)):
            words[-1] = (words[-1][0], place + 1)
            open_until = place + 1 if open_until == place else -1
        else:
            words.append((place, place + 1))
            open_until = -1 if unspaced else place + 1
    return words


def _is_mark(char: str) -> bool:
    """Punctuation and signs."""
    return unicodedata.category(char)[0] in "PS"


class _Region:
    """A stretch of a text in which an answer is looked for."""

    def __init__(self, text: str, place: Place) -> None:
        self.text = text
        self.start, self.end = place.target
        self.near = self.start + place.share * (self.end - self.start)
        self.words = find_words(text, self.start, self.end)
        self.inside = {place for first, last in self.words for place in range(first + 1, last)}

    def find_exact(self, answer: str) -> Stretch | None:
        """The nearest one that cuts no word."""
        found, at = [], self.text.find(answer, self.start, self.end)
        while at >= 0:
            if not {at, at + len(answer)} & self.inside:
                found.append((at, at + len(answer)))
            at = self.text.find(answer, at + 1, self.end)
        return min(found, key=self._distance, default=None)

    def find_normalised(self, answer: str) -> Stretch | None:
        """The nearest run of words of the same normal form."""
        wanted = normalise(answer)
        count = len(find_words(answer, 0, len(answer)))
        sizes = range(max(1, count - 2), count + 3)
        runs = (run for run in self._list_runs(sizes) if normalise(self.text[slice(*run)]) == wanted)
        return min(runs, key=self._distance, default=None) if wanted else None

    def rate(self, wanted: str) -> Iterator[tuple[float, float, Stretch]]:
        """(similarity, nearness, stretch) of every run of words that is similar enough."""
        count = len(find_words(wanted, 0, len(wanted)))
        matcher = SequenceMatcher(autojunk=False)
        matcher.set_seq2(wanted)
        for run in self._list_runs(range(max(1, count - 1 - count // 4), count + 2 + count // 4)) if wanted else ():
            matcher.set_seq1(normalise(self.text[slice(*run)]))
            if matcher.real_quick_ratio() >= SIMILARITY and matcher.quick_ratio() >= SIMILARITY:
                ratio = matcher.ratio()
                if ratio >= SIMILARITY:
                    yield ratio, -self._distance(run), run

    def _list_runs(self, sizes: range) -> Iterator[Stretch]:
        for first in range(len(self.words)):
            for size in sizes:
                if first + size <= len(self.words):
                    yield self.words[first][0], self.words[first + size - 1][1]

    def _distance(self, stretch: Stretch) -> float:
        return abs(stretch[0] - self.near)
