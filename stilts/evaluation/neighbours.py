"""Nearest neighbours by cosine, exactly, in bounded memory; those of both sides from one pass where both are wanted.

The rounding of a matrix product depends on its shape, on the processor and on the number of threads. So float32
products only say which vectors come near another one's k-th best, and those are compared by float64 products of
single rows: the result is the same for every block size and device.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# Indices int64 [N, k], best first, and their cosines float64 [N, k].
Neighbours = tuple[np.ndarray, np.ndarray]

# Far above the rounding of a float32 product of unit vectors (about 1e-6), far below what separates sentences.
_MARGIN = 1e-5

# A block's products, by kind of device.
PRODUCT_BYTES = {"cpu": 128 * 2**20, "cuda": 2**30}

# The float64 copies of vectors whose cosines are computed again: what fits into a processor's cache is done in half of
# the time.
RECHECK_BYTES = 2**20

# The best product of each run of so many is found first: cheaper than sorting all of them.
_RUN = 64

# As many products are looked through at once, in case that all of them are near.
_PAIRS = 2**20


def find_neighbours(
    queries: np.ndarray, candidates: np.ndarray, k: int, block: int | None = None, device: str = "cpu"
) -> Neighbours:
    """The k nearest candidates of each query by cosine, best first, of equals the one with the lower index.

    `queries` float32 [N, H], `candidates` float32 [M, H]; k is M where there are fewer. A vector of zeros has cosine 0
    to all. Memory: that of `match_sides`.
    """
    sides = _Side(queries, min(k, len(candidates))), _Side(candidates, 0)
    _compare(*sides, block, device)
    return sides[0].spread(sides[1])


def match_sides(
    first: np.ndarray, second: np.ndarray, k: int, block: int | None = None, device: str = "cpu"
) -> tuple[Neighbours, Neighbours]:
    """The k nearest of `second` for each vector of `first`, and of `first` for each of `second`, from one pass.

    Each is what `find_neighbours` gives; `block` vectors of `first` are multiplied at once. Equal vectors of a side
    are looked at once, so a thousand of them cost no more than one.

    Memory beside the arguments, in bytes, for N and M vectors of size H: 4 H M for unit vectors, about 200 (N + M) for
    finding equal ones, 24 k (k + 2) (N + M) for the result, 1.6 PRODUCT_BYTES for a block (on the device; never less
    than 7 M for one vector), 100 _PAIRS, and 4 RECHECK_BYTES a thread.
    """
    sides = _Side(first, min(k, len(second))), _Side(second, min(k, len(first)))
    _compare(*sides, block, device)
    return sides[0].spread(sides[1]), sides[1].spread(sides[0])


class _Side:
    """The distinct vectors of a side, and of each the `k` best distinct vectors of the other side that are known."""

    def __init__(self, vectors: np.ndarray, k: int) -> None:
        self.vectors, self.k = vectors, k
        self.group, self.first = group_equal(vectors)
        self.norms = np.empty(len(self.first))
        for part in cut_rows(len(self.first), vectors.shape[1]):
            wide = vectors[self.first[part]].astype(np.float64)
            self.norms[part] = np.sqrt((wide * wide).sum(axis=1))
        self.best = np.full((len(self.first), k), -1, dtype=np.int64)
        self.cosines = np.full((len(self.first), k), -np.inf)

    def normalize(self, start: int, end: int) -> np.ndarray:
        """Distinct vectors `start` to `end` with length 1, float32; zeros stay. Each by itself, through float64."""
        units = np.empty((end - start, self.vectors.shape[1]), dtype=np.float32)
        firsts, norms = self.first[start:end], self.norms[start:end, None]
        for part in cut_rows(*units.shape):
            units[part] = self.vectors[firsts[part]].astype(np.float64) / np.where(norms[part] > 0, norms[part], 1)
        return units

    def take(self, places: np.ndarray, others: np.ndarray, cosines: np.ndarray) -> None:
        """Let pairs with the other side's `others` compete; no pair may come twice."""
        if not self.k:
            return
        touched = np.unique(places)
        rows = np.concatenate([np.repeat(touched, self.k), places])
        partners = np.concatenate([self.best[touched].ravel(), others])
        values = np.concatenate([self.cosines[touched].ravel(), cosines])
        order = np.lexsort((partners, -values, rows))
        starts = np.searchsorted(rows[order], touched)
        kept = order[starts[:, None] + np.arange(self.k)]
        self.best[touched], self.cosines[touched] = partners[kept], values[kept]

    def spread(self, other: _Side) -> Neighbours:
        """The neighbours of all vectors, equal ones included on both sides."""
        order = np.argsort(other.group, kind="stable")  # the members of each distinct vector, one after the other
        counts = np.bincount(other.group, minlength=1)
        steps = np.arange(self.k)
        held = (self.best[:, :, None] >= 0) & (steps < counts[self.best][:, :, None])
        starts = (np.cumsum(counts) - counts)[self.best][:, :, None]
        members = np.where(held, order[np.where(held, starts + steps, 0)], len(order)).reshape(len(held), -1)
        values = np.where(held, self.cosines[:, :, None], -np.inf).reshape(members.shape)
        best = np.lexsort((members, -values))[:, : self.k]
        return np.take_along_axis(members, best, 1)[self.group], np.take_along_axis(values, best, 1)[self.group]


def _compare(rows: _Side, columns: _Side, block: int | None, device: str) -> None:
    """Let every vector know its best ones of the other side."""
    if not len(rows.first) or not len(columns.first):
        return
    for places, others in _find_near(rows, columns, block, device):
        cosines = _measure_cosines(rows, columns, places, others)
        rows.take(places, others, cosines)
        columns.take(others, places, cosines)


def _find_near(rows: _Side, columns: _Side, block: int | None, device: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of distinct vectors that come near the best that either of the two has, each pair once."""
    import torch  # not needed by those who only score stored predictions

    units = torch.from_numpy(columns.normalize(0, len(columns.first))).to(device)
    block = block or max(1, PRODUCT_BYTES[device.partition(":")[0]] // (4 * len(units)))
    best = units.new_full((columns.k, len(units)), -torch.inf)
    waiting = Waiting()
    for start in range(0, len(rows.first), block):
        part = torch.from_numpy(rows.normalize(start, min(start + block, len(rows.first)))).to(device)
        with _full_precision():
            products = part @ units.T
        runs = Runs.cut(products, rows.k, dim=1)
        bounds = runs.bound(rows.k) - _MARGIN
        for places, others in runs.search(bounds):
            yield (places + start).cpu().numpy(), others.cpu().numpy()
        if columns.k:
            runs = Runs.cut(products, columns.k, dim=0)
            best = torch.cat([best, runs.tops]).topk(columns.k, dim=0).values
            for places, others in runs.search(best[-1] - _MARGIN):
                values = products[places, others]
                new = values < bounds[places]  # the others have been found from their row
                waiting.add(places[new] + start, others[new], values[new])
                if waiting.count > _PAIRS:
                    yield from waiting.release(best[-1] - _MARGIN, at_least=_PAIRS // 2)
    if columns.k:
        yield from waiting.release(best[-1] - _MARGIN)


class Waiting:
    """Pairs that came near the best of their column while some rows were still to come: most of them are of no account
    when all rows have been seen."""

    def __init__(self) -> None:
        self.parts: list[tuple[torch.Tensor, ...]] = []
        self.count = 0

    def add(self, places: torch.Tensor, others: torch.Tensor, products: torch.Tensor) -> None:
        self.parts.append((places, others, products))
        self.count += len(places)

    def release(self, bounds: torch.Tensor, at_least: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Forget what lies below the bound of its column by now; give away the rest where it is so many or more."""
        import torch

        if not self.parts:
            return
        places, others, products = (torch.cat(columns) for columns in zip(*self.parts, strict=True))
        near = products >= bounds[others]
        self.parts, self.count = [], 0
        if near.sum() >= at_least:
            yield places[near].cpu().numpy(), others[near].cpu().numpy()
        else:
            self.add(places[near], others[near], products[near])


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """Float32 products of float32 numbers: TF32 and bfloat16 would cost three digits."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Runs:
    """A block of products [B, M], of each row (`dim` 1) or each column (0) in runs of `width`; `tops` are the largest
    of each run, [B, runs] or [runs, M]."""

    products: torch.Tensor
    dim: int
    width: int
    tops: torch.Tensor

    @classmethod
    def cut(cls, products: torch.Tensor, k: int, dim: int) -> Runs:
        """As long as reading the products once takes; k runs at least, where there are k products."""
        import torch

        size = products.shape[dim]
        width = min(_RUN, max(1, size // k))
        whole = size // width * width
        tops = products.narrow(dim, 0, whole).unflatten(dim, (-1, width)).amax(dim=dim + 1)
        if whole < size:
            tops = torch.cat([tops, products.narrow(dim, whole, size - whole).amax(dim, keepdim=True)], dim)
        return cls(products, dim, width, tops)

    def bound(self, k: int) -> torch.Tensor:
        """A value that the k-th largest product of each row or column reaches, close to it, without sorting them."""
        if self.tops.shape[self.dim] < k:
            return self.tops.amin(self.dim)  # fewer distinct vectors than k: all of them are near
        return self.tops.topk(k, dim=self.dim).values.select(self.dim, k - 1)

    def search(self, bounds: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(rows, columns) of the products that reach the bound of their row or column; other runs are not read."""
        import torch

        found = (self.tops >= bounds.unsqueeze(self.dim)).nonzero()
        steps = torch.arange(self.width, device=found.device)
        for part in found.split(max(1, _PAIRS // self.width)):
            line, place = part[:, 1 - self.dim, None], part[:, self.dim, None] * self.width + steps
            inside = place < self.products.shape[self.dim]
            place = place.where(inside, 0)
            values = self.products[line, place] if self.dim else self.products[place, line]
            near = inside & (values >= bounds[line])
            pair = line.expand_as(place)[near], place[near]
            yield pair if self.dim else pair[::-1]


def _measure_cosines(rows: _Side, columns: _Side, places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Float64 cosines of pairs of distinct vectors, each computed by itself."""
    import torch

    exact = np.empty(len(places))

    def measure(part: slice) -> None:
        products = rows.vectors[rows.first[places[part]]].astype(np.float64)
        products *= columns.vectors[columns.first[others[part]]]
        lengths = rows.norms[places[part]] * columns.norms[others[part]]
        exact[part] = products.sum(axis=1) / np.where(lengths > 0, lengths, 1)

    parts = list(cut_rows(len(places), rows.vectors.shape[1]))
    if len(parts) == 1:
        measure(parts[0])
        return exact
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(measure, parts))
    return exact


def group_equal(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each row's distinct vector, int64 [N], and where each distinct one stands first [distinct].

    Only rows with the same sum of their bits are looked at closer, which are few.
    """
    bits = np.ascontiguousarray(vectors).view(np.uint32)
    _, which_sum, counts = np.unique(bits.sum(axis=1, dtype=np.uint64), return_inverse=True, return_counts=True)
    known: dict[bytes, int] = {}
    stands_for = np.arange(len(vectors))
    for place in np.flatnonzero(counts[which_sum] > 1).tolist():
        digest = hashlib.blake2b(bits[place].tobytes(), digest_size=16).digest()
        stands_for[place] = known.setdefault(digest, place)
    first = np.flatnonzero(stands_for == np.arange(len(vectors)))
    return np.searchsorted(first, stands_for), first


def cut_rows(rows: int, width: int) -> Iterator[slice]:
    """Slices of so many rows that a float64 copy of each takes at most RECHECK_BYTES."""
    size = max(1, RECHECK_BYTES // (8 * max(1, width)))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))
