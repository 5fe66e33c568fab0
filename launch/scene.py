"""All that is known of a campaign at one moment: states, orders, failures and their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from launch.campaign import Campaign
from launch.failures.policies import HELPING
from launch.failures.recovery import Recovery, recover, spread
from launch.ledger import Ledger
from launch.lineage import find_lineage
from launch.observation.observe import observe
from launch.observation.queue import Queue
from launch.observation.states import Observation
from launch.orders import Orders, read_orders, show_orders
from launch.plan import Plan
from launch.reconcile import wanted_runs
from stilts.failures import CHANCE


@dataclass(frozen=True)
class Scene:
    """`observations` show people's orders too; `plan` has the resources that follow from the failures."""

    plan: Plan
    campaign: Campaign
    ledger: Ledger
    queue: Queue
    orders: Orders
    observations: dict[str, Observation]
    recovery: Recovery

    @property
    def notes(self) -> list[str]:
        """What could not be known, and what was found about failures."""
        return [*self.queue.notes, *self.recovery.notes]

    @property
    def wanted(self) -> list[str]:
        """Runs to submit now, parents first."""
        runs = wanted_runs(self.plan, self.observations)
        return [run_id for run_id in runs if run_id not in self.recovery.withheld]

    def is_chance(self, run_id: str) -> bool:
        """Whether a failed run may do better without anybody's help: with more memory or time, or on another node."""
        failure = self.recovery.failures.get(run_id)
        return failure is not None and (
            failure.kind in CHANCE or self.plan.cluster.failures.of(failure.kind).action in HELPING
        )

    @property
    def ordered(self) -> list[str]:
        """Runs to compute here, where somebody looks on: failures are tried again, orders hold."""
        orders = {run_id: why for run_id in self.plan.runs if (why := self.orders.of(run_id))}
        left = spread(self.plan, self.observations, orders)
        return [run_id for run_id in wanted_runs(self.plan, self.observations) if run_id not in left]

    def retry(self, chosen: Iterable[str], observations: Mapping[str, Observation]) -> Scene:
        """The scene after these runs were pardoned: they, and what they are built on, may be submitted, no others."""
        recovery = recover(self.plan, self.campaign, self.ledger, observations, self.queue, self.orders, write=False)
        asked = find_lineage(self.plan, chosen)
        others = dict.fromkeys(self.plan.runs.keys() - set(asked), "it was not chosen")
        withheld = {**others, **recovery.withheld}
        recovery = replace(recovery, withheld=spread(self.plan, observations, withheld))
        return replace(self, observations=dict(observations), recovery=recovery)


def look(plan: Plan, campaign: Campaign, ledger: Ledger, write: bool = False) -> Scene:
    """Observe a campaign, and answer its failures; `write` keeps the answers in the runs' folders."""
    return judge(plan, campaign, ledger, *observe(plan, campaign, ledger), write)


def judge(
    plan: Plan, campaign: Campaign, ledger: Ledger, seen: Mapping[str, Observation], queue: Queue, write: bool
) -> Scene:
    """The scene of what was observed."""
    orders = read_orders(campaign)
    observations = show_orders(seen, orders)
    recovery = recover(plan, campaign, ledger, observations, queue, orders, write)
    return Scene(plan, campaign, ledger, queue, orders, observations, recovery)
