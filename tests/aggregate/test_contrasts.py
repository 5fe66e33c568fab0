"""Each kind of claim against a plain recomputation from the gains that the tree was made of."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest

from tests.aggregate.claims_tree import (
    NINE,
    TARGETS,
    Gains,
    assert_estimate,
    check,
    check_parts,
    keep_grid,
    made,
    same,
    vary,
    write_gains,
)

SEEDS = (1, 2, 3)


@pytest.fixture
def baseline_seeds() -> int:
    return 3


def avg(gains: Gains, seed: int, targets: Sequence[str] = TARGETS) -> float:
    return fmean(gains[target][seed] for target in targets)


def write_singles(results: Path, seed: int = 1, mlm: bool = False, tasks: Sequence[str] = NINE) -> dict[str, Gains]:
    rng = random.Random(seed)
    gains = {task: vary(rng, 1.0 + 2 * index, 3.0) for index, task in enumerate(tasks)}
    for task, own in gains.items():
        write_gains(results, made("single", task, mlm=mlm), own)
    return gains


ONE = {"mode": "single", "tasks": ["mnli"]}


def test_difference_to_the_baseline_on_average(results: Path) -> None:
    gains = write_singles(results)["mnli"]
    assert_estimate(check(results, kind="difference", rows=ONE), [avg(gains, seed) for seed in SEEDS])


def test_qa_counts_f1_and_em_half_each(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same([2.0, 3.0, 7.0], ["tydiqa"]))
    line = check(results, kind="difference", rows=ONE, targets=["tydiqa"])
    assert_estimate(line, [2.0, 3.0, 7.0])


def test_difference_of_rows_is_averaged_at_each_seed(results: Path) -> None:
    gains = write_singles(results)
    rows, minus = {"mode": "single", "tasks": ["mnli", "qqp"]}, {"mode": "single", "tasks": ["anli"]}
    values = [(avg(gains["mnli"], seed) + avg(gains["qqp"], seed)) / 2 - avg(gains["anli"], seed) for seed in SEEDS]
    assert_estimate(check(results, kind="difference", rows=rows, minus=minus), values)


def test_targets_less_the_rest_over_all_rows(results: Path) -> None:
    gains = write_singles(results)
    two = ["bucc2018", "tatoeba"]
    rest = [target for target in TARGETS if target not in two]
    values = [fmean(avg(own, seed, two) - avg(own, seed, rest) for own in gains.values()) for seed in SEEDS]
    rows = {"mode": "single", "tasks": "all"}
    line = check(results, kind="difference", rows=rows, targets=two, minus_targets="rest")
    assert_estimate(line, values)
    assert line["rows"].split("; ") == NINE
    some = check(results, kind="difference", rows=ONE, targets=["xnli"], minus_targets=["mlqa", "panx"])
    mnli = gains["mnli"]
    assert_estimate(some, [avg(mnli, seed, ["xnli"]) - avg(mnli, seed, ["mlqa", "panx"]) for seed in SEEDS])


def test_rows_less_their_own_counterparts(results: Path) -> None:
    """Rows without a counterpart stay out, on both sides."""
    gains, mixed = write_singles(results), write_singles(results, seed=9, mlm=True, tasks=["qqp", "csqa"])
    values = [fmean(avg(gains[task], seed) - avg(mixed[task], seed) for task in mixed) for seed in SEEDS]
    line = check(results, kind="difference", rows={"mode": "single"}, minus_same="mlm")
    assert_estimate(line, values)
    assert line["rows"] == "csqa; qqp; csqa (mlm); qqp (mlm)"
    named = check(results, kind="difference", rows={"mode": "single", "tasks": ["qqp", "mnli"]}, minus_same="mlm")
    assert (named["mean"], named["missing"]) == ("", "no row mnli (mlm)")


def test_a_translated_row_has_settings_of_its_own(results: Path) -> None:
    gains, translated = write_singles(results)["mnli"], vary(random.Random(4), 2.0)
    variant = "translation.languages=de,ru,sw"
    write_gains(results, made("single", "mnli", translated=True), translated, variant=variant)
    line = check(results, kind="difference", rows=ONE, minus_same="translated")
    assert_estimate(line, [avg(gains, seed) - avg(translated, seed) for seed in SEEDS])


def test_only_seeds_that_all_sides_have_are_compared(results: Path) -> None:
    write_gains(results, made("none"), same({4: 0.0, 5: 0.0}))
    write_gains(results, made("single", "mnli"), same({1: 5.0, 2: 6.5, 3: 9.0, 5: 50.0}))
    write_gains(results, made("single", "qqp"), same({1: 1.0, 2: 2.0, 3: 3.0, 4: 40.0}))
    minus = {"mode": "single", "tasks": ["qqp"]}
    assert_estimate(check(results, kind="difference", rows=ONE, minus=minus), [4.0, 4.5, 6.0])


def test_a_mean_of_rows_is_over_the_seeds_of_all_of_them(results: Path) -> None:
    write_gains(results, made("none"), same({4: 0.0}))
    write_gains(results, made("single", "mnli"), same({1: 1.0, 2: 2.0, 3: 30.0}))
    write_gains(results, made("single", "qqp"), same({1: 2.0, 2: 5.0, 4: 40.0}))
    assert_estimate(check(results, kind="difference", rows={"mode": "single"}), [1.5, 3.5])


def test_of_rows_that_differ_in_settings_the_plainest_counts_unless_one_is_named(results: Path) -> None:
    faster = "intermediate.learning_rate=3e-05"
    write_gains(results, made("single", "mnli"), same([1.0, 2.0, 4.0]))
    write_gains(results, made("single", "mnli"), same([11.0, 12.0, 15.0]), variant=faster)
    assert_estimate(check(results, kind="difference", rows=ONE), [1.0, 2.0, 4.0])
    named = check(results, kind="difference", rows={**ONE, "settings": [faster]})
    assert_estimate(named, [11.0, 12.0, 15.0])


def test_another_model_is_named(results: Path) -> None:
    write_gains(results, made("none"), same([1.0, 1.0, 1.0]), model="small")
    write_gains(results, made("single", "mnli"), same([3.0, 4.0, 6.0]), model="small")
    line = check(results, kind="difference", rows={**ONE, "model": "small"})
    assert_estimate(line, [2.0, 3.0, 5.0])


def test_best_is_tested_against_each_other_row_with_holm(results: Path) -> None:
    others = {"mnli": [1.0, 2.0, 1.2], "qqp": [3.0, 3.2, 2.8], "csqa": [0.0, 4.5, 2.0]}
    for task, values in others.items():
        write_gains(results, made("single", task), same(values))
    mixture = made("multitask", *NINE)
    write_gains(results, mixture, same([9.0, 9.5, 10.0]))
    claim = {"row": {"mode": "multitask", "tasks": "all"}, "others": {"mode": "single"}}
    lines = check_parts(results, kind="best", **claim)
    for task, values in others.items():
        differences = [own - other for own, other in zip([9.0, 9.5, 10.0], values, strict=True)]
        assert_estimate(lines[f"it/{task}"], differences)
    ps = sorted(float(lines[f"it/{task}"]["p"]) for task in others)
    adjusted = sorted(float(lines[f"it/{task}"]["p_holm"]) for task in others)
    expected = [3 * ps[0], max(3 * ps[0], 2 * ps[1]), max(3 * ps[0], 2 * ps[1], ps[2])]
    assert adjusted == pytest.approx(expected)
    assert lines["it"]["verdict"] == "holds" and float(lines["it"]["p"]) == pytest.approx(adjusted[-1])
    assert lines["it"]["mean"] == lines["it/csqa"]["mean"]  # the least certain


def test_best_is_not_compared_with_itself(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same([5.0, 5.1, 5.3]))
    write_gains(results, made("single", "qqp"), same([1.0, 1.5, 1.1]))
    lines = check_parts(results, kind="best", row=ONE, others={"mode": "single"})
    assert set(lines) == {"it", "it/qqp"}
    assert lines["it"]["verdict"] == "holds"


def test_count_of_rows_whose_interval_is_above_zero(results: Path) -> None:
    gains = {"mnli": [1.0, 1.2, 1.1], "qqp": [0.1, 9.0, 2.0], "csqa": [-1.0, -1.2, -1.1], "ccg": [5.0, 5.1, 5.3]}
    for task, values in gains.items():
        write_gains(results, made("single", task), same(values))
    claim = {"kind": "count", "rows": {"mode": "single"}, "targets": ["tydiqa"]}
    lines = check_parts(results, **claim, at_least=0.5)
    shares = [lines["it"][name] for name in ("mean", "low", "high", "n", "unit")]
    assert shares == ["0.5", "0.5", "0.75", "4", "row"]
    for task, values in gains.items():
        assert_estimate(lines[f"it/{task}"], values)
        assert (float(lines[f"it/{task}"]["low"]) > 0) == (task in ("mnli", "ccg"))


def test_best_models_are_chosen_on_dev_and_measured_on_test(results: Path) -> None:
    """mnli wins XNLI on dev and is not the better one on test; qqp wins MLQA."""
    test = {"split": "test"}
    keep_grid(results, [], test=True)
    write_gains(results, made("none"), same([0.0, 0.0], ["xnli", "mlqa"]), **test)
    write_gains(results, made("single", "mnli"), same([2.0, 3.0]) | {"xnli": {1: 5.0, 2: 6.0}})
    write_gains(results, made("single", "mnli"), same([1.0, 2.5], ["xnli", "mlqa"]), **test)
    write_gains(results, made("single", "qqp"), same([4.0, 5.0]))
    write_gains(results, made("single", "qqp"), same([7.0, 9.0], ["xnli", "mlqa"]), **test)
    line = check(results, kind="xtreme", rows={"mode": "single"}, targets=["xnli", "mlqa"], published=5.4)
    assert_estimate(line, [(1.0 + 7.0) / 2, (2.5 + 9.0) / 2])


def test_best_models_need_test_scores(results: Path) -> None:
    keep_grid(results, [], test=True)
    write_gains(results, made("single", "mnli"), same([2.0, 3.0]))
    line = check(results, kind="xtreme", rows={"mode": "single"}, targets=["xnli", "mlqa"], published=5.4)
    assert (line["verdict"], line["mean"]) == ("cannot tell", "")
    assert "best models: no test score, but one on dev: a test score needs the test labels" in line["missing"]
