"""Which examples an update trains on. Every plan is a pure function of (seed, update): a resume needs no state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol

import numpy as np

from stilts.training.randomness import numpy_generator

# Length-sorted pools of the toy recipe's masked language modelling (reference: 8 batches of 32).
POOL_BATCHES = 8


@dataclass(frozen=True)
class Share:
    """One task's part in a training. `examples` counts training examples; for span and tagging these are windows.

    `order` is what the order of the examples depends on beside the seed and the task."""

    task: str
    examples: int
    batch_size: int
    epochs: int
    order: str = ""

    @property
    def epoch_batches(self) -> int:
        return math.ceil(self.examples / self.batch_size)

    def updates(self, cap: int) -> int:
        """Updates of all epochs, where an epoch counts at most `cap` examples."""
        return self.epochs * math.ceil(min(self.examples, cap) / self.batch_size)


class Plan(Protocol):
    """What the loop asks: how many updates, the task and examples of each, and by task how many at most."""

    @property
    def updates(self) -> int: ...

    @property
    def batch_sizes(self) -> Mapping[str, int]: ...

    def task_of(self, update: int) -> str: ...

    def batch(self, update: int) -> tuple[str, np.ndarray]: ...


class Mixture:
    """One or several tasks; each update is drawn from one of them.

    Probability proportional to `weights`, by default min(examples, cap), cap = 2^17 (Phang et al. 2020, section 2:
    after T5). Updates in total: as many as asked for, else the sum over tasks of epochs x ceil(min(examples, cap) /
    batch) as in jiant; with one task the cap has no meaning and the sum is epochs x ceil(examples / batch). Within a
    task the examples come in seeded permutations, each of them used up before the next, so the last batch of an epoch
    may be short.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        cap: int,
        seed: int,
        weights: Sequence[float] | None = None,
        updates: int | None = None,
    ) -> None:
        assert shares and all(share.examples and share.batch_size and share.epochs for share in shares)
        self.shares = tuple(shares)
        self.cap = cap if len(shares) > 1 else max(share.examples for share in shares)
        self.seed = seed
        self.weights = [min(share.examples, self.cap) for share in shares] if weights is None else list(weights)
        self.updates = updates or sum(share.updates(self.cap) for share in shares)

    @property
    def batch_sizes(self) -> dict[str, int]:
        """Examples of an update of each task."""
        return {share.task: min(share.batch_size, share.examples) for share in self.shares}

    @property
    def probabilities(self) -> np.ndarray:
        """float64 [tasks], sums to 1."""
        weights = np.array(self.weights, dtype=np.float64)
        return weights / weights.sum()

    def task_of(self, update: int) -> str:
        """The task of an update (counted from 0)."""
        return self.shares[self._draws[update]].task

    def batch(self, update: int) -> tuple[str, np.ndarray]:
        """The task of an update and its examples, int64."""
        share = self.shares[self._draws[update]]
        epoch, index = divmod(int(self._turns[update]), share.epoch_batches)
        order = _permutation(self.seed, share.task, epoch, share.examples, share.order)
        return share.task, order[index * share.batch_size : (index + 1) * share.batch_size]

    @cached_property
    def _draws(self) -> np.ndarray:
        """Index of the task of every update. The k-th number of a stream does not depend on the stream's length."""
        uniform = numpy_generator(self.seed, "task").random(self.updates)
        return np.searchsorted(np.cumsum(self.probabilities)[:-1], uniform, side="right")

    @cached_property
    def _turns(self) -> np.ndarray:
        """How often the task of every update had been drawn before it."""
        turns = np.empty(self.updates, dtype=np.int64)
        for index in range(len(self.shares)):
            mine = self._draws == index
            turns[mine] = np.arange(mine.sum())
        return turns


def weigh(shares: Sequence[Share], sampling: Mapping[str, Any]) -> list[float]:
    """What the probability of each task is proportional to under a sampling rule (see `stilts.settings.Sampling`)."""
    sizes = [min(share.examples, sampling["cap"]) for share in shares]
    match sampling["rule"]:
        case "uniform":
            return [1.0] * len(shares)
        case "temperature":
            return [size ** (1 / sampling["temperature"]) for size in sizes]
        case "weights":
            return [sampling["weights"][share.task] for share in shares]
        case _:
            return [float(size) for size in sizes]


class Pools:
    """A fixed number of updates on one task of many short sequences, in batches of like length.

    Each epoch's permutation is cut into pools of 8 batches; a pool is sorted by length, cut into batches, and its
    batches are shuffled. A rest that fills no batch waits for another epoch's permutation.
    """

    def __init__(self, task: str, lengths: np.ndarray, batch_size: int, updates: int, seed: int) -> None:
        assert len(lengths) >= batch_size, "fewer sequences than one batch holds"
        self.task, self.lengths, self.batch_size, self.seed = task, lengths, batch_size, seed
        self._updates = updates

    @property
    def updates(self) -> int:
        return self._updates

    @property
    def batch_sizes(self) -> dict[str, int]:
        return {self.task: self.batch_size}

    def task_of(self, update: int) -> str:
        return self.task

    def batch(self, update: int) -> tuple[str, np.ndarray]:
        epoch, index = divmod(update, len(self.lengths) // self.batch_size)
        pool, place = divmod(index, POOL_BATCHES)
        return self.task, self._pool(epoch, pool)[place]

    def _pool(self, epoch: int, pool: int) -> list[np.ndarray]:
        order = _permutation(self.seed, self.task, epoch, len(self.lengths))
        batches = len(order) // self.batch_size
        first, last = pool * POOL_BATCHES, min((pool + 1) * POOL_BATCHES, batches)
        members = order[first * self.batch_size : last * self.batch_size]
        members = members[np.argsort(self.lengths[members], kind="stable")]
        shuffled = numpy_generator(self.seed, "pool", self.task, epoch, pool).permutation(last - first)
        return [members[place * self.batch_size : (place + 1) * self.batch_size] for place in shuffled]


@lru_cache(maxsize=32)
def _permutation(seed: int, task: str, epoch: int, examples: int, order: str = "") -> np.ndarray:
    own = (order,) if order else ()
    return numpy_generator(seed, "epoch", task, epoch, *own).permutation(examples)
