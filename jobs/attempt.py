"""One attempt at a run: its folder, its logs, and its outcome. An attempt never overwrites another one's traces."""

from __future__ import annotations

import os
import platform
import socket
import sys
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import stilts
from stilts.runs import RunFolder, read_json, walk_files, write_json

PACKAGES = ("torch", "transformers", "deepspeed", "tokenizers", "numpy", "pyarrow", "safetensors", "sentencepiece")


@dataclass(frozen=True)
class Attempt:
    """`<run>/attempts/<id>/`, shared by all ranks of one attempt."""

    folder: RunFolder
    id: str
    rank: int

    @property
    def path(self) -> Path:
        return self.folder.attempts / self.id

    @property
    def outcome(self) -> Path:
        """How the attempt ended, written once."""
        return self.path / "outcome.json"

    @property
    def first(self) -> bool:
        return self.rank == 0

    def open_log(self) -> None:
        """From here on everything this process prints, C++ included, goes to `rank<r>.log`."""
        self.path.mkdir(parents=True, exist_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        log = os.open(self.path / f"rank{self.rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]

    def describe(self, facts: dict[str, Any]) -> None:
        """Say in the log and in `attempt.json` where and with what this attempt runs."""
        print(f"run {self.folder.path.name}, attempt {self.id}, rank {self.rank} on {socket.gethostname()}")
        print(f"code {stilts.__file__}")
        print(f"python {sys.executable} {platform.python_version()}")
        if self.first:
            record = {"id": self.id, "host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
            record["node"] = os.environ.get("SLURMD_NODENAME", record["host"])  # what sbatch --exclude calls it
            code = read_json(code_root() / "SNAPSHOT.json") or {}
            write_json(self.path / "attempt.json", {**record, **facts, "code": code, "versions": versions()})

    def age_s(self) -> float:
        """Seconds since this attempt described itself."""
        return time.time() - float((read_json(self.path / "attempt.json") or {}).get("started", time.time()))

    def finish(self, state: str, reason: str, **facts: Any) -> None:
        """Write the outcome once: the first rank that has one speaks for all."""
        path = self.outcome
        print(f"outcome {state}: {reason}")
        if not path.exists():
            write_json(path, {"state": state, "reason": reason, "rank": self.rank, "ended": time.time(), **facts})


def code_root() -> Path:
    """The folder that this code was imported from: a snapshot, or a checkout."""
    return Path(stilts.__file__).resolve().parents[1]


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape a result, without importing them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def supersede(folder: RunFolder) -> None:
    """Set an earlier result aside before a run is computed again: renamed, never deleted.

    Its metric files lose their `.json` suffix, so that no table reads a result that is being replaced.
    """
    old = [folder.done, *walk_files(folder.metrics), *walk_files(folder.predictions)]
    old = [path for path in old if path.exists()]
    if not old:
        return
    number = 1 + len(list(folder.path.glob("superseded/*")))
    for path in old:
        aside = folder.path / "superseded" / f"{number:03d}" / path.relative_to(folder.path)
        aside.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, aside.with_name(aside.name + ".superseded"))
