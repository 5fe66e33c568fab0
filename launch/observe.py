"""What is: the state of every run, from its folder first, then one squeue, then at most one sacct."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger, Submission
from launch.plan import Plan
from stilts.runs import DONE_SCHEMA, ENCODER_STAGES, Run, RunFolder, is_output_of, read_json

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
    absent: bool = False  # taken for ended because nobody knows its job: to be looked at again before it is repeated
    surplus: tuple[str, ...] = ()  # further jobs for the same run: an sbatch without an answer was made again


@dataclass
class Queue:
    """What Slurm said: live jobs by (tag, index), ended ones by (job id, index); `notes` tell what it could not say.

    `total`: this user's jobs and array elements in the queue, ours or not; None where that is not known.
    `uncertain` are submissions of which nobody knows yet whether sbatch made a job.
    """

    live: dict[tuple[str, int | None], slurm.Job] = field(default_factory=dict)
    ended: dict[tuple[str, int | None], slurm.Job] = field(default_factory=dict)
    asked: bool = False
    known: bool = True
    accounted: bool = True
    notes: list[str] = field(default_factory=list)
    total: int | None = None
    uncertain: list[Submission] = field(default_factory=list)
    garbled: bool = False  # squeue printed what cannot be read: a job that is not seen may be there

    def note_garbage(self, command: str, lines: list[str]) -> None:
        """Say which lines of a command's answer could not be read."""
        if lines:
            shown = repr(lines[0][:80])
            self.notes.append(f"{command}: {len(lines)} lines cannot be read (for example {shown}) and are passed over")


def ask_slurm(plan: Plan, campaign: Campaign, ledger: Ledger, unfinished: Iterable[str]) -> Queue:
    """One squeue, and one sacct only where a submitted and unfinished run is no longer in the queue."""
    queue = Queue()
    last = {run_id: submission for run_id in unfinished if (submission := ledger.last(run_id))}
    elsewhere = [run_id for run_id in ledger.runs if run_id not in plan.runs and not campaign.run(run_id).done.exists()]
    asked = [*last.values(), *(found for run_id in elsewhere if (found := ledger.last(run_id)))]
    if not asked:
        return queue
    queue.asked = True
    try:
        garbage: list[str] = []
        users = {submission.user for submission in asked}
        listed = [job for job in slurm.squeue(users, garbage) if job.state not in slurm.ENDED]
        queue.live = {(job.tag, job.index): job for job in listed if job.tag}
        queue.total = len(listed) if users == {slurm.this_user()} else None
        queue.garbled = bool(garbage)
        queue.note_garbage("squeue", garbage)
    except slurm.SlurmUnavailable as problem:
        queue.known = False
        queue.notes.append(f"{problem}: what is pending or running cannot be told")
    gone = [run_id for run_id, submission in last.items() if _key(submission, run_id) not in queue.live]
    try:
        adopt(ledger, queue, plan.cluster.uncertain_s)
        ids = {found.job_id for run_id in gone if (found := ledger.last(run_id))}
        named = sorted(job_id for job_id in ids if job_id is not None)
        garbage = []
        queue.ended = {(job.id, job.index): job for job in slurm.sacct(named, garbage=garbage)} if named else {}
        queue.note_garbage("sacct", garbage)
    except slurm.SlurmUnavailable as problem:
        queue.accounted = False
        queue.notes.append(f"{problem}: how jobs ended is read from the run folders alone")
    return queue


def settle(ledger: Ledger, uncertain_s: float) -> list[Submission]:
    """Ask the queue again for submissions that nobody knows the job of; returns those that still are uncertain."""
    queue = Queue()
    try:
        queue.live = {(job.tag, job.index): job for job in slurm.squeue() if job.tag and job.state not in slurm.ENDED}
    except slurm.SlurmUnavailable:
        queue.known = False
    with suppress(slurm.SlurmUnavailable):
        adopt(ledger, queue, uncertain_s)
    return queue.uncertain


def adopt(ledger: Ledger, queue: Queue, uncertain_s: float) -> None:
    """Give submissions whose sbatch was not heard to the end the job ids that their tags are found under.

    A slow controller may make the job after sbatch has given up: only a queue that is asked `uncertain_s` later and
    does not have it says that there is none. Raises SlurmUnavailable where the accounting does not answer.
    """
    found = {tag: job.id for (tag, _), job in queue.live.items()}
    nameless = [submission for submission in ledger.submissions if submission.job_id is None]
    queue.uncertain = [s for s in nameless if s.uncertain and s.tag not in found]
    try:
        if queue.uncertain:
            since = min(submission.time for submission in queue.uncertain)
            found.update({job.tag: job.id for job in slurm.sacct(since=since) if job.tag})
    finally:
        for submission in nameless:
            if submission.tag in found:
                ledger.confirm(submission, found[submission.tag])
            elif (
                submission.uncertain
                and queue.known
                and not queue.garbled
                and time.time() - submission.time > uncertain_s
            ):
                ledger.dismiss(submission)
        queue.uncertain = [submission for submission in ledger.submissions if submission.uncertain]


def observe(plan: Plan, campaign: Campaign, ledger: Ledger) -> tuple[dict[str, Observation], Queue]:
    """The state of every run of the plan; parents are judged before their children."""
    finished = _read_done(campaign, plan.runs)
    unfinished = _find_unfinished(plan, campaign, finished)
    queue = ask_slurm(plan, campaign, ledger, unfinished)
    if queue.asked and queue.known:
        # What has left the queue just now may have its DONE since.
        finished |= _read_done(campaign, unfinished)
        unfinished = _find_unfinished(plan, campaign, finished)
    observations: dict[str, Observation] = {}
    withheld = campaign.read_withheld()
    for run in plan.runs.values():
        done = finished[run.id]
        if done and run.id not in unfinished:
            observations[run.id] = Observation("done", f"attempt {done.get('attempt', '?')}", done.get("job"))
        else:
            stale = unfinished[run.id] if done else None
            seen = _judge(run, plan, campaign, ledger, queue, stale, observations)
            if seen.state == "planned" and run.id in withheld:
                seen = replace(seen, reason=withheld[run.id])
            observations[run.id] = seen
    return observations, queue


def _read_done(campaign: Campaign, run_ids: Iterable[str]) -> dict[str, dict[str, Any] | None]:
    """DONE of each run, as `RunFolder.read_done` reads it; of ten thousand runs in a tenth of a second."""
    found: dict[str, dict[str, Any] | None] = {}
    for run_id in run_ids:
        try:
            with open(f"{campaign.root}/{run_id}/DONE", "rb") as file:
                record = orjson.loads(file.read())
        except (FileNotFoundError, NotADirectoryError, orjson.JSONDecodeError):
            record = None
        ours = isinstance(record, dict) and record.get("schema") == DONE_SCHEMA
        found[run_id] = record if ours else None
    return found


def _find_unfinished(plan: Plan, campaign: Campaign, finished: Mapping[str, dict[str, Any] | None]) -> dict[str, str]:
    """Why each run that is not done is not."""
    unfinished: dict[str, str] = {}
    for run in plan.runs.values():
        why = _unfinished(run, finished, unfinished)
        if why is not None:
            unfinished[run.id] = why
    # An encoder that is trained again for one child leaves the results of its other children alone.
    return unfinished | _missed_weights(plan, campaign, unfinished)


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
    live = _live(run, campaign.run(run.id), ledger, queue)
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
    last = ledger.last(run_id)
    if last is None:
        return False
    if record.get("slurm_job") and last.job_id:
        return bool(record["slurm_job"] != last.job_of(run_id))
    return float(record.get("started", 0.0)) < last.time


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


def _live(run: Run, folder: RunFolder, ledger: Ledger, queue: Queue) -> Observation | None:
    """What the queue has of a run: its working job, else its newest one; others are too many."""
    jobs = [job for s in reversed(ledger.of(run.id)) if (job := queue.live.get(_key(s, run.id)))]
    if not jobs:
        return None
    job = next((job for job in jobs if slurm.LIVE.get(job.state) != "pending"), jobs[0])
    surplus = tuple(_name(other) for other in jobs if other is not job)
    state = slurm.LIVE.get(job.state)
    if state is None:
        reason, state = f"Slurm says {job.state}, a state unknown to this version", "running"
    else:
        reason = job.reason if job.reason not in ("None", "") else ""
    seen = Observation(state, reason, _name(job), surplus=surplus)
    last = ledger.last(run.id)
    return _in_pack(run, seen, folder, ledger) if last and last.size > 1 and state == "running" else seen


def _in_pack(run: Run, pack: Observation, folder: RunFolder, ledger: Ledger) -> Observation:
    """One run of a pack that is at work."""
    attempt = last_attempt(folder)
    if attempt is None or _is_older(read_json(attempt / "attempt.json") or {}, run.id, ledger):
        return replace(pack, state="pending", reason="waits for its turn in a pack that is at work")
    outcome = read_json(attempt / "outcome.json")
    if outcome is None:
        return pack
    if outcome["state"] in ("failed", "blocked"):
        return replace(pack, state=outcome["state"], reason=outcome["reason"])
    return replace(pack, state="pending", reason=f"waits for the pack to go on ({outcome['reason']})")


def _ended(run: Run, folder: RunFolder, ledger: Ledger, queue: Queue) -> Observation | None:
    """How the last attempt ended: Slurm's word first (a killed job writes nothing), with the attempt's own reason."""
    attempt = last_attempt(folder)
    outcome = read_json(attempt / "outcome.json") if attempt else None
    last = ledger.last(run.id)
    job = queue.ended.get((last.job_id or "", last.index_of(run.id))) if last else None
    record = (read_json(attempt / "attempt.json") if attempt else None) or {}
    if _is_older(record, run.id, ledger):
        outcome = None  # what the folder tells is older than the last submission
    elif attempt and record.get("slurm_job") is None:
        job = None  # a local worker took the run over since
    if outcome and last and last.size > 1:
        job = None  # a pack ends for all of its runs; what this one came to, it has said itself
    if job and slurm.ENDED.get(job.state) in ("failed", "cancelled"):
        if outcome and outcome["state"] in ("failed", "blocked"):
            return Observation(outcome["state"], outcome["reason"], _name(job))
        return Observation(slurm.ENDED[job.state], f"Slurm: {job.reason}, exit code {job.exit_code}", _name(job))
    if outcome and outcome["state"] == "cancelled" and record.get("slurm_job") and (queue.garbled or not queue.known):
        # Requeued jobs end so too, and are in the queue again.
        told = f"{outcome['reason']}; whether its job is in the queue again cannot be told now"
        return Observation("pending", told, record["slurm_job"])
    if outcome and outcome["state"] != "done":
        return Observation(outcome["state"], outcome["reason"], record.get("slurm_job"))
    if attempt and record.get("slurm_job") is None and outcome is None:
        return _local(record, attempt)
    if last and last.uncertain:
        return Observation("pending", "sbatch has not answered; its job may be there, or still appear")
    if last and queue.known:
        return _vanished(last, run.id, job, queue, attempt)
    if last:
        return Observation("pending", "submitted; the queue cannot be asked now", last.job_of(run.id))
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
) -> Observation:
    """Submitted, not in the queue, and nothing in the folder says how it ended."""
    name = submission.job_of(run_id)
    if job and job.state == "COMPLETED":
        return Observation("failed", "Slurm: COMPLETED, but its folder has no DONE; see the job's log", name)
    if job and job.state in slurm.LIVE:
        # Accounting follows the queue by seconds; after a crash it may believe in a job for ever.
        if attempt is None or time.time() - max(submission.time, _last_sign(attempt)) < SILENCE_S:
            return Observation("running", f"has left the queue, accounting still says {job.state}", name)
        return Observation("failed", f"accounting says {job.state}, but the queue does not have it", name)
    if job:
        return Observation("running", f"Slurm says {job.state}, a state unknown to this version", name)
    if queue.garbled:
        return Observation("pending", "squeue's answer was damaged: whether it is in the queue cannot be told", name)
    known = "Slurm's accounting does not know how" if queue.accounted else "accounting is not available"
    return Observation("failed", f"left the queue without an outcome; {known}", name, absent=True)


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
    return submission.tag, submission.index_of(run_id)


def _name(job: slurm.Job) -> str:
    return job.id if job.index is None else f"{job.id}_{job.index}"
