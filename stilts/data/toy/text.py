"""The text a toy encoder is pre-trained on: short stories and translations with code-switching."""

import random
from dataclasses import replace

from stilts.data.toy.grammar import (
    Event,
    Role,
    draw_event,
    draw_object,
    draw_subject,
    list_askable,
    render,
    weaken,
)
from stilts.data.toy.lexicon import TOY_LANGUAGES, Lexicon, seed_stream

TRANSLATION_PROBABILITY = 0.35
QUESTION_PROBABILITY = 0.12
# Without code-switching retrieval starts near 9% at layer 2, at 0.5 near 83%: 0.4 leaves room to rise and to fall.
SWITCH_PROBABILITY = 0.4

# An event as told: the constituent it asks for, or "" for a statement.
Sentence = tuple[Event, Role]


def draw_text(lexicon: Lexicon, size: int) -> list[tuple[str, str, str]]:
    """`size` sequences (language, text, second text) of about 22 words, from the stream of (seed, text, train).

    35% are translations: one or two sentences, then the same in another language. The others are stories in one
    language: the first sentence, then one or two more. The language is that of the first text's word order; each word
    is replaced by another language's form of the same concept with probability 0.4.
    """
    rng = seed_stream(lexicon.seed, "text", "train")
    return [_draw_sequence(rng, lexicon) for _ in range(size)]


def draw_asked(rng: random.Random, event: Event) -> Role:
    """Statement or question: in 12% a random constituent to ask for, else ""."""
    return rng.choice(list_askable(event)) if rng.random() < QUESTION_PROBABILITY else ""


def _draw_sequence(rng: random.Random, lexicon: Lexicon) -> tuple[str, str, str]:
    language = rng.choice(TOY_LANGUAGES)
    translated = rng.random() < TRANSLATION_PROBABILITY
    events = _draw_story(rng, lexicon, rng.choice((1, 2)) if translated else rng.choice((2, 3)))
    sentences = [(event, draw_asked(rng, event)) for event in events]
    if translated:
        other = rng.choice([name for name in TOY_LANGUAGES if name != language])
        first, second = _write(rng, lexicon, sentences, language), _write(rng, lexicon, sentences, other)
    else:
        first, second = (_write(rng, lexicon, part, language) for part in (sentences[:1], sentences[1:]))
    return language, first, second


def _draw_story(rng: random.Random, lexicon: Lexicon, length: int) -> list[Event]:
    events = [draw_event(rng)]
    while len(events) < length:
        events.append(_continue(rng, lexicon, events[-1]))
    return events


def _continue(rng: random.Random, lexicon: Lexicon, event: Event) -> Event:
    """The next event: 35% what the script says, 20% a restatement, 25% one shared participant, 20% unrelated."""
    draw = rng.random()
    if draw < 0.35:
        return follow_script(lexicon, event)
    if draw < 0.55:
        return _restate(rng, event)
    new = draw_event(rng)
    if draw < 0.80:
        shared = rng.choice((event.subject, event.object))
        if rng.random() < 0.5:
            return replace(new, subject=shared, object=draw_object(rng))
        return replace(new, subject=draw_subject(rng), object=shared)
    return new


def follow_script(lexicon: Lexicon, event: Event) -> Event:
    """The script's continuation: the same participants, the next verb, nothing else."""
    return Event(event.subject, lexicon.next_verb[event.verb], event.object)


def _restate(rng: random.Random, event: Event) -> Event:
    """The event with up to two details less and, half the time, the voice changed or the place moved."""
    for _ in range(rng.choice((0, 1, 2))):
        event = weaken(rng, event)
    if rng.random() < 0.5:
        if event.place is not None and rng.random() < 0.5:
            return replace(event, fronted=not event.fronted)
        return replace(event, passive=not event.passive)
    return event


def _write(rng: random.Random, lexicon: Lexicon, sentences: list[Sentence], language: str) -> str:
    words: list[str] = []
    for event, asked in sentences:
        for concept in render(event, language, asked):
            spelling = rng.choice(TOY_LANGUAGES) if rng.random() < SWITCH_PROBABILITY else language
            words.append(lexicon.forms[spelling][concept])
    return " ".join(words)
