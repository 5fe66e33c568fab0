"""From axes to combinations: the product of a grid's axes, zip groups and scale points, with include and exclude."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from launch.axes import NAMED_AXES, SWITCHES
from launch.scale import Place, scale_points
from launch.spec import Grid
from stilts.tasks.catalogue import INTERMEDIATES, TARGETS, TOY_INTERMEDIATES, TOY_TARGETS

DEFAULT_REGIME = "multitask"


@dataclass(frozen=True)
class Combination:
    """One point of the grid. `tasks` is in training order; `overrides` are dotted settings with their values.

    `mlm`: masked language modelling is mixed in. `translated`: the training sets are there in other languages too.
    """

    model: str
    tasks: tuple[str, ...]
    regime: str
    target: str
    seed: int
    mlm: bool = False
    translated: bool = False
    overrides: tuple[tuple[str, Any], ...] = ()

    @property
    def mode(self) -> str:
        """none, single, multitask or sequential; one task is single under any regime."""
        return self.regime if len(self.tasks) > 1 else ("single" if self.tasks else "none")


def expand(grid: Grid) -> dict[Combination, list[Place]]:
    """Every combination that the grid asks for, once, in the order of the file, with its places on the scale block's
    curves: none for what only the axes ask for."""
    suite = grid.suite
    axes = {name: _values(name, values, suite) for name, values in grid.axes.items()}
    wanted = [point for point in _points(grid, axes, {}) if not _excluded(point[0], grid, suite)]
    for entry in grid.include:
        given = {name: _values(name, _as_list(value), suite) for name, value in entry.items()}
        wanted.extend(_points(grid, axes, given))
    combinations: dict[Combination, list[Place]] = {}
    for values, place in wanted:
        combinations.setdefault(_combination(values), []).extend([place] if place else [])
    return combinations


Point = tuple[dict[str, Any], Place | None]


def _points(grid: Grid, axes: Mapping[str, list[Any]], given: Mapping[str, list[Any]]) -> Iterator[Point]:
    """The product of the axes and that of the scale points, with the axes `given` by an include entry in their place.

    An entry that names intermediate tasks takes no scale points, one that names regimes those of these regimes.
    """
    named = "intermediate" in given or "intermediate" in axes or any("intermediate" in group for group in grid.zip)
    if named:
        yield from ((values, None) for values in _product(grid, {**axes, **given}, set(given)))
    if grid.scale is not None and "intermediate" not in given:
        others = {n: v for n, v in {**axes, **given}.items() if n not in ("intermediate", "regime")}
        points = scale_points(grid.scale, grid.suite)
        places = [place for place in points if place.regime in given.get("regime", [place.regime])]
        for place, values in itertools.product(places, _product(grid, others, set(given))):
            yield values | points[place], place


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


def _product(grid: Grid, axes: Mapping[str, list[Any]], fixed: set[str]) -> Iterator[dict[str, Any]]:
    """Points of the product; a zip group counts as one axis unless an `include` entry fixes one of its names."""
    steps: list[list[dict[str, Any]]] = [[{name: value} for value in values] for name, values in axes.items()]
    for group in grid.zip:
        names = [name for name in group if name not in fixed]
        if names:
            rows = zip(*(group[name] for name in names), strict=True)
            steps.append([point for row in rows for point in _spelled_row(names, row, grid.suite)])
    for parts in itertools.product(*steps):
        yield {name: value for part in parts for name, value in part.items()}


def _spelled_row(names: list[str], row: tuple[Any, ...], suite: str) -> Iterator[dict[str, Any]]:
    """The points of one step of a zip group: one, or several where it says `each` or `all` targets."""
    columns = [_values(name, [value], suite) for name, value in zip(names, row, strict=True)]
    for values in itertools.product(*columns):
        yield dict(zip(names, values, strict=True))


def _excluded(point: Mapping[str, Any], grid: Grid, suite: str) -> bool:
    if not grid.exclude:
        return False
    combination = _combination(point)
    return any(
        all(_matches(combination, point, name, _values(name, _as_list(value), suite)) for name, value in entry.items())
        for entry in grid.exclude
    )


def _matches(combination: Combination, point: Mapping[str, Any], name: str, values: list[Any]) -> bool:
    """Whether an exclude entry's values for one axis hold a point's. A mixture is a set: its order does not matter."""
    if name == "regime":
        return point.get("regime", DEFAULT_REGIME) in values
    if name in SWITCHES:
        return getattr(combination, name) in values
    if name == "intermediate" and combination.mode == "multitask":
        return combination.tasks in [tuple(sorted(tasks)) for tasks in values]
    return name in point and point[name] in values


def _combination(point: Mapping[str, Any]) -> Combination:
    regime = point.get("regime", DEFAULT_REGIME)
    tasks = point["intermediate"]
    overrides = tuple(
        sorted(((name, _frozen(value)) for name, value in point.items() if name not in NAMED_AXES), key=lambda o: o[0])
    )
    return Combination(
        model=point["model"],
        tasks=tuple(sorted(tasks)) if regime == "multitask" else tasks,
        regime=regime if len(tasks) > 1 else DEFAULT_REGIME,
        target=point["target"],
        seed=point["seed"],
        mlm=point.get("mlm", False),
        translated=point.get("translated", False) and bool(tasks),  # without tasks there is nothing to translate
        overrides=overrides,
    )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
