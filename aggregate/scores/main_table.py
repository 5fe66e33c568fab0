"""The main table as data, of dev or of test: blocks of a baseline row in absolute values and the differences to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from aggregate.scores.averages import (
    Average,
    Cell,
    Score,
    Waiting,
    average_tasks,
    score_column,
    seed_order,
    show_absolute,
    subtract_baseline,
)
from aggregate.scores.collection import Collection
from aggregate.scores.columns import COLUMNS, Column
from aggregate.scores.expectation import SPLIT, Scope
from aggregate.scores.merging import Finding, Seed
from aggregate.scores.selection import Found, Selection
from aggregate.scores.variants import choose_baseline, find_shared, list_unnamed, name_rows, split_variant
from stilts.results import DEFAULT_MODEL, MODES, RowKey

MIXED_RECIPES = "seeds of different recipes"
MISSING_BASELINE = "no run without intermediate training for this model and variant"


@dataclass(frozen=True)
class TableRow:
    """`unnamed` are settings that neither the name nor the settings of all rows show."""

    key: RowKey
    name: str
    unnamed: tuple[str, ...]
    cells: dict[str, Cell]
    average: Average


@dataclass(frozen=True)
class Block:
    """All rows with one baseline, which is the first."""

    title: str
    rows: tuple[TableRow, ...]


@dataclass(frozen=True)
class MainTable:
    """`shared` are settings of all rows; `incomplete` are expected cells with a gap, as (row name, column key).

    `caveats` say by target why its scores are not comparable with published ones.
    """

    scope: Scope
    blocks: tuple[Block, ...]
    shared: tuple[str, ...]
    incomplete: tuple[tuple[str, str], ...]
    left_out: tuple[str, ...]
    caveats: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]

    @property
    def rows(self) -> Iterator[TableRow]:
        for block in self.blocks:
            yield from block.rows


def build_table(collection: Collection, scope: Scope, selection: Selection) -> MainTable:
    """Rows found and rows expected, each block below its own baseline."""
    baselines = {key: choose_baseline(key, selection.rows) for key in selection.rows}
    keys = sorted({*baselines, *baselines.values()}, key=row_order)
    scores = {key: score_row(key, selection, collection.outcomes, scope) for key in keys}
    names = name_rows(keys, shorten_models({key.model for key in keys}))
    shared = find_shared(keys)
    blocks: dict[RowKey, list[TableRow]] = {key: [] for key in keys if key.is_baseline}
    for key in (*blocks, *(key for key in keys if not key.is_baseline)):
        base = baselines.get(key, key)
        cells = build_cells(scores[key], scores[base] if base != key else None)
        average = average_tasks({column: cell.value for column, cell in cells.items()})
        unnamed = list_unnamed(key, names[key], shared)
        blocks[base].append(TableRow(key, names[key].text, unnamed, cells, average))
    return MainTable(
        scope=scope,
        blocks=tuple(Block(rows[0].name, tuple(rows)) for rows in blocks.values()),
        shared=shared,
        incomplete=tuple(list_incomplete(blocks.values(), set(scope.rows or selection.rows), scope)),
        left_out=selection.left_out,
        caveats=collection.caveats,
        findings=tuple(sorted((*collection.findings, *selection.findings))),
    )


def list_incomplete(blocks: Iterable[list[TableRow]], expected: set[RowKey], scope: Scope) -> Iterator[tuple[str, str]]:
    for rows in blocks:
        for row in rows:
            for column in COLUMNS:
                asked = row.key in expected and scope.asks(row.key, column.target)
                if asked and not row.cells[column.key].complete:
                    yield row.name, column.key


def score_row(key: RowKey, selection: Selection, outcomes: Mapping[str, str], scope: Scope) -> dict[str, Score]:
    """Scores of one row by column key."""
    return {column.key: score_cell(key, column, selection, outcomes, scope) for column in COLUMNS}


def score_cell(
    key: RowKey,
    column: Column,
    selection: Selection,
    outcomes: Mapping[str, str],
    scope: Scope,
    languages: tuple[str, ...] | None = None,
) -> Score:
    """The score over the languages of the column's target, or over some of them."""
    return find_scores(key, column, selection, outcomes, scope).average(languages)


@dataclass(frozen=True)
class CellScores:
    """What is known of a row in a column, language by language (see `score_column`); `fixed` where no language
    matters."""

    languages: tuple[str, ...] = ()
    values: Mapping[Seed, Mapping[str, float]] = field(default_factory=dict)
    conflicts: Mapping[Seed, Iterable[str]] = field(default_factory=dict)
    seeds: tuple[Seed, ...] | None = None
    waiting: Mapping[Seed, Waiting] = field(default_factory=dict)
    fixed: Score | None = None

    def average(self, languages: tuple[str, ...] | None = None) -> Score:
        """The score over all languages, or over some of them."""
        if self.fixed:
            return self.fixed
        languages = languages or self.languages
        if self.undisputed:
            try:
                by_seed = {seed: average_languages(numbers, languages) for seed, numbers in self.undisputed}
            except KeyError:  # a language is missing
                pass
            else:
                return Score(by_seed, languages, "")
        return score_column(self.values, self.conflicts, languages, self.seeds, self.waiting)

    @cached_property
    def undisputed(self) -> list[tuple[Seed, Mapping[str, float]]]:
        """The seeds in order with their numbers, where those expected are those found and no files contradict each
        other: what nearly every cell is, and tables by language have a hundred thousand cells."""
        wanted = self.values.keys() if self.seeds is None or None in self.values else set(self.seeds)
        if self.conflicts or self.values.keys() != wanted:
            return []
        return [(seed, self.values[seed]) for seed in sorted(wanted, key=seed_order)]


def average_languages(numbers: Mapping[str, float], languages: tuple[str, ...]) -> float:
    """Raises KeyError where one of them is missing."""
    if len(languages) == 1:
        return numbers[languages[0]]
    return fmean([numbers[language] for language in languages])


def find_scores(
    key: RowKey, column: Column, selection: Selection, outcomes: Mapping[str, str], scope: Scope
) -> CellScores:
    """What there is for a cell, with what is awaited from which run."""
    target = column.target
    if target not in scope.languages:
        return CellScores(fixed=Score({}, (), f"not a target of suite {scope.suite}", excluded=True))
    found = selection.found.get((key, target), Found())
    values = found.numbers.get(column.metric, {})
    if not values and not found.conflicts and not scope.asks(key, target):
        return CellScores(fixed=Score({}, (), "not in the grid", excluded=True))
    if key not in selection.rows:
        return CellScores(fixed=Score({}, (), MISSING_BASELINE))
    if found.mixed:
        return CellScores(fixed=Score({}, (), MIXED_RECIPES))
    runs = scope.runs.get(key, {}).get(target, {})
    every = scope.languages[target]
    # A run that has given other languages is not one whose metrics are awaited.
    silent = {seed: run for seed, run in runs.items() if values.get(seed, {}).keys().isdisjoint(every)}
    other = f"scored {'test' if scope.split == SPLIT else SPLIT} alone"
    partly = {run: other for run in silent.values() if (run, target) in selection.elsewhere}
    waiting = {seed: Waiting(run, outcomes.get(run) or partly.get(run, "")) for seed, run in silent.items()}
    return CellScores(every, values, found.conflicts, tuple(runs) or scope.seeds, waiting)


def build_cells(own: dict[str, Score], base: dict[str, Score] | None) -> dict[str, Cell]:
    """Cells by column key: absolute in a baseline row, which has no `base`."""
    if base is None:
        return {column: show_absolute(score) for column, score in own.items()}
    return {column: subtract_baseline(score, base[column]) for column, score in own.items()}


def row_order(key: RowKey) -> tuple[object, ...]:
    """The default model first; in a block plain, MLM and translated rows, small sets first, few settings first."""
    return (
        key.model != DEFAULT_MODEL,
        key.model,
        key.translated,
        key.mlm,
        MODES.index(key.mode),
        len(key.tasks),
        key.tasks,
        len(split_variant(key.variant)),
        key.variant,
    )


def shorten_models(models: set[str]) -> dict[str, str]:
    """`org/name` as `name`, unless two models would then look the same."""
    short = {model: model.rstrip("/").rsplit("/", 1)[-1] for model in models}
    return {model: name if list(short.values()).count(name) == 1 else model for model, name in short.items()}
