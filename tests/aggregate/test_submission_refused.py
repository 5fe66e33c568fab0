"""Stored predictions that the scorer would refuse are not exported, and are told; several exports at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from aggregate.submission import main
from aggregate.submissions.submission_export import export_submissions
from tests.aggregate.prediction_tree import grid_row, make_run, write_campaign, write_predictions

LABEL: dict[str, Any] = {"language": "de", "id": "1", "label": "neutral", "prediction": "neutral", "scores": [0.1]}
TAGS: dict[str, Any] = {"language": "de", "id": "1", "words": ["w"], "tags": ["O"], "predictions": ["O"]}
ANSWER: dict[str, Any] = {
    "language": "de", "id": "1", "answers": ["x"], "prediction": "x", "score": 1.0, "null_score": 0.0
}  # fmt: skip
PAIR: dict[str, Any] = {"language": "de", "foreign_id": "a", "english_id": "b", "score": 1.1, "gold": True}
LINE: dict[str, Any] = {"language": "de", "id": "0", "gold": 0, "prediction": 0, "score": 0.4}

REFUSED: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "a null label": ("xnli", [LABEL, LABEL | {"prediction": None}], "column prediction: 1 of 2 rows are null"),
    "a foreign label": (
        "xnli",
        [LABEL | {"prediction": "banana"}],
        "de: no labels of xnli: 'banana'; legal: contradic",
    ),
    "a null tag": ("panx", [TAGS | {"predictions": [None]}, TAGS], "column predictions: 1 nulls inside its lists"),
    "a foreign tag": ("panx", [TAGS | {"predictions": ["B-FOO"]}], "de: no labels of panx: 'B-FOO'; legal: O B-LOC"),
    "a sentence without words": (
        "panx",
        [TAGS, TAGS | {"words": [], "tags": [], "predictions": []}],
        "de: 1 sentences without words",
    ),
    "a null answer": ("xquad", [ANSWER | {"prediction": None}, ANSWER], "column prediction: 1 of 2 rows are null"),
    "a question twice": (
        "xquad",
        [ANSWER, ANSWER | {"prediction": "y"}],
        "de: question ids that stand there twice: '1'",
    ),
    "a line end in a question id": (
        "xquad",
        [ANSWER | {"id": "1\n"}],
        r"de: ids that are empty, or have a tab, a line",
    ),
    "a tab in an id": ("bucc2018", [PAIR | {"foreign_id": "a\tx"}], r"or white space at an edge: 'a\tx'"),
    "an empty id": ("bucc2018", [PAIR | {"english_id": ""}], "or white space at an edge: ''"),
    "a negative line": ("tatoeba", [LINE | {"prediction": -1}], "de: negative line numbers: -1"),
    "a language of no test set": ("tatoeba", [LINE | {"language": "en"}], "'en' is no language of the test set"),
    "a language that is a path": ("xnli", [LABEL | {"language": "../../evil"}], "'../../evil' is no language of the"),
    "no language": ("xnli", [LABEL | {"language": None}, LABEL], "column language: 1 of 2 rows are null"),
}


def export(results: Path) -> tuple[int, Path]:
    out = results.parent / "out"
    return main(["--results", str(results), "--out", str(out)]), out


@pytest.mark.parametrize("kind", REFUSED)
def test_what_the_scorer_would_refuse_is_not_written(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task, rows, message = REFUSED[kind]
    results = tmp_path / "runs"
    run = make_run(results, "target-odd", ["pawsx"])
    write_predictions(run, task, "test", rows)
    if task == "bucc2018":
        write_predictions(run, task, "dev", [PAIR])
    write_campaign(results, [grid_row({name: {1: "target-odd"} for name in (task, "pawsx")})])
    code, out = export(results)
    assert code == 0
    assert sorted(path.name for path in out.iterdir() if any(path.glob("*"))) == ["pawsx"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]
    missing = [gap for gap in json.loads((out / "manifest.json").read_text())["missing"] if message in gap]
    assert len(missing) == 1 and missing[0].startswith(f"{task}: ")
    assert f"missing in xlm-roberta-large, seed 1: {missing[0]}" in capsys.readouterr().err


def test_the_other_languages_are_written(tmp_path: Path) -> None:
    results = tmp_path / "runs"
    run = make_run(results, "target-xnli", [])
    write_predictions(run, "xnli", "test", [LABEL | {"prediction": "banana"}, LABEL | {"language": "fr"}])
    write_campaign(results, [grid_row({"xnli": {1: "target-xnli"}})])
    code, out = export(results)
    assert code == 0
    assert [path.name for path in (out / "xnli").iterdir()] == ["test-fr.tsv"]
    assert list(json.loads((out / "manifest.json").read_text())["files"]) == ["xnli/test-fr.tsv"]


def test_exports_into_one_folder_at_once(tmp_path: Path) -> None:
    results, out = tmp_path / "runs", tmp_path / "out"
    run = make_run(results, "target-xnli", [])
    write_predictions(run, "xnli", "test", [LABEL])
    write_campaign(results, [grid_row({"xnli": {1: "target-xnli"}})])
    failures: list[Exception] = []

    def repeat() -> None:
        for _ in range(25):
            try:
                export_submissions(results, out, "test", None, None, None)
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=repeat) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
        "manifest.json",
        "xnli",
        "xnli/test-de.tsv",
    ]
