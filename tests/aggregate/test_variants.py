"""Variants by labels alone: baselines, retrieval shared by rows, and names that show what differs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import BASELINE, MNLI, read_cells, read_table, write_task

QQP = MNLI | {"tasks": ["qqp"]}
SLOW = "intermediate.learning_rate=1e-06"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def tabulate(results: Path) -> tuple[list[dict[str, str]], str]:
    out = results.parent / "out"
    assert main(["--results", str(results), "--out", str(out)]) == 0
    return read_table(out), (out / "main.md").read_text().replace("\\_", "_")


def write(results: Path, value: float, variant: str = "", training: Any = BASELINE, target: str = "xnli") -> None:
    write_task(results, target, value, variant=variant, intermediate=training)


def show(results: Path, column: str = "xnli") -> list[tuple[str, str]]:
    return [(row["row"], row[column]) for row in tabulate(results)[0]]


def test_a_baseline_has_no_intermediate_settings(results: Path) -> None:
    write(results, 50.0, "target.epochs=3")
    write(results, 53.0, f"{SLOW}; target.epochs=3", MNLI)
    write(results, 54.0, "target.epochs=3", MNLI)
    assert show(results) == [("xlm-roberta-large", "50.0"), ("mnli", "4.0"), (f"mnli [{SLOW}]", "3.0")]
    cells = read_cells(results.parent / "out")
    assert cells[f"{SLOW}; target.epochs=3", f"mnli [{SLOW}]", "xnli"]["baseline"] == "50.0"


def test_a_baseline_of_the_very_variant_comes_first(results: Path) -> None:
    write(results, 50.0)
    write(results, 40.0, SLOW)
    write(results, 53.0, SLOW, MNLI)
    assert ("mnli", "13.0") in show(results)


def test_other_settings_are_never_dropped_for_a_baseline(results: Path) -> None:
    write(results, 50.0)
    write(results, 53.0, f"{SLOW}; target.epochs=3", MNLI)
    rows, notes = tabulate(results)
    assert [(row["row"], row["xnli"]) for row in rows] == [
        ("xlm-roberta-large", "50.0"),
        ("xlm-roberta-large [target.epochs=3]", ""),
        ("mnli", ""),
    ]
    assert "baseline: no run without intermediate training for this model and variant" in notes
    assert f"Settings of all rows: {SLOW}" in notes  # of all that have an intermediate training
    assert "Settings of mnli: target.epochs=3" in notes


def test_retrieval_belongs_to_every_row_that_differs_in_target_settings_alone(results: Path) -> None:
    for variant, value in (("", 50.0), ("target.epochs=3", 60.0), ("retrieval.layer=3; target.epochs=3", 70.0)):
        write(results, value, variant)
    write(results, 30.0, "", target="tatoeba")
    write(results, 40.0, "retrieval.layer=3", target="tatoeba")
    rows = {row["row"]: (row["xnli"], row["tatoeba"]) for row in tabulate(results)[0]}
    assert rows == {
        "xlm-roberta-large": ("50.0", "30.0"),
        "xlm-roberta-large [target.epochs=3]": ("60.0", "30.0"),
        "xlm-roberta-large [retrieval.layer=3; target.epochs=3]": ("70.0", "40.0"),
    }


def test_retrieval_stands_alone_where_no_such_row_is(results: Path) -> None:
    write(results, 50.0, "target.epochs=3")
    write(results, 30.0, "", target="bucc2018")
    write(results, 90.0, "target.epochs=3", MNLI)
    write(results, 31.0, "pretrain.steps=5", MNLI, target="bucc2018")
    assert show(results, "bucc2018") == [
        ("xlm-roberta-large [pretrain.steps=5]", ""),
        ("mnli [pretrain.steps=5]", ""),
        ("xlm-roberta-large [target.epochs=3]", "30.0"),
        ("mnli [target.epochs=3]", ""),
    ]


def test_retrieval_with_the_labels_of_a_row_is_that_row_s(results: Path) -> None:
    write(results, 50.0, "target.epochs=3")
    write(results, 60.0, "target.epochs=5")
    write(results, 30.0, "", target="tatoeba")
    write(results, 35.0, "target.epochs=5", target="tatoeba")
    assert [number for _, number in show(results, "tatoeba")] == ["30.0", "35.0"]
    assert "conflict" not in tabulate(results)[1]


def test_trained_targets_are_not_shared(results: Path) -> None:
    write(results, 50.0)
    write(results, 60.0, "target.epochs=3", target="pawsx")
    assert show(results) == [("xlm-roberta-large", "50.0"), ("xlm-roberta-large [target.epochs=3]", "")]


def test_names_show_what_tells_rows_of_one_training_apart(results: Path) -> None:
    common = "pretrain.steps=9; target.precision=fp32"
    for target in ("target.epochs=3", "target.epochs=5"):
        write(results, 50.0, f"{common}; {target}")
        write(results, 51.0, f"{SLOW}; {common}; {target}", MNLI)
        write(results, 52.0, f"{SLOW}; {common}; {target}; a word", MNLI)
    write(results, 53.0, f"{SLOW}; {common}; target.epochs=3", QQP)
    rows, notes = tabulate(results)
    block = ["xlm-roberta-large [target.epochs=3]", "mnli [target.epochs=3]", "qqp"]
    worded = ["xlm-roberta-large [target.epochs=3; a word]", "mnli [target.epochs=3; a word]"]
    later = [name.replace("3", "5") for name in (*block[:2], *worded)]
    assert [row["row"] for row in rows] == [*block, *later[:2], *worded, *later[2:]]
    settings = f"Settings of all rows: {SLOW}; pretrain.steps=9; target.precision=fp32"
    latex = (results.parent / "out" / "main.tex").read_text().replace("\\_", "_")
    assert notes.count(settings) == latex.count(settings) == 1
    assert "Settings of qqp: target.epochs=3" in notes


def test_long_settings_break_within_the_name_column(results: Path, latex: str, tmp_path: Path) -> None:
    setting = "intermediate.tasks.hellaswag.learning_rate=1e-06"
    write(results, 50.0)
    write(results, 51.0, "", MNLI)
    write(results, 52.0, setting, MNLI)
    tabulate(results)
    out = tmp_path / "out"
    (out / "document.tex").write_text(
        "\\documentclass{article}\n\\usepackage{booktabs}\\usepackage[table]{xcolor}\n\\begin{document}\n\\input{main}\n\\end{document}\n"
    )
    command = [latex, "-interaction=nonstopmode", "-halt-on-error", "document.tex"]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0 and "Overfull" not in done.stdout


def test_a_setting_that_only_some_rows_have_is_not_one_of_all(results: Path) -> None:
    write(results, 50.0)
    write(results, 51.0, SLOW, MNLI)
    write(results, 51.0, "", QQP)
    notes = tabulate(results)[1]
    assert "Settings of all rows" not in notes
    assert f"Settings of mnli: {SLOW}" in notes


def test_names_stay_unique_for_foreign_variants(results: Path) -> None:
    write(results, 50.0, "a=1; b=2")
    write(results, 51.0, "b=2; a=1")
    write(results, 52.0, "a=1;b=2")
    assert [row["row"] for row in tabulate(results)[0]] == [
        "xlm-roberta-large [a=1; b=2]",
        "xlm-roberta-large [a=1;b=2]",
        "xlm-roberta-large [b=2; a=1]",
    ]


def test_names_of_two_models_show_their_variants_where_these_differ(results: Path) -> None:
    for model, variant in (("small", "pretrain.steps=9"), ("xlm-roberta-large", "")):
        write_task(results, "xnli", 50.0, model=model, variant=variant)
        write_task(results, "xnli", 51.0, model=model, variant=variant, intermediate=MNLI)
    assert [name for name, _ in show(results)] == ["xlm-roberta-large", "mnli", "small", "mnli [pretrain.steps=9]"]


def test_columns_that_no_row_asks_for_or_has_are_hidden(results: Path) -> None:
    grid = results / "campaign" / "grid.json"
    grid.parent.mkdir(parents=True)
    grid.write_text(json.dumps({"expected": {"targets": {"xnli": {"dev": ["en", "sw"]}}}}))
    write(results, 50.0)
    write(results, 50.0, target="mlqa")
    rows, notes = tabulate(results)
    assert list(rows[0])[1:5] == ["xnli", "pawsx", "udpos", "panx"]
    head = next(line for line in notes.splitlines() if line.startswith("|  |"))
    assert head == "|  | XNLI (acc.) | MLQA (F1) | MLQA (EM) | Avg | Partial |"
    assert "Columns left out (not in the grid): PAWS-X, POS, NER, XQuAD, TyDiQA, BUCC, Tatoeba" in notes
    latex = (results.parent / "out" / "main.tex").read_text()
    assert "PAWS-X &" not in latex and "{MLQA}" in latex
