"""A resolved grid says what to expect: rows, seeds, targets, languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from aggregate.tables import main
from tests.aggregate.metric_tree import (
    MNLI,
    make_document,
    make_metrics,
    read_cells,
    read_table,
    write_document,
    write_row,
    write_task,
)

MODEL = "xlm-roberta-large"
ROWS = [
    {"model": MODEL, "mode": "none", "tasks": [], "variant": ""},
    {"model": MODEL, "mode": "multitask", "tasks": ["mnli"], "variant": ""},
    {"model": MODEL, "mode": "multitask", "tasks": ["squad1", "mnli"], "variant": ""},
]
NARROW = {
    "suite": "xtreme",
    "targets": {"xnli": {"dev": ["zh", "en", "de"], "test": ["en"]}, "tatoeba": {"test": ["de", "fr"]}},
    "seeds": [1, 2],
    "rows": ROWS,
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def keep_grid(results: Path, expected: Any) -> Path:
    path = results / "campaign" / "grid.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"name": "narrow", "expected": expected}))
    return path


def tabulate(results: Path, *options: str) -> tuple[int, list[dict[str, str]], str]:
    out = results.parent / "out"
    code = main(["--results", str(results), "--out", str(out), *options])
    return code, read_table(out), (out / "main.md").read_text()


def write_narrow(results: Path, rows: int = 3) -> None:
    for row, gain in list(zip(ROWS, (0, 2, 3), strict=True))[:rows]:
        tasks = row["tasks"]
        intermediate = {"mode": row["mode"], "tasks": tasks, "mlm": False, "translated": False}
        for seed in (1, 2):
            write_task(results, "xnli", 50.0 + gain, languages=["en", "de", "zh"], seed=seed, intermediate=intermediate)
        for retrieval_seed in (1, 2) if tasks else (None,):
            languages = ["de", "fr"]
            write_task(
                results, "tatoeba", 30.0 + gain, languages=languages, seed=retrieval_seed, intermediate=intermediate
            )


def test_narrow_grid_found_in_the_results_completes_cells_and_marks_them(results: Path) -> None:
    keep_grid(results, NARROW)
    write_narrow(results)
    code, rows, notes = tabulate(results, "--strict")
    assert code == 0
    assert [(row["row"], row["xnli"], row["tatoeba"]) for row in rows] == [
        (MODEL, "50.0", "30.0"),
        ("mnli", "2.0", "2.0"),
        ("mnli+squad1", "3.0", "3.0"),
    ]
    assert rows[1]["avg"] == "" and rows[1]["avg_partial"] == "2.0"
    assert "| +2.0‡ |" in notes
    assert "‡ XNLI: over 3 of 15 languages, not comparable with published numbers" in notes
    assert "‡ Tatoeba: over 2 of 36 languages, not comparable with published numbers" in notes
    assert "not in the grid" in notes
    cell = read_cells(results.parent / "out")["", "mnli", "xnli"]
    assert cell["expected_languages"] == cell["present_languages"] == "de en zh"


def test_grid_option_takes_json_and_yaml_and_wins_over_the_kept_one(results: Path, tmp_path: Path) -> None:
    keep_grid(results, NARROW | {"targets": {"pawsx": {"dev": ["en"]}}})
    write_narrow(results)
    for name, dump in (("grid.json", json.dumps), ("grid.yaml", yaml.safe_dump)):
        (tmp_path / name).write_text(dump({"expected": NARROW}))
        assert tabulate(results, "--strict", "--grid", str(tmp_path / name))[0] == 0
    assert tabulate(results, "--strict")[0] == 1


def test_narrow_languages_do_not_read_the_others(results: Path) -> None:
    keep_grid(results, NARROW | {"rows": ROWS[:1]})
    write_narrow(results, rows=1)
    for seed in (1, 2):
        write_task(results, "xnli", 99.0, languages=["fr", "ru"], seed=seed)
    assert tabulate(results)[1][0]["xnli"] == "50.0"


def test_expected_row_without_files_stands_with_all_cells_missing(results: Path) -> None:
    keep_grid(results, NARROW)
    write_narrow(results, rows=2)
    code, rows, notes = tabulate(results)
    assert code == 0
    assert [row["row"] for row in rows] == [MODEL, "mnli", "mnli+squad1"]
    assert set(list(rows[2].values())[1:]) == {"", "0"}
    assert "no results" in notes and "no complete task" in notes
    assert tabulate(results, "--strict")[0] == 1


def test_missing_seed_of_the_grid_is_named_and_other_seeds_stay_out(results: Path) -> None:
    keep_grid(results, NARROW | {"rows": ROWS[:2], "targets": {"xnli": {"dev": ["en"]}}})
    for seed, gain in ((1, 2.0), (7, 40.0)):
        write_task(results, "xnli", 50.0, languages=["en"], seed=seed)
        write_task(results, "xnli", 50.0 + gain, languages=["en"], seed=seed, intermediate=MNLI)
    code, rows, notes = tabulate(results, "--strict")
    assert code == 1
    assert rows[1]["xnli"] == "2.0"
    assert "seed 2 no results" in notes
    assert "seed 7, not in the grid: 2 scores" in notes


def test_full_languages_in_a_grid_are_not_marked(results: Path) -> None:
    keep_grid(results, {"suite": "xtreme", "seeds": [1], "rows": ROWS[:1]})
    write_row(results, 60.0)
    code, [row], notes = tabulate(results, "--strict")
    assert (code, row["avg"]) == (0, "60.0")
    assert "‡" not in notes


def test_toy_grid(results: Path) -> None:
    keep_grid(results, {"suite": "toy", "targets": {"xnli": {"dev": ["en", "qaa"]}}, "seeds": [1], "rows": ROWS[:1]})
    write_task(results, "xnli", 60.0, suite="toy")
    code, [row], notes = tabulate(results, "--strict")
    assert (code, row["xnli"]) == (0, "60.0")
    assert "over 2 of 4 languages" in notes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not a JSON or YAML document"),
        ("[]", "is a mapping"),
        ('{"targets": ["xnli"]}', "no key `expected`"),
        ('{"expected": {"suite": "glue"}}', "expected.suite"),
        ('{"expected": {"seeds": []}}', "expected.seeds"),
        ('{"expected": {"targets": {"xnly": {"dev": ["en"]}}}}', "unknown target 'xnly'"),
        ('{"expected": {"targets": {"xnli": {"dev": ["xx"]}}}}', "unknown languages xx"),
        ('{"expected": {"rows": [{"mode": "single", "tasks": []}]}}', "expected.rows.0: document: mode single"),
        ('{"expected": {"rwos": []}}', "expected.rwos: unknown key"),
    ],
)
def test_bad_grid_is_an_error(results: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_document(results, make_document("xnli", "en", make_metrics("xnli", 50.0)))
    grid = results.parent / "grid.json"
    grid.write_text(text)
    assert main(["--results", str(results), "--out", str(results.parent / "out"), "--grid", str(grid)]) == 2
    assert reason in capsys.readouterr().err
    assert not (results.parent / "out").exists()


def test_absent_grid_is_an_error_and_a_kept_grid_without_expectation_is_none(results: Path) -> None:
    write_row(results, 60.0)
    arguments = ["--results", str(results), "--out", str(results.parent / "out")]
    assert main([*arguments, "--grid", str(results.parent / "no.json")]) == 2
    (results / "campaign").mkdir()
    (results / "campaign" / "grid.json").write_text('{"name": "old"}')
    assert tabulate(results, "--strict")[0] == 0
