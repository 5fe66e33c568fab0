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
from pathlib import Path

if __name__ == "__main__":  # as a script, Python puts launch/ first on its path, not the project
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console
from rich.markup import escape

from launch.campaign import Campaign
from launch.cleaning import find_removable
from launch.cluster import load_cluster
from launch.disk import estimate_disk, refuse_too_little, spell_bytes
from launch.here import prepare_here, run_local
from launch.ledger import Ledger
from launch.local import default_workers, find_gpus
from launch.observe import Observation, observe
from launch.plan import Plan, make_plan
from launch.preparation import reopen_scored
from launch.reconcile import Array, decide
from launch.show import plan_json, plan_tree, print_next, stage_table, why_nothing
from launch.slurm import SlurmUnavailable, max_array_size, require_commands
from launch.snapshot import take_snapshot
from launch.spec import find_grid, load_grid
from launch.submit import submit_arrays
from launch.summary import summarise
from stilts.errors import UserError
from stilts.runs import remove_folder

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
    parser.add_argument(
        "--gc",
        action="store_true",
        help="remove the weights of encoders whose children are all done; results stay, `keep: true` keeps all",
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
    if arguments.executor == "slurm" and not (arguments.prepare_only or arguments.gc):
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
        if arguments.gc:
            return collect_garbage(plan, campaign, observations, console)
        if arguments.prepare_only:
            return prepare_here(plan, campaign, observations, arguments, console)
        if arguments.executor == "local":
            return run_local(plan, campaign, observations, arguments, console)
        return run_slurm(plan, campaign, ledger, observations, arguments, console)


def dry_run(plan: Plan, campaign: Campaign, arguments: argparse.Namespace, console: Console) -> int:
    """Show the plan against what is on disk and in the queue."""
    observations, _ = observe(plan, campaign, Ledger(campaign.submissions, read_only=True))
    actions = decide(plan, observations, _array_limit())
    summary = summarise(plan, observations, campaign.root, _parallel(plan, arguments))
    if arguments.json:
        print(json.dumps({**plan_json(plan, observations, actions), **summary.as_json()}, indent=1))
        return 0
    console.print(plan_tree(plan, observations))
    console.print(stage_table(plan, observations))
    console.print(summary.regime_table())
    for line in summary.lines():
        console.print(escape(line), soft_wrap=True)
    hours = sum(plan.gpu_hours(run_id) for run_id in actions.runs)
    console.print(
        f"would submit {len(actions.runs)} runs in {len(actions.arrays)} sbatch calls, about {hours:,.0f} GPU-hours "
        f"(estimated at {plan.cluster.tokens_per_second:,.0f} sub-words a second on one GPU, not measured)",
        soft_wrap=True,
    )
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
    unfinished = {run_id for run_id, seen in observations.items() if seen.state != "done"}
    refuse_too_little(estimate_disk(plan, unfinished, _parallel(plan, arguments)), campaign.root)
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


def _parallel(plan: Plan, arguments: argparse.Namespace) -> int:
    """How many trainings are at work at once, as far as it is known."""
    if arguments.executor == "slurm":
        return plan.cluster.array_parallelism
    return int(arguments.workers or default_workers(find_gpus()))


def _array_limit() -> int:
    try:
        return max_array_size()
    except SlurmUnavailable:
        return 1001  # Slurm's default


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
