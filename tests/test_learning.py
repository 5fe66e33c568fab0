"""The quickstart's model really learns, transfers to languages it was never trained on, and only from true labels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.campaigns import ROOT, Study, merge

CHANCE = 100 / 3  # three labels, three endings


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A corner of the quickstart with its own settings: one seed, NLI as target, true and shuffled labels; and one
    intermediate training."""
    quickstart = yaml.safe_load((ROOT / "launch" / "grids" / "quickstart.yaml").read_text())
    corner = {"intermediate": ["none"], "target": ["xnli"], "seed": [1]}
    axes = {**quickstart["axes"], **corner, "target.shuffle_labels": [False, True]}
    beside = [{"intermediate": "hellaswag", "target": "tatoeba", "target.shuffle_labels": False}]
    study = Study(
        tmp_path_factory.mktemp("learning"),
        {**merge(quickstart, {"name": "learning"}), "axes": axes, "include": beside},
        ("--executor", "local"),
    )
    study.launch("--workers", "3", timeout_s=900)  # its three trainings at once
    return study


def scores(study: Study, shuffled: bool) -> Iterator[dict[str, Any]]:
    """Test-set records of the runs without intermediate training."""
    for path in study.root.glob("target-xnli-none-*/metrics/xnli.test.*.json"):
        run = json.loads((path.parents[1] / "run.json").read_text())
        if run["config"].get("shuffle_labels", False) == shuffled:
            yield json.loads(path.read_text())


def margin(examples: int) -> float:
    """Three standard errors of an accuracy at chance, in points."""
    assert examples >= 200
    return 3 * 100 * math.sqrt((1 / 3) * (2 / 3) / examples)


def test_english_is_far_above_chance(study: Study) -> None:
    english = {record["language"]: record["metrics"]["accuracy"] for record in scores(study, shuffled=False)}["en"]
    assert english >= CHANCE + 15
    (choice,) = study.root.glob("intermediate-hellaswag-*/metrics/hellaswag.dev.en.json")
    assert json.loads(choice.read_text())["metrics"]["accuracy"] >= CHANCE + 15


def test_a_language_never_trained_on_is_above_chance(study: Study) -> None:
    above = {
        record["language"]: record["metrics"]["accuracy"] - CHANCE - margin(record["examples"])
        for record in scores(study, shuffled=False)
        if record["language"] != "en"
    }
    assert set(above) == {"qaa", "qab", "qac"}
    assert max(above.values()) > 0, above


def test_with_shuffled_training_labels_everything_falls_to_chance(study: Study) -> None:
    records = list(scores(study, shuffled=True))
    assert len(records) == 4
    for record in records:
        assert abs(record["metrics"]["accuracy"] - CHANCE) <= margin(record["examples"]), record["language"]


def test_the_control_stands_in_a_row_of_its_own(study: Study, tmp_path: Path) -> None:
    told = study.tables(tmp_path).stdout
    assert "shuffle_labels=true" in told
