"""The main door: a YAML grid becomes Slurm job arrays, or runs on this machine.

python launch/grid.py --grid full_matrix.yaml --dry-run     what would happen
python launch/grid.py --grid full_matrix.yaml               submit; the same command continues the study
python launch/grid.py --grid full_matrix.yaml --prepare-only    fetch and tokenise here, where the network is
python launch/grid.py --grid quickstart.yaml --executor local
"""

from __future__ import annotations

import argparse
import errno
import json
import sys
from collections.abc import Mapping
from pathlib import Path

if __name__ == "__main__":  # as a script, Python puts launch/ first on its path, not the project
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.markup import escape

from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.data_report import count_note, summary_table, write_report
from launch.ledger import Ledger
from launch.local import Pool, default_workers, find_gpus
from launch.observe import LIVE, Observation, observe
from launch.plan import Plan, make_plan
from launch.preparation import preparations, reopen_scored
from launch.reconcile import Actions, Array, decide
from launch.show import PoolDisplay, plan_json, plan_tree, print_next, problems_table, stage_table
from launch.slurm import SlurmUnavailable, cancel, max_array_size, require_commands
from launch.snapshot import take_snapshot
from launch.spec import find_grid, load_grid
from launch.submit import submit_arrays
from stilts.errors import UserError

EPILOG = """\
A grid names a study; its runs are content-addressed, so the same command again starts only what is missing:
runs that were cancelled, failed, or whose parents changed are submitted anew, finished ones are kept.

exit codes: 0 all done or submitted, 1 some runs failed (local) or a submission stopped early, 2 wrong input,
130 interrupted (the same command continues)
"""


DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)


def main(argv: list[str] | None = None) -> int:
    """Parse, plan, observe, and act; every problem of the input is printed at once with exit code 2."""
    arguments = parse_arguments(argv)
    errors = Console(stderr=True, highlight=False)
    try:
        return run(arguments, Console(highlight=False))
    except UserError as error:
        for problem in error.problems:
            errors.print(f"[bold red]error:[/bold red] {escape(problem)}", soft_wrap=True)
        return 2
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        errors.print(f"[bold red]error:[/bold red] {escape(f'{where}{error.strerror}')}", soft_wrap=True)
        errors.print("make room (or choose another --root); what is finished is kept, the same command continues")
        return 2
    except KeyboardInterrupt:
        errors.print("interrupted; the same command continues this campaign")
        return 130


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="grid.py", description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grid", required=True, help="a YAML file, or the name of one in launch/grids/")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="campaign folder (default: runs/)")
    parser.add_argument("--executor", choices=("slurm", "local"), default="slurm", help="default: slurm")
    parser.add_argument("--cluster", help="a YAML file, or the name of one in launch/clusters/ (default: default)")
    parser.add_argument("--workers", type=_count, help="local: runs at once (default: one a GPU, else one a core)")
    parser.add_argument(
        "--prepare-only",
        action="store_true",
        help="fetch data and models and tokenise on this machine (a login node with a network), then stop",
    )
    parser.add_argument(
        "--rescore",
        action="store_true",
        help="read the scored sets again and score finished trainings on what is new or changed, without training",
    )
    parser.add_argument("--dry-run", action="store_true", help="show the plan; write and submit nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    arguments = parser.parse_args(argv)
    if arguments.json and not arguments.dry_run:
        parser.error("--json shows a plan: add --dry-run (launch/status.py --json tells the states)")
    return arguments


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Do what the command line asks for and return the exit code."""
    grid = load_grid(find_grid(arguments.grid))
    plan = make_plan(grid, load_cluster(arguments.cluster))
    campaign = Campaign(arguments.root.absolute())
    if arguments.dry_run:
        return dry_run(plan, campaign, arguments, console)
    if arguments.executor == "slurm" and not arguments.prepare_only:
        require_commands()
    with campaign.lock():
        campaign.write_grid(plan)
        ledger = Ledger(campaign.submissions)
        observations, queue = observe(plan, campaign, ledger)
        for note in queue.notes:
            console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)
        if arguments.rescore:
            reopened = reopen_scored(plan, campaign, observations)
            console.print(f"reading {len(reopened)} scored sets again; what is unchanged keeps its scores")
            observations, _ = observe(plan, campaign, ledger)
        if arguments.prepare_only:
            return prepare_here(plan, campaign, observations, arguments, console)
        if arguments.executor == "local":
            return run_local(plan, campaign, observations, arguments, console)
        return run_slurm(plan, campaign, ledger, observations, arguments, console)


def dry_run(plan: Plan, campaign: Campaign, arguments: argparse.Namespace, console: Console) -> int:
    """Show the plan against what is on disk and in the queue."""
    observations, _ = observe(plan, campaign, Ledger(campaign.submissions, read_only=True))
    actions = decide(plan, observations, _array_limit())
    if arguments.json:
        print(json.dumps(plan_json(plan, observations, actions), indent=1))
        return 0
    console.print(plan_tree(plan, observations))
    console.print(stage_table(plan, observations))
    hours = sum(plan.gpu_hours(run_id) for run_id in actions.runs)
    console.print(
        f"would submit {len(actions.runs)} runs in {len(actions.arrays)} sbatch calls, about {hours:,.0f} GPU-hours "
        f"(estimated at {plan.cluster.tokens_per_second:,.0f} sub-words a second on one GPU, not measured)",
        soft_wrap=True,
    )
    return 0


def run_slurm(
    plan: Plan,
    campaign: Campaign,
    ledger: Ledger,
    observations: dict[str, Observation],
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    """Submit what is missing and say what was done, or why nothing was."""
    actions = decide(plan, observations, _array_limit())
    console.print(stage_table(plan, observations))
    if not actions.arrays:
        console.print(why_nothing(plan, observations), soft_wrap=True)
        return 0
    snapshot = take_snapshot(campaign.code)

    def tell(submission: object, array: Array) -> None:
        console.print(f"submitted {len(array.runs):4d} runs  {getattr(submission, 'name', '')}", soft_wrap=True)

    report = submit_arrays(plan, campaign, ledger, actions, snapshot, tell)
    runs = sum(len(submission.runs) for submission in report.submitted)
    console.print(f"submitted {runs} runs in {len(report.submitted)} sbatch calls (code snapshot {snapshot.name})")
    if report.problem:
        console.print(f"[yellow]stopped early:[/yellow] {escape(report.problem)}", soft_wrap=True)
        console.print("the rest stays planned; the same command submits it")
        return 1
    print_next(console, campaign, arguments.grid)
    return 0


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
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    """Work through the DAG on this machine."""
    actions = decide(plan, observations)
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
    """Run `wanted` in the local pool; 1 where some of them failed."""
    snapshot = take_snapshot(campaign.code)
    campaign.write_specs(plan, wanted)
    workers = arguments.workers or default_workers(gpus)
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


def why_nothing(plan: Plan, observations: dict[str, Observation]) -> str:
    """Why there is nothing to submit, in one sentence."""
    counts: dict[str, int] = {}
    for seen in observations.values():
        counts[seen.state] = counts.get(seen.state, 0) + 1
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"nothing to submit: of {len(plan.runs)} runs {told}"


def _array_limit() -> int:
    try:
        return max_array_size()
    except SlurmUnavailable:
        return 1001  # Slurm's default


def _cancel_doomed(actions: Actions) -> None:
    try:
        cancel(actions.cancel)
    except SlurmUnavailable as error:
        raise UserError(f"jobs of this campaign wait in Slurm's queue and cannot be cancelled: {error}") from None


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
