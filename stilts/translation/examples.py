"""Examples with all their texts translated; labels stay, answers are looked for anew.

The parts of an example are translated by themselves: premise and hypothesis, context and each ending, context and
question. Texts that occur several times (a context of SQuAD, the context of four endings) are translated once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from stilts.data.examples import Answer, Choice, Example, Pair, Question
from stilts.translation.answers import (
    HOW,
    Place,
    find_place,
    locate,
    locate_similar,
    mark_answer,
    normalise,
    read_marked,
)
from stilts.translation.translator import Progress, Translated

# What became of the questions: the first four kept with an answer, by the way in which it was found.
COUNTS = (*HOW, "unanswerable", "dropped")


class TextTranslator(Protocol):
    """What translates texts."""

    def translate(self, texts: Sequence[str], progress: Progress | None = None) -> list[Translated]: ...


def translate_examples(
    examples: Sequence[Example], translator: TextTranslator, progress: Progress | None = None
) -> tuple[list[Example], dict[str, int]]:
    """The translations in the order of the examples, and for questions how many of each of `COUNTS`.

    Questions whose answer is not found are left out; all else is there.
    """
    questions = [example for example in examples if isinstance(example, Question)]
    texts = _Texts([text for example in examples for text in _list_texts(example)], translator, progress)
    if questions:
        assert len(questions) == len(examples)
        return _translate_questions(questions, texts, translator)
    return [_replace_texts(example, texts) for example in examples], {}


class _Texts:
    """The translations of a list of texts, by text."""

    def __init__(self, texts: Sequence[str], translator: TextTranslator, progress: Progress | None = None) -> None:
        unique = list(dict.fromkeys(texts))
        self.translations = dict(zip(unique, translator.translate(unique, progress), strict=True))

    def __getitem__(self, text: str) -> str:
        return self.translations[text].text


def _list_texts(example: Example) -> list[str]:
    match example:
        case Pair():
            return [example.text, example.second_text]
        case Choice():
            return [example.context, *example.endings]
        case Question():
            return [example.context, example.question, *(answer.text for answer in example.answers)]
    raise TypeError(f"{type(example).__name__} cannot be translated")


def _replace_texts(example: Example, texts: _Texts) -> Example:
    match example:
        case Pair():
            return replace(example, text=texts[example.text], second_text=texts[example.second_text])
        case Choice():
            endings = tuple(texts[ending] for ending in example.endings)
            return replace(example, context=texts[example.context], endings=endings)
    raise TypeError(f"{type(example).__name__} cannot be translated")


@dataclass
class _Search:
    """One answer of a question on its way into the translated context."""

    source: str
    answer: Answer
    target: Translated
    place: Place | None
    wanted: list[str]
    found: Answer | None = None
    how: str = "dropped"

    def find(self) -> None:
        """Letter for letter, or in normal form."""
        if self.place and (match := locate(self.target.text, self.place, self.wanted)):
            self._take(*match)

    @property
    def marked_text(self) -> str | None:
        """The source's sentence with the answer in brackets."""
        start = self.answer.start
        end = start + len(self.answer.text)
        return mark_answer(self.source, self.place, start, end) if self.place else None

    def find_marked(self, translation: str | None) -> None:
        """What the brackets hold, else whatever is most like it or the other forms of the answer."""
        assert self.place is not None
        inside = translation and read_marked(translation)
        if inside and (match := locate(self.target.text, self.place, [inside])):
            self._take(match[0], "marked")
        elif found := locate_similar(self.target.text, self.place, [*([inside] if inside else []), *self.wanted]):
            self._take(found, "fuzzy")

    def _take(self, stretch: tuple[int, int], how: str) -> None:
        start, end = stretch
        self.found, self.how = Answer(self.target.text[start:end], start), how


def _translate_questions(
    questions: Sequence[Question], texts: _Texts, translator: TextTranslator
) -> tuple[list[Example], dict[str, int]]:
    searches = [[_begin(question, answer, texts) for answer in question.answers] for question in questions]
    for search in (search for group in searches for search in group):
        search.find()
    missing = [search for group in searches for search in group if search.place and not search.found]
    marked = [search.marked_text for search in missing]
    translations = _Texts([text for text in marked if text], translator)
    for search, text in zip(missing, marked, strict=True):
        search.find_marked(translations[text] if text else None)
    counts = Counter(dict.fromkeys(COUNTS, 0))
    kept: list[Example] = []
    for question, group in zip(questions, searches, strict=True):
        found = [search for search in group if search.found]
        counts[found[0].how if found else "dropped" if group else "unanswerable"] += 1
        if found or not group:
            answers = tuple(search.found for search in found if search.found)
            kept.append(Question(question.id, texts[question.question], texts[question.context], answers))
    return kept, dict(counts)


def _begin(question: Question, answer: Answer, texts: _Texts) -> _Search:
    target = texts.translations[question.context]
    place = find_place(target.pieces, answer.start, answer.start + len(answer.text))
    wanted = [text for text in (texts[answer.text], answer.text) if normalise(text)]
    return _Search(question.context, answer, target, place, list(dict.fromkeys(wanted)))
