"""What was read of a tree, kept for the next time in one file of the user's cache folder.

It never decides anything: a file counts as unchanged by its size, times and inode alone, whatever else the cache holds
of it, and a cache that is torn, foreign, or written by another version of this code is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import time
import uuid
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pydantic

from aggregate.scores.readings import Columns, Label, Readings, Spot, Table, Tables
from stilts.results import RowKey

HERE = Path(__file__).resolve().parent
LEAST_FILES = 1000  # fewer are read as quickly
KEPT_DAYS = 90  # a cache that nobody has used for so long is removed
# Of all values stored; what changed files have left behind fills the rest.
LEAST_LIVE = 0.5


class ReadingCache:
    """The cache of one folder of results."""

    def __init__(self, results: Path, folder: Path) -> None:
        self.results = os.path.realpath(results)
        self.path = folder / f"{hashlib.sha256(os.fsencode(self.results)).hexdigest()[:16]}.npz"

    def load(self) -> Readings | None:
        """What was read the last time; None where nothing is there that this code can rely on."""
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as stored:
                if os.fstat(file.fileno()).st_uid != os.getuid() or bytes(stored["header"]) != self._header():
                    return None
                readings = _unpack(stored)
            with contextlib.suppress(OSError):
                os.utime(self.path)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
        return readings

    def save(self, readings: Readings) -> None:
        """Write the whole cache or none; where that cannot be done the next reading is a cold one."""
        if len(readings.columns) < LEAST_FILES:
            return
        temporary = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex[:8]}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _forget_old(self.path.parent)
            with open(temporary, "wb") as file:
                np.savez(file, header=np.frombuffer(self._header(), np.uint8), **_pack(readings))
            os.replace(temporary, self.path)
        except (OSError, ValueError, TypeError):
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _header(self) -> bytes:
        return f"{version()} {self.results}".encode(errors="surrogateescape")


def open_cache(results: Path) -> ReadingCache | None:
    """The cache of these results where programs keep what they can do without (XDG base directories); None for a user
    without a home."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(named) if os.path.isabs(named) else Path.home() / ".cache"
    except RuntimeError:
        return None
    return ReadingCache(results, folder / "stilts")


def version() -> str:
    """A digest of all code that decides what a file says: no number that somebody may forget to raise."""
    digest = hashlib.sha256(f"{sys.version} {pydantic.VERSION} {np.__version__}".encode())
    stilts = HERE.parent.parent / "stilts"
    for path in sorted([*HERE.glob("*.py"), *stilts.glob("*.py"), *(stilts / "tasks").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _forget_old(folder: Path) -> None:
    for path in folder.glob("*.npz*"):
        if path.stat().st_mtime < time.time() - KEPT_DAYS * 86400:
            path.unlink(missing_ok=True)


def _pack(readings: Readings) -> dict[str, Any]:
    """Arrays of numbers, and of bytes for the texts: paths cannot hold a zero byte, and the rest is JSON."""
    tables = readings.tables
    rows = Table([label.row for label in tables.labels.values])
    labels = [[label.run, rows.place(label.row), *label[2:]] for label in tables.labels.values]
    documents = {
        "rows": [[row.model, row.variant, row.mode, row.tasks, row.mlm, row.translated] for row in rows.values],
        "labels": labels,
        "spots": [list(spot) for spot in tables.spots.values],
        "metrics": tables.metrics.values,
        "texts": tables.texts.values,
    }
    paths = "\0".join(part for folder in readings.folders for part in folder)
    columns = {column.name: getattr(readings.columns, column.name) for column in fields(Columns)}
    texts = {"paths": os.fsencode(paths), "tables": orjson.dumps(documents)}
    return columns | {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}


def _unpack(stored: Any) -> Readings | None:
    columns = Columns(**{column.name: stored[column.name] for column in fields(Columns)})
    documents = orjson.loads(stored["tables"].tobytes())
    rows = [RowKey(row[0], row[1], row[2], tuple(row[3]), row[4], row[5]) for row in documents["rows"]]
    tables = Tables(
        Table([Label(run, rows[row], *rest) for run, row, *rest in documents["labels"]]),
        Table([Spot(*spot) for spot in documents["spots"]]),
        Table([tuple(names) for names in documents["metrics"]]),
        Table(documents["texts"]),
    )
    paths = os.fsdecode(stored["paths"].tobytes()).split("\0")
    folders = list(zip(paths[::2], paths[1::2], strict=True))
    readings = Readings(folders, columns, tables)
    return readings if readings.count_values() >= LEAST_LIVE * len(columns.values) else None
