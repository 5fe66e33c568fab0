"""The scaling question in small, from one grid block to the scaling table, on this machine."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from launch.scale import Scale, draw_order, find_orders
from stilts.tasks.catalogue import TOY_LANGUAGES
from tests.support.campaigns import TINY_TOY, Study, merge

GRID = merge(
    TINY_TOY,
    {
        "name": "scaling",
        "axes": {"intermediate": ["none", "each"], "seed": [1, 2]},  # both draws begin with the same task
        "scale": {"counts": [1, 2, 3], "draws": 2, "orders": 2},
        "toy": {"sizes": {"train": 64, "dev": 24, "test": 12}},
        "intermediate": {"selection": {"points": 2, "examples": 20}},
        "target": {"selection": {"points": 2, "examples": 20}, "epochs": 1},
    },
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study after it has run to its end."""
    study = Study(tmp_path_factory.mktemp("scaling"), GRID, ("--executor", "local"))
    study.launch()
    return study


@pytest.fixture(scope="module")
def points(study: Study, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The lines of the scaling table."""
    out = tmp_path_factory.mktemp("tables")
    study.tables(out)
    assert "multitask" in (out / "scaling.md").read_text()
    with (out / "scaling.csv").open() as file:
        return list(csv.DictReader(file))


def read_metrics(study: Study) -> list[dict[str, Any]]:
    """Every metric file of targets, read the plain way."""
    found = [json.loads(path.read_text()) for path in study.root.glob("*/metrics/*.json")]
    return [record for record in found if record.get("stage", "target") == "target"]


def test_everything_is_done_and_prefixes_are_shared(study: Study) -> None:
    assert set(study.states().values()) == {"done"}
    plan = study.plan()
    rows = {(record["intermediate"]["mode"], tuple(record["intermediate"]["tasks"])) for record in read_metrics(study)}
    sets = {mode: {frozenset(tasks) for m, tasks in rows if m == mode} for mode in ("multitask", "sequential")}
    assert sets["multitask"] == sets["sequential"], "the same sets on both curves"
    whole = max(sets["multitask"], key=len)
    assert len(whole) == 3
    trained = [run for run in plan["runs"] if run["stage"] == "intermediate"]
    phases = {tasks[:length] for mode, tasks in rows if mode != "multitask" for length in range(1, len(tasks) + 1)}
    mixtures = {tasks for mode, tasks in rows if mode == "multitask"}
    assert len(trained) == 2 * (len(phases) + len(mixtures))


def test_the_scaling_table_is_the_mean_over_draws_orders_and_seeds(study: Study, points: list[dict[str, str]]) -> None:
    """Computed again from the metric files and the definition of a draw; single tasks that begin none stay out."""
    scores: dict[tuple[str, tuple[str, ...]], dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for record in read_metrics(study):
        if record["target"] == "xnli" and record["split"] == "dev":
            made = record["intermediate"]
            languages = scores[made["mode"], tuple(made["tasks"])][record["seed"]]
            languages[record["language"]] = record["metrics"]["accuracy"]
    means = {
        row: {seed: fmean(values[language] for language in TOY_LANGUAGES) for seed, values in seeds.items()}
        for row, seeds in scores.items()
    }
    base = means.pop(("none", ()))
    gains = {row: fmean(seeds[seed] - base[seed] for seed in (1, 2)) for row, seeds in means.items()}
    assert [(point["curve"], point["tasks"]) for point in points] == [
        (curve, str(count)) for curve in ("multitask", "sequential") for count in (1, 2, 3)
    ]
    scale = Scale(**GRID["scale"])
    assert sum(mode == "single" for mode, _ in gains) == 3
    for point in points:
        of_draws, sets = [], set()
        for draw in (1, 2):
            tasks = draw_order(scale, "toy", draw)[: int(point["tasks"])]
            sets.add(frozenset(tasks))
            if point["curve"] == "multitask":
                orders, mode = [tuple(sorted(tasks))], "multitask"
            else:
                orders, mode = find_orders(scale, draw, tasks), "sequential"
            of_draws.append(fmean(gains["single" if len(tasks) == 1 else mode, order] for order in orders))
        assert (int(point["draws"]), int(point["sets"])) == (2, len(sets))
        assert float(point["xnli"]) == pytest.approx(fmean(of_draws))
    assert [point["sets"] for point in points] == ["1", "2", "1"] * 2


def test_the_draw_of_a_row_stands_in_its_metric_files(study: Study) -> None:
    draws = {record.get("draw") for record in read_metrics(study)}
    assert draws <= {None, 1, 2}
    whole = [record for record in read_metrics(study) if len(record["intermediate"]["tasks"]) == 3]
    assert all(record.get("draw") is None for record in whole), "the whole pool is of every draw"


def test_the_same_command_again_has_nothing_to_do(study: Study) -> None:
    assert "nothing" in study.launch().stdout.lower()


def test_the_grid_next_to_it_shares_what_it_can(study: Study, tmp_path: Path) -> None:
    """More counts and draws keep every run; another scale seed keeps the baseline and the data."""
    before = {run["id"] for run in study.plan()["runs"]}
    more = Study(tmp_path / "more", {**GRID, "scale": {**GRID["scale"], "draws": 3}}, study.options)
    assert before <= {run["id"] for run in more.plan()["runs"]}
