"""Published rows of the table of test scores: those that come along, and a user's own."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import BASELINE, MNLI
from tests.aggregate.xtreme_tree import COLUMNS, GROUPS, read_rows, same, write_scores

FILE = Path(__file__).resolve().parents[2] / "aggregate" / "published.csv"
HEADER = ["row", "source", *COLUMNS, *GROUPS, "avg"]

# Typed in from Phang et al. 2020, version 1, table 2, last block: QA as (F1, EM).
BASELINE_V1 = [79.5, 86.2, 74.0, 62.6, (76.1, 60.0), (70.2, 51.2), (75.5, 61.0), 64.5, 31.0]
BEST_V1 = [80.4, 87.7, 74.4, 63.4, (77.2, 61.3), (72.3, 53.5), (81.2, 68.4), 71.9, 82.7]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    write_scores(folder, BASELINE, same(60.0))
    return folder


def write_own(results: Path, *lines: str, header: str = ",".join(HEADER)) -> None:
    (results / "published.csv").write_text("\n".join(["# mine", header, *lines]) + "\n")


def refuse(results: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["--results", str(results), "--out", str(results.parent / "out")]) == 2
    assert not (results.parent / "out").exists()
    return capsys.readouterr().err


def test_every_row_that_comes_along_has_a_source_and_stands_in_the_table(results: Path, tmp_path: Path) -> None:
    with FILE.open(newline="") as file:
        ours = list(csv.DictReader(line for line in file if not line.startswith("#")))
    rows = read_rows(results, tmp_path / "out")
    text = (tmp_path / "out" / "xtreme.md").read_text()
    assert len(ours) >= 6 and {len(row) for row in ours} == {len(HEADER)}
    for row in ours:
        assert row["source"] and f"{row['row']}: {row['source']}" in text
        for column in COLUMNS:
            assert rows[row["row"]][column] == (str(float(row[column])) if row[column] else ""), (row["row"], column)


def test_printed_averages_and_categories_agree_with_the_cells_beside_them() -> None:
    """Within 0.1: a typing error in a cell would show."""
    checked = 0
    with FILE.open(newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            tasks: dict[str, float] = {}
            for target in {column.split("_")[0] for column in COLUMNS}:
                parts = [row[column] for column in COLUMNS if column.split("_")[0] == target]
                if all(parts):
                    tasks[target] = sum(map(float, parts)) / len(parts)
            for name, members in {**GROUPS, "avg": tuple(m for group in GROUPS.values() for m in group)}.items():
                if row[name] and set(members) <= set(tasks):
                    assert sum(tasks[m] for m in members) / len(members) == pytest.approx(float(row[name]), abs=0.1)
                    checked += 1
    assert checked >= 6


def test_first_versions_test_scores_come_back_with_the_printed_averages(tmp_path: Path) -> None:
    targets = ("xnli", "pawsx", "udpos", "panx", "xquad", "mlqa", "tydiqa", "bucc2018", "tatoeba")
    results = tmp_path / "results"
    for intermediate, scores in ((BASELINE, BASELINE_V1), (MNLI, BEST_V1)):
        for target, score in zip(targets, scores, strict=True):
            value, exact = score if isinstance(score, tuple) else (score, None)
            one_set = target in ("xquad", "tydiqa", "tatoeba")
            given = {target: value} if one_set else {target: (value, value)}
            write_scores(results, intermediate, given, exact=exact)
    rows = read_rows(results, tmp_path / "out")
    assert float(rows["xlm-roberta-large"]["avg"]) == pytest.approx(66.1, abs=0.1)
    assert float(rows["best models"]["avg"]) == pytest.approx(74.2, abs=0.1)
    assert float(rows["difference"]["avg"]) == pytest.approx(74.2 - 66.1, abs=0.1)
    for column in COLUMNS:
        assert float(rows["best models"][column]) == float(rows["X-STILTs best models (v1)"][column])
        assert float(rows["xlm-roberta-large"][column]) == float(rows["XLM-R Large (X-STILTs v1)"][column])
    for name in GROUPS:
        assert float(rows["best models"][name]) == pytest.approx(float(rows["X-STILTs best models (v1)"][name]))


def test_own_row_comes_last_and_takes_the_place_of_one_of_its_name(results: Path, tmp_path: Path) -> None:
    before = (read_rows(results, tmp_path / "out"), (tmp_path / "out" / "xtreme.tex").read_text())
    write_own(
        results,
        'Mine (2026),"A talk, slide 3",70,80,,,1,2,,,,,,,,,,,',
        "Human,measured again,99.5" + "," * 16,
    )
    rows = read_rows(results, tmp_path / "out")
    assert list(rows) == [*before[0], "Mine (2026)"]
    mine = rows["Mine (2026)"]
    assert (mine["source"], mine["xnli"], mine["xquad_em"], mine["panx"]) == ("A talk, slide 3", "70.0", "2.0", "")
    assert (mine["classification"], mine["qa"], mine["avg"]) == ("75.0", "", "")  # computed where it has all tasks
    assert (rows["Human"]["xnli"], rows["Human"]["pawsx"]) == ("99.5", "")
    text = (tmp_path / "out" / "xtreme.tex").read_text()
    assert "Mine (2026): A talk, slide 3." in text
    assert text.splitlines()[0] != before[1].splitlines()[0]  # the digest of the inputs


def test_what_is_wrong_with_own_rows_is_told_at_once(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = "," * 16
    write_own(
        results,
        f"A,,70{empty}",
        f"B,here,much{empty}",
        f"C,here,101{empty}",
        f"C,a,b,{empty}",
        f"D,x,1{empty}",
        f"D,y,2{empty}",
    )
    told = refuse(results, capsys)
    for line, words in (
        (3, "no source"),
        (4, "xnli is 'much'"),
        (5, "xnli is '101'"),
        (6, "20 fields under a header of 19"),
        (8, "a second row 'D'"),
    ):
        assert f"published.csv, line {line}: {words}" in told
    assert told.count("error: ") == 5


def test_another_header_is_refused(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_own(results, header="row,source,xnli,average")
    assert "published.csv, line 2: the header must have the columns row,source,xnli" in refuse(results, capsys)


def test_columns_of_own_rows_may_stand_in_any_order(results: Path, tmp_path: Path) -> None:
    write_own(results, "," * 16 + "12.5,somewhere,Reversed", header=",".join(reversed(HEADER)))
    assert read_rows(results, tmp_path / "out")["Reversed"]["xnli"] == "12.5"
