"""The averaging against a slow and obvious one, on random incomplete studies."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregate.tables import main
from tests.aggregate.metric_tree import (
    BASELINE,
    LANGUAGES,
    METRIC,
    MNLI,
    ONE_SET,
    QA,
    make_document,
    read_table,
    write_document,
)

TARGETS = list(LANGUAGES)
ROWS = {"xlm-roberta-large": BASELINE, "mnli": MNLI}
RETRIEVAL = ("bucc2018", "tatoeba")

# (row, target, seed): no file at all, or one language dropped
Hole = tuple[str, str, int, bool]
holes = st.lists(
    st.tuples(st.sampled_from(sorted(ROWS)), st.sampled_from(TARGETS), st.sampled_from([1, 2]), st.booleans()),
    max_size=4,
)


def generate_study(numbers: random.Random, seeds: dict[str, list[int]], holes: list[Hole]) -> list[dict[str, Any]]:
    """Documents of two rows; the baseline's retrieval is one run without a seed."""
    documents = []
    for row, intermediate in ROWS.items():
        for target, languages in LANGUAGES.items():
            single = row == "xlm-roberta-large" and target in RETRIEVAL
            for seed in [None] if single else seeds[row]:
                hole = next((hole for hole in holes if hole[:3] == (row, target, seed)), None)
                if hole and hole[3]:
                    continue
                dropped = numbers.choice(languages) if hole else None
                names = ("f1", "exact_match") if target in QA else (METRIC[target],)
                for language in languages:
                    metrics = {name: numbers.uniform(0, 100) for name in names}
                    if language != dropped:
                        documents.append(make_document(target, language, metrics, seed=seed, intermediate=intermediate))
    return documents


def tabulate_slowly(documents: list[dict[str, Any]]) -> dict[str, dict[str, float | int | None]]:
    """The contract, step by step, with nothing shared with the code under test."""
    scores: dict[tuple[str, str, str], dict[int | None, float]] = {}
    for row, intermediate in ROWS.items():
        for target, languages in LANGUAGES.items():
            for metric in ("f1", "exact_match") if target in QA else (METRIC[target],):
                for seed in (None, 1, 2):
                    label = "test" if target in ONE_SET else "dev"
                    total, count = 0.0, 0
                    for document in documents:
                        same_row = document["intermediate"] == intermediate
                        if same_row and (document["target"], document["split"]) == (target, label):
                            if document["seed"] != seed:
                                continue
                            total, count = total + document["metrics"][metric], count + 1
                    if count == len(languages):
                        scores.setdefault((row, target, metric), {})[seed] = total / count
    table: dict[str, dict[str, float | int | None]] = {}
    for row in ROWS:
        line: dict[str, float | int | None] = {}
        tasks = []
        for target in TARGETS:
            cells = []
            for metric in ("f1", "exact_match") if target in QA else (METRIC[target],):
                own = scores.get((row, target, metric), {})
                base = scores.get(("xlm-roberta-large", target, metric), {})
                if row == "xlm-roberta-large":
                    values = list(own.values())
                else:
                    values = []
                    for seed in own:
                        if seed in base:
                            values.append(own[seed] - base[seed])
                        elif None in base:
                            values.append(own[seed] - base[None])
                value = sum(values) / len(values) if values else None
                column = target if target not in QA else target + ("_f1" if metric == "f1" else "_em")
                line[column] = value
                cells.append(value)
            if None not in cells:
                tasks.append(sum(cell for cell in cells if cell is not None) / len(cells))
        line["avg"] = sum(tasks) / 9 if len(tasks) == 9 else None
        line["avg_partial"] = sum(tasks) / len(tasks) if tasks else None
        line["targets_complete"] = len(tasks)
        table[row] = line
    return table


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    number=st.integers(0, 2**32),
    base_seeds=st.sampled_from([[1], [1, 2]]),
    own_seeds=st.sampled_from([[1], [2], [1, 2]]),
    holes=holes,
)
def test_table_equals_the_slow_one(number: int, base_seeds: list[int], own_seeds: list[int], holes: list[Hole]) -> None:
    seeds = {"xlm-roberta-large": base_seeds, "mnli": own_seeds}
    documents = generate_study(random.Random(number), seeds, holes)
    with tempfile.TemporaryDirectory() as folder:
        for index, document in enumerate(documents):
            write_document(Path(folder, "results", str(index % 97)), document)
        assert main(["--results", f"{folder}/results", "--out", f"{folder}/out"]) == 0
        table = {row.pop("row"): row for row in read_table(Path(folder, "out"))}
    slow = tabulate_slowly(documents)
    for name, line in slow.items():
        for column, value in line.items():
            given = table[name][column]
            assert (given == "") == (value is None), (name, column)
            if value is not None:
                assert float(given) == pytest.approx(value, abs=1e-9), (name, column)
