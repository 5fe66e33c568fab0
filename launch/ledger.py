"""What was submitted: one folder for each sbatch call, its intent on disk before the call."""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from launch.slurm import this_user
from stilts.runs import read_json, write_json


@dataclass(frozen=True)
class Submission:
    """One sbatch call: its unique tag, the runs by array index, and the job id once it is known.

    `gpus` are those of one element, `throttle` is how many may run at once. `dismissed`: sbatch made no job.
    """

    tag: str
    name: str
    runs: tuple[str, ...]
    time: float
    job_id: str | None
    user: str
    gpus: int = 0
    throttle: int | None = None
    dismissed: bool = False
    pack: Mapping[str, Any] | None = None

    @property
    def size(self) -> int:
        """Runs of one element."""
        return int(self.pack["size"]) if self.pack else 1

    @property
    def elements(self) -> int:
        """Elements of the array; 1 is a single job."""
        return -(-len(self.runs) // self.size)

    @property
    def uncertain(self) -> bool:
        """Whether nobody knows yet if sbatch has made a job."""
        return self.job_id is None and not self.dismissed

    @cached_property
    def indices(self) -> dict[str, int]:
        """The array index of each run; those of a pack have the same."""
        return {run_id: place // self.size for place, run_id in enumerate(self.runs)}

    def index_of(self, run_id: str) -> int | None:
        """The run's array index; None where the submission is a single job."""
        return self.indices[run_id] if self.elements > 1 else None

    def job_of(self, run_id: str) -> str | None:
        """The run's job as squeue shows it: `12_3`, or `12` where the submission is a single job."""
        if self.job_id is None:
            return None
        return f"{self.job_id}_{self.indices[run_id]}" if self.elements > 1 else self.job_id


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
                runs, user = tuple(record["runs"]), record.get("user") or this_user()
                about = (record["tag"], record["name"], runs, record["time"], job.get("job_id"), user)
                throttle, dismissed = job.get("throttle", record.get("throttle")), job.get("dismissed", False)
                yield Submission(*about, record.get("gpus", 0), throttle, dismissed, record.get("pack"))

    def _index(self, submission: Submission) -> None:
        """Put a submission in its place among those of its runs; one that is confirmed replaces its intent."""
        for run_id in submission.runs:
            others = [other for other in self._by_run.get(run_id, []) if other.tag != submission.tag]
            self._by_run[run_id] = sorted([*others, submission], key=lambda s: s.time)

    def of(self, run_id: str) -> list[Submission]:
        """Submissions that a run was part of, oldest first, without those that came to nothing."""
        return [submission for submission in self._by_run.get(run_id, ()) if not submission.dismissed]

    def last(self, run_id: str) -> Submission | None:
        """The newest of them."""
        return next(reversed(self.of(run_id)), None)

    def find(self, tag: str) -> Submission | None:
        """A submission by its tag; None where there is none, or sbatch made no job."""
        return next((s for s in self.submissions if s.tag == tag and not s.dismissed), None)

    @property
    def runs(self) -> Collection[str]:
        """Every run that was ever submitted, whichever grid it belongs to."""
        return self._by_run.keys()

    def intend(
        self,
        name: str,
        runs: Iterable[str],
        gpus: int = 0,
        throttle: int | None = None,
        pack: Mapping[str, Any] | None = None,
    ) -> Submission:
        """Put a submission on disk that is about to be made. Its tag ends the job's name; `pack` is what its jobs are
        told where each has several runs."""
        tag = uuid.uuid4().hex[:8]
        submission = Submission(
            tag, f"{name}#{tag}", tuple(runs), time.time(), None, this_user(), gpus, throttle, pack=pack
        )
        names = ("tag", "name", "runs", "time", "user", "gpus", "throttle", "pack")
        write_json(self.folder / tag / "submission.json", {name: getattr(submission, name) for name in names})
        self._replace(submission)
        return submission

    def confirm(self, submission: Submission, job_id: str) -> Submission:
        """Record the job id that sbatch gave (or that was found by the tag)."""
        return self._replace(replace(submission, job_id=job_id, dismissed=False), save=True)

    def dismiss(self, submission: Submission) -> Submission:
        """Record that sbatch has made no job, so that nobody asks for it again."""
        return self._replace(replace(submission, dismissed=True), save=True)

    def set_throttle(self, submission: Submission, elements: int) -> Submission:
        """Record how many elements of an array may run at once from now on."""
        return self._replace(replace(submission, throttle=elements), save=True)

    def _replace(self, submission: Submission, save: bool = False) -> Submission:
        if save and not self.read_only:
            found = {"job_id": submission.job_id, "throttle": submission.throttle, "dismissed": submission.dismissed}
            write_json(self.folder / submission.tag / "job.json", found)
        self.submissions = [*(s for s in self.submissions if s.tag != submission.tag), submission]
        self._index(submission)
        return submission
