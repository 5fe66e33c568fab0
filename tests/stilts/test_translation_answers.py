"""Answers found again in the translation of their context, or dropped and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stilts.data.examples import Answer, Choice, Pair, Question
from stilts.translation.answers import (
    Place,
    find_place,
    find_words,
    locate,
    locate_similar,
    mark_answer,
    normalise,
    read_marked,
)
from stilts.translation.examples import COUNTS, translate_examples
from stilts.translation.sentences import split_sentences
from stilts.translation.translator import Progress, Translated


def whole(text: str, share: float = 0.0) -> Place:
    return Place((0, 1), (0, len(text)), share)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Der Turm, 330 Meter", ["Der", "Turm", "330", "Meter"]),
        ("İstanbul'da 3,5 %", ["İstanbul", "da", "3", "5"]),
        ("हिन्दी में", ["हिन्दी", "में"]),  # vowel signs and viramas belong to their words
        ("东京塔(333米)", ["东", "京", "塔", "333", "米"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("東京 Tower", ["東", "京", "Tower"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in find_words(text, 0, len(text))] == words


@pytest.mark.parametrize(
    ("text", "wanted", "share", "found", "how"),
    [
        ("Im Jahr 1889 und nicht 1889.", ["1889"], 0.9, (23, 27), "exact"),  # the nearer one
        ("Er kam 11889 oder 1889 an.", ["1889"], 0.0, (18, 22), "exact"),  # no part of a longer number
        ("Der Turm von Gustave  EIFFEL.", ["Gustave Eiffel"], 0.5, (13, 28), "normalised"),
        ("Er kostet $5 (heute).", ["$5"], 0.5, (10, 12), "exact"),
        ("Ｅｉｆｆｅｌ baute ihn.", ["Eiffel"], 0.0, (0, 6), "normalised"),
        ("东京塔高333米。", ["333米"], 0.5, (4, 8), "exact"),
        ("Ein Haus", ["Turm", "Haus"], 0.0, (4, 8), "exact"),  # the second form of the answer
    ],
)
def test_answers_are_located(text: str, wanted: list[str], share: float, found: tuple[int, int], how: str) -> None:
    assert locate(text, whole(text, share), wanted) == (found, how)


@pytest.mark.parametrize(
    ("text", "wanted"), [("Ein Haus", ["Häuser"]), ("Londonin torni", ["London"]), ("ein", [" "]), ("?!", ["!?"])]
)
def test_what_is_not_there_is_not_located(text: str, wanted: list[str]) -> None:
    assert locate(text, whole(text), wanted) is None


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("Er steht auf dem alten Eiffelturm dort.", "der alte Eiffelturm", "dem alten Eiffelturm"),
        ("Se on Lontoossa nyt.", "Lontoo", "Lontoossa"),
        ("Das Haus ist alt.", "die Universität", None),
        ("它位于东京都港区芝公园。", "东京港区", "东京都港区"),
    ],
)
def test_similar_words_are_located(text: str, wanted: str, found: str | None) -> None:
    stretch = locate_similar(text, whole(text), [wanted])
    assert (text[slice(*stretch)] if stretch else None) == found


def test_the_nearer_of_two_similar_places_is_taken() -> None:
    text = "alten Turm, alter Turm, altem Turm"
    ends = [locate_similar(text, whole(text, share), ["alte Turm"]) for share in (0.0, 0.4, 0.8)]
    assert ends == [(0, 10), (12, 22), (24, 34)]


@given(st.text(alphabet="aBé1 .,東ที่िक", max_size=30), st.text(alphabet="aBé1 .,東ที่िक", max_size=8), st.floats(0, 1))
def test_whatever_is_located_is_a_stretch_of_the_text(text: str, wanted: str, share: float) -> None:
    place = Place((0, 1), (min(2, len(text)), len(text)), share)
    if match := locate(text, place, [wanted]):
        (start, end), how = match
        assert place.target[0] <= start < end <= place.target[1]
        if how == "exact":
            assert text[start:end] == wanted.strip()
        else:
            assert normalise(text[start:end]) == normalise(wanted)
    elif stretch := locate_similar(text, place, [wanted]):
        assert place.target[0] <= stretch[0] < stretch[1] <= place.target[1]
        assert text[slice(*stretch)].strip() == text[slice(*stretch)]


def test_an_answer_over_two_sentences_has_the_place_of_both() -> None:
    pieces = [((0, 9), (0, 12)), ((10, 20), (13, 30)), ((21, 30), (31, 40))]
    assert find_place(pieces, 5, 12) == Place((0, 20), (0, 30), 0.25)
    assert find_place(pieces, 21, 22) == Place((21, 30), (31, 40), 0.0)
    assert find_place(pieces, 9, 10) is None


def test_brackets_around_an_answer() -> None:
    context = "It was in Paris. Then in Rome."
    place = Place((17, 30), (0, 1), 0.6)
    assert mark_answer(context, place, 25, 29) == "Then in [Rome]."
    assert mark_answer("a [b] c", Place((0, 7), (0, 1), 0), 6, 7) is None
    assert mark_answer(context, place, 10, 29) is None
    assert read_marked("Dann in [ Rom ].") == "Rom"
    assert read_marked("然后在【罗马】。") == "罗马"
    assert [read_marked(text) for text in ("ohne", "[a] [b]", "[ ]", "[]", "[a")] == [None] * 5


GLOSSARY = {
    "the": "der", "tower": "Turm", "of": "von", "Paris": "Paris", "stands": "steht", "in": "in", "old": "alte",
    "was": "wurde", "built": "gebaut", "by": "von", "Eiffel": "Eiffel", "who": "wer", "it": "ihn", "where": "wo",
    "year": "Jahr", "The": "Der", "It": "Er",
}  # fmt: skip
IN_SENTENCES = {"alte": "alten"}


class WordTranslator:
    """Word by word with a glossary; like a language with cases it inflects inside a sentence, not in a single answer.

    Brackets survive unless `loses_marks`.
    """

    def __init__(self, loses_marks: bool = False, change: Callable[[str], str] = lambda word: word) -> None:
        self.loses_marks, self.change = loses_marks, change

    def translate(self, texts: Sequence[str], progress: Progress | None = None) -> list[Translated]:
        return [self._translate(text) for text in texts]

    def _translate(self, text: str) -> Translated:
        joined, pieces = "", []
        for start, end in split_sentences(text):
            joined += " " if joined else ""
            translation = " ".join(self._word(word, text[start:end]) for word in text[start:end].split())
            pieces.append(((start, end), (len(joined), len(joined) + len(translation))))
            joined += translation
        return Translated(joined, tuple(pieces))

    def _word(self, word: str, sentence: str) -> str:
        core = word.strip("[].?")
        if not core:
            return word
        left, _, right = word.partition(core)
        found = self.change(GLOSSARY.get(core, core))
        if sentence.endswith("."):
            found = IN_SENTENCES.get(found, found)
        marked = left + found + right
        return marked.replace("[", "").replace("]", "") if self.loses_marks else marked


CONTEXT = "The old tower stands in Paris. It was built by Eiffel in the year 1889."


def ask(name: str, *answers: str, context: str = CONTEXT) -> Question:
    return Question(name, "who built it ?", context, tuple(Answer(text, context.index(text)) for text in answers))


def check_answers(examples: Sequence[object]) -> None:
    for example in examples:
        assert isinstance(example, Question)
        for answer in example.answers:
            assert answer.text and example.context[answer.start : answer.start + len(answer.text)] == answer.text


def test_answers_follow_their_context() -> None:
    questions = [ask("a", "Eiffel"), ask("b", "old tower"), ask("c"), ask("d", "1889", "year")]
    examples, counts = translate_examples(questions, WordTranslator())
    check_answers(examples)
    context = "Der alten Turm steht in Paris. Er wurde gebaut von Eiffel in der Jahr 1889."
    assert examples == [
        Question("a", "wer gebaut ihn ?", context, (Answer("Eiffel", context.index("Eiffel")),)),
        Question("b", "wer gebaut ihn ?", context, (Answer("alten Turm", 4),)),
        Question("c", "wer gebaut ihn ?", context, ()),
        Question("d", "wer gebaut ihn ?", context, (Answer("1889", 70), Answer("Jahr", 65))),
    ]
    assert counts == {"exact": 2, "normalised": 0, "marked": 1, "fuzzy": 0, "unanswerable": 1, "dropped": 0}


def test_without_marks_the_most_similar_words_serve() -> None:
    examples, counts = translate_examples([ask("b", "old tower")], WordTranslator(loses_marks=True))
    assert isinstance(examples[0], Question) and examples[0].answers == (Answer("alten Turm", 4),)
    assert counts["fuzzy"] == 1


def test_answers_are_not_looked_for_in_other_sentences() -> None:
    words = {"tower": "Turm", "Paris": "Turm"}
    context = "The tower. Paris is old."
    question = Question("a", "what ?", context, (Answer("Paris", 11),))
    examples, _ = translate_examples([question], WordTranslator(change=lambda word: words.get(word, word)))
    assert isinstance(examples[0], Question) and examples[0].answers[0].start == len("Der Turm. ")


def test_answers_that_are_nowhere_are_dropped_and_counted() -> None:
    letters = iter(range(0x1200, 0x1357))  # of Ethiopic script: no two words have one in common
    never_twice = WordTranslator(loses_marks=True, change=lambda word: 4 * chr(next(letters)))
    examples, counts = translate_examples([ask("a", "Eiffel"), ask("b"), ask("c", "built by", "year")], never_twice)
    assert counts == dict.fromkeys(COUNTS, 0) | {"unanswerable": 1, "dropped": 2}
    assert [example.id for example in examples if isinstance(example, Question)] == ["b"]


def test_one_answer_of_several_is_enough() -> None:
    numbers = iter("abcdefghijklmnopqrstuvwxyz" * 4)
    change = {"Eiffel": "Eiffel"}
    translator = WordTranslator(True, lambda word: change.get(word) or 4 * next(numbers))
    examples, counts = translate_examples([ask("a", "built by", "Eiffel")], translator)
    assert counts["exact"] == 1 and isinstance(examples[0], Question)
    assert [answer.text for answer in examples[0].answers] == ["Eiffel"]


@given(st.data())
def test_counts_add_up_and_answers_stand_at_their_places(data: st.DataObject) -> None:
    """With a translation that is chance: words change, vanish, appear in brackets."""
    words = st.sampled_from(["", "x", "Turm", "[Turm", "a]", "東京", "1889", "ein Haus", "."])
    translator = WordTranslator(data.draw(st.booleans()), lambda word: data.draw(words) or word)
    questions = []
    for number in range(data.draw(st.integers(1, 4))):
        context = data.draw(st.text(alphabet="ab .?\nC1", min_size=1, max_size=40))
        start = data.draw(st.integers(0, len(context) - 1))
        end = data.draw(st.integers(start + 1, len(context)))
        answers = (Answer(context[start:end], start),) if data.draw(st.booleans()) else ()
        questions.append(Question(str(number), "where ?", context, answers))
    examples, counts = translate_examples(questions, translator)
    assert tuple(counts) == COUNTS and sum(counts.values()) == len(questions)
    assert len(examples) == len(questions) - counts["dropped"]
    assert sum(isinstance(example, Question) and not example.answers for example in examples) == counts["unanswerable"]
    check_answers(examples)


def test_labels_stay_and_every_text_is_translated() -> None:
    pair = Pair("1", "The tower", "who was it ?", "neutral")
    choice = Choice("2", "The old", ("tower", "year", ""), 1)
    assert translate_examples([pair], WordTranslator()) == ([Pair("1", "Der Turm", "wer wurde ihn ?", "neutral")], {})
    assert translate_examples([choice], WordTranslator()) == ([Choice("2", "Der alte", ("Turm", "Jahr", ""), 1)], {})
