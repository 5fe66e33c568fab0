"""What the real Slurm says of resource classes before anything is submitted."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import TINY_TOY
from tests.support.slurm_cluster import SlurmCluster

WRONG = [
    {"match": {"stage": "fetch"}, "partition": "nowhere"},
    {"match": {"stage": "prepare"}, "mem_gb": 900},
    {"match": {"stage": "intermediate"}, "partition": "urgent", "timeout_min": 600},
]


def test_what_this_cluster_cannot_do_is_told_at_once_and_nothing_is_submitted(
    make_study: MakeStudy, slurm: SlurmCluster, tmp_path: Path
) -> None:
    cluster = tmp_path / "site.yaml"
    cluster.write_text(yaml.safe_dump({"name": "site", "partition": "main", "resources": WRONG}))
    study = make_study({**TINY_TOY, "name": "preflight"}, cluster=str(cluster))
    slurm.run("scontrol", "update", "PartitionName=urgent", "MaxTime=60")
    try:
        result = study.launch(check=False)
    finally:
        slurm.run("scontrol", "update", "PartitionName=urgent", "MaxTime=INFINITE")
    assert result.returncode == 2
    for words in (
        "invalid partition specified: nowhere",
        "Requested node configuration is not available",
        "timeout_min 600 is more than partition urgent gives (60 min)",
    ):
        assert words in result.stderr
    assert not [job for job in slurm.squeue() if "preflight" in job["name"]]
    cluster.write_text(yaml.safe_dump({"name": "site", "partition": "main"}))
    assert "nothing stands in the way" in study.launch("--check").stdout
