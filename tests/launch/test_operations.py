"""Hold, release, cancel, retry, explain: what Slurm is told, what lasts, and what the next submission makes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobs.breaker import TRIPPED, count_failure
from launch import grid
from launch.cluster import CLUSTERS
from launch.lineage import find_cone, find_lineage
from launch.operations import Desk, _ranges
from launch.orders import read_orders
from launch.scene import Scene
from stilts.runs import write_json
from tests.launch.fake_slurm import FakeSlurm
from tests.launch.site import GRID, Site
from tests.launch.small import finish


class Door:
    """grid.py on a site's campaign, in this process."""

    def __init__(self, site: Site, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.site, self.capsys = site, capsys
        self.file = folder / "grid.yaml"
        self.file.write_text(yaml.safe_dump(GRID, sort_keys=False))
        self.cluster = folder / "cluster.yaml"
        default = (CLUSTERS / "default.yaml").read_text()
        self.cluster.write_text(f"{default}\nfailures: {{circuit_breaker: {site.failures.circuit_breaker}}}\n")

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """What a command says, on one line each, blanks joined; `code` is how it must end."""
        options = ["--grid", str(self.file), "--cluster", str(self.cluster), "--root", str(self.site.campaign.root)]
        found = grid.main([*options, *arguments])
        output = self.capsys.readouterr()
        assert found == code, output
        return output.out + output.err

    def refuses(self, *arguments: str) -> str:
        """What a command says that the parser does not let through."""
        with pytest.raises(SystemExit):
            grid.main(["--grid", str(self.file), *arguments])
        return self.capsys.readouterr().err


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    found = Site(tmp_path, circuit_breaker=3)
    monkeypatch.setenv("PATH", str(found.slurm.path))
    return found


@pytest.fixture
def door(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Door:
    return Door(site, tmp_path, capsys)


def controls(slurm: FakeSlurm) -> list[str]:
    """What scontrol and scancel were told so far."""
    return [call for call in slurm.calls() if call.split()[0] in ("scontrol", "scancel")]


# ---- hold and release


def test_hold_keeps_runs_from_starting_in_the_queue_and_later(site: Site, door: Door) -> None:
    tag = site.submit(*site.encoders).tag
    site.queue(*(f"12_{i}|PENDING|Resources|x#{tag}" for i in (0, 1, 2, 4)), f"12_5|RUNNING|None|x#{tag}")
    told = door("hold", "--select", "intermediate=mnli stage=intermediate")
    assert "held 5 runs, 4 of them in the queue" in told  # 12_3 is in no queue any more
    assert "left 1 alone" in told
    assert controls(site.slurm) == ["scontrol uhold 12_[0-2,4]"]
    site.queue(*(f"12_{i}|PENDING|JobHeldUser|x#{tag}" for i in (0, 1, 2, 4)), f"12_5|RUNNING|None|x#{tag}")
    door("hold", "--select", "intermediate=mnli stage=intermediate")
    assert len(controls(site.slurm)) == 1, "what is held is not held again"
    site.queue()  # and out of the queue, whoever took it out
    scene = site.look()
    left = {*site.data, *site.encoders[:5], *map(site.child, site.encoders[:5])}
    assert set(scene.wanted) == scene.plan.runs.keys() - left
    assert all(read_orders(site.campaign).of(run_id) for run_id in site.encoders[:5])
    told = door("release", "--select", "intermediate=mnli stage=intermediate")
    assert "released 5 runs, 0 of them in the queue" in told
    assert "submitted by the same command" in told
    assert set(site.encoders) <= set(site.look().wanted)
    assert "released 0 runs" in door("release", "--select", "intermediate=mnli stage=intermediate")


def test_a_held_run_shows_who_held_it(site: Site, door: Door) -> None:
    door("hold", "--select", site.encoders[0])
    seen = site.look().observations[site.encoders[0]]
    assert seen.state == "planned" and seen.reason.startswith("held by ")
    told = door("explain", site.encoders[0])
    assert "the same grid.py command now: does not submit it: held by" in told
    child = door("explain", site.child(site.encoders[0]))
    assert f"does not submit it: waits for {site.encoders[0]}, which is left alone" in child


def test_release_lets_jobs_go_that_wait_held(site: Site, door: Door) -> None:
    tag = site.submit(*site.encoders[:2]).tag
    site.queue(*(f"12_{i}|PENDING|JobHeldUser|x#{tag}" for i in (0, 1)))
    assert "released 1 run, 1 of them in the queue" in door("release", "--select", site.encoders[1])
    assert controls(site.slurm) == ["scontrol release 12_[1]"]


# ---- cancel and retry


def test_cancelled_runs_stay_cancelled_until_they_are_to_be_retried(site: Site, door: Door) -> None:
    tag = site.submit(*site.encoders).tag
    site.queue(*(f"12_{i}|RUNNING|None|x#{tag}" for i in range(6)))
    told = door("cancel", "--select", "seed=1,2 stage=intermediate")
    assert "cancelled 2 runs, 2 of them in the queue or running" in told
    assert "2 more runs are built on them" in told
    assert controls(site.slurm) == ["scancel 12_[0-1]"]
    site.queue(*(f"12_{i}|RUNNING|None|x#{tag}" for i in range(2, 6)))
    site.account(*(f"12_{i}|CANCELLED by 0|0:15|x#{tag}" for i in range(2)))
    scene = site.look()
    assert [scene.observations[run].state for run in site.encoders[:2]] == ["cancelled"] * 2
    assert not {*site.encoders[:2], *map(site.child, site.encoders[:2])} & set(scene.wanted)
    door("cancel", "--select", "seed=1,2 stage=intermediate")
    assert len(controls(site.slurm)) == 1
    told = door("retry", "--select", site.encoders[0], code=2)  # this cluster takes no jobs
    assert "retry of 1 run: 1 cancelled" in told
    assert site.encoders[0] in site.look().wanted
    assert site.encoders[1] not in site.look().wanted


def test_a_done_run_is_not_cancelled(site: Site, door: Door) -> None:
    finish(site.campaign, site.plan, site.encoders[:1])
    assert "left 1 alone: they are done" in door("cancel", "--select", site.encoders[0])
    assert read_orders(site.campaign).cancelled == {}


def test_what_failed_too_often_is_submitted_again_after_a_retry(site: Site, door: Door) -> None:
    run_id = site.encoders[0]
    for count in (1, 2):
        tag = site.submit(run_id, job=str(count)).tag
        site.fail(run_id, "ValueError: boom", job=str(count), name=f"{count}.0", age_s=50 - count)
        site.account(f"{count}|FAILED|1:0|x#{tag}")
        site.look(write=True)
    assert run_id in site.look().recovery.withheld
    told = door("retry", "--select", site.child(run_id), code=2)
    assert "1 blocked" in told and "1 failed" in told, "what a run is built on is retried with it"
    assert run_id in site.look().wanted


def test_retry_submits_nothing_that_was_not_chosen(site: Site) -> None:
    scene = site.look()
    assert set(site.encoders) < set(scene.wanted)
    chosen = [site.child(site.encoders[2])]
    assert scene.retry(chosen, scene.observations).wanted == [site.encoders[2], *chosen]


# ---- the circuit breaker


def trip(site: Site) -> Scene:
    """An array in which the first three elements failed alike and the others are held."""
    tag = site.submit(*site.encoders).tag
    children = site.submit(*map(site.child, site.encoders), job="13").tag
    for index, run_id in enumerate(site.encoders[:3]):
        site.fail(run_id, "ValueError: boom", f"12_{index}")
    site.account(*(f"12_{index}|FAILED|1:0|x#{tag}" for index in range(3)))
    site.queue(
        *(f"12_{index}|PENDING|JobHeldUser|x#{tag}" for index in range(3, 6)),
        *(f"13_{index}|PENDING|Dependency|x#{children}" for index in range(3, 6)),
    )
    return site.look()


def test_what_the_breaker_holds_is_released_or_submitted_anew(site: Site, door: Door) -> None:
    scene = trip(site)
    assert scene.recovery.hold == [], "it is held already"
    assert len([note for note in scene.notes if "circuit breaker" in note]) == 1
    again = scene.retry(site.encoders[3:], scene.observations)
    assert again.wanted == []
    told = door("retry", "--select", "stage=intermediate state=pending", code=2)
    assert "retry of 3 runs: none of them needs it, 3 held" in told
    door("release", "--select", "stage=intermediate state=pending")
    assert "scontrol release 12_[3-5]" in controls(site.slurm)
    assert [note for note in site.look().notes if "circuit breaker" in note] == []


def test_elements_that_are_submitted_anew_take_their_children_along(site: Site) -> None:
    scene = trip(site)
    done = Desk(scene).act("retry", site.encoders[3:])
    doomed = [run_id for run_id, seen in done.observations.items() if seen.doomed]
    assert set(doomed) == {*site.encoders[3:], *map(site.child, site.encoders[3:])}
    wanted = scene.retry([*site.encoders[3:], *map(site.child, site.encoders[3:])], done.observations).wanted
    assert set(wanted) == set(doomed)


def test_the_job_that_sees_the_last_straw_holds_its_array(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = site.submit(*site.encoders)
    path = site.campaign.submissions / submission.tag / "submission.json"
    monkeypatch.setenv("STILTS_CIRCUIT_BREAKER", "3")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    for index, run_id in enumerate(site.encoders):
        attempt = site.fail(run_id, f"ValueError: boom {index}", f"12_{index}")
        count_failure(path, site.campaign.run(run_id).path, attempt.name)
        count_failure(path, site.campaign.run(run_id).path, attempt.name)  # requeued and failed again: counted once
        assert site.slurm.calls() == (["scontrol uhold 12"] if index >= 2 else [])
    record = json.loads(path.with_name(TRIPPED).read_text())
    assert (record["signature"], record["count"], record["refusal"]) == ("ValueError: boom N", 3, None)


@pytest.mark.parametrize(
    "environment", [{"STILTS_CIRCUIT_BREAKER": "0"}, {"SLURM_ARRAY_JOB_ID": ""}, {"SLURM_PROCID": "1"}]
)
def test_no_breaker_where_none_is_wanted(
    site: Site, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = site.submit(*site.encoders)
    path = site.campaign.submissions / submission.tag / "submission.json"
    for name, value in {"STILTS_CIRCUIT_BREAKER": "1", "SLURM_ARRAY_JOB_ID": "12", **environment}.items():
        monkeypatch.setenv(name, value)
    attempt = site.fail(site.encoders[0], "boom")
    count_failure(path, site.campaign.run(site.encoders[0]).path, attempt.name)
    assert site.slurm.calls() == []
    assert sorted(os.listdir(path.parent)) == ["job.json", "submission.json"]


# ---- what is refused, and what goes wrong


def test_an_order_that_slurm_does_not_take_is_kept(site: Site, door: Door) -> None:
    tag = site.submit(site.encoders[0]).tag
    site.queue(f"12|PENDING|Resources|x#{tag}")
    site.slurm.says("scontrol", code=1, complaint="slurm_update error: Socket timed out")
    told = door("hold", "--select", site.encoders[0], code=2)
    assert "Socket timed out; the order is noted, give it again" in " ".join(told.split())
    assert read_orders(site.campaign).of(site.encoders[0])


def test_orders_that_are_damaged_are_none(site: Site) -> None:
    path = site.campaign.folder / "orders.json"
    for damaged in ({"held": [1]}, {"held": {"a": "b"}, "pardoned": {"a": "now"}, "cancelled": 7}):
        write_json(path, damaged)
        found = read_orders(site.campaign)
        assert (found.cancelled, found.pardoned, found.released) == ({}, {}, {})
    path.write_text('{"held": {')
    assert read_orders(site.campaign).held == {}


def test_what_an_action_needs(door: Door) -> None:
    assert "hold needs --select" in door.refuses("hold")
    assert "explain needs a run" in door.refuses("explain")
    assert "name runs with --select" in door.refuses("hold", "target-x", "--select", "stage=target")
    assert "write 'hold' before --select" in door.refuses("--select", "stage=target", "hold")
    assert "invalid choice: 'destroy'" in door.refuses("destroy")


def test_the_selectors_mistakes_are_told_at_once(door: Door) -> None:
    told = door("hold", "--select", "stage=tarjet", "sed=1", code=2)
    assert "target" in told and "seed" in told
    assert "no run begins with 'nobody'" in door("explain", "nobody", code=2)


# ---- explain


def test_explain_tells_lineage_evidence_and_prospect(site: Site, door: Door) -> None:
    encoder = site.encoders[0]
    child = site.child(encoder)
    tag = site.submit(encoder).tag
    site.fail(encoder, "ValueError: \x1b[31mboom", job="12")
    site.account(f"12|FAILED|1:0|x#{tag}")
    told = door("explain", child)
    lines = told.splitlines()
    assert lines[0] == child
    assert f"  {encoder}  failed" in lines
    assert any(line.startswith("    fetch-model-") and line.endswith("  done") for line in lines)
    assert "state: blocked" in told
    assert f"submits it, behind 1 runs that it needs (for example {encoder})" in told
    own = door("explain", encoder)
    assert "sacct: FAILED, exit code 1:0" in own
    assert "squeue: not there" in own
    assert "last attempt 12.0 on n1" in own and "failed: ValueError" in own
    assert "failure  " in own and "code, 1 of at most 2: again" in own
    assert "\x1b" not in own
    assert "the same grid.py command now: submits it again, all it needs is done" in own
    assert "keeps it, it is done" in door("explain", site.data[0])
    site.slurm.says("squeue", code=1, complaint="no controller")
    assert "squeue: could not be asked" in door("explain", encoder)
    assert not (site.campaign.run(encoder).path / "failures.json").exists(), "explaining writes nothing"


def test_a_pattern_explains_several(site: Site, door: Door) -> None:
    assert door("explain", "intermediate-*-s[12]-*").count("the same grid.py command now") == 2


# ---- small parts


@given(st.sets(st.integers(0, 60)))
def test_ranges_name_the_numbers_and_no_others(numbers: set[int]) -> None:
    spelled = _ranges(sorted(numbers))
    found: set[int] = set()
    for part in filter(None, spelled.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == numbers


def test_lineage_and_cone_are_what_the_arrows_say(site: Site) -> None:
    plan = site.plan
    for run_id in [*site.encoders, *site.data[:3]]:
        above, below = {run_id}, {run_id}
        while more := {need for other in above for need in plan.runs[other].needs} - above:
            above |= more
        while more := {run.id for run in plan.runs.values() if below & set(run.needs)} - below:
            below |= more
        assert set(find_lineage(plan, [run_id])) == above
        assert set(find_cone(plan, [run_id])) == below
