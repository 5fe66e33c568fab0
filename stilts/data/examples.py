"""What the readers hand on: one small record per example of a task family, texts as they stand in the files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two texts and the name of their relation; no label where the release keeps it back."""

    id: str
    text: str
    second_text: str
    label: str | None


@dataclass(frozen=True)
class Choice:
    """A context and its possible endings, of which `endings[label]` is right."""

    id: str
    context: str
    endings: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class Answer:
    """A stretch of a context: `context[start : start + len(text)] == text`."""

    text: str
    start: int


@dataclass(frozen=True)
class Question:
    """A question whose answers are stretches of the context; the first answer is the one to train on.

    No answer: the context has none (SQuAD 2.0), or the release keeps the answers back.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Sentence:
    """Words and as many tags; no tags at all where the release keeps them back."""

    id: str
    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Translation:
    """Row i of a retrieval set: the i-th English query, the i-th foreign candidate, the query's right candidate.

    No gold where the release keeps the order of the candidates back.
    """

    id: str
    query: str
    candidate: str
    gold: int | None


@dataclass(frozen=True)
class Line:
    """One sentence of a corpus to be mined for translations (BUCC), foreign or English.

    `partners`: ids of the English sentences that the gold list names for a foreign one.
    """

    id: str
    text: str
    english: bool
    partners: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)  # there are millions of them
class Text:
    """One or two running texts (`second_text` may be empty)."""

    text: str
    second_text: str


Example = Pair | Choice | Question | Sentence | Translation | Line | Text


@dataclass(frozen=True)
class Reading:
    """The examples of one file or set, and how many entries of it are left out by the rules of the task."""

    examples: list[Example]
    skipped: int = 0
