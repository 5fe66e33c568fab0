"""The states that a run can be in."""

from __future__ import annotations

from dataclasses import dataclass

STATES = ("planned", "pending", "running", "done", "failed", "blocked", "cancelled", "stale")
LIVE = ("pending", "running")


@dataclass(frozen=True)
class Observation:
    """The state of one run and the evidence for it. `job` is what squeue calls it."""

    state: str
    reason: str = ""
    job: str | None = None
    doomed: bool = False  # its job is in the queue and can never start
    absent: bool = False  # taken for ended because nobody knows its job: to be looked at again before it is repeated
    surplus: tuple[str, ...] = ()  # further jobs for the same run: an sbatch without an answer was made again
