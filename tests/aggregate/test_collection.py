"""The columnar collection says what the slow one says, of sound, doubtful and damaged trees."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate.scores.collection import Collection, collect, digest_contents
from aggregate.scores.expectation import Expected, define_scope
from aggregate.scores.merging import SetKey
from aggregate.scores.selection import LabelPlaces, RunPlaces, enters, select
from stilts.results import DEFAULT_MODEL, RowKey
from tests.aggregate.plain_collection import PlainCollection, PlainKey, collect_plainly, select_plainly
from tests.aggregate.random_trees import PLANNED, write_tree

GRID = Expected.model_validate(
    {
        "seeds": [1],
        "rows": [
            {"mode": "none", "runs": {"pawsx": {"1": "target-a"}, "bucc2018": {"1": "retrieval-c"}}},
            {"mode": "single", "tasks": ["mnli"], "runs": {"xquad": {"1": "target-a"}}},
        ],
    }
)


def compare(collection: Collection, plain: PlainCollection) -> None:
    metrics: dict[PlainKey, dict[str, float]] = {}
    conflicts: set[PlainKey] = set()
    for one in collection.sets:
        conflicts |= {PlainKey(one.key, language) for language in one.conflicts}
        for metric, numbers in one.numbers.items():
            for language, value in numbers.items():
                metrics.setdefault(PlainKey(one.key, language), {})[metric] = value
    recipes: dict[SetKey, dict[str, str]] = {}
    for key in (*plain.metrics, *plain.conflicts):
        own = recipes.setdefault(key.of, {})
        for recipe, file in plain.recipes[key].items():
            own[recipe] = min(own.get(recipe, file), file)
    assert metrics == plain.metrics
    assert conflicts == plain.conflicts
    assert {one.key: one.recipes for one in collection.sets} == recipes
    assert collection.seedless == plain.seedless
    assert collection.caveats == plain.caveats
    assert collection.findings == plain.findings
    assert (collection.files, collection.digest) == (plain.files, plain.digest)


@settings(max_examples=60, deadline=None)
@given(number=st.integers(0, 2**32), files=st.integers(0, 60), planned=st.booleans())
def test_collection_and_selection_equal_the_slow_ones(number: int, files: int, planned: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_tree(root, random.Random(number), files)
        runs = PLANNED if planned else {}
        collection, plain = collect(root, runs), collect_plainly(root, runs)
        compare(collection, plain)
        for split in ("dev", "test"):
            scope = define_scope(GRID if planned else None, collection, split)
            sets = [one for one in collection.sets if enters(one, scope, Counter())]
            places = LabelPlaces(sets, scope), RunPlaces(sets, scope, collection.seedless)
            found, left_out, elsewhere = select_plainly(plain, scope, *places)
            selection = select(collection, scope)
            assert selection.found == found
            assert selection.left_out == left_out
            assert selection.elsewhere == elsewhere


def test_a_run_is_named_by_the_sets_of_no_plan(tmp_path: Path) -> None:
    write_tree(tmp_path, random.Random(1), 40)
    collection = collect(tmp_path, PLANNED)
    assert collection.runs
    assert all(isinstance(key.owner, RowKey) and key.owner.model == DEFAULT_MODEL for key in collection.runs)
    assert all(run not in PLANNED for key, runs in collection.runs.items() if key.stage == "target" for run in runs)


@pytest.mark.parametrize("same", [True, False])
def test_digests_that_begin_alike_are_put_in_order(same: bool) -> None:
    heads = [b"\x01" * 8, b"\x01" * 8 if same else b"\x00" * 8]
    digests = [heads[0] + b"\x05" * 24, heads[1] + b"\x02" * 24, b"\xff" * 32]
    expected = hashlib.sha256("\n".join(sorted(one.hex() for one in digests)).encode()).hexdigest()
    assert digest_contents(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)) == expected
