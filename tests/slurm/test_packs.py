"""Packs on the real Slurm: several runs a job, each with its own end; their children; a warning; two real trainings."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from stilts.runs import write_json
from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import TINY_TOY, merge
from tests.support.slurm_cluster import SlurmCluster
from tests.support.toy_studies import ToyStudy, all_once

AXES = {"intermediate": ["mnli", "squad1"], "target": ["xnli", "udpos", "xquad"], "seed": [1, 2]}
TRAINED = ("intermediate-", "target-")
SMALL: dict[str, Any] = {"cpus": 1, "mem_gb": 1, "timeout_min": 60}


def study(folder: Path, slurm: SlurmCluster, **pack: int) -> ToyStudy:
    """Four encoders with three targets each; everything of one class is packed."""
    return ToyStudy(folder, {"axes": AXES}, slurm, resources=[{**SMALL, **pack}])


def test_runs_share_jobs_and_a_failure_stays_with_its_own_children(slurm: SlurmCluster, tmp_path: Path) -> None:
    """An encoder fails in a pack of four: its pack-mates are done, their children run, and its own are blocked."""
    packed = study(tmp_path, slurm, pack=4, at_once=2)
    write_json(packed.campaign.folder / "toy.json", {"fails": ["intermediate-mnli-s1-*"]})
    told = packed.launch().stdout
    assert "submitted 16 runs in 5 sbatch calls" in told
    assert len([job for job in slurm.squeue() if "#" in job["name"]]) <= 5, "sixteen runs are five jobs"
    slurm.wait_empty(timeout_s=240)
    states = packed.status()
    failed = packed.find("intermediate-mnli-s1-")
    children = [run["id"] for run in packed.plan()["runs"] if failed in run["parents"]]
    assert len(children) == 3
    for run_id, run in states.items():
        expected = "failed" if run_id == failed else "blocked" if run_id in children else "done"
        assert run["state"] == expected, run
    assert states[failed]["reason"] == "RuntimeError: the test wants this run to fail"
    assert all_once(
        packed.executions(),
        [run_id for run_id in states if run_id.startswith(TRAINED) and run_id not in children],
    )

    (packed.campaign.folder / "toy.json").unlink()
    assert set(packed.plan()["submits"]) == {failed, *children}
    packed.launch()
    slurm.wait_empty(timeout_s=240)
    assert set(packed.states().values()) == {"done"}
    assert "nothing to submit" in packed.launch().stdout


def test_a_warning_stops_all_runs_of_a_pack_and_brings_it_back_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    packed = study(tmp_path, slurm, pack=4, at_once=2)
    write_json(packed.campaign.folder / "toy.json", {"sleep_s": 60})
    packed.launch()
    encoders = packed.plan_ids("intermediate-")
    deadline = time.monotonic() + 90
    while len(packed.executions()) < 2 and time.monotonic() < deadline:
        time.sleep(0.2)
    states = packed.status()
    at_work = [run_id for run_id in encoders if states[run_id]["state"] == "running"]
    waiting = [run_id for run_id in encoders if "waits for its turn in a pack" in states[run_id]["reason"]]
    assert (len(at_work), len(waiting)) == (2, 2)
    (job,) = {states[run_id]["slurm_job"] for run_id in encoders}

    (packed.campaign.folder / "toy.json").unlink()
    slurm.run("scancel", "--signal=USR2", job)
    slurm.wait_empty(timeout_s=240)
    assert set(packed.states().values()) == {"done"}
    begun = packed.executions()
    assert {run_id: begun[run_id] for run_id in encoders} == {**dict.fromkeys(at_work, 2), **dict.fromkeys(waiting, 1)}
    outcomes = [json.loads(path.read_text()) for path in packed.root.glob(f"{at_work[0]}/attempts/*/outcome.json")]
    assert sorted(outcome["state"] for outcome in outcomes) == ["cancelled", "done"]
    assert packed.ledger.submissions[0].job_id in job
    assert len(packed.ledger.submissions) == 5, "nothing was submitted again"


def test_two_trainings_in_one_job(make_study: MakeStudy, slurm: SlurmCluster) -> None:
    """Two seeds, each with half of the job's memory."""
    axes = {"intermediate": ["none"], "target": ["xnli"], "seed": [1, 2]}
    rule = {"match": {"stage": "target"}, "cpus": 2, "mem_gb": 5, "at_once": 2}
    packed = make_study(merge(TINY_TOY, {"name": "packed", "axes": axes, "resources": [rule]}))
    packed.launch()
    slurm.wait_empty(timeout_s=300)
    assert set(packed.states().values()) == {"done"}
    jobs = {json.loads(path.read_text())["job"] for path in packed.root.glob("target-*/DONE")}
    assert len(jobs) == 1, "one job for both"
    for run_id in packed.plan_ids("target-"):
        assert " of 5.4 GB" in packed.logs(run_id), "half of the job's 10 GiB"
