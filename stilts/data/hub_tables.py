"""A set brought from the hub as it lies on the disk: its rows, the names of its classes, whether it has labels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stilts.data.examples import Answer
from stilts.data.lines import Refused, ids_repeat, parse_number
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, training_of

Row = dict[str, Any]

TAGS = {"udpos": "pos_tags", "panx": "ner_tags"}
_LABEL_NAMES = {"not_duplicate": "0", "duplicate": "1"}  # QQP
_HIDDEN = {-1, "-1", "", None}

# In these sets offsets point beyond their answers by the white space that the hub's loaders cut off the context's head:
# at most 7 characters in slices of the original files. A text found much further away would be another one.
CUT_CONTEXTS = ("xquad", "mlqa", "tydiqa")
MOST_CUT = 100


@dataclass
class HubTable:
    """A set's rows, the names of its classes, and what is wrong with its rows."""

    path: Path
    task: str
    split: str
    language: str
    table: pa.Table
    classes: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]
    labelled: bool
    skipped: int = 0
    seen: dict[tuple[str, ...], int] = field(default_factory=dict)
    shifts: dict[str, int] = field(default_factory=dict)  # by context


def has_labels(task: str, path: Path) -> bool:
    """False for a set that hides all its labels (-1), tags or answers; in SQuAD 2.0 no answer is a label too."""
    return _find_labels(task, _read_table(path))


def _find_labels(task: str, table: pa.Table) -> bool:
    if "answers" in table.column_names and task != "squad2":
        return any(any((row["answers"] or {}).get("text") or ()) for row in iterate_rows(table.select(["answers"])))
    for column in ("label", TAGS.get(task, "")):
        if column in table.column_names:
            values = table[column]
            if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
                values = pc.list_flatten(values)
            if pa.types.is_primitive(values.type) or pa.types.is_string(values.type):
                return bool(set(pc.unique(values).to_pylist()) - _HIDDEN)
    return True  # also for what is no label at all: the reader of the rows complains about it


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: no Parquet file ({str(error).splitlines()[0]}); fetch the set again") from None


def open_table(path: Path, task: str, set_name: str) -> HubTable:
    """UserError where the file is no Parquet."""
    table = _read_table(path)
    features = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    classes = {column: _find_names(feature) for column, feature in features.items()}
    owner = INTERMEDIATES.get(task) or TRAININGS.get(task) or (training_of(task) if task in TARGETS else None)
    labels = owner.labels if owner else ()
    split, _, language = set_name.partition(".")
    return HubTable(path, task, split, language, table, classes, labels, _find_labels(task, table))


def _find_names(feature: Any) -> tuple[str, ...]:
    """Names of a class label, or of the class labels in a list; empty for other features."""
    if isinstance(feature, list) and feature:
        feature = feature[0]
    if not isinstance(feature, Mapping):
        return ()
    if feature.get("_type") == "ClassLabel":
        return tuple(_LABEL_NAMES.get(name, name) for name in feature["names"])
    return _find_names(feature.get("feature"))


def iterate_rows(table: pa.Table) -> Iterator[Row]:
    for batch in table.to_batches(max_chunksize=10_000):
        yield from batch.to_pylist()


def take_text(row: Row, column: str) -> str:
    value = row[column]
    if not isinstance(value, str):
        raise Refused(f"{column} {value!r}: a string is needed")
    return value.strip()


def take_class(table: HubTable, column: str, value: Any) -> str | None:
    """The name of a class label, None for a hidden one."""
    if isinstance(value, int | str | None) and value in _HIDDEN:
        return None
    names = table.classes.get(column, ())
    if names and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if not names and isinstance(value, str) and value in table.labels:
        return value
    legal = f"0 to {len(names) - 1} for {', '.join(names)}" if names else f"one of {', '.join(table.labels)}"
    raise Refused(f"{column} {value!r} is not {legal}" + " (the file names no classes)" * (not names))


def take_number(value: Any, count: int) -> int:
    """The right ending, a number or its digits."""
    label = parse_number(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(label, int) or not 0 <= label < count:
        raise Refused(f"label {value!r} is not one of 0 to {count - 1}")
    return label


def take_name(table: HubTable, name: str, number: int, *texts: str) -> str:
    """The id; Refused if it is empty or stands there already, with the same `texts` where ids repeat."""
    repeats = ids_repeat(table.task, table.split)
    first = table.seen.setdefault((name, *texts) if repeats else (name,), number)
    if not name or first != number:
        same = ", with the same texts" * repeats
        raise Refused(f"id {name!r} stands twice, first in row {first}{same}" if name else "an empty id")
    return name


def find_shifts(table: HubTable) -> dict[str, int]:
    """By how much the offsets of a context are too large: the least number that fits all of its answers.

    A text may stand at its wrong offset too, by chance (a digit); the other questions of the context tell. Contexts
    without such a number are left to `locate`, row by row.
    """
    fits: dict[str, set[int]] = {}
    for row in iterate_rows(table.table.select(["context", "answers"])):
        context, answers = row["context"], row["answers"]
        if isinstance(context, str) and isinstance(answers, Mapping):
            texts, starts = answers["text"] or [], answers["answer_start"] or []
            before = fits.get(context, set(range(MOST_CUT + 1)))
            fits[context] = {cut for cut in before if _fits(context, texts, starts, cut)}
    return {context: min(cuts) for context, cuts in fits.items() if cuts}


def locate(table: HubTable, context: str, texts: list[str], starts: list[int]) -> tuple[Answer, ...]:
    """The answers where they stand: all offsets may be too large by one and the same number."""
    if not all(texts) or not all(type(start) is int for start in starts) or len(texts) != len(starts):
        raise Refused(f"answers {texts!r} at {starts!r}: as many texts, none empty, as numbers are needed")
    shift = table.shifts.get(context)
    for cut in range(MOST_CUT + 1 if table.task in CUT_CONTEXTS else 1) if shift is None else (shift,):
        if _fits(context, texts, starts, cut):
            return tuple(Answer(text, start - cut) for text, start in zip(texts, starts, strict=True))
    found = [context[start : start + len(text)] for text, start in zip(texts, starts, strict=True)]
    raise Refused(f"answers {texts!r} at {starts!r}, where {found!r} stand")


def _fits(context: str, texts: list[str], starts: list[int], cut: int) -> bool:
    pairs = zip(texts, starts, strict=False)
    return all(
        isinstance(text, str) and type(start) is int and start >= cut and context.startswith(text, start - cut)
        for text, start in pairs
    )
