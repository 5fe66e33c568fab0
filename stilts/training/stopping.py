"""When a training stops before its end, and when it saves: signals, a file, the clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

# A checkpoint at least every 20 minutes, because preemption may come without any grace; below that, one may cost 2 %
# of the time, and none is worth less than a minute of work.
LONGEST_INTERVAL_S = 20 * 60
SHORTEST_INTERVAL_S = 60
SHARE_OF_TIME = 0.02

# Between the end of a checkpoint and the time limit: for the last update, and for Slurm to take the job back.
MARGIN_S = 10.0
_FILE_INTERVAL_S = 1.0


class Request(IntEnum):
    """What one rank asks of all at the end of an update; the largest request counts."""

    GO_ON = 0
    SAVE = 1
    STOP = 2
    STOP_AND_RETURN = 3


class Interrupted(Exception):
    """A training stopped between two updates. `returns` says that it should be started again at once (a time limit, a
    preemption), not only when somebody asks."""

    def __init__(self, reason: str, returns: bool) -> None:
        super().__init__(reason)
        self.returns = returns


class StartOver(Exception):
    """A training collapsed and is to start over, in a fresh process, with its next seed."""


class OutOfMemory(Exception):
    """The GPU's memory does not hold micro-batches of `micro_tokens`."""

    def __init__(self, micro_tokens: int) -> None:
        super().__init__(f"the GPU's memory does not hold micro-batches of {micro_tokens} tokens")
        self.micro_tokens = micro_tokens


@dataclass
class Stop:
    """Requests to stop. Signal handlers call `ask`; the loop looks at it between two updates while it is `watched`.

    `file`: stop when it exists. `deadline`: end of the time limit in seconds of the epoch.
    """

    file: Path | None = None
    deadline: float | None = None
    watched: bool = False
    _asked: tuple[Request, str] | None = None
    _looked: float = field(default=float("-inf"))

    def ask(self, reason: str, returns: bool) -> None:
        """Stop at the end of the running update."""
        asked = (Request.STOP_AND_RETURN if returns else Request.STOP, reason)
        # After a warning there may come a SIGTERM, which does not take back that the job should return.
        if self._asked is None or asked[0] > self._asked[0]:
            self._asked = asked

    @property
    def asked(self) -> tuple[str, bool] | None:
        """The reason that was given, and whether to return; None where nobody has asked."""
        return None if self._asked is None else (self._asked[1], self._asked[0] == Request.STOP_AND_RETURN)

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """While a loop looks at this object by itself."""
        self.watched = True
        try:
            yield
        finally:
            self.watched = False

    def look(self, reserve_s: float) -> tuple[Request, str]:
        """What is asked now; `reserve_s` is the time that a checkpoint takes."""
        if self._asked:
            return self._asked
        if self.deadline is not None and time.time() + reserve_s > self.deadline:
            return Request.STOP_AND_RETURN, f"{max(0.0, self.deadline - time.time()):.0f} s are left of the time limit"
        now = time.monotonic()
        if self.file is not None and now - self._looked > _FILE_INTERVAL_S:
            self._looked = now
            if self.file.exists():
                return Request.STOP, f"the file {self.file.name} asks for it"
        return Request.GO_ON, ""


@dataclass
class SaveClock:
    """When the next checkpoint is due, from what the last one cost (seconds)."""

    cost_s: float
    longest_s: float = LONGEST_INTERVAL_S
    _last: float = field(default_factory=time.monotonic)

    @property
    def interval_s(self) -> float:
        """Seconds between two checkpoints."""
        return min(self.longest_s, max(SHORTEST_INTERVAL_S, self.cost_s / SHARE_OF_TIME))

    @property
    def reserve_s(self) -> float:
        """Seconds before a time limit at which the last checkpoint must begin."""
        return 1.5 * self.cost_s + MARGIN_S

    def due(self) -> bool:
        return time.monotonic() - self._last >= self.interval_s

    def saved(self, cost_s: float) -> None:
        """A checkpoint that took `cost_s` is complete."""
        self.cost_s, self._last = cost_s, time.monotonic()
