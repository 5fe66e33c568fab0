"""What lies in the folders of runs beside their scores: specifications, DONE records, attempts. Each folder is read
once, whoever asks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from aggregate.scores.metric_files import read_bytes
from stilts.runs import DONE_SCHEMA


@dataclass(frozen=True)
class AttemptRecord:
    """`begun` and `outcome` are its first and last word; `logs` are names in its folder."""

    name: str
    begun: Mapping[str, Any]
    outcome: Mapping[str, Any]
    logs: tuple[str, ...]


@dataclass(frozen=True)
class RunRecord:
    """`done` is None without a DONE record of ours; `attempts` are sorted by name; the others are empty where there is
    nothing whole."""

    spec: Mapping[str, Any] = field(default_factory=dict)
    done: Mapping[str, Any] | None = None
    restarts: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[AttemptRecord, ...] = ()


class RunRecords:
    """The records of the runs below a results folder."""

    def __init__(self, results: Path) -> None:
        self.results = os.fspath(results)
        self._records: dict[str, RunRecord] = {}

    def read(self, run: str) -> RunRecord:
        """An empty record where the run has no folder yet."""
        if run not in self._records:
            # A name that somebody's metric file gave may lead out of here.
            strange = "/" in run or run in ("", ".", "..")
            self._records[run] = RunRecord() if strange else _read_run(f"{self.results}/{run}")
        return self._records[run]

    def read_progress(self, run: str) -> dict[str, Any]:
        """The last heartbeat."""
        return read_object(f"{self.results}/{run}/progress.json")


def _read_run(folder: str) -> RunRecord:
    done = read_object(f"{folder}/DONE")
    return RunRecord(
        read_object(f"{folder}/run.json"),
        done if done.get("schema") == DONE_SCHEMA else None,
        read_object(f"{folder}/restarts.json"),
        tuple(_read_attempt(f"{folder}/attempts/{name}", name) for name in _list_folders(f"{folder}/attempts")),
    )


def _list_folders(path: str) -> list[str]:
    """Sorted names; none where there is no such folder."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return []


def _read_attempt(path: str, name: str) -> AttemptRecord:
    begun, outcome = read_object(f"{path}/attempt.json"), read_object(f"{path}/outcome.json")
    try:
        logs = [name for name in os.listdir(path) if name.endswith(".log")]
    except OSError:
        logs = []  # the folder is closed, or has gone
    return AttemptRecord(name, begun, outcome, tuple(sorted(logs, key=lambda name: (len(name), name))))


def read_object(path: str) -> dict[str, Any]:
    """The JSON object of a file; an empty one where there is none, or no whole one."""
    try:
        _, content = read_bytes(path, None)  # a campaign has fifty thousand: Python's own files take twice as long
        value = orjson.loads(content or b"")
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
