"""Slurm itself: ask squeue and sacct once each, cancel, throttle. No policy here (submission: `launch/sbatch.py`)."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from stilts.errors import UserError

COMMAND_TIMEOUT_S = 60

# Every state of Slurm's manuals (squeue, sacct), mapped on purpose; an unknown one counts as live: look again.
LIVE = {
    "PENDING": "pending",
    "REQUEUED": "pending",
    "REQUEUE_FED": "pending",
    "REQUEUE_HOLD": "pending",
    "RESV_DEL_HOLD": "pending",
    "SPECIAL_EXIT": "pending",
    "CONFIGURING": "running",
    "RUNNING": "running",
    "COMPLETING": "running",
    "EXPEDITING": "pending",
    "POWER_UP_NODE": "running",
    "UPDATE_DB": "running",
    "RESIZING": "running",
    "SIGNALING": "running",
    "STAGE_OUT": "running",
    "STOPPED": "running",
    "SUSPENDED": "running",
}
ENDED = {
    "COMPLETED": "completed",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "PREEMPTED": "cancelled",
    "FAILED": "failed",
    "BOOT_FAIL": "failed",
    "DEADLINE": "failed",
    "LAUNCH_FAILED": "failed",
    "NODE_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "RECONFIG_FAIL": "failed",
    "TIMEOUT": "failed",
}


@dataclass(frozen=True)
class Job:
    """One job or array element as squeue or sacct shows it; `index` is None for a single job."""

    id: str
    index: int | None
    tag: str
    state: str
    reason: str = ""
    exit_code: str = ""


class SlurmUnavailable(Exception):
    """A Slurm command is missing, failed or did not answer; the text says which."""


def squeue(users: Iterable[str] = (), garbage: list[str] | None = None) -> list[Job]:
    """Every job of these users (this one, if none is named) that is in the queue: one call, arrays expanded.

    Jobs that are not ours have no tag. Lines that cannot be read are added to `garbage`. Raises SlurmUnavailable, also
    where the answer is cut off: whoever is missing from it would be submitted again.
    """
    # -r and SLURM_BITSTR_LEN=0: long pending array expressions are cut at 64 bytes otherwise.
    whose = ",".join(sorted(users)) or this_user()
    output = _call("squeue", "--noheader", "--array", f"--user={whose}", "--format=%i|%T|%r|%j")
    return _parse_lines(output, _parse_queued, garbage)


def sacct(job_ids: Iterable[str] = (), since: float | None = None, garbage: list[str] | None = None) -> list[Job]:
    """How jobs ended, also those that have left the queue: by job id, or every job of this user since a time.

    By id it also finds jobs that were cancelled before they could ever start, which a search by time leaves out
    (seen on Slurm 22.05). `since` is in seconds of the epoch: the default window would start at midnight.
    Raises SlurmUnavailable, as on clusters without accounting.
    """
    fields = "--format=JobID,State,ExitCode,JobName"
    if since is None:
        which = ["--allusers", f"--jobs={','.join(job_ids)}"]
    else:
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - 3600))
        which = [f"--user={this_user()}", f"--starttime={start}"]
    output = _call("sacct", "--allocations", "--noheader", "--parsable2", *which, fields)
    return _parse_lines(output, _parse_accounted, garbage)


def _parse_lines(output: str, parse: Callable[[str], list[Job]], garbage: list[str] | None) -> list[Job]:
    """The jobs of every line; what is no line of a table is garbage."""
    jobs: list[Job] = []
    for line in output.split("\n"):
        found = parse(line)
        jobs += found
        if not found and line.strip() and garbage is not None:
            garbage.append(line)
    return jobs


def _parse_queued(line: str) -> list[Job]:
    parts = line.split("|", 3)
    if len(parts) < 4:
        return []
    return [Job(*identity, _tag(parts[3]), parts[1], parts[2]) for identity in _parse_ids(parts[0])]


def _parse_accounted(line: str) -> list[Job]:
    parts = line.split("|", 3)
    if len(parts) < 4:
        return []
    # "CANCELLED by 1000": the first word is the state. A job that has just ended may still lack its name.
    state = parts[1].split(" ")[0].rstrip("+")
    return [Job(*identity, _tag(parts[3]), state, parts[1], parts[2]) for identity in _parse_ids(parts[0])]


def _parse_ids(text: str) -> list[tuple[str, int | None]]:
    """`12`, `12_3`, or the elements of `12_[4-6,9%2]`: those that never started share one line. No steps."""
    match = re.fullmatch(r"(\d+)(?:_(\d+)|_\[([\d,-]+)(?:%\d+)?\])?", text)
    if not match:
        return []
    job, index, rest = match.groups()
    if rest is None:
        return [(job, int(index) if index else None)]
    ranges = re.findall(r"(\d+)(?:-(\d+))?", rest)
    return [(job, number) for first, last in ranges for number in range(int(first), int(last or first) + 1)]


def _tag(name: str) -> str:
    return name.rsplit("#", 1)[1].strip() if "#" in name else ""


def cancel(job_ids: Iterable[str]) -> None:
    """scancel these jobs in one call."""
    ids = list(job_ids)
    if ids:
        _call("scancel", *ids)


def hold(job_ids: Iterable[str]) -> None:
    """Keep pending jobs (`12`, `12_3`, `12_[3-7]`) from starting; those that have started are left alone.

    A user's hold (`uhold`) also where an operator gives it: then it is a user's to release.
    """
    _control("uhold", job_ids)


def release(job_ids: Iterable[str]) -> None:
    """Let held jobs go."""
    _control("release", job_ids)


def _control(verb: str, job_ids: Iterable[str]) -> None:
    ids = list(job_ids)
    for start in range(0, len(ids), 500):
        try:
            _call("scontrol", verb, ",".join(ids[start : start + 500]))
        except SlurmUnavailable as problem:
            # `12_0: Job has already finished` beside `12_1-7: No error`: elements that have started since.
            if not re.search(r" \d+_\S+: ", str(problem)):
                raise


def count_nodes() -> int:
    """Nodes of the cluster. Raises SlurmUnavailable."""
    return len(set(_call("sinfo", "--noheader", "--Node", "--format=%N").split()))


def throttle(job_id: str, elements: int) -> None:
    """Let so many elements of an array run at once. Raises SlurmUnavailable, also where the array has ended."""
    _call("scontrol", "update", f"JobId={job_id}", f"ArrayTaskThrottle={elements}")


def show_config() -> str:
    """`scontrol show config`. Raises SlurmUnavailable."""
    return _call("scontrol", "show", "config")


def show_associations() -> str:
    """What the controller knows of this user's associations and of every QOS, with what is in use.

    Raises SlurmUnavailable, as on sites that keep it to themselves.
    """
    return _call("scontrol", "show", "assoc_mgr", "flags=qos,assoc", f"users={this_user()}")


def sacctmgr(entity: str, fields: str, *conditions: str) -> list[list[str]]:
    """Rows of `sacctmgr show`. Raises SlurmUnavailable."""
    output = _call("sacctmgr", "--noheader", "--parsable2", "show", entity, *conditions, f"format={fields}")
    return [line.split("|") for line in output.splitlines() if line]


def require_plain_root(root: Path) -> None:
    """Raise UserError where sbatch would read more than a path in the names of log files below `root`."""
    if found := re.search(r"[%\\\n\r\x00]", str(root)):
        raise UserError(
            f"--root: {str(root)!r} has the character {found[0]!r}, which sbatch takes for a pattern or the end of a "
            "line in the names of log files; choose another folder"
        )


def require_commands() -> None:
    """Raise UserError where this machine cannot submit."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "--executor slurm: there is no sbatch and srun on this machine's PATH; run on a login node, or use "
            "--executor local"
        )


def _call(*command: str) -> str:
    environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT_S, env=environment
        )
    except FileNotFoundError:
        raise SlurmUnavailable(f"there is no {command[0]} on PATH") from None
    except subprocess.TimeoutExpired:
        raise SlurmUnavailable(f"{command[0]} did not answer within {COMMAND_TIMEOUT_S} s") from None
    if result.returncode != 0:
        words = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
        raise SlurmUnavailable(f"{command[0]} failed: {words[-1]}")
    if result.stdout and not result.stdout.endswith("\n"):
        raise SlurmUnavailable(f"{command[0]}'s answer was cut off after {len(result.stdout)} characters")
    return result.stdout


def this_user() -> str:
    """The user that Slurm will see: not what $USER or $LOGNAME say."""
    return pwd.getpwuid(os.getuid()).pw_name
