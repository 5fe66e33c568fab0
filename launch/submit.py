"""Carry out what was decided: intents on disk, dependency strings from job ids, one sbatch call for each array.

What a site does not let in now is no error: it stays planned, with the reason, and the same command submits it later.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch import sbatch
from launch.campaign import Campaign
from launch.gpu_shares import Share, admit
from launch.ledger import Ledger, Submission
from launch.limits import Limits
from launch.observation.queue import settle
from launch.observation.states import Observation
from launch.packs import Needs, describe_pack
from launch.plan import Plan
from launch.reconcile import Array, group
from launch.sbatch import Refusal
from stilts.errors import UserError

# Pauses before an sbatch that made no job is tried again, each up to half as long again: launchers must not march in
# step. Together about a minute.
PAUSES_S = (2.0, 4.0, 8.0, 16.0, 32.0)
LOOKS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)  # between two looks for the job of an sbatch that did not answer

Tell = Callable[[Submission, Array], None]


@dataclass
class Report:
    """What a submission did: the submissions made, and what had to wait for what, by run.

    `problem`: why it stopped early, if it did.
    """

    submitted: list[Submission] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    problem: str | None = None

    @property
    def runs(self) -> int:
        return sum(len(submission.runs) for submission in self.submitted)


class Submitter:
    """Submits runs to a site within its limits.

    `held` says whether this launcher still has the campaign; `shares` are the arrays with GPUs in the queue.
    """

    def __init__(
        self,
        plan: Plan,
        campaign: Campaign,
        ledger: Ledger,
        snapshot: Path,
        limits: Limits,
        held: Callable[[], bool],
        tell: Tell,
        shares: Sequence[Share] = (),
    ) -> None:
        self.plan, self.campaign, self.ledger, self.snapshot = plan, campaign, ledger, snapshot
        self.held, self.tell, self.shares = held, tell, list(shares)
        self.report = Report()
        self.needs = Needs(plan, campaign.root)
        self._size, self._room, self._bound = limits.array, limits.room, limits.bound
        self._learnt = False

    def submit(self, wanted: Iterable[str], observations: dict[str, Observation]) -> Report:
        """Submit runs, as many as the site lets in. `wanted` is in the plan's order, so that no beginning of it lacks
        a parent.

        Stops cleanly at the first refusal: what was submitted stays, the rest stays planned. Raises UserError where
        the first call already is refused for good (nothing was submitted).
        """
        waiting, seen = list(wanted), dict(observations)
        self.campaign.write_specs(self.plan, waiting)
        while waiting and self._room != 0 and not self.report.problem:
            try:
                self._submit_batch(waiting[: self._room], seen)
            except Refusal as refusal:
                self._learn(refusal)
            waiting = self._still_waiting(waiting, seen)
        if not self.report.problem:
            reason = f"waits for a submit slot{f' ({self._bound})' if self._bound else ''}"
            self.report.withheld.update(dict.fromkeys(waiting, reason))
        self.campaign.write_withheld(self.report.withheld)
        return self.report

    def _submit_batch(self, runs: list[str], seen: dict[str, Observation]) -> None:
        arrays = group(self.plan, runs, seen, self._size)
        for array, allowed in zip(arrays, self._allow(arrays), strict=True):
            if not allowed:
                reason = f"waits for GPUs (max_gpus: {self.plan.cluster.max_gpus})"
                self.report.withheld.update(dict.fromkeys(array.runs, reason))
                continue
            submission = self._submit_array(array, allowed)
            self.report.submitted.append(submission)
            self.shares.append(Share(array.gpus, array.elements, allowed, submission))
            for run_id in array.runs:
                seen[run_id] = Observation("pending", "submitted", submission.job_of(run_id))
            if self._room is not None and not self._learnt:
                self._room -= array.elements
            self.tell(submission, array)

    def _allow(self, arrays: list[Array]) -> list[int]:
        """How many elements of each array may run at once; 0 where it has to wait for GPUs."""
        cluster = self.plan.cluster
        if cluster.max_gpus is None:
            return [cluster.array_parallelism] * len(arrays)
        allowed = admit(arrays, self.shares, cluster.max_gpus, cluster.array_parallelism)
        return [allowed.get(place, 0) for place in range(len(arrays))]

    def _still_waiting(self, waiting: list[str], seen: dict[str, Observation]) -> list[str]:
        """What is neither submitted nor built on something that has to wait for GPUs."""
        left: list[str] = []
        for run_id in waiting:
            if held_up := [need for need in self.plan.runs[run_id].needs if need in self.report.withheld]:
                self.report.withheld.setdefault(run_id, self.report.withheld[held_up[0]])
            elif seen[run_id].state != "pending" and run_id not in self.report.withheld:
                left.append(run_id)
        return left

    def _learn(self, refusal: Refusal) -> None:
        """Go on with less where a limit was reached: the site does not say how much it takes, so try the half."""
        if refusal.kind == "array" and refusal.count > 1:
            self._size = refusal.count // 2
        elif refusal.kind == "limit":
            words = re.search(r"\w*Submit\w*Limit", refusal.words)
            self._room, self._learnt = refusal.count // 2, True
            self._bound = self._bound or (words[0] if words else "")
        elif refusal.kind == "refused" and not self.report.submitted:
            raise UserError(str(refusal)) from None
        else:
            self.report.problem = str(refusal)

    def _submit_array(self, array: Array, allowed: int) -> Submission:
        """One array, tried again while the site has no time for it. Raises Refusal with the size of the array."""
        for pause in (*PAUSES_S, None):
            if not self.held():
                raise UserError("another launcher has taken this campaign over; nothing more is submitted from here")
            name, dependency = array.name(self.plan), dependency_string(array, self.ledger)
            submission = self.ledger.intend(name, array.runs, array.gpus, allowed, self._describe_pack(array))
            folder = self.ledger.folder / submission.tag
            script = sbatch.array_script(
                folder,
                submission.name,
                array.elements,
                dependency,
                array.job_resources,
                self.plan.cluster,
                self.snapshot,
                allowed,
            )
            try:
                return self.ledger.confirm(submission, sbatch.submit(folder, script))
            except Refusal as refusal:
                found = self._look_for(submission, refusal)
                if found:
                    return found
                if refusal.kind not in ("busy", "uncertain") or pause is None:
                    raise Refusal(refusal.kind, f"sbatch refused '{name}': {refusal.words}", array.elements) from None
                time.sleep(pause * random.uniform(1.0, 1.5))
        raise AssertionError("the last try returns or raises")

    def _look_for(self, submission: Submission, refusal: Refusal) -> Submission | None:
        """The submission with its job, where an sbatch without an answer has made one after all.

        Asks until the time is over in which it may appear; raises Refusal where nobody can be asked.
        """
        if refusal.kind != "uncertain":
            self.ledger.dismiss(submission)
            return None
        limit_s = self.plan.cluster.uncertain_s
        deadline = time.monotonic() + 2 * limit_s
        looks = iter(LOOKS_S)
        while time.monotonic() < deadline:
            time.sleep(min(next(looks, LOOKS_S[-1]), limit_s))
            if submission.tag not in {other.tag for other in settle(self.ledger, limit_s)}:
                return self.ledger.find(submission.tag)
        self.report.problem = f"{refusal.words}; whether it made a job cannot be told yet"
        raise Refusal("uncertain", self.report.problem, submission.elements)

    def _describe_pack(self, array: Array) -> dict[str, Any] | None:
        """What the jobs of an array are told where each has several runs."""
        if array.size == 1:
            return None
        return describe_pack(array.resources, array.size, self.needs.of(array.runs))


def dependency_string(array: Array, ledger: Ledger) -> str | None:
    """sbatch's --dependency for an array; None where it waits for nothing.

    `afterok` names single elements, so that a failure stays with its own children. Finished parents are not in
    the array's lists: Slurm refuses a dependency on a job that it has already forgotten.
    """
    parts: list[str] = []
    if array.same_index:
        parts.append(f"aftercorr:{_base_id(array.same_index, ledger)}")
    ended = list(array.after_any)
    if array.after_ok:
        parent = ledger.last(array.after_ok)
        # A pack may fail by another of its runs; the guard of each child looks at its own parent.
        if parent is not None and parent.size > 1:
            ended.append(array.after_ok)
        else:
            parts.append(f"afterok:{_element(array.after_ok, ledger)}")
    if ended:
        parts.append("afterany:" + ":".join(_whole_or_elements(ended, ledger)))
    return ",".join(parts) or None


def _element(run_id: str, ledger: Ledger) -> str:
    last = ledger.last(run_id)
    job = last.job_of(run_id) if last else None
    assert job is not None, f"{run_id} is live or was just submitted, so its job id is known"
    return job


def _base_id(run_ids: Iterable[str], ledger: Ledger) -> str:
    ids = {last.job_id for run_id in run_ids if (last := ledger.last(run_id))}
    assert len(ids) == 1 and None not in ids, "corresponding arrays have one parent array"
    return str(ids.pop())


def _whole_or_elements(run_ids: Iterable[str], ledger: Ledger) -> list[str]:
    """One id for a submission of which every run is meant, else its elements: short strings stay readable."""
    wanted: dict[str, set[str]] = {}
    for run_id in run_ids:
        last = ledger.last(run_id)
        assert last is not None, f"{run_id} is live or was just submitted"
        wanted.setdefault(last.tag, set()).add(run_id)
    names: list[str] = []
    for tag, runs in wanted.items():
        submission = ledger.find(tag)
        assert submission is not None, "it was found by this tag just now"
        if runs == set(submission.runs):
            names.append(str(submission.job_id))
        else:
            names.extend(_element(run_id, ledger) for run_id in submission.runs if run_id in runs)
    return list(dict.fromkeys(names))
