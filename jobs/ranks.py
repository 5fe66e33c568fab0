"""Who this process is among a job's processes, and how they find each other."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from stilts.runs import read_json, write_json

if TYPE_CHECKING:
    import torch.distributed

MEETING_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Place:
    """Rank, local rank and number of ranks, read from Slurm's step; one process alone elsewhere."""

    rank: int
    local_rank: int
    size: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Place:
        """Only a step's own variables count: RANK, WORLD_SIZE or MASTER_PORT may be inherited from anywhere."""
        if "SLURM_STEP_NUM_TASKS" not in environment:
            return cls(0, 0, 1)
        return cls(
            int(environment["SLURM_PROCID"]),
            int(environment["SLURM_LOCALID"]),
            int(environment["SLURM_STEP_NUM_TASKS"]),
        )


def count_gpus(environment: Mapping[str, str]) -> int:
    """GPUs that this attempt holds on all its nodes, whether it uses them or not."""
    if "SLURM_JOB_ID" in environment:
        return int(environment.get("SLURM_GPUS_ON_NODE") or 0) * int(environment.get("SLURM_NNODES") or 1)
    return len([name for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()])


def meet(place: Place, attempt: Path, timeout_s: float = MEETING_TIMEOUT_S) -> torch.distributed.TCPStore | None:
    """The store through which the ranks of this attempt find each other; None for a world of one.

    Rank 0 lets the kernel choose a port, listens on it, and only then writes it into the attempt's folder:
    no fixed port to clash on a shared node, and no stale address, because every attempt has its own folder.
    Raises TimeoutError where rank 0 does not appear.
    """
    if place.size == 1:
        return None
    import torch.distributed

    address = attempt / "meeting.json"
    timeout = timedelta(seconds=timeout_s)
    if place.rank == 0:
        host = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        store = torch.distributed.TCPStore(host, 0, place.size, is_master=True, timeout=timeout, wait_for_workers=False)
        write_json(address, {"host": host, "port": store.port})
        return store
    meeting = _wait_for(address, timeout_s)
    return torch.distributed.TCPStore(
        str(meeting["host"]), int(str(meeting["port"])), place.size, is_master=False, timeout=timeout
    )


def _wait_for(path: Path, timeout_s: float) -> dict[str, object]:
    """A JSON file that another node writes; listing the folder makes NFS look again."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        os.listdir(path.parent)
        record = read_json(path)
        if record:
            return record
        time.sleep(0.2)
    raise TimeoutError(f"rank 0 did not write {path} within {timeout_s:.0f} s; see rank0.log beside it")
