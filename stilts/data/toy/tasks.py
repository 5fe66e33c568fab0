"""Examples of the toy tasks, as events: any language can render them afterwards.

Whether an example belongs to train, dev or test is decided by a digest of its English key (premise, passage, context
or sentence) and the seed. So splits never share a key, not even those of an intermediate task and of its target, and
no example depends on how many others are drawn.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from stilts.data.toy.grammar import (
    Event,
    Phrase,
    Role,
    draw_event,
    draw_noun,
    draw_object,
    draw_person,
    draw_subject,
    find_span,
    list_askable,
    render,
    weaken,
)
from stilts.data.toy.lexicon import CATEGORIES, VERBS, Lexicon, find_category, seed_stream
from stilts.data.toy.text import draw_asked, follow_script

SPLITS = ("train", "dev", "test")
NLI_LABELS = ("entailment", "neutral", "contradiction")
CHOICE_COUNT = 3

Example = TypeVar("Example")


@dataclass(frozen=True)
class Pair:
    """A premise and a hypothesis with one of NLI_LABELS."""

    premise: Event
    hypothesis: Event
    label: str


@dataclass(frozen=True)
class Question:
    """A passage of two events and a question for one constituent of one of them."""

    passage: tuple[Event, Event]
    about: int
    asked: Role


@dataclass(frozen=True)
class Choice:
    """An event and CHOICE_COUNT continuations, of which `endings[label]` follows the script."""

    context: Event
    endings: list[Event]
    label: int


@dataclass(frozen=True)
class Sentence:
    """One event as a statement, or as the question for `asked`."""

    event: Event
    asked: Role = ""


def write_words(lexicon: Lexicon, event: Event, language: str, asked: Role = "") -> str:
    """An event in a language, words and punctuation separated by single spaces."""
    return " ".join(lexicon.spell(render(event, language, asked), language))


def draw_pairs(lexicon: Lexicon, task: str, split: str, size: int) -> list[Pair]:
    """NLI: premises with a place in 50%, never negated; each label is a third of any three examples in a row."""
    labels = _balance(lexicon, task, split, size, len(NLI_LABELS))

    def draw(rng: random.Random, index: int) -> tuple[str, Pair]:
        premise = draw_event(rng, place=0.5, negation=0.0, reordering=0.0)
        label = NLI_LABELS[labels[index]]
        return write_words(lexicon, premise, "en"), Pair(premise, _draw_hypothesis(rng, premise, label), label)

    return _fill(lexicon, task, split, size, draw)


def draw_questions(lexicon: Lexicon, task: str, split: str, size: int) -> list[Question]:
    """Span questions: two events with different verbs, no adverb, no negation, a place in 45%."""

    def draw(rng: random.Random, index: int) -> tuple[str, Question]:
        first, second = (draw_event(rng, 0.45, adverb=0.0, negation=0.0, reordering=0.0) for _ in range(2))
        if first.verb == second.verb:
            second = replace(second, verb=rng.choice([verb for verb in VERBS if verb != first.verb]))
        about = rng.choice((0, 1))
        asked = rng.choice(list_askable((first, second)[about]))
        question = Question((first, second), about, asked)
        return write_passage(lexicon, question, "en"), question

    return _fill(lexicon, task, split, size, draw)


def draw_choices(lexicon: Lexicon, task: str, split: str, size: int) -> list[Choice]:
    """Multiple choice: each wrong ending has another verb, subject or object (a third each) than the right one."""
    labels = _balance(lexicon, task, split, size, CHOICE_COUNT)

    def draw(rng: random.Random, index: int) -> tuple[str, Choice]:
        context = draw_event(rng, negation=0.0, reordering=0.0)
        endings = [follow_script(lexicon, context)]
        while len(endings) < CHOICE_COUNT:
            wrong = _spoil(rng, endings[0])
            if wrong not in endings:
                endings.append(wrong)
        endings.insert(labels[index], endings.pop(0))
        return write_words(lexicon, context, "en"), Choice(context, endings, labels[index])

    return _fill(lexicon, task, split, size, draw)


def draw_sentences(lexicon: Lexicon, task: str, split: str, size: int, questions: bool) -> list[Sentence]:
    """Single sentences with a place in 50%; with `questions`, 12% are questions."""

    def draw(rng: random.Random, index: int) -> tuple[str, Sentence]:
        event = draw_event(rng, place=0.5)
        sentence = Sentence(event, draw_asked(rng, event) if questions else "")
        return write_words(lexicon, event, "en", sentence.asked), sentence

    return _fill(lexicon, task, split, size, draw)


def write_passage(lexicon: Lexicon, question: Question, language: str) -> str:
    """The passage of a question, its two sentences separated by a space."""
    return " ".join(write_words(lexicon, event, language) for event in question.passage)


def locate_answer(lexicon: Lexicon, question: Question, language: str) -> tuple[str, int]:
    """The answer's words and the character offset where they start in `write_passage`."""
    words = write_passage(lexicon, question, language).split(" ")
    first, length = find_span(question.passage[question.about], language, question.asked)
    if question.about == 1:
        first += len(render(question.passage[0], language))
    return " ".join(words[first : first + length]), sum(len(word) + 1 for word in words[:first])


def find_split(lexicon: Lexicon, key: str) -> str:
    """The only split in which an example with this key may stand."""
    digest = hashlib.sha256(f"{lexicon.seed}/{key}".encode()).digest()
    return SPLITS[int.from_bytes(digest[:8], "big") % len(SPLITS)]


def _fill(
    lexicon: Lexicon, task: str, split: str, size: int, draw: Callable[[random.Random, int], tuple[str, Example]]
) -> list[Example]:
    """Draw (key, example) from the stream of (seed, task, split) until `size` examples with new keys of the split."""
    rng = seed_stream(lexicon.seed, task, split)
    examples: dict[str, Example] = {}
    while len(examples) < size:
        key, example = draw(rng, len(examples))
        if key not in examples and find_split(lexicon, key) == split:
            examples[key] = example
    return list(examples.values())


def _balance(lexicon: Lexicon, task: str, split: str, size: int, classes: int) -> list[int]:
    """Class numbers of which every `classes` in a row, from the first, are a permutation."""
    rng = seed_stream(lexicon.seed, task, split, "labels")
    blocks = [rng.sample(range(classes), classes) for _ in range(-(-size // classes))]
    return [label for block in blocks for label in block][:size]


def _draw_hypothesis(rng: random.Random, premise: Event, label: str) -> Event:
    """The premise with up to two details less; then negated (contradiction) or one participant exchanged (neutral)."""
    event = premise
    for _ in range(rng.choice((0, 1, 2))):
        event = weaken(rng, event)
    if label == "contradiction":
        return replace(event, negated=True)
    if label == "neutral":
        if rng.random() < 0.5:
            return replace(event, subject=_exchange(rng, event.subject))
        return replace(event, object=_exchange(rng, event.object))
    return event


def _exchange(rng: random.Random, phrase: Phrase) -> Phrase:
    """Another person, or a noun of another category with the determiner and adjective of the old one."""
    if rng.random() < 0.5:
        new = draw_person(rng)
        while new.head == phrase.head:
            new = draw_person(rng)
        return new
    new = draw_noun(rng)
    if phrase.kind != "noun":
        return replace(new, adjective="")
    category = phrase.head if phrase.head in CATEGORIES else find_category(phrase.head)
    while find_category(new.head) == category:
        new = draw_noun(rng)
    return replace(phrase, head=new.head)


def _spoil(rng: random.Random, ending: Event) -> Event:
    """The ending with another verb, subject or object."""
    part = rng.choice(("verb", "subject", "object"))
    if part == "verb":
        return replace(ending, verb=rng.choice([verb for verb in VERBS if verb != ending.verb]))
    if part == "subject":
        subject = draw_subject(rng)
        return ending if subject.head == ending.subject.head else replace(ending, subject=subject)
    replacement = draw_object(rng)
    return ending if replacement.head == ending.object.head else replace(ending, object=replacement)
