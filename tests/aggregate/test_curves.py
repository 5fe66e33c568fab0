"""Curves whose points a scale block marks. Figures worked out by hand; resolved grids written from their contract."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from aggregate.scores.curves import Draw, list_draws
from aggregate.study import read_study
from aggregate.tables import main
from tests.aggregate.scale_tree import (
    SCORES,
    keep,
    places,
    resolved,
    row_of,
    write_scores,
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    for name, score in SCORES.items():
        write_scores(folder, name, score)
    return folder


def read(results: Path) -> list[dict[str, str]]:
    out = results.parent / "out"
    assert main(["--results", str(results), "--out", str(out)]) == 0
    with (out / "scaling.csv").open() as file:
        return list(csv.DictReader(file))


def scores(lines: Iterable[dict[str, str]]) -> dict[tuple[str, int], tuple[float, str, str, str]]:
    return {
        (line["curve"], int(line["tasks"])): (float(line["xnli"]), line["draws"], line["sets"], line["rows"])
        for line in lines
    }


EXPECTED = {
    ("multitask", 1): (2.0, "3", "2", "2"),  # (1 + 1 + 4) / 3: mnli twice, qqp not at all
    ("multitask", 2): (11.0, "3", "2", "2"),  # (10 + 13 + 10) / 3
    ("multitask", 3): (20.0, "3", "1", "1"),
    ("sequential", 1): (2.0, "3", "2", "2"),
    ("sequential", 2): (pytest.approx(13 / 3), "3", "2", "4"),  # (2 + 4) / 2, (5 + 9) / 2, (4 + 2) / 2
    ("sequential", 3): (13.0, "3", "1", "3"),  # (11 + 12 + 16) / 3
}


def test_the_points_are_those_that_the_grid_marks(results: Path) -> None:
    keep(results, resolved(places()))
    assert scores(read(results)) == EXPECTED
    told = (results.parent / "out" / "scaling.md").read_text()
    assert "A point is the mean over draws" in told
    assert "Draws of csqa, mnli, qqp (seed 0); baseline xlm-roberta-large" in told
    assert "| 1 task, 3 draws (2 sets) |" in told
    assert "every row" not in told


def test_a_grid_that_ran_before_marks_its_points_too(results: Path) -> None:
    """The table is of the grid that ran last, whose rows are shown with all others that have results."""
    keep(results, {"rows": [row_of("none")]}, name="a")
    keep(results, resolved(places()), name="z", newest=False)
    assert scores(read(results)) == EXPECTED


def test_a_curve_of_the_table_s_grid_has_its_points_alone(results: Path) -> None:
    keep(results, resolved(places()), name="older", newest=False)
    keep(results, resolved(places(draws=(1, 2))))
    assert scores(read(results))["multitask", 2] == (11.5, "2", "2", "2")


def test_draws_of_two_grids_that_are_the_same_count_once(results: Path) -> None:
    keep(results, {"rows": []})
    keep(results, resolved(places(draws=(1, 2))), name="b", newest=False)
    keep(results, resolved(places(draws=(2, 3))), name="c", newest=False)
    assert scores(read(results)) == EXPECTED


def test_draws_of_another_seed_or_pool_are_another_curve(results: Path) -> None:
    keep(results, resolved(places(draws=(1, 2))))
    keep(results, resolved(places(draws=(3,)), seed=5), name="seed", newest=False)
    lines = read(results)
    assert scores(line for line in lines if line["seed"] == "5")["multitask", 1] == (4.0, "1", "1", "1")
    assert scores(line for line in lines if line["seed"] == "0")["multitask", 1] == (1.0, "2", "1", "1")
    assert {line["pool"] for line in lines} == {"csqa+mnli+qqp"}
    assert "csqa, mnli, qqp (seed 5)" in (results.parent / "out" / "scaling.md").read_text()


def test_a_marked_row_without_results_is_a_gap(tmp_path: Path) -> None:
    """Also where the row is of another grid, so that the main table does not show it."""
    results = tmp_path / "runs"
    for name, score in SCORES.items():
        if name != "sequential mnli qqp csqa":
            write_scores(results, name, score)
    keep(results, {"rows": []})
    keep(results, resolved(places()), name="other", newest=False)
    found = {(line["curve"], line["tasks"]): line for line in read(results)}
    gap = found.pop(("sequential", "3"))
    assert (gap["xnli"], gap["draws"], gap["rows"]) == ("", "3", "3")
    assert scores(found.values()) == {place: value for place, value in EXPECTED.items() if place != ("sequential", 3)}


def test_a_curve_of_another_grid_without_any_result_is_not_shown(results: Path) -> None:
    keep(results, resolved(places()))
    elsewhere = resolved(places(), variant="intermediate.updates=9", seed=3)
    for row in elsewhere["rows"]:
        row["variant"] = "intermediate.updates=9"
    keep(results, elsewhere, name="planned", newest=False)
    assert {line["seed"] for line in read(results)} == {"0"}


def test_a_single_task_begins_the_curve_with_replay(results: Path) -> None:
    replay = "intermediate.replay=0.2"
    keep(results, resolved(places(), variant=replay))
    for name in SCORES:
        if name.startswith("sequential"):
            write_scores(results, name, 90.0, variant=replay)
    lines = [line for line in read(results) if line["curve"] == "sequential"]
    assert {line["variant"] for line in lines} == {replay}
    assert [(line["tasks"], line["xnli"]) for line in lines] == [("1", "2.0"), ("2", "40.0"), ("3", "40.0")]


def test_the_digest_of_the_inputs_knows_the_marks(results: Path) -> None:
    keep(results, resolved(places()))
    first = read_study(results).digest
    assert read_study(results).digest == first
    keep(results, resolved(places(draws=(1, 2))))
    assert read_study(results).digest != first


def draws_of(results: Path) -> dict[tuple[str, int, int | tuple[str, ...]], Draw]:
    found = list_draws(read_study(results).points)
    return {(curve.regime, count, name): draw for (curve, count, name), draw in found.items()}


def test_values_by_draw_and_seed_for_pairing(results: Path) -> None:
    keep(results, resolved(places()))
    write_scores(results, "multitask csqa mnli qqp", 71.0, seeds=[3])
    found = draws_of(results)
    assert {name for _, _, name in found} == {1, 2, 3}
    mixed, in_turn = found["multitask", 2, 2], found["sequential", 2, 2]
    assert (mixed.values["xnli"], in_turn.values["xnli"]) == (13.0, 7.0)
    assert {seed: values["xnli"] for seed, values in in_turn.by_seed.items()} == {1: 7.0, 2: 7.0}
    assert in_turn.values["pawsx"] is None
    assert all(values["pawsx"] is None for values in in_turn.by_seed.values())
    whole = {name: found["multitask", 3, name] for name in (1, 2, 3)}
    assert whole[1].keys == whole[3].keys and whole[1].values == whole[2].values
    difference = fmean(
        (found["multitask", 3, name].values["xnli"] or 0) - (found["sequential", 3, name].values["xnli"] or 0)
        for name in (1, 2, 3)
    )
    assert difference == pytest.approx(20 - 13)


def test_a_seed_that_one_order_lacks_has_no_value(results: Path) -> None:
    keep(results, resolved(places()))
    write_scores(results, "none", 50.0, seeds=[3])
    write_scores(results, "sequential mnli csqa", 58.0, seeds=[3])
    draw = draws_of(results)["sequential", 2, 1]
    assert {seed: values["xnli"] for seed, values in draw.by_seed.items()} == {1: 3.0, 2: 3.0, 3: None}


def test_without_marks_sets_take_the_place_of_draws(results: Path) -> None:
    found = draws_of(results)
    both = ("csqa", "mnli")
    assert found["multitask", 2, both].values["xnli"] == 10.0
    assert found["sequential", 2, both].values["xnli"] == 3.0
    assert len(found["sequential", 2, both].rows) == 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"row": 99}, "expected.scale.points.0.row: 99, but there are 15 rows, counted from 0"),
        ({"row": 0}, "expected.scale.points.0: 1 tasks, but row 0 has another number"),
        ({"regime": "both"}, "expected.scale.points.0.regime"),
        ({"colour": 1}, "expected.scale.points.0.colour: unknown key"),
    ],
)
def test_marks_that_name_no_such_row_are_refused(
    results: Path, change: dict[str, Any], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = resolved(places())
    expected["scale"]["points"][0] |= change
    keep(results, expected)
    assert main(["--results", str(results), "--out", str(results.parent / "out")]) == 2
    assert problem in capsys.readouterr().err
