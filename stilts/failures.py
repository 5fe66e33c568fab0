"""Kinds of failures and how they are told apart by an exception or by what a log says. Light: shared by all rooms."""

from __future__ import annotations

import errno
import re

from stilts.errors import UserError
from stilts.runs import STAGE_VERSIONS

# What each kind is, in words for people. The order is that of tables.
KINDS = {
    "host_oom": "the node's memory did not suffice",
    "gpu_oom": "the GPU's memory did not suffice",
    "timeout": "the time limit did not suffice",
    "node_failure": "the node failed",
    "nccl": "the ranks lost each other (NCCL or another transport)",
    "disk_full": "a disk or a quota is full",
    "data": "something that was given cannot be used (data, model, settings)",
    "code": "an error in the code",
    "unknown": "it ended without saying why",
}
# Kinds that say nothing about the run's siblings: many of them at once are one lost rack, not one mistake.
CHANCE = ("timeout", "node_failure", "nccl", "unknown")

# The first pattern that is found decides; what is rarer and more telling comes first.
_WORDS = (
    ("disk_full", r"No space left on device|Disk quota exceeded|errno 28\b|errno 122\b|not enough free space"),
    ("gpu_oom", r"CUDA out of memory|CUDA error: out of memory|OutOfMemoryError|CUBLAS_STATUS_ALLOC_FAILED"),
    ("gpu_oom", r"the GPU's memory does not hold"),
    ("host_oom", r"oom[-_ ]?kill|Out Of Memory|killed by signal: Killed|Cannot allocate memory|MemoryError"),
    ("host_oom", r"DefaultCPUAllocator: (?:not enough|can't allocate) memory"),
    ("nccl", r"\bNCCL\b[^\n]*(?:error|timeout|abort|fail)|ncclSystemError|ncclUnhandledCudaError|ncclRemoteError"),
    ("nccl", r"DistBackendError|Watchdog caught collective|gloo::(?:IoException|EnforceNotMet)"),
    ("nccl", r"Connection closed by peer"),
    ("node_failure", r"CUDA error: (?:uncorrectable ECC|device-side hardware|unknown error)|NVLink error"),
    ("node_failure", r"fallen off the bus|DUE TO NODE FAILURE|Communication connection failure"),
    ("node_failure", r"Stale file handle|Transport endpoint is not"),
    ("timeout", r"DUE TO TIME LIMIT|the time limit does not suffice"),
)
_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _WORDS)
_FULL = (errno.ENOSPC, errno.EDQUOT)
SIGNATURE_LENGTH = 160


def kind_of_exception(error: BaseException) -> str:
    """The kind of a failure that an exception tells, those that it was raised from included.

    Libraries wrap what they catch, so every link of the chain is asked; the type's name stands for it where the
    library may not be imported here.
    """
    chain = _chain(error)
    if any(isinstance(link, OSError) and link.errno in _FULL for link in chain):
        return "disk_full"
    for link in chain:
        kind = kind_of_text(f"{type(link).__name__}: {link}")
        if kind is not None:
            return kind
    return "data" if isinstance(error, UserError) else "code"


def kind_of_text(text: str) -> str | None:
    """The kind of a failure that words of a log tell; None where they tell none."""
    return next((kind for kind, pattern in _PATTERNS if pattern.search(text)), None)


def signature_of(text: str) -> str:
    """What two failures of one cause have in common: the first line without what differs from run to run.

    Names of runs, paths, addresses and numbers are replaced; applying it twice changes nothing.
    """
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = "".join(character if character.isprintable() else " " for character in line)
    line = re.sub(rf"\b(?:{'|'.join(STAGE_VERSIONS)})-[\w+.,-]*-[0-9a-f]{{8}}\b", "RUN", line)
    line = re.sub(r"(?<![\w.])~?(?:/[\w.+@%=,:-]+)+/?", "PATH", line)
    line = re.sub(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,}\b", "HEX", line)
    line = re.sub(r"[0-9]+(?:[.,:][0-9]+)*", "N", line)
    return re.sub(r"\s+", " ", line)[:SIGNATURE_LENGTH].strip()


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in links:
        links.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return links
