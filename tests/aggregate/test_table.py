"""What stands in the main table: languages, seeds, baselines, splits, averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import (
    LANGUAGES,
    MNLI,
    TOY,
    make_document,
    make_metrics,
    read_cells,
    read_table,
    write_document,
    write_row,
    write_task,
)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def tabulate(results: Path, *options: str) -> tuple[int, list[dict[str, str]]]:
    out = results.parent / "out"
    code = main(["--results", str(results), "--out", str(out), *options])
    return code, read_table(out)


def cells(results: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    return read_cells(results.parent / "out")


def notes(results: Path) -> str:
    return (results.parent / "out" / "main.md").read_text()


def test_header_and_first_row_are_the_contract(results: Path) -> None:
    write_row(results, 60.0)
    _, rows = tabulate(results)
    assert ",".join(rows[0]) == (
        "row,xnli,pawsx,udpos,panx,xquad_f1,xquad_em,mlqa_f1,mlqa_em,tydiqa_f1,tydiqa_em,bucc2018,tatoeba,"
        "avg,avg_partial,targets_complete"
    )
    assert (rows[0]["row"], rows[0]["avg"], rows[0]["targets_complete"]) == ("xlm-roberta-large", "60.0", "9")


def test_score_is_the_mean_over_languages_and_a_qa_task_counts_f1_and_em_half_each(results: Path) -> None:
    write_row(results, 0.0, without=["pawsx", "mlqa"])
    for index, language in enumerate(LANGUAGES["pawsx"]):
        write_document(results, make_document("pawsx", language, make_metrics("pawsx", 10.0 * index)))
    write_task(results, "mlqa", 80.0, exact=40.0)
    _, [row] = tabulate(results)
    assert float(row["pawsx"]) == pytest.approx(30.0)
    assert (row["mlqa_f1"], row["mlqa_em"]) == ("80.0", "40.0")
    assert float(row["avg"]) == pytest.approx((30 + 60) / 9)


def test_a_missing_language_empties_the_cell_and_avg_and_is_named(results: Path) -> None:
    write_row(results, 60.0)
    write_row(results, 62.0, without=["xnli"], intermediate=MNLI)
    kept = [language for language in LANGUAGES["xnli"] if language not in ("sw", "ur")]
    write_task(results, "xnli", 70.0, languages=kept, intermediate=MNLI)
    code, rows = tabulate(results)
    assert code == 0
    assert (rows[1]["row"], rows[1]["xnli"], rows[1]["avg"], rows[1]["targets_complete"]) == ("mnli", "", "", "8")
    assert float(rows[1]["avg_partial"]) == pytest.approx(2.0)
    cell = cells(results)["", "mnli", "xnli"]
    assert cell["reason"] == "missing: sw, ur"
    assert cell["present_languages"].split() == kept
    assert "missing: sw, ur" in notes(results)
    assert "mean of 8 of 9 tasks" in notes(results)


def test_a_difference_needs_the_task_on_both_sides(results: Path) -> None:
    write_row(results, 60.0, without=["panx"])
    write_row(results, 61.0, without=["xnli"], intermediate=MNLI)
    _, rows = tabulate(results)
    assert (rows[0]["targets_complete"], rows[1]["targets_complete"]) == ("8", "7")
    assert float(rows[1]["avg_partial"]) == pytest.approx(1.0)
    assert cells(results)["", "mnli", "panx"]["reason"] == "baseline: no results"
    assert cells(results)["", "mnli", "panx"]["absolute"] == "61.0"


def test_udpos_dev_has_29_languages_and_dev_is_not_test(results: Path) -> None:
    write_task(results, "udpos", 70.0)
    write_task(results, "udpos", 10.0, split="test")
    write_document(results, make_document("udpos", "kk", make_metrics("udpos", 1.0), split="test"))
    _, [row] = tabulate(results)
    assert row["udpos"] == "70.0"
    assert len(cells(results)["", "xlm-roberta-large", "udpos"]["expected_languages"].split()) == 29


def test_f1_and_not_accuracy_is_the_score_of_udpos(results: Path) -> None:
    for language in LANGUAGES["udpos"]:
        write_document(results, make_document("udpos", language, {"accuracy": 90.0, "f1": 70.0}))
    _, [row] = tabulate(results)
    assert row["udpos"] == "70.0"


@pytest.mark.parametrize("split", ["dev", "test"])
def test_one_released_set_counts_under_either_label(results: Path, split: str) -> None:
    for target in ("xquad", "tydiqa", "tatoeba"):
        write_task(results, target, 50.0, split=split)
    _, [row] = tabulate(results)
    assert (row["xquad_f1"], row["tydiqa_em"], row["tatoeba"]) == ("50.0", "50.0", "50.0")


def test_one_released_set_under_both_labels_is_fine_when_equal_and_a_conflict_when_not(results: Path) -> None:
    for split, xquad in (("dev", 50.0), ("test", 51.0)):
        write_task(results, "xquad", xquad, split=split)
        write_task(results, "tydiqa", 50.0, split=split)
    _, [row] = tabulate(results)
    assert (row["xquad_f1"], row["tydiqa_f1"]) == ("", "50.0")
    text = notes(results)
    assert text.count("conflict: different numbers") == len(LANGUAGES["xquad"])
    assert "labelled dev and test" in text
    assert "duplicate" not in text


def test_differences_are_paired_by_seed(results: Path) -> None:
    for seed, base, own in ((1, 50.0, 53.0), (2, 60.0, 61.0), (3, 10.0, None)):
        write_task(results, "xnli", base, seed=seed)
        if own:
            write_task(results, "xnli", own, seed=seed, intermediate=MNLI)
    write_task(results, "xnli", 99.0, seed=4, intermediate=MNLI)
    _, rows = tabulate(results)
    assert float(rows[0]["xnli"]) == pytest.approx(40.0)
    assert float(rows[1]["xnli"]) == pytest.approx(2.0)  # seeds 1 and 2; unpaired means would give +31
    cell = cells(results)["", "mnli", "xnli"]
    assert cell["seeds"] == "2"
    assert cell["reason"] == "paired over seeds 1, 2 (seed 4 not in the baseline; seed 3 only in the baseline)"


def test_no_shared_seed_is_no_difference(results: Path) -> None:
    write_task(results, "xnli", 50.0, seed=1)
    write_task(results, "xnli", 53.0, seed=2, intermediate=MNLI)
    _, rows = tabulate(results)
    assert rows[1]["xnli"] == ""
    assert "no seed shared with the baseline" in cells(results)["", "mnli", "xnli"]["reason"]


def test_retrieval_without_a_seed_is_paired_with_every_seed(results: Path) -> None:
    write_task(results, "tatoeba", 30.0, seed=None)
    write_task(results, "tatoeba", 70.0, seed=1, intermediate=MNLI)
    write_task(results, "tatoeba", 80.0, seed=2, intermediate=MNLI)
    _, rows = tabulate(results)
    assert (rows[0]["tatoeba"], rows[1]["tatoeba"]) == ("30.0", "45.0")
    assert cells(results)["", "xlm-roberta-large", "tatoeba"]["seeds"] == "1"
    assert cells(results)["", "mnli", "tatoeba"]["seeds"] == "2"
    assert cells(results)["", "mnli", "tatoeba"]["reason"] == ""


def test_an_incomplete_seed_is_left_out_and_named(results: Path) -> None:
    write_task(results, "pawsx", 50.0, seed=1)
    write_task(results, "pawsx", 90.0, seed=2, languages=["en", "de"])
    _, [row] = tabulate(results)
    assert row["pawsx"] == "50.0"
    assert cells(results)["", "xlm-roberta-large", "pawsx"]["reason"] == "seed 2 missing: es, fr, ja, ko, zh"


def test_two_models_never_share_a_baseline(results: Path) -> None:
    write_task(results, "xnli", 50.0)
    write_task(results, "xnli", 55.0, intermediate=MNLI)
    write_task(results, "xnli", 20.0, model="org/small-model")
    write_task(results, "xnli", 21.0, model="org/small-model", intermediate=MNLI)
    write_task(results, "xnli", 70.0, model="org/orphan", intermediate=MNLI)
    _, rows = tabulate(results)
    assert [(row["row"], row["xnli"]) for row in rows] == [
        ("xlm-roberta-large", "50.0"),
        ("mnli", "5.0"),
        ("orphan", ""),
        ("mnli", ""),
        ("small-model", "20.0"),
        ("mnli", "1.0"),
    ]
    assert "baseline: no run without intermediate training for this model and variant" in notes(results)


def test_a_variant_does_not_borrow_the_plain_baseline(results: Path) -> None:
    write_task(results, "xnli", 50.0)
    write_task(results, "xnli", 55.0, intermediate=MNLI, variant="lr=1e-5")
    _, rows = tabulate(results)
    assert [(row["row"], row["xnli"]) for row in rows] == [
        ("xlm-roberta-large", "50.0"),
        ("xlm-roberta-large [lr=1e-5]", ""),
        ("mnli", ""),
    ]
    assert "Settings of mnli: lr=1e-5" in notes(results)
    cell = cells(results)["lr=1e-5", "mnli", "xnli"]
    assert cell["reason"] == "baseline: no run without intermediate training for this model and variant"
    assert cell["absolute"] == "55.0"


def test_row_names_and_their_order(results: Path) -> None:
    def write(mode: str, tasks: list[str], mlm: bool = False, translated: bool = False) -> None:
        intermediate = {"mode": mode, "tasks": tasks, "mlm": mlm, "translated": translated}
        write_task(results, "bucc2018", 50.0, intermediate=intermediate)

    write("sequential", ["squad1", "mnli"])
    write("multitask", ["squad1", "mnli", "hellaswag"])
    write("single", ["mnli"], translated=True)
    write("single", ["mnli"], mlm=True)
    write("multitask", ["qqp"])
    write("none", [], mlm=True)
    write("none", [])
    _, rows = tabulate(results)
    assert [row["row"] for row in rows] == [
        "xlm-roberta-large",
        "qqp",
        "hellaswag+mnli+squad1",
        "squad1 > mnli",
        "xlm-roberta-large (mlm)",
        "mnli (mlm)",
        "mnli (translated)",
    ]


def test_layer_sweeps_intermediate_scores_and_superseded_folders_stay_out(results: Path) -> None:
    write_task(results, "tatoeba", 40.0)
    write_task(results, "tatoeba", 90.0, layer=3)
    write_task(results / "old" / "superseded", "tatoeba", 10.0)
    dev = make_document("mnli", "en", {"accuracy": 88.0}, stage="intermediate", intermediate=MNLI)
    write_document(results, dev)
    write_document(results, {"schema": "other/1", "metrics": "anything"})
    write_document(results, [1, 2])
    _, rows = tabulate(results)
    assert [(row["row"], row["tatoeba"]) for row in rows] == [("xlm-roberta-large", "40.0")]
    assert "## Findings\n\nNone." in notes(results)


def test_toy_suite_counts_its_own_languages_and_says_so(results: Path) -> None:
    for target in TOY:
        write_task(results, target, 50.0, suite="toy")
        write_task(results, target, 54.0, suite="toy", intermediate=MNLI)
    code, rows = tabulate(results, "--strict")
    assert code == 0
    assert (rows[1]["xnli"], rows[1]["avg"], rows[1]["avg_partial"]) == ("4.0", "", "4.0")
    assert rows[1]["targets_complete"] == "4"
    assert "toy languages" in notes(results)
    assert "mean of 4 of 9 tasks" in notes(results)
    assert "‡" not in notes(results)


def test_two_suites_are_not_mixed(results: Path) -> None:
    write_task(results, "xnli", 50.0)
    write_task(results, "xnli", 90.0, suite="toy", intermediate=MNLI)
    _, rows = tabulate(results)
    assert [row["row"] for row in rows] == ["xlm-roberta-large"]
    assert "suite toy: 4 scores" in notes(results)


def test_seed_null_beside_seeds_is_set_apart(results: Path) -> None:
    write_task(results, "bucc2018", 50.0, seed=0)
    write_task(results, "bucc2018", 90.0, seed=None)
    _, [row] = tabulate(results)
    assert row["bucc2018"] == "50.0"
    assert notes(results).count("seed null beside seeds 0; set apart") == 4


def test_one_document_of_the_contract_is_enough(results: Path) -> None:
    example: dict[str, Any] = {
        "schema": "stilts.metrics/1",
        "run": "target-xnli-x-3f9a2c1d",
        "intermediate": {"mode": "multitask", "tasks": ["mnli", "squad1"], "mlm": False, "translated": False},
        "target": "xnli",
        "language": "sw",
        "split": "dev",
        "seed": 1,
        "metrics": {"accuracy": 71.3},
        "examples": 2490,
        "provenance": {},
    }
    write_document(results, example)
    _, rows = tabulate(results)
    assert [row["row"] for row in rows] == ["xlm-roberta-large", "mnli+squad1"]
    assert rows[1]["targets_complete"] == "0"
