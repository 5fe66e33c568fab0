"""The raw text of a fetched folder, for a tokenizer or a language model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from stilts.data.examples import Choice, Example, Line, Pair, Question, Sentence, Text, Translation
from stilts.data.fetched import Fetched


def task_texts(source: Path) -> Iterator[tuple[str, str]]:
    """(text, second text or "") of the fetched folder `source`, to train a tokenizer or a language model on.

    Training sets alone where there are any: text of the dev set stays unseen. A context that many questions share
    comes once.
    """
    fetched = Fetched.load(source)
    names = [name for name in fetched.sets if name.startswith("train.")] or fetched.sets
    for name in names:
        previous = None
        for example in fetched.read(name).examples:
            if isinstance(example, Question) and example.context != previous:
                previous = example.context
                yield example.context, ""
            yield _example_text(example)


def _example_text(example: Example) -> tuple[str, str]:
    match example:
        case Text(text, second) | Pair(_, text, second):
            return text, second
        case Choice():
            return example.context, example.endings[example.label]
        case Question():
            return example.question, ""
        case Sentence():
            return " ".join(example.words), ""
        case Translation():
            return example.query, example.candidate
        case Line():
            return example.text, ""
