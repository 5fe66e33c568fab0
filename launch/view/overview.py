"""How a campaign stands, in numbers: progress and GPU-hours by stage, pace, failures by kind and axis, what waits."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from launch.axes import NAMED_AXES
from launch.observation.states import STATES
from launch.scene import Scene
from launch.selectors import axis_value
from launch.view.attempts import Attempt, read_all
from launch.view.reasons import explain_reason
from stilts.failures import KINDS
from stilts.runs import read_json

# In the order of the work.
STAGES = ("fetch", "translate", "pretrain", "prepare", "intermediate", "retrieval", "target")
_PACE_WINDOW_S = 86400.0
_LEAST_WEIGHT_H = 0.01  # of a run without GPU-hours: reading and tokenising take time too


@dataclass(frozen=True)
class StageView:
    """One stage: runs by state, GPU-hours spent in all its attempts and estimated for what is not done."""

    stage: str
    counts: Mapping[str, int]
    spent_h: float
    left_h: float

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True)
class AxisFailures:
    """How many of the runs with one value of an axis have failed."""

    axis: str
    value: str
    failed: int
    total: int


@dataclass(frozen=True)
class Waiting:
    """A pending run: since when (seconds of the epoch), Slurm's reason, and what that means."""

    run_id: str
    since: float
    reason: str
    meaning: str
    stuck: bool


@dataclass(frozen=True)
class Overview:
    """All numbers of a status at one moment (`now`, seconds of the epoch). `eta_s` is None where `pace` says why."""

    now: float
    stages: list[StageView]
    eta_s: float | None
    pace: str
    kinds: list[tuple[str, int, str]]
    axes: list[AxisFailures]
    waiting: list[Waiting]
    attempts: Mapping[str, list[Attempt]] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Runs by state, all stages."""
        return {state: sum(stage.counts.get(state, 0) for stage in self.stages) for state in STATES}

    @property
    def total(self) -> int:
        return sum(stage.total for stage in self.stages)


def make_overview(scene: Scene, now: float | None = None) -> Overview:
    """Compute the overview of a scene; reads the attempts of every run."""
    now = time.time() if now is None else now
    attempts = read_all(scene.campaign, scene.plan.runs)
    eta_s, pace = estimate_end(scene, attempts, now)
    return Overview(
        now=now,
        stages=list_stages(scene, attempts, now),
        eta_s=eta_s,
        pace=pace,
        kinds=count_kinds(scene),
        axes=count_axes(scene),
        waiting=list_waiting(scene),
        attempts=attempts,
    )


def list_stages(scene: Scene, attempts: Mapping[str, list[Attempt]], now: float) -> list[StageView]:
    """The stages that occur, in the order of the work."""
    members: dict[str, list[str]] = {}
    for run_id, run in scene.plan.runs.items():
        members.setdefault(run.stage, []).append(run_id)
    return [
        StageView(
            stage,
            Counter(scene.observations[run_id].state for run_id in runs),
            sum(spent_hours(scene, run_id, attempts[run_id], now) for run_id in runs),
            sum(scene.plan.gpu_hours(run_id) * (1 - _share(scene, run_id)) for run_id in runs),
        )
        for stage, runs in sorted(members.items(), key=lambda item: STAGES.index(item[0]))
    ]


def spent_hours(scene: Scene, run_id: str, attempts: list[Attempt], now: float) -> float:
    """GPU-hours of all attempts of a run; of the last one up to now while it runs, nothing where it was killed."""
    running = scene.observations[run_id].state == "running"
    return sum(attempt.gpu_hours(now if running and attempt is attempts[-1] else None) for attempt in attempts)


def estimate_end(scene: Scene, attempts: Mapping[str, list[Attempt]], now: float) -> tuple[float | None, str]:
    """Seconds until all is done at the pace of the last day, and that pace in words.

    Pace: estimated hours of what was finished in that time, and of the finished share of what runs.
    """
    begun = [found[0].started for found in attempts.values() if found]
    left = sum(_weight(scene, run_id) * (1 - _share(scene, run_id)) for run_id in scene.plan.runs)
    if not left:
        return 0.0, "all runs are done"
    if not begun:
        return None, "no run has begun"
    start = max(min(begun), now - _PACE_WINDOW_S)
    finished = 0.0
    for run_id, found in attempts.items():
        state = scene.observations[run_id].state
        if not found or state not in ("done", "running"):
            continue
        last = found[-1]
        end = last.ended if state == "done" and last.ended is not None else now
        inside = (end - max(start, last.started)) / max(end - last.started, 1.0) if end > start else 0.0
        finished += _weight(scene, run_id) * _share(scene, run_id) * min(1.0, max(0.0, inside))
    span = max(now - start, 1.0)
    if finished <= 0:
        return None, f"nothing was finished in the last {spell_seconds(span)}"
    return left / finished * span, f"at the pace of the last {spell_seconds(span)}"


def count_kinds(scene: Scene) -> list[tuple[str, int, str]]:
    """Failed runs by kind, the most frequent first, each with its most frequent signature."""
    signatures: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for failure in scene.recovery.failures.values():
        signatures[failure.kind][failure.signature] += 1
    found = [(kind, sum(c.values()), c.most_common(1)[0][0]) for kind, c in signatures.items() if c]
    return sorted(found, key=lambda entry: -entry[1])


def count_axes(scene: Scene, most: int = 10) -> list[AxisFailures]:
    """The axis values with the largest share of failed runs, of axes that have several values."""
    failed = {run_id for run_id, seen in scene.observations.items() if seen.state == "failed"}
    if not failed:
        return []
    members: dict[tuple[str, str], set[str]] = {}
    dotted = dict.fromkeys(name for combination in scene.plan.combinations for name, _ in combination.overrides)
    for combination, runs in scene.plan.combinations.items():
        for axis in (*NAMED_AXES, *dotted):
            value = str(axis_value(combination, axis, scene.plan.grid))
            members.setdefault((axis, value), set()).update(run for run in runs if not run.startswith("fetch-"))
    several = {axis for axis, count in Counter(axis for axis, _ in members).items() if count > 1}
    found = [
        AxisFailures(axis, value, len(runs & failed), len(runs))
        for (axis, value), runs in members.items()
        if axis in several and runs & failed
    ]
    return sorted(found, key=lambda entry: (-entry.failed / entry.total, -entry.failed, entry.axis, entry.value))[:most]


def list_waiting(scene: Scene, most: int = 5) -> list[Waiting]:
    """The runs that have been pending for the longest time, those that need somebody first."""
    found = []
    for run_id, seen in scene.observations.items():
        submissions = scene.ledger.of(run_id)
        if seen.state == "pending" and submissions:
            meaning, stuck = explain_reason(seen.reason)
            found.append(Waiting(run_id, submissions[-1].time, seen.reason, meaning, stuck))
    return sorted(found, key=lambda waiting: (not waiting.stuck, waiting.since, waiting.run_id))[:most]


def spell_seconds(seconds: float) -> str:
    """`3 d 4 h`, `2 h 5 min`, `40 s`."""
    seconds = max(0, round(seconds))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h" if hours else f"{days} d"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"


def _weight(scene: Scene, run_id: str) -> float:
    return max(_LEAST_WEIGHT_H, scene.plan.gpu_hours(run_id))


def _share(scene: Scene, run_id: str) -> float:
    """The finished share of a run: of a running one as its heartbeat says, if it says so."""
    state = scene.observations[run_id].state
    if state != "running":
        return 1.0 if state == "done" else 0.0
    progress = read_json(scene.campaign.run(run_id).progress) or {}
    step, total = progress.get("step"), progress.get("total")
    if not isinstance(step, int | float) or not isinstance(total, int | float) or total <= 0:
        return 0.0
    return min(1.0, max(0.0, step / total))
