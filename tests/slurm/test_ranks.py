"""Several nodes: the same updates as one rank, whatever the ZeRO stage."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import TINY_TOY, Study, merge
from tests.support.slurm_cluster import SlurmCluster

# Dropout 0: its random numbers depend on how an update is cut.
ONE: dict[str, Any] = merge(
    TINY_TOY,
    {
        "name": "ranks",
        "axes": {"intermediate": ["none"], "target": ["xnli"]},
        "target": {"dropout": 0.0},
    },
)
TRAINS = {"match": {"stage": "target"}}


def run(make_study: MakeStudy, slurm: SlurmCluster, **resources: Any) -> tuple[Study, str]:
    study = make_study({**ONE, "resources": [{**TRAINS, **resources}]})
    study.launch()
    slurm.wait_empty(timeout_s=300)
    target = study.find("target-xnli-")
    assert study.states()[target] == "done", study.logs(target)[-4000:]
    return study, target


def losses(study: Study, target: str) -> list[float]:
    return [json.loads(line)["loss"] for line in (study.root / target / "losses.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(make_study: MakeStudy, slurm: SlurmCluster) -> tuple[Study, str]:
    return run(make_study, slurm)


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_two_nodes_give_the_losses_of_one_rank(
    alone: tuple[Study, str], make_study: MakeStudy, slurm: SlurmCluster, zero_stage: int
) -> None:
    study, target = run(make_study, slurm, nodes=2, ranks=1, zero_stage=zero_stage, micro_tokens=400)
    assert target == alone[1], "nodes, micro-batches and ZeRO stage are no part of a run's identity"
    facts = json.loads((study.root / target / "DONE").read_text())["facts"]
    assert facts["layout"]["world_size"] == 2
    assert facts["layout"]["zero_stage"] == zero_stage
    nodes = {line for line in study.logs(target).splitlines() if line.startswith("run ")}
    assert len(nodes) == 2
    assert losses(study, target) == pytest.approx(losses(*alone), rel=2e-4)
