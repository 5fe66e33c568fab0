"""The fast reading of metric files says what the plain one says, of sound files and of damaged ones."""

from __future__ import annotations

import copy
import json
import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregate.scores.metric_files import MetricFiles, condense_done
from aggregate.scores.readings import DAMAGED, NOTHING, SCORE, STRANGE, Columns, Label, Spot, Tables
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


class Said(NamedTuple):
    """What a file says, or why it says nothing."""

    kind: int
    text: str = ""
    label: Label | None = None
    spot: Spot | None = None
    metrics: dict[str, float] | None = None
    recipe: str = ""
    caveat: str = ""


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


def plainly(content: bytes) -> Said:
    try:
        model = parse_metric_file(content)
    except ValueError as error:
        return Said(DAMAGED, text=str(error))
    if model is None:
        return Said(NOTHING)
    label = Label(model.run, row_key(model), model.suite, model.stage, model.seed)
    spot = Spot(model.target, model.language, model.split, model.layer)
    recipe, caveat = model.provenance.get("recipe"), model.provenance.get("caveat")
    return Said(
        SCORE, "", label, spot, model.metrics, recipe if isinstance(recipe, str) else "", str(caveat) if caveat else ""
    )


def quickly(contents: list[bytes]) -> list[Said]:
    """What one reader says of these files, one after the other; a target or language that is not known is not its
    parsing's business."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"{number}.json" for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            Path(folder, name).write_bytes(content)
        files = MetricFiles(folder, Tables())
        columns = files.read([("", names)])
    return [show(columns, files.tables, number) for number in range(len(contents))]


def show(columns: Columns, tables: Tables, number: int) -> Said:
    texts = [*tables.texts.values, ""]
    kind = SCORE if columns.kind[number] == STRANGE else int(columns.kind[number])
    if kind != SCORE:
        return Said(kind, text=texts[columns.text[number]])
    names = tables.metrics.values[columns.metrics[number]]
    first = int(columns.first[number])
    values = columns.values[first : first + len(names)].tolist()
    return Said(
        SCORE,
        "",
        tables.labels.values[columns.label[number]],
        tables.spots.values[columns.spot[number]],
        dict(zip(names, values, strict=True)),
        texts[columns.recipe[number]],
        texts[columns.caveat[number]],
    )


@settings(deadline=None)
@given(documents())
def test_a_reader_that_knows_the_run_says_the_same(document: dict[str, Any]) -> None:
    sound, content = json.dumps(SOUND).encode(), json.dumps(document).encode()
    contents = [sound, sound, content, content, sound]
    found, expected = quickly(contents), [plainly(one) for one in contents]
    assert found == expected
    for one, other in zip(found, expected, strict=True):
        if one.label and other.label and one.spot and other.spot:
            parts, others = (*one.label, *one.spot), (*other.label, *other.spot)
            assert [type(part) for part in parts] == [type(part) for part in others]


@settings(deadline=None)
@given(st.binary(max_size=30))
def test_bytes_that_are_no_metric_file_are_answered_alike(content: bytes) -> None:
    assert quickly([content]) == [plainly(content)]


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b'{"output": "x", "needs": {"a": "y"}, "facts": {"tokens": 5}}', {"output": "x", "needs": {"a": "y"}}),
        (b'{"output": "x", "earlier": ["\\ud800"], "seconds": NaN}', {"output": "x", "earlier": ["\ud800"]}),
        (b'{"output": "x"', None),
        (b"[1]", None),
        (b"\xff", None),
        (b"", None),
    ],
)
def test_of_a_marker_the_facts_are_kept_that_say_whether_scores_stand(
    content: bytes, facts: dict[str, Any] | None
) -> None:
    assert json.loads(condense_done(content)) == facts
