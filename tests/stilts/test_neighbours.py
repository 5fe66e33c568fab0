"""Nearest neighbours against a double loop: ties, equal embeddings, block sizes, memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stilts.evaluation import neighbours
from stilts.evaluation.neighbours import find_neighbours, match_sides
from tests.support.verdict import GPU_REASON


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    lengths = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def slow_neighbours(query: np.ndarray, candidates: np.ndarray, k: int) -> list[int]:
    cosines = [round(cosine(query, candidate), 12) for candidate in candidates]
    return sorted(range(len(candidates)), key=lambda place: (-cosines[place], place))[:k]


# Small whole numbers: many equal and many parallel vectors, and zeros.
vectors = st.integers(1, 9).flatmap(lambda rows: hnp.arrays(np.float32, (rows, 3), elements=st.integers(-2, 2)))


@given(vectors, vectors, st.integers(1, 5), st.integers(1, 4))
def test_neighbours_are_those_of_a_double_loop(queries: np.ndarray, candidates: np.ndarray, k: int, block: int) -> None:
    """Parallel vectors of unequal length may round apart in the last place; their order is then free."""
    found, cosines = find_neighbours(queries, candidates, k, block)
    assert found.shape == cosines.shape == (len(queries), min(k, len(candidates)))
    assert cosines.dtype == np.float64
    for query, row, values in zip(queries.astype(float), found, cosines, strict=True):
        expected = slow_neighbours(query, candidates.astype(float), k)
        np.testing.assert_allclose(values, [cosine(query, candidates[place]) for place in expected], atol=1e-12)
        np.testing.assert_allclose(values, [cosine(query, candidates[place]) for place in row], atol=1e-12)
        assert len(set(row.tolist())) == len(row)


@given(vectors, vectors, st.integers(1, 5), st.integers(1, 4))
def test_one_pass_gives_both_directions(first: np.ndarray, second: np.ndarray, k: int, block: int) -> None:
    """Of the same vectors the same neighbours as one search each way, ties and zeros included, and the loop's."""
    for (found, cosines), (queries, candidates) in zip(
        match_sides(first, second, k, block), ((first, second), (second, first)), strict=True
    ):
        one_way = find_neighbours(queries, candidates, k)
        assert np.array_equal(found, one_way[0]) and np.array_equal(cosines, one_way[1])
        for query, values in zip(queries.astype(float), cosines, strict=True):
            expected = slow_neighbours(query, candidates.astype(float), k)
            np.testing.assert_allclose(values, [cosine(query, candidates[place]) for place in expected], atol=1e-12)


@pytest.mark.parametrize("size", [1, 7, 300, 1000])
def test_neighbours_do_not_depend_on_the_block_size(size: int) -> None:
    """Many candidates lie so near each other that the rounding of a matrix product decides between them."""
    rng = np.random.default_rng(size)
    queries = rng.normal(size=(size, 64)).astype(np.float32)
    candidates = (queries[rng.integers(size, size=size)] + rng.choice([0, 1e-7, 1e-6], size=(size, 1))).astype("f4")
    results = [find_neighbours(queries, candidates, 4, block) for block in (1 + size // 300, 64, None)]
    mutual = [match_sides(queries, candidates, 4, block) for block in (3 + size // 300, 64, None)]
    back = find_neighbours(candidates, queries, 4, 50)
    for found, cosines in [*results[1:], *(forth for forth, _ in mutual)]:
        assert np.array_equal(found, results[0][0]) and np.array_equal(cosines, results[0][1])
    for _, (found, cosines) in mutual:
        assert np.array_equal(found, back[0]) and np.array_equal(cosines, back[1])
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (queries.astype(float), candidates.astype(float))]
    true = np.sort(unit[0] @ unit[1].T, axis=1)[:, ::-1][:, : min(4, size)]
    np.testing.assert_allclose(results[0][1], true, atol=1e-12)


@pytest.mark.parametrize("distinct", [1, 2, 5])
def test_thousands_of_equal_embeddings_give_the_first_ones(distinct: int) -> None:
    """A collapsed encoder: of equals the lower index wins, whatever the block, and fast."""
    kinds = np.random.default_rng(0).normal(size=(distinct, 256)).astype(np.float32)
    which = np.arange(4000) % distinct
    results = [find_neighbours(kinds[which[:50]], kinds[which], 4, block) for block in (7, None)]
    for found, cosines in results:
        assert found.tolist() == [[place % distinct + n * distinct for n in range(4)] for place in range(50)]
        np.testing.assert_allclose(cosines, 1, atol=1e-12)


def test_pairs_that_all_come_near_are_listed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distinct embeddings nearer to each other than the rounding of a product: every pair is compared exactly."""
    rng = np.random.default_rng(0)
    first, second = (1 + 1e-7 * rng.normal(size=(60, 16)).astype(np.float32) for _ in range(2))
    monkeypatch.setattr(neighbours, "_PAIRS", 100)
    for (found, values), (queries, candidates) in zip(
        match_sides(first, second, 4, 7), ((first, second), (second, first)), strict=True
    ):
        for query, row, near in zip(queries.astype(float), found, values, strict=True):
            exact = [cosine(query, candidate) for candidate in candidates.astype(float)]
            np.testing.assert_allclose(near, sorted(exact, reverse=True)[:4], rtol=0, atol=1e-15)
            assert len(set(row.tolist())) == 4


def test_a_process_that_allows_tf32_gets_full_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting is switched off for the products alone."""
    seen: list[str] = []

    def multiply(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        seen.append(torch.get_float32_matmul_precision())
        return torch.matmul(one, other)

    monkeypatch.setattr(torch.Tensor, "__matmul__", multiply)
    torch.set_float32_matmul_precision("medium")
    try:
        find_neighbours(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), 1)
        assert seen == ["highest"] and torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.skipif(not torch.cuda.is_available(), reason=GPU_REASON)
def test_a_gpu_finds_the_same() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=(700, 64)).astype(np.float32)
    second = (first[rng.integers(700, size=900)] + rng.choice([0, 1e-7, 1e-2], size=(900, 1))).astype(np.float32)
    for ours, theirs in zip(match_sides(first, second, 4), match_sides(first, second, 4, 128, "cuda"), strict=True):
        assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])


def test_memory_stays_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With small bounds, rows are cut into small pieces; the result is the same."""
    rng = np.random.default_rng(0)
    queries, candidates = (rng.normal(size=(40, 8)).astype(np.float32) for _ in range(2))
    expected = match_sides(queries, candidates, 3)
    monkeypatch.setattr(neighbours, "PRODUCT_BYTES", {"cpu": 1})
    monkeypatch.setattr(neighbours, "RECHECK_BYTES", 1)
    for whole, cut in zip(expected, match_sides(queries, candidates, 3), strict=True):
        assert np.array_equal(whole[0], cut[0]) and np.array_equal(whole[1], cut[1])
