"""Which differences of the main table its seeds can prove: one family of tests, Holm-corrected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aggregate.evidence.statistics import Estimate, Holm, describe_family, estimate, holm
from aggregate.scores.averages import at_seed, average_tasks, list_seeds
from aggregate.scores.columns import AVERAGE, COLUMNS
from aggregate.scores.main_table import MainTable, TableRow
from aggregate.scores.merging import Seed
from stilts.results import RowKey

Place = tuple[RowKey, str]  # a row and a column's key, or AVERAGE


@dataclass(frozen=True)
class Significance:
    """What every cell of a table with a value says over its seeds; the tests of all differences are one family."""

    estimates: Mapping[Place, Estimate]
    family: Holm[Place]

    def star(self, row: RowKey, column: str) -> str:
        return self.family.star((row, column))

    def describe(self) -> str:
        """What was tested, and what this many seeds cannot tell: for the caption."""
        return describe_family(self.family, {place: one for place, one in self.estimates.items() if _is_test(place)})


def judge_table(table: MainTable) -> Significance:
    """Over the seeds of each cell: mean, deviation, interval; for differences Student's t and Holm's correction."""
    estimates: dict[Place, Estimate] = {}
    for row in table.rows:
        values = {column.key: row.cells[column.key].by_seed for column in COLUMNS} | {AVERAGE: average_seeds(row)}
        estimates |= {(row.key, column): estimate(by_seed.values()) for column, by_seed in values.items() if by_seed}
    return Significance(estimates, holm({place: one.p for place, one in estimates.items() if _is_test(place)}))


def average_seeds(row: TableRow) -> dict[Seed, float]:
    """The mean over the tasks that are complete in this row, at every seed that has them all."""
    complete = {column.key for column in COLUMNS if row.cells[column.key].value is not None}
    found: dict[Seed, float] = {}
    for seed in list_seeds(row.cells[column].by_seed for column in complete):
        values = {column.key: at_seed(row.cells[column.key].by_seed, seed) for column in COLUMNS}
        average = average_tasks(values)
        if average.partial is not None and average.complete == row.average.complete:
            found[seed] = average.partial
    return found


def _is_test(place: Place) -> bool:
    return not place[0].is_baseline
