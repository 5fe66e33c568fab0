"""The bootstrap over examples, from stored predictions: a statement about these trained models only.

It says how far a score would move on another sample of examples, with the models as they are. It says nothing about
another seed: that is `aggregate.evidence.statistics`. What a set (one target in one language) stores of each example
is in docs/predictions.md; the arrays here have one row an example and one column a model, all in one order of examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

RESAMPLES = 1000
BLOCK_BYTES = 64 << 20  # of the matrix of counts; a set of 10,000 examples takes one block
DRAWS_AT_ONCE = 1 << 16  # small sets are drawn several times in one call
EXACT_IN_FLOAT32 = 1 << 24

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]  # truth values, integers or floats


def resample_ratios(draws: str, numerators: Numbers, denominators: Numbers, resamples: int = RESAMPLES) -> Array:
    """[resamples, models] in percent: sums of `numerators` over sums of `denominators`, both [examples, models].

    Means (accuracy, exact match, QA F1) have ones below. Micro F1 is 2 x right / (predicted + gold) of each example: of
    chunks in a sentence, or of pairs of a foreign sentence at the stored threshold (sentences in no pair of any model
    may be left out). 0 where nothing drawn counts.
    """
    models = numerators.shape[1]
    sums = resample_sums(draws, np.hstack([numerators, denominators]), resamples)
    above, below = sums[:, :models], sums[:, models:]
    return np.divide(100.0 * above, below, out=np.zeros_like(above), where=below > 0)


def resample_sums(draws: str, values: Numbers, resamples: int = RESAMPLES) -> Array:
    """Sums [resamples, columns] of `values` [examples, columns] over as many examples drawn with replacement.

    `draws` names the draws: all columns share them, so models are compared on the same examples, and so do calls with
    the same name and number of examples.
    """
    assert len(values), "a set without examples"
    exact = np.array_equal(values, np.floor(values)) and float(np.abs(values).max()) * len(values) < EXACT_IN_FLOAT32
    columns = np.ascontiguousarray(values, dtype=np.float32 if exact else np.float64)
    blocks = [counts @ columns for counts in _draw_counts(draws, len(values), resamples, columns.dtype)]
    return np.concatenate(blocks).astype(np.float64)


def _draw_counts(draws: str, examples: int, resamples: int, dtype: npt.DTypeLike) -> Iterator[Numbers]:
    """How often each example is in each resample, [resamples, examples] in blocks; blocks do not change the draws."""
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(draws.encode()).digest()))
    rows = max(1, BLOCK_BYTES // (examples * np.dtype(dtype).itemsize))
    for start in range(0, resamples, rows):
        counts = np.empty((min(rows, resamples - start), examples), dtype)
        several = max(1, DRAWS_AT_ONCE // examples)
        for first in range(0, len(counts), several):
            part = counts[first : first + several]
            drawn = generator.integers(0, examples, part.shape) + np.arange(len(part))[:, None] * examples
            part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
        yield counts


def interval(samples: Array, level: float = 0.95) -> tuple[Array, Array]:
    """The percentile interval over the first axis: 2.5 % and 97.5 % of the resamples, of each column."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
