"""What people do to runs by name: hold, release, cancel, retry. Each says what it did, and twice is as good as once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from launch import slurm
from launch.failures.recovery import HELD_REASON
from launch.lineage import find_cone, find_lineage
from launch.observation.states import LIVE, Observation
from launch.scene import Scene
from stilts.errors import UserError


@dataclass
class Done:
    """What an action did, in sentences, and the observations that hold after it."""

    told: list[str] = field(default_factory=list)
    observations: dict[str, Observation] = field(default_factory=dict)


class Desk:
    """Where the actions are done."""

    def __init__(self, scene: Scene) -> None:
        self.plan, self.ledger, self.orders = scene.plan, scene.ledger, scene.orders
        self.observations, self.tripped = scene.observations, scene.recovery.tripped

    def state(self, run_id: str) -> str:
        return self.observations[run_id].state

    def act(self, action: str, chosen: Sequence[str]) -> Done:
        """Carry out one action on the chosen runs and keep it in the campaign's orders.

        Raises UserError where Slurm does not do its part; what was ordered is kept then too, so that the same
        command can be given again.
        """
        done = Done(observations=dict(self.observations))
        try:
            {"hold": self._hold, "release": self._release, "cancel": self._cancel, "retry": self._retry}[action](
                chosen, done
            )
        except slurm.SlurmUnavailable as problem:
            raise UserError(f"{action}: {problem}; the order is noted, give it again") from None
        finally:
            self.orders.save()
        return done

    def _hold(self, chosen: Sequence[str], done: Done) -> None:
        open_runs = [run for run in chosen if self.state(run) not in ("done", "running")]
        self.orders.hold(run for run in open_runs if run not in self.orders.held)
        waiting = [run for run in open_runs if self.state(run) == "pending" and not self._is_held(run)]
        slurm.hold(self._name_jobs(waiting))
        done.told.append(f"held {_count(open_runs)}, {len(waiting)} of them in the queue")
        done.told += self._left(chosen, open_runs, "running ones go on; done ones are done")

    def _release(self, chosen: Sequence[str], done: Done) -> None:
        marked = [run for run in chosen if run in self.orders.held]
        waiting = [run for run in chosen if self.state(run) == "pending" and self._is_held(run)]
        tags = {submissions[-1].tag for run in waiting if (submissions := self.ledger.of(run))}
        self.orders.release(chosen, tags & self.tripped.keys())
        slurm.release(self._name_jobs(waiting))
        done.told.append(f"released {_count(dict.fromkeys([*marked, *waiting]))}, {len(waiting)} of them in the queue")
        if len(marked) > len(waiting):
            done.told.append("what is not in the queue yet is submitted by the same command without an action")

    def _cancel(self, chosen: Sequence[str], done: Done) -> None:
        open_runs = [run for run in chosen if self.state(run) != "done"]
        self.orders.cancel(run for run in open_runs if run not in self.orders.cancelled)
        live = [run for run in open_runs if self.observations[run].job and self._is_queued(run)]
        slurm.cancel(self._name_jobs(live))
        done.told.append(f"cancelled {_count(open_runs)}, {len(live)} of them in the queue or running")
        done.told += self._left(chosen, open_runs, "they are done, and results are never deleted")
        waits = [run for run in find_cone(self.plan, open_runs) if run not in open_runs and self.state(run) != "done"]
        if waits:
            done.told.append(f"{len(waits)} more runs are built on them and cannot run without them")

    def _retry(self, chosen: Sequence[str], done: Done) -> None:
        """Chosen runs and the ancestors without which they cannot run; elements that wait held are taken back."""
        again = [run for run in find_lineage(self.plan, chosen) if self.state(run) not in ("done", *LIVE)]
        held = [run for run in chosen if self.state(run) == "pending" and self._is_held(run)]
        self.orders.pardon([*again, *held])
        self.orders.release([*again, *held])
        for run_id in find_cone(self.plan, held):
            seen = self.observations[run_id]
            if seen.state == "pending":
                done.observations[run_id] = replace(seen, state="blocked", reason="is submitted anew", doomed=True)
        counts = Counter(self.state(run) for run in again)
        told = ", ".join(f"{count} {state}" for state, count in counts.items()) or "none of them needs it"
        done.told.append(f"retry of {_count([*again, *held])}: {told}" + (f", {len(held)} held" if held else ""))
        live = sum(self.state(run) in LIVE for run in chosen) - len(held)
        if live:
            done.told.append(f"{live} of the chosen are in the queue or running already")

    def _is_held(self, run_id: str) -> bool:
        return HELD_REASON in self.observations[run_id].reason

    def _is_queued(self, run_id: str) -> bool:
        return self.state(run_id) in LIVE or self.observations[run_id].doomed

    def _left(self, chosen: Sequence[str], taken: Sequence[str], why: str) -> list[str]:
        left = len(chosen) - len(taken)
        return [f"left {left} alone: {why}"] if left else []

    def _name_jobs(self, run_ids: Sequence[str]) -> list[str]:
        return name_jobs(self.observations, run_ids)


def name_jobs(observations: Mapping[str, Observation], run_ids: Sequence[str]) -> list[str]:
    """Jobs of runs as Slurm's commands take them, `12_[3-7,9]`: a thousand elements of an array are one request."""
    by_job: dict[str, list[int]] = {}
    for run_id in run_ids:
        job, _, index = (observations[run_id].job or "").partition("_")
        by_job.setdefault(job, []).extend([int(index)] if index else [])
    return [f"{job}_[{_ranges(sorted(indices))}]" if indices else job for job, indices in by_job.items() if job]


def _ranges(numbers: Sequence[int]) -> str:
    """`3-7,9` of 3, 4, 5, 6, 7, 9."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in parts)


def _count(runs: Iterable[str]) -> str:
    number = len(list(runs))
    return f"{number} run{'' if number == 1 else 's'}"
