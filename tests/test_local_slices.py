"""Any encoder by path, every task family, the local pool: a BERT (token types, WordPiece, positions from 0) goes the
whole way on real slices, and is scored again without training when data, languages or labels come later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from stilts.tasks.catalogue import TARGETS
from tests.support.campaigns import Study
from tests.support.slices_root import LANGUAGES, build_root
from tests.support.tiny_bert import build_bert

MIXTURE = ["ccg", "csqa", "qqp", "squad2"]  # one task of each family that is trained
_TRAINING = {"precision": "fp32", "learning_rate": 1e-3, "epochs": 1, "max_length": 96, "max_examples": 48}


@pytest.fixture(scope="module")
def study(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Everything once; XNLI's test sets are there as XTREME gives them, without labels."""
    folder = tmp_path_factory.mktemp("slices")
    build_bert(data_root, folder / "tiny-bert")
    root = build_root(data_root, folder / "data")
    (root / "xnli").unlink()
    (root / "xnli").mkdir()
    (root / "xnli" / "xtreme").symlink_to(data_root / "xnli" / "xtreme")
    grid: dict[str, Any] = {
        "name": "by-path",
        "data_root": str(root),
        "languages": {**LANGUAGES, "xnli": ["de", "en"], "tatoeba": ["sw"]},
        # The model is relative to the grid's folder. MLQA is not named: its training is XQuAD's.
        "axes": {
            "model": "../tiny-bert",
            "intermediate": [MIXTURE],
            "target": [target for target in TARGETS if target != "mlqa"],
            "seed": [3],
        },
        "intermediate": _TRAINING,
        "target": _TRAINING,
        "retrieval": {"max_length": 96, "sweep": True},
    }
    study = Study(
        folder / "study", {**grid, "axes": {**grid["axes"], "model": "../tiny-bert"}}, ("--executor", "local")
    )
    study.launch("--prepare-only")
    assert {run["stage"] for run in study.status().values() if run["state"] == "done"} == {"fetch", "prepare"}
    study.launch()
    return study


def metrics_of(study: Study) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in study.root.glob("*/metrics/*.json")]


def test_a_bert_goes_the_whole_way_in_every_family(study: Study) -> None:
    assert set(study.states().values()) == {"done"}
    found = metrics_of(study)
    assert {record["target"] for record in found if record["stage"] == "target"} == set(TARGETS)
    assert {record["target"] for record in found if record["stage"] == "intermediate"} == set(MIXTURE)
    model = study.root / study.find("intermediate-") / "model"
    assert json.loads((model / "config.json").read_text())["model_type"] == "bert"


def test_a_sweep_scores_every_layer_and_the_default_one_counts(study: Study) -> None:
    found = [record for record in metrics_of(study) if record["target"] == "tatoeba"]
    assert {record["layer"] for record in found} == {None, 0, 1, 2}
    by_layer = {record["layer"]: record for record in found if record["language"] == "sw"}
    assert by_layer[None]["provenance"]["layer"] == 1  # 14/24 of two layers
    assert by_layer[None]["metrics"] == by_layer[1]["metrics"]


def test_blanked_labels_are_predicted_and_never_scored(study: Study) -> None:
    folder = study.root / study.find("target-xnli-")
    assert not list((folder / "metrics").glob("xnli.test.de.json"))
    table = pq.read_table(folder / "predictions" / "xnli.test.parquet")
    assert set(table["language"].to_pylist()) == {"de"}
    assert table["label"].null_count == len(table) == table["correct"].null_count
    assert table["prediction"].null_count == 0


def test_metric_files_say_what_data_they_stand_on(study: Study) -> None:
    for record in metrics_of(study):
        data = record["provenance"]["data"]
        assert json.loads((study.root / data["run"] / "DONE").read_text())["output"] == data["digest"]


def test_the_data_report_has_every_set_with_its_checksum(study: Study) -> None:
    report = json.loads((study.root / "campaign" / "data.json").read_text())["sets"]
    known = {(row["task"], row["set"]): row for row in report}
    assert known["tatoeba", "test.sw"]["expected"] == known["tatoeba", "test.sw"]["found"] == 390
    assert known["pawsx", "test.de"]["labelled"] is False
    assert known["pawsx", "test.ko"]["found"] is None and known["pawsx", "test.ko"]["source"] == "no file"
    there = [row for row in report if row["found"] is not None]
    assert all(len(row["sha256"]) == 64 and row["licence"] and row["source"] for row in there)
    assert "CC BY-NC 4.0" in (study.root / "campaign" / "data.md").read_text()
    listed = study.run(
        study.command("launch/status.py", "--grid", str(study.path), "--root", str(study.root), "--data")
    )
    assert len(listed.stdout.splitlines()) == 1 + len(report)


def test_stored_predictions_give_the_metric_files_again(study: Study) -> None:
    checked = study.run(study.command("aggregate/rescore.py", "--results", str(study.root), "--check"), check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_campaign_becomes_a_submission(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "submission"
    study.run(study.command("aggregate/submission.py", "--results", str(study.root), "--out", str(out)))
    assert {path.parent.name for path in out.rglob("test-*")} >= set(TARGETS) - {"bucc2018", "panx", "pawsx"}


def test_labels_languages_and_targets_that_come_later_are_scored_without_training(
    study: Study, data_root: Path
) -> None:
    """Runs last in this file: it changes the campaign."""
    run = study.root / study.find("target-xnli-")
    weights = {path: path.stat().st_mtime_ns for path in study.root.glob("*/model/model.safetensors")}
    (study.folder.parent / "data" / "xnli" / "test_labelled").symlink_to(data_root / "xnli" / "test_labelled")
    assert "nothing to submit" in study.launch().stdout
    told = study.launch("--rescore").stdout
    assert "reading" in told
    assert set(study.states().values()) == {"done"}
    assert {path.name for path in (run / "metrics").glob("xnli.test.*")} == {"xnli.test.de.json", "xnli.test.en.json"}
    assert "an earlier attempt had finished this run" in study.logs(study.find("target-udpos-"))

    study.write({**study.grid, "languages": {**study.grid["languages"], "xnli": ["de", "en", "sw"]}})
    study.launch()
    assert (run / "metrics" / "xnli.dev.sw.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in study.root.glob("*/model/model.safetensors")} == weights
