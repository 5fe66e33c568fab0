"""Which files of a tree may tell scores, folder by folder, and the signature that a file keeps while nobody touches it.

Half of a listing's time the kernel needs to look at a hundred thousand files, one by one, so large trees are shared
among processes. Python's start counts there: this file, which each of them runs, uses the standard library alone.
"""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SKIPPED_FOLDERS = {"superseded"}
PILOT_MARKER = "PILOT"  # a file in the root of a pilot (stilts.runs has the same): its runs are no results
DONE = "DONE"
FIELDS = 4  # of a signature: size, times of the last change of content and of anything (ns), inode
IRREGULAR = -1  # in place of the size: a folder, a pipe, a device
VANISHED = -2  # could not be looked at
MAX_PROCESSES = 8

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


def list_tree(root: str, signed: bool = False, processes: int = 1) -> Listing:
    """Every *.json and every DONE below `root`, outside folders named `superseded` and pilots. Links to folders are
    not followed.

    With `signed` each file is looked at, by several processes where more than one is given.
    """
    listing = Listing()
    folders = _list_folder(root, "", signed, listing)
    # Other processes begin at once, this one has more to do besides: half a share is its own.
    share = max(2, math.ceil(len(folders) / (processes - 0.5)))
    own = share // 2 if processes > 1 else share
    # Each takes the folders from one name on up to another, whatever there is when it comes there.
    bounds = [*folders[own::share], ""] if signed and processes > 1 else [""]
    workers = [(bound, _start(root, bound, until)) for bound, until in pairwise(bounds)]
    listing.extend(_list_below(root, folders, "", bounds[0], signed))
    for (bound, worker), until in zip(workers, bounds[1:], strict=True):
        listing.extend(_finish(worker) or _list_below(root, folders, bound, until, signed))
    return listing


def count_processes() -> int:
    """Processes that this machine has cores for."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MAX_PROCESSES, cores)


def sign(status: os.stat_result) -> Signature:
    """The signature of a file: whoever writes, replaces, renames, or closes it to others changes it."""
    size = status.st_size if stat.S_ISREG(status.st_mode) else IRREGULAR
    return size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _list_below(root: str, folders: Sequence[str], bound: str, until: str, signed: bool) -> Listing:
    """Those of the folders in `root` that lie between two names, with all below them, as a walk from the top meets
    them; "" is no bound."""
    listing = Listing()
    waiting = [folder for folder in reversed(folders) if bound <= folder and (folder < until or not until)]
    while waiting:
        waiting += reversed(_list_folder(root, waiting.pop(), signed, listing))
    return listing


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


def _start(root: str, bound: str, until: str) -> subprocess.Popen[bytes] | None:
    """Another process at its share; None where none can be started."""
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, root, bound, until], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
    except OSError:
        return None


def _finish(worker: subprocess.Popen[bytes] | None) -> Listing | None:
    """What another process has listed; None where it failed, whyever: its share is then listed here."""
    if worker is None:
        return None
    assert worker.stdout is not None
    with worker.stdout as pipe:
        answer = pipe.read()
    if worker.wait() != 0:
        return None
    names, _, signatures = answer.partition(b"\n")
    folders, closed = json.loads(names)
    return Listing([(folder, text) for folder, text in folders], array("q", signatures), [(f, r) for f, r in closed])


def _answer(root: str, bound: str, until: str) -> None:
    listing = _list_below(root, _list_folder(root, "", False, Listing()), bound, until, signed=True)
    sys.stdout.buffer.write(json.dumps([listing.folders, listing.closed]).encode() + b"\n")
    sys.stdout.buffer.write(listing.signatures.tobytes())


if __name__ == "__main__":
    _answer(*sys.argv[1:])
