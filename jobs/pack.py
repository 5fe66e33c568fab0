"""A pack: several small runs in one Slurm job, after each other or at once, each with its own attempt, log and end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from jobs.attempt import code_root
from jobs.interruption import EXIT_AGAIN, find_deadline, is_near, measure_progress, requeue, slurm_job
from stilts.runs import RunFolder, read_json, write_json

POLL_S = 0.1
# Between the end of the last member and the end of the job: for Slurm to take the pack back.
MARGIN_S = 20.0
_DEFAULT_DELAY_S = 120.0


@dataclass(frozen=True)
class Member:
    """One run of a pack; `need_s` is what it takes to finish, or to come to its first checkpoint."""

    folder: RunFolder
    need_s: float


@dataclass
class Slot:
    """A place for one run at a time: its GPU (None without one) and the process that is at work."""

    gpu: str | None
    member: Member | None = None
    attempt: str = ""
    process: subprocess.Popen[bytes] | None = None


@dataclass
class Pack:
    """The runs of one array element, `at_once` of them at a time, `runs_per_gpu` on one GPU.

    Time-aware: after the first ones no run is started that could neither finish nor save in what is left.
    """

    members: list[Member]
    at_once: int
    runs_per_gpu: int
    cpus: int
    deadline: float | None = None
    asked: signal.Signals | None = None
    slots: list[Slot] = field(default_factory=list)
    waiting: list[Member] = field(default_factory=list)

    def run(self) -> int:
        """Work through the members; returns the exit code: 0 where all of them are done."""
        for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        gpus = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
        places = range(min(self.at_once, len(self.members)))
        self.slots = [Slot(gpus[place // self.runs_per_gpu % len(gpus)] if gpus else None) for place in places]
        self.waiting = [member for member in self.members if not _has_ended(member.folder)]
        before = self._measure()
        fresh = True
        while self._step(fresh):
            fresh = False
            time.sleep(POLL_S)
        return self._leave(moved=self._measure() != before)

    def _measure(self) -> list[object]:
        return [(_has_ended(member.folder), measure_progress(member.folder)) for member in self.members]

    def _step(self, fresh: bool) -> bool:
        """Note who has ended, start who may; False when there is nothing left to wait for."""
        for slot in self.slots:
            if slot.process is not None and (code := slot.process.poll()) is not None:
                self._note(slot, code)
        for slot in self.slots:
            if slot.process is None and self.waiting and not self.asked:
                place = next((i for i, member in enumerate(self.waiting) if fresh or self._has_time(member)), None)
                if place is not None:
                    self._start(slot, self.waiting.pop(place), _attempt_id(), fresh)
        return any(slot.process is not None for slot in self.slots)

    def _has_time(self, member: Member) -> bool:
        if self.deadline is None:
            return True
        warning_s = float(os.environ.get("STILTS_SIGNAL_DELAY_S", _DEFAULT_DELAY_S))
        return time.time() + member.need_s + MARGIN_S < self.deadline - warning_s

    def _note(self, slot: Slot, code: int) -> None:
        assert slot.member is not None, "a process belongs to a member"
        member, attempt = slot.member, slot.attempt
        slot.process = slot.member = None
        print(f"{member.folder.path.name} attempt {attempt}: exit code {code}", flush=True)
        if code == EXIT_AGAIN and not self.asked:  # a fresh process goes on with smaller micro-batches
            head, _, count = attempt.partition("+")
            self._start(slot, member, f"{head}+{int(count or 0) + 1}", False)

    def _start(self, slot: Slot, member: Member, attempt: str, fresh: bool) -> None:
        command = [sys.executable, "-u", str(code_root() / "jobs" / "run.py"), "--run", str(member.folder.path)]
        slot.member, slot.attempt = member, attempt
        slot.process = subprocess.Popen(
            [*command, "--attempt", attempt, "--parent", str(os.getpid())],
            env=self._environment(slot, fresh),
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # a signal to the pack reaches a member once, from here
        )
        if self.asked:  # just now: the handler did not see this process yet
            os.killpg(slot.process.pid, self.asked)
        print(f"{member.folder.path.name} attempt {attempt}: started", flush=True)

    def _environment(self, slot: Slot, fresh: bool) -> dict[str, str]:
        turn = "first" if fresh else "later"
        environment = {**os.environ, "STILTS_PACK": turn, "SLURM_CPUS_PER_TASK": str(self.cpus)}
        # How many share the memory that the run computes in: that of its GPU, or of the job.
        environment["STILTS_SHARERS"] = str(self.runs_per_gpu if slot.gpu else len(self.slots))
        if slot.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = slot.gpu
        if self.deadline is not None:
            environment["SLURM_JOB_END_TIME"] = str(self.deadline)
        return environment

    def _forward(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on to every member; nothing is started any more."""
        # A warning may be followed by SIGTERM, which does not take back that the pack should return.
        if self.asked is not signal.SIGUSR2:
            self.asked = signal.Signals(number)
        for slot in self.slots:
            if slot.process is not None and slot.process.poll() is None:
                os.killpg(slot.process.pid, number)

    def _leave(self, moved: bool) -> int:
        """Go back into the queue, once for all, where there is something left to do; note what was not started."""
        left = [member for member in self.members if not _has_ended(member.folder)]
        why = f"the pack was stopped by {self.asked.name}" if self.asked else "the job's time was too short for it"
        if left and self.asked in (None, signal.SIGUSR2):  # after SIGTERM it is Slurm, or the user, who decides
            job = slurm_job()
            stuck = not job or (is_near(self.deadline) and not moved)
            refusal = "no run of it got anywhere" if stuck else requeue(str(job))
            told = f"Slurm did not take the pack back: {refusal}" if refusal else "it comes with the pack's next turn"
            why = f"{why}; {told}"
            print(f"{len(left)} runs are left: {why}", flush=True)
        for member in left:
            if member in self.waiting:
                _put_back(member.folder, f"not started: {why}")
        return int(bool(left) or any(_has_failed(member.folder) for member in self.members))


def read_pack(submission: Path) -> Pack | None:
    """The pack of this array element; None where the submission packs nothing."""
    record = json.loads(submission.read_text(encoding="utf-8"))
    pack = record.get("pack")
    if not pack:
        return None
    size, runs = int(pack["size"]), record["runs"]
    index = int(os.environ.get("SLURM_ARRAY_TASK_ID", "0")) if len(runs) > size else 0
    root = submission.resolve().parents[3]
    needs: Mapping[str, float] = pack.get("need_s", {})
    members = [
        Member(RunFolder(root / run_id), needs.get(run_id, 0.0)) for run_id in runs[index * size : (index + 1) * size]
    ]
    return Pack(members, pack["at_once"], pack["runs_per_gpu"], pack["cpus"], find_deadline(os.environ))


def _attempt_id() -> str:
    return f"{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"


def _outcomes(folder: RunFolder) -> list[Mapping[str, Any]]:
    """How the attempts of this very job at a run ended, in all of its turns."""
    job = os.environ["SLURM_JOB_ID"]
    paths = sorted(folder.attempts.glob(f"{job}.*/outcome.json"), key=lambda path: path.stat().st_mtime)
    return [outcome for path in paths if (outcome := read_json(path))]


def _has_ended(folder: RunFolder) -> bool:
    """Whether this job has done what it could for a run, in this turn or in an earlier one."""
    outcomes = _outcomes(folder)
    return bool(outcomes) and outcomes[-1]["state"] in ("done", "failed", "blocked")


def _has_failed(folder: RunFolder) -> bool:
    outcomes = _outcomes(folder)
    return bool(outcomes) and outcomes[-1]["state"] in ("failed", "blocked")


def _put_back(folder: RunFolder, reason: str) -> None:
    """The trace of a turn in which a run was not started."""
    attempt = folder.attempts / _attempt_id()
    record = {"id": attempt.name, "started": time.time(), "slurm_job": slurm_job(), "resources": {}}
    write_json(attempt / "attempt.json", record)
    write_json(attempt / "outcome.json", {"state": "cancelled", "reason": reason, "rank": 0, "ended": time.time()})
