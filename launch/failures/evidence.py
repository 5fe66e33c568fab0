"""Which kind a failure is of, and what tells it: Slurm's state first, then the attempt's own word, then its log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from launch import slurm
from launch.campaign import Campaign
from launch.ledger import Ledger
from launch.logs import find_logs, tail
from launch.observation.attempts import last_attempt
from launch.observation.queue import Queue
from launch.observation.states import Observation
from stilts.failures import KINDS, kind_of_text, signature_of
from stilts.runs import read_json

# What Slurm's own word settles. FAILED says nothing: the program ended, for whatever reason.
KIND_OF_STATE = {
    "OUT_OF_MEMORY": "host_oom",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "NODE_FAIL": "node_failure",
    "BOOT_FAIL": "node_failure",
    "LAUNCH_FAILED": "node_failure",
    "RECONFIG_FAIL": "node_failure",
}
_LOG_LINES = 60


@dataclass(frozen=True)
class Failure:
    """How a run's last job or attempt failed. `key` tells it from the run's other failures."""

    kind: str
    signature: str
    reason: str
    evidence: str
    job: str | None = None
    attempt: str | None = None
    node: str | None = None
    submission: str | None = None

    @property
    def key(self) -> str:
        return f"{self.job or ''}/{self.attempt or ''}"


def find_failures(
    observations: Mapping[str, Observation], campaign: Campaign, ledger: Ledger, queue: Queue
) -> dict[str, Failure]:
    """Every failed run's failure."""
    failed = (run_id for run_id, seen in observations.items() if seen.state == "failed")
    return {run_id: diagnose(run_id, observations[run_id], campaign, ledger, queue) for run_id in failed}


def diagnose(run_id: str, seen: Observation, campaign: Campaign, ledger: Ledger, queue: Queue) -> Failure:
    """The failure of one run that was observed as failed."""
    folder = campaign.run(run_id)
    attempt = last_attempt(folder)
    record = (read_json(attempt / "attempt.json") if attempt else None) or {}
    outcome = (read_json(attempt / "outcome.json") if attempt else None) or {}
    submissions = ledger.of(run_id)
    submission = submissions[-1] if submissions else None
    mine = attempt is not None and record.get("slurm_job") in (None, seen.job)
    job = _accounted(seen, queue)
    if not mine or outcome.get("reason") != seen.reason:
        outcome = {}  # Slurm's word, or an older attempt's
    kind, evidence = _tell(run_id, seen, outcome, job, campaign, ledger)
    return Failure(
        kind=kind,
        signature=signature_of(seen.reason) if outcome or not job else f"{kind}: {job.state}",
        reason=seen.reason,
        evidence=evidence,
        job=seen.job,
        attempt=attempt.name if attempt and mine else None,
        node=record.get("node") if mine else None,
        submission=submission.tag if submission and seen.job == submission.job_of(run_id) else None,
    )


def _accounted(seen: Observation, queue: Queue) -> slurm.Job | None:
    match = re.fullmatch(r"(\d+)(?:_(\d+))?", seen.job or "")
    return queue.ended.get((match[1], int(match[2]) if match[2] else None)) if match else None


def _tell(
    run_id: str,
    seen: Observation,
    outcome: Mapping[str, object],
    job: slurm.Job | None,
    campaign: Campaign,
    ledger: Ledger,
) -> tuple[str, str]:
    """The kind, and what told it."""
    if job and job.state in KIND_OF_STATE:
        return KIND_OF_STATE[job.state], f"Slurm's accounting: {job.state}, exit code {job.exit_code or 'unknown'}"
    if outcome.get("kind") in KINDS:
        return str(outcome["kind"]), f"the attempt's own word: {outcome.get('error', 'failed')}"
    if kind := kind_of_text(seen.reason):
        return kind, f"its reason: {seen.reason.splitlines()[0][:120]}"
    for log in find_logs(campaign, ledger, run_id):
        if kind := kind_of_text(words := tail(log, _LOG_LINES)):
            line = next((line for line in reversed(words.splitlines()) if kind_of_text(line) == kind), "")
            return kind, f"{log.name}: {line.strip()[:120]}"
    if outcome:
        return "code", "the attempt ended with an error of its own"
    if job and (job.exit_code.endswith(":9") or job.exit_code.startswith("137:")):
        return (
            "host_oom",
            f"killed without a word (exit code {job.exit_code}), as the kernel does for memory",
        )
    return "unknown", "neither Slurm nor the attempt nor its log says why"
