"""What the bootstrap over examples says of each cell of the main table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aggregate.evidence.bootstrap import Array, interval
from aggregate.evidence.example_samples import Samples, find_runs
from aggregate.evidence.statistics import NO_SPREAD
from aggregate.scores.columns import AVERAGE, COLUMNS, TARGET_TITLES, Column, list_columns
from aggregate.scores.expectation import Scope
from aggregate.scores.main_table import TableRow
from aggregate.scores.merging import Seed
from stilts.results import RowKey
from stilts.tasks.catalogue import TARGET_ORDER

# Percent. What is stored of a question's F1 is rounded in another order than the metric files' means.
SAME_FIGURE = 1e-4
UNPLANNED = "no run of the plan behind it"


@dataclass(frozen=True)
class ExampleInterval:
    """A cell's value with its interval over examples, the trained models as they are. `drawn` are the resamples;
    `reason` says why there is no interval, `runs` are those that it names."""

    value: float | None
    low: float | None = None
    high: float | None = None
    drawn: Array | None = None
    reason: str = ""
    runs: tuple[str, ...] = ()


def judge_row(scope: Scope, row: TableRow, baseline: RowKey, samples: Samples) -> dict[str, ExampleInterval]:
    """By column key and AVERAGE. The models are those of the seeds that the cell in the main table is over."""
    found = {column.key: judge_cell(scope, row, baseline, column, samples) for column in COLUMNS}
    return found | {AVERAGE: judge_average(row, found)}


def judge_cell(scope: Scope, row: TableRow, baseline: RowKey, column: Column, samples: Samples) -> ExampleInterval:
    cell = row.cells[column.key]
    if cell.value is None:
        return ExampleInterval(None, reason=cell.reason, runs=cell.runs)
    sides = [row.key] if row.key == baseline else [row.key, baseline]
    named = [find_runs(scope, side, column.target) for side in sides]
    pairs = [[pick_run(runs, seed) for runs in named] for seed in cell.by_seed]
    runs = list(dict.fromkeys(run for pair in pairs for run in pair if run is not None))
    if any(run is None for pair in pairs for run in pair):
        return ExampleInterval(cell.value, reason=UNPLANNED)
    if lacking := [run for run in runs if (run, column.target) in samples.gaps]:
        reason = "; ".join(samples.gaps[run, column.target] for run in lacking)
        return ExampleInterval(cell.value, reason=reason, runs=tuple(lacking))
    signs = (1.0, -1.0)[: len(sides)]

    def combine(scores: Mapping[tuple[str, str], Any]) -> Any:
        """The mean over seeds, of a row that is no baseline less that of the baseline's runs at the same seeds."""
        return sum(
            sign * scores[run, column.key] for pair in pairs for sign, run in zip(signs, pair, strict=True) if run
        ) / len(pairs)

    whole = float(combine(samples.whole))
    if abs(whole - cell.value) > SAME_FIGURE:
        told = f"the stored predictions give {whole:.2f} where the metric files give {cell.value:.2f}"
        return ExampleInterval(cell.value, reason=f"{told}: see aggregate/rescore.py --check")
    return summarise(cell.value, combine(samples.drawn))


def pick_run(runs: Mapping[Seed, str], seed: Seed) -> str | None:
    """The run of a seed, or the one that stands for all of them, as that of an encoder without our training does."""
    lone = next(iter(runs.values())) if len(runs) == 1 else None
    return runs.get(seed) or lone


def judge_average(row: TableRow, cells: Mapping[str, ExampleInterval]) -> ExampleInterval:
    """The mean over the tasks that are complete in this row, each drawn for itself; all of them are needed."""
    scores: list[Array] = []
    lacking: list[str] = []
    for target in TARGET_ORDER:
        parts = [cells[column.key] for column in list_columns(target)]
        if any(part.value is None for part in parts):
            continue
        drawn = [part.drawn for part in parts if part.drawn is not None]
        if len(drawn) == len(parts):
            scores.append(np.mean(drawn, axis=0))
        else:
            lacking.append(TARGET_TITLES[target])
    value = row.average.partial
    if value is None:
        return ExampleInterval(None, reason="no complete task")
    if lacking:
        return ExampleInterval(value, reason=f"no resamples of {', '.join(lacking)}")
    return summarise(value, np.mean(scores, axis=0))


def summarise(value: float, drawn: Array) -> ExampleInterval:
    """Without an interval where no resample differs: that so many examples agree is no proof that all would."""
    if np.ptp(drawn) <= NO_SPREAD:
        return ExampleInterval(value, drawn=drawn, reason="all resamples equal: no interval over examples")
    low, high = interval(drawn)
    return ExampleInterval(value, float(low), float(high), drawn)
