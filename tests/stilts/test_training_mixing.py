"""Which examples an update takes."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stilts.training.mixing import Mixture, Pools, Share, weigh
from stilts.training.schedule import learning_rate

shares = st.lists(
    st.builds(
        Share,
        task=st.sampled_from("abcd"),
        examples=st.integers(1, 60),
        batch_size=st.integers(1, 9),
        epochs=st.integers(1, 3),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda share: share.task,
)

GOLDEN_MIXTURE = [
    ("mnli", [93, 1, 53, 80]),
    ("mnli", [71, 88, 90, 29]),
    ("mnli", [35, 44, 77, 62]),
    ("mnli", [49, 64, 58, 54]),
    ("squad1", [3, 50, 33]),
]
GOLDEN_POOLS = [[17, 85, 34, 51], [21, 90, 56, 57], [44, 10, 62, 29]]


@given(shares, st.integers(1, 40), st.integers(0, 5))
@settings(deadline=None, max_examples=60)
def test_each_epoch_of_a_task_uses_every_example_once(parts: list[Share], cap: int, seed: int) -> None:
    mixture = Mixture(parts, cap, seed)
    seen: dict[str, list[np.ndarray]] = {share.task: [] for share in parts}
    for update in range(mixture.updates):
        task, examples = mixture.batch(update)
        seen[task].append(examples)
    for share in parts:
        batches, per_epoch = seen[share.task], math.ceil(share.examples / share.batch_size)
        for first in range(0, len(batches), per_epoch):
            used = np.concatenate(batches[first : first + per_epoch])
            assert len(set(used)) == len(used)
            if len(batches[first:]) >= per_epoch:
                assert sorted(used) == list(range(share.examples))
        assert all(len(batch) <= share.batch_size for batch in batches)


@given(shares, st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_number_of_updates(parts: list[Share], cap: int) -> None:
    """jiant's rule for several tasks; the cap has no meaning for one."""
    counts = [(s.examples if len(parts) == 1 else min(s.examples, cap), s) for s in parts]
    assert Mixture(parts, cap, 0).updates == sum(s.epochs * math.ceil(n / s.batch_size) for n, s in counts)


def test_a_batch_is_a_pure_function_of_seed_and_update() -> None:
    parts = [Share("mnli", 100, 8, 3), Share("squad1", 60, 4, 3)]
    forwards = [Mixture(parts, 80, 7).batch(update) for update in range(40)]
    for update in reversed(range(40)):
        task, examples = Mixture(parts, 80, 7).batch(update)
        assert task == forwards[update][0]
        assert np.array_equal(examples, forwards[update][1])
    longer = Mixture([Share("mnli", 100, 8, 9), Share("squad1", 60, 4, 9)], 80, 7)
    assert [longer.batch(update)[0] for update in range(40)] == [task for task, _ in forwards]


SIZES = {"big": 300_000, "middle": 60_000, "small": 20_000}


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        ({"rule": "proportional"}, [131_072, 60_000, 20_000]),
        ({"rule": "uniform"}, [1, 1, 1]),
        ({"rule": "temperature", "temperature": 2.0}, [131_072**0.5, 60_000**0.5, 20_000**0.5]),
        ({"rule": "weights", "weights": {"small": 3.0, "big": 0.5, "middle": 1.0}}, [0.5, 1.0, 3.0]),
    ],
)
def test_draws_follow_the_sampling_rule(sampling: dict[str, Any], expected: list[float]) -> None:
    """Chi-square over 100,000 draws; 13.8 is exceeded once in a thousand at two degrees of freedom."""
    parts = [Share(task, examples, 10, 5) for task, examples in SIZES.items()]
    mixture = Mixture(parts, 131_072, 11, weigh(parts, {"cap": 131_072, **sampling}))
    shares = np.array(expected) / sum(expected)
    assert mixture.probabilities == pytest.approx(shares)
    draws = 100_000
    counts = np.array([0, 0, 0])
    for update in range(draws):
        counts[list(SIZES).index(mixture.task_of(update))] += 1
    assert ((counts - draws * shares) ** 2 / (draws * shares)).sum() < 13.8


def test_draws_are_proportional_to_capped_sizes() -> None:
    parts = [Share("big", 300_000, 24, 1), Share("middle", 60_000, 24, 1), Share("small", 20_000, 24, 1)]
    mixture = Mixture(parts, 131_072, seed=3)
    assert mixture.probabilities == pytest.approx(np.array([131_072, 60_000, 20_000]) / 211_072)
    drawn = [mixture.batch(update)[0] for update in range(mixture.updates)]
    counts = np.array([drawn.count(share.task) for share in parts])
    assert counts.sum() == mixture.updates > 8000
    expected = mixture.probabilities * counts.sum()
    # 9.21: the 99% point of chi-square with two degrees of freedom.
    assert ((counts - expected) ** 2 / expected).sum() < 9.21


def test_seeds_differ() -> None:
    parts = [Share("mnli", 100, 8, 3)]
    assert not np.array_equal(Mixture(parts, 80, 1).batch(0)[1], Mixture(parts, 80, 2).batch(0)[1])


def test_golden_first_batches() -> None:
    """These change only with a new stage version: runs of one name must see the same examples."""
    mixture = Mixture([Share("mnli", 100, 4, 2), Share("squad1", 60, 3, 2)], 131_072, seed=1)
    first = [(task, examples.tolist()) for task, examples in map(mixture.batch, range(5))]
    assert first == GOLDEN_MIXTURE
    pools = Pools("text", np.arange(100, dtype=np.int64) % 17, batch_size=4, updates=50, seed=1)
    assert [pools.batch(update)[1].tolist() for update in range(3)] == GOLDEN_POOLS


@given(st.integers(1, 7), st.integers(0, 200), st.integers(0, 3))
@settings(deadline=None, max_examples=40)
def test_pools_hold_neighbours_in_length(batch_size: int, extra: int, seed: int) -> None:
    lengths = np.random.default_rng(seed).integers(3, 60, batch_size + extra)
    per_epoch = len(lengths) // batch_size
    pools = Pools("text", lengths, batch_size, 2 * per_epoch, seed)
    for epoch in range(2):
        batches = [pools.batch(epoch * per_epoch + index)[1] for index in range(per_epoch)]
        used = np.concatenate(batches)
        assert len(set(used)) == len(used) == per_epoch * batch_size
        for first in range(0, per_epoch, 8):
            spans = sorted((lengths[batch].min(), lengths[batch].max()) for batch in batches[first : first + 8])
            assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_learning_rate_warms_up_and_decays() -> None:
    rates = [learning_rate(update, 100, 1.0, 0.1) for update in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (update + 1) for update in range(10)])
    assert rates[10] == 1.0
    assert np.allclose(np.diff(rates[10:]), -1 / 90)
    assert rates[-1] == pytest.approx(1 / 90)
    assert learning_rate(0, 1, 1.0, 0.1) == learning_rate(0, 1, 1.0, 0.0) == 1.0
