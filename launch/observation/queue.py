"""What Slurm says of this campaign's submissions, and which of them it has made a job of."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger, Submission
from launch.plan import Plan


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
    gone = [run_id for run_id, submission in last.items() if find_key(submission, run_id) not in queue.live]
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


def find_key(submission: Submission, run_id: str) -> tuple[str, int | None]:
    """What a run's job is found under in `Queue.live`."""
    return submission.tag, submission.index_of(run_id)
