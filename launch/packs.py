"""Packs: what one job of several small runs asks for, and what it is told about each of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from launch.estimates import Estimate, History
from launch.history import read_history
from launch.plan import Plan
from launch.resources import Resources

# Stages that save what they have, so that a run need not finish in the job that starts it.
SAVING_STAGES = ("translate", "pretrain", "intermediate", "target")
# Work beyond the start that is worth starting for.
WORTHWHILE_S = 60.0


def cut_packs(runs: Sequence[str], resources: Resources, elements: int) -> list[tuple[tuple[str, ...], int]]:
    """Runs of one class in arrays of at most `elements`, each with the number of runs of an element.

    Packs of an array are as equal as they can be: nine runs in packs of eight are five and four.
    """
    most = resources.pack_size
    arrays: list[tuple[tuple[str, ...], int]] = []
    for start in range(0, len(runs), elements * most):
        chunk = tuple(runs[start : start + elements * most])
        arrays.append((chunk, math.ceil(len(chunk) / math.ceil(len(chunk) / most))))
    return arrays


def job_resources(resources: Resources, size: int) -> Resources:
    """What a job of so many runs asks for: cores and memory of those that are at work at once, and their GPUs."""
    if size == 1:
        return resources
    at_once = min(resources.runs_at_once, size)
    gpus = math.ceil(at_once / (resources.runs_per_gpu or 1)) if resources.gpus else 0
    asked = {"gpus": gpus, "ranks": 1, "cpus": resources.cpus * at_once, "mem_gb": resources.mem_gb * at_once}
    return resources.model_copy(update=asked)


def describe_pack(resources: Resources, size: int, need_s: Mapping[str, float]) -> dict[str, Any]:
    """What `jobs/pack.py` reads; `resources` are those of one run, `need_s` what it needs to get anywhere."""
    return {
        "size": size,
        "at_once": min(resources.runs_at_once, size),
        "runs_per_gpu": resources.runs_per_gpu or 1,
        "cpus": resources.cpus,
        "need_s": {run_id: round(seconds, 1) for run_id, seconds in need_s.items()},
    }


class Needs:
    """Seconds that runs need to get anywhere; finished runs are read when the first of them is asked for."""

    def __init__(self, plan: Plan, root: Path) -> None:
        self.plan, self.root = plan, root
        self.history: History | None = None

    def of(self, run_ids: Iterable[str]) -> dict[str, float]:
        """To the end of each run, or where it saves what it has to its first saved minute."""
        self.history = self.history or History(read_history([self.root]))
        found = {}
        for run_id in run_ids:
            run, rate = self.plan.runs[run_id], self.plan.cluster.tokens_per_second
            one = self.history.estimate(run, self.plan.tokens[run_id], self.plan.resources(run_id), rate)
            found[run_id] = _need_s(one, run.stage in SAVING_STAGES)
        return found


def _need_s(estimate: Estimate, saves: bool) -> float:
    finish = estimate.hours.high * 3600
    return min(finish, estimate.start.expected * 3600 + WORTHWHILE_S) if saves else finish
