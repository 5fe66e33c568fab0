"""All that the tables of a study are made of, read once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aggregate.evidence.best_models import ScoredRows
from aggregate.evidence.significance import Significance, judge_table
from aggregate.scores.collection import Collection, collect
from aggregate.scores.curves import Marks, Point, build_points, mark_rows, read_marks
from aggregate.scores.expectation import Scope, define_scope, find_expected, find_grids
from aggregate.scores.main_table import MainTable, build_table
from aggregate.scores.reading_cache import ReadingCache
from aggregate.scores.run_records import RunRecords
from aggregate.scores.selection import Selection, select
from aggregate.sheets.published import read_own_text
from stilts.errors import UserError
from stilts.runs import PILOT_MARKER, canonical_json


@dataclass(frozen=True)
class Study:
    """The metric files below `results`, what is expected of them (`scope` on dev, `test_scope`), and the points
    that grids mark on curves; what several tables need is computed from them once."""

    results: Path
    collection: Collection
    scope: Scope
    test_scope: Scope
    marks: Marks | None

    @cached_property
    def selection(self) -> Selection:
        """The dev scores that enter the main table, by row, target, seed and language."""
        return select(self.collection, self.scope)

    @cached_property
    def table(self) -> MainTable:
        """Rows and blocks with the dev scores of all targets: what nearly every other table starts from."""
        return build_table(self.collection, self.scope, self.selection)

    @cached_property
    def significance(self) -> Significance:
        """The statistics of the main table's cells."""
        return judge_table(self.table)

    @cached_property
    def points(self) -> list[Point]:
        """Every point of every curve over the number of tasks; empty where no curve has two."""
        return build_points(self.table, mark_rows(self.table) if self.marks is None else self.marks)

    @cached_property
    def scored(self) -> ScoredRows:
        """The test scores of all rows, from which best models are chosen."""
        return ScoredRows(self)

    @cached_property
    def run_records(self) -> RunRecords:
        """What the folders of runs tell beside scores: the costs and the report are made of it."""
        return RunRecords(self.results)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the metric files, of what grids expect and mark, of how runs without metrics ended, and of the
        user's published rows. What runs have cost is not in it."""
        outcomes = canonical_json(self.collection.outcomes) if self.collection.outcomes else ""
        marks = sorted(f"{curve} {mark}" for curve, own in (self.marks or {}).items() for mark in own)
        parts = (self.scope.digest_text, outcomes, read_own_text(self.results), *marks)
        inputs = f"{self.collection.digest}\n{''.join(parts)}"
        return hashlib.sha256(inputs.encode()).hexdigest()


def read_study(results: Path, grid: Path | None = None, cache: ReadingCache | None = None) -> Study:
    """Read a folder of metric files with its grid; with a cache only files that have changed since the last time.

    Raises UserError where there is nothing to make a table of.
    """
    if not results.is_dir():
        raise UserError(f"--results {results}: no such folder; give the campaign root or any folder of metric files")
    if (results / PILOT_MARKER).exists():
        raise UserError(f"--results {results}: a pilot, whose trainings are no results; give the campaign's root")
    expected = find_expected(results, grid)
    collection = collect(results, expected.planned() if expected else {}, cache)
    if not collection.files and not collection.findings:
        raise UserError(
            f"--results {results}: no metric file below it (*.json with schema stilts.metrics/1); "
            "has a run been scored yet? launch/status.py says"
        )
    scope = define_scope(expected, collection)
    if not collection.sets and not scope.rows:
        raise UserError([f"--results {results}: no usable metric file", *map(str, collection.findings)])
    test_scope = define_scope(expected, collection, "test")
    return Study(results, collection, scope, test_scope, read_marks(expected, find_grids(results)))
