"""One attempt of one run, as a job executes it: guard, log, outcome, DONE last. The stage is a light one (fetch)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from stilts.data.toy import write_toy
from stilts.runs import Run, RunFolder, write_json
from tests.support.campaigns import ROOT

TOY = {"seed": 0, "sizes": {"train": 8, "dev": 8, "test": 8}}


def make_run(root: Path, task: str = "udpos", parents: tuple[str, ...] = (), **config: Any) -> tuple[Run, RunFolder]:
    """A fetch run with its specification in its folder."""
    settings = {"kind": "data", "suite": "toy", "task": task, "part": "train", "toy": TOY, **config}
    run = Run("fetch", f"{task}-train", settings, parents)
    folder = RunFolder(root / run.id)
    write_json(folder.spec, run.spec())
    return run, folder


def start(folder: RunFolder, attempt: str, **environment: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), "--run", str(folder.path), "--attempt", attempt]
    return subprocess.Popen(command, env={**os.environ, **environment}, cwd="/")


def execute(folder: RunFolder, attempt: str = "one") -> tuple[int, dict[str, Any]]:
    """Exit code and outcome of one attempt."""
    code = start(folder, attempt).wait(120)
    return code, json.loads((folder.attempts / attempt / "outcome.json").read_text())


def test_an_attempt_leaves_everything_that_explains_it(tmp_path: Path) -> None:
    run, folder = make_run(tmp_path)
    code, outcome = execute(folder)
    assert code == 0
    assert outcome["state"] == "done"
    done = folder.read_done()
    assert done is not None
    assert done["digest"] == run.digest
    attempt = json.loads((folder.attempts / "one" / "attempt.json").read_text())
    assert {"host", "pid", "started", "versions", "code"} <= set(attempt)
    assert attempt["versions"]["torch"]
    log = (folder.attempts / "one" / "rank0.log").read_text()
    assert f"code {ROOT}/stilts/__init__.py" in log


def test_a_second_attempt_finds_the_work_done(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path)
    execute(folder)
    before = folder.done.read_bytes()
    code, outcome = execute(folder, "two")
    assert code == 0
    assert outcome["reason"] == "an earlier attempt had finished this run"
    assert folder.done.read_bytes() == before


def test_a_run_without_its_parents_is_blocked_and_names_them(tmp_path: Path) -> None:
    parent, parent_folder = make_run(tmp_path, "xnli")
    _, folder = make_run(tmp_path, parents=(parent.id, "fetch-text-00000000"))
    execute(parent_folder)
    code, outcome = execute(folder)
    assert code == 75
    assert outcome["state"] == "blocked"
    assert outcome["reason"] == "fetch-text-00000000 is not done"
    assert folder.read_done() is None


def test_a_parent_that_holds_another_runs_result_is_refused(tmp_path: Path) -> None:
    parent, parent_folder = make_run(tmp_path, "xnli")
    _, folder = make_run(tmp_path, parents=(parent.id,))
    execute(parent_folder)
    record = json.loads(parent_folder.done.read_text())
    write_json(parent_folder.done, {**record, "digest": "f" * 64})
    code, outcome = execute(folder)
    assert code == 75
    assert "holds the result of another run" in outcome["reason"]


def test_a_specification_that_was_edited_is_refused(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path)
    spec = json.loads(folder.spec.read_text())
    spec["config"]["task"] = "xnli"
    write_json(folder.spec, spec)
    code, outcome = execute(folder)
    assert code == 1
    assert outcome["state"] == "failed"
    assert "does not match its digest" in outcome["reason"]


def test_a_stale_result_is_set_aside_not_deleted(tmp_path: Path) -> None:
    parent, parent_folder = make_run(tmp_path, "xnli")
    _, folder = make_run(tmp_path, parents=(parent.id,))
    execute(parent_folder)
    execute(folder)
    metric = folder.metrics / "udpos.dev.en.json"
    write_json(metric, {"schema": "stilts.metrics/1"})
    record = json.loads(parent_folder.done.read_text())
    write_json(parent_folder.done, {**record, "output": "0" * 64})  # the parent was computed again, differently
    code, _ = execute(folder, "two")
    assert code == 0
    assert not metric.exists()
    kept = {str(path.relative_to(folder.path)) for path in folder.path.glob("superseded/**/*.superseded")}
    assert kept == {"superseded/001/DONE.superseded", "superseded/001/metrics/udpos.dev.en.json.superseded"}
    done = folder.read_done()
    assert done is not None
    assert done["needs"] == {parent.id: "0" * 64}


def test_a_failure_is_told_with_its_reason(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path, suite="xtreme")
    code, outcome = execute(folder)
    assert code == 1
    assert outcome["state"] == "failed"
    assert "data_root" in outcome["reason"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_attempt_as_cancelled(tmp_path: Path, number: signal.Signals) -> None:
    _, folder = make_run(tmp_path, "text", toy={"seed": 0, "sizes": {"train": 50_000}})
    process = start(folder, "one")
    deadline = time.monotonic() + 60
    while not (folder.attempts / "one" / "attempt.json").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == 143
    outcome = json.loads((folder.attempts / "one" / "outcome.json").read_text())
    assert outcome["state"] == "cancelled"
    assert number.name in outcome["reason"]
    assert folder.read_done() is None


def test_ranks_of_a_surrounding_job_are_not_inherited() -> None:
    from jobs.ranks import Place

    inherited = {"RANK": "3", "WORLD_SIZE": "8", "SLURM_PROCID": "3", "MASTER_PORT": "1"}
    assert Place.from_environment(inherited) == Place(0, 0, 1)
    step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "SLURM_LOCALID": "0"}
    assert Place.from_environment(step) == Place(2, 0, 4)


def test_data_from_another_root_is_read_again(tmp_path: Path) -> None:
    """The folder of the original files is not in a run's name, so a change of it must be noticed."""
    for number in (0, 1):
        write_toy("mnli", tmp_path / f"data{number}", seed=number, sizes={"train": 8, "dev": 8})
    config = {"kind": "data", "suite": "xtreme", "task": "mnli", "part": "train"}
    outputs = []
    for number in (0, 1):
        run = Run("fetch", "mnli-train", config, infra={"data_root": str(tmp_path / f"data{number}")})
        folder = RunFolder(tmp_path / "runs" / run.id)
        write_json(folder.spec, run.spec())
        code, outcome = execute(folder, f"attempt{number}")
        assert (code, outcome["reason"]) == (0, "finished")
        outputs.append((folder.read_done() or {})["output"])
    assert outputs[0] != outputs[1]


# ---- one attempt at a time


def leave_claim(folder: RunFolder, **owner: Any) -> None:
    """What an attempt that was killed leaves behind."""
    write_json(folder.path / "CLAIM", {"id": "x", "attempt": "other", "host": socket.gethostname(), **owner})


def squeue_says(folder: Path, answer: str, code: int = 0) -> dict[str, str]:
    """An environment of job 13 in which squeue answers so."""
    program = folder / "bin" / "squeue"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "{answer}" >&{2 if code else 1}\nexit {code}\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "SLURM_JOB_ID": "13", "SLURM_JOB_END_TIME": "9999999999"}


def attempt(folder: RunFolder, **environment: str) -> tuple[int, dict[str, Any]]:
    code = start(folder, "13.0", **environment).wait(120)
    return code, json.loads((folder.attempts / "13.0" / "outcome.json").read_text())


@pytest.mark.parametrize("state", ["RUNNING", "COMPLETING", "SUSPENDED", "HIBERNATING"])
def test_a_job_refuses_to_start_beside_a_living_one(tmp_path: Path, state: str) -> None:
    _, folder = make_run(tmp_path)
    leave_claim(folder, slurm_job="12_3", host="n7")
    code, outcome = attempt(folder, **squeue_says(tmp_path, state))
    assert (code, outcome["state"]) == (75, "blocked")
    assert outcome["reason"].startswith("attempt other of this run is at work (job 12_3 on n7)")
    assert folder.read_done() is None


@pytest.mark.parametrize(
    ("answer", "code"), [("", 0), ("CANCELLED", 0), ("PENDING", 0), ("slurm_load_jobs error: Invalid job id", 1)]
)
def test_a_job_takes_the_place_of_a_dead_one(tmp_path: Path, answer: str, code: int) -> None:
    _, folder = make_run(tmp_path)
    leave_claim(folder, slurm_job="12_3", host="n7")
    assert attempt(folder, **squeue_says(tmp_path, answer, code))[0] == 0
    assert not (folder.path / "CLAIM").exists()


def test_where_squeue_does_not_answer_the_signs_of_life_decide(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path)
    leave_claim(folder, slurm_job="12_3", host="n7")
    write_json(folder.progress, {"step": 1})
    mute = squeue_says(tmp_path, "Unable to contact slurm controller", code=1)
    assert attempt(folder, **mute)[0] == 75
    os.utime(folder.progress, (0, 0))
    shutil.rmtree(folder.attempts)
    assert attempt(folder, **mute)[0] == 0


def test_a_requeued_job_goes_on_where_it_was(tmp_path: Path) -> None:
    """Slurm has ended what it requeues, though nobody could give the turn back."""
    _, folder = make_run(tmp_path)
    leave_claim(folder, slurm_job="13", host="n7")
    assert attempt(folder, **squeue_says(tmp_path, "RUNNING"))[0] == 0


def test_local_attempts_wait_for_nobody_that_is_dead(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path)
    leave_claim(folder, pid=os.getpid())
    code, outcome = execute(folder, "one")
    assert (code, outcome["state"]) == (75, "blocked")
    leave_claim(folder, pid=2**22 + 1)
    assert execute(folder, "two")[0] == 0
    folder.done.unlink()
    leave_claim(folder, pid=os.getpid())
    write_json(folder.attempts / "other" / "outcome.json", {"state": "failed"})
    assert execute(folder, "three")[0] == 0, "an attempt that has said how it ended is over"


def test_of_many_attempts_at_once_one_computes(tmp_path: Path) -> None:
    _, folder = make_run(tmp_path)
    processes = [start(folder, str(number)) for number in range(6)]
    codes = sorted(process.wait(120) for process in processes)
    outcomes = [json.loads((folder.attempts / str(n) / "outcome.json").read_text()) for n in range(6)]
    assert [outcome["reason"] for outcome in outcomes].count("finished") == 1
    assert set(codes) <= {0, 75}
    assert folder.read_done() is not None
    assert not list(folder.path.glob("*CLAIM*"))
