"""What the folder of a run tells: its state, its configuration, its parents, and every attempt at it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from aggregate.scores.records import take_mapping, take_names, take_number
from aggregate.sheets.run_costs import HOUR_S, count_devices
from stilts.runs import DONE_SCHEMA

ENDED_BADLY = ("failed", "cancelled", "blocked")


@dataclass(frozen=True)
class Attempt:
    """`started` and `ended` are seconds since 1970, None where they are not recorded; `logs` are names in its folder,
    `begun` is all that its first word says."""

    name: str
    state: str
    reason: str
    started: float | None
    ended: float | None
    begun: Mapping[str, Any]
    logs: tuple[str, ...]

    @property
    def hours(self) -> float | None:
        """From its first to its last word."""
        if self.started is None or self.ended is None:
            return None
        return max(0.0, self.ended - self.started) / HOUR_S


@dataclass(frozen=True)
class RunFacts:
    """`state` is one of done, running, failed, cancelled, blocked, missing, as the folder alone tells it. An attempt
    without an end runs, or was killed without a word: no clock is asked, launch/status.py knows."""

    id: str
    state: str = "missing"
    reason: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)
    done: Mapping[str, Any] = field(default_factory=dict)
    attempts: tuple[Attempt, ...] = ()

    @property
    def parents(self) -> tuple[str, ...]:
        return take_names(self.spec, "parents")

    @property
    def needs(self) -> tuple[str, ...]:
        """The parents, and the prepared sets that it waits for and scores."""
        return (*self.parents, *take_names(self.spec, "scores"))

    @property
    def gpu_hours(self) -> float:
        return self._sum_hours()[0]

    @property
    def cpu_hours(self) -> float:
        return self._sum_hours()[1]

    def _sum_hours(self) -> tuple[float, float]:
        """Of all attempts that have ended, failed ones included, as the cost table counts them."""
        device = take_mapping(self.done, "facts").get("device")
        ended = [(attempt.hours, count_devices(attempt.begun, device)) for attempt in self.attempts]
        known = [(hours, devices) for hours, devices in ended if hours is not None]
        gpu_hours = sum(hours * gpus for hours, (gpus, _) in known)
        return gpu_hours, sum(hours * cores for hours, (_, cores) in known)


class RunReader:
    """The runs below a results folder, each read once."""

    def __init__(self, results: Path) -> None:
        self.results = os.fspath(results)
        self._facts: dict[str, RunFacts] = {}

    def read(self, run: str) -> RunFacts:
        """Facts of a run that may have no folder yet; one without attempts is blocked where an ancestor ended badly."""
        if run not in self._facts:
            self._facts[run] = RunFacts(run)  # a folder that names itself as its parent ends here
            self._facts[run] = self._judge(run)
        return self._facts[run]

    def collect(self, runs: Iterable[str]) -> dict[str, RunFacts]:
        """These runs and all that they are built on, the runs themselves first."""
        found: dict[str, RunFacts] = {}
        waiting = list(runs)
        while waiting:
            new = [run for run in dict.fromkeys(waiting) if run not in found]
            found |= {run: self.read(run) for run in new}
            waiting = [parent for run in new for parent in found[run].parents]
        return found

    def _judge(self, run: str) -> RunFacts:
        if "/" in run or run in ("", ".", ".."):
            return RunFacts(run)  # a name that somebody's metric file gave; it leads out of here
        folder = f"{self.results}/{run}"
        spec = read_object(f"{folder}/run.json")
        done = read_object(f"{folder}/DONE")
        attempts = tuple(sorted(read_attempts(folder), key=lambda one: (one.started or 0.0, one.name)))
        if done.get("schema") == DONE_SCHEMA:
            return RunFacts(run, "done", "", spec, done, attempts)
        if attempts and not attempts[-1].state:
            return RunFacts(
                run, "running", describe_progress(read_object(f"{folder}/progress.json")), spec, {}, attempts
            )
        if attempts and attempts[-1].state in ENDED_BADLY:
            return RunFacts(run, attempts[-1].state, attempts[-1].reason, spec, {}, attempts)
        facts = RunFacts(run, "missing", "" if attempts else "not started", spec, {}, attempts)
        dead = [need for need in facts.needs if not attempts and self.read(need).state in ENDED_BADLY]
        if dead:
            blame = ", ".join(f"{need} ({self.read(need).state})" for need in dead)
            return replace(facts, state="blocked", reason=f"waits for {blame}")
        return facts


def read_attempts(folder: str) -> Iterator[Attempt]:
    try:
        paths = [entry.path for entry in os.scandir(f"{folder}/attempts") if entry.is_dir()]
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return
    for path in paths:
        begun, outcome = read_object(f"{path}/attempt.json"), read_object(f"{path}/outcome.json")
        yield Attempt(
            os.path.basename(path),
            str(outcome.get("state") or ""),
            " ".join(str(outcome.get("reason") or "").split()),
            take_number(begun, "started"),
            take_number(outcome, "ended"),
            begun,
            tuple(sorted((name for name in os.listdir(path) if name.endswith(".log")), key=lambda n: (len(n), n))),
        )


def read_object(path: str) -> dict[str, Any]:
    """The JSON object of a file; an empty one where there is none, or no whole one."""
    try:
        with open(path, "rb") as file:
            value = orjson.loads(file.read())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def describe_progress(progress: Mapping[str, Any]) -> str:
    """The last heartbeat; the clock is not asked how old it is."""
    if not progress:
        return "begun, no sign of progress yet"
    return f"{progress.get('phase')}: {progress.get('step')} of {progress.get('total')}"
