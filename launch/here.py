"""What is done on this machine: fetching and tokenising ahead, or the whole DAG in a local pool."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from launch.campaign import Campaign
from launch.data_report import count_note, summary_table, write_report
from launch.disk import estimate_disk
from launch.ledger import Ledger
from launch.local import Pool, default_workers, find_gpus
from launch.observation.observe import observe
from launch.observation.states import LIVE, Observation
from launch.plan import Plan
from launch.preflight import check
from launch.preparation import preparations
from launch.reconcile import Actions, decide
from launch.show import PoolDisplay, problems_table, why_nothing
from launch.slurm import SlurmUnavailable, cancel
from launch.snapshot import take_snapshot
from stilts.errors import UserError


def prepare_here(
    plan: Plan,
    campaign: Campaign,
    observations: dict[str, Observation],
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    """Fetch and tokenise on this machine, each in a process of its own, and report what the data is."""
    runs = preparations(plan)
    _refuse_live({run_id: observations[run_id] for run_id in runs})
    wanted = [run_id for run_id in runs if observations[run_id].state != "done"]
    code = work_pool(plan, campaign, wanted, arguments, console, gpus=[]) if wanted else 0
    reports = write_report(plan, campaign)
    console.print(summary_table(reports))
    console.print(f"every set with source, licence, counts and checksum: {campaign.folder / 'data.md'}", soft_wrap=True)
    if not code:
        told = f"all {len(wanted)} are done" if wanted else "all were done before"
        console.print(f"{len(runs)} runs bring and tokenise this grid's data: {told}; nothing was submitted")
    return code


def run_local(
    plan: Plan,
    campaign: Campaign,
    observations: dict[str, Observation],
    wanted: list[str],
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    """Work through the wanted part of the DAG on this machine."""
    actions = decide(plan, observations, wanted=wanted)
    _refuse_live(observations)
    if not actions.runs:
        console.print(why_nothing(plan, observations), soft_wrap=True)
        return 0
    _cancel_doomed(actions)
    code = work_pool(plan, campaign, actions.runs, arguments, console, find_gpus())
    if note := count_note(write_report(plan, campaign)):
        console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)
    if not code:
        console.print(f"all {len(actions.runs)} runs are done; they lie in {campaign.root}", soft_wrap=True)
    return code


def work_pool(
    plan: Plan,
    campaign: Campaign,
    wanted: list[str],
    arguments: argparse.Namespace,
    console: Console,
    gpus: list[str],
) -> int:
    """Run `wanted` in the local pool; 1 where some of them failed. Raises UserError where the disk has not the room."""
    workers = arguments.workers or default_workers(gpus)
    check(plan, campaign, wanted, estimate_disk(plan, set(wanted), workers), slurm=False).refuse()
    snapshot = take_snapshot(campaign.code)
    campaign.write_specs(plan, wanted)
    console.print(
        f"{plan.grid.name}: {len(wanted)} of {len(plan.runs)} runs to do, {workers} at once "
        f"({f'GPUs {chr(44).join(gpus)}' if gpus else 'CPU'}), in {campaign.root}",
        soft_wrap=True,
    )
    pool = Pool(plan, campaign, snapshot, wanted, workers, gpus)
    with PoolDisplay(console, len(wanted)) as display:
        pool.work(display.tick)
    if all(outcome == "done" for outcome in pool.outcome.values()):
        return 0
    after, _ = observe(plan, campaign, Ledger(campaign.submissions))
    console.print(problems_table(plan, {run_id: after[run_id] for run_id in pool.outcome}) or "")
    return 1


def _refuse_live(observations: Mapping[str, Observation]) -> None:
    live = [run_id for run_id, seen in observations.items() if seen.state in LIVE]
    if live:
        raise UserError(
            f"{len(live)} runs of this campaign are pending or running elsewhere (for example {live[0]}, "
            f"{observations[live[0]].reason or 'in the Slurm queue'}); wait for them or cancel them first"
        )


def _cancel_doomed(actions: Actions) -> None:
    try:
        cancel(actions.cancel)
    except SlurmUnavailable as error:
        raise UserError(f"jobs of this campaign wait in Slurm's queue and cannot be cancelled: {error}") from None
