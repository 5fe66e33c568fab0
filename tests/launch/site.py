"""A campaign whose data is ready, on a cluster that says what it is told."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.failures.policies import FailurePolicies
from launch.ledger import Ledger, Submission
from launch.plan import Plan
from launch.scene import Scene, look
from stilts.runs import write_json
from tests.launch.fake_slurm import FakeSlurm
from tests.launch.small import finish, plan_of, small

GRID = small(axes={"intermediate": ["none", "mnli"], "seed": [1, 2, 3, 4, 5, 6]})


class Site:
    """The campaign of GRID; every look is at a plan of its own, as each command has one."""

    def __init__(self, folder: Path, **failures: Any) -> None:
        self.slurm = FakeSlurm(folder / "slurm")
        self.slurm.says("scontrol")
        self.slurm.says("scancel")
        self.slurm.says("srun")
        self.slurm.says("sbatch", code=1, complaint="sbatch: error: invalid account")
        self.slurm.says("sinfo", *(f"n{number}" for number in range(1, 9)))
        self.campaign = Campaign(folder / "runs")
        self.failures = FailurePolicies(**failures)
        self.data = [run_id for run_id in self.plan.runs if run_id.startswith(("fetch-", "prepare-"))]
        self.encoders = [run_id for run_id in self.plan.runs if run_id.startswith("intermediate-")]
        finish(self.campaign, self.plan, self.data)

    @property
    def plan(self) -> Plan:
        cluster = load_cluster(None).model_copy(update={"failures": self.failures})
        return plan_of(GRID, cluster)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.campaign.submissions)

    def child(self, encoder: str) -> str:
        """The target run that starts from an encoder."""
        return next(run.id for run in self.plan.runs.values() if run.parents[:1] == (encoder,))

    def look(self, write: bool = False) -> Scene:
        return look(self.plan, self.campaign, self.ledger, write)

    def submit(self, *runs: str, job: str = "12", age_s: float = 100.0) -> Submission:
        """A submission that was made some time ago."""
        submission = self.ledger.intend("wave", runs)
        path = self.campaign.submissions / submission.tag / "submission.json"
        record = json.loads(path.read_text())
        write_json(path, {**record, "time": record["time"] - age_s})
        return self.ledger.confirm(submission, job)

    def queue(self, *lines: str) -> None:
        """What squeue prints: `12_0|PENDING|Resources|name#tag`."""
        self.slurm.says("squeue", *lines)

    def account(self, *lines: str) -> None:
        """What sacct prints: `12_0|FAILED|1:0|name#tag`."""
        self.slurm.says("sacct", *lines)

    def attempt(self, run_id: str, job: str = "12_0", name: str = "12.0", age_s: float = 50.0, **record: Any) -> Path:
        """The traces of an attempt that began some time ago, without an outcome."""
        folder = self.campaign.run(run_id).attempts / name
        begun = {"id": name, "host": socket.gethostname(), "pid": 1, "started": time.time() - age_s, "node": "n1"}
        write_json(folder / "attempt.json", {**begun, "slurm_job": job, **record})
        return folder

    def fail(self, run_id: str, reason: str, job: str = "12_0", kind: str | None = "code", **record: Any) -> Path:
        """An attempt that ended with an error of its own."""
        folder = self.attempt(run_id, job, **record)
        told = {"kind": kind, "error": "RuntimeError"} if kind else {}
        outcome = {"state": "failed", "reason": reason, "rank": 0, "ended": time.time() - 10, **told}
        write_json(folder / "outcome.json", outcome)
        return folder
