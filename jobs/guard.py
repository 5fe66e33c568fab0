"""The last check before a run starts: what it builds on is done and is what it names, and nobody else works on it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.attempt import Attempt
from jobs.interruption import call, slurm_job
from stilts.runs import ENCODER_STAGES, Run, RunFolder, is_output_of, read_json
from stilts.turns import Taken, Turn, process_lives, take

# States of a job in the queue that has no processes. A state that is not known here is taken for a working one.
IDLE = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
ENDED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
)
SILENCE_S = 900.0  # where nobody can be asked: an attempt that has written nothing for so long is over


class Blocked(Exception):
    """A run cannot start because of the runs that it needs; the text says which and why."""


def verify_needs(run: Run, root: Path) -> dict[str, str]:
    """Output digest of each needed run, by id.

    A scheduler's word that a parent succeeded is not enough (a script may end with 0 after its step failed, a
    folder may have been deleted since): only DONE counts. Raises Blocked with every missing parent.
    """
    outputs: dict[str, str] = {}
    problems: list[str] = []
    for need in run.needs:
        done = RunFolder(root / need).read_done()
        if done is None:
            problems.append(f"{need} is not done")
        elif need.startswith(ENCODER_STAGES) and not RunFolder(root / need).model.is_dir():
            problems.append(f"the weights of {need} have been removed; the grid's command trains it again")
        elif done["run"] != need or not need.endswith("-" + done["digest"][:8]):
            problems.append(f"{need} holds the result of another run ({done['run']}, digest {done['digest'][:8]})")
        else:
            outputs[need] = done["output"]
    if problems:
        raise Blocked("; ".join(problems))
    return outputs


def claim(attempt: Attempt) -> Turn:
    """Make this attempt the only one at its run; the turn is to be released when it ends.

    Two jobs may have been submitted for one run (an sbatch that timed out and was made again), or a launcher may have
    taken a job for dead. Raises Blocked where another attempt lives.
    """
    folder = attempt.folder

    def is_over(record: Mapping[str, Any], file: Path) -> bool:
        other = str(record.get("attempt"))
        if (folder.attempts / other / "outcome.json").exists():
            return True
        job = record.get("slurm_job")
        if job is not None:
            return job == slurm_job() or _job_is_over(str(job), folder, other)
        if record.get("host") == socket.gethostname():
            return not process_lives(record)
        return _is_silent(folder, other)

    try:
        return take(folder.path / "CLAIM", is_over, attempt=attempt.id, slurm_job=slurm_job())
    except Taken as taken:
        owner = taken.owner or {}
        where = f"job {owner['slurm_job']}" if owner.get("slurm_job") else f"process {owner.get('pid')}"
        raise Blocked(
            f"attempt {owner.get('attempt')} of this run is at work ({where} on {owner.get('host')}); if it is not, "
            f"delete {folder.path / 'CLAIM'}"
        ) from None


def _job_is_over(job: str, folder: RunFolder, attempt: str) -> bool:
    """Whether a job has no processes: it is not in the queue, or only waits there."""
    answer, refusal = call("squeue", "--noheader", f"--jobs={job}", "--format=%T")
    if refusal is not None and "Invalid job id" not in refusal:
        return _is_silent(folder, attempt)
    return all(state in (*IDLE, *ENDED) for state in answer.split())


def _is_silent(folder: RunFolder, attempt: str) -> bool:
    files = [folder.progress, *(folder.attempts / attempt).glob("*")]
    last = max((path.stat().st_mtime for path in files if path.exists()), default=0.0)
    return time.time() - last > SILENCE_S


def already_done(run: Run, folder: RunFolder, needs: dict[str, str]) -> dict[str, Any] | None:
    """The DONE record of this very run on these very parents; None where the work has to be done (again, where an
    encoder's weights have been removed)."""
    done = folder.read_done()
    if run.id.startswith(ENCODER_STAGES) and not folder.model.is_dir():
        return None
    same = done and _is_of(run, done, needs, folder)
    # The folder of original files is not in a run's name; files from another one are read again.
    return done if same and done and done.get("data_root") == run.infra.get("data_root") else None


def find_earlier(run: Run, folder: RunFolder, needs: dict[str, str]) -> list[str]:
    """Outputs that this very run had on these very parents before it was computed again for its removed weights."""
    aside = (read_json(path) for path in sorted(folder.path.glob("superseded/*/DONE.superseded")))
    return [done["output"] for done in aside if done and _is_of(run, done, needs, folder)]


def _is_of(run: Run, done: dict[str, Any], needs: dict[str, str], folder: RunFolder) -> bool:
    """Whether a DONE record tells of this run, built on what its parents are now or were before."""
    if done["digest"] != run.digest or done["needs"].keys() != needs.keys():
        return False
    root = folder.path.parent
    return done["needs"] == needs or all(
        is_output_of(output, RunFolder(root / need).read_done() or {}) for need, output in done["needs"].items()
    )


def trained_before(run: Run, folder: RunFolder, needs: dict[str, str]) -> dict[str, Any] | None:
    """Facts of a training that an earlier attempt finished on these very parents; None where there is none, or where
    its weights have been removed since."""
    if folder.path.is_dir():
        os.listdir(folder.path)  # makes NFS look again: all ranks must decide the same
    record = read_json(folder.trained)
    parents = {name: needs[name] for name in run.parents}
    same = record and record.get("digest") == run.digest and record.get("parents") == parents
    if record and same and folder.model.is_dir():
        return dict(record["facts"])
    return None
