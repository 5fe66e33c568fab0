"""The fast reading of metric files says what the plain one says, of sound files and of damaged ones."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aggregate.scores.merging import Metric
from aggregate.scores.metric_files import MetricFiles
from stilts.results import parse_metric_file, row_key

SOUND: dict[str, Any] = {
    "schema": "stilts.metrics/1",
    "run": "target-xnli-a+b-s1-12345678",
    "model": "xlm-roberta-large",
    "variant": "",
    "suite": "xtreme",
    "stage": "target",
    "intermediate": {"mode": "multitask", "tasks": ["b", "a"], "mlm": True, "translated": False},
    "target": "xnli",
    "language": "de",
    "split": "dev",
    "seed": 1,
    "layer": None,
    "draw": None,
    "metrics": {"accuracy": 71.25},
    "examples": 100,
    "provenance": {"recipe": "12345678"},
}
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 120),
    st.sampled_from([math.nan, math.inf, 1e400, -0.5, 100.5, 50.0, 2**70]),
    st.sampled_from(["", "dev", "test", "train", "fr", "toy", "single", "none", "intermediate", "stilts.metrics/2"]),
    st.builds(list),
    st.builds(dict),
    st.lists(st.sampled_from(["a", "b", 1, None]), max_size=2),
    st.dictionaries(st.sampled_from(["accuracy", "f1", "mode", ""]), st.sampled_from([1, 2.5, True, "3"]), max_size=2),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """The sound one with up to three changes: a key gone, a key too many, another value at any place."""
    document = copy.deepcopy(SOUND)
    for _ in range(draw(st.integers(0, 3))):
        inside = [part for part in (document.get("intermediate"), document.get("metrics")) if isinstance(part, dict)]
        place: dict[str, Any] = draw(st.sampled_from([document, document, *inside]))
        key = draw(st.sampled_from([*place, "surplus"]))
        if draw(st.booleans()):
            place[key] = draw(values)
        else:
            place.pop(key, None)
    return document


def plainly(content: bytes) -> Metric | str | None:
    try:
        model = parse_metric_file(content)
    except ValueError as error:
        return str(error)
    return None if model is None else Metric.of(model, row_key(model))


def fast(files: MetricFiles, content: bytes) -> Metric | str | None:
    try:
        return files._parse(content)
    except ValueError as error:
        return str(error)


@given(documents())
def test_a_reader_that_knows_the_run_says_the_same(document: dict[str, Any]) -> None:
    files = MetricFiles(Path())
    sound = json.dumps(SOUND).encode()
    assert fast(files, sound) == plainly(sound) == fast(files, sound)
    content = json.dumps(document).encode()
    for _ in range(2):
        found, expected = fast(files, content), plainly(content)
        assert found == expected
        if isinstance(found, Metric) and isinstance(expected, Metric):
            assert [type(value) for value in found] == [type(value) for value in expected]
            assert [type(value) for value in found.metrics.values()] == [float] * len(found.metrics)


@given(st.binary(max_size=30))
def test_bytes_that_are_no_metric_file_are_answered_alike(content: bytes) -> None:
    assert fast(MetricFiles(Path()), content) == plainly(content)
