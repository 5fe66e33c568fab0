"""Four trainings on real Slurm, each interrupted in its own way: all end as the undisturbed ones, to the last bit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.slurm.conftest import MakeStudy
from tests.support.campaigns import ROOT, TINY_TOY, Study, merge
from tests.support.slurm_cluster import SlurmCluster

PAUSE_S = 1.6
# Each training fills a node of its own, so that an urgent job can displace one of them.
GRID = merge(
    TINY_TOY,
    {
        "name": "interrupted",
        "axes": {"intermediate": ["mnli"], "target": ["tatoeba"], "seed": [1, 2, 3, 4]},
        "intermediate": {"dropout": 0.1, "epochs": 12, "selection": {"points": 3, "examples": 20}},
        "resources": [{"match": {"stage": "intermediate"}, "checkpoint_min": 0.001}],
    },
)
REQUEUED, WITH_GRACE, WITHOUT_GRACE, TIME_LIMIT = "s1", "s2", "s3", "s4"


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {timeout_s} s: {what}"
        time.sleep(0.2)


def has_outcome(attempts: Path) -> bool:
    return any(attempts.glob("*/outcome.json"))


def displace(slurm: SlurmCluster, node: str) -> None:
    """Take the node for an urgent job that ends at once."""
    options = ("--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null")
    slurm.run("sbatch", "--parsable", *options, "--wrap=true")


@pytest.fixture(scope="module")
def study(make_study: MakeStudy, slurm: SlurmCluster, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study when all its trainings have been interrupted."""
    cluster = yaml.safe_load((ROOT / "launch" / "clusters" / "test.yaml").read_text())
    path = tmp_path_factory.mktemp("cluster") / "slow.yaml"
    released = path.with_name("released")
    cluster["python"] = f"{sys.executable} {ROOT / 'tests' / 'support' / 'slow_python.py'} {PAUSE_S} {released}"
    cluster["signal_delay_s"] = 5
    path.write_text(yaml.safe_dump(cluster))
    study = make_study(GRID, str(path))
    study.launch()
    interrupt(study, slurm)
    released.touch()
    return study


@pytest.fixture(scope="module")
def undisturbed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of each training, run once more by itself."""
    ids = {name.rsplit("-", 2)[1]: name for name in study.plan_ids("intermediate-")}
    with ThreadPoolExecutor(2) as pool:
        folders = pool.map(lambda run_id: train_alone(study, run_id, tmp_path_factory.mktemp(run_id)), ids.values())
        return dict(zip(ids, folders, strict=True))


@pytest.fixture(scope="module")
def finished(study: Study, undisturbed: dict[str, Path], slurm: SlurmCluster) -> Study:
    """The study at its end: the undisturbed trainings ran while Slurm made the requeued jobs wait."""
    slurm.wait_empty(timeout_s=300)
    return study


def train_alone(study: Study, run_id: str, root: Path) -> Path:
    again = root / run_id
    again.mkdir()
    shutil.copy(study.root / run_id / "run.json", again)
    for parent in study.root.iterdir():
        if parent.name != run_id:
            (root / parent.name).symlink_to(parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--run", str(again), "--attempt", "undisturbed"]
    subprocess.run(command, env=environment, check=True, timeout=240)
    return again


def interrupt(study: Study, slurm: SlurmCluster) -> None:
    names = {name.rsplit("-", 2)[1]: name for name in study.plan_ids("intermediate-")}
    begun = [study.root / name / "checkpoints" for name in names.values()]
    until(lambda: all(any(folder.glob("*/COMPLETE")) for folder in begun), 200, "a checkpoint of each training")
    jobs = {seed: study.status()[name]["slurm_job"] for seed, name in names.items()}
    nodes = {row["job_id"]: row["nodes"] for row in slurm.squeue()}
    slurm.run("scontrol", "update", f"JobId={jobs[TIME_LIMIT]}", "TimeLimit=1")
    slurm.run("scontrol", "requeue", jobs[REQUEUED])
    for seed, grace_s in ((WITH_GRACE, 15), (WITHOUT_GRACE, 0)):
        slurm.run("scontrol", "update", "PartitionName=main", f"GraceTime={grace_s}")
        displace(slurm, nodes[jobs[seed]])
        folder = study.root / names[seed] / "attempts"
        until(partial(has_outcome, folder), 60, f"{seed} is interrupted")
    slurm.run("scontrol", "update", "PartitionName=main", "GraceTime=0")
    for seed in (REQUEUED, TIME_LIMIT):
        until(partial(has_outcome, study.root / names[seed] / "attempts"), 200, f"{seed} is interrupted")


def attempts(study: Study, seed: str) -> list[dict[str, str]]:
    """How each attempt of a training ended, in order."""
    (run_id,) = [name for name in study.plan_ids("intermediate-") if f"-{seed}-" in name]
    folders = sorted(
        (study.root / run_id / "attempts").iterdir(),
        key=lambda path: json.loads((path / "attempt.json").read_text())["started"],
    )
    return [json.loads((path / "outcome.json").read_text()) for path in folders]


def test_all_is_done_without_another_command(finished: Study) -> None:
    assert set(finished.states().values()) == {"done"}


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        (REQUEUED, "stopped by SIGTERM"),
        (WITH_GRACE, "stopped by SIGUSR2"),
        (WITHOUT_GRACE, "stopped by SIG"),
        (TIME_LIMIT, "stopped by SIGUSR2"),
    ],
)
def test_a_checkpoint_was_saved_and_the_next_attempt_went_on_from_it(finished: Study, seed: str, words: str) -> None:
    first, *_, last = attempts(finished, seed)
    assert first["state"] == "cancelled"
    assert words in first["reason"]
    assert "a checkpoint is saved" in first["reason"]
    assert last["state"] == "done"
    (run_id,) = [name for name in finished.plan_ids("intermediate-") if f"-{seed}-" in name]
    resumed = json.loads((finished.root / run_id / "DONE").read_text())["facts"]["resumed"]
    assert resumed
    assert all(0 < step < 48 for step in resumed)


@pytest.mark.parametrize("seed", [REQUEUED, WITH_GRACE, WITHOUT_GRACE, TIME_LIMIT])
def test_the_result_is_that_of_an_undisturbed_run(finished: Study, undisturbed: dict[str, Path], seed: str) -> None:
    again = undisturbed[seed]
    folder = finished.root / again.name
    for name in ("model/model.safetensors", "model/heads.safetensors", "losses.jsonl"):
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    outputs = [json.loads((path / "DONE").read_text())["output"] for path in (again, folder)]
    assert outputs[0] == outputs[1]
