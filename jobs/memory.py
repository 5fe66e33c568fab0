"""A GPU that ran out of memory: the run goes on in a fresh process, with micro-batches of half the size."""

from __future__ import annotations

import time
from pathlib import Path

from stilts.runs import RunFolder, read_json, write_json

# With less than one short sequence a forward pass, the model itself is too large for the GPU.
SMALLEST_MICRO_TOKENS = 256


def read_budget(folder: RunFolder) -> int | None:
    """Tokens of a micro-batch that earlier attempts have found to be the most; None where none ran out of memory."""
    budget = (read_json(_path(folder)) or {}).get("micro_tokens")
    return int(budget) if budget else None


def halve_budget(folder: RunFolder, used: int, attempt: str) -> int | None:
    """Record half of the tokens that an attempt `used`, and return them; None where that would be too few."""
    half = used // 2
    if half < SMALLEST_MICRO_TOKENS:
        return None
    history = (read_json(_path(folder)) or {}).get("history", [])
    entry = {"attempt": attempt, "micro_tokens": used, "time": time.time()}
    write_json(_path(folder), {"micro_tokens": half, "history": [*history, entry]})
    return half


def _path(folder: RunFolder) -> Path:
    return folder.path / "memory.json"
