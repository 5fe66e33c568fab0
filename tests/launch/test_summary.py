"""What the dry run tells: trainings by regime, what sharing saves, notes; and how fast it tells it."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.cluster import load_cluster
from launch.observation.states import Observation
from launch.plan import Plan, make_plan
from launch.sharing import count_regimes, count_sharing
from launch.spec import GRIDS, load_grid
from launch.summary import summarise
from stilts.tasks.catalogue import training_of
from tests.launch.small import plan_of, small
from tests.support.campaigns import ROOT

TRANSLATION = {"languages": ["de"], "model": "facebook/nllb-200-3.3B"}


def chain_length(plan: Plan, mode: str, tasks: tuple[str, ...], mlm: bool) -> int:
    """Intermediate trainings of one row that shares nothing."""
    return {"none": int(mlm), "single": 1, "multitask": 1, "sequential": len(tasks)}[mode]


@settings(deadline=None, max_examples=30)
@given(
    sets=st.lists(
        st.sampled_from(["none", "mnli", ["mnli", "squad1"], ["squad1", "mnli"], ["mnli", "squad1", "qqp"]]),
        min_size=1,
        unique_by=repr,
    ),
    regimes=st.lists(st.sampled_from(["multitask", "sequential"]), min_size=1, unique=True),
    targets=st.lists(st.sampled_from(["xnli", "xquad", "mlqa", "tatoeba"]), min_size=1, unique=True),
    mlm=st.lists(st.booleans(), min_size=1, unique=True),
    seeds=st.integers(1, 3),
)
def test_without_sharing_every_cell_trains_its_whole_chain(
    sets: list[Any], regimes: list[str], targets: list[str], mlm: list[bool], seeds: int
) -> None:
    axes = {"intermediate": sets, "regime": regimes, "target": targets, "mlm": mlm, "seed": list(range(seeds))}
    plan = plan_of(small(axes=axes))
    sharing = count_sharing(plan)
    assert sharing.naive == sum(
        seeds * (chain_length(plan, row.mode, row.tasks, row.mlm) + (training_of(target) is not None))
        for row, target in plan.cells
    )
    assert sharing.planned == sum(run.stage in ("intermediate", "target") for run in plan.runs.values())
    assert sharing.planned <= sharing.naive
    counts = count_regimes(plan)
    assert sum(sum(stages.values()) for stages in counts.values()) == sharing.planned


def test_regimes_by_hand() -> None:
    axes = {
        "intermediate": ["none", "mnli", ["mnli", "squad1"]],
        "regime": ["multitask", "sequential"],
        "target": ["xnli", "xquad", "mlqa", "tatoeba"],
        "mlm": [False, True],
        "translated": [False, True],
        "seed": [1, 2],
    }
    plan = plan_of(small(axes=axes, translation=TRANSLATION))
    two = {"intermediate": 2, "target": 4}  # two seeds; XNLI's training, and one for XQuAD and MLQA
    assert count_regimes(plan) == {
        "none": {"intermediate": 0, "target": 4},
        "single": two,
        "multitask": two,
        "sequential": two,
        "single-translated": two,
        "multitask-translated": two,
        "sequential-translated": two,
        "none+mlm": two,
        "single+mlm": two,
        "multitask+mlm": two,
        "sequential+mlm": two,
        "single-translated+mlm": two,
        "multitask-translated+mlm": two,
        "sequential-translated+mlm": two,
    }
    assert list(count_regimes(plan))[:4] == ["none", "single", "multitask", "sequential"]


def test_shared_prefixes_are_what_is_saved() -> None:
    """Chains of 1 to 5 tasks on two targets: 5 trainings instead of 2 x (1 + 2 + 3 + 4 + 5), beside 10 target ones."""
    tasks = ["mnli", "squad1", "qqp", "csqa", "ccg"]
    axes = {"intermediate": [tasks[: k + 1] for k in range(5)], "regime": "sequential", "target": ["xnli", "panx"]}
    sharing = count_sharing(plan_of(small(axes=axes)))
    assert (sharing.naive, sharing.planned) == (30 + 10, 5 + 10)
    assert sharing.factor == pytest.approx(40 / 15)


def test_nothing_trained_is_no_division_by_zero() -> None:
    sharing = count_sharing(plan_of(small(axes={"target": ["tatoeba"]})))
    assert (sharing.naive, sharing.planned, sharing.factor) == (0, 0, 1.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, []),
        ({"intermediate.updates": [40]}, ["40"]),
        ({"intermediate.updates": [40, 5000]}, ["40, 5,000"]),
        ({"intermediate.updates": [40], "regime": "multitask"}, []),
    ],
)
def test_fixed_steps_are_told_to_share_no_prefix(change: dict[str, Any], told: list[str], tmp_path: Path) -> None:
    plan = plan_of(small(axes={"intermediate": [["mnli", "qqp"]], "regime": "sequential", **change}))
    summary = summarise(plan, {run_id: Observation("planned") for run_id in plan.runs}, tmp_path, 1)
    expected = [f"{steps} updates in all are shared out over the tasks of a sequence, T/k for each" for steps in told]
    assert [note[: len(start)] for note, start in zip(summary.notes, expected, strict=True)] == expected
    assert all("share no prefix" in note for note in summary.notes)


# ---- the whole study


def run_dry(folder: Path, *options: str) -> tuple[str, float]:
    """Output of a dry run of the whole study, and the processor time it took."""
    command = [sys.executable, str(ROOT / "launch/grid.py"), "--grid", "full_matrix.yaml", "--dry-run", *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return result.stdout, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def test_the_whole_study_is_planned_in_under_two_seconds(tmp_path: Path) -> None:
    """Processor time, the best of three: other processes of the machine do not count."""
    outputs, seconds = zip(*(run_dry(tmp_path) for _ in range(3)), strict=True)
    assert min(seconds) < 2.0
    plans = {re.sub(r"The file system has room for .*", "", text) for text in outputs}
    assert len(plans) == 1
    text = outputs[0]
    for words in ("trainings by regime", "sequential", "single-translated", "none+mlm", "sharing: ", "disk: about "):
        assert words in text
    assert not list(tmp_path.iterdir())


def test_the_whole_study_as_json_has_its_old_keys_and_the_new_ones(tmp_path: Path) -> None:
    found = json.loads(run_dry(tmp_path, "--json")[0])
    assert {"grid", "runs", "submits", "sbatch_calls", "gpu_hours"} < set(found)
    assert {"id", "stage", "parents", "state", "resources", "gpu_hours"} <= set(found["runs"][0])
    assert found["sharing"]["planned"] == sum(run["stage"] in ("intermediate", "target") for run in found["runs"])
    assert found["sharing"]["factor"] == round(found["sharing"]["naive"] / found["sharing"]["planned"], 3) > 4
    assert found["trainings"]["none"] == {"intermediate": 0, "target": 18}
    assert found["trainings"]["single+mlm"] == {"intermediate": 27, "target": 162}
    assert set(found["disk"]) == {"peak", "kept", "trainings_at_once", "free"}
    assert found["disk"]["peak"]["bytes"] > found["disk"]["kept"]["bytes"] > 0
    assert found["disk"]["peak"]["files"] > len(found["runs"]) * 10
    assert found["notes"] == []


def test_the_whole_study_holds_every_alternative_of_the_paper() -> None:
    plan = make_plan(load_grid(GRIDS / "full_matrix.yaml"), load_cluster(None))
    found = {(row.mode, row.mlm, row.translated) for row, _ in plan.cells}
    assert found == {
        ("none", False, False),
        ("single", False, False),
        ("multitask", False, False),
        ("sequential", False, False),
        ("none", True, False),
        ("single", True, False),
        ("multitask", True, False),
        ("single", False, True),
    }
    for mode in ("multitask", "sequential"):
        assert {len(row.tasks) for row, _ in plan.cells if row.mode == mode and not row.mlm} == set(range(2, 10))
    mixed = {row.tasks for row, _ in plan.cells if row.mode == "multitask"}
    assert mixed == {tuple(sorted(row.tasks)) for row, _ in plan.cells if row.mode == "sequential"}
    assert {row.tasks for row, _ in plan.cells if row.translated} == {("mnli",), ("squad1",), ("hellaswag",)}
    assert {row.variant for row, _ in plan.cells if not row.translated} == {""}
