"""Records of runs that hold anything at all: the tables and the report are made, the scores beside them unchanged."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.report_tree import name_run, write_campaign

# What a disk, an editor or another tool may leave in place of a value.
ODD: tuple[Any, ...] = (None, 3, "x", [], [1, None], {}, {"a": []}, True, 1e308, "\u0000", -1)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("damaged") / "runs"
    write_campaign(results)
    return results


def list_records(results: Path) -> list[Path]:
    names = ("run.json", "DONE", "attempt.json", "outcome.json", "progress.json")
    return sorted(path for path in results.rglob("*") if path.name in names)


def damage(path: Path, odd: Any) -> None:
    """Every value of the record becomes `odd`, but for the schema, which says what it is."""
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: value if key == "schema" else odd for key, value in record.items()}))


def read_main(results: Path, out: Path) -> list[dict[str, str]]:
    assert main(["--results", str(results), "--out", str(out)]) == 0
    assert (out / "report.html").read_bytes()
    with open(out / "main.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", ["run.json", "attempt.json", "outcome.json", "progress.json"])
def test_no_record_beside_the_scores_changes_them(name: str, odd: Any, campaign: Path, tmp_path: Path) -> None:
    shutil.copytree(campaign, tmp_path / "runs")
    damaged = [path for path in list_records(tmp_path / "runs") if path.name == name]
    assert damaged
    for path in damaged:
        damage(path, odd)
    whole = read_main(campaign, tmp_path / "whole")
    assert read_main(tmp_path / "runs", tmp_path / "out") == whole


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_done_record_of_odd_values_leaves_the_neighbours_alone(odd: Any, campaign: Path, tmp_path: Path) -> None:
    """What a run was built on decides whether its scores count: here it cannot be known, or it is nothing."""
    shutil.copytree(campaign, tmp_path / "runs")
    damage(tmp_path / "runs" / name_run("mnli", 2) / "DONE", odd)
    whole, found = read_main(campaign, tmp_path / "whole"), read_main(tmp_path / "runs", tmp_path / "out")
    assert [line["row"] for line in found] == [line["row"] for line in whole]
    assert found[0] == whole[0]
    assert {line["row"]: line["xnli"] for line in found if "mnli" not in line["row"]} == {
        line["row"]: line["xnli"] for line in whole if "mnli" not in line["row"]
    }
