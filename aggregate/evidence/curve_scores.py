"""Scores along curves over the number of tasks: their slopes, and mixtures less sequences of the same tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from aggregate.evidence.contrasts import score_seeds
from aggregate.evidence.statistics import Estimate, estimate_draws, paired_by_draw, slope
from aggregate.scores.averages import seed_order
from aggregate.scores.columns import AVERAGE, COLUMNS, list_columns
from aggregate.scores.curves import Curve, Draw, DrawName, Point
from aggregate.scores.merging import Seed
from stilts.tasks.catalogue import TARGET_ORDER

BySeed = Mapping[Seed, float]
Score = Callable[[Draw], BySeed]
Unit = tuple[Curve, DrawName]  # a draw; names of draws count from 1 in every curve


@dataclass
class Scores:
    """Scores by number of tasks and seed for each draw that lacks nothing. `counts` has the numbers of tasks of all
    draws; `broken` are the places where one has no score, `seedless` the draws without a seed that all have."""

    by_unit: dict[Unit, dict[int, BySeed]] = field(default_factory=dict)
    counts: dict[Unit, set[int]] = field(default_factory=lambda: defaultdict(set))
    broken: list[tuple[Point, Draw]] = field(default_factory=list)
    seedless: list[Unit] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        return bool(self.by_unit) and not self.broken and not self.seedless


def collect_scores(points: Iterable[Point], score: Score) -> Scores:
    """The scores of every draw at these points, at the seeds that it has at all its numbers of tasks.

    A draw with a gap has no scores: the others would stand for other numbers of tasks.
    """
    scores = Scores()
    for point in points:
        for draw in point.draws:
            unit = (point.curve, draw.name)
            scores.counts[unit].add(point.count)
            by_seed = score(draw)
            if by_seed:
                scores.by_unit.setdefault(unit, {})[point.count] = by_seed
            else:
                scores.broken.append((point, draw))
    broken = {(point.curve, draw.name) for point, draw in scores.broken}
    for unit, counts in list(scores.by_unit.items()):
        seeds = set.intersection(*({*by_seed} for by_seed in counts.values()))
        if unit in broken or not seeds:
            del scores.by_unit[unit]
            scores.seedless += [] if unit in broken else [unit]
        else:
            scores.by_unit[unit] = {k: {seed: own[seed] for seed in sorted_seeds(seeds)} for k, own in counts.items()}
    return scores


def score_column(column: str) -> Score:
    """The mean over a draw's orders at every seed that all of them have."""
    return lambda draw: draw.list_seeds(column)


def score_draw(targets: Sequence[str]) -> Score:
    """As `score_column`, the mean over targets."""
    return lambda draw: score_seeds({column.key: draw.list_seeds(column.key) for column in COLUMNS}, targets)


def list_complete(points: Sequence[Point]) -> list[str]:
    """Targets that every draw at every point has: all nine where nothing is missing."""
    values = [draw.values for point in points for draw in point.draws]
    return [
        target
        for target in TARGET_ORDER
        if all(one[column.key] is not None for one in values for column in list_columns(target))
    ]


def fit_curve(points: Sequence[Point], key: str) -> Estimate | None:
    """Points per doubling of the number of tasks in a column, or in the mean of the tasks that are complete. None where
    a draw lacks its value somewhere: a slope through fewer draws at one end would be that of other tasks."""
    complete = list_complete(points) if key == AVERAGE else []
    if key == AVERAGE and not complete:
        return None
    scores = collect_scores(points, score_draw(complete) if key == AVERAGE else score_column(key))
    return fit_slope(scores) if scores.whole else None


def fit_slope(scores: Scores) -> Estimate | None:
    """Points per doubling over the draws that lack nothing, each the mean over its seeds.

    The unit is the draw where several have more than one number of tasks; else the seed, at each number of tasks the
    mean over the draws, of which none may then lack anything. None where no unit has two numbers of tasks.
    """
    if sum(len(counts) > 1 for counts in scores.counts.values()) > 1:
        means = {unit: average_seeds(by_count) for unit, by_count in scores.by_unit.items()}
        return slope(means, "draw")
    if not scores.whole:
        return None
    by_count: dict[int, list[BySeed]] = defaultdict(list)
    for counts in scores.by_unit.values():
        for count, by_seed in counts.items():
            by_count[count].append(by_seed)
    return slope(turn({count: average_units(several) for count, several in by_count.items()}), "seed")


def contrast_regimes(mixed: Scores, in_turn: Scores, sets: int, outer: str = "draw") -> Estimate | None:
    """Mixtures less sequences of the same draws, paired by seed, each draw the mean over the numbers of tasks that both
    have. `sets` is how many different sets of tasks there are: of one alone the seeds are the unit."""
    sides = [{strip(unit): counts for unit, counts in side.by_unit.items()} for side in (mixed, in_turn)]
    values: dict[Unit, dict[Seed, float]] = {}
    for unit in sorted(sides[0].keys() & sides[1].keys(), key=str):
        shared = sorted(sides[0][unit].keys() & sides[1][unit].keys())
        differences = paired_by_draw(*({count: side[unit][count] for count in shared} for side in sides))
        if shared and len(differences) == len(shared) and (by_seed := average_units(list(differences.values()))):
            values[unit] = by_seed
    return estimate_draws(values, sets, outer) if values else None


def strip(unit: Unit) -> Unit:
    """The same draw on the curves of both regimes, whose settings of mixing are not the other's."""
    curve, name = unit
    return curve.without_regime(), name


def average_seeds(by_count: Mapping[int, BySeed]) -> dict[int, float]:
    return {count: fmean(by_seed.values()) for count, by_seed in by_count.items()}


def average_units(scores: Sequence[BySeed]) -> dict[Seed, float]:
    """The mean at every seed that all of them have."""
    seeds = set.intersection(*({*by_seed} for by_seed in scores)) if scores else set()
    return {seed: fmean(by_seed[seed] for by_seed in scores) for seed in sorted_seeds(seeds)}


def turn(by_count: Mapping[int, BySeed]) -> dict[Seed, dict[int, float]]:
    """Scores by seed and number of tasks, at the seeds that every number of tasks has."""
    seeds = set.intersection(*({*by_seed} for by_seed in by_count.values())) if by_count else set()
    return {seed: {count: by_seed[seed] for count, by_seed in by_count.items()} for seed in sorted_seeds(seeds)}


def sorted_seeds(seeds: Iterable[Seed]) -> list[Seed]:
    return sorted(seeds, key=seed_order)
