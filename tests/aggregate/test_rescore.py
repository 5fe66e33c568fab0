"""Metric files computed again from stored predictions: left where right, corrected where not, everything told."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from aggregate.rescore import main
from tests.aggregate.metric_tree import make_document
from tests.aggregate.prediction_tree import RUNS, format_labels, make_run, write_predictions
from tests.aggregate.submission_tree import file_of, list_languages
from tests.launch.test_light import imported_by
from tests.support.campaigns import ROOT
from tests.support.xtreme_oracle import score_files


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A run with PAWS-X (three of four right in German, one of two in French) and its metric files."""
    results = tmp_path / "runs"
    run = make_run(results, "target-pawsx", [])
    marks = {"de": ["00", "11", "10", "00"], "fr": ["01", "11"]}
    rows = [
        {"language": language, "id": str(place), "label": mark[0], "prediction": mark[1], "scores": [0.0]}
        for language, own in marks.items()
        for place, mark in enumerate(own)
    ]
    write_predictions(run, "pawsx", "test", rows)
    write_metric(run, "pawsx", "de", {"accuracy": 75.0}, 4)
    write_metric(run, "pawsx", "fr", {"accuracy": 50.0}, 2)
    return results


def write_metric(
    run: Path, target: str, language: str, metrics: dict[str, float], examples: int, name: str = "", **changes: Any
) -> Path:
    document = make_document(target, language, metrics, run=run.name, split="test", examples=examples, **changes)
    path = run / "metrics" / f"{name or f'{target}.test.{language}'}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def rescore(results: Path, *options: str) -> int:
    return main(["--results", str(results), *options])


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_right_files_are_left_to_the_byte(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A difference of another order of summation is none.
    write_metric(results / "target-pawsx", "pawsx", "fr", {"accuracy": 50.0 + 1e-10}, 2)
    before = snapshot(results)
    assert rescore(results) == 0
    assert rescore(results, "--check") == 0
    assert snapshot(results) == before
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["2 metric files are right, 0 changed", "2 metric files are right, 0 differ"]
    assert captured.err == ""


def test_wrong_figures_are_corrected_and_the_rest_is_kept(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = results / "target-pawsx"
    provenance = {"digest": "d", "parents": ["p"]}
    marks: dict[str, Any] = {"variant": "target.epochs=3", "model": "small", "seed": 7, "provenance": provenance}
    path = write_metric(run, "pawsx", "de", {"accuracy": 74.999, "loss": 3.0}, 3, **marks)
    old = json.loads(path.read_text())
    before = snapshot(results)

    assert rescore(results, "--check") == 1
    assert snapshot(results) == before
    line = f"differs: {path}: accuracy 74.999 -> 75.0, examples 3 -> 4"
    assert line in capsys.readouterr().out

    assert rescore(results) == 0
    assert f"changed: {path}" in capsys.readouterr().out
    new = json.loads(path.read_text())
    assert (new["metrics"], new["examples"]) == ({"accuracy": 75.0, "loss": 3.0}, 4)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    marked = {"rescored_commit": commit.stdout.strip()} if commit.returncode == 0 else {}
    assert new["provenance"] == {**provenance, "rescored": True, **marked}
    for name in ("schema", "run", "model", "variant", "intermediate", "target", "language", "split", "seed"):
        assert new[name] == old[name]
    assert [name for name, content in snapshot(results).items() if before[name] != content] == [
        path.relative_to(results).as_posix()
    ]
    assert rescore(results, "--check") == 0


def test_what_cannot_be_compared_is_told_and_left(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = results / "target-pawsx"
    orphan = write_metric(run, "pawsx", "zh", {"accuracy": 1.0}, 9)
    layer = write_metric(run, "tatoeba", "de", {"accuracy": 2.0}, 9, name="tatoeba.test.de.layer3", layer=3)
    (run / "metrics" / "pawsx.test.fr.json").unlink()
    running = make_run(results, "target-xnli", ["xnli"])
    (running / "DONE").unlink()
    write_metric(running, "xnli", "de", {"accuracy": 1.0}, 1)
    before = snapshot(results)
    assert rescore(results, "--check") == 0
    assert rescore(results) == 0
    assert snapshot(results) == before
    error = capsys.readouterr().err
    assert f"note: {orphan}: no predictions to compute it from; left" in error
    assert f"note: {layer}: layer 3 of a sweep, which keeps no predictions; left" in error
    assert f"note: {run}: predictions of pawsx test.fr have no metric file; left" in error
    assert f"note: {running}: not done" in error


def test_predictions_without_labels_are_never_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, tasks in RUNS.items():
        make_run(tmp_path / "runs", name, tasks, labelled=False)
    path = write_metric(tmp_path / "runs" / "target-panx", "panx", "de", {"f1": 12.0}, 5)
    before = snapshot(tmp_path)
    assert rescore(tmp_path / "runs") == 0
    assert snapshot(tmp_path) == before
    captured = capsys.readouterr()
    assert captured.out.strip() == "0 metric files are right, 0 changed"
    assert f"note: {path}: its predictions have no labels to compute it from; left" in captured.err
    # BUCC's dev part has labels in this campaign, and no metric files.
    assert "predictions of bucc2018 dev.de have no metric file" in captured.err


def test_every_family_is_computed_by_its_own_rules(tmp_path: Path) -> None:
    """Wrong figures of one language of each target become those of the oracle."""
    results, layout = tmp_path / "runs", tmp_path / "layout"
    for name, tasks in RUNS.items():
        run = make_run(results, name, tasks)
        for task in tasks:
            language = list_languages(task)[-1]
            metrics = {"f1": 1.0, "exact_match": 1.0} if task in ("xquad", "mlqa", "tydiqa") else {"f1": 1.0}
            metrics = {"accuracy": 1.0} if task in ("xnli", "pawsx", "tatoeba") else metrics
            write_metric(run, task, language, metrics, 1)
    assert rescore(results) == 0
    for name, tasks in RUNS.items():
        for task in tasks:
            language = list_languages(task)[-1]
            said, gold = write_layout(results / name, task, language, layout)
            oracle = score_files(task, language, said, gold)
            record = json.loads((results / name / "metrics" / f"{task}.test.{language}.json").read_text())
            shared = set(record["metrics"]) & set(oracle)
            assert shared
            for metric in shared:
                assert record["metrics"][metric] == pytest.approx(oracle[metric], abs=1e-9), (task, metric)
    assert rescore(results, "--check") == 0


def write_layout(run: Path, task: str, language: str, folder: Path) -> tuple[Path, Path]:
    """Predictions and labels of one language as files that the oracle reads; BUCC's threshold by trying all."""

    def read(split: str) -> list[dict[str, Any]]:
        rows = pq.read_table(run / "predictions" / f"{task}.{split}.parquet").to_pylist()
        return [row for row in rows if row["language"] == language]

    rows = read("test")
    gold = file_of(folder / "labels", task, language)
    gold.write_text(format_labels(task, rows))
    said = file_of(folder / "predictions", task, language)
    if task in ("xquad", "mlqa", "tydiqa"):
        said.write_text(json.dumps({row["id"]: row["prediction"] for row in rows}))
    elif task in ("udpos", "panx"):
        said.write_text(format_labels(task, [{"tags": row["predictions"]} for row in rows]))
    elif task == "bucc2018":
        threshold = find_threshold(read("dev"))
        chosen = [{**row, "gold": row["score"] is not None and row["score"] >= threshold} for row in rows]
        said.write_text(format_labels(task, chosen))
    else:
        said.write_text("".join(f"{row['prediction']}\n" for row in rows))
    return said, gold


def find_threshold(rows: list[dict[str, Any]]) -> float:
    """Half-way between the last pair to take and the next, where F1 on dev is highest; fewest pairs of equals."""
    gold = sum(row["gold"] for row in rows)
    mined = sorted((row for row in rows if row["score"] is not None), key=lambda row: -row["score"])
    f1 = [2 * sum(row["gold"] for row in mined[:count]) / (count + gold) for count in range(1, len(mined) + 1)]
    best = f1.index(max(f1))
    following = mined[min(best + 1, len(mined) - 1)]
    return float(mined[best]["score"] + following["score"]) / 2


def test_intermediate_tasks_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "intermediate-mnli", [])
    labels = ["neutral", "neutral", "entailment"]
    rows = [
        {"language": "en", "id": str(place), "label": label, "prediction": "neutral", "scores": [0.0]}
        for place, label in enumerate(labels)
    ]
    write_predictions(run, "mnli", "dev", rows)
    path = write_metric(run, "mnli", "en", {"accuracy": 10.0}, 3, name="mnli.dev.en", stage="intermediate")
    assert rescore(tmp_path / "runs") == 0
    assert json.loads(path.read_text())["metrics"] == {"accuracy": pytest.approx(200 / 3)}


def test_bucc_without_a_dev_set_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "runs", "retrieval-bucc2018", ["bucc2018"])
    (run / "predictions" / "bucc2018.dev.parquet").unlink()
    path = write_metric(run, "bucc2018", "de", {"f1": 1.0}, 3)
    before = path.read_bytes()
    assert rescore(tmp_path / "runs") == 0
    assert path.read_bytes() == before
    assert "retrieval-bucc2018: bucc2018 test.de: de: no threshold" in capsys.readouterr().err


def test_damaged_files_are_errors_and_the_rest_is_done(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = results / "target-pawsx"
    wrong = write_metric(run, "pawsx", "de", {"accuracy": 1.0}, 4)
    torn = run / "metrics" / "pawsx.test.fr.json"
    torn.write_text('{"schema": "stilts.metrics/1", "run"')
    damaged = make_run(results, "target-xnli", ["xnli"])
    (damaged / "predictions" / "xnli.test.parquet").write_bytes(b"PAR1 and no more")
    other = make_run(results, "target-panx", [])
    write_predictions(other, "panx", "test", [{"language": "de", "id": "1", "prediction": "O"}])
    assert rescore(results) == 2
    assert json.loads(wrong.read_text())["metrics"] == {"accuracy": 75.0}
    error = capsys.readouterr().err
    assert f"error: {torn}: unreadable JSON" in error
    assert f"error: {damaged}/predictions/xnli.test.parquet: no table of predictions" in error
    assert f"error: {other}/predictions/panx.test.parquet: no predictions of panx" in error


def test_one_run_alone(results: Path) -> None:
    path = write_metric(results / "target-pawsx", "pawsx", "de", {"accuracy": 1.0}, 4)
    assert rescore(results / "target-pawsx", "--check") == 1
    assert rescore(results / "target-pawsx") == 0
    assert json.loads(path.read_text())["metrics"] == {"accuracy": 75.0}


def test_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rescore(tmp_path) == 2
    assert "no run below it" in capsys.readouterr().err
    assert rescore(tmp_path / "nowhere") == 2
    assert "no such folder" in capsys.readouterr().err


def test_superseded_runs_are_not_touched(results: Path) -> None:
    old = results / "superseded" / "target-pawsx"
    shutil.copytree(results / "target-pawsx", old)
    path = write_metric(old, "pawsx", "de", {"accuracy": 1.0}, 4)
    assert rescore(results, "--check") == 0
    assert json.loads(path.read_text())["metrics"] == {"accuracy": 1.0}


def test_rescoring_imports_no_training_library(results: Path, tmp_path: Path) -> None:
    found = imported_by(str(ROOT / "aggregate/rescore.py"), "--results", str(results), "--check", folder=tmp_path)
    assert not found & {"torch", "transformers", "datasets", "deepspeed", "submitit"}
