"""The metrics of one language of a submission, from its two files, by the rules of XTREME's own scorer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import groupby, zip_longest
from math import fsum
from pathlib import Path

import pyarrow as pa

from aggregate.submissions.submission_files import (
    read_answers,
    read_labels,
    read_numbers,
    read_pairs,
    read_questions,
    read_tags,
)
from stilts.errors import UserError
from stilts.evaluation.answers import normalize_mlqa, normalize_squad, score_answer
from stilts.evaluation.chunks import count_chunks
from stilts.evaluation.metrics import f1_score, share
from stilts.tasks.catalogue import TARGETS

Pair = tuple[str, str]
CHUNKED = ("f1", "precision", "recall")
METRICS = {
    "pair": ("accuracy",),
    "tagging": CHUNKED,
    "span": ("exact_match", "f1"),
    "mining": CHUNKED,
    "retrieval": ("accuracy",),
}
SHOWN = 3  # names of questions in a note
# Metrics of one language, in percent.
Figures = dict[str, float]


def score_file(task: str, language: str, predictions: Path, labels: Path, notes: list[str]) -> Figures:
    """Metrics of one language, in percent. Raises UserError with file and line of what is wrong.

    `notes` takes what is legal and yet worth a line.
    """
    read: Callable[[Path], list[str]]
    match TARGETS[task].family:
        case "span":
            said, gold = read_answers(predictions), read_questions(labels)
            notes += _compare_questions(predictions, said, gold)
            return _score_answers(task, language, said, gold)
        case "mining":
            return _score_pairs(read_pairs(predictions), read_pairs(labels), labels)
        case "tagging":
            return _score_tags(predictions, labels, task)
        case "retrieval":
            read = read_numbers
        case _:
            read = partial(read_labels, task=task)
    values, expected = _read_both(predictions, labels, read)
    if len(values) != len(expected):
        raise UserError(f"{predictions}:{len(values)}: the last line, but {labels} has {len(expected)} lines")
    right = sum(value == gold for value, gold in zip(values, expected, strict=True))
    return {"accuracy": share(right, len(expected))}


def _read_both(predictions: Path, labels: Path, read: Callable[[Path], list[str]]) -> tuple[list[str], list[str]]:
    """The values of both files, with the problems of both; labels may not be empty."""
    values: list[list[str]] = []
    problems: list[str] = []
    for path in (predictions, labels):
        try:
            values.append(read(path))
        except UserError as error:
            problems += error.problems
    if not problems:
        problems = [
            f"{path}: empty; {what} are needed"
            for path, what, lines in ((predictions, "predictions", values[0]), (labels, "labels", values[1]))
            if not lines
        ]
    if problems:
        raise UserError(problems)
    return values[0], values[1]


def _score_tags(predictions: Path, labels: Path, task: str) -> Figures:
    """Micro F1 over chunks, seqeval 0.0.12; sentences must have the same words."""
    said, gold = _read_both(predictions, labels, partial(read_tags, task=task))
    for line, (ours, theirs) in enumerate(zip_longest(said, gold), start=1):
        # None is the end of a file, "" the end of a sentence: both must come at the same lines.
        if ours != theirs and not (ours and theirs):
            raise UserError(f"{predictions}:{line}: {_tell_tag(ours)}, but {labels}:{line} has {_tell_tag(theirs)}")
    counts = count_chunks(*(pa.array(_split_sentences(lines), pa.list_(pa.string())) for lines in (gold, said)))
    right, in_said, in_gold = (int(counts[f"chunks_{name}"].sum()) for name in ("right", "predicted", "gold"))
    return _relate(right, in_said, in_gold)


def _tell_tag(tag: str | None) -> str:
    if tag is None:
        return "the end of the file"
    return f"the tag {tag}" if tag else "a blank line"


def _split_sentences(lines: Sequence[str]) -> list[list[str]]:
    return [list(tags) for filled, tags in groupby(lines, key=bool) if filled]


def _score_pairs(said: Sequence[Pair], gold: Sequence[Pair], labels: Path) -> Figures:
    """F1 on sets of id pairs."""
    if not gold:
        raise UserError(f"{labels}: empty; labels are needed")
    return _relate(len(set(said) & set(gold)), len(set(said)), len(set(gold)))


def _relate(right: int, said: int, gold: int) -> Figures:
    """F1, precision and recall in percent; 0 where nothing is right."""
    ratios = (f1_score(right, gold, said), share(right, said), share(right, gold)) if right else (0.0, 0.0, 0.0)
    return dict(zip(CHUNKED, ratios, strict=True))


def _compare_questions(predictions: Path, said: Collection[str], gold: Collection[str]) -> Iterator[str]:
    unanswered = [name for name in gold if name not in said]
    strangers = [name for name in said if name not in gold]
    if unanswered:
        share_of = f"{len(unanswered)} of {len(gold)}"
        yield f"{predictions}: {share_of} questions have no prediction and count 0: {_cut(unanswered)}"
    if strangers:
        yield f"{predictions}: {len(strangers)} predictions are for no question of the labels: {_cut(strangers)}"


def _cut(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _score_answers(task: str, language: str, said: dict[str, str], gold: dict[str, list[str]]) -> Figures:
    """Exact match and F1. A question without a prediction counts 0, and one that has no label is not read."""
    normalize = partial(normalize_mlqa, language=language) if task == "mlqa" else normalize_squad
    marks = [score_answer(said[name], texts, normalize) for name, texts in gold.items() if name in said]
    exact, f1 = sum(same for _, same in marks), fsum(overlap for overlap, _ in marks)
    return {"exact_match": share(exact, len(gold)), "f1": share(f1, len(gold))}
