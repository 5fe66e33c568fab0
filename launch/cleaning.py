"""Weights and checkpoints that no run needs any more: what `grid.py --gc` removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from launch.campaign import Campaign
from launch.observation.states import Observation
from launch.plan import Plan
from stilts.runs import RunFolder, read_json, walk_files


@dataclass(frozen=True)
class Removable:
    """A folder of a finished run that may go, and its size in bytes."""

    run_id: str
    path: Path
    bytes: int


def find_removable(plan: Plan, campaign: Campaign, observations: Mapping[str, Observation]) -> list[Removable]:
    """Weights of the plan's intermediate encoders all of whose children are done, in this grid and in every other one
    of the campaign folder, planned ones included; checkpoints that a finished run has left behind.

    Results stay: DONE, metric files, predictions, logs. A child that is added later has its encoder trained again.
    """
    others = _read_others(plan, campaign)
    needed = _needed(plan, campaign, observations) | _kept(plan, others) | _awaited(campaign, others)
    found = []
    for run in plan.runs.values():
        if observations[run.id].state != "done":
            continue
        folder = campaign.run(run.id)
        removable = run.stage == "intermediate" and run.id not in needed and not run.infra.get("keep")
        for path in (folder.model if removable else None, folder.checkpoints):
            if path is not None and path.is_dir():
                found.append(Removable(run.id, path, sum(file.stat().st_size for file in walk_files(path))))
    return found


def _read_others(plan: Plan, campaign: Campaign) -> list[dict[str, Any]]:
    """The other resolved grids of the campaign folder."""
    grids = [read_json(path) or {} for path in campaign.folder.glob("grids/*.json")]
    return [grid for grid in grids if grid.get("grid", {}).get("name", plan.grid.name) != plan.grid.name]


def _kept(plan: Plan, others: list[dict[str, Any]]) -> set[str]:
    """Encoders of this plan, where another grid of the campaign folder says `keep: true`."""
    return set(plan.runs) if any(grid["grid"].get("keep") for grid in others) else set()


def _awaited(campaign: Campaign, others: list[dict[str, Any]]) -> set[str]:
    """Encoders that a run of another grid will start from, submitted or not.

    A finished encoder whose weights have gone waits too where a run will start from it: it is trained again first.
    """
    children: dict[str, set[str]] = {}
    for grid in others:
        for encoder, runs in grid.get("children", {}).items():
            children.setdefault(encoder, set()).update(runs)

    @cache
    def waits(run_id: str) -> bool:
        folder = campaign.run(run_id)
        if folder.read_done() is None:
            return True
        gone = run_id in children and not folder.model.is_dir()
        return gone and any(map(waits, children[run_id]))

    return {encoder for encoder, runs in children.items() if any(map(waits, runs))}


def _needed(plan: Plan, campaign: Campaign, observations: Mapping[str, Observation]) -> set[str]:
    """Parents of every run that is not done."""
    needed = {need for run in plan.runs.values() if observations[run.id].state != "done" for need in run.parents}
    for path in campaign.root.glob("*/run.json"):
        if path.parent.name not in plan.runs and not RunFolder(path.parent).done.exists():
            needed.update((read_json(path) or {}).get("parents", ()))
    return needed
