"""Which files of a tree may tell scores, folder by folder, and the signature that a file keeps while nobody touches it.

Half of a listing's time the kernel needs to look at a hundred thousand files, one by one, so large trees are shared
among processes.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aggregate.processes import share
from stilts.runs import PILOT_MARKER  # in the root of a pilot, whose runs are no results

SKIPPED_FOLDERS = {"superseded"}
# What a run folder (stilts.runs) holds beside its metrics; nothing there is a score.
RUN_PARTS = {"attempts", "checkpoints", "data", "model", "predictions"}
SPEC, DONE = "run.json", "DONE"
FIELDS = 4  # of a signature: size, times of the last change of content and of anything (ns), inode
IRREGULAR = -1  # in place of the size: a folder, a pipe, a device
VANISHED = -2  # could not be looked at

Signature = tuple[int, int, int, int]
Folder = tuple[str, str]  # path relative to the root, "" for the root itself; sorted names with "/" between them


@dataclass
class Listing:
    """Folders in the order of a walk, those without any such file left out; `signatures` of all their files, one after
    the other, where asked for; `closed` are folders that cannot be listed, each with the reason."""

    folders: list[Folder] = field(default_factory=list)
    signatures: array[int] = field(default_factory=lambda: array("q"))
    closed: list[tuple[str, str]] = field(default_factory=list)

    def extend(self, other: Listing) -> None:
        self.folders += other.folders
        self.signatures += other.signatures
        self.closed += other.closed


def list_tree(root: str, signed: bool = False) -> Listing:
    """Every *.json and every DONE below `root`, outside pilots, folders named `superseded`, and what a run folder holds
    beside its metrics. Links to folders are not followed.

    With `signed` each file is looked at.
    """
    listing, folders = list_top(root, signed)
    for part in share(lambda own: list_below(root, own, signed), folders):
        listing.extend(part)
    listing.folders, places = sort_folders(listing.folders)
    if signed:
        listing.signatures = array("q", read_signatures(listing)[places].tobytes())
    return listing


def list_top(root: str, signed: bool = False) -> tuple[Listing, list[str]]:
    """The root alone, and the folders in it."""
    listing = Listing()
    return listing, _list_folder(root, "", signed, listing)


def list_below(root: str, folders: Sequence[str], signed: bool = False) -> Listing:
    """Some of the folders in the root, with all below them, as a walk from the top meets them."""
    listing = Listing()
    waiting = [*reversed(folders)]
    while waiting:
        waiting += reversed(_list_folder(root, waiting.pop(), signed, listing))
    return listing


def sort_folders(folders: Sequence[Folder]) -> tuple[list[Folder], NDArray[np.int64]]:
    """The folders of several listings as a single walk meets them, and the places that their files, one after the
    other, have had before."""
    order = sorted(range(len(folders)), key=lambda number: folders[number][0].partition("/")[0])
    counts = count_files(folders)
    before, after = np.cumsum(counts) - counts, np.cumsum(counts[order]) - counts[order]
    shifts = np.repeat(before[order] - after, counts[order])
    return [folders[number] for number in order], shifts + np.arange(len(shifts))


def count_files(folders: Iterable[Folder]) -> NDArray[np.int64]:
    return np.array([names.count("/") + 1 for _, names in folders], np.int64)


def read_signatures(listing: Listing) -> NDArray[np.int64]:
    """Files x FIELDS."""
    return np.frombuffer(listing.signatures, np.int64).reshape(-1, FIELDS)


def sign(status: os.stat_result) -> Signature:
    """The signature of a file: whoever writes, replaces, renames, or closes it to others changes it."""
    size = status.st_size if stat.S_ISREG(status.st_mode) else IRREGULAR
    return size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _list_folder(root: str, folder: str, signed: bool, listing: Listing) -> list[str]:
    """Take one folder into the listing; the folders in it."""
    path = f"{root}/{folder}" if folder else root
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        listing.closed.append((folder, error.strerror or "unknown reason"))
        return []
    try:
        folders, names = _sort_entries(descriptor)
        if names:
            listing.folders.append((folder, "/".join(names)))
            if signed:
                _sign_all(names, descriptor, listing.signatures)
    except OSError as error:
        listing.closed.append((folder, error.strerror or "unknown reason"))
        return []
    finally:
        os.close(descriptor)
    return [f"{folder}/{name}" if folder else name for name in folders]


def _sort_entries(descriptor: int) -> tuple[list[str], list[str]]:
    """The folders in a folder, and the names of its files that may tell scores; nothing where it is a pilot's."""
    folders, names = [], []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = entry.name
            if name == PILOT_MARKER:
                return [], []
            if name.endswith(".json") and entry.is_file(follow_symlinks=False):
                names.append(name)
            elif entry.is_dir(follow_symlinks=False):
                folders += [name] if name not in SKIPPED_FOLDERS else []
            elif (name.endswith(".json") or name == DONE) and not (entry.is_symlink() and _leads_to_folder(entry)):
                names.append(name)
    if SPEC in names:
        folders = [name for name in folders if name not in RUN_PARTS]
    return sorted(folders), sorted(names)


def _leads_to_folder(link: os.DirEntry[str]) -> bool:
    try:
        return link.is_dir()
    except OSError:
        return False  # it leads to itself


def _sign_all(names: list[str], descriptor: int, signatures: array[int]) -> None:
    """As `sign`, written out: this is where a listing's time goes."""
    look, regular, add = os.stat, stat.S_ISREG, signatures.extend
    for name in names:
        try:
            status = look(name, dir_fd=descriptor)
        except OSError:
            add((VANISHED, 0, 0, 0))
        else:
            size = status.st_size if regular(status.st_mode) else IRREGULAR
            add((size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino))
