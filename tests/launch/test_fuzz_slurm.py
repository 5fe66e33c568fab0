"""Two thousand damaged answers of squeue and sacct: no traceback, nothing taken for done, nothing submitted twice."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from launch.ledger import Ledger
from launch.observation.states import LIVE, STATES
from launch.scene import Scene, look
from launch.view.overview import make_overview
from stilts.runs import write_json
from tests.launch.mutations import ANY, mutate
from tests.launch.site import Site

COUNT = 2000
STATES_OF_TODAY = ("RUNNING", "PENDING", "COMPLETING", "SUSPENDED", "REQUEUE_HOLD", "CONFIGURING")
ENDS_OF_TODAY = ("FAILED", "TIMEOUT", "CANCELLED by 0", "OUT_OF_MEMORY", "NODE_FAIL", "PREEMPTED", "COMPLETED")


class Wire:
    """What the two commands print, put in the place of their processes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers = {"squeue": "", "sacct": ""}
        self.codes = {"squeue": 0, "sacct": 0}
        self.errors = {"squeue": "", "sacct": ""}
        monkeypatch.setattr("launch.slurm.subprocess.run", self.run)

    def run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        name = command[0]
        # A pipe carries bytes, and slurm.py asks for text with errors="replace".
        text = self.answers[name].encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        return subprocess.CompletedProcess(command, self.codes[name], text, self.errors[name])


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


class Waves(Site):
    """Six encoders in one array, six targets in another one that waits for them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.encoder_tag = self.submit(*self.encoders).tag
        self.target_tag = self.submit(*map(self.child, self.encoders), job="13").tag


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Waves:
    return Waves(tmp_path_factory.mktemp("fuzz"))


def answers(site: Waves, rng: random.Random) -> tuple[str, str, set[str]]:
    """What squeue and sacct say at one moment, and which encoders are in the queue then."""
    tag, children = site.encoder_tag, site.target_tag
    queue, accounts, live = [], [], set()
    for index, run_id in enumerate(site.encoders):
        if rng.random() < 0.6:
            state = rng.choice(STATES_OF_TODAY)
            live.add(run_id)
            queue.append(f"12_{index}|{state}|None|{run_id}#{tag}")
            queue.append(f"13_{index}|PENDING|Dependency|targets#{children}")
            accounts.append(f"12_{index}|{state}|0:0|{run_id}#{tag}")
            accounts.append(f"13_{index}|PENDING|0:0|targets#{children}")
        else:
            accounts.append(f"12_{index}|{rng.choice(ENDS_OF_TODAY)}|1:0|{run_id}#{tag}")
            accounts.append(f"13_{index}|CANCELLED by 0|0:0|targets#{children}")
    queue.append("77|RUNNING|None|somebody else's job")
    return "".join(f"{line}\n" for line in queue), "".join(f"{line}\n" for line in accounts), live


def test_two_thousand_damaged_answers(site: Waves, wire: Wire) -> None:
    """Whatever one of the two prints: what the other one knows to be in the queue is not submitted a second time."""
    rng, plan = random.Random(6), site.plan
    outcomes: Counter[str] = Counter()
    for number in range(COUNT):
        queue, accounts, live = answers(site, rng)
        damaged = ("squeue", "sacct", "both")[number % 3]
        wire.answers = {
            "squeue": mutate(queue, rng, ANY) if damaged != "sacct" else queue,
            "sacct": mutate(accounts, rng, ANY) if damaged != "squeue" else accounts,
        }
        told = f"{number}: {damaged} damaged\n{wire.answers}"
        try:
            scene = look(plan, site.campaign, Ledger(site.campaign.submissions, read_only=True))
        except Exception as error:
            raise AssertionError(f"{type(error).__name__}: {error}\n{told}") from error
        states = {run_id: seen.state for run_id, seen in scene.observations.items()}
        assert set(states.values()) <= set(STATES), told
        assert {run_id for run_id, state in states.items() if state == "done"} == set(site.data), told
        assert all(seen.reason for seen in scene.observations.values() if seen.state in ("failed", "cancelled")), told
        if damaged != "both":
            assert not live & set(scene.wanted), told
        outcomes["noted" if scene.notes else "clean"] += 1
        outcomes["unknown"] += any("unknown to this version" in seen.reason for seen in scene.observations.values())
        if number % 50 == 0:
            make_overview(scene)
    assert min(outcomes["noted"], outcomes["clean"], outcomes["unknown"]) > COUNT // 40, outcomes


# ---- each known kind of damage has its own words


def see(site: Waves, wire: Wire, queue: str = "", accounts: str = "") -> Scene:
    wire.answers = {"squeue": queue, "sacct": accounts}
    return look(site.plan, site.campaign, Ledger(site.campaign.submissions, read_only=True))


def test_an_answer_that_is_cut_off(site: Waves, wire: Wire) -> None:
    queue = f"12_0|RUNNING|None|x#{site.encoder_tag}\n12_1|RUN"
    scene = see(site, wire, queue)
    assert scene.notes[0] == (
        f"squeue's answer was cut off after {len(queue)} characters: what is pending or running cannot be told"
    )
    assert {scene.observations[run].reason for run in site.encoders} == {"submitted; the queue cannot be asked now"}
    scene = see(site, wire, accounts="12_0|FAILED|1:0|x")
    assert "sacct's answer was cut off after 17 characters: how jobs ended is read from the run folders alone" in (
        scene.notes
    )


@pytest.mark.parametrize("code", [0, 1])
def test_a_requeued_job_is_not_made_again_while_nobody_knows_the_queue(tmp_path: Path, wire: Wire, code: int) -> None:
    """Its attempt has told that it was stopped, and it waits in the queue; found by chaos on the real Slurm."""
    site = Waves(tmp_path)
    run_id = site.encoders[0]
    attempt = site.attempt(run_id)
    write_json(attempt / "outcome.json", {"state": "cancelled", "reason": "stopped by SIGTERM", "rank": 0})
    wire.codes["squeue"] = code
    seen = see(site, wire, "" if code else "garbage\n", "12_0|PENDING|0:0|x\n")
    assert run_id not in seen.wanted
    assert seen.observations[run_id].reason == (
        "stopped by SIGTERM; whether its job is in the queue again cannot be told now"
    )
    wire.codes["squeue"] = 0
    assert see(site, wire, accounts="12_0|CANCELLED by 0|0:15|x\n").observations[run_id].state == "cancelled"


def test_lines_that_cannot_be_read(site: Waves, wire: Wire) -> None:
    scene = see(site, wire, "slurm_load_jobs error: oh\n12_0|RUNNING\n", "12_[|FAILED|1:0|x\n")
    assert scene.notes == [
        "squeue: 2 lines cannot be read (for example 'slurm_load_jobs error: oh') and are passed over",
        "sacct: 1 lines cannot be read (for example '12_[|FAILED|1:0|x') and are passed over",
    ]
    assert scene.observations[site.encoders[0]].reason == (
        "squeue's answer was damaged: whether it is in the queue cannot be told"
    )


@pytest.mark.parametrize("command", ["squeue", "sacct"])
def test_a_command_that_fails_with_noise(site: Waves, wire: Wire, command: str) -> None:
    wire.codes[command], wire.errors[command] = 1, "warning: noise\nslurm_load_jobs error: Unable to contact\n"
    assert see(site, wire).notes[0].startswith(f"{command} failed: slurm_load_jobs error: Unable to contact: ")


def test_noise_beside_a_good_answer_does_no_harm(site: Waves, wire: Wire) -> None:
    wire.errors = {"squeue": "warning: your quota is nearly full\n", "sacct": "banner\n"}
    tag = site.encoder_tag
    scene = see(site, wire, "".join(f"12_{index}|RUNNING|None|x#{tag}\n" for index in range(6)))
    assert scene.notes == []
    assert {scene.observations[run].state for run in site.encoders} == {"running"}


def test_a_command_that_does_not_answer(site: Waves, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(command: list[str], **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, 60)

    monkeypatch.setattr("launch.slurm.subprocess.run", sleep)
    scene = look(site.plan, site.campaign, Ledger(site.campaign.submissions, read_only=True))
    assert scene.notes == [
        "squeue did not answer within 60 s: what is pending or running cannot be told",
        "sacct did not answer within 60 s: how jobs ended is read from the run folders alone",
    ]
    assert all(scene.observations[run].state in LIVE for run in site.encoders)


def test_a_command_that_is_missing(site: Waves, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    scene = look(site.plan, site.campaign, Ledger(site.campaign.submissions, read_only=True))
    assert scene.notes[0].startswith("there is no squeue on PATH: ")


def test_a_state_of_tomorrow(site: Waves, wire: Wire) -> None:
    tag = site.encoder_tag
    scene = see(site, wire, f"12_0|HIBERNATING|None|x#{tag}\n", f"12_1|VAPORIZED|0:0|x#{tag}\n")
    assert [scene.observations[run].reason for run in site.encoders[:2]] == [
        "Slurm says HIBERNATING, a state unknown to this version",
        "Slurm says VAPORIZED, a state unknown to this version",
    ]
    assert not set(site.encoders[:2]) & set(scene.wanted)


def test_an_answer_about_other_jobs(site: Waves, wire: Wire) -> None:
    """An old id that has been given out again: neither the tag nor the index is ours."""
    scene = see(site, wire, "12_0|RUNNING|None|x#00000000\n", "99|COMPLETED|0:0|y#11111111\n")
    assert scene.observations[site.encoders[0]].reason == (
        "left the queue without an outcome; Slurm's accounting does not know how"
    )
