"""What the folder of a run tells: its state, its configuration, its parents, and every attempt at it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aggregate.scores.collection import ENDED_BADLY
from aggregate.scores.records import take_mapping, take_names, take_number
from aggregate.scores.run_records import AttemptRecord, RunRecords
from aggregate.sheets.run_costs import count_devices, measure_attempt


@dataclass(frozen=True)
class Attempt:
    """`started` is seconds since 1970, `hours` are from its first to its last word; None where that is not recorded.
    `logs` are names in its folder, `begun` is all that its first word says."""

    name: str
    state: str
    reason: str
    started: float | None
    hours: float | None
    begun: Mapping[str, Any]
    logs: tuple[str, ...]


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

    def sum_hours(self) -> tuple[float, float]:
        """GPU-hours and CPU-hours of all attempts that have ended, failed ones included, as in the cost table."""
        device = take_mapping(self.done, "facts").get("device")
        ended = [(attempt.hours, count_devices(attempt.begun, device)) for attempt in self.attempts]
        known = [(hours, devices) for hours, devices in ended if hours is not None]
        gpu_hours = sum(hours * gpus for hours, (gpus, _) in known)
        return gpu_hours, sum(hours * cores for hours, (_, cores) in known)


class RunReader:
    """The runs below a results folder, each judged once."""

    def __init__(self, records: RunRecords) -> None:
        self.records = records
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
        record = self.records.read(run)
        read = [read_attempt(attempt) for attempt in record.attempts]
        attempts = tuple(sorted(read, key=lambda one: (one.started or 0.0, one.name)))
        if record.done is not None:
            return RunFacts(run, "done", "", record.spec, record.done, attempts)
        if attempts and not attempts[-1].state:
            progress = describe_progress(self.records.read_progress(run))
            return RunFacts(run, "running", progress, record.spec, {}, attempts)
        if attempts and attempts[-1].state in ENDED_BADLY:
            return RunFacts(run, attempts[-1].state, attempts[-1].reason, record.spec, {}, attempts)
        facts = RunFacts(run, "missing", "" if attempts else "not started", record.spec, {}, attempts)
        dead = [need for need in facts.needs if not attempts and self.read(need).state in ENDED_BADLY]
        if dead:
            blame = ", ".join(f"{need} ({self.read(need).state})" for need in dead)
            return replace(facts, state="blocked", reason=f"waits for {blame}")
        return facts


def read_attempt(record: AttemptRecord) -> Attempt:
    return Attempt(
        record.name,
        str(record.outcome.get("state") or ""),
        " ".join(str(record.outcome.get("reason") or "").split()),
        take_number(record.begun, "started"),
        measure_attempt(record.begun, record.outcome),
        record.begun,
        record.logs,
    )


def describe_progress(progress: Mapping[str, Any]) -> str:
    """The last heartbeat; the clock is not asked how old it is."""
    if not progress:
        return "begun, no sign of progress yet"
    return f"{progress.get('phase')}: {progress.get('step')} of {progress.get('total')}"
