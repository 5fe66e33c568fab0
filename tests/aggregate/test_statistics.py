"""Student's t, Holm, nesting and slopes against slow and obvious ones that share nothing with the code."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from statistics import mean, stdev

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aggregate.evidence.statistics import (
    Estimate,
    describe_family,
    estimate,
    estimate_all,
    find_t,
    holm,
    nested,
    paired,
    paired_by_draw,
    slope,
)
from aggregate.scores.merging import Seed

points = st.floats(-100, 100).map(lambda value: round(value, 4))
studies = st.lists(points, min_size=2, max_size=10).filter(lambda values: max(values) - min(values) > 0.01)
# Thousandths of a prime: no p times a whole number is exactly 0.05.
families = st.lists(st.integers(0, 1008).map(lambda k: k / 1009) | st.none(), min_size=1, max_size=12)


def integrate_tails(t: float, freedom: int, steps: int = 500) -> float:
    """P(|T| > t): Simpson's rule on the density of Student's t, with x = sqrt(freedom) tan(angle)."""
    factor = 2 * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)
    start = math.atan(abs(t) / math.sqrt(freedom))
    width = (math.pi / 2 - start) / steps
    weights = [1, *([4, 2] * (steps // 2))[:-1], 1]
    return factor * width / 3 * sum(w * math.cos(start + i * width) ** (freedom - 1) for i, w in enumerate(weights))


def bisect_t(alpha: float, freedom: int) -> float:
    low, high = 0.0, 1e4
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if integrate_tails(middle, freedom) > alpha else (low, middle)
    return low


def step_down(ps: list[float], level: Fraction) -> set[int]:
    """Holm as he put it: the smallest p against level / m, the next against level / (m - 1), until one fails."""
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    rejected: set[int] = set()
    for rank, index in enumerate(order):
        if not Fraction(ps[index]) < level / (len(ps) - rank):
            break
        rejected.add(index)
    return rejected


@settings(max_examples=40, deadline=None)
@given(studies)
def test_the_t_test_is_the_slow_one(values: list[float]) -> None:
    found, n = estimate(values), len(values)
    error = stdev(values) / math.sqrt(n)
    half = bisect_t(0.05, n - 1) * error
    assert (found.n, found.unit, found.reason) == (n, "seed", "")
    assert found.mean == pytest.approx(mean(values), abs=1e-9)
    assert found.sd == pytest.approx(stdev(values), rel=1e-9)
    assert (found.low, found.high) == pytest.approx((mean(values) - half, mean(values) + half), rel=1e-6, abs=1e-6)
    assert found.p == pytest.approx(integrate_tails(mean(values) / error, n - 1), rel=1e-6)


def test_quantiles_are_those_of_the_printed_tables() -> None:
    assert [round(find_t(0.05, freedom), 3) for freedom in (1, 2, 4, 9)] == [12.706, 4.303, 2.776, 2.262]
    assert find_t(0.05 / 400, 2) == pytest.approx(bisect_t(0.05 / 400, 2), rel=1e-6)


@given(studies, st.randoms(use_true_random=False))
def test_no_figure_depends_on_the_order(values: list[float], numbers: random.Random) -> None:
    other = numbers.sample(values, len(values))
    assert estimate(other) == estimate(values)


@given(studies, points, st.sampled_from([0.125, 3.0, -2.0]))
def test_shift_moves_the_interval_and_scale_keeps_p(values: list[float], shift: float, scale: float) -> None:
    whole, moved = estimate(values), estimate([value + shift for value in values])
    scaled = estimate([value * scale for value in values])
    assert whole.low is not None and whole.high is not None and whole.sd is not None and whole.p is not None
    assert (moved.low, moved.high) == pytest.approx((whole.low + shift, whole.high + shift), rel=1e-9, abs=1e-7)
    assert moved.sd == pytest.approx(whole.sd)
    assert scaled.sd == pytest.approx(abs(scale) * whole.sd)
    assert scaled.p == pytest.approx(whole.p)
    assume(abs(whole.p - 0.05) > 1e-9)
    assert (whole.p < 0.05) == (whole.low > 0 or whole.high < 0), "the interval and the test say the same"


@given(st.integers(2, 6).flatmap(lambda n: st.lists(st.lists(points, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_many_tests_at_once_are_the_single_ones(rows: list[list[float]]) -> None:
    all_ = estimate_all(np.array(rows))
    singles = [estimate(row) for row in rows]
    for name in ("mean", "sd", "low", "high", "p"):
        wanted = [getattr(single, name) for single in singles]
        assert [None if math.isnan(figure) else figure for figure in getattr(all_, name)] == wanted


def test_one_seed_has_a_mean_and_nothing_else() -> None:
    found = estimate([70.25])
    assert found == Estimate(70.25, None, 1, None, None, None, "seed")
    assert found.reason == "one seed: no interval over seeds can be given"


def test_equal_values_prove_nothing() -> None:
    differences = [70.3 - 70.0, 30.3 - 30.0, 10.3 - 10.0]
    assert len(set(differences)) > 1, "equal but for rounding"
    found = estimate(differences)
    assert (found.sd, found.low, found.high, found.p) == (0.0, None, None, None)
    assert found.reason == "all 3 seeds equal: no interval over seeds"
    assert holm({"cell": found.p}).star("cell") == ""
    assert estimate([0.3, 0.3, 0.30001]).p is not None, "the finest step of a score is spread"


def test_differences_are_taken_at_shared_seeds() -> None:
    assert paired({3: 5.0, 1: 2.0, 4: 9.0}, {1: 1.0, 2: 7.0, 3: 2.0}) == {1: 1.0, 3: 3.0}
    assert paired({1: 2.0, 2: 4.0}, {None: 1.0}) == {1: 1.0, 2: 3.0}
    assert paired({None: 1.0}, {1: 2.0, 2: 4.0}) == {1: -1.0, 2: -3.0}
    assert paired({None: 3.0}, {None: 1.0}) == {None: 2.0}
    assert paired({1: 2.0}, {2: 1.0}) == {}
    own: dict[str, dict[Seed, float]] = {"a": {1: 5.0, 2: 6.0}, "b": {1: 9.0}, "c": {1: 1.0}}
    other: dict[str, dict[Seed, float]] = {"a": {1: 1.0, 2: 1.0}, "c": {2: 1.0}}
    assert paired_by_draw(own, other) == {"a": {1: 4.0, 2: 5.0}}


@given(studies)
def test_nesting_one_value_each_is_no_nesting(values: list[float]) -> None:
    alone = nested({draw: {1: value} for draw, value in enumerate(values)})
    assert alone == estimate(values, "draw")
    # More seeds that say the same of each draw are no more evidence about draws.
    repeated = nested({draw: dict.fromkeys(range(4), value) for draw, value in enumerate(values)})
    assert repeated == alone
    assert nested({7: dict(enumerate(values))}) == estimate(values, "seed")


def test_nesting_weighs_draws_equally() -> None:
    found = nested({1: {1: 0.0, 2: 2.0, 3: 4.0}, 2: {1: 6.0}})
    assert (found.mean, found.n, found.unit) == (4.0, 2, "draw")


@settings(deadline=None)
@given(
    st.dictionaries(
        st.integers(0, 9), st.dictionaries(st.sampled_from([1, 2, 3, 4, 8, 11]), points, max_size=6), max_size=5
    )
)
def test_slopes_are_least_squares_per_doubling(by_draw: dict[int, dict[int, float]]) -> None:
    slopes = [
        float(np.polyfit(np.log2(list(scores)), list(scores.values()), 1)[0])
        for scores in by_draw.values()
        if len(scores) > 1
    ]
    found = slope(by_draw)
    assert (found is None) == (not slopes)
    if found is not None:
        assert (found.n, found.unit) == (len(slopes), "draw")
        assert found.mean == pytest.approx(mean(slopes), abs=1e-6)
        if len(slopes) > 1 and found.p is not None:
            assert found.sd == pytest.approx(stdev(slopes), abs=1e-6)


def test_a_slope_is_what_a_doubling_brings() -> None:
    found = slope({1: {1: 10.0, 2: 13.0, 4: 16.0}, 2: {2: 0.0, 8: 10.0}, 3: {4: 99.0}})
    assert found is not None
    assert (found.mean, found.n) == (pytest.approx(4.0), 2)
    assert slope({1: {2: 5.0}}) is None


@given(families)
def test_holm_is_the_step_down_one(ps: list[float | None]) -> None:
    family, tested = holm(dict(enumerate(ps))), {key: p for key, p in enumerate(ps) if p is not None}
    keys, values = list(tested), list(tested.values())
    assert family.survivors == {keys[index] for index in step_down(values, Fraction(1, 20))}
    assert family.size == len(tested) == len(family.adjusted)
    for index, key in enumerate(keys):  # the adjusted p is the level from which on the test is rejected
        adjusted = Fraction(family.adjusted[key])
        assert index not in step_down(values, adjusted * Fraction(999_999, 1_000_000))
        assert adjusted == 1 or index in step_down(
            values, adjusted * Fraction(1_000_001, 1_000_000) + Fraction(1, 10**9)
        )


@given(families, st.randoms(use_true_random=False))
def test_holm_keeps_the_order_and_lies_between_bonferroni_and_nothing(
    ps: list[float | None], numbers: random.Random
) -> None:
    family, tested = holm(dict(enumerate(ps))), {key: p for key, p in enumerate(ps) if p is not None}
    ranked = sorted(tested, key=lambda key: tested[key])
    assert [family.adjusted[key] for key in ranked] == sorted(family.adjusted.values())
    assert {key for key, p in tested.items() if p * len(tested) < 0.05} <= family.survivors
    assert family.survivors <= {key for key, p in tested.items() if p < 0.05}
    shuffled = numbers.sample(list(enumerate(ps)), len(ps))
    assert holm(dict(shuffled)).adjusted == family.adjusted


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_critical_t_is_where_the_star_begins(n: int) -> None:
    others = dict.fromkeys(range(41), 0.9)
    needed = holm({**others, "own": 0.5}).critical_t(n)
    assert integrate_tails(needed, n - 1) == pytest.approx(0.05 / 42, rel=1e-5)
    for factor, star in ((0.999, ""), (1.001, "*")):
        values = np.linspace(-1, 1, n)
        values += factor * needed * np.std(values, ddof=1) / math.sqrt(n)
        assert holm({**others, "own": estimate(values.tolist()).p}).star("own") == star


def test_the_caption_says_what_three_seeds_cannot_tell() -> None:
    estimates = {cell: estimate([0.0, 1.0, 2.0 + cell]) for cell in range(42)}
    estimates[42] = estimate([5.0])
    family = holm({cell: found.p for cell, found in estimates.items()})
    assert describe_family(family, estimates) == (
        "42 comparisons, two-sided t tests over seeds, Holm-adjusted; * where p < 0.05; "
        "cannot tell at n = 3: with 42 comparisons a star needs |t| of at least 29.0 at 2 degrees of freedom; "
        "one seed: no interval over seeds can be given (1 comparison)"
    )
    estimates[43] = estimate([50.0, 50.001, 50.002])
    told = describe_family(holm({cell: found.p for cell, found in estimates.items()}), estimates)
    assert told.startswith("43 comparisons") and "cannot tell" not in told
    estimates[44] = nested({1: {1: 1.0}, 2: {1: 2.0}})
    told = describe_family(holm({cell: found.p for cell, found in estimates.items()}), estimates)
    assert "over draws or seeds" in told and "cannot tell at n = 2 draws: with 44 comparisons" in told
    assert "at 1 degree of freedom" in told


def test_without_a_test_there_is_no_word_of_one() -> None:
    alone = {"a": estimate([1.0]), "b": estimate([2.0])}
    family = holm({key: found.p for key, found in alone.items()})
    assert describe_family(family, alone) == "one seed: no interval over seeds can be given (2 comparisons)"
