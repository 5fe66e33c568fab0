"""What the page's script looks up when a cell is clicked: one compact JSON document inside the page.

Texts, configurations and versions that many runs share stand there once and are named by their places; runs.js reads
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from aggregate.evidence.statistics import Estimate
from aggregate.report.coverage import STATES, Coverage, Place
from aggregate.report.run_facts import Attempt, RunFacts, RunReader
from aggregate.scores.columns import AVERAGE, COLUMNS, METRIC_TITLES, TARGET_TITLES
from aggregate.scores.main_table import TableRow
from aggregate.scores.records import take_mapping
from aggregate.study import Study

STATE_NAMES = [state.name for state in STATES]
WORK = ("device", "tokens", "seconds", "peak_memory_gb", "updates", "seed_used")


class Pool:
    """Values that stand once, in order of appearance; `make` turns one into what is written, once for each."""

    def __init__(self, make: Callable[[Any], Any] = lambda value: value) -> None:
        self.values: list[Any] = []
        self._make = make
        self._places: dict[Any, int] = {}

    def place(self, value: Any) -> int:
        key = value if isinstance(value, str) else orjson.dumps(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(self._make(value))
        return self._places[key]


class Island:
    """Built once per page. `base` leads from the page's folder to the results folder, as an address."""

    def __init__(self, study: Study, coverage: Coverage, reader: RunReader, base: str) -> None:
        self.study, self.coverage, self.base = study, coverage, base
        self.facts = reader.collect(coverage.runs)
        self.places = {run: number for number, run in enumerate(self.facts)}
        self.texts, self.versions = Pool(), Pool(lambda versions: sorted(versions.items()))
        self.configs = Pool(lambda settings: list(_flatten("", settings)))

    def build(self) -> dict[str, Any]:
        rows = list(self.study.table.rows)
        bases = {row.key: block.rows[0].key for block in self.study.table.blocks for row in block.rows}
        index = {row.key: number for number, row in enumerate(rows)}
        runs = [self._tell_run(facts) for facts in self.facts.values()]
        return {
            "base": self.base,
            "states": [[state.name, state.sign, state.meaning] for state in STATES],
            "targets": [[target, TARGET_TITLES[target]] for target in self.coverage.targets],
            "columns": [[column.key, column.target, METRIC_TITLES[column.metric]] for column in COLUMNS],
            "rows": [[row.name, index[bases[row.key]]] for row in rows],
            "cells": [[self._tell_places(row, target) for target in self.coverage.targets] for row in rows],
            "numbers": [self._tell_numbers(row) for row in rows],
            "work": WORK,
            "runs": runs,
            "texts": self.texts.values,
            "configs": self.configs.values,
            "versions": self.versions.values,
        }

    def _tell_places(self, row: TableRow, target: str) -> list[list[Any]]:
        """seed, state, reason, runs."""
        return [self._tell_place(place) for place in self.coverage.cells.get((row.key, target), ())]

    def _tell_place(self, place: Place) -> list[Any]:
        runs = [self.places[run] for run in place.runs]
        return [place.seed, STATE_NAMES.index(place.state), self.texts.place(place.reason), runs]

    def _tell_numbers(self, row: TableRow) -> dict[str, list[Any]]:
        """By column: mean, interval, adjusted p, and [seed, value] of each seed, rounded for reading."""
        significance = self.study.significance
        numbers = {}
        for column in (*(column.key for column in COLUMNS), AVERAGE):
            place = (row.key, column)
            found = significance.estimates.get(place)
            if found is None:
                continue
            cell = row.cells.get(column)
            seeds = [[seed, round(value, 3)] for seed, value in cell.by_seed.items()] if cell else []
            numbers[column] = [*_round_estimate(found), _round(significance.family.adjusted.get(place), 4), seeds]
        return numbers

    def _tell_run(self, facts: RunFacts) -> list[Any]:
        """id, state, reason, configuration, parents, GPU-hours, CPU-hours, figures of its work, attempts."""
        gpu_hours, cpu_hours = facts.sum_hours()
        return [
            facts.id,
            STATE_NAMES.index(facts.state),
            self.texts.place(facts.reason),
            self.configs.place(find_settings(facts.spec)),
            [self.places[parent] for parent in facts.parents],
            _round(gpu_hours, 4),
            _round(cpu_hours, 4),
            self._tell_work(take_mapping(facts.done, "facts")),
            [self._tell_attempt(attempt) for attempt in facts.attempts],
        ]

    def _tell_work(self, recorded: Mapping[str, Any]) -> list[Any]:
        """What DONE says of the work, by the names in WORK; None where it does not."""
        found = [recorded.get(key) for key in WORK]
        known = [value if isinstance(value, int | float | str) else None for value in found]
        return [round(value, 2) if isinstance(value, float) else value for value in known]

    def _tell_attempt(self, attempt: Attempt) -> list[Any]:
        """name, state, reason, start (s since 1970), hours, place, code, versions, logs (the number of ranks, or
        names)."""
        begun = attempt.begun
        ranks = [f"rank{number}.log" for number in range(len(attempt.logs))]
        return [
            attempt.name,
            self.texts.place(attempt.state or "no end yet"),
            self.texts.place(attempt.reason),
            None if attempt.started is None else int(attempt.started),
            _round(attempt.hours, 4),
            self.texts.place(describe_host(begun)),
            self.texts.place(describe_code(begun)),
            self.versions.place(take_mapping(begun, "versions")),
            len(ranks) if list(attempt.logs) == ranks else list(attempt.logs),
        ]


def find_settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was told, below the row that it was made for."""
    label = take_mapping(take_mapping(spec, "infra"), "label")
    return {key: label[key] for key in ("model", "variant") if label.get(key)} | take_mapping(spec, "config")


def _flatten(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flatten(f"{name}.{key}" if name else str(key), inner)
    elif name:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_host(begun: Mapping[str, Any]) -> str:
    parts = [str(begun[key]) for key in ("host",) if begun.get(key)]
    parts += [f"Slurm job {begun['slurm_job']}"] if begun.get("slurm_job") else []
    ranks = begun.get("ranks")
    parts += [f"{ranks} rank{'s' if ranks != 1 else ''}"] if ranks else []
    return ", ".join(parts)


def describe_code(begun: Mapping[str, Any]) -> str:
    """Commit, and whether the code differed from it; else the digest of the code."""
    code = take_mapping(begun, "code")
    if not code.get("commit"):
        return f"no commit, code {str(code['digest'])[:16]}" if code.get("digest") else ""
    changed = f" with changes, code {str(code.get('digest', ''))[:16]}" if code.get("dirty") else ""
    return f"{code['commit']}{changed}"


def count_commits(facts: Iterable[RunFacts]) -> list[tuple[str, int]]:
    """The code of the last attempts, each with the number of its runs, the most used first."""
    counts: dict[str, int] = {}
    for one in facts:
        code = describe_code(one.attempts[-1].begun) if one.attempts else ""
        if code:
            counts[code] = counts.get(code, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def find_base(results: Path, out: Path) -> str:
    """The address of the results folder seen from a page in `out`; no absolute path stands in a page."""
    path = os.path.relpath(os.path.abspath(results), os.path.abspath(out))
    return quote(path.replace(os.sep, "/").encode("utf-8", "surrogateescape"))


def write_island(document: Mapping[str, Any]) -> str:
    """JSON that can stand inside a script element: no character of it can end that."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _round_estimate(found: Estimate) -> list[float | None]:
    return [_round(found.mean, 3), _round(found.low, 3), _round(found.high, 3)]


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
