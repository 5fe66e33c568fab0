"""Slurm itself: submit arrays through submitit, ask squeue and sacct once each, cancel. No policy here."""

from __future__ import annotations

import operator
import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.cluster import Cluster
from launch.resources import Resources
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


def squeue(users: Iterable[str] = ()) -> list[Job]:
    """Every job of these users (this one, if none is named) that is in the queue: one call, arrays expanded.

    Raises SlurmUnavailable.
    """
    # -r and SLURM_BITSTR_LEN=0: long pending array expressions are cut at 64 bytes otherwise.
    whose = ",".join(sorted(users)) or this_user()
    output = _call("squeue", "--noheader", "--array", f"--user={whose}", "--format=%i|%T|%r|%j")
    return [job for line in output.splitlines() for job in _parse_queued(line)]


def sacct(job_ids: Iterable[str] = (), since: float | None = None) -> list[Job]:
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
    return [job for line in output.splitlines() for job in _parse_accounted(line)]


def _parse_queued(line: str) -> list[Job]:
    parts = line.split("|", 3)
    if len(parts) < 4 or "#" not in parts[3]:
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


def max_array_size() -> int:
    """The site's MaxArraySize (it caps the index, so it is also the largest array from index 0)."""
    match = re.search(r"MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"))
    return max(1, int(match[1])) if match else 1001


def require_commands() -> None:
    """Raise UserError where this machine cannot submit."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise UserError(
            "--executor slurm: there is no sbatch and srun on this machine's PATH; run on a login node, or use "
            "--executor local"
        )


def submit(
    folder: Path, name: str, count: int, dependency: str | None, resources: Resources, cluster: Cluster, snapshot: Path
) -> str:
    """One sbatch call through submitit for `count` runs (an array where there are several); returns the job id.

    The job's command is our own `jobs/run.py` out of the snapshot with the path of `folder/submission.json`,
    put in the place of submitit's Python command: submitit appends its own worker to it, which `run.py` never
    starts. So no pickle is loaded in a job, nothing depends on what submitit does after sbatch has answered (it
    renames pickles then, and a job whose pickle is not renamed within a minute dies), and no signal handler but
    ours is in force.

    Raises UserError with Slurm's own words where sbatch refuses, SlurmUnavailable where it does not answer.
    """
    import submitit

    require_commands()
    python = cluster.python or shlex.quote(sys.executable)
    script = shlex.quote(str(snapshot / "jobs" / "run.py"))
    command = f"{python} -u {script} --submission {shlex.quote(str(folder / 'submission.json'))} --"
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=0, python=command)
    executor.update_parameters(**sbatch_parameters(name, dependency, resources, cluster, snapshot))
    payload = [str(folder / "submission.json")] * count
    try:
        with _outside_of_jobs():
            jobs = executor.map_array(operator.truth, payload)
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        raise UserError(f"sbatch refused '{name}': {_last_words(error)}") from None
    except subprocess.TimeoutExpired as error:
        raise SlurmUnavailable(f"sbatch did not answer within {error.timeout} s") from None
    return str(jobs[0].job_id).split("_")[0]


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Hide the variables of a job that this launcher may run in: sbatch and the new job would obey them.

    SLURM_CONF stays: it says which Slurm to talk to.
    """
    prefixes = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")
    hidden = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith(prefixes) and key != "SLURM_CONF"}
    try:
        yield
    finally:
        os.environ.update(hidden)


def sbatch_parameters(
    name: str, dependency: str | None, resources: Resources, cluster: Cluster, snapshot: Path
) -> dict[str, Any]:
    """submitit's parameters for one array."""
    extra: dict[str, Any] = {key: value for key, value in cluster.sbatch.items() if value not in (None, False)}
    # The submitting shell's folder may be the working tree, whose code must not win over the snapshot's.
    extra["chdir"] = str(snapshot)
    extra["requeue"] = True  # an interrupted run puts itself back; some sites switch that off by default
    if dependency and cluster.kill_on_invalid_dep:
        extra["kill-on-invalid-dep"] = "yes"
    gpus: dict[str, Any] = {}
    if resources.gpus:
        by_gres = cluster.gpu_option == "gres"
        gpus = {"gres": f"gpu:{resources.gpus}"} if by_gres else {"gpus_per_node": resources.gpus}
    delay = f"export STILTS_SIGNAL_DELAY_S={cluster.signal_delay_s}"
    setup = [*cluster.setup, "export PYTHONDONTWRITEBYTECODE=1", delay]
    if cluster.scratch:
        setup.append(f'export STILTS_SCRATCH="{cluster.scratch}"')
    optional = {
        "partition": resources.partition or cluster.partition,
        "account": cluster.account,
        "qos": resources.qos or cluster.qos,
        "constraint": resources.constraint,
        "dependency": dependency,
    }
    return {
        "job_name": name,
        "time": resources.timeout_min,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.ranks_per_node,
        "cpus_per_task": resources.cpus,
        "mem": f"{resources.mem_gb}GB",
        "array_parallelism": cluster.array_parallelism,
        "signal_delay_s": cluster.signal_delay_s,
        "setup": setup,
        "wckey": "",  # some sites refuse an unknown one, and submitit has a default
        # srun does not inherit --cpus-per-task on Slurm 22.05 to 23.02; one dead rank must end the step, and the
        # others may leave long before rank 0 has scored (sites set a limit for that, WaitTime).
        "srun_args": [
            f"--cpus-per-task={resources.cpus}",
            "--kill-on-bad-exit=1",
            "--wait=0",
            "--export=ALL",
            *cluster.srun,
        ],
        "additional_parameters": extra,
        **gpus,
        **{key: value for key, value in optional.items() if value is not None},
    }


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
    return result.stdout


def _last_words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    spoken = [line for line in lines if line.startswith("sbatch:")]
    return " ".join(spoken or lines[-1:])


def this_user() -> str:
    """The user that Slurm will see: not what $USER or $LOGNAME say."""
    return pwd.getpwuid(os.getuid()).pw_name
