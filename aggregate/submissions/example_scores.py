"""What stored predictions say of each example, as sums: a metric is 100 x the sum of numerators / of denominators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from aggregate.scores.columns import headline_metrics
from stilts.errors import UserError
from stilts.tasks.catalogue import task_family

MINED = ("foreign_id", "score", "gold", "threshold")
CHUNKS = ("chunks_right", "chunks_gold", "chunks_predicted")
MEANS = {"accuracy": "correct", "f1": "f1", "exact_match": "exact_match"}

Numbers = npt.NDArray[Any]


@dataclass(frozen=True)
class ExampleScores:
    """Rows of one run's file, those of some languages. `sums` [rows, metrics + 1] are the numerators of the target's
    headline metrics and, last, their common denominator, 16-bit integers where all are counts.

    An id is that of what is drawn: an example, or of mined pairs their foreign sentence, which may stand in several
    rows."""

    languages: pa.Array
    ids: pa.Array
    sums: Numbers


def read_example_scores(path: Path, target: str, languages: Sequence[str]) -> ExampleScores:
    """The rows of `languages` from the score columns of docs/predictions.md, not recomputed.

    Raises UserError, one problem without the path, where one of them is not there or has no labels, or where the file
    is no table of predictions with scores.
    """
    names = name_columns(target)
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=["language", *names])
    except FileNotFoundError:
        raise UserError("no stored predictions") from None
    except (OSError, ValueError, pa.ArrowException):
        raise UserError("stored predictions that cannot be read") from None
    if lacking := [name for name in ("language", *names) if name not in table.column_names]:
        raise UserError(f"stored predictions without column {', '.join(lacking)}")
    present = table["language"].unique().to_pylist()
    if missing := [language for language in languages if language not in present]:
        raise UserError(f"no stored predictions of {', '.join(missing)}")
    if set(present) != set(languages):
        table = table.filter(pc.is_in(table["language"], pa.array(languages)))
    nulls = [name for name in names if table[name].null_count and name != "score"]
    if nulls:
        holes = table.filter(pc.is_null(table[nulls[0]]))["language"].unique().to_pylist()
        what = "threshold from dev" if nulls == ["threshold"] else "labels"
        raise UserError(f"stored predictions without {what} of {', '.join(sorted(holes))}")
    table = table.combine_chunks()
    try:
        return read_pairs(table) if task_family(target) == "mining" else read_sums(table, target)
    except (ValueError, TypeError, pa.ArrowException):
        raise UserError("stored predictions with columns of other types than docs/predictions.md") from None


def name_columns(target: str) -> tuple[str, ...]:
    match task_family(target):
        case "mining":
            return MINED
        case "tagging":
            return ("id", *CHUNKS)
        case _:
            return ("id", *(MEANS[metric] for metric in headline_metrics(target)))


def read_sums(table: pa.Table, target: str) -> ExampleScores:
    if task_family(target) == "tagging":
        right, gold, predicted = (to_numbers(table[name], np.uint16) for name in CHUNKS)
        sums = np.stack([2 * right, gold + predicted], axis=1)
    else:
        kind = np.float64 if task_family(target) == "span" else np.uint16  # a question's F1 is a fraction
        means = [to_numbers(table[MEANS[metric]], kind) for metric in headline_metrics(target)]
        sums = np.stack([*means, np.ones(len(table), kind)], axis=1)
    return ExampleScores(one_piece(table["language"]), one_piece(table["id"]), sums)


def read_pairs(table: pa.Table) -> ExampleScores:
    """Pairs that are gold or at or above the threshold: the others count nowhere."""
    gold = to_numbers(table["gold"], np.bool_)
    predicted = to_numbers(pc.fill_null(pc.greater_equal(table["score"], table["threshold"]), False), np.bool_)
    counted = pa.array(gold | predicted)
    sums = np.stack([2.0 * (gold & predicted), 1.0 * gold + predicted], axis=1)[gold | predicted]
    languages, ids = (one_piece(table[name].filter(counted)) for name in ("language", "foreign_id"))
    return ExampleScores(languages, ids, sums.astype(np.uint16))


def to_numbers(column: pa.ChunkedArray, kind: npt.DTypeLike) -> Numbers:
    return np.asarray(column.to_numpy()).astype(kind)


def one_piece(column: pa.ChunkedArray) -> pa.Array:
    """Text without a null, of one width whatever the file's."""
    pieces = column.cast(pa.large_string()).combine_chunks()
    return pa.concat_arrays(pieces.chunks) if isinstance(pieces, pa.ChunkedArray) else pieces
