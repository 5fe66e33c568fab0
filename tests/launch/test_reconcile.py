"""Wanted against observed: whatever the states, each run is submitted once, after its parents, in few calls."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.campaign import Campaign
from launch.cluster import Cluster
from launch.ledger import Ledger
from launch.observation.observe import observe
from launch.observation.states import STATES, Observation
from launch.plan import Plan
from launch.reconcile import Array, decide, narrow, wanted_runs
from launch.show import plan_json
from launch.submit import dependency_string
from tests.launch.small import finish, plan_of, small
from tests.support.campaigns import cone

TASKS = ("mnli", "squad1", "hellaswag")
LISTS: list[list[Any]] = [
    ["none"],
    ["each"],
    [list(p) for n in (1, 2, 3) for p in itertools.permutations(TASKS, n)],
    [["mnli", "anli"]],
]
CLASSES = [
    [],
    [{"match": {"task": "squad1"}, "mem_gb": 64}],
    [{"match": {"stage": "target", "task": "xnli"}, "gpus": 2}, {"match": {"stage": "prepare"}, "cpus": 9}],
]


def all_states(plan: Plan, state: str) -> dict[str, Observation]:
    return dict.fromkeys(plan.runs, Observation(state))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan of up to some hundred runs in one or several regimes, models, seeds and resource classes."""
    intermediate = [
        value for chosen in draw(st.sets(st.sampled_from(range(len(LISTS))), min_size=1)) for value in LISTS[chosen]
    ]
    axes: dict[str, Any] = {
        "model": draw(st.sampled_from([["m"], ["m", "scratch"], ["scratch"]])),
        "intermediate": intermediate[: draw(st.integers(1, 6))],
        "regime": draw(st.sampled_from([["multitask"], ["sequential"], ["multitask", "sequential"]])),
        "target": draw(
            st.sampled_from([["xnli"], ["xnli", "xquad"], ["tatoeba"], ["xnli", "udpos", "tatoeba", "panx"]])
        ),
        "seed": list(range(draw(st.integers(1, 5)))),
    }
    texts = draw(st.sampled_from([["mnli"], ["mnli", "xnli", "squad1"]]))
    return plan_of({**small(axes=axes), "pretrain": {"text": texts}, "resources": draw(st.sampled_from(CLASSES))})


@st.composite
def situations(draw: st.DrawFn) -> tuple[Plan, dict[str, Observation], int]:
    """A plan with states as observation gives them: nothing is done or live on a parent that is neither."""
    plan = draw(plans())
    share = draw(st.sampled_from([0, 1, 5, 9]))
    seen: dict[str, Observation] = {}
    for run in plan.runs.values():
        parents = {seen[need].state for need in run.needs}
        if parents <= {"done"}:
            state = (
                draw(st.sampled_from(STATES))
                if draw(st.integers(0, 9)) < share
                else "done"
                if share == 9
                else "planned"
            )
        elif parents <= {"done", "pending", "running"}:
            state = draw(st.sampled_from(["pending", "planned", "failed"])) if share else "planned"
        else:
            state = draw(st.sampled_from(["blocked", "failed", "planned", "stale"])) if share else "planned"
        waits = state == "blocked"
        job = f"7_{len(seen)}" if state in ("pending", "running") or (waits and draw(st.booleans())) else None
        seen[run.id] = Observation(state, "waits for something" if waits else "", job, doomed=waits and job is not None)
    return plan, seen, draw(st.sampled_from([1, 2, 3, 1001]))


@settings(deadline=None, max_examples=150)
@given(situations())
def test_whatever_the_states_every_wanted_run_is_submitted_once_and_rightly(
    situation: tuple[Plan, dict[str, Observation], int],
) -> None:
    plan, seen, max_array = situation
    actions = decide(plan, seen, max_array)
    wanted = {r for r in plan.runs if seen[r].state not in ("done", "pending", "running")}
    assert sorted(actions.runs) == sorted(wanted)
    assert set(actions.cancel) == {o.job for r, o in seen.items() if o.job and o.state == "blocked"}
    array_of = {run_id: place for place, array in enumerate(actions.arrays) for run_id in array.runs}
    for place, array in enumerate(actions.arrays):
        check_array(plan, seen, array, place, array_of, actions.arrays)
        assert len(array.runs) <= max_array
    check_calls(plan, seen, actions.arrays, wanted, max_array)


def check_array(
    plan: Plan, seen: Mapping[str, Observation], array: Array, place: int, array_of: dict[str, int], arrays: list[Array]
) -> None:
    """What an array waits for is what its runs need, no less, and no run starts before its own encoder is done."""
    assert {plan.resources(run_id) for run_id in array.runs} == {array.resources}
    assert not (array.after_ok and array.same_index)
    if array.same_index:
        assert array.same_index == arrays[array_of[array.same_index[0]]].runs
        assert [plan.runs[run_id].parents[0] for run_id in array.runs] == list(array.same_index)
    dependencies = {*array.same_index, *array.after_any, *filter(None, [array.after_ok])}
    for run_id in dependencies:
        assert seen[run_id].state != "done", "Slurm refuses a dependency on a job that it has forgotten"
        assert array_of.get(run_id, -1) < place, "a parent is submitted before its children"
        assert run_id in array_of or seen[run_id].state in ("pending", "running")
    for index, run_id in enumerate(array.runs):
        run = plan.runs[run_id]
        waits = {array.after_ok, *array.after_any, *array.same_index[index : index + 1]}
        unfinished = {need for need in run.needs if seen[need].state != "done"}
        assert unfinished <= waits
        encoder = run.parents[0] if run.parents else None
        if encoder in unfinished:
            assert encoder in (array.after_ok, *array.same_index[index : index + 1]), "its encoder must succeed first"
    needed = {need for run_id in array.runs for need in plan.runs[run_id].needs}
    assert dependencies <= needed, "nothing waits for what no run of the array needs"


def check_calls(
    plan: Plan, seen: Mapping[str, Observation], arrays: list[Array], wanted: set[str], max_array: int
) -> None:
    """At most one call for each (unfinished encoder or none, resource class, wave, is it an encoder) and cut."""
    if max_array < len(wanted):
        return
    depth: dict[str, int] = {}
    keys = set()
    for run_id in plan.runs:
        if run_id in wanted:
            run = plan.runs[run_id]
            depth[run_id] = 1 + max((depth[need] for need in run.needs if need in depth), default=0)
            encoder = run.parents[0] if run.parents and seen[run.parents[0]].state != "done" else None
            shape = run_id if run.stage in ("intermediate", "pretrain", "fetch") else ""
            keys.add((depth[run_id], encoder, plan.resources(run_id), shape))
    assert len(arrays) <= len(keys)


@settings(deadline=None, max_examples=50)
@given(situations())
def test_dependency_strings_name_known_jobs(situation: tuple[Plan, dict[str, Observation], int]) -> None:
    """Every dependency of every array can be written down with the job ids that are known when it is submitted."""
    plan, seen, max_array = situation
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder))
        for number, run_id in enumerate(run_id for run_id, o in seen.items() if o.state in ("pending", "running")):
            ledger.confirm(ledger.intend("live", [run_id]), str(5000 + number))
        known = {str(5000 + number) for number in range(len(ledger.submissions))}
        for number, array in enumerate(decide(plan, seen, max_array).arrays, 1):
            text = dependency_string(array, ledger) or ""
            for part in filter(None, text.split(",")):
                kind, *jobs = part.split(":")
                assert kind in ("afterok", "aftercorr", "afterany")
                assert jobs
                assert {job.split("_")[0] for job in jobs} <= known
                assert kind != "aftercorr" or (len(jobs) == 1 and "_" not in jobs[0])
            ledger.confirm(ledger.intend(array.name(plan), array.runs), str(number))
            known.add(str(number))


@settings(deadline=None, max_examples=50)
@given(situations(), st.data())
def test_any_beginning_and_any_choice_of_what_is_wanted_can_be_submitted(
    situation: tuple[Plan, dict[str, Observation], int], data: st.DataObject
) -> None:
    """What a limit cuts off, or a selection leaves out, is nothing that the rest is built on; each run once."""
    plan, seen, max_array = situation
    wanted = wanted_runs(plan, seen)
    chosen = data.draw(st.sets(st.sampled_from(wanted))) if wanted else set()
    limit = data.draw(st.one_of(st.none(), st.integers(1, 5)))
    kept, companions = narrow(plan, wanted, chosen, limit)
    asked = [run_id for run_id in wanted if run_id in chosen][:limit]
    needed, waiting = set(), list(asked)  # the slow way
    while waiting:
        run_id = waiting.pop()
        if run_id in wanted:
            needed.add(run_id)
            waiting.extend(plan.runs[run_id].needs)
    assert kept == [run_id for run_id in wanted if run_id in needed]
    assert companions == [run_id for run_id in kept if run_id not in asked]
    room = data.draw(st.integers(0, len(kept)))
    arrays = decide(plan, seen, max_array, kept[:room]).arrays
    assert sorted(run_id for array in arrays for run_id in array.runs) == sorted(kept[:room])
    place_of = {run_id: place for place, array in enumerate(arrays) for run_id in array.runs}
    for place, array in enumerate(arrays):
        check_array(plan, seen, array, place, place_of, arrays)


def test_children_of_equal_encoders_are_paired_by_index() -> None:
    axes = {"intermediate": ["mnli", "squad1"], "target": ["xnli", "udpos"], "seed": [1, 2, 3, 4]}
    plan = plan_of(small(axes=axes), Cluster(name="one class"))
    arrays = decide(plan, all_states(plan, "planned")).arrays
    (encoders,) = [array for array in arrays if array.runs[0].startswith("intermediate-")]
    children = [array for array in arrays if array.same_index]
    assert len(encoders.runs) == 8
    assert [array.same_index for array in children] == [encoders.runs] * 2
    assert all(len(array.runs) == 8 for array in children)
    assert len(arrays) == 1 + 1 + 1 + 2  # fetches, prepared data, encoders, two kinds of targets


def test_few_children_go_into_one_array_for_each_encoder() -> None:
    """Two encoders with four kinds of children: two calls with `afterok` instead of four with `aftercorr`."""
    axes = {"intermediate": "hellaswag", "target": ["xnli", "udpos", "xquad", "tatoeba"], "seed": [1, 2]}
    plan = plan_of(small(axes=axes), Cluster(name="one class"))
    arrays = decide(plan, all_states(plan, "planned")).arrays
    children = [array for array in arrays if array.after_ok and array.after_ok.startswith("intermediate-")]
    assert sorted(len(array.runs) for array in children) == [4, 4]
    assert len({array.after_ok for array in children}) == 2


def test_unequal_encoders_do_not_cost_a_call_each() -> None:
    """Single tasks and sequences on top of them have other children than mixtures, for two hundred seeds."""
    chains = [["mnli", "squad1"], ["squad1", "mnli"], "mnli", "squad1"]
    axes = {
        "intermediate": chains,
        "regime": ["multitask", "sequential"],
        "target": ["xnli", "udpos"],
        "seed": list(range(200)),
    }
    plan = plan_of(small(axes=axes))
    arrays = decide(plan, all_states(plan, "planned"), 1001).arrays
    assert sum(len(array.runs) for array in arrays) == len(plan.runs) > 3000
    assert len(arrays) < 30


def test_a_mixed_study_takes_few_calls() -> None:
    plan = plan_of(
        small(
            axes={"intermediate": ["none", "mnli", "squad1"], "target": ["xnli", "xquad", "tatoeba"], "seed": [1, 2, 3]}
        )
    )
    encoders = sum(run.stage == "intermediate" for run in plan.runs.values())
    calls = len(decide(plan, all_states(plan, "planned")).arrays)
    assert calls <= 1 + 1 + 3 * (1 + encoders)


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_submitted_or_left_alone(state: str) -> None:
    plan = plan_of(small())
    actions = decide(plan, all_states(plan, state))
    assert set(actions.runs) == (set() if state in ("done", "pending", "running") else set(plan.runs))


def test_after_one_folder_is_gone_exactly_its_cone_is_wanted(tmp_path: Path) -> None:
    """For every run of a finished study in turn: real folders, real observation."""
    axes = {"intermediate": ["none", "mnli", ["mnli", "squad1"]], "regime": "sequential", "target": ["xnli", "tatoeba"]}
    plan = plan_of(small(axes=axes))
    campaign = Campaign(tmp_path)
    finish(campaign, plan, plan.runs)
    ledger = Ledger(campaign.submissions)
    seen, _ = observe(plan, campaign, ledger)
    assert {observation.state for observation in seen.values()} == {"done"}
    assert decide(plan, seen).arrays == []
    shown = plan_json(plan, seen, decide(plan, seen))
    for run_id in plan.runs:
        done = campaign.run(run_id).done
        kept = done.read_bytes()
        done.unlink()
        seen, _ = observe(plan, campaign, ledger)
        actions = decide(plan, seen)
        assert set(actions.runs) == cone(shown, run_id)
        assert seen[run_id].state == "planned"
        assert {seen[other].state for other in cone(shown, run_id) - {run_id}} <= {"stale"}
        done.write_bytes(kept)
