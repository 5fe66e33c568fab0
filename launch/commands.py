"""What `grid.py` does with a plan: show it, prepare or compute it here, clean up after it, or give it to Slurm."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.markup import escape

from launch.campaign import Campaign
from launch.cleaning import find_removable
from launch.cluster import load_cluster
from launch.disk import spell_bytes
from launch.explain import explain
from launch.foresight import Foresight
from launch.here import prepare_here, run_local
from launch.history import PILOT_FOLDER
from launch.ledger import Ledger
from launch.limits import SLURMS_ARRAY_LIMIT, read_array_limit
from launch.observation.states import Observation
from launch.operations import Desk
from launch.options import selected_expressions
from launch.pilot import begin_pilot, make_pilot, show_pilot
from launch.plan import Plan, make_plan
from launch.preparation import reopen_scored
from launch.reconcile import decide
from launch.rounds import Wishes, run_slurm
from launch.scene import look
from launch.selectors import read_selection
from launch.show import plan_json, plan_tree, stage_table
from launch.slurm import SlurmUnavailable, require_commands, require_plain_root, show_config
from launch.spec import find_grid, load_grid
from launch.summary import summarise
from stilts.errors import UserError
from stilts.runs import remove_folder


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Do what the command line asks for and return the exit code."""
    grid = load_grid(find_grid(arguments.grid))
    plan = make_plan(grid, load_cluster(arguments.cluster))
    campaign = Campaign(arguments.root.absolute())
    if arguments.pilot:
        plan, campaign = make_pilot(plan), Campaign(campaign.root / PILOT_FOLDER)
    selection = read_selection(plan, selected_expressions(arguments))
    if arguments.action == "explain":
        scene = look(plan, campaign, Ledger(campaign.submissions, read_only=True))
        for run_id in read_selection(plan, [arguments.run]).choose(scene.observations):
            console.print(explain(scene, run_id), soft_wrap=True, markup=False)
        return 0
    if arguments.action and arguments.action != "retry":
        with campaign.lock():
            scene = look(plan, campaign, Ledger(campaign.submissions))
            done = Desk(scene).act(arguments.action, selection.choose(scene.observations))
        for told in done.told:
            console.print(escape(told), soft_wrap=True)
        return 0
    wishes = Wishes.of(arguments, selection, Foresight.of(arguments, plan))
    if arguments.dry_run:
        return dry_run(plan, campaign, wishes, arguments.json, console)
    if arguments.check:
        return check_only(plan, campaign, wishes, console)
    if arguments.pilot:
        with campaign.lock():
            begin_pilot(plan, campaign)
    code = start(plan, campaign, wishes, arguments, console)
    if arguments.pilot:
        show_pilot(plan, campaign, console)
    return code


def start(plan: Plan, campaign: Campaign, wishes: Wishes, arguments: argparse.Namespace, console: Console) -> int:
    """Prepare or compute what is missing, or give it to Slurm."""
    if arguments.executor == "slurm" and not (arguments.prepare_only or arguments.gc):
        require_commands()
        require_plain_root(campaign.root)
        return run_slurm(plan, campaign, wishes, console)
    with campaign.lock():
        campaign.write_grid(plan)
        ledger = Ledger(campaign.submissions)
        scene = look(plan, campaign, ledger, write=True)
        for note in scene.notes:
            console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)
        if arguments.rescore:
            reopened = reopen_scored(plan, campaign, scene.observations)
            console.print(f"reading {len(reopened)} scored sets again; what is unchanged keeps its scores")
            scene = look(plan, campaign, ledger, write=True)
        if arguments.action == "retry":
            chosen = wishes.selection.choose(scene.observations)
            done = Desk(scene).act("retry", chosen)
            scene = scene.retry(chosen, done.observations)
            for told in done.told:
                console.print(escape(told), soft_wrap=True)
        observations = scene.observations
        if arguments.gc:
            return collect_garbage(plan, campaign, observations, console)
        if arguments.prepare_only:
            return prepare_here(plan, campaign, observations, arguments, console)
        wanted, _ = wishes.choose(plan, observations, scene.ordered)
        if excess := wishes.foresight.find_excess(plan, observations, wanted):
            raise UserError(excess)
        return run_local(plan, campaign, observations, wanted, arguments, console)


def dry_run(plan: Plan, campaign: Campaign, wishes: Wishes, as_json: bool, console: Console) -> int:
    """Show the plan against what is on disk and in the queue."""
    scene = look(plan, campaign, Ledger(campaign.submissions, read_only=True))
    observations = scene.observations
    wanted, companions = wishes.choose(plan, observations, scene.wanted)
    actions = decide(plan, observations, _array_limit(), wanted)
    outlook = wishes.foresight.price(plan, observations)
    summary = summarise(plan, observations, campaign.root, wishes.foresight.parallel)
    if as_json:
        found = plan_json(plan, observations, actions) | summary.as_json() | outlook.as_json()
        print(json.dumps(found, indent=1))
        return 0
    console.print(plan_tree(plan, observations))
    console.print(stage_table(plan, observations))
    console.print(summary.regime_table())
    console.print(outlook.table())
    for line in [*summary.lines(), *outlook.lines()]:
        console.print(escape(line), soft_wrap=True)
    hours = sum(plan.gpu_hours(run_id) for run_id in actions.runs)
    along = f" ({len(companions)} of them because the selected ones are built on them)" if companions else ""
    console.print(
        f"would submit {len(actions.runs)} runs{along} in {len(actions.arrays)} sbatch calls, about {hours:,.0f} "
        "GPU-hours",
        soft_wrap=True,
    )
    return 0


def check_only(plan: Plan, campaign: Campaign, wishes: Wishes, console: Console) -> int:
    """Tell what stands in the way of the runs that would be started."""
    scene = look(plan, campaign, Ledger(campaign.submissions, read_only=True))
    wanted, _ = wishes.choose(plan, scene.observations, scene.wanted)
    wishes.foresight.check(plan, campaign, scene.observations, wanted).show(console)
    return 0


def collect_garbage(plan: Plan, campaign: Campaign, observations: dict[str, Observation], console: Console) -> int:
    """Remove what no run needs any more and say what it was."""
    found = find_removable(plan, campaign, observations)
    for removable in found:
        remove_folder(removable.path)
        told = f"removed {spell_bytes(removable.bytes):>8}  {removable.path.relative_to(campaign.root)}"
        console.print(told, soft_wrap=True)
    total = spell_bytes(sum(removable.bytes for removable in found))
    console.print(f"{len(found)} folders, {total}; metric files, predictions and logs are untouched")
    return 0


def _array_limit() -> int:
    try:
        return read_array_limit(show_config())
    except SlurmUnavailable:
        return SLURMS_ARRAY_LIMIT
