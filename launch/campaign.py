"""A campaign's folder: run folders at its top, everything of the launcher in `campaign/`."""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from launch.plan import Plan
from launch.rows import Row
from launch.scale import find_pool
from stilts.errors import UserError
from stilts.runs import RunFolder, canonical_json, read_json, write_json
from stilts.tasks.catalogue import TARGETS, splits, target_languages


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

    def write_grid(self, plan: Plan) -> None:
        """Keep the resolved grid, what its tables should hold, and which runs start from which encoder."""
        grid = plan.grid.model_dump(mode="json")
        resolved = {"grid": grid, "expected": expected_cells(plan), "children": find_children(plan)}
        for path in (self.folder / "grid.json", self.folder / "grids" / f"{plan.grid.name}.json"):
            if read_json(path) != resolved:
                write_json(path, resolved)

    def write_specs(self, plan: Plan, run_ids: Iterator[str] | list[str]) -> None:
        """Write the specification of each run that is about to be started; one that is right stays untouched."""
        for run_id in run_ids:
            spec, path = plan.runs[run_id].spec(), self.run(run_id).spec
            old = read_json(path)
            if old and old.get("digest") != spec["digest"]:
                raise UserError(
                    f"{path}: another run has this name (digest {str(old.get('digest'))[:16]}, wanted "
                    f"{spec['digest'][:16]}); move that folder away, two runs cannot share one"
                )
            if canonical_json(old) != canonical_json(spec):
                write_json(path, spec)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Let one launcher at a time act on this campaign. Raises UserError naming the one that is at work.

        The lock is a file created exclusively, which works where `flock` does nothing (Lustre, some NFS).
        """
        path = self.folder / "launcher.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--root: {path.parent} cannot be made ({error.strerror}); name another folder") from None
        mine = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time(), "id": uuid.uuid4().hex}
        while not _create(path, mine):
            owner = _dead_owner(path)
            # Successors remove a dead lock in turn, each looking again: a slow one must not remove the lock that
            # a faster one has made since.
            turn = path.with_suffix(".turn")
            if owner is not None and _create(turn, mine):
                try:
                    if read_json(path) == owner:
                        path.unlink()
                finally:
                    turn.unlink()
            elif _dead_owner(turn) is not None:
                turn.unlink(missing_ok=True)
        try:
            yield
        finally:
            if (read_json(path) or {}).get("id") == mine["id"]:
                path.unlink(missing_ok=True)


def _create(path: Path, content: dict[str, Any]) -> bool:
    """Create a whole file under a name that must be free: `link` is atomic on NFS too, `O_EXCL` was not always."""
    temporary = path.with_suffix(f".{content['id']}.new")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def _dead_owner(path: Path) -> dict[str, Any] | None:
    """What a lock says whose process is dead; None where it is free by now. Raises UserError where it may live."""
    owner = read_json(path)
    if owner is None and not path.exists():
        return None
    owner = owner or {}
    if owner.get("host") != socket.gethostname() or _alive(int(owner.get("pid", 0))):
        raise UserError(
            f"{path}: a launcher works on this campaign (process {owner.get('pid')} on {owner.get('host')}, "
            f"since {_clock(owner.get('time'))}); wait for it, or delete this file if it is gone"
        )
    return owner


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


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
