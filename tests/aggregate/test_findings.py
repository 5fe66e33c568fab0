"""Damaged, doubtful and foreign files: each is named with its reason, and the neighbours keep their numbers."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aggregate.scores import metric_files, reading_cache
from aggregate.tables import MAX_TOLD, main
from tests.aggregate.metric_tree import MNLI, make_document, make_metrics, read_table, write_document, write_task


def document(**changes: Any) -> dict[str, Any]:
    """A file beside the complete PAWS-X baseline: French, with the number 12.5."""
    return make_document("pawsx", "fr", make_metrics("pawsx", 12.5)) | changes


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in document().items() if name != key}


DAMAGE: dict[str, tuple[str | dict[str, Any], str]] = {
    "empty": ("", "unreadable JSON"),
    "cut": ('{"schema": "stilts.metrics/1", "run": "ta', "unreadable JSON"),
    "not_utf8": ('{"schema": "stilts.metrics/1", "run": "\udcff"}', "unreadable JSON"),
    "nan": (document(metrics={"accuracy": float("nan")}), "accuracy is nan, not a finite number"),
    "infinite": (document(metrics={"accuracy": float("inf")}), "accuracy is inf, not a finite number"),
    "negative": (document(metrics={"accuracy": -0.5}), "accuracy is -0.5, outside 0 to 100"),
    "above": (document(metrics={"accuracy": 101}), "accuracy is 101, outside 0 to 100"),
    "text": (document(metrics={"accuracy": "12.5"}), "metrics.accuracy"),
    "metric": (document(metrics={"f1": 12.5}), "pawsx needs the metric accuracy; given: f1"),
    "em": (document(target="mlqa", language="de", metrics={"f1": 12.5}), "mlqa needs the metric exact_match"),
    "language": (document(language="sw"), "language 'sw' is not one of the 7 of pawsx dev"),
    "english_pairs": (document(target="bucc2018", language="en", metrics={"f1": 12.5}), "language 'en'"),
    "no_dev": (document(target="udpos", language="th", metrics={"f1": 12.5}), "29 of udpos dev"),
    "target": (document(target="pawx"), "unknown target 'pawx' of suite xtreme"),
    "toy_target": (document(suite="toy"), "unknown target 'pawsx' of suite toy"),
    "split": (document(split="validation"), "split"),
    "version": (document(schema="stilts.metrics/2"), "unknown schema version 'stilts.metrics/2'"),
    "suite": (document(suite="glue"), "suite"),
    "mode": (document(intermediate={"mode": "single", "tasks": []}), "mode single"),
    "key": (document(sed=3), "sed: unknown key"),
    "no_seed": (without("seed"), "seed: missing"),
    "no_target": (without("target"), "target: missing"),
    "no_intermediate": (without("intermediate"), "intermediate: missing"),
    "trailing": (json.dumps(document()) + " x", "unreadable JSON"),
    "deep": ("[" * 100_000, "unreadable JSON"),
    "too_large": (json.dumps(document()).replace("12.5", "1e400"), "accuracy is inf, not a finite number"),
    "true_metric": (document(metrics={"accuracy": True}), "metrics.accuracy"),
    "null_metric": (document(metrics={"accuracy": None}), "metrics.accuracy"),
    "no_metrics": (document(metrics={}), "metrics: "),
    "metrics_list": (document(metrics=[12.5]), "metrics: "),
    "empty_run": (document(run=""), "run: "),
    "run_number": (document(run=5), "run: "),
    "empty_model": (document(model=""), "model: "),
    "empty_language": (document(language=""), "language: "),
    "seed_text": (document(seed="1"), "seed: "),
    "seed_half": (document(seed=1.5), "seed: "),
    "layer_text": (document(layer="14"), "layer: "),
    "draw_text": (document(draw="first"), "draw: "),
    "no_examples": (document(examples=0), "examples: "),
    "provenance_list": (document(provenance=["abc"]), "provenance: "),
    "stage": (document(stage="dev"), "stage: "),
    "mode_unknown": (document(intermediate={"mode": "mixture", "tasks": ["mnli"]}), "intermediate.mode: "),
    "none_of_tasks": (document(intermediate={"mode": "none", "tasks": ["mnli"]}), "mode none has no tasks"),
    "task_twice": (document(intermediate={"mode": "multitask", "tasks": ["mnli", "mnli"]}), "given a task twice"),
    "tasks_text": (document(intermediate={"mode": "single", "tasks": "mnli"}), "intermediate.tasks: "),
    "mlm_text": (document(intermediate=MNLI | {"mlm": "no"}), "intermediate.mlm: "),
    "surplus": (document(intermediate=MNLI | {"order": 1}), "intermediate.order: unknown key"),
}


@dataclass(frozen=True)
class Told:
    """What the door said of a tree with every kind of damage beside one complete baseline."""

    rows: list[dict[str, str]]
    notes: list[str]
    errors: list[str]
    strict: int


@pytest.fixture(scope="module", params=["cold", "warm"])
def told(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Told:
    """What is said of a first reading, and of one from the cache that an earlier one has left."""
    folder = tmp_path_factory.mktemp("damage")
    results, out = folder / "results", folder / "out"
    write_task(results, "pawsx", 80.0)
    (results / "runs").mkdir()
    for kind, (content, _) in DAMAGE.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (results / "runs" / f"{kind}.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(reading_cache, "LEAST_FILES", 0)
        patch.setattr(metric_files, "TICK_NS", 0)
        options = ["--no-cache"] if request.param == "cold" else []
        if request.param == "warm":
            tabulate_quietly(results, folder / "before")
            patch.setattr(metric_files.MetricFiles, "_read_one", None)  # nothing is opened again
        code, said = tabulate_quietly(results, out, *options)
        strict, _ = tabulate_quietly(results, folder / "strict", "--strict", *options)
    assert code == 0
    lines = said.partition("expected cells")[0].splitlines()
    return Told(read_table(out), (out / "main.md").read_text().splitlines(), lines, strict)


def tabulate_quietly(results: Path, out: Path, *options: str) -> tuple[int, str]:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        return main(["--results", str(results), "--out", str(out), *options]), errors.getvalue()


def test_every_kind_of_damage_is_one_finding_and_the_neighbours_keep_their_numbers(told: Told) -> None:
    assert len(DAMAGE) >= 40
    assert sum(line.startswith("finding: ") for line in told.errors) == len(DAMAGE)
    [row] = told.rows
    assert (row["row"], row["pawsx"], row["targets_complete"]) == ("xlm-roberta-large", "80.0", "1")
    assert told.strict == 1


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_with_its_reason(told: Told, kind: str) -> None:
    _, reason = DAMAGE[kind]
    [line] = [line for line in told.errors if line.startswith(f"finding: runs/{kind}.json: ")]
    assert reason in line
    [noted] = [line for line in told.notes if f"runs/{kind}.json".replace("_", "\\_") in line]
    assert reason in noted.replace("\\_", "_")


def tabulate(results: Path, *options: str) -> tuple[int, list[dict[str, str]], str]:
    out = results.parent / "out"
    code = main(["--results", str(results), "--out", str(out), *options])
    return code, read_table(out), (out / "main.md").read_text()


def test_equal_duplicates_count_once_and_are_noted_once(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    write_document(results / "copies", document(metrics={"accuracy": 80.0}, run="another"))
    write_document(results / "copies", document(metrics={"accuracy": 80.0, "loss": 0.3}))
    code, [row], notes = tabulate(results)
    assert (code, row["pawsx"]) == (0, "80.0")
    assert notes.count("duplicate") == 1
    assert "copies/000000.json, copies/000001.json, pawsx-" in notes
    assert "conflict" not in notes


def test_a_file_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    with open(os.fsencode(results) + b"/\xff.json", "w") as file:
        file.write("{")
    assert "\ufffd.json: unreadable JSON" in tabulate(results)[2]


def test_different_duplicates_are_a_conflict_that_empties_the_cell(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    write_task(results, "xnli", 70.0)
    write_document(results / "a", document())
    write_document(results / "b", document())
    code, [row], notes = tabulate(results)
    assert (code, row["pawsx"], row["xnli"]) == (0, "", "70.0")
    [line] = [line for line in notes.splitlines() if "different numbers" in line]
    assert "a/000000.json, b/000000.json, pawsx-" in line
    assert "accuracy 12.5 against accuracy 80.0" in line
    assert "conflict: fr" in notes
    assert tabulate(results, "--strict")[0] == 1


def test_a_conflict_in_one_seed_leaves_the_other_seed(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0, seed=1)
    write_task(results, "pawsx", 82.0, seed=2)
    write_document(results, document())
    _, [row], notes = tabulate(results)
    assert row["pawsx"] == "82.0"
    assert "seed 1 conflict: fr" in notes


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    (results / "closed.json").symlink_to("/proc/self/mem")  # fails for root too, unlike a mode of 000
    assert "closed.json: cannot be read" in tabulate(results)[2]


def test_a_file_far_larger_than_any_metric_file_is_not_read(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    (results / "tokenizer.json").write_text("{" + " " * (1 << 20))
    assert "Findings\n\nNone." in tabulate(results)[2]


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: None,
        lambda folder: folder.mkdir(),
        lambda folder: write_document(folder, {"schema": "other/1"}),
    ],
    ids=["absent", "empty", "foreign"],
)
def test_nothing_to_read_is_an_error_and_writes_nothing(
    tmp_path: Path, make: Callable[[Path], object], capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "results")
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: --results")


def test_nothing_but_damage_is_an_error_that_names_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_document(tmp_path / "results", document(language="xx"))
    assert main(["--results", str(tmp_path / "results"), "--out", str(tmp_path / "out")]) == 2
    assert "000000.json: language 'xx'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_thousands_of_findings_fit_a_terminal_and_stand_in_the_notes(tmp_path: Path) -> None:
    results, many = tmp_path / "results", 2_000
    write_task(results, "pawsx", 80.0)
    (results / "copies").mkdir()
    for number in range(many):
        kind = number % 4
        text = json.dumps(document(seed=number) | ({"sed": 3} if kind == 0 else {}))
        (results / "copies" / f"{number}.json").write_text(text)
        if kind == 1:
            (results / "copies" / f"{number}.again.json").write_text(text)
        elif kind == 2:
            (results / "copies" / f"{number}.other.json").write_text(text.replace("12.5", "13.5"))
    code, errors = tabulate_quietly(results, tmp_path / "out", "--no-cache")
    lines = [line for line in errors.splitlines() if line.startswith("finding: ")]
    noted = [line for line in (tmp_path / "out" / "main.md").read_text().splitlines() if line.startswith("- copies/")]
    assert (code, len(lines)) == (0, MAX_TOLD)
    assert len(noted) == many * 3 // 4
    assert f"and {len(noted) - MAX_TOLD:,} findings more, all of them in {tmp_path / 'out' / 'main.md'}" in errors


def test_a_finding_about_thousands_of_files_names_the_first_of_them(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_task(results, "pawsx", 80.0)
    for _ in range(100):
        write_document(results / "copies", document(seed=None))
    _, _, notes = tabulate(results)
    [line] = [line for line in notes.splitlines() if "seed null beside seeds 1" in line]
    assert "copies/000019.json and 80 files more: " in line
    assert "copies/000020.json" not in line
