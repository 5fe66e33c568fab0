"""GPU-hours that a root has taken: every attempt of every run, failed ones included, and its pilot's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from launch.history import PILOT_FOLDER
from stilts.runs import STAGE_VERSIONS, read_json

# Their changes are an attempt's last signs of life, where nothing says how it ended.
SIGNS = ("rank0.log", "attempt.json")


def spent_gpu_hours(root: Path) -> float:
    """GPU-hours that all attempts below a root held, up to their last sign of life."""
    return sum(measure_attempt(path) for folder in (root, root / PILOT_FOLDER) for path in _attempts(folder))


def measure_attempt(path: Path) -> float:
    """GPU-hours of one attempt, 0 without a GPU."""
    begun = read_json(path / "attempt.json") or {}
    gpus = count_gpus(begun)
    if not gpus or "started" not in begun:
        return 0.0
    ended = (read_json(path / "outcome.json") or {}).get("ended")
    if ended is None:
        ended = max(file.stat().st_mtime for name in SIGNS if (file := path / name).exists())
    return max(0.0, float(ended) - float(begun["started"])) / 3600 * gpus


def count_gpus(attempt: Mapping[str, Any]) -> float:
    """GPUs that an attempt held: those of its resource class, its share of one where several runs share it; in the
    local pool one, where there are any."""
    if attempt.get("slurm_job") is None:
        return 1.0 if attempt.get("gpu") else 0.0
    resources = attempt.get("resources", {})
    return float(resources.get("nodes", 1) * resources.get("gpus", 0)) / resources.get("runs_per_gpu", 1)


def _is_run(entry: os.DirEntry[str]) -> bool:
    return entry.name.partition("-")[0] in STAGE_VERSIONS and not entry.is_symlink()


def _attempts(root: Path) -> Iterator[Path]:
    try:
        runs = [entry.path for entry in os.scandir(root) if _is_run(entry)]
    except OSError:
        return
    for run in runs:
        try:
            yield from (Path(entry.path) for entry in os.scandir(f"{run}/attempts") if entry.is_dir())
        except OSError:
            continue
