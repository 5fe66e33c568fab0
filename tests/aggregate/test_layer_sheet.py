"""Retrieval by layer, from the files of a sweep beside those of the default layer."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import mean

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import BASELINE, LANGUAGES, MNLI, make_document, write_document, write_task
from tests.aggregate.test_output import compile_latex
from tests.aggregate.test_plan import PLAIN, TRAINED, keep_plan, write_run

Cell = tuple[str, str, str]  # row, target, layer
BASE = "xlm-roberta-large"


def read_sheet(results: Path) -> dict[Cell, dict[str, str]]:
    out = results.parent / "out"
    assert main(["--results", str(results), "--out", str(out)]) == 0
    with open(out / "layers.csv", newline="") as file:
        return {(line["row"], line["target"], line["layer"]): line for line in csv.DictReader(file)}


def score(target: str, language: str, layer: int | None, seed: int | None) -> float:
    """Some number of its own for each file."""
    return 20 + 3.0 * (layer or 0) + 1.5 * (seed or 0) + LANGUAGES[target].index(language) + len(target) / 7


def test_every_layer_has_its_mean_over_languages_and_seeds(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for target in ("bucc2018", "tatoeba"):
        metric = "f1" if target == "bucc2018" else "accuracy"
        for layer in (None, 0, 1, 2):
            for language in LANGUAGES[target]:
                for seed, intermediate in ((None, BASELINE), (1, MNLI), (2, MNLI)):
                    value = score(target, language, layer, seed)
                    changes = {"intermediate": intermediate, "seed": seed, "layer": layer}
                    document = make_document(target, language, {metric: value}, **changes)
                    write_document(results / f"{target}-{seed}", document)
    sheet = read_sheet(results)
    for target in ("bucc2018", "tatoeba"):
        for name, layer in (("main", None), ("0", 0), ("2", 2)):
            base = mean(score(target, language, layer, None) for language in LANGUAGES[target])
            own = {seed: mean(score(target, code, layer, seed) for code in LANGUAGES[target]) for seed in (1, 2)}
            assert float(sheet[BASE, target, name]["value"]) == pytest.approx(base)
            assert float(sheet["mnli", target, name]["value"]) == pytest.approx(mean(own.values()))
            assert float(sheet["mnli", target, name]["difference"]) == pytest.approx(mean(own.values()) - base)
            assert sheet["mnli", target, name]["seeds"] == "2"
    assert "| Tatoeba (main) | Tatoeba (0) |" in (tmp_path / "out" / "layers.md").read_text()


def test_runs_of_the_plan_fill_the_rows_that_they_are_for(tmp_path: Path) -> None:
    """Whatever their labels say."""
    results = tmp_path / "results"
    rows = [PLAIN | {"runs": {"tatoeba": {"1": "a", "2": "a"}}}, TRAINED | {"runs": {"tatoeba": {"1": "b", "2": "c"}}}]
    keep_plan(results, rows, seeds=(1, 2))
    for run, seed, value in (("a", None, 30.0), ("b", 1, 40.0), ("c", 2, 44.0)):
        for layer in (None, 0, 5):
            write_run(results, run, "tatoeba", value + (layer or 0), seed=seed, layer=layer, variant="x=1")
    sheet = read_sheet(results)
    assert {key: line["value"] for key, line in sheet.items()} == {
        **{(BASE, "tatoeba", layer): value for layer, value in (("main", "30.0"), ("0", "30.0"), ("5", "35.0"))},
        **{("mnli", "tatoeba", layer): value for layer, value in (("main", "42.0"), ("0", "42.0"), ("5", "47.0"))},
    }
    assert sheet["mnli", "tatoeba", "5"]["difference"] == "12.0"


def test_gaps_say_why_and_rows_without_a_sweep_stay_out(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "tatoeba", 30.0)
    write_task(results, "bucc2018", 30.0)
    for layer in (None, 0, 1):
        kept = LANGUAGES["tatoeba"][layer or 0 :]
        write_task(results, "tatoeba", 31.0, layer=layer, languages=kept, intermediate=MNLI)
        write_task(results, "bucc2018", 32.0, layer=layer, intermediate=MNLI | {"tasks": ["qqp"]})
    sheet = read_sheet(results)
    assert {row for row, _, _ in sheet} == {"mnli", "qqp"}
    assert (sheet["mnli", "tatoeba", "0"]["value"], sheet["mnli", "tatoeba", "0"]["difference"]) == ("31.0", "")
    assert (sheet["mnli", "tatoeba", "1"]["value"], sheet["mnli", "tatoeba", "1"]["reason"]) == ("", "missing: af")
    assert sheet["mnli", "bucc2018", "0"]["reason"] == "no sweep over layers"
    assert sheet["mnli", "bucc2018", "main"]["reason"] == "no results"


def test_one_layer_that_a_row_asks_for_is_no_sweep(tmp_path: Path) -> None:
    results = tmp_path / "results"
    keep_plan(results, [PLAIN | {"variant": "retrieval.layer=3", "runs": {"tatoeba": {"1": "a"}}}])
    write_run(results, "a", "tatoeba", 30.0, layer=3, variant="retrieval.layer=3")
    assert main(["--results", str(results), "--out", str(tmp_path / "out")]) == 0
    assert not (tmp_path / "out" / "layers.csv").exists()


def test_latex_compiles_and_fits(tmp_path: Path, latex: str) -> None:
    results = tmp_path / "results"
    for layer in (None, *range(25)):
        for target in ("bucc2018", "tatoeba"):
            write_task(results, target, 30.0 + (layer or 0), layer=layer)
            write_task(results, target, 31.0 + 2 * (layer or 0), layer=layer, intermediate=MNLI)
    read_sheet(results)
    (tmp_path / "out" / "main.tex").write_text("\\input{layers.tex}\n")
    log = compile_latex(latex, tmp_path / "out")
    assert "Float too large" not in log and "Overfull" not in log
