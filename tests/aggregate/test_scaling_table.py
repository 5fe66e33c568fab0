"""The scaling table without a scale block: which rows are on a curve, and how they are averaged. Figures worked out
by hand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from stilts.runs import write_json
from tests.aggregate.metric_tree import write_task


def made(mode: str, *tasks: str, mlm: bool = False, translated: bool = False) -> dict[str, Any]:
    return {"mode": mode, "tasks": list(tasks), "mlm": mlm, "translated": translated}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """XNLI is 50 without intermediate training; a set has one or two orders; two seeds."""
    folder = tmp_path / "results"
    rows = [
        (made("none"), 50.0),
        (made("single", "mnli"), 52.0),
        (made("single", "csqa"), 54.0),
        (made("multitask", "csqa", "mnli"), 60.0),
        (made("sequential", "csqa", "mnli"), 56.0),
        (made("sequential", "mnli", "csqa"), 58.0),
        (made("sequential", "mnli", "qqp"), 50.0),
        (made("multitask", "csqa", "mnli", mlm=True), 99.0),
        (made("multitask", "csqa", "mnli", translated=True), 1.0),
    ]
    for intermediate, score in rows:
        for seed in (1, 2):
            write_task(folder, "xnli", score + seed, intermediate=intermediate, seed=seed)
    return folder


def read(results: Path, out: Path) -> list[dict[str, str]]:
    assert main(["--results", str(results), "--out", str(out)]) == 0
    with (out / "scaling.csv").open() as file:
        return list(csv.DictReader(file))


def test_orders_are_averaged_before_sets(results: Path, tmp_path: Path) -> None:
    points = {(line["curve"], line["tasks"]): line for line in read(results, tmp_path / "out")}
    assert {place: line["xnli"] for place, line in points.items()} == {
        ("multitask", "1"): "3.0",  # (2 + 4) / 2: single tasks are on both curves
        ("multitask", "2"): "10.0",
        ("sequential", "1"): "3.0",
        ("sequential", "2"): "3.5",  # ((6 + 8) / 2 + 0) / 2, not (6 + 8 + 0) / 3
    }
    assert points["sequential", "2"]["sets"] == "2"
    assert points["sequential", "2"]["rows"] == "3"
    assert points["multitask", "2"]["avg"] == ""
    assert points["multitask", "2"]["avg_partial"] == "10.0"
    told = (tmp_path / "out" / "scaling.md").read_text()
    assert "+3.5" in told
    assert "marks the points of a scale block: every row with k tasks is taken as a point of k" in told
    assert {(line["draws"], line["pool"], line["seed"]) for line in points.values()} == {("", "", "")}


def test_a_grid_without_a_scale_block_marks_nothing(results: Path, tmp_path: Path) -> None:
    before = read(results, tmp_path / "out")
    write_json(results / "campaign" / "grids" / "g.json", {"expected": {"seeds": [1, 2]}})
    assert read(results, tmp_path / "again") == before


def test_a_single_task_begins_a_curve_with_replay_or_another_sampling(results: Path, tmp_path: Path) -> None:
    """Its own settings need not say so, and its files may say what the runs it shares were first labelled with."""
    replay, capped, rate = "intermediate.replay=0.2", "intermediate.sampling.cap=7", "intermediate.learning_rate=0.1"
    rows = [
        (made("sequential", "mnli", "csqa"), 80.0, replay),
        (made("multitask", "mnli", "csqa"), 70.0, capped),
        (made("sequential", "csqa", "mnli"), 90.0, f"{rate}; {replay}"),
        (made("single", "qqp"), 57.0, rate),
        (made("single", "ccg"), 65.0, f"{capped}; {rate}"),
    ]
    for intermediate, score, variant in rows:
        for seed in (1, 2):
            write_task(results, "xnli", score + seed, intermediate=intermediate, seed=seed, variant=variant)
    found = [line for line in read(results, tmp_path / "out") if line["variant"]]
    assert {(line["variant"], line["curve"], line["tasks"]): (line["xnli"], line["rows"]) for line in found} == {
        (replay, "sequential", "1"): ("3.0", "2"),
        (replay, "sequential", "2"): ("30.0", "1"),
        (capped, "multitask", "1"): ("3.0", "2"),
        (capped, "multitask", "2"): ("20.0", "1"),
        (f"{rate}; {replay}", "sequential", "1"): ("11.0", "2"),  # (7 + 15) / 2: not those of another rate
        (f"{rate}; {replay}", "sequential", "2"): ("40.0", "1"),
    }


def test_a_point_with_a_row_that_lacks_its_score_is_a_gap(results: Path, tmp_path: Path) -> None:
    write_task(results, "xnli", 70.0, languages=["de"], intermediate=made("multitask", "mnli", "qqp"), seed=1)
    points = {(line["curve"], line["tasks"]): line for line in read(results, tmp_path / "out")}
    assert points["multitask", "2"]["xnli"] == ""
    assert points["multitask", "2"]["sets"] == "2"
    assert points["sequential", "2"]["xnli"] == "3.5"


def test_without_two_counts_there_is_no_curve(tmp_path: Path) -> None:
    folder = tmp_path / "results"
    for intermediate in (made("none"), made("single", "mnli"), made("single", "csqa")):
        write_task(folder, "xnli", 50.0, intermediate=intermediate)
    assert main(["--results", str(folder), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "scaling.csv").exists()
