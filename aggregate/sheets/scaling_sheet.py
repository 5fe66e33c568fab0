"""The scaling table: scores against the number of intermediate tasks, as mixtures and as sequences, and the slopes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from aggregate.evidence.curve_scores import fit_curve
from aggregate.evidence.statistics import Estimate, Holm, describe_family, estimate_draws, holm
from aggregate.scores.averages import average_tasks
from aggregate.scores.columns import AVERAGE, COLUMNS, METRIC_TITLES, TARGET_TITLES
from aggregate.scores.curves import Curve, Point, Values
from aggregate.sheets.sheet import Sheet, ShownBlock, ShownCell, ShownRow, list_figures, show_interval, show_number
from aggregate.study import Study

KEYS = (*(column.key for column in COLUMNS), AVERAGE)
UNMARKED = (
    "No grid kept in the results folder marks the points of a scale block: every row with k tasks is taken as a point "
    "of k, whatever it was trained for"
)
Slopes = dict[tuple[Curve, str], Estimate]


def build_scaling_sheet(study: Study) -> Sheet | None:
    """A block for each curve: a line for each number of tasks, then the slope of each column."""
    if not study.points:
        return None
    curves, slopes, family = _read_curves(study)
    shown = [key for key in KEYS if any(read_value(point.values, key) is not None for point in study.points)]
    sources = _list_sources(study.points)
    blocks = tuple(
        _build_block(curve, points, shown, slopes, family, _title(points[0], sources)) for curve, points in curves
    )
    return Sheet(
        name="scaling",
        title="Scaling",
        caption=_write_caption(study.points, slopes, family),
        headings=(*(_head(key) for key in shown), ("Avg", "95% interval")),
        blocks=blocks,
        notes=tuple(_list_notes(study)),
        titled=True,
        records=tuple(record for curve, points in curves for record in _list_points(curve, points)),
    )


def _read_curves(study: Study) -> tuple[list[tuple[Curve, list[Point]]], Slopes, Holm[tuple[Curve, str]]]:
    curves = [(curve, list(points)) for curve, points in groupby(study.points, key=lambda point: point.curve)]
    slopes: Slopes = {}
    for curve, points in curves:
        fitted = ((key, fit_curve(points, key)) for key in KEYS)
        slopes |= {(curve, key): found for key, found in fitted if found is not None}
    return curves, slopes, holm({place: one.p for place, one in slopes.items()})


def estimate_point(point: Point, key: str) -> Estimate | None:
    """The mean at a point with its interval over draws (over seeds where all draws are one set of tasks); None where a
    draw lacks its value."""
    values = {draw.name: _by_seed(draw.by_seed, key) for draw in point.draws}
    whole = all(read_value(draw.values, key) is not None for draw in point.draws)
    return estimate_draws(values, point.sets) if whole and values and all(values.values()) else None


def _by_seed(found: Mapping[int | None, Values], key: str) -> dict[int | None, float]:
    read = {seed: read_value(values, key) for seed, values in found.items()}
    return {seed: value for seed, value in read.items() if value is not None}


def read_value(values: Values, key: str) -> float | None:
    """A column's value, or the mean of the tasks that are complete (of all nine where they are)."""
    return average_tasks(values).partial if key == AVERAGE else values[key]


def _head(key: str) -> tuple[str, str]:
    if key == AVERAGE:
        return "Avg", ""
    (column,) = (column for column in COLUMNS if column.key == key)
    return TARGET_TITLES[column.target], METRIC_TITLES[column.metric]


def _build_block(
    curve: Curve,
    points: Sequence[Point],
    shown: Sequence[str],
    slopes: Slopes,
    family: Holm[tuple[Curve, str]],
    title: str,
) -> ShownBlock:
    rows = []
    for point in points:
        cells = [_show(read_value(point.values, key)) for key in shown]
        interval = show_interval(estimate_point(point, AVERAGE))
        rows.append(ShownRow(_name(curve, point), (*cells, ShownCell(interval))))
    fitted = {key: slopes.get((curve, key)) for key in shown}
    cells = [_show(one.mean if one else None, family.star((curve, key))) for key, one in fitted.items()]
    interval = show_interval(slopes.get((curve, AVERAGE)))
    last = ShownRow("per doubling", (*cells, ShownCell(interval)), "space")
    return ShownBlock(title, (*rows, last))


def _name(curve: Curve, point: Point) -> str:
    """`4 tasks, 3 draws`; how many sets they are where some are the same."""
    tasks, draws = f"{point.count} task{'s' if point.count > 1 else ''}", len(point.draws)
    if not curve.pool:
        return f"{tasks}, {point.sets} set{'s' if point.sets > 1 else ''}"
    same = f" ({point.sets} set{'s' if point.sets > 1 else ''})" if point.sets < draws else ""
    return f"{tasks}, {draws} draw{'s' if draws > 1 else ''}{same}"


def _show(value: float | None, star: str = "") -> ShownCell:
    return ShownCell(show_number(value, signed=True) + (star if value is not None else ""), shade=value)


def _list_sources(points: Sequence[Point]) -> list[str]:
    """What the draws are of and what the baselines are, each once."""
    return list(dict.fromkeys(map(_spell_source, points)))


def _spell_source(point: Point) -> str:
    curve = point.curve
    pool = f"draws of {', '.join(curve.pool)} (seed {curve.seed}); " if curve.pool else ""
    return f"{pool}baseline {point.block}"


def _title(point: Point, sources: Sequence[str]) -> str:
    """`multitask`, with the settings of the curve, and a letter for what its draws are of where that differs."""
    letter = f" ({chr(ord('a') + sources.index(_spell_source(point)))})" if len(sources) > 1 else ""
    variant = f" [{point.curve.variant}]" if point.curve.variant else ""
    return f"{point.curve.regime}{variant}{letter}"


def _list_notes(study: Study) -> Iterator[tuple[str, str]]:
    sources = _list_sources(study.points)
    for index, source in enumerate(sources):
        letter = f"({chr(ord('a') + index)}) " if len(sources) > 1 else ""
        yield "", f"{letter}{source[0].upper()}{source[1:]}"
    if study.marks is None:
        yield "", UNMARKED


def _write_caption(points: Sequence[Point], slopes: Slopes, family: Holm[tuple[Curve, str]]) -> str:
    partial = any(point.average.avg is None for point in points)
    tasks = (
        "the tasks that are complete, not of all nine" if partial else "the nine tasks, F1 and EM counting half each"
    )
    tests = describe_family(family, slopes)
    return (
        "Scaling: differences to the baseline in points of development scores against the number of intermediate "
        "tasks, as mixtures and as sequences. A point is the mean over draws, a draw the mean over its orders and "
        f"seeds. Avg is the mean of {tasks}. Per doubling: the slope on the binary logarithm of the number of tasks"
        f"{f'; {tests}' if tests else ''}."
    )


def _list_points(curve: Curve, points: Sequence[Point]) -> Iterator[dict[str, object]]:
    for point in points:
        average = point.average
        counts = {"tasks": point.count, "draws": len(point.draws) if curve.pool else None}
        counts |= {"sets": point.sets, "rows": point.rows}
        averages = {"avg": average.avg, "avg_partial": average.partial, "targets_complete": average.complete}
        interval = _list_interval(estimate_point(point, AVERAGE))
        yield {**_list_place(curve, point), **counts, **point.values, **averages, **interval}


def list_slopes(study: Study) -> Iterator[dict[str, object]]:
    """One line for each curve and column that has a slope: points per doubling of the number of tasks."""
    curves, slopes, family = _read_curves(study)
    for curve, points in curves:
        for key in KEYS:
            if found := slopes.get((curve, key)):
                head = {**_list_place(curve, points[0]), "column": key, "slope": found.mean}
                yield {**head, **_list_interval(found), "p_holm": family.adjusted.get((curve, key))}


def _list_place(curve: Curve, point: Point) -> dict[str, object]:
    head: dict[str, object] = {"baseline": point.block, "variant": curve.variant, "curve": curve.regime}
    return head | {"pool": "+".join(curve.pool), "seed": curve.seed}


def _list_interval(found: Estimate | None) -> dict[str, object]:
    return list_figures(found, "sd", "n", "unit", "low", "high", "p")
