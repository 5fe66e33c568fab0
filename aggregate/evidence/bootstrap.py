"""The bootstrap over examples, from stored predictions: a statement about these trained models only.

It says how far a score would move on another sample of examples, with the models as they are. It says nothing about
another seed: that is `aggregate.evidence.statistics`. What a set (one target in one language) stores of each example
is in docs/predictions.md; the arrays here have one row an example and one column a model, all in one order of examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

ABOUT = "over examples, about these trained models only"
RESAMPLES = 1000
BLOCK_BYTES = 64 << 20  # of the matrix of counts; a set of 10,000 examples takes one block
EXACT_IN_FLOAT32 = 1 << 24

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]  # truth values, integers or floats


def resample_means(draws: str, values: Numbers, resamples: int = RESAMPLES) -> Array:
    """[resamples, models] in percent: accuracy (`correct`), exact match or QA F1 (0 to 1) of [examples, models]."""
    return 100.0 * resample_sums(draws, values, resamples) / len(values)


def resample_f1(draws: str, right: Numbers, predicted: Numbers, gold: Numbers, resamples: int = RESAMPLES) -> Array:
    """[resamples, models] in percent: micro F1 = 2 x right / (predicted + gold), each summed over the examples.

    `right` and `predicted` [examples, models] and `gold` [examples] are numbers of chunks in a sentence (tagging:
    chunks_right, chunks_predicted, chunks_gold) or of pairs of a foreign sentence (mining, at the stored threshold;
    sentences in no pair at all may be left out). 0 where there is nothing to find and nothing found.
    """
    models = right.shape[1]
    sums = resample_sums(draws, np.hstack([right, predicted, gold[:, None]]), resamples)
    found, both = sums[:, :models], sums[:, models:-1] + sums[:, -1:]
    return np.divide(200.0 * found, both, out=np.zeros_like(found), where=both > 0)


def resample_sums(draws: str, values: Numbers, resamples: int = RESAMPLES) -> Array:
    """Sums [resamples, columns] of `values` [examples, columns] over as many examples drawn with replacement.

    `draws` names the draws: all columns share them, so models are compared on the same examples, and so do calls with
    the same name and number of examples. Name them after the set, but sets that are translations of each other
    (xnli, pawsx, xquad: one id, one question) after the target: their errors go together, and averages over
    languages would look too sure if each drew for itself.
    """
    assert len(values), "a set without examples"
    exact = np.array_equal(values, np.floor(values)) and np.abs(values).max() * len(values) < EXACT_IN_FLOAT32
    columns = np.ascontiguousarray(values, dtype=np.float32 if exact else np.float64)
    blocks = [counts @ columns for counts in _draw_counts(draws, len(values), resamples, columns.dtype)]
    return np.concatenate(blocks).astype(np.float64)


def _draw_counts(draws: str, examples: int, resamples: int, dtype: npt.DTypeLike) -> Iterator[Numbers]:
    """How often each example is in each resample, [resamples, examples] in blocks; blocks do not change the draws."""
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(draws.encode()).digest()))
    rows = max(1, BLOCK_BYTES // (examples * np.dtype(dtype).itemsize))
    for start in range(0, resamples, rows):
        counts = np.empty((min(rows, resamples - start), examples), dtype)
        for row in counts:
            row[:] = np.bincount(generator.integers(0, examples, examples), minlength=examples)
        yield counts


def average_sets(sets: Sequence[Array]) -> Array:
    """The mean over languages (or tasks) at the same number of the resample, [resamples, models]."""
    return np.asarray(np.mean(sets, axis=0), dtype=np.float64)


def contrast(samples: Array, own: Sequence[int], other: Sequence[int]) -> Array:
    """[resamples]: the mean of the columns `own` (the seeds of a row) minus that of `other` (its baseline's)."""
    return samples[:, list(own)].mean(axis=1) - samples[:, list(other)].mean(axis=1)


def interval(samples: Array, level: float = 0.95) -> tuple[Array, Array]:
    """The percentile interval over the first axis: 2.5 % and 97.5 % of the resamples, of each column."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high
