"""How often Slurm may be asked while somebody looks on."""

from __future__ import annotations

import os

LEAST_INTERVAL_S = 30.0
_PATIENCE = 5.0  # times what the last look took: a slow Slurm is asked more rarely


def interval_s(took_s: float) -> float:
    """Seconds until the next look. STILTS_WATCH_LEAST_S is for the tests, which cannot wait."""
    least = float(os.environ.get("STILTS_WATCH_LEAST_S", LEAST_INTERVAL_S))
    return max(least, _PATIENCE * took_s)
