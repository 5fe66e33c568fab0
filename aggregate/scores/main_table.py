"""The main table as data, of dev or of test: blocks of a baseline row in absolute values and the differences to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aggregate.scores.averages import (
    Average,
    Cell,
    Score,
    Waiting,
    average_tasks,
    score_column,
    show_absolute,
    subtract_baseline,
)
from aggregate.scores.collection import Collection
from aggregate.scores.columns import COLUMNS, Column
from aggregate.scores.expectation import SPLIT, Scope
from aggregate.scores.merging import Finding
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
    target = column.target
    if target not in scope.languages:
        return Score({}, (), f"not a target of suite {scope.suite}", excluded=True)
    found = selection.found.get((key, target), Found())
    values = found.numbers.get(column.metric, {})
    if not values and not found.conflicts and not scope.asks(key, target):
        return Score({}, (), "not in the grid", excluded=True)
    if key not in selection.rows:
        return Score({}, (), MISSING_BASELINE)
    if found.mixed:
        return Score({}, (), MIXED_RECIPES)
    runs = scope.runs.get(key, {}).get(target, {})
    every = scope.languages[target]
    # A run that has given other languages is not one whose metrics are awaited.
    silent = {seed: run for seed, run in runs.items() if not values.get(seed, {}).keys() & set(every)}
    other = f"scored {'test' if scope.split == SPLIT else SPLIT} alone"
    partly = {run: other for run in runs.values() if (run, target) in selection.elsewhere}
    waiting = {seed: Waiting(run, outcomes.get(run) or partly.get(run, "")) for seed, run in silent.items()}
    return score_column(values, found.conflicts, languages or every, tuple(runs) or scope.seeds, waiting)


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
