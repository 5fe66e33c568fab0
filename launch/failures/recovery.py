"""What is done about failures before anything is submitted: recorded, answered by policy, the breaker obeyed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from launch.campaign import Campaign
from launch.failures.answer import Answer, answer
from launch.failures.evidence import Failure, find_failures
from launch.failures.history import Entry, append_entry, make_entry, read_history
from launch.ledger import Ledger
from launch.observation.queue import Queue
from launch.observation.states import LIVE, Observation
from launch.orders import Orders
from launch.plan import Plan
from launch.slurm import SlurmUnavailable, count_nodes
from stilts.failures import CHANCE
from stilts.runs import read_json

HELD_REASON = "JobHeldUser"  # what squeue says of a job that was held


@dataclass
class Recovery:
    """`withheld`: runs that are not to be submitted now, with the reason. `hold`: pending runs of arrays whose breaker
    has tripped. `failures` are those of the runs that are failed now; `entries` all failures that a run has had, with
    `answers` to them. `tripped`: tags of those arrays, with the error. `notes` are for people."""

    failures: dict[str, Failure] = field(default_factory=dict)
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)
    hold: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tripped: dict[str, str] = field(default_factory=dict)


def recover(
    plan: Plan,
    campaign: Campaign,
    ledger: Ledger,
    observations: Mapping[str, Observation],
    queue: Queue,
    orders: Orders,
    write: bool = True,
) -> Recovery:
    """Answer every failure, put the answers into the plan's resources, and say which runs are left alone.

    `write` keeps the answers in the runs' folders; without it nothing is written.
    """
    recovery = Recovery(find_failures(observations, campaign, ledger, queue))
    for run_id, seen in observations.items():
        if seen.state not in ("done", *LIVE) and (run_id in recovery.failures or ledger.of(run_id)):
            _answer(run_id, plan, campaign, orders, recovery, write)
    _trip(plan, ledger, observations, orders, recovery)
    for run_id in observations:
        if why := orders.of(run_id):
            recovery.withheld[run_id] = why
    recovery.withheld = spread(plan, observations, recovery.withheld)
    return recovery


def spread(plan: Plan, observations: Mapping[str, Observation], withheld: Mapping[str, str]) -> dict[str, str]:
    """The withheld runs that could be submitted, and those that would wait for one of them."""
    found: dict[str, str] = {}
    for run_id, run in plan.runs.items():
        if observations[run_id].state in ("done", *LIVE):
            continue
        waits = next((need for need in run.needs if need in found), None)
        if run_id in withheld:
            found[run_id] = withheld[run_id]
        elif waits is not None:
            found[run_id] = f"waits for {waits}, which is left alone"
    return found


def _answer(run_id: str, plan: Plan, campaign: Campaign, orders: Orders, recovery: Recovery, write: bool) -> None:
    entries, failure = read_history(campaign, run_id), recovery.failures.get(run_id)
    new = make_entry(failure) if failure and all(entry.key != failure.key for entry in entries) else None
    entries = [*entries, new] if new else entries
    if not entries:
        return
    policies, base = plan.cluster.failures, plan.resource_class(run_id)
    decided = answer(entries, base, policies, orders.pardoned.get(run_id, 0.0))
    plan.give(run_id, decided.resources)
    if new and failure:
        entries[-1] = replace(new, answer=decided.text)
        if write:
            append_entry(campaign, run_id, entries[-1], failure.evidence)
    recovery.entries[run_id], recovery.answers[run_id] = entries, decided
    # A run that has been cancelled since it failed last is not held back by that.
    if decided.stop and failure:
        recovery.withheld[run_id] = f"{decided.stop}; grid.py retry submits it again"


def avoid_nodes(plan: Plan, recovery: Recovery) -> list[str]:
    """Keep the next jobs of runs that a node has failed off such nodes; says which, or why none.

    All are kept off the same ones, so that they share arrays, and off a quarter of the cluster's nodes at most.
    """
    again = [run_id for run_id, decided in recovery.answers.items() if decided.nodes and not decided.stop]
    nodes = Counter(node for run_id in again for node in recovery.answers[run_id].nodes)
    if not nodes:
        return []
    try:
        most = count_nodes() // 4
    except SlurmUnavailable as problem:
        return [f"{problem}: no node is excluded after node failures"]
    avoided = sorted(node for node, _ in nodes.most_common(most))
    if not avoided:
        return ["no node is excluded after node failures: the cluster has too few to do without one"]
    for run_id in again:
        plan.give(run_id, plan.resources(run_id).model_copy(update={"exclude": ",".join(avoided)}))
    return [f"{len(again)} runs that lost their node are kept off {', '.join(avoided)}"]


def _trip(
    plan: Plan, ledger: Ledger, observations: Mapping[str, Observation], orders: Orders, recovery: Recovery
) -> None:
    """Withhold the failed and hold the pending runs of arrays in which one error has ended too many."""
    limit = plan.cluster.failures.circuit_breaker
    counted = {
        run_id: failure
        for run_id, failure in recovery.failures.items()
        if failure.kind not in CHANCE and recovery.entries[run_id][-1].time > orders.pardoned.get(run_id, 0.0)
    }
    recovery.tripped = find_tripped(limit, ledger, orders, counted)
    for tag, signature in recovery.tripped.items():
        array = next(submission for submission in ledger.submissions if submission.tag == tag)
        same = [
            run_id for run_id, failure in counted.items() if (failure.submission, failure.signature) == (tag, signature)
        ]
        alike = f"circuit breaker: {len(same)} runs of job {array.job_id} failed with '{signature}'"
        recovery.withheld |= dict.fromkeys(same, f"{alike}; grid.py retry submits them again")
        pending = [run for run in array.runs if run in observations and is_pending_in(observations[run], array.job_id)]
        recovery.hold += [run for run in pending if HELD_REASON not in observations[run].reason]
        recovery.notes.append(
            f"{alike}; the {len(pending)} that have not begun are held. Mend it, then retry them (with the code as it "
            "is now) or release them (as they were submitted)"
        )


def find_tripped(limit: int, ledger: Ledger, orders: Orders, failures: Mapping[str, Failure]) -> dict[str, str]:
    """Tags of arrays whose breaker has tripped and that nobody has released, each with its error.

    A job may have seen it first, when no launcher was at work.
    """
    if not limit:
        return {}
    counts = Counter((failure.submission, failure.signature) for failure in failures.values() if failure.submission)
    tripped = {str(tag): signature for (tag, signature), count in counts.items() if count >= limit}
    for tag in {str(tag) for tag, _ in counts}:
        record = read_json(ledger.folder / tag / "tripped.json") or {}
        if isinstance(record.get("signature"), str):
            tripped.setdefault(tag, record["signature"])
    sizes = {submission.tag: len(submission.runs) for submission in ledger.submissions}
    return {tag: signature for tag, signature in tripped.items() if tag not in orders.released and sizes[tag] > 1}


def is_pending_in(seen: Observation, job_id: str | None) -> bool:
    """Whether a run waits in the queue as an element of this job."""
    return seen.state == "pending" and job_id is not None and (seen.job or "").partition("_")[0] == job_id


def tell_withheld(withheld: Mapping[str, str], most: int = 8) -> list[str]:
    """Why runs are left alone, in lines: one a reason, the most frequent first, with an example."""
    examples: dict[str, str] = {}
    for run_id, why in withheld.items():
        examples.setdefault(why, run_id)
    counts = Counter(why for why in withheld.values() if not why.startswith("waits for "))
    lines = [f"{count} runs (for example {examples[why]}): {why}" for why, count in counts.most_common(most)]
    waiting = len(withheld) - sum(counts.values())
    rest = len(counts) - most
    lines += [f"{rest} more reasons; grid.py explain RUN tells each"] if rest > 0 else []
    return lines + ([f"{waiting} runs that are built on these"] if waiting else [])
