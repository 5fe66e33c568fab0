"""Dev scores of intermediate tasks: means over seeds, the primary figure, gaps that say why."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import MNLI, make_document, write_document, write_task
from tests.aggregate.test_output import compile_latex

Cell = tuple[str, str, str]  # row, task, metric
BOTH = MNLI | {"mode": "multitask", "tasks": ["qqp", "squad1"]}
CHAIN = MNLI | {"mode": "sequential", "tasks": ["squad1", "mnli"]}


def write_score(results: Path, task: str, metrics: dict[str, float], **changes: Any) -> None:
    document = make_document(task, "en", metrics, stage="intermediate", split="dev", **changes)
    write_document(results / "intermediate", document)


def read_sheet(results: Path) -> dict[Cell, dict[str, str]]:
    out = results.parent / "out"
    assert main(["--results", str(results), "--out", str(out)]) == 0
    with open(out / "intermediate.csv", newline="") as file:
        return {(line["row"], line["task"], line["metric"]): line for line in csv.DictReader(file)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Rows mnli, qqp+squad1 and squad1 > mnli beside their baseline."""
    results = tmp_path / "results"
    write_task(results, "xnli", 50.0)
    for intermediate in (MNLI, BOTH, CHAIN):
        write_task(results, "xnli", 55.0, intermediate=intermediate)
    return results


def test_means_and_deviations_are_over_seeds(results: Path) -> None:
    for seed, value in ((1, 70.0), (2, 71.5), (3, 74.0)):
        write_score(results, "mnli", {"accuracy": value}, seed=seed, intermediate=MNLI)
    cell = read_sheet(results)["mnli", "mnli", "accuracy"]
    assert float(cell["mean"]) == pytest.approx(mean([70.0, 71.5, 74.0]))
    assert float(cell["sd"]) == pytest.approx(stdev([70.0, 71.5, 74.0]))
    assert (cell["n"], cell["primary"], cell["reason"]) == ("3", "True", "")
    assert "| mnli | 71.8 (2.0) |" in (results.parent / "out" / "intermediate.md").read_text()


def test_primary_figure_is_the_mean_of_two_metrics_and_the_others_stand_beside_it(results: Path) -> None:
    write_score(results, "qqp", {"accuracy": 90.0, "f1": 87.0}, intermediate=BOTH)
    squad = {"f1": 80.0, "exact_match": 70.0, "HasAns_f1": 60.0, "best_f1_thresh": -1.5}
    write_score(results, "squad1", squad, intermediate=BOTH)
    sheet = read_sheet(results)
    values = {(task, name): float(line["mean"]) for (row, task, name), line in sheet.items() if row == "qqp+squad1"}
    assert values == {
        ("qqp", "primary"): 88.5,
        ("qqp", "accuracy"): 90.0,
        ("qqp", "f1"): 87.0,
        ("squad1", "primary"): 75.0,
        **{("squad1", name): value for name, value in squad.items()},
    }
    assert {key for key, line in sheet.items() if line["primary"] == "True"} == {
        ("qqp+squad1", "qqp", "primary"),
        ("qqp+squad1", "squad1", "primary"),
        ("squad1 > mnli", "squad1", "primary"),
    }


def test_gaps_say_why(results: Path) -> None:
    (results / "campaign").mkdir()
    (results / "campaign" / "grid.json").write_text(json.dumps({"expected": {"seeds": [1, 2]}}))
    write_score(results, "mnli", {"accuracy": 70.0}, seed=1, intermediate=MNLI)
    write_score(results, "mnli", {"accuracy": 99.0}, seed=3, intermediate=MNLI)
    write_score(results, "squad1", {"f1": 80.0, "exact_match": 70.0}, intermediate=BOTH)
    write_score(results, "squad1", {"f1": 81.0, "exact_match": 70.0}, intermediate=BOTH)
    sheet = read_sheet(results)
    assert (sheet["mnli", "mnli", "accuracy"]["mean"], sheet["mnli", "mnli", "accuracy"]["n"]) == ("70.0", "1")
    assert sheet["mnli", "mnli", "accuracy"]["reason"] == "seed 2: no results"
    assert sheet["squad1 > mnli", "mnli", "accuracy"]["reason"] == "no results"
    disputed = sheet["qqp+squad1", "squad1", "primary"]
    assert (disputed["mean"], disputed["reason"]) == ("", "seed 1: contradicting files; seed 2: no results")
    text = (results.parent / "out" / "intermediate.md").read_text()
    assert "70.0 [1]" in text and "with one seed there is no deviation" in text


def test_earlier_phase_of_a_sequence_is_told_from_a_missing_score(results: Path) -> None:
    write_score(results, "mnli", {"accuracy": 70.0}, intermediate=CHAIN)
    write_score(results, "squad1", {"f1": 80.0, "exact_match": 70.0}, intermediate=BOTH)
    sheet = read_sheet(results)
    assert sheet["squad1 > mnli", "mnli", "accuracy"]["mean"] == "70.0"
    assert "after the last phase" in sheet["squad1 > mnli", "squad1", "f1"]["reason"]


def test_encoder_shared_by_rows_that_differ_after_it_counts_in_each(tmp_path: Path) -> None:
    """Its file carries the labels of the row that was planned first."""
    results = tmp_path / "results"
    slow, fast = "intermediate.epochs=2; target.epochs=3", "intermediate.epochs=2; target.epochs=5"
    for variant in (slow, fast):
        write_task(results, "xnli", 50.0, variant=variant.partition("; ")[2])
        write_task(results, "xnli", 55.0, variant=variant, intermediate=MNLI)
    write_score(results, "mnli", {"accuracy": 70.0}, variant=slow, intermediate=MNLI)
    sheet = read_sheet(results)
    assert {line["variant"]: line["mean"] for line in sheet.values()} == {slow: "70.0", fast: "70.0"}


def test_rows_with_scores_of_their_own_do_not_contradict_each_other(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for variant, value in (("", 70.0), ("target.epochs=5", 72.0)):
        write_task(results, "xnli", 50.0, variant=variant)
        write_task(results, "xnli", 55.0, variant=variant, intermediate=MNLI)
        write_score(results, "mnli", {"accuracy": value}, variant=variant, intermediate=MNLI)
    sheet = read_sheet(results)
    assert {line["variant"]: line["mean"] for line in sheet.values()} == {"": "70.0", "target.epochs=5": "72.0"}


def test_seeds_of_different_recipes_are_not_averaged(results: Path) -> None:
    for seed, recipe in ((1, "aa"), (2, "bb")):
        write_score(results, "mnli", {"accuracy": 70.0}, seed=seed, intermediate=MNLI, provenance={"recipe": recipe})
    cell = read_sheet(results)["mnli", "mnli", "accuracy"]
    assert cell["mean"] == "" and cell["reason"] == "seeds of different recipes"


def test_no_scores_no_sheet(results: Path) -> None:
    assert main(["--results", str(results), "--out", str(results.parent / "out")]) == 0
    assert not (results.parent / "out" / "intermediate.csv").exists()


def test_latex_compiles_and_fits(results: Path, latex: str) -> None:
    names = "f1 exact_match HasAns_f1 HasAns_exact NoAns_f1 NoAns_exact best_f1_thresh best_exact_thresh".split()
    every = "anli ccg cosmosqa csqa hellaswag mnli qqp squad1 squad2".split()
    intermediate = MNLI | {"mode": "multitask", "tasks": every}
    write_task(results, "xnli", 55.0, intermediate=intermediate)
    for seed in (1, 2):
        for task in every:
            metrics = {"squad2": names, "squad1": names[:2], "qqp": ["accuracy", "f1"]}.get(task, ["accuracy"])
            write_score(results, task, dict.fromkeys(metrics, 60.5 + seed), seed=seed, intermediate=intermediate)
    read_sheet(results)
    out = results.parent / "out"
    (out / "main.tex").write_text("\\input{intermediate.tex}\n")
    log = compile_latex(latex, out)
    assert "Float too large" not in log and "Overfull" not in log
