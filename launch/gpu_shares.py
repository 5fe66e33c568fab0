"""The GPU cap of a campaign: what the arrays in the queue may use at once, and what is left for new ones.

Slurm limits the elements of one array that run at once, not those of a campaign, so the cap is shared out: every
array gets at least one element's GPUs, and the sum stays below the cap whatever starts when.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from launch.ledger import Ledger, Submission
from launch.observation.queue import Queue
from launch.reconcile import Array
from stilts.errors import UserError


@dataclass
class Share:
    """One array in the queue: `left` elements that have not ended, of which `allowed` may run at once."""

    gpus: int
    left: int
    allowed: int
    submission: Submission | None = None

    @property
    def used(self) -> int:
        """GPUs that it may use at once."""
        return self.gpus * min(self.allowed, self.left)


def live_shares(ledger: Ledger, queue: Queue) -> list[Share]:
    """The arrays (and single jobs) with GPUs that are in the queue, of any grid of this root."""
    left = Counter(tag for tag, _ in queue.live)
    return [
        Share(s.gpus, left[s.tag], s.throttle or s.elements, s) for s in ledger.submissions if s.gpus and left[s.tag]
    ]


def admit(arrays: Sequence[Array], live: Sequence[Share], cap: int, parallelism: int) -> dict[int, int]:
    """How many elements of each array, by its place, may run at once; an array without a place has to wait, and with it
    what is built on it.

    Raises UserError where one run alone needs more GPUs than the cap.
    """
    free = cap - sum(share.used for share in live)
    shares: dict[int, Share] = {}
    waiting: set[str] = set()
    for place, array in enumerate(arrays):
        if array.gpus > cap:
            raise UserError(
                f"max_gpus: {cap}, but {array.runs[0]} alone needs {array.gpus}; raise it, or give it fewer"
            )
        needs = {*array.same_index, *array.after_any, *filter(None, [array.after_ok])}
        if array.gpus > max(free, 0) or waiting & needs:
            waiting.update(array.runs)
            continue
        free -= array.gpus
        shares[place] = Share(array.gpus, min(array.elements, parallelism), 1)
    spread(list(shares.values()), free)
    return {place: share.allowed if share.gpus else parallelism for place, share in shares.items()}


def rebalance(live: Sequence[Share], cap: int) -> list[Share]:
    """Give arrays in the queue what has become free, or take back what a lower cap no longer allows.

    Returns the arrays whose number changed.
    """
    before = [share.allowed for share in live]
    excess = sum(share.used for share in live) - cap
    # Single jobs and last elements cannot be held back.
    while excess > 0 and (wide := [share for share in live if min(share.allowed, share.left) > 1]):
        largest = max(wide, key=lambda share: share.used)
        largest.allowed = min(largest.allowed, largest.left) - 1
        excess -= largest.gpus
    spread(live, max(0, -excess))
    return [share for share, old in zip(live, before, strict=True) if share.allowed != old]


def spread(shares: Sequence[Share], free: int) -> None:
    """Hand out free GPUs one element at a time, to each array in turn that could use one more."""
    hungry = [share for share in shares if share.gpus]
    while hungry:
        hungry = [share for share in hungry if share.allowed < share.left and share.gpus <= free]
        for share in hungry:
            if share.gpus <= free:
                share.allowed += 1
                free -= share.gpus
