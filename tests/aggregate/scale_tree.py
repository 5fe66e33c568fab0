"""A study of three tasks in three draws, whose points a scale block marks; the resolved grid is written from its
contract."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.aggregate.metric_tree import write_task

POOL = ["csqa", "mnli", "qqp"]
# Draws 1 and 2 begin with the same task; the whole pool is one mixture and, in the order of each draw, a sequence.
ORDERS = {1: ["mnli", "csqa", "qqp"], 2: ["mnli", "qqp", "csqa"], 3: ["csqa", "mnli", "qqp"]}
SCORES = {
    "none": 50.0,
    "single mnli": 51.0,
    "single csqa": 54.0,
    "single qqp": 80.0,  # no draw begins with it
    "multitask csqa mnli": 60.0,
    "multitask mnli qqp": 63.0,
    "multitask csqa qqp": 99.0,  # no draw has it
    "multitask csqa mnli qqp": 70.0,
    "sequential mnli csqa": 52.0,
    "sequential csqa mnli": 54.0,
    "sequential mnli qqp": 55.0,
    "sequential qqp mnli": 59.0,
    "sequential mnli csqa qqp": 61.0,
    "sequential mnli qqp csqa": 62.0,
    "sequential csqa mnli qqp": 66.0,
}

Place = tuple[int, int, str, int]  # count, draw, regime, order


def row_of(name: str) -> dict[str, Any]:
    mode, *tasks = name.split()
    return {"mode": mode, "tasks": tasks}


def mixture(tasks: Iterable[str]) -> str:
    tasks = sorted(tasks)
    return f"{'multitask' if len(tasks) > 1 else 'single'} {' '.join(tasks)}"


def sequence(tasks: list[str]) -> str:
    return f"{'sequential' if len(tasks) > 1 else 'single'} {' '.join(tasks)}"


def places(draws: Iterable[int] = (1, 2, 3), counts: Iterable[int] = (1, 2, 3)) -> dict[Place, str]:
    """The points of the draws: two orders at two tasks, else one."""
    found: dict[Place, str] = {}
    for draw in draws:
        for count in counts:
            own = ORDERS[draw][:count]
            found[count, draw, "multitask", 1] = mixture(own)
            found[count, draw, "sequential", 1] = sequence(own)
            if count == 2:
                found[count, draw, "sequential", 2] = sequence(own[::-1])
    return found


def resolved(
    points: dict[Place, str], pool: list[str] = POOL, seed: int = 0, variant: str = "", **changes: str
) -> dict[str, Any]:
    """The key `expected` of a resolved grid whose rows are all that there are; `variant` is that of its curves, and
    of its rows but the single ones."""
    names = list(SCORES)
    rows = [row_of(name) | {"variant": "" if name.startswith(("none", "single")) else variant} for name in names]
    marks = [
        {"count": place[0], "draw": place[1], "regime": place[2], "order": place[3]}
        | {"variant": variant, "row": names.index(name)}
        for place, name in points.items()
    ]
    return {"rows": rows, "scale": {"pool": pool, "seed": seed, "points": marks}} | changes


def keep(results: Path, expected: dict[str, Any], name: str = "study", newest: bool = True) -> None:
    folder = results / "campaign"
    (folder / "grids").mkdir(parents=True, exist_ok=True)
    for path in (folder / "grids" / f"{name}.json", *([folder / "grid.json"] if newest else [])):
        path.write_text(json.dumps({"grid": {"name": name}, "expected": expected}))


def write_scores(results: Path, name: str, score: float, seeds: Iterable[int] = (1, 2), **changes: Any) -> None:
    made = row_of(name) | {"mlm": False, "translated": False}
    for seed in seeds:
        write_task(results, "xnli", score + seed * 0.25, intermediate=made, seed=seed, **changes)
