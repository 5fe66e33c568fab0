"""What is still to be paid: GPU-hours by stage, low and high, how long it takes, and whether a budget holds it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

from rich.table import Table

from launch.estimates import SOURCES, Estimate, estimate_plan
from launch.makespan import Node, TooLarge, longest_chain, simulate
from launch.observation.states import Observation
from launch.plan import Plan
from launch.spans import NOTHING, Span

LIGHT_STAGES = ("fetch", "prepare")


@dataclass
class StageCost:
    """The unfinished runs of a stage: hours of all of them, GPU-hours, how many have their hours from which source, and
    to how many runs and classes (those of the largest fit) the fitted ones are."""

    runs: int = 0
    hours: Span = NOTHING
    gpu_hours: Span = NOTHING
    sources: Counter[str] = field(default_factory=Counter)
    fitted_to: tuple[int, int] = (0, 0)

    def add(self, one: Estimate, light: bool) -> None:
        """One more run; where hours of `light` stages come from is of no interest."""
        self.runs += 1
        self.hours += one.hours
        self.gpu_hours += one.gpu_hours
        if not light:
            self.sources[one.source] += 1
        self.fitted_to = max(self.fitted_to, (one.runs, one.classes))

    def spell_sources(self) -> str:
        """`3 measured, 20 fitted (to 9 runs of 5 classes)`."""
        runs, classes = self.fitted_to
        told = {"fitted": f"fitted (to {runs} runs of {classes} classes)"}
        return ", ".join(f"{self.sources[name]:,} {told.get(name, name)}" for name in SOURCES if self.sources[name])


@dataclass(frozen=True)
class Outlook:
    """The unfinished runs of a plan. `slots` are the GPUs (where no run has one: the runs at once) that the makespan
    is for; it is None where a run does not fit onto them, and `problem` says which."""

    plan: Plan
    estimates: Mapping[str, Estimate]
    slots: int
    slot: str
    makespan: Span | None
    chain: Span
    problem: str = ""

    @property
    def total(self) -> Span:
        """GPU-hours of all unfinished runs."""
        return sum((one.gpu_hours for one in self.estimates.values()), NOTHING)

    def stages(self) -> dict[str, StageCost]:
        """What is left, by stage."""
        found: dict[str, StageCost] = {}
        for run_id, one in self.estimates.items():
            stage = self.plan.runs[run_id].stage
            found.setdefault(stage, StageCost()).add(one, stage in LIGHT_STAGES)
        return found

    def table(self) -> Table:
        """What is left to be computed, by stage; in hours of runs where none has a GPU."""
        table = Table(title="what is left", title_justify="left")
        unit = "GPU-hours" if self.slot == "GPUs" else "hours"
        for name in ("stage", "runs", f"{unit} at least", "about", "at most", "rates"):
            table.add_column(name, justify="left" if name in ("stage", "rates") else "right")
        for stage, cost in self.stages().items():
            span = cost.gpu_hours if self.slot == "GPUs" else cost.hours
            hours = (f"{value:,.1f}" for value in (span.low, span.expected, span.high))
            table.add_row(stage, f"{cost.runs:,}", *hours, cost.spell_sources())
        return table

    def lines(self) -> list[str]:
        """Makespan and where the rates come from, in sentences."""
        total, stated = self.total, self.plan.cluster.tokens_per_second
        told = f"cost: {total.low:,.0f} to {total.high:,.0f} GPU-hours are left, about {total.expected:,.0f}"
        if any(one.source == "stated" and one.gpus for one in self.estimates.values()):
            told += (
                f"; what is not measured is estimated at {stated:,.0f} sub-words a second on one GPU "
                "(tokens_per_second of the cluster file), give or take a factor of 2: --pilot measures it"
            )
        lines = [told, *self._find_short()]
        if self.problem:
            return [*lines, f"makespan: {self.problem}"]
        if self.makespan is not None and self.estimates:
            chain = f"the longest chain of runs alone takes {spell_hours(self.chain.expected)}"
            span = f"{spell_hours(self.makespan.low)} to {spell_hours(self.makespan.high)}"
            lines.append(f"makespan: {span} on {self.slots:,} {self.slot} without any queue; {chain}")
        return lines

    def _find_short(self) -> list[str]:
        """Runs that may need more time than one job of their class has."""
        short = [
            run_id
            for run_id, one in self.estimates.items()
            if one.hours.high * 60 > self.plan.resources(run_id).timeout_min
        ]
        if not short:
            return []
        worst = max(short, key=lambda run_id: self.estimates[run_id].hours.high)
        longest, limit = self.estimates[worst].hours.high, self.plan.resources(worst).timeout_min / 60
        return [
            f"time limits: {len(short):,} runs may take longer than their timeout_min ({worst}: up to "
            f"{spell_hours(longest)} of {spell_hours(limit)}); they are saved, requeued and go on"
        ]

    def as_json(self) -> dict[str, Any]:
        """The same for tools; hours."""
        stages = {stage: _spell_stage(cost) for stage, cost in self.stages().items()}
        makespan = None if self.makespan is None else {self.slot.replace(" ", "_"): self.slots, **_spell(self.makespan)}
        found = {"gpu_hours": _spell(self.total), "stages": stages, "makespan_hours": makespan}
        return {"cost": {**found, "longest_chain_hours": _spell(self.chain)}}

    def find_excess(self, budget: float, spent: float, wanted: Sequence[str], live: Collection[str]) -> str | None:
        """Why a budget of GPU-hours does not hold, at their most, the runs that are to be started beside those that are
        at work or in the queue; None where it does. `wanted`: parents first."""
        asked = [self.estimates[run_id].gpu_hours for run_id in wanted]
        queued = sum((self.estimates[run_id].gpu_hours for run_id in live), NOTHING)
        total = sum(asked, NOTHING)
        room = budget - spent - queued.high
        if total.high <= room:
            return None
        sums = accumulate(span.high for span in asked)
        fitting = sum(1 for hours in sums if hours <= room)  # a beginning of the plan lacks no parent
        taken = f"{spent:,.1f} are spent" + (f", up to {queued.high:,.1f} are in the queue" if live else "")
        way = f"--limit {fitting} starts those that fit, " if fitting else "None of them fits: "
        return (
            f"--budget {budget:g}: the {len(asked):,} runs to be started take {total.low:,.1f} to {total.high:,.1f} "
            f"GPU-hours (about {total.expected:,.1f}); {taken}. {way}--pilot measures what is only estimated, --select "
            "takes a part of the grid; or raise the budget"
        )


def look_out(plan: Plan, observations: Mapping[str, Observation], roots: Iterable[Path], slots: int) -> Outlook:
    """Estimate the unfinished runs from the history of these roots, and play them on so many GPUs."""
    found = estimate_plan(plan, roots)
    left = {run_id: one for run_id, one in found.items() if observations[run_id].state != "done"}
    with_gpus = any(one.gpus for one in left.values())
    ends: list[float] = []
    problem = ""
    for bound in ("low", "expected", "high"):
        nodes = _nodes(plan, left, bound, with_gpus)
        try:
            ends.append(simulate(nodes, slots))
        except TooLarge as error:
            problem = str(error)
            break
    chains = [longest_chain(_nodes(plan, left, bound)) for bound in ("low", "expected", "high")]
    makespan = None if problem else Span(*ends)
    return Outlook(plan, left, slots, "GPUs" if with_gpus else "runs at once", makespan, Span(*chains), problem)


def _nodes(plan: Plan, estimates: Mapping[str, Estimate], bound: str, with_gpus: bool = True) -> list[Node]:
    """The runs to be played; without any GPU, what trains or scores takes one place each."""
    return [
        Node(
            run_id,
            getattr(one.hours, bound),
            one.gpus if with_gpus else float(plan.runs[run_id].stage not in LIGHT_STAGES),
            plan.runs[run_id].needs,
        )
        for run_id, one in estimates.items()
    ]


def spell_hours(hours: float) -> str:
    """`40 min`, `7.5 h`, `3.2 days`."""
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:,.1f} days"


def _spell_stage(cost: StageCost) -> dict[str, Any]:
    found = {"runs": cost.runs, "hours": _spell(cost.hours), "gpu_hours": _spell(cost.gpu_hours)}
    runs, classes = cost.fitted_to
    return {**found, "rates": dict(cost.sources), "fitted_to": {"runs": runs, "classes": classes} if runs else None}


def _spell(span: Span) -> dict[str, float]:
    return {"low": round(span.low, 3), "expected": round(span.expected, 3), "high": round(span.high, 3)}
