"""A campaign's folder: run folders at its top, everything of the launcher in `campaign/`."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from launch.plan import Plan
from launch.rows import Row
from launch.scale import find_pool
from stilts.errors import UserError
from stilts.runs import Run, RunFolder, canonical_json, read_json, write_bytes, write_json
from stilts.tasks.catalogue import TARGETS, splits, target_languages
from stilts.turns import SILENCE_S, Taken, Turn, is_dead, take

WRITERS = 16  # threads that write specifications


@dataclass(frozen=True)
class Campaign:
    """One root folder. Run folders may be shared by several grids; a run is the same run in all of them."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "campaign"

    @property
    def submissions(self) -> Path:
        return self.folder / "submissions"

    @property
    def code(self) -> Path:
        return self.folder / "code"

    def run(self, run_id: str) -> RunFolder:
        """The folder of one run."""
        return RunFolder(self.root / run_id)

    def write_grid(self, plan: Plan) -> list[str]:
        """Keep the resolved grid, what its tables should hold, which runs start from which encoder, and all its runs.

        Returns the runs that the grid had when it was kept the last time.
        """
        kept = self._grid_file(plan.grid.name)
        before = (read_json(kept) or {}).get("runs", [])
        grid = plan.grid.model_dump(mode="json")
        resolved = {"grid": grid, "expected": expected_cells(plan), "children": find_children(plan)}
        content = orjson.dumps({**resolved, "runs": list(plan.runs)}, option=orjson.OPT_INDENT_2) + b"\n"
        for path in (self.folder / "grid.json", kept):
            if not path.exists() or path.read_bytes() != content:
                write_bytes(path, content)
        return list(before)

    def runs_of_other_grids(self, name: str) -> set[str] | None:
        """Every run that a grid of another name was launched with on this root; None where one does not say."""
        runs: set[str] = set()
        for path in self._grid_file(name).parent.glob("*.json"):
            if path != self._grid_file(name):
                named = (read_json(path) or {}).get("runs")
                if named is None:
                    return None
                runs.update(named)
        return runs

    def _grid_file(self, name: str) -> Path:
        return self.folder / "grids" / f"{name}.json"

    def write_specs(self, plan: Plan, run_ids: Iterable[str]) -> None:
        """Write the specification of each run that is about to be started; one that is right stays untouched.

        Many at once: each waits for the disk (or the file server), not for this machine.
        """
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(lambda run_id: self._write_spec(plan.runs[run_id]), run_ids))

    def _write_spec(self, run: Run) -> None:
        spec, path = run.spec(), self.run(run.id).spec
        old = read_json(path)
        if old and old.get("digest") != spec["digest"]:
            raise UserError(
                f"{path}: another run has this name (digest {str(old.get('digest'))[:16]}, wanted "
                f"{spec['digest'][:16]}); move that folder away, two runs cannot share one"
            )
        if canonical_json(old) != canonical_json(spec):
            write_json(path, spec)

    def write_withheld(self, runs: Mapping[str, str]) -> None:
        """Keep why runs that could be submitted were not, by id."""
        if runs or self.read_withheld():
            write_json(self.folder / "withheld.json", runs)

    def read_withheld(self) -> dict[str, str]:
        """Runs that wait outside of the queue, and for what."""
        return read_json(self.folder / "withheld.json") or {}

    @contextmanager
    def lock(self) -> Iterator[Turn]:
        """Let one launcher at a time act on this campaign. Raises UserError naming the one that is at work.

        The place of a launcher that died on this host is taken at once, that of one on another host when its
        heartbeat has been silent for two minutes.
        """
        path = self.folder / "launcher.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--root: {path.parent} cannot be made ({error.strerror}); name another folder") from None
        try:
            turn = take(path, is_dead)
        except Taken as taken:
            raise UserError(_at_work(path, taken.owner or {})) from None
        turn.beat()
        try:
            yield turn
        finally:
            turn.release()


def _at_work(path: Path, owner: Mapping[str, Any]) -> str:
    told = (
        f"{path}: a launcher works on this campaign (process {owner.get('pid')} on {owner.get('host')}, "
        f"since {_clock(owner.get('time'))}); wait for it"
    )
    if owner and owner.get("host") != socket.gethostname():
        return f"{told}; if it is dead, the same command takes over {SILENCE_S:.0f} s after its last heartbeat"
    return f"{told}, or delete this file if it is gone"


def _clock(seconds: Any) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds)) if seconds else "an unknown time"


def expected_cells(plan: Plan) -> dict[str, Any]:
    """What the tables of this grid should hold: rows, targets with languages, seeds, and the run behind each cell; of a
    scale block the points of its curves, each with the number of its row."""
    rows: dict[Any, dict[str, Any]] = {}
    for (row, target), runs in plan.cells.items():
        entry = rows.setdefault(row, {"model": row.model_name, **row.intermediate, "variant": row.variant, "runs": {}})
        entry["runs"][target] = {str(seed): run_id for seed, run_id in runs.items()}
    asked = {target for _, target in plan.cells}
    grid = plan.grid
    targets = {
        name: {split: _languages(name, split, grid.suite, grid.languages_of(name)) for split in splits(name)}
        for name in TARGETS
        if name in asked
    }
    seeds = sorted({seed for runs in plan.cells.values() for seed in runs})
    expected = {"suite": grid.suite, "targets": targets, "seeds": seeds, "rows": list(rows.values())}
    return expected | ({"scale": _marks(plan, list(rows))} if grid.scale else {})


def _marks(plan: Plan, rows: list[Row]) -> dict[str, Any]:
    """The points of a scale block. Two blocks of one pool and seed have the same draws under the same numbers."""
    assert plan.grid.scale is not None, "only a scale block has points"
    scale, numbers = plan.grid.scale, {row: number for number, row in enumerate(rows)}
    points = sorted((place, variant, numbers[row]) for place, variant, row in plan.points)
    marks = [{**asdict(place), "variant": variant, "row": number} for place, variant, number in points]
    return {"pool": sorted(find_pool(scale.tasks, plan.grid.suite)), "seed": scale.seed, "points": marks}


def find_children(plan: Plan) -> dict[str, list[str]]:
    """Runs that start from each intermediate encoder, whether they are submitted yet or not."""
    children: dict[str, list[str]] = {}
    for run in plan.runs.values():
        for parent in run.parents:
            if plan.runs[parent].stage == "intermediate":
                children.setdefault(parent, []).append(run.id)
    return children


def _languages(target: str, split: str, suite: str, asked: list[str] | None) -> list[str]:
    expected = target_languages(target, split, suite)
    return [language for language in expected if asked is None or language in asked]
