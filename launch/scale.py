"""The scaling question as a block of a grid: nested random sets of k tasks, the same as mixtures and as sequences."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from stilts.document import Document, unknown
from stilts.settings import Count, Seed, Settings
from stilts.tasks.catalogue import INTERMEDIATES, TOY_INTERMEDIATES

UPDATES = "intermediate.updates"
Regime = Literal["multitask", "sequential"]


class FixedSteps(Settings):
    """So many updates in all; a sequence shares them out over its phases."""

    fixed_steps: Count


class Scale(Settings):
    """`draws` times a random order of the pool `tasks` (default: all of the suite); the set of `counts` k is its first
    k tasks, so the set of k + 1 holds that of k.

    Each set is a mixture and, in `orders` orders, a sequence; order 1 is the draw's own, so its sequences share their
    prefixes.
    """

    counts: Annotated[list[Count], Field(min_length=1)]
    draws: Count
    orders: Count = 1
    seed: Seed = 0
    tasks: list[str] = Field(default_factory=list)
    regimes: Annotated[list[Regime], Field(min_length=1)] = Field(default_factory=lambda: list(get_args(Regime)))
    budget: Literal["epochs"] | FixedSteps = "epochs"

    @field_validator("budget", mode="before")
    @classmethod
    def _budget_is_one_of_two(cls, value: Any) -> Any:
        steps = value.get("fixed_steps") if isinstance(value, dict) and set(value) == {"fixed_steps"} else None
        if value == "epochs" or isinstance(value, FixedSteps) or (type(steps) is int and steps > 0):
            return value
        raise ValueError("give epochs, or {fixed_steps: N} for N updates in all")

    @property
    def fixed_steps(self) -> int | None:
        return self.budget.fixed_steps if isinstance(self.budget, FixedSteps) else None


@dataclass(frozen=True, order=True)
class Place:
    """A place on a curve: so many tasks, the draw that they are from, and which of its orders; all from 1."""

    count: int
    draw: int
    regime: Regime
    order: int


def scale_points(scale: Scale, suite: str) -> dict[Place, dict[str, Any]]:
    """Values of `intermediate` and `regime` (and of `intermediate.updates` where the steps are fixed) of every place.

    One training may have several places (k = 1, the whole pool as a mixture).
    """
    fixed = {UPDATES: scale.fixed_steps} if scale.fixed_steps else {}
    points: dict[Place, dict[str, Any]] = {}
    for count, draw in itertools.product(scale.counts, range(1, scale.draws + 1)):
        for regime in scale.regimes:
            own = draw_order(scale, suite, draw)[:count]
            orders = [tuple(sorted(own))] if regime == "multitask" else find_orders(scale, draw, own)
            for order, tasks in enumerate(orders, 1):
                points[Place(count, draw, regime, order)] = {"intermediate": tasks, "regime": regime, **fixed}
    return points


def draw_order(scale: Scale, suite: str, draw: int) -> tuple[str, ...]:
    """The pool in the order of a draw (from 1). Counts, other draws and the pool's order in the file do not matter."""
    return _shuffle(find_pool(scale.tasks, suite), scale.seed, draw)


def find_pool(tasks: Sequence[str], suite: str) -> tuple[str, ...]:
    """The tasks that are drawn from: those given, else all of the suite."""
    return tuple(tasks) or (TOY_INTERMEDIATES if suite == "toy" else tuple(INTERMEDIATES))


def find_orders(scale: Scale, draw: int, tasks: tuple[str, ...]) -> list[tuple[str, ...]]:
    """`tasks` in the draw's own order, then in other random ones; fewer than asked for where there are no more."""
    found = [tasks]
    wanted = min(scale.orders, math.factorial(len(tasks)))
    for attempt in itertools.count():
        if len(found) == wanted:
            return found
        order = _shuffle(tasks, scale.seed, draw, len(tasks), attempt)
        if order not in found:
            found.append(order)
    raise AssertionError("the attempts are endless")


def find_draws(scale: Scale, suite: str) -> dict[frozenset[str], int | None]:
    """The number of the draw (from 1) that a set of tasks is from; None where several draws have it."""
    draws: dict[frozenset[str], int | None] = {}
    for count, draw in itertools.product(scale.counts, range(1, scale.draws + 1)):
        tasks = frozenset(draw_order(scale, suite, draw)[:count])
        draws[tasks] = draw if draws.get(tasks, draw) == draw else None
    return draws


def _shuffle(tasks: Sequence[str], *key: int) -> tuple[str, ...]:
    """A random order that depends on nothing but the key and the tasks: by SHA-256, so it is the same everywhere."""

    def place(task: str) -> bytes:
        return hashlib.sha256("/".join((*map(str, key), task)).encode()).digest()

    return tuple(sorted(tasks, key=place))


def check_scale(document: Document, suite: str) -> None:
    """What the block's own types cannot tell: tasks, repeats, counts above the pool, and axes that it takes over."""
    raw = document.value.get("scale")
    if not isinstance(raw, dict):
        return
    legal = find_pool((), suite)
    for key in ("counts", "tasks", "regimes"):
        for value, times in Counter(map(repr, _list(raw, key))).items():
            if times > 1:
                document.say(("scale", key), f"scale.{key} gives {value} {times} times; give it once")
    for index, task in enumerate(_list(raw, "tasks")):
        if isinstance(task, str) and task not in legal:
            problem = unknown(f"intermediate task '{task}' for suite {suite}", task, legal)
            document.say(("scale", "tasks", index), problem)
    for place, problem in (*_wrong_counts(raw, len(_list(raw, "tasks") or legal)), *_taken_axes(document.value, raw)):
        document.say(place, problem)


def _list(raw: dict[str, Any], key: str) -> list[Any]:
    value = raw.get(key)
    return value if isinstance(value, list) else []


def _wrong_counts(raw: dict[str, Any], pool: int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    counts = {index: count for index, count in enumerate(_list(raw, "counts")) if type(count) is int}
    for index, count in counts.items():
        if count > pool:
            yield ("scale", "counts", index), f"scale.counts: {count} tasks of a pool of {pool}; give {pool} at most"
    budget = raw.get("budget")
    steps = budget.get("fixed_steps") if isinstance(budget, dict) else None
    most = max(counts.values(), default=0)
    if type(steps) is int and 0 < steps < most and "sequential" in raw.get("regimes", ["sequential"]):
        yield ("scale", "budget"), f"{steps} updates for a sequence of {most} tasks; every phase needs one at least"


def _taken_axes(grid: dict[str, Any], raw: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Axes that would have two meanings beside a `scale` block."""
    axes = grid["axes"] if isinstance(grid.get("axes"), dict) else {}
    if "regime" in axes and "intermediate" not in axes:
        yield ("axes", "regime"), "axis 'regime' belongs to axis 'intermediate'; the scale block has `regimes`"
    for index, group in enumerate(_list(grid, "zip")):
        for name in ("intermediate", "regime"):
            if isinstance(group, dict) and name in group:
                problem = f"axis '{name}' cannot stand in a zip group beside a scale block; give those rows a grid of "
                yield ("zip", index, name), problem + "their own under the same --root"
    if not isinstance(raw.get("budget"), dict):
        return
    for key in ("axes", "zip", "include"):
        groups = [(key, axes)] if key == "axes" else [(key, i, group) for i, group in enumerate(_list(grid, key))]
        for *place, group in groups:
            if isinstance(group, dict) and UPDATES in group:
                yield (*place, UPDATES), f"axis '{UPDATES}' is what scale.budget sets; keep one of them"
