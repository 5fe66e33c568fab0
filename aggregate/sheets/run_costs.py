"""What runs have cost: hours from their attempts, tokens, time and memory from their DONE records."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aggregate.scores.records import take_count, take_mapping, take_names, take_number
from aggregate.scores.run_records import RunRecord, RunRecords
from stilts.runs import canonical_json

ENCODER_STAGES = ("pretrain", "translate", "intermediate")  # make an encoder, which others build on
SCORED_STAGES = ("target", "retrieval")
TRAINING_STAGES = ("pretrain", "intermediate", "target")
HOUR_S = 3600


@dataclass(frozen=True)
class RunCost:
    """One run. `gpu_hours` and `cpu_hours` are those held by all attempts whose end is recorded, failed ones included;
    `open_attempts` have none. `energies` are the kWh of those ended attempts whose outcome has `energy_kwh` (a site's
    epilog may write it; our jobs do not measure). `facts` are those of the DONE record, None where there is none."""

    stage: str
    gpu_hours: float
    cpu_hours: float
    attempts: int
    open_attempts: int
    restarts: int
    energies: tuple[float, ...]
    facts: Mapping[str, Any] | None


@dataclass(frozen=True)
class Figure:
    """A number, or the reason why there is none; `partial` where something that belongs to it has yet to come."""

    value: float | None
    reason: str = ""
    partial: bool = False


class RunCosts:
    """The costs of a campaign's runs, each counted once. A run's name begins with its stage."""

    def __init__(self, records: RunRecords) -> None:
        self.records = records
        self._costs: dict[str, RunCost] = {}

    def collect(self, runs: Iterable[str]) -> set[str]:
        """These runs and all that they are built on but fetching and tokenising."""
        seen: set[str] = set()
        waiting = list(runs)
        while waiting:
            run = waiting.pop()
            if run not in seen:
                seen.add(run)
                waiting += self._list_parents(run)
        return {run for run in seen if stage_of(run) in (*ENCODER_STAGES, *SCORED_STAGES)}

    def cost(self, run: str) -> RunCost:
        """Nothing yet where the run has no folder."""
        if run not in self._costs:
            self._costs[run] = count_cost(stage_of(run), self.records.read(run))
        return self._costs[run]

    def describe(self, runs: Iterable[str]) -> str:
        """A digest of all that was read of these runs."""
        read = [[run, list(self._list_parents(run)), vars(self.cost(run))] for run in sorted(runs)]
        return hashlib.sha256(canonical_json(read).encode()).hexdigest()

    def _list_parents(self, run: str) -> Sequence[str]:
        return take_names(self.records.read(run).spec, "parents")


def stage_of(run: str) -> str:
    return run.partition("-")[0]


def count_cost(stage: str, record: RunRecord) -> RunCost:
    facts: Mapping[str, Any] | None = None if record.done is None else take_mapping(record.done, "facts")
    gpu_hours = cpu_hours = 0.0
    energies: list[float] = []
    unknown = 0
    for attempt in record.attempts:
        hours = measure_attempt(attempt.begun, attempt.outcome)
        if hours is None:
            unknown += 1
            continue
        gpus, cores = count_devices(attempt.begun, (facts or {}).get("device"))
        energy = take_number(attempt.outcome, "energy_kwh")
        energies += [] if energy is None or energy < 0 else [energy]
        gpu_hours += hours * gpus
        cpu_hours += hours * cores
    restarts = len(take_names(record.restarts, "collapsed"))
    return RunCost(stage, gpu_hours, cpu_hours, len(record.attempts), unknown, restarts, tuple(energies), facts)


def measure_attempt(begun: Mapping[str, Any], outcome: Mapping[str, Any]) -> float | None:
    """Hours from its first to its last word; None where one of them is not recorded: it was killed, or still runs."""
    started, ended = take_number(begun, "started"), take_number(outcome, "ended")
    if started is None or ended is None:
        return None
    return max(0.0, ended - started) / HOUR_S


def count_devices(attempt: Mapping[str, Any], device: object) -> tuple[int, int]:
    """GPUs (one for each rank, none on a CPU) and cores that an attempt held. A local worker has one GPU, whatever the
    resource class asks for: the device that was computed on decides where it is known."""
    resources, ranks = take_mapping(attempt, "resources"), take_count(attempt, "ranks", 1)
    on_gpu = device != "cpu" if device else bool(resources.get("gpus"))
    return ranks if on_gpu else 0, ranks * take_count(resources, "cpus", 1)


def sum_hours(costs: Sequence[RunCost], stages: Sequence[str], on_gpus: bool) -> Figure:
    """GPU-hours, or CPU-hours, of the runs of these stages; without attempts that left no end."""
    counted = [cost for cost in costs if cost.stage in stages]
    if counted and not any(cost.attempts > cost.open_attempts for cost in counted):
        return Figure(None, "no attempt has ended")
    hours = math.fsum(cost.gpu_hours if on_gpus else cost.cpu_hours for cost in counted)
    return Figure(hours, partial=any(cost.facts is None or cost.open_attempts for cost in counted))


def sum_energy(costs: Sequence[RunCost]) -> Figure:
    """The kWh of all attempts that have ended; none where one of them does not tell."""
    if any(len(cost.energies) < cost.attempts - cost.open_attempts for cost in costs):
        return Figure(None, "energy not recorded by every attempt")
    if not any(cost.energies for cost in costs):
        return Figure(None, "no attempt has ended")
    energy = math.fsum(one for cost in costs for one in cost.energies)
    return Figure(energy, partial=any(cost.facts is None or cost.open_attempts for cost in costs))


def sum_facts(costs: Sequence[RunCost], name: str, reduce: Callable[[list[float]], float] = sum) -> Figure:
    """A figure of the trainings' DONE records, added up or reduced otherwise; none where a finished training lacks
    it. A list counts its members."""
    trainings = [cost.facts for cost in costs if cost.stage in TRAINING_STAGES]
    done = [facts for facts in trainings if facts is not None]
    values = [value for facts in done if (value := read_fact(facts, name)) is not None]
    if not done:
        return Figure(None, "no training is done" if trainings else "nothing is trained")
    if len(values) < len(done):
        return Figure(None, "recorded by some of the trainings only" if values else "not recorded")
    return Figure(reduce(values), partial=len(done) < len(trainings))


def read_fact(facts: Mapping[str, Any], name: str) -> float | None:
    value = facts.get(name)
    if isinstance(value, list):
        return len(value)
    return take_number(facts, name)


def divide(tokens: Figure, seconds: Figure) -> Figure:
    if tokens.value is None or not seconds.value:
        return Figure(None, tokens.reason or seconds.reason)
    return Figure(tokens.value / seconds.value, partial=tokens.partial)
