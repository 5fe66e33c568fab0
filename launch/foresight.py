"""What a command looks at before it starts anything: what it costs, and what stands in its way."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.campaign import Campaign
from launch.disk import estimate_disk
from launch.local import default_workers, find_gpus
from launch.observation.states import LIVE, Observation
from launch.outlook import Outlook, look_out
from launch.plan import Plan
from launch.preflight import Preflight, check, still_to_write
from launch.spending import spent_gpu_hours


@dataclass(frozen=True)
class Foresight:
    """How a command line wants its plan judged. `roots` tell how fast runs are, the campaign's own first; `parallel`
    is how many trainings are at work at once, `gpus` how many GPUs the makespan is for."""

    roots: tuple[Path, ...]
    parallel: int
    gpus: int
    slurm: bool
    budget: float | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace, plan: Plan) -> Foresight:
        """From the parsed command line and the site's limits."""
        slurm = arguments.executor == "slurm"
        parallel = plan.cluster.array_parallelism if slurm else arguments.workers or default_workers(find_gpus())
        cap = plan.cluster.max_gpus if slurm else None
        roots = (arguments.root.absolute(), *arguments.rates)
        return cls(roots, parallel, arguments.gpus or cap or parallel, slurm, arguments.budget)

    def price(self, plan: Plan, observations: Mapping[str, Observation]) -> Outlook:
        """What is left to be paid."""
        return look_out(plan, observations, self.roots, self.gpus)

    def check(
        self,
        plan: Plan,
        campaign: Campaign,
        observations: Mapping[str, Observation],
        wanted: list[str],
        again: bool = False,
    ) -> Preflight:
        """What stands in the way of the `wanted` runs, the budget included. A look that follows another by itself does
        not ask Slurm `again`."""
        need = estimate_disk(plan, still_to_write(wanted, observations), self.parallel)
        report = check(plan, campaign, wanted, need, self.slurm and not again)
        if excess := self.find_excess(plan, observations, wanted):
            report.problems.append(excess)
        return report

    def find_excess(self, plan: Plan, observations: Mapping[str, Observation], wanted: Sequence[str]) -> str | None:
        """Why the budget does not hold the `wanted` runs; None where it does, or there is none."""
        if self.budget is None:
            return None
        live = [run_id for run_id, seen in observations.items() if seen.state in LIVE]
        spent = spent_gpu_hours(self.roots[0])
        return self.price(plan, observations).find_excess(self.budget, spent, wanted, live)
