"""What scores over seeds can prove: Student's t over the units, Holm over the family of a caption.

Values are in points (percent). Languages are fixed: a score is already their mean and they are never resampled. A
percentile bootstrap over three seeds covers 71 % where it says 95 %, so there is none over seeds; the one over
examples (`aggregate.evidence.bootstrap`) answers another question.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from scipy import special

from aggregate.scores.averages import pair_seeds
from aggregate.scores.merging import Seed

LEVEL = 0.05  # a star needs a Holm-adjusted p below it
# Points. A score moves in steps of 1e-6 or more (one example of a million), the rounding of a difference is 1e-13.
NO_SPREAD = 1e-9

Array = npt.NDArray[np.float64]
Key = TypeVar("Key", bound=Hashable)
Outer = TypeVar("Outer", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` units ("seed", "draw"), its interval and the two-sided p of the t test against 0.

    `sd` has n - 1 in its denominator. With one unit there is neither sd nor interval nor p. Where all values are
    equal sd is 0 and there is no interval or p either: t would be infinite, an interval of no width, and a score on
    a grid of a thousand examples that three seeds happen to share is no proof that a fourth would have it too.
    """

    mean: float
    sd: float | None
    n: int
    low: float | None
    high: float | None
    p: float | None
    unit: str = "seed"

    @property
    def reason(self) -> str:
        """Why there is no interval; "" where there is one."""
        if self.n < 2:
            return f"one {self.unit}: no interval over {self.unit}s can be given"
        return "" if self.p is not None else f"all {self.n} {self.unit}s equal: no interval over {self.unit}s"


@dataclass(frozen=True)
class Estimates:
    """Arrays [tests]: what `Estimate` has of each, NaN where it has None."""

    mean: Array
    sd: Array
    low: Array
    high: Array
    p: Array


def estimate_all(values: Array, level: float = 0.95) -> Estimates:
    """A t test against 0 for each row of `values` [tests, n]: n - 1 degrees of freedom, intervals that cover `level`.

    Sums are exact (math.fsum), so no figure depends on the order of the units.
    """
    n = values.shape[1]
    assert n > 0 and np.isfinite(values).all(), "a mean of nothing, or of what is no number"
    mean = _sum_exactly(values) / n
    if n == 1:
        none = np.full(len(values), np.nan)
        return Estimates(mean, none, none, none, none)
    varied = np.ptp(values, axis=1) > NO_SPREAD
    sd = np.where(varied, np.sqrt(_sum_exactly((values - mean[:, None]) ** 2) / (n - 1)), 0.0)
    error = np.where(varied, sd, np.nan) / math.sqrt(n)
    half = find_t(1 - level, n - 1) * error
    p = 2 * special.stdtr(n - 1, -np.abs(mean) / error)
    return Estimates(mean, sd, mean - half, mean + half, p)


def _sum_exactly(values: Array) -> Array:
    return np.array([math.fsum(row) for row in values.tolist()])


def find_t(alpha: float, freedom: int) -> float:
    """The t that |t| exceeds with probability `alpha` at `freedom` degrees of freedom."""
    return -float(special.stdtrit(freedom, alpha / 2))


def estimate(values: Collection[float], unit: str = "seed", level: float = 0.95) -> Estimate:
    """Mean, sd, interval that covers `level` and p over the per-unit values: one row of `estimate_all`."""
    tests = estimate_all(np.array([list(values)], dtype=np.float64), level)
    sd, low, high, p = (
        None if math.isnan(figure[0]) else float(figure[0]) for figure in (tests.sd, tests.low, tests.high, tests.p)
    )
    return Estimate(float(tests.mean[0]), sd, len(values), low, high, p, unit)


def paired(own: Mapping[Seed, float], other: Mapping[Seed, float]) -> dict[Seed, float]:
    """`own` minus `other` at every seed that both have, in the order of the seeds; empty where they share none.

    A score without a seed (None: retrieval of the pretrained encoder is one run) is paired with every seed of the
    other side; the interval then says nothing about another run of it.
    """
    pairs = pair_seeds(own, other).items()
    return {seed: mine - theirs for seed, (mine, theirs) in pairs if mine is not None and theirs is not None}


def paired_by_draw(
    own: Mapping[Outer, Mapping[Seed, float]], other: Mapping[Outer, Mapping[Seed, float]]
) -> dict[Outer, dict[Seed, float]]:
    """The differences at every draw and seed that both have: what `nested` takes for a contrast of two regimes.

    Orders of one set of tasks are averaged before, within their seed.
    """
    differences = {draw: paired(scores, other[draw]) for draw, scores in own.items() if draw in other}
    return {draw: by_seed for draw, by_seed in differences.items() if by_seed}


def nested(
    values: Mapping[Outer, Mapping[Key, float]], outer: str = "draw", inner: str = "seed", level: float = 0.95
) -> Estimate:
    """The mean over the outer units (draws of tasks) of the means over their inner ones (seeds).

    Seeds within a draw are no independent evidence about another draw, so t is over the draws however many seeds
    each has. With one draw the seeds are the unit, and the statement is about that draw alone; `unit` says which.
    """
    if len(values) == 1:
        (only,) = values.values()
        return estimate(only.values(), inner, level)
    return estimate([math.fsum(inside.values()) / len(inside) for inside in values.values()], outer, level)


def estimate_draws(values: Mapping[Outer, Mapping[Seed, float]], sets: int, outer: str = "draw") -> Estimate:
    """As `nested`, for draws of `sets` different sets of tasks. Draws that are all one set (the whole pool) are no
    independent evidence, for a mixture not even several trainings: then the seeds are the unit, each with the mean
    over its draws."""
    if sets > 1:
        return nested(values, outer)
    by_seed: dict[Seed, list[float]] = {}
    for of_draw in values.values():
        for seed, value in of_draw.items():
            by_seed.setdefault(seed, []).append(value)
    return estimate([math.fsum(found) / len(found) for found in by_seed.values()])


def slope(points: Mapping[Outer, Mapping[int, float]], unit: str = "draw", level: float = 0.95) -> Estimate | None:
    """Points gained per doubling of the number of tasks k: least squares on log2 k within each unit, t over the units.

    `points` has a score by k for each unit (draw, or seed where there is one draw). Units may have different k. One
    with fewer than two has no slope and is left out; None where no unit has a slope.
    """
    slopes = [_fit_slope(by_count) for by_count in points.values() if len(by_count) > 1]
    return estimate(slopes, unit, level) if slopes else None


def _fit_slope(by_count: Mapping[int, float]) -> float:
    logs = {count: math.log2(count) for count in by_count}
    centre = math.fsum(logs.values()) / len(logs)
    products = math.fsum((logs[count] - centre) * score for count, score in by_count.items())
    return products / math.fsum((log - centre) ** 2 for log in logs.values())


@dataclass(frozen=True)
class Holm(Generic[Key]):
    """A family of tests after Holm's step-down correction (1979), which holds whatever the tests share.

    `adjusted` p by key, for the tests that have a p; `survivors` are those below `level`.
    """

    adjusted: dict[Key, float]
    survivors: frozenset[Key]
    level: float

    @property
    def size(self) -> int:
        return len(self.adjusted)

    def critical_t(self, n: int) -> float:
        """The |t| that a mean over `n` units must exceed to survive as the smallest p of the family."""
        assert n > 1 and self.size, "no test"
        return find_t(self.level / self.size, n - 1)

    def star(self, key: Key) -> str:
        """The one mark there is: "*" for an adjusted p below the level, else ""."""
        return "*" if key in self.survivors else ""


def holm(ps: Mapping[Key, float | None], level: float = LEVEL) -> Holm[Key]:
    """Adjusted p: the largest of (m - j) p_j over the j = 0, 1, ... smallest p up to one's own, at most 1.

    `ps` are all comparisons that the caption states. One without a p (one seed, no spread) was not tested: it gets
    no star and does not count in m.
    """
    tested = sorted(((p, key) for key, p in ps.items() if p is not None), key=lambda pair: pair[0])
    adjusted: dict[Key, float] = {}
    highest = 0.0
    for rank, (p, key) in enumerate(tested):
        assert 0 <= p <= 1, f"p of {key} is {p}"
        highest = max(highest, (len(tested) - rank) * p)
        adjusted[key] = min(1.0, highest)
    survivors = frozenset(key for key, p in adjusted.items() if p < level)
    return Holm({key: adjusted[key] for key in ps if key in adjusted}, survivors, level)


def describe_family(family: Holm[Key], estimates: Mapping[Key, Estimate]) -> str:
    """A sentence for the caption: the comparisons, the correction, and what this many units cannot tell.

    `estimates` are those that `family` was made from. Groups of equal n of which none survives are told with the
    |t| that a star needs; so are comparisons that could not be tested.
    """
    tested = Counter((estimates[key].n, estimates[key].unit) for key in family.adjusted)
    stars = Counter((estimates[key].n, estimates[key].unit) for key in family.survivors)
    parts = []
    if tested:
        units = " or ".join(sorted({f"{unit}s" for _, unit in tested}))
        test = f"two-sided t test{'s' if family.size > 1 else ''} over {units}"
        parts.append(f"{_count(family.size)}, {test}, Holm-adjusted; * where p < {family.level:g}")
    for n, unit in sorted(set(tested) - set(stars)):
        freedom = f"{n - 1} degree{'s' if n > 2 else ''} of freedom"
        needed = f"a star needs |t| of at least {family.critical_t(n):.1f} at {freedom}"
        over = "" if unit == "seed" else f" {unit}s"
        parts.append(f"cannot tell at n = {n}{over}: with {_count(family.size)} {needed}")
    untested = Counter(estimate.reason for estimate in estimates.values() if estimate.reason)
    parts += [f"{reason} ({_count(number)})" for reason, number in sorted(untested.items())]
    return "; ".join(parts)


def _count(comparisons: int) -> str:
    return f"{comparisons} comparison{'s' if comparisons != 1 else ''}"
