"""What is: the state of every run, from its folder first, then one squeue, then at most one sacct."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger, Submission
from launch.plan import Plan
from stilts.runs import ENCODER_STAGES, Run, RunFolder, is_output_of, read_json

STATES = ("planned", "pending", "running", "done", "failed", "blocked", "cancelled", "stale")
LIVE = ("pending", "running")
SILENCE_S = 900.0  # an attempt that has written nothing for so long is not taken for alive on hearsay
_NEVER = "DependencyNeverSatisfied"


@dataclass(frozen=True)
class Observation:
    """The state of one run and the evidence for it. `job` is what squeue calls it."""

    state: str
    reason: str = ""
    job: str | None = None
    doomed: bool = False  # its job is in the queue and can never start


@dataclass
class Queue:
    """What Slurm said: live jobs by (tag, index), ended ones by (job id, index); `notes` tell what it could not say."""

    live: dict[tuple[str, int | None], slurm.Job] = field(default_factory=dict)
    ended: dict[tuple[str, int | None], slurm.Job] = field(default_factory=dict)
    known: bool = True
    accounted: bool = True
    notes: list[str] = field(default_factory=list)


def ask_slurm(campaign: Campaign, ledger: Ledger, unfinished: Iterable[str]) -> Queue:
    """One squeue, and one sacct only where a submitted and unfinished run is no longer in the queue."""
    queue = Queue()
    last = {run_id: ledger.of(run_id)[-1] for run_id in unfinished if ledger.of(run_id)}
    if not last:
        return queue
    try:
        listed = slurm.squeue({submission.user for submission in last.values()})
        queue.live = {(job.tag, job.index): job for job in listed if job.state not in slurm.ENDED}
    except slurm.SlurmUnavailable as problem:
        queue.known = False
        queue.notes.append(f"{problem}: what is pending or running cannot be told")
    gone = [run_id for run_id, submission in last.items() if _key(submission, run_id) not in queue.live]
    try:
        adopt(ledger, list({s.tag: s for s in last.values() if s.job_id is None}.values()), queue)
        ids = sorted({job_id for run_id in gone if (job_id := ledger.of(run_id)[-1].job_id) is not None})
        queue.ended = {(job.id, job.index): job for job in slurm.sacct(ids)} if ids else {}
    except slurm.SlurmUnavailable as problem:
        queue.accounted = False
        queue.notes.append(f"{problem}: how jobs ended is read from the run folders alone")
    return queue


def adopt(ledger: Ledger, uncertain: list[Submission], queue: Queue) -> None:
    """Give submissions whose launcher died around sbatch the job ids that their tags are found under."""
    if not uncertain:
        return
    found = {tag: job.id for (tag, _), job in queue.live.items()}
    if any(submission.tag not in found for submission in uncertain):
        since = min(submission.time for submission in uncertain)
        found.update({job.tag: job.id for job in slurm.sacct(since=since) if job.tag})
    for submission in uncertain:
        if submission.tag in found:
            ledger.confirm(submission, found[submission.tag])


def observe(plan: Plan, campaign: Campaign, ledger: Ledger) -> tuple[dict[str, Observation], Queue]:
    """The state of every run of the plan; parents are judged before their children."""
    finished, unfinished = _read_done(plan, campaign)
    queue = ask_slurm(campaign, ledger, unfinished)
    if queue.known and any(ledger.of(run_id) for run_id in unfinished):
        finished, unfinished = _read_done(plan, campaign)  # what has left the queue just now may have its DONE since
    observations: dict[str, Observation] = {}
    for run in plan.runs.values():
        done = finished[run.id]
        if done and run.id not in unfinished:
            observations[run.id] = Observation("done", f"attempt {done.get('attempt', '?')}", done.get("job"))
        else:
            stale = unfinished[run.id] if done else None
            observations[run.id] = _judge(run, plan, campaign, ledger, queue, stale, observations)
    return observations, queue


def _read_done(plan: Plan, campaign: Campaign) -> tuple[dict[str, dict[str, Any] | None], dict[str, str]]:
    """DONE of every run, and why each run that is not done is not."""
    finished = {run_id: campaign.run(run_id).read_done() for run_id in plan.runs}
    unfinished: dict[str, str] = {}
    for run in plan.runs.values():
        why = _unfinished(run, finished, unfinished)
        if why is not None:
            unfinished[run.id] = why
    # An encoder that is trained again for one child leaves the results of its other children alone.
    return finished, unfinished | _missed_weights(plan, campaign, unfinished)


def _missed_weights(plan: Plan, campaign: Campaign, unfinished: Mapping[str, str]) -> dict[str, str]:
    """Finished encoders whose weights have been removed and that are needed again by a child, with the reason.

    The child may be such an encoder itself, so children are judged first.
    """
    missed: dict[str, str] = {}
    children: dict[str, str] = {}
    for run in reversed(plan.runs.values()):
        waiting = children.get(run.id)
        encodes = run.id.startswith(ENCODER_STAGES)
        if encodes and waiting and run.id not in unfinished and not campaign.run(run.id).model.is_dir():
            missed[run.id] = f"its weights have been removed, and {waiting} needs them"
        if run.id in unfinished or run.id in missed:
            children.update((parent, run.id) for parent in run.parents)
    return missed


def _judge(
    run: Run,
    plan: Plan,
    campaign: Campaign,
    ledger: Ledger,
    queue: Queue,
    stale: str | None,
    seen: Mapping[str, Observation],
) -> Observation:
    """The state of a run that is not done; `stale` is why its DONE does not hold, if there is one."""
    dead = [need for need in run.needs if seen[need].state in ("failed", "cancelled", "blocked", "planned", "stale")]
    live = _live(run, ledger, queue)
    if live:
        if live.state == "pending" and (dead or _NEVER in live.reason):
            reason = f"waits for {_blame(dead, seen) or 'a job that failed'}"
            return replace(live, state="blocked", reason=reason, doomed=True)
        return live
    if stale is not None:
        return Observation("stale", stale)
    culprits = [need for need in dead if seen[need].state in ("failed", "cancelled", "blocked")]
    folder = campaign.run(run.id)
    if culprits and not _started(run.id, folder, ledger):
        # Slurm may have dropped it (kill-on-invalid-dep): sacct does not even list a job that was never eligible.
        return Observation("blocked", f"waits for {_blame(culprits, seen)}")
    outcome = _ended(run, folder, ledger, queue)
    if culprits and (outcome is None or outcome.state in ("blocked", "cancelled")):
        return Observation("blocked", f"waits for {_blame(culprits, seen)}")
    if outcome is None or outcome.state == "blocked":
        return Observation("planned", "its parents are ready" if not dead and run.needs else "")
    return outcome


def _started(run_id: str, folder: RunFolder, ledger: Ledger) -> bool:
    """Whether an attempt has begun since the last submission."""
    attempt = last_attempt(folder)
    record = (read_json(attempt / "attempt.json") if attempt else None) or {}
    return bool(record) and not _is_older(record, run_id, ledger)


def _is_older(record: Mapping[str, Any], run_id: str, ledger: Ledger) -> bool:
    """Whether an attempt was before the last submission; clocks of two machines are compared only for local ones."""
    submissions = ledger.of(run_id)
    if not submissions:
        return False
    if record.get("slurm_job") and submissions[-1].job_id:
        return bool(record["slurm_job"] != submissions[-1].job_of(run_id))
    return float(record.get("started", 0.0)) < submissions[-1].time


def _unfinished(run: Run, finished: Mapping[str, dict[str, Any] | None], unfinished: Mapping[str, str]) -> str | None:
    """Why a run is not done: no DONE, or one built on a run that is gone or has another output now; None if it is."""
    done = finished[run.id]
    if done is None:
        return "has no DONE"
    if done["digest"] != run.digest:
        return f"holds the result of another configuration (digest {done['digest'][:8]})"
    if done.get("data_root") != run.infra.get("data_root"):
        return f"was read from {done.get('data_root')}, the grid says {run.infra.get('data_root')}"
    for need in run.needs:
        parent = finished[need]
        if parent is None or need in unfinished:
            return f"was built on {need}, which is not done any more"
        if not is_output_of(done["needs"].get(need), parent):
            return f"was built on an earlier output of {need}"
    return None


def _live(run: Run, ledger: Ledger, queue: Queue) -> Observation | None:
    for submission in reversed(ledger.of(run.id)):
        job = queue.live.get(_key(submission, run.id))
        if job:
            state = slurm.LIVE.get(job.state)
            reason = job.reason if job.reason not in ("None", "") else ""
            if state is None:
                return Observation("running", f"Slurm says {job.state}, a state unknown to this version", _name(job))
            return Observation(state, reason, _name(job))
    return None


def _ended(run: Run, folder: RunFolder, ledger: Ledger, queue: Queue) -> Observation | None:
    """How the last attempt ended: Slurm's word first (a killed job writes nothing), with the attempt's own reason."""
    attempt = last_attempt(folder)
    outcome = read_json(attempt / "outcome.json") if attempt else None
    submissions = ledger.of(run.id)
    job = queue.ended.get((submissions[-1].job_id or "", _key(submissions[-1], run.id)[1])) if submissions else None
    record = (read_json(attempt / "attempt.json") if attempt else None) or {}
    if _is_older(record, run.id, ledger):
        outcome = None  # what the folder tells is older than the last submission
    elif attempt and record.get("slurm_job") is None:
        job = None  # a local worker took the run over since
    if job and slurm.ENDED.get(job.state) in ("failed", "cancelled"):
        if outcome and outcome["state"] in ("failed", "blocked"):
            return Observation(outcome["state"], outcome["reason"], _name(job))
        return Observation(slurm.ENDED[job.state], f"Slurm: {job.reason}, exit code {job.exit_code}", _name(job))
    if outcome and outcome["state"] != "done":
        return Observation(outcome["state"], outcome["reason"], record.get("slurm_job"))
    if attempt and record.get("slurm_job") is None and outcome is None:
        return _local(record, attempt)
    if submissions and queue.known:
        return _vanished(submissions[-1], run.id, job, queue, attempt)
    if submissions:
        return Observation("pending", "submitted; the queue cannot be asked now", submissions[-1].job_of(run.id))
    return None


def _local(record: Mapping[str, Any], attempt: Path) -> Observation:
    """An attempt of a local worker without an outcome: alive on this host, or killed."""
    if record.get("host") not in (None, socket.gethostname()):
        if time.time() - _last_sign(attempt) < SILENCE_S:
            return Observation("running", f"local process {record.get('pid')} on {record.get('host')}")
    elif _writes(int(record.get("pid", 0)), attempt / "rank0.log"):
        return Observation("running", f"local process {record['pid']}")
    return Observation("cancelled", f"its local process ended without an outcome (attempt {attempt.name})")


def _writes(pid: int, log: Path) -> bool:
    """Whether a process still is the worker with this log: numbers of dead processes are given out again.

    Its command line does not tell: the workers of trainings are forks of one server.
    """
    try:
        return os.path.samefile(f"/proc/{pid}/fd/1", log)
    except OSError:
        return False


def _last_sign(attempt: Path) -> float:
    """When an attempt last wrote anything (seconds of the epoch)."""
    signs = [attempt / "rank0.log", attempt / "attempt.json", attempt.parents[1] / "progress.json"]
    return max((path.stat().st_mtime for path in signs if path.exists()), default=0.0)


def _vanished(
    submission: Submission, run_id: str, job: slurm.Job | None, queue: Queue, attempt: Path | None
) -> Observation | None:
    """Submitted, not in the queue, and nothing in the folder says how it ended."""
    name = submission.job_of(run_id)
    if submission.job_id is None:
        return None  # an intent that never became a job
    if job and job.state == "COMPLETED":
        return Observation("failed", "Slurm: COMPLETED, but its folder has no DONE; see the job's log", name)
    if job and job.state in slurm.LIVE:
        # Accounting follows the queue by seconds; after a crash it may believe in a job for ever.
        if attempt is None or time.time() - max(submission.time, _last_sign(attempt)) < SILENCE_S:
            return Observation("running", f"has left the queue, accounting still says {job.state}", name)
        return Observation("failed", f"accounting says {job.state}, but the queue does not have it", name)
    if job:
        return Observation("running", f"Slurm says {job.state}, a state unknown to this version", name)
    known = "Slurm's accounting does not know how" if queue.accounted else "accounting is not available"
    return Observation("failed", f"left the queue without an outcome; {known}", name)


def last_attempt(folder: RunFolder) -> Path | None:
    """The newest attempt's folder."""
    try:
        attempts = [Path(entry.path) for entry in os.scandir(folder.attempts) if entry.is_dir()]
    except FileNotFoundError:
        return None
    started = {path: (read_json(path / "attempt.json") or {}).get("started", 0.0) for path in attempts}
    return max(started, key=lambda path: (started[path], path.name), default=None)


def _blame(needs: Iterable[str], seen: Mapping[str, Observation]) -> str:
    return ", ".join(f"{need} ({seen[need].state})" for need in needs)


def _key(submission: Submission, run_id: str) -> tuple[str, int | None]:
    return submission.tag, submission.runs.index(run_id) if len(submission.runs) > 1 else None


def _name(job: slurm.Job) -> str:
    return job.id if job.index is None else f"{job.id}_{job.index}"
