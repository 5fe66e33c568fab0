"""The command lines of the doors. Light: `--help` must not wait for what the commands themselves need."""

from __future__ import annotations

import argparse
from pathlib import Path

ACTIONS = ("explain", "retry", "cancel", "hold", "release")
HELP = """\
actions on the runs that --select names (grid.py --grid G ACTION --select ...):
  explain RUN  lineage, state, the evidence for it, and why it would or would not be submitted now
  retry        forget the failures and cancellations of these runs, and submit them (with the code as it is now)
  cancel       take them out of the queue, or stop them; the same command leaves them alone until retry
  hold         keep them from starting, in the queue and in later submissions, until release
  release      let go what was held, by hand or by the circuit breaker
"""
GRID_EPILOG = f"""\
{HELP}
A grid names a study; its runs are content-addressed, so the same command again starts only what is missing:
runs that were cancelled, failed, or whose parents changed are submitted anew, finished ones are kept. What the site's
limits do not let in yet stays planned; the same command (or --watch, or `continue: slurm` in the cluster file)
submits it when there is room. Two launchers on one campaign do not get in each other's way: the second is told.

--select takes terms, all of which must hold; several --select add up:
  target=xnli seed=1,2       axis values (dotted ones too; shared runs only where nothing else needs them)
  stage=target task=squad1   stages; what a run trains on, scores, reads or tokenises
  state=failed state!=done   states
  target-xnli-none-s1-3f9a   a run's id, its unique beginning, or a shell pattern such as 'intermediate-*-s1-*'
Unfinished runs that the selected ones are built on come along.

exit codes: 0 all done or submitted or waiting for room, 1 some runs failed (local) or a submission stopped early,
2 wrong input, 130 interrupted (the same command continues)
"""


def parse_grid_arguments(description: str | None, argv: list[str] | None) -> argparse.Namespace:
    """The command line of `launch/grid.py`."""
    parser = argparse.ArgumentParser(
        prog="grid.py",
        description=description,
        epilog=GRID_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_actions(parser)
    add_campaign(parser)
    parser.add_argument("--executor", choices=("slurm", "local"), default="slurm", help="default: slurm")
    parser.add_argument("--workers", type=count, help="local: runs at once (default: one a GPU, else one a core)")
    add_select(parser)
    parser.add_argument("--limit", type=count, metavar="N", help="submit at most N (of the selected) runs")
    parser.add_argument(
        "--prune",
        action="store_true",
        help="cancel queued and running runs that left the grid and that no grid of this root needs; results stay",
    )
    parser.add_argument(
        "--watch",
        type=seconds,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="slurm: stay, and look again every so often (default: 60) until nothing waits or runs any more",
    )
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
    add_cost(parser)
    parser.add_argument(
        "--pilot",
        action="store_true",
        help="run each stage, task and resource class once in small, in <root>/pilot: what fails, how fast it is",
    )
    parser.add_argument("--check", action="store_true", help="look for what would go wrong, as every submission does")
    parser.add_argument("--dry-run", action="store_true", help="show the plan; write and submit nothing")
    parser.add_argument("--json", action="store_true", help="with --dry-run: the plan as JSON")
    parser.add_argument("--continued", metavar="TAG", help=argparse.SUPPRESS)  # by the campaign's own job
    arguments = parser.parse_args(argv)
    check_action(parser, arguments)
    for root in arguments.rates:
        if not root.is_dir():
            parser.error(f"--rates: there is no folder {root}")
    if arguments.json and not arguments.dry_run:
        parser.error("--json shows a plan: add --dry-run (launch/status.py --json tells the states)")
    if arguments.executor == "local" and (arguments.watch or arguments.prune):
        parser.error("--watch and --prune are about jobs in Slurm's queue; leave them out with --executor local")
    return arguments


def add_actions(parser: argparse.ArgumentParser) -> None:
    """Give a command its actions, before or after which `--select` says what they are about."""
    parser.add_argument("action", nargs="?", choices=ACTIONS, metavar="ACTION", help=f"one of {', '.join(ACTIONS)}")
    parser.add_argument("run", nargs="?", metavar="RUN", help="explain: a run's id, or the beginning of one")


def check_action(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Refuse what cannot be meant: an action on everything, or a run where none is asked for."""
    swallowed = [word for terms in arguments.select for word in terms if word in ACTIONS]
    if swallowed:
        parser.error(f"write '{swallowed[0]}' before --select, which takes all that follows for its own terms")
    if arguments.action == "explain":
        if not arguments.run:
            parser.error("explain needs a run: grid.py --grid G explain RUN")
    elif arguments.run:
        parser.error(f"'{arguments.run}': name runs with --select")
    elif arguments.action and not arguments.select:
        parser.error(f"{arguments.action} needs --select ('{arguments.action} --select \"*\"' for all runs)")


def add_campaign(parser: argparse.ArgumentParser) -> None:
    """Which study, where, on what."""
    parser.add_argument("--grid", required=True, help="a YAML file, or the name of one in launch/grids/")
    parser.add_argument("--root", type=Path, default=Path("runs"), help="campaign folder (default: runs/)")
    parser.add_argument("--cluster", help="a YAML file, or the name of one in launch/clusters/ (default: default)")


def add_cost(parser: argparse.ArgumentParser) -> None:
    """What a plan may cost, and from what that is known."""
    parser.add_argument("--budget", type=hours, metavar="GPU_HOURS", help="start nothing where the whole takes more")
    parser.add_argument("--gpus", type=count, metavar="N", help="GPUs for the makespan (default: the cluster file's)")
    parser.add_argument(
        "--rates", type=Path, action="append", default=[], metavar="ROOT", help="another root whose runs tell the speed"
    )


def add_select(parser: argparse.ArgumentParser) -> None:
    """Give a command `--select`; `selected_expressions(arguments)` are its expressions."""
    parser.add_argument(
        "--select",
        nargs="+",
        action="append",
        default=[],
        metavar="TERM",
        help="only runs for which all TERMs hold: target=xnli seed=1,2 state=failed stage=target task=mnli, "
        "a run id, the unique beginning of one, or a shell pattern; given several times: any of them",
    )


def selected_expressions(arguments: argparse.Namespace) -> list[str]:
    """The expressions of every `--select` of a command line."""
    return [" ".join(terms) for terms in arguments.select]


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 up")
    return int(text)


def hours(text: str) -> float:
    """A number of hours, 0 too."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of GPU-hours")
    return value


def seconds(text: str) -> float:
    """A number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds above 0")
    return value
