"""The planner's fit: what it must hold for any runs, and scipy's non-negative least squares as its slow twin."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from launch.fit import FITTED, LEAST_CLASSES, UNSEEN, Sample, dot, fit, solve_positive

SEEDS = st.integers(0, 10**6)
# Sub-words, updates, exchanges of gradients, attention: about as large as they are.
COSTS = (1e-4, 2e-2, 1e-2, 1e-7)


def draw_amounts(rng: random.Random, scale: float = 1.0) -> tuple[float, ...]:
    """Updates of 100 to 10,000 sub-words on one rank or two, sequences of 10 to 400."""
    updates = scale * 10 ** rng.uniform(1, 4)
    read = updates * 10 ** rng.uniform(2, 4)
    return read, updates, updates * rng.randrange(2), read * 10 ** rng.uniform(1, 2.6)


def draw_samples(seed: int, count: int = 12, costs: tuple[float, ...] = COSTS, noise: float = 0.0) -> list[Sample]:
    rng = random.Random(seed)
    rows = [draw_amounts(rng) for _ in range(count)]
    return [Sample(row, dot(costs, row) * (1 + rng.uniform(-noise, noise)), place) for place, row in enumerate(rows)]


@settings(deadline=None)
@given(SEEDS)
def test_exact_runs_give_exact_predictions(seed: int) -> None:
    found = fit(draw_samples(seed, 14))
    assert found is not None
    fresh = draw_amounts(random.Random(seed + 1))
    assert found.predict(fresh).expected == pytest.approx(dot(COSTS, fresh), rel=1e-4)
    assert found.error == pytest.approx(1, abs=1e-4)
    assert (found.runs, found.classes) == (14, 14)


@settings(deadline=None)
@given(SEEDS, st.integers(LEAST_CLASSES, 30), st.floats(0, 0.9))
def test_no_cost_and_no_prediction_is_negative(seed: int, count: int, noise: float) -> None:
    found = fit(draw_samples(seed, count, noise=noise))
    assert found is not None
    assert min(found.costs) >= 0
    span = found.predict(draw_amounts(random.Random(seed + 1), scale=100))
    assert 0 < span.low <= span.expected <= span.high < np.inf


@settings(deadline=None)
@given(SEEDS, st.integers(LEAST_CLASSES, 12))
def test_the_order_of_runs_does_not_matter(seed: int, count: int) -> None:
    samples = draw_samples(seed, count, noise=0.3)
    shuffled = random.Random(seed).sample(samples, count)
    assert fit(shuffled) == fit(samples)


@settings(deadline=None)
@given(SEEDS, st.floats(2, 10))
def test_a_run_on_a_busy_node_bends_nothing(seed: int, slower: float) -> None:
    samples = draw_samples(seed, 16, noise=0.02)
    fresh = draw_amounts(random.Random(seed + 1))
    spoiled = [*samples[1:], Sample(samples[0].amounts, samples[0].seconds * slower, samples[0].group)]
    found = fit(spoiled)
    assert found is not None
    assert found.predict(fresh).expected == pytest.approx(dot(COSTS, fresh), rel=0.25)


@settings(deadline=None)
@given(SEEDS, st.integers(2, 12), st.integers(1, 4))
def test_the_solution_is_that_of_scipy(seed: int, count: int, columns: int) -> None:
    """No solution is better; where columns do not depend on each other, it is the same."""
    rng = np.random.default_rng(seed)
    rows, weights = rng.normal(0.3, 1, (count, columns)).clip(0), rng.uniform(0, 2, count)
    costs = solve_positive(rows.tolist(), weights.tolist())
    root = np.sqrt(weights)
    expected, residual = nnls(rows * root[:, None], root)
    assert min(costs) >= 0
    mine = np.linalg.norm(rows * root[:, None] @ np.array(costs) - root)
    assert mine == pytest.approx(residual, abs=1e-6)
    if np.linalg.matrix_rank(rows * root[:, None], tol=1e-3) == columns:
        assert costs == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_columns_that_depend_on_each_other_or_are_empty_are_no_obstacle() -> None:
    """All runs on two ranks: what an update and what its exchange costs cannot be told apart, and need not be."""
    rows = [(1.0, 2.0, 2.0, 0.0), (1.0, 3.0, 3.0, 0.0), (2.0, 1.0, 1.0, 0.0)]
    costs = solve_positive(rows, [1.0, 1.0, 1.0])
    alone = solve_positive([row[:2] for row in rows], [1.0, 1.0, 1.0])
    assert costs[0] == pytest.approx(alone[0])
    assert costs[1] + costs[2] == pytest.approx(alone[1])
    assert solve_positive([(0.0, 0.0)], [1.0]) == [0.0, 0.0]


def test_half_and_double_are_equally_wrong() -> None:
    """Each class once as it is, once at half and once at twice of its seconds: those two say nothing together."""
    spoiled = [
        Sample(one.amounts, one.seconds * factor, one.group)
        for one in draw_samples(2, 14)
        for factor in (0.5, 1.0, 2.0)
    ]
    found = fit(spoiled)
    assert found is not None
    fresh = draw_amounts(random.Random(9))
    assert found.predict(fresh).expected == pytest.approx(dot(COSTS, fresh), rel=0.05)


def test_too_few_classes_are_not_fitted_however_many_runs_they_have() -> None:
    samples = draw_samples(0, LEAST_CLASSES - 1)
    assert fit(samples * 5) is None
    assert fit([]) is None
    assert fit(draw_samples(0, LEAST_CLASSES)) is not None


def test_many_runs_of_one_class_count_as_one() -> None:
    """Ninety seeds of one task say no more about the machine than three of each."""
    samples = draw_samples(3, 10, noise=0.2)
    once, often = fit(samples), fit([*samples, *[samples[0]] * 90])
    assert once is not None
    assert often is not None
    assert often.costs == pytest.approx(once.costs, rel=1e-6)


def test_low_and_high_hold_what_left_out_classes_were_off_by() -> None:
    exact, noisy = fit(draw_samples(1)), fit(draw_samples(1, noise=0.8))
    assert exact is not None
    assert noisy is not None
    inside = draw_samples(1)[0].amounts
    span = exact.predict(inside)
    assert (span.low * FITTED, span.high / FITTED) == pytest.approx((span.expected, span.expected))
    assert noisy.predict(inside).high / noisy.predict(inside).expected == pytest.approx(noisy.error)
    assert noisy.error > FITTED


def test_the_unseen_is_less_sure_and_never_absurd() -> None:
    """Costs are not negative, so a prediction lies between the smallest and largest ratio of the amounts to those of
    any run, as the fit has it; and its span grows with the distance."""
    samples = [one for one in draw_samples(5, 20) if not one.amounts[2]]
    found = fit(samples)
    assert found is not None
    read, updates, _, squares = samples[0].amounts
    known = found.predict(samples[0].amounts)
    for factor in (0.01, 0.1, 10, 100):
        strange = found.predict((read * factor, updates, 0.0, squares * factor))
        assert min(1, factor) <= strange.expected / known.expected <= max(1, factor)
    assert known.high / known.expected == pytest.approx(FITTED)
    far = found.predict((read * 1000, updates, 0.0, squares * 1000))
    assert far.high / far.expected == pytest.approx(FITTED * UNSEEN)
    ranks = found.predict((read, updates, updates, squares))
    assert ranks.high / ranks.expected == pytest.approx(FITTED * UNSEEN), "no run had more than one rank"
