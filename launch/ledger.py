"""What was submitted: one folder for each sbatch call, its intent on disk before the call."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from launch.slurm import this_user
from stilts.runs import read_json, write_json


@dataclass(frozen=True)
class Submission:
    """One sbatch call: its unique tag, the runs by array index, and the job id once it is known."""

    tag: str
    name: str
    runs: tuple[str, ...]
    time: float
    job_id: str | None
    user: str

    def job_of(self, run_id: str) -> str | None:
        """The run's job as squeue shows it: `12_3`, or `12` where the submission is a single job."""
        if self.job_id is None:
            return None
        return f"{self.job_id}_{self.runs.index(run_id)}" if len(self.runs) > 1 else self.job_id


class Ledger:
    """The submissions of a campaign, oldest first; the folders are the truth, this is how they are read.

    `read_only` is for those who only look: what they learn of a job's id stays in memory.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = folder
        self.read_only = read_only
        self.submissions = sorted(self._read(), key=lambda submission: submission.time)
        self._by_run: dict[str, list[Submission]] = {}
        for submission in self.submissions:
            self._index(submission)

    def _read(self) -> Iterable[Submission]:
        for path in self.folder.glob("*/submission.json"):
            record = read_json(path)
            if record:
                job = read_json(path.with_name("job.json")) or {}
                runs, user = tuple(record["runs"]), record.get("user", this_user())
                yield Submission(record["tag"], record["name"], runs, record["time"], job.get("job_id"), user)

    def _index(self, submission: Submission) -> None:
        """Put a submission in its place among those of its runs; one that is confirmed replaces its intent."""
        for run_id in submission.runs:
            others = [other for other in self._by_run.get(run_id, []) if other.tag != submission.tag]
            self._by_run[run_id] = sorted([*others, submission], key=lambda s: s.time)

    def of(self, run_id: str) -> list[Submission]:
        """Submissions that a run was part of, oldest first."""
        return self._by_run.get(run_id, [])

    def intend(self, name: str, runs: Iterable[str]) -> Submission:
        """Put a submission on disk that is about to be made. Its tag ends the job's name."""
        tag = uuid.uuid4().hex[:8]
        submission = Submission(tag, f"{name}#{tag}", tuple(runs), time.time(), None, this_user())
        record = {"tag": tag, "name": submission.name, "runs": list(submission.runs), "time": submission.time}
        write_json(self.folder / tag / "submission.json", {**record, "user": submission.user})
        return submission

    def confirm(self, submission: Submission, job_id: str) -> Submission:
        """Record the job id that sbatch gave (or that was found by the tag)."""
        if not self.read_only:
            write_json(self.folder / submission.tag / "job.json", {"job_id": job_id})
        confirmed = replace(submission, job_id=job_id)
        self.submissions = [*(s for s in self.submissions if s.tag != submission.tag), confirmed]
        self._index(confirmed)
        return confirmed
