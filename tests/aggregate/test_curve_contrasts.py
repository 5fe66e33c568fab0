"""Claims about curves over the number of tasks against a plain recomputation."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, mean

import pytest

from tests.aggregate.claims_tree import (
    NINE,
    assert_estimate,
    check,
    keep_grid,
    made,
    same,
    write_gains,
)


@pytest.fixture
def baseline_seeds() -> int:
    return 3


def test_slope_is_over_seeds_without_marked_draws(results: Path) -> None:
    """Least squares on log2 k, by hand: k = 1, 2, 4 are 0, 1, 2 doublings, and the slope is (y4 - y1) / 2."""
    keep_grid(results, [])
    single = {1: 1.0, 2: 2.0, 3: 1.5}
    for task in NINE[:4]:
        write_gains(results, made("single", task), same(single))
    write_gains(results, made("multitask", *NINE[:2]), same({1: 8.0, 2: 9.0, 3: 7.0}))
    write_gains(results, made("multitask", *NINE[:4]), same({1: 5.0, 2: 4.0, 3: 9.5}))
    line = check(results, kind="slope", regime="multitask")
    assert_estimate(line, [(5 - 1) / 2, (4 - 2) / 2, (9.5 - 1.5) / 2])


def write_draws(results: Path, draws: dict[int, dict[tuple[int, str], list[float]]]) -> None:
    """Draws with gains by number of tasks and regime; tasks are never shared, but for the baseline."""
    rows, points = [made("none")], []
    for draw, places in draws.items():
        for (count, regime), values in places.items():
            tasks = NINE[draw : draw + count]
            if regime == "sequential":
                tasks = tasks[::-1]
            row = made(regime if count > 1 else "single", *tasks)
            if row not in rows:
                rows.append(row)
                write_gains(results, row, same(values))
            points.append({"count": count, "draw": draw, "regime": regime, "order": 1, "row": rows.index(row)})
    keep_grid(results, rows, scale={"pool": NINE, "seed": 0, "points": points})


DRAWS = {
    1: {(1, "multitask"): [1.0, 2.0], (2, "multitask"): [3.0, 3.5], (4, "multitask"): [4.0, 9.0]},
    2: {(1, "multitask"): [2.0, 2.5], (2, "multitask"): [2.0, 1.0], (4, "multitask"): [7.0, 8.0]},
    3: {(1, "multitask"): [0.0, 1.5], (2, "multitask"): [5.0, 4.0], (4, "multitask"): [6.0, 6.5]},
}
TURNS = {
    1: {(1, "sequential"): [1.0, 2.0], (2, "sequential"): [1.0, 1.5], (4, "sequential"): [3.0, 2.0]},
    2: {(1, "sequential"): [2.0, 2.5], (2, "sequential"): [2.5, 0.0], (4, "sequential"): [4.0, 3.0]},
    3: {(1, "sequential"): [0.0, 1.5], (2, "sequential"): [1.0, 2.0], (4, "sequential"): [2.0, 2.5]},
}


def test_slope_is_over_draws_that_the_grid_marks(results: Path) -> None:
    write_draws(results, DRAWS)
    slopes = [(mean(places[4, "multitask"]) - mean(places[1, "multitask"])) / 2 for places in DRAWS.values()]
    assert_estimate(check(results, kind="slope", regime="multitask", targets=["mlqa"]), slopes, "draw")


def test_table_and_claim_have_one_slope_where_a_seed_is_missing(results: Path) -> None:
    """A draw counts at the seeds that it has at all its numbers of tasks, in the table as in the claim."""
    write_draws(results, DRAWS)
    longest = made("multitask", *NINE[3:7])
    for path in results.glob("mlqa-*/*.json"):
        document = json.loads(path.read_text())
        if document["intermediate"] == longest and document["seed"] == 2:
            path.unlink()
    line = check(results, kind="slope", regime="multitask", targets=["mlqa"])
    slopes = [(mean(DRAWS[draw][4, "multitask"]) - mean(DRAWS[draw][1, "multitask"])) / 2 for draw in (1, 2)]
    assert_estimate(line, [*slopes, (6.0 - 0.0) / 2], "draw")
    with open(results.parent / "out" / "scaling_slopes.csv", newline="") as file:
        (row,) = (row for row in csv.DictReader(file) if row["column"] == "mlqa_f1")
    assert [float(row[name]) for name in ("slope", "sd", "low", "high")] == pytest.approx(
        [float(line[name]) for name in ("mean", "sd", "low", "high")]
    )


def test_slope_of_one_draw_is_over_its_seeds(results: Path) -> None:
    write_draws(results, {1: DRAWS[1]})
    line = check(results, kind="slope", regime="multitask")
    assert_estimate(line, [(4 - 1) / 2, (9 - 2) / 2])


def merge(draws: Sequence[int]) -> dict[int, dict[tuple[int, str], list[float]]]:
    return {draw: DRAWS[draw] | TURNS[draw] for draw in draws}


def differ(draw: int, seed: int) -> float:
    return fmean(DRAWS[draw][k, "multitask"][seed] - TURNS[draw][k, "sequential"][seed] for k in (2, 4))


def test_curves_are_compared_draw_by_draw_at_equal_counts(results: Path) -> None:
    write_draws(results, merge([1, 2, 3]))
    line = check(results, kind="curves", targets=["tydiqa"])
    assert_estimate(line, [fmean(differ(draw, seed) for seed in (0, 1)) for draw in (1, 2, 3)], "draw")


def test_curves_of_one_draw_are_compared_over_its_seeds(results: Path) -> None:
    write_draws(results, merge([2]))
    assert_estimate(check(results, kind="curves"), [differ(2, 0), differ(2, 1)], "seed")


def test_curves_pair_whatever_one_regime_says_about_mixing(results: Path) -> None:
    """Without marks each set of tasks is a unit; settings of sampling are the mixture's alone."""
    sets = [NINE[:2], NINE[2:4], NINE[4:7]]
    mixed, in_turn = [[4.0, 5.0], [6.0, 6.0], [3.0, 9.0]], [[1.0, 1.0], [2.0, 3.5], [2.5, 2.0]]
    for task in NINE:
        write_gains(results, made("single", task), same([0.0, 0.0]))
    for tasks, own, other in zip(sets, mixed, in_turn, strict=True):
        variant = "intermediate.sampling.rule=uniform"
        write_gains(results, made("multitask", *tasks), same(own), variant=variant)
        write_gains(results, made("sequential", *tasks), same(other))
    line = check(results, kind="curves")
    assert_estimate(line, [mean(own) - mean(other) for own, other in zip(mixed, in_turn, strict=True)], "set")


def test_a_draw_with_a_gap_is_left_out_and_named(results: Path) -> None:
    write_draws(results, merge([1, 2, 3]))
    longest = made("sequential", *NINE[3:7][::-1])
    for path in results.glob("tydiqa-*/*.json"):
        if json.loads(path.read_text())["intermediate"] == longest:
            path.unlink()
    line = check(results, kind="curves", targets=["tydiqa"])
    kept = [fmean(differ(draw, seed) for seed in (0, 1)) for draw in (1, 2)]
    assert_estimate(line, kept, "draw")
    name = " > ".join(longest["tasks"])
    assert f"draw 3 at 4 tasks (sequential): {name}: no results" in line["missing"].split("; ")


def test_a_marked_row_of_another_grid_without_results_is_a_gap(results: Path) -> None:
    write_draws(results, merge([1, 2]))
    campaign = results / "campaign"
    (campaign / "grids").mkdir()
    (campaign / "grid.json").rename(campaign / "grids" / "other.json")
    keep_grid(results, [])
    longest = made("multitask", *NINE[1:5])
    for path in results.glob("*-*/*.json"):
        if json.loads(path.read_text())["intermediate"] == longest:
            path.unlink()
    line = check(results, kind="slope", regime="multitask")
    assert (line["verdict"], line["n"], line["unit"]) == ("cannot tell", "1", "draw")
    assert line["missing"] == (
        "one draw: no interval over draws can be given; "
        f"draw 1 at 4 tasks (multitask): no row {'+'.join(sorted(longest['tasks']))}"
    )


def test_curves_of_settings_that_nobody_named_are_not_guessed(results: Path) -> None:
    faster, slower = "intermediate.updates=10", "intermediate.updates=90"
    for variant, gains in ((faster, [2.0, 4.0, 5.0]), (slower, [6.0, 7.0, 9.0])):
        write_gains(results, made("multitask", *NINE[:4]), same(gains), variant=variant)
        write_gains(results, made("multitask", *NINE[:2]), same([1.0, 1.0, 1.0]), variant=variant)
    line = check(results, kind="slope", regime="multitask")
    assert line["verdict"] == "cannot tell"
    assert line["missing"] == f"multitask curves with {faster} and {slower}: name one of these settings in the claim"
    named = check(results, kind="slope", regime="multitask", settings=[slower])
    assert_estimate(named, [5.0, 6.0, 8.0])


def test_settings_of_mixing_are_asked_of_their_own_regime(results: Path) -> None:
    uniform, replay = "intermediate.sampling.rule=uniform", "intermediate.replay=0.1"
    for variant, other, gains in (("", "", [1.0, 1.0, 1.0]), (uniform, replay, [5.0, 6.0, 8.0])):
        for tasks in (NINE[:2], NINE[:4]):
            write_gains(results, made("multitask", *tasks), same(gains), variant=variant)
            write_gains(results, made("sequential", *tasks), same([0.0, 2.0, 1.0]), variant=other)
    line = check(results, kind="curves", settings=[uniform, replay])
    assert (float(line["mean"]), line["n"], line["unit"]) == (pytest.approx(16 / 3), "2", "set")
