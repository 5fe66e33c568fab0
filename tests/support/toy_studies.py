"""Studies whose jobs run in a fraction of a second on the real Slurm: real plans, real jobs, toy stages."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.ledger import Ledger
from launch.plan import Plan, make_plan
from launch.spec import load_grid
from tests.launch.small import finish
from tests.support.campaigns import ROOT, TINY_TOY, Study, merge
from tests.support.slurm_cluster import SlurmCluster

STAGES = ROOT / "tests" / "support" / "toy_stage"


class ToyStudy(Study):
    """A study of toy stages on a cluster of the tests; its data is finished from the beginning: it is only said to be,
    or, with `data`, it is that of another root, where real stages among the toys may read it.

    `cluster` are keys of its cluster file; with `continues_min` it continues by itself, so many minutes later.
    """

    def __init__(
        self,
        folder: Path,
        grid: Mapping[str, Any],
        slurm: SlurmCluster,
        continues_min: float | None = None,
        data: Path | None = None,
        **cluster: Any,
    ) -> None:
        if continues_min is not None:
            cluster |= {"continue": "slurm", "continue_min": continues_min}
        profile: dict[str, Any] = {"name": "toy", "partition": "main", "setup": [f"export PYTHONPATH={STAGES}"]}
        profile |= {"resources": [{"cpus": 1, "mem_gb": 1, "timeout_min": 5}], "uncertain_s": 1.0, **cluster}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cluster.yaml").write_text(yaml.safe_dump(profile), encoding="utf-8")
        self.slurm = slurm
        super().__init__(folder, merge(TINY_TOY, grid), ("--cluster", str(folder / "cluster.yaml")), slurm.env)
        ready = [run.id for run in self.planned.runs.values() if run.stage in ("fetch", "pretrain", "prepare")]
        if data is None:
            finish(self.campaign, self.planned, ready)
        else:
            for run_id in ready:
                shutil.copytree(data / run_id, self.root / run_id)

    @property
    def campaign(self) -> Campaign:
        return Campaign(self.root)

    @property
    def planned(self) -> Plan:
        return make_plan(load_grid(self.path), load_cluster(str(self.folder / "cluster.yaml")))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.campaign.submissions, read_only=True)

    def jobs(self) -> Counter[str]:
        """How many jobs in the queue will run each run, by what the ledger says of their tags."""
        found: Counter[str] = Counter()
        submissions = {submission.tag: submission for submission in self.ledger.submissions}
        for job in self.slurm.squeue():
            tag = job["name"].rpartition("#")[2]
            if tag in submissions:
                index = int(job["job_id"].partition("_")[2] or 0)
                found[submissions[tag].runs[index]] += 1
        return found

    def executions(self) -> Counter[str]:
        """How often each run was begun."""
        path = self.campaign.folder / "executions"
        lines = path.read_text().splitlines() if path.exists() else []
        return Counter(line.split()[0] for line in lines if line.endswith("begins"))

    def cancel(self) -> None:
        """Take everything of this study out of the queue."""
        tags = {submission.tag for submission in self.ledger.submissions}
        jobs = {job["job_id"].partition("_")[0] for job in self.slurm.squeue() if _tag(job) in tags}
        if jobs:
            self.slurm.run("scancel", *sorted(jobs))


def _tag(job: Mapping[str, str]) -> str:
    return job["name"].rpartition("#")[2]


def unfinished(study: ToyStudy) -> list[str]:
    """Runs without a DONE."""
    return [run_id for run_id in study.planned.runs if study.campaign.run(run_id).read_done() is None]


def all_once(counts: Mapping[str, int], runs: Iterable[str]) -> bool:
    """Whether each run, and nothing else, was counted exactly once."""
    return dict(counts) == dict.fromkeys(runs, 1)
