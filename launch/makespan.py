"""How long a plan takes on so many GPUs: its DAG played through, and what no number of GPUs makes shorter."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

# GPUs are counted in this many parts, so that sums of shares stay whole: every number up to 10 divides it.
PARTS = 2520


@dataclass(frozen=True)
class Node:
    """One run to be played: its hours, the GPUs that it holds (a share of one, where several runs share it), and the
    runs that must end before it starts."""

    id: str
    hours: float
    gpus: float
    needs: tuple[str, ...] = ()

    @property
    def parts(self) -> int:
        return round(self.gpus * PARTS)


class TooLarge(Exception):
    """A run asks for more GPUs than there are."""


def simulate(nodes: Sequence[Node], gpus: int) -> float:
    """Hours until the last run has ended, on `gpus` GPUs that nobody else uses.

    Whenever GPUs are free, the first run in the order given that is ready and fits is started; runs without a GPU
    start as soon as they are ready. Needs that are not among the nodes are done. Raises TooLarge.
    """
    for node in nodes:
        if node.parts > gpus * PARTS:
            raise TooLarge(f"{node.id} asks for {node.gpus:g} GPUs, there are {gpus}")
    left, children = _count_needs(nodes)
    ready: dict[int, list[int]] = {}  # by size, first in order first
    for index, count in enumerate(left):
        if count == 0:
            heapq.heappush(ready.setdefault(nodes[index].parts, []), index)
    running: list[tuple[float, int]] = []
    now, free = 0.0, gpus * PARTS
    while True:
        while fitting := [queue[0] for size, queue in ready.items() if queue and size <= free]:
            index = min(fitting)
            heapq.heappop(ready[nodes[index].parts])
            free -= nodes[index].parts
            heapq.heappush(running, (now + nodes[index].hours, index))
        if not running:
            return now
        now = running[0][0]
        while running and running[0][0] <= now:
            _, index = heapq.heappop(running)
            free += nodes[index].parts
            for child in children[index]:
                left[child] -= 1
                if left[child] == 0:
                    heapq.heappush(ready.setdefault(nodes[child].parts, []), child)


def longest_chain(nodes: Sequence[Node]) -> float:
    """Hours of the longest chain of runs that wait for each other; parents come first in the order given."""
    ends: dict[str, float] = {}
    for node in nodes:
        ends[node.id] = node.hours + max((ends.get(need, 0.0) for need in node.needs), default=0.0)
    return max(ends.values(), default=0.0)


def _count_needs(nodes: Sequence[Node]) -> tuple[list[int], list[list[int]]]:
    """How many needs of each node are to be played, and the nodes that wait for it."""
    places = {node.id: index for index, node in enumerate(nodes)}
    left, children = [0] * len(nodes), [[] for _ in nodes]  # type: tuple[list[int], list[list[int]]]
    for index, node in enumerate(nodes):
        for need in set(node.needs) & places.keys():
            left[index] += 1
            children[places[need]].append(index)
    return left, children
