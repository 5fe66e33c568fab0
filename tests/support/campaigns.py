"""Campaigns of the tests: grid files written from Python, and the project's own commands run on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

# A made-up study small enough for a test: a random encoder of two layers, a handful of examples.
TINY_TOY: dict[str, Any] = {
    "name": "tiny",
    "suite": "toy",
    "axes": {"model": "scratch", "intermediate": ["none", "mnli"], "target": ["xnli", "tatoeba"], "seed": [1]},
    "toy": {"sizes": {"train": 64, "dev": 40, "test": 40}},
    "pretrain": {"tokenizer": "words", "positions": 130, "layers": 2, "hidden": 32, "feed_forward": 64, "heads": 2},
    "intermediate": {"precision": "fp32", "learning_rate": 1e-3, "batch_size": 16, "epochs": 2, "max_length": 96},
    "target": {"precision": "fp32", "learning_rate": 1e-3, "batch_size": 16, "epochs": 2, "max_length": 96},
    "retrieval": {"max_length": 96},
}


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, mapping by mapping."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merge(result[key], value) if both else value
    return result


@dataclass
class Study:
    """One grid file with its campaign root, worked on through the command line as a user does."""

    folder: Path
    grid: Mapping[str, Any]
    options: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    code: Path = ROOT

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write(self.grid)

    @property
    def path(self) -> Path:
        return self.folder / "grid.yaml"

    @property
    def root(self) -> Path:
        return self.folder / "runs"

    def write(self, grid: Mapping[str, Any]) -> None:
        """Replace the grid file."""
        self.path.write_text(yaml.safe_dump(dict(grid), sort_keys=False), encoding="utf-8")

    def command(self, script: str, *arguments: str) -> list[str]:
        return [sys.executable, str(self.code / script), *arguments]

    def launch(self, *arguments: str, check: bool = True, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """`launch/grid.py` on this study."""
        options = ("--grid", str(self.path), "--root", str(self.root), *self.options, *arguments)
        return self.run(self.command("launch/grid.py", *options), check, timeout_s)

    def run(self, command: list[str], check: bool = True, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """A command in this study's environment; its output is in the error where it fails."""
        environment = {**os.environ, **self.environment}
        result = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and result.returncode != 0:
            raise AssertionError(f"{command} gave {result.returncode}\n{result.stdout}\n{result.stderr}")
        return result

    def status(self) -> dict[str, dict[str, Any]]:
        """`launch/status.py --json`: run id to its entry."""
        options = ("--grid", str(self.path), "--root", str(self.root), "--json")
        found = json.loads(self.run(self.command("launch/status.py", *options)).stdout)
        return {run["id"]: run for run in found["runs"]}

    def states(self) -> dict[str, str]:
        """Run id to state."""
        return {run_id: run["state"] for run_id, run in self.status().items()}

    def plan(self) -> dict[str, Any]:
        """`launch/grid.py --dry-run --json`."""
        return dict(json.loads(self.launch("--dry-run", "--json").stdout))

    def find(self, prefix: str) -> str:
        """The only run of the plan whose id starts with `prefix`."""
        (found,) = self.plan_ids(prefix)
        return found

    def plan_ids(self, prefix: str) -> list[str]:
        """The runs of the plan whose ids start with `prefix`."""
        return [str(run["id"]) for run in self.plan()["runs"] if run["id"].startswith(prefix)]

    def logs(self, run_id: str) -> str:
        """Everything that all attempts of a run printed."""
        return "\n".join(path.read_text() for path in sorted(self.root.glob(f"{run_id}/attempts/*/*.log")))

    def tables(self, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`aggregate/tables.py` on this study's results."""
        options = ("--results", str(self.root), "--out", str(out), *arguments)
        return self.run(self.command("aggregate/tables.py", *options))


def cone(plan: Mapping[str, Any], run_id: str) -> set[str]:
    """A run of a plan and everything that depends on it, found the slow way."""
    found = {run_id}
    while True:
        more = {run["id"] for run in plan["runs"] if found.intersection(run["parents"])} - found
        if not more:
            return found
        found |= more
