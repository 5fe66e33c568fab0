"""The state of every run, and the evidence for it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger, Submission
from launch.observation.attempts import SILENCE_S, has_started, is_older, judge_local, last_attempt, last_sign
from launch.observation.finished import find_unfinished, read_done
from launch.observation.queue import Queue, ask_slurm, find_key
from launch.observation.states import Observation
from launch.plan import Plan
from stilts.runs import Run, RunFolder, read_json

_NEVER = "DependencyNeverSatisfied"


def observe(plan: Plan, campaign: Campaign, ledger: Ledger) -> tuple[dict[str, Observation], Queue]:
    """The state of every run of the plan; parents are judged before their children."""
    finished = read_done(campaign, plan.runs)
    unfinished = find_unfinished(plan, campaign, finished)
    queue = ask_slurm(plan, campaign, ledger, unfinished)
    if queue.asked and queue.known:
        # What has left the queue just now may have its DONE since.
        finished |= read_done(campaign, unfinished)
        unfinished = find_unfinished(plan, campaign, finished)
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
    if culprits and not has_started(run.id, folder, ledger):
        # Slurm may have dropped it (kill-on-invalid-dep): sacct does not even list a job that was never eligible.
        return Observation("blocked", f"waits for {_blame(culprits, seen)}")
    outcome = _ended(run, folder, ledger, queue)
    if culprits and (outcome is None or outcome.state in ("blocked", "cancelled")):
        return Observation("blocked", f"waits for {_blame(culprits, seen)}")
    if outcome is None or outcome.state == "blocked":
        return Observation("planned", "its parents are ready" if not dead and run.needs else "")
    return outcome


def _live(run: Run, folder: RunFolder, ledger: Ledger, queue: Queue) -> Observation | None:
    """What the queue has of a run: its working job, else its newest one; others are too many."""
    jobs = [job for s in reversed(ledger.of(run.id)) if (job := queue.live.get(find_key(s, run.id)))]
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
    if attempt is None or is_older(read_json(attempt / "attempt.json") or {}, run.id, ledger):
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
    if is_older(record, run.id, ledger):
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
        return judge_local(record, attempt)
    if last and last.uncertain:
        return Observation("pending", "sbatch has not answered; its job may be there, or still appear")
    if last and queue.known:
        return _vanished(last, run.id, job, queue, attempt)
    if last:
        return Observation("pending", "submitted; the queue cannot be asked now", last.job_of(run.id))
    return None


def _vanished(
    submission: Submission, run_id: str, job: slurm.Job | None, queue: Queue, attempt: Path | None
) -> Observation:
    """Submitted, not in the queue, and nothing in the folder says how it ended."""
    name = submission.job_of(run_id)
    if job and job.state == "COMPLETED":
        return Observation("failed", "Slurm: COMPLETED, but its folder has no DONE; see the job's log", name)
    if job and job.state in slurm.LIVE:
        # Accounting follows the queue by seconds; after a crash it may believe in a job for ever.
        if attempt is None or time.time() - max(submission.time, last_sign(attempt)) < SILENCE_S:
            return Observation("running", f"has left the queue, accounting still says {job.state}", name)
        return Observation("failed", f"accounting says {job.state}, but the queue does not have it", name)
    if job:
        return Observation("running", f"Slurm says {job.state}, a state unknown to this version", name)
    if queue.garbled:
        return Observation("pending", "squeue's answer was damaged: whether it is in the queue cannot be told", name)
    known = "Slurm's accounting does not know how" if queue.accounted else "accounting is not available"
    return Observation("failed", f"left the queue without an outcome; {known}", name, absent=True)


def _blame(needs: Iterable[str], seen: Mapping[str, Observation]) -> str:
    return ", ".join(f"{need} ({seen[need].state})" for need in needs)


def _name(job: slurm.Job) -> str:
    return job.id if job.index is None else f"{job.id}_{job.index}"
