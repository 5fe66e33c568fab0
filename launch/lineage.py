"""What a run is built on, and what is built on it."""

from __future__ import annotations

from collections.abc import Iterable

from launch.plan import Plan


def find_lineage(plan: Plan, run_ids: Iterable[str]) -> list[str]:
    """Runs with everything that they are built on, parents first."""
    wanted = set(run_ids)
    for run_id, run in reversed(plan.runs.items()):
        if run_id in wanted:
            wanted.update(run.needs)
    return [run_id for run_id in plan.runs if run_id in wanted]


def find_cone(plan: Plan, run_ids: Iterable[str]) -> list[str]:
    """Runs with everything that is built on them, parents first."""
    found = set(run_ids)
    for run_id, run in plan.runs.items():
        if not found.isdisjoint(run.needs):
            found.add(run_id)
    return [run_id for run_id in plan.runs if run_id in found]
