"""Weights and checkpoints that no run needs any more: what `grid.py --gc` removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.campaign import Campaign
from launch.observe import Observation
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
    of the campaign folder; checkpoints that a finished run has left behind.

    Results stay: DONE, metric files, predictions, logs. A child that is added later has its encoder trained again.
    """
    needed = _needed(plan, campaign, observations) | _kept(plan, campaign)
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


def _kept(plan: Plan, campaign: Campaign) -> set[str]:
    """Encoders of this plan, where another grid of the campaign folder says `keep: true`."""
    grids = [read_json(path) or {} for path in campaign.folder.glob("grids/*.json")]
    others = [grid["grid"] for grid in grids if grid.get("grid", {}).get("name") != plan.grid.name]
    return set(plan.runs) if any(grid.get("keep") for grid in others) else set()


def _needed(plan: Plan, campaign: Campaign, observations: Mapping[str, Observation]) -> set[str]:
    """Parents of every run that is not done."""
    needed = {need for run in plan.runs.values() if observations[run.id].state != "done" for need in run.parents}
    for path in campaign.root.glob("*/run.json"):
        if path.parent.name not in plan.runs and not RunFolder(path.parent).done.exists():
            needed.update((read_json(path) or {}).get("parents", ()))
    return needed
