"""A campaign's stored predictions as submissions, and their scores against labels made from the same files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from aggregate.submission import main
from aggregate.submissions.predictions import judge_predictions, list_predictions, score_set
from stilts.runs import RunFolder
from tests.aggregate.prediction_tree import (
    RUNS,
    grid_row,
    make_run,
    write_campaign,
    write_labels_of,
    write_predictions,
)
from tests.aggregate.submission_tree import list_languages
from tests.launch.test_light import imported_by
from tests.support.campaigns import ROOT
from tests.support.xtreme_oracle import score_folders


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def export(results: Path, *options: str) -> tuple[int, Path]:
    out = results.parent / "out"
    return main(["--results", str(results), "--out", str(out), *options]), out


def make_baseline(results: Path, labelled: bool = True) -> dict[str, dict[int, str]]:
    """One run for each training set and retrieval target; the runs of a row that asks for all targets but MLQA."""
    for name, tasks in RUNS.items():
        make_run(results, name, tasks, labelled=labelled)
    return {target: {1: name} for name, tasks in RUNS.items() for target in tasks if target != "mlqa"}


def test_scores_of_an_export_are_the_metric_files_figures(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_campaign(results, [grid_row(make_baseline(results))])
    code, out = export(results)
    assert code == 0 and capsys.readouterr().err == ""
    labels = results.parent / "labels"
    for name, tasks in RUNS.items():
        for task in tasks:
            write_labels_of(results / name, task, labels)
    assert main(["--score", str(out), "--labels", str(labels), "--out", str(results.parent / "scores.json")]) == 0
    scores = json.loads((results.parent / "scores.json").read_text())
    oracle = score_folders(out, labels)
    compared = 0
    for name, tasks in RUNS.items():
        for task in tasks:
            folder = RunFolder(results / name)
            for key, table in judge_predictions(folder, task, list_predictions(folder)[task]).items():
                split, _, language = key.partition(".")
                figures = score_set(table, task)
                assert figures is not None
                for metric, value in figures[0].items() if split == "test" else ():
                    if metric in scores[task]:  # XTREME's scorer has no accuracy of udpos
                        assert scores[task][metric][language] == pytest.approx(value, abs=1e-9), (
                            task,
                            language,
                            metric,
                        )
                        assert oracle[task][metric][language] == pytest.approx(value, abs=1e-9), (
                            task,
                            language,
                            metric,
                        )
                        compared += 1
    # XNLI, PAWS-X, POS, NER, BUCC and Tatoeba have one figure a language, the QA tasks two.
    assert compared == 15 + 7 + 33 + 40 + 4 + 36 + 2 * (11 + 7 + 9)
    assert scores["all_task"] == pytest.approx(oracle["all_task"], abs=1e-9)
    assert 20 < scores["all_task"] < 95


def test_the_manifest_names_the_run_of_each_file(results: Path) -> None:
    write_campaign(results, [grid_row(make_baseline(results))])
    _, out = export(results)
    manifest = json.loads((out / "manifest.json").read_text())
    written = {path.relative_to(out).as_posix() for path in out.glob("*/*")}
    assert set(manifest["files"]) == written and len(written) == 15 + 7 + 33 + 40 + 11 + 7 + 9 + 4 + 36
    entry = manifest["files"]["mlqa/test-zh.json"]
    assert (entry["run"], entry["predictions"]) == ("target-squad", "target-squad/predictions/mlqa.test.parquet")
    assert (manifest["seed"], manifest["split"], manifest["missing"]) == (1, "test", [])
    assert manifest["row"]["mode"] == "none" and manifest["row"]["name"] == "xlm-roberta-large"


def test_formats_of_the_files(results: Path) -> None:
    rows: dict[str, list[dict[str, Any]]] = {
        "xnli": [{"language": "de", "id": "1", "label": "neutral", "prediction": "entailment", "scores": [0.1]}],
        "udpos": [
            {"language": "de", "id": "1", "words": ["a", "b"], "tags": ["X", "X"], "predictions": ["DET", "NOUN"]},
            {"language": "de", "id": "2", "words": ["c"], "tags": ["X"], "predictions": ["VERB"]},
        ],
        "xquad": [
            {"language": "zh", "id": "q1", "answers": ["x"], "prediction": "北京", "score": 1.0, "null_score": 0.0}
        ],
        "tatoeba": [
            {"language": "de", "id": str(place), "gold": place, "prediction": said, "score": 0.5}
            for place, said in enumerate((2, 0, 0))
        ],
    }
    pairs = [("de-1", "en-9", 1.2, True), ("de-2", "en-8", 1.0, True), ("de-3", "en-7", 0.8, False)]
    names = ("foreign_id", "english_id", "score", "gold")
    rows["bucc2018"] = [{"language": "de", **dict(zip(names, pair, strict=True))} for pair in pairs]
    run = make_run(results, "target-all", [])
    for task, own in rows.items():
        write_predictions(run, task, "test", own)
    write_predictions(run, "bucc2018", "dev", rows["bucc2018"])
    write_campaign(results, [grid_row({task: {1: "target-all"} for task in rows})])
    _, out = export(results)
    assert (out / "xnli/test-de.tsv").read_text() == "entailment\n"
    assert (out / "udpos/test-de.tsv").read_text() == "DET\nNOUN\n\nVERB\n"
    assert json.loads((out / "xquad/test-zh.json").read_text()) == {"q1": "北京"}
    # Line 2 of the foreign file, counted from 0, translates the first English sentence.
    assert (out / "tatoeba/test-de.tsv").read_text() == "2\n0\n0\n"
    # Dev's best threshold lies half-way between 1.0 and 0.8.
    assert (out / "bucc2018/test-de.tsv").read_text() == "de-1\ten-9\nde-2\ten-8\n"


def test_rows_and_seeds_have_folders_and_a_seedless_run_serves_all(results: Path) -> None:
    for seed in (1, 2):
        make_run(results, f"target-xnli-{seed}", ["xnli"], seed)
        make_run(results, f"target-mnli-xnli-{seed}", ["xnli"], seed)
    make_run(results, "retrieval-base", ["tatoeba"])
    baseline = {"xnli": {1: "target-xnli-1", 2: "target-xnli-2"}, "tatoeba": dict.fromkeys((1, 2), "retrieval-base")}
    trained = {"xnli": {1: "target-mnli-xnli-1", 2: "target-mnli-xnli-2"}}
    write_campaign(results, [grid_row(baseline), grid_row(trained, "sequential", ["squad1", "mnli"])])
    code, out = export(results)
    assert code == 0
    names = [f"{row}-seed{seed}" for row in ("squad1-then-mnli", "xlm-roberta-large") for seed in (1, 2)]
    assert sorted(path.name for path in out.iterdir()) == names
    for seed in (1, 2):
        manifest = json.loads((out / f"xlm-roberta-large-seed{seed}" / "manifest.json").read_text())
        assert manifest["files"]["xnli/test-de.tsv"]["run"] == f"target-xnli-{seed}"
        assert manifest["files"]["tatoeba/test-de.tsv"]["run"] == "retrieval-base"
        assert "pawsx: not in the grid" in manifest["missing"]
        manifest = json.loads((out / f"squad1-then-mnli-seed{seed}" / "manifest.json").read_text())
        assert "tatoeba: not in the grid" in manifest["missing"]


def test_choosing_a_row_and_a_seed(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b", "c"):
        for seed in (1, 2):
            make_run(results, f"{name}-{seed}", ["pawsx"], seed)
    runs = {name: {"pawsx": {1: f"{name}-1", 2: f"{name}-2"}} for name in ("a", "b", "c")}
    rows = [grid_row(runs["a"]), grid_row(runs["b"], "single", ["mnli"])]
    write_campaign(results, [*rows, grid_row(runs["c"], "multitask", ["mnli", "qqp"])])
    code, out = export(results, "--row", "mnli", "--seed", "2")
    assert code == 0
    assert json.loads((out / "manifest.json").read_text())["files"]["pawsx/test-de.tsv"]["run"] == "b-2"
    assert export(results, "--row", "QQP", "--seed", "1")[0] == 0  # over the earlier export, whole
    assert json.loads((out / "manifest.json").read_text())["files"]["pawsx/test-de.tsv"]["run"] == "c-1"
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "pawsx"]
    assert sorted(path.name for path in results.parent.iterdir()) == ["out", "runs"]
    capsys.readouterr()
    assert export(results, "--row", "ccg")[0] == 2
    assert "--row 'ccg': no row's name contains it; rows: xlm-roberta-large, mnli, mnli+qqp" in capsys.readouterr().err
    assert export(results, "--seed", "7")[0] == 2
    assert "--seed 7: no such seed in these rows; seeds: 1, 2" in capsys.readouterr().err


def test_a_row_with_nothing_to_write_is_told(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(results, "there", ["pawsx"])
    rows = [grid_row({"pawsx": {1: "there"}}), grid_row({"pawsx": {1: "planned"}}, "single", ["mnli"])]
    write_campaign(results, rows)
    code, out = export(results)
    assert code == 0
    assert [path.name for path in out.iterdir()] == ["xlm-roberta-large-seed1"]
    error = capsys.readouterr().err
    assert "nothing to write for mnli, seed 1" in error
    assert "missing in mnli, seed 1: pawsx: planned is not done" in error


def test_a_row_without_seeds_is_one_submission(results: Path) -> None:
    make_run(results, "retrieval-base", ["tatoeba"])
    write_campaign(results, [grid_row({"tatoeba": dict.fromkeys((1, 2, 3), "retrieval-base")})])
    _, out = export(results)
    assert json.loads((out / "manifest.json").read_text())["seed"] is None


def test_sets_without_labels_are_exported(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_campaign(results, [grid_row(make_baseline(results, labelled=False))])
    code, out = export(results)
    assert code == 0 and capsys.readouterr().err == ""
    for task in ("xnli", "panx", "mlqa", "bucc2018", "tatoeba"):
        assert len(list((out / task).iterdir())) == len(list_languages(task))
    said = (out / "panx/test-de.tsv").read_text().split()
    table = pq.read_table(results / "target-panx/predictions/panx.test.parquet").to_pylist()
    assert said == [tag for row in table if row["language"] == "de" for tag in row["predictions"]]


def test_what_is_missing_is_named(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = make_baseline(results)
    (results / "target-xnli" / "DONE").unlink()
    (results / "target-pawsx/predictions/pawsx.test.parquet").unlink()
    (results / "target-panx/predictions/panx.test.parquet").write_bytes(b"PAR1 and no more")
    (results / "retrieval-bucc2018/predictions/bucc2018.dev.parquet").unlink()
    table = pq.read_table(results / "target-udpos/predictions/udpos.test.parquet").to_pylist()
    write_predictions(results / "target-udpos", "udpos", "test", [row for row in table if row["language"] != "kk"])
    write_campaign(results, [grid_row({target: run for target, run in runs.items() if target != "tydiqa"})])
    code, out = export(results)
    assert code == 0
    error = capsys.readouterr().err
    missing = json.loads((out / "manifest.json").read_text())["missing"]
    for gap in (
        "xnli: target-xnli is not done",
        "pawsx: target-pawsx has no predictions/pawsx.test.parquet",
        "panx.test.parquet: no table of predictions",
        "udpos: target-udpos has no predictions of kk",
        "bucc2018: de: no threshold, for the run has no labelled dev set of this language",
        "bucc2018: zh: no threshold",
        "tydiqa: not in the grid",
    ):
        assert gap in error
        assert any(gap in line for line in missing)
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "mlqa", "tatoeba", "udpos", "xquad"]


def test_dev_sets_can_be_exported(results: Path) -> None:
    run = make_run(results, "target-pawsx", ["pawsx"])
    rows = [{"language": "de", "id": "1", "label": "0", "prediction": "1", "scores": [0.1]}]
    write_predictions(run, "pawsx", "dev", rows)
    write_campaign(results, [grid_row({"pawsx": {1: "target-pawsx"}})])
    _, out = export(results, "--split", "dev")
    assert [path.name for path in (out / "pawsx").iterdir()] == ["test-de.tsv"]  # the name that the scorer reads
    assert json.loads((out / "manifest.json").read_text())["split"] == "dev"


def test_an_output_folder_with_something_else_is_left_alone(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(results, "target-pawsx", ["pawsx"])
    write_campaign(results, [grid_row({"pawsx": {1: "target-pawsx"}})])
    out = results.parent / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    assert export(results)[0] == 2
    assert "holds something else than an earlier export" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (None, "names no runs; the resolved copy of a grid"),
        ({"expected": {"rows": []}}, "names no runs; the resolved copy of a grid"),
        ({"expected": {"rows": [grid_row({"pawsx": {1: "nowhere"}})]}}, "no test predictions to export"),
    ],
    ids=["no grid", "a grid without runs", "runs that are not there"],
)
def test_nothing_to_export(
    grid: dict[str, Any] | None, message: str, results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "campaign").mkdir(parents=True)
    if grid:
        (results / "campaign" / "grid.json").write_text(json.dumps(grid))
    code, out = export(results)
    assert code == 2 and not out.exists()
    assert message in capsys.readouterr().err


def test_results_that_are_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(tmp_path / "nowhere")[0] == 2
    assert "no such folder; give the campaign root" in capsys.readouterr().err


def test_exporting_imports_no_training_library(results: Path, tmp_path: Path) -> None:
    make_run(results, "target-pawsx", ["pawsx"])
    write_campaign(results, [grid_row({"pawsx": {1: "target-pawsx"}})])
    options = ["--results", str(results), "--out", str(tmp_path / "out")]
    found = imported_by(str(ROOT / "aggregate/submission.py"), *options, folder=tmp_path)
    assert not found & {"torch", "transformers", "datasets", "deepspeed", "submitit"}
    assert (tmp_path / "out" / "manifest.json").is_file()
