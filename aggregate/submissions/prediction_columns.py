"""The columns of stored predictions by task family (docs/predictions.md), and what is wrong with a file's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from stilts.tasks.catalogue import task_family


@dataclass(frozen=True)
class Column:
    """What a column holds, and whether a row of it may be null."""

    kind: str
    null: bool = False


TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "truth value": pa.bool_(),
    "list of text": pa.list_(pa.string()),
    "list of numbers": pa.list_(pa.float64()),
}
TEXT, TEXTS = Column("text"), Column("list of text")
COLUMNS: dict[str, dict[str, Column]] = {
    "pair": {"id": TEXT, "label": Column("text", null=True), "prediction": TEXT, "scores": Column("list of numbers")},
    "choice": {
        "id": TEXT,
        "label": Column("integer", null=True),
        "prediction": Column("integer"),
        "scores": Column("list of numbers"),
    },
    "span": {
        "id": TEXT,
        "answers": Column("list of text", null=True),
        "prediction": TEXT,
        "score": Column("number", null=True),
        "null_score": Column("number"),
    },
    "tagging": {"id": TEXT, "words": TEXTS, "tags": Column("list of text", null=True), "predictions": TEXTS},
    "retrieval": {
        "id": TEXT,
        "gold": Column("integer", null=True),
        "prediction": Column("integer"),
        "score": Column("number"),
    },
    "mining": {
        "foreign_id": TEXT,
        "english_id": TEXT,
        "score": Column("number", null=True),
        "gold": Column("truth value", null=True),
    },
}


def check_columns(table: pa.Table, task: str) -> tuple[pa.Table, list[str]]:
    """The table with its columns in the types of `TYPES`, whatever the width of theirs, and what is wrong with it."""
    problems = []
    for name, column in {"language": TEXT, **COLUMNS[task_family(task)]}.items():
        if table.column_names.count(name) != 1:
            problems.append(f"{'no' if name not in table.column_names else 'more than one'} column {name}")
            continue
        values = table[name]
        if not (_is_kind(values.type, column.kind) or (column.null and pa.types.is_null(values.type))):
            problems.append(f"column {name} is {values.type}, not {column.kind}")
            continue
        values = values.cast(TYPES[column.kind])
        table = table.set_column(table.column_names.index(name), name, values)
        problems += (f"column {name}: {what}" for what in _find_holes(values, column))
    return table, problems or list(_compare_columns(table, task))


def _is_kind(given: pa.DataType, kind: str) -> bool:
    types = pa.types
    if kind.startswith("list of "):
        lists = types.is_list(given) or types.is_large_list(given)
        element = given.value_type if lists else None  # null where all lists are empty
        return lists and (types.is_null(element) or _is_kind(element, kind.removeprefix("list of ").removesuffix("s")))
    checks = {
        "text": types.is_string(given) or types.is_large_string(given),
        "integer": types.is_integer(given),
        "number": types.is_floating(given),
        "truth value": types.is_boolean(given),
    }
    return checks[kind]


def _find_holes(values: pa.ChunkedArray, column: Column) -> Iterator[str]:
    """Nulls where none may be, and numbers that are none."""
    if values.null_count and not column.null:
        yield f"{values.null_count} of {len(values)} rows are null"
    if pa.types.is_list(values.type):
        inside = pc.list_flatten(values)
        if inside.null_count:
            yield f"{inside.null_count} nulls inside its lists"
    elif pa.types.is_floating(values.type) and pc.any(pc.is_nan(values)).as_py():
        yield "not a number (NaN) in it"


def _compare_columns(table: pa.Table, task: str) -> Iterator[str]:
    """What the family needs beyond the columns' types."""
    match task_family(task):
        case "tagging":
            lengths = pc.list_value_length(table["words"])
            for name in ("tags", "predictions"):
                wrong = pc.sum(pc.not_equal(pc.list_value_length(table[name]), lengths)).as_py()
                if wrong:
                    yield f"column {name}: not as many as words in {wrong} rows"
                if pc.any(pc.equal(pc.list_flatten(table[name]), "")).as_py():
                    yield f"column {name}: an empty tag"
        case "span" if task != "squad2":
            empty = pc.sum(pc.equal(pc.list_value_length(table["answers"]), 0)).as_py()
            if empty:
                yield f"column answers: none for {empty} questions, which only squad2 may have"
