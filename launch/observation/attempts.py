"""What the attempts of a run have left in its folder."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.ledger import Ledger
from launch.observation.states import Observation
from stilts.runs import RunFolder, read_json

SILENCE_S = 900.0  # an attempt that has written nothing for so long is not taken for alive on hearsay


def last_attempt(folder: RunFolder) -> Path | None:
    """The newest attempt's folder."""
    try:
        attempts = [Path(entry.path) for entry in os.scandir(folder.attempts) if entry.is_dir()]
    except FileNotFoundError:
        return None
    started = {path: (read_json(path / "attempt.json") or {}).get("started", 0.0) for path in attempts}
    return max(started, key=lambda path: (started[path], path.name), default=None)


def has_started(run_id: str, folder: RunFolder, ledger: Ledger) -> bool:
    """Whether an attempt has begun since the last submission."""
    attempt = last_attempt(folder)
    record = (read_json(attempt / "attempt.json") if attempt else None) or {}
    return bool(record) and not is_older(record, run_id, ledger)


def is_older(record: Mapping[str, Any], run_id: str, ledger: Ledger) -> bool:
    """Whether an attempt was before the last submission; clocks of two machines are compared only for local ones."""
    last = ledger.last(run_id)
    if last is None:
        return False
    if record.get("slurm_job") and last.job_id:
        return bool(record["slurm_job"] != last.job_of(run_id))
    return float(record.get("started", 0.0)) < last.time


def judge_local(record: Mapping[str, Any], attempt: Path) -> Observation:
    """An attempt of a local worker without an outcome: alive on this host, or killed."""
    if record.get("host") not in (None, socket.gethostname()):
        if time.time() - last_sign(attempt) < SILENCE_S:
            return Observation("running", f"local process {record.get('pid')} on {record.get('host')}")
    elif _writes(int(record.get("pid", 0)), attempt / "rank0.log"):
        return Observation("running", f"local process {record['pid']}")
    return Observation("cancelled", f"its local process ended without an outcome (attempt {attempt.name})")


def _writes(pid: int, log: Path) -> bool:
    """Whether a process still is the worker with this log: numbers of dead processes are given out again.

    Its command line does not tell: the workers of trainings are forks of one server.
    """
    try:
        return os.path.samefile(f"/proc/{pid}/fd/1", log)
    except OSError:
        return False


def last_sign(attempt: Path) -> float:
    """When an attempt last wrote anything (seconds of the epoch)."""
    signs = [attempt / "rank0.log", attempt / "attempt.json", attempt.parents[1] / "progress.json"]
    return max((path.stat().st_mtime for path in signs if path.exists()), default=0.0)
