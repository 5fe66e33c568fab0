"""The resolved grid marks which rows are points of the scaling curves."""

from __future__ import annotations

from typing import Any

from launch.campaign import expected_cells
from launch.scale import Scale, draw_order, find_orders
from stilts.tasks.catalogue import INTERMEDIATES
from tests.launch.small import plan_of, small

SCALE: dict[str, Any] = {"counts": [1, 2, 9], "draws": 3, "orders": 2}
AXES = {"target": ["xnli", "tatoeba"], "seed": [1, 2]}
STUDY = small(axes={**AXES, "intermediate": ["none", "each", ["mnli", "qqp"]]}, scale=SCALE)

Point = tuple[int, int, str, int]  # count, draw, regime, order


def points_of(grid: dict[str, Any]) -> dict[tuple[Point, str], dict[str, Any]]:
    """The row of each point and variant of a curve."""
    expected = expected_cells(plan_of(grid))
    found: dict[tuple[Point, str], dict[str, Any]] = {}
    for mark in expected["scale"]["points"]:
        place = (mark["count"], mark["draw"], mark["regime"], mark["order"])
        assert (place, mark["variant"]) not in found
        found[place, mark["variant"]] = expected["rows"][mark["row"]]
    return found


def wanted(scale: dict[str, Any]) -> dict[Point, tuple[str, tuple[str, ...]]]:
    """Mode and tasks of each point, from the definition of a draw."""
    model = Scale(**scale)
    points: dict[Point, tuple[str, tuple[str, ...]]] = {}
    for draw in range(1, model.draws + 1):
        for count in model.counts:
            tasks = draw_order(model, "xtreme", draw)[:count]
            single = count == 1
            points[count, draw, "multitask", 1] = ("single" if single else "multitask", tuple(sorted(tasks)))
            for number, order in enumerate(find_orders(model, draw, tasks), 1):
                points[count, draw, "sequential", number] = ("single" if single else "sequential", order)
    return points


def test_every_point_names_its_row_and_no_other_row_is_a_point() -> None:
    found = points_of(STUDY)
    assert {place: (row["mode"], tuple(row["tasks"])) for (place, _), row in found.items()} == wanted(SCALE)
    singles = {row["tasks"][0] for (place, _), row in found.items() if place[0] == 1}
    assert len(singles) == 3 < len(INTERMEDIATES), "the axis has all nine, the draws three"
    whole = [row for (place, _), row in found.items() if place[0] == 9 and place[2] == "multitask"]
    assert len(whole) == 3 and whole[0] == whole[1] == whole[2]
    marks = expected_cells(plan_of(STUDY))["scale"]
    assert (marks["pool"], marks["seed"]) == (sorted(INTERMEDIATES), 0)
    assert {variant for _, variant in found} == {""}


def test_a_row_of_the_same_tasks_with_other_settings_is_no_point() -> None:
    first = draw_order(Scale(**SCALE), "xtreme", 1)[0]
    more = {"intermediate": first, "intermediate.learning_rate": 5e-5}
    assert points_of({**STUDY, "include": [more]}) == points_of(STUDY)


def test_other_axes_give_curves_of_their_own() -> None:
    found = points_of({**STUDY, "axes": {**STUDY["axes"], "intermediate.learning_rate": [1e-5, 5e-5]}})
    rate = "intermediate.learning_rate=5e-05"
    assert {variant for _, variant in found} == {"intermediate.learning_rate=1e-05", rate}
    assert len(found) == 2 * len(points_of(STUDY))
    assert all(row["variant"] == variant for (_, variant), row in found.items())


def test_what_is_excluded_is_no_point() -> None:
    fewer = points_of({**STUDY, "exclude": [{"regime": "sequential"}]})
    assert {place[2] for place, _ in fewer} == {"multitask"}
    draw = sorted(draw_order(Scale(**SCALE), "xtreme", 2)[:2])
    without = points_of({**STUDY, "exclude": [{"intermediate": [draw], "regime": "multitask"}]})
    assert set(points_of(STUDY)) - set(without) == {((2, 2, "multitask", 1), "")}


def test_a_single_task_begins_the_curve_of_every_replay_and_sampling() -> None:
    axes = {**AXES, "intermediate": None, "intermediate.replay": [0.0, 0.1], "intermediate.sampling.cap": [131072, 9]}
    replay, capped = "intermediate.replay=0.1", "intermediate.sampling.cap=9"
    found = points_of(small(axes=axes, scale=SCALE))
    curves = {(place[2], variant) for place, variant in found}
    assert curves == {("multitask", ""), ("multitask", capped), ("sequential", ""), ("sequential", replay)}
    for regime, variant in curves:
        mine = {place: row for (place, other), row in found.items() if (place[2], other) == (regime, variant)}
        assert set(mine) == {place for place in wanted(SCALE) if place[2] == regime}
        assert {row["variant"] for place, row in mine.items() if place[0] > 1} == {variant}
        assert {row["variant"] for place, row in mine.items() if place[0] == 1} == {""}


def test_settings_of_mixing_are_none_of_rows_that_mix_nothing() -> None:
    axes = {"intermediate": ["mnli", ["qqp", "mnli"]], "mlm": [False, True], "regime": ["multitask", "sequential"]}
    rule = {"sampling": {"rule": "uniform"}}
    rows = {row for row, _ in plan_of(small(axes=axes, intermediate=rule)).cells}
    assert {(row.mode, row.mlm): row.variant for row in rows} == {
        ("single", False): "",
        ("single", True): "intermediate.sampling.rule=uniform",
        ("multitask", False): "intermediate.sampling.rule=uniform",
        ("multitask", True): "intermediate.sampling.rule=uniform",
        ("sequential", False): "",
        ("sequential", True): "intermediate.sampling.rule=uniform",
    }


def test_without_a_scale_block_nothing_is_marked() -> None:
    assert "scale" not in expected_cells(plan_of(small(axes={"intermediate": ["none", "each"]})))
