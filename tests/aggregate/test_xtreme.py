"""The table of test scores: which model is chosen, what is shown of it, and what is said where nothing can be."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import BASELINE, LANGUAGES, MNLI, TOY, write_task
from tests.aggregate.test_output import compile_latex
from tests.aggregate.xtreme_tree import read_choices, read_rows, read_sheet, same, write_scores

SQUAD = MNLI | {"tasks": ["squad1"]}
QQP = MNLI | {"tasks": ["qqp"]}
LANGUAGES_OF_TYDIQA = "ar bn en fi id ko ru sw te".split()


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_dev_chooses_whatever_test_would(results: Path, out: Path) -> None:
    write_scores(results, BASELINE, same(60.0))
    write_scores(results, MNLI, same(50.0, xnli=(70.0, 61.0), pawsx=(59.0, 99.0)))
    write_scores(results, SQUAD, same(50.0, xnli=(69.0, 90.0)))
    rows, choices = read_rows(results, out), read_choices(results, out)
    assert choices["xnli", "dev"]["row"] == "mnli"
    assert (choices["xnli", "dev"]["score"], choices["xnli", "dev"]["baseline"]) == ("70.0", "60.0")
    assert rows["best models"]["xnli"] == "61.0"
    assert rows["difference"]["xnli"] == "1.0"
    assert choices["pawsx", "dev"]["row"] == "xlm-roberta-large"
    assert (rows["best models"]["pawsx"], rows["difference"]["pawsx"]) == ("60.0", "0.0")
    assert float(rows["difference"]["avg"]) == pytest.approx(1 / 9)
    assert float(rows["best models"]["classification"]) == 60.5


def test_of_equal_rows_the_first_of_the_table_is_chosen(results: Path, out: Path) -> None:
    """Equal too where a mean differs in its last digit, as the rounding of scores may make it."""
    write_scores(results, BASELINE, same(60.0))
    write_scores(results, MNLI, same(60.0, xnli=(70.1, 65.0)))
    write_scores(results, SQUAD, same(60.0, xnli=(None, 75.0)))
    write_task(results, "xnli", 70.1 + 20 * math.ulp(70.1), languages=["ar"], intermediate=SQUAD)
    write_task(results, "xnli", 70.1, languages=LANGUAGES["xnli"][1:], intermediate=SQUAD)
    choices = read_choices(results, out)
    assert choices["xnli", "dev"]["row"] == "mnli"
    assert choices["xnli", "dev"]["compared"] == "3"
    assert choices["pawsx", "dev"]["row"] == "xlm-roberta-large"


def test_one_set_is_chosen_on_by_the_paper_and_left_alone_by_the_honest_choice(results: Path, out: Path) -> None:
    write_scores(results, BASELINE, same(50.0))
    write_scores(results, MNLI, same(40.0, xquad=70.0, tatoeba=80.0))
    write_scores(results, SQUAD, same(40.0, xquad=60.0, mlqa=(55.0, 40.0), tatoeba=30.0, bucc2018=(90.0, 41.0)))
    for language in LANGUAGES_OF_TYDIQA:
        english = language == "en"
        for row, score in ((BASELINE, 50.0), (MNLI, 45.0 if english else 80.0), (SQUAD, 51.0 if english else 53.0)):
            write_task(results / "tydiqa" / language, "tydiqa", score, languages=[language], intermediate=row)
    for path in results.glob("tydiqa-*/*.json"):
        path.unlink()
    rows, choices = read_rows(results, out), read_choices(results, out)
    chosen = {place: (line["row"], line["chosen_by"]) for place, line in choices.items()}
    assert chosen["xquad", "paper"] == ("mnli", "XQuAD itself")
    assert chosen["xquad", "honest"] == ("squad1", "MLQA dev")
    assert chosen["tatoeba", "paper"] == ("mnli", "Tatoeba itself")
    assert chosen["tatoeba", "honest"] == ("squad1", "BUCC dev")
    assert chosen["tydiqa", "paper"] == ("mnli", "TyDiQA itself")
    assert chosen["tydiqa", "honest"] == ("squad1", "TyDiQA English")
    assert float(choices["tydiqa", "honest"]["score"]) == 51.0
    papers, honest = rows["difference"], rows["difference, honest choice"]
    assert (papers["xquad_f1"], honest["xquad_f1"]) == ("20.0", "10.0")
    assert (papers["tatoeba"], honest["tatoeba"]) == ("30.0", "-20.0")
    assert float(papers["tydiqa_em"]) == pytest.approx((8 * 30 - 5) / 9)
    assert float(honest["tydiqa_em"]) == 3.0  # without English
    assert float(rows["xlm-roberta-large, TyDiQA without English"]["tydiqa_em"]) == 50.0
    assert float(rows["best models, honest choice"]["tydiqa_f1"]) == 53.0
    assert rows["best models"]["mlqa_f1"] == rows["best models, honest choice"]["mlqa_f1"] == "40.0"
    text = (out / "xtreme.md").read_text()
    [number] = {line[3] for line in text.splitlines() if "chosen on the scored set itself, as in the paper" in line}
    [best] = [line for line in text.splitlines() if line.startswith("| best models |")]
    assert best.count(f"[{number}]") == 5  # F1 and EM of two, and Tatoeba


def test_missing_test_score_is_a_gap_and_never_dev(results: Path, out: Path) -> None:
    write_scores(results, BASELINE, same(60.0, xnli=(60.0, None), pawsx=(60.0, None)))
    write_scores(results, MNLI, same(60.0, xnli=(88.8, None), pawsx=(88.8, 77.0)))
    rows = read_rows(results, out)
    assert read_choices(results, out)["xnli", "dev"]["row"] == "mnli"
    assert [rows[name]["xnli"] for name in ("xlm-roberta-large", "best models", "difference")] == ["", "", ""]
    assert (rows["best models"]["pawsx"], rows["difference"]["pawsx"]) == ("77.0", "")
    assert rows["best models"]["classification"] == rows["best models"]["avg"] == ""
    assert rows["best models"]["targets_complete"] == "8"
    text = (out / "xtreme.md").read_text()
    assert "88.8" not in text
    assert "no test score, but one on dev: a test score needs the test labels" in text
    assert "aggregate/submission.py exports the predictions" in text
    assert "mean of 8 of 9 tasks (best models, best models, honest choice)" in text
    assert "mean of 7 of 9 tasks" in text
    [difference] = [line for line in text.splitlines() if line.startswith("| difference |")]
    assert difference.endswith("| 0.0† |")
    assert "over 7 of 9 tasks" in text


def test_a_planned_run_that_scored_dev_alone_is_named(results: Path, out: Path) -> None:
    runs = {"xnli": {"1": "target-xnli-base"}}
    rows = [BASELINE | {"runs": runs}, MNLI | {"runs": {"xnli": {"1": "target-xnli-mnli"}}}]
    expected = {"targets": {"xnli": {"dev": ["de", "en"], "test": ["de", "en"]}}, "seeds": [1], "rows": rows}
    (results / "campaign").mkdir(parents=True)
    (results / "campaign" / "grid.json").write_text(json.dumps({"expected": expected}))
    for row, run, score in ((BASELINE, "target-xnli-base", 50.0), (MNLI, "target-xnli-mnli", 60.0)):
        write_task(results, "xnli", score, languages=["de", "en"], intermediate=row, run=run)
    assert main(["--results", str(results), "--out", str(out)]) == 0
    text = (out / "xtreme.md").read_text()
    assert "run target-xnli-base scored dev alone: a test score needs the test labels" in text
    assert "no metrics yet" not in text
    assert "PAWS-X (" not in text and "TyDiQA without English" not in text and "best models, honest" not in text


def test_without_the_set_that_chooses_there_is_no_honest_choice(results: Path, out: Path) -> None:
    some = {"xquad": 50.0, "xnli": (50.0, 50.0), "tatoeba": 30.0}
    write_scores(results, BASELINE, some)
    write_scores(results, MNLI, some | {"xquad": 60.0})
    rows, choices = read_rows(results, out), read_choices(results, out)
    assert rows["difference"]["xquad_f1"] == "10.0"
    assert rows["difference, honest choice"]["xquad_f1"] == rows["best models, honest choice"]["xquad_f1"] == ""
    assert choices["xquad", "honest"]["row"] == ""
    assert "no model chosen: no row has a score on MLQA dev" in (out / "xtreme.md").read_text()


def test_rows_that_dev_cannot_compare_are_named(results: Path, out: Path) -> None:
    write_scores(results, BASELINE, same(60.0))
    write_scores(results, MNLI, same(70.0, xnli=(None, 99.0)))
    choice = read_choices(results, out)["xnli", "dev"]
    assert (choice["row"], choice["compared"], choice["not_compared"]) == ("xlm-roberta-large", "1", "mnli")
    assert "no such score: mnli" in (out / "xtreme_choice.md").read_text()


def test_a_choice_by_fewer_seeds_says_so(results: Path, out: Path) -> None:
    for seed in (1, 2):
        write_scores(results, BASELINE, same(60.0), seed=seed)
    write_scores(results, MNLI, same(70.0), seed=1)
    write_task(results, "xnli", 70.0, languages=["de"], intermediate=MNLI, seed=2)
    assert read_choices(results, out)["xnli", "dev"]["row"] == "mnli"
    text = (out / "xtreme_choice.md").read_text()
    [number] = [line[3] for line in text.splitlines() if "] seed 2 missing: ar, bg" in line]
    [line] = [line for line in text.splitlines() if line.startswith("| mnli | XNLI |")]
    assert f"70.0 [{number}]" in line


def test_interval_of_the_average_improvement_over_seeds(results: Path, out: Path) -> None:
    """Retrieval of the pretrained encoder has no seed and is paired with each; figures of t worked out by hand."""
    retrieval = {"bucc2018": (20.0, 20.0), "tatoeba": 20.0}
    for seed, gain in ((1, 3.0), (2, 5.0), (3, 7.0)):
        trained = {target: score for target, score in same(60.0 + seed).items() if target not in retrieval}
        write_scores(results, BASELINE, trained, seed=seed)
        better = {
            t: (60.0 + seed + gain,) * 2 if isinstance(s, tuple) else 60.0 + seed + gain for t, s in trained.items()
        }
        found = {target: (20.0 + gain,) * 2 if target == "bucc2018" else 20.0 + gain for target in retrieval}
        write_scores(results, MNLI, better | found, seed=seed)
    write_scores(results, BASELINE, retrieval, seed=None)
    line = read_rows(results, out)["difference"]
    assert (float(line["avg"]), line["seeds"]) == (5.0, "3")
    half = 4.302652729911275 * 2 / 3**0.5  # t at 2 degrees of freedom; deviation 2
    assert float(line["low"]) == pytest.approx(5 - half)
    assert float(line["high"]) == pytest.approx(5 + half)
    caption = (out / "xtreme.md").read_text()
    assert "+5.0 (95% interval +0.0 to +10.0 over 3 seeds, given the choice)" in caption


def test_baseline_that_wins_everywhere_gains_nothing_at_any_seed(results: Path, out: Path) -> None:
    for seed in (1, 2):
        write_scores(results, BASELINE, same(60.0 + seed), seed=seed)
        write_scores(results, MNLI, same(50.0), seed=seed)
    line = read_rows(results, out)["difference"]
    assert (line["avg"], line["seeds"], line["sd"], line["low"]) == ("0.0", "2", "0.0", "")
    assert "0.0 (all 2 seeds equal: no interval over seeds)" in (out / "xtreme.md").read_text()


def test_with_one_seed_the_caption_says_that_there_is_no_interval(results: Path, out: Path) -> None:
    write_scores(results, BASELINE, same(60.0))
    write_scores(results, MNLI, same(61.0))
    rows = read_rows(results, out)
    assert (rows["difference"]["avg"], rows["difference"]["seeds"], rows["difference"]["low"]) == ("1.0", "1", "")
    caption = (out / "xtreme.md").read_text()
    assert caption.count("+1.0 (one seed: no interval over seeds can be given)") == 2


def test_seeds_are_paired_target_by_target(results: Path, out: Path) -> None:
    write_scores(results, BASELINE, same(60.0), seed=1)
    write_scores(results, BASELINE, {"xnli": (60.0, 50.0)}, seed=2)
    write_scores(results, MNLI, same(61.0), seed=1)
    write_scores(results, MNLI, {"xnli": (61.0, 60.0)}, seed=2)
    write_scores(results, MNLI, {"xnli": (61.0, 99.0)}, seed=3)
    rows = read_rows(results, out)
    assert float(rows["difference"]["xnli"]) == pytest.approx((1 + 10) / 2)
    assert float(rows["best models"]["xnli"]) == pytest.approx((61 + 60 + 99) / 3)
    assert rows["difference"]["seeds"] == "1"
    text = (out / "xtreme.md").read_text()
    assert "paired over seeds 1, 2 (seed 3 not in the baseline)" in text
    assert "one seed: no interval" in text


def test_each_baseline_has_its_own_best_models(results: Path, out: Path) -> None:
    for model, low, high in (("xlm-roberta-large", 60.0, 65.0), ("org/small", 40.0, 41.0)):
        write_scores(results / model, BASELINE, same(low), model=model)
        write_scores(results / model, MNLI, same(high), model=model)
    gains = [(line["block"], line["avg"]) for line in read_sheet(results, out) if line["row"] == "difference"]
    assert gains == [("xlm-roberta-large", "5.0"), ("small", "1.0")]
    text = (out / "xtreme.md").read_text()
    for name, gain in gains:
        assert f"- Average improvement over {name}: +{gain} (one seed: no interval over seeds can be given)" in text
        assert f"over {name}:" in (out / "xtreme_choice.tex").read_text()


def test_toy_languages_stand_beside_nothing_published(results: Path, out: Path) -> None:
    for split in ("dev", "test"):
        for target in TOY:
            if split == "test" or target in ("xnli", "udpos"):
                write_task(results, target, 50.0, suite="toy", split=split)
                write_task(results, target, 60.0, suite="toy", split=split, intermediate=MNLI)
    rows = read_rows(results, out)
    assert "Human" not in rows
    assert rows["difference"]["avg"] == "" and rows["difference"]["avg_partial"] == "10.0"
    text = (out / "xtreme.md").read_text()
    assert "made up, not XTREME" in text and "PAWS-X (" not in text
    assert "over 4 of 9 tasks" in text


def test_nothing_without_scores(results: Path, out: Path) -> None:
    write_task(results, "xnli", 50.0, languages=["de"])
    assert main(["--results", str(results), "--out", str(out)]) == 0
    assert not (out / "xtreme.csv").exists()


def test_latex_of_both_tables_compiles(results: Path, out: Path, latex: str) -> None:
    tasks = ["anli", "ccg", "cosmosqa", "csqa", "hellaswag", "mnli", "qqp", "squad1", "squad2"]
    write_scores(results, BASELINE, same(60.0, xnli=(60.0, None)))
    write_scores(results, QQP, same(61.0, xnli=(60.0, None)), seed=2)
    write_scores(results, MNLI | {"mode": "multitask", "tasks": tasks}, same(64.5), variant="")
    assert main(["--results", str(results), "--out", str(out)]) == 0
    for name in ("xtreme", "xtreme_choice"):
        (out / "main.tex").write_text((out / f"{name}.tex").read_text())
        log = compile_latex(latex, out)
        assert "Overfull" not in log and "Float too large" not in log
