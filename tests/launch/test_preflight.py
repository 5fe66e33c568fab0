"""What is found before anything queues, all of it at once; and what a silent or strict Slurm leaves open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from launch.campaign import Campaign
from launch.cluster import Cluster
from launch.disk import DiskNeed, Space
from launch.plan import Plan
from launch.preflight import Preflight, check, parse_minutes
from launch.resources import Match, ResourceRule
from stilts.errors import UserError
from tests.launch.conftest import make
from tests.launch.fake_slurm import FakeSlurm
from tests.launch.small import finish, plan_of, small
from tests.launch.test_models import make_model
from tests.support.campaigns import TINY_TOY

NOTHING = DiskNeed(Space(0, 0), Space(0, 0), 1, ())
SOUND_PARTITION = "PartitionName=gpu Default=YES MaxTime=2-00:00:00 State=UP"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """A Slurm that admits everything."""
    fake = FakeSlurm(tmp_path / "slurm")
    monkeypatch.setenv("PATH", f"{fake.path}:{os.environ['PATH']}")
    fake.says("sbatch", complaint="sbatch: Job 1 to start at 2026-01-01T00:00:00 using 8 processors")
    fake.says("scontrol", SOUND_PARTITION)
    return fake


def run_check(plan: Plan, folder: Path, slurm: bool = True, need: DiskNeed = NOTHING) -> Preflight:
    return check(plan, Campaign(folder / "runs"), list(plan.runs), need, slurm)


def toy_plan(cluster: Cluster | None = None, **changes: Any) -> Plan:
    return plan_of({**TINY_TOY, **changes}, cluster)


def test_one_test_call_for_each_resource_class(fake: FakeSlurm, tmp_path: Path) -> None:
    rules = [ResourceRule(match=Match(stage=["target"]), gpus=1, mem_gb=30), ResourceRule(mem_gb=31)]
    cluster = Cluster(name="c", partition="gpu", resources=[*rules, ResourceRule(match=Match(stage=["fetch"]), cpus=1)])
    report = run_check(toy_plan(cluster), tmp_path)
    assert report.problems == []
    assert fake.called().count("sbatch") == 3
    assert all(line.startswith("sbatch --test-only") for line in fake.calls() if line.startswith("sbatch"))
    assert sum("to start at" in fact for fact in report.facts) == 3
    assert not (tmp_path / "runs").exists(), "it writes nothing"


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: invalid partition specified: nope",
        "allocation failure: Invalid account or account/partition combination specified",
        "allocation failure: Invalid qos specification",
        "allocation failure: Requested node configuration is not available",
    ],
)
def test_a_refusal_is_a_problem_in_slurm_s_words(fake: FakeSlurm, tmp_path: Path, words: str) -> None:
    fake.says("sbatch", code=1, complaint=words)
    report = run_check(toy_plan(Cluster(name="c", partition="gpu")), tmp_path)
    (problem,) = report.problems
    assert words in problem
    assert "1 node(s), 0 GPU(s)" in problem
    with pytest.raises(UserError, match="nothing was started"):
        report.refuse()


@pytest.mark.parametrize(
    "words",
    [
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\nallocation failure: Job violates accounting/QOS policy (job "
        "submit limit, user's size and/or time limits)",
        "allocation failure: Unable to contact slurm controller (connect failure)",
        "sbatch: error: slurm_receive_msg: Socket timed out on send/recv operation",
        "sbatch: unrecognized option '--test-only'",
    ],
)
def test_what_passes_or_cannot_be_tried_is_a_note(fake: FakeSlurm, tmp_path: Path, words: str) -> None:
    fake.says("sbatch", code=1, complaint=words)
    report = run_check(toy_plan(Cluster(name="c", partition="gpu")), tmp_path)
    assert report.problems == []
    assert any("could not be checked" in note for note in report.notes)


def test_a_slow_slurm_is_not_waited_for(fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launch.preflight.ANSWER_TIMEOUT_S", 0.2)
    fake.says("sbatch", do="/bin/sleep 1")
    fake.says("scontrol", code=1)
    report = run_check(toy_plan(), tmp_path)
    assert report.problems == []
    assert any("did not answer" in note for note in report.notes)
    assert any("time limits of partitions could not be read" in note for note in report.notes)


def test_a_time_that_a_partition_never_gives(fake: FakeSlurm, tmp_path: Path) -> None:
    """sbatch admits such a job, which then waits for ever."""
    fake.says(
        "scontrol",
        SOUND_PARTITION,
        "PartitionName=short MaxTime=01:00:00 State=DOWN",
        "PartitionName=x MaxTime=UNLIMITED",
    )

    def problems(partition: str | None, minutes: int) -> list[str]:
        cluster = Cluster(name="c", partition=partition, resources=[ResourceRule(timeout_min=minutes)])
        return run_check(toy_plan(cluster), tmp_path).problems

    assert problems("short", 60) == problems("x", 99999) == problems("short,gpu", 600) == problems(None, 2880) == []
    assert "61 is more than partition short gives (60 min)" in problems("short", 61)[0]
    assert "2881 is more than partition gpu gives (2880 min)" in problems(None, 2881)[0]
    assert problems("short,x", 99999) == [], "one of them takes it"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("00:30:00", 30),
        ("1-02:03:30", 1440 + 123.5),
        ("UNLIMITED", None),
        ("", None),
        ("7", None),
        ("365-00:00:00", 525600),
    ],
)
def test_slurm_s_spelling_of_a_time(text: str, minutes: float | None) -> None:
    assert parse_minutes(text) == minutes


def test_all_problems_at_once(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.says("sbatch", code=1, complaint="allocation failure: Invalid qos specification")
    model = make_model(tmp_path / "model")
    (model / "model.safetensors").unlink()
    (tmp_path / "data").mkdir()
    axes = {"model": str(model), "target": ["xnli", "panx"]}
    grid = small(axes=axes, data_root=str(tmp_path / "data"), languages={"all": ["en"]})
    cluster = Cluster(name="c", python="python-that-is-not-there")
    need = DiskNeed(Space(10**18, 1), Space(1, 1), 1, ())
    problems = "\n".join(run_check(plan_of(grid, cluster), tmp_path, need=need).problems)
    for words in (
        "no weights",
        "xnli train.en: no file",
        "panx train.en: no file",
        "panx dev.en",
        "Invalid qos",
        "needs room for",
        "python-that-is-not-there",
    ):
        assert words in problems


def test_a_data_root_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    grid = small(axes={"target": ["xnli", "udpos", "panx"]})
    (problem,) = run_check(plan_of(grid), tmp_path, slurm=False).problems
    assert "data_root /nowhere: no such folder" in problem


def test_sets_of_the_hub_are_left_to_their_job(tmp_path: Path) -> None:
    grid = small(data_root=None)
    report = run_check(plan_of({key: value for key, value in grid.items() if value}), tmp_path, slurm=False)
    assert report.problems == []
    assert any("xnli" in note and "hub" in note for note in report.notes)


def test_weights_of_a_finished_encoder_that_are_half_there(tmp_path: Path) -> None:
    plan, campaign = toy_plan(), Campaign(tmp_path / "runs")
    before = [run.id for run in plan.runs.values() if run.stage in ("fetch", "pretrain")]
    finish(campaign, plan, before)
    (encoder,) = [run_id for run_id in before if run_id.startswith("pretrain-")]
    (campaign.run(encoder).model / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0")
    left = [run_id for run_id in plan.runs if run_id not in before]
    (problem,) = check(plan, campaign, left, NOTHING, slurm=False).problems
    assert encoder in problem
    assert "the same command trains it again" in problem


def test_a_python_that_works_only_after_the_set_up_is_a_note(fake: FakeSlurm, tmp_path: Path) -> None:
    cluster = Cluster(name="c", python="python-that-is-not-there", setup=["module load python"])
    report = run_check(toy_plan(cluster), tmp_path)
    assert report.problems == []
    assert any("without the set-up lines" in note for note in report.notes)


def test_a_python_without_the_libraries(fake: FakeSlurm, tmp_path: Path) -> None:
    (fake.path / "bare").write_text('#!/bin/sh\necho "has no torch, deepspeed" >&2\nexit 1\n')
    (fake.path / "bare").chmod(0o755)
    report = run_check(toy_plan(Cluster(name="c", python="bare")), tmp_path)
    (problem,) = report.problems
    assert "bare cannot run the jobs: has no torch, deepspeed" in problem


def test_the_command_refuses_before_anything_is_written(fake: FakeSlurm, tmp_path: Path) -> None:
    """By itself, and before a submission."""
    fake.says("sbatch", code=1, complaint="allocation failure: Invalid qos specification")
    study = make(tmp_path / "study", axes={"intermediate": ["none"], "target": ["tatoeba"]})
    slurm = ("--executor", "slurm")
    for arguments in (("--check",), ()):
        result = study.launch(*slurm, *arguments, check=False)
        assert result.returncode == 2
        assert "Invalid qos specification" in result.stderr
        assert "Traceback" not in result.stderr
    assert not list(study.root.glob("*-*")), "no run's folder"
    assert fake.called().count("sbatch") == 4, "two classes, tried twice: nothing was submitted"
    fake.says("sbatch", complaint="sbatch: Job 1 to start at 2026-01-01T00:00:00")
    shown = study.launch(*slurm, "--check")
    assert "nothing stands in the way" in shown.stdout
