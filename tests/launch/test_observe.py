"""What is: states read from real run folders and from what the cluster's commands print."""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger, Submission
from launch.observation.observe import observe
from launch.observation.queue import Queue
from launch.observation.states import Observation
from launch.reconcile import decide
from launch.show import problems_table
from stilts.runs import done_record, write_json
from tests.launch.fake_slurm import FakeSlurm
from tests.launch.small import finish, plan_of, small

PLAN = plan_of(small(axes={"intermediate": ["none", "mnli"], "seed": [1, 2, 3]}))
ENCODERS = [run_id for run_id in PLAN.runs if run_id.startswith("intermediate-")]
TARGETS = {run.parents[0]: run_id for run_id, run in PLAN.runs.items() if run_id.startswith("target-xnli-mnli")}
BASELINES = [run_id for run_id in PLAN.runs if run_id.startswith("target-xnli-none")]
DATA = [run_id for run_id in PLAN.runs if run_id.startswith(("fetch-", "prepare-"))]


class Site:
    """A campaign whose data is ready, on a cluster that says what it is told."""

    def __init__(self, folder: Path) -> None:
        self.slurm = FakeSlurm(folder / "slurm")
        self.campaign = Campaign(folder / "runs")
        finish(self.campaign, PLAN, DATA)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.campaign.submissions)

    def submit(self, *runs: str, job: str | None = "12", age_s: float = 100.0) -> Submission:
        """A submission that was made some time ago; without a job id its launcher died around sbatch."""
        submission = self.ledger.intend("wave", runs)
        path = self.campaign.submissions / submission.tag / "submission.json"
        record = json.loads(path.read_text())
        write_json(path, {**record, "time": record["time"] - age_s})
        return self.ledger.confirm(submission, job) if job else submission

    def queue(self, *lines: str) -> None:
        self.slurm.says("squeue", *lines)

    def account(self, *lines: str) -> None:
        self.slurm.says("sacct", *lines)

    def look(self) -> dict[str, Observation]:
        return self.look_closely()[0]

    def look_closely(self) -> tuple[dict[str, Observation], Queue]:
        return observe(PLAN, self.campaign, self.ledger)

    def state(self, run_id: str) -> str:
        return self.look()[run_id].state

    def attempt(self, run_id: str, name: str = "12.0", age_s: float = 50.0, **record: Any) -> Path:
        """The traces of an attempt that began some time ago."""
        folder = self.campaign.run(run_id).attempts / name
        begun = {"id": name, "host": socket.gethostname(), "pid": 1, "started": time.time() - age_s}
        write_json(folder / "attempt.json", {**begun, "slurm_job": "12_0", **record})
        return folder

    def outcome(self, attempt: Path, state: str, reason: str = "why") -> None:
        write_json(attempt / "outcome.json", {"state": state, "reason": reason, "rank": 0})


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path)
    monkeypatch.setenv("PATH", str(found.slurm.path))
    return found


# ---- what the queue and the accounting say

SQUEUE_STATES = {
    "PENDING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_FED": "pending",
    "REQUEUE_HOLD": "pending",
    "RESV_DEL_HOLD": "pending",
    "SPECIAL_EXIT": "pending",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "EXPEDITING": "pending",
    "POWER_UP_NODE": "running",
    "UPDATE_DB": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "STOPPED": "running",
    "SUSPENDED": "running",
}
SACCT_STATES = {
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "PREEMPTED": "cancelled",
    "FAILED": "failed",
    "BOOT_FAIL": "failed",
    "DEADLINE": "failed",
    "LAUNCH_FAILED": "failed",
    "NODE_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "RECONFIG_FAIL": "failed",
    "TIMEOUT": "failed",
    "COMPLETED": "failed",  # without DONE, whatever Slurm says
}


def test_every_state_of_the_code_is_expected_here() -> None:
    assert set(slurm.LIVE) == set(SQUEUE_STATES)
    assert set(slurm.ENDED) == set(SACCT_STATES)


@pytest.mark.parametrize("word", SQUEUE_STATES)
def test_a_job_in_the_queue(site: Site, word: str) -> None:
    tag = site.submit(*ENCODERS).tag
    site.queue(*(f"12_{index}|{word}|None|{run_id}#{tag}" for index, run_id in enumerate(ENCODERS)))
    seen = site.look()
    assert [seen[run_id] for run_id in ENCODERS] == [Observation(SQUEUE_STATES[word], "", f"12_{i}") for i in range(3)]
    assert site.slurm.called() == ["squeue"]


@pytest.mark.parametrize("word", SACCT_STATES)
def test_a_job_that_has_ended(site: Site, word: str) -> None:
    tag = site.submit(*ENCODERS).tag
    site.account(*(f"12_{index}|{word}|1:0|{run_id}#{tag}" for index, run_id in enumerate(ENCODERS)))
    found = site.look()[ENCODERS[1]]
    assert (found.state, found.job) == (SACCT_STATES[word], "12_1")
    assert word in found.reason
    assert site.slurm.called() == ["squeue", "sacct"]


@pytest.mark.parametrize("word", SACCT_STATES)
def test_a_job_that_squeue_still_lists_after_its_end(site: Site, word: str) -> None:
    tag = site.submit(*ENCODERS).tag
    lines = [f"12_{index}|{word}|0:9|x#{tag}" for index in range(3)]
    site.queue(*(line.replace("0:9", "None") for line in lines))
    site.account(*lines)
    assert site.state(ENCODERS[0]) == SACCT_STATES[word]


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_a_state_that_slurm_invents_tomorrow_is_left_alone(site: Site, command: str) -> None:
    tag = site.submit(ENCODERS[0]).tag
    site.slurm.says(command, f"12|HIBERNATING|None|x#{tag}")
    found = site.look()[ENCODERS[0]]
    assert found == Observation("running", "Slurm says HIBERNATING, a state unknown to this version", "12")


def test_the_words_after_a_state_are_kept_as_its_reason(site: Site) -> None:
    tag = site.submit(ENCODERS[0]).tag
    site.account(f"12|CANCELLED by 0|0:15|x#{tag}")
    assert site.look()[ENCODERS[0]] == Observation("cancelled", "Slurm: CANCELLED by 0, exit code 0:15", "12")
    site.account(f"12|CANCELLED+|0:15|x#{tag}")
    assert site.state(ENCODERS[0]) == "cancelled"


def test_elements_that_never_started_share_a_line(site: Site) -> None:
    """sacct shows a pending array that was cancelled as `12_[0-1,2%4]`."""
    tag = site.submit(*ENCODERS).tag
    site.account(f"12_[0,1-2%4]|CANCELLED by 0|0:0|wave#{tag}")
    seen = site.look()
    assert [(seen[run_id].state, seen[run_id].job) for run_id in ENCODERS] == [
        ("cancelled", f"12_{i}") for i in range(3)
    ]
    site.queue(f"12_[1-2]|PENDING|Resources|wave#{tag}")
    site.account(f"12_0|TIMEOUT|0:0|wave#{tag}")
    seen = site.look()
    assert [seen[run_id].state for run_id in ENCODERS] == ["failed", "pending", "pending"]


def test_pending_jobs_say_what_they_wait_for(site: Site) -> None:
    tag = site.submit(ENCODERS[0]).tag
    site.queue(f"12|PENDING|QOSMaxCpuPerUserLimit|x#{tag}")
    assert site.look()[ENCODERS[0]].reason == "QOSMaxCpuPerUserLimit"


def test_lines_of_other_jobs_and_garbage_are_passed_over(site: Site) -> None:
    tag = site.submit(*ENCODERS).tag
    garbage = [
        "",
        "|||",
        "slurm_load_jobs error: something",
        "7|RUNNING|None",
        "7|RUNNING|None|their job",
        "7|RUNNING|None|a|b#c",
        "x_1|RUNNING|None|x#" + tag,
        "12_[0-|RUNNING|None|x#" + tag,
        "12_1.batch|FAILED|1:0|batch",
        "12_2+|RUNNING|None|x#" + tag,
        "12_9999|RUNNING|None|x#" + tag,
    ]
    site.queue(*garbage, f"12_1|RUNNING|None|strange|name#with#{tag}", *garbage)
    site.account(*garbage, f"12_0|TIMEOUT|0:0|strange|name#with#{tag}", f"12_2|FAILED|1:0|x#{tag}")
    assert [site.state(run_id) for run_id in ENCODERS] == ["failed", "running", "failed"]


def test_one_squeue_and_at_most_one_sacct(site: Site) -> None:
    site.look()
    assert site.slurm.called() == []  # nothing was ever submitted
    for number, run_id in enumerate(ENCODERS):
        site.submit(run_id, job=str(number + 1))
    site.submit(*BASELINES, job="9")
    site.look()
    assert site.slurm.called() == ["squeue", "sacct"]


def test_finished_runs_ask_nobody(site: Site) -> None:
    site.submit(*ENCODERS)
    finish(site.campaign, PLAN, [run_id for run_id in PLAN.runs if run_id not in DATA])
    assert {seen.state for seen in site.look().values()} == {"done"}
    assert site.slurm.called() == []


# ---- when the cluster does not answer


@pytest.mark.parametrize("how", ["fails", "is missing"])
def test_nothing_is_submitted_twice_while_squeue_does_not_answer(site: Site, how: str) -> None:
    site.submit(*ENCODERS)
    if how == "fails":
        site.slurm.says("squeue", code=1, complaint="slurm_load_jobs error: Unable to contact slurm controller")
    else:
        site.slurm.lacks("squeue")
    seen, queue = site.look_closely()
    assert [seen[run_id].state for run_id in ENCODERS] == ["pending"] * 3
    assert [seen[run_id].job for run_id in ENCODERS] == ["12_0", "12_1", "12_2"]
    assert not set(decide(PLAN, seen).runs) & set(ENCODERS)
    (note,) = queue.notes
    assert ("Unable to contact slurm controller" if how == "fails" else "there is no squeue on PATH") in note


def test_an_end_that_the_folder_tells_needs_no_queue(site: Site) -> None:
    site.submit(*ENCODERS)
    site.slurm.says("squeue", code=1)
    site.outcome(site.attempt(ENCODERS[0]), "failed", "loss is nan")
    assert site.look()[ENCODERS[0]] == Observation("failed", "loss is nan", "12_0")


@pytest.mark.parametrize("how", ["fails", "is missing"])
def test_without_accounting_the_folders_tell(site: Site, how: str) -> None:
    site.submit(*ENCODERS)
    site.outcome(site.attempt(ENCODERS[0]), "cancelled", "stopped by SIGTERM")
    if how == "fails":
        site.slurm.says("sacct", code=1, complaint="Slurm accounting storage is disabled")
    else:
        site.slurm.lacks("sacct")
    seen, queue = site.look_closely()
    assert seen[ENCODERS[0]].state == "cancelled"
    assert seen[ENCODERS[1]] == Observation(
        "failed", "left the queue without an outcome; accounting is not available", "12_1", absent=True
    )
    assert len(queue.notes) == 1


def test_a_job_that_nobody_remembers_has_failed(site: Site) -> None:
    site.submit(*ENCODERS)
    found = site.look()[ENCODERS[2]]
    assert (found.state, found.job) == ("failed", "12_2")
    assert "accounting does not know" in found.reason


def test_what_slurm_knows_of_a_killed_job_comes_with_its_own_reason(site: Site) -> None:
    """A job that failed by itself wrote why; one that was killed wrote nothing or that it was stopped."""
    tag = site.submit(*ENCODERS).tag
    for index, state in enumerate(("failed", "cancelled", "blocked")):
        site.outcome(site.attempt(ENCODERS[index], slurm_job=f"12_{index}"), state, f"own words: {state}")
    site.account(f"12_0|FAILED|1:0|x#{tag}", f"12_1|TIMEOUT|0:15|x#{tag}", f"12_2|FAILED|75:0|x#{tag}")
    seen = site.look()
    assert seen[ENCODERS[0]] == Observation("failed", "own words: failed", "12_0")
    assert seen[ENCODERS[1]] == Observation("failed", "Slurm: TIMEOUT, exit code 0:15", "12_1")
    assert seen[ENCODERS[2]].state == "planned"  # it found its parents unfinished, and they are done now


def test_what_ended_before_the_last_submission_is_over(site: Site) -> None:
    site.outcome(site.attempt(ENCODERS[0], age_s=500), "failed", "the first time")
    assert site.state(ENCODERS[0]) == "failed"
    tag = site.submit(ENCODERS[0], age_s=100).tag
    site.queue(f"12|PENDING|None|x#{tag}")
    assert site.state(ENCODERS[0]) == "pending"
    site.queue()
    site.account(f"12|CANCELLED by 7|0:0|x#{tag}")
    assert site.look()[ENCODERS[0]].reason == "Slurm: CANCELLED by 7, exit code 0:0"


def test_only_the_last_submission_of_a_run_counts(site: Site) -> None:
    first = site.submit(ENCODERS[0], job="12", age_s=900)
    second = site.submit(*ENCODERS, job="13", age_s=100)
    site.account(f"12|FAILED|1:0|x#{first.tag}", f"13_0|CANCELLED|0:0|x#{second.tag}")
    assert site.look()[ENCODERS[0]].job == "13_0"
    assert site.state(ENCODERS[0]) == "cancelled"


def test_a_run_that_ends_between_two_looks_is_done(site: Site) -> None:
    """Its DONE is written after the folders were read and before squeue answers: it must not count as failed."""
    tag = site.submit(ENCODERS[0]).tag
    finish(site.campaign, PLAN, [ENCODERS[0]])
    done = site.campaign.run(ENCODERS[0]).done
    aside = done.rename(done.with_name("later"))
    site.slurm.says("squeue", do=f'/bin/mv "{aside}" "{done}"')
    site.account(f"12|COMPLETED|0:0|x#{tag}")
    assert site.state(ENCODERS[0]) == "done"


# ---- a launcher that died around sbatch


def test_a_job_whose_launcher_died_is_found_by_its_tag(site: Site) -> None:
    submission = site.submit(*ENCODERS, job=None)
    site.queue(*(f"77_{index}|PENDING|Priority|wave#{submission.tag}" for index in range(3)))
    seen = site.look()
    assert [seen[run_id].job for run_id in ENCODERS] == ["77_0", "77_1", "77_2"]
    assert [s.job_id for s in site.ledger.of(ENCODERS[0])] == ["77"]  # so that children can depend on it


def test_a_job_that_ended_before_it_was_found_is_found_in_the_accounting(site: Site) -> None:
    submission = site.submit(*ENCODERS, job=None)
    site.account(*(f"77_{index}|TIMEOUT|0:0|wave#{submission.tag}" for index in range(3)))
    assert site.look()[ENCODERS[0]] == Observation("failed", "Slurm: TIMEOUT, exit code 0:0", "77_0")
    assert site.ledger.of(ENCODERS[0])[-1].job_id == "77"


def test_an_intent_that_never_became_a_job_is_planned(site: Site) -> None:
    site.submit(*ENCODERS, job=None)
    assert [site.state(run_id) for run_id in ENCODERS] == ["planned"] * 3


def test_an_sbatch_that_did_not_answer_is_uncertain_for_a_while(site: Site) -> None:
    """A slow controller may make the job after sbatch has given up."""
    site.submit(*ENCODERS, job=None, age_s=PLAN.cluster.uncertain_s - 20)
    seen, queue = site.look_closely()
    assert {seen[run_id].state for run_id in ENCODERS} == {"pending"}
    assert "may be there, or still appear" in seen[ENCODERS[0]].reason
    assert len(queue.uncertain) == 1
    assert not set(decide(PLAN, seen).runs) & set(ENCODERS)


def test_only_a_queue_that_answers_says_that_there_is_no_job(site: Site) -> None:
    """However old the intent, and whatever the accounting does not list: held jobs are not in it."""
    site.submit(*ENCODERS, job=None, age_s=5000)
    site.slurm.says("squeue", code=1)
    assert {site.state(run_id) for run_id in ENCODERS} == {"pending"}
    site.queue()
    assert {site.state(run_id) for run_id in ENCODERS} == {"planned"}
    before = len(site.slurm.called())
    assert {site.state(run_id) for run_id in ENCODERS} == {"planned"}
    assert site.slurm.called()[before:] == [], "it is written down, nobody is asked again"


def test_an_sbatch_that_came_to_nothing_hides_no_earlier_end(site: Site) -> None:
    tag = site.submit(*ENCODERS, age_s=900).tag
    site.submit(*ENCODERS, job=None, age_s=100)
    site.account(f"12_0|TIMEOUT|0:0|x#{tag}")
    assert site.look()[ENCODERS[0]] == Observation("failed", "Slurm: TIMEOUT, exit code 0:0", "12_0")


def test_a_job_that_appears_after_all_is_one_too_many(site: Site) -> None:
    """It was taken for lost and submitted again: the one that works stays, else the newer one."""
    late = site.submit(ENCODERS[0], job=None, age_s=900)
    site.look()
    new = site.submit(ENCODERS[0], job="99", age_s=10)
    lines = [f"99|PENDING|Priority|x#{new.tag}", f"77|PENDING|Priority|x#{late.tag}"]
    site.queue(*lines)
    found = site.look()[ENCODERS[0]]
    assert (found.job, found.surplus) == ("99", ("77",))
    assert decide(PLAN, site.look()).cancel == ["77"]
    site.queue(lines[0], lines[1].replace("PENDING", "RUNNING"))
    found = site.look()[ENCODERS[0]]
    assert (found.state, found.job, found.surplus) == ("running", "77", ("99",))


def test_an_answer_that_is_cut_off_is_none(site: Site) -> None:
    tag = site.submit(*ENCODERS).tag
    site.slurm.says("squeue", do=f"printf '12_0|RUNNING|None|x#{tag}\n12_1|RUNN'")
    seen, queue = site.look_closely()
    assert {seen[run_id].state for run_id in ENCODERS} == {"pending"}
    assert "squeue's answer was cut off" in queue.notes[0]


def test_runs_that_wait_outside_of_the_queue_say_for_what(site: Site) -> None:
    site.campaign.write_withheld({ENCODERS[0]: "waits for a submit slot", BASELINES[0]: "waits for a submit slot"})
    tag = site.submit(ENCODERS[0]).tag
    site.queue(f"12|PENDING|Priority|x#{tag}")
    seen = site.look()
    assert (seen[BASELINES[0]].state, seen[BASELINES[0]].reason) == ("planned", "waits for a submit slot")
    assert seen[ENCODERS[0]].reason == "Priority", "it was submitted since"


def test_an_adopted_submission_does_not_overtake_a_later_one(site: Site) -> None:
    old = site.submit(*ENCODERS, job=None, age_s=900)
    new = site.submit(ENCODERS[0], job="99", age_s=10)
    site.queue(f"99|RUNNING|None|x#{new.tag}", f"77_1|RUNNING|None|x#{old.tag}")
    ledger = site.ledger
    seen, _ = observe(PLAN, site.campaign, ledger)
    assert (seen[ENCODERS[0]].job, seen[ENCODERS[1]].job) == ("99", "77_1")
    assert [s.job_id for s in ledger.of(ENCODERS[0])] == ["77", "99"]
    assert len(ledger.submissions) == 2


# ---- DONE that does not hold


def test_a_done_that_is_half_written_is_none(site: Site) -> None:
    finish(site.campaign, PLAN, [ENCODERS[0]])
    done = site.campaign.run(ENCODERS[0]).done
    whole = done.read_text()
    for text in ("", whole[: len(whole) // 2], "[]", "{}", "null", '{"schema": "other"}', "\0" * 50):
        done.write_text(text)
        assert site.state(ENCODERS[0]) == "planned", text
    done.write_bytes(b"\xff\xfe")
    assert site.state(ENCODERS[0]) == "planned"


def test_a_result_on_another_output_of_its_parent_is_stale(site: Site) -> None:
    child = TARGETS[ENCODERS[0]]
    finish(site.campaign, PLAN, [ENCODERS[0], child])
    finish(site.campaign, PLAN, [ENCODERS[0]], output="another")
    seen = site.look()
    assert seen[child] == Observation("stale", f"was built on an earlier output of {ENCODERS[0]}")
    assert child in decide(PLAN, seen).runs


def test_a_result_whose_parent_is_gone_is_stale_down_to_the_last_descendant(site: Site) -> None:
    finish(site.campaign, PLAN, [*ENCODERS, *TARGETS.values(), *BASELINES])
    prepared = next(run_id for run_id in DATA if run_id.startswith("prepare-mnli"))
    site.campaign.run(prepared).done.unlink()
    seen = site.look()
    assert seen[prepared].state == "planned"
    assert {seen[run_id].state for run_id in [*ENCODERS, *TARGETS.values()]} == {"stale"}
    assert {seen[run_id].state for run_id in BASELINES} == {"done"}
    assert "which is not done any more" in seen[TARGETS[ENCODERS[0]]].reason


def test_a_result_of_another_configuration_is_stale(site: Site) -> None:
    finish(site.campaign, PLAN, [ENCODERS[0]])
    done = site.campaign.run(ENCODERS[0]).done
    record = json.loads(done.read_text())
    write_json(done, {**record, "digest": "f" * 64})
    assert site.look()[ENCODERS[0]] == Observation(
        "stale", "holds the result of another configuration (digest ffffffff)"
    )


def test_a_stale_run_that_waits_in_the_queue_is_not_submitted_again(site: Site) -> None:
    """Its parent was computed anew and is done; its own job has not started yet. Nothing else is unfinished."""
    finish(site.campaign, PLAN, [run_id for run_id in PLAN.runs if run_id not in DATA])
    finish(site.campaign, PLAN, [ENCODERS[0]], output="another")
    tag = site.submit(TARGETS[ENCODERS[0]]).tag
    site.queue(f"12|PENDING|Priority|x#{tag}")
    seen = site.look()
    assert seen[TARGETS[ENCODERS[0]]] == Observation("pending", "Priority", "12")
    assert decide(PLAN, seen).runs == []


# ---- parents and children


def test_a_child_that_can_never_start_is_cancelled_and_submitted_again(site: Site) -> None:
    parents = site.submit(*ENCODERS, job="12").tag
    children = site.submit(*(TARGETS[run_id] for run_id in ENCODERS), job="13").tag
    site.account(*(f"12_{index}|FAILED|1:0|x#{parents}" for index in range(3)))
    site.queue(
        f"13_0|PENDING|DependencyNeverSatisfied|x#{children}",
        f"13_1|PENDING|Dependency|x#{children}",
        f"13_2|RUNNING|None|x#{children}",
    )
    seen = site.look()
    doomed = [seen[TARGETS[run_id]] for run_id in ENCODERS]
    assert [found.state for found in doomed] == ["blocked", "blocked", "running"]
    assert doomed[1] == Observation("blocked", f"waits for {ENCODERS[1]} (failed)", "13_1", doomed=True)
    actions = decide(PLAN, seen)
    assert sorted(actions.cancel) == ["13_0", "13_1"]
    assert {TARGETS[run_id] for run_id in ENCODERS[:2]} < set(actions.runs)
    assert TARGETS[ENCODERS[2]] not in actions.runs


def test_a_job_whose_dependency_slurm_gave_up_is_doomed_even_if_the_parents_look_well(site: Site) -> None:
    finish(site.campaign, PLAN, [ENCODERS[0]])
    tag = site.submit(TARGETS[ENCODERS[0]], job="13").tag
    site.queue(f"13|PENDING|DependencyNeverSatisfied|x#{tag}")
    seen = site.look()
    assert seen[TARGETS[ENCODERS[0]]].state == "blocked"
    actions = decide(PLAN, seen)
    assert actions.cancel == ["13"]
    assert TARGETS[ENCODERS[0]] in actions.runs


def test_a_child_that_slurm_dropped_is_blocked_by_its_parent(site: Site) -> None:
    """With kill-on-invalid-dep it has left the queue, and sacct may not even list it."""
    parents = site.submit(ENCODERS[0], job="12").tag
    site.submit(TARGETS[ENCODERS[0]], job="13")
    site.account(f"12|CANCELLED by 0|0:0|x#{parents}")
    found = site.look()[TARGETS[ENCODERS[0]]]
    assert found == Observation("blocked", f"waits for {ENCODERS[0]} (cancelled)")


def test_a_child_waits_while_its_parent_lives(site: Site) -> None:
    parents = site.submit(*ENCODERS, job="12").tag
    children = site.submit(TARGETS[ENCODERS[0]], job="13").tag
    site.queue(*(f"12_{index}|RUNNING|None|x#{parents}" for index in range(3)), f"13|PENDING|Dependency|x#{children}")
    seen = site.look()
    assert seen[TARGETS[ENCODERS[0]]] == Observation("pending", "Dependency", "13")
    assert decide(PLAN, seen).cancel == []


def test_a_failure_blocks_its_own_children_alone(site: Site) -> None:
    site.outcome(site.attempt(ENCODERS[0]), "failed")
    finish(site.campaign, PLAN, ENCODERS[1:])
    seen = site.look()
    assert [seen[TARGETS[run_id]].state for run_id in ENCODERS] == ["blocked", "planned", "planned"]
    assert seen[TARGETS[ENCODERS[0]]].reason == f"waits for {ENCODERS[0]} (failed)"


def test_a_child_that_failed_itself_says_so_even_if_its_parent_is_gone(site: Site) -> None:
    site.outcome(site.attempt(ENCODERS[0]), "failed")
    site.outcome(site.attempt(TARGETS[ENCODERS[0]]), "failed", "own fault")
    assert site.look()[TARGETS[ENCODERS[0]]].reason == "own fault"


# ---- local workers


@pytest.fixture
def worker(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes the log of an attempt at the first encoder, as a local worker does."""
    attempt = site.campaign.run(ENCODERS[0]).attempts / "local-1"
    attempt.mkdir(parents=True)
    with (attempt / "rank0.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdout=log)
    yield process
    process.kill()
    process.wait()


def test_a_local_worker_is_running_until_it_dies(site: Site, worker: subprocess.Popen[bytes]) -> None:
    site.attempt(ENCODERS[0], "local-1", slurm_job=None, pid=worker.pid)
    assert site.look()[ENCODERS[0]] == Observation("running", f"local process {worker.pid}")
    worker.kill()
    worker.wait()
    found = site.look()[ENCODERS[0]]
    assert (found.state, "local-1" in found.reason) == ("cancelled", True)


def test_a_local_worker_counts_for_more_than_an_earlier_job(site: Site, worker: subprocess.Popen[bytes]) -> None:
    tag = site.submit(ENCODERS[0]).tag
    site.account(f"12|FAILED|1:0|x#{tag}")
    assert site.state(ENCODERS[0]) == "failed"
    site.attempt(ENCODERS[0], "local-1", age_s=10, slurm_job=None, pid=worker.pid)
    assert site.state(ENCODERS[0]) == "running"


def test_a_process_that_got_the_number_of_a_dead_worker_is_not_it(site: Site) -> None:
    site.attempt(ENCODERS[0], "local-1", slurm_job=None, pid=os.getpid())
    assert site.state(ENCODERS[0]) == "cancelled"


def test_a_worker_on_another_machine_is_alive_as_long_as_it_writes(site: Site) -> None:
    attempt = site.attempt(ENCODERS[0], "local-1", slurm_job=None, pid=os.getpid(), host="elsewhere")
    found = site.look()[ENCODERS[0]]
    assert (found.state, found.reason) == ("running", f"local process {os.getpid()} on elsewhere")
    for path in attempt.iterdir():
        os.utime(path, (0, 0))
    assert site.state(ENCODERS[0]) == "cancelled"


def test_an_attempt_that_could_not_even_write_who_it_is_has_ended(site: Site) -> None:
    """A full disk: the folder and an empty log are there, nothing else."""
    log = site.campaign.run(ENCODERS[0]).attempts / "local-1" / "rank0.log"
    log.parent.mkdir(parents=True)
    log.touch()
    assert site.state(ENCODERS[0]) == "cancelled"


def test_the_newest_attempt_counts_whatever_its_name(site: Site) -> None:
    site.outcome(site.attempt(ENCODERS[0], "local-9", age_s=900, slurm_job=None), "failed", "old")
    site.outcome(site.attempt(ENCODERS[0], "10.0", age_s=100, slurm_job=None), "failed", "new")
    (site.campaign.run(ENCODERS[0]).attempts / "empty").mkdir()
    assert site.look()[ENCODERS[0]].reason == "new"


# ---- what people see


@pytest.mark.parametrize("reason", ["", "KeyError: '[/INST]'", "a\nb", "[red]", "\\[/x]"])
def test_any_reason_can_be_shown(site: Site, reason: str) -> None:
    site.outcome(site.attempt(ENCODERS[0]), "failed", reason)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(problems_table(PLAN, site.look()))
    assert reason.split("\n")[0] in console.export_text()


def test_done_of_a_run_that_nothing_was_built_on(site: Site) -> None:
    """A DONE that names fewer parents than the run has now (another grid scored fewer languages) does not hold."""
    run = PLAN.runs[BASELINES[0]]
    parents = {need: f"one output of {need}" for need in run.parents}
    write_json(site.campaign.run(run.id).done, done_record(run, "x", parents))
    assert site.state(run.id) == "stale"
