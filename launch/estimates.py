"""Hours of every run of a plan, low and high: measured on finished runs of its class, else fitted to those of other
classes, else from a stated rate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from launch.cost import FORWARD_SHARE, STARTUP_HOURS, Tokens, recount
from launch.fit import Fit, Sample, fit
from launch.history import Class, Speed, hardware_of, history_folders, kind_of, read_history, recipe_of, tasks_of
from launch.plan import Plan
from launch.prepared import PreparedSets
from launch.resources import Resources
from launch.spans import NOTHING, Span
from stilts.runs import Run

# How far an estimate may be off beside what the measurements themselves differ: of the same work, of other tasks of
# the same class, and of a rate that somebody stated.
SAME, OTHERS, STATED = 1.1, 1.3, 2.0
# Hours of stages that need no GPU, where nothing was measured. Assumed.
STATED_HOURS = {"fetch": 0.1, "prepare": 0.15, "pretrain": 0.5}
# Where hours come from, the surest first.
SOURCES = ("measured", "fitted", "measured on others", "stated")

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Part:
    """Seconds of a run's training, or of its scoring; where they come from, one of SOURCES; of a fit, to how many runs
    of how many classes."""

    seconds: Span
    source: str
    runs: int = 0
    classes: int = 0

    def shared_by(self, devices: int) -> Part:
        """The same, where so many do it together."""
        return replace(self, seconds=self.seconds.times(1 / devices))


@dataclass(frozen=True)
class Estimate:
    """One run: hours that it takes, GPUs that it holds for so long (its share of one, where several runs share it),
    where the hours come from, the least sure part of them; `start` are the hours before its work. Where a part is
    fitted, `runs` and `classes` say to how many."""

    hours: Span
    gpus: float
    source: str
    start: Span = NOTHING
    runs: int = 0
    classes: int = 0

    @property
    def gpu_hours(self) -> Span:
        return self.hours.times(self.gpus)


class History:
    """Finished runs by what they have in common with a run that is to be estimated."""

    def __init__(self, speeds: Iterable[Speed]) -> None:
        self.speeds: dict[Key, list[Speed]] = {}
        self.fits: dict[Key, Fit | None] = {}
        for speed in speeds:
            hardware = hardware_of(speed.kind)
            for key in (
                ("class", speed.stage, speed.recipe, speed.model, speed.kind),
                ("task", speed.stage, speed.tasks, speed.model, speed.kind),
                ("stage", speed.stage, speed.model, speed.kind),
                ("model", speed.model, speed.kind[:3]),
                ("starts", speed.stage, speed.model, hardware),
                *([("starts", speed.model, hardware)] if speed.training_s else []),
                ("trains", speed.model, hardware),
                ("scores", speed.stage, speed.model, hardware),
                ("light", speed.stage, speed.tasks),
                ("light", speed.stage),
            ):
                self.speeds.setdefault(key, []).append(speed)

    def find(self, key: Key, read: Callable[[Speed], float | None]) -> list[float]:
        """What the runs with this in common say."""
        return [value for speed in self.speeds.get(key, ()) if (value := read(speed)) is not None]

    def estimate(self, run: Run, tokens: Tokens, resources: Resources, stated_rate: float) -> Estimate:
        """Hours of one run. `stated_rate`: sub-words of training a second on one GPU, where nothing was measured."""
        gpus = resources.nodes * resources.gpus / (resources.runs_per_gpu or 1)
        if not tokens.trained and not tokens.scored:
            return Estimate(self._light(run), gpus, "measured" if self._known(run) else "stated")
        like = _Like(run, kind_of(resources.model_dump(), run.config))
        devices = resources.nodes * resources.ranks_per_node
        parts = [self._train(like, tokens, devices, stated_rate)] if tokens.trained else []
        parts += [self._score(like, tokens, devices, stated_rate)] if tokens.scored else []
        start = self._start(like)
        hours = sum((part.seconds for part in parts), NOTHING).times(1 / 3600) + start
        source = max((part.source for part in parts), key=SOURCES.index)
        fitted = max(parts, key=lambda part: part.runs)
        return Estimate(hours, gpus, source, start, fitted.runs, fitted.classes)

    def _train(self, like: _Like, tokens: Tokens, devices: int, stated: float) -> Part:
        if same := self.find(like.key("class", like.recipe), _rate):
            return Part(_spread(tokens.trained, same, SAME), "measured").shared_by(devices)
        parts = {one[0]: self.find(like.key("class", (one,)), _rate) for one in like.recipe}
        if len(parts) > 1 and tokens.read and all(parts.values()):
            shares = {task: tokens.trained * tokens.training[task] / tokens.read for task in parts}
            spans = [_spread(shares[task], rates, OTHERS) for task, rates in parts.items()]
            return Part(sum(spans, NOTHING), "measured on others").shared_by(devices)
        if found := self._fit(("trains", like.model, like.hardware), _sample_training) if tokens.updates else None:
            seconds = found.predict(_training_amounts(tokens, devices))
            return Part(seconds, "fitted", found.runs, found.classes)
        return self._by_others(like, tokens.trained, stated).shared_by(devices)

    def _score(self, like: _Like, tokens: Tokens, devices: int, stated: float) -> Part:
        """Measured, one GPU scores while the others wait; at the stated rate they share this work, too."""
        if same := self.find(like.key("class", like.recipe), _scoring_rate):
            return Part(_spread(tokens.scored, same, SAME), "measured")
        if found := self._fit(("scores", like.run.stage, like.model, like.hardware), _sample_scoring):
            return Part(found.predict(_scoring_amounts(tokens)), "fitted", found.runs, found.classes)
        if others := self.find(like.key("stage"), _scoring_rate):
            return Part(_spread(tokens.scored, others, OTHERS), "measured on others")
        # A forward pass is counted as the third of an update that it is.
        if trained := self.find(like.key("class", like.recipe), _rate):
            return Part(_spread(tokens.scored, trained, OTHERS), "measured on others")
        part = self._by_others(like, tokens.scored, stated)
        return part.shared_by(devices) if part.source == "stated" else part

    def _by_others(self, like: _Like, tokens: float, stated: float) -> Part:
        """On one device at the rates of too few others to tell what they depend on; else at the stated one."""
        for key in (like.key("task", like.tasks), like.key("stage"), ("model", like.model, like.kind[:3])):
            if rates := self.find(key, _rate):
                return Part(_spread(tokens, rates, OTHERS), "measured on others")
        return Part(Span.around(tokens / stated, STATED), "stated")

    def _fit(self, key: Key, sample: Callable[[Speed], Sample | None]) -> Fit | None:
        """The fit to the runs with this in common; made when it is first asked for."""
        if key not in self.fits:
            samples = [one for speed in self.speeds.get(key, ()) if (one := sample(speed)) is not None]
            self.fits[key] = fit(samples)
        return self.fits[key]

    def _start(self, like: _Like) -> Span:
        """Hours before the first update and around everything."""
        anywhere = ("starts", like.run.stage, like.model, like.hardware), ("starts", like.model, like.hardware)
        for key in (like.key("class", like.recipe), like.key("stage"), *anywhere):
            if starts := self.find(key, _start_of):
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


class _Like:
    """What a run may have in common with others."""

    def __init__(self, run: Run, kind: Class) -> None:
        self.run, self.kind = run, kind
        self.tasks, self.recipe = tasks_of(run.config), recipe_of(run.config)
        self.model = str(run.infra.get("label", {}).get("model", ""))
        self.hardware = hardware_of(kind)

    def key(self, name: str, *more: Any) -> Key:
        """As `History` keeps runs of this stage, model and kind."""
        return (name, self.run.stage, *more, self.model, self.kind)


def _training_amounts(tokens: Tokens, devices: int) -> tuple[float, ...]:
    """What the seconds of a training are made of, the more important first: sub-words (every rank judges all of dev),
    updates, gradients that ranks exchange, attention."""
    exchanged = tokens.updates if devices > 1 else 0.0
    return (
        tokens.read / devices + tokens.selection * FORWARD_SHARE,
        tokens.updates,
        exchanged,
        tokens.squares / devices,
    )


def _scoring_amounts(tokens: Tokens) -> tuple[float, ...]:
    """What the seconds of scoring are made of: sub-words, one opening of everything, sets, examples."""
    return (tokens.scored, 1.0, float(tokens.sets), tokens.examples)


def _sample_training(speed: Speed) -> Sample | None:
    if not speed.training_s or not speed.tokens.updates:
        return None
    amounts = _training_amounts(speed.tokens, speed.devices)
    return Sample(amounts, speed.training_s, (speed.stage, speed.recipe, speed.kind))


def _sample_scoring(speed: Speed) -> Sample | None:
    if not speed.scoring_s or not speed.tokens.scored:
        return None
    return Sample(_scoring_amounts(speed.tokens), speed.scoring_s, (speed.recipe, speed.kind))


def _start_of(speed: Speed) -> float | None:
    return speed.startup_s


def _rate(speed: Speed) -> float | None:
    return speed.rate


def _scoring_rate(speed: Speed) -> float | None:
    return speed.scoring_rate


def _spread(tokens: float, rates: list[float], factor: float) -> Span:
    return Span(tokens / max(rates) / factor, tokens / median(rates), tokens / min(rates) * factor)


def estimate_plan(plan: Plan, roots: Iterable[Path]) -> dict[str, Estimate]:
    """The estimate of every run, from the history of these roots and the sets that are prepared there; the plan's
    GPU-hours follow what was measured or counted."""
    roots = list(roots)
    known = PreparedSets(history_folders(roots))
    history, rate = History(read_history(roots, known)), plan.cluster.tokens_per_second
    found: dict[str, Estimate] = {}
    alike: dict[int, tuple[Estimate, bool]] = {}  # seeds of one thing share their infra, and take as long as each other
    for run in plan.runs.values():
        if id(run.infra) not in alike:
            assumed = plan.tokens[run.id]
            tokens = recount(run, assumed, known)
            one = history.estimate(run, tokens, plan.resources(run.id), rate)
            alike[id(run.infra)] = one, one.source != "stated" or tokens is not assumed
        found[run.id], better = alike[id(run.infra)]
        if better:
            plan.measured[run.id] = found[run.id].gpu_hours.expected
    return found
