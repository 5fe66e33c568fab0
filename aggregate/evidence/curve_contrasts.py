"""What a claim about curves over the number of tasks comes to: slopes, and mixtures less sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aggregate.evidence.claims import Curves, Slope
from aggregate.evidence.contrasts import WHOLE, Contrast, describe_gaps, first_model
from aggregate.evidence.curve_scores import Scores, collect_scores, contrast_regimes, fit_slope, score_draw
from aggregate.scores.curves import REGIMES, Curve, Draw, Point
from aggregate.scores.variants import name_row, split_variant
from aggregate.study import Study
from stilts.results import RowKey

NO_CURVE = "no {regime} curve with several numbers of tasks"
FOREIGN = {"multitask": "intermediate.replay=", "sequential": "intermediate.sampling."}  # settings of the other regime


def contrast_slope(study: Study, claim: Slope) -> Contrast:
    """Points per doubling of the number of tasks, as in the scaling table.

    Where no grid marks draws each set of tasks is at one point alone, and the seeds are the unit.
    """
    curves, problem = choose_curves(study, claim, claim.regime)
    scores = collect_scores(find_points(study, curves), score_draw(claim.targets))
    if problem:
        return Contrast({WHOLE: None}, unclear=(problem,))
    found, gaps = fit_slope(scores), describe_scores(scores, claim.targets)
    gaps = gaps or ([] if found else ["no seed at two numbers of tasks"])
    return Contrast({WHOLE: found}, name_rows(find_points(study, curves)), gaps=tuple(gaps))


def contrast_curves(study: Study, claim: Curves) -> Contrast:
    """Mixtures less sequences of the same tasks, at every number of tasks from two that both curves have."""
    chosen = [choose_curves(study, claim, regime) for regime in REGIMES]
    problems = [problem for _, problem in chosen if problem]
    sides = [[point for point in find_points(study, curves) if point.count > 1] for curves, _ in chosen]
    mixed, in_turn = (collect_scores(points, score_draw(claim.targets)) for points in sides)
    marked = any(curve.pool for curves, _ in chosen for curve in curves)
    found = None if problems else contrast_regimes(mixed, in_turn, count_sets(sides[0]), "draw" if marked else "set")
    gaps = [gap for side in (mixed, in_turn) for gap in describe_scores(side, claim.targets)]
    if not found and not gaps and not problems:
        gaps.append("no set of tasks both as a mixture and as a sequence")
    rows = name_rows([*sides[0], *sides[1]])
    return Contrast({WHOLE: found}, rows, (), tuple(problems), tuple(dict.fromkeys(gaps)))


def find_points(study: Study, curves: Sequence[Curve]) -> list[Point]:
    return [point for point in study.points if point.curve in curves]


def name_rows(points: Iterable[Point]) -> tuple[str, ...]:
    rows = (row.name for point in points for draw in point.draws for row in draw.rows if row)
    return tuple(dict.fromkeys(rows))


def count_sets(points: Iterable[Point]) -> int:
    """Distinct sets of tasks."""
    return len({frozenset(key.tasks) for point in points for draw in point.draws for key in draw.keys})


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


def describe_scores(scores: Scores, targets: Sequence[str]) -> list[str]:
    """What draws lack."""
    gaps = [describe_gap(point, draw, targets) for point, draw in scores.broken]
    return gaps + [f"draw {name}: no seed at all numbers of tasks" for _, name in scores.seedless]


def describe_gap(point: Point, draw: Draw, targets: Sequence[str]) -> str:
    name = "+".join(draw.name) if isinstance(draw.name, tuple) else f"draw {draw.name}"
    gaps = describe_gaps((row for row in draw.rows if row), targets)
    gaps += ["no row " + name_row(key, {key.model: key.model}, key.variant) for key in find_absent(draw)]
    return f"{name} at {point.count} tasks ({point.curve.regime}): {'; '.join(gaps) or 'no seed that has all'}"


def find_absent(draw: Draw) -> list[RowKey]:
    return [key for key, row in zip(draw.keys, draw.rows, strict=True) if row is None]
