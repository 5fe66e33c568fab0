"""The bootstrap over examples against loops, its spread against formulas, its coverage by simulation."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aggregate.evidence import bootstrap
from aggregate.evidence.bootstrap import Array, Numbers, interval, resample_ratios, resample_sums


def resample_means(name: str, values: Numbers, resamples: int = 1000) -> Array:
    return resample_ratios(name, values, np.ones(values.shape), resamples)


def resample_f1(name: str, right: Numbers, predicted: Numbers, gold: Numbers, resamples: int) -> Array:
    return resample_ratios(name, 2 * right, predicted + gold[:, None], resamples)


def read_draws(name: str, examples: int, resamples: int) -> list[list[int]]:
    """The examples of each resample, told by the sums of columns that single one example out."""
    counts = resample_sums(name, np.eye(examples), resamples)
    assert counts.shape == (resamples, examples)
    assert set(counts.sum(axis=1)) == {examples}, "as many as there are"
    assert np.array_equal(counts, np.floor(counts))
    return [[example for example in range(examples) for _ in range(int(row[example]))] for row in counts]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 4), st.randoms(use_true_random=False))
def test_sums_are_those_of_a_loop(examples: int, models: int, numbers: random.Random) -> None:
    def fill(top: int) -> list[list[int]]:
        return [[numbers.randint(0, top) for _ in range(models)] for _ in range(examples)]

    correct, qa = fill(1), [[numbers.random() for _ in range(models)] for _ in range(examples)]
    gold = [numbers.randint(0, 2) for _ in range(examples)]
    predicted = fill(2)
    right = [[min(p, g) for p in row] for row, g in zip(predicted, gold, strict=True)]
    accuracy = resample_means("set", np.array(correct) == 1, 20)
    f1 = resample_f1("set", np.array(right), np.array(predicted), np.array(gold), 20)
    mean_f1 = resample_means("set", np.array(qa), 20)
    for number, drawn in enumerate(read_draws("set", examples, 20)):
        for model in range(models):
            hits = sum(right[example][model] for example in drawn)
            both = sum(predicted[example][model] + gold[example] for example in drawn)
            assert accuracy[number, model] == 100 * sum(correct[example][model] for example in drawn) / examples
            assert f1[number, model] == pytest.approx(200 * hits / both if both else 0.0, abs=1e-10)
            wanted = 100 * sum(qa[example][model] for example in drawn) / examples
            assert mean_f1[number, model] == pytest.approx(wanted, abs=1e-10)


def test_large_counts_are_summed_exactly() -> None:
    values = np.full((50, 1), 2**24 + 1)
    assert set(resample_sums("set", values, 3)[:, 0]) == {50.0 * (2**24 + 1)}


def test_draws_belong_to_the_name_and_are_shared_by_all_models(monkeypatch: pytest.MonkeyPatch) -> None:
    correct = np.random.default_rng(0).random((300, 3)) < 0.7
    whole = resample_means("xnli.dev.de", correct, 50)
    assert np.array_equal(resample_means("xnli.dev.de", correct[:, [2]], 50), whole[:, [2]])
    assert np.array_equal(resample_means("xnli.dev.de", correct, 20), whole[:20])
    assert not np.array_equal(resample_means("xnli.dev.fr", correct, 50), whole)
    monkeypatch.setattr(bootstrap, "BLOCK_BYTES", 7 * 300 * 4)
    assert np.array_equal(resample_means("xnli.dev.de", correct, 50), whole), "memory does not change the draws"


def test_examples_are_drawn_evenly_and_independently() -> None:
    counts = resample_sums("even", np.eye(20), 20_000)
    assert counts.mean(axis=0) == pytest.approx(np.ones(20), abs=0.03)
    # Multinomial: variance 1 - 1/N, covariance -1/N.
    spread = np.cov(counts.T)
    assert np.diag(spread) == pytest.approx(np.full(20, 0.95), abs=0.05)
    assert spread[~np.eye(20, dtype=bool)] == pytest.approx(np.full(380, -0.05), abs=0.04)


def test_two_models_are_compared_on_the_same_examples() -> None:
    """Models that differ on 10 of 400 examples: the difference varies by them alone."""
    first = np.random.default_rng(1).random(400) < 0.6
    second = first.copy()
    second[:10] = ~second[:10]
    samples = resample_means("pair", np.stack([first, second, first], axis=1), 4000)
    difference = samples[:, 1] - samples[:, 0]
    changes = second.astype(float) - first
    assert difference.std() == pytest.approx(100 * changes.std() / 20, rel=0.05)
    assert samples[:, 0].std() == pytest.approx(100 * first.std() / 20, rel=0.05)
    assert np.array_equal(samples[:, 2], samples[:, 0])
    low, high = interval(difference)
    inside = np.mean((difference >= low) & (difference <= high))
    assert 0.95 <= inside <= 0.975  # steps of 0.25 points


def test_interval_of_an_accuracy_is_that_of_the_exact_binomial() -> None:
    """Resampled hits of N examples of which a share p is right are binomial(N, p): bounds, mean and spread."""
    for examples, hits in ((400, 280), (60, 6), (25, 25)):
        correct = np.arange(examples)[:, None] < hits
        samples = resample_means(f"{examples}", correct, 20_000)[:, 0] * examples / 100
        exact = stats.binom(examples, hits / examples)
        assert samples.mean() == pytest.approx(exact.mean(), abs=4 * exact.std() / np.sqrt(20_000))
        assert samples.std() == pytest.approx(exact.std(), rel=0.02)
        low, high = interval(samples)
        assert abs(low - exact.ppf(0.025)) <= 1 and abs(high - exact.ppf(0.975)) <= 1
        found = np.bincount(np.rint(samples).astype(int), minlength=examples + 1) / 20_000
        assert np.abs(found - exact.pmf(np.arange(examples + 1))).max() < 0.012


def test_intervals_over_examples_cover() -> None:
    """2,000 models' differences to a baseline on 400 examples; the truth is what endless examples would give."""
    numbers = np.random.default_rng(3)
    hard = numbers.random((400, 1))  # examples are as hard for both
    baseline = hard < 0.6
    models = np.where(numbers.random((400, 2000)) < 0.3, numbers.random((400, 2000)) < 0.8, hard < 0.6)
    # Of 30 % of the examples a model is right on 80 % whatever the baseline does, elsewhere it is the baseline.
    truth = 100 * 0.3 * (0.8 - 0.6)
    samples = resample_means("coverage", np.hstack([models, baseline]), 1000)
    low, high = interval(samples[:, :-1] - samples[:, -1:])
    assert 0.93 <= np.mean((low <= truth) & (truth <= high)) <= 0.97
