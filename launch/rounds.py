"""A campaign's life on Slurm, in rounds: look, repair, submit what fits, and look again for as long as it is asked."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from launch import slurm
from launch.campaign import Campaign
from launch.continuation import Continuation, Look
from launch.failures.recovery import avoid_nodes, tell_withheld
from launch.foresight import Foresight
from launch.gpu_shares import live_shares, rebalance
from launch.leavers import find_leavers
from launch.ledger import Ledger, Submission
from launch.limits import Limits, ask_limits
from launch.observation.observe import observe
from launch.observation.queue import Queue, settle
from launch.observation.states import LIVE, Observation
from launch.operations import Desk, name_jobs
from launch.options import selected_expressions
from launch.plan import Plan
from launch.preparation import reopen_scored
from launch.reconcile import Array, decide, group, narrow, wanted_runs
from launch.scene import Scene, judge
from launch.selectors import Selection
from launch.show import print_next, stage_table, why_nothing
from launch.slurm import SlurmUnavailable
from launch.snapshot import take_snapshot
from launch.submit import Report, Submitter
from stilts.errors import UserError
from stilts.turns import Turn


@dataclass(frozen=True)
class Wishes:
    """What the command line asks of a round."""

    grid: str
    selection: Selection
    foresight: Foresight
    expressions: tuple[str, ...] = ()
    limit: int | None = None
    prune: bool = False
    rescore: bool = False
    watch_s: float | None = None
    continued: str | None = None
    retry: bool = False
    pilot: bool = False

    @classmethod
    def of(cls, arguments: argparse.Namespace, selection: Selection, foresight: Foresight) -> Wishes:
        """From the parsed command line."""
        expressions = tuple(selected_expressions(arguments))
        names = ("limit", "prune", "rescore", "watch", "continued")
        more = (getattr(arguments, name) for name in names)
        flags = {"retry": arguments.action == "retry", "pilot": arguments.pilot}
        return cls(arguments.grid, selection, foresight, expressions, *more, **flags)

    def choose(
        self, plan: Plan, observations: Mapping[str, Observation], wanted: list[str] | None = None
    ) -> tuple[list[str], list[str]]:
        """Runs to submit (of `wanted`, where it is given), parents first, and those among them that only come along."""
        wanted = wanted_runs(plan, observations) if wanted is None else wanted
        if not self.expressions and self.limit is None:
            return wanted, []
        return narrow(plan, wanted, set(self.selection.choose(observations)), self.limit)


def run_slurm(plan: Plan, campaign: Campaign, wishes: Wishes, console: Console) -> int:
    """One round, or with `--watch` rounds until nothing waits or runs any more; returns the exit code."""
    this = Round(plan, campaign, wishes, console)
    code, going_on = this.work()
    while wishes.watch_s is not None and going_on and code == 0:
        time.sleep(max(wishes.watch_s, 5 * this.look_s))  # a slow controller is asked less often
        this = Round(plan, campaign, wishes, console, again=True)
        code, going_on = this.work()
    return code


class Round:
    """One look at the campaign and what follows from it."""

    def __init__(self, plan: Plan, campaign: Campaign, wishes: Wishes, console: Console, again: bool = False) -> None:
        self.plan, self.campaign, self.wishes, self.console, self.again = plan, campaign, wishes, console, again
        self.ledger: Ledger
        self.scene: Scene
        self.observations: dict[str, Observation] = {}
        self.queue = Queue()
        self.submitted = 0
        self.look_s = 0.0

    def work(self) -> tuple[int, bool]:
        """Exit code, and whether anything is still to come."""
        with self.campaign.lock() as turn:
            before = self.campaign.write_grid(self.plan)
            self.ledger = Ledger(self.campaign.submissions)  # not before the lock: another launcher may have submitted
            continuation = Continuation(self.campaign, self.plan, self.wishes.continued)
            if continuation.superseded:
                self._say("another job continues this campaign; nothing is done here")
                return 0, False
            self._look()
            if self.queue.uncertain:
                self._say("the queue cannot be asked for submissions whose sbatch did not answer; run this again later")
                return 1, True
            if self.wishes.rescore and not self.again:
                reopened = reopen_scored(self.plan, self.campaign, self.observations)
                self._say(f"reading {len(reopened)} scored sets again; what is unchanged keeps its scores")
                self.observations, self.queue = observe(self.plan, self.campaign, self.ledger)
            self._judge()
            self._prune(before)
            code = self._submit(turn, continuation)
            continuation.end_round(self.submitted)
        return code, self._goes_on()

    def _look(self) -> None:
        """Observe; wait while it is uncertain whether an sbatch has made a job, and look twice at who is missing."""
        started = time.monotonic()
        self.observations, self.queue = observe(self.plan, self.campaign, self.ledger)
        self.look_s = time.monotonic() - started
        for note in self.queue.notes:
            self.console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)
        if self.queue.uncertain and self.queue.known:
            self._wait_until_certain()
            self.observations, self.queue = observe(self.plan, self.campaign, self.ledger)
        missing = [run_id for run_id, seen in self.observations.items() if seen.absent]
        if missing and self.queue.known:
            # An answer of squeue may lack a part without saying so; whoever is submitted again would run twice.
            first, (self.observations, self.queue) = self.observations, observe(self.plan, self.campaign, self.ledger)
            for run_id in missing:
                if self.observations[run_id].state in LIVE:
                    self._say(f"note: squeue left {run_id} out at first ({first[run_id].reason})")

    def _judge(self) -> None:
        """Answer failures by their policies, carry out a retry, hold arrays in which too many have failed alike."""
        self.scene = judge(self.plan, self.campaign, self.ledger, self.observations, self.queue, write=True)
        if self.wishes.retry and not self.again:
            chosen = self.wishes.selection.choose(self.scene.observations)
            done = Desk(self.scene).act("retry", chosen)
            self.scene = self.scene.retry(chosen, done.observations)
            for told in done.told:
                self._say(told)
        self.observations = self.scene.observations
        notes = [*self.scene.recovery.notes, *avoid_nodes(self.plan, self.scene.recovery)]
        try:
            slurm.hold(name_jobs(self.observations, self.scene.recovery.hold))
        except SlurmUnavailable as problem:
            notes.append(str(problem))
        for note in notes:
            self.console.print(f"[yellow]note:[/yellow] {escape(note)}", soft_wrap=True)

    def _wait_until_certain(self) -> None:
        limit_s = self.plan.cluster.uncertain_s
        runs = sum(len(submission.runs) for submission in self.queue.uncertain)
        self._say(
            f"a launcher stopped while it submitted {runs} runs; waiting up to {limit_s:.0f} s for their job to appear"
        )
        deadline = time.monotonic() + 2 * limit_s
        while settle(self.ledger, limit_s) and time.monotonic() < deadline:
            time.sleep(min(5.0, limit_s / 4))

    def _prune(self, before: list[str]) -> None:
        """Tell what left the grid, and with --prune take it out of the queue."""
        leavers = find_leavers(self.plan, self.campaign, self.ledger, self.queue, before)
        if self.wishes.prune and leavers.queued:
            _cancel(list(leavers.queued.values()))
            self._say(f"cancelled {len(leavers.queued)} runs that left the grid; what they have computed stays")
        else:
            for line in leavers.lines():
                self._say(line)

    def _submit(self, turn: Turn, continuation: Continuation) -> int:
        """Submit what is missing; returns the exit code."""
        eligible = self._eligible()
        first_retry = self.wishes.retry and not self.again
        wanted, companions = (
            (eligible, []) if first_retry else self.wishes.choose(self.plan, self.observations, eligible)
        )
        _cancel(decide(self.plan, self.observations, wanted=()).cancel)
        if not self.again or wanted:
            self.console.print(stage_table(self.plan, self.observations))
            for line in tell_withheld(self.scene.recovery.withheld):
                self.console.print(f"[yellow]left alone:[/yellow] {escape(line)}", soft_wrap=True)
        self._share_gpus()
        if not wanted:
            self.campaign.write_withheld({})
            if not self.again:
                self._say(why_nothing(self.plan, self.observations))
            return 0
        if self.plan.cluster.max_gpus is not None and not self.queue.known:
            self._say("how many GPUs are in use cannot be told, and max_gpus limits them: nothing is submitted now")
            return 1
        if companions:
            self._say(f"{len(companions)} unfinished runs come along, because selected ones are built on them")
        return self._hand_in(wanted, turn, continuation)

    def _hand_in(self, wanted: list[str], turn: Turn, continuation: Continuation) -> int:
        """Give runs to Slurm, as many as it takes; returns the exit code."""
        self._refuse_hopeless(wanted)
        snapshot = take_snapshot(self.campaign.code)
        limits = self._ask_limits(wanted)
        if self.wishes.limit is None:  # so many runs were asked for and no more: nobody goes on
            look = Look.at(self.observations, self.queue, self.wishes.expressions)
            limits = continuation.reserve(limits, wanted, look, snapshot)
        stated = len(group(self.plan, wanted, self.observations, limits.array))
        shares = live_shares(self.ledger, self.queue) if self.plan.cluster.max_gpus else []

        def tell(submission: Submission, array: Array) -> None:
            self._say(f"submitted {len(array.runs):4d} runs  {submission.name}")

        submitter = Submitter(self.plan, self.campaign, self.ledger, snapshot, limits, lambda: turn.held, tell, shares)
        report = submitter.submit(wanted, self.observations)
        self.submitted = report.runs
        self._report(report, stated, snapshot.name, continuation)
        return 1 if report.problem else 0

    def _eligible(self) -> list[str]:
        """Runs that this round may submit. A round that nobody asked for does not repeat what was cancelled, nor what
        would only fail again, unless it was asked for before and had to wait."""
        wanted = self.scene.wanted
        if self.wishes.continued is None and not self.again:
            return wanted
        asked = self.campaign.read_withheld()
        states = {run_id: self.observations[run_id].state for run_id in wanted}
        ended = {run_id for run_id, state in states.items() if state == "cancelled"}
        ended |= {run_id for run_id, state in states.items() if state == "failed" and not self.scene.is_chance(run_id)}
        ended -= set(asked)
        for run_id in wanted:
            if ended.intersection(self.plan.runs[run_id].needs):
                ended.add(run_id)
        return [run_id for run_id in wanted if run_id not in ended]

    def _ask_limits(self, wanted: list[str]) -> Limits:
        """The site's limits, with this user's jobs in the queue counted as a last resort."""
        queued = self.queue.total
        if queued is None and not self.queue.asked:
            try:
                queued = len(slurm.squeue())
            except SlurmUnavailable:
                queued = None
        cluster = self.plan.cluster
        qoses = {self.plan.resources(run_id).qos or cluster.qos for run_id in wanted}
        return ask_limits(cluster.account, qoses, queued)

    def _refuse_hopeless(self, wanted: list[str]) -> None:
        """Look for what would fail later; a round that follows another by itself does not ask Slurm again."""
        again = self.again or self.wishes.continued is not None
        self.wishes.foresight.check(self.plan, self.campaign, self.observations, wanted, again).refuse()

    def _share_gpus(self) -> None:
        """Give arrays in the queue the GPUs that have become free under the cap."""
        if self.plan.cluster.max_gpus is None or not self.queue.known:
            return
        for share in rebalance(live_shares(self.ledger, self.queue), self.plan.cluster.max_gpus):
            assert share.submission is not None and share.submission.job_id is not None, "it is in the queue"
            try:
                slurm.throttle(share.submission.job_id, share.allowed)
            except SlurmUnavailable:
                continue  # it has ended since
            self.ledger.set_throttle(share.submission, share.allowed)
            self._say(f"{share.submission.name}: {share.allowed} at once from now on (max_gpus)")

    def _report(self, report: Report, stated: int, snapshot: str, continuation: Continuation) -> None:
        calls = len(report.submitted)
        cut = f", {calls - stated} more than planned because limits cut them" if calls > stated else ""
        self._say(f"submitted {report.runs} runs in {calls} sbatch calls{cut} (code snapshot {snapshot})")
        if report.problem:
            self.console.print(f"[yellow]stopped early:[/yellow] {escape(report.problem)}", soft_wrap=True)
            self._say("the rest stays planned; the same command submits it")
        elif report.withheld:
            for reason, runs in Counter(report.withheld.values()).items():
                self._say(f"{runs} runs stay planned: each {reason}")
            self._say(continuation.promise() or "the same command submits them when there is room (or --watch does)")
        if not (self.again or self.wishes.pilot):
            print_next(self.console, self.campaign, self.wishes.grid)

    def _goes_on(self) -> bool:
        """Whether anything is in the queue, or waits to be put into it."""
        alive = any(seen.state in LIVE for seen in self.observations.values())
        return alive or bool(self.campaign.read_withheld()) or self.submitted > 0

    def _say(self, text: str) -> None:
        self.console.print(escape(text), soft_wrap=True)


def _cancel(jobs: list[str]) -> None:
    try:
        slurm.cancel(jobs)
    except SlurmUnavailable as error:
        raise UserError(f"{error}; nothing was submitted, run the same command again") from None
