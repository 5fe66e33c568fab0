"""A parent is cancelled: its children are blocked by it, nothing waits for ever, and the same command repairs it."""

from __future__ import annotations

import pytest

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import TINY_TOY, Study, cone, merge
from tests.support.slurm_cluster import SlurmCluster


@pytest.fixture(scope="module")
def failing(make_study: MakeStudy) -> Study:
    """A study in the queue whose training of the intermediate task will fail: fp16 has no CPU kernels."""
    study = make_study(merge(TINY_TOY, {"name": "failing", "intermediate": {"precision": "fp16"}}))
    study.launch()
    return study


@pytest.fixture(scope="module")
def held(make_study: MakeStudy, slurm: SlurmCluster) -> Study:
    """A study whose training of the intermediate task is held in the queue; everything before it is done."""
    study = make_study(merge(TINY_TOY, {"name": "repair", "axes": {"intermediate": ["none", "mnli", "squad1"]}}))
    study.launch()
    (job,) = [run["slurm_job"] for run_id, run in study.status().items() if run_id.startswith("intermediate-mnli-")]
    slurm.run("scontrol", "hold", job)
    return study


def test_cancelled_parent_blocks_its_children_and_the_same_command_repairs_the_cone(
    held: Study, failing: Study, slurm: SlurmCluster
) -> None:
    """The other study shares the queue, so that the two are waited for together."""
    plan = held.plan()
    parent = held.find("intermediate-mnli-")
    slurm.run("scancel", held.status()[parent]["slurm_job"])
    slurm.wait_empty(timeout_s=300)  # nothing waits for ever: neither it nor what depends on it

    states = held.status()
    assert states[parent]["state"] == "cancelled"
    children = cone(plan, parent) - {parent}
    assert len(children) == 2
    for child in children:
        assert states[child]["state"] == "blocked"
        assert parent in states[child]["reason"]
    others = {run["state"] for run_id, run in states.items() if run_id not in cone(plan, parent)}
    assert others == {"done"}, "a failure stays with its own children"

    assert set(held.plan()["submits"]) == cone(plan, parent)
    told = held.launch().stdout
    assert "submitted 3 runs" in told
    slurm.wait_empty(timeout_s=300)
    assert set(held.states().values()) == {"done"}


def test_a_failed_run_is_shown_with_its_reason_and_tried_again_on_command(failing: Study, slurm: SlurmCluster) -> None:
    """The run ends in its own words, its children never start, the rest is done."""
    slurm.wait_empty(timeout_s=300)
    states, plan = failing.status(), failing.plan()
    failed = failing.find("intermediate-mnli-")
    assert states[failed]["state"] == "failed", failing.logs(failed)[-3000:]
    assert "fp16" in states[failed]["reason"].lower()
    for run_id, run in states.items():
        expected = "failed" if run_id == failed else "blocked" if run_id in cone(plan, failed) else "done"
        assert run["state"] == expected
    assert set(plan["submits"]) == cone(plan, failed)
