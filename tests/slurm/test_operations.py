"""Hold, release, cancel, retry, the circuit breaker and a time limit on the real Slurm, with stages of no work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stilts.runs import write_json
from tests.support.slurm_cluster import SlurmCluster
from tests.support.toy_studies import ToyStudy, unfinished

SEEDS = list(range(1, 9))


@pytest.fixture(scope="module")
def slow(slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyStudy]:
    """A study of one job that takes longer than its minute; it runs beside the other tests."""
    grid: dict[str, Any] = {"name": "slow", "axes": {"intermediate": ["none"], "target": ["xnli"]}}
    resources = [{"cpus": 1, "mem_gb": 1, "timeout_min": 1}]
    study = ToyStudy(tmp_path_factory.mktemp("slow"), grid, slurm, resources=resources, setup=["sleep 300"])
    study.launch()
    yield study
    study.cancel()


@pytest.fixture(scope="module")
def study(slow: ToyStudy, slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyStudy]:
    """Eight encoders, each with a target on it, one after the other; submitted as held jobs, so that none is quicker
    than the test."""
    grid: dict[str, Any] = {"name": "orders", "axes": {"intermediate": ["mnli"], "target": ["xnli"], "seed": SEEDS}}
    failures = {"circuit_breaker": 2}
    options: dict[str, Any] = {"array_parallelism": 1, "failures": failures, "sbatch": {"hold": True}}
    found = ToyStudy(tmp_path_factory.mktemp("orders"), grid, slurm, **options)
    write_json(found.campaign.folder / "toy.json", {"fails": ["intermediate-*"]})
    assert "submitted 16 runs" in found.launch().stdout
    yield found
    found.cancel()


def act(study: ToyStudy, *arguments: str) -> str:
    """`grid.py` with an action: its options come before, `--select` takes all that follows."""
    return " ".join(study.launch(*arguments).stdout.split())


def encoders(study: ToyStudy) -> dict[str, dict[str, Any]]:
    return {run_id: run for run_id, run in study.status().items() if run_id.startswith("intermediate-")}


def wait_until(ready: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.3)


def test_the_breaker_holds_the_rest_of_an_array_though_no_launcher_is_there(study: ToyStudy) -> None:
    held = encoders(study)
    assert {(run["state"], run["reason"]) for run in held.values()} == {("pending", "JobHeldUser")}
    told = act(study, "release", "--select", "stage=intermediate")
    assert "released 8 runs, 8 of them in the queue" in told
    folder = Path(next(study.campaign.submissions.glob("*"))).parent
    wait_until(lambda: any(folder.glob("*/tripped.json")))
    wait_until(lambda: all(run["state"] != "running" for run in encoders(study).values()))
    states = [(run["state"], run["failure"]) for run in encoders(study).values()]
    failed = states.count(("failed", "code"))
    assert 2 <= failed <= 3, states  # the third may have begun before the hold
    assert states.count(("pending", None)) == 8 - failed
    assert {run["reason"] for run in encoders(study).values() if run["state"] == "pending"} == {"JobHeldUser"}
    (record,) = [json.loads(path.read_text()) for path in folder.glob("*/tripped.json")]
    assert (record["signature"], record["refusal"]) == ("RuntimeError: the test wants this run to fail", None)


def test_the_same_command_leaves_alone_what_the_breaker_holds(study: ToyStudy) -> None:
    before = sorted(job["job_id"] for job in study.slurm.squeue())
    told = " ".join(study.launch().stdout.split())
    assert "circuit breaker: " in told, told
    assert "nothing to submit" in told, told
    after = sorted(job["job_id"] for job in study.slurm.squeue())
    assert set(after) <= set(before)
    failed = next(run_id for run_id, run in encoders(study).items() if run["state"] == "failed")
    assert "circuit breaker" in act(study, "explain", failed)
    command = study.command("launch/status.py", "--grid", str(study.path), "--root", str(study.root), "why", failed)
    assert "failed code: an error in the code" in " ".join(study.run(command).stdout.split())


def test_cancelled_runs_leave_the_queue_and_stay_away(study: ToyStudy) -> None:
    chosen = [run_id for run_id, run in encoders(study).items() if run["state"] == "pending"][:2]
    job = encoders(study)[chosen[0]]["slurm_job"]
    told = act(study, "cancel", "--select", chosen[0], "--select", chosen[1])
    assert "cancelled 2 runs, 2 of them in the queue" in told
    assert job not in [entry["job_id"] for entry in study.slurm.squeue()]
    # The accounting follows the queue by seconds, and until then it has them pending.
    wait_until(lambda: all(encoders(study)[run_id]["state"] == "cancelled" for run_id in chosen))
    study.launch()
    states = encoders(study)
    assert [states[run_id]["state"] for run_id in chosen] == ["cancelled", "cancelled"]
    assert "cancelled by" in states[chosen[0]]["reason"]


def test_retry_submits_all_of_it_anew_and_once(study: ToyStudy, slurm: SlurmCluster) -> None:
    """What failed, what was cancelled and what the breaker holds, with the targets on them; then all is well."""
    write_json(study.campaign.folder / "toy.json", {})
    told = act(study, "retry", "--select", "*")
    assert "submitted 16 runs" in told
    assert set(study.jobs().values()) == {1}, "the old jobs are gone"
    held = act(study, "hold", "--select", "seed=1")  # jobs that are held already: only the order is new
    assert "held 2 runs, 0 of them in the queue" in held
    told = act(study, "release", "--select", "*")
    assert "released 16 runs, 16 of them in the queue" in told
    wait_until(lambda: not unfinished(study), timeout_s=120)
    assert {run["state"] for run in study.status().values()} == {"done"}
    assert "nothing to submit" in act(study)


def test_the_time_limit_is_told_and_the_next_job_has_more(slow: ToyStudy, slurm: SlurmCluster) -> None:
    """TIMEOUT as the real accounting has it; the run's next job would have half as much time again."""
    (run_id,) = unfinished(slow)
    job = slow.status()[run_id]["slurm_job"]
    slurm.wait_state(job, "TIMEOUT", timeout_s=150)
    wait_until(lambda: slow.status()[run_id]["state"] == "failed")
    assert slow.status()[run_id]["failure"] == "timeout"
    (planned,) = [run for run in slow.plan()["runs"] if run["id"] == run_id]
    assert planned["resources"]["timeout_min"] == 2
    told = act(slow, "explain", run_id)
    assert "sacct: TIMEOUT, exit code 0:0" in told
    assert "submits it again" in told
