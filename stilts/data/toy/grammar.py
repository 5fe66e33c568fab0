"""Events, and how each toy language says or asks them.

| language | clause | noun phrase |
|---|---|---|
| en | S (not) V O PP Adv | det adj noun |
| qaa | as en | as en |
| qab | S O PP Adv (not) V, verb last | as en |
| qac | as en | det noun adj |

Negation and the passive marker directly precede the verb everywhere: where negation follows it, zero-shot NLI fails.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

from stilts.data.toy.lexicon import (
    ADJECTIVES,
    ADVERBS,
    CATEGORIES,
    FIRST_NAMES,
    LAST_NAMES,
    NOUNS,
    NUMBERS,
    ORGANISATIONS,
    PLACES,
    PREPOSITIONS,
    VERBS,
    find_category,
)

Kind = Literal["person", "organisation", "place", "noun"]
Role = Literal["", "subject", "object", "place"]

VERB_LAST = {"qab"}
NOUN_FIRST = {"qac"}


@dataclass(frozen=True)
class Phrase:
    """A participant or a place. Empty strings where a part is absent; names have neither determiner nor adjective."""

    kind: Kind
    head: str
    determiner: str = ""
    adjective: str = ""
    last: str = ""


@dataclass(frozen=True)
class Event:
    """Who did what to whom, where and how. `passive` and `fronted` change the wording only."""

    subject: Phrase
    verb: str
    object: Phrase
    preposition: str = ""
    place: Phrase | None = None
    adverb: str = ""
    negated: bool = False
    passive: bool = False
    fronted: bool = False


def draw_noun(rng: random.Random) -> Phrase:
    """A noun phrase: the, a or a number, an adjective in 45%, one of the 48 nouns."""
    determiner = rng.choice(("the", "a", rng.choice(NUMBERS)))
    adjective = rng.choice(ADJECTIVES) if rng.random() < 0.45 else ""
    return Phrase("noun", rng.choice(NOUNS), determiner, adjective)


def draw_person(rng: random.Random) -> Phrase:
    """A first name, with a last name in 40%."""
    last = rng.choice(LAST_NAMES) if rng.random() < 0.4 else ""
    return Phrase("person", rng.choice(FIRST_NAMES), last=last)


def draw_participant(rng: random.Random, person: float, organisation: float) -> Phrase:
    """A person or an organisation with the given probabilities, else a noun phrase."""
    draw = rng.random()
    if draw < person:
        return draw_person(rng)
    if draw < person + organisation:
        return Phrase("organisation", rng.choice(ORGANISATIONS))
    return draw_noun(rng)


def draw_subject(rng: random.Random) -> Phrase:
    """A participant with the proportions of subjects."""
    return draw_participant(rng, person=0.45, organisation=0.15)


def draw_object(rng: random.Random) -> Phrase:
    """A participant with the proportions of objects."""
    return draw_participant(rng, person=0.12, organisation=0.08)


def draw_event(
    rng: random.Random, place: float = 0.4, adverb: float = 0.15, negation: float = 0.2, reordering: float = 0.1
) -> Event:
    """A random event; the arguments are probabilities, `reordering` that of the passive and of a fronted place."""
    event = Event(draw_subject(rng), rng.choice(VERBS), draw_object(rng))
    if rng.random() < place:
        if rng.random() < 0.55:
            event = replace(event, preposition="in", place=Phrase("place", rng.choice(PLACES)))
        else:
            event = replace(event, preposition=rng.choice(PREPOSITIONS), place=draw_noun(rng))
    return replace(
        event,
        adverb=rng.choice(ADVERBS) if rng.random() < adverb else "",
        negated=rng.random() < negation,
        passive=rng.random() < reordering,
        fronted=rng.random() < reordering and event.place is not None,
    )


def weaken(rng: random.Random, event: Event) -> Event:
    """The event with one detail less: an adjective, the place or the adverb dropped, or a noun made its category.

    Unchanged where nothing is left to drop.
    """
    weaker = [replace(event, subject=phrase) for phrase in _weaken_phrase(event.subject)]
    weaker += [replace(event, object=phrase) for phrase in _weaken_phrase(event.object)]
    if event.place is not None:
        weaker.append(replace(event, preposition="", place=None, fronted=False))
    if event.adverb:
        weaker.append(replace(event, adverb=""))
    return rng.choice(weaker) if weaker else event


def _weaken_phrase(phrase: Phrase) -> list[Phrase]:
    weaker = []
    if phrase.adjective:
        weaker.append(replace(phrase, adjective=""))
    if phrase.kind == "noun" and phrase.head not in CATEGORIES:
        weaker.append(replace(phrase, head=find_category(phrase.head)))
    return weaker


def list_askable(event: Event) -> list[Role]:
    """The constituents of an event that a question can ask for."""
    return ["subject", "object"] if event.place is None else ["subject", "object", "place"]


def render(event: Event, language: str, asked: Role = "") -> list[str]:
    """The event as concepts in the language's word order: a statement, or the question for the constituent `asked`.

    A question has the question word first, the asked constituent (and its `by`) left out, and "?" at the end.
    """
    concepts = [_choose_question_word(event, asked)] if asked else []
    for role, words in arrange(event, language):
        if not asked or role != asked:
            concepts += words
    return [*concepts, "?" if asked else "."]


def find_span(event: Event, language: str, role: Role) -> tuple[int, int]:
    """First word and number of words of a constituent in `render(event, language)`."""
    first = 0
    for other, words in arrange(event, language):
        if other == role:
            return first, len(words)
        first += len(words)
    raise AssertionError(f"no constituent {role!r} in {event}")


def arrange(event: Event, language: str) -> list[tuple[str, list[str]]]:
    """The constituents of a statement, (role, concepts), in the language's order; in the passive the agent has `by`."""
    subject = ("subject", ["by"] * event.passive + _render_phrase(event.subject, language))
    patient = ("object", _render_phrase(event.object, language))
    before, after = (patient, subject) if event.passive else (subject, patient)
    verb = ("verb", ["not"] * event.negated + ["passive"] * event.passive + [event.verb])
    place = [("place", [event.preposition, *_render_phrase(event.place, language)])] if event.place else []
    adverb = [("adverb", [event.adverb])] if event.adverb else []
    front, rest = (place, []) if event.fronted else ([], place)
    if language in VERB_LAST:
        return [*front, before, after, *rest, *adverb, verb]
    return [*front, before, verb, after, *rest, *adverb]


def _render_phrase(phrase: Phrase, language: str) -> list[str]:
    if language in NOUN_FIRST:
        words = [phrase.determiner, phrase.head, phrase.adjective, phrase.last]
    else:
        words = [phrase.determiner, phrase.adjective, phrase.head, phrase.last]
    return [word for word in words if word]


def _choose_question_word(event: Event, asked: Role) -> str:
    """`where` for the place, `who` for people and organisations, `what` for things."""
    if asked == "place":
        return "where"
    phrase = event.subject if asked == "subject" else event.object
    return "what" if phrase.kind == "noun" else "who"
