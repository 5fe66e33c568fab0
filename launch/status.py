"""How a campaign stands: states of all its runs from their folders, one squeue and at most one sacct.

python launch/status.py --grid full_matrix.yaml
python launch/status.py --grid full_matrix.yaml --json
python launch/status.py --grid full_matrix.yaml --data      what data it stands on
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

if __name__ == "__main__":  # as a script, Python puts launch/ first on its path, not the project
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console

from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.data_report import count_note, list_lines, list_sets
from launch.history import PILOT_FOLDER
from launch.ledger import Ledger
from launch.observe import observe
from launch.pilot import make_pilot
from launch.plan import make_plan
from launch.show import problems_table, stage_table, status_json
from launch.spec import find_grid, load_grid
from stilts.errors import UserError


def main(argv: list[str] | None = None) -> int:
    """Print the status; exit code 2 for wrong input."""
    parser = argparse.ArgumentParser(
        prog="status.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grid", required=True, help="a YAML file, or the name of one in launch/grids/")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="campaign folder (default: runs/)")
    parser.add_argument("--cluster", help="as given to grid.py; the states do not depend on it")
    parser.add_argument("--pilot", action="store_true", help="the runs of `grid.py --pilot`")
    parser.add_argument("--json", action="store_true", help="every run and the counts as JSON")
    parser.add_argument("--data", action="store_true", help="every data set: source, licence, counts, checksum")
    arguments = parser.parse_args(argv)
    console = Console(highlight=False)
    try:
        plan = make_plan(load_grid(find_grid(arguments.grid)), load_cluster(arguments.cluster))
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    campaign = Campaign(arguments.root.absolute())
    if arguments.pilot:
        plan, campaign = make_pilot(plan), Campaign(campaign.root / PILOT_FOLDER)
    if arguments.data:
        print(list_lines(list_sets(plan, campaign)))
        return 0
    observations, queue = observe(plan, campaign, Ledger(campaign.submissions, read_only=True))
    if arguments.json:
        print(json.dumps(status_json(plan, observations, queue.notes), indent=1))
        return 0
    console.print(stage_table(plan, observations))
    attention = problems_table(plan, observations)
    if attention:
        console.print(attention)
        console.print("the same grid.py command repairs what failed, was cancelled or is blocked")
    for note in [*queue.notes, *filter(None, [count_note(list_sets(plan, campaign))])]:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
