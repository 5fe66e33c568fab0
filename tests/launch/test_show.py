"""The drawn plan: every run is on one of its lines, whether the plan is small or large."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from launch.cluster import load_cluster
from launch.observation.states import Observation
from launch.plan import Plan, make_plan
from launch.show import TREE_LIMIT, plan_tree
from launch.spec import GRIDS, load_grid
from tests.launch.small import plan_of, small

SETS = [["mnli", "squad1", "hellaswag", "csqa", "qqp"][: k + 1] for k in range(5)]


def draw(plan: Plan) -> list[str]:
    """The lines of the tree, on a wide page."""
    page = io.StringIO()
    Console(file=page, width=400).print(plan_tree(plan, {run_id: Observation("planned") for run_id in plan.runs}))
    return page.getvalue().splitlines()


def count_runs(lines: list[str]) -> int:
    """Runs on lines such as `intermediate-mnli 3 planned + 18 target, 6 retrieval` and the last `26 fetch, ...`."""
    spelled = [
        re.sub(r"^\S* *(fetch|pretrain|intermediate|target|retrieval)-\S+", "", line.lstrip("│├└─ ")) for line in lines
    ]
    return sum(int(number) for line in spelled[1:] for number in re.findall(r"\b(\d+) [a-z]", line))


@pytest.mark.parametrize("seeds", [[1], [1, 2, 3]])
@pytest.mark.parametrize("targets", [["xnli"], "all"])
def test_every_run_is_on_one_line(seeds: list[int], targets: object) -> None:
    axes = {"intermediate": ["none", *SETS], "regime": ["multitask", "sequential"], "target": targets, "seed": seeds}
    plan = plan_of(small(axes=axes))
    lines = draw(plan)
    assert len(lines) <= TREE_LIMIT + 2
    assert count_runs(lines) == len(plan.runs)


def test_a_small_plan_is_drawn_to_its_leaves() -> None:
    lines = draw(plan_of(small(axes={"intermediate": ["none", "mnli"], "mlm": [False, True]})))
    assert [line.strip("│├└─ ") for line in lines] == [
        "small",
        "fetch-model-xlm-roberta-base 1 planned",
        "target-xnli-none 1 planned",
        "intermediate-mlm 1 planned",
        "target-xnli-mlm 1 planned",
        "intermediate-mnli 1 planned",
        "target-xnli-mnli 1 planned",
        "intermediate-mnli+mlm 1 planned",
        "target-xnli-mnli+mlm 1 planned",
        "4 fetch, 4 prepare (data, not drawn)",
    ]


def test_of_the_whole_study_as_many_levels_are_drawn_as_fit() -> None:
    plan = make_plan(load_grid(GRIDS / "full_matrix.yaml"), load_cluster(None))
    lines = draw(plan)
    assert 30 < len(lines) <= TREE_LIMIT + 2
    assert count_runs(lines) == len(plan.runs)
