"""What a plan comes to: trainings by regime, what sharing saves, the room it needs; for people and for tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from launch.disk import DiskNeed, Space, estimate_disk, free_space
from launch.observation.states import Observation
from launch.plan import Plan
from launch.scale import UPDATES
from launch.sharing import TRAINING_STAGES, Sharing, count_regimes, count_sharing, regime_of


@dataclass(frozen=True)
class Summary:
    """Numbers of a whole plan; `need` is what its unfinished runs will still write."""

    regimes: dict[str, dict[str, int]]
    hours: dict[str, float]
    sharing: Sharing
    need: DiskNeed
    free: Space
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Keys that stand beside the plan's own (contract 1)."""
        sharing = {**asdict(self.sharing), "factor": round(self.sharing.factor, 3)}
        need = {"peak": asdict(self.need.peak), "kept": asdict(self.need.kept), "trainings_at_once": self.need.at_once}
        return {
            "trainings": self.regimes,
            "sharing": sharing,
            "disk": {**need, "free": asdict(self.free)},
            "notes": list(self.notes),
        }

    def regime_table(self) -> Table:
        """Trainings and GPU-hours of each regime, whatever their state."""
        table = Table(title="trainings by regime", title_justify="left")
        table.add_column("regime")
        for stage in (*TRAINING_STAGES, "GPU-hours"):
            table.add_column(stage, justify="right")
        for regime, counts in self.regimes.items():
            numbers = [f"{counts[stage]:,}" if counts[stage] else "" for stage in TRAINING_STAGES]
            table.add_row(regime, *numbers, f"{self.hours[regime]:,.1f}")
        return table

    def lines(self) -> list[str]:
        """Sharing, disk and notes in sentences."""
        told = (
            f"sharing: {self.sharing.planned:,} trainings; if every row, target and seed trained its whole chain there "
            f"would be {self.sharing.naive:,}, {self.sharing.factor:.1f} times as many"
        )
        shared = [told] if self.sharing.naive else []  # a pilot has no rows
        return [*shared, self.need.describe(self.free), *(f"note: {note}" for note in self.notes)]


def summarise(plan: Plan, observations: Mapping[str, Observation], root: Path, parallel: int) -> Summary:
    """The numbers of a plan whose campaign lies in `root`, with `parallel` trainings at once."""
    unfinished = {run_id for run_id in plan.runs if observations[run_id].state != "done"}
    need = estimate_disk(plan, unfinished, parallel)
    hours: dict[str, float] = {}
    for run in plan.runs.values():
        if run.stage in TRAINING_STAGES:
            hours[regime_of(run)] = hours.get(regime_of(run), 0.0) + plan.gpu_hours(run.id)
    notes = (*_note_steps(plan), *need.notes)
    return Summary(count_regimes(plan), hours, count_sharing(plan), need, free_space(root), notes)


def _note_steps(plan: Plan) -> list[str]:
    """Fixed updates cost the sharing of prefixes: whoever asks for them should know."""
    settings = {part for row, _ in plan.cells if row.mode == "sequential" for part in row.variant.split("; ")}
    totals = sorted(int(part.partition("=")[2]) for part in settings if part.startswith(f"{UPDATES}="))
    if not totals:
        return []
    return [
        f"{', '.join(f'{total:,}' for total in totals)} updates in all are shared out over the tasks of a sequence, "
        "T/k for each of k tasks: sequences of different numbers of tasks share no prefix"
    ]
