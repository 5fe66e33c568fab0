"""What the statistics promise, by simulation: how often intervals hold the truth and how often a table errs.

2,000 studies each; noise is normal. Beside each figure stands that of a wrong method, which the same studies expose.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from statistics import fmean

import numpy as np
import pytest

from aggregate.evidence.statistics import (
    Array,
    Estimate,
    estimate,
    estimate_all,
    holm,
    nested,
    paired,
    paired_by_draw,
    slope,
)
from aggregate.scores.merging import Seed

STUDIES = 2000
TRUTH = 1.5  # points
SEEDS = (3, 5, 10)


def coverage(estimates: Iterable[Estimate | None], truth: float = TRUTH) -> float:
    """The share of intervals that hold the truth."""
    found = [estimate for estimate in estimates if estimate is not None]
    assert len(found) == STUDIES
    return fmean(e.low is not None and e.high is not None and e.low <= truth <= e.high for e in found)


def covers(share: float) -> bool:
    return 0.93 <= share <= 0.97


@pytest.mark.parametrize("n", SEEDS)
def test_intervals_of_paired_differences_cover(n: int) -> None:
    """A seed moves row and baseline alike (sd 2), and each by itself (sd 0.5)."""
    numbers = np.random.default_rng(n)
    shared = numbers.normal(0, 2, (STUDIES, n))
    rows = 70 + TRUTH + shared + numbers.normal(0, 0.5, (STUDIES, n))
    baselines = 70 + shared + numbers.normal(0, 0.5, (STUDIES, n))
    found = [
        estimate(paired(dict(enumerate(row)), dict(enumerate(base))).values())
        for row, base in zip(rows.tolist(), baselines.tolist(), strict=True)
    ]
    assert covers(coverage(found))

    normal = fmean(abs(e.mean - TRUTH) <= 1.96 * (e.sd or 0) / math.sqrt(n) for e in found)
    assert not covers(normal), "quantiles of the normal distribution are too narrow"
    unpaired = estimate_all(rows - np.roll(baselines, 1, axis=1))
    assert np.median(unpaired.high - unpaired.low) > 2 * np.median([(e.high or 0) - (e.low or 0) for e in found])


@pytest.mark.parametrize("draws", SEEDS)
@pytest.mark.parametrize("ragged", [False, True])
def test_intervals_of_contrasts_over_draws_cover(draws: int, ragged: bool) -> None:
    """Multitask minus sequential: what a draw of tasks changes in the contrast (sd 1), and three seeds within (1)."""
    numbers = np.random.default_rng(draws)

    def simulate() -> dict[int, dict[Seed, float]]:
        contrast = numbers.normal(TRUTH, 1, draws)
        level, shared = numbers.normal(70, 3, draws), numbers.normal(0, 2, 3)
        noise = numbers.normal(0, 1, (2, draws, 3))
        kept = {draw: range(1 + draw % 3 if ragged else 3) for draw in range(draws)}
        sides: list[dict[int, dict[Seed, float]]] = [
            {draw: {seed: level[draw] + shared[seed] + side[draw, seed] for seed in kept[draw]} for draw in kept}
            for side in (noise[0] + contrast[:, None], noise[1])
        ]
        return paired_by_draw(*sides)

    studies = [simulate() for _ in range(STUDIES)]
    found = [nested(study) for study in studies]
    assert {(e.n, e.unit) for e in found} == {(draws, "draw")}
    assert covers(coverage(found))
    pooled = [estimate([value for seeds in study.values() for value in seeds.values()]) for study in studies]
    assert coverage(pooled) < 0.93, "seeds of one draw are not independent"


@pytest.mark.parametrize("draws", SEEDS)
def test_intervals_of_slopes_cover(draws: int) -> None:
    """Scores over k = 1, 2, 4, 8 of draws with levels (sd 3) and slopes (0.5) of their own, and noise (1)."""
    numbers = np.random.default_rng(draws)
    counts = (1, 2, 4, 8)
    slopes = numbers.normal(TRUTH, 0.5, (STUDIES, draws, 1))
    scores = numbers.normal(60, 3, (STUDIES, draws, 1)) + slopes * np.log2(counts)
    scores += numbers.normal(0, 1, scores.shape)
    studies = [
        {draw: dict(zip(counts, by_count, strict=True)) for draw, by_count in enumerate(study)}
        for study in scores.tolist()
    ]
    assert covers(coverage(slope(study) for study in studies))
    natural = TRUTH / math.log(2)  # the slope on the natural logarithm is another number
    assert coverage((slope(study) for study in studies), natural) < 0.9


def simulate_tables(numbers: np.random.Generator, n: int, rows: int, columns: int) -> Iterator[Array]:
    """2,000 tables [studies, rows x columns, n] of differences to a shared baseline, none with an effect.

    A run's columns go together (half of its variance), and all rows of a table share the baseline's noise.
    """
    block = 250
    for _ in range(STUDIES // block):
        runs = numbers.normal(0, 0.7, (block, rows + 1, 1, n)) + numbers.normal(0, 0.7, (block, rows + 1, columns, n))
        yield (runs[:, 1:] - runs[:, :1]).reshape(block, rows * columns, n)


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("dependent", [True, False])
def test_tables_without_an_effect_have_no_star(n: int, dependent: bool) -> None:
    numbers = np.random.default_rng(n)
    tables: Iterable[Array]
    if dependent:
        tables = simulate_tables(numbers, n, rows=40, columns=10)
    else:  # what errs most often under Holm
        tables = (numbers.normal(0, 1, (500, 40, n)) for _ in range(STUDIES // 500))
    starred, unadjusted = [], []
    for block in tables:
        ps = estimate_all(block.reshape(-1, n)).p.reshape(block.shape[:2])
        starred += [bool(holm(dict(enumerate(study))).survivors) for study in ps]
        unadjusted += (ps.min(axis=1) < 0.05).tolist()
    assert len(starred) == STUDIES
    assert fmean(starred) <= 0.065
    assert dependent or fmean(starred) >= 0.035, "Holm is no stricter than it says where tests are independent"
    assert fmean(unadjusted) > 0.8, "without a correction"
