"""Hours of every run of a plan, low and high: measured on finished runs like it, else from a stated rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from launch.cost import STARTUP_HOURS, Tokens
from launch.history import Class, Speed, kind_of, read_history, tasks_of
from launch.plan import Plan
from launch.resources import Resources
from stilts.runs import Run

# How far an estimate may be off beside what the measurements themselves differ: of the same work, of other tasks of
# the same class, and of a rate that somebody stated.
SAME, OTHERS, STATED = 1.1, 1.3, 2.0
# Hours of stages that need no GPU, where nothing was measured. Assumed.
STATED_HOURS = {"fetch": 0.1, "prepare": 0.15, "pretrain": 0.5}


@dataclass(frozen=True)
class Span:
    """Hours, or seconds: at least, about, at most."""

    low: float
    expected: float
    high: float

    def __add__(self, other: Span) -> Span:
        return Span(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, factor: float) -> Span:
        """All three of them, that many times."""
        return Span(self.low * factor, self.expected * factor, self.high * factor)

    @classmethod
    def around(cls, value: float, factor: float) -> Span:
        """From a `factor`-th of a value to `factor` times it."""
        return cls(value / factor, value, value * factor)


NOTHING = Span(0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Estimate:
    """One run: hours that it takes, GPUs that it holds for so long (its share of one, where several runs share it),
    where the hours come from: `measured`, `measured on others`, `stated`; `start` are the hours before its work."""

    hours: Span
    gpus: float
    source: str
    start: Span = NOTHING

    @property
    def gpu_hours(self) -> Span:
        return self.hours.times(self.gpus)


class History:
    """Finished runs by what they have in common with a run that is to be estimated."""

    def __init__(self, speeds: Iterable[Speed]) -> None:
        self.speeds: dict[tuple[Any, ...], list[Speed]] = {}
        for speed in speeds:
            for key in (
                ("same", speed.stage, speed.tasks, speed.model, speed.kind),
                ("stage", speed.stage, speed.model, speed.kind),
                ("model", speed.model, speed.kind[:3]),
                ("light", speed.stage, speed.tasks),
                ("light", speed.stage),
            ):
                self.speeds.setdefault(key, []).append(speed)

    def find(self, key: tuple[Any, ...], read: Callable[[Speed], float | None]) -> list[float]:
        """What the runs with this in common say."""
        return [value for speed in self.speeds.get(key, ()) if (value := read(speed)) is not None]

    def estimate(self, run: Run, tokens: Tokens, resources: Resources, stated_rate: float) -> Estimate:
        """Hours of one run. `stated_rate`: sub-words of training a second on one GPU, where nothing was measured."""
        gpus = resources.nodes * resources.gpus / (resources.runs_per_gpu or 1)
        if not tokens.trained and not tokens.scored:
            return Estimate(self._light(run), gpus, "measured" if self._known(run) else "stated")
        kind = kind_of(resources.model_dump(), run.config)
        model = run.infra.get("label", {}).get("model", "")
        devices = resources.nodes * resources.ranks_per_node
        seconds, sources = NOTHING, set()
        if tokens.trained:
            span, source = self._train(run, tokens, model, kind, stated_rate)
            seconds, sources = seconds + span.times(1 / devices), {source}
        if tokens.scored:
            span, source = self._score(run, tokens, model, kind, stated_rate)
            # Stated, GPUs share all work alike; measured, one of them scores while the others wait.
            seconds = seconds + span.times(1 / devices if source == "stated" else 1.0)
            sources.add(source)
        source = (
            next(iter(sources)) if len(sources) == 1 else ("stated" if "stated" in sources else "measured on others")
        )
        start = self._start(run, model, kind)
        return Estimate(seconds.times(1 / 3600) + start, gpus, source, start)

    def _train(self, run: Run, tokens: Tokens, model: str, kind: Class, stated: float) -> tuple[Span, str]:
        """Seconds on one device."""
        same = self.find(("same", run.stage, tasks_of(run.config), model, kind), lambda speed: speed.rate)
        if same:
            return _spread(tokens.trained, same, SAME), "measured"
        parts = {task: self.find(("same", run.stage, (task,), model, kind), _rate) for task in tokens.training}
        if parts and all(parts.values()):
            whole = sum(tokens.training.values()) or 1.0
            spans = [_spread(tokens.trained * tokens.training[task] / whole, parts[task], OTHERS) for task in parts]
            return sum(spans, NOTHING), "measured on others"
        return self._by_others(run, tokens.trained, model, kind, stated)

    def _score(self, run: Run, tokens: Tokens, model: str, kind: Class, stated: float) -> tuple[Span, str]:
        same = self.find(("same", run.stage, tasks_of(run.config), model, kind), lambda speed: speed.scoring_rate)
        if same:
            return _spread(tokens.scored, same, SAME), "measured"
        others = self.find(("stage", run.stage, model, kind), lambda speed: speed.scoring_rate)
        if others:
            return _spread(tokens.scored, others, OTHERS), "measured on others"
        # A forward pass is counted as the third of an update that it is.
        trained = self.find(("same", run.stage, tasks_of(run.config), model, kind), _rate)
        if trained:
            return _spread(tokens.scored, trained, OTHERS), "measured on others"
        return self._by_others(run, tokens.scored, model, kind, stated)

    def _by_others(self, run: Run, tokens: float, model: str, kind: Class, stated: float) -> tuple[Span, str]:
        for key in (("stage", run.stage, model, kind), ("model", model, kind[:3])):
            if rates := self.find(key, _rate):
                return _spread(tokens, rates, OTHERS), "measured on others"
        return Span.around(tokens / stated, STATED), "stated"

    def _start(self, run: Run, model: str, kind: Class) -> Span:
        """Hours before the first update and around everything."""
        for key in (("same", run.stage, tasks_of(run.config), model, kind), ("stage", run.stage, model, kind)):
            if starts := self.find(key, lambda speed: speed.startup_s):
                return Span(min(starts), median(starts), max(starts)).times(1 / 3600)
        return Span.around(STARTUP_HOURS, STATED)

    def _light(self, run: Run) -> Span:
        walls = self._known(run)
        if walls:
            return Span(min(walls) / SAME, median(walls), max(walls) * SAME).times(1 / 3600)
        return Span.around(STATED_HOURS.get(run.stage, STARTUP_HOURS), STATED)

    def _known(self, run: Run) -> list[float]:
        wall = [
            self.find(key, lambda speed: speed.wall_s)
            for key in (("light", run.stage, tasks_of(run.config)), ("light", run.stage))
        ]
        return wall[0] or wall[1]


def _rate(speed: Speed) -> float | None:
    return speed.rate


def _spread(tokens: float, rates: list[float], factor: float) -> Span:
    return Span(tokens / max(rates) / factor, tokens / median(rates), tokens / min(rates) * factor)


def estimate_plan(plan: Plan, roots: Iterable[Path]) -> dict[str, Estimate]:
    """The estimate of every run, from the history of these roots; the plan's GPU-hours follow what was measured."""
    history, rate = History(read_history(roots)), plan.cluster.tokens_per_second
    found: dict[str, Estimate] = {}
    alike: dict[int, Estimate] = {}  # seeds of one thing share their infra, and take as long as each other
    for run in plan.runs.values():
        if id(run.infra) not in alike:
            alike[id(run.infra)] = history.estimate(run, plan.tokens[run.id], plan.resources(run.id), rate)
        found[run.id] = alike[id(run.infra)]
    measured = {run_id: one.gpu_hours.expected for run_id, one in found.items() if one.source != "stated"}
    plan.measured.update(measured)
    return found
