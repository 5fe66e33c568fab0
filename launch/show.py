"""What people see: tables, trees and progress of plans and campaigns, in a terminal or in a log file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from launch.campaign import Campaign
from launch.local import Pool
from launch.observe import STATES, Observation
from launch.plan import Plan
from launch.reconcile import Actions
from stilts.runs import Run, read_json

STYLES = {
    "done": "green",
    "running": "cyan",
    "pending": "blue",
    "planned": "white",
    "failed": "bold red",
    "blocked": "magenta",
    "cancelled": "yellow",
    "stale": "yellow",
}
TREE_LIMIT = 60  # lines; a larger plan is drawn without its leaves


def plan_json(plan: Plan, observations: Mapping[str, Observation], actions: Actions) -> dict[str, Any]:
    """The plan as other tools read it (contract 1)."""
    runs = [
        {
            "id": run.id,
            "stage": run.stage,
            "parents": list(run.needs),
            "state": observations[run.id].state,
            "reason": observations[run.id].reason,
            "resources": plan.resources(run.id).model_dump(exclude_none=True),
            "gpu_hours": round(plan.gpu_hours(run.id), 3),
        }
        for run in plan.runs.values()
    ]
    left = sum(plan.gpu_hours(run_id) for run_id in plan.runs if observations[run_id].state != "done")
    return {
        "grid": plan.grid.name,
        "runs": runs,
        "submits": actions.runs,
        "sbatch_calls": len(actions.arrays),
        "gpu_hours": round(left, 3),
    }


def status_json(plan: Plan, observations: Mapping[str, Observation], notes: Iterable[str]) -> dict[str, Any]:
    """The state of every run as other tools read it (contract 2)."""
    runs = [
        {"id": run.id, "stage": run.stage, "state": seen.state, "reason": seen.reason, "slurm_job": seen.job}
        for run in plan.runs.values()
        for seen in [observations[run.id]]
    ]
    counts = Counter(observation.state for observation in observations.values())
    return {"runs": runs, "counts": {state: counts[state] for state in STATES}, "notes": list(notes)}


def stage_table(plan: Plan, observations: Mapping[str, Observation]) -> Table:
    """Runs by stage and state, with GPU-hours that are left."""
    present = [state for state in STATES if any(seen.state == state for seen in observations.values())]
    table = Table(title=f"{plan.grid.name}: {len(plan.runs)} runs", title_justify="left")
    table.add_column("stage")
    for state in present:
        table.add_column(state, justify="right", style=STYLES[state])
    table.add_column("GPU-hours left", justify="right")
    for stage in dict.fromkeys(run.stage for run in plan.runs.values()):
        members = [run_id for run_id, run in plan.runs.items() if run.stage == stage]
        counts = Counter(observations[run_id].state for run_id in members)
        hours = sum(plan.gpu_hours(run_id) for run_id in members if observations[run_id].state != "done")
        table.add_row(stage, *(str(counts[state] or "") for state in present), f"{hours:,.1f}")
    return table


def plan_tree(plan: Plan, observations: Mapping[str, Observation]) -> Tree:
    """The DAG along its encoders, seeds folded: each line stands below the run whose weights it starts from.

    In a large plan the runs that nothing else builds on are counted, not drawn.
    """
    drawn = {run_id: run for run_id, run in plan.runs.items() if not _is_data(run)}
    groups: dict[tuple[Any, ...], list[str]] = {}
    group_of: dict[str, tuple[Any, ...]] = {}
    for run in drawn.values():
        encoder = next((parent for parent in run.parents if parent in drawn), None)
        name = f"{run.stage}-{run.slug}".removesuffix(f"-s{run.config.get('seed')}")
        group_of[run.id] = (group_of[encoder] if encoder else (), name)
        groups.setdefault(group_of[run.id], []).append(run.id)
    parents = {group[0] for group in groups}
    fold = len(groups) > TREE_LIMIT
    tree = Tree(f"[bold]{plan.grid.name}[/bold]")
    branches: dict[tuple[Any, ...], Tree] = {(): tree}
    for group, members in groups.items():
        if not fold or group in parents or not group[0]:
            line = Text.assemble(f"{group[1]} ", *_states(members, observations))
            line.append(_leaves(group, groups, parents, plan) if fold else "")
            branches[group] = branches[group[0]].add(line)
    counts = Counter(run.stage for run in plan.runs.values() if _is_data(run))
    tree.add(f"[dim]{', '.join(f'{count} {stage}' for stage, count in counts.items())} (data, not drawn)[/dim]")
    return tree


def _is_data(run: Run) -> bool:
    return run.stage in ("fetch", "prepare") and run.config.get("kind") != "model"


def _states(members: list[str], observations: Mapping[str, Observation]) -> list[tuple[str, str]]:
    counts = Counter(observations[run_id].state for run_id in members)
    return [(f"{count} {state} ", STYLES[state]) for state, count in counts.items()]


def _leaves(group: tuple[Any, ...], groups: Mapping[Any, list[str]], parents: set[Any], plan: Plan) -> str:
    """`+ 18 target, 6 retrieval`: runs below a group that nothing builds on."""
    below = [
        run_id for other, members in groups.items() if other[0] == group and other not in parents for run_id in members
    ]
    counts = Counter(plan.runs[run_id].stage for run_id in below)
    return "+ " + ", ".join(f"{count} {stage}" for stage, count in counts.items()) if counts else ""


def problems_table(plan: Plan, observations: Mapping[str, Observation], limit: int = 20) -> Table | None:
    """Runs that need attention, with the reason; None where all is well."""
    bad = ("failed", "cancelled", "blocked", "stale")
    troubled = [(run_id, seen) for run_id, seen in observations.items() if seen.state in bad]
    if not troubled:
        return None
    table = Table("run", "state", "why", title="needs attention", title_justify="left")
    order = {state: position for position, state in enumerate(bad)}
    troubled.sort(key=lambda item: order[item[1].state])
    for run_id, seen in troubled[:limit]:
        table.add_row(run_id, Text(seen.state, style=STYLES[seen.state]), Text(seen.reason.split("\n")[0][:200]))
    if len(troubled) > limit:
        table.add_row(f"... {len(troubled) - limit} more", "", "--json lists every run")
    return table


class PoolDisplay:
    """Live progress of a local pool: redrawn in a terminal, one line for each finished run elsewhere."""

    def __init__(self, console: Console, total: int) -> None:
        self.console = console
        self.total = total
        self.started = time.monotonic()
        self.told: set[str] = set()
        self.drawn = 0.0
        self.live = Live(console=console, refresh_per_second=4, transient=True, auto_refresh=False)

    def __enter__(self) -> PoolDisplay:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def tick(self, pool: Pool) -> None:
        """Show what has changed since the last call."""
        for run_id, outcome in list(pool.outcome.items()):
            if run_id not in self.told:
                self.told.add(run_id)
                self._tell(pool, run_id, outcome)
        if self.console.is_terminal and time.monotonic() - self.drawn > 0.25:
            self.drawn = time.monotonic()
            self.live.update(self._render(pool), refresh=True)

    def _tell(self, pool: Pool, run_id: str, outcome: str) -> None:
        if outcome == "blocked":
            return  # the failure above it was told; the summary lists the rest
        count = f"[{len(self.told):>{len(str(self.total))}}/{self.total}]"
        why = f": {pool.failure(run_id)}" if outcome == "failed" else ""
        line = Text.assemble(f"{self._clock()} {count} ", (f"{outcome:<7}", STYLES[outcome]), f" {run_id}{why}")
        self.console.print(line, soft_wrap=True)

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self.started)
        return f"{seconds // 60:3d}:{seconds % 60:02d}"

    def _render(self, pool: Pool) -> RenderableType:
        finished = len(pool.outcome)
        rows = Table.grid(padding=(0, 1))
        rows.add_row(ProgressBar(self.total, finished, width=30), f"{finished}/{self.total} runs", self._clock(), "")
        for worker in pool.running:
            progress = read_json(pool.campaign.run(worker.run_id).progress) or {}
            if progress.get("time", 0) < worker.started:
                progress = {}
            step, steps = progress.get("step", 0), progress.get("total", 0)
            bar = ProgressBar(max(1, steps), step, width=30)
            loss = f" loss {progress['loss']:.3f}" if isinstance(progress.get("loss"), float) else ""
            rows.add_row(bar, f"{step}/{steps}" if steps else "", progress.get("phase", "starts"), worker.run_id + loss)
        return Group(rows)


def print_next(console: Console, campaign: Campaign, grid: str) -> None:
    """What to do while the jobs wait."""
    console.print(f"status: python launch/status.py --grid {grid} --root {campaign.root}", soft_wrap=True)
    console.print(f"tables: python aggregate/tables.py --results {campaign.root} --out tables", soft_wrap=True)
