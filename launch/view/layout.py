"""Where the runs stand on the campaign's page: layers from left to right, each wrapped into a block of columns."""

from __future__ import annotations

import math
from collections.abc import Mapping

from launch.plan import Plan
from launch.view.overview import STAGES

GAP = 4  # columns between two layers
_ASPECT = 1.6  # width of the picture over its height

Layer = tuple[int, int]


def place_runs(plan: Plan) -> dict[str, tuple[int, int]]:
    """Column and row of each run. What is built on the same encoder stands together, below its encoder's neighbours.

    Layers are stages in the order of the work; of encoders there is one for each further training in a sequence.
    """
    layers: dict[Layer, list[str]] = {}
    depth: dict[str, int] = {}
    for run in plan.runs.values():
        above = [depth[parent] for parent in run.parents if plan.runs[parent].stage == "intermediate"]
        depth[run.id] = 1 + max(above) if above and run.stage == "intermediate" else 0
        layers.setdefault((STAGES.index(run.stage), depth[run.id]), []).append(run.id)
    height = _choose_height([len(members) for members in layers.values()])
    places: dict[str, tuple[int, int]] = {}
    left = 0
    for _, members in sorted(layers.items()):
        ordered = _order(plan, members, places)
        columns = math.ceil(len(ordered) / height)
        rows = math.ceil(len(ordered) / columns)
        top = (height - rows) // 2
        for position, run_id in enumerate(ordered):
            places[run_id] = left + position // rows, top + position % rows
        left += columns + GAP
    return places


def _choose_height(sizes: list[int]) -> int:
    """Rows with which the picture has about the shape of a screen."""
    height = max(4, math.ceil(math.sqrt(sum(sizes) / _ASPECT)))
    while height > 4 and _width(sizes, height) < _ASPECT * height:
        height -= 1
    return height


def _width(sizes: list[int], height: int) -> int:
    return sum(math.ceil(size / height) + GAP for size in sizes)


def _order(plan: Plan, members: list[str], places: Mapping[str, tuple[int, int]]) -> list[str]:
    """Runs of one layer sorted by where their first parent stands: lines of a lineage do not cross where it can be."""

    def key(run_id: str) -> tuple[int, int, str]:
        parents = plan.runs[run_id].parents
        column, row = places.get(parents[0], (0, 0)) if parents else (0, 0)
        return column, row, plan.runs[run_id].slug

    return sorted(members, key=lambda run_id: (*key(run_id), run_id))
