"""One reading of a whole tree: files that a cache knows unchanged are taken from it, the others are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregate.scores.listing import FIELDS, VANISHED, Folder, Listing, count_processes, list_tree
from aggregate.scores.metric_files import MetricFiles
from aggregate.scores.reading_cache import ReadingCache
from aggregate.scores.readings import Columns, Readings, Tables

SHARED_FILES = 20_000  # from so many on other processes look at files faster than they start
STALE_SHARE = 0.01  # of the files, from which on the cache is written anew


@dataclass(frozen=True)
class ResultTree:
    """What a tree of results says; `unreadable` are its folders and files that the system does not give, with the
    reason."""

    readings: Readings
    unreadable: list[tuple[str, str]]


def read_tree(results: Path, cache: ReadingCache | None = None) -> ResultTree:
    """Read every file below `results` that may tell scores; with a cache only those that have changed since."""
    root = os.fspath(results)
    known = cache.load() if cache else None
    files = MetricFiles(root, known.tables if known else Tables())
    if known is None:
        listing = list_tree(root)
        columns = files.read((folder, names.split("/")) for folder, names in listing.folders)
        fresh = len(columns)
    else:
        processes = count_processes() if len(known.columns) >= SHARED_FILES else 1
        listing = list_tree(root, signed=True, processes=processes)
        columns, fresh = _update(known, listing, files)
    readings = Readings(listing.folders, columns, files.tables)
    if cache and fresh > STALE_SHARE * len(columns):
        cache.save(readings)
    closed = [(folder, f"closed: {reason}") for folder, reason in listing.closed]
    return ResultTree(readings, closed + files.unreadable)


def _update(known: Readings, listing: Listing, files: MetricFiles) -> tuple[Columns, int]:
    """The columns of the files listed, and how many of them had to be read."""
    places = _find_places(known, listing.folders)
    listed = np.frombuffer(listing.signatures, np.int64).reshape(-1, FIELDS)
    same = (places >= 0) & (listed[:, 0] != VANISHED)
    same[same] = (known.columns.signature[places[same]] == listed[same]).all(axis=1)
    changed = np.flatnonzero(~same)
    fresh = files.read(_name_files(listing.folders, changed))
    if not len(known.columns):
        return fresh, len(changed)
    columns = known.columns.take(np.where(same, places, 0))
    columns.replace(changed, fresh)
    return columns, len(changed)


def _find_places(known: Readings, folders: list[Folder]) -> NDArray[np.int64]:
    """Where the files of `folders` stand among those known, -1 of a new one."""
    numbers = {folder: number for number, (folder, _) in enumerate(known.folders)}
    parts = [np.zeros(0, np.int64)]
    for folder, names in folders:
        number = numbers.get(folder)
        start, stop = (0, 0) if number is None else known.starts[number : number + 2].tolist()
        if number is not None and known.folders[number][1] == names:
            parts.append(np.arange(start, stop))
            continue
        before = [] if number is None else known.folders[number][1].split("/")
        there = dict(zip(before, range(start, stop), strict=True))
        parts.append(np.array([there.get(name, -1) for name in names.split("/")], np.int64))
    return np.concatenate(parts)


def _name_files(folders: list[Folder], files: NDArray[np.int64]) -> Iterator[tuple[str, list[str]]]:
    """Files, given by their numbers in ascending order, by folder and name."""
    wanted, start = files.tolist(), 0
    at = 0
    for folder, text in folders:
        if at == len(wanted):
            return
        stop = start + text.count("/") + 1
        if wanted[at] < stop:
            names = text.split("/")
            first = at
            while at < len(wanted) and wanted[at] < stop:
                at += 1
            yield folder, [names[number - start] for number in wanted[first:at]]
        start = stop
