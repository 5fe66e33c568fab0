"""From axes to combinations: the product of a grid's axes and zip groups, with include and exclude."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from launch.spec import NAMED_AXES, Grid
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TOY_INTERMEDIATES, TOY_TARGETS


@dataclass(frozen=True)
class Combination:
    """One point of the grid. `tasks` is in training order; `overrides` are dotted settings with their values."""

    model: str
    tasks: tuple[str, ...]
    regime: str
    target: str
    seed: int
    overrides: tuple[tuple[str, Any], ...] = ()

    @property
    def mode(self) -> str:
        """none, single, multitask or sequential; one task is single under any regime."""
        return self.regime if len(self.tasks) > 1 else ("single" if self.tasks else "none")


def expand(grid: Grid) -> list[Combination]:
    """Every combination that the grid asks for, once, in the order of the file."""
    suite = grid.suite
    axes = {name: _values(name, values, suite) for name, values in grid.axes.items()}
    wanted = [point for point in _product(grid, axes, suite) if not _excluded(point, grid, suite)]
    for entry in grid.include:
        given = {name: _values(name, _as_list(value), suite) for name, value in entry.items()}
        wanted.extend(_product(grid, {**axes, **given}, suite, fixed=set(given)))
    return list(dict.fromkeys(_combination(point) for point in wanted))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _values(name: str, values: list[Any], suite: str) -> list[Any]:
    """The values of one axis with `each` and `all` spelled out; sets of tasks become tuples."""
    if name == "target":
        everything = TOY_TARGETS if suite == "toy" else tuple(TARGETS)
        return list(dict.fromkeys(t for value in values for t in (everything if value == "all" else [value])))
    if name != "intermediate":
        return list(values)
    every = TOY_INTERMEDIATES if suite == "toy" else tuple(INTERMEDIATES)
    spelled: list[tuple[str, ...]] = []
    for value in values:
        if value == "each":
            spelled.extend((task,) for task in every)
        else:
            spelled.append(() if value == "none" else every if value == "all" else tuple(_as_list(value)))
    return list(dict.fromkeys(spelled))


def _product(
    grid: Grid, axes: Mapping[str, list[Any]], suite: str, fixed: set[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Points of the product; a zip group counts as one axis unless an `include` entry fixes one of its names."""
    steps: list[list[dict[str, Any]]] = [[{name: value} for value in values] for name, values in axes.items()]
    for group in grid.zip:
        names = [name for name in group if name not in (fixed or set())]
        columns = [_values(name, group[name], suite) for name in names]
        steps.append([dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)])
    for parts in itertools.product(*steps):
        yield {name: value for part in parts for name, value in part.items()}


def _excluded(point: Mapping[str, Any], grid: Grid, suite: str) -> bool:
    return any(
        all(point.get(name) in _values(name, _as_list(value), suite) for name, value in entry.items())
        for entry in grid.exclude
    )


def _combination(point: Mapping[str, Any]) -> Combination:
    regime = point.get("regime", "multitask")
    tasks = point["intermediate"]
    overrides = tuple(
        sorted(((name, _frozen(value)) for name, value in point.items() if name not in NAMED_AXES), key=lambda o: o[0])
    )
    return Combination(
        model=point["model"],
        tasks=tuple(sorted(tasks)) if regime == "multitask" else tasks,
        regime=regime if len(tasks) > 1 else "multitask",
        target=point["target"],
        seed=point["seed"],
        overrides=overrides,
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
