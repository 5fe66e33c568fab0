"""Slopes, mixtures against sequences, and transfer: every figure worked out again from the scores that were written."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path
from statistics import fmean, stdev

import pytest

from aggregate.tables import main
from tests.aggregate.metric_tree import write_task
from tests.aggregate.scale_tree import SCORES, keep, places, resolved, row_of, write_scores
from tests.aggregate.test_output import compile_latex

SEEDS = (1, 2, 3)
T_AT_2 = 4.302653  # the 97.5 % quantile of Student's t at two degrees of freedom, from a printed table
Scores = dict[tuple[str, int], float]


@pytest.fixture(scope="module")
def scores() -> Scores:
    """TyDiQA F1 by row and seed; EM is 20 below."""
    rng = random.Random(5)
    return {(name, seed): score / 2 + rng.gauss(0, 1) for name, score in SCORES.items() for seed in SEEDS}


@pytest.fixture(scope="module")
def out(scores: Scores, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("study")
    for (name, seed), score in scores.items():
        made = row_of(name) | {"mlm": False, "translated": False}
        write_task(results, "tydiqa", score, score - 20, intermediate=made, seed=seed)
    keep(results, resolved(places()))
    assert main(["--results", str(results), "--out", str(results / "out")]) == 0
    return results / "out"


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def of_draw(scores: Scores, regime: str, count: int, draw: int, seed: int) -> float:
    """The difference to the baseline of a draw at a seed: the mean over its orders."""
    own = [name for place, name in places().items() if place[:3] == (count, draw, regime)]
    return fmean(scores[name, seed] - scores["none", seed] for name in own)


def near(text: str, value: float) -> None:
    assert float(text) == pytest.approx(value, abs=1e-6)


def test_a_contrast_is_over_draws_and_over_seeds_where_all_draws_are_one_set(scores: Scores, out: Path) -> None:
    lines = {(line["tasks"], line["metric"]): line for line in read(out / "tydiqa.csv")}
    assert set(lines) == {(count, metric) for count in "23" for metric in ("f1", "exact_match")}, "one task: one run"
    for count in (2, 3):
        table = {
            (draw, seed): of_draw(scores, "multitask", count, draw, seed)
            - of_draw(scores, "sequential", count, draw, seed)
            for draw in (1, 2, 3)
            for seed in SEEDS
        }
        by_draw = [fmean(table[draw, seed] for seed in SEEDS) for draw in (1, 2, 3)]
        by_seed = [fmean(table[draw, seed] for draw in (1, 2, 3)) for seed in SEEDS]
        units, unit = (by_draw, "draw") if count == 2 else (by_seed, "seed")
        for metric in ("f1", "exact_match"):
            line = lines[str(count), metric]
            assert (line["n"], line["unit"]) == ("3", unit)
            near(line["difference"], fmean(units))
            near(line["sd"], stdev(units))
            half = T_AT_2 * stdev(units) / math.sqrt(3)
            near(line["low"], fmean(units) - half)
            near(line["high"], fmean(units) + half)
            t = abs(fmean(units)) / (stdev(units) / math.sqrt(3))
            near(line["p"], 1 - t / math.sqrt(2 + t * t))  # the t distribution at 2 degrees of freedom in closed form
            near(line["mixture"], fmean(of_draw(scores, "multitask", count, d, s) for d in (1, 2, 3) for s in SEEDS))


def test_holm_is_over_all_lines_of_the_table(out: Path) -> None:
    lines = sorted(read(out / "tydiqa.csv"), key=lambda line: float(line["p"]))
    highest = 0.0
    for rank, line in enumerate(lines):
        highest = max(highest, (len(lines) - rank) * float(line["p"]))
        near(line["p_holm"], min(1.0, highest))


def test_slopes_are_per_doubling_and_over_draws(scores: Scores, out: Path) -> None:
    lines = {(line["curve"], line["column"]): line for line in read(out / "scaling_slopes.csv")}
    assert set(lines) == {(c, k) for c in ("multitask", "sequential") for k in ("tydiqa_f1", "tydiqa_em", "avg")}
    for regime in ("multitask", "sequential"):
        slopes = []
        for draw in (1, 2, 3):
            logs = [math.log2(count) for count in (1, 2, 3)]
            values = [fmean(of_draw(scores, regime, count, draw, seed) for seed in SEEDS) for count in (1, 2, 3)]
            centre = fmean(logs)
            slopes.append(
                sum((log - centre) * value for log, value in zip(logs, values, strict=True))
                / sum((log - centre) ** 2 for log in logs)
            )
        for column in ("tydiqa_f1", "tydiqa_em", "avg"):
            line = lines[regime, column]
            near(line["slope"], fmean(slopes))
            near(line["sd"], stdev(slopes))
            assert (line["n"], line["unit"]) == ("3", "draw")


def test_transfer_has_the_single_tasks_and_a_family_of_its_own(scores: Scores, out: Path) -> None:
    lines = {(line["task"], line["column"]): line for line in read(out / "transfer.csv")}
    assert set(lines) == {(t, c) for t in ("mnli", "csqa", "qqp") for c in ("tydiqa_f1", "tydiqa_em", "avg")}
    for task in ("mnli", "csqa", "qqp"):
        own = [scores[f"single {task}", seed] - scores["none", seed] for seed in SEEDS]
        for column in ("tydiqa_f1", "tydiqa_em", "avg"):
            near(lines[task, column]["mean"], fmean(own))
            near(lines[task, column]["sd"], stdev(own))
    assert "9 comparisons, two-sided t tests over seeds, Holm-adjusted" in (out / "transfer.md").read_text()


def test_the_main_table_has_the_statistics_of_every_cell(scores: Scores, out: Path) -> None:
    lines = {(line["row"], line["column"]): line for line in read(out / "main_detail.csv")}
    own = [scores["multitask mnli qqp", seed] - scores["none", seed] for seed in SEEDS]
    line = lines["mnli+qqp", "tydiqa_f1"]
    near(line["sd"], stdev(own))
    near(line["high"], fmean(own) + T_AT_2 * stdev(own) / math.sqrt(3))
    base = lines["xlm-roberta-large", "tydiqa_f1"]
    near(base["sd"], stdev([scores["none", seed] for seed in SEEDS]))
    assert base["p_holm"] == "" and float(line["p_holm"]) >= float(line["p"])
    assert lines["mnli+qqp", "xnli"]["sd"] == ""
    near(lines["mnli+qqp", "avg_partial"]["sd"], stdev(own))


@pytest.mark.parametrize("name", ["main", "scaling", "tydiqa", "transfer"])
def test_latex_compiles(out: Path, latex: str, name: str) -> None:
    assert "Overfull" not in compile_latex(latex, out, name)


def test_one_seed_gives_no_interval_and_no_star(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for name, score in SCORES.items():
        write_scores(results, name, score, seeds=[1])
    keep(results, resolved(places()))
    main(["--results", str(results), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "main.md").read_text()
    assert "One seed: no interval over seeds can be given" in text
    assert "\\*" not in text
    assert {line["p"] for line in read(tmp_path / "out" / "main_detail.csv")} == {""}


def test_equal_seeds_prove_nothing(tmp_path: Path) -> None:
    """`write_scores` moves every row by the same quarter point a seed: all differences are equal."""
    results = tmp_path / "results"
    for name, score in SCORES.items():
        write_scores(results, name, score, seeds=SEEDS)
    main(["--results", str(results), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "main.md").read_text()
    assert "All 3 seeds equal: no interval over seeds" in text
    assert "\\*" not in text


def test_a_draw_with_a_gap_takes_the_slope_away(scores: Scores, tmp_path: Path) -> None:
    """Without qqp's mixture with mnli draw 2 has no point at two tasks: a slope over the others is another one."""
    results = tmp_path / "results"
    for (name, seed), score in scores.items():
        if name != "multitask mnli qqp":
            made = row_of(name) | {"mlm": False, "translated": False}
            write_task(results, "tydiqa", score, score - 20, intermediate=made, seed=seed)
    keep(results, resolved(places()))
    assert main(["--results", str(results), "--out", str(tmp_path / "out")]) == 0
    lines = read(tmp_path / "out" / "scaling_slopes.csv")
    assert {line["curve"] for line in lines} == {"sequential"}
    assert "| per doubling | -- | -- | -- |" in (tmp_path / "out" / "scaling.md").read_text()
