"""What a claim about curves over the number of tasks comes to: slopes, and mixtures less sequences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from aggregate.evidence.claims import Curves, Slope
from aggregate.evidence.contrasts import WHOLE, Contrast, describe_gaps, first_model, score_seeds
from aggregate.evidence.statistics import Estimate, nested, paired, slope
from aggregate.scores.averages import seed_order
from aggregate.scores.columns import COLUMNS
from aggregate.scores.curves import REGIMES, Curve, Draw, DrawName, Point
from aggregate.scores.merging import Seed
from aggregate.scores.variants import name_row, split_variant
from aggregate.study import Study
from stilts.results import RowKey

NO_CURVE = "no {regime} curve with several numbers of tasks"
FOREIGN = {"multitask": "intermediate.replay=", "sequential": "intermediate.sampling."}  # settings of the other regime
Unit = tuple[Curve, DrawName]  # a draw; names of draws count from 1 in every curve


@dataclass
class Scores:
    """Scores by number of tasks and seed for each draw that lacks nothing; `gaps` names the others and why."""

    by_unit: dict[Unit, dict[int, dict[Seed, float]]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    rows: dict[str, None] = field(default_factory=dict)


def contrast_slope(study: Study, claim: Slope) -> Contrast:
    """Points per doubling of the number of tasks.

    The unit is the draw, each the mean over its orders and seeds; the seed where there is one draw, or where no grid
    marks draws, so that each set of tasks is at one point alone: then each point is the mean over its sets.
    """
    curves, problem = choose_curves(study, claim, claim.regime)
    scores = collect_scores(study, curves, claim.targets)
    if problem:
        return Contrast({WHOLE: None}, unclear=(problem,))
    found: Estimate | None
    if is_marked(curves) and len(set(list_units(study, curves))) > 1:
        found = slope({unit: average_seeds(by_count) for unit, by_count in scores.by_unit.items()}, "draw")
    elif scores.gaps:
        found = None
    else:
        by_count: dict[int, list[dict[Seed, float]]] = defaultdict(list)
        for counts in scores.by_unit.values():
            for count, by_seed in counts.items():
                by_count[count].append(by_seed)
        found = slope(turn({count: average_units(several) for count, several in by_count.items()}), "seed")
    gaps = scores.gaps or ([] if found else ["no seed at two numbers of tasks"])
    return Contrast({WHOLE: found}, tuple(scores.rows), gaps=tuple(gaps))


def contrast_curves(study: Study, claim: Curves) -> Contrast:
    """Mixtures less sequences of the same tasks, at every number of tasks from two that both curves have.

    Each draw (each set of tasks, where no grid marks draws) is the mean over its numbers of tasks and its seeds.
    """
    sides: list[Scores] = []
    problems: list[str] = []
    curves: list[Curve] = []
    for regime in REGIMES:
        own, problem = choose_curves(study, claim, regime)
        problems += [problem] if problem else []
        curves += own
        sides.append(collect_scores(study, own, claim.targets, from_count=2))
    gaps = list(dict.fromkeys(gap for side in sides for gap in side.gaps))
    mixed, in_turn = ({strip(unit): counts for unit, counts in side.by_unit.items()} for side in sides)
    values: dict[Unit, dict[Seed, float]] = {}
    for unit in sorted(mixed.keys() & in_turn.keys(), key=str):
        shared = sorted(mixed[unit].keys() & in_turn[unit].keys())
        differences = [paired(mixed[unit][count], in_turn[unit][count]) for count in shared]
        by_seed = average_units(differences)
        if by_seed:
            values[unit] = by_seed
    if not values and not gaps and not problems:
        gaps.append("no set of tasks both as a mixture and as a sequence")
    found = nested(values, "draw" if is_marked(curves) else "set") if values and not problems else None
    return Contrast({WHOLE: found}, tuple({**sides[0].rows, **sides[1].rows}), (), tuple(problems), tuple(gaps))


def choose_curves(study: Study, claim: Slope | Curves, regime: str) -> tuple[list[Curve], str]:
    """The curves of a regime with the claim's settings, of one variant: the one with the fewest settings. Or why not.

    Draws of several pools or seeds are curves of one variant, and all of them count.
    """
    model = claim.model or first_model(study)
    foreign = FOREIGN[regime] if isinstance(claim, Curves) else None
    settings = [setting for setting in claim.settings if foreign is None or not setting.startswith(foreign)]
    curves = [
        curve
        for curve in dict.fromkeys(point.curve for point in study.points)
        if (curve.model, curve.regime) == (model, regime) and {*settings} <= {*split_variant(curve.variant)}
    ]
    if not curves:
        asked = f" of {', '.join(settings)}" if settings else ""
        return [], NO_CURVE.format(regime=regime) + asked
    fewest = min(len(split_variant(curve.variant)) for curve in curves)
    plainest = [curve for curve in curves if len(split_variant(curve.variant)) == fewest]
    variants = list(dict.fromkeys(curve.variant for curve in plainest))
    if len(variants) > 1:
        return [], f"{regime} curves with {' and '.join(variants)}: name one of these settings in the claim"
    return plainest, ""


def is_marked(curves: Iterable[Curve]) -> bool:
    """Whether grids tell the draws; without them each set of tasks stands for itself."""
    return any(curve.pool for curve in curves)


def strip(unit: Unit) -> Unit:
    """The same draw on the curves of both regimes, whose settings of mixing are not the other's."""
    curve, name = unit
    return curve.without_regime(), name


def list_units(study: Study, curves: Sequence[Curve]) -> list[Unit]:
    return [(point.curve, draw.name) for point in study.points if point.curve in curves for draw in point.draws]


def collect_scores(study: Study, curves: Sequence[Curve], targets: Sequence[str], from_count: int = 1) -> Scores:
    """The scores of every draw, at the seeds that it has at all its numbers of tasks.

    A draw with a gap has no scores: the others would stand for other numbers of tasks.
    """
    scores = Scores()
    broken: set[Unit] = set()
    for point in study.points:
        if point.curve not in curves or point.count < from_count:
            continue
        for draw in point.draws:
            unit = (point.curve, draw.name)
            by_seed = score_draw(draw, targets)
            scores.rows.update(dict.fromkeys(row.name for row in draw.rows if row))
            if by_seed:
                scores.by_unit.setdefault(unit, {})[point.count] = by_seed
            else:
                broken.add(unit)
                scores.gaps.append(describe_gap(point, draw, targets))
    for unit in list(scores.by_unit):
        counts = scores.by_unit[unit]
        seeds = set.intersection(*({*by_seed} for by_seed in counts.values()))
        if unit in broken or not seeds:
            del scores.by_unit[unit]
            scores.gaps += [] if unit in broken else [f"draw {unit[1]}: no seed at all numbers of tasks"]
        else:
            scores.by_unit[unit] = {k: {seed: own[seed] for seed in sorted_seeds(seeds)} for k, own in counts.items()}
    return scores


def score_draw(draw: Draw, targets: Sequence[str]) -> dict[Seed, float]:
    """The draw's mean over its orders at every seed that has all targets in all orders."""
    return score_seeds({column.key: draw.list_seeds(column.key) for column in COLUMNS}, targets)


def describe_gap(point: Point, draw: Draw, targets: Sequence[str]) -> str:
    name = "+".join(draw.name) if isinstance(draw.name, tuple) else f"draw {draw.name}"
    gaps = describe_gaps((row for row in draw.rows if row), targets)
    gaps += ["no row " + name_row(key, {key.model: key.model}, key.variant) for key in find_absent(draw)]
    return f"{name} at {point.count} tasks ({point.curve.regime}): {'; '.join(gaps) or 'no seed that has all'}"


def find_absent(draw: Draw) -> list[RowKey]:
    return [key for key, row in zip(draw.keys, draw.rows, strict=True) if row is None]


def average_seeds(by_count: Mapping[int, Mapping[Seed, float]]) -> dict[int, float]:
    return {count: fmean(by_seed.values()) for count, by_seed in by_count.items()}


def average_units(scores: Sequence[Mapping[Seed, float]]) -> dict[Seed, float]:
    """The mean at every seed that all of them have."""
    seeds = set.intersection(*({*by_seed} for by_seed in scores)) if scores else set()
    return {seed: fmean(by_seed[seed] for by_seed in scores) for seed in sorted_seeds(seeds)}


def turn(by_count: Mapping[int, Mapping[Seed, float]]) -> dict[Seed, dict[int, float]]:
    """Scores by seed and number of tasks, at the seeds that every number of tasks has."""
    seeds = set.intersection(*({*by_seed} for by_seed in by_count.values())) if by_count else set()
    return {seed: {count: by_seed[seed] for count, by_seed in by_count.items()} for seed in sorted_seeds(seeds)}


def sorted_seeds(seeds: Iterable[Seed]) -> list[Seed]:
    return sorted(seeds, key=seed_order)
