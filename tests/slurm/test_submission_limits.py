"""A campaign much larger than the site lets in: 300 runs in three levels, arrays of 21, 40 jobs at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stilts.runs import write_json
from tests.support.slurm_cluster import SlurmCluster
from tests.support.toy_studies import ToyStudy, all_once, unfinished

LIMIT, ARRAY = 40, 21
# For each seed an encoder, one that is trained on from it, and three targets and a retrieval on that.
AXES = {
    "intermediate": [["mnli", "squad1"]],
    "regime": "sequential",
    "target": ["xnli", "udpos", "xquad", "tatoeba"],
    "seed": list(range(50)),
}


@pytest.fixture(scope="module")
def narrow(slurm_machine: None) -> Iterator[SlurmCluster]:
    """A site with tight limits."""
    cluster = SlurmCluster(max_array_size=ARRAY, submit_limit=LIMIT).start()
    yield cluster
    cluster.stop()


def wait_below(cluster: SlurmCluster, jobs: int, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while len(cluster.squeue()) > jobs:
        assert time.monotonic() < deadline, f"still {len(cluster.squeue())} jobs in the queue"
        time.sleep(0.2)


def test_the_same_command_again_finishes_it(narrow: SlurmCluster, tmp_path: Path) -> None:
    study = ToyStudy(tmp_path / "study", {"name": "large", "axes": AXES}, narrow)
    wanted = unfinished(study)
    assert len(wanted) == 300
    for launches in range(1, 31):
        told = study.launch().stdout
        assert len(narrow.squeue()) <= LIMIT
        if launches == 1:
            assert "260 runs stay planned: each waits for a submit slot (MaxSubmitJobsPerUser 40 of QOS normal)" in told
            waiting = [run for run in study.status().values() if run["reason"].startswith("waits for a submit slot")]
            assert len(waiting) == 260 and {run["state"] for run in waiting} == {"planned"}
        if "nothing to submit: of 320 runs 320 done" in told:
            break
        wait_below(narrow, 12)
    assert set(study.states().values()) == {"done"}
    assert all_once(study.executions(), wanted)
    assert all(len(submission.runs) <= ARRAY for submission in study.ledger.submissions)
    assert len(study.ledger.submissions) <= 4 * launches * (1 + len(wanted) // ARRAY // launches)


def test_a_single_command_finishes_it_where_it_may_continue(narrow: SlurmCluster, tmp_path: Path) -> None:
    grid = {"name": "by-itself", "axes": AXES}
    study = ToyStudy(tmp_path / "study", grid, narrow, continues_min=0.1)
    wanted = unfinished(study)
    told = study.launch().stdout
    assert "261 runs stay planned" in told, "one slot is the campaign's own job's"
    assert "goes on with them, in 0.1 minutes at the earliest" in told
    most_of_its_own = 0
    deadline = time.monotonic() + 300
    while queued := narrow.squeue():
        assert time.monotonic() < deadline, f"{len(unfinished(study))} runs are left"
        assert len(queued) <= LIMIT
        most_of_its_own = max(most_of_its_own, sum(job["name"].startswith("by-itself-continues#") for job in queued))
        time.sleep(0.5)
    assert unfinished(study) == []
    assert all_once(study.executions(), wanted)
    assert most_of_its_own <= 2, "one that works, one that waits"


def test_what_failed_is_not_repeated_by_itself(narrow: SlurmCluster, tmp_path: Path) -> None:
    """Every encoder fails: the campaign goes on with what is left, once, and then ends."""
    grid = {"name": "hopeless", "axes": {**AXES, "target": ["xnli"], "seed": list(range(20))}}
    study = ToyStudy(tmp_path / "study", grid, narrow, continues_min=0.05, failures={"circuit_breaker": 0})
    write_json(study.campaign.folder / "toy.json", {"fails": ["intermediate-*"]})
    wanted = unfinished(study)
    assert "21 runs stay planned" in study.launch().stdout
    narrow.wait_empty(120)
    states = study.states()
    assert {states[run] for run in wanted} == {"failed", "blocked"}
    assert max(study.executions().values()) == 1
