"""A campaign that goes on by itself: one tiny job at a time that runs the launcher again when others have ended."""

from __future__ import annotations

import shlex
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from launch import sbatch, slurm
from launch.campaign import Campaign
from launch.limits import Limits
from launch.observation.queue import Queue
from launch.observation.states import LIVE, Observation
from launch.plan import Plan
from launch.resources import Resources
from stilts.runs import read_json, write_json, write_text

STALLED_ROUNDS = 2  # rounds without progress after which it ends
WATCHED_JOBS = 30  # it starts when any of so many has ended
PAUSES_S = (0.0, 5.0, 15.0, 45.0)
RESOURCES = Resources(cpus=1, mem_gb=2, timeout_min=30)


@dataclass(frozen=True)
class Look:
    """What a round has seen: how many runs are done, the campaign's jobs in the queue (working ones first)."""

    queue: Queue
    done: int
    jobs: tuple[str, ...]
    expressions: tuple[str, ...] = ()

    @classmethod
    def at(cls, observations: Mapping[str, Observation], queue: Queue, expressions: Sequence[str]) -> Look:
        """From an observation; `expressions` are the command's selection."""
        alive = sorted(
            (o for o in observations.values() if o.state in LIVE and o.job), key=lambda o: o.state == "pending"
        )
        done = sum(seen.state == "done" for seen in observations.values())
        return cls(queue, done, tuple(str(seen.job) for seen in alive), tuple(expressions))

    @property
    def alive(self) -> bool:
        return bool(self.jobs)


class Continuation:
    """The chain of a campaign's own jobs. `campaign/continue/` holds what they run on: the grid and the cluster as
    they were at the last command, and which job is the last of the chain."""

    def __init__(self, campaign: Campaign, plan: Plan, continued: str | None) -> None:
        self.campaign, self.plan, self.continued = campaign, plan, continued
        self.record: dict[str, Any] = read_json(self._state) or {}
        self.stalled = 0

    @property
    def folder(self) -> Path:
        return self.campaign.folder / "continue"

    @property
    def _state(self) -> Path:
        return self.folder / "continue.json"

    @property
    def superseded(self) -> bool:
        """Whether this launcher is a job of the chain whose place another one has taken."""
        return self.continued is not None and self.record.get("tag") != self.continued

    def reserve(self, limits: Limits, wanted: Sequence[str], look: Look, snapshot: Path) -> Limits:
        """Submit the next job of the chain before anything else, where not all fits: a full queue would not take it.

        Returns the limits without its slot.
        """
        fits = limits.room is not None and len(wanted) <= limits.room and self.plan.cluster.max_gpus is None
        if self.plan.cluster.continue_by is None or fits or self._lives(look.queue) or not self._moves(look):
            return limits
        self._write_inputs()
        tag = uuid.uuid4().hex[:8]
        self._record(tag=tag, time=time.time(), stalled=self.stalled, done=look.done)  # the intent, before sbatch
        job, refusal = self._submit(self._script(tag, look, snapshot))
        self._record(**self.record, job_id=job, refusal=refusal)
        return limits if limits.room is None else replace(limits, room=max(0, limits.room - 1))

    def end_round(self, submitted: int) -> None:
        """Note for the next round what this one has done."""
        if self.record and (submitted or self.continued):
            self._record(**{**self.record, "submitted": submitted})

    def promise(self) -> str | None:
        """Who will submit what is left, in words; None where nobody will."""
        if self.plan.cluster.continue_by is None:
            return None
        if self.stalled >= STALLED_ROUNDS:
            return f"{STALLED_ROUNDS} rounds brought nothing new, so this campaign does not go on by itself any more"
        if self.record.get("refusal"):
            return f"the campaign's own job was refused ({self.record['refusal']}): run the same command again"
        if self.record.get("job_id"):
            minutes = self.plan.cluster.continue_min
            return f"job {self.record['job_id']} goes on with them, in {minutes:g} minutes at the earliest"
        return None

    def _lives(self, queue: Queue) -> bool:
        """Whether the last job of the chain, if it is not this launcher, is in the queue."""
        tag = self.record.get("tag")
        if tag is None or tag == self.continued:
            return False
        if queue.asked and queue.known:
            return (tag, None) in queue.live
        try:
            return any(job.tag == tag for job in slurm.squeue())
        except slurm.SlurmUnavailable:
            return True  # better none than two

    def _moves(self, look: Look) -> bool:
        """Whether the chain is getting anywhere: something was submitted or done since its last round, or is in the
        queue. A command by hand starts afresh."""
        if self.continued is None:
            return True
        moved = look.alive or self.record.get("submitted") or look.done > self.record.get("done", 0)
        self.stalled = 0 if moved else int(self.record.get("stalled", 0)) + 1
        return self.stalled < STALLED_ROUNDS

    def _submit(self, script: str) -> tuple[str | None, str | None]:
        """The job's id, or why there is none. Inside of the chain it is worth waiting for a free slot: the campaign
        would end here."""
        words = ""
        for pause in PAUSES_S if self.continued else PAUSES_S[:1]:
            time.sleep(pause)
            try:
                return sbatch.submit(self.folder, script), None
            except sbatch.Refusal as refusal:
                words = refusal.words
                if refusal.kind not in ("limit", "busy"):
                    break  # of an uncertain one the next round finds the job by its tag
        return None, words

    def _script(self, tag: str, look: Look, snapshot: Path) -> str:
        cluster, grid = self.plan.cluster, self.folder / "grid.yaml"
        words = [
            str(snapshot / "launch" / "grid.py"),
            "--grid",
            str(grid),
            "--cluster",
            str(self.folder / "cluster.yaml"),
        ]
        words += ["--root", str(self.campaign.root), "--continued", tag]
        words += [word for expression in look.expressions for word in ("--select", expression)]
        name = f"{self.plan.grid.name}-continues#{tag}"
        watched = "?".join(f"afterany:{job}" for job in look.jobs[:WATCHED_JOBS])
        parameters = sbatch.sbatch_parameters(name, watched or None, RESOURCES, cluster, snapshot)
        parameters["additional_parameters"]["begin"] = f"now+{max(1, round(60 * cluster.continue_min))}"
        parameters["use_srun"] = False
        return sbatch.write_script(self.folder, f"{sbatch.python_command(cluster)} -u {shlex.join(words)}", parameters)

    def _write_inputs(self) -> None:
        """Keep the grid and the cluster as they are now: paths are absolute, and edits wait for the next command."""
        if self.continued is None:
            for name, model in (("grid", self.plan.grid), ("cluster", self.plan.cluster)):
                told = model.model_dump(mode="json", exclude_unset=True, by_alias=True)
                write_text(self.folder / f"{name}.yaml", yaml.safe_dump(told, sort_keys=False, allow_unicode=True))

    def _record(self, **record: Any) -> None:
        self.record = record
        write_json(self._state, record)
