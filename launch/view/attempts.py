"""What the attempts of a run have recorded: when, where, on how many GPUs, and how each ended."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.campaign import Campaign
from stilts.runs import read_json

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Attempt:
    """`started` and `ended` in seconds of the epoch, `ended` None while it runs or where it was killed."""

    name: str
    started: float
    ended: float | None
    state: str
    gpus: int
    node: str

    def gpu_hours(self, until: float | None = None) -> float:
        """GPU-hours held; up to `until` where there is no recorded end, none where that is unknown too."""
        ended = self.ended if self.ended is not None else until
        return self.gpus * max(0.0, ended - self.started) / _HOUR_S if ended is not None else 0.0


def read_all(campaign: Campaign, run_ids: Iterable[str]) -> dict[str, list[Attempt]]:
    """Attempts of every run, oldest first. One listing of the root tells which runs have a folder."""
    try:
        present = {entry.name for entry in os.scandir(campaign.root)}
    except OSError:
        return {run_id: [] for run_id in run_ids}
    return {run_id: _read(campaign.run(run_id).attempts) if run_id in present else [] for run_id in run_ids}


def _read(folder: Path) -> list[Attempt]:
    try:
        paths = [Path(entry.path) for entry in os.scandir(folder)]
    except OSError:
        return []
    found = [attempt for path in paths if (attempt := _read_one(path)) is not None]
    return sorted(found, key=lambda attempt: (attempt.started, attempt.name))


def _read_one(path: Path) -> Attempt | None:
    begun = read_json(path / "attempt.json")
    started = begun.get("started") if begun else None
    if begun is None or not isinstance(started, int | float):
        return None
    outcome = read_json(path / "outcome.json") or {}
    ended = outcome.get("ended")
    return Attempt(
        name=path.name,
        started=float(started),
        ended=float(ended) if isinstance(ended, int | float) else None,
        state=str(outcome.get("state", "")),
        gpus=_count_gpus(begun),
        node=str(begun.get("node") or begun.get("host") or ""),
    )


def _count_gpus(begun: Mapping[str, Any]) -> int:
    """GPUs that the attempt held; of older records those that its resource class asked for."""
    gpus = begun.get("gpus")
    if isinstance(gpus, int):
        return gpus
    resources = begun.get("resources")
    if not isinstance(resources, Mapping):
        return 0
    asked = [resources.get("gpus", 0), resources.get("nodes", 1)]
    return asked[0] * asked[1] if all(isinstance(number, int) for number in asked) else 0
