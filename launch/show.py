"""What people see: tables, trees and progress of plans and campaigns, in a terminal or in a log file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from launch.campaign import Campaign
from launch.local import Pool
from launch.logs import printable
from launch.observation.states import STATES, Observation
from launch.plan import Plan
from launch.reconcile import Actions
from launch.scene import Scene
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
TREE_LIMIT = 60  # lines of a drawn plan, if one or two levels of encoders are not more

Lineage = tuple[str, ...]  # names along the encoders, from the base model


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


def status_json(scene: Scene) -> dict[str, Any]:
    """The state of every run as other tools read it (contract 2), with the kind of each failure."""
    kinds = {run_id: failure.kind for run_id, failure in scene.recovery.failures.items()}
    runs = [
        {
            "id": run.id,
            "stage": run.stage,
            "state": seen.state,
            "reason": seen.reason,
            "slurm_job": seen.job,
            "failure": kinds.get(run.id),
        }
        for run in scene.plan.runs.values()
        for seen in [scene.observations[run.id]]
    ]
    counts = Counter(observation.state for observation in scene.observations.values())
    failures = dict(Counter(kinds.values()))
    told = {state: counts[state] for state in STATES}
    return {"runs": runs, "counts": told, "failures": failures, "notes": scene.notes}


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

    Of a large plan only so many levels of encoders are drawn as fit; what is below them is counted.
    """
    drawn = {run_id: run for run_id, run in plan.runs.items() if not _is_data(run)}
    groups: dict[Lineage, list[str]] = {}
    group_of: dict[str, Lineage] = {}
    for run in drawn.values():
        encoder = next((parent for parent in run.parents if parent in drawn), None)
        name = f"{run.stage}-{run.slug}".removesuffix(f"-s{run.config.get('seed')}")
        group_of[run.id] = (*group_of[encoder], name) if encoder else (name,)
        groups.setdefault(group_of[run.id], []).append(run.id)
    shown = _choose_groups(groups)
    tree = Tree(f"[bold]{plan.grid.name}[/bold]")
    branches: dict[Lineage, Tree] = {(): tree}
    for group in (group for group in groups if group in shown):
        line = Text.assemble(f"{group[-1]} ", *_states(groups[group], observations))
        line.append(_count_hidden(group, groups, shown, plan))
        branches[group] = branches[group[:-1]].add(line)
    counts = Counter(run.stage for run in plan.runs.values() if _is_data(run))
    tree.add(f"[dim]{', '.join(f'{count} {stage}' for stage, count in counts.items())} (data, not drawn)[/dim]")
    return tree


def _choose_groups(groups: Mapping[Lineage, list[str]]) -> set[Lineage]:
    """All groups where they are few, else encoders (what others start from) down to a level at which they are."""
    if len(groups) <= TREE_LIMIT:
        return set(groups)
    encoders = {group[:-1] for group in groups} | {group for group in groups if len(group) == 1}
    encoders.discard(())
    for depth in range(max(map(len, encoders)), 1, -1):
        chosen = {group for group in encoders if len(group) <= depth}
        if len(chosen) <= TREE_LIMIT:
            return chosen
    return {group for group in encoders if len(group) <= 2}


def _count_hidden(group: Lineage, groups: Mapping[Lineage, list[str]], shown: set[Lineage], plan: Plan) -> str:
    """`+ 18 target, 6 retrieval`: runs below a group that are not drawn, nor below another that is."""
    depth = len(group)
    below = [
        run_id
        for other, members in groups.items()
        if len(other) > depth and other[:depth] == group and other[: depth + 1] not in shown
        for run_id in members
    ]
    counts = Counter(plan.runs[run_id].stage for run_id in below)
    return "+ " + ", ".join(f"{count} {stage}" for stage, count in counts.items()) if counts else ""


def _is_data(run: Run) -> bool:
    encoder = run.config.get("kind") == "model" and "role" not in run.config
    return run.stage in ("fetch", "translate", "prepare") and not encoder


def _states(members: list[str], observations: Mapping[str, Observation]) -> list[tuple[str, str]]:
    counts = Counter(observations[run_id].state for run_id in members)
    return [(f"{count} {state} ", STYLES[state]) for state, count in counts.items()]


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
        table.add_row(
            run_id, Text(seen.state, style=STYLES[seen.state]), Text(printable(seen.reason.split("\n")[0][:200]))
        )
    if len(troubled) > limit:
        table.add_row(f"... {len(troubled) - limit} more", "", "--json lists every run")
    return table


def why_nothing(plan: Plan, observations: Mapping[str, Observation]) -> str:
    """Why there is nothing to submit, in one sentence."""
    counts = Counter(seen.state for seen in observations.values())
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"nothing to submit: of {len(plan.runs)} runs {told}"


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
