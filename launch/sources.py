"""Where a task's data comes from: original files below a data root, or its set on the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launch.spec import Grid
from stilts.data.files import find_files
from stilts.data.hub_sets import WITHOUT_HUB, hub_sets
from stilts.errors import UserError


def describe_source(task: str, part: str, grid: Grid, languages: Sequence[str] | None = None) -> dict[str, Any]:
    """What a fetch run's identity says about its source: nothing for original files, for the hub also the revisions
    that the grid asks for. `languages` are those of a text.

    Raises UserError for a task that no hub set has.
    """
    if not grid.reads_hub(task) or (task in WITHOUT_HUB and grid.data_root):
        return {}
    if task in WITHOUT_HUB:
        raise UserError(f"{task}: no hub set has it ({WITHOUT_HUB[task]}); give the folder of its files as `data_root`")
    repos = {hub_set.repo for hub_set in hub_sets(task, part, languages)}
    asked = {repo: grid.revisions[repo] for repo in sorted(repos) if repo in grid.revisions}
    return {"source": "hub", **({"revisions": asked} if asked else {})}


def is_at_hand(target: str, languages: Sequence[str], grid: Grid) -> bool:
    """Whether a target that nobody asked for could be scored: its files are there, or its hub set is to be had."""
    if not languages:
        return False
    if grid.suite == "toy" or grid.reads_hub(target) or grid.data_root is None:
        return True
    try:
        find_files(target, "scored", languages, Path(grid.data_root))
    except (UserError, OSError):
        return False
    return True
