"""Odd prediction files: one finding each, and the metric files of all others are computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aggregate.rescore import main
from tests.aggregate.metric_tree import make_document
from tests.aggregate.prediction_tree import make_run, write_predictions

RIGHT = {"language": "de", "id": "1", "label": "1", "prediction": "1", "scores": [0.1]}
TAGGED = {"language": ["de"], "id": ["1"], "words": [["a", "b"]], "tags": [["O", "O"]], "predictions": [["O", "O"]]}
ASKED = {"language": ["de"], "id": ["1"], "answers": [["x"]], "prediction": ["x"], "score": [1.0], "null_score": [0.0]}
MINED = {"language": ["de"], "foreign_id": ["a"], "english_id": ["b"], "score": [1.1], "gold": [True]}
ODD: dict[str, tuple[str, dict[str, Any], str]] = {
    "a null tag": ("panx", TAGGED | {"tags": [["O", None]]}, "column tags: 1 nulls inside its lists"),
    "no predictions of a row": (
        "panx",
        TAGGED | {"predictions": pa.array([None], pa.list_(pa.string()))},
        "column predictions: 1 of 1 rows are null",
    ),
    "a tag as text": ("panx", TAGGED | {"tags": ["OO"]}, "column tags is string, not list of text"),
    "a tag too few": ("panx", TAGGED | {"predictions": [["O"]]}, "column predictions: not as many as words in 1 rows"),
    "an empty tag": ("panx", TAGGED | {"tags": [["O", ""]]}, "column tags: an empty tag"),
    "a null answer": ("xquad", ASKED | {"prediction": pa.array([None], pa.string())}, "column prediction: 1 of 1 rows"),
    "a number for an answer": ("xquad", ASKED | {"prediction": [3]}, "column prediction is int64, not text"),
    "answers as text": ("xquad", ASKED | {"answers": ["x"]}, "column answers is string, not list of text"),
    "no gold answer": (
        "xquad",
        ASKED | {"answers": pa.array([[]], pa.list_(pa.string()))},
        "column answers: none for 1 questions, which only squad2 may have",
    ),
    "no rules for a language": ("mlqa", ASKED | {"language": ["fr"]}, "no rules for language 'fr'"),
    "no language": ("xquad", ASKED | {"language": pa.array([None], pa.string())}, "column language: 1 of 1 rows"),
    "scores as text": ("bucc2018", MINED | {"score": ["1"]}, "column score is string, not number"),
    "scores that are none": ("bucc2018", MINED | {"score": [float("nan")]}, "column score: not a number (NaN) in it"),
    "a column too few": ("bucc2018", {name: MINED[name] for name in ("language", "score", "gold")}, "no column forei"),
}


def make_campaign(root: Path) -> tuple[Path, Path]:
    """(a run without predictions, the wrong metric file of another one that is sorted after it)."""
    odd, good = make_run(root, "target-a", []), make_run(root, "target-b", [])
    write_predictions(good, "pawsx", "test", [RIGHT])
    return odd, write_metric(good, "pawsx.test.de", {"accuracy": 1.0})


def write_metric(run: Path, name: str, metrics: dict[str, float]) -> Path:
    task, split, language = name.split(".")
    path = run / "metrics" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(make_document(task, language, metrics, run=run.name, split=split, examples=1)))
    return path


def write_columns(run: Path, task: str, columns: dict[str, Any]) -> Path:
    path = run / "predictions" / f"{task}.test.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("kind", ODD)
def test_one_finding_and_the_rest_is_done(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, wrong = make_campaign(tmp_path)
    task, columns, message = ODD[kind]
    path = write_columns(run, task, columns)
    assert main(["--results", str(tmp_path)]) == 2
    assert json.loads(wrong.read_text())["metrics"] == {"accuracy": 100.0}
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1
    assert errors[0].startswith(f"error: {path}: no predictions of {task} (") and message in errors[0]


def test_all_that_is_wrong_with_a_file_is_one_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = make_campaign(tmp_path)
    write_columns(run, "panx", {"language": ["de"], "id": [1], "tags": ["O"], "predictions": [[None]]})
    assert main(["--results", str(tmp_path)]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    for part in ("column id is int64", "no column words", "column tags is string", "column predictions: 1 nulls"):
        assert part in error


def test_an_odd_dev_file_costs_dev_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, wrong = make_campaign(tmp_path)
    run = wrong.parent.parent
    write_predictions(run, "pawsx", "dev", [RIGHT | {"prediction": None}])
    dev = write_metric(run, "pawsx.dev.de", {"accuracy": 1.0})
    before = dev.read_bytes()
    assert main(["--results", str(tmp_path)]) == 2
    assert json.loads(wrong.read_text())["metrics"] == {"accuracy": 100.0}
    assert dev.read_bytes() == before
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_rows_partly_without_labels_are_told_with_their_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, wrong = make_campaign(tmp_path)
    run = wrong.parent.parent
    write_predictions(run, "pawsx", "test", [RIGHT, RIGHT | {"label": None}])
    assert main(["--results", str(tmp_path)]) == 2
    assert f"error: {run}: pawsx test.de: de: 1 of 2 rows have no gold labels" in capsys.readouterr().err


def test_wider_types_of_the_same_kind_are_read(tmp_path: Path) -> None:
    run, _ = make_campaign(tmp_path)
    lists = pa.large_list(pa.large_string())
    text = {name: pa.array(TAGGED[name], pa.large_string()) for name in ("language", "id")}
    write_columns(run, "panx", text | {name: pa.array([["B-LOC", "O"]], lists) for name in ("words", "tags")} | {
        "predictions": pa.array([["B-LOC", "I-LOC"]], lists)})  # fmt: skip
    path = write_metric(run, "panx.test.de", {"f1": 1.0})
    assert main(["--results", str(tmp_path)]) == 0
    assert json.loads(path.read_text())["metrics"]["f1"] == 0


def test_squad2_without_a_finite_threshold(tmp_path: Path) -> None:
    run = make_run(tmp_path, "intermediate-squad2", [])
    row = {"language": "en", "id": "1", "answers": ["the"], "prediction": "", "score": None, "null_score": 0.0}
    write_predictions(run, "squad2", "dev", [row])
    path = write_metric(run, "squad2.dev.en", {"f1": 1.0})
    assert main(["--results", str(tmp_path)]) == 0
    metrics = json.loads(path.read_text())["metrics"]
    assert (metrics["f1"], metrics["exact_match"]) == (100, 100)
    assert not {"best_f1_thresh", "best_exact_thresh"} & set(metrics)
