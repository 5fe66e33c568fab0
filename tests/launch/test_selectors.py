"""`--select`: what each expression chooses, against a slow search through every combination, and what it refuses."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.expand import Combination
from launch.observation.states import STATES, Observation
from launch.plan import Plan
from launch.selectors import add_select, select, selected_expressions
from stilts.errors import UserError
from tests.launch.small import plan_of, small

AXES: dict[str, Any] = {
    "intermediate": ["none", "mnli", "squad1", ["mnli", "squad1"]],
    "regime": ["multitask", "sequential"],
    "target": ["xnli", "xquad", "mlqa", "tatoeba"],
    "seed": [1, 2],
    "target.learning_rate": [1.0e-5, 3.0e-6],
}
PLAN = plan_of(small(axes=AXES))
SEEN = {run_id: Observation(STATES[place % len(STATES)]) for place, run_id in enumerate(PLAN.runs)}
ORDER = list(PLAN.runs)

# How each axis reads in an expression, by the value of a combination: written down here a second time on purpose.
SPELLED = {
    "target": lambda c: c.target,
    "seed": lambda c: str(c.seed),
    "regime": lambda c: c.mode,
    "intermediate": lambda c: ("-then-" if c.mode == "sequential" else "+").join(c.tasks) or "none",
    "target.learning_rate": lambda c: str(dict(c.overrides)["target.learning_rate"]),
}
VALUES = {axis: sorted({spell(c) for c in PLAN.combinations}) for axis, spell in SPELLED.items()}


def choose(*expressions: str, seen: Mapping[str, Observation] = SEEN) -> list[str]:
    return select(PLAN, seen, expressions)


def refusals(*expressions: str, plan: Plan = PLAN) -> list[str]:
    with pytest.raises(UserError) as caught:
        select(plan, SEEN, expressions)
    return caught.value.problems


def served(plan: Plan, run_id: str) -> set[Combination]:
    """Every combination that a run is needed for, found the slow way: from each cell up through all that it needs."""
    found = set()
    for combination, (cell, _) in plan.combinations.items():
        needed, waiting = set(), [cell]
        while waiting:
            needed.add(waiting[-1])
            waiting.extend(plan.runs[waiting.pop()].needs)
        if run_id in needed:
            found.add(combination)
    return found


SERVED = {run_id: served(PLAN, run_id) for run_id in PLAN.runs}


def expected(run_id: str, terms: Mapping[str, set[str]]) -> bool:
    """Whether a run has the values, by the rule in words: what scores such a cell; an encoder of such a row whose
    targets all fit; what serves nothing else."""

    def fits(combination: Combination, axes: Mapping[str, set[str]]) -> bool:
        return all(SPELLED[axis](combination) in values for axis, values in axes.items())

    cells = [c for c, (cell, _) in PLAN.combinations.items() if cell == run_id]
    if cells:
        return any(fits(c, terms) for c in cells)
    rows = [c for c, (_, encoder) in PLAN.combinations.items() if encoder == run_id]
    if rows and run_id.startswith("intermediate-"):
        below = {axis: values for axis, values in terms.items() if axis.startswith("target")}
        above = {axis: values for axis, values in terms.items() if axis not in below}
        return any(fits(c, above) for c in rows) and all(fits(c, below) for c in SERVED[run_id])
    return all(fits(c, terms) for c in SERVED[run_id])


@st.composite
def axis_terms(draw: st.DrawFn) -> dict[str, set[str]]:
    axes = draw(st.sets(st.sampled_from(sorted(VALUES)), min_size=1, max_size=3))
    return {axis: draw(st.sets(st.sampled_from(VALUES[axis]), min_size=1)) for axis in axes}


@settings(deadline=None, max_examples=200)
@given(axis_terms(), st.sampled_from(STATES), st.booleans())
def test_axis_values_choose_what_the_slow_search_finds(terms: dict[str, set[str]], state: str, by_state: bool) -> None:
    words = [f"{axis}={','.join(values)}" for axis, values in terms.items()]
    wanted = [run_id for run_id in ORDER if expected(run_id, terms)]
    if by_state:
        words.append(f"state={state}")
        wanted = [run_id for run_id in wanted if SEEN[run_id].state == state]
    assert choose(" ".join(words)) == wanted


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from(["seed=1", "state=failed", "stage=target", "task=mnli", "prepare-*"]), max_size=4))
def test_several_expressions_add_up_in_the_order_of_the_plan(expressions: list[str]) -> None:
    found = choose(*expressions)
    single = [set(choose(expression)) for expression in expressions]
    assert set(found) == (set().union(*single) if single else set(ORDER))
    assert found == sorted(found, key=ORDER.index)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(ORDER), st.integers(1, 80))
def test_the_beginning_of_an_id_names_one_run_or_is_refused(run_id: str, length: int) -> None:
    word = run_id[:length]
    named = [other for other in ORDER if other.startswith(word)]
    if len(named) == 1 or word in ORDER:
        assert choose(word) == [word if word in ORDER else named[0]]
    else:
        (problem,) = refusals(word)
        assert f"{len(named)} runs begin with '{word}'" in problem
    assert choose(f"{word}*") == named


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="abemnstx=!,.*?[]-+ \n$'\"`#0123", max_size=30))
def test_any_text_is_a_selection_or_a_clean_refusal(text: str) -> None:
    try:
        assert set(choose(text)) <= set(ORDER)
    except UserError as error:
        told = error.problems
    else:
        told = []
    assert all(problem.startswith("--select: ") for problem in told)


def test_what_a_value_may_look_like() -> None:
    assert choose("target.learning_rate=0.00001") == choose("target.learning_rate=1e-5") != []
    assert choose("intermediate=squad1+mnli") == choose("intermediate=mnli+squad1") != []
    assert choose("intermediate=mnli-then-squad1") != choose("intermediate=mnli+squad1")
    assert choose("intermediate=mnli*") == choose("intermediate=mnli,mnli+squad1,mnli-then-squad1")
    assert choose("seed!=1") == choose("seed=2")
    everything_else = [run_id for run_id in ORDER if SEEN[run_id].state not in ("done", "failed")]
    assert choose("state!=done,failed") == everything_else


def test_a_shared_run_is_chosen_only_with_all_that_needs_it() -> None:
    """An encoder of four targets is not what xnli needs alone, and the data of seed 1 is that of seed 2 too."""
    chosen = choose("target=xnli")
    assert {run_id.split("-")[0] for run_id in chosen} == {"fetch", "prepare", "target"}
    assert not any(run_id.startswith("fetch-model") for run_id in chosen)
    assert {run_id.split("-")[0] for run_id in choose("seed=1")} == {"intermediate", "target", "retrieval"}
    single = plan_of(small(axes={"intermediate": "mnli", "target": "xnli"}))
    assert select(single, {}, ["target=xnli"]) == list(single.runs)
    squad = choose("target=mlqa stage=target")
    assert squad == choose("target=xquad stage=target"), "one training serves both"


def test_tasks_are_what_a_run_itself_works_on() -> None:
    stages = {run_id.split("-")[0] for run_id in choose("task=mnli")}
    assert stages == {"fetch", "prepare", "intermediate"}
    assert all(fnmatchcase(run_id, "*-tatoeba-*") for run_id in choose("task=tatoeba"))
    assert choose("stage=target task=mnli") == []


def test_a_setting_that_a_combination_leaves_alone_has_the_grids_value() -> None:
    axes = {"intermediate": "none", "seed": [1]}
    extra = {"model": "xlm-roberta-base", "intermediate": "none", "target": "xnli", "seed": 1, "target.epochs": 4}
    plan = plan_of(small(axes=axes, include=[extra]))
    four = select(plan, {}, ["target.epochs=4"])
    published = select(plan, {}, ["target.epochs=default"])
    assert len(four) == len(published) == 1 and four != published


@pytest.mark.parametrize(
    ("expression", "parts"),
    [
        (
            "target=xnly",
            ["unknown value 'xnly' of target", "mlqa, tatoeba, xnli, xquad", "did you mean 'xnli'?"],
        ),
        ("taget=xnli", ["unknown key 'taget'", "target.learning_rate", "did you mean 'target'?"]),
        ("state=fail", ["unknown value 'fail' of state", "blocked, cancelled, done", "did you mean 'failed'?"]),
        ("stage=targets", ["unknown value 'targets' of stage", "did you mean 'target'?"]),
        ("seed=7", ["unknown value '7' of seed; legal: 1, 2"]),
        ("seed=", ["'seed=' names no value"]),
        ("target-xnly-none-s1", ["no run begins with 'target-xnly-none-s1'", "did you mean 'target-xnli-none-s1"]),
        ("*-nothing-*", ["no run's id matches the pattern '*-nothing-*'"]),
        ("", ["empty expression"]),
    ],
)
def test_a_slip_is_answered_with_what_is_legal(expression: str, parts: list[str]) -> None:
    (problem,) = refusals(expression)
    for part in parts:
        assert part in problem


def test_all_problems_are_told_at_once() -> None:
    assert len(refusals("target=xnly seed=9", "state=fail", "seed=9")) == 3


def test_the_command_line_takes_terms_and_expressions() -> None:
    parser = argparse.ArgumentParser()
    add_select(parser)
    arguments = parser.parse_args(["--select", "target=xnli", "seed=1", "--select", "state=failed seed=2"])
    assert selected_expressions(arguments) == ["target=xnli seed=1", "state=failed seed=2"]
    assert selected_expressions(parser.parse_args([])) == []
