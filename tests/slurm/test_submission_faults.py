"""Whatever goes wrong while runs are submitted to the real Slurm: the same command again, and each is in it once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from launch.snapshot import take_snapshot
from stilts.runs import write_json
from tests.support.slurm_cluster import SlurmCluster
from tests.support.slurm_faults import FAULTS, FaultySlurm, Launchpad
from tests.support.toy_studies import ToyStudy, all_once, unfinished

AXES = {"intermediate": ["mnli", "squad1"], "target": ["xnli"], "seed": [1]}
KILLED = -9
LATER = ("kill-after", "late", "timeout-after", "truncate")  # of a second sbatch too
ASKING = ("kill-before", "kill-after", "timeout-after", "truncate", "drop-line", "noise", "quota")  # of squeue, sacct


@pytest.fixture(scope="module")
def launchpad(slurm: SlurmCluster) -> Iterator[Launchpad]:
    pad = Launchpad(slurm.env)
    yield pad
    pad.close()


class Scene:
    """A study of four runs in two arrays that are held in the queue, put back to its beginning at will."""

    def __init__(self, folder: Path, slurm: SlurmCluster, pad: Launchpad, uncertain_s: float) -> None:
        self.study = ToyStudy(
            folder, {"name": "faults", "axes": AXES}, slurm, sbatch={"hold": True}, uncertain_s=uncertain_s
        )
        self.pad, self.wanted = pad, unfinished(self.study)
        take_snapshot(self.study.campaign.code)  # its own tests say what happens to a half-made one
        self.beginning = folder / "beginning"
        shutil.copytree(self.study.root, self.beginning)

    def restore(self) -> None:
        self.study.cancel()
        shutil.rmtree(self.study.root)
        shutil.copytree(self.beginning, self.study.root, copy_function=os.link)

    def launch(self, *more: str, die_at: int | None = None, faulty: FaultySlurm | None = None) -> tuple[int, int, str]:
        arguments = ["--grid", str(self.study.path), "--root", str(self.study.root), *self.study.options, *more]
        return self.pad.launch(arguments, self.study.root, die_at, **(faulty.environment if faulty else {}))

    def each_once(self) -> bool:
        return all_once(self.study.jobs(), self.wanted)

    def repeat_until_nothing_is_left(self, faulty: FaultySlurm | None = None) -> list[int]:
        """The same command until it says so; returns the exit codes."""
        codes = []
        for _ in range(8):
            code, _, printed = self.launch(faulty=faulty)
            codes.append(code)
            if faulty:
                faulty.clear()
            if code == 0 and "nothing to submit" in printed:
                return codes
        pytest.fail(f"not finished after {codes}: {printed}")


def test_a_launcher_that_dies_at_any_step_is_continued(
    slurm: SlurmCluster, launchpad: Launchpad, tmp_path: Path
) -> None:
    """SIGKILL before every file that it writes, links, renames or removes, every folder, every process, in turn."""
    scene = Scene(tmp_path / "study", slurm, launchpad, uncertain_s=0.5)
    step, code = 0, KILLED
    while code == KILLED:
        step += 1
        scene.restore()
        code, steps, printed = scene.launch(die_at=step)
        if code == KILLED:
            again, _, printed = scene.launch()
            assert again == 0, f"after step {step}: {printed}"
        assert scene.each_once(), f"step {step}: {scene.study.jobs()}\n{printed}"
    assert code == 0 and steps == step - 1 > 40
    scene.study.cancel()


@pytest.mark.parametrize("command", ["sbatch", "squeue", "sacct"])
def test_commands_of_slurm_that_go_wrong_lose_and_double_nothing(
    slurm: SlurmCluster, launchpad: Launchpad, tmp_path: Path, command: str
) -> None:
    """Every fault in the first sbatch, the worst in a later one; in the squeue and the sacct of a second launch."""
    scene = Scene(tmp_path / "study", slurm, launchpad, uncertain_s=1.5)
    for fault in sorted(FAULTS.keys() - {"double"}) if command == "sbatch" else ASKING:
        for call in (1, 2) if command == "sbatch" and fault in LATER else (1,):
            scene.restore()
            faulty = FaultySlurm(tmp_path / f"{fault}-{call}")
            if command == "squeue":
                scene.launch("--select", "stage=intermediate", faulty=faulty)
            if command == "sacct":  # it is asked for a job that the queue does not have
                faulty.orders("sbatch", 1, "kill-before")
                assert scene.launch(faulty=faulty)[0] == KILLED
                faulty.clear()
            before = faulty.calls(command)
            faulty.orders(command, call, fault)
            codes = scene.repeat_until_nothing_is_left(faulty)
            assert scene.each_once(), f"{command} {fault} {call}: {codes} {scene.study.jobs()}"
            assert faulty.calls(command) > before, "the fault was met"
            assert (KILLED in codes) == (fault in ("kill-before", "kill-after", "late")), codes
    scene.study.cancel()


def test_a_quota_that_is_reached_is_a_state(slurm: SlurmCluster, launchpad: Launchpad, tmp_path: Path) -> None:
    """Exit code 0, words, and the runs planned with the reason; the same command goes on."""
    scene = Scene(tmp_path / "study", slurm, launchpad, uncertain_s=0.5)
    faulty = FaultySlurm(tmp_path / "faulty")
    for call in range(1, 9):
        faulty.orders("sbatch", call, "quota")
    code, _, printed = scene.launch(faulty=faulty)
    assert code == 0
    assert "4 runs stay planned: each waits for a submit slot" in printed
    states = scene.study.status()
    assert {(states[run]["state"], states[run]["reason"].partition(" (")[0]) for run in scene.wanted} == {
        ("planned", "waits for a submit slot")
    }
    faulty.clear()
    scene.repeat_until_nothing_is_left(faulty)
    assert scene.each_once()
    scene.study.cancel()


def test_a_job_that_was_made_twice_computes_once(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Two jobs of one submission start at the same time: the guard of one of them finds the other at work."""
    study = ToyStudy(tmp_path / "study", {"name": "double", "axes": AXES}, slurm)
    write_json(study.campaign.folder / "toy.json", {"sleep_s": 1.0})
    wanted = unfinished(study)
    faulty = FaultySlurm(tmp_path / "faulty")
    for call in (1, 2):
        faulty.orders("sbatch", call, "double")
    study.environment = {**slurm.env, **faulty.environment}
    study.launch()
    slurm.wait_empty(60)
    assert set(study.executions().values()) == {1}
    # Targets that were to wait for the job that found the other one at work have never started.
    study.launch()
    slurm.wait_empty(60)
    assert set(study.states().values()) == {"done"}
    assert all_once(study.executions(), wanted)


def test_of_ten_launchers_at_once_one_submits(slurm: SlurmCluster, tmp_path: Path) -> None:
    study = ToyStudy(tmp_path / "study", {"name": "ten", "axes": {**AXES, "seed": [1, 2, 3]}}, slurm)

    wanted = unfinished(study)
    command = study.command("launch/grid.py", "--grid", str(study.path), "--root", str(study.root), *study.options)
    environment = {**os.environ, **slurm.env}
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) for _ in range(10)]
    said = [(*process.communicate(timeout=120), process.returncode) for process in processes]
    assert {code for _, _, code in said} <= {0, 2}
    refused = [error for _, error, code in said if code == 2]
    assert all("a launcher works on this campaign" in " ".join(error.split()) for error in refused)
    submitted = [output for output, _, _ in said if "submitted" in output]
    assert len(submitted) == 1
    slurm.wait_empty(60)
    assert all_once(study.executions(), wanted)
    assert set(study.states().values()) == {"done"}
