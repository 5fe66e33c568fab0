"""The best model of each target, chosen on dev, and what it gains on test over its baseline (Phang et al. 2020).

XQuAD, TyDiQA and Tatoeba have one released set. The paper chooses on that set, which is then scored: optimistic. The
honest choice is made on something else: MLQA dev for XQuAD, BUCC dev for Tatoeba, and for TyDiQA its English alone,
which then does not count in the score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING

from aggregate.evidence.statistics import NO_SPREAD
from aggregate.scores.averages import NO_RESULTS, Cell, average_tasks
from aggregate.scores.columns import CATEGORIES, COLUMNS, TARGET_TITLES, list_columns
from aggregate.scores.main_table import Block, MainTable, TableRow, build_table
from aggregate.scores.selection import select
from stilts.results import RowKey
from stilts.tasks.catalogue import ONE_SET_TARGETS, TARGET_ORDER

if TYPE_CHECKING:
    from aggregate.study import Study

NEEDS_LABELS = "a test score needs the test labels; without them aggregate/submission.py exports the predictions"
NOTHING = {NO_RESULTS, f"baseline: {NO_RESULTS}", f"{NO_RESULTS}; baseline: {NO_RESULTS}"}
CHOOSING_TARGETS = {"xquad": "mlqa", "tatoeba": "bucc2018"}  # on whose dev set the honest choice is made
SPLIT_TARGET, CHOOSING_LANGUAGE = "tydiqa", "en"


@dataclass(frozen=True)
class Criterion:
    """What a choice is made by: the scores of `rows` in the columns of `target`."""

    text: str
    rows: Mapping[RowKey, TableRow]
    target: str

    def score(self, key: RowKey) -> float | None:
        """F1 and EM count half each; None where one is missing."""
        parts = [self.rows[key].cells[column.key].absolute for column in list_columns(self.target)]
        known = [part for part in parts if part is not None]
        return fmean(known) if len(known) == len(parts) else None

    def reason(self, key: RowKey) -> str:
        """Which seeds are missing of a score."""
        return self.rows[key].cells[list_columns(self.target)[0].key].reason


@dataclass(frozen=True)
class Choice:
    """The row chosen for a target, None where no row has a score to be chosen by.

    `score` is the one that it was chosen by, `baseline` the baseline's; `reason` says which seeds are not in it.
    `compared` counts the rows that have one, `silent` names the others.
    """

    target: str
    by: str
    row: TableRow | None
    score: float | None
    baseline: float | None
    reason: str
    compared: int
    silent: tuple[str, ...]


@dataclass(frozen=True)
class Contest:
    """The best models of one block against its baseline on test, by the paper's choice or by the honest one.

    The cells of `gain` are the differences that the chosen rows make; their `absolute` is the chosen row's own score.
    """

    honest: bool
    choices: Mapping[str, Choice]
    baseline: TableRow
    gain: TableRow


class ScoredRows:
    """Test scores of all rows of a study: of all languages, and of TyDiQA's English and its other languages apart."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.selection = select(study.collection, study.test_scope)
        self.table = build_table(study.collection, study.test_scope, self.selection)
        self.dev, self.test = index_rows(study.table), index_rows(self.table)

    @property
    def has_scores(self) -> bool:
        """Whether there is a score at all, on dev or on test."""
        rows = (*self.dev.values(), *self.test.values())
        return any(cell.absolute is not None for row in rows for cell in row.cells.values())

    @cached_property
    def contests(self) -> list[tuple[Contest, Contest]]:
        """For every block of the main table the paper's choice and the honest one."""
        blocks = self.study.table.blocks
        return [(self.compare(block, honest=False), self.compare(block, honest=True)) for block in blocks]

    @cached_property
    def english(self) -> dict[RowKey, TableRow]:
        return self._narrow(english=True)

    @cached_property
    def others(self) -> dict[RowKey, TableRow]:
        return self._narrow(english=False)

    def _narrow(self, english: bool) -> dict[RowKey, TableRow]:
        """Rows with TyDiQA alone, over some of its languages; without it where none of them is expected."""
        scope = self.study.test_scope
        languages = scope.languages.get(SPLIT_TARGET, ())
        kept = tuple(language for language in languages if (language == CHOOSING_LANGUAGE) == english)
        narrow = replace(scope, languages={SPLIT_TARGET: kept} if kept else {})
        return index_rows(build_table(self.study.collection, narrow, self.selection))

    def compare(self, block: Block, honest: bool) -> Contest:
        choices = {target: choose(block.rows, self.find_criterion(target, honest), target) for target in TARGET_ORDER}
        baseline: dict[str, Cell] = {}
        gain: dict[str, Cell] = {}
        for column in COLUMNS:
            scored = self.others if honest and column.target == SPLIT_TARGET else self.test
            key, choice = block.rows[0].key, choices[column.target]
            baseline[column.key] = self.explain(scored[key].cells[column.key], column.key, key)
            cell = find_gain(scored, key, choice, column.key)
            gain[column.key] = self.explain(cell, column.key, key, choice.row.key) if choice.row else cell
        rows = (make_row(block.rows[0], cells) for cells in (baseline, gain))
        return Contest(honest, choices, *rows)

    def explain(self, cell: Cell, column: str, *keys: RowKey) -> Cell:
        """The cell, its reason with what to do where one of the rows that it is about has a dev score alone."""
        tests = [(self.test[key].cells[column], self.dev[key].cells[column]) for key in keys]
        unlabelled = any(test.absolute is None and not test.present and dev.absolute is not None for test, dev in tests)
        if not unlabelled or not cell.reason:
            return cell
        what = "no test score, but one on dev" if cell.reason in NOTHING else cell.reason
        return cell._replace(reason=f"{what}: {NEEDS_LABELS}")

    def find_criterion(self, target: str, honest: bool) -> Criterion:
        if target not in ONE_SET_TARGETS:
            return Criterion(f"{TARGET_TITLES[target]} dev", self.dev, target)
        if not honest:
            return Criterion(f"{TARGET_TITLES[target]} itself", self.test, target)
        if target == SPLIT_TARGET:
            return Criterion(f"{TARGET_TITLES[target]} English", self.english, target)
        other = CHOOSING_TARGETS[target]
        return Criterion(f"{TARGET_TITLES[other]} dev", self.dev, other)


def average_categories(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """XTREME's category means from the scores of a row by column key; None where a task is missing."""
    tasks: dict[str, float | None] = {}
    for target in TARGET_ORDER:
        parts = [part for column in list_columns(target) if (part := values[column.key]) is not None]
        tasks[target] = fmean(parts) if len(parts) == len(list_columns(target)) else None
    means: dict[str, float | None] = {}
    for name, members in CATEGORIES.items():
        known = [score for member in members if (score := tasks[member]) is not None]
        means[name] = fmean(known) if len(known) == len(members) else None
    return means


def index_rows(table: MainTable) -> dict[RowKey, TableRow]:
    return {row.key: row for row in table.rows}


def choose(rows: Sequence[TableRow], criterion: Criterion, target: str) -> Choice:
    """The row of the highest score, of equal ones the first; the baseline, which is the first row, is among them.

    Scores count as equal when they differ by no more than the rounding of sums.
    """
    scores = {row.key: criterion.score(row.key) for row in rows}
    known = {key: score for key, score in scores.items() if score is not None}
    best = next((row for row in rows if row.key in known and known[row.key] >= max(known.values()) - NO_SPREAD), None)
    return Choice(
        target=target,
        by=criterion.text,
        row=best,
        score=known[best.key] if best else None,
        baseline=scores[rows[0].key],
        reason=criterion.reason(best.key) if best else "",
        compared=len(known),
        silent=tuple(row.name for row in rows if row.key not in known),
    )


def find_gain(rows: Mapping[RowKey, TableRow], baseline: RowKey, choice: Choice, column: str) -> Cell:
    """The difference that the chosen row makes: 0 at every seed where it is the baseline itself."""
    cell = rows[choice.row.key if choice.row else baseline].cells[column]
    if choice.row is None:
        reason = cell.reason if cell.excluded else f"no model chosen: no row has a score on {choice.by}"
        return cell._replace(value=None, absolute=None, by_seed={}, complete=False, reason=reason, runs=())
    if choice.row.key == baseline and cell.value is not None:
        return cell._replace(value=0.0, by_seed=dict.fromkeys(cell.by_seed, 0.0))
    return cell


def make_row(like: TableRow, cells: dict[str, Cell]) -> TableRow:
    return replace(like, cells=cells, average=average_tasks({column: cell.value for column, cell in cells.items()}))
