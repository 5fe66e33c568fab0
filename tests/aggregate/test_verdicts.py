"""The verdict on a claim: its rule, and in which words nothing can be told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.aggregate.claims_tree import (
    NINE,
    made,
    same,
    tell,
    write_gains,
)

ONE = {"mode": "single", "tasks": ["mnli"]}


FAR, NEAR, SPANNING = [3.0, 3.2, 2.9], [-3.0, -3.2, -2.9], [1.0, -2.0, 3.0]


@pytest.mark.parametrize(
    ("values", "expect", "verdict"),
    [
        (FAR, "above", "holds"),
        (FAR, "below", "does not hold"),
        (NEAR, "above", "does not hold"),
        (NEAR, "below", "holds"),
        ([0.2, -0.3, 0.1], "above", "cannot tell"),
        ([-0.2, 0.3, -0.1], "below", "cannot tell"),
        (SPANNING, "above", "cannot tell"),
        (SPANNING, "below", "cannot tell"),
    ],
)
def test_a_direction_holds_where_the_interval_lies_on_its_side(
    results: Path, values: list[float], expect: str, verdict: str
) -> None:
    write_gains(results, made("single", "mnli"), same(values))
    assert tell(results, kind="difference", rows=ONE, expect=expect)[0] == verdict


def test_an_interval_that_contains_zero_says_how_many_seeds_would_do(results: Path) -> None:
    """Mean 2/3 and sd 2.517: 1.96 sd / sqrt(n) is below the mean from n = 55 on, Student's t asks for a few more."""
    write_gains(results, made("single", "mnli"), same(SPANNING))
    _, missing = tell(results, kind="difference", rows=ONE)
    width = 2 * 4.30265 * 2.516611 / 3**0.5
    needed = re.match(
        r"the interval contains 0 and is (.*) wide: at this mean and sd about (\d+) seeds would be needed, there are 3",
        missing,
    )
    assert needed and float(needed[1]) == pytest.approx(width, abs=0.05)
    assert int(needed[2]) == 58


def test_a_mean_near_zero_needs_more_seeds_than_anybody_has(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same([1.0, -1.0, 0.001]))
    assert "more than 1000 seeds would be needed" in tell(results, kind="difference", rows=ONE)[1]


def test_one_seed_and_equal_seeds_have_no_interval(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same({2: 5.0}))
    write_gains(results, made("single", "qqp"), same([5.0, 5.0, 5.0, 5.0]))
    verdict, missing = tell(results, kind="difference", rows=ONE)
    assert verdict == "cannot tell" and missing.startswith(
        "one seed: no interval over seeds can be given; mnli: paired"
    )
    other = {"mode": "single", "tasks": ["qqp"]}
    assert tell(results, kind="difference", rows=other) == (
        "cannot tell",
        "all 4 seeds equal: no interval over seeds",
    )


def test_rows_that_are_not_there_are_named(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same(FAR))

    def missing(**claim: Any) -> str:
        verdict, text = tell(results, **claim)
        assert verdict == "cannot tell"
        return text.partition("; mnli: paired")[0]

    two = {"mode": "single", "tasks": ["mnli", "qqp"]}
    assert missing(kind="difference", rows=two) == "no row qqp"
    assert missing(kind="difference", rows={"mode": "single", "tasks": ["csqa", "qqp"]}) == "no rows csqa, qqp"
    assert missing(kind="difference", rows=ONE | {"mlm": True}) == "no row mnli (mlm)"
    assert missing(kind="difference", rows={"mode": "none", "mlm": True}) == "no row xlm-roberta-large (mlm)"
    mixture, sequence = {"mode": "multitask", "tasks": "all"}, {"mode": "sequential", "tasks": ["qqp", "mnli"]}
    assert missing(kind="difference", rows=ONE, minus=mixture) == f"no row {'+'.join(NINE)}"
    assert missing(kind="difference", rows=sequence) == "no row qqp > mnli"
    assert missing(kind="difference", rows={"mode": "multitask"}) == "no row of mode multitask"
    assert missing(kind="difference", rows=ONE | {"settings": ["a=1"]}) == "no row mnli [a=1]"
    assert missing(kind="difference", rows=ONE | {"model": "other"}) == "no row mnli"
    pairs = missing(kind="difference", rows={"mode": "single"}, minus_same="translated")
    assert pairs == "no row with translated beside the same row without"
    assert missing(kind="difference", rows=mixture, minus_same="mlm") == f"no row {'+'.join(NINE)}"
    assert missing(kind="best", row=mixture, others={"mode": "single"}).startswith(f"no row {'+'.join(NINE)}")
    assert missing(kind="count", rows=two, at_most=0.5) == "no row qqp"
    assert missing(kind="slope", regime="sequential") == "no sequential curve with several numbers of tasks"
    assert missing(kind="curves", settings=["a=1"]) == (
        "no multitask curve with several numbers of tasks of a=1; "
        "no sequential curve with several numbers of tasks of a=1"
    )


def test_rows_that_settings_leave_open_are_not_guessed(results: Path) -> None:
    for rate in ("2e-05", "3e-05"):
        write_gains(results, made("single", "mnli"), same(FAR), variant=f"intermediate.learning_rate={rate}")
    verdict, missing = tell(results, kind="difference", rows=ONE)
    assert verdict == "cannot tell"
    assert missing.startswith(
        "several rows mnli, with intermediate.learning_rate=2e-05 and intermediate.learning_rate=3e-05"
    )


def test_incomplete_cells_are_named_with_their_reason(results: Path) -> None:
    gains = {target: values for target, values in same([3.0, 3.2, 2.9, 3.1]).items() if target != "mlqa"}
    write_gains(results, made("single", "mnli"), gains)
    assert tell(results, kind="difference", rows=ONE) == ("cannot tell", "mnli: no results (MLQA)")
    assert tell(results, kind="difference", rows=ONE, targets=["xnli"]) == ("holds", "")


def test_seeds_that_lack_a_language_are_named_and_the_others_count(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same([3.0, 3.2, 2.9]))
    assert tell(results, kind="difference", rows=ONE) == (
        "holds",
        "mnli: paired over seeds 1, 2, 3 (seed 4 only in the baseline)",
    )


def test_rows_without_a_common_seed(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same({1: 3.0, 2: 3.1}))
    write_gains(results, made("single", "qqp"), same({3: 3.0, 4: 3.1}))
    _, missing = tell(results, kind="difference", rows={"mode": "single"})
    assert "paired over seeds 1, 2" in missing and "paired over seeds 3, 4" in missing


BEST = {"kind": "best", "row": {"mode": "multitask", "tasks": ["mnli", "qqp"]}, "others": {"mode": "single"}}


@pytest.mark.parametrize(
    ("own", "verdict", "told"),
    [
        ([9.0, 9.1, 9.3, 9.2], "holds", ""),
        ([3.0, 3.1, 3.2, 3.1], "does not hold", ""),
        ([9.0, 2.0, 9.0, 1.0], "cannot tell", "not told apart from mnli, qqp"),
    ],
)
def test_best_needs_every_contrast_and_fails_on_one(results: Path, own: list[float], verdict: str, told: str) -> None:
    write_gains(results, made("single", "mnli"), same([1.0, 1.2, 1.3, 1.1]))
    write_gains(results, made("single", "qqp"), same([5.0, 5.1, 4.8, 4.9]))
    write_gains(results, made("multitask", "mnli", "qqp"), same(own))
    assert tell(results, **BEST) == (verdict, told)


def test_best_fails_by_the_surest_of_the_rows_ahead(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same([9.0, 9.1, 9.3, 9.2]))
    write_gains(results, made("single", "qqp"), same([9.0, 2.0, 9.0, 1.0]))
    write_gains(results, made("multitask", "mnli", "qqp"), same([3.0, 3.1, 3.2, 3.1]))
    assert tell(results, **BEST) == ("does not hold", "")
    assert "the contrast that decides is with mnli |" in (results.parent / "out" / "claims.md").read_text()


def test_best_of_rows_of_which_one_is_not_there_cannot_hold_but_can_fail(results: Path) -> None:
    write_gains(results, made("single", "mnli"), same([1.0, 1.2, 1.3, 1.1]))
    write_gains(results, made("multitask", "mnli", "qqp"), same([9.0, 9.1, 9.3, 9.2]))
    named = {"others": {"mode": "single", "tasks": ["mnli", "qqp"]}}
    assert tell(results, **(BEST | named)) == ("cannot tell", "no row qqp")
    write_gains(results, made("single", "csqa"), same([19.0, 19.5, 19.6, 19.3]))
    more = {"others": {"mode": "single", "tasks": ["mnli", "qqp", "csqa"]}}
    assert tell(results, **(BEST | more)) == ("does not hold", "no row qqp")


def write_count(results: Path) -> None:
    """Of four rows one gains, one loses, one gains less than half a point or nothing, and one cannot be told."""
    rows = {"mnli": FAR, "qqp": NEAR, "csqa": [0.01, -0.01, 0.02], "ccg": SPANNING}
    for task, values in rows.items():
        write_gains(results, made("single", task), same([*values, sum(values) / 3]))


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [
        ({"at_least": 0.25}, "holds"),
        ({"at_least": 0.5}, "cannot tell"),
        ({"at_least": 0.76}, "does not hold"),
        ({"at_most": 0.75}, "holds"),
        ({"at_most": 0.5}, "cannot tell"),
        ({"at_most": 0.5, "margin": 0.5}, "holds"),
        ({"at_most": 0.24}, "does not hold"),
        ({"at_least": 0.75, "margin": 0.5}, "does not hold"),
    ],
)
def test_count_is_told_where_undecided_rows_cannot_change_it(results: Path, rule: Any, verdict: str) -> None:
    write_count(results)
    found, missing = tell(results, kind="count", rows={"mode": "single"}, targets=["xnli"], **rule)
    assert found == verdict
    assert missing == ("undecided: ccg, csqa" if verdict == "cannot tell" else "")
