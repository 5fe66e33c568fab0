"""What all tests of the aggregator share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aggregate.scores import reading_cache


@pytest.fixture(autouse=True, scope="session")
def no_caches() -> Iterator[None]:
    """Trees of the tests leave nothing in the cache folder of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading_cache, "LEAST_FILES", 1_000_000_000)
        yield
