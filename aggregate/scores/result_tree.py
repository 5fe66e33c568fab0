"""One reading of a whole tree: files that a cache knows unchanged are taken from it, the others are read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aggregate.processes import share
from aggregate.scores.listing import (
    VANISHED,
    Folder,
    Listing,
    list_below,
    list_top,
    list_tree,
    read_signatures,
    sort_folders,
)
from aggregate.scores.metric_files import MetricFiles
from aggregate.scores.reading_cache import ReadingCache
from aggregate.scores.readings import Columns, Readings, Tables, join_columns

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
    tree, fresh = _read_all(root) if known is None else _read_changed(root, known)
    if cache and fresh > STALE_SHARE * len(tree.readings.columns):
        cache.save(tree.readings)
    return tree


def _read_all(root: str) -> tuple[ResultTree, int]:
    """The whole tree, and the number of its files."""
    top, below = list_top(root)
    parts = [_read_listed(root, top), *share(partial(_read_below, root), below)]
    listings = [listing for listing, *_ in parts]
    folders, places = sort_folders([folder for listing in listings for folder in listing.folders])
    columns, tables = join_columns([(columns, tables) for _, columns, tables, _ in parts])
    readings = Readings(folders, columns.take(places), tables)
    unreadable = [entry for *_, entries in parts for entry in entries]
    return ResultTree(readings, _list_closed(*listings) + unreadable), len(places)


Part = tuple[Listing, Columns, Tables, list[tuple[str, str]]]


def _read_below(root: str, folders: Sequence[str]) -> Part:
    return _read_listed(root, list_below(root, folders))


def _read_listed(root: str, listing: Listing) -> Part:
    """The listing with what its files say, and those of them that could not be read."""
    files = MetricFiles(root, Tables())
    columns = files.read((folder, names.split("/")) for folder, names in listing.folders)
    return listing, columns, files.tables, files.unreadable


def _read_changed(root: str, known: Readings) -> tuple[ResultTree, int]:
    """As `_read_all`, but of files that are as they were when they were read what was read; and how many are not."""
    listing = list_tree(root, signed=True)
    files = MetricFiles(root, known.tables)
    places = _find_places(known, listing.folders)
    listed = read_signatures(listing)
    same = (places >= 0) & (listed[:, 0] != VANISHED)
    same[same] = (known.columns.signature[places[same]] == listed[same]).all(axis=1)
    changed = np.flatnonzero(~same)
    columns = files.read(_name_files(listing.folders, changed))
    if len(known.columns):
        fresh, columns = columns, known.columns.take(np.where(same, places, 0))
        columns.replace(changed, fresh)
    readings = Readings(listing.folders, columns, files.tables)
    return ResultTree(readings, _list_closed(listing) + files.unreadable), len(changed)


def _list_closed(*listings: Listing) -> list[tuple[str, str]]:
    return [(folder, f"closed: {reason}") for listing in listings for folder, reason in listing.closed]


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
