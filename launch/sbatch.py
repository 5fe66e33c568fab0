"""One sbatch call: the script that submitit writes for it, and what an answer or a refusal of sbatch means."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from launch import slurm
from launch.cluster import Cluster
from launch.resources import Resources
from stilts.runs import write_text

Kind = Literal["limit", "array", "busy", "uncertain", "refused"]

# Slurm's words for what passes. `limit`: no more jobs for now; `array`: the index is too high for this site; `busy`:
# nothing was made, try again; `uncertain`: the job may be there all the same, or appear later.
_MEANINGS: tuple[tuple[Kind, str], ...] = (
    ("array", r"Invalid job array specification"),
    ("limit", r"Submit\w*Limit|MaxSubmit|MaxJobCount|GrpSubmit|job submit limit"),
    ("uncertain", r"timed out|Zero Bytes|Transport endpoint|Unexpected message|shutdown failure|reset by peer"),
    ("uncertain", r"receive failure|send/recv|Communication connection failure"),
    ("busy", r"Unable to contact slurm controller|Connection refused|temporarily|try again|too busy|rate limit"),
    ("busy", r"Slurm backup controller|not responding|Protocol authentication error|Slurm controller not"),
)
_POLICY = re.compile(r"\b(?:QOS|Assoc)(?!\w*Submit)\w+(?:Limit|PerJob|PerUser)\w*")  # on size or time, not on number


@dataclass
class Refusal(Exception):
    """sbatch made no job, or did not say that it made one; `words` are its own, `count` the elements asked for."""

    kind: Kind
    words: str
    count: int = 1

    def __str__(self) -> str:
        return self.words


def submit(folder: Path, script: str) -> str:
    """Write a job script into `folder` and give it to sbatch; returns the job id.

    Raises Refusal. Noise on standard error is none: only the exit code and a whole line with the id count.
    """
    slurm.require_commands()
    path = folder / "submission.sh"
    write_text(path, script)
    try:
        result = subprocess.run(
            ["sbatch", "--parsable", str(path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=slurm.COMMAND_TIMEOUT_S,
            env=outside_of_jobs(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Refusal("uncertain", f"sbatch did not answer within {slurm.COMMAND_TIMEOUT_S} s") from None
    words = " ".join(line.strip() for line in result.stderr.splitlines() if line.strip())
    if result.returncode != 0:
        words = words or f"sbatch ended with exit code {result.returncode}"
        raise Refusal("uncertain" if result.returncode < 0 else read_refusal(words), words)
    # A cut-off number would be another job's: the line must be whole.
    ids = re.findall(r"^(\d+)(?:;\S+)?\n", result.stdout, re.MULTILINE)
    if not ids:
        raise Refusal("uncertain", f"sbatch said '{result.stdout.strip()[:100]}' instead of a job's number")
    return str(ids[-1])


def read_refusal(words: str) -> Kind:
    """What sbatch's words mean; what is not known to pass is refused for good."""
    if _POLICY.search(words):
        return "refused"
    for kind, pattern in _MEANINGS:
        if re.search(pattern, words, re.IGNORECASE | re.DOTALL):
            return kind
    # Slurm's own verdicts are final; anything else may have come from a wrapper around it, after it.
    return (
        "refused" if re.search(r"submission failed|invalid|unrecognized|error:", words, re.IGNORECASE) else "uncertain"
    )


def outside_of_jobs() -> dict[str, str]:
    """The environment without the variables of a job that this launcher may run in: sbatch and the new job would obey
    them. SLURM_CONF stays: it says which Slurm to talk to."""
    prefixes = ("SLURM_", "SLURMD_", "SRUN_", "SBATCH_")
    return {key: text for key, text in os.environ.items() if not key.startswith(prefixes) or key == "SLURM_CONF"}


def array_script(
    folder: Path,
    name: str,
    count: int,
    dependency: str | None,
    resources: Resources,
    cluster: Cluster,
    snapshot: Path,
    throttle: int | None = None,
) -> str:
    """The script of an array of `count` runs (a single job where it is one), by submitit.

    The command is our own `jobs/run.py` out of the snapshot with the path of `folder/submission.json`: no worker of
    submitit starts, no pickle is loaded in a job, and no signal handler but ours is in force. `throttle`: elements at
    once.
    """
    script = shlex.quote(str(snapshot / "jobs" / "run.py"))
    command = f"{python_command(cluster)} -u {script} --submission {shlex.quote(str(folder / 'submission.json'))}"
    parameters = sbatch_parameters(name, dependency, resources, cluster, snapshot)
    parameters["array_parallelism"] = throttle or cluster.array_parallelism
    return write_script(folder, command, parameters, count)


def python_command(cluster: Cluster) -> str:
    """What starts Python on a compute node."""
    return cluster.python or shlex.quote(sys.executable)


def write_script(folder: Path, command: str, parameters: dict[str, Any], count: int = 1) -> str:
    """submitit's text of an sbatch script for a shell command.

    submitit would call sbatch too, but without a deadline, and it reads the id from a line that may be cut off; its
    pickles, one for each element, nobody would read.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**parameters)
    if count > 1:
        executor.parameters["map_count"] = count
    return executor._make_submission_file_text(command, folder.name)


def sbatch_parameters(
    name: str, dependency: str | None, resources: Resources, cluster: Cluster, snapshot: Path
) -> dict[str, Any]:
    """submitit's parameters for one array."""
    extra: dict[str, Any] = {key: value for key, value in cluster.sbatch.items() if value not in (None, False)}
    # The submitting shell's folder may be the working tree, whose code must not win over the snapshot's.
    extra["chdir"] = str(snapshot)
    if resources.exclude and "exclude" in extra:
        extra["exclude"] = f"{extra['exclude']},{resources.exclude}"  # extra parameters win over submitit's own
    extra["requeue"] = True  # an interrupted run puts itself back; some sites switch that off by default
    if dependency and cluster.kill_on_invalid_dep:
        extra["kill-on-invalid-dep"] = "yes"
    gpus: dict[str, Any] = {}
    if resources.gpus:
        by_gres = cluster.gpu_option == "gres"
        gpus = {"gres": f"gpu:{resources.gpus}"} if by_gres else {"gpus_per_node": resources.gpus}
    delay = f"export STILTS_SIGNAL_DELAY_S={cluster.signal_delay_s}"
    breaker = f"export STILTS_CIRCUIT_BREAKER={cluster.failures.circuit_breaker}"
    setup = [*cluster.setup, "export PYTHONDONTWRITEBYTECODE=1", delay, breaker]
    if cluster.scratch:
        setup.append(f'export STILTS_SCRATCH="{cluster.scratch}"')
    optional = {
        "partition": resources.partition or cluster.partition,
        "account": cluster.account,
        "qos": resources.qos or cluster.qos,
        "constraint": resources.constraint,
        "exclude": resources.exclude,
        "dependency": dependency,
    }
    return {
        "job_name": name,
        "time": resources.timeout_min,
        "nodes": resources.nodes,
        "ntasks_per_node": resources.ranks_per_node,
        "cpus_per_task": resources.cpus,
        "mem": f"{resources.mem_gb}GB",
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
