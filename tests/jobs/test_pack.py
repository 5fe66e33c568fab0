"""Several runs in one job, through the real job script: each has its own end, and none is begun that cannot end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stilts.runs import Run, RunFolder, read_json, write_json
from tests.jobs.test_run import make_run
from tests.launch.fake_slurm import FakeSlurm
from tests.support.campaigns import ROOT

SLOW = {"seed": 0, "sizes": {"train": 60_000}}  # some seconds


@dataclass
class Packed:
    """A submission that packs runs, in a job of a Slurm that says yes to everything."""

    root: Path
    slurm: FakeSlurm
    folders: list[RunFolder]

    def start(self, turn: int = 0, left_s: float = 3600, **environment: str) -> subprocess.Popen[str]:
        """One turn of the job, `left_s` before the end of its time limit."""
        submission = self.root / "campaign" / "submissions" / "tag" / "submission.json"
        command = [sys.executable, "-u", str(ROOT / "jobs" / "run.py"), "--submission", str(submission)]
        job = {"SLURM_JOB_ID": "70", "SLURM_RESTART_COUNT": str(turn), "SLURM_JOB_END_TIME": str(time.time() + left_s)}
        job |= {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "STILTS_SIGNAL_DELAY_S": "1"}
        job |= {"PATH": f"{self.slurm.path}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "4", **environment}
        return subprocess.Popen(command, env={**os.environ, **job}, stdout=subprocess.PIPE, text=True, cwd="/")

    def work(self, turn: int = 0, left_s: float = 3600, **environment: str) -> int:
        """The exit code of a whole turn."""
        process = self.start(turn, left_s, **environment)
        process.communicate(timeout=120)
        return process.returncode

    def outcomes(self) -> list[str]:
        """The state of each run's last attempt; `` where there was none."""
        return [self.outcome(place).get("state", "") for place in range(len(self.folders))]

    def outcome(self, place: int) -> dict[str, Any]:
        return read_json(self.attempt(place) / "outcome.json") or {}

    def attempt(self, place: int) -> Path:
        """The last attempt's folder."""
        attempts = sorted(self.folders[place].attempts.glob("*"), key=lambda path: path.stat().st_mtime)
        return attempts[-1] if attempts else Path("/nowhere")

    def requeues(self) -> int:
        return sum(line.startswith("scontrol requeue 70") for line in self.slurm.calls())


def pack(root: Path, runs: Sequence[tuple[Run, RunFolder]], **how: Any) -> Packed:
    slurm = FakeSlurm(root / "slurm")
    slurm.says("scontrol")
    settings = {"size": len(runs), "at_once": 1, "runs_per_gpu": 1, "cpus": 1, **how}
    record = {"tag": "tag", "name": "pack#tag", "runs": [run.id for run, _ in runs], "time": 0, "pack": settings}
    write_json(root / "campaign" / "submissions" / "tag" / "submission.json", record)
    return Packed(root, slurm, [folder for _, folder in runs])


def make_runs(root: Path, count: int) -> list[tuple[Run, RunFolder]]:
    """Quick runs that differ."""
    return [make_run(root, toy={"seed": seed, "sizes": {"train": 8, "dev": 8, "test": 8}}) for seed in range(count)]


def test_a_failing_run_does_not_fail_the_others(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 3)
    runs.insert(1, make_run(tmp_path, suite="xtreme"))  # has no data root
    packed = pack(tmp_path, runs, at_once=2)
    assert packed.work() == 1
    assert packed.outcomes() == ["done", "failed", "done", "done"]
    assert "data_root" in packed.outcome(1)["reason"]
    for place, (run, folder) in enumerate(runs):
        assert f"run {run.id}" in (packed.attempt(place) / "rank0.log").read_text(), "each has a log of its own"
        assert (folder.read_done() is None) == (place == 1)
    assert packed.requeues() == 0, "a failure is not repeated"


def test_gpus_cores_and_memory_are_shared_out(tmp_path: Path) -> None:
    """Two runs on each of two GPUs; a run sees its GPU alone, and knows with how many others it shares it."""
    runs = make_runs(tmp_path, 4)
    packed = pack(tmp_path, runs, at_once=4, runs_per_gpu=2)
    assert packed.work(CUDA_VISIBLE_DEVICES="4,6") == 0
    gpus = [json.loads((packed.attempt(place) / "attempt.json").read_text())["gpu"] for place in range(4)]
    assert gpus == ["4", "4", "6", "6"]
    assert {json.loads((packed.attempt(place) / "attempt.json").read_text())["slurm_job"] for place in range(4)} == {
        "70"
    }


def test_an_array_element_has_its_own_runs(tmp_path: Path) -> None:
    packed = pack(tmp_path, make_runs(tmp_path, 5), size=2)
    assert packed.work(SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="69") == 0
    assert packed.outcomes() == ["", "", "done", "done", ""]
    assert packed.work(SLURM_ARRAY_TASK_ID="2", SLURM_ARRAY_JOB_ID="69") == 0, "the last one may be smaller"
    assert packed.outcomes() == ["", "", "done", "done", "done"]


def test_no_run_is_begun_that_cannot_end_and_the_next_turn_goes_on(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 4)
    needs = {runs[0][0].id: 9999.0, runs[1][0].id: 9999.0, runs[2][0].id: 1.0, runs[3][0].id: 9999.0}
    packed = pack(tmp_path, runs, need_s=needs)
    assert packed.work(left_s=120) == 1
    # The first one begins whatever it needs: in no other turn it would have more time. The small one fits in.
    assert packed.outcomes() == ["done", "cancelled", "done", "cancelled"]
    assert "not started: the job's time was too short" in packed.outcome(1)["reason"]
    assert "next turn" in packed.outcome(1)["reason"]
    assert packed.requeues() == 1
    assert packed.work(turn=1, left_s=120) == 1
    assert packed.outcomes() == ["done", "done", "done", "cancelled"]
    assert packed.work(turn=2, left_s=120) == 0
    assert packed.outcomes() == ["done"] * 4
    assert packed.requeues() == 2
    assert [len(list(folder.attempts.glob("*"))) for folder in packed.folders] == [1, 2, 1, 3], "what is done stays so"


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert path.exists()


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_reaches_every_run_and_the_job_returns_once(tmp_path: Path, number: signal.Signals) -> None:
    """Slurm's warning brings the job back; after SIGTERM it is for Slurm, or the user, to decide."""
    runs = [make_run(tmp_path, "text", toy={**SLOW, "seed": seed}) for seed in range(3)]
    packed = pack(tmp_path, runs, at_once=2)
    process = packed.start()
    for place in (0, 1):
        wait_for(runs[place][1].attempts / "70.0" / "attempt.json")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert packed.outcomes() == ["cancelled"] * 3
    for place in (0, 1):
        assert number.name in packed.outcome(place)["reason"]
    assert f"stopped by {number.name}" in packed.outcome(2)["reason"]
    assert packed.requeues() == (number == signal.SIGUSR2)


def test_a_pack_that_slurm_does_not_take_back_says_so(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, 2)
    packed = pack(tmp_path, runs, need_s={runs[1][0].id: 9999.0})
    packed.slurm.says("scontrol", code=1, complaint="Requested operation is presently disabled")
    assert packed.work() == 1
    assert packed.outcomes() == ["done", "cancelled"]
    assert "did not take the pack back" in packed.outcome(1)["reason"]


def test_a_failure_is_not_repeated_in_the_next_turn(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, suite="xtreme"), *make_runs(tmp_path, 1)]
    packed = pack(tmp_path, runs, need_s={runs[1][0].id: 9999.0})
    assert packed.work() == 1
    assert packed.outcomes() == ["failed", "cancelled"]
    assert packed.work(turn=1) == 1, "the failed one is told once more"
    assert packed.outcomes() == ["failed", "done"]
    assert len(list(packed.folders[0].attempts.glob("*"))) == 1


def test_runs_of_a_dead_pack_do_not_live_on(tmp_path: Path) -> None:
    (run, folder) = make_run(tmp_path, "text", toy=SLOW)
    packed = pack(tmp_path, [(run, folder)])
    process = packed.start()
    wait_for(folder.attempts / "70.0" / "attempt.json")
    pid = json.loads((folder.attempts / "70.0" / "attempt.json").read_text())["pid"]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/fd/1").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}/fd/1").exists()
