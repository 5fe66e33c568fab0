"""A pilot on the real Slurm: it waits for nobody, is scored in small, and the same command shows what it found."""

from __future__ import annotations

import json

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import TINY_TOY, merge
from tests.support.slurm_cluster import SlurmCluster


def test_a_pilot_runs_as_jobs_and_once(make_study: MakeStudy, slurm: SlurmCluster) -> None:
    axes = {"intermediate": ["none"], "target": ["tatoeba"], "seed": [1, 2, 3]}
    study = make_study(merge(TINY_TOY, {"name": "pilot", "axes": axes, "toy": {"sizes": {"test": 70}}}))
    told = study.launch("--pilot").stdout
    assert "submitted 5 runs" in told
    assert "submitted 0" not in study.launch("--pilot").stdout, "while it waits, nothing is submitted again"
    slurm.wait_empty(timeout_s=240)
    assert "nothing to submit: of 5 runs 5 done" in study.launch("--pilot").stdout
    metrics = [json.loads(path.read_text()) for path in (study.root / "pilot").glob("*/metrics/*.json")]
    assert {metric["examples"] for metric in metrics} == {50}
    assert set(study.states().values()) == {"planned"}
