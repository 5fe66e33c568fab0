"""Fixtures of the aggregator's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregate.scores import reading_cache
from tests.aggregate.claims_tree import keep_grid, made, same, write_gains


@pytest.fixture(autouse=True, scope="session")
def no_caches() -> Iterator[None]:
    """Trees of the tests leave nothing in the cache folder of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_cache, "LEAST_FILES", 1_000_000_000)
        yield


@pytest.fixture(scope="package", autouse=True)
def _without_figures() -> Iterator[None]:
    """Tables alone: figures take seconds of each of some hundred calls. Their own tests draw them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aggregate.tables.draw_figures", lambda study: ())
        yield


@pytest.fixture
def baseline_seeds() -> int:
    """How many `results` has; a module of tests may have its own."""
    return 4


@pytest.fixture
def results(tmp_path: Path, baseline_seeds: int) -> Path:
    """A study of the baseline; gains are written on top of it."""
    folder = tmp_path / "runs"
    keep_grid(folder, [])
    write_gains(folder, made("none"), same([0.0] * baseline_seeds))
    return folder
