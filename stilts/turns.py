"""One holder at a time of something on a shared file system, where `flock` may do nothing.

A turn is a file that `link` creates, which exactly one process can. It says who holds it; its time of change is its
heartbeat. Who takes a dead holder's place first makes a file of its own that is named for this holder, which again
one process can, and only then replaces the turn: however slow somebody is, nobody takes away a turn that is held.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stilts.runs import read_json

BEAT_S = 15.0
SILENCE_S = 120.0  # a holder on another host that has not beaten for so long is dead

Record = Mapping[str, Any]


class Taken(Exception):
    """Somebody else holds the turn; `owner` is what the turn says, None where it says nothing."""

    def __init__(self, owner: Record | None) -> None:
        super().__init__("somebody else holds it")
        self.owner = owner


@dataclass
class Turn:
    """A turn that this process holds until it is released."""

    path: Path
    record: Record
    _over: threading.Event = field(default_factory=threading.Event)

    @property
    def held(self) -> bool:
        """Whether it still is this process's: a suspended one may have been taken for dead."""
        return (read_json(self.path) or {}).get("id") == self.record["id"]

    def beat(self) -> None:
        """Keep the heartbeat going, in a thread that ends with the turn."""
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                os.utime(self.path)
            except OSError:
                continue  # the file server may come back

    def release(self) -> None:
        """Give it back, unless somebody else holds it by now."""
        self._over.set()
        if self.held:
            self.path.unlink(missing_ok=True)


def take(path: Path, dead: Callable[[Record, Path], bool], **facts: Any) -> Turn:
    """Take a turn, also over a holder for whom `dead(record, file)` is true; `facts` are added to its record.

    Raises Taken where its holder may live, OSError where the folder cannot be written.
    """
    mine = {**describe_process(), **facts, "id": uuid.uuid4().hex}
    while not _link(path, mine):
        chain = _owners(path)
        if not chain:
            continue  # it was given back just now
        record, file = chain[-1]
        if not record.get("id") or not dead(record, file):
            raise Taken(record or None)
        right = _successor(path, record)
        if not _link(right, mine):
            continue
        if (read_json(path) or {}).get("id") != chain[0][0]["id"]:
            right.unlink(missing_ok=True)  # a faster one has replaced it and cleared up
            continue
        os.replace(_write_aside(path, mine), path)
        for old, _ in chain:
            _successor(path, old).unlink(missing_ok=True)
        break
    return Turn(path, mine)


def describe_process() -> dict[str, Any]:
    """Where this process runs and how it is told from a later one with the same number."""
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "born": _birth(pid), "time": time.time()}


def process_lives(record: Record) -> bool:
    """Whether the process of a record of this host lives; its number may have been given to another one since."""
    pid = int(record.get("pid") or 0)
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return record.get("born") in (None, _birth(pid))


def is_dead(record: Record, file: Path) -> bool:
    """The rule for processes that beat: on this host at once, on another one after SILENCE_S of silence."""
    if record.get("host") == socket.gethostname():
        return not process_lives(record)
    return silence_s(file) > SILENCE_S


def silence_s(file: Path) -> float:
    """Seconds since a file was last written or touched, by the file server's clock: those of two hosts differ."""
    probe = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}")
    try:
        probe.touch()
        return probe.stat().st_mtime - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # it is gone: look again
    finally:
        probe.unlink(missing_ok=True)


def _owners(path: Path) -> list[tuple[Record, Path]]:
    """Who holds a turn, and after it those who have the right to replace a dead holder but died before they did."""
    chain: list[tuple[Record, Path]] = []
    file = path
    while True:
        record = read_json(file)
        if record is None and not file.exists():
            return chain
        chain.append((record or {}, file))
        if not record or not record.get("id"):
            return chain
        file = _successor(path, record)


def _successor(path: Path, record: Record) -> Path:
    return path.with_name(f"{path.name}.{record['id']}.next")


def _link(path: Path, content: Record) -> bool:
    """Create a whole file under a name that must be free: `link` is atomic on NFS too, `O_EXCL` was not always."""
    temporary = _write_aside(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _write_aside(path: Path, content: Record) -> Path:
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.new")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    return temporary


def _birth(pid: int) -> int | None:
    """When a process began, in the kernel's ticks since it started; None where that cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return int(stat.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
