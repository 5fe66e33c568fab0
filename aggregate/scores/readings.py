"""What the files of a tree say, as columns: a hundred thousand numbers instead of a hundred thousand objects.

Whatever many files share (the labels of a run, a language, the names of metrics) stands once in a table, and each file
has its place there. All files of a listing are here, also those that are no metric files, so that an unchanged one need
not be opened again to know that.
"""

from __future__ import annotations

import bisect
import os
from array import array
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from aggregate.scores.listing import FIELDS, Folder, Signature, count_files
from stilts.results import RowKey

T = TypeVar("T", bound=Hashable)

# What a file is. NOTHING: no metric file. SCORE: usable. STRANGE: a sound metric file that names no known target,
# language or metric. DAMAGED: one that says nothing sure. MARKER: a DONE.
NOTHING, SCORE, STRANGE, DAMAGED, MARKER = range(5)
NO_TEXT = -1
DIGEST_BYTES = 32


class Label(NamedTuple):
    """What all metric files of a run share."""

    run: str
    row: RowKey
    suite: str
    stage: str
    seed: int | None


class Spot(NamedTuple):
    """What one file of a run is about."""

    target: str
    language: str
    split: str
    layer: int | None


class Table(Generic[T]):
    """Distinct values, each with its place."""

    def __init__(self, values: Sequence[T] = ()) -> None:
        self.values = list(values)
        self.places = {value: place for place, value in enumerate(self.values)}

    def __len__(self) -> int:
        return len(self.values)

    def place(self, value: T) -> int:
        place = self.places.get(value)
        if place is None:
            place = self.places[value] = len(self.values)
            self.values.append(value)
        return place


@dataclass
class Tables:
    """`texts` are what is said once in a while: reasons of findings, recipes, caveats, the facts of DONE records."""

    labels: Table[Label] = field(default_factory=Table)
    spots: Table[Spot] = field(default_factory=Table)
    metrics: Table[tuple[str, ...]] = field(default_factory=Table)
    texts: Table[str] = field(default_factory=Table)


@dataclass
class Columns:
    """One entry per file, but for `values`: those of a file begin at its `first`, in the order of its `metrics`.

    `label`, `spot` and `metrics` are places in the tables, of a SCORE alone; `recipe`, `caveat` and `text` are places
    among the texts, or NO_TEXT. `digest` is the SHA-256 of a metric file's content.
    """

    signature: NDArray[np.int64]  # files x FIELDS
    kind: NDArray[np.int8]
    label: NDArray[np.int32]
    spot: NDArray[np.int32]
    metrics: NDArray[np.int32]
    recipe: NDArray[np.int32]
    caveat: NDArray[np.int32]
    text: NDArray[np.int32]
    digest: NDArray[np.uint8]  # files x DIGEST_BYTES
    first: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, files: NDArray[np.int64]) -> Columns:
        """The columns of some files, in this order; they share the values."""
        taken = {column.name: getattr(self, column.name)[files] for column in fields(self) if column.name != "values"}
        return Columns(**taken, values=self.values)

    def replace(self, files: NDArray[np.int64], others: Columns) -> None:
        """Put other files in the place of these. Both have the same tables."""
        first = others.first + len(self.values)
        for column in fields(self):
            if column.name != "values":
                getattr(self, column.name)[files] = getattr(others, column.name)
        self.first[files] = first
        self.values = np.concatenate([self.values, others.values])


def join_columns(parts: Sequence[tuple[Columns, Tables]]) -> tuple[Columns, Tables]:
    """Columns one below the other, whose places are in tables of their own, as columns with common tables."""
    tables, moved, shift = Tables(), [], 0
    for columns, own in parts:
        labels, spots, metrics = (
            _move(own.labels, tables.labels),
            _move(own.spots, tables.spots),
            _move(own.metrics, tables.metrics),
        )
        texts = _move(own.texts, tables.texts, NO_TEXT)
        moved.append(
            replace(
                columns,
                label=labels[columns.label],
                spot=spots[columns.spot],
                metrics=metrics[columns.metrics],
                recipe=texts[columns.recipe],
                caveat=texts[columns.caveat],
                text=texts[columns.text],
                first=columns.first + shift,
            )
        )
        shift += len(columns.values)
    joined = {one.name: np.concatenate([getattr(columns, one.name) for columns in moved]) for one in fields(Columns)}
    return Columns(**joined), tables


def _move(own: Table[T], common: Table[T], absent: int = 0) -> NDArray[np.int32]:
    """The place among common values of each own one, and last, where -1 leads, the place of those that have none."""
    return np.array([*map(common.place, own.values), absent], np.int32)


class ColumnsBuilder:
    """Columns that grow file by file."""

    def __init__(self) -> None:
        self._numbers, self._values = array("q"), array("d")
        self._digests: list[bytes] = []

    def add(
        self,
        signature: Signature,
        kind: int,
        digest: bytes = bytes(DIGEST_BYTES),
        text: int = NO_TEXT,
        label: int = 0,
        spot: int = 0,
        metrics: int = 0,
        recipe: int = NO_TEXT,
        caveat: int = NO_TEXT,
        values: Iterable[float] = (),
    ) -> None:
        self._numbers.extend((*signature, kind, label, spot, metrics, recipe, caveat, text, len(self._values)))
        self._digests.append(digest)
        self._values.extend(values)

    def build(self) -> Columns:
        numbers = np.array(self._numbers, np.int64).reshape(-1, FIELDS + 8)
        kind, label, spot, metrics, recipe, caveat, text, first = numbers[:, FIELDS:].T
        return Columns(
            signature=numbers[:, :FIELDS].copy(),
            kind=kind.astype(np.int8),
            label=label.astype(np.int32),
            spot=spot.astype(np.int32),
            metrics=metrics.astype(np.int32),
            recipe=recipe.astype(np.int32),
            caveat=caveat.astype(np.int32),
            text=text.astype(np.int32),
            digest=np.frombuffer(b"".join(self._digests), np.uint8).reshape(-1, DIGEST_BYTES),
            first=first.copy(),
            values=np.array(self._values, np.float64),
        )


def show_path(path: str) -> str:
    """A path that can be printed, whatever bytes it has."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "replace")


@dataclass
class Readings:
    """All files of a tree. `folders` are those of its listing; the columns have their files one after the other."""

    folders: list[Folder]
    columns: Columns
    tables: Tables

    def __post_init__(self) -> None:
        self.starts = np.concatenate([[0], np.cumsum(count_files(self.folders))])
        self._starts: list[int] = self.starts.tolist()

    def count_values(self) -> int:
        """How many of the values belong to a file that is still there."""
        sizes = np.array([len(names) for names in self.tables.metrics.values] or [0])
        told = (self.columns.kind == SCORE) | (self.columns.kind == STRANGE)
        return int(sizes[self.columns.metrics[told]].sum())

    def folder_of(self, files: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of the folders that files lie in."""
        return np.searchsorted(self.starts, files, side="right") - 1

    def name(self, file: int) -> str:
        """A file's path below the root, as it can be printed, whatever bytes it has."""
        number = bisect.bisect_right(self._starts, file) - 1
        folder, names = self.folders[number]
        name = names.split("/")[file - self._starts[number]]
        return show_path(f"{folder}/{name}" if folder else name)
