"""What packs ask for, which runs share one, and what depends on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.campaign import Campaign
from launch.cluster import Cluster
from launch.leavers import find_leavers
from launch.ledger import Ledger
from launch.observation.observe import observe
from launch.observation.queue import Queue
from launch.observation.states import Observation
from launch.packs import Needs, cut_packs, describe_pack, job_resources
from launch.plan import Plan
from launch.reconcile import decide, wanted_runs
from launch.resources import Match, ResourceRule, Resources
from launch.slurm import Job
from launch.submit import dependency_string
from stilts.errors import UserError
from stilts.runs import write_json
from tests.launch.small import plan_of, small
from tests.launch.test_rounds import Desk, desk

__all__ = ["desk"]

DATA = ("fetch", "prepare")


def study(pack: ResourceRule, *more: ResourceRule, **axes: Any) -> Plan:
    axes = {"intermediate": ["mnli", "squad1"], "target": ["xnli", "udpos", "panx"], "seed": [1, 2, 3], **axes}
    return plan_of(small(axes=axes), Cluster(name="c", resources=[pack, *more]))


def planned(plan: Plan) -> dict[str, Observation]:
    return {run.id: Observation("done" if run.stage in DATA else "planned") for run in plan.runs.values()}


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 5))
def test_every_run_is_in_one_pack_and_packs_are_even(count: int, pack: int, elements: int) -> None:
    runs = [f"r{number}" for number in range(count)]
    arrays = cut_packs(runs, Resources(pack=pack), elements)
    assert [run_id for chunk, _ in arrays for run_id in chunk] == runs
    for chunk, size in arrays:
        assert 1 <= size <= pack
        assert -(-len(chunk) // size) <= elements
        assert -(-len(chunk) // size) == -(-len(chunk) // pack), "no more jobs than full packs would need"
    assert len(arrays) == -(-count // (elements * pack))


@pytest.mark.parametrize(
    ("asked", "size", "gpus", "cpus", "mem_gb"),
    [
        ({"pack": 8}, 8, 1, 4, 10),
        ({"pack": 8, "at_once": 4}, 8, 4, 16, 40),
        ({"runs_per_gpu": 3}, 3, 1, 12, 30),
        ({"runs_per_gpu": 3}, 2, 1, 8, 20),
        ({"at_once": 4, "runs_per_gpu": 2}, 4, 2, 16, 40),
        ({"at_once": 3, "runs_per_gpu": 2, "pack": 9}, 9, 2, 12, 30),
        ({}, 1, 1, 4, 10),
    ],
)
def test_a_job_asks_for_what_is_at_work_at_once(
    asked: dict[str, int], size: int, gpus: int, cpus: int, mem_gb: int
) -> None:
    resources = Resources(gpus=1, cpus=4, mem_gb=10, timeout_min=300, **asked)
    job = job_resources(resources, size)
    assert (job.gpus, job.cpus, job.mem_gb) == (gpus, cpus, mem_gb)
    assert job.ranks_per_node == 1
    assert job.timeout_min == 300
    if size > 1:
        told = describe_pack(resources, size, {"a": 1.234})
        assert told["at_once"] == min(resources.runs_at_once, size)
        assert told["cpus"] == 4
        assert told["need_s"] == {"a": 1.2}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"pack": 4, "gpus": 2}, "several ranks cannot be packed"),
        ({"pack": 4, "nodes": 2}, "several ranks cannot be packed"),
        ({"runs_per_gpu": 2}, "runs_per_gpu: 2 with gpus: 0"),
        ({"pack": 2, "at_once": 4}, "pack: 2 is less than the 4 runs"),
        ({"pack": 2, "gpus": 2, "ranks": 1}, "gpus: 2 for one packed run"),
    ],
)
def test_what_cannot_be_packed_is_refused(asked: dict[str, int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        study(ResourceRule(match=Match(stage=["target"]), **asked))


def test_runs_of_one_parent_share_packs_and_others_do_not() -> None:
    plan = study(ResourceRule(match=Match(stage=["target"]), pack=2))
    arrays = [array for array in decide(plan, planned(plan)).arrays if array.size > 1]
    assert arrays
    for array in arrays:
        parents = {plan.runs[run_id].parents[0] for run_id in array.runs}
        assert parents == {array.after_ok}, "what one waits for, all of a pack wait for"
        assert not array.same_index, "elements of packs do not pair"
        assert (len(array.runs), array.elements) == (3, 2)
    assert len(arrays) == 6, "one for each encoder"


def test_children_of_a_packed_parent_wait_for_the_pack_to_end_however_it_ends(tmp_path: Path) -> None:
    """It fails when any of its runs does; the guard of each child looks at its own parent."""
    plan = study(ResourceRule(match=Match(stage=["intermediate"]), pack=4))
    ledger = Ledger(tmp_path)
    strings = []
    for number, array in enumerate(decide(plan, planned(plan)).arrays):
        strings.append(dependency_string(array, ledger))
        need_s = dict.fromkeys(array.runs, 1.0)
        pack = describe_pack(array.resources, array.size, need_s) if array.size > 1 else None
        ledger.confirm(ledger.intend("x", array.runs, pack=pack), str(100 + number))
    first = ledger.submissions[0]
    assert (len(first.runs), first.elements, first.size) == (6, 2, 3)
    assert [first.job_of(run_id) for run_id in first.runs] == ["100_0"] * 3 + ["100_1"] * 3
    assert strings[0] is None
    assert sorted(set(strings[1:]), key=str) == ["afterany:100_0", "afterany:100_1"]
    again = Ledger(tmp_path).submissions[0]
    assert again.pack == first.pack, "what is on disk says the same"
    single = ledger.confirm(ledger.intend("x", ["a", "b"], pack={"size": 2}), "7")
    assert (single.elements, single.job_of("b"), single.index_of("b")) == (1, "7", None)


def test_a_pack_is_not_cancelled_for_one_of_its_runs() -> None:
    plan = study(ResourceRule(match=Match(stage=["target"]), pack=3), seed=[1], intermediate=["none"])
    runs = [run_id for run_id in plan.runs if run_id.startswith("target-")]
    seen = {**planned(plan), **{run_id: Observation("pending", job="9") for run_id in runs}}
    seen[runs[0]] = Observation("blocked", "its data failed", "9", doomed=True)
    assert decide(plan, seen).cancel == []
    assert runs[0] not in wanted_runs(plan, seen), "not twice, while the pack may still come to it"
    seen |= {run_id: Observation("blocked", "their data failed", "9", doomed=True) for run_id in runs}
    assert decide(plan, seen).cancel == ["9"]
    assert set(wanted_runs(plan, seen)) >= set(runs)


def test_a_run_that_saves_needs_less_time_than_one_that_must_finish(tmp_path: Path) -> None:
    plan = study(ResourceRule(match=Match(stage=["target", "retrieval"]), pack=3), target=["xnli", "bucc2018"])
    training = next(run_id for run_id in plan.runs if run_id.startswith("target-xnli"))
    scoring = next(run_id for run_id in plan.runs if run_id.startswith("retrieval-bucc2018"))
    needs = Needs(plan, Campaign(tmp_path).root).of([training, scoring])
    assert needs[training] == pytest.approx(3 * 60 + 60), "the stated start and a minute's work"
    tokens = plan.tokens[scoring].scored
    assert needs[scoring] == pytest.approx(2 * (180 + tokens / plan.cluster.tokens_per_second), rel=0.01)


def test_pruning_leaves_a_pack_alone_that_others_need(tmp_path: Path) -> None:
    before = study(ResourceRule(match=Match(stage=["target"]), pack=3), seed=[1], intermediate=["none"])
    after = study(ResourceRule(), seed=[1], intermediate=["none"], target=["xnli"])
    runs = [run_id for run_id in before.runs if run_id.startswith("target-")]
    campaign, queue = Campaign(tmp_path), Queue(asked=True)
    ledger = Ledger(campaign.submissions)
    submission = ledger.confirm(ledger.intend("targets", runs, pack={"size": 3}), "9")
    queue.live = {(submission.tag, None): Job("9", None, submission.tag, "PENDING")}
    found = find_leavers(after, campaign, ledger, queue, list(before.runs))
    assert set(found.gone) >= set(runs[1:])
    assert not found.queued
    assert not found.unsure


def test_the_door_submits_packs_once(desk: Desk) -> None:
    """Six encoders in packs of three are two elements, and two targets of each a pack of two."""
    desk.cluster["resources"] = [{"cpus": 1, "mem_gb": 1, "pack": 3, "at_once": 3}]
    assert "submitted 18 runs in 7 sbatch calls" in desk.launch()
    assert len(desk.slurm.queue()) == 2 + 6
    assert "nothing to submit" in desk.launch()
    scripts = [path.read_text() for path in desk.campaign.submissions.glob("*/submission.sh")]
    assert sorted(text.count("--cpus-per-task=3") > 0 for text in scripts) == [False] * 6 + [True]
    assert sum("afterany:" in text for text in scripts) == 6
    assert not any("afterok:" in text for text in scripts)


class Turn:
    """A pack of three targets whose job is in the queue, or has left it."""

    def __init__(self, desk: Desk) -> None:
        desk.finish("intermediate")
        desk.cluster["resources"] = [{"cpus": 1, "mem_gb": 1, "pack": 3}]
        desk.launch("--select", "stage=target", "target=xnli", "intermediate=mnli")
        self.desk = desk
        (self.line,) = desk.slurm.queue()
        (self.submission,) = desk.ledger.submissions
        self.job = str(self.submission.job_id)

    def attempt(self, place: int, state: str | None, reason: str = "") -> None:
        """What a member leaves behind: an attempt, and its outcome unless it is at work."""
        folder = self.desk.campaign.run(self.submission.runs[place]).attempts / f"{self.job}.{place}"
        write_json(folder / "attempt.json", {"started": time.time(), "slurm_job": self.job})
        if state:
            write_json(folder / "outcome.json", {"state": state, "reason": reason})

    def states(self) -> list[tuple[str, str]]:
        seen = observe(self.desk.plan(), self.desk.campaign, self.desk.ledger)[0]
        return [(seen[run_id].state, seen[run_id].reason) for run_id in self.submission.runs]


def test_runs_of_a_pack_at_work_have_states_of_their_own(desk: Desk) -> None:
    turn = Turn(desk)
    assert [state for state, _ in turn.states()] == ["pending"] * 3
    desk.slurm.says("squeue", turn.line.replace("|PENDING|Priority|", "|RUNNING|None|"))
    turn.attempt(0, "failed", "its data is wrong")
    turn.attempt(1, None)
    assert turn.states() == [
        ("failed", "its data is wrong"),
        ("running", ""),
        ("pending", "waits for its turn in a pack that is at work"),
    ]
    turn.attempt(1, "cancelled", "stopped by SIGUSR2; requeued")
    assert turn.states()[1] == ("pending", "waits for the pack to go on (stopped by SIGUSR2; requeued)")
    wanted = "--select", "stage=target", "target=xnli", "intermediate=mnli"
    assert "nothing to submit" in desk.launch(*wanted), "the failed one waits until its pack has ended"


def test_a_pack_that_failed_says_nothing_about_its_runs(desk: Desk) -> None:
    turn = Turn(desk)
    turn.attempt(0, "failed", "its data is wrong")
    turn.attempt(1, "cancelled", "not started: the job's time was too short for it")
    desk.slurm.says("squeue")
    desk.slurm.says("sacct", f"{turn.job}|FAILED|1:0|{turn.submission.name}")
    found = turn.states()
    assert found[:2] == [
        ("failed", "its data is wrong"),
        ("cancelled", "not started: the job's time was too short for it"),
    ]
    assert found[2][0] == "failed", "it left no trace, so Slurm's word counts"
