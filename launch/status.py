"""How a campaign stands: states of all its runs from their folders, one squeue and at most one sacct.

python launch/status.py --grid full_matrix.yaml
python launch/status.py --grid full_matrix.yaml --watch     the same, redrawn every half minute
python launch/status.py --grid full_matrix.yaml why RUN     why a run failed, and what would help
python launch/status.py --grid full_matrix.yaml logs RUN    the log of its newest attempt; --follow: as it grows
python launch/status.py --grid full_matrix.yaml --html campaign.html    one page with the whole DAG
python launch/status.py --grid full_matrix.yaml --json
python launch/status.py --grid full_matrix.yaml --data      what data it stands on
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # as a script, Python puts launch/ first on its path, not the project
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console

from launch.campaign import Campaign
from launch.cluster import load_cluster
from launch.data_report import count_note, list_lines, list_sets
from launch.explain import explain_failure
from launch.history import PILOT_FOLDER
from launch.ledger import Ledger
from launch.logs import copy_to_terminal, find_logs, follow
from launch.observation.attempts import last_attempt
from launch.observation.states import LIVE
from launch.pilot import make_pilot
from launch.plan import make_plan
from launch.scene import Scene, look
from launch.selectors import read_selection
from launch.show import problems_table, status_json
from launch.spec import find_grid, load_grid
from launch.view.interval import interval_s
from stilts.errors import UserError

EXIT_INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Print the status; exit code 2 for wrong input."""
    arguments = parse_arguments(argv)
    try:
        return run(arguments, Console(highlight=False))
    except UserError as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {f'{error.filename}: ' if error.filename else ''}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="status.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", nargs="?", choices=("why", "logs"), metavar="why|logs", help="about one run")
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run's id, the beginning of one, or a pattern")
    parser.add_argument("--grid", required=True, help="a YAML file, or the name of one in launch/grids/")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="campaign folder (default: runs/)")
    parser.add_argument("--cluster", help="as given to grid.py; the states do not depend on it")
    parser.add_argument("--follow", action="store_true", help="with logs: go on as the log grows, until the run ends")
    parser.add_argument("--pilot", action="store_true", help="the runs of `grid.py --pilot`")
    parser.add_argument("--watch", action="store_true", help="again every 30 s (more rarely where Slurm is slow)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page that needs no network")
    parser.add_argument("--json", action="store_true", help="every run and the counts as JSON")
    parser.add_argument("--data", action="store_true", help="every data set: source, licence, counts, checksum")
    arguments = parser.parse_args(argv)
    if bool(arguments.action) != bool(arguments.run):
        parser.error(f"{arguments.action} needs a run: status.py --grid G {arguments.action} RUN")
    if arguments.follow and arguments.action != "logs":
        parser.error("--follow belongs to logs RUN")
    return arguments


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Show what the command line asks for and return the exit code."""
    plan = make_plan(load_grid(find_grid(arguments.grid)), load_cluster(arguments.cluster))
    campaign = Campaign(arguments.root.absolute())
    if arguments.pilot:
        plan, campaign = make_pilot(plan), Campaign(campaign.root / PILOT_FOLDER)

    def see() -> Scene:
        return look(plan, campaign, Ledger(campaign.submissions, read_only=True))

    if arguments.data:
        print(list_lines(list_sets(plan, campaign)))
        return 0
    if arguments.watch:
        from launch.view.watch import watch

        return watch(see, console)
    scene = see()
    if arguments.json:
        print(json.dumps(status_json(scene), indent=1))
        return 0
    if arguments.html:
        from launch.view.page import write_page

        told = write_page(scene, arguments.html)
        console.print(told, soft_wrap=True, markup=False)
        return 0
    if arguments.action:
        return tell_of(scene, arguments.run, arguments, console)
    show(scene, console)
    return 0


def show(scene: Scene, console: Console) -> None:
    """The overview, what needs attention, and what could not be known."""
    from launch.view.overview import make_overview
    from launch.view.tables import render

    notes = [*scene.notes, *filter(None, [count_note(list_sets(scene.plan, scene.campaign))])]
    console.print(render(scene.plan.grid.name, make_overview(scene), notes, console))
    attention = problems_table(scene.plan, scene.observations)
    if attention:
        console.print(attention)
        console.print(
            "status.py why RUN tells more of one; the same grid.py command submits what is not left alone, "
            "grid.py retry --select ... the rest",
            soft_wrap=True,
            markup=False,
        )


def tell_of(scene: Scene, word: str, arguments: argparse.Namespace, console: Console) -> int:
    """`why` or `logs` of the runs that a word names."""
    chosen = read_selection(scene.plan, [word]).choose(scene.observations)
    if arguments.action == "why":
        console.print("\n\n".join(explain_failure(scene, run_id) for run_id in chosen), soft_wrap=True, markup=False)
        return 0
    if len(chosen) != 1:
        raise UserError(f"logs: '{word}' names {len(chosen)} runs (for example {chosen[0]}); name one")
    return show_log(scene, chosen[0], arguments.follow)


def show_log(scene: Scene, run_id: str, following: bool) -> int:
    """The log of the newest attempt, or what Slurm wrote where none began; 1 where there is neither."""

    def find() -> Path | None:
        return next(iter(find_logs(scene.campaign, scene.ledger, run_id)), None)

    ended = _Watcher(scene, run_id).has_ended if following else lambda: True
    if find() is None and not following:
        seen = scene.observations[run_id]
        raise UserError(f"{run_id} has no log yet: it is {seen.state}" + (f" ({seen.reason})" if seen.reason else ""))
    copy_to_terminal(follow(find, ended))
    return 0


class _Watcher:
    """Whether a run has left the queue: Slurm is asked when an attempt has ended, and else as rarely as by --watch."""

    def __init__(self, scene: Scene, run_id: str) -> None:
        self.scene, self.run_id = scene, run_id
        self.asked_of: set[Path | None] = set()
        self.live, self.next = scene.observations[run_id].state in LIVE, time.monotonic()

    def has_ended(self) -> bool:
        if not self.live:
            return True
        attempt = last_attempt(self.scene.campaign.run(self.run_id))
        over = attempt is not None and (attempt / "outcome.json").exists() and attempt not in self.asked_of
        if over or time.monotonic() > self.next:
            began = time.monotonic()
            ledger = Ledger(self.scene.campaign.submissions, read_only=True)
            seen = look(self.scene.plan, self.scene.campaign, ledger).observations[self.run_id]
            self.live = seen.state in LIVE
            self.next = time.monotonic() + interval_s(time.monotonic() - began)
            self.asked_of |= {attempt} if over else set()
        return not self.live


if __name__ == "__main__":
    sys.exit(main())
