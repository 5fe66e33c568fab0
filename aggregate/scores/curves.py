"""Curves over the number of intermediate tasks: which rows are their points, and the mean over draws at each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean

from aggregate.scores.averages import Average, average_tasks, seed_order
from aggregate.scores.columns import COLUMNS
from aggregate.scores.expectation import Expected
from aggregate.scores.main_table import MainTable, TableRow
from aggregate.scores.merging import Seed
from aggregate.scores.variants import MIXING_PARTS, drop_settings
from stilts.results import RowKey

REGIMES = ("multitask", "sequential")

# Of a grid's scale block its number, from 1; where no grid tells, the set itself, sorted.
DrawName = int | tuple[str, ...]
Values = Mapping[str, float | None]  # by column key
Marks = Mapping["Curve", "Iterable[Mark]"]


@dataclass(frozen=True)
class Curve:
    """One line of a figure. `pool` and `seed` are what the draws are of: nothing where no grid tells."""

    model: str
    variant: str
    regime: str
    pool: tuple[str, ...] = ()
    seed: int | None = None

    def without_regime(self) -> Curve:
        """What the curves of both regimes have in common, settings of mixing left out."""
        kept = drop_settings(RowKey(variant=self.variant), MIXING_PARTS)
        return replace(self, variant=kept.variant, regime="")


@dataclass(frozen=True, order=True)
class Mark:
    """A row on a curve. A row may be there several times: the whole pool as a mixture is of every draw."""

    count: int
    draw: DrawName
    order: int
    row: RowKey


@dataclass(frozen=True)
class Draw:
    """One draw's part of a point. `keys` are its orders, of a mixture one; `rows` the same in the main table, None
    where a row is not there. All values are differences to the baseline."""

    name: DrawName
    keys: tuple[RowKey, ...]
    rows: tuple[TableRow | None, ...]

    @cached_property
    def values(self) -> Values:
        """The mean over the orders, each the mean over its seeds; None where an order lacks the value."""
        return {
            column.key: _mean([None if row is None else row.cells[column.key].value for row in self.rows])
            for column in COLUMNS
        }

    @cached_property
    def by_seed(self) -> Mapping[Seed, Values]:
        """The mean over the orders at each seed that any of them has; None where an order lacks the seed's value.

        A score without a seed stands under None.
        """
        cells = [[row.cells[column.key] for column in COLUMNS] for row in self.rows if row is not None]
        seeds = {seed for own in cells for cell in own for seed in cell.by_seed}
        missing = [None] * (len(self.rows) - len(cells))
        return {
            seed: {
                column.key: _mean([*missing, *(own[index].by_seed.get(seed) for own in cells)])
                for index, column in enumerate(COLUMNS)
            }
            for seed in sorted(seeds, key=seed_order)
        }

    def list_seeds(self, column: str) -> dict[Seed, float]:
        """The values of a column at the seeds that have one."""
        values = {seed: of_seed[column] for seed, of_seed in self.by_seed.items()}
        return {seed: value for seed, value in values.items() if value is not None}


@dataclass(frozen=True)
class Point:
    """Where a curve is at `count` tasks: each draw is the mean over its orders, the point the mean over draws.

    `block` is the baseline of its rows.
    """

    block: str
    curve: Curve
    count: int
    draws: tuple[Draw, ...]

    @property
    def sets(self) -> int:
        """Distinct sets of tasks; two draws may have the same."""
        return len({frozenset(key.tasks) for draw in self.draws for key in draw.keys})

    @property
    def rows(self) -> int:
        """Distinct rows."""
        return len({key for draw in self.draws for key in draw.keys})

    @cached_property
    def values(self) -> Values:
        """By column key, None where a draw lacks its own: curves through fewer draws would not compare."""
        of_draws = [draw.values for draw in self.draws]
        return {column.key: _mean([values[column.key] for values in of_draws]) for column in COLUMNS}

    @property
    def average(self) -> Average:
        return average_tasks(self.values)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known and len(known) == len(values) else None


def read_marks(expected: Expected | None, others: Iterable[Expected]) -> Marks | None:
    """The points that scale blocks mark, by curve; None where there is no scale block.

    A curve of the table's own grid has the points of that grid alone. Rows with masked language modelling or
    translated data are on no curve.
    """
    grids = [*others, *([expected] if expected else [])]
    if not any(grid.scale for grid in grids):
        return None
    found: dict[Curve, set[Mark]] = defaultdict(set)
    for grid in grids:
        for curve, mark in _list_marks(grid):
            found[curve].add(mark)
    own: dict[Curve, set[Mark]] = defaultdict(set)
    for curve, mark in _list_marks(expected) if expected else ():
        own[curve].add(mark)
    return found | own


def _list_marks(grid: Expected) -> Iterator[tuple[Curve, Mark]]:
    if grid.scale is None:
        return
    keys = [row.key() for row in grid.rows]
    pool = tuple(sorted(grid.scale.pool))
    for mark in grid.scale.points:
        key = keys[mark.row]
        if not key.mlm and not key.translated:
            curve = Curve(key.model, mark.variant, mark.regime, pool, grid.scale.seed)
            yield curve, Mark(mark.count, mark.draw, mark.order, key)


def mark_rows(table: MainTable) -> Marks:
    """Every row with k tasks as a point of k, each set as a draw of its own: what is known without a scale block.

    A single task is the first point of every curve whose settings are its own but for those of mixing.
    """
    keys = [row.key for row in table.rows if row.key.tasks and not row.key.mlm and not row.key.translated]
    singles = _Singles(keys)
    marks: dict[Curve, set[Mark]] = defaultdict(set)
    for key in keys:
        if key.mode in REGIMES:
            marks[Curve(key.model, key.variant, key.mode)].add(_mark_row(key))
    for curve, own in marks.items():
        own.update(_mark_row(single) for single in singles.begin(curve))
    return marks


def _mark_row(key: RowKey) -> Mark:
    """Orders of a set have no numbers; their rows tell them apart."""
    return Mark(len(key.tasks), tuple(sorted(key.tasks)), 1, key)


class _Singles:
    """Rows of one task, found whatever they say about mixing. A row that says what is asked for comes first."""

    def __init__(self, keys: Iterable[RowKey]) -> None:
        self.alike: dict[RowKey, list[RowKey]] = defaultdict(list)
        for key in keys:
            if key.mode == "single":
                self.alike[drop_settings(key, MIXING_PARTS)].append(key)

    def find(self, key: RowKey) -> RowKey | None:
        """One row: several that differ in settings of mixing alone are one training."""
        found = self.alike.get(drop_settings(key, MIXING_PARTS), [])
        return key if key in found else min(found, default=None)

    def begin(self, curve: Curve) -> Iterator[RowKey]:
        """The rows at the beginning of a curve, one of each task."""
        for task in sorted({key.tasks for key in self.alike}):
            found = self.find(RowKey(curve.model, curve.variant, "single", task))
            if found is not None:
                yield found


def build_points(table: MainTable, marks: Marks) -> list[Point]:
    """Every curve that has more than one count, and at least one of its rows in the table."""
    places = {row.key: (number, block.title, row) for number, block in enumerate(table.blocks) for row in block.rows}
    singles = _Singles(key for key in places if not key.mlm and not key.translated)
    found: list[tuple[tuple[object, ...], Point]] = []
    for curve, own in marks.items():
        standing = {mark: places.get(singles.find(mark.row) or mark.row) for mark in own}
        present = [place for place in standing.values() if place is not None]
        if not present or len({mark.count for mark in own}) == 1:
            continue
        number, block, _ = min(present, key=lambda place: place[0])
        rows = {mark: place[2] if place else None for mark, place in standing.items()}
        order = (number, curve.variant, curve.pool, curve.seed or 0, REGIMES.index(curve.regime))
        found += [((*order, point.count), point) for point in _list_points(block, curve, rows)]
    return [point for _, point in sorted(found, key=lambda one: one[0])]


def _list_points(block: str, curve: Curve, rows: Mapping[Mark, TableRow | None]) -> Iterator[Point]:
    by_draw: dict[tuple[int, DrawName], list[Mark]] = defaultdict(list)
    for mark in sorted(rows):
        by_draw[mark.count, mark.draw].append(mark)
    draws: dict[int, list[Draw]] = defaultdict(list)
    for (count, name), own in by_draw.items():
        draws[count].append(Draw(name, tuple(mark.row for mark in own), tuple(rows[mark] for mark in own)))
    return (Point(block, curve, count, tuple(of_count)) for count, of_count in draws.items())


def list_draws(points: Iterable[Point]) -> dict[tuple[Curve, int, DrawName], Draw]:
    """Each draw at each point, for statistics that pair two curves draw by draw: `draw.values`, and `draw.by_seed`."""
    return {(point.curve, point.count, draw.name): draw for point in points for draw in point.draws}
