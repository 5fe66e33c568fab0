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

from stilts.data.lines import Refused
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TRAININGS, training_of

Row = dict[str, Any]

TAGS = {"udpos": "pos_tags", "panx": "ner_tags"}
_LABEL_NAMES = {"not_duplicate": "0", "duplicate": "1"}  # QQP
_HIDDEN = {-1, "-1", "", None}


@dataclass
class HubTable:
    """A set's rows, the names of its classes, and what is wrong with its rows."""

    path: Path
    task: str
    language: str
    table: pa.Table
    classes: Mapping[str, tuple[str, ...]]
    labels: tuple[str, ...]
    labelled: bool
    skipped: int = 0
    seen: dict[str, int] = field(default_factory=dict)


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


def open_table(path: Path, task: str, language: str) -> HubTable:
    """UserError where the file is no Parquet."""
    table = _read_table(path)
    features = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    classes = {column: _find_names(feature) for column, feature in features.items()}
    owner = INTERMEDIATES.get(task) or TRAININGS.get(task) or (training_of(task) if task in TARGETS else None)
    labels = owner.labels if owner else ()
    return HubTable(path, task, language, table, classes, labels, _find_labels(task, table))


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
    label = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(label, int) or not 0 <= label < count:
        raise Refused(f"label {value!r} is not one of 0 to {count - 1}")
    return label


def take_name(table: HubTable, name: str, number: int) -> str:
    first = table.seen.setdefault(name, number)
    if not name or first != number:
        raise Refused(f"id {name!r} stands twice, first in row {first}" if name else "an empty id")
    return name
