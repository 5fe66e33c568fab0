"""Nearest neighbours by cosine, exactly, in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

# Far above the rounding of a float32 product of unit vectors (about 1e-6), far below what separates sentences.
_MARGIN = 1e-5

# A block's products, and the float64 copies of candidates whose cosines are computed again.
PRODUCT_BYTES = 256 * 2**20
RECHECK_BYTES = 32 * 2**20

# The best product of each run of so many candidates is found first: cheaper than sorting all of them.
_RUN = 256


def find_neighbours(
    queries: np.ndarray, candidates: np.ndarray, k: int, block: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest candidates of each query by cosine, best first, of equals the one with the lower index.

    `queries` float32 [N, H], `candidates` float32 [M, H]. Returns their indices int64 [N, k] and cosines float64
    [N, k]; k is M where there are fewer. A vector of zeros has cosine 0 to all.

    The rounding of a matrix product depends on its shape. So blocks of `block` queries only say which candidates come
    near the k-th best, and those are compared by float64 products of single rows: the result is the same for every
    block size. Equal candidates are looked at once, so a thousand equal embeddings cost no more than one.

    Memory beside the arguments, in bytes: 8 H M for the distinct candidates and their unit vectors, about 300 M for
    finding equal ones, 16 N k for the result, 1.25 PRODUCT_BYTES for a block (never less than 5 M for one query), and
    4 RECHECK_BYTES.
    """
    k = min(k, len(candidates))
    indices, cosines = np.zeros((len(queries), k), dtype=np.int64), np.zeros((len(queries), k))
    if not k:
        return indices, cosines
    members = group_equal(candidates, k)
    units = normalize(candidates[members[:, 0]])
    block = block or max(1, PRODUCT_BYTES // (4 * len(units)))
    for start in range(0, len(queries), block):
        rows = normalize(queries[start : start + block])
        products = rows @ units.T
        bounds = bound_best(products, k)
        for place, near in enumerate(products >= bounds[:, None] - _MARGIN, start=start):
            found = np.flatnonzero(near)
            exact = measure_cosines(queries[place], candidates, members[found, 0])
            indices[place], cosines[place] = _choose_best(members[found], exact, k)
    return indices, cosines


def group_equal(vectors: np.ndarray, k: int) -> np.ndarray:
    """The first k places of each distinct row of `vectors`, padded with -1: int64 [distinct, k], in order."""
    groups: dict[bytes, list[int]] = {}
    for place, vector in enumerate(vectors):
        places = groups.setdefault(hashlib.blake2b(vector.tobytes(), digest_size=16).digest(), [])
        if len(places) < k:
            places.append(place)
    members = np.full((len(groups), k), -1, dtype=np.int64)
    for row, places in zip(members, groups.values(), strict=True):
        row[: len(places)] = places
    return members


def normalize(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1 in float32; rows of zeros stay. Each row by itself, through float64."""
    units = np.empty(vectors.shape, dtype=np.float32)
    for part in cut_rows(*vectors.shape):
        rows = vectors[part].astype(np.float64)
        norms = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        units[part] = rows / np.where(norms > 0, norms, 1)
    return units


def cut_rows(rows: int, width: int) -> Iterator[slice]:
    """Slices of so many rows that a float64 copy of each takes at most RECHECK_BYTES."""
    size = max(1, RECHECK_BYTES // (8 * max(1, width)))
    return (slice(start, start + size) for start in range(0, rows, size))


def bound_best(products: np.ndarray, k: int) -> np.ndarray:
    """A value for each row [N] that its k-th largest product reaches, close to it, without sorting the row."""
    width = min(_RUN, max(1, products.shape[1] // k))
    best = np.maximum.reduceat(products, np.arange(0, products.shape[1], width), axis=1)
    if best.shape[1] < k:
        return best.min(axis=1)  # fewer distinct candidates than k: all of them are near
    return np.partition(best, -k, axis=1)[:, -k]


def measure_cosines(query: np.ndarray, candidates: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Float64 cosines of a vector with some of the candidates, each computed by itself."""
    exact = np.empty(len(places))
    wide = query.astype(np.float64)
    for part in cut_rows(len(places), len(query)):
        rows = candidates[places[part]].astype(np.float64)
        lengths = np.sqrt((rows * rows).sum(axis=1)) * np.sqrt((wide * wide).sum())
        exact[part] = (rows * wide).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return exact


def _choose_best(members: np.ndarray, cosines: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    held = members >= 0
    places, values = members[held], np.broadcast_to(cosines[:, None], members.shape)[held]
    order = np.lexsort((places, -values))[:k]
    return places[order], values[order]
