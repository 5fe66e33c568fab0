"""Sixty runs on a real Slurm that breaks at random: each is done exactly once, and the tables are the same.

Most runs are toy stages, some are real trainings. STILTS_CHAOS_SEED chooses another course of events.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from stilts.runs import write_json
from tests.support.campaigns import ROOT, TINY_TOY, Study, merge
from tests.support.chaos import Tormentor
from tests.support.slurm_cluster import SlurmCluster
from tests.support.toy_studies import STAGES, ToyStudy, unfinished

TORTURE = bool(os.environ.get("STILTS_TORTURE"))
CHAOS_S = 300 if TORTURE else 90
SEED = int(os.environ.get("STILTS_CHAOS_SEED") or (time.time_ns() % 10_000 if TORTURE else 1))
PAUSE_S = 0.5  # between two updates of a real training, so that it lasts long enough to be struck
GRID: dict[str, Any] = {
    "name": "chaos",
    "axes": {"intermediate": ["mnli"], "target": ["xnli", "udpos", "tatoeba"], "seed": list(range(1, 16))},
    "intermediate": {"dropout": 0.1, "epochs": 12, "selection": {"points": 3, "examples": 20}},
    "resources": [{"match": {"stage": ["intermediate", "target"]}, "checkpoint_min": 0.001}],
}
DATA = ["fetch-*", "pretrain-*", "prepare-*"]
TRAININGS = ["intermediate-mnli-s[123]-*", "target-xnli-mnli-s[12]-*"]
# Two fit on a node. One core each, here and there: bits are compared, and another number of threads rounds otherwise.
RESOURCES = [{"cpus": 1, "mem_gb": 9, "timeout_min": 10}]


@dataclass
class Survivor:
    """The campaign at its end. `begun`: the ids of its runs; `retried`: what a user had to ask for once more."""

    study: ToyStudy
    tormentor: Tormentor
    begun: list[str]
    retried: list[str]

    def attempts(self, run_id: str) -> dict[str, dict[str, Any]]:
        """Outcome of each attempt, empty where it was killed."""
        folders = self.study.root.glob(f"{run_id}/attempts/*")
        return {path.name: read(path / "outcome.json") for path in folders}


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same study by the local executor."""
    folder = tmp_path_factory.mktemp("undisturbed")
    cluster = folder / "cluster.yaml"
    cluster.write_text(yaml.safe_dump({"name": "toy", "resources": RESOURCES}))
    options, environment = ("--executor", "local", "--cluster", str(cluster)), {"PYTHONPATH": str(STAGES)}
    study = Study(folder, merge(TINY_TOY, GRID), options, environment)
    write_json(study.root / "campaign" / "toy.json", {"real": DATA + TRAININGS})
    study.launch()
    return study


@pytest.fixture(scope="module")
def cluster(slurm_machine: None) -> Iterator[SlurmCluster]:
    """A cluster that may be broken, whose commands notice soon that nobody answers."""
    cluster = SlurmCluster(message_timeout_s=10).start()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def survivor(undisturbed: Study, cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Survivor:
    """Chaos, and then a user who repeats the command until all is done."""
    folder = tmp_path_factory.mktemp("chaos")
    released = folder / "released"
    scratch = folder / "scratch"  # killed jobs leave something
    scratch.mkdir()
    slow_python = f"{sys.executable} {ROOT / 'tests' / 'support' / 'slow_python.py'} {PAUSE_S} {released}"
    options: dict[str, Any] = {
        "python": slow_python,
        "setup": [f"export PYTHONPATH={STAGES} OMP_NUM_THREADS=1 GLOO_SOCKET_IFNAME=lo"],
        "resources": RESOURCES,
        "scratch": str(scratch),
        "signal_delay_s": 5,
        "uncertain_s": 5.0,
    }
    study = ToyStudy(folder, GRID, cluster, data=undisturbed.root, **options)
    toy = study.campaign.folder / "toy.json"
    write_json(toy, {"real": TRAININGS, "sleep_s": CHAOS_S / 15})
    wanted = unfinished(study)
    study.launch()
    tormentor = Tormentor(study, SEED)
    tormentor.torment(CHAOS_S)
    tormentor.relent()
    released.touch()
    write_json(toy, {"real": TRAININGS})
    return Survivor(study, tormentor, wanted, repeat(study, tormentor))


def repeat(study: ToyStudy, tormentor: Tormentor, timeout_s: float = 240) -> list[str]:
    """The same command until every run is done; what failures have brought to a stop is tried again on command.

    Returns what the latter was.
    """
    retried: list[str] = []
    deadline = time.monotonic() + timeout_s
    while unfinished(study):
        assert time.monotonic() < deadline, f"not done: {study.status()}\n{study.slurm.squeue()}"
        told = study.launch().stdout
        tormentor.note(f"{len(unfinished(study))} runs are not done; {told.strip().splitlines()[-1]}")
        if stopped := [line for line in told.splitlines() if line.startswith("left alone: ")]:
            retried += stopped
            study.launch("retry", "--select", "state=failed")
        if any("launch failed" in job["reason"] or job["reason"] == "JobHeldAdmin" for job in study.slurm.squeue()):
            retried.append("jobs that Slurm held because a node could not start them")
            study.launch("release", "--select", "*")
        tormentor.register()
        end = time.monotonic() + 15
        while time.monotonic() < end and unfinished(study) and study.slurm.squeue():
            time.sleep(0.5)
    study.slurm.wait_empty(60)
    for line in retried:
        tormentor.note(f"a user had to act: {line}")
    return retried


def test_the_chaos_was_one(survivor: Survivor) -> None:
    """Every kind of act hit something, and runs had to be begun again."""
    counts = survivor.tormentor.counts
    acts = {"kill_node", "restart_controller", "restart_accounting", "displace", "requeue", "cancel", "launch"}
    assert counts.keys() == acts, counts
    assert len(survivor.begun) == 60
    assert sum(len(survivor.attempts(run_id)) for run_id in survivor.begun) > 60


def test_the_command_says_cleanly_what_it_cannot_do(survivor: Survivor) -> None:
    """No traceback from any command during the chaos; the one without a controller says that it has none."""
    for launch in survivor.tormentor.launches:
        assert launch.process.returncode in (0, 1, 2), launch.told
        assert "Traceback" not in launch.told, launch.told
        if launch.controller_away:
            assert "Unable to contact slurm controller" in launch.told, launch.told
        if launch.process.returncode == 2:
            assert "error: " in launch.told


def test_every_run_is_done_exactly_once(survivor: Survivor, cluster: SlurmCluster) -> None:
    """One result, made by one attempt; a later one may only have found it there."""
    assert set(survivor.study.states().values()) == {"done"}
    assert "nothing to submit" in survivor.study.launch().stdout
    assert cluster.squeue() == []
    for run_id in survivor.begun:
        attempts = survivor.attempts(run_id)
        done = read(survivor.study.root / run_id / "DONE")
        finished = [name for name, outcome in attempts.items() if outcome.get("reason") == "finished"]
        # Killed between DONE and its outcome it has none.
        assert finished == [done["attempt"]] or (not finished and not attempts[done["attempt"]]), attempts
        assert not list((survivor.study.root / run_id).glob("superseded/*/DONE.superseded")), "a result was replaced"


def test_no_two_attempts_of_a_run_overlap(survivor: Survivor) -> None:
    """Once an attempt has begun to compute, no earlier one of its run comes to its end."""
    latest: dict[str, str] = {}
    ends: dict[str, list[str]] = defaultdict(list)
    for line in (survivor.study.campaign.folder / "executions").read_text().splitlines():
        run_id, attempt, what = line.split()
        if what == "begins":
            assert attempt != latest.get(run_id), line
            latest[run_id] = attempt
        else:
            assert latest[run_id] == attempt, line
            ends[run_id].append(attempt)
    for run_id in survivor.begun:
        done = read(survivor.study.root / run_id / "DONE")
        assert ends[run_id][-1] == done["attempt"]
        # An end without DONE: it was killed in the moment between the two.
        assert all(survivor.attempts(run_id)[attempt].get("state") != "done" for attempt in ends[run_id][:-1])


def test_results_and_tables_are_those_of_an_undisturbed_study(
    survivor: Survivor, undisturbed: Study, tmp_path: Path
) -> None:
    roots = {"undisturbed": undisturbed.root, "chaos": survivor.study.root}
    outputs, figures = {}, {}
    for name, root in roots.items():
        outputs[name] = {run_id: read(root / run_id / "DONE")["output"] for run_id in survivor.begun}
        metrics = {str(path.relative_to(root)): read(path) for path in root.glob("*/metrics/*.json")}
        figures[name] = {path: (record["metrics"], record["examples"]) for path, record in metrics.items()}
    assert outputs["chaos"] == outputs["undisturbed"]
    assert figures["chaos"] == figures["undisturbed"]
    for study, name in ((undisturbed, "undisturbed"), (survivor.study, "chaos")):
        study.tables(tmp_path / name)
    tables = [path.name for path in (tmp_path / "undisturbed").glob("*.csv") if path.name != "cost.csv"]
    assert "main.csv" in tables
    for name in tables:
        assert (tmp_path / "chaos" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
