"""The scaling table: the scores against the number of intermediate tasks, as mixtures and as sequences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from tabulate import tabulate

from aggregate.averages import Average, average_tasks
from aggregate.columns import COLUMNS
from aggregate.main_table import MainTable, TableRow
from aggregate.plain import format_csv

CURVES = ("multitask", "sequential")


@dataclass(frozen=True)
class Point:
    """Mean differences to the baseline of all rows with `count` tasks on one curve: the orders of a set are averaged
    first, then the sets, so that a set with more orders does not count more. `values` by column key, None where a row
    lacks its own."""

    block: str
    variant: str
    curve: str
    count: int
    sets: int
    rows: int
    values: Mapping[str, float | None]

    @property
    def average(self) -> Average:
        return average_tasks(self.values)


def build_points(table: MainTable) -> list[Point]:
    """Every curve that has more than one count. A single task is the first point of both curves; rows with masked
    language modelling or translated data are on none."""
    found: list[Point] = []
    for block in table.blocks:
        rows = [row for row in block.rows if row.key.tasks and not row.key.mlm and not row.key.translated]
        for variant in sorted({row.key.variant for row in rows}):
            for curve in CURVES:
                mine = [row for row in rows if row.key.variant == variant and row.key.mode in ("single", curve)]
                counts = sorted({len(row.key.tasks) for row in mine})
                if len(counts) > 1:
                    found += [_build_point(block.title, variant, curve, count, mine) for count in counts]
    return found


def _build_point(block: str, variant: str, curve: str, count: int, rows: Sequence[TableRow]) -> Point:
    sets: dict[frozenset[str], list[TableRow]] = {}
    for row in rows:
        if len(row.key.tasks) == count:
            sets.setdefault(frozenset(row.key.tasks), []).append(row)
    values = {
        column.key: _mean([[row.cells[column.key].value for row in set_] for set_ in sets.values()])
        for column in COLUMNS
    }
    return Point(block, variant, curve, count, len(sets), sum(map(len, sets.values())), values)


def _mean(values: Sequence[Sequence[float | None]]) -> float | None:
    """The mean of the sets' means; None where any value is missing: curves through fewer sets would not compare."""
    means = [fmean(known) for of_set in values if len(known := [v for v in of_set if v is not None]) == len(of_set)]
    return fmean(means) if len(means) == len(values) else None


HEADER = ("baseline", "variant", "curve", "tasks", "sets", "rows")


def write_scaling_csv(points: Sequence[Point]) -> str:
    """One line a point, numbers at full precision, an empty field where there is none."""
    averages = ("avg", "avg_partial", "targets_complete")
    return format_csv([[*HEADER, *(column.key for column in COLUMNS), *averages], *(_fields(p) for p in points)])


def write_scaling_markdown(points: Sequence[Point]) -> str:
    """The same for people, with one decimal, and only the columns in which there is a number."""
    shown = [column.key for column in COLUMNS if any(point.values[column.key] is not None for point in points)]
    lines = [_spell(point, shown) for point in points]
    headers = ["curve", "tasks", "sets", *shown, "Avg", "variant"]
    told = (
        "Differences to the baseline, in points: mean over the sets of so many tasks, each the mean over its orders "
        "and seeds. † mean over the complete tasks only. -- a row of the point lacks the number."
    )
    return f"# Scaling\n\n{told}\n\n{tabulate(lines, headers, tablefmt='github', disable_numparse=True)}\n"


def _fields(point: Point) -> list[object]:
    average = point.average
    head = [point.block, point.variant, point.curve, point.count, point.sets, point.rows]
    values = [point.values[column.key] for column in COLUMNS]
    return [*head, *values, average.avg, average.partial, average.complete]


def _spell(point: Point, shown: Sequence[str]) -> Iterator[str]:
    average = point.average
    yield from (point.curve, str(point.count), str(point.sets))
    yield from ("--" if point.values[key] is None else f"{point.values[key]:+.1f}" for key in shown)
    partial = "--" if average.partial is None else f"{average.partial:+.1f}†"
    yield partial if average.avg is None else f"{average.avg:+.1f}"
    yield point.variant
