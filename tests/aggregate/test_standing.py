"""Scores count only while the run behind them stands: finished, and built on what its parents hold now."""

from __future__ import annotations

from pathlib import Path

from aggregate.scores.standing import stands
from stilts.runs import write_json


def make_run(root: Path, name: str, output: str | None, needs: dict[str, str] | None = None) -> Path:
    """A run's folder as a launcher leaves it; `output` None: not finished."""
    folder = root / name
    write_json(folder / "run.json", {"id": name})
    if output is not None:
        write_json(folder / "DONE", {"run": name, "output": output, "needs": needs or {}})
    return folder


def test_a_folder_that_no_launcher_made_always_stands(tmp_path: Path) -> None:
    assert stands(tmp_path)


def test_an_unfinished_run_does_not(tmp_path: Path) -> None:
    assert not stands(make_run(tmp_path, "target", None))


def test_a_run_stands_on_the_output_that_it_was_built_on(tmp_path: Path) -> None:
    make_run(tmp_path, "encoder", "one")
    target = make_run(tmp_path, "target", "x", {"encoder": "one"})
    assert stands(target)
    make_run(tmp_path, "encoder", "two")
    assert not stands(target)


def test_a_run_stands_on_weights_that_were_removed_and_came_back_otherwise(tmp_path: Path) -> None:
    target = make_run(tmp_path, "target", "x", {"encoder": "one"})
    encoder = make_run(tmp_path, "encoder", "two")
    write_json(encoder / "DONE", {"run": "encoder", "output": "two", "earlier": ["zero", "one"], "needs": {}})
    assert stands(target)


def test_a_run_taken_along_without_its_parents_stands(tmp_path: Path) -> None:
    assert stands(make_run(tmp_path, "target", "x", {"encoder": "one"}))
