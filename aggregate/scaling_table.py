"""The scaling table: the scores against the number of intermediate tasks, as mixtures and as sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from aggregate.columns import COLUMNS
from aggregate.curves import Point
from aggregate.plain import format_csv

HEADER = ("baseline", "variant", "curve", "pool", "seed", "tasks", "draws", "sets", "rows")
TOLD = (
    "Differences to the baseline, in points: mean over {units}, each the mean over its orders and seeds. † mean over "
    "the complete tasks only. -- a row of the point lacks the number."
)
UNMARKED = (
    "No grid kept in the results folder marks the points of a scale block: every row with k tasks is taken as a point "
    "of k, whatever it was trained for."
)


def write_scaling_csv(points: Sequence[Point]) -> str:
    """One line a point, numbers at full precision, an empty field where there is none."""
    averages = ("avg", "avg_partial", "targets_complete")
    return format_csv([[*HEADER, *(column.key for column in COLUMNS), *averages], *(_fields(p) for p in points)])


def write_scaling_markdown(points: Sequence[Point]) -> str:
    """The same for people, with one decimal, and only the columns in which there is a number.

    What the draws are of is told for each line where there are several pools or seeds.
    """
    of_points = [point.values for point in points]
    shown = [column.key for column in COLUMNS if any(values[column.key] is not None for values in of_points)]
    sources = list(dict.fromkeys(_spell_source(point) for point in points))
    told = [TOLD.format(units="the draws of so many tasks" if sources[0] else "the sets of so many tasks")]
    if not sources[0]:
        told.append(UNMARKED)
    elif len(sources) == 1:
        told.append(f"Draws of {sources[0]}.")
    several = len(sources) > 1
    lines = [[*_spell(point, shown), *([_spell_source(point)] if several else [])] for point in points]
    headers = ["curve", "tasks", "draws", "sets", *shown, "Avg", "variant", *(["draws of"] if several else [])]
    text = "\n\n".join(told)
    return f"# Scaling\n\n{text}\n\n{tabulate(lines, headers, tablefmt='github', disable_numparse=True)}\n"


def _spell_source(point: Point) -> str:
    """What the draws are of; "" where no grid tells."""
    curve = point.curve
    return f"{', '.join(curve.pool)} (seed {curve.seed})" if curve.pool else ""


def _count_draws(point: Point) -> int | None:
    return len(point.draws) if point.curve.pool else None


def _fields(point: Point) -> list[object]:
    average, curve, values = point.average, point.curve, point.values
    head = [point.block, curve.variant, curve.regime, "+".join(curve.pool), curve.seed]
    head += [point.count, _count_draws(point), point.sets, point.rows]
    return [*head, *(values[column.key] for column in COLUMNS), average.avg, average.partial, average.complete]


def _spell(point: Point, shown: Sequence[str]) -> Iterator[str]:
    average, values, draws = point.average, point.values, _count_draws(point)
    yield from (point.curve.regime, str(point.count), "" if draws is None else str(draws), str(point.sets))
    for key in shown:
        value = values[key]
        yield "--" if value is None else f"{value:+.1f}"
    partial = "--" if average.partial is None else f"{average.partial:+.1f}†"
    yield partial if average.avg is None else f"{average.avg:+.1f}"
    yield point.curve.variant
