"""How much a site lets this user submit: the largest array, and how many jobs may still enter the queue."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from launch import slurm
from launch.slurm import SlurmUnavailable

Answer = TypeVar("Answer")

SLURMS_ARRAY_LIMIT = 1001  # MaxArraySize where a site leaves it alone


@dataclass(frozen=True)
class Limits:
    """`array`: the most elements of one array. `room`: jobs that may still be submitted (every element counts), None
    where that cannot be told: then refusals tell it. `bound` says which limit leaves so little room, in words."""

    array: int = SLURMS_ARRAY_LIMIT
    room: int | None = None
    bound: str = ""


def ask_limits(account: str | None, qoses: Iterable[str | None], queued: int | None) -> Limits:
    """What `scontrol` and `sacctmgr` tell of this user's limits; `queued` are the user's jobs in the queue (None:
    unknown), `qoses` what the jobs ask for (None: the default one). Sites may hide any of it."""
    config = _try(slurm.show_config) or ""
    enforced = re.search(r"AccountingStorageEnforce\s*=\s*(.*)", config)
    free = enforced is not None and not re.search("limits|safe|all", enforced[1])
    found = [] if free else list(_bounds(account, set(qoses), queued))
    total = re.search(r"MaxJobCount\s*=\s*(\d+)", config)
    if total:
        found.append((int(total[1]) - (queued or 0), f"MaxJobCount {total[1]}"))
    room, bound = min(found, default=(None, ""))
    return Limits(read_array_limit(config), None if room is None else max(0, room), bound)


def read_array_limit(config: str) -> int:
    """MaxArraySize from `scontrol show config`: it caps the index, so it is the largest array from index 0 too."""
    match = re.search(r"MaxArraySize\s*=\s*(\d+)", config)
    return max(1, int(match[1])) if match else SLURMS_ARRAY_LIMIT


def _bounds(account: str | None, qoses: set[str | None], queued: int | None) -> Iterator[tuple[int, str]]:
    """Room under each submit limit of the user's associations and of the QOS in question, with the limit's name."""
    shown = _try(slurm.show_associations) or ""
    yield from _association_bounds(shown, account)
    user = _try(lambda: slurm.sacctmgr("assoc", "Account,MaxSubmitJobs,DefaultQOS,QOS", f"user={slurm.this_user()}"))
    rows = [row for row in user or [] if len(row) == 4 and account in (None, row[0])]
    if queued is not None:
        yield from ((int(row[1]) - queued, f"MaxSubmitJobs {row[1]}") for row in rows if row[1].isdigit())
    names = {name for name in qoses if name} | ({_default_qos(row) for row in rows} if None in qoses else set())
    limited = {row[0]: row[1] for row in _try(lambda: slurm.sacctmgr("qos", "Name,MaxSubmitJobsPU")) or []}
    for name in sorted(names):
        used = _used_of_qos(shown, name, queued)
        if limited.get(name, "").isdigit() and used is not None:
            yield int(limited[name]) - used, f"MaxSubmitJobsPerUser {limited[name]} of QOS {name}"
        for limit, count in re.findall(r"GrpSubmitJobs=(\d+)\((\d+)\)", _section(shown, name)):
            yield int(limit) - int(count), f"GrpSubmitJobs {limit} of QOS {name}"


def _association_bounds(shown: str, account: str | None) -> Iterator[tuple[int, str]]:
    """Limits of the user's own association and of the accounts above it."""
    records = re.split(r"^ClusterName=", shown.partition("QOS Records")[0], flags=re.MULTILINE)[1:]
    for record in records:
        named = re.search(r"Account=(\S*) UserName=(\S*)", record)
        if named is None or account not in (None, named[1]):
            continue
        group = re.search(r"GrpSubmitJobs=(\w+)\((\d+)\)", record)
        own = re.search(r"MaxSubmitJobs=(\d+)", record)
        if group and group[1].isdigit():
            yield int(group[1]) - int(group[2]), f"GrpSubmitJobs {group[1]} of account {named[1]}"
        if group and own and named[2]:
            yield int(own[1]) - int(group[2]), f"MaxSubmitJobs {own[1]} of account {named[1]}"


def _section(shown: str, qos: str) -> str:
    """The part about one QOS."""
    match = re.search(rf"^QOS={re.escape(qos)}\(\d+\)\n(.*?)(?=^QOS=|\Z)", shown, re.MULTILINE | re.DOTALL)
    return match[1] if match else ""


def _used_of_qos(shown: str, qos: str, queued: int | None) -> int | None:
    """This user's jobs in a QOS; the controller lists only those who have some. Else every job of the user."""
    section = _section(shown, qos)
    if not section:
        return queued
    users = section.partition("User Limits")[2]
    used = re.search(rf"^\s+(?:\S*\()?{os.getuid()}\)?\n.*?MaxSubmitJobsPU=\w+\((\d+)\)", users, re.MULTILINE)
    return int(used[1]) if used else 0


def _default_qos(row: list[str]) -> str:
    """The default of an association; the only one that it has, else Slurm's `normal`."""
    return row[2] or (row[3] if row[3] and "," not in row[3] else "normal")


def _try(ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except SlurmUnavailable:
        return None
