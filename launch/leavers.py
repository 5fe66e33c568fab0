"""Runs that left the grid file: told, and taken out of the queue on request; what they have computed stays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from launch.campaign import Campaign
from launch.ledger import Ledger
from launch.observation.queue import Queue
from launch.plan import Plan


@dataclass(frozen=True)
class Leavers:
    """`gone`: runs of this grid's last version that it does not name any more. `queued`: jobs in the queue, by run, of
    runs that no grid of this root names: neither they nor anything built on them is wanted."""

    gone: tuple[str, ...]
    queued: dict[str, str]
    unsure: int = 0

    def lines(self) -> list[str]:
        """What to tell."""
        told = []
        if self.gone:
            told.append(
                f"{len(self.gone)} runs left the grid since the last time, such as {self.gone[0]}; results stay"
            )
        if self.queued:
            told.append(
                f"{len(self.queued)} runs that no grid of this root names any more are queued or running, such as "
                f"{next(iter(self.queued))}; --prune cancels them"
            )
        if self.unsure:
            told.append(
                f"{self.unsure} runs in the queue are not of this grid; another grid of this root does not say yet "
                "which runs it has: launch it once before --prune"
            )
        return told


def find_leavers(plan: Plan, campaign: Campaign, ledger: Ledger, queue: Queue, before: Collection[str]) -> Leavers:
    """Compare a plan with the runs that its grid had `before`, and the queue with every grid of the root.

    A grid's list of runs holds their ancestors too, so a run that anybody needs is in one of them.
    """
    gone = tuple(run_id for run_id in before if run_id not in plan.runs)
    strangers: dict[str, str] = {}
    for submission in ledger.submissions:
        # A pack goes on for the runs in it that are still wanted.
        stays = {index for run_id, index in submission.indices.items() if run_id in plan.runs}
        for run_id, index in submission.indices.items():
            if index in stays or (submission.tag, submission.index_of(run_id)) not in queue.live:
                continue
            job = queue.live[submission.tag, submission.index_of(run_id)]
            strangers[run_id] = job.id if job.index is None else f"{job.id}_{index}"
    if not strangers:
        return Leavers(gone, {})
    others = campaign.runs_of_other_grids(plan.grid.name)
    if others is None:
        return Leavers(gone, {}, len(strangers))
    return Leavers(gone, {run_id: job for run_id, job in strangers.items() if run_id not in others})
