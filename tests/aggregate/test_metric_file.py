"""The metric file itself: canonical form, what is refused, and that it survives writing and reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stilts.errors import UserError
from stilts.results import MetricFile, RowKey, parse_metric_file, read_metric_file, row_key, write_metric_file
from tests.aggregate.metric_tree import make_document


def parse(**changes: Any) -> MetricFile:
    document = make_document("xnli", "sw", {"accuracy": 71.3}) | changes
    metric = parse_metric_file(json.dumps(document).encode())
    assert metric is not None
    return metric


@pytest.mark.parametrize(
    ("mode", "tasks", "canonical"),
    [
        ("multitask", ["squad1", "mnli"], ("multitask", ("mnli", "squad1"))),
        ("sequential", ["squad1", "mnli"], ("sequential", ("squad1", "mnli"))),
        ("sequential", ["mnli"], ("single", ("mnli",))),
        ("multitask", ["mnli"], ("single", ("mnli",))),
        ("none", [], ("none", ())),
    ],
)
def test_intermediate_has_one_canonical_form(mode: str, tasks: list[str], canonical: tuple[str, tuple[str]]) -> None:
    key = row_key(parse(intermediate={"mode": mode, "tasks": tasks, "mlm": False, "translated": False}))
    assert (key.mode, key.tasks) == canonical


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"intermediate": {"mode": "single", "tasks": ["mnli", "qqp"]}}, "mode single has one task"),
        ({"intermediate": {"mode": "none", "tasks": ["mnli"]}}, "mode none has no tasks"),
        ({"intermediate": {"mode": "multitask", "tasks": ["mnli", "mnli"]}}, "given a task twice"),
        ({"intermediate": {"mode": "parallel", "tasks": ["mnli", "qqp"]}}, "intermediate.mode"),
        ({"varaint": "x"}, "varaint: unknown key"),
        ({"seed": "1"}, "seed"),
        ({"seed": True}, "seed"),
        ({"split": "train"}, "split"),
        ({"metrics": {}}, "metrics"),
        ({"metrics": {"accuracy": "71.3"}}, "metrics.accuracy"),
        ({"metrics": {"accuracy": None}}, "metrics.accuracy"),
        ({"metrics": {"accuracy": float("nan")}}, "accuracy is nan"),
        ({"metrics": {"accuracy": float("-inf")}}, "accuracy is -inf"),
        ({"metrics": {"accuracy": 100.5}}, "accuracy is 100.5, outside 0 to 100"),
        ({"examples": 0}, "examples"),
        ({"schema": "stilts.metrics/2"}, "unknown schema version 'stilts.metrics/2'"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace(".", r"\.")):
        parse(**changes)


def test_all_problems_of_a_file_are_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"split.*accuracy is nan"):
        parse(split="train", metrics={"accuracy": float("nan")})


def test_defaults_are_those_of_the_contract() -> None:
    metric = parse()
    defaults = (metric.model, metric.variant, metric.suite, metric.layer, metric.draw, metric.stage)
    assert defaults == ("xlm-roberta-large", "", "xtreme", None, None, "target")
    assert row_key(metric) == RowKey() and row_key(metric).is_baseline


def test_written_file_reads_back_equal_and_refuses_other_json(tmp_path: Path) -> None:
    metric = parse(seed=None, suite="toy", provenance={"anything": [1, {"deep": None}]})
    write_metric_file(tmp_path / "deep" / "sw.json", metric)
    assert read_metric_file(tmp_path / "deep" / "sw.json") == metric
    assert json.loads((tmp_path / "deep" / "sw.json").read_text())["schema"] == "stilts.metrics/1"
    (tmp_path / "other.json").write_text('{"schema": "something.else/1"}')
    with pytest.raises(UserError, match=r"other\.json: not a metric file"):
        read_metric_file(tmp_path / "other.json")
    with pytest.raises(UserError, match=r"absent\.json"):
        read_metric_file(tmp_path / "absent.json")
