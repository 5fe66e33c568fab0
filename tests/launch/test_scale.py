"""The scaling question: nested sets, the same for mixtures and sequences, and nothing else moves them."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.expand import expand
from launch.plan import Plan
from launch.scale import Scale, draw_order, find_draws, find_orders, scale_points
from launch.spec import Grid
from stilts.errors import UserError
from stilts.tasks.catalogue import INTERMEDIATES
from tests.launch.small import plan_of, problems_of, small
from tests.support.campaigns import ROOT

POOL = list(INTERMEDIATES)


@st.composite
def scales(draw: st.DrawFn) -> Scale:
    pool = draw(st.lists(st.sampled_from(POOL), min_size=1, unique=True))
    counts = draw(st.lists(st.integers(1, len(pool)), min_size=1, unique=True))
    regimes = draw(st.lists(st.sampled_from(["multitask", "sequential"]), min_size=1, unique=True))
    budget = draw(st.sampled_from(["epochs", {"fixed_steps": 100}]))
    numbers = {"draws": draw(st.integers(1, 4)), "orders": draw(st.integers(1, 4)), "seed": draw(st.integers(0, 9))}
    return Scale.model_validate({"counts": counts, "tasks": pool, "regimes": regimes, "budget": budget, **numbers})


@settings(deadline=None)
@given(scales())
def test_points_are_nested_sets_the_same_for_both_regimes(scale: Scale) -> None:
    places = scale_points(scale, "xtreme")
    points = list(places.values())
    orders = {draw: draw_order(scale, "xtreme", draw) for draw in range(1, scale.draws + 1)}
    assert all(sorted(order) == sorted(scale.tasks) for order in orders.values())
    expected = []
    for count, draw, regime in itertools.product(scale.counts, orders, scale.regimes):
        chosen = orders[draw][:count]
        number = 1 if regime == "multitask" else min(scale.orders, math.factorial(count))
        expected += [(regime, frozenset(chosen))] * number
    assert [(point["regime"], frozenset(point["intermediate"])) for point in points] == expected
    mixtures = [point["intermediate"] for point in points if point["regime"] == "multitask"]
    assert all(list(tasks) == sorted(tasks) for tasks in mixtures)
    assert {point.get("intermediate.updates") for point in points} == {scale.fixed_steps}


@settings(deadline=None)
@given(scales())
def test_orders_differ_and_the_first_is_the_draw_s_own(scale: Scale) -> None:
    for draw, count in itertools.product(range(1, scale.draws + 1), scale.counts):
        own = draw_order(scale, "xtreme", draw)[:count]
        found = find_orders(scale, draw, own)
        assert found[0] == own
        assert len(set(found)) == len(found) == min(scale.orders, math.factorial(count))
        assert all(sorted(order) == sorted(own) for order in found)


@settings(deadline=None)
@given(scales(), st.randoms(use_true_random=False))
def test_more_counts_draws_orders_and_another_listing_keep_every_point(scale: Scale, random: Any) -> None:
    before = {(p["regime"], p["intermediate"]) for p in scale_points(scale, "xtreme").values()}
    every = list(range(1, len(scale.tasks) + 1))
    changes: list[dict[str, Any]] = [
        {"counts": random.sample(every, len(every))},
        {"draws": scale.draws + 2},
        {"orders": scale.orders + 2},
        {"tasks": random.sample(scale.tasks, len(scale.tasks))},
        {"regimes": ["sequential", "multitask"]},
    ]
    for change in changes:
        after = scale.model_copy(update=change)
        assert before <= {(p["regime"], p["intermediate"]) for p in scale_points(after, "xtreme").values()}


def test_draws_are_random_enough() -> None:
    """In 900 draws every task is first about 100 times (a binomial with a deviation of 9.4)."""
    scale = Scale(counts=[1], draws=900)
    first = [draw_order(scale, "xtreme", draw)[0] for draw in range(1, 901)]
    assert all(60 < first.count(task) < 140 for task in POOL)
    other = scale.model_copy(update={"seed": 1})
    assert sum(draw_order(other, "xtreme", draw)[0] == task for draw, task in enumerate(first, 1)) < 140


# A change here means that a study's sets are drawn anew: its finished runs would no longer be those of its grid.
# Made with `printf 0/1/anli | sha256sum` and so on, sorted.
GOLDEN_ORDERS = {
    1: "anli csqa cosmosqa hellaswag qqp ccg squad2 squad1 mnli",
    2: "hellaswag cosmosqa anli qqp mnli csqa squad1 ccg squad2",
    3: "ccg mnli squad1 hellaswag anli squad2 qqp cosmosqa csqa",
}


def test_golden_orders() -> None:
    scale = Scale(counts=[1], draws=3)
    assert {draw: " ".join(draw_order(scale, "xtreme", draw)) for draw in (1, 2, 3)} == GOLDEN_ORDERS


def test_orders_do_not_depend_on_the_process() -> None:
    """Python's own hashes and random numbers differ from process to process."""
    code = "from launch.scale import *; s = Scale(counts=[4], draws=2, orders=3)\n"
    code += "print([find_orders(s, d, draw_order(s, 'xtreme', d)[:4]) for d in (1, 2)])"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


# ---- in a plan

SCALE: dict[str, Any] = {"counts": [1, 2, 3, 9], "draws": 2, "orders": 2}
STUDY = small(axes={"intermediate": None, "target": ["xnli", "tatoeba"], "seed": [1, 2]}, scale=SCALE)


def intermediates(plan: Plan) -> set[str]:
    return {run.id for run in plan.runs.values() if run.stage == "intermediate"}


def rows(plan: Plan) -> set[tuple[str, tuple[str, ...]]]:
    return {(row.mode, row.tasks) for row, _ in plan.cells}


def test_a_single_task_serves_both_curves_and_the_whole_pool_is_one_mixture() -> None:
    plan = plan_of(STUDY)
    orders = [draw_order(Scale(**SCALE), "xtreme", draw) for draw in (1, 2)]
    found = rows(plan)
    assert {tasks for mode, tasks in found if mode == "single"} == {order[:1] for order in orders}
    mixtures = {tasks for mode, tasks in found if mode == "multitask"}
    assert mixtures == {tuple(sorted(order[:k])) for order in orders for k in (2, 3, 9)}
    assert sum(len(tasks) == 9 for tasks in mixtures) == 1
    sequences = [tasks for mode, tasks in found if mode == "sequential"]
    assert len(sequences) == 2 * 3 * 2
    assert {order[:k] for order in orders for k in (2, 3, 9)} <= set(sequences)
    seeds = 2
    assert len([run for run in intermediates(plan) if "9-tasks-s" in run]) == seeds


def test_the_chains_of_a_draw_s_own_order_share_their_prefixes() -> None:
    one = {**STUDY, "scale": {**SCALE, "draws": 1, "orders": 1, "regimes": ["sequential"]}}
    assert len(intermediates(plan_of(one))) == 9 * 2


@pytest.mark.parametrize(
    "change",
    [
        {"scale": {**SCALE, "counts": [1, 2, 3, 4, 9]}},
        {"scale": {**SCALE, "draws": 3}},
        {"scale": {**SCALE, "orders": 3}},
        {"scale": {**SCALE, "counts": [9, 3, 2, 1], "tasks": POOL[::-1]}},
        {"include": [{"intermediate": "none", "seed": 5}]},
        {"axes": {**STUDY["axes"], "intermediate": ["none", "each"], "seed": [3, 2, 1]}},
        {"axes": {**STUDY["axes"], "mlm": [False, True]}},
        {"name": "other", "resources": [{"cpus": 2}]},
    ],
)
def test_what_else_the_grid_says_changes_no_run(change: dict[str, Any]) -> None:
    before, after = plan_of(STUDY), plan_of({**STUDY, **change})
    assert set(before.runs) <= set(after.runs)
    for run_id, run in before.runs.items():
        assert after.runs[run_id].config == run.config


def test_the_points_are_multiplied_with_all_other_axes() -> None:
    axes = {**STUDY["axes"], "intermediate.learning_rate": [1e-5, 2e-5], "mlm": [False, True]}
    before, after = plan_of(STUDY), plan_of({**STUDY, "axes": axes})
    assert len({row for row, _ in after.cells}) == 4 * len({row for row, _ in before.cells})


def test_axes_and_points_stand_side_by_side() -> None:
    axes = {**STUDY["axes"], "intermediate": ["none", ["qqp", "mnli"]], "regime": ["sequential"]}
    found = rows(plan_of({**STUDY, "axes": axes}))
    assert found == rows(plan_of(STUDY)) | {("none", ()), ("sequential", ("qqp", "mnli"))}


def test_include_and_exclude_apply() -> None:
    fewer = plan_of({**STUDY, "exclude": [{"regime": "sequential"}]})
    assert {mode for mode, _ in rows(fewer)} == {"single", "multitask"}
    draw = sorted(draw_order(Scale(**SCALE), "xtreme", 1)[:2])
    without = plan_of({**STUDY, "exclude": [{"intermediate": [draw], "regime": "multitask"}]})
    assert rows(plan_of(STUDY)) - rows(without) == {("multitask", tuple(draw))}
    more = plan_of({**STUDY, "include": [{"seed": 7, "regime": "multitask"}]})
    seventh = {(row.mode, row.tasks) for (row, _), seeds in more.cells.items() if 7 in seeds}
    assert seventh == {row for row in rows(plan_of(STUDY)) if row[0] != "sequential"}
    alone = plan_of({**STUDY, "include": [{"seed": 7, "intermediate": "none"}]})
    assert {row.mode for (row, _), seeds in alone.cells.items() if 7 in seeds} == {"none"}


def test_a_zip_group_runs_along() -> None:
    group = [{"seed": [1, 2], "target.epochs": [1, 3]}]
    found = expand(Grid(**{**STUDY, "axes": {"model": ["m"], "target": ["xnli"]}, "zip": group}))
    assert {(c.seed, dict(c.overrides)["target.epochs"]) for c in found} == {(1, 1), (2, 3)}


def test_fixed_steps_are_shared_out_and_share_no_prefix() -> None:
    scale = {"counts": [1, 2, 3], "draws": 1, "budget": {"fixed_steps": 100}}
    plan = plan_of({**STUDY, "scale": scale, "axes": {**STUDY["axes"], "seed": [1]}})
    trained = [run for run in plan.runs.values() if run.stage == "intermediate"]
    found = sorted((run.slug.count("-then-") + run.slug.count("+") * 10, run.config["updates"]) for run in trained)
    # one task; the phases of two tasks; of three; then the mixtures of two and three
    assert found == [(0, 34), (0, 50), (0, 100), (1, 33), (1, 50), (2, 33), (10, 100), (20, 100)]
    variants = {(row.mode, row.variant) for row, _ in plan.cells}
    assert {variant for _, variant in variants} == {"intermediate.updates=100"}
    (last,) = [run for run in trained if run.slug.count("-then-") == 2]
    second = plan.runs[last.parents[0]]
    first = plan.runs[second.parents[0]]
    assert [run.config["updates"] for run in (first, second, last)] == [34, 33, 33]
    assert second.infra["label"]["variant"] == "intermediate.updates=67"
    assert first.infra["label"] == {**first.infra["label"], "variant": "intermediate.updates=34", "draw": 1}


def test_a_prefix_of_fixed_steps_is_the_run_of_a_shorter_sequence() -> None:
    """So what two grids label alike is one run."""
    axes = {"intermediate": [["mnli", "squad1", "csqa"]], "regime": "sequential", "intermediate.updates": [11]}
    long = plan_of(small(axes=axes))
    short = plan_of(small(axes={**axes, "intermediate": [["mnli", "squad1"]], "intermediate.updates": [8]}))
    alone = plan_of(small(axes={**axes, "intermediate": [["mnli"]], "intermediate.updates": [4]}))
    assert intermediates(alone) < intermediates(short) < intermediates(long)


def test_fewer_updates_than_phases_are_refused() -> None:
    axes = {"intermediate": [["mnli", "squad1", "csqa"]], "regime": "sequential", "intermediate.updates": [2]}
    with pytest.raises(UserError, match="2 for the 3 tasks of mnli-then-squad1-then-csqa; every phase needs one"):
        plan_of(small(axes=axes))


def test_a_run_knows_the_draw_that_its_set_is_from() -> None:
    plan = plan_of(STUDY)
    orders = [draw_order(Scale(**SCALE), "xtreme", draw) for draw in (1, 2)]
    for run in plan.runs.values():
        if "label" in run.infra:
            tasks = set(run.infra["label"]["intermediate"]["tasks"])
            owners = [n for n, order in enumerate(orders, 1) for k in (1, 2, 3, 9) if set(order[:k]) == tasks]
            assert run.infra["label"]["draw"] == (owners[0] if len(owners) == 1 else None)
    whole = [run for run in plan.runs.values() if run.slug.startswith("9-tasks")]
    assert {run.infra["label"]["draw"] for run in whole} == {None}
    assert {run.infra["label"]["draw"] for run in plan.runs.values() if "label" in run.infra} == {1, 2, None}
    assert {run.infra["label"]["draw"] for run in plan_of(small()).runs.values() if "label" in run.infra} == {None}


@given(scales())
def test_draws_of_sets_by_counting(scale: Scale) -> None:
    owners: dict[frozenset[str], set[int]] = {}
    for draw, count in itertools.product(range(1, scale.draws + 1), scale.counts):
        owners.setdefault(frozenset(draw_order(scale, "xtreme", draw)[:count]), set()).add(draw)
    expected = {tasks: min(draws) if len(draws) == 1 else None for tasks, draws in owners.items()}
    assert find_draws(scale, "xtreme") == expected


# ---- what is refused

TEXT = """\
name: g
axes: {model: m, target: xnli, seed: 1}
scale:
  counts: [1, 2]
  draws: 2
"""


def test_the_example_is_good() -> None:
    assert problems_of(TEXT) == []


@pytest.mark.parametrize(
    ("scale", "problem"),
    [
        ("counts: [1, 10]", "4: scale.counts: 10 tasks of a pool of 9; give 9 at most"),
        ("counts: [2, 1, 2]", "4: scale.counts gives 2 2 times; give it once"),
        ("counts: []", "4: 'scale.counts' is []: list should have at least 1 item"),
        ("counts: [0]", "4: 'scale.counts.0' is 0: input should be greater than or equal to 1"),
        ("counts: [1.0]", "4: 'scale.counts.0' is 1.0: input should be a valid integer"),
        ("counts: 3", "4: 'scale.counts' is 3: input should be a valid list"),
        ("draws: 0", "5: 'scale.draws' is 0: input should be greater than or equal to 1"),
        ("orders: 0", "6: 'scale.orders' is 0: input should be greater than or equal to 1"),
        ("seed: -1", "6: 'scale.seed' is -1: input should be greater than or equal to 0"),
        ("tasks: [mnli, mnly]", "6: unknown intermediate task 'mnly' for suite xtreme; legal: anli, "),
        ("tasks: [mnli]", "4: scale.counts: 2 tasks of a pool of 1; give 1 at most"),
        ("tasks: [mnli, qqp, mnli]", "6: scale.tasks gives 'mnli' 2 times; give it once"),
        ("regimes: [both]", "6: unknown 'both' for '0'; legal: multitask, sequential"),
        ("regimes: []", "6: 'scale.regimes' is []: list should have at least 1 item"),
        ("budget: steps", "6: 'scale.budget' is 'steps': give epochs, or {fixed_steps: N} for N updates in all"),
        ("budget: {fixed_steps: 0}", "6: 'scale.budget' is {'fixed_steps': 0}: give epochs, or {fixed_steps: N}"),
        ("budget: {fixed_steps: true}", "6: 'scale.budget' is {'fixed_steps': True}: give epochs, or "),
        ("budget: {fixed_steps: 1}", "6: 1 updates for a sequence of 2 tasks; every phase needs one at least"),
        ("colour: red", "6: unknown key 'colour'; legal: budget, counts, "),
    ],
)
def test_one_mistake_gives_its_own_message(scale: str, problem: str) -> None:
    key = scale.partition(":")[0]
    lines = TEXT.splitlines()
    places = [number for number, line in enumerate(lines) if line.strip().startswith(f"{key}:")]
    if places:
        lines[places[0]] = f"  {scale}"
    else:
        lines.append(f"  {scale}")
    found = problems_of("\n".join(lines) + "\n")
    assert len(found) == 1, found
    assert found[0].startswith(problem), found


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"axes": {"regime": ["sequential"]}}, "axis 'regime' belongs to axis 'intermediate'; the scale block has `re"),
        (
            {"zip": [{"intermediate": ["mnli"], "target.epochs": [3]}]},
            "axis 'intermediate' cannot stand in a zip group",
        ),
        (
            {"axes": {"intermediate.updates": [5]}, "scale": {"budget": {"fixed_steps": 9}}},
            "axis 'intermediate.updates",
        ),
        ({"include": [{"intermediate.updates": 5}], "scale": {"budget": {"fixed_steps": 9}}}, "axis 'intermediate.u"),
    ],
)
def test_axes_that_the_block_takes_over_are_refused(more: dict[str, Any], problem: str) -> None:
    grid = yaml.safe_load(TEXT)
    for key in ("axes", "scale"):
        grid[key] |= more.pop(key, {})
    (found,) = problems_of(yaml.safe_dump({**grid, **more}))
    assert found.partition(": ")[2].startswith(problem)


def test_the_toy_suite_has_its_own_pool() -> None:
    toy = TEXT + "suite: toy\n"
    assert problems_of(toy) == []
    assert problems_of(toy.replace("[1, 2]", "[1, 4]")) == ["4: scale.counts: 4 tasks of a pool of 3; give 3 at most"]
