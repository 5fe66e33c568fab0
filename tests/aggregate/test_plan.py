"""Cells filled by the runs that a plan names, whatever the labels say; what is said about runs without metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import BASELINE, LANGUAGES, MNLI, TOY, read_cells, read_table, write_task

PLAIN = {"model": "xlm-roberta-large", "mode": "none", "tasks": []}
TRAINED = {"model": "xlm-roberta-large", "mode": "single", "tasks": ["mnli"]}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def keep_plan(results: Path, rows: list[dict[str, Any]], seeds: tuple[int, ...] = (1,), **expected: Any) -> None:
    """A resolved grid whose targets are those that its runs fill."""
    path = results / "campaign" / "grid.json"
    path.parent.mkdir(parents=True)
    targets = {
        target: {"test" if target in ("xquad", "tatoeba") else "dev": LANGUAGES[target]}
        for target in LANGUAGES
        if any(target in row.get("runs", {}) for row in rows)
    }
    document = {"expected": {"targets": targets, "seeds": list(seeds), "rows": rows} | expected}
    path.write_text(json.dumps(document))


def write_run(results: Path, run: str, target: str, value: float, **changes: Any) -> None:
    write_task(results / run / "metrics", target, value, run=run, **changes)


def end_attempt(results: Path, run: str, name: str, started: float, **outcome: Any) -> None:
    attempt = results / run / "attempts" / name
    attempt.mkdir(parents=True)
    (attempt / "attempt.json").write_text(json.dumps({"started": started}))
    if outcome:
        (attempt / "outcome.json").write_text(json.dumps(outcome))


def tabulate(results: Path, *options: str) -> tuple[int, list[dict[str, str]], str]:
    out = results.parent / "out"
    code = main(["--results", str(results), "--out", str(out), *options])
    return code, read_table(out), (out / "main.md").read_text()


def reasons(results: Path) -> dict[tuple[str, str], str]:
    """Reason by row name and column."""
    return {(row, column): cell["reason"] for (_, row, column), cell in read_cells(results.parent / "out").items()}


def test_the_plan_says_which_run_fills_a_cell_whatever_its_labels(results: Path) -> None:
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "a"}}}, TRAINED | {"runs": {"xnli": {"1": "b"}}}])
    write_run(results, "a", "xnli", 50.0, intermediate=MNLI, variant="x=1", seed=9)
    write_run(results, "b", "xnli", 57.0, variant="target.epochs=3")
    code, rows, _ = tabulate(results, "--strict")
    assert code == 0
    assert [(row["row"], row["xnli"]) for row in rows] == [("xlm-roberta-large", "50.0"), ("mnli", "7.0")]


def test_one_run_serves_several_rows(results: Path) -> None:
    """A baseline that an axis does not touch; with the labels of the row that came first."""
    slow, fast = "retrieval.layer=3", "retrieval.layer=9"
    keep_plan(
        results,
        [
            PLAIN | {"variant": slow, "runs": {"xnli": {"1": "base"}, "tatoeba": {"1": "t3"}}},
            PLAIN | {"variant": fast, "runs": {"xnli": {"1": "base"}, "tatoeba": {"1": "t9"}}},
        ],
    )
    write_run(results, "base", "xnli", 50.0, variant=slow)
    write_run(results, "t3", "tatoeba", 30.0, variant=slow, layer=3)
    write_run(results, "t9", "tatoeba", 40.0, variant=slow, layer=9)
    code, rows, notes = tabulate(results, "--strict")
    assert code == 0
    assert [(row["row"], row["xnli"], row["tatoeba"]) for row in rows] == [
        (f"xlm-roberta-large [{slow}]", "50.0", "30.0"),
        (f"xlm-roberta-large [{fast}]", "50.0", "40.0"),
    ]
    assert "## Findings\n\nNone." in notes


def test_of_a_sweep_the_layer_counts_that_the_row_asks_for(results: Path) -> None:
    asked = "retrieval.layer=3"
    keep_plan(results, [PLAIN | {"variant": asked, "runs": {"tatoeba": {"1": "t"}}}])
    for layer in (0, 3, 9):
        write_run(results, "t", "tatoeba", 30.0 + layer, variant=asked, layer=layer)
    assert [row["tatoeba"] for row in tabulate(results)[1]] == ["33.0"]


@pytest.mark.parametrize("base_seeds", [("1", "2"), ("1",)])
def test_a_run_without_a_seed_is_paired_with_every_seed(results: Path, base_seeds: tuple[str, ...]) -> None:
    base = {"tatoeba": dict.fromkeys(base_seeds, "one")}
    trained = {"tatoeba": {"1": "s1", "2": "s2"}}
    keep_plan(results, [PLAIN | {"runs": base}, TRAINED | {"runs": trained}], seeds=(1, 2))
    write_run(results, "one", "tatoeba", 30.0, seed=None)
    write_run(results, "s1", "tatoeba", 31.0, seed=1, intermediate=MNLI)
    write_run(results, "s2", "tatoeba", 35.0, seed=2, intermediate=MNLI)
    code, rows, _ = tabulate(results, "--strict")
    assert code == 0
    assert [row["tatoeba"] for row in rows] == ["30.0", "3.0"]
    cells = read_cells(results.parent / "out")
    assert (cells["", "xlm-roberta-large", "tatoeba"]["seeds"], cells["", "mnli", "tatoeba"]["seeds"]) == ("1", "2")


def test_runs_that_the_plan_does_not_name_stay_out_of_its_rows_and_show_their_own(results: Path) -> None:
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "new"}}}])
    write_run(results, "new", "xnli", 50.0)
    write_run(results, "old", "xnli", 10.0)
    write_run(results, "other", "xnli", 53.0, intermediate=MNLI)
    code, rows, notes = tabulate(results, "--strict")
    assert code == 0
    assert [(row["row"], row["xnli"]) for row in rows] == [("xlm-roberta-large", "50.0"), ("mnli", "3.0")]
    assert f"runs that the plan does not name for these cells: {len(LANGUAGES['xnli'])} scores" in notes
    assert "conflict" not in notes


def test_a_planned_run_shows_another_target_that_it_scored(results: Path) -> None:
    """The SQuAD-trained run serves MLQA too; nobody asked for it, so only the rows that have it show it."""
    keep_plan(results, [PLAIN | {"runs": {"xquad": {"1": "a"}}}, TRAINED | {"runs": {"xquad": {"1": "b"}}}])
    for run, value in (("a", 50.0), ("b", 52.0)):
        write_run(results, run, "xquad", value)
    write_run(results, "a", "mlqa", 40.0)
    code, rows, notes = tabulate(results, "--strict")
    assert code == 0
    assert [(row["xquad_f1"], row["mlqa_f1"]) for row in rows] == [("50.0", "40.0"), ("2.0", "")]
    assert "MLQA (F1) | MLQA (EM)" in notes and "XNLI" not in notes.partition("Columns left out")[0]


def test_seeds_and_targets_are_those_of_each_row(results: Path) -> None:
    keep_plan(
        results,
        [
            PLAIN | {"runs": {"xnli": {"1": "a1", "2": "a2"}, "pawsx": {"1": "p1"}}},
            TRAINED | {"runs": {"xnli": {"2": "b2"}}},
        ],
        seeds=(1, 2),
    )
    for run, target, value in (("a1", "xnli", 50.0), ("a2", "xnli", 60.0), ("p1", "pawsx", 80.0), ("b2", "xnli", 61.0)):
        write_run(results, run, target, value)
    code, rows, _ = tabulate(results)
    assert code == 0
    assert (rows[1]["xnli"], rows[1]["pawsx"]) == ("1.0", "")
    assert reasons(results)["mnli", "xnli"] == "paired over seed 2 (seed 1 only in the baseline)"
    assert reasons(results)["mnli", "pawsx"] == "not in the grid"
    assert tabulate(results, "--strict")[0] == 0


def test_a_run_without_metrics_is_named(results: Path) -> None:
    runs = {"xnli": {"1": "x-1", "2": "x-2"}, "pawsx": {"1": "p-1", "2": "p-2"}, "tatoeba": {"1": "t", "2": "t"}}
    keep_plan(results, [PLAIN | {"runs": runs}], seeds=(1, 2))
    write_run(results, "x-1", "xnli", 50.0)
    code, [row], notes = tabulate(results)
    assert (code, row["xnli"], row["pawsx"]) == (0, "50.0", "")
    told = reasons(results)
    assert told["xlm-roberta-large", "xnli"] == "seed 2: run x-2 has no metrics yet"
    assert told["xlm-roberta-large", "pawsx"] == "runs p-1, p-2 have no metrics yet"
    assert told["xlm-roberta-large", "tatoeba"] == "run t has no metrics yet"
    assert "] runs p-1, p-2 have no metrics yet" in notes and "] run t has no metrics yet" in notes
    assert tabulate(results, "--strict")[0] == 1


def test_equal_reasons_share_a_note_that_names_some_of_the_runs(results: Path) -> None:
    rows = [
        TRAINED | {"tasks": [task], "runs": {"xnli": {"1": f"{task}-1"}, "pawsx": {"1": f"{task}-2"}}}
        for task in ("mnli", "qqp", "ccg")
    ]
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "a"}, "pawsx": {"1": "p"}}}, *rows])
    write_run(results, "a", "xnli", 50.0)
    write_run(results, "p", "pawsx", 50.0)
    _, _, notes = tabulate(results)
    assert "] run ... has no metrics yet; runs: ccg-1, ccg-2, mnli-1 and 3 more (main\\_detail.csv)" in notes
    assert notes.count("has no metrics yet") == 1


def test_how_the_newest_attempt_of_a_run_without_metrics_ended(results: Path) -> None:
    runs = {name: f"run-{name}" for name in ("xnli", "pawsx", "udpos", "panx", "mlqa")}
    keep_plan(results, [PLAIN | {"runs": {target: {"1": run} for target, run in runs.items()}}])
    write_run(results, "elsewhere", "xnli", 50.0, intermediate=MNLI)
    end_attempt(results, "run-xnli", "z", 1.0, state="cancelled", reason="time limit")
    end_attempt(results, "run-xnli", "b", 2.0, state="failed", reason="CUDA out of memory\nin layer 3 " + "x" * 200)
    end_attempt(results, "run-pawsx", "a", 1.0, state="cancelled", reason="preempted")
    end_attempt(results, "run-udpos", "a", 1.0, state="failed", reason="disk full")
    end_attempt(results, "run-udpos", "b", 2.0)  # runs now
    end_attempt(results, "run-panx", "a", 1.0, state="done", reason="finished")
    tabulate(results)
    told = {column: reason for (row, column), reason in reasons(results).items() if row == "xlm-roberta-large"}
    assert told["xnli"].startswith("run run-xnli failed: CUDA out of memory in layer 3 xxx")
    assert told["xnli"].endswith("...") and len(told["xnli"]) < 120
    assert told["pawsx"] == "run run-pawsx cancelled: preempted"
    for column, run in (("udpos", "run-udpos"), ("panx", "run-panx"), ("mlqa_f1", "run-mlqa")):
        assert told[column] == f"run {run} has no metrics yet"


def test_a_run_with_contradicting_files_is_a_conflict(results: Path) -> None:
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "a"}}}])
    write_run(results, "a", "xnli", 50.0)
    write_run(results / "copy", "a", "xnli", 51.0, languages=["sw"])
    _, [row], notes = tabulate(results)
    assert row["xnli"] == ""
    assert "conflict: different numbers for run a, xnli dev sw" in notes


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ({"xnly": {"1": "a"}}, "expected.rows.0.runs: unknown target 'xnly'"),
        ({"xnli": {"one": "a"}}, "expected.rows.0.runs.xnli.one"),
        ({"xnli": {"1": "../a"}}, "expected.rows.0.runs.xnli.1"),
        ({"xnli": {"1": "b"}}, "expected.rows.1.runs.xnli.1: a, but the same row has b there before"),
    ],
)
def test_bad_runs_are_an_error(
    results: Path, runs: dict[str, Any], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"mode": "multitask", "tasks": ["mnli"]}
    keep_plan(results, [row | {"runs": runs}, row | {"runs": {"xnli": {"1": "a"}}}], targets=None)
    assert main(["--results", str(results), "--out", str(results.parent / "out")]) == 2
    assert reason in capsys.readouterr().err


def test_seeds_of_different_recipes_are_refused(results: Path) -> None:
    for seed, recipe in ((1, "aaaa0000"), (2, "bbbb1111"), (3, "bbbb1111")):
        write_task(results, "xnli", 50.0 + seed, seed=seed, provenance={"recipe": recipe})
        write_task(results, "pawsx", 50.0, seed=seed, provenance={"recipe": "cccc2222"} if seed > 1 else {})
        write_task(results, "xnli", 60.0, seed=seed, provenance={"recipe": "dddd3333"}, intermediate=MNLI)
    code, rows, notes = tabulate(results)
    assert code == 0
    assert [(row["xnli"], row["pawsx"]) for row in rows] == [("", "50.0"), ("", "")]
    assert reasons(results)["xlm-roberta-large", "xnli"] == "seeds of different recipes"
    assert reasons(results)["mnli", "xnli"] == "baseline: seeds of different recipes"
    [line] = [line for line in notes.splitlines() if "none used" in line]
    assert "aaaa0000 (seed 1), bbbb1111 (seeds 2, 3); none used" in line
    assert line.count(".json") == 2
    for recipe in ("aaaa0000", "bbbb1111"):  # each named file carries its recipe
        named = [path for path in results.rglob("*.json") if str(path.relative_to(results)) in line]
        assert sum(recipe in path.read_text() for path in named) == 1
    assert tabulate(results, "--strict")[0] == 1


def test_recipes_of_a_planned_cell_are_compared_and_seeds_outside_the_grid_are_not(results: Path) -> None:
    keep_plan(results, [PLAIN | {"runs": {"xnli": {"1": "a", "2": "b"}, "pawsx": {"1": "c"}}}], seeds=(1, 2))
    write_run(results, "a", "xnli", 50.0, provenance={"recipe": "aaaa0000"})
    write_run(results, "b", "xnli", 50.0, provenance={"recipe": "bbbb1111"})
    write_run(results, "c", "pawsx", 50.0, provenance={"recipe": "cccc2222"})
    write_run(results, "old", "xnli", 51.0, intermediate=MNLI, provenance={"recipe": "aaaa0000"})
    write_run(results, "older", "xnli", 51.0, intermediate=MNLI, provenance={"recipe": "eeee4444"}, seed=7)
    _, rows, _ = tabulate(results)
    assert [(row["xnli"], row["pawsx"]) for row in rows] == [("", "50.0"), ("", "")]
    told = reasons(results)
    assert told["xlm-roberta-large", "xnli"] == "seeds of different recipes"
    assert told["mnli", "xnli"] == "seed 2 no results; baseline: seeds of different recipes"


def test_toy_plan_in_a_hundred_columns(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quickstart: four targets in one tier, columns of the other five gone but from main.csv."""
    monkeypatch.setenv("COLUMNS", "100")
    common = "target.epochs=5; target.learning_rate=0.001"
    rows = []
    trainings = {"none": BASELINE, "mnli": MNLI}
    trainings["hellaswag+mnli+squad1"] = MNLI | {"mode": "multitask", "tasks": ["hellaswag", "mnli", "squad1"]}
    for name, training in trainings.items():
        variant = common if name == "none" else f"intermediate.epochs=4; {common}"
        runs = {target: {"1": f"{target}-{name}"} for target in TOY}
        row = {"model": "scratch", "mode": training["mode"], "tasks": training["tasks"], "variant": variant}
        rows.append(row | {"runs": runs})
        for target in TOY:
            write_run(results, f"{target}-{name}", target, 50.0 + len(name), suite="toy")
    keep_plan(results, rows, suite="toy", targets=None)
    code, lines, notes = tabulate(results, "--strict")
    assert code == 0
    table = capsys.readouterr().out.split("\nwrote ")[0]
    assert max(map(len, table.splitlines())) <= 100
    assert table.count("\nscratch ") == table.count("Partial") == 1
    assert "Settings of all rows: intermediate.epochs=4; target.epochs=5; target.learning_rate=0.001" in table
    assert [line["row"] for line in lines] == ["scratch", "mnli", "hellaswag+mnli+squad1"]
    assert len(lines[0]) == 16
    latex = (results.parent / "out" / "main.tex").read_text()
    for text in (table, notes, latex):
        shown = text.partition("Columns left out")[0]
        assert "Tatoeba" in shown and "Avg" in shown
        assert not any(title in shown for title in ("PAWS-X", "NER", "MLQA", "TyDiQA", "BUCC"))
        assert "mean of 4 of 9 tasks; Avg needs all 9" in text
