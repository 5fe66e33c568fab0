"""The learning rate as a function of the update."""

from __future__ import annotations

import math


def learning_rate(update: int, updates: int, peak: float, warmup_ratio: float) -> float:
    """Linear warm-up over the first `warmup_ratio` of the updates, then linear towards 0 (Phang et al. 2020, app. A).

    `update` counts from 0. No update has rate 0: the first has peak / warm-up, the last is one step above 0.
    """
    warmup = math.ceil(warmup_ratio * updates)
    if update < warmup:
        return peak * (update + 1) / warmup
    return peak * (updates - update) / (updates - warmup)
