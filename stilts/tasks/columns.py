"""Columns of prediction tables: what the families share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS


class NotScored(UserError):
    """A labelled set that has predictions and no score, and why."""


def task_metrics(task: str) -> tuple[str, ...]:
    """The metrics of an intermediate task or a target; UserError for another name."""
    for table in (INTERMEDIATES, TARGETS):
        if task in table:
            return table[task].metrics
    raise UserError(f"no scored task {task!r}: use one of {', '.join((*INTERMEDIATES, *TARGETS))}")


def tune(tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables of a task's sets by name, unchanged: nothing is tuned on dev in most families."""
    return dict(tables)


def put_columns(table: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """The table with these columns at its end; those of the same name are replaced."""
    table = table.drop_columns([name for name in columns if name in table.column_names])
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def find_labelled(table: pa.Table, column: str) -> np.ndarray:
    """bool [N]: rows whose gold `column` is there."""
    return np.asarray(table[column].is_valid())


def spread(values: Any, labelled: np.ndarray) -> pa.Array:
    """Values of the labelled rows, one for each, as a column of all rows with nulls in between."""
    places = np.cumsum(labelled) - 1
    return pa.array(values).take(pa.array(places, type=pa.int64(), mask=~labelled))


def join_list(column: pa.ChunkedArray) -> pa.Array:
    """A column of lists in one piece."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)


def take_scored(table: pa.Table, column: str) -> np.ndarray:
    """A score column of annotated rows as numbers.

    Raises UserError where there is no row, or one without labels: such a set has predictions alone.
    """
    values = table[column]
    if not len(values) or values.null_count:
        name = ", ".join(sorted({str(language) for language in table["language"].to_pylist()})) or "no row at all"
        raise UserError(
            f"{name}: {values.null_count} of {len(values)} rows have no gold labels, so there is no score; labelled "
            "rows are needed"
        )
    return np.asarray(values)


def choose(figures: Mapping[str, float], metrics: Sequence[str]) -> dict[str, float]:
    """The metrics asked for; UserError for one that the family does not have."""
    if unknown := [metric for metric in metrics if metric not in figures]:
        raise UserError(f"no metric {', '.join(unknown)} here: use {', '.join(figures)}")
    return {metric: figures[metric] for metric in metrics}
