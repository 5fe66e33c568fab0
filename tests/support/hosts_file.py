"""The line in /etc/hosts that makes the virtual nodes' names resolve, added and taken out byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

HOSTS = Path("/etc/hosts")
MARKER = b"# stilts-test-cluster "


def add_names(address: str, names: tuple[str, ...], owner: str, hosts: Path = HOSTS) -> None:
    """Append `address names`, marked with `owner` (one word). Callers hold the lock of `leftovers.machine_lock`."""
    line = f"{address} {' '.join(names)} ".encode() + MARKER + owner.encode()
    lines = hosts.read_bytes().split(b"\n")
    # The last piece is empty when the file ends in a newline: keep it last, so that taking our line out
    # gives back the same bytes whether or not there was a newline.
    where = len(lines) - 1 if lines[-1] == b"" else len(lines)
    lines.insert(where, line)
    write_in_place(hosts, b"\n".join(lines))


def remove_names(gone: Callable[[str], bool], hosts: Path = HOSTS) -> list[str]:
    """Take out the marked lines whose owner satisfies `gone`; returns those owners. Other bytes stay as they are."""
    removed: list[str] = []
    kept: list[bytes] = []
    for line in hosts.read_bytes().split(b"\n"):
        _, marker, owner = line.partition(MARKER)
        if marker and gone(owner.decode()):
            removed.append(owner.decode())
        else:
            kept.append(line)
    if removed:
        write_in_place(hosts, b"\n".join(kept))
    return removed


def write_in_place(hosts: Path, content: bytes) -> None:
    # Not by renaming: in a container /etc/hosts is a mount and cannot be replaced.
    with hosts.open("r+b") as file:
        file.write(content)
        file.truncate()
