"""Seconds as a sum of costs, none of them negative, fitted to some runs: what predicts a class that none of them is of.

Few parameters, and only as many as pay: every number of costs is tried, and the one kept whose predictions of classes
that were left out of the fit are best. Plain Python: a handful of numbers does not justify importing numpy.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from launch.spans import Span

# Fewer classes than this say how fast a machine is, but not how that depends on anything.
LEAST_CLASSES = 3
# A run that is off by more than this share counts for less the further it is off: a busy node must not bend the rest.
TRUSTED = 0.05
ROUNDS = 20
# No run counts for more than if this share of it were predicted.
LEAST_SHARE = 0.05
# Another cost is taken in where it makes the error on left-out classes smaller by this factor at least.
WORTHWHILE = 0.95
# How far a fit may be off at least, and about what none of its runs tells.
FITTED, UNSEEN = 1.3, 2.0

Vector = Sequence[float]


@dataclass(frozen=True)
class Sample:
    """One run: what its seconds are made of, each to be multiplied by a cost, and its class."""

    amounts: tuple[float, ...]
    seconds: float
    group: Hashable


@dataclass(frozen=True)
class Fit:
    """Costs by amount; `error` is the factor that nine of ten left-out classes were off by at most. `ranges` has, for
    each amount but the first, the smallest and the largest ratio to the first that was seen; None where none was."""

    costs: tuple[float, ...]
    error: float
    runs: int
    classes: int
    ranges: tuple[tuple[float, float] | None, ...]

    def predict(self, amounts: Vector) -> Span:
        """Seconds. Low and high are further apart the further the amounts are from what was seen."""
        seconds = dot(self.costs, amounts)
        return Span.around(seconds, max(FITTED, self.error) * self._strangeness(amounts))

    def _strangeness(self, amounts: Vector) -> float:
        """1 within what was seen; outside, the root of how far outside, for the amount that is furthest."""
        worst = 1.0
        for amount, seen in zip(amounts[1:], self.ranges, strict=True):
            if amount and seen is None:
                worst = max(worst, UNSEEN)
            elif amount and seen is not None:
                ratio = amount / amounts[0] if amounts[0] else math.inf
                worst = max(worst, min(UNSEEN, math.sqrt(max(seen[0] / ratio, ratio / seen[1]))))
        return worst


def fit(samples: Iterable[Sample]) -> Fit | None:
    """The costs of these runs, whatever their order; None where their classes are too few.

    Relative errors count, each class as much as any other. The first amounts are the more important ones.
    """
    ordered = sorted(samples, key=lambda one: (one.amounts, one.seconds, repr(one.group)))
    groups = {one.group: [other for other in ordered if other.group == one.group] for one in ordered}
    if len(groups) < LEAST_CLASSES:
        return None
    rows = [[amount / one.seconds for amount in one.amounts] for one in ordered]
    shares = [1 / len(groups[one.group]) for one in ordered]
    places = [[place for place, one in enumerate(ordered) if one.group == group] for group in groups]
    best: tuple[float, list[float], list[float]] | None = None
    for count in range(1, min(len(ordered[0].amounts), len(groups) - 1) + 1):
        part = [row[:count] for row in rows]
        costs, weights = _fit_robustly(part, shares)
        errors = [_miss(part, weights, place) for place in places]
        mean = sum(min(error, 1.0) for error in errors) / len(errors)
        if best is None or mean < best[0] * WORTHWHILE:
            best = mean, costs, errors
    assert best is not None, "one cost can always be fitted"
    _, costs, errors = best
    missing = len(ordered[0].amounts) - len(costs)
    error = math.exp(sorted(errors)[math.ceil(0.9 * len(errors)) - 1])
    return Fit((*costs, *[0.0] * missing), error, len(ordered), len(groups), _ranges(ordered))


def _fit_robustly(rows: Sequence[Vector], shares: Vector) -> tuple[list[float], list[float]]:
    """Costs, and the weights of the rows that they came out with.

    By reweighting: squares of p - 1, the share of a run's seconds that is predicted, become Huber's loss of log p, for
    which half and double are equally wrong. The square alone would rather predict too little than too much.
    """
    weights = list(shares)
    for _ in range(ROUNDS):
        costs = solve_positive(rows, weights)
        weights = [share * _weigh(dot(costs, row)) for share, row in zip(shares, rows, strict=True)]
    return costs, weights


def _weigh(p: float) -> float:
    p = max(p, LEAST_SHARE)
    miss = abs(math.log(p))
    return miss / (p * abs(p - 1)) * min(1.0, TRUSTED / miss) if miss > 1e-9 else 1.0


def _miss(rows: Sequence[Vector], weights: Vector, left_out: Sequence[int]) -> float:
    """By how much, as a logarithm, a class is mispredicted by a fit to the others; a mean over its runs."""
    others = [0.0 if place in left_out else weight for place, weight in enumerate(weights)]
    costs = solve_positive(rows, others)
    return sum(abs(math.log(max(dot(costs, rows[place]), 1e-9))) for place in left_out) / len(left_out)


def solve_positive(rows: Sequence[Vector], weights: Vector) -> list[float]:
    """The c >= 0 with the smallest sum of weight x (c . row - 1)^2.

    On the columns where it is not 0 the answer is a plain least squares solution, so with a handful of columns every
    set of them can be tried: of those whose solution is positive, the one that explains most. 0 for all where no row
    has a weight or anything in it.
    """
    size = len(rows[0])
    gram = [
        [sum(w * r[i] * r[j] for w, r in zip(weights, rows, strict=True)) for j in range(size)] for i in range(size)
    ]
    right = [sum(w * r[i] for w, r in zip(weights, rows, strict=True)) for i in range(size)]
    best, most = [0.0] * size, 0.0
    for count in range(1, size + 1):
        for chosen in combinations(range(size), count):
            found = _solve([[gram[i][j] for j in chosen] for i in chosen], [right[i] for i in chosen])
            if found is None or min(found) <= 0:
                continue
            explained = sum(cost * right[i] for cost, i in zip(found, chosen, strict=True))
            if explained > most * (1 + 1e-12):
                most, best = explained, [0.0] * size
                for cost, i in zip(found, chosen, strict=True):
                    best[i] = cost
    return best


def _solve(matrix: list[list[float]], right: list[float]) -> list[float] | None:
    """x of matrix x = right for a symmetric, positive matrix, by Cholesky's method on its unit diagonal; None where
    columns depend on each other."""
    size = len(right)
    scale = [math.sqrt(matrix[i][i]) for i in range(size)]
    if min(scale) == 0:
        return None
    lower = [[0.0] * size for _ in range(size)]
    y: list[float] = []
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i][j] / scale[i] / scale[j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            if i == j and rest < 1e-11:
                return None
            lower[i][j] = math.sqrt(rest) if i == j else rest / lower[j][j]
        y.append((right[i] / scale[i] - sum(lower[i][k] * y[k] for k in range(i))) / lower[i][i])
    x = [0.0] * size
    for i in reversed(range(size)):
        x[i] = (y[i] - sum(lower[k][i] * x[k] for k in range(i + 1, size))) / lower[i][i]
    return [value / factor for value, factor in zip(x, scale, strict=True)]


def _ranges(samples: Sequence[Sample]) -> tuple[tuple[float, float] | None, ...]:
    found: list[tuple[float, float] | None] = []
    for place in range(1, len(samples[0].amounts)):
        seen = [one.amounts[place] / one.amounts[0] for one in samples if one.amounts[place] and one.amounts[0]]
        found.append((min(seen), max(seen)) if seen else None)
    return tuple(found)


def dot(costs: Vector, amounts: Vector) -> float:
    """What so much of each costs together."""
    return sum(cost * amount for cost, amount in zip(costs, amounts, strict=True))
