"""The published table, turned into metric files, comes back as printed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import BASELINE, find_shared, read_table, write_task

SINGLES = {
    "ANLI+": "anli",
    "QQP": "qqp",
    "SQuAD": "squad1",
    "HellaSwag": "hellaswag",
    "CCG": "ccg",
    "CosmosQA": "cosmosqa",
    "CSQA": "csqa",
}
# main.csv column: published column
COLUMNS = {
    "xnli": "xnli_acc",
    "pawsx": "pawsx_acc",
    "udpos": "pos_f1",
    "panx": "ner_f1",
    "xquad_f1": "xquad_f1",
    "xquad_em": "xquad_em",
    "mlqa_f1": "mlqa_f1",
    "mlqa_em": "mlqa_em",
    "tydiqa_f1": "tydiqa_f1",
    "tydiqa_em": "tydiqa_em",
    "bucc2018": "bucc_f1",
    "tatoeba": "tatoeba_acc",
}
TARGETS = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")


def read_published() -> list[dict[str, str]]:
    with open(find_shared("reference/published/phang2020_v1_table2_no_mlm.csv")) as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [row for row in rows if row["block"] in ("dev_baseline", "dev_delta_no_mlm")]


def describe_row(row: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Name in our table and `intermediate` in our files."""
    if row["block"] == "dev_baseline":
        return "xlm-roberta-large", BASELINE
    if row["row"] in SINGLES:
        task = SINGLES[row["row"]]
        return task, {"mode": "single", "tasks": [task], "mlm": False, "translated": False}
    assert row["row"] == "Multi-task"
    tasks = [task for task in SINGLES.values() if task != "squad1"]
    return "+".join(sorted(tasks)), {"mode": "multitask", "tasks": tasks, "mlm": False, "translated": False}


def write_published(folder: Path, rows: list[dict[str, str]]) -> None:
    base = rows[0]
    for row in rows:
        name, intermediate = describe_row(row)
        for target in TARGETS:
            value, *exact = (
                float(row[COLUMNS[column]]) + (float(base[COLUMNS[column]]) if row is not base else 0)
                for column in COLUMNS
                if column.split("_")[0] == target
            )
            seed = None if row is base and target in ("bucc2018", "tatoeba") else 1
            exact_match = exact[0] if exact else None
            write_task(folder / name, target, value, exact_match, intermediate=intermediate, seed=seed)


def test_published_table_comes_back_to_the_printed_digit(tmp_path: Path) -> None:
    published = read_published()
    write_published(tmp_path / "results", published)

    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out"), "--strict"]) == 0

    table = {row["row"]: row for row in read_table(tmp_path / "out")}
    assert len(table) == len(published) == 9
    assert read_table(tmp_path / "out")[0]["row"] == "xlm-roberta-large"
    for row in published:
        ours = table[describe_row(row)[0]]
        for column, printed in COLUMNS.items():
            assert f"{float(ours[column]):.1f}" == f"{float(row[printed]):.1f}", (row["row"], column)
        assert float(ours["avg"]) == pytest.approx(float(row["avg"]), abs=0.1)
        assert ours["avg_partial"] == ours["avg"]
        assert ours["targets_complete"] == "9"
    latex = (tmp_path / "out" / "main.tex").read_text()
    assert "& 76.1 & 60.0 &" in latex
    squad = next(line for line in latex.splitlines() if "squad1" in line)
    assert "$+5.6$" in squad and "$+7.4$" in squad
